#include "test/route/routes.h"

#define GET(r, host, path, name) assert_string_equal(routes_get((r), (host), (path)), (name))

static void an_exact_path_wins_over_all_others(void **unused)
{
    struct routes *r =
        ROUTES({.name = "none"}, {.name = "prefix", .paths = {"/a/*"}},
               {.name = "regex", .paths = {"~^/a/b$"}}, {.name = "param", .paths = {"/a/:x"}},
               {.name = "exact", .paths = {"/a/b"}});

    GET(r, "h", "/a/b", "exact");
    GET(r, "h", "/a/c", "param");
    GET(r, "h", "/a/b/c", "prefix");
    GET(r, "h", "/b", "none");
    GET(r, "h", "*", "none");
    routes_free(r);
}

static void a_regex_wins_over_a_prefix(void **unused)
{
    struct routes *r = ROUTES({.name = "prefix", .paths = {"/api/v1/*"}},
                              {.name = "regex", .paths = {"~^/api/v\\d+/x"}});

    GET(r, "h", "/api/v1/x", "regex");
    GET(r, "h", "/api/v1/y", "prefix");
    GET(r, "h", "/api/v22/xyz", "regex");
    GET(r, "h", "/api/vx/x", "");
    routes_free(r);
}

static void a_prefix_takes_its_slash_and_what_follows(void **unused)
{
    struct routes *r = ROUTES({.name = "a", .paths = {"/a/*"}});

    GET(r, "h", "/a/", "a");
    GET(r, "h", "/a/x/y", "a");
    GET(r, "h", "/a", "");
    GET(r, "h", "/ab", "");
    routes_free(r);
}

static void the_longest_prefix_wins(void **unused)
{
    struct routes *r =
        ROUTES({.name = "root", .paths = {"/*"}}, {.name = "a", .paths = {"/a/*"}},
               {.name = "x-star", .paths = {"/a/:x/*"}}, {.name = "b", .paths = {"/a/b/*"}});

    GET(r, "h", "/a/b/c", "b");
    GET(r, "h", "/a/c/c", "x-star");
    GET(r, "h", "/a/c", "a");
    GET(r, "h", "/", "root");
    routes_free(r);
}

static void a_literal_segment_wins_over_a_parameter_from_the_left(void **unused)
{
    struct routes *r =
        ROUTES({.name = "xb", .paths = {"/:x/b"}}, {.name = "ay", .paths = {"/a/:y"}},
               {.name = "abc", .paths = {"/a/b/c"}});

    GET(r, "h", "/a/b", "ay");
    GET(r, "h", "/c/b", "xb");
    /* "/a/b" leads to a dead end below /a/b/c: the walk goes back to the parameter. */
    GET(r, "h", "/a/bc", "ay");
    GET(r, "h", "/a/b/c", "abc");
    GET(r, "h", "/a/b/d", "");
    routes_free(r);
}

static void a_parameter_takes_one_segment_that_is_not_empty(void **unused)
{
    struct routes *r = ROUTES({.name = "p", .paths = {"/a/:x/b"}});

    GET(r, "h", "/a/1/b", "p");
    GET(r, "h", "/a/1%2F2/b", "p");
    GET(r, "h", "/a//b", "");
    GET(r, "h", "/a/1/2/b", "");
    GET(r, "h", "/a/1/b/", "");
    routes_free(r);
}

static void an_exact_host_wins_then_the_longest_wildcard_then_none(void **unused)
{
    struct routes *r = ROUTES({.name = "none", .paths = {"/*"}},
                              {.name = "star", .hosts = {"*.example.com"}, .paths = {"/*"}},
                              {.name = "deep", .hosts = {"*.eu.example.com"}, .paths = {"/*"}},
                              {.name = "exact", .hosts = {"a.eu.example.com"}, .paths = {"/x"}});

    GET(r, "a.eu.example.com", "/x", "exact");
    GET(r, "a.eu.example.com", "/y", "deep");
    GET(r, "b.c.eu.example.com", "/x", "deep");
    GET(r, "eu.example.com", "/x", "star");
    GET(r, "example.com", "/x", "none");
    GET(r, "", "/x", "none");
    GET(r, "notexample.com", "/x", "none");
    routes_free(r);
}

static void an_exact_host_without_a_fitting_route_falls_to_the_wildcard_then_to_none(void **unused)
{
    struct routes *r =
        ROUTES({.name = "none", .paths = {"/n"}},
               {.name = "star", .hosts = {"*.a.com"}, .paths = {"/s"}, .methods = {"GET"}},
               {.name = "exact", .hosts = {"b.a.com"}, .paths = {"/e", "/s"}, .methods = {"PUT"}});

    GET(r, "b.a.com", "/s", "star");
    GET(r, "b.a.com", "/n", "none");
    GET(r, "b.a.com", "/e", "405");
    routes_free(r);
}

static void priority_goes_before_all_over_all_hosts(void **unused)
{
    struct routes *r = ROUTES(
        {.name = "exact", .hosts = {"b.a.com"}, .paths = {"/x"}},
        {.name = "star", .hosts = {"*.a.com"}, .paths = {"/*"}, .priority = 1},
        {.name = "none", .paths = {"~x"}, .priority = 2, .methods = {"GET"}},
        {.name = "low", .hosts = {"b.a.com"}, .paths = {"/x", "/low"}, .priority = -2147483647});

    GET(r, "b.a.com", "/x", "none");
    GET(r, "b.a.com", "/y", "star");
    GET(r, "c.com", "/x", "none");
    routes_free(r);
}

static void more_conditions_win_then_the_order_in_the_files(void **unused)
{
    struct routes *r =
        ROUTES({.name = "first", .paths = {"/x"}}, {.name = "second", .paths = {"/x"}},
               {.name = "one", .paths = {"/y"}, .methods = {"GET"}},
               {.name = "two", .paths = {"/y"}, .methods = {"GET"}, .scheme = "http"});

    GET(r, "h", "/x", "first");
    GET(r, "h", "/y", "two");
    routes_free(r);
}

static void get_implies_head_and_methods_are_exact(void **unused)
{
    struct routes *r = ROUTES({.name = "g", .paths = {"/g"}, .methods = {"GET", "PURGE"}});
    struct gw_request request = routes_request(&r->arena, "HEAD", "h", "/g");
    struct gw_route_result result;

    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    request = routes_request(&r->arena, "PURGE", "h", "/g");
    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    request = routes_request(&r->arena, "get", "h", "/g");
    assert_int_equal(routes_match(r, &request, &result), GW_INVALID);
    routes_free(r);
}

static void a_wrong_method_is_405_with_the_sorted_union(void **unused)
{
    struct routes *r =
        ROUTES({.name = "a", .paths = {"/x"}, .methods = {"POST", "GET"}},
               {.name = "b", .paths = {"/*"}, .methods = {"DELETE", "POST", "ZAP"}},
               {.name = "c", .paths = {"/x"}, .methods = {"PATCH"}, .headers = {"x-no", "1"}},
               {.name = "d", .hosts = {"other"}, .paths = {"/x"}, .methods = {"OPTIONS"}},
               {.name = "e", .paths = {"~^/x$"}, .methods = {"PUT"}},
               {.name = "f", .paths = {"~^/xx$"}, .methods = {"TRACE"}});
    struct gw_request request = routes_request(&r->arena, "BREW", "h", "/x");
    struct gw_route_result result;

    assert_int_equal(routes_match(r, &request, &result), GW_INVALID);
    assert_true(gw_str_eq(result.allow, GW_STR("DELETE, GET, HEAD, POST, PUT, ZAP")));
    assert_int_equal(result.route, GW_NONE);
    routes_free(r);
}

/* One row a request: what it adds, and which route serves it. */
static void ask(struct routes *r, const char *header, const char *value, const char *query,
                const char *expected)
{
    struct gw_request request = routes_request(&r->arena, "GET", "h", "/");
    struct gw_route_result result;
    const struct gw_conf *conf = gw_image_conf(&r->image);

    if (header != NULL)
        (void)gw_fields_add(&request.fields, gw_str_c(header), gw_str_c(value));
    if (query != NULL)
        request.query = gw_str_c(query);
    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    assert_string_equal(
        gw_ref_str(conf, GW_ITEMS(conf, conf->routes, struct gw_conf_route)[result.route].name)
            .data,
        expected);
}

static void headers_and_query_are_conditions(void **unused)
{
    struct routes *r = ROUTES({.name = "plain", .paths = {"/"}},
                              {.name = "two", .paths = {"/"}, .headers = {"x-api", "2"}},
                              {.name = "regex", .paths = {"/"}, .headers = {"x-api", "~^[3-9]$"}},
                              {.name = "any", .paths = {"/"}, .headers = {"authorization", "*"}},
                              {.name = "q", .paths = {"/"}, .query = {"a b", "c&d"}},
                              {.name = "qre", .paths = {"/"}, .query = {"n", "~^\\d+ \\d+$"}});

    ask(r, NULL, NULL, NULL, "plain");
    ask(r, "X-API", "2", NULL, "two");
    ask(r, "x-api", "7", NULL, "regex");
    ask(r, "x-api", "77", NULL, "plain");
    ask(r, "Authorization", "", NULL, "any");
    ask(r, NULL, NULL, "x=1&a+b=c%26d", "q");
    ask(r, NULL, NULL, "a%20b=c&a%20b=c%26d", "q");
    ask(r, NULL, NULL, "a%20b=c&d", "plain");
    ask(r, NULL, NULL, "n=1+22", "qre");
    ask(r, NULL, NULL, "n=1%2022", "qre");
    ask(r, NULL, NULL, "n=%", "plain");
    routes_free(r);
}

static void any_line_of_a_header_may_fit(void **unused)
{
    struct routes *r = ROUTES({.name = "h", .paths = {"/"}, .headers = {"x-a", "2"}});
    struct gw_request request = routes_request(&r->arena, "GET", "h", "/");
    struct gw_route_result result;

    (void)gw_fields_add(&request.fields, GW_STR("x-a"), GW_STR("1"));
    assert_int_equal(routes_match(r, &request, &result), GW_NOT_FOUND);
    (void)gw_fields_add(&request.fields, GW_STR("X-A"), GW_STR("2"));
    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    request.fields.items[1].dropped = true;
    assert_int_equal(routes_match(r, &request, &result), GW_NOT_FOUND);
    routes_free(r);
}

static void clients_listeners_and_scheme_are_conditions(void **unused)
{
    struct routes *r = ROUTES({.name = "lan",
                               .paths = {"/"},
                               .clients = {"10.0.0.0/8", "10.1.0.0/16", "192.168.7.7", "fd00::/8"},
                               .listeners = {2, 4},
                               .scheme = "https"});
    static const struct {
        const char *client;
        uint32_t listener;
        const char *scheme;
        enum gw_rc rc;
    } rows[] = {
        {"10.200.0.1", 1, "https", GW_OK},         {"10.1.2.3", 3, "https", GW_OK},
        {"192.168.7.7", 1, "https", GW_OK},        {"fd12::1", 1, "https", GW_OK},
        {"192.168.7.8", 1, "https", GW_NOT_FOUND}, {"9.255.255.255", 1, "https", GW_NOT_FOUND},
        {"11.0.0.0", 1, "https", GW_NOT_FOUND},    {"::a00:1", 1, "https", GW_NOT_FOUND},
        {"10.0.0.1", 0, "https", GW_NOT_FOUND},    {"10.0.0.1", 1, "http", GW_NOT_FOUND},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gw_request request = routes_request(&r->arena, "GET", "h", "/");
        struct gw_route_result result;
        uint8_t client[16];

        assert_int_equal(gw_ip_parse(gw_str_c(rows[i].client), client), GW_OK);
        request.scheme = gw_str_c(rows[i].scheme);
        assert_int_equal(gw_route_match(r->matcher, &request, rows[i].listener, client, &result),
                         rows[i].rc);
    }
    routes_free(r);
}

static void assert_param(const struct gw_route_result *result, const char *name, const char *value)
{
    assert_true(gw_str_eq(gw_route_param(result, gw_str_c(name)), gw_str_c(value)));
}

static void parameters_are_slices_of_the_path_still_encoded(void **unused)
{
    struct routes *r = ROUTES({.name = "p", .paths = {"/u/:user/f/:file-name/*"}},
                              {.name = "q", .paths = {"/q/*"}}, {.name = "z", .paths = {"/z/:end"}},
                              {.name = "n"});
    struct gw_request request = routes_request(&r->arena, "GET", "h", "/u/a%2Fb/f/:x/y/z");
    struct gw_route_result result;

    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    assert_int_equal(result.params, 3);
    assert_param(&result, "user", "a%2Fb");
    assert_param(&result, "file-name", ":x");
    assert_param(&result, "*", "y/z");
    assert_ptr_equal(result.param[2].value.data, request.path.data + 14);
    assert_null(gw_route_param(&result, GW_STR("other")).data);

    request = routes_request(&r->arena, "GET", "h", "/q/");
    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    assert_int_equal(result.params, 1);
    assert_param(&result, "*", "");
    request = routes_request(&r->arena, "GET", "h", "/z/last");
    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    assert_param(&result, "end", "last");
    request = routes_request(&r->arena, "GET", "h", "/none");
    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    assert_int_equal(result.params, 0);
    routes_free(r);
}

static void groups_of_a_regex_are_parameters(void **unused)
{
    struct routes *r =
        ROUTES({.name = "r", .paths = {"~^/(\\w+)/(?<id>\\d+)(/x)?"}},
               /* tried for the same path, and not to leave its groups behind */
               {.name = "s", .paths = {"~^/(\\w)(\\w)(\\w)$"}, .headers = {"no", "*"}});
    struct gw_request request = routes_request(&r->arena, "GET", "h", "/abc/42");
    struct gw_route_result result;

    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    assert_int_equal(result.params, 4);
    assert_param(&result, "1", "abc");
    assert_param(&result, "2", "42");
    assert_param(&result, "id", "42");
    assert_param(&result, "3", "");
    routes_free(r);
}

static void merged_slashes_are_seen_by_the_routes_that_want_them(void **unused)
{
    struct routes *r = ROUTES({.name = "plain", .paths = {"/a/:x/b"}},
                              {.name = "merging", .paths = {"/a/*"}, .merge = true},
                              {.name = "double", .paths = {"/b//c"}},
                              {.name = "fixed", .paths = {"/c//d"}, .merge = true});
    struct gw_request request = routes_request(&r->arena, "GET", "h", "/a//1///b");
    struct gw_route_result result;

    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    assert_int_equal(result.route, 1);
    assert_true(gw_str_eq(result.path, GW_STR("/a/1/b")));
    assert_param(&result, "*", "1/b");
    GET(r, "h", "/a/1/b", "plain");
    GET(r, "h", "/b//c", "double");
    GET(r, "h", "/b/c", "");
    GET(r, "h", "/c////d", "fixed");
    routes_free(r);
}

static void a_disabled_route_is_not_there(void **unused)
{
    struct routes *r =
        ROUTES({.name = "off", .paths = {"/x"}, .disabled = true, .methods = {"GET"}},
               {.name = "on", .paths = {"/*"}});

    GET(r, "h", "/x", "on");
    routes_free(r);
    r = ROUTES({.name = "off", .paths = {"/x"}, .disabled = true, .methods = {"POST"}});
    GET(r, "h", "/x", "");
    routes_free(r);
}

static void no_routes_match_nothing(void **unused)
{
    struct routes *r = routes_new(NULL, 0);

    GET(r, "h", "/", "");
    GET(r, "", "*", "");
    routes_free(r);
}

static void a_regex_at_its_limit_refuses_the_request_unless_a_better_route_fits(void **unused)
{
    struct routes *r = ROUTES({.name = "better", .paths = {"/b/*"}, .priority = 1},
                              {.name = "greedy", .paths = {"~^/[ab]/(a+)+$"}, .methods = {"GET"}},
                              {.name = "worse", .paths = {"/*"}});
    char path[64] = "/a/";
    struct gw_request request;
    struct gw_route_result result;

    memset(path + 3, 'a', 50);
    path[53] = '!';
    path[54] = '\0';
    GET(r, "h", path, "limit");
    request = routes_request(&r->arena, "PUT", "h", path);
    assert_int_equal(routes_match(r, &request, &result), GW_OK);
    assert_int_equal(result.route, 2);
    path[1] = 'b';
    GET(r, "h", path, "better");
    path[53] = '\0';
    path[1] = 'a';
    GET(r, "h", path, "greedy");
    routes_free(r);
}

static void what_looks_like_a_wildcards_suffix_is_no_host(void **unused)
{
    struct routes *r = ROUTES({.name = "star", .hosts = {"*.a.com"}});

    GET(r, ".a.com", "/", "");
    GET(r, "x.a.com", "/", "star");
    routes_free(r);
}

static void a_generation_without_a_table_is_refused(void **unused)
{
    struct gw_image image;
    struct gw_route_matcher *matcher;
    struct gw_err err;

    gw_image_init(&image);
    assert_int_equal(gw_route_matcher_new(gw_image_conf(&image), &matcher, &err), GW_INVALID);
    gw_image_fini(&image);
    gw_route_matcher_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exact_path_wins_over_all_others),
        cmocka_unit_test(a_regex_wins_over_a_prefix),
        cmocka_unit_test(a_prefix_takes_its_slash_and_what_follows),
        cmocka_unit_test(the_longest_prefix_wins),
        cmocka_unit_test(a_literal_segment_wins_over_a_parameter_from_the_left),
        cmocka_unit_test(a_parameter_takes_one_segment_that_is_not_empty),
        cmocka_unit_test(an_exact_host_wins_then_the_longest_wildcard_then_none),
        cmocka_unit_test(an_exact_host_without_a_fitting_route_falls_to_the_wildcard_then_to_none),
        cmocka_unit_test(priority_goes_before_all_over_all_hosts),
        cmocka_unit_test(more_conditions_win_then_the_order_in_the_files),
        cmocka_unit_test(get_implies_head_and_methods_are_exact),
        cmocka_unit_test(a_wrong_method_is_405_with_the_sorted_union),
        cmocka_unit_test(headers_and_query_are_conditions),
        cmocka_unit_test(any_line_of_a_header_may_fit),
        cmocka_unit_test(clients_listeners_and_scheme_are_conditions),
        cmocka_unit_test(parameters_are_slices_of_the_path_still_encoded),
        cmocka_unit_test(groups_of_a_regex_are_parameters),
        cmocka_unit_test(merged_slashes_are_seen_by_the_routes_that_want_them),
        cmocka_unit_test(a_disabled_route_is_not_there),
        cmocka_unit_test(no_routes_match_nothing),
        cmocka_unit_test(a_regex_at_its_limit_refuses_the_request_unless_a_better_route_fits),
        cmocka_unit_test(what_looks_like_a_wildcards_suffix_is_no_host),
        cmocka_unit_test(a_generation_without_a_table_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
