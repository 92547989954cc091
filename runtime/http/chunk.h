/* Decoder of the chunked coding (RFC 9112 7.1), strict: sizes are 1 to 16 hex digits, less
 * than 2^63, no white space around them, CRLF everywhere, extensions and trailers bounded. */
#ifndef GW_HTTP_CHUNK_H
#define GW_HTTP_CHUNK_H

#include <stdint.h>

#include "base/rc.h"
#include "base/str.h"

#define GW_CHUNK_EXTENSION_BYTES_MAX 4096 /* of one body, all extensions together */
#define GW_CHUNK_TRAILER_BYTES_MAX 8192

struct gw_chunk_decoder {
    uint64_t left; /* of this chunk's data */
    uint32_t ext_bytes;
    uint32_t digits;
    uint32_t trailer_bytes;
    uint8_t state;
};

void gw_chunk_init(struct gw_chunk_decoder *decoder);

/* Takes bytes from the front of *in (advancing it) until there is a piece of data, the end, or
 * nothing left:
 *   GW_OK     *piece is the next data, a slice of the input (never empty)
 *   GW_AGAIN  all of *in was taken, more is needed
 *   GW_EOF    the body has ended; *in stands behind the last CRLF; *piece holds the trailer
 *             lines with their empty line (just CRLF: there are none). It is a slice of the
 *             input, or of `trailers` when the lines came in several reads.
 *   GW_PROTOCOL, GW_LIMIT; every later call then says GW_PROTOCOL
 * `trailers` is the caller's, empty at first, and lives as long as the trailers are needed.
 * The lines are not checked but for their ends: that is gw_head_parse_trailers()'s part. */
struct gw_buf;
enum gw_rc gw_chunk_decode(struct gw_chunk_decoder *decoder, struct gw_str *in,
                           struct gw_str *piece, struct gw_buf *trailers);

#endif
