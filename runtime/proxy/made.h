/* An exchange without a client: what specs run the phases of a plugin on. All that script/
 * may ask of an exchange works (answers, body, path, target, id); nothing is sent anywhere, and
 * it goes through no states: who made it calls the hooks one by one.
 * Lives in: `moongate spec`. Owner: who made it. */
#ifndef GW_PROXY_MADE_H
#define GW_PROXY_MADE_H

#include "proxy/exchange.h"

/* Of the first listener and the first route of `generation`, both lent. NULL: no memory. */
struct gw_exchange *gw_made_new(struct gw_generation *generation);
/* The hook `finish` was called before. */
void gw_made_free(struct gw_exchange *exchange);

/* Belongs to another generation from now on: its first listener, its first route and the
 * upstream of that. */
void gw_made_join(struct gw_exchange *exchange, struct gw_generation *generation);

/* The request's body, as the upstream would get it. */
struct gw_str gw_made_body(const struct gw_exchange *exchange);
/* The target that BALANCER has chosen, and the upstream; GW_NONE: none. */
uint32_t gw_made_target(const struct gw_exchange *exchange);

#endif
