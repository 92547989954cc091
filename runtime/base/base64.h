/* Bytes as text: base64, base64url (RFC 4648) and hex.
 * Lives in: anywhere. Owner: the caller's memory; nothing here allocates.
 * Decoding is strict, so that one value has one text: no white space, no bits behind the
 * last byte; base64 wants its padding, base64url takes it or none (RFC 7515 writes none). */
#ifndef GW_BASE_BASE64_H
#define GW_BASE_BASE64_H

#include <stddef.h>

#include "base/rc.h"
#include "base/str.h"

enum gw_base64 { GW_BASE64_STD, GW_BASE64_URL };

/* Room that encoding `len` bytes needs (no NUL). */
static inline size_t gw_base64_encode_room(size_t len)
{
    return (len + 2) / 3 * 4;
}

/* Room that decoding `len` characters needs, at most. */
static inline size_t gw_base64_decode_room(size_t len)
{
    return len / 4 * 3 + 3;
}

/* Returns the bytes written; GW_BASE64_URL writes no padding. No NUL. */
size_t gw_base64_encode(enum gw_base64 kind, struct gw_str data, char *out);

/* GW_INVALID: `*len` then is the place of the first wrong character. */
GW_MUST_CHECK enum gw_rc gw_base64_decode(enum gw_base64 kind, struct gw_str text, char *out,
                                          size_t *len);

/* Lower case; writes 2 * len bytes, no NUL. */
void gw_hex_encode(struct gw_str data, char *out);

/* Any case; writes len / 2 bytes. GW_INVALID: an odd length or another character. */
GW_MUST_CHECK enum gw_rc gw_hex_decode(struct gw_str text, char *out);

#endif
