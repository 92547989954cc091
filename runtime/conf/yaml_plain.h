/* A short cut for YAML without its rarer parts, which is what a conf of many routes is made of:
 * block and flow collections of scalars that stand on one line, plain or in quotes without
 * escapes, and comments; in ASCII. It takes a tenth of libyaml's time.
 * Lives in: the loader. It reports nothing: whatever it does not know for sure (anchors, tags,
 * block scalars, escapes, several lines, tabs, other bytes than ASCII, every fault) is left to
 * libyaml, from the first byte. What it does read, libyaml reads the same, with the same places:
 * fuzz/yaml_fuzz.c holds the two against each other. */
#ifndef GW_CONF_YAML_PLAIN_H
#define GW_CONF_YAML_PLAIN_H

#include <stdbool.h>

#include "base/str.h"
#include "conf/tree.h"

/* Where it goes; each may refuse, and then reading ends. Lines and columns count from 1. */
struct gw_yaml_sink {
    bool (*begin)(void *arg, enum gw_node_kind kind, uint32_t line, uint32_t column);
    bool (*key)(void *arg, struct gw_str text, bool quoted, uint32_t line, uint32_t column);
    bool (*scalar)(void *arg, struct gw_str text, bool quoted, uint32_t line, uint32_t column);
    void (*end)(void *arg);
};

/* False: libyaml must read it, and what came out so far is to be forgotten. */
bool gw_yaml_plain_read(struct gw_str text, const struct gw_yaml_sink *sink, void *arg);

#endif
