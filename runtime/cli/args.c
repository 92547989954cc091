#include "cli/args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/names.h"

static enum gw_rc unknown(const struct gw_option *options, const char *word, size_t len,
                          struct gw_err *err)
{
    struct gw_suggest suggest;

    gw_suggest_begin(&suggest, gw_str(word, len));
    for (; options->name != NULL; options++)
        gw_suggest_offer(&suggest, gw_str_c(options->name));
    if (suggest.best.data != NULL)
        return gw_err_set(err, GW_INVALID, "unknown option --%.*s: did you mean --%.*s?", (int)len,
                          word, GW_STR_ARG(suggest.best));
    return gw_err_set(err, GW_INVALID, "unknown option --%.*s", (int)len, word);
}

static enum gw_rc add(struct gw_args *args, const struct gw_option *option, const char *value,
                      struct gw_err *err)
{
    if (args->given_count == GW_ARGS_MAX)
        return gw_err_set(err, GW_LIMIT, "more than %d options", GW_ARGS_MAX);
    args->given[args->given_count++] = (struct gw_given){option, value};
    return GW_OK;
}

/* `next` is the word behind; sets *used when it was taken as the value. */
static enum gw_rc long_option(struct gw_args *args, const struct gw_option *options,
                              const char *word, const char *next, bool *used, struct gw_err *err)
{
    const char *equals = strchr(word, '=');
    size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const struct gw_option *option = options;

    while (option->name != NULL &&
           (strlen(option->name) != len || memcmp(option->name, word, len) != 0))
        option++;
    if (option->name == NULL)
        return unknown(options, word, len, err);
    if (option->value == NULL) {
        if (equals != NULL)
            return gw_err_set(err, GW_INVALID, "--%s takes no value", option->name);
        return add(args, option, "", err);
    }
    if (equals != NULL)
        return add(args, option, equals + 1, err);
    if (next == NULL)
        return gw_err_set(err, GW_INVALID, "--%s: %s is missing", option->name, option->value);
    *used = true;
    return add(args, option, next, err);
}

/* "-c FILE", "-cFILE", or flags together: "-jv". */
static enum gw_rc short_options(struct gw_args *args, const struct gw_option *options,
                                const char *letters, const char *next, bool *used,
                                struct gw_err *err)
{
    for (; *letters != '\0'; letters++) {
        const struct gw_option *option = options;
        enum gw_rc rc;
        while (option->name != NULL && option->letter != *letters)
            option++;
        if (option->name == NULL)
            return gw_err_set(err, GW_INVALID, "unknown option -%c", *letters);
        if (option->value != NULL && letters[1] != '\0')
            return add(args, option, letters + 1, err);
        if (option->value != NULL && next == NULL)
            return gw_err_set(err, GW_INVALID, "-%c: %s is missing", *letters, option->value);
        *used = option->value != NULL;
        rc = add(args, option, option->value != NULL ? next : "", err);
        if (rc != GW_OK)
            return rc;
    }
    return GW_OK;
}

enum gw_rc gw_args_parse(struct gw_args *args, const struct gw_option *options, int argc,
                         char **argv, struct gw_err *err)
{
    bool only_words = false;

    memset(args, 0, sizeof(*args));
    args->raw = argv;
    args->raw_count = argc;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        bool used = false;
        enum gw_rc rc = GW_OK;
        if (only_words || word[0] != '-' || word[1] == '\0') {
            if (args->words_count == GW_ARGS_MAX)
                return gw_err_set(err, GW_LIMIT, "more than %d arguments", GW_ARGS_MAX);
            args->words[args->words_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            only_words = true;
        } else if (word[1] == '-') {
            rc = long_option(args, options, word + 2, next, &used, err);
        } else {
            rc = short_options(args, options, word + 1, next, &used, err);
        }
        if (rc != GW_OK)
            return rc;
        i += used;
    }
    return GW_OK;
}

const char *gw_args_get(const struct gw_args *args, const char *name, const char *otherwise)
{
    for (size_t i = args->given_count; i > 0; i--)
        if (strcmp(args->given[i - 1].option->name, name) == 0)
            return args->given[i - 1].value;
    return otherwise;
}

bool gw_args_has(const struct gw_args *args, const char *name)
{
    return gw_args_get(args, name, NULL) != NULL;
}

const char *gw_args_nth(const struct gw_args *args, const char *name, size_t n)
{
    for (size_t i = 0; i < args->given_count; i++)
        if (strcmp(args->given[i].option->name, name) == 0 && n-- == 0)
            return args->given[i].value;
    return NULL;
}

enum gw_rc gw_args_number(const struct gw_args *args, const char *name, unsigned from,
                          unsigned most, unsigned *to, struct gw_err *err)
{
    const char *text = gw_args_get(args, name, NULL);
    unsigned long value;
    char *end;

    if (text == NULL)
        return GW_OK;
    errno = 0;
    value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < from ||
        value > most)
        return gw_err_set(err, GW_INVALID,
                          "--%s: a whole number from %u to %u is expected, not "
                          "\"%s\"",
                          name, from, most, text);
    *to = (unsigned)value;
    return GW_OK;
}
