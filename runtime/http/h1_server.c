/* The client's side. Bytes go from the worker's buffer straight to whoever wants them; what
 * nobody wants yet (the head is not complete, the body is paused, the next request came
 * early) waits in pipe.in, and no more is read until it is wanted.
 *
 *   PROXY -> IDLE -> HEAD -> BUSY -> IDLE …        one request after the other
 *                             BUSY -> DISCARD -> IDLE   answered before the body had come
 *                             BUSY -> RAW          after 101
 *                             BUSY -> LINGER       we close, the client may still be sending
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "http/files.h"
#include "http/h1.h"
#include "http/h1_out.h"
#include "http/proxy_protocol.h"

enum { SV_PROXY, SV_IDLE, SV_HEAD, SV_BUSY, SV_DISCARD, SV_LINGER, SV_RAW, SV_CLOSED };

static void server_read(struct gw_h1_server *s);
static void server_close(struct gw_h1_server *s, bool hard);

static uint64_t now_of(struct gw_h1_server *s)
{
    return gw_loop_now_ms(s->pipe.h1->loop);
}

static void set_timer(struct gw_h1_server *s, uint32_t after_ms)
{
    if (after_ms == 0)
        gw_timer_clear(&s->pipe.timer);
    else
        gw_timer_set(s->pipe.h1->loop, &s->pipe.timer, now_of(s) + after_ms);
}

static struct gw_h1_server *server_of_pipe(struct gw_pipe *pipe)
{
    return GW_CONTAINER(pipe, struct gw_h1_server, pipe);
}

struct gw_h1_server *gw_h1_server_of(struct gw_stream *stream)
{
    return GW_CONTAINER(stream, struct gw_h1_server, stream);
}

/* The connection is dead while a request may be under way. */
static void server_kill(struct gw_h1_server *s, enum gw_rc rc, const char *why)
{
    if (s->state == SV_CLOSED)
        return;
    s->now = s->limits;
    if (s->request != NULL) {
        s->request = NULL;
        s->stream.events->on_reset(&s->stream, rc, why);
    }
    server_close(s, rc != GW_EOF);
}

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

/* A connection that we have no memory for: the shortest answer there is. */
static void refuse(struct gw_h1_server *s)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                                 "Retry-After: 1\r\nConnection: close\r\n\r\n";

    s->state = SV_LINGER;
    gw_h1_out_text(&s->pipe, answer, sizeof(answer) - 1);
}

static bool begin_request(struct gw_h1_server *s)
{
    begin_busy(s);
    s->requests++;
    s->request = s->user->on_request_new(s);
    if (s->request == NULL) {
        refuse(s);
        return false;
    }
    s->request->stream = &s->stream;
    return true;
}

/* The head, or the lack of it, deserves an answer of its own. */
static void head_fault(struct gw_h1_server *s, uint16_t status, const char *why)
{
    if (s->request == NULL && !begin_request(s))
        return;
    s->in_done = true;
    s->keep_alive = false;
    s->framing = GW_FRAMING_CLOSE; /* what follows is not to be understood: linger */
    s->user->on_request(s, s->request, status != 0 ? status : 400, why);
}

static size_t consume_head(struct gw_h1_server *s, struct gw_str data)
{
    size_t seen = s->seen, len = 0;
    uint16_t status = 400;
    const char *why = "bad request head";
    enum gw_rc rc = gw_head_find(data, &s->limits->head, &seen, &len, &status);
    char *copy;

    if (rc == GW_AGAIN) {
        s->seen = (uint32_t)seen;
        if (s->state == SV_IDLE) {
            s->state = SV_HEAD;
            set_timer(s, s->limits->header_timeout_ms);
        }
        return 0;
    }
    if (rc != GW_OK) {
        head_fault(s, status, why);
        return data.len;
    }
    if (!begin_request(s))
        return data.len;
    copy = gw_arena_alloc(s->request->arena, len);
    memcpy(copy, data.data, len);
    rc = gw_head_parse_request(gw_str(copy, len), &s->limits->head, s->request->arena,
                               s->request->request, &s->request->head, &status, &why);
    s->minor = s->request->request->minor;
    if (rc != GW_OK) {
        head_fault(s, status, why);
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
    s->user->on_request(s, s->request, 0, NULL);
    return len;
}

/* ---- the body ---- */

static void body_fault(struct gw_h1_server *s, uint16_t status, const char *why)
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
    uint64_t waited = s->body_waited_ms + (now_of(s) - s->body_since_ms);

    return s->now->data_rate_min > 0 && waited > s->now->data_rate_grace_ms &&
           s->body_bytes * 1000 < s->now->data_rate_min * waited;
}

static void body_progress(struct gw_h1_server *s, size_t len)
{
    uint64_t now = now_of(s);

    s->body_waited_ms += (uint32_t)(now - s->body_since_ms);
    s->body_since_ms = now;
    s->body_bytes += len;
    if (gw_buf_len(&s->pipe.out) == 0)
        set_timer(s, s->now->body_timeout_ms);
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
        rc = gw_h1_trailers(piece, &s->limits->head, s->request->arena, &trailers, &why);
        if (rc == GW_OK) {
            body_done(s, trailers);
            return data.len - rest.len;
        }
    } else if (rc == GW_LIMIT) {
        why = "chunk extensions or trailers are too long";
    }
    body_fault(s, 400, why);
    return data.len;
}

static size_t consume_raw(struct gw_h1_server *s, struct gw_str data)
{
    s->stream.events->on_body(&s->stream, data);
    return data.len;
}

static void start_linger(struct gw_h1_server *s);
static void go_idle(struct gw_h1_server *s);

/* Nobody reads them, but who frames a body in its trailers is not trusted with another. */
static bool trailers_good(struct gw_h1_server *s, struct gw_str lines)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_fields *trailers;
    const char *why;
    enum gw_rc rc = gw_h1_trailers(lines, &s->limits->head, &arena, &trailers, &why);

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
        go_idle(s);
    else if ((rc != GW_OK && rc != GW_AGAIN) || s->body_bytes > GW_LINGER_BYTES_MAX)
        start_linger(s);
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
        gw_address_v6((struct sockaddr *)&info.source, s->address);
        s->port = gw_address_port((struct sockaddr *)&info.source);
        s->unix_peer = info.source.ss_family == AF_UNIX;
    }
    s->state = SV_IDLE;
    set_timer(s, s->limits->header_timeout_ms);
    if (!s->user->on_peer(s))
        refuse(s);
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
        if (!s->head_sent)
            set_timer(s, s->limits->half_close_timeout_ms);
        return;
    }
    if (s->state == SV_RAW) {
        s->in_done = true;
        s->stream.events->on_end(&s->stream, NULL);
        gw_h1_out_flush(s->pipe.h1);
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
        body_fault(s, 408, "the body came slower than data_rate_min");
        gw_h1_out_flush(s->pipe.h1);
        return false;
    }
    return s->pipe.conn.readable;
}

/* The request is complete and yet there is news: early bytes, an end, or a reset? */
static void peek(struct gw_h1_server *s)
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

static void server_read(struct gw_h1_server *s)
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
        peek(s);
}

static void on_conn(struct gw_conn *conn, unsigned what)
{
    struct gw_h1_server *s = GW_CONTAINER(conn, struct gw_h1_server, pipe.conn);

    if ((what & GW_CONN_WRITE) != 0 && gw_buf_len(&s->pipe.out) > 0) {
        enum gw_rc rc = gw_h1_out_resume(&s->pipe);
        if (rc == GW_CLOSED) {
            server_kill(s, GW_CLOSED, "client closed the connection");
            return;
        }
        if (rc == GW_OK) {
            bool blocked = s->pipe.blocked;
            s->pipe.blocked = false;
            set_timer(s, s->state == SV_BUSY && !s->in_done && !s->pipe.paused
                             ? s->now->body_timeout_ms
                             : 0);
            if (blocked && s->request != NULL)
                s->stream.events->on_drained(&s->stream);
            if (s->state != SV_CLOSED)
                s->pipe.side->written(&s->pipe);
            gw_h1_out_flush(s->pipe.h1);
            if (s->state == SV_CLOSED)
                return;
        }
    }
    if ((what & GW_CONN_WRITE) != 0 && s->awaits_room) {
        s->awaits_room = false;
        gw_timer_clear(&s->pipe.timer);
        if (s->request != NULL)
            s->stream.events->on_drained(&s->stream);
        gw_h1_out_flush(s->pipe.h1);
    }
    if ((what & (GW_CONN_READ | GW_CONN_HANGUP)) == 0 || s->state == SV_CLOSED)
        return;
    if (s->state == SV_BUSY && s->in_done)
        peek(s);
    else
        server_read(s);
}

static void on_timer(struct gw_timer *timer)
{
    struct gw_h1_server *s = GW_CONTAINER(timer, struct gw_h1_server, pipe.timer);

    if (gw_buf_len(&s->pipe.out) > 0 || s->awaits_room) {
        server_kill(s, GW_TIMEOUT, "client takes no data");
    } else if (s->state == SV_HEAD) {
        head_fault(s, 408, "the head took too long");
        gw_h1_out_flush(s->pipe.h1);
    } else if (s->state == SV_BUSY && !s->in_done) {
        body_fault(s, 408, "the body took too long");
        gw_h1_out_flush(s->pipe.h1);
    } else if (s->state == SV_BUSY && s->half_closed && !s->head_sent) {
        server_kill(s, GW_CLOSED, "client went away");
    } else if (s->state != SV_BUSY) {
        server_kill(s, GW_EOF, "idle for too long");
    }
}

static void on_later(struct gw_later *later)
{
    struct gw_h1_server *s = GW_CONTAINER(later, struct gw_h1_server, pipe.later);

    if (s->state == SV_CLOSED) {
        s->user->on_freed(s);
        free(s);
        return;
    }
    if (s->pipe.write_dead) {
        server_kill(s, GW_CLOSED, "client closed the connection");
        return;
    }
    if (s->yields) {
        s->yields = false;
        if (s->request != NULL)
            s->stream.events->on_drained(&s->stream);
        gw_h1_out_flush(s->pipe.h1);
        return;
    }
    server_read(s);
}

/* ---- output ---- */

static void start_linger(struct gw_h1_server *s)
{
    s->state = SV_LINGER;
    s->left = 0;
    gw_conn_shutdown(&s->pipe.conn);
    if (!s->pipe.feeding)
        gw_buf_fini(&s->pipe.in); /* else feed() is reading it */
    set_timer(s, GW_LINGER_MS);
    gw_later(s->pipe.h1->loop, &s->pipe.later);
}

static void go_idle(struct gw_h1_server *s)
{
    gw_h1_chunked_free(s->chunk);
    s->chunk = NULL;
    s->state = SV_IDLE;
    s->half_closed = false;
    set_timer(s, s->limits->idle_timeout_ms);
    if (!s->pipe.feeding && (gw_buf_len(&s->pipe.in) > 0 || s->pipe.conn.readable))
        gw_later(s->pipe.h1->loop, &s->pipe.later);
}

/* The answer has left; what becomes of the connection? */
static void answer_done(struct gw_h1_server *s)
{
    bool clean = s->in_done && s->framing != GW_FRAMING_CLOSE;

    s->request = NULL;
    if (clean && s->keep_alive && !s->draining) {
        go_idle(s);
    } else if (!s->in_done && s->keep_alive && !s->draining) {
        s->state = SV_DISCARD;
        s->body_bytes = 0;
        s->pipe.paused = false;
        set_timer(s, s->now->body_timeout_ms);
        if (!s->pipe.feeding)
            gw_later(s->pipe.h1->loop, &s->pipe.later);
    } else if (clean && gw_buf_len(&s->pipe.in) == 0 && !s->pipe.conn.readable) {
        server_close(s, false);
    } else {
        start_linger(s);
    }
}

static void on_written(struct gw_pipe *pipe)
{
    struct gw_h1_server *s = server_of_pipe(pipe);

    if (s->state == SV_LINGER) {
        start_linger(s);
        return;
    }
    if (s->state == SV_RAW && s->out_done) {
        gw_conn_shutdown(&s->pipe.conn);
        if (s->in_done)
            server_kill(s, GW_EOF, "done");
        return;
    }
    if (s->state != SV_BUSY || !s->out_done || s->request == NULL)
        return;
    s->request = NULL;
    gw_h1_server_limits(s, s->limits);
    s->stream.events->on_sent(&s->stream);
    if (s->state == SV_BUSY)
        answer_done(s);
}

static void on_blocked(struct gw_pipe *pipe)
{
    struct gw_h1_server *s = server_of_pipe(pipe);

    if (s->request != NULL)
        s->stream.events->on_blocked(&s->stream);
}

/* Told later: whoever flushes is in the middle of something. */
static void on_broken(struct gw_pipe *pipe)
{
    gw_later(pipe->h1->loop, &pipe->later);
}

static const struct gw_pipe_side server_side = {on_written, on_blocked, on_broken};

static void status_line(struct gw_pipe *pipe, const struct gw_response *response)
{
    char line[13] = "HTTP/1.1 000 ";
    const char *reason = gw_status_reason(response->status);

    line[9] = (char)('0' + response->status / 100);
    line[10] = (char)('0' + response->status / 10 % 10);
    line[11] = (char)('0' + response->status % 10);
    gw_h1_out_text(pipe, line, sizeof(line));
    if (response->reason.len > 0)
        gw_h1_out_text(pipe, response->reason.data, response->reason.len);
    else
        gw_h1_out_text(pipe, reason, strlen(reason));
    gw_h1_out_text(pipe, "\r\n", 2);
}

#define BIT(id) (1ULL << (id))
#define FRAMING_FIELDS                                                                             \
    (BIT(GW_FIELD_CONTENT_LENGTH) | BIT(GW_FIELD_TRANSFER_ENCODING) | BIT(GW_FIELD_CONNECTION) |   \
     BIT(GW_FIELD_KEEP_ALIVE))

static void framing_lines(struct gw_h1_server *s, const struct gw_response *response)
{
    struct gw_pipe *pipe = &s->pipe;

    pipe->no_body_out = !response->has_body;
    if (response->length >= 0 && response->status != 204) {
        gw_h1_out_number(pipe, GW_STR("Content-Length: "), (uint64_t)response->length);
    } else if (!response->has_body) {
        return;
    } else if (s->minor >= 1) {
        pipe->chunked_out = true;
        gw_h1_out_text(pipe, "Transfer-Encoding: chunked\r\n", 28);
    } else {
        s->keep_alive = false; /* 1.0 knows an end of unknown length only by close */
    }
}

/* Ages spread by a tenth to both sides, so that a crowd does not come back at once. */
static uint64_t age_of(const struct gw_h1_server *s)
{
    uint64_t max = s->limits->age_max_ms;
    uint64_t chance = ((uintptr_t)s / 16 + s->born_ms) * 0x9e3779b97f4a7c15u >> 32;

    return max - max / 10 + chance % (max / 5 + 1);
}

static bool keeps(struct gw_h1_server *s)
{
    const struct gw_h1_limits *l = s->limits;

    if (!s->keep_alive || s->draining)
        return false;
    if (l->requests_max > 0 && s->requests >= l->requests_max)
        return false;
    return l->age_max_ms == 0 || now_of(s) - s->born_ms < age_of(s);
}

static void send_response(struct gw_stream *stream, const struct gw_response *response)
{
    struct gw_h1_server *s = gw_h1_server_of(stream);
    struct gw_pipe *pipe = &s->pipe;

    gw_h1_out_begin(pipe);
    s->head_sent = true;
    /* Whoever waits for 100 may send the body or not: the next bytes would be ambiguous. */
    s->keep_alive = keeps(s) && !(s->expects && !s->in_done);
    status_line(pipe, response);
    gw_h1_out_fields(pipe, &response->fields, FRAMING_FIELDS);
    if (gw_fields_known(&response->fields, GW_FIELD_DATE) == NULL)
        gw_h1_out_field(pipe, GW_STR("Date"), gw_h1_date(pipe->h1));
    if (response->status == 101) {
        gw_h1_out_text(pipe, "Connection: upgrade\r\n\r\n", 23);
        return;
    }
    framing_lines(s, response);
    if (!s->keep_alive)
        gw_h1_out_text(pipe, "Connection: close\r\n\r\n", 21);
    else if (s->minor == 0)
        gw_h1_out_text(pipe, "Connection: keep-alive\r\n\r\n", 26);
    else
        gw_h1_out_text(pipe, "\r\n", 2);
}

static void send_informational(struct gw_stream *stream, const struct gw_response *response)
{
    struct gw_h1_server *s = gw_h1_server_of(stream);

    if (s->minor == 0 || s->head_sent)
        return; /* 1.0 does not know them */
    gw_h1_out_begin(&s->pipe);
    status_line(&s->pipe, response);
    gw_h1_out_fields(&s->pipe, &response->fields, FRAMING_FIELDS);
    gw_h1_out_text(&s->pipe, "\r\n", 2);
}

static void send_body(struct gw_stream *stream, struct gw_str piece)
{
    gw_h1_out_body(&gw_h1_server_of(stream)->pipe, piece);
}

static void send_end(struct gw_stream *stream, const struct gw_fields *trailers)
{
    struct gw_h1_server *s = gw_h1_server_of(stream);

    gw_h1_out_begin(&s->pipe);
    gw_h1_out_end(&s->pipe, trailers);
    s->out_done = true;
}

static enum gw_rc send_file(struct gw_stream *stream, struct gw_files_body *body, size_t max,
                            size_t *sent)
{
    struct gw_h1_server *s = gw_h1_server_of(stream);
    enum gw_rc rc;

    if (s->pipe.chunked_out || gw_buf_len(&s->pipe.out) > 0)
        return GW_UNSUPPORTED;
    rc = gw_files_body_next(body, s->pipe.conn.fd, max, sent);
    if (rc == GW_AGAIN) {
        s->awaits_room = true;
        s->pipe.conn.writable = false;
        set_timer(s, s->now->send_timeout_ms);
    }
    return rc;
}

static void send_file_later(struct gw_stream *stream)
{
    struct gw_h1_server *s = gw_h1_server_of(stream);

    s->yields = true;
    gw_later(s->pipe.h1->loop, &s->pipe.later);
}

static void flush(struct gw_stream *stream)
{
    gw_h1_out_flush(gw_h1_server_of(stream)->pipe.h1);
}

static void pause_reading(struct gw_stream *stream)
{
    struct gw_h1_server *s = gw_h1_server_of(stream);

    if (s->pipe.paused)
        return;
    s->pipe.paused = true;
    if (s->state == SV_BUSY && !s->in_done) {
        s->body_waited_ms += (uint32_t)(now_of(s) - s->body_since_ms);
        if (gw_buf_len(&s->pipe.out) == 0)
            gw_timer_clear(&s->pipe.timer);
    }
}

static void resume_reading(struct gw_stream *stream)
{
    struct gw_h1_server *s = gw_h1_server_of(stream);

    if (!s->pipe.paused)
        return;
    s->pipe.paused = false;
    if (s->in_done && s->state != SV_RAW)
        return;
    if (s->expects && !s->head_sent && s->body_bytes == 0 && gw_buf_len(&s->pipe.in) == 0) {
        gw_h1_out_begin(&s->pipe);
        gw_h1_out_text(&s->pipe, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        gw_later(s->pipe.h1->loop, &s->pipe.later);
    }
    s->expects = false;
    if (s->state == SV_BUSY) {
        s->body_since_ms = now_of(s);
        if (gw_buf_len(&s->pipe.out) == 0)
            set_timer(s, s->now->body_timeout_ms);
    }
    if (!s->pipe.feeding)
        gw_later(s->pipe.h1->loop, &s->pipe.later);
}

static void reset(struct gw_stream *stream)
{
    struct gw_h1_server *s = gw_h1_server_of(stream);

    s->request = NULL;
    s->now = s->limits;
    server_close(s, true);
}

static const struct gw_stream_ops server_ops = {
    .send_response = send_response,
    .send_informational = send_informational,
    .send_body = send_body,
    .send_end = send_end,
    .send_file = send_file,
    .send_file_later = send_file_later,
    .flush = flush,
    .pause = pause_reading,
    .resume = resume_reading,
    .reset = reset,
};

/* ---- life ---- */

struct gw_h1_server *gw_h1_server_new(struct gw_h1 *h1, int fd,
                                      const struct gw_h1_server_user *user,
                                      struct gw_h1_limits *limits, const struct sockaddr *peer,
                                      void *user_data)
{
    struct gw_h1_server *s = calloc(1, sizeof(*s));

    if (s == NULL || gw_conn_open(&s->pipe.conn, h1->loop, fd, on_conn) != GW_OK) {
        free(s);
        return NULL;
    }
    s->pipe.conn.readable = false; /* the first edge tells */
    s->pipe.h1 = h1;
    s->pipe.side = &server_side;
    s->pipe.buffer_bytes_max = limits->buffer_bytes_max;
    s->pipe.send_timeout_ms = limits->send_timeout_ms;
    gw_timer_init(&s->pipe.timer, on_timer);
    gw_later_init(&s->pipe.later, on_later);
    s->stream.ops = &server_ops;
    s->user = user;
    s->user_data = user_data;
    s->limits = limits;
    s->now = limits;
    gw_list_init(&s->link);
    s->born_ms = gw_loop_now_ms(h1->loop);
    gw_address_v6(peer, s->address);
    s->port = gw_address_port(peer);
    s->unix_peer = peer->sa_family == AF_UNIX;
    s->state = limits->proxy_protocol ? SV_PROXY : SV_IDLE;
    set_timer(s, limits->header_timeout_ms);
    return s;
}

static void server_close(struct gw_h1_server *s, bool hard)
{
    struct gw_h1 *h1 = s->pipe.h1;

    if (s->state == SV_CLOSED)
        return;
    s->state = SV_CLOSED;
    s->pipe.closed = true;
    if (h1->owner == &s->pipe)
        h1->owner = NULL;
    if (hard)
        gw_conn_reset(&s->pipe.conn);
    else
        gw_conn_close(&s->pipe.conn);
    gw_timer_fini(h1->loop, &s->pipe.timer);
    gw_buf_fini(&s->pipe.in);
    gw_buf_fini(&s->pipe.out);
    gw_h1_chunked_free(s->chunk);
    s->chunk = NULL;
    s->user->on_closed(s);
    gw_later(h1->loop, &s->pipe.later);
}

void gw_h1_server_close(struct gw_h1_server *server, bool hard)
{
    server_kill(server, hard ? GW_CLOSED : GW_EOF, "the gateway stops");
}

void gw_h1_server_refuse(struct gw_h1_server *s)
{
    refuse(s);
    gw_h1_out_flush(s->pipe.h1);
}

bool gw_h1_server_idle(const struct gw_h1_server *server)
{
    return server->state == SV_IDLE || server->state == SV_PROXY;
}

void gw_h1_server_last(struct gw_h1_server *server)
{
    server->keep_alive = false;
}

void gw_h1_server_drain(struct gw_h1_server *server)
{
    server->draining = true;
    if ((gw_h1_server_idle(server) && gw_buf_len(&server->pipe.in) == 0) ||
        server->state == SV_DISCARD) /* for a request that may not come any more */
        start_linger(server);
}

void gw_h1_server_limits(struct gw_h1_server *server, const struct gw_h1_limits *limits)
{
    server->now = limits;
    server->pipe.send_timeout_ms = limits->send_timeout_ms;
    server->pipe.buffer_bytes_max = limits->buffer_bytes_max;
}

void gw_h1_server_raw(struct gw_h1_server *server)
{
    server->state = SV_RAW;
    server->in_done = false;
    server->pipe.chunked_out = server->pipe.no_body_out = false;
    gw_timer_clear(&server->pipe.timer);
}
