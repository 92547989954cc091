/* Keys and certificates as PEM and DER, and the numbers of a JWK: whatever is taken is a key that
 * can be written and read again, and that no foreign signature fits.
 * Sources: base/crypto_key.c base/crypto_jwk.c base/crypto_cert.c base/crypto_sign.c
 *
 * Sources: base/crypto_aead.c base/crypto_password.c base/crypto.c base/keccak.c
 *
 * Sources: base/base64.c base/arena.c base/err.c base/rc.c
 *
 * Libraries: crypto dl */
#include "base/crypto_cert.h"
#include "fuzz/fuzz.h"

static void check_key(struct gw_key *key)
{
    static const enum gw_jwa of[] = {GW_HS256, GW_RS256, GW_ES256, GW_EDDSA};
    struct gw_key *again;
    char *pem;
    size_t len;

    MUST(gw_verify(key, of[gw_key_type(key)], GW_SIGNATURE_RAW, GW_STR("data"),
                   GW_STR("0123456789abcdef0123456789abcdef")) != GW_OK);
    if (gw_key_type(key) != GW_KEY_SECRET) {
        MUST(gw_key_pem(key, false, &pem, &len) == GW_OK);
        MUST(gw_key_read(gw_str(pem, len), &again, NULL) == GW_OK);
        MUST(gw_key_bits(again) == gw_key_bits(key) && !gw_key_is_private(again));
        gw_key_free(again);
        free(pem);
    }
    gw_key_free(key);
}

/* One member a line, in the order of the rows. */
static void check_jwk(struct gw_str input)
{
    struct gw_jwk jwk = {.kty = GW_STR_NULL};
    struct gw_str *fields = &jwk.kty;
    struct gw_key *key;

    for (size_t i = 0; i < sizeof(jwk) / sizeof(*fields) && input.len > 0; i++) {
        const char *end = memchr(input.data, '\n', input.len);
        size_t len = end != NULL ? (size_t)(end - input.data) : input.len;
        if (len > 0)
            fields[i] = gw_str(input.data, len);
        input = gw_str(input.data + len + (end != NULL), input.len - len - (end != NULL));
    }
    if (gw_key_from_jwk(&jwk, &key, NULL) == GW_OK)
        check_key(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = fuzz_copy(gw_str((const char *)data, size));
    struct gw_str input = gw_str(copy, size);
    enum gw_cert_name_type type;
    struct gw_cert *cert;
    struct gw_key *key;

    if (gw_key_read(input, &key, NULL) == GW_OK)
        check_key(key);
    if (gw_cert_read(input, &cert, NULL) == GW_OK) {
        const struct gw_cert_facts *facts = gw_cert_facts(cert);
        MUST(facts->subject.data != NULL && facts->der.len > 0);
        for (uint32_t i = 0; i < facts->names_count; i++)
            MUST(gw_cert_name(cert, i, &type).data != NULL);
        if (gw_cert_key(cert, &key, NULL) == GW_OK)
            check_key(key);
        gw_cert_free(cert);
    }
    check_jwk(input);
    free(copy);
    return 0;
}
