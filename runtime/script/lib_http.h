/* The HTTP/1.1 client behind gw.http: one call is one request and its whole answer.
 * Lives in: one VM. Owner of a call: who made it, until gw_http_call_free().
 * Strict as the proxy is: the same readers of heads and chunks, so what is ambiguous is
 * GW_PROTOCOL. Limits: body_bytes_max and timeout_ms of the call, GW_HTTP_CALLS_MAX at a time,
 * a small pool of idle connections. https is verified by the system's authorities. No redirects,
 * no proxies. */
#ifndef GW_SCRIPT_LIB_HTTP_H
#define GW_SCRIPT_LIB_HTTP_H

#include <lua.h>

#include "base/arena.h"
#include "base/buf.h"
#include "http/chunk.h"
#include "http/head.h"
#include "net/conn.h"
#include "net/dns.h"
#include "script/task.h"

#define GW_HTTP_CALLS_MAX 1024
#define GW_HTTP_POOL_MAX 32     /* idle connections of a worker */
#define GW_HTTP_POOL_HOST_MAX 8 /* to one address */
#define GW_HTTP_POOL_IDLE_MS 15000
#define GW_HTTP_HEAD_BYTES_MAX 65536 /* of an answer */
#define GW_HTTP_HEAD_COUNT_MAX 200
#define GW_HTTP_INFORMATIONAL_MAX 8 /* 1xx before an answer */

struct gw_http_client;
struct gw_http_call;
struct gw_http_link; /* a connection */

typedef void (*gw_http_done_fn)(struct gw_http_call *call);

struct gw_http_call {
    /* Filled by the caller before gw_http_call_start(). */
    struct gw_arena arena; /* of the whole call */
    enum gw_method method;
    struct gw_str host; /* name or literal address; IPv6 without brackets */
    uint16_t port;
    bool tls;          /* https: the certificate must be good, and for `host` */
    struct gw_buf out; /* the request, head and body */
    uint64_t body_bytes_max;
    uint32_t timeout_ms;
    bool keep_alive;
    gw_http_done_fn done; /* once, from the loop, unless it is freed before */
    void *arg;            /* the caller's */

    /* The answer, when rc is GW_OK. */
    enum gw_rc rc;
    const char *why; /* else: more about it, or NULL */
    struct gw_response response;
    struct gw_buf body;

    struct gw_wait wait; /* the task that waits for it */

    /* The client's own. */
    struct gw_http_client *client;
    struct gw_http_link *link;
    struct gw_dns_lookup *lookup;
    union gw_dns_address addresses[4]; /* to try one after the other */
    uint32_t address_count, address_next;
    struct gw_timer timer;
    size_t sent;
    struct gw_buf in; /* the head of the answer until it is whole */
    size_t seen;
    struct gw_head head;
    struct gw_chunk_decoder chunks;
    struct gw_buf trailers;
    uint64_t left; /* of the body */
    uint32_t informational;
    bool in_body;
    bool any_byte;
    bool retried;
    bool finished;
};

GW_MUST_CHECK struct gw_http_client *gw_http_client_new(struct gw_loop *loop);
void gw_http_client_free(struct gw_http_client *client); /* no call is alive */

/* Lends a resolver; without one the client makes its own from resolv.conf. */
bool gw_http_client_set_dns(struct gw_http_client *client, struct gw_dns *dns);

/* NULL: too many. Zeroed but for arena and buffers. */
struct gw_http_call *gw_http_call_new(struct gw_http_client *client);
void gw_http_call_free(struct gw_http_call *call); /* also in the middle of it */

/* GW_OK: `done` will be called. Else it failed at once (call->why may say more). */
GW_MUST_CHECK enum gw_rc gw_http_call_start(struct gw_http_call *call);

#endif
