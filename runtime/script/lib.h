/* How a library binding (lib_*.c) joins the read-only global `gw`.
 * Each binding is one row of gw_libs[] (lib.c). Its Lua half, if any, is lua/gateway/NAME.lua:
 * built in, trusted, run with the real globals (ffi included); get it by gw_vm_require(L, "NAME"),
 * and add its row to GW_EMBED_ROWS in embed.h. All cdefs stand in lua/gateway/cdef.lua. */
#ifndef GW_SCRIPT_LIB_H
#define GW_SCRIPT_LIB_H

#include <lua.h>
#include <stdint.h>

#include "proxy/hooks.h"
#include "script/task.h"
#include "script/vm.h"

/* Where Lua runs: one bit each. The first ones are (1 << enum gw_phase). */
#define GW_IN_REWRITE ((1u << GW_PHASE_REWRITE_GLOBAL) | (1u << GW_PHASE_REWRITE))
#define GW_IN_ACCESS (1u << GW_PHASE_ACCESS)
#define GW_IN_BALANCER (1u << GW_PHASE_BALANCER)
#define GW_IN_HEADER_FILTER (1u << GW_PHASE_HEADER_FILTER)
#define GW_IN_BODY_FILTER (1u << GW_PHASE_BODY_FILTER)
#define GW_IN_LOG (1u << GW_PHASE_LOG)
#define GW_IN_MESSAGE (1u << GW_PHASE_MESSAGE)
#define GW_IN_LOAD (1u << 16) /* the file itself runs (also in the loader: no loop there) */
#define GW_IN_INIT (1u << 17)
#define GW_IN_STOP (1u << 18)
#define GW_IN_TIMER (1u << 19)      /* background tasks */
#define GW_IN_SPEC (1u << 20)       /* `moongate spec` */
#define GW_IN_WHEN (1u << 21)       /* a `when:` on its own */
#define GW_IN_BODY_WHOLE (1u << 22) /* body_filter with body = "buffered" */

#define GW_IN_WAITING                                                                              \
    (GW_IN_REWRITE | GW_IN_ACCESS | GW_IN_BALANCER | GW_IN_BODY_WHOLE | GW_IN_LOG |                \
     GW_IN_MESSAGE | GW_IN_TIMER | GW_IN_SPEC)
#define GW_IN_ANSWERING (GW_IN_REWRITE | GW_IN_ACCESS | GW_IN_BALANCER | GW_IN_HEADER_FILTER)
#define GW_IN_REQUEST                                                                              \
    (GW_IN_REWRITE | GW_IN_ACCESS | GW_IN_BALANCER | GW_IN_HEADER_FILTER | GW_IN_BODY_FILTER |     \
     GW_IN_BODY_WHOLE | GW_IN_LOG | GW_IN_MESSAGE)
#define GW_IN_ANY UINT32_MAX

struct gw_lib {
    const char *name; /* gw.NAME */

    /* Leaves one table or function on the stack [-0, +1]; called once for each VM, with the
     * real globals in place. Tables (nested ones too) become read-only for plugins. */
    void (*open)(lua_State *L, struct gw_vm *vm);

    /* May be NULL. An instance was retired: end what it left behind (timers). */
    void (*retire)(struct gw_vm *vm, struct gw_instance *instance);

    /* May be NULL. Before lua_close(): close descriptors, free memory. */
    void (*close)(struct gw_vm *vm);
};

extern const struct gw_lib gw_libs[]; /* ends with name NULL */

/* Keys for gw_vm_data(); a binding adds its own at the end. */
enum gw_lib_id {
    GW_LIB_LOG,
    GW_LIB_JSON,
    GW_LIB_SHARED,
    GW_LIB_TIME,
    GW_LIB_TIMER,
    GW_LIB_HTTP,
    GW_LIB_CRYPTO,
    GW_LIB_METRICS,
    GW_LIB_REGEX,
    GW_LIB_SPEC,
    GW_LIB_LOGFILE,
    GW_LIB_IDS = 32
};

/* Raises "sleep: not in header_filter (only in: rewrite, access, balancer, log)" unless the
 * running code is in one of the places of `mask`. */
void gw_lib_check(lua_State *L, const char *function, uint32_t mask);

/* The same question without raising; the place where code runs now (0: none). */
uint32_t gw_lib_in(struct gw_vm *vm);
const char *gw_lib_in_name(uint32_t in); /* "header_filter", "timer", … */

/* nil, "text", "code" [-0, +3]; text is gw_rc_text() when NULL. `return gw_lib_fail(L, rc, NULL);`
 */
int gw_lib_fail(lua_State *L, enum gw_rc rc, const char *text);

#endif
