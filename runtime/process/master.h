/* The master: makes sockets and shared memory, keeps workers alive, changes generations.
 * It reads no conf, runs no Lua and touches no request: the loader, a throw-away child,
 * reads; workers serve. */
#ifndef GW_PROCESS_MASTER_H
#define GW_PROCESS_MASTER_H

#include <stdbool.h>
#include <stdint.h>

#include "process/worker.h"

struct gw_master_options {
    const char *conf_path;
    const char *shipped_dir; /* NULL: none */
    uint32_t workers;        /* 0: what the conf says */
    bool test;               /* the control socket takes "advance" */
    bool watch;              /* reload when a file of the conf or a plugin changes */
    gw_hooks_wrap_fn wrap;   /* for workers; with it every route gets the log phase */
};

/* Runs until it is told to stop. Returns the exit code of the process. */
int gw_master_run(const struct gw_master_options *options);

#endif
