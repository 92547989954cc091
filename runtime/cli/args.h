/* The words behind `moongate COMMAND`: options as rows, the rest as arguments.
 * Lives in: one command. Nothing is copied: argv outlives it. Pure, except for messages on
 * stderr.
 *   --name VALUE   --name=VALUE   -n VALUE   -nVALUE   --flag   -f   --  (ends the options) */
#ifndef GW_CLI_ARGS_H
#define GW_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define GW_ARGS_MAX 128 /* options and arguments, each */

struct gw_option {
    const char *name;  /* without "--"; NULL ends the table */
    char letter;       /* 0: none */
    const char *value; /* what it takes, for the help: "FILE"; NULL: a flag */
    const char *help;
};

struct gw_given {
    const struct gw_option *option;
    const char *value; /* "" for a flag */
};

struct gw_args {
    struct gw_given given[GW_ARGS_MAX];
    size_t given_count;
    const char *words[GW_ARGS_MAX]; /* what is no option */
    size_t words_count;
    char **raw; /* everything behind the command's name */
    int raw_count;
};

/* `options` ends with an empty row. GW_INVALID: err says what is wrong, with "did you mean". */
GW_MUST_CHECK enum gw_rc gw_args_parse(struct gw_args *args, const struct gw_option *options,
                                       int argc, char **argv, struct gw_err *err);

/* The last value given, or `otherwise`. */
const char *gw_args_get(const struct gw_args *args, const char *name, const char *otherwise);
bool gw_args_has(const struct gw_args *args, const char *name);
/* The n-th value of an option that may be repeated; NULL behind the last. */
const char *gw_args_nth(const struct gw_args *args, const char *name, size_t n);

/* A whole number in from..to; GW_INVALID names the option. `*to` is left alone when not given. */
GW_MUST_CHECK enum gw_rc gw_args_number(const struct gw_args *args, const char *name, unsigned from,
                                        unsigned most, unsigned *to, struct gw_err *err);

#endif
