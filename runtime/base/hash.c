#include "base/hash.h"

#include <string.h>

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const unsigned char *at, size_t len)
{
    uint64_t word = 0;

    memcpy(&word, at, len);
    return word;
}

uint64_t gw_hash(const void *data, size_t len, uint64_t seed)
{
    const uint64_t k0 = 0xa0761d6478bd642fULL, k1 = 0xe7037ed1a0b428dbULL,
                   k2 = 0x8ebc6af09c88c6e3ULL;
    const unsigned char *at = data;
    uint64_t state = seed ^ k0;
    size_t left = len;

    while (left >= 16) {
        state = mix(load(at, 8) ^ k1, load(at + 8, 8) ^ state);
        at += 16;
        left -= 16;
    }
    if (left > 8)
        state = mix(load(at, 8) ^ k1, load(at + 8, left - 8) ^ state);
    else if (left > 0)
        state = mix(load(at, left) ^ k1, state ^ k2);
    return mix(state ^ k1, (uint64_t)len ^ k0);
}
