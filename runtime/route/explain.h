/* Why a request goes where it goes, in words.
 * Lives in: commands and the admin API. The verdict is the matcher's own (gw_route_match); only the
 * reasons of the routes that lost are found here, one by one: it costs their number. */
#ifndef GW_ROUTE_EXPLAIN_H
#define GW_ROUTE_EXPLAIN_H

#include "base/arena.h"
#include "base/buf.h"
#include "route/match.h"

#define GW_ROUTE_EXPLAIN_PATHS_MAX 50 /* routes whose host or path is another, in the text */

enum gw_route_stage { /* how far a route came */
                      GW_ROUTE_STAGE_DISABLED,
                      GW_ROUTE_STAGE_HOST,
                      GW_ROUTE_STAGE_PATH,
                      GW_ROUTE_STAGE_CONDITION,
                      GW_ROUTE_STAGE_METHOD,
                      GW_ROUTE_STAGE_LOST, /* fits, but another one comes first */
                      GW_ROUTE_STAGE_WON,
};

struct gw_route_reason {
    enum gw_route_stage stage;
    struct gw_str text; /* "method POST is not in GET, HEAD" */
};

struct gw_route_explanation {
    enum gw_rc verdict; /* of gw_route_match() */
    struct gw_route_result result;
    const struct gw_route_reason *reasons; /* by route: one for each of gw_conf.routes */
    uint32_t count;
};

/* Texts are in `arena`. Arguments as gw_route_match() has them. */
void gw_route_explain(struct gw_route_matcher *matcher, const struct gw_request *request,
                      uint32_t listener, const uint8_t client[16], struct gw_arena *arena,
                      struct gw_route_explanation *out);

/* The same as lines for a person: the verdict with its parameters, then each other route. */
void gw_route_explain_text(const struct gw_conf *conf, const struct gw_request *request,
                           const struct gw_route_explanation *explanation, struct gw_buf *out);

#endif
