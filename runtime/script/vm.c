#include "script/vm_private.h"

#include <assert.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "script/embed.h"

#define DEFAULT_CPU_BUDGET_MS 100

#if defined(__SANITIZE_ADDRESS__)
#define GW_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GW_ASAN 1
#endif
#endif

#ifdef GW_ASAN
/* Each object on its own, so that overruns of userdata are seen. */
static void *plain_alloc(void *arg, void *ptr, size_t old_size, size_t size)
{
    (void)arg;
    (void)old_size;
    if (size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, size);
}
#endif

/* Counts; and refuses above the cap while plugin code runs. Our own C code, which calls Lua
 * unprotected, is never refused: between two tasks the heap is brought down again. */
static void *account(void *arg, void *ptr, size_t old_size, size_t size)
{
    struct gw_vm *vm = arg;
    void *mem;

    if (size > old_size && vm->inside && vm->options.heap_max != 0 &&
        vm->heap_bytes + (size - old_size) > vm->options.heap_max) {
        gw_deadline_arm(vm, GW_STOP_HEAP);
        return NULL;
    }
    mem = vm->alloc(vm->alloc_arg, ptr, old_size, size);
    if (mem != NULL || size == 0)
        vm->heap_bytes += size - old_size;
    return mem;
}

static int at_panic(lua_State *L)
{
    const char *text = lua_tostring(L, -1);

    gw_error("lua: unprotected error: %s", text != NULL ? text : "(no text)");
    abort();
}

static int load_embedded(lua_State *L)
{
    const char *name = lua_tostring(L, lua_upvalueindex(1));
    struct gw_str text, version;
    char chunk[64];

    version.data = lua_tolstring(L, lua_upvalueindex(2), &version.len);
    text = gw_embed_bytecode(gw_str_c(name), version);
    snprintf(chunk, sizeof(chunk), "@gateway/%s.lua", name);
    if (text.data == NULL || luaL_loadbufferx(L, text.data, text.len, chunk, "b") != 0) {
        text = gw_embed_find(gw_str_c(name));
        if (luaL_loadbufferx(L, text.data, text.len, chunk, "t") != 0)
            return lua_error(L);
    }
    lua_call(L, 0, 1);
    return 1;
}

/* Trusted code finds the built-in files, and nothing else, by require "gateway.NAME". */
static void open_embedded(lua_State *L)
{
    char full[64];

    lua_getglobal(L, "package");
    lua_newtable(L);
    lua_setfield(L, -2, "loaders");
    lua_getfield(L, -1, "preload");
    lua_getfield(L, -2, "loaders");
    /* The standard preload searcher is gone with the table: this one is as good. */
    luaL_loadstring(L, "local preload = ... return function(name) "
                       "return preload[name] or ('\\n\\tno built-in module ' .. name) end");
    lua_pushvalue(L, -3);
    lua_call(L, 1, 1);
    lua_rawseti(L, -2, 1);
    lua_pop(L, 1);
    for (unsigned i = 0; gw_embed_name(i) != NULL; i++) {
        snprintf(full, sizeof(full), "gateway.%s", gw_embed_name(i));
        lua_pushstring(L, gw_embed_name(i));
        lua_getglobal(L, "jit");
        lua_getfield(L, -1, "version");
        lua_remove(L, -2);
        lua_pushcclosure(L, load_embedded, 2);
        lua_setfield(L, -2, full);
    }
    lua_pop(L, 2);
}

/* Each chain of plugins compiles to traces of its own, and where they do not fit, all of them are
 * thrown away and made anew: LuaJIT's limits are for programs with few hot places. */
static void widen_jit(lua_State *L)
{
    lua_getglobal(L, "jit");
    lua_getfield(L, -1, "opt");
    lua_getfield(L, -1, "start");
    lua_pushliteral(L, "maxtrace=8000");
    lua_pushliteral(L, "maxmcode=32768");
    lua_call(L, 2, 0);
    lua_pop(L, 2);
}

static lua_State *new_state(struct gw_vm *vm)
{
    lua_State *L;

#ifdef GW_ASAN
    vm->alloc = plain_alloc;
    vm->alloc_arg = NULL;
    L = lua_newstate(account, vm);
#else
    /* LuaJIT's own allocator is quicker than malloc; its account begins with what it holds. */
    L = luaL_newstate();
    if (L != NULL) {
        vm->alloc = lua_getallocf(L, &vm->alloc_arg);
        vm->heap_bytes =
            (uint64_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024 + (uint64_t)lua_gc(L, LUA_GCCOUNTB, 0);
        lua_setallocf(L, account, vm);
    }
#endif
    return L;
}

static void close_state(struct gw_vm *vm)
{
    if (vm->L == NULL)
        return;
#ifndef GW_ASAN
    /* lua_close() gives all memory back at once, but only to the allocator that it knows. */
    lua_setallocf(vm->L, vm->alloc, vm->alloc_arg);
#endif
    lua_close(vm->L);
    vm->L = NULL;
}

enum gw_rc gw_vm_new(const struct gw_vm_options *options, struct gw_vm **out, struct gw_err *err)
{
    struct gw_vm *vm = calloc(1, sizeof(*vm));
    enum gw_rc rc;

    if (vm == NULL)
        return gw_err_set(err, GW_NOMEM, "lua: out of memory");
    vm->options = *options;
    if (vm->options.cpu_budget_ms == 0)
        vm->options.cpu_budget_ms = DEFAULT_CPU_BUDGET_MS;
    vm->heap_collect_at = options->heap_max / 4 * 3;
    gw_list_init(&vm->tasks);
    gw_ffi_keep();
    rc = gw_slots_new(&vm->slots);
    if (rc != GW_OK) {
        gw_err_set(err, rc, "lua: no address space for requests");
        goto fail_after_alloc;
    }
    vm->L = new_state(vm);
    if (vm->L == NULL) {
        rc = gw_err_set(err, GW_NOMEM, "lua: cannot make a state");
        goto fail_after_slots;
    }
    lua_atpanic(vm->L, at_panic);
    luaL_openlibs(vm->L);
    widen_jit(vm->L);
    rc = gw_deadline_open(vm, err); /* before anything is compiled */
    if (rc != GW_OK)
        goto fail_after_state;
    open_embedded(vm->L);
    gw_sandbox_open(vm);
    *out = vm;
    return GW_OK;

fail_after_state:
    close_state(vm);
fail_after_slots:
    gw_slots_free(vm->slots);
fail_after_alloc:
    free(vm);
    return rc;
}

void gw_vm_free(struct gw_vm *vm)
{
    if (vm == NULL)
        return;
    assert(vm->task == NULL);
    gw_task_cancel_all(vm);
    for (const struct gw_lib *lib = gw_libs; lib->name != NULL; lib++)
        if (lib->close != NULL)
            lib->close(vm);
    gw_tasks_fini(vm);
    gw_deadline_close(vm);
    close_state(vm);
    gw_slots_free(vm->slots);
    free(vm->instances);
    free(vm);
}

struct gw_vm *gw_vm_of(lua_State *L)
{
    void *vm;

    lua_getallocf(L, &vm);
    return vm;
}

lua_State *gw_vm_main(struct gw_vm *vm)
{
    return vm->L;
}

struct gw_loop *gw_vm_loop(struct gw_vm *vm)
{
    return vm->options.loop;
}

struct gw_shared_set *gw_vm_shared(struct gw_vm *vm)
{
    return vm->options.shared;
}

uint32_t gw_vm_worker(const struct gw_vm *vm)
{
    return vm->options.worker;
}

uint64_t gw_vm_heap_bytes(const struct gw_vm *vm)
{
    return vm->heap_bytes;
}

struct gw_task *gw_vm_task(struct gw_vm *vm)
{
    return vm->task;
}

void **gw_vm_data(struct gw_vm *vm, unsigned id)
{
    assert(id < GW_LIB_IDS);
    return &vm->data[id];
}

void gw_vm_require(lua_State *L, const char *name)
{
    char full[64];

    snprintf(full, sizeof(full), "gateway.%s", name);
    lua_getglobal(L, "require");
    lua_pushstring(L, full);
    if (lua_pcall(L, 1, 1, 0) != 0) {
        gw_error("lua: %s: %s", full, lua_tostring(L, -1));
        abort(); /* it is part of this program: nothing can go on without it */
    }
}

void gw_vm_set_limits(struct gw_vm *vm, uint32_t cpu_budget_ms, uint64_t heap_max)
{
    vm->options.cpu_budget_ms = cpu_budget_ms > 0 ? cpu_budget_ms : DEFAULT_CPU_BUDGET_MS;
    vm->options.heap_max = heap_max;
    vm->heap_collect_at = heap_max / 4 * 3;
    gw_deadline_budget(vm);
}
