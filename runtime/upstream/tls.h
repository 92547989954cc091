/* TLS towards targets: one context for each meaning of tls: in the conf, however many upstreams
 * have it. Lives in: one worker. Owner: the set; upstreams and endpoints count.
 * Invariant: endpoints of different contexts, or of different names, are different endpoints, so
 * that no connection is ever used under another conf than the one it was made by. */
#ifndef GW_UPSTREAM_TLS_H
#define GW_UPSTREAM_TLS_H

#include "base/err.h"
#include "base/list.h"
#include "conf/generation.h"
#include "net/tls.h"

struct gw_upstream_tls {
    struct gw_list link;
    uint64_t hash;
    uint32_t refs;
    struct gw_tls_client *client;
};

/* The one in `list` of that meaning, or a new one. */
GW_MUST_CHECK enum gw_rc gw_upstream_tls_ref(struct gw_list *list, const struct gw_conf *conf,
                                             const struct gw_conf_upstream_tls *row,
                                             struct gw_upstream_tls **out, struct gw_err *err);
void gw_upstream_tls_unref(struct gw_upstream_tls *tls); /* NULL is fine */

#endif
