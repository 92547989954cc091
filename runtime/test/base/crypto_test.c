#include "base/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base64.h"

static void expect_hex(const uint8_t *bytes, size_t len, const char *hex)
{
    char text[2 * GW_DIGEST_BYTES_MAX + 1];

    gw_hex_encode(gw_str((const char *)bytes, len), text);
    text[2 * len] = '\0';
    assert_string_equal(text, hex);
}

/* RFC 1321, FIPS 180-4: "abc". */
static void digests_match_their_standards(void **state)
{
    static const char *const abc[GW_DIGEST_COUNT] = {
        [GW_SHA3_256] = "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
        [GW_SHA3_384] = "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b2"
                        "98d88cea927ac7f539f1edf228376d25",
        [GW_SHA3_512] = "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
                        "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
        [GW_KECCAK256] = "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
        [GW_MD5] = "900150983cd24fb0d6963f7d28e17f72",
        [GW_SHA1] = "a9993e364706816aba3e25717850c26c9cd0d89d",
        [GW_SHA256] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        [GW_SHA384] = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
                      "8086072ba1e7cc2358baeca134c825a7",
        [GW_SHA512] = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                      "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    };
    uint8_t out[GW_DIGEST_BYTES_MAX];

    for (int i = 0; i < GW_DIGEST_COUNT; i++) {
        assert_int_equal(gw_digest((enum gw_digest)i, GW_STR("abc"), out), GW_OK);
        expect_hex(out, gw_digest_bytes((enum gw_digest)i), abc[i]);
    }
    assert_int_equal(gw_digest(GW_SHA256, GW_STR_NULL, out), GW_OK);
    expect_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* RFC 4231 cases 1, 2, 6 (a key longer than a block), RFC 2202 case 2. */
static void hmac_matches_its_standards(void **state)
{
    uint8_t out[GW_DIGEST_BYTES_MAX];
    char key[131];

    memset(key, 0x0b, 20);
    assert_int_equal(gw_hmac(GW_SHA256, gw_str(key, 20), GW_STR("Hi There"), out), GW_OK);
    expect_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");

    assert_int_equal(
        gw_hmac(GW_SHA512, GW_STR("Jefe"), GW_STR("what do ya want for nothing?"), out), GW_OK);
    expect_hex(out, 64,
               "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
               "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737");

    memset(key, 0xaa, 131);
    assert_int_equal(gw_hmac(GW_SHA384, gw_str(key, 131),
                             GW_STR("Test Using Larger Than Block-Size Key - Hash Key First"), out),
                     GW_OK);
    expect_hex(out, 48,
               "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6"
               "0c2ef6ab4030fe8296248df163f44952");
    assert_int_equal(gw_hmac(GW_SHA256, gw_str(key, 131),
                             GW_STR("Test Using Larger Than Block-Size Key - Hash Key First"), out),
                     GW_OK);
    expect_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");

    assert_int_equal(gw_hmac(GW_SHA1, GW_STR("Jefe"), GW_STR("what do ya want for nothing?"), out),
                     GW_OK);
    expect_hex(out, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    assert_int_equal(gw_hmac(GW_MD5, GW_STR_NULL, GW_STR_NULL, out), GW_OK);
    expect_hex(out, 16, "74e6f7298a9c2d168935f58c001bad88");
}

static void names_find_their_digest(void **state)
{
    enum gw_digest digest;

    assert_true(gw_digest_by_name(GW_STR("SHA384"), &digest));
    assert_int_equal(digest, GW_SHA384);
    assert_string_equal(gw_digest_name(digest), "sha384");
    assert_false(gw_digest_by_name(GW_STR("sha3"), &digest));
    assert_false(gw_digest_by_name(GW_STR("sha2566"), &digest));
    assert_false(gw_digest_by_name(GW_STR_NULL, &digest));
}

static void equal_looks_at_every_byte(void **state)
{
    char a[64], b[64];

    memset(a, 'x', sizeof(a));
    for (size_t i = 0; i < sizeof(b); i++) {
        memset(b, 'x', sizeof(b));
        assert_true(gw_crypto_equal(gw_str(a, 64), gw_str(b, 64)));
        b[i] ^= 1;
        assert_false(gw_crypto_equal(gw_str(a, 64), gw_str(b, 64)));
    }
    assert_false(gw_crypto_equal(gw_str(a, 64), gw_str(a, 63)));
    assert_true(gw_crypto_equal(GW_STR_NULL, GW_STR("")));
}

static void random_bytes_do_not_repeat(void **state)
{
    uint8_t seen[600][16], big[3][5000];

    /* 9,600 bytes: more than two fills of the pool. */
    for (int i = 0; i < 600; i++) {
        gw_random(seen[i], 16);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(seen[i], seen[j], 16);
    }
    gw_random(big[0], sizeof(big[0]));
    gw_random(big[1], sizeof(big[1]));
    assert_memory_not_equal(big[0], big[1], sizeof(big[0]));

    /* Each of 8 bits of 5,000 bytes is set about half of the time: 2,500 +- 8 sigma. */
    for (int bit = 0; bit < 8; bit++) {
        int set = 0;
        for (size_t i = 0; i < sizeof(big[0]); i++)
            set += big[0][i] >> bit & 1;
        assert_in_range(set, 2217, 2783);
    }
    gw_random(big[2], 0);
}

static void a_child_gets_other_bytes_than_its_parent(void **state)
{
    uint8_t mine[32], its[32];
    int ends[2], status;

    gw_random(mine, 1); /* the pool is filled and has bytes left when we fork */
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        gw_random(its, sizeof(its));
        _exit(write(ends[1], its, sizeof(its)) == sizeof(its) ? 0 : 1);
    }
    gw_random(mine, sizeof(mine));
    assert_int_equal(read(ends[0], its, sizeof(its)), sizeof(its));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_memory_not_equal(mine, its, sizeof(mine));
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_match_their_standards),
        cmocka_unit_test(hmac_matches_its_standards),
        cmocka_unit_test(names_find_their_digest),
        cmocka_unit_test(equal_looks_at_every_byte),
        cmocka_unit_test(random_bytes_do_not_repeat),
        cmocka_unit_test(a_child_gets_other_bytes_than_its_parent),
    };
    struct gw_err err = {0};

    if (gw_crypto_init(&err) != GW_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
