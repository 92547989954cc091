/* Texts of socket addresses: "0.0.0.0:8080", "[::1]:8080", "unix:/run/a.sock".
 * Opens nothing and resolves nothing. */
#ifndef GW_CONF_ADDRESS_H
#define GW_CONF_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/str.h"

#define GW_UNIX_PATH_BYTES_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

/* "host:port" or "[v6]:port" (*host keeps its brackets). False: no port, or no such form. A
 * bare IPv6 address is not split: nobody can tell its last group from a port. */
bool gw_address_split(struct gw_str text, struct gw_str *host, uint32_t *port);

/* Digits only, at most 65535. */
bool gw_port_read(struct gw_str text, uint32_t *port);

/* A literal address. False: `host` is a name. */
bool gw_address_of(struct gw_str host, uint16_t port, struct sockaddr_storage *out, uint32_t *len);

/* False: longer than GW_UNIX_PATH_BYTES_MAX, or empty. */
bool gw_address_of_unix(struct gw_str path, struct sockaddr_storage *out, uint32_t *len);

#endif
