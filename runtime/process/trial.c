#include "process/trial.h"

#include <stdlib.h>

#include "net/loop.h"
#include "process/master_private.h"
#include "script/script.h"
#include "shm/shared.h"

static enum gw_rc prepare(struct gw_script *script, const struct gw_conf *conf, struct gw_err *err)
{
    struct gw_script_generation *generation;
    enum gw_rc rc = gw_script_prepare(script, conf, &generation, err);

    if (rc != GW_OK)
        return rc;
    while ((rc = gw_script_prepare_step(generation, UINT32_MAX, err)) == GW_AGAIN)
        continue;
    gw_script_abort(generation);
    return rc;
}

static enum gw_rc share(const struct gw_conf *conf, struct gw_shared_set **out, struct gw_err *err)
{
    size_t count;
    struct gw_shared_row *rows = gw_reload_shared_rows(conf, NULL, &count);
    enum gw_rc rc = gw_shared_set_new(rows, count, 1, out, err);

    free(rows);
    return rc;
}

enum gw_rc gw_trial_run(const struct gw_conf *conf, struct gw_err *err)
{
    struct gw_script_options options = {.cpu_budget_ms = conf->cpu_budget_ms,
                                        .heap_max = conf->heap_max,
                                        .worker = 1,
                                        .trial = true};
    struct gw_script *script;
    enum gw_rc rc = gw_loop_new(&options.loop);

    if (rc != GW_OK)
        return gw_err_set(err, rc, "no event loop: %s", gw_rc_text(rc));
    rc = share(conf, &options.shared, err);
    if (rc == GW_OK) {
        rc = gw_script_new(&options, &script, err);
        if (rc == GW_OK) {
            rc = prepare(script, conf, err);
            gw_script_free(script);
        }
        gw_shared_set_free(options.shared);
    }
    gw_loop_free(options.loop);
    return rc;
}
