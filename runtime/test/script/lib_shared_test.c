/* gw.shared and gw.metrics, over real zones */
#include "test/script/lib_test.h"

#include "script/lib_rows.h"
#include "shm/shared.h"

static struct lab lab;
static struct gw_shared_set *set;

static const struct gw_shared_row rows[] = {
    {{"small", 5}, 1 << 20, false},
    {{"nonces", 6}, 128 << 10, true},
    {{"leaves", 6}, 128 << 10, false},
};

static void values_keep_their_type(void **state)
{
    lab_run(&lab,
            "local d = gw.shared.small\n"
            "assert(rawequal(d, gw.shared.small))\n"
            "equal(nil, d:get 'absent') equal(1, select('#', d:get 'absent'))\n"
            "equal(true, d:set('s', 'text')) equal('text', d:get 's')\n"
            "equal(true, d:set('n', -1.5)) equal(-1.5, d:get 'n')\n"
            "equal(true, d:set('t', true)) equal(true, d:get 't') equal(true, d:set('f', false)) "
            "equal(false, d:get 'f')\n"
            "equal(true, d:set('e', '')) equal('', d:get 'e') equal(true, d:set('z', 'a\\0b')) "
            "equal('a\\0b', d:get 'z')\n"
            "for _, n in ipairs { 4095, 4096, 4097, 60000 } do\n"
            "  equal(true, d:set('long', ('x'):rep(n))) equal(n, #d:get 'long') equal('text', "
            "d:get 's')\n"
            "end\n"
            "equal(true, d:set('s', nil)) equal(nil, d:get 's') equal(true, d:set('s', nil))\n"
            "equal(true, d:delete 'n') equal(false, d:delete 'n')\n"
            "equal(true, d:flush()) equal(nil, d:get 't')\n");
}

static void add_replace_and_incr_say_why_not(void **state)
{
    lab_run(
        &lab,
        "local d = gw.shared.small\n"
        "equal(true, d:add('a', 1)) local v, err, code = d:add('a', 2) equal(nil, v) "
        "equal('exists', err) equal('exists', code) equal(1, d:get 'a')\n"
        "fails('not_found', d:replace('b', 1)) equal(true, d:replace('a', 3)) equal(3, d:get 'a')\n"
        "equal(4, d:incr 'a') equal(2, d:incr('a', -2)) fails('not_found', d:incr 'c') equal(11, "
        "d:incr('c', 1, 10))\n"
        "d:set('s', 'x') fails('wrong_type', d:incr 's') d:flush()\n");
}

static void times_to_live_are_in_seconds(void **state)
{
    lab_run(&lab, "local d = gw.shared.small\n"
                  "d:set('k', 1, 10) d:set('ever', 1) equal(0, d:ttl 'ever') local t = d:ttl 'k' "
                  "assert(t > 9 and t <= 10, t)\n"
                  "equal(true, d:expire('ever', 20)) assert(d:ttl 'ever' > 19) fails('not_found', "
                  "d:ttl 'absent') fails('not_found', d:expire('absent', 1))\n"
                  "equal(1, d:incr('i', 1, 0, 5)) assert(d:ttl 'i' <= 5)\n");
    gw_loop_advance(lab.loop, 11000);
    lab_run(&lab, "local d = gw.shared.small\n"
                  "equal(nil, d:get 'k') equal(1, d:get 'ever') equal(nil, d:get 'i') d:flush()\n");
}

static void lists_work_from_both_ends(void **state)
{
    lab_run(&lab, "local d = gw.shared.small\n"
                  "equal(1, d:rpush('l', 'a')) equal(2, d:rpush('l', 2)) equal(3, d:lpush('l', "
                  "true)) equal(3, d:llen 'l')\n"
                  "equal(true, d:lpop 'l') equal(2, d:rpop 'l') equal('a', d:lpop 'l') equal(nil, "
                  "d:lpop 'l') equal(0, d:llen 'l')\n"
                  "d:rpush('l', ('y'):rep(10000)) equal(10000, #d:rpop 'l') equal(0, d:llen 'l')\n"
                  "d:set('s', 1) fails('wrong_type', d:rpush('s', 1)) d:rpush('l', 1) "
                  "fails('wrong_type', d:get 'l') d:flush()\n");
}

static void keys_lists_what_lives(void **state)
{
    lab_run(&lab, "local d = gw.shared.small\n"
                  "equal(0, #d:keys()) for i = 1, 20 do d:set('key' .. i, i) end\n"
                  "local seen = {} for _, k in ipairs(d:keys()) do seen[k] = true end\n"
                  "for i = 1, 20 do equal(true, seen['key' .. i]) end equal(5, #d:keys(5)) "
                  "equal(20, #d:keys(0)) d:flush()\n"
                  "raises('whole number', d.keys, d, -1) raises('whole number', d.keys, d, 1.5)\n");
}

static void take_and_hit_limit(void **state)
{
    lab_run(&lab,
            "local d = gw.shared.small\n"
            "for i = 1, 3 do local ok, left = d:take('b', 1, 3) equal(true, ok) equal(3 - i, "
            "math.floor(left + 0.01)) end\n"
            "local ok, left, wait = d:take('b', 1, 3) equal(false, ok) assert(wait > 0.5 and wait "
            "<= 1, wait)\n"
            "equal(false, (d:take('c', 1, 3, 4))) equal(true, (d:take('c', 1, 3, 3)))\n"
            "for i = 1, 2 do local ok, n = d:hit('w', 2, 10) equal(true, ok) equal(i, n) end\n"
            "local ok, n, reset = d:hit('w', 2, 10) equal(false, ok) equal(2, n) assert(reset > 9 "
            "and reset <= 10, reset)\n");
    gw_loop_advance(lab.loop, 10001);
    lab_run(&lab,
            "local d = gw.shared.small\n"
            "equal(true, (d:hit('w', 2, 10))) equal(true, (d:take('b', 1, 3, 3))) d:flush()\n");
}

static void full_means_full_where_nothing_may_go(void **state)
{
    lab_run(&lab, "local d = gw.shared.nonces\n"
                  "local n = 0\n"
                  "while true do\n"
                  "  local ok, err, code = d:add('nonce' .. n, ('x'):rep(100))\n"
                  "  if not ok then equal('full', err) equal('full', code) break end\n"
                  "  n = n + 1 assert(n < 5000)\n"
                  "end\n"
                  "for i = 0, n - 1 do assert(d:get('nonce' .. i), i) end\n"
                  "fails('limit', d:set('k', ('x'):rep(1000000))) d:flush()\n");
}

static void wrong_arguments_raise_in_the_callers_line(void **state)
{
    lab_run(&lab, "local d = gw.shared.small\n"
                  "raises(\"no shared dictionary 'x': add it under shared: in the conf\", "
                  "function() return gw.shared.x end)\n"
                  "raises('read-only', function() gw.shared.x = 1 end) raises('', function() d.get "
                  "= 1 end) raises('', function() d.gw_box_ = nil end)\n"
                  "for _, f in ipairs { 'get', 'set', 'add', 'replace', 'incr', 'delete', "
                  "'expire', 'ttl', 'lpush', 'rpush', 'lpop', 'rpop', 'llen', 'take', 'hit' } do\n"
                  "  local ok, err = pcall(function()\n d[f](d, nil, 1, 1)\n end)\n"
                  "  equal(false, ok, f) equal('piece:6:', err:match('^piece:%d+:'), f) "
                  "assert(err:find('string expected', 1, true), err)\n"
                  "  assert(err:find(\"'\" .. f .. \"'\", 1, true), err)\n"
                  "end\n"
                  "raises('string, number or boolean', d.set, d, 'k', {}) raises('string, number "
                  "or boolean', d.rpush, d, 'k', nil)\n"
                  "raises('seconds from 0', d.set, d, 'k', 1, -1) raises('seconds from 0', d.set, "
                  "d, 'k', 1, 0/0) raises('seconds from 0', d.expire, d, 'k', 'x')\n"
                  "raises('finite', d.incr, d, 'k', 1/0) raises('finite', d.incr, d, 'k', 1, 'x') "
                  "raises('seconds', d.incr, d, 'k', 1, 1, -1)\n"
                  "raises('#2', d.take, d, 'k', -1, 1) raises('#3', d.take, d, 'k', 1, 0) "
                  "raises('#4', d.take, d, 'k', 1, 1, -1)\n"
                  "raises('#2', d.hit, d, 'k', 1.5, 1) raises('#3', d.hit, d, 'k', 1, 0) "
                  "raises('#2', d.hit, d, 'k', 2 ^ 25, 1)\n"
                  "fails('invalid', d:set('', 1)) fails('limit', d:set(('k'):rep(5000), 1)) "
                  "raises('', d.get, {}, 'k')\n");
}

/* The dictionary leaves the conf, its memory goes, and it comes back. */
static void a_dictionary_that_leaves_is_closed_not_a_crash(void **state)
{
    struct gw_err err;

    lab_run(&lab, "d = gw.shared.leaves equal(true, d:set('k', 1)) equal(1, d:get 'k')");
    assert_int_equal(gw_shared_set_update(set, rows, 2, &err), GW_OK);
    gw_lib_shared_sweep(lab.vm);
    gw_shared_set_sweep(set);
    lab_run(&lab, "fails('closed', d:get 'k') fails('closed', d:set('k', 1)) fails('closed', "
                  "d:incr 'k') fails('closed', d:take('k', 1, 1))\n"
                  "fails('closed', d:hit('k', 1, 1)) fails('closed', d:keys()) fails('closed', "
                  "d:flush()) fails('closed', d:ttl 'k')\n");
    assert_int_equal(gw_shared_set_update(set, rows, 3, &err), GW_OK);
    lab_run(&lab,
            "equal(nil, d:get 'k') equal(true, d:set('k', 2)) equal(2, gw.shared.leaves:get 'k')");
}

static void metrics_count_and_render(void **state)
{
    lab_run(
        &lab,
        "local m = gw.metrics\n"
        "local c = assert(m.counter('lib_requests_total', 'Requests.', { 'method', 'status' }))\n"
        "for i = 1, 3 do c:inc(1, 'GET', 200) end c:inc(nil, 'POST', '200') c:inc(2.5, 'POST', "
        "200) c:inc(0, 'PUT', true)\n"
        "local g = assert(m.gauge('lib_temp', 'Temp.')) g:set(20) g:inc(-1.5) "
        "assert(m.gauge('lib_parts', 'Sum.', nil, { sum = true })):set(4)\n"
        "local h = assert(m.histogram('lib_seconds', 'Took.', { 'route' }, { 0.1, 1 })) "
        "h:observe(0.05, 'r') h:observe(0.5, 'r') h:observe(5, 'r')\n"
        "assert(m.counter('lib_four', 'Four.', { 'a', 'b', 'c', 'd' })):inc(2, 'w', 'x', 'y', "
        "'z')\n"
        "local f = assert(m.counter('lib_four', 'Four.', { 'a', 'b', 'c', 'd' })) for i = 1, 3 do "
        "f:inc(1, 'w', 'x', 'y', 'z') end\n"
        "local text = m.render()\n"
        "for _, line in ipairs { 'lib_requests_total{method=\"GET\",status=\"200\"} 3', "
        "'lib_requests_total{method=\"POST\",status=\"200\"} 3.5',\n"
        "    'lib_requests_total{method=\"PUT\",status=\"true\"} 0', 'lib_temp 18.5', 'lib_parts "
        "4', 'lib_seconds_bucket{route=\"r\",le=\"0.1\"} 1',\n"
        "    'lib_seconds_bucket{route=\"r\",le=\"+Inf\"} 3', 'lib_seconds_count{route=\"r\"} 3', "
        "'lib_four{a=\"w\",b=\"x\",c=\"y\",d=\"z\"} 5',\n"
        "    '# TYPE lib_requests_total counter', '# HELP lib_temp Temp.' } do\n"
        "  if not text:find(line, 1, true) then error('not there: ' .. line .. '\\n' .. text) end\n"
        "end\n");
}

static void metrics_refuse_what_makes_no_sense(void **state)
{
    lab_run(&lab,
            "local m = gw.metrics\n"
            "local c = assert(m.counter('lib_c_total', 'C.', { 'a' })) "
            "assert(m.counter('lib_c_total', 'C.', { 'a' }))\n"
            "raises('only grows', c.inc, c, -1, 'x') raises('number expected', c.inc, c, 'x', 'y') "
            "raises('NaN', c.inc, c, 0/0, 'x')\n"
            "raises('1 label values expected, got 0', c.inc, c) raises('1 label values expected, "
            "got 2', c.inc, c, 1, 'x', 'y') raises('label a', c.inc, c, 1, {})\n"
            "c:inc(1, 'x') raises('1 label values expected, got 2', c.inc, c, 1, 'x', 'y') "
            "raises('got nil', c.inc, c, 1, nil)\n"
            "raises('', m.counter, '9x', 'h') raises('', m.counter, 'lib_x', 'h', { '9' }) "
            "raises('', m.histogram, 'lib_y', 'h', nil, { 2, 1 })\n"
            "raises('name', m.counter) raises('help', m.counter, 'lib_z') raises('labels', "
            "m.counter, 'lib_z', 'h', 1) raises('buckets', m.histogram, 'lib_z', 'h', nil, 1)\n"
            "raises('options', m.gauge, 'lib_z', 'h', nil, 1) fails('exists', "
            "m.gauge('lib_c_total', 'G.', { 'a' })) equal(nil, c.set) equal(nil, c.observe)\n"
            "local ok, err = pcall(function()\n c:inc(1, {})\n end) equal('piece:10:', "
            "err:match('^piece:%d+:'))\n"
            "for i = 1, 6000 do c:inc(1, 'value' .. i) end\n"
            "local text = m.render() assert(text:find('lib_c_total{a=\"other\"} 5', 1, true), "
            "'other')\n"
            "for i = 1, 10 do c:inc(1, 'value1') end "
            "assert(m.render():find('lib_c_total{a=\"value1\"} 11', 1, true))\n");
}

static void without_shared_memory_use_fails_and_naming_does_not(void **state)
{
    struct lab bare;

    lab_open(&bare, NULL, 0);
    lab_run(&bare,
            "local d = gw.shared.anything fails('closed', d:get 'k') fails('closed', d:keys())\n"
            "fails('unsupported', gw.metrics.counter('a', 'b')) fails('unsupported', "
            "gw.metrics.render())\n");
    lab_close(&bare);
}

static int set_up(void **state)
{
    struct gw_err err;

    if (gw_shared_set_new(rows, 3, 2, &set, &err) != GW_OK)
        fail_msg("%s", err.text);
    lab_open(&lab, set, 0);
    return 0;
}

static int tear_down(void **state)
{
    lab_close(&lab);
    gw_shared_set_free(set);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_keep_their_type),
        cmocka_unit_test(add_replace_and_incr_say_why_not),
        cmocka_unit_test(times_to_live_are_in_seconds),
        cmocka_unit_test(lists_work_from_both_ends),
        cmocka_unit_test(keys_lists_what_lives),
        cmocka_unit_test(take_and_hit_limit),
        cmocka_unit_test(full_means_full_where_nothing_may_go),
        cmocka_unit_test(wrong_arguments_raise_in_the_callers_line),
        cmocka_unit_test(a_dictionary_that_leaves_is_closed_not_a_crash),
        cmocka_unit_test(metrics_count_and_render),
        cmocka_unit_test(metrics_refuse_what_makes_no_sense),
        cmocka_unit_test(without_shared_memory_use_fails_and_naming_does_not),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
