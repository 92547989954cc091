/* What a route asks of a request beside host and path.
 * Compiled into the image by the loader, checked by matcher and explain alike. */
#ifndef GW_ROUTE_CONDITIONS_H
#define GW_ROUTE_CONDITIONS_H

#include "base/arena.h"
#include "base/regex.h"
#include "conf/image.h"
#include "http/message.h"
#include "route/format.h"

/* What an entry's fitting ended with. */
enum gw_route_fit {
    GW_ROUTE_FITS,
    GW_ROUTE_NO_LISTENER,
    GW_ROUTE_NO_SCHEME,
    GW_ROUTE_NO_CLIENT,
    GW_ROUTE_NO_METHOD,
    GW_ROUTE_NO_HEADER,
    GW_ROUTE_NO_QUERY,
    GW_ROUTE_NO_PATH,
    GW_ROUTE_NO_HOST,
    GW_ROUTE_UNDECIDED, /* a regex was stopped at its limit */
};

/* Regexes of the table in this process, each compiled at its first use. */
struct gw_route_regexes {
    const struct gw_conf *conf;
    const struct gw_ref *texts;
    struct gw_regex **items;
    uint32_t count;
};

/* GW_OK, GW_NOT_FOUND, or GW_LIMIT: the answer is not known (see gw_regex_match). */
enum gw_rc gw_route_regex_run(struct gw_route_regexes *regexes, uint32_t index,
                              struct gw_str subject, struct gw_str *groups, uint32_t max);

struct gw_route_query {
    const struct gw_request *request;
    uint32_t listener;
    const uint8_t *client;
};

/* Listener, scheme, client, and the tests without a regex; not the method. *which: the header
 * or query test that did not fit; may be NULL. */
enum gw_route_fit gw_route_conditions_plain(const struct gw_conf *conf,
                                            const struct gw_route_conditions *c,
                                            const struct gw_route_query *query, uint32_t *which);

/* The tests with a regex. */
enum gw_route_fit gw_route_conditions_regex(struct gw_route_regexes *regexes,
                                            const struct gw_route_conditions *c,
                                            const struct gw_route_query *query, uint32_t *which);

bool gw_route_conditions_method(const struct gw_conf *conf, const struct gw_route_conditions *c,
                                const struct gw_request *request);

/* Whether every request that fits `inner` fits `outer` too; either may be NULL (no conditions).
 * False also when we cannot tell. */
bool gw_route_conditions_cover(const struct gw_conf *conf, const struct gw_route_conditions *outer,
                               const struct gw_route_conditions *inner);

/* How many conditions the route has, for the order. */
uint32_t gw_route_conditions_count(const struct gw_conf_match *match);

/* Number of a regex in the table; called at load. GW_NONE: it is bad, and was reported. */
typedef uint32_t (*gw_route_regex_fn)(void *arg, struct gw_ref text, struct gw_str where);

/* Writes the conditions of a route into the image. Returns their offset, 0: there are none. */
uint32_t gw_route_conditions_compile(struct gw_image *image, uint32_t route,
                                     gw_route_regex_fn regex, void *arg);

#endif
