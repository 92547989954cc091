#include "http/grpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void test_types(void **state)
{
    static const struct {
        const char *type;
        bool is;
    } rows[] = {
        {"application/grpc", true},
        {"Application/GRPC", true},
        {"application/grpc+proto", true},
        {"application/grpc;charset=utf-8", true},
        {"application/grpc ; a=b", true},
        {"application/grpc-web", false},
        {"application/grpc-web+proto", false},
        {"application/grpcx", false},
        {"application/grp", false},
        {"text/plain; application/grpc", false},
        {"", false},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_arena arena = GW_ARENA_INIT;
        struct gw_fields fields;

        gw_fields_init(&fields, &arena);
        assert_false(gw_grpc_message(&fields));
        gw_fields_add(&fields, GW_STR("Content-Type"), gw_str_c(rows[i].type));
        assert_int_equal(gw_grpc_message(&fields), rows[i].is);
        gw_arena_fini(&arena);
    }
}

static void test_timeouts(void **state)
{
    static const struct {
        const char *text;
        int64_t us; /* -1: not one */
    } rows[] = {
        {"1u", 1},
        {"0S", 0},
        {"1n", 1},
        {"1000n", 1},
        {"1001n", 2},
        {"250m", 250000},
        {"00000001S", 1000000},
        {"99999999u", 99999999},
        {"2M", 120000000},
        {"99999999H", INT64_C(99999999) * 3600 * 1000000},
        {"", -1},
        {"S", -1},
        {"1", -1},
        {"1s", -1},
        {"1h", -1},
        {"100000000S", -1},
        {"000000001S", -1},
        {"-1S", -1},
        {"+1S", -1},
        {"1.5S", -1},
        {" 1S", -1},
        {"1S ", -1},
        {"1 S", -1},
        {"1SS", -1},
        {"1S, 1S", -1},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t us = 77;
        enum gw_rc rc = gw_grpc_timeout_parse(gw_str_c(rows[i].text), &us);

        assert_int_equal(rc, rows[i].us < 0 ? GW_INVALID : GW_OK);
        if (rc == GW_OK)
            assert_int_equal(us, rows[i].us);
    }
}

static void test_what_is_left(void **state)
{
    static const struct {
        uint64_t us;
        const char *text;
    } rows[] = {
        {0, "1u"},
        {1, "1u"},
        {99999999, "99999999u"},
        {100000000, "100000m"},
        {100000999, "100000m"},
        {UINT64_C(99999999999), "99999999m"},
        {UINT64_C(100000000000), "100000S"},
        {UINT64_C(99999999) * 1000000, "99999999S"},
        {UINT64_C(100000000) * 1000000, "1666666M"},
        {UINT64_C(99999999) * 3600 * 1000000, "99999999H"},
        {UINT64_MAX, "99999999H"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[GW_GRPC_TIMEOUT_BYTES];

        assert_int_equal(gw_grpc_timeout_format(rows[i].us, text), strlen(rows[i].text));
        assert_string_equal(text, rows[i].text);
    }
}

static void test_words(void **state)
{
    struct gw_buf out = GW_BUF_INIT;

    gw_grpc_percent(GW_STR("a b~ 100%\n\x7f\xc3\xbc\r\0"), &out);
    gw_buf_add(&out, "", 1);
    assert_string_equal(gw_buf_str(&out).data, "a b~ 100%25%0A%7F%C3%BC%0D%00");
    gw_buf_fini(&out);
}

static void test_statuses(void **state)
{
    static const struct {
        unsigned http;
        enum gw_grpc_status grpc;
    } rows[] = {
        {400, GW_GRPC_INTERNAL},           {401, GW_GRPC_UNAUTHENTICATED},
        {403, GW_GRPC_PERMISSION_DENIED},  {404, GW_GRPC_UNIMPLEMENTED},
        {405, GW_GRPC_UNIMPLEMENTED},      {413, GW_GRPC_RESOURCE_EXHAUSTED},
        {429, GW_GRPC_RESOURCE_EXHAUSTED}, {500, GW_GRPC_UNKNOWN},
        {502, GW_GRPC_UNAVAILABLE},        {503, GW_GRPC_UNAVAILABLE},
        {504, GW_GRPC_UNAVAILABLE},        {302, GW_GRPC_UNKNOWN},
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(gw_grpc_status_of(rows[i].http), rows[i].grpc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_what_is_left), cmocka_unit_test(test_words),
        cmocka_unit_test(test_statuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
