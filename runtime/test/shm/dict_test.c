#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shm/dict.h"

#define T0 1700000000000ull
#define KEY(literal) (literal), sizeof(literal) - 1

static struct gw_dict *make(uint64_t size, bool evict_never)
{
    struct gw_dict *dict;
    struct gw_err err = {""};

    if (gw_dict_create(GW_STR("test"), size, evict_never, &dict, &err) != GW_OK)
        fail_msg("%s", err.text);
    return dict;
}

static void check(struct gw_dict *dict)
{
    struct gw_err err = {""};

    if (gw_dict_verify(dict, &err) != GW_OK)
        fail_msg("%s", err.text);
}

static void done(struct gw_dict *dict)
{
    check(dict);
    gw_dict_close(dict);
}

static enum gw_rc set(struct gw_dict *dict, const char *key, const char *text, uint64_t ttl_ms,
                      uint64_t now_ms)
{
    struct gw_dict_value value = {
        .type = GW_DICT_STRING, .data = (char *)text, .len = strlen(text), .ttl_ms = ttl_ms};

    return gw_dict_set(dict, key, strlen(key), now_ms, GW_DICT_SET, &value);
}

static enum gw_rc set_bytes(struct gw_dict *dict, const char *key, size_t len, char fill)
{
    char *data = malloc(len + 1);
    struct gw_dict_value value = {.type = GW_DICT_STRING, .data = data, .len = len};
    enum gw_rc rc;

    memset(data, fill, len);
    rc = gw_dict_set(dict, key, strlen(key), T0, GW_DICT_SET, &value);
    free(data);
    return rc;
}

static const char *get(struct gw_dict *dict, const char *key, uint64_t now_ms)
{
    static char data[4096];
    struct gw_dict_value value = {.data = data, .size = sizeof data - 1};
    enum gw_rc rc = gw_dict_get(dict, key, strlen(key), now_ms, &value);

    if (rc != GW_OK)
        return gw_rc_code(rc);
    data[value.len] = '\0';
    return data;
}

static uint64_t used(struct gw_dict *dict)
{
    struct gw_dict_stats stats;

    gw_dict_stats(dict, &stats);
    assert_int_equal(stats.bytes, stats.bytes_used + stats.bytes_free);
    return stats.bytes_used;
}

static void keeps_strings_numbers_and_booleans(void **state)
{
    struct gw_dict *dict = make(1 << 20, false);
    struct gw_dict_value out = {0};
    struct gw_dict_value number = {.type = GW_DICT_NUMBER, .number = -0.1};
    struct gw_dict_value truth = {.type = GW_DICT_BOOLEAN, .number = 7};
    struct gw_dict_value nul = {.type = GW_DICT_STRING, .data = "a\0b", .len = 3};
    char data[8];

    assert_int_equal(set(dict, "s", "text", 0, T0), GW_OK);
    assert_string_equal(get(dict, "s", T0), "text");
    assert_int_equal(set(dict, "s", "", 0, T0), GW_OK);
    assert_string_equal(get(dict, "s", T0), "");
    assert_int_equal(gw_dict_set(dict, KEY("n"), T0, GW_DICT_SET, &number), GW_OK);
    assert_int_equal(gw_dict_get(dict, KEY("n"), T0, &out), GW_OK);
    assert_true(out.type == GW_DICT_NUMBER && out.number == -0.1 && out.ttl_ms == 0);
    assert_int_equal(gw_dict_set(dict, KEY("b"), T0, GW_DICT_SET, &truth), GW_OK);
    assert_int_equal(gw_dict_get(dict, KEY("b"), T0, &out), GW_OK);
    assert_true(out.type == GW_DICT_BOOLEAN && out.number == 1);
    /* NUL is a byte as any other, in keys too. */
    assert_int_equal(gw_dict_set(dict, KEY("k\0y"), T0, GW_DICT_SET, &nul), GW_OK);
    out.data = data;
    out.size = 2;
    assert_int_equal(gw_dict_get(dict, KEY("k\0y"), T0, &out), GW_AGAIN);
    assert_int_equal(out.len, 3);
    out.size = 3;
    assert_int_equal(gw_dict_get(dict, KEY("k\0y"), T0, &out), GW_OK);
    assert_memory_equal(data, "a\0b", 3);
    assert_int_equal(gw_dict_get(dict, KEY("k"), T0, &out), GW_NOT_FOUND);
    done(dict);
}

static void add_and_replace_ask_first(void **state)
{
    struct gw_dict *dict = make(1 << 20, false);
    struct gw_dict_value one = {.type = GW_DICT_NUMBER, .number = 1, .ttl_ms = 10};

    assert_int_equal(gw_dict_set(dict, KEY("k"), T0, GW_DICT_REPLACE, &one), GW_NOT_FOUND);
    assert_int_equal(gw_dict_set(dict, KEY("k"), T0, GW_DICT_ADD, &one), GW_OK);
    assert_int_equal(gw_dict_set(dict, KEY("k"), T0 + 9, GW_DICT_ADD, &one), GW_EXISTS);
    assert_int_equal(gw_dict_set(dict, KEY("k"), T0 + 9, GW_DICT_REPLACE, &one), GW_OK);
    /* An expired one is not there. */
    assert_int_equal(gw_dict_set(dict, KEY("k"), T0 + 19, GW_DICT_REPLACE, &one), GW_NOT_FOUND);
    assert_int_equal(gw_dict_set(dict, KEY("k"), T0 + 19, GW_DICT_ADD, &one), GW_OK);
    assert_int_equal(gw_dict_set(dict, KEY("k"), T0, 9, &one), GW_INVALID);
    one.type = GW_DICT_LIST;
    assert_int_equal(gw_dict_set(dict, KEY("k"), T0, GW_DICT_SET, &one), GW_INVALID);
    done(dict);
}

static void keys_and_values_have_limits(void **state)
{
    struct gw_dict *dict = make(1 << 20, false);
    char key[GW_DICT_KEY_MAX + 2];
    struct gw_dict_value value = {.type = GW_DICT_NUMBER};
    char *large = calloc(1, gw_dict_value_max(dict) + 1);

    memset(key, 'k', sizeof key);
    assert_int_equal(gw_dict_set(dict, key, 0, T0, GW_DICT_SET, &value), GW_INVALID);
    assert_int_equal(gw_dict_set(dict, key, GW_DICT_KEY_MAX, T0, GW_DICT_SET, &value), GW_OK);
    assert_int_equal(gw_dict_set(dict, key, GW_DICT_KEY_MAX + 1, T0, GW_DICT_SET, &value),
                     GW_LIMIT);
    assert_int_equal(gw_dict_get(dict, key, GW_DICT_KEY_MAX, T0, &value), GW_OK);
    assert_int_equal(gw_dict_get(dict, key, GW_DICT_KEY_MAX + 1, T0, &value), GW_LIMIT);
    value = (struct gw_dict_value){
        .type = GW_DICT_STRING, .data = large, .len = gw_dict_value_max(dict)};
    assert_int_equal(gw_dict_set(dict, key, GW_DICT_KEY_MAX, T0, GW_DICT_SET, &value), GW_OK);
    /* Old and new do not fit side by side, and yet it can be set anew. */
    assert_int_equal(gw_dict_set(dict, key, GW_DICT_KEY_MAX, T0, GW_DICT_SET, &value), GW_OK);
    value.len++;
    assert_int_equal(gw_dict_set(dict, key, 1, T0, GW_DICT_SET, &value), GW_LIMIT);
    assert_true(gw_dict_value_max(dict) > 800000);
    free(large);
    done(dict);
}

static void the_largest_value_fits_in_every_size_of_zone(void **state)
{
    static const uint64_t sizes[] = {64 << 10, 65 << 10, 100 << 10, 777 << 10, 4 << 20, 33 << 20};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct gw_dict *dict = make(sizes[i], true);
        size_t max = gw_dict_value_max(dict);

        assert_true(max > 16384);
        assert_int_equal(set_bytes(dict, "large", max, 'x'), GW_OK);
        assert_int_equal(gw_dict_grow(dict, sizes[i] * 3, NULL), GW_OK);
        assert_true(gw_dict_value_max(dict) >= max);
        assert_int_equal(gw_dict_delete(dict, KEY("large"), T0), GW_OK);
        assert_int_equal(set_bytes(dict, "larger", gw_dict_value_max(dict), 'x'), GW_OK);
        done(dict);
    }
}

static void incr_counts(void **state)
{
    struct gw_dict *dict = make(1 << 20, false);
    struct gw_dict_incr incr = {.by = 2.5, .init = NAN};
    uint64_t ttl;

    assert_int_equal(gw_dict_incr(dict, KEY("n"), T0, &incr), GW_NOT_FOUND);
    incr.init = 10;
    incr.init_ttl_ms = 100;
    assert_int_equal(gw_dict_incr(dict, KEY("n"), T0, &incr), GW_OK);
    assert_true(incr.value == 12.5);
    incr.init_ttl_ms = 900; /* only a new key takes it */
    assert_int_equal(gw_dict_incr(dict, KEY("n"), T0 + 50, &incr), GW_OK);
    assert_true(incr.value == 15);
    assert_int_equal(gw_dict_ttl(dict, KEY("n"), T0 + 50, &ttl), GW_OK);
    assert_int_equal(ttl, 50);
    assert_int_equal(gw_dict_incr(dict, KEY("n"), T0 + 100, &incr), GW_OK);
    assert_true(incr.value == 12.5);
    assert_int_equal(set(dict, "s", "1", 0, T0), GW_OK);
    assert_int_equal(gw_dict_incr(dict, KEY("s"), T0, &incr), GW_WRONG_TYPE);
    incr.by = INFINITY;
    assert_int_equal(gw_dict_incr(dict, KEY("n"), T0, &incr), GW_INVALID);
    incr = (struct gw_dict_incr){.by = 1.7e308, .init = 1.7e308};
    assert_int_equal(gw_dict_incr(dict, KEY("big"), T0, &incr), GW_INVALID);
    incr.init = 0;
    assert_int_equal(gw_dict_incr(dict, KEY("big"), T0, &incr), GW_OK);
    assert_int_equal(gw_dict_incr(dict, KEY("big"), T0, &incr), GW_INVALID);
    done(dict);
}

static void time_to_live_ends_on_the_millisecond(void **state)
{
    struct gw_dict *dict = make(1 << 20, false);
    uint64_t ttl;

    assert_int_equal(set(dict, "k", "v", 1000, T0), GW_OK);
    assert_string_equal(get(dict, "k", T0 + 999), "v");
    assert_string_equal(get(dict, "k", T0 + 1000), "not_found");
    assert_int_equal(gw_dict_ttl(dict, KEY("k"), T0 + 1, &ttl), GW_OK);
    assert_int_equal(ttl, 999);
    assert_int_equal(gw_dict_expire(dict, KEY("k"), T0 + 500, 5000), GW_OK);
    assert_string_equal(get(dict, "k", T0 + 5499), "v");
    assert_string_equal(get(dict, "k", T0 + 5500), "not_found");
    assert_int_equal(gw_dict_expire(dict, KEY("k"), T0 + 600, 0), GW_OK);
    assert_int_equal(gw_dict_ttl(dict, KEY("k"), T0 + 600, &ttl), GW_OK);
    assert_int_equal(ttl, 0);
    assert_string_equal(get(dict, "k", T0 + 99999999), "v");
    /* A set without a life ends the old life. */
    assert_int_equal(set(dict, "k", "v", 10, T0), GW_OK);
    assert_int_equal(set(dict, "k", "w", 0, T0), GW_OK);
    assert_string_equal(get(dict, "k", T0 + 11), "w");
    assert_int_equal(gw_dict_expire(dict, KEY("none"), T0, 1), GW_NOT_FOUND);
    assert_int_equal(gw_dict_ttl(dict, KEY("none"), T0, &ttl), GW_NOT_FOUND);
    assert_int_equal(set(dict, "long", "v", UINT64_MAX, T0), GW_OK);
    assert_string_equal(get(dict, "long", UINT64_MAX - 1), "v");
    done(dict);
}

static void delete_and_touch_say_whether_it_was_there(void **state)
{
    struct gw_dict *dict = make(1 << 20, false);

    assert_int_equal(gw_dict_delete(dict, KEY("k"), T0), GW_NOT_FOUND);
    assert_int_equal(gw_dict_touch(dict, KEY("k"), T0), GW_NOT_FOUND);
    assert_int_equal(set(dict, "k", "v", 5, T0), GW_OK);
    assert_int_equal(gw_dict_touch(dict, KEY("k"), T0), GW_OK);
    assert_int_equal(gw_dict_delete(dict, KEY("k"), T0), GW_OK);
    assert_string_equal(get(dict, "k", T0), "not_found");
    assert_int_equal(set(dict, "k", "v", 5, T0), GW_OK);
    assert_int_equal(gw_dict_delete(dict, KEY("k"), T0 + 5), GW_NOT_FOUND);
    done(dict);
}

static void fill_numbered(struct gw_dict *dict, uint32_t from, uint32_t to, uint64_t ttl_ms)
{
    for (uint32_t i = from; i < to; i++) {
        char key[16];

        snprintf(key, sizeof key, "key%u", i);
        assert_int_equal(set(dict, key, "0123456789012345678901234567890123456789", ttl_ms, T0),
                         GW_OK);
    }
}

static void full_evicts_the_least_recently_used(void **state)
{
    struct gw_dict *dict = make(64 << 10, false); /* one shard */
    struct gw_dict_stats stats;
    uint32_t n = 0;

    do {
        fill_numbered(dict, n, n + 1, 0);
        gw_dict_stats(dict, &stats);
        n++;
    } while (stats.evicted == 0);
    assert_true(n > 300);
    assert_string_equal(get(dict, "key0", T0), "not_found");     /* it was the one */
    assert_string_not_equal(get(dict, "key1", T0), "not_found"); /* used now */
    fill_numbered(dict, n, n + 10, 0);
    assert_string_not_equal(get(dict, "key1", T0), "not_found");
    assert_string_equal(get(dict, "key2", T0), "not_found");
    assert_string_equal(get(dict, "key10", T0), "not_found");
    assert_string_not_equal(get(dict, "key13", T0), "not_found");
    done(dict);
}

static void full_drops_the_expired_first(void **state)
{
    struct gw_dict *dict = make(64 << 10, false);
    struct gw_dict_stats stats;
    uint64_t now = T0 + 70000;

    fill_numbered(dict, 0, 100, 0); /* older, living */
    fill_numbered(dict, 100, 200, 60000);
    fill_numbered(dict, 200, 210, 80000);
    gw_dict_stats(dict, &stats);
    /* 100 have expired; as many more find a place without one of the living going. */
    for (uint32_t i = 0; i < (stats.bytes_free / 112) + 95; i++) {
        char key[16];

        snprintf(key, sizeof key, "new%05u", i);
        assert_int_equal(set(dict, key, "0123456789012345678901234567890123456789", 0, now), GW_OK);
    }
    gw_dict_stats(dict, &stats);
    assert_int_equal(stats.evicted, 0);
    assert_true(stats.expired >= 90);
    assert_string_not_equal(get(dict, "key0", now), "not_found");
    assert_string_not_equal(get(dict, "key205", now), "not_found");
    done(dict);
}

static void evict_never_says_full_and_changes_nothing(void **state)
{
    struct gw_dict *dict = make(64 << 10, true);
    struct gw_dict_stats stats;
    uint32_t n = 0, count;
    uint64_t before;
    struct gw_dict_value value = {.type = GW_DICT_NUMBER};
    struct gw_dict_take take = {.rate = 1, .burst = 5, .cost = 1};
    struct gw_dict_hit hit = {.limit = 5, .window_ms = 1000};
    struct gw_dict_incr incr = {.by = 1, .init = 0};
    enum gw_rc rc;

    assert_int_equal(set(dict, "timed", "v", 1000, T0), GW_OK);
    do {
        char key[16];

        snprintf(key, sizeof key, "key%u", n++);
        rc = set_bytes(dict, key, 30, 'x');
    } while (rc == GW_OK);
    assert_int_equal(rc, GW_FULL);
    before = used(dict);
    assert_int_equal(set_bytes(dict, "key0", 5000, 'y'), GW_FULL);
    assert_int_equal(strlen(get(dict, "key0", T0)), 30);
    assert_int_equal(gw_dict_rpush(dict, KEY("list"), T0, &value, &count), GW_FULL);
    assert_int_equal(gw_dict_take(dict, KEY("take"), T0, &take), GW_FULL);
    assert_int_equal(take.allowed, 0);
    assert_int_equal(gw_dict_hit(dict, KEY("hit"), T0, &hit), GW_FULL);
    assert_int_equal(hit.allowed, 0);
    assert_int_equal(gw_dict_incr(dict, KEY("incr"), T0, &incr), GW_FULL);
    assert_int_equal(used(dict), before);
    gw_dict_stats(dict, &stats);
    assert_int_equal(stats.full, 6);
    assert_int_equal(stats.evicted, 0);
    assert_true(stats.evict_never);
    /* In place there is room; and what has expired does make room. */
    assert_int_equal(set_bytes(dict, "key0", 29, 'y'), GW_OK);
    assert_int_equal(gw_dict_incr(dict, KEY("incr"), T0 + 1000, &incr), GW_OK);
    assert_string_equal(get(dict, "timed", T0), "not_found");
    done(dict);
}

static void every_byte_comes_back(void **state)
{
    struct gw_dict *dict = make(1 << 20, false);
    uint64_t empty = used(dict);
    struct gw_dict_value value = {.type = GW_DICT_STRING, .data = "some text here", .len = 14};
    struct gw_dict_take take = {.rate = 1, .burst = 5, .cost = 1};
    struct gw_dict_hit hit = {.limit = 5000, .window_ms = 1000};
    uint32_t count;

    assert_int_equal(set(dict, "k", "v", 0, T0), GW_OK);
    /* 56 bytes of head, 8 for the key, 1 for the value: 5 units of 16. */
    assert_int_equal(used(dict) - empty, 80);
    assert_int_equal(set_bytes(dict, "k", 1000, 'x'), GW_OK);
    assert_int_equal(used(dict) - empty, (56 + 8 + 1000 + 15) / 16 * 16);
    assert_int_equal(gw_dict_delete(dict, KEY("k"), T0), GW_OK);
    assert_int_equal(used(dict), empty);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(gw_dict_rpush(dict, KEY("list"), T0, &value, &count), GW_OK);
    assert_int_equal(gw_dict_delete(dict, KEY("list"), T0), GW_OK);
    assert_int_equal(used(dict), empty);
    for (uint64_t i = 0; i < 3000; i++)
        assert_int_equal(gw_dict_hit(dict, KEY("hit"), T0, &hit), GW_OK);
    assert_int_equal(gw_dict_take(dict, KEY("take"), T0, &take), GW_OK);
    check(dict);
    assert_int_equal(gw_dict_flush_expired(dict, T0 + 12000, 0, &count), GW_OK);
    assert_int_equal(count, 2);
    assert_int_equal(used(dict), empty);
    fill_numbered(dict, 0, 2000, 0);
    assert_int_equal(gw_dict_flush(dict), GW_OK);
    assert_int_equal(used(dict), empty);
    done(dict);
}

static void expired_entries_are_found_at_every_distance(void **state)
{
    struct gw_dict *dict = make(4 << 20, false);
    uint64_t ttl[2000], now = T0;
    uint64_t chance = 88172645463325252ull;
    uint32_t gone = 0, count;

    for (uint32_t i = 0; i < 2000; i++) {
        char key[16];

        chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
        /* From 1 ms to 97 days, so that every level of the wheel and more is used. */
        ttl[i] = 1 + (chance >> 8) % ((uint64_t)1 << (chance % 34));
        snprintf(key, sizeof key, "key%u", i);
        assert_int_equal(set(dict, key, "v", ttl[i], T0), GW_OK);
        if (i % 3 == 0) { /* prolonged: the wheel still has the old moment */
            ttl[i] = ttl[i] * 2 + 77;
            assert_int_equal(gw_dict_expire(dict, key, strlen(key), T0, ttl[i]), GW_OK);
        }
    }
    for (uint64_t step = 1; gone < 2000; step = step * 5 / 4 + 1) {
        uint32_t expected = 0;

        now += step;
        for (uint32_t i = 0; i < 2000; i++)
            expected += T0 + ttl[i] <= now;
        assert_int_equal(gw_dict_flush_expired(dict, now, 0, &count), GW_OK);
        gone += count;
        assert_int_equal(gone, expected);
        check(dict);
    }
    done(dict);
}

static void flush_expired_may_be_bounded(void **state)
{
    struct gw_dict *dict = make(4 << 20, false);
    struct gw_dict_stats stats;
    uint32_t count;

    fill_numbered(dict, 0, 100, 500);
    assert_int_equal(gw_dict_flush_expired(dict, T0 + 499, 0, &count), GW_OK);
    assert_int_equal(count, 0);
    assert_int_equal(gw_dict_flush_expired(dict, T0 + 500, 30, &count), GW_OK);
    assert_int_equal(count, 30);
    gw_dict_stats(dict, &stats);
    assert_int_equal(stats.entries, 70);
    done(dict);
}

static void lists_have_two_ends(void **state)
{
    struct gw_dict *dict = make(1 << 20, false);
    struct gw_dict_value text = {.type = GW_DICT_STRING, .data = "bb", .len = 2, .ttl_ms = 100};
    struct gw_dict_value number = {.type = GW_DICT_NUMBER, .number = 3.5};
    struct gw_dict_value truth = {.type = GW_DICT_BOOLEAN, .number = 1};
    char data[8];
    struct gw_dict_value out = {.data = data, .size = 1};
    uint32_t count = 9;

    assert_int_equal(gw_dict_llen(dict, KEY("l"), T0, &count), GW_OK);
    assert_int_equal(count, 0);
    assert_int_equal(gw_dict_lpop(dict, KEY("l"), T0, &out), GW_NOT_FOUND);
    assert_int_equal(gw_dict_rpush(dict, KEY("l"), T0, &text, &count), GW_OK);
    assert_int_equal(gw_dict_lpush(dict, KEY("l"), T0, &number, &count), GW_OK);
    assert_int_equal(gw_dict_rpush(dict, KEY("l"), T0, &truth, &count), GW_OK);
    assert_int_equal(count, 3);
    assert_int_equal(gw_dict_get(dict, KEY("l"), T0, &out), GW_WRONG_TYPE);
    assert_int_equal(gw_dict_lpop(dict, KEY("l"), T0, &out), GW_OK);
    assert_true(out.type == GW_DICT_NUMBER && out.number == 3.5 && out.ttl_ms == 100);
    assert_int_equal(gw_dict_lpop(dict, KEY("l"), T0, &out), GW_AGAIN); /* takes nothing */
    out.size = 8;
    assert_int_equal(gw_dict_lpop(dict, KEY("l"), T0, &out), GW_OK);
    assert_true(out.type == GW_DICT_STRING && out.len == 2 && memcmp(data, "bb", 2) == 0);
    assert_int_equal(gw_dict_rpop(dict, KEY("l"), T0, &out), GW_OK);
    assert_true(out.type == GW_DICT_BOOLEAN && out.number == 1);
    assert_int_equal(gw_dict_touch(dict, KEY("l"), T0), GW_NOT_FOUND); /* emptied: gone */
    assert_int_equal(gw_dict_rpush(dict, KEY("l"), T0, &text, &count), GW_OK);
    assert_int_equal(gw_dict_llen(dict, KEY("l"), T0 + 100, &count), GW_OK);
    assert_int_equal(count, 0); /* expired as a whole */
    assert_int_equal(set(dict, "s", "v", 0, T0), GW_OK);
    assert_int_equal(gw_dict_rpush(dict, KEY("s"), T0, &text, &count), GW_WRONG_TYPE);
    assert_int_equal(gw_dict_rpop(dict, KEY("s"), T0, &out), GW_WRONG_TYPE);
    assert_int_equal(gw_dict_llen(dict, KEY("s"), T0, &count), GW_WRONG_TYPE);
    done(dict);
}

static void keys_lists_the_living(void **state)
{
    struct gw_dict *dict = make(4 << 20, false);
    struct gw_buf buf = GW_BUF_INIT;
    uint32_t count, len, seen = 0;

    fill_numbered(dict, 0, 50, 0);
    fill_numbered(dict, 50, 60, 10);
    assert_int_equal(gw_dict_keys(dict, T0 + 10, 0, &buf, &count), GW_OK);
    assert_int_equal(count, 50);
    for (struct gw_str all = gw_buf_str(&buf); all.len > 0; seen++) {
        memcpy(&len, all.data, sizeof len);
        assert_true(len >= 4 && len <= 5 && memcmp(all.data + 4, "key", 3) == 0);
        all = gw_str(all.data + 4 + len, all.len - 4 - len);
    }
    assert_int_equal(seen, 50);
    assert_int_equal(gw_dict_keys(dict, T0, 7, &buf, &count), GW_OK);
    assert_int_equal(count, 7);
    gw_buf_fini(&buf);
    done(dict);
}

static void growing_keeps_all_and_makes_room(void **state)
{
    struct gw_dict *dict = make(256 << 10, true), *other;
    struct gw_dict_stats stats;
    struct gw_err err = {""};
    uint64_t before;
    int fd;

    fill_numbered(dict, 0, 1500, 0);
    fd = dup(gw_dict_zone(dict)->fd);
    assert_int_equal(gw_dict_open(fd, &other, &err), GW_OK); /* as a worker has it */
    gw_dict_stats(dict, &stats);
    before = stats.bytes;
    for (uint64_t size = 512 << 10; size <= 4 << 20; size *= 2) {
        assert_int_equal(gw_dict_grow(dict, size, &err), GW_OK);
        check(dict);
    }
    assert_int_equal(gw_dict_grow(dict, 1 << 20, &err), GW_OK); /* smaller: nothing */
    gw_dict_stats(dict, &stats);
    assert_int_equal(stats.entries, 1500);
    assert_true(stats.bytes > before * 15);
    fill_numbered(other, 1500, 20000, 0); /* the other mapping sees the new memory */
    for (uint32_t i = 0; i < 20000; i += 333) {
        char key[16];

        snprintf(key, sizeof key, "key%u", i);
        assert_int_equal(strlen(get(other, key, T0)), 40);
        assert_int_equal(strlen(get(dict, key, T0)), 40);
    }
    assert_int_equal(gw_dict_grow(dict, (uint64_t)65 << 30, &err), GW_LIMIT);
    assert_non_null(strstr(err.text, "restart"));
    gw_dict_close(other);
    done(dict);
}

static void grows_only_so_often(void **state)
{
    struct gw_dict *dict = make(64 << 10, true);
    struct gw_err err = {""};
    uint64_t size = 64 << 10;
    enum gw_rc rc;

    do
        rc = gw_dict_grow(dict, size += 64 << 10, &err);
    while (rc == GW_OK);
    assert_int_equal(rc, GW_LIMIT);
    assert_true(size >= 1 << 20);
    done(dict);
}

static void small_and_foreign_zones_are_refused(void **state)
{
    struct gw_err err = {""};
    struct gw_dict *dict;
    struct gw_zone zone;

    assert_int_equal(gw_dict_create(GW_STR("x"), GW_DICT_BYTES_MIN - 1, false, &dict, &err),
                     GW_INVALID);
    assert_int_equal(gw_dict_create(GW_STR(""), 1 << 20, false, &dict, &err), GW_INVALID);
    assert_int_equal(gw_zone_create(&zone, GW_ZONE_PLAIN, GW_STR("x"), 1 << 20, &err), GW_OK);
    assert_int_equal(gw_dict_open(dup(zone.fd), &dict, &err), GW_INVALID);
    gw_zone_unmap(&zone);
}

/* Random calls against a simple model: the same answers, and sound at every look. */
#define MODEL_KEYS 64

struct model {
    bool there;
    double number;
    uint64_t expires;
};

static void model_step(struct gw_dict *dict, struct model *one, const char *key, uint64_t now,
                       uint32_t chance)
{
    struct gw_dict_value value = {.type = GW_DICT_NUMBER, .number = chance % 1000};
    struct gw_dict_incr incr = {.by = 1, .init = NAN};
    size_t len = strlen(key);
    enum gw_rc rc;

    if (one->there && one->expires != 0 && one->expires <= now)
        one->there = false;
    switch (chance % 5) {
    case 0:
        value.ttl_ms = chance % 3 == 0 ? 0 : chance % 5000;
        assert_int_equal(gw_dict_set(dict, key, len, now, GW_DICT_SET, &value), GW_OK);
        *one = (struct model){true, value.number, value.ttl_ms ? now + value.ttl_ms : 0};
        return;
    case 1:
        rc = gw_dict_incr(dict, key, len, now, &incr);
        assert_int_equal(rc, one->there ? GW_OK : GW_NOT_FOUND);
        one->number += one->there;
        return;
    case 2:
        rc = gw_dict_delete(dict, key, len, now);
        assert_int_equal(rc, one->there ? GW_OK : GW_NOT_FOUND);
        one->there = false;
        return;
    case 3:
        rc = gw_dict_expire(dict, key, len, now, chance % 7000 + 1);
        assert_int_equal(rc, one->there ? GW_OK : GW_NOT_FOUND);
        one->expires = now + chance % 7000 + 1;
        return;
    default:
        rc = gw_dict_get(dict, key, len, now, &value);
        assert_int_equal(rc, one->there ? GW_OK : GW_NOT_FOUND);
        if (rc == GW_OK)
            assert_true(value.number == one->number &&
                        value.ttl_ms == (one->expires ? one->expires - now : 0));
    }
}

static void agrees_with_a_simple_model(void **state)
{
    struct gw_dict *dict = make(256 << 10, true);
    struct model model[MODEL_KEYS] = {{false, 0, 0}};
    uint64_t now = T0;

    srand(20261121);
    for (uint32_t step = 0; step < 200000; step++) {
        uint32_t chance = (uint32_t)rand() ^ (uint32_t)rand() << 16, number = chance % MODEL_KEYS;
        char key[80];

        /* Keys of many lengths, so that blocks of many sizes come and go. */
        snprintf(key, sizeof key, "%u-%.*s", number, (int)number,
                 "................................................................");
        model_step(dict, &model[number], key, now, chance >> 6);
        now += chance >> 8 & 15;
        if (step % 1000 == 0)
            check(dict);
    }
    done(dict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_strings_numbers_and_booleans),
        cmocka_unit_test(add_and_replace_ask_first),
        cmocka_unit_test(keys_and_values_have_limits),
        cmocka_unit_test(the_largest_value_fits_in_every_size_of_zone),
        cmocka_unit_test(incr_counts),
        cmocka_unit_test(time_to_live_ends_on_the_millisecond),
        cmocka_unit_test(delete_and_touch_say_whether_it_was_there),
        cmocka_unit_test(full_evicts_the_least_recently_used),
        cmocka_unit_test(full_drops_the_expired_first),
        cmocka_unit_test(evict_never_says_full_and_changes_nothing),
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(expired_entries_are_found_at_every_distance),
        cmocka_unit_test(flush_expired_may_be_bounded),
        cmocka_unit_test(lists_have_two_ends),
        cmocka_unit_test(keys_lists_the_living),
        cmocka_unit_test(growing_keeps_all_and_makes_room),
        cmocka_unit_test(grows_only_so_often),
        cmocka_unit_test(small_and_foreign_zones_are_refused),
        cmocka_unit_test(agrees_with_a_simple_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
