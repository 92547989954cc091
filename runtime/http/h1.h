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
#include "http/client.h"
#include "net/conn.h"
#include "net/tls.h"

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

struct gw_h1_server {
    struct gw_client_conn client;
    struct gw_pipe pipe;
    struct gw_stream stream;
    const struct gw_client_limits *now; /* those of this request, while there is one */
    struct gw_stream_request *request;
    uint64_t left; /* of the body, by length */
    uint64_t body_bytes;
    struct gw_h1_chunked *chunk; /* of a chunked body, else NULL */
    uint64_t body_since_ms;      /* we wait for the body since */
    uint32_t body_waited_ms;
    uint32_t seen; /* of a partial head */
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
    bool moved : 1;       /* the connection is another struct's */
    bool yields : 1;      /* send_file goes on in the next turn */
    bool awaits_room : 1; /* send_file found the socket full */
};

/* Takes `fd`; one reference of `limits` is the user's matter. The struct is ours. */
struct gw_client_conn *gw_h1_server_new(struct gw_h1 *h1, int fd, const struct gw_client_user *user,
                                        struct gw_client_limits *limits,
                                        const struct sockaddr *peer, void *user_data);

/* ---- upstreams ---- */

struct gw_h1_client;

struct gw_h1_client {
    struct gw_pipe pipe;
    struct gw_upstream_stream up;
    struct gw_upstream_limits limits;
    struct gw_list link;                              /* the pool's */
    void (*on_idle_end)(struct gw_h1_client *client); /* while pooled: take it out, close */
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
    bool asked_upgrade : 1;
};

/* Starts to connect, `tls` NULL: without; requests may be sent at once (they wait in memory).
 * Failure comes by on_reset, never from within. */
GW_MUST_CHECK enum gw_rc gw_h1_client_new(struct gw_h1 *h1, const struct sockaddr *address,
                                          socklen_t len, const struct gw_upstream_limits *limits,
                                          const struct gw_tls_target *tls,
                                          struct gw_h1_client **out);
/* For one more request: `client->up` is the taker's from here. */
void gw_h1_client_begin(struct gw_h1_client *client);
/* The exchange is over and the connection reusable: from here on_idle_end hears its end. */
void gw_h1_client_park(struct gw_h1_client *client, uint64_t idle_timeout_ms);
void gw_h1_client_close(struct gw_h1_client *client);
struct gw_h1_client *gw_h1_client_of(struct gw_stream *stream);

#endif
