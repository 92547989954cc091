/* How runaway Lua is ended, compiled loops too.
 *
 * LuaJIT checks hooks only in the interpreter. The profiler in mode "l" makes the compiler
 * emit a check for each source line; raise(SIGPROF) makes that check leave the compiled code,
 * and a count hook that was set just before then raises the error. The hook stays armed until
 * we are back in C, so that no pcall() of the plugin can go on after it.
 *
 * Nothing is armed per entry: one timer of this thread's CPU clock ticks every 10 ms and compares
 * a counter of entries. A worker that sleeps burns no CPU and gets no tick. */
#include "script/vm_private.h"

#include <errno.h>
#include <lauxlib.h>
#include <luajit.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

#define TICK_MS 10
#define PROFILE_MODE "li1000000" /* checks per line; its own timer is far away */

/* A handler has no argument that we could trust more: one VM a process has the deadline. */
static struct gw_vm *watched;

static int tick_signal(void)
{
    return SIGRTMIN + 4;
}

static void no_sample(void *data, lua_State *L, int samples, int vmstate)
{
    (void)data;
    (void)L;
    (void)samples;
    (void)vmstate;
}

static bool is_ours(const lua_Debug *ar)
{
    return strncmp(ar->source, "@gateway/", 9) == 0;
}

/* Where the code of a plugin was when it was stopped first: what the log will say. */
static void note_where(struct gw_vm *vm, lua_State *L)
{
    char *to = vm->stop_where;
    size_t room = sizeof(vm->stop_where);
    lua_Debug ar;

    vm->stop_noted = true;
    *to = '\0';
    for (int level = 0, said = 0; level < 60 && said < 12 && lua_getstack(L, level, &ar); level++) {
        int len;
        if (!lua_getinfo(L, "Sl", &ar) || ar.currentline < 0 || (said == 0 && is_ours(&ar)))
            continue;
        len = snprintf(to, room, "%s%s:%d", said == 0 ? "" : " < ", ar.short_src, ar.currentline);
        if (len < 0 || (size_t)len >= room)
            break;
        to += len;
        room -= (size_t)len;
        said++;
    }
}

static void stop_hook(lua_State *L, lua_Debug *ar)
{
    struct gw_vm *vm = gw_vm_of(L);

    (void)ar;
    if (vm->stop == GW_STOP_NONE || !vm->inside)
        return;
    if (!vm->stop_noted)
        note_where(vm, L);
    if (vm->stop == GW_STOP_HEAP)
        luaL_error(L, "the Lua heap is full");
    luaL_error(L, "the CPU budget is used up");
}

/* Async-signal-safe as far as LuaJIT's own profiler is: it does the same from its handler. */
void gw_deadline_arm(struct gw_vm *vm, enum gw_stop why)
{
    if (vm->stop != GW_STOP_NONE)
        return;
    vm->stop = (sig_atomic_t)why;
    lua_sethook(vm->L, stop_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    if (vm == watched && vm->previous == NULL)
        raise(SIGPROF);
}

void gw_deadline_disarm(struct gw_vm *vm)
{
    lua_sethook(vm->L, NULL, 0, 0);
    vm->stop = GW_STOP_NONE;
    vm->stop_noted = false;
}

static void on_tick(int signo)
{
    struct gw_vm *vm = watched;
    int saved = errno;

    (void)signo;
    if (vm != NULL && vm->inside) {
        if (vm->entry != vm->entry_seen) {
            vm->entry_seen = vm->entry;
            vm->ticks = 0;
        }
        if (++vm->ticks > vm->ticks_max)
            gw_deadline_arm(vm, GW_STOP_CPU);
    }
    errno = saved;
}

static enum gw_rc make_timer(struct gw_vm *vm, struct gw_err *err)
{
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = tick_signal()};

    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGPROF);
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (sigaction(tick_signal(), &action, NULL) != 0 ||
        timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &vm->timer) != 0)
        return gw_err_set(err, GW_SYSTEM, "lua: timer of the CPU clock: %s", strerror(errno));
    vm->timer_made = true;
    return GW_OK;
}

static void set_tick(struct gw_vm *vm, long ms)
{
    struct itimerspec every = {.it_interval.tv_nsec = ms * 1000000,
                               .it_value.tv_nsec = ms * 1000000};

    timer_settime(vm->timer, 0, &every, NULL);
}

/* A compiled loop that would end by itself after a second or so must be ended before. The kernel
 * looks at a CPU clock only every 4 ms or so, and every start and every reload would wait for it:
 * here a timer of the wall clock sends the ticks. The first call, without ticks, is long enough
 * that the loop is compiled when the second one begins. */
static bool self_test(struct gw_vm *vm)
{
    static const char loop[] = "local to = ...\n"
                               "local n = 0\n"
                               "for i = 1, to do\n"
                               "  n = n + i % 7\n"
                               "end\n"
                               "return n";
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = tick_signal()};
    struct itimerspec every = {.it_interval.tv_nsec = 100000, .it_value.tv_nsec = 100000};
    bool stopped = false;
    timer_t timer;

    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (luaL_loadbuffer(vm->L, loop, sizeof(loop) - 1, "=self-test") != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) {
        lua_settop(vm->L, 0);
        return false;
    }
    lua_pushvalue(vm->L, -1);
    lua_pushinteger(vm->L, 10000);
    if (lua_pcall(vm->L, 1, 0, 0) == 0) {
        lua_pushinteger(vm->L, 400000000);
        vm->ticks_max = 1;
        vm->entry++;
        vm->inside = 1;
        timer_settime(timer, 0, &every, NULL);
        stopped = lua_pcall(vm->L, 1, 0, 0) != 0;
        vm->inside = 0;
    }
    timer_delete(timer);
    gw_deadline_disarm(vm);
    lua_settop(vm->L, 0);
    return stopped;
}

void gw_deadline_budget(struct gw_vm *vm)
{
    vm->ticks_max = (vm->options.cpu_budget_ms + TICK_MS - 1) / TICK_MS;
}

enum gw_rc gw_deadline_open(struct gw_vm *vm, struct gw_err *err)
{
    sigset_t unblock;
    enum gw_rc rc;

    /* LuaJIT's profiler serves one state at a time. A second one (the loader within `moongate
     * spec`) borrows the deadline and runs plugin code interpreted, where hooks just work. */
    vm->previous = watched;
    watched = vm;
    if (vm->previous != NULL)
        luaJIT_setmode(vm->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    else
        luaJIT_profile_start(vm->L, PROFILE_MODE, no_sample, NULL);
    rc = make_timer(vm, err);
    if (rc != GW_OK) {
        gw_deadline_close(vm);
        return rc;
    }
    sigemptyset(&unblock);
    sigaddset(&unblock, SIGPROF);
    sigaddset(&unblock, tick_signal());
    pthread_sigmask(SIG_UNBLOCK, &unblock, NULL);
    vm->jit_plugins = vm->previous == NULL && self_test(vm);
    if (!vm->jit_plugins && vm->previous == NULL)
        gw_warn("lua: compiled loops cannot be interrupted here: plugins run interpreted");
    gw_deadline_budget(vm);
    set_tick(vm, TICK_MS);
    return GW_OK;
}

void gw_deadline_close(struct gw_vm *vm)
{
    if (vm->timer_made)
        timer_delete(vm->timer);
    vm->timer_made = false;
    if (watched != vm)
        return;
    /* A tick that was sent already finds nothing to do. */
    watched = vm->previous;
    if (watched == NULL)
        luaJIT_profile_stop(vm->L);
    else
        gw_ffi_use(gw_slots_base(watched->slots));
}
