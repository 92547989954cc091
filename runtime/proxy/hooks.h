/* What proxy/ asks of whoever runs plugins. proxy/ knows phases, not Lua: script/ fills
 * this table, process/ joins the two; specs of proxy/ fill it with plain C.
 * A route whose `phases` lacks a phase's bit never causes a call. */
#ifndef GW_PROXY_HOOKS_H
#define GW_PROXY_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct gw_exchange;
struct gw_generation;
struct gw_conf_route;

enum gw_phase {
    GW_PHASE_REWRITE_GLOBAL, /* `rewrite` of the global chain, before the match */
    GW_PHASE_REWRITE,        /* `rewrite` of the route's chain (without the global bindings) */
    GW_PHASE_ACCESS,
    GW_PHASE_BALANCER,
    GW_PHASE_HEADER_FILTER,
    GW_PHASE_BODY_FILTER,
    GW_PHASE_LOG,
    GW_PHASE_MESSAGE, /* a whole message of a WebSocket */
    GW_PHASE_COUNT
};

enum gw_phase_rc {
    GW_PHASE_NEXT,     /* all plugins ran: go on */
    GW_PHASE_ANSWERED, /* gw_exchange_answer() was called: no upstream, go to the answer */
    GW_PHASE_WAIT,     /* the phase waits; gw_exchange_resume() will be called, not from within */
    GW_PHASE_REROUTE,  /* match again */
    GW_PHASE_FAILED,   /* an error, logged; the answer is 500, or a reset once it has begun */
};

/* What the plugins of an exchange want of its answer's body. */
enum gw_body_wish {
    GW_BODY_AS_IT_IS, /* nothing */
    GW_BODY_PIECES,   /* body_filter for each piece */
    GW_BODY_WHOLE,    /* body_filter for each piece, then body_whole for what they have become */
    GW_BODY_FAILED,   /* an error, logged */
};

/* One message of a WebSocket, and what the plugins made of it. */
struct gw_ws_message {
    bool from_upstream;
    bool text;          /* may be changed, with `out` */
    struct gw_str data; /* lent until the phase is over */
    bool changed;       /* `out` goes on instead */
    bool dropped;       /* nothing goes on */
    struct gw_buf out;
    uint16_t close_code; /* with GW_PHASE_ANSWERED: both sides get a Close */
    struct gw_str close_reason;
};

struct gw_hooks {
    void *self;

    /* Runs one phase of the chain that belongs to the exchange's route (or the global
     * one). HEADER_FILTER and LOG never give GW_PHASE_WAIT to the exchange: for LOG the hook
     * keeps what it needs until it is done (see gw_exchange_detach). */
    enum gw_phase_rc (*run)(void *self, struct gw_exchange *exchange, enum gw_phase phase);

    /* Asked once, behind HEADER_FILTER, for a chain with a body_filter. */
    enum gw_body_wish (*body_begin)(void *self, struct gw_exchange *exchange);

    /* One piece of the answer's body. The hook either leaves `out` empty and returns
     * GW_PHASE_NEXT with *changed false (send `in` as it is), or fills `out`. It never waits. */
    enum gw_phase_rc (*body_filter)(void *self, struct gw_exchange *exchange, struct gw_str in,
                                    bool last, struct gw_buf *out, bool *changed);

    /* GW_BODY_WHOLE: the whole body, once, behind its last piece and before the head has left.
     * gw_exchange_set_response_body() was called when it is another now, and always behind a
     * wait (`in` is good until return). NEXT, WAIT (gw_exchange_resume() will be called) or
     * FAILED. */
    enum gw_phase_rc (*body_whole)(void *self, struct gw_exchange *exchange, struct gw_str in);

    /* GW_PHASE_MESSAGE; the message stays until the phase is over. One at a time for each
     * exchange. */
    enum gw_phase_rc (*message)(void *self, struct gw_exchange *exchange,
                                struct gw_ws_message *message);

    /* Are the plugins of these routes of two generations the same instances, bound alike? */
    bool (*same_chain)(void *self, const struct gw_generation *a, const struct gw_conf_route *in_a,
                       const struct gw_generation *b, const struct gw_conf_route *in_b);

    /* The exchange ends while a phase waits (client gone, deadline): drop the coroutine. */
    void (*cancel)(void *self, struct gw_exchange *exchange);

    /* Last call for each exchange that ever entered a hook (exchange->script was set):
     * the handles of Lua die here. */
    void (*finish)(void *self, struct gw_exchange *exchange);
};

#endif
