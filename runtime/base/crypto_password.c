#include "base/crypto_password.h"

#include <crypt.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crypto_private.h"

enum gw_rc gw_pbkdf2(enum gw_digest digest, struct gw_str password, struct gw_str salt,
                     uint32_t rounds, struct gw_str out)
{
    const EVP_MD *md = gw_crypto_md(digest);

    if (md == NULL)
        return GW_UNSUPPORTED;
    if (rounds == 0 || rounds > GW_PBKDF2_ROUNDS_MAX || out.len > GW_PASSWORD_OUT_BYTES_MAX)
        return GW_LIMIT;
    if (PKCS5_PBKDF2_HMAC(password.data, (int)password.len, (const uint8_t *)salt.data,
                          (int)salt.len, (int)rounds, md, (int)out.len, (uint8_t *)out.data) != 1)
        return gw_crypto_fail(NULL, GW_SYSTEM, "");
    return GW_OK;
}

enum gw_rc gw_scrypt(const struct gw_scrypt *cost, struct gw_str password, struct gw_str salt,
                     struct gw_str out)
{
    if (cost->n < 2 || (cost->n & (cost->n - 1)) != 0 || cost->r == 0 || cost->p == 0)
        return GW_INVALID;
    if (cost->p > GW_SCRYPT_P_MAX || cost->r > GW_SCRYPT_MEMORY_MAX / 128 ||
        cost->n > GW_SCRYPT_MEMORY_MAX / (128 * (uint64_t)cost->r) ||
        out.len > GW_PASSWORD_OUT_BYTES_MAX)
        return GW_LIMIT;
    if (EVP_PBE_scrypt(password.data, password.len, (const uint8_t *)salt.data, salt.len, cost->n,
                       cost->r, cost->p, 2 * (uint64_t)GW_SCRYPT_MEMORY_MAX, (uint8_t *)out.data,
                       out.len) != 1)
        return gw_crypto_fail(NULL, GW_SYSTEM, "");
    return GW_OK;
}

/* Linked in, it would cost every start; it is wanted by few. */
static char *(*crypt_function)(const char *, const char *, struct crypt_data *);
static pthread_once_t crypt_once = PTHREAD_ONCE_INIT;

static void crypt_open(void)
{
    void *library = dlopen("libcrypt.so.1", RTLD_NOW | RTLD_LOCAL);

    if (library != NULL)
        *(void **)&crypt_function = dlsym(library, "crypt_r");
}

static enum gw_rc run(struct gw_str password, const char *setting,
                      char out[GW_BCRYPT_HASH_BYTES + 1])
{
    char text[GW_BCRYPT_BYTES_MAX + 1];
    struct crypt_data *data;
    enum gw_rc rc = GW_SYSTEM;
    const char *hash;

    if (password.len > GW_BCRYPT_BYTES_MAX)
        return GW_LIMIT;
    if (password.len > 0 && memchr(password.data, '\0', password.len) != NULL)
        return GW_INVALID;
    (void)pthread_once(&crypt_once, crypt_open);
    if (crypt_function == NULL)
        return GW_UNSUPPORTED;
    data = calloc(1, sizeof(*data));
    if (data == NULL)
        return GW_NOMEM;
    if (password.len > 0)
        memcpy(text, password.data, password.len);
    text[password.len] = '\0';
    hash = crypt_function(text, setting, data);
    if (hash != NULL && strlen(hash) == GW_BCRYPT_HASH_BYTES && hash[0] == '$') {
        memcpy(out, hash, GW_BCRYPT_HASH_BYTES + 1);
        rc = GW_OK;
    }
    OPENSSL_cleanse(text, sizeof(text));
    OPENSSL_cleanse(data, sizeof(*data));
    free(data);
    return rc;
}

/* 128 bits in bcrypt's own alphabet: 22 characters, of the last one only two bits count. */
enum gw_rc gw_bcrypt(struct gw_str password, uint32_t cost, char out[GW_BCRYPT_HASH_BYTES + 1])
{
    static const char letters[] =
        "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char setting[7 + 22 + 1];
    uint8_t chance[22];

    if (cost < GW_BCRYPT_COST_MIN || cost > GW_BCRYPT_COST_MAX)
        return GW_LIMIT;
    gw_random(chance, sizeof(chance));
    (void)snprintf(setting, sizeof(setting), "$2b$%02u$", cost);
    for (int i = 0; i < 22; i++)
        setting[7 + i] = letters[chance[i] & (i < 21 ? 63 : 48)];
    setting[29] = '\0';
    return run(password, setting, out);
}

enum gw_rc gw_bcrypt_verify(struct gw_str password, struct gw_str hash)
{
    char setting[GW_BCRYPT_HASH_BYTES + 1], own[GW_BCRYPT_HASH_BYTES + 1];
    enum gw_rc rc;

    if (hash.len != GW_BCRYPT_HASH_BYTES)
        return GW_INVALID;
    memcpy(setting, hash.data, hash.len);
    setting[hash.len] = '\0';
    unsigned cost = (unsigned)(setting[4] - '0') * 10 + (unsigned)(setting[5] - '0');
    if (memcmp(setting, "$2", 2) != 0 || strchr("aby", setting[2]) == NULL || setting[2] == '\0' ||
        setting[3] != '$' || setting[6] != '$' || cost < GW_BCRYPT_COST_MIN ||
        cost > GW_BCRYPT_COST_MAX)
        return GW_INVALID;
    rc = run(password, setting, own);
    if (rc != GW_OK)
        return rc == GW_SYSTEM ? GW_INVALID : rc;
    return gw_crypto_equal(gw_str(own, GW_BCRYPT_HASH_BYTES), hash) ? GW_OK : GW_NOT_FOUND;
}
