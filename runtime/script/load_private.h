/* What the files of the loader's part share: load.c (plugins, writing) and chain.c (chains). */
#ifndef GW_SCRIPT_LOAD_PRIVATE_H
#define GW_SCRIPT_LOAD_PRIVATE_H

#include "conf/schema.h"
#include "script/finder.h"
#include "script/image.h"
#include "script/load.h"
#include "script/vm.h"

/* A plugin that some binding names. */
struct gw_load_plugin {
    struct gw_str name;
    struct gw_found *found; /* NULL: it failed, and the report says why */
    double priority;
    uint32_t phases;
    bool buffered;
    struct gw_node *schema; /* NULL: none */
    int validator_ref;      /* of gw.schema; 0: the schema is not wide */
    struct gw_str *identity_headers;
    uint32_t identity_count;
    uint64_t hash; /* deep */
    struct gw_load_plugin *next;
};

/* A binding that is fit to run. */
struct gw_load_binding {
    const struct gw_binding *binding;
    struct gw_load_plugin *plugin; /* NULL: faulty, or not enabled */
    uint32_t row;                  /* its number in the image; GW_NONE: in no chain yet */
};

struct gw_load {
    struct gw_image *image;
    struct gw_conf_source *source;
    struct gw_report *report;
    struct gw_arena arena;
    struct gw_vm *vm;
    struct gw_finder finder;
    int loader_ref;
    struct gw_load_plugin *plugins;
    struct gw_load_binding *bindings; /* as source->bindings */

    /* chain.c */
    struct gw_load_binding **rows; /* bindings in the image, in order */
    uint32_t rows_count;
    struct gw_load_chain *chains; /* newest first */
    uint32_t chains_count;
};

struct gw_load_chain {
    struct gw_load_chain *next;
    uint32_t number;
    uint32_t phases;
    uint32_t count;
    uint32_t *rows;
};

/* load_schema.c. The schema at the top of L's stack has keywords that conf/schema.c leaves out:
 * makes a validator for the plugin. False: the report says what is wrong with the schema. */
GW_MUST_CHECK bool gw_load_validator(struct gw_load *load, struct gw_load_plugin *plugin,
                                     lua_State *L, struct gw_where where);

/* Holds a conf, with its defaults, to it; faults are in the report, each at its own place. */
GW_MUST_CHECK bool gw_load_validate(struct gw_load *load, const struct gw_load_plugin *plugin,
                                    const struct gw_node *conf, const struct gw_schema_at *at);

/* Resolves every chain; sets routes and conf. Faults go to the report. */
void gw_load_chains(struct gw_load *load);

#endif
