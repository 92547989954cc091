/* One request and its answer, from the client's stream to the upstream's and back.
 * Lives in: one worker, from the head of the request until the answer has left and the
 * `log` phase is done. Owner: proxy/; others hold it by gw_exchange_number().
 * The first part of the struct is what script/ may read (and change where it says so). */
#ifndef GW_PROXY_EXCHANGE_H
#define GW_PROXY_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/buf.h"
#include "conf/generation.h"
#include "http/message.h"
#include "proxy/hooks.h"
#include "route/match.h"

struct gw_generation; /* proxy/generation.h */
struct gw_worker_proxy;

/* What a plugin, a route or an error answers instead of the upstream. */
struct gw_answer {
    uint16_t status;
    struct gw_fields fields;
    struct gw_str body;
    struct gw_str message; /* of a problem: what it says to a person, for grpc-message */
};

/* The client's TLS connection, as it was when the request came. */
struct gw_exchange_tls {
    struct gw_str version; /* "TLSv1.3" */
    struct gw_str cipher;
    struct gw_str name; /* that the client asked for (SNI), or empty */
    uint64_t policy;    /* hash of what was asked of the client */
    bool resumed;
    bool verified;               /* it has shown a good certificate … */
    const struct gw_str *client; /* … this one, by enum gw_tls_field; else NULL */
};

struct gw_exchange {
    struct gw_arena arena;       /* everything of this request */
    struct gw_request request;   /* fields may be changed until the upstream got them */
    struct gw_response response; /* valid from HEADER_FILTER on; fields may be changed there */
    struct gw_generation *generation;
    const struct gw_conf_route *route; /* NULL before the match and for 404 */
    uint32_t route_index;

    struct gw_str client_ip; /* text; after trusted proxies */
    uint16_t client_port;
    struct gw_str peer_ip;      /* text; who is really connected */
    uint8_t client_address[16]; /* as base/cidr.h has it */
    const struct gw_conf_listener *listener;
    uint8_t http_major, http_minor;
    const struct gw_exchange_tls *tls; /* NULL: the connection is plain */

    uint64_t began_us;            /* loop clock, head complete */
    uint64_t upstream_began_us;   /* last try */
    uint64_t upstream_head_us;    /* its head came */
    uint64_t ended_us;            /* the answer has left; valid in LOG */
    uint64_t bytes_in, bytes_out; /* bodies */
    uint32_t tries;
    struct gw_str
        upstream_address; /* "127.0.0.1:9001" of the last try; may be chosen in BALANCER */
    const struct gw_conf_target *upstream_target;

    struct gw_str id; /* correlation id; made at first use by gw_exchange_id() */
    const struct gw_fields *response_trailers; /* valid in LOG; NULL: none */
    const char *error; /* why the gateway answered itself: "upstream timeout"; or NULL */
    bool answered_by_gateway;
    bool aborted; /* the client went away, or the answer was cut */

    void *script; /* script/'s own; NULL: no hook was ever entered */

    /* Path parameters of the match: name, value pairs in order ("*" for the rest). */
    struct gw_str param_names[GW_ROUTE_PARAMS_MAX], param_values[GW_ROUTE_PARAMS_MAX];
    uint32_t params;
};

/* A number that dies with the exchange: slot in the low 32 bits, serial above. */
uint64_t gw_exchange_number(const struct gw_exchange *exchange);
/* NULL: that request is over. */
struct gw_exchange *gw_exchange_by_number(uint64_t number);

/* The id of this request (UUIDv4 text unless a plugin has set one). */
struct gw_str gw_exchange_id(struct gw_exchange *exchange);

/* The phase that returned GW_PHASE_WAIT has ended with `rc`. Not from within hooks->run. */
void gw_exchange_resume(struct gw_exchange *exchange, enum gw_phase_rc rc);

/* Sets the answer; all is copied into the arena. A Content-Length is made, names that frame
 * (Content-Length, Transfer-Encoding, Connection) are not taken. In HEADER_FILTER it
 * replaces the answer that was coming. */
struct gw_answer *gw_exchange_answer(struct gw_exchange *exchange, uint16_t status,
                                     struct gw_str body);

/* RFC 9457 body with type, title, status, detail (may be empty), instance and id. */
struct gw_answer *gw_exchange_problem(struct gw_exchange *exchange, uint16_t status,
                                      struct gw_str title, struct gw_str detail);

/* The request's body, whole. Calls `fn` once: now, or later when it has come. rc: GW_OK (slice
 * in the arena), GW_LIMIT (longer than `bytes_max`), GW_CLOSED, GW_TIMEOUT. */
typedef void (*gw_exchange_body_fn)(struct gw_exchange *exchange, void *arg, enum gw_rc rc,
                                    struct gw_str body);
void gw_exchange_read_body(struct gw_exchange *exchange, uint64_t bytes_max, gw_exchange_body_fn fn,
                           void *arg);
void gw_exchange_read_body_cancel(struct gw_exchange *exchange);

/* Replaces it (before the upstream is asked); copied. What the client still sends is drained. */
void gw_exchange_set_body(struct gw_exchange *exchange, struct gw_str body);

/* In HEADER_FILTER: this body, copied, instead of the one that was coming. In body_whole: what
 * the body has become. */
void gw_exchange_set_response_body(struct gw_exchange *exchange, struct gw_str body);
/* In HEADER_FILTER: the body that was set so, or that of our own answer. False: it comes from
 * elsewhere, and has not come yet. */
bool gw_exchange_response_body(const struct gw_exchange *exchange, struct gw_str *out);

/* New path and query for the upstream; validated and normalised like a client's.
 * GW_INVALID: not a path. */
GW_MUST_CHECK enum gw_rc gw_exchange_set_path(struct gw_exchange *exchange, struct gw_str path);
void gw_exchange_set_query(struct gw_exchange *exchange, struct gw_str query);

/* In BALANCER: this try goes to target `index` of the route's upstream. */
GW_MUST_CHECK enum gw_rc gw_exchange_set_target(struct gw_exchange *exchange, uint32_t index);

/* The upstream of this exchange becomes another one of the conf. GW_NOT_FOUND. */
GW_MUST_CHECK enum gw_rc gw_exchange_set_upstream(struct gw_exchange *exchange, struct gw_str name);

/* In LOG, when the hook must wait: keeps the exchange (not the connection) until
 * gw_exchange_release(). */
void gw_exchange_detach(struct gw_exchange *exchange);
void gw_exchange_release(struct gw_exchange *exchange);

#endif
