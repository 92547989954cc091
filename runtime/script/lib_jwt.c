/* gw.jwt is Lua (lua/gateway/jwt.lua), loaded when somebody asks for a function of it; here is what
 * it cannot have from Lua: a gate, where many tasks wait for one that does the work.
 * A gate belongs to Lua; its waiters are tasks, which hold it as long as they wait. */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "base/list.h"
#include "script/lib_rows.h"
#include "script/vm_private.h"

#define GATE_TYPE "gw.gate"
#define WAIT_SECONDS_MAX 3600.0

struct gate {
    struct gw_list waiters;
    struct gw_later later;
    struct gw_loop *loop;
};

struct waiter {
    struct gw_list link;
    struct gw_wait wait;
    struct gw_timer timer;
    struct gw_loop *loop;
    bool opened;
};

static void waiter_free(struct waiter *waiter)
{
    gw_list_remove(&waiter->link);
    gw_timer_fini(waiter->loop, &waiter->timer);
    free(waiter);
}

static void waiter_cancel(struct gw_wait *wait)
{
    waiter_free(GW_CONTAINER(wait, struct waiter, wait));
}

static int waiter_push(lua_State *L, void *arg)
{
    struct waiter *waiter = arg;

    lua_pushboolean(L, waiter->opened);
    waiter_free(waiter);
    return 1;
}

static void waiter_due(struct gw_timer *timer)
{
    struct waiter *waiter = GW_CONTAINER(timer, struct waiter, timer);

    gw_task_wake(&waiter->wait, waiter_push, waiter);
}

/* gate:wait(seconds) -> true, or false when the time is over   [-0, +1] */
static int gate_wait(lua_State *L)
{
    struct gate *gate = luaL_checkudata(L, 1, GATE_TYPE);
    double seconds = luaL_checknumber(L, 2);
    struct waiter *waiter;

    luaL_argcheck(L, seconds >= 0 && seconds <= WAIT_SECONDS_MAX, 2, "0 to 3600 seconds expected");
    gw_lib_check(L, "jwt.remote", GW_IN_WAITING);
    waiter = calloc(1, sizeof(*waiter));
    if (waiter == NULL)
        return luaL_error(L, "jwt: out of memory");
    waiter->loop = gate->loop;
    gw_list_push_back(&gate->waiters, &waiter->link);
    gw_timer_init(&waiter->timer, waiter_due);
    gw_timer_set(gate->loop, &waiter->timer,
                 gw_loop_now_ms(gate->loop) + (uint64_t)ceil(seconds * 1000));
    return gw_task_wait(L, &waiter->wait, waiter_cancel);
}

/* All that wait now. Who runs may cancel others, come to wait again, or let the gate be collected:
 * only the list of this function is looked at. */
static void gate_opened(struct gw_later *later)
{
    struct gate *gate = GW_CONTAINER(later, struct gate, later);
    struct gw_list now;

    gw_list_init(&now);
    while (!gw_list_empty(&gate->waiters)) {
        struct gw_list *link = gate->waiters.next;
        gw_list_remove(link);
        gw_list_push_back(&now, link);
    }
    while (!gw_list_empty(&now)) {
        struct waiter *waiter = GW_CONTAINER(now.next, struct waiter, link);
        gw_list_remove(&waiter->link);
        waiter->opened = true;
        gw_task_wake(&waiter->wait, waiter_push, waiter);
    }
}

/* gate:open(): who waits goes on at the end of this turn   [-0, +0] */
static int gate_open(lua_State *L)
{
    struct gate *gate = luaL_checkudata(L, 1, GATE_TYPE);

    if (gate->loop != NULL)
        gw_later(gate->loop, &gate->later);
    return 0;
}

static int gate_gc(lua_State *L)
{
    struct gate *gate = lua_touserdata(L, 1);

    gw_later_cancel(&gate->later);
    return 0;
}

/* gate() -> gate   [-0, +1] */
static int gate_new(lua_State *L)
{
    struct gate *gate = lua_newuserdata(L, sizeof(*gate));

    gw_list_init(&gate->waiters);
    gw_later_init(&gate->later, gate_opened);
    gate->loop = gw_vm_loop(gw_vm_of(L));
    luaL_getmetatable(L, GATE_TYPE);
    lua_setmetatable(L, -2);
    return 1;
}

/* The functions of lua/gateway/jwt.lua, once. [-0, +1] An error (the heap is full) comes out at who
 * asked; the next one tries again. */
static void load_functions(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "gateway.jwt");
    if (lua_pcall(L, 1, 1, 0) != 0) {
        lua_pushnil(L);
        lua_setfield(L, -3, "gateway.jwt");
        lua_error(L);
    }
    lua_remove(L, -2);
    lua_getfield(L, -1, "open");
    lua_remove(L, -2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, gw_vm_of(L)->gw_ref);
    lua_pushcfunction(L, gate_new);
    lua_call(L, 2, 1);
}

/* __index of gw.jwt: fills it. (table, name) */
static int jwt_index(lua_State *L)
{
    lua_settop(L, 2);
    load_functions(L);
    lua_pushnil(L);
    while (lua_next(L, 3) != 0) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, 1);
    }
    lua_pushnil(L);
    lua_setmetatable(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, 1);
    return 1;
}

void gw_lib_jwt_open(lua_State *L, struct gw_vm *vm)
{
    static const luaL_Reg methods[] = {{"wait", gate_wait}, {"open", gate_open}, {NULL, NULL}};

    luaL_newmetatable(L, GATE_TYPE);
    lua_pushcfunction(L, gate_gc);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);

    lua_newtable(L);
    lua_newtable(L);
    lua_pushcfunction(L, jwt_index);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}
