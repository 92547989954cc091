/* Keys: reading, refusing, describing. */
#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/crypto_private.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define RSA_EXPONENT_BITS_MAX 64
#define PEM_BLOCKS_MAX 16

static const struct curve {
    const char *name, *group;
    uint32_t bytes;
} curves[GW_CURVE_COUNT] = {
#define ROW(id, name, group, bytes) [id] = {name, group, bytes},
    GW_CURVE_ROWS(ROW)
#undef ROW
};

const char *gw_curve_name(enum gw_curve curve)
{
    return curves[curve].name;
}

const char *gw_curve_group(enum gw_curve curve)
{
    return curves[curve].group;
}

uint32_t gw_curve_bytes(enum gw_curve curve)
{
    return curves[curve].bytes;
}

enum gw_rc gw_crypto_fail(struct gw_err *err, enum gw_rc rc, const char *text)
{
    ERR_clear_error();
    return gw_err_set(err, rc, "%s", text);
}

static struct gw_key *key_new(enum gw_key_type type)
{
    struct gw_key *key = calloc(1, sizeof(*key));

    if (key == NULL)
        abort();
    key->type = type;
    return key;
}

void gw_key_free(struct gw_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_CTX_free(key->verifier);
    EVP_PKEY_CTX_free(key->signer);
    EVP_MAC_CTX_free(key->mac);
    EVP_PKEY_free(key->pkey);
    if (key->secret != NULL)
        OPENSSL_cleanse(key->secret, key->secret_len);
    free(key->secret);
    free(key);
}

/* Moduli of that generator are powers of 65537 modulo each small prime (CVE-2017-15361): chance
 * alone does so once in 2^27. */
static bool is_roca(const BIGNUM *n)
{
    static const uint8_t primes[] = {11, 13, 17,  19,  37,  53,  61,  71, 73,
                                     79, 97, 103, 107, 109, 127, 151, 157};

    for (size_t i = 0; i < sizeof(primes); i++) {
        BN_ULONG rest = BN_mod_word(n, primes[i]), power = 1;
        bool is_power = false;
        for (unsigned tries = 0; tries < primes[i] && !is_power; tries++) {
            is_power = power == rest;
            power = power * (65537 % primes[i]) % primes[i];
        }
        if (!is_power)
            return false;
    }
    return true;
}

static enum gw_rc judge_rsa(const EVP_PKEY *pkey, struct gw_err *err)
{
    BIGNUM *n = NULL, *e = NULL;
    enum gw_rc rc = GW_OK;

    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1 ||
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
        rc = gw_crypto_fail(err, GW_INVALID, "key: RSA without modulus or exponent");
    else if (BN_num_bits(n) < RSA_BITS_MIN || BN_num_bits(n) > RSA_BITS_MAX)
        rc = gw_err_set(err, GW_LIMIT, "key: RSA of %d bits: %d to %d expected", BN_num_bits(n),
                        RSA_BITS_MIN, RSA_BITS_MAX);
    else if (BN_num_bits(e) > RSA_EXPONENT_BITS_MAX || !BN_is_odd(e) || BN_is_one(e))
        rc = gw_err_set(err, GW_LIMIT,
                        "key: RSA with a public exponent that is even, one, or above 64 bits");
    else if (!BN_is_odd(n) || is_roca(n))
        rc = gw_err_set(err, GW_LIMIT, "key: RSA with a modulus that is known to be weak (ROCA)");
    BN_free(n);
    BN_free(e);
    return rc;
}

static bool find_curve(const EVP_PKEY *pkey, enum gw_curve *out)
{
    char group[64];

    if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1)
        return false;
    for (int i = GW_CURVE_NONE + 1; i < GW_CURVE_COUNT; i++) {
        if (strcmp(group, curves[i].group) == 0) {
            *out = (enum gw_curve)i;
            return true;
        }
    }
    return false;
}

static bool has_private(const EVP_PKEY *pkey, enum gw_key_type type)
{
    BIGNUM *d = NULL;
    size_t len = 0;
    bool has;

    if (type == GW_KEY_ED25519) {
        has = EVP_PKEY_get_raw_private_key(pkey, NULL, &len) == 1;
    } else {
        has = EVP_PKEY_get_bn_param(
                  pkey, type == GW_KEY_RSA ? OSSL_PKEY_PARAM_RSA_D : OSSL_PKEY_PARAM_PRIV_KEY,
                  &d) == 1;
        BN_clear_free(d);
    }
    ERR_clear_error();
    return has;
}

/* On the curve is enough for a public key: all its points have the curve's order, and trying that
 * takes as long as a verify. */
static enum gw_rc judge_ec(EVP_PKEY *pkey, enum gw_curve *curve, struct gw_err *err)
{
    EVP_PKEY_CTX *ctx;
    bool good;

    if (!find_curve(pkey, curve))
        return gw_crypto_fail(err, GW_UNSUPPORTED, "key: a curve that is not known here");
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    good = ctx != NULL && EVP_PKEY_public_check_quick(ctx) == 1 &&
           (!has_private(pkey, GW_KEY_EC) || EVP_PKEY_pairwise_check(ctx) == 1);
    EVP_PKEY_CTX_free(ctx);
    return good ? GW_OK
                : gw_crypto_fail(err, GW_INVALID,
                                 "key: the point is not on the curve, or not of the private key");
}

enum gw_rc gw_key_adopt(EVP_PKEY *pkey, struct gw_key **out, struct gw_err *err)
{
    enum gw_curve curve = GW_CURVE_NONE;
    enum gw_key_type type = GW_KEY_ED25519;
    enum gw_rc rc = GW_OK;

    if (EVP_PKEY_is_a(pkey, "RSA")) {
        type = GW_KEY_RSA;
        rc = judge_rsa(pkey, err);
    } else if (EVP_PKEY_is_a(pkey, "EC")) {
        type = GW_KEY_EC;
        rc = judge_ec(pkey, &curve, err);
    } else if (!EVP_PKEY_is_a(pkey, "ED25519")) {
        rc = gw_crypto_fail(err, GW_UNSUPPORTED, "key: RSA, EC or Ed25519 expected");
    }
    if (rc != GW_OK) {
        EVP_PKEY_free(pkey);
        return rc;
    }
    *out = key_new(type);
    (*out)->pkey = pkey;
    (*out)->curve = curve;
    (*out)->bits = (uint32_t)EVP_PKEY_get_bits(pkey);
    (*out)->is_private = has_private(pkey, type);
    return GW_OK;
}

enum gw_rc gw_key_secret(struct gw_str secret, struct gw_key **out, struct gw_err *err)
{
    if (secret.len == 0 || secret.len > GW_KEY_SECRET_BYTES_MAX)
        return gw_err_set(err, GW_LIMIT, "key: a secret of 1 to 65536 bytes expected");
    *out = key_new(GW_KEY_SECRET);
    (*out)->secret = malloc(secret.len);
    if ((*out)->secret == NULL)
        abort();
    memcpy((*out)->secret, secret.data, secret.len);
    (*out)->secret_len = secret.len;
    (*out)->bits = (uint32_t)secret.len * 8;
    (*out)->is_private = true;
    return GW_OK;
}

static EVP_PKEY *key_of_certificate(const uint8_t **at, long len)
{
    X509 *certificate = d2i_X509(NULL, at, len);
    EVP_PKEY *pkey = certificate != NULL ? X509_get_pubkey(certificate) : NULL;

    X509_free(certificate);
    return pkey;
}

enum form { FORM_PUBLIC, FORM_PRIVATE, FORM_PKCS1, FORM_CERTIFICATE, FORM_COUNT };

/* NULL: not of this form to its last byte. */
static EVP_PKEY *read_form(enum form form, const uint8_t *data, long len)
{
    const uint8_t *at = data;
    EVP_PKEY *pkey = NULL;

    if (form == FORM_PUBLIC)
        pkey = d2i_PUBKEY(NULL, &at, len);
    else if (form == FORM_PRIVATE)
        pkey = d2i_AutoPrivateKey(NULL, &at, len);
    else if (form == FORM_PKCS1)
        pkey = d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, len);
    else
        pkey = key_of_certificate(&at, len);
    ERR_clear_error();
    if (pkey != NULL && at != data + len) {
        EVP_PKEY_free(pkey);
        return NULL;
    }
    return pkey;
}

static const struct {
    const char *name;
    enum form form; /* FORM_COUNT: passed over */
} blocks[] = {
    {"PUBLIC KEY", FORM_PUBLIC},       {"PRIVATE KEY", FORM_PRIVATE},
    {"RSA PRIVATE KEY", FORM_PRIVATE}, {"EC PRIVATE KEY", FORM_PRIVATE},
    {"RSA PUBLIC KEY", FORM_PKCS1},    {"CERTIFICATE", FORM_CERTIFICATE},
    {"EC PARAMETERS", FORM_COUNT},
};

/* One block. GW_AGAIN: it is one to pass over. */
static enum gw_rc read_block(const char *name, const char *header, const uint8_t *data, long len,
                             EVP_PKEY **out, struct gw_err *err)
{
    if (strcmp(name, "ENCRYPTED PRIVATE KEY") == 0 || strstr(header, "ENCRYPTED") != NULL)
        return gw_err_set(err, GW_UNSUPPORTED, "key: it is encrypted with a password");
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        if (strcmp(name, blocks[i].name) != 0)
            continue;
        if (blocks[i].form == FORM_COUNT)
            return GW_AGAIN;
        *out = read_form(blocks[i].form, data, len);
        return *out != NULL ? GW_OK
                            : gw_err_set(err, GW_INVALID, "key: the PEM block %s is broken", name);
    }
    return gw_err_set(err, GW_UNSUPPORTED, "key: a PEM block \"%.40s\" is not a key", name);
}

static enum gw_rc read_pem(struct gw_str text, EVP_PKEY **out, struct gw_err *err)
{
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    enum gw_rc rc = GW_AGAIN;

    if (bio == NULL)
        abort();
    for (int i = 0; rc == GW_AGAIN && i < PEM_BLOCKS_MAX; i++) {
        char *name = NULL, *header = NULL;
        uint8_t *data = NULL;
        long len = 0;
        if (PEM_read_bio(bio, &name, &header, &data, &len) != 1)
            break;
        rc = read_block(name, header, data, len, out, err);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)len);
    }
    BIO_free(bio);
    ERR_clear_error();
    return rc == GW_AGAIN ? gw_err_set(err, GW_INVALID, "key: broken PEM") : rc;
}

enum gw_rc gw_key_read(struct gw_str text, struct gw_key **out, struct gw_err *err)
{
    EVP_PKEY *pkey = NULL;
    enum gw_rc rc;

    if (text.len > GW_KEY_TEXT_BYTES_MAX)
        return gw_err_set(err, GW_LIMIT, "key: longer than 65536 bytes");
    if (text.len == 0)
        return gw_err_set(err, GW_INVALID, "key: empty");
    if (memmem(text.data, text.len, "-----BEGIN ", 11) != NULL) {
        rc = read_pem(text, &pkey, err);
        return rc == GW_OK ? gw_key_adopt(pkey, out, err) : rc;
    }
    for (int form = 0; pkey == NULL && form < FORM_COUNT; form++)
        pkey = read_form((enum form)form, (const uint8_t *)text.data, (long)text.len);
    return pkey != NULL ? gw_key_adopt(pkey, out, err)
                        : gw_err_set(err, GW_INVALID, "key: neither PEM nor DER of a key");
}

enum gw_rc gw_key_generate(enum gw_key_type type, enum gw_curve curve, struct gw_key **out,
                           struct gw_err *err)
{
    EVP_PKEY *pkey = NULL;

    if (type == GW_KEY_ED25519)
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else if (type == GW_KEY_EC && curve != GW_CURVE_NONE)
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curves[curve].group);
    else
        return gw_err_set(err, GW_UNSUPPORTED, "key: EC or Ed25519 expected");
    return pkey != NULL ? gw_key_adopt(pkey, out, err)
                        : gw_crypto_fail(err, GW_SYSTEM, "key: it could not be made");
}

enum gw_key_type gw_key_type(const struct gw_key *key)
{
    return key->type;
}

enum gw_curve gw_key_curve(const struct gw_key *key)
{
    return key->curve;
}

uint32_t gw_key_bits(const struct gw_key *key)
{
    return key->bits;
}

bool gw_key_is_private(const struct gw_key *key)
{
    return key->is_private;
}

static const char *part_name(const struct gw_key *key, char part)
{
    if (key->type == GW_KEY_RSA)
        return part == 'n' ? OSSL_PKEY_PARAM_RSA_N : part == 'e' ? OSSL_PKEY_PARAM_RSA_E : NULL;
    return part == 'x' ? OSSL_PKEY_PARAM_EC_PUB_X : part == 'y' ? OSSL_PKEY_PARAM_EC_PUB_Y : NULL;
}

size_t gw_key_part(const struct gw_key *key, char part, uint8_t out[GW_KEY_PART_BYTES_MAX])
{
    size_t len = GW_KEY_PART_BYTES_MAX;
    BIGNUM *number = NULL;
    const char *name;

    if (key->type == GW_KEY_SECRET)
        return 0;
    if (key->type == GW_KEY_ED25519)
        return part == 'x' && EVP_PKEY_get_raw_public_key(key->pkey, out, &len) == 1 ? len : 0;
    name = part_name(key, part);
    if (name == NULL || EVP_PKEY_get_bn_param(key->pkey, name, &number) != 1) {
        ERR_clear_error();
        return 0;
    }
    len = key->type == GW_KEY_EC ? curves[key->curve].bytes : (size_t)BN_num_bytes(number);
    if (BN_bn2binpad(number, out, (int)len) < 0)
        len = 0;
    BN_free(number);
    return len;
}

enum gw_rc gw_key_pem(const struct gw_key *key, bool private_half, char **out, size_t *len)
{
    BIO *bio;
    char *text;
    bool good;

    if (key->pkey == NULL || (private_half && !key->is_private))
        return GW_INVALID;
    bio = BIO_new(BIO_s_mem());
    if (bio == NULL)
        abort();
    good = private_half
               ? PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1
               : PEM_write_bio_PUBKEY(bio, key->pkey) == 1;
    *len = (size_t)BIO_get_mem_data(bio, &text);
    *out = good ? malloc(*len + 1) : NULL;
    if (*out != NULL)
        memcpy(*out, text, *len);
    if (private_half && good)
        OPENSSL_cleanse(text, *len);
    BIO_free(bio);
    ERR_clear_error();
    return *out != NULL ? GW_OK : GW_SYSTEM;
}
