#include "shm/board.h"

#include <stddef.h>

void gw_board_clear(struct gw_board_row *row)
{
    atomic_store(&row->state, GW_BOARD_EMPTY);
    atomic_store(&row->pid, 0);
    atomic_store(&row->turns, 0);
    atomic_store(&row->beat_ms, 0);
    atomic_store(&row->started_ms, 0);
    atomic_store(&row->generation, 0);
    atomic_store(&row->connections, 0);
    atomic_store(&row->requests, 0);
    atomic_store(&row->heap_bytes, 0);
    atomic_store(&row->rss_bytes, 0);
    atomic_store(&row->accepted, 0);
    atomic_store(&row->refused, 0);
}

const char *gw_board_state_name(uint32_t state)
{
    static const char *const names[] = {
        [GW_BOARD_EMPTY] = "empty",     [GW_BOARD_STARTING] = "starting",
        [GW_BOARD_RUNNING] = "running", [GW_BOARD_DRAINING] = "draining",
        [GW_BOARD_GONE] = "gone",
    };

    return state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}
