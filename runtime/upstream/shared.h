/* Connections to an endpoint that many exchanges share (HTTP/2).
 * Lives in: one worker. Owner: itself; it ends when it is idle for too long, when the other side
 * lets it go, or with its endpoint. A stream in use holds the endpoint, a connection does not.
 * Limits: streams as the peer allows, requests_max, and a new connection beyond. */
#ifndef GW_UPSTREAM_SHARED_H
#define GW_UPSTREAM_SHARED_H

#include "upstream/upstream.h"

/* As gw_endpoint_take(); the endpoint's count of references is the caller's matter. */
GW_MUST_CHECK enum gw_rc shared_take(struct gw_endpoint *endpoint,
                                     const struct gw_conf_upstream *row,
                                     const struct gw_upstream_limits *limits, uint32_t fresh_ms,
                                     struct gw_upstream_stream **out);
/* The endpoint goes. */
void shared_leave(struct gw_endpoint *endpoint);

#endif
