/* gw.schema: JSON Schema. All of it is Lua (lua/gateway/schema*.lua); this loads it at its first
 * use, so that who has no use for it pays nothing. */
#include <lauxlib.h>
#include <string.h>

#include "script/embed.h"
#include "script/lib_rows.h"
#include "script/vm_private.h"

/* A load that was broken off (memory, CPU budget) must be possible again: require() would take
 * what has begun for a loop. */
static void forget(lua_State *L)
{
    static const char front[] = "gateway.schema";
    const char *name;

    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    for (unsigned i = 0; (name = gw_embed_name(i)) != NULL; i++) {
        if (strncmp(name, "schema", 6) != 0)
            continue;
        lua_pushfstring(L, "%s%s", front, name + 6);
        lua_pushnil(L);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
}

/* open(json, regex, jit) of the module -> compile()   [-0, +1] */
static int load(lua_State *L)
{
    struct gw_vm *vm = gw_vm_of(L);

    lua_getglobal(L, "require");
    lua_pushliteral(L, "gateway.schema");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "open");
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->gw_ref);
    lua_getfield(L, -1, "json");
    lua_getfield(L, -2, "regex");
    lua_remove(L, -3);
    lua_pushboolean(L, vm->jit_plugins);
    lua_call(L, 3, 1);
    return 1;
}

/* schema.compile(schema, options) -> validator; raises for a bad schema   [-0, +1]
 * Upvalue: compile() of Lua, or nil before the first call. */
static int compile(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_isnil(L, lua_upvalueindex(1))) {
        lua_pushcfunction(L, load);
        if (lua_pcall(L, 0, 1, 0) != 0) {
            forget(L);
            return lua_error(L);
        }
        lua_replace(L, lua_upvalueindex(1));
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, 1);
    return 1;
}

void gw_lib_schema_open(lua_State *L, struct gw_vm *vm)
{
    (void)vm;
    lua_newtable(L);
    lua_pushnil(L);
    lua_pushcclosure(L, compile, 1);
    lua_setfield(L, -2, "compile");
}
