/* `moongate spec`: a loop, shared memory and a VM as a worker has them, and
 * lua/gateway/spec/main.lua, which runs busted as a task of that VM. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/command.h"
#include "net/loop.h"
#include "script/spec.h"
#include "shm/shared.h"

/* Compiling and running a suite is one long entry into Lua, of code that is trusted. */
#define SPEC_CPU_BUDGET_MS (60u * 60 * 1000)

struct run {
    struct gw_loop *loop;
    int code;
};

static void on_done(void *arg, int code)
{
    struct run *run = arg;

    run->code = code == 0 ? GW_EXIT_FINE : GW_EXIT_FAILED;
    gw_loop_stop(run->loop);
}

/* The program itself first: specs start gateways with it; then the folder of the shipped
 * files; then what the user wrote. */
static enum gw_rc start(struct gw_script *script, const struct gw_args *args, struct run *run,
                        struct gw_err *err)
{
    const char *words[GW_ARGS_MAX + 2];
    char exe[PATH_MAX], path[PATH_MAX];
    const char *dir = gw_cli_shipped_dir();
    ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    size_t count = 0;

    if (len <= 0 || dir == NULL)
        return gw_err_set(err, GW_NOT_FOUND, "the folder with plugins/ and lua/ is not found");
    exe[len] = '\0';
    if (snprintf(path, sizeof(path), "%s/lua/gateway/spec/main.lua", dir) >= (int)sizeof(path))
        return gw_err_set(err, GW_LIMIT, "%s: the path is too long", dir);
    if (args->raw_count > GW_ARGS_MAX)
        return gw_err_set(err, GW_LIMIT, "more than %d arguments", GW_ARGS_MAX);
    words[count++] = exe;
    words[count++] = dir;
    for (int i = 0; i < args->raw_count; i++)
        words[count++] = args->raw[i];
    return gw_spec_start(script, path, words, count, on_done, run, err);
}

int gw_cmd_spec(const struct gw_args *args)
{
    struct gw_script_options options = {.cpu_budget_ms = SPEC_CPU_BUDGET_MS, .worker = 1};
    struct run run = {.code = GW_EXIT_FAILED};
    struct gw_shared_set *shared = NULL;
    struct gw_script *script = NULL;
    struct gw_err err = {""};

    (void)signal(SIGPIPE, SIG_IGN);
    gw_log_name("spec");
    if (gw_loop_new(&run.loop) != GW_OK)
        return gw_cli_fail("the event loop cannot be made");
    options.loop = run.loop;
    if (gw_shared_set_new(NULL, 0, 1, &shared, &err) != GW_OK)
        goto fail;
    gw_shared_set_worker(shared, 1);
    options.shared = shared;
    if (gw_script_new(&options, &script, &err) != GW_OK || start(script, args, &run, &err) != GW_OK)
        goto fail;
    gw_loop_run(run.loop);
    goto end;

fail:
    run.code = gw_cli_fail("spec: %s", err.text);
end:
    gw_script_free(script);
    if (shared != NULL)
        gw_shared_set_free(shared);
    gw_loop_free(run.loop);
    return run.code;
}
