/* Upstreams: their targets, who is next, and the idle connections to them.
 * Lives in: one worker. An endpoint (one address) and its pool are shared by all upstreams and
 * generations that name it, so that a reload keeps warm connections.
 * Owner of a struct gw_upstream: the generations that use it, counted.
 * A connection of HTTP/2 is shared by exchanges (upstream/shared.h).
 * Pool: last in, first out, so that what is not needed ages out; a connection in it closes
 * itself when the other side does. Limit: idle_conns_max for each endpoint. */
#ifndef GW_UPSTREAM_UPSTREAM_H
#define GW_UPSTREAM_UPSTREAM_H

#include "base/err.h"
#include "base/list.h"
#include "conf/generation.h"
#include "http/h1.h"
#include "net/dns.h"
#include "upstream/tls.h"

struct gw_upstream_set; /* all of a worker */
struct gw_upstream;

struct gw_endpoint {
    struct gw_list link; /* in a bucket of the set */
    uint32_t refs;
    struct gw_upstream_set *set;
    struct sockaddr_storage address;
    socklen_t address_len;
    char text[64]; /* "127.0.0.1:9001" */
    struct gw_h1 *h1;
    struct gw_list idle;    /* struct gw_h1_client.link, newest first */
    struct gw_list shared;  /* connections of HTTP/2 that take streams, newest first */
    struct gw_list leaving; /* those that take no more */
    uint32_t idle_count;
    uint32_t open_count;         /* idle and in use */
    struct gw_upstream_tls *tls; /* NULL: plain */
    char *name;                  /* who is expected behind TLS */
    struct gw_tls_saved saved;   /* the last session */
};

GW_MUST_CHECK enum gw_rc gw_upstream_set_new(struct gw_loop *loop, struct gw_h1 *h1,
                                             struct gw_upstream_set **out);
void gw_upstream_set_free(struct gw_upstream_set *set);
/* The resolver of this conf; kept while the servers stay the same. */
GW_MUST_CHECK enum gw_rc gw_upstream_set_dns(struct gw_upstream_set *set,
                                             const struct gw_conf *conf, struct gw_err *err);
/* The resolver of the newest conf, for somebody else of this worker (gw.http). `take` is called
 * with it when it has changed; false: not now, it keeps the one it has, ask again later. */
void gw_upstream_set_lend_dns(struct gw_upstream_set *set,
                              bool (*take)(void *arg, struct gw_dns *dns), void *arg);
void gw_upstream_set_stats(const struct gw_upstream_set *set, uint64_t *open, uint64_t *idle);

/* `before`: the upstream of that name in the generation before, or NULL; when nothing has
 * changed it is the one that is returned. */
GW_MUST_CHECK enum gw_rc gw_upstream_new(struct gw_upstream_set *set, const struct gw_conf *conf,
                                         const struct gw_conf_upstream *row,
                                         struct gw_upstream *before, struct gw_upstream **out,
                                         struct gw_err *err);
void gw_upstream_unref(struct gw_upstream *upstream);
struct gw_str gw_upstream_name(const struct gw_upstream *upstream);

/* Smooth weighted round robin over all addresses of all targets; `avoid` (may be NULL) only
 * when there is no other.
 * GW_OK; GW_AGAIN: names are still being resolved, ask gw_upstream_wait(); GW_DNS. */
GW_MUST_CHECK enum gw_rc gw_upstream_pick(struct gw_upstream *upstream,
                                          const struct gw_endpoint *avoid,
                                          struct gw_endpoint **out);
/* The addresses of target `index` in turn, so that a retry finds another one.
 * GW_NOT_FOUND: there is no such target. GW_AGAIN, GW_DNS: as above. */
GW_MUST_CHECK enum gw_rc gw_upstream_pick_target(struct gw_upstream *upstream, uint32_t index,
                                                 struct gw_endpoint **out);

/* Whom a new connection expects; only where endpoint->tls is. */
struct gw_tls_target gw_endpoint_tls(struct gw_endpoint *endpoint, bool http2);

struct gw_upstream_wait {
    struct gw_list link;
    void (*fn)(struct gw_upstream_wait *wait);
};
void gw_upstream_wait(struct gw_upstream *upstream, struct gw_upstream_wait *wait);

/* A stream on a connection to it: an idle one that was used within `fresh_ms` (0: any age;
 * UINT32_MAX: never an idle one), or a new one that is connecting. */
GW_MUST_CHECK enum gw_rc gw_endpoint_take(struct gw_endpoint *endpoint,
                                          const struct gw_conf_upstream *row,
                                          const struct gw_upstream_limits *limits,
                                          uint32_t fresh_ms, struct gw_upstream_stream **out);
/* Back into the pool, or closed when it is not reusable or the pool is full. */
void gw_endpoint_give(struct gw_upstream_stream *stream, const struct gw_conf_upstream *row);
void gw_endpoint_close(struct gw_upstream_stream *stream);

#endif
