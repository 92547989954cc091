#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect(enum gw_base64 kind, const char *data, size_t len, const char *text)
{
    char out[64];
    size_t n = gw_base64_encode(kind, gw_str(data, len), out), back = 0;

    assert_int_equal(n, strlen(text));
    assert_memory_equal(out, text, n);
    assert_int_equal(gw_base64_decode(kind, gw_str_c(text), out, &back), GW_OK);
    assert_int_equal(back, len);
    assert_memory_equal(out, data, len);
}

/* RFC 4648 10 */
static void the_vectors_of_the_standard_hold(void **state)
{
    static const char *const std[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                      "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    static const char *const url[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};

    for (size_t i = 0; i < 7; i++) {
        expect(GW_BASE64_STD, "foobar", i, std[i]);
        expect(GW_BASE64_URL, "foobar", i, url[i]);
    }
    expect(GW_BASE64_STD, "\xfb\xff\xfe", 3, "+//+");
    expect(GW_BASE64_URL, "\xfb\xff\xfe", 3, "-__-");
}

static void base64url_takes_right_padding_too(void **state)
{
    char out[8];
    size_t len;

    assert_int_equal(gw_base64_decode(GW_BASE64_URL, GW_STR("Zg=="), out, &len), GW_OK);
    assert_int_equal(len, 1);
    assert_int_equal(gw_base64_decode(GW_BASE64_URL, GW_STR("Zg="), out, &len), GW_INVALID);
}

static void one_value_has_one_text(void **state)
{
    static const struct {
        enum gw_base64 kind;
        const char *text;
        size_t at;
    } bad[] = {
        {GW_BASE64_STD, "Zg", 2},
        {GW_BASE64_STD, "Zg=", 3},
        {GW_BASE64_STD, "Zm8", 3},
        {GW_BASE64_STD, "Z", 1},
        {GW_BASE64_STD, "Zh==", 1},
        {GW_BASE64_STD, "Zm9=", 2},
        {GW_BASE64_STD, "====", 0},
        {GW_BASE64_STD, "Z===", 1},
        {GW_BASE64_STD, "Zm9v\n", 5},
        {GW_BASE64_STD, "Zm 9", 2},
        {GW_BASE64_STD, "Zg==Zg==", 2},
        {GW_BASE64_STD, "-__-", 0},
        {GW_BASE64_URL, "+//+", 0},
        {GW_BASE64_URL, "Zm9v\x80m9v", 4},
        {GW_BASE64_URL, "Zm9v.", 5},
        {GW_BASE64_URL, "Zh", 1},
        {GW_BASE64_URL, "Zm9vYmFyZm*v", 10},
        {GW_BASE64_URL, "=", 1},
    };
    char out[32];
    size_t len;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        enum gw_rc rc = gw_base64_decode(bad[i].kind, gw_str_c(bad[i].text), out, &len);
        if (rc != GW_INVALID || len != bad[i].at)
            fail_msg("%s: rc %d at %zu, not %zu", bad[i].text, rc, len, bad[i].at);
    }
}

static void every_length_and_byte_comes_back(void **state)
{
    for (size_t len = 0; len < 300; len++) {
        /* Exact sizes on the heap: the sanitizer sees one byte too many. */
        char *data = malloc(len + 1), *text = malloc(gw_base64_encode_room(len) + 1);
        for (size_t i = 0; i < len; i++)
            data[i] = (char)(i * 7 + len);
        for (int kind = 0; kind < 2; kind++) {
            size_t n = gw_base64_encode((enum gw_base64)kind, gw_str(data, len), text), back;
            char *copy = malloc(gw_base64_decode_room(n));
            assert_true(n <= gw_base64_encode_room(len));
            assert_int_equal(gw_base64_decode((enum gw_base64)kind, gw_str(text, n), copy, &back),
                             GW_OK);
            assert_int_equal(back, len);
            assert_memory_equal(copy, data, len);
            free(copy);
        }
        free(data);
        free(text);
    }
}

static void hex_goes_both_ways(void **state)
{
    char out[16];

    gw_hex_encode(gw_str("\x00\x7f\xff", 3), out);
    assert_memory_equal(out, "007fff", 6);
    assert_int_equal(gw_hex_decode(GW_STR("007FfF"), out), GW_OK);
    assert_memory_equal(out, "\x00\x7f\xff", 3);
    assert_int_equal(gw_hex_decode(GW_STR(""), out), GW_OK);
    assert_int_equal(gw_hex_decode(GW_STR("abc"), out), GW_INVALID);
    assert_int_equal(gw_hex_decode(GW_STR("0g"), out), GW_INVALID);
    assert_int_equal(gw_hex_decode(GW_STR("0x"), out), GW_INVALID);
    /* 0x10..0x19 with bit 0x20 set would be digits: they are no hex digits. */
    assert_int_equal(gw_hex_decode(GW_STR("\x10\x11"), out), GW_INVALID);
    assert_int_equal(gw_hex_decode(GW_STR("@A"), out), GW_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_standard_hold),
        cmocka_unit_test(base64url_takes_right_padding_too),
        cmocka_unit_test(one_value_has_one_text),
        cmocka_unit_test(every_length_and_byte_comes_back),
        cmocka_unit_test(hex_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
