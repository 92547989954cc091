/* Tables and requests made to be slow, deep or large. Times are the best of several, and
 * their bounds far above what is measured: they tell linear from exponential. */
#include "test/route/routes.h"

#include "base/time.h"

#ifdef GW_ASAN
#define SLOWER 20
#else
#define SLOWER 1
#endif

struct many {
    struct row *rows;
    char *texts;
    size_t text_len;
    uint32_t count;
};

static struct many many_new(uint32_t count, size_t text_len)
{
    struct many m = {calloc(count, sizeof(struct row)), malloc(count * text_len), text_len, count};

    assert_non_null(m.rows);
    assert_non_null(m.texts);
    for (uint32_t i = 0; i < count; i++) {
        m.rows[i].name = "r";
        m.rows[i].paths[0] = m.texts + i * text_len;
        m.texts[i * text_len] = '\0';
    }
    return m;
}

static char *many_text(struct many *m, uint32_t i)
{
    return m->texts + i * m->text_len;
}

static struct routes *many_routes(struct many *m)
{
    struct routes *r = routes_new(m->rows, m->count);

    free(m->rows);
    free(m->texts);
    return r;
}

static enum gw_rc get(struct routes *r, const char *path, size_t len,
                      struct gw_route_result *result)
{
    struct gw_request request = routes_request(&r->arena, "GET", "h", "");

    request.path = gw_str(path, len);
    return routes_match(r, &request, result);
}

static uint64_t fastest_us(struct routes *r, const char *path, size_t len, enum gw_rc expected)
{
    uint64_t best = UINT64_MAX;
    struct gw_route_result result;

    for (int i = 0; i < 10; i++) {
        uint64_t began = gw_time_mono_us(), took;
        assert_int_equal(get(r, path, len, &result), expected);
        took = gw_time_mono_us() - began;
        best = took < best ? took : best;
    }
    return best;
}

static void ten_thousand_routes_with_a_long_common_prefix(void **unused)
{
    struct many m = many_new(10000, 600);
    struct gw_route_result result;
    struct routes *r;
    char path[600];
    uint64_t began;

    for (uint32_t i = 0; i < m.count; i++) {
        char *text = many_text(&m, i);
        text[0] = '/';
        memset(text + 1, 'p', 500);
        (void)snprintf(text + 501, 90, "%u/:id", (unsigned)i);
    }
    began = gw_time_mono_us();
    r = many_routes(&m);
    assert_true(gw_time_mono_us() - began < 1000000 * SLOWER);
    path[0] = '/';
    memset(path + 1, 'p', 500);
    for (uint32_t i = 0; i < 10000; i += 7) {
        int len = snprintf(path + 501, 90, "%u/x", (unsigned)i) + 501;
        assert_int_equal(get(r, path, (size_t)len, &result), GW_OK);
        assert_int_equal(result.route, i);
    }
    path[250] = 'q';
    assert_int_equal(get(r, path, 510, &result), GW_NOT_FOUND);
    routes_free(r);
}

/* All 4,096 ways to write twelve segments as a literal or a parameter: no way is walked twice. */
static void parameters_everywhere_cost_no_more_than_the_nodes(void **unused)
{
    struct many m = many_new(4096, 64);
    struct gw_route_result result;
    struct routes *r;

    for (uint32_t i = 0; i < m.count; i++) {
        char *text = many_text(&m, i);
        for (unsigned bit = 0; bit < 12; bit++)
            text += i >> bit & 1 ? sprintf(text, "/x") : sprintf(text, "/:p%u", bit);
    }
    r = many_routes(&m);
    assert_int_equal(get(r, "/x/x/x/x/x/x/x/x/x/x/x/x", 24, &result), GW_OK);
    assert_int_equal(result.route, 4095);
    assert_int_equal(get(r, "/x/x/x/x/x/x/x/x/x/x/x/y", 24, &result), GW_OK);
    assert_int_equal(result.route, 2047);
    assert_int_equal(get(r, "/y/y/y/y/y/y/y/y/y/y/y/y", 24, &result), GW_OK);
    assert_int_equal(result.route, 0);
    assert_int_equal(result.params, 12);
    /* 8,191 ways, and none fits */
    assert_true(fastest_us(r, "/x/x/x/x/x/x/x/x/x/x/x/x/", 25, GW_NOT_FOUND) < 10000 * SLOWER);
    routes_free(r);
}

static void a_path_of_a_thousand_segments(void **unused)
{
    struct routes *r = ROUTES({.name = "a", .paths = {"/:a/:b/:c/:d/:e/:f/:g/:h/*"}},
                              {.name = "b", .paths = {"/:a/:b/:c/:d/:e/:f/:g/:h/:i"}},
                              {.name = "c", .paths = {"/x/:b/x/:d/x/:f/x/:h/*"}},
                              {.name = "d", .paths = {"~^/(?:[^/]+/)+end$"}},
                              {.name = "e", .paths = {"/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/*"}});
    char path[4096];
    size_t len = 0;
    struct gw_route_result result;

    for (int i = 0; i < 1000; i++)
        len += (size_t)sprintf(path + len, "/x");
    assert_int_equal(get(r, path, len, &result), GW_OK);
    assert_int_equal(result.route, 4);
    assert_true(fastest_us(r, path, len, GW_OK) < 5000 * SLOWER);
    memcpy(path, "/y", 2);
    assert_int_equal(get(r, path, len, &result), GW_OK);
    assert_int_equal(result.route, 0);
    routes_free(r);
}

static void a_path_of_eight_kibibytes(void **unused)
{
    struct routes *r =
        ROUTES({.name = "param", .paths = {"/a/:x"}}, {.name = "rest", .paths = {"/b/*"}},
               {.name = "regex", .paths = {"~^/c/(?<x>[a-z]+)$"}},
               {.name = "loose", .paths = {"~(?:xx+)+y"}});
    char *path = malloc(8192);
    struct gw_route_result result;

    assert_non_null(path);
    memset(path, 'x', 8192);
    memcpy(path, "/a/", 3);
    assert_int_equal(get(r, path, 8192, &result), GW_OK);
    assert_int_equal(result.param[0].value.len, 8189);
    /* The loose regex goes before the prefix in the order: it says no, or is stopped. */
    path[1] = 'b';
    assert_int_not_equal(get(r, path, 8192, &result), GW_NOT_FOUND);
    assert_true(fastest_us(r, path, 8192, get(r, path, 8192, &result)) < 200000);
    path[1] = 'c';
    assert_int_equal(get(r, path, 8192, &result), GW_OK);
    assert_int_equal(result.route, 2);
    assert_true(fastest_us(r, path, 8192, GW_OK) < 200000);
    routes_free(r);
    free(path);
}

static void nested_prefixes_a_thousand_deep(void **unused)
{
    struct many m = many_new(1000, 2016);
    struct gw_route_result result;
    struct routes *r;
    char path[2100];

    for (uint32_t i = 0; i < m.count; i++) {
        char *text = many_text(&m, i);
        for (uint32_t k = 0; k <= i; k++)
            text += sprintf(text, "/a");
        (void)sprintf(text, "/*");
        if (i != 500)
            m.rows[i].methods[0] = "PUT";
    }
    r = many_routes(&m);
    for (uint32_t k = 0; k < 1000; k++)
        memcpy(path + 2 * k, "/a", 2);
    path[2000] = '/';
    /* All fit but for the method: the walk comes up from the longest to the one that serves it. */
    assert_int_equal(get(r, path, 2001, &result), GW_OK);
    assert_int_equal(result.route, 500);
    assert_int_equal(get(r, path, 1001, &result), GW_INVALID);
    assert_true(fastest_us(r, path, 2001, GW_OK) < 5000 * SLOWER);
    routes_free(r);
}

static void a_host_of_many_labels(void **unused)
{
    struct routes *r =
        ROUTES({.name = "short", .hosts = {"*.a"}},
               {.name = "long", .hosts = {"*.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a"}});
    char host[256];

    for (int i = 0; i < 254; i++)
        host[i] = i % 2 == 0 ? 'a' : '.';
    host[253] = '\0';
    assert_string_equal(routes_get(r, host, "/"), "long");
    host[252] = 'b';
    assert_string_equal(routes_get(r, host, "/"), "");
    memset(host, '.', 253);
    assert_string_equal(routes_get(r, host, "/"), "");
    routes_free(r);
}

static void ten_thousand_hosts(void **unused)
{
    struct many m = many_new(10000, 64);
    struct routes *r;

    for (uint32_t i = 0; i < m.count; i++) {
        (void)sprintf(many_text(&m, i), i % 2 ? "*.h%u.example.com" : "h%u.example.com",
                      (unsigned)i);
        m.rows[i].hosts[0] = many_text(&m, i);
        m.rows[i].paths[0] = "/x";
        m.rows[i].name = many_text(&m, i);
    }
    r = many_routes(&m);
    assert_string_equal(routes_get(r, "h4242.example.com", "/x"), "h4242.example.com");
    assert_string_equal(routes_get(r, "a.b.h4243.example.com", "/x"), "*.h4243.example.com");
    assert_string_equal(routes_get(r, "h4243.example.com", "/x"), "");
    assert_string_equal(routes_get(r, "h4242.example.com", "/y"), "");
    routes_free(r);
}

/* They are all tried, but finding those that never match stays within its bound. */
static void ten_thousand_routes_of_one_path(void **unused)
{
    struct many m = many_new(10000, 16);
    struct gw_route_result result;
    struct gw_request request;
    struct routes *r;
    uint64_t began;

    for (uint32_t i = 0; i < m.count; i++) {
        (void)sprintf(many_text(&m, i), "t%u", (unsigned)i);
        m.rows[i].paths[0] = "/x";
        m.rows[i].headers[0] = "x-tenant";
        m.rows[i].headers[1] = many_text(&m, i);
    }
    began = gw_time_mono_us();
    r = many_routes(&m);
    assert_true(gw_time_mono_us() - began < 2000000 * SLOWER);
    request = routes_request(&r->arena, "GET", "h", "/x");
    (void)gw_fields_add(&request.fields, GW_STR("X-Tenant"), GW_STR("t9999"));
    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    assert_int_equal(result.route, 9999);
    routes_free(r);
}

static void bytes_that_no_path_has_do_no_harm(void **unused)
{
    struct routes *r =
        ROUTES({.name = "a", .paths = {"/a/:x/b"}}, {.name = "b", .paths = {"/:x/*"}},
               {.name = "c", .paths = {"~^/a/\\d"}}, {.name = "d", .paths = {"/a/b"}});
    uint64_t x = 88172645463325252ull;
    static const char some[] = "/ab:*~\001\002\0\xff%2F";
    struct gw_route_result result;

    for (int i = 0; i < 100000; i++) {
        char *path; /* of its exact size, so that a byte too far is seen */
        size_t len;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        len = x % 12;
        path = malloc(len + (len == 0));
        assert_non_null(path);
        for (size_t k = 0; k < len; k++)
            path[k] = some[(x >> (4 * k + 8)) % (sizeof(some) - 1)];
        (void)get(r, path, len, &result);
        free(path);
    }
    assert_int_equal(get(r, "/a/\001/c", 6, &result), GW_OK);
    assert_int_equal(result.route, 1);
    routes_free(r);
}

/* What this costs precisely, match_bench.c tells. */
static void the_cost_of_a_match_does_not_grow_with_the_routes(void **unused)
{
    double us[2];

    for (int big = 0; big < 2; big++) {
        struct many m = many_new(big ? 10000 : 10, 32);
        uint64_t best = UINT64_MAX;
        struct gw_route_result result;
        struct routes *r;

        for (uint32_t i = 0; i < m.count; i++)
            (void)sprintf(many_text(&m, i), "/svc%u/items/*", (unsigned)i);
        r = many_routes(&m);
        for (int round = 0; round < 20; round++) {
            uint64_t began = gw_time_mono_us(), took;
            for (int i = 0; i < 1000; i++)
                assert_true(get(r, "/svc7/items/12345", 17, &result) == GW_OK);
            took = gw_time_mono_us() - began;
            best = took < best ? took : best;
        }
        us[big] = (double)best;
        routes_free(r);
    }
    assert_true(us[1] < us[0] * 4 + 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_routes_with_a_long_common_prefix),
        cmocka_unit_test(parameters_everywhere_cost_no_more_than_the_nodes),
        cmocka_unit_test(a_path_of_a_thousand_segments),
        cmocka_unit_test(a_path_of_eight_kibibytes),
        cmocka_unit_test(nested_prefixes_a_thousand_deep),
        cmocka_unit_test(a_host_of_many_labels),
        cmocka_unit_test(ten_thousand_hosts),
        cmocka_unit_test(ten_thousand_routes_of_one_path),
        cmocka_unit_test(bytes_that_no_path_has_do_no_harm),
        cmocka_unit_test(the_cost_of_a_match_does_not_grow_with_the_routes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
