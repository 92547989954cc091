#include "process/loading.h"

#include <stdio.h>
#include <string.h>

#include "conf/increment.h"
#include "conf/tree.h"
#include "process/privilege.h"
#include "process/trial.h"
#include "proxy/hooks.h"
#include "route/table.h"
#include "script/carry.h"
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

static void init(struct gw_loading *loading)
{
    gw_image_init(&loading->image);
    gw_conf_source_init(&loading->source);
    gw_report_init(&loading->report);
}

/* The table is the last of the image, so that the next load can cut it off. */
static enum gw_rc build_table(struct gw_loading *loading)
{
    struct gw_conf *conf = gw_image_conf(&loading->image);

    conf->body = loading->image.len;
    return gw_route_table_build(&loading->image, &loading->report);
}

/* GW_AGAIN: not possible, `why` has the reason; `loading` is as new. */
static enum gw_rc run_increment(struct gw_loading *loading,
                                const struct gw_loading_options *options, struct gw_err *why)
{
    struct gw_conf_options conf_options = {.shipped_dir = options->shipped_dir};
    struct gw_increment increment = {.before = options->before,
                                     .before_fd = options->before_fd,
                                     .named = options->files,
                                     .named_count = options->files_count};
    enum gw_rc rc = gw_conf_increment(&increment, &conf_options, &loading->image, &loading->source,
                                      &loading->report, why);

    if (rc == GW_NOT_FOUND && !options->strict)
        rc = gw_err_set(why, GW_AGAIN, "a file has changed that is none of the conf");
    if (rc == GW_OK) {
        gw_image_conf(&loading->image)->number = options->number;
        gw_script_carry(&loading->image, &increment);
        rc = build_table(loading);
        if (rc != GW_OK)
            rc = gw_err_set(why, GW_AGAIN, "the routes have faults");
    }
    if (rc == GW_AGAIN) {
        gw_loading_fini(loading);
        init(loading);
    }
    return rc;
}

static enum gw_rc run_full(struct gw_loading *loading, const struct gw_loading_options *options,
                           const char *why)
{
    struct gw_conf_options conf_options = {.shipped_dir = options->shipped_dir};
    struct gw_conf *conf;
    enum gw_rc rc, table_rc;

    rc = gw_conf_load(options->conf_path, &conf_options, &loading->image, &loading->source,
                      &loading->report);
    if (rc != GW_OK) {
        check_plugins(loading, options->drop);
        return rc;
    }
    gw_image_conf(&loading->image)->number = options->number;
    if (options->drop && drop(loading) != GW_OK)
        return GW_INVALID;
    if (loading->source.bindings_count > 0)
        rc = gw_script_load(&loading->image, &loading->source, &loading->report);
    if (why != NULL) {
        struct gw_ref text = gw_image_add_str(&loading->image, gw_str_c(why));
        gw_image_conf(&loading->image)->read_why = text;
    }
    conf = gw_image_conf(&loading->image);
    conf->warned = loading->report.warnings_count > 0;
    conf->body_full = loading->image.len;
    /* Faults of plugins do not hide those of routes. */
    table_rc = build_table(loading);
    return rc != GW_OK ? rc : table_rc;
}

/* A worker's words begin with "file:line:column: " of the binding where they have one. */
static const char *take_place(const struct gw_report *report, const char *text,
                              struct gw_where *where)
{
    for (uint32_t i = 0; i < report->files_count; i++) {
        struct gw_str name = report->files[i];
        unsigned line, column;
        int len = 0;
        if (strncmp(text, name.data, name.len) != 0 ||
            sscanf(text + name.len, ":%u:%u: %n", &line, &column, &len) != 2 || len == 0)
            continue;
        *where = (struct gw_where){.file = i, .line = line, .column = column};
        return text + name.len + len;
    }
    return text;
}

static enum gw_rc try_plugins(struct gw_loading *loading)
{
    struct gw_err err;
    enum gw_rc rc = gw_trial_run(gw_image_conf(&loading->image), &err);

    if (rc != GW_OK) {
        struct gw_where where = {0};
        const char *text = take_place(&loading->report, err.text, &where);
        gw_report_fault(&loading->report, where, GW_STR_NULL, "%s", text);
    }
    return rc;
}

enum gw_rc gw_loading_run(struct gw_loading *loading, const struct gw_loading_options *options)
{
    enum gw_rc rc = GW_AGAIN;
    struct gw_err why;

    init(loading);
    if (options->before != NULL)
        rc = run_increment(loading, options, &why);
    if (rc == GW_AGAIN)
        rc = run_full(loading, options, options->before != NULL ? why.text : NULL);
    if (rc == GW_OK && options->log_requests)
        set_log_phase(&loading->image);
    if (rc == GW_OK && options->trial && loading->source.bindings_count > 0)
        rc = try_plugins(loading);
    return rc == GW_OK && !gw_report_ok(&loading->report) ? GW_INVALID : rc;
}

void gw_loading_fini(struct gw_loading *loading)
{
    gw_image_fini(&loading->image);
    gw_conf_source_fini(&loading->source);
    gw_report_fini(&loading->report);
}
