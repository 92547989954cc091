/* What the rows say, for editors and for readers. */
#ifndef GW_CONF_CONF_SCHEMA_H
#define GW_CONF_CONF_SCHEMA_H

#include "conf/rows.h"

struct gw_plugin_schema {
    struct gw_str name;
    const struct gw_node *schema; /* NULL: takes no conf */
};

/* JSON Schema (2020-12) of a whole conf file. A plugin that is not among those handed in is
 * allowed, with any conf: a file may be written before its plugin. */
void gw_conf_schema(const struct gw_plugin_schema *plugins, uint32_t count, struct gw_buf *out);

/* Every key of the conf, in order. `path` as in "upstreams.NAME.targets[].address". */
typedef void (*gw_key_fn)(void *arg, struct gw_str path, const struct gw_row *row);
void gw_conf_keys(gw_key_fn fn, void *arg);

/* The reference: lines of "| key | value | default | meaning |" in Markdown. */
void gw_conf_reference(struct gw_buf *out);

#endif
