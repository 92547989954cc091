#include "proxy/made.h"

#include <stdlib.h>

#include "proxy/exchange_private.h"

void gw_made_join(struct gw_exchange *exchange, struct gw_generation *generation)
{
    struct exchange *ex = exchange_of(exchange);
    const struct gw_conf *conf = generation->conf;

    exchange->generation = generation;
    exchange->listener = GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);
    exchange->route = NULL;
    exchange->route_index = GW_NONE;
    ex->row = NULL;
    if (conf->routes.len > 0) {
        exchange->route = GW_ITEMS(conf, conf->routes, struct gw_conf_route);
        exchange->route_index = 0;
    }
    exchange_limits(ex);
    if (exchange->route != NULL && exchange->route->upstream != GW_NONE)
        ex->row =
            &GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream)[exchange->route->upstream];
}

struct gw_exchange *gw_made_new(struct gw_generation *generation)
{
    struct exchange *ex = calloc(1, sizeof(*ex));

    if (ex == NULL)
        return NULL;
    gw_arena_init(&ex->pub.arena);
    gw_fields_init(&ex->pub.request.fields, &ex->pub.arena);
    gw_fields_init(&ex->pub.response.fields, &ex->pub.arena);
    ex->waiting_phase = -1;
    ex->wanted_target = GW_NONE;
    ex->body_mode = BODY_NONE;
    ex->state = EX_PHASES;
    gw_made_join(&ex->pub, generation);
    return &ex->pub;
}

void gw_made_free(struct gw_exchange *exchange)
{
    struct exchange *ex = exchange_of(exchange);

    gw_buf_fini(&ex->body);
    gw_buf_fini(&ex->filter_out);
    gw_buf_fini(&ex->own_body);
    gw_arena_fini(&ex->pub.arena);
    free(ex);
}

struct gw_str gw_made_body(const struct gw_exchange *exchange)
{
    return gw_buf_str(&exchange_of(exchange)->body);
}

uint32_t gw_made_target(const struct gw_exchange *exchange)
{
    return exchange_of(exchange)->wanted_target;
}
