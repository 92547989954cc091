/* The LuaJIT state of a process: its heap, its CPU budget, what bindings reach through it.
 * Lives in: one worker (or the loader, or `moongate spec`); one a process, because the signal
 * that ends runaway code knows only one. Owner: struct gw_script.
 * Limits: heap_max (while plugin code runs), cpu_budget_ms for each entry into Lua. */
#ifndef GW_SCRIPT_VM_H
#define GW_SCRIPT_VM_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "net/loop.h"
#include "proxy/exchange.h"

struct gw_vm;
struct gw_task;
struct gw_instance;
struct gw_shared_set;

struct gw_vm_options {
    struct gw_loop *loop;         /* NULL in the loader: nothing may wait there */
    struct gw_shared_set *shared; /* may be NULL */
    uint32_t cpu_budget_ms;       /* 0: the default, 100 */
    uint64_t heap_max;            /* 0: no cap */
    uint32_t worker;
    bool trial; /* as in script.h */
};

GW_MUST_CHECK enum gw_rc gw_vm_new(const struct gw_vm_options *options, struct gw_vm **out,
                                   struct gw_err *err);
/* Every task was cancelled before. */
void gw_vm_free(struct gw_vm *vm);

/* From any lua_State of this VM, coroutines included. */
/* As in the options. */
void gw_vm_set_limits(struct gw_vm *vm, uint32_t cpu_budget_ms, uint64_t heap_max);
struct gw_vm *gw_vm_of(lua_State *L);

lua_State *gw_vm_main(struct gw_vm *vm);
struct gw_loop *gw_vm_loop(struct gw_vm *vm);
struct gw_shared_set *gw_vm_shared(struct gw_vm *vm);
uint32_t gw_vm_worker(const struct gw_vm *vm);
uint64_t gw_vm_heap_bytes(const struct gw_vm *vm);

/* The task that runs now; NULL: no Lua is running. */
struct gw_task *gw_vm_task(struct gw_vm *vm);

/* The exchange on whose behalf Lua runs; NULL: init, stop, timers, or the request is over. */
struct gw_exchange *gw_vm_exchange(struct gw_vm *vm);

/* Loads trusted Lua that is built in (lua/gateway/NAME.lua) with the real globals, runs it
 * and leaves what it returns. [-0, +1] Aborts the process when it is broken. */
void gw_vm_require(lua_State *L, const char *name);

/* A pointer for each binding to keep its own state in; ids are enum gw_lib_id of lib.h. */
void **gw_vm_data(struct gw_vm *vm, unsigned id);

#endif
