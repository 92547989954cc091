/* What worker.c and worker_change.c share. */
#ifndef GW_PROCESS_WORKER_PRIVATE_H
#define GW_PROCESS_WORKER_PRIVATE_H

#include "process/channel.h"
#include "process/staple.h"
#include "process/worker.h"
#include "script/script.h"

/* A generation on its way in. */
struct gw_change {
    bool active;
    uint32_t number;
    const struct gw_conf *conf;
    struct gw_generation *generation;
    struct gw_script_generation *script;
    struct gw_timer slice; /* next turn of the preparation */
};

struct gw_worker {
    struct gw_worker_options options;
    struct gw_loop *loop;
    struct gw_proxy *proxy;
    struct gw_staples *staples;
    struct gw_script *script; /* NULL until a generation binds a plugin */
    struct gw_hooks hooks;    /* all NULL until then */
    struct gw_board_row *row;
    struct gw_io channel_io;
    struct gw_timer beat;
    uint32_t beats;
    uint32_t beats_heap_high; /* in a row */
    struct gw_change change;
    uint32_t changes; /* tried since the VM is there */
    bool draining;
    struct gw_message message; /* the one that is being handled */
};

enum gw_rc gw_worker_tell(struct gw_worker *worker, enum gw_message_type type, uint32_t number,
                          uint64_t value);

/* The first generation: all at once. */
GW_MUST_CHECK enum gw_rc gw_worker_first(struct gw_worker *worker, int image_fd,
                                         struct gw_err *err);
/* Phase one; the answer goes out when it is known. `image_fd` is lent. */
void gw_worker_prepare(struct gw_worker *worker, uint32_t number, int image_fd);
void gw_worker_commit(struct gw_worker *worker, uint32_t number);
/* Does nothing where none is on its way. */
void gw_worker_abort(struct gw_worker *worker);

/* Lets go of dictionaries that have left the conf, once no generation can know them. */
void gw_worker_sweep(struct gw_worker *worker);

/* gw_generation_free_fn */
void gw_worker_generation_free(void *arg, struct gw_generation *generation);

#endif
