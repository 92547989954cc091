/* To upstreams: who they are is checked unless the conf says otherwise, and a session is resumed
 * where the last connection to the same endpoint has left one. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "net/tls_private.h"

struct gw_tls_client {
    SSL_CTX *ctx;
};

/* TLS 1.3 sends its tickets behind the handshake, with the first answer. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct gw_tls *tls = SSL_get_app_data(ssl);

    if (tls->saved == NULL)
        return 0;
    /* A copy: OpenSSL spoils the session of a connection that ends without goodbye, as many do. */
    SSL_SESSION_free(tls->saved->session);
    tls->saved->session = SSL_SESSION_dup(session);
    return 0;
}

void gw_tls_saved_fini(struct gw_tls_saved *saved)
{
    SSL_SESSION_free(saved->session);
    saved->session = NULL;
}

static enum gw_rc trust(SSL_CTX *ctx, const struct gw_tls_client_options *options,
                        struct gw_err *err)
{
    if (!options->verify) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        return GW_OK;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_verify_depth(ctx, (int)options->depth);
    /* Read as they are needed, by their hash. */
    if (options->system_ca && SSL_CTX_set_default_verify_paths(ctx) != 1)
        return gw_err_set(err, GW_SYSTEM, "TLS: the system's certificates cannot be read");
    if (tls_store_add(SSL_CTX_get_cert_store(ctx), options->ca, options->crl) != GW_OK)
        return gw_err_set(err, GW_INVALID, "TLS: ca or crl cannot be read");
    return GW_OK;
}

static enum gw_rc show(SSL_CTX *ctx, const struct gw_tls_identity *identity, struct gw_err *err)
{
    X509 *leaf;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    bool good;

    if (identity->chain.len == 0)
        return GW_OK;
    if (tls_identity_read(identity, &leaf, &chain, &key) != GW_OK)
        return gw_err_set(err, GW_INVALID, "TLS: the certificate cannot be read");
    good = SSL_CTX_use_cert_and_key(ctx, leaf, key, chain, 1) == 1;
    X509_free(leaf);
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
    return good ? GW_OK : gw_err_set(err, GW_INVALID, "TLS: the certificate cannot be used");
}

enum gw_rc gw_tls_client_new(const struct gw_tls_client_options *options,
                             struct gw_tls_client **out, struct gw_err *err)
{
    struct gw_tls_client *client = calloc(1, sizeof(*client));
    enum gw_rc rc;

    if (client == NULL || (client->ctx = SSL_CTX_new(TLS_client_method())) == NULL) {
        free(client);
        return gw_err_set(err, GW_NOMEM, "TLS: out of memory");
    }
    rc = tls_settings_apply(client->ctx, &options->settings, err);
    if (rc == GW_OK)
        rc = trust(client->ctx, options, err);
    if (rc == GW_OK)
        rc = show(client->ctx, &options->identity, err);
    ERR_clear_error();
    if (rc != GW_OK) {
        gw_tls_client_free(client);
        return rc;
    }
    (void)SSL_CTX_set_session_cache_mode(client->ctx,
                                         SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client->ctx, on_session);
    *out = client;
    return GW_OK;
}

void gw_tls_client_free(struct gw_tls_client *client)
{
    if (client == NULL)
        return;
    SSL_CTX_free(client->ctx);
    free(client);
}

static bool is_address(const char *name)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

/* An address is never sent as SNI (RFC 6066 3). */
static bool expect_name(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, name, strlen(name)) == 1 &&
           SSL_set_tlsext_host_name(ssl, name) == 1;
}

/* Again a copy, for the same reason. */
static void resume(struct gw_tls *tls)
{
    SSL_SESSION *session = tls->saved != NULL ? tls->saved->session : NULL;
    SSL_SESSION *copy = session != NULL ? SSL_SESSION_dup(session) : NULL;

    if (copy != NULL && SSL_SESSION_is_resumable(copy))
        (void)SSL_set_session(tls->ssl, copy);
    SSL_SESSION_free(copy);
}

enum gw_rc gw_tls_connect(struct gw_conn *conn, const struct gw_tls_target *target)
{
    static const unsigned char protocols[] = "\x02h2\x08http/1.1";
    struct gw_str name = target->name;
    char text[GW_TLS_SERVER_NAME_BYTES_MAX + 1];
    struct gw_tls *tls;
    BIO *bio;

    if (name.len == 0 || name.len >= sizeof(text))
        return GW_INVALID;
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    tls = tls_attach(conn);
    tls->saved = target->saved;
    tls->ssl = SSL_new(target->client->ctx);
    bio = tls_bio_new(tls);
    if (tls->ssl == NULL || bio == NULL) {
        BIO_free(bio);
        return GW_NOMEM;
    }
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, tls);
    SSL_set_connect_state(tls->ssl);
    (void)SSL_set_alpn_protos(tls->ssl, target->http2 ? protocols : protocols + 3,
                              target->http2 ? 3 : 9);
    if (!expect_name(tls->ssl, text))
        return GW_INVALID;
    resume(tls);
    return GW_OK;
}
