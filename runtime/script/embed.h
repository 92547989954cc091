/* The Lua half of the runtime, built into the program: it never looks for its own files. */
#ifndef GW_SCRIPT_EMBED_H
#define GW_SCRIPT_EMBED_H

#include "base/str.h"

/* X(symbol, "name"): the file is lua/gateway/<name>.lua, for trusted code require "gateway.<name>".
 */
#define GW_EMBED_ROWS(X)                                                                           \
    X(cdef, "cdef")                                                                                \
    X(sandbox, "sandbox")                                                                          \
    X(ctx, "ctx")                                                                                  \
    X(driver, "driver")                                                                            \
    X(message, "message")                                                                          \
    X(cdef_lib, "cdef_lib")                                                                        \
    X(shared, "shared")                                                                            \
    X(metrics, "metrics")                                                                          \
    X(logfile, "logfile")                                                                          \
    X(schema, "schema")                                                                            \
    X(schema_tree, "schema_tree")                                                                  \
    X(schema_code, "schema_code")                                                                  \
    X(schema_uri, "schema_uri")                                                                    \
    X(schema_pattern, "schema_pattern")                                                            \
    X(schema_meta, "schema_meta")                                                                  \
    X(schema_format, "schema_format")                                                              \
    X(jwt, "jwt")

/* The text. GW_STR_NULL: there is none. */
struct gw_str gw_embed_find(struct gw_str name);
/* The same as bytecode, when the LuaJIT that runs is the one of the build (`version` is its
 * jit.version); else GW_STR_NULL. */
struct gw_str gw_embed_bytecode(struct gw_str name, struct gw_str version);
const char *gw_embed_name(unsigned index); /* NULL behind the last */

#endif
