#include "net/dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a name server that does as it is told ---- */

enum how {
    ANSWER,
    NXDOMAIN,
    NODATA,
    SERVFAIL,
    SILENT,
    GARBAGE,
    SHORT,
    WRONG_ID,
    TRUNCATED,
    RANDOM
};

struct record {
    const char *name; /* NULL: the end */
    enum how v4_how;
    const char *v4; /* addresses with spaces; NULL: as v4_how says */
    enum how v6_how;
    const char *v6;
    uint32_t ttl;
    const char *cname; /* the addresses belong to this name */
    uint32_t cname_ttl;
};

static const struct record *zone;
static struct gw_io udp_io, tcp_io;
static int udp_fd = -1, tcp_fd = -1, left_open = -1;
static unsigned asked, asked_tcp, edns;
static struct gw_loop *loop;
static struct gw_dns *dns;
static char server[32];
static uint64_t seed = 42;

static unsigned char *put16(unsigned char *to, unsigned value)
{
    to[0] = (unsigned char)(value >> 8);
    to[1] = (unsigned char)value;
    return to + 2;
}

static unsigned char *put32(unsigned char *to, uint32_t value)
{
    return put16(put16(to, value >> 16), value & 0xffff);
}

static unsigned char *put_name(unsigned char *to, const char *name)
{
    while (*name != '\0') {
        size_t len = strcspn(name, ".");
        *to++ = (unsigned char)len;
        memcpy(to, name, len);
        to += len;
        name += len + (name[len] == '.');
    }
    *to++ = 0;
    return to;
}

static unsigned char *put_rr(unsigned char *to, const char *name, unsigned type, uint32_t ttl)
{
    return put32(put16(put16(put_name(to, name), type), 1), ttl);
}

static unsigned put_addresses(unsigned char **to, const struct record *record, unsigned type)
{
    const char *name = record->cname != NULL ? record->cname : record->name;
    char *list = strdup(type == 1 ? record->v4 : record->v6), *save = NULL;
    unsigned count = 0;

    for (char *one = strtok_r(list, " ", &save); one; one = strtok_r(NULL, " ", &save), count++) {
        unsigned len = type == 1 ? 4 : 16;
        *to = put16(put_rr(*to, name, type, record->ttl), len);
        assert_int_equal(inet_pton(type == 1 ? AF_INET : AF_INET6, one, *to), 1);
        *to += len;
    }
    free(list);
    return count;
}

static const struct record *record_of(const char *name)
{
    const struct record *record = zone;

    while (record->name != NULL && strcasecmp(record->name, name) != 0)
        record++;
    return record;
}

/* The answer to `query` in `to`; 0: none. */
static size_t answer(const unsigned char *query, size_t len, bool tcp, unsigned char *to)
{
    const unsigned char *at = query + 12;
    char name[256] = "";
    const struct record *record;
    unsigned type, count = 0, flags = 0x8180;
    unsigned char *end;
    enum how how;

    assert_true(len > 12);
    while (*at != 0) {
        strncat(name, (const char *)at + 1, *at);
        at += *at + 1;
        if (*at != 0)
            strcat(name, ".");
    }
    type = (unsigned)at[1] << 8 | at[2];
    at += 5;
    asked++;
    asked_tcp += tcp;
    edns += query[11] == 1;
    record = record_of(name);
    how = record->name == NULL ? NXDOMAIN : type == 1 ? record->v4_how : record->v6_how;
    if (how == ANSWER && (type == 1 ? record->v4 : record->v6) == NULL)
        how = NODATA;
    if (how == TRUNCATED && tcp)
        how = ANSWER;
    if (how == SILENT)
        return 0;
    memcpy(to, query, (size_t)(at - query));
    end = to + (at - query);
    if (how == RANDOM || how == GARBAGE || how == SHORT) {
        size_t body = how == SHORT ? 0 : 60;
        /* The head and question fit; what should be records does not. */
        put16(to + 2, flags);
        put16(to + 6, how == RANDOM ? (unsigned)(seed >> 40) & 7 : 3);
        put32(to + 8, 0);
        for (size_t i = 0; i < body; i++) {
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            end[i] = (unsigned char)(seed >> 33);
        }
        return (size_t)(end - to) + body;
    }
    if (how == WRONG_ID)
        to[0] ^= 0x55;
    flags |= how == NXDOMAIN ? 3 : how == SERVFAIL ? 2 : how == TRUNCATED ? 0x200 : 0;
    if (how == ANSWER || how == WRONG_ID) {
        if (record->cname != NULL) {
            unsigned char *rdata = put_rr(end, record->name, 5, record->cname_ttl);
            end = put_name(rdata + 2, record->cname);
            put16(rdata, (unsigned)(end - rdata - 2));
            count++;
        }
        count += put_addresses(&end, record, type);
    }
    put16(to + 2, flags);
    put16(to + 4, 1);
    put16(to + 6, count);
    put32(to + 8, 0);
    return (size_t)(end - to);
}

static void on_udp(struct gw_io *io, unsigned what)
{
    unsigned char query[2048], reply[65536];
    struct sockaddr_storage from;
    socklen_t from_len = sizeof(from);
    ssize_t len =
        recvfrom(udp_fd, query, sizeof(query), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    size_t size;

    if (len < 0)
        return;
    size = answer(query, (size_t)len, false, reply);
    if (size > 0)
        assert_int_equal(sendto(udp_fd, reply, size, 0, (struct sockaddr *)&from, from_len), size);
}

/* One connection, one query; small enough to be read and written while the loop waits. */
static void on_tcp(struct gw_io *io, unsigned what)
{
    unsigned char query[2048], reply[65538];
    int fd = accept4(tcp_fd, NULL, NULL, SOCK_CLOEXEC);
    size_t size, got = 0;

    if (fd < 0)
        return;
    while (got < 2 || got < 2 + ((size_t)query[0] << 8 | query[1])) {
        ssize_t len = read(fd, query + got, sizeof(query) - got);
        if (len <= 0)
            break;
        got += (size_t)len;
    }
    size = answer(query + 2, got - 2, true, reply + 2);
    put16(reply, (unsigned)size);
    /* In three pieces: the length, a half, the rest. */
    assert_int_equal(write(fd, reply, 2), 2);
    assert_int_equal(write(fd, reply + 2, size / 2), size / 2);
    assert_int_equal(write(fd, reply + 2 + size / 2, size - size / 2), size - size / 2);
    /* Left open: nothing but the bytes themselves tells that the answer is there. */
    if (left_open >= 0)
        (void)close(left_open);
    left_open = fd;
}

static void server_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    const int one = 1;

    /* A port that is free for both: another program may have the TCP one. */
    for (int tries = 0;; tries++) {
        address.sin_port = 0;
        udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(bind(udp_fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(getsockname(udp_fd, (struct sockaddr *)&address, &len), 0);
        tcp_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(setsockopt(tcp_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
        if (bind(tcp_fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            break;
        assert_true(tries < 50);
        (void)close(udp_fd);
        (void)close(tcp_fd);
    }
    assert_int_equal(listen(tcp_fd, 16), 0);
    (void)snprintf(server, sizeof(server), "127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(gw_io_open_level(&udp_io, loop, udp_fd, on_udp), GW_OK);
    assert_int_equal(gw_io_open_level(&tcp_io, loop, tcp_fd, on_tcp), GW_OK);
}

static void server_stop(void)
{
    gw_io_close(&udp_io);
    gw_io_close(&tcp_io);
    if (udp_fd >= 0)
        (void)close(udp_fd);
    if (tcp_fd >= 0)
        (void)close(tcp_fd);
    if (left_open >= 0)
        (void)close(left_open);
    udp_fd = tcp_fd = left_open = -1;
}

/* ---- asking ---- */

struct got {
    unsigned calls;
    struct gw_dns_answer answer;
    union gw_dns_address addresses[GW_DNS_ADDRESSES_MAX];
};

static void note(void *arg, const struct gw_dns_answer *told)
{
    struct got *got = arg;

    got->calls++;
    got->answer = *told;
    assert_true(told->count <= GW_DNS_ADDRESSES_MAX);
    assert_true((told->rc == GW_OK) == (told->count > 0));
    if (told->count > 0)
        memcpy(got->addresses, told->addresses, told->count * sizeof(got->addresses[0]));
    got->answer.addresses = got->addresses;
}

static void turn_until(const struct got *got, unsigned calls)
{
    for (int i = 0; i < 2000 && got->calls < calls; i++)
        gw_loop_turn(loop, 5);
    assert_int_equal(got->calls, calls);
}

/* Lets the server see what is on its way, and the answers arrive. */
static void settle_down(void)
{
    for (int i = 0; i < 8; i++)
        gw_loop_turn(loop, 2);
}

static void resolve(struct got *got, const char *name, enum gw_dns_family family)
{
    struct gw_dns_lookup *lookup;

    memset(got, 0, sizeof(*got));
    assert_int_equal(gw_dns_resolve(dns, gw_str_c(name), family, note, got, &lookup), GW_OK);
    assert_int_equal(got->calls, 0);
    turn_until(got, 1);
}

static void expect(const struct got *got, const char *want)
{
    char text[4096] = "";

    for (uint32_t i = 0; i < got->answer.count; i++) {
        const union gw_dns_address *one = &got->addresses[i];
        char host[INET6_ADDRSTRLEN];
        const void *bytes = one->any.sa_family == AF_INET ? (const void *)&one->v4.sin_addr
                                                          : (const void *)&one->v6.sin6_addr;
        (void)inet_ntop(one->any.sa_family, bytes, host, sizeof(host));
        strcat(strcat(text, i > 0 ? " " : ""), host);
    }
    assert_string_equal(text, want);
    assert_int_equal(got->answer.rc, GW_OK);
}

static int setup(void **state)
{
    struct gw_str servers[1];

    assert_int_equal(gw_loop_new(&loop), GW_OK);
    server_start();
    servers[0] = gw_str_c(server);
    assert_int_equal(gw_dns_new(loop, servers, 1, 600, &dns, NULL), GW_OK);
    asked = asked_tcp = edns = 0;
    return 0;
}

static int teardown(void **state)
{
    gw_dns_free(dns);
    server_stop();
    gw_loop_free(loop);
    return 0;
}

static const struct record plain[] = {
    {.name = "a.test", .v4 = "192.0.2.1 192.0.2.2", .ttl = 60},
    {.name = "both.test", .v4 = "192.0.2.1", .v6 = "2001:db8::1 2001:db8::2", .ttl = 60},
    {.name = "six.test", .v6 = "2001:db8::6", .ttl = 60},
    {.name = "half.test", .v4 = "192.0.2.9", .v6_how = SERVFAIL, .ttl = 60},
    {.name = "half-garbage.test", .v4 = "192.0.2.9", .v6_how = GARBAGE, .ttl = 60},
    {.name = "half-silent.test", .v4 = "192.0.2.9", .v6_how = SILENT, .ttl = 60},
    {.name = "doubt.test", .v4_how = SERVFAIL, .v6_how = NODATA},
    {.name = "nodata.test", .v4_how = NODATA, .v6_how = NODATA},
    {.name = "servfail.test", .v4_how = SERVFAIL, .v6_how = SERVFAIL},
    {.name = "garbage.test", .v4_how = GARBAGE, .v6_how = GARBAGE},
    {.name = "short.test", .v4_how = SHORT, .v6_how = SHORT},
    {.name = "silent.test", .v4_how = SILENT, .v6_how = SILENT},
    {.name = "wrong.test", .v4_how = WRONG_ID, .v4 = "192.0.2.66", .v6_how = NODATA, .ttl = 60},
    {.name = "long.test", .v4_how = TRUNCATED, .v4 = "192.0.2.7", .v6_how = NODATA, .ttl = 60},
    {.name = "zero.test", .v4 = "192.0.2.1", .ttl = 0},
    {.name = "ages.test", .v4 = "192.0.2.1", .ttl = 900000},
    {.name = "double.test", .v4 = "192.0.2.1 192.0.2.1 192.0.2.2", .ttl = 60},
    {.name = "alias.test", .v4 = "192.0.2.5", .ttl = 600, .cname = "real.test", .cname_ttl = 20},
    {.name = NULL},
};

static void answers_addresses_of_both_families(void **state)
{
    struct got got;

    zone = plain;
    resolve(&got, "a.test", GW_DNS_IPV4_FIRST);
    expect(&got, "192.0.2.1 192.0.2.2");
    assert_false(got.answer.stale);
    assert_in_range(got.answer.ttl_ms, 59000, 60000);
    resolve(&got, "both.test", GW_DNS_IPV4_FIRST);
    expect(&got, "192.0.2.1 2001:db8::1 2001:db8::2");
    resolve(&got, "both.test", GW_DNS_IPV6_FIRST);
    expect(&got, "2001:db8::1 2001:db8::2 192.0.2.1");
    resolve(&got, "both.test", GW_DNS_IPV4);
    expect(&got, "192.0.2.1");
    resolve(&got, "both.test", GW_DNS_IPV6);
    expect(&got, "2001:db8::1 2001:db8::2");
    resolve(&got, "six.test", GW_DNS_IPV4_FIRST);
    expect(&got, "2001:db8::6");
    resolve(&got, "six.test", GW_DNS_IPV4);
    assert_int_equal(got.answer.rc, GW_NOT_FOUND);
    resolve(&got, "double.test", GW_DNS_IPV4_FIRST);
    expect(&got, "192.0.2.1 192.0.2.2");
    assert_int_equal(edns, asked);
}

static void keeps_an_answer_for_its_ttl(void **state)
{
    struct gw_dns_answer cached;
    struct got got;

    zone = plain;
    assert_false(gw_dns_cached(dns, GW_STR("a.test"), GW_DNS_IPV4, &cached));
    resolve(&got, "a.test", GW_DNS_IPV4);
    resolve(&got, "A.Test", GW_DNS_IPV4);
    assert_int_equal(asked, 1);
    assert_true(gw_dns_cached(dns, GW_STR("a.TEST"), GW_DNS_IPV4, &cached));
    assert_int_equal(cached.count, 2);
    gw_loop_advance(loop, 58000);
    resolve(&got, "a.test", GW_DNS_IPV4);
    assert_int_equal(asked, 1);
    gw_loop_advance(loop, 2001);
    assert_false(gw_dns_cached(dns, GW_STR("a.test"), GW_DNS_IPV4, &cached));
    resolve(&got, "a.test", GW_DNS_IPV4);
    assert_int_equal(asked, 2);

    resolve(&got, "alias.test", GW_DNS_IPV4); /* the shortest of the chain counts */
    assert_in_range(got.answer.ttl_ms, 19000, 20000);
}

static void holds_ttls_to_their_bounds(void **state)
{
    struct got got;

    zone = plain;
    resolve(&got, "zero.test", GW_DNS_IPV4);
    resolve(&got, "zero.test", GW_DNS_IPV4);
    assert_int_equal(asked, 1);
    gw_loop_advance(loop, GW_DNS_TTL_MS_MIN);
    resolve(&got, "zero.test", GW_DNS_IPV4);
    assert_int_equal(asked, 2);
    resolve(&got, "ages.test", GW_DNS_IPV4);
    assert_in_range(got.answer.ttl_ms, GW_DNS_TTL_MS_MAX - 1000, GW_DNS_TTL_MS_MAX);
}

static void says_why_there_is_none(void **state)
{
    static const struct {
        const char *name;
        enum gw_rc rc;
    } rows[] = {
        {"nobody.test", GW_NOT_FOUND}, {"nodata.test", GW_NOT_FOUND}, {"servfail.test", GW_DNS},
        {"garbage.test", GW_DNS},      {"doubt.test", GW_DNS},
    };
    struct got got;

    zone = plain;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        resolve(&got, rows[i].name, GW_DNS_IPV4_FIRST);
        if (got.answer.rc != rows[i].rc)
            fail_msg("%s: %s", rows[i].name, gw_rc_code(got.answer.rc));
    }
    resolve(&got, "half.test", GW_DNS_IPV4_FIRST);
    expect(&got, "192.0.2.9");
    resolve(&got, "half-garbage.test", GW_DNS_IPV6_FIRST);
    expect(&got, "192.0.2.9");
    asked = 0;
    resolve(&got, "nobody.test", GW_DNS_IPV4_FIRST);
    assert_int_equal(asked, 0); /* believed for a while */
    gw_loop_advance(loop, GW_DNS_NEGATIVE_MS);
    resolve(&got, "nobody.test", GW_DNS_IPV4_FIRST);
    assert_int_equal(asked, 2);
}

static void gives_up_on_a_silent_server(void **state)
{
    static const char *const names[] = {"silent.test", "wrong.test"};
    struct gw_dns_lookup *lookup;
    struct got got;

    zone = plain;
    for (size_t i = 0; i < 2; i++) {
        memset(&got, 0, sizeof(got));
        assert_int_equal(
            gw_dns_resolve(dns, gw_str_c(names[i]), GW_DNS_IPV4_FIRST, note, &got, &lookup), GW_OK);
        settle_down();
        gw_loop_advance(loop, 550);
        gw_loop_turn(loop, 0);
        assert_int_equal(got.calls, 0);
        gw_loop_advance(loop, 50);
        turn_until(&got, 1);
        assert_int_equal(got.answer.rc, GW_TIMEOUT);
    }
    /* One family has answered: that is enough when the time is over. */
    memset(&got, 0, sizeof(got));
    assert_int_equal(
        gw_dns_resolve(dns, GW_STR("half-silent.test"), GW_DNS_IPV4_FIRST, note, &got, &lookup),
        GW_OK);
    settle_down();
    assert_int_equal(got.calls, 0);
    gw_loop_advance(loop, 600);
    turn_until(&got, 1);
    expect(&got, "192.0.2.9");
}

/* By the clock of c-ares, without any advance: its own tries end too. */
static void tries_again_by_itself(void **state)
{
    struct got got;

    zone = plain;
    resolve(&got, "silent.test", GW_DNS_IPV4);
    assert_int_equal(got.answer.rc, GW_TIMEOUT);
    assert_in_range(asked, 2, 3);
}

static void asks_by_tcp_what_was_truncated(void **state)
{
    static char many[16 * 200];
    static struct record big[] = {{.name = "big.test", .v4_how = TRUNCATED, .ttl = 60},
                                  {.name = NULL}};
    struct got got;

    zone = plain;
    resolve(&got, "long.test", GW_DNS_IPV4_FIRST);
    expect(&got, "192.0.2.7");
    assert_int_equal(asked_tcp, 1);

    for (int i = 0; i < 200; i++)
        (void)sprintf(many + strlen(many), "198.51.100.%d ", i);
    big[0].v4 = many;
    zone = big;
    resolve(&got, "big.test", GW_DNS_IPV4);
    assert_int_equal(got.answer.rc, GW_OK);
    assert_int_equal(got.answer.count, GW_DNS_ADDRESSES_MAX);
}

static void keeps_the_last_good_answer(void **state)
{
    struct got got;

    zone = plain;
    resolve(&got, "a.test", GW_DNS_IPV4);
    server_stop();
    gw_loop_advance(loop, 61000);
    resolve(&got, "a.test", GW_DNS_IPV4);
    expect(&got, "192.0.2.1 192.0.2.2");
    assert_true(got.answer.stale);
    assert_true(got.answer.refresh == GW_DNS || got.answer.refresh == GW_TIMEOUT);
    assert_int_equal(got.answer.ttl_ms, 0);
    gw_loop_advance(loop, GW_DNS_STALE_MS_MAX);
    resolve(&got, "a.test", GW_DNS_IPV4);
    assert_int_not_equal(got.answer.rc, GW_OK);
}

static void believes_a_denial_of_an_unwatched_name(void **state)
{
    static const struct record gone[] = {{.name = NULL}};
    struct got got;

    zone = plain;
    resolve(&got, "a.test", GW_DNS_IPV4);
    zone = gone;
    gw_loop_advance(loop, 61000);
    resolve(&got, "a.test", GW_DNS_IPV4);
    assert_int_equal(got.answer.rc, GW_NOT_FOUND);
}

static void asks_once_for_many(void **state)
{
    struct gw_dns_lookup *lookups[50];
    struct got got[50] = {0};

    zone = plain;
    for (int i = 0; i < 50; i++)
        assert_int_equal(
            gw_dns_resolve(dns, GW_STR("a.test"), GW_DNS_IPV4, note, &got[i], &lookups[i]), GW_OK);
    for (int i = 0; i < 50; i += 2)
        gw_dns_cancel(lookups[i]);
    turn_until(&got[49], 1);
    for (int i = 0; i < 50; i++)
        assert_int_equal(got[i].calls, i % 2);
    assert_int_equal(asked, 1);
}

static struct gw_dns_lookup *victim;

static void note_and_cancel(void *arg, const struct gw_dns_answer *told)
{
    note(arg, told);
    gw_dns_cancel(victim);
}

static void may_cancel_another_inside_a_callback(void **state)
{
    struct got first = {0}, second = {0}, last = {0};
    struct gw_dns_lookup *lookup;

    zone = plain;
    assert_int_equal(
        gw_dns_resolve(dns, GW_STR("a.test"), GW_DNS_IPV4, note_and_cancel, &first, &lookup),
        GW_OK);
    assert_int_equal(gw_dns_resolve(dns, GW_STR("a.test"), GW_DNS_IPV4, note, &second, &victim),
                     GW_OK);
    assert_int_equal(gw_dns_resolve(dns, GW_STR("a.test"), GW_DNS_IPV4, note, &last, &lookup),
                     GW_OK);
    turn_until(&last, 1);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 0);
}

static void knows_literals_and_localhost_without_asking(void **state)
{
    struct got got;

    zone = plain;
    resolve(&got, "127.0.0.1", GW_DNS_IPV4_FIRST);
    expect(&got, "127.0.0.1");
    resolve(&got, "::1", GW_DNS_IPV4_FIRST);
    expect(&got, "::1");
    resolve(&got, "::1", GW_DNS_IPV4);
    assert_int_equal(got.answer.rc, GW_NOT_FOUND);
    resolve(&got, "localhost", GW_DNS_IPV4_FIRST);
    expect(&got, "127.0.0.1 ::1");
    resolve(&got, "LOCALHOST.", GW_DNS_IPV6);
    expect(&got, "::1");
    resolve(&got, "a.localhost", GW_DNS_IPV4);
    expect(&got, "127.0.0.1");
    assert_int_equal(asked, 0);
}

/* The first IPv4 name of the machine's own file, if it has one that is not localhost. */
static void reads_the_hosts_file(void **state)
{
    char line[512], address[64], name[256];
    FILE *file = fopen("/etc/hosts", "re");
    bool found = false;
    struct got got;

    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
        found = sscanf(line, "%63[0-9.] %255s", address, name) == 2 &&
                strcasestr(name, "localhost") == NULL;
    if (file != NULL)
        (void)fclose(file);
    if (!found)
        skip();
    zone = plain;
    resolve(&got, name, GW_DNS_IPV4);
    assert_int_equal(got.answer.rc, GW_OK);
    assert_int_equal(asked, 0);
}

static void refuses_what_is_no_name(void **state)
{
    static const char *const names[] = {"",    ".", ".a",    "a..b",  "a b", "a/b",
                                        "a\n", "*", "a%00b", "[::1]", "a@b", "\xc3\xa9.test"};
    struct gw_dns_lookup *lookup;
    struct gw_dns_watch *watch;
    struct got got;
    char text[300];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(gw_dns_resolve(dns, gw_str_c(names[i]), GW_DNS_IPV4, note, &got, &lookup),
                         GW_INVALID);
        assert_int_equal(gw_dns_watch(dns, gw_str_c(names[i]), GW_DNS_IPV4, note, &got, &watch),
                         GW_INVALID);
    }
    assert_int_equal(gw_dns_resolve(dns, gw_str("a\0b", 3), GW_DNS_IPV4, note, &got, &lookup),
                     GW_INVALID);
    memset(text, 'a', sizeof(text));
    assert_int_equal(gw_dns_resolve(dns, gw_str(text, 64), GW_DNS_IPV4, note, &got, &lookup),
                     GW_INVALID);
    for (size_t i = 50; i < sizeof(text); i += 50)
        text[i] = '.';
    assert_int_equal(gw_dns_resolve(dns, gw_str(text, 254), GW_DNS_IPV4, note, &got, &lookup),
                     GW_INVALID);
    zone = plain;
    text[253] = '\0';
    resolve(&got, text, GW_DNS_IPV4);
    assert_int_equal(got.answer.rc, GW_NOT_FOUND);
}

/* ---- watches ---- */

static const struct record other[] = {{.name = "a.test", .v4 = "192.0.2.3", .ttl = 10},
                                      {.name = NULL}};
static const struct record turned[] = {{.name = "a.test", .v4 = "192.0.2.2 192.0.2.1", .ttl = 60},
                                       {.name = NULL}};

static void watches_a_name(void **state)
{
    struct got got = {0};
    struct gw_dns_watch *watch;

    zone = plain;
    assert_int_equal(gw_dns_watch(dns, GW_STR("a.test"), GW_DNS_IPV4, note, &got, &watch), GW_OK);
    assert_int_equal(got.calls, 0);
    turn_until(&got, 1);
    expect(&got, "192.0.2.1 192.0.2.2");

    /* Asked again when the TTL is over; another order is no news. */
    zone = turned;
    gw_loop_advance(loop, 60000);
    settle_down();
    assert_int_equal(asked, 2);
    assert_int_equal(got.calls, 1);

    zone = other;
    gw_loop_advance(loop, 60000);
    turn_until(&got, 2);
    expect(&got, "192.0.2.3");
    assert_int_equal(asked, 3);
    gw_dns_unwatch(watch);
    gw_loop_advance(loop, 60000);
    settle_down();
    assert_int_equal(asked, 3);
}

static void keeps_what_is_watched_when_servers_fail_or_deny(void **state)
{
    static const struct record failing[] = {{.name = "a.test", .v4_how = SERVFAIL}, {.name = NULL}};
    static const struct record gone[] = {{.name = NULL}};
    struct got got = {0};
    struct gw_dns_watch *watch;

    zone = other;
    assert_int_equal(gw_dns_watch(dns, GW_STR("a.test"), GW_DNS_IPV4, note, &got, &watch), GW_OK);
    turn_until(&got, 1);
    zone = failing;
    gw_loop_advance(loop, 10000);
    turn_until(&got, 2);
    expect(&got, "192.0.2.3");
    assert_true(got.answer.stale);
    assert_int_equal(got.answer.refresh, GW_DNS);

    zone = gone;
    gw_loop_advance(loop, GW_DNS_FAILURE_MS);
    turn_until(&got, 3);
    expect(&got, "192.0.2.3");
    assert_true(got.answer.stale);
    assert_int_equal(got.answer.refresh, GW_NOT_FOUND);

    zone = other;
    gw_loop_advance(loop, GW_DNS_FAILURE_MS_MAX);
    turn_until(&got, 4);
    assert_false(got.answer.stale);
    gw_dns_unwatch(watch);
}

static void tells_a_watch_that_there_is_nothing_yet(void **state)
{
    static const struct record gone[] = {{.name = NULL}};
    struct got got = {0};
    struct gw_dns_watch *watch;

    zone = gone;
    assert_int_equal(gw_dns_watch(dns, GW_STR("a.test"), GW_DNS_IPV4, note, &got, &watch), GW_OK);
    turn_until(&got, 1);
    assert_int_equal(got.answer.rc, GW_NOT_FOUND);
    zone = other;
    gw_loop_advance(loop, GW_DNS_FAILURE_MS_MAX);
    turn_until(&got, 2);
    expect(&got, "192.0.2.3");
    gw_dns_unwatch(watch);
}

static void backs_off_while_a_watched_name_fails(void **state)
{
    static const struct record failing[] = {{.name = "a.test", .v4_how = SERVFAIL}, {.name = NULL}};
    struct got got = {0};
    struct gw_dns_watch *watch;
    unsigned before;

    zone = failing;
    assert_int_equal(gw_dns_watch(dns, GW_STR("a.test"), GW_DNS_IPV4, note, &got, &watch), GW_OK);
    turn_until(&got, 1);
    for (int i = 0; i < 120; i++) { /* two minutes */
        gw_loop_advance(loop, 1000);
        settle_down();
    }
    settle_down();
    before = asked;
    assert_in_range(before, 3, 30);
    assert_int_equal(got.calls, 1); /* nothing has changed */
    gw_dns_unwatch(watch);
}

static struct gw_dns_watch *watches[3];

static void note_and_unwatch_all(void *arg, const struct gw_dns_answer *told)
{
    note(arg, told);
    for (int i = 0; i < 3; i++)
        gw_dns_unwatch(watches[i]);
}

static void may_unwatch_inside_a_callback(void **state)
{
    struct got got[3] = {0};

    zone = plain;
    for (int i = 0; i < 3; i++)
        assert_int_equal(gw_dns_watch(dns, GW_STR("a.test"), GW_DNS_IPV4, note_and_unwatch_all,
                                      &got[i], &watches[i]),
                         GW_OK);
    settle_down();
    assert_int_equal(got[0].calls + got[1].calls + got[2].calls, 1);
}

/* ---- limits and ends ---- */

static void holds_the_cache_and_the_questions_to_their_limits(void **state)
{
    static struct got sink;
    struct gw_dns_lookup *lookup;
    struct gw_dns_stats stats;
    unsigned full = 0, taken = 0;

    zone = plain;
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 600; i++) {
            char name[32];
            int len = sprintf(name, "n%d-%u.localhost", round, i);
            assert_int_equal(
                gw_dns_resolve(dns, gw_str(name, (size_t)len), GW_DNS_IPV4, note, &sink, &lookup),
                GW_OK);
        }
        settle_down();
    }
    assert_int_equal(sink.calls, 1800);
    gw_dns_stats(dns, &stats);
    assert_in_range(stats.names, 1, GW_DNS_CACHE_NAMES_MAX);
    assert_int_equal(stats.asking, 0);

    for (unsigned i = 0; i < GW_DNS_LOOKUPS_MAX + 100; i++) {
        char name[32];
        int len = sprintf(name, "m%u.silent.test", i);
        enum gw_rc rc =
            gw_dns_resolve(dns, gw_str(name, (size_t)len), GW_DNS_IPV4, note, &sink, &lookup);
        full += rc == GW_FULL;
        taken += rc == GW_OK;
    }
    assert_int_equal(taken, GW_DNS_LOOKUPS_MAX);
    assert_int_equal(full, 100);
}

static void tells_who_waits_when_it_goes(void **state)
{
    struct got waits = {0}, watched = {0}, ready = {0};
    struct gw_dns_lookup *lookup;
    struct gw_dns_watch *watch;

    zone = plain;
    assert_int_equal(gw_dns_resolve(dns, GW_STR("silent.test"), GW_DNS_IPV4, note, &waits, &lookup),
                     GW_OK);
    assert_int_equal(gw_dns_resolve(dns, GW_STR("localhost"), GW_DNS_IPV4, note, &ready, &lookup),
                     GW_OK);
    assert_int_equal(gw_dns_watch(dns, GW_STR("silent.test"), GW_DNS_IPV4, note, &watched, &watch),
                     GW_OK);
    gw_dns_free(dns);
    dns = NULL;
    assert_int_equal(waits.calls, 1);
    assert_int_equal(waits.answer.rc, GW_CANCELLED);
    assert_int_equal(ready.calls, 1);
    assert_int_equal(watched.calls, 0);
    settle_down();
}

static void survives_random_answers(void **state)
{
    static const struct record zoned[] = {{.name = "r.test", .v4_how = RANDOM, .v6_how = RANDOM},
                                          {.name = NULL}};
    struct got got;

    zone = zoned;
    for (int i = 0; i < 300; i++) {
        resolve(&got, "r.test", GW_DNS_IPV4_FIRST);
        gw_loop_advance(loop, GW_DNS_TTL_MS_MAX);
    }
    assert_true(asked >= 600);
}

static void checks_its_servers(void **state)
{
    static const struct {
        const char *text;
        enum gw_rc rc;
    } rows[] = {
        {"127.0.0.1", GW_OK},
        {"127.0.0.1:5353", GW_OK},
        {"::1", GW_OK},
        {"[::1]", GW_OK},
        {"[::1]:5353", GW_OK},
        {"", GW_INVALID},
        {"dns.test", GW_INVALID},
        {"127.0.0.1:0", GW_INVALID},
        {"127.0.0.1:x", GW_INVALID},
        {"127.0.0.1:", GW_INVALID},
        {"127.0.0.1:65536", GW_INVALID},
        {"[::1", GW_INVALID},
        {"127.0.0.1,127.0.0.2", GW_INVALID},
        {"[::1]x", GW_INVALID},
    };
    struct gw_dns *one;
    struct gw_err err;
    struct gw_str text;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum gw_rc rc;
        text = gw_str_c(rows[i].text);
        rc = gw_dns_new(loop, &text, 1, 100, &one, &err);
        if (rc != rows[i].rc)
            fail_msg("\"%s\": %s", rows[i].text, gw_rc_code(rc));
        if (rc == GW_OK)
            gw_dns_free(one);
    }
    assert_int_equal(gw_dns_new(loop, NULL, 0, 0, &one, &err), GW_INVALID);
    assert_int_equal(gw_dns_new(loop, NULL, 0, 100, &one, &err), GW_OK); /* resolv.conf */
    gw_dns_free(one);
    gw_dns_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_addresses_of_both_families),
        TEST(keeps_an_answer_for_its_ttl),
        TEST(holds_ttls_to_their_bounds),
        TEST(says_why_there_is_none),
        TEST(gives_up_on_a_silent_server),
        TEST(tries_again_by_itself),
        TEST(asks_by_tcp_what_was_truncated),
        TEST(keeps_the_last_good_answer),
        TEST(believes_a_denial_of_an_unwatched_name),
        TEST(asks_once_for_many),
        TEST(may_cancel_another_inside_a_callback),
        TEST(knows_literals_and_localhost_without_asking),
        TEST(reads_the_hosts_file),
        TEST(refuses_what_is_no_name),
        TEST(watches_a_name),
        TEST(keeps_what_is_watched_when_servers_fail_or_deny),
        TEST(tells_a_watch_that_there_is_nothing_yet),
        TEST(backs_off_while_a_watched_name_fails),
        TEST(may_unwatch_inside_a_callback),
        TEST(holds_the_cache_and_the_questions_to_their_limits),
        TEST(tells_who_waits_when_it_goes),
        TEST(survives_random_answers),
        TEST(checks_its_servers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
