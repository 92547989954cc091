/* What specs need beyond `gw`: raw sockets, child processes, tasks, the clock.
 * Lives in: the VM of `moongate spec`, and only there (script/spec.c opens it). The pleasant
 * half is lua/gateway/spec/, which finds this as require "gateway.spec.native".
 * Nothing blocks: what would, answers nil, "again", and spec_wait() waits in the loop. */
#ifndef GW_SCRIPT_LIB_SPEC_H
#define GW_SCRIPT_LIB_SPEC_H

#include <lua.h>

#include "script/vm.h"

/* Puts the table of functions on the stack [-0, +1]. */
void gw_lib_spec_open(lua_State *L, struct gw_vm *vm);

/* spec_process.c: adds spawn, reap and kill to the table at the top [-0, +0]. */
void gw_lib_spec_process_open(lua_State *L);

/* spec_plugin.c: adds the functions that call a plugin's phases [-0, +0]. */
void gw_lib_spec_plugin_open(lua_State *L);

/* A descriptor as the object that Lua waits on [-0, +1]; taken. Pipes, pidfds, sockets. */
void gw_lib_spec_push_fd(lua_State *L, int fd);

#endif
