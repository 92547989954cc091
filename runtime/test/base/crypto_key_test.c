#include "base/crypto_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/crypto_aead.h"
#include "base/crypto_cert.h"
#include "base/crypto_password.h"

static struct gw_key *key_of(const struct gw_jwk *jwk)
{
    struct gw_key *key = NULL;
    struct gw_err err;

    assert_int_equal(gw_key_from_jwk(jwk, &key, &err), GW_OK);
    return key;
}

/* RFC 8037, appendix A. */
static void ed25519_matches_its_standard(void **state)
{
    const struct gw_jwk jwk = {.kty = GW_STR("OKP"),
                               .crv = GW_STR("Ed25519"),
                               .d = GW_STR("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"),
                               .x = GW_STR("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")};
    const struct gw_str data = GW_STR("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc");
    uint8_t out[GW_SIGNATURE_BYTES_MAX];
    struct gw_key *key = key_of(&jwk);
    char text[128];
    size_t len;

    assert_true(gw_key_is_private(key));
    assert_int_equal(gw_sign(key, GW_EDDSA, GW_SIGNATURE_RAW, data, out, &len), GW_OK);
    text[gw_base64_encode(GW_BASE64_URL, gw_str((char *)out, len), text)] = '\0';
    assert_string_equal(text, "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsP"
                              "t9g7sVvpAr_MuM0KAg");
    assert_int_equal(gw_verify(key, GW_EDDSA, GW_SIGNATURE_RAW, data, gw_str((char *)out, len)),
                     GW_OK);
    out[3] ^= 1;
    assert_int_equal(gw_verify(key, GW_EDDSA, GW_SIGNATURE_RAW, data, gw_str((char *)out, len)),
                     GW_INVALID);
    gw_key_free(key);
}

/* RFC 7515, A.1 and A.3. */
static void hmac_and_ecdsa_match_rfc_7515(void **state)
{
    const struct gw_jwk secret = {
        .kty = GW_STR("oct"),
        .k = GW_STR("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjA"
                    "zZr1Z9CAow")};
    const struct gw_str hs = GW_STR("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0K"
                                    "ICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19y"
                                    "b290Ijp0cnVlfQ");
    const struct gw_jwk ec = {.kty = GW_STR("EC"),
                              .crv = GW_STR("P-256"),
                              .x = GW_STR("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
                              .y = GW_STR("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")};
    const struct gw_str es = GW_STR("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkz"
                                    "ODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ");
    char signature[128];
    struct gw_key *key = key_of(&secret);
    size_t len;

    assert_int_equal(gw_base64_decode(GW_BASE64_URL,
                                      GW_STR("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
                                      signature, &len),
                     GW_OK);
    for (int i = 0; i < 3; i++) /* the context is used again */
        assert_int_equal(gw_verify(key, GW_HS256, GW_SIGNATURE_RAW, hs, gw_str(signature, len)),
                         GW_OK);
    assert_int_equal(gw_verify(key, GW_HS256, GW_SIGNATURE_RAW, es, gw_str(signature, len)),
                     GW_INVALID);
    gw_key_free(key);

    key = key_of(&ec);
    assert_int_equal(
        gw_base64_decode(GW_BASE64_URL,
                         GW_STR("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8IS"
                                "lSApmWQxfKTUJqPP3-Kg6NU1Q"),
                         signature, &len),
        GW_OK);
    assert_int_equal(gw_verify(key, GW_ES256, GW_SIGNATURE_RAW, es, gw_str(signature, len)), GW_OK);
    assert_int_equal(gw_verify(key, GW_ES256, GW_SIGNATURE_RAW, es, gw_str(signature, len - 1)),
                     GW_INVALID);
    assert_int_equal(gw_verify(key, GW_ES384, GW_SIGNATURE_RAW, es, gw_str(signature, len)),
                     GW_WRONG_TYPE);
    gw_key_free(key);
}

static void keys_round_trip(void **state)
{
    uint8_t part[GW_KEY_PART_BYTES_MAX];
    struct gw_key *key, *again;
    struct gw_err err;
    char *pem;
    size_t len;

    for (int curve = GW_P256; curve < GW_CURVE_COUNT; curve++) {
        assert_int_equal(gw_key_generate(GW_KEY_EC, (enum gw_curve)curve, &key, &err), GW_OK);
        for (int half = 0; half < 2; half++) {
            assert_int_equal(gw_key_pem(key, half == 1, &pem, &len), GW_OK);
            assert_int_equal(gw_key_read(gw_str(pem, len), &again, &err), GW_OK);
            assert_int_equal(gw_key_is_private(again), half == 1);
            assert_int_equal(gw_key_curve(again), curve);
            gw_key_free(again);
            free(pem);
        }
        assert_int_equal(gw_key_part(key, 'x', part), gw_key_part(key, 'y', part));
        assert_int_equal(gw_key_part(key, 'n', part), 0);
        gw_key_free(key);
    }
    assert_int_equal(gw_key_generate(GW_KEY_RSA, GW_CURVE_NONE, &key, &err), GW_UNSUPPORTED);
}

static void sealed_texts_open(void **state)
{
    uint8_t sealed[5 + GW_AEAD_TAG_BYTES], text[5];
    struct gw_aead_keys keys = {.key = GW_STR("0123456789abcdef0123456789abcdef"),
                                .nonce = GW_STR("0123456789ab"),
                                .aad = GW_STR("about")};

    assert_int_equal(gw_aead_seal(GW_AES_256_GCM, &keys, GW_STR("hello"), sealed), GW_OK);
    assert_int_equal(
        gw_aead_open(GW_AES_256_GCM, &keys, gw_str((char *)sealed, sizeof(sealed)), text), GW_OK);
    assert_memory_equal(text, "hello", 5);
    keys.aad = GW_STR("");
    assert_int_equal(
        gw_aead_open(GW_AES_256_GCM, &keys, gw_str((char *)sealed, sizeof(sealed)), text),
        GW_INVALID);
    assert_memory_equal(text, "\0\0\0\0\0", 5);
}

static void passwords_are_hashed(void **state)
{
    char hash[GW_BCRYPT_HASH_BYTES + 1];
    const struct gw_scrypt cost = {.n = 3, .r = 8, .p = 1};

    assert_int_equal(gw_bcrypt(GW_STR("a"), 4, hash), GW_OK);
    assert_int_equal(gw_bcrypt_verify(GW_STR("a"), gw_str(hash, GW_BCRYPT_HASH_BYTES)), GW_OK);
    assert_int_equal(gw_bcrypt_verify(GW_STR("b"), gw_str(hash, GW_BCRYPT_HASH_BYTES)),
                     GW_NOT_FOUND);
    hash[10] = ':'; /* not a character of a salt */
    assert_int_equal(gw_bcrypt_verify(GW_STR("a"), gw_str(hash, GW_BCRYPT_HASH_BYTES)), GW_INVALID);
    assert_int_equal(gw_scrypt(&cost, GW_STR("a"), GW_STR("b"), gw_str(hash, 32)), GW_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ed25519_matches_its_standard),
        cmocka_unit_test(hmac_and_ecdsa_match_rfc_7515),
        cmocka_unit_test(keys_round_trip),
        cmocka_unit_test(sealed_texts_open),
        cmocka_unit_test(passwords_are_hashed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
