#include "script/spec.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "script/lib.h"
#include "script/lib_spec.h"
#include "script/script_private.h"
#include "script/task.h"

/* One run; made by gw_spec_start(), freed when it is over. */
struct run {
    struct gw_later later;
    struct gw_task *task;
    int args;
    gw_spec_done_fn done;
    void *arg;
};

/* The first result, if it is a number. */
static int result(struct gw_task *task)
{
    lua_State *L = gw_task_thread(task);

    return lua_gettop(L) > 0 && lua_isnumber(L, 1) ? (int)lua_tointeger(L, 1) : 0;
}

static void end(struct run *run, enum gw_task_rc rc)
{
    gw_spec_done_fn done = run->done;
    void *arg = run->arg;
    int code = rc == GW_TASK_DONE ? result(run->task) : 1;

    free(run);
    done(arg, code);
}

static void on_done(struct gw_task *task, enum gw_task_rc rc, void *arg)
{
    end(arg, rc);
    gw_task_end(task);
}

/* require "gateway.spec.native": what gateways do not have. */
static void open_native(struct gw_script *script)
{
    struct gw_vm *vm = script->vm;
    lua_State *L = gw_vm_main(vm);

    *gw_vm_data(vm, GW_LIB_SPEC) = script;
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaded");
    gw_lib_spec_open(L, vm);
    lua_setfield(L, -2, "gateway.spec.native");
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->gw_ref);
    lua_setglobal(L, "gw");
    lua_pop(L, 2);
}

static void on_later(struct gw_later *later)
{
    struct run *run = GW_CONTAINER(later, struct run, later);
    struct gw_task *task = run->task;
    enum gw_task_rc rc = gw_task_resume(task, run->args);

    if (rc == GW_TASK_WAITS)
        return;
    end(run, rc);
    gw_task_end(task);
}

enum gw_rc gw_spec_start(struct gw_script *script, const char *path, const char *const *args,
                         size_t count, gw_spec_done_fn done, void *arg, struct gw_err *err)
{
    struct run *run = calloc(1, sizeof(*run));
    lua_State *L;
    int rc;

    if (run == NULL)
        return gw_err_set(err, GW_NOMEM, "out of memory");
    run->task = gw_task_new(script->vm, GW_IN_SPEC, NULL, on_done, run);
    run->done = done;
    run->arg = arg;
    run->args = (int)count;
    L = gw_task_thread(run->task);
    rc = luaL_loadfile(L, path);
    if (rc != 0) {
        const char *text = lua_tostring(L, -1);
        (void)gw_err_set(err, rc == LUA_ERRFILE ? GW_NOT_FOUND : GW_INVALID, "%s",
                         text != NULL ? text : path);
        lua_settop(L, 0);
        gw_task_end(run->task);
        free(run);
        return rc == LUA_ERRFILE ? GW_NOT_FOUND : GW_INVALID;
    }
    open_native(script);
    luaL_checkstack(L, (int)count + 1, "arguments");
    for (size_t i = 0; i < count; i++)
        lua_pushstring(L, args[i]);
    gw_later_init(&run->later, on_later);
    gw_later(gw_vm_loop(script->vm), &run->later);
    return GW_OK;
}
