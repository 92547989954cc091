/* Tasks: Lua code that runs on a recycled coroutine and may wait.
 * Lives in: one VM. Owner: tasks own themselves; an exchange's task is also held by its slot.
 * All Lua of plugins runs through gw_task_resume(): CPU budget, heap cap, traceback and the
 * log line of an error live there and nowhere else.
 *
 * How a binding waits:
 *
 *     struct sleep { struct gw_wait wait; struct gw_timer timer; };
 *
 *     static int lib_sleep(lua_State *L)
 *     {
 *         double s = luaL_checknumber(L, 1);
 *         gw_lib_check(L, "sleep", GW_IN_WAITING);           // raises in the wrong phase
 *         struct sleep *op = …;                              // own memory, not Lua's stack
 *         gw_timer_set(…);
 *         return gw_task_wait(L, &op->wait, sleep_cancel);   // yields; always in `return`
 *     }
 *     static void sleep_due(struct gw_timer *timer)          // from the loop
 *     {
 *         gw_task_wake(&op->wait, push_true, op);            // nothing after this
 *     }
 *
 * It works in coroutines that a plugin made itself: the wait goes out to the scheduler and the
 * results come back to the innermost one. */
#ifndef GW_SCRIPT_TASK_H
#define GW_SCRIPT_TASK_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/rc.h"
#include "script/vm.h"

struct gw_instance; /* one binding of a plugin, alive in this VM (generation.h) */

/* ---- for bindings ---- */

struct gw_wait;

/* The task dies (client gone, worker stops): stop the operation and free it. It must not
 * call gw_task_wake() any more, nor enter Lua. */
typedef void (*gw_wait_cancel_fn)(struct gw_wait *wait);

struct gw_wait {
    struct gw_task *task; /* NULL: nobody waits */
    gw_wait_cancel_fn cancel;
};

/* Pushes the results and returns how many. Must not raise: plain pushes only (the heap cap
 * does not hold here). Frees or keeps what belongs to `arg` as it likes. */
typedef int (*gw_task_push_fn)(lua_State *L, void *arg);

/* Yields the running task; the function that called the binding returns what the pusher of
 * gw_task_wake() pushes. Raises when this phase may not wait (then nothing waits, and `wait` was
 * not touched: check with gw_lib_check() before starting the operation). */
int gw_task_wait(lua_State *L, struct gw_wait *wait, gw_wait_cancel_fn cancel);

/* Resumes it, now. Only from the loop, never while Lua runs (assert): what is ready at once
 * is simply returned by the binding; else use gw_later(). Nobody waits: does nothing. */
void gw_task_wake(struct gw_wait *wait, gw_task_push_fn push, void *arg);

/* A binding that calls a Lua function later (gw.timer) keeps the instance that asked.
 * Counted; the name and the chain stay readable until the last unref. */
struct gw_instance *gw_instance_current(struct gw_vm *vm); /* NULL: none (loader, spec) */
struct gw_instance *gw_instance_ref(struct gw_instance *instance);
void gw_instance_unref(struct gw_instance *instance);
const char *gw_instance_plugin(const struct gw_instance *instance); /* "key-auth" */
const char *gw_instance_id(const struct gw_instance *instance);     /* `id:` or the name */
const char *gw_instance_route(const struct gw_instance *instance);  /* "" for global ones */

/* Starts a background task (phase "timer") of that instance, now: `push` pushes the function
 * and then its arguments, and returns how many arguments. Only from the loop. It may wait;
 * an error is logged. GW_NOMEM. */
GW_MUST_CHECK enum gw_rc gw_task_background(struct gw_vm *vm, struct gw_instance *instance,
                                            gw_task_push_fn push, void *arg);

/* ---- for script/ itself (and `moongate spec`) ---- */

enum gw_task_rc {
    GW_TASK_DONE,   /* results are on gw_task_thread(task)'s stack until gw_task_end() */
    GW_TASK_WAITS,  /* done_fn will be called */
    GW_TASK_FAILED, /* logged; done_fn is not called */
};

/* Called when a task that has waited ends. rc: DONE or FAILED. The task is ended on return. */
typedef void (*gw_task_done_fn)(struct gw_task *task, enum gw_task_rc rc, void *arg);

/* A fresh or recycled one. Push function and arguments on gw_task_thread(), then resume. */
struct gw_task *gw_task_new(struct gw_vm *vm, uint32_t in, struct gw_instance *instance,
                            gw_task_done_fn done, void *arg);
lua_State *gw_task_thread(struct gw_task *task);

/* For an exchange: its slot (script/handle.h); the instance is then slot->instance. */
void gw_task_set_slot(struct gw_task *task, uint32_t slot);

enum gw_task_rc gw_task_resume(struct gw_task *task, int args);

/* New, set_slot, resume and end in one, for the driver of a chain, which returns nothing. WAITS:
 * `*waits` is the task, to be ended by done_fn; else it is ended. */
struct gw_task_entry {
    uint32_t in;
    uint32_t slot;
    int driver;        /* reference of a function (slot, position) */
    uint32_t position; /* of the plugin to begin with, from 1 */
    gw_task_done_fn done;
    void *arg;
};

enum gw_task_rc gw_task_enter(struct gw_vm *vm, const struct gw_task_entry *entry,
                              struct gw_task **waits);

/* Gives the coroutine back. After DONE (or, by the caller of gw_task_new(), after FAILED). */
void gw_task_end(struct gw_task *task);

/* A waiting task dies: its wait's cancel is called; done_fn is not. */
void gw_task_cancel(struct gw_task *task);
void gw_task_cancel_all(struct gw_vm *vm);
void gw_task_cancel_instance(struct gw_vm *vm, const struct gw_instance *instance);

uint32_t gw_task_in(const struct gw_task *task); /* one GW_IN_ bit */
/* FAILED because a `deadline:` was over: `on_error: skip` may go on behind that plugin. */
bool gw_task_expired(const struct gw_task *task);
uint32_t gw_task_waiting_count(const struct gw_vm *vm);

/* For an error that was not logged where it happened (on_error: skip). Message is at the top
 * of L's stack and stays there. */
void gw_task_log_error(lua_State *L, struct gw_vm *vm, const char *traceback);

/* coroutine.create, wrap, … for plugins come from lua/gateway/sandbox.lua; they know a wait
 * from a plugin's own yield by this value. [-0, +1] */
void gw_task_push_wait_mark(lua_State *L);

#endif
