/* A session of HTTP/2 over a connection of ours; the only door to nghttp2, which reads and writes
 * frames in memory. DATA is not copied into it: send_data() puts frame header and bytes behind
 * the other frames, in the one buffer of the worker that a flush writes from. */
#include "http/h2_private.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"

#define HEADS_OUT_BYTES_MAX (1024 * 1024)

static struct gw_h2_stream *stream_at(struct gw_h2_conn *c, int32_t id)
{
    return id == 0 ? NULL : nghttp2_session_get_stream_user_data(c->session, id);
}

static int go_on(const struct gw_h2_conn *c)
{
    return c->closed || c->fatal != 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

void h2_stop(struct gw_h2_conn *c, uint32_t code, const char *why)
{
    c->fatal = code;
    c->fatal_why = why;
}

/* ---- frames that come ---- */

/* Before a frame is read: may it come? Counts are kept for one second. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    struct gw_h2_conn *c = arg;
    struct gw_h2_floods *floods = &c->floods;
    uint64_t second = h2_now(c) / 1000;
    const struct gw_h2_stream *s;

    if (floods->second != second)
        *floods = (struct gw_h2_floods){.second = second};
    switch (hd->type) {
    case NGHTTP2_HEADERS:
        break;
    case NGHTTP2_DATA:
        floods->control += hd->length == 0 && (hd->flags & NGHTTP2_FLAG_END_STREAM) == 0;
        break;
    case NGHTTP2_RST_STREAM: /* behind a whole answer: "no more of the request" */
        s = c->is_server ? NULL : stream_at(c, hd->stream_id);
        floods->resets += s == NULL || !s->ended_in;
        break;
    case NGHTTP2_WINDOW_UPDATE:
        floods->updates++;
        break;
    default:
        floods->control++;
        break;
    }
    if (floods->control > GW_H2_CONTROL_FRAMES_MAX + (uint64_t)floods->data_sent)
        h2_stop(c, GW_H2_ENHANCE_YOUR_CALM, "a flood of frames");
    else if (floods->resets > GW_H2_RESETS_MAX)
        h2_stop(c, GW_H2_ENHANCE_YOUR_CALM, "a flood of resets");
    else if (floods->updates > GW_H2_WINDOW_UPDATES_MAX + 4 * (uint64_t)floods->data_sent)
        h2_stop(c, GW_H2_ENHANCE_YOUR_CALM, "a flood of window updates");
    return go_on(c);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct gw_h2_conn *c = arg;
    struct gw_h2_stream *s;

    h2_head_begin(c);
    c->head_since_ms = h2_now(c);
    if (!c->is_server || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    s = c->side->on_begin(c, frame->hd.stream_id);
    (void)nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct gw_h2_conn *c = arg;
    struct gw_h2_stream *s = stream_at(c, frame->hd.stream_id);

    (void)h2_head_field(c, gw_str((const char *)name, name_len),
                        gw_str((const char *)value, value_len), s != NULL && s->head_in);
    return go_on(c);
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_len, const uint8_t *value,
                             size_t value_len, uint8_t flags, void *arg)
{
    struct gw_h2_conn *c = arg;

    c->head.malformed = "bad header field";
    return go_on(c);
}

static void head_came(struct gw_h2_conn *c, struct gw_h2_stream *s, bool end)
{
    c->head_since_ms = 0;
    if (s == NULL)
        return;
    if (!s->head_in)
        c->side->on_head(s, end);
    else
        h2_stream_trailers(s);
    if (end && !s->closed)
        h2_stream_end(s);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct gw_h2_conn *c = arg;
    struct gw_h2_stream *s = stream_at(c, frame->hd.stream_id);
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        head_came(c, s, end);
        break;
    case NGHTTP2_DATA:
        if (end && s != NULL)
            h2_stream_end(s);
        break;
    case NGHTTP2_GOAWAY:
        c->side->on_goaway(c);
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
            c->side->on_pong(c);
        break;
    default:
        break;
    }
    return go_on(c);
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                         size_t len, void *arg)
{
    struct gw_h2_conn *c = arg;
    struct gw_h2_stream *s = stream_at(c, id);

    if (s != NULL)
        h2_stream_data(s, gw_str((const char *)data, len));
    else
        (void)nghttp2_session_consume_connection(session, len);
    return go_on(c);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct gw_h2_conn *c = arg;
    struct gw_h2_stream *s = stream_at(c, id);

    if (s == NULL)
        return 0;
    if (gw_buf_len(&s->in) > 0) /* no longer the stream's, but the connection's window waits */
        (void)nghttp2_session_consume_connection(session, gw_buf_len(&s->in));
    s->closed = true;
    s->code = code;
    gw_list_remove(&s->link);
    gw_list_push_back(&c->dead, &s->link);
    gw_later(c->h1->loop, &c->later);
    /* What the writer finds out is told later: whoever flushes is in the middle of something. */
    if (c->reading && s->attached && !s->finished)
        c->side->on_over(s, code);
    else if (s->attached)
        h2_stream_later(s);
    return 0;
}

/* ---- frames that go ---- */

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct gw_h2_conn *c = arg;
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct gw_h2_stream *s;

    if (frame->hd.type == NGHTTP2_DATA)
        c->floods.data_sent++;
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        gw_info("HTTP/2: %s broke the rules: %s (%.*s)", c->is_server ? "a client" : "an upstream",
                nghttp2_http2_strerror(frame->goaway.error_code),
                (int)frame->goaway.opaque_data_len, (const char *)frame->goaway.opaque_data);
    /* A peer that makes us reset is as bad as one that resets. */
    if (frame->hd.type == NGHTTP2_RST_STREAM &&
        frame->rst_stream.error_code == NGHTTP2_PROTOCOL_ERROR)
        c->floods.resets++;
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    s = stream_at(c, frame->hd.stream_id);
    if (s == NULL)
        return 0;
    s->up.connected = true;
    if (!end)
        return 0;
    s->framed = s->finished = true;
    gw_list_remove(&s->news);
    gw_list_push_back(&c->news, &s->news);
    return 0;
}

static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
                             void *arg)
{
    struct gw_h2_conn *c = arg;
    struct gw_h2_stream *s = stream_at(c, frame->hd.stream_id);

    /* A request of ours that did not leave is closed by nghttp2: a reset would name a stream that
     * the upstream has never heard of. */
    if (c->is_server && frame->hd.type == NGHTTP2_HEADERS && s != NULL && !s->closed)
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, GW_H2_INTERNAL_ERROR);
    return 0;
}

static int submit_fields(struct gw_h2_stream *s, const struct gw_fields *fields)
{
    nghttp2_nv *nv = gw_arena_alloc(s->up.arena, (fields->count + 1) * sizeof(*nv));
    size_t count = 0;

    for (uint32_t i = 0; i < fields->count; i++)
        if (!fields->items[i].dropped)
            nv[count++] = (nghttp2_nv){(uint8_t *)(uintptr_t)fields->items[i].name.data,
                                       (uint8_t *)(uintptr_t)fields->items[i].value.data,
                                       fields->items[i].name.len, fields->items[i].value.len,
                                       NGHTTP2_NV_FLAG_NONE};
    if (count == 0)
        return NGHTTP2_ERR_INVALID_ARGUMENT;
    return nghttp2_submit_trailer(s->conn->session, s->id, nv, count);
}

static ssize_t read_data(nghttp2_session *session, int32_t id, uint8_t *to, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct gw_h2_stream *s = source->ptr;
    size_t pending = h2_stream_pending(s), len = pending < size ? pending : size;

    if (!s->attached)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (len == 0 && !s->ended_out) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (len == pending && s->ended_out) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (s->trailers != NULL && submit_fields(s, s->trailers) == 0)
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
    return (ssize_t)len;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                     size_t len, nghttp2_data_source *source, void *arg)
{
    struct gw_h2_stream *s = source->ptr;
    struct gw_buf *frames = &s->conn->h1->frames;
    size_t kept = gw_buf_len(&s->out), first = kept < len ? kept : len;

    gw_buf_add(frames, head, 9);
    if (first > 0) {
        gw_buf_add(frames, gw_buf_str(&s->out).data, first);
        gw_buf_consume(&s->out, first);
    }
    if (len > first) {
        gw_buf_add(frames, s->lent.data, len - first);
        s->lent = gw_str(s->lent.data + (len - first), s->lent.len - (len - first));
    }
    s->moved += len;
    if (s->blocked && gw_list_empty(&s->news))
        gw_list_push_back(&s->conn->news, &s->news);
    return 0;
}

/* What the socket did not take waits in c->out. */
static void write_frames(struct gw_h2_conn *c)
{
    struct gw_str all = gw_buf_str(&c->h1->frames);
    struct iovec iov = {(void *)(uintptr_t)all.data, all.len};
    size_t sent = 0;

    if (c->conn.writable && gw_conn_writev(&c->conn, &iov, 1, &sent) != GW_OK) {
        c->write_dead = true;
        gw_later(c->h1->loop, &c->later);
        return;
    }
    if (sent < all.len) {
        c->out_since_ms = h2_now(c);
        gw_buf_add(&c->out, all.data + sent, all.len - sent);
    }
}

static void produce(struct gw_h2_conn *c)
{
    struct gw_buf *frames = &c->h1->frames;
    bool more = true;

    c->writing = true;
    while (more && gw_buf_len(&c->out) == 0 && !c->write_dead) {
        gw_buf_clear(frames);
        while (gw_buf_len(frames) < GW_H2_FLUSH_BYTES) {
            const uint8_t *data;
            ssize_t len = nghttp2_session_mem_send(c->session, &data);
            more = len > 0;
            if (len < 0)
                h2_stop(c, GW_H2_INTERNAL_ERROR, nghttp2_strerror((int)len));
            if (len <= 0)
                break;
            gw_buf_add(frames, data, (size_t)len);
        }
        if (gw_buf_len(frames) > 0)
            write_frames(c);
    }
    c->writing = false;
}

/* Heads are submitted and lent bytes copied; after it nothing that was lent is needed. */
static void take_given(struct gw_h2_conn *c, bool write)
{
    c->lent_bytes = 0;
    GW_LIST_EACH(pos, &c->dirty_streams)
    {
        struct gw_h2_stream *s = GW_CONTAINER(pos, struct gw_h2_stream, dirty);
        if (s->attached && !s->closed)
            c->side->push_head(s);
        if (s->deferred && !s->closed && (h2_stream_pending(s) > 0 || s->ended_out)) {
            s->deferred = false;
            (void)nghttp2_session_resume_data(c->session, s->id);
        }
    }
    if (write && !c->conn.connecting)
        produce(c);
    GW_LIST_EACH_SAFE(pos, after, &c->dirty_streams)
    {
        struct gw_h2_stream *s = GW_CONTAINER(pos, struct gw_h2_stream, dirty);
        gw_list_remove(&s->dirty);
        h2_stream_stash(s);
    }
}

static void tell_news(struct gw_h2_conn *c)
{
    while (!gw_list_empty(&c->news) && !c->closed) {
        struct gw_h2_stream *s = GW_CONTAINER(c->news.next, struct gw_h2_stream, news);
        gw_list_remove(&s->news);
        h2_stream_after_flush(s);
    }
}

void h2_mark(struct gw_h2_conn *c)
{
    if (gw_list_empty(&c->dirty) && !c->closed)
        gw_list_push_back(&c->h1->dirty, &c->dirty);
}

void h2_flush(struct gw_h2_conn *c)
{
    gw_list_remove(&c->dirty);
    if (c->closed || c->lingers)
        return;
    if (c->reading || c->writing) {
        take_given(c, false); /* whoever reads or writes flushes when it is through */
        return;
    }
    take_given(c, true);
    tell_news(c);
    if (c->fatal != 0 && !c->closed)
        h2_fail(c, c->fatal, c->fatal_why);
    if (!c->closed && !c->lingers)
        c->side->on_turn(c);
}

/* Many streams of a connection have something to say in one turn: it is written once, at the end
 * of it. A long piece is not worth the copy that this takes. */
void gw_h2_flush_all(struct gw_h1 *h1)
{
    while (!gw_list_empty(&h1->dirty)) {
        struct gw_h2_conn *c = GW_CONTAINER(h1->dirty.next, struct gw_h2_conn, dirty);
        if (c->lent_bytes > GW_H2_COPIED_BYTES_MAX) {
            h2_flush(c);
            continue;
        }
        gw_list_remove(&c->dirty);
        if (c->closed || c->lingers)
            continue;
        take_given(c, false);
        c->flushes_later = true;
        gw_later(h1->loop, &c->later);
    }
}

/* ---- what the sides ask for ---- */

static bool of_connection(const struct gw_field *field)
{
    switch (field->id) {
    case GW_FIELD_CONNECTION:
    case GW_FIELD_KEEP_ALIVE:
    case GW_FIELD_PROXY_CONNECTION:
    case GW_FIELD_TRANSFER_ENCODING:
    case GW_FIELD_UPGRADE:
    case GW_FIELD_HTTP2_SETTINGS:
        return true;
    default:
        return false;
    }
}

static nghttp2_nv nv_of(struct gw_str name, struct gw_str value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.data, (uint8_t *)(uintptr_t)value.data, name.len,
                        value.len, NGHTTP2_NV_FLAG_NONE};
}

bool h2_send_head(struct gw_h2_stream *s, const struct gw_h2_out_head *head)
{
    nghttp2_session *session = s->conn->session;
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_data};
    const struct gw_fields *fields = head->fields;
    nghttp2_nv *nv = gw_arena_alloc(s->up.arena, (fields->count + head->count) * sizeof(*nv));
    size_t count = 0;
    int rc;

    for (unsigned i = 0; i < head->count; i++) /* the pseudo-fields come first */
        nv[count++] = nv_of(head->pairs[i].name, head->pairs[i].value);
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct gw_field *field = &fields->items[i];
        if (!field->dropped && !of_connection(field) && (head->but >> field->id & 1) == 0 &&
            !(head->but_name.len > 0 && gw_str_eq_nocase(field->name, head->but_name)))
            nv[count++] = nv_of(field->name, field->value);
    }
    if (s->id == 0) {
        rc = nghttp2_submit_request(session, NULL, nv, count, head->end ? NULL : &provider, s);
        s->id = rc > 0 ? rc : 0;
        rc = rc > 0 ? 0 : rc;
    } else if (head->informational) {
        rc = nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, s->id, NULL, nv, count, NULL);
    } else {
        rc = nghttp2_submit_response(session, s->id, nv, count, head->end ? NULL : &provider);
    }
    return rc == 0;
}

void h2_send_reset(struct gw_h2_stream *s, uint32_t code)
{
    if (s->closed || s->id == 0)
        return;
    (void)nghttp2_submit_rst_stream(s->conn->session, NGHTTP2_FLAG_NONE, s->id, code);
    h2_mark(s->conn);
}

void h2_consumed(struct gw_h2_stream *s, size_t len)
{
    if (s->closed || s->ended_in)
        (void)nghttp2_session_consume_connection(s->conn->session, len);
    else
        (void)nghttp2_session_consume(s->conn->session, s->id, len);
    h2_mark(s->conn);
}

uint32_t h2_peer_streams_max(struct gw_h2_conn *c)
{
    return nghttp2_session_get_remote_settings(c->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

void h2_goaway_notice(struct gw_h2_conn *c)
{
    (void)nghttp2_submit_shutdown_notice(c->session);
    (void)nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL); /* back: they have read it */
    h2_mark(c);
}

void h2_goaway(struct gw_h2_conn *c)
{
    (void)nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(c->session),
                                NGHTTP2_NO_ERROR, NULL, 0);
    h2_mark(c);
}

bool h2_quiet(struct gw_h2_conn *c)
{
    return nghttp2_session_want_read(c->session) == 0 &&
           nghttp2_session_want_write(c->session) == 0 && gw_buf_len(&c->out) == 0;
}

/* The session may be in no state to say it: the frame is written by hand. */
void h2_fail(struct gw_h2_conn *c, uint32_t code, const char *why)
{
    uint32_t last = (uint32_t)nghttp2_session_get_last_proc_stream_id(c->session);
    uint8_t frame[17] = {0, 0, 8, NGHTTP2_GOAWAY};
    struct iovec iov = {frame, sizeof(frame)};
    size_t sent;

    for (unsigned i = 0; i < 4; i++) {
        frame[9 + i] = (uint8_t)(last >> (24 - 8 * i));
        frame[13 + i] = (uint8_t)(code >> (24 - 8 * i));
    }
    c->fatal = 0;
    if (gw_buf_len(&c->out) == 0 && c->conn.writable && !c->write_dead && !c->conn.connecting)
        (void)gw_conn_writev(&c->conn, &iov, 1, &sent);
    c->side->on_dead(c, GW_PROTOCOL, why);
}

/* ---- reading ---- */

static void recv_failed(struct gw_h2_conn *c, int error)
{
    uint32_t code = GW_H2_INTERNAL_ERROR;

    if (error == NGHTTP2_ERR_FLOODED || error == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS)
        code = GW_H2_ENHANCE_YOUR_CALM;
    else if (error == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
        code = GW_H2_PROTOCOL_ERROR;
    h2_fail(c, code, nghttp2_strerror(error));
}

void h2_feed(struct gw_h2_conn *c, struct gw_str data)
{
    ssize_t len;

    c->heard_ms = h2_now(c);
    c->reading = true;
    len = nghttp2_session_mem_recv(c->session, (const uint8_t *)data.data, data.len);
    c->reading = false;
    if (c->closed)
        return;
    h2_mark(c);
    if (c->fatal != 0)
        h2_fail(c, c->fatal, c->fatal_why);
    else if (len < 0)
        recv_failed(c, (int)len);
}

static void linger_read(struct gw_h2_conn *c)
{
    size_t got;

    for (unsigned reads = 0; reads < 8 && c->conn.readable; reads++) {
        enum gw_rc rc =
            gw_conn_read(&c->conn, gw_loop_buffer(c->h1->loop), GW_LOOP_BUFFER_BYTES, &got);
        if (rc == GW_AGAIN)
            return;
        if (rc == GW_OK)
            c->lingered += (uint32_t)got;
        if (rc != GW_OK || c->lingered > GW_LINGER_BYTES_MAX) {
            h2_close(c, rc != GW_EOF);
            return;
        }
    }
    if (c->conn.readable)
        gw_later(c->h1->loop, &c->later);
}

/* A peer that takes nothing of what we have to say is not asked for more. */
static bool wants(struct gw_h2_conn *c)
{
    return gw_buf_len(&c->out) == 0 ||
           nghttp2_session_get_outbound_queue_size(c->session) < GW_H2_ACKS_MAX;
}

static void read_some(struct gw_h2_conn *c)
{
    for (unsigned reads = 0; c->conn.readable && !c->closed && !c->lingers && wants(c); reads++) {
        size_t got = 0;
        enum gw_rc rc;
        if (reads == GW_READS_PER_TURN) {
            gw_later(c->h1->loop, &c->later);
            return;
        }
        rc = gw_conn_read(&c->conn, gw_loop_buffer(c->h1->loop), GW_LOOP_BUFFER_BYTES, &got);
        if (rc == GW_AGAIN)
            return;
        if (rc != GW_OK) {
            c->side->on_dead(
                c, rc, rc == GW_EOF ? "peer closed the connection" : "peer reset the connection");
            return;
        }
        h2_feed(c, gw_str(gw_loop_buffer(c->h1->loop), got));
        gw_h1_out_flush(c->h1); /* the slices that were handed on are good until here */
    }
}

static bool write_rest(struct gw_h2_conn *c)
{
    while (gw_buf_len(&c->out) > 0 && c->conn.writable) {
        struct gw_str rest = gw_buf_str(&c->out);
        struct iovec iov = {(void *)(uintptr_t)rest.data, rest.len};
        size_t sent;
        if (gw_conn_writev(&c->conn, &iov, 1, &sent) != GW_OK) {
            c->side->on_dead(c, GW_CLOSED, "peer closed the connection");
            return false;
        }
        gw_buf_consume(&c->out, sent);
        if (sent > 0)
            c->out_since_ms = h2_now(c);
    }
    if (gw_buf_len(&c->out) > 0)
        return true;
    gw_buf_fini(&c->out);
    h2_mark(c);
    return true;
}

void h2_on_conn(struct gw_conn *conn, unsigned what)
{
    struct gw_h2_conn *c = GW_CONTAINER(conn, struct gw_h2_conn, conn);

    if (c->lingers) {
        linger_read(c);
        return;
    }
    if (what & GW_CONN_FAILED) {
        c->side->on_dead(c, gw_conn_fault_rc(conn), gw_conn_fault(conn));
        gw_h1_out_flush(c->h1);
        return;
    }
    if ((what & GW_CONN_CONNECTED) != 0 && conn->tls != NULL &&
        !gw_str_eq(gw_conn_alpn(conn), GW_STR("h2"))) {
        c->side->on_dead(c, GW_TLS, "the upstream does not speak HTTP/2 (ALPN)");
        gw_h1_out_flush(c->h1);
        return;
    }
    if (what & GW_CONN_CONNECTED) {
        h2_mark(c);
        GW_LIST_EACH(pos, &c->streams)
        {
            h2_stream_given(GW_CONTAINER(pos, struct gw_h2_stream, link)); /* its times begin */
        }
    }
    if ((what & GW_CONN_WRITE) != 0 && gw_buf_len(&c->out) > 0 && !write_rest(c))
        return;
    if ((what & (GW_CONN_READ | GW_CONN_HANGUP)) != 0 || conn->readable)
        read_some(c);
    gw_h1_out_flush(c->h1);
}

void h2_on_later(struct gw_later *later)
{
    struct gw_h2_conn *c = GW_CONTAINER(later, struct gw_h2_conn, later);
    struct gw_h1 *h1 = c->h1;

    while (!gw_list_empty(&c->woken) && !c->closed) {
        struct gw_h2_stream *s = GW_CONTAINER(c->woken.next, struct gw_h2_stream, wake);
        gw_list_remove(&s->wake);
        h2_stream_wake(s);
    }
    while (!gw_list_empty(&c->dead))
        h2_stream_free(GW_CONTAINER(c->dead.next, struct gw_h2_stream, link));
    if (c->closed) {
        while (!gw_list_empty(&c->streams))
            h2_stream_free(GW_CONTAINER(c->streams.next, struct gw_h2_stream, link));
        nghttp2_session_del(c->session);
        h2_head_free(c);
        c->side->on_free(c);
        return;
    }
    if (c->lingers)
        linger_read(c);
    else if (c->write_dead)
        c->side->on_dead(c, GW_CLOSED, "peer closed the connection");
    else if (c->conn.readable)
        read_some(c);
    if (!gw_list_empty(&c->dirty) || c->flushes_later) {
        c->flushes_later = false;
        h2_flush(c);
    }
    gw_h1_out_flush(h1);
}

/* ---- life ---- */

static int on_error(nghttp2_session *session, int code, const char *text, size_t len, void *arg)
{
    struct gw_h2_conn *c = arg;

    gw_debug("HTTP/2 of %s: %.*s", c->is_server ? "a client" : "an upstream", (int)len, text);
    return 0;
}

static void set_callbacks(nghttp2_session_callbacks *cbs)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(cbs, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(cbs, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cbs, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cbs, on_frame_not_send);
    nghttp2_session_callbacks_set_send_data_callback(cbs, send_data);
    nghttp2_session_callbacks_set_error_callback2(cbs, on_error);
}

static void set_options(nghttp2_option *option)
{
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, GW_H2_ACKS_MAX);
    nghttp2_option_set_max_continuations(option, GW_H2_CONTINUATIONS_MAX);
    nghttp2_option_set_max_send_header_block_length(option, HEADS_OUT_BYTES_MAX);
    nghttp2_option_set_stream_reset_rate_limit(option, UINT64_MAX / 2, 1); /* we count them */
    nghttp2_option_set_peer_max_concurrent_streams(option, GW_H2_STREAMS_MAX);
}

static int submit_settings(struct gw_h2_conn *c)
{
    nghttp2_settings_entry server[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, GW_H2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, c->limits->header_bytes_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    nghttp2_settings_entry client[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                       {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0}};

    return c->is_server ? nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, server, 4)
                        : nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, client, 2);
}

enum gw_rc h2_open(struct gw_h2_conn *c, bool server)
{
    nghttp2_session_callbacks *cbs = NULL;
    nghttp2_option *option = NULL;
    nghttp2_mem memory = {NULL, h2_memory_new, h2_memory_free, h2_memory_zeros, h2_memory_resize};
    int rc = NGHTTP2_ERR_NOMEM;

    c->is_server = server;
    gw_list_init(&c->dirty);
    gw_list_init(&c->streams);
    gw_list_init(&c->dirty_streams);
    gw_list_init(&c->woken);
    gw_list_init(&c->news);
    gw_list_init(&c->dead);
    gw_later_init(&c->later, h2_on_later);
    c->heard_ms = c->idle_since_ms = h2_now(c);
    if (nghttp2_session_callbacks_new(&cbs) == 0 && nghttp2_option_new(&option) == 0) {
        set_callbacks(cbs);
        set_options(option);
        rc = server ? nghttp2_session_server_new3(&c->session, cbs, c, option, &memory)
                    : nghttp2_session_client_new3(&c->session, cbs, c, option, &memory);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cbs);
    if (rc != 0)
        return GW_NOMEM;
    rc = submit_settings(c);
    if (rc == 0)
        rc = nghttp2_session_set_local_window_size(c->session, 0, 0, GW_H2_CONN_WINDOW);
    if (rc != 0) {
        nghttp2_session_del(c->session);
        return GW_NOMEM;
    }
    h2_mark(c);
    return GW_OK;
}

/* Priorities are not a client's to choose: all streams take turns. */
void h2_take_turns(struct gw_h2_stream *s)
{
    const nghttp2_extpri turns = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};

    (void)nghttp2_session_change_extpri_stream_priority(s->conn->session, s->id, &turns, 1);
}

void h2_linger(struct gw_h2_conn *c)
{
    c->lingers = true;
    c->lingered = 0;
    gw_list_remove(&c->dirty);
    gw_conn_shutdown(&c->conn);
    gw_timer_set(c->h1->loop, &c->timer, h2_now(c) + GW_LINGER_MS);
    gw_later(c->h1->loop, &c->later);
}

void h2_close(struct gw_h2_conn *c, bool hard)
{
    if (c->closed)
        return;
    c->closed = true;
    gw_list_remove(&c->dirty);
    if (hard)
        gw_conn_reset(&c->conn);
    else
        gw_conn_close(&c->conn);
    gw_timer_fini(c->h1->loop, &c->timer);
    gw_buf_fini(&c->out);
    c->side->on_close(c);
    gw_later(c->h1->loop, &c->later);
}
