#include "http/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define BYTES(literal)                                                                             \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static const struct gw_head_limits limits = {
    .header_bytes_max = 4096, .header_count_max = 20, .uri_bytes_max = 512};

/* `data` is copied to memory of its size, so that ASan sees a step beyond. */
static enum gw_rc parse(struct gw_str data, enum gw_method method, struct gw_arena *arena,
                        struct gw_response *response, struct gw_head *head)
{
    char *copy = malloc(data.len);
    const char *why = NULL;
    enum gw_rc rc;

    memcpy(copy, data.data, data.len);
    rc = gw_head_parse_response(gw_str(copy, data.len), &limits, method, arena, response, head,
                                &why);
    assert_int_equal(rc == GW_OK, why == NULL);
    free(copy); /* only numbers are looked at behind this */
    return rc;
}

#define OK "HTTP/1.1 200 OK\r\n"

static void bad_answers_are_refused(void **state)
{
    static const struct gw_str rows[] = {
        BYTES("\r\nHTTP/1.1 200 OK\r\n\r\n"),
        BYTES(" HTTP/1.1 200 OK\r\n\r\n"),
        BYTES("HTTP/1.1 200 OK\n\n"),
        BYTES("HTTP/1.1 200 OK\r\n\n"),
        BYTES("HTTP/1.1 200 OK\r\r\n\r\n"),
        BYTES("HTTP/1.1  200 OK\r\n\r\n"),
        BYTES("HTTP/1.1\t200 OK\r\n\r\n"),
        BYTES("HTTP/1.1 200\r\n\r\n"),
        BYTES("HTTP/1.1 200OK\r\n\r\n"),
        BYTES("HTTP/1.1 200\tOK\r\n\r\n"),
        BYTES("HTTP/1.1 20 OK\r\n\r\n"),
        BYTES("HTTP/1.1 2000 OK\r\n\r\n"),
        BYTES("HTTP/1.1 099 OK\r\n\r\n"),
        BYTES("HTTP/1.1 000 OK\r\n\r\n"),
        BYTES("HTTP/1.1 600 OK\r\n\r\n"),
        BYTES("HTTP/1.1 2x0 OK\r\n\r\n"),
        BYTES("HTTP/1.1 20x OK\r\n\r\n"),
        BYTES("HTTP/1.1 -20 OK\r\n\r\n"),
        BYTES("HTTP/1.1 200 O\0K\r\n\r\n"),
        BYTES("HTTP/1.1 200 O\x7fK\r\n\r\n"),
        BYTES("HTTP/1.1 200 O\rK\r\n\r\n"),
        BYTES("HTTP/1.2 200 OK\r\n\r\n"),
        BYTES("HTTP/2.0 200 OK\r\n\r\n"),
        BYTES("HTTP/1 200 OK\r\n\r\n"),
        BYTES("http/1.1 200 OK\r\n\r\n"),
        BYTES("ICY 200 OK\r\n\r\n"),
        BYTES("HTTP/1.1 \r\n\r\n"),
        BYTES("HTTP/1.1"),
        BYTES("H"),
        BYTES(""),
        BYTES(OK),
        BYTES(OK "\r\nx"),
        BYTES(OK "A : b\r\n\r\n"),
        BYTES(OK "A: b\r\n c\r\n\r\n"),
        BYTES(OK "A: b\0\r\n\r\n"),
        BYTES(OK "A: \rTransfer-Encoding: chunked\r\n\r\n"),
        BYTES(OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        BYTES(OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        BYTES(OK "Content-Length: 1, 1\r\n\r\n"),
        BYTES(OK "Content-Length: -1\r\n\r\n"),
        BYTES(OK "Content-Length: +1\r\n\r\n"),
        BYTES(OK "Content-Length: 9223372036854775808\r\n\r\n"),
        BYTES(OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES(OK "Transfer-Encoding: gzip, chunked\r\n\r\n"),
        BYTES(OK "Transfer-Encoding: identity\r\n\r\n"),
        BYTES(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES("HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\n"),
        BYTES("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES("HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\n"),
        BYTES("HTTP/1.1 101 Up\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES("HTTP/1.1 304 Not\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_arena arena = GW_ARENA_INIT;
        struct gw_response response;
        struct gw_head head;
        enum gw_rc rc = parse(rows[i], GW_METHOD_GET, &arena, &response, &head);

        if (rc == GW_OK)
            print_error("row %zu: %.*s\n", i, GW_STR_ARG(rows[i]));
        assert_int_equal(rc, GW_PROTOCOL);
        gw_arena_fini(&arena);
    }
}

struct good {
    struct gw_str text;
    enum gw_method method;
    unsigned status;
    enum gw_framing framing;
    int64_t length;
    bool has_body, keep_alive, upgrade;
};

#define NONE GW_FRAMING_NONE
#define UNKNOWN GW_LENGTH_UNKNOWN

static const struct good good_rows[] = {
    {BYTES(OK "\r\n"), GW_METHOD_GET, 200, GW_FRAMING_CLOSE, UNKNOWN, true, false, false},
    {BYTES("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"), GW_METHOD_GET, 200, GW_FRAMING_LENGTH, 0,
     false, true, false},
    {BYTES("HTTP/1.1 599 \xff\t x\r\nContent-Length: 7\r\n\r\n"), GW_METHOD_GET, 599,
     GW_FRAMING_LENGTH, 7, true, true, false},
    {BYTES("HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n"), GW_METHOD_GET, 200, GW_FRAMING_LENGTH,
     7, true, false, false},
    {BYTES("HTTP/1.0 200 OK\r\nContent-Length: 7\r\nConnection: keep-alive\r\n\r\n"), GW_METHOD_GET,
     200, GW_FRAMING_LENGTH, 7, true, true, false},
    {BYTES("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"), GW_METHOD_GET, 200,
     GW_FRAMING_CLOSE, UNKNOWN, true, false, false},
    {BYTES(OK "Transfer-Encoding: Chunked\r\nConnection: close\r\n\r\n"), GW_METHOD_POST, 200,
     GW_FRAMING_CHUNKED, UNKNOWN, true, false, false},
    {BYTES(OK "Content-Length: 9223372036854775807\r\n\r\n"), GW_METHOD_GET, 200, GW_FRAMING_LENGTH,
     INT64_MAX, true, true, false},
    {BYTES(OK "Content-Length: 12\r\n\r\n"), GW_METHOD_HEAD, 200, NONE, 12, false, true, false},
    {BYTES(OK "\r\n"), GW_METHOD_HEAD, 200, NONE, UNKNOWN, false, true, false},
    {BYTES(OK "Transfer-Encoding: chunked\r\n\r\n"), GW_METHOD_HEAD, 200, NONE, UNKNOWN, false,
     true, false},
    {BYTES("HTTP/1.1 304 Not\r\nContent-Length: 12\r\n\r\n"), GW_METHOD_GET, 304, NONE, 12, false,
     true, false},
    {BYTES("HTTP/1.1 304 Not\r\n\r\n"), GW_METHOD_GET, 304, NONE, UNKNOWN, false, true, false},
    {BYTES("HTTP/1.1 304 Not\r\nTransfer-Encoding: chunked\r\n\r\n"), GW_METHOD_GET, 304, NONE,
     UNKNOWN, false, true, false},
    {BYTES("HTTP/1.1 204 No\r\n\r\n"), GW_METHOD_GET, 204, NONE, 0, false, true, false},
    {BYTES("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n"), GW_METHOD_GET, 204, NONE, 0, false,
     true, false},
    {BYTES("HTTP/1.1 100 Continue\r\n\r\n"), GW_METHOD_POST, 100, NONE, 0, false, true, false},
    {BYTES("HTTP/1.1 103 Early\r\nLink: a\r\n\r\n"), GW_METHOD_GET, 103, NONE, 0, false, true,
     false},
    {BYTES("HTTP/1.1 101 Up\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), GW_METHOD_GET,
     101, NONE, 0, false, true, true},
    {BYTES("HTTP/1.1 101 Up\r\nUpgrade: websocket\r\n\r\n"), GW_METHOD_GET, 101, NONE, 0, false,
     true, false},
    {BYTES("HTTP/1.1 101 Up\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), GW_METHOD_GET, 101,
     NONE, 0, false, true, false},
    {BYTES(OK "Connection: Upgrade\r\nUpgrade: h2\r\nContent-Length: 3\r\n\r\n"), GW_METHOD_GET,
     200, GW_FRAMING_LENGTH, 3, true, true, true},
};

static void what_an_answer_says_is_noted(void **state)
{
    for (size_t i = 0; i < COUNT(good_rows); i++) {
        const struct good *row = &good_rows[i];
        struct gw_arena arena = GW_ARENA_INIT;
        struct gw_response response;
        struct gw_head head;
        enum gw_rc rc = parse(row->text, row->method, &arena, &response, &head);

        if (rc != GW_OK)
            print_error("row %zu: %.*s\n", i, GW_STR_ARG(row->text));
        assert_int_equal(rc, GW_OK);
        assert_int_equal(response.status, row->status);
        assert_int_equal(head.framing, row->framing);
        assert_int_equal(response.length, row->length);
        assert_int_equal(response.has_body, row->has_body);
        assert_int_equal(head.keep_alive, row->keep_alive);
        assert_int_equal(head.upgrade, row->upgrade);
        gw_arena_fini(&arena);
    }
}

static void reasons_are_slices(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_response response;
    struct gw_head head;
    const char *why;

    assert_int_equal(gw_head_parse_response(GW_STR("HTTP/1.0 404 Not  Here \r\nA: b\r\n\r\n"),
                                            &limits, GW_METHOD_GET, &arena, &response, &head, &why),
                     GW_OK);
    assert_true(gw_str_eq(response.reason, GW_STR("Not  Here ")));
    assert_int_equal(response.minor, 0);
    assert_int_equal(response.fields.count, 1);
    assert_true(response.fields.items[0].wire);
    gw_arena_fini(&arena);
}

static void answers_have_limits(void **state)
{
    char text[8192];

    for (unsigned extra = 0; extra <= 1; extra++) {
        struct gw_arena arena = GW_ARENA_INIT;
        struct gw_response response;
        struct gw_head head;
        size_t len = (size_t)sprintf(text, OK);
        enum gw_rc expected = extra == 0 ? GW_OK : GW_LIMIT;

        for (unsigned i = 0; i < limits.header_count_max + extra; i++)
            len += (size_t)sprintf(text + len, "A: b\r\n");
        len += (size_t)sprintf(text + len, "\r\n");
        assert_int_equal(parse(gw_str(text, len), GW_METHOD_GET, &arena, &response, &head),
                         expected);

        len = (size_t)sprintf(text, OK "A: ");
        memset(text + len, 'b', limits.header_bytes_max - 7 + extra);
        len += limits.header_bytes_max - 7 + extra;
        len += (size_t)sprintf(text + len, "\r\n\r\n");
        assert_int_equal(parse(gw_str(text, len), GW_METHOD_GET, &arena, &response, &head),
                         expected);
        gw_arena_fini(&arena);
    }
}

/* More and longer framing lines than the excerpt for the library holds: it is handed over in
 * parts, and none of them is empty. */
static void long_framing_lines_are_judged_whole(void **state)
{
    char text[4096], filler[701];

    memset(filler, 'x', sizeof(filler));
    filler[700] = '\0';
    for (int bad = 0; bad <= 1; bad++) {
        struct gw_arena arena = GW_ARENA_INIT;
        struct gw_response response;
        struct gw_head head;
        size_t len = (size_t)sprintf(text,
                                     OK "Upgrade: %.450s\r\nUpgrade: %.450s\r\n"
                                        "Connection: %s\r\nConnection: %s\r\n"
                                        "Content-Length: 5%s\r\n\r\n",
                                     filler, filler, filler, filler, bad ? "\t" : "");

        assert_int_equal(parse(gw_str(text, len), GW_METHOD_GET, &arena, &response, &head),
                         bad ? GW_PROTOCOL : GW_OK);
        gw_arena_fini(&arena);
    }
}

static void no_part_of_an_answer_is_an_answer(void **state)
{
    for (size_t i = 0; i < COUNT(good_rows); i++)
        for (size_t len = 0; len < good_rows[i].text.len; len++) {
            struct gw_arena arena = GW_ARENA_INIT;
            struct gw_response response;
            struct gw_head head;

            assert_int_equal(
                parse(gw_str(good_rows[i].text.data, len), GW_METHOD_GET, &arena, &response, &head),
                GW_PROTOCOL);
            gw_arena_fini(&arena);
        }
}

/* The second opinion on the same lines is remembered: by all that it hangs on. */
static void the_same_lines_may_mean_something_else(void **state)
{
    static const struct {
        struct gw_str head;
        enum gw_method method;
        int64_t length;
        bool has_body;
    } rows[] = {
        {BYTES(OK "Content-Length: 1234567890\r\n\r\n"), GW_METHOD_GET, 1234567890, true},
        {BYTES(OK "Content-Length: 1234567890\r\n\r\n"), GW_METHOD_HEAD, 1234567890, false},
        {BYTES("HTTP/1.1 304 x\r\nContent-Length: 1234567890\r\n\r\n"), GW_METHOD_GET, 1234567890,
         false},
        {BYTES("HTTP/1.0 200 OK\r\nContent-Length: 1234567890\r\n\r\n"), GW_METHOD_GET, 1234567890,
         true},
        {BYTES("HTTP/1.1 404 x\r\nContent-Length: 1234567890\r\n\r\n"), GW_METHOD_GET, 1234567890,
         true},
        /* The bytes that a slot is found by are the same. */
        {BYTES(OK "Content-Length: 91234567890\r\n\r\n"), GW_METHOD_GET, 91234567890, true},
        {BYTES(OK "Content-Length: 71234567890\r\n\r\n"), GW_METHOD_GET, 71234567890, true},
    };

    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT(rows); i++) {
            struct gw_arena arena = GW_ARENA_INIT;
            struct gw_response response;
            struct gw_head head;

            assert_int_equal(GW_OK, parse(rows[i].head, rows[i].method, &arena, &response, &head));
            assert_int_equal(rows[i].length, response.length);
            assert_int_equal(rows[i].has_body, response.has_body);
            gw_arena_fini(&arena);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_answers_are_refused),
        cmocka_unit_test(what_an_answer_says_is_noted),
        cmocka_unit_test(reasons_are_slices),
        cmocka_unit_test(answers_have_limits),
        cmocka_unit_test(long_framing_lines_are_judged_whole),
        cmocka_unit_test(the_same_lines_may_mean_something_else),
        cmocka_unit_test(no_part_of_an_answer_is_an_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
