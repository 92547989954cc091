/* gw.crypto: keys and signatures, sealing, certificates. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/crypto_aead.h"
#include "base/crypto_cert.h"
#include "base/crypto_recover.h"
#include "base/json.h"
#include "script/lib_rows.h"

#define KEY_TYPE "gw.crypto.key"

static struct gw_str check_str(lua_State *L, int index)
{
    struct gw_str s;

    s.data = luaL_checklstring(L, index, &s.len);
    return s;
}

static struct gw_str opt_str(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ? GW_STR("") : check_str(L, index);
}

static void push_str(lua_State *L, struct gw_str s)
{
    lua_pushlstring(L, s.data != NULL ? s.data : "", s.len);
}

/* ---- keys ---- */

/* An empty box that Lua owns already, to be filled. [-0, +1] */
static struct gw_key **box_push(lua_State *L)
{
    struct gw_key **box = lua_newuserdata(L, sizeof(*box));

    *box = NULL;
    luaL_getmetatable(L, KEY_TYPE);
    lua_setmetatable(L, -2);
    return box;
}

static struct gw_key *check_key(lua_State *L)
{
    return *(struct gw_key **)luaL_checkudata(L, 1, KEY_TYPE);
}

static int key_gc(lua_State *L)
{
    struct gw_key **box = lua_touserdata(L, 1);

    gw_key_free(*box);
    *box = NULL;
    return 0;
}

/* The members of a table that is a JWK. Its strings stay where they are: in the table. */
static void jwk_of_table(lua_State *L, int index, struct gw_jwk *jwk)
{
#define ROW(name)                                                                                  \
    lua_getfield(L, index, #name);                                                                 \
    if (lua_type(L, -1) == LUA_TSTRING)                                                            \
        jwk->name.data = lua_tolstring(L, -1, &jwk->name.len);                                     \
    lua_pop(L, 1);
    GW_JWK_ROWS(ROW)
#undef ROW
}

static enum gw_rc key_of_json(struct gw_str text, struct gw_key **out, struct gw_err *err)
{
    struct gw_json *json;
    struct gw_jwk jwk;
    enum gw_rc rc;

    if (text.len > GW_KEY_TEXT_BYTES_MAX)
        return gw_err_set(err, GW_LIMIT, "key: longer than 65536 bytes");
    rc = gw_json_parse(text, &json, err);
    if (rc != GW_OK)
        return rc;
#define ROW(name) jwk.name = gw_json_get_str(gw_json_get(json, #name), GW_STR_NULL);
    GW_JWK_ROWS(ROW)
#undef ROW
    rc = gw_key_from_jwk(&jwk, out, err);
    gw_json_free(json);
    return rc;
}

/* crypto.key(PEM | DER | JWK as text or table) -> key | nil, message, code   [-0, +1|+3] */
static int crypto_key(lua_State *L)
{
    struct gw_jwk jwk = {.kty = GW_STR_NULL};
    struct gw_key **box;
    struct gw_err err;
    struct gw_str text = GW_STR_NULL;
    enum gw_rc rc;

    if (lua_istable(L, 1))
        jwk_of_table(L, 1, &jwk);
    else
        text = check_str(L, 1);
    box = box_push(L);
    if (text.data == NULL)
        rc = gw_key_from_jwk(&jwk, box, &err);
    else if (text.len > 0 && text.data[strspn(text.data, " \t\r\n")] == '{')
        rc = key_of_json(text, box, &err);
    else
        rc = gw_key_read(text, box, &err);
    return rc == GW_OK ? 1 : gw_lib_fail(L, rc, err.text);
}

/* crypto.secret(bytes) -> key | nil, message, code   [-0, +1|+3] */
static int crypto_secret(lua_State *L)
{
    struct gw_str secret = check_str(L, 1);
    struct gw_err err;
    enum gw_rc rc = gw_key_secret(secret, box_push(L), &err);

    return rc == GW_OK ? 1 : gw_lib_fail(L, rc, err.text);
}

/* crypto.generate_key("P-256" | … | "Ed25519") -> key   [-0, +1|+3] */
static int crypto_generate_key(lua_State *L)
{
    struct gw_str name = check_str(L, 1);
    enum gw_key_type type = gw_str_eq(name, GW_STR("Ed25519")) ? GW_KEY_ED25519 : GW_KEY_EC;
    int curve = GW_CURVE_NONE;
    struct gw_err err;
    enum gw_rc rc;

    if (type == GW_KEY_EC) {
        for (curve++; curve < GW_CURVE_COUNT; curve++)
            if (gw_str_eq(name, gw_str_c(gw_curve_name((enum gw_curve)curve))))
                break;
        luaL_argcheck(L, curve < GW_CURVE_COUNT, 1,
                      "one of P-256, P-384, P-521, secp256k1, Ed25519 expected");
    }
    rc = gw_key_generate(type, (enum gw_curve)curve, box_push(L), &err);
    return rc == GW_OK ? 1 : gw_lib_fail(L, rc, err.text);
}

static enum gw_jwa check_jwa(lua_State *L, int index)
{
    enum gw_jwa jwa;

    if (!gw_jwa_by_name(check_str(L, index), &jwa))
        luaL_argerror(L, index,
                      "one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, "
                      "PS512, ES256, ES384, ES512, ES256K, EdDSA expected");
    return jwa;
}

static enum gw_signature_form check_form(lua_State *L, int index)
{
    static const char *const forms[] = {"raw", "der", NULL};

    return luaL_checkoption(L, index, "raw", forms) == 1 ? GW_SIGNATURE_DER : GW_SIGNATURE_RAW;
}

static int fail_signature(lua_State *L, enum gw_rc rc, const char *invalid)
{
    const char *text = NULL;

    if (rc == GW_WRONG_TYPE)
        text = "key: it is not of the kind that this algorithm takes";
    else if (rc == GW_LIMIT)
        text = "key: the secret is shorter than the digest";
    else if (rc == GW_INVALID)
        text = invalid;
    return gw_lib_fail(L, rc, text);
}

/* key:sign(algorithm, data, "raw" | "der") -> signature | nil, message, code   [-0, +1|+3] */
static int key_sign(lua_State *L)
{
    struct gw_key *key = check_key(L);
    enum gw_jwa jwa = check_jwa(L, 2);
    struct gw_str data = check_str(L, 3);
    uint8_t out[GW_SIGNATURE_BYTES_MAX];
    size_t len;
    enum gw_rc rc = gw_sign(key, jwa, check_form(L, 4), data, out, &len);

    if (rc != GW_OK)
        return fail_signature(L, rc, "key: it is the public half only");
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}

/* key:verify(algorithm, data, signature, "raw" | "der") -> true | nil, message, code
 * [-0, +1|+3] */
static int key_verify(lua_State *L)
{
    struct gw_key *key = check_key(L);
    enum gw_jwa jwa = check_jwa(L, 2);
    struct gw_str data = check_str(L, 3), signature = check_str(L, 4);
    enum gw_rc rc = gw_verify(key, jwa, check_form(L, 5), data, signature);

    if (rc != GW_OK)
        return fail_signature(L, rc, "signature: this key did not sign this");
    lua_pushboolean(L, 1);
    return 1;
}

/* key:fits(algorithm) -> true | nil, message, code   [-0, +1|+3] */
static int key_fits(lua_State *L)
{
    struct gw_key *key = check_key(L);
    enum gw_rc rc = gw_key_fits(key, check_jwa(L, 2));

    if (rc != GW_OK)
        return fail_signature(L, rc, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

static void set_part(lua_State *L, const struct gw_key *key, char part)
{
    char text[(GW_KEY_PART_BYTES_MAX + 2) / 3 * 4], name[2] = {part, '\0'};
    uint8_t bytes[GW_KEY_PART_BYTES_MAX];
    size_t len = gw_key_part(key, part, bytes);

    if (len == 0)
        return;
    len = gw_base64_encode(GW_BASE64_URL, gw_str((const char *)bytes, len), text);
    lua_pushlstring(L, text, len);
    lua_setfield(L, -2, name);
}

/* key:jwk() -> table: the public half | nil, message, code   [-0, +1|+3] */
static int key_jwk(lua_State *L)
{
    static const char *const kinds[] = {
        [GW_KEY_RSA] = "RSA", [GW_KEY_EC] = "EC", [GW_KEY_ED25519] = "OKP"};
    struct gw_key *key = check_key(L);
    enum gw_key_type type = gw_key_type(key);

    if (type == GW_KEY_SECRET)
        return gw_lib_fail(L, GW_WRONG_TYPE, "key: a secret has no public half");
    lua_createtable(L, 0, 4);
    lua_pushstring(L, kinds[type]);
    lua_setfield(L, -2, "kty");
    if (type != GW_KEY_RSA) {
        lua_pushstring(L, type == GW_KEY_ED25519 ? "Ed25519" : gw_curve_name(gw_key_curve(key)));
        lua_setfield(L, -2, "crv");
    }
    for (const char *part = "nexy"; *part != '\0'; part++)
        set_part(L, key, *part);
    return 1;
}

/* key:pem("public" | "private") -> text | nil, message, code   [-0, +1|+3] */
static int key_pem(lua_State *L)
{
    static const char *const halves[] = {"public", "private", NULL};
    struct gw_key *key = check_key(L);
    bool private_half = luaL_checkoption(L, 2, "public", halves) == 1;
    char *text;
    size_t len;
    enum gw_rc rc = gw_key_pem(key, private_half, &text, &len);

    if (rc != GW_OK)
        return gw_lib_fail(L, rc, rc == GW_INVALID ? "key: it has no such half" : NULL);
    lua_pushlstring(L, text, len);
    free(text);
    return 1;
}

/* key.type, .curve, .bits, .private, or a method (the upvalue) */
static int key_index(lua_State *L)
{
    static const char *const types[] = {[GW_KEY_SECRET] = "secret",
                                        [GW_KEY_RSA] = "rsa",
                                        [GW_KEY_EC] = "ec",
                                        [GW_KEY_ED25519] = "ed25519"};
    const struct gw_key *key = check_key(L);
    const char *name = luaL_checkstring(L, 2);

    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1))
        return 1;
    if (strcmp(name, "type") == 0)
        lua_pushstring(L, types[gw_key_type(key)]);
    else if (strcmp(name, "curve") == 0 && gw_key_curve(key) != GW_CURVE_NONE)
        lua_pushstring(L, gw_curve_name(gw_key_curve(key)));
    else if (strcmp(name, "bits") == 0)
        lua_pushinteger(L, (lua_Integer)gw_key_bits(key));
    else if (strcmp(name, "private") == 0)
        lua_pushboolean(L, gw_key_is_private(key));
    else
        lua_pushnil(L);
    return 1;
}

/* crypto.recover(digest, signature, id) -> 65 bytes: 4, x, y | nil, message, code   [-0, +1|+3] */
static int crypto_recover(lua_State *L)
{
    struct gw_str digest = check_str(L, 1), signature = check_str(L, 2);
    lua_Number id = luaL_checknumber(L, 3);
    uint8_t out[GW_RECOVER_KEY_BYTES];
    enum gw_rc rc;

    luaL_argcheck(L, digest.len == GW_RECOVER_DIGEST_BYTES, 1, "32 bytes expected");
    luaL_argcheck(L, signature.len == GW_RECOVER_SIGNATURE_BYTES, 2, "64 bytes expected");
    luaL_argcheck(L, id == 0 || id == 1 || id == 2 || id == 3, 3, "0, 1, 2 or 3 expected");
    rc = gw_secp256k1_recover((const uint8_t *)digest.data, (const uint8_t *)signature.data,
                              (int)id, out);
    if (rc != GW_OK)
        return gw_lib_fail(L, rc,
                           rc == GW_INVALID ? "recover: no key makes this signature"
                                            : "recover: libsecp256k1 is not installed");
    lua_pushlstring(L, (const char *)out, sizeof(out));
    return 1;
}

/* ---- sealing ---- */

static enum gw_aead check_sealing(lua_State *L, struct gw_aead_keys *keys)
{
    enum gw_aead aead;

    if (!gw_aead_by_name(check_str(L, 1), &aead))
        luaL_argerror(L, 1,
                      "one of aes-128-gcm, aes-192-gcm, aes-256-gcm, chacha20-poly1305 "
                      "expected");
    keys->key = check_str(L, 2);
    luaL_argcheck(L, keys->key.len == gw_aead_key_bytes(aead), 2,
                  "a key of the length that the cipher wants expected");
    keys->nonce = check_str(L, 3);
    luaL_argcheck(L, keys->nonce.len == GW_AEAD_NONCE_BYTES, 3, "a nonce of 12 bytes expected");
    luaL_argcheck(L, check_str(L, 4).len <= GW_AEAD_TEXT_BYTES_MAX, 4, "at most 1 GiB expected");
    keys->aad = opt_str(L, 5);
    luaL_argcheck(L, keys->aad.len <= GW_AEAD_TEXT_BYTES_MAX, 5, "at most 1 GiB expected");
    return aead;
}

/* crypto.encrypt(cipher, key, nonce, text, aad) -> sealed text with its tag   [-0, +1|+3] */
static int crypto_encrypt(lua_State *L)
{
    struct gw_aead_keys keys;
    enum gw_aead aead = check_sealing(L, &keys);
    struct gw_str text = check_str(L, 4);
    uint8_t *out = lua_newuserdata(L, text.len + GW_AEAD_TAG_BYTES);
    enum gw_rc rc = gw_aead_seal(aead, &keys, text, out);

    if (rc != GW_OK)
        return gw_lib_fail(L, rc, NULL);
    lua_pushlstring(L, (const char *)out, text.len + GW_AEAD_TAG_BYTES);
    return 1;
}

/* crypto.decrypt(cipher, key, nonce, sealed, aad) -> text | nil, message, code   [-0, +1|+3] */
static int crypto_decrypt(lua_State *L)
{
    struct gw_aead_keys keys;
    enum gw_aead aead = check_sealing(L, &keys);
    struct gw_str sealed = check_str(L, 4);
    size_t len = sealed.len > GW_AEAD_TAG_BYTES ? sealed.len - GW_AEAD_TAG_BYTES : 0;
    uint8_t *out = lua_newuserdata(L, len + 1);
    enum gw_rc rc = gw_aead_open(aead, &keys, sealed, out);

    if (rc != GW_OK)
        return gw_lib_fail(
            L, rc, rc == GW_INVALID ? "decrypt: another key or nonce, or it was changed" : NULL);
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}

/* ---- certificates ---- */

#define CERT_TYPE "gw.crypto.certificate"

static int cert_gc(lua_State *L)
{
    struct gw_cert **box = lua_touserdata(L, 1);

    gw_cert_free(*box);
    *box = NULL;
    return 0;
}

static void set_str(lua_State *L, const char *name, struct gw_str value)
{
    push_str(L, value);
    lua_setfield(L, -2, name);
}

static void set_names(lua_State *L, const struct gw_cert *cert, uint32_t count)
{
    static const char *const fields[] = {[GW_CERT_DNS] = "dns",
                                         [GW_CERT_EMAIL] = "email",
                                         [GW_CERT_URI] = "uri",
                                         [GW_CERT_IP] = "ip"};

    for (int type = GW_CERT_DNS; type <= GW_CERT_IP; type++) {
        int place = 0;
        lua_newtable(L);
        for (uint32_t i = 0; i < count; i++) {
            enum gw_cert_name_type its;
            struct gw_str name = gw_cert_name(cert, i, &its);
            if ((int)its != type)
                continue;
            push_str(L, name);
            lua_rawseti(L, -2, ++place);
        }
        lua_setfield(L, -2, fields[type]);
    }
}

/* crypto.certificate(PEM | DER) -> table | nil, message, code   [-0, +1|+3] */
static int crypto_certificate(lua_State *L)
{
    struct gw_str text = check_str(L, 1);
    struct gw_cert **box = lua_newuserdata(L, sizeof(*box));
    const struct gw_cert_facts *facts;
    uint8_t digest[GW_DIGEST_BYTES_MAX];
    char hex[2 * GW_DIGEST_BYTES_MAX];
    struct gw_key **key;
    struct gw_err err;
    enum gw_rc rc;

    *box = NULL;
    luaL_getmetatable(L, CERT_TYPE);
    lua_setmetatable(L, -2);
    rc = gw_cert_read(text, box, &err);
    if (rc != GW_OK)
        return gw_lib_fail(L, rc, err.text);
    facts = gw_cert_facts(*box);
    rc = gw_digest(GW_SHA256, facts->der, digest);
    if (rc != GW_OK)
        return gw_lib_fail(L, rc, NULL);
    gw_hex_encode(gw_str((const char *)digest, 32), hex);
    lua_createtable(L, 0, 16);
    set_str(L, "subject", facts->subject);
    set_str(L, "issuer", facts->issuer);
    set_str(L, "serial", facts->serial);
    set_str(L, "der", facts->der);
    set_str(L, "fingerprint", gw_str(hex, 64));
    lua_pushnumber(L, (double)facts->not_before);
    lua_setfield(L, -2, "not_before");
    lua_pushnumber(L, (double)facts->not_after);
    lua_setfield(L, -2, "not_after");
    lua_pushboolean(L, facts->is_ca);
    lua_setfield(L, -2, "ca");
    set_names(L, *box, facts->names_count);
    /* A key of a kind that is not known here is no fault of the rest. */
    key = box_push(L);
    if (gw_cert_key(*box, key, &err) == GW_OK)
        lua_setfield(L, -2, "key");
    else
        lua_pop(L, 1);
    return 1;
}

static void type_make(lua_State *L, const char *name, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
}

void gw_lib_crypto_keys(lua_State *L)
{
    static const luaL_Reg functions[] = {{"key", crypto_key},
                                         {"secret", crypto_secret},
                                         {"generate_key", crypto_generate_key},
                                         {"recover", crypto_recover},
                                         {"encrypt", crypto_encrypt},
                                         {"decrypt", crypto_decrypt},
                                         {"certificate", crypto_certificate},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {{"sign", key_sign}, {"verify", key_verify},
                                       {"fits", key_fits}, {"jwk", key_jwk},
                                       {"pem", key_pem},   {NULL, NULL}};

    luaL_register(L, NULL, functions);
    type_make(L, CERT_TYPE, cert_gc);
    lua_pop(L, 1);
    type_make(L, KEY_TYPE, key_gc);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_pushcclosure(L, key_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
