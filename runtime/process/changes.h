/* What differs between two confs, by name: the heart of a reload's report. Pure. */
#ifndef GW_PROCESS_CHANGES_H
#define GW_PROCESS_CHANGES_H

#include "base/json.h"
#include "conf/generation.h"

struct gw_changes;

/* Both confs are lent until gw_changes_free(). */
struct gw_changes *gw_changes_new(const struct gw_conf *from, const struct gw_conf *to);
void gw_changes_free(struct gw_changes *changes);

/* {"routes":{"added":[…],"changed":[…],"removed":[…]},"listeners":…,"upstreams":…,
 *  "shared":…,"files":…}; files are those that were read. */
void gw_changes_json(struct gw_json_writer *writer, const struct gw_changes *changes);

/* "routes +1 ~2 -0, files ~1" for the log; "nothing has changed". */
void gw_changes_text(struct gw_buf *out, const struct gw_changes *changes);

#endif
