/* The commands of the program: a row each, a file each.
 * A command prints what was asked for on stdout and what went wrong on stderr, decides
 * nothing, and returns one of three codes. */
#ifndef GW_CLI_COMMAND_H
#define GW_CLI_COMMAND_H

#include "cli/args.h"

#define GW_EXIT_FINE 0
#define GW_EXIT_FAILED 1 /* what was asked failed */
#define GW_EXIT_USAGE 2  /* it was asked wrongly */

struct gw_command {
    const char *name;
    const char *arguments; /* for the usage line; "" none */
    const char *summary;   /* one line */
    const char *help;      /* further lines, each ends with \n; NULL: none */
    const struct gw_option *options;
    size_t words_min;
    size_t words_max;
    bool raw; /* its words are not for us to parse (but --help as the first) */
    int (*run)(const struct gw_args *args);
};

extern const struct gw_command gw_commands[]; /* ends with name NULL */

int gw_cmd_run(const struct gw_args *args);
int gw_cmd_dev(const struct gw_args *args);
int gw_cmd_check(const struct gw_args *args);
int gw_cmd_reload(const struct gw_args *args);
int gw_cmd_status(const struct gw_args *args);
int gw_cmd_explain(const struct gw_args *args);
int gw_cmd_routes(const struct gw_args *args);
int gw_cmd_schema(const struct gw_args *args);
int gw_cmd_plugins(const struct gw_args *args);
int gw_cmd_spec(const struct gw_args *args);
int gw_cmd_new(const struct gw_args *args);

/* argv[0] is the program. */
int gw_cli(int argc, char **argv);

/* "moongate: " and the text, on stderr. Returns GW_EXIT_FAILED or GW_EXIT_USAGE, for
 * `return gw_cli_fail(...)`. */
int gw_cli_fail(const char *fmt, ...) GW_PRINTF(1, 2);
int gw_cli_misused(const char *command, const char *fmt, ...) GW_PRINTF(2, 3);

/* -c, or conf/gateway.yaml, or gateway.yaml. */
const char *gw_cli_conf(const struct gw_args *args);

/* The folder that holds the shipped plugins/ and lua/: beside the program's folder (build/..),
 * or ../share/moongate, or where it was built. NULL: none of them. Static memory. */
const char *gw_cli_shipped_dir(void);

#define GW_OPTION_CONF                                                                             \
    {                                                                                              \
        "conf", 'c', "FILE", "the conf; default: conf/gateway.yaml, then gateway.yaml"             \
    }
#define GW_OPTION_JSON                                                                             \
    {                                                                                              \
        "json", 'j', NULL, "print JSON, for scripts"                                               \
    }
#define GW_OPTION_END                                                                              \
    {                                                                                              \
        NULL, 0, NULL, NULL                                                                        \
    }

#endif
