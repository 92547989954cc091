#include "script/value.h"

#include <assert.h>
#include <lauxlib.h>
#include <math.h>
#include <string.h>

static void write_u32(struct gw_buf *out, size_t value)
{
    uint32_t n = (uint32_t)value;

    gw_buf_add(out, &n, sizeof(n));
}

static void write_scalar(const struct gw_node *node, struct gw_buf *out)
{
    struct gw_str text;
    double number;
    bool flag;

    if (gw_node_is_null(node)) {
        gw_buf_add(out, "n", 1);
    } else if (gw_node_bool(node, &flag)) {
        gw_buf_add(out, flag ? "t" : "f", 1);
    } else if (node->scalar != GW_SCALAR_STRING && gw_node_number(node, &number)) {
        gw_buf_add(out, "d", 1);
        gw_buf_add(out, &number, sizeof(number));
    } else {
        text = node->text;
        gw_buf_add(out, "s", 1);
        write_u32(out, text.len);
        gw_buf_add_str(out, text);
    }
}

void gw_value_write(const struct gw_node *node, struct gw_buf *out)
{
    if (node == NULL) {
        gw_buf_add(out, "m", 1);
        write_u32(out, 0);
        return;
    }
    if (node->kind == GW_NODE_SCALAR) {
        write_scalar(node, out);
        return;
    }
    gw_buf_add(out, node->kind == GW_NODE_LIST ? "l" : "m", 1);
    write_u32(out, node->count);
    for (const struct gw_node *n = gw_node_first(node); n != NULL; n = n->next) {
        if (node->kind == GW_NODE_MAP) {
            write_u32(out, n->key.len);
            gw_buf_add_str(out, n->key);
        }
        gw_value_write(n, out);
    }
}

static const char *take(struct gw_str *in, size_t len)
{
    const char *at = in->data;

    assert(in->len >= len);
    in->data += len;
    in->len -= len;
    return at;
}

static uint32_t take_u32(struct gw_str *in)
{
    uint32_t n;

    memcpy(&n, take(in, sizeof(n)), sizeof(n));
    return n;
}

static void push_value(lua_State *L, struct gw_str *in)
{
    char tag = *take(in, 1);
    uint32_t count;
    double number;

    luaL_checkstack(L, 4, "conf too deep");
    switch (tag) {
    case 't':
    case 'f':
        lua_pushboolean(L, tag == 't');
        return;
    case 'd':
        memcpy(&number, take(in, sizeof(number)), sizeof(number));
        lua_pushnumber(L, number);
        return;
    case 's':
        count = take_u32(in);
        lua_pushlstring(L, take(in, count), count);
        return;
    case 'l':
    case 'm':
        count = take_u32(in);
        lua_createtable(L, tag == 'l' ? (int)count : 0, tag == 'm' ? (int)count : 0);
        for (uint32_t i = 1; i <= count; i++) {
            if (tag == 'm') {
                uint32_t len = take_u32(in);
                lua_pushlstring(L, take(in, len), len);
            } else {
                lua_pushinteger(L, (lua_Integer)i);
            }
            push_value(L, in);
            lua_rawset(L, -3);
        }
        return;
    default:
        lua_pushnil(L);
        return;
    }
}

void gw_value_push(lua_State *L, struct gw_str bytes)
{
    push_value(L, &bytes);
}

/* ---- Lua to tree ---- */

static bool key_of_list(struct gw_str key)
{
    static const struct gw_str names[] = {
        {"required", 8},
        {"enum", 4},
        {"examples", 8},
        {"type", 4},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (gw_str_eq(key, names[i]))
            return true;
    return false;
}

/* At `index` a table without members: is it a list? `siblings` is the map that it is in. */
static bool empty_is_list(lua_State *L, struct gw_str key, int siblings)
{
    bool list = key_of_list(key);

    if (siblings != 0 && gw_str_eq(key, GW_STR("default"))) {
        lua_getfield(L, siblings, "type");
        list = lua_isstring(L, -1) && strcmp(lua_tostring(L, -1), "array") == 0;
        lua_pop(L, 1);
    }
    return list;
}

static enum gw_rc to_tree(lua_State *L, int index, struct gw_arena *arena, struct gw_str key,
                          int siblings, int depth, struct gw_node **out, struct gw_err *err);

static enum gw_rc list_to_tree(lua_State *L, int index, struct gw_arena *arena, int depth,
                               struct gw_node **out, struct gw_err *err)
{
    size_t count = lua_objlen(L, index), seen = 0;
    struct gw_node *list = gw_node_new_list(arena), *item;

    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1))
        seen++;
    if (seen != count)
        return gw_err_set(err, GW_INVALID, "a list with other keys or holes in it");
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, index, (int)i);
        enum gw_rc rc = to_tree(L, lua_gettop(L), arena, GW_STR_NULL, 0, depth + 1, &item, err);
        lua_pop(L, 1);
        if (rc != GW_OK) {
            gw_err_prefix(err, "[%zu]", i);
            return rc;
        }
        gw_node_push(list, item);
    }
    *out = list;
    return GW_OK;
}

static enum gw_rc map_to_tree(lua_State *L, int index, struct gw_arena *arena, int depth,
                              struct gw_node **out, struct gw_err *err)
{
    struct gw_node *map = gw_node_new_map(arena), *item;

    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        struct gw_str key;
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 2);
            return gw_err_set(err, GW_INVALID, "a key that is a %s", "number or other non-string");
        }
        key.data = lua_tolstring(L, -2, &key.len);
        enum gw_rc rc = to_tree(L, lua_gettop(L), arena, key, index, depth + 1, &item, err);
        if (rc != GW_OK) {
            gw_err_prefix(err, ".%s", key.data);
            lua_pop(L, 2);
            return rc;
        }
        gw_node_set(arena, map, key, item);
    }
    *out = map;
    return GW_OK;
}

static enum gw_rc to_tree(lua_State *L, int index, struct gw_arena *arena, struct gw_str key,
                          int siblings, int depth, struct gw_node **out, struct gw_err *err)
{
    struct gw_str text;

    if (depth > GW_NODE_DEPTH_MAX || !lua_checkstack(L, 8))
        return gw_err_set(err, GW_INVALID, ": deeper than %d levels (or a cycle)",
                          GW_NODE_DEPTH_MAX);
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        *out = gw_node_new_bool(arena, lua_toboolean(L, index) != 0);
        return GW_OK;
    case LUA_TNUMBER:
        *out = gw_node_new_number(arena, lua_tonumber(L, index));
        return GW_OK;
    case LUA_TSTRING:
        text.data = lua_tolstring(L, index, &text.len);
        *out = gw_node_new_string(arena, text);
        return GW_OK;
    case LUA_TLIGHTUSERDATA: /* gw.json.null */
        if (lua_touserdata(L, index) != NULL)
            return gw_err_set(err, GW_INVALID, ": a pointer is not possible here");
        *out = gw_node_new_null(arena);
        return GW_OK;
    case LUA_TTABLE:
        if (lua_objlen(L, index) > 0)
            return list_to_tree(L, index, arena, depth, out, err);
        lua_pushnil(L);
        if (lua_next(L, index) == 0) {
            *out =
                empty_is_list(L, key, siblings) ? gw_node_new_list(arena) : gw_node_new_map(arena);
            return GW_OK;
        }
        lua_pop(L, 2);
        return map_to_tree(L, index, arena, depth, out, err);
    default:
        return gw_err_set(err, GW_INVALID, ": a %s is not possible here", luaL_typename(L, index));
    }
}

enum gw_rc gw_value_tree(lua_State *L, int index, struct gw_arena *arena, struct gw_node **out,
                         struct gw_err *err)
{
    int top = lua_gettop(L);
    enum gw_rc rc;

    if (index < 0)
        index = top + 1 + index;
    rc = to_tree(L, index, arena, GW_STR_NULL, 0, 0, out, err);
    lua_settop(L, top);
    return rc;
}
