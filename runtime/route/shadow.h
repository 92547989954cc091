/* Routes that can never match, because another one is always better. */
#ifndef GW_ROUTE_SHADOW_H
#define GW_ROUTE_SHADOW_H

#include "conf/report.h"
#include "route/format.h"

/* Warns of each. The conf's table is complete. Bound: 64 comparisons for each entry. */
void gw_route_shadow_report(const struct gw_conf *conf, struct gw_report *report);

#endif
