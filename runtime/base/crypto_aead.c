#include "base/crypto_aead.h"

#include <assert.h>
#include <stdlib.h>

#include "base/crypto_private.h"

static const struct row {
    const char *name, *evp;
    uint32_t key_bytes;
} rows[GW_AEAD_COUNT] = {
#define ROW(id, name, evp, bytes) [id] = {name, evp, bytes},
    GW_AEAD_ROWS(ROW)
#undef ROW
};

static EVP_CIPHER *fetched[GW_AEAD_COUNT];

static const EVP_CIPHER *cipher_of(enum gw_aead aead)
{
    EVP_CIPHER *cipher = __atomic_load_n(&fetched[aead], __ATOMIC_ACQUIRE), *none = NULL;

    if (cipher != NULL)
        return cipher;
    cipher = EVP_CIPHER_fetch(NULL, rows[aead].evp, NULL);
    if (cipher != NULL && !__atomic_compare_exchange_n(&fetched[aead], &none, cipher, false,
                                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        EVP_CIPHER_free(cipher);
        cipher = none;
    }
    return cipher;
}

bool gw_aead_by_name(struct gw_str name, enum gw_aead *out)
{
    for (int i = 0; i < GW_AEAD_COUNT; i++) {
        if (gw_str_eq_nocase(name, gw_str_c(rows[i].name))) {
            *out = (enum gw_aead)i;
            return true;
        }
    }
    return false;
}

uint32_t gw_aead_key_bytes(enum gw_aead aead)
{
    return rows[aead].key_bytes;
}

/* Key, nonce and what is only proven. */
static bool begin(EVP_CIPHER_CTX *ctx, enum gw_aead aead, const struct gw_aead_keys *keys, int seal)
{
    const EVP_CIPHER *cipher = cipher_of(aead);
    int len;

    assert(keys->key.len == rows[aead].key_bytes);
    assert(keys->nonce.len == GW_AEAD_NONCE_BYTES);
    return cipher != NULL &&
           EVP_CipherInit_ex2(ctx, cipher, (const uint8_t *)keys->key.data,
                              (const uint8_t *)keys->nonce.data, seal, NULL) == 1 &&
           (keys->aad.len == 0 || EVP_CipherUpdate(ctx, NULL, &len, (const uint8_t *)keys->aad.data,
                                                   (int)keys->aad.len) == 1);
}

static EVP_CIPHER_CTX *context_new(void)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (ctx == NULL)
        abort();
    return ctx;
}

enum gw_rc gw_aead_seal(enum gw_aead aead, const struct gw_aead_keys *keys, struct gw_str text,
                        uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = context_new();
    int len = 0, end = 0;
    bool good =
        begin(ctx, aead, keys, 1) &&
        (text.len == 0 ||
         EVP_CipherUpdate(ctx, out, &len, (const uint8_t *)text.data, (int)text.len) == 1) &&
        EVP_CipherFinal_ex(ctx, out + len, &end) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, GW_AEAD_TAG_BYTES, out + text.len) == 1;

    EVP_CIPHER_CTX_free(ctx);
    return good ? GW_OK : gw_crypto_fail(NULL, GW_SYSTEM, "");
}

enum gw_rc gw_aead_open(enum gw_aead aead, const struct gw_aead_keys *keys, struct gw_str sealed,
                        uint8_t *out)
{
    EVP_CIPHER_CTX *ctx;
    int len = 0, end = 0;
    size_t text_len;
    bool good;

    if (sealed.len < GW_AEAD_TAG_BYTES)
        return GW_INVALID;
    text_len = sealed.len - GW_AEAD_TAG_BYTES;
    ctx = context_new();
    good = begin(ctx, aead, keys, 0) &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, GW_AEAD_TAG_BYTES,
                               (char *)sealed.data + text_len) == 1 &&
           (text_len == 0 ||
            EVP_CipherUpdate(ctx, out, &len, (const uint8_t *)sealed.data, (int)text_len) == 1) &&
           EVP_CipherFinal_ex(ctx, out + len, &end) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (good)
        return GW_OK;
    memset(out, 0, text_len);
    return gw_crypto_fail(NULL, GW_INVALID, "");
}
