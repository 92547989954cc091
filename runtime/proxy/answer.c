/* Answers of our own: problems (RFC 9457), respond: and redirect: routes, what a plugin says. */
#include <assert.h>
#include <stdio.h>

#include "proxy/exchange_private.h"

static const struct gw_str content_type = {"Content-Type", 12};

/* Names that frame a message are ours. */
static bool frames(struct gw_str name)
{
    enum gw_field_id id = gw_field_id_of(name);

    return id == GW_FIELD_CONTENT_LENGTH || id == GW_FIELD_TRANSFER_ENCODING ||
           id == GW_FIELD_CONNECTION || id == GW_FIELD_KEEP_ALIVE || id == GW_FIELD_UPGRADE ||
           id == GW_FIELD_TRAILER;
}

struct gw_answer *gw_exchange_answer(struct gw_exchange *exchange, uint16_t status,
                                     struct gw_str body)
{
    struct exchange *ex = exchange_of(exchange);

    ex->answer.status = status;
    gw_fields_init(&ex->answer.fields, &exchange->arena);
    ex->answer.body = gw_arena_dup(&exchange->arena, body);
    ex->answer.message = GW_STR_NULL;
    return &ex->answer;
}

static void json_text(struct gw_buf *out, struct gw_str text)
{
    gw_buf_add(out, "\"", 1);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte == '"' || byte == '\\')
            gw_buf_printf(out, "\\%c", byte);
        else if (byte < 0x20 || byte >= 0x7f)
            gw_buf_printf(out, "\\u%04x", byte);
        else
            gw_buf_add(out, &text.data[i], 1);
    }
    gw_buf_add(out, "\"", 1);
}

struct gw_answer *gw_exchange_problem(struct gw_exchange *exchange, uint16_t status,
                                      struct gw_str title, struct gw_str detail)
{
    struct gw_buf body = GW_BUF_INIT;
    struct gw_answer *answer;

    gw_buf_printf(&body, "{\"type\":\"about:blank\",\"title\":");
    json_text(&body, title.len > 0 ? title : gw_str_c(gw_status_reason(status)));
    gw_buf_printf(&body, ",\"status\":%u", status);
    if (detail.len > 0) {
        gw_buf_printf(&body, ",\"detail\":");
        json_text(&body, detail);
    }
    if (exchange->request.path.len > 0) {
        gw_buf_printf(&body, ",\"instance\":");
        json_text(&body, exchange->request.path);
    }
    gw_buf_printf(&body, ",\"id\":");
    json_text(&body, gw_exchange_id(exchange));
    gw_buf_printf(&body, "}\n");
    answer = gw_exchange_answer(exchange, status, gw_buf_str(&body));
    gw_buf_fini(&body);
    answer->message = gw_arena_dup(&exchange->arena, detail.len > 0 ? detail : title);
    gw_fields_add(&answer->fields, content_type, GW_STR("application/problem+json"));
    if (status == 503)
        gw_fields_add(&answer->fields, GW_STR("Retry-After"), GW_STR("1"));
    return answer;
}

void answer_problem(struct exchange *ex, uint16_t status, const char *detail)
{
    (void)gw_exchange_problem(&ex->pub, status, GW_STR_NULL,
                              gw_str_c(detail != NULL ? detail : ""));
}

/* ---- sending ---- */

static void copy_fields(struct exchange *ex)
{
    const struct gw_fields *from = &ex->answer.fields;

    gw_fields_init(&ex->pub.response.fields, &ex->pub.arena);
    for (uint32_t i = 0; i < from->count; i++)
        if (!from->items[i].dropped && !frames(from->items[i].name))
            gw_fields_add(&ex->pub.response.fields, from->items[i].name, from->items[i].value);
}

/* Sends ex->answer: through the filters, unless it comes from one or replaces what has passed
 * header_filter already. */
void answer_send(struct exchange *ex)
{
    struct gw_response *response = &ex->pub.response;
    bool bodiless;

    assert(!ex->head_sent);
    if (ex->finished)
        return;
    relay_drop_client(ex);
    static_stop(ex);
    ex->try_due_ms = GW_NEVER;
    if (ex->state != EX_ANSWER)
        exchange_move(ex, EX_ANSWER);
    ex->pub.answered_by_gateway = true;
    copy_fields(ex);
    bodiless = ex->answer.status == 204 || ex->answer.status == 304;
    response->status = ex->answer.status;
    response->reason = GW_STR_NULL;
    response->has_body = !bodiless && ex->pub.request.method_id != GW_METHOD_HEAD;
    response->length = bodiless ? GW_LENGTH_UNKNOWN : (int64_t)ex->answer.body.len;
    grpc_answer(ex);
    if (filter_head(ex))
        filter_end(ex, ex->answer.body, NULL);
}

void answer_respond(struct exchange *ex)
{
    const struct gw_conf *conf = ex->pub.generation->conf;
    const struct gw_conf_details *details = gw_conf_details(conf, ex->pub.route);
    const struct gw_conf_header *rows = GW_ITEMS(conf, details->headers, struct gw_conf_header);

    /* The body stays where it is: the generation outlives the exchange. */
    ex->answer.status = (uint16_t)details->status;
    ex->answer.body = gw_ref_str(conf, details->body);
    ex->answer.message = GW_STR_NULL;
    gw_fields_init(&ex->answer.fields, &ex->pub.arena);
    for (uint32_t i = 0; i < details->headers.len; i++)
        gw_fields_add(&ex->answer.fields, gw_ref_str(conf, rows[i].name),
                      gw_ref_str(conf, rows[i].value));
    answer_send(ex);
}

static void redirect_part(struct exchange *ex, struct gw_str name, struct gw_buf *out)
{
    const struct gw_request *request = &ex->pub.request;

    if (gw_str_eq(name, GW_STR("host"))) {
        gw_buf_add_str(out, request->host);
    } else if (gw_str_eq(name, GW_STR("path"))) {
        gw_buf_add_str(out, request->path);
    } else if (gw_str_eq(name, GW_STR("query"))) {
        if (request->query.data != NULL)
            gw_buf_printf(out, "?%.*s", GW_STR_ARG(request->query));
    } else if (gw_str_eq(name, GW_STR("scheme"))) {
        gw_buf_add_str(out, request->scheme);
    } else {
        for (uint32_t i = 0; i < ex->pub.params; i++)
            if (gw_str_eq(ex->pub.param_names[i], name))
                gw_buf_add_str(out, ex->pub.param_values[i]);
    }
}

/* The conf says no host: then nothing that a client has sent may name one. */
static bool stays_here(struct gw_str pattern)
{
    return pattern.len > 0 &&
           ((pattern.data[0] == '/' && !gw_str_starts(pattern, GW_STR("//"))) ||
            (pattern.data[0] == '$' && !gw_str_starts(pattern, GW_STR("$scheme:"))));
}

/* "//host", "/\\host" and "https:host" lead away; one slash in front of a path does not. */
static struct gw_str local_location(struct gw_arena *arena, struct gw_str location)
{
    while (location.len > 0 && (location.data[0] == '/' || location.data[0] == '\\'))
        location = gw_str(location.data + 1, location.len - 1);
    return gw_arena_printf(arena, "/%.*s", GW_STR_ARG(location));
}

void answer_redirect(struct exchange *ex)
{
    const struct gw_conf *conf = ex->pub.generation->conf;
    const struct gw_conf_details *details = gw_conf_details(conf, ex->pub.route);
    struct gw_str pattern = gw_ref_str(conf, details->location), location;
    struct gw_buf text = GW_BUF_INIT;
    struct gw_answer *answer;

    for (size_t i = 0; i < pattern.len;) {
        size_t end = i + 1;
        while (pattern.data[i] == '$' && end < pattern.len &&
               ((pattern.data[end] >= 'a' && pattern.data[end] <= 'z') ||
                (pattern.data[end] >= '0' && pattern.data[end] <= '9') || pattern.data[end] == '_'))
            end++;
        if (end > i + 1)
            redirect_part(ex, gw_str(pattern.data + i + 1, end - i - 1), &text);
        else
            gw_buf_add(&text, pattern.data + i, 1);
        i = end;
    }
    location = gw_arena_dup(&ex->pub.arena, gw_buf_str(&text));
    gw_buf_fini(&text);
    if (stays_here(pattern))
        location = local_location(&ex->pub.arena, location);
    answer = gw_exchange_answer(&ex->pub, (uint16_t)details->status, GW_STR(""));
    gw_fields_add(&answer->fields, GW_STR("Location"), location);
    answer_send(ex);
}
