/* Keccak-256 as Ethereum and TRON use it: the sponge of SHA3-256 with the padding from before
 * the standard, which OpenSSL does not have. Lives in: anywhere; nothing is kept. */
#ifndef GW_BASE_KECCAK_H
#define GW_BASE_KECCAK_H

#include <stdint.h>

#include "base/str.h"

#define GW_KECCAK256_BYTES 32

void gw_keccak256(struct gw_str data, uint8_t out[GW_KECCAK256_BYTES]);

#endif
