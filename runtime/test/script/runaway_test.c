/* Code without end or measure: each is ended within about three budgets, for its request alone,
 * and the VM serves the next one. */
#include "test/script/fake.h"

#include "base/time.h"

#define BUDGET_MS 50
#define HEAP_MAX (24u << 20)

static struct world w;

static int setup(void **state)
{
    world_open(&w);
    w.cpu_ms = BUDGET_MS;
    w.heap_max = HEAP_MAX;
    return 0;
}

static int teardown(void **state)
{
    world_close(&w);
    return 0;
}

static const struct {
    const char *name;
    const char *code;
} rows[] = {
    {"empty while", "while true do end"},
    {"numeric for", "local n = 0 for i = 1, 1e15 do n = n + i % 3 end ctx.n = n"},
    {"allocation", "local t while true do t = { t } if #t > 5 then t = nil end end"},
    {"garbage", "local t while true do t = { 1, 2, 3 } end"},
    {"string.rep", "local s = string.rep('x', 1e9) ctx.s = s"},
    {"string doubling", "local s = 'x' while true do s = s .. s end"},
    {"table growth", "local t = {} local i = 0 while true do i = i + 1 t[i] = i end"},
    {"pcall swallows", "local function f() while true do end end while true do pcall(f) end"},
    {"pcall swallows memory", "while true do pcall(function()\n"
                              "local t = {} for i = 1, 1e15 do t[i] = { i } end end) end"},
    {"coroutines", "while true do local co = coroutine.wrap(function() while true do\n"
                   "coroutine.yield(1) end end) for i = 1, 10 do co() end end"},
    {"loop in a coroutine", "coroutine.wrap(function() while true do end end)()"},
    {"recursion", "local function f(n) return 1 + f(n + 1) end\n"
                  "while true do pcall(f, 1) end"},
    {"tail calls", "local function f() return f() end f()"},
    {"huge concat", "local t = {} for i = 1, 1000 do t[i] = ('x'):rep(1000) end\n"
                    "local s = '' while true do s = table.concat(t) .. s end"},
    {"metamethod",
     "local t t = setmetatable({}, { __index = function(_, k) return t[k + 1] end })\n"
     "while true do pcall(function() return t[1] end) end"},
    {"xpcall handler", "xpcall(error, function() while true do end end)"},
    {"xpcall handler after the stop", "while true do xpcall(function() while true do end end,\n"
                                      "function() while true do end end) end"},
    {"goto", "::again:: goto again"},
    {"gsub callback", "('x'):rep(100):gsub('.', function() while true do end end)"},
    {"sort callback", "local t = {} for i = 1, 1e5 do t[i] = i end\n"
                      "while true do table.sort(t, function(a, b) return a > b end) end"},
    {"load", "while true do load('return 1')() end"},
    {"request handles", "while true do local x = ctx.request.headers.accept end"},
    {"tostring", "local t = setmetatable({}, { __tostring = function() while true do end end })\n"
                 "error(t)"},
    {"error object that is a trap",
     "error(setmetatable({}, { __tostring = function() while true do end end,\n"
     "__index = function() while true do end end }))"},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void all_are_ended(void **state)
{
    char file[2000];
    struct fake f;

    for (size_t i = 0; i < ROWS; i++) {
        snprintf(file, sizeof(file),
                 "local plugin = { name = 'p' }\n"
                 "function plugin.access(conf, ctx)\n"
                 "  if ctx.request.headers['x-key'] == 'fine' then\n"
                 "    local t = {} for n = 1, 1000 do t[n] = { n } end return\n"
                 "  end\n%s\nend\nreturn plugin",
                 rows[i].code);
        w.bindings_count = 0;
        world_plugin(&w, "p", file);
        world_bind(&w, "p", GW_NONE, NULL);
        if (!world_reload(&w))
            fail_msg("%s: %s %s", rows[i].name, w.report, w.err.text);
        for (int again = 0; again < 3; again++) {
            fake_begin(&w, &f, 0);
            uint64_t began = gw_time_mono_ms();
            enum gw_phase_rc rc = fake_run(&w, &f, GW_PHASE_ACCESS);
            uint64_t took = gw_time_mono_ms() - began;
            if (rc != GW_PHASE_FAILED)
                fail_msg("%s was not stopped", rows[i].name);
            /* The machine may be busy with others: wall time is only a loose bound. */
            if (took > 10 * BUDGET_MS + 1000)
                fail_msg("%s took %llu ms", rows[i].name, (unsigned long long)took);
            if (gw_script_heap_bytes(w.script) > HEAP_MAX + (1 << 20))
                fail_msg("%s left %llu bytes", rows[i].name,
                         (unsigned long long)gw_script_heap_bytes(w.script));
            fake_end(&w, &f);
            fake_begin(&w, &f, 0);
            gw_fields_set(&f.x.request.fields, GW_STR("x-key"), GW_STR("fine"));
            if (fake_run(&w, &f, GW_PHASE_ACCESS) != GW_PHASE_NEXT)
                fail_msg("after %s a good request failed", rows[i].name);
            fake_end(&w, &f);
        }
        world_drop(&w, --w.count);
    }
}

static void skip_does_not_save_a_runaway(void **state)
{
    struct fake f;

    world_plugin(&w, "p",
                 "local p = { name = 'p' }\n"
                 "function p.access() while true do end end return p");
    world_bind(&w, "p", GW_NONE, NULL)->on_error = GW_ON_ERROR_SKIP;
    assert_true(world_reload(&w));
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_FAILED);
    fake_end(&w, &f);
}

static void files_and_init_have_a_budget_too(void **state)
{
    world_plugin(&w, "p", "while true do end");
    world_bind(&w, "p", GW_NONE, NULL);
    assert_false(world_reload(&w));
    assert_non_null(strstr(w.report, "CPU budget"));
    assert_non_null(strstr(w.report, "plugins/p.lua"));
    world_plugin(&w, "p",
                 "local p = { name = 'p' }\n"
                 "function p.init() while true do end end return p");
    assert_false(world_reload(&w));
    assert_non_null(strstr(w.err.text, "plugins/p.lua:2"));
}

/* `moongate spec` loads confs while its own VM is there. */
static void a_loader_beside_a_worker_stops_too(void **state)
{
    struct gw_image image;
    struct fake f;

    world_plugin(&w, "p",
                 "local p = { name = 'p' }\nfunction p.access() while true do end end return p");
    world_bind(&w, "p", GW_NONE, NULL);
    assert_true(world_reload(&w));
    world_plugin(&w, "p", "while true do pcall(function() while true do end end) end");
    assert_int_equal(world_load(&w, &image), GW_INVALID);
    gw_image_fini(&image);
    assert_non_null(strstr(w.report, "CPU budget"));
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_FAILED);
    fake_end(&w, &f);
}

static void a_when_has_a_budget_too(void **state)
{
    struct fake f;

    world_plugin(&w, "p", "local p = { name = 'p' }\nfunction p.access() end return p");
    world_bind(&w, "p", GW_NONE, NULL)->when = GW_STR("(function() while true do end end)()");
    assert_true(world_reload(&w));
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_FAILED);
    fake_end(&w, &f);
}

/* 5,000 requests that are well within their budgets, one after the other: never stopped. */
static void the_budget_is_of_one_entry(void **state)
{
    struct fake f;
    uint64_t until;

    world_plugin(&w, "p",
                 "local p = { name = 'p' }\nfunction p.access(conf, ctx)\n"
                 "local n = 0 for i = 1, 20000 do n = n + i end ctx.n = n end return p");
    world_bind(&w, "p", GW_NONE, NULL);
    assert_true(world_reload(&w));
    until = gw_time_mono_ms() + 6 * BUDGET_MS;
    do {
        fake_begin(&w, &f, 0);
        assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
        fake_end(&w, &f);
    } while (gw_time_mono_ms() < until);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(all_are_ended),
        CASE(skip_does_not_save_a_runaway),
        CASE(files_and_init_have_a_budget_too),
        CASE(a_loader_beside_a_worker_stops_too),
        CASE(a_when_has_a_budget_too),
        CASE(the_budget_is_of_one_entry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
