#include "script/carry.h"

#include <assert.h>

#include "proxy/hooks.h"
#include "script/image.h"

void gw_script_carry(struct gw_image *image, const struct gw_increment *increment)
{
    const struct gw_conf *conf = gw_image_conf(image);
    const struct gw_script_image *script = gw_script_image(conf);
    struct gw_conf_route *routes = gw_image_at(image, conf->routes.off);
    struct gw_script_binding *rows;
    uint32_t before_match = 1u << GW_PHASE_REWRITE_GLOBAL;

    for (uint32_t i = 0; i < conf->routes.len; i++) {
        if (!increment->fresh[i])
            continue;
        routes[i].chain = conf->global_chain;
        routes[i].phases = conf->global_phases & ~before_match;
    }
    if (script == NULL || !increment->moved)
        return;
    rows = gw_image_at(image, script->bindings.off);
    for (uint32_t i = 0; i < script->bindings.len; i++) {
        if (rows[i].route != GW_NONE)
            rows[i].route = increment->routes_to[rows[i].route];
        rows[i].where.file = increment->files_to[rows[i].where.file];
        if (rows[i].when.len > 0)
            rows[i].when_where.file = increment->files_to[rows[i].when_where.file];
        assert(rows[i].route == GW_NONE || rows[i].route < conf->routes.len);
    }
}
