/* limits: of gateway, listener and route; and how the image keeps those of routes. */
#include "conf/limits.h"

#include "support.h"

static const struct gw_conf_route *route(const struct gw_conf *conf, uint32_t i)
{
    assert_true(i < conf->routes.len);
    return &GW_ITEMS(conf, conf->routes, struct gw_conf_route)[i];
}

static void limits_of_three_levels(void **state)
{
    struct loaded l;
    const struct gw_conf *c;
    const struct gw_conf_listener *listener;
    struct gw_conf_limits out;

    load(&l,
         "limits: { body_size_max: 1m, send_timeout: 7s }\n"
         "listen: { address: 1.2.3.4:80, limits: { send_timeout: 8s, header_count_max: 5, "
         "body_timeout: 3s } }\n"
         "routes:\n  - { upstream: http://a, limits: { body_size_max: 2m, body_timeout: 9s } }\n"
         "  - { upstream: http://a }\n");
    c = conf_of(&l);
    listener = GW_ITEMS(c, c->listeners, struct gw_conf_listener);
    assert_int_equal(listener->limits.body_bytes_max, 1 << 20);
    assert_int_equal(listener->limits.send_timeout_ms, 8000);
    assert_int_equal(__builtin_popcountll(listener->limits.given), 3);
    assert_int_equal(gw_route_limits(c, route(c, 0))->send_timeout_ms, 7000);
    assert_int_equal(__builtin_popcountll(gw_route_limits(c, route(c, 0))->given), 2);
    assert_int_equal(gw_route_limits(c, route(c, 1))->given, 0);
    gw_conf_limits_nearest(&listener->limits, gw_route_limits(c, route(c, 0)), &out);
    assert_int_equal(out.body_bytes_max, 2 << 20);
    assert_int_equal(out.body_timeout_ms, 9000);
    assert_int_equal(out.send_timeout_ms, 8000);
    assert_int_equal(out.header_count_max, 5);
    gw_conf_limits_nearest(&listener->limits, gw_route_limits(c, route(c, 1)), &out);
    assert_int_equal(out.body_bytes_max, 1 << 20);
    assert_int_equal(out.body_timeout_ms, 3000);
    unload(&l);
}

static void routes_share_equal_limits(void **state)
{
    struct loaded l;
    const struct gw_conf *c;

    load(&l, "listen: 127.0.0.1:80\n"
             "limits: { body_size_max: 3m }\n"
             "upstreams: { a: { targets: b } }\n"
             "routes:\n"
             "  - { upstream: a }\n"
             "  - { upstream: a, limits: { body_size_max: 3m } }\n"
             "  - { upstream: a, limits: { body_size_max: 4m } }\n"
             "  - { upstream: a }\n"
             "  - { upstream: a, limits: { body_size_max: 4096k } }\n");
    c = conf_of(&l);
    assert_int_equal(c->routes.off % 64, 0);
    assert_int_equal(route(c, 0)->limits, route(c, 3)->limits);
    assert_int_equal(route(c, 2)->limits, route(c, 4)->limits);
    assert_int_not_equal(route(c, 0)->limits, route(c, 1)->limits); /* that one was given */
    assert_int_not_equal(route(c, 1)->limits, route(c, 2)->limits);
    assert_int_equal(gw_route_limits(c, route(c, 0))->body_bytes_max, 3 << 20);
    assert_int_equal(gw_route_limits(c, route(c, 4))->body_bytes_max, 4 << 20);
    unload(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_of_three_levels),
        cmocka_unit_test(routes_share_equal_limits),
    };

    return cmocka_run_group_tests_name("conf limits", tests, NULL, NULL);
}
