#include "script/handle.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

static_assert(sizeof(struct gw_slot) == 64, "one cache line; cdef.lua repeats it");

struct gw_slots {
    struct gw_slot *base; /* address space for all, memory for those that were ever used */
    uint32_t used;        /* [1, used) were taken at least once */
    uint32_t free;        /* first free one; 0: none */
    uint32_t count;
};

enum gw_rc gw_slots_new(struct gw_slots **out)
{
    struct gw_slots *slots = calloc(1, sizeof(*slots));

    if (slots == NULL)
        return GW_NOMEM;
    slots->base = mmap(NULL, (size_t)GW_SLOTS_MAX * sizeof(struct gw_slot), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slots->base == MAP_FAILED) {
        free(slots);
        return GW_NOMEM;
    }
    slots->used = 1;
    *out = slots;
    return GW_OK;
}

void gw_slots_free(struct gw_slots *slots)
{
    if (slots == NULL)
        return;
    munmap(slots->base, (size_t)GW_SLOTS_MAX * sizeof(struct gw_slot));
    free(slots);
}

struct gw_slot *gw_slots_base(struct gw_slots *slots)
{
    return slots->base;
}

uint32_t gw_slots_take(struct gw_slots *slots, struct gw_exchange *exchange)
{
    uint32_t index = slots->free;
    struct gw_slot *slot;

    if (index != 0)
        slots->free = slots->base[index].next_free;
    else if (slots->used < GW_SLOTS_MAX)
        index = slots->used++;
    else
        return 0;
    slot = &slots->base[index];
    slot->serial++; /* odd: alive */
    assert((slot->serial & 1) == 1);
    slot->handle = (uint64_t)slot->serial << 32 | index;
    slot->in = 0;
    slot->verdict = GW_VERDICT_NONE;
    slot->instance = 0;
    slot->position = 0;
    slot->reroutes = 0;
    slot->kept = 0;
    slot->refused = 0;
    slot->exchange = exchange;
    slot->task = NULL;
    slot->answer = NULL;
    slots->count++;
    return index;
}

void gw_slots_give(struct gw_slots *slots, uint32_t index)
{
    struct gw_slot *slot = &slots->base[index];

    assert(slot->exchange != NULL);
    slot->serial++; /* every handle of Lua is dead now */
    slot->handle = 0;
    slot->exchange = NULL;
    slot->task = NULL;
    slot->answer = NULL;
    slot->next_free = slots->free;
    slots->free = index;
    slots->count--;
}

uint32_t gw_slots_count(const struct gw_slots *slots)
{
    return slots->count;
}
