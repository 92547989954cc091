/* Bodies in gzip and deflate: the same whichever way the bytes come, and what zlib makes of plain
 * bytes comes back. The first byte of the input gives the coding and the size of the reads.
 * Sources: proxy/decode.c base/buf.c
 * Libraries: z */
#include "base/buf.h"
#include "fuzz/fuzz.h"
#include "proxy/decode.h"

#include <zlib.h>

struct result {
    enum gw_rc rc;
    bool complete;
    struct gw_buf data;
};

static struct gw_str text_of(const struct gw_buf *buf)
{
    return gw_buf_len(buf) > 0 ? gw_buf_str(buf) : GW_STR("");
}

static bool keep(void *arg, struct gw_str piece)
{
    MUST(piece.len > 0);
    gw_buf_add_str(&((struct result *)arg)->data, piece);
    return true;
}

static void decode(struct gw_str coding, struct gw_str input, size_t step, struct result *result)
{
    struct gw_decoder *decoder;

    *result = (struct result){.rc = GW_OK};
    MUST(gw_decoder_new(coding, &decoder) == GW_OK && decoder != NULL);
    for (size_t at = 0; at < input.len && result->rc == GW_OK; at += step) {
        size_t len = input.len - at < step ? input.len - at : step;
        char *read = fuzz_copy(gw_str(input.data + at, len));

        result->rc = gw_decoder_feed(decoder, gw_str(read, len), keep, result);
        MUST(result->rc == GW_OK || result->rc == GW_PROTOCOL || result->rc == GW_LIMIT);
        free(read);
    }
    result->complete = gw_decoder_complete(decoder);
    gw_decoder_free(decoder);
}

static void check_same(struct gw_str coding, struct gw_str input, size_t step)
{
    struct result whole, split;

    decode(coding, input, input.len, &whole);
    decode(coding, input, step, &split);
    MUST(whole.rc == split.rc);
    if (whole.rc == GW_OK) {
        MUST(whole.complete == split.complete);
        MUST(gw_str_eq(text_of(&whole.data), text_of(&split.data)));
    }
    gw_buf_fini(&whole.data);
    gw_buf_fini(&split.data);
}

/* bits: 31 gzip, 15 zlib, -15 raw */
static void check_back(struct gw_str coding, int bits, struct gw_str plain, size_t step)
{
    struct result result;
    size_t max = plain.len + 1024;
    char *packed = malloc(max);
    z_stream z = {0};

    MUST(packed != NULL && deflateInit2(&z, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)plain.data;
    z.avail_in = (unsigned)plain.len;
    z.next_out = (unsigned char *)packed;
    z.avail_out = (unsigned)max;
    MUST(deflate(&z, Z_FINISH) == Z_STREAM_END);
    decode(coding, gw_str(packed, z.total_out), step, &result);
    /* The first bytes of a raw stream may look like a head of zlib: then nobody can tell. */
    if (bits != -15 || result.rc == GW_OK) {
        MUST(result.rc == GW_OK && result.complete);
        MUST(gw_str_eq(text_of(&result.data), plain));
    }
    (void)deflateEnd(&z);
    gw_buf_fini(&result.data);
    free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_str input, coding;
    size_t step;

    if (size < 2)
        return 0;
    coding = (data[0] & 1) != 0 ? GW_STR("deflate") : GW_STR("gzip");
    step = 1 + (data[0] >> 1) % 31;
    input = gw_str((const char *)data + 1, size - 1);
    check_same(coding, input, step);
    check_back(GW_STR("gzip"), 31, input, step);
    check_back(GW_STR("deflate"), 15, input, step);
    check_back(GW_STR("deflate"), -15, input, step);
    return 0;
}
