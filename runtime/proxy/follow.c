/* A WebSocket outlives many confs. So that one of them does not stay in memory for each time a
 * WebSocket was opened, it goes over to a new conf in which nothing that it may still meet is
 * another: the same route with the same plugin instances, the same upstream. Where something is
 * another it stays with the conf that it began with, as a request does. */
#include "base/log.h"
#include "proxy/exchange_private.h"

static uint32_t route_in(const struct gw_conf *conf, struct gw_str name, uint32_t hint)
{
    const struct gw_conf_route *routes = GW_ITEMS(conf, conf->routes, struct gw_conf_route);

    if (hint < conf->routes.len && gw_str_eq(gw_ref_str(conf, routes[hint].name), name))
        return hint;
    for (uint32_t i = 0; i < conf->routes.len; i++)
        if (gw_str_eq(gw_ref_str(conf, routes[i].name), name))
            return i;
    return GW_NONE;
}

static const struct gw_conf_listener *listener_in(const struct gw_conf *conf, struct gw_str name)
{
    const struct gw_conf_listener *rows = GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    for (uint32_t i = 0; i < conf->listeners.len; i++)
        if (gw_str_eq(gw_ref_str(conf, rows[i].name), name))
            return &rows[i];
    return NULL;
}

/* The row of the very same upstream, or NULL. */
static const struct gw_conf_upstream *upstream_in(const struct gw_generation *to,
                                                  const struct exchange *ex)
{
    const struct gw_conf_upstream *rows =
        GW_ITEMS(to->conf, to->conf->upstreams, struct gw_conf_upstream);

    for (uint32_t i = 0; i < to->conf->upstreams.len; i++)
        if (to->upstreams[i] == ex->upstream && rows[i].hash == ex->row->hash)
            return &rows[i];
    return NULL;
}

/* Where a WebSocket of this route would go; the last answer is kept, for many are alike. */
struct place {
    const struct gw_generation *from, *to;
    const struct gw_conf_route *route;
    const struct gw_upstream *upstream;
    const struct gw_conf_listener *listener;
    uint32_t index; /* GW_NONE: nowhere */
    const struct gw_conf_listener *to_listener;
    const struct gw_conf_upstream *row;
};

static void find(const struct exchange *ex, struct gw_generation *to, struct place *place)
{
    const struct gw_generation *from = ex->pub.generation;
    const struct gw_hooks *hooks = ex->proxy->hooks;
    const struct gw_conf_route *route;

    *place = (struct place){.from = from,
                            .to = to,
                            .route = ex->pub.route,
                            .upstream = ex->upstream,
                            .listener = ex->pub.listener};
    place->to_listener = listener_in(to->conf, gw_ref_str(from->conf, ex->pub.listener->name));
    place->row = upstream_in(to, ex);
    place->index =
        route_in(to->conf, gw_ref_str(from->conf, ex->pub.route->name), ex->pub.route_index);
    if (place->to_listener == NULL || place->row == NULL || place->index == GW_NONE) {
        place->index = GW_NONE;
        return;
    }
    route = &GW_ITEMS(to->conf, to->conf->routes, struct gw_conf_route)[place->index];
    if (route->phases != ex->pub.route->phases ||
        (route->phases != 0 &&
         (hooks == NULL || !hooks->same_chain(hooks->self, from, ex->pub.route, to, route))))
        place->index = GW_NONE;
}

/* What still points into the old conf comes into the arena; once, for from then on it is there. */
static void copy(struct exchange *ex)
{
    struct gw_exchange *pub = &ex->pub;
    struct gw_fields *both[] = {&pub->request.fields, &pub->response.fields};
    struct gw_conf_limits *limits;

    if (ex->follows)
        return;
    ex->follows = true;
    limits = gw_arena_alloc(&pub->arena, sizeof(*limits));
    *limits = *ex->limits;
    ex->limits = limits;
    for (uint32_t i = 0; i < pub->params; i++)
        pub->param_names[i] = gw_arena_dup(&pub->arena, pub->param_names[i]);
    for (unsigned which = 0; which < 2; which++)
        for (uint32_t i = 0; i < both[which]->count; i++) {
            struct gw_field *field = &both[which]->items[i];
            if (!field->dropped && !field->wire)
                field->value = gw_arena_dup(&pub->arena, field->value);
        }
    ex->pub.upstream_address = gw_arena_dup(&pub->arena, pub->upstream_address);
}

static void move(struct exchange *ex, const struct place *place, struct gw_generation *to)
{
    struct gw_generation *from = ex->pub.generation;

    copy(ex);
    generation_ref(to);
    if (ex->pub.upstream_target != NULL) {
        ptrdiff_t at =
            ex->pub.upstream_target - GW_ITEMS(from->conf, ex->row->targets, struct gw_conf_target);
        ex->pub.upstream_target =
            &GW_ITEMS(to->conf, place->row->targets, struct gw_conf_target)[at];
    }
    ex->pub.generation = to;
    ex->pub.listener = place->to_listener;
    ex->pub.route_index = place->index;
    ex->pub.route = &GW_ITEMS(to->conf, to->conf->routes, struct gw_conf_route)[place->index];
    ex->row = place->row;
    generation_unref(from);
}

void follow_all(struct gw_proxy *proxy)
{
    struct gw_generation *to = proxy->current;
    struct place place = {.to = NULL};

    GW_LIST_EACH(pos, &proxy->active)
    {
        struct exchange *ex = GW_CONTAINER(pos, struct exchange, link);
        if (ex->ws == NULL || ex->waiting_phase >= 0 || ex->pub.generation == to)
            continue;
        if (place.from != ex->pub.generation || place.route != ex->pub.route ||
            place.upstream != ex->upstream || place.listener != ex->pub.listener)
            find(ex, to, &place);
        if (place.index != GW_NONE)
            move(ex, &place, to);
    }
}
