/* One connected stream socket: non-blocking, edge-triggered, plain or with TLS (net/tls.h).
 * Lives in: one worker. Owner: who embeds it (an HTTP connection, a Lua socket).
 * The user is told `on_event` and then reads until GW_AGAIN or writes until short.
 * Errors: GW_EOF (the peer ended its sending side), GW_CLOSED (reset), GW_AGAIN, GW_PROTOCOL
 * (not the TLS that was agreed on). */
#ifndef GW_NET_CONN_H
#define GW_NET_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/rc.h"
#include "base/str.h"
#include "net/loop.h"

struct gw_conn;
struct gw_tls;

/* Connecting has ended (once: `what` has GW_CONN_CONNECTED or GW_CONN_FAILED; with TLS that is the
 * end of the handshake, on the server's side, too), or there may be something to read, or room to
 * write, or the peer hung up. May close the conn. */
#define GW_CONN_READ GW_IO_READ
#define GW_CONN_WRITE GW_IO_WRITE
#define GW_CONN_HANGUP GW_IO_HANGUP
#define GW_CONN_CONNECTED 8u
#define GW_CONN_FAILED 16u
typedef void (*gw_conn_fn)(struct gw_conn *conn, unsigned what);

struct gw_conn_ops {
    enum gw_rc (*read)(struct gw_conn *conn, void *to, size_t size, size_t *got);
    enum gw_rc (*writev)(struct gw_conn *conn, const struct iovec *iov, int count, size_t *sent);
    void (*shutdown)(struct gw_conn *conn); /* no more from us */
    void (*close)(struct gw_conn *conn, bool hard);
    /* Goes on with a handshake. GW_OK: over; GW_AGAIN; GW_TLS: failed. NULL: there is none. */
    enum gw_rc (*handshake)(struct gw_conn *conn);
    /* There is news of the socket; what of it the user shall hear. */
    unsigned (*news)(struct gw_conn *conn, unsigned what);
};

struct gw_conn {
    struct gw_io io;
    const struct gw_conn_ops *ops;
    gw_conn_fn fn;
    struct gw_tls *tls; /* NULL: plain. Knows nothing of the conn's address */
    int fd;             /* -1: closed */
    int error;          /* errno of GW_CONN_FAILED */
    bool connecting;    /* GW_CONN_CONNECTED is still to come */
    bool handshaking;   /* the socket is connected, TLS is not */
    bool readable;      /* the last read did not drain it */
    bool writable;
    bool hangup;
};

/* Takes `fd` (non-blocking). */
GW_MUST_CHECK enum gw_rc gw_conn_open(struct gw_conn *conn, struct gw_loop *loop, int fd,
                                      gw_conn_fn fn);

/* Starts to connect; the end is told by `fn`. A refusal that is known at once is returned. */
GW_MUST_CHECK enum gw_rc gw_conn_connect(struct gw_conn *conn, struct gw_loop *loop,
                                         const struct sockaddr *address, socklen_t len,
                                         gw_conn_fn fn);

/* GW_OK: 1..size bytes in *got; GW_AGAIN: drained; GW_EOF; GW_CLOSED. */
static inline enum gw_rc gw_conn_read(struct gw_conn *conn, void *to, size_t size, size_t *got)
{
    return conn->ops->read(conn, to, size, got);
}

/* GW_OK: *sent bytes went (maybe fewer than asked: then wait for GW_CONN_WRITE); GW_CLOSED. */
static inline enum gw_rc gw_conn_writev(struct gw_conn *conn, const struct iovec *iov, int count,
                                        size_t *sent)
{
    return conn->ops->writev(conn, iov, count, sent);
}

/* The connection goes on in another struct, and tells `fn`; `from` is closed then. What is there
 * to read or may be written is told anew. Of use on GW_OK alone; else both are closed. */
GW_MUST_CHECK enum gw_rc gw_conn_move(struct gw_conn *from, struct gw_conn *to, gw_conn_fn fn);

/* Also closes the descriptor; no callback comes after it. Idempotent. */
void gw_conn_close(struct gw_conn *conn);
/* Closes so that the peer gets RST instead of FIN. */
void gw_conn_reset(struct gw_conn *conn);
static inline void gw_conn_shutdown(struct gw_conn *conn)
{
    conn->ops->shutdown(conn);
}

/* Goes on with a handshake as if there were news: bytes were read before it began. */
void gw_conn_go_on(struct gw_conn *conn);

/* Takes TLS off before its first byte: for net/tls.c. */
void gw_conn_plain(struct gw_conn *conn);

/* After GW_CONN_FAILED: what the user of an upstream is told (GW_REFUSED, GW_TLS, …), and why. */
enum gw_rc gw_conn_fault_rc(const struct gw_conn *conn);
const char *gw_conn_fault(const struct gw_conn *conn);
/* What ALPN has chosen: "h2", "http/1.1", or empty. */
struct gw_str gw_conn_alpn(const struct gw_conn *conn);

/* "127.0.0.1", "2001:db8::1", "unix"; 46 bytes are enough. Returns the length. */
size_t gw_address_format(const struct sockaddr *address, char *to, size_t size);
uint16_t gw_address_port(const struct sockaddr *address);
/* IPv4 as ::ffff:a.b.c.d, 16 bytes. */
void gw_address_v6(const struct sockaddr *address, uint8_t out[16]);

#endif
