/* gRPC, as far as it is not HTTP: a call is a request of HTTP/2 with its Content-Type.
 *   - grpc-timeout is the deadline of the exchange; each try hands on what is left of it
 *   - an answer of ours that is no success becomes a status of gRPC in a head without a body
 *   - an answer that breaks when its head has gone ends with such a status in trailers
 *   - how fast a body comes says nothing: silence on both sides is what has a limit
 * Everything else (streams, trailers, who cancels) is as for any request. */
#include <assert.h>

#include "base/log.h"
#include "http/grpc.h"
#include "proxy/exchange_private.h"

static const struct gw_str timeout_name = {"grpc-timeout", 12};

void grpc_note(struct exchange *ex)
{
    ex->grpc = ex->pub.request.major == 2 && gw_grpc_message(&ex->pub.request.fields);
}

uint16_t grpc_deadline(struct exchange *ex, const char **why)
{
    struct gw_str text;
    uint64_t us;

    if (!ex->grpc || !gw_fields_get(&ex->pub.request.fields, timeout_name, &text))
        return 0;
    if (gw_grpc_timeout_parse(text, &us) != GW_OK) {
        *why = "bad grpc-timeout";
        return 400;
    }
    ex->grpc_due_us = ex->pub.began_us + us;
    if (us == 0) {
        *why = "the deadline of the call has passed";
        ex->grpc_status = GW_GRPC_DEADLINE_EXCEEDED;
        return 504;
    }
    ex->total_due_ms = (ex->grpc_due_us + 999) / 1000;
    exchange_timer(ex);
    return 0;
}

/* Not rounded: the upstream shall not think that it has longer than we wait. */
void grpc_pass_deadline(struct exchange *ex)
{
    uint64_t now_us = gw_loop_now_us(ex->proxy->loop);
    char *text;

    if (ex->grpc_due_us == 0)
        return;
    text = gw_arena_alloc(&ex->pub.arena, GW_GRPC_TIMEOUT_BYTES);
    gw_fields_set(&ex->pub.request.fields, timeout_name,
                  gw_str(text, gw_grpc_timeout_format(
                                   ex->grpc_due_us > now_us ? ex->grpc_due_us - now_us : 1, text)));
}

bool grpc_late(const struct exchange *ex)
{
    return ex->grpc_due_us != 0 &&
           (ex->grpc_due_us + 999) / 1000 <= gw_loop_now_ms(ex->proxy->loop);
}

bool grpc_refused(struct exchange *ex)
{
    if (ex->grpc || !ex->row->http2 || !gw_grpc_message(&ex->pub.request.fields))
        return false;
    answer_problem(ex, 505, "gRPC needs HTTP/2 from the client, too.");
    answer_send(ex);
    return true;
}

/* ---- silence ---- */

uint64_t grpc_idle_due_ms(const struct exchange *ex)
{
    if (!ex->grpc || ex->ended || ex->limits->grpc_idle_ms == 0 ||
        (ex->state != EX_UPSTREAM && ex->state != EX_RELAY))
        return GW_NEVER;
    return ex->heard_ms + ex->limits->grpc_idle_ms;
}

/* ---- the end of a call ---- */

#define MESSAGE_BYTES_MAX 1024

/* What a person reads of an answer: the words of a problem, or a short text. */
static struct gw_str message_of(const struct exchange *ex, uint16_t status)
{
    const struct gw_answer *answer = &ex->answer;
    struct gw_field *type = gw_fields_known(&answer->fields, GW_FIELD_CONTENT_TYPE);
    struct gw_str body = answer->body;

    if (answer->message.len > 0)
        return answer->message;
    while (body.len > 0 && body.data[body.len - 1] == '\n')
        body.len--;
    if (body.len > 0 && body.len <= MESSAGE_BYTES_MAX &&
        (type == NULL || gw_str_starts(type->value, GW_STR("text/plain"))))
        return body;
    return gw_str_c(gw_status_reason(status));
}

static void say(struct exchange *ex, struct gw_fields *fields, enum gw_grpc_status status,
                struct gw_str message)
{
    struct gw_buf text = GW_BUF_INIT;

    gw_fields_set(fields, GW_STR("grpc-status"),
                  gw_arena_printf(&ex->pub.arena, "%u", (unsigned)status));
    if (message.len > 0) {
        gw_grpc_percent(message, &text);
        gw_fields_set(fields, GW_STR("grpc-message"),
                      gw_arena_dup(&ex->pub.arena, gw_buf_str(&text)));
    }
    gw_buf_fini(&text);
}

static enum gw_grpc_status status_of(const struct exchange *ex, uint16_t status)
{
    return ex->grpc_status != 0 ? (enum gw_grpc_status)ex->grpc_status : gw_grpc_status_of(status);
}

void grpc_answer(struct exchange *ex)
{
    struct gw_response *response = &ex->pub.response;
    struct gw_fields *fields = &response->fields;
    bool own = gw_fields_find(fields, GW_STR("grpc-status")) != NULL; /* a plugin knows gRPC */
    uint16_t status = response->status;

    if (!ex->grpc || (!own && status >= 200 && status < 300))
        return;
    if (!own)
        say(ex, fields, status_of(ex, status), message_of(ex, status));
    gw_fields_set(fields, GW_STR("Content-Type"), GW_STR("application/grpc"));
    gw_fields_remove_known(fields, GW_FIELD_CONTENT_ENCODING);
    response->status = 200;
    response->has_body = false;
    response->length = GW_LENGTH_UNKNOWN;
    ex->answer.body = GW_STR("");
}

/* False: it has to be cut. */
static bool end_with(struct exchange *ex, uint16_t status, const char *why)
{
    struct gw_fields *trailers;

    if (!ex->grpc || ex->ended || ex->state != EX_RELAY || !ex->pub.response.has_body ||
        !gw_grpc_message(&ex->pub.response.fields))
        return false;
    relay_drop_client(ex);
    if (ex->body_mode == BODY_STREAMING)
        ex->body_mode = BODY_DROPPED;
    ex->total_due_ms = ex->try_due_ms = GW_NEVER;
    if (ex->pub.error == NULL)
        ex->pub.error = why;
    trailers = gw_arena_zalloc(&ex->pub.arena, sizeof(*trailers));
    gw_fields_init(trailers, &ex->pub.arena);
    say(ex, trailers, status_of(ex, status), gw_str_c(why));
    exchange_send_end(ex, trailers);
    exchange_timer(ex);
    return true;
}

void exchange_cut(struct exchange *ex, uint16_t status, const char *why)
{
    if (!end_with(ex, status, why))
        exchange_abort(ex, why);
}
