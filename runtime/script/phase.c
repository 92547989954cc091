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

static uint32_t chain_of(const struct gw_exchange *x)
{
    return x->route != NULL ? x->route->chain : x->generation->conf->global_chain;
}

static uint32_t chain_in(const struct gw_exchange *x, enum gw_phase phase)
{
    return phase == GW_PHASE_REWRITE_GLOBAL ? x->generation->conf->global_chain : chain_of(x);
}

static bool path_wanted(const struct gw_exchange *x, enum gw_phase phase)
{
    return gw_generation_wants_path(x->generation->script, chain_in(x, phase), phase,
                                    x->request.path);
}

/* The driver of this phase; LUA_NOREF: no code. */
static int driver_of(const struct gw_exchange *x, enum gw_phase phase)
{
    const struct gw_script_generation *g = x->generation->script;
    uint32_t chain;

    if (g == NULL || g->image == NULL)
        return LUA_NOREF;
    chain = chain_in(x, phase);
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
    case GW_VERDICT_CLOSE:
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
    if ((slot->in & GW_IN_BODY_WHOLE) != 0)
        return GW_PHASE_BODY_FILTER;
    return (enum gw_phase)__builtin_ctz(slot->in);
}

/* Arguments of a body_filter's driver behind the first two: for plugins up to that place in the
 * chain this piece; data NULL: the whole body again, where a plugin was skipped. */
static int push_body(lua_State *co, uint32_t to, const struct gw_str *body, bool last, bool whole)
{
    lua_pushnumber(co, to);
    if (body->data != NULL)
        lua_pushlstring(co, body->data, body->len);
    else
        lua_pushnil(co);
    lua_pushboolean(co, last);
    lua_pushboolean(co, whole);
    return 4;
}

int gw_phase_push_whole(lua_State *co, const struct gw_str *body)
{
    return push_body(co, UINT32_MAX, body, true, true);
}

int gw_phase_push_message(lua_State *co, const struct gw_ws_message *message)
{
    lua_pushlstring(co, message->data.data != NULL ? message->data.data : "", message->data.len);
    lua_pushboolean(co, message->text);
    lua_pushboolean(co, message->from_upstream);
    return 3;
}

void gw_phase_take_message(lua_State *co, const struct gw_slot *slot, struct gw_ws_message *message)
{
    struct gw_str data;

    if (slot->verdict == GW_VERDICT_CLOSE) {
        message->close_code = (uint16_t)lua_tointeger(co, 3);
        data.data = lua_tolstring(co, 4, &data.len);
        gw_buf_add_str(&message->out, data);
        message->close_reason = gw_buf_str(&message->out);
        return;
    }
    data.data = lua_tolstring(co, 1, &data.len);
    message->dropped = data.data == NULL; /* false */
    message->text = lua_toboolean(co, 2);
    message->changed = data.data != NULL && !gw_str_eq(data, message->data);
    if (message->changed)
        gw_buf_add_str(&message->out, data);
}

/* Ends a task that waits no more. What body_filter has made of the body is on its stack. */
static enum gw_phase_rc leave(struct gw_slot *slot, struct gw_task *task, enum gw_task_rc rc)
{
    enum gw_phase_rc result = outcome(slot, rc);

    if (result == GW_PHASE_NEXT && phase_in(slot) == GW_PHASE_BODY_FILTER) {
        struct gw_str body;
        body.data = lua_tolstring(gw_task_thread(task), 1, &body.len);
        gw_exchange_set_response_body(slot->exchange, body);
    }
    if (slot->in == GW_IN_MESSAGE) {
        if (result == GW_PHASE_NEXT || result == GW_PHASE_ANSWERED)
            gw_phase_take_message(gw_task_thread(task), slot, slot->message);
    }
    gw_task_end(task);
    return result;
}

/* For drivers that get more than slot and position, and return something. */
static enum gw_phase_rc enter_with(struct gw_vm *vm, struct gw_slot *slot,
                                   const struct gw_task_entry *entry, const struct gw_str *body)
{
    struct gw_task *task = gw_task_new(vm, entry->in, NULL, entry->done, entry->arg);
    lua_State *co = gw_task_thread(task);
    enum gw_task_rc rc;
    int args = 2;

    gw_task_set_slot(task, entry->slot);
    lua_rawgeti(co, LUA_REGISTRYINDEX, entry->driver);
    lua_pushinteger(co, (lua_Integer)entry->slot);
    lua_pushinteger(co, (lua_Integer)entry->position);
    if (body != NULL)
        args += gw_phase_push_whole(co, body);
    else if (entry->position == 1) /* else the driver goes on with what it has */
        args += gw_phase_push_message(co, slot->message);
    rc = gw_task_resume(task, args);
    if (rc == GW_TASK_WAITS) {
        slot->task = task;
        return GW_PHASE_WAIT;
    }
    return leave(slot, task, rc);
}

/* Runs the driver from `position` on; `body`: that of body_filter, for the whole body. */
static enum gw_phase_rc enter(struct gw_vm *vm, struct gw_slot *slot, int driver, uint32_t position,
                              const struct gw_str *body)
{
    struct gw_task_entry entry = {.in = slot->in,
                                  .slot = slot_index(slot),
                                  .driver = driver,
                                  .position = position,
                                  .done = phase_done,
                                  .arg = slot->exchange};
    enum gw_task_rc rc;

    if (body != NULL || slot->in == GW_IN_MESSAGE)
        return enter_with(vm, slot, &entry, body);
    rc = gw_task_enter(vm, &entry, &slot->task);
    return rc == GW_TASK_WAITS ? GW_PHASE_WAIT : outcome(slot, rc);
}

/* A phase that has waited is over; on_error: skip goes on behind a plugin whose deadline came. */
static void phase_done(struct gw_task *task, enum gw_task_rc rc, void *arg)
{
    struct gw_exchange *x = arg;
    struct gw_slot *slot = x->script;
    struct gw_vm *vm = gw_vm_of(gw_task_thread(task));
    enum gw_phase phase = phase_in(slot);
    struct gw_instance *instance = gw_instance_by_number(vm, slot->instance);
    struct gw_str same = GW_STR_NULL;
    bool skip = gw_task_expired(task) && instance != NULL &&
                instance->on_error == GW_ON_ERROR_SKIP && slot->verdict == GW_VERDICT_NONE;
    enum gw_phase_rc result;

    slot->task = NULL;
    result = leave(slot, task, rc);
    if (skip)
        result = enter(vm, slot, driver_of(x, phase), slot->position + 1,
                       phase == GW_PHASE_BODY_FILTER ? &same : NULL);
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

    if (driver == LUA_NOREF || (phase <= GW_PHASE_REWRITE && !path_wanted(x, phase)))
        return GW_PHASE_NEXT;
    slot = slot_of(script->vm, x);
    if (slot == NULL)
        return GW_PHASE_FAILED;
    assert(slot->task == NULL); /* one phase at a time */
    slot->in = 1u << phase;
    slot->verdict = GW_VERDICT_NONE;
    slot->refused = 0;
    slot->answer = NULL;
    rc = enter(script->vm, slot, driver, 1, NULL);
    if (rc == GW_PHASE_WAIT && phase == GW_PHASE_LOG) {
        gw_exchange_detach(x);
        return GW_PHASE_NEXT;
    }
    return rc;
}

/* ---- body_filter ---- */

static struct gw_task *body_task(struct gw_vm *vm, struct gw_slot *slot, int function)
{
    struct gw_task *task;

    assert(slot->task == NULL);
    slot->in = GW_IN_BODY_FILTER;
    slot->verdict = GW_VERDICT_NONE;
    slot->refused = 0;
    task = gw_task_new(vm, slot->in, NULL, NULL, NULL);
    gw_task_set_slot(task, slot_index(slot));
    lua_rawgeti(gw_task_thread(task), LUA_REGISTRYINDEX, function);
    lua_pushinteger(gw_task_thread(task), (lua_Integer)slot_index(slot));
    return task;
}

/* The plugins' `when:` is asked here, so that an answer that none of them wants stays as it is. */
static enum gw_body_wish body_begin(void *self, struct gw_exchange *x)
{
    struct gw_script *script = self;
    struct gw_slot *slot;
    struct gw_task *task;
    int driver = driver_of(x, GW_PHASE_BODY_FILTER);
    const struct gw_script_generation *g = x->generation->script;
    bool good, any = true;
    int plan;

    if (driver == LUA_NOREF)
        return GW_BODY_AS_IT_IS;
    plan = g->plans[chain_of(x)];
    slot = slot_of(script->vm, x);
    if (slot == NULL)
        return GW_BODY_FAILED;
    slot->whole_from = g->whole_from[chain_of(x)];
    if (plan == LUA_NOREF)
        return slot->whole_from > 0 ? GW_BODY_WHOLE : GW_BODY_PIECES;
    task = body_task(script->vm, slot, plan);
    good = gw_task_resume(task, 1) == GW_TASK_DONE;
    if (good) {
        any = lua_toboolean(gw_task_thread(task), 1);
        slot->whole_from = (uint32_t)lua_tointeger(gw_task_thread(task), 2);
    }
    gw_task_end(task);
    if (!good)
        return GW_BODY_FAILED;
    return slot->whole_from > 0 ? GW_BODY_WHOLE : any ? GW_BODY_PIECES : GW_BODY_AS_IT_IS;
}

static enum gw_phase_rc body_filter(void *self, struct gw_exchange *x, struct gw_str in, bool last,
                                    struct gw_buf *out, bool *changed)
{
    struct gw_script *script = self;
    struct gw_slot *slot = x->script;
    struct gw_str piece = GW_STR_NULL, text = in.data != NULL ? in : GW_STR("");
    struct gw_task *task;
    enum gw_task_rc rc;

    *changed = false;
    assert(slot != NULL); /* body_begin() was called */
    if (slot->whole_from == 1)
        return GW_PHASE_NEXT; /* all of them want it whole, or come behind one that does */
    task = body_task(script->vm, slot, driver_of(x, GW_PHASE_BODY_FILTER));
    lua_pushinteger(gw_task_thread(task), 1);
    rc =
        gw_task_resume(task, 2 + push_body(gw_task_thread(task),
                                           slot->whole_from > 0 ? slot->whole_from - 1 : UINT32_MAX,
                                           &text, last, false));
    if (rc == GW_TASK_DONE) {
        piece.data = lua_tolstring(gw_task_thread(task), 1, &piece.len);
        *changed = !gw_str_eq(piece, in);
        if (*changed)
            gw_buf_add_str(out, piece);
    }
    gw_task_end(task);
    return rc == GW_TASK_DONE ? GW_PHASE_NEXT : GW_PHASE_FAILED;
}

static enum gw_phase_rc body_whole(void *self, struct gw_exchange *x, struct gw_str in)
{
    struct gw_script *script = self;
    struct gw_slot *slot = x->script;
    struct gw_str body = in.data != NULL ? in : GW_STR("");

    assert(slot != NULL && slot->task == NULL && slot->whole_from > 0);
    slot->in = GW_IN_BODY_WHOLE;
    slot->verdict = GW_VERDICT_NONE;
    slot->refused = 0;
    return enter(script->vm, slot, driver_of(x, GW_PHASE_BODY_FILTER), slot->whole_from, &body);
}

static enum gw_phase_rc message(void *self, struct gw_exchange *x, struct gw_ws_message *message)
{
    struct gw_script *script = self;
    struct gw_slot *slot;
    int driver = driver_of(x, GW_PHASE_MESSAGE);

    if (driver == LUA_NOREF)
        return GW_PHASE_NEXT;
    slot = slot_of(script->vm, x);
    if (slot == NULL)
        return GW_PHASE_FAILED;
    assert(slot->task == NULL);
    slot->in = GW_IN_MESSAGE;
    slot->verdict = GW_VERDICT_NONE;
    slot->refused = 0;
    slot->message = message;
    return enter(script->vm, slot, driver, 1, NULL);
}

static bool same_chain(void *self, const struct gw_generation *a, const struct gw_conf_route *in_a,
                       const struct gw_generation *b, const struct gw_conf_route *in_b)
{
    (void)self;
    if (in_a->chain == GW_NONE || in_b->chain == GW_NONE)
        return in_a->chain == in_b->chain;
    return a->script != NULL && b->script != NULL &&
           gw_generation_same_chain(a->script, in_a->chain, b->script, in_b->chain);
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

/* What plugins have left in ctx ends with the request (lua/gateway/ctx.lua has the lists). */
static void forget_fields(struct gw_vm *vm, uint32_t index, uint32_t kept)
{
    lua_State *L = vm->L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->fields_ref);
    for (; kept != 0; kept &= kept - 1) {
        lua_rawgeti(L, -1, __builtin_ctz(kept));
        lua_pushnil(L);
        lua_rawseti(L, -2, (int)index);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void finish(void *self, struct gw_exchange *x)
{
    struct gw_script *script = self;
    struct gw_slot *slot = x->script;
    uint32_t index;

    if (slot == NULL)
        return;
    assert(slot->task == NULL);
    index = slot_index(slot);
    if (slot->kept != 0)
        forget_fields(script->vm, index, slot->kept);
    gw_slots_give(script->vm->slots, index);
    x->script = NULL;
}

void gw_phase_hooks(struct gw_script *script)
{
    script->hooks = (struct gw_hooks){
        .self = script,
        .run = run,
        .body_begin = body_begin,
        .body_filter = body_filter,
        .body_whole = body_whole,
        .message = message,
        .same_chain = same_chain,
        .cancel = cancel,
        .finish = finish,
    };
}
