/* The limits of one request: those of its route over those of its listener. */
#ifndef GW_CONF_LIMITS_H
#define GW_CONF_LIMITS_H

#include "conf/generation.h"

/* What stands in the route itself wins, all else is the listener's (which has the gateway's
 * filled in). Cheap: a copy, and one step for each limit that the route gives. */
void gw_conf_limits_nearest(const struct gw_conf_limits *listener,
                            const struct gw_conf_limits *route, struct gw_conf_limits *out);

#endif
