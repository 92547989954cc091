/* What both sides do with a stream. */
#include <stdlib.h>

#include "http/h2_private.h"

struct gw_h2_stream *h2_stream_new(struct gw_h2_conn *c, const struct gw_stream_ops *ops)
{
    struct gw_h2_stream *s = calloc(1, sizeof(*s));

    if (s == NULL)
        abort();
    s->conn = c;
    s->up.stream.ops = ops;
    gw_list_init(&s->dirty);
    gw_list_init(&s->wake);
    gw_list_init(&s->news);
    gw_timer_init(&s->timer, c->side->on_stream_timer);
    gw_list_push_back(&c->streams, &s->link);
    return s;
}

void h2_stream_free(struct gw_h2_stream *s)
{
    gw_list_remove(&s->link);
    gw_list_remove(&s->dirty);
    gw_list_remove(&s->wake);
    gw_list_remove(&s->news);
    gw_timer_fini(s->conn->h1->loop, &s->timer);
    gw_buf_fini(&s->in);
    gw_buf_fini(&s->out);
    free(s);
}

void h2_stream_attach(struct gw_h2_stream *s)
{
    s->attached = true;
    s->conn->streams_count++;
}

void h2_stream_detach(struct gw_h2_stream *s)
{
    struct gw_h2_conn *c = s->conn;

    if (!s->attached)
        return;
    s->attached = false;
    s->up.arena = NULL;
    s->lent = GW_STR_NULL;
    s->trailers = NULL;
    s->response = NULL;
    gw_timer_clear(&s->timer);
    gw_buf_fini(&s->out);
    if (gw_buf_len(&s->in) > 0 && !s->closed)
        h2_consumed(s, gw_buf_len(&s->in));
    gw_buf_fini(&s->in);
    if (--c->streams_count == 0)
        c->idle_since_ms = h2_now(c);
    if (s->id == 0 && !s->closed) { /* nghttp2 has never heard of it */
        s->closed = true;
        gw_list_remove(&s->link);
        gw_list_push_back(&c->dead, &s->link);
        gw_later(c->h1->loop, &c->later);
    }
    h2_mark(c); /* for on_turn */
}

void h2_stream_later(struct gw_h2_stream *s)
{
    if (gw_list_empty(&s->wake))
        gw_list_push_back(&s->conn->woken, &s->wake);
    gw_later(s->conn->h1->loop, &s->conn->later);
}

/* ---- in ---- */

static void deliver(struct gw_h2_stream *s, struct gw_str data)
{
    s->body_bytes += data.len;
    s->up.stream.events->on_body(&s->up.stream, data);
    h2_consumed(s, data.len);
    if (s->attached)
        s->conn->side->on_progress(s, data.len);
}

void h2_stream_data(struct gw_h2_stream *s, struct gw_str data)
{
    if (!s->attached || s->told_end)
        h2_consumed(s, data.len);
    else if (s->paused || gw_buf_len(&s->in) > 0)
        gw_buf_add_str(&s->in, data);
    else
        deliver(s, data);
}

static void tell_end(struct gw_h2_stream *s)
{
    s->told_end = true;
    s->conn->side->on_progress(s, 0);
    s->up.stream.events->on_end(&s->up.stream, s->trailers_in);
    if (s->attached && s->raw && s->framed) /* both sides have ended */
        s->conn->side->on_framed(s);
}

void h2_stream_end(struct gw_h2_stream *s)
{
    s->ended_in = true;
    if (s->attached && !s->told_end && !s->paused && gw_buf_len(&s->in) == 0)
        tell_end(s);
}

void h2_stream_trailers(struct gw_h2_stream *s)
{
    struct gw_h2_conn *c = s->conn;
    struct gw_fields *fields;
    const char *why;
    struct gw_str text;

    if (!s->attached || s->told_end)
        return;
    text = h2_head_trailers(c, s->up.arena);
    fields = gw_arena_zalloc(s->up.arena, sizeof(*fields));
    gw_fields_init(fields, s->up.arena);
    if (text.data == NULL || c->head.too_large ||
        gw_head_parse_trailers(text, c->limits, fields, &why) != GW_OK) {
        h2_send_reset(s, GW_H2_PROTOCOL_ERROR);
        c->side->on_over(s, GW_H2_PROTOCOL_ERROR);
        return;
    }
    if (fields->count > 0)
        s->trailers_in = fields;
}

/* ---- news ---- */

static bool drained(const struct gw_h2_stream *s)
{
    return h2_stream_pending(s) <= s->buffer_bytes_max / 2;
}

void h2_stream_wake(struct gw_h2_stream *s)
{
    struct gw_stream *stream = &s->up.stream;

    if (s->closed) {
        if (s->attached)
            s->conn->side->on_over(s, s->code);
        return;
    }
    if (s->attached && (s->yields || (s->blocked && drained(s)))) {
        s->yields = s->blocked = false;
        stream->events->on_drained(stream);
    }
    if (s->attached && !s->paused && gw_buf_len(&s->in) > 0) {
        struct gw_buf in = s->in;
        s->in = GW_BUF_INIT;
        deliver(s, gw_buf_str(&in));
        gw_h1_out_flush(s->conn->h1); /* the slice is good until here */
        gw_buf_fini(&in);
    }
    if (s->attached && !s->closed && !s->paused && s->ended_in && !s->told_end &&
        gw_buf_len(&s->in) == 0)
        tell_end(s);
}

void h2_stream_stash(struct gw_h2_stream *s)
{
    if (s->lent.len > 0)
        gw_buf_add_str(&s->out, s->lent);
    s->lent = GW_STR_NULL;
    if (gw_buf_len(&s->out) == 0)
        gw_buf_fini(&s->out);
    if (!s->attached || s->closed)
        return;
    s->conn->side->on_progress(s, 0);
    if (s->blocked || h2_stream_pending(s) < s->buffer_bytes_max)
        return;
    s->blocked = s->tell_blocked = true;
    if (gw_list_empty(&s->news))
        gw_list_push_back(&s->conn->news, &s->news);
}

void h2_stream_after_flush(struct gw_h2_stream *s)
{
    if (!s->attached)
        return;
    if (s->finished) {
        s->finished = false;
        s->conn->side->on_framed(s);
        return;
    }
    if (s->tell_blocked) {
        s->tell_blocked = false;
        s->up.stream.events->on_blocked(&s->up.stream);
    }
    if (s->attached && s->blocked && drained(s))
        h2_stream_later(s);
}

/* ---- operations ---- */

void h2_stream_given(struct gw_h2_stream *s)
{
    if (gw_list_empty(&s->dirty))
        gw_list_push_back(&s->conn->dirty_streams, &s->dirty);
    h2_mark(s->conn);
}

void h2_op_send_body(struct gw_stream *stream, struct gw_str piece)
{
    struct gw_h2_stream *s = h2_stream_of(stream);

    if (!s->attached || s->closed || s->no_body_out || piece.len == 0)
        return;
    if (s->lent.len > 0)
        gw_buf_add_str(&s->out, s->lent);
    s->lent = piece;
    s->conn->lent_bytes += piece.len;
    h2_stream_given(s);
}

void h2_op_send_end(struct gw_stream *stream, const struct gw_fields *trailers)
{
    struct gw_h2_stream *s = h2_stream_of(stream);

    if (!s->attached || s->closed)
        return;
    s->ended_out = true;
    if (!s->no_body_out)
        s->trailers = trailers;
    h2_stream_given(s);
}

enum gw_rc h2_op_send_file(struct gw_stream *stream, struct gw_files_body *body, size_t max,
                           size_t *sent)
{
    return GW_UNSUPPORTED; /* frames stand between the pieces */
}

void h2_op_send_file_later(struct gw_stream *stream)
{
    struct gw_h2_stream *s = h2_stream_of(stream);

    s->yields = true;
    h2_stream_later(s);
}

void h2_op_flush(struct gw_stream *stream)
{
    gw_h1_out_flush(h2_stream_of(stream)->conn->h1);
}

void h2_op_pause(struct gw_stream *stream)
{
    struct gw_h2_stream *s = h2_stream_of(stream);
    struct gw_h2_conn *c = s->conn;

    if (s->paused)
        return;
    s->paused = true;
    if (s->since_ms > 0)
        s->waited_ms += (uint32_t)(h2_now(c) - s->since_ms);
    s->since_ms = 0;
    if (s->attached)
        c->side->on_progress(s, 0);
}

void h2_op_resume(struct gw_stream *stream)
{
    struct gw_h2_stream *s = h2_stream_of(stream);

    if (!s->paused)
        return;
    s->paused = false;
    if (!s->attached)
        return;
    if (!s->told_end)
        s->since_ms = h2_now(s->conn);
    if (gw_buf_len(&s->in) > 0 || (s->ended_in && !s->told_end))
        h2_stream_later(s);
    s->conn->side->on_progress(s, 0);
}

bool h2_op_waiting(struct gw_stream *stream)
{
    return h2_stream_pending(h2_stream_of(stream)) > 0;
}

bool h2_op_blocked(struct gw_stream *stream)
{
    return h2_stream_of(stream)->blocked;
}
