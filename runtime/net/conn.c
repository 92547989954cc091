#include "net/conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum gw_rc plain_read(struct gw_conn *conn, void *to, size_t size, size_t *got)
{
    ssize_t len;

    do
        len = recv(conn->fd, to, size, 0);
    while (len < 0 && errno == EINTR);
    if (len > 0) {
        /* A short read has drained the socket; the next bytes make a new edge. Only a
         * hang-up that came with them would be missed, hence the second read then. */
        if ((size_t)len < size && !conn->hangup)
            conn->readable = false;
        *got = (size_t)len;
        return GW_OK;
    }
    conn->readable = false;
    if (len == 0)
        return GW_EOF;
    return errno == EAGAIN ? GW_AGAIN : GW_CLOSED;
}

static enum gw_rc plain_writev(struct gw_conn *conn, const struct iovec *iov, int count,
                               size_t *sent)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
    size_t want = 0;
    ssize_t len;

    for (int i = 0; i < count; i++)
        want += iov[i].iov_len;
    *sent = 0;
    do /* One piece is the usual case, and send() has less to copy and to check. */
        len = count == 1 ? send(conn->fd, iov->iov_base, want, MSG_NOSIGNAL)
                         : sendmsg(conn->fd, &msg, MSG_NOSIGNAL);
    while (len < 0 && errno == EINTR);
    if (len < 0) {
        conn->writable = false;
        return errno == EAGAIN || errno == ENOBUFS ? GW_OK : GW_CLOSED;
    }
    if ((size_t)len < want)
        conn->writable = false;
    *sent = (size_t)len;
    return GW_OK;
}

static void plain_shutdown(struct gw_conn *conn)
{
    (void)shutdown(conn->fd, SHUT_WR);
}

static void plain_close(struct gw_conn *conn, bool hard)
{
    (void)close(conn->fd);
}

static const struct gw_conn_ops plain_ops = {
    .read = plain_read,
    .writev = plain_writev,
    .shutdown = plain_shutdown,
    .close = plain_close,
};

static void handshake_step(struct gw_conn *conn, unsigned what)
{
    enum gw_rc rc;

    (void)conn->ops->news(conn, what);
    rc = conn->ops->handshake(conn);
    if (rc == GW_AGAIN) {
        conn->readable = false;
        return;
    }
    conn->connecting = conn->handshaking = false;
    if (rc == GW_OK)
        conn->fn(conn, GW_CONN_CONNECTED | (conn->readable ? GW_CONN_READ : 0) |
                           (conn->hangup ? GW_CONN_HANGUP : 0));
    else
        conn->fn(conn, GW_CONN_FAILED);
}

void gw_conn_go_on(struct gw_conn *conn)
{
    if (conn->handshaking)
        handshake_step(conn, 0);
}

/* The first news after connect(): did it work? */
static void connect_done(struct gw_conn *conn, unsigned what)
{
    socklen_t len = sizeof(conn->error);

    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &conn->error, &len) != 0)
        conn->error = errno;
    if (conn->error != 0) {
        conn->connecting = false;
        conn->fn(conn, GW_CONN_FAILED);
        return;
    }
    if (conn->ops->handshake != NULL) {
        conn->handshaking = true;
        handshake_step(conn, what);
        return;
    }
    conn->connecting = false;
    conn->writable = true;
    conn->fn(conn, what | GW_CONN_CONNECTED);
}

static void on_io(struct gw_io *io, unsigned what)
{
    struct gw_conn *conn = GW_CONTAINER(io, struct gw_conn, io);

    if (what & GW_IO_READ)
        conn->readable = true;
    if (what & GW_IO_HANGUP)
        conn->hangup = true;
    if (conn->handshaking) {
        handshake_step(conn, what);
        return;
    }
    if (conn->connecting) {
        if (what & (GW_IO_WRITE | GW_IO_HANGUP))
            connect_done(conn, what);
        return;
    }
    if (what & GW_IO_WRITE)
        conn->writable = true;
    if (conn->tls != NULL)
        what = conn->ops->news(conn, what);
    if (what != 0)
        conn->fn(conn, what);
}

enum gw_rc gw_conn_open(struct gw_conn *conn, struct gw_loop *loop, int fd, gw_conn_fn fn)
{
    enum gw_rc rc;

    memset(conn, 0, sizeof(*conn));
    conn->ops = &plain_ops;
    conn->fn = fn;
    conn->fd = fd;
    conn->readable = conn->writable = true;
    rc = gw_io_open(&conn->io, loop, fd, on_io);
    if (rc != GW_OK) {
        (void)close(fd);
        conn->fd = -1;
    }
    return rc;
}

static enum gw_rc rc_of_errno(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case ENOENT:
        return GW_REFUSED;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL:
    case EAGAIN:
        return GW_LIMIT;
    case ETIMEDOUT:
        return GW_TIMEOUT;
    default:
        return GW_CLOSED;
    }
}

enum gw_rc gw_conn_connect(struct gw_conn *conn, struct gw_loop *loop,
                           const struct sockaddr *address, socklen_t len, gw_conn_fn fn)
{
    const int one = 1;
    enum gw_rc rc;
    int fd, error = 0;

    conn->fd = -1;
    fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        conn->error = errno;
        return rc_of_errno(errno);
    }
    if (address->sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, address, len) != 0 && errno != EINPROGRESS)
        error = errno;
    if (error != 0) {
        (void)close(fd);
        conn->error = error;
        return rc_of_errno(error);
    }
    rc = gw_conn_open(conn, loop, fd, fn);
    conn->connecting = true;
    conn->readable = conn->writable = false;
    return rc;
}

void gw_conn_plain(struct gw_conn *conn)
{
    conn->ops = &plain_ops;
    conn->readable = conn->writable = true;
}

enum gw_rc gw_conn_move(struct gw_conn *from, struct gw_conn *to, gw_conn_fn fn)
{
    struct gw_loop *loop = from->io.loop;
    enum gw_rc rc;

    gw_io_close(&from->io);
    *to = *from;
    to->fn = fn;
    from->fd = -1;
    from->tls = NULL;
    rc = gw_io_open(&to->io, loop, to->fd, on_io);
    if (rc != GW_OK) {
        to->ops->close(to, true);
        to->fd = -1;
    }
    return rc;
}

static void conn_close(struct gw_conn *conn, bool hard)
{
    if (conn->fd < 0)
        return;
    gw_io_close(&conn->io);
    conn->ops->close(conn, hard);
    conn->fd = -1;
}

void gw_conn_close(struct gw_conn *conn)
{
    conn_close(conn, false);
}

void gw_conn_reset(struct gw_conn *conn)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};

    if (conn->fd >= 0)
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    conn_close(conn, true);
}

enum gw_rc gw_conn_fault_rc(const struct gw_conn *conn)
{
    return conn->error == 0 && conn->tls != NULL ? GW_TLS : rc_of_errno(conn->error);
}

size_t gw_address_format(const struct sockaddr *address, char *to, size_t size)
{
    const void *bytes = NULL;

    if (address->sa_family == AF_INET) {
        bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        bytes = &v6->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            if (inet_ntop(AF_INET, (const char *)bytes + 12, to, (socklen_t)size) == NULL)
                to[0] = '\0';
            return strlen(to);
        }
    } else {
        (void)snprintf(to, size, "unix");
        return strlen(to);
    }
    if (inet_ntop(address->sa_family, bytes, to, (socklen_t)size) == NULL)
        to[0] = '\0';
    return strlen(to);
}

uint16_t gw_address_port(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
    if (address->sa_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port);
    return 0;
}

void gw_address_v6(const struct sockaddr *address, uint8_t out[16])
{
    memset(out, 0, 16);
    if (address->sa_family == AF_INET) {
        out[10] = out[11] = 0xff;
        memcpy(out + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    }
}
