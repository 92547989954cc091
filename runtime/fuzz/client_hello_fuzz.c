/* What a client says first to a TLS port, cut at any place: the handshake ends or waits for more,
 * nobody is asked for a name that could not be one, and nothing is held afterwards.
 * Sources: net/tls.c net/tls_server.c net/tls_peer.c net/conn.c net/loop.c base/buf.c
 * Sources: base/err.c base/rc.c base/log.c base/time.c base/crypto.c base/keccak.c
 * Libraries: ssl crypto event_core */
#include <openssl/ec.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "net/tls.h"

static struct gw_loop *loop;
static struct gw_tls_server *server;
static struct gw_buf chain, key;
static int held;

static void choose(void *arg, struct gw_str name, struct gw_tls_choice *out)
{
    char *copy = fuzz_copy(name);

    MUST(name.len <= GW_TLS_SERVER_NAME_BYTES_MAX);
    for (size_t i = 0; i < name.len; i++)
        MUST(copy[i] < 'A' || copy[i] > 'Z');
    free(copy);
    *out = (struct gw_tls_choice){.count = 1, .known = name.len > 0};
}

static void identity(void *arg, uint32_t index, struct gw_tls_identity *out)
{
    *out = (struct gw_tls_identity){gw_buf_str(&chain), gw_buf_str(&key)};
}

static void policy(void *arg, uint32_t index, struct gw_tls_policy *out)
{
    *out = (struct gw_tls_policy){.verify = GW_TLS_VERIFY_OFF};
}

static void hold(void *arg)
{
    held++;
}

static void release(void *arg)
{
    held--;
}

static void certificate_make(void)
{
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    unsigned char *der = NULL;
    int len;

    MUST(pair != NULL && x509 != NULL);
    (void)X509_set_version(x509, 2);
    (void)X509_gmtime_adj(X509_getm_notBefore(x509), 0);
    (void)X509_gmtime_adj(X509_getm_notAfter(x509), 86400);
    (void)X509_set_pubkey(x509, pair);
    MUST(X509_sign(x509, pair, EVP_sha256()) > 0);
    len = i2d_X509(x509, &der);
    gw_buf_add(&chain, der, (size_t)len);
    OPENSSL_free(der);
    der = NULL;
    len = i2d_PrivateKey(pair, &der);
    gw_buf_add(&key, der, (size_t)len);
    OPENSSL_free(der);
    X509_free(x509);
    EVP_PKEY_free(pair);
}

static void start(void)
{
    static const struct gw_tls_source source = {choose, identity, policy, .hold = hold,
                                                .release = release};
    static const struct gw_tls_tickets tickets = {.count = 1};
    const struct gw_tls_settings settings = {.tickets = true, .http2 = true};
    struct gw_err err;

    certificate_make();
    MUST(gw_loop_new(&loop) == GW_OK);
    MUST(gw_tls_server_new(&settings, &source, NULL, 1, 1, &tickets, &server, &err) == GW_OK);
}

static bool failed;

static void on_conn(struct gw_conn *conn, unsigned what)
{
    failed = failed || (what & GW_CONN_FAILED) != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_conn conn;
    size_t cut = size > 0 ? data[0] % size : 0;
    int fds[2];

    if (loop == NULL)
        start();
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    MUST(gw_conn_open(&conn, loop, fds[0], on_conn) == GW_OK);
    failed = false;
    gw_tls_accept(&conn, server, gw_str((const char *)data, cut));
    gw_loop_turn(loop, 0);
    MUST(send(fds[1], data + cut, size - cut, MSG_NOSIGNAL) == (ssize_t)(size - cut));
    gw_loop_turn(loop, 0);
    if (failed)
        MUST(gw_conn_fault(&conn)[0] != '\0' && held == 0);
    (void)close(fds[1]);
    gw_loop_turn(loop, 0);
    MUST(failed && held == 0); /* nobody can end a handshake without our key's answer */
    gw_conn_close(&conn);
    return 0;
}
