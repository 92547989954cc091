/* What Lua may cost: a VM in the time that a worker has for one turn, a request in memory. */
#include "test/script/fake.h"

#include <time.h>

#include "script/script_private.h"

#define TRIES 20

#ifdef GW_ASAN
#define SLICE_US 20000.0
#else
#define SLICE_US 2000.0
#endif

static double cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Of the processor, not of the wall; the best of some tries, because the machine may be busy. */
static void a_vm_is_made_within_one_slice(void **state)
{
    struct gw_vm_options options = {.cpu_budget_ms = 100, .heap_max = 256u << 20};
    struct gw_vm *vm;
    struct gw_err err;
    double best = 1e9;

    for (int i = 0; i < TRIES; i++) {
        double began = cpu_us(), took;
        assert_int_equal(gw_vm_new(&options, &vm, &err), GW_OK);
        took = cpu_us() - began;
        if (took < best)
            best = took;
        gw_vm_free(vm);
    }
    print_message("a VM in %.0f us\n", best);
    if (best > SLICE_US)
        fail_msg("%.0f us of the processor", best);
}

static struct world w;
static lua_Alloc alloc_before;
static uint64_t bytes_made; /* by objects that are new or grow */

static void *count_made(void *arg, void *ptr, size_t old_size, size_t size)
{
    if (size > old_size)
        bytes_made += size - old_size;
    return alloc_before(arg, ptr, old_size, size);
}

static void run_requests(int count)
{
    struct fake f;

    for (int i = 0; i < count; i++) {
        fake_begin(&w, &f, 0);
        assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
        fake_end(&w, &f);
    }
}

/* Neither ctx and its handles nor what a plugin leaves there is allocated for each request. */
static void requests_make_no_garbage(void **state)
{
    lua_State *L;
    void *arg;

    world_open(&w);
    world_plugin(&w, "a",
                 "return { name = 'a', priority = 1, access = function(conf, ctx)\n"
                 "  ctx.consumer, ctx.tenant, ctx.session, ctx.own = 'c', 't', 's', 1\n"
                 "  ctx.request.headers['x-own'] = 'v' end }");
    world_bind(&w, "a", GW_NONE, NULL);
    assert_true(world_reload(&w));
    run_requests(200); /* compiled */
    L = w.script->vm->L;
    alloc_before = lua_getallocf(L, &arg);
    lua_setallocf(L, count_made, arg);
    run_requests(100);
    lua_setallocf(L, alloc_before, arg);
    world_close(&w);
    print_message("%.0f bytes a request\n", (double)bytes_made / 100);
    assert_in_range(bytes_made, 0, 100 * 8); /* a trace that is compiled late */
}

/* They stand in tables that outlive the request: the next one in the same slot must see none. */
static void fields_of_ctx_end_with_the_request(void **state)
{
    struct fake f;

    world_open(&w);
    world_plugin(&w, "a",
                 "local p = { name = 'a' }\n"
                 "local KEY = {}\n"
                 "local function each(ctx, of)\n"
                 "  for n = 1, 40 do of('f' .. n) end\n" /* more than have a table of their own */
                 "  of(KEY)\n"
                 "  of('consumer')\n"
                 "end\n"
                 "function p.access(conf, ctx)\n"
                 "  each(ctx, function(key) assert(ctx[key] == nil, tostring(key)) end)\n"
                 "  each(ctx, function(key) ctx[key] = 'v' end)\n"
                 "  ctx.f1, ctx.f40 = nil, false\n"
                 "  assert(not pcall(function() ctx.response = 1 end))\n"
                 "  assert(not pcall(function() ctx.exit = 1 end))\n"
                 "end\n"
                 "function p.log(conf, ctx)\n"
                 "  assert(ctx.f1 == nil and ctx.f40 == false)\n"
                 "  ctx.f1, ctx.f40 = 'v', 'v'\n"
                 "  each(ctx, function(key) assert(ctx[key] == 'v', tostring(key)) end)\n"
                 "end\n"
                 "return p");
    world_bind(&w, "a", GW_NONE, NULL);
    assert_true(world_reload(&w));
    for (int i = 0; i < 100; i++) { /* interpreted, then compiled */
        fake_begin(&w, &f, 0);
        assert_int_equal(fake_run(&w, &f, GW_PHASE_ACCESS), GW_PHASE_NEXT);
        assert_int_equal(fake_run(&w, &f, GW_PHASE_LOG), GW_PHASE_NEXT);
        fake_end(&w, &f);
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_vm_is_made_within_one_slice),
                                       cmocka_unit_test(requests_make_no_garbage),
                                       cmocka_unit_test(fields_of_ctx_end_with_the_request)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
