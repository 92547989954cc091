/* Chunked bodies: the same whichever way the bytes come, and the same as a second, slower
 * reading of the grammar says. The first byte of the input gives the size of the reads.
 * Sources: http/chunk.c base/arena.c base/buf.c
 * Sources: http/head.c http/opinion.c http/head_find.c http/uri.c http/message.c
 * Libraries: http_parser */
#include "base/buf.h"
#include "fuzz/fuzz.h"
#include "http/chunk.h"
#include "http/head.h"

struct result {
    enum gw_rc rc;
    size_t taken;
    struct gw_buf data;
    struct gw_buf trailers;
};

static void decode(struct gw_str input, size_t step, struct result *result)
{
    struct gw_chunk_decoder decoder;
    struct gw_buf kept = GW_BUF_INIT;
    size_t at = 0;

    *result = (struct result){.rc = GW_AGAIN};
    gw_chunk_init(&decoder);
    while (result->rc == GW_AGAIN && at < input.len) {
        size_t len = input.len - at < step ? input.len - at : step;
        char *read = fuzz_copy(gw_str(input.data + at, len));
        struct gw_str in = gw_str(read, len), piece;

        while ((result->rc = gw_chunk_decode(&decoder, &in, &piece, &kept)) == GW_OK) {
            MUST(piece.len > 0);
            fuzz_within(piece, gw_str(read, len));
            gw_buf_add_str(&result->data, piece);
        }
        MUST(result->rc != GW_AGAIN || in.len == 0);
        if (result->rc == GW_EOF)
            gw_buf_add_str(&result->trailers, piece);
        at += len;
        result->taken = at - in.len;
        free(read);
    }
    MUST(gw_buf_len(&kept) <= GW_CHUNK_TRAILER_BYTES_MAX);
    gw_buf_fini(&kept);
}

/* Reads the body again, chunk by chunk, with library calls: data and rest are the same. */
static void read_slowly(struct gw_str input, const struct result *result)
{
    struct gw_str data = gw_buf_str(&result->data);
    const char *at = input.data;
    size_t have = 0;

    for (;;) {
        char *after;
        unsigned long long size = strtoull(at, &after, 16);
        MUST(after > at && after - at <= 16);
        MUST(*after == ';' || *after == '\r');
        at = memchr(after, '\n', (size_t)(input.data + input.len - after));
        MUST(at != NULL && at[-1] == '\r');
        at++;
        if (size == 0)
            break;
        MUST(size <= data.len - have && memcmp(at, data.data + have, size) == 0);
        have += size;
        at += size;
        MUST(at[0] == '\r' && at[1] == '\n');
        at += 2;
    }
    MUST(have == data.len);
    MUST(at + gw_buf_len(&result->trailers) == input.data + result->taken);
}

static void check_trailers(struct gw_str lines)
{
    static const struct gw_head_limits limits = {.header_bytes_max = GW_CHUNK_TRAILER_BYTES_MAX,
                                                 .header_count_max = 24};
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_fields fields;
    const char *why;

    gw_fields_init(&fields, &arena);
    if (gw_head_parse_trailers(lines, &limits, &fields, &why) == GW_OK) {
        uint32_t count = fields.count;
        gw_head_drop_hop_by_hop(&fields);
        for (uint32_t i = 0; i < count; i++)
            MUST(!fields.items[i].dropped);
    }
    gw_arena_fini(&arena);
}

static void result_fini(struct result *result)
{
    gw_buf_fini(&result->data);
    gw_buf_fini(&result->trailers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole, split;
    struct gw_str input;

    if (size < 2)
        return 0;
    input = gw_str((const char *)data + 1, size - 1);
    decode(input, input.len, &whole);
    decode(input, 1 + data[0] % 16, &split);
    MUST(whole.rc == split.rc);
    MUST(gw_buf_len(&whole.data) == gw_buf_len(&split.data));
    MUST(gw_buf_len(&whole.data) == 0 ||
         memcmp(whole.data.data, split.data.data, gw_buf_len(&whole.data)) == 0);
    if (whole.rc == GW_EOF) {
        MUST(whole.taken == split.taken);
        MUST(gw_str_eq(gw_buf_str(&whole.trailers), gw_buf_str(&split.trailers)));
        if (gw_buf_len(&whole.data) > 0)
            read_slowly(input, &whole);
        check_trailers(gw_buf_str(&whole.trailers));
    }
    result_fini(&whole);
    result_fini(&split);
    return 0;
}
