#include "http/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define BYTES(literal)                                                                             \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static void expect_path(struct gw_str path, const char *normal)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_str out = GW_STR_NULL, again;
    char *copy = malloc(path.len);
    enum gw_rc rc;

    memcpy(copy, path.data, path.len);
    rc = gw_uri_normalize_path(&arena, gw_str(copy, path.len), &out);
    if (normal == NULL ? rc == GW_OK : rc != GW_OK || !gw_str_eq(out, gw_str_c(normal)))
        print_error("%.*s gave %s %.*s\n", GW_STR_ARG(path), gw_rc_code(rc), GW_STR_ARG(out));
    assert_int_equal(rc, normal == NULL ? GW_INVALID : GW_OK);
    if (rc == GW_OK) {
        assert_true(gw_str_eq(out, gw_str_c(normal)));
        /* A normal form is its own. */
        assert_int_equal(gw_uri_normalize_path(&arena, out, &again), GW_OK);
        assert_true(gw_str_eq(again, out));
    }
    free(copy);
    gw_arena_fini(&arena);
}

static void dot_segments_go(void **state)
{
    static const char *const rows[][2] = {
        {"/a/b/c/./../../g", "/a/g"}, /* RFC 3986 5.2.4 */
        {"/mid/content=5/../6", "/mid/6"},
        {"/b/c/d/../g", "/b/c/g"}, /* and 5.4, as paths */
        {"/b/c/./g/.", "/b/c/g/"},
        {"/b/c/g/..", "/b/c/"},
        {"/b/c/../../g", "/g"},
        {"/b/c/g.", "/b/c/g."},
        {"/b/c/.g", "/b/c/.g"},
        {"/b/c/g..", "/b/c/g.."},
        {"/b/c/..g", "/b/c/..g"},
        {"/b/c/./../g", "/b/g"},
        {"/b/c/g;x=1/./y", "/b/c/g;x=1/y"},
        {"/b/c/g;x=1/../y", "/b/c/y"},
        {"/.", "/"},
        {"/./", "/"},
        {"/./.", "/"},
        {"/a/..", "/"},
        {"/a/../", "/"},
        {"/...", "/..."},
        {"/..a", "/..a"},
        {"/a/...", "/a/..."},
        {"/..", NULL},
        {"/../", NULL},
        {"/../a", NULL},
        {"/./..", NULL},
        {"/a/../..", NULL},
        {"/a/../../b", NULL},
        {"/a/../../../b/c/d", NULL},
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        expect_path(gw_str_c(rows[i][0]), rows[i][1]);
}

static void dots_may_be_encoded(void **state)
{
    static const char *const rows[][2] = {
        {"/a/%2e/b", "/a/b"},       {"/a/%2E/b", "/a/b"}, {"/a/%2e%2e/b", "/b"},
        {"/a/%2E./b", "/b"},        {"/a/.%2e/b", "/b"},  {"/%2e%2E/b", NULL},
        {"/a%2eb", "/a.b"},         {"/a/%2e%2e", "/"},   {"/a/%252e%252e/b", "/a/%252e%252e/b"},
        {"/a/%2e%2e%2e", "/a/..."},
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        expect_path(gw_str_c(rows[i][0]), rows[i][1]);
}

/* What a less exact server behind us would take for "..". */
static void hidden_climbing_is_refused(void **state)
{
    static const char *const rows[][2] = {
        {"/a/..;/b", NULL},           {"/a/..;x=1/b", NULL},      {"/a/..;", NULL},
        {"/a/%2e%2e;/b", NULL},       {"/a/..%2fb", NULL},        {"/a/..%2F..%2fb", NULL},
        {"/a/b%2f..", NULL},          {"/a/b%2f../c", NULL},      {"/a%2f%2e%2e%2fb", NULL},
        {"/a/b%2f..;x", NULL},        {"/a/%2f..", NULL},         {"/a/..b%2fc", "/a/..b%2Fc"},
        {"/a/b..%2fc", "/a/b..%2Fc"}, {"/a/b;../c", "/a/b;../c"}, {"/a/..%2c", "/a/..%2C"},
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        expect_path(gw_str_c(rows[i][0]), rows[i][1]);
}

static void encodings_have_one_spelling(void **state)
{
    static const char *const rows[][2] = {
        {"/", "/"},
        {"/a//b", "/a//b"},
        {"//", "//"},
        {"//a/", "//a/"},
        {"/a//../b", "/a/b"},
        {"/a%2fb", "/a%2Fb"},
        {"/a%2Fb", "/a%2Fb"},
        {"/%61%5A%30%2d%5F%7e", "/aZ0-_~"},
        {"/a;b=c,d/e:@!$&'()*+", "/a;b=c,d/e:@!$&'()*+"},
        {"/%3b%3d%25%20%3f%23", "/%3B%3D%25%20%3F%23"},
        {"/%c3%a9", "/%C3%A9"},
        {"/\xc3\xa9", "/%C3%A9"},
        {"/\xff\x80", "/%FF%80"},
        {"/%c0%ae%c0%ae/a", "/%C0%AE%C0%AE/a"}, /* overlong dots stay what they are */
        {"/%c0%af", "/%C0%AF"},
        {"/a b\"<>^`{|}[]?#", "/a%20b%22%3C%3E%5E%60%7B%7C%7D%5B%5D%3F%23"},
        {"/%0d%0a", "/%0D%0A"},
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        expect_path(gw_str_c(rows[i][0]), rows[i][1]);
}

static void what_no_path_has_is_refused(void **state)
{
    static const struct gw_str rows[] = {
        BYTES(""),      BYTES("a"),       BYTES("*"),      BYTES("%2f"),   BYTES("/%"),
        BYTES("/%4"),   BYTES("/a%"),     BYTES("/%zz"),   BYTES("/%4g"),  BYTES("/%g4"),
        BYTES("/%%41"), BYTES("/%u0041"), BYTES("/%00"),   BYTES("/a%00"), BYTES("/a\0b"),
        BYTES("/a\\b"), BYTES("/a%5cb"),  BYTES("/a%5Cb"), BYTES("/a\tb"), BYTES("/a\nb"),
        BYTES("/\x7f"), BYTES("/..\\a"),  BYTES("/%-1"),   BYTES("/% 1"),  BYTES("/%+1"),
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        expect_path(rows[i], NULL);
}

static void a_normal_path_is_not_copied(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_str path = GW_STR("/a/b.c/d..e/f"), out;

    assert_int_equal(gw_uri_normalize_path(&arena, path, &out), GW_OK);
    assert_ptr_equal(out.data, path.data);
    out = gw_uri_merge_slashes(&arena, path);
    assert_ptr_equal(out.data, path.data);
    assert_int_equal(arena.bytes, 0);
    gw_arena_fini(&arena);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Down and up again a million times over: quadratic work would take minutes. */
static void long_paths_cost_linear_time(void **state)
{
    static const char *const pieces[] = {"/a",   "/..",    "//..",      "/./",
                                         "/%2e", "/a%2fb", "/a/b/../.."};
    const size_t size = 4u << 20;
    char *text = malloc(size);

    for (size_t p = 0; p < COUNT(pieces); p++) {
        struct gw_arena arena = GW_ARENA_INIT;
        size_t len = 0, piece = strlen(pieces[p]);
        uint64_t began = now_ns();
        struct gw_str out;

        while (len < size / 2)
            len += 2 * (memcpy(text + len, "/a", 2) != NULL);
        while (len + piece <= size)
            len += piece * (memcpy(text + len, pieces[p], piece) != NULL);
        if (gw_uri_normalize_path(&arena, gw_str(text, len), &out) == GW_OK)
            assert_true(out.len <= len);
        assert_true(now_ns() - began < 3000000000u);
        gw_arena_fini(&arena);
    }
    free(text);
}

static void slashes_merge(void **state)
{
    static const char *const rows[][2] = {
        {"/", "/"},
        {"//", "/"},
        {"///", "/"},
        {"/a//b", "/a/b"},
        {"//a///b//", "/a/b/"},
        {"/a/b/", "/a/b/"},
        {"", ""},
        {"/%2F/", "/%2F/"},
    };
    struct gw_arena arena = GW_ARENA_INIT;

    for (size_t i = 0; i < COUNT(rows); i++)
        assert_true(
            gw_str_eq(gw_uri_merge_slashes(&arena, gw_str_c(rows[i][0])), gw_str_c(rows[i][1])));
    gw_arena_fini(&arena);
}

static void targets_split(void **state)
{
    static const struct {
        const char *target;
        enum gw_target_form form;
        const char *scheme, *authority, *path, *query; /* query NULL: none */
    } rows[] = {
        {"/", GW_TARGET_ORIGIN, "", "", "/", NULL},
        {"/a?", GW_TARGET_ORIGIN, "", "", "/a", ""},
        {"/a?b?c=d/e", GW_TARGET_ORIGIN, "", "", "/a", "b?c=d/e"},
        {"//a/b", GW_TARGET_ORIGIN, "", "", "//a/b", NULL},
        {"/http://a", GW_TARGET_ORIGIN, "", "", "/http://a", NULL},
        {"*", GW_TARGET_ASTERISK, "", "", "*", NULL},
        {"http://a", GW_TARGET_ABSOLUTE, "http", "a", "/", NULL},
        {"HTTPS://a:1/b?c", GW_TARGET_ABSOLUTE, "HTTPS", "a:1", "/b", "c"},
        {"http://a?c/d", GW_TARGET_ABSOLUTE, "http", "a", "/", "c/d"},
        {"http://u@[::1]:1//", GW_TARGET_ABSOLUTE, "http", "u@[::1]:1", "//", NULL},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_target_parts parts;
        assert_int_equal(gw_uri_split_target(gw_str_c(rows[i].target), &parts), GW_OK);
        assert_int_equal(parts.form, rows[i].form);
        assert_true(gw_str_eq(parts.scheme, gw_str_c(rows[i].scheme)));
        assert_true(gw_str_eq(parts.authority, gw_str_c(rows[i].authority)));
        assert_true(gw_str_eq(parts.path, gw_str_c(rows[i].path)));
        assert_int_equal(parts.query.data == NULL, rows[i].query == NULL);
        if (rows[i].query != NULL)
            assert_true(gw_str_eq(parts.query, gw_str_c(rows[i].query)));
    }
}

static void other_targets_are_refused(void **state)
{
    static const struct gw_str rows[] = {
        BYTES(""),         BYTES("a"),         BYTES("?a"),
        BYTES("a:80"),     BYTES("**"),        BYTES("http:"),
        BYTES("http:/"),   BYTES("http:/a"),   BYTES("http://"),
        BYTES("http:///"), BYTES("http://?"),  BYTES("ftp://a/"),
        BYTES("://a"),     BYTES("xhttp://a"), BYTES("/a#b"),
        BYTES("/a b"),     BYTES("/a\tb"),     BYTES("/a\x7f"),
        BYTES("/a\x80"),   BYTES("/a\0"),      BYTES("/a?\xc3\xa9"),
    };
    struct gw_target_parts parts;

    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(gw_uri_split_target(rows[i], &parts), GW_INVALID);
}

static void authorities_are_parsed(void **state)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
    } rows[] = {
        {"a", "a", 0},
        {"Example.COM", "example.com", 0},
        {"example.com.", "example.com", 0},
        {"example.com.:1", "example.com", 1},
        {"a_b-c.d:65535", "a_b-c.d", 65535},
        {"127.0.0.1:80", "127.0.0.1", 80},
        {"[::1]", "[::1]", 0},
        {"[::1]:8080", "[::1]", 8080},
        {"[FE80::A]", "[fe80::a]", 0},
        {"[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.4]", 1},
        {"xn--bcher-kva.example", "xn--bcher-kva.example", 0},
    };
    struct gw_arena arena = GW_ARENA_INIT;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_str host = GW_STR_NULL;
        uint16_t port = 9;
        assert_int_equal(gw_uri_parse_authority(&arena, gw_str_c(rows[i].text), &host, &port),
                         GW_OK);
        assert_true(gw_str_eq(host, gw_str_c(rows[i].host)));
        assert_int_equal(port, rows[i].port);
    }
    gw_arena_fini(&arena);
}

static void bad_authorities_are_refused(void **state)
{
    static const struct gw_str rows[] = {
        BYTES(""),
        BYTES("."),
        BYTES(":80"),
        BYTES("a:"),
        BYTES("a:0"),
        BYTES("a:080"),
        BYTES("a:65536"),
        BYTES("a:99999"),
        BYTES("a:100000"),
        BYTES("a:-1"),
        BYTES("a:+1"),
        BYTES("a: 1"),
        BYTES("a:1 "),
        BYTES("a:1:2"),
        BYTES("a:x"),
        BYTES("u@a"),
        BYTES("u:p@a"),
        BYTES("a/b"),
        BYTES("a?b"),
        BYTES("a#b"),
        BYTES("a\\b"),
        BYTES("a b"),
        BYTES("a,b"),
        BYTES("a;b"),
        BYTES("a%41"),
        BYTES("a\0b"),
        BYTES("a\x80"),
        BYTES("a..b"),
        BYTES(".a"),
        BYTES("a.."),
        BYTES("::1"),
        BYTES("["),
        BYTES("[]"),
        BYTES("[:]"),
        BYTES("[::1"),
        BYTES("[::1]a"),
        BYTES("[::1]:"),
        BYTES("[::1]80"),
        BYTES("[::g]"),
        BYTES("[1.2.3.4]"),
        BYTES("[fe80::1%eth0]"),
        BYTES("[fe80::1%25eth0]"),
        BYTES("[v1.a]"),
        BYTES("[::1]]"),
        BYTES("[[::1]]"),
        BYTES("[::1\0]"),
        BYTES("a]"),
        BYTES("~a"),
        BYTES("a!"),
        BYTES("*.a"),
        BYTES("[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]"),
    };
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_str host;
    uint16_t port;
    char text[256];

    for (size_t i = 0; i < COUNT(rows); i++) {
        char *copy = malloc(rows[i].len);
        enum gw_rc rc;
        memcpy(copy, rows[i].data, rows[i].len);
        rc = gw_uri_parse_authority(&arena, gw_str(copy, rows[i].len), &host, &port);
        if (rc == GW_OK)
            print_error("%.*s\n", GW_STR_ARG(rows[i]));
        assert_int_equal(rc, GW_INVALID);
        free(copy);
    }
    memset(text, 'a', sizeof(text));
    assert_int_equal(gw_uri_parse_authority(&arena, gw_str(text, 253), &host, &port), GW_OK);
    assert_int_equal(gw_uri_parse_authority(&arena, gw_str(text, 254), &host, &port), GW_INVALID);
    gw_arena_fini(&arena);
}

static void text_is_decoded(void **state)
{
    static const struct {
        const char *text;
        bool plus;
        struct gw_str decoded; /* data NULL: refused */
    } rows[] = {
        {"", true, BYTES("")},          {"abc", true, BYTES("abc")},
        {"a+b", true, BYTES("a b")},    {"a+b", false, BYTES("a+b")},
        {"%41%6a", false, BYTES("Aj")}, {"%2B+", true, BYTES("+ ")},
        {"%00x", false, BYTES("\0x")},  {"%c3%A9", false, BYTES("\xc3\xa9")},
        {"%2541", false, BYTES("%41")}, {"%", false, {NULL, 0}},
        {"a%4", false, {NULL, 0}},      {"%4x", false, {NULL, 0}},
        {"%x4", true, {NULL, 0}},       {"+%", true, {NULL, 0}},
    };
    struct gw_arena arena = GW_ARENA_INIT;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct gw_str out;
        enum gw_rc rc = gw_uri_decode(&arena, gw_str_c(rows[i].text), rows[i].plus, &out);
        assert_int_equal(rc, rows[i].decoded.data == NULL ? GW_INVALID : GW_OK);
        if (rc == GW_OK)
            assert_true(gw_str_eq(out, rows[i].decoded));
    }
    gw_arena_fini(&arena);
}

static void queries_are_walked(void **state)
{
    static const char *const expected[][2] = {
        {"a", "1"}, {"b", NULL}, {"c", ""}, {"", "d"}, {"e", "f=g"}, {"%61", "+"}, {"h;i", NULL},
    };
    struct gw_str rest = GW_STR("&&a=1&b&c=&=d&&e=f=g&%61=+&h;i&"), name, value;

    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_true(gw_uri_query_next(&rest, &name, &value));
        assert_true(gw_str_eq(name, gw_str_c(expected[i][0])));
        assert_int_equal(value.data == NULL, expected[i][1] == NULL);
        if (expected[i][1] != NULL)
            assert_true(gw_str_eq(value, gw_str_c(expected[i][1])));
    }
    assert_false(gw_uri_query_next(&rest, &name, &value));
    rest = GW_STR_NULL;
    assert_false(gw_uri_query_next(&rest, &name, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dot_segments_go),
        cmocka_unit_test(dots_may_be_encoded),
        cmocka_unit_test(hidden_climbing_is_refused),
        cmocka_unit_test(encodings_have_one_spelling),
        cmocka_unit_test(what_no_path_has_is_refused),
        cmocka_unit_test(a_normal_path_is_not_copied),
        cmocka_unit_test(long_paths_cost_linear_time),
        cmocka_unit_test(slashes_merge),
        cmocka_unit_test(targets_split),
        cmocka_unit_test(other_targets_are_refused),
        cmocka_unit_test(authorities_are_parsed),
        cmocka_unit_test(bad_authorities_are_refused),
        cmocka_unit_test(text_is_decoded),
        cmocka_unit_test(queries_are_walked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
