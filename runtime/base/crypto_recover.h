/* Who signed, from the signature alone: ECDSA on secp256k1 as Ethereum and TRON use it.
 * Lives in: any thread; nothing is kept but libsecp256k1, which is opened at the first use. */
#ifndef GW_BASE_CRYPTO_RECOVER_H
#define GW_BASE_CRYPTO_RECOVER_H

#include <stdint.h>

#include "base/rc.h"

#define GW_RECOVER_DIGEST_BYTES 32
#define GW_RECOVER_SIGNATURE_BYTES 64 /* r, s */
#define GW_RECOVER_KEY_BYTES 65       /* 4, x, y */

/* `id` is 0 to 3 (27 and 28 of Ethereum less 27). GW_INVALID: no key signs so;
 * GW_UNSUPPORTED: libsecp256k1 is not installed. */
GW_MUST_CHECK enum gw_rc gw_secp256k1_recover(const uint8_t digest[GW_RECOVER_DIGEST_BYTES],
                                              const uint8_t signature[GW_RECOVER_SIGNATURE_BYTES],
                                              int id, uint8_t out[GW_RECOVER_KEY_BYTES]);

#endif
