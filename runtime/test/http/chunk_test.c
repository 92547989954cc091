#include "http/chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define BYTES(literal)                                                                             \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

struct result {
    enum gw_rc rc;
    size_t taken; /* of the input, when rc is GW_EOF */
    char data[70000];
    size_t data_len;
    char trailers[9000];
    size_t trailers_len;
};

/* Feeds `input` in reads of `step` bytes, each in memory of its own size. */
static void decode(struct gw_str input, size_t step, struct result *result)
{
    struct gw_chunk_decoder decoder;
    struct gw_buf trailers = GW_BUF_INIT;
    size_t at = 0;

    *result = (struct result){.rc = GW_AGAIN};
    gw_chunk_init(&decoder);
    while (result->rc == GW_AGAIN && at < input.len) {
        size_t len = input.len - at < step ? input.len - at : step;
        char *read = malloc(len);
        struct gw_str in = gw_str(read, len), piece;

        memcpy(read, input.data + at, len);
        while ((result->rc = gw_chunk_decode(&decoder, &in, &piece, &trailers)) == GW_OK) {
            assert_true(piece.len > 0);
            assert_true(piece.data >= read && piece.data + piece.len <= read + len);
            memcpy(result->data + result->data_len, piece.data, piece.len);
            result->data_len += piece.len;
        }
        if (result->rc == GW_AGAIN)
            assert_int_equal(in.len, 0);
        if (result->rc == GW_EOF) {
            memcpy(result->trailers, piece.data, piece.len);
            result->trailers_len = piece.len;
        }
        result->taken = at + len - in.len;
        at += len;
        free(read);
    }
    if (result->rc != GW_AGAIN) { /* the end and faults stay */
        struct gw_str in = GW_STR("0\r\n\r\n"), piece;
        assert_int_equal(gw_chunk_decode(&decoder, &in, &piece, &trailers),
                         result->rc == GW_EOF ? GW_EOF : GW_PROTOCOL);
        assert_int_equal(in.len, 5);
    }
    gw_buf_fini(&trailers);
}

/* The same for every way in which the bytes may arrive. */
static enum gw_rc decode_all_ways(struct gw_str input, struct result *result)
{
    static const size_t steps[] = {1, 2, 3, 5, 7, 64, 4096};
    struct result *other = malloc(sizeof(*other));

    decode(input, input.len, result);
    for (size_t i = 0; i < COUNT(steps); i++) {
        decode(input, steps[i], other);
        assert_int_equal(other->rc, result->rc);
        if (result->rc == GW_EOF)
            assert_int_equal(other->taken, result->taken);
        assert_true(gw_str_eq(gw_str(other->data, other->data_len),
                              gw_str(result->data, result->data_len)));
        assert_true(gw_str_eq(gw_str(other->trailers, other->trailers_len),
                              gw_str(result->trailers, result->trailers_len)));
    }
    free(other);
    return result->rc;
}

static void good_bodies_are_decoded(void **state)
{
    static const struct {
        struct gw_str input;
        const char *data, *trailers;
        size_t left;
    } rows[] = {
        {BYTES("0\r\n\r\n"), "", "\r\n", 0},
        {BYTES("0000000000000000\r\n\r\n"), "", "\r\n", 0},
        {BYTES("1\r\na\r\n0\r\n\r\n"), "a", "\r\n", 0},
        {BYTES("0000000000000001\r\na\r\n0\r\n\r\n"), "a", "\r\n", 0},
        {BYTES("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), "01234567890123456789", "\r\n",
         0},
        {BYTES("4\r\n\r\n\r\n\r\n2\r\n0\r\r\n0\r\n\r\n"), "\r\n\r\n0\r", "\r\n", 0},
        {BYTES("1;a\r\nb\r\n0;c=\"d e\"\t\r\n\r\n"), "b", "\r\n", 0},
        {BYTES("1;\r\nb\r\n0\r\n\r\n"), "b", "\r\n", 0},
        {BYTES("0\r\nA: b\r\n\r\nGET /"), "", "A: b\r\n\r\n", 5},
        {BYTES("1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\n\r\n"), "a", "A: b\r\nC: d\r\n\r\n", 2},
    };
    struct result *result = malloc(sizeof(*result));

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(decode_all_ways(rows[i].input, result), GW_EOF);
        assert_int_equal(result->taken, rows[i].input.len - rows[i].left);
        assert_true(gw_str_eq(gw_str(result->data, result->data_len), gw_str_c(rows[i].data)));
        assert_true(
            gw_str_eq(gw_str(result->trailers, result->trailers_len), gw_str_c(rows[i].trailers)));
    }
    free(result);
}

static void bad_bodies_are_refused(void **state)
{
    static const struct gw_str rows[] = {
        BYTES("\r\n"),
        BYTES(" 1\r\na\r\n0\r\n\r\n"),
        BYTES("1 \r\na\r\n0\r\n\r\n"),
        BYTES("1 ;a\r\na\r\n0\r\n\r\n"),
        BYTES("\t1\r\n"),
        BYTES("1\na\r\n0\r\n\r\n"),
        BYTES("1\r\ra"),
        BYTES("1\ra"),
        BYTES("+1\r\n"),
        BYTES("-1\r\n"),
        BYTES("0x1\r\n"),
        BYTES("1x\r\n"),
        BYTES("g\r\n"),
        BYTES("1_0\r\n"),
        BYTES("1,1\r\n"),
        BYTES(";a\r\n"),
        BYTES("\0\r\n"),
        BYTES("8000000000000000\r\n"),
        BYTES("ffffffffffffffff\r\n"),
        BYTES("10000000000000000\r\n"),
        BYTES("00000000000000001\r\na\r\n0\r\n\r\n"),
        BYTES("100000000000000000000001\r\n"),
        BYTES("1\r\nab\r\n0\r\n\r\n"),
        BYTES("1\r\nxYY0\r\n\r\n"),
        BYTES("1\r\na\n0\r\n\r\n"),
        BYTES("1\r\na\r0\r\n\r\n"),
        BYTES("1\r\na0\r\n\r\n"),
        BYTES("1\r\na\r\r\n"),
        BYTES("1;a\nb\r\na\r\n"),
        BYTES("1;a\rb\r\na\r\n"),
        BYTES("1;a\0\r\na\r\n"),
        BYTES("1;\x7f\r\na\r\n"),
        BYTES("1;\x80\r\na\r\n"),
        BYTES("1;a=\"\n\"\r\na\r\n"),
        BYTES("0\n\r\n"),
        BYTES("0\r\n\n"),
        BYTES("0\r\nA: b\n\r\n"),
        BYTES("0\r\nA: b\r\n\n"),
        BYTES("0\r\nA: b\rc\r\n\r\n"),
        BYTES("0\r\nA: b\r\r\n\r\n"),
        BYTES("0\r\n\ra"),
        BYTES("0\r\n\r\r\n"),
    };
    struct result *result = malloc(sizeof(*result));

    for (size_t i = 0; i < COUNT(rows); i++) {
        enum gw_rc rc = decode_all_ways(rows[i], result);
        if (rc != GW_PROTOCOL)
            print_error("row %zu: %.*s\n", i, GW_STR_ARG(rows[i]));
        assert_int_equal(rc, GW_PROTOCOL);
    }
    free(result);
}

static void unfinished_bodies_ask_for_more(void **state)
{
    static const struct gw_str whole = BYTES("3;x=y\r\nabc\r\n1\r\n\n\r\n0\r\nA: b\r\n\r\n");
    struct result *result = malloc(sizeof(*result));

    for (size_t len = 1; len < whole.len; len++)
        assert_int_equal(decode_all_ways(gw_str(whole.data, len), result), GW_AGAIN);
    assert_int_equal(decode_all_ways(whole, result), GW_EOF);
    free(result);
}

static void the_largest_chunk_is_less_than_2_to_63(void **state)
{
    struct gw_chunk_decoder decoder;
    struct gw_buf trailers = GW_BUF_INIT;
    struct gw_str in = GW_STR("7fffffffffffffff\r\nabc"), piece;

    gw_chunk_init(&decoder);
    assert_int_equal(gw_chunk_decode(&decoder, &in, &piece, &trailers), GW_OK);
    assert_true(gw_str_eq(piece, GW_STR("abc")));
    assert_true(decoder.left == (uint64_t)INT64_MAX - 3);
    gw_buf_fini(&trailers);
}

static void extensions_are_bounded_over_the_whole_body(void **state)
{
    char *text = malloc(3 * GW_CHUNK_EXTENSION_BYTES_MAX);
    struct result *result = malloc(sizeof(*result));

    for (unsigned extra = 0; extra <= 1; extra++) {
        size_t len = 0;
        for (unsigned i = 0; i < GW_CHUNK_EXTENSION_BYTES_MAX / 8; i++)
            len += (size_t)sprintf(text + len, "1;12345678\r\na\r\n");
        len += (size_t)sprintf(text + len, "0%s\r\n\r\n", extra > 0 ? ";x" : "");
        assert_int_equal(decode_all_ways(gw_str(text, len), result), extra > 0 ? GW_LIMIT : GW_EOF);
    }
    free(result);
    free(text);
}

static void trailers_are_bounded(void **state)
{
    char *text = malloc(GW_CHUNK_TRAILER_BYTES_MAX + 64);
    struct result *result = malloc(sizeof(*result));

    for (unsigned extra = 0; extra <= 1; extra++) {
        size_t filler = GW_CHUNK_TRAILER_BYTES_MAX - strlen("A: \r\n\r\n") + extra;
        size_t len = (size_t)sprintf(text, "0\r\nA: ");
        memset(text + len, 'b', filler);
        len += filler;
        len += (size_t)sprintf(text + len, "\r\n\r\n");
        assert_int_equal(decode_all_ways(gw_str(text, len), result), extra > 0 ? GW_LIMIT : GW_EOF);
    }
    free(result);
    free(text);
}

/* No single broken byte of the frame gives a body that looks whole. */
static void no_frame_byte_may_change(void **state)
{
    static const struct gw_str whole = BYTES("2\r\nab\r\n0\r\n\r\n");
    static const bool frame[] = {1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1};
    struct result *result = malloc(sizeof(*result));
    char text[16];

    for (size_t at = 0; at < whole.len; at++)
        for (int byte = 0; byte < 256; byte++) {
            enum gw_rc rc;
            memcpy(text, whole.data, whole.len);
            if (!frame[at] || text[at] == (char)byte)
                continue;
            text[at] = (char)byte;
            rc = decode_all_ways(gw_str(text, whole.len), result);
            if (at == 0 && byte == '0') { /* "ab" and "0" are trailer lines now, and no good ones */
                assert_int_equal(rc, GW_EOF);
                assert_int_equal(result->trailers_len, strlen("ab\r\n0\r\n\r\n"));
                continue;
            }
            assert_true(rc == GW_PROTOCOL || rc == GW_AGAIN);
            /* More is only waited for by larger numbers and a trailer line that began. */
            if (rc == GW_AGAIN)
                assert_true(at == 0 || at == 7 || at == 10);
        }
    free(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_bodies_are_decoded),
        cmocka_unit_test(bad_bodies_are_refused),
        cmocka_unit_test(unfinished_bodies_ask_for_more),
        cmocka_unit_test(the_largest_chunk_is_less_than_2_to_63),
        cmocka_unit_test(extensions_are_bounded_over_the_whole_body),
        cmocka_unit_test(trailers_are_bounded),
        cmocka_unit_test(no_frame_byte_may_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
