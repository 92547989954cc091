/* gw.json: the codec between Lua values and JSON text.
 * Exact: integers up to 2^53 and doubles come back as they were, and empty arrays stay arrays
 * (their metatable is the mark). */
#include "script/lib_json.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "script/lib_rows.h"

#define DEPTH_DEFAULT 128
#define DEPTH_MAX 1000                   /* C recursion: about 200 bytes of stack a level */
#define BYTES_DEFAULT (16 * 1024 * 1024) /* of a text, read or written */
#define BYTES_MAX (1024 * 1024 * 1024)
#define KEEP_BYTES (256 * 1024)

struct gw_json_state *gw_json_state_of(lua_State *L)
{
    return *gw_vm_data(gw_vm_of(L), GW_LIB_JSON);
}

static double option_number(lua_State *L, int index, const char *name, double otherwise, double max)
{
    lua_getfield(L, index, name);
    if (!lua_isnil(L, -1)) {
        double value = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : 0;
        if (!(value >= 1 && value <= max))
            luaL_error(L, "json: option %s: a number from 1 to %d expected", name, (int)max);
        otherwise = value;
    }
    lua_pop(L, 1);
    return otherwise;
}

void gw_json_read_options(lua_State *L, int index, struct gw_json_options *options)
{
    *options = (struct gw_json_options){DEPTH_DEFAULT, BYTES_DEFAULT, false};
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    options->depth_max = (uint32_t)option_number(L, index, "depth", DEPTH_DEFAULT, DEPTH_MAX);
    options->bytes_max = (size_t)option_number(L, index, "size", BYTES_DEFAULT, BYTES_MAX);
    lua_getfield(L, index, "duplicates");
    if (!lua_isnil(L, -1)) {
        const char *what = lua_tostring(L, -1);
        if (what == NULL || (strcmp(what, "refuse") != 0 && strcmp(what, "last") != 0))
            luaL_error(L, "json: option duplicates: \"last\" or \"refuse\" expected");
        options->refuse_duplicates = strcmp(what, "refuse") == 0;
    }
    lua_pop(L, 1);
}

void gw_json_give_back(struct gw_buf *buf)
{
    if (buf->size > KEEP_BYTES)
        gw_buf_fini(buf);
}

/* Eight bytes at a time. */
const char *gw_json_plain_run(const char *at, const char *end, uint64_t *high)
{
    const uint64_t ones = 0x0101010101010101ULL, tops = 0x8080808080808080ULL;
    uint64_t eight, quote, slash, seen = 0;

    for (; end - at >= 8; at += 8) {
        memcpy(&eight, at, 8);
        quote = eight ^ (ones * '"');
        slash = eight ^ (ones * '\\');
        /* A byte below 0x20, or zero after the xor, borrows into its top bit. */
        if ((((eight - ones * 0x20) & ~eight) | ((quote - ones) & ~quote) |
             ((slash - ones) & ~slash)) &
            tops)
            break;
        seen |= eight;
    }
    for (; at < end && (uint8_t)*at >= 0x20 && *at != '"' && *at != '\\'; at++)
        seen |= (uint8_t)*at;
    *high |= seen & tops;
    return at;
}

/* json.array(t) -> t, marked: an array even when it is empty   [-0, +1] */
static int mark_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, gw_json_state_of(L)->array_ref);
    if (lua_getmetatable(L, 1)) {
        luaL_argcheck(L, lua_rawequal(L, -1, -2), 1, "the table has another metatable");
        lua_pop(L, 1);
    }
    lua_setmetatable(L, 1);
    return 1;
}

/* json.is_array(v): decoded from [ ], or marked by json.array()   [-0, +1] */
static int is_array(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, gw_json_state_of(L)->array_ref);
    lua_pushboolean(L, lua_istable(L, 1) && lua_getmetatable(L, 1) && lua_rawequal(L, -1, 2));
    return 1;
}

void gw_lib_json_open(lua_State *L, struct gw_vm *vm)
{
    static const luaL_Reg functions[] = {{"decode", gw_json_decode},
                                         {"encode", gw_json_encode},
                                         {"array", mark_array},
                                         {"is_array", is_array},
                                         {NULL, NULL}};
    struct gw_json_state *state = calloc(1, sizeof(*state));

    if (state == NULL)
        abort();
    *gw_vm_data(vm, GW_LIB_JSON) = state;
    lua_newtable(L);
    lua_pushliteral(L, "json.array");
    lua_setfield(L, -2, "__metatable"); /* plugins share the mark: nobody may change it */
    state->array_ref = luaL_ref(L, LUA_REGISTRYINDEX);

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
}

void gw_lib_json_close(struct gw_vm *vm)
{
    struct gw_json_state *state = *gw_vm_data(vm, GW_LIB_JSON);

    if (state == NULL)
        return;
    gw_buf_fini(&state->out);
    gw_buf_fini(&state->scratch);
    free(state);
    *gw_vm_data(vm, GW_LIB_JSON) = NULL;
}
