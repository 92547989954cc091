/* The loader's part of script/: finds plugins and modules, holds bindings to their schemas,
 * resolves chains, and writes all of it into the image.
 * Lives in: the loader. Runs the files of plugins in the sandbox (no phase, no init, no socket).
 * Limits: LOAD_FILE_BYTES_MAX a file; the CPU budget and heap cap of the conf. */
#ifndef GW_SCRIPT_LOAD_H
#define GW_SCRIPT_LOAD_H

#include "conf/image.h"
#include "conf/load.h"
#include "conf/report.h"

/* After gw_conf_load(). Sets route->chain and ->phases, conf->global_chain, ->global_phases,
 * ->identity_headers and ->script, and adds the files of plugins to conf->files. GW_INVALID: faults
 * are in the report. Confs in `source` get the defaults of their schemas. */
GW_MUST_CHECK enum gw_rc gw_script_load(struct gw_image *image, struct gw_conf_source *source,
                                        struct gw_report *report);

/* The faults of bindings alone, for a conf that has others: its image is not written. */
void gw_script_check(struct gw_image *image, struct gw_conf_source *source,
                     struct gw_report *report);

/* For `moongate plugins` and `moongate schema`: calls `fn` for each plugin that can be found
 * (first found wins), in the order of names. `schema` may be NULL; `error` is set where the file
 * cannot be loaded, and then only name and path are there. */
struct gw_plugin_info {
    struct gw_str name;
    struct gw_str path;
    double priority;
    const struct gw_node *schema;
    const char *error;
};
typedef void (*gw_plugin_fn)(void *arg, const struct gw_plugin_info *info);
GW_MUST_CHECK enum gw_rc gw_script_plugins(const struct gw_conf_source *source, gw_plugin_fn fn,
                                           void *arg, struct gw_err *err);

#endif
