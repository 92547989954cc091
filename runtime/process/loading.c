#include "process/loading.h"

#include "conf/tree.h"
#include "process/privilege.h"
#include "proxy/hooks.h"
#include "route/table.h"
#include "script/load.h"

/* A request of a route without plugins enters no hook; for `dev` all enter the last one. */
static void set_log_phase(struct gw_image *image)
{
    struct gw_conf *conf = gw_image_conf(image);
    struct gw_conf_route *routes = gw_image_at(image, conf->routes.off);

    conf->global_phases |= 1u << GW_PHASE_LOG;
    for (uint32_t i = 0; i < conf->routes.len; i++)
        routes[i].phases |= 1u << GW_PHASE_LOG;
}

static enum gw_rc drop(struct gw_loading *loading)
{
    struct gw_conf *conf = gw_image_conf(&loading->image);
    struct gw_err err;

    if (gw_privilege_drop(gw_ref_str(conf, conf->user), &err) == GW_OK)
        return GW_OK;
    gw_report_fault(&loading->report, (struct gw_where){0}, GW_STR_NULL, "%s", err.text);
    return GW_INVALID;
}

/* All faults at once: those of the conf do not hide those of its plugins. But the code of plugins
 * does not run with rights that it should not have. */
static void check_plugins(struct gw_loading *loading, bool dropping)
{
    const struct gw_conf *conf;

    if (loading->source.bindings_count == 0)
        return;
    conf = gw_image_conf(&loading->image);
    if (dropping &&
        ((conf->user.len == 0 && gw_node_get(loading->source.root, GW_STR("user")) != NULL) ||
         drop(loading) != GW_OK))
        return;
    gw_script_check(&loading->image, &loading->source, &loading->report);
}

enum gw_rc gw_loading_run(struct gw_loading *loading, const struct gw_loading_options *options)
{
    struct gw_conf_options conf_options = {.shipped_dir = options->shipped_dir};
    enum gw_rc rc;

    gw_image_init(&loading->image);
    gw_conf_source_init(&loading->source);
    gw_report_init(&loading->report);
    rc = gw_conf_load(options->conf_path, &conf_options, &loading->image, &loading->source,
                      &loading->report);
    if (rc != GW_OK) {
        check_plugins(loading, options->drop);
        return rc;
    }
    gw_image_conf(&loading->image)->number = options->number;
    rc = gw_route_table_build(&loading->image, &loading->report);
    /* Faults of routes do not hide those of plugins. */
    if (options->drop && drop(loading) != GW_OK)
        return GW_INVALID;
    if (loading->source.bindings_count > 0 &&
        gw_script_load(&loading->image, &loading->source, &loading->report) != GW_OK)
        rc = GW_INVALID;
    if (rc == GW_OK && options->log_requests)
        set_log_phase(&loading->image);
    return gw_report_ok(&loading->report) ? rc : GW_INVALID;
}

void gw_loading_fini(struct gw_loading *loading)
{
    gw_image_fini(&loading->image);
    gw_conf_source_fini(&loading->source);
    gw_report_fini(&loading->report);
}
