/* The PROXY protocol, versions 1 and 2, as a load balancer in front sends it: who the client
 * of a connection is, before the client's first byte. Strict: only a listener that is told
 * to expects it, and there it has to come.
 * The public specification is haproxy's doc/proxy-protocol.txt. */
#ifndef GW_HTTP_PROXY_PROTOCOL_H
#define GW_HTTP_PROXY_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/rc.h"
#include "base/str.h"

#define GW_PROXY_V1_BYTES_MAX 107  /* with CRLF: the specification's worst case */
#define GW_PROXY_V2_BYTES_MAX 2048 /* with its 16 bytes of head; the rest is for TLVs */

struct gw_proxy_info {
    uint8_t version; /* 1 or 2 */
    bool local;      /* no client is named: a health check of the balancer (LOCAL), UNKNOWN or a
                      * family that is not IP; the connection's own addresses count */
    struct sockaddr_storage source; /* AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC when local */
    struct sockaddr_storage destination;
};

/* Looks at the first bytes of a connection.
 *   GW_OK        *out is filled, *len bytes are taken; what follows is the client's
 *   GW_AGAIN     good so far, more bytes are needed
 *   GW_PROTOCOL  it is no PROXY header; told from the first byte that differs
 *   GW_LIMIT     a version 2 header longer than GW_PROXY_V2_BYTES_MAX
 * At most GW_PROXY_V2_BYTES_MAX bytes are ever needed. */
GW_MUST_CHECK enum gw_rc gw_proxy_protocol_parse(struct gw_str data, struct gw_proxy_info *out,
                                                 size_t *len);

#endif
