#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void gives_aligned_memory(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;

    for (size_t size = 1; size < 5000; size += 7) {
        char *mem = gw_arena_alloc(&arena, size);
        assert_int_equal((uintptr_t)mem % 8, 0);
        memset(mem, 0x5a, size); /* ASan looks */
    }
    gw_arena_fini(&arena);
    assert_null(arena.blocks);
}

static void keeps_filling_the_block_before_a_large_one(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    char *first = gw_arena_alloc(&arena, 16), *large = gw_arena_alloc(&arena, 100000);
    char *second = gw_arena_alloc(&arena, 16);

    memset(large, 1, 100000);
    assert_ptr_equal(second, first + 16);
    gw_arena_fini(&arena);
}

static void counts_what_it_took(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;

    assert_int_equal(arena.bytes, 0);
    (void)gw_arena_alloc(&arena, 10);
    assert_int_equal(arena.bytes, 4096);
    (void)gw_arena_alloc(&arena, 8192);
    assert_true(arena.bytes > 4096 + 8192);
    gw_arena_fini(&arena);
}

static void recycles_blocks(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;

    gw_arena_pool_drain();
    for (int i = 0; i < 10; i++)
        (void)gw_arena_alloc(&arena, 4000);
    gw_arena_fini(&arena);
    assert_int_equal(gw_arena_pool_bytes(), 10 * 4096);
    (void)gw_arena_alloc(&arena, 1);
    assert_int_equal(gw_arena_pool_bytes(), 9 * 4096);
    gw_arena_fini(&arena);
    gw_arena_pool_drain();
    assert_int_equal(gw_arena_pool_bytes(), 0);
}

static void copies_end_with_nul(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_str copy = gw_arena_dup(&arena, gw_str("abcdef", 3));

    assert_int_equal(copy.len, 3);
    assert_string_equal(copy.data, "abc");
    copy = gw_arena_dup(&arena, GW_STR_NULL);
    assert_int_equal(copy.len, 0);
    assert_string_equal(copy.data, "");
    copy = gw_arena_printf(&arena, "%d-%s", 7, "x");
    assert_string_equal(copy.data, "7-x");
    gw_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_aligned_memory),
        cmocka_unit_test(keeps_filling_the_block_before_a_large_one),
        cmocka_unit_test(counts_what_it_took),
        cmocka_unit_test(recycles_blocks),
        cmocka_unit_test(copies_end_with_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
