#include "base/crypto_cert.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/arena.h"
#include "base/crypto_private.h"

struct name {
    enum gw_cert_name_type type;
    struct gw_str text;
};

struct gw_cert {
    X509 *x509;
    struct gw_arena arena;
    struct gw_cert_facts facts;
    struct name *names;
};

static struct gw_str keep(struct gw_cert *cert, const void *data, size_t len)
{
    return gw_arena_dup(&cert->arena, gw_str(data, len));
}

static bool read_name(struct gw_cert *cert, X509_NAME *name, struct gw_str *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    bool good;

    if (bio == NULL)
        abort();
    good = X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0;
    long len = BIO_get_mem_data(bio, &text);
    *out = keep(cert, len > 0 ? text : "", (size_t)len);
    BIO_free(bio);
    return good;
}

static bool read_time(const ASN1_TIME *from, int64_t *out)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(from, &tm) != 1)
        return false;
    *out = (int64_t)timegm(&tm);
    return true;
}

static bool read_serial(struct gw_cert *cert)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert->x509), NULL);
    char *hex = number != NULL ? BN_bn2hex(number) : NULL;

    if (hex != NULL) {
        cert->facts.serial = keep(cert, hex, strlen(hex));
        for (size_t i = 0; i < cert->facts.serial.len; i++)
            if (hex[i] >= 'A' && hex[i] <= 'F')
                ((char *)cert->facts.serial.data)[i] = (char)(hex[i] - 'A' + 'a');
    }
    OPENSSL_free(hex);
    BN_free(number);
    return hex != NULL;
}

static bool read_alternative(struct gw_cert *cert, const GENERAL_NAME *from, struct name *out)
{
    char text[INET6_ADDRSTRLEN];
    const ASN1_STRING *data;

    switch (from->type) {
    case GEN_DNS:
        out->type = GW_CERT_DNS;
        break;
    case GEN_EMAIL:
        out->type = GW_CERT_EMAIL;
        break;
    case GEN_URI:
        out->type = GW_CERT_URI;
        break;
    case GEN_IPADD:
        out->type = GW_CERT_IP;
        data = from->d.iPAddress;
        if ((data->length != 4 && data->length != 16) ||
            inet_ntop(data->length == 4 ? AF_INET : AF_INET6, data->data, text, sizeof(text)) ==
                NULL)
            return false;
        out->text = keep(cert, text, strlen(text));
        return true;
    default:
        return false;
    }
    data = from->d.ia5;
    out->text = keep(cert, data->data, (size_t)data->length);
    return true;
}

static enum gw_rc read_alternatives(struct gw_cert *cert, struct gw_err *err)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert->x509, NID_subject_alt_name, NULL, NULL);
    int count = names != NULL ? sk_GENERAL_NAME_num(names) : 0;
    enum gw_rc rc = GW_OK;

    if (count > GW_CERT_NAMES_MAX)
        rc = gw_err_set(err, GW_LIMIT, "certificate: more than 1024 names");
    else if (count > 0)
        cert->names = gw_arena_zalloc(&cert->arena, (size_t)count * sizeof(*cert->names));
    for (int i = 0; rc == GW_OK && i < count; i++)
        if (read_alternative(cert, sk_GENERAL_NAME_value(names, i),
                             &cert->names[cert->facts.names_count]))
            cert->facts.names_count++;
    GENERAL_NAMES_free(names);
    return rc;
}

static enum gw_rc read_facts(struct gw_cert *cert, struct gw_err *err)
{
    struct gw_cert_facts *facts = &cert->facts;
    uint8_t *der = NULL;
    int len = i2d_X509(cert->x509, &der);

    if (len <= 0)
        return gw_crypto_fail(err, GW_INVALID, "certificate: broken");
    facts->der = keep(cert, der, (size_t)len);
    OPENSSL_free(der);
    if (!read_name(cert, X509_get_subject_name(cert->x509), &facts->subject) ||
        !read_name(cert, X509_get_issuer_name(cert->x509), &facts->issuer) || !read_serial(cert) ||
        !read_time(X509_get0_notBefore(cert->x509), &facts->not_before) ||
        !read_time(X509_get0_notAfter(cert->x509), &facts->not_after))
        return gw_crypto_fail(err, GW_INVALID, "certificate: broken");
    facts->is_ca = X509_check_ca(cert->x509) == 1;
    return read_alternatives(cert, err);
}

static X509 *read_x509(struct gw_str text)
{
    const uint8_t *at = (const uint8_t *)text.data;
    X509 *x509 = NULL;
    BIO *bio;

    if (memmem(text.data, text.len, "-----BEGIN ", 11) == NULL) {
        x509 = d2i_X509(NULL, &at, (long)text.len);
        if (x509 != NULL && at != (const uint8_t *)text.data + text.len) {
            X509_free(x509);
            x509 = NULL;
        }
        return x509;
    }
    bio = BIO_new_mem_buf(text.data, (int)text.len);
    if (bio == NULL)
        abort();
    /* The password, so that nobody is ever asked for one at a terminal. */
    x509 = PEM_read_bio_X509(bio, NULL, NULL, (void *)"");
    BIO_free(bio);
    return x509;
}

enum gw_rc gw_cert_read(struct gw_str text, struct gw_cert **out, struct gw_err *err)
{
    struct gw_cert *cert;
    X509 *x509 = NULL;
    enum gw_rc rc;

    if (text.len > GW_KEY_TEXT_BYTES_MAX)
        return gw_err_set(err, GW_LIMIT, "certificate: longer than 65536 bytes");
    if (text.len > 0)
        x509 = read_x509(text);
    if (x509 == NULL)
        return gw_crypto_fail(err, GW_INVALID, "certificate: neither PEM nor DER of one");
    cert = calloc(1, sizeof(*cert));
    if (cert == NULL)
        abort();
    gw_arena_init(&cert->arena);
    cert->x509 = x509;
    rc = read_facts(cert, err);
    ERR_clear_error();
    if (rc != GW_OK) {
        gw_cert_free(cert);
        return rc;
    }
    *out = cert;
    return GW_OK;
}

void gw_cert_free(struct gw_cert *cert)
{
    if (cert == NULL)
        return;
    X509_free(cert->x509);
    gw_arena_fini(&cert->arena);
    free(cert);
}

const struct gw_cert_facts *gw_cert_facts(const struct gw_cert *cert)
{
    return &cert->facts;
}

struct gw_str gw_cert_name(const struct gw_cert *cert, uint32_t index, enum gw_cert_name_type *type)
{
    *type = cert->names[index].type;
    return cert->names[index].text;
}

enum gw_rc gw_cert_key(const struct gw_cert *cert, struct gw_key **out, struct gw_err *err)
{
    EVP_PKEY *pkey = X509_get_pubkey(cert->x509);

    return pkey != NULL
               ? gw_key_adopt(pkey, out, err)
               : gw_crypto_fail(err, GW_UNSUPPORTED, "certificate: its key is not known here");
}
