/* TLS behind struct gw_conn, both sides; net/tls*.c are the only door to libssl.
 * Lives in: one worker, its one thread (the loader reads PEM files here, too).
 * A connection becomes TLS by gw_tls_accept() or gw_tls_connect(); its handshake is over when its
 * user hears GW_CONN_CONNECTED or GW_CONN_FAILED, and from then on it reads and writes as any
 * other. Memory: one that is idle holds no buffers; what is encrypted and not yet taken by the
 * socket is held to about GW_TLS_BATCH_BYTES. Renegotiation, compression and 0-RTT are never done.
 * An end without close_notify is GW_CLOSED, not GW_EOF: what came may have been cut. */
#ifndef GW_NET_TLS_H
#define GW_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rc.h"
#include "base/str.h"
#include "net/conn.h"

#define GW_TLS_BATCH_BYTES (64 * 1024)
#define GW_TLS_SERVER_NAME_BYTES_MAX 253

/* ---- what both sides are told ---- */

#define GW_TLS_1_2 0x0303
#define GW_TLS_1_3 0x0304

/* Texts as OpenSSL reads them, NULL: Mozilla's intermediate list of 2024 (version 5.7). */
struct gw_tls_settings {
    uint16_t version_min, version_max; /* 0: TLS 1.2, TLS 1.3 */
    const char *ciphers;               /* of TLS 1.2 */
    const char *ciphersuites;          /* of TLS 1.3 */
    const char *groups;                /* key exchange, most wanted first */
    bool client_order;                 /* the client's preference wins */
    bool tickets;
    bool http2;                 /* a server takes "h2" by ALPN before "http/1.1" */
    uint32_t session_timeout_s; /* how long a ticket is good */
};

/* Checks settings as the loader can: GW_INVALID with what is wrong. */
GW_MUST_CHECK enum gw_rc gw_tls_settings_check(const struct gw_tls_settings *settings,
                                               struct gw_err *err);

/* DER: the certificate first, then its chain, one behind the other; the key as PKCS #8. */
struct gw_tls_identity {
    struct gw_str chain;
    struct gw_str key;
};

/* ---- servers ---- */

/* Keys of tickets, shared by all workers; the first encrypts, all decrypt. */
#define GW_TLS_TICKET_KEY_BYTES 80
#define GW_TLS_TICKET_KEYS_MAX 3
struct gw_tls_tickets {
    uint8_t keys[GW_TLS_TICKET_KEYS_MAX][GW_TLS_TICKET_KEY_BYTES];
    uint32_t count; /* 0: no tickets are given or taken */
};

enum gw_tls_verify { GW_TLS_VERIFY_OFF, GW_TLS_VERIFY_OPTIONAL, GW_TLS_VERIFY_REQUIRED };

/* Which certificates of clients are taken. Lists are DER, one behind the other. */
struct gw_tls_policy {
    enum gw_tls_verify verify;
    uint32_t depth;
    struct gw_str ca;
    struct gw_str crl;
    uint64_t hash; /* same hash: same policy; 0: clients are not asked */
};

/* RSA, ECDSA and Ed25519 side by side. */
#define GW_TLS_KINDS_MAX 4
struct gw_tls_choice {
    uint32_t identities[GW_TLS_KINDS_MAX];
    uint32_t count;
    uint32_t policy;
    bool known; /* the name is one of ours: it is acknowledged */
};

/* Where a server finds certificates: they are read at first use, for a conf may have
 * thousands. `name` is in lower case, empty where the client sent none. */
struct gw_tls_source {
    void (*choose)(void *arg, struct gw_str name, struct gw_tls_choice *out);
    void (*identity)(void *arg, uint32_t index, struct gw_tls_identity *out);
    void (*policy)(void *arg, uint32_t index, struct gw_tls_policy *out);
    /* The OCSP response that is stapled to it, or empty; lent until return. NULL: never any. */
    struct gw_str (*staple)(void *arg, uint32_t index);
    /* From accept until the end of the handshake the source must stay. */
    void (*hold)(void *arg);
    void (*release)(void *arg);
};

struct gw_tls_server;

/* `tickets` and `source` are lent for the life of the server. */
GW_MUST_CHECK enum gw_rc gw_tls_server_new(const struct gw_tls_settings *settings,
                                           const struct gw_tls_source *source, void *arg,
                                           uint32_t identities, uint32_t policies,
                                           const struct gw_tls_tickets *tickets,
                                           struct gw_tls_server **out, struct gw_err *err);
/* No handshake may be under way; connections live on. */
void gw_tls_server_free(struct gw_tls_server *server);

/* The conn was just opened. `early`: bytes that were read already (behind a PROXY header). */
void gw_tls_accept(struct gw_conn *conn, struct gw_tls_server *server, struct gw_str early);

/* After GW_CONN_FAILED with this text: the client speaks without TLS. gw_tls_drop() makes a plain
 * connection of it, so that it can be told. */
#define GW_TLS_FAULT_PLAIN "the client speaks plain text to a TLS port"
bool gw_tls_plain_client(const struct gw_conn *conn);
void gw_tls_drop(struct gw_conn *conn);

/* ---- upstreams ---- */

struct gw_tls_client;

struct gw_tls_client_options {
    struct gw_tls_settings settings;
    bool verify;
    bool system_ca;   /* the system's store; else only `ca` */
    struct gw_str ca; /* DER, one behind the other */
    struct gw_str crl;
    struct gw_tls_identity identity; /* chain empty: none */
    uint32_t depth;
};

GW_MUST_CHECK enum gw_rc gw_tls_client_new(const struct gw_tls_client_options *options,
                                           struct gw_tls_client **out, struct gw_err *err);
void gw_tls_client_free(struct gw_tls_client *client); /* connections live on */

/* The last session of a peer, kept by whoever connects to it again. */
struct gw_tls_saved {
    void *session;
};
void gw_tls_saved_fini(struct gw_tls_saved *saved);

/* Whom to expect. */
struct gw_tls_target {
    struct gw_tls_client *client;
    struct gw_str name; /* for SNI and for the check; an address is checked as such and not sent */
    struct gw_tls_saved *saved; /* may be NULL; it outlives the connection */
    bool http2;                 /* "h2" is offered by ALPN, and nothing else; else "http/1.1" */
};

/* The conn is connecting. */
GW_MUST_CHECK enum gw_rc gw_tls_connect(struct gw_conn *conn, const struct gw_tls_target *target);

/* ---- facts, from GW_CONN_CONNECTED on; all lent for the life of the connection ---- */

struct gw_tls_facts {
    struct gw_str version; /* "TLSv1.3" */
    struct gw_str cipher;  /* "TLS_AES_128_GCM_SHA256" */
    struct gw_str name;    /* by SNI, lower case; empty: none */
    struct gw_str alpn;
    uint64_t policy; /* hash of the policy that the client has met */
    bool resumed;
    bool certificate;     /* the peer has shown one */
    bool verified;        /* and it is good */
    struct gw_str reason; /* "ok", or why it is not */
};
/* False: the connection is not TLS. */
bool gw_tls_facts(const struct gw_conn *conn, struct gw_tls_facts *out);

enum gw_tls_field {
    GW_TLS_SUBJECT,     /* "CN=alice,O=Example" (RFC 2253) */
    GW_TLS_ISSUER,      /* the same */
    GW_TLS_SERIAL,      /* hexadecimal */
    GW_TLS_FINGERPRINT, /* SHA-256 of the DER, hexadecimal */
    GW_TLS_NAMES,       /* "DNS:a.example, URI:spiffe://…, email:…, IP:…" */
    GW_TLS_NOT_BEFORE,  /* seconds since 1970 */
    GW_TLS_NOT_AFTER,
    GW_TLS_FIELDS
};
/* The peer's certificate by enum gw_tls_field, made at the first question. NULL: it showed none. */
const struct gw_str *gw_tls_peer(const struct gw_conn *conn);

/* ---- files of the conf (loader) ---- */

struct gw_tls_certificate_facts {
    struct gw_buf names; /* of the SAN, or the CN; lower case, each ends with NUL */
    uint64_t not_before_s, not_after_s;
    struct gw_str kind; /* "RSA", "ECDSA", "Ed25519", … */
    uint32_t bits;
    struct gw_buf ocsp; /* URL of its responder, or empty */
    uint32_t count;     /* certificates in the file */
};

/* The certificates of a PEM file, appended to `der`. `facts` may be NULL; else of the first, its
 * buffers are the caller's. */
GW_MUST_CHECK enum gw_rc gw_tls_read_certificates(struct gw_str pem, struct gw_buf *der,
                                                  struct gw_tls_certificate_facts *facts,
                                                  struct gw_err *err);
GW_MUST_CHECK enum gw_rc gw_tls_read_crls(struct gw_str pem, struct gw_buf *der,
                                          struct gw_err *err);
/* The question whether the first certificate of `chain` is revoked, as DER. False: the second is
 * not its issuer. */
GW_MUST_CHECK bool gw_tls_ocsp_request(struct gw_str chain, struct gw_buf *der);
/* The answer: signed by the issuer or for it, of this certificate, of now, and good. *until_s stays
 * as it is where the answer says nothing. */
GW_MUST_CHECK enum gw_rc gw_tls_ocsp_check(struct gw_str chain, struct gw_str der,
                                           uint64_t *until_s, struct gw_err *err);

/* The private key, and whether it belongs to the first certificate of `chain`. */
GW_MUST_CHECK enum gw_rc gw_tls_read_key(struct gw_str pem, struct gw_str chain, struct gw_buf *der,
                                         struct gw_err *err);

#endif
