/* A connection to an upstream that many exchanges share. An upstream is judged as strictly as a
 * client. A stream that it never looked at (GOAWAY, REFUSED_STREAM) is told as one that was not
 * connected, so that any request may be tried again. */
#include <assert.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "http/h2_private.h"

struct gw_h2_client {
    struct gw_h2_conn c;
    const struct gw_h2_client_user *user;
    void *owner;
    struct gw_head_limits limits;
    uint32_t send_timeout_ms;
    uint32_t idle_timeout_ms;
    uint64_t connect_due_ms;
    uint32_t requests;
    bool retired;
};

static const struct gw_stream_ops stream_ops;
static const struct gw_h2_side client_side;

static struct gw_h2_client *client_of(struct gw_h2_conn *c)
{
    return GW_CONTAINER(c, struct gw_h2_client, c);
}

/* ---- ends ---- */

static void forget(struct gw_h2_client *h)
{
    if (h->retired)
        return;
    h->retired = true;
    h->user->on_retired(h, h->owner);
}

/* Its user closes it from within. */
static void stream_fail(struct gw_h2_stream *s, enum gw_rc rc, const char *why)
{
    if (!s->attached || s->faulted)
        return;
    s->faulted = true;
    s->told_end = true;
    gw_timer_clear(&s->timer);
    s->up.stream.events->on_reset(&s->up.stream, rc, why);
}

static void on_over(struct gw_h2_stream *s, uint32_t code)
{
    if (code == GW_H2_REFUSED_STREAM && !s->up.got_bytes) {
        s->up.connected = false;
        stream_fail(s, GW_REFUSED, "upstream refused the stream");
    } else if (code == GW_H2_CANCEL) {
        stream_fail(s, GW_CANCELLED, "upstream cancelled the stream");
    } else {
        stream_fail(s, GW_PROTOCOL, "upstream reset the stream");
    }
}

static struct gw_h2_stream *next_attached(struct gw_h2_conn *c)
{
    GW_LIST_EACH(pos, &c->streams)
    {
        struct gw_h2_stream *s = GW_CONTAINER(pos, struct gw_h2_stream, link);
        if (s->attached && !s->faulted)
            return s;
    }
    return NULL;
}

static void on_dead(struct gw_h2_conn *c, enum gw_rc rc, const char *why)
{
    struct gw_h2_client *h = client_of(c);
    struct gw_h2_stream *s;

    if (c->closed)
        return;
    if (rc == GW_PROTOCOL)
        gw_info("upstream: HTTP/2: %s, connection closed", why);
    forget(h);
    while ((s = next_attached(c)) != NULL) {
        enum gw_rc own = rc == GW_EOF ? GW_CLOSED : rc;
        stream_fail(s, own == GW_CLOSED && s->up.got_bytes ? GW_PROTOCOL : own, why);
    }
    h2_close(c, rc != GW_EOF);
}

static void on_goaway(struct gw_h2_conn *c)
{
    forget(client_of(c));
}

static void on_pong(struct gw_h2_conn *c)
{
}

static void on_framed(struct gw_h2_stream *s)
{
}

/* ---- the answer ---- */

static struct gw_h2_stream *on_begin(struct gw_h2_conn *c, int32_t id)
{
    return NULL; /* push is switched off */
}

/* True: it was one of 1xx, or a fault; the final head is still to come. */
static bool informational(struct gw_h2_stream *s)
{
    struct gw_response *response = s->up.response;

    if (response->status >= 200)
        return false;
    if (response->status == 101 || ++s->informational > GW_INFORMATIONAL_MAX) {
        h2_send_reset(s, GW_H2_PROTOCOL_ERROR);
        stream_fail(s, GW_PROTOCOL,
                    response->status == 101 ? "upstream switches protocols in HTTP/2"
                                            : "upstream sends 1xx without end");
    } else if (response->status != 100) {
        s->up.stream.events->on_informational(&s->up.stream, response);
    }
    return true;
}

static const char *parse(struct gw_h2_stream *s, bool end)
{
    struct gw_h2_conn *c = s->conn;
    struct gw_response *response = s->up.response;
    struct gw_head head;
    const char *why = "bad answer head";
    struct gw_str text;

    if (c->head.too_large)
        return "upstream's head is too long";
    text = h2_head_response(c, s->up.arena);
    if (text.data == NULL)
        return c->head.malformed;
    if (gw_head_parse_response(text, &s->limits.head, s->method, s->up.arena, response, &head,
                               &why) != GW_OK)
        return why;
    if (!end || response->status < 200)
        return NULL;
    if (response->has_body && response->length > 0)
        return "upstream's answer ends before its body";
    if (response->has_body)
        response->length = 0;
    response->has_body = false;
    return NULL;
}

static void on_head(struct gw_h2_stream *s, bool end)
{
    const char *why;

    if (!s->attached || s->faulted)
        return;
    s->up.got_bytes = true;
    why = parse(s, end);
    if (why != NULL) {
        h2_send_reset(s, GW_H2_PROTOCOL_ERROR);
        stream_fail(s, GW_PROTOCOL, why);
        return;
    }
    if (informational(s))
        return;
    s->head_in = true;
    s->conn->side->on_progress(s, 1);
    s->up.stream.events->on_head(&s->up.stream);
}

/* ---- time ---- */

static void set_timer(struct gw_h2_stream *s, uint32_t after_ms)
{
    gw_timer_set(s->conn->h1->loop, &s->timer, h2_now(s->conn) + after_ms);
}

static void on_progress(struct gw_h2_stream *s, size_t came)
{
    if (s->faulted || s->conn->conn.connecting)
        return;
    if (h2_stream_pending(s) > 0) {
        if (!s->sending) {
            s->sending = true;
            s->moved = 0;
            set_timer(s, s->limits.send_timeout_ms);
        }
        return;
    }
    if (s->told_end || s->paused || s->raw || (!s->ended_out && !s->head_in))
        gw_timer_clear(&s->timer); /* it waits for us: other times count */
    else if (came > 0 || s->sending || s->timer.due_ms == GW_NEVER)
        set_timer(s, s->limits.read_timeout_ms);
    s->sending = false;
}

static void on_stream_timer(struct gw_timer *timer)
{
    struct gw_h2_stream *s = GW_CONTAINER(timer, struct gw_h2_stream, timer);
    struct gw_h1 *h1 = s->conn->h1;

    if (!s->attached)
        return;
    if (h2_stream_pending(s) > 0 && s->moved < GW_H2_TAKEN_BYTES_MIN) {
        stream_fail(s, GW_TIMEOUT, "upstream takes no data");
    } else if (h2_stream_pending(s) > 0) {
        s->moved = 0;
        set_timer(s, s->limits.send_timeout_ms);
    } else if (s->sending) {
        on_progress(s, 0);
    } else {
        stream_fail(s, GW_TIMEOUT, s->head_in ? "answer stopped" : "no answer in time");
    }
    gw_h1_out_flush(h1);
}

static uint64_t due_ms(const struct gw_h2_client *h)
{
    const struct gw_h2_conn *c = &h->c;

    if (c->conn.connecting)
        return h->connect_due_ms;
    if (gw_buf_len(&c->out) > 0)
        return c->out_since_ms + h->send_timeout_ms;
    return c->streams_count == 0 ? c->idle_since_ms + h->idle_timeout_ms : GW_NEVER;
}

static void on_turn(struct gw_h2_conn *c)
{
    struct gw_h2_client *h = client_of(c);

    if (h2_quiet(c) && c->streams_count > 0)
        on_dead(c, GW_PROTOCOL, "upstream broke the protocol");
    else if (c->streams_count == 0 && (h->retired || h2_quiet(c)))
        on_dead(c, GW_EOF, "retired");
    if (c->closed)
        return;
    if (c->streams_count == 0)
        h2_head_free(c);
    gw_timer_set(c->h1->loop, &c->timer, due_ms(h));
}

static void on_timer(struct gw_timer *timer)
{
    struct gw_h2_conn *c = GW_CONTAINER(timer, struct gw_h2_conn, timer);
    struct gw_h2_client *h = client_of(c);
    struct gw_h1 *h1 = c->h1;

    if (h2_now(c) < due_ms(h))
        gw_timer_set(h1->loop, timer, due_ms(h));
    else if (c->conn.connecting)
        on_dead(c, GW_TIMEOUT, "connecting took too long");
    else if (gw_buf_len(&c->out) > 0)
        on_dead(c, GW_TIMEOUT, "upstream takes no data");
    else if (c->streams_count == 0)
        on_dead(c, GW_EOF, "idle for too long");
    gw_h1_out_flush(h1);
}

/* ---- the request ---- */

#define BIT(id) (1ULL << (id))
#define OWN_FIELDS                                                                                 \
    (BIT(GW_FIELD_HOST) | BIT(GW_FIELD_CONTENT_LENGTH) | BIT(GW_FIELD_TE) | BIT(GW_FIELD_EXPECT))

static struct gw_str target(struct gw_arena *arena, const struct gw_out_request *request)
{
    size_t len = request->path.len;
    char *text;

    if (request->query.data == NULL)
        return request->path;
    text = gw_arena_alloc(arena, len + 1 + request->query.len);
    memcpy(text, request->path.data, len);
    text[len] = '?';
    if (request->query.len > 0)
        memcpy(text + len + 1, request->query.data, request->query.len);
    return gw_str(text, len + 1 + request->query.len);
}

static bool has_length(const struct gw_h2_stream *s, const struct gw_out_request *request)
{
    if (request->has_body)
        return request->length >= 0;
    return s->method == GW_METHOD_POST || s->method == GW_METHOD_PUT ||
           s->method == GW_METHOD_PATCH; /* they are expected to have one */
}

static void send_request(struct gw_stream *stream, const struct gw_out_request *request)
{
    struct gw_h2_stream *s = h2_stream_of(stream);
    struct gw_arena *arena = s->up.arena;
    struct gw_h2_pair *pairs = gw_arena_alloc(arena, 6 * sizeof(*pairs));

    if (!s->attached || s->closed)
        return;
    s->method = gw_method_of(request->method);
    s->no_body_out = !request->has_body;
    s->pairs = pairs;
    s->fields = request->fields;
    pairs[0] = (struct gw_h2_pair){GW_STR(":method"), request->method};
    pairs[1] = (struct gw_h2_pair){GW_STR(":scheme"),
                                   s->conn->conn.tls != NULL ? GW_STR("https") : GW_STR("http")};
    pairs[2] = (struct gw_h2_pair){GW_STR(":authority"), request->authority};
    pairs[3] = (struct gw_h2_pair){GW_STR(":path"), target(arena, request)};
    s->pairs_count = 4;
    if (has_length(s, request))
        pairs[s->pairs_count++] = (struct gw_h2_pair){
            GW_STR("content-length"),
            gw_arena_printf(arena, "%lld", (long long)(request->has_body ? request->length : 0))};
    if (request->te_trailers)
        pairs[s->pairs_count++] = (struct gw_h2_pair){GW_STR("te"), GW_STR("trailers")};
    h2_stream_given(s);
}

static void push_head(struct gw_h2_stream *s)
{
    struct gw_h2_out_head head = {
        .pairs = s->pairs,
        .count = s->pairs_count,
        .fields = s->fields,
        .but = OWN_FIELDS,
        .end = s->ended_out && s->trailers == NULL && h2_stream_pending(s) == 0,
    };

    if (s->pairs == NULL)
        return;
    s->pairs = NULL;
    if (!h2_send_head(s, &head)) { /* no stream number is left, or it goes away: told later */
        s->closed = true;
        s->code = GW_H2_REFUSED_STREAM;
        gw_list_remove(&s->link);
        gw_list_push_back(&s->conn->dead, &s->link);
        h2_stream_later(s);
    }
}

static void reset(struct gw_stream *stream)
{
    struct gw_h2_stream *s = h2_stream_of(stream);

    if (!s->attached)
        return;
    if (!(s->ended_in && s->framed))
        h2_send_reset(s, GW_H2_CANCEL);
    h2_stream_detach(s);
}

static void raw(struct gw_stream *stream)
{
    assert(false); /* an upgrade gets a connection of HTTP/1 */
}

static const struct gw_stream_ops stream_ops = {
    .send_request = send_request,
    .send_body = h2_op_send_body,
    .send_end = h2_op_send_end,
    .flush = h2_op_flush,
    .pause = h2_op_pause,
    .resume = h2_op_resume,
    .reset = reset,
    .raw = raw,
    .waiting = h2_op_waiting,
    .blocked = h2_op_blocked,
};

/* ---- life ---- */

static void on_close(struct gw_h2_conn *c)
{
    struct gw_h2_client *h = client_of(c);

    forget(h);
    h->user->on_closed(h, h->owner);
}

static void on_free(struct gw_h2_conn *c)
{
    free(client_of(c));
}

static const struct gw_h2_side client_side = {
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

enum gw_rc gw_h2_client_new(struct gw_h1 *h1, const struct sockaddr *address, socklen_t len,
                            const struct gw_tls_target *tls, uint32_t connect_timeout_ms,
                            uint32_t idle_timeout_ms, const struct gw_h2_client_user *user,
                            void *owner, struct gw_h2_client **out)
{
    struct gw_h2_client *h = calloc(1, sizeof(*h));
    enum gw_rc rc;

    if (h == NULL)
        return GW_NOMEM;
    h->c.side = &client_side;
    h->c.h1 = h1;
    h->c.limits = &h->limits;
    h->user = user;
    h->owner = owner;
    h->idle_timeout_ms = idle_timeout_ms;
    rc = gw_conn_connect(&h->c.conn, h1->loop, address, len, h2_on_conn);
    if (rc == GW_OK && tls != NULL) {
        rc = gw_tls_connect(&h->c.conn, tls);
        if (rc != GW_OK)
            gw_conn_close(&h->c.conn);
    }
    if (rc != GW_OK) {
        free(h);
        return rc;
    }
    gw_timer_init(&h->c.timer, on_timer);
    rc = h2_open(&h->c, false);
    if (rc != GW_OK) {
        gw_conn_close(&h->c.conn);
        free(h);
        return rc;
    }
    h->connect_due_ms = h2_now(&h->c) + connect_timeout_ms;
    gw_timer_set(h1->loop, &h->c.timer, h->connect_due_ms);
    *out = h;
    return GW_OK;
}

struct gw_upstream_stream *gw_h2_client_stream(struct gw_h2_client *h,
                                               const struct gw_upstream_limits *limits)
{
    struct gw_h2_stream *s;
    uint32_t max = h2_peer_streams_max(&h->c);

    if (h->retired || h->c.closed ||
        h->c.streams_count >= (max < GW_H2_STREAMS_MAX ? max : GW_H2_STREAMS_MAX))
        return NULL;
    s = h2_stream_new(&h->c, &stream_ops);
    s->limits = *limits;
    s->buffer_bytes_max = limits->buffer_bytes_max;
    h->limits = limits->head;
    h->send_timeout_ms = limits->send_timeout_ms;
    s->up.reused = h->requests++ > 0;
    s->up.shares = true;
    h2_stream_attach(s);
    return &s->up;
}

uint32_t gw_h2_client_requests(const struct gw_h2_client *h)
{
    return h->requests;
}

bool gw_h2_client_fresh(const struct gw_h2_client *h, uint32_t fresh_ms)
{
    if (fresh_ms == 0 || h->requests == 0)
        return true;
    return fresh_ms != UINT32_MAX && h->c.heard_ms + fresh_ms >= h2_now(&h->c);
}

void gw_h2_client_retire(struct gw_h2_client *h)
{
    forget(h);
    if (h->c.streams_count == 0)
        h2_close(&h->c, false);
}
