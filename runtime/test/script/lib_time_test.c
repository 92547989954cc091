/* gw.time, gw.sleep, gw.timer */
#include "test/script/lib_test.h"

static struct lab lab;

static void clocks_agree_with_the_loop(void **state)
{
    lab_run(&lab, "local t = gw.time\n"
                  "local now = t.now()\n"
                  "assert(math.abs(now * 1000 - t.real()) < 2000)\n"
                  "assert(t.real() % 1 == 0)\n"
                  "local a = t.monotonic(); gw.sleep(0.01); local b = t.monotonic()\n"
                  "assert(b - a >= 0.009 and b - a < 2)\n");
    gw_loop_advance(lab.loop, 3600000);
    lab_run(&lab, "assert(gw.time.now() * 1000 - gw.time.real() > 3590000)");
}

static void texts_of_time_go_both_ways(void **state)
{
    lab_run(
        &lab,
        "local t = gw.time\n"
        "equal('Sun, 06 Nov 1994 08:49:37 GMT', t.http(784111777))\n"
        "equal('Sun, 06 Nov 1994 08:49:37 GMT', t.http(784111777.9))\n"
        "equal(784111777, t.parse_http('Sunday, 06-Nov-94 08:49:37 GMT'))\n"
        "fails('invalid', t.parse_http('yesterday'))\n"
        "equal('1994-11-06T08:49:37.250Z', t.rfc3339(784111777.25))\n"
        "equal(784111777, t.parse_rfc3339('1994-11-06T08:49:37Z'))\n"
        "equal(784111777.5, t.parse_rfc3339('1994-11-06t08:49:37.5z'))\n"
        "equal(784111777, t.parse_rfc3339('1994-11-06T10:49:37+02:00'))\n"
        "equal(784111777, t.parse_rfc3339('1994-11-06T03:19:37-05:30'))\n"
        "equal(951782400, t.parse_rfc3339('2000-02-29T00:00:00Z'))\n"
        "equal(1483228800, t.parse_rfc3339('2016-12-31T23:59:60Z'))\n"
        "for _, bad in ipairs { '', '1994-11-06', '1994-11-06 08:49:37Z', '1994-11-06T08:49:37',\n"
        "    '1994-13-06T08:49:37Z', '1994-11-31T08:49:37Z', '1900-02-29T08:49:37Z', "
        "'1994-11-06T24:49:37Z',\n"
        "    '1994-11-06T08:60:37Z', '1994-11-06T08:49:37.Z', '1994-11-06T08:49:37+2:00', "
        "'1994-11-06T08:49:37Zx',\n"
        "    '94-11-06T08:49:37Z', '1994-11-06T08:49:37+24:00', '1994-00-06T08:49:37Z' } do\n"
        "  fails('invalid', t.parse_rfc3339(bad))\n"
        "end\n"
        "raises('1970', t.http, -1); raises('1970', t.rfc3339, 1e15); raises('1970', t.http, 0/0)\n"
        "raises('number expected', t.http, 'x'); raises('string expected', t.parse_http)\n"
        "raises('read-only', function() t.now = nil end)\n");
}

static void sleep_waits_and_gives_way(void **state)
{
    lab_run(&lab, "local before = gw.time.monotonic()\n"
                  "equal(0, select('#', gw.sleep(0.03)))\n"
                  "assert(gw.time.monotonic() - before >= 0.029)\n"
                  "gw.sleep(0)\n"
                  "local co = coroutine.wrap(function() return 1 end)\n"
                  "equal(1, co())\n"
                  "raises('seconds', gw.sleep, -1); raises('seconds', gw.sleep, 86401); "
                  "raises('seconds', gw.sleep, 0/0)\n"
                  "raises('number expected', gw.sleep, 'x')\n");
}

static void sleep_moves_with_the_specs_clock(void **state)
{
    lab_start(&lab, "gw.sleep(3600)");
    gw_loop_turn(lab.loop, 0);
    assert_false(lab.over);
    gw_loop_advance(lab.loop, 3599000);
    gw_loop_turn(lab.loop, 0);
    assert_false(lab.over);
    gw_loop_advance(lab.loop, 1000);
    gw_loop_turn(lab.loop, 5);
    assert_true(lab.over);
    assert_int_equal(lab.rc, GW_TASK_DONE);
}

static void a_cancelled_sleep_leaves_nothing(void **state)
{
    lab_start(&lab, "gw.sleep(0.01) after = true");
    gw_task_cancel_all(lab.vm);
    lab_run(&lab, "gw.sleep(0.03) equal(nil, after)");
}

static void after_runs_once_with_its_values(void **state)
{
    lab_run(&lab,
            "local got, n\n"
            "local h = assert(gw.timer.after(0.01, function(...) got = { ... } n = select('#', "
            "...) gw.sleep(0.01) got.done = true end, 1, nil, 'x', nil))\n"
            "gw.sleep(0.005) equal(nil, got)\n"
            "gw.sleep(0.05) equal(4, n) equal(1, got[1]) equal('x', got[3]) equal(true, got.done)\n"
            "equal(false, h:cancel())\n");
}

static void cancelled_timers_do_not_run(void **state)
{
    lab_run(&lab, "local ran = 0\n"
                  "local a = gw.timer.after(0.01, function() ran = ran + 1 end)\n"
                  "local b = gw.timer.every(0.01, function() ran = ran + 1 end)\n"
                  "equal(true, a:cancel()) equal(true, b:cancel()) equal(false, a:cancel())\n"
                  "gw.sleep(0.05) equal(0, ran)\n"
                  "raises('', a.cancel) raises('', a.cancel, {})\n");
}

static void every_runs_until_it_is_cancelled(void **state)
{
    lab_run(&lab,
            "local ran = 0\n"
            "local h\n"
            "h = gw.timer.every(0.005, function() ran = ran + 1 if ran == 3 then "
            "assert(h:cancel()) end end)\n"
            "gw.sleep(0.1) equal(3, ran)\n"
            "local runs, inside, most = 0, 0, 0\n"
            "h = gw.timer.every(0.005, function()\n"
            "  runs = runs + 1 inside = inside + 1 most = math.max(most, inside)\n"
            "  gw.sleep(0.02) inside = inside - 1\n"
            "end)\n"
            "gw.sleep(0.1) h:cancel() equal(1, most) assert(runs >= 2 and runs <= 6, runs)\n");
}

static void an_error_ends_only_its_run(void **state)
{
    gw_log_set_level(GW_LOG_ERROR + 1);
    lab_run(
        &lab,
        "local ran = 0\n"
        "local h = gw.timer.every(0.005, function() ran = ran + 1 error('x') end)\n"
        "local g = gw.timer.every(0.005, function() ran = ran + 1 gw.sleep(0.001) error('x') end)\n"
        "gw.sleep(0.08) h:cancel() g:cancel() assert(ran > 3, ran)\n");
    gw_log_set_level(GW_LOG_INFO);
}

static void jitter_only_adds(void **state)
{
    lab_run(&lab,
            "local times = {}\n"
            "local begin = gw.time.monotonic()\n"
            "for i = 1, 50 do gw.timer.after({ seconds = 0.02, jitter = 1 }, function() "
            "times[#times + 1] = gw.time.monotonic() - begin end) end\n"
            "gw.sleep(0.2) equal(50, #times)\n"
            "local first, last = 1, 0\n"
            "for _, t in ipairs(times) do first = math.min(first, t) last = math.max(last, t) end\n"
            "assert(first >= 0.019, first) assert(last - first > 0.004, last - first)\n");
}

static void timers_are_bounded_in_number(void **state)
{
    lab_run(&lab, "local handles = {}\n"
                  "for i = 1, 1024 do handles[i] = assert(gw.timer.after(1000, print)) end\n"
                  "fails('limit', gw.timer.after(1000, print))\n"
                  "handles[7]:cancel()\n"
                  "local again = assert(gw.timer.after(1000, print))\n"
                  "equal(false, handles[7]:cancel()) -- its number is not that of the new one\n"
                  "again:cancel()\n"
                  "for _, h in ipairs(handles) do h:cancel() end\n"
                  "assert(gw.timer.after(1000, print):cancel())\n");
}

static void wrong_arguments_raise(void **state)
{
    lab_run(&lab,
            "local t = gw.timer\n"
            "raises('number expected', t.after) raises('function expected', t.after, 1)\n"
            "raises('seconds', t.after, -1, print) raises('seconds', t.after, 2592001, print)\n"
            "raises('0.001', t.every, 0, print) raises('jitter', t.every, { seconds = 1, jitter = "
            "2 }, print)\n"
            "raises('seconds', t.every, {}, print) raises('seconds', t.after, 0/0, print)\n"
            "local many = {} for i = 1, 33 do many[i] = i end\n"
            "raises('32 values', t.after, 1, print, unpack(many))\n");
}

/* Timers that wait and timers that run when the VM ends: the sanitizer looks for leaks. */
static void timers_end_with_the_vm(void **state)
{
    struct lab other;

    lab_open(&other, NULL, 0);
    lab_run(&other, "for i = 1, 10 do gw.timer.after(1000, print) gw.timer.every(1, print) end\n"
                    "gw.timer.after(0, function() gw.sleep(1000) end)\n"
                    "gw.timer.every(0.001, function() gw.sleep(1000) end)\n"
                    "gw.sleep(0.02)\n");
    lab_close(&other);
}

static int set_up(void **state)
{
    lab_open(&lab, NULL, 0);
    return 0;
}

static int tear_down(void **state)
{
    lab_close(&lab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_agree_with_the_loop),
        cmocka_unit_test(texts_of_time_go_both_ways),
        cmocka_unit_test(sleep_waits_and_gives_way),
        cmocka_unit_test(sleep_moves_with_the_specs_clock),
        cmocka_unit_test(a_cancelled_sleep_leaves_nothing),
        cmocka_unit_test(after_runs_once_with_its_values),
        cmocka_unit_test(cancelled_timers_do_not_run),
        cmocka_unit_test(every_runs_until_it_is_cancelled),
        cmocka_unit_test(an_error_ends_only_its_run),
        cmocka_unit_test(jitter_only_adds),
        cmocka_unit_test(timers_are_bounded_in_number),
        cmocka_unit_test(wrong_arguments_raise),
        cmocka_unit_test(timers_end_with_the_vm),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
