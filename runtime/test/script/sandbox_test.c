/* What plugins must not reach, and what they may. */
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

/* Each text must run without an error in the file of a plugin: it asserts by itself. */
static const char *const allowed[] = {
    "assert(io == nil and ffi == nil and debug == nil and jit == nil and package == nil)",
    "assert(getfenv == nil and setfenv == nil and loadfile == nil and dofile == nil)",
    "assert(newproxy == nil and collectgarbage == nil and module == nil and string.dump == nil)",
    "assert(os.execute == nil and os.exit == nil and os.getenv == nil and os.remove == nil)",
    "assert(os.time() > 0 and os.clock() and os.date() and os.difftime(2, 1) == 1)",
    "assert(not pcall(require, 'ffi') and not pcall(require, 'io') and not pcall(require, 'jit'))",
    "assert(not pcall(require, 'gateway.cdef') and not pcall(require, '../x'))",
    "assert(not pcall(require, 'package') and not pcall(require, 'debug'))",
    "assert(getmetatable('') == nil) assert(('x').dump == nil and (''):rep(2) == '')",
    "assert(not pcall(function() string.x = 1 end) and string.x == nil)",
    "assert(not pcall(rawset, string, 'x', 1) and not pcall(rawset, _G, 'x', 1))",
    "assert(not pcall(function() x = 1 end) and not pcall(function() _G.x = 1 end))",
    "assert(not pcall(setmetatable, _G, {}) and not pcall(setmetatable, string, {}))",
    "assert(not pcall(setmetatable, '', {}))",
    "assert(not pcall(function() gw.x = 1 end) and not pcall(function() gw.json.x = 1 end))",
    "assert(not pcall(rawset, gw, 'x', 1) and not pcall(rawset, gw.json, 'encode', 1))",
    "assert(load('return 1')() == 1 and load('return io')() == nil)",
    "assert(load('x = 1', 'n', 't', {}) and loadstring('return ffi')() == nil)",
    "assert(load('\\27LJ\\2') == nil and load('\\27LJ', 'x', 'b') == nil)",
    "local n = 0 local f = load(function() n = n + 1 return n == 1 and 'return 7' or nil end)\n"
    "assert(f() == 7)",
    "local f, err = load('x x') assert(f == nil and err)",
    "local f = load('error(\"here\")', '@gateway/ctx.lua') local ok, err = pcall(f)\n"
    "assert(not err:find('gateway/ctx', 1, true), err)",
    "assert(coroutine.running() == nil and not pcall(coroutine.yield))",
    "local co = coroutine.create(function(a) local b = coroutine.yield(a) return b end)\n"
    "assert(select(2, coroutine.resume(co, 1)) == 1 and select(2, coroutine.resume(co, 2)) == 2)\n"
    "assert(coroutine.status(co) == 'dead' and coroutine.resume(co) == false)",
    "local ok, a, b = xpcall(function() error('x', 0) end, function(m) return m .. '!', 2 end)\n"
    "assert(not ok and a == 'x!' and b == 2)",
    "assert(select('#', xpcall(function(...) return ... end, print, 1, nil, nil)) == 4)",
    "local ok, err = pcall(error) assert(not ok and err == nil)",
    "for _, name in ipairs { 'math', 'table', 'string', 'bit', 'coroutine', 'os' } do\n"
    "assert(require(name).nothing == nil) end",
    "assert(math.floor(1.5) == 1 and bit.band(7, 3) == 3 and table.concat({ 1, 2 }) == '12')",
    "local t = setmetatable({}, { __index = { a = 1 } }) assert(t.a == 1 and getmetatable(t))",
    "local seen = {} local function walk(t, depth) if seen[t] or depth > 6 then return end\n"
    "seen[t] = true for k, v in pairs(t) do assert(k ~= 'cdef' and k ~= 'getinfo' and k ~= "
    "'popen')\n"
    "if type(v) == 'table' then walk(v, depth + 1) end end end walk(_G, 0) walk(gw, 0)",
};

static void the_allow_list_holds(void **state)
{
    char file[2000];

    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        snprintf(file, sizeof(file), "local p = { name = 'p' }\n%s\nreturn p", allowed[i]);
        w.bindings_count = 0;
        world_plugin(&w, "p", file);
        world_bind(&w, "p", GW_NONE, NULL);
        if (!world_reload(&w))
            fail_msg("%s: %s %s", allowed[i], w.report, w.err.text);
        if (w.count > 0)
            world_drop(&w, --w.count);
    }
}

static void modules_are_private_to_a_generation_and_shared_in_it(void **state)
{
    struct fake f;

    world_file(&w, "lua/count.lua",
               "local M = { n = 0 }\nfunction M.add() M.n = M.n + 1 return M.n end\nreturn M");
    world_plugin(&w, "a",
                 "local count = require 'count'\nlocal p = { name = 'a', priority = 2 }\n"
                 "function p.access() count.add() end return p");
    world_plugin(&w, "b",
                 "local count = require 'count'\nlocal p = { name = 'b' }\n"
                 "function p.access(conf, ctx) ctx.request.headers['x-n'] = count.add() end\n"
                 "return p");
    world_bind(&w, "a", GW_NONE, NULL);
    world_bind(&w, "b", GW_NONE, NULL);
    assert_true(world_reload(&w));
    for (int i = 1; i <= 2; i++) {
        fake_begin(&w, &f, 0);
        assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
        assert_string_equal(fake_header(&f, "x-n"), i == 1 ? "2" : "4");
        fake_end(&w, &f);
        assert_true(world_reload(&w)); /* nothing changed: the module's state stays */
    }
    world_file(&w, "lua/count.lua",
               "local M = { n = 10 }\nfunction M.add() M.n = M.n + 1 return M.n end\nreturn M");
    assert_true(world_reload(&w));
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-n"), "12");
    fake_end(&w, &f);
}

static void late_require_says_what_to_do(void **state)
{
    struct fake f;

    world_file(&w, "lua/late.lua", "return {}");
    world_plugin(&w, "a",
                 "local p = { name = 'a' }\nfunction p.access(conf, ctx)\n"
                 "local ok, err = pcall(require, 'late')\n"
                 "assert(not ok and err:find('at the top of the file', 1, true), err)\n"
                 "end return p");
    world_bind(&w, "a", GW_NONE, NULL);
    assert_true(world_reload(&w));
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
    fake_end(&w, &f);
}

static void modules_in_a_circle_are_refused(void **state)
{
    world_file(&w, "lua/x.lua", "return require 'y'");
    world_file(&w, "lua/y.lua", "return require 'x'");
    world_plugin(&w, "a", "require 'x' return { name = 'a' }");
    world_bind(&w, "a", GW_NONE, NULL);
    assert_false(world_reload(&w));
    assert_non_null(strstr(w.report, "requires itself"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_allow_list_holds),
        CASE(modules_are_private_to_a_generation_and_shared_in_it),
        CASE(late_require_says_what_to_do),
        CASE(modules_in_a_circle_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
