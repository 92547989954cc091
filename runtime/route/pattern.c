#include "route/pattern.h"

#include <ctype.h>

#include "http/uri.h"
#include "route/table.h"

static bool name_valid(struct gw_str name)
{
    if (name.len == 0)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c != '_' && !isalpha(c) && (i == 0 || (c != '-' && !isdigit(c))))
            return false;
    }
    return true;
}

static bool name_taken(struct gw_str path, size_t before, struct gw_str name)
{
    for (size_t i = 0; i + 1 + name.len < before; i++)
        if (path.data[i] == '/' && path.data[i + 1] == ':' &&
            memcmp(path.data + i + 2, name.data, name.len) == 0 &&
            path.data[i + 2 + name.len] == '/')
            return true;
    return false;
}

static enum gw_rc add_param(struct gw_route_parsed *out, size_t at, struct gw_str segment,
                            struct gw_err *err)
{
    struct gw_str name = gw_str(segment.data + 1, segment.len - 1);

    if (!name_valid(name))
        return gw_err_set(err, GW_INVALID,
                          "\"%.*s\": a parameter takes a whole segment and its name has letters, "
                          "digits, \"_\" and \"-\" only",
                          GW_STR_ARG(segment));
    if (name_taken(out->text, at, name))
        return gw_err_set(err, GW_INVALID, "\"%.*s\" stands twice", GW_STR_ARG(segment));
    if (out->params == GW_ROUTE_PARAMS_MAX)
        return gw_err_set(err, GW_INVALID, "more than %d parameters", GW_ROUTE_PARAMS_MAX);
    out->param_at[out->named++] = (uint16_t)out->segments;
    out->params++;
    return GW_OK;
}

/* Walks the segments; writes the key and counts. out->text is the whole normalised path. */
static enum gw_rc split(struct gw_str path, char *key, struct gw_route_parsed *out,
                        struct gw_err *err)
{
    size_t at = 1, len = 0;

    key[len++] = '/';
    for (;;) {
        const char *slash = memchr(path.data + at, '/', path.len - at);
        size_t end = slash != NULL ? (size_t)(slash - path.data) : path.len;
        struct gw_str segment = gw_str(path.data + at, end - at);

        if (gw_str_eq(segment, GW_STR("*")) && slash == NULL) {
            if (out->params == GW_ROUTE_PARAMS_MAX)
                return gw_err_set(err, GW_INVALID, "more than %d parameters", GW_ROUTE_PARAMS_MAX);
            out->params++;
            out->kind = GW_ROUTE_PATH_PREFIX;
            break;
        }
        if (segment.len > 0 && memchr(segment.data, '*', segment.len) != NULL)
            return gw_err_set(err, GW_INVALID,
                              "\"*\" is the whole last segment (\"/a/*\"); for one segment write "
                              "\":name\", for a part of one a regex (\"~^/a\")");
        if (segment.len > 0 && segment.data[0] == ':') {
            enum gw_rc rc = add_param(out, at, segment, err);
            if (rc != GW_OK)
                return rc;
            key[len++] = GW_ROUTE_SEGMENT;
        } else if (segment.len > 0) {
            memcpy(key + len, segment.data, segment.len);
            len += segment.len;
        }
        out->segments++;
        if (slash == NULL)
            break;
        key[len++] = '/';
        at = end + 1;
    }
    if (out->kind != GW_ROUTE_PATH_PREFIX && out->named > 0)
        out->kind = GW_ROUTE_PATH_PARAM;
    out->key = gw_str(key, len);
    return GW_OK;
}

static enum gw_rc parse_segments(struct gw_arena *arena, struct gw_str text, bool merge,
                                 struct gw_route_parsed *out, struct gw_err *err)
{
    if (memchr(text.data, '?', text.len) != NULL || memchr(text.data, '#', text.len) != NULL)
        return gw_err_set(err, GW_INVALID,
                          "a path ends before \"?\" and \"#\"; parameters of the query stand under "
                          "\"query\"");
    if (memchr(text.data, '{', text.len) != NULL)
        return gw_err_set(err, GW_INVALID, "a parameter is written \":id\", not \"{id}\"");
    if (gw_uri_normalize_path(arena, text, &out->text) != GW_OK)
        return gw_err_set(err, GW_INVALID, "no request can have this path");
    if (merge)
        out->text = gw_uri_merge_slashes(arena, out->text);
    return split(out->text, gw_arena_alloc(arena, out->text.len + 1), out, err);
}

enum gw_rc gw_route_pattern_parse(struct gw_arena *arena, struct gw_str text, bool merge,
                                  struct gw_route_parsed *out, struct gw_err *err)
{
    *out = (struct gw_route_parsed){.kind = GW_ROUTE_PATH_EXACT, .text = text, .key = text};
    if (text.len > GW_ROUTE_PATH_BYTES_MAX)
        return gw_err_set(err, GW_INVALID, "longer than %d bytes", GW_ROUTE_PATH_BYTES_MAX);
    if (text.len > 1 && text.data[0] == '~') {
        out->kind = GW_ROUTE_PATH_REGEX;
        out->text = gw_str(text.data + 1, text.len - 1);
        out->key = gw_route_regex_prefix(arena, out->text);
        return GW_OK;
    }
    if (gw_str_eq(text, GW_STR("*"))) /* OPTIONS * */
        return GW_OK;
    if (text.len == 0 || text.data[0] != '/')
        return gw_err_set(err, GW_INVALID, "a path begins with \"/\", a regex with \"~\"");
    return parse_segments(arena, text, merge, out, err);
}

void gw_route_pattern_any(struct gw_route_parsed *out)
{
    *out =
        (struct gw_route_parsed){.kind = GW_ROUTE_PATH_ANY, .text = GW_STR(""), .key = GW_STR("")};
}

static bool contains(struct gw_str s, const char *part)
{
    size_t len = strlen(part);

    for (size_t i = 0; i + len <= s.len; i++)
        if (memcmp(s.data + i, part, len) == 0)
            return true;
    return false;
}

/* Whether no "|" stands outside all groups: one there would make the prefix only one of
 * several beginnings. We do not read PCRE2's whole language: what could hide a "|" or a bracket
 * from this simple walk counts as "not sure". */
static bool one_branch(struct gw_str regex)
{
    static const char *const unsure[] = {"[:", "[.", "[=", "(*", "\\Q", "\\c", "#"};
    unsigned depth = 0;
    bool class = false;

    if (memchr(regex.data, '|', regex.len) == NULL)
        return true;
    for (size_t i = 0; i < sizeof(unsure) / sizeof(unsure[0]); i++)
        if (contains(regex, unsure[i]))
            return false;
    for (size_t i = 0; i < regex.len; i++) {
        char c = regex.data[i];

        if (c == '\\') {
            i++;
        } else if (class) {
            class = c != ']';
        } else if (c == '[') {
            class = true;
            if (i + 1 < regex.len && regex.data[i + 1] == '^')
                i++;
            if (i + 1 < regex.len && regex.data[i + 1] == ']')
                i++; /* a "]" in front is one of the characters */
        } else if (c == '(') {
            depth++;
        } else if (c == ')') {
            if (depth == 0)
                return false;
            depth--;
        } else if (c == '|' && depth == 0) {
            return false;
        }
    }
    return true;
}

struct gw_str gw_route_regex_prefix(struct gw_arena *arena, struct gw_str regex)
{
    char *prefix;
    size_t len = 0, i = 1;

    if (regex.len == 0 || regex.data[0] != '^' || !one_branch(regex))
        return GW_STR("");
    prefix = gw_arena_alloc(arena, regex.len);
    while (i < regex.len) {
        char c = regex.data[i];
        size_t used = 1;

        if (c == '\\') {
            if (i + 1 == regex.len || isalnum((unsigned char)regex.data[i + 1]))
                break;
            c = regex.data[i + 1];
            used = 2;
        } else if (strchr("^$.[]()|*+?{}", c) != NULL) {
            break;
        }
        if (c < 0x21 || c > 0x7e)
            break;
        /* "b?" in "^/ab?": the quantifier belongs to the last letter, which may be missing. */
        if (i + used < regex.len && strchr("*+?{", regex.data[i + used]) != NULL)
            break;
        prefix[len++] = c;
        i += used;
    }
    return gw_str(prefix, len);
}
