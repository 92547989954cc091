/* gw.metrics: counters, gauges and histograms of all workers, and their text. Objects and the
 * slots that they keep are in lua/gateway/metrics.lua; counting itself is a call by FFI. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "script/lib_rows.h"
#include "shm/shared.h"

static struct gw_metrics *metrics_of(lua_State *L)
{
    struct gw_shared_set *set = gw_vm_shared(gw_vm_of(L));

    return set != NULL ? gw_shared_set_metrics(set) : NULL;
}

/* The strings of the list at `index` stay where they are; false: too many, or not strings. */
static bool read_strings(lua_State *L, int index, struct gw_str *out, uint32_t max, uint32_t *count)
{
    size_t len = lua_objlen(L, index);

    if (len > max)
        return false;
    for (uint32_t i = 0; i < len; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        bool good = lua_type(L, -1) == LUA_TSTRING;
        if (good)
            out[i].data = lua_tolstring(L, -1, &out[i].len);
        lua_pop(L, 1); /* the list keeps it alive */
        if (!good)
            return false;
    }
    *count = (uint32_t)len;
    return true;
}

static bool read_buckets(lua_State *L, int index, double *out, uint32_t *count)
{
    size_t len = lua_istable(L, index) ? lua_objlen(L, index) : 0;

    if (len > GW_METRICS_BUCKETS_MAX)
        return false;
    for (uint32_t i = 0; i < len; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        bool good = lua_type(L, -1) == LUA_TNUMBER;
        out[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
        if (!good)
            return false;
    }
    *count = (uint32_t)len;
    return true;
}

/* register(type, name, help, labels, buckets) -> id | nil, message, code   [-0, +1|+3]
 * For the Lua half, which has checked the types. */
static int metrics_register(lua_State *L)
{
    struct gw_metrics *metrics = metrics_of(L);
    struct gw_str labels[GW_METRICS_LABELS_MAX];
    double buckets[GW_METRICS_BUCKETS_MAX];
    struct gw_metrics_def def = {.labels = labels, .buckets = buckets};
    struct gw_err err = {{0}};
    uint32_t id;

    if (metrics == NULL)
        return gw_lib_fail(L, GW_UNSUPPORTED, "metrics: there are none here");
    def.type = (uint32_t)luaL_checkinteger(L, 1);
    def.name.data = luaL_checklstring(L, 2, &def.name.len);
    def.help.data = luaL_checklstring(L, 3, &def.help.len);
    luaL_checktype(L, 4, LUA_TTABLE);
    if (!read_strings(L, 4, labels, GW_METRICS_LABELS_MAX, &def.label_count))
        return gw_lib_fail(L, GW_INVALID, "metrics: labels: up to 16 names expected");
    if (!read_buckets(L, 5, buckets, &def.bucket_count))
        return gw_lib_fail(L, GW_INVALID, "metrics: buckets: up to 64 numbers expected");
    enum gw_rc rc = gw_metrics_register(metrics, &def, &id, &err);
    if (rc != GW_OK)
        return gw_lib_fail(L, rc, err.text);
    lua_pushnumber(L, id);
    return 1;
}

/* series(id, list of values) -> slot | nil, message, code   [-0, +1|+3] */
static int metrics_series(lua_State *L)
{
    struct gw_metrics *metrics = metrics_of(L);
    struct gw_str values[GW_METRICS_LABELS_MAX];
    uint32_t count, slot;

    if (metrics == NULL)
        return gw_lib_fail(L, GW_UNSUPPORTED, "metrics: there are none here");
    luaL_checktype(L, 2, LUA_TTABLE);
    if (!read_strings(L, 2, values, GW_METRICS_LABELS_MAX, &count))
        return gw_lib_fail(L, GW_INVALID, NULL);
    enum gw_rc rc =
        gw_metrics_series(metrics, (uint32_t)luaL_checkinteger(L, 1), values, count, &slot);
    if (rc != GW_OK)
        return gw_lib_fail(L, rc, NULL);
    lua_pushnumber(L, slot);
    return 1;
}

/* metrics.render() -> text for Prometheus | nil, message, code   [-0, +1|+3] */
static int metrics_render(lua_State *L)
{
    struct gw_metrics *metrics = metrics_of(L);
    struct gw_buf *buf = *gw_vm_data(gw_vm_of(L), GW_LIB_METRICS);

    if (metrics == NULL)
        return gw_lib_fail(L, GW_UNSUPPORTED, "metrics: there are none here");
    /* Kept by the VM until the string is made, which may raise. */
    gw_buf_fini(buf);
    gw_metrics_render(metrics, buf);
    lua_pushlstring(L, gw_buf_len(buf) > 0 ? gw_buf_str(buf).data : "", gw_buf_len(buf));
    gw_buf_fini(buf);
    return 1;
}

void gw_lib_metrics_open(lua_State *L, struct gw_vm *vm)
{
    struct gw_metrics *metrics = metrics_of(L);
    struct gw_buf *buf = calloc(1, sizeof(*buf));

    if (buf == NULL)
        abort();
    *gw_vm_data(vm, GW_LIB_METRICS) = buf;

    gw_vm_require(L, "metrics");
    lua_getfield(L, -1, "open");
    lua_pushcfunction(L, metrics_register);
    lua_pushcfunction(L, metrics_series);
    if (metrics != NULL)
        lua_pushlightuserdata(L, metrics);
    else
        lua_pushnil(L);
    lua_call(L, 3, 1);
    lua_remove(L, -2);
    lua_pushcfunction(L, metrics_render);
    lua_setfield(L, -2, "render");
}

void gw_lib_metrics_close(struct gw_vm *vm)
{
    struct gw_buf *buf = *gw_vm_data(vm, GW_LIB_METRICS);

    if (buf != NULL)
        gw_buf_fini(buf);
    free(buf);
    *gw_vm_data(vm, GW_LIB_METRICS) = NULL;
}
