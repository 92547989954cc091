#include <inttypes.h>
#include <stdio.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/text.h"

static uint64_t number(const struct gw_json *object, const char *key)
{
    return (uint64_t)gw_json_get_int(gw_json_get(object, key), 0);
}

static struct gw_str text(const struct gw_json *object, const char *key)
{
    return gw_json_get_str(gw_json_get(object, key), GW_STR(""));
}

static void print_head(const struct gw_json *status)
{
    char up[32], rss[32];

    (void)printf("%.*s, master pid %" PRIu64 ", up %s, %s\n", GW_STR_ARG(text(status, "state")),
                 number(status, "pid"), gw_text_duration(number(status, "uptime_ms"), up),
                 gw_text_bytes(number(status, "rss_bytes"), rss));
    (void)printf("conf        %.*s\n", GW_STR_ARG(text(status, "conf")));
    (void)printf("generation  %" PRIu64 " with %" PRIu64 " routes; reloads %" PRIu64
                 ", refused %" PRIu64 "; workers that died %" PRIu64 "\n",
                 number(status, "generation"), number(status, "routes"), number(status, "reloads"),
                 number(status, "reloads_refused"), number(status, "worker_deaths"));
}

static void print_listeners(const struct gw_json *listeners)
{
    for (size_t i = 0; i < gw_json_len(listeners); i++) {
        const struct gw_json *listener = gw_json_at(listeners, i);
        (void)printf("listening   %.*s (%.*s)\n", GW_STR_ARG(text(listener, "address")),
                     GW_STR_ARG(text(listener, "name")));
    }
}

static void print_workers(const struct gw_json *workers)
{
    static const char *const heads[] = {"WORKER",   "PID", "STATE",    "GENERATION", "CONNECTIONS",
                                        "REQUESTS", "RSS", "LUA HEAP", "UPTIME"};
    struct gw_table table;

    gw_table_begin(&table, sizeof(heads) / sizeof(heads[0]));
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        gw_table_cell(&table, "%s", heads[i]);
    for (size_t i = 0; i < gw_json_len(workers); i++) {
        const struct gw_json *worker = gw_json_at(workers, i);
        char rss[32], heap[32], up[32];
        uint64_t heap_bytes = number(worker, "heap_bytes");
        gw_table_cell(&table, "%" PRIu64, number(worker, "worker"));
        gw_table_cell(&table, "%" PRIu64, number(worker, "pid"));
        gw_table_cell(&table, "%.*s", GW_STR_ARG(text(worker, "state")));
        gw_table_cell(&table, "%" PRIu64, number(worker, "generation"));
        gw_table_cell(&table, "%" PRIu64, number(worker, "connections"));
        gw_table_cell(&table, "%" PRIu64, number(worker, "requests"));
        gw_table_cell(&table, "%s", gw_text_bytes(number(worker, "rss_bytes"), rss));
        gw_table_cell(&table, "%s", heap_bytes > 0 ? gw_text_bytes(heap_bytes, heap) : "-");
        gw_table_cell(&table, "%s", gw_text_duration(number(worker, "uptime_ms"), up));
    }
    (void)printf("\n");
    gw_table_print(&table);
}

/* Those before the current one, with what still holds them. */
static void print_generations(const struct gw_json *workers)
{
    for (size_t i = 0; i < gw_json_len(workers); i++) {
        const struct gw_json *worker = gw_json_at(workers, i);
        const struct gw_json *generations = gw_json_get(worker, "generations");
        for (size_t g = 1; g < gw_json_len(generations); g++) {
            const struct gw_json *generation = gw_json_at(generations, g);
            char age[32];
            (void)printf("worker %" PRIu64 " still holds generation %" PRIu64 " (made %s ago) for "
                         "%" PRIu64 " requests\n",
                         number(worker, "worker"), number(generation, "generation"),
                         gw_text_duration(number(generation, "age_ms"), age),
                         number(generation, "refs"));
        }
    }
}

int gw_cmd_status(const struct gw_args *args)
{
    struct gw_buf line = GW_BUF_INIT;
    const struct gw_client_question question = {.command = "status", .timeout_s = 10};
    struct gw_json *status = NULL;
    struct gw_err err;
    int code = GW_EXIT_FINE;

    if (gw_client_ask(gw_cli_conf(args), &question, &line, &status, &err) != GW_OK) {
        code = gw_cli_fail("%s", err.text);
    } else if (!gw_json_get_bool(gw_json_get(status, "ok"), false)) {
        code = gw_cli_fail("%.*s", GW_STR_ARG(text(status, "error")));
    } else if (gw_args_has(args, "json")) {
        (void)printf("%.*s\n", GW_STR_ARG(gw_buf_str(&line)));
    } else {
        print_head(status);
        print_listeners(gw_json_get(status, "listeners"));
        print_workers(gw_json_get(status, "workers"));
        print_generations(gw_json_get(status, "workers"));
    }
    gw_json_free(status);
    gw_buf_fini(&line);
    return code;
}
