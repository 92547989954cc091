/* Joins the Lua half (lua/gateway/sandbox.lua, ctx.lua, driver.lua) with the VM. The allow-list
 * itself is Lua: see there. */
#include <assert.h>
#include <lauxlib.h>
#include <luajit.h>
#include <string.h>

#include "base/log.h"
#include "http/ws.h"
#include "proxy/proxy.h"
#include "script/vm_private.h"

/* host.print(text): what print() of a plugin says. */
static int host_print(lua_State *L)
{
    struct gw_instance *instance = gw_instance_current(gw_vm_of(L));

    gw_info("plugin %s: %s", instance != NULL ? gw_instance_plugin(instance) : "(loading)",
            luaL_checkstring(L, 1));
    return 0;
}

/* The reader function of load(): asks the function at 1 for the next piece. */
static const char *next_piece(lua_State *L, void *arg, size_t *len)
{
    (void)arg;
    lua_settop(L, 4);
    lua_pushvalue(L, 1);
    lua_call(L, 0, 1);
    if (!lua_isstring(L, -1)) {
        if (!lua_isnil(L, -1))
            luaL_error(L, "load: the function must return strings");
        *len = 0;
        return NULL;
    }
    return lua_tolstring(L, -1, len); /* stays on the stack while it is read */
}

static const char *whole(lua_State *L, void *arg, size_t *len)
{
    struct gw_str *text = arg;
    const char *data = text->data;

    (void)L;
    *len = text->len;
    text->data = NULL;
    text->len = 0;
    return *len > 0 ? data : NULL;
}

/* host.load(chunk, name, env) -> function | nil, message. Text only. */
static int host_load(lua_State *L)
{
    struct gw_vm *vm = gw_vm_of(L);
    const char *name = luaL_checkstring(L, 2);
    int rc;

    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    lua_pushnil(L);
    if (lua_isstring(L, 1)) {
        struct gw_str text;
        text.data = lua_tolstring(L, 1, &text.len);
        rc = lua_loadx(L, whole, &text, name, "t");
    } else {
        rc = lua_loadx(L, next_piece, NULL, name, "t");
    }
    if (rc == LUA_ERRMEM)
        return luaL_error(L, "not enough memory");
    if (rc != 0) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    lua_pushvalue(L, 3);
    lua_setfenv(L, -2);
    if (!vm->jit_plugins)
        luaJIT_setmode(L, -1, LUAJIT_MODE_ALLFUNC | LUAJIT_MODE_OFF);
    return 1;
}

/* host.log_fault(message): of a plugin with on_error: skip. */
static int host_log_fault(lua_State *L)
{
    struct gw_vm *vm = gw_vm_of(L);

    lua_settop(L, 1);
    luaL_traceback(L, L, NULL, 1);
    lua_pushvalue(L, 1);
    gw_task_log_error(L, vm, lua_tostring(L, 2));
    return 0;
}

static int host_rc_text(lua_State *L)
{
    lua_pushstring(L, gw_rc_text((enum gw_rc)luaL_checkinteger(L, 1)));
    return 1;
}

/* host.wrong_phase(what, in, mask): raises. */
static int host_wrong_phase(lua_State *L)
{
    const char *what = luaL_checkstring(L, 1);
    uint32_t in = (uint32_t)luaL_checknumber(L, 2), mask = (uint32_t)luaL_checknumber(L, 3);
    char list[120] = "";

    mask &= GW_IN_REQUEST & ~(1u << GW_PHASE_REWRITE_GLOBAL); /* both are called rewrite */
    for (uint32_t bit = 1; bit <= GW_IN_BODY_WHOLE; bit <<= 1)
        if ((mask & bit) != 0) {
            if (list[0] != '\0')
                strncat(list, ", ", sizeof(list) - strlen(list) - 1);
            strncat(list, gw_lib_in_name(bit), sizeof(list) - strlen(list) - 1);
        }
    luaL_where(L, 3);
    lua_pushfstring(L, "%s%s: not in %s (only in: %s)", lua_tostring(L, -1), what,
                    gw_lib_in_name(in), list);
    return lua_error(L);
}

/* ---- the request's body ---- */

struct body_wait {
    struct gw_wait wait;
    struct gw_exchange *exchange;
    struct gw_str body;
    enum gw_rc rc;
    bool known;
};

static int push_body(lua_State *L, void *arg)
{
    const struct body_wait *op = arg;

    if (op->rc != GW_OK)
        return gw_lib_fail(L, op->rc, NULL);
    lua_pushlstring(L, op->body.data != NULL ? op->body.data : "", op->body.len);
    return 1;
}

static void body_came(struct gw_exchange *exchange, void *arg, enum gw_rc rc, struct gw_str body)
{
    struct body_wait *op = arg;

    (void)exchange;
    op->rc = rc;
    op->body = body;
    op->known = true;
    gw_task_wake(&op->wait, push_body, op); /* nothing, when nobody waits yet */
}

static void body_cancel(struct gw_wait *wait)
{
    struct body_wait *op = GW_CONTAINER(wait, struct body_wait, wait);

    if (!op->known)
        gw_exchange_read_body_cancel(op->exchange);
}

/* host.read_body() -> text | nil, message, code; waits. Of the exchange that runs. */
static int host_read_body(lua_State *L)
{
    struct gw_vm *vm = gw_vm_of(L);
    struct gw_exchange *x = gw_vm_exchange(vm);
    struct body_wait *op;
    uint32_t max;

    gw_lib_check(L, "reading request.body", GW_IN_REWRITE | GW_IN_ACCESS | GW_IN_BALANCER);
    if (x == NULL)
        return luaL_error(L, "request is over");
    max = x->route != NULL ? gw_route_limits(x->generation->conf, x->route)->body_buffer_bytes_max
                           : x->generation->conf->limits.body_buffer_bytes_max;
    op = gw_arena_zalloc(&x->arena, sizeof(*op));
    op->exchange = x;
    gw_exchange_read_body(x, max, body_came, op);
    if (op->known)
        return push_body(L, op);
    return gw_task_wait(L, &op->wait, body_cancel);
}

/* host.too_large(): answers 413 for the plugin, which is ended by an error then. */
static int host_too_large(lua_State *L)
{
    struct gw_exchange *x = gw_vm_exchange(gw_vm_of(L));
    struct gw_slot *slot = x != NULL ? x->script : NULL;

    if (slot == NULL)
        return 0;
    slot->answer = gw_exchange_problem(x, 413, GW_STR(""), GW_STR("the request body is too long"));
    slot->verdict = GW_VERDICT_ANSWERED;
    slot->refused = 1;
    return 0;
}

/* host.is_utf8(text), host.is_close_code(number) */
static int host_is_utf8(lua_State *L)
{
    struct gw_utf8 utf8 = {0};
    struct gw_str text;

    text.data = luaL_checklstring(L, 1, &text.len);
    lua_pushboolean(L, gw_utf8_feed(&utf8, text) && gw_utf8_complete(&utf8));
    return 1;
}

static int host_is_close_code(lua_State *L)
{
    lua_Number code = luaL_checknumber(L, 1);

    lua_pushboolean(L, code >= 1000 && code < 5000 && code == (uint16_t)code &&
                           gw_ws_code_valid((uint16_t)code));
    return 1;
}

static const luaL_Reg host_functions[] = {
    {"print", host_print},
    {"load", host_load},
    {"log_fault", host_log_fault},
    {"rc_text", host_rc_text},
    {"wrong_phase", host_wrong_phase},
    {"read_body", host_read_body},
    {"too_large", host_too_large},
    {"is_utf8", host_is_utf8},
    {"is_close_code", host_is_close_code},
    {NULL, NULL},
};

/* Calls M.open(...) of the module below `args` values. [-args-1, +results] */
static void call_open(lua_State *L, int args, int results)
{
    if (lua_pcall(L, args, results, 0) != 0) {
        gw_error("lua: the built-in half is broken: %s", lua_tostring(L, -1));
        assert(!"lua/gateway does not fit this program");
    }
}

static void open_libs(struct gw_vm *vm)
{
    lua_State *L = vm->L;

    lua_newtable(L);
    for (const struct gw_lib *lib = gw_libs; lib->name != NULL; lib++) {
        int top = lua_gettop(L);
        lib->open(L, vm);
        assert(lua_gettop(L) == top + 1);
        lua_setfield(L, -2, lib->name);
    }
    vm->gw_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void gw_sandbox_open(struct gw_vm *vm)
{
    lua_State *L = vm->L;
    struct gw_slot *base = gw_slots_base(vm->slots);
    int host;

    gw_ffi_use(base);
    lua_newtable(L);
    vm->fields_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    vm->wait_mark_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    open_libs(vm);
    lua_newtable(L);
    luaL_register(L, NULL, host_functions);
    host = lua_gettop(L);

    gw_vm_require(L, "sandbox");
    lua_getfield(L, -1, "open");
    lua_pushvalue(L, host);
    gw_task_push_wait_mark(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->gw_ref);
    call_open(L, 3, 0);
    vm->sandbox_ref = luaL_ref(L, LUA_REGISTRYINDEX);

    gw_vm_require(L, "ctx");
    lua_getfield(L, -1, "open");
    lua_pushvalue(L, host);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->fields_ref);
    lua_pushlightuserdata(L, base);
    lua_pushnumber(L, sizeof(struct gw_slot));
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->gw_ref);
    lua_getfield(L, -1, "json");
    lua_remove(L, -2);
    call_open(L, 5, 0);
    lua_pop(L, 1);

    gw_vm_require(L, "driver");
    lua_getfield(L, -1, "open");
    lua_pushvalue(L, host);
    lua_pushlightuserdata(L, base);
    call_open(L, 2, 0);
    vm->driver_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, 0);
}
