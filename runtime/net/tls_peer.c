/* What is known of a TLS connection and of who is at its other end. */
#include <stdlib.h>
#include <time.h>

#include "net/tls_private.h"

static struct gw_str text_of(const char *text)
{
    return text != NULL ? gw_str_c(text) : GW_STR("");
}

struct gw_str gw_conn_alpn(const struct gw_conn *conn)
{
    const unsigned char *name = NULL;
    unsigned len = 0;

    if (conn->tls != NULL && conn->tls->ssl != NULL)
        SSL_get0_alpn_selected(conn->tls->ssl, &name, &len);
    return gw_str((const char *)name, len);
}

bool gw_tls_plain_client(const struct gw_conn *conn)
{
    return conn->tls != NULL && conn->tls->ssl == NULL && conn->tls->fault != NULL &&
           strcmp(conn->tls->fault, GW_TLS_FAULT_PLAIN) == 0;
}

bool gw_tls_facts(const struct gw_conn *conn, struct gw_tls_facts *out)
{
    SSL *ssl = conn->tls != NULL ? conn->tls->ssl : NULL;
    long result;

    if (ssl == NULL)
        return false;
    result = SSL_get_verify_result(ssl);
    *out = (struct gw_tls_facts){
        .version = text_of(SSL_get_version(ssl)),
        .cipher = text_of(SSL_get_cipher_name(ssl)),
        .name = text_of(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)),
        .alpn = gw_conn_alpn(conn),
        .policy = conn->tls->policy,
        .resumed = SSL_session_reused(ssl) != 0,
        .certificate = SSL_get0_peer_certificate(ssl) != NULL,
        .reason = text_of(result == X509_V_OK ? "ok" : X509_verify_cert_error_string(result)),
    };
    out->verified = out->certificate && result == X509_V_OK &&
                    (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) != 0;
    return true;
}

static void hex(struct gw_buf *out, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        gw_buf_printf(out, "%02x", bytes[i]);
}

/* What a BIO in memory has got. */
static void bio_move(BIO *bio, struct gw_buf *out)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);

    if (len > 0)
        gw_buf_add(out, data, (size_t)len);
    BIO_free(bio);
}

static void name_text(const X509_NAME *name, struct gw_buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    if (bio == NULL)
        abort();
    (void)X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
    bio_move(bio, out);
}

static void names_text(X509 *x509, struct gw_buf *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    BIO *bio;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        if (i > 0)
            gw_buf_add_str(out, GW_STR(", "));
        bio = BIO_new(BIO_s_mem());
        if (bio == NULL)
            abort();
        (void)GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i));
        bio_move(bio, out);
    }
    GENERAL_NAMES_free(names);
}

static void time_text(const ASN1_TIME *time, struct gw_buf *out)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(time, &tm) == 1)
        gw_buf_printf(out, "%lld", (long long)timegm(&tm));
}

static void serial_text(const X509 *x509, struct gw_buf *out)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), NULL);
    char *text = number != NULL ? BN_bn2hex(number) : NULL;

    for (char *at = text; at != NULL && *at != '\0'; at++)
        gw_buf_printf(out, "%c", *at >= 'A' && *at <= 'F' ? *at + 32 : *at);
    OPENSSL_free(text);
    BN_free(number);
}

struct tls_peer {
    struct gw_buf text;
    struct gw_str fields[GW_TLS_FIELDS];
};

static void field_text(X509 *x509, enum gw_tls_field field, struct gw_buf *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    switch (field) {
    case GW_TLS_SUBJECT:
        name_text(X509_get_subject_name(x509), out);
        break;
    case GW_TLS_ISSUER:
        name_text(X509_get_issuer_name(x509), out);
        break;
    case GW_TLS_SERIAL:
        serial_text(x509, out);
        break;
    case GW_TLS_FINGERPRINT:
        if (X509_digest(x509, EVP_sha256(), digest, &len) == 1)
            hex(out, digest, len);
        break;
    case GW_TLS_NAMES:
        names_text(x509, out);
        break;
    case GW_TLS_NOT_BEFORE:
        time_text(X509_get0_notBefore(x509), out);
        break;
    case GW_TLS_NOT_AFTER:
        time_text(X509_get0_notAfter(x509), out);
        break;
    case GW_TLS_FIELDS:
        break;
    }
}

const struct gw_str *gw_tls_peer(const struct gw_conn *conn)
{
    SSL *ssl = conn->tls != NULL ? conn->tls->ssl : NULL;
    X509 *x509 = ssl != NULL ? SSL_get0_peer_certificate(ssl) : NULL;
    size_t ends[GW_TLS_FIELDS], from = 0;
    struct tls_peer *peer;

    if (x509 == NULL)
        return NULL;
    if (conn->tls->peer != NULL)
        return conn->tls->peer->fields;
    peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        abort();
    for (unsigned i = 0; i < GW_TLS_FIELDS; i++) {
        field_text(x509, (enum gw_tls_field)i, &peer->text);
        ends[i] = gw_buf_len(&peer->text);
    }
    for (unsigned i = 0; i < GW_TLS_FIELDS; i++) {
        peer->fields[i] = gw_str(peer->text.data + from, ends[i] - from);
        from = ends[i];
    }
    ERR_clear_error();
    conn->tls->peer = peer;
    return peer->fields;
}

void tls_peer_free(struct tls_peer *peer)
{
    if (peer != NULL)
        gw_buf_fini(&peer->text);
    free(peer);
}
