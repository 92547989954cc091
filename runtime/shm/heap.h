/* Memory inside a zone: blocks of any size in segments of one shard.
 * Lives in: a shard, under its lock. Free blocks hang in lists by size class (eight for each
 * power of two); taking and giving back cost the same for every size, and neighbours that are
 * free are joined at once, so no two free blocks touch.
 * A block is named by its offset in the zone in units of 16 bytes; 0 is none.
 * Rule: a transaction takes blocks before it gives any back. What is taken may then be written
 * without a record, because it was free when the transaction began.
 * Invariant: `used` and `bytes` are exact sums over all blocks. */
#ifndef GW_SHM_HEAP_H
#define GW_SHM_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "shm/txn.h"

#define GW_HEAP_UNIT 16u
#define GW_HEAP_LEVELS 29
#define GW_HEAP_STEPS 8
#define GW_HEAP_HEADER 8 /* bytes of a block that are not the user's */

/* In front of every block. The user's bytes begin at `next_free`. */
struct gw_block {
    uint32_t size; /* units << 1 | free; units 0: the end of a segment */
    uint32_t prev; /* units of the block before it; 0: first of its segment */
    uint32_t next_free;
    uint32_t prev_free;
} __attribute__((may_alias));

struct gw_heap {
    uint64_t bytes; /* in blocks, used and free */
    uint64_t used;
    uint32_t levels; /* bit: some list of that level has a block */
    uint32_t reserved;
    uint32_t steps[GW_HEAP_LEVELS + 1]; /* bits: which lists of the level have blocks */
    uint32_t free[GW_HEAP_LEVELS][GW_HEAP_STEPS];
};

struct gw_heap_segment {
    uint64_t at; /* offset in the zone; both are multiples of the unit */
    uint64_t len;
};

static inline struct gw_block *gw_heap_block(const char *base, uint32_t ref)
{
    return (struct gw_block *)(base + (uint64_t)ref * GW_HEAP_UNIT);
}

static inline uint64_t gw_heap_block_bytes(const char *base, uint32_t ref)
{
    return (uint64_t)(gw_heap_block(base, ref)->size >> 1) * GW_HEAP_UNIT;
}

/* Units that a block for `bytes` (its header included) takes. */
static inline uint32_t gw_heap_units(uint64_t bytes)
{
    uint32_t units = (uint32_t)((bytes + GW_HEAP_UNIT - 1) / GW_HEAP_UNIT);

    return units < 2 ? 2 : units;
}

/* Makes one free block of memory that nothing points at. The list of a new heap is all zero. */
void gw_heap_add_segment(struct gw_txn *txn, struct gw_heap *heap, struct gw_heap_segment segment);

/* 0: no free block is large enough. */
uint32_t gw_heap_take(struct gw_txn *txn, struct gw_heap *heap, uint32_t units);
void gw_heap_give(struct gw_txn *txn, struct gw_heap *heap, uint32_t ref);

/* Marks, one bit a unit of the zone, where blocks in use begin. */
struct gw_heap_marks {
    uint8_t *bits;
    uint64_t units;
    uint64_t blocks; /* marked */
};
static inline bool gw_heap_marked(const struct gw_heap_marks *marks, uint32_t ref)
{
    return ref < marks->units && (marks->bits[ref / 8] >> (ref % 8) & 1);
}
void gw_heap_unmark(struct gw_heap_marks *marks, uint32_t ref);

/* Walks everything, believes nothing. Leaves in `marks` (made by the caller, all zero) every
 * block in use, so that the caller can find those that nobody owns. */
GW_MUST_CHECK enum gw_rc gw_heap_verify(const struct gw_heap *heap, const char *base,
                                        const struct gw_heap_segment *segments, uint32_t count,
                                        struct gw_heap_marks *marks, struct gw_err *err);

#endif
