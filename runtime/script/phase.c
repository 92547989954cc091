/* Requests on their way through the phases: the table of hooks that proxy/ calls.
 * The path of every request that has plugins: no table, no closure, no allocation here. */
#include <assert.h>
#include <lauxlib.h>

#include "base/log.h"
#include "conf/load.h"
#include "proxy/proxy.h"
#include "script/script_private.h"

static uint32_t slot_index(const struct gw_slot *slot)
{
    return (uint32_t)slot->handle;
}

/* The driver of this phase; LUA_NOREF: no code. */
static int driver_of(const struct gw_exchange *x, enum gw_phase phase)
{
    const struct gw_script_generation *g = x->generation->script;
    uint32_t chain;

    if (g == NULL || g->image == NULL)
        return LUA_NOREF;
    chain = phase == GW_PHASE_REWRITE_GLOBAL || x->route == NULL ? g->conf->global_chain
                                                                 : x->route->chain;
    return chain != GW_NONE ? g->drivers[chain * GW_PHASE_COUNT + phase] : LUA_NOREF;
}

static struct gw_slot *slot_of(struct gw_vm *vm, struct gw_exchange *x)
{
    uint32_t index;

    if (x->script != NULL)
        return x->script;
    index = gw_slots_take(vm->slots, x);
    if (index == 0) {
        gw_error("plugins: %u requests at a time are the limit", GW_SLOTS_MAX);
        return NULL;
    }
    x->script = &gw_slots_base(vm->slots)[index];
    return x->script;
}

/* How a task that has ended leaves its phase. */
static enum gw_phase_rc outcome(const struct gw_slot *slot, enum gw_task_rc rc)
{
    if (rc != GW_TASK_DONE && !slot->refused)
        return GW_PHASE_FAILED;
    switch ((enum gw_verdict)slot->verdict) {
    case GW_VERDICT_ANSWERED:
        return GW_PHASE_ANSWERED;
    case GW_VERDICT_REROUTE:
        return GW_PHASE_REROUTE;
    case GW_VERDICT_NONE:
        break;
    }
    return GW_PHASE_NEXT;
}

static void phase_done(struct gw_task *task, enum gw_task_rc rc, void *arg);

static enum gw_phase phase_in(const struct gw_slot *slot)
{
    return (enum gw_phase)__builtin_ctz(slot->in);
}

/* Runs the driver from `position` on. */
static enum gw_phase_rc enter(struct gw_vm *vm, struct gw_slot *slot, int driver, uint32_t position)
{
    struct gw_task *task = gw_task_new(vm, slot->in, NULL, phase_done, slot->exchange);
    lua_State *co = gw_task_thread(task);
    uint32_t index = slot_index(slot);
    enum gw_task_rc rc;

    gw_task_set_slot(task, index);
    lua_rawgeti(co, LUA_REGISTRYINDEX, driver);
    lua_pushinteger(co, (lua_Integer)index);
    lua_pushinteger(co, (lua_Integer)position);
    rc = gw_task_resume(task, 2);
    if (rc == GW_TASK_WAITS) {
        slot->task = task;
        return GW_PHASE_WAIT;
    }
    gw_task_end(task);
    return outcome(slot, rc);
}

/* A phase that has waited is over; on_error: skip goes on behind a plugin whose deadline came. */
static void phase_done(struct gw_task *task, enum gw_task_rc rc, void *arg)
{
    struct gw_exchange *x = arg;
    struct gw_slot *slot = x->script;
    struct gw_vm *vm = gw_vm_of(gw_task_thread(task));
    enum gw_phase phase = phase_in(slot);
    struct gw_instance *instance = gw_instance_by_number(vm, slot->instance);
    bool skip = gw_task_expired(task) && instance != NULL &&
                instance->on_error == GW_ON_ERROR_SKIP && slot->verdict == GW_VERDICT_NONE;
    enum gw_phase_rc result = outcome(slot, rc);

    slot->task = NULL;
    gw_task_end(task);
    if (skip)
        result = enter(vm, slot, driver_of(x, phase), slot->position + 1);
    if (result == GW_PHASE_WAIT)
        return;
    if (phase == GW_PHASE_LOG)
        gw_exchange_release(x);
    else
        gw_exchange_resume(x, result);
}

static enum gw_phase_rc run(void *self, struct gw_exchange *x, enum gw_phase phase)
{
    struct gw_script *script = self;
    struct gw_slot *slot;
    enum gw_phase_rc rc;
    int driver = driver_of(x, phase);

    if (driver == LUA_NOREF)
        return GW_PHASE_NEXT;
    slot = slot_of(script->vm, x);
    if (slot == NULL)
        return GW_PHASE_FAILED;
    assert(slot->task == NULL); /* one phase at a time */
    slot->in = 1u << phase;
    slot->verdict = GW_VERDICT_NONE;
    slot->refused = 0;
    slot->answer = NULL;
    rc = enter(script->vm, slot, driver, 1);
    if (rc == GW_PHASE_WAIT && phase == GW_PHASE_LOG) {
        gw_exchange_detach(x);
        return GW_PHASE_NEXT;
    }
    return rc;
}

static enum gw_phase_rc body_filter(void *self, struct gw_exchange *x, struct gw_str in, bool last,
                                    struct gw_buf *out, bool *changed)
{
    struct gw_script *script = self;
    struct gw_slot *slot;
    struct gw_task *task;
    lua_State *co;
    struct gw_str piece = GW_STR_NULL;
    enum gw_task_rc rc;
    int driver = driver_of(x, GW_PHASE_BODY_FILTER);

    *changed = false;
    if (driver == LUA_NOREF)
        return GW_PHASE_NEXT;
    slot = slot_of(script->vm, x);
    if (slot == NULL)
        return GW_PHASE_FAILED;
    slot->in = GW_IN_BODY_FILTER;
    slot->verdict = GW_VERDICT_NONE;
    task = gw_task_new(script->vm, slot->in, NULL, NULL, NULL);
    co = gw_task_thread(task);
    gw_task_set_slot(task, slot_index(slot));
    lua_rawgeti(co, LUA_REGISTRYINDEX, driver);
    lua_pushinteger(co, (lua_Integer)slot_index(slot));
    lua_pushinteger(co, 1);
    lua_pushlstring(co, in.data != NULL ? in.data : "", in.len);
    lua_pushboolean(co, last);
    rc = gw_task_resume(task, 4);
    if (rc == GW_TASK_DONE) {
        piece.data = lua_tolstring(co, 1, &piece.len);
        *changed = !gw_str_eq(piece, in);
        if (*changed)
            gw_buf_add_str(out, piece);
    }
    gw_task_end(task);
    return rc == GW_TASK_DONE ? GW_PHASE_NEXT : GW_PHASE_FAILED;
}

static void cancel(void *self, struct gw_exchange *x)
{
    struct gw_slot *slot = x->script;
    struct gw_task *task = slot != NULL ? slot->task : NULL;

    (void)self;
    if (task == NULL)
        return;
    slot->task = NULL;
    gw_task_cancel(task);
}

static void finish(void *self, struct gw_exchange *x)
{
    struct gw_script *script = self;
    struct gw_slot *slot = x->script;
    lua_State *L = script->vm->L;
    uint32_t index;

    if (slot == NULL)
        return;
    assert(slot->task == NULL);
    index = slot_index(slot);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->vm->ctxs_ref);
    lua_pushnil(L);
    lua_rawseti(L, -2, (int)index);
    lua_pop(L, 1);
    gw_slots_give(script->vm->slots, index);
    x->script = NULL;
}

void gw_phase_hooks(struct gw_script *script)
{
    script->hooks = (struct gw_hooks){
        .self = script,
        .run = run,
        .body_filter = body_filter,
        .cancel = cancel,
        .finish = finish,
    };
}
