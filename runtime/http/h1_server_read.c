/* The client's side, inwards: PROXY protocol, heads, bodies. Bytes go from the worker's buffer
 * straight to whoever wants them; what nobody wants yet (the head is not complete, the body is
 * paused, the next request came early) waits in pipe.in, and no more is read until it is wanted.
 */
#include <errno.h>

#include "base/limits.h"
#include "base/log.h"
#include "http/h1_server_private.h"
#include "http/h2.h"
#include "http/proxy_protocol.h"

/* ---- the head ---- */

static void begin_busy(struct gw_h1_server *s)
{
    s->state = SV_BUSY;
    s->seen = 0;
    s->in_done = s->out_done = s->head_sent = s->expects = false;
    s->body_bytes = s->left = 0;
    s->body_waited_ms = 0;
    s->pipe.paused = true;
    s->pipe.chunked_out = s->pipe.no_body_out = false;
    gw_timer_clear(&s->pipe.timer);
}

void server_refuse(struct gw_h1_server *s)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                                 "Retry-After: 1\r\nConnection: close\r\n\r\n";

    s->state = SV_LINGER;
    gw_h1_out_text(&s->pipe, answer, sizeof(answer) - 1);
}

static bool begin_request(struct gw_h1_server *s)
{
    begin_busy(s);
    s->client.requests++;
    s->request = s->client.user->on_request_new(&s->client);
    if (s->request == NULL) {
        server_refuse(s);
        return false;
    }
    s->request->stream = &s->stream;
    s->request->request->major = 1;
    return true;
}

void server_head_fault(struct gw_h1_server *s, uint16_t status, const char *why)
{
    if (s->request == NULL && !begin_request(s))
        return;
    s->in_done = true;
    s->keep_alive = false;
    s->framing = GW_FRAMING_CLOSE; /* what follows is not to be understood: linger */
    s->client.user->on_request(&s->client, s->request, status != 0 ? status : 400, why);
}

/* The first bytes of a connection: is it HTTP/2? What may yet become its preface waits. */
static bool begins_http2(const struct gw_h1_server *s, struct gw_str data)
{
    size_t len = data.len < GW_H2_PREFACE_LEN ? data.len : GW_H2_PREFACE_LEN;

    /* Over TLS it is chosen by ALPN (RFC 9113 3.2). */
    return s->client.limits->http2 && s->client.requests == 0 && s->pipe.conn.tls == NULL &&
           memcmp(data.data, GW_H2_PREFACE, len) == 0;
}

static size_t consume_head(struct gw_h1_server *s, struct gw_str data)
{
    size_t seen = s->seen, len = 0;
    uint16_t status = 400;
    const char *why = "bad request head";
    enum gw_rc rc = gw_head_find(data, &s->client.limits->head, &seen, &len, &status);
    char *copy;

    if (begins_http2(s, data) && data.len >= GW_H2_PREFACE_LEN) {
        gw_h2_server_take(s, data);
        return data.len;
    }
    if (rc == GW_AGAIN || begins_http2(s, data)) {
        s->seen = (uint32_t)seen;
        if (s->state == SV_IDLE) {
            s->state = SV_HEAD;
            server_set_timer(s, s->client.limits->header_timeout_ms);
        }
        return 0;
    }
    if (rc != GW_OK) {
        server_head_fault(s, status, why);
        return data.len;
    }
    if (!begin_request(s))
        return data.len;
    copy = gw_arena_alloc(s->request->arena, len);
    memcpy(copy, data.data, len);
    rc = gw_head_parse_request(gw_str(copy, len), &s->client.limits->head, s->request->arena,
                               s->request->request, &s->request->head, &status, &why);
    s->minor = s->request->request->minor;
    if (rc != GW_OK) {
        server_head_fault(s, status, why);
        return data.len;
    }
    s->keep_alive = s->request->head.keep_alive;
    s->framing = (uint8_t)s->request->head.framing;
    s->expects = s->request->request->expect_continue && s->minor >= 1;
    if (s->framing == GW_FRAMING_LENGTH)
        s->left = (uint64_t)s->request->request->length;
    if (s->framing == GW_FRAMING_CHUNKED)
        s->chunk = gw_h1_chunked_new();
    s->in_done = s->framing == GW_FRAMING_NONE || (s->framing == GW_FRAMING_LENGTH && s->left == 0);
    s->client.user->on_request(&s->client, s->request, 0, NULL);
    return len;
}

/* ---- the body ---- */

void server_body_fault(struct gw_h1_server *s, uint16_t status, const char *why)
{
    s->in_done = true;
    s->keep_alive = false;
    s->framing = GW_FRAMING_CLOSE;
    gw_timer_clear(&s->pipe.timer);
    s->stream.events->on_fault(&s->stream, status, why);
}

/* Waiting for the body counts only while we were ready to take it. */
static bool too_slow(struct gw_h1_server *s)
{
    uint64_t waited = s->body_waited_ms + (server_now(s) - s->body_since_ms);

    return s->now->data_rate_min > 0 && waited > s->now->data_rate_grace_ms &&
           s->body_bytes * 1000 < s->now->data_rate_min * waited;
}

static void body_progress(struct gw_h1_server *s, size_t len)
{
    uint64_t now = server_now(s);

    s->body_waited_ms += (uint32_t)(now - s->body_since_ms);
    s->body_since_ms = now;
    s->body_bytes += len;
    if (gw_buf_len(&s->pipe.out) == 0)
        server_set_timer(s, s->now->body_timeout_ms);
}

static void body_done(struct gw_h1_server *s, struct gw_fields *trailers)
{
    s->in_done = true;
    if (gw_buf_len(&s->pipe.out) == 0)
        gw_timer_clear(&s->pipe.timer);
    s->stream.events->on_end(&s->stream, trailers);
}

static size_t consume_length(struct gw_h1_server *s, struct gw_str data)
{
    size_t len = data.len < s->left ? data.len : (size_t)s->left;

    s->left -= len;
    body_progress(s, len);
    s->stream.events->on_body(&s->stream, gw_str(data.data, len));
    if (s->left == 0 && s->request != NULL && !s->in_done)
        body_done(s, NULL);
    return len;
}

static size_t consume_chunked(struct gw_h1_server *s, struct gw_str data)
{
    struct gw_str rest = data, piece = GW_STR_NULL;
    struct gw_fields *trailers;
    const char *why = "bad chunk";
    enum gw_rc rc = gw_chunk_decode(&s->chunk->decoder, &rest, &piece, &s->chunk->lines);

    if (rc == GW_OK) {
        body_progress(s, piece.len);
        s->stream.events->on_body(&s->stream, piece);
        return data.len - rest.len;
    }
    if (rc == GW_AGAIN)
        return data.len;
    if (rc == GW_EOF) {
        if (piece.len == 0)
            piece = gw_buf_str(&s->chunk->lines);
        rc = gw_h1_trailers(piece, &s->client.limits->head, s->request->arena, &trailers, &why);
        if (rc == GW_OK) {
            body_done(s, trailers);
            return data.len - rest.len;
        }
    } else if (rc == GW_LIMIT) {
        why = "chunk extensions or trailers are too long";
    }
    server_body_fault(s, 400, why);
    return data.len;
}

static size_t consume_raw(struct gw_h1_server *s, struct gw_str data)
{
    s->stream.events->on_body(&s->stream, data);
    return data.len;
}

/* Nobody reads them, but who frames a body in its trailers is not trusted with another. */
static bool trailers_good(struct gw_h1_server *s, struct gw_str lines)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_fields *trailers;
    const char *why;
    enum gw_rc rc = gw_h1_trailers(lines, &s->client.limits->head, &arena, &trailers, &why);

    gw_arena_fini(&arena);
    return rc == GW_OK;
}

/* Nobody wants this body any more, but the connection may go on behind it. */
static size_t consume_discard(struct gw_h1_server *s, struct gw_str data)
{
    size_t len = data.len;
    enum gw_rc rc = GW_OK;

    if (s->framing == GW_FRAMING_LENGTH) {
        len = len < s->left ? len : (size_t)s->left;
        s->left -= len;
        rc = s->left == 0 ? GW_EOF : GW_OK;
    } else {
        struct gw_str rest = data, piece;
        rc = gw_chunk_decode(&s->chunk->decoder, &rest, &piece, &s->chunk->lines);
        len = data.len - rest.len;
        if (rc == GW_EOF && !trailers_good(s, piece.len > 0 ? piece : gw_buf_str(&s->chunk->lines)))
            rc = GW_PROTOCOL;
    }
    s->body_bytes += len;
    if (rc == GW_EOF)
        server_go_idle(s);
    else if ((rc != GW_OK && rc != GW_AGAIN) || s->body_bytes > GW_LINGER_BYTES_MAX)
        server_linger(s);
    return len;
}

/* ---- PROXY protocol ---- */

static size_t consume_proxy(struct gw_h1_server *s, struct gw_str data)
{
    struct gw_proxy_info info;
    size_t len = 0;
    enum gw_rc rc = gw_proxy_protocol_parse(data, &info, &len);

    if (rc == GW_AGAIN)
        return 0;
    if (rc != GW_OK) {
        gw_info("client: bad PROXY protocol header, connection closed");
        server_kill(s, GW_PROTOCOL, "bad PROXY protocol header");
        return data.len;
    }
    if (!info.local) {
        gw_address_v6((struct sockaddr *)&info.source, s->client.address);
        s->client.port = gw_address_port((struct sockaddr *)&info.source);
        s->client.unix_peer = info.source.ss_family == AF_UNIX;
    }
    s->state = SV_IDLE;
    server_set_timer(s, s->client.limits->header_timeout_ms);
    if (s->client.limits->tls) {
        /* Who may not come in is not worth a handshake. */
        if (!s->client.user->on_peer(&s->client))
            server_kill(s, GW_LIMIT, "too many connections");
        else
            server_begin_tls(s, gw_str(data.data + len, data.len - len));
        return data.len;
    }
    if (!s->client.user->on_peer(&s->client))
        server_refuse(s);
    return len;
}

/* ---- reading ---- */

static bool wants(const struct gw_h1_server *s)
{
    switch (s->state) {
    case SV_PROXY:
    case SV_IDLE:
    case SV_HEAD:
    case SV_DISCARD:
        return true;
    case SV_BUSY:
        return !s->in_done && !s->pipe.paused;
    case SV_RAW:
        return !s->pipe.paused && !s->in_done;
    default:
        return false;
    }
}

static size_t consume(struct gw_h1_server *s, struct gw_str data)
{
    switch (s->state) {
    case SV_PROXY:
        return consume_proxy(s, data);
    case SV_IDLE:
    case SV_HEAD:
        return consume_head(s, data);
    case SV_RAW:
        return consume_raw(s, data);
    case SV_DISCARD:
        return consume_discard(s, data);
    default:
        return s->framing == GW_FRAMING_LENGTH ? consume_length(s, data) : consume_chunked(s, data);
    }
}

/* Hands bytes on until nobody wants more; the rest is the caller's to keep. An answer that
 * leaves with the flush makes room for the next request of the same data. */
static size_t feed(struct gw_h1_server *s, struct gw_str data)
{
    size_t taken = 0;

    while (taken < data.len) {
        size_t len = 0;
        if (wants(s))
            len = consume(s, gw_str(data.data + taken, data.len - taken));
        taken += len;
        if (len == 0 || !wants(s)) {
            gw_h1_out_flush(s->pipe.h1);
            if (len == 0 || !wants(s))
                break;
        }
    }
    gw_h1_out_flush(s->pipe.h1);
    return taken;
}

static void server_eof(struct gw_h1_server *s)
{
    if (s->state == SV_BUSY && s->in_done) {
        /* It has asked and may still listen; or it has gone. The answer, or its absence
         * within the time, will tell. */
        s->half_closed = true;
        if (gw_buf_len(&s->pipe.out) == 0 && !s->awaits_room)
            server_set_timer(s, s->client.limits->half_close_timeout_ms);
        return;
    }
    if (s->state == SV_RAW) {
        s->in_done = true;
        s->stream.events->on_end(&s->stream, NULL);
        gw_h1_out_flush(s->pipe.h1);
        /* We have ended our side before: nothing will be written that could tell of the end. */
        if (s->state == SV_RAW && s->out_done && gw_buf_len(&s->pipe.out) == 0)
            server_kill(s, GW_EOF, "done");
        return;
    }
    server_kill(s, s->state == SV_BUSY ? GW_CLOSED : GW_EOF, "client closed the connection");
}

static void linger_read(struct gw_h1_server *s)
{
    size_t got;

    for (unsigned reads = 0; reads < 8 && s->pipe.conn.readable; reads++) {
        enum gw_rc rc = gw_conn_read(&s->pipe.conn, gw_loop_buffer(s->pipe.h1->loop),
                                     GW_LOOP_BUFFER_BYTES, &got);
        if (rc == GW_AGAIN)
            return;
        if (rc == GW_OK)
            s->left += got;
        if (rc != GW_OK || s->left > GW_LINGER_BYTES_MAX) {
            server_close(s, rc != GW_EOF);
            return;
        }
    }
    if (s->pipe.conn.readable)
        gw_later(s->pipe.h1->loop, &s->pipe.later);
}

/* Did feed() end the connection? What it was fed with is nobody's any more. */
static bool over(struct gw_h1_server *s)
{
    if (s->state == SV_LINGER)
        gw_buf_fini(&s->pipe.in);
    return s->state == SV_LINGER || s->state == SV_CLOSED;
}

/* One read and what follows from it. False: nothing more to do now. */
static bool read_once(struct gw_h1_server *s)
{
    char *buffer = gw_loop_buffer(s->pipe.h1->loop);
    size_t got = 0, taken;
    enum gw_rc rc;

    if (gw_buf_len(&s->pipe.in) > 0) {
        taken = feed(s, gw_buf_str(&s->pipe.in));
        if (over(s))
            return false;
        gw_buf_consume(&s->pipe.in, taken);
        if (gw_buf_len(&s->pipe.in) == 0)
            gw_buf_fini(&s->pipe.in);
    }
    if (!wants(s) || !s->pipe.conn.readable)
        return false;
    rc = gw_conn_read(&s->pipe.conn, buffer, GW_LOOP_BUFFER_BYTES, &got);
    if (rc == GW_AGAIN)
        return false;
    if (rc == GW_EOF) {
        server_eof(s);
        return false;
    }
    if (rc != GW_OK) {
        server_kill(s, GW_CLOSED, "client reset the connection");
        return false;
    }
    if (gw_buf_len(&s->pipe.in) > 0) {
        gw_buf_add(&s->pipe.in, buffer, got);
        return true;
    }
    taken = feed(s, gw_str(buffer, got));
    if (over(s))
        return false;
    gw_buf_add(&s->pipe.in, buffer + taken, got - taken);
    if (s->state == SV_BUSY && !s->in_done && !s->pipe.paused && too_slow(s)) {
        server_body_fault(s, 408, "the body came slower than data_rate_min");
        gw_h1_out_flush(s->pipe.h1);
        return false;
    }
    return s->pipe.conn.readable;
}

void server_peek(struct gw_h1_server *s)
{
    char byte;
    int error = 0;
    socklen_t size = sizeof(error);
    ssize_t len = recv(s->pipe.conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* Early bytes hide a reset behind them. */
    if (len > 0)
        (void)getsockopt(s->pipe.conn.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (len < 0 || error != 0)
        server_kill(s, GW_CLOSED, "client reset the connection");
    else if ((len == 0 || s->pipe.conn.hangup) && !s->half_closed)
        server_eof(s);
}

void server_raw_hangup(struct gw_h1_server *s)
{
    char byte;
    int error = 0;
    socklen_t size = sizeof(error);
    ssize_t len = recv(s->pipe.conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len > 0)
        (void)getsockopt(s->pipe.conn.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (len < 0 || error != 0)
        server_kill(s, GW_CLOSED, "client reset the connection");
    else if (len == 0 && gw_buf_len(&s->pipe.in) == 0 && !s->in_done)
        server_eof(s);
}

void server_read(struct gw_h1_server *s)
{
    unsigned reads = 0;

    if (s->pipe.feeding)
        return;
    if (s->state == SV_LINGER) {
        linger_read(s);
        return;
    }
    s->pipe.feeding = true;
    while (read_once(s))
        if (++reads >= GW_READS_PER_TURN) {
            gw_later(s->pipe.h1->loop, &s->pipe.later); /* others want their turn */
            break;
        }
    s->pipe.feeding = false;
    /* A pipelined request that became wanted by the last flush. */
    if (s->state != SV_CLOSED && wants(s) && s->state != SV_HEAD && s->state != SV_PROXY &&
        gw_buf_len(&s->pipe.in) > 0)
        gw_later(s->pipe.h1->loop, &s->pipe.later);
    /* The end came together with the request: no edge will tell of it again. */
    if (s->state == SV_BUSY && s->in_done && s->pipe.conn.hangup)
        server_peek(s);
}
