#include "base/crypto.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/crypto_private.h"
#include "base/keccak.h"

static const struct row {
    const char *name;
    const char *evp;
    size_t bytes;
    size_t block;
} rows[GW_DIGEST_COUNT] = {
#define ROW(id, name, evp, bytes, block) [id] = {name, evp, bytes, block},
    GW_DIGEST_ROWS(ROW)
#undef ROW
};

/* Filled once per process; read by all of its threads. Two threads that race to fetch the
 * same one both succeed, and the loser frees its own. */
static EVP_MD *fetched[GW_DIGEST_COUNT];

const EVP_MD *gw_crypto_md(enum gw_digest digest)
{
    EVP_MD *md = __atomic_load_n(&fetched[digest], __ATOMIC_ACQUIRE), *none = NULL;

    if (md != NULL || rows[digest].evp == NULL)
        return md;
    md = EVP_MD_fetch(NULL, rows[digest].evp, NULL);
    if (md == NULL)
        return NULL;
    if (!__atomic_compare_exchange_n(&fetched[digest], &none, md, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        EVP_MD_free(md);
        md = none;
    }
    return md;
}

enum gw_rc gw_crypto_init(struct gw_err *err)
{
    for (int i = 0; i < GW_DIGEST_COUNT; i++)
        if (rows[i].evp != NULL && gw_crypto_md((enum gw_digest)i) == NULL)
            return gw_err_set(err, GW_UNSUPPORTED, "crypto: this OpenSSL does not provide %s",
                              rows[i].evp);
    return GW_OK;
}

bool gw_digest_by_name(struct gw_str name, enum gw_digest *out)
{
    for (int i = 0; i < GW_DIGEST_COUNT; i++) {
        if (gw_str_eq_nocase(name, gw_str_c(rows[i].name))) {
            *out = (enum gw_digest)i;
            return true;
        }
    }
    return false;
}

const char *gw_digest_name(enum gw_digest digest)
{
    return rows[digest].name;
}

size_t gw_digest_bytes(enum gw_digest digest)
{
    return rows[digest].bytes;
}

/* One context for each thread: making one costs as much as a short digest. */
static pthread_key_t context_key;
static pthread_once_t context_once = PTHREAD_ONCE_INIT;
static _Thread_local EVP_MD_CTX *context;

static void context_free(void *arg)
{
    EVP_MD_CTX_free(arg);
}

static void context_key_make(void)
{
    if (pthread_key_create(&context_key, context_free) != 0)
        abort();
}

static EVP_MD_CTX *context_get(void)
{
    if (context != NULL)
        return context;
    (void)pthread_once(&context_once, context_key_make);
    context = EVP_MD_CTX_new();
    if (context == NULL) {
        (void)fputs("moongate: out of memory\n", stderr);
        abort();
    }
    (void)pthread_setspecific(context_key, context);
    return context;
}

enum gw_rc gw_digest(enum gw_digest digest, struct gw_str data, uint8_t *out)
{
    EVP_MD_CTX *ctx = context_get();
    const EVP_MD *md;

    if (rows[digest].evp == NULL) {
        gw_keccak256(data, out);
        return GW_OK;
    }
    md = gw_crypto_md(digest);
    if (md == NULL)
        return GW_UNSUPPORTED;
    if (EVP_DigestInit_ex2(ctx, md, NULL) != 1 || EVP_DigestUpdate(ctx, data.data, data.len) != 1 ||
        EVP_DigestFinal_ex(ctx, out, NULL) != 1)
        return GW_SYSTEM;
    return GW_OK;
}

/* HMAC by its definition (RFC 2104) over the digest: EVP_MAC would look its algorithm up by
 * name at each call. */
enum gw_rc gw_hmac(enum gw_digest digest, struct gw_str key, struct gw_str data, uint8_t *out)
{
    uint8_t block[GW_DIGEST_BLOCK_BYTES_MAX] = {0}, inner[GW_DIGEST_BYTES_MAX];
    size_t block_len = rows[digest].block;
    const EVP_MD *md = gw_crypto_md(digest);
    EVP_MD_CTX *ctx = context_get();
    enum gw_rc rc = GW_SYSTEM;

    if (md == NULL)
        return GW_UNSUPPORTED;
    if (key.len > block_len) {
        rc = gw_digest(digest, key, block);
        if (rc != GW_OK)
            return rc;
        rc = GW_SYSTEM;
    } else if (key.len > 0) {
        memcpy(block, key.data, key.len);
    }
    for (size_t i = 0; i < block_len; i++)
        block[i] ^= 0x36;
    if (EVP_DigestInit_ex2(ctx, md, NULL) != 1 || EVP_DigestUpdate(ctx, block, block_len) != 1 ||
        EVP_DigestUpdate(ctx, data.data, data.len) != 1 ||
        EVP_DigestFinal_ex(ctx, inner, NULL) != 1)
        goto wipe;
    for (size_t i = 0; i < block_len; i++)
        block[i] ^= 0x36 ^ 0x5c;
    if (EVP_DigestInit_ex2(ctx, md, NULL) == 1 && EVP_DigestUpdate(ctx, block, block_len) == 1 &&
        EVP_DigestUpdate(ctx, inner, rows[digest].bytes) == 1 &&
        EVP_DigestFinal_ex(ctx, out, NULL) == 1)
        rc = GW_OK;

wipe:
    OPENSSL_cleanse(block, sizeof(block));
    OPENSSL_cleanse(inner, sizeof(inner));
    return rc;
}

bool gw_crypto_equal(struct gw_str a, struct gw_str b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.data, b.data, a.len) == 0);
}

#define POOL_BYTES 4096

/* Bytes are wiped as they are handed out, so that a later leak of memory tells nothing about
 * an earlier key or nonce. */
static _Thread_local struct {
    uint32_t left;
    uint8_t bytes[POOL_BYTES];
} pool;

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void pool_after_fork(void)
{
    OPENSSL_cleanse(&pool, sizeof(pool));
}

static void fork_watch(void)
{
    if (pthread_atfork(NULL, NULL, pool_after_fork) != 0)
        abort();
}

static void random_from_source(void *to, size_t len)
{
    uint8_t *at = to;

    while (len > 0) {
        int some = len > 1 << 20 ? 1 << 20 : (int)len;
        if (RAND_bytes(at, some) != 1) {
            (void)fputs("moongate: no random bytes from OpenSSL\n", stderr);
            abort();
        }
        at += some;
        len -= (size_t)some;
    }
}

void gw_random(void *to, size_t len)
{
    if (len > POOL_BYTES / 4) {
        random_from_source(to, len);
        return;
    }
    if (pool.left < len) {
        (void)pthread_once(&fork_once, fork_watch);
        random_from_source(pool.bytes, POOL_BYTES);
        pool.left = POOL_BYTES;
    }
    pool.left -= (uint32_t)len;
    memcpy(to, pool.bytes + pool.left, len);
    memset(pool.bytes + pool.left, 0, len);
}
