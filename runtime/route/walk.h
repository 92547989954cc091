/* The search in the tables' trees: finds every place that a host and a path lead to, and hands
 * its lists to a visitor. The matcher and the loader's search for routes that never match
 * use the same walk.
 * Bound: each node is entered at most once, and only while its best rank is below `best`. */
#ifndef GW_ROUTE_WALK_H
#define GW_ROUTE_WALK_H

#include "route/format.h"

struct gw_route_walk;

/* `ranks` ascend. May lower walk->best: what is not better is not visited any more. */
typedef void (*gw_route_visit_fn)(struct gw_route_walk *walk, const uint32_t *ranks, uint32_t count,
                                  enum gw_route_list list);

struct gw_route_walk {
    const struct gw_conf *conf;
    const struct gw_route_table *table;
    const struct gw_route_node *nodes;
    const unsigned char *firsts;
    const struct gw_route_place *places;
    const uint32_t *ranks;
    gw_route_visit_fn visit;
    struct gw_str path;
    uint32_t best; /* GW_NONE: nothing yet */
};

void gw_route_walk_init(struct gw_route_walk *walk, const struct gw_conf *conf,
                        const struct gw_route_table *table, gw_route_visit_fn visit);

/* The trees of the host, of the wildcards that fit it (longest first), and of no host. */
void gw_route_walk_run(struct gw_route_walk *walk, struct gw_str host, struct gw_str path);

#endif
