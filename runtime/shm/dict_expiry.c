/* A wheel of four levels of 64 slots. A slot of the lowest level is one tick of 64 ms, one of
 * the next level 64 ticks, and so on, 12 days in all; what expires later waits in the last
 * slot and is sorted in again. When the wheel turns, a slot of a higher level is dealt out
 * to lower ones, and what is in a slot of the lowest level that has passed is expired, unless its
 * life was prolonged meanwhile: prolonging leaves an entry where it is (it is met too early
 * and moved then), so that counters whose life each call prolongs cost nothing here. */
#include "shm/dict_shard.h"

#define TICK_BITS 6 /* 64 ms */
#define SLOT_BITS 6
#define SLOT_MASK (GW_WHEEL_SLOTS - 1)
#define TICKS_MAX (((uint64_t)1 << (GW_WHEEL_LEVELS * SLOT_BITS)) - 1)
#define EXPIRE_AT_ONCE 2
#define EXPIRE_EVERY_TICKS 8

static uint64_t tick_of(uint64_t ms)
{
    return ms >> TICK_BITS;
}

/* The slot in which an entry is met in time, when the wheel stands at `cursor`. */
static uint32_t slot_for(uint64_t cursor, uint64_t expires)
{
    uint64_t tick = tick_of(expires);
    uint64_t ahead = tick > cursor ? tick - cursor : 0;
    uint32_t level = 0;

    if (ahead > TICKS_MAX)
        ahead = TICKS_MAX;
    tick = cursor + ahead;
    while (level + 1 < GW_WHEEL_LEVELS && ahead >> ((level + 1) * SLOT_BITS) != 0)
        level++;
    return level * GW_WHEEL_SLOTS + (uint32_t)(tick >> (level * SLOT_BITS) & SLOT_MASK);
}

static void slot_insert(struct gw_op *op, struct gw_entry *entry, uint32_t slot)
{
    struct gw_shard *shard = op->shard;
    uint32_t head = shard->wheel[slot], ref = gw_ref_of(&op->txn, entry);
    uint32_t pair[2] = {0, head}; /* exp_prev, exp_next */
    uint64_t word;

    memcpy(&word, pair, sizeof word);
    gw_txn_put64(&op->txn, &entry->exp_prev, word);
    if (head != 0)
        gw_txn_put32(&op->txn, &gw_entry_at(&op->txn, head)->exp_prev, ref);
    gw_txn_put32(&op->txn, &shard->wheel[slot], ref);
    gw_txn_put32(&op->txn, &entry->meta, slot << 8 | gw_entry_type(entry));
}

static void slot_remove(struct gw_op *op, struct gw_entry *entry)
{
    struct gw_shard *shard = op->shard;
    uint32_t prev = entry->exp_prev, next = entry->exp_next;

    gw_txn_put32(&op->txn,
                 prev != 0 ? &gw_entry_at(&op->txn, prev)->exp_next
                           : &shard->wheel[gw_entry_slot(entry)],
                 next);
    if (next != 0)
        gw_txn_put32(&op->txn, &gw_entry_at(&op->txn, next)->exp_prev, prev);
}

void gw_wheel_insert(struct gw_op *op, struct gw_entry *entry, uint64_t expires)
{
    struct gw_shard *shard = op->shard;

    if (shard->timed == 0) /* an empty wheel may stand anywhere */
        gw_txn_put64(&op->txn, &shard->cursor, tick_of(op->now_ms));
    slot_insert(op, entry, slot_for(shard->cursor, expires));
    gw_txn_put32(&op->txn, &shard->timed, shard->timed + 1);
}

void gw_wheel_remove(struct gw_op *op, struct gw_entry *entry)
{
    struct gw_shard *shard = op->shard;

    if (gw_entry_slot(entry) == GW_WHEEL_NONE)
        return;
    slot_remove(op, entry);
    gw_txn_put32(&op->txn, &entry->meta, GW_WHEEL_NONE << 8 | gw_entry_type(entry));
    gw_txn_put32(&op->txn, &shard->timed, shard->timed - 1);
}

void gw_op_set_expires(struct gw_op *op, struct gw_entry *entry, uint64_t expires)
{
    uint64_t old = entry->expires;

    if (expires == old)
        return;
    gw_txn_put64(&op->txn, &entry->expires, expires);
    if (old != 0 && expires > old)
        return; /* met early, and moved then */
    if (old != 0)
        gw_wheel_remove(op, entry);
    if (expires != 0)
        gw_wheel_insert(op, entry, expires);
}

static void move(struct gw_op *op, struct gw_entry *entry, uint64_t cursor)
{
    slot_remove(op, entry);
    slot_insert(op, entry, slot_for(cursor, entry->expires));
    gw_txn_commit(&op->txn);
}

/* The wheel is about to stand at `next`: what the slots of higher levels that begin there
 * hold is dealt out. Killed in here, the next one does the rest. */
static void deal_out(struct gw_op *op, uint64_t next)
{
    struct gw_shard *shard = op->shard;

    for (uint32_t level = GW_WHEEL_LEVELS - 1; level > 0; level--) {
        if ((next & (((uint64_t)1 << (level * SLOT_BITS)) - 1)) != 0)
            continue;

        uint32_t slot =
            level * GW_WHEEL_SLOTS + (uint32_t)(next >> (level * SLOT_BITS) & SLOT_MASK);

        while (shard->wheel[slot] != 0)
            move(op, gw_entry_at(&op->txn, shard->wheel[slot]), next);
    }
}

static bool lowest_level_empty(const struct gw_shard *shard)
{
    uint32_t any = 0;

    for (uint32_t i = 0; i < GW_WHEEL_SLOTS; i++)
        any |= shard->wheel[i];
    return any == 0;
}

/* One step of the wheel, whose present slot is empty; or to the last tick before the next
 * dealing out, when all of the lowest level is. */
static void turn(struct gw_op *op, uint64_t until)
{
    struct gw_shard *shard = op->shard;
    uint64_t next = shard->cursor + 1;

    if ((shard->cursor & SLOT_MASK) == 0 && lowest_level_empty(shard))
        next = shard->cursor + SLOT_MASK;
    if (next > until)
        next = until;
    if ((next & SLOT_MASK) == 0)
        deal_out(op, next);
    gw_txn_put64(&op->txn, &shard->cursor, next);
    gw_txn_commit(&op->txn);
}

static void expire(struct gw_op *op, struct gw_entry *entry)
{
    if (entry == op->stale)
        op->stale = NULL;
    gw_op_drop(op, entry);
    op->shard->expired++;
}

bool gw_op_expire_one(struct gw_op *op)
{
    struct gw_shard *shard = op->shard;
    uint64_t until = tick_of(op->now_ms);

    while (shard->timed > 0 && shard->cursor < until) {
        uint32_t ref = shard->wheel[shard->cursor & SLOT_MASK];

        if (ref == 0) {
            turn(op, until);
            continue;
        }

        struct gw_entry *entry = gw_entry_at(&op->txn, ref);

        if (gw_entry_expired(entry, op->now_ms)) {
            expire(op, entry);
            return true;
        }
        move(op, entry, shard->cursor);
    }
    /* The slot of the present tick holds some that have expired and some that have not. */
    for (uint32_t ref = shard->wheel[shard->cursor & SLOT_MASK]; ref != 0;) {
        struct gw_entry *entry = gw_entry_at(&op->txn, ref);

        if (gw_entry_expired(entry, op->now_ms)) {
            expire(op, entry);
            return true;
        }
        ref = entry->exp_next;
    }
    return false;
}

void gw_op_expire_some(struct gw_op *op)
{
    struct gw_shard *shard = op->shard;

    if (shard->timed == 0 || shard->cursor + EXPIRE_EVERY_TICKS > tick_of(op->now_ms))
        return;
    for (int i = 0; i < EXPIRE_AT_ONCE && gw_op_expire_one(op); i++)
        ;
}
