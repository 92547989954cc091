/* The request to an upstream and its answer back: tries, bodies both ways, the tunnel.
 * A try may be repeated as long as the upstream has said nothing, and:
 *   - it never reached the upstream (the connection could not be made), or
 *   - the method is idempotent and the body, if any, is still in memory.
 * A request that may not be repeated goes out only on a new connection, or on one that was
 * used a moment ago and so is very likely alive. */
#include <assert.h>

#include "base/log.h"
#include "http/grpc.h"
#include "proxy/exchange_private.h"

#define JUST_USED_MS 1000
/* Of an answer whose body a plugin has replaced: read to the end if it is no longer than this, so
 * that the connection can be used again. */
#define DISCARD_BYTES_MAX 65536

static void try_start(struct exchange *ex);
static const struct gw_stream_events upstream_events;

void relay_drop_client(struct exchange *ex)
{
    struct gw_upstream_stream *client = ex->client;

    ex->client = NULL;
    if (client != NULL)
        gw_endpoint_close(client);
}

/* ---- the request ---- */

static bool body_in_memory(const struct exchange *ex)
{
    return !ex->replay_lost;
}

static bool repeatable(const struct exchange *ex)
{
    return gw_method_idempotent(ex->pub.request.method_id) && body_in_memory(ex) &&
           !ex->upgrade_wanted;
}

/* Before the first byte: will the body still be here if this try breaks? */
static bool stays_repeatable(const struct exchange *ex)
{
    bool streams = ex->body_mode == BODY_HELD || ex->body_mode == BODY_STREAMING;
    int64_t length = ex->pub.request.length;

    return repeatable(ex) &&
           (!streams || (length >= 0 && length <= (int64_t)ex->limits->body_buffer_bytes_max));
}

static struct gw_str authority(struct exchange *ex)
{
    const struct gw_conf *conf = ex->pub.generation->conf;

    switch ((enum gw_host_mode)ex->pub.route->host_mode) {
    case GW_HOST_UPSTREAM:
        return gw_ref_str(conf, GW_ITEMS(conf, ex->row->targets, struct gw_conf_target)[0].text);
    case GW_HOST_NAME:
        return gw_ref_str(conf, ex->pub.route->host);
    case GW_HOST_CLIENT:
        break;
    }
    /* A client of 1.0 may not have said a host; the upstream speaks 1.1 and needs one. */
    return ex->pub.request.authority.len > 0
               ? ex->pub.request.authority
               : gw_ref_str(conf, GW_ITEMS(conf, ex->row->targets, struct gw_conf_target)[0].text);
}

static void send_request(struct exchange *ex)
{
    struct gw_request *request = &ex->pub.request;
    struct gw_stream *stream = &ex->client->stream;
    struct gw_out_request out = {
        .method = request->method,
        .authority = authority(ex),
        .path = ex->upstream_path,
        .query = request->query,
        .fields = &request->fields,
        .has_body = request->has_body,
        .length = request->length,
        .te_trailers = ex->incoming.head.te_trailers || ex->grpc,
        .upgrade = ex->upgrade_wanted ? ex->upgrade : GW_STR_NULL,
    };

    request_forwarding(ex);
    grpc_pass_deadline(ex);
    if (ex->body_mode == BODY_GATHERED) {
        out.length = (int64_t)gw_buf_len(&ex->body);
        out.has_body = out.length > 0 || request->has_body;
    }
    stream->ops->send_request(stream, &out);
    if (gw_buf_len(&ex->body) > 0)
        stream->ops->send_body(stream, gw_buf_str(&ex->body));
    switch ((enum gw_body_mode)ex->body_mode) {
    case BODY_HELD:
        ex->body_mode = BODY_STREAMING;
        /* fall through */
    case BODY_STREAMING:
        ex->incoming.stream->ops->resume(ex->incoming.stream);
        break;
    default:
        stream->ops->send_end(stream, ex->trailers);
        break;
    }
}

static struct gw_upstream_limits client_limits(const struct exchange *ex)
{
    const struct gw_conf_limits *limits = ex->limits;

    return (struct gw_upstream_limits){
        .head = {.header_bytes_max = limits->header_bytes_max,
                 .header_count_max = limits->header_count_max,
                 .uri_bytes_max = limits->uri_bytes_max},
        .connect_timeout_ms = ex->row->connect_timeout_ms,
        .send_timeout_ms = ex->row->send_timeout_ms,
        .read_timeout_ms = ex->row->read_timeout_ms,
        .buffer_bytes_max = limits->buffer_bytes_max,
        .alone = ex->upgrade_wanted,
    };
}

static uint16_t status_of(enum gw_rc rc)
{
    switch (rc) {
    case GW_TIMEOUT:
        return 504;
    case GW_LIMIT:
    case GW_NOMEM:
    case GW_SYSTEM:
        return 503;
    default:
        return 502;
    }
}

static void give_up(struct exchange *ex, enum gw_rc rc, const char *why)
{
    struct gw_str upstream = gw_ref_str(ex->pub.generation->conf, ex->row->name);

    gw_warn("%.*s: upstream %.*s %.*s: %s", GW_STR_ARG(gw_exchange_id(&ex->pub)),
            GW_STR_ARG(upstream), GW_STR_ARG(ex->pub.upstream_address), why);
    ex->pub.error = why;
    if (rc == GW_CANCELLED)
        ex->grpc_status = GW_GRPC_CANCELLED;
    answer_problem(ex, status_of(rc),
                   rc == GW_TIMEOUT ? "The upstream did not answer in time."
                   : rc == GW_DNS   ? "The upstream's name could not be resolved."
                                    : "The upstream could not be reached or broke the protocol.");
    answer_send(ex);
}

/* `connected`: the request may have reached it. */
static void try_failed(struct exchange *ex, enum gw_rc rc, const char *why, bool connected)
{
    bool answering = ex->client != NULL && ex->client->got_bytes;
    bool stale = ex->client != NULL && ex->client->reused && !answering && rc == GW_CLOSED;
    uint32_t tries_max = ex->pub.route->retries + 1 + (ex->fresh_only ? 1 : 0);

    relay_drop_client(ex);
    ex->try_due_ms = GW_NEVER;
    ex->wanted_target = GW_NONE;
    /* A warm connection that died under us is nobody's fault: that try does not count. */
    if (stale && repeatable(ex) && !ex->fresh_only) {
        ex->fresh_only = true;
        try_start(ex);
        return;
    }
    if (ex->pub.tries < tries_max && !answering && body_in_memory(ex) &&
        (!connected || repeatable(ex)) && rc != GW_LIMIT) {
        gw_info("%.*s: %.*s: %s, trying again", GW_STR_ARG(gw_exchange_id(&ex->pub)),
                GW_STR_ARG(ex->pub.upstream_address), why);
        try_start(ex);
        return;
    }
    give_up(ex, rc, why);
}

static void on_name(struct gw_upstream_wait *wait)
{
    struct exchange *ex = GW_CONTAINER(wait, struct exchange, wait);
    struct gw_h1 *h1 = ex->proxy->h1;

    relay_balanced(ex);
    gw_h1_flush_all(h1);
}

static void wait_for_name(struct exchange *ex)
{
    exchange_move(ex, EX_WAITING);
    ex->wait.fn = on_name;
    ex->try_due_ms = gw_loop_now_ms(ex->proxy->loop) + ex->row->connect_timeout_ms;
    exchange_timer(ex);
    gw_upstream_wait(ex->upstream, &ex->wait);
}

static void connect_to(struct exchange *ex)
{
    struct gw_upstream_limits limits = client_limits(ex);
    uint32_t fresh_ms = ex->fresh_only ? UINT32_MAX : stays_repeatable(ex) ? 0 : JUST_USED_MS;
    enum gw_rc rc;

    ex->pub.upstream_address = gw_str_c(ex->endpoint->text);
    ex->pub.tries++;
    ex->pub.upstream_began_us = gw_loop_now_us(ex->proxy->loop);
    rc = gw_endpoint_take(ex->endpoint, ex->row, &limits, fresh_ms, &ex->client);
    exchange_move(ex, EX_UPSTREAM);
    if (rc != GW_OK) {
        try_failed(ex, rc, gw_rc_text(rc), false);
        return;
    }
    ex->client->stream.events = &upstream_events;
    ex->client->stream.user = ex;
    ex->client->arena = &ex->pub.arena;
    ex->client->response = &ex->pub.response;
    if (ex->row->try_timeout_ms > 0)
        ex->try_due_ms = gw_loop_now_ms(ex->proxy->loop) + ex->row->try_timeout_ms;
    ex->heard_ms = gw_loop_now_ms(ex->proxy->loop);
    if (ex->row->try_timeout_ms > 0 || ex->grpc)
        exchange_timer(ex);
    send_request(ex);
}

/* The plugins' choice is made: pick the endpoint and go. */
void relay_balanced(struct exchange *ex)
{
    const struct gw_endpoint *avoid = ex->pub.tries > 0 ? ex->endpoint : NULL;
    enum gw_rc rc;

    ex->try_due_ms = GW_NEVER;
    if (ex->wanted_target != GW_NONE)
        rc = gw_upstream_pick_target(ex->upstream, ex->wanted_target, &ex->endpoint);
    else
        rc = gw_upstream_pick(ex->upstream, avoid, &ex->endpoint);
    if (rc == GW_AGAIN) {
        wait_for_name(ex);
        return;
    }
    if (rc != GW_OK) {
        give_up(ex, rc, gw_rc_text(rc));
        return;
    }
    connect_to(ex);
}

static void try_start(struct exchange *ex)
{
    enum gw_phase_rc rc;

    if (ex->state == EX_UPSTREAM || ex->state == EX_WAITING)
        exchange_move(ex, EX_PHASES);
    rc = exchange_phase(ex, GW_PHASE_BALANCER);
    if (rc == GW_PHASE_NEXT) {
        relay_balanced(ex);
    } else if (rc == GW_PHASE_ANSWERED) {
        answer_send(ex);
    } else if (rc != GW_PHASE_WAIT) {
        answer_problem(ex, 500, "A plugin failed.");
        answer_send(ex);
    }
}

static void after_gathering(struct gw_exchange *pub, void *arg, enum gw_rc rc, struct gw_str body)
{
    struct exchange *ex = exchange_of(pub);

    if (rc == GW_OK) {
        exchange_move(ex, EX_PHASES);
        try_start(ex);
    } else if (rc == GW_LIMIT) {
        answer_problem(ex, 413, "The body is larger than body_buffer_size_max.");
        answer_send(ex);
    } /* else: the fault is answered by who found it */
}

/* False: the exchange has its answer. */
static bool upgrade_good(struct exchange *ex)
{
    const char *why;
    uint16_t status = ws_request(ex, &why);

    if (status == 0)
        return true;
    answer_problem(ex, status, why);
    if (status == 426)
        gw_fields_set(&ex->answer.fields, GW_STR("Sec-WebSocket-Version"), GW_STR("13"));
    answer_send(ex);
    return false;
}

void relay_start(struct exchange *ex)
{
    const struct gw_conf_route *route = ex->pub.route;
    const struct gw_conf *conf = ex->pub.generation->conf;
    uint16_t status = request_upstream_path(ex);

    if (ex->row == NULL) {
        ex->row = &GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream)[route->upstream];
        ex->upstream = ex->pub.generation->upstreams[route->upstream];
    }
    if (status != 0) {
        answer_problem(ex, status, "The rewritten path is not valid.");
        answer_send(ex);
        return;
    }
    if ((ex->upgrade_wanted && !upgrade_good(ex)) || grpc_refused(ex))
        return;
    if (route->timeout_ms > 0) {
        uint64_t due = gw_loop_now_ms(ex->proxy->loop) + route->timeout_ms;
        if (due < ex->total_due_ms)
            ex->total_due_ms = due;
        exchange_timer(ex);
    }
    filter_prepare(ex);
    if (route->buffer_request && ex->body_mode == BODY_HELD) {
        exchange_move(ex, EX_WAITING);
        gw_exchange_read_body(&ex->pub, UINT64_MAX, after_gathering, NULL);
        return;
    }
    try_start(ex);
}

/* ---- the request's body ---- */

static void body_over(struct exchange *ex, enum gw_rc rc)
{
    gw_exchange_body_fn fn = ex->body_fn;

    ex->body_fn = NULL;
    if (fn != NULL)
        fn(&ex->pub, ex->body_arg, rc, gw_buf_str(&ex->body));
}

static void gather(struct exchange *ex, struct gw_str piece)
{
    gw_buf_add_str(&ex->body, piece);
    if (gw_buf_len(&ex->body) > ex->body_gather_max) {
        ex->incoming.stream->ops->pause(ex->incoming.stream);
        ex->body_mode = BODY_HELD;
        body_over(ex, GW_LIMIT);
    }
}

/* Kept only as long as it is small and of use: then a broken try can be made again. */
static void keep_for_replay(struct exchange *ex, struct gw_str piece)
{
    uint64_t bytes_max = ex->limits->body_buffer_bytes_max;
    bool never_again = ex->client != NULL && ex->client->connected &&
                       !gw_method_idempotent(ex->pub.request.method_id);

    if (ex->replay_lost)
        return;
    if (never_again || ex->pub.request.length > (int64_t)bytes_max ||
        gw_buf_len(&ex->body) + piece.len > bytes_max) {
        ex->replay_lost = true;
        gw_buf_fini(&ex->body);
        return;
    }
    gw_buf_add_str(&ex->body, piece);
}

static void too_large(struct exchange *ex)
{
    ex->incoming.stream->ops->pause(ex->incoming.stream);
    ex->body_mode = BODY_DROPPED;
    ex->pub.error = "the body is larger than body_size_max";
    if (ex->head_sent) {
        exchange_cut(ex, 413, ex->pub.error);
        return;
    }
    body_over(ex, GW_LIMIT);
    if (ex->state == EX_ANSWER || ex->finished)
        return;
    relay_drop_client(ex);
    answer_problem(ex, 413, "The body is larger than body_size_max.");
    answer_send(ex);
}

void relay_client_body(struct exchange *ex, struct gw_str piece)
{
    struct gw_stream *up = ex->client != NULL ? &ex->client->stream : NULL;

    ex->pub.bytes_in += piece.len;
    ex->heard_ms = gw_loop_now_ms(ex->proxy->loop);
    if (ex->ws != NULL) {
        ws_data(ex, GW_WS_CLIENT, piece);
        return;
    }
    if (ex->state == EX_TUNNEL) {
        assert(up != NULL); /* a tunnel ends with either side */
        up->ops->send_body(up, piece);
        return;
    }
    if (ex->pub.bytes_in > ex->limits->body_bytes_max && ex->body_mode != BODY_DROPPED) {
        too_large(ex);
        return;
    }
    if (ex->body_mode == BODY_GATHERING) {
        gather(ex, piece);
    } else if (ex->body_mode == BODY_STREAMING) {
        keep_for_replay(ex, piece);
        if (up != NULL)
            up->ops->send_body(up, piece);
    }
}

void relay_client_end(struct exchange *ex, const struct gw_fields *trailers)
{
    struct gw_stream *up = ex->client != NULL ? &ex->client->stream : NULL;

    if (ex->ws != NULL) {
        ws_ended(ex, GW_WS_CLIENT, false);
    } else if (ex->state == EX_TUNNEL) {
        assert(up != NULL);
        up->ops->send_end(up, NULL);
    } else if (ex->body_mode == BODY_GATHERING) {
        ex->body_mode = BODY_GATHERED;
        body_over(ex, GW_OK);
    } else if (ex->body_mode == BODY_STREAMING) {
        ex->body_mode = BODY_PASSED;
        ex->trailers = trailers;
        if (up != NULL)
            up->ops->send_end(up, trailers);
    }
}

void gw_exchange_read_body(struct gw_exchange *exchange, uint64_t bytes_max, gw_exchange_body_fn fn,
                           void *arg)
{
    struct exchange *ex = exchange_of(exchange);
    uint64_t own_max = ex->limits->body_buffer_bytes_max;

    ex->body_gather_max = bytes_max < own_max ? bytes_max : own_max;
    if (ex->body_mode == BODY_NONE || ex->body_mode == BODY_GATHERED) {
        fn(exchange, arg, GW_OK, gw_buf_str(&ex->body));
        return;
    }
    if (ex->body_mode != BODY_HELD || exchange->request.length > (int64_t)ex->body_gather_max ||
        gw_buf_len(&ex->body) > ex->body_gather_max) {
        fn(exchange, arg, ex->body_mode == BODY_HELD ? GW_LIMIT : GW_CLOSED, GW_STR_NULL);
        return;
    }
    ex->body_fn = fn;
    ex->body_arg = arg;
    ex->body_mode = BODY_GATHERING;
    ex->incoming.stream->ops->resume(ex->incoming.stream);
}

void gw_exchange_read_body_cancel(struct gw_exchange *exchange)
{
    exchange_of(exchange)->body_fn = NULL;
}

void gw_exchange_set_body(struct gw_exchange *exchange, struct gw_str body)
{
    struct exchange *ex = exchange_of(exchange);
    struct gw_buf copy = GW_BUF_INIT;

    gw_buf_add_str(&copy, body);
    gw_buf_fini(&ex->body);
    ex->body = copy;
    ex->body_mode = BODY_GATHERED;
    ex->replay_lost = false;
    exchange->request.has_body = body.len > 0;
    exchange->request.length = (int64_t)body.len;
}

/* ---- the answer ---- */

static void start_tunnel(struct exchange *ex)
{
    struct gw_stream *down = ex->incoming.stream;

    exchange_move(ex, EX_TUNNEL);
    ex->try_due_ms = ex->total_due_ms = GW_NEVER;
    gw_timer_clear(&ex->timer);
    gw_fields_set(&ex->pub.response.fields, GW_STR("Upgrade"), ex->upgrade);
    down->ops->send_response(down, &ex->pub.response);
    ex->head_sent = true;
    down->ops->raw(down);
    ex->client->stream.ops->raw(&ex->client->stream);
    down->ops->resume(down);
    if (ex->websocket)
        ws_start(ex);
}

static void on_head(struct gw_stream *stream)
{
    struct exchange *ex = stream->user;
    struct gw_response *response = &ex->pub.response;

    ex->try_due_ms = GW_NEVER;
    if (ex->pub.route->timeout_ms > 0) {
        exchange_total_due(ex); /* it is over with the head; that of the whole exchange is not */
    }
    ex->pub.upstream_head_us = gw_loop_now_us(ex->proxy->loop);
    if (response->status == 101 && ex->websocket) {
        const char *wrong = ws_answer(ex);
        if (wrong != NULL) {
            relay_drop_client(ex);
            give_up(ex, GW_PROTOCOL, wrong);
            return;
        }
    }
    gw_head_drop_hop_by_hop(&response->fields);
    if (response->status == 101) {
        start_tunnel(ex);
        return;
    }
    exchange_move(ex, EX_RELAY);
    (void)filter_head(ex);
}

static void on_informational(struct gw_stream *stream, struct gw_response *response)
{
    struct exchange *ex = stream->user;
    struct gw_stream *down = ex->incoming.stream;

    gw_head_drop_hop_by_hop(&response->fields);
    down->ops->send_informational(down, response);
}

static void on_body(struct gw_stream *stream, struct gw_str piece)
{
    struct exchange *ex = stream->user;

    ex->heard_ms = gw_loop_now_ms(ex->proxy->loop);
    if (ex->ws != NULL) {
        ws_data(ex, GW_WS_UPSTREAM, piece);
        return;
    }
    if (ex->state == EX_TUNNEL) {
        struct gw_stream *down = ex->incoming.stream;
        ex->pub.bytes_out += piece.len;
        down->ops->send_body(down, piece);
    } else if (ex->state == EX_RELAY) {
        (void)filter_piece(ex, piece);
    } else if ((ex->discarded += (uint32_t)piece.len) > DISCARD_BYTES_MAX) {
        relay_drop_client(ex);
    }
}

void relay_discard(struct exchange *ex)
{
    if (ex->client != NULL && ex->pub.response.length > DISCARD_BYTES_MAX)
        relay_drop_client(ex);
}

static void on_end(struct gw_stream *stream, struct gw_fields *trailers)
{
    struct exchange *ex = stream->user;
    struct gw_upstream_stream *client = ex->client;
    struct gw_stream *down = ex->incoming.stream;

    if (ex->ws != NULL) {
        ws_ended(ex, GW_WS_UPSTREAM, false);
        return;
    }
    if (ex->state == EX_TUNNEL) {
        down->ops->send_end(down, NULL);
        return;
    }
    ex->client = NULL;
    gw_endpoint_give(client, ex->row);
    if (ex->body_mode == BODY_STREAMING)
        ex->body_mode = BODY_DROPPED;
    if (ex->state == EX_RELAY)
        filter_end(ex, GW_STR(""), trailers);
}

static void on_blocked(struct gw_stream *stream)
{
    struct exchange *ex = stream->user;

    if (ex->ws != NULL)
        ws_blocked(ex, GW_WS_UPSTREAM);
    else if (ex->incoming.stream != NULL)
        ex->incoming.stream->ops->pause(ex->incoming.stream);
}

static void on_drained(struct gw_stream *stream)
{
    struct exchange *ex = stream->user;

    if (ex->ws != NULL)
        ws_drained(ex, GW_WS_UPSTREAM);
    else if (ex->incoming.stream != NULL &&
             (ex->body_mode == BODY_STREAMING || ex->state == EX_TUNNEL))
        ex->incoming.stream->ops->resume(ex->incoming.stream);
}

/* The upstream takes no more of the body; what it has to say may still come. If it says nothing,
 * another try may want the whole body: it is gathered as long as that is possible. */
static void on_refused(struct gw_stream *stream)
{
    struct exchange *ex = stream->user;

    if (ex->body_mode == BODY_STREAMING && !repeatable(ex)) {
        ex->body_mode = BODY_DROPPED;
        ex->replay_lost = true;
    }
}

static void on_reset(struct gw_stream *stream, enum gw_rc rc, const char *why)
{
    struct exchange *ex = stream->user;
    bool connected = ex->client->connected;

    /* The words may be the connection's, and are logged when it is gone. */
    why = gw_arena_printf(&ex->pub.arena, "%s", why).data;
    if (ex->state == EX_UPSTREAM) {
        try_failed(ex, rc, why, connected);
        return;
    }
    if (ex->ws != NULL) {
        relay_drop_client(ex);
        ws_ended(ex, GW_WS_UPSTREAM, true);
        return;
    }
    if (ex->state == EX_TUNNEL) {
        exchange_abort(ex, why);
        return;
    }
    if (ex->state == EX_ANSWER) { /* its body was not wanted anyway */
        relay_drop_client(ex);
        return;
    }
    if (!ex->head_sent) { /* held for a plugin */
        give_up(ex, rc, why);
        return;
    }
    gw_warn("%.*s: upstream %.*s: %s; the answer is cut", GW_STR_ARG(gw_exchange_id(&ex->pub)),
            GW_STR_ARG(ex->pub.upstream_address), why);
    if (rc == GW_CANCELLED)
        ex->grpc_status = GW_GRPC_CANCELLED;
    exchange_cut(ex, status_of(rc), why);
}

static const struct gw_stream_events upstream_events = {
    .on_head = on_head,
    .on_informational = on_informational,
    .on_body = on_body,
    .on_end = on_end,
    .on_blocked = on_blocked,
    .on_drained = on_drained,
    .on_refused = on_refused,
    .on_reset = on_reset,
};

/* ---- time ---- */

static void try_timeout(struct exchange *ex)
{
    ex->try_due_ms = GW_NEVER;
    gw_list_remove(&ex->wait.link);
    exchange_timer(ex);
    if (ex->state == EX_WAITING)
        give_up(ex, GW_DNS, "the name was not resolved in time");
    else if (ex->state == EX_UPSTREAM)
        try_failed(ex, GW_TIMEOUT, "no answer within try_timeout",
                   ex->client != NULL && ex->client->connected);
}

/* Who was waited for when the time was over: a client that has not sent its body, unless it was
 * the upstream that would not take it. */
static bool client_is_late(const struct exchange *ex)
{
    return ex->body_mode == BODY_GATHERING ||
           (ex->body_mode == BODY_STREAMING &&
            (ex->client == NULL ||
             (ex->client->connected && !ex->client->stream.ops->waiting(&ex->client->stream))));
}

static void total_timeout(struct exchange *ex, const char *over)
{
    bool late = client_is_late(ex);

    if (grpc_late(ex))
        ex->grpc_status = GW_GRPC_DEADLINE_EXCEEDED;
    ex->total_due_ms = ex->try_due_ms = GW_NEVER;
    gw_warn("%.*s: %s (%s, after %u tries%s%.*s)", GW_STR_ARG(gw_exchange_id(&ex->pub)), over,
            ex->head_sent ? "the answer is cut"
            : late        ? "the client's body did not come"
                          : "no answer yet",
            ex->pub.tries, ex->pub.tries > 0 ? ", last " : "",
            GW_STR_ARG(ex->pub.upstream_address));
    if (ex->head_sent) {
        exchange_cut(ex, 504, over);
        return;
    }
    if (ex->waiting_phase >= 0)
        ex->proxy->hooks->cancel(ex->proxy->hooks->self, &ex->pub);
    ex->waiting_phase = -1;
    ex->body_fn = NULL;
    gw_list_remove(&ex->wait.link);
    static_stop(ex);
    relay_drop_client(ex);
    ex->pub.error = over;
    /* A call's body may be a conversation: nobody can say who was to speak. */
    answer_problem(ex, late && !ex->grpc ? 408 : 504, "The time allowed for the exchange is over.");
    answer_send(ex);
}

void relay_timeout(struct exchange *ex)
{
    uint64_t now = gw_loop_now_ms(ex->proxy->loop);

    if (ex->finished || ex->state == EX_FREE)
        return;
    if (ex->ws != NULL)
        ws_timeout(ex);
    else if (ex->total_due_ms <= now)
        total_timeout(ex, "the time allowed for the exchange is over");
    else if (ex->try_due_ms <= now)
        try_timeout(ex);
    else if (grpc_idle_due_ms(ex) <= now)
        total_timeout(ex, "neither side of the call sends anything");
    else
        exchange_timer(ex);
}
