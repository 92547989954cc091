#include "base/base64.h"

#include <stdint.h>

static const char alphabets[2][65] = {
    [GW_BASE64_STD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [GW_BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

size_t gw_base64_encode(enum gw_base64 kind, struct gw_str data, char *out)
{
    const char *const letters = alphabets[kind];
    const uint8_t *in = (const uint8_t *)data.data;
    size_t left = data.len;
    char *at = out;

    for (; left >= 3; left -= 3, in += 3) {
        uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        *at++ = letters[bits >> 18];
        *at++ = letters[bits >> 12 & 63];
        *at++ = letters[bits >> 6 & 63];
        *at++ = letters[bits & 63];
    }
    if (left > 0) {
        uint32_t bits = (uint32_t)in[0] << 16 | (left == 2 ? (uint32_t)in[1] << 8 : 0);
        *at++ = letters[bits >> 18];
        *at++ = letters[bits >> 12 & 63];
        if (left == 2)
            *at++ = letters[bits >> 6 & 63];
        if (kind == GW_BASE64_STD) {
            if (left == 1)
                *at++ = '=';
            *at++ = '=';
        }
    }
    return (size_t)(at - out);
}

/* The 62 characters that both alphabets share, as a table made by the compiler; 64 marks the
 * others. */
#define LETTER(c)                                                                                  \
    (uint8_t)((c) >= 'A' && (c) <= 'Z'   ? (c) - 'A'                                               \
              : (c) >= 'a' && (c) <= 'z' ? (c) - 'a' + 26                                          \
              : (c) >= '0' && (c) <= '9' ? (c) - '0' + 52                                          \
                                         : 64)
#define ROW16(c)                                                                                   \
    LETTER(c), LETTER((c) + 1), LETTER((c) + 2), LETTER((c) + 3), LETTER((c) + 4),                 \
        LETTER((c) + 5), LETTER((c) + 6), LETTER((c) + 7), LETTER((c) + 8), LETTER((c) + 9),       \
        LETTER((c) + 10), LETTER((c) + 11), LETTER((c) + 12), LETTER((c) + 13), LETTER((c) + 14),  \
        LETTER((c) + 15)

static const uint8_t common[256] = {
    ROW16(0),   ROW16(16),  ROW16(32),  ROW16(48),  ROW16(64),  ROW16(80),  ROW16(96),  ROW16(112),
    ROW16(128), ROW16(144), ROW16(160), ROW16(176), ROW16(192), ROW16(208), ROW16(224), ROW16(240),
};

/* 0..63, or -1. */
static int digit(enum gw_base64 kind, char c)
{
    uint8_t value = common[(uint8_t)c];

    if (value < 64)
        return value;
    if (c == alphabets[kind][62])
        return 62;
    return c == alphabets[kind][63] ? 63 : -1;
}

/* The characters without their padding; false: the padding is wrong. */
static bool unpadded(enum gw_base64 kind, struct gw_str text, size_t *len)
{
    size_t pad = 0;

    while (pad < 2 && pad < text.len && text.data[text.len - 1 - pad] == '=')
        pad++;
    *len = text.len - pad;
    if (*len % 4 == 1)
        return false;
    if (pad > 0 || kind == GW_BASE64_STD)
        return text.len % 4 == 0;
    return true;
}

enum gw_rc gw_base64_decode(enum gw_base64 kind, struct gw_str text, char *out, size_t *len)
{
    size_t chars, at = 0, to = 0;

    if (!unpadded(kind, text, &chars)) {
        *len = text.len;
        return GW_INVALID;
    }
    for (; at + 4 <= chars; at += 4) {
        int a = digit(kind, text.data[at]), b = digit(kind, text.data[at + 1]),
            c = digit(kind, text.data[at + 2]), d = digit(kind, text.data[at + 3]);
        if ((a | b | c | d) < 0)
            goto wrong;
        uint32_t bits = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | (uint32_t)d;
        out[to++] = (char)(bits >> 16);
        out[to++] = (char)(bits >> 8);
        out[to++] = (char)bits;
    }
    if (at < chars) {
        int a = digit(kind, text.data[at]), b = digit(kind, text.data[at + 1]),
            c = chars - at == 3 ? digit(kind, text.data[at + 2]) : 0;
        if ((a | b | c) < 0)
            goto wrong;
        /* Bits that belong to no byte must be zero, or two texts mean the same bytes. */
        if ((chars - at == 3 ? c & 3 : b & 15) != 0) {
            *len = chars - 1;
            return GW_INVALID;
        }
        out[to++] = (char)(a << 2 | b >> 4);
        if (chars - at == 3)
            out[to++] = (char)(b << 4 | c >> 2);
    }
    *len = to;
    return GW_OK;

wrong:
    while (at < chars && digit(kind, text.data[at]) >= 0)
        at++;
    *len = at;
    return GW_INVALID;
}

static const char hex_digits[] = "0123456789abcdef";

void gw_hex_encode(struct gw_str data, char *out)
{
    for (size_t i = 0; i < data.len; i++) {
        uint8_t byte = (uint8_t)data.data[i];
        out[2 * i] = hex_digits[byte >> 4];
        out[2 * i + 1] = hex_digits[byte & 15];
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum gw_rc gw_hex_decode(struct gw_str text, char *out)
{
    if (text.len % 2 != 0)
        return GW_INVALID;
    for (size_t i = 0; i < text.len; i += 2) {
        int high = hex_value(text.data[i]), low = hex_value(text.data[i + 1]);
        if ((high | low) < 0)
            return GW_INVALID;
        out[i / 2] = (char)(high << 4 | low);
    }
    return GW_OK;
}
