/* Reading of X.509 certificates: what stands in one, without a judgement about who signed it.
 * Lives in: anywhere. Owner: who read it; all texts live as long as it. */
#ifndef GW_BASE_CRYPTO_CERT_H
#define GW_BASE_CRYPTO_CERT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/crypto_key.h"

#define GW_CERT_NAMES_MAX 1024 /* alternative names that are taken; more are refused */

struct gw_cert;

/* PEM (the first certificate in it) or DER. GW_INVALID, GW_LIMIT. */
GW_MUST_CHECK enum gw_rc gw_cert_read(struct gw_str text, struct gw_cert **out, struct gw_err *err);
void gw_cert_free(struct gw_cert *cert);

struct gw_cert_facts {
    struct gw_str subject, issuer; /* RFC 2253: "CN=a,O=b" */
    struct gw_str serial;          /* hex */
    struct gw_str der;
    int64_t not_before, not_after; /* seconds since 1970 */
    bool is_ca;
    uint32_t names_count;
};
const struct gw_cert_facts *gw_cert_facts(const struct gw_cert *cert);

enum gw_cert_name_type { GW_CERT_DNS, GW_CERT_EMAIL, GW_CERT_URI, GW_CERT_IP };

/* An alternative name; an address as text ("::1"). */
struct gw_str gw_cert_name(const struct gw_cert *cert, uint32_t index,
                           enum gw_cert_name_type *type);

/* Its key, a new one. As gw_key_read(). */
GW_MUST_CHECK enum gw_rc gw_cert_key(const struct gw_cert *cert, struct gw_key **out,
                                     struct gw_err *err);

#endif
