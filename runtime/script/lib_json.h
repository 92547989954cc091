/* What the two halves of gw.json share: lib_json_decode.c reads, lib_json_encode.c writes,
 * lib_json.c makes the table. */
#ifndef GW_SCRIPT_LIB_JSON_H
#define GW_SCRIPT_LIB_JSON_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define GW_JSON_EXACT_MAX 9007199254740992.0 /* 2^53: up to it every integer is a double */

struct gw_json_state {
    struct gw_buf out;     /* text that is written */
    struct gw_buf scratch; /* a string with escapes while it is read */
    int array_ref;         /* the metatable that marks arrays */
};

struct gw_json_options {
    uint32_t depth_max;
    size_t bytes_max;
    bool refuse_duplicates;
};

struct gw_json_state *gw_json_state_of(lua_State *L);

/* Reads the table at `index`, or none. Raises for what it does not know. */
void gw_json_read_options(lua_State *L, int index, struct gw_json_options *options);

/* After use: a buffer that has grown large is not kept. */
void gw_json_give_back(struct gw_buf *buf);

/* The place behind the run of bytes that stand for themselves in a string: printable ASCII
 * without quote and backslash, or above 0x7f (*high is then not 0). */
const char *gw_json_plain_run(const char *at, const char *end, uint64_t *high);

int gw_json_decode(lua_State *L);
int gw_json_encode(lua_State *L);

#endif
