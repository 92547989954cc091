/* Signatures. A key keeps its context: fetching the algorithm costs as much as an RSA verify's
 * tenth, and an HMAC's double. */
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "base/crypto_private.h"

static const struct row {
    const char *name;
    enum gw_key_type type;
    enum gw_digest digest;
    enum gw_curve curve;
    bool pss;
} rows[GW_JWA_COUNT] = {
#define ROW(id, name, type, digest, curve, pss) [id] = {name, type, digest, curve, pss},
    GW_JWA_ROWS(ROW)
#undef ROW
};

bool gw_jwa_by_name(struct gw_str name, enum gw_jwa *out)
{
    for (int i = 0; i < GW_JWA_COUNT; i++) {
        if (gw_str_eq(name, gw_str_c(rows[i].name))) {
            *out = (enum gw_jwa)i;
            return true;
        }
    }
    return false;
}

const char *gw_jwa_name(enum gw_jwa jwa)
{
    return rows[jwa].name;
}

enum gw_rc gw_key_fits(const struct gw_key *key, enum gw_jwa jwa)
{
    if (key->type != rows[jwa].type || key->curve != rows[jwa].curve)
        return GW_WRONG_TYPE;
    if (key->type == GW_KEY_SECRET && key->secret_len < gw_digest_bytes(rows[jwa].digest))
        return GW_LIMIT;
    return GW_OK;
}

/* A context that was set up for this algorithm, kept in `*slot`. */
static EVP_PKEY_CTX *context(struct gw_key *key, enum gw_jwa jwa, bool sign)
{
    EVP_PKEY_CTX **slot = sign ? &key->signer : &key->verifier;
    enum gw_jwa *made_for = sign ? &key->signer_jwa : &key->verifier_jwa;
    const EVP_MD *md = gw_crypto_md(rows[jwa].digest);
    EVP_PKEY_CTX *ctx;

    if (*slot != NULL && *made_for == jwa)
        return *slot;
    EVP_PKEY_CTX_free(*slot);
    *slot = NULL;
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    if (ctx == NULL || md == NULL ||
        (sign ? EVP_PKEY_sign_init(ctx) : EVP_PKEY_verify_init(ctx)) != 1 ||
        EVP_PKEY_CTX_set_signature_md(ctx, md) != 1)
        goto fail;
    if (key->type == GW_KEY_RSA &&
        EVP_PKEY_CTX_set_rsa_padding(ctx, rows[jwa].pss ? RSA_PKCS1_PSS_PADDING
                                                        : RSA_PKCS1_PADDING) != 1)
        goto fail;
    if (rows[jwa].pss && (EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) != 1 ||
                          EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) != 1))
        goto fail;
    *slot = ctx;
    *made_for = jwa;
    return ctx;

fail:
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return NULL;
}

static EVP_MAC_CTX *mac_context(struct gw_key *key, enum gw_jwa jwa)
{
    const EVP_MD *md = gw_crypto_md(rows[jwa].digest);
    OSSL_PARAM params[2];
    EVP_MAC *mac;

    if (key->mac != NULL && key->mac_jwa == jwa)
        return EVP_MAC_init(key->mac, NULL, 0, NULL) == 1 ? key->mac : NULL;
    EVP_MAC_CTX_free(key->mac);
    key->mac = NULL;
    mac = md != NULL ? EVP_MAC_fetch(NULL, "HMAC", NULL) : NULL;
    if (mac == NULL)
        return NULL;
    params[0] =
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)EVP_MD_get0_name(md), 0);
    params[1] = OSSL_PARAM_construct_end();
    key->mac = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);
    if (key->mac == NULL || EVP_MAC_init(key->mac, key->secret, key->secret_len, params) != 1) {
        EVP_MAC_CTX_free(key->mac);
        key->mac = NULL;
        return NULL;
    }
    key->mac_jwa = jwa;
    return key->mac;
}

static enum gw_rc hmac(struct gw_key *key, enum gw_jwa jwa, struct gw_str data, uint8_t *out,
                       size_t *len)
{
    EVP_MAC_CTX *ctx = mac_context(key, jwa);

    if (ctx == NULL || EVP_MAC_update(ctx, (const uint8_t *)data.data, data.len) != 1 ||
        EVP_MAC_final(ctx, out, len, GW_SIGNATURE_BYTES_MAX) != 1)
        return gw_crypto_fail(NULL, GW_SYSTEM, "");
    return GW_OK;
}

/* DER to two numbers of one length side by side, in place. */
static enum gw_rc to_raw(enum gw_curve curve, uint8_t *at, size_t *len)
{
    int bytes = (int)gw_curve_bytes(curve);
    const uint8_t *from = at;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &from, (long)*len);
    bool good = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), at, bytes) == bytes &&
                BN_bn2binpad(ECDSA_SIG_get0_s(sig), at + bytes, bytes) == bytes;

    ECDSA_SIG_free(sig);
    *len = 2 * (size_t)bytes;
    return good ? GW_OK : gw_crypto_fail(NULL, GW_SYSTEM, "");
}

/* Two numbers to DER. Returns its length; 0: not two numbers of this curve. */
static size_t to_der(enum gw_curve curve, struct gw_str raw, uint8_t out[GW_SIGNATURE_BYTES_MAX])
{
    size_t bytes = gw_curve_bytes(curve);
    ECDSA_SIG *sig;
    BIGNUM *r, *s;
    int len = 0;

    if (raw.len != 2 * bytes)
        return 0;
    sig = ECDSA_SIG_new();
    r = BN_bin2bn((const uint8_t *)raw.data, (int)bytes, NULL);
    s = BN_bin2bn((const uint8_t *)raw.data + bytes, (int)bytes, NULL);
    if (sig == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1)
        abort(); /* out of memory, and nothing else */
    len = i2d_ECDSA_SIG(sig, &out);
    ECDSA_SIG_free(sig);
    return len > 0 ? (size_t)len : 0;
}

static enum gw_rc eddsa_sign(struct gw_key *key, struct gw_str data, uint8_t *out, size_t *len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL &&
                EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key->pkey, NULL) == 1 &&
                EVP_DigestSign(ctx, out, len, (const uint8_t *)data.data, data.len) == 1;

    EVP_MD_CTX_free(ctx);
    return good ? GW_OK : gw_crypto_fail(NULL, GW_SYSTEM, "");
}

enum gw_rc gw_sign(struct gw_key *key, enum gw_jwa jwa, enum gw_signature_form form,
                   struct gw_str data, uint8_t out[GW_SIGNATURE_BYTES_MAX], size_t *len)
{
    uint8_t digest[GW_DIGEST_BYTES_MAX];
    enum gw_rc rc = gw_key_fits(key, jwa);
    EVP_PKEY_CTX *ctx;

    if (rc != GW_OK)
        return rc;
    if (!key->is_private)
        return GW_INVALID;
    *len = GW_SIGNATURE_BYTES_MAX;
    if (key->type == GW_KEY_SECRET)
        return hmac(key, jwa, data, out, len);
    if (key->type == GW_KEY_ED25519)
        return eddsa_sign(key, data, out, len);
    rc = gw_digest(rows[jwa].digest, data, digest);
    if (rc != GW_OK)
        return rc;
    ctx = context(key, jwa, true);
    if (ctx == NULL || EVP_PKEY_sign(ctx, out, len, digest, gw_digest_bytes(rows[jwa].digest)) != 1)
        return gw_crypto_fail(NULL, GW_SYSTEM, "");
    if (key->type == GW_KEY_EC && form == GW_SIGNATURE_RAW)
        return to_raw(key->curve, out, len);
    return GW_OK;
}

static enum gw_rc eddsa_verify(struct gw_key *key, struct gw_str data, struct gw_str signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL &&
                EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, key->pkey, NULL) == 1 &&
                EVP_DigestVerify(ctx, (const uint8_t *)signature.data, signature.len,
                                 (const uint8_t *)data.data, data.len) == 1;

    EVP_MD_CTX_free(ctx);
    return good ? GW_OK : gw_crypto_fail(NULL, GW_INVALID, "");
}

enum gw_rc gw_verify(struct gw_key *key, enum gw_jwa jwa, enum gw_signature_form form,
                     struct gw_str data, struct gw_str signature)
{
    uint8_t digest[GW_DIGEST_BYTES_MAX], own[GW_SIGNATURE_BYTES_MAX];
    enum gw_rc rc = gw_key_fits(key, jwa);
    EVP_PKEY_CTX *ctx;
    size_t len;

    if (rc != GW_OK)
        return rc;
    if (signature.len == 0 || signature.len > GW_SIGNATURE_BYTES_MAX)
        return GW_INVALID;
    if (key->type == GW_KEY_SECRET) {
        rc = hmac(key, jwa, data, own, &len);
        if (rc == GW_OK && !gw_crypto_equal(gw_str((char *)own, len), signature))
            rc = GW_INVALID;
        return rc;
    }
    if (key->type == GW_KEY_ED25519)
        return eddsa_verify(key, data, signature);
    if (key->type == GW_KEY_EC && form == GW_SIGNATURE_RAW) {
        len = to_der(key->curve, signature, own);
        if (len == 0)
            return GW_INVALID;
        signature = gw_str((char *)own, len);
    }
    rc = gw_digest(rows[jwa].digest, data, digest);
    if (rc != GW_OK)
        return rc;
    ctx = context(key, jwa, false);
    if (ctx == NULL)
        return GW_SYSTEM;
    if (EVP_PKEY_verify(ctx, (const uint8_t *)signature.data, signature.len, digest,
                        gw_digest_bytes(rows[jwa].digest)) != 1)
        return gw_crypto_fail(NULL, GW_INVALID, "");
    return GW_OK;
}
