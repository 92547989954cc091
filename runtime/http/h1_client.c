/* The upstream's side. An upstream is judged as strictly as a client: what it says beyond
 * its answer, or beside the rules, ends the connection, and never reaches a client.
 *
 *   FREE -> HEAD -> BODY -> DONE -> PARKED -> HEAD …     one exchange after the other
 *           HEAD -> RAW                                  after 101
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"
#include "http/h1.h"
#include "http/h1_out.h"

enum { CL_FREE, CL_HEAD, CL_BODY, CL_DONE, CL_PARKED, CL_RAW, CL_CLOSED };

struct gw_h1_client *gw_h1_client_of(struct gw_stream *stream)
{
    return GW_CONTAINER(stream, struct gw_h1_client, up.stream);
}

static struct gw_h1_client *client_of_pipe(struct gw_pipe *pipe)
{
    return GW_CONTAINER(pipe, struct gw_h1_client, pipe);
}

static void set_timer(struct gw_h1_client *c, uint32_t after_ms)
{
    gw_timer_set(c->pipe.h1->loop, &c->pipe.timer, gw_loop_now_ms(c->pipe.h1->loop) + after_ms);
}

void gw_h1_client_close(struct gw_h1_client *c)
{
    struct gw_h1 *h1 = c->pipe.h1;

    if (c->state == CL_CLOSED)
        return;
    c->state = CL_CLOSED;
    c->pipe.closed = true;
    if (h1->owner == &c->pipe)
        h1->owner = NULL;
    gw_conn_close(&c->pipe.conn);
    gw_timer_fini(h1->loop, &c->pipe.timer);
    gw_buf_fini(&c->pipe.out); /* not `in`: a part of the answer may still point into it */
    gw_h1_chunked_free(c->chunk);
    c->chunk = NULL;
    gw_list_remove(&c->link);
    gw_later(h1->loop, &c->pipe.later); /* frees */
}

static void client_fail(struct gw_h1_client *c, enum gw_rc rc, const char *why)
{
    if (c->state == CL_CLOSED)
        return;
    if (c->state == CL_PARKED) {
        c->on_idle_end(c);
        return;
    }
    c->up.reusable = false;
    c->state = CL_DONE;
    c->up.stream.events->on_reset(&c->up.stream, rc, why);
}

/* ---- reading ---- */

static void finish(struct gw_h1_client *c, struct gw_fields *trailers, bool more_follows)
{
    c->up.reusable = c->head.keep_alive && c->request_sent && !more_follows &&
                     !c->pipe.write_dead && c->head.framing != GW_FRAMING_CLOSE &&
                     gw_buf_len(&c->pipe.out) == 0 && !c->pipe.conn.hangup;
    c->state = CL_DONE;
    gw_timer_clear(&c->pipe.timer);
    gw_h1_chunked_free(c->chunk);
    c->chunk = NULL;
    c->up.stream.events->on_end(&c->up.stream, trailers);
}

static bool informational(struct gw_h1_client *c)
{
    if (c->up.response->status >= 200)
        return false;
    if (c->up.response->status == 101) {
        if (c->asked_upgrade && c->head.upgrade)
            return false;
        client_fail(c, GW_PROTOCOL, "upstream switched protocols without being asked");
        return true;
    }
    if (++c->informational > GW_INFORMATIONAL_MAX) {
        client_fail(c, GW_PROTOCOL, "upstream sends 1xx without end");
        return true;
    }
    /* 100 is between us and the upstream; others are news for the client. */
    if (c->up.response->status != 100)
        c->up.stream.events->on_informational(&c->up.stream, c->up.response);
    return true;
}

static size_t consume_head(struct gw_h1_client *c, struct gw_str data)
{
    const char *why = "bad answer head";
    uint16_t status = 0;
    size_t len = 0;
    enum gw_rc rc;
    struct gw_str copy;

    c->up.got_bytes = true;
    rc = gw_head_find(data, &c->limits.head, &c->seen, &len, &status);
    if (rc == GW_AGAIN)
        return 0;
    c->seen = 0;
    if (rc != GW_OK) {
        client_fail(c, GW_PROTOCOL, rc == GW_LIMIT ? "upstream's head is too long" : why);
        return data.len;
    }
    copy = gw_arena_dup(c->up.arena, gw_str(data.data, len));
    rc = gw_head_parse_response(copy, &c->limits.head, c->method, c->up.arena, c->up.response,
                                &c->head, &why);
    if (rc != GW_OK) {
        client_fail(c, GW_PROTOCOL, why);
        return data.len;
    }
    set_timer(c, c->limits.read_timeout_ms);
    if (informational(c))
        return len;
    c->state = CL_BODY;
    if (c->head.framing == GW_FRAMING_LENGTH)
        c->left = (uint64_t)c->up.response->length;
    if (c->head.framing == GW_FRAMING_CHUNKED)
        c->chunk = gw_h1_chunked_new();
    c->up.stream.events->on_head(&c->up.stream);
    if (c->state == CL_BODY && (c->head.framing == GW_FRAMING_NONE ||
                                (c->head.framing == GW_FRAMING_LENGTH && c->left == 0)))
        finish(c, NULL, len < data.len);
    return len;
}

static size_t consume_chunked(struct gw_h1_client *c, struct gw_str data)
{
    struct gw_str rest = data, piece = GW_STR_NULL;
    struct gw_fields *trailers;
    const char *why = "upstream sent a bad chunk";
    enum gw_rc rc = gw_chunk_decode(&c->chunk->decoder, &rest, &piece, &c->chunk->lines);

    if (rc == GW_OK) {
        c->up.stream.events->on_body(&c->up.stream, piece);
        return data.len - rest.len;
    }
    if (rc == GW_AGAIN)
        return data.len;
    if (rc == GW_EOF) {
        if (piece.len == 0)
            piece = gw_buf_str(&c->chunk->lines);
        rc = gw_h1_trailers(piece, &c->limits.head, c->up.arena, &trailers, &why);
        if (rc == GW_OK) {
            finish(c, trailers, rest.len > 0);
            return data.len - rest.len;
        }
    }
    client_fail(c, GW_PROTOCOL, why);
    return data.len;
}

static size_t consume_body(struct gw_h1_client *c, struct gw_str data)
{
    size_t len = data.len;

    if (c->head.framing == GW_FRAMING_CHUNKED)
        return consume_chunked(c, data);
    if (c->head.framing == GW_FRAMING_LENGTH && len > c->left)
        len = (size_t)c->left;
    c->left -= c->head.framing == GW_FRAMING_LENGTH ? len : 0;
    c->up.stream.events->on_body(&c->up.stream, gw_str(data.data, len));
    if (c->state == CL_BODY && c->head.framing == GW_FRAMING_LENGTH && c->left == 0)
        finish(c, NULL, len < data.len);
    return len;
}

static bool wants(const struct gw_h1_client *c)
{
    return c->state == CL_HEAD || ((c->state == CL_BODY || c->state == CL_RAW) && !c->pipe.paused);
}

static size_t feed(struct gw_h1_client *c, struct gw_str data)
{
    size_t taken = 0;

    while (taken < data.len && wants(c)) {
        struct gw_str rest = gw_str(data.data + taken, data.len - taken);
        size_t len = rest.len;
        if (c->state == CL_HEAD)
            len = consume_head(c, rest);
        else if (c->state == CL_BODY)
            len = consume_body(c, rest);
        else
            c->up.stream.events->on_body(&c->up.stream, rest);
        if (len == 0)
            break;
        taken += len;
    }
    /* The slices that were handed on are good until here. */
    gw_h1_out_flush(c->pipe.h1);
    return taken;
}

static void client_eof(struct gw_h1_client *c)
{
    if (c->state == CL_BODY && c->head.framing == GW_FRAMING_CLOSE)
        finish(c, NULL, false);
    else if (c->state == CL_RAW)
        c->up.stream.events->on_end(&c->up.stream, NULL);
    else if (c->state == CL_HEAD && !c->up.got_bytes)
        client_fail(c, GW_CLOSED, "upstream closed the connection before its answer");
    else
        client_fail(c, GW_PROTOCOL, "upstream closed the connection in the middle of its answer");
    gw_h1_out_flush(c->pipe.h1);
}

static bool alive(const struct gw_h1_client *c)
{
    return c->state == CL_HEAD || c->state == CL_BODY || c->state == CL_RAW;
}

static bool read_once(struct gw_h1_client *c)
{
    char *buffer = gw_loop_buffer(c->pipe.h1->loop);
    size_t got = 0, taken;
    enum gw_rc rc;

    if (gw_buf_len(&c->pipe.in) > 0) {
        taken = feed(c, gw_buf_str(&c->pipe.in));
        if (!alive(c))
            return false;
        gw_buf_consume(&c->pipe.in, taken);
        if (gw_buf_len(&c->pipe.in) == 0)
            gw_buf_fini(&c->pipe.in);
    }
    if (!wants(c) || !c->pipe.conn.readable)
        return false;
    rc = gw_conn_read(&c->pipe.conn, buffer, GW_LOOP_BUFFER_BYTES, &got);
    if (rc == GW_AGAIN)
        return false;
    if (rc == GW_EOF) {
        client_eof(c);
        return false;
    }
    if (rc != GW_OK) {
        client_fail(c, c->up.got_bytes ? GW_PROTOCOL : GW_CLOSED, "upstream reset the connection");
        gw_h1_out_flush(c->pipe.h1);
        return false;
    }
    if (c->state != CL_HEAD) /* whose bytes may not come one by one for ever */
        set_timer(c, c->limits.read_timeout_ms);
    if (gw_buf_len(&c->pipe.in) > 0) {
        gw_buf_add(&c->pipe.in, buffer, got);
        return true;
    }
    taken = feed(c, gw_str(buffer, got));
    if (!alive(c))
        return false;
    gw_buf_add(&c->pipe.in, buffer + taken, got - taken);
    return c->pipe.conn.readable;
}

static void client_read(struct gw_h1_client *c)
{
    unsigned reads = 0;

    if (c->pipe.feeding || !alive(c))
        return;
    c->pipe.feeding = true;
    while (read_once(c))
        if (++reads >= GW_READS_PER_TURN) {
            gw_later(c->pipe.h1->loop, &c->pipe.later);
            break;
        }
    c->pipe.feeding = false;
}

static void on_writable(struct gw_h1_client *c)
{
    enum gw_rc rc = gw_h1_out_resume(&c->pipe);

    if (rc == GW_CLOSED) {
        /* It takes no more, but an answer may be on its way (413 and close). */
        gw_buf_fini(&c->pipe.out);
        c->pipe.conn.readable = true;
        c->up.stream.events->on_refused(&c->up.stream);
    } else if (rc == GW_OK) {
        bool blocked = c->pipe.blocked;
        c->pipe.blocked = false;
        set_timer(c, c->limits.read_timeout_ms);
        if (blocked)
            c->up.stream.events->on_drained(&c->up.stream);
        else if (c->state == CL_RAW)
            c->pipe.side->written(&c->pipe);
    }
}

/* A ticket or a change of keys is no message. */
static bool only_tls(struct gw_conn *conn)
{
    char byte;
    size_t got;

    return conn->tls != NULL && gw_conn_read(conn, &byte, 1, &got) == GW_AGAIN;
}

static void on_conn(struct gw_conn *conn, unsigned what)
{
    struct gw_h1_client *c = GW_CONTAINER(conn, struct gw_h1_client, pipe.conn);

    if (c->state == CL_PARKED) {
        /* Nothing may come now: it closes, or it breaks the rules. */
        if ((what & (GW_CONN_READ | GW_CONN_HANGUP)) != 0 && !only_tls(conn))
            c->on_idle_end(c);
        return;
    }
    if (what & GW_CONN_FAILED) {
        client_fail(c, gw_conn_fault_rc(conn), gw_conn_fault(conn));
        gw_h1_out_flush(c->pipe.h1);
        return;
    }
    if (what & GW_CONN_CONNECTED)
        c->up.connected = true;
    if ((what & (GW_CONN_WRITE | GW_CONN_CONNECTED)) != 0 && gw_buf_len(&c->pipe.out) > 0 &&
        alive(c))
        on_writable(c);
    if ((what & (GW_CONN_READ | GW_CONN_HANGUP)) != 0 || c->pipe.conn.readable)
        client_read(c);
    gw_h1_out_flush(c->pipe.h1);
}

static void on_timer(struct gw_timer *timer)
{
    struct gw_h1_client *c = GW_CONTAINER(timer, struct gw_h1_client, pipe.timer);

    if (c->state == CL_PARKED)
        c->on_idle_end(c);
    else if (!c->up.connected && c->pipe.conn.connecting)
        client_fail(c, GW_TIMEOUT, "connecting took too long");
    else if (gw_buf_len(&c->pipe.out) > 0)
        client_fail(c, GW_TIMEOUT, "upstream takes no data");
    else if (c->state == CL_HEAD && !c->request_sent)
        ; /* it waits for us: the body's own times count, and its end sets this timer anew */
    else if (alive(c) && !c->pipe.paused && c->state != CL_RAW)
        client_fail(c, GW_TIMEOUT, c->state == CL_HEAD ? "no answer in time" : "answer stopped");
    gw_h1_out_flush(c->pipe.h1);
}

static void on_later(struct gw_later *later)
{
    struct gw_h1_client *c = GW_CONTAINER(later, struct gw_h1_client, pipe.later);

    if (c->state == CL_CLOSED) {
        gw_buf_fini(&c->pipe.in);
        free(c);
        return;
    }
    if (c->pipe.write_dead && alive(c)) {
        gw_buf_fini(&c->pipe.out);
        c->pipe.conn.readable = true;
        c->up.stream.events->on_refused(&c->up.stream);
    }
    client_read(c);
    gw_h1_out_flush(c->pipe.h1);
}

/* ---- output ---- */

static void on_written(struct gw_pipe *pipe)
{
    struct gw_h1_client *c = client_of_pipe(pipe);

    if (c->state == CL_RAW && c->request_sent)
        gw_conn_shutdown(&pipe->conn);
    else if (alive(c) && c->state != CL_RAW)
        set_timer(c, c->limits.read_timeout_ms);
}

static void on_blocked(struct gw_pipe *pipe)
{
    struct gw_h1_client *c = client_of_pipe(pipe);

    if (alive(c))
        c->up.stream.events->on_blocked(&c->up.stream);
}

static void on_broken(struct gw_pipe *pipe)
{
    gw_later(pipe->h1->loop, &pipe->later);
}

static const struct gw_pipe_side client_side = {on_written, on_blocked, on_broken};

#define BIT(id) (1ULL << (id))
#define OWN_FIELDS                                                                                 \
    (BIT(GW_FIELD_HOST) | BIT(GW_FIELD_CONTENT_LENGTH) | BIT(GW_FIELD_TRANSFER_ENCODING) |         \
     BIT(GW_FIELD_CONNECTION) | BIT(GW_FIELD_KEEP_ALIVE) | BIT(GW_FIELD_TE) |                      \
     BIT(GW_FIELD_UPGRADE) | BIT(GW_FIELD_EXPECT))

static void request_line(struct gw_pipe *pipe, const struct gw_out_request *request)
{
    gw_h1_out_text(pipe, request->method.data, request->method.len);
    gw_h1_out_text(pipe, " ", 1);
    gw_h1_out_text(pipe, request->path.data, request->path.len);
    if (request->query.data != NULL) {
        gw_h1_out_text(pipe, "?", 1);
        gw_h1_out_text(pipe, request->query.data, request->query.len);
    }
    gw_h1_out_text(pipe, " HTTP/1.1\r\nHost: ", 17);
    gw_h1_out_text(pipe, request->authority.data, request->authority.len);
    gw_h1_out_text(pipe, "\r\n", 2);
}

static void send_request(struct gw_stream *stream, const struct gw_out_request *request)
{
    struct gw_h1_client *c = gw_h1_client_of(stream);
    struct gw_pipe *pipe = &c->pipe;

    gw_h1_out_begin(pipe);
    c->method = gw_method_of(request->method);
    c->asked_upgrade = request->upgrade.len > 0;
    pipe->no_body_out = !request->has_body;
    pipe->chunked_out = request->has_body && request->length < 0;
    request_line(pipe, request);
    gw_h1_out_fields(pipe, request->fields, OWN_FIELDS);
    if (pipe->chunked_out)
        gw_h1_out_text(pipe, "Transfer-Encoding: chunked\r\n", 28);
    else if (request->has_body)
        gw_h1_out_number(pipe, GW_STR("Content-Length: "), (uint64_t)request->length);
    else if (c->method == GW_METHOD_POST || c->method == GW_METHOD_PUT ||
             c->method == GW_METHOD_PATCH)
        gw_h1_out_text(pipe, "Content-Length: 0\r\n", 19); /* they are expected to have one */
    if (request->te_trailers)
        gw_h1_out_text(pipe, "TE: trailers\r\n", 14);
    if (c->asked_upgrade) {
        gw_h1_out_field(pipe, GW_STR("Upgrade"), request->upgrade);
        gw_h1_out_text(pipe, "Connection: upgrade\r\n\r\n", 23);
    } else if (request->te_trailers) {
        gw_h1_out_text(pipe, "Connection: te\r\n\r\n", 18);
    } else {
        gw_h1_out_text(pipe, "\r\n", 2);
    }
}

static void send_body(struct gw_stream *stream, struct gw_str piece)
{
    gw_h1_out_body(&gw_h1_client_of(stream)->pipe, piece);
}

static void send_end(struct gw_stream *stream, const struct gw_fields *trailers)
{
    struct gw_h1_client *c = gw_h1_client_of(stream);

    gw_h1_out_begin(&c->pipe);
    gw_h1_out_end(&c->pipe, trailers);
    c->request_sent = true;
}

static void flush(struct gw_stream *stream)
{
    gw_h1_out_flush(gw_h1_client_of(stream)->pipe.h1);
}

static void pause_reading(struct gw_stream *stream)
{
    struct gw_h1_client *c = gw_h1_client_of(stream);

    c->pipe.paused = true;
}

static void resume_reading(struct gw_stream *stream)
{
    struct gw_h1_client *c = gw_h1_client_of(stream);

    if (!c->pipe.paused)
        return;
    c->pipe.paused = false;
    if (alive(c))
        set_timer(c, c->limits.read_timeout_ms);
    if (!c->pipe.feeding && (c->pipe.conn.readable || gw_buf_len(&c->pipe.in) > 0))
        gw_later(c->pipe.h1->loop, &c->pipe.later);
}

static void reset(struct gw_stream *stream)
{
    gw_h1_client_close(gw_h1_client_of(stream));
}

static void raw(struct gw_stream *stream)
{
    struct gw_h1_client *c = gw_h1_client_of(stream);

    c->state = CL_RAW;
    c->request_sent = false;
    c->pipe.chunked_out = c->pipe.no_body_out = false;
    gw_timer_clear(&c->pipe.timer);
}

static bool waiting(struct gw_stream *stream)
{
    return gw_buf_len(&gw_h1_client_of(stream)->pipe.out) > 0;
}

static bool blocked(struct gw_stream *stream)
{
    return gw_h1_client_of(stream)->pipe.blocked;
}

static const struct gw_stream_ops client_ops = {
    .send_request = send_request,
    .send_body = send_body,
    .send_end = send_end,
    .flush = flush,
    .pause = pause_reading,
    .resume = resume_reading,
    .reset = reset,
    .raw = raw,
    .waiting = waiting,
    .blocked = blocked,
};

/* ---- life ---- */

enum gw_rc gw_h1_client_new(struct gw_h1 *h1, const struct sockaddr *address, socklen_t len,
                            const struct gw_upstream_limits *limits,
                            const struct gw_tls_target *tls, struct gw_h1_client **out)
{
    struct gw_h1_client *c = calloc(1, sizeof(*c));
    enum gw_rc rc;

    if (c == NULL)
        return GW_NOMEM;
    rc = gw_conn_connect(&c->pipe.conn, h1->loop, address, len, on_conn);
    if (rc == GW_OK && tls != NULL) {
        rc = gw_tls_connect(&c->pipe.conn, tls);
        if (rc != GW_OK)
            gw_conn_close(&c->pipe.conn);
    }
    if (rc != GW_OK) {
        free(c);
        return rc;
    }
    c->pipe.h1 = h1;
    c->pipe.side = &client_side;
    c->pipe.buffer_bytes_max = limits->buffer_bytes_max;
    c->pipe.send_timeout_ms = limits->send_timeout_ms;
    c->limits = *limits;
    c->up.stream.ops = &client_ops;
    gw_list_init(&c->link);
    gw_timer_init(&c->pipe.timer, on_timer);
    gw_later_init(&c->pipe.later, on_later);
    set_timer(c, limits->connect_timeout_ms);
    *out = c;
    return GW_OK;
}

void gw_h1_client_begin(struct gw_h1_client *c)
{
    assert(c->state == CL_FREE || c->state == CL_PARKED);
    c->state = CL_HEAD;
    c->up.reused = c->requests++ > 0;
    c->up.got_bytes = c->up.reusable = false;
    c->request_sent = c->asked_upgrade = false;
    c->informational = 0;
    c->seen = 0;
    c->pipe.paused = false;
    c->pipe.blocked = false;
}

void gw_h1_client_park(struct gw_h1_client *c, uint64_t idle_timeout_ms)
{
    assert(c->state == CL_DONE && c->up.reusable);
    c->state = CL_PARKED;
    c->up.arena = NULL;
    c->up.response = NULL;
    c->up.stream.user = NULL;
    c->last_used_ms = gw_loop_now_ms(c->pipe.h1->loop);
    gw_timer_set(c->pipe.h1->loop, &c->pipe.timer, c->last_used_ms + idle_timeout_ms);
}
