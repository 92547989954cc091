#include <inttypes.h>
#include <stdio.h>

#include "cli/client.h"
#include "cli/command.h"

/* The load may take 20 s, the answers of the workers 5, and another reload may be before us. */
#define RELOAD_TIMEOUT_S 60
#define NAMES_SHOWN_MAX 20

static struct gw_str text(const struct gw_json *object, const char *key)
{
    return gw_json_get_str(gw_json_get(object, key), GW_STR(""));
}

static uint64_t number(const struct gw_json *object, const char *key)
{
    return (uint64_t)gw_json_get_int(gw_json_get(object, key), 0);
}

/* arg: the kind ("routes"), or NULL once something was printed. */
struct printing {
    struct gw_str kind;
    bool any;
};

static bool print_change(void *arg, struct gw_str change, const struct gw_json *names)
{
    struct printing *printing = arg;
    size_t count = gw_json_len(names);

    if (count == 0)
        return true;
    printing->any = true;
    (void)printf("  %-10.*s %-8.*s", GW_STR_ARG(printing->kind), GW_STR_ARG(change));
    for (size_t i = 0; i < count && i < NAMES_SHOWN_MAX; i++)
        (void)printf(" %.*s", GW_STR_ARG(gw_json_get_str(gw_json_at(names, i), GW_STR(""))));
    if (count > NAMES_SHOWN_MAX)
        (void)printf(" and %zu more", count - NAMES_SHOWN_MAX);
    (void)printf("\n");
    return true;
}

static bool print_kind(void *arg, struct gw_str kind, const struct gw_json *changes)
{
    struct printing *printing = arg;

    printing->kind = kind;
    gw_json_each(changes, print_change, printing);
    return true;
}

static void print_workers(FILE *to, const struct gw_json *workers)
{
    for (size_t i = 0; i < gw_json_len(workers); i++) {
        const struct gw_json *worker = gw_json_at(workers, i);
        struct gw_str error = text(worker, "error");
        (void)fprintf(to, "  worker %" PRIu64 "   %.*s after %" PRIu64 " ms%s%.*s\n",
                      number(worker, "worker"), GW_STR_ARG(text(worker, "answer")),
                      number(worker, "ms"), error.len > 0 ? ": " : "", GW_STR_ARG(error));
    }
}

static int print_report(const struct gw_json *report)
{
    struct printing printing = {.any = false};

    if (!gw_json_get_bool(gw_json_get(report, "ok"), false)) {
        (void)fprintf(stderr, "%.*s", GW_STR_ARG(text(report, "text")));
        print_workers(stderr, gw_json_get(report, "workers"));
        return gw_cli_fail("the reload was refused, generation %" PRIu64 " stays: %.*s",
                           number(report, "generation"), GW_STR_ARG(text(report, "error")));
    }
    (void)fprintf(stderr, "%.*s", GW_STR_ARG(text(report, "text"))); /* warnings */
    (void)printf("generation %" PRIu64 " serves, %" PRIu64 " ms (load %" PRIu64 " ms)\n",
                 number(report, "generation"), number(report, "ms"), number(report, "load_ms"));
    gw_json_each(gw_json_get(report, "changes"), print_kind, &printing);
    if (!printing.any)
        (void)printf("  nothing has changed\n");
    print_workers(stdout, gw_json_get(report, "workers"));
    return GW_EXIT_FINE;
}

int gw_cmd_reload(const struct gw_args *args)
{
    struct gw_buf line = GW_BUF_INIT;
    struct gw_json *report = NULL;
    struct gw_err err;
    int code;

    if (gw_client_ask(gw_cli_conf(args), "reload", RELOAD_TIMEOUT_S, &line, &report, &err) !=
        GW_OK) {
        code = gw_cli_fail("%s", err.text);
    } else if (gw_args_has(args, "json")) {
        (void)printf("%.*s\n", GW_STR_ARG(gw_buf_str(&line)));
        code = gw_json_get_bool(gw_json_get(report, "ok"), false) ? GW_EXIT_FINE : GW_EXIT_FAILED;
    } else if (gw_json_get(report, "generation") == NULL) {
        code = gw_cli_fail("%.*s", GW_STR_ARG(text(report, "error")));
    } else {
        code = print_report(report);
    }
    gw_json_free(report);
    gw_buf_fini(&line);
    return code;
}
