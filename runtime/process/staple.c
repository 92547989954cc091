#include "process/staple.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "http/uri.h"
#include "net/tls.h"
#include "script/lib_http.h"

#define STAPLES_MAX 10000
#define RESPONSE_BYTES_MAX (64 * 1024)
#define FETCH_MS 10000
#define AGAIN_MS ((uint64_t)60 * 1000)   /* after a failure */
#define RENEW_MS ((uint64_t)3600 * 1000) /* a good one is asked for again, at the latest */
#define UNKNOWN_S ((uint64_t)24 * 3600)  /* for those that do not say how long they are good */

struct staple {
    struct gw_list link;
    struct gw_staples *staples;
    uint64_t hash; /* of the question */
    struct gw_buf question, url, chain, response;
    struct gw_later later; /* begins a fetch */
    uint64_t until_s;      /* wall clock */
    uint64_t renew_ms;
    struct gw_http_call *call; /* NULL: none is under way */
};

struct gw_staples {
    struct gw_loop *loop;
    struct gw_http_client *client; /* made for the first fetch */
    struct gw_list all;
    uint32_t count;
};

static uint64_t now_s(const struct staple *staple)
{
    return gw_loop_wall_ms(staple->staples->loop) / 1000;
}

static void take(struct staple *staple, struct gw_http_call *call)
{
    uint64_t until_s = now_s(staple) + UNKNOWN_S, now_ms = gw_loop_now_ms(staple->staples->loop);
    struct gw_str body = gw_buf_str(&call->body);
    struct gw_err err;

    staple->renew_ms = now_ms + AGAIN_MS;
    if (call->rc != GW_OK || call->response.status != 200) {
        gw_warn("OCSP: %s", call->rc != GW_OK ? gw_rc_text(call->rc) : "the answer is not 200");
    } else if (gw_tls_ocsp_check(gw_buf_str(&staple->chain), body, &until_s, &err) != GW_OK) {
        gw_warn("OCSP: the response is not used: %s", err.text);
    } else {
        uint64_t half_ms = (until_s > now_s(staple) ? until_s - now_s(staple) : 0) * 500;
        gw_buf_clear(&staple->response);
        gw_buf_add_str(&staple->response, body);
        staple->until_s = until_s;
        staple->renew_ms = now_ms + (half_ms > AGAIN_MS && half_ms < RENEW_MS ? half_ms : RENEW_MS);
    }
}

static void on_done(struct gw_http_call *call)
{
    struct staple *staple = call->arg;

    take(staple, call);
    staple->call = NULL;
    gw_http_call_free(call);
}

/* POST, as all responders take it (RFC 6960 A.1). */
static bool write_request(struct staple *staple, struct gw_http_call *call)
{
    struct gw_str url = gw_buf_str(&staple->url), question = gw_buf_str(&staple->question), host;
    struct gw_target_parts parts;

    if (gw_uri_split_target(url, &parts) != GW_OK || parts.form != GW_TARGET_ABSOLUTE ||
        !gw_str_eq_nocase(parts.scheme, GW_STR("http")) ||
        gw_uri_parse_authority(&call->arena, parts.authority, &host, &call->port) != GW_OK)
        return false;
    if (host.len > 2 && host.data[0] == '[')
        host = gw_str(host.data + 1, host.len - 2);
    call->host = gw_arena_dup(&call->arena, host);
    call->port = call->port == 0 ? 80 : call->port;
    call->method = GW_METHOD_POST;
    call->timeout_ms = FETCH_MS;
    call->body_bytes_max = RESPONSE_BYTES_MAX;
    call->done = on_done;
    call->arg = staple;
    gw_buf_printf(&call->out,
                  "POST %.*s%s%.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: moongate\r\n"
                  "Content-Type: application/ocsp-request\r\nContent-Length: %zu\r\n"
                  "Connection: close\r\n\r\n",
                  GW_STR_ARG(parts.path), parts.query.data != NULL ? "?" : "", (int)parts.query.len,
                  parts.query.data != NULL ? parts.query.data : "", GW_STR_ARG(parts.authority),
                  question.len);
    gw_buf_add_str(&call->out, question);
    return true;
}

static void fetch(struct gw_later *later)
{
    struct staple *staple = GW_CONTAINER(later, struct staple, later);
    struct gw_staples *staples = staple->staples;
    struct gw_http_call *call;

    if (staples->client == NULL)
        staples->client = gw_http_client_new(staples->loop);
    staple->renew_ms = gw_loop_now_ms(staples->loop) + AGAIN_MS;
    call = gw_http_call_new(staples->client);
    if (call == NULL)
        return;
    if (!write_request(staple, call) || gw_http_call_start(call) != GW_OK) {
        gw_warn("OCSP: %.*s cannot be asked", GW_STR_ARG(gw_buf_str(&staple->url)));
        gw_http_call_free(call);
        return;
    }
    staple->call = call;
}

/* ---- what handshakes ask ---- */

static struct staple *staple_of(struct gw_staples *staples,
                                const struct gw_staple_question *question)
{
    uint64_t hash = gw_hash(question->request.data, question->request.len, 0);
    struct staple *staple;

    GW_LIST_EACH(pos, &staples->all)
    {
        staple = GW_CONTAINER(pos, struct staple, link);
        if (staple->hash == hash && gw_str_eq(gw_buf_str(&staple->question), question->request))
            return staple;
    }
    if (staples->count >= STAPLES_MAX)
        return NULL;
    staple = calloc(1, sizeof(*staple));
    if (staple == NULL)
        abort();
    staple->staples = staples;
    staple->hash = hash;
    gw_buf_add_str(&staple->question, question->request);
    gw_buf_add_str(&staple->url, question->url);
    gw_buf_add_str(&staple->chain, question->chain);
    gw_later_init(&staple->later, fetch);
    gw_list_push_front(&staples->all, &staple->link);
    staples->count++;
    return staple;
}

struct gw_str gw_staples_get(void *arg, const struct gw_staple_question *question)
{
    struct gw_staples *staples = arg;
    struct staple *staple = staple_of(staples, question);

    if (staple == NULL)
        return GW_STR("");
    /* Not from here: we are inside of a handshake. */
    if (staple->call == NULL && gw_loop_now_ms(staples->loop) >= staple->renew_ms)
        gw_later(staples->loop, &staple->later);
    if (gw_buf_len(&staple->response) == 0 || staple->until_s <= now_s(staple))
        return GW_STR("");
    return gw_buf_str(&staple->response);
}

/* ---- life ---- */

struct gw_staples *gw_staples_new(struct gw_loop *loop)
{
    struct gw_staples *staples = calloc(1, sizeof(*staples));

    if (staples == NULL)
        abort();
    staples->loop = loop;
    gw_list_init(&staples->all);
    return staples;
}

void gw_staples_free(struct gw_staples *staples)
{
    if (staples == NULL)
        return;
    GW_LIST_EACH_SAFE(pos, after, &staples->all)
    {
        struct staple *staple = GW_CONTAINER(pos, struct staple, link);
        if (staple->call != NULL)
            gw_http_call_free(staple->call);
        gw_later_cancel(&staple->later);
        gw_buf_fini(&staple->question);
        gw_buf_fini(&staple->url);
        gw_buf_fini(&staple->chain);
        gw_buf_fini(&staple->response);
        free(staple);
    }
    if (staples->client != NULL)
        gw_http_client_free(staples->client);
    free(staples);
}
