#include "base/keccak.h"

#define RATE 136 /* bytes of a block: 1600 bits less twice the digest's 256 */

static uint64_t rotate(uint64_t x, unsigned by)
{
    return by == 0 ? x : x << by | x >> (64 - by);
}

/* FIPS 202, 3.2: theta, rho with pi, chi, iota; lane (x, y) stands at x + 5 y. */
static void permute(uint64_t a[25])
{
    static const uint8_t turns[25] = {0,  1,  62, 28, 27, 36, 44, 6,  55, 20, 3,  10, 43,
                                      25, 39, 41, 45, 15, 21, 8,  18, 2,  61, 56, 14};
    static const uint64_t constants[24] = {
        0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
        0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
        0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
        0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
        0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
        0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008};

    for (int round = 0; round < 24; round++) {
        uint64_t column[5], b[25];

        for (int x = 0; x < 5; x++)
            column[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
        for (int i = 0; i < 25; i++)
            a[i] ^= column[(i % 5 + 4) % 5] ^ rotate(column[(i % 5 + 1) % 5], 1);
        for (int y = 0; y < 5; y++)
            for (int x = 0; x < 5; x++)
                b[y + 5 * ((2 * x + 3 * y) % 5)] = rotate(a[x + 5 * y], turns[x + 5 * y]);
        for (int y = 0; y < 25; y += 5)
            for (int x = 0; x < 5; x++)
                a[x + y] = b[x + y] ^ (~b[(x + 1) % 5 + y] & b[(x + 2) % 5 + y]);
        a[0] ^= constants[round];
    }
}

static void absorb(uint64_t a[25], const uint8_t *block)
{
    for (int i = 0; i < RATE / 8; i++) {
        uint64_t lane = 0;
        for (int byte = 7; byte >= 0; byte--)
            lane = lane << 8 | block[8 * i + byte];
        a[i] ^= lane;
    }
    permute(a);
}

void gw_keccak256(struct gw_str data, uint8_t out[GW_KECCAK256_BYTES])
{
    const uint8_t *at = (const uint8_t *)data.data;
    uint8_t last[RATE] = {0};
    uint64_t a[25] = {0};
    size_t left = data.len;

    for (; left >= RATE; left -= RATE, at += RATE)
        absorb(a, at);
    if (left > 0)
        memcpy(last, at, left);
    last[left] = 0x01; /* SHA3 has 0x06 here */
    last[RATE - 1] |= 0x80;
    absorb(a, last);
    for (int i = 0; i < GW_KECCAK256_BYTES; i++)
        out[i] = (uint8_t)(a[i / 8] >> 8 * (i % 8));
}
