/* How it works: libevent dispatches descriptors and nothing else. Timers live in our own
 * heap behind one timerfd, which is armed again only when something must run earlier than
 * it is armed for; so a request that pushes its deadline on costs a store, not a call. */
#include "net/loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/time.h"

static_assert(sizeof(struct event) <= sizeof(((struct gw_io *)0)->event), "room for an event");

struct slot {
    uint64_t key; /* when to look at it; never later than timer->due_ms */
    struct gw_timer *timer;
};

struct gw_loop {
    struct event_base *base;
    bool stop;

    bool now_valid;
    uint64_t now_us;
    uint64_t wall_ms; /* 0: not read in this turn */
    uint64_t ahead_ms;
    uint64_t turns;
    uint32_t news, news_before; /* descriptors told of in this turn, and in the one before */

    struct slot *heap; /* binary, from index 1 */
    uint32_t heap_len;
    uint32_t heap_size;
    int timer_fd;
    struct gw_io timer_io;
    uint64_t armed_ms; /* GW_NEVER: the timerfd is off */

    struct gw_list later;

    int signal_fd;
    struct gw_io signal_io;
    gw_signal_fn signal_fn;
    void *signal_arg;
    sigset_t signals;

    char *buffer;
};

/* ---- clock ---- */

static void clock_read(struct gw_loop *loop)
{
    loop->now_us = gw_time_mono_us() + loop->ahead_ms * 1000;
    loop->wall_ms = 0;
    loop->now_valid = true;
}

uint64_t gw_loop_now_us(struct gw_loop *loop)
{
    if (!loop->now_valid)
        clock_read(loop);
    return loop->now_us;
}

uint64_t gw_loop_now_ms(struct gw_loop *loop)
{
    return gw_loop_now_us(loop) / 1000;
}

uint64_t gw_loop_wall_ms(struct gw_loop *loop)
{
    if (!loop->now_valid)
        clock_read(loop);
    if (loop->wall_ms == 0)
        loop->wall_ms = gw_time_real_ms() + loop->ahead_ms;
    return loop->wall_ms;
}

uint64_t gw_loop_turns(const struct gw_loop *loop)
{
    return loop->turns;
}

uint32_t gw_loop_busy(const struct gw_loop *loop)
{
    return loop->news_before;
}

char *gw_loop_buffer(struct gw_loop *loop)
{
    return loop->buffer;
}

/* ---- timers ---- */

static void place(struct gw_loop *loop, uint32_t at, struct slot slot)
{
    loop->heap[at] = slot;
    slot.timer->place = at;
}

static void sift_up(struct gw_loop *loop, uint32_t at)
{
    struct slot slot = loop->heap[at];

    for (; at > 1 && loop->heap[at / 2].key > slot.key; at /= 2)
        place(loop, at, loop->heap[at / 2]);
    place(loop, at, slot);
}

static void sift_down(struct gw_loop *loop, uint32_t at)
{
    struct slot slot = loop->heap[at];

    for (;;) {
        uint32_t child = at * 2;
        if (child > loop->heap_len)
            break;
        if (child < loop->heap_len && loop->heap[child + 1].key < loop->heap[child].key)
            child++;
        if (loop->heap[child].key >= slot.key)
            break;
        place(loop, at, loop->heap[child]);
        at = child;
    }
    place(loop, at, slot);
}

static void heap_remove(struct gw_loop *loop, struct gw_timer *timer)
{
    uint32_t at = timer->place;
    struct slot last = loop->heap[loop->heap_len--];

    timer->place = 0;
    if (last.timer == timer)
        return;
    place(loop, at, last);
    sift_up(loop, at);
    sift_down(loop, last.timer->place);
}

static void heap_insert(struct gw_loop *loop, struct gw_timer *timer)
{
    if (loop->heap_len + 1 >= loop->heap_size) {
        uint32_t size = loop->heap_size > 0 ? loop->heap_size * 2 : 64;
        struct slot *heap = realloc(loop->heap, size * sizeof(*heap));
        if (heap == NULL)
            abort();
        loop->heap = heap;
        loop->heap_size = size;
    }
    place(loop, ++loop->heap_len, (struct slot){timer->due_ms, timer});
    sift_up(loop, loop->heap_len);
}

/* The timerfd must fire no later than the first in the heap. */
static void arm(struct gw_loop *loop)
{
    struct itimerspec spec = {0};
    uint64_t first = loop->heap_len > 0 ? loop->heap[1].key : GW_NEVER, now, wait;

    if (first >= loop->armed_ms)
        return;
    now = gw_time_mono_us() / 1000 + loop->ahead_ms;
    wait = first > now ? first - now : 0;
    spec.it_value.tv_sec = (time_t)(wait / 1000);
    spec.it_value.tv_nsec = wait > 0 ? (long)(wait % 1000) * 1000000 : 1;
    (void)timerfd_settime(loop->timer_fd, 0, &spec, NULL);
    loop->armed_ms = first;
}

void gw_timer_init(struct gw_timer *timer, gw_timer_fn fn)
{
    timer->due_ms = GW_NEVER;
    timer->place = 0;
    timer->fn = fn;
}

void gw_timer_set(struct gw_loop *loop, struct gw_timer *timer, uint64_t due_ms)
{
    timer->due_ms = due_ms;
    if (due_ms == GW_NEVER)
        return;
    if (timer->place == 0) {
        heap_insert(loop, timer);
    } else if (loop->heap[timer->place].key > due_ms) {
        loop->heap[timer->place].key = due_ms;
        sift_up(loop, timer->place);
    } else {
        return;
    }
    if (loop->heap[1].key < loop->armed_ms)
        arm(loop);
}

void gw_timer_fini(struct gw_loop *loop, struct gw_timer *timer)
{
    timer->due_ms = GW_NEVER;
    if (timer->place != 0)
        heap_remove(loop, timer);
}

static void timers_run(struct gw_loop *loop)
{
    uint64_t now = gw_loop_now_ms(loop);

    while (loop->heap_len > 0 && loop->heap[1].key <= now) {
        struct gw_timer *timer = loop->heap[1].timer;
        if (timer->due_ms <= now) {
            heap_remove(loop, timer);
            timer->due_ms = GW_NEVER;
            timer->fn(timer);
        } else if (timer->due_ms == GW_NEVER) {
            heap_remove(loop, timer);
        } else {
            loop->heap[1].key = timer->due_ms;
            sift_down(loop, 1);
        }
    }
    arm(loop);
}

static void on_timer_fd(struct gw_io *io, unsigned what)
{
    struct gw_loop *loop = io->loop;
    uint64_t count;

    if (read(loop->timer_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        return;
    loop->armed_ms = GW_NEVER;
    timers_run(loop);
}

/* ---- descriptors ---- */

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct gw_io *io = arg;
    unsigned told = 0;

    (void)fd;
    if (what & EV_READ)
        told |= GW_IO_READ;
    if (what & EV_WRITE)
        told |= GW_IO_WRITE;
    if (what & EV_CLOSED)
        told |= GW_IO_HANGUP | GW_IO_READ;
    io->loop->news++;
    io->fn(io, told);
}

static enum gw_rc io_add(struct gw_io *io, struct gw_loop *loop, int fd, gw_io_fn fn, short what)
{
    io->loop = loop;
    io->fn = fn;
    if (event_assign((struct event *)(void *)io->event, loop->base, fd, what, on_event, io) != 0 ||
        event_add((struct event *)(void *)io->event, NULL) != 0) {
        io->loop = NULL;
        return GW_SYSTEM;
    }
    return GW_OK;
}

enum gw_rc gw_io_open(struct gw_io *io, struct gw_loop *loop, int fd, gw_io_fn fn)
{
    return io_add(io, loop, fd, fn, EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST);
}

enum gw_rc gw_io_open_level(struct gw_io *io, struct gw_loop *loop, int fd, gw_io_fn fn)
{
    return io_add(io, loop, fd, fn, EV_READ | EV_PERSIST);
}

void gw_io_close(struct gw_io *io)
{
    if (io->loop == NULL)
        return;
    (void)event_del((struct event *)(void *)io->event);
    io->loop = NULL;
}

/* ---- the end of a turn ---- */

void gw_later(struct gw_loop *loop, struct gw_later *later)
{
    if (gw_list_empty(&later->link))
        gw_list_push_back(&loop->later, &later->link);
}

static void later_run(struct gw_loop *loop)
{
    struct gw_list now;

    if (gw_list_empty(&loop->later))
        return;
    /* What is asked for from here on belongs to the next turn. */
    now = loop->later;
    now.next->prev = &now;
    now.prev->next = &now;
    gw_list_init(&loop->later);
    while (!gw_list_empty(&now)) {
        struct gw_later *later = GW_CONTAINER(now.next, struct gw_later, link);
        gw_list_remove(&later->link);
        later->fn(later);
    }
}

/* ---- signals ---- */

static void on_signal_fd(struct gw_io *io, unsigned what)
{
    struct gw_loop *loop = io->loop;
    struct signalfd_siginfo info;

    while (read(loop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        loop->signal_fn(loop->signal_arg, (int)info.ssi_signo);
}

enum gw_rc gw_loop_signals(struct gw_loop *loop, const int *signals, gw_signal_fn fn, void *arg)
{
    assert(loop->signal_fd < 0);
    (void)sigemptyset(&loop->signals);
    for (; *signals != 0; signals++)
        (void)sigaddset(&loop->signals, *signals);
    if (sigprocmask(SIG_BLOCK, &loop->signals, NULL) != 0)
        return GW_SYSTEM;
    loop->signal_fd = signalfd(-1, &loop->signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (loop->signal_fd < 0)
        return GW_SYSTEM;
    loop->signal_fn = fn;
    loop->signal_arg = arg;
    return gw_io_open_level(&loop->signal_io, loop, loop->signal_fd, on_signal_fd);
}

/* ---- life ---- */

static void on_libevent_log(int severity, const char *text)
{
    /* Its warnings repeat what the calls return; its errors abort the process. */
    if (severity >= EVENT_LOG_ERR)
        (void)fprintf(stderr, "moongate: libevent: %s\n", text);
}

/* No EPOLL_USE_CHANGELIST: it would take a descriptor out of the epoll set after it was closed,
 * which fails where another process holds the same socket (lent listeners). */
static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (config == NULL)
        return NULL;
    event_set_log_callback(on_libevent_log);
    if (event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME) == 0)
        base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

enum gw_rc gw_loop_new(struct gw_loop **out)
{
    struct gw_loop *loop = calloc(1, sizeof(*loop));

    if (loop == NULL)
        return GW_NOMEM;
    loop->timer_fd = loop->signal_fd = -1;
    loop->armed_ms = GW_NEVER;
    gw_list_init(&loop->later);
    loop->buffer = malloc(GW_LOOP_BUFFER_BYTES);
    loop->base = base_new();
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->buffer == NULL || loop->base == NULL || loop->timer_fd < 0 ||
        gw_io_open_level(&loop->timer_io, loop, loop->timer_fd, on_timer_fd) != GW_OK) {
        gw_loop_free(loop);
        return GW_SYSTEM;
    }
    *out = loop;
    return GW_OK;
}

void gw_loop_free(struct gw_loop *loop)
{
    if (loop == NULL)
        return;
    gw_io_close(&loop->timer_io);
    gw_io_close(&loop->signal_io);
    if (loop->signal_fd >= 0)
        (void)close(loop->signal_fd);
    if (loop->timer_fd >= 0)
        (void)close(loop->timer_fd);
    if (loop->base != NULL)
        event_base_free(loop->base);
    free(loop->heap);
    free(loop->buffer);
    free(loop);
}

static void turn(struct gw_loop *loop, bool wait)
{
    int flags = EVLOOP_ONCE;

    if (!wait || !gw_list_empty(&loop->later))
        flags |= EVLOOP_NONBLOCK;
    loop->now_valid = false;
    loop->turns++;
    loop->news_before = loop->news;
    loop->news = 0;
    (void)event_base_loop(loop->base, flags);
    later_run(loop);
}

void gw_loop_run(struct gw_loop *loop)
{
    loop->stop = false;
    while (!loop->stop)
        turn(loop, true);
}

void gw_loop_stop(struct gw_loop *loop)
{
    loop->stop = true;
}

static void on_wait_over(struct gw_timer *timer)
{
    /* Its only purpose was to end the wait. */
}

void gw_loop_turn(struct gw_loop *loop, int wait_ms)
{
    struct gw_timer timer;

    if (wait_ms <= 0) {
        turn(loop, wait_ms < 0);
        return;
    }
    loop->now_valid = false;
    gw_timer_init(&timer, on_wait_over);
    gw_timer_set(loop, &timer, gw_loop_now_ms(loop) + (uint64_t)wait_ms);
    turn(loop, true);
    gw_timer_fini(loop, &timer);
}

void gw_loop_advance(struct gw_loop *loop, uint64_t ms)
{
    loop->ahead_ms += ms;
    loop->now_valid = false;
    loop->armed_ms = GW_NEVER;
    arm(loop);
}
