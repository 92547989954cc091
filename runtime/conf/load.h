/* Reads a conf, with all that it includes, into an image.
 * Lives in: the loader (a throw-away child, or a command). Opens no socket, runs no Lua.
 * Fills everything in struct gw_conf but: number, table, script, chain, phases,
 * global_chain, global_phases, identity_headers. Chains are set to GW_NONE. */
#ifndef GW_CONF_LOAD_H
#define GW_CONF_LOAD_H

#include "base/arena.h"
#include "conf/image.h"
#include "conf/report.h"
#include "conf/tree.h"

enum gw_on_error { GW_ON_ERROR_FAIL, GW_ON_ERROR_SKIP };

/* One use of a plugin: an item of a `plugins:` list. */
struct gw_binding {
    struct gw_str plugin;
    struct gw_str id;        /* the plugin's name, unless the binding has an `id:` */
    struct gw_node *conf;    /* NULL: none given */
    struct gw_where where;   /* of the plugin's name */
    struct gw_str path;      /* "routes[3].plugins[0]", of the binding */
    struct gw_str conf_path; /* "routes[3].plugins[0].jwt", of its conf */
    struct gw_str when;      /* empty: always */
    struct gw_where when_where;
    const struct gw_str *before; /* plugin names or ids */
    uint32_t before_count;
    const struct gw_str *after;
    uint32_t after_count;
    uint32_t deadline_ms; /* 0: none */
    uint32_t route;       /* index into gw_conf.routes; GW_NONE: global */
    bool enabled;
    uint8_t on_error; /* enum gw_on_error */
};

/* What the image does not hold and script/ needs. Lives until gw_conf_source_fini(). */
struct gw_conf_source {
    struct gw_arena arena;
    struct gw_node *root;        /* the whole conf, includes merged */
    struct gw_binding *bindings; /* the global ones first, then route by route, in conf order */
    uint32_t bindings_count;
    struct gw_str *plugin_paths; /* absolute folders, first found wins; they need not exist */
    uint32_t plugin_paths_count;
    struct gw_str *module_paths; /* lua/ in the same places */
    uint32_t module_paths_count;
};

struct gw_conf_options {
    /* The folder that the shipped plugins/ and lua/ are in; NULL: none. */
    const char *shipped_dir;
    /* NULL: the real environment. */
    const char *(*env)(const char *name, void *env_arg);
    void *env_arg;
};

/* All three out structures are the caller's and initialised (gw_image_init,
 * gw_conf_source_init, gw_report_init); they are the caller's to finish after a failure too.
 * GW_INVALID: the report has at least one fault, and the image must not be used.
 * `options` may be NULL. */
GW_MUST_CHECK enum gw_rc gw_conf_load(const char *path, const struct gw_conf_options *options,
                                      struct gw_image *image, struct gw_conf_source *out,
                                      struct gw_report *report);

/* The same with the text of the main file given: `path` only names it and its folder. */
GW_MUST_CHECK enum gw_rc gw_conf_load_text(const char *path, struct gw_str text,
                                           const struct gw_conf_options *options,
                                           struct gw_image *image, struct gw_conf_source *out,
                                           struct gw_report *report);

void gw_conf_source_init(struct gw_conf_source *source);
void gw_conf_source_fini(struct gw_conf_source *source);

#endif
