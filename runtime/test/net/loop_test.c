#include "net/loop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct gw_loop *loop;
static uint64_t fired[2000];
static unsigned count;

static int setup(void **state)
{
    count = 0;
    return gw_loop_new(&loop) == GW_OK ? 0 : -1;
}

static int teardown(void **state)
{
    gw_loop_free(loop);
    return 0;
}

struct numbered {
    struct gw_timer timer;
    uint64_t due;
};

static void on_timer(struct gw_timer *timer)
{
    fired[count++] = ((struct numbered *)(void *)timer)->due;
}

static void timers_run_in_order(void **state)
{
    static struct numbered timers[1000];
    uint64_t now = gw_loop_now_ms(loop);

    srand(2);
    for (int i = 0; i < 1000; i++) {
        timers[i].due = now + 10 + (uint64_t)rand() % 5000;
        gw_timer_init(&timers[i].timer, on_timer);
        gw_timer_set(loop, &timers[i].timer, timers[i].due);
    }
    gw_loop_advance(loop, 6000);
    while (count < 1000)
        gw_loop_turn(loop, 10);

    for (int i = 1; i < 1000; i++)
        assert_true(fired[i - 1] <= fired[i]);
}

static void a_timer_that_is_pushed_on_runs_once_at_the_last_moment(void **state)
{
    struct numbered one = {.due = 1};
    uint64_t now = gw_loop_now_ms(loop);

    gw_timer_init(&one.timer, on_timer);
    for (uint64_t i = 0; i < 100; i++)
        gw_timer_set(loop, &one.timer, now + 1000 + i * 100);
    gw_loop_advance(loop, 5000);
    gw_loop_turn(loop, 0);
    gw_loop_turn(loop, 5);
    assert_int_equal(count, 0);
    gw_loop_advance(loop, 6000);
    gw_loop_turn(loop, 10);
    assert_int_equal(count, 1);
    gw_timer_fini(loop, &one.timer);
}

static void a_timer_can_be_pulled_forward_and_cleared(void **state)
{
    struct numbered one = {.due = 1}, two = {.due = 2};
    uint64_t now = gw_loop_now_ms(loop);

    gw_timer_init(&one.timer, on_timer);
    gw_timer_init(&two.timer, on_timer);
    gw_timer_set(loop, &one.timer, now + 100000);
    gw_timer_set(loop, &one.timer, now + 20);
    gw_timer_set(loop, &two.timer, now + 10);
    gw_timer_clear(&two.timer);
    gw_loop_advance(loop, 50);
    while (count < 1)
        gw_loop_turn(loop, 10);
    gw_loop_advance(loop, 200000);
    gw_loop_turn(loop, 10);

    assert_int_equal(count, 1);
    assert_int_equal(fired[0], 1);
    gw_timer_fini(loop, &one.timer);
    gw_timer_fini(loop, &two.timer);
}

static void a_real_timer_is_not_late(void **state)
{
    struct numbered one = {.due = 1};
    uint64_t before = gw_loop_now_us(loop);

    gw_timer_init(&one.timer, on_timer);
    gw_timer_set(loop, &one.timer, gw_loop_now_ms(loop) + 20);
    while (count < 1)
        gw_loop_turn(loop, -1);
    assert_true(gw_loop_now_us(loop) - before >= 19000);
    gw_timer_fini(loop, &one.timer);
}

struct chain {
    struct gw_later later;
    int runs;
};

static void on_later(struct gw_later *later)
{
    struct chain *chain = (struct chain *)(void *)later;

    if (++chain->runs < 3)
        gw_later(loop, later);
}

static void what_is_asked_for_in_the_end_of_a_turn_runs_in_the_next(void **state)
{
    struct chain chain = {.runs = 0};

    gw_later_init(&chain.later, on_later);
    gw_later(loop, &chain.later);
    gw_later(loop, &chain.later); /* twice asked, once run */
    gw_loop_turn(loop, 0);
    assert_int_equal(chain.runs, 1);
    gw_loop_turn(loop, -1); /* does not wait: there is work */
    assert_int_equal(chain.runs, 2);
    gw_loop_turn(loop, 0);
    gw_loop_turn(loop, 0);
    assert_int_equal(chain.runs, 3);
}

static unsigned told;

static void on_io(struct gw_io *io, unsigned what)
{
    told |= what;
}

static void a_descriptor_tells_bytes_and_hang_up(void **state)
{
    struct gw_io io;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(gw_io_open(&io, loop, pair[0], on_io), GW_OK);
    gw_loop_turn(loop, 10);
    assert_true(told & GW_IO_WRITE);
    told = 0;
    assert_int_equal(write(pair[1], "x", 1), 1);
    gw_loop_turn(loop, 100);
    assert_true(told & GW_IO_READ);
    told = 0;
    assert_int_equal(close(pair[1]), 0);
    gw_loop_turn(loop, 100);
    assert_true(told & (GW_IO_HANGUP | GW_IO_READ));
    gw_io_close(&io);
    gw_io_close(&io);
    assert_int_equal(close(pair[0]), 0);
}

static int last_signal;

static void on_signal(void *arg, int signo)
{
    last_signal = signo;
}

static void signals_come_through_the_loop(void **state)
{
    static const int signals[] = {SIGUSR2, 0};

    assert_int_equal(gw_loop_signals(loop, signals, on_signal, NULL), GW_OK);
    assert_int_equal(raise(SIGUSR2), 0);
    gw_loop_turn(loop, 100);
    assert_int_equal(last_signal, SIGUSR2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(timers_run_in_order),
        TEST(a_timer_that_is_pushed_on_runs_once_at_the_last_moment),
        TEST(a_timer_can_be_pulled_forward_and_cleared),
        TEST(a_real_timer_is_not_late),
        TEST(what_is_asked_for_in_the_end_of_a_turn_runs_in_the_next),
        TEST(a_descriptor_tells_bytes_and_hang_up),
        TEST(signals_come_through_the_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
