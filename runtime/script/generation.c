/* From an image to what a worker runs: modules, instances with their state, drivers. Prepared in
 * slices beside the generation that serves; what did not change is taken over from it. */
#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "conf/load.h"
#include "script/lib_rows.h"
#include "script/script_private.h"
#include "script/value.h"

#define PATHS_MAX 100u /* of one instance */

static const char *const phase_names[GW_PHASE_COUNT] = {
    [GW_PHASE_REWRITE_GLOBAL] = "rewrite",
    [GW_PHASE_REWRITE] = "rewrite",
    [GW_PHASE_ACCESS] = "access",
    [GW_PHASE_BALANCER] = "balancer",
    [GW_PHASE_HEADER_FILTER] = "header_filter",
    [GW_PHASE_BODY_FILTER] = "body_filter",
    [GW_PHASE_LOG] = "log",
    [GW_PHASE_MESSAGE] = "message",
};

static const struct gw_script_source *sources(const struct gw_script_generation *g)
{
    return GW_ITEMS(g->conf, g->image->sources, struct gw_script_source);
}

static const struct gw_script_binding *bindings(const struct gw_script_generation *g)
{
    return GW_ITEMS(g->conf, g->image->bindings, struct gw_script_binding);
}

/* ---- calling Lua ---- */

/* Runs the function below `args` values of `task`; results stay on its stack. */
static enum gw_rc run_task(struct gw_script_generation *g, struct gw_task *task, int args,
                           struct gw_err *err)
{
    struct gw_vm *vm = g->script->vm;

    if (gw_task_resume(task, args) == GW_TASK_DONE)
        return GW_OK;
    return gw_err_set(err, GW_INVALID, "%s", vm->fault);
}

/* [-0, +1] */
static void push_from(lua_State *L, int ref, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

static struct gw_str route_name(const struct gw_script_generation *g,
                                const struct gw_script_binding *b)
{
    if (b->route == GW_NONE)
        return GW_STR("");
    return gw_ref_str(g->conf,
                      GW_ITEMS(g->conf, g->conf->routes, struct gw_conf_route)[b->route].name);
}

/* find(key) of a worker: only what the loader has put into the image. */
static int find(lua_State *L)
{
    const struct gw_conf *conf = lua_touserdata(L, lua_upvalueindex(1));
    const struct gw_script_image *image = gw_script_image(conf);
    struct gw_str key;

    key.data = luaL_checklstring(L, 1, &key.len);
    for (uint32_t i = 0; i < image->sources.len; i++) {
        const struct gw_script_source *s =
            &GW_ITEMS(conf, image->sources, struct gw_script_source)[i];
        if (!gw_str_eq(key, gw_ref_str(conf, s->key)))
            continue;
        lua_createtable(L, 0, 4);
        lua_pushlstring(L, gw_ref_str(conf, s->chunk).data, s->chunk.len);
        lua_setfield(L, -2, "chunk");
        lua_pushlstring(L, gw_ref_str(conf, s->text).data, s->text.len);
        lua_setfield(L, -2, "text");
        lua_pushboolean(L, s->free);
        lua_setfield(L, -2, "free");
        lua_pushlstring(L, (const char *)&s->hash, sizeof(s->hash));
        lua_setfield(L, -2, "hash");
        return 1;
    }
    lua_pushnil(L);
    lua_pushfstring(L,
                    "module '%s' was not required while the plugins were loaded: "
                    "require it at the top of the file",
                    luaL_checkstring(L, 2));
    return 2;
}

/* ---- modules and plugins ---- */

static enum gw_rc open_loader(struct gw_script_generation *g, struct gw_err *err)
{
    struct gw_vm *vm = g->script->vm;
    struct gw_task *task = gw_task_new(vm, GW_IN_LOAD, NULL, NULL, NULL);
    lua_State *co = gw_task_thread(task);
    enum gw_rc rc;

    push_from(co, vm->sandbox_ref, "loader");
    lua_pushlightuserdata(co, (void *)g->conf);
    lua_pushcclosure(co, find, 1);
    rc = run_task(g, task, 1, err);
    if (rc == GW_OK) {
        lua_settop(co, 1);
        lua_xmove(co, vm->L, 1);
        g->loader_ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    }
    gw_task_end(task);
    return rc;
}

/* Pushes loader.units[key], or nil. [-0, +1] */
static void push_unit(lua_State *L, int loader_ref, struct gw_str key)
{
    push_from(L, loader_ref, "units");
    lua_pushlstring(L, key.data, key.len);
    lua_rawget(L, -2);
    lua_remove(L, -2);
}

/* Same code, modules included: the one that is loaded goes on, with all that it holds. */
static void adopt(struct gw_script_generation *g, const struct gw_script_source *s)
{
    const struct gw_script_generation *old = g->script->current;
    lua_State *L = g->script->vm->L;
    struct gw_str key = gw_ref_str(g->conf, s->key), hash;

    if (old == NULL || old->loader_ref == LUA_NOREF)
        return;
    push_unit(L, old->loader_ref, key);
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "hash");
        hash.data = lua_tolstring(L, -1, &hash.len);
        if (hash.data != NULL && gw_str_eq(hash, gw_str((const char *)&s->hash, sizeof(s->hash)))) {
            push_from(L, g->loader_ref, "units");
            lua_pushlstring(L, key.data, key.len);
            lua_pushvalue(L, -4);
            lua_rawset(L, -3);
        }
    }
    lua_settop(L, 0);
}

static enum gw_rc load_plugin(struct gw_script_generation *g, const struct gw_script_source *s,
                              struct gw_err *err)
{
    struct gw_vm *vm = g->script->vm;
    struct gw_str key = gw_ref_str(g->conf, s->key);
    struct gw_task *task;
    lua_State *co;
    enum gw_rc rc;

    if (!s->is_plugin)
        return GW_OK; /* comes when a plugin requires it */
    push_unit(vm->L, g->loader_ref, key);
    bool there = lua_istable(vm->L, -1);
    lua_pop(vm->L, 1);
    if (there)
        return GW_OK;
    task = gw_task_new(vm, GW_IN_LOAD, NULL, NULL, NULL);
    co = gw_task_thread(task);
    push_from(co, vm->sandbox_ref, "load_plugin");
    lua_rawgeti(co, LUA_REGISTRYINDEX, g->loader_ref);
    lua_pushlstring(co, key.data + 7, key.len - 7); /* behind "plugin:" */
    rc = run_task(g, task, 2, err);
    if (rc == GW_OK && !lua_istable(co, 1))
        rc = gw_err_set(err, GW_INVALID, "%s", lua_isstring(co, 2) ? lua_tostring(co, 2) : "?");
    gw_task_end(task);
    return rc;
}

/* ---- instances ---- */

static int by_identity(const void *a, const void *b)
{
    uint64_t x = (*(struct gw_instance *const *)a)->identity;
    uint64_t y = (*(struct gw_instance *const *)b)->identity;

    return x < y ? -1 : x > y;
}

static struct gw_instance *same_instance(const struct gw_script_generation *old, uint64_t identity)
{
    struct gw_instance key = {.identity = identity}, *wanted = &key, **found;

    if (old == NULL || old->image == NULL)
        return NULL;
    found =
        bsearch(&wanted, old->sorted, old->image->bindings.len, sizeof(*old->sorted), by_identity);
    return found != NULL ? *found : NULL;
}

/* The one that stood in the same place with other code or another conf. */
static struct gw_instance *predecessor(const struct gw_script_generation *old,
                                       const struct gw_instance *of)
{
    for (uint32_t i = 0; old != NULL && old->image != NULL && i < old->image->bindings.len; i++) {
        struct gw_instance *other = old->instances[i];
        if (strcmp(other->plugin, of->plugin) == 0 && strcmp(other->id, of->id) == 0 &&
            strcmp(other->route, of->route) == 0)
            return other;
    }
    return NULL;
}

/* The conf as a frozen table of its own, and the plugin's table. */
static enum gw_rc give_conf(struct gw_script_generation *g, const struct gw_script_binding *b,
                            struct gw_instance *instance, struct gw_err *err)
{
    struct gw_vm *vm = g->script->vm;
    struct gw_task *task = gw_task_new(vm, GW_IN_INIT, instance, NULL, NULL);
    lua_State *co = gw_task_thread(task);
    enum gw_rc rc;

    push_unit(vm->L, g->loader_ref, gw_ref_str(g->conf, sources(g)[b->source].key));
    lua_getfield(vm->L, -1, "value");
    instance->plugin_ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    lua_pop(vm->L, 1);
    push_from(co, vm->sandbox_ref, "freeze");
    gw_value_push(co, gw_ref_str(g->conf, b->conf));
    rc = run_task(g, task, 1, err);
    if (rc == GW_OK) {
        lua_settop(co, 1);
        lua_xmove(co, vm->L, 1);
        instance->conf_ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    }
    gw_task_end(task);
    return rc;
}

static enum gw_rc check_frozen(struct gw_script_generation *g, const struct gw_script_binding *b,
                               struct gw_instance *instance, struct gw_err *err)
{
    struct gw_vm *vm = g->script->vm;
    struct gw_task *task = gw_task_new(vm, GW_IN_INIT, instance, NULL, NULL);
    lua_State *co = gw_task_thread(task);
    enum gw_rc rc;

    push_from(co, vm->sandbox_ref, "difference");
    lua_rawgeti(co, LUA_REGISTRYINDEX, instance->conf_ref);
    gw_value_push(co, gw_ref_str(g->conf, b->conf));
    rc = run_task(g, task, 2, err);
    if (rc == GW_OK && lua_isstring(co, 1))
        rc = gw_err_set(err, GW_INVALID, "init: conf is read-only: %s was changed",
                        lua_tostring(co, 1));
    gw_task_end(task);
    return rc;
}

static enum gw_rc run_init(struct gw_script_generation *g, struct gw_instance *instance,
                           struct gw_err *err)
{
    struct gw_vm *vm = g->script->vm;
    struct gw_task *task = gw_task_new(vm, GW_IN_INIT, instance, NULL, NULL);
    struct gw_instance *old = predecessor(g->script->current, instance);
    lua_State *co = gw_task_thread(task);
    enum gw_rc rc = GW_OK;

    push_from(co, instance->plugin_ref, "init");
    if (lua_isfunction(co, -1)) {
        lua_rawgeti(co, LUA_REGISTRYINDEX, instance->conf_ref);
        lua_rawgeti(co, LUA_REGISTRYINDEX, old != NULL ? old->state_ref : LUA_REFNIL);
        rc = run_task(g, task, 2, err);
        if (rc == GW_OK) {
            lua_settop(co, 1);
            lua_xmove(co, vm->L, 1);
            instance->state_ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
        }
    }
    gw_task_end(task);
    return rc;
}

/* The result of paths(conf) is at 1 of `co`; for C as strings, for the driver as a set. */
static enum gw_rc keep_paths(struct gw_instance *instance, lua_State *co, struct gw_err *err)
{
    uint32_t count = lua_istable(co, 1) ? (uint32_t)lua_objlen(co, 1) : 0;
    struct gw_str path;

    if (!lua_istable(co, 1) || count > PATHS_MAX)
        return gw_err_set(err, GW_INVALID, "paths: a list of at most %u paths is expected",
                          PATHS_MAX);
    gw_instance_make_paths(instance, count);
    lua_settop(co, 1);
    lua_createtable(co, 0, (int)count);
    for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(co, 1, (int)i + 1);
        if (lua_type(co, -1) != LUA_TSTRING)
            return gw_err_set(err, GW_INVALID, "paths: [%u] is no text", i + 1);
        path.data = lua_tolstring(co, -1, &path.len);
        gw_instance_add_path(instance, path);
        lua_pushboolean(co, 1);
        lua_rawset(co, 2);
    }
    lua_xmove(co, instance->vm->L, 1);
    instance->paths_ref = luaL_ref(instance->vm->L, LUA_REGISTRYINDEX);
    return GW_OK;
}

static enum gw_rc ask_paths(struct gw_script_generation *g, struct gw_instance *instance,
                            struct gw_err *err)
{
    struct gw_task *task = gw_task_new(g->script->vm, GW_IN_INIT, instance, NULL, NULL);
    lua_State *co = gw_task_thread(task);
    enum gw_rc rc = GW_OK;

    push_from(co, instance->plugin_ref, "paths");
    if (lua_isfunction(co, -1)) {
        lua_rawgeti(co, LUA_REGISTRYINDEX, instance->conf_ref);
        rc = run_task(g, task, 1, err);
        if (rc == GW_OK)
            rc = keep_paths(instance, co, err);
    }
    gw_task_end(task);
    return rc;
}

static void retire(struct gw_instance *instance)
{
    struct gw_vm *vm = instance->vm;
    struct gw_task *task;
    lua_State *co;

    gw_task_cancel_instance(vm, instance);
    for (const struct gw_lib *lib = gw_libs; lib->name != NULL; lib++)
        if (lib->retire != NULL)
            lib->retire(vm, instance);
    if (!instance->made)
        return;
    instance->made = false;
    task = gw_task_new(vm, GW_IN_STOP, instance, NULL, NULL);
    co = gw_task_thread(task);
    push_from(co, instance->plugin_ref, "stop");
    if (lua_isfunction(co, -1)) {
        lua_rawgeti(co, LUA_REGISTRYINDEX, instance->conf_ref);
        lua_rawgeti(co, LUA_REGISTRYINDEX, instance->state_ref);
        if (gw_task_resume(task, 2) != GW_TASK_DONE)
            gw_debug("plugin %s: stop() failed", instance->plugin); /* said by the task */
    }
    gw_task_end(task);
}

static void release(struct gw_instance *instance)
{
    if (instance == NULL)
        return;
    if (--instance->generations == 0)
        retire(instance);
    gw_instance_unref(instance);
}

/* As faults of the conf begin: "gateway.yaml:12:7: routes[3].plugins[0].jwt: ". */
static void prefix_place(const struct gw_script_generation *g, const struct gw_script_binding *b,
                         struct gw_err *err)
{
    const struct gw_conf *conf = g->conf;
    struct gw_str dir = gw_ref_str(conf, conf->dir), path = gw_ref_str(conf, b->path), file;

    if (b->where.line == 0 || b->where.file >= conf->files.len)
        return;
    file = gw_ref_str(conf, GW_ITEMS(conf, conf->files, struct gw_conf_file)[b->where.file].path);
    if (file.len > dir.len + 1 && memcmp(file.data, dir.data, dir.len) == 0 &&
        file.data[dir.len] == '/')
        file = gw_str(file.data + dir.len + 1, file.len - dir.len - 1);
    gw_err_prefix(err, "%.*s:%u:%u: %.*s: ", GW_STR_ARG(file), b->where.line, b->where.column,
                  GW_STR_ARG(path));
}

static enum gw_rc make_instance(struct gw_script_generation *g, uint32_t row, struct gw_err *err)
{
    const struct gw_script_binding *b = &bindings(g)[row];
    struct gw_instance *instance = same_instance(g->script->current, b->identity);
    enum gw_rc rc;

    if (instance != NULL) {
        instance->generations++;
        g->instances[row] = gw_instance_ref(instance);
        return GW_OK;
    }
    instance = gw_instance_new(g->script->vm, gw_ref_str(g->conf, b->plugin),
                               gw_ref_str(g->conf, b->id), route_name(g, b));
    if (instance == NULL)
        return gw_err_set(err, GW_LIMIT, "too many plugin instances");
    instance->generations = 1;
    instance->identity = b->identity;
    instance->deadline_ms = b->deadline_ms;
    instance->on_error = b->on_error;
    g->instances[row] = instance;
    rc = give_conf(g, b, instance, err);
    if (rc == GW_OK)
        rc = run_init(g, instance, err);
    if (rc == GW_OK) {
        instance->made = true;
        rc = ask_paths(g, instance, err);
    }
    if (rc == GW_OK)
        rc = check_frozen(g, b, instance, err);
    if (rc != GW_OK) {
        gw_err_prefix(err, "plugin %s%s%s: ", instance->plugin,
                      instance->route[0] != '\0' ? ", route " : "", instance->route);
        prefix_place(g, b, err);
    }
    return rc;
}

/* ---- drivers ---- */

static enum gw_rc compile_when(struct gw_script_generation *g, uint32_t row, struct gw_err *err)
{
    const struct gw_script_binding *b = &bindings(g)[row];
    struct gw_vm *vm = g->script->vm;
    struct gw_task *task;
    lua_State *co;
    enum gw_rc rc;

    if (b->when.len == 0)
        return GW_OK;
    task = gw_task_new(vm, GW_IN_LOAD, NULL, NULL, NULL);
    co = gw_task_thread(task);
    push_from(co, vm->sandbox_ref, "compile_when");
    lua_pushlstring(co, gw_ref_str(g->conf, b->when).data, b->when.len);
    lua_pushfstring(co, "when of %s", g->instances[row]->plugin);
    rc = run_task(g, task, 2, err);
    if (rc == GW_OK && !lua_isfunction(co, 1))
        rc = gw_err_set(err, GW_INVALID, "when: %s",
                        lua_isstring(co, 2) ? lua_tostring(co, 2) : "?");
    if (rc != GW_OK)
        prefix_place(g, b, err);
    if (rc == GW_OK) {
        lua_settop(co, 1);
        lua_xmove(co, vm->L, 1);
        g->whens[row] = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    }
    gw_task_end(task);
    return rc;
}

/* Has this binding code in this phase (the two rewrites are one function)? */
static bool runs_in(const struct gw_script_binding *b, enum gw_phase phase)
{
    if (phase == GW_PHASE_REWRITE_GLOBAL)
        return b->route == GW_NONE && (b->phases & (1u << GW_PHASE_REWRITE)) != 0;
    if (phase == GW_PHASE_REWRITE && b->route == GW_NONE)
        return false;
    return (b->phases & (1u << phase)) != 0;
}

static void push_step(lua_State *L, const struct gw_script_generation *g, uint32_t row,
                      enum gw_phase phase)
{
    const struct gw_script_binding *b = &bindings(g)[row];
    const struct gw_instance *instance = g->instances[row];

    lua_createtable(L, 0, 8);
    push_from(L, instance->plugin_ref, phase_names[phase]);
    lua_setfield(L, -2, "fn");
    lua_rawgeti(L, LUA_REGISTRYINDEX, instance->conf_ref);
    lua_setfield(L, -2, "conf");
    lua_rawgeti(L, LUA_REGISTRYINDEX, instance->state_ref);
    lua_setfield(L, -2, "state");
    lua_pushinteger(L, (lua_Integer)instance->number);
    lua_setfield(L, -2, "number");
    if (g->whens[row] != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, g->whens[row]);
        lua_setfield(L, -2, "when");
    }
    if (b->on_error == GW_ON_ERROR_SKIP) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "skip");
    }
    if (b->buffered) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "buffered");
    }
    if (instance->paths != NULL && phase <= GW_PHASE_REWRITE) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, instance->paths_ref);
        lua_setfield(L, -2, "paths");
    }
}

static enum gw_rc build_driver(struct gw_script_generation *g, uint32_t chain, enum gw_phase phase,
                               struct gw_err *err)
{
    const struct gw_script_chain *c =
        &GW_ITEMS(g->conf, g->image->chains, struct gw_script_chain)[chain];
    const uint32_t *rows = GW_ITEMS(g->conf, c->bindings, uint32_t);
    struct gw_vm *vm = g->script->vm;
    struct gw_task *task;
    lua_State *co;
    enum gw_rc rc = GW_OK;
    bool by_path = phase <= GW_PHASE_REWRITE;
    int steps = 0;

    task = gw_task_new(vm, GW_IN_LOAD, NULL, NULL, NULL);
    co = gw_task_thread(task);
    push_from(co, vm->driver_ref, "build");
    lua_newtable(co);
    for (uint32_t i = 0; i < c->bindings.len; i++)
        if (runs_in(&bindings(g)[rows[i]], phase)) {
            push_step(co, g, rows[i], phase);
            lua_rawseti(co, -2, ++steps);
            by_path = by_path && g->instances[rows[i]]->paths != NULL;
        }
    lua_pushstring(co, phase_names[phase]);
    if (steps > 0) {
        rc = run_task(g, task, 2, err);
        if (rc == GW_OK) {
            lua_settop(co, 2);
            lua_xmove(co, vm->L, 2);
            if (lua_isfunction(vm->L, -1)) {
                g->plans[chain] = luaL_ref(vm->L, LUA_REGISTRYINDEX);
            } else {
                if (lua_isnumber(vm->L, -1))
                    g->whole_from[chain] = (uint32_t)lua_tointeger(vm->L, -1);
                lua_pop(vm->L, 1);
            }
            g->drivers[chain * GW_PHASE_COUNT + phase] = luaL_ref(vm->L, LUA_REGISTRYINDEX);
            if (by_path)
                g->by_path[chain] |= (uint8_t)(1u << phase);
        }
    }
    gw_task_end(task);
    return rc;
}

bool gw_generation_wants_path(const struct gw_script_generation *g, uint32_t chain,
                              enum gw_phase phase, struct gw_str path)
{
    const struct gw_script_chain *c =
        &GW_ITEMS(g->conf, g->image->chains, struct gw_script_chain)[chain];
    const uint32_t *rows = GW_ITEMS(g->conf, c->bindings, uint32_t);

    if ((g->by_path[chain] & (1u << phase)) == 0)
        return true;
    for (uint32_t i = 0; i < c->bindings.len; i++) {
        const struct gw_instance *instance = g->instances[rows[i]];
        if (!runs_in(&bindings(g)[rows[i]], phase))
            continue;
        for (uint32_t k = 0; k < instance->paths_count; k++)
            if (gw_str_eq(instance->paths[k], path))
                return true;
    }
    return false;
}

static enum gw_rc build_chain(struct gw_script_generation *g, uint32_t chain, struct gw_err *err)
{
    for (int phase = 0; phase < GW_PHASE_COUNT; phase++) {
        enum gw_rc rc = build_driver(g, chain, (enum gw_phase)phase, err);
        if (rc != GW_OK)
            return rc;
    }
    return GW_OK;
}

/* ---- two phases ---- */

static int *no_refs(uint32_t count)
{
    int *refs = malloc((count + 1) * sizeof(int));

    if (refs == NULL)
        abort();
    for (uint32_t i = 0; i < count; i++)
        refs[i] = LUA_NOREF;
    return refs;
}

enum gw_rc gw_script_prepare(struct gw_script *script, const struct gw_conf *conf,
                             struct gw_script_generation **out, struct gw_err *err)
{
    struct gw_script_generation *g = calloc(1, sizeof(*g));
    enum gw_rc rc = GW_OK;

    if (g == NULL)
        return gw_err_set(err, GW_NOMEM, "out of memory");
    g->script = script;
    g->conf = conf;
    g->image = gw_script_image(conf);
    g->loader_ref = LUA_NOREF;
    g->stage = STAGE_DONE;
    if (g->image != NULL) {
        uint32_t rows = g->image->bindings.len;
        gw_lib_logfile_set_dir(script->vm, gw_ref_str(conf, conf->dir));
        g->stage = STAGE_ADOPT;
        g->instances = calloc(rows + 1, sizeof(struct gw_instance *));
        g->sorted = calloc(rows + 1, sizeof(struct gw_instance *));
        if (g->instances == NULL || g->sorted == NULL)
            abort();
        g->whens = no_refs(rows);
        g->drivers = no_refs(g->image->chains.len * GW_PHASE_COUNT);
        g->plans = no_refs(g->image->chains.len);
        g->whole_from = calloc(g->image->chains.len + 1, sizeof(*g->whole_from));
        if (g->whole_from == NULL)
            abort();
        g->by_path = calloc(g->image->chains.len + 1, 1);
        if (g->by_path == NULL)
            abort();
        rc = open_loader(g, err);
    }
    if (rc != GW_OK)
        gw_script_abort(g);
    else
        *out = g;
    return rc;
}

/* One row of the stage; advances. */
static enum gw_rc step(struct gw_script_generation *g, struct gw_err *err)
{
    const struct gw_ref rows[] = {
        [STAGE_ADOPT] = g->image->sources, [STAGE_LOAD] = g->image->sources,
        [STAGE_MAKE] = g->image->bindings, [STAGE_WHEN] = g->image->bindings,
        [STAGE_CHAIN] = g->image->chains,
    };
    uint32_t at = g->at++;

    if (at >= rows[g->stage].len) {
        g->stage++;
        g->at = 0;
        return GW_OK;
    }
    switch (g->stage) {
    case STAGE_ADOPT:
        adopt(g, &sources(g)[at]);
        return GW_OK;
    case STAGE_LOAD:
        return load_plugin(g, &sources(g)[at], err);
    case STAGE_MAKE:
        return make_instance(g, at, err);
    case STAGE_WHEN:
        return compile_when(g, at, err);
    case STAGE_CHAIN:
        return build_chain(g, at, err);
    case STAGE_DONE:
        break;
    }
    return GW_OK;
}

enum gw_rc gw_script_prepare_step(struct gw_script_generation *g, uint32_t slice_us,
                                  struct gw_err *err)
{
    uint64_t until = gw_time_mono_us() + slice_us;

    while (g->stage != STAGE_DONE) {
        enum gw_rc rc = step(g, err);
        if (rc != GW_OK)
            return rc;
        if (g->stage != STAGE_DONE && gw_time_mono_us() >= until)
            return GW_AGAIN;
    }
    return GW_OK;
}

void gw_script_commit(struct gw_script_generation *g)
{
    assert(g->stage == STAGE_DONE);
    for (uint32_t i = 0; g->image != NULL && i < g->image->bindings.len; i++) {
        g->instances[i]->deadline_ms = bindings(g)[i].deadline_ms;
        g->instances[i]->on_error = bindings(g)[i].on_error;
        g->sorted[i] = g->instances[i];
    }
    if (g->image != NULL)
        qsort(g->sorted, g->image->bindings.len, sizeof(*g->sorted), by_identity);
    g->script->current = g;
}

static void free_generation(struct gw_script_generation *g)
{
    lua_State *L = g->script->vm->L;

    if (g->script->current == g)
        g->script->current = NULL;
    if (g->image != NULL) {
        /* Last made, first stopped. */
        for (uint32_t i = g->image->bindings.len; i-- > 0;)
            release(g->instances[i]);
        for (uint32_t i = 0; i < g->image->bindings.len; i++)
            luaL_unref(L, LUA_REGISTRYINDEX, g->whens[i]);
        for (uint32_t i = 0; i < g->image->chains.len * GW_PHASE_COUNT; i++)
            luaL_unref(L, LUA_REGISTRYINDEX, g->drivers[i]);
        for (uint32_t i = 0; i < g->image->chains.len; i++)
            luaL_unref(L, LUA_REGISTRYINDEX, g->plans[i]);
    }
    luaL_unref(L, LUA_REGISTRYINDEX, g->loader_ref);
    free(g->instances);
    free(g->sorted);
    free(g->whens);
    free(g->drivers);
    free(g->plans);
    free(g->whole_from);
    free(g->by_path);
    free(g);
}

void gw_script_abort(struct gw_script_generation *g)
{
    free_generation(g);
}

void gw_script_generation_free(struct gw_script_generation *g)
{
    free_generation(g);
}

bool gw_generation_same_chain(const struct gw_script_generation *a, uint32_t in_a,
                              const struct gw_script_generation *b, uint32_t in_b)
{
    const struct gw_script_chain *of_a =
        &GW_ITEMS(a->conf, a->image->chains, struct gw_script_chain)[in_a];
    const struct gw_script_chain *of_b =
        &GW_ITEMS(b->conf, b->image->chains, struct gw_script_chain)[in_b];
    const uint32_t *rows_a = GW_ITEMS(a->conf, of_a->bindings, uint32_t);
    const uint32_t *rows_b = GW_ITEMS(b->conf, of_b->bindings, uint32_t);

    if (of_a->bindings.len != of_b->bindings.len)
        return false;
    for (uint32_t i = 0; i < of_a->bindings.len; i++) {
        const struct gw_script_binding *x = &bindings(a)[rows_a[i]], *y = &bindings(b)[rows_b[i]];
        if (a->instances[rows_a[i]] != b->instances[rows_b[i]] || x->on_error != y->on_error ||
            x->deadline_ms != y->deadline_ms ||
            !gw_str_eq(gw_ref_str(a->conf, x->when), gw_ref_str(b->conf, y->when)))
            return false;
    }
    return true;
}

/* ---- the whole ---- */

enum gw_rc gw_script_new(const struct gw_script_options *options, struct gw_script **out,
                         struct gw_err *err)
{
    struct gw_vm_options vm_options = {
        .loop = options->loop,
        .shared = options->shared,
        .cpu_budget_ms = options->cpu_budget_ms,
        .heap_max = options->heap_max,
        .worker = options->worker,
        .trial = options->trial,
    };
    struct gw_script *script = calloc(1, sizeof(*script));
    enum gw_rc rc;

    if (script == NULL)
        return gw_err_set(err, GW_NOMEM, "out of memory");
    rc = gw_vm_new(&vm_options, &script->vm, err);
    if (rc != GW_OK) {
        free(script);
        return rc;
    }
    gw_phase_hooks(script);
    *out = script;
    return GW_OK;
}

void gw_script_free(struct gw_script *script)
{
    if (script == NULL)
        return;
    gw_vm_free(script->vm);
    free(script);
}

const struct gw_hooks *gw_script_hooks(struct gw_script *script)
{
    return &script->hooks;
}

void gw_script_reopen(struct gw_script *script)
{
    gw_lib_logfile_reopen(script->vm);
}

uint64_t gw_script_heap_bytes(const struct gw_script *script)
{
    return gw_vm_heap_bytes(script->vm);
}
