/* gw.timer: functions that run later, as background tasks of the instance that asked.
 * Lives in: one VM. Owner: the instance (a retired one loses its timers).
 * Limits: TIMERS_MAX in a worker, TIMERS_INSTANCE_MAX for one instance; one run of a timer at a
 * time: a run that is not over when the next is due makes that one wait for a later turn.
 * Handles of Lua and tasks hold a number, never a pointer: slot in the low 16 bits, serial
 * above. */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "script/instance.h"
#include "script/lib_rows.h"

#define TIMERS_MAX 16384
#define TIMERS_INSTANCE_MAX 1024
#define VALUES_MAX 32
#define SECONDS_MAX 2592000.0 /* 30 days */
#define HANDLE_TYPE "gw.timer"

struct job {
    struct timers *timers;
    uint64_t number;
    struct gw_timer timer;
    struct gw_instance *instance; /* NULL: a spec */
    int ref;                      /* { function, values… } */
    int values;
    double delay_ms;
    double jitter;
    bool again;
    bool running;
};

struct timers {
    struct gw_vm *vm;
    struct job *slots[TIMERS_MAX];
    uint32_t used; /* slots behind it were never used */
    uint32_t count;
    uint64_t serial;
};

static struct timers *timers_of(struct gw_vm *vm)
{
    return *gw_vm_data(vm, GW_LIB_TIMER);
}

static struct job *find(struct timers *timers, uint64_t number)
{
    struct job *job = timers->slots[number & 0xffff];

    return job != NULL && job->number == number ? job : NULL;
}

static void job_free(struct job *job)
{
    struct timers *timers = job->timers;

    timers->slots[job->number & 0xffff] = NULL;
    timers->count--;
    luaL_unref(gw_vm_main(timers->vm), LUA_REGISTRYINDEX, job->ref);
    if (gw_vm_loop(timers->vm) != NULL)
        gw_timer_fini(gw_vm_loop(timers->vm), &job->timer);
    if (job->instance != NULL)
        gw_instance_unref(job->instance);
    free(job);
}

static void schedule(struct job *job)
{
    struct gw_loop *loop = gw_vm_loop(job->timers->vm);
    double delay = job->delay_ms;
    uint32_t chance;

    if (loop == NULL)
        return; /* the loader only checks: nothing runs later there */
    if (job->jitter > 0) {
        gw_random(&chance, sizeof(chance));
        delay += delay * job->jitter * chance / UINT32_MAX;
    }
    gw_timer_set(loop, &job->timer, gw_loop_now_ms(loop) + (uint64_t)ceil(delay));
}

static void run_over(struct timers *timers, uint64_t number)
{
    struct job *job = find(timers, number);

    if (job == NULL)
        return; /* cancelled while it ran */
    job->running = false;
    if (!job->again)
        job_free(job);
}

static void task_over(struct gw_task *task, enum gw_task_rc rc, void *arg)
{
    struct timers *timers = timers_of(gw_vm_of(gw_task_thread(task)));

    gw_task_end(task);
    if (timers != NULL)
        run_over(timers, (uint64_t)(uintptr_t)arg);
}

static void due(struct gw_timer *timer)
{
    struct job *job = GW_CONTAINER(timer, struct job, timer);
    struct timers *timers = job->timers;
    uint64_t number = job->number;
    int values = job->values;
    struct gw_task *task;
    lua_State *co;

    if (job->again)
        schedule(job);
    if (job->running)
        return;
    job->running = true;
    task =
        gw_task_new(timers->vm, GW_IN_TIMER, job->instance, task_over, (void *)(uintptr_t)number);
    co = gw_task_thread(task);
    lua_rawgeti(co, LUA_REGISTRYINDEX, job->ref);
    for (int i = 1; i <= values + 1; i++)
        lua_rawgeti(co, 1, i);
    lua_remove(co, 1);
    /* From here on the job may be gone: its own function may cancel it. */
    if (gw_task_resume(task, values) != GW_TASK_WAITS) {
        gw_task_end(task);
        run_over(timers, number);
    }
}

static uint32_t count_of(const struct timers *timers, const struct gw_instance *instance)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < timers->used; i++)
        count += timers->slots[i] != NULL && timers->slots[i]->instance == instance;
    return count;
}

static uint32_t free_slot(struct timers *timers)
{
    for (uint32_t i = 0; i < timers->used; i++)
        if (timers->slots[i] == NULL)
            return i;
    return timers->used++;
}

/* seconds, or { seconds =, jitter = } at index 1 */
static void read_delay(lua_State *L, double *seconds, double *jitter)
{
    *jitter = 0;
    if (lua_istable(L, 1)) {
        lua_getfield(L, 1, "seconds");
        luaL_argcheck(L, lua_isnumber(L, -1), 1, "seconds: number expected");
        *seconds = lua_tonumber(L, -1);
        lua_getfield(L, 1, "jitter");
        luaL_argcheck(L, lua_isnil(L, -1) || lua_isnumber(L, -1), 1, "jitter: number expected");
        *jitter = lua_tonumber(L, -1);
        lua_pop(L, 2);
    } else {
        *seconds = luaL_checknumber(L, 1);
    }
    luaL_argcheck(L, *seconds >= 0 && *seconds <= SECONDS_MAX, 1,
                  "seconds from 0 to 2592000 expected");
    luaL_argcheck(L, *jitter >= 0 && *jitter <= 1, 1, "jitter: a part from 0 to 1 expected");
}

static int start(lua_State *L, const char *name, bool again)
{
    struct timers *timers = timers_of(gw_vm_of(L));
    struct gw_instance *instance = gw_instance_current(timers->vm);
    int values = lua_gettop(L) - 2, ref;
    double seconds, jitter;
    struct job *job;

    gw_lib_check(L, name, GW_IN_REQUEST | GW_IN_INIT | GW_IN_TIMER | GW_IN_SPEC);
    read_delay(L, &seconds, &jitter);
    luaL_argcheck(L, !again || seconds >= 0.001, 1, "at least 0.001 seconds expected");
    luaL_checktype(L, 2, LUA_TFUNCTION);
    luaL_argcheck(L, values <= VALUES_MAX, VALUES_MAX + 3, "at most 32 values");
    if (timers->count >= TIMERS_MAX ||
        (timers->count >= TIMERS_INSTANCE_MAX && count_of(timers, instance) >= TIMERS_INSTANCE_MAX))
        return gw_lib_fail(L, GW_LIMIT, "timer: too many timers are waiting");

    lua_createtable(L, values + 1, 0);
    for (int i = 0; i <= values; i++) {
        lua_pushvalue(L, i + 2);
        lua_rawseti(L, -2, i + 1);
    }
    ref = luaL_ref(L, LUA_REGISTRYINDEX);
    uint64_t *handle = lua_newuserdata(L, sizeof(*handle));
    luaL_getmetatable(L, HANDLE_TYPE);
    lua_setmetatable(L, -2);

    job = calloc(1, sizeof(*job));
    if (job == NULL) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        return gw_lib_fail(L, GW_NOMEM, NULL);
    }
    *job = (struct job){.timers = timers,
                        .instance = instance != NULL ? gw_instance_ref(instance) : NULL,
                        .ref = ref,
                        .values = values,
                        .delay_ms = seconds * 1000,
                        .jitter = jitter,
                        .again = again};
    job->number = ++timers->serial << 16 | free_slot(timers);
    timers->slots[job->number & 0xffff] = job;
    timers->count++;
    gw_timer_init(&job->timer, due);
    schedule(job);
    *handle = job->number;
    return 1;
}

/* timer.after(seconds | { seconds, jitter }, function, …) -> handle | nil, message, code
 * [-0, +1|+3] */
static int timer_after(lua_State *L)
{
    return start(L, "timer.after", false);
}

/* timer.every(…): the same, again and again, from beginning to beginning   [-0, +1|+3] */
static int timer_every(lua_State *L)
{
    return start(L, "timer.every", true);
}

/* handle:cancel() -> true when it was still to run again; a run that has begun goes on to its
 * end   [-0, +1] */
static int timer_cancel(lua_State *L)
{
    uint64_t *handle = luaL_checkudata(L, 1, HANDLE_TYPE);
    struct job *job = find(timers_of(gw_vm_of(L)), *handle);
    bool waits = job != NULL && (job->again || !job->running);

    if (job != NULL)
        job_free(job);
    lua_pushboolean(L, waits);
    return 1;
}

void gw_lib_timer_open(lua_State *L, struct gw_vm *vm)
{
    static const luaL_Reg functions[] = {
        {"after", timer_after}, {"every", timer_every}, {NULL, NULL}};
    struct timers *timers = calloc(1, sizeof(*timers));

    if (timers == NULL)
        abort();
    timers->vm = vm;
    *gw_vm_data(vm, GW_LIB_TIMER) = timers;

    luaL_newmetatable(L, HANDLE_TYPE);
    lua_newtable(L);
    lua_pushcfunction(L, timer_cancel);
    lua_setfield(L, -2, "cancel");
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, HANDLE_TYPE);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);

    lua_newtable(L);
    luaL_register(L, NULL, functions);
}

static void drop(struct timers *timers, const struct gw_instance *instance, bool all)
{
    for (uint32_t i = 0; i < timers->used; i++) {
        struct job *job = timers->slots[i];
        if (job != NULL && (all || job->instance == instance))
            job_free(job);
    }
}

void gw_lib_timer_retire(struct gw_vm *vm, struct gw_instance *instance)
{
    drop(timers_of(vm), instance, false);
}

void gw_lib_timer_close(struct gw_vm *vm)
{
    struct timers *timers = timers_of(vm);

    if (timers == NULL)
        return;
    drop(timers, NULL, true);
    free(timers);
    *gw_vm_data(vm, GW_LIB_TIMER) = NULL;
}
