#include "http/proxy_protocol.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define BYTES(literal)                                                                             \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* Parses each beginning of `data` in memory of its size, as reads of one byte would give it,
 * until the verdict; the whole must then give the same. */
static enum gw_rc parse(struct gw_str data, struct gw_proxy_info *info, size_t *len)
{
    enum gw_rc rc = GW_AGAIN, whole;

    for (size_t have = 0; have <= data.len && rc == GW_AGAIN; have++) {
        char *copy = malloc(have);
        memcpy(copy, data.data, have);
        rc = gw_proxy_protocol_parse(gw_str(copy, have), info, len);
        if (rc == GW_OK)
            assert_int_equal(*len, have);
        free(copy);
    }
    whole = gw_proxy_protocol_parse(data, info, len);
    assert_int_equal(whole, rc);
    return rc;
}

static void expect_end(const struct sockaddr_storage *end, const char *address, unsigned port)
{
    char text[INET6_ADDRSTRLEN];
    const struct sockaddr_in *inet = (const struct sockaddr_in *)end;
    const struct sockaddr_in6 *inet6 = (const struct sockaddr_in6 *)end;
    bool v4 = end->ss_family == AF_INET;

    assert_true(v4 || end->ss_family == AF_INET6);
    assert_non_null(inet_ntop(end->ss_family,
                              v4 ? (const void *)&inet->sin_addr : &inet6->sin6_addr, text,
                              sizeof(text)));
    assert_string_equal(text, address);
    assert_int_equal(ntohs(v4 ? inet->sin_port : inet6->sin6_port), port);
}

static void version_1_names_the_client(void **state)
{
    struct gw_proxy_info info;
    size_t len;

    assert_int_equal(
        parse(GW_STR("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET /"), &info, &len), GW_OK);
    assert_int_equal(len, 45);
    assert_int_equal(info.version, 1);
    assert_false(info.local);
    expect_end(&info.source, "192.0.2.1", 56324);
    expect_end(&info.destination, "198.51.100.2", 443);

    assert_int_equal(
        parse(GW_STR("PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 0 65535\r\n"), &info, &len), GW_OK);
    expect_end(&info.source, "2001:db8::1", 0);
    expect_end(&info.destination, "::ffff:1.2.3.4", 65535);

    /* The longest that there is. */
    assert_int_equal(parse(GW_STR("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                                  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
                           &info, &len),
                     GW_OK);
    assert_int_equal(len, 104);
}

static void version_1_may_know_nothing(void **state)
{
    static const struct gw_str rows[] = {
        BYTES("PROXY UNKNOWN\r\n"),
        BYTES("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"),
        BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
    };
    struct gw_proxy_info info;
    size_t len;

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(parse(rows[i], &info, &len), GW_OK);
        assert_int_equal(len, rows[i].len);
        assert_true(info.local);
        assert_int_equal(info.source.ss_family, AF_UNSPEC);
    }
}

static void bad_lines_of_version_1_are_refused(void **state)
{
    static const struct gw_str rows[] = {
        BYTES("proxy TCP4 1.2.3.4 1.2.3.5 1 2\r\n"),
        BYTES("PROXY\tTCP4 1.2.3.4 1.2.3.5 1 2\r\n"),
        BYTES("PROXY  TCP4 1.2.3.4 1.2.3.5 1 2\r\n"),
        BYTES("PROXY TCP5 1.2.3.4 1.2.3.5 1 2\r\n"),
        BYTES("PROXY TCP4  1.2.3.4 1.2.3.5 1 2\r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 1 2\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 1 2 \r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 1 2 3\r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 1\r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5\r\n"),
        BYTES("PROXY TCP4 1.2.3.4\r\n"),
        BYTES("PROXY TCP4 \r\n"),
        BYTES("PROXY TCP4\r\n"),
        BYTES("PROXY \r\n"),
        BYTES("PROXY \n"),
        BYTES("PROXY TCP4 1.2.3 1.2.3.5 1 2\r\n"),
        BYTES("PROXY TCP4 1.2.3.256 1.2.3.5 1 2\r\n"),
        BYTES("PROXY TCP4 01.2.3.4 1.2.3.5 1 2\r\n"),
        BYTES("PROXY TCP4 ::1 ::2 1 2\r\n"),
        BYTES("PROXY TCP6 1.2.3.4 1.2.3.5 1 2\r\n"),
        BYTES("PROXY TCP6 [::1] ::2 1 2\r\n"),
        BYTES("PROXY TCP4 1.2.3.4\0 1.2.3.5 1 2\r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 -1 2\r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 +1 2\r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 01 2\r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 65536 2\r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 1 99999\r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 1 100000\r\n"),
        BYTES("PROXY TCP4 1.2.3.4 1.2.3.5 1 2x\r\n"),
        BYTES("PROXY UNKNOWNx\r\n"),
        BYTES("PROXY UNKNOWN\n"),
        BYTES("PROXY UNKNOWN a\n"),
        BYTES("PROXY UNKNOWN a\rb\r\n"),
        BYTES("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::1 1 2\r\n"),
        BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 \r\n"),
        BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 and so on, without end"),
        BYTES("GET / HTTP/1.1\r\n"),
        BYTES("POST / HTTP/1.1\r\n"),
        BYTES("P\r\n"),
        BYTES("\x16\x03\x01"),
    };
    struct gw_proxy_info info;
    size_t len;

    for (size_t i = 0; i < COUNT(rows); i++) {
        enum gw_rc rc = parse(rows[i], &info, &len);
        if (rc != GW_PROTOCOL)
            print_error("row %zu: %.*s\n", i, GW_STR_ARG(rows[i]));
        assert_int_equal(rc, GW_PROTOCOL);
    }
    assert_int_equal(parse(GW_STR("PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r"), &info, &len), GW_AGAIN);
}

#define ENDS4 "\x01\x02\x03\x04\x05\x06\x07\x08\x00\x50\x01\xbb"
#define ENDS6                                                                                      \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\xff\xff" \
    "\0\x01"

static void version_2_names_the_client(void **state)
{
    struct gw_proxy_info info;
    size_t len;

    assert_int_equal(parse(GW_STR(SIGNATURE "\x21\x11\0\x0c" ENDS4 "GET /"), &info, &len), GW_OK);
    assert_int_equal(len, 28);
    assert_int_equal(info.version, 2);
    assert_false(info.local);
    expect_end(&info.source, "1.2.3.4", 80);
    expect_end(&info.destination, "5.6.7.8", 443);

    assert_int_equal(parse(GW_STR(SIGNATURE "\x21\x21\0\x24" ENDS6), &info, &len), GW_OK);
    assert_int_equal(len, 52);
    expect_end(&info.source, "2001:db8::1", 65535);
    expect_end(&info.destination, "2001:db8::2", 1);

    /* Two TLVs, one of them empty. */
    assert_int_equal(
        parse(GW_STR(SIGNATURE "\x21\x11\0\x14" ENDS4 "\x04\0\0\x01\0\x02h2"), &info, &len), GW_OK);
    assert_int_equal(len, 36);
    expect_end(&info.source, "1.2.3.4", 80);
}

static void version_2_may_come_from_a_unix_socket(void **state)
{
    char text[16 + 216] = SIGNATURE "\x21\x31\0\xd8/run/a.sock";
    struct gw_proxy_info info;
    size_t len;

    assert_int_equal(parse(gw_str(text, sizeof(text)), &info, &len), GW_OK);
    assert_int_equal(info.source.ss_family, AF_UNIX);
    assert_string_equal(((struct sockaddr_un *)&info.source)->sun_path, "/run/a.sock");
    assert_int_equal(info.destination.ss_family, AF_UNIX);
}

static void version_2_may_know_nothing(void **state)
{
    static const struct gw_str rows[] = {
        BYTES(SIGNATURE "\x20\0\0\0"),           /* LOCAL */
        BYTES(SIGNATURE "\x20\x11\0\x0c" ENDS4), /* its addresses do not count */
        BYTES(SIGNATURE "\x20\xff\0\x03xyz"),    /* nor does anything else */
        BYTES(SIGNATURE "\x21\0\0\0"),           /* UNSPEC */
        BYTES(SIGNATURE "\x21\0\0\x05hello"),
        BYTES(SIGNATURE "\x21\x12\0\x0c" ENDS4), /* a datagram */
        BYTES(SIGNATURE "\x21\x22\0\x24" ENDS6),
    };
    struct gw_proxy_info info;
    size_t len;

    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(parse(rows[i], &info, &len), GW_OK);
        assert_int_equal(len, rows[i].len);
        assert_true(info.local);
        assert_int_equal(info.source.ss_family, AF_UNSPEC);
        assert_int_equal(info.destination.ss_family, AF_UNSPEC);
    }
}

static void bad_heads_of_version_2_are_refused(void **state)
{
    static const struct {
        struct gw_str data;
        enum gw_rc rc;
    } rows[] = {
        {BYTES("\r\n\r\n\0\r\nQUIT\r"), GW_PROTOCOL},
        {BYTES("\r\n\r\n\x01"), GW_PROTOCOL},
        {BYTES("\r\n\r\nG"), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x11"), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x31"), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x22"), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x2f"), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x21\x13\0\x0c" ENDS4), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x21\x41\0\x0c" ENDS4), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x21\xf1\0\x0c" ENDS4), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x21\x11\0\0"), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x21\x11\0\x0b" ENDS4), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x21\x21\0\x0c" ENDS4), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x21\x31\0\x0c" ENDS4), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x21\x11\0\x0d" ENDS4 "\x01"), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x21\x11\0\x0f" ENDS4 "\x01\0\x01"), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x21\x11\0\x10" ENDS4 "\x01\0\x02h"), GW_PROTOCOL},
        {BYTES(SIGNATURE "\x21\x11\x07\xf1"), GW_LIMIT},
        {BYTES(SIGNATURE "\x20\x11\xff\xff"), GW_LIMIT},
        {BYTES(SIGNATURE "\x21\x11\x07\xf0"), GW_AGAIN},
        {BYTES(SIGNATURE "\x21\x11\0"), GW_AGAIN},
        {BYTES(SIGNATURE), GW_AGAIN},
        {BYTES("\r\n\r\n\0"), GW_AGAIN},
        {BYTES(""), GW_AGAIN},
    };
    struct gw_proxy_info info;
    size_t len;

    for (size_t i = 0; i < COUNT(rows); i++) {
        enum gw_rc rc = parse(rows[i].data, &info, &len);
        if (rc != rows[i].rc)
            print_error("row %zu\n", i);
        assert_int_equal(rc, rows[i].rc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_names_the_client),
        cmocka_unit_test(version_1_may_know_nothing),
        cmocka_unit_test(bad_lines_of_version_1_are_refused),
        cmocka_unit_test(version_2_names_the_client),
        cmocka_unit_test(version_2_may_come_from_a_unix_socket),
        cmocka_unit_test(version_2_may_know_nothing),
        cmocka_unit_test(bad_heads_of_version_2_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
