/* The event loop of one worker: descriptors, timers, work for the end of a turn, the clock.
 * The only door to libevent. Lives in: one worker (or one command). Owner: who made it.
 * Nothing here may be called from another thread but gw_loop_wake() (net/threads.c). */
#ifndef GW_NET_LOOP_H
#define GW_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/rc.h"

struct gw_loop;

GW_MUST_CHECK enum gw_rc gw_loop_new(struct gw_loop **out);
void gw_loop_free(struct gw_loop *loop); /* every io, timer and signal was closed before */

void gw_loop_run(struct gw_loop *loop); /* until gw_loop_stop() */
void gw_loop_stop(struct gw_loop *loop);

/* One turn: waits at most `wait_ms` (-1: until something happens), runs what is ready. */
void gw_loop_turn(struct gw_loop *loop, int wait_ms);

/* Read once a turn. Monotonic; starts anywhere, the same in all processes of a machine. */
uint64_t gw_loop_now_ms(struct gw_loop *loop);
uint64_t gw_loop_now_us(struct gw_loop *loop);
uint64_t gw_loop_wall_ms(struct gw_loop *loop); /* since 1970, UTC */

/* For specs: all clocks of this loop go forward by `ms`; what is due then runs. */
void gw_loop_advance(struct gw_loop *loop, uint64_t ms);

/* Turns that this loop has made: the heartbeat that a watchdog looks at. */
uint64_t gw_loop_turns(const struct gw_loop *loop);

/* Descriptors that had news in the turn before this one: how busy the loop is. */
uint32_t gw_loop_busy(const struct gw_loop *loop);

/* A buffer of the worker for one read at a time; its content is good until return. */
#define GW_LOOP_BUFFER_BYTES (128 * 1024)
char *gw_loop_buffer(struct gw_loop *loop);

/* ---- descriptors: edge-triggered, both directions, registered once ---- */

#define GW_IO_READ 1u
#define GW_IO_WRITE 2u
#define GW_IO_HANGUP 4u /* the peer has closed its sending side, or all of it */

struct gw_io;
typedef void (*gw_io_fn)(struct gw_io *io, unsigned what); /* may close `io` */

struct gw_io {
    _Alignas(8) char event[128]; /* struct event */
    struct gw_loop *loop;
    gw_io_fn fn;
};

GW_MUST_CHECK enum gw_rc gw_io_open(struct gw_io *io, struct gw_loop *loop, int fd, gw_io_fn fn);
/* Level-triggered, reading only: listeners, signal pipes. */
GW_MUST_CHECK enum gw_rc gw_io_open_level(struct gw_io *io, struct gw_loop *loop, int fd,
                                          gw_io_fn fn);
void gw_io_close(struct gw_io *io); /* does not close the descriptor; idempotent */

/* ---- timers: cheap to set again and again (the heap is touched only when one must run
 * earlier than it stands there) ---- */

#define GW_NEVER UINT64_MAX

struct gw_timer;
typedef void (*gw_timer_fn)(struct gw_timer *timer);

struct gw_timer {
    uint64_t due_ms; /* GW_NEVER: not set */
    uint32_t place;  /* in the heap, from 1; 0: not in it */
    gw_timer_fn fn;
};

void gw_timer_init(struct gw_timer *timer, gw_timer_fn fn);
void gw_timer_set(struct gw_loop *loop, struct gw_timer *timer, uint64_t due_ms);
static inline void gw_timer_clear(struct gw_timer *timer) /* stays in the heap, will not run */
{
    timer->due_ms = GW_NEVER;
}
void gw_timer_fini(struct gw_loop *loop, struct gw_timer *timer); /* before its memory goes */

/* ---- the end of this turn ---- */

struct gw_later;
typedef void (*gw_later_fn)(struct gw_later *later);

struct gw_later {
    struct gw_list link; /* empty: not waiting */
    gw_later_fn fn;
};

static inline void gw_later_init(struct gw_later *later, gw_later_fn fn)
{
    gw_list_init(&later->link);
    later->fn = fn;
}
void gw_later(struct gw_loop *loop, struct gw_later *later); /* once, however often it is asked */
static inline void gw_later_cancel(struct gw_later *later)
{
    gw_list_remove(&later->link);
}

/* ---- signals (through a signalfd; the caller blocks nothing itself) ---- */

typedef void (*gw_signal_fn)(void *arg, int signo);
/* At most one handler a loop; `signals` ends with 0. */
GW_MUST_CHECK enum gw_rc gw_loop_signals(struct gw_loop *loop, const int *signals, gw_signal_fn fn,
                                         void *arg);

#endif
