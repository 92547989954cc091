/* Loading with its faults, and reload: what stays, what is made anew, what is stopped. */
#include "test/script/fake.h"

static struct world w;

static int setup(void **state)
{
    world_open(&w);
    return 0;
}

static int teardown(void **state)
{
    world_close(&w);
    return 0;
}

static void expect_fault(const char *text, const char *fault)
{
    struct gw_image image;

    w.bindings_count = 0;
    world_plugin(&w, "key-auth", text);
    world_bind(&w, "key-auth", GW_NONE, "{\"limit\": 5}");
    if (world_load(&w, &image) == GW_OK)
        fail_msg("taken: %s", text);
    if (strstr(w.report, fault) == NULL)
        fail_msg("%s\n  gives   %s\n  but not %s", text, w.report, fault);
    gw_image_fini(&image);
}

#define SCHEMA                                                                                     \
    "schema = { type = 'object', properties = { limit = { type = 'integer', maximum = 3 } } }"

static void faulty_plugins_are_reported(void **state)
{
    expect_fault("x x", "plugins/key-auth.lua:1:");
    expect_fault("local p = {}\nerror('at load')", "plugins/key-auth.lua:2: at load");
    expect_fault("return 5", "must return the plugin's table");
    expect_fault("return { name = 'other' }", "\"key-auth\"");
    expect_fault("return {}", "\"key-auth\"");
    expect_fault("return { name = 'key-auth', priority = 'high' }", "priority: a number");
    expect_fault("return { name = 'key-auth', acess = function() end }", "did you mean 'access'");
    expect_fault("return { name = 'key-auth', access = 5 }", "access: a function is expected");
    expect_fault("return { name = 'key-auth', body = 'whole' }", "buffered");
    expect_fault("return { name = 'key-auth', paths = 1, rewrite = print }", "paths: a function");
    expect_fault("return { name = 'key-auth', paths = function() end }", "with rewrite");
    expect_fault("return { name = 'key-auth', certificate = function() end }", "does not have yet");
    expect_fault("return { name = 'key-auth', identity_headers = { 'a b' } }", "header names");
    expect_fault("return { name = 'key-auth', schema = { type = 'object', oneOf = {} } }", "oneOf");
    expect_fault("return { name = 'key-auth', schema = { x = print } }", "schema");
    expect_fault("local s = {} s.properties = s return { name = 'key-auth', schema = s }",
                 "levels");
    expect_fault("return { name = 'key-auth', " SCHEMA " }", "gateway.yaml:");
    expect_fault("return { name = 'key-auth' }", "gateway.yaml:");
}

static void bindings_are_checked(void **state)
{
    struct gw_image image;
    struct gw_str b[] = {GW_STR("b")}, a[] = {GW_STR("a")};

    world_plugin(&w, "a", "return { name = 'a', access = function() end }");
    world_plugin(&w, "b", "return { name = 'b', access = function() end }");
    world_bind(&w, "aa", GW_NONE, NULL);
    assert_int_equal(world_load(&w, &image), GW_INVALID);
    assert_non_null(strstr(w.report, "gateway.yaml:9:5: plugins[0]: plugin 'aa'"));
    gw_image_fini(&image);
    w.bindings_count = 0;
    world_bind(&w, "a", GW_NONE, NULL)->when = GW_STR("ctx.x ==");
    assert_int_equal(world_load(&w, &image), GW_INVALID);
    assert_non_null(strstr(w.report, "when: "));
    gw_image_fini(&image);
    w.bindings_count = 0;
    world_bind(&w, "a", GW_NONE, NULL);
    world_bind(&w, "a", GW_NONE, NULL);
    assert_int_equal(world_load(&w, &image), GW_INVALID);
    assert_non_null(strstr(w.report, "twice"));
    gw_image_fini(&image);
    w.bindings_count = 0;
    world_bind(&w, "a", GW_NONE, NULL)->before = b;
    world_bind(&w, "b", GW_NONE, NULL)->before = a;
    w.bindings[0].before_count = w.bindings[1].before_count = 1;
    assert_int_equal(world_load(&w, &image), GW_INVALID);
    assert_non_null(strstr(w.report, "circle"));
    gw_image_fini(&image);
    w.bindings_count = 0;
    world_bind(&w, "../plugins/a", GW_NONE, NULL);
    assert_int_equal(world_load(&w, &image), GW_INVALID);
    gw_image_fini(&image);
}

static void identity_headers_are_gathered(void **state)
{
    world_plugin(&w, "a", "return { name = 'a', identity_headers = { 'X-User', 'x-tier' } }");
    world_plugin(&w, "b", "return { name = 'b', identity_headers = { 'x-user' } }");
    world_bind(&w, "a", GW_NONE, NULL);
    world_bind(&w, "b", 0, NULL);
    assert_true(world_reload(&w));
    const struct gw_conf *conf = gw_image_conf(&w.images[0]);
    assert_int_equal(conf->identity_headers.len, 2);
}

/* The instance says how often it was made, and hands its state on. */
#define COUNTING(code)                                                                             \
    "local p = { name = 'a', schema = { type = 'object', properties = {\n"                         \
    "  x = { type = 'integer', default = 7 }, list = { type = 'array', default = { 1, 2 } } } } "  \
    "}\n"                                                                                          \
    "function p.init(conf, old)\n"                                                                 \
    "  assert(conf.x and #conf.list == 2)\n"                                                       \
    "  assert(not pcall(function() conf.new = 1 end))\n" code                                      \
    "  return { made = (old and old.made or 0) + 1, hits = old and old.hits or 0 }\n"              \
    "end\n"                                                                                        \
    "function p.access(conf, ctx)\n"                                                               \
    "  ctx.state.hits = ctx.state.hits + 1\n"                                                      \
    "  ctx.request.headers['x-state'] = ctx.state.made .. '/' .. ctx.state.hits .. '/' .. "        \
    "conf.x\n"                                                                                     \
    "end\n"

static void expect_state(uint32_t route, const char *wanted)
{
    struct fake f;

    fake_begin(&w, &f, route);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-state"), wanted);
    fake_end(&w, &f);
}

static void what_did_not_change_stays(void **state)
{
    world_plugin(&w, "a", COUNTING("") "return p");
    world_bind(&w, "a", 0, NULL);
    world_bind(&w, "a", 1, "{\"x\": 8}");
    assert_true(world_reload(&w));
    expect_state(0, "1/1/7");
    expect_state(1, "1/1/8");
    assert_true(world_reload(&w));
    world_drop(&w, 0);
    expect_state(0, "1/2/7");
    w.bindings_count = 0;
    world_bind(&w, "a", 0, NULL);
    world_bind(&w, "a", 1, "{\"x\": 9}");
    assert_true(world_reload(&w));
    expect_state(0, "1/3/7");
    expect_state(1, "2/2/9");
    world_plugin(&w, "a", COUNTING("-- new code\n") "return p");
    assert_true(world_reload(&w));
    expect_state(0, "2/4/7");
    expect_state(1, "3/3/9");
}

static void a_bad_generation_leaves_the_old_one(void **state)
{
    world_plugin(&w, "a", COUNTING("") "return p");
    world_bind(&w, "a", 0, NULL);
    assert_true(world_reload(&w));
    world_plugin(&w, "a", COUNTING("error('no good')\n") "return p");
    assert_false(world_reload(&w));
    assert_non_null(strstr(w.err.text, "plugin a, route first: plugins/a.lua:6: no good"));
    expect_state(0, "1/1/7");
    world_plugin(&w, "a", COUNTING("conf.list[1] = 5\n") "return p");
    assert_false(world_reload(&w));
    assert_non_null(strstr(w.err.text, "conf is read-only: list.1"));
    world_plugin(&w, "a", COUNTING("gw.sleep(1)\n") "return p");
    assert_false(world_reload(&w));
    assert_non_null(strstr(w.err.text, "not in init"));
    world_plugin(
        &w, "a",
        COUNTING("") "p.rewrite = print function p.paths() return { '/a', 5 } end return p");
    assert_false(world_reload(&w));
    assert_non_null(strstr(w.err.text, "paths: [2] is no text"));
    world_plugin(&w, "a",
                 COUNTING("") "p.rewrite = print function p.paths() return '/a' end return p");
    assert_false(world_reload(&w));
    assert_non_null(strstr(w.err.text, "paths: a list"));
    expect_state(0, "1/2/7");
}

static void stop_runs_when_nobody_holds_it(void **state)
{
    struct fake f;

    world_file(&w, "lua/seen.lua", "return { stopped = 0 }");
    world_plugin(&w, "a",
                 "local seen = require 'seen'\nlocal p = { name = 'a' }\n"
                 "function p.access() end\n"
                 "function p.stop(conf, state) seen.stopped = seen.stopped + 1 end return p");
    world_plugin(&w, "b",
                 "local seen = require 'seen'\nlocal p = { name = 'b' }\n"
                 "function p.access(conf, ctx)\n"
                 "ctx.request.headers['x-stopped'] = seen.stopped end return p");
    world_bind(&w, "b", GW_NONE, NULL);
    world_bind(&w, "a", 0, NULL);
    assert_true(world_reload(&w));
    w.bindings_count = 1;
    assert_true(world_reload(&w));
    for (int i = 0; i < 2; i++) {
        fake_begin(&w, &f, 1);
        assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
        assert_string_equal(fake_header(&f, "x-stopped"), i == 0 ? "0" : "1");
        fake_end(&w, &f);
        if (i == 0)
            world_drop(&w, 0);
    }
}

/* 300 generations: the heap must not grow with them. */
static void memory_stays_flat_over_reloads(void **state)
{
    uint64_t before = 0;
    char text[300];

    w.heap_max = 64u << 20;
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof(text),
                 "local p = { name = 'a' } -- %d\n"
                 "local big = {} for n = 1, 1000 do big[n] = { n } end\n"
                 "function p.init() return big end\n"
                 "function p.access() return end return p",
                 i);
        world_plugin(&w, "a", text);
        w.bindings_count = 0;
        world_bind(&w, "a", GW_NONE, NULL);
        assert_true(world_reload(&w));
        if (w.count == 2) {
            world_drop(&w, 0);
            w.images[0] = w.images[1];
            w.generations[0] = w.generations[1];
            /* The image moved: nothing in it points, but the address of struct gw_image
             * was never kept. */
            w.count = 1;
        }
        if (i == 100)
            before = gw_script_heap_bytes(w.script);
    }
    assert_in_range(gw_script_heap_bytes(w.script), 0, 2 * before + (4 << 20));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(faulty_plugins_are_reported),         CASE(bindings_are_checked),
        CASE(identity_headers_are_gathered),       CASE(what_did_not_change_stays),
        CASE(a_bad_generation_leaves_the_old_one), CASE(stop_runs_when_nobody_holds_it),
        CASE(memory_stays_flat_over_reloads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
