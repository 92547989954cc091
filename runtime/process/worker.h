/* A worker: one loop, one proxy, at most one Lua VM, driven by the master's messages.
 * Lives in: a child of the master. It makes no VM until a generation first binds a plugin.
 * Ends: when told to drain and drained; when the master is gone (then it drains by itself);
 * at SIGTERM (drains; the master puts another in its place). */
#ifndef GW_PROCESS_WORKER_H
#define GW_PROCESS_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/hooks.h"
#include "proxy/proxy.h"
#include "shm/shared.h"

/* `dev` looks at every request: it puts itself around the hooks that are there. Called with
 * the table of a worker without plugins (all NULL), and again when its VM is made. */
typedef void (*gw_hooks_wrap_fn)(struct gw_hooks *hooks);

struct gw_tls_tickets;

struct gw_worker_options {
    uint32_t number;              /* from 1: row of the board, name in the log */
    int channel;                  /* to the master; taken */
    int image_fd;                 /* lent */
    struct gw_shared_set *shared; /* the master's view, to be adopted; lent */
    uint32_t beat_ms;
    const struct gw_tls_tickets *tickets; /* as they are now; lent until the start is done */
    bool test;                            /* the clock may be moved */
    gw_hooks_wrap_fn wrap;                /* NULL: none */
};

#define GW_WORKER_GENERATIONS_MAX 16

/* Text of GW_MESSAGE_STATE. */
struct gw_worker_state {
    struct gw_proxy_stats stats;
    uint64_t heap_bytes; /* of Lua; 0: no VM */
    uint64_t log_lost;
    uint32_t draining;
    uint32_t generations_count; /* alive; the newest GENERATIONS_MAX are told */
    struct {
        uint32_t number;
        uint32_t refs; /* the current one counts once more than its requests */
        uint64_t age_ms;
    } generations[GW_WORKER_GENERATIONS_MAX];
};

/* `user`: whom to become first (empty: nobody else). Returns the exit code of the process. */
int gw_worker_run(const struct gw_worker_options *options, struct gw_str user);

#endif
