/* Names to numbers, for "is it there already, and where": keys of a map, routes, upstreams.
 * Lives in: the loader. Owner: who embeds it. The names are lent, not copied. */
#ifndef GW_CONF_NAMES_H
#define GW_CONF_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct gw_name_slot;

struct gw_names {
    struct gw_name_slot *slots;
    uint32_t size; /* a power of two, or 0 */
    uint32_t count;
};

#define GW_NAMES_INIT ((struct gw_names){NULL, 0, 0})

/* Makes an empty one large enough for so many. */
void gw_names_reserve(struct gw_names *names, uint32_t count);
void gw_names_fini(struct gw_names *names); /* empty and usable again */

/* False: the name is there, with *there as its number (`there` may be NULL). */
bool gw_names_add(struct gw_names *names, struct gw_str name, uint32_t value, uint32_t *there);
bool gw_names_get(const struct gw_names *names, struct gw_str name, uint32_t *value);

/* What was probably meant: the name that is nearest to `word` by changed letters, if near
 * enough. Begin with best.data NULL and offer each candidate. */
struct gw_suggest {
    struct gw_str word;
    struct gw_str best;
    uint32_t distance;
};

void gw_suggest_begin(struct gw_suggest *suggest, struct gw_str word);
void gw_suggest_offer(struct gw_suggest *suggest, struct gw_str candidate);

/* Letters to change, insert, remove or swap with their neighbour; "-" and "_" count as one. */
uint32_t gw_edit_distance(struct gw_str a, struct gw_str b);

#endif
