/* Checks plugin confs against the schemas that plugins declare: the part of JSON Schema
 * that most of them need, fast and with defaults.
 *   type required properties enum minimum maximum exclusiveMinimum exclusiveMaximum
 *   minLength maxLength minItems maxItems items default pattern description
 *   additionalProperties title examples
 * The other keywords of draft 2020-12 are let through, and nothing else is; gw_schema_is_wide()
 * tells that there are some: script/ then holds the conf to the whole schema by gw.schema, too.
 * Lives in: the loader. Limit: GW_NODE_DEPTH_MAX levels.
 * Scalars are typed by the schema: a plain 5 for a string is "5"; a quoted "5" for an
 * integer is a fault. A map with `properties` takes no others unless additionalProperties
 * says so; without `properties` it takes any. A list is also taken from a single scalar
 * only where the type is a list of types that names both. */
#ifndef GW_CONF_SCHEMA_H
#define GW_CONF_SCHEMA_H

#include "conf/report.h"
#include "conf/tree.h"

/* Where faults are said to be, and where new nodes go. */
struct gw_schema_at {
    struct gw_arena *arena;
    struct gw_report *report;
    struct gw_where where; /* of what has no place of its own (an absent conf, a made schema) */
    struct gw_str path;    /* put in front: "routes[3].plugins[0].jwt" */
};

/* Is it a schema that we can hold a conf to? GW_INVALID: faults are in the report, each
 * with the path of the keyword. NULL is a schema that takes an empty conf only. */
GW_MUST_CHECK enum gw_rc gw_schema_compile_check(const struct gw_node *schema,
                                                 const struct gw_schema_at *at);

/* Has it keywords that gw_schema_check() leaves to gw.schema? */
bool gw_schema_is_wide(const struct gw_node *schema);

/* `*value` may be NULL (no conf) and is then made, so that defaults have a place: a conf is
 * always a map after GW_OK. Fills defaults in; sets `scalar` of each node to its final type.
 * The schema has passed gw_schema_compile_check(). */
GW_MUST_CHECK enum gw_rc gw_schema_check(const struct gw_node *schema, struct gw_node **value,
                                         const struct gw_schema_at *at);

/* The schema as JSON for `moongate schema`, additionalProperties spelled out. */
void gw_schema_json(const struct gw_node *schema, struct gw_buf *out);

#endif
