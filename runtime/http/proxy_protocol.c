#include "http/proxy_protocol.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

/* ---- version 1: "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" ---- */

/* Takes a word of 1..`max` bytes and the one byte behind it, which has to be `stop`. */
static bool take_word(struct gw_str *line, char stop, size_t max, struct gw_str *word)
{
    const char *end = memchr(line->data, stop, line->len);

    if (end == NULL || end == line->data || (size_t)(end - line->data) > max)
        return false;
    *word = gw_str(line->data, (size_t)(end - line->data));
    *line = gw_str(end + 1, line->len - word->len - 1);
    return true;
}

static bool take_address(struct gw_str *line, int family, void *to)
{
    char text[INET6_ADDRSTRLEN];
    struct gw_str word;

    if (!take_word(line, ' ', sizeof(text) - 1, &word) || memchr(word.data, '\0', word.len) != NULL)
        return false;
    memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    return inet_pton(family, text, to) == 1;
}

/* 0..65535 without leading zeros, in network order. */
static bool take_port(struct gw_str *line, char stop, in_port_t *to)
{
    struct gw_str word;
    unsigned value = 0;

    if (!take_word(line, stop, 5, &word) || (word.data[0] == '0' && word.len > 1))
        return false;
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(word.data[i] - '0');
    }
    *to = htons((uint16_t)value);
    return value <= 65535;
}

/* `line` stands behind "PROXY TCPn " and ends before LF. */
static bool take_v1_ends(struct gw_str line, int family, struct gw_proxy_info *out)
{
    struct sockaddr_in *source4 = (struct sockaddr_in *)&out->source;
    struct sockaddr_in *destination4 = (struct sockaddr_in *)&out->destination;
    struct sockaddr_in6 *source6 = (struct sockaddr_in6 *)&out->source;
    struct sockaddr_in6 *destination6 = (struct sockaddr_in6 *)&out->destination;
    bool v4 = family == AF_INET;

    out->source.ss_family = out->destination.ss_family = (sa_family_t)family;
    return take_address(&line, family, v4 ? (void *)&source4->sin_addr : &source6->sin6_addr) &&
           take_address(&line, family,
                        v4 ? (void *)&destination4->sin_addr : &destination6->sin6_addr) &&
           take_port(&line, ' ', v4 ? &source4->sin_port : &source6->sin6_port) &&
           take_port(&line, '\r', v4 ? &destination4->sin_port : &destination6->sin6_port) &&
           line.len == 0;
}

static enum gw_rc parse_v1_line(struct gw_str line, struct gw_proxy_info *out)
{
    static const struct {
        struct gw_str start;
        int family;
    } rows[] = {{{"TCP4 ", 5}, AF_INET}, {{"TCP6 ", 5}, AF_INET6}};

    /* Whatever stands behind UNKNOWN is to be ignored. */
    if (gw_str_starts(line, GW_STR("UNKNOWN\r")) || gw_str_starts(line, GW_STR("UNKNOWN "))) {
        out->local = true;
        return memchr(line.data, '\r', line.len) == line.data + line.len - 1 ? GW_OK : GW_PROTOCOL;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (gw_str_starts(line, rows[i].start))
            return take_v1_ends(gw_str(line.data + 5, line.len - 5), rows[i].family, out)
                       ? GW_OK
                       : GW_PROTOCOL;
    return GW_PROTOCOL;
}

static enum gw_rc parse_v1(struct gw_str data, struct gw_proxy_info *out, size_t *len)
{
    size_t window = data.len < GW_PROXY_V1_BYTES_MAX ? data.len : GW_PROXY_V1_BYTES_MAX;
    const char *lf = memchr(data.data, '\n', window);

    if (lf == NULL)
        return window == GW_PROXY_V1_BYTES_MAX ? GW_PROTOCOL : GW_AGAIN;
    *len = (size_t)(lf + 1 - data.data);
    out->version = 1;
    return parse_v1_line(gw_str(data.data + 6, *len - 7), out);
}

/* ---- version 2: signature, version and command, family, length, addresses, TLVs ---- */

#define V2_HEAD_BYTES 16

static void set_inet(struct sockaddr_storage *to, const char *address, const char *port)
{
    struct sockaddr_in *inet = (struct sockaddr_in *)to;

    inet->sin_family = AF_INET;
    memcpy(&inet->sin_addr, address, 4);
    memcpy(&inet->sin_port, port, 2);
}

static void set_inet6(struct sockaddr_storage *to, const char *address, const char *port)
{
    struct sockaddr_in6 *inet6 = (struct sockaddr_in6 *)to;

    inet6->sin6_family = AF_INET6;
    memcpy(&inet6->sin6_addr, address, 16);
    memcpy(&inet6->sin6_port, port, 2);
}

static void set_unix(struct sockaddr_storage *to, const char *path)
{
    struct sockaddr_un *local = (struct sockaddr_un *)to;

    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, path, sizeof(local->sun_path));
    _Static_assert(sizeof(local->sun_path) == 108, "as long as the protocol's");
}

/* TLVs (ALPN, TLS, unique id …) say nothing that is asked for yet, but they have to add up. */
static bool tlvs_add_up(const char *at, const char *end)
{
    while (at < end) {
        size_t len;
        if (end - at < 3)
            return false;
        len = (size_t)(unsigned char)at[1] << 8 | (unsigned char)at[2];
        at += 3;
        if ((size_t)(end - at) < len)
            return false;
        at += len;
    }
    return true;
}

static enum gw_rc take_v2_ends(unsigned family, const char *at, const char *end,
                               struct gw_proxy_info *out)
{
    static const uint8_t bytes[] = {0, 12, 36, 216}; /* by the upper half of `family` */

    if (family >> 4 >= sizeof(bytes) || (family & 15) > 2 || end - at < bytes[family >> 4])
        return GW_PROTOCOL;
    switch (family) {
    case 0x11: /* TCP over IPv4 */
        set_inet(&out->source, at, at + 8);
        set_inet(&out->destination, at + 4, at + 10);
        break;
    case 0x21: /* TCP over IPv6 */
        set_inet6(&out->source, at, at + 32);
        set_inet6(&out->destination, at + 16, at + 34);
        break;
    case 0x31: /* UNIX stream */
        set_unix(&out->source, at);
        set_unix(&out->destination, at + 108);
        break;
    default: /* UNSPEC, and datagrams, which HTTP/1 does not come by */
        out->local = true;
        return GW_OK;
    }
    return tlvs_add_up(at + bytes[family >> 4], end) ? GW_OK : GW_PROTOCOL;
}

static enum gw_rc parse_v2(struct gw_str data, struct gw_proxy_info *out, size_t *len)
{
    const unsigned char *head = (const unsigned char *)data.data;
    size_t size;

    if (data.len > 12 && (head[12] >> 4 != 2 || (head[12] & 15) > 1))
        return GW_PROTOCOL;
    if (data.len < V2_HEAD_BYTES)
        return GW_AGAIN;
    size = V2_HEAD_BYTES + ((size_t)head[14] << 8 | head[15]);
    if (size > GW_PROXY_V2_BYTES_MAX)
        return GW_LIMIT;
    if (data.len < size)
        return GW_AGAIN;
    *len = size;
    out->version = 2;
    if ((head[12] & 15) == 0) { /* LOCAL: the rest is to be skipped, whatever it says */
        out->local = true;
        return GW_OK;
    }
    return take_v2_ends(head[13], data.data + V2_HEAD_BYTES, data.data + size, out);
}

/* Both begin differently and with a fixed text: the first byte that is neither's decides. */
static bool starts_like(struct gw_str data, struct gw_str start)
{
    size_t len = data.len < start.len ? data.len : start.len;

    return memcmp(data.data, start.data, len) == 0;
}

enum gw_rc gw_proxy_protocol_parse(struct gw_str data, struct gw_proxy_info *out, size_t *len)
{
    static const struct gw_str v1 = {"PROXY ", 6};
    static const struct gw_str v2 = {"\r\n\r\n\0\r\nQUIT\n", 12};
    enum gw_rc rc = GW_AGAIN;

    *out = (struct gw_proxy_info){.version = 0};
    *len = 0;
    if (data.len == 0)
        return GW_AGAIN;
    if (starts_like(data, v1)) {
        if (data.len >= v1.len)
            rc = parse_v1(data, out, len);
    } else if (starts_like(data, v2)) {
        if (data.len >= v2.len)
            rc = parse_v2(data, out, len);
    } else {
        rc = GW_PROTOCOL;
    }
    if (rc == GW_OK && out->local)
        out->source.ss_family = out->destination.ss_family = AF_UNSPEC;
    return rc;
}
