#include "net/threads.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct work {
    struct gw_threads_job job;
    int input, output;
    bool on_loop_thread;
    bool signals_blocked;
    unsigned done;
    enum gw_rc rc;
};

static pthread_t loop_thread;
static struct gw_loop *loop;
static struct gw_threads *pool;
static unsigned done_count;
static atomic_bool gate;
static atomic_uint begun;

static void add_one(struct gw_threads_job *job)
{
    struct work *work = GW_CONTAINER(job, struct work, job);
    sigset_t mask;

    work->output = work->input + 1;
    work->on_loop_thread = pthread_equal(pthread_self(), loop_thread);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
    work->signals_blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGHUP) == 1 &&
                            sigismember(&mask, SIGCHLD) == 1;
}

static void wait_for_gate(struct gw_threads_job *job)
{
    (void)atomic_fetch_add(&begun, 1);
    while (!atomic_load(&gate))
        (void)sched_yield();
}

static void wait_for_cancel(struct gw_threads_job *job)
{
    (void)atomic_fetch_add(&begun, 1);
    while (!gw_threads_cancelled(job))
        (void)sched_yield();
}

static void note(struct gw_threads_job *job, enum gw_rc rc)
{
    struct work *work = GW_CONTAINER(job, struct work, job);

    assert_true(pthread_equal(pthread_self(), loop_thread));
    work->done++;
    work->rc = rc;
    done_count++;
}

static void note_and_free(struct gw_threads_job *job, enum gw_rc rc)
{
    note(job, rc);
    free(GW_CONTAINER(job, struct work, job));
}

static unsigned again_left;

static void note_and_again(struct gw_threads_job *job, enum gw_rc rc)
{
    note(job, rc);
    if (again_left > 0) {
        again_left--;
        assert_int_equal(gw_threads_submit(pool, job), GW_OK);
    }
}

static void turn_until(unsigned count)
{
    for (int turns = 0; done_count < count && turns < 5000; turns++)
        gw_loop_turn(loop, 20);
    assert_int_equal(done_count, count);
}

static void wait_begun(unsigned count)
{
    while (atomic_load(&begun) < count)
        (void)sched_yield();
}

static int setup(void **state)
{
    loop_thread = pthread_self();
    done_count = 0;
    atomic_store(&gate, false);
    atomic_store(&begun, 0);
    assert_int_equal(gw_loop_new(&loop), GW_OK);
    assert_int_equal(gw_threads_new(loop, 2, 4, &pool), GW_OK);
    return 0;
}

static int teardown(void **state)
{
    gw_threads_free(pool);
    gw_loop_free(loop);
    return 0;
}

static struct gw_threads_stats stats(void)
{
    struct gw_threads_stats out;

    gw_threads_stats(pool, &out);
    return out;
}

static void starts_no_thread_before_the_first_job(void **state)
{
    struct work work = {.input = 41};

    assert_int_equal(stats().threads, 0);
    gw_threads_job_init(&work.job, add_one, note);
    assert_int_equal(gw_threads_submit(pool, &work.job), GW_OK);
    assert_int_equal(work.done, 0); /* never from inside submit */
    turn_until(1);

    assert_int_equal(work.output, 42);
    assert_int_equal(work.rc, GW_OK);
    assert_false(work.on_loop_thread);
    assert_true(work.signals_blocked);
    assert_int_equal(stats().threads, 1);
    assert_int_equal(stats().finished, 1);
}

static void runs_many_jobs_each_once(void **state)
{
    enum { COUNT = 2000 };
    struct work *works = calloc(COUNT, sizeof(*works));
    unsigned given = 0;

    while (given < COUNT) {
        works[given].input = (int)given;
        gw_threads_job_init(&works[given].job, add_one, note);
        if (gw_threads_submit(pool, &works[given].job) == GW_OK)
            given++;
        else
            gw_loop_turn(loop, 1);
    }
    turn_until(COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(works[i].output, i + 1);
        assert_int_equal(works[i].done, 1);
    }
    assert_true(stats().threads <= 2);
    free(works);
}

static void refuses_what_does_not_fit_into_the_queue(void **state)
{
    struct work works[7] = {0};

    for (int i = 0; i < 7; i++)
        gw_threads_job_init(&works[i].job, wait_for_gate, note);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(gw_threads_submit(pool, &works[i].job), GW_OK);
        wait_begun(i + 1);
    }
    for (int i = 2; i < 6; i++)
        assert_int_equal(gw_threads_submit(pool, &works[i].job), GW_OK);
    assert_int_equal(gw_threads_submit(pool, &works[6].job), GW_FULL);
    assert_int_equal(stats().refused, 1);
    assert_int_equal(stats().queued, 4);
    assert_int_equal(stats().running, 2);

    atomic_store(&gate, true);
    turn_until(6);
    assert_int_equal(gw_threads_submit(pool, &works[6].job), GW_OK);
    turn_until(7);
}

static void cancels_a_job_that_waits_and_tells_one_that_runs(void **state)
{
    struct work runs[2] = {0}, waits = {0};

    for (unsigned i = 0; i < 2; i++) {
        gw_threads_job_init(&runs[i].job, wait_for_cancel, note);
        assert_int_equal(gw_threads_submit(pool, &runs[i].job), GW_OK);
        wait_begun(i + 1);
    }
    gw_threads_job_init(&waits.job, add_one, note);
    assert_int_equal(gw_threads_submit(pool, &waits.job), GW_OK);

    gw_threads_cancel(pool, &waits.job);
    gw_threads_cancel(pool, &waits.job); /* twice is once */
    assert_int_equal(waits.done, 0);
    turn_until(1);
    assert_int_equal(waits.rc, GW_CANCELLED);
    assert_int_equal(waits.output, 0);
    assert_int_equal(stats().queued, 0);

    gw_threads_cancel(pool, &runs[0].job);
    gw_threads_cancel(pool, &runs[1].job);
    turn_until(3);
    assert_int_equal(runs[0].rc, GW_OK);   /* it did run */
    gw_threads_cancel(pool, &runs[0].job); /* nothing: it is not taken */
    gw_loop_turn(loop, 0);
    assert_int_equal(runs[0].done, 1);
}

static void lets_done_submit_again_and_free(void **state)
{
    struct work work = {.input = 1}, *own = calloc(1, sizeof(*own));

    again_left = 50;
    gw_threads_job_init(&work.job, add_one, note_and_again);
    assert_int_equal(gw_threads_submit(pool, &work.job), GW_OK);
    gw_threads_job_init(&own->job, add_one, note_and_free);
    assert_int_equal(gw_threads_submit(pool, &own->job), GW_OK);
    turn_until(52);
    assert_int_equal(work.done, 51);
}

static void tells_all_before_it_is_gone(void **state)
{
    struct work works[5] = {0};
    struct gw_threads *other;

    assert_int_equal(gw_threads_new(loop, 2, 8, &other), GW_OK);
    for (int i = 0; i < 5; i++) {
        gw_threads_job_init(&works[i].job, wait_for_cancel, note);
        assert_int_equal(gw_threads_submit(other, &works[i].job), GW_OK);
    }
    wait_begun(2);
    gw_threads_free(other);
    assert_int_equal(done_count, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(works[i].done, 1);
        assert_int_equal(works[i].rc, atomic_load(&begun) == 2 && i >= 2 ? GW_CANCELLED : GW_OK);
    }
}

static void takes_nothing_while_it_goes(void **state)
{
    struct gw_threads *other;

    assert_int_equal(gw_threads_new(loop, 1, 1, &other), GW_OK);
    gw_threads_free(other); /* no thread was started */
    assert_int_equal(gw_threads_new(loop, 0, 1, &other), GW_INVALID);
    assert_int_equal(gw_threads_new(loop, GW_THREADS_MAX + 1, 1, &other), GW_INVALID);
    assert_int_equal(gw_threads_new(loop, 1, 0, &other), GW_INVALID);
    gw_threads_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(starts_no_thread_before_the_first_job, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_many_jobs_each_once, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_does_not_fit_into_the_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(cancels_a_job_that_waits_and_tells_one_that_runs, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lets_done_submit_again_and_free, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_all_before_it_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_nothing_while_it_goes, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
