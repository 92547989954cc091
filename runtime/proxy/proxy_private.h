/* The inside of struct gw_proxy, for proxy/ only. */
#ifndef GW_PROXY_PROXY_PRIVATE_H
#define GW_PROXY_PROXY_PRIVATE_H

#include "http/h1.h"
#include "net/threads.h"
#include "net/tls.h"
#include "proxy/proxy.h"
#include "shm/clients.h"
#include "upstream/upstream.h"

struct exchange;

struct listener {
    struct gw_list link;
    struct gw_io io;
    struct gw_proxy *proxy;
    struct gw_timer pause; /* out of descriptors: accept again after a while */
    int fd;
    char *name;
    uint32_t index;             /* in the current generation, or in `last` */
    struct gw_generation *last; /* the conf no longer has it: the last one that had */
    struct gw_client_limits *limits;
    uint32_t connections_max, per_client_max;
    uint32_t refs; /* itself and its connections */
    bool open;
};

struct gw_proxy {
    struct gw_loop *loop;
    struct gw_h1 *h1;
    const struct gw_hooks *hooks; /* may be NULL */
    gw_generation_free_fn on_free;
    void *on_free_arg;
    struct gw_upstream_set *upstreams;
    struct gw_threads *threads; /* made at first use */
    char *piece;                /* of a file, for a send: made at first use */
    struct gw_generation *current;
    struct gw_list generations;
    struct gw_list listeners;
    struct gw_list connections; /* struct gw_client_conn.link */
    struct gw_client_table *clients;
    struct gw_tls_tickets tickets;
    gw_proxy_staple_fn staple_fn;
    void *staple_arg;
    struct gw_proxy_stats stats;
    int reserve_fd; /* given up for a moment when descriptors run out */
    uint64_t memory_max;
    uint64_t memory_look_ms, memory_trim_ms; /* not before */
    int memory_fd;
    bool memory_over;

    struct exchange **slots;
    uint32_t slots_count, slots_size;
    struct gw_list free_exchanges;
    struct gw_list active;

    bool draining;
    struct gw_timer drain_timer;
    struct gw_later drain_later;
    void (*drain_done)(void *arg);
    void *drain_arg;
};

void generation_ref(struct gw_generation *generation);
void generation_unref(struct gw_generation *generation);
/* follow.c: open WebSockets go over to the current generation where it is the same to them. */
void follow_all(struct gw_proxy *proxy);

/* tls.c: contexts of the listeners, one a step. */
bool tls_generation_init(struct gw_generation *generation);
GW_MUST_CHECK enum gw_rc tls_prepare_step(struct gw_generation *generation, struct gw_err *err);
void tls_generation_free(struct gw_generation *generation);
struct gw_tls_server *tls_of_client(struct gw_client_conn *conn);

/* Has this worker more than memory_max? Cheap: looks at most once in a while. */
bool proxy_over_memory(struct gw_proxy *proxy);
bool listener_count_in(struct gw_client_conn *conn);
void limits_unref(struct gw_client_limits *limits);
void listener_unref(struct listener *listener);
struct gw_threads *proxy_threads(struct gw_proxy *proxy);

extern const struct gw_client_user exchange_client_user; /* exchange.c */

#endif
