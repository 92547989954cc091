#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void print_head(const struct gw_json *report)
{
    const struct gw_json *files = gw_json_get(report, "files");
    uint64_t of = number(files, "of");

    (void)printf("generation %" PRIu64 " serves, %" PRIu64 " ms (load %" PRIu64 " ms, %" PRIu64
                 " of %" PRIu64 " file%s read)\n",
                 number(report, "generation"), number(report, "ms"), number(report, "load_ms"),
                 number(files, "read"), of, of == 1 ? "" : "s");
}

/* All files were read though few were named: why it took so long. */
static void print_why(const struct gw_json *report)
{
    struct gw_str why = text(gw_json_get(report, "files"), "why");

    if (why.len > 0)
        (void)printf("  all files were read: %.*s\n", GW_STR_ARG(why));
}

static int print_report(const struct gw_json *report, bool named)
{
    struct printing printing = {.any = false};

    if (!gw_json_get_bool(gw_json_get(report, "ok"), false)) {
        (void)fprintf(stderr, "%.*s", GW_STR_ARG(text(report, "text")));
        print_workers(stderr, gw_json_get(report, "workers"));
        return gw_cli_fail("the reload was refused, generation %" PRIu64 " stays: %.*s",
                           number(report, "generation"), GW_STR_ARG(text(report, "error")));
    }
    (void)fprintf(stderr, "%.*s", GW_STR_ARG(text(report, "text"))); /* warnings */
    print_head(report);
    if (named)
        print_why(report);
    gw_json_each(gw_json_get(report, "changes"), print_kind, &printing);
    if (!printing.any)
        (void)printf("  nothing has changed\n");
    print_workers(stdout, gw_json_get(report, "workers"));
    return GW_EXIT_FINE;
}

/* As the gateway knows its files: the folder without links, the file itself as it is named, since
 * it may be a link, or be gone. */
static char *absolute(const char *name)
{
    char *copy = strdup(name), *slash, *dir, *path = NULL;

    if (copy == NULL)
        abort();
    slash = strrchr(copy, '/');
    if (slash != NULL)
        *slash = '\0';
    dir = realpath(slash == NULL ? "." : slash == copy ? "/" : copy, NULL);
    if (dir != NULL && asprintf(&path, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir,
                                slash == NULL ? name : slash + 1) < 0)
        abort();
    free(dir);
    free(copy);
    return path;
}

static int finish(const struct gw_args *args, const struct gw_buf *line,
                  const struct gw_json *report)
{
    bool ok = gw_json_get_bool(gw_json_get(report, "ok"), false);
    bool misused = gw_json_get_bool(gw_json_get(report, "misused"), false);
    int code = ok ? GW_EXIT_FINE : misused ? GW_EXIT_USAGE : GW_EXIT_FAILED;

    if (gw_args_has(args, "json"))
        (void)printf("%.*s\n", GW_STR_ARG(gw_buf_str(line)));
    else if (gw_json_get(report, "generation") == NULL)
        (void)gw_cli_fail("%.*s", GW_STR_ARG(text(report, "error")));
    else
        (void)print_report(report, args->words_count > 0);
    return code;
}

int gw_cmd_reload(const struct gw_args *args)
{
    struct gw_client_question question = {.command = "reload", .timeout_s = RELOAD_TIMEOUT_S};
    char *files[GW_ARGS_MAX];
    struct gw_buf line = GW_BUF_INIT;
    struct gw_json *report = NULL;
    struct gw_err err;
    int code;

    for (; question.files_count < args->words_count; question.files_count++) {
        const char *word = args->words[question.files_count];
        files[question.files_count] = absolute(word);
        if (files[question.files_count] == NULL) {
            code = gw_cli_misused("reload", "%s: there is no such folder", word);
            goto done;
        }
    }
    question.files = files;
    if (gw_client_ask(gw_cli_conf(args), &question, &line, &report, &err) != GW_OK)
        code = gw_cli_fail("%s", err.text);
    else
        code = finish(args, &line, report);
done:
    while (question.files_count > 0)
        free(files[--question.files_count]);
    gw_json_free(report);
    gw_buf_fini(&line);
    return code;
}
