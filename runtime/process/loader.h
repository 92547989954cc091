/* The throw-away child that reads a conf for the master.
 * Lives in: the master's loop. It is a fork without exec, because it must be quick; the
 * only reader of conf and plugin code, so that nothing that they do stays in the master.
 * It reads the conf as the master's user, as the first start must, too (the conf says who to
 * become), and gives its rights up before code of a plugin runs.
 * Limit: GW_LOADER_TIMEOUT_MS, then it is killed. */
#ifndef GW_PROCESS_LOADER_H
#define GW_PROCESS_LOADER_H

#include "net/loop.h"
#include "process/loading.h"

#define GW_LOADER_TIMEOUT_MS 20000

struct gw_loader;

struct gw_loaded {
    enum gw_rc rc;      /* GW_OK: image_fd is good; else see gw_loading_run() */
    int image_fd;       /* sealed; the receiver's */
    struct gw_str text; /* faults and warnings, for people; lent */
    struct gw_str json; /* the same, see gw_report_json(); empty: the loader itself failed */
    struct gw_str dirs; /* folders that plugins and modules come from, one a line; lent */
    uint64_t ms;
};

/* Once, never from within gw_loader_start(). The loader is gone then. */
typedef void (*gw_loader_fn)(void *arg, struct gw_loaded *loaded);

/* `options` is lent until return. */
GW_MUST_CHECK enum gw_rc gw_loader_start(struct gw_loop *loop,
                                         const struct gw_loading_options *options, gw_loader_fn fn,
                                         void *arg, struct gw_loader **out, struct gw_err *err);
/* Kills it; `fn` will not be called. */
void gw_loader_cancel(struct gw_loader *loader);

#endif
