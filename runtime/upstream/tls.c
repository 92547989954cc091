#include "upstream/tls.h"

#include <stdlib.h>

#define DEPTH 8 /* certificates between the server's and the one that is trusted */

enum gw_rc gw_upstream_tls_ref(struct gw_list *list, const struct gw_conf *conf,
                               const struct gw_conf_upstream_tls *row, struct gw_upstream_tls **out,
                               struct gw_err *err)
{
    const struct gw_tls_client_options options = {
        .settings = {.tickets = true},
        .verify = row->verify != 0,
        .system_ca = row->ca.len == 0,
        .ca = gw_ref_str(conf, row->ca),
        .identity = {gw_ref_str(conf, row->chain), gw_ref_str(conf, row->key)},
        .depth = DEPTH};
    struct gw_upstream_tls *tls;
    enum gw_rc rc;

    GW_LIST_EACH(pos, list)
    {
        tls = GW_CONTAINER(pos, struct gw_upstream_tls, link);
        if (tls->hash == row->hash) {
            tls->refs++;
            *out = tls;
            return GW_OK;
        }
    }
    tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        abort();
    rc = gw_tls_client_new(&options, &tls->client, err);
    if (rc != GW_OK) {
        free(tls);
        return rc;
    }
    tls->hash = row->hash;
    tls->refs = 1;
    gw_list_push_back(list, &tls->link);
    *out = tls;
    return GW_OK;
}

void gw_upstream_tls_unref(struct gw_upstream_tls *tls)
{
    if (tls == NULL || --tls->refs > 0)
        return;
    gw_list_remove(&tls->link);
    gw_tls_client_free(tls->client);
    free(tls);
}
