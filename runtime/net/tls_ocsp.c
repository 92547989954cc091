/* Is a certificate revoked? The question is made in the loader, which has its issuer at hand; the
 * answer is judged before anybody gets to see it. */
#include <openssl/ocsp.h>
#include <time.h>

#include "net/tls_private.h"

#define CLOCK_SKEW_S 300

/* The leaf and who has signed it. */
static bool pair_of(struct gw_str chain, X509 **leaf, X509 **issuer)
{
    const unsigned char *at = (const unsigned char *)chain.data, *end = at + chain.len;

    *issuer = NULL;
    *leaf = d2i_X509(NULL, &at, end - at);
    if (*leaf != NULL && at < end)
        *issuer = d2i_X509(NULL, &at, end - at);
    if (*issuer != NULL && X509_check_issued(*issuer, *leaf) == X509_V_OK)
        return true;
    X509_free(*leaf);
    X509_free(*issuer);
    ERR_clear_error();
    return false;
}

bool gw_tls_ocsp_request(struct gw_str chain, struct gw_buf *der)
{
    X509 *leaf, *issuer;
    OCSP_REQUEST *request;
    OCSP_CERTID *id;
    unsigned char *to;
    int len;

    if (!pair_of(chain, &leaf, &issuer))
        return false;
    request = OCSP_REQUEST_new();
    id = OCSP_cert_to_id(EVP_sha1(), leaf, issuer); /* what responders know */
    if (request == NULL || id == NULL || OCSP_request_add0_id(request, id) == NULL)
        abort();
    len = i2d_OCSP_REQUEST(request, NULL);
    to = (unsigned char *)gw_buf_reserve(der, (size_t)len);
    (void)i2d_OCSP_REQUEST(request, &to);
    gw_buf_added(der, (size_t)len);
    OCSP_REQUEST_free(request);
    X509_free(leaf);
    X509_free(issuer);
    return true;
}

static uint64_t seconds_of(const ASN1_GENERALIZEDTIME *text)
{
    struct tm tm;
    time_t seconds;

    if (text == NULL || ASN1_TIME_to_tm(text, &tm) != 1)
        return 0;
    seconds = timegm(&tm);
    return seconds > 0 ? (uint64_t)seconds : 0;
}

static enum gw_rc judge(OCSP_BASICRESP *basic, X509 *leaf, X509 *issuer, uint64_t *until_s,
                        struct gw_err *err)
{
    ASN1_GENERALIZEDTIME *this_update, *next_update;
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), leaf, issuer);
    X509_STORE *store = X509_STORE_new();
    enum gw_rc rc = GW_OK;
    int status, reason;

    if (id == NULL || store == NULL || X509_STORE_add_cert(store, issuer) != 1)
        abort();
    /* The issuer is trusted for this question, whoever vouches for it. */
    (void)X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    if (OCSP_basic_verify(basic, NULL, store, 0) != 1)
        rc = gw_err_set(err, GW_INVALID, "its signature is not good");
    else if (OCSP_resp_find_status(basic, id, &status, &reason, NULL, &this_update, &next_update) !=
             1)
        rc = gw_err_set(err, GW_INVALID, "it tells of another certificate");
    else if (OCSP_check_validity(this_update, next_update, CLOCK_SKEW_S, -1) != 1)
        rc = gw_err_set(err, GW_INVALID, "it is out of date");
    else if (status == V_OCSP_CERTSTATUS_REVOKED)
        rc = gw_err_set(err, GW_REFUSED, "the certificate is revoked");
    else if (status != V_OCSP_CERTSTATUS_GOOD)
        rc = gw_err_set(err, GW_INVALID, "it does not know the certificate");
    else
        *until_s = seconds_of(next_update);
    OCSP_CERTID_free(id);
    X509_STORE_free(store);
    return rc;
}

enum gw_rc gw_tls_ocsp_check(struct gw_str chain, struct gw_str der, uint64_t *until_s,
                             struct gw_err *err)
{
    const unsigned char *at = (const unsigned char *)der.data;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);
    OCSP_BASICRESP *basic = NULL;
    X509 *leaf = NULL, *issuer = NULL;
    enum gw_rc rc;

    if (response == NULL || at != (const unsigned char *)der.data + der.len)
        rc = gw_err_set(err, GW_PROTOCOL, "it is no OCSP response");
    else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        rc = gw_err_set(err, GW_INVALID, "the responder says: %s",
                        OCSP_response_status_str(OCSP_response_status(response)));
    else if ((basic = OCSP_response_get1_basic(response)) == NULL ||
             !pair_of(chain, &leaf, &issuer))
        rc = gw_err_set(err, GW_PROTOCOL, "it is no basic OCSP response");
    else
        rc = judge(basic, leaf, issuer, until_s, err);
    if (leaf != NULL && issuer != NULL) {
        X509_free(leaf);
        X509_free(issuer);
    }
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return rc;
}
