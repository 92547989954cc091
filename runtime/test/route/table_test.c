/* Faults and warnings of the build. */
#include "test/route/routes.h"

#define ROW(...) ((const struct row){__VA_ARGS__})

static void assert_fault(struct row row, const char *expected)
{
    struct routes r;

    row.name = "r";
    routes_init(&r, &row, 1);
    assert_int_equal(gw_route_table_build(&r.image, &r.report), GW_INVALID);
    assert_int_equal(gw_image_conf(&r.image)->table.len, 0);
    assert_true(r.report.faults_count >= 1);
    assert_int_equal(r.report.faults[0].where.line, 1);
    if (memmem(r.report.faults[0].text.data, r.report.faults[0].text.len, expected,
               strlen(expected)) == NULL)
        fail_msg("\"%.*s\" does not say \"%s\"", GW_STR_ARG(r.report.faults[0].text), expected);
    routes_fini(&r);
}

static void bad_paths_are_faults(void **unused)
{
    assert_fault(ROW(.paths = {"a"}), "begins with \"/\"");
    assert_fault(ROW(.paths = {""}), "begins with \"/\"");
    assert_fault(ROW(.paths = {"~"}), "begins with \"/\"");
    assert_fault(ROW(.paths = {"/a*"}), "whole last segment");
    assert_fault(ROW(.paths = {"/a/*/b"}), "whole last segment");
    assert_fault(ROW(.paths = {"/:id.json"}), "whole segment");
    assert_fault(ROW(.paths = {"/:"}), "whole segment");
    assert_fault(ROW(.paths = {"/:1"}), "whole segment");
    assert_fault(ROW(.paths = {"/:a/b/:a"}), "twice");
    assert_fault(ROW(.paths = {"/{id}"}), ":id");
    assert_fault(ROW(.paths = {"/a?b=1"}), "query");
    assert_fault(ROW(.paths = {"/a/../../b"}), "no request");
    assert_fault(ROW(.paths = {"/a%zz"}), "no request");
    assert_fault(ROW(.paths = {"/:a/:b/:c/:d/:e/:f/:g/:h/:i/:j/:k/:l/:m/:n/:o/:p/:q"}), "16");
    assert_fault(ROW(.paths = {"/:a/:b/:c/:d/:e/:f/:g/:h/:i/:j/:k/:l/:m/:n/:o/:p/*"}), "16");
    assert_fault(ROW(.paths = {"~(((((((((((((((((a)))))))))))))))))"}), "17 groups");
    assert_fault(ROW(.paths = {"~(?<a>a)(?<b>a)(?<c>a)(?<d>a)(?<e>a)(?<f>a)(?<g>a)(?<h>a)(?<i>a)"}),
                 "18 groups");
}

static void bad_regexes_are_faults_with_their_place(void **unused)
{
    assert_fault(ROW(.paths = {"~^/a("}), "at byte 4: missing closing parenthesis");
    assert_fault(ROW(.paths = {"/"}, .headers = {"x", "~[a"}), "at byte 2: missing terminating ]");
    assert_fault(ROW(.paths = {"/"}, .query = {"x", "~*"}), "at byte");
}

static void bad_hosts_and_methods_are_faults(void **unused)
{
    static const char *const hosts[] = {"",           "A.com",  "a.com:80", "*.",     "*a.com",
                                        "a.*.com",    "a..com", "a.com.",   ".a.com", "a b",
                                        "http://a.b", "[::1",   "[]",       "*.*.a"};

    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        assert_fault(ROW(.hosts = {hosts[i]}), "not a host");
    assert_fault(ROW(.methods = {"GE T"}), "not a method");
    assert_fault(ROW(.methods = {""}), "not a method");
}

static void all_faults_are_told_at_once(void **unused)
{
    const struct row rows[] = {{.name = "a", .paths = {"x", "~("}}, {.name = "b", .hosts = {"A"}}};
    struct routes r;

    routes_init(&r, rows, 2);
    assert_int_equal(gw_route_table_build(&r.image, &r.report), GW_INVALID);
    assert_int_equal(r.report.faults_count, 3);
    routes_fini(&r);
}

static void the_faults_of_a_disabled_route_do_not_count(void **unused)
{
    struct routes *r = ROUTES({.name = "off", .paths = {"~("}, .disabled = true});

    assert_int_equal(r->report.faults_count, 0);
    routes_free(r);
}

static void too_many_alternatives_are_a_fault(void **unused)
{
    const uint32_t count = GW_ROUTE_ENTRIES_MAX / 2000 + 1;
    struct row row = {.name = "many"};
    struct routes r;
    uint32_t texts;

    /* 2,000 hosts and as many paths as needed, all the same: what counts is their number. */
    row.hosts[0] = "a.com";
    row.paths[0] = "/a";
    routes_init(&r, &row, 1);
    texts = gw_image_alloc(&r.image, count * sizeof(struct gw_ref));
    {
        struct gw_conf *conf = gw_image_conf(&r.image);
        struct gw_conf_details *details = gw_image_at(&r.image, conf->details.off);
        struct gw_ref path = GW_ITEMS(conf, details->match.paths, struct gw_ref)[0];
        for (uint32_t i = 0; i < count; i++)
            ((struct gw_ref *)gw_image_at(&r.image, texts))[i] = path;
        details->match.paths = (struct gw_ref){texts, count};
        details->match.hosts = (struct gw_ref){texts, 2000};
    }
    assert_int_equal(gw_route_table_build(&r.image, &r.report), GW_INVALID);
    assert_int_equal(r.report.faults_count, 1);
    routes_fini(&r);
}

/* The names of the routes that can never match, in the order of the report. */
static void assert_dead(struct routes *r, const char *expected)
{
    const struct gw_conf *conf = gw_image_conf(&r->image);
    char text[256] = "";

    for (uint32_t i = 0; i < r->report.kept; i++) {
        const struct gw_conf_route *route =
            GW_ITEMS(conf, conf->routes, struct gw_conf_route) + r->report.faults[i].where.line - 1;
        assert_true(r->report.faults[i].warning);
        strcat(text, gw_ref_str(conf, route->name).data);
        strcat(text, " ");
    }
    assert_string_equal(text, expected);
    routes_free(r);
}

static void a_route_behind_a_wider_one_is_named(void **unused)
{
    assert_dead(ROUTES({.name = "a", .paths = {"/x"}}, {.name = "b", .paths = {"/x"}}), "b ");
    assert_dead(ROUTES({.name = "a", .paths = {"/x/:i"}}, {.name = "b", .paths = {"/x/:j"}}), "b ");
    assert_dead(ROUTES({.name = "a"}, {.name = "b"}), "b ");
    assert_dead(ROUTES({.name = "a", .paths = {"~^/x"}}, {.name = "b", .paths = {"~^/x"}}), "b ");
    assert_dead(ROUTES({.name = "a", .paths = {"/x/*"}, .priority = 1},
                       {.name = "b", .paths = {"/x/y", "/x/:z/u", "/x/y/*", "~^/x/y"}}),
                "b ");
    assert_dead(ROUTES({.name = "a", .paths = {"~^/x/\\d+$"}, .priority = 1},
                       {.name = "b", .paths = {"/x/7"}}, {.name = "c", .paths = {"/x/y"}}),
                "b ");
    assert_dead(ROUTES({.name = "a", .hosts = {"*.com"}, .paths = {"/*"}, .priority = 1},
                       {.name = "b", .hosts = {"a.com", "*.b.com"}, .paths = {"/y"}}),
                "b ");
    assert_dead(
        ROUTES(
            {.name = "a", .paths = {"/x"}, .methods = {"GET", "POST"}, .clients = {"10.0.0.0/8"}},
            {.name = "b",
             .paths = {"/x"},
             .methods = {"HEAD"},
             .clients = {"10.1.0.0/16", "10.2.3.4"}}),
        "b ");
    /* each alternative is covered, by different routes */
    assert_dead(ROUTES({.name = "a", .paths = {"/x"}}, {.name = "b", .paths = {"/y"}},
                       {.name = "c", .paths = {"/x", "/y"}}),
                "c ");
}

static void a_route_that_can_match_is_not_named(void **unused)
{
    assert_dead(ROUTES({.name = "a", .paths = {"/x/*"}}, {.name = "b", .paths = {"/x/y"}},
                       {.name = "c", .paths = {"/x"}}),
                "");
    assert_dead(ROUTES({.name = "a", .paths = {"/x"}, .methods = {"GET"}, .priority = 1},
                       {.name = "b", .paths = {"/x"}}),
                "");
    assert_dead(
        ROUTES({.name = "a", .paths = {"/x"}, .priority = 1}, {.name = "b", .paths = {"/x", "/y"}}),
        "");
    assert_dead(ROUTES({.name = "a", .paths = {"/x/:y"}, .priority = 1},
                       {.name = "b", .paths = {"/x/*"}}, {.name = "c", .paths = {"~^/x/y"}}),
                "");
    assert_dead(ROUTES({.name = "a", .hosts = {"*.a.com"}, .priority = 1},
                       {.name = "b", .hosts = {"a.com"}}, {.name = "c", .hosts = {"*.com"}},
                       {.name = "d"}),
                "");
    assert_dead(ROUTES({.name = "a", .paths = {"/x"}, .headers = {"v", "1"}},
                       {.name = "b", .paths = {"/x"}, .headers = {"v", "2"}},
                       {.name = "c", .paths = {"/x"}, .headers = {"w", "1"}}),
                "");
    assert_dead(
        ROUTES({.name = "a", .paths = {"/x"}, .disabled = true}, {.name = "b", .paths = {"/x"}}),
        "");
    assert_dead(
        ROUTES({.name = "a", .paths = {"/x"}, .merge = true}, {.name = "b", .paths = {"/x"}}), "");
    assert_dead(ROUTES({.name = "a", .paths = {"/x"}, .clients = {"10.1.0.0/16"}},
                       {.name = "b", .paths = {"/x"}, .clients = {"10.0.0.0/8"}}),
                "");
    assert_dead(ROUTES({.name = "a", .paths = {"/x"}, .scheme = "https"},
                       {.name = "b", .paths = {"/x"}, .scheme = "http"}),
                "");
    assert_dead(ROUTES({.name = "a", .paths = {"/x"}, .listeners = {1}},
                       {.name = "b", .paths = {"/x"}, .listeners = {1, 2}}),
                "");
}

static void the_warning_names_the_winner(void **unused)
{
    struct routes *r = ROUTES({.name = "a", .paths = {"/x"}}, {.name = "b", .paths = {"/x"}});
    struct gw_buf text = GW_BUF_INIT;

    gw_report_text(&r->report, &text);
    assert_non_null(memmem(text.data, gw_buf_len(&text), "route \"a\" (line 1)", 18));
    gw_buf_fini(&text);
    routes_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_paths_are_faults),
        cmocka_unit_test(bad_regexes_are_faults_with_their_place),
        cmocka_unit_test(bad_hosts_and_methods_are_faults),
        cmocka_unit_test(all_faults_are_told_at_once),
        cmocka_unit_test(the_faults_of_a_disabled_route_do_not_count),
        cmocka_unit_test(too_many_alternatives_are_a_fault),
        cmocka_unit_test(a_route_behind_a_wider_one_is_named),
        cmocka_unit_test(a_route_that_can_match_is_not_named),
        cmocka_unit_test(the_warning_names_the_winner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
