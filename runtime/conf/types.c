/* Types of scalar values: text of the conf -> a field of a struct. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "conf/rows.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit time_units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                         {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit size_units[] = {
    {"", 1}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {NULL, 0}};

/* "16k": digits, then a unit. False: no such form, or it does not fit. */
static bool read_with_unit(struct gw_str text, const struct unit *units, uint64_t *out)
{
    uint64_t value = 0;
    size_t at = 0;

    for (; at < text.len && text.data[at] >= '0' && text.data[at] <= '9'; at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[at] - '0'), &value))
            return false;
    if (at == 0)
        return false;
    for (const struct unit *u = units; u->name != NULL; u++) {
        struct gw_str unit = gw_str(text.data + at, text.len - at);

        /* 16K is as clear as 16k; 5M may be meant as months or as anything. */
        if (units == time_units ? gw_str_eq(unit, gw_str_c(u->name))
                                : gw_str_eq_nocase(unit, gw_str_c(u->name)))
            return !__builtin_mul_overflow(value, u->factor, out);
    }
    return false;
}

bool gw_read_duration(struct gw_str text, uint64_t *ms)
{
    if (gw_str_eq(text, GW_STR("0"))) {
        *ms = 0; /* nothing is nothing in every unit */
        return true;
    }
    return read_with_unit(text, time_units, ms);
}

bool gw_read_size(struct gw_str text, uint64_t *bytes)
{
    return read_with_unit(text, size_units, bytes);
}

/* The largest unit that says it exactly. */
static void format_unit(uint64_t value, const struct unit *units, char *out, size_t size)
{
    const struct unit *best = units;

    for (const struct unit *u = units; u->name != NULL; u++)
        if (value != 0 && value % u->factor == 0)
            best = u;
    (void)snprintf(out, size, "%" PRIu64 "%s", value / best->factor, value == 0 ? "" : best->name);
}

static bool in_bounds(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node,
                      uint64_t value, const struct unit *units)
{
    char text[32];

    if (value < (uint64_t)row->min) {
        format_unit((uint64_t)row->min, units, text, sizeof(text));
        return gw_fault(r, node, "must be at least %s", text);
    }
    if (value > (uint64_t)row->max) {
        format_unit((uint64_t)row->max, units, text, sizeof(text));
        return gw_fault(r, node, "must be at most %s", text);
    }
    return true;
}

static const struct unit plain_units[] = {{"", 1}, {NULL, 0}};

static bool read_bool(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                      void *field)
{
    static const char *const habits[] = {"yes", "no", "on", "off", "y", "n", NULL};
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if ((!node->quoted || node->expanded) && gw_scalar_of(text) == GW_SCALAR_BOOL) {
        *(uint8_t *)field = text.data[0] == 't' || text.data[0] == 'T';
        return true;
    }
    (void)gw_fault(r, node, "must be true or false, not \"%.*s\"", GW_STR_ARG(text));
    for (size_t i = 0; habits[i] != NULL; i++)
        if (gw_str_eq_nocase(text, gw_str_c(habits[i])))
            gw_report_hint(r->report, "in YAML 1.2 this is a text: write %s",
                           i % 2 == 0 ? "true" : "false");
    if (gw_scalar_of(text) == GW_SCALAR_BOOL)
        gw_report_hint(r->report, "write it without quotes");
    return false;
}

/* An integer within the row's bounds. */
static bool integer(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node,
                    int64_t *out)
{
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (!gw_scalar_int(text, out))
        return gw_fault(r, node, "must be %s, not \"%.*s\"", row->type->form, GW_STR_ARG(text));
    if (node->quoted && !node->expanded) {
        (void)gw_fault(r, node, "must be %s, not a text in quotes", row->type->form);
        gw_report_hint(r->report, "write %.*s", GW_STR_ARG(text));
        return false;
    }
    if (*out < row->min)
        return gw_fault(r, node, "must be at least %" PRId64, row->min);
    if (*out > row->max)
        return gw_fault(r, node, "must be at most %" PRId64, row->max);
    return true;
}

static bool read_int(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                     void *field)
{
    int64_t value;

    if (!integer(r, row, node, &value))
        return false;
    *(uint32_t *)field = (uint32_t)value;
    return true;
}

static bool read_signed(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                        void *field)
{
    int64_t value;

    if (!integer(r, row, node, &value))
        return false;
    *(int32_t *)field = (int32_t)value;
    return true;
}

static bool read_workers(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    if (node->kind == GW_NODE_SCALAR && gw_str_eq(node->text, GW_STR("auto"))) {
        *(uint32_t *)field = 0;
        return true;
    }
    return read_int(r, row, node, field);
}

static bool read_duration(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                          void *field)
{
    struct gw_str text;
    int64_t number;
    uint64_t ms;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (!gw_read_duration(text, &ms)) {
        (void)gw_fault(r, node, "must be %s, not \"%.*s\"", row->type->form, GW_STR_ARG(text));
        if (gw_scalar_int(text, &number) && number > 0)
            gw_report_hint(r->report, "give a unit: %" PRId64 "s or %" PRId64 "ms", number, number);
        return false;
    }
    if (!in_bounds(r, row, node, ms, time_units))
        return false;
    *(uint32_t *)field = (uint32_t)ms;
    return true;
}

static bool size(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node,
                 uint64_t *out)
{
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (!gw_read_size(text, out)) {
        (void)gw_fault(r, node, "must be %s, not \"%.*s\"", row->type->form, GW_STR_ARG(text));
        if (text.len > 2 && (text.data[text.len - 1] == 'b' || text.data[text.len - 1] == 'B'))
            gw_report_hint(r->report, "the units are k, m and g (of 1024)");
        return false;
    }
    return in_bounds(r, row, node, *out, size_units);
}

static bool read_size(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                      void *field)
{
    uint64_t value;

    if (!size(r, row, node, &value))
        return false;
    *(uint64_t *)field = value;
    return true;
}

static bool read_size32(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                        void *field)
{
    uint64_t value;

    if (!size(r, row, node, &value))
        return false;
    *(uint32_t *)field = (uint32_t)value;
    return true;
}

static bool read_rate(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                      void *field)
{
    static const struct unit per[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {NULL, 0}};
    const struct unit *unit = per;
    const char *slash;
    struct gw_str text;
    uint64_t bytes;
    size_t head;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    slash = memchr(text.data, '/', text.len);
    head = slash == NULL ? text.len : (size_t)(slash - text.data);
    if (slash != NULL)
        while (unit->name != NULL &&
               !gw_str_eq(gw_str(slash + 1, text.len - head - 1), gw_str_c(unit->name)))
            unit++;
    if (unit->name == NULL || !gw_read_size(gw_str(text.data, head), &bytes) ||
        (slash == NULL && bytes != 0)) {
        (void)gw_fault(r, node, "must be %s, not \"%.*s\"", row->type->form, GW_STR_ARG(text));
        if (slash == NULL && gw_read_size(text, &bytes))
            gw_report_hint(r->report, "write %.*s/s", GW_STR_ARG(text));
        return false;
    }
    bytes = bytes / unit->factor + (bytes % unit->factor != 0 ? 1 : 0);
    if (!in_bounds(r, row, node, bytes, plain_units))
        return false;
    *(uint32_t *)field = (uint32_t)bytes;
    return true;
}

static bool read_enum(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                      void *field)
{
    const char *const *names = row->detail;
    struct gw_buf all = GW_BUF_INIT;
    struct gw_suggest suggest;
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    gw_suggest_begin(&suggest, text);
    for (size_t i = 0; names[i] != NULL; i++) {
        if (gw_str_eq(text, gw_str_c(names[i]))) {
            *(uint8_t *)field = (uint8_t)i;
            gw_buf_fini(&all);
            return true;
        }
        gw_suggest_offer(&suggest, gw_str_c(names[i]));
        gw_buf_printf(&all, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    (void)gw_fault(r, node, "must be one of %.*s, not \"%.*s\"", GW_STR_ARG(gw_buf_str(&all)),
                   GW_STR_ARG(text));
    if (suggest.best.data != NULL)
        gw_report_hint(r->report, "did you mean \"%.*s\"?", GW_STR_ARG(suggest.best));
    gw_buf_fini(&all);
    return false;
}

static bool read_string(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                        void *field)
{
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (text.len == 0)
        return gw_fault(r, node, "must not be empty");
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
            return gw_fault(r, node, "holds a control character (0x%02x)",
                            (unsigned char)text.data[i]);
    *(struct gw_ref *)field = gw_image_add_str(r->image, text);
    return true;
}

static bool read_text(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                      void *field)
{
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    *(struct gw_ref *)field = gw_image_add_str(r->image, text);
    return true;
}

static bool read_path(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                      void *field)
{
    struct gw_ref ref;

    if (!read_string(r, row, node, &ref))
        return false;
    *(struct gw_ref *)field = gw_image_add_str(r->image, gw_path_absolute(r, node, node->text));
    return true;
}

static bool is_tchar(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool gw_is_token(struct gw_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_tchar(text.data[i]))
            return false;
    return text.len > 0;
}

static bool read_token(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       void *field)
{
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (!gw_is_token(text))
        return gw_fault(r, node, "must be %s, not \"%.*s\"", row->type->form, GW_STR_ARG(text));
    *(struct gw_ref *)field = gw_image_add_str(r->image, text);
    return true;
}

/* ---- their JSON Schema ---- */

static void schema_bool(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"type\":\"boolean\"}," GW_SCHEMA_ENV "]");
}

static void schema_int(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out,
                  "\"anyOf\":[{\"type\":\"integer\",\"minimum\":%" PRId64 ",\"maximum\":%" PRId64
                  "}," GW_SCHEMA_ENV "]",
                  row->min, row->max);
}

static void schema_workers(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out,
                  "\"anyOf\":[{\"const\":\"auto\"},{\"type\":\"integer\",\"minimum\":%" PRId64
                  ",\"maximum\":%" PRId64 "}," GW_SCHEMA_ENV "]",
                  row->min, row->max);
}

static void schema_pattern(struct gw_buf *out, const char *pattern)
{
    gw_buf_printf(out,
                  "\"anyOf\":[{\"type\":\"string\",\"pattern\":\"%s\"},"
                  "{\"type\":\"integer\",\"minimum\":0}," GW_SCHEMA_ENV "]",
                  pattern);
}

static void schema_duration(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"type\":\"string\",\"pattern\":"
                       "\"^([0-9]+(ms|s|m|h|d)|0)$\"},{\"const\":0}," GW_SCHEMA_ENV "]");
}

static void schema_size(const struct gw_row *row, struct gw_buf *out)
{
    schema_pattern(out, "^[0-9]+[kmgKMG]?$");
}

static void schema_rate(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"type\":\"string\",\"pattern\":"
                       "\"^([0-9]+[kmg]?/[smhd]|0)$\"},{\"const\":0}," GW_SCHEMA_ENV "]");
}

static void schema_enum(const struct gw_row *row, struct gw_buf *out)
{
    const char *const *names = row->detail;

    gw_buf_printf(out, "\"anyOf\":[{\"enum\":[");
    for (size_t i = 0; names[i] != NULL; i++)
        gw_buf_printf(out, "%s\"%s\"", i > 0 ? "," : "", names[i]);
    gw_buf_printf(out, "]}," GW_SCHEMA_ENV "]");
}

/* Every plain scalar is a string where a string is wanted. */
static void schema_string(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":[\"string\",\"number\",\"boolean\"]");
}

const struct gw_type gw_type_bool = {
    .form = "true or false", .read = read_bool, .schema = schema_bool};
const struct gw_type gw_type_int = {.form = "an integer", .read = read_int, .schema = schema_int};
const struct gw_type gw_type_signed = {
    .form = "an integer", .read = read_signed, .schema = schema_int};
const struct gw_type gw_type_workers = {
    .form = "auto or an integer", .read = read_workers, .schema = schema_workers};
const struct gw_type gw_type_duration = {
    .form = "a duration such as 250ms, 5s, 1h", .read = read_duration, .schema = schema_duration};
const struct gw_type gw_type_size = {
    .form = "a size such as 512, 16k, 8m, 1g", .read = read_size, .schema = schema_size};
const struct gw_type gw_type_size32 = {
    .form = "a size such as 512, 16k, 8m, 1g", .read = read_size32, .schema = schema_size};
const struct gw_type gw_type_rate = {
    .form = "bytes in a time such as 100/s, 16k/s", .read = read_rate, .schema = schema_rate};
const struct gw_type gw_type_enum = {
    .form = "one of a few words", .read = read_enum, .schema = schema_enum};
const struct gw_type gw_type_string = {
    .form = "a text", .read = read_string, .schema = schema_string};
const struct gw_type gw_type_text = {.form = "a text", .read = read_text, .schema = schema_string};
const struct gw_type gw_type_path = {.form = "a path", .read = read_path, .schema = schema_string};
const struct gw_type gw_type_token = {
    .form = "a word of letters, digits and -_.", .read = read_token, .schema = schema_string};
