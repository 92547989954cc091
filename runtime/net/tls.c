/* A TLS connection. OpenSSL never waits here: what it wants to send goes into one buffer of the
 * process, and what of that the socket does not take is kept with the connection. So a write of
 * many slices becomes few records and one system call, and OpenSSL's own buffers are gone as soon
 * as a call is over.
 *
 * How much is "sent"? The user offers bytes until they are told to be sent. Once encrypted they
 * must not be encrypted again, so we remember how many of the offered ones are: `credit` have left,
 * `owed` are in `out`. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tls_private.h"

#define RECORD_BYTES_MAX 16384
/* At first the peer shall be able to use what it has; later what counts is the least work. */
#define RECORD_BYTES_FIRST 4096
#define BURST_BYTES (64 * 1024)
#define PAUSE_MS 1000
/* Answers to a peer that asks without end and takes nothing. */
#define OUT_BYTES_MAX (256 * 1024)

/* One thread, one call at a time: both are empty between calls. */
static struct gw_buf cork;
static char scratch[RECORD_BYTES_MAX];

/* ---- the BIO ---- */

static int bio_write(BIO *bio, const char *data, int len)
{
    gw_buf_add(&cork, data, (size_t)len);
    return len;
}

static int bio_early(struct gw_tls *tls, char *to, size_t size)
{
    size_t len = gw_buf_len(&tls->early);

    if (len > size)
        len = size;
    memcpy(to, tls->early.data + tls->early.from, len);
    gw_buf_consume(&tls->early, len);
    if (gw_buf_len(&tls->early) == 0)
        gw_buf_fini(&tls->early);
    return (int)len;
}

static int bio_read(BIO *bio, char *to, int size)
{
    struct gw_tls *tls = BIO_get_data(bio);
    ssize_t len;

    BIO_clear_retry_flags(bio);
    if (gw_buf_len(&tls->early) > 0)
        return bio_early(tls, to, (size_t)size);
    if (!tls->socket_readable) {
        BIO_set_retry_read(bio);
        return -1;
    }
    do
        len = recv(tls->fd, to, (size_t)size, 0);
    while (len < 0 && errno == EINTR);
    if (len < size && !(len > 0 && tls->hangup))
        tls->socket_readable = false; /* as in plain_read() */
    if (len > 0)
        return (int)len;
    if (len == 0)
        tls->eof = true;
    else if (errno == EAGAIN)
        BIO_set_retry_read(bio);
    return (int)len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    const struct gw_tls *tls = BIO_get_data(bio);

    if (command == BIO_CTRL_EOF)
        return tls->eof;
    return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO *tls_bio_new(struct gw_tls *tls)
{
    static BIO_METHOD *method;
    BIO *bio;

    if (method == NULL) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "moongate");
        if (method == NULL)
            abort();
        (void)BIO_meth_set_write(method, bio_write);
        (void)BIO_meth_set_read(method, bio_read);
        (void)BIO_meth_set_ctrl(method, bio_ctrl);
        (void)BIO_meth_set_create(method, bio_create);
    }
    bio = BIO_new(method);
    if (bio != NULL)
        BIO_set_data(bio, tls);
    return bio;
}

/* ---- sending ---- */

/* GW_OK: *sent bytes, maybe fewer; GW_CLOSED. */
static enum gw_rc socket_send(struct gw_conn *conn, struct gw_str data, size_t *sent)
{
    ssize_t len;

    *sent = 0;
    do
        len = send(conn->fd, data.data, data.len, MSG_NOSIGNAL);
    while (len < 0 && errno == EINTR);
    if (len < 0 && errno != EAGAIN && errno != ENOBUFS)
        return GW_CLOSED;
    if (len > 0)
        *sent = (size_t)len;
    if (*sent < data.len)
        conn->writable = false;
    return GW_OK;
}

/* The plain bytes in `out` count as sent in the measure in which it shrinks. */
static enum gw_rc out_send(struct gw_conn *conn)
{
    struct gw_tls *tls = conn->tls;
    size_t len = gw_buf_len(&tls->out), sent, part;

    if (len == 0)
        return GW_OK;
    if (socket_send(conn, gw_buf_str(&tls->out), &sent) != GW_OK)
        return GW_CLOSED;
    part = (size_t)((unsigned __int128)tls->owed * sent / len);
    tls->owed -= part;
    tls->credit += part;
    gw_buf_consume(&tls->out, sent);
    if (sent == len)
        gw_buf_fini(&tls->out);
    return GW_OK;
}

/* Sends what OpenSSL has made of `plain` bytes of the user. */
static enum gw_rc cork_send(struct gw_conn *conn, size_t plain)
{
    struct gw_tls *tls = conn->tls;
    enum gw_rc rc = out_send(conn);

    if (rc == GW_OK && gw_buf_len(&cork) > 0) {
        size_t sent = 0;

        tls->owed += plain;
        if (gw_buf_len(&tls->out) == 0 && socket_send(conn, gw_buf_str(&cork), &sent) != GW_OK) {
            rc = GW_CLOSED;
        } else if (sent == gw_buf_len(&cork)) {
            tls->credit += tls->owed;
            tls->owed = 0;
        } else {
            size_t part = (size_t)((unsigned __int128)tls->owed * sent / gw_buf_len(&cork));
            tls->owed -= part;
            tls->credit += part;
            gw_buf_consume(&cork, sent);
            gw_buf_add_str(&tls->out, gw_buf_str(&cork));
        }
    }
    /* A list of a thousand authorities may have blown it up. */
    if (cork.size > 4 * GW_TLS_BATCH_BYTES)
        gw_buf_fini(&cork);
    else
        gw_buf_clear(&cork);
    return rc;
}

/* ---- the handshake ---- */

static void set_fault(struct gw_tls *tls, const char *text)
{
    free(tls->fault);
    tls->fault = strdup(text);
    if (tls->fault == NULL)
        abort();
}

static void note_fault(struct gw_tls *tls)
{
    long verify = SSL_get_verify_result(tls->ssl);
    unsigned long error = ERR_peek_error();
    char words[160], text[256];

    if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
        ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK) {
        ERR_clear_error();
        (void)snprintf(text, sizeof(text), "the certificate is not good: %s",
                       X509_verify_cert_error_string(verify));
    } else if (error == 0) {
        (void)snprintf(text, sizeof(text), "the connection was closed in the TLS handshake");
    } else {
        (void)snprintf(text, sizeof(text), "TLS handshake: %s",
                       tls_error_text(words, sizeof(words)));
    }
    set_fault(tls, text);
}

/* Whoever sees the first byte knows whether it can be TLS. */
static bool plain_first(struct gw_tls *tls)
{
    unsigned char byte = 0x16;

    if (gw_buf_len(&tls->early) > 0)
        byte = (unsigned char)tls->early.data[tls->early.from];
    else if (recv(tls->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
        return false;
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

/* GW_OK: there is something to shake hands with. */
static enum gw_rc begin(struct gw_tls *tls)
{
    char byte;

    if (gw_buf_len(&tls->early) == 0) {
        ssize_t len;
        if (!tls->socket_readable)
            return GW_AGAIN;
        len = recv(tls->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
            tls->socket_readable = false;
            return GW_AGAIN;
        }
        if (len <= 0) {
            set_fault(tls, "the connection was closed before the TLS handshake");
            return GW_TLS;
        }
    }
    if (plain_first(tls)) {
        set_fault(tls, GW_TLS_FAULT_PLAIN);
        return GW_TLS;
    }
    if (tls_server_begin(tls))
        return GW_OK;
    set_fault(tls, "out of memory");
    return GW_TLS;
}

static enum gw_rc tls_handshake(struct gw_conn *conn)
{
    struct gw_tls *tls = conn->tls;
    enum gw_rc rc = tls->ssl == NULL ? begin(tls) : GW_OK;
    int done, error;

    if (rc == GW_AGAIN)
        return GW_AGAIN;
    if (rc != GW_OK) {
        tls->state = TLS_DEAD;
        tls_server_release(tls);
        return GW_TLS;
    }
    ERR_clear_error();
    done = SSL_do_handshake(tls->ssl);
    error = done == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, done);
    if (done != 1 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_CLIENT_HELLO_CB) {
        note_fault(tls);
        tls->state = TLS_DEAD;
        (void)cork_send(conn, 0); /* an alert; if it does not go, it does not */
        tls_server_release(tls);
        return GW_TLS;
    }
    if (cork_send(conn, 0) != GW_OK) {
        set_fault(tls, "the connection was closed in the TLS handshake");
        tls->state = TLS_DEAD;
        tls_server_release(tls);
        return GW_TLS;
    }
    if (done != 1)
        return GW_AGAIN;
    tls->state = TLS_OPEN;
    tls_server_release(tls);
    conn->readable = tls->socket_readable || SSL_has_pending(tls->ssl);
    conn->writable = gw_buf_len(&tls->out) == 0;
    return GW_OK;
}

/* ---- reading ---- */

static enum gw_rc read_fault(struct gw_conn *conn, int error)
{
    struct gw_tls *tls = conn->tls;

    if (error == SSL_ERROR_ZERO_RETURN)
        return GW_EOF;
    tls->state = TLS_DEAD;
    (void)cork_send(conn, 0);
    return error == SSL_ERROR_SSL && !tls->eof ? GW_PROTOCOL : GW_CLOSED;
}

static enum gw_rc tls_read(struct gw_conn *conn, void *to, size_t size, size_t *got)
{
    struct gw_tls *tls = conn->tls;
    int error = SSL_ERROR_NONE;
    size_t len = 0, n;

    if (tls->state != TLS_OPEN) {
        conn->readable = false;
        return GW_CLOSED;
    }
    ERR_clear_error();
    while (len < size && (tls->socket_readable || SSL_has_pending(tls->ssl))) {
        int done = SSL_read_ex(tls->ssl, (char *)to + len, size - len, &n);
        if (done == 1) {
            len += n;
            continue;
        }
        error = SSL_get_error(tls->ssl, done);
        break;
    }
    conn->readable = len == size || (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ);
    if (gw_buf_len(&cork) > 0 &&
        (cork_send(conn, 0) != GW_OK || gw_buf_len(&tls->out) > OUT_BYTES_MAX)) {
        tls->state = TLS_DEAD;
        return GW_CLOSED;
    }
    if (len > 0) {
        *got = len; /* what has failed behind it fails again with the next read */
        return GW_OK;
    }
    if (error == SSL_ERROR_NONE || error == SSL_ERROR_WANT_READ)
        return GW_AGAIN;
    conn->readable = false;
    return read_fault(conn, error);
}

/* ---- writing ---- */

static size_t record_bytes(struct gw_conn *conn)
{
    struct gw_tls *tls = conn->tls;
    uint64_t now = gw_loop_now_ms(conn->io.loop);

    if (now - tls->wrote_ms >= PAUSE_MS)
        tls->burst = 0;
    tls->wrote_ms = now;
    return tls->burst < BURST_BYTES ? RECORD_BYTES_FIRST : RECORD_BYTES_MAX;
}

/* The next record's bytes: where they stand if they stand together, else gathered. */
static struct gw_str gather(const struct iovec **iov, int *count, size_t *offset, size_t max)
{
    size_t len = 0;

    while (*count > 0 && len < max) {
        const char *data = (const char *)(*iov)->iov_base + *offset;
        size_t left = (*iov)->iov_len - *offset, take = left < max - len ? left : max - len;

        if (len == 0 && take == max) {
            *offset += take;
            return gw_str(data, take);
        }
        memcpy(scratch + len, data, take);
        len += take;
        *offset += take;
        if (take == left) {
            (*iov)++;
            (*count)--;
            *offset = 0;
        }
    }
    return gw_str(scratch, len);
}

static void skip_bytes(const struct iovec **iov, int *count, size_t *offset, size_t len)
{
    while (*count > 0 && len >= (*iov)->iov_len) {
        len -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    assert(*count > 0 || len == 0); /* the user offers again what was not sent */
    *offset = len;
}

static enum gw_rc encrypt(struct gw_conn *conn, const struct iovec *iov, int count, size_t offset)
{
    struct gw_tls *tls = conn->tls;

    while (count > 0 && gw_buf_len(&tls->out) == 0) {
        size_t plain = 0, n;

        while (count > 0 && plain < GW_TLS_BATCH_BYTES) {
            struct gw_str data = gather(&iov, &count, &offset, record_bytes(conn));
            if (data.len == 0)
                continue;
            if (SSL_write_ex(tls->ssl, data.data, data.len, &n) != 1 || n != data.len) {
                gw_buf_clear(&cork);
                tls->state = TLS_DEAD;
                return GW_CLOSED;
            }
            tls->burst += tls->burst < BURST_BYTES ? (uint32_t)n : 0;
            plain += n;
        }
        if (cork_send(conn, plain) != GW_OK)
            return GW_CLOSED;
    }
    return GW_OK;
}

static enum gw_rc tls_writev(struct gw_conn *conn, const struct iovec *iov, int count, size_t *sent)
{
    struct gw_tls *tls = conn->tls;
    enum gw_rc rc;
    size_t offset;

    *sent = 0;
    if (tls->state != TLS_OPEN) {
        conn->writable = false;
        return GW_CLOSED;
    }
    ERR_clear_error();
    rc = out_send(conn);
    if (rc == GW_OK && gw_buf_len(&tls->out) == 0) {
        skip_bytes(&iov, &count, &offset, tls->credit);
        rc = encrypt(conn, iov, count, offset);
    }
    if (rc != GW_OK) {
        tls->state = TLS_DEAD;
        conn->writable = false;
        return GW_CLOSED;
    }
    *sent = tls->credit;
    tls->credit = 0;
    return GW_OK;
}

/* ---- news and ends ---- */

static unsigned tls_news(struct gw_conn *conn, unsigned what)
{
    struct gw_tls *tls = conn->tls;

    if (what & (GW_IO_READ | GW_IO_HANGUP))
        tls->socket_readable = true;
    if (what & GW_IO_HANGUP)
        tls->hangup = true;
    if ((what & GW_IO_WRITE) == 0 || tls->state == TLS_DEAD)
        return what;
    conn->writable = true;
    /* A handshake's or an alert's rest has no user who would come back for it. */
    if (out_send(conn) != GW_OK)
        tls->state = TLS_DEAD; /* the next write will tell */
    else if (gw_buf_len(&tls->out) > 0)
        return what & ~GW_IO_WRITE;
    if (tls->shutdown_wanted && gw_buf_len(&tls->out) == 0)
        (void)shutdown(conn->fd, SHUT_WR);
    return what;
}

static void say_goodbye(struct gw_conn *conn)
{
    struct gw_tls *tls = conn->tls;

    if (tls->state != TLS_OPEN || (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
    if (cork_send(conn, 0) != GW_OK)
        tls->state = TLS_DEAD;
}

static void tls_shutdown(struct gw_conn *conn)
{
    struct gw_tls *tls = conn->tls;

    say_goodbye(conn);
    if (tls->state == TLS_OPEN && gw_buf_len(&tls->out) > 0)
        tls->shutdown_wanted = true;
    else
        (void)shutdown(conn->fd, SHUT_WR);
}

static void tls_free(struct gw_tls *tls)
{
    tls_server_release(tls);
    SSL_free(tls->ssl);
    gw_buf_fini(&tls->early);
    gw_buf_fini(&tls->out);
    free(tls->fault);
    tls_peer_free(tls->peer);
    free(tls);
}

static void tls_close(struct gw_conn *conn, bool hard)
{
    if (!hard)
        say_goodbye(conn);
    tls_free(conn->tls);
    conn->tls = NULL;
    (void)close(conn->fd);
}

static const struct gw_conn_ops tls_ops = {
    .read = tls_read,
    .writev = tls_writev,
    .shutdown = tls_shutdown,
    .close = tls_close,
    .handshake = tls_handshake,
    .news = tls_news,
};

struct gw_tls *tls_attach(struct gw_conn *conn)
{
    struct gw_tls *tls = calloc(1, sizeof(*tls));

    if (tls == NULL)
        abort();
    tls->fd = conn->fd;
    conn->tls = tls;
    conn->ops = &tls_ops;
    return tls;
}

void gw_tls_drop(struct gw_conn *conn)
{
    assert(conn->tls != NULL && conn->tls->ssl == NULL);
    tls_free(conn->tls);
    conn->tls = NULL;
    gw_conn_plain(conn);
}

const char *gw_conn_fault(const struct gw_conn *conn)
{
    if (conn->error == 0 && conn->tls != NULL && conn->tls->fault != NULL)
        return conn->tls->fault;
    return strerror(conn->error);
}

const char *tls_error_text(char *to, size_t size)
{
    unsigned long error = ERR_get_error();
    const char *reason = ERR_reason_error_string(error);

    if (reason != NULL)
        (void)snprintf(to, size, "%s", reason);
    else if (error != 0)
        (void)snprintf(to, size, "error %lx", error);
    else
        (void)snprintf(to, size, "unknown error");
    ERR_clear_error();
    return to;
}
