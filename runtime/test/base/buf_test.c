#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void behaves_like_a_queue(void **state)
{
    struct gw_buf buf = GW_BUF_INIT;
    unsigned char next_in = 0, next_out = 0, bytes[600];

    srand(1);
    for (int round = 0; round < 5000; round++) {
        size_t in = (size_t)rand() % sizeof(bytes), out;
        for (size_t i = 0; i < in; i++)
            bytes[i] = next_in++;
        gw_buf_add(&buf, bytes, in);
        out = (size_t)rand() % (gw_buf_len(&buf) + 1);
        for (size_t i = 0; i < out; i++)
            assert_int_equal((unsigned char)gw_buf_str(&buf).data[i], next_out++);
        gw_buf_consume(&buf, out);
    }
    gw_buf_fini(&buf);
}

static void an_emptied_buffer_starts_again(void **state)
{
    struct gw_buf buf = GW_BUF_INIT;

    gw_buf_add(&buf, "abc", 3);
    gw_buf_consume(&buf, 3);
    assert_int_equal(buf.from, 0);
    assert_int_equal(buf.to, 0);
    gw_buf_fini(&buf);
    assert_null(buf.data);
}

static void does_not_grow_when_moving_is_enough(void **state)
{
    struct gw_buf buf = GW_BUF_INIT;
    char bytes[200] = {0};
    size_t size;

    gw_buf_add(&buf, bytes, 200);
    size = buf.size;
    for (int i = 0; i < 100; i++) {
        gw_buf_consume(&buf, 150);
        gw_buf_add(&buf, bytes, 150);
    }
    assert_int_equal(buf.size, size);
    gw_buf_fini(&buf);
}

static void prints(void **state)
{
    struct gw_buf buf = GW_BUF_INIT;

    gw_buf_printf(&buf, "%s %d", "x", 42);
    gw_buf_printf(&buf, "%*s", 1000, "y");
    assert_int_equal(gw_buf_len(&buf), 4 + 1000);
    assert_memory_equal(gw_buf_str(&buf).data, "x 42 ", 5);
    gw_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_a_queue),
        cmocka_unit_test(an_emptied_buffer_starts_again),
        cmocka_unit_test(does_not_grow_when_moving_is_enough),
        cmocka_unit_test(prints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
