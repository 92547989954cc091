/* From files to an image: conf, match table, plugins, in this order. What the loader, and the
 * commands that look at a conf (check, explain, routes, plugins), do.
 * Lives in: one process that is thrown away after it: plugin files run in it. */
#ifndef GW_PROCESS_LOADING_H
#define GW_PROCESS_LOADING_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/image.h"
#include "conf/load.h"
#include "conf/report.h"

struct gw_loading_options {
    const char *conf_path;
    const char *shipped_dir; /* where the shipped plugins/ and lua/ are; NULL: none */
    uint32_t number;         /* of the generation */
    bool drop;               /* become the conf's `user` before plugin code runs */
    bool log_requests;       /* every route gets the log phase: for `dev` */
    bool trial;              /* plugins are prepared as in a worker, too: for `check` */

    /* A reload: what serves now. Then only what has changed is read, where that is enough. */
    const struct gw_conf *before; /* NULL: all is read */
    int before_fd;                /* what it is mapped from */
    const struct gw_str *files;   /* absolute paths: only these are looked at; none: all are */
    uint32_t files_count;
    bool strict; /* one of `files` that is none of the conf is a fault, else all is read */
};

struct gw_loading {
    struct gw_image image;
    struct gw_conf_source source;
    struct gw_report report;
};

/* GW_OK: the image is whole; else the report has a fault at least. GW_NOT_FOUND: a file was
 * named that is none of the conf. gw_loading_fini() is due
 * in both cases. */
GW_MUST_CHECK enum gw_rc gw_loading_run(struct gw_loading *loading,
                                        const struct gw_loading_options *options);
void gw_loading_fini(struct gw_loading *loading);

#endif
