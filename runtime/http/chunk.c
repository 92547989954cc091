#include "http/chunk.h"

#include <assert.h>
#include <stdbool.h>

#include "base/buf.h"

#define SIZE_DIGITS_MAX 16

/*   SIZE ─ digits ─┬─ ";" ─ EXTENSION ─┐
 *    ↑             └─────── CR ────────┴─ SIZE_LF ─┬─ DATA ─ DATA_CR ─ DATA_LF ─ SIZE
 *                                                  └─ (size 0) ─ LINE ─┬─ CR ─ END_LF ─ END
 *                                        LINE ─ LINE_LF ─ IN_LINE ─────┘
 * BAD stays BAD: who asks again after a fault hears of it again. */
enum state {
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    LINE, /* at the start of a trailer line */
    IN_LINE,
    LINE_LF,
    END_LF,
    END,
    BAD,
};

void gw_chunk_init(struct gw_chunk_decoder *decoder)
{
    *decoder = (struct gw_chunk_decoder){.state = SIZE};
}

static enum gw_rc fail(struct gw_chunk_decoder *decoder, enum gw_rc rc)
{
    decoder->state = BAD;
    return rc;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static enum gw_rc size_byte(struct gw_chunk_decoder *decoder, char byte)
{
    int digit = hex_value(byte);

    if (digit >= 0) {
        /* Signed numbers count bytes further up, so 2^63 is the end here, too. */
        if (decoder->digits == SIZE_DIGITS_MAX || decoder->left > (uint64_t)INT64_MAX >> 4)
            return GW_PROTOCOL;
        decoder->left = decoder->left << 4 | (unsigned)digit;
        decoder->digits++;
        return GW_OK;
    }
    if (decoder->digits == 0 || (byte != '\r' && byte != ';'))
        return GW_PROTOCOL;
    decoder->state = byte == '\r' ? SIZE_LF : EXTENSION;
    return GW_OK;
}

static enum gw_rc extension_byte(struct gw_chunk_decoder *decoder, unsigned char byte)
{
    if (byte == '\r') {
        decoder->state = SIZE_LF;
        return GW_OK;
    }
    if ((byte < 0x20 && byte != '\t') || byte >= 0x7f)
        return GW_PROTOCOL;
    return ++decoder->ext_bytes > GW_CHUNK_EXTENSION_BYTES_MAX ? GW_LIMIT : GW_OK;
}

/* A byte of everything but data and trailers. */
static enum gw_rc frame_byte(struct gw_chunk_decoder *decoder, char byte)
{
    switch (decoder->state) {
    case SIZE:
        return size_byte(decoder, byte);
    case EXTENSION:
        return extension_byte(decoder, (unsigned char)byte);
    case SIZE_LF:
        decoder->state = decoder->left > 0 ? DATA : LINE;
        return byte == '\n' ? GW_OK : GW_PROTOCOL;
    case DATA_CR:
        decoder->state = DATA_LF;
        return byte == '\r' ? GW_OK : GW_PROTOCOL;
    default:
        assert(decoder->state == DATA_LF);
        decoder->state = SIZE;
        decoder->digits = 0;
        return byte == '\n' ? GW_OK : GW_PROTOCOL;
    }
}

/* A byte of the trailer section. What the lines say is gw_head_parse_trailers()'s part; here
 * only their ends count, which no two readers may see in different places. */
static enum gw_rc trailer_byte(struct gw_chunk_decoder *decoder, char byte)
{
    bool lf = byte == '\n';

    if (++decoder->trailer_bytes > GW_CHUNK_TRAILER_BYTES_MAX)
        return GW_LIMIT;
    switch (decoder->state) {
    case LINE:
        decoder->state = byte == '\r' ? END_LF : IN_LINE;
        return lf ? GW_PROTOCOL : GW_OK;
    case IN_LINE:
        if (byte == '\r')
            decoder->state = LINE_LF;
        return lf ? GW_PROTOCOL : GW_OK;
    case LINE_LF:
        decoder->state = LINE;
        return lf ? GW_OK : GW_PROTOCOL;
    default:
        assert(decoder->state == END_LF);
        decoder->state = END;
        return lf ? GW_OK : GW_PROTOCOL;
    }
}

static enum gw_rc decode_trailers(struct gw_chunk_decoder *decoder, struct gw_str *in,
                                  struct gw_str *piece, struct gw_buf *trailers)
{
    size_t len = 0;

    while (len < in->len && decoder->state != END) {
        enum gw_rc rc = trailer_byte(decoder, in->data[len++]);
        if (rc != GW_OK)
            return fail(decoder, rc);
    }
    *piece = gw_str(in->data, len);
    *in = gw_str(in->data + len, in->len - len);
    if (decoder->state == END && len == decoder->trailer_bytes)
        return GW_EOF;
    gw_buf_add_str(trailers, *piece);
    *piece = decoder->state == END ? gw_buf_str(trailers) : GW_STR_NULL;
    return decoder->state == END ? GW_EOF : GW_AGAIN;
}

static void take_data(struct gw_chunk_decoder *decoder, struct gw_str *in, struct gw_str *piece)
{
    size_t len = decoder->left < in->len ? (size_t)decoder->left : in->len;

    *piece = gw_str(in->data, len);
    *in = gw_str(in->data + len, in->len - len);
    decoder->left -= len;
    if (decoder->left == 0)
        decoder->state = DATA_CR;
}

enum gw_rc gw_chunk_decode(struct gw_chunk_decoder *decoder, struct gw_str *in,
                           struct gw_str *piece, struct gw_buf *trailers)
{
    *piece = GW_STR_NULL;
    if (decoder->state == END)
        return GW_EOF;
    if (decoder->state == BAD)
        return GW_PROTOCOL;
    while (in->len > 0) {
        enum gw_rc rc;

        if (decoder->state == DATA) {
            take_data(decoder, in, piece);
            return GW_OK;
        }
        if (decoder->state >= LINE)
            return decode_trailers(decoder, in, piece, trailers);
        rc = frame_byte(decoder, in->data[0]);
        if (rc != GW_OK)
            return fail(decoder, rc);
        *in = gw_str(in->data + 1, in->len - 1);
    }
    return GW_AGAIN;
}
