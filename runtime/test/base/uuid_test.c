#include "base/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_form(const char *id, char version)
{
    assert_int_equal(strlen(id), GW_UUID_LEN);
    for (int i = 0; i < GW_UUID_LEN; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(id[i], '-');
        else
            assert_non_null(strchr("0123456789abcdef", id[i]));
    }
    assert_int_equal(id[14], version);
    assert_non_null(strchr("89ab", id[19]));
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, GW_UUID_LEN + 1);
}

static void version_4_is_well_formed_and_unique(void **state)
{
    enum { COUNT = 20000 };
    static char ids[COUNT][GW_UUID_LEN + 1];

    for (int i = 0; i < COUNT; i++) {
        gw_uuid_v4(ids[i]);
        expect_form(ids[i], '4');
    }
    qsort(ids, COUNT, sizeof(ids[0]), compare);
    for (int i = 1; i < COUNT; i++)
        assert_string_not_equal(ids[i - 1], ids[i]);
}

static void every_free_bit_of_version_4_varies(void **state)
{
    bool seen[GW_UUID_LEN][16] = {{false}};
    static const char digits[] = "0123456789abcdef";
    char id[GW_UUID_LEN + 1];

    for (int i = 0; i < 2000; i++) {
        gw_uuid_v4(id);
        for (int j = 0; j < GW_UUID_LEN; j++)
            if (id[j] != '-')
                seen[j][strchr(digits, id[j]) - digits] = true;
    }
    for (int j = 0; j < GW_UUID_LEN; j++) {
        int count = 0;
        for (int d = 0; d < 16; d++)
            count += seen[j][d];
        bool dash = j == 8 || j == 13 || j == 18 || j == 23;
        assert_int_equal(count, dash ? 0 : j == 14 ? 1 : j == 19 ? 4 : 16);
    }
}

static void version_7_carries_the_time(void **state)
{
    char id[GW_UUID_LEN + 1];

    gw_uuid_v7(0x017f22e279b0ULL, id); /* the example of RFC 9562 A.6 */
    expect_form(id, '7');
    assert_memory_equal(id, "017f22e2-79b0-7", 15);
}

static void version_7_sorts_in_the_order_of_making(void **state)
{
    char before[GW_UUID_LEN + 1], now[GW_UUID_LEN + 1];
    uint64_t ms = 0x018000000000ULL;

    gw_uuid_v7(ms, before);
    /* Far more in one millisecond than its counter holds, then a clock that goes back. */
    for (int i = 0; i < 20000; i++) {
        gw_uuid_v7(i < 10000 ? ms : ms - 5000, now);
        expect_form(now, '7');
        assert_true(strcmp(before, now) < 0);
        memcpy(before, now, sizeof(now));
    }
    gw_uuid_v7(ms + 60000, now);
    assert_memory_equal(now, "01800000-ea60-7", 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_4_is_well_formed_and_unique),
        cmocka_unit_test(every_free_bit_of_version_4_varies),
        cmocka_unit_test(version_7_carries_the_time),
        cmocka_unit_test(version_7_sorts_in_the_order_of_making),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
