/* The proxy of one worker: listeners in, upstreams out, generations between.
 * Lives in: one worker. Owner: process/worker.c. */
#ifndef GW_PROXY_PROXY_H
#define GW_PROXY_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "conf/generation.h"
#include "net/loop.h"
#include "proxy/hooks.h"

struct gw_proxy;
struct gw_route_matcher; /* route/match.h: the per-process part of the table */
struct gw_upstream;      /* upstream/upstream.h */

/* A conf in use by this worker. Counted: the current one and each exchange hold one. */
struct gw_generation {
    const struct gw_conf *conf;
    uint32_t refs;
    struct gw_upstream *
        *upstreams; /* by index of conf->upstreams; shared with other generations by name */
    struct gw_route_matcher *matcher;
    void *script; /* struct gw_script_generation, or NULL */
    uint64_t made_ms;
    struct gw_proxy *proxy;
    struct gw_list link; /* in the proxy's list of living generations */

    struct generation_tls *tls; /* by index of conf->listeners */

    /* while it is prepared */
    uint32_t tls_made;
    uint32_t upstreams_made;
    struct gw_upstream_index *before; /* names of the generation before, or NULL: not needed yet */
};

/* `on_free` is called when a retired generation has no user left: process/ then frees the
 * script part and unmaps the image. */
typedef void (*gw_generation_free_fn)(void *arg, struct gw_generation *generation);

struct gw_proxy_stats {
    uint64_t connections; /* open client connections */
    uint64_t connections_total;
    uint64_t requests_total;
    uint64_t requests_active;
    uint64_t upstream_connections; /* open, pooled ones included */
    uint64_t upstream_idle;
    uint64_t shed_total; /* refused for lack of connections, memory or descriptors */
    uint64_t websockets; /* open ones */
    uint64_t websockets_total;
    uint64_t websocket_messages_total; /* of those that have ended, both ways */
    uint64_t answers_total[6];         /* by first digit; [0]: none was sent */
};

GW_MUST_CHECK enum gw_rc gw_proxy_new(struct gw_loop *loop, const struct gw_hooks *hooks,
                                      gw_generation_free_fn on_free, void *arg,
                                      struct gw_proxy **out);
void gw_proxy_free(struct gw_proxy *proxy);
/* For a worker whose first plugins come with a reload: no VM is made before. */
void gw_proxy_set_hooks(struct gw_proxy *proxy, const struct gw_hooks *hooks);

/* Begins to make what a generation needs. Taken: nothing. */
GW_MUST_CHECK enum gw_rc gw_proxy_prepare(struct gw_proxy *proxy, const struct gw_conf *conf,
                                          struct gw_generation **out, struct gw_err *err);
/* Goes on for `slice_us`. GW_AGAIN: there is more to do; GW_OK: ready for the commit; else
 * gw_proxy_abort() is due. */
GW_MUST_CHECK enum gw_rc gw_proxy_prepare_step(struct gw_generation *generation, uint32_t slice_us,
                                               struct gw_err *err);
void gw_proxy_commit(struct gw_proxy *proxy, struct gw_generation *generation);
/* The worker's resolver, for gw.http: see gw_upstream_set_lend_dns(). */
struct gw_dns;
void gw_proxy_lend_dns(struct gw_proxy *proxy, bool (*take)(void *arg, struct gw_dns *dns),
                       void *arg);
void gw_proxy_abort(struct gw_proxy *proxy, struct gw_generation *generation);
struct gw_generation *gw_proxy_current(struct gw_proxy *proxy);
/* Head of the list of struct gw_generation.link, newest first. */
struct gw_list *gw_proxy_generations(struct gw_proxy *proxy);

/* Accepts on `fd` (listening, non-blocking; taken) for the listener of that name in the
 * current generation. A listener that is gone after a reload is closed by name; its
 * connections live on. */
GW_MUST_CHECK enum gw_rc gw_proxy_listen(struct gw_proxy *proxy, struct gw_str name, int fd,
                                         struct gw_err *err);
void gw_proxy_unlisten(struct gw_proxy *proxy, struct gw_str name);

/* Stop accepting, close idle connections, say Connection: close; `done` is called when no
 * connection is left, at the latest after `deadline_ms` (those left are then reset). */
void gw_proxy_drain(struct gw_proxy *proxy, uint64_t deadline_ms, void (*done)(void *arg),
                    void *arg);

void gw_proxy_stats(struct gw_proxy *proxy, struct gw_proxy_stats *out);

/* Shared counters for limits that count over all workers; zeroed memory of all workers,
 * see shm/. NULL: this worker counts alone. */
/* The keys of TLS tickets, the newest first; copied. */
struct gw_tls_tickets;
void gw_proxy_set_tickets(struct gw_proxy *proxy, const struct gw_tls_tickets *tickets);

/* Where OCSP responses come from: what is known now, or empty; lent until return. */
struct gw_staple_question {
    struct gw_str url;
    struct gw_str request; /* DER, to be posted to it */
    struct gw_str chain;   /* the certificate and its issuer, to judge the answer by */
};
typedef struct gw_str (*gw_proxy_staple_fn)(void *arg, const struct gw_staple_question *question);
void gw_proxy_set_staple(struct gw_proxy *proxy, gw_proxy_staple_fn fn, void *arg);

struct gw_client_table;
void gw_proxy_share(struct gw_proxy *proxy, struct gw_client_table *clients);

#endif
