/* Targets that are names become endpoints when the resolver says so; the flat list of peers
 * (endpoint and weight) is made anew then. Weights of a name count for each of its addresses. */
#include "upstream/upstream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "upstream/shared.h"

struct peer {
    struct gw_endpoint *endpoint;
    uint32_t target;
    int32_t weight;
    int64_t current;
};

struct target {
    struct gw_upstream *upstream;
    struct gw_dns_watch *watch; /* NULL: a literal address */
    char *host;
    uint16_t port;
    uint32_t weight;
    bool answered;
    struct gw_endpoint **endpoints;
    uint32_t count;
    uint32_t next; /* of them, where the target was chosen by a plugin */
};

/* A reload with other name servers makes a new one; the old goes with its last upstream. */
struct resolver {
    struct gw_dns *dns;
    uint64_t hash;
    uint32_t refs;
};

struct gw_upstream {
    struct gw_upstream_set *set;
    struct resolver *resolver;
    struct gw_upstream_tls *tls; /* NULL: plain */
    char *tls_name;              /* expected in place of the host; NULL: none */
    uint32_t refs;
    uint64_t hash;
    char *name;
    struct target *targets;
    uint32_t targets_count;
    struct peer *peers;
    uint32_t peers_count;
    uint32_t unanswered;
    struct gw_list waits;
    struct gw_later wake;
};

struct gw_upstream_set {
    struct gw_loop *loop;
    struct gw_h1 *h1;
    struct resolver *resolver;
    struct resolver *lent;
    struct gw_list *buckets; /* of endpoints, by hash of their address */
    uint32_t buckets_count;  /* a power of two */
    uint32_t endpoints_count;
    struct gw_list tls; /* struct gw_upstream_tls.link */
};

#define BUCKETS_MIN 16

static void *zalloc(size_t count, size_t size)
{
    void *mem = calloc(count > 0 ? count : 1, size);

    if (mem == NULL)
        abort();
    return mem;
}

static char *dup_str(struct gw_str s)
{
    char *copy = zalloc(s.len + 1, 1);

    memcpy(copy, s.data, s.len);
    return copy;
}

/* ---- the set ---- */

static void resolver_unref(struct resolver *resolver)
{
    if (resolver == NULL || --resolver->refs > 0)
        return;
    gw_dns_free(resolver->dns);
    free(resolver);
}

static void buckets_make(struct gw_upstream_set *set, uint32_t count)
{
    set->buckets = zalloc(count, sizeof(*set->buckets));
    set->buckets_count = count;
    for (uint32_t i = 0; i < count; i++)
        gw_list_init(&set->buckets[i]);
}

enum gw_rc gw_upstream_set_new(struct gw_loop *loop, struct gw_h1 *h1, struct gw_upstream_set **out)
{
    struct gw_upstream_set *set = zalloc(1, sizeof(*set));

    set->loop = loop;
    set->h1 = h1;
    gw_list_init(&set->tls);
    buckets_make(set, BUCKETS_MIN);
    *out = set;
    return GW_OK;
}

void gw_upstream_set_free(struct gw_upstream_set *set)
{
    if (set == NULL)
        return;
    assert(set->endpoints_count == 0);
    resolver_unref(set->lent);
    resolver_unref(set->resolver);
    free(set->buckets);
    free(set);
}

enum gw_rc gw_upstream_set_dns(struct gw_upstream_set *set, const struct gw_conf *conf,
                               struct gw_err *err)
{
    const struct gw_ref *rows = GW_ITEMS(conf, conf->dns_servers, struct gw_ref);
    struct gw_str servers[16];
    uint64_t hash = conf->dns_timeout_ms;
    size_t count = 0;
    struct gw_dns *dns;
    enum gw_rc rc;

    for (; count < conf->dns_servers.len && count < 16; count++) {
        servers[count] = gw_ref_str(conf, rows[count]);
        hash = gw_hash(servers[count].data, servers[count].len, hash);
    }
    if (set->resolver != NULL && set->resolver->hash == hash)
        return GW_OK;
    rc = gw_dns_new(set->loop, servers, count, conf->dns_timeout_ms, &dns, err);
    if (rc != GW_OK)
        return rc;
    resolver_unref(set->resolver);
    set->resolver = zalloc(1, sizeof(*set->resolver));
    set->resolver->dns = dns;
    set->resolver->hash = hash;
    set->resolver->refs = 1;
    return GW_OK;
}

void gw_upstream_set_lend_dns(struct gw_upstream_set *set,
                              bool (*take)(void *arg, struct gw_dns *dns), void *arg)
{
    if (set->resolver == NULL || set->lent == set->resolver || !take(arg, set->resolver->dns))
        return;
    set->resolver->refs++;
    resolver_unref(set->lent);
    set->lent = set->resolver;
}

void gw_upstream_set_stats(const struct gw_upstream_set *set, uint64_t *open, uint64_t *idle)
{
    *open = *idle = 0;
    for (uint32_t i = 0; i < set->buckets_count; i++)
        GW_LIST_EACH(pos, &set->buckets[i])
        {
            struct gw_endpoint *endpoint = GW_CONTAINER(pos, struct gw_endpoint, link);
            *open += endpoint->open_count;
            *idle += endpoint->idle_count;
        }
}

/* ---- endpoints ---- */

static const char *name_of(const struct target *target)
{
    const char *name = target->upstream->tls_name;

    return name != NULL ? name : target->host;
}

static void endpoint_text(struct gw_endpoint *endpoint)
{
    const struct sockaddr *any = (const struct sockaddr *)&endpoint->address;
    char host[48];

    (void)gw_address_format(any, host, sizeof(host));
    (void)snprintf(endpoint->text, sizeof(endpoint->text),
                   any->sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, gw_address_port(any));
}

static struct gw_list *bucket_of(struct gw_upstream_set *set, const void *address, socklen_t len)
{
    return &set->buckets[gw_hash(address, len, 0) & (set->buckets_count - 1)];
}

static void buckets_grow(struct gw_upstream_set *set)
{
    struct gw_list *before = set->buckets;
    uint32_t count = set->buckets_count;

    buckets_make(set, count * 2);
    for (uint32_t i = 0; i < count; i++)
        GW_LIST_EACH_SAFE(pos, after, &before[i])
        {
            struct gw_endpoint *endpoint = GW_CONTAINER(pos, struct gw_endpoint, link);
            gw_list_remove(pos);
            gw_list_push_back(bucket_of(set, &endpoint->address, endpoint->address_len), pos);
        }
    free(before);
}

/* Same TLS, and the same server is expected. */
static bool same_peer(const struct gw_endpoint *endpoint, const struct target *target)
{
    const struct gw_upstream_tls *tls = target->upstream->tls;

    return endpoint->tls == tls && (tls == NULL || strcmp(endpoint->name, name_of(target)) == 0);
}

static struct gw_endpoint *endpoint_ref(struct target *target, const struct sockaddr *address,
                                        socklen_t len)
{
    struct gw_upstream_set *set = target->upstream->set;
    struct gw_endpoint *endpoint;
    struct gw_list *bucket = bucket_of(set, address, len);

    GW_LIST_EACH(pos, bucket)
    {
        endpoint = GW_CONTAINER(pos, struct gw_endpoint, link);
        if (endpoint->address_len == len && memcmp(&endpoint->address, address, len) == 0 &&
            same_peer(endpoint, target)) {
            endpoint->refs++;
            return endpoint;
        }
    }
    endpoint = zalloc(1, sizeof(*endpoint));
    endpoint->refs = 1;
    endpoint->set = set;
    memcpy(&endpoint->address, address, len);
    endpoint->address_len = len;
    endpoint->tls = target->upstream->tls;
    if (endpoint->tls != NULL) {
        endpoint->tls->refs++;
        endpoint->name = dup_str(gw_str_c(name_of(target)));
    }
    gw_list_init(&endpoint->idle);
    gw_list_init(&endpoint->shared);
    gw_list_init(&endpoint->leaving);
    endpoint->h1 = set->h1;
    endpoint_text(endpoint);
    gw_list_push_back(bucket, &endpoint->link);
    if (++set->endpoints_count > set->buckets_count)
        buckets_grow(set);
    return endpoint;
}

/* One of the pool: its endpoint holds it, not the other way round. */
static void idle_close(struct gw_h1_client *client)
{
    struct gw_endpoint *endpoint = client->up.owner;

    endpoint->idle_count--;
    endpoint->open_count--;
    gw_list_remove(&client->link);
    gw_h1_client_close(client);
}

static void endpoint_unref(struct gw_endpoint *endpoint)
{
    if (--endpoint->refs > 0)
        return;
    while (!gw_list_empty(&endpoint->idle))
        idle_close(GW_CONTAINER(endpoint->idle.next, struct gw_h1_client, link));
    shared_leave(endpoint);
    gw_list_remove(&endpoint->link);
    endpoint->set->endpoints_count--;
    gw_tls_saved_fini(&endpoint->saved);
    gw_upstream_tls_unref(endpoint->tls);
    free(endpoint->name);
    free(endpoint);
}

void gw_endpoint_close(struct gw_upstream_stream *stream)
{
    struct gw_endpoint *endpoint = stream->owner;

    endpoint->open_count -= stream->shares ? 0 : 1;
    stream->stream.ops->reset(&stream->stream);
    endpoint_unref(endpoint);
}

struct gw_tls_target gw_endpoint_tls(struct gw_endpoint *endpoint, bool http2)
{
    return (struct gw_tls_target){endpoint->tls->client, gw_str_c(endpoint->name), &endpoint->saved,
                                  http2};
}

enum gw_rc gw_endpoint_take(struct gw_endpoint *endpoint, const struct gw_conf_upstream *row,
                            const struct gw_upstream_limits *limits, uint32_t fresh_ms,
                            struct gw_upstream_stream **out)
{
    struct gw_h1_client *client;
    struct gw_tls_target tls;
    enum gw_rc rc;

    if (row->http2 && !limits->alone) {
        rc = shared_take(endpoint, row, limits, fresh_ms, out);
        endpoint->refs += rc == GW_OK ? 1 : 0;
        return rc;
    }
    if (!gw_list_empty(&endpoint->idle) && fresh_ms != UINT32_MAX) {
        client = GW_CONTAINER(endpoint->idle.next, struct gw_h1_client, link);
        if (fresh_ms == 0 ||
            client->last_used_ms + fresh_ms >= gw_loop_now_ms(endpoint->set->loop)) {
            gw_list_remove(&client->link);
            endpoint->idle_count--;
            endpoint->refs++;
            client->limits = *limits;
            client->pipe.send_timeout_ms = limits->send_timeout_ms;
            client->pipe.buffer_bytes_max = limits->buffer_bytes_max;
            gw_h1_client_begin(client);
            *out = &client->up;
            return GW_OK;
        }
    }
    if (endpoint->tls != NULL)
        tls = gw_endpoint_tls(endpoint, false);
    rc = gw_h1_client_new(endpoint->set->h1, (const struct sockaddr *)&endpoint->address,
                          endpoint->address_len, limits, endpoint->tls != NULL ? &tls : NULL,
                          &client);
    if (rc != GW_OK)
        return rc;
    client->up.owner = endpoint;
    client->on_idle_end = idle_close;
    gw_h1_client_begin(client);
    endpoint->refs++; /* a connection in use holds its endpoint; an idle one is held by it */
    endpoint->open_count++;
    *out = &client->up;
    return GW_OK;
}

void gw_endpoint_give(struct gw_upstream_stream *stream, const struct gw_conf_upstream *row)
{
    struct gw_h1_client *client = gw_h1_client_of(&stream->stream);
    struct gw_endpoint *endpoint = stream->owner;

    if (stream->shares || !stream->reusable || endpoint->refs == 1 ||
        endpoint->idle_count >= row->idle_conns_max ||
        (row->requests_max > 0 && client->requests >= row->requests_max)) {
        gw_endpoint_close(stream);
        return;
    }
    gw_h1_client_park(client, row->idle_timeout_ms);
    gw_list_push_front(&endpoint->idle, &client->link);
    endpoint->idle_count++;
    endpoint->refs--;
}

/* ---- peers ---- */

/* Where an address stood in the turn. It is only compared: it may be gone by now. Most often it
 * is where it was. */
static int64_t peer_current(const struct peer *peers, uint32_t count, const struct peer *wanted,
                            uint32_t guess)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct peer *peer = &peers[(guess + i) % count];
        if (peer->endpoint == wanted->endpoint && peer->target == wanted->target)
            return peer->current;
    }
    return 0;
}

/* What stays keeps its place in the turn: names are refreshed all the time. */
static void peers_make(struct gw_upstream *upstream)
{
    struct peer *before = upstream->peers, *peer;
    uint32_t before_count = upstream->peers_count, count = 0;

    for (uint32_t i = 0; i < upstream->targets_count; i++)
        count += upstream->targets[i].count;
    peer = upstream->peers = zalloc(count, sizeof(*upstream->peers));
    upstream->peers_count = count;
    for (uint32_t i = 0; i < upstream->targets_count; i++) {
        const struct target *target = &upstream->targets[i];
        for (uint32_t a = 0; a < target->count; a++, peer++) {
            peer->endpoint = target->endpoints[a];
            peer->target = i;
            peer->weight = (int32_t)target->weight;
            peer->current =
                peer_current(before, before_count, peer, (uint32_t)(peer - upstream->peers));
        }
    }
    free(before);
}

static void target_clear(struct target *target)
{
    for (uint32_t i = 0; i < target->count; i++)
        endpoint_unref(target->endpoints[i]);
    free(target->endpoints);
    target->endpoints = NULL;
    target->count = 0;
}

static void target_set(struct target *target, const union gw_dns_address *addresses, uint32_t count)
{
    struct gw_endpoint **before = target->endpoints;
    uint32_t before_count = target->count;

    target->endpoints = zalloc(count, sizeof(*target->endpoints));
    target->count = count;
    for (uint32_t i = 0; i < count; i++) {
        union gw_dns_address address = addresses[i];
        if (address.any.sa_family == AF_INET)
            address.v4.sin_port = htons(target->port);
        else
            address.v6.sin6_port = htons(target->port);
        target->endpoints[i] = endpoint_ref(target, &address.any, gw_dns_address_len(&address));
    }
    for (uint32_t i = 0; i < before_count; i++)
        endpoint_unref(before[i]);
    free(before);
}

static void on_wake(struct gw_later *later)
{
    struct gw_upstream *upstream = GW_CONTAINER(later, struct gw_upstream, wake);

    /* A wait that is woken may drop the last reference: hold one meanwhile. */
    upstream->refs++;
    while (!gw_list_empty(&upstream->waits)) {
        struct gw_upstream_wait *wait =
            GW_CONTAINER(upstream->waits.next, struct gw_upstream_wait, link);
        gw_list_remove(&wait->link);
        wait->fn(wait);
    }
    gw_upstream_unref(upstream);
}

static void on_dns(void *arg, const struct gw_dns_answer *answer)
{
    struct target *target = arg;
    struct gw_upstream *upstream = target->upstream;

    if (!target->answered)
        upstream->unanswered--;
    target->answered = true;
    if (answer->rc != GW_OK) {
        gw_warn("upstream %s: %s: %s", upstream->name, target->host, gw_rc_text(answer->rc));
    } else {
        if (answer->stale)
            gw_warn("upstream %s: %s: %s; the last good addresses stay in use", upstream->name,
                    target->host, gw_rc_text(answer->refresh));
        target_set(target, answer->addresses, answer->count);
        peers_make(upstream);
    }
    if (upstream->peers_count > 0 || upstream->unanswered == 0)
        gw_later(upstream->set->loop, &upstream->wake);
}

static enum gw_rc target_init(struct gw_upstream *upstream, struct target *target,
                              const struct gw_conf *conf, const struct gw_conf_target *row,
                              struct gw_err *err)
{
    enum gw_rc rc;

    target->upstream = upstream;
    target->port = row->port;
    target->weight = row->weight;
    target->host = dup_str(gw_ref_str(conf, row->host));
    if (row->is_literal) {
        target->endpoints = zalloc(1, sizeof(*target->endpoints));
        target->endpoints[0] =
            endpoint_ref(target, (const struct sockaddr *)&row->address, row->address_len);
        target->count = 1;
        target->answered = true;
        return GW_OK;
    }
    rc = gw_dns_watch(upstream->resolver->dns, gw_str_c(target->host), GW_DNS_IPV4_FIRST, on_dns,
                      target, &target->watch);
    if (rc != GW_OK)
        return gw_err_set(err, rc, "upstream %s: %s: %s", upstream->name, target->host,
                          gw_rc_text(rc));
    upstream->unanswered++;
    return GW_OK;
}

enum gw_rc gw_upstream_new(struct gw_upstream_set *set, const struct gw_conf *conf,
                           const struct gw_conf_upstream *row, struct gw_upstream *before,
                           struct gw_upstream **out, struct gw_err *err)
{
    const struct gw_conf_target *rows = GW_ITEMS(conf, row->targets, struct gw_conf_target);
    const struct gw_conf_upstream_tls *tls = row->tls.len > 0 ? gw_at(conf, row->tls.off) : NULL;
    uint64_t hash = row->hash ^ set->resolver->hash ^ (tls != NULL ? tls->hash : 0);
    struct gw_upstream *upstream;
    enum gw_rc rc;

    if (before != NULL && before->hash == hash) {
        before->refs++;
        *out = before;
        return GW_OK;
    }
    upstream = zalloc(1, sizeof(*upstream));
    upstream->set = set;
    upstream->refs = 1;
    upstream->resolver = set->resolver;
    upstream->resolver->refs++;
    upstream->hash = hash;
    upstream->name = dup_str(gw_ref_str(conf, row->name));
    gw_list_init(&upstream->waits);
    gw_later_init(&upstream->wake, on_wake);
    if (tls != NULL) {
        rc = gw_upstream_tls_ref(&set->tls, conf, tls, &upstream->tls, err);
        if (rc != GW_OK) {
            gw_err_prefix(err, "upstream %s: ", upstream->name);
            gw_upstream_unref(upstream);
            return rc;
        }
        if (tls->name.len > 0)
            upstream->tls_name = dup_str(gw_ref_str(conf, tls->name));
    }
    upstream->targets = zalloc(row->targets.len, sizeof(*upstream->targets));
    for (uint32_t i = 0; i < row->targets.len; i++) {
        upstream->targets_count++;
        rc = target_init(upstream, &upstream->targets[i], conf, &rows[i], err);
        if (rc != GW_OK) {
            gw_upstream_unref(upstream);
            return rc;
        }
    }
    peers_make(upstream);
    *out = upstream;
    return GW_OK;
}

void gw_upstream_unref(struct gw_upstream *upstream)
{
    if (upstream == NULL || --upstream->refs > 0)
        return;
    for (uint32_t i = 0; i < upstream->targets_count; i++) {
        if (upstream->targets[i].watch != NULL)
            gw_dns_unwatch(upstream->targets[i].watch);
        target_clear(&upstream->targets[i]);
        free(upstream->targets[i].host);
    }
    gw_later_cancel(&upstream->wake);
    resolver_unref(upstream->resolver);
    gw_upstream_tls_unref(upstream->tls);
    free(upstream->tls_name);
    free(upstream->targets);
    free(upstream->peers);
    free(upstream->name);
    free(upstream);
}

struct gw_str gw_upstream_name(const struct gw_upstream *upstream)
{
    return gw_str_c(upstream->name);
}

/* ---- choosing ---- */

enum gw_rc gw_upstream_pick(struct gw_upstream *upstream, const struct gw_endpoint *avoid,
                            struct gw_endpoint **out)
{
    struct peer *best = NULL;
    int64_t total = 0;

    if (upstream->peers_count == 1) {
        *out = upstream->peers[0].endpoint;
        return GW_OK;
    }
    if (upstream->peers_count == 0)
        return upstream->unanswered > 0 ? GW_AGAIN : GW_DNS;
    for (uint32_t i = 0; i < upstream->peers_count; i++) {
        struct peer *peer = &upstream->peers[i];
        if (peer->endpoint == avoid)
            continue;
        peer->current += peer->weight;
        total += peer->weight;
        if (best == NULL || peer->current > best->current)
            best = peer;
    }
    if (best == NULL)
        best = &upstream->peers[0];
    best->current -= total;
    *out = best->endpoint;
    return GW_OK;
}

enum gw_rc gw_upstream_pick_target(struct gw_upstream *upstream, uint32_t index,
                                   struct gw_endpoint **out)
{
    struct target *target;

    if (index >= upstream->targets_count)
        return GW_NOT_FOUND;
    target = &upstream->targets[index];
    if (target->count == 0)
        return target->answered ? GW_DNS : GW_AGAIN;
    *out = target->endpoints[target->next++ % target->count];
    return GW_OK;
}

void gw_upstream_wait(struct gw_upstream *upstream, struct gw_upstream_wait *wait)
{
    gw_list_push_back(&upstream->waits, &wait->link);
}
