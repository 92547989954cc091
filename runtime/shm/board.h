/* The board: one row of facts for each worker, for the watchdog, `status` and /metrics.
 * Lives in: the core zone of a struct gw_shared_set. A row is written by its worker and
 * read by everybody, field by field, without a lock. Row 0 is the master's; workers have
 * the numbers from 1. The master clears a row before it starts a worker on it. */
#ifndef GW_SHM_BOARD_H
#define GW_SHM_BOARD_H

#include <stdatomic.h>
#include <stdint.h>

enum gw_board_state {
    GW_BOARD_EMPTY,
    GW_BOARD_STARTING,
    GW_BOARD_RUNNING,
    GW_BOARD_DRAINING,
    GW_BOARD_GONE,
};

struct gw_board_row {
    _Atomic int32_t pid;
    _Atomic uint32_t state;      /* enum gw_board_state */
    _Atomic uint64_t turns;      /* of the loop: stands still when the worker is stuck */
    _Atomic uint64_t beat_ms;    /* monotonic, of the last turn */
    _Atomic uint64_t started_ms; /* real time */
    _Atomic uint64_t generation;
    _Atomic uint64_t connections;
    _Atomic uint64_t requests;
    _Atomic uint64_t heap_bytes; /* of the Lua VM */
    _Atomic uint64_t rss_bytes;
    _Atomic uint64_t accepted;
    _Atomic uint64_t refused;
    _Atomic uint64_t reserved[4];
} __attribute__((aligned(128)));

/* The worker's beat, once a loop turn: plain stores, no locked instruction. */
static inline void gw_board_beat(struct gw_board_row *row, uint64_t now_mono_ms)
{
    uint64_t turns = atomic_load_explicit(&row->turns, memory_order_relaxed);

    atomic_store_explicit(&row->beat_ms, now_mono_ms, memory_order_relaxed);
    atomic_store_explicit(&row->turns, turns + 1, memory_order_release);
}

void gw_board_clear(struct gw_board_row *row);
const char *gw_board_state_name(uint32_t state);

#endif
