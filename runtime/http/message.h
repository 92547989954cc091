/* HTTP messages as both versions see them: a head of slices, no copies.
 * Lives in: the arena of one exchange. Names and words of RFC 9110. */
#ifndef GW_HTTP_MESSAGE_H
#define GW_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/str.h"

/* Methods with a meaning to the gateway; any other token is GW_METHOD_OTHER. */
enum gw_method {
    GW_METHOD_OTHER,
    GW_METHOD_GET,
    GW_METHOD_HEAD,
    GW_METHOD_POST,
    GW_METHOD_PUT,
    GW_METHOD_DELETE,
    GW_METHOD_PATCH,
    GW_METHOD_OPTIONS,
    GW_METHOD_CONNECT,
    GW_METHOD_TRACE,
};

enum gw_method gw_method_of(struct gw_str token);

/* Safe and idempotent methods of RFC 9110 9.2: may be repeated after a broken connection. */
static inline bool gw_method_idempotent(enum gw_method m)
{
    return m == GW_METHOD_GET || m == GW_METHOD_HEAD || m == GW_METHOD_OPTIONS ||
           m == GW_METHOD_PUT || m == GW_METHOD_DELETE;
}

/* Fields that the core looks at; their place is noted while parsing. */
#define GW_FIELD_ROWS(X)                                                                           \
    X(GW_FIELD_HOST, "host")                                                                       \
    X(GW_FIELD_CONNECTION, "connection")                                                           \
    X(GW_FIELD_CONTENT_LENGTH, "content-length")                                                   \
    X(GW_FIELD_TRANSFER_ENCODING, "transfer-encoding")                                             \
    X(GW_FIELD_UPGRADE, "upgrade")                                                                 \
    X(GW_FIELD_EXPECT, "expect")                                                                   \
    X(GW_FIELD_TE, "te")                                                                           \
    X(GW_FIELD_TRAILER, "trailer")                                                                 \
    X(GW_FIELD_KEEP_ALIVE, "keep-alive")                                                           \
    X(GW_FIELD_PROXY_CONNECTION, "proxy-connection")                                               \
    X(GW_FIELD_PROXY_AUTHENTICATE, "proxy-authenticate")                                           \
    X(GW_FIELD_PROXY_AUTHORIZATION, "proxy-authorization")                                         \
    X(GW_FIELD_HTTP2_SETTINGS, "http2-settings")                                                   \
    X(GW_FIELD_VIA, "via")                                                                         \
    X(GW_FIELD_FORWARDED, "forwarded")                                                             \
    X(GW_FIELD_X_FORWARDED_FOR, "x-forwarded-for")                                                 \
    X(GW_FIELD_X_FORWARDED_PROTO, "x-forwarded-proto")                                             \
    X(GW_FIELD_X_FORWARDED_HOST, "x-forwarded-host")                                               \
    X(GW_FIELD_X_FORWARDED_PORT, "x-forwarded-port")                                               \
    X(GW_FIELD_X_REAL_IP, "x-real-ip")                                                             \
    X(GW_FIELD_DATE, "date")                                                                       \
    X(GW_FIELD_SERVER, "server")                                                                   \
    X(GW_FIELD_CONTENT_TYPE, "content-type")                                                       \
    X(GW_FIELD_CONTENT_ENCODING, "content-encoding")                                               \
    X(GW_FIELD_ETAG, "etag")                                                                       \
    X(GW_FIELD_LAST_MODIFIED, "last-modified")                                                     \
    X(GW_FIELD_ACCEPT_RANGES, "accept-ranges")                                                     \
    X(GW_FIELD_RANGE, "range")                                                                     \
    X(GW_FIELD_IF_RANGE, "if-range")                                                               \
    X(GW_FIELD_IF_MATCH, "if-match")                                                               \
    X(GW_FIELD_IF_NONE_MATCH, "if-none-match")                                                     \
    X(GW_FIELD_IF_MODIFIED_SINCE, "if-modified-since")                                             \
    X(GW_FIELD_IF_UNMODIFIED_SINCE, "if-unmodified-since")                                         \
    X(GW_FIELD_LOCATION, "location")

enum gw_field_id {
    GW_FIELD_UNKNOWN, /* every other name */
#define GW_FIELD_ENUM(id, name) id,
    GW_FIELD_ROWS(GW_FIELD_ENUM)
#undef GW_FIELD_ENUM
        GW_FIELD_IDS
};

enum gw_field_id gw_field_id_of(struct gw_str name); /* any case */
struct gw_str gw_field_name(enum gw_field_id id);    /* lower case */

struct gw_field {
    struct gw_str name;  /* case as it came */
    struct gw_str value; /* without the white space around */
    uint8_t id;          /* enum gw_field_id */
    bool dropped;        /* not forwarded and not seen by anybody any more */
    bool wire;           /* in memory it stands as "name: value\r\n": may be copied as a run */
};

/* An ordered list of fields. Lookups skip dropped ones; any case of a name matches. */
struct gw_fields {
    struct gw_field *items; /* in `arena` */
    uint32_t count;         /* with the dropped ones */
    uint32_t size;
    uint64_t present; /* bit (1 << id): a field of that id may be there */
    uint64_t others;  /* gw_field_name_bit(): one without an id may be there */
    struct gw_arena *arena;
};

/* One of 64 bits, the same in any case of the letters. Most names that are asked for and are not
 * there are known by it, without a walk. */
static inline uint64_t gw_field_name_bit(struct gw_str name)
{
    return name.len == 0 ? 0 : 1ULL << ((name.len * 5 + (name.data[name.len - 1] & 0x1f)) & 63);
}

void gw_fields_init(struct gw_fields *fields, struct gw_arena *arena);

/* Where the caller knows gw_field_id_of(name). */
struct gw_field *gw_fields_add_as(struct gw_fields *fields, enum gw_field_id id, struct gw_str name,
                                  struct gw_str value);

/* Slices are lent: they must live as long as the arena. */
struct gw_field *gw_fields_add(struct gw_fields *fields, struct gw_str name, struct gw_str value);

struct gw_field *gw_fields_add_known(struct gw_fields *fields, enum gw_field_id id,
                                     struct gw_str value);

/* The first of that name, or NULL. */
struct gw_field *gw_fields_find(const struct gw_fields *fields, struct gw_str name);
struct gw_field *gw_fields_known(const struct gw_fields *fields, enum gw_field_id id);

/* The next of the same name behind `after`, or NULL. */
struct gw_field *gw_fields_next(const struct gw_fields *fields, const struct gw_field *after);

/* All values of a name joined with ", " (one value: the slice itself); false: none. */
bool gw_fields_get(const struct gw_fields *fields, struct gw_str name, struct gw_str *out);

/* Replaces all of that name by one (in the place of the first); copies nothing. */
void gw_fields_set(struct gw_fields *fields, struct gw_str name, struct gw_str value);
uint32_t gw_fields_remove(struct gw_fields *fields, struct gw_str name); /* how many */
void gw_fields_remove_known(struct gw_fields *fields, enum gw_field_id id);

/* RFC 9110 5.1 and 5.5: what may be sent. Values: no CR, LF, NUL or other control but tab. */
bool gw_field_name_valid(struct gw_str name);
bool gw_field_value_valid(struct gw_str value);

#define GW_LENGTH_UNKNOWN (-1)

struct gw_request {
    struct gw_str method;
    enum gw_method method_id;
    struct gw_str scheme; /* "http" or "https" */
    struct gw_str target; /* as it came */
    struct gw_str
        host;      /* lower case, without port, IPv6 in brackets; empty for "OPTIONS *" of 1.0 */
    uint16_t port; /* from Host or the listener */
    struct gw_str authority; /* Host as it came */
    struct gw_str path;      /* normalised: what rules and upstream see; "*" for OPTIONS * */
    struct gw_str query;     /* without "?"; data NULL: there is none */
    uint8_t major, minor;    /* of HTTP */
    bool has_body;
    bool expect_continue;
    int64_t length; /* Content-Length; GW_LENGTH_UNKNOWN: chunked */
    struct gw_fields fields;
};

struct gw_response {
    uint16_t status;
    struct gw_str reason; /* h1 only; may be empty */
    uint8_t minor;
    bool has_body;  /* false for HEAD, 204, 304 */
    int64_t length; /* GW_LENGTH_UNKNOWN: chunked or until close */
    struct gw_fields fields;
};

/* "Not Found", "" for codes without one. */
const char *gw_status_reason(unsigned status);

#endif
