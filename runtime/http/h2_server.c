/* A client's connection of HTTP/2.
 *
 *   OPEN -> NOTICED (GOAWAY "soon", PING) -> GONE (GOAWAY with the last stream) -> LINGER
 *
 * A request's stream lives from its head to the frame that ends our answer. One timer serves the
 * connection: what it waits for is computed anew after each turn. */
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "http/h1_server_private.h"
#include "http/h2_private.h"

enum { OPEN, NOTICED, GONE };

struct h2_server {
    struct gw_client_conn client;
    struct gw_h2_conn c;
    uint8_t state;
    uint64_t noticed_ms;
};

static const struct gw_stream_ops stream_ops;
static const struct gw_h2_side server_side;

static struct h2_server *server_of(struct gw_h2_conn *c)
{
    return GW_CONTAINER(c, struct h2_server, c);
}

static struct h2_server *server_of_client(struct gw_client_conn *conn)
{
    return GW_CONTAINER(conn, struct h2_server, client);
}

/* ---- the end of streams ---- */

static void stream_lost(struct gw_h2_stream *s, enum gw_rc rc, const char *why)
{
    if (!s->attached)
        return;
    s->request = NULL;
    h2_stream_detach(s);
    s->up.stream.events->on_reset(&s->up.stream, rc, why);
}

static void on_over(struct gw_h2_stream *s, uint32_t code)
{
    if (code == GW_H2_NO_ERROR || code == GW_H2_CANCEL)
        stream_lost(s, GW_CLOSED, "client reset the stream");
    else
        stream_lost(s, GW_CLOSED, "the stream was reset: broken protocol");
}

static void lose_streams(struct gw_h2_conn *c, enum gw_rc rc, const char *why)
{
    bool more = true;

    /* Each loss may change the list. */
    while (more) {
        more = false;
        GW_LIST_EACH(pos, &c->streams)
        {
            struct gw_h2_stream *s = GW_CONTAINER(pos, struct gw_h2_stream, link);
            if (!s->attached)
                continue;
            stream_lost(s, rc, why);
            more = true;
            break;
        }
    }
}

static void on_dead(struct gw_h2_conn *c, enum gw_rc rc, const char *why)
{
    if (c->closed || c->lingers)
        return;
    if (rc == GW_PROTOCOL)
        gw_info("client: HTTP/2: %s, connection closed", why);
    lose_streams(c, rc == GW_EOF ? GW_CLOSED : rc, why);
    if (c->closed)
        return;
    if (rc == GW_PROTOCOL)
        h2_linger(c);
    else
        h2_close(c, rc != GW_EOF);
}

/* END_STREAM of the answer is on its way. */
static void on_framed(struct gw_h2_stream *s)
{
    if (s->raw) { /* a tunnel ends with both its sides */
        if (s->told_end)
            stream_lost(s, GW_EOF, "done");
        return;
    }
    s->request = NULL;
    if (!s->ended_in) /* nobody wants the rest of the request; the answer is complete */
        h2_send_reset(s, GW_H2_NO_ERROR);
    h2_stream_detach(s);
    s->up.stream.events->on_sent(&s->up.stream);
}

/* ---- heads ---- */

static struct gw_h2_stream *on_begin(struct gw_h2_conn *c, int32_t id)
{
    struct gw_h2_stream *s = h2_stream_new(c, &stream_ops);

    s->id = id;
    s->paused = true;
    h2_take_turns(s);
    return s;
}

/* No memory for a request: the shortest answer there is. */
static void refuse(struct gw_h2_stream *s)
{
    static const struct gw_h2_pair pairs[] = {{{":status", 7}, {"503", 3}},
                                              {{"content-length", 14}, {"0", 1}},
                                              {{"retry-after", 11}, {"1", 1}}};
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_fields none;

    gw_fields_init(&none, &arena);
    s->up.arena = &arena;
    s->told_end = true;
    (void)h2_send_head(
        s, &(struct gw_h2_out_head){.pairs = pairs, .count = 3, .fields = &none, .end = true});
    s->up.arena = NULL;
    gw_arena_fini(&arena);
}

/* The head as HTTP/1.1 would have it: 0, or the answer that it deserves. */
static uint16_t parse(struct gw_h2_stream *s, bool end, const char **why)
{
    struct gw_h2_conn *c = s->conn;
    struct gw_stream_request *incoming = s->request;
    struct gw_request *request = incoming->request;
    uint16_t status = 400;
    struct gw_str text;

    request->major = 2;
    if (c->head.too_large) {
        *why = "header too long";
        return 431;
    }
    s->tunnel = c->head.protocol.given;
    text = h2_head_request(c, incoming->arena);
    if (text.data == NULL) {
        *why = c->head.malformed;
        return 400;
    }
    if (gw_head_parse_request(text, c->limits, incoming->arena, request, &incoming->head, &status,
                              why) != GW_OK) {
        request->major = 2;
        request->minor = 0;
        return status;
    }
    request->major = 2;
    request->minor = 0;
    if (s->tunnel) {
        *why = "this protocol is not spoken over CONNECT";
        return gw_str_eq_nocase(h2_pseudo(c, &c->head.protocol), GW_STR("websocket")) ? 0 : 501;
    }
    if (incoming->head.framing == GW_FRAMING_NONE && !end)
        request->length = GW_LENGTH_UNKNOWN;
    request->has_body = !end && request->length != 0;
    request->expect_continue =
        request->has_body && gw_fields_known(&request->fields, GW_FIELD_EXPECT) != NULL;
    return 0;
}

static void on_head(struct gw_h2_stream *s, bool end)
{
    struct h2_server *h = server_of(s->conn);
    const char *why = NULL;
    uint16_t status;

    s->head_in = true;
    h->client.requests++;
    s->request = h->client.user->on_request_new(&h->client);
    if (s->request == NULL) {
        refuse(s);
        return;
    }
    s->up.arena = s->request->arena;
    s->request->stream = &s->up.stream;
    s->now = h->client.limits;
    s->buffer_bytes_max = s->now->buffer_bytes_max;
    h2_stream_attach(s);
    status = parse(s, end, &why);
    s->expects = status == 0 && s->request->request->expect_continue;
    if (status != 0 || !(s->request->request->has_body || s->tunnel))
        s->told_end = true; /* no body, or none that anybody wants */
    h->client.user->on_request(&h->client, s->request, status, why);
}

/* ---- time ---- */

static void set_timer(struct gw_h2_stream *s, uint32_t after_ms)
{
    gw_timer_set(s->conn->h1->loop, &s->timer, h2_now(s->conn) + after_ms);
}

static void body_fault(struct gw_h2_stream *s, uint16_t status, const char *why)
{
    s->told_end = true;
    gw_timer_clear(&s->timer);
    s->up.stream.events->on_fault(&s->up.stream, status, why);
}

/* Waiting for the body counts only while we were ready to take it. */
static bool too_slow(const struct gw_h2_stream *s)
{
    uint64_t waited = s->waited_ms + (h2_now(s->conn) - s->since_ms);

    return s->now->data_rate_min > 0 && waited > s->now->data_rate_grace_ms &&
           s->body_bytes * 1000 < s->now->data_rate_min * waited;
}

static void on_progress(struct gw_h2_stream *s, size_t came)
{
    if (h2_stream_pending(s) > 0) {
        if (!s->sending) {
            s->sending = true;
            s->moved = 0;
            set_timer(s, s->now->send_timeout_ms);
        }
        return;
    }
    s->sending = false;
    if (s->told_end || s->paused || s->raw) {
        gw_timer_clear(&s->timer);
        return;
    }
    if (came > 0 && too_slow(s)) {
        body_fault(s, 408, "the body came slower than data_rate_min");
        return;
    }
    if (came > 0 || s->timer.due_ms == GW_NEVER)
        set_timer(s, s->now->body_timeout_ms);
}

static void on_stream_timer(struct gw_timer *timer)
{
    struct gw_h2_stream *s = GW_CONTAINER(timer, struct gw_h2_stream, timer);
    struct gw_h1 *h1 = s->conn->h1;

    if (!s->attached)
        return;
    if (h2_stream_pending(s) > 0 && s->moved < GW_H2_TAKEN_BYTES_MIN) {
        h2_send_reset(s, GW_H2_CANCEL);
        stream_lost(s, GW_TIMEOUT, "client takes no data");
    } else if (h2_stream_pending(s) > 0) {
        s->moved = 0;
        set_timer(s, s->now->send_timeout_ms);
    } else if (s->sending) {
        on_progress(s, 0);
    } else if (!s->told_end && !s->paused && !s->raw) {
        body_fault(s, 408, "the body took too long");
    }
    gw_h1_out_flush(h1);
}

static void say_goodbye(struct h2_server *h)
{
    if (h->state != OPEN)
        return;
    h->state = NOTICED;
    h->noticed_ms = h2_now(&h->c);
    h->client.draining = true;
    h2_goaway_notice(&h->c);
}

static void last_words(struct h2_server *h)
{
    if (h->state == GONE)
        return;
    h->state = GONE;
    h2_goaway(&h->c);
}

static uint64_t earlier(uint64_t due, uint64_t since_ms, uint64_t after_ms)
{
    return since_ms + after_ms < due ? since_ms + after_ms : due;
}

static bool head_is_half_here(const struct h2_server *h)
{
    return h->c.head_since_ms > 0;
}

static uint64_t due_ms(const struct h2_server *h)
{
    const struct gw_client_limits *l = h->client.limits;
    const struct gw_h2_conn *c = &h->c;
    uint64_t due = GW_NEVER;

    if (gw_buf_len(&c->out) > 0)
        due = earlier(due, c->out_since_ms, l->send_timeout_ms);
    if (head_is_half_here(h))
        due = earlier(due, c->head_since_ms, l->header_timeout_ms);
    else if (c->streams_count == 0)
        due = earlier(due, c->idle_since_ms,
                      h->client.requests == 0 ? l->header_timeout_ms : l->idle_timeout_ms);
    if (h->state == NOTICED)
        due = earlier(due, h->noticed_ms, GW_H2_GOAWAY_GRACE_MS);
    if (h->state == OPEN && l->age_max_ms > 0)
        due = earlier(due, h->client.born_ms, gw_client_age_max_ms(&h->client));
    return due;
}

static void on_turn(struct gw_h2_conn *c)
{
    struct h2_server *h = server_of(c);
    const struct gw_client_limits *l = h->client.limits;

    if (h2_quiet(c)) {
        if (c->streams_count > 0)
            on_dead(c, GW_PROTOCOL, "broken protocol");
        else
            h2_linger(c);
        return;
    }
    if (l->requests_max > 0 && h->client.requests >= l->requests_max && h->state == OPEN) {
        say_goodbye(h);
        h2_flush(c);
        return;
    }
    if (c->streams_count == 0 && c->head_since_ms == 0)
        h2_head_free(c);
    gw_timer_set(c->h1->loop, &c->timer, due_ms(h));
}

static void on_timer(struct gw_timer *timer)
{
    struct gw_h2_conn *c = GW_CONTAINER(timer, struct gw_h2_conn, timer);
    struct h2_server *h = server_of(c);
    const struct gw_client_limits *l = h->client.limits;
    struct gw_h1 *h1 = c->h1;
    uint64_t now = h2_now(c);

    if (c->lingers) {
        h2_close(c, false);
        return;
    }
    if (gw_buf_len(&c->out) > 0 && now >= c->out_since_ms + l->send_timeout_ms)
        on_dead(c, GW_TIMEOUT, "client takes no data");
    else if (head_is_half_here(h) && now >= c->head_since_ms + l->header_timeout_ms)
        h2_fail(c, GW_H2_ENHANCE_YOUR_CALM, "the head took too long");
    else if (h->state == NOTICED && now >= h->noticed_ms + GW_H2_GOAWAY_GRACE_MS)
        last_words(h);
    else if (h->state == OPEN && l->age_max_ms > 0 &&
             now >= h->client.born_ms + gw_client_age_max_ms(&h->client))
        say_goodbye(h);
    else if (c->streams_count == 0 && !head_is_half_here(h) &&
             now >= c->idle_since_ms +
                        (h->client.requests == 0 ? l->header_timeout_ms : l->idle_timeout_ms))
        last_words(h);
    else
        h2_mark(c);
    gw_h1_out_flush(h1);
}

/* ---- the client's side of GOAWAY, PING ---- */

static void on_goaway(struct gw_h2_conn *c)
{
    last_words(server_of(c)); /* it asks for nothing more; what is under way goes on */
}

static void on_pong(struct gw_h2_conn *c)
{
    struct h2_server *h = server_of(c);

    if (h->state == NOTICED)
        last_words(h);
}

/* ---- the answer ---- */

#define BIT(id) (1ULL << (id))

static void send_response(struct gw_stream *stream, const struct gw_response *response)
{
    struct gw_h2_stream *s = h2_stream_of(stream);

    if (!s->attached || s->closed)
        return;
    s->response = response;
    s->head_out = true;
    s->no_body_out = !response->has_body && response->status != 101;
    h2_stream_given(s);
}

static struct gw_str number_text(struct gw_arena *arena, uint64_t number)
{
    char *text = gw_arena_alloc(arena, 24), *at = text + 24;

    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return gw_str(at, (size_t)(text + 24 - at));
}

static void push_head(struct gw_h2_stream *s)
{
    const struct gw_response *response = s->response;
    struct gw_h2_out_head head = {.but = BIT(GW_FIELD_CONTENT_LENGTH), .count = 1};
    struct gw_h2_pair pairs[3];

    if (response == NULL)
        return;
    s->response = NULL;
    if (response->status == 101) /* the answer to a key that the client does not know of */
        head.but_name = GW_STR("sec-websocket-accept");
    pairs[0] = (struct gw_h2_pair){
        GW_STR(":status"),
        number_text(s->up.arena, response->status == 101 ? 200 : response->status)};
    if (gw_fields_known(&response->fields, GW_FIELD_DATE) == NULL)
        pairs[head.count++] = (struct gw_h2_pair){GW_STR("date"), gw_h1_date(s->conn->h1)};
    if (response->length >= 0 && response->status != 204 && response->status != 101)
        pairs[head.count++] = (struct gw_h2_pair){
            GW_STR("content-length"), number_text(s->up.arena, (uint64_t)response->length)};
    head.pairs = pairs;
    head.fields = &response->fields;
    head.end = s->ended_out && s->trailers == NULL && h2_stream_pending(s) == 0;
    if (!h2_send_head(s, &head))
        h2_send_reset(s, GW_H2_INTERNAL_ERROR);
}

static void send_informational(struct gw_stream *stream, const struct gw_response *response)
{
    struct gw_h2_stream *s = h2_stream_of(stream);
    struct gw_h2_pair pair;

    if (!s->attached || s->closed || s->head_out)
        return;
    pair = (struct gw_h2_pair){GW_STR(":status"), number_text(s->up.arena, response->status)};
    (void)h2_send_head(s, &(struct gw_h2_out_head){.pairs = &pair,
                                                   .count = 1,
                                                   .fields = &response->fields,
                                                   .but = BIT(GW_FIELD_CONTENT_LENGTH),
                                                   .informational = true});
    h2_mark(s->conn);
}

static void resume_reading(struct gw_stream *stream)
{
    struct gw_h2_stream *s = h2_stream_of(stream);

    if (s->attached && s->expects && s->paused && !s->head_out && s->body_bytes == 0 &&
        gw_buf_len(&s->in) == 0) {
        struct gw_response go_on = {.status = 100};
        gw_fields_init(&go_on.fields, s->up.arena);
        send_informational(stream, &go_on);
    }
    s->expects = false;
    h2_op_resume(stream);
}

static void reset(struct gw_stream *stream)
{
    struct gw_h2_stream *s = h2_stream_of(stream);

    if (!s->attached)
        return;
    s->request = NULL;
    if (!s->raw)
        h2_send_reset(s, GW_H2_INTERNAL_ERROR);
    else if (!(s->framed && s->ended_in)) /* as RST would end it (RFC 8441 5) */
        h2_send_reset(s, s->framed ? GW_H2_NO_ERROR : GW_H2_CANCEL);
    h2_stream_detach(s);
}

static void raw(struct gw_stream *stream)
{
    struct gw_h2_stream *s = h2_stream_of(stream);

    s->raw = true;
    s->told_end = false;
    s->no_body_out = false;
}

static void last(struct gw_stream *stream)
{
    /* A stream is framed for itself: nothing of the next request can be mistaken. */
}

static void limits(struct gw_stream *stream, const struct gw_client_limits *nearest)
{
    struct gw_h2_stream *s = h2_stream_of(stream);

    s->now = nearest != NULL ? nearest : server_of(s->conn)->client.limits;
    s->buffer_bytes_max = s->now->buffer_bytes_max;
}

static const struct gw_stream_ops stream_ops = {
    .send_response = send_response,
    .send_informational = send_informational,
    .send_body = h2_op_send_body,
    .send_end = h2_op_send_end,
    .send_file = h2_op_send_file,
    .send_file_later = h2_op_send_file_later,
    .flush = h2_op_flush,
    .pause = h2_op_pause,
    .resume = resume_reading,
    .reset = reset,
    .raw = raw,
    .waiting = h2_op_waiting,
    .blocked = h2_op_blocked,
    .last = last,
    .limits = limits,
};

/* ---- what its user may do with it ---- */

static void client_drain(struct gw_client_conn *conn)
{
    struct h2_server *h = server_of_client(conn);

    if (h->c.closed || h->c.lingers)
        return;
    say_goodbye(h);
    gw_h1_out_flush(h->c.h1);
}

static void client_refuse(struct gw_client_conn *conn)
{
    struct h2_server *h = server_of_client(conn);

    h2_fail(&h->c, GW_H2_ENHANCE_YOUR_CALM, "too many connections");
}

static void client_close(struct gw_client_conn *conn, bool hard)
{
    struct h2_server *h = server_of_client(conn);

    if (h->c.lingers)
        h2_close(&h->c, hard);
    else
        on_dead(&h->c, hard ? GW_CLOSED : GW_EOF, "the gateway stops");
}

static const struct gw_client_ops client_ops = {client_drain, client_drain, client_refuse,
                                                client_close};

/* ---- life ---- */

static void on_close(struct gw_h2_conn *c)
{
    struct h2_server *h = server_of(c);

    h->client.user->on_closed(&h->client);
}

static void on_free(struct gw_h2_conn *c)
{
    struct h2_server *h = server_of(c);

    h->client.user->on_freed(&h->client);
    free(h);
}

static const struct gw_h2_side server_side = {
    .on_begin = on_begin,
    .on_head = on_head,
    .on_progress = on_progress,
    .on_stream_timer = on_stream_timer,
    .push_head = push_head,
    .on_framed = on_framed,
    .on_over = on_over,
    .on_goaway = on_goaway,
    .on_pong = on_pong,
    .on_turn = on_turn,
    .on_dead = on_dead,
    .on_close = on_close,
    .on_free = on_free,
};

void gw_h2_server_take(struct gw_h1_server *from, struct gw_str data)
{
    struct h2_server *h = calloc(1, sizeof(*h));
    struct gw_h1 *h1 = from->pipe.h1;

    if (h == NULL)
        abort();
    h->client = from->client;
    h->client.ops = &client_ops;
    h->client.net = &h->c.conn;
    h->c.side = &server_side;
    h->c.h1 = h1;
    h->c.limits = &h->client.limits->head;
    gw_timer_init(&h->c.timer, on_timer);
    if (h2_open(&h->c, true) != GW_OK) {
        free(h);
        server_kill(from, GW_NOMEM, "no memory for HTTP/2");
        return;
    }
    gw_list_init(&h->client.link);
    gw_list_insert_after(&from->client.link, &h->client.link);
    gw_list_remove(&from->client.link);
    if (gw_conn_move(&from->pipe.conn, &h->c.conn, h2_on_conn) != GW_OK)
        h->c.write_dead = true;
    if (h->client.draining)
        say_goodbye(h);
    h2_feed(&h->c, data);
    if (h->c.write_dead)
        on_dead(&h->c, GW_CLOSED, "out of descriptors");
    gw_h1_out_flush(h1);
    server_moved(from);
    if (!h->c.closed && h->c.conn.readable)
        gw_later(h1->loop, &h->c.later);
}
