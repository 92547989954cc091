/* Fields of HTTP/2 as lines of HTTP/1.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/h2_private.h"

struct fixture {
    struct gw_h2_conn c;
    struct gw_head_limits limits;
    struct gw_arena arena;
};

static struct fixture f;

static int setup(void **state)
{
    memset(&f, 0, sizeof(f));
    f.limits = (struct gw_head_limits){
        .header_bytes_max = 200, .header_count_max = 5, .uri_bytes_max = 100};
    f.c.limits = &f.limits;
    f.c.is_server = true;
    gw_arena_init(&f.arena);
    h2_head_begin(&f.c);
    return 0;
}

static int teardown(void **state)
{
    h2_head_free(&f.c);
    gw_arena_fini(&f.arena);
    return 0;
}

static void field(const char *name, const char *value)
{
    assert_true(h2_head_field(&f.c, gw_str_c(name), gw_str_c(value), false));
}

static void pseudo(void)
{
    field(":method", "GET");
    field(":scheme", "http");
    field(":path", "/a?b");
    field(":authority", "h:1");
}

static void is_text(struct gw_str text, const char *expected)
{
    assert_null(f.c.head.malformed);
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.data, expected, text.len);
}

static void is_malformed(const char *why)
{
    struct gw_str text =
        f.c.is_server ? h2_head_request(&f.c, &f.arena) : h2_head_response(&f.c, &f.arena);

    assert_null(text.data);
    assert_string_equal(f.c.head.malformed, why);
}

static void test_a_request_becomes_lines(void **state)
{
    pseudo();
    field("cookie", "a=1");
    field("x-a", "b");
    field("x-empty", "");
    field("cookie", "b=2");

    is_text(h2_head_request(&f.c, &f.arena),
            "GET /a?b HTTP/1.1\r\nhost: h:1\r\nx-a: b\r\nx-empty: \r\ncookie: a=1; b=2\r\n\r\n");
}

static void test_host_stands_in_for_authority(void **state)
{
    field(":method", "GET");
    field(":scheme", "https");
    field(":path", "/");
    field("host", "only");

    is_text(h2_head_request(&f.c, &f.arena), "GET / HTTP/1.1\r\nhost: only\r\n\r\n");
}

static void test_plain_connect_has_its_authority_as_target(void **state)
{
    field(":method", "CONNECT");
    field(":authority", "h:1");

    is_text(h2_head_request(&f.c, &f.arena), "CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n");
}

static void test_an_answer_becomes_lines(void **state)
{
    f.c.is_server = false;
    field(":status", "404");
    field("host", "odd");
    field("cookie", "odd");

    is_text(h2_head_response(&f.c, &f.arena), "HTTP/1.1 404 \r\nhost: odd\r\ncookie: odd\r\n\r\n");
}

static void test_trailers_become_lines(void **state)
{
    field("x-sum", "1");

    is_text(h2_head_trailers(&f.c, &f.arena), "x-sum: 1\r\n\r\n");
}

static void test_trailers_have_no_pseudo_field_and_no_host(void **state)
{
    assert_true(h2_head_field(&f.c, GW_STR(":path"), GW_STR("/"), true));
    assert_null(h2_head_trailers(&f.c, &f.arena).data);

    h2_head_begin(&f.c);
    field("host", "a");
    assert_null(h2_head_trailers(&f.c, &f.arena).data);
}

static void test_what_is_malformed(void **state)
{
    static const struct {
        const char *name, *value, *why;
    } rows[] = {
        {":path", "/b", "pseudo-field twice"},
        {":status", "200", "unknown pseudo-field"},
        {":protocol", "websocket", ":protocol without CONNECT"},
        {"X-A", "b", "header name in upper case"},
        {"x a", "b", "bad header name"},
        {"", "b", "bad header name"},
        {"x-a", "b\r\nc: d", "control character in a header value"},
        {"x-a", " b", "space around a header value"},
        {"x-a", "b\t", "space around a header value"},
        {"connection", "close", "field of HTTP/1 connections"},
        {"transfer-encoding", "chunked", "field of HTTP/1 connections"},
        {"te", "gzip", "TE is not trailers"},
        {"host", "other", "Host differs from :authority"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        h2_head_begin(&f.c);
        pseudo();
        field(rows[i].name, rows[i].value);
        is_malformed(rows[i].why);
    }
}

static void test_what_is_malformed_in_the_first_fields(void **state)
{
    static const struct {
        const char *method, *scheme, *path, *authority, *why;
    } rows[] = {
        {NULL, "http", "/", "a", "a pseudo-field is missing"},
        {"GET", NULL, "/", "a", "a pseudo-field is missing"},
        {"GET", "http", NULL, "a", "a pseudo-field is missing"},
        {"GET", "http", "/", NULL, "no :authority"},
        {"GET", "ftp", "/", "a", "unknown :scheme"},
        {"GET", "http", "x", "a", "bad :path"},
        {"GET", "http", "", "a", "bad :path"},
        {"GET", "http", "/ HTTP/1.1\r\nx: y", "a", "bad byte in a pseudo-field"},
        {"GET", "http", "/", "a b", "bad byte in a pseudo-field"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        h2_head_begin(&f.c);
        if (rows[i].method != NULL)
            field(":method", rows[i].method);
        if (rows[i].scheme != NULL)
            field(":scheme", rows[i].scheme);
        if (rows[i].path != NULL)
            field(":path", rows[i].path);
        if (rows[i].authority != NULL)
            field(":authority", rows[i].authority);
        is_malformed(rows[i].why);
    }
}

static void test_a_pseudo_field_comes_first_and_host_once(void **state)
{
    field(":method", "GET");
    field("x-a", "b");
    field(":path", "/");
    is_malformed("pseudo-field behind another field");

    h2_head_begin(&f.c);
    field("host", "a");
    field("host", "a");
    is_malformed("several Host");

    h2_head_begin(&f.c);
    f.c.is_server = false;
    field(":status", "20");
    is_malformed("bad :status");
}

static void test_limits_are_kept(void **state)
{
    char value[150];

    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    field("x-a", value);
    assert_false(f.c.head.too_large);
    field("x-b", value);
    assert_true(f.c.head.too_large);

    h2_head_begin(&f.c);
    for (int i = 0; i < 6; i++)
        field("a", "b");
    assert_true(f.c.head.too_large);

    h2_head_begin(&f.c);
    for (int i = 0; f.c.fatal == 0; i++) {
        assert_true(i < 10);
        (void)h2_head_field(&f.c, GW_STR("x-a"), gw_str_c(value), false);
    }
    assert_int_equal(f.c.fatal, GW_H2_ENHANCE_YOUR_CALM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_request_becomes_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_host_stands_in_for_authority, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plain_connect_has_its_authority_as_target, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_an_answer_becomes_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trailers_become_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trailers_have_no_pseudo_field_and_no_host, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_is_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_malformed_in_the_first_fields, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_pseudo_field_comes_first_and_host_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_limits_are_kept, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
