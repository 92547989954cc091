/* Trailers, and which fields stay on this side of the gateway. */
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
    .header_bytes_max = 256, .header_count_max = 5, .uri_bytes_max = 64};

static enum gw_rc parse_trailers(struct gw_str lines, uint32_t *count)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_fields fields;
    char *copy = malloc(lines.len);
    const char *why = NULL;
    enum gw_rc rc;

    memcpy(copy, lines.data, lines.len);
    gw_fields_init(&fields, &arena);
    rc = gw_head_parse_trailers(gw_str(copy, lines.len), &limits, &fields, &why);
    assert_int_equal(rc == GW_OK, why == NULL);
    *count = fields.count;
    gw_arena_fini(&arena);
    free(copy);
    return rc;
}

static void good_trailers_are_taken(void **state)
{
    static const struct {
        struct gw_str lines;
        uint32_t count;
    } rows[] = {
        {BYTES("\r\n"), 0},
        {BYTES("A: b\r\n\r\n"), 1},
        {BYTES("Server-Timing: a;b=1\r\nX-Sum:\xff\r\nETag: \"1\"\r\n\r\n"), 3},
        {BYTES("A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n\r\n"), 5},
    };
    uint32_t count;

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(parse_trailers(rows[i].lines, &count), GW_OK);
        assert_int_equal(count, rows[i].count);
    }
}

static void bad_trailers_are_refused(void **state)
{
    static const struct {
        struct gw_str lines;
        enum gw_rc rc;
    } rows[] = {
        {BYTES(""), GW_PROTOCOL},
        {BYTES("\r"), GW_PROTOCOL},
        {BYTES("\n"), GW_PROTOCOL},
        {BYTES("\r\n\r\n"), GW_PROTOCOL},
        {BYTES("A: b\r\n"), GW_PROTOCOL},
        {BYTES("A: b\n\r\n"), GW_PROTOCOL},
        {BYTES("A : b\r\n\r\n"), GW_PROTOCOL},
        {BYTES(" A: b\r\n\r\n"), GW_PROTOCOL},
        {BYTES("A: b\r\n c\r\n\r\n"), GW_PROTOCOL},
        {BYTES("A: b\0\r\n\r\n"), GW_PROTOCOL},
        {BYTES("A: b\rc\r\n\r\n"), GW_PROTOCOL},
        {BYTES("Transfer-Encoding: chunked\r\n\r\n"), GW_PROTOCOL},
        {BYTES("content-length: 5\r\n\r\n"), GW_PROTOCOL},
        {BYTES("HOST: b\r\n\r\n"), GW_PROTOCOL},
        {BYTES("A: b\r\nConnection: close\r\n\r\n"), GW_PROTOCOL},
        {BYTES("TE: trailers\r\n\r\n"), GW_PROTOCOL},
        {BYTES("Trailer: a\r\n\r\n"), GW_PROTOCOL},
        {BYTES("Upgrade: a\r\n\r\n"), GW_PROTOCOL},
        {BYTES("Keep-Alive: a\r\n\r\n"), GW_PROTOCOL},
        {BYTES("Proxy-Connection: a\r\n\r\n"), GW_PROTOCOL},
        {BYTES("Proxy-Authorization: a\r\n\r\n"), GW_PROTOCOL},
        {BYTES("Expect: a\r\n\r\n"), GW_PROTOCOL},
        {BYTES("X-Forwarded-For: a\r\n\r\n"), GW_PROTOCOL},
        {BYTES("Forwarded: a\r\n\r\n"), GW_PROTOCOL},
        {BYTES("Content-Type: a\r\n\r\n"), GW_PROTOCOL},
        {BYTES("Content-Encoding: a\r\n\r\n"), GW_PROTOCOL},
        {BYTES("A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n\r\n"), GW_LIMIT},
    };
    char text[300];
    uint32_t count;

    for (size_t i = 0; i < COUNT(rows); i++) {
        enum gw_rc rc = parse_trailers(rows[i].lines, &count);
        if (rc != rows[i].rc)
            print_error("row %zu\n", i);
        assert_int_equal(rc, rows[i].rc);
    }
    memset(text, 'a', sizeof(text));
    memcpy(text, "A:", 2);
    memcpy(text + 252, "\r\n\r\n", 4);
    assert_int_equal(parse_trailers(gw_str(text, 256), &count), GW_OK);
    text[252] = text[253] = 'a';
    memcpy(text + 253, "\r\n\r\n", 4);
    assert_int_equal(parse_trailers(gw_str(text, 257), &count), GW_LIMIT);
}

static struct gw_fields fields_of(struct gw_arena *arena, const char *const *names)
{
    struct gw_fields fields;

    gw_fields_init(&fields, arena);
    for (; *names != NULL; names += 2)
        (void)gw_fields_add(&fields, gw_str_c(names[0]), gw_str_c(names[1]));
    return fields;
}

static void hop_by_hop_fields_are_dropped(void **state)
{
    static const char *const names[] = {"Connection",
                                        "close, X-Own",
                                        "Keep-Alive",
                                        "5",
                                        "PROXY-CONNECTION",
                                        "a",
                                        "te",
                                        "trailers",
                                        "Transfer-Encoding",
                                        "chunked",
                                        "Upgrade",
                                        "x",
                                        "HTTP2-Settings",
                                        "x",
                                        "Proxy-Authenticate",
                                        "x",
                                        "Proxy-Authorization",
                                        "x",
                                        "x-own",
                                        "1",
                                        "X-OWN",
                                        "2",
                                        NULL};
    static const char *const kept[] = {"Host", "a",   "Content-Length", "1",     "Trailer",
                                       "x",    "Via", "1.1 a",          "Close", "not-named-here",
                                       NULL};
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_fields fields = fields_of(&arena, names);

    gw_head_drop_hop_by_hop(&fields);
    for (uint32_t i = 0; i < fields.count; i++)
        assert_true(fields.items[i].dropped);

    fields = fields_of(&arena, kept);
    gw_head_drop_hop_by_hop(&fields);
    for (uint32_t i = 0; i < fields.count; i++)
        assert_false(fields.items[i].dropped);
    gw_arena_fini(&arena);
}

static void every_connection_field_is_heard(void **state)
{
    static const char *const names[] = {
        "A", "1", "Connection", "connection, a", "Connection", " ,b,\t", "B", "2", "C", "3", NULL};
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_fields fields = fields_of(&arena, names);

    gw_head_drop_hop_by_hop(&fields);
    assert_null(gw_fields_find(&fields, GW_STR("a")));
    assert_null(gw_fields_find(&fields, GW_STR("b")));
    assert_non_null(gw_fields_find(&fields, GW_STR("c")));
    gw_arena_fini(&arena);
}

static void a_client_cannot_name_away_routing_and_framing(void **state)
{
    static const char *const names[] = {"Connection",
                                        "host, Content-Length, via, forwarded, X-Forwarded-For, "
                                        "x-forwarded-proto, x-forwarded-host, x-real-ip, cookie",
                                        "Host",
                                        "a",
                                        "content-length",
                                        "1",
                                        "Via",
                                        "1",
                                        "Forwarded",
                                        "1",
                                        "X-Forwarded-For",
                                        "1",
                                        "X-Forwarded-Proto",
                                        "1",
                                        "X-Forwarded-Host",
                                        "1",
                                        "X-Real-IP",
                                        "1",
                                        "Cookie",
                                        "1",
                                        NULL};
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_fields fields = fields_of(&arena, names);

    gw_head_drop_hop_by_hop(&fields);
    assert_true(fields.items[0].dropped);
    for (uint32_t i = 1; i < fields.count; i++)
        assert_int_equal(fields.items[i].dropped, i == fields.count - 1); /* the cookie */
    gw_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_trailers_are_taken),
        cmocka_unit_test(bad_trailers_are_refused),
        cmocka_unit_test(hop_by_hop_fields_are_dropped),
        cmocka_unit_test(every_connection_field_is_heard),
        cmocka_unit_test(a_client_cannot_name_away_routing_and_framing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
