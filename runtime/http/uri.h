/* Request targets (RFC 9112 3.2) and paths (RFC 3986), normalised once.
 * Rules and upstream see the same path. `%2F` stays encoded and splits no segment. */
#ifndef GW_HTTP_URI_H
#define GW_HTTP_URI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/str.h"

/* The normal form of a path: begins with "/"; "." and ".." segments (also written %2e)
 * removed, never above the root (GW_INVALID); percent-encoded unreserved characters decoded;
 * the hex digits of what stays encoded in upper case; bytes that may not stand in a path
 * encoded. GW_INVALID: bad percent-encoding, %00 or NUL, controls, a backslash or %5c; and
 * what some servers take for "..": "..;x" and ".." between %2F.
 * The common case (nothing to do) returns `path` itself. */
GW_MUST_CHECK enum gw_rc gw_uri_normalize_path(struct gw_arena *arena, struct gw_str path,
                                               struct gw_str *out);

/* "//" becomes "/"; returns `path` itself when there is none. */
struct gw_str gw_uri_merge_slashes(struct gw_arena *arena, struct gw_str path);

enum gw_target_form { GW_TARGET_ORIGIN, GW_TARGET_ABSOLUTE, GW_TARGET_ASTERISK };

struct gw_target_parts {
    enum gw_target_form form;
    struct gw_str scheme;    /* absolute form: "http" or "https", any case */
    struct gw_str authority; /* absolute form */
    struct gw_str path;      /* not yet normalised; "/" when an absolute form has none; or "*" */
    struct gw_str query;     /* without "?"; data NULL: none */
};

/* Splits a target of a request (not CONNECT). No fragment, only 0x21..0x7e. */
GW_MUST_CHECK enum gw_rc gw_uri_split_target(struct gw_str target, struct gw_target_parts *out);

/* host[:port] of Host, :authority or an absolute form. *host: lower case (in `arena` when
 * it must be copied), no trailing dot, IPv6 in brackets; *port 0 when there is none.
 * GW_INVALID: user info, empty host, a port that is empty, 0, above 65535 or has leading
 * zeros, characters that no host has. */
GW_MUST_CHECK enum gw_rc gw_uri_parse_authority(struct gw_arena *arena, struct gw_str authority,
                                                struct gw_str *host, uint16_t *port);

/* Percent-decodes; with `plus` "+" is a space (query). GW_INVALID: bad encoding. */
GW_MUST_CHECK enum gw_rc gw_uri_decode(struct gw_arena *arena, struct gw_str text, bool plus,
                                       struct gw_str *out);

/* Walks a query: "a=1&b&c=2"; slices are still encoded, a value without "=" has data NULL;
 * empty pieces are passed over. False: the end. */
bool gw_uri_query_next(struct gw_str *rest, struct gw_str *name, struct gw_str *value);

#endif
