#include "base/uuid.h"

#include <string.h>

#include "base/crypto.h"

/* Two hex digits for each byte: formatting is half of the time that an id costs. */
/* clang-format off */
#define H1(x, y) #x #y
#define H16(x)                                                                                     \
    H1(x, 0) H1(x, 1) H1(x, 2) H1(x, 3) H1(x, 4) H1(x, 5) H1(x, 6) H1(x, 7)                        \
    H1(x, 8) H1(x, 9) H1(x, a) H1(x, b) H1(x, c) H1(x, d) H1(x, e) H1(x, f)
/* clang-format on */
static const char pairs[] = H16(0) H16(1) H16(2) H16(3) H16(4) H16(5) H16(6) H16(7) H16(8) H16(9)
    H16(a) H16(b) H16(c) H16(d) H16(e) H16(f);

static void format(const uint8_t bytes[16], char out[GW_UUID_LEN + 1])
{
    static const uint8_t places[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};

    for (int i = 0; i < 16; i++)
        memcpy(out + places[i], pairs + (size_t)2 * bytes[i], 2);
    out[8] = out[13] = out[18] = out[23] = '-';
    out[GW_UUID_LEN] = '\0';
}

void gw_uuid_v4(char out[GW_UUID_LEN + 1])
{
    uint8_t bytes[16];

    gw_random(bytes, sizeof(bytes));
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    format(bytes, out);
}

static _Thread_local struct {
    uint64_t ms;
    uint32_t counter; /* 12 bits */
} last;

void gw_uuid_v7(uint64_t unix_ms, char out[GW_UUID_LEN + 1])
{
    uint8_t bytes[16];

    gw_random(bytes + 6, 10);
    if (unix_ms > last.ms) {
        /* The counter begins in its lower half, so that a busy millisecond has room. */
        last.ms = unix_ms;
        last.counter = ((uint32_t)bytes[6] << 8 | bytes[7]) & 0x7ff;
    } else if (++last.counter > 0xfff) {
        last.ms++;
        last.counter = 0;
    }
    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)(last.ms >> (40 - 8 * i));
    bytes[6] = (uint8_t)(0x70 | last.counter >> 8);
    bytes[7] = (uint8_t)last.counter;
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    format(bytes, out);
}
