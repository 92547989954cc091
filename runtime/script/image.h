/* What the loader hands to the workers about plugins: struct gw_conf.script points at it.
 * Pointer-free, like the rest of the image. Written by load.c, read by generation.c. */
#ifndef GW_SCRIPT_IMAGE_H
#define GW_SCRIPT_IMAGE_H

#include "conf/generation.h"

/* The file of a plugin or of a module that one of them requires. */
struct gw_script_source {
    struct gw_ref key;   /* "plugin:jwt", "module:luhn" */
    struct gw_ref chunk; /* "@plugins/jwt.lua", for messages */
    struct gw_ref text;
    uint64_t hash; /* of its text and of all that it requires: same hash, same code */
    uint8_t free;  /* installed modules may set globals of their own */
    uint8_t is_plugin;
};

/* One plugin instance: a binding that is in at least one chain. */
struct gw_script_binding {
    uint32_t source; /* index into sources */
    uint32_t route;  /* index of gw_conf.routes; GW_NONE: global */
    struct gw_ref plugin;
    struct gw_ref id;
    struct gw_ref conf; /* value.h */
    struct gw_ref when; /* none: always */
    struct gw_where when_where;
    struct gw_where where; /* in the conf, and its path there: "routes[3].plugins[0].jwt" */
    struct gw_ref path;
    uint64_t identity; /* code, conf, id and route */
    uint32_t deadline_ms;
    uint32_t phases; /* bits of enum gw_phase in which it has code */
    uint8_t on_error;
    uint8_t buffered; /* body = "buffered" */
};

struct gw_script_chain {
    struct gw_ref bindings; /* uint32_t, indexes, in the order in which they run */
    uint32_t phases;
};

struct gw_script_image {
    struct gw_ref sources;  /* struct gw_script_source */
    struct gw_ref bindings; /* struct gw_script_binding */
    struct gw_ref chains;   /* struct gw_script_chain */
};

static inline const struct gw_script_image *gw_script_image(const struct gw_conf *conf)
{
    return conf->script.len != 0 ? gw_at(conf, conf->script.off) : NULL;
}

#endif
