/* States, phases, begin and end. A phase that waits leaves `waiting_phase` set and comes back
 * through gw_exchange_resume(). Nothing in proxy/ flushes but at the outermost call (an event,
 * a timer, a resume), because a flush may end the exchange. */
#include "proxy/exchange.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/uuid.h"
#include "conf/limits.h"
#include "proxy/exchange_private.h"
#include "route/match.h"

#define TO(state) (1u << EX_##state)

static const uint32_t allowed[EX_STATES] = {
    [EX_FREE] = TO(FRESH),
    [EX_FRESH] = TO(PHASES) | TO(ANSWER) | TO(DONE),
    [EX_PHASES] = TO(PHASES) | TO(WAITING) | TO(UPSTREAM) | TO(ANSWER) | TO(DONE),
    [EX_WAITING] = TO(PHASES) | TO(WAITING) | TO(UPSTREAM) | TO(ANSWER) | TO(DONE),
    [EX_UPSTREAM] =
        TO(UPSTREAM) | TO(PHASES) | TO(WAITING) | TO(RELAY) | TO(TUNNEL) | TO(ANSWER) | TO(DONE),
    [EX_RELAY] = TO(ANSWER) | TO(DONE), /* ANSWER: header_filter put another in its place */
    [EX_ANSWER] = TO(DONE),
    [EX_TUNNEL] = TO(DONE),
    [EX_DONE] = TO(FREE),
};

void exchange_move(struct exchange *ex, enum gw_exchange_state to)
{
    assert(allowed[ex->state] & 1u << to);
    ex->state = (uint8_t)to;
}

/* ---- numbers ---- */

/* One worker has one proxy; Lua's numbers lead here. */
static struct gw_proxy *numbered;

uint64_t gw_exchange_number(const struct gw_exchange *exchange)
{
    const struct exchange *ex = exchange_of(exchange);

    return (uint64_t)ex->serial << 32 | ex->slot;
}

struct gw_exchange *gw_exchange_by_number(uint64_t number)
{
    uint32_t slot = (uint32_t)number;
    struct exchange *ex;

    if (numbered == NULL || slot >= numbered->slots_count)
        return NULL;
    ex = numbered->slots[slot];
    return ex->serial == number >> 32 && ex->state != EX_FREE ? &ex->pub : NULL;
}

/* ---- timers ---- */

void exchange_timer(struct exchange *ex)
{
    uint64_t due = ex->total_due_ms < ex->try_due_ms ? ex->total_due_ms : ex->try_due_ms;
    uint64_t idle = grpc_idle_due_ms(ex);

    if (idle < due)
        due = idle;
    gw_timer_set(ex->proxy->loop, &ex->timer, due);
}

static void on_timer(struct gw_timer *timer)
{
    struct exchange *ex = GW_CONTAINER(timer, struct exchange, timer);
    struct gw_h1 *h1 = ex->proxy->h1;

    relay_timeout(ex);
    gw_h1_flush_all(h1);
}

/* ---- memory ---- */

static struct exchange *exchange_take(struct gw_proxy *proxy)
{
    struct exchange *ex;

    numbered = proxy;
    if (!gw_list_empty(&proxy->free_exchanges)) {
        ex = GW_CONTAINER(proxy->free_exchanges.next, struct exchange, link);
        gw_list_remove(&ex->link);
        return ex;
    }
    if (proxy->slots_count == proxy->slots_size) {
        uint32_t size = proxy->slots_size > 0 ? proxy->slots_size * 2 : 64;
        struct exchange **slots = realloc(proxy->slots, size * sizeof(struct exchange *));
        if (slots == NULL)
            return NULL;
        proxy->slots = slots;
        proxy->slots_size = size;
    }
    ex = calloc(1, sizeof(*ex));
    if (ex == NULL)
        return NULL;
    ex->slot = proxy->slots_count;
    ex->serial = 1;
    proxy->slots[proxy->slots_count++] = ex;
    gw_timer_init(&ex->timer, on_timer);
    return ex;
}

/* All but its number, its timer's place and the arrays that have counts of their own. */
static void exchange_reset(struct exchange *ex)
{
    memset(&ex->pub, 0, offsetof(struct gw_exchange, param_names));
    memset((char *)ex + offsetof(struct exchange, proxy), 0,
           offsetof(struct exchange, timer) - offsetof(struct exchange, proxy));
    memset((char *)ex + offsetof(struct exchange, total_due_ms), 0,
           sizeof(*ex) - offsetof(struct exchange, total_due_ms));
    ex->waiting_phase = -1;
    ex->wanted_target = GW_NONE;
    ex->total_due_ms = ex->try_due_ms = GW_NEVER;
    ex->plan.fd = -1;
    ex->pub.route_index = GW_NONE;
    gw_list_init(&ex->wait.link);
}

static struct gw_stream_request *on_request_new(struct gw_client_conn *conn)
{
    struct listener *listener = conn->user_data;
    struct gw_proxy *proxy = listener->proxy;
    struct exchange *ex;

    if (proxy_over_memory(proxy) || (ex = exchange_take(proxy)) == NULL) {
        proxy->stats.shed_total++;
        return NULL;
    }
    exchange_reset(ex);
    ex->proxy = proxy;
    ex->conn = conn;
    ex->pub.generation = listener->last != NULL ? listener->last : proxy->current;
    generation_ref(ex->pub.generation);
    ex->pub.listener = &GW_ITEMS(ex->pub.generation->conf, ex->pub.generation->conf->listeners,
                                 struct gw_conf_listener)[listener->index];
    ex->limits = &ex->pub.listener->limits;
    ex->incoming.arena = &ex->pub.arena;
    ex->incoming.request = &ex->pub.request;
    gw_fields_init(&ex->pub.request.fields, &ex->pub.arena);
    ex->pub.began_us = gw_loop_now_us(proxy->loop);
    gw_list_push_back(&proxy->active, &ex->link);
    proxy->stats.requests_total++;
    proxy->stats.requests_active++;
    exchange_move(ex, EX_FRESH);
    return &ex->incoming;
}

static void exchange_free(struct exchange *ex)
{
    struct gw_proxy *proxy = ex->proxy;

    if (ex->pub.script != NULL)
        proxy->hooks->finish(proxy->hooks->self, &ex->pub);
    ex->pub.script = NULL;
    gw_buf_fini(&ex->body);
    gw_buf_fini(&ex->filter_out);
    gw_buf_fini(&ex->held_body);
    gw_buf_fini(&ex->own_body);
    gw_decoder_free(ex->decoder);
    ex->decoder = NULL;
    gw_timer_clear(&ex->timer);
    generation_unref(ex->pub.generation);
    gw_arena_fini(&ex->pub.arena);
    gw_list_remove(&ex->link);
    exchange_move(ex, EX_FREE);
    ex->serial++;
    gw_list_push_front(&proxy->free_exchanges, &ex->link);
    proxy->stats.requests_active--;
}

/* ---- phases ---- */

uint32_t exchange_phases(const struct exchange *ex)
{
    const struct gw_conf *conf = ex->pub.generation->conf;

    return ex->pub.route != NULL ? ex->pub.route->phases : conf->global_phases;
}

enum gw_phase_rc exchange_phase(struct exchange *ex, enum gw_phase phase)
{
    const struct gw_hooks *hooks = ex->proxy->hooks;
    uint32_t phases = phase == GW_PHASE_REWRITE_GLOBAL ? ex->pub.generation->conf->global_phases
                                                       : exchange_phases(ex);
    enum gw_phase_rc rc;

    if ((phases & 1u << phase) == 0 || hooks == NULL)
        return GW_PHASE_NEXT;
    rc = hooks->run(hooks->self, &ex->pub, phase);
    if (rc == GW_PHASE_WAIT)
        ex->waiting_phase = (int8_t)phase;
    return rc;
}

/* What stands in the route wins over the listener's. */
void exchange_limits(struct exchange *ex)
{
    const struct gw_conf_limits *wide = &ex->pub.listener->limits, *own;
    struct gw_conf_limits *nearest;

    ex->limits = wide;
    if (ex->pub.route == NULL)
        return;
    own = gw_route_limits(ex->pub.generation->conf, ex->pub.route);
    if (own->given == 0)
        return;
    nearest = gw_arena_alloc(&ex->pub.arena, sizeof(*nearest));
    gw_conf_limits_nearest(wide, own, nearest);
    ex->limits = nearest;
}

/* Anew for each match: a request that was routed again keeps nothing of the route before. */
static void apply_limits(struct exchange *ex)
{
    struct gw_stream *down = ex->incoming.stream;
    const struct gw_conf_limits *nearest;

    exchange_limits(ex);
    nearest = ex->limits;
    down->ops->limits(down, NULL);
    if (nearest != &ex->pub.listener->limits || ex->pub.route->buffer_response || ex->grpc) {
        struct gw_client_limits *own = gw_arena_alloc(&ex->pub.arena, sizeof(*own));
        *own = *ex->conn->limits;
        /* A call may be a conversation: grpc_idle_timeout holds instead. */
        own->body_timeout_ms = ex->grpc ? UINT32_MAX : nearest->body_timeout_ms;
        own->send_timeout_ms = nearest->send_timeout_ms;
        own->data_rate_min = ex->grpc ? 0 : nearest->data_rate_min;
        own->data_rate_grace_ms = nearest->data_rate_grace_ms;
        /* A buffered answer is read ahead, so that a slow client does not hold the upstream. */
        own->buffer_bytes_max = ex->pub.route->buffer_response ? nearest->body_buffer_bytes_max
                                                               : nearest->buffer_bytes_max;
        down->ops->limits(down, own);
    }
    exchange_total_due(ex);
}

void exchange_total_due(struct exchange *ex)
{
    uint64_t deadline = ex->grpc_due_us > 0 ? (ex->grpc_due_us + 999) / 1000 : GW_NEVER;

    ex->total_due_ms = ex->limits->request_timeout_ms > 0
                           ? ex->pub.began_us / 1000 + ex->limits->request_timeout_ms
                           : GW_NEVER;
    if (deadline < ex->total_due_ms)
        ex->total_due_ms = deadline;
    exchange_timer(ex);
}

/* False: the exchange has its answer. */
static bool match(struct exchange *ex)
{
    struct gw_exchange *pub = &ex->pub;
    const struct gw_conf *conf = pub->generation->conf;
    struct gw_route_result result;
    uint32_t listener =
        (uint32_t)(pub->listener - GW_ITEMS(conf, conf->listeners, struct gw_conf_listener));
    enum gw_rc rc;

    pub->route = NULL;
    rc = gw_route_match(pub->generation->matcher, &pub->request, listener, pub->client_address,
                        &result);
    if (rc == GW_INVALID) {
        answer_problem(ex, 405, "The method is not allowed here.");
        gw_fields_set(&ex->answer.fields, GW_STR("Allow"), result.allow);
        answer_send(ex);
        return false;
    }
    if (rc == GW_NOT_FOUND && gw_str_eq(pub->request.path, GW_STR("*"))) {
        (void)gw_exchange_answer(pub, 204, GW_STR("")); /* OPTIONS *: we are alive */
        answer_send(ex);
        return false;
    }
    if (rc != GW_OK) {
        answer_problem(ex, rc == GW_LIMIT ? 400 : 404,
                       rc == GW_LIMIT ? "The path is too costly to match." : "No route matches.");
        answer_send(ex);
        return false;
    }
    pub->route_index = result.route;
    pub->route = &GW_ITEMS(conf, conf->routes, struct gw_conf_route)[result.route];
    pub->request.path = result.path;
    pub->params = result.params;
    for (uint32_t i = 0; i < result.params; i++) {
        pub->param_names[i] = result.param[i].name;
        pub->param_values[i] = result.param[i].value;
    }
    apply_limits(ex);
    if (pub->request.length > (int64_t)ex->limits->body_bytes_max) {
        answer_problem(ex, 413, "The body is larger than body_size_max.");
        answer_send(ex);
        return false;
    }
    return true;
}

static void serve(struct exchange *ex)
{
    switch ((enum gw_route_kind)ex->pub.route->kind) {
    case GW_ROUTE_UPSTREAM:
        relay_start(ex);
        break;
    case GW_ROUTE_RESPOND:
        answer_respond(ex);
        break;
    case GW_ROUTE_REDIRECT:
        answer_redirect(ex);
        break;
    case GW_ROUTE_FILES:
        static_start(ex);
        break;
    }
}

#define REROUTES_MAX 3

/* What a phase before the upstream came to. True: go on with the next step. */
static bool after_phase(struct exchange *ex, enum gw_phase_rc rc)
{
    switch (rc) {
    case GW_PHASE_NEXT:
        return true;
    case GW_PHASE_WAIT:
        return false;
    case GW_PHASE_ANSWERED:
        answer_send(ex);
        return false;
    case GW_PHASE_REROUTE:
        if (++ex->reroutes > REROUTES_MAX) {
            gw_error("%.*s: more than %d reroutes", GW_STR_ARG(gw_exchange_id(&ex->pub)),
                     REROUTES_MAX);
            break;
        }
        ex->step = STEP_MATCH;
        return true;
    case GW_PHASE_FAILED:
        break;
    }
    answer_problem(ex, 500, "A plugin failed.");
    answer_send(ex);
    return false;
}

void exchange_run(struct exchange *ex)
{
    while (ex->state == EX_PHASES) {
        enum gw_exchange_step step = ex->step;
        ex->step++;
        if (step == STEP_MATCH) {
            if (!match(ex))
                return;
            continue;
        }
        if (step == STEP_SERVE) {
            serve(ex);
            return;
        }
        enum gw_phase phase = step == STEP_GLOBAL    ? GW_PHASE_REWRITE_GLOBAL
                              : step == STEP_REWRITE ? GW_PHASE_REWRITE
                                                     : GW_PHASE_ACCESS;
        if (!after_phase(ex, exchange_phase(ex, phase)))
            return;
    }
}

void gw_exchange_resume(struct gw_exchange *exchange, enum gw_phase_rc rc)
{
    struct exchange *ex = exchange_of(exchange);
    struct gw_h1 *h1 = ex->proxy->h1;
    int phase = ex->waiting_phase;

    assert(phase >= 0 && rc != GW_PHASE_WAIT);
    ex->waiting_phase = -1;
    if (phase == GW_PHASE_BODY_FILTER) {
        filter_resume(ex, rc);
    } else if (phase == GW_PHASE_MESSAGE) {
        ws_resumed(ex, rc);
    } else if (after_phase(ex, rc)) {
        if (phase == GW_PHASE_BALANCER)
            relay_balanced(ex);
        else
            exchange_run(ex);
    }
    gw_h1_flush_all(h1);
}

/* ---- begin ---- */

static void on_request(struct gw_client_conn *conn, struct gw_stream_request *incoming,
                       uint16_t status, const char *why)
{
    struct exchange *ex = GW_CONTAINER(incoming, struct exchange, incoming);

    incoming->stream->user = ex;
    incoming->stream->events = &exchange_client_events;
    ex->pub.http_major = ex->pub.request.major;
    ex->pub.http_minor = ex->pub.request.minor;
    grpc_note(ex);
    if (status == 0)
        status = request_prepare(ex, &why);
    else
        (void)request_peer(ex);
    ex->body_mode = ex->pub.request.has_body ? BODY_HELD : BODY_NONE;
    if (status != 0) {
        ex->pub.error = why;
        /* Who says one ambiguous thing may have said two; 421 is about this request alone. */
        if (status != 421)
            incoming->stream->ops->last(incoming->stream);
        answer_problem(ex, status, why);
        answer_send(ex);
        return;
    }
    if (ex->pub.listener->redirect_https != 0) {
        tls_redirect(ex);
        return;
    }
    exchange_move(ex, EX_PHASES);
    exchange_run(ex);
}

static void on_closed(struct gw_client_conn *conn)
{
    struct listener *listener = conn->user_data;
    struct gw_proxy *proxy = listener->proxy;

    gw_list_remove(&conn->link);
    proxy->stats.connections--;
    if (conn->counted && proxy->clients != NULL) {
        gw_client_table_dec(proxy->clients, conn->address);
        gw_client_table_total_dec(proxy->clients);
    }
    if (proxy->draining && gw_list_empty(&proxy->connections))
        gw_later(proxy->loop, &proxy->drain_later);
    listener_unref(listener);
}

static void on_freed(struct gw_client_conn *conn)
{
    limits_unref(conn->limits);
}

const struct gw_client_user exchange_client_user = {on_request_new, on_request, listener_count_in,
                                                    tls_of_client,  on_closed,  on_freed};

/* ---- end ---- */

/* The last step, and the only way out: `log` runs, the connection does not wait for it. */
void exchange_finish(struct exchange *ex)
{
    struct gw_proxy *proxy = ex->proxy;
    unsigned class = ex->pub.response.status / 100;

    assert(!ex->finished);
    ex->finished = true;
    if (ex->waiting_phase >= 0 && proxy->hooks != NULL)
        proxy->hooks->cancel(proxy->hooks->self, &ex->pub);
    ex->waiting_phase = -1;
    gw_list_remove(&ex->wait.link);
    static_stop(ex);
    if (ex->ws != NULL)
        ws_finish(ex);
    relay_drop_client(ex);
    gw_timer_clear(&ex->timer);
    ex->total_due_ms = ex->try_due_ms = GW_NEVER;
    ex->conn = NULL;
    ex->incoming.stream = NULL;
    ex->pub.ended_us = gw_loop_now_us(proxy->loop);
    proxy->stats.answers_total[ex->head_sent && class <= 5 ? class : 0]++;
    exchange_move(ex, EX_DONE);
    (void)exchange_phase(ex, GW_PHASE_LOG);
    ex->waiting_phase = -1;
    if (!ex->detached)
        exchange_free(ex);
}

void exchange_end(struct exchange *ex)
{
    struct gw_stream *stream = ex->incoming.stream;

    if (stream != NULL)
        stream->ops->reset(stream);
    exchange_finish(ex);
}

void exchange_send_end(struct exchange *ex, const struct gw_fields *trailers)
{
    struct gw_stream *down = ex->incoming.stream;

    ex->ended = true;
    ex->pub.response_trailers = trailers;
    down->ops->send_end(down, trailers);
}

void exchange_abort(struct exchange *ex, const char *why)
{
    ex->pub.aborted = true;
    if (ex->pub.error == NULL)
        ex->pub.error = why;
    exchange_end(ex);
}

void gw_exchange_detach(struct gw_exchange *exchange)
{
    exchange_of(exchange)->detached = true;
}

void gw_exchange_release(struct gw_exchange *exchange)
{
    struct exchange *ex = exchange_of(exchange);

    assert(ex->detached && ex->finished);
    ex->detached = false;
    exchange_free(ex);
}

/* ---- the client's stream ---- */

static void on_client_body(struct gw_stream *stream, struct gw_str piece)
{
    relay_client_body(stream->user, piece);
}

static void on_client_end(struct gw_stream *stream, struct gw_fields *trailers)
{
    relay_client_end(stream->user, trailers);
}

static void on_client_blocked(struct gw_stream *stream)
{
    struct exchange *ex = stream->user;

    if (ex->ws != NULL)
        ws_blocked(ex, GW_WS_CLIENT);
    else if (ex->client != NULL)
        ex->client->stream.ops->pause(&ex->client->stream);
}

static void on_client_drained(struct gw_stream *stream)
{
    struct exchange *ex = stream->user;

    if (ex->ws != NULL)
        ws_drained(ex, GW_WS_CLIENT);
    else if (ex->client != NULL)
        ex->client->stream.ops->resume(&ex->client->stream);
    else if (ex->plan.fd >= 0)
        static_go_on(ex);
}

static void on_client_sent(struct gw_stream *stream)
{
    exchange_finish(stream->user);
}

static void on_client_fault(struct gw_stream *stream, uint16_t status, const char *why)
{
    struct exchange *ex = stream->user;

    ex->pub.error = why;
    ex->body_mode = BODY_DROPPED;
    if (ex->head_sent) {
        exchange_cut(ex, status, why);
        return;
    }
    relay_drop_client(ex);
    /* Who waits for the body is not asked: the client's fault is no plugin's to answer. */
    if (ex->waiting_phase >= 0)
        ex->proxy->hooks->cancel(ex->proxy->hooks->self, &ex->pub);
    ex->waiting_phase = -1;
    ex->body_fn = NULL;
    gw_list_remove(&ex->wait.link);
    static_stop(ex);
    answer_problem(ex, status, why);
    answer_send(ex);
}

static void on_client_reset(struct gw_stream *stream, enum gw_rc rc, const char *why)
{
    struct exchange *ex = stream->user;

    ex->incoming.stream = NULL;
    /* A tunnel has no other end than that of its connections. */
    if (ex->state != EX_TUNNEL || rc != GW_EOF) {
        ex->pub.aborted = true;
        if (ex->pub.error == NULL)
            ex->pub.error = why;
    }
    exchange_finish(ex);
}

const struct gw_stream_events exchange_client_events = {
    .on_body = on_client_body,
    .on_end = on_client_end,
    .on_fault = on_client_fault,
    .on_blocked = on_client_blocked,
    .on_drained = on_client_drained,
    .on_sent = on_client_sent,
    .on_reset = on_client_reset,
};

/* ---- for script/ ---- */

struct gw_str gw_exchange_id(struct gw_exchange *exchange)
{
    if (exchange->id.len == 0) {
        char *id = gw_arena_alloc(&exchange->arena, GW_UUID_LEN + 1);
        gw_uuid_v4(id);
        exchange->id = gw_str(id, GW_UUID_LEN);
    }
    return exchange->id;
}

void gw_exchange_set_query(struct gw_exchange *exchange, struct gw_str query)
{
    exchange->request.query =
        query.data == NULL ? GW_STR_NULL : gw_arena_dup(&exchange->arena, query);
}

enum gw_rc gw_exchange_set_path(struct gw_exchange *exchange, struct gw_str path)
{
    struct gw_str copy = gw_arena_dup(&exchange->arena, path);

    if (path.len == 0 || path.data[0] != '/')
        return GW_INVALID;
    for (size_t i = 0; i < copy.len; i++)
        if (copy.data[i] == '?' || copy.data[i] == '#')
            return GW_INVALID;
    return gw_uri_normalize_path(&exchange->arena, copy, &exchange->request.path);
}

enum gw_rc gw_exchange_set_target(struct gw_exchange *exchange, uint32_t index)
{
    struct exchange *ex = exchange_of(exchange);

    if (ex->row == NULL || index >= ex->row->targets.len)
        return GW_NOT_FOUND;
    ex->wanted_target = index;
    return GW_OK;
}

enum gw_rc gw_exchange_set_upstream(struct gw_exchange *exchange, struct gw_str name)
{
    struct exchange *ex = exchange_of(exchange);
    const struct gw_conf *conf = exchange->generation->conf;
    const struct gw_conf_upstream *rows = GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream);

    for (uint32_t i = 0; i < conf->upstreams.len; i++)
        if (gw_str_eq(gw_ref_str(conf, rows[i].name), name)) {
            ex->row = &rows[i];
            ex->upstream = exchange->generation->upstreams[i];
            return GW_OK;
        }
    return GW_NOT_FOUND;
}
