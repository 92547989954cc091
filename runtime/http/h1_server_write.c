/* The client's side, outwards: what the proxy does with a stream of a client. */
#include "http/files.h"
#include "http/h1_server_private.h"

static void status_line(struct gw_pipe *pipe, const struct gw_response *response)
{
    char line[13] = "HTTP/1.1 000 ";
    struct gw_str reason = response->reason;

    if (reason.len == 0)
        reason = gw_str_c(gw_status_reason(response->status));
    line[9] = (char)('0' + response->status / 100);
    line[10] = (char)('0' + response->status / 10 % 10);
    line[11] = (char)('0' + response->status % 10);
    gw_h1_out_text(pipe, line, sizeof(line));
    gw_h1_out_text(pipe, reason.data, reason.len);
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

static bool keeps(struct gw_h1_server *s)
{
    const struct gw_client_limits *l = s->client.limits;

    if (!s->keep_alive || s->client.draining)
        return false;
    if (l->requests_max > 0 && s->client.requests >= l->requests_max)
        return false;
    return l->age_max_ms == 0 ||
           server_now(s) - s->client.born_ms < gw_client_age_max_ms(&s->client);
}

static void send_response(struct gw_stream *stream, const struct gw_response *response)
{
    struct gw_h1_server *s = server_of_stream(stream);
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
    struct gw_h1_server *s = server_of_stream(stream);

    if (s->minor == 0 || s->head_sent)
        return; /* 1.0 does not know them */
    gw_h1_out_begin(&s->pipe);
    status_line(&s->pipe, response);
    gw_h1_out_fields(&s->pipe, &response->fields, FRAMING_FIELDS);
    gw_h1_out_text(&s->pipe, "\r\n", 2);
}

static void send_body(struct gw_stream *stream, struct gw_str piece)
{
    gw_h1_out_body(&server_of_stream(stream)->pipe, piece);
}

static void send_end(struct gw_stream *stream, const struct gw_fields *trailers)
{
    struct gw_h1_server *s = server_of_stream(stream);

    gw_h1_out_begin(&s->pipe);
    gw_h1_out_end(&s->pipe, trailers);
    s->out_done = true;
}

static enum gw_rc send_file(struct gw_stream *stream, struct gw_files_body *body, size_t max,
                            size_t *sent)
{
    struct gw_h1_server *s = server_of_stream(stream);
    enum gw_rc rc;

    if (s->pipe.chunked_out || s->pipe.conn.tls != NULL || gw_buf_len(&s->pipe.out) > 0)
        return GW_UNSUPPORTED;
    rc = gw_files_body_next(body, s->pipe.conn.fd, max, sent);
    if (rc == GW_AGAIN) {
        s->awaits_room = true;
        s->pipe.conn.writable = false;
        server_set_timer(s, s->now->send_timeout_ms);
    }
    return rc;
}

static void send_file_later(struct gw_stream *stream)
{
    struct gw_h1_server *s = server_of_stream(stream);

    s->yields = true;
    gw_later(s->pipe.h1->loop, &s->pipe.later);
}

static void flush(struct gw_stream *stream)
{
    gw_h1_out_flush(server_of_stream(stream)->pipe.h1);
}

static void pause_reading(struct gw_stream *stream)
{
    struct gw_h1_server *s = server_of_stream(stream);

    if (s->pipe.paused)
        return;
    s->pipe.paused = true;
    if (s->state == SV_BUSY && !s->in_done) {
        s->body_waited_ms += (uint32_t)(server_now(s) - s->body_since_ms);
        if (gw_buf_len(&s->pipe.out) == 0)
            gw_timer_clear(&s->pipe.timer);
    }
}

static void resume_reading(struct gw_stream *stream)
{
    struct gw_h1_server *s = server_of_stream(stream);

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
        s->body_since_ms = server_now(s);
        if (gw_buf_len(&s->pipe.out) == 0)
            server_set_timer(s, s->now->body_timeout_ms);
    }
    if (!s->pipe.feeding)
        gw_later(s->pipe.h1->loop, &s->pipe.later);
}

static void reset(struct gw_stream *stream)
{
    struct gw_h1_server *s = server_of_stream(stream);

    s->request = NULL;
    s->now = s->client.limits;
    server_close(s, true);
}

static void raw(struct gw_stream *stream)
{
    struct gw_h1_server *s = server_of_stream(stream);

    s->state = SV_RAW;
    s->in_done = false;
    s->pipe.chunked_out = s->pipe.no_body_out = false;
    gw_timer_clear(&s->pipe.timer);
}

static bool waiting(struct gw_stream *stream)
{
    return gw_buf_len(&server_of_stream(stream)->pipe.out) > 0;
}

static bool blocked(struct gw_stream *stream)
{
    return server_of_stream(stream)->pipe.blocked;
}

static void last(struct gw_stream *stream)
{
    server_of_stream(stream)->keep_alive = false;
}

static void limits(struct gw_stream *stream, const struct gw_client_limits *nearest)
{
    struct gw_h1_server *s = server_of_stream(stream);

    server_limits(s, nearest != NULL ? nearest : s->client.limits);
}

const struct gw_stream_ops server_ops = {
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
    .raw = raw,
    .waiting = waiting,
    .blocked = blocked,
    .last = last,
    .limits = limits,
};
