/* The inside of HTTP/2, for the files that share its work; nghttp2 is known to h2.c alone.
 *   h2.c          a session: frames in and out, flow control, floods; the door to nghttp2
 *   h2_head.c     fields that came, judged and written down as lines of HTTP/1.1
 *   h2_stream.c   what both sides do with a stream: bodies in and out, pause and resume
 *   h2_server.c   a client's connection
 *   h2_client.c   a connection to an upstream
 *   h2_memory.c   where a session's buffer comes from
 *
 * Nothing that a user does in an event enters nghttp2's reader or writer again: sends are noted
 * on the stream and come out with the next flush of the connection, which waits until the
 * reader has returned. What the writer finds out (a stream has ended) is told after it. */
#ifndef GW_HTTP_H2_PRIVATE_H
#define GW_HTTP_H2_PRIVATE_H

#include "http/h1_out.h"
#include "http/h2.h"
#include "http/h2_memory.h"

struct nghttp2_session;

/* Codes of RFC 9113 7. */
enum gw_h2_code {
    GW_H2_NO_ERROR = 0,
    GW_H2_PROTOCOL_ERROR = 1,
    GW_H2_INTERNAL_ERROR = 2,
    GW_H2_REFUSED_STREAM = 7,
    GW_H2_CANCEL = 8,
    GW_H2_ENHANCE_YOUR_CALM = 11,
    GW_H2_CONNECT_ERROR = 10,
};

/* A head while its fields come; there is never more than one of a connection. */
struct gw_h2_head {
    struct gw_buf lines;  /* "name: value\r\n" of the regular fields */
    struct gw_buf cookie; /* its pieces, joined */
    struct gw_buf pseudo; /* the values below, one behind the other */
    struct gw_h2_pseudo {
        uint32_t at, len;
        bool given;
    } method, scheme, authority, path, protocol, status;
    struct gw_buf host; /* of a regular field */
    bool has_host;
    uint64_t decoded; /* bytes, also of what was not kept */
    uint32_t count;
    bool too_large;        /* 431 */
    const char *malformed; /* NULL: it is not */
};

struct gw_h2_pair {
    struct gw_str name, value;
};

struct gw_h2_stream {
    struct gw_upstream_stream up; /* of a client's stream: `stream` and `arena` alone */
    struct gw_h2_conn *conn;
    struct gw_list link;   /* of the connection */
    struct gw_list dirty;  /* something was given since the last flush */
    struct gw_list wake;   /* something to tell at the end of the turn */
    struct gw_list news;   /* something to tell after the flush */
    struct gw_timer timer; /* for the body, or for the peer to take ours */
    int32_t id;            /* 0: not yet */
    struct gw_buf in;      /* came while paused */
    struct gw_buf out;     /* given, and not taken yet */
    struct gw_str lent;    /* behind `out`; good until the flush */
    const struct gw_fields *trailers;
    struct gw_fields *trailers_in;
    uint64_t body_bytes; /* that came */
    uint64_t moved;      /* bytes of ours that went since the timer was set to send_timeout */
    uint64_t since_ms;   /* we wait for the body since */
    uint32_t waited_ms;
    uint32_t buffer_bytes_max;
    bool attached : 1; /* a user listens */
    bool paused : 1;
    bool head_in : 1;   /* the (final) head has come */
    bool ended_in : 1;  /* the peer's END_STREAM has come */
    bool told_end : 1;  /* ... and was told */
    bool head_out : 1;  /* ours was given */
    bool ended_out : 1; /* send_end was called */
    bool framed : 1;    /* our END_STREAM is among the frames */
    bool no_body_out : 1;
    bool deferred : 1; /* nghttp2 waits for resume_data */
    bool blocked : 1;
    bool tell_blocked : 1;
    bool yields : 1;  /* on_drained in the next turn */
    bool sending : 1; /* the timer is for the peer to take ours */
    bool closed : 1;  /* nghttp2 knows it no more */
    bool raw : 1;
    bool tunnel : 1;   /* CONNECT with :protocol: the client waits for 200, then speaks freely */
    bool finished : 1; /* framed, and its user has to be told */
    uint32_t code;     /* of its end */

    /* a client's */
    struct gw_stream_request *request;
    const struct gw_client_limits *now;
    const struct gw_response *response; /* lent until the flush */
    bool expects : 1;
    bool faulted : 1;

    /* an upstream's */
    struct gw_h2_pair *pairs; /* of its head, until the flush */
    const struct gw_fields *fields;
    unsigned pairs_count;
    struct gw_upstream_limits limits;
    enum gw_method method;
    uint32_t informational;
};

struct gw_h2_side {
    /* A head has come whole, in conn->head; not trailers. `end`: nothing follows. */
    void (*on_head)(struct gw_h2_stream *s, bool end);
    /* The part of a new stream that a side has of its own. NULL: refuse it. */
    struct gw_h2_stream *(*on_begin)(struct gw_h2_conn *conn, int32_t id);
    /* Something has changed in what a stream waits for (`came`: body bytes): its timer. */
    void (*on_progress)(struct gw_h2_stream *s, size_t came);
    void (*on_stream_timer)(struct gw_timer *timer);
    /* Submits what the stream's user has given as head, if that has not been done. */
    void (*push_head)(struct gw_h2_stream *s);
    /* END_STREAM has been framed. */
    void (*on_framed)(struct gw_h2_stream *s);
    /* The stream is over before its time. */
    void (*on_over)(struct gw_h2_stream *s, uint32_t code);
    void (*on_goaway)(struct gw_h2_conn *conn);
    void (*on_pong)(struct gw_h2_conn *conn);
    /* After each run of events: timers, closing. */
    void (*on_turn)(struct gw_h2_conn *conn);
    /* The connection is of no use any more. */
    void (*on_dead)(struct gw_h2_conn *conn, enum gw_rc rc, const char *why);
    void (*on_close)(struct gw_h2_conn *conn);
    void (*on_free)(struct gw_h2_conn *conn);
};

/* Frames that cost their sender nothing, in this second. */
struct gw_h2_floods {
    uint64_t second;
    uint32_t control, resets, updates, data_sent;
};

struct gw_h2_conn {
    const struct gw_h2_side *side;
    struct gw_conn conn;
    struct gw_h1 *h1;
    struct nghttp2_session *session;
    struct gw_timer timer;
    struct gw_later later;
    struct gw_list dirty; /* of the worker: something to flush */
    struct gw_list streams;
    struct gw_list dirty_streams;
    struct gw_list woken;
    struct gw_list news;
    struct gw_list dead; /* streams that nghttp2 has let go */
    struct gw_buf out;   /* the socket was full */
    struct gw_h2_head head;
    struct gw_h2_floods floods;
    const struct gw_head_limits *limits;
    uint64_t out_since_ms;  /* progress of `out` */
    uint64_t head_since_ms; /* a head is half here; 0: none is */
    uint64_t idle_since_ms;
    uint64_t heard_ms;
    uint32_t streams_count; /* attached ones */
    uint32_t lingered;      /* bytes */
    size_t lent_bytes;      /* to its streams, since the last flush */
    uint32_t fatal;         /* a code: the reader was stopped by us */
    const char *fatal_why;
    bool reading : 1;
    bool writing : 1;
    bool closed : 1;
    bool lingers : 1;
    bool flushes_later : 1; /* at the end of this turn */
    bool write_dead : 1;
    bool is_server : 1;
};

/* ---- h2.c ---- */

GW_MUST_CHECK enum gw_rc h2_open(struct gw_h2_conn *c, bool server);
void h2_on_conn(struct gw_conn *conn, unsigned what);
void h2_on_later(struct gw_later *later);
/* Bytes that came; then a flush. */
void h2_feed(struct gw_h2_conn *c, struct gw_str data);
void h2_flush(struct gw_h2_conn *c);
void h2_mark(struct gw_h2_conn *c); /* something is to be flushed */
/* Frees all but the struct, which goes at the end of the turn. Streams were told. */
void h2_close(struct gw_h2_conn *c, bool hard);
/* Says GOAWAY and ends. Not from within the reader: there h2_stop(). */
void h2_fail(struct gw_h2_conn *c, uint32_t code, const char *why);
void h2_stop(struct gw_h2_conn *c, uint32_t code, const char *why);
/* We have said all; what still comes is dropped, for a while. */
void h2_linger(struct gw_h2_conn *c);
bool h2_quiet(struct gw_h2_conn *c); /* nothing left to read or write for the session */

/* GOAWAY: the first says that the end is near, the second what was the last. */
void h2_goaway_notice(struct gw_h2_conn *c);
void h2_goaway(struct gw_h2_conn *c);

struct gw_h2_out_head {
    const struct gw_h2_pair *pairs; /* pseudo-fields, then others of ours */
    unsigned count;
    const struct gw_fields *fields; /* those of HTTP/1 connections are left out */
    uint64_t but;                   /* bits of field ids that are left out, too */
    struct gw_str but_name;         /* and a name; may be empty */
    bool informational;
    bool end; /* nothing follows */
};

bool h2_send_head(struct gw_h2_stream *s, const struct gw_h2_out_head *head);
void h2_send_reset(struct gw_h2_stream *s, uint32_t code);
/* `len` bytes that came are gone: the peer may send as many more. */
void h2_consumed(struct gw_h2_stream *s, size_t len);
uint32_t h2_peer_streams_max(struct gw_h2_conn *c);
void h2_take_turns(struct gw_h2_stream *s);

/* ---- h2_head.c ---- */

void h2_head_begin(struct gw_h2_conn *c);
/* False: the connection ends (h2_stop was called). */
bool h2_head_field(struct gw_h2_conn *c, struct gw_str name, struct gw_str value, bool trailers);
void h2_head_free(struct gw_h2_conn *c);
/* The whole head as HTTP/1.1 has it, in `arena`. Data NULL: malformed, head.malformed says why. */
struct gw_str h2_head_request(struct gw_h2_conn *c, struct gw_arena *arena);
struct gw_str h2_head_response(struct gw_h2_conn *c, struct gw_arena *arena);
struct gw_str h2_head_trailers(struct gw_h2_conn *c, struct gw_arena *arena);
struct gw_str h2_pseudo(const struct gw_h2_conn *c, const struct gw_h2_pseudo *which);

/* ---- h2_stream.c ---- */

struct gw_h2_stream *h2_stream_new(struct gw_h2_conn *c, const struct gw_stream_ops *ops);
void h2_stream_free(struct gw_h2_stream *s);
void h2_stream_attach(struct gw_h2_stream *s); /* a user listens from here */
/* Lets the user go: no event follows. */
void h2_stream_detach(struct gw_h2_stream *s);
void h2_stream_given(struct gw_h2_stream *s); /* something is to be sent */
void h2_stream_data(struct gw_h2_stream *s, struct gw_str data);
void h2_stream_end(struct gw_h2_stream *s);
void h2_stream_trailers(struct gw_h2_stream *s);
void h2_stream_wake(struct gw_h2_stream *s);        /* its news, from the end of a turn */
void h2_stream_stash(struct gw_h2_stream *s);       /* copies what was lent */
void h2_stream_after_flush(struct gw_h2_stream *s); /* tells what the writer found out */
void h2_stream_later(struct gw_h2_stream *s);       /* asks for h2_stream_wake() */
static inline size_t h2_stream_pending(const struct gw_h2_stream *s)
{
    return gw_buf_len(&s->out) + s->lent.len;
}

/* The operations that both sides share. */
void h2_op_send_body(struct gw_stream *stream, struct gw_str piece);
void h2_op_send_end(struct gw_stream *stream, const struct gw_fields *trailers);
enum gw_rc h2_op_send_file(struct gw_stream *stream, struct gw_files_body *body, size_t max,
                           size_t *sent);
void h2_op_send_file_later(struct gw_stream *stream);
void h2_op_flush(struct gw_stream *stream);
void h2_op_pause(struct gw_stream *stream);
void h2_op_resume(struct gw_stream *stream);
bool h2_op_waiting(struct gw_stream *stream);
bool h2_op_blocked(struct gw_stream *stream);

static inline struct gw_h2_stream *h2_stream_of(struct gw_stream *stream)
{
    return GW_CONTAINER(stream, struct gw_h2_stream, up.stream);
}

static inline uint64_t h2_now(const struct gw_h2_conn *c)
{
    return gw_loop_now_ms(c->h1->loop);
}

#endif
