/* `moongate dev`: run, reload on save, and a line for each request:
 *   21:04:07  200  GET  /v1/users?page=2  -> api 127.0.0.1:9001   3.2 ms  1.4 KiB
 * Workers print it: this file puts itself around the hooks of each. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/command.h"
#include "process/master.h"
#include "proxy/exchange.h"

#define PART_SHOWN_MAX 200

static struct gw_hooks inner; /* of this worker; run NULL: no plugins */

static void size_text(uint64_t bytes, char *to, size_t size)
{
    if (bytes < 1024)
        (void)snprintf(to, size, "%llu B", (unsigned long long)bytes);
    else if (bytes < 1024 * 1024)
        (void)snprintf(to, size, "%.1f KiB", (double)bytes / 1024);
    else
        (void)snprintf(to, size, "%.1f MiB", (double)bytes / (1024 * 1024));
}

static void where_text(const struct gw_exchange *exchange, char *to, size_t size)
{
    const struct gw_conf *conf = exchange->generation->conf;
    struct gw_str name =
        exchange->route != NULL ? gw_ref_str(conf, exchange->route->name) : GW_STR("no route");

    if (exchange->upstream_address.len > 0)
        (void)snprintf(to, size, "%.*s -> %.*s%s", GW_STR_ARG(name),
                       GW_STR_ARG(exchange->upstream_address),
                       exchange->tries > 1 ? " (retried)" : "");
    else
        (void)snprintf(to, size, "%.*s", GW_STR_ARG(name));
}

/* Letters of a path or query that fit on the line. */
static int shown(struct gw_str text)
{
    return text.len < PART_SHOWN_MAX ? (int)text.len : PART_SHOWN_MAX;
}

/* One write for one line: workers share the terminal. Control bytes of a path never reach it:
 * the parser refuses them. */
static void print_line(const struct gw_exchange *exchange)
{
    const struct gw_request *request = &exchange->request;
    char line[1024], where[256], bytes[32], when[16] = "";
    time_t now = time(NULL);
    struct tm tm;
    int len;

    if (localtime_r(&now, &tm) != NULL)
        (void)strftime(when, sizeof(when), "%H:%M:%S", &tm);
    where_text(exchange, where, sizeof(where));
    size_text(exchange->bytes_out, bytes, sizeof(bytes));
    len = snprintf(
        line, sizeof(line), "%s  %3u  %.*s %.*s%s%.*s  %s  %.1f ms  %s%s%s\n", when,
        (unsigned)exchange->response.status, GW_STR_ARG(request->method), shown(request->path),
        request->path.data, request->query.len > 0 ? "?" : "", shown(request->query),
        request->query.data, where, (double)(exchange->ended_us - exchange->began_us) / 1000, bytes,
        exchange->error != NULL ? "  " : "", exchange->error != NULL ? exchange->error : "");
    if (len >= (int)sizeof(line)) {
        len = sizeof(line) - 1;
        line[len - 1] = '\n';
    }
    if (len > 0 && write(STDOUT_FILENO, line, (size_t)len) < 0)
        return; /* nobody looks any more */
}

static bool has_plugins(const struct gw_exchange *exchange)
{
    uint32_t chain =
        exchange->route != NULL ? exchange->route->chain : exchange->generation->conf->global_chain;

    return inner.run != NULL && chain != GW_NONE;
}

static enum gw_phase_rc dev_run(void *self, struct gw_exchange *exchange, enum gw_phase phase)
{
    if (phase == GW_PHASE_LOG)
        print_line(exchange);
    if (!has_plugins(exchange))
        return GW_PHASE_NEXT;
    return inner.run(inner.self, exchange, phase);
}

static void wrap(struct gw_hooks *hooks)
{
    inner = *hooks;
    hooks->run = dev_run;
}

int gw_cmd_dev(const struct gw_args *args)
{
    struct gw_master_options options = {.conf_path = gw_cli_conf(args),
                                        .shipped_dir = gw_cli_shipped_dir(),
                                        .workers = 1,
                                        .watch = true,
                                        .wrap = wrap};
    struct gw_err err;

    if (gw_args_number(args, "workers", 1, GW_WORKERS_MAX, &options.workers, &err) != GW_OK)
        return gw_cli_misused("dev", "%s", err.text);
    return gw_master_run(&options);
}
