/* A client's connection: its life, its moves from state to state, its timers. */
#include <stdlib.h>

#include "base/cidr.h"
#include "base/limits.h"
#include "base/log.h"
#include "http/h1_server_private.h"
#include "http/h2.h"

static struct gw_h1_server *server_of_pipe(struct gw_pipe *pipe)
{
    return GW_CONTAINER(pipe, struct gw_h1_server, pipe);
}

void server_kill(struct gw_h1_server *s, enum gw_rc rc, const char *why)
{
    if (s->state == SV_CLOSED)
        return;
    s->now = s->client.limits;
    if (s->request != NULL) {
        s->request = NULL;
        s->stream.events->on_reset(&s->stream, rc, why);
    }
    server_close(s, rc != GW_EOF);
}

/* ---- moves ---- */

void server_linger(struct gw_h1_server *s)
{
    s->state = SV_LINGER;
    s->left = 0;
    gw_conn_shutdown(&s->pipe.conn);
    if (!s->pipe.feeding)
        gw_buf_fini(&s->pipe.in); /* else feed() is reading it */
    server_set_timer(s, GW_LINGER_MS);
    gw_later(s->pipe.h1->loop, &s->pipe.later);
}

void server_go_idle(struct gw_h1_server *s)
{
    gw_h1_chunked_free(s->chunk);
    s->chunk = NULL;
    s->state = SV_IDLE;
    s->half_closed = false;
    server_set_timer(s, s->client.limits->idle_timeout_ms);
    if (!s->pipe.feeding && (gw_buf_len(&s->pipe.in) > 0 || s->pipe.conn.readable))
        gw_later(s->pipe.h1->loop, &s->pipe.later);
}

/* The answer has left; what becomes of the connection? */
static void answer_done(struct gw_h1_server *s)
{
    bool clean = s->in_done && s->framing != GW_FRAMING_CLOSE;

    s->request = NULL;
    if (clean && s->keep_alive && !s->client.draining) {
        server_go_idle(s);
    } else if (!s->in_done && s->keep_alive && !s->client.draining) {
        s->state = SV_DISCARD;
        s->body_bytes = 0;
        s->pipe.paused = false;
        server_set_timer(s, s->now->body_timeout_ms);
        if (!s->pipe.feeding)
            gw_later(s->pipe.h1->loop, &s->pipe.later);
    } else if (clean && gw_buf_len(&s->pipe.in) == 0 && !s->pipe.conn.readable) {
        server_close(s, false);
    } else {
        server_linger(s);
    }
}

static void on_written(struct gw_pipe *pipe)
{
    struct gw_h1_server *s = server_of_pipe(pipe);

    if (s->state == SV_LINGER) {
        server_linger(s);
        return;
    }
    if (s->state == SV_RAW && s->out_done) {
        gw_conn_shutdown(&s->pipe.conn);
        if (s->in_done)
            server_kill(s, GW_EOF, "done");
        return;
    }
    if (s->state == SV_BUSY && s->half_closed && !s->out_done)
        server_set_timer(s, s->client.limits->half_close_timeout_ms);
    if (s->state != SV_BUSY || !s->out_done || s->request == NULL)
        return;
    s->request = NULL;
    server_limits(s, s->client.limits);
    s->stream.events->on_sent(&s->stream);
    if (s->state == SV_BUSY)
        answer_done(s);
}

static void on_blocked(struct gw_pipe *pipe)
{
    struct gw_h1_server *s = server_of_pipe(pipe);

    if (s->request != NULL)
        s->stream.events->on_blocked(&s->stream);
}

/* Told later: whoever flushes is in the middle of something. */
static void on_broken(struct gw_pipe *pipe)
{
    gw_later(pipe->h1->loop, &pipe->later);
}

static const struct gw_pipe_side server_side = {on_written, on_blocked, on_broken};

/* ---- TLS ---- */

/* As nginx answers them: who speaks without TLS can read it. */
static void refuse_plain(struct gw_h1_server *s)
{
    static const char answer[] =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Length: 51\r\nConnection: close\r\n\r\n"
        "This port speaks HTTPS; the request came as HTTP.\r\n";

    gw_tls_drop(&s->pipe.conn);
    s->state = SV_LINGER;
    gw_h1_out_text(&s->pipe, answer, sizeof(answer) - 1);
    gw_h1_out_flush(s->pipe.h1);
}

static void on_handshake(struct gw_h1_server *s, unsigned what)
{
    char address[GW_IP_TEXT_BYTES];

    if (what & GW_CONN_CONNECTED) {
        s->state = SV_IDLE;
        server_set_timer(s, s->client.limits->header_timeout_ms);
        if (gw_str_eq(gw_conn_alpn(&s->pipe.conn), GW_STR("h2")))
            gw_h2_server_take(s, GW_STR(""));
        else if (s->pipe.conn.readable)
            server_read(s);
    } else if (what & GW_CONN_FAILED) {
        (void)gw_ip_format(s->client.address, address);
        gw_info("client %s: %s", address, gw_conn_fault(&s->pipe.conn));
        if (gw_tls_plain_client(&s->pipe.conn))
            refuse_plain(s);
        else
            server_kill(s, GW_TLS, "the TLS handshake failed");
    }
}

void server_begin_tls(struct gw_h1_server *s, struct gw_str early)
{
    struct gw_tls_server *tls = s->client.user->on_tls(&s->client);

    if (tls == NULL) {
        server_kill(s, GW_CLOSED, "the listener has no TLS any more");
        return;
    }
    s->state = SV_TLS;
    gw_tls_accept(&s->pipe.conn, tls, early);
    if (early.len > 0)
        gw_later(s->pipe.h1->loop, &s->pipe.later);
}

/* ---- events ---- */

static void on_conn(struct gw_conn *conn, unsigned what)
{
    struct gw_h1_server *s = GW_CONTAINER(conn, struct gw_h1_server, pipe.conn);

    if (s->state == SV_TLS) {
        on_handshake(s, what);
        return;
    }
    if ((what & GW_CONN_WRITE) != 0 && gw_buf_len(&s->pipe.out) > 0) {
        enum gw_rc rc = gw_h1_out_resume(&s->pipe);
        if (rc == GW_CLOSED) {
            server_kill(s, GW_CLOSED, "client closed the connection");
            return;
        }
        if (rc == GW_OK) {
            bool blocked = s->pipe.blocked;
            s->pipe.blocked = false;
            server_set_timer(s, s->state == SV_BUSY && !s->in_done && !s->pipe.paused
                                    ? s->now->body_timeout_ms
                                    : 0);
            if (blocked && s->request != NULL)
                s->stream.events->on_drained(&s->stream);
            if (s->state != SV_CLOSED)
                s->pipe.side->written(&s->pipe);
            gw_h1_out_flush(s->pipe.h1);
            if (s->state == SV_CLOSED)
                return;
        }
    }
    if ((what & GW_CONN_WRITE) != 0 && s->awaits_room) {
        s->awaits_room = false;
        gw_timer_clear(&s->pipe.timer);
        if (s->request != NULL)
            s->stream.events->on_drained(&s->stream);
        gw_h1_out_flush(s->pipe.h1);
    }
    if ((what & (GW_CONN_READ | GW_CONN_HANGUP)) == 0 || s->state == SV_CLOSED)
        return;
    if (s->state == SV_BUSY && s->in_done)
        server_peek(s);
    else if (s->state == SV_RAW && s->pipe.paused &&
             (s->pipe.conn.hangup || (what & GW_CONN_WRITE) != 0)) /* a reset is told by both */
        server_raw_hangup(s);
    else
        server_read(s);
}

static void on_timer(struct gw_timer *timer)
{
    struct gw_h1_server *s = GW_CONTAINER(timer, struct gw_h1_server, pipe.timer);

    if (gw_buf_len(&s->pipe.out) > 0 || s->awaits_room) {
        server_kill(s, GW_TIMEOUT, "client takes no data");
    } else if (s->state == SV_HEAD) {
        server_head_fault(s, 408, "the head took too long");
        gw_h1_out_flush(s->pipe.h1);
    } else if (s->state == SV_BUSY && !s->in_done) {
        server_body_fault(s, 408, "the body took too long");
        gw_h1_out_flush(s->pipe.h1);
    } else if (s->state == SV_BUSY && s->half_closed) {
        server_kill(s, GW_CLOSED, "client went away");
    } else if (s->state != SV_BUSY) {
        server_kill(s, GW_EOF, "idle for too long");
    }
}

static void on_later(struct gw_later *later)
{
    struct gw_h1_server *s = GW_CONTAINER(later, struct gw_h1_server, pipe.later);

    if (s->state == SV_CLOSED) {
        if (!s->moved)
            s->client.user->on_freed(&s->client);
        free(s);
        return;
    }
    if (s->pipe.write_dead) {
        server_kill(s, GW_CLOSED, "client closed the connection");
        return;
    }
    if (s->yields) {
        s->yields = false;
        if (s->request != NULL)
            s->stream.events->on_drained(&s->stream);
        gw_h1_out_flush(s->pipe.h1);
        return;
    }
    if (s->state == SV_TLS)
        gw_conn_go_on(&s->pipe.conn);
    else
        server_read(s);
}

void server_moved(struct gw_h1_server *s)
{
    s->moved = true;
    server_close(s, false);
}

/* ---- what its user may do with it ---- */

static struct gw_h1_server *server_of(struct gw_client_conn *conn)
{
    return GW_CONTAINER(conn, struct gw_h1_server, client);
}

static void client_retire(struct gw_client_conn *conn)
{
    conn->draining = true; /* the next answer says Connection: close */
}

static void client_drain(struct gw_client_conn *conn)
{
    struct gw_h1_server *s = server_of(conn);

    conn->draining = true;
    if (((s->state == SV_IDLE || s->state == SV_PROXY) && gw_buf_len(&s->pipe.in) == 0) ||
        s->state == SV_DISCARD) /* for a request that may not come any more */
        server_linger(s);
}

static void client_refuse(struct gw_client_conn *conn)
{
    struct gw_h1_server *s = server_of(conn);

    if (s->state == SV_TLS) { /* a handshake costs more than it is worth */
        server_kill(s, GW_LIMIT, "too many connections");
        return;
    }
    server_refuse(s);
    gw_h1_out_flush(s->pipe.h1);
}

static void client_close(struct gw_client_conn *conn, bool hard)
{
    server_kill(server_of(conn), hard ? GW_CLOSED : GW_EOF, "the gateway stops");
}

static const struct gw_client_ops client_ops = {client_retire, client_drain, client_refuse,
                                                client_close};

/* ---- life ---- */

struct gw_client_conn *gw_h1_server_new(struct gw_h1 *h1, int fd, const struct gw_client_user *user,
                                        struct gw_client_limits *limits,
                                        const struct sockaddr *peer, void *user_data)
{
    struct gw_h1_server *s = calloc(1, sizeof(*s));

    if (s == NULL || gw_conn_open(&s->pipe.conn, h1->loop, fd, on_conn) != GW_OK) {
        free(s);
        return NULL;
    }
    s->pipe.conn.readable = false; /* the first edge tells */
    s->pipe.h1 = h1;
    s->pipe.side = &server_side;
    s->pipe.buffer_bytes_max = limits->buffer_bytes_max;
    s->pipe.send_timeout_ms = limits->send_timeout_ms;
    gw_timer_init(&s->pipe.timer, on_timer);
    gw_later_init(&s->pipe.later, on_later);
    s->stream.ops = &server_ops;
    s->client.ops = &client_ops;
    s->client.user = user;
    s->client.user_data = user_data;
    s->client.limits = limits;
    s->now = limits;
    gw_list_init(&s->client.link);
    s->client.born_ms = gw_loop_now_ms(h1->loop);
    gw_address_v6(peer, s->client.address);
    s->client.port = gw_address_port(peer);
    s->client.unix_peer = peer->sa_family == AF_UNIX;
    s->client.net = &s->pipe.conn;
    s->state = limits->proxy_protocol ? SV_PROXY : SV_IDLE;
    server_set_timer(s, limits->header_timeout_ms);
    if (limits->tls && !limits->proxy_protocol)
        server_begin_tls(s, GW_STR(""));
    return &s->client;
}

void server_close(struct gw_h1_server *s, bool hard)
{
    struct gw_h1 *h1 = s->pipe.h1;

    if (s->state == SV_CLOSED)
        return;
    s->state = SV_CLOSED;
    s->pipe.closed = true;
    if (h1->owner == &s->pipe)
        h1->owner = NULL;
    if (hard)
        gw_conn_reset(&s->pipe.conn);
    else
        gw_conn_close(&s->pipe.conn);
    gw_timer_fini(h1->loop, &s->pipe.timer);
    gw_buf_fini(&s->pipe.in);
    gw_buf_fini(&s->pipe.out);
    gw_h1_chunked_free(s->chunk);
    s->chunk = NULL;
    if (!s->moved)
        s->client.user->on_closed(&s->client);
    gw_later(h1->loop, &s->pipe.later);
}
