#include "http/conditional.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"
#define DATE_S 784111777

/* "Name: value" lines, separated by "\n"; they live as long as the arena. */
static void fields_of(struct gw_arena *arena, struct gw_fields *fields, const char *lines)
{
    gw_arena_init(arena);
    gw_fields_init(fields, arena);
    while (*lines != '\0') {
        const char *end = strchrnul(lines, '\n'),
                   *colon = memchr(lines, ':', (size_t)(end - lines));
        assert_non_null(colon);
        (void)gw_fields_add(fields, gw_str(lines, (size_t)(colon - lines)),
                            gw_str(colon + 2, (size_t)(end - colon - 2)));
        lines = *end == '\0' ? end : end + 1;
    }
}

static void goes_through_the_preconditions_in_order(void **state)
{
    static const struct {
        enum gw_method method;
        const char *etag;
        const char *fields;
        unsigned want;
    } rows[] = {
        {GW_METHOD_GET, "\"a\"", "", 0},
        /* If-Match: strong, and before all */
        {GW_METHOD_GET, "\"a\"", "If-Match: \"a\"", 0},
        {GW_METHOD_GET, "\"a\"", "If-Match: \"b\"", 412},
        {GW_METHOD_PUT, "\"a\"", "If-Match: \"b\"", 412},
        {GW_METHOD_GET, "\"a\"", "If-Match: \"b\", \"a\"", 0},
        {GW_METHOD_GET, "\"a\"", "If-Match: \"b\"\nIf-Match: \"a\"", 0},
        {GW_METHOD_GET, "\"a\"", "If-Match: *", 0},
        {GW_METHOD_GET, "\"a\"", "If-Match: W/\"a\"", 412},
        {GW_METHOD_GET, "W/\"a\"", "If-Match: W/\"a\"", 412},
        {GW_METHOD_GET, "W/\"a\"", "If-Match: \"a\"", 412},
        {GW_METHOD_GET, "\"a\"", "If-Match: a", 412},
        {GW_METHOD_GET, "\"a\"", "If-Match: ", 412},
        {GW_METHOD_GET, "\"a\"", "If-Match: \"a", 412},
        {GW_METHOD_GET, "\"a\"", "If-Match: \"A\"", 412},
        /* … and If-Unmodified-Since is then not looked at */
        {GW_METHOD_GET, "\"a\"", "If-Match: \"a\"\nIf-Unmodified-Since: " BEFORE, 0},
        {GW_METHOD_GET, "\"a\"", "If-Match: \"b\"\nIf-Unmodified-Since: " AFTER, 412},
        {GW_METHOD_GET, "\"a\"", "If-Unmodified-Since: " DATE, 0},
        {GW_METHOD_GET, "\"a\"", "If-Unmodified-Since: " AFTER, 0},
        {GW_METHOD_GET, "\"a\"", "If-Unmodified-Since: " BEFORE, 412},
        {GW_METHOD_PUT, "\"a\"", "If-Unmodified-Since: " BEFORE, 412},
        {GW_METHOD_GET, "\"a\"", "If-Unmodified-Since: yesterday", 0},
        /* If-None-Match: weak */
        {GW_METHOD_GET, "\"a\"", "If-None-Match: \"a\"", 304},
        {GW_METHOD_HEAD, "\"a\"", "If-None-Match: \"a\"", 304},
        {GW_METHOD_PUT, "\"a\"", "If-None-Match: \"a\"", 412},
        {GW_METHOD_GET, "\"a\"", "If-None-Match: W/\"a\"", 304},
        {GW_METHOD_GET, "W/\"a\"", "If-None-Match: \"a\"", 304},
        {GW_METHOD_GET, "\"a\"", "If-None-Match: *", 304},
        {GW_METHOD_PUT, "\"a\"", "If-None-Match: *", 412},
        {GW_METHOD_GET, "\"a\"", "If-None-Match: \"b\"", 0},
        {GW_METHOD_GET, "\"a\"", "If-None-Match: \"b\" , ,\t\"a\"", 304},
        {GW_METHOD_GET, "\"a\"", "If-None-Match: \"b\" \"a\"", 0},
        {GW_METHOD_GET, "\"a\"", "If-None-Match: w/\"a\"", 0},
        {GW_METHOD_GET, "\"a,b\"", "If-None-Match: \"c\",\"a,b\"", 304},
        {GW_METHOD_GET, "", "If-None-Match: \"a\"", 0},
        {GW_METHOD_GET, "", "If-None-Match: *", 304},
        /* … and If-Modified-Since only without it */
        {GW_METHOD_GET, "\"a\"", "If-None-Match: \"b\"\nIf-Modified-Since: " AFTER, 0},
        {GW_METHOD_GET, "\"a\"", "If-None-Match: \"a\"\nIf-Modified-Since: " BEFORE, 304},
        {GW_METHOD_GET, "\"a\"", "If-Modified-Since: " DATE, 304},
        {GW_METHOD_GET, "\"a\"", "If-Modified-Since: " AFTER, 304},
        {GW_METHOD_GET, "\"a\"", "If-Modified-Since: " BEFORE, 0},
        {GW_METHOD_POST, "\"a\"", "If-Modified-Since: " DATE, 0},
        {GW_METHOD_GET, "\"a\"", "If-Modified-Since: 1994", 0},
        {GW_METHOD_GET, "\"a\"", "If-Modified-Since: " DATE "\nIf-Modified-Since: " DATE, 0},
        /* all of them */
        {GW_METHOD_GET, "\"a\"", "If-Match: \"a\"\nIf-None-Match: \"a\"", 304},
        {GW_METHOD_GET, "\"a\"", "If-Match: \"b\"\nIf-None-Match: \"a\"", 412},
        {GW_METHOD_GET, "\"a\"", "If-Unmodified-Since: " BEFORE "\nIf-None-Match: \"a\"", 412},
        {GW_METHOD_GET, "\"a\"", "If-Unmodified-Since: " DATE "\nIf-Modified-Since: " DATE, 304},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gw_validators now = {gw_str_c(rows[i].etag), true, DATE_S};
        struct gw_arena arena;
        struct gw_fields fields;
        unsigned got;

        fields_of(&arena, &fields, rows[i].fields);
        got = gw_conditional_check(rows[i].method, &fields, &now);
        if (got != rows[i].want)
            fail_msg("row %zu (%s): %u, not %u", i, rows[i].fields, got, rows[i].want);
        gw_arena_fini(&arena);
    }
}

static void without_a_date_looks_at_none(void **state)
{
    struct gw_validators now = {GW_STR("\"a\""), false, 0};
    struct gw_arena arena;
    struct gw_fields fields;

    fields_of(&arena, &fields, "If-Modified-Since: " AFTER "\nIf-Unmodified-Since: " BEFORE);
    assert_int_equal(gw_conditional_check(GW_METHOD_GET, &fields, &now), 0);
    gw_arena_fini(&arena);
}

static void reads_ranges(void **state)
{
    static const struct {
        const char *value;
        uint64_t size;
        enum gw_range_kind want;
        uint64_t first, length;
    } rows[] = {
        {"bytes=0-0", 10, GW_RANGE_PART, 0, 1},
        {"bytes=0-9", 10, GW_RANGE_PART, 0, 10},
        {"bytes=0-10", 10, GW_RANGE_PART, 0, 10},
        {"bytes=9-", 10, GW_RANGE_PART, 9, 1},
        {"bytes=10-", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=10-20", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=-1", 10, GW_RANGE_PART, 9, 1},
        {"bytes=-10", 10, GW_RANGE_PART, 0, 10},
        {"bytes=-11", 10, GW_RANGE_PART, 0, 10},
        {"bytes=-0", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=5-4", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes=-", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes=", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes=,", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes", 10, GW_RANGE_WHOLE, 0, 0},
        {"", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes 0-1", 10, GW_RANGE_WHOLE, 0, 0},
        {"lines=0-1", 10, GW_RANGE_WHOLE, 0, 0},
        {"BYTES=0-1", 10, GW_RANGE_PART, 0, 2},
        {"bytes= 0-1", 10, GW_RANGE_PART, 0, 2},
        {"bytes=0 -1", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes=0- 1", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes=a-1", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes=0-1x", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes=+0-1", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes=--1", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes=0x0-1", 10, GW_RANGE_WHOLE, 0, 0},
        /* more digits than 64 bits hold */
        {"bytes=0-99999999999999999999999", 10, GW_RANGE_PART, 0, 10},
        {"bytes=99999999999999999999999-", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=18446744073709551616-18446744073709551617", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=-99999999999999999999999", 10, GW_RANGE_PART, 0, 10},
        {"bytes=18446744073709551615-18446744073709551615", 10, GW_RANGE_NONE, 0, 0},
        /* an empty file */
        {"bytes=0-", 0, GW_RANGE_NONE, 0, 0},
        {"bytes=0-0", 0, GW_RANGE_NONE, 0, 0},
        {"bytes=-5", 0, GW_RANGE_WHOLE, 0, 0},
        {"bytes=-0", 0, GW_RANGE_NONE, 0, 0},
        /* several */
        {"bytes=0-1,2-3", 10, GW_RANGE_PART, 0, 4},
        {"bytes=2-3,0-1", 10, GW_RANGE_PART, 0, 4},
        {"bytes=0-4,2-7", 10, GW_RANGE_PART, 0, 8},
        {"bytes=0-1,4-5,2-3", 10, GW_RANGE_PART, 0, 6},
        {"bytes=0-1,3-4", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes=0-1, ,20-30", 10, GW_RANGE_PART, 0, 2},
        {"bytes=20-30,40-50", 10, GW_RANGE_NONE, 0, 0},
        {"bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", 10, GW_RANGE_PART, 0, 10},
        {"bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", 10, GW_RANGE_WHOLE, 0, 0},
        {"bytes=0-1,9-8", 10, GW_RANGE_WHOLE, 0, 0},
        /* beyond 32 bits */
        {"bytes=5368709120-", 5368709130ULL, GW_RANGE_PART, 5368709120ULL, 10},
        {"bytes=-4294967297", 5368709130ULL, GW_RANGE_PART, 1073741833ULL, 4294967297ULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t first = 0, length = 0;
        enum gw_range_kind got =
            gw_range_parse(gw_str_c(rows[i].value), rows[i].size, &first, &length);
        if (got != rows[i].want || first != rows[i].first || length != rows[i].length)
            fail_msg("%s of %llu: %d %llu+%llu", rows[i].value, (unsigned long long)rows[i].size,
                     got, (unsigned long long)first, (unsigned long long)length);
    }
}

static void heeds_if_range(void **state)
{
    static const struct {
        enum gw_method method;
        const char *etag;
        const char *fields;
        enum gw_range_kind want;
    } rows[] = {
        {GW_METHOD_GET, "\"a\"", "Range: bytes=0-1", GW_RANGE_PART},
        {GW_METHOD_HEAD, "\"a\"", "Range: bytes=0-1", GW_RANGE_WHOLE},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=0-1\nRange: bytes=2-3", GW_RANGE_WHOLE},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=0-1\nIf-Range: \"a\"", GW_RANGE_PART},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=99-\nIf-Range: \"a\"", GW_RANGE_NONE},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=99-\nIf-Range: \"b\"", GW_RANGE_WHOLE},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=0-1\nIf-Range: \"b\"", GW_RANGE_WHOLE},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=0-1\nIf-Range: W/\"a\"", GW_RANGE_WHOLE},
        {GW_METHOD_GET, "W/\"a\"", "Range: bytes=0-1\nIf-Range: W/\"a\"", GW_RANGE_WHOLE},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=0-1\nIf-Range: \"a\", \"a\"", GW_RANGE_WHOLE},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=0-1\nIf-Range: *", GW_RANGE_WHOLE},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=0-1\nIf-Range: " DATE, GW_RANGE_PART},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=0-1\nIf-Range: " AFTER, GW_RANGE_WHOLE},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=0-1\nIf-Range: " BEFORE, GW_RANGE_WHOLE},
        {GW_METHOD_GET, "\"a\"", "Range: bytes=0-1\nIf-Range: \"a\"\nIf-Range: \"a\"",
         GW_RANGE_WHOLE},
        {GW_METHOD_GET, "\"a\"", "If-Range: \"a\"", GW_RANGE_WHOLE},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gw_validators now = {gw_str_c(rows[i].etag), true, DATE_S};
        struct gw_arena arena;
        struct gw_fields fields;
        uint64_t first, length;
        enum gw_range_kind got;

        fields_of(&arena, &fields, rows[i].fields);
        got = gw_range_of(rows[i].method, &fields, &now, 10, &first, &length);
        if (got != rows[i].want)
            fail_msg("row %zu (%s): %d", i, rows[i].fields, got);
        gw_arena_fini(&arena);
    }
}

/* Whatever comes: a part lies inside, and nothing is read behind the text. */
static void survives_garbage(void **state)
{
    static const char alphabet[] = "bytes=0123456789-, \t\"*W/x\xff";
    uint64_t seed = 1;

    for (int round = 0; round < 200000; round++) {
        char text[48];
        uint64_t first = 0, length = 0, size = seed >> 60;
        size_t len = (size_t)(seed >> 33) % (sizeof(text) - 6), from = round % 3 ? 6 : 0;
        char *copy;

        memcpy(text, "bytes=", 6);
        for (size_t i = from; i < from + len; i++) {
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            text[i] = alphabet[(seed >> 33) % (sizeof(alphabet) - 1)];
        }
        copy = test_malloc(from + len + 1);
        memcpy(copy, text, from + len);
        if (gw_range_parse(gw_str(copy, from + len), size, &first, &length) == GW_RANGE_PART)
            assert_true(length > 0 && first < size && length <= size - first);
        (void)gw_etag_in_list(gw_str(copy, from + len), GW_STR("\"0\""), round & 1);
        test_free(copy);
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_through_the_preconditions_in_order),
        cmocka_unit_test(without_a_date_looks_at_none),
        cmocka_unit_test(reads_ranges),
        cmocka_unit_test(heeds_if_range),
        cmocka_unit_test(survives_garbage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
