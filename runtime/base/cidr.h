/* Addresses and networks as 16 bytes: IPv4 stands as ::ffff:a.b.c.d, so that both families
 * are compared in one way. "0.0.0.0/0" is every IPv4 client, "::/0" everybody. */
#ifndef GW_BASE_CIDR_H
#define GW_BASE_CIDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/rc.h"
#include "base/str.h"

#define GW_IP_TEXT_BYTES 46 /* longest text of an address, with its NUL */

/* "10.1.2.3", "2001:db8::1", "[2001:db8::1]"; no zone, no port. */
GW_MUST_CHECK enum gw_rc gw_ip_parse(struct gw_str text, uint8_t address[16]);

/* AF_INET and AF_INET6. False for other families (a unix socket): all zero then, which is in
 * no network but ::/0. */
bool gw_ip_of_sockaddr(const struct sockaddr *from, uint8_t address[16]);

/* IPv4 in its own form; ends with NUL. Returns the length. */
size_t gw_ip_format(const uint8_t address[16], char out[GW_IP_TEXT_BYTES]);

/* "10.0.0.0/8", "2001:db8::/32", or an address alone (all bits). *bits counts in the 128.
 * Refuses bits that are set behind the prefix and says what to write instead. */
GW_MUST_CHECK enum gw_rc gw_cidr_parse(struct gw_str text, uint8_t address[16], uint8_t *bits,
                                       struct gw_err *err);

static inline bool gw_cidr_contains(const uint8_t network[16], uint8_t bits,
                                    const uint8_t address[16])
{
    size_t whole = bits / 8;
    uint8_t mask = (uint8_t)(0xff00u >> (bits % 8));

    return memcmp(network, address, whole) == 0 &&
           (bits % 8 == 0 || ((network[whole] ^ address[whole]) & mask) == 0);
}

#endif
