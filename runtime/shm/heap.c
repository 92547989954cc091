#include "shm/heap.h"

#define UNITS_MIN 2
#define FALLBACK_LOOKS 16

static uint32_t log2_of(uint32_t n)
{
    return 31 - (uint32_t)__builtin_clz(n);
}

/* Sizes below 8 units have a list each; above, eight lists between two powers of two. */
static void class_of(uint32_t units, uint32_t *level, uint32_t *step)
{
    if (units < GW_HEAP_STEPS) {
        *level = 0;
        *step = units;
        return;
    }
    *level = log2_of(units) - 2;
    *step = units >> (log2_of(units) - 3) & (GW_HEAP_STEPS - 1);
}

static uint32_t units_of(const struct gw_block *block)
{
    return block->size >> 1;
}

static bool is_free(const struct gw_block *block)
{
    return block->size & 1;
}

/* next_free and prev_free are one word of 8 bytes: one record for both. */
static uint64_t links(uint32_t next, uint32_t prev)
{
    uint32_t pair[2] = {next, prev};
    uint64_t word;

    memcpy(&word, pair, sizeof word);
    return word;
}

static void list_insert(struct gw_txn *txn, struct gw_heap *heap, uint32_t ref, uint32_t units)
{
    struct gw_block *block = gw_heap_block(txn->base, ref);
    uint32_t level, step;

    class_of(units, &level, &step);

    uint32_t head = heap->free[level][step];

    gw_txn_put64(txn, &block->next_free, links(head, 0));
    if (head != 0)
        gw_txn_put32(txn, &gw_heap_block(txn->base, head)->prev_free, ref);
    gw_txn_put32(txn, &heap->free[level][step], ref);
    if (head == 0) {
        if (heap->steps[level] == 0)
            gw_txn_put32(txn, &heap->levels, heap->levels | 1u << level);
        gw_txn_put32(txn, &heap->steps[level], heap->steps[level] | 1u << step);
    }
}

static void list_remove(struct gw_txn *txn, struct gw_heap *heap, uint32_t ref)
{
    struct gw_block *block = gw_heap_block(txn->base, ref);
    uint32_t next = block->next_free, prev = block->prev_free;
    uint32_t level, step;

    class_of(units_of(block), &level, &step);
    if (next != 0)
        gw_txn_put32(txn, &gw_heap_block(txn->base, next)->prev_free, prev);
    if (prev != 0) {
        gw_txn_put32(txn, &gw_heap_block(txn->base, prev)->next_free, next);
        return;
    }
    gw_txn_put32(txn, &heap->free[level][step], next);
    if (next == 0) {
        gw_txn_put32(txn, &heap->steps[level], heap->steps[level] & ~(1u << step));
        if (heap->steps[level] == 0)
            gw_txn_put32(txn, &heap->levels, heap->levels & ~(1u << level));
    }
}

void gw_heap_add_segment(struct gw_txn *txn, struct gw_heap *heap, struct gw_heap_segment segment)
{
    uint32_t ref = (uint32_t)(segment.at / GW_HEAP_UNIT);
    uint32_t units = (uint32_t)(segment.len / GW_HEAP_UNIT) - 1;
    struct gw_block *block = gw_heap_block(txn->base, ref);
    struct gw_block *end = gw_heap_block(txn->base, ref + units);

    GW_SHM_STORE(block->size, units << 1 | 1);
    GW_SHM_STORE(block->prev, 0);
    GW_SHM_STORE(end->size, 0);
    GW_SHM_STORE(end->prev, units);
    list_insert(txn, heap, ref, units);
    gw_txn_put64(txn, &heap->bytes, heap->bytes + (uint64_t)units * GW_HEAP_UNIT);
}

/* A block of the first class whose every member is large enough; failing that, a lucky one of
 * the class below. */
static uint32_t find_free(const struct gw_txn *txn, const struct gw_heap *heap, uint32_t units)
{
    uint32_t level, step, above = units;

    if (units >= GW_HEAP_STEPS)
        above += (1u << (log2_of(units) - 3)) - 1;
    class_of(above, &level, &step);
    if (level < GW_HEAP_LEVELS) {
        uint32_t steps = heap->steps[level] & ~((1u << step) - 1);

        if (steps == 0) {
            uint32_t levels = heap->levels & ~((2u << level) - 1);

            if (levels != 0) {
                level = (uint32_t)__builtin_ctz(levels);
                steps = heap->steps[level];
            }
        }
        if (steps != 0)
            return heap->free[level][__builtin_ctz(steps)];
    }
    class_of(units, &level, &step);

    uint32_t ref = heap->free[level][step];

    for (int looks = 0; ref != 0 && looks < FALLBACK_LOOKS; looks++) {
        if (units_of(gw_heap_block(txn->base, ref)) >= units)
            return ref;
        ref = gw_heap_block(txn->base, ref)->next_free;
    }
    return 0;
}

uint32_t gw_heap_take(struct gw_txn *txn, struct gw_heap *heap, uint32_t units)
{
    uint32_t ref = units < 1u << 30 ? find_free(txn, heap, units) : 0;

    if (ref == 0)
        return 0;

    struct gw_block *block = gw_heap_block(txn->base, ref);
    uint32_t whole = units_of(block), rest = whole - units;

    list_remove(txn, heap, ref);
    if (rest < UNITS_MIN) {
        units = whole;
    } else {
        struct gw_block *tail = gw_heap_block(txn->base, ref + units);

        GW_SHM_STORE(tail->size, rest << 1 | 1);
        GW_SHM_STORE(tail->prev, units);
        gw_txn_put32(txn, &gw_heap_block(txn->base, ref + whole)->prev, rest);
        list_insert(txn, heap, ref + units, rest);
    }
    gw_txn_put32(txn, &block->size, units << 1);
    /* Records the links: from here on they are the user's, who writes without records. */
    gw_txn_put64(txn, &block->next_free, 0);
    gw_txn_put64(txn, &heap->used, heap->used + (uint64_t)units * GW_HEAP_UNIT);
    return ref;
}

void gw_heap_give(struct gw_txn *txn, struct gw_heap *heap, uint32_t ref)
{
    struct gw_block *block = gw_heap_block(txn->base, ref);
    uint32_t units = units_of(block);
    uint32_t after = ref + units;

    assert(!is_free(block));
    gw_txn_put64(txn, &heap->used, heap->used - (uint64_t)units * GW_HEAP_UNIT);
    if (is_free(gw_heap_block(txn->base, after))) {
        list_remove(txn, heap, after);
        units += units_of(gw_heap_block(txn->base, after));
    }
    if (block->prev != 0 && is_free(gw_heap_block(txn->base, ref - block->prev))) {
        ref -= block->prev;
        list_remove(txn, heap, ref);
        units += units_of(gw_heap_block(txn->base, ref));
    }
    gw_txn_put32(txn, &gw_heap_block(txn->base, ref)->size, units << 1 | 1);
    gw_txn_put32(txn, &gw_heap_block(txn->base, ref + units)->prev, units);
    list_insert(txn, heap, ref, units);
}

static void mark(struct gw_heap_marks *marks, uint32_t ref)
{
    marks->bits[ref / 8] |= (uint8_t)(1u << (ref % 8));
    marks->blocks++;
}

void gw_heap_unmark(struct gw_heap_marks *marks, uint32_t ref)
{
    assert(gw_heap_marked(marks, ref));
    marks->bits[ref / 8] &= (uint8_t) ~(1u << (ref % 8));
    marks->blocks--;
}

struct tally {
    uint64_t bytes;
    uint64_t used;
    uint64_t free_blocks;
};

static enum gw_rc verify_segment(const char *base, struct gw_heap_segment segment,
                                 struct gw_heap_marks *marks, struct tally *tally,
                                 struct gw_err *err)
{
    uint32_t at = (uint32_t)(segment.at / GW_HEAP_UNIT);
    uint32_t end = at + (uint32_t)(segment.len / GW_HEAP_UNIT) - 1;
    uint32_t before = 0;
    bool before_free = false;

    while (at < end) {
        const struct gw_block *block = gw_heap_block(base, at);
        uint32_t units = units_of(block);

        if (units < UNITS_MIN || units > end - at)
            return gw_err_set(err, GW_INVALID, "block %u has %u units", at, units);
        if (block->prev != before)
            return gw_err_set(err, GW_INVALID, "block %u: the one before has %u units, not %u", at,
                              before, block->prev);
        if (is_free(block) && before_free)
            return gw_err_set(err, GW_INVALID, "block %u: two free neighbours", at);
        tally->bytes += (uint64_t)units * GW_HEAP_UNIT;
        if (is_free(block)) {
            tally->free_blocks++;
        } else {
            tally->used += (uint64_t)units * GW_HEAP_UNIT;
            mark(marks, at);
        }
        before_free = is_free(block);
        before = units;
        at += units;
    }
    if (gw_heap_block(base, end)->size != 0 || gw_heap_block(base, end)->prev != before)
        return gw_err_set(err, GW_INVALID, "the end of a segment at %u was overwritten", end);
    return GW_OK;
}

static bool in_segments(const struct gw_heap_segment *segments, uint32_t count, uint32_t ref)
{
    uint64_t at = (uint64_t)ref * GW_HEAP_UNIT;

    for (uint32_t i = 0; i < count; i++) {
        if (at >= segments[i].at && at - segments[i].at < segments[i].len - GW_HEAP_UNIT)
            return true;
    }
    return false;
}

/* The blocks of one list; *found grows by their number. A reference into the middle of a block
 * is caught by the sum: every true free block is in one list, so a false one is one too many. */
static enum gw_rc verify_list(const struct gw_heap *heap, const char *base, uint32_t level,
                              uint32_t step, const struct gw_heap_segment *segments,
                              uint32_t segment_count, uint64_t limit, uint64_t *found,
                              struct gw_err *err)
{
    uint32_t before = 0;
    bool bit = heap->steps[level] >> step & 1;

    if (bit != (heap->free[level][step] != 0))
        return gw_err_set(err, GW_INVALID, "free list %u/%u and its bit disagree", level, step);
    for (uint32_t ref = heap->free[level][step]; ref != 0;) {
        const struct gw_block *block = gw_heap_block(base, ref);
        uint32_t is_level, is_step;

        if (!in_segments(segments, segment_count, ref) || ++*found > limit)
            return gw_err_set(err, GW_INVALID, "free list %u/%u leads astray", level, step);
        if (!is_free(block) || units_of(block) < UNITS_MIN || block->prev_free != before)
            return gw_err_set(err, GW_INVALID, "free block %u: wrong header or link", ref);
        class_of(units_of(block), &is_level, &is_step);
        if (is_level != level || is_step != step)
            return gw_err_set(err, GW_INVALID, "free block %u is in a wrong list", ref);
        before = ref;
        ref = block->next_free;
    }
    return GW_OK;
}

static enum gw_rc verify_lists(const struct gw_heap *heap, const char *base,
                               const struct gw_heap_segment *segments, uint32_t count,
                               uint64_t free_blocks, struct gw_err *err)
{
    uint64_t found = 0;

    for (uint32_t level = 0; level < GW_HEAP_LEVELS; level++) {
        bool bit = heap->levels >> level & 1;

        if (bit != (heap->steps[level] != 0))
            return gw_err_set(err, GW_INVALID, "free level %u and its bit disagree", level);
        for (uint32_t step = 0; step < GW_HEAP_STEPS; step++) {
            enum gw_rc rc =
                verify_list(heap, base, level, step, segments, count, free_blocks, &found, err);

            if (rc != GW_OK)
                return rc;
        }
    }
    if (found != free_blocks)
        return gw_err_set(err, GW_INVALID, "%llu free blocks, %llu in lists",
                          (unsigned long long)free_blocks, (unsigned long long)found);
    return GW_OK;
}

enum gw_rc gw_heap_verify(const struct gw_heap *heap, const char *base,
                          const struct gw_heap_segment *segments, uint32_t count,
                          struct gw_heap_marks *marks, struct gw_err *err)
{
    struct tally tally = {0};

    for (uint32_t i = 0; i < count; i++) {
        enum gw_rc rc = verify_segment(base, segments[i], marks, &tally, err);

        if (rc != GW_OK)
            return rc;
    }
    if (tally.bytes != heap->bytes || tally.used != heap->used)
        return gw_err_set(err, GW_INVALID,
                          "%llu of %llu bytes in use, the account says %llu of %llu",
                          (unsigned long long)tally.used, (unsigned long long)tally.bytes,
                          (unsigned long long)heap->used, (unsigned long long)heap->bytes);
    return verify_lists(heap, base, segments, count, tally.free_blocks, err);
}
