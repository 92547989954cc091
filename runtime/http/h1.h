/* HTTP/1.0 and 1.1 over a connection, both sides, behind struct gw_stream.
 * Lives in: one worker. An idle connection holds its struct, its event and nothing else. */
#ifndef GW_HTTP_H1_H
#define GW_HTTP_H1_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "http/chunk.h"
#include "http/head.h"
#include "http/stream.h"
#include "net/conn.h"

/* What all HTTP/1 connections of a worker share: the output under construction, the date. */
struct gw_h1;

GW_MUST_CHECK enum gw_rc gw_h1_new(struct gw_loop *loop, struct gw_h1 **out);
void gw_h1_free(struct gw_h1 *h1);
/* "Sun, 06 Nov 1994 08:49:37 GMT" of this second. */
struct gw_str gw_h1_date(struct gw_h1 *h1);
/* Writes what is under construction, for whichever connection. */
void gw_h1_flush_all(struct gw_h1 *h1);

/* ---- the part that both sides have ---- */

struct gw_pipe_side;

struct gw_pipe {
    struct gw_conn conn;
    const struct gw_pipe_side *side;
    struct gw_timer timer;
    struct gw_h1 *h1;
    struct gw_buf in;  /* read, not yet consumed */
    struct gw_buf out; /* to be sent, the socket was full */
    struct gw_later later;
    uint32_t buffer_bytes_max;
    uint32_t send_timeout_ms;
    bool paused : 1;
    bool write_dead : 1;
    bool blocked : 1;
    bool chunked_out : 1; /* body pieces become chunks */
    bool no_body_out : 1; /* HEAD, 204, 304: body pieces are swallowed */
    bool closed : 1;
    bool feeding : 1;
};

/* ---- clients of ours ---- */

struct gw_h1_server;

/* Times and limits of one listener; lent for the life of the connection. */
struct gw_h1_limits {
    struct gw_head_limits head;
    uint32_t header_timeout_ms, body_timeout_ms, send_timeout_ms, idle_timeout_ms;
    uint32_t data_rate_min, data_rate_grace_ms;
    uint32_t requests_max;
    uint32_t age_max_ms;
    uint32_t buffer_bytes_max;
    uint32_t half_close_timeout_ms;
    bool proxy_protocol;
    uint32_t refs; /* owned by the user */
};

/* How the user hears of new requests on a client's connection. */
struct gw_h1_server_user {
    /* A head begins: gives the memory that it is read into. NULL: refuse with 503, close. */
    struct gw_stream_request *(*on_request_new)(struct gw_h1_server *server);
    /* The head is complete: status 0, or the answer that it deserves (400, 414, …). */
    void (*on_request)(struct gw_h1_server *server, struct gw_stream_request *request,
                       uint16_t status, const char *why);
    /* The PROXY protocol has told who it is. False: refuse it with 503. */
    bool (*on_peer)(struct gw_h1_server *server);
    /* The connection has ended; its memory goes at the end of the turn, with on_freed. */
    void (*on_closed)(struct gw_h1_server *server);
    void (*on_freed)(struct gw_h1_server *server);
};

/* Embedded at the start of the user's exchange. */
struct gw_stream_request {
    struct gw_arena *arena;
    struct gw_request *request;
    struct gw_head head;
    struct gw_stream *stream;
};

struct gw_h1_server {
    struct gw_pipe pipe;
    struct gw_stream stream;
    const struct gw_h1_server_user *user;
    void *user_data; /* the listener */
    struct gw_h1_limits *limits;
    const struct gw_h1_limits *now; /* those of this request, while there is one */
    struct gw_list link;            /* the user's list of connections */
    struct gw_stream_request *request;
    uint64_t left; /* of the body, by length */
    uint64_t body_bytes;
    struct gw_h1_chunked *chunk; /* of a chunked body, else NULL */
    uint64_t born_ms;
    uint64_t body_since_ms; /* we wait for the body since */
    uint32_t body_waited_ms;
    uint32_t requests;
    uint32_t seen; /* of a partial head */
    uint16_t port; /* of the peer */
    uint8_t address[16];
    uint8_t state;
    uint8_t framing;
    uint8_t minor;
    bool in_done : 1;
    bool out_done : 1;
    bool head_sent : 1;
    bool keep_alive : 1;
    bool expects : 1;
    bool refused : 1;
    bool half_closed : 1;
    bool draining : 1;
    bool unix_peer : 1;
    bool yields : 1;      /* send_file goes on in the next turn */
    bool awaits_room : 1; /* send_file found the socket full */
    bool counted : 1;     /* the user's */
};

/* Takes `fd` and one `limits` reference is the user's matter. The struct is ours. */
struct gw_h1_server *gw_h1_server_new(struct gw_h1 *h1, int fd,
                                      const struct gw_h1_server_user *user,
                                      struct gw_h1_limits *limits, const struct sockaddr *peer,
                                      void *user_data);
/* The answer to this request is the last: what may follow it on the wire is not to be read. */
void gw_h1_server_last(struct gw_h1_server *server);
/* Says Connection: close with the next answer; closes at once when idle. */
void gw_h1_server_drain(struct gw_h1_server *server);
/* Until the answer has left: the times and sizes of this request's route. Lent. */
void gw_h1_server_limits(struct gw_h1_server *server, const struct gw_h1_limits *limits);
/* Both sides become plain bytes (after 101): on_body / send_body carry them. */
void gw_h1_server_raw(struct gw_h1_server *server);
/* Too many connections: 503 and close, whatever it asks. */
void gw_h1_server_refuse(struct gw_h1_server *server);
bool gw_h1_server_idle(const struct gw_h1_server *server);
void gw_h1_server_close(struct gw_h1_server *server, bool hard);
struct gw_h1_server *gw_h1_server_of(struct gw_stream *stream);

/* ---- upstreams ---- */

struct gw_h1_client;

struct gw_h1_client_limits {
    struct gw_head_limits head;
    uint32_t connect_timeout_ms, send_timeout_ms, read_timeout_ms;
    uint32_t buffer_bytes_max;
};

struct gw_h1_client {
    struct gw_pipe pipe;
    struct gw_stream stream;
    struct gw_h1_client_limits limits;
    struct gw_list link;                              /* the pool's */
    void *owner;                                      /* the target it belongs to */
    void (*on_idle_end)(struct gw_h1_client *client); /* while pooled: take it out, close */
    struct gw_arena *arena;                           /* of the exchange */
    struct gw_response *response;
    struct gw_head head;
    struct gw_h1_chunked *chunk;
    uint64_t left;
    uint64_t last_used_ms;
    size_t seen;
    uint32_t requests;
    uint32_t informational;
    enum gw_method method;
    uint8_t state;
    bool request_sent : 1; /* all of it was given to us */
    bool got_bytes : 1;    /* any byte of an answer */
    bool reused : 1;
    bool reusable : 1; /* after on_end */
    bool asked_upgrade : 1;
    bool connected : 1;
};

/* Starts to connect; requests may be sent at once (they wait in memory). Failure comes by
 * on_reset, never from within. */
GW_MUST_CHECK enum gw_rc gw_h1_client_new(struct gw_h1 *h1, const struct sockaddr *address,
                                          socklen_t len, const struct gw_h1_client_limits *limits,
                                          struct gw_h1_client **out);
/* Binds a user before send_request. */
void gw_h1_client_attach(struct gw_h1_client *client, const struct gw_stream_events *events,
                         void *user, struct gw_arena *arena, struct gw_response *response);
/* The exchange is over and the connection reusable: from here on_idle_end hears its end. */
void gw_h1_client_park(struct gw_h1_client *client, uint64_t idle_timeout_ms);
void gw_h1_client_raw(struct gw_h1_client *client);
void gw_h1_client_close(struct gw_h1_client *client);
struct gw_h1_client *gw_h1_client_of(struct gw_stream *stream);

#endif
