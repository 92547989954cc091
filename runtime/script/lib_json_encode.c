/* gw.json.encode: Lua values to JSON text (RFC 8259). What JSON does not have is refused,
 * never guessed. The text lives in the VM's one buffer until it is whole. */
#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "script/lib_json.h"
#include "script/lib_rows.h"

struct writer {
    lua_State *L;
    struct gw_buf *out;
    struct gw_json_options options;
    uint32_t depth;
    int array; /* stack index of the array mark */
    enum gw_rc rc;
    const char *what;
};

static bool write_value(struct writer *w);

static bool refuse(struct writer *w, enum gw_rc rc, const char *what)
{
    w->rc = rc;
    w->what = what;
    return false;
}

static bool within(struct writer *w)
{
    return gw_buf_len(w->out) <= w->options.bytes_max ||
           refuse(w, GW_LIMIT, "the text would be too long");
}

#define CHUNK 1024 /* bytes of a string that are escaped in one reservation */

static char *put_escape(char *out, uint8_t byte)
{
    static const char shorts[32] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    static const char hex[] = "0123456789abcdef";

    *out++ = '\\';
    if (byte >= 0x20) {
        *out++ = (char)byte;
    } else if (shorts[byte] != 0) {
        *out++ = shorts[byte];
    } else {
        memcpy(out, "u00", 3);
        out[3] = hex[byte >> 4];
        out[4] = hex[byte & 15];
        out += 5;
    }
    return out;
}

/* What stands between the quotes. */
static bool write_escaped(struct writer *w, const char *at, const char *end, uint64_t *high)
{
    struct gw_buf *to = w->out;

    while (at < end) {
        const char *stop = end - at > CHUNK ? at + CHUNK : end;
        char *begin = gw_buf_reserve(to, 6 * CHUNK), *out = begin;
        while (at < stop) {
            const char *plain = gw_json_plain_run(at, stop, high);
            memcpy(out, at, (size_t)(plain - at));
            out += plain - at;
            at = plain;
            for (; at < stop && ((uint8_t)*at < 0x20 || *at == '"' || *at == '\\'); at++)
                out = put_escape(out, (uint8_t)*at);
        }
        gw_buf_added(to, (size_t)(out - begin));
        if (!within(w)) /* it may grow to six times its length */
            return false;
    }
    return true;
}

/* `front` and `behind` ("" or one character) stand around it: one reservation for all. */
static bool write_string(struct writer *w, int index, const char *front, const char *behind)
{
    uint64_t high = 0;
    size_t len;
    const char *at = lua_tolstring(w->L, index, &len), *end = at + len;

    if (len > w->options.bytes_max)
        return refuse(w, GW_LIMIT, "the text would be too long");
    /* Most strings need no escape: one copy. */
    const char *clean = gw_json_plain_run(at, end, &high);
    size_t some = (size_t)(clean - at);
    char *begin = gw_buf_reserve(w->out, some + 4), *out = begin;
    if (*front != '\0')
        *out++ = *front;
    *out++ = '"';
    memcpy(out, at, some);
    out += some;
    if (clean < end) {
        gw_buf_added(w->out, (size_t)(out - begin));
        if (!write_escaped(w, clean, end, &high))
            return false;
        begin = out = gw_buf_reserve(w->out, 2);
    }
    *out++ = '"';
    if (*behind != '\0')
        *out++ = *behind;
    gw_buf_added(w->out, (size_t)(out - begin));
    if (high != 0 && gw_utf8_valid(gw_str(at, len)) != len)
        return refuse(w, GW_INVALID, "a string is not UTF-8");
    return within(w);
}

static bool write_number(struct writer *w, int index)
{
    double number = lua_tonumber(w->L, index);

    if (!isfinite(number))
        return refuse(w, GW_INVALID, "JSON has no NaN and no infinity");
    char *to = gw_buf_reserve(w->out, GW_JSON_NUMBER_BYTES);
    gw_buf_added(w->out, (size_t)gw_json_number_format(number, to));
    return true;
}

/* Length of the sequence at the top of the stack; -1: it is to be an object. A sequence has no
 * key but 1..n; a hole in it (which # may or may not see) becomes null. */
static int sequence(struct writer *w)
{
    lua_State *L = w->L;

    if (lua_getmetatable(L, -1)) {
        bool marked = lua_rawequal(L, -1, w->array);
        lua_pop(L, 1);
        if (marked)
            return (int)lua_objlen(L, -1);
    }
    int n = (int)lua_objlen(L, -1);
    if (n == 0)
        return -1;
    /* Keys of the array part come first and in order: in the usual case nothing is behind n. */
    lua_pushinteger(L, n);
    bool more = lua_next(L, -2) != 0;
    if (more)
        lua_pop(L, 2);
    lua_rawgeti(L, -1, 0);
    bool zero = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (zero)
        return -1;
    if (!more)
        return n;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        double key = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        if (!(key >= 1 && key <= n && key == (double)(int)key)) {
            lua_pop(L, 1);
            return -1;
        }
    }
    return n;
}

static bool write_array(struct writer *w, int n)
{
    gw_buf_add(w->out, "[", 1);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            gw_buf_add(w->out, ",", 1);
        lua_rawgeti(w->L, -1, i);
        if (!write_value(w))
            return false;
        lua_pop(w->L, 1);
    }
    gw_buf_add(w->out, "]", 1);
    return within(w);
}

/* The key at the top of the stack but one. A whole number becomes its text, unless the same
 * text is a key too. */
static bool write_key(struct writer *w, bool first)
{
    lua_State *L = w->L;
    char text[GW_JSON_NUMBER_BYTES];

    if (lua_type(L, -2) == LUA_TSTRING)
        return write_string(w, -2, first ? "" : ",", ":");
    double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0.5;
    if (!(fabs(key) <= GW_JSON_EXACT_MAX && key == floor(key)))
        return refuse(w, GW_INVALID, "a key is neither text nor a whole number");
    int len = gw_json_number_format(key, text);
    lua_pushlstring(L, text, (size_t)len);
    lua_rawget(L, -4);
    bool both = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (both)
        return refuse(w, GW_INVALID, "a key is there as number and as text");
    gw_buf_add(w->out, first ? "\"" : ",\"", first ? 1 : 2);
    gw_buf_add(w->out, text, (size_t)len);
    gw_buf_add(w->out, "\":", 2);
    return true;
}

static bool write_object(struct writer *w)
{
    lua_State *L = w->L;
    bool first = true;

    gw_buf_add(w->out, "{", 1);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (!write_key(w, first))
            return false;
        first = false;
        if (!write_value(w))
            return false;
        lua_pop(L, 1);
    }
    gw_buf_add(w->out, "}", 1);
    return within(w);
}

static bool write_table(struct writer *w)
{
    if (++w->depth > w->options.depth_max)
        return refuse(w, GW_LIMIT, "nested too deeply, or a table contains itself");
    luaL_checkstack(w->L, 6, "json: nested too deeply");
    int n = sequence(w);
    bool good = n >= 0 ? write_array(w, n) : write_object(w);
    w->depth--;
    return good;
}

/* Writes the value at the top of the stack. [-0, +0] */
static bool write_value(struct writer *w)
{
    switch (lua_type(w->L, -1)) {
    case LUA_TSTRING:
        return write_string(w, -1, "", "");
    case LUA_TNUMBER:
        return write_number(w, -1);
    case LUA_TTABLE:
        return write_table(w);
    case LUA_TBOOLEAN:
        if (lua_toboolean(w->L, -1))
            gw_buf_add(w->out, "true", 4);
        else
            gw_buf_add(w->out, "false", 5);
        return true;
    case LUA_TNIL: /* a hole of an array, or encode(nil) */
        gw_buf_add(w->out, "null", 4);
        return true;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(w->L, -1) == NULL) {
            gw_buf_add(w->out, "null", 4);
            return true;
        }
        return refuse(w, GW_WRONG_TYPE, "a pointer has no JSON form");
    default:
        return refuse(w, GW_WRONG_TYPE, "a function, thread or userdata has no JSON form");
    }
}

/* json.encode(value, { depth, size }) -> text | nil, message, code   [-0, +1|+3] */
int gw_json_encode(lua_State *L)
{
    struct gw_json_state *state = gw_json_state_of(L);
    struct writer w = {.L = L, .out = &state->out, .array = 3};

    luaL_checkany(L, 1);
    gw_json_read_options(L, 2, &w.options);
    lua_settop(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->array_ref);
    lua_pushvalue(L, 1);
    gw_buf_clear(w.out);
    if (!write_value(&w) || !within(&w)) {
        gw_json_give_back(w.out);
        lua_settop(L, 0);
        lua_pushfstring(L, "json: %s", w.what);
        return gw_lib_fail(L, w.rc, lua_tostring(L, -1));
    }
    lua_pushlstring(L, w.out->data + w.out->from, gw_buf_len(w.out));
    gw_json_give_back(w.out);
    return 1;
}
