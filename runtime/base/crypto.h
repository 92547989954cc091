/* Digests, HMAC, random bytes, comparison in constant time. The only door to OpenSSL's EVP
 * (with crypto_*.c: keys and signatures, sealing, certificates, passwords).
 * Lives in: any process and thread. Owner: nobody: the algorithms are fetched once per
 * process (a fetch costs more than a digest), contexts and the random pool are per thread.
 * Random bytes come from a pool that OpenSSL's generator fills; a fork empties it, so that
 * parent and child never hand out the same bytes. */
#ifndef GW_BASE_CRYPTO_H
#define GW_BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/*  name, OpenSSL's name (NULL: base/keccak.h), bytes of a digest, bytes of a block */
#define GW_DIGEST_ROWS(X)                                                                          \
    X(GW_MD5, "md5", "MD5", 16, 64)                                                                \
    X(GW_SHA1, "sha1", "SHA1", 20, 64)                                                             \
    X(GW_SHA256, "sha256", "SHA256", 32, 64)                                                       \
    X(GW_SHA384, "sha384", "SHA384", 48, 128)                                                      \
    X(GW_SHA512, "sha512", "SHA512", 64, 128)                                                      \
    X(GW_SHA3_256, "sha3_256", "SHA3-256", 32, 136)                                                \
    X(GW_SHA3_384, "sha3_384", "SHA3-384", 48, 104)                                                \
    X(GW_SHA3_512, "sha3_512", "SHA3-512", 64, 72)                                                 \
    X(GW_KECCAK256, "keccak256", NULL, 32, 136)

enum gw_digest {
#define GW_DIGEST_ENUM(id, name, evp, bytes, block) id,
    GW_DIGEST_ROWS(GW_DIGEST_ENUM)
#undef GW_DIGEST_ENUM
        GW_DIGEST_COUNT
};

#define GW_DIGEST_BYTES_MAX 64
#define GW_DIGEST_BLOCK_BYTES_MAX 136

/* Fetches all digests now, so that a missing one (MD5 under a FIPS provider) is told at start.
 * Without it the first use of each fetches. Idempotent. */
GW_MUST_CHECK enum gw_rc gw_crypto_init(struct gw_err *err);

/* "sha256" and so on, any case. */
GW_MUST_CHECK bool gw_digest_by_name(struct gw_str name, enum gw_digest *out);
const char *gw_digest_name(enum gw_digest digest);
size_t gw_digest_bytes(enum gw_digest digest);

/* Write gw_digest_bytes() bytes. GW_UNSUPPORTED: this OpenSSL does not have it; GW_SYSTEM. */
GW_MUST_CHECK enum gw_rc gw_digest(enum gw_digest digest, struct gw_str data, uint8_t *out);
GW_MUST_CHECK enum gw_rc gw_hmac(enum gw_digest digest, struct gw_str key, struct gw_str data,
                                 uint8_t *out);

/* The time depends on the lengths only; different lengths are told apart at once. */
bool gw_crypto_equal(struct gw_str a, struct gw_str b);

/* Never fails: a process without a source of random bytes has nothing safe to do and aborts. */
void gw_random(void *to, size_t len);

#endif
