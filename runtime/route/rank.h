/* The order of entries (route/match.h tells it to users).
 * Lives in: the loader, while the table is built. */
#ifndef GW_ROUTE_RANK_H
#define GW_ROUTE_RANK_H

#include "route/pattern.h"

/* An entry before it has a rank. */
struct gw_route_draft {
    uint64_t order; /* priority, host, kind and length of the path: lower is first */
    uint32_t route;
    uint32_t pattern; /* number in the table, ascending within a route */
    uint32_t host;    /* index in the route's hosts, or GW_NONE */
    uint32_t conditions_count;
    const struct gw_route_parsed *parsed;
    struct gw_str host_key; /* "a.example.com", ".example.com" for a wildcard; empty: none */
};

/* What comes first in the order, in one number. */
uint64_t gw_route_order(int32_t priority, enum gw_route_host host, size_t host_len,
                        const struct gw_route_parsed *parsed);

/* For qsort over struct gw_route_draft. Never 0 for two different ones. */
int gw_route_draft_compare(const void *a, const void *b);

#endif
