/* A slice of bytes that somebody else owns. Not terminated by NUL.
 * Lives in: anywhere. Owner: whoever owns the bytes. Also passed to Lua by FFI, so the
 * layout is part of the contract: pointer, then length. */
#ifndef GW_BASE_STR_H
#define GW_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct gw_str {
    const char *data;
    size_t len;
};

#define GW_STR(literal) ((struct gw_str){(literal), sizeof(literal) - 1})
#define GW_STR_NULL ((struct gw_str){NULL, 0})

/* For printf: "%.*s", GW_STR_ARG(s). */
#define GW_STR_ARG(s) (int)(s).len, (s).data

static inline struct gw_str gw_str(const char *data, size_t len)
{
    return (struct gw_str){data, len};
}

static inline struct gw_str gw_str_c(const char *text)
{
    return (struct gw_str){text, strlen(text)};
}

static inline bool gw_str_eq(struct gw_str a, struct gw_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ASCII case only. */
static inline bool gw_str_eq_nocase(struct gw_str a, struct gw_str b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}

static inline bool gw_str_starts(struct gw_str s, struct gw_str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

#endif
