#include "proxy/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

#include "base/buf.h"

static char plain[300000];
static struct gw_buf got;

static bool keep(void *arg, struct gw_str piece)
{
    gw_buf_add_str(&got, piece);
    return true;
}

static bool refuse(void *arg, struct gw_str piece)
{
    return false;
}

static int setup(void **state)
{
    srand(5);
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (char)('a' + rand() % 4);
    got = GW_BUF_INIT;
    return 0;
}

static int teardown(void **state)
{
    gw_buf_fini(&got);
    return 0;
}

/* bits: 31 gzip, 15 zlib, -15 raw */
static struct gw_buf packed(const char *data, size_t len, int bits)
{
    struct gw_buf out = GW_BUF_INIT;
    z_stream z = {0};

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)data;
    z.avail_in = (unsigned)len;
    z.next_out = (unsigned char *)gw_buf_reserve(&out, deflateBound(&z, len));
    z.avail_out = (unsigned)deflateBound(&z, len);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    gw_buf_added(&out, z.total_out);
    (void)deflateEnd(&z);
    return out;
}

static void check(const char *coding, int bits, size_t step)
{
    struct gw_buf in = packed(plain, sizeof(plain), bits);
    struct gw_decoder *decoder;

    gw_buf_clear(&got);
    assert_int_equal(gw_decoder_new(gw_str_c(coding), &decoder), GW_OK);
    for (size_t at = 0; at < gw_buf_len(&in); at += step) {
        size_t len = gw_buf_len(&in) - at < step ? gw_buf_len(&in) - at : step;
        assert_int_equal(gw_decoder_feed(decoder, gw_str(in.data + at, len), keep, NULL), GW_OK);
    }
    assert_true(gw_decoder_complete(decoder));
    assert_int_equal(gw_buf_len(&got), sizeof(plain));
    assert_memory_equal(gw_buf_str(&got).data, plain, sizeof(plain));
    gw_decoder_free(decoder);
    gw_buf_fini(&in);
}

static void takes_off_each_coding_in_pieces_of_any_size(void **state)
{
    static const size_t steps[] = {1, 7, 1000, 65536, 1000000};

    for (size_t i = 0; i < 5; i++) {
        check("gzip", 31, steps[i]);
        check("X-GZIP", 31, steps[i]);
        check("deflate", 15, steps[i]);
        check("deflate", -15, steps[i]);
    }
}

static void joins_members(void **state)
{
    struct gw_buf one = packed("hello ", 6, 31), two = packed("world", 5, 31);
    struct gw_decoder *decoder;

    gw_buf_add_str(&one, gw_buf_str(&two));
    assert_int_equal(gw_decoder_new(GW_STR("gzip"), &decoder), GW_OK);
    assert_int_equal(gw_decoder_feed(decoder, gw_buf_str(&one), keep, NULL), GW_OK);
    assert_true(gw_decoder_complete(decoder));
    assert_memory_equal(gw_buf_str(&got).data, "hello world", 11);
    gw_decoder_free(decoder);
    gw_buf_fini(&one);
    gw_buf_fini(&two);
}

static void joins_nothing_but_gzip(void **state)
{
    static const int bits[] = {15, -15};

    for (int i = 0; i < 2; i++) {
        struct gw_buf one = packed("hello ", 6, bits[i]);
        struct gw_decoder *decoder;

        gw_buf_add(&one, "more", 4);
        assert_int_equal(gw_decoder_new(GW_STR("deflate"), &decoder), GW_OK);
        assert_int_equal(gw_decoder_feed(decoder, gw_buf_str(&one), keep, NULL), GW_PROTOCOL);
        gw_decoder_free(decoder);
        gw_buf_fini(&one);
    }
}

static void knows_what_it_does_not_know(void **state)
{
    struct gw_decoder *decoder;

    assert_int_equal(gw_decoder_new(GW_STR("br"), &decoder), GW_UNSUPPORTED);
    assert_int_equal(gw_decoder_new(GW_STR("gzip, br"), &decoder), GW_UNSUPPORTED);
    assert_int_equal(gw_decoder_new(GW_STR("identity"), &decoder), GW_OK);
    assert_null(decoder);
    assert_int_equal(gw_decoder_new(GW_STR(""), &decoder), GW_OK);
    assert_null(decoder);
}

static void refuses_bombs_and_nonsense(void **state)
{
    size_t len = 40u * 1024 * 1024;
    char *zeros = calloc(1, len);
    struct gw_buf bomb = packed(zeros, len, 31), cut = packed(plain, sizeof(plain), 31);
    struct gw_decoder *decoder;

    assert_int_equal(gw_decoder_new(GW_STR("gzip"), &decoder), GW_OK);
    assert_int_equal(gw_decoder_feed(decoder, gw_buf_str(&bomb), keep, NULL), GW_LIMIT);
    gw_decoder_free(decoder);

    assert_int_equal(gw_decoder_new(GW_STR("gzip"), &decoder), GW_OK);
    assert_int_equal(gw_decoder_feed(decoder, GW_STR("this is no gzip"), keep, NULL), GW_PROTOCOL);
    gw_decoder_free(decoder);

    assert_int_equal(gw_decoder_new(GW_STR("gzip"), &decoder), GW_OK);
    assert_int_equal(gw_decoder_feed(decoder, gw_str(cut.data, gw_buf_len(&cut) / 2), keep, NULL),
                     GW_OK);
    assert_false(gw_decoder_complete(decoder));
    assert_int_equal(
        gw_decoder_feed(decoder, gw_str(cut.data + gw_buf_len(&cut) / 2, 1000), refuse, NULL),
        GW_CANCELLED);
    gw_decoder_free(decoder);
    gw_buf_fini(&bomb);
    gw_buf_fini(&cut);
    free(zeros);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(takes_off_each_coding_in_pieces_of_any_size),
        TEST(joins_members),
        TEST(joins_nothing_but_gzip),
        TEST(knows_what_it_does_not_know),
        TEST(refuses_bombs_and_nonsense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
