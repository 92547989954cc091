/* gw.log: one line a fact, with plugin, route and request id in front.
 *   gw.log.warn("quota of %s is %d", name, n)     a format, where the first value has a %
 *   gw.log.info("quota", name, n)                 else the values, with a space between
 * Never raises for what is logged: a format that does not fit is joined like values. */
#include <lauxlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "proxy/proxy.h"
#include "script/instance.h"
#include "script/lib_rows.h"

#define VALUES_MAX 64

enum { UP_LEVEL = 1, UP_TOSTRING, UP_FORMAT };

static void put_place(struct gw_vm *vm, struct gw_buf *line)
{
    struct gw_instance *instance = gw_instance_current(vm);
    struct gw_exchange *exchange = gw_vm_exchange(vm);

    if (instance != NULL) {
        gw_buf_printf(line, "plugin %s", gw_instance_plugin(instance));
        if (strcmp(gw_instance_id(instance), gw_instance_plugin(instance)) != 0)
            gw_buf_printf(line, " (%s)", gw_instance_id(instance));
    } else {
        gw_buf_printf(line, "script");
    }
    if (exchange != NULL) {
        struct gw_str id = gw_exchange_id(exchange);
        if (exchange->route != NULL && exchange->generation != NULL) {
            struct gw_str route = gw_ref_str(exchange->generation->conf, exchange->route->name);
            gw_buf_printf(line, ", route %.*s", GW_STR_ARG(route));
        }
        gw_buf_printf(line, ", request %.*s", GW_STR_ARG(id));
    } else if (instance != NULL && gw_instance_route(instance)[0] != '\0') {
        gw_buf_printf(line, ", route %s", gw_instance_route(instance));
    }
    gw_buf_add(line, ": ", 2);
}

/* Text of plugins often comes from clients: unlike our own tracebacks it never breaks a line,
 * and a NUL does not end it. */
static void put_text(struct gw_buf *line, struct gw_str text)
{
    for (size_t i = 0, from = 0; i <= text.len; i++) {
        if (i < text.len && text.data[i] != '\n' && text.data[i] != '\0')
            continue;
        gw_buf_add(line, text.data + from, i - from);
        if (i < text.len)
            gw_buf_add(line, text.data[i] == '\n' ? "\\n" : "\\0", 2);
        from = i + 1;
    }
}

static bool has_percent(lua_State *L)
{
    size_t len;
    const char *text;

    if (lua_type(L, 1) != LUA_TSTRING)
        return false;
    text = lua_tolstring(L, 1, &len);
    return memchr(text, '%', len) != NULL;
}

/* Leaves the formatted line on the stack, or nothing. */
static bool formatted(lua_State *L, int count)
{
    if (count < 2 || !has_percent(L))
        return false;
    lua_pushvalue(L, lua_upvalueindex(UP_FORMAT));
    for (int i = 1; i <= count; i++)
        lua_pushvalue(L, i);
    if (lua_pcall(L, count, 1, 0) == 0)
        return true;
    lua_pop(L, 1);
    return false;
}

/* One value as text, on the stack; a __tostring that raises or lies is not our end. */
static void push_text(lua_State *L, int index)
{
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        return;
    }
    lua_pushvalue(L, lua_upvalueindex(UP_TOSTRING));
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) != 0 || lua_type(L, -1) != LUA_TSTRING) {
        lua_pop(L, 1);
        lua_pushfstring(L, "(%s)", luaL_typename(L, index));
    }
}

static void joined(lua_State *L, int count)
{
    if (count == 0) {
        lua_pushliteral(L, "");
        return;
    }
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            lua_pushliteral(L, " ");
        push_text(L, i);
    }
    lua_concat(L, 2 * count - 1);
}

/* log.LEVEL(format, …) or (value, …); the level is an upvalue   [-0, +0] */
static int log_line(lua_State *L)
{
    enum gw_log_level level = (enum gw_log_level)lua_tointeger(L, lua_upvalueindex(UP_LEVEL));
    int count = lua_gettop(L);
    struct gw_buf line = GW_BUF_INIT;
    struct gw_str text;

    if (level < gw_log_level_now)
        return 0;
    luaL_argcheck(L, count <= VALUES_MAX, VALUES_MAX + 1, "too many values");
    luaL_checkstack(L, 2 * VALUES_MAX + 8, "log");
    if (!formatted(L, count))
        joined(L, count);
    text.data = lua_tolstring(L, -1, &text.len);
    put_place(gw_vm_of(L), &line);
    put_text(&line, text);
    gw_log_write(level, "%.*s", (int)gw_buf_len(&line), gw_buf_str(&line).data);
    gw_buf_fini(&line);
    return 0;
}

/* log(…) is log.info(…): the table itself stands in front. */
static int log_call(lua_State *L)
{
    lua_remove(L, 1);
    return log_line(L);
}

static void push_function(lua_State *L, lua_CFunction function, enum gw_log_level level)
{
    lua_pushinteger(L, (lua_Integer)level);
    lua_getglobal(L, "tostring");
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "format");
    lua_remove(L, -2);
    lua_pushcclosure(L, function, 3);
}

void gw_lib_log_open(lua_State *L, struct gw_vm *vm)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    lua_newtable(L);
    for (int level = GW_LOG_DEBUG; level <= GW_LOG_ERROR; level++) {
        push_function(L, log_line, (enum gw_log_level)level);
        lua_setfield(L, -2, names[level]);
    }
    gw_lib_push_object(L, "gw.log", NULL);
    lua_getmetatable(L, -1);
    push_function(L, log_call, GW_LOG_INFO);
    lua_setfield(L, -2, "__call");
    lua_pop(L, 1);
}
