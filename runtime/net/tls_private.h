/* The inside of TLS, for the files that share its work:
 *   tls.c          a connection: its BIO, handshake, records
 *   tls_server.c   settings, certificates and policies of a listener
 *   tls_client.c   connections to upstreams, their sessions
 *   tls_peer.c     facts of a connection and of the peer's certificate
 *   tls_files.c    PEM files, for the loader */
#ifndef GW_NET_TLS_PRIVATE_H
#define GW_NET_TLS_PRIVATE_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net/tls.h"

enum { TLS_HANDSHAKE, TLS_OPEN, TLS_DEAD /* after a fatal error nothing may be sent */ };

struct tls_peer;

struct gw_tls {
    SSL *ssl;                     /* a server's: made when the first byte is there */
    struct gw_tls_server *server; /* while it shakes hands */
    struct gw_tls_saved *saved;   /* a client's */
    struct tls_peer *peer;        /* who the other end is, once somebody has asked */
    char *fault;                  /* why the handshake failed */
    struct gw_buf early;          /* read before we were asked */
    struct gw_buf out;            /* encrypted; the socket was full */
    size_t owed;                  /* plain bytes in `out`: the user offers them again … */
    size_t credit;                /* … and these before them have left meanwhile */
    uint64_t policy;
    uint64_t wrote_ms;
    uint32_t burst; /* bytes since the last pause */
    int fd;
    uint8_t state;
    bool socket_readable : 1;
    bool hangup : 1;
    bool eof : 1;
    bool known_name : 1;
    bool shutdown_wanted : 1;
};

/* A BIO over the socket of `tls`. */
BIO *tls_bio_new(struct gw_tls *tls);
/* Makes `conn` a TLS one that shakes hands when the socket says so. */
struct gw_tls *tls_attach(struct gw_conn *conn);

/* tls_peer.c */
void tls_peer_free(struct tls_peer *peer);

/* tls_server.c: the first byte is there. False: out of memory. */
bool tls_server_begin(struct gw_tls *tls);
void tls_server_release(struct gw_tls *tls);

/* Words for what OpenSSL has in its queue, which is emptied. */
const char *tls_error_text(char *to, size_t size);
GW_MUST_CHECK enum gw_rc tls_settings_apply(SSL_CTX *ctx, const struct gw_tls_settings *settings,
                                            struct gw_err *err);
/* Certificates, one behind the other. GW_INVALID: not DER. */
GW_MUST_CHECK enum gw_rc tls_store_add(X509_STORE *store, struct gw_str ca, struct gw_str crl);
/* The leaf, its chain and its key. */
GW_MUST_CHECK enum gw_rc tls_identity_read(const struct gw_tls_identity *from, X509 **leaf,
                                           STACK_OF(X509) * *chain, EVP_PKEY **key);

#endif
