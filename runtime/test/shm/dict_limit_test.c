/* The sliding window against a list that keeps every moment, the token bucket against
 * integers that know no rounding. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shm/dict.h"

#define T0 1700000000000ull
#define KEY(literal) (literal), sizeof(literal) - 1

static struct gw_dict *make(void)
{
    struct gw_dict *dict;

    assert_int_equal(gw_dict_create(GW_STR("limits"), 4 << 20, true, &dict, NULL), GW_OK);
    return dict;
}

static void done(struct gw_dict *dict)
{
    struct gw_err err = {""};

    if (gw_dict_verify(dict, &err) != GW_OK)
        fail_msg("%s", err.text);
    gw_dict_close(dict);
}

static struct gw_dict_hit hit(struct gw_dict *dict, uint32_t limit, uint32_t window_ms,
                              uint64_t now_ms)
{
    struct gw_dict_hit one = {.limit = limit, .window_ms = window_ms};

    assert_int_equal(gw_dict_hit(dict, KEY("w"), now_ms, &one), GW_OK);
    return one;
}

static void a_hit_counts_until_its_window_is_over_exclusively(void **state)
{
    struct gw_dict *dict = make();
    struct gw_dict_hit one = hit(dict, 2, 1000, T0);

    assert_true(one.allowed && one.count == 1 && one.reset_ms == 1000);
    one = hit(dict, 2, 1000, T0 + 1);
    assert_true(one.allowed && one.count == 2 && one.reset_ms == 999);
    one = hit(dict, 2, 1000, T0 + 999);
    assert_true(!one.allowed && one.count == 2 && one.reset_ms == 1);
    one = hit(dict, 2, 1000, T0 + 1000); /* the first has left */
    assert_true(one.allowed && one.count == 2 && one.reset_ms == 1);
    one = hit(dict, 2, 1000, T0 + 1000);
    assert_true(!one.allowed && one.reset_ms == 1);
    one = hit(dict, 2, 1000, T0 + 1001);
    assert_true(one.allowed && one.count == 2 && one.reset_ms == 999);
    done(dict);
}

static void odd_windows_are_refused_or_closed(void **state)
{
    struct gw_dict *dict = make();
    struct gw_dict_hit one = {.limit = 0, .window_ms = 10};
    struct gw_dict_value text = {.type = GW_DICT_STRING, .data = "", .len = 0};

    assert_int_equal(gw_dict_hit(dict, KEY("w"), T0, &one), GW_OK);
    assert_true(!one.allowed && one.count == 0 && one.reset_ms == 0);
    one = (struct gw_dict_hit){.limit = 1, .window_ms = 0};
    assert_int_equal(gw_dict_hit(dict, KEY("w"), T0, &one), GW_INVALID);
    one.window_ms = GW_DICT_HIT_WINDOW_MAX + 1;
    assert_int_equal(gw_dict_hit(dict, KEY("w"), T0, &one), GW_INVALID);
    one = (struct gw_dict_hit){.limit = GW_DICT_HIT_LIMIT_MAX + 1, .window_ms = 1};
    assert_int_equal(gw_dict_hit(dict, KEY("w"), T0, &one), GW_INVALID);
    assert_int_equal(gw_dict_set(dict, KEY("s"), T0, GW_DICT_SET, &text), GW_OK);
    one = (struct gw_dict_hit){.limit = 1, .window_ms = 1, .allowed = 1};
    assert_int_equal(gw_dict_hit(dict, KEY("s"), T0, &one), GW_WRONG_TYPE);
    assert_int_equal(one.allowed, 0);
    done(dict);
}

static void the_longest_window_wraps_32_bits_correctly(void **state)
{
    struct gw_dict *dict = make();
    /* Around a moment at which the low 32 bits of the time begin again. */
    uint64_t wrap = (T0 >> 32 << 32) + ((uint64_t)1 << 32);
    uint32_t window = GW_DICT_HIT_WINDOW_MAX;
    struct gw_dict_hit one = hit(dict, 2, window, wrap - 5);

    assert_true(one.allowed && one.count == 1);
    one = hit(dict, 2, window, wrap + 5);
    assert_true(one.allowed && one.count == 2 && one.reset_ms == window - 10);
    one = hit(dict, 2, window, wrap - 5 + window - 1);
    assert_true(!one.allowed && one.reset_ms == 1);
    one = hit(dict, 2, window, wrap - 5 + window);
    assert_true(one.allowed && one.count == 2);
    one = hit(dict, 2, window, wrap + ((uint64_t)1 << 33)); /* long after: all has left */
    assert_true(one.allowed && one.count == 1);
    done(dict);
}

static void a_window_takes_no_more_than_its_limit(void **state)
{
    struct gw_dict *dict = make();
    struct gw_dict_stats stats;
    uint64_t empty;

    gw_dict_stats(dict, &stats);
    empty = stats.bytes_used;
    for (uint32_t i = 0; i < 100000; i++)
        hit(dict, 1000, 1000, T0 + i / 3);
    gw_dict_stats(dict, &stats);
    assert_true(stats.bytes_used - empty <= 56 + 8 + 8 + 1000 * 4 + 16);
    done(dict);
}

#define MOMENTS_MAX 400000

struct naive {
    uint64_t moments[MOMENTS_MAX];
    uint32_t from, to;
};

static struct gw_dict_hit naive_hit(struct naive *naive, uint32_t limit, uint32_t window_ms,
                                    uint64_t now_ms)
{
    struct gw_dict_hit out = {.limit = limit, .window_ms = window_ms};
    uint64_t at = now_ms;
    uint32_t count = 0, oldest = naive->to;

    /* A clock that is behind the newest hit counts as standing at it. */
    if (naive->to > 0 && naive->moments[naive->to - 1] > at)
        at = naive->moments[naive->to - 1];
    for (uint32_t i = naive->to; i > 0 && naive->moments[i - 1] + window_ms > at; i--) {
        count++;
        oldest = i - 1;
    }
    out.allowed = count < limit;
    if (out.allowed)
        naive->moments[naive->to++] = at;
    out.count = count + (out.allowed ? 1 : 0);
    if (out.count > 0)
        out.reset_ms = (uint32_t)(naive->moments[oldest] + window_ms - now_ms);
    return out;
}

static void agrees_with_a_list_of_all_moments(void **state)
{
    static const struct {
        uint32_t limit, window_ms, step_ms;
    } rows[] = {{1, 1, 2}, {3, 10, 5}, {10, 100, 20}, {100, 1000, 15}, {777, 5000, 10}, {9, 7, 1}};
    struct naive *naive = malloc(sizeof *naive);

    srand(7);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gw_dict *dict = make();
        uint64_t now = T0;

        naive->from = naive->to = 0;
        for (uint32_t step = 0; step < 30000; step++) {
            /* Mostly forward, at times a pause, at times a clock that lags. */
            uint64_t lag = rand() % 10 == 0 ? (uint64_t)rand() % 3 : 0;
            struct gw_dict_hit is, should;

            now += (uint64_t)rand() % (rows[i].step_ms + 1);
            if (rand() % 500 == 0)
                now += rows[i].window_ms * 2u / 3;
            is = hit(dict, rows[i].limit, rows[i].window_ms, now - lag);
            should = naive_hit(naive, rows[i].limit, rows[i].window_ms, now - lag);
            if (is.allowed != should.allowed || is.count != should.count ||
                is.reset_ms != should.reset_ms)
                fail_msg("row %zu step %u: %d/%u/%u, should be %d/%u/%u", i, step, is.allowed,
                         is.count, is.reset_ms, should.allowed, should.count, should.reset_ms);
        }
        done(dict);
    }
    free(naive);
}

static void limits_may_change_between_hits(void **state)
{
    struct gw_dict *dict = make();
    struct gw_dict_hit one;

    for (int i = 0; i < 20; i++)
        assert_true(hit(dict, 20, 1000, T0).allowed);
    one = hit(dict, 5, 1000, T0 + 1); /* lower: all twenty still count */
    assert_true(!one.allowed && one.count == 20);
    one = hit(dict, 30, 1000, T0 + 2);
    assert_true(one.allowed && one.count == 21);
    one = hit(dict, 30, 1, T0 + 3); /* a shorter window: only what is younger counts */
    assert_true(one.allowed && one.count == 1);
    done(dict);
}

static struct gw_dict_take take(struct gw_dict *dict, double rate, double burst, double cost,
                                uint64_t now_ms)
{
    struct gw_dict_take one = {.rate = rate, .burst = burst, .cost = cost};

    assert_int_equal(gw_dict_take(dict, KEY("b"), now_ms, &one), GW_OK);
    return one;
}

static void a_bucket_fills_at_its_rate(void **state)
{
    struct gw_dict *dict = make();
    struct gw_dict_take one;

    for (int i = 4; i >= 0; i--) {
        one = take(dict, 10, 5, 1, T0);
        assert_true(one.allowed && one.remaining == i && one.retry_after_s == 0);
    }
    one = take(dict, 10, 5, 1, T0);
    assert_true(!one.allowed && one.remaining == 0);
    assert_true(fabs(one.retry_after_s - 0.1) < 1e-12);
    one = take(dict, 10, 5, 1, T0 + 99);
    assert_true(!one.allowed && fabs(one.retry_after_s - 0.001) < 1e-9);
    one = take(dict, 10, 5, 1, T0 + 100);
    assert_true(one.allowed);
    one = take(dict, 10, 5, 1, T0 + 50); /* another worker's clock lags: time stands still */
    assert_true(!one.allowed);
    one = take(dict, 10, 5, 1, T0 + 10000); /* never more than the burst */
    assert_true(one.allowed && one.remaining == 4);
    done(dict);
}

static void ten_tenths_are_one_token(void **state)
{
    struct gw_dict *dict = make();
    uint64_t now = T0;

    assert_true(take(dict, 1, 1, 1, now).allowed);
    for (int i = 0; i < 1000; i++) {
        for (int j = 0; j < 9; j++)
            assert_false(take(dict, 1, 1, 1, now += 100).allowed);
        assert_true(take(dict, 1, 1, 1, now += 100).allowed);
    }
    done(dict);
}

static void odd_buckets_are_refused_or_never_full(void **state)
{
    static const double bad[][3] = {{-1, 1, 1},  {1, 0, 1},   {1, 1, -1},  {INFINITY, 1, 1},
                                    {1, NAN, 1}, {1, 1, NAN}, {NAN, 1, 1}, {1, INFINITY, 1}};
    struct gw_dict *dict = make();
    struct gw_dict_take one;
    uint64_t ttl;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        one = (struct gw_dict_take){.rate = bad[i][0], .burst = bad[i][1], .cost = bad[i][2]};
        assert_int_equal(gw_dict_take(dict, KEY("b"), T0, &one), GW_INVALID);
    }
    one = take(dict, 1, 5, 6, T0); /* more than it ever holds */
    assert_true(!one.allowed && isinf(one.retry_after_s) && one.remaining == 5);
    assert_int_equal(gw_dict_ttl(dict, KEY("b"), T0, &ttl), GW_NOT_FOUND);
    one = take(dict, 1, 5, 0, T0);
    assert_true(one.allowed && one.remaining == 5);
    one = take(dict, 0, 2, 2, T0); /* without a rate nothing comes back */
    assert_true(one.allowed);
    one = take(dict, 0, 2, 2, T0 + 1000000000000);
    assert_true(!one.allowed && isinf(one.retry_after_s));
    done(dict);
}

static void a_full_bucket_is_forgotten(void **state)
{
    struct gw_dict *dict = make();
    uint64_t ttl;

    take(dict, 10, 5, 3, T0);
    assert_int_equal(gw_dict_ttl(dict, KEY("b"), T0, &ttl), GW_OK);
    assert_true(ttl >= 10000 && ttl <= 11000); /* full after 300 ms, but in use */
    assert_int_equal(gw_dict_ttl(dict, KEY("b"), T0 + 11000, &ttl), GW_NOT_FOUND);
    done(dict);
}

static void agrees_with_exact_arithmetic(void **state)
{
    srand(11);
    for (int round = 0; round < 50; round++) {
        struct gw_dict *dict = make();
        /* Tokens in thousandths, so that rate * ms is whole. */
        int64_t rate = rand() % 5000 + 1, burst = rand() % 50 + 1;
        int64_t tokens = burst * 1000, last = (int64_t)T0;

        for (int step = 0; step < 4000; step++) {
            int64_t cost = rand() % 3 + 1, now = last + (rand() % 4 == 0 ? rand() % 20 : 0);
            struct gw_dict_take is =
                take(dict, (double)rate, (double)burst, (double)cost, (uint64_t)now);
            bool allowed;

            tokens += (now - last) * rate;
            if (tokens > burst * 1000)
                tokens = burst * 1000;
            last = now;
            allowed = tokens >= cost * 1000;
            if (allowed)
                tokens -= cost * 1000;
            assert_int_equal(is.allowed, allowed);
            assert_true(fabs(is.remaining - (double)tokens / 1000) < 1e-6);
            if (!allowed && cost <= burst)
                assert_true(fabs(is.retry_after_s -
                                 (double)(cost * 1000 - tokens) / 1000 / (double)rate) < 1e-6);
        }
        done(dict);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_counts_until_its_window_is_over_exclusively),
        cmocka_unit_test(odd_windows_are_refused_or_closed),
        cmocka_unit_test(the_longest_window_wraps_32_bits_correctly),
        cmocka_unit_test(a_window_takes_no_more_than_its_limit),
        cmocka_unit_test(agrees_with_a_list_of_all_moments),
        cmocka_unit_test(limits_may_change_between_hits),
        cmocka_unit_test(a_bucket_fills_at_its_rate),
        cmocka_unit_test(ten_tenths_are_one_token),
        cmocka_unit_test(odd_buckets_are_refused_or_never_full),
        cmocka_unit_test(a_full_bucket_is_forgotten),
        cmocka_unit_test(agrees_with_exact_arithmetic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
