/* Keys, and signatures by the names of RFC 7518 (JWA).
 * Lives in: one thread at a time (a key keeps the contexts of its last use). Owner: who read it.
 * A key that is weak or costs too much is refused when it is read: RSA of 2048 to 8192 bits
 * with a public exponent of at most 64 bits that does not stem from the broken generator of
 * ROCA (CVE-2017-15361), the named curves of GW_CURVE_ROWS with a point that lies on them.
 * GW_INVALID: not a key; GW_LIMIT: too long or too weak; GW_UNSUPPORTED: a kind, or a
 * password, that is not known here. */
#ifndef GW_BASE_CRYPTO_KEY_H
#define GW_BASE_CRYPTO_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/crypto.h"

#define GW_KEY_TEXT_BYTES_MAX 65536
#define GW_KEY_SECRET_BYTES_MAX 65536
#define GW_SIGNATURE_BYTES_MAX 1024

enum gw_key_type { GW_KEY_SECRET, GW_KEY_RSA, GW_KEY_EC, GW_KEY_ED25519 };

/*    name, of RFC 7518; OpenSSL's; bytes of a coordinate */
#define GW_CURVE_ROWS(X)                                                                           \
    X(GW_P256, "P-256", "prime256v1", 32)                                                          \
    X(GW_P384, "P-384", "secp384r1", 48)                                                           \
    X(GW_P521, "P-521", "secp521r1", 66)                                                           \
    X(GW_SECP256K1, "secp256k1", "secp256k1", 32)

enum gw_curve {
    GW_CURVE_NONE,
#define GW_CURVE_ENUM(id, name, group, bytes) id,
    GW_CURVE_ROWS(GW_CURVE_ENUM)
#undef GW_CURVE_ENUM
        GW_CURVE_COUNT
};

/*    name; type of key; digest; its curve; salted (PSS) */
#define GW_JWA_ROWS(X)                                                                             \
    X(GW_HS256, "HS256", GW_KEY_SECRET, GW_SHA256, GW_CURVE_NONE, 0)                               \
    X(GW_HS384, "HS384", GW_KEY_SECRET, GW_SHA384, GW_CURVE_NONE, 0)                               \
    X(GW_HS512, "HS512", GW_KEY_SECRET, GW_SHA512, GW_CURVE_NONE, 0)                               \
    X(GW_RS256, "RS256", GW_KEY_RSA, GW_SHA256, GW_CURVE_NONE, 0)                                  \
    X(GW_RS384, "RS384", GW_KEY_RSA, GW_SHA384, GW_CURVE_NONE, 0)                                  \
    X(GW_RS512, "RS512", GW_KEY_RSA, GW_SHA512, GW_CURVE_NONE, 0)                                  \
    X(GW_PS256, "PS256", GW_KEY_RSA, GW_SHA256, GW_CURVE_NONE, 1)                                  \
    X(GW_PS384, "PS384", GW_KEY_RSA, GW_SHA384, GW_CURVE_NONE, 1)                                  \
    X(GW_PS512, "PS512", GW_KEY_RSA, GW_SHA512, GW_CURVE_NONE, 1)                                  \
    X(GW_ES256, "ES256", GW_KEY_EC, GW_SHA256, GW_P256, 0)                                         \
    X(GW_ES384, "ES384", GW_KEY_EC, GW_SHA384, GW_P384, 0)                                         \
    X(GW_ES512, "ES512", GW_KEY_EC, GW_SHA512, GW_P521, 0)                                         \
    X(GW_ES256K, "ES256K", GW_KEY_EC, GW_SHA256, GW_SECP256K1, 0)                                  \
    X(GW_EDDSA, "EdDSA", GW_KEY_ED25519, GW_SHA512, GW_CURVE_NONE, 0)

enum gw_jwa {
#define GW_JWA_ENUM(id, name, type, digest, curve, pss) id,
    GW_JWA_ROWS(GW_JWA_ENUM)
#undef GW_JWA_ENUM
        GW_JWA_COUNT
};

/* Exactly as written: these names have a case. */
GW_MUST_CHECK bool gw_jwa_by_name(struct gw_str name, enum gw_jwa *out);
const char *gw_jwa_name(enum gw_jwa jwa);

struct gw_key; /* a secret, a private key, or a public one */

/* PEM or DER: PKCS#8, PKCS#1, SEC1, SubjectPublicKeyInfo, or the key of a certificate. */
GW_MUST_CHECK enum gw_rc gw_key_read(struct gw_str text, struct gw_key **out, struct gw_err *err);

/* Copied. */
GW_MUST_CHECK enum gw_rc gw_key_secret(struct gw_str secret, struct gw_key **out,
                                       struct gw_err *err);

/* The members of a JWK (RFC 7517), as they are in the JSON; absent ones have data NULL. Only
 * its numbers are looked at: alg, use, kid are the caller's. */
#define GW_JWK_ROWS(X) X(kty) X(crv) X(n) X(e) X(d) X(p) X(q) X(dp) X(dq) X(qi) X(x) X(y) X(k)
struct gw_jwk {
#define GW_JWK_FIELD(name) struct gw_str name;
    GW_JWK_ROWS(GW_JWK_FIELD)
#undef GW_JWK_FIELD
};
GW_MUST_CHECK enum gw_rc gw_key_from_jwk(const struct gw_jwk *jwk, struct gw_key **out,
                                         struct gw_err *err);

/* A new private one; for GW_KEY_EC of that curve. RSA takes too long for a loop: GW_UNSUPPORTED. */
GW_MUST_CHECK enum gw_rc gw_key_generate(enum gw_key_type type, enum gw_curve curve,
                                         struct gw_key **out, struct gw_err *err);
void gw_key_free(struct gw_key *key); /* NULL is fine; wipes */

enum gw_key_type gw_key_type(const struct gw_key *key);
enum gw_curve gw_key_curve(const struct gw_key *key);
uint32_t gw_key_bits(const struct gw_key *key);
bool gw_key_is_private(const struct gw_key *key); /* a secret is */
const char *gw_curve_name(enum gw_curve curve);   /* NULL for GW_CURVE_NONE */

/* A number of the public half, big endian: 'n' and 'e' of RSA, 'x' and 'y' of a curve (as long
 * as a coordinate), 'x' of Ed25519. Returns its length; 0: this key has none. */
#define GW_KEY_PART_BYTES_MAX 1024
size_t gw_key_part(const struct gw_key *key, char part, uint8_t out[GW_KEY_PART_BYTES_MAX]);

/* PEM (SubjectPublicKeyInfo; PKCS#8 when `private_half`), freed by the caller with free(). */
GW_MUST_CHECK enum gw_rc gw_key_pem(const struct gw_key *key, bool private_half, char **out,
                                    size_t *len);

/* GW_OK: the key is of the type and curve that the algorithm takes, and a secret is at least as
 * long as its digest (RFC 7518, 3.2). GW_WRONG_TYPE, GW_LIMIT. */
GW_MUST_CHECK enum gw_rc gw_key_fits(const struct gw_key *key, enum gw_jwa jwa);

/* ECDSA's two numbers side by side, as JWS has them; or as DER, as X.509 and others do. */
enum gw_signature_form { GW_SIGNATURE_RAW, GW_SIGNATURE_DER };

/* As gw_key_fits(); GW_INVALID: there is no private half; GW_SYSTEM. */
GW_MUST_CHECK enum gw_rc gw_sign(struct gw_key *key, enum gw_jwa jwa, enum gw_signature_form form,
                                 struct gw_str data, uint8_t out[GW_SIGNATURE_BYTES_MAX],
                                 size_t *len);

/* As gw_key_fits(); GW_INVALID: this key did not sign this. */
GW_MUST_CHECK enum gw_rc gw_verify(struct gw_key *key, enum gw_jwa jwa, enum gw_signature_form form,
                                   struct gw_str data, struct gw_str signature);

#endif
