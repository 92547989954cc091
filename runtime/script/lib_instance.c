/* gw.instance() -> "rate-limit@route": names this use of the plugin, the same over reloads and
 * in all workers. For keys in shared memory that belong to it. "…@" is a global use. */
#include <lauxlib.h>

#include "script/instance.h"
#include "script/lib_rows.h"

#define IN_PLUGIN (GW_IN_REQUEST | GW_IN_INIT | GW_IN_STOP | GW_IN_TIMER)

/* instance() -> string   [-0, +1] */
static int instance_name(lua_State *L)
{
    struct gw_instance *instance;

    gw_lib_check(L, "instance", IN_PLUGIN);
    instance = gw_instance_current(gw_vm_of(L));
    if (instance == NULL)
        return luaL_error(L, "instance: no plugin runs here");
    lua_pushfstring(L, "%s@%s", gw_instance_id(instance), instance->route);
    return 1;
}

void gw_lib_instance_open(lua_State *L, struct gw_vm *vm)
{
    lua_pushcfunction(L, instance_name);
}
