/* gw.logfile: files that lines are appended to without waiting for a disk; script/logfile.h says
 * how. The functions are in lua/gateway/logfile.lua and come here by FFI, through a box that
 * lives as long as the VM and is empty after its instance is retired. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "script/instance.h"
#include "script/lib_rows.h"
#include "script/logfile_facts.h"
#include "script/vm_private.h"
#include "shm/shared.h"

struct gw_script_logfile {
    struct gw_logfile *file;      /* NULL: the instance that opened it is retired */
    struct gw_instance *instance; /* only compared; NULL: a spec */
    struct gw_slot *slots;
    struct gw_logfile_facts facts;
    struct gw_script_logfile *next;
};

struct state {
    struct gw_logfiles *files; /* made with the first */
    struct gw_script_logfile *boxes;
    char *dir;
};

/* Called by lua/gateway/logfile.lua; the names stand in lua/gateway/cdef_lib.lua too. */
bool gw_ffi_logfile_write(struct gw_script_logfile *box, const char *line, size_t len);
int gw_ffi_logfile_request(struct gw_script_logfile *box, const void *ctx);
void gw_ffi_logfile_text(struct gw_script_logfile *box, const char *name, size_t name_len,
                         const char *value, size_t len);
void gw_ffi_logfile_number(struct gw_script_logfile *box, const char *name, size_t name_len,
                           double value);
void gw_ffi_logfile_bool(struct gw_script_logfile *box, const char *name, size_t name_len,
                         bool value);
bool gw_ffi_logfile_end(struct gw_script_logfile *box);
double gw_ffi_logfile_lost(struct gw_script_logfile *box);

bool gw_ffi_logfile_write(struct gw_script_logfile *box, const char *line, size_t len)
{
    return box->file != NULL && gw_logfile_write(box->file, line, len);
}

/* Begins a line with the facts of a request. 1: members may follow, then the end; 0: the line is
 * dropped; -1: the request is over. */
int gw_ffi_logfile_request(struct gw_script_logfile *box, const void *ctx)
{
    uint64_t handle = (uintptr_t)ctx; /* a pointer that points nowhere: see handle.h */
    uint32_t slot = (uint32_t)handle;
    struct gw_slot *at = slot < GW_SLOTS_MAX ? &box->slots[slot] : NULL;

    if (at == NULL || at->handle != handle || at->exchange == NULL)
        return -1;
    if (box->file == NULL || !gw_logfile_begin(box->file))
        return 0;
    gw_logfile_facts_put(&box->facts, box->file, at->exchange);
    return 1;
}

void gw_ffi_logfile_text(struct gw_script_logfile *box, const char *name, size_t name_len,
                         const char *value, size_t len)
{
    gw_logfile_text(box->file, gw_str(name, name_len), gw_str(value, len));
}

void gw_ffi_logfile_number(struct gw_script_logfile *box, const char *name, size_t name_len,
                           double value)
{
    gw_logfile_number(box->file, gw_str(name, name_len), value);
}

void gw_ffi_logfile_bool(struct gw_script_logfile *box, const char *name, size_t name_len,
                         bool value)
{
    gw_logfile_bool(box->file, gw_str(name, name_len), value);
}

bool gw_ffi_logfile_end(struct gw_script_logfile *box)
{
    return gw_logfile_end(box->file);
}

double gw_ffi_logfile_lost(struct gw_script_logfile *box)
{
    return box->file != NULL ? (double)gw_logfile_lost(box->file) : 0;
}

static struct state *state_of(struct gw_vm *vm)
{
    return *gw_vm_data(vm, GW_LIB_LOGFILE);
}

static enum gw_rc make_files(struct gw_vm *vm, struct gw_err *err)
{
    struct state *state = state_of(vm);
    struct gw_shared_set *shared = gw_vm_shared(vm);
    enum gw_rc rc;

    if (state->files != NULL)
        return GW_OK;
    if (gw_vm_loop(vm) == NULL)
        return gw_err_set(err, GW_UNSUPPORTED, "there is no loop here");
    rc = gw_logfiles_new(gw_vm_loop(vm), shared != NULL ? gw_shared_set_metrics(shared) : NULL,
                         &state->files);
    if (rc != GW_OK)
        return gw_err_set(err, rc, "helper threads: %s", gw_rc_text(rc));
    if (state->dir != NULL)
        gw_logfiles_set_dir(state->files, gw_str_c(state->dir));
    return GW_OK;
}

/* Lists of names at `index` (facts) and `index` + 1 (headers: true where hidden, by name). */
static enum gw_rc read_facts(lua_State *L, int index, struct gw_logfile_facts *facts,
                             struct gw_err *err)
{
    struct gw_str name;

    for (int i = 1;; i++) {
        lua_rawgeti(L, index, i);
        if (lua_isnil(L, -1))
            break;
        name.data = lua_tolstring(L, -1, &name.len);
        if (name.data == NULL || gw_logfile_facts_add(facts, name) != GW_OK)
            return gw_err_set(err, GW_INVALID, "there is no field %s",
                              name.data != NULL ? name.data : luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_pushnil(L);
    while (lua_next(L, index + 1) != 0) {
        enum gw_rc rc = GW_INVALID;
        if (lua_type(L, -2) == LUA_TSTRING) {
            name.data = lua_tolstring(L, -2, &name.len);
            rc = gw_logfile_facts_header(facts, name, lua_toboolean(L, -1));
        }
        if (rc != GW_OK)
            return gw_err_set(err, GW_INVALID, "headers: up to %d names expected",
                              GW_LOGFILE_HEADERS_MAX);
        lua_pop(L, 1);
    }
    return GW_OK;
}

/* open(path, buffer bytes or 0, counter or nil, facts, headers) -> box as lightuserdata
 * | nil, message, code   [-0, +1|+3]. For the Lua half only, which has checked the types. */
static int logfile_open(lua_State *L)
{
    struct gw_vm *vm = gw_vm_of(L);
    struct state *state = state_of(vm);
    struct gw_logfile_options options = {0};
    struct gw_logfile_facts facts = {0};
    struct gw_logfile *file = NULL;
    struct gw_script_logfile *box;
    struct gw_err err = {{0}};
    struct gw_str path;
    enum gw_rc rc;

    gw_lib_check(L, "logfile.open", GW_IN_INIT | GW_IN_SPEC);
    path.data = luaL_checklstring(L, 1, &path.len);
    options.buffer_bytes_max = (uint32_t)luaL_checknumber(L, 2);
    options.counter = luaL_optstring(L, 3, NULL);
    luaL_checktype(L, 4, LUA_TTABLE);
    luaL_checktype(L, 5, LUA_TTABLE);
    rc = read_facts(L, 4, &facts, &err);
    /* Who checks a conf may be another user than who runs it: no file is made. */
    if (rc == GW_OK && !vm->options.trial)
        rc = make_files(vm, &err);
    if (rc == GW_OK && !vm->options.trial)
        rc = gw_logfile_open(state->files, path, &options, &file, &err);
    if (rc != GW_OK) {
        gw_logfile_facts_fini(&facts);
        return gw_lib_fail(L, rc, err.text);
    }
    box = calloc(1, sizeof(*box));
    if (box == NULL)
        abort();
    *box = (struct gw_script_logfile){.file = file,
                                      .instance = gw_instance_current(vm),
                                      .slots = gw_slots_base(vm->slots),
                                      .facts = facts,
                                      .next = state->boxes};
    state->boxes = box;
    lua_pushlightuserdata(L, box);
    return 1;
}

void gw_lib_logfile_open(lua_State *L, struct gw_vm *vm)
{
    struct state *state = calloc(1, sizeof(*state));

    if (state == NULL)
        abort();
    *gw_vm_data(vm, GW_LIB_LOGFILE) = state;
    gw_vm_require(L, "logfile");
    lua_getfield(L, -1, "open");
    lua_pushcfunction(L, logfile_open);
    lua_call(L, 1, 1);
    lua_remove(L, -2);
}

void gw_lib_logfile_retire(struct gw_vm *vm, struct gw_instance *instance)
{
    for (struct gw_script_logfile *box = state_of(vm)->boxes; box != NULL; box = box->next) {
        if (box->file == NULL || box->instance != instance)
            continue;
        gw_logfile_unref(box->file);
        gw_logfile_facts_fini(&box->facts);
        box->file = NULL;
        box->instance = NULL;
    }
}

void gw_lib_logfile_set_dir(struct gw_vm *vm, struct gw_str dir)
{
    struct state *state = state_of(vm);

    free(state->dir);
    state->dir = dir.len > 0 ? strndup(dir.data, dir.len) : NULL;
    if (state->files != NULL)
        gw_logfiles_set_dir(state->files, dir);
}

void gw_lib_logfile_reopen(struct gw_vm *vm)
{
    if (state_of(vm)->files != NULL)
        gw_logfiles_reopen(state_of(vm)->files);
}

void gw_lib_logfile_close(struct gw_vm *vm)
{
    struct state *state = state_of(vm);
    struct gw_script_logfile *next;

    if (state == NULL)
        return;
    gw_logfiles_free(state->files);
    for (struct gw_script_logfile *box = state->boxes; box != NULL; box = next) {
        next = box->next;
        gw_logfile_facts_fini(&box->facts);
        free(box);
    }
    free(state->dir);
    free(state);
    *gw_vm_data(vm, GW_LIB_LOGFILE) = NULL;
}
