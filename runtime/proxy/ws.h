/* WebSockets: a tunnel whose frames are followed, so that limits hold, messages can be shown to
 * plugins, and the end can be said politely (RFC 6455).
 * Lives in: one exchange in EX_TUNNEL. Owner: the exchange; its arena.
 * It speaks to two struct gw_stream and knows no version of HTTP: a client's handshake is what
 * stands in the request's fields, and a 101 is what an upstream's stream calls its head.
 * Limits: limits.websocket_*; where plugins have `message`, a message is held whole, up to
 * body_buffer_size_max. Bytes held besides: one read of each side, and one buffer_size_max. */
#ifndef GW_PROXY_WS_H
#define GW_PROXY_WS_H

#include "http/stream.h"
#include "proxy/hooks.h"

struct exchange;
struct gw_ws_tunnel;

enum gw_ws_side { GW_WS_CLIENT, GW_WS_UPSTREAM };

/* A request that asks for an upgrade: if to WebSocket, is it a good handshake? Sets
 * ex->websocket, and leaves of the extensions offered what we can follow.
 * 0, or the status that it deserves, with *why. */
uint16_t ws_request(struct exchange *ex, const char **why);
/* The upstream's 101, before hop-by-hop fields are dropped. NULL: good; else what is wrong. */
const char *ws_answer(struct exchange *ex);
/* The 101 is on its way to the client and both streams carry plain bytes. */
void ws_start(struct exchange *ex);

void ws_data(struct exchange *ex, enum gw_ws_side from, struct gw_str piece);
/* This side will send nothing more; `dead`: nor can it be sent anything. */
void ws_ended(struct exchange *ex, enum gw_ws_side side, bool dead);
void ws_blocked(struct exchange *ex, enum gw_ws_side side);
void ws_drained(struct exchange *ex, enum gw_ws_side side);
void ws_timeout(struct exchange *ex);
void ws_resumed(struct exchange *ex, enum gw_phase_rc rc); /* GW_PHASE_MESSAGE has waited */
/* Says Close (1001) to both sides as soon as no message is under way. */
void ws_go_away(struct exchange *ex, const char *why);
/* The exchange ends: tells an upstream that has heard nothing yet, and frees. */
void ws_finish(struct exchange *ex);

#endif
