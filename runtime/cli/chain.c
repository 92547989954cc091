#include "cli/chain.h"

#include <stdio.h>

static const struct gw_script_chain *chain_of(const struct gw_conf *conf, uint32_t chain)
{
    const struct gw_script_image *image = gw_script_image(conf);

    if (image == NULL || chain == GW_NONE || chain >= image->chains.len)
        return NULL;
    return &GW_ITEMS(conf, image->chains, struct gw_script_chain)[chain];
}

uint32_t gw_chain_len(const struct gw_conf *conf, uint32_t chain)
{
    const struct gw_script_chain *found = chain_of(conf, chain);

    return found != NULL ? found->bindings.len : 0;
}

const struct gw_script_binding *gw_chain_at(const struct gw_conf *conf, uint32_t chain, uint32_t i)
{
    const struct gw_script_image *image = gw_script_image(conf);
    const struct gw_script_chain *found = chain_of(conf, chain);
    uint32_t row = GW_ITEMS(conf, found->bindings, uint32_t)[i];

    return &GW_ITEMS(conf, image->bindings, struct gw_script_binding)[row];
}

void gw_route_target_text(const struct gw_conf *conf, const struct gw_conf_route *route, char *to,
                          size_t size)
{
    const struct gw_conf_details *details = gw_conf_details(conf, route);

    switch (route->kind) {
    case GW_ROUTE_RESPOND:
        (void)snprintf(to, size, "answers %u by itself", details->status);
        break;
    case GW_ROUTE_REDIRECT:
        (void)snprintf(to, size, "redirects (%u) to %.*s", details->status,
                       GW_STR_ARG(gw_ref_str(conf, details->location)));
        break;
    case GW_ROUTE_FILES:
        (void)snprintf(to, size, "files of %.*s", GW_STR_ARG(gw_ref_str(conf, details->root)));
        break;
    default:
        if (route->upstream == GW_NONE)
            (void)snprintf(to, size, "no upstream");
        else
            (void)snprintf(
                to, size, "%.*s",
                GW_STR_ARG(gw_ref_str(
                    conf, GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream)[route->upstream]
                              .name)));
    }
}
