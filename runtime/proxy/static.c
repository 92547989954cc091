/* files: routes. What is in memory is sent at once; what would wait for a disk is opened and
 * read ahead on a helper thread. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "proxy/exchange_private.h"

#define PIECE_BYTES 65536
#define AT_ONCE (1024 * 1024) /* of one file and turn, then the others */

static void planned(struct exchange *ex)
{
    struct gw_response *response = &ex->pub.response;
    struct gw_files_plan *plan = &ex->plan;

    if (plan->status >= 400) {
        struct gw_fields extra;
        answer_problem(ex, plan->status, plan->status == 404 ? "There is no such file." : NULL);
        gw_fields_init(&extra, &ex->pub.arena);
        gw_files_fields(plan, &ex->files_conf, &ex->files_request, &extra);
        for (uint32_t i = 0; i < extra.count; i++)
            if (extra.items[i].id != GW_FIELD_CONTENT_TYPE)
                gw_fields_set(&ex->answer.fields, extra.items[i].name, extra.items[i].value);
        gw_files_plan_close(plan);
        answer_send(ex);
        return;
    }
    exchange_move(ex, EX_ANSWER);
    gw_fields_init(&response->fields, &ex->pub.arena);
    gw_files_fields(plan, &ex->files_conf, &ex->files_request, &response->fields);
    response->status = plan->status;
    response->reason = GW_STR_NULL;
    response->has_body = ex->pub.request.method_id != GW_METHOD_HEAD && plan->status != 304;
    response->length = plan->status == 304   ? GW_LENGTH_UNKNOWN
                       : plan->status == 301 ? 0
                                             : (int64_t)plan->range_length;
    if (!filter_head(ex))
        return;
    if (plan->fd < 0) {
        filter_end(ex, GW_STR(""), NULL);
        return;
    }
    gw_files_body_init(&ex->file, plan);
    static_go_on(ex);
}

static void on_planned(void *arg, enum gw_rc rc, struct gw_files_plan *plan)
{
    struct exchange *ex = arg;
    struct gw_h1 *h1 = ex->proxy->h1;

    ex->file_job = NULL;
    if (rc == GW_OK) {
        ex->plan = *plan;
        planned(ex);
    } else {
        answer_problem(ex, 503, "The file could not be opened now.");
        answer_send(ex);
    }
    gw_h1_flush_all(h1);
}

void static_start(struct exchange *ex)
{
    const struct gw_conf *conf = ex->pub.generation->conf;
    const struct gw_conf_details *details = gw_conf_details(conf, ex->pub.route);
    enum gw_rc rc;

    if (request_upstream_path(ex) != 0) {
        answer_problem(ex, 400, "The rewritten path is not valid.");
        answer_send(ex);
        return;
    }
    filter_prepare(ex);
    ex->files_conf =
        (struct gw_files_conf){.root = gw_ref_str(conf, details->root),
                               .index = gw_ref_str(conf, details->index),
                               .cache_control = gw_ref_str(conf, details->cache_control)};
    ex->files_request = (struct gw_files_request){
        .method = ex->pub.request.method_id,
        .name = ex->upstream_path,
        .path = ex->pub.request.path,
        .query = ex->pub.request.query,
        .fields = &ex->pub.request.fields,
        .now_s = (int64_t)(gw_loop_wall_ms(ex->proxy->loop) / 1000),
    };
    rc = gw_files_plan(&ex->files_conf, &ex->files_request, false, &ex->plan);
    if (rc == GW_OK) {
        planned(ex);
        return;
    }
    exchange_move(ex, EX_WAITING);
    rc = gw_files_plan_later(proxy_threads(ex->proxy), &ex->files_conf, &ex->files_request,
                             on_planned, ex, &ex->file_job);
    if (rc != GW_OK) {
        answer_problem(ex, 503, "The file could not be opened now.");
        answer_send(ex);
    }
}

static void on_warm(void *arg, enum gw_rc rc)
{
    struct exchange *ex = arg;
    struct gw_h1 *h1 = ex->proxy->h1;

    ex->file_job = NULL;
    if (rc == GW_OK)
        static_go_on(ex);
    else
        exchange_abort(ex, "the file could not be read");
    gw_h1_flush_all(h1);
}

/* Through memory: for body filters, and for streams that can not take a file. GW_AGAIN: the
 * client must take what it was given first. */
static enum gw_rc send_piece(struct exchange *ex, size_t *sent)
{
    struct gw_proxy *proxy = ex->proxy;
    enum gw_rc rc;

    /* Not the loop's buffer: what is being read from it may hold more requests. */
    if (proxy->piece == NULL && (proxy->piece = malloc(PIECE_BYTES)) == NULL)
        abort();
    gw_h1_flush_all(ex->proxy->h1);
    if (ex->incoming.stream == NULL || ex->incoming.stream->ops->blocked(ex->incoming.stream))
        return GW_AGAIN;
    rc = gw_files_body_read(&ex->file, proxy->piece, PIECE_BYTES, sent);
    if (rc != GW_OK)
        return rc;
    if (!filter_piece(ex, gw_str(proxy->piece, *sent)))
        return GW_CANCELLED;
    gw_h1_flush_all(ex->proxy->h1);
    return GW_OK;
}

void static_go_on(struct exchange *ex)
{
    struct gw_stream *down = ex->incoming.stream;
    size_t total = 0, sent = 0;
    enum gw_rc rc = GW_OK;

    if (ex->file_job != NULL)
        return;
    gw_h1_flush_all(ex->proxy->h1); /* the head goes first */
    while (rc == GW_OK && total < AT_ONCE) {
        rc = ex->body_wish != GW_BODY_AS_IT_IS
                 ? GW_UNSUPPORTED
                 : down->ops->send_file(down, &ex->file, AT_ONCE, &sent);
        if (rc == GW_OK)
            ex->pub.bytes_out += sent;
        else if (rc == GW_UNSUPPORTED)
            rc = send_piece(ex, &sent);
        total += sent;
    }
    if (rc == GW_EOF) {
        gw_files_plan_close(&ex->plan);
        filter_end(ex, GW_STR(""), NULL);
    } else if (rc == GW_BUSY) {
        rc = gw_files_warm(proxy_threads(ex->proxy), &ex->file, on_warm, ex, &ex->file_job);
        if (rc != GW_OK)
            exchange_abort(ex, "no helper thread for a cold file");
    } else if (rc == GW_OK) {
        down->ops->send_file_later(down);
    } else if (rc != GW_AGAIN && rc != GW_CANCELLED) {
        if (rc == GW_SYSTEM)
            gw_warn("%.*s: the file shrank or could not be read; the answer is cut",
                    GW_STR_ARG(gw_exchange_id(&ex->pub)));
        exchange_abort(ex, rc == GW_SYSTEM ? "the file shrank or could not be read"
                                           : "client closed the connection");
    }
}

void static_stop(struct exchange *ex)
{
    if (ex->file_job != NULL)
        gw_files_cancel(ex->file_job);
    ex->file_job = NULL;
    gw_files_plan_close(&ex->plan);
}
