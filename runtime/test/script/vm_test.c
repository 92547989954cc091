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

/* What a plugin sets in ctx has its place there already: a table that grows is made anew. */
static void ctx_does_not_grow(void **state)
{
    lua_State *L;
    void *arg;

    world_open(&w);
    world_plugin(&w, "a",
                 "return { name = 'a', priority = 1, access = function(conf, ctx)\n"
                 "  ctx.consumer, ctx.tenant, ctx.session, ctx.own = 'c', 't', 's', 1 end }");
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
    assert_in_range(bytes_made, 1, 100 * 340);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_vm_is_made_within_one_slice),
                                       cmocka_unit_test(ctx_does_not_grow)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
