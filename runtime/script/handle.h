/* Requests as Lua holds them: the number of a slot and a serial that dies with the request,
 * as the bits of a pointer (lua/gateway/cdef.lua).
 * Lives in: one VM. A slot's memory stays for the life of the VM, so that compiled Lua may read
 * it straight: handle.serial == slot.serial means alive. Layout repeated in lua/gateway/cdef.lua.
 * Limit: GW_SLOTS_MAX requests at a time that have entered Lua. */
#ifndef GW_SCRIPT_HANDLE_H
#define GW_SCRIPT_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "proxy/exchange.h"

#define GW_SLOTS_MAX (1u << 20)
#define GW_REROUTES_MAX 3

struct gw_task;
struct gw_vm;

enum gw_verdict { GW_VERDICT_NONE, GW_VERDICT_ANSWERED, GW_VERDICT_REROUTE, GW_VERDICT_CLOSE };

struct gw_slot {
    uint32_t serial;
    uint32_t in;       /* GW_IN_ bit of the phase that runs */
    int32_t verdict;   /* enum gw_verdict; the driver looks after each plugin */
    uint32_t instance; /* number of the plugin instance that runs */
    uint32_t position; /* its place in the chain, from 1 */
    uint16_t reroutes;
    uint16_t refused; /* we have answered for the plugin: its error is no failure */
    uint32_t kept;    /* what plugins have left in ctx: bit n for the field of number n */
    union {
        uint32_t next_free;
        uint32_t whole_from; /* first in the chain that wants the answer's body whole; 0: none */
    };
    struct gw_exchange *exchange; /* NULL: free */
    struct gw_task *task;         /* waiting one */
    union {
        struct gw_answer *answer;      /* made by this phase */
        struct gw_ws_message *message; /* GW_IN_MESSAGE: the one that is worked on */
    };
    uint64_t handle; /* index, and the serial above it: what handles of Lua hold */
};

struct gw_slots;

GW_MUST_CHECK enum gw_rc gw_slots_new(struct gw_slots **out);
void gw_slots_free(struct gw_slots *slots);
struct gw_slot *gw_slots_base(struct gw_slots *slots);

/* Index from 1; 0: all are taken. */
uint32_t gw_slots_take(struct gw_slots *slots, struct gw_exchange *exchange);
void gw_slots_give(struct gw_slots *slots, uint32_t index);
uint32_t gw_slots_count(const struct gw_slots *slots);

#endif
