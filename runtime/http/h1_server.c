/* A client's connection: its life, its moves from state to state, its timers. */
#include <stdlib.h>

#include "base/limits.h"
#include "http/h1_server_private.h"

static struct gw_h1_server *server_of_pipe(struct gw_pipe *pipe)
{
    return GW_CONTAINER(pipe, struct gw_h1_server, pipe);
}

struct gw_h1_server *gw_h1_server_of(struct gw_stream *stream)
{
    return GW_CONTAINER(stream, struct gw_h1_server, stream);
}

void server_kill(struct gw_h1_server *s, enum gw_rc rc, const char *why)
{
    if (s->state == SV_CLOSED)
        return;
    s->now = s->limits;
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
    server_set_timer(s, s->limits->idle_timeout_ms);
    if (!s->pipe.feeding && (gw_buf_len(&s->pipe.in) > 0 || s->pipe.conn.readable))
        gw_later(s->pipe.h1->loop, &s->pipe.later);
}

/* The answer has left; what becomes of the connection? */
static void answer_done(struct gw_h1_server *s)
{
    bool clean = s->in_done && s->framing != GW_FRAMING_CLOSE;

    s->request = NULL;
    if (clean && s->keep_alive && !s->draining) {
        server_go_idle(s);
    } else if (!s->in_done && s->keep_alive && !s->draining) {
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
    if (s->state != SV_BUSY || !s->out_done || s->request == NULL)
        return;
    s->request = NULL;
    gw_h1_server_limits(s, s->limits);
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

/* ---- events ---- */

static void on_conn(struct gw_conn *conn, unsigned what)
{
    struct gw_h1_server *s = GW_CONTAINER(conn, struct gw_h1_server, pipe.conn);

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
    } else if (s->state == SV_BUSY && s->half_closed && !s->head_sent) {
        server_kill(s, GW_CLOSED, "client went away");
    } else if (s->state != SV_BUSY) {
        server_kill(s, GW_EOF, "idle for too long");
    }
}

static void on_later(struct gw_later *later)
{
    struct gw_h1_server *s = GW_CONTAINER(later, struct gw_h1_server, pipe.later);

    if (s->state == SV_CLOSED) {
        s->user->on_freed(s);
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
    server_read(s);
}

/* ---- life ---- */

struct gw_h1_server *gw_h1_server_new(struct gw_h1 *h1, int fd,
                                      const struct gw_h1_server_user *user,
                                      struct gw_h1_limits *limits, const struct sockaddr *peer,
                                      void *user_data)
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
    s->user = user;
    s->user_data = user_data;
    s->limits = limits;
    s->now = limits;
    gw_list_init(&s->link);
    s->born_ms = gw_loop_now_ms(h1->loop);
    gw_address_v6(peer, s->address);
    s->port = gw_address_port(peer);
    s->unix_peer = peer->sa_family == AF_UNIX;
    s->state = limits->proxy_protocol ? SV_PROXY : SV_IDLE;
    server_set_timer(s, limits->header_timeout_ms);
    return s;
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
    s->user->on_closed(s);
    gw_later(h1->loop, &s->pipe.later);
}

void gw_h1_server_close(struct gw_h1_server *server, bool hard)
{
    server_kill(server, hard ? GW_CLOSED : GW_EOF, "the gateway stops");
}

void gw_h1_server_refuse(struct gw_h1_server *s)
{
    server_refuse(s);
    gw_h1_out_flush(s->pipe.h1);
}

bool gw_h1_server_idle(const struct gw_h1_server *server)
{
    return server->state == SV_IDLE || server->state == SV_PROXY;
}

void gw_h1_server_last(struct gw_h1_server *server)
{
    server->keep_alive = false;
}

void gw_h1_server_drain(struct gw_h1_server *server)
{
    server->draining = true;
    if ((gw_h1_server_idle(server) && gw_buf_len(&server->pipe.in) == 0) ||
        server->state == SV_DISCARD) /* for a request that may not come any more */
        server_linger(server);
}

void gw_h1_server_limits(struct gw_h1_server *server, const struct gw_h1_limits *limits)
{
    server->now = limits;
    server->pipe.send_timeout_ms = limits->send_timeout_ms;
    server->pipe.buffer_bytes_max = limits->buffer_bytes_max;
}

void gw_h1_server_raw(struct gw_h1_server *server)
{
    server->state = SV_RAW;
    server->in_done = false;
    server->pipe.chunked_out = server->pipe.no_body_out = false;
    gw_timer_clear(&server->pipe.timer);
}
