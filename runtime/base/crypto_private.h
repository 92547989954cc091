/* What the files behind the door to EVP share. Nobody else includes this. */
#ifndef GW_BASE_CRYPTO_PRIVATE_H
#define GW_BASE_CRYPTO_PRIVATE_H

#include <openssl/evp.h>

#include "base/crypto.h"
#include "base/crypto_key.h"

/* Fetched once. NULL: OpenSSL does not have it. */
const EVP_MD *gw_crypto_md(enum gw_digest digest);

struct gw_key {
    enum gw_key_type type;
    enum gw_curve curve;
    uint32_t bits;
    bool is_private;
    EVP_PKEY *pkey; /* NULL: a secret */
    uint8_t *secret;
    size_t secret_len;

    /* Made for the first signature of an algorithm and used again for the next ones. */
    EVP_PKEY_CTX *verifier, *signer;
    EVP_MAC_CTX *mac;
    enum gw_jwa verifier_jwa, signer_jwa, mac_jwa;
};

/* Takes the key over, also when it is refused: kinds and sizes that nobody should trust. */
GW_MUST_CHECK enum gw_rc gw_key_adopt(EVP_PKEY *pkey, struct gw_key **out, struct gw_err *err);

/* What OpenSSL noted about a failure is dropped: TLS would take it for one of its own. */
GW_MUST_CHECK enum gw_rc gw_crypto_fail(struct gw_err *err, enum gw_rc rc, const char *text);

const char *gw_curve_group(enum gw_curve curve); /* its name in OpenSSL */
uint32_t gw_curve_bytes(enum gw_curve curve);

#endif
