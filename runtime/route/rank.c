#include "route/rank.h"

#include "route/table.h"

#define HOST_BITS 9
#define SEGMENT_BITS 14

_Static_assert(GW_ROUTE_HOST_BYTES_MAX < 1 << HOST_BITS, "a wildcard's length fits");
_Static_assert(GW_ROUTE_PATH_BYTES_MAX < 1 << SEGMENT_BITS, "so does the number of segments");

uint64_t gw_route_order(int32_t priority, enum gw_route_host host, size_t host_len,
                        const struct gw_route_parsed *parsed)
{
    bool segments = parsed->kind == GW_ROUTE_PATH_PREFIX || parsed->kind == GW_ROUTE_PATH_PARAM;
    uint64_t order = (uint32_t)(INT32_MAX - (int64_t)priority);

    order = order << 2 | host;
    order = order << HOST_BITS |
            (host == GW_ROUTE_HOST_WILDCARD ? (1u << HOST_BITS) - 1 - host_len : 0);
    order = order << 3 | parsed->kind;
    return order << SEGMENT_BITS | (segments ? (1u << SEGMENT_BITS) - 1 - parsed->segments : 0);
}

/* Where two fit one path, they differ first where one has a parameter and the other a literal: the
 * literal goes first, so whose parameter comes later. */
static int compare_params(const struct gw_route_parsed *a, const struct gw_route_parsed *b)
{
    for (uint32_t i = 0;; i++) {
        uint32_t x = i < a->named ? a->param_at[i] : GW_NONE;
        uint32_t y = i < b->named ? b->param_at[i] : GW_NONE;
        if (x != y)
            return x > y ? -1 : 1;
        if (x == GW_NONE)
            return 0;
    }
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

int gw_route_draft_compare(const void *a, const void *b)
{
    const struct gw_route_draft *x = a, *y = b;
    int order = compare_numbers(x->order, y->order);

    if (order == 0)
        order = compare_params(x->parsed, y->parsed);
    if (order == 0)
        order = compare_numbers(y->conditions_count, x->conditions_count);
    if (order == 0)
        order = compare_numbers(x->route, y->route);
    if (order == 0)
        order = compare_numbers(x->pattern, y->pattern);
    return order != 0 ? order : compare_numbers(x->host, y->host);
}
