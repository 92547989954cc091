/* YAML text into a tree of nodes: the only door to libyaml.
 * Lives in: the loader. Owner of the tree: the arena.
 * One document of YAML 1.2, core schema. Refused with a message that says what to write: duplicate
 * keys, keys that are no scalars, tags other than !!str, several documents, merge keys.
 * Aliases are copies of what they name, within limits.
 * Limits: the GW_YAML_*_MAX below (bytes of a file and of a scalar, nodes, copied nodes) and
 * GW_NODE_DEPTH_MAX. */
#ifndef GW_CONF_YAML_H
#define GW_CONF_YAML_H

#include "conf/report.h"
#include "conf/tree.h"

#define GW_YAML_FILE_BYTES_MAX (32u << 20)
#define GW_YAML_SCALAR_BYTES_MAX (1u << 20)
#define GW_YAML_NODES_MAX 2000000u
#define GW_YAML_ALIAS_NODES_MAX 100000u
#define GW_YAML_ANCHORS_MAX 10000u

/* `file` is from gw_report_file(). *out NULL after GW_OK: the document is empty.
 * GW_INVALID: the text could not be read to its end, and the report says why; *out is NULL.
 * A duplicate key is a fault in the report too, but reading goes on: GW_OK with the first. */
GW_MUST_CHECK enum gw_rc gw_yaml_parse(struct gw_arena *arena, uint32_t file, struct gw_str text,
                                       struct gw_report *report, struct gw_node **out);

/* The two ways of it, for those who compare them: all by libyaml; and the short cut, which says
 * false where libyaml must read the text (see yaml_plain.h). */
GW_MUST_CHECK enum gw_rc gw_yaml_parse_full(struct gw_arena *arena, uint32_t file,
                                            struct gw_str text, struct gw_report *report,
                                            struct gw_node **out);
bool gw_yaml_parse_plain(struct gw_arena *arena, uint32_t file, struct gw_str text,
                         struct gw_node **out);

#endif
