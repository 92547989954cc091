#include "proxy/decode.h"

#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/buf.h"

#define OUT_BYTES 32768
#define GUESS_BYTES_MAX 4096 /* of a deflate body, as long as it has given nothing */
#define WINDOW_BITS 15
#define DETECT_GZIP_OR_ZLIB 32 /* added to the window bits: inflateInit2() looks at the head */

struct gw_decoder {
    z_stream z;
    bool gzip;             /* its members may follow each other (RFC 1952 2.2) */
    bool deflate;          /* may come without a head: then it is begun again as a raw stream */
    struct gw_buf guessed; /* what was read until that is known */
    bool begun;
    bool ended;
    unsigned char out[OUT_BYTES];
};

enum gw_rc gw_decoder_new(struct gw_str coding, struct gw_decoder **out)
{
    bool gzip =
        gw_str_eq_nocase(coding, GW_STR("gzip")) || gw_str_eq_nocase(coding, GW_STR("x-gzip"));
    bool deflate = gw_str_eq_nocase(coding, GW_STR("deflate"));
    struct gw_decoder *decoder;

    *out = NULL;
    if (coding.len == 0 || gw_str_eq_nocase(coding, GW_STR("identity")))
        return GW_OK;
    if (!gzip && !deflate)
        return GW_UNSUPPORTED;
    decoder = calloc(1, sizeof(*decoder));
    if (decoder == NULL)
        abort();
    decoder->gzip = gzip;
    decoder->deflate = deflate;
    if (inflateInit2(&decoder->z, WINDOW_BITS + DETECT_GZIP_OR_ZLIB) != Z_OK)
        abort(); /* only out of memory */
    *out = decoder;
    return GW_OK;
}

void gw_decoder_free(struct gw_decoder *decoder)
{
    if (decoder == NULL)
        return;
    (void)inflateEnd(&decoder->z);
    gw_buf_fini(&decoder->guessed);
    free(decoder);
}

/* Until the body has given something its first bytes may have to be read again. */
static void guess(struct gw_decoder *decoder, struct gw_str piece)
{
    if (!decoder->deflate)
        return;
    if (decoder->begun || gw_buf_len(&decoder->guessed) > GUESS_BYTES_MAX) {
        gw_buf_fini(&decoder->guessed);
        decoder->deflate = false;
        return;
    }
    gw_buf_add_str(&decoder->guessed, piece);
}

/* A deflate body without the zlib head: its first bytes fail the check of one, most often. */
static bool begin_raw(struct gw_decoder *decoder)
{
    if (!decoder->deflate || decoder->begun)
        return false;
    decoder->deflate = false;
    if (inflateReset2(&decoder->z, -WINDOW_BITS) != Z_OK)
        return false;
    decoder->z.next_in = (unsigned char *)decoder->guessed.data + decoder->guessed.from;
    decoder->z.avail_in = (unsigned)gw_buf_len(&decoder->guessed);
    return true;
}

enum gw_rc gw_decoder_feed(struct gw_decoder *decoder, struct gw_str piece, gw_decoder_fn take,
                           void *arg)
{
    size_t total = 0;

    guess(decoder, piece);
    decoder->z.next_in = (unsigned char *)(uintptr_t)piece.data;
    decoder->z.avail_in = (unsigned)piece.len;
    while (decoder->z.avail_in > 0 || decoder->z.avail_out == 0) {
        size_t len;
        int rc;
        if (decoder->ended) {
            if (decoder->z.avail_in == 0)
                break;
            if (!decoder->gzip || inflateReset(&decoder->z) != Z_OK)
                return GW_PROTOCOL;
            decoder->ended = false;
        }
        decoder->z.next_out = decoder->out;
        decoder->z.avail_out = OUT_BYTES;
        rc = inflate(&decoder->z, Z_NO_FLUSH);
        if (rc == Z_DATA_ERROR && begin_raw(decoder))
            continue;
        if (rc == Z_BUF_ERROR)
            break;
        if (rc != Z_OK && rc != Z_STREAM_END)
            return GW_PROTOCOL;
        len = OUT_BYTES - decoder->z.avail_out;
        decoder->begun = decoder->begun || len > 0;
        decoder->ended = rc == Z_STREAM_END;
        total += len;
        if (total > GW_DECODE_PIECE_MAX)
            return GW_LIMIT;
        if (len > 0 && !take(arg, gw_str((char *)decoder->out, len)))
            return GW_CANCELLED;
    }
    return GW_OK;
}

bool gw_decoder_complete(const struct gw_decoder *decoder)
{
    return decoder->ended || decoder->z.total_in == 0;
}
