/* What differs between two confs, by name: the heart of a reload's report. Pure. */
#ifndef GW_PROCESS_CHANGES_H
#define GW_PROCESS_CHANGES_H

#include "base/json.h"
#include "conf/generation.h"

/* {"routes":{"added":[…],"changed":[…],"removed":[…]},"listeners":…,"upstreams":…,
 *  "shared":…,"files":…}; files are those that were read. Returns how many names it wrote. */
uint32_t gw_changes_json(struct gw_json_writer *writer, const struct gw_conf *from,
                         const struct gw_conf *to);

/* "routes +1 ~2 -0, files ~1" for the log; "nothing has changed". */
void gw_changes_text(struct gw_buf *out, const struct gw_conf *from, const struct gw_conf *to);

#endif
