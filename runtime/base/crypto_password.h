/* Hashes of passwords, slow on purpose: for helper threads, never for a loop.
 * Lives in: any thread; nothing is kept but libcrypt, which is opened at the first use. */
#ifndef GW_BASE_CRYPTO_PASSWORD_H
#define GW_BASE_CRYPTO_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/crypto.h"

#define GW_PASSWORD_BYTES_MAX 4096
#define GW_PASSWORD_OUT_BYTES_MAX 1024
#define GW_PBKDF2_ROUNDS_MAX 10000000u
#define GW_SCRYPT_MEMORY_MAX (64u << 20) /* 128 n r */
#define GW_SCRYPT_P_MAX 16u
#define GW_BCRYPT_COST_MIN 4u
#define GW_BCRYPT_COST_MAX 15u  /* about two seconds */
#define GW_BCRYPT_BYTES_MAX 72u /* it would ignore what follows */
#define GW_BCRYPT_HASH_BYTES 60

GW_MUST_CHECK enum gw_rc gw_pbkdf2(enum gw_digest digest, struct gw_str password,
                                   struct gw_str salt, uint32_t rounds, struct gw_str out);

struct gw_scrypt {
    uint64_t n; /* a power of two above 1 */
    uint32_t r, p;
};
/* GW_LIMIT: it would need too much memory. */
GW_MUST_CHECK enum gw_rc gw_scrypt(const struct gw_scrypt *cost, struct gw_str password,
                                   struct gw_str salt, struct gw_str out);

/* "$2b$12$…" of a new salt. GW_LIMIT: longer than 72 bytes; GW_INVALID: a NUL in it;
 * GW_UNSUPPORTED: libcrypt is not installed. */
GW_MUST_CHECK enum gw_rc gw_bcrypt(struct gw_str password, uint32_t cost,
                                   char out[GW_BCRYPT_HASH_BYTES + 1]);

/* GW_OK: it is the password. GW_NOT_FOUND: it is not. GW_INVALID: not a hash of bcrypt (2a, 2b,
 * 2y), or its cost is above the limit. */
GW_MUST_CHECK enum gw_rc gw_bcrypt_verify(struct gw_str password, struct gw_str hash);

#endif
