#include "base/regex.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct gw_regex {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    const char *names; /* PCRE2's table: two bytes of number, then the name with its NUL */
    uint32_t names_count;
    uint32_t name_bytes; /* of one entry */
    uint32_t groups;     /* with the whole match */
    bool utf;
    bool anchored; /* by flag, or because the pattern begins with ^ */
};

static const struct {
    unsigned flag;
    uint32_t option;
} options[] = {
    {GW_REGEX_NOCASE, PCRE2_CASELESS},
    {GW_REGEX_MULTILINE, PCRE2_MULTILINE},
    {GW_REGEX_DOTALL, PCRE2_DOTALL},
    {GW_REGEX_EXTENDED, PCRE2_EXTENDED},
    {GW_REGEX_ANCHORED, PCRE2_ANCHORED},
    {GW_REGEX_UTF, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF},
    {GW_REGEX_ECMA,
     PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX | PCRE2_ALLOW_EMPTY_CLASS | PCRE2_MATCH_UNSET_BACKREF},
};

static uint32_t options_of(unsigned flags)
{
    uint32_t result = PCRE2_NEVER_BACKSLASH_C;

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (flags & options[i].flag)
            result |= options[i].option;
    /* A "(*UTF)" in the pattern would make every invalid byte of a subject an error. */
    if (!(flags & GW_REGEX_UTF))
        result |= PCRE2_NEVER_UTF;
    return result;
}

static enum gw_rc compile_failed(int number, PCRE2_SIZE at, struct gw_err *err)
{
    PCRE2_UCHAR text[256];

    if (number == PCRE2_ERROR_HEAP_FAILED)
        return gw_err_set(err, GW_NOMEM, "out of memory");
    if (pcre2_get_error_message(number, text, sizeof(text)) < 0)
        return gw_err_set(err, GW_INVALID, "at byte %zu: error %d", (size_t)at, number);
    return gw_err_set(err, GW_INVALID, "at byte %zu: %s", (size_t)at, (const char *)text);
}

static void read_shape(struct gw_regex *regex)
{
    uint32_t groups = 0, settled = 0;
    PCRE2_SPTR names = NULL;

    (void)pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &groups);
    (void)pcre2_pattern_info(regex->code, PCRE2_INFO_NAMECOUNT, &regex->names_count);
    (void)pcre2_pattern_info(regex->code, PCRE2_INFO_NAMEENTRYSIZE, &regex->name_bytes);
    (void)pcre2_pattern_info(regex->code, PCRE2_INFO_NAMETABLE, &names);
    (void)pcre2_pattern_info(regex->code, PCRE2_INFO_ALLOPTIONS, &settled);
    regex->names = (const char *)names;
    regex->anchored = (settled & PCRE2_ANCHORED) != 0;
    regex->groups = groups + 1;
}

enum gw_rc gw_regex_new(struct gw_str pattern, unsigned flags, struct gw_regex **out,
                        struct gw_err *err)
{
    struct gw_regex *regex;
    PCRE2_SIZE at = 0;
    int number = 0;

    if (pattern.len > GW_REGEX_PATTERN_BYTES_MAX)
        return gw_err_set(err, GW_LIMIT, "the pattern has %zu bytes, %d are allowed", pattern.len,
                          GW_REGEX_PATTERN_BYTES_MAX);
    regex = calloc(1, sizeof(*regex));
    if (regex == NULL)
        return gw_err_set(err, GW_NOMEM, "out of memory");
    regex->utf = (flags & GW_REGEX_UTF) != 0;
    regex->code = pcre2_compile((PCRE2_SPTR)(pattern.len > 0 ? pattern.data : ""), pattern.len,
                                options_of(flags), &number, &at, NULL);
    if (regex->code == NULL) {
        free(regex);
        return compile_failed(number, at, err);
    }
    read_shape(regex);
    /* Where the system grants no executable memory the interpreter does the work. */
    if (!(flags & GW_REGEX_NO_JIT))
        (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    regex->match = pcre2_match_data_create_from_pattern(regex->code, NULL);
    regex->limits = pcre2_match_context_create(NULL);
    if (regex->match == NULL || regex->limits == NULL) {
        gw_regex_free(regex);
        return gw_err_set(err, GW_NOMEM, "out of memory");
    }
    (void)pcre2_set_depth_limit(regex->limits, GW_REGEX_DEPTH_MAX);
    (void)pcre2_set_heap_limit(regex->limits, GW_REGEX_HEAP_KIB_MAX);
    *out = regex;
    return GW_OK;
}

void gw_regex_free(struct gw_regex *regex)
{
    if (regex == NULL)
        return;
    pcre2_match_context_free(regex->limits);
    pcre2_match_data_free(regex->match);
    pcre2_code_free(regex->code);
    free(regex);
}

/* The compiled code has 32 KiB of stack. A long subject may need more without being hostile:
 * the interpreter takes its frames from the heap, up to its own limit. They would stay with
 * the match data, so this way uses data of its own, which the caller frees. */
static int interpret(struct gw_regex *regex, struct gw_str subject, size_t from,
                     pcre2_match_data **data)
{
    *data = pcre2_match_data_create_from_pattern(regex->code, NULL);
    if (*data == NULL)
        return PCRE2_ERROR_NOMEMORY;
    return pcre2_match(regex->code, (PCRE2_SPTR)subject.data, subject.len, from, PCRE2_NO_JIT,
                       *data, regex->limits);
}

static uint32_t steps_for(const struct gw_regex *regex, size_t starts)
{
    size_t steps = regex->anchored ? GW_REGEX_STEPS_MAX : GW_REGEX_STEPS_ALL_MAX / starts;

    if (steps > GW_REGEX_STEPS_MAX)
        return GW_REGEX_STEPS_MAX;
    return steps < GW_REGEX_STEPS_MIN ? GW_REGEX_STEPS_MIN : (uint32_t)steps;
}

static enum gw_rc rc_of(int result)
{
    if (result >= 0)
        return GW_OK;
    switch (result) {
    case PCRE2_ERROR_NOMATCH:
        return GW_NOT_FOUND;
    case PCRE2_ERROR_NOMEMORY:
        return GW_NOMEM;
    case PCRE2_ERROR_BADOFFSET:
    case PCRE2_ERROR_BADUTFOFFSET:
        return GW_INVALID;
    default:
        /* Match, depth, heap and stack limits, a recursion that goes nowhere: what the
         * answer would have been is not known. */
        return GW_LIMIT;
    }
}

static void fill_groups(const struct gw_regex *regex, pcre2_match_data *data, struct gw_str subject,
                        struct gw_str *groups, uint32_t max)
{
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data);

    for (uint32_t i = 0; i < max; i++) {
        /* A lookahead with \K may set the start behind the end: such a group is empty. */
        if (i >= regex->groups || ends[2 * i] == PCRE2_UNSET)
            groups[i] = GW_STR_NULL;
        else
            groups[i] = gw_str(subject.data + ends[2 * i],
                               ends[2 * i + 1] > ends[2 * i] ? ends[2 * i + 1] - ends[2 * i] : 0);
    }
}

enum gw_rc gw_regex_match(struct gw_regex *regex, struct gw_str subject, size_t from,
                          struct gw_str *groups, uint32_t max)
{
    pcre2_match_data *own = NULL;
    int result;
    enum gw_rc rc;

    assert(regex != NULL);
    if (from > subject.len)
        return GW_INVALID;
    if (subject.data == NULL)
        subject.data = "";
    (void)pcre2_set_match_limit(regex->limits, steps_for(regex, subject.len - from + 1));
    result = pcre2_match(regex->code, (PCRE2_SPTR)subject.data, subject.len, from, 0, regex->match,
                         regex->limits);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = interpret(regex, subject, from, &own);
    rc = rc_of(result);
    if (rc == GW_OK)
        fill_groups(regex, own != NULL ? own : regex->match, subject, groups, max);
    pcre2_match_data_free(own);
    return rc;
}

size_t gw_regex_step(const struct gw_regex *regex, struct gw_str subject, size_t at)
{
    at++;
    if (regex->utf)
        while (at < subject.len && ((unsigned char)subject.data[at] & 0xc0) == 0x80)
            at++;
    return at < subject.len ? at : at > subject.len ? subject.len + 1 : at;
}

uint32_t gw_regex_groups(const struct gw_regex *regex)
{
    return regex->groups;
}

uint32_t gw_regex_names(const struct gw_regex *regex)
{
    return regex->names_count;
}

struct gw_str gw_regex_name(const struct gw_regex *regex, uint32_t i, uint32_t *group)
{
    const unsigned char *entry;

    assert(i < regex->names_count);
    entry = (const unsigned char *)regex->names + (size_t)i * regex->name_bytes;
    *group = (uint32_t)entry[0] << 8 | entry[1];
    return gw_str_c((const char *)entry + 2);
}

uint32_t gw_regex_group_of(const struct gw_regex *regex, struct gw_str name)
{
    for (uint32_t i = 0; i < regex->names_count; i++) {
        uint32_t group;
        if (gw_str_eq(gw_regex_name(regex, i, &group), name))
            return group;
    }
    return 0;
}
