/* Sealing: encryption that also proves that nothing was changed (AEAD).
 * Lives in: anywhere; nothing is kept. The nonce has 12 bytes and must never come twice under
 * one key; the tag (16 bytes) stands behind the text. */
#ifndef GW_BASE_CRYPTO_AEAD_H
#define GW_BASE_CRYPTO_AEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/str.h"

/*   name, OpenSSL's, bytes of a key */
#define GW_AEAD_ROWS(X)                                                                            \
    X(GW_AES_128_GCM, "aes-128-gcm", "AES-128-GCM", 16)                                            \
    X(GW_AES_192_GCM, "aes-192-gcm", "AES-192-GCM", 24)                                            \
    X(GW_AES_256_GCM, "aes-256-gcm", "AES-256-GCM", 32)                                            \
    X(GW_CHACHA20_POLY1305, "chacha20-poly1305", "ChaCha20-Poly1305", 32)

enum gw_aead {
#define GW_AEAD_ENUM(id, name, evp, bytes) id,
    GW_AEAD_ROWS(GW_AEAD_ENUM)
#undef GW_AEAD_ENUM
        GW_AEAD_COUNT
};

#define GW_AEAD_NONCE_BYTES 12
#define GW_AEAD_TAG_BYTES 16
#define GW_AEAD_TEXT_BYTES_MAX (1u << 30)

GW_MUST_CHECK bool gw_aead_by_name(struct gw_str name, enum gw_aead *out);
uint32_t gw_aead_key_bytes(enum gw_aead aead);

struct gw_aead_keys {
    struct gw_str key, nonce;
    struct gw_str aad; /* proven too, but not in the text */
};

/* Lengths of key and nonce are the caller's promise. `out` has room for the text and the tag. */
GW_MUST_CHECK enum gw_rc gw_aead_seal(enum gw_aead aead, const struct gw_aead_keys *keys,
                                      struct gw_str text, uint8_t *out);

/* Writes sealed.len - GW_AEAD_TAG_BYTES bytes. GW_INVALID: not sealed by this key, or changed;
 * `out` then holds zeroes. */
GW_MUST_CHECK enum gw_rc gw_aead_open(enum gw_aead aead, const struct gw_aead_keys *keys,
                                      struct gw_str sealed, uint8_t *out);

#endif
