#include "http/ws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define LIMIT 100000

struct result {
    uint16_t code;  /* 0: no fault */
    char told[400]; /* heads and ends of what came: "T(3)." */
    struct gw_buf data;
    struct gw_buf wire;
    uint64_t messages;
    bool between;
};

static void tell(struct result *out, const struct gw_ws_event *event)
{
    static const char names[] = "CTB-----XPO-----";
    size_t at = strlen(out->told);

    if (event->what == GW_WS_HEAD || event->what == GW_WS_CONTROL)
        at += (size_t)snprintf(out->told + at, sizeof(out->told) - at, "%c", names[event->opcode]);
    if (event->what == GW_WS_CONTROL && event->opcode == GW_WS_CLOSE)
        at += (size_t)snprintf(out->told + at, sizeof(out->told) - at, "%u", event->code);
    if (event->what == GW_WS_CONTROL)
        at += (size_t)snprintf(out->told + at, sizeof(out->told) - at, "(%.*s)",
                               GW_STR_ARG(event->data));
    if (event->message_end)
        (void)snprintf(out->told + at, sizeof(out->told) - at, ".");
}

/* Feeds `input` in reads of `step` bytes, each in memory of its own size. */
static void feed(struct gw_ws_reader reader, struct gw_str input, size_t step, struct result *out)
{
    *out = (struct result){0};
    for (size_t at = 0, len; at < input.len && out->code == 0; at += len) {
        struct gw_ws_event event;
        len = input.len - at < step ? input.len - at : step;
        char *read = malloc(len);
        struct gw_str in = gw_str(read, len);
        memcpy(read, input.data + at, len);
        for (;;) {
            enum gw_ws_what what = gw_ws_read(&reader, &in, &event);
            assert_int_equal(what, event.what);
            if (what == GW_WS_FAULT)
                out->code = reader.code;
            if (what == GW_WS_MORE || what == GW_WS_FAULT)
                break;
            tell(out, &event);
            gw_buf_add_str(&out->wire, event.wire);
            if ((what == GW_WS_PAYLOAD || event.message_end) &&
                gw_ws_take(&reader, &event, &out->data) != GW_OK) {
                out->code = reader.code;
                break;
            }
        }
        if (out->code == 0)
            assert_int_equal(in.len, 0);
        free(read);
    }
    out->messages = reader.messages;
    out->between = gw_ws_between_messages(&reader);
    if (out->code != 0) { /* a fault stays */
        struct gw_str in = GW_STR("\x81\x00");
        struct gw_ws_event event;
        assert_non_null(reader.why);
        assert_int_equal(gw_ws_read(&reader, &in, &event), GW_WS_FAULT);
    }
}

static void result_fini(struct result *result)
{
    gw_buf_fini(&result->data);
    gw_buf_fini(&result->wire);
}

static struct gw_ws_reader server_side(void)
{
    return (struct gw_ws_reader){.frame_bytes_max = LIMIT, .message_bytes_max = LIMIT};
}

static struct gw_ws_reader client_side(void)
{
    struct gw_ws_reader reader = server_side();

    reader.from_client = true;
    return reader;
}

/* However the bytes come, the same is told. */
static void expect(struct gw_ws_reader reader, struct gw_str input, uint16_t code, const char *told,
                   struct gw_str data)
{
    static const size_t steps[] = {1, 2, 3, 5, 7, 13, 64, 1000, 1000000};

    for (size_t i = 0; i < COUNT(steps); i++) {
        struct result result;
        feed(reader, input, steps[i], &result);
        assert_int_equal(result.code, code);
        assert_string_equal(result.told, told);
        if (code == 0)
            assert_true(gw_str_eq(gw_buf_str(&result.data), data) || data.len == 0);
        result_fini(&result);
    }
}

#define LITERAL(text) gw_str(text, sizeof(text) - 1)

static void test_examples_of_the_rfc(void **state)
{
    (void)state;
    /* RFC 6455 5.7 */
    expect(server_side(), LITERAL("\x81\x05Hello"), 0, "T.", GW_STR("Hello"));
    expect(client_side(), LITERAL("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), 0, "T.",
           GW_STR("Hello"));
    expect(server_side(), LITERAL("\x01\x03Hel\x80\x02lo"), 0, "TC.", GW_STR("Hello"));
    expect(server_side(), LITERAL("\x89\x05Hello"), 0, "P(Hello)", GW_STR(""));
    expect(client_side(), LITERAL("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), 0, "O(Hello)",
           GW_STR(""));
}

static void test_controls_stand_between_fragments(void **state)
{
    (void)state;
    expect(server_side(), LITERAL("\x02\x01\x61\x89\x01p\x00\x01\x62\x8a\x00\x80\x01\x63\x88\x00"),
           0, "BP(p)CO()C.X1005()", GW_STR("abc"));
    expect(server_side(), LITERAL("\x81\x00\x01\x00\x80\x00"), 0, "T.TC.", GW_STR(""));
}

static void test_what_follows_a_close_is_swallowed(void **state)
{
    (void)state;
    expect(server_side(),
           LITERAL("\x88\x05\x03\xe8"
                   "bye"
                   "\xff\xff\xff"),
           0, "X1000(bye)", GW_STR(""));
}

static void test_rules(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        uint16_t code;
        const char *told;
    } rows[] = {
#define ROW(bytes, code, told) {bytes, sizeof(bytes) - 1, code, told}
        ROW("\xc1\x00", 1002, ""), /* RSV1 */
        ROW("\xa1\x00", 1002, ""), /* RSV2 */
        ROW("\x91\x00", 1002, ""), /* RSV3 */
        ROW("\x83\x00", 1002, ""), /* opcodes */
        ROW("\x87\x00", 1002, ""),
        ROW("\x8b\x00", 1002, ""),
        ROW("\x8f\x00", 1002, ""),
        ROW("\x81\x80\x01\x02\x03\x04", 1002, ""), /* masked */
        ROW("\x09\x00", 1002, ""),                 /* Ping in fragments */
        ROW("\x08\x00", 1002, ""),
        ROW("\x89\x7e\x00\x7e", 1002, ""),          /* Ping of 126 bytes */
        ROW("\x80\x00", 1002, ""),                  /* continuation of nothing */
        ROW("\x01\x01\x61\x81\x01\x62", 1002, "T"), /* text inside of a text */
        ROW("\x81\x7e\x00\x7d", 1002, ""),          /* 125 in two bytes */
        ROW("\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 1002, ""),
        ROW("\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", 1002, ""), /* the highest bit */
        ROW("\x81\x7f\x00\x00\x00\x00\x00\x01\x86\xa1", 1009, ""), /* LIMIT + 1 */
        ROW("\x88\x01\x03", 1002, ""),                             /* half a code */
        ROW("\x88\x02\x03\xe7", 1002, ""),                         /* 999 */
        ROW("\x88\x02\x03\xec", 1002, ""),                         /* 1004 */
        ROW("\x88\x02\x03\xed", 1002, ""),                         /* 1005 */
        ROW("\x88\x02\x03\xee", 1002, ""),                         /* 1006 */
        ROW("\x88\x02\x03\xf7", 1002, ""),                         /* 1015 */
        ROW("\x88\x02\x0b\xb7", 1002, ""),                         /* 2999 */
        ROW("\x88\x02\x13\x88", 1002, ""),                         /* 5000 */
        ROW("\x88\x03\x03\xe8\xff", 1007, ""),
        ROW("\x81\x01\xff", 1007, "T."),
        ROW("\x81\x02\xc3\x28", 1007, "T."),
        ROW("\x81\x01\xc3", 1007, "T."),           /* ends inside of a character */
        ROW("\x01\x01\xc3\x80\x01\xa4", 0, "TC."), /* cut inside of one: good */
        ROW("\x01\x01\xc3\x80\x00", 1007, "TC."),
        ROW("\x82\x02\xff\xff", 0, "B."),   /* bytes are bytes */
        ROW("\x88\x05\x03\xe8\xc3", 0, ""), /* not here yet: nothing to judge */
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_str bytes = gw_str(rows[i].bytes, rows[i].len);
        struct result result;
        for (size_t step = 1; step <= bytes.len; step++) {
            feed(server_side(), bytes, step, &result);
            if (result.code != rows[i].code)
                print_error("row %zu: %u, not %u\n", i, result.code, rows[i].code);
            assert_int_equal(result.code, rows[i].code);
            if (rows[i].code != 1007)
                assert_string_equal(result.told, rows[i].told);
            result_fini(&result);
        }
    }
    expect(client_side(), LITERAL("\x81\x01\x61"), 1002, "", GW_STR(""));
}

static void test_faults_are_told_before_the_rest_has_come(void **state)
{
    struct gw_ws_reader reader = client_side();
    struct gw_str in = LITERAL("\x81\x7f"); /* not masked; its length is not here yet */
    struct gw_ws_event event;

    (void)state;
    assert_int_equal(gw_ws_read(&reader, &in, &event), GW_WS_FAULT);
    assert_int_equal(reader.code, 1002);
}

static void test_compressed_messages(void **state)
{
    struct gw_ws_reader reader = server_side();

    (void)state;
    reader.deflate = true;
    expect(reader, LITERAL("\xc2\x01z\x42\x01z\x80\x01z"), 0, "B.BC.", GW_STR("zzz"));
    expect(reader, LITERAL("\x02\x01z\xc0\x01z"), 1002, "B", GW_STR("")); /* only on the first */
    expect(reader, LITERAL("\xc9\x00"), 1002, "", GW_STR(""));
    expect(reader, LITERAL("\xe2\x00"), 1002, "", GW_STR(""));
}

static void test_limits_of_frame_and_message(void **state)
{
    struct gw_ws_reader reader = server_side();

    (void)state;
    reader.frame_bytes_max = 4;
    reader.message_bytes_max = 6;
    expect(reader,
           LITERAL("\x82\x04"
                   "1234"),
           0, "B.", GW_STR("1234"));
    expect(reader,
           LITERAL("\x82\x05"
                   "12345"),
           1009, "", GW_STR(""));
    expect(reader,
           LITERAL("\x02\x04"
                   "1234\x80\x02"
                   "56"),
           0, "BC.", GW_STR("123456"));
    expect(reader,
           LITERAL("\x02\x04"
                   "1234\x80\x03"
                   "567"),
           1009, "B", GW_STR(""));
    /* The next message begins at nothing. */
    expect(reader,
           LITERAL("\x82\x04"
                   "1234\x82\x04"
                   "5678"),
           0, "B.B.", GW_STR("12345678"));
}

/* All lengths at which the form of a head changes, written and read again. */
static void test_written_frames_are_read(void **state)
{
    static const size_t lengths[] = {0, 1, 7, 8, 9, 125, 126, 127, 65535, 65536, 70001};
    char *payload = malloc(LIMIT);

    (void)state;
    for (size_t i = 0; i < LIMIT; i++)
        payload[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < COUNT(lengths); i++)
        for (int masked = 0; masked < 2; masked++) {
            struct gw_str data = gw_str(payload, lengths[i]);
            struct gw_buf out = GW_BUF_INIT;
            gw_ws_write(&out, GW_WS_BINARY, data, masked);
            for (size_t step = 1; step < 100000; step = step * 3 + 1) {
                struct result result;
                feed(masked ? client_side() : server_side(), gw_buf_str(&out), step, &result);
                assert_int_equal(result.code, 0);
                assert_int_equal(result.messages, 1);
                assert_true(result.between);
                assert_true(gw_str_eq(gw_buf_str(&result.data), data) || data.len == 0);
                assert_true(gw_str_eq(gw_buf_str(&result.wire), gw_buf_str(&out)));
                result_fini(&result);
            }
            gw_buf_fini(&out);
        }
    free(payload);
}

static void test_written_closes(void **state)
{
    char reason[200];
    struct gw_buf out = GW_BUF_INIT;

    (void)state;
    gw_ws_write_close(&out, 1001, GW_STR("bye"), false);
    assert_true(gw_str_eq(gw_buf_str(&out), LITERAL("\x88\x05\x03\xe9"
                                                    "bye")));
    gw_buf_clear(&out);
    gw_ws_write_close(&out, GW_WS_NO_CODE, GW_STR("bye"), false);
    assert_true(gw_str_eq(gw_buf_str(&out), LITERAL("\x88\x00")));
    gw_buf_clear(&out);
    memset(reason, 'a', sizeof(reason));
    memcpy(reason + 122, "\xc3\xa4", 2); /* would be cut in two */
    gw_ws_write_close(&out, 4000, gw_str(reason, sizeof(reason)), true);
    assert_int_equal(gw_buf_len(&out), 6 + 2 + 122);
    expect(client_side(), gw_buf_str(&out), 0,
           "X4000(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)",
           GW_STR(""));
    gw_buf_fini(&out);
}

static bool utf8(const char *text, size_t len)
{
    struct gw_utf8 whole = {0};
    bool good = gw_utf8_feed(&whole, gw_str(text, len)) && gw_utf8_complete(&whole);
    struct gw_utf8 split = {0};
    bool same = true;

    for (size_t i = 0; i < len && same; i++)
        same = gw_utf8_feed(&split, gw_str(text + i, 1));
    assert_int_equal(good, same && gw_utf8_complete(&split));
    return good;
}

static void test_utf8(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"", true},
        {"plain ascii, more than eight", true},
        {"\xc2\x80", true},
        {"\xdf\xbf", true},
        {"\xe0\xa0\x80", true},
        {"\xef\xbf\xbf", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xf0\x90\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"12345678\xc3\xa4"
         "12345678",
         true},
        {"\x80", false},
        {"\xc0\x80", false},
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},
        {"\xed\xa0\x80", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xff", false},
        {"\xe2\x82", false},
        {"\xe2\x28\xa1", false},
        {"12345678\xff"
         "12345678",
         false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(utf8(rows[i].text, strlen(rows[i].text)), rows[i].good);
}

static void test_handshake(void **state)
{
    char accept[GW_WS_ACCEPT_LEN], key[GW_WS_KEY_LEN];

    (void)state;
    /* RFC 6455 1.3 */
    assert_int_equal(gw_ws_accept(GW_STR("dGhlIHNhbXBsZSBub25jZQ=="), accept), GW_OK);
    assert_true(gw_str_eq(gw_str(accept, sizeof(accept)), GW_STR("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    assert_true(gw_ws_key_valid(GW_STR("dGhlIHNhbXBsZSBub25jZQ==")));
    assert_false(gw_ws_key_valid(GW_STR("dGhlIHNhbXBsZSBub25jZQ=")));
    assert_false(gw_ws_key_valid(GW_STR("dGhlIHNhbXBsZSBub25jZSEh")));
    assert_false(gw_ws_key_valid(GW_STR("dGhlIHNhbXBsZSB!b25jZQ==")));
    gw_ws_key_make(key);
    assert_true(gw_ws_key_valid(gw_str(key, sizeof(key))));
}

static void test_extensions(void **state)
{
    struct gw_str list = GW_STR(" , permessage-deflate; a=\"x,y\\\",\" ; b,,x-foo ;c=1 ,bar ");
    struct gw_str item, name;

    (void)state;
    assert_true(gw_ws_extension_next(&list, &item, &name));
    assert_true(gw_str_eq(name, GW_STR("permessage-deflate")));
    assert_true(gw_str_eq(item, GW_STR("permessage-deflate; a=\"x,y\\\",\" ; b")));
    assert_true(gw_ws_extension_next(&list, &item, &name));
    assert_true(gw_str_eq(name, GW_STR("x-foo")));
    assert_true(gw_ws_extension_next(&list, &item, &name));
    assert_true(gw_str_eq(item, GW_STR("bar")));
    assert_false(gw_ws_extension_next(&list, &item, &name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_of_the_rfc),
        cmocka_unit_test(test_controls_stand_between_fragments),
        cmocka_unit_test(test_what_follows_a_close_is_swallowed),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_faults_are_told_before_the_rest_has_come),
        cmocka_unit_test(test_compressed_messages),
        cmocka_unit_test(test_limits_of_frame_and_message),
        cmocka_unit_test(test_written_frames_are_read),
        cmocka_unit_test(test_written_closes),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_handshake),
        cmocka_unit_test(test_extensions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
