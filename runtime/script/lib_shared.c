/* gw.shared.NAME: the dictionaries in shared memory. The functions are in
 * lua/gateway/shared.lua; they reach the dictionary by FFI through a box that lives here.
 * A box outlives its dictionary: gw_lib_shared_sweep() empties those whose name is gone, and
 * an empty one looks its name up again at each use. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "script/lib_rows.h"
#include "shm/shared.h"

#define NAME_BYTES_MAX 256

struct gw_script_dict {
    struct gw_dict *dict; /* NULL: there is none of that name now */
    struct gw_loop *loop;
    struct gw_shared_set *set;
    struct gw_script_dict *next;
    size_t name_len;
    char name[];
};

static uint64_t now(const struct gw_script_dict *box)
{
    return box->loop != NULL ? gw_loop_wall_ms(box->loop) : gw_time_real_ms();
}

/* False: the dictionary is not there (GW_CLOSED in Lua), or there is no box: a method was called
 * on something else. */
static bool ready(struct gw_script_dict *box)
{
    if (box == NULL)
        return false;
    if (box->dict == NULL && box->set != NULL)
        box->dict = gw_shared_set_dict(box->set, box->name, box->name_len);
    return box->dict != NULL;
}

/* Called by lua/gateway/shared.lua; the names stand in lua/gateway/cdef_lib.lua too. */
int gw_ffi_dict_get(struct gw_script_dict *box, const char *key, size_t len,
                    struct gw_dict_value *out);
int gw_ffi_dict_set(struct gw_script_dict *box, const char *key, size_t len, int how,
                    const struct gw_dict_value *value);
int gw_ffi_dict_incr(struct gw_script_dict *box, const char *key, size_t len,
                     struct gw_dict_incr *incr);
int gw_ffi_dict_delete(struct gw_script_dict *box, const char *key, size_t len);
int gw_ffi_dict_expire(struct gw_script_dict *box, const char *key, size_t len, double ttl_ms);
int gw_ffi_dict_ttl(struct gw_script_dict *box, const char *key, size_t len, double *ttl_ms);
int gw_ffi_dict_push(struct gw_script_dict *box, const char *key, size_t len, bool left,
                     const struct gw_dict_value *value, uint32_t *count);
int gw_ffi_dict_pop(struct gw_script_dict *box, const char *key, size_t len, bool left,
                    struct gw_dict_value *out);
int gw_ffi_dict_llen(struct gw_script_dict *box, const char *key, size_t len, uint32_t *count);
int gw_ffi_dict_take(struct gw_script_dict *box, const char *key, size_t len,
                     struct gw_dict_take *take);
int gw_ffi_dict_hit(struct gw_script_dict *box, const char *key, size_t len,
                    struct gw_dict_hit *hit);
int gw_ffi_dict_flush(struct gw_script_dict *box);

int gw_ffi_dict_get(struct gw_script_dict *box, const char *key, size_t len,
                    struct gw_dict_value *out)
{
    return ready(box) ? (int)gw_dict_get(box->dict, key, len, now(box), out) : GW_CLOSED;
}

int gw_ffi_dict_set(struct gw_script_dict *box, const char *key, size_t len, int how,
                    const struct gw_dict_value *value)
{
    return ready(box) ? (int)gw_dict_set(box->dict, key, len, now(box), how, value) : GW_CLOSED;
}

int gw_ffi_dict_incr(struct gw_script_dict *box, const char *key, size_t len,
                     struct gw_dict_incr *incr)
{
    return ready(box) ? (int)gw_dict_incr(box->dict, key, len, now(box), incr) : GW_CLOSED;
}

int gw_ffi_dict_delete(struct gw_script_dict *box, const char *key, size_t len)
{
    return ready(box) ? (int)gw_dict_delete(box->dict, key, len, now(box)) : GW_CLOSED;
}

int gw_ffi_dict_expire(struct gw_script_dict *box, const char *key, size_t len, double ttl_ms)
{
    if (!ready(box))
        return GW_CLOSED;
    return (int)gw_dict_expire(box->dict, key, len, now(box), (uint64_t)ttl_ms);
}

int gw_ffi_dict_ttl(struct gw_script_dict *box, const char *key, size_t len, double *ttl_ms)
{
    uint64_t left = 0;
    enum gw_rc rc = GW_CLOSED;

    if (ready(box))
        rc = gw_dict_ttl(box->dict, key, len, now(box), &left);
    *ttl_ms = (double)left;
    return (int)rc;
}

int gw_ffi_dict_push(struct gw_script_dict *box, const char *key, size_t len, bool left,
                     const struct gw_dict_value *value, uint32_t *count)
{
    if (!ready(box))
        return GW_CLOSED;
    return left ? (int)gw_dict_lpush(box->dict, key, len, now(box), value, count)
                : (int)gw_dict_rpush(box->dict, key, len, now(box), value, count);
}

int gw_ffi_dict_pop(struct gw_script_dict *box, const char *key, size_t len, bool left,
                    struct gw_dict_value *out)
{
    if (!ready(box))
        return GW_CLOSED;
    return left ? (int)gw_dict_lpop(box->dict, key, len, now(box), out)
                : (int)gw_dict_rpop(box->dict, key, len, now(box), out);
}

int gw_ffi_dict_llen(struct gw_script_dict *box, const char *key, size_t len, uint32_t *count)
{
    return ready(box) ? (int)gw_dict_llen(box->dict, key, len, now(box), count) : GW_CLOSED;
}

int gw_ffi_dict_take(struct gw_script_dict *box, const char *key, size_t len,
                     struct gw_dict_take *take)
{
    return ready(box) ? (int)gw_dict_take(box->dict, key, len, now(box), take) : GW_CLOSED;
}

int gw_ffi_dict_hit(struct gw_script_dict *box, const char *key, size_t len,
                    struct gw_dict_hit *hit)
{
    return ready(box) ? (int)gw_dict_hit(box->dict, key, len, now(box), hit) : GW_CLOSED;
}

int gw_ffi_dict_flush(struct gw_script_dict *box)
{
    return ready(box) ? (int)gw_dict_flush(box->dict) : GW_CLOSED;
}

/* find(name) -> box as lightuserdata, or nil   [-0, +1]. For the Lua half only. Where there is no
 * shared memory at all (the loader), every name has an empty box: its use then fails. */
static int shared_find(lua_State *L)
{
    struct gw_vm *vm = gw_vm_of(L);
    struct gw_shared_set *set = gw_vm_shared(vm);
    struct gw_script_dict *box, **head = (struct gw_script_dict **)gw_vm_data(vm, GW_LIB_SHARED);
    struct gw_dict *dict = NULL;
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);

    if (set != NULL && len > 0)
        dict = gw_shared_set_dict(set, name, len);
    if ((set != NULL && dict == NULL) || len > NAME_BYTES_MAX) {
        lua_pushnil(L);
        return 1;
    }
    box = calloc(1, sizeof(*box) + len + 1);
    if (box == NULL)
        return luaL_error(L, "shared: out of memory");
    box->dict = dict;
    box->loop = gw_vm_loop(vm);
    box->set = set;
    box->name_len = len;
    memcpy(box->name, name, len);
    box->next = *head;
    *head = box;
    lua_pushlightuserdata(L, box);
    return 1;
}

/* keys(box, max) -> list | nil, code, code   [-0, +1|+3]. For the Lua half only. */
static int shared_keys(lua_State *L)
{
    struct gw_script_dict *box = lua_touserdata(L, 1);
    uint32_t max = (uint32_t)luaL_checknumber(L, 2), count = 0, len;
    struct gw_buf buf = GW_BUF_INIT;
    enum gw_rc rc = GW_CLOSED;

    if (ready(box))
        rc = gw_dict_keys(box->dict, now(box), max, &buf, &count);
    if (rc != GW_OK) {
        gw_buf_fini(&buf);
        return gw_lib_fail(L, rc, gw_rc_code(rc));
    }
    /* Lua owns the copy before a table is made of it: making one may raise. */
    size_t bytes = gw_buf_len(&buf);
    char *copy = malloc(bytes + 1);
    if (copy == NULL) {
        gw_buf_fini(&buf);
        return gw_lib_fail(L, GW_NOMEM, gw_rc_code(GW_NOMEM));
    }
    if (bytes > 0)
        memcpy(copy, gw_buf_str(&buf).data, bytes);
    gw_buf_fini(&buf);
    lua_pushlstring(L, copy, bytes);
    free(copy);
    const char *at = lua_tostring(L, -1);
    lua_createtable(L, (int)count, 0);
    for (uint32_t i = 1; i <= count; i++, at += len) {
        memcpy(&len, at, sizeof(len));
        at += sizeof(len);
        lua_pushlstring(L, at, len);
        lua_rawseti(L, -2, (int)i);
    }
    return 1;
}

void gw_lib_push_codes(lua_State *L)
{
    lua_newtable(L);
    for (int rc = 0; rc < GW_RC_COUNT; rc++) {
        lua_pushstring(L, gw_rc_code((enum gw_rc)rc));
        lua_rawseti(L, -2, rc);
    }
}

static int refuse_set(lua_State *L)
{
    return luaL_error(L, "%s is read-only: %s cannot be set", lua_tostring(L, lua_upvalueindex(1)),
                      luaL_typename(L, 2)[0] == 's' ? lua_tostring(L, 2) : luaL_typename(L, 2));
}

/* Replaces what is at the top (the value of __index: a table or function) by a userdata that
 * reads as it; `call` may be NULL. Nothing gets past it, rawset() neither. */
void gw_lib_push_object(lua_State *L, const char *name, lua_CFunction call)
{
    lua_newuserdata(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, name);
    lua_pushcclosure(L, refuse_set, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__metatable");
    if (call != NULL) {
        lua_pushcfunction(L, call);
        lua_setfield(L, -2, "__call");
    }
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

void gw_lib_shared_open(lua_State *L, struct gw_vm *vm)
{
    gw_vm_require(L, "shared");
    lua_getfield(L, -1, "open");
    lua_pushcfunction(L, shared_find);
    lua_pushcfunction(L, shared_keys);
    gw_lib_push_codes(L);
    lua_call(L, 3, 1);
    lua_remove(L, -2);
    gw_lib_push_object(L, "gw.shared", NULL);
}

void gw_lib_shared_sweep(struct gw_vm *vm)
{
    struct gw_script_dict *box = *gw_vm_data(vm, GW_LIB_SHARED);

    for (; box != NULL; box = box->next)
        box->dict =
            box->set != NULL ? gw_shared_set_dict(box->set, box->name, box->name_len) : NULL;
}

void gw_lib_shared_close(struct gw_vm *vm)
{
    struct gw_script_dict *box = *gw_vm_data(vm, GW_LIB_SHARED), *next;

    for (; box != NULL; box = next) {
        next = box->next;
        free(box);
    }
    *gw_vm_data(vm, GW_LIB_SHARED) = NULL;
}
