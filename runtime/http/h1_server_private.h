/* The inside of a client's connection, for the files that share its work:
 *   h1_server.c         states, timers, begin and end
 *   h1_server_read.c    what the client sends: PROXY protocol, heads, bodies
 *   h1_server_write.c   what it gets: the operations of its stream
 *
 *   PROXY -> TLS -> IDLE -> HEAD -> BUSY -> IDLE …   one request after the other
 *                             BUSY -> DISCARD -> IDLE   answered before the body had come
 *                             BUSY -> RAW          after 101
 *                             BUSY -> LINGER       we close, the client may still be sending
 */
#ifndef GW_HTTP_H1_SERVER_PRIVATE_H
#define GW_HTTP_H1_SERVER_PRIVATE_H

#include "http/h1.h"
#include "http/h1_out.h"

enum { SV_PROXY, SV_TLS, SV_IDLE, SV_HEAD, SV_BUSY, SV_DISCARD, SV_LINGER, SV_RAW, SV_CLOSED };

static inline uint64_t server_now(const struct gw_h1_server *s)
{
    return gw_loop_now_ms(s->pipe.h1->loop);
}

static inline struct gw_h1_server *server_of_stream(struct gw_stream *stream)
{
    return GW_CONTAINER(stream, struct gw_h1_server, stream);
}

static inline void server_limits(struct gw_h1_server *s, const struct gw_client_limits *limits)
{
    s->now = limits;
    s->pipe.send_timeout_ms = limits->send_timeout_ms;
    s->pipe.buffer_bytes_max = limits->buffer_bytes_max;
}

/* 0: none. */
static inline void server_set_timer(struct gw_h1_server *s, uint32_t after_ms)
{
    if (after_ms == 0)
        gw_timer_clear(&s->pipe.timer);
    else
        gw_timer_set(s->pipe.h1->loop, &s->pipe.timer, server_now(s) + after_ms);
}

/* h1_server.c */
/* The connection is dead while a request may be under way. */
void server_kill(struct gw_h1_server *s, enum gw_rc rc, const char *why);
/* Frees all but the struct, which goes at the end of the turn. */
void server_close(struct gw_h1_server *s, bool hard);
/* Its connection went on as another struct: frees all, tells nobody. */
void server_moved(struct gw_h1_server *s);
/* We have ended our side; what still comes is read and dropped, for a while. */
void server_linger(struct gw_h1_server *s);
/* Shakes hands; `early` was read already. */
void server_begin_tls(struct gw_h1_server *s, struct gw_str early);
/* Ready for the next request. */
void server_go_idle(struct gw_h1_server *s);

/* h1_server_read.c */
/* Reads and hands on, until nothing is there or nobody wants it. */
void server_read(struct gw_h1_server *s);
/* The request is complete and yet there is news: early bytes, an end, or a reset? */
void server_peek(struct gw_h1_server *s);
/* A tunnel's client has gone while nobody reads: if nothing of its bytes is left, that is told. */
void server_raw_hangup(struct gw_h1_server *s);
/* The head, or the lack of it, deserves an answer of its own. */
void server_head_fault(struct gw_h1_server *s, uint16_t status, const char *why);
/* So does the rest of the body. */
void server_body_fault(struct gw_h1_server *s, uint16_t status, const char *why);
/* A connection that we have no memory for: the shortest answer there is. */
void server_refuse(struct gw_h1_server *s);

/* h1_server_write.c */
extern const struct gw_stream_ops server_ops;

#endif
