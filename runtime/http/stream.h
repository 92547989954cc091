/* One side of an exchange, whatever the version below: a client's request and our answer,
 * or our request and an upstream's answer. HTTP/1 today; HTTP/2 gets the same two tables.
 * Lives in: one worker. Owner: the connection below; a stream is good until `on_reset`, or
 * until its user has let it go.
 * Rules: bytes given to send calls are lent until the next gw_stream_flush(); after any
 * run of send calls the caller flushes. Slices given to events are good until return.
 * A stream reads nothing while it is paused; a new one is paused. */
#ifndef GW_HTTP_STREAM_H
#define GW_HTTP_STREAM_H

#include <stdbool.h>

#include "http/head.h"

struct gw_stream;
struct gw_client_limits; /* http/client.h */
struct gw_files_body;    /* http/files.h */

struct gw_stream_events {
    /* Upstream side: a final head (1xx other than 101 come by on_informational). */
    void (*on_head)(struct gw_stream *stream);
    void (*on_informational)(struct gw_stream *stream, struct gw_response *response);
    void (*on_body)(struct gw_stream *stream, struct gw_str piece);
    /* The message is complete. `trailers` may be NULL. */
    void (*on_end)(struct gw_stream *stream, struct gw_fields *trailers);
    /* Client side: the rest of the request cannot be had (408, 400 in a chunk); what it
     * deserves as answer. The stream can still send one, and closes after it. */
    void (*on_fault)(struct gw_stream *stream, uint16_t status, const char *why);
    /* More than the limit waits to be sent: pause the source. / All of it has gone. */
    void (*on_blocked)(struct gw_stream *stream);
    void (*on_drained)(struct gw_stream *stream);
    /* Client side: the whole answer was handed to the kernel. */
    void (*on_sent)(struct gw_stream *stream);
    /* Upstream side: the peer takes no more of our request; its answer may still come. */
    void (*on_refused)(struct gw_stream *stream);
    /* The stream is dead; the last call. `why` is for the log. */
    void (*on_reset)(struct gw_stream *stream, enum gw_rc rc, const char *why);
};

struct gw_out_request {
    struct gw_str method;
    struct gw_str authority;
    struct gw_str path;
    struct gw_str query; /* data NULL: none */
    const struct gw_fields *fields;
    bool has_body;
    int64_t length; /* GW_LENGTH_UNKNOWN: our own chunks */
    bool te_trailers;
    struct gw_str upgrade; /* protocol, or empty */
};

struct gw_stream_ops {
    void (*send_request)(struct gw_stream *stream, const struct gw_out_request *request);
    void (*send_response)(struct gw_stream *stream, const struct gw_response *response);
    void (*send_informational)(struct gw_stream *stream, const struct gw_response *response);
    void (*send_body)(struct gw_stream *stream, struct gw_str piece);
    void (*send_end)(struct gw_stream *stream, const struct gw_fields *trailers);
    /* Client side, after a flush that left nothing waiting: as gw_files_body_next(). After
     * GW_AGAIN on_drained tells when to go on. GW_UNSUPPORTED: read it and send pieces. */
    enum gw_rc (*send_file)(struct gw_stream *stream, struct gw_files_body *body, size_t max,
                            size_t *sent);
    /* on_drained in the next turn: others come first. */
    void (*send_file_later)(struct gw_stream *stream);
    void (*flush)(struct gw_stream *stream);
    void (*pause)(struct gw_stream *stream);
    void (*resume)(struct gw_stream *stream); /* news comes later, never from within */
    void (*reset)(struct gw_stream *stream);  /* no event follows */
    /* Both sides become plain bytes (after 101): on_body / send_body carry them. */
    void (*raw)(struct gw_stream *stream);
    /* Does anything that was given wait for the peer to take it? / Has on_blocked come, and
     * on_drained not yet? */
    bool (*waiting)(struct gw_stream *stream);
    bool (*blocked)(struct gw_stream *stream);
    /* Client side. The answer is the last of its connection, where that is a matter of one:
     * what may follow the request on the wire is not to be read. */
    void (*last)(struct gw_stream *stream);
    /* Client side. Until the answer has left: the times and sizes of its route. Lent.
     * NULL: those of the connection. */
    void (*limits)(struct gw_stream *stream, const struct gw_client_limits *limits);
};

struct gw_stream {
    const struct gw_stream_ops *ops;
    const struct gw_stream_events *events;
    void *user;
};

/* A client's request as its connection hands it up. Embedded at the start of the user's
 * exchange. */
struct gw_stream_request {
    struct gw_arena *arena;
    struct gw_request *request;
    struct gw_head head;
    struct gw_stream *stream;
};

/* Times and limits of one try. */
struct gw_upstream_limits {
    struct gw_head_limits head;
    uint32_t connect_timeout_ms, send_timeout_ms, read_timeout_ms;
    uint32_t buffer_bytes_max;
    bool alone; /* it needs a connection of its own: it may become a tunnel */
};

/* Our stream to an upstream: one try of a request. Whoever takes one from upstream/ sets the
 * four that are its own, before send_request. */
struct gw_upstream_stream {
    struct gw_stream stream;      /* `events` and `user` are the taker's */
    struct gw_arena *arena;       /* the taker's: of the exchange */
    struct gw_response *response; /* the taker's: filled before on_head */
    void *owner;                  /* upstream/'s */
    bool connected : 1;           /* what was sent may have reached it */
    bool got_bytes : 1;           /* any byte of an answer */
    bool reused : 1;              /* the connection has served others before */
    bool shares : 1;              /* one stream of many on its connection */
    bool reusable : 1;            /* after on_end */
};

static inline void gw_stream_flush(struct gw_stream *stream)
{
    stream->ops->flush(stream);
}

#endif
