/* Both ends of a socketpair are ours: what one side says must come out of the other, whole, by
 * whatever pieces the socket takes. Certificates are made by openssl(1) for the run. */
#include "net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "net/tls_private.h"

#define IDENTITIES 3

static char dir[] = "/tmp/moongate-tls-XXXXXX";
static struct gw_loop *loop;
static struct gw_buf chains[IDENTITIES], keys[IDENTITIES], ca;
static struct gw_tls_tickets tickets;
static struct gw_tls_policy policy; /* number 1; 0 asks nobody */
static uint32_t wanted_policy;
static int held;

/* ---- certificates ---- */

static void run(const char *command)
{
    char line[1024];

    (void)snprintf(line, sizeof(line), "cd %s && { %s; } >/dev/null 2>&1", dir, command);
    assert_int_equal(system(line), 0);
}

static struct gw_buf file(const char *name)
{
    struct gw_buf text = GW_BUF_INIT;
    char path[128];
    FILE *from;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    from = fopen(path, "re");
    assert_non_null(from);
    gw_buf_added(&text, fread(gw_buf_reserve(&text, 65536), 1, 65536, from));
    (void)fclose(from);
    return text;
}

static void identity_load(uint32_t index, const char *certificate, const char *key)
{
    struct gw_buf pem = file(certificate), secret = file(key);
    struct gw_err err;

    assert_int_equal(gw_tls_read_certificates(gw_buf_str(&pem), &chains[index], NULL, &err), GW_OK);
    assert_int_equal(
        gw_tls_read_key(gw_buf_str(&secret), gw_buf_str(&chains[index]), &keys[index], &err),
        GW_OK);
    gw_buf_fini(&pem);
    gw_buf_fini(&secret);
}

static int make(void **state)
{
    struct gw_buf pem;
    struct gw_err err;

    assert_non_null(mkdtemp(dir));
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca"
        " -keyout ca.key -out ca.pem");
    run("for n in one two alice; do openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        " -subj /CN=$n/O=Example -keyout $n.key -out $n.csr && echo"
        " subjectAltName=DNS:$n.example,DNS:*.$n.example >$n.ext && openssl x509 -req -in $n.csr"
        " -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile $n.ext -out $n.pem || exit 1;"
        " done");
    identity_load(0, "one.pem", "one.key");
    identity_load(1, "two.pem", "two.key");
    identity_load(2, "alice.pem", "alice.key");
    pem = file("ca.pem");
    assert_int_equal(gw_tls_read_certificates(gw_buf_str(&pem), &ca, NULL, &err), GW_OK);
    gw_buf_fini(&pem);
    gw_random(tickets.keys, sizeof(tickets.keys));
    return 0;
}

static int unmake(void **state)
{
    run("rm -f *");
    for (int i = 0; i < IDENTITIES; i++) {
        gw_buf_fini(&chains[i]);
        gw_buf_fini(&keys[i]);
    }
    gw_buf_fini(&ca);
    return rmdir(dir);
}

/* ---- a listener ---- */

static void choose(void *arg, struct gw_str name, struct gw_tls_choice *out)
{
    *out = (struct gw_tls_choice){.count = 1, .policy = wanted_policy};
    out->known = gw_str_eq(name, GW_STR("two.example"));
    out->identities[0] = out->known ? 1 : 0;
}

static void identity(void *arg, uint32_t index, struct gw_tls_identity *out)
{
    *out = (struct gw_tls_identity){gw_buf_str(&chains[index]), gw_buf_str(&keys[index])};
}

static void policy_row(void *arg, uint32_t index, struct gw_tls_policy *out)
{
    *out = index == 0 ? (struct gw_tls_policy){.verify = GW_TLS_VERIFY_OFF} : policy;
}

static void hold(void *arg)
{
    held++;
}

static void release(void *arg)
{
    held--;
}

static const struct gw_tls_source source = {choose, identity, policy_row, .hold = hold,
                                            .release = release};

/* ---- two ends ---- */

struct end {
    struct gw_conn conn;
    struct gw_buf got;
    unsigned what;
    enum gw_rc rc; /* of the last read */
    const char *data;
    size_t len, sent;
    bool closing;
};

static void read_all(struct end *end)
{
    char buffer[32768];
    size_t got;

    while (end->conn.readable) {
        end->rc = gw_conn_read(&end->conn, buffer, sizeof(buffer), &got);
        if (end->rc != GW_OK)
            return;
        gw_buf_add(&end->got, buffer, got);
    }
}

/* In slices, as heads and bodies come. */
static void write_some(struct end *end)
{
    while (end->sent < end->len && end->conn.writable) {
        const char *at = end->data + end->sent;
        size_t left = end->len - end->sent, sent;
        size_t first = left < 100 ? left : 100, then = left - first < 5 ? left - first : 5;
        struct iovec iov[] = {{(void *)(uintptr_t)at, first},
                              {(void *)(uintptr_t)(at + first), then},
                              {(void *)(uintptr_t)at, 0},
                              {(void *)(uintptr_t)(at + first + then), left - first - then}};
        if (gw_conn_writev(&end->conn, iov, 4, &sent) != GW_OK) {
            end->rc = GW_CLOSED;
            return;
        }
        end->sent += sent;
    }
    if (end->sent == end->len && end->closing) {
        end->closing = false;
        gw_conn_shutdown(&end->conn);
    }
}

static void on_end(struct gw_conn *conn, unsigned what)
{
    struct end *end = GW_CONTAINER(conn, struct end, conn);

    end->what |= what;
    if (what & GW_CONN_FAILED)
        return;
    write_some(end);
    read_all(end);
}

struct pair {
    struct gw_tls_server *server;
    struct gw_tls_client *client;
    struct end here, there; /* server, client */
    bool http2;
};

static void turn(unsigned times)
{
    while (times-- > 0)
        gw_loop_turn(loop, 1);
}

static void contexts(struct pair *pair, bool http2, const struct gw_tls_identity *shown)
{
    const struct gw_tls_settings settings = {.tickets = true, .http2 = http2};
    struct gw_tls_client_options options = {
        .settings = settings, .verify = true, .ca = gw_buf_str(&ca), .depth = 5};
    struct gw_err err;

    memset(pair, 0, sizeof(*pair));
    pair->http2 = http2;
    if (shown != NULL)
        options.identity = *shown;
    assert_int_equal(
        gw_tls_server_new(&settings, &source, NULL, IDENTITIES, 2, &tickets, &pair->server, &err),
        GW_OK);
    assert_int_equal(gw_tls_client_new(&options, &pair->client, &err), GW_OK);
}

static void sockets(int fds[2])
{
    const int small = 8192;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    for (int i = 0; i < 2; i++)
        (void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
}

static void end_open(struct end *end, int fd)
{
    memset(end, 0, sizeof(*end));
    assert_int_equal(gw_conn_open(&end->conn, loop, fd, on_end), GW_OK);
    end->conn.readable = false;
}

static void join(struct pair *pair, const char *name, struct gw_tls_saved *saved)
{
    const struct gw_tls_target target = {pair->client, gw_str_c(name), saved, pair->http2};
    int fds[2];

    sockets(fds);
    end_open(&pair->here, fds[0]);
    gw_tls_accept(&pair->here.conn, pair->server, GW_STR(""));
    end_open(&pair->there, fds[1]);
    pair->there.conn.connecting = true;
    pair->there.conn.writable = false;
    assert_int_equal(gw_tls_connect(&pair->there.conn, &target), GW_OK);
    turn(6);
}

static void part(struct pair *pair)
{
    gw_conn_close(&pair->here.conn);
    gw_conn_close(&pair->there.conn);
    gw_buf_fini(&pair->here.got);
    gw_buf_fini(&pair->there.got);
}

static void end_pair(struct pair *pair)
{
    part(pair);
    assert_int_equal(held, 0);
    gw_tls_server_free(pair->server);
    gw_tls_client_free(pair->client);
}

static int setup(void **state)
{
    wanted_policy = 0;
    tickets.count = 1;
    return gw_loop_new(&loop) == GW_OK ? 0 : -1;
}

static int teardown(void **state)
{
    gw_loop_free(loop);
    return 0;
}

static void say(struct end *end, const char *data, size_t len)
{
    end->data = data;
    end->len = len;
    end->sent = 0;
    write_some(end);
}

/* ---- tests ---- */

static void a_handshake_ends_with_connected_on_both_sides(void **state)
{
    struct gw_tls_facts facts;
    struct pair pair;

    contexts(&pair, false, NULL);
    join(&pair, "two.example", NULL);

    assert_true((pair.here.what & GW_CONN_CONNECTED) != 0);
    assert_true((pair.there.what & GW_CONN_CONNECTED) != 0);
    assert_int_equal(held, 0);
    assert_true(gw_tls_facts(&pair.here.conn, &facts));
    assert_true(gw_str_eq(facts.version, GW_STR("TLSv1.3")));
    assert_true(gw_str_eq(facts.name, GW_STR("two.example")));
    assert_true(gw_str_eq(facts.alpn, GW_STR("http/1.1")));
    assert_false(facts.resumed);
    assert_false(facts.certificate);
    say(&pair.there, "ping", 4);
    turn(2);
    assert_true(gw_str_eq(gw_buf_str(&pair.here.got), GW_STR("ping")));
    end_pair(&pair);
}

static void alpn_prefers_h2_where_it_is_spoken(void **state)
{
    struct pair pair;

    contexts(&pair, true, NULL);
    join(&pair, "one.example", NULL);

    assert_true(gw_str_eq(gw_conn_alpn(&pair.here.conn), GW_STR("h2")));
    assert_true(gw_str_eq(gw_conn_alpn(&pair.there.conn), GW_STR("h2")));
    end_pair(&pair);
}

static void a_name_that_the_certificate_lacks_fails_with_a_reason(void **state)
{
    struct pair pair;

    contexts(&pair, false, NULL);
    join(&pair, "other.example", NULL); /* gets the one of one.example */

    assert_true((pair.there.what & GW_CONN_FAILED) != 0);
    assert_int_equal(gw_conn_fault_rc(&pair.there.conn), GW_TLS);
    assert_non_null(strstr(gw_conn_fault(&pair.there.conn), "hostname mismatch"));
    end_pair(&pair);
}

static void long_messages_arrive_whole_through_a_small_socket(void **state)
{
    size_t len = 3 * 1000 * 1000 + 17;
    char *data = malloc(len);
    struct pair pair;

    contexts(&pair, false, NULL);
    join(&pair, "one.example", NULL);
    gw_random(data, len);
    say(&pair.here, data, len);
    say(&pair.there, data, len);
    for (int i = 0;
         i < 20000 && (gw_buf_len(&pair.there.got) < len || gw_buf_len(&pair.here.got) < len); i++)
        gw_loop_turn(loop, 1);

    assert_true(gw_str_eq(gw_buf_str(&pair.there.got), gw_str(data, len)));
    assert_true(gw_str_eq(gw_buf_str(&pair.here.got), gw_str(data, len)));
    assert_int_equal(pair.here.sent, len);
    free(data);
    end_pair(&pair);
}

static void what_is_sent_is_told_as_the_socket_takes_it(void **state)
{
    static char data[200000];
    struct iovec iov = {data, sizeof(data)};
    struct pair pair;
    size_t sent, total;

    contexts(&pair, false, NULL);
    join(&pair, "one.example", NULL);
    assert_int_equal(gw_conn_writev(&pair.here.conn, &iov, 1, &sent), GW_OK);

    assert_true(sent > 0 && sent < sizeof(data));
    assert_false(pair.here.conn.writable);
    for (total = sent; total < sizeof(data);) {
        turn(1);
        iov = (struct iovec){data + total, sizeof(data) - total};
        assert_int_equal(gw_conn_writev(&pair.here.conn, &iov, 1, &sent), GW_OK);
        total += sent;
    }
    turn(4);
    assert_int_equal(gw_buf_len(&pair.there.got), sizeof(data));
    end_pair(&pair);
}

static void an_end_is_told_from_a_cut(void **state)
{
    struct pair pair;

    contexts(&pair, false, NULL);
    join(&pair, "one.example", NULL);
    say(&pair.here, "bye", 3);
    gw_conn_shutdown(&pair.here.conn);
    turn(3);
    assert_int_equal(gw_buf_len(&pair.there.got), 3);
    assert_int_equal(pair.there.rc, GW_EOF);
    say(&pair.there, "still", 5); /* the other half is open */
    turn(3);
    assert_int_equal(gw_buf_len(&pair.here.got), 5);
    part(&pair);

    join(&pair, "one.example", NULL);
    say(&pair.here, "by", 2);
    (void)shutdown(pair.here.conn.fd, SHUT_WR); /* not by us: somebody on the way */
    turn(3);
    assert_int_equal(gw_buf_len(&pair.there.got), 2);
    assert_int_equal(pair.there.rc, GW_CLOSED);
    end_pair(&pair);
}

static bool resumed(struct pair *pair, struct gw_tls_saved *saved)
{
    struct gw_tls_facts facts;

    join(pair, "two.example", saved);
    assert_true((pair->there.what & GW_CONN_CONNECTED) != 0);
    say(&pair->here, "x", 1); /* the ticket comes with it */
    turn(3);
    assert_true(gw_tls_facts(&pair->here.conn, &facts));
    part(pair);
    return facts.resumed;
}

static void tickets_are_good_until_their_key_is_gone(void **state)
{
    struct gw_tls_saved saved = {NULL};
    struct pair pair, other;

    contexts(&pair, false, NULL);
    assert_false(resumed(&pair, &saved));
    assert_true(resumed(&pair, &saved));

    contexts(&other, false, NULL); /* another worker, the same keys */
    assert_true(resumed(&other, &saved));
    memcpy(tickets.keys[1], tickets.keys[0], sizeof(tickets.keys[0]));
    gw_random(tickets.keys[0], sizeof(tickets.keys[0]));
    tickets.count = 2;
    assert_true(resumed(&other, &saved));
    gw_random(tickets.keys, sizeof(tickets.keys));
    assert_false(resumed(&other, &saved));

    gw_tls_saved_fini(&saved);
    end_pair(&other);
    end_pair(&pair);
}

static void a_ticket_does_not_lead_past_another_policy(void **state)
{
    struct gw_tls_identity alice = {gw_buf_str(&chains[2]), gw_buf_str(&keys[2])};
    struct gw_tls_saved saved = {NULL};
    struct pair pair;

    policy = (struct gw_tls_policy){
        .verify = GW_TLS_VERIFY_REQUIRED, .depth = 2, .ca = gw_buf_str(&ca), .hash = 77};
    contexts(&pair, false, &alice);
    assert_false(resumed(&pair, &saved));
    assert_true(resumed(&pair, &saved));
    wanted_policy = 1;
    assert_false(resumed(&pair, &saved));
    assert_true(resumed(&pair, &saved));

    gw_tls_saved_fini(&saved);
    end_pair(&pair);
}

static void who_the_client_is_is_known(void **state)
{
    struct gw_tls_identity alice = {gw_buf_str(&chains[2]), gw_buf_str(&keys[2])};
    const struct gw_str *peer;
    struct gw_tls_facts facts;
    struct pair pair;

    wanted_policy = 1;
    policy = (struct gw_tls_policy){
        .verify = GW_TLS_VERIFY_REQUIRED, .depth = 2, .ca = gw_buf_str(&ca), .hash = 78};
    contexts(&pair, false, &alice);
    join(&pair, "two.example", NULL);
    assert_true(gw_tls_facts(&pair.here.conn, &facts));
    assert_true(facts.certificate && facts.verified);
    assert_int_equal(facts.policy, 78);
    peer = gw_tls_peer(&pair.here.conn);
    assert_non_null(peer);
    assert_true(gw_str_eq(peer[GW_TLS_SUBJECT], GW_STR("O=Example,CN=alice")));
    assert_true(gw_str_eq(peer[GW_TLS_ISSUER], GW_STR("CN=ca")));
    assert_true(gw_str_eq(peer[GW_TLS_NAMES], GW_STR("DNS:alice.example, DNS:*.alice.example")));
    assert_int_equal(peer[GW_TLS_FINGERPRINT].len, 64);
    end_pair(&pair);

    contexts(&pair, false, NULL);
    join(&pair, "two.example", NULL);
    assert_true((pair.here.what & GW_CONN_FAILED) != 0);
    assert_non_null(strstr(gw_conn_fault(&pair.here.conn), "peer did not return a certificate"));
    assert_null(gw_tls_peer(&pair.here.conn));
    end_pair(&pair);
}

static void fail_server(struct pair *pair, const char *bytes, size_t len, struct gw_str early)
{
    int fds[2];

    sockets(fds);
    end_open(&pair->here, fds[0]);
    gw_tls_accept(&pair->here.conn, pair->server, early);
    assert_int_equal(write(fds[1], bytes, len), (ssize_t)len);
    turn(3);
    (void)close(fds[1]);
    turn(2);
    assert_true((pair->here.what & GW_CONN_FAILED) != 0);
    assert_int_equal(held, 0);
}

static void hear_nothing(struct gw_conn *conn, unsigned what)
{
}

/* Each change of keys that is asked for is answered; who takes no answers may not ask for ever. */
static void a_peer_that_asks_and_never_reads_is_cut(void **state)
{
    struct iovec iov = {"x", 1};
    struct pair pair;
    size_t most = 0, sent;

    contexts(&pair, false, NULL);
    join(&pair, "one.example", NULL);
    pair.there.conn.fn = hear_nothing;
    for (int i = 0; i < 60000 && pair.here.rc != GW_CLOSED; i++) {
        (void)SSL_key_update(pair.there.conn.tls->ssl, SSL_KEY_UPDATE_REQUESTED);
        (void)gw_conn_writev(&pair.there.conn, &iov, 1, &sent);
        gw_loop_turn(loop, 0);
        if (gw_buf_len(&pair.here.conn.tls->out) > most)
            most = gw_buf_len(&pair.here.conn.tls->out);
    }

    assert_int_equal(pair.here.rc, GW_CLOSED);
    assert_in_range(most, 200 * 1024, 257 * 1024);
    end_pair(&pair);
}

static void plain_text_is_recognised(void **state)
{
    struct pair pair;
    int fds[2];
    char answer[8];
    size_t sent;
    struct iovec iov = {"sorry", 5};

    contexts(&pair, false, NULL);
    sockets(fds);
    end_open(&pair.here, fds[0]);
    gw_tls_accept(&pair.here.conn, pair.server, GW_STR(""));
    assert_int_equal(write(fds[1], "GET / HTTP/1.1\r\n", 16), 16);
    turn(2);
    assert_true((pair.here.what & GW_CONN_FAILED) != 0);
    assert_true(gw_tls_plain_client(&pair.here.conn));
    gw_tls_drop(&pair.here.conn);
    assert_int_equal(gw_conn_writev(&pair.here.conn, &iov, 1, &sent), GW_OK);
    assert_int_equal(read(fds[1], answer, sizeof(answer)), 5);
    (void)close(fds[1]);
    gw_conn_close(&pair.here.conn);
    gw_tls_server_free(pair.server);
    gw_tls_client_free(pair.client);
}

static void nonsense_fails_the_handshake(void **state)
{
    static const char hello[] = "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03";
    struct pair pair;

    contexts(&pair, false, NULL);
    fail_server(&pair, "\x00\x01\x02\x03\x04\x05\x06", 7, GW_STR(""));
    gw_conn_close(&pair.here.conn);
    fail_server(&pair, hello, sizeof(hello) - 1, GW_STR(""));
    gw_conn_close(&pair.here.conn);
    fail_server(&pair, "", 0, GW_STR("")); /* closed before anything */
    gw_conn_close(&pair.here.conn);
    fail_server(&pair, "", 0, GW_STR("\x16\x03\x01\x40\x00")); /* a piece, and gone */
    gw_conn_close(&pair.here.conn);
    gw_tls_server_free(pair.server);
    gw_tls_client_free(pair.client);
}

/* As behind a PROXY header: the ClientHello was read together with it. */
static void bytes_that_were_read_already_count(void **state)
{
    struct gw_tls_target target;
    char hello[2048];
    struct pair pair;
    int fds[2];
    ssize_t len;

    contexts(&pair, false, NULL);
    target = (struct gw_tls_target){pair.client, GW_STR("one.example"), NULL, false};
    sockets(fds);
    end_open(&pair.there, fds[1]);
    pair.there.conn.connecting = true;
    assert_int_equal(gw_tls_connect(&pair.there.conn, &target), GW_OK);
    turn(2);
    len = read(fds[0], hello, sizeof(hello));
    assert_true(len > 100);
    end_open(&pair.here, fds[0]);
    gw_tls_accept(&pair.here.conn, pair.server, gw_str(hello, (size_t)len));
    turn(6);
    assert_true((pair.here.what & GW_CONN_CONNECTED) != 0);
    assert_true((pair.there.what & GW_CONN_CONNECTED) != 0);
    end_pair(&pair);
}

static void keys_and_certificates_are_checked(void **state)
{
    struct gw_tls_certificate_facts facts;
    struct gw_buf pem = file("one.pem"), other = file("two.key"), der = GW_BUF_INIT;
    struct gw_err err;

    assert_int_equal(gw_tls_read_certificates(gw_buf_str(&pem), &der, &facts, &err), GW_OK);
    assert_true(gw_str_eq(facts.kind, GW_STR("ECDSA")));
    assert_int_equal(facts.count, 1);
    assert_true(gw_str_eq(gw_buf_str(&facts.names), GW_STR("one.example\0*.one.example\0")));
    assert_true(facts.not_after_s - facts.not_before_s == 86400);
    assert_int_equal(gw_tls_read_key(gw_buf_str(&other), gw_buf_str(&der), &der, &err), GW_INVALID);
    assert_string_equal(err.text, "does not belong to the certificate");
    assert_int_equal(gw_tls_read_certificates(gw_buf_str(&other), &der, NULL, &err), GW_INVALID);
    assert_non_null(strstr(err.text, "has no certificate"));
    assert_int_equal(gw_tls_read_key(gw_buf_str(&pem), gw_buf_str(&der), &der, &err), GW_INVALID);
    gw_buf_fini(&facts.names);
    gw_buf_fini(&facts.ocsp);
    gw_buf_fini(&pem);
    gw_buf_fini(&other);
    gw_buf_fini(&der);
}

static void settings_are_checked(void **state)
{
    struct gw_tls_settings settings = {.ciphers = "ECDHE-RSA-AES128-GCM-SHA256"};
    struct gw_err err;

    assert_int_equal(gw_tls_settings_check(&settings, &err), GW_OK);
    settings.ciphers = "NO-SUCH";
    assert_int_equal(gw_tls_settings_check(&settings, &err), GW_INVALID);
    settings = (struct gw_tls_settings){.groups = "nosuch"};
    assert_int_equal(gw_tls_settings_check(&settings, &err), GW_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_handshake_ends_with_connected_on_both_sides),
        TEST(alpn_prefers_h2_where_it_is_spoken),
        TEST(a_name_that_the_certificate_lacks_fails_with_a_reason),
        TEST(long_messages_arrive_whole_through_a_small_socket),
        TEST(what_is_sent_is_told_as_the_socket_takes_it),
        TEST(an_end_is_told_from_a_cut),
        TEST(tickets_are_good_until_their_key_is_gone),
        TEST(a_ticket_does_not_lead_past_another_policy),
        TEST(who_the_client_is_is_known),
        TEST(a_peer_that_asks_and_never_reads_is_cut),
        TEST(plain_text_is_recognised),
        TEST(nonsense_fails_the_handshake),
        TEST(bytes_that_were_read_already_count),
        TEST(keys_and_certificates_are_checked),
        TEST(settings_are_checked),
    };

    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make, unmake);
}
