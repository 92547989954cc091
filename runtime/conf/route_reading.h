/* One route while it is read, for the files that read its parts: routes.c, and answers.c for
 * what the gateway answers by itself. */
#ifndef GW_CONF_ROUTE_READING_H
#define GW_CONF_ROUTE_READING_H

#include "conf/rows.h"

/* What the rows fill; at the end its parts go where they belong in the image. */
struct gw_route_reading {
    struct gw_conf_route route;
    struct gw_conf_details details;
    struct gw_conf_limits limits;
};

#define GW_ROUTE_FIELD(name) .offset = offsetof(struct gw_route_reading, route.name)
#define GW_DETAIL_FIELD(name) .offset = offsetof(struct gw_route_reading, details.name)

extern const struct gw_section gw_section_respond;
extern const struct gw_section gw_section_redirect;
extern const struct gw_section gw_section_files;
extern const struct gw_type gw_type_respond;
extern const struct gw_type gw_type_redirect;
extern const struct gw_type gw_type_files;

/* What a route is where its keys are not given. */
void gw_route_defaults(struct gw_reader *r, struct gw_route_reading *defaults);
/* Into row r->route of the arrays of r->conf, which have room; the next one is at work then. */
void gw_route_read(struct gw_reader *r, struct gw_node *node,
                   const struct gw_route_reading *defaults);

#endif
