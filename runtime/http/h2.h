/* HTTP/2 over a connection, both sides, behind struct gw_stream.
 * Lives in: one worker. A message is as strict as in HTTP/1: its head is written down as lines
 * and read by http/head.h, so that what one version refuses the other does not let through.
 * Flow control: a stream's window opens as its user takes the bytes; a paused stream holds at
 * most its window (64 KiB), a connection at most its own (1 MiB).
 * What a peer may do at no cost of its own (resets, pings, settings, empty frames, heads that
 * unpack to much, windows that stay shut) is counted and limited (base/limits.h): over it the
 * connection ends with ENHANCE_YOUR_CALM. */
#ifndef GW_HTTP_H2_H
#define GW_HTTP_H2_H

#include "http/h1.h"

#define GW_H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define GW_H2_PREFACE_LEN 24

/* The client of `from` speaks HTTP/2: its connection goes on as another struct, in the place of
 * the old one in its user's list. `data`: read already, from the preface on (may be empty). */
void gw_h2_server_take(struct gw_h1_server *from, struct gw_str data);

/* ---- upstreams ---- */

/* A connection that many exchanges share. */
struct gw_h2_client;

struct gw_h2_client_user {
    /* It takes no new streams (GOAWAY, its end): forget it. Its streams hear for themselves. */
    void (*on_retired)(struct gw_h2_client *client, void *owner);
    /* Its descriptor is closed. */
    void (*on_closed)(struct gw_h2_client *client, void *owner);
};

GW_MUST_CHECK enum gw_rc gw_h2_client_new(struct gw_h1 *h1, const struct sockaddr *address,
                                          socklen_t len, const struct gw_tls_target *tls,
                                          uint32_t connect_timeout_ms, uint32_t idle_timeout_ms,
                                          const struct gw_h2_client_user *user, void *owner,
                                          struct gw_h2_client **out);
/* NULL: as many as it may have are under way, or it takes no more. */
struct gw_upstream_stream *gw_h2_client_stream(struct gw_h2_client *client,
                                               const struct gw_upstream_limits *limits);
uint32_t gw_h2_client_requests(const struct gw_h2_client *client); /* ever */
/* Has anything been heard of it within `fresh_ms` (0: any time; UINT32_MAX: never), or has nobody
 * used it yet? */
bool gw_h2_client_fresh(const struct gw_h2_client *client, uint32_t fresh_ms);
/* No more streams; closes when those that are open have ended. */
void gw_h2_client_retire(struct gw_h2_client *client);

#endif
