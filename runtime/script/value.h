/* A plugin's conf in bytes: written from a tree by the loader, made a Lua table by workers.
 *   n null  t true  f false  d number (8 bytes)  s string (u32 length, bytes)
 *   l list (u32 count, values)  m map (u32 count, string and value each)
 * Numbers in the order of this machine: the image never leaves it. */
#ifndef GW_SCRIPT_VALUE_H
#define GW_SCRIPT_VALUE_H

#include <lua.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "conf/tree.h"

void gw_value_write(const struct gw_node *node, struct gw_buf *out);

/* Pushes one value [-0, +1]; an image that we wrote is not doubted, but never read beyond. */
void gw_value_push(lua_State *L, struct gw_str bytes);

/* A Lua table as a tree: what plugins declare as their schema. An empty table is a list where
 * JSON Schema has one (`required`, `enum`, …, a default of an array), else a map. GW_INVALID:
 * functions, cycles, mixed keys; err says where. */
GW_MUST_CHECK enum gw_rc gw_value_tree(lua_State *L, int index, struct gw_arena *arena,
                                       struct gw_node **out, struct gw_err *err);

#endif
