/* A client's connection, whatever its version of HTTP: the part that the floor above sees.
 * Lives in: one worker. Owner: the version (http/h1.h, http/h2.h), which embeds it; its memory
 * goes at the end of the turn in which it was closed, with on_freed.
 * A connection that changes its version (an HTTP/2 preface) moves to another struct: on_moved
 * tells, and nothing else happens to what its user counts. */
#ifndef GW_HTTP_CLIENT_H
#define GW_HTTP_CLIENT_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/list.h"
#include "http/stream.h"
#include "net/tls.h"

struct gw_client_conn;

/* Times and limits of one listener; lent for the life of the connection. */
struct gw_client_limits {
    struct gw_head_limits head;
    uint32_t header_timeout_ms, body_timeout_ms, send_timeout_ms, idle_timeout_ms;
    uint32_t data_rate_min, data_rate_grace_ms;
    uint32_t requests_max;
    uint32_t age_max_ms;
    uint32_t buffer_bytes_max;
    uint32_t half_close_timeout_ms;
    bool proxy_protocol;
    bool http2;    /* with prior knowledge, in the clear */
    bool tls;      /* it begins with a handshake; on_tls tells with what */
    uint32_t refs; /* owned by the user */
};

/* How the user hears of new requests on a client's connection. */
struct gw_client_user {
    /* A head begins: gives the memory that it is read into. NULL: refuse with 503. */
    struct gw_stream_request *(*on_request_new)(struct gw_client_conn *conn);
    /* The head is complete: status 0, or the answer that it deserves (400, 414, …). */
    void (*on_request)(struct gw_client_conn *conn, struct gw_stream_request *request,
                       uint16_t status, const char *why);
    /* The PROXY protocol has told who it is. False: refuse it with 503. */
    bool (*on_peer)(struct gw_client_conn *conn);
    /* With what a handshake is made, at its begin. NULL: the listener has no TLS any more. */
    struct gw_tls_server *(*on_tls)(struct gw_client_conn *conn);
    /* The connection has ended; its memory goes at the end of the turn, with on_freed. */
    void (*on_closed)(struct gw_client_conn *conn);
    void (*on_freed)(struct gw_client_conn *conn);
};

struct gw_client_ops {
    /* Its listener is gone: no more requests than those that are under way. */
    void (*retire)(struct gw_client_conn *conn);
    /* The same, in a hurry: closes at once when idle. */
    void (*drain)(struct gw_client_conn *conn);
    /* Too many connections: 503 and close, whatever it asks. */
    void (*refuse)(struct gw_client_conn *conn);
    void (*close)(struct gw_client_conn *conn, bool hard);
};

struct gw_client_conn {
    const struct gw_client_ops *ops;
    const struct gw_client_user *user;
    void *user_data;     /* the listener */
    struct gw_conn *net; /* the socket below, plain or TLS */
    struct gw_client_limits *limits;
    struct gw_list link; /* the user's list of connections */
    uint64_t born_ms;
    uint32_t requests;
    uint16_t port; /* of the peer */
    uint8_t address[16];
    bool draining : 1;
    bool unix_peer : 1;
    bool counted : 1; /* the user's */
};

/* Ages spread by a tenth to both sides, so that a crowd does not come back at once. */
static inline uint64_t gw_client_age_max_ms(const struct gw_client_conn *conn)
{
    uint64_t max = conn->limits->age_max_ms;
    uint64_t chance = ((uintptr_t)conn / 16 + conn->born_ms) * 0x9e3779b97f4a7c15u >> 32;

    return max - max / 10 + chance % (max / 5 + 1);
}

#endif
