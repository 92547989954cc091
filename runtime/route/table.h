/* The match table: compiled by the loader, appended to the image, shared by all workers.
 * Lives in: the image (conf->table). Immutable. Its layout is in route/format.h.
 *
 * One tree of path bytes for each host; a parameter is a child that takes one segment, and
 * a regex hangs where its literal prefix ends ("~^/api/v\d+" costs nothing outside /api/v).
 * A match costs the length of the path. Beyond that it pays for
 *   - routes of one path that differ only in conditions: tried one after another;
 *   - regexes that hang at one place, above all those that do not begin with ^: the same;
 *   - literal and ":name" in one segment: both ways are walked, each node at most once. */
#ifndef GW_ROUTE_TABLE_H
#define GW_ROUTE_TABLE_H

#include "base/rc.h"
#include "conf/image.h"
#include "conf/report.h"

#define GW_ROUTE_PATH_BYTES_MAX 8192    /* of a path in the conf */
#define GW_ROUTE_HOST_BYTES_MAX 255     /* of a host in the conf */
#define GW_ROUTE_ENTRIES_MAX (1u << 20) /* hosts times paths, of all routes */

/* Compiles the enabled routes of the image and sets conf->table. Faults (a bad regex, host or path)
 * and warnings (a route that can never match) go to the report with the place of their route.
 * GW_INVALID when there was a fault: the table is not set. Routes that can never match are
 * found when one other route covers each of their alternatives; what is reported is right,
 * but not every such route is found. */
GW_MUST_CHECK enum gw_rc gw_route_table_build(struct gw_image *image, struct gw_report *report);

#endif
