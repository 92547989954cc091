/* Inside of a matcher, for explain. */
#ifndef GW_ROUTE_MATCHER_H
#define GW_ROUTE_MATCHER_H

#include "route/conditions.h"
#include "route/match.h"
#include "route/walk.h"

const struct gw_conf *gw_route_matcher_conf(const struct gw_route_matcher *matcher);
const struct gw_route_table *gw_route_matcher_table(const struct gw_route_matcher *matcher);
struct gw_route_regexes *gw_route_matcher_regexes(struct gw_route_matcher *matcher);

#endif
