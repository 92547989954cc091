/* Phases, ctx and answers, with a made exchange. */
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

static void must_reload(void)
{
    if (!world_reload(&w))
        fail_msg("report: %s prepare: %s", w.report, w.err.text);
}

/* Runs `text` as the access phase of a plugin and says how it ended. */
static enum gw_phase_rc access_of(struct fake *f, const char *text)
{
    char file[8000];
    enum gw_phase_rc rc;

    snprintf(
        file, sizeof(file),
        "local plugin = { name = 'p' }\nfunction plugin.access(conf, ctx)\n%s\nend\nreturn plugin",
        text);
    w.bindings_count = 0;
    world_plugin(&w, "p", file);
    world_bind(&w, "p", GW_NONE, NULL);
    must_reload();
    fake_begin(&w, f, 0);
    rc = fake_run(&w, f, GW_PHASE_ACCESS);
    return rc;
}

static void request_is_read(void **state)
{
    struct fake f;

    assert_int_equal(
        access_of(&f,
                  "local r = ctx.request\n"
                  "assert(r.method == 'GET' and r.scheme == 'http' and r.host == 'example.com')\n"
                  "assert(r.port == 8080 and r.path == '/a/b' and r.version == 1.1)\n"
                  "assert(r.raw_path == '/a/b', r.raw_path)\n"
                  "assert(r.client_ip == '192.0.2.1')\n"
                  "assert(r.headers['x-key'] == 'secret' and r.headers['X-KEY'] == 'secret')\n"
                  "assert(r.headers.accept == 'a, b' and r.headers.nothing == nil)\n"
                  "assert(#r.headers:all('accept') == 2)\n"
                  "local n = 0 for name, value in r.headers:each() do n = n + #value end\n"
                  "assert(n == 8)\n"
                  "assert(r.query.x == '1' and r.query.y == 'a b' and r.query.z == nil)\n"
                  "assert(table.concat(r.query:all('x'), '+') == '1+2')\n"
                  "assert(tostring(r.query) == 'x=1&y=a%20b&x=2')\n"
                  "assert(ctx.id == 'id-1' and ctx.route.name == 'first')\n"),
        GW_PHASE_NEXT);
    fake_end(&w, &f);
}

static void request_is_changed(void **state)
{
    struct fake f;

    assert_int_equal(access_of(&f,
                               "local h = ctx.request.headers\n"
                               "h['X-New'] = 'v' h.accept = nil h:add('x-key', 2)\n"
                               "ctx.request.path = '/c' ctx.request.query = { b = 'x y', a = 1 }\n"
                               "ctx.request.method = 'POST' ctx.request.body = 'text'\n"
                               "ctx.id = 'mine' ctx.consumer = { name = 'anna' }\n"),
                     GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-new"), "v");
    assert_string_equal(fake_header(&f, "x-key"), "secret, 2");
    assert_null(fake_header(&f, "accept"));
    assert_true(gw_str_eq(f.x.request.path, GW_STR("/c")));
    assert_true(gw_str_eq(f.x.request.query, GW_STR("a=1&b=x%20y")));
    assert_true(gw_str_eq(f.x.request.method, GW_STR("POST")));
    assert_true(gw_str_eq(f.body, GW_STR("text")));
    assert_true(gw_str_eq(f.x.id, GW_STR("mine")));
    fake_end(&w, &f);
}

static void numbers_are_sent_as_lua_writes_them(void **state)
{
    static const struct {
        const char *value, *sent;
    } rows[] = {
        {"0", "0"},        {"7", "7"},   {"99999999999999", "99999999999999"},
        {"1e14", "1e+14"}, {"-3", "-3"}, {"1.5", "1.5"},
        {"1/0", "inf"},
    };
    struct fake f;
    char text[200];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(text, sizeof(text), "ctx.request.headers['x-n'] = %s", rows[i].value);
        assert_int_equal(access_of(&f, text), GW_PHASE_NEXT);
        assert_string_equal(fake_header(&f, "x-n"), rows[i].sent);
        fake_end(&w, &f);
    }
    assert_int_equal(access_of(&f, "ctx.request.headers['content-length'] = 5"), GW_PHASE_FAILED);
    fake_end(&w, &f);
}

/* More names than the runtime keeps numbers for: those beyond work just as well. */
static void any_number_of_header_names_works(void **state)
{
    struct fake f;

    assert_int_equal(access_of(&f,
                               "local h = ctx.request.headers\n"
                               "for i = 1, 1100 do\n"
                               "  local name = 'x-many-' .. i\n"
                               "  h[name] = name\n"
                               "  if i % 50 < 4 then\n" /* lists are long by then */
                               "    h:add(name, i)\n"
                               "    assert(h[name] == name .. ', ' .. i)\n"
                               "    assert(h[name:upper()] == h[name])\n"
                               "    assert(table.concat(h:all(name), '|') == name .. '|' .. i)\n"
                               "  end\n"
                               "end\n"
                               "for i = 1, 1100, 50 do h['x-many-' .. i] = nil end\n"
                               "assert(h['x-many-1'] == nil and h['x-many-1051'] == nil)\n"
                               "assert(h['bad name'] == nil and #h:all('bad name') == 0)\n"
                               "h['bad name'] = nil"),
                     GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-many-2"), "x-many-2, 2");
    assert_string_equal(fake_header(&f, "X-Many-1100"), "x-many-1100, 1100");
    assert_null(fake_header(&f, "x-many-51"));
    fake_end(&w, &f);
    assert_int_equal(access_of(&f, "ctx.request.headers['X-Many-1099'] = 'again'"), GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-many-1099"), "again");
    fake_end(&w, &f);
}

/* Handles are pointers that point nowhere: what C would do with one must raise. */
static void handles_are_nothing_but_handles(void **state)
{
    struct fake f;

    assert_int_equal(access_of(&f,
                               "local function bad(f) assert(not pcall(f)) end\n"
                               "local h, q, r = ctx.request.headers, ctx.request.query, ctx.route\n"
                               "bad(function() return h[0] end) bad(function() return h[1] end)\n"
                               "bad(function() h[0] = 'x' end) bad(function() q[0] = 'x' end)\n"
                               "bad(function() return r[0] end) bad(function() r.name = 'x' end)\n"
                               "bad(function() return h + 1 end) bad(function() return h - q end)\n"
                               "bad(function() return #h end) bad(function() return h() end)\n"
                               "bad(function() return r.nothing end)\n"
                               "assert(h == ctx.request.headers and r.name == 'first')\n"
                               "assert(next(r.params) == nil and tostring(r) == 'route')\n"),
                     GW_PHASE_NEXT);
    fake_end(&w, &f);
}

static void bad_values_raise(void **state)
{
    static const char *const texts[] = {
        "ctx.request.headers['x'] = 'a\\r\\nb: c'",
        "ctx.request.headers['a b'] = 'x'",
        "ctx.request.headers['content-length'] = '5'",
        "ctx.request.headers.x = {}",
        "ctx.request.path = 'no'",
        "ctx.request.query = 'a b'",
        "ctx.request.method = 'A B'",
        "ctx.request.method = 'HEAD'",
        "ctx.request.nothing = 1",
        "local x = ctx.request.nothing",
        "ctx.response.status = 3",
        "local x = ctx.response.status",
        "ctx:exit(99)",
        "ctx:exit(200, 'x', { a = 'b\\n' })",
        "ctx.exit = 1",
        "return 401",
        "ctx.upstream.name = 'nothing'",
        "ctx.upstream:set_target(1)",
        "local x = gw.nothing.x",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && w.count < 8; i++) {
        struct fake f;
        if (access_of(&f, texts[i]) != GW_PHASE_FAILED)
            fail_msg("taken: %s", texts[i]);
        fake_end(&w, &f);
        world_drop(&w, --w.count);
    }
}

static void answers_end_the_chain(void **state)
{
    struct fake f;
    struct gw_str value;

    world_plugin(&w, "a",
                 "local p = { name = 'a', priority = 2 }\n"
                 "function p.access(conf, ctx) ctx:exit(403, 'no', { ['x-a'] = { 1, 2 } }) end\n"
                 "return p");
    world_plugin(&w, "b",
                 "local p = { name = 'b', priority = 1 }\n"
                 "function p.access(conf, ctx) ctx.request.headers['x-b'] = 'ran' end\n"
                 "return p");
    world_bind(&w, "b", GW_NONE, NULL);
    world_bind(&w, "a", GW_NONE, NULL);
    must_reload();
    fake_begin(&w, &f, 1);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_ANSWERED);
    assert_int_equal(f.answer.status, 403);
    assert_true(gw_str_eq(f.answer.body, GW_STR("no")));
    assert_true(gw_fields_get(&f.answer.fields, GW_STR("x-a"), &value));
    assert_true(gw_str_eq(value, GW_STR("1, 2")));
    assert_null(fake_header(&f, "x-b"));
    fake_end(&w, &f);
}

static void problems_take_more_members(void **state)
{
    struct fake f;

    assert_int_equal(access_of(&f, "ctx:problem(429, { title = 'Slow', wait = 3 })"),
                     GW_PHASE_ANSWERED);
    assert_true(gw_str_eq(f.answer.body, GW_STR("{\"status\":429,\"title\":\"Slow\",\"wait\":3}")));
    fake_end(&w, &f);
}

#define TRACE(name, priority)                                                                      \
    "local p = { name = '" name "', priority = " #priority " }\n"                                  \
    "local function note(ctx, what)\n"                                                             \
    "  ctx.trace = (ctx.trace or '') .. what .. ' '\n"                                             \
    "end\n"                                                                                        \
    "function p.rewrite(conf, ctx) note(ctx, '" name ".rewrite') end\n"                            \
    "function p.access(conf, ctx) note(ctx, '" name ".access')\n"                                  \
    "  ctx.request.headers['x-trace'] = ctx.trace end\n"                                           \
    "return p"

static void order_is_priority_then_before_then_conf(void **state)
{
    struct fake f;
    struct gw_str after[] = {GW_STR("d")};

    world_plugin(&w, "a", TRACE("a", 10));
    world_plugin(&w, "b", TRACE("b", 20));
    world_plugin(&w, "c", TRACE("c", 20));
    world_plugin(&w, "d", TRACE("d", 5));
    world_bind(&w, "a", GW_NONE, NULL)->after = after;
    w.bindings[0].after_count = 1;
    world_bind(&w, "c", GW_NONE, NULL);
    world_bind(&w, "b", 0, NULL);
    world_bind(&w, "d", 0, NULL);
    must_reload();
    const struct gw_conf *conf = gw_image_conf(&w.images[0]);
    assert_int_equal(conf->global_phases, 1 << GW_PHASE_REWRITE_GLOBAL | 1 << GW_PHASE_ACCESS);
    const struct gw_conf_route *routes = GW_ITEMS(conf, conf->routes, struct gw_conf_route);
    assert_int_equal(routes[0].phases, 1 << GW_PHASE_REWRITE | 1 << GW_PHASE_ACCESS);
    assert_int_equal(routes[1].phases, 1 << GW_PHASE_ACCESS);
    assert_int_equal(routes[1].chain, conf->global_chain);
    fake_begin(&w, &f, GW_NONE);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_REWRITE_GLOBAL), GW_PHASE_NEXT);
    f.x.route = &routes[0];
    assert_int_equal(fake_run(&w, &f, GW_PHASE_REWRITE), GW_PHASE_NEXT);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
    assert_string_equal(
        fake_header(&f, "x-trace"),
        "c.rewrite a.rewrite b.rewrite d.rewrite c.access b.access d.access a.access ");
    fake_end(&w, &f);
}

static void nearest_wins_and_disabled_removes(void **state)
{
    world_plugin(&w, "a", TRACE("a", 10));
    world_bind(&w, "a", GW_NONE, NULL);
    world_bind(&w, "a", 0, NULL);
    world_bind(&w, "a", 1, NULL)->enabled = false;
    must_reload();
    const struct gw_conf *conf = gw_image_conf(&w.images[0]);
    const struct gw_conf_route *routes = GW_ITEMS(conf, conf->routes, struct gw_conf_route);
    assert_int_equal(routes[1].chain, GW_NONE);
    assert_int_equal(routes[1].phases, 0);
    assert_int_not_equal(routes[0].chain, conf->global_chain);
}

static void when_is_asked_once(void **state)
{
    struct fake f;

    world_plugin(&w, "a", TRACE("a", 10));
    world_bind(&w, "a", 0, NULL)->when = GW_STR("ctx.request.headers['x-key'] == 'secret'");
    must_reload();
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_REWRITE), GW_PHASE_NEXT);
    gw_fields_remove(&f.x.request.fields, GW_STR("x-key"));
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-trace"), "a.rewrite a.access ");
    fake_end(&w, &f);
    fake_begin(&w, &f, 0);
    gw_fields_remove(&f.x.request.fields, GW_STR("x-key"));
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
    assert_null(fake_header(&f, "x-trace"));
    fake_end(&w, &f);
}

static void on_error_skip_goes_on(void **state)
{
    struct fake f;

    world_plugin(&w, "a",
                 "local p = { name = 'a', priority = 9 }\n"
                 "function p.access() error('broken') end return p");
    world_plugin(&w, "b", TRACE("b", 1));
    world_bind(&w, "a", GW_NONE, NULL)->on_error = GW_ON_ERROR_SKIP;
    world_bind(&w, "b", GW_NONE, NULL);
    must_reload();
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-trace"), "b.access ");
    fake_end(&w, &f);
    w.bindings[0].on_error = GW_ON_ERROR_FAIL;
    must_reload();
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_FAILED);
    assert_null(fake_header(&f, "x-trace"));
    fake_end(&w, &f);
}

static void handles_die_with_the_request(void **state)
{
    struct fake f, g;

    world_plugin(&w, "a",
                 "local p = { name = 'a' }\n"
                 "local kept\n"
                 "local function dead(f, ...)\n"
                 "  local ok, err = pcall(f, ...)\n"
                 "  assert(not ok and err:find('request is over', 1, true), tostring(err))\n"
                 "end\n"
                 "function p.access(conf, ctx)\n"
                 "  if not kept then\n"
                 "    kept = { ctx = ctx, r = ctx.request, h = ctx.request.headers,\n"
                 "      q = ctx.request.query, each = ctx.request.headers:each(),\n"
                 "      route = ctx.route, up = ctx.upstream }\n"
                 "    return\n"
                 "  end\n"
                 "  dead(function() return kept.r.path end)\n"
                 "  dead(function() kept.r.path = '/' end)\n"
                 "  dead(function() return kept.h.accept end)\n"
                 "  dead(function() kept.h.accept = 'x' end)\n"
                 "  dead(function() return kept.h:all('x') end)\n"
                 "  dead(function() return kept.q.x end)\n"
                 "  dead(function() return kept.each() end)\n"
                 "  dead(function() return kept.route.name end)\n"
                 "  dead(function() return kept.route.params end)\n"
                 "  dead(function() return kept.up.name end)\n"
                 "  dead(function() kept.h:add('x', 'y') end)\n"
                 "  dead(function() return kept.ctx.id end)\n"
                 "  dead(function() return kept.ctx.own end)\n"
                 "  dead(function() kept.ctx.own = 1 end)\n"
                 "  dead(function() return kept.ctx:exit(200) end)\n"
                 "  dead(function() return kept.ctx.route end)\n"
                 "  ctx.request.headers['x-done'] = 'yes'\n"
                 "end\n"
                 "return p");
    world_bind(&w, "a", GW_NONE, NULL);
    must_reload();
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
    fake_end(&w, &f);
    fake_begin(&w, &g, 0);
    assert_int_equal(fake_run(&w, &g, GW_PHASE_ACCESS), GW_PHASE_NEXT);
    assert_string_equal(fake_header(&g, "x-done"), "yes");
    fake_end(&w, &g);
}

static void turn_until_resumed(struct fake *f)
{
    for (int i = 0; i < 200 && f->resumes == 0; i++)
        gw_loop_turn(w.loop, 10);
}

static void body_is_waited_for(void **state)
{
    struct fake f;
    const char *text = "ctx.request.headers['x-body'] = ctx.request.body";

    assert_int_equal(access_of(&f, text), GW_PHASE_WAIT);
    f.body_fn(&f.x, f.body_arg, GW_OK, GW_STR("hello"));
    assert_int_equal(f.resumes, 1);
    assert_int_equal(f.resumed, GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-body"), "hello");
    fake_end(&w, &f);
    fake_begin(&w, &f, 0);
    f.body_at_once = true;
    f.body = GW_STR("now");
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-body"), "now");
    fake_end(&w, &f);
}

static void a_body_that_is_too_long_is_413(void **state)
{
    struct fake f;

    assert_int_equal(access_of(&f, "ctx.request.headers['x-body'] = #ctx.request.body"),
                     GW_PHASE_WAIT);
    f.body_fn(&f.x, f.body_arg, GW_LIMIT, GW_STR_NULL);
    assert_int_equal(f.resumed, GW_PHASE_ANSWERED);
    assert_int_equal(f.answer.status, 413);
    fake_end(&w, &f);
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_WAIT);
    f.body_fn(&f.x, f.body_arg, GW_TIMEOUT, GW_STR_NULL);
    assert_int_equal(f.resumed, GW_PHASE_FAILED);
    fake_end(&w, &f);
}

static void waits_work_in_coroutines_of_the_plugin(void **state)
{
    struct fake f;

    assert_int_equal(
        access_of(&f, "local out = {}\n"
                      "local outer = coroutine.wrap(function()\n"
                      "  local inner = coroutine.create(function(a)\n"
                      "    out[#out + 1] = a\n"
                      "    gw.sleep(0.001)\n"
                      "    out[#out + 1] = coroutine.yield('y')\n"
                      "    gw.sleep(0.001)\n"
                      "    return 'end'\n"
                      "  end)\n"
                      "  local ok, v = coroutine.resume(inner, 'a') assert(ok and v == 'y', v)\n"
                      "  gw.sleep(0.001)\n"
                      "  ok, v = coroutine.resume(inner, 'b') assert(ok and v == 'end', v)\n"
                      "  assert(coroutine.status(inner) == 'dead')\n"
                      "  coroutine.yield('out')\n"
                      "end)\n"
                      "assert(outer() == 'out')\n"
                      "assert(not pcall(coroutine.yield, 1))\n"
                      "assert(pcall(function() gw.sleep(0.001) end))\n"
                      "ctx.request.headers['x-out'] = table.concat(out, ',')\n"),
        GW_PHASE_WAIT);
    turn_until_resumed(&f);
    assert_int_equal(f.resumes, 1);
    assert_int_equal(f.resumed, GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-out"), "a,b");
    fake_end(&w, &f);
}

static void yields_across_c_calls_leave_nothing_behind(void **state)
{
    struct fake f;

    assert_int_equal(access_of(&f,
                               "local ok = pcall(table.sort, { 3, 2, 1 }, function(a, b)\n"
                               "  gw.sleep(0.001) return a < b end)\n"
                               "assert(not ok)\n"
                               "gw.sleep(0.002)\n"
                               "pcall(string.gsub, 'abc', '.', function() gw.sleep(0.001) end)\n"),
                     GW_PHASE_WAIT);
    turn_until_resumed(&f);
    assert_int_equal(f.resumes, 1);
    assert_int_equal(f.resumed, GW_PHASE_NEXT);
    for (int i = 0; i < 5; i++)
        gw_loop_turn(w.loop, 1);
    assert_int_equal(f.resumes, 1);
    fake_end(&w, &f);
}

static void a_dead_request_cancels_its_wait(void **state)
{
    struct fake f;
    const struct gw_hooks *hooks;

    assert_int_equal(access_of(&f, "gw.sleep(0.001) error('must not come here')"), GW_PHASE_WAIT);
    hooks = gw_script_hooks(w.script);
    hooks->cancel(hooks->self, &f.x);
    fake_end(&w, &f);
    for (int i = 0; i < 5; i++)
        gw_loop_turn(w.loop, 1);
    assert_int_equal(f.resumes, 0);
}

static void a_deadline_ends_a_wait(void **state)
{
    struct fake f;

    world_plugin(&w, "a",
                 "local p = { name = 'a', priority = 9 }\n"
                 "function p.access(conf, ctx) gw.sleep(20) end return p");
    world_plugin(&w, "b", TRACE("b", 1));
    world_bind(&w, "a", GW_NONE, NULL)->deadline_ms = 10;
    world_bind(&w, "b", GW_NONE, NULL);
    must_reload();
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_WAIT);
    turn_until_resumed(&f);
    assert_int_equal(f.resumed, GW_PHASE_FAILED);
    fake_end(&w, &f);
    w.bindings[0].on_error = GW_ON_ERROR_SKIP;
    must_reload();
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_WAIT);
    turn_until_resumed(&f);
    assert_int_equal(f.resumed, GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-trace"), "b.access ");
    fake_end(&w, &f);
}

static void filters_may_not_wait(void **state)
{
    struct fake f;

    world_plugin(&w, "a",
                 "local p = { name = 'a' }\n"
                 "function p.header_filter(conf, ctx)\n"
                 "  local ok, err = pcall(gw.sleep, 1)\n"
                 "  assert(not ok and err:find('sleep: not in header_filter (only in: rewrite, "
                 "access, balancer, log', 1, true), err)\n"
                 "  ok, err = pcall(function() ctx.request.path = '/' end)\n"
                 "  assert(not ok and err:find('not in header_filter', 1, true), err)\n"
                 "  ctx.response.status = 201\n"
                 "  ctx.response.headers.server = nil\n"
                 "  ctx.response.headers['x-r'] = 'r'\n"
                 "end\nreturn p");
    world_bind(&w, "a", GW_NONE, NULL);
    must_reload();
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_HEADER_FILTER), GW_PHASE_NEXT);
    assert_int_equal(f.x.response.status, 201);
    assert_null(gw_fields_find(&f.x.response.fields, GW_STR("server")));
    assert_non_null(gw_fields_find(&f.x.response.fields, GW_STR("x-r")));
    fake_end(&w, &f);
}

static void expect_piece(struct fake *f, struct gw_str in, bool last, const char *wanted)
{
    const struct gw_hooks *hooks = gw_script_hooks(w.script);
    struct gw_buf out = GW_BUF_INIT;
    bool changed;

    assert_int_equal(hooks->body_filter(hooks->self, &f->x, in, last, &out, &changed),
                     GW_PHASE_NEXT);
    assert_int_equal(changed, wanted != NULL);
    if (wanted != NULL)
        assert_true(gw_str_eq(gw_buf_str(&out), gw_str_c(wanted)));
    gw_buf_fini(&out);
}

static enum gw_body_wish begin_body(struct fake *f)
{
    const struct gw_hooks *hooks = gw_script_hooks(w.script);

    return hooks->body_begin(hooks->self, &f->x);
}

static enum gw_phase_rc whole_body(struct fake *f, struct gw_str body)
{
    const struct gw_hooks *hooks = gw_script_hooks(w.script);

    f->resumes = 0;
    return hooks->body_whole(hooks->self, &f->x, body);
}

static void body_pieces_are_filtered(void **state)
{
    struct fake f;

    world_plugin(&w, "a",
                 "local p = { name = 'a', priority = 2 }\n"
                 "function p.body_filter(conf, ctx, chunk, last)\n"
                 "  if chunk == 'drop' then return '' end\n"
                 "  if chunk == 'up' then return 'UP' end\n"
                 "end return p");
    world_plugin(&w, "b",
                 "local p = { name = 'b', priority = 1, body = 'buffered' }\n"
                 "function p.body_filter(conf, ctx, whole, last)\n"
                 "  assert(last) return '[' .. whole .. ']'\n"
                 "end return p");
    world_bind(&w, "a", GW_NONE, NULL);
    world_bind(&w, "b", 1, NULL);
    must_reload();
    fake_begin(&w, &f, 0);
    assert_int_equal(begin_body(&f), GW_BODY_PIECES);
    expect_piece(&f, GW_STR("same"), false, NULL);
    expect_piece(&f, GW_STR("up"), false, "UP");
    expect_piece(&f, GW_STR("drop"), false, "");
    expect_piece(&f, GW_STR_NULL, true, NULL);
    fake_end(&w, &f);
    fake_begin(&w, &f, 1);
    /* What runs before the first that wants it whole gets the pieces, the others what they became.
     */
    assert_int_equal(begin_body(&f), GW_BODY_WHOLE);
    expect_piece(&f, GW_STR("up"), false, "UP");
    expect_piece(&f, GW_STR("x"), true, NULL);
    assert_int_equal(whole_body(&f, GW_STR("UPx")), GW_PHASE_NEXT);
    assert_true(gw_str_eq(f.response_body, GW_STR("[UPx]")));
    fake_end(&w, &f);
}

static void a_whole_body_may_be_waited_with(void **state)
{
    struct fake f;

    world_plugin(&w, "a",
                 "local p = { name = 'a', priority = 3, body = 'buffered' }\n"
                 "function p.body_filter(conf, ctx, whole, last)\n"
                 "  assert(last and ctx.response.body == whole) gw.sleep(0.001)\n"
                 "  ctx.response.headers['x-len'] = #whole\n"
                 "  ctx.response.body = whole .. '.a'\n"
                 "end return p");
    world_plugin(&w, "b",
                 "local p = { name = 'b', priority = 2 }\n"
                 "function p.body_filter(conf, ctx, chunk, last)\n"
                 "  local ok, err = pcall(gw.sleep, 1)\n"
                 "  assert(not ok and err:find('sleep: not in body_filter', 1, true), err)\n"
                 "  assert(not pcall(function() return ctx.response.body end))\n"
                 "  return chunk .. '.b' .. tostring(last)\n"
                 "end return p");
    world_plugin(&w, "c",
                 "local p = { name = 'c', priority = 1, body = 'buffered' }\n"
                 "function p.body_filter(conf, ctx, whole)\n"
                 "  if ctx.request.path == '/slow' then gw.sleep(60) end\n"
                 "  return whole .. '.c'\n"
                 "end return p");
    world_bind(&w, "a", GW_NONE, NULL);
    world_bind(&w, "b", GW_NONE, NULL);
    world_bind(&w, "c", GW_NONE, NULL);
    w.bindings[2].deadline_ms = 5;
    w.bindings[2].on_error = GW_ON_ERROR_SKIP;
    must_reload();
    fake_begin(&w, &f, 0);
    assert_int_equal(begin_body(&f), GW_BODY_WHOLE);
    expect_piece(&f, GW_STR("x"), true, NULL);
    assert_int_equal(whole_body(&f, GW_STR("x")), GW_PHASE_WAIT);
    turn_until_resumed(&f);
    assert_int_equal(f.resumed, GW_PHASE_NEXT);
    assert_true(gw_str_eq(f.response_body, GW_STR("x.a.btrue.c")));
    assert_non_null(gw_fields_find(&f.x.response.fields, GW_STR("x-len")));
    fake_end(&w, &f);
    /* The deadline of the last is over: what the others made of it stays. */
    fake_begin(&w, &f, 0);
    f.x.request.path = GW_STR("/slow");
    assert_int_equal(begin_body(&f), GW_BODY_WHOLE);
    assert_int_equal(whole_body(&f, GW_STR("y")), GW_PHASE_WAIT);
    turn_until_resumed(&f);
    assert_int_equal(f.resumed, GW_PHASE_NEXT);
    assert_true(gw_str_eq(f.response_body, GW_STR("y.a.btrue")));
    fake_end(&w, &f);
    /* Who waits is cancelled with its exchange. */
    fake_begin(&w, &f, 0);
    assert_int_equal(begin_body(&f), GW_BODY_WHOLE);
    assert_int_equal(whole_body(&f, GW_STR("z")), GW_PHASE_WAIT);
    gw_script_hooks(w.script)->cancel(gw_script_hooks(w.script)->self, &f.x);
    fake_end(&w, &f);
}

static void bodies_that_nobody_wants_are_left_alone(void **state)
{
    struct fake f;

    world_plugin(&w, "a",
                 "local p = { name = 'a', body = 'buffered' }\n"
                 "function p.body_filter() end return p");
    world_bind(&w, "a", GW_NONE, NULL);
    w.bindings[0].when = GW_STR("ctx.response.status == 404");
    must_reload();
    fake_begin(&w, &f, 0);
    f.x.response.status = 200;
    assert_int_equal(begin_body(&f), GW_BODY_AS_IT_IS);
    fake_end(&w, &f);
    fake_begin(&w, &f, 0);
    f.x.response.status = 404;
    assert_int_equal(begin_body(&f), GW_BODY_WHOLE);
    fake_end(&w, &f);
}

static void log_waits_without_the_connection(void **state)
{
    struct fake f;

    world_plugin(&w, "a",
                 "local p = { name = 'a' }\n"
                 "function p.log(conf, ctx) gw.sleep(0.001)\n"
                 "  assert(ctx.response.status == 200) end return p");
    world_bind(&w, "a", GW_NONE, NULL);
    must_reload();
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_LOG), GW_PHASE_NEXT);
    assert_int_equal(f.detached, 1);
    for (int i = 0; i < 100 && f.released == 0; i++)
        gw_loop_turn(w.loop, 5);
    assert_int_equal(f.released, 1);
    fake_end(&w, &f);
}

static void reroutes_are_counted(void **state)
{
    struct fake f;

    world_plugin(&w, "a",
                 "local p = { name = 'a' }\n"
                 "function p.rewrite(conf, ctx) return ctx:reroute() end return p");
    world_bind(&w, "a", 0, NULL);
    must_reload();
    fake_begin(&w, &f, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fake_run(&w, &f, GW_PHASE_REWRITE), GW_PHASE_REROUTE);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_REWRITE), GW_PHASE_FAILED);
    fake_end(&w, &f);
}

static void long_chains_run_in_parts(void **state)
{
    struct fake f;
    char name[8], text[400];

    world_plugin(&w, "z", TRACE("z", 0));
    for (int i = 0; i < 15; i++) {
        snprintf(name, sizeof(name), "p%02d", i);
        snprintf(text, sizeof(text),
                 "local p = { name = '%s', priority = %d }\n"
                 "function p.access(conf, ctx) ctx.n = (ctx.n or 0) + 1\n"
                 "  ctx.request.headers['x-n'] = ctx.n end return p",
                 name, i);
        world_plugin(&w, name, text);
        struct gw_binding *b = world_bind(&w, "z", GW_NONE, NULL);
        b->plugin = b->id = gw_arena_dup(&w.arena, gw_str_c(name));
    }
    must_reload();
    fake_begin(&w, &f, 0);
    assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
    assert_string_equal(fake_header(&f, "x-n"), "15");
    fake_end(&w, &f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(request_is_read),
        CASE(request_is_changed),
        CASE(bad_values_raise),
        CASE(numbers_are_sent_as_lua_writes_them),
        CASE(any_number_of_header_names_works),
        CASE(handles_are_nothing_but_handles),
        CASE(answers_end_the_chain),
        CASE(problems_take_more_members),
        CASE(order_is_priority_then_before_then_conf),
        CASE(nearest_wins_and_disabled_removes),
        CASE(when_is_asked_once),
        CASE(on_error_skip_goes_on),
        CASE(handles_die_with_the_request),
        CASE(body_is_waited_for),
        CASE(a_body_that_is_too_long_is_413),
        CASE(waits_work_in_coroutines_of_the_plugin),
        CASE(yields_across_c_calls_leave_nothing_behind),
        CASE(a_dead_request_cancels_its_wait),
        CASE(a_deadline_ends_a_wait),
        CASE(filters_may_not_wait),
        CASE(body_pieces_are_filtered),
        CASE(a_whole_body_may_be_waited_with),
        CASE(bodies_that_nobody_wants_are_left_alone),
        CASE(log_waits_without_the_connection),
        CASE(reroutes_are_counted),
        CASE(long_chains_run_in_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
