#include "cli/command.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/names.h"

#ifndef MOONGATE_VERSION
#error "MOONGATE_VERSION is the build's to say"
#endif

/* ---- the rows ---- */

static const struct gw_option run_options[] = {
    GW_OPTION_CONF,
    {"workers", 'w', "N", "as many workers, whatever the conf says"},
    {"test", 0, NULL, "for specs: the control socket may move the clock"},
    GW_OPTION_END};

static const struct gw_option dev_options[] = {
    GW_OPTION_CONF, {"workers", 'w', "N", "as many workers; default 1"}, GW_OPTION_END};

static const struct gw_option conf_options[] = {GW_OPTION_CONF, GW_OPTION_JSON, GW_OPTION_END};

static const struct gw_option status_options[] = {GW_OPTION_CONF, GW_OPTION_JSON, GW_OPTION_END};

static const struct gw_option explain_options[] = {
    GW_OPTION_CONF,
    GW_OPTION_JSON,
    {"header", 'H', "LINE", "a header of the request, \"Name: value\"; may be repeated"},
    {"client", 0, "ADDRESS", "who asks; default 127.0.0.1"},
    {"listener", 'l', "NAME", "where it is asked; default: the first that fits the scheme"},
    GW_OPTION_END};

static const struct gw_option schema_options[] = {GW_OPTION_CONF, GW_OPTION_END};

static const struct gw_option spec_options[] = {GW_OPTION_JSON, GW_OPTION_END};

static const struct gw_option new_options[] = {
    {"dir", 'd', "FOLDER", "the folder that plugins/ and spec/ are in; default: this one"},
    GW_OPTION_END};

const struct gw_command gw_commands[] = {
    {"run", "[-c FILE] [--workers N]", "run the gateway in the foreground",
     "SIGTERM and SIGINT drain (a second one does not wait), SIGHUP reloads, SIGUSR1 opens the log "
     "again.\n",
     run_options, 0, 0, false, gw_cmd_run},
    {"dev", "[-c FILE]", "run, reload on save, print a line for each request", NULL, dev_options, 0,
     0, false, gw_cmd_dev},
    {"check", "[-c FILE] [--json]", "find every fault of a conf",
     "Prints  file:line:column: path: message  for each, and exits with 1 if there is one.\n",
     conf_options, 0, 0, false, gw_cmd_check},
    {"reload", "[-c FILE] [--json] [FILES]", "load the conf into the running gateway",
     "In two phases: either all workers change, or none. Prints what changed. Files that are as "
     "they were,\nand hold nothing but routes: and upstreams:, are not read again. With FILES only "
     "these are looked at,\nsuch as  moongate reload routes/users.yaml  after one of ten thousand "
     "was saved; one that is gone\nis taken out.\n",
     conf_options, 0, GW_ARGS_MAX, false, gw_cmd_reload},
    {"status", "[-c FILE] [--json]", "show the running gateway", NULL, status_options, 0, 0, false,
     gw_cmd_status},
    {"explain", "[-c FILE] [-H LINE]… METHOD URL", "say which route a request takes, and why",
     "The plugin chain in order, the upstream, and why other routes do not match. Example:\n"
     "  moongate explain GET http://example.com/v1/users -H 'x-api: 2'\n",
     explain_options, 1, 2, false, gw_cmd_explain},
    {"routes", "[-c FILE] [--json]", "list the routes of a conf", NULL, conf_options, 0, 0, false,
     gw_cmd_routes},
    {"schema", "[-c FILE]", "print a JSON Schema of the conf, plugins' parts included",
     "Editors complete and check a conf with it.\n", schema_options, 0, 0, false, gw_cmd_schema},
    {"plugins", "[-c FILE] [--json]", "list the plugins that can be bound", NULL, conf_options, 0,
     0, false, gw_cmd_plugins},
    {"spec", "[FILES] [busted's options]", "run specs with busted, inside the real runtime", NULL,
     spec_options, 0, GW_ARGS_MAX, true, gw_cmd_spec},
    {"new", "plugin NAME [--dir FOLDER]", "write a plugin, its spec and its conf line",
     "Writes plugins/NAME.lua and spec/plugins/NAME_spec.lua; overwrites nothing.\n", new_options,
     2, 2, false, gw_cmd_new},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, false, NULL},
};

/* ---- help and failure ---- */

static void print_usage(FILE *to)
{
    (void)fprintf(to, "usage: moongate COMMAND [options]\n\n");
    for (const struct gw_command *command = gw_commands; command->name != NULL; command++)
        (void)fprintf(to, "  %-9s %s\n", command->name, command->summary);
    (void)fprintf(to, "\n  moongate COMMAND --help says more; moongate --version\n"
                      "  exit codes: 0 fine, 1 what was asked failed, 2 wrong usage\n");
}

static void print_help(const struct gw_command *command)
{
    (void)printf("usage: moongate %s %s\n\n%s\n", command->name, command->arguments,
                 command->summary);
    if (command->help != NULL)
        (void)printf("%s", command->help);
    (void)printf("\n");
    for (const struct gw_option *option = command->options; option->name != NULL; option++) {
        char left[64];
        (void)snprintf(left, sizeof(left), "%c%c%s--%s%s%s", option->letter ? '-' : ' ',
                       option->letter ? option->letter : ' ', option->letter ? ", " : "  ",
                       option->name, option->value != NULL ? " " : "",
                       option->value != NULL ? option->value : "");
        (void)printf("  %-24s %s\n", left, option->help);
    }
    (void)printf("  %-24s %s\n", "-h, --help", "this text");
}

int gw_cli_fail(const char *fmt, ...)
{
    va_list args;

    (void)fflush(stdout);
    (void)fprintf(stderr, "moongate: ");
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fprintf(stderr, "\n");
    return GW_EXIT_FAILED;
}

int gw_cli_misused(const char *command, const char *fmt, ...)
{
    va_list args;

    (void)fprintf(stderr, "moongate %s: ", command);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fprintf(stderr, "\ntry: moongate %s --help\n", command);
    return GW_EXIT_USAGE;
}

static int unknown_command(const char *name)
{
    struct gw_suggest suggest;

    gw_suggest_begin(&suggest, gw_str_c(name));
    for (const struct gw_command *command = gw_commands; command->name != NULL; command++)
        gw_suggest_offer(&suggest, gw_str_c(command->name));
    (void)fprintf(stderr, "moongate: unknown command \"%s\"", name);
    if (suggest.best.data != NULL)
        (void)fprintf(stderr, ": did you mean \"%.*s\"?", GW_STR_ARG(suggest.best));
    (void)fprintf(stderr, "\ntry: moongate --help\n");
    return GW_EXIT_USAGE;
}

/* ---- what commands share ---- */

const char *gw_cli_conf(const struct gw_args *args)
{
    const char *given = gw_args_get(args, "conf", NULL);

    if (given != NULL)
        return given;
    return access("conf/gateway.yaml", F_OK) != 0 && access("gateway.yaml", F_OK) == 0
               ? "gateway.yaml"
               : "conf/gateway.yaml";
}

static bool is_folder(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;

    return snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path) &&
           stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

const char *gw_cli_shipped_dir(void)
{
    static const char *const places[] = {"/..", "/../share/moongate"};
    static char dir[PATH_MAX];
    char exe[PATH_MAX], place[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 32);
    char *slash;

    if (len <= 0)
        return NULL;
    exe[len] = '\0';
    slash = strrchr(exe, '/');
    if (slash == NULL)
        return NULL;
    *slash = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (snprintf(place, sizeof(place), "%s%s", exe, places[i]) < (int)sizeof(place) &&
            is_folder(place, "plugins") && is_folder(place, "lua/gateway") &&
            realpath(place, dir) != NULL)
            return dir;
    }
    /* A program that was moved out of its build folder: the sources, if they are still there. */
    return is_folder(GW_SHIPPED_DIR, "plugins") ? GW_SHIPPED_DIR : NULL;
}

/* ---- the way in ---- */

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int run_command(const struct gw_command *command, int argc, char **argv)
{
    static struct gw_args args; /* too large for a stack, and there is only one command */
    struct gw_err err;

    for (int i = 0; i < argc && (!command->raw || i == 0) && strcmp(argv[i], "--") != 0; i++) {
        if (is_help(argv[i])) {
            print_help(command);
            return GW_EXIT_FINE;
        }
    }
    if (command->raw) {
        args.raw = argv;
        args.raw_count = argc;
        return command->run(&args);
    }
    if (gw_args_parse(&args, command->options, argc, argv, &err) != GW_OK)
        return gw_cli_misused(command->name, "%s", err.text);
    if (args.words_count > command->words_max)
        return gw_cli_misused(command->name, "\"%s\" is too much", args.words[command->words_max]);
    if (args.words_count < command->words_min)
        return gw_cli_misused(command->name, "usage: moongate %s %s", command->name,
                              command->arguments);
    return command->run(&args);
}

int gw_cli(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return GW_EXIT_USAGE;
    }
    if (is_help(argv[1]) || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return GW_EXIT_FINE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        (void)printf("moongate %s\n", MOONGATE_VERSION);
        return GW_EXIT_FINE;
    }
    for (const struct gw_command *command = gw_commands; command->name != NULL; command++)
        if (strcmp(argv[1], command->name) == 0)
            return run_command(command, argc - 2, argv + 2);
    return unknown_command(argv[1]);
}
