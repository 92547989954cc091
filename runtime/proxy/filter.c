/* What plugins make of an answer, whoever gives it: header_filter on its head, body_filter on its
 * body. A source (an upstream, a file, an answer of our own) calls filter_head() once,
 * filter_piece() for what it has, filter_end() behind the last. Three ways lead on from the head:
 *   as it is   nobody wants the body: head and pieces go out as they come
 *   pieces     through body_filter, one by one; the length is not known
 *   whole      some plugin wants it whole: head and body are held until it came and body_filter,
 *              which may wait, is done with it. What goes wrong meanwhile can still be answered.
 */
#include <ctype.h>

#include "base/log.h"
#include "proxy/exchange_private.h"

/* A body that will be changed has no ranges, and no encoding that the filter could not read. */
void filter_prepare(struct exchange *ex)
{
    if ((exchange_phases(ex) & 1u << GW_PHASE_BODY_FILTER) == 0)
        return;
    gw_fields_remove_known(&ex->pub.request.fields, GW_FIELD_RANGE);
    gw_fields_remove_known(&ex->pub.request.fields, GW_FIELD_IF_RANGE);
    (void)gw_fields_remove(&ex->pub.request.fields, GW_STR("accept-encoding"));
}

/* ---- when it goes wrong ---- */

static void refuse(struct exchange *ex, uint16_t status, const char *detail)
{
    answer_problem(ex, status, detail);
    answer_send(ex);
}

static void plugin_failed(struct exchange *ex)
{
    refuse(ex, 500, "A plugin failed.");
}

/* 502 where the upstream is to blame for what it sent. */
static uint16_t fault_status(const struct exchange *ex)
{
    return ex->state == EX_RELAY ? 502 : 500;
}

/* False, always: the exchange is over, or another answer is on its way. */
static bool fail(struct exchange *ex, uint16_t status, const char *why)
{
    struct gw_str from = ex->state == EX_RELAY ? ex->pub.upstream_address : GW_STR("the gateway");
    struct gw_str detail;

    gw_warn("%.*s: answer of %.*s: %s%s", GW_STR_ARG(gw_exchange_id(&ex->pub)), GW_STR_ARG(from),
            why, ex->head_sent ? "; it is cut" : "");
    ex->pub.error = why;
    if (ex->head_sent) {
        exchange_cut(ex, status, why);
    } else {
        detail = gw_arena_printf(&ex->pub.arena, "%c%s.", toupper((unsigned char)*why), why + 1);
        (void)gw_exchange_problem(&ex->pub, status, GW_STR_NULL, detail);
        answer_send(ex);
    }
    return false;
}

/* ---- the head ---- */

static bool bodiless(uint16_t status)
{
    return status == 204 || status == 304;
}

static bool may_have_body(const struct exchange *ex)
{
    return ex->pub.request.method_id != GW_METHOD_HEAD && !bodiless(ex->pub.response.status);
}

static void send_head(struct exchange *ex)
{
    struct gw_stream *down = ex->incoming.stream;

    /* Too late is too late: what is still missing of the request is not waited for. */
    if (ex->pub.answered_by_gateway && ex->pub.response.status == 408)
        down->ops->last(down);
    ex->head_sent = true;
    tls_answer_fields(ex);
    down->ops->send_response(down, &ex->pub.response);
}

/* What the head said of a body that is now another. */
static void forget_old_body(struct exchange *ex)
{
    struct gw_fields *fields = &ex->pub.response.fields;
    struct gw_field *etag = gw_fields_known(fields, GW_FIELD_ETAG);

    if (etag != NULL && !gw_str_starts(etag->value, GW_STR("W/")))
        gw_fields_set(fields, etag->name,
                      gw_arena_printf(&ex->pub.arena, "W/%.*s", GW_STR_ARG(etag->value)));
    gw_fields_remove_known(fields, GW_FIELD_CONTENT_ENCODING);
    gw_fields_remove_known(fields, GW_FIELD_ACCEPT_RANGES);
    (void)gw_fields_remove(fields, GW_STR("content-md5"));
    (void)gw_fields_remove(fields, GW_STR("content-digest"));
    (void)gw_fields_remove(fields, GW_STR("repr-digest"));
    (void)gw_fields_remove(fields, GW_STR("digest"));
}

/* The body will be changed. False: it cannot be, and another answer is on its way. */
static bool prepare_change(struct exchange *ex)
{
    struct gw_response *response = &ex->pub.response;
    struct gw_str coding;

    /* We asked for no range: a filter must not take a part for the whole. */
    if (response->status == 206 && ex->state == EX_RELAY)
        return fail(ex, 502, "body_filter needs the whole answer, the upstream sent a part");
    if (gw_fields_get(&response->fields, gw_field_name(GW_FIELD_CONTENT_ENCODING), &coding) &&
        gw_decoder_new(coding, &ex->decoder) != GW_OK)
        return fail(ex, fault_status(ex),
                    "the answer's content coding cannot be read by body_filter");
    forget_old_body(ex);
    return true;
}

static const char too_long[] = "the answer is longer than body_buffer_size_max";

/* What we answer ourselves is in memory anyway. */
static bool over_limit(const struct exchange *ex, uint64_t bytes)
{
    return !ex->pub.answered_by_gateway && !ex->has_own_body &&
           bytes > ex->limits->body_buffer_bytes_max;
}

/* The head is final but for what comes of the body: it leaves, or is held. */
static bool begin(struct exchange *ex)
{
    const struct gw_hooks *hooks = ex->proxy->hooks;
    struct gw_response *response = &ex->pub.response;
    enum gw_body_wish wish = GW_BODY_AS_IT_IS;

    /* A head that ends a call has its status: nothing may come behind it. */
    if (hooks != NULL && (exchange_phases(ex) & 1u << GW_PHASE_BODY_FILTER) != 0 &&
        (response->has_body || !ex->grpc))
        wish = hooks->body_begin(hooks->self, &ex->pub);
    if (wish == GW_BODY_FAILED) {
        plugin_failed(ex);
        return false;
    }
    if (wish != GW_BODY_AS_IT_IS) {
        if (!prepare_change(ex))
            return false;
        response->has_body = may_have_body(ex); /* one may come of an empty one */
        if (wish == GW_BODY_WHOLE && response->has_body &&
            over_limit(ex, response->length > 0 ? (uint64_t)response->length : 0))
            return fail(ex, fault_status(ex), too_long);
        response->length = GW_LENGTH_UNKNOWN;
    }
    ex->body_wish = (uint8_t)(response->has_body ? wish : GW_BODY_AS_IT_IS);
    if (ex->body_wish != GW_BODY_WHOLE)
        send_head(ex);
    return true;
}

/* header_filter has put another body into the answer, or a status that has none: the source is
 * stopped, and what it still says is dropped. */
static void send_own(struct exchange *ex)
{
    struct gw_response *response = &ex->pub.response;

    static_stop(ex);
    relay_discard(ex);
    if (ex->state != EX_ANSWER)
        exchange_move(ex, EX_ANSWER);
    if (response->status == 206)
        response->status = 200;
    if (!bodiless(response->status)) {
        (void)gw_fields_remove(&response->fields, GW_STR("content-range"));
        forget_old_body(ex);
    }
    response->has_body = may_have_body(ex);
    response->length =
        bodiless(response->status) ? GW_LENGTH_UNKNOWN : (int64_t)gw_buf_len(&ex->own_body);
    if (begin(ex))
        filter_end(ex, gw_buf_str(&ex->own_body), NULL);
}

bool filter_head(struct exchange *ex)
{
    struct gw_response *response = &ex->pub.response;
    uint16_t status = response->status;
    enum gw_phase_rc rc;

    if (ex->filtered) { /* it came from a filter, or replaces what one could not read */
        ex->body_wish = GW_BODY_AS_IT_IS;
        send_head(ex);
        return true;
    }
    ex->filtered = true;
    rc = exchange_phase(ex, GW_PHASE_HEADER_FILTER);
    if (rc == GW_PHASE_ANSWERED) {
        answer_send(ex);
        return false;
    }
    if (rc != GW_PHASE_NEXT) {
        plugin_failed(ex);
        return false;
    }
    if (ex->has_own_body || (bodiless(response->status) && !bodiless(status))) {
        send_own(ex);
        return false;
    }
    if (bodiless(status) && !bodiless(response->status)) {
        response->has_body = may_have_body(ex);
        response->length = ex->pub.answered_by_gateway ? (int64_t)ex->answer.body.len : 0;
    }
    return begin(ex);
}

/* ---- the body ---- */

/* A flush may end the exchange, and another may have its memory then. */
static bool flush(struct exchange *ex)
{
    uint32_t serial = ex->serial;

    gw_h1_flush_all(ex->proxy->h1);
    return ex->serial == serial && !ex->finished;
}

static void send_piece(struct exchange *ex, struct gw_str piece)
{
    struct gw_stream *down = ex->incoming.stream;

    ex->pub.bytes_out += piece.len;
    if (piece.len > 0)
        down->ops->send_body(down, piece);
}

/* Plain bytes, through the filters. */
static bool take(struct exchange *ex, struct gw_str piece, bool last)
{
    const struct gw_hooks *hooks = ex->proxy->hooks;
    bool changed = false, whole = ex->body_wish == GW_BODY_WHOLE;

    /* The piece before is lent to the stream until then. */
    if (gw_buf_len(&ex->filter_out) > 0 && !whole && !flush(ex))
        return false;
    gw_buf_clear(&ex->filter_out);
    if (hooks->body_filter(hooks->self, &ex->pub, piece, last, &ex->filter_out, &changed) !=
        GW_PHASE_NEXT)
        return fail(ex, 500, "a plugin failed in body_filter");
    if (changed)
        piece = gw_buf_str(&ex->filter_out);
    if (!whole) {
        send_piece(ex, piece);
        return true;
    }
    if (over_limit(ex, gw_buf_len(&ex->held_body) + piece.len))
        return fail(ex, fault_status(ex), too_long);
    gw_buf_add_str(&ex->held_body, piece);
    return true;
}

static bool take_decoded(void *arg, struct gw_str piece)
{
    struct exchange *ex = arg;

    /* The slice is good until we return: it has to leave, or be copied, now. */
    return take(ex, piece, false) && (ex->body_wish == GW_BODY_WHOLE || flush(ex));
}

static bool bad_coding(struct exchange *ex, enum gw_rc rc)
{
    return fail(ex, fault_status(ex),
                rc == GW_LIMIT ? "the answer's Content-Encoding unpacks to too much"
                               : "the answer is not what its Content-Encoding says");
}

static bool decode(struct exchange *ex, struct gw_str piece)
{
    enum gw_rc rc = gw_decoder_feed(ex->decoder, piece, take_decoded, ex);

    if (rc == GW_CANCELLED)
        return false;
    return rc == GW_OK || bad_coding(ex, rc);
}

bool filter_piece(struct exchange *ex, struct gw_str piece)
{
    if (!ex->pub.response.has_body)
        return true;
    if (ex->body_wish == GW_BODY_AS_IT_IS) {
        send_piece(ex, piece);
        return true;
    }
    return ex->decoder != NULL ? decode(ex, piece) : take(ex, piece, false);
}

static void whole_done(struct exchange *ex, enum gw_phase_rc rc)
{
    struct gw_response *response = &ex->pub.response;
    struct gw_str body = gw_buf_str(ex->has_own_body ? &ex->own_body : &ex->held_body);

    if (rc != GW_PHASE_NEXT) {
        plugin_failed(ex);
        return;
    }
    response->has_body = may_have_body(ex); /* the plugin may have set another status */
    response->length = bodiless(response->status) ? GW_LENGTH_UNKNOWN : (int64_t)body.len;
    send_head(ex);
    if (response->has_body)
        send_piece(ex, body);
    exchange_send_end(ex, ex->grpc ? ex->pub.response_trailers : NULL);
}

static void run_whole(struct exchange *ex)
{
    const struct gw_hooks *hooks = ex->proxy->hooks;
    enum gw_phase_rc rc;

    ex->has_own_body = false; /* from here on: the one that body_filter gives */
    rc = hooks->body_whole(hooks->self, &ex->pub, gw_buf_str(&ex->held_body));
    if (rc != GW_PHASE_WAIT) {
        whole_done(ex, rc);
        return;
    }
    ex->waiting_phase = GW_PHASE_BODY_FILTER;
    gw_buf_fini(&ex->held_body); /* Lua has it; there may be many who wait */
}

void filter_resume(struct exchange *ex, enum gw_phase_rc rc)
{
    whole_done(ex, rc);
}

/* False: the exchange is over, or another answer is on its way. */
static bool last_piece(struct exchange *ex, struct gw_str piece)
{
    if (ex->body_wish == GW_BODY_AS_IT_IS)
        return filter_piece(ex, piece);
    if (ex->decoder == NULL)
        return take(ex, piece, true);
    if (piece.len > 0 && !decode(ex, piece))
        return false;
    if (!gw_decoder_complete(ex->decoder))
        return bad_coding(ex, GW_PROTOCOL);
    return take(ex, GW_STR(""), true);
}

void filter_end(struct exchange *ex, struct gw_str piece, const struct gw_fields *trailers)
{
    if (!last_piece(ex, piece))
        return;
    ex->pub.response_trailers = trailers;
    if (ex->body_wish == GW_BODY_WHOLE)
        run_whole(ex);
    else
        exchange_send_end(ex, trailers);
}

/* ---- for script/ ---- */

void gw_exchange_set_response_body(struct gw_exchange *exchange, struct gw_str body)
{
    struct exchange *ex = exchange_of(exchange);
    struct gw_buf copy = GW_BUF_INIT;

    gw_buf_add_str(&copy, body); /* `body` may be what we have */
    gw_buf_fini(&ex->own_body);
    ex->own_body = copy;
    ex->has_own_body = true;
}

bool gw_exchange_response_body(const struct gw_exchange *exchange, struct gw_str *out)
{
    const struct exchange *ex = exchange_of(exchange);

    if (!ex->has_own_body && !exchange->answered_by_gateway)
        return false;
    *out = ex->has_own_body ? gw_buf_str(&ex->own_body) : ex->answer.body;
    return true;
}
