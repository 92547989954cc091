#include "base/crypto_recover.h"

#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

#include <secp256k1.h>
#include <secp256k1_recovery.h>

/* Linked in, it would cost every start; it is wanted by few. */
static struct {
    __typeof__(&secp256k1_context_create) context_create;
    __typeof__(&secp256k1_ecdsa_recoverable_signature_parse_compact) parse;
    __typeof__(&secp256k1_ecdsa_recover) recover;
    __typeof__(&secp256k1_ec_pubkey_serialize) serialize;
    secp256k1_context *context; /* only read by what is called here: shared by threads */
} lib;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool find(void *library, const char *name, void *out)
{
    return (*(void **)out = dlsym(library, name)) != NULL;
}

static void open_library(void)
{
    void *library = dlopen("libsecp256k1.so.1", RTLD_NOW | RTLD_LOCAL);

    if (library != NULL && find(library, "secp256k1_context_create", &lib.context_create) &&
        find(library, "secp256k1_ecdsa_recoverable_signature_parse_compact", &lib.parse) &&
        find(library, "secp256k1_ecdsa_recover", &lib.recover) &&
        find(library, "secp256k1_ec_pubkey_serialize", &lib.serialize))
        lib.context = lib.context_create(SECP256K1_CONTEXT_VERIFY);
}

enum gw_rc gw_secp256k1_recover(const uint8_t digest[GW_RECOVER_DIGEST_BYTES],
                                const uint8_t signature[GW_RECOVER_SIGNATURE_BYTES], int id,
                                uint8_t out[GW_RECOVER_KEY_BYTES])
{
    secp256k1_ecdsa_recoverable_signature parsed;
    size_t len = GW_RECOVER_KEY_BYTES;
    secp256k1_pubkey key;

    assert(id >= 0 && id <= 3); /* the library ends the process for any other */
    (void)pthread_once(&once, open_library);
    if (lib.context == NULL)
        return GW_UNSUPPORTED;
    if (lib.parse(lib.context, &parsed, signature, id) != 1 ||
        lib.recover(lib.context, &key, &parsed, digest) != 1)
        return GW_INVALID;
    (void)lib.serialize(lib.context, out, &len, &key, SECP256K1_EC_UNCOMPRESSED);
    return GW_OK;
}
