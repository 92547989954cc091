#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

#define COUNT 20000

/* Texts that differ in their last digits only, short and long, with small seeds. */
static void texts_do_not_collide(void **state)
{
    static uint64_t all[COUNT];
    static const char *const forms[] = {"%d", "x%07d", "/svc%d/items/", "a-name-of-some-length-%d"};

    for (uint64_t seed = 0; seed < 3; seed++)
        for (size_t f = 0; f < 4; f++) {
            for (int i = 0; i < COUNT; i++) {
                char text[64];
                int len = snprintf(text, sizeof(text), forms[f], i);
                all[i] = gw_hash(text, (size_t)len, seed);
            }
            qsort(all, COUNT, sizeof(all[0]), compare);
            for (int i = 1; i < COUNT; i++)
                assert_true(all[i] != all[i - 1]);
        }
}

static void low_bits_are_spread(void **state)
{
    unsigned places[64] = {0};

    for (int i = 0; i < 6400; i++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "k%d", i);
        places[gw_hash(text, (size_t)len, 0) & 63]++;
    }
    for (int i = 0; i < 64; i++)
        assert_in_range(places[i], 50, 160);
}

static void length_and_seed_count(void **state)
{
    assert_true(gw_hash("\0", 1, 0) != gw_hash("\0\0", 2, 0));
    assert_true(gw_hash("", 0, 0) != gw_hash("", 0, 1));
    assert_true(gw_hash("abc", 3, 0) != gw_hash("abc", 3, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_do_not_collide),
        cmocka_unit_test(low_bits_are_spread),
        cmocka_unit_test(length_and_seed_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
