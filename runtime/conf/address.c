#include "conf/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

bool gw_port_read(struct gw_str text, uint32_t *port)
{
    uint32_t value = 0;

    if (text.len == 0 || text.len > 5)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(text.data[i] - '0');
    }
    *port = value;
    return value <= 65535;
}

bool gw_address_split(struct gw_str text, struct gw_str *host, uint32_t *port)
{
    const char *colon = memrchr(text.data, ':', text.len);
    size_t len;

    if (colon == NULL || colon == text.data)
        return false;
    len = (size_t)(colon - text.data);
    if (text.data[0] == '[' ? text.data[len - 1] != ']' : memchr(text.data, ':', len) != NULL)
        return false;
    *host = gw_str(text.data, len);
    return gw_port_read(gw_str(colon + 1, text.len - len - 1), port);
}

bool gw_address_of(struct gw_str host, uint16_t port, struct sockaddr_storage *out, uint32_t *len)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    bool brackets = host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    char text[64];

    if (brackets)
        host = gw_str(host.data + 1, host.len - 2);
    if (host.len >= sizeof(text))
        return false;
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    memset(out, 0, sizeof(*out));
    if (!brackets && inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        memcpy(out, &v4, sizeof(v4));
        *len = sizeof(v4);
        return true;
    }
    if (brackets && inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        memcpy(out, &v6, sizeof(v6));
        *len = sizeof(v6);
        return true;
    }
    return false;
}

bool gw_address_of_unix(struct gw_str path, struct sockaddr_storage *out, uint32_t *len)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (path.len == 0 || path.len > GW_UNIX_PATH_BYTES_MAX)
        return false;
    memcpy(address.sun_path, path.data, path.len);
    memset(out, 0, sizeof(*out));
    memcpy(out, &address, sizeof(address));
    *len = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    return true;
}
