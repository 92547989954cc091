/* Listeners and generations of one worker. */
#include "proxy/proxy.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/time.h"
#include "proxy/exchange_private.h"
#include "route/match.h"

#define ACCEPT_PAUSE_MS 100 /* after descriptors ran out */
#define STEPS_A_LOOK 16     /* upstreams that are made between two looks at the clock */
#define MEMORY_LOOK_MS 20
#define MEMORY_TRIM_MS 1000

static void index_free(struct gw_upstream_index *index);

/* ---- generations ---- */

void generation_ref(struct gw_generation *generation)
{
    generation->refs++;
}

static void generation_free(struct gw_generation *generation)
{
    gw_list_remove(&generation->link);
    gw_route_matcher_free(generation->matcher);
    tls_generation_free(generation);
    for (uint32_t i = 0; i < generation->conf->upstreams.len; i++)
        gw_upstream_unref(generation->upstreams[i]);
    free(generation->upstreams);
    index_free(generation->before);
    generation->upstreams = NULL;
    generation->matcher = NULL;
    generation->proxy->on_free(generation->proxy->on_free_arg, generation);
    free(generation);
}

void generation_unref(struct gw_generation *generation)
{
    assert(generation->refs > 0);
    if (--generation->refs == 0)
        generation_free(generation);
}

/* ---- preparing one ---- */

/* The upstreams of the generation before, by name. */
struct gw_upstream_index {
    const struct gw_generation *of;
    uint32_t *slots; /* index + 1, 0: free */
    uint32_t size;   /* a power of two, at least half are free */
    uint32_t count;  /* how many are in it */
};

static struct gw_upstream_index *index_new(const struct gw_generation *of)
{
    struct gw_upstream_index *index = calloc(1, sizeof(*index));

    if (index == NULL)
        abort();
    index->of = of;
    for (index->size = 2; index->size < of->conf->upstreams.len * 2;)
        index->size *= 2;
    index->slots = calloc(index->size, sizeof(*index->slots));
    if (index->slots == NULL)
        abort();
    return index;
}

static void index_free(struct gw_upstream_index *index)
{
    if (index != NULL)
        free(index->slots);
    free(index);
}

static uint32_t *index_slot(const struct gw_upstream_index *index, struct gw_str name)
{
    uint32_t at = (uint32_t)gw_hash(name.data, name.len, 0) & (index->size - 1);

    while (index->slots[at] != 0 &&
           !gw_str_eq(gw_upstream_name(index->of->upstreams[index->slots[at] - 1]), name))
        at = (at + 1) & (index->size - 1);
    return &index->slots[at];
}

/* False: the index has to grow first, by one more of the generation before. Most reloads leave
 * an upstream at its place; then no index is made. */
static bool upstream_before(struct gw_generation *generation, struct gw_str name,
                            struct gw_upstream **out)
{
    const struct gw_generation *current = generation->proxy->current;
    uint32_t at = generation->upstreams_made;
    struct gw_upstream_index *index = generation->before;
    uint32_t *slot;

    *out = NULL;
    if (current == NULL)
        return true;
    if (at < current->conf->upstreams.len &&
        gw_str_eq(gw_upstream_name(current->upstreams[at]), name)) {
        *out = current->upstreams[at];
        return true;
    }
    if (index == NULL)
        index = generation->before = index_new(current);
    if (index->count < current->conf->upstreams.len) {
        *index_slot(index, gw_upstream_name(current->upstreams[index->count])) = index->count + 1;
        index->count++;
        return false;
    }
    slot = index_slot(index, name);
    if (*slot != 0)
        *out = current->upstreams[*slot - 1];
    return true;
}

static enum gw_rc upstream_step(struct gw_generation *generation, struct gw_err *err)
{
    const struct gw_conf *conf = generation->conf;
    uint32_t at = generation->upstreams_made;
    const struct gw_conf_upstream *row =
        &GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream)[at];
    struct gw_upstream *before;
    enum gw_rc rc;

    if (!upstream_before(generation, gw_ref_str(conf, row->name), &before))
        return GW_OK;
    rc = gw_upstream_new(generation->proxy->upstreams, conf, row, before,
                         &generation->upstreams[at], err);
    if (rc == GW_OK)
        generation->upstreams_made++;
    return rc;
}

enum gw_rc gw_proxy_prepare_step(struct gw_generation *generation, uint32_t slice_us,
                                 struct gw_err *err)
{
    uint64_t until = gw_time_mono_us() + slice_us;
    uint32_t steps = 0;

    while (generation->upstreams_made < generation->conf->upstreams.len) {
        enum gw_rc rc = upstream_step(generation, err);
        if (rc != GW_OK)
            return rc;
        if (++steps % STEPS_A_LOOK == 0 && gw_time_mono_us() >= until)
            return GW_AGAIN;
    }
    index_free(generation->before);
    generation->before = NULL;
    while (generation->tls_made < generation->conf->listeners.len) {
        enum gw_rc rc = tls_prepare_step(generation, err);
        if (rc != GW_OK)
            return rc;
        if (gw_time_mono_us() >= until)
            return GW_AGAIN;
    }
    return GW_OK;
}

enum gw_rc gw_proxy_prepare(struct gw_proxy *proxy, const struct gw_conf *conf,
                            struct gw_generation **out, struct gw_err *err)
{
    struct gw_generation *generation = calloc(1, sizeof(*generation));
    enum gw_rc rc;

    if (generation == NULL)
        return gw_err_set(err, GW_NOMEM, "out of memory");
    generation->conf = conf;
    generation->proxy = proxy;
    generation->made_ms = gw_loop_now_ms(proxy->loop);
    gw_list_init(&generation->link);
    generation->upstreams = calloc(conf->upstreams.len + 1, sizeof(struct gw_upstream *));
    rc = generation->upstreams != NULL && tls_generation_init(generation)
             ? gw_upstream_set_dns(proxy->upstreams, conf, err)
             : gw_err_set(err, GW_NOMEM, "out of memory");
    if (rc == GW_OK)
        rc = gw_route_matcher_new(conf, &generation->matcher, err);
    if (rc == GW_OK) {
        *out = generation;
        return GW_OK;
    }
    tls_generation_free(generation);
    free(generation->upstreams);
    free(generation);
    return rc;
}

static uint32_t listener_index(const struct gw_conf *conf, const char *name)
{
    const struct gw_conf_listener *rows = GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    for (uint32_t i = 0; i < conf->listeners.len; i++)
        if (gw_str_eq(gw_ref_str(conf, rows[i].name), gw_str_c(name)))
            return i;
    return GW_NONE;
}

void limits_unref(struct gw_client_limits *limits)
{
    if (limits != NULL && --limits->refs == 0)
        free(limits);
}

/* Connections keep the limits that they were accepted with. */
static void listener_apply(struct listener *listener, const struct gw_conf *conf)
{
    const struct gw_conf_listener *row =
        &GW_ITEMS(conf, conf->listeners, struct gw_conf_listener)[listener->index];
    const struct gw_conf_limits *from = &row->limits;
    struct gw_client_limits *limits = calloc(1, sizeof(*limits));

    if (limits == NULL)
        abort();
    *limits = (struct gw_client_limits){
        .head = {.header_bytes_max = from->header_bytes_max,
                 .header_count_max = from->header_count_max,
                 .uri_bytes_max = from->uri_bytes_max},
        .header_timeout_ms = from->header_timeout_ms,
        .body_timeout_ms = from->body_timeout_ms,
        .send_timeout_ms = from->send_timeout_ms,
        .idle_timeout_ms = from->idle_timeout_ms,
        .data_rate_min = from->data_rate_min,
        .data_rate_grace_ms = from->data_rate_grace_ms,
        .requests_max = from->requests_max,
        .age_max_ms = from->age_max_ms,
        .buffer_bytes_max = from->buffer_bytes_max,
        .half_close_timeout_ms = from->half_close_timeout_ms,
        .proxy_protocol = row->proxy_protocol != GW_PROXY_PROTOCOL_OFF,
        .http2 = row->http2,
        .tls = row->tls.len > 0,
        .refs = 1,
    };
    limits_unref(listener->limits);
    listener->limits = limits;
    listener->connections_max = from->connections_max;
    listener->per_client_max = from->connections_per_client_max;
}

static void listener_retire(struct listener *listener, struct gw_generation *last)
{
    struct gw_proxy *proxy = listener->proxy;

    if (listener->last != NULL || last == NULL)
        return;
    listener->last = last;
    generation_ref(last);
    GW_LIST_EACH(pos, &proxy->connections)
    {
        struct gw_client_conn *conn = GW_CONTAINER(pos, struct gw_client_conn, link);
        if (conn->user_data == listener)
            conn->ops->retire(conn);
    }
}

void gw_proxy_commit(struct gw_proxy *proxy, struct gw_generation *generation)
{
    struct gw_generation *before = proxy->current;

    generation->refs++;
    proxy->current = generation;
    proxy->memory_max = generation->conf->memory_max;
    gw_list_push_front(&proxy->generations, &generation->link);
    GW_LIST_EACH(pos, &proxy->listeners)
    {
        struct listener *listener = GW_CONTAINER(pos, struct listener, link);
        uint32_t index = listener_index(generation->conf, listener->name);
        /* One that is gone has no new connections; those that live end with their next
         * answer, by the rules of the last generation that knew it. */
        if (index == GW_NONE) {
            listener_retire(listener, before);
            continue;
        }
        listener->index = index;
        listener_apply(listener, generation->conf);
    }
    follow_all(proxy);
    if (before != NULL)
        generation_unref(before);
}

void gw_proxy_lend_dns(struct gw_proxy *proxy, bool (*take)(void *arg, struct gw_dns *dns),
                       void *arg)
{
    gw_upstream_set_lend_dns(proxy->upstreams, take, arg);
}

void gw_proxy_abort(struct gw_proxy *proxy, struct gw_generation *generation)
{
    assert(generation->refs == 0);
    generation_free(generation);
}

struct gw_generation *gw_proxy_current(struct gw_proxy *proxy)
{
    return proxy->current;
}

struct gw_list *gw_proxy_generations(struct gw_proxy *proxy)
{
    return &proxy->generations;
}

/* ---- listeners ---- */

void listener_unref(struct listener *listener)
{
    if (--listener->refs > 0)
        return;
    gw_timer_fini(listener->proxy->loop, &listener->pause);
    gw_list_remove(&listener->link);
    if (listener->last != NULL)
        generation_unref(listener->last);
    limits_unref(listener->limits);
    free(listener->name);
    free(listener);
}

static void refuse_fd(struct gw_proxy *proxy, int fd)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                                 "Retry-After: 1\r\nConnection: close\r\n\r\n";
    char drop[4096];

    proxy->stats.shed_total++;
    (void)send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    /* Unread bytes would turn the close into a reset, and the answer would be lost. */
    (void)shutdown(fd, SHUT_WR);
    (void)recv(fd, drop, sizeof(drop), MSG_DONTWAIT);
    (void)close(fd);
}

/* Every descriptor is taken: the reserve makes room to tell one client, and accepting pauses
 * so that a readable listener does not make the loop spin. */
static void out_of_descriptors(struct listener *listener)
{
    struct gw_proxy *proxy = listener->proxy;
    int fd;

    gw_warn("listener %s: %s; new connections wait", listener->name, strerror(errno));
    if (proxy->reserve_fd >= 0) {
        (void)close(proxy->reserve_fd);
        fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            refuse_fd(proxy, fd);
        proxy->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    gw_io_close(&listener->io);
    gw_timer_set(proxy->loop, &listener->pause, gw_loop_now_ms(proxy->loop) + ACCEPT_PAUSE_MS);
}

/* Who it is is known: may it come in? */
bool listener_count_in(struct gw_client_conn *conn)
{
    struct listener *listener = conn->user_data;
    struct gw_client_table *clients = listener->proxy->clients;

    if (clients == NULL)
        return listener->connections_max == 0 ||
               listener->proxy->stats.connections <= listener->connections_max;
    if (gw_client_table_total_inc(clients, listener->connections_max) != GW_OK) {
        listener->proxy->stats.shed_total++;
        return false;
    }
    if (gw_client_table_inc(clients, conn->address, listener->per_client_max) != GW_OK) {
        gw_client_table_total_dec(clients);
        listener->proxy->stats.shed_total++;
        return false;
    }
    conn->counted = true;
    return true;
}

static void accepted(struct listener *listener, int fd, const struct sockaddr *peer)
{
    struct gw_proxy *proxy = listener->proxy;
    struct gw_client_conn *conn =
        gw_h1_server_new(proxy->h1, fd, &exchange_client_user, listener->limits, peer, listener);

    if (conn == NULL) {
        proxy->stats.shed_total++;
        return; /* the descriptor went with it */
    }
    listener->refs++;
    listener->limits->refs++;
    proxy->stats.connections++;
    proxy->stats.connections_total++;
    gw_list_push_back(&proxy->connections, &conn->link);
    if (listener->last != NULL)
        conn->ops->retire(conn);
    /* Behind a PROXY header comes somebody else: on_peer asks then. */
    if (!listener->limits->proxy_protocol && !listener_count_in(conn))
        conn->ops->refuse(conn);
}

static void accept_some(struct listener *listener, uint32_t max)
{
    struct sockaddr_storage peer;

    for (uint32_t i = 0; i < max; i++) {
        socklen_t len = sizeof(peer);
        int fd =
            accept4(listener->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accepted(listener, fd, (struct sockaddr *)&peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            out_of_descriptors(listener);
        else if (errno == ECONNABORTED || errno == EINTR)
            continue;
        return;
    }
}

/* A connection is cheapest while what its accept() touched is in the cache: one that is served
 * before the next is accepted costs 6 % less. A loop with much to do takes more at once, for its
 * turns are long and the queue must not wait for many of them. */
static void on_accept(struct gw_io *io, unsigned what)
{
    struct listener *listener = GW_CONTAINER(io, struct listener, io);
    uint32_t busy = gw_loop_busy(listener->proxy->loop) / 8;

    accept_some(listener, busy < 1 ? 1 : busy > GW_ACCEPTS_PER_TURN ? GW_ACCEPTS_PER_TURN : busy);
}

static void on_pause_over(struct gw_timer *timer)
{
    struct listener *listener = GW_CONTAINER(timer, struct listener, pause);

    if (!listener->open)
        return;
    if (listener->proxy->reserve_fd < 0)
        listener->proxy->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (gw_io_open_level(&listener->io, listener->proxy->loop, listener->fd, on_accept) != GW_OK)
        gw_timer_set(listener->proxy->loop, timer,
                     gw_loop_now_ms(listener->proxy->loop) + ACCEPT_PAUSE_MS);
}

enum gw_rc gw_proxy_listen(struct gw_proxy *proxy, struct gw_str name, int fd, struct gw_err *err)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    enum gw_rc rc;

    if (listener == NULL || (listener->name = strndup(name.data, name.len)) == NULL)
        abort();
    listener->proxy = proxy;
    listener->fd = fd;
    listener->refs = 1;
    listener->open = true;
    gw_timer_init(&listener->pause, on_pause_over);
    gw_list_push_back(&proxy->listeners, &listener->link);
    listener->index = listener_index(proxy->current->conf, listener->name);
    rc = listener->index == GW_NONE
             ? gw_err_set(err, GW_NOT_FOUND, "there is no listener %s", listener->name)
             : gw_io_open_level(&listener->io, proxy->loop, fd, on_accept);
    if (rc != GW_OK) {
        (void)close(fd);
        listener->open = false;
        listener_unref(listener);
        return rc;
    }
    listener_apply(listener, proxy->current->conf);
    return GW_OK;
}

static void listener_close(struct listener *listener)
{
    if (!listener->open)
        return;
    listener->open = false;
    gw_io_close(&listener->io);
    gw_timer_clear(&listener->pause);
    (void)close(listener->fd);
    listener_unref(listener);
}

void gw_proxy_unlisten(struct gw_proxy *proxy, struct gw_str name)
{
    GW_LIST_EACH_SAFE(pos, after, &proxy->listeners)
    {
        struct listener *listener = GW_CONTAINER(pos, struct listener, link);
        if (!gw_str_eq(name, gw_str_c(listener->name)) || !listener->open)
            continue;
        accept_some(listener, GW_BACKLOG_MAX); /* who waits in the queue was promised service */
        listener_close(listener);
    }
}

/* ---- the end ---- */

static void drained(struct gw_proxy *proxy)
{
    void (*done)(void *arg) = proxy->drain_done;

    gw_timer_fini(proxy->loop, &proxy->drain_timer);
    gw_later_cancel(&proxy->drain_later);
    proxy->drain_done = NULL;
    if (done != NULL)
        done(proxy->drain_arg);
}

static void on_drain_later(struct gw_later *later)
{
    drained(GW_CONTAINER(later, struct gw_proxy, drain_later));
}

static void close_all(struct gw_proxy *proxy)
{
    while (!gw_list_empty(&proxy->connections)) {
        struct gw_client_conn *conn =
            GW_CONTAINER(proxy->connections.next, struct gw_client_conn, link);
        conn->ops->close(conn, true);
    }
}

static void on_drain_timer(struct gw_timer *timer)
{
    struct gw_proxy *proxy = GW_CONTAINER(timer, struct gw_proxy, drain_timer);

    gw_warn("%llu connections are reset: shutdown_timeout is over",
            (unsigned long long)proxy->stats.connections);
    close_all(proxy);
}

void gw_proxy_drain(struct gw_proxy *proxy, uint64_t deadline_ms, void (*done)(void *arg),
                    void *arg)
{
    GW_LIST_EACH_SAFE(pos, after, &proxy->listeners)
    {
        listener_close(GW_CONTAINER(pos, struct listener, link));
    }
    proxy->draining = true;
    proxy->drain_done = done;
    proxy->drain_arg = arg;
    GW_LIST_EACH_SAFE(pos, after, &proxy->active)
    {
        struct exchange *ex = GW_CONTAINER(pos, struct exchange, link);
        if (ex->ws != NULL)
            ws_go_away(ex, "the gateway stops");
    }
    gw_h1_flush_all(proxy->h1);
    GW_LIST_EACH_SAFE(pos, after, &proxy->connections)
    {
        struct gw_client_conn *conn = GW_CONTAINER(pos, struct gw_client_conn, link);
        conn->ops->drain(conn);
    }
    gw_timer_set(proxy->loop, &proxy->drain_timer, gw_loop_now_ms(proxy->loop) + deadline_ms);
    if (gw_list_empty(&proxy->connections))
        gw_later(proxy->loop, &proxy->drain_later);
}

/* ---- memory ---- */

/* What is this worker's alone, as the kernel counts it: bodies, heads, buffers, Lua. */
static uint64_t memory_used(struct gw_proxy *proxy)
{
    unsigned long long resident, shared;
    char text[160];
    ssize_t len;

    if (proxy->memory_fd < 0)
        proxy->memory_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    len = pread(proxy->memory_fd, text, sizeof(text) - 1, 0);
    if (len <= 0)
        return 0;
    text[len] = '\0';
    if (sscanf(text, "%*u %llu %llu", &resident, &shared) != 2 || shared > resident)
        return 0;
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool proxy_over_memory(struct gw_proxy *proxy)
{
    uint64_t now = gw_loop_now_ms(proxy->loop);
    bool before = proxy->memory_over;

    if (proxy->memory_max == 0 || now < proxy->memory_look_ms)
        return proxy->memory_max > 0 && before;
    proxy->memory_look_ms = now + MEMORY_LOOK_MS;
    proxy->memory_over = memory_used(proxy) > proxy->memory_max;
    /* What was freed may still be kept for reuse: then it is not lack of memory. */
    if (proxy->memory_over && now >= proxy->memory_trim_ms) {
        proxy->memory_trim_ms = now + MEMORY_TRIM_MS;
        gw_arena_pool_drain();
        (void)malloc_trim(0);
        proxy->memory_over = memory_used(proxy) > proxy->memory_max;
    }
    if (proxy->memory_over && !before)
        gw_warn("more memory than memory_max: new requests get 503");
    else if (before && !proxy->memory_over)
        gw_warn("less memory than memory_max again");
    return proxy->memory_over;
}

/* ---- life ---- */

struct gw_threads *proxy_threads(struct gw_proxy *proxy)
{
    if (proxy->threads == NULL &&
        gw_threads_new(proxy->loop, GW_THREADS_DEFAULT, GW_THREADS_QUEUE_DEFAULT,
                       &proxy->threads) != GW_OK)
        abort();
    return proxy->threads;
}

void gw_proxy_share(struct gw_proxy *proxy, struct gw_client_table *clients)
{
    proxy->clients = clients;
}

void gw_proxy_set_tickets(struct gw_proxy *proxy, const struct gw_tls_tickets *tickets)
{
    proxy->tickets = *tickets;
}

void gw_proxy_stats(struct gw_proxy *proxy, struct gw_proxy_stats *out)
{
    *out = proxy->stats;
    gw_upstream_set_stats(proxy->upstreams, &out->upstream_connections, &out->upstream_idle);
}

enum gw_rc gw_proxy_new(struct gw_loop *loop, const struct gw_hooks *hooks,
                        gw_generation_free_fn on_free, void *arg, struct gw_proxy **out)
{
    struct gw_proxy *proxy = calloc(1, sizeof(*proxy));

    if (proxy == NULL)
        return GW_NOMEM;
    proxy->loop = loop;
    proxy->hooks = hooks;
    proxy->on_free = on_free;
    proxy->on_free_arg = arg;
    gw_list_init(&proxy->generations);
    gw_list_init(&proxy->listeners);
    gw_list_init(&proxy->connections);
    gw_list_init(&proxy->free_exchanges);
    gw_list_init(&proxy->active);
    gw_timer_init(&proxy->drain_timer, on_drain_timer);
    gw_later_init(&proxy->drain_later, on_drain_later);
    proxy->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    proxy->memory_fd = -1;
    if (gw_h1_new(loop, &proxy->h1) != GW_OK ||
        gw_upstream_set_new(loop, proxy->h1, &proxy->upstreams) != GW_OK) {
        gw_proxy_free(proxy);
        return GW_NOMEM;
    }
    *out = proxy;
    return GW_OK;
}

void gw_proxy_set_hooks(struct gw_proxy *proxy, const struct gw_hooks *hooks)
{
    proxy->hooks = hooks;
}

void gw_proxy_free(struct gw_proxy *proxy)
{
    if (proxy == NULL)
        return;
    GW_LIST_EACH_SAFE(pos, after, &proxy->listeners)
    {
        listener_close(GW_CONTAINER(pos, struct listener, link));
    }
    close_all(proxy);
    gw_timer_fini(proxy->loop, &proxy->drain_timer);
    gw_later_cancel(&proxy->drain_later);
    if (proxy->current != NULL)
        generation_unref(proxy->current);
    proxy->current = NULL;
    if (proxy->threads != NULL)
        gw_threads_free(proxy->threads);
    gw_loop_turn(proxy->loop, 0); /* what was closed is freed at the end of a turn */
    for (uint32_t i = 0; i < proxy->slots_count; i++) {
        gw_timer_fini(proxy->loop, &proxy->slots[i]->timer);
        free(proxy->slots[i]);
    }
    free(proxy->slots);
    free(proxy->piece);
    gw_upstream_set_free(proxy->upstreams);
    gw_h1_free(proxy->h1);
    if (proxy->reserve_fd >= 0)
        (void)close(proxy->reserve_fd);
    if (proxy->memory_fd >= 0)
        (void)close(proxy->memory_fd);
    free(proxy);
}
