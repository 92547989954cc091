/* Helper threads for C work that blocks: cold files, password hashes, archives, SQLite.
 * No Lua, no arena, no log and no loop runs on them: only the job's own memory.
 * Lives in: one worker. Owner: who made it; a job belongs to who submits it, until `done`.
 * Invariant: each job that was taken gets exactly one `done`, on the loop's thread, never
 * from inside gw_threads_submit() or gw_threads_cancel().
 * The threads start with the first job, not before, and have all signals blocked. */
#ifndef GW_NET_THREADS_H
#define GW_NET_THREADS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/rc.h"
#include "net/loop.h"

#define GW_THREADS_DEFAULT 4
#define GW_THREADS_MAX 64
#define GW_THREADS_QUEUE_DEFAULT 256

struct gw_threads;
struct gw_threads_job;

typedef void (*gw_threads_work_fn)(struct gw_threads_job *job); /* on a helper thread */

/* On the loop's thread; may free the job or submit it again. rc: GW_OK: `work` has run (what
 * came of it is in the job's own fields); GW_CANCELLED: it was never begun. */
typedef void (*gw_threads_done_fn)(struct gw_threads_job *job, enum gw_rc rc);

struct gw_threads_job {
    struct gw_list link; /* of the queue, then of the finished */
    gw_threads_work_fn work;
    gw_threads_done_fn done;
    atomic_bool cancelled;
    bool taken; /* from submit until done; only the loop's thread looks */
    bool ran;
};

/* Zeroes are a job too; this one also sets the functions. */
void gw_threads_job_init(struct gw_threads_job *job, gw_threads_work_fn work,
                         gw_threads_done_fn done);

/* threads 1..GW_THREADS_MAX; `queue_max`: jobs that wait for a thread. */
GW_MUST_CHECK enum gw_rc gw_threads_new(struct gw_loop *loop, uint32_t threads, uint32_t queue_max,
                                        struct gw_threads **out);

/* Asks running jobs to stop, waits for them, and calls every `done` that is missing before it
 * returns. Not from inside a `done`. */
void gw_threads_free(struct gw_threads *pool);

/* GW_OK; GW_FULL: the queue is at its limit; GW_SYSTEM: no thread could be started;
 * GW_CANCELLED: the pool is being freed. */
GW_MUST_CHECK enum gw_rc gw_threads_submit(struct gw_threads *pool, struct gw_threads_job *job);

/* A job that waits will not begin; one that runs can see it by gw_threads_cancelled().
 * `done` comes in either case. Nothing for a job that is not taken. */
void gw_threads_cancel(struct gw_threads *pool, struct gw_threads_job *job);

static inline bool gw_threads_cancelled(struct gw_threads_job *job)
{
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed);
}

struct gw_threads_stats {
    uint32_t threads; /* started */
    uint32_t queued;
    uint32_t running;
    uint64_t finished;
    uint64_t refused; /* for GW_FULL */
};
void gw_threads_stats(struct gw_threads *pool, struct gw_threads_stats *out);

#endif
