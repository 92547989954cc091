#include "http/uri.h"

#include <arpa/inet.h>
#include <stdbool.h>

/* Longest host name of DNS in text, without the trailing dot. */
#define HOST_BYTES_MAX 253

enum {
    PATH = 1,       /* may stand in a path as it is: pchar of RFC 3986 and "/" */
    UNRESERVED = 2, /* means the same encoded and plain */
    TARGET = 4,     /* 0x21..0x7e without "#" */
    HOST = 8,       /* what names and IPv4 addresses are made of */
    UPPER = 16,
    REFUSED = 32, /* controls and the backslash, in paths */
};

#define ALNUM_BITS (PATH | UNRESERVED | TARGET | HOST)

static const uint8_t classes[256] = {
    [0x00 ... 0x1f] = REFUSED,
    [0x7f] = REFUSED,
    ['\\'] = TARGET | REFUSED,
    ['0' ... '9'] = ALNUM_BITS,
    ['a' ... 'z'] = ALNUM_BITS,
    ['A' ... 'Z'] = ALNUM_BITS | UPPER,
    ['-'] = ALNUM_BITS,
    ['_'] = ALNUM_BITS,
    ['.'] = ALNUM_BITS,
    ['~'] = PATH | UNRESERVED | TARGET,
    ['!'] = PATH | TARGET,
    ['$'] = PATH | TARGET,
    ['&' ... ','] = PATH | TARGET, /* & ' ( ) * + , */
    [';'] = PATH | TARGET,
    ['='] = PATH | TARGET,
    [':'] = PATH | TARGET,
    ['@'] = PATH | TARGET,
    ['/'] = PATH | TARGET,
    ['%'] = TARGET,
    ['"'] = TARGET,
    ['<'] = TARGET,
    ['>'] = TARGET,
    ['?'] = TARGET,
    ['['] = TARGET,
    [']'] = TARGET,
    ['^'] = TARGET,
    ['`'] = TARGET,
    ['{' ... '}'] = TARGET,
};

static bool is(char byte, unsigned bits)
{
    return (classes[(unsigned char)byte] & bits) != 0;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* The byte of "%XY" that stands at `text`, or -1. */
static int percent_byte(const char *text, const char *end)
{
    int high, low;

    if (end - text < 3)
        return -1;
    high = hex_value(text[1]);
    low = hex_value(text[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static char *put_percent(char *to, unsigned byte)
{
    static const char digits[] = "0123456789ABCDEF";

    to[0] = '%';
    to[1] = digits[byte >> 4];
    to[2] = digits[byte & 15];
    return to + 3;
}

/* ---- paths ---- */

/* Nothing to decode, to encode or to remove. A dot matters only behind a slash. */
static bool path_is_normal(struct gw_str path)
{
    char before = '/';

    for (size_t i = 0; i < path.len; i++) {
        char byte = path.data[i];
        if (!is(byte, PATH) || (before == '/' && byte == '.'))
            return false;
        before = byte;
    }
    return true;
}

/* Finished segments with dots. Servers exist that take "..;x" for ".." (they cut parameters
 * before they look for dots), and others that decode %2F first: both would climb where our
 * rules saw a plain name, so neither is let through. */
static bool segment_climbs(const char *segment, const char *end)
{
    while (segment < end) {
        const char *piece = segment, *stop;
        for (stop = piece; stop < end; stop++)
            if (*stop == '%' && stop[1] == '2' && stop[2] == 'F')
                break;
        if (stop - piece >= 2 && piece[0] == '.' && piece[1] == '.' &&
            (stop - piece == 2 || piece[2] == ';'))
            return true;
        segment = stop < end ? stop + 3 : end;
    }
    return false;
}

/* Called with the written segment [segment, to) complete; returns where the next byte
 * goes, behind a slash, or NULL above the root. Going back is paid for by what it removes. */
static char *segment_close(char *out, char *segment, char *to)
{
    size_t len = (size_t)(to - segment);

    if (len == 1 && segment[0] == '.')
        return segment;
    if (len != 2 || segment[0] != '.' || segment[1] != '.')
        return segment_climbs(segment, to) ? NULL : to;
    if (segment == out + 1)
        return NULL;
    for (to = segment - 1; to[-1] != '/';)
        to--;
    return to;
}

/* Writes one character of the path in its normal form; NULL: it may not be there. */
static char *put_path_byte(char *to, const char **from, const char *end)
{
    char byte = **from;
    int decoded;

    if (is(byte, PATH)) {
        *to++ = byte;
        (*from)++;
        return to;
    }
    if (byte != '%') {
        (*from)++;
        return is(byte, REFUSED) ? NULL : put_percent(to, (unsigned char)byte);
    }
    decoded = percent_byte(*from, end);
    if (decoded <= 0 || decoded == '\\')
        return NULL;
    *from += 3;
    if (!is((char)decoded, UNRESERVED))
        return put_percent(to, (unsigned)decoded);
    *to++ = (char)decoded;
    return to;
}

enum gw_rc gw_uri_normalize_path(struct gw_arena *arena, struct gw_str path, struct gw_str *out)
{
    const char *from, *end;
    char *start, *to, *segment;
    size_t size = path.len;

    if (path.len == 0 || path.data[0] != '/')
        return GW_INVALID;
    if (path_is_normal(path)) {
        *out = path;
        return GW_OK;
    }
    for (size_t i = 0; i < path.len; i++)
        if (!is(path.data[i], PATH) && path.data[i] != '%')
            size += 2;
    start = gw_arena_alloc(arena, size);
    *start = '/';
    segment = to = start + 1;
    from = path.data + 1;
    end = path.data + path.len;
    while (from < end) {
        if (*from != '/') {
            to = put_path_byte(to, &from, end);
        } else {
            /* A removed segment goes with the slash behind it. */
            char *closed = segment_close(start, segment, to);
            if (closed == to)
                *closed++ = '/';
            segment = to = closed;
            from++;
        }
        if (to == NULL)
            return GW_INVALID;
    }
    to = segment_close(start, segment, to);
    if (to == NULL)
        return GW_INVALID;
    *out = gw_str(start, (size_t)(to - start));
    return GW_OK;
}

struct gw_str gw_uri_merge_slashes(struct gw_arena *arena, struct gw_str path)
{
    size_t i = 1, len;
    char *copy;

    while (i < path.len && (path.data[i] != '/' || path.data[i - 1] != '/'))
        i++;
    if (i >= path.len)
        return path;
    copy = gw_arena_alloc(arena, path.len);
    memcpy(copy, path.data, i);
    for (len = i; i < path.len; i++)
        if (path.data[i] != '/' || path.data[i - 1] != '/')
            copy[len++] = path.data[i];
    return gw_str(copy, len);
}

/* ---- targets ---- */

static void split_query(struct gw_str text, struct gw_target_parts *out)
{
    const char *mark = memchr(text.data, '?', text.len);

    out->path = text;
    out->query = GW_STR_NULL;
    if (mark != NULL) {
        out->path.len = (size_t)(mark - text.data);
        out->query = gw_str(mark + 1, text.len - out->path.len - 1);
    }
}

static enum gw_rc split_absolute(struct gw_str target, struct gw_target_parts *out)
{
    const char *colon = memchr(target.data, ':', target.len);
    const char *at, *end = target.data + target.len;

    if (colon == NULL || end - colon < 4 || colon[1] != '/' || colon[2] != '/')
        return GW_INVALID;
    out->scheme = gw_str(target.data, (size_t)(colon - target.data));
    if (!gw_str_eq_nocase(out->scheme, GW_STR("http")) &&
        !gw_str_eq_nocase(out->scheme, GW_STR("https")))
        return GW_INVALID;
    at = colon + 3;
    while (at < end && *at != '/' && *at != '?')
        at++;
    out->authority = gw_str(colon + 3, (size_t)(at - colon - 3));
    if (out->authority.len == 0)
        return GW_INVALID;
    out->form = GW_TARGET_ABSOLUTE;
    split_query(gw_str(at, (size_t)(end - at)), out);
    if (out->path.len == 0)
        out->path = GW_STR("/");
    return GW_OK;
}

enum gw_rc gw_uri_split_target(struct gw_str target, struct gw_target_parts *out)
{
    *out = (struct gw_target_parts){.form = GW_TARGET_ORIGIN};
    for (size_t i = 0; i < target.len; i++)
        if (!is(target.data[i], TARGET))
            return GW_INVALID;
    if (target.len == 0)
        return GW_INVALID;
    if (target.data[0] == '/') {
        split_query(target, out);
        return GW_OK;
    }
    if (gw_str_eq(target, GW_STR("*"))) {
        out->form = GW_TARGET_ASTERISK;
        out->path = target;
        return GW_OK;
    }
    return split_absolute(target, out);
}

/* ---- authorities ---- */

/* 1 to 65535 in its one spelling: "080" and the empty port of "host:" are refused, since
 * who compares authorities as text would take them for something else. */
static enum gw_rc parse_port(struct gw_str text, uint16_t *port)
{
    unsigned value = 0;

    if (text.len == 0 || text.len > 5 || text.data[0] == '0')
        return GW_INVALID;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return GW_INVALID;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    if (value > 65535)
        return GW_INVALID;
    *port = (uint16_t)value;
    return GW_OK;
}

/* "[…]" with an IPv6 address in it; no zone, no IPvFuture. */
static bool ipv6_literal_valid(struct gw_str host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    size_t len = host.len - 2;

    if (host.len < 4 || len >= sizeof(text) || memchr(host.data, '\0', host.len) != NULL)
        return false;
    memcpy(text, host.data + 1, len);
    text[len] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

static bool name_valid(struct gw_str host)
{
    char before = '.';

    if (host.len == 0 || host.len > HOST_BYTES_MAX)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        if (!is(host.data[i], HOST) || (host.data[i] == '.' && before == '.'))
            return false;
        before = host.data[i];
    }
    return before != '.';
}

static struct gw_str lower(struct gw_arena *arena, struct gw_str text)
{
    size_t i = 0;
    char *copy;

    while (i < text.len && !is(text.data[i], UPPER))
        i++;
    if (i == text.len)
        return text;
    copy = gw_arena_alloc(arena, text.len);
    for (i = 0; i < text.len; i++)
        copy[i] = is(text.data[i], UPPER) ? (char)(text.data[i] | 0x20) : text.data[i];
    return gw_str(copy, text.len);
}

enum gw_rc gw_uri_parse_authority(struct gw_arena *arena, struct gw_str authority,
                                  struct gw_str *host, uint16_t *port)
{
    const char *end, *colon;
    struct gw_str name = authority;

    *port = 0;
    if (authority.len == 0)
        return GW_INVALID;
    end = authority.data + authority.len;
    if (authority.data[0] == '[') {
        const char *bracket = memchr(authority.data, ']', authority.len);
        if (bracket == NULL)
            return GW_INVALID;
        name.len = (size_t)(bracket + 1 - authority.data);
        if (!ipv6_literal_valid(name))
            return GW_INVALID;
        colon = bracket + 1;
        if (colon < end && *colon != ':')
            return GW_INVALID;
    } else {
        colon = memchr(authority.data, ':', authority.len);
        if (colon == NULL)
            colon = end;
        name.len = (size_t)(colon - authority.data);
        if (name.len > 1 && name.data[name.len - 1] == '.')
            name.len--;
        if (!name_valid(name))
            return GW_INVALID;
    }
    if (colon < end && parse_port(gw_str(colon + 1, (size_t)(end - colon - 1)), port) != GW_OK)
        return GW_INVALID;
    *host = lower(arena, name);
    return GW_OK;
}

/* ---- queries ---- */

enum gw_rc gw_uri_decode(struct gw_arena *arena, struct gw_str text, bool plus, struct gw_str *out)
{
    const char *from, *end;
    char *start, *to;

    if (text.len == 0 || (memchr(text.data, '%', text.len) == NULL &&
                          (!plus || memchr(text.data, '+', text.len) == NULL))) {
        *out = text;
        return GW_OK;
    }
    from = text.data;
    end = from + text.len;
    start = to = gw_arena_alloc(arena, text.len);
    while (from < end) {
        if (*from == '%') {
            int byte = percent_byte(from, end);
            if (byte < 0)
                return GW_INVALID;
            *to++ = (char)byte;
            from += 3;
            continue;
        }
        *to++ = plus && *from == '+' ? ' ' : *from;
        from++;
    }
    *out = gw_str(start, (size_t)(to - start));
    return GW_OK;
}

bool gw_uri_query_next(struct gw_str *rest, struct gw_str *name, struct gw_str *value)
{
    while (rest->len > 0) {
        const char *amp = memchr(rest->data, '&', rest->len), *equals;
        struct gw_str piece = *rest;

        if (amp != NULL) {
            piece.len = (size_t)(amp - rest->data);
            *rest = gw_str(amp + 1, rest->len - piece.len - 1);
        } else {
            *rest = gw_str(rest->data + rest->len, 0);
        }
        if (piece.len == 0)
            continue;
        equals = memchr(piece.data, '=', piece.len);
        *name = *value = piece;
        if (equals == NULL) {
            *value = GW_STR_NULL;
            return true;
        }
        name->len = (size_t)(equals - piece.data);
        *value = gw_str(equals + 1, piece.len - name->len - 1);
        return true;
    }
    return false;
}
