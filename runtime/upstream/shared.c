#include "upstream/shared.h"

#include <stdlib.h>

#include "http/h2.h"

struct shared {
    struct gw_list link;          /* of the endpoint: shared, or leaving */
    struct gw_endpoint *endpoint; /* NULL: it is gone */
    struct gw_h2_client *client;
};

static void on_retired(struct gw_h2_client *client, void *owner)
{
    struct shared *shared = owner;

    gw_list_remove(&shared->link);
    if (shared->endpoint != NULL)
        gw_list_push_back(&shared->endpoint->leaving, &shared->link);
}

static void on_closed(struct gw_h2_client *client, void *owner)
{
    struct shared *shared = owner;

    gw_list_remove(&shared->link);
    if (shared->endpoint != NULL)
        shared->endpoint->open_count--;
    free(shared);
}

static const struct gw_h2_client_user shared_user = {on_retired, on_closed};

static enum gw_rc connect_new(struct gw_endpoint *endpoint, const struct gw_conf_upstream *row,
                              const struct gw_upstream_limits *limits, struct shared **out)
{
    struct shared *shared = calloc(1, sizeof(*shared));
    struct gw_tls_target tls;
    enum gw_rc rc;

    if (shared == NULL)
        return GW_NOMEM;
    shared->endpoint = endpoint;
    if (endpoint->tls != NULL)
        tls = gw_endpoint_tls(endpoint, true);
    rc = gw_h2_client_new(
        endpoint->h1, (const struct sockaddr *)&endpoint->address, endpoint->address_len,
        endpoint->tls != NULL ? &tls : NULL, limits->connect_timeout_ms,
        row->idle_conns_max > 0 ? row->idle_timeout_ms : 0, &shared_user, shared, &shared->client);
    if (rc != GW_OK) {
        free(shared);
        return rc;
    }
    gw_list_push_front(&endpoint->shared, &shared->link);
    endpoint->open_count++;
    *out = shared;
    return GW_OK;
}

/* Those that were made first are filled first, so that the last can age out. */
static struct gw_upstream_stream *find(struct gw_endpoint *endpoint,
                                       const struct gw_conf_upstream *row,
                                       const struct gw_upstream_limits *limits, uint32_t fresh_ms)
{
    struct gw_upstream_stream *stream = NULL;

    for (struct gw_list *pos = endpoint->shared.prev, *before = pos->prev;
         pos != &endpoint->shared && stream == NULL; pos = before, before = pos->prev) {
        struct shared *shared = GW_CONTAINER(pos, struct shared, link);
        if (row->requests_max > 0 && gw_h2_client_requests(shared->client) >= row->requests_max)
            gw_h2_client_retire(shared->client);
        else if (gw_h2_client_fresh(shared->client, fresh_ms))
            stream = gw_h2_client_stream(shared->client, limits);
    }
    return stream;
}

enum gw_rc shared_take(struct gw_endpoint *endpoint, const struct gw_conf_upstream *row,
                       const struct gw_upstream_limits *limits, uint32_t fresh_ms,
                       struct gw_upstream_stream **out)
{
    struct shared *shared;
    enum gw_rc rc;

    *out = find(endpoint, row, limits, fresh_ms);
    if (*out == NULL) {
        rc = connect_new(endpoint, row, limits, &shared);
        if (rc != GW_OK)
            return rc;
        *out = gw_h2_client_stream(shared->client, limits);
    }
    (*out)->owner = endpoint;
    return GW_OK;
}

static void leave(struct gw_list *list)
{
    while (!gw_list_empty(list)) {
        struct shared *shared = GW_CONTAINER(list->next, struct shared, link);
        shared->endpoint = NULL;
        gw_list_remove(&shared->link);
        gw_h2_client_retire(shared->client);
    }
}

void shared_leave(struct gw_endpoint *endpoint)
{
    leave(&endpoint->shared);
    leave(&endpoint->leaving);
}
