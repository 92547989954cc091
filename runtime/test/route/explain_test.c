#include "test/route/routes.h"

#include "route/explain.h"

static struct gw_route_explanation explained(struct routes *r, const struct gw_request *request)
{
    struct gw_route_explanation e;

    gw_route_explain(r->matcher, request, 0, routes_client, &r->arena, &e);
    return e;
}

static void assert_reason(const struct gw_route_explanation *e, uint32_t route, const char *text)
{
    if (!gw_str_eq(e->reasons[route].text, gw_str_c(text)))
        fail_msg("route %u: \"%.*s\" is not \"%s\"", (unsigned)route,
                 GW_STR_ARG(e->reasons[route].text), text);
}

static void each_loser_hears_what_did_not_fit(void **unused)
{
    struct routes *r = ROUTES(
        {.name = "won", .paths = {"/a"}, .methods = {"POST"}}, {.name = "off", .disabled = true},
        {.name = "host", .hosts = {"x.com", "*.y.com"}},
        {.name = "path", .paths = {"/b/*", "~^/c"}}, {.name = "slash", .paths = {"/a/*"}},
        {.name = "method", .paths = {"/a"}, .methods = {"GET", "PUT"}},
        {.name = "header", .headers = {"x-api", "2"}},
        {.name = "missing", .headers = {"x-key", "*"}}, {.name = "query", .query = {"q", "~^\\d"}},
        {.name = "client", .clients = {"10.0.0.0/8"}}, {.name = "scheme", .scheme = "https"});
    struct gw_request request = routes_request(&r->arena, "POST", "h.com", "/a");
    struct gw_route_explanation e = explained(r, &request);

    assert_int_equal(e.verdict, GW_OK);
    assert_int_equal(e.result.route, 0);
    assert_int_equal(e.count, 11);
    assert_int_equal(e.reasons[0].stage, GW_ROUTE_STAGE_WON);
    assert_reason(&e, 1, "is disabled");
    assert_reason(&e, 2, "host h.com does not fit x.com, *.y.com");
    assert_reason(&e, 3, "path /a does not fit /b/*, ~^/c");
    assert_reason(&e, 4,
                  "path /a does not fit /a/*, which needs the slash: add \"/a\" to the paths if it "
                  "is meant too");
    assert_reason(&e, 5, "method POST is not in GET, PUT (nor HEAD, which GET implies)");
    assert_reason(&e, 6, "header x-api is not \"2\"");
    assert_reason(&e, 7, "header x-key is missing");
    assert_reason(&e, 8, "query parameter q does not fit ~^\\d");
    assert_reason(&e, 9, "client 127.0.0.1 is in none of its networks");
    assert_reason(&e, 10, "scheme http is not https");
    routes_free(r);
}

static void who_fits_and_loses_hears_in_what(void **unused)
{
    struct routes *r = ROUTES(
        {.name = "won",
         .hosts = {"h.com"},
         .paths = {"/a/b"},
         .methods = {"GET"},
         .scheme = "http"},
        {.name = "low", .paths = {"/a/b"}, .priority = -1},
        {.name = "wide", .hosts = {"*.com"}, .paths = {"/a/b"}}, {.name = "any", .paths = {"/a/b"}},
        {.name = "star", .hosts = {"h.com"}, .paths = {"/a/*"}},
        {.name = "fewer", .hosts = {"h.com"}, .paths = {"/a/b"}, .methods = {"GET"}},
        {.name = "later",
         .hosts = {"h.com"},
         .paths = {"/a/b"},
         .methods = {"GET"},
         .scheme = "http"});
    struct gw_request request = routes_request(&r->arena, "GET", "h.com", "/a/b");
    struct gw_route_explanation e = explained(r, &request);

    assert_int_equal(e.result.route, 0);
    assert_reason(&e, 1, "fits, but its priority -1 is lower than 0 of \"won\"");
    assert_reason(&e, 2, "fits, but host h.com of \"won\" is more exact than its *.com");
    assert_reason(&e, 3, "fits, but host h.com of \"won\" is more exact than its *");
    assert_reason(&e, 4, "fits, but path /a/b of \"won\" comes before its /a/*");
    assert_reason(&e, 5, "fits, but \"won\" has 2 conditions and it has 1");
    assert_reason(&e, 6, "fits, but \"won\" stands before it in the files");
    routes_free(r);
}

static void parameters_decide_between_paths_of_one_kind(void **unused)
{
    struct routes *r =
        ROUTES({.name = "right", .paths = {"/:x/b"}}, {.name = "left", .paths = {"/a/:y"}},
               {.name = "same", .paths = {"/a/:z"}});
    struct gw_request request = routes_request(&r->arena, "GET", "h.com", "/a/b");
    struct gw_route_explanation e = explained(r, &request);

    assert_reason(&e, 0, "fits, but path /a/:y of \"left\" comes before its /:x/b");
    assert_reason(&e, 2, "fits, but \"left\" stands before it in the files");
    routes_free(r);
}

static void the_text_tells_verdict_and_reasons(void **unused)
{
    struct routes *r = ROUTES({.name = "p", .paths = {"/u/:id"}, .methods = {"GET"}},
                              {.name = "q", .paths = {"/q"}});
    struct gw_buf text = GW_BUF_INIT;
    struct gw_request request = routes_request(&r->arena, "GET", "h", "/u/7");
    struct gw_route_explanation e = explained(r, &request);

    gw_route_explain_text(gw_image_conf(&r->image), &request, &e, &text);
    gw_buf_add(&text, "", 1);
    assert_string_equal(text.data, "GET http://h/u/7\n  route \"p\" matches\n    id = \"7\"\n"
                                   "  not \"q\": path /u/7 does not fit /q\n");
    gw_buf_clear(&text);
    request = routes_request(&r->arena, "PUT", "h", "/u/7");
    e = explained(r, &request);
    gw_route_explain_text(gw_image_conf(&r->image), &request, &e, &text);
    gw_buf_add(&text, "", 1);
    assert_non_null(
        strstr(text.data, "405: some routes fit, but for the method; Allow: GET, HEAD\n"));
    gw_buf_clear(&text);
    request = routes_request(&r->arena, "PUT", "h", "/z");
    e = explained(r, &request);
    gw_route_explain_text(gw_image_conf(&r->image), &request, &e, &text);
    gw_buf_add(&text, "", 1);
    assert_non_null(strstr(text.data, "404: no route matches\n"));
    gw_buf_fini(&text);
    routes_free(r);
}

static void a_regex_at_its_limit_is_told(void **unused)
{
    struct routes *r =
        ROUTES({.name = "greedy", .paths = {"~^/(a+)+$"}}, {.name = "other", .paths = {"/*"}});
    struct gw_request request = routes_request(
        &r->arena, "GET", "h", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!");
    struct gw_route_explanation e = explained(r, &request);

    assert_int_equal(e.verdict, GW_LIMIT);
    assert_reason(&e, 0, "a regex was stopped at its limit: nobody knows whether it fits");
    assert_reason(&e, 1, "fits, but a regex that comes first was stopped at its limit");
    routes_free(r);
}

static void routes_of_other_paths_are_counted_when_they_are_many(void **unused)
{
    struct row rows[GW_ROUTE_EXPLAIN_PATHS_MAX + 7];
    struct routes *r;
    struct gw_buf text = GW_BUF_INIT;
    struct gw_request request;
    struct gw_route_explanation e;

    for (uint32_t i = 0; i < GW_ROUTE_EXPLAIN_PATHS_MAX + 7; i++)
        rows[i] = (struct row){.name = "r", .paths = {i == 0 ? "/b" : "/a"}};
    r = routes_new(rows, GW_ROUTE_EXPLAIN_PATHS_MAX + 7);
    request = routes_request(&r->arena, "GET", "h", "/b");
    e = explained(r, &request);
    gw_route_explain_text(gw_image_conf(&r->image), &request, &e, &text);
    gw_buf_add(&text, "", 1);
    assert_non_null(strstr(text.data, "and 6 more whose host or path does not fit\n"));
    gw_buf_fini(&text);
    routes_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_loser_hears_what_did_not_fit),
        cmocka_unit_test(who_fits_and_loses_hears_in_what),
        cmocka_unit_test(parameters_decide_between_paths_of_one_kind),
        cmocka_unit_test(the_text_tells_verdict_and_reasons),
        cmocka_unit_test(a_regex_at_its_limit_is_told),
        cmocka_unit_test(routes_of_other_paths_are_counted_when_they_are_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
