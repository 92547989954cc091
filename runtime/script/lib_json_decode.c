/* gw.json.decode: JSON text (RFC 8259) to Lua values.
 * Its state is in C and its values on Lua's stack: a push that raises (memory) leaves nothing
 * behind. */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "script/lib_json.h"
#include "script/lib_rows.h"

#define NUMBER_BYTES_MAX 1024
#define SOME 128 /* bytes of a string with escapes that are written in one reservation */

struct reader {
    lua_State *L;
    const char *begin, *at, *end;
    struct gw_json_state *state;
    struct gw_json_options options;
    uint32_t depth;
    int array; /* stack index of the array mark */
    enum gw_rc rc;
    const char *what; /* why it failed, at `at` */
};

static bool value(struct reader *r);

static bool wrong(struct reader *r, enum gw_rc rc, const char *what)
{
    if (r->rc == GW_OK) {
        r->rc = rc;
        r->what = what;
    }
    return false;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

static int hex4(const char *at)
{
    int code = 0;

    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    return code;
}

static char *put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 63));
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    }
    return out;
}

/* \uXXXX, with its second half where it is a surrogate; `at` stands behind "\u". */
static bool unicode_escape(struct reader *r, char **out)
{
    int code = r->end - r->at >= 4 ? hex4(r->at) : -1;

    if (code < 0)
        return wrong(r, GW_INVALID, "four hex digits expected behind \\u");
    if (code >= 0xdc00 && code <= 0xdfff)
        return wrong(r, GW_INVALID, "a second half of a surrogate pair without the first");
    if (code >= 0xd800 && code <= 0xdbff) {
        int low =
            r->end - r->at >= 10 && r->at[4] == '\\' && r->at[5] == 'u' ? hex4(r->at + 6) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return wrong(r, GW_INVALID, "a first half of a surrogate pair without the second");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        r->at += 6;
    }
    r->at += 4;
    *out = put_utf8(*out, (uint32_t)code);
    return true;
}

/* One escape; `at` stands on the backslash. Writes at most 4 bytes. */
static bool escape(struct reader *r, char **out)
{
    static const char plain[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                    ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};

    r->at++;
    if (r->at == r->end)
        return wrong(r, GW_INVALID, "the string does not end");
    if (*r->at == 'u') {
        r->at++;
        return unicode_escape(r, out);
    }
    char byte = plain[(uint8_t)*r->at];
    if (byte == 0)
        return wrong(r, GW_INVALID, "no such escape");
    *(*out)++ = byte;
    r->at++;
    return true;
}

static bool check_utf8(struct reader *r, const char *from, const char *to)
{
    struct gw_str run = gw_str(from, (size_t)(to - from));
    size_t good = gw_utf8_valid(run);

    if (good == run.len)
        return true;
    r->at = from + good;
    return wrong(r, GW_INVALID, "not UTF-8");
}

/* The run of plain characters from `at` on, to where it ends; false: something is wrong in it, or
 * nothing ends it. */
static bool plain_run(struct reader *r)
{
    const char *from = r->at;
    uint64_t high = 0;
    const char *to = gw_json_plain_run(from, r->end, &high);

    if (high != 0 && !check_utf8(r, from, to))
        return false;
    r->at = to;
    if (to == r->end)
        return wrong(r, GW_INVALID, "the string does not end");
    if (*to != '"' && *to != '\\')
        return wrong(r, GW_INVALID, "a control character in a string must be escaped");
    return true;
}

/* The rest of a string, from its first escape on; what stood before is in the scratch. */
static bool string_with_escapes(struct reader *r)
{
    struct gw_buf *scratch = &r->state->scratch;

    for (;;) {
        char *begin = gw_buf_reserve(scratch, SOME), *out = begin;
        bool good = true;
        /* Escapes are seldom alone: what stands between them is short. */
        while (good && r->at < r->end && out <= begin + SOME - 4) {
            signed char byte = (signed char)*r->at;
            if (byte == '\\')
                good = escape(r, &out);
            else if (byte >= 0x20 && byte != '"') /* ASCII */
                *out++ = *r->at++;
            else
                break;
        }
        gw_buf_added(scratch, (size_t)(out - begin));
        const char *from = r->at;
        if (!good || !plain_run(r))
            return false;
        gw_buf_add(scratch, from, (size_t)(r->at - from));
        if (*r->at == '"')
            break;
    }
    lua_pushlstring(r->L, scratch->data + scratch->from, gw_buf_len(scratch));
    r->at++;
    return true;
}

/* Pushes one string; `at` stands on its first quote. [-0, +1] */
static bool string(struct reader *r)
{
    const char *from = ++r->at;

    if (!plain_run(r))
        return false;
    if (*r->at == '"') {
        lua_pushlstring(r->L, from, (size_t)(r->at - from));
        r->at++;
        return true;
    }
    gw_buf_clear(&r->state->scratch);
    gw_buf_add(&r->state->scratch, from, (size_t)(r->at - from));
    return string_with_escapes(r);
}

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static int digits(struct reader *r, uint64_t *mantissa)
{
    const char *from = r->at;

    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
        *mantissa = *mantissa * 10 + (uint64_t)(*r->at - '0');
    return (int)(r->at - from);
}

/* -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?   [-0, +1] */
static bool number(struct reader *r)
{
    const char *from = r->at, *whole;
    bool negative = *r->at == '-';
    uint64_t mantissa = 0, power = 0;
    int count, fraction = 0, exponent = 0;

    if (negative)
        r->at++;
    whole = r->at;
    count = digits(r, &mantissa);
    if (count == 0)
        return wrong(r, GW_INVALID, "a digit expected");
    if (count > 1 && *whole == '0') {
        r->at = whole + 1;
        return wrong(r, GW_INVALID, "a number must not begin with 0");
    }
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        fraction = digits(r, &mantissa);
        if (fraction == 0)
            return wrong(r, GW_INVALID, "a digit expected behind the point");
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        r->at++;
        bool down = r->at < r->end && *r->at == '-';
        if (r->at < r->end && (*r->at == '-' || *r->at == '+'))
            r->at++;
        int some = digits(r, &power);
        if (some == 0)
            return wrong(r, GW_INVALID, "a digit expected in the exponent");
        exponent = some > 6 ? 1000000 : down ? -(int)power : (int)power;
    }
    if (r->at - from > NUMBER_BYTES_MAX) {
        r->at = from;
        return wrong(r, GW_LIMIT, "a number is longer than 1024 characters");
    }
    exponent -= fraction;
    double result;
    /* Both factors are exact doubles: so is their one rounding. */
    if (count + fraction <= 19 && mantissa <= (uint64_t)GW_JSON_EXACT_MAX && exponent >= -22 &&
        exponent <= 22) {
        result = exponent < 0 ? (double)mantissa / powers[-exponent]
                              : (double)mantissa * powers[exponent];
        result = negative ? -result : result;
    } else {
        result = strtod(from, NULL); /* Lua's strings end with NUL; the form was checked */
    }
    if (!isfinite(result)) {
        r->at = from;
        return wrong(r, GW_INVALID, "the number is too large");
    }
    lua_pushnumber(r->L, result);
    return true;
}

static bool enter(struct reader *r)
{
    if (++r->depth > r->options.depth_max)
        return wrong(r, GW_LIMIT, "nested too deeply");
    luaL_checkstack(r->L, 6, "json: nested too deeply");
    r->at++;
    skip_space(r);
    return true;
}

static bool array(struct reader *r)
{
    lua_State *L = r->L;

    if (!enter(r))
        return false;
    lua_createtable(L, 4, 0);
    lua_pushvalue(L, r->array);
    lua_setmetatable(L, -2);
    if (r->at < r->end && *r->at == ']')
        goto done;
    for (int i = 1;; i++) {
        if (!value(r))
            return false;
        lua_rawseti(L, -2, i);
        skip_space(r);
        if (r->at < r->end && *r->at == ']')
            break;
        if (r->at == r->end || *r->at != ',')
            return wrong(r, GW_INVALID, "a comma or ] expected");
        r->at++;
        skip_space(r);
    }
done:
    r->at++;
    r->depth--;
    return true;
}

static bool is_duplicate(struct reader *r)
{
    if (!r->options.refuse_duplicates)
        return false;
    lua_pushvalue(r->L, -1);
    lua_rawget(r->L, -3);
    bool there = !lua_isnil(r->L, -1);
    lua_pop(r->L, 1);
    return there;
}

static bool object(struct reader *r)
{
    lua_State *L = r->L;

    if (!enter(r))
        return false;
    lua_createtable(L, 0, 4);
    if (r->at < r->end && *r->at == '}')
        goto done;
    for (;;) {
        if (r->at == r->end || *r->at != '"')
            return wrong(r, GW_INVALID, "a key in double quotes expected");
        const char *key = r->at;
        if (!string(r))
            return false;
        if (is_duplicate(r)) {
            r->at = key;
            return wrong(r, GW_INVALID, "the key stands here twice");
        }
        skip_space(r);
        if (r->at == r->end || *r->at != ':')
            return wrong(r, GW_INVALID, "a colon expected");
        r->at++;
        skip_space(r);
        if (!value(r))
            return false;
        lua_rawset(L, -3);
        skip_space(r);
        if (r->at < r->end && *r->at == '}')
            break;
        if (r->at == r->end || *r->at != ',')
            return wrong(r, GW_INVALID, "a comma or } expected");
        r->at++;
        skip_space(r);
    }
done:
    r->at++;
    r->depth--;
    return true;
}

static bool word(struct reader *r, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(r->end - r->at) < len || memcmp(r->at, text, len) != 0)
        return wrong(r, GW_INVALID, "a value expected");
    r->at += len;
    return true;
}

/* Pushes one value; `at` stands on its first character. [-0, +1] */
static bool value(struct reader *r)
{
    if (r->at == r->end)
        return wrong(r, GW_INVALID, "the text ends where a value was expected");
    switch (*r->at) {
    case '"':
        return string(r);
    case '{':
        return object(r);
    case '[':
        return array(r);
    case 't':
        lua_pushboolean(r->L, 1);
        return word(r, "true");
    case 'f':
        lua_pushboolean(r->L, 0);
        return word(r, "false");
    case 'n':
        lua_pushlightuserdata(r->L, NULL);
        return word(r, "null");
    default:
        if (*r->at == '-' || (*r->at >= '0' && *r->at <= '9'))
            return number(r);
        return wrong(r, GW_INVALID, "a value expected");
    }
}

static int read_failed(struct reader *r)
{
    int line = 1, column = 1;

    for (const char *at = r->begin; at < r->at; at++, column++) {
        if (*at == '\n') {
            line++;
            column = 0;
        }
    }
    lua_settop(r->L, 0);
    lua_pushfstring(r->L, "json: %d:%d: %s", line, column, r->what);
    return gw_lib_fail(r->L, r->rc, lua_tostring(r->L, -1));
}

/* json.decode(text, { depth, size, duplicates = "last" | "refuse" }) -> value
 * | nil, "json: line:column: what", code   [-0, +1|+3] */
int gw_json_decode(lua_State *L)
{
    struct reader r = {.L = L, .state = gw_json_state_of(L)};
    size_t len;

    r.begin = r.at = luaL_checklstring(L, 1, &len);
    r.end = r.begin + len;
    gw_json_read_options(L, 2, &r.options);
    if (len > r.options.bytes_max)
        return gw_lib_fail(L, GW_LIMIT, "json: the text is too long");
    lua_settop(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r.state->array_ref);
    r.array = 3;
    skip_space(&r);
    bool good = value(&r);
    gw_json_give_back(&r.state->scratch);
    if (good) {
        skip_space(&r);
        good = r.at == r.end || wrong(&r, GW_INVALID, "the text goes on behind its value");
    }
    return good ? 1 : read_failed(&r);
}
