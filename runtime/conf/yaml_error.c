#include "conf/yaml_error.h"

#include <string.h>

#define WORD_BYTES_MAX 60

static const char QUOTE[] = "quote";

/* Columns count characters, not bytes. */
static size_t byte_at(struct gw_str text, struct gw_where where)
{
    size_t at = 0;

    for (uint32_t line = 1; line < where.line; line++) {
        const char *end = memchr(text.data + at, '\n', text.len - at);

        if (end == NULL)
            return text.len;
        at = (size_t)(end - text.data) + 1;
    }
    for (uint32_t column = 1; column < where.column && at < text.len; column++) {
        at++;
        while (at < text.len && ((unsigned char)text.data[at] & 0xc0) == 0x80)
            at++;
    }
    return at;
}

struct gw_str gw_yaml_word(struct gw_str text, struct gw_where where)
{
    size_t from = byte_at(text, where);
    size_t to = from;

    while (to < text.len && strchr(" \t\r\n,[]{}#", text.data[to]) == NULL && text.data[to] != '\0')
        to++;
    if (to > from && text.data[to - 1] == ':')
        to--;
    if (to - from > WORD_BYTES_MAX) {
        to = from + WORD_BYTES_MAX;
        while (to > from && ((unsigned char)text.data[to] & 0xc0) == 0x80)
            to--;
    }
    return gw_str(text.data + from, to - from);
}

/* Texts of the library (any NULL fits) and the byte where it stopped (0: any), in the order in
 * which they are tried. `at_context`: the fault is where the thing began. The hint QUOTE
 * shows the word that stands there in quotes. */
static const struct row {
    const char *problem;
    const char *context;
    char byte;
    bool at_context;
    const char *text;
    const char *hint;
} rows[] = {
    {NULL, "while scanning an alias", 0, true,
     "YAML reads a value that begins with \"*\" as an alias", QUOTE},
    {NULL, "while scanning an anchor", 0, true,
     "YAML reads a value that begins with \"&\" as an anchor", QUOTE},
    {"found character that cannot start any token", NULL, '\t', false, "a tab cannot indent",
     "use spaces"},
    {"found a tab character", NULL, 0, false, "a tab cannot indent", "use spaces"},
    {"found character that cannot start any token", NULL, 0, false,
     "a value cannot begin with this character", QUOTE},
    {"found unexpected end of stream", "while scanning a quoted scalar", 0, true,
     "the quote that opens here is not closed", NULL},
    {"found unexpected document indicator", NULL, 0, true,
     "the quote that opens here is not closed before \"---\"", NULL},
    {"found unknown escape character", NULL, 0, false,
     "this escape is unknown inside of \"double quotes\"",
     "write \\\\ for a backslash, or use 'single quotes'"},
    {"did not find expected hexdecimal number", NULL, 0, false,
     "an escape such as \\x41 needs hexadecimal digits", "write \\\\ for a backslash"},
    {"found invalid Unicode character escape code", NULL, 0, false,
     "this escape is no Unicode character", NULL},
    {"mapping values are not allowed in this context", NULL, 0, false,
     "a \": \" is not allowed here", "check the indentation, or quote the text that holds it"},
    {"could not find expected ':'", NULL, 0, true, "a key is not followed by \":\"",
     "write \"key: value\", or quote the text"},
    {"block sequence entries are not allowed in this context", NULL, 0, false,
     "a \"- \" is not allowed here", "begin the list in a line of its own"},
    {"did not find expected ',' or ']'", NULL, 0, true,
     "the list that opens here is not closed by \"]\", or a \",\" is missing in it",
     "texts in a [list] that hold any of , [ ] { } must stand in quotes"},
    {"did not find expected ',' or '}'", NULL, 0, true,
     "the map that opens here is not closed by \"}\", or a \",\" is missing in it",
     "texts in a {map} that hold any of , [ ] { } must stand in quotes"},
    {"did not find expected key", NULL, 0, false, "a key was expected here",
     "check the indentation"},
    {"did not find expected '-' indicator", NULL, 0, false, "a \"- \" was expected here",
     "check the indentation of the list"},
    {"did not find expected node content", NULL, 0, false, "a value was expected here", NULL},
    {"did not find expected <document start>", NULL, 0, false, "nothing can follow here",
     "a file is one map: check the indentation"},
    {"found undefined tag handle", NULL, 0, false, "this tag is not supported",
     "a text that begins with \"!\" must stand in quotes"},
    {NULL, "while scanning a tag", 0, true, "this tag is not supported", QUOTE},
    {NULL, "while parsing a tag", 0, true, "this tag is not supported",
     "a text that begins with \"!\" must stand in quotes"},
    {NULL, "while scanning a directive", 0, true,
     "a line that begins with \"%\" is a directive of YAML", "quote it, or indent it"},
};

static bool fits(const char *said, const char *wanted)
{
    return wanted == NULL || (said != NULL && strcmp(said, wanted) == 0);
}

static void explain_bytes(const struct gw_yaml_error *error, struct gw_str text,
                          struct gw_report *report)
{
    struct gw_where where = {error->problem_where.file, 1, 1};
    size_t offset = error->offset < text.len ? error->offset : text.len;

    for (size_t i = 0; i < offset; i++) {
        if (text.data[i] == '\n') {
            where.line++;
            where.column = 1;
        } else if (((unsigned char)text.data[i] & 0xc0) != 0x80) {
            where.column++;
        }
    }
    if (error->problem != NULL && strstr(error->problem, "control") != NULL) {
        gw_report_fault(report, where, GW_STR(""), "the control character 0x%02x cannot stand here",
                        error->value);
        gw_report_hint(report, "in \"double quotes\" it can be written \\x%02x", error->value);
        return;
    }
    gw_report_fault(report, where, GW_STR(""), "the text is not UTF-8 (%s)",
                    error->problem == NULL ? "unknown" : error->problem);
    gw_report_hint(report, "save the file as UTF-8");
}

/* `[${PORT}]`: plain text ends at the brace, which the library cannot know to be meant. */
static bool explain_variable(const struct gw_yaml_error *error, struct gw_str text,
                             struct gw_report *report)
{
    size_t at = byte_at(text, error->problem_where);
    struct gw_where where = error->problem_where;
    struct gw_str word;

    if (at == 0 || at >= text.len || text.data[at] != '{' || text.data[at - 1] != '$')
        return false;
    where.column--;
    word = gw_str(text.data + at - 1, 0);
    while (word.data + word.len < text.data + text.len && word.len < WORD_BYTES_MAX &&
           word.data[word.len] != '\n')
        if (word.data[word.len++] == '}')
            break;
    gw_report_fault(report, where, GW_STR(""), "in a [list] or {map}, \"${\" must stand in quotes");
    gw_report_hint(report, "write \"%.*s\"", GW_STR_ARG(word));
    return true;
}

void gw_yaml_explain(const struct gw_yaml_error *error, struct gw_str text,
                     struct gw_report *report)
{
    size_t at = byte_at(text, error->problem_where);
    char byte = at < text.len ? text.data[at] : '\0';

    if (error->bytes) {
        explain_bytes(error, text, report);
        return;
    }
    if (explain_variable(error, text, report))
        return;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct gw_where where = row->at_context ? error->context_where : error->problem_where;
        struct gw_str word;

        if (!fits(error->problem, row->problem) || !fits(error->context, row->context) ||
            (row->byte != 0 && row->byte != byte))
            continue;
        word = gw_yaml_word(text, where);
        gw_report_fault(report, where, GW_STR(""), "%s", row->text);
        if (row->hint == QUOTE)
            gw_report_hint(report, "quote it: \"%.*s\"", GW_STR_ARG(word));
        else if (row->hint != NULL)
            gw_report_hint(report, "%s", row->hint);
        return;
    }
    gw_report_fault(report, error->problem_where, GW_STR(""), "%s%s%s",
                    error->problem == NULL ? "the text is not YAML" : error->problem,
                    error->context == NULL ? "" : ", ",
                    error->context == NULL ? "" : error->context);
}
