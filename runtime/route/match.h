/* Which route serves a request: the per-process side of the compiled table.
 * Lives in: one worker (or a command). Owner: who made it; one thread. It reads the mapped
 * generation, which must outlive it, and keeps the regexes that were needed so far: each is
 * compiled at its first use, once.
 *
 * The order, all of it static, so that the table is sorted when it is built:
 *   1. priority, higher first, over all hosts
 *   2. host: exact; "*.example.com" (any depth below, not example.com itself), longest first;
 *      none. "*" alone is the same as none
 *   3. path: exact; with parameters ("/a/:id/b": one segment each, never empty; where two fit,
 *      the first segment in which they differ decides: a literal wins); "~regex" (found anywhere
 *      unless it begins with ^); "/a/" followed by "*" (most segments first, then as with
 *      parameters); none
 *   4. number of conditions: listener, methods, clients, scheme count one each, and each
 *      header and query condition one
 *   5. order in the files
 * "/a/" + "*" fits /a/ and /a/x/y but not /a: list "/a" too where that is meant.
 * Methods are compared exactly; GET in the list implies HEAD.
 * A header condition fits when one line of that name does, a query condition when one
 * parameter of that name does, decoded.
 * Cost: the length of the path, not the number of routes; see table.h for what adds to it. */
#ifndef GW_ROUTE_MATCH_H
#define GW_ROUTE_MATCH_H

#include "base/err.h"
#include "base/rc.h"
#include "base/str.h"
#include "conf/generation.h"
#include "http/message.h"

#define GW_ROUTE_PARAMS_MAX 16 /* of one path; more are a fault at load */

struct gw_route_matcher;

/* GW_INVALID: the generation holds no table, or one of another build. */
GW_MUST_CHECK enum gw_rc gw_route_matcher_new(const struct gw_conf *conf,
                                              struct gw_route_matcher **out, struct gw_err *err);
void gw_route_matcher_free(struct gw_route_matcher *matcher); /* NULL is fine */

struct gw_route_param {
    struct gw_str name;  /* "id"; "*" for the rest; "1", "2"… and names for groups of a regex */
    struct gw_str value; /* slice of the path, still encoded; a group without part is empty */
};

struct gw_route_result {
    uint32_t route;      /* index of gw_conf.routes; GW_NONE unless GW_OK */
    struct gw_str path;  /* as the rules saw it: request->path, or with merged slashes */
    struct gw_str allow; /* for GW_INVALID: "GET, HEAD, POST" */
    uint32_t params;
    struct gw_route_param param[GW_ROUTE_PARAMS_MAX]; /* the first `params` are set */
};

/* `listener` is an index of gw_conf.listeners; `client` as base/cidr.h has it.
 *   GW_OK         out->route serves it
 *   GW_NOT_FOUND  none does: 404
 *   GW_INVALID    some would, but for the method: 405 with out->allow
 *   GW_LIMIT      a regex that may have won was stopped at its limit. The answer is 400: to
 *                 fall to the next route would let a client choose it
 * What must be made (allow, merged slashes) is in the request's arena (request->fields.arena). */
enum gw_rc gw_route_match(struct gw_route_matcher *matcher, const struct gw_request *request,
                          uint32_t listener, const uint8_t client[16], struct gw_route_result *out);

/* The value of a parameter; data NULL: there is none. */
struct gw_str gw_route_param(const struct gw_route_result *result, struct gw_str name);

#endif
