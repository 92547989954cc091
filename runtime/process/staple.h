/* OCSP responses for stapling, fetched beside the handshakes: the first that asks for one begins a
 * fetch, later ones get what has come. Lives in: one worker. Owner: process/worker.c.
 * A failure is harmless: nothing is stapled, and it is asked again after a while.
 * Limits: STAPLES_MAX certificates, RESPONSE_BYTES_MAX, FETCH_MS (staple.c). */
#ifndef GW_PROCESS_STAPLE_H
#define GW_PROCESS_STAPLE_H

#include "net/loop.h"
#include "proxy/proxy.h"

struct gw_staples;

struct gw_staples *gw_staples_new(struct gw_loop *loop);
void gw_staples_free(struct gw_staples *staples);

/* gw_proxy_staple_fn; `arg` is the struct gw_staples. */
struct gw_str gw_staples_get(void *arg, const struct gw_staple_question *question);

#endif
