/* Plugin chains of a loaded conf, for `explain` and `routes`. */
#ifndef GW_CLI_CHAIN_H
#define GW_CLI_CHAIN_H

#include "script/image.h"

/* The bindings of a chain in the order in which they run. 0: none (chain GW_NONE, too). */
uint32_t gw_chain_len(const struct gw_conf *conf, uint32_t chain);
const struct gw_script_binding *gw_chain_at(const struct gw_conf *conf, uint32_t chain, uint32_t i);

/* "upstream parser", "answers 200", "redirects to …", "files of /srv/www". `to` is filled. */
void gw_route_target_text(const struct gw_conf *conf, const struct gw_conf_route *route, char *to,
                          size_t size);

#endif
