/* JSON for the C side: a writer into a gw_buf, and a reader (the only door to jansson).
 * Lua has a codec of its own (script/lib_json.c): it must be faster and exact about arrays.
 *
 * The writer always makes valid JSON: commas and quotes are its own, text that is not UTF-8
 * gets U+FFFD for each wrong byte, numbers that JSON does not have become null. What the
 * caller promises (a key before each value of an object, ends that fit) is asserted. */
#ifndef GW_BASE_JSON_H
#define GW_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* ---- writing ---- */

#define GW_JSON_WRITER_DEPTH_MAX 64

struct gw_json_writer {
    struct gw_buf *buf;
    uint32_t depth;
    uint64_t objects; /* bit n: level n is an object */
    uint64_t filled;  /* bit n: level n has a member, the next one needs a comma */
    bool keyed;       /* a key was written, its value comes next */
    bool pretty;      /* two spaces a level, for people */
};

void gw_json_begin(struct gw_json_writer *writer, struct gw_buf *buf);
void gw_json_object(struct gw_json_writer *writer);
void gw_json_object_end(struct gw_json_writer *writer);
void gw_json_array(struct gw_json_writer *writer);
void gw_json_array_end(struct gw_json_writer *writer);
void gw_json_key(struct gw_json_writer *writer, const char *key);
void gw_json_key_str(struct gw_json_writer *writer, struct gw_str key);
void gw_json_str(struct gw_json_writer *writer, struct gw_str value);
void gw_json_text(struct gw_json_writer *writer, const char *value); /* NULL: null */
void gw_json_int(struct gw_json_writer *writer, int64_t value);
void gw_json_uint(struct gw_json_writer *writer, uint64_t value);
void gw_json_double(struct gw_json_writer *writer, double value);
void gw_json_bool(struct gw_json_writer *writer, bool value);
void gw_json_null(struct gw_json_writer *writer);
/* A value that is JSON already. */
void gw_json_raw(struct gw_json_writer *writer, struct gw_str json);

/* One string with its quotes, for those who write a line by hand. */
void gw_json_quote(struct gw_buf *buf, struct gw_str text);

/* The shortest text of up to 17 digits that reads back as the same double; integers up to
 * 2^53 without point or exponent. `value` is finite. Returns the length (at most 31) and ends
 * with NUL. Nobody calls setlocale(): the decimal point is a point. */
#define GW_JSON_NUMBER_BYTES 32
int gw_json_number_format(double value, char out[GW_JSON_NUMBER_BYTES]);

/* Length of the leading part of `text` that is valid UTF-8 (RFC 3629: no surrogates, no
 * overlong forms, at most U+10FFFF); text.len: all of it. */
size_t gw_utf8_valid(struct gw_str text);

/* ---- reading ---- */

#define GW_JSON_DEPTH_MAX 512 /* of arrays and objects that the reader takes */

struct gw_json; /* a value; lives as long as the document that it is part of */

enum gw_json_type {
    GW_JSON_NULL,
    GW_JSON_BOOL,
    GW_JSON_INT,
    GW_JSON_DOUBLE,
    GW_JSON_STR,
    GW_JSON_ARRAY,
    GW_JSON_OBJECT,
};

/* One whole document; duplicate keys are refused. GW_INVALID with "line:column: what", or
 * GW_LIMIT. */
GW_MUST_CHECK enum gw_rc gw_json_parse(struct gw_str text, struct gw_json **out,
                                       struct gw_err *err);
void gw_json_free(struct gw_json *document); /* NULL is fine */

/* All of these take NULL (a member that is not there) and then give the default. */
bool gw_json_is(const struct gw_json *value, enum gw_json_type type);
enum gw_json_type gw_json_type_of(const struct gw_json *value); /* NULL: GW_JSON_NULL */
const struct gw_json *gw_json_get(const struct gw_json *object, const char *key);
const struct gw_json *gw_json_at(const struct gw_json *array, size_t index);
size_t gw_json_len(const struct gw_json *value); /* members; 0 for what has none */
struct gw_str gw_json_get_str(const struct gw_json *value, struct gw_str otherwise);
int64_t gw_json_get_int(const struct gw_json *value, int64_t otherwise);
double gw_json_get_double(const struct gw_json *value, double otherwise); /* also of an int */
bool gw_json_get_bool(const struct gw_json *value, bool otherwise);

/* Calls `fn` for each member in the order of the text until it returns false. */
typedef bool (*gw_json_member_fn)(void *arg, struct gw_str key, const struct gw_json *value);
void gw_json_each(const struct gw_json *object, gw_json_member_fn fn, void *arg);

#endif
