/* Paths as the conf writes them: "/a", "/a/:id/b", "~^/v\d+", "/a/" and "*".
 * Lives in: the loader, while the table is built. Texts are in the arena or in the conf. */
#ifndef GW_ROUTE_PATTERN_H
#define GW_ROUTE_PATTERN_H

#include "base/arena.h"
#include "base/err.h"
#include "route/format.h"
#include "route/match.h"

struct gw_route_parsed {
    enum gw_route_path kind;
    struct gw_str text; /* normalised; a regex without its "~"; empty for no path */
    struct gw_str key;  /* what the tree knows: segments for parameters, without "*" */
    uint32_t segments;  /* in front of "*", or of the whole path */
    uint32_t params;    /* names, "*" too; groups of a regex are counted by its owner */
    uint32_t named;     /* parameters: how many of param_at[] are set */
    uint16_t param_at[GW_ROUTE_PARAMS_MAX]; /* numbers of their segments, ascending */
};

/* `merge`: "//" stands for "/" in it. GW_INVALID with what is wrong and what to write. */
GW_MUST_CHECK enum gw_rc gw_route_pattern_parse(struct gw_arena *arena, struct gw_str text,
                                                bool merge, struct gw_route_parsed *out,
                                                struct gw_err *err);

/* A route without paths. */
void gw_route_pattern_any(struct gw_route_parsed *out);

/* The literal bytes with which every match of the regex begins at the start of the subject;
 * empty when it is not anchored or when we are not sure. In `arena`. */
struct gw_str gw_route_regex_prefix(struct gw_arena *arena, struct gw_str regex);

#endif
