/* gw.crypto, gw.base64, gw.hex, gw.uuid, gw.env: what answers at once from bytes alone. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/crypto.h"
#include "base/time.h"
#include "base/uuid.h"
#include "script/lib_rows.h"

#define RANDOM_BYTES_MAX 65536

static struct gw_str check_str(lua_State *L, int index)
{
    struct gw_str s;

    s.data = luaL_checklstring(L, index, &s.len);
    return s;
}

/* A digest goes out as hex unless "raw" is asked for. */
static int push_digest(lua_State *L, int index, enum gw_digest digest, const uint8_t *bytes)
{
    static const char *const forms[] = {"hex", "raw", NULL};
    struct gw_str data = gw_str((const char *)bytes, gw_digest_bytes(digest));
    char hex[2 * GW_DIGEST_BYTES_MAX];

    if (luaL_checkoption(L, index, "hex", forms) == 1) {
        lua_pushlstring(L, data.data, data.len);
        return 1;
    }
    gw_hex_encode(data, hex);
    lua_pushlstring(L, hex, 2 * data.len);
    return 1;
}

/* crypto.sha256(data, "hex" | "raw") -> string   [-0, +1|+3]; the digest is an upvalue */
static int crypto_digest(lua_State *L)
{
    enum gw_digest digest = (enum gw_digest)lua_tointeger(L, lua_upvalueindex(1));
    uint8_t out[GW_DIGEST_BYTES_MAX];
    enum gw_rc rc = gw_digest(digest, check_str(L, 1), out);

    return rc == GW_OK ? push_digest(L, 2, digest, out) : gw_lib_fail(L, rc, NULL);
}

/* crypto.hmac(algorithm, key, data, "hex" | "raw") -> string   [-0, +1|+3] */
static int crypto_hmac(lua_State *L)
{
    uint8_t out[GW_DIGEST_BYTES_MAX];
    enum gw_digest digest;

    if (!gw_digest_by_name(check_str(L, 1), &digest) || digest == GW_KECCAK256)
        return luaL_argerror(L, 1,
                             "one of md5, sha1, sha256, sha384, sha512, sha3_256, sha3_384, "
                             "sha3_512 expected");
    enum gw_rc rc = gw_hmac(digest, check_str(L, 2), check_str(L, 3), out);
    return rc == GW_OK ? push_digest(L, 4, digest, out) : gw_lib_fail(L, rc, NULL);
}

/* crypto.equal(a, b) -> boolean   [-0, +1] */
static int crypto_equal(lua_State *L)
{
    lua_pushboolean(L, gw_crypto_equal(check_str(L, 1), check_str(L, 2)));
    return 1;
}

/* crypto.random(n) -> n bytes   [-0, +1] */
static int crypto_random(lua_State *L)
{
    lua_Number wanted = luaL_checknumber(L, 1);
    luaL_Buffer buffer;

    luaL_argcheck(L, wanted >= 0 && wanted <= RANDOM_BYTES_MAX && wanted == (double)(int)wanted, 1,
                  "a whole number from 0 to 65536 expected");
    luaL_buffinit(L, &buffer);
    for (size_t left = (size_t)wanted; left > 0;) {
        size_t some = left < LUAL_BUFFERSIZE ? left : LUAL_BUFFERSIZE;
        gw_random(luaL_prepbuffer(&buffer), some);
        luaL_addsize(&buffer, some);
        left -= some;
    }
    luaL_pushresult(&buffer);
    return 1;
}

void gw_lib_crypto_open(lua_State *L, struct gw_vm *vm)
{
    static const luaL_Reg functions[] = {
        {"hmac", crypto_hmac}, {"equal", crypto_equal}, {"random", crypto_random}, {NULL, NULL}};

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    for (int i = 0; i < GW_DIGEST_COUNT; i++) {
        lua_pushinteger(L, i);
        lua_pushcclosure(L, crypto_digest, 1);
        lua_setfield(L, -2, gw_digest_name((enum gw_digest)i));
    }
    gw_lib_crypto_keys(L);
    gw_lib_crypto_passwords(L);
}

/* base64.encode(data) -> text; the alphabet is an upvalue   [-0, +1] */
static int base64_encode(lua_State *L)
{
    enum gw_base64 kind = (enum gw_base64)lua_tointeger(L, lua_upvalueindex(1));
    struct gw_str data = check_str(L, 1);
    char small[1024];
    char *out = small;

    /* Lua owns the scratch memory: a push that fails for lack of it frees all. */
    if (gw_base64_encode_room(data.len) > sizeof(small))
        out = lua_newuserdata(L, gw_base64_encode_room(data.len));
    lua_pushlstring(L, out, gw_base64_encode(kind, data, out));
    return 1;
}

/* base64.decode(text) -> data | nil, message, code   [-0, +1|+3] */
static int base64_decode(lua_State *L)
{
    enum gw_base64 kind = (enum gw_base64)lua_tointeger(L, lua_upvalueindex(1));
    struct gw_str text = check_str(L, 1);
    char small[1024];
    char *out = small;
    size_t len;

    if (gw_base64_decode_room(text.len) > sizeof(small))
        out = lua_newuserdata(L, gw_base64_decode_room(text.len));
    if (gw_base64_decode(kind, text, out, &len) != GW_OK) {
        lua_pushfstring(L, "%s: wrong at character %d",
                        kind == GW_BASE64_URL ? "base64url" : "base64", (int)len + 1);
        return gw_lib_fail(L, GW_INVALID, lua_tostring(L, -1));
    }
    lua_pushlstring(L, out, len);
    return 1;
}

static void set_closure(lua_State *L, const char *name, lua_CFunction function, int upvalue)
{
    lua_pushinteger(L, upvalue);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

void gw_lib_base64_open(lua_State *L, struct gw_vm *vm)
{
    lua_newtable(L);
    set_closure(L, "encode", base64_encode, GW_BASE64_STD);
    set_closure(L, "decode", base64_decode, GW_BASE64_STD);
    set_closure(L, "encode_url", base64_encode, GW_BASE64_URL);
    set_closure(L, "decode_url", base64_decode, GW_BASE64_URL);
}

/* hex.encode(data) -> text   [-0, +1] */
static int hex_encode(lua_State *L)
{
    struct gw_str data = check_str(L, 1);
    char small[1024];
    char *out = small;

    if (2 * data.len > sizeof(small))
        out = lua_newuserdata(L, 2 * data.len);
    gw_hex_encode(data, out);
    lua_pushlstring(L, out, 2 * data.len);
    return 1;
}

/* hex.decode(text) -> data | nil, message, code   [-0, +1|+3] */
static int hex_decode(lua_State *L)
{
    struct gw_str text = check_str(L, 1);
    char small[1024];
    char *out = small;

    if (text.len / 2 > sizeof(small))
        out = lua_newuserdata(L, text.len / 2);
    if (gw_hex_decode(text, out) != GW_OK)
        return gw_lib_fail(L, GW_INVALID, "hex: pairs of hexadecimal digits expected");
    lua_pushlstring(L, out, text.len / 2);
    return 1;
}

void gw_lib_hex_open(lua_State *L, struct gw_vm *vm)
{
    static const luaL_Reg functions[] = {
        {"encode", hex_encode}, {"decode", hex_decode}, {NULL, NULL}};

    lua_newtable(L);
    luaL_register(L, NULL, functions);
}

/* uuid() or uuid.v4() -> text   [-0, +1] */
static int uuid_v4(lua_State *L)
{
    char id[GW_UUID_LEN + 1];

    gw_uuid_v4(id);
    lua_pushlstring(L, id, GW_UUID_LEN);
    return 1;
}

/* uuid.v7() -> text, ordered by the loop's clock   [-0, +1] */
static int uuid_v7(lua_State *L)
{
    struct gw_loop *loop = gw_vm_loop(gw_vm_of(L));
    char id[GW_UUID_LEN + 1];

    gw_uuid_v7(loop != NULL ? gw_loop_wall_ms(loop) : gw_time_real_ms(), id);
    lua_pushlstring(L, id, GW_UUID_LEN);
    return 1;
}

void gw_lib_uuid_open(lua_State *L, struct gw_vm *vm)
{
    static const luaL_Reg functions[] = {{"v4", uuid_v4}, {"v7", uuid_v7}, {NULL, NULL}};

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    gw_lib_push_object(L, "gw.uuid", uuid_v4);
}

/* env(name) -> text | nil   [-0, +1]
 * The environment that the gateway was started with, all of it: nothing in the process
 * changes it. Who must keep a secret from plugins keeps it out of the environment. */
static int env(lua_State *L)
{
    const char *text = getenv(luaL_checkstring(L, 1));

    if (text == NULL)
        lua_pushnil(L);
    else
        lua_pushstring(L, text);
    return 1;
}

void gw_lib_env_open(lua_State *L, struct gw_vm *vm)
{
    lua_pushcfunction(L, env);
}
