/* gw.crypto.pbkdf2, .scrypt, .bcrypt, .bcrypt_verify: slow on purpose, so on helper threads; the
 * task waits. The threads start with the first call. Limit: WAITING_MAX calls wait for a thread;
 * what comes then gets "full". */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto_password.h"
#include "net/threads.h"
#include "script/lib_rows.h"

#define THREADS 2
#define WAITING_MAX 64

struct call {
    struct gw_threads_job job;
    struct gw_wait wait;
    bool abandoned; /* the task died; `done` frees */
    enum gw_rc rc;
    struct gw_str password, salt; /* behind the struct */
    enum gw_digest digest;
    uint32_t rounds;
    struct gw_scrypt cost;
    size_t len;
    char out[GW_PASSWORD_OUT_BYTES_MAX];
    size_t bytes; /* of it all, to be wiped */
    int (*push)(lua_State *L, const struct call *call);
};

static struct gw_str check_str(lua_State *L, int index)
{
    struct gw_str s;

    s.data = luaL_checklstring(L, index, &s.len);
    return s;
}

static void call_free(struct call *call)
{
    explicit_bzero(call, call->bytes);
    free(call);
}

static int push_result(lua_State *L, void *arg)
{
    struct call *call = arg;
    int results = call->rc == GW_OK || call->rc == GW_NOT_FOUND ? call->push(L, call)
                                                                : gw_lib_fail(L, call->rc, NULL);

    call_free(call);
    return results;
}

static void done(struct gw_threads_job *job, enum gw_rc rc)
{
    struct call *call = GW_CONTAINER(job, struct call, job);

    if (rc != GW_OK)
        call->rc = rc;
    if (call->abandoned)
        call_free(call);
    else
        gw_task_wake(&call->wait, push_result, call);
}

static void cancel(struct gw_wait *wait)
{
    GW_CONTAINER(wait, struct call, wait)->abandoned = true;
}

/* NULL: what went wrong is pushed. Copies password and salt: Lua's own may be gone by then. */
static struct call *call_new(lua_State *L, const char *function, struct gw_str password,
                             struct gw_str salt)
{
    size_t bytes = sizeof(struct call) + password.len + salt.len + 2;
    struct call *call;
    char *tail;

    gw_lib_check(L, function, GW_IN_WAITING);
    call = calloc(1, bytes);
    if (call == NULL) {
        luaL_error(L, "%s: out of memory", function);
        return NULL;
    }
    tail = (char *)(call + 1);
    memcpy(tail, password.data, password.len);
    memcpy(tail + password.len + 1, salt.data, salt.len);
    call->password = gw_str(tail, password.len);
    call->salt = gw_str(tail + password.len + 1, salt.len);
    call->bytes = bytes;
    return call;
}

static int start(lua_State *L, struct call *call, gw_threads_work_fn work,
                 int (*push)(lua_State *L, const struct call *call))
{
    struct gw_vm *vm = gw_vm_of(L);
    void **slot = gw_vm_data(vm, GW_LIB_CRYPTO);
    enum gw_rc rc = GW_OK;

    if (*slot == NULL) {
        struct gw_threads *threads = NULL;
        rc = gw_threads_new(gw_vm_loop(vm), THREADS, WAITING_MAX, &threads);
        *slot = threads;
    }
    call->push = push;
    gw_threads_job_init(&call->job, work, done);
    if (rc == GW_OK)
        rc = gw_threads_submit(*slot, &call->job);
    if (rc != GW_OK) {
        call_free(call);
        return gw_lib_fail(L, rc,
                           rc == GW_FULL ? "crypto: too many passwords are being hashed" : NULL);
    }
    return gw_task_wait(L, &call->wait, cancel);
}

static struct gw_str check_password(lua_State *L, int index)
{
    struct gw_str password = check_str(L, index);

    luaL_argcheck(L, password.len <= GW_PASSWORD_BYTES_MAX, index, "at most 4096 bytes expected");
    return password;
}

static double check_whole(lua_State *L, int index, double value, double min, double max)
{
    luaL_argcheck(L, value >= min && value <= max && value == floor(value), index,
                  "a whole number within the limits expected");
    return value;
}

static int push_bytes(lua_State *L, const struct call *call)
{
    lua_pushlstring(L, call->out, call->len);
    return 1;
}

static void work_pbkdf2(struct gw_threads_job *job)
{
    struct call *call = GW_CONTAINER(job, struct call, job);

    call->rc = gw_pbkdf2(call->digest, call->password, call->salt, call->rounds,
                         gw_str(call->out, call->len));
}

/* crypto.pbkdf2(digest, password, salt, rounds, length) -> bytes | nil, message, code; waits
 * [-0, +1|+3] */
static int crypto_pbkdf2(lua_State *L)
{
    struct gw_str password = check_password(L, 2), salt = check_password(L, 3);
    double rounds = check_whole(L, 4, luaL_checknumber(L, 4), 1, GW_PBKDF2_ROUNDS_MAX);
    double len = check_whole(L, 5, luaL_optnumber(L, 5, 32), 1, GW_PASSWORD_OUT_BYTES_MAX);
    enum gw_digest digest;
    struct call *call;

    luaL_argcheck(L, gw_digest_by_name(check_str(L, 1), &digest) && digest != GW_KECCAK256, 1,
                  "one of sha1, sha256, sha384, sha512 expected");
    call = call_new(L, "crypto.pbkdf2", password, salt);
    call->digest = digest;
    call->rounds = (uint32_t)rounds;
    call->len = (size_t)len;
    return start(L, call, work_pbkdf2, push_bytes);
}

static void work_scrypt(struct gw_threads_job *job)
{
    struct call *call = GW_CONTAINER(job, struct call, job);

    call->rc = gw_scrypt(&call->cost, call->password, call->salt, gw_str(call->out, call->len));
}

static double option(lua_State *L, int index, const char *name, double otherwise, double max)
{
    double value = otherwise;

    if (lua_istable(L, index)) {
        lua_getfield(L, index, name);
        if (!lua_isnil(L, -1)) {
            luaL_argcheck(L, lua_type(L, -1) == LUA_TNUMBER, index,
                          "n, r, p, length: numbers expected");
            value = lua_tonumber(L, -1);
        }
        lua_pop(L, 1);
    }
    return check_whole(L, index, value, 1, max);
}

/* crypto.scrypt(password, salt, { n = 16384, r = 8, p = 1, length = 32 }) -> bytes | nil, message,
 * code; waits   [-0, +1|+3] */
static int crypto_scrypt(lua_State *L)
{
    struct gw_str password = check_password(L, 1), salt = check_password(L, 2);
    struct gw_scrypt cost;
    struct call *call;
    double len;

    if (!lua_isnoneornil(L, 3))
        luaL_checktype(L, 3, LUA_TTABLE);
    cost.n = (uint64_t)option(L, 3, "n", 16384, GW_SCRYPT_MEMORY_MAX);
    cost.r = (uint32_t)option(L, 3, "r", 8, GW_SCRYPT_MEMORY_MAX);
    cost.p = (uint32_t)option(L, 3, "p", 1, GW_SCRYPT_P_MAX);
    len = option(L, 3, "length", 32, GW_PASSWORD_OUT_BYTES_MAX);
    luaL_argcheck(L, cost.n > 1 && (cost.n & (cost.n - 1)) == 0, 3, "n: a power of two expected");
    call = call_new(L, "crypto.scrypt", password, salt);
    call->cost = cost;
    call->len = (size_t)len;
    return start(L, call, work_scrypt, push_bytes);
}

static void work_bcrypt(struct gw_threads_job *job)
{
    struct call *call = GW_CONTAINER(job, struct call, job);

    call->rc = gw_bcrypt(call->password, call->rounds, call->out);
    call->len = call->rc == GW_OK ? GW_BCRYPT_HASH_BYTES : 0;
}

/* crypto.bcrypt(password, cost = 12) -> hash | nil, message, code; waits   [-0, +1|+3] */
static int crypto_bcrypt(lua_State *L)
{
    struct gw_str password = check_password(L, 1);
    double cost =
        check_whole(L, 2, luaL_optnumber(L, 2, 12), GW_BCRYPT_COST_MIN, GW_BCRYPT_COST_MAX);
    struct call *call = call_new(L, "crypto.bcrypt", password, GW_STR(""));

    call->rounds = (uint32_t)cost;
    return start(L, call, work_bcrypt, push_bytes);
}

static void work_bcrypt_verify(struct gw_threads_job *job)
{
    struct call *call = GW_CONTAINER(job, struct call, job);

    call->rc = gw_bcrypt_verify(call->password, call->salt);
}

static int push_equal(lua_State *L, const struct call *call)
{
    lua_pushboolean(L, call->rc == GW_OK);
    return 1;
}

/* crypto.bcrypt_verify(password, hash) -> boolean | nil, message, code; waits   [-0, +1|+3] */
static int crypto_bcrypt_verify(lua_State *L)
{
    struct gw_str password = check_password(L, 1), hash = check_password(L, 2);

    return start(L, call_new(L, "crypto.bcrypt_verify", password, hash), work_bcrypt_verify,
                 push_equal);
}

void gw_lib_crypto_close(struct gw_vm *vm)
{
    void **slot = gw_vm_data(vm, GW_LIB_CRYPTO);

    if (*slot != NULL)
        gw_threads_free(*slot);
    *slot = NULL;
}

void gw_lib_crypto_passwords(lua_State *L)
{
    static const luaL_Reg functions[] = {{"pbkdf2", crypto_pbkdf2},
                                         {"scrypt", crypto_scrypt},
                                         {"bcrypt", crypto_bcrypt},
                                         {"bcrypt_verify", crypto_bcrypt_verify},
                                         {NULL, NULL}};

    luaL_register(L, NULL, functions);
}
