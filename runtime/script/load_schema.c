/* Confs of plugins whose schema has more keywords than conf/schema.c knows: the same gw.schema
 * that plugins use holds them to the whole schema, and what it finds is said at the place of
 * the conf that its pointer means. Plugins with plain schemas never come here. */
#include <lauxlib.h>
#include <stdlib.h>

#include "conf/path.h"
#include "script/lib_json.h"
#include "script/load_private.h"
#include "script/vm_private.h"

bool gw_load_validator(struct gw_load *load, struct gw_load_plugin *plugin, lua_State *L,
                       struct gw_where where)
{
    struct gw_task *task = gw_task_new(load->vm, GW_IN_LOAD, NULL, NULL, NULL);
    lua_State *co = gw_task_thread(task);
    bool fine;

    lua_rawgeti(co, LUA_REGISTRYINDEX, load->vm->gw_ref);
    lua_getfield(co, -1, "schema");
    lua_getfield(co, -1, "compile");
    lua_replace(co, 1);
    lua_settop(co, 1);
    lua_pushvalue(L, -1);
    lua_xmove(L, co, 1);
    fine = gw_task_resume(task, 1) == GW_TASK_DONE;
    if (fine) {
        lua_settop(co, 1);
        plugin->validator_ref = luaL_ref(co, LUA_REGISTRYINDEX);
    } else {
        gw_report_fault(load->report, where, GW_STR("schema"), "%s", load->vm->fault);
    }
    gw_task_end(task);
    return fine;
}

/* As gw.json.decode() would give it: arrays are marked, null is gw.json.null.   [-0, +1] */
static void push_node(lua_State *L, const struct gw_node *node, int array_ref)
{
    double number;
    bool flag;
    int i = 0;

    luaL_checkstack(L, 4, "conf too deep");
    if (node->kind == GW_NODE_SCALAR) {
        if (gw_node_is_null(node))
            lua_pushlightuserdata(L, NULL);
        else if (gw_node_bool(node, &flag))
            lua_pushboolean(L, flag);
        else if (node->scalar != GW_SCALAR_STRING && gw_node_number(node, &number))
            lua_pushnumber(L, number);
        else
            lua_pushlstring(L, node->text.data, node->text.len);
        return;
    }
    lua_createtable(L, 0, 0);
    for (const struct gw_node *n = gw_node_first(node); n != NULL; n = n->next) {
        if (node->kind == GW_NODE_MAP)
            lua_pushlstring(L, n->key.data, n->key.len);
        else
            lua_pushinteger(L, ++i);
        push_node(L, n, array_ref);
        lua_rawset(L, -3);
    }
    if (node->kind == GW_NODE_LIST) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, array_ref);
        lua_setmetatable(L, -2);
    }
}

/* ~1 is a slash, ~0 a tilde. */
static struct gw_str unescape(struct gw_arena *arena, struct gw_str token)
{
    char *out = gw_arena_alloc(arena, token.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < token.len; i++) {
        char c = token.data[i];
        if (c == '~' && i + 1 < token.len)
            c = token.data[++i] == '1' ? '/' : '~';
        out[len++] = c;
    }
    return gw_str(out, len);
}

/* The node that a pointer means; `steps` is filled with the way to it. */
static const struct gw_node *follow(struct gw_load *load, const struct gw_node *node,
                                    struct gw_str pointer, struct gw_path *steps,
                                    const struct gw_path **path)
{
    uint32_t depth = 0;

    *path = NULL;
    while (pointer.len > 0 && node->kind != GW_NODE_SCALAR && depth < GW_NODE_DEPTH_MAX) {
        size_t len = 1;
        while (len < pointer.len && pointer.data[len] != '/')
            len++;
        struct gw_str token = unescape(&load->arena, gw_str(pointer.data + 1, len - 1));
        struct gw_path step = {*path, token, 0};
        const struct gw_node *next;
        if (node->kind == GW_NODE_LIST) {
            int64_t index = -1;
            if (!gw_scalar_int(token, &index) || index < 0 || index >= node->count)
                break;
            step.key = GW_STR_NULL;
            step.index = (uint32_t)index;
            next = gw_node_at(node, step.index);
        } else {
            next = gw_node_get(node, token);
        }
        if (next == NULL)
            break;
        node = next;
        steps[depth] = step;
        *path = &steps[depth++];
        pointer = gw_str(pointer.data + len, pointer.len - len);
    }
    return node;
}

static struct gw_str field(lua_State *L, const char *name)
{
    struct gw_str text = GW_STR("");

    lua_getfield(L, -1, name);
    if (lua_type(L, -1) == LUA_TSTRING)
        text.data = lua_tolstring(L, -1, &text.len);
    lua_pop(L, 1); /* the fault's table still holds it */
    return text;
}

/* The fault at the top of L's stack. */
static void tell(struct gw_load *load, lua_State *L, const struct gw_node *conf,
                 const struct gw_schema_at *at)
{
    struct gw_str message = field(L, "message"), keyword = field(L, "keyword");
    struct gw_path steps[GW_NODE_DEPTH_MAX];
    struct gw_buf text = GW_BUF_INIT;
    const struct gw_path *path;
    const struct gw_node *node = follow(load, conf, field(L, "instance"), steps, &path);

    gw_path_add(path, at->path, &text);
    gw_report_fault(load->report, node->where.line == 0 ? at->where : node->where,
                    gw_buf_len(&text) == 0 ? GW_STR("") : gw_buf_str(&text), "%.*s",
                    GW_STR_ARG(message));
    if (keyword.len > 0)
        gw_report_hint(load->report, "the plugin's schema says so at %.*s", GW_STR_ARG(keyword));
    gw_buf_fini(&text);
}

bool gw_load_validate(struct gw_load *load, const struct gw_load_plugin *plugin,
                      const struct gw_node *conf, const struct gw_schema_at *at)
{
    struct gw_task *task = gw_task_new(load->vm, GW_IN_LOAD, NULL, NULL, NULL);
    lua_State *co = gw_task_thread(task);
    bool fits = false;

    lua_rawgeti(co, LUA_REGISTRYINDEX, plugin->validator_ref);
    push_node(co, conf, gw_json_state_of(co)->array_ref);
    if (gw_task_resume(task, 1) != GW_TASK_DONE) {
        gw_report_fault(load->report, at->where, at->path, "%s", load->vm->fault);
    } else if (lua_toboolean(co, 1)) {
        fits = true;
    } else {
        int count = (int)lua_objlen(co, 2);
        for (int i = 1; i <= count; i++) {
            lua_rawgeti(co, 2, i);
            tell(load, co, conf, at);
            lua_pop(co, 1);
        }
    }
    gw_task_end(task);
    return fits;
}
