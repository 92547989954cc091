/* Keys from the numbers of a JWK (RFC 7517, 7518, 8037). */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "base/base64.h"
#include "base/crypto_private.h"

#define NUMBER_BYTES_MAX 1024 /* of 8192 bits */

struct number {
    uint8_t bytes[NUMBER_BYTES_MAX + 3];
    size_t len;
};

static enum gw_rc read_number(struct gw_str text, const char *name, struct number *out,
                              struct gw_err *err)
{
    if (text.data == NULL)
        return gw_err_set(err, GW_INVALID, "jwk: %s is missing", name);
    if (text.len > (NUMBER_BYTES_MAX * 4 + 2) / 3)
        return gw_err_set(err, GW_LIMIT, "jwk: %s is too long", name);
    /* Padding has no place in a JWK, though our base64url takes it elsewhere. */
    if (memchr(text.data, '=', text.len) != NULL ||
        gw_base64_decode(GW_BASE64_URL, text, (char *)out->bytes, &out->len) != GW_OK)
        return gw_err_set(err, GW_INVALID, "jwk: %s is not base64url", name);
    return GW_OK;
}

static enum gw_rc make(const char *type, OSSL_PARAM_BLD *builder, bool is_private,
                       struct gw_key **out, struct gw_err *err)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;
    bool good = params != NULL && ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
                EVP_PKEY_fromdata(ctx, &pkey, is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY,
                                  params) == 1;

    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    if (!good) {
        EVP_PKEY_free(pkey);
        return gw_crypto_fail(err, GW_INVALID, "jwk: its numbers are not a key");
    }
    return gw_key_adopt(pkey, out, err);
}

static OSSL_PARAM_BLD *builder_new(void)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();

    if (builder == NULL)
        abort();
    return builder;
}

/* The names of RFC 7518, 6.3, and OpenSSL's; the two public ones come first. A private key may
 * have its primes (all five of them) or not. */
static enum gw_rc from_rsa(const struct gw_jwk *jwk, struct gw_key **out, struct gw_err *err)
{
    const struct {
        const char *name, *param;
        struct gw_str text;
    } rows[] = {
        {"n", OSSL_PKEY_PARAM_RSA_N, jwk->n},
        {"e", OSSL_PKEY_PARAM_RSA_E, jwk->e},
        {"d", OSSL_PKEY_PARAM_RSA_D, jwk->d},
        {"p", OSSL_PKEY_PARAM_RSA_FACTOR1, jwk->p},
        {"q", OSSL_PKEY_PARAM_RSA_FACTOR2, jwk->q},
        {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1, jwk->dp},
        {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2, jwk->dq},
        {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1, jwk->qi},
    };
    size_t count = jwk->d.data == NULL ? 2 : jwk->p.data == NULL ? 3 : 8;
    OSSL_PARAM_BLD *builder = builder_new();
    BIGNUM *numbers[8] = {NULL};
    enum gw_rc rc = GW_OK;
    struct number number;

    for (size_t i = 0; rc == GW_OK && i < count; i++) {
        rc = read_number(rows[i].text, rows[i].name, &number, err);
        if (rc != GW_OK)
            break;
        numbers[i] = BN_bin2bn(number.bytes, (int)number.len, NULL);
        if (numbers[i] == NULL || OSSL_PARAM_BLD_push_BN(builder, rows[i].param, numbers[i]) != 1)
            rc = gw_crypto_fail(err, GW_INVALID, "jwk: its numbers are not a key");
    }
    if (rc == GW_OK)
        rc = make("RSA", builder, jwk->d.data != NULL, out, err);
    for (size_t i = 0; i < count; i++)
        BN_clear_free(numbers[i]);
    OSSL_PARAM_BLD_free(builder);
    OPENSSL_cleanse(&number, sizeof(number));
    return rc;
}

static bool find_curve(struct gw_str name, enum gw_curve *out)
{
    for (int i = GW_CURVE_NONE + 1; i < GW_CURVE_COUNT; i++) {
        *out = (enum gw_curve)i;
        if (gw_str_eq(name, gw_str_c(gw_curve_name(*out))))
            return true;
    }
    return false;
}

static enum gw_rc from_ec(const struct gw_jwk *jwk, struct gw_key **out, struct gw_err *err)
{
    OSSL_PARAM_BLD *builder;
    struct number x, y, d = {.len = 0};
    enum gw_curve curve;
    uint8_t point[1 + 2 * 66];
    BIGNUM *number = NULL;
    enum gw_rc rc;

    if (jwk->crv.data == NULL || !find_curve(jwk->crv, &curve))
        return gw_err_set(err, GW_UNSUPPORTED, "jwk: crv: P-256, P-384, P-521 or secp256k1");
    size_t bytes = gw_curve_bytes(curve);
    if ((rc = read_number(jwk->x, "x", &x, err)) != GW_OK ||
        (rc = read_number(jwk->y, "y", &y, err)) != GW_OK ||
        (jwk->d.data != NULL && (rc = read_number(jwk->d, "d", &d, err)) != GW_OK))
        return rc;
    if (x.len != bytes || y.len != bytes || (d.len != 0 && d.len != bytes))
        return gw_err_set(err, GW_INVALID, "jwk: a number is not as long as its curve wants it");
    point[0] = 4; /* both coordinates follow */
    memcpy(point + 1, x.bytes, bytes);
    memcpy(point + 1 + bytes, y.bytes, bytes);
    builder = builder_new();
    if (d.len != 0)
        number = BN_bin2bn(d.bytes, (int)d.len, NULL);
    if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, gw_curve_group(curve),
                                        0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * bytes) !=
            1 ||
        (number != NULL && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, number) != 1))
        rc = gw_crypto_fail(err, GW_INVALID, "jwk: its numbers are not a key");
    else
        rc = make("EC", builder, number != NULL, out, err);
    BN_clear_free(number);
    OSSL_PARAM_BLD_free(builder);
    OPENSSL_cleanse(&d, sizeof(d));
    return rc;
}

static enum gw_rc from_okp(const struct gw_jwk *jwk, struct gw_key **out, struct gw_err *err)
{
    struct number x, d;
    uint8_t own[32];
    size_t own_len = sizeof(own);
    EVP_PKEY *pkey;
    enum gw_rc rc;

    if (!gw_str_eq(jwk->crv, GW_STR("Ed25519")))
        return gw_err_set(err, GW_UNSUPPORTED, "jwk: crv: Ed25519 expected");
    if ((rc = read_number(jwk->x, "x", &x, err)) != GW_OK)
        return rc;
    if (jwk->d.data == NULL) {
        pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, x.bytes, x.len);
    } else {
        if ((rc = read_number(jwk->d, "d", &d, err)) != GW_OK)
            return rc;
        pkey = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, d.bytes, d.len);
        OPENSSL_cleanse(&d, sizeof(d));
        if (pkey != NULL && (EVP_PKEY_get_raw_public_key(pkey, own, &own_len) != 1 ||
                             x.len != own_len || memcmp(own, x.bytes, own_len) != 0)) {
            EVP_PKEY_free(pkey);
            return gw_err_set(err, GW_INVALID, "jwk: x is not of the private key");
        }
    }
    return pkey != NULL ? gw_key_adopt(pkey, out, err)
                        : gw_crypto_fail(err, GW_INVALID, "jwk: its numbers are not a key");
}

enum gw_rc gw_key_from_jwk(const struct gw_jwk *jwk, struct gw_key **out, struct gw_err *err)
{
    struct number secret;
    enum gw_rc rc;

    if (gw_str_eq(jwk->kty, GW_STR("RSA")))
        return from_rsa(jwk, out, err);
    if (gw_str_eq(jwk->kty, GW_STR("EC")))
        return from_ec(jwk, out, err);
    if (gw_str_eq(jwk->kty, GW_STR("OKP")))
        return from_okp(jwk, out, err);
    if (!gw_str_eq(jwk->kty, GW_STR("oct")))
        return gw_err_set(err, GW_UNSUPPORTED, "jwk: kty: RSA, EC, OKP or oct expected");
    rc = read_number(jwk->k, "k", &secret, err);
    if (rc == GW_OK)
        rc = gw_key_secret(gw_str((const char *)secret.bytes, secret.len), out, err);
    OPENSSL_cleanse(&secret, sizeof(secret));
    return rc;
}
