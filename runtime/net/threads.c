/* How it works: one mutex guards the queue, the list of finished jobs and the counters. A
 * thread that puts the first job into the finished list writes to an eventfd; the loop takes
 * the whole list at once and calls `done` without the lock. */
#include "net/threads.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Enough for scrypt, SQLite and PCRE2, which keep what is large on the heap. */
#define STACK_BYTES (512 * 1024)

struct gw_threads {
    struct gw_loop *loop;
    struct gw_io io;
    int fd;
    uint32_t threads_max;
    uint32_t queue_max;
    uint64_t refused;
    bool calling;

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t work;
    struct gw_list queue;
    struct gw_list running;
    struct gw_list finished;
    uint32_t queued, busy, idle;
    uint64_t finished_count;
    bool stop;

    uint32_t threads;
    pthread_t handles[GW_THREADS_MAX];
};

void gw_threads_job_init(struct gw_threads_job *job, gw_threads_work_fn work,
                         gw_threads_done_fn done)
{
    gw_list_init(&job->link);
    job->work = work;
    job->done = done;
    atomic_init(&job->cancelled, false);
    job->taken = false;
    job->ran = false;
}

/* ---- on the helper threads ---- */

static void wake_loop(struct gw_threads *pool)
{
    static const uint64_t one = 1;

    /* EAGAIN would mean that the counter is full: then the loop is awake anyway. */
    while (write(pool->fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

/* With the lock held. */
static void finish(struct gw_threads *pool, struct gw_threads_job *job)
{
    bool first = gw_list_empty(&pool->finished);

    gw_list_remove(&job->link);
    gw_list_push_back(&pool->finished, &job->link);
    pool->finished_count++;
    if (first)
        wake_loop(pool);
}

static void *thread_main(void *arg)
{
    struct gw_threads *pool = arg;

    (void)pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct gw_threads_job *job;
        while (gw_list_empty(&pool->queue) && !pool->stop) {
            pool->idle++;
            (void)pthread_cond_wait(&pool->work, &pool->lock);
            pool->idle--;
        }
        if (pool->stop)
            break;
        job = GW_CONTAINER(pool->queue.next, struct gw_threads_job, link);
        gw_list_remove(&job->link);
        gw_list_push_back(&pool->running, &job->link);
        job->ran = true;
        pool->queued--;
        pool->busy++;
        (void)pthread_mutex_unlock(&pool->lock);
        job->work(job);
        (void)pthread_mutex_lock(&pool->lock);
        pool->busy--;
        finish(pool, job);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Signals are for the loop's thread, hence all are blocked in the new one. With the lock held. */
static bool thread_start(struct gw_threads *pool)
{
    pthread_attr_t attr;
    sigset_t all, before;
    bool started;

    if (pthread_attr_init(&attr) != 0)
        return false;
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    started = pthread_create(&pool->handles[pool->threads], &attr, thread_main, pool) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    if (started)
        pool->threads++;
    return started;
}

/* ---- on the loop's thread ---- */

static void deliver(struct gw_threads *pool)
{
    struct gw_list now;

    gw_list_init(&now);
    (void)pthread_mutex_lock(&pool->lock);
    while (!gw_list_empty(&pool->finished)) {
        struct gw_list *link = pool->finished.next;
        gw_list_remove(link);
        gw_list_push_back(&now, link);
    }
    (void)pthread_mutex_unlock(&pool->lock);

    pool->calling = true;
    while (!gw_list_empty(&now)) {
        struct gw_threads_job *job = GW_CONTAINER(now.next, struct gw_threads_job, link);
        gw_list_remove(&job->link);
        job->taken = false;
        job->done(job, job->ran ? GW_OK : GW_CANCELLED);
    }
    pool->calling = false;
}

static void on_eventfd(struct gw_io *io, unsigned what)
{
    struct gw_threads *pool = GW_CONTAINER(io, struct gw_threads, io);
    uint64_t count;

    (void)what;
    /* EAGAIN: another turn has emptied it; there is no harm in looking. */
    while (read(pool->fd, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
    deliver(pool);
}

enum gw_rc gw_threads_submit(struct gw_threads *pool, struct gw_threads_job *job)
{
    enum gw_rc rc = GW_OK;

    assert(!job->taken);
    (void)pthread_mutex_lock(&pool->lock);
    if (pool->stop) {
        rc = GW_CANCELLED;
    } else if (pool->queued >= pool->queue_max) {
        rc = GW_FULL;
        pool->refused++;
    } else if (pool->idle <= pool->queued && pool->threads < pool->threads_max &&
               !thread_start(pool) && pool->threads == 0) {
        rc = GW_SYSTEM;
    }
    if (rc == GW_OK) {
        gw_list_init(&job->link);
        gw_list_push_back(&pool->queue, &job->link);
        atomic_store_explicit(&job->cancelled, false, memory_order_relaxed);
        job->taken = true;
        job->ran = false;
        pool->queued++;
        (void)pthread_cond_signal(&pool->work);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return rc;
}

void gw_threads_cancel(struct gw_threads *pool, struct gw_threads_job *job)
{
    if (!job->taken)
        return;
    atomic_store_explicit(&job->cancelled, true, memory_order_relaxed);
    (void)pthread_mutex_lock(&pool->lock);
    if (!job->ran) {
        /* A second cancel finds it in the finished list, where moving it does no harm. */
        GW_LIST_EACH(link, &pool->queue)
        {
            if (link != &job->link)
                continue;
            pool->queued--;
            finish(pool, job);
            break;
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
}

void gw_threads_stats(struct gw_threads *pool, struct gw_threads_stats *out)
{
    (void)pthread_mutex_lock(&pool->lock);
    *out = (struct gw_threads_stats){.threads = pool->threads,
                                     .queued = pool->queued,
                                     .running = pool->busy,
                                     .finished = pool->finished_count,
                                     .refused = pool->refused};
    (void)pthread_mutex_unlock(&pool->lock);
}

/* ---- life ---- */

enum gw_rc gw_threads_new(struct gw_loop *loop, uint32_t threads, uint32_t queue_max,
                          struct gw_threads **out)
{
    struct gw_threads *pool;

    if (threads == 0 || threads > GW_THREADS_MAX || queue_max == 0)
        return GW_INVALID;
    pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return GW_NOMEM;
    pool->loop = loop;
    pool->threads_max = threads;
    pool->queue_max = queue_max;
    gw_list_init(&pool->queue);
    gw_list_init(&pool->running);
    gw_list_init(&pool->finished);
    pool->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (pool->fd < 0)
        goto fail_after_calloc;
    if (gw_io_open_level(&pool->io, loop, pool->fd, on_eventfd) != GW_OK)
        goto fail_after_eventfd;
    (void)pthread_mutex_init(&pool->lock, NULL); /* neither can fail with default attributes */
    (void)pthread_cond_init(&pool->work, NULL);
    *out = pool;
    return GW_OK;

fail_after_eventfd:
    (void)close(pool->fd);
fail_after_calloc:
    free(pool);
    return GW_SYSTEM;
}

void gw_threads_free(struct gw_threads *pool)
{
    if (pool == NULL)
        return;
    assert(!pool->calling);
    (void)pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    GW_LIST_EACH(link, &pool->running)
    atomic_store_explicit(&GW_CONTAINER(link, struct gw_threads_job, link)->cancelled, true,
                          memory_order_relaxed);
    while (!gw_list_empty(&pool->queue)) {
        pool->queued--;
        finish(pool, GW_CONTAINER(pool->queue.next, struct gw_threads_job, link));
    }
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->threads; i++)
        (void)pthread_join(pool->handles[i], NULL);
    deliver(pool);
    gw_io_close(&pool->io);
    (void)close(pool->fd);
    (void)pthread_mutex_destroy(&pool->lock);
    (void)pthread_cond_destroy(&pool->work);
    free(pool);
}
