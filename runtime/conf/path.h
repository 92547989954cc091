/* Where in the conf a reader is: a chain on the C stack, made into text for a fault only.
 * Lives in: the loader. Owner: the function that stepped in. */
#ifndef GW_CONF_PATH_H
#define GW_CONF_PATH_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

struct gw_path {
    const struct gw_path *up; /* NULL: the root */
    struct gw_str key;        /* data NULL: an item of a list, see `index` */
    uint32_t index;
};

/* `routes[3].match.hosts[0]`; a key that is no plain word stands as ["a.b"]. `prefix`, which
 * may be empty, is put in front. Appends. */
void gw_path_add(const struct gw_path *path, struct gw_str prefix, struct gw_buf *out);
struct gw_str gw_path_text(const struct gw_path *path, struct gw_arena *arena);

#endif
