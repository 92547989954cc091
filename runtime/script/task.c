#include "script/task.h"

#include <assert.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proxy/proxy.h"
#include "script/instance.h"
#include "script/vm_private.h"

#define IDLE_TASKS_MAX 256
#define ERROR_BYTES_MAX 3000

struct gw_task {
    struct gw_list link; /* vm->tasks, from the first wait on */
    struct gw_task *next_idle;
    struct gw_vm *vm;
    lua_State *co;
    int co_ref;
    uint32_t in;
    uint32_t slot; /* 0: no request */
    struct gw_instance *instance;
    struct gw_wait *wait; /* what it waits for */
    gw_task_done_fn done;
    void *arg;
    struct gw_timer timer; /* deadline of the plugin that waits */
    uint32_t timed;        /* position in the chain that the timer belongs to */
    uint64_t timed_until_ms;
    bool waits;   /* counted in vm->waiting_count */
    bool broken;  /* the coroutine cannot be used again */
    bool expired; /* its deadline ended it */
    bool collect; /* the heap is full of what its coroutine holds */
};

/* ---- life ---- */

static void task_expired(struct gw_timer *timer);

static struct gw_slot *task_slot(const struct gw_task *task)
{
    return task->slot != 0 ? &gw_slots_base(task->vm->slots)[task->slot] : NULL;
}

static void fresh_thread(struct gw_task *task)
{
    lua_State *L = task->vm->L;

    task->co = lua_newthread(L);
    task->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    task->broken = false;
}

static struct gw_task *fresh_task(struct gw_vm *vm)
{
    struct gw_task *task = calloc(1, sizeof(*task));

    if (task == NULL)
        abort();
    task->vm = vm;
    gw_list_init(&task->link);
    gw_timer_init(&task->timer, task_expired);
    fresh_thread(task);
    return task;
}

static inline struct gw_task *take_task(struct gw_vm *vm, uint32_t in, gw_task_done_fn done,
                                        void *arg)
{
    struct gw_task *task = vm->idle_tasks;

    if (task != NULL) {
        vm->idle_tasks = task->next_idle;
        vm->idle_count--;
    } else {
        task = fresh_task(vm);
    }
    task->in = in;
    task->done = done;
    task->arg = arg;
    task->timed = 0;
    task->expired = false;
    task->collect = false;
    return task;
}

struct gw_task *gw_task_new(struct gw_vm *vm, uint32_t in, struct gw_instance *instance,
                            gw_task_done_fn done, void *arg)
{
    struct gw_task *task = take_task(vm, in, done, arg);

    task->slot = 0;
    task->instance = instance != NULL ? gw_instance_ref(instance) : NULL;
    return task;
}

/* Lua has no emergency collection: garbage near the cap would fail the next request. */
static void calm_heap(struct gw_vm *vm, bool now)
{
    uint64_t max = vm->options.heap_max;

    if (max == 0 || (!now && vm->heap_bytes < vm->heap_collect_at))
        return;
    lua_gc(vm->L, LUA_GCCOLLECT, 0);
    /* Where most of it is alive, try again only after a tenth of the cap has been added. */
    vm->heap_collect_at = vm->heap_bytes + max / 10;
    if (vm->heap_collect_at < max / 4 * 3)
        vm->heap_collect_at = max / 4 * 3;
}

static void task_free(struct gw_task *task)
{
    if (task->vm->options.loop != NULL)
        gw_timer_fini(task->vm->options.loop, &task->timer);
    luaL_unref(task->vm->L, LUA_REGISTRYINDEX, task->co_ref);
    free(task);
}

static inline void keep_task(struct gw_vm *vm, struct gw_task *task)
{
    if (lua_gettop(task->co) > 0)
        lua_settop(task->co, 0);
    task->next_idle = vm->idle_tasks;
    vm->idle_tasks = task;
    vm->idle_count++;
}

void gw_task_end(struct gw_task *task)
{
    struct gw_vm *vm = task->vm;

    assert(vm->task != task && task->wait == NULL);
    if (!gw_list_empty(&task->link)) {
        struct gw_slot *slot = task_slot(task);
        gw_list_remove(&task->link);
        if (slot != NULL && slot->task == task)
            slot->task = NULL;
    }
    if (task->timed != 0)
        gw_timer_clear(&task->timer);
    if (task->instance != NULL) {
        gw_instance_unref(task->instance);
        task->instance = NULL;
    }
    if (task->broken || vm->idle_count >= IDLE_TASKS_MAX) {
        bool collect = task->collect;
        task_free(task);
        if (collect)
            calm_heap(vm, true);
        return;
    }
    keep_task(vm, task);
}

void gw_tasks_fini(struct gw_vm *vm)
{
    assert(gw_list_empty(&vm->tasks));
    while (vm->idle_tasks != NULL) {
        struct gw_task *task = vm->idle_tasks;
        vm->idle_tasks = task->next_idle;
        task_free(task);
    }
    vm->idle_count = 0;
}

lua_State *gw_task_thread(struct gw_task *task)
{
    return task->co;
}

void gw_task_set_slot(struct gw_task *task, uint32_t slot)
{
    task->slot = slot;
}

uint32_t gw_task_in(const struct gw_task *task)
{
    return task->in;
}

bool gw_task_expired(const struct gw_task *task)
{
    return task->expired;
}

uint32_t gw_task_waiting_count(const struct gw_vm *vm)
{
    return vm->waiting_count;
}

/* ---- who runs ---- */

static struct gw_instance *task_instance(const struct gw_task *task)
{
    struct gw_slot *slot = task_slot(task);

    return slot != NULL ? gw_instance_by_number(task->vm, slot->instance) : task->instance;
}

struct gw_instance *gw_instance_current(struct gw_vm *vm)
{
    return vm->task != NULL ? task_instance(vm->task) : NULL;
}

struct gw_exchange *gw_vm_exchange(struct gw_vm *vm)
{
    struct gw_slot *slot = vm->task != NULL ? task_slot(vm->task) : NULL;

    return slot != NULL ? slot->exchange : NULL;
}

/* ---- errors ---- */

/* "stack traceback:\n\ta\n\tb" becomes "a < b": the log has one line for one fact. Calls
 * between our own drivers say nothing to the author of a plugin. */
static void stack_line(struct gw_buf *out, const char *traceback)
{
    const char *at = traceback;
    bool first = true;

    while (at != NULL && (at = strstr(at, "\n\t")) != NULL) {
        const char *end;
        at += 2;
        end = strchr(at, '\n');
        if (strncmp(at, "gateway/", 8) == 0 || strncmp(at, "[C]", 3) == 0)
            continue;
        gw_buf_add_str(out, gw_str_c(first ? "; stack: " : " < "));
        gw_buf_add(out, at, end != NULL ? (size_t)(end - at) : strlen(at));
        first = false;
    }
}

static void log_error(struct gw_vm *vm, struct gw_task *task, const char *message,
                      const char *traceback)
{
    struct gw_slot *slot = task != NULL ? task_slot(task) : NULL;
    struct gw_instance *instance = task != NULL ? task_instance(task) : NULL;
    struct gw_buf line = GW_BUF_INIT;

    /* Loading and init() are reported by those who asked for them. */
    snprintf(vm->fault, sizeof(vm->fault), "%s", message);
    if (task != NULL && (task->in & (GW_IN_LOAD | GW_IN_INIT)) != 0)
        return;
    gw_buf_printf(&line, "plugin %s", instance != NULL ? instance->plugin : "(loading)");
    if (instance != NULL && strcmp(instance->id, instance->plugin) != 0)
        gw_buf_printf(&line, " (%s)", instance->id);
    if (task != NULL)
        gw_buf_printf(&line, ", %s", gw_lib_in_name(task->in));
    if (slot != NULL && slot->exchange != NULL) {
        struct gw_exchange *x = slot->exchange;
        struct gw_str id = gw_exchange_id(x);
        struct gw_str route = GW_STR("(none)");
        if (x->route != NULL)
            route = gw_ref_str(x->generation->conf, x->route->name);
        gw_buf_printf(&line, ", route %.*s, request %.*s", GW_STR_ARG(route), GW_STR_ARG(id));
    } else if (instance != NULL && instance->route[0] != '\0') {
        gw_buf_printf(&line, ", route %s", instance->route);
    }
    gw_buf_printf(&line, ": %s", message);
    stack_line(&line, traceback);
    if (gw_buf_len(&line) > ERROR_BYTES_MAX)
        line.to = line.from + ERROR_BYTES_MAX;
    gw_error("%.*s", (int)gw_buf_len(&line), line.data + line.from);
    gw_buf_fini(&line);
}

void gw_task_log_error(lua_State *L, struct gw_vm *vm, const char *traceback)
{
    const char *text = lua_tostring(L, -1);

    if (vm->stop != GW_STOP_NONE)
        return; /* comes again at the end of the task, where it is logged with its place */
    log_error(vm, vm->task, text != NULL ? text : luaL_typename(L, -1), traceback);
}

static const char *error_text(lua_State *co, int rc)
{
    if (rc == LUA_ERRMEM)
        return "not enough memory";
    return lua_isstring(co, -1) ? lua_tostring(co, -1) : "error object that is not a string";
}

/* Everything that ends badly is said here, once. Host code: the heap cap does not hold, but
 * turning an error object into text may run Lua of a plugin, so only strings are taken. */
static void log_failure(struct gw_task *task, int rc, enum gw_stop stop)
{
    struct gw_vm *vm = task->vm;
    char text[2000];

    if (stop == GW_STOP_NONE) {
        const char *message = error_text(task->co, rc);
        lua_State *L = vm->L;
        luaL_traceback(L, task->co, NULL, 0);
        log_error(vm, task, message, lua_tostring(L, -1));
        lua_pop(L, 1);
        return;
    }
    bool placed = vm->stop_where[0] != '\0';
    if (!placed)
        luaL_traceback(vm->L, task->co, NULL, 0);
    if (stop == GW_STOP_CPU)
        snprintf(text, sizeof(text), "stopped: the CPU budget of %u ms is used up%s%s",
                 vm->options.cpu_budget_ms, vm->stop_where[0] != '\0' ? " at " : "",
                 vm->stop_where);
    else
        snprintf(text, sizeof(text), "stopped: the Lua heap is full (%llu bytes)%s%s",
                 (unsigned long long)vm->options.heap_max, vm->stop_where[0] != '\0' ? " at " : "",
                 vm->stop_where);
    log_error(vm, task, text, placed ? NULL : lua_tostring(vm->L, -1));
    if (!placed)
        lua_pop(vm->L, 1);
}

/* ---- running ---- */

static void drop_wait(struct gw_task *task)
{
    struct gw_wait *wait = task->wait;

    if (wait == NULL)
        return;
    task->wait = NULL;
    wait->task = NULL;
    wait->cancel(wait);
}

static inline int run_lua(struct gw_vm *vm, struct gw_task *task, int args)
{
    int rc;

    assert(vm->task == NULL);
    vm->task = task;
    vm->entry++;
    vm->inside = 1;
    rc = lua_resume(task->co, args);
    vm->inside = 0;
    return rc;
}

/* Back in C, with what lua_resume() gave. */
static enum gw_task_rc settle(struct gw_task *task, int rc)
{
    struct gw_vm *vm = task->vm;
    enum gw_stop stop = (enum gw_stop)vm->stop;

    if (stop != GW_STOP_NONE) {
        vm->stop_where[sizeof(vm->stop_where) - 1] = '\0';
        if (!vm->stop_noted)
            vm->stop_where[0] = '\0';
        gw_deadline_disarm(vm);
    }
    vm->task = NULL;
    if (vm->heap_bytes >= vm->heap_collect_at)
        calm_heap(vm, false);
    if (rc == 0 && stop == GW_STOP_NONE) {
        if (task->wait != NULL) /* given up by a pcall() around a yield that could not be */
            drop_wait(task);
        return GW_TASK_DONE;
    }
    if (rc == LUA_YIELD && stop == GW_STOP_NONE && task->wait != NULL) {
        lua_settop(task->co, 0);
        task->waits = true;
        if (gw_list_empty(&task->link))
            gw_list_push_back(&vm->tasks, &task->link);
        vm->waiting_count++;
        return GW_TASK_WAITS;
    }
    /* A budget that ended in the very last instruction counts as well: the answer is not
     * to be trusted when a pcall() may have eaten the first error. */
    task->broken = true;
    if (rc == LUA_YIELD && stop == GW_STOP_NONE)
        log_error(vm, task, "yielded outside of a coroutine of its own", NULL);
    else
        log_failure(task, rc, stop);
    drop_wait(task);
    task->collect = stop == GW_STOP_HEAP || rc == LUA_ERRMEM;
    return GW_TASK_FAILED;
}

enum gw_task_rc gw_task_resume(struct gw_task *task, int args)
{
    return settle(task, run_lua(task->vm, task, args));
}

/* Four times in each request that has plugins: what can go otherwise is left to settle(). */
enum gw_task_rc gw_task_enter(struct gw_vm *vm, const struct gw_task_entry *entry,
                              struct gw_task **waits)
{
    struct gw_task *task = take_task(vm, entry->in, entry->done, entry->arg);
    enum gw_task_rc result;
    int rc;

    task->slot = entry->slot;
    task->instance = NULL;
    lua_rawgeti(task->co, LUA_REGISTRYINDEX, entry->driver);
    lua_pushinteger(task->co, (lua_Integer)entry->slot);
    lua_pushinteger(task->co, (lua_Integer)entry->position);
    rc = run_lua(vm, task, 2);
    if (rc == 0 && vm->stop == GW_STOP_NONE && task->wait == NULL &&
        vm->heap_bytes < vm->heap_collect_at && gw_list_empty(&task->link) &&
        vm->idle_count < IDLE_TASKS_MAX) {
        vm->task = NULL;
        keep_task(vm, task);
        return GW_TASK_DONE;
    }
    result = settle(task, rc);
    if (result == GW_TASK_WAITS)
        *waits = task;
    else
        gw_task_end(task);
    return result;
}

/* ---- waiting ---- */

void gw_task_push_wait_mark(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, gw_vm_of(L)->wait_mark_ref);
}

/* The time that a plugin may take runs from its first wait in this phase on; what it did
 * before took place in the same turn of the loop. */
static void set_deadline(struct gw_task *task)
{
    struct gw_slot *slot = task_slot(task);
    struct gw_instance *instance = task_instance(task);
    struct gw_loop *loop = task->vm->options.loop;

    if (slot == NULL || instance == NULL || instance->deadline_ms == 0) {
        if (task->timed != 0)
            gw_timer_clear(&task->timer);
        task->timed = 0;
        return;
    }
    if (task->timed != slot->position) {
        task->timed = slot->position;
        task->timed_until_ms = gw_loop_now_ms(loop) + instance->deadline_ms;
    }
    gw_timer_set(loop, &task->timer, task->timed_until_ms);
}

int gw_task_wait(lua_State *L, struct gw_wait *wait, gw_wait_cancel_fn cancel)
{
    struct gw_vm *vm = gw_vm_of(L);
    struct gw_task *task = vm->task;

    if ((gw_lib_in(vm) & GW_IN_WAITING) == 0 || vm->options.loop == NULL) {
        wait->task = NULL;
        cancel(wait);
        return luaL_error(L, "waiting: not in %s", gw_lib_in_name(gw_lib_in(vm)));
    }
    drop_wait(task); /* left by a yield that failed across a C call (table.sort, gsub) */
    wait->task = task;
    wait->cancel = cancel;
    task->wait = wait;
    set_deadline(task);
    gw_task_push_wait_mark(L);
    return lua_yield(L, 1);
}

static void no_longer_waits(struct gw_task *task)
{
    if (task->waits)
        task->vm->waiting_count--;
    task->waits = false;
}

/* After a task that has waited: the one who began it hears how it ended. */
static void finish(struct gw_task *task, enum gw_task_rc rc)
{
    if (task->done != NULL)
        task->done(task, rc, task->arg);
    else
        gw_task_end(task);
}

void gw_task_wake(struct gw_wait *wait, gw_task_push_fn push, void *arg)
{
    struct gw_task *task = wait->task;
    enum gw_task_rc rc;

    if (task == NULL)
        return;
    assert(task->vm->task == NULL && task->wait == wait);
    wait->task = NULL;
    task->wait = NULL;
    no_longer_waits(task);
    gw_timer_clear(&task->timer);
    rc = gw_task_resume(task, push != NULL ? push(task->co, arg) : 0);
    if (rc != GW_TASK_WAITS)
        finish(task, rc);
}

static void task_expired(struct gw_timer *timer)
{
    struct gw_task *task = GW_CONTAINER(timer, struct gw_task, timer);
    char text[80];

    assert(task->wait != NULL);
    snprintf(text, sizeof(text), "stopped: its deadline of %u ms is over",
             task_instance(task)->deadline_ms);
    log_error(task->vm, task, text, NULL);
    task->expired = true;
    task->broken = true;
    no_longer_waits(task);
    drop_wait(task);
    finish(task, GW_TASK_FAILED);
}

void gw_task_cancel(struct gw_task *task)
{
    assert(task->vm->task == NULL);
    no_longer_waits(task);
    task->broken = true; /* it is suspended somewhere inside */
    drop_wait(task);
    gw_task_end(task);
}

void gw_task_cancel_all(struct gw_vm *vm)
{
    while (!gw_list_empty(&vm->tasks)) {
        struct gw_task *task = GW_CONTAINER(vm->tasks.next, struct gw_task, link);
        assert(vm->task == NULL);
        no_longer_waits(task);
        task->broken = true;
        drop_wait(task);
        finish(task, GW_TASK_FAILED);
    }
}

void gw_task_cancel_instance(struct gw_vm *vm, const struct gw_instance *instance)
{
    GW_LIST_EACH_SAFE(pos, after, &vm->tasks)
    {
        struct gw_task *task = GW_CONTAINER(pos, struct gw_task, link);
        if (task->slot == 0 && task->instance == instance && task->wait != NULL)
            gw_task_cancel(task);
    }
}

/* ---- in the background ---- */

enum gw_rc gw_task_background(struct gw_vm *vm, struct gw_instance *instance, gw_task_push_fn push,
                              void *arg)
{
    struct gw_task *task = gw_task_new(vm, GW_IN_TIMER, instance, NULL, NULL);

    if (gw_task_resume(task, push(task->co, arg)) != GW_TASK_WAITS)
        gw_task_end(task);
    return GW_OK;
}

/* ---- phases ---- */

static const struct {
    uint32_t bit;
    const char *name;
} places[] = {
    {GW_IN_REWRITE, "rewrite"},
    {GW_IN_ACCESS, "access"},
    {GW_IN_BALANCER, "balancer"},
    {GW_IN_HEADER_FILTER, "header_filter"},
    {GW_IN_BODY_FILTER, "body_filter"},
    {GW_IN_LOG, "log"},
    {GW_IN_MESSAGE, "message"},
    {GW_IN_BODY_WHOLE, "buffered body_filter"},
    {GW_IN_LOAD, "load"},
    {GW_IN_INIT, "init"},
    {GW_IN_STOP, "stop"},
    {GW_IN_TIMER, "timer"},
    {GW_IN_SPEC, "spec"},
    {GW_IN_WHEN, "when"},
};

#define PLACES (sizeof(places) / sizeof(places[0]))

uint32_t gw_lib_in(struct gw_vm *vm)
{
    struct gw_slot *slot = vm->task != NULL ? task_slot(vm->task) : NULL;

    /* The driver of body_filter tells by it which plugin may wait. */
    return slot != NULL ? slot->in : vm->task != NULL ? vm->task->in : 0;
}

const char *gw_lib_in_name(uint32_t in)
{
    for (size_t i = 0; i < PLACES; i++)
        if ((places[i].bit & in) != 0)
            return places[i].name;
    return "host";
}

void gw_lib_check(lua_State *L, const char *function, uint32_t mask)
{
    uint32_t in = gw_lib_in(gw_vm_of(L));
    char list[200];
    size_t len = 0;

    if ((in & mask) != 0)
        return;
    list[0] = '\0';
    for (size_t i = 0; i < PLACES; i++)
        if ((places[i].bit & mask) != 0 && len < sizeof(list))
            len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", len > 0 ? ", " : "",
                                    places[i].name);
    luaL_error(L, "%s: not in %s (only in: %s)", function, gw_lib_in_name(in), list);
}

int gw_lib_fail(lua_State *L, enum gw_rc rc, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, text != NULL ? text : gw_rc_text(rc));
    lua_pushstring(L, gw_rc_code(rc));
    return 3;
}
