/* A generation: one valid conf, typed, compiled and immutable.
 * Lives in: one sealed memfd, written by the loader, mapped read-only by every worker.
 * The image is pointer-free: all places are offsets from its first byte (struct gw_conf),
 * so that each process may map it anywhere. Offset 0 with len 0 means "not given".
 * Owner: the process that mapped it; a request keeps the generation that it began with. */
#ifndef GW_CONF_GENERATION_H
#define GW_CONF_GENERATION_H

#include <assert.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define GW_IMAGE_MAGIC 0x4d4f4f4e47415445ULL /* "MOONGATE" */
#define GW_NONE UINT32_MAX                   /* no index */

/* A run in the image: `len` bytes, or `len` items of the type that the comment names. */
struct gw_ref {
    uint32_t off;
    uint32_t len;
};

/* Where a thing stands in the conf files; line and column count from 1, 0: made by us. */
struct gw_where {
    uint32_t file; /* index into gw_conf.files */
    uint32_t line;
    uint32_t column;
};

struct gw_cidr {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t bits;        /* of the 128 */
};

/* limits: — of the whole gateway, a listener or a route; the nearest wins. In a route or
 * listener a key that is not given is already filled from the next wider one, except that
 * a route cannot know its listener: there `given` has bit i set when field i of the row
 * table stood in the route itself. 0 means "no limit" where the row says so. */
struct gw_conf_limits {
    uint64_t given;
    uint64_t body_bytes_max;     /* 413 */
    uint32_t header_bytes_max;   /* 431; request line not counted */
    uint32_t header_count_max;   /* 431 */
    uint32_t uri_bytes_max;      /* 414 */
    uint32_t header_timeout_ms;  /* whole head, from its first byte: 408 */
    uint32_t body_timeout_ms;    /* between two reads of the body: 408 */
    uint32_t send_timeout_ms;    /* the client takes nothing: close */
    uint32_t idle_timeout_ms;    /* between two requests: close */
    uint32_t request_timeout_ms; /* whole exchange: 408 while reading, 504 waiting; 0 off */
    uint32_t data_rate_min;      /* bytes a second of a body, after data_rate_grace_ms */
    uint32_t data_rate_grace_ms;
    uint32_t requests_max;               /* on one connection, then Connection: close; 0 off */
    uint32_t age_max_ms;                 /* of a connection, +-10 % jitter; 0 off */
    uint32_t connections_max;            /* in all workers: 503 and close; 0 off */
    uint32_t connections_per_client_max; /* from one address (IPv6: /64), per gateway; 0 off */
    uint32_t buffer_bytes_max;           /* unsent bytes per direction before the source stops */
    uint32_t body_buffer_bytes_max;      /* a body held whole for a plugin or a retry: 413 */
    uint32_t half_close_timeout_ms; /* a client that ended its side waits so long for an answer */
    uint32_t websocket_idle_ms;     /* neither side says anything: Close 1001; 0 off */
    uint32_t websocket_age_max_ms;  /* of one WebSocket, +-10 % jitter: Close 1001; 0 off */
    uint32_t websocket_ping_ms;     /* a side that is silent is asked; 0 off */
    uint32_t websocket_close_ms;    /* from the first Close to the end */
    uint32_t websocket_frame_bytes_max;   /* Close 1009 */
    uint32_t websocket_message_bytes_max; /* Close 1009 */
    uint32_t grpc_idle_ms;                /* neither side of a call says anything; 0 off */
};

/* Without the padding behind the last field, whose bytes mean nothing. */
#define GW_LIMITS_BYTES (offsetof(struct gw_conf_limits, grpc_idle_ms) + sizeof(uint32_t))
_Static_assert(sizeof(struct gw_conf_limits) - GW_LIMITS_BYTES < sizeof(uint64_t),
               "GW_LIMITS_BYTES ends with the last field");

enum gw_proxy_protocol { GW_PROXY_PROTOCOL_OFF, GW_PROXY_PROTOCOL_ON };

enum gw_tls_client_mode { GW_TLS_CLIENT_OFF, GW_TLS_CLIENT_OPTIONAL, GW_TLS_CLIENT_REQUIRED };

/* A field for the upstream, from the client's certificate. */
struct gw_conf_tls_header {
    struct gw_ref name;
    uint8_t fact; /* enum gw_conf_tls_fact */
};

enum gw_conf_tls_fact {
    GW_TLS_FACT_SUBJECT,
    GW_TLS_FACT_ISSUER,
    GW_TLS_FACT_SERIAL,
    GW_TLS_FACT_FINGERPRINT,
    GW_TLS_FACT_NAMES,
    GW_TLS_FACT_NOT_AFTER,
    GW_TLS_FACT_VERIFIED,
};

/* Which certificates of clients are taken; all fits to all names of a certificate. */
struct gw_conf_tls_policy {
    uint64_t hash;         /* of its meaning, contents of files included; 0: nobody is asked */
    struct gw_ref ca;      /* DER, one behind the other */
    struct gw_ref crl;     /* the same */
    struct gw_ref headers; /* struct gw_conf_tls_header */
    uint32_t depth;
    uint8_t mode; /* enum gw_tls_client_mode */
};

struct gw_conf_tls_certificate {
    struct gw_where where;
    struct gw_ref file;         /* path of the certificate */
    struct gw_ref chain;        /* DER: itself, then its chain */
    struct gw_ref key;          /* DER */
    struct gw_ref names;        /* gw_ref: lower case, "*.example.com" or "example.com" */
    struct gw_ref kind;         /* "RSA", "ECDSA", … */
    struct gw_ref ocsp;         /* URL of who tells whether it is revoked; none: is not asked */
    struct gw_ref ocsp_request; /* DER, what is asked */
    uint64_t not_after_s;
    uint32_t policy; /* index */
};

/* A name that a client may ask for; "": none, or one that no other fits. */
struct gw_conf_tls_name {
    struct gw_ref name;
    uint32_t certificate; /* index */
};

/* listen[].tls */
struct gw_conf_tls {
    struct gw_ref certificates; /* struct gw_conf_tls_certificate */
    struct gw_ref names;        /* struct gw_conf_tls_name, sorted by name; of one name several */
    struct gw_ref policies;     /* struct gw_conf_tls_policy, the listener's first */
    struct gw_ref ciphers;      /* texts for OpenSSL, with NUL; none: the default */
    struct gw_ref ciphersuites;
    struct gw_ref groups;
    uint32_t session_timeout_ms;
    uint32_t hsts_s; /* Strict-Transport-Security: max-age; 0: none */
    uint8_t version; /* enum: 0 both, 1 TLS 1.2 only, 2 TLS 1.3 only */
    uint8_t client_order;
    uint8_t tickets;
    uint8_t stapling;
    uint8_t hsts_subdomains;
    uint8_t several_policies; /* not all names have the same */
};

/* upstreams.NAME.tls */
struct gw_conf_upstream_tls {
    uint64_t hash;       /* of its meaning, contents of files included: never 0 */
    struct gw_ref ca;    /* DER; none: the system's */
    struct gw_ref name;  /* for SNI and the check; none: the target's host */
    struct gw_ref chain; /* what we show, or none */
    struct gw_ref key;
    uint8_t verify;
};

/* A file beside the conf files that was read: a certificate, a key, a list. */
struct gw_conf_key_file {
    struct gw_ref path;
    uint64_t stamp; /* of inode, size and times */
};

struct gw_conf_listener {
    struct gw_ref name;
    struct gw_where where;
    struct sockaddr_storage address; /* AF_INET, AF_INET6 or AF_UNIX */
    uint32_t address_len;
    struct gw_ref address_text; /* as in the conf */
    uint32_t backlog;
    uint8_t proxy_protocol;
    uint8_t http2;
    uint32_t redirect_https; /* port; 0: it serves */
    struct gw_ref tls;       /* struct gw_conf_tls: one, or none */
    struct gw_conf_limits limits;
};

struct gw_conf_shared {
    struct gw_ref name;
    uint64_t size;
    uint8_t evict_never;
};

struct gw_conf_target {
    struct gw_ref host; /* name or literal address, without port */
    struct gw_ref text; /* "host:port" as in the conf */
    uint16_t port;
    uint32_t weight;
    uint8_t is_literal;
    struct sockaddr_storage address; /* when literal */
    uint32_t address_len;
};

enum gw_balance { GW_BALANCE_ROUND_ROBIN };

struct gw_conf_upstream {
    struct gw_ref name; /* a URL in a route makes one named like "http://127.0.0.1:9001" */
    struct gw_where where;
    uint64_t hash; /* same hash: same meaning; runtime state is kept anyway, by name */
    uint8_t balance;
    uint8_t http2;
    struct gw_ref targets; /* struct gw_conf_target */
    uint32_t connect_timeout_ms;
    uint32_t send_timeout_ms;
    uint32_t read_timeout_ms; /* between two reads, and for the head */
    uint32_t try_timeout_ms;  /* one try, until its head; 0 off */
    uint32_t idle_conns_max;  /* pooled, per worker and target */
    uint32_t idle_timeout_ms;
    uint32_t requests_max; /* on one connection; 0 off */
    struct gw_ref tls;     /* struct gw_conf_upstream_tls: one, or none */
};

enum gw_route_kind { GW_ROUTE_UPSTREAM, GW_ROUTE_RESPOND, GW_ROUTE_REDIRECT, GW_ROUTE_FILES };
enum gw_host_mode { GW_HOST_CLIENT, GW_HOST_UPSTREAM, GW_HOST_NAME };

/* One condition on a header field or query parameter: equal to `value`; "~regex" is
 * compiled in the table; "*": merely present. */
struct gw_conf_condition {
    struct gw_ref name; /* header names in lower case */
    struct gw_ref value;
};

struct gw_conf_match {
    struct gw_ref listeners; /* uint32_t, indexes of gw_conf.listeners */
    struct gw_ref hosts;     /* gw_ref: lower case, "*.example.com" or "example.com" */
    struct gw_ref paths;     /* gw_ref: as in the conf */
    struct gw_ref methods;   /* gw_ref */
    struct gw_ref headers;   /* struct gw_conf_condition */
    struct gw_ref query;     /* struct gw_conf_condition */
    struct gw_ref clients;   /* struct gw_cidr */
    struct gw_ref scheme;    /* "http", "https" or none */
};

struct gw_conf_header {
    struct gw_ref name;
    struct gw_ref value;
};

/* What each request of the route reads: one cache line, so that thousands of routes stay near.
 * What only a load, a command or one kind of route reads stands in gw_conf_details. */
struct gw_conf_route {
    struct gw_ref name;
    struct gw_ref host;    /* for GW_HOST_NAME */
    struct gw_ref strip;   /* prefix taken off the path */
    struct gw_ref rewrite; /* new path; ":id", "*" and "$1" are filled from the match */
    uint32_t upstream;     /* index of gw_conf.upstreams, or GW_NONE */
    uint32_t limits;       /* offset of struct gw_conf_limits; routes with equal ones share it */
    uint32_t timeout_ms;   /* of all tries together; 0: off */
    uint32_t retries;      /* further tries after the first */

    /* Filled by script/ at load. */
    uint32_t chain;  /* number of the route's plugin chain, GW_NONE: none */
    uint32_t phases; /* bit (1 << enum gw_phase) for each phase in which the chain has code */

    uint8_t kind;           /* enum gw_route_kind */
    uint8_t host_mode;      /* enum gw_host_mode */
    uint8_t buffer_request; /* buffering: — the whole body before the upstream is asked */
    uint8_t buffer_response;
    uint32_t unused;
};

_Static_assert(sizeof(struct gw_conf_route) == 64, "a route is one cache line");

/* The rest of a route; of the same index. See gw_conf_details(). */
struct gw_conf_details {
    struct gw_where where;
    uint64_t hash; /* of all its keys, plugins included, not of its position */
    struct gw_conf_match match;
    int32_t priority;
    uint8_t enabled;
    uint8_t merge_slashes; /* "//" in a path counts as "/" */

    uint32_t status;             /* respond, redirect */
    struct gw_ref body;          /* respond */
    struct gw_ref headers;       /* respond: struct gw_conf_header */
    struct gw_ref location;      /* redirect: may use $host $path $query */
    struct gw_ref root;          /* files: absolute folder */
    struct gw_ref index;         /* files: "index.html" */
    struct gw_ref cache_control; /* files */
};

enum gw_file_flag {
    GW_FILE_PLAIN = 1 << 0, /* routes: and upstreams: are all that it has: it can be read alone */
    GW_FILE_BINDS = 1 << 1, /* a route of it has plugins: */
    GW_FILE_FOUND = 1 << 2, /* by a pattern: it may go without a fault */
    GW_FILE_CODE = 1 << 3,  /* of a plugin or a module */
};

/* In the order in which they were read, those of code behind the others; what is of one file
 * stands together in `routes` and `upstreams`. For the next load: conf/increment.h. */
struct gw_conf_file {
    struct gw_ref path; /* absolute */
    struct gw_ref name; /* as in messages; it is opened by it */
    uint64_t hash;      /* of its bytes */
    uint64_t stamp;     /* of inode, size and times; 0: too young then for its times to tell */
    uint32_t bytes;
    uint32_t flags;  /* enum gw_file_flag */
    uint32_t routes; /* index of its first */
    uint32_t routes_count;
    uint32_t upstreams;
    uint32_t upstreams_count;
};

/* An item of include: */
struct gw_conf_include {
    struct gw_ref pattern; /* with the folder of the file that has it */
    uint32_t file;
    uint32_t wildcard; /* it is for glob() */
};

struct gw_conf {
    uint64_t magic;
    uint64_t size;       /* of the image, bytes */
    uint32_t number;     /* of the generation, from 1 */
    uint32_t workers;    /* 0: one for each core */
    struct gw_ref files; /* struct gw_conf_file: all that were read, for messages and dev */
    struct gw_ref dir;   /* folder of the main conf file, absolute */

    struct gw_ref includes; /* struct gw_conf_include */
    uint32_t conf_files;    /* of `files`; those behind are code */
    uint32_t files_read;    /* of them, for this generation: the others are as in the one before */
    struct gw_ref read_why; /* why all were read although less was asked for; none: not so */
    uint32_t upstreams_named; /* of `upstreams`; those behind are made of URLs */
    uint32_t warned;          /* what stands in the files, or a binding, was warned of */
    /* Set by whoever reads a file for this that is none of `files`: then a load looks at it by
     * reading all. */
    uint32_t reads_more;
    uint32_t files_room; /* items for which `files` has room; the same for two others */
    uint32_t routes_room;
    uint32_t upstreams_room;
    uint64_t body;      /* bytes up to the match table, which is last */
    uint64_t body_full; /* the same when all was read */

    struct gw_ref user;    /* workers run as; none: stay who we are */
    struct gw_ref control; /* path of the control socket, absolute */
    struct gw_ref log_file;
    uint32_t log_level; /* enum gw_log_level */
    uint32_t shutdown_timeout_ms;
    uint32_t watchdog_ms;
    uint64_t memory_max; /* of one worker: above it new requests get 503; 0 off */

    struct gw_ref trusted; /* struct gw_cidr: proxies whose forwarded fields are extended */
    uint8_t x_forwarded;   /* make X-Forwarded-For, -Proto, -Host, -Port */
    uint8_t forwarded;     /* make Forwarded (RFC 7239) */
    uint8_t underscores_in_headers;
    struct gw_ref via; /* our name in Via, and what we recognise a loop by */

    struct gw_ref dns_servers; /* gw_ref: "127.0.0.1:5353"; none: resolv.conf */
    uint32_t dns_timeout_ms;

    uint32_t cpu_budget_ms; /* of one entry into Lua */
    uint64_t heap_max;      /* of the Lua VM of one worker */

    struct gw_conf_limits limits;
    struct gw_ref listeners;       /* struct gw_conf_listener */
    struct gw_ref key_files;       /* struct gw_conf_key_file */
    struct gw_ref identity_fields; /* gw_ref: lower case; what headers: of client: sets */
    struct gw_ref shared;          /* struct gw_conf_shared */
    struct gw_ref upstreams;       /* struct gw_conf_upstream */
    struct gw_ref routes;          /* struct gw_conf_route, in the order of the files */
    struct gw_ref details;         /* struct gw_conf_details, one for each route */
    struct gw_ref table;           /* route/: the compiled match table */

    /* script/ fills these at load. */
    struct gw_ref script;           /* its own section */
    struct gw_ref identity_headers; /* gw_ref: lower case; stripped from every client */
    uint32_t global_chain;          /* bindings on every route: their rewrite before the match */
    uint32_t global_phases;
};

static inline const void *gw_at(const struct gw_conf *conf, uint32_t off)
{
    return (const char *)conf + off;
}

static inline struct gw_str gw_ref_str(const struct gw_conf *conf, struct gw_ref ref)
{
    return (struct gw_str){(const char *)conf + ref.off, ref.len};
}

/* The first item of an array: GW_ITEMS(conf, conf->routes, struct gw_conf_route)[i] */
#define GW_ITEMS(conf, ref, type) ((const type *)gw_at((conf), (ref).off))

static inline const struct gw_conf_details *gw_conf_details(const struct gw_conf *conf,
                                                            const struct gw_conf_route *route)
{
    return GW_ITEMS(conf, conf->details, struct gw_conf_details) +
           (route - GW_ITEMS(conf, conf->routes, struct gw_conf_route));
}

static inline const struct gw_conf_limits *gw_route_limits(const struct gw_conf *conf,
                                                           const struct gw_conf_route *route)
{
    return gw_at(conf, route->limits);
}

#endif
