#include "http/h2_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FRAME ((size_t)16394) /* what a session asks for */

#if defined(GW_ASAN) || defined(__SANITIZE_ADDRESS__)
#define MANY 200
#else
#define MANY (GW_H2_BLOCKS_MAX + 10)
#endif

static void gives_more_than_there_are_blocks_for(void **state)
{
    char **all = calloc(MANY, sizeof(*all));

    assert_non_null(all);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < MANY; i++) {
            all[i] = h2_memory_new(FRAME, NULL);
            assert_non_null(all[i]);
            if (i % 512 == 0 || i + 20 > MANY)
                memset(all[i], (int)(i % 251), FRAME);
        }
        for (size_t i = 0; i < MANY; i++) {
            if (i % 512 == 0 || i + 20 > MANY) {
                assert_int_equal(all[i][0], (char)(i % 251));
                assert_int_equal(all[i][FRAME - 1], (char)(i % 251));
            }
            h2_memory_free(all[i], NULL);
        }
    }
    free(all);
}

static void resizes_what_is_a_block_and_what_is_not(void **state)
{
    static const size_t sizes[] = {10, 4000, FRAME, 20000, 20480, 20481, 100000};
    char *memory = NULL;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memory = h2_memory_resize(memory, sizes[i], NULL);
        assert_non_null(memory);
        for (size_t j = 0; i > 0 && j < sizes[i - 1]; j++)
            assert_int_equal(memory[j], (char)i);
        memset(memory, (int)i + 1, sizes[i]);
    }
    h2_memory_free(memory, NULL);

    memory = h2_memory_new(FRAME, NULL);
    memory[0] = 'a';
    memory = h2_memory_resize(memory, 30000, NULL);
    assert_int_equal(memory[0], 'a');
    memory[29999] = 'b';
    h2_memory_free(memory, NULL);
    h2_memory_free(NULL, NULL);
}

#if !defined(GW_ASAN) && !defined(__SANITIZE_ADDRESS__)
static void begins_a_frame_on_a_page_of_its_own(void **state)
{
    void *one = h2_memory_new(FRAME, NULL), *two = h2_memory_new(FRAME, NULL);

    assert_true((uintptr_t)one % 4096 == 0 && (uintptr_t)two % 4096 == 0);
    assert_ptr_not_equal(one, two);
    h2_memory_free(one, NULL);
    assert_ptr_equal(h2_memory_new(FRAME, NULL), one);
    h2_memory_free(one, NULL);
    h2_memory_free(two, NULL);
}
#endif

static void gives_zeros(void **state)
{
    static const char none[1000];
    char *memory = h2_memory_zeros(10, 100, NULL);

    assert_non_null(memory);
    assert_memory_equal(memory, none, 1000);
    h2_memory_free(memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_more_than_there_are_blocks_for),
        cmocka_unit_test(resizes_what_is_a_block_and_what_is_not),
#if !defined(GW_ASAN) && !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(begins_a_frame_on_a_page_of_its_own),
#endif
        cmocka_unit_test(gives_zeros),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
