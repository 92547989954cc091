#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "base/cidr.h"

static void addresses_are_read_and_written(void **unused)
{
    static const struct {
        const char *in;
        const char *out; /* NULL: refused */
    } rows[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"255.255.255.255", "255.255.255.255"},
        {"::1", "::1"},
        {"[2001:DB8::1]", "2001:db8::1"},
        {"::ffff:10.0.0.1", "10.0.0.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"", NULL},
        {"[]", NULL},
        {"[127.0.0.1]", NULL},
        {"127.1", NULL},
        {"127.0.0.01", NULL},
        {"256.0.0.1", NULL},
        {"1.2.3.4 ", NULL},
        {" 1.2.3.4", NULL},
        {"fe80::1%lo", NULL},
        {":::", NULL},
        {"1.2.3.4:80", NULL},
        {"[::1", NULL},
        {"localhost", NULL},
        {"0x7f.0.0.1", NULL},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t address[16];
        char text[GW_IP_TEXT_BYTES];

        if (rows[i].out == NULL) {
            assert_int_equal(gw_ip_parse(gw_str_c(rows[i].in), address), GW_INVALID);
            continue;
        }
        assert_int_equal(gw_ip_parse(gw_str_c(rows[i].in), address), GW_OK);
        assert_int_equal(gw_ip_format(address, text), strlen(rows[i].out));
        assert_string_equal(text, rows[i].out);
    }
    uint8_t address[16];
    assert_int_equal(gw_ip_parse(gw_str("1.2.3.4\0", 8), address), GW_INVALID);
}

static void networks_are_read_with_their_bits(void **unused)
{
    static const struct {
        const char *in;
        int bits; /* -1: refused */
    } rows[] = {
        {"10.0.0.0/8", 104},
        {"10.1.2.3", 128},
        {"0.0.0.0/0", 96},
        {"::/0", 0},
        {"fd00::/8", 8},
        {"2001:db8::/33", 33},
        {"::ffff:10.0.0.0/104", 104},
        {"10.0.0.128/25", 121},
        {"10.0.0.0/33", -1},
        {"10.0.0.0/", -1},
        {"10.0.0.0/-1", -1},
        {"10.0.0.0/08", -1},
        {"10.0.0.0/8 ", -1},
        {"/8", -1},
        {"fd00::/129", -1},
        {"10.0.0.1/8", -1},
        {"fd00::1/127", -1},
        {"10.0.0.0/8/8", -1},
        {"", -1},
        {"fd00::/1000", -1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t address[16], bits = 0;
        struct gw_err err;
        enum gw_rc rc = gw_cidr_parse(gw_str_c(rows[i].in), address, &bits, &err);

        assert_int_equal(rc, rows[i].bits < 0 ? GW_INVALID : GW_OK);
        if (rc == GW_OK)
            assert_int_equal(bits, rows[i].bits);
    }
}

static void a_network_with_bits_too_many_is_told_what_to_write(void **unused)
{
    uint8_t address[16], bits;
    struct gw_err err;

    assert_int_equal(gw_cidr_parse(GW_STR("10.1.2.3/12"), address, &bits, &err), GW_INVALID);
    assert_string_equal(err.text, "\"10.1.2.3/12\" has bits behind its prefix: write 10.0.0.0/12");
}

static void contains_compares_exactly_the_bits(void **unused)
{
    uint8_t network[16] = {0}, address[16];

    memset(network, 0xa5, sizeof(network));
    for (unsigned bits = 0; bits <= 128; bits++)
        for (unsigned flip = 0; flip < 128; flip++) {
            memcpy(address, network, sizeof(address));
            address[flip / 8] ^= (uint8_t)(0x80 >> flip % 8);
            assert_true(gw_cidr_contains(network, (uint8_t)bits, address) == (flip >= bits));
        }
    assert_true(gw_cidr_contains(network, 128, network));
}

static void every_ipv4_is_in_its_own_zero_network(void **unused)
{
    uint8_t all4[16], all6[16], four[16], six[16], bits4, bits6;

    assert_int_equal(gw_cidr_parse(GW_STR("0.0.0.0/0"), all4, &bits4, NULL), GW_OK);
    assert_int_equal(gw_cidr_parse(GW_STR("::/0"), all6, &bits6, NULL), GW_OK);
    assert_int_equal(gw_ip_parse(GW_STR("9.9.9.9"), four), GW_OK);
    assert_int_equal(gw_ip_parse(GW_STR("2001:db8::9"), six), GW_OK);
    assert_true(gw_cidr_contains(all4, bits4, four));
    assert_false(gw_cidr_contains(all4, bits4, six));
    assert_true(gw_cidr_contains(all6, bits6, four));
    assert_true(gw_cidr_contains(all6, bits6, six));
}

static void socket_addresses_of_both_families_are_taken(void **unused)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    uint8_t address[16];
    char text[GW_IP_TEXT_BYTES];

    assert_true(gw_ip_of_sockaddr((struct sockaddr *)&in, address));
    (void)gw_ip_format(address, text);
    assert_string_equal(text, "10.0.0.1");
    assert_true(gw_ip_of_sockaddr((struct sockaddr *)&in6, address));
    (void)gw_ip_format(address, text);
    assert_string_equal(text, "::1");
    assert_false(gw_ip_of_sockaddr((struct sockaddr *)&un, address));
    (void)gw_ip_format(address, text);
    assert_string_equal(text, "::");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_and_written),
        cmocka_unit_test(networks_are_read_with_their_bits),
        cmocka_unit_test(a_network_with_bits_too_many_is_told_what_to_write),
        cmocka_unit_test(contains_compares_exactly_the_bits),
        cmocka_unit_test(every_ipv4_is_in_its_own_zero_network),
        cmocka_unit_test(socket_addresses_of_both_families_are_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
