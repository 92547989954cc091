#include "conf/yaml_plain.h"

#include <string.h>

struct scan {
    const char *at;
    const char *end;
    const char *line_start;
    uint32_t line;
    const struct gw_yaml_sink *sink;
    void *arg;
};

struct scalar {
    struct gw_str text;
    uint32_t line;
    uint32_t column;
    bool quoted;
};

/* Columns count from 1, and 0 stands for "above everything". */
static uint32_t column(const struct scan *s)
{
    return (uint32_t)(s->at - s->line_start) + 1;
}

/* At the end of the line, or of the text? */
static bool ends(const struct scan *s, const char *at)
{
    return at == s->end || *at == '\n';
}

static bool blank(const struct scan *s, const char *at)
{
    return ends(s, at) || *at == ' ';
}

/* "- ", the sign of an item. */
static bool dash(const struct scan *s)
{
    return *s->at == '-' && blank(s, s->at + 1);
}

static void skip_spaces(struct scan *s)
{
    while (s->at < s->end && *s->at == ' ')
        s->at++;
}

static unsigned char unknown(unsigned char c)
{
    return (unsigned char)((c != '\n') & ((c < ' ') | (c > '~')));
}

#define RUN_BYTES 32 /* of a fixed length, so that compilers take them at once */

static bool only_known_bytes(struct gw_str text)
{
    const unsigned char *at = (const unsigned char *)text.data, *end = at + text.len;
    unsigned char wrong = 0;

    for (; end - at >= RUN_BYTES; at += RUN_BYTES)
        for (size_t i = 0; i < RUN_BYTES; i++)
            wrong |= unknown(at[i]);
    for (; at < end; at++)
        wrong |= unknown(*at);
    return wrong == 0;
}

/* A line that begins with "---" or "..." ends a document, wherever it stands. */
static bool marks_document(const struct scan *s)
{
    return s->end - s->at >= 3 && (memcmp(s->at, "---", 3) == 0 || memcmp(s->at, "...", 3) == 0);
}

/* To what comes next, over ends of lines and comments. */
static bool skip_lines(struct scan *s)
{
    for (;;) {
        skip_spaces(s);
        if (s->at == s->end)
            return true;
        if (*s->at == '#') {
            if (s->at != s->line_start && s->at[-1] != ' ')
                return false;
            s->at = memchr(s->at, '\n', (size_t)(s->end - s->at));
            if (s->at == NULL)
                s->at = s->end;
        } else if (*s->at == '\n') {
            s->line_start = ++s->at;
            s->line++;
            if (marks_document(s))
                return false;
        } else {
            return true;
        }
    }
}

/* ---- scalars ---- */

static bool read_quoted(struct scan *s, struct gw_str *out)
{
    char quote = *s->at++;
    const char *from = s->at;

    for (; !ends(s, s->at) && *s->at != quote; s->at++)
        if (quote == '"' && *s->at == '\\')
            return false;
    if (ends(s, s->at))
        return false;
    *out = gw_str(from, (size_t)(s->at - from));
    s->at++;
    return s->at == s->end || *s->at != quote; /* a pair of them is one, escaped */
}

/* May a plain scalar begin so? More may than are let here. */
static bool begins_plain(const struct scan *s)
{
    char next = s->at + 1 < s->end ? s->at[1] : '\n';

    if (*s->at == '-')
        return (next >= '0' && next <= '9') || (next >= 'a' && next <= 'z') || next == '.';
    return strchr(" ?:,[]{}#&*!|>'\"%@`", *s->at) == NULL;
}

/* Bytes that a plain scalar may end with, or must not hold. */
static const bool stops[256] = {
    ['\n'] = true, [':'] = true, ['#'] = true, [','] = true, ['['] = true,
    [']'] = true,  ['{'] = true, ['}'] = true, ['?'] = true};

static const char *next_stop(const char *at, const char *end)
{
    while (at < end && !stops[(unsigned char)*at])
        at++;
    return at;
}

static bool read_plain(struct scan *s, bool flow, struct gw_str *out)
{
    const char *from = s->at, *end;

    if (!begins_plain(s))
        return false;
    for (;; s->at++) {
        char c;

        s->at = next_stop(s->at, s->end);
        if (ends(s, s->at))
            break;
        c = *s->at;
        if (c == ':') {
            if (blank(s, s->at + 1))
                break;
            if (flow && strchr(",[]{}?", s->at[1]) != NULL)
                return false;
        } else if (c == '#') {
            if (s->at[-1] == ' ')
                break;
        } else if (flow) {
            if (c == ',' || c == ']' || c == '}')
                break;
            return false; /* one of "[{?" */
        }
    }
    for (end = s->at; end[-1] == ' ';)
        end--;
    *out = gw_str(from, (size_t)(end - from));
    return true;
}

static bool read_scalar(struct scan *s, bool flow, struct scalar *out)
{
    out->line = s->line;
    out->column = column(s);
    out->quoted = *s->at == '"' || *s->at == '\'';
    return out->quoted ? read_quoted(s, &out->text) : read_plain(s, flow, &out->text);
}

static bool put_scalar(struct scan *s, const struct scalar *value)
{
    return s->sink->scalar(s->arg, value->text, value->quoted, value->line, value->column);
}

static bool put_null(struct scan *s, uint32_t line, uint32_t at_column)
{
    return s->sink->scalar(s->arg, GW_STR(""), false, line, at_column);
}

/* libyaml takes a key of up to 1024 characters; whoever writes a longer one gets its message. */
#define KEY_BYTES_MAX 512

/* Takes the ":" behind a scalar that so becomes a key. */
static bool put_key(struct scan *s, const struct scalar *key)
{
    skip_spaces(s);
    if (s->at == s->end || *s->at != ':' || !blank(s, s->at + 1) ||
        s->at - s->line_start - (key->column - 1) > KEY_BYTES_MAX)
        return false;
    s->at++;
    return s->sink->key(s->arg, key->text, key->quoted, key->line, key->column);
}

/* ---- [ ] and { } ---- */

static bool read_flow(struct scan *s);

static bool read_flow_value(struct scan *s)
{
    struct scalar value;

    if (s->at == s->end)
        return false;
    if (*s->at == '[' || *s->at == '{')
        return read_flow(s);
    return read_scalar(s, true, &value) && put_scalar(s, &value);
}

static bool read_flow(struct scan *s)
{
    bool map = *s->at == '{';
    char close = map ? '}' : ']';

    if (!s->sink->begin(s->arg, map ? GW_NODE_MAP : GW_NODE_LIST, s->line, column(s)))
        return false;
    s->at++;
    for (;;) {
        struct scalar key;

        if (!skip_lines(s) || s->at == s->end)
            return false;
        if (*s->at == close)
            break;
        if (map && (!read_scalar(s, true, &key) || !put_key(s, &key) || !skip_lines(s)))
            return false;
        if (!read_flow_value(s) || !skip_lines(s) || s->at == s->end)
            return false;
        if (*s->at == close)
            break;
        if (*s->at++ != ',')
            return false;
    }
    s->at++;
    s->sink->end(s->arg);
    return true;
}

/* ---- blocks ---- */

/* Behind a value: nothing more in this line, and nothing in the next that would go on with it.
 * `parent` is the column of the collection that holds the value. */
static bool end_value(struct scan *s, uint32_t parent)
{
    uint32_t line = s->line;

    if (!skip_lines(s))
        return false;
    return s->at == s->end || (s->line > line && column(s) <= parent);
}

static bool read_block(struct scan *s, uint32_t parent);

static bool goes_on(const struct scan *s, uint32_t at_column)
{
    return s->at < s->end && column(s) == at_column;
}

/* The items at this column. `bare`: of a key in the same column, whose next keys end the list. */
static bool read_items(struct scan *s, uint32_t at_column, bool bare)
{
    if (!s->sink->begin(s->arg, GW_NODE_LIST, s->line, at_column))
        return false;
    while (goes_on(s, at_column) && dash(s)) {
        uint32_t line = s->line;

        s->at++;
        if (!skip_lines(s))
            return false;
        if (s->at < s->end && column(s) > at_column) {
            if (!read_block(s, at_column))
                return false;
        } else if (!put_null(s, line, at_column + 1)) {
            return false;
        }
    }
    s->sink->end(s->arg);
    return s->at == s->end || column(s) < at_column || (bare && column(s) == at_column);
}

/* What stands behind "key:". */
static bool read_member(struct scan *s, uint32_t at_column)
{
    uint32_t line = s->line, behind = column(s);
    struct scalar value;

    if (!skip_lines(s))
        return false;
    if (s->line == line && s->at < s->end) {
        if (*s->at == '[' || *s->at == '{')
            return read_flow(s) && end_value(s, at_column);
        return read_scalar(s, false, &value) && put_scalar(s, &value) && end_value(s, at_column);
    }
    if (s->at < s->end && column(s) > at_column)
        return read_block(s, at_column);
    if (goes_on(s, at_column) && dash(s))
        return read_items(s, at_column, true);
    return put_null(s, line, behind);
}

/* The first key has been read, but not its ":". */
static bool read_members(struct scan *s, const struct scalar *first)
{
    uint32_t at_column = first->column;
    struct scalar key = *first;

    if (!s->sink->begin(s->arg, GW_NODE_MAP, key.line, at_column))
        return false;
    for (;;) {
        if (!put_key(s, &key) || !read_member(s, at_column))
            return false;
        if (!goes_on(s, at_column))
            break;
        if (!read_scalar(s, false, &key))
            return false;
    }
    s->sink->end(s->arg);
    return s->at == s->end || column(s) < at_column;
}

static bool read_block(struct scan *s, uint32_t parent)
{
    struct scalar value;

    if (dash(s))
        return read_items(s, column(s), false);
    if (*s->at == '[' || *s->at == '{')
        return read_flow(s) && end_value(s, parent);
    if (!read_scalar(s, false, &value))
        return false;
    skip_spaces(s);
    if (s->at < s->end && *s->at == ':')
        return read_members(s, &value);
    return put_scalar(s, &value) && end_value(s, parent);
}

bool gw_yaml_plain_read(struct gw_str text, const struct gw_yaml_sink *sink, void *arg)
{
    struct scan s = {.at = text.data,
                     .end = text.data + text.len,
                     .line_start = text.data,
                     .line = 1,
                     .sink = sink,
                     .arg = arg};

    if (text.len == 0 || !only_known_bytes(text) || marks_document(&s) || !skip_lines(&s) ||
        s.at == s.end)
        return false;
    return read_block(&s, 0) && s.at == s.end;
}
