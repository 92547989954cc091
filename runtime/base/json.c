#include "base/json.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

/* ---- UTF-8 ---- */

static bool tail(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the character at `at`, 0: it is not one (RFC 3629, table of well-formed sequences). */
static size_t character(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];

    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return left >= 2 && tail(at[1]) ? 2 : 0;
    if ((first & 0xf0) == 0xe0) {
        if (left < 3 || !tail(at[1]) || !tail(at[2]))
            return 0;
        if ((first == 0xe0 && at[1] < 0xa0) || (first == 0xed && at[1] > 0x9f))
            return 0;
        return 3;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        if (left < 4 || !tail(at[1]) || !tail(at[2]) || !tail(at[3]))
            return 0;
        if ((first == 0xf0 && at[1] < 0x90) || (first == 0xf4 && at[1] > 0x8f))
            return 0;
        return 4;
    }
    return 0;
}

size_t gw_utf8_valid(struct gw_str text)
{
    const uint8_t *at = (const uint8_t *)text.data;
    size_t i = 0;

    while (i < text.len) {
        /* Eight bytes of ASCII at a time: nearly all text is. */
        if (text.len - i >= 8) {
            uint64_t eight;
            memcpy(&eight, at + i, 8);
            if ((eight & 0x8080808080808080ULL) == 0) {
                i += 8;
                continue;
            }
        }
        size_t len = character(at + i, text.len - i);
        if (len == 0)
            break;
        i += len;
    }
    return i;
}

/* ---- writing ---- */

static bool plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

static void escape_byte(struct gw_buf *buf, uint8_t byte)
{
    static const char shorts[] = "\bb\ff\nn\rr\tt\"\"\\\\";

    for (const char *pair = shorts; *pair != '\0'; pair += 2) {
        if ((uint8_t)*pair == byte) {
            char out[2] = {'\\', pair[1]};
            gw_buf_add(buf, out, 2);
            return;
        }
    }
    gw_buf_printf(buf, "\\u%04x", byte);
}

void gw_json_quote(struct gw_buf *buf, struct gw_str text)
{
    const uint8_t *at = (const uint8_t *)text.data;
    size_t from = 0, i = 0;

    gw_buf_add(buf, "\"", 1);
    while (i < text.len) {
        size_t len = plain(at[i]) ? 1 : 0;
        if (len == 0 && at[i] >= 0x80)
            len = character(at + i, text.len - i);
        if (len > 0) {
            i += len;
            continue;
        }
        gw_buf_add(buf, at + from, i - from);
        if (at[i] >= 0x80)
            gw_buf_add(buf, "\xef\xbf\xbd", 3); /* U+FFFD */
        else
            escape_byte(buf, at[i]);
        from = ++i;
    }
    if (text.len > from)
        gw_buf_add(buf, at + from, text.len - from);
    gw_buf_add(buf, "\"", 1);
}

#define EXACT_MAX 9007199254740992.0 /* 2^53: below it every integer is a double */

static int put_digits(uint64_t value, char *out)
{
    char turned[20];
    int len = 0;

    do
        turned[len++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    for (int i = 0; i < len; i++)
        out[i] = turned[len - 1 - i];
    return len;
}

/* value = m / 10^k with m below 2^53: both are exact doubles and so is what a reader makes of
 * the quotient. The smallest k is the shortest text. Spares most numbers of the world the
 * printf() below. 0: there is no such k. */
static int put_decimal(double value, char *out)
{
    static const double powers[] = {1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10};

    for (int k = 0; k < 10; k++) {
        double scaled = value * powers[k];
        if (scaled >= EXACT_MAX)
            return 0;
        uint64_t m = (uint64_t)(scaled + 0.5);
        if ((double)m / powers[k] != value)
            continue;
        uint64_t unit = (uint64_t)powers[k], rest = m % unit;
        int len = put_digits(m / unit, out);
        out[len++] = '.';
        for (int i = k; i >= 0; i--, rest /= 10)
            out[len + i] = (char)('0' + rest % 10);
        return len + k + 1;
    }
    return 0;
}

int gw_json_number_format(double value, char out[GW_JSON_NUMBER_BYTES])
{
    char *at = out;
    double size = fabs(value);
    int len = 0;

    assert(isfinite(value));
    if (value < 0 || (value == 0 && signbit(value)))
        *at++ = '-';
    if (size <= EXACT_MAX && size == (double)(uint64_t)size)
        len = put_digits((uint64_t)size, at);
    else if (size >= 1e-5 && size < EXACT_MAX)
        len = put_decimal(size, at);
    for (int digits = 15; len == 0; digits++) {
        int some = snprintf(at, GW_JSON_NUMBER_BYTES - 1, "%.*g", digits, size);
        if (digits == 17 || strtod(at, NULL) == size)
            len = some;
    }
    at += len;
    *at = '\0';
    return (int)(at - out);
}

void gw_json_begin(struct gw_json_writer *w, struct gw_buf *buf)
{
    *w = (struct gw_json_writer){.buf = buf};
}

static uint64_t level_bit(const struct gw_json_writer *w)
{
    return 1ULL << (w->depth - 1);
}

static void new_line(struct gw_json_writer *w)
{
    if (!w->pretty)
        return;
    gw_buf_add(w->buf, "\n", 1);
    for (uint32_t i = 0; i < w->depth; i++)
        gw_buf_add(w->buf, "  ", 2);
}

/* What stands in front of a member: a comma and, for people, a line. */
static void member(struct gw_json_writer *w)
{
    if (w->depth == 0)
        return;
    if (w->filled & level_bit(w))
        gw_buf_add(w->buf, ",", 1);
    w->filled |= level_bit(w);
    new_line(w);
}

static void value(struct gw_json_writer *w)
{
    if (w->keyed) {
        w->keyed = false;
        return;
    }
    assert(w->depth == 0 || !(w->objects & level_bit(w)));
    member(w);
}

static void begin(struct gw_json_writer *w, bool object)
{
    value(w);
    assert(w->depth < GW_JSON_WRITER_DEPTH_MAX);
    w->depth++;
    w->filled &= ~level_bit(w);
    w->objects = object ? w->objects | level_bit(w) : w->objects & ~level_bit(w);
    gw_buf_add(w->buf, object ? "{" : "[", 1);
}

static void end(struct gw_json_writer *w, bool object)
{
    assert(w->depth > 0);
    assert(!w->keyed);
    assert(((w->objects & level_bit(w)) != 0) == object);
    bool filled = (w->filled & level_bit(w)) != 0;
    w->depth--;
    if (filled)
        new_line(w);
    gw_buf_add(w->buf, object ? "}" : "]", 1);
}

void gw_json_object(struct gw_json_writer *w)
{
    begin(w, true);
}

void gw_json_object_end(struct gw_json_writer *w)
{
    end(w, true);
}

void gw_json_array(struct gw_json_writer *w)
{
    begin(w, false);
}

void gw_json_array_end(struct gw_json_writer *w)
{
    end(w, false);
}

void gw_json_key_str(struct gw_json_writer *w, struct gw_str key)
{
    assert(w->depth > 0);
    assert(w->objects & level_bit(w));
    assert(!w->keyed);
    member(w);
    gw_json_quote(w->buf, key);
    gw_buf_add(w->buf, w->pretty ? ": " : ":", w->pretty ? 2 : 1);
    w->keyed = true;
}

void gw_json_key(struct gw_json_writer *w, const char *key)
{
    gw_json_key_str(w, gw_str_c(key));
}

void gw_json_str(struct gw_json_writer *w, struct gw_str text)
{
    value(w);
    gw_json_quote(w->buf, text);
}

void gw_json_text(struct gw_json_writer *w, const char *text)
{
    if (text == NULL)
        gw_json_null(w);
    else
        gw_json_str(w, gw_str_c(text));
}

void gw_json_int(struct gw_json_writer *w, int64_t number)
{
    value(w);
    gw_buf_printf(w->buf, "%lld", (long long)number);
}

void gw_json_uint(struct gw_json_writer *w, uint64_t number)
{
    value(w);
    gw_buf_printf(w->buf, "%llu", (unsigned long long)number);
}

void gw_json_double(struct gw_json_writer *w, double number)
{
    char text[GW_JSON_NUMBER_BYTES];

    if (!isfinite(number)) {
        gw_json_null(w);
        return;
    }
    value(w);
    gw_buf_add(w->buf, text, (size_t)gw_json_number_format(number, text));
}

void gw_json_bool(struct gw_json_writer *w, bool truth)
{
    gw_json_raw(w, truth ? GW_STR("true") : GW_STR("false"));
}

void gw_json_null(struct gw_json_writer *w)
{
    gw_json_raw(w, GW_STR("null"));
}

void gw_json_raw(struct gw_json_writer *w, struct gw_str json)
{
    value(w);
    gw_buf_add_str(w->buf, json);
}

/* ---- reading: struct gw_json is jansson's json_t under another name ---- */

static const json_t *inside(const struct gw_json *value_)
{
    return (const json_t *)value_;
}

/* jansson bounds the depth at 2048 when it parses, and its own free is recursive: a lower
 * bound keeps both off the end of the stack. Brackets in strings do not count. */
static bool too_deep(struct gw_str text)
{
    uint32_t depth = 0;
    bool quoted = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > GW_JSON_DEPTH_MAX)
                return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

enum gw_rc gw_json_parse(struct gw_str text, struct gw_json **out, struct gw_err *err)
{
    json_error_t error;
    json_t *root;

    if (too_deep(text))
        return gw_err_set(err, GW_LIMIT, "JSON is nested deeper than %d levels", GW_JSON_DEPTH_MAX);
    root = json_loadb(text.data, text.len,
                      JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (root == NULL && json_error_code(&error) == json_error_out_of_memory)
        return gw_err_set(err, GW_NOMEM, "JSON: out of memory");
    if (root == NULL)
        return gw_err_set(err, GW_INVALID, "%d:%d: %s", error.line > 0 ? error.line : 1,
                          error.column > 0 ? error.column : 1, error.text);
    *out = (struct gw_json *)root;
    return GW_OK;
}

void gw_json_free(struct gw_json *document)
{
    json_decref((json_t *)document);
}

enum gw_json_type gw_json_type_of(const struct gw_json *value_)
{
    static const enum gw_json_type types[] = {
        [JSON_OBJECT] = GW_JSON_OBJECT, [JSON_ARRAY] = GW_JSON_ARRAY, [JSON_STRING] = GW_JSON_STR,
        [JSON_INTEGER] = GW_JSON_INT,   [JSON_REAL] = GW_JSON_DOUBLE, [JSON_TRUE] = GW_JSON_BOOL,
        [JSON_FALSE] = GW_JSON_BOOL,    [JSON_NULL] = GW_JSON_NULL,
    };

    return value_ == NULL ? GW_JSON_NULL : types[json_typeof(inside(value_))];
}

bool gw_json_is(const struct gw_json *value_, enum gw_json_type type)
{
    return value_ != NULL && gw_json_type_of(value_) == type;
}

const struct gw_json *gw_json_get(const struct gw_json *object, const char *key)
{
    return (const struct gw_json *)json_object_get(inside(object), key);
}

const struct gw_json *gw_json_at(const struct gw_json *array, size_t index)
{
    return (const struct gw_json *)json_array_get(inside(array), index);
}

size_t gw_json_len(const struct gw_json *value_)
{
    return gw_json_is(value_, GW_JSON_ARRAY) ? json_array_size(inside(value_))
                                             : json_object_size(inside(value_));
}

struct gw_str gw_json_get_str(const struct gw_json *value_, struct gw_str otherwise)
{
    if (!gw_json_is(value_, GW_JSON_STR))
        return otherwise;
    return gw_str(json_string_value(inside(value_)), json_string_length(inside(value_)));
}

int64_t gw_json_get_int(const struct gw_json *value_, int64_t otherwise)
{
    return gw_json_is(value_, GW_JSON_INT) ? json_integer_value(inside(value_)) : otherwise;
}

double gw_json_get_double(const struct gw_json *value_, double otherwise)
{
    if (gw_json_is(value_, GW_JSON_INT) || gw_json_is(value_, GW_JSON_DOUBLE))
        return json_number_value(inside(value_));
    return otherwise;
}

bool gw_json_get_bool(const struct gw_json *value_, bool otherwise)
{
    return gw_json_is(value_, GW_JSON_BOOL) ? json_is_true(inside(value_)) : otherwise;
}

void gw_json_each(const struct gw_json *object, gw_json_member_fn fn, void *arg)
{
    json_t *root = (json_t *)object;

    for (void *at = json_object_iter(root); at != NULL; at = json_object_iter_next(root, at)) {
        struct gw_str key = gw_str(json_object_iter_key(at), json_object_iter_key_len(at));
        if (!fn(arg, key, (const struct gw_json *)json_object_iter_value(at)))
            return;
    }
}
