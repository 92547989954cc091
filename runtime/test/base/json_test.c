#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect(struct gw_buf *buf, const char *text)
{
    gw_buf_add(buf, "", 1);
    assert_string_equal(buf->data + buf->from, text);
    gw_buf_fini(buf);
}

static void the_writer_places_commas_and_quotes(void **state)
{
    struct gw_buf buf = GW_BUF_INIT;
    struct gw_json_writer w;

    gw_json_begin(&w, &buf);
    gw_json_object(&w);
    gw_json_key(&w, "a");
    gw_json_array(&w);
    gw_json_int(&w, INT64_MIN);
    gw_json_uint(&w, UINT64_MAX);
    gw_json_double(&w, 0.1);
    gw_json_double(&w, NAN);
    gw_json_array(&w);
    gw_json_array_end(&w);
    gw_json_object(&w);
    gw_json_object_end(&w);
    gw_json_array_end(&w);
    gw_json_key(&w, "b\"\n");
    gw_json_bool(&w, true);
    gw_json_key(&w, "c");
    gw_json_text(&w, NULL);
    gw_json_key(&w, "d");
    gw_json_raw(&w, GW_STR("{\"x\":1}"));
    gw_json_object_end(&w);
    expect(&buf, "{\"a\":[-9223372036854775808,18446744073709551615,0.1,null,[],{}],"
                 "\"b\\\"\\n\":true,\"c\":null,\"d\":{\"x\":1}}");
}

static void the_pretty_form_is_for_people(void **state)
{
    struct gw_buf buf = GW_BUF_INIT;
    struct gw_json_writer w;

    gw_json_begin(&w, &buf);
    w.pretty = true;
    gw_json_object(&w);
    gw_json_key(&w, "a");
    gw_json_array(&w);
    gw_json_int(&w, 1);
    gw_json_int(&w, 2);
    gw_json_array_end(&w);
    gw_json_key(&w, "b");
    gw_json_object(&w);
    gw_json_object_end(&w);
    gw_json_object_end(&w);
    expect(&buf, "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {}\n}");
}

static void any_bytes_become_a_valid_string(void **state)
{
    struct gw_buf buf = GW_BUF_INIT;

    gw_json_quote(&buf, gw_str("\0\x01\b\f\n\r\t\"\\/\x7f", 11));
    expect(&buf, "\"\\u0000\\u0001\\b\\f\\n\\r\\t\\\"\\\\/\\u007f\"");
    gw_json_quote(&buf, GW_STR("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"));
    expect(&buf, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
    /* Overlong, surrogate, cut short, beyond U+10FFFF, a lone tail. */
    gw_json_quote(&buf, GW_STR("a\xc0\xaf"
                               "b\xed\xa0\x80"
                               "c\xe2\x82"
                               "d\xf4\x90\x80\x80"
                               "e\x80"));
    expect(&buf, "\"a\xef\xbf\xbd\xef\xbf\xbd"
                 "b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                 "c\xef\xbf\xbd\xef\xbf\xbd"
                 "d\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                 "e\xef\xbf\xbd\"");
    gw_json_quote(&buf, GW_STR_NULL);
    expect(&buf, "\"\"");
}

static void utf8_is_told_from_what_only_looks_like_it(void **state)
{
    assert_int_equal(gw_utf8_valid(GW_STR("plain ascii, longer than eight")), 30);
    assert_int_equal(gw_utf8_valid(GW_STR("12345678\xc3\xa4")), 10);
    assert_int_equal(gw_utf8_valid(GW_STR("1234567\x80")), 7);
    assert_int_equal(gw_utf8_valid(GW_STR("\xed\x9f\xbf")), 3); /* U+D7FF */
    assert_int_equal(gw_utf8_valid(GW_STR("\xed\xa0\x80")), 0); /* U+D800 */
    assert_int_equal(gw_utf8_valid(GW_STR("\xf4\x8f\xbf\xbf")), 4);
    assert_int_equal(gw_utf8_valid(GW_STR("\xf4\x90\x80\x80")), 0);
    assert_int_equal(gw_utf8_valid(GW_STR("\xe0\x9f\xbf")), 0);
    assert_int_equal(gw_utf8_valid(GW_STR("\xf0\x8f\xbf\xbf")), 0);
    assert_int_equal(gw_utf8_valid(GW_STR("\xf5\x80\x80\x80")), 0);
    assert_int_equal(gw_utf8_valid(GW_STR("\xc1\xbf")), 0);
    assert_int_equal(gw_utf8_valid(GW_STR("\xc3")), 0);
    assert_int_equal(gw_utf8_valid(GW_STR("\xe2\x82")), 0);
    assert_int_equal(gw_utf8_valid(GW_STR("\xf0\x9f\x98")), 0);
    assert_int_equal(gw_utf8_valid(GW_STR_NULL), 0);
}

static void numbers_read_back_as_they_were(void **state)
{
    static const struct {
        double value;
        const char *text;
    } known[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-1, "-1"},
        {0.1, "0.1"},
        {-0.5, "-0.5"},
        {1234567890123456.0, "1234567890123456"},
        {9007199254740991.0, "9007199254740991"},
        {9007199254740992.0, "9007199254740992"},
        {-9007199254740991.0, "-9007199254740991"},
        {1.05, "1.05"},
        {3.14159, "3.14159"},
        {100.25, "100.25"},
        {1e21, "1e+21"},
        {0.1 + 0.2, "0.30000000000000004"},
        {5e-324, "4.94065645841247e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {0.00001, "0.00001"},
        {123456.789, "123456.789"},
    };
    char out[GW_JSON_NUMBER_BYTES];
    uint64_t bits = 88172645463325252ULL;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        int len = gw_json_number_format(known[i].value, out);
        assert_string_equal(out, known[i].text);
        assert_int_equal(len, strlen(out));
    }
    /* Doubles of every kind by xorshift, and numbers with few digits. */
    for (int i = 0; i < 300000; i++) {
        double value;
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        if (i % 3 == 0)
            value = (double)(bits % 1000000000) / 1000.0;
        else if (i % 3 == 1)
            value = (double)(bits >> 11) / (double)(1 + (bits & 0xffff));
        else
            memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        assert_true(gw_json_number_format(value, out) < GW_JSON_NUMBER_BYTES);
        if (strtod(out, NULL) != value)
            fail_msg("%.17g became %s", value, out);
    }
}

static bool collect(void *arg, struct gw_str key, const struct gw_json *value)
{
    char *to = arg;

    memcpy(to + strlen(to), key.data, key.len);
    return gw_json_is(value, GW_JSON_INT);
}

static void the_reader_gives_typed_values_or_defaults(void **state)
{
    struct gw_json *doc = NULL;
    struct gw_err err;
    char keys[64] = "";

    assert_int_equal(gw_json_parse(GW_STR("{\"n\":42,\"m\":1,\"s\":\"a\\u0000b\",\"d\":1.5,"
                                          "\"t\":true,\"l\":[1,[],null]}"),
                                   &doc, &err),
                     GW_OK);
    assert_int_equal(gw_json_get_int(gw_json_get(doc, "n"), -1), 42);
    assert_int_equal(gw_json_get_int(gw_json_get(doc, "s"), -1), -1);
    assert_int_equal(gw_json_get_int(gw_json_get(doc, "absent"), 7), 7);
    assert_int_equal(gw_json_get_str(gw_json_get(doc, "s"), GW_STR("")).len, 3);
    assert_true(gw_json_get_double(gw_json_get(doc, "d"), 0) == 1.5);
    assert_true(gw_json_get_double(gw_json_get(doc, "n"), 0) == 42);
    assert_true(gw_json_get_bool(gw_json_get(doc, "t"), false));
    assert_false(gw_json_get_bool(gw_json_get(doc, "n"), false));
    const struct gw_json *list = gw_json_get(doc, "l");
    assert_int_equal(gw_json_len(list), 3);
    assert_true(gw_json_is(gw_json_at(list, 1), GW_JSON_ARRAY));
    assert_true(gw_json_is(gw_json_at(list, 2), GW_JSON_NULL));
    assert_null(gw_json_at(list, 3));
    assert_null(gw_json_get(list, "x"));
    assert_false(gw_json_is(NULL, GW_JSON_NULL));
    assert_int_equal(gw_json_len(NULL), 0);
    assert_int_equal(gw_json_len(doc), 6);
    gw_json_each(doc, collect, keys);
    assert_string_equal(keys, "nms");
    gw_json_free(doc);
    gw_json_free(NULL);
}

static void the_reader_says_where_it_went_wrong(void **state)
{
    static const char *const bad[] = {
        "", "{", "[1,]", "{\"a\":1,\"a\":2}", "nul", "[1] x", "\"\xff\"", "[01]", "'a'"};
    struct gw_json *doc = NULL;
    struct gw_err err;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        unsigned line = 0, column = 0;
        if (gw_json_parse(gw_str_c(bad[i]), &doc, &err) != GW_INVALID)
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(sscanf(err.text, "%u:%u: ", &line, &column), 2);
        assert_true(line >= 1 && column >= 1);
    }
    assert_int_equal(gw_json_parse(GW_STR("[1,\n 2,\n x]"), &doc, &err), GW_INVALID);
    assert_memory_equal(err.text, "3:", 2);
}

static void the_reader_stops_at_its_depth(void **state)
{
    char deep[2 * (GW_JSON_DEPTH_MAX + 1)];
    struct gw_json *doc = NULL;
    struct gw_err err;

    memset(deep, '[', GW_JSON_DEPTH_MAX);
    memset(deep + GW_JSON_DEPTH_MAX, ']', GW_JSON_DEPTH_MAX);
    assert_int_equal(gw_json_parse(gw_str(deep, (size_t)2 * GW_JSON_DEPTH_MAX), &doc, &err), GW_OK);
    gw_json_free(doc);

    memset(deep, '[', GW_JSON_DEPTH_MAX + 1);
    memset(deep + GW_JSON_DEPTH_MAX + 1, ']', GW_JSON_DEPTH_MAX + 1);
    assert_int_equal(gw_json_parse(gw_str(deep, sizeof(deep)), &doc, &err), GW_LIMIT);

    /* Brackets in a string are text. */
    memset(deep, '[', sizeof(deep));
    deep[0] = deep[sizeof(deep) - 1] = '"';
    assert_int_equal(gw_json_parse(gw_str(deep, sizeof(deep)), &doc, &err), GW_OK);
    gw_json_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_writer_places_commas_and_quotes),
        cmocka_unit_test(the_pretty_form_is_for_people),
        cmocka_unit_test(any_bytes_become_a_valid_string),
        cmocka_unit_test(utf8_is_told_from_what_only_looks_like_it),
        cmocka_unit_test(numbers_read_back_as_they_were),
        cmocka_unit_test(the_reader_gives_typed_values_or_defaults),
        cmocka_unit_test(the_reader_says_where_it_went_wrong),
        cmocka_unit_test(the_reader_stops_at_its_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
