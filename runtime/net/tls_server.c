/* What a listener shakes hands with. One SSL_CTX holds the settings; which certificates are shown
 * and which client certificates are asked for is decided for each ClientHello by its name, before
 * a session is resumed, so that no ticket leads past the policy of another name. */
#include <assert.h>
#include <openssl/core_names.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/log.h"
#include "net/tls_private.h"

struct identity {
    X509 *leaf; /* NULL: not read yet */
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    bool bad;
};

struct policy {
    bool made;
    struct gw_tls_policy row;
    X509_STORE *store;
    STACK_OF(X509_NAME) * names; /* for the client to choose by */
};

struct gw_tls_server {
    SSL_CTX *ctx;
    const struct gw_tls_source *source;
    void *arg;
    const struct gw_tls_tickets *tickets;
    struct identity *identities;
    struct policy *policies;
    uint32_t identities_count, policies_count;
    uint32_t held;
    bool http2;
};

/* ---- settings of both sides ---- */

#define CIPHERS                                                                                    \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"       \
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
#define CIPHERSUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

static enum gw_rc bad_list(struct gw_err *err, const char *what, const char *text)
{
    ERR_clear_error();
    return gw_err_set(err, GW_INVALID, "%s: OpenSSL knows nothing of \"%s\"", what, text);
}

enum gw_rc tls_settings_apply(SSL_CTX *ctx, const struct gw_tls_settings *settings,
                              struct gw_err *err)
{
    const char *ciphers = settings->ciphers != NULL ? settings->ciphers : CIPHERS;
    const char *suites = settings->ciphersuites != NULL ? settings->ciphersuites : CIPHERSUITES;
    const char *groups = settings->groups != NULL ? settings->groups : GROUPS;
    uint16_t min = settings->version_min != 0 ? settings->version_min : GW_TLS_1_2;
    uint16_t max = settings->version_max != 0 ? settings->version_max : GW_TLS_1_3;
    uint64_t options = SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION;

    if (!settings->client_order)
        options |= SSL_OP_CIPHER_SERVER_PREFERENCE;
    if (!settings->tickets)
        options |= SSL_OP_NO_TICKET;
    (void)SSL_CTX_set_options(ctx, options);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    if (SSL_CTX_set_min_proto_version(ctx, min) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, max) != 1)
        return gw_err_set(err, GW_INVALID, "OpenSSL refuses these versions of TLS");
    if (SSL_CTX_set_cipher_list(ctx, ciphers) != 1)
        return bad_list(err, "ciphers", ciphers);
    if (SSL_CTX_set_ciphersuites(ctx, suites) != 1)
        return bad_list(err, "ciphersuites", suites);
    if (SSL_CTX_set1_groups_list(ctx, groups) != 1)
        return bad_list(err, "groups", groups);
    if (settings->session_timeout_s > 0)
        (void)SSL_CTX_set_timeout(ctx, settings->session_timeout_s);
    return GW_OK;
}

enum gw_rc gw_tls_settings_check(const struct gw_tls_settings *settings, struct gw_err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    enum gw_rc rc = ctx != NULL ? tls_settings_apply(ctx, settings, err)
                                : gw_err_set(err, GW_NOMEM, "out of memory");

    SSL_CTX_free(ctx);
    return rc;
}

/* ---- certificates ---- */

enum gw_rc tls_identity_read(const struct gw_tls_identity *from, X509 **leaf,
                             STACK_OF(X509) * *chain, EVP_PKEY **key)
{
    const unsigned char *at = (const unsigned char *)from->chain.data;
    const unsigned char *end = at + from->chain.len;
    const unsigned char *secret = (const unsigned char *)from->key.data;

    *leaf = d2i_X509(NULL, &at, end - at);
    *chain = sk_X509_new_null();
    *key = d2i_AutoPrivateKey(NULL, &secret, (long)from->key.len);
    while (*leaf != NULL && *chain != NULL && at < end) {
        X509 *more = d2i_X509(NULL, &at, end - at);
        if (more == NULL || sk_X509_push(*chain, more) <= 0) {
            X509_free(more);
            break;
        }
    }
    if (*leaf != NULL && *chain != NULL && *key != NULL && at == end)
        return GW_OK;
    X509_free(*leaf);
    sk_X509_pop_free(*chain, X509_free);
    EVP_PKEY_free(*key);
    *leaf = NULL;
    *chain = NULL;
    *key = NULL;
    return GW_INVALID;
}

enum gw_rc tls_store_add(X509_STORE *store, struct gw_str ca, struct gw_str crl)
{
    const unsigned char *at = (const unsigned char *)ca.data, *end = at + ca.len;

    while (ca.len > 0 && at < end) {
        X509 *x509 = d2i_X509(NULL, &at, end - at);
        if (x509 == NULL || X509_STORE_add_cert(store, x509) != 1) {
            X509_free(x509);
            return GW_INVALID;
        }
        X509_free(x509);
    }
    at = (const unsigned char *)crl.data;
    end = at + crl.len;
    while (crl.len > 0 && at < end) {
        X509_CRL *list = d2i_X509_CRL(NULL, &at, end - at);
        if (list == NULL || X509_STORE_add_crl(store, list) != 1) {
            X509_CRL_free(list);
            return GW_INVALID;
        }
        X509_CRL_free(list);
    }
    if (crl.len > 0)
        (void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return GW_OK;
}

static bool identity_use(struct gw_tls_server *server, SSL *ssl, uint32_t index)
{
    struct identity *identity = &server->identities[index];

    if (identity->leaf == NULL && !identity->bad) {
        struct gw_tls_identity from;
        server->source->identity(server->arg, index, &from);
        identity->bad =
            tls_identity_read(&from, &identity->leaf, &identity->chain, &identity->key) != GW_OK;
    }
    if (!identity->bad &&
        SSL_use_cert_and_key(ssl, identity->leaf, identity->key, identity->chain, 1) == 1)
        return true;
    gw_error("a certificate cannot be used");
    ERR_clear_error();
    return false;
}

/* ---- client certificates ---- */

static bool policy_make(struct gw_tls_server *server, struct policy *policy)
{
    const unsigned char *at, *end;

    if (policy->made)
        return true;
    server->source->policy(server->arg, (uint32_t)(policy - server->policies), &policy->row);
    if (policy->row.verify == GW_TLS_VERIFY_OFF) {
        policy->made = true;
        return true;
    }
    policy->store = X509_STORE_new();
    policy->names = sk_X509_NAME_new_null();
    if (policy->store == NULL || policy->names == NULL ||
        tls_store_add(policy->store, policy->row.ca, policy->row.crl) != GW_OK)
        return false;
    at = (const unsigned char *)policy->row.ca.data;
    end = at + policy->row.ca.len;
    while (at < end) {
        X509 *x509 = d2i_X509(NULL, &at, end - at);
        X509_NAME *name = x509 != NULL ? X509_NAME_dup(X509_get_subject_name(x509)) : NULL;
        X509_free(x509);
        if (name == NULL || sk_X509_NAME_push(policy->names, name) <= 0) {
            X509_NAME_free(name);
            return false;
        }
    }
    policy->made = true;
    return true;
}

/* The context goes into each ticket, and a ticket of another one is not taken. */
static bool policy_use(struct gw_tls_server *server, struct gw_tls *tls, uint32_t index)
{
    struct policy *policy = &server->policies[index];
    unsigned char context[8];

    if (!policy_make(server, policy))
        return false;
    tls->policy = policy->row.hash;
    memcpy(context, &policy->row.hash, sizeof(context));
    if (SSL_set_session_id_context(tls->ssl, context, sizeof(context)) != 1)
        return false;
    if (policy->row.verify == GW_TLS_VERIFY_OFF)
        return true;
    SSL_set_verify(tls->ssl,
                   policy->row.verify == GW_TLS_VERIFY_REQUIRED
                       ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                       : SSL_VERIFY_PEER,
                   NULL);
    SSL_set_verify_depth(tls->ssl, (int)policy->row.depth);
    SSL_set_client_CA_list(tls->ssl, SSL_dup_CA_list(policy->names));
    return SSL_set1_verify_cert_store(tls->ssl, policy->store) == 1;
}

/* ---- what OpenSSL asks ---- */

/* RFC 6066 3. What is malformed is left to OpenSSL's own reader, which refuses it. */
static struct gw_str name_of_hello(SSL *ssl, char to[GW_TLS_SERVER_NAME_BYTES_MAX])
{
    const unsigned char *data;
    size_t len, name;

    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &len) != 1 || len < 5 ||
        data[2] != TLSEXT_NAMETYPE_host_name)
        return GW_STR("");
    name = (size_t)data[3] << 8 | data[4];
    if (name > len - 5 || name > GW_TLS_SERVER_NAME_BYTES_MAX)
        return GW_STR("");
    for (size_t i = 0; i < name; i++) {
        char byte = (char)data[5 + i];
        to[i] = byte >= 'A' && byte <= 'Z' ? (char)(byte + 32) : byte;
    }
    if (name > 0 && to[name - 1] == '.')
        name--; /* RFC 6066 wants it without, some send it */
    return gw_str(to, name);
}

static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct gw_tls *tls = SSL_get_app_data(ssl);
    struct gw_tls_server *server = arg;
    struct gw_tls_choice choice = {.count = 0};
    char text[GW_TLS_SERVER_NAME_BYTES_MAX];
    uint32_t used = 0;

    server->source->choose(server->arg, name_of_hello(ssl, text), &choice);
    tls->known_name = choice.known;
    for (uint32_t i = 0; i < choice.count; i++)
        used += identity_use(server, ssl, choice.identities[i]);
    if (used == 0 || !policy_use(server, tls, choice.policy)) {
        *alert = used == 0 ? SSL_AD_UNRECOGNIZED_NAME : SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct gw_tls *tls = SSL_get_app_data(ssl);

    return tls->known_name ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* One who speaks only other protocols means another service (RFC 7301 3.2, ALPACA). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char protocols[] = "\x02h2\x08http/1.1\x08http/1.0";
    const struct gw_tls_server *server = arg;
    unsigned skip = server->http2 ? 0 : 3;
    unsigned char *chosen;

    if (SSL_select_next_proto(&chosen, out_len, protocols + skip,
                              (unsigned)sizeof(protocols) - 1 - skip, in,
                              in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int on_status(SSL *ssl, void *arg)
{
    const struct gw_tls_server *server = arg;
    const X509 *leaf = SSL_get_certificate(ssl);
    struct gw_str response = GW_STR("");
    unsigned char *copy;

    for (uint32_t i = 0; i < server->identities_count && server->source->staple != NULL; i++)
        if (leaf != NULL && server->identities[i].leaf == leaf)
            response = server->source->staple(server->arg, i);
    copy = response.len > 0 ? OPENSSL_memdup(response.data, response.len) : NULL;
    if (copy == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)response.len);
    return SSL_TLSEXT_ERR_OK;
}

/* A key is 16 bytes of name, 32 of HMAC, 32 of AES. */
static int ticket_begin(const uint8_t *key, const unsigned char *iv, EVP_CIPHER_CTX *cipher_ctx,
                        EVP_MAC_CTX *mac, int encrypt)
{
    static EVP_CIPHER *cipher; /* a fetch costs more than a ticket */
    OSSL_PARAM params[3];

    if (cipher == NULL)
        cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    params[0] =
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)(key + 16), 32);
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0);
    params[2] = OSSL_PARAM_construct_end();
    return cipher != NULL && EVP_CipherInit_ex(cipher_ctx, cipher, NULL, key + 48, iv, encrypt) &&
           EVP_MAC_CTX_set_params(mac, params);
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher_ctx,
                     EVP_MAC_CTX *mac, int encrypt)
{
    const struct gw_tls *tls = SSL_get_app_data(ssl);
    const struct gw_tls_tickets *tickets;

    if (tls->server == NULL)
        return encrypt ? 0 : -1; /* only a handshake may ask */
    tickets = tls->server->tickets;
    if (encrypt) {
        if (tickets->count == 0)
            return 0;
        memcpy(name, tickets->keys[0], 16);
        gw_random(iv, 16);
        return ticket_begin(tickets->keys[0], iv, cipher_ctx, mac, 1) ? 1 : -1;
    }
    for (uint32_t i = 0; i < tickets->count; i++)
        if (memcmp(name, tickets->keys[i], 16) == 0) {
            if (!ticket_begin(tickets->keys[i], iv, cipher_ctx, mac, 0))
                return -1;
            /* 2: good, and a new one is due. A client of 1.3 uses each but once. */
            return i == 0 && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
        }
    return 0;
}

/* ---- life ---- */

enum gw_rc gw_tls_server_new(const struct gw_tls_settings *settings,
                             const struct gw_tls_source *source, void *arg, uint32_t identities,
                             uint32_t policies, const struct gw_tls_tickets *tickets,
                             struct gw_tls_server **out, struct gw_err *err)
{
    struct gw_tls_server *server = calloc(1, sizeof(*server));
    enum gw_rc rc;

    if (server == NULL)
        abort();
    server->source = source;
    server->arg = arg;
    server->tickets = tickets;
    server->http2 = settings->http2;
    server->identities_count = identities;
    server->policies_count = policies;
    server->identities = calloc(identities + 1, sizeof(*server->identities));
    server->policies = calloc(policies + 1, sizeof(*server->policies));
    server->ctx = SSL_CTX_new(TLS_server_method());
    if (server->identities == NULL || server->policies == NULL || server->ctx == NULL) {
        gw_tls_server_free(server);
        return gw_err_set(err, GW_NOMEM, "TLS: out of memory");
    }
    rc = tls_settings_apply(server->ctx, settings, err);
    if (rc != GW_OK) {
        gw_tls_server_free(server);
        return rc;
    }
    (void)SSL_CTX_set_dh_auto(server->ctx, 1);
    (void)SSL_CTX_set_session_cache_mode(server->ctx, SSL_SESS_CACHE_OFF);
    /* One is enough: it may be used again, and each costs an encryption. */
    (void)SSL_CTX_set_num_tickets(server->ctx, settings->tickets ? 1 : 0);
    (void)SSL_CTX_set_tlsext_ticket_key_evp_cb(server->ctx, on_ticket);
    SSL_CTX_set_client_hello_cb(server->ctx, on_client_hello, server);
    (void)SSL_CTX_set_tlsext_servername_callback(server->ctx, on_server_name);
    SSL_CTX_set_alpn_select_cb(server->ctx, on_alpn, server);
    (void)SSL_CTX_set_tlsext_status_cb(server->ctx, on_status);
    (void)SSL_CTX_set_tlsext_status_arg(server->ctx, server);
    *out = server;
    return GW_OK;
}

void gw_tls_server_free(struct gw_tls_server *server)
{
    if (server == NULL)
        return;
    assert(server->held == 0);
    for (uint32_t i = 0; server->identities != NULL && i < server->identities_count; i++) {
        X509_free(server->identities[i].leaf);
        sk_X509_pop_free(server->identities[i].chain, X509_free);
        EVP_PKEY_free(server->identities[i].key);
    }
    for (uint32_t i = 0; server->policies != NULL && i < server->policies_count; i++) {
        X509_STORE_free(server->policies[i].store);
        sk_X509_NAME_pop_free(server->policies[i].names, X509_NAME_free);
    }
    free(server->identities);
    free(server->policies);
    SSL_CTX_free(server->ctx);
    free(server);
}

void gw_tls_accept(struct gw_conn *conn, struct gw_tls_server *server, struct gw_str early)
{
    struct gw_tls *tls = tls_attach(conn);

    tls->server = server;
    tls->socket_readable = conn->readable;
    tls->hangup = conn->hangup;
    gw_buf_add_str(&tls->early, early);
    server->held++;
    server->source->hold(server->arg);
    conn->connecting = conn->handshaking = true;
    conn->readable = conn->writable = false;
}

bool tls_server_begin(struct gw_tls *tls)
{
    BIO *bio = tls_bio_new(tls);

    tls->ssl = SSL_new(tls->server->ctx);
    if (tls->ssl == NULL || bio == NULL) {
        BIO_free(bio);
        return false;
    }
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, tls);
    SSL_set_accept_state(tls->ssl);
    return true;
}

void tls_server_release(struct gw_tls *tls)
{
    struct gw_tls_server *server = tls->server;

    if (server == NULL)
        return;
    tls->server = NULL;
    server->held--;
    server->source->release(server->arg); /* the server may be gone */
}
