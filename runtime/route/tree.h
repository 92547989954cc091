/* Builds the trees of the table from keys.
 * Lives in: the loader; everything grows in its arrays, which go into the image at the end. */
#ifndef GW_ROUTE_TREE_H
#define GW_ROUTE_TREE_H

#include "base/buf.h"
#include "conf/image.h"
#include "route/format.h"

/* One entry on its way into a tree; sorted by rank. */
struct gw_route_item {
    struct gw_str key;
    uint32_t rank;
    uint32_t list; /* enum gw_route_list */
};

/* Arrays of structs in buffers: they move when they grow, so hold indexes. */
struct gw_route_trees {
    struct gw_buf nodes;
    struct gw_buf firsts;
    struct gw_buf places;
    struct gw_buf ranks;
    struct gw_buf labels; /* those that do not fit into their node */
    struct gw_buf queue;
};

void gw_route_trees_init(struct gw_route_trees *trees);
void gw_route_trees_fini(struct gw_route_trees *trees);

/* One tree of `count` items (at least one), by rank; the array is reordered, `spare` has as
 * much room. Returns its root. */
uint32_t gw_route_trees_add(struct gw_route_trees *trees, struct gw_route_item *items,
                            struct gw_route_item *spare, uint32_t count);

/* Moves all into the image and sets nodes, firsts, places and ranks of *table. */
void gw_route_trees_write(struct gw_route_trees *trees, struct gw_image *image,
                          struct gw_route_table *table);

#endif
