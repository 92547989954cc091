#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls.h"
#include "script/lib_http.h"

/* A connection: in use by one call, or idle in the pool. */
struct gw_http_link {
    struct gw_list pool; /* in the client's list when idle, the longest unused last */
    struct gw_http_client *client;
    struct gw_http_call *call; /* NULL: idle */
    struct gw_conn conn;
    union gw_dns_address address;
    char *name;            /* that its certificate was good for; NULL: plain */
    struct gw_timer timer; /* of the pool */
    bool used_before;
};

struct gw_http_client {
    struct gw_loop *loop;
    struct gw_dns *dns;
    bool own_dns;
    struct gw_tls_client *tls; /* made for the first https */
    struct gw_list idle;       /* of struct gw_http_link.pool */
    uint32_t idle_count;
    uint32_t calls;
};

static const struct gw_head_limits head_limits = {
    .header_bytes_max = GW_HTTP_HEAD_BYTES_MAX,
    .header_count_max = GW_HTTP_HEAD_COUNT_MAX,
    .uri_bytes_max = 1024, /* answers have none: room for the status line */
};

#define DNS_TIMEOUT_MS 5000

/* ---- connections ---- */

static void link_free(struct gw_http_link *link)
{
    if (!gw_list_empty(&link->pool)) {
        gw_list_remove(&link->pool);
        link->client->idle_count--;
    }
    gw_conn_close(&link->conn);
    gw_timer_fini(link->client->loop, &link->timer);
    free(link->name);
    free(link);
}

static void link_idle_over(struct gw_timer *timer)
{
    link_free(GW_CONTAINER(timer, struct gw_http_link, timer));
}

static bool same_address(const union gw_dns_address *a, const union gw_dns_address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    return a->v6.sin6_port == b->v6.sin6_port &&
           memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
}

/* The connection used last is the likeliest to be alive. */
static struct gw_http_link *take_idle(struct gw_http_call *call,
                                      const union gw_dns_address *address)
{
    struct gw_http_client *client = call->client;

    GW_LIST_EACH(pos, &client->idle)
    {
        struct gw_http_link *link = GW_CONTAINER(pos, struct gw_http_link, pool);
        if (!same_address(&link->address, address) || (link->name != NULL) != call->tls ||
            (call->tls && !gw_str_eq(gw_str_c(link->name), call->host)))
            continue;
        gw_list_remove(&link->pool);
        client->idle_count--;
        gw_timer_clear(&link->timer);
        return link;
    }
    return NULL;
}

static void put_idle(struct gw_http_link *link)
{
    struct gw_http_client *client = link->client;
    uint32_t same = 0;

    GW_LIST_EACH(pos, &client->idle)
    {
        struct gw_http_link *other = GW_CONTAINER(pos, struct gw_http_link, pool);
        same += same_address(&other->address, &link->address);
    }
    if (same >= GW_HTTP_POOL_HOST_MAX || link->conn.hangup) {
        link_free(link);
        return;
    }
    if (client->idle_count >= GW_HTTP_POOL_MAX)
        link_free(GW_CONTAINER(client->idle.prev, struct gw_http_link, pool));
    link->call = NULL;
    link->used_before = true;
    gw_list_push_front(&client->idle, &link->pool);
    client->idle_count++;
    gw_timer_set(client->loop, &link->timer, gw_loop_now_ms(client->loop) + GW_HTTP_POOL_IDLE_MS);
}

/* ---- the end of a call ---- */

/* Lets go of everything that could call back. */
static void detach(struct gw_http_call *call, bool reusable)
{
    struct gw_http_link *link = call->link;

    call->link = NULL;
    if (call->lookup != NULL)
        gw_dns_cancel(call->lookup);
    call->lookup = NULL;
    gw_timer_clear(&call->timer);
    if (link == NULL)
        return;
    link->call = NULL;
    if (reusable)
        put_idle(link);
    else
        link_free(link);
}

/* Nothing may follow in the caller: the call is gone afterwards. */
static void finish(struct gw_http_call *call, enum gw_rc rc, const char *why, bool reusable)
{
    detach(call, reusable);
    call->finished = true;
    call->rc = rc;
    call->why = why;
    call->done(call);
}

static void timed_out(struct gw_timer *timer)
{
    struct gw_http_call *call = GW_CONTAINER(timer, struct gw_http_call, timer);

    finish(call, GW_TIMEOUT,
           call->lookup != NULL                                ? "looking up the name"
           : call->link == NULL || call->link->conn.connecting ? "connecting"
           : call->sent < gw_buf_len(&call->out)               ? "sending the request"
           : call->in_body                                     ? "reading the body"
                                                               : "waiting for the answer",
           false);
}

static enum gw_rc connect_next(struct gw_http_call *call);

/* A connection of the pool may have died while it lay there: what may be repeated goes out
 * once more, on a fresh one. */
static void link_lost(struct gw_http_call *call, enum gw_rc rc, const char *why)
{
    bool again = call->link->used_before && !call->any_byte && !call->retried;

    if (!again) {
        finish(call, rc, why, false);
        return;
    }
    call->retried = true;
    link_free(call->link);
    call->link = NULL;
    call->sent = 0;
    call->address_next = 0;
    rc = connect_next(call);
    if (rc != GW_OK)
        finish(call, rc, call->why, false);
}

/* ---- sending ---- */

/* False: the call has ended. */
static bool send_more(struct gw_http_call *call)
{
    size_t len = gw_buf_len(&call->out), sent;

    while (call->sent < len) {
        struct iovec iov = {call->out.data + call->out.from + call->sent, len - call->sent};
        enum gw_rc rc = gw_conn_writev(&call->link->conn, &iov, 1, &sent);
        /* Who answers early may close its reading side: the answer is still worth reading. */
        if (rc != GW_OK && call->any_byte)
            return true;
        if (rc != GW_OK) {
            link_lost(call, rc, "sending the request");
            return false;
        }
        if (sent == 0)
            return true;
        call->sent += sent;
    }
    return true;
}

/* ---- receiving ---- */

static enum gw_rc begin_body(struct gw_http_call *call)
{
    if (call->response.status == 101) {
        call->why = "an upgrade that was not asked for";
        return GW_PROTOCOL;
    }
    if (call->response.status < 200) {
        if (++call->informational > GW_HTTP_INFORMATIONAL_MAX) {
            call->why = "too many informational answers";
            return GW_PROTOCOL;
        }
        return GW_AGAIN;
    }
    call->in_body = true;
    if (call->head.framing == GW_FRAMING_LENGTH) {
        call->left = (uint64_t)call->response.length;
        if (call->left > call->body_bytes_max) {
            call->why = "the body is too long";
            return GW_LIMIT;
        }
    }
    if (call->head.framing == GW_FRAMING_CHUNKED)
        gw_chunk_init(&call->chunks);
    return GW_OK;
}

/* Takes the head from the front of *data. GW_OK: it is there; GW_AGAIN: more is needed. */
static enum gw_rc read_head(struct gw_http_call *call, struct gw_str *data)
{
    enum gw_rc rc;

    do {
        uint16_t status;
        size_t len, had = gw_buf_len(&call->in);
        gw_buf_add_str(&call->in, *data);
        rc = gw_head_find(gw_buf_str(&call->in), &head_limits, &call->seen, &len, &status);
        if (rc == GW_AGAIN) {
            *data = GW_STR_NULL;
            return rc;
        }
        if (rc != GW_OK) {
            call->why = "the head of the answer";
            return rc;
        }
        /* Slices of the answer live as long as the call: the head moves to its arena. */
        struct gw_str head = gw_arena_dup(&call->arena, gw_str(gw_buf_str(&call->in).data, len));
        *data = gw_str(data->data + (len - had), data->len - (len - had));
        gw_buf_clear(&call->in);
        call->seen = 0;
        rc = gw_head_parse_response(head, &head_limits, call->method, &call->arena, &call->response,
                                    &call->head, &call->why);
        if (rc == GW_OK)
            rc = begin_body(call);
    } while (rc == GW_AGAIN && data->len > 0);
    return rc;
}

static enum gw_rc keep_body(struct gw_http_call *call, struct gw_str piece)
{
    if (gw_buf_len(&call->body) + piece.len > call->body_bytes_max) {
        call->why = "the body is too long";
        return GW_LIMIT;
    }
    gw_buf_add_str(&call->body, piece);
    return GW_OK;
}

/* GW_EOF: the body is whole, *data is what stands behind it; GW_AGAIN: more is needed. */
static enum gw_rc read_body(struct gw_http_call *call, struct gw_str *data)
{
    struct gw_str piece;
    enum gw_rc rc;

    switch (call->head.framing) {
    case GW_FRAMING_NONE:
        return GW_EOF;
    case GW_FRAMING_LENGTH:
        piece = gw_str(data->data, data->len < call->left ? data->len : (size_t)call->left);
        *data = gw_str(data->data + piece.len, data->len - piece.len);
        call->left -= piece.len;
        rc = keep_body(call, piece);
        return rc != GW_OK ? rc : call->left == 0 ? GW_EOF : GW_AGAIN;
    case GW_FRAMING_CLOSE:
        rc = keep_body(call, *data);
        *data = GW_STR_NULL;
        return rc != GW_OK ? rc : GW_AGAIN;
    case GW_FRAMING_CHUNKED:
        for (;;) {
            rc = gw_chunk_decode(&call->chunks, data, &piece, &call->trailers);
            if (rc == GW_OK)
                rc = keep_body(call, piece);
            if (rc != GW_OK)
                break;
        }
        if (rc == GW_PROTOCOL)
            call->why = "the chunks of the body";
        return rc;
    }
    return GW_PROTOCOL;
}

/* False: the call has ended. */
static bool take(struct gw_http_call *call, struct gw_str data)
{
    enum gw_rc rc = GW_OK;

    if (!call->in_body)
        rc = read_head(call, &data);
    if (rc == GW_OK)
        rc = read_body(call, &data);
    if (rc == GW_AGAIN)
        return true;
    if (rc == GW_EOF)
        finish(call, GW_OK, NULL,
               data.len == 0 && call->head.keep_alive && call->keep_alive &&
                   call->sent == gw_buf_len(&call->out));
    else
        finish(call, rc, call->why, false);
    return false;
}

static void ended(struct gw_http_call *call, enum gw_rc rc)
{
    if (rc == GW_EOF && call->in_body && call->head.framing == GW_FRAMING_CLOSE)
        finish(call, GW_OK, NULL, false);
    else if (call->in_body)
        finish(call, GW_CLOSED, "in the middle of the body", false);
    else
        link_lost(call, GW_CLOSED, "before the answer");
}

static void receive(struct gw_http_call *call)
{
    struct gw_http_link *link = call->link;
    char *buffer = gw_loop_buffer(link->client->loop);

    for (;;) {
        size_t got;
        enum gw_rc rc = gw_conn_read(&link->conn, buffer, GW_LOOP_BUFFER_BYTES, &got);
        if (rc == GW_AGAIN)
            return;
        if (rc != GW_OK) {
            ended(call, rc);
            return;
        }
        call->any_byte = true;
        if (!take(call, gw_str(buffer, got)))
            return;
        if (!link->conn.readable)
            return;
    }
}

/* A ticket for later is no answer that nobody asked for. */
static bool only_tls(struct gw_conn *conn)
{
    char byte;
    size_t got;

    return conn->tls != NULL && gw_conn_read(conn, &byte, 1, &got) == GW_AGAIN;
}

static void on_conn(struct gw_conn *conn, unsigned what)
{
    struct gw_http_link *link = GW_CONTAINER(conn, struct gw_http_link, conn);
    struct gw_http_call *call = link->call;

    if (call == NULL) { /* idle: whatever comes now ends it */
        if ((what & (GW_CONN_READ | GW_CONN_HANGUP | GW_CONN_FAILED)) != 0 && !only_tls(conn))
            link_free(link);
        return;
    }
    if (what & GW_CONN_FAILED) {
        enum gw_rc rc = gw_conn_fault_rc(conn);
        call->why = rc == GW_TLS ? gw_arena_printf(&call->arena, "%s", gw_conn_fault(conn)).data
                                 : "connecting";
        link_free(link);
        call->link = NULL;
        /* A bad certificate is an answer; another address would only hide it. */
        if (rc != GW_TLS && call->address_next < call->address_count)
            rc = connect_next(call);
        if (rc != GW_OK)
            finish(call, rc, call->why, false);
        return;
    }
    if (call->sent < gw_buf_len(&call->out) && !send_more(call))
        return;
    if (call->link == link && (what & (GW_CONN_READ | GW_CONN_HANGUP)))
        receive(call);
}

/* ---- connecting ---- */

static enum gw_rc link_secure(struct gw_http_link *link, struct gw_str host)
{
    const struct gw_tls_client_options options = {
        .settings = {.tickets = true}, .verify = true, .system_ca = true, .depth = 8};
    struct gw_http_client *client = link->client;
    struct gw_tls_target target = {.name = host};
    struct gw_err err;
    enum gw_rc rc = client->tls != NULL ? GW_OK : gw_tls_client_new(&options, &client->tls, &err);

    if (rc != GW_OK)
        return rc;
    link->name = strndup(host.data, host.len);
    if (link->name == NULL)
        abort();
    target.client = client->tls;
    return gw_tls_connect(&link->conn, &target);
}

static struct gw_http_link *link_new(struct gw_http_call *call, const union gw_dns_address *address,
                                     enum gw_rc *rc)
{
    struct gw_http_client *client = call->client;
    struct gw_http_link *link = calloc(1, sizeof(*link));

    *rc = GW_NOMEM;
    if (link == NULL)
        return NULL;
    link->client = client;
    link->address = *address;
    gw_list_init(&link->pool);
    gw_timer_init(&link->timer, link_idle_over);
    *rc = gw_conn_connect(&link->conn, client->loop, &address->any, gw_dns_address_len(address),
                          on_conn);
    if (*rc == GW_OK && call->tls)
        *rc = link_secure(link, call->host);
    if (*rc == GW_OK)
        return link;
    link_free(link);
    return NULL;
}

/* A fresh connection to the next address that takes one at all. */
static enum gw_rc connect_next(struct gw_http_call *call)
{
    enum gw_rc rc = GW_REFUSED;

    call->why = "connecting";
    while (call->address_next < call->address_count) {
        call->link = link_new(call, &call->addresses[call->address_next++], &rc);
        if (call->link == NULL)
            continue;
        call->link->call = call;
        return GW_OK;
    }
    return rc;
}

/* The addresses are known. Only what may be repeated goes out on a connection that has been used:
 * that one may be dead by now. The request is not written here. */
static enum gw_rc use_addresses(struct gw_http_call *call)
{
    if (call->keep_alive && gw_method_idempotent(call->method)) {
        for (uint32_t i = 0; i < call->address_count; i++) {
            struct gw_http_link *link = take_idle(call, &call->addresses[i]);
            if (link == NULL)
                continue;
            call->link = link;
            link->call = call;
            return GW_OK;
        }
    }
    return connect_next(call);
}

static void keep_addresses(struct gw_http_call *call, const struct gw_dns_answer *answer)
{
    const uint32_t max = sizeof(call->addresses) / sizeof(call->addresses[0]);

    call->address_count = answer->count < max ? answer->count : max;
    for (uint32_t i = 0; i < call->address_count; i++) {
        call->addresses[i] = answer->addresses[i];
        if (call->addresses[i].any.sa_family == AF_INET6)
            call->addresses[i].v6.sin6_port = htons(call->port);
        else
            call->addresses[i].v4.sin_port = htons(call->port);
    }
}

static enum gw_rc dns_rc(enum gw_rc rc)
{
    return rc == GW_NOT_FOUND ? GW_DNS : rc;
}

static void resolved(void *arg, const struct gw_dns_answer *answer)
{
    struct gw_http_call *call = arg;
    enum gw_rc rc = answer->rc;

    call->lookup = NULL;
    if (rc == GW_OK) {
        keep_addresses(call, answer);
        rc = use_addresses(call);
        if (rc == GW_OK && !call->link->conn.connecting)
            (void)send_more(call);
        else if (rc != GW_OK)
            finish(call, rc, call->why, false);
        return;
    }
    finish(call, dns_rc(rc), "looking up the name", false);
}

static bool literal(struct gw_http_call *call)
{
    union gw_dns_address *address = &call->addresses[0];
    char text[INET6_ADDRSTRLEN + 1];

    if (call->host.len >= sizeof(text))
        return false;
    memcpy(text, call->host.data, call->host.len);
    text[call->host.len] = '\0';
    memset(address, 0, sizeof(*address));
    call->address_count = 1;
    if (inet_pton(AF_INET, text, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(call->port);
        return true;
    }
    if (inet_pton(AF_INET6, text, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons(call->port);
        return true;
    }
    call->address_count = 0;
    return false;
}

static enum gw_rc look_up(struct gw_http_call *call)
{
    struct gw_http_client *client = call->client;
    struct gw_dns_answer answer;
    enum gw_rc rc;

    call->why = "looking up the name";
    if (client->dns == NULL) {
        rc = gw_dns_new(client->loop, NULL, 0, DNS_TIMEOUT_MS, &client->dns, NULL);
        if (rc != GW_OK)
            return rc;
        client->own_dns = true;
    }
    if (gw_dns_cached(client->dns, call->host, GW_DNS_IPV4_FIRST, &answer)) {
        if (answer.rc != GW_OK)
            return dns_rc(answer.rc);
        keep_addresses(call, &answer);
        return use_addresses(call);
    }
    return gw_dns_resolve(client->dns, call->host, GW_DNS_IPV4_FIRST, resolved, call,
                          &call->lookup);
}

enum gw_rc gw_http_call_start(struct gw_http_call *call)
{
    enum gw_rc rc = literal(call) ? use_addresses(call) : look_up(call);

    if (rc != GW_OK)
        return rc;
    gw_timer_set(call->client->loop, &call->timer,
                 gw_loop_now_ms(call->client->loop) + call->timeout_ms);
    /* An old connection takes the request now. What fails here must not end the call before
     * the caller waits for it: the end of the connection is news for the loop as well. */
    if (call->link != NULL && !call->link->conn.connecting) {
        size_t sent = 0;
        struct iovec iov = {call->out.data + call->out.from, gw_buf_len(&call->out)};
        if (gw_conn_writev(&call->link->conn, &iov, 1, &sent) == GW_OK) {
            call->sent = sent;
            return GW_OK;
        }
        link_free(call->link);
        call->link = NULL;
        call->retried = true;
        return connect_next(call);
    }
    return GW_OK;
}

/* ---- life ---- */

struct gw_http_call *gw_http_call_new(struct gw_http_client *client)
{
    struct gw_http_call *call;

    if (client->calls >= GW_HTTP_CALLS_MAX)
        return NULL;
    call = calloc(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->client = client;
    gw_arena_init(&call->arena);
    gw_timer_init(&call->timer, timed_out);
    client->calls++;
    return call;
}

void gw_http_call_free(struct gw_http_call *call)
{
    if (!call->finished)
        detach(call, false);
    gw_timer_fini(call->client->loop, &call->timer);
    gw_buf_fini(&call->out);
    gw_buf_fini(&call->in);
    gw_buf_fini(&call->body);
    gw_buf_fini(&call->trailers);
    gw_arena_fini(&call->arena);
    call->client->calls--;
    free(call);
}

struct gw_http_client *gw_http_client_new(struct gw_loop *loop)
{
    struct gw_http_client *client = calloc(1, sizeof(*client));

    if (client == NULL)
        abort();
    client->loop = loop;
    gw_list_init(&client->idle);
    return client;
}

bool gw_http_client_set_dns(struct gw_http_client *client, struct gw_dns *dns)
{
    if (client->calls > 0)
        return false;
    if (client->own_dns)
        gw_dns_free(client->dns);
    client->own_dns = false;
    client->dns = dns;
    return true;
}

void gw_http_client_free(struct gw_http_client *client)
{
    assert(client->calls == 0);
    while (!gw_list_empty(&client->idle))
        link_free(GW_CONTAINER(client->idle.next, struct gw_http_link, pool));
    if (client->own_dns)
        gw_dns_free(client->dns);
    gw_tls_client_free(client->tls);
    free(client);
}
