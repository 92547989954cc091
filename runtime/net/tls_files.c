/* PEM files into what a conf carries. Runs in the loader, where keys may be read; what it says is
 * for the person who wrote the conf. */
#include <stdlib.h>
#include <time.h>

#include "net/tls_private.h"

#define CERTIFICATES_MAX 4096

/* i2d functions want to be asked for the length first. */
#define ADD_DER(i2d, object, out)                                                                  \
    do {                                                                                           \
        int der_len = i2d((object), NULL);                                                         \
        unsigned char *der_to;                                                                     \
        if (der_len <= 0)                                                                          \
            abort();                                                                               \
        der_to = (unsigned char *)gw_buf_reserve((out), (size_t)der_len);                          \
        (void)i2d((object), &der_to);                                                              \
        gw_buf_added((out), (size_t)der_len);                                                      \
    } while (0)

static BIO *bio_of(struct gw_str text)
{
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);

    if (bio == NULL)
        abort();
    ERR_clear_error();
    return bio;
}

/* Did the reader stop because there is nothing more? */
static bool at_end(void)
{
    unsigned long error = ERR_peek_last_error();
    bool end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;

    if (end)
        ERR_clear_error();
    return end;
}

static void add_name(struct gw_buf *names, const ASN1_STRING *text)
{
    const unsigned char *data = ASN1_STRING_get0_data(text);
    int len = ASN1_STRING_length(text);

    if (len <= 0 || len > GW_TLS_SERVER_NAME_BYTES_MAX || memchr(data, 0, (size_t)len) != NULL)
        return;
    for (int i = 0; i < len; i++) {
        char byte = (char)data[i];
        if (byte >= 'A' && byte <= 'Z')
            byte = (char)(byte + 32);
        gw_buf_add(names, &byte, 1);
    }
    gw_buf_add(names, "", 1);
}

/* The common name counts only where there is no SAN, as it once did. */
static void names_of(X509 *x509, struct gw_buf *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    const X509_NAME *subject = X509_get_subject_name(x509);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            add_name(out, name->d.dNSName);
    }
    if (names == NULL && at >= 0)
        add_name(out, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    GENERAL_NAMES_free(names);
}

static uint64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;
    time_t seconds;

    if (ASN1_TIME_to_tm(time, &tm) != 1)
        return 0;
    seconds = timegm(&tm);
    return seconds > 0 ? (uint64_t)seconds : 0;
}

static struct gw_str kind_of(X509 *x509)
{
    EVP_PKEY *key = X509_get0_pubkey(x509);

    switch (key != NULL ? EVP_PKEY_get_base_id(key) : 0) {
    case EVP_PKEY_RSA:
        return GW_STR("RSA");
    case EVP_PKEY_EC:
        return GW_STR("ECDSA");
    case EVP_PKEY_ED25519:
        return GW_STR("Ed25519");
    default:
        return GW_STR("other");
    }
}

static void ocsp_of(X509 *x509, struct gw_buf *out)
{
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(x509);

    if (sk_OPENSSL_STRING_num(urls) > 0)
        gw_buf_add_str(out, gw_str_c(sk_OPENSSL_STRING_value(urls, 0)));
    X509_email_free(urls);
}

static void facts_of(X509 *x509, struct gw_tls_certificate_facts *facts)
{
    EVP_PKEY *key = X509_get0_pubkey(x509);

    *facts = (struct gw_tls_certificate_facts){.kind = kind_of(x509)};
    facts->bits = key != NULL ? (uint32_t)EVP_PKEY_get_bits(key) : 0;
    facts->not_before_s = seconds_of(X509_get0_notBefore(x509));
    facts->not_after_s = seconds_of(X509_get0_notAfter(x509));
    names_of(x509, &facts->names);
    ocsp_of(x509, &facts->ocsp);
}

enum gw_rc gw_tls_read_certificates(struct gw_str pem, struct gw_buf *der,
                                    struct gw_tls_certificate_facts *facts, struct gw_err *err)
{
    BIO *bio = bio_of(pem);
    char words[160];
    uint32_t count = 0;
    X509 *x509;

    while (count < CERTIFICATES_MAX && (x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (count++ == 0 && facts != NULL)
            facts_of(x509, facts);
        ADD_DER(i2d_X509, x509, der);
        X509_free(x509);
    }
    BIO_free(bio);
    if (count == CERTIFICATES_MAX)
        return gw_err_set(err, GW_LIMIT, "has more than %d certificates", CERTIFICATES_MAX - 1);
    if (facts != NULL && count > 0)
        facts->count = count;
    if (!at_end())
        return gw_err_set(err, GW_INVALID, "certificate %u cannot be read: %s", count + 1,
                          tls_error_text(words, sizeof(words)));
    if (count == 0)
        return gw_err_set(err, GW_INVALID, "has no certificate (PEM, \"BEGIN CERTIFICATE\")");
    return GW_OK;
}

enum gw_rc gw_tls_read_crls(struct gw_str pem, struct gw_buf *der, struct gw_err *err)
{
    BIO *bio = bio_of(pem);
    char words[160];
    uint32_t count = 0;
    X509_CRL *crl;

    while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
        ADD_DER(i2d_X509_CRL, crl, der);
        X509_CRL_free(crl);
        count++;
    }
    BIO_free(bio);
    if (!at_end())
        return gw_err_set(err, GW_INVALID, "list %u cannot be read: %s", count + 1,
                          tls_error_text(words, sizeof(words)));
    if (count == 0)
        return gw_err_set(err, GW_INVALID, "has no revocation list (PEM, \"BEGIN X509 CRL\")");
    return GW_OK;
}

static int on_password(char *to, int size, int writing, void *arg)
{
    *(bool *)arg = true;
    return -1;
}

/* Will OpenSSL take the two, under the security level that it runs with? */
static enum gw_rc check_pair(struct gw_str chain, EVP_PKEY *key, struct gw_err *err)
{
    const unsigned char *at = (const unsigned char *)chain.data;
    X509 *x509 = d2i_X509(NULL, &at, (long)chain.len);
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    char words[160];
    enum gw_rc rc = GW_OK;

    if (x509 == NULL || ctx == NULL)
        abort();
    ERR_clear_error();
    if (X509_check_private_key(x509, key) != 1)
        rc = gw_err_set(err, GW_INVALID, "does not belong to the certificate");
    else if (SSL_CTX_use_cert_and_key(ctx, x509, key, NULL, 1) != 1)
        rc = gw_err_set(err, GW_INVALID, "OpenSSL refuses its certificate: %s",
                        tls_error_text(words, sizeof(words)));
    ERR_clear_error();
    SSL_CTX_free(ctx);
    X509_free(x509);
    return rc;
}

enum gw_rc gw_tls_read_key(struct gw_str pem, struct gw_str chain, struct gw_buf *der,
                           struct gw_err *err)
{
    bool encrypted = false;
    BIO *bio = bio_of(pem);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, on_password, &encrypted);
    PKCS8_PRIV_KEY_INFO *info;
    char words[160];
    enum gw_rc rc;

    BIO_free(bio);
    if (key == NULL && memmem(pem.data, pem.len, "PRIVATE KEY-----", 16) == NULL) {
        ERR_clear_error(); /* it would say "unsupported" */
        return gw_err_set(err, GW_INVALID, "has no private key (PEM, \"BEGIN PRIVATE KEY\")");
    }
    if (encrypted) {
        ERR_clear_error();
        EVP_PKEY_free(key);
        return gw_err_set(err, GW_UNSUPPORTED, "is encrypted with a password: store it without");
    }
    if (key == NULL)
        return gw_err_set(err, GW_INVALID, "the key cannot be read: %s",
                          tls_error_text(words, sizeof(words)));
    rc = check_pair(chain, key, err);
    if (rc == GW_OK) {
        info = EVP_PKEY2PKCS8(key);
        if (info == NULL)
            abort();
        ADD_DER(i2d_PKCS8_PRIV_KEY_INFO, info, der);
        PKCS8_PRIV_KEY_INFO_free(info);
    }
    EVP_PKEY_free(key);
    return rc;
}
