/* The inside of an exchange, for the files of proxy/ that share its work:
 *   exchange.c   states, phases, begin and end      request.c   what the client sent, made plain
 *   relay.c      tries, upstream, bodies, tunnel    answer.c    answers of our own
 *   tls.c        certificates, facts of TLS, HSTS
 *   static.c     files: routes                      filter.c    what plugins make of an answer
 *   proxy.c      listeners, generations              ws.c        WebSockets
 *   follow.c     WebSockets and new confs            grpc.c      what gRPC has beside HTTP
 *
 *   FRESH -> PHASES -> WAITING (name, body, file) -> UPSTREAM -> RELAY -> DONE
 *               \-> ANSWER -> DONE                      \-> UPSTREAM (a retry), TUNNEL
 */
#ifndef GW_PROXY_EXCHANGE_PRIVATE_H
#define GW_PROXY_EXCHANGE_PRIVATE_H

#include "http/files.h"
#include "http/h1.h"
#include "http/uri.h"
#include "proxy/decode.h"
#include "proxy/exchange.h"
#include "proxy/proxy_private.h"
#include "proxy/ws.h"
#include "upstream/upstream.h"

enum gw_exchange_state {
    EX_FREE,
    EX_FRESH,    /* made, the head is being read */
    EX_PHASES,   /* a phase runs or waits */
    EX_WAITING,  /* for a name, for the whole body, for a file */
    EX_UPSTREAM, /* asked, no final head yet */
    EX_RELAY,    /* the answer flows */
    EX_ANSWER,   /* our own answer, or a file, flows */
    EX_TUNNEL,   /* both sides are plain bytes, or a WebSocket's */
    EX_DONE,     /* answered or cut; `log` may still run */
    EX_STATES
};

enum gw_exchange_step { STEP_GLOBAL, STEP_MATCH, STEP_REWRITE, STEP_ACCESS, STEP_SERVE };

enum gw_body_mode {
    BODY_NONE,
    BODY_HELD,      /* not asked for yet: the client's stream is paused */
    BODY_GATHERING, /* into `body`, for a plugin or a retry */
    BODY_GATHERED,  /* whole, in `body` */
    BODY_STREAMING, /* to the upstream as it comes */
    BODY_PASSED,    /* it has all gone */
    BODY_DROPPED    /* nobody wants the rest */
};

struct exchange {
    struct gw_stream_request incoming; /* first: h1 hands it back to us */
    struct gw_exchange pub;
    struct gw_list link; /* free list, or the proxy's active ones */
    uint32_t slot;
    uint32_t serial;
    struct gw_proxy *proxy;
    struct gw_client_conn *conn; /* NULL: the client's connection is gone or given back */
    uint8_t state;
    uint8_t step;
    uint8_t body_mode;
    uint8_t reroutes;
    uint8_t body_wish;    /* enum gw_body_wish, from the answer's head on */
    int8_t waiting_phase; /* enum gw_phase, or -1 */
    uint8_t grpc_status;  /* for an answer of ours; 0: by its status of HTTP */
    bool detached : 1;
    bool head_sent : 1;
    bool filtered : 1;     /* HEADER_FILTER has run for this answer */
    bool has_own_body : 1; /* own_body takes the place of the answer's */
    bool forwarded : 1;    /* our own fields are in the request */
    bool replay_lost : 1;  /* body bytes went that we no longer have */
    bool fresh_only : 1;   /* a reused connection died: the next must be new */
    bool finished : 1;
    bool ended : 1; /* the answer's end was given to the client's stream */
    bool grpc : 1;
    bool upgrade_wanted : 1;
    bool websocket : 1; /* and this is what it asks for */
    bool websocket_deflate : 1;
    bool follows : 1; /* nothing of it points into the conf that it began with */

    struct gw_timer timer;
    uint64_t total_due_ms, try_due_ms;
    uint64_t grpc_due_us; /* its deadline; 0: none */
    uint64_t heard_ms;    /* gRPC: a side has sent something */

    const struct gw_conf_upstream *row;
    struct gw_upstream *upstream;
    struct gw_upstream_wait wait;
    struct gw_endpoint *endpoint;      /* of this try */
    uint32_t wanted_target;            /* chosen in BALANCER; GW_NONE */
    struct gw_upstream_stream *client; /* our stream to it */
    struct gw_str upgrade;
    struct gw_ws_tunnel *ws; /* NULL: none, or a plain tunnel */
    struct gw_str upstream_path;

    struct gw_buf body;                  /* the request's, gathered or kept for a replay */
    const struct gw_fields *trailers;    /* that came behind it; NULL: none */
    const struct gw_conf_limits *limits; /* the nearest: route, else listener */
    uint64_t body_gather_max;
    gw_exchange_body_fn body_fn;
    void *body_arg;

    struct gw_answer answer;
    uint32_t discarded;         /* bytes of an answer that nobody wants */
    struct gw_buf filter_out;   /* one piece, filtered */
    struct gw_buf held_body;    /* GW_BODY_WHOLE: what has come */
    struct gw_buf own_body;     /* of gw_exchange_set_response_body() */
    struct gw_decoder *decoder; /* takes the coding off for body_filter; NULL: none */

    struct gw_files_plan plan;
    struct gw_files_body file;
    struct gw_files_job *file_job;
    struct gw_files_conf files_conf;
    struct gw_files_request files_request;
};

static inline struct exchange *exchange_of(const struct gw_exchange *pub)
{
    return (struct exchange *)((char *)(uintptr_t)pub - offsetof(struct exchange, pub));
}

/* exchange.c */
void exchange_move(struct exchange *ex, enum gw_exchange_state to);
void exchange_run(struct exchange *ex);                    /* goes on with the steps */
void exchange_finish(struct exchange *ex);                 /* the answer has left, or never will */
void exchange_abort(struct exchange *ex, const char *why); /* cuts the client's answer */
void exchange_end(struct exchange *ex); /* the stream goes, and nothing is lost by it */
/* The last of the answer. `trailers` may be NULL. */
void exchange_send_end(struct exchange *ex, const struct gw_fields *trailers);
enum gw_phase_rc exchange_phase(struct exchange *ex, enum gw_phase phase);
/* Sets ex->limits from listener and route. */
void exchange_limits(struct exchange *ex);
/* How long it may take, from those and its own deadline. */
void exchange_total_due(struct exchange *ex);
uint32_t exchange_phases(const struct exchange *ex);
void exchange_timer(struct exchange *ex);

extern const struct gw_stream_events exchange_client_events;

/* request.c: 0, or the status that the request deserves, with *why */
uint16_t request_prepare(struct exchange *ex, const char **why);
bool request_peer(struct exchange *ex); /* who is connected; true: a trusted proxy */
void request_forwarding(struct exchange *ex);
uint16_t request_upstream_path(struct exchange *ex);

/* relay.c */
void relay_start(struct exchange *ex);
void relay_drop_client(struct exchange *ex); /* closes our connection to the upstream */
void relay_client_body(struct exchange *ex, struct gw_str piece);
void relay_client_end(struct exchange *ex, const struct gw_fields *trailers);
void relay_timeout(struct exchange *ex);
void relay_balanced(struct exchange *ex); /* BALANCER is done */
void relay_discard(struct exchange *ex);  /* the upstream's body is not wanted */

/* answer.c */
void answer_problem(struct exchange *ex, uint16_t status, const char *detail);
void answer_send(struct exchange *ex);
void answer_respond(struct exchange *ex);
void answer_redirect(struct exchange *ex);

/* filter.c: the way of every answer to the client, see there. */
void filter_prepare(struct exchange *ex); /* before anybody is asked for the answer */
/* pub.response is complete. False: its body is not wanted; the exchange may be over. */
bool filter_head(struct exchange *ex);
/* False: no more is wanted; the exchange may be over. */
bool filter_piece(struct exchange *ex, struct gw_str piece);
void filter_end(struct exchange *ex, struct gw_str piece, const struct gw_fields *trailers);
void filter_resume(struct exchange *ex, enum gw_phase_rc rc); /* body_whole has ended */

/* tls.c */
void tls_facts(struct exchange *ex);
/* Has the name of the request another policy for clients than the one that was met? */
bool tls_misdirected(const struct exchange *ex);
void tls_forward(struct exchange *ex);
void tls_answer_fields(struct exchange *ex);
void tls_redirect(struct exchange *ex);

/* grpc.c; where a request is no call of gRPC, they do nothing. */
void grpc_note(struct exchange *ex); /* is it one? */
uint16_t grpc_deadline(struct exchange *ex, const char **why);
void grpc_pass_deadline(struct exchange *ex); /* what is left of it, with the next try */
bool grpc_late(const struct exchange *ex);    /* the deadline has passed */
bool grpc_refused(struct exchange *ex);       /* it wants to be one, and cannot: answered */
uint64_t grpc_idle_due_ms(const struct exchange *ex);
void grpc_answer(struct exchange *ex); /* what answer.c sends, in its words */
/* The answer cannot go on: a call ends with what `status` means to it, all else is cut. */
void exchange_cut(struct exchange *ex, uint16_t status, const char *why);

/* static.c */
void static_start(struct exchange *ex);
void static_go_on(struct exchange *ex);
void static_stop(struct exchange *ex);

#endif
