/* Takes the content coding off an answer's body, so that a body_filter sees plain bytes.
 * gzip and deflate (RFC 9110 8.4.1; deflate with or without its zlib head, as servers do).
 * Lives in: one exchange. Owner: the exchange. The only door to zlib.
 * Limit: GW_DECODE_PIECE_MAX bytes out of one piece: a body that unpacks to more is a bomb. */
#ifndef GW_PROXY_DECODE_H
#define GW_PROXY_DECODE_H

#include <stdbool.h>

#include "base/rc.h"
#include "base/str.h"

#define GW_DECODE_PIECE_MAX (16u * 1024 * 1024)

struct gw_decoder;

/* `coding`: the value of Content-Encoding. *out NULL: nothing to take off (identity).
 * GW_UNSUPPORTED: several codings, or one that we do not know. */
GW_MUST_CHECK enum gw_rc gw_decoder_new(struct gw_str coding, struct gw_decoder **out);
void gw_decoder_free(struct gw_decoder *decoder); /* NULL is fine */

/* Decodes one piece; `take` gets what comes out, in slices good until it returns, and may stop
 * it by false (GW_CANCELLED then).
 * GW_PROTOCOL: not what the coding says; GW_LIMIT: a bomb. */
typedef bool (*gw_decoder_fn)(void *arg, struct gw_str piece);
GW_MUST_CHECK enum gw_rc gw_decoder_feed(struct gw_decoder *decoder, struct gw_str piece,
                                         gw_decoder_fn take, void *arg);
/* The input has ended: was it whole? An empty body is. */
bool gw_decoder_complete(const struct gw_decoder *decoder);

#endif
