/* Runs pieces of Lua in a VM as a spec would: with the library as plugins see it (read-only),
 * as a task that may wait, driven by a real loop. An error in the piece fails the test. */
#ifndef GW_TEST_SCRIPT_LIB_TEST_H
#define GW_TEST_SCRIPT_LIB_TEST_H

/* cmocka.h wants these in front of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "test/script/fake.h"

#include <lauxlib.h>

#include "base/time.h"
#include "script/lib.h"

struct lab {
    struct gw_loop *loop;
    struct gw_vm *vm;
    bool over;
    enum gw_task_rc rc;
};

static inline void lab_over(struct gw_task *task, enum gw_task_rc rc, void *arg)
{
    struct lab *lab = arg;

    lab->over = true;
    lab->rc = rc;
    gw_task_end(task);
}

/* Helpers of the pieces: raises(f, "part of the message") and fails(code, nil, text, code). */
static const char lab_prelude[] =
    "gw = require('gateway.sandbox').gw\n"
    "function equal(a, b, what)\n"
    "  if a ~= b then error(('%s: expected %s, got %s'):format(what or 'equal', tostring(a),\n"
    "    tostring(b)), 2) end\n"
    "end\n"
    "function raises(part, f, ...)\n"
    "  local ok, err = pcall(f, ...)\n"
    "  if ok then error('did not raise: ' .. part, 2) end\n"
    "  if not tostring(err):find(part, 1, true) then\n"
    "    error(('raised %q, not %q'):format(tostring(err), part), 2) end\n"
    "end\n"
    "function fails(code, value, err, got)\n"
    "  if value ~= nil or type(err) ~= 'string' or got ~= code then\n"
    "    error(('expected failure %s, got %s, %s, %s'):format(code, tostring(value),\n"
    "      tostring(err), tostring(got)), 2) end\n"
    "end\n"
    "function same(a, b)\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end\n"
    "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
    "  for k in pairs(b) do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end\n";

static inline void lab_run(struct lab *lab, const char *text);

static inline void lab_open(struct lab *lab, struct gw_shared_set *shared, uint64_t heap_max)
{
    struct gw_vm_options options = {
        .shared = shared, .cpu_budget_ms = 5000, .heap_max = heap_max, .worker = 1};
    struct gw_err err = {{0}};

    memset(lab, 0, sizeof(*lab));
    assert_int_equal(gw_loop_new(&lab->loop), GW_OK);
    options.loop = lab->loop;
    if (gw_vm_new(&options, &lab->vm, &err) != GW_OK)
        fail_msg("%s", err.text);
    lab_run(lab, lab_prelude);
}

static inline void lab_close(struct lab *lab)
{
    gw_vm_free(lab->vm);
    gw_loop_free(lab->loop);
}

/* Starts a piece; `lab->over` tells its end when it waits. */
static inline void lab_start(struct lab *lab, const char *text)
{
    struct gw_task *task = gw_task_new(lab->vm, GW_IN_SPEC, NULL, lab_over, lab);
    lua_State *co = gw_task_thread(task);

    lab->over = false;
    if (luaL_loadbuffer(co, text, strlen(text), "=piece") != 0)
        fail_msg("%s", lua_tostring(co, -1));
    lab->rc = gw_task_resume(task, 0);
    if (lab->rc != GW_TASK_WAITS) {
        lab->over = true;
        gw_task_end(task);
    }
}

static inline void lab_turn_until_over(struct lab *lab)
{
    uint64_t until = gw_time_mono_ms() + 20000;

    while (!lab->over && gw_time_mono_ms() < until)
        gw_loop_turn(lab->loop, 50);
    assert_true(lab->over);
}

static inline void lab_run(struct lab *lab, const char *text)
{
    lab_start(lab, text);
    lab_turn_until_over(lab);
    assert_int_equal(lab->rc, GW_TASK_DONE); /* the log says why not */
}

#endif
