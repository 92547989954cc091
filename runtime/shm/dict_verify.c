/* Every invariant of a shard. Believes nothing that it reads: an offset is followed only when
 * a block in use begins there, and each block is met once. */
#include "shm/dict_shard.h"

#include <stdlib.h>

#include "base/hash.h"

#define BAD(err, ...) gw_err_set((err), GW_INVALID, __VA_ARGS__)

struct check {
    struct gw_op *op;
    struct gw_heap_marks marks; /* blocks that nobody has claimed yet */
    uint8_t *entries;           /* a bit for each block that is an entry */
    uint64_t chained;
    uint64_t timed;
    struct gw_err *err;
};

static bool is_entry(const struct check *check, uint32_t ref)
{
    return ref < check->marks.units && (check->entries[ref / 8] >> (ref % 8) & 1);
}

static enum gw_rc claim(struct check *check, uint32_t ref, uint64_t bytes_min, const char *what)
{
    if (!gw_heap_marked(&check->marks, ref))
        return BAD(check->err, "%s: no block at %u, or it is somebody else's", what, ref);
    if (gw_heap_block_bytes(check->op->txn.base, ref) < bytes_min)
        return BAD(check->err, "%s: the block at %u is too small", what, ref);
    gw_heap_unmark(&check->marks, ref);
    return GW_OK;
}

static enum gw_rc check_nodes(struct check *check, const struct gw_list_value *list, bool garbage)
{
    uint32_t before = 0, count = 0;

    for (uint32_t ref = list->head; ref != 0;) {
        enum gw_rc rc = claim(check, ref, sizeof(struct gw_list_node), "list");
        const struct gw_list_node *node;

        if (rc != GW_OK)
            return rc;
        node = (const struct gw_list_node *)gw_heap_block(check->op->txn.base, ref);
        if (gw_heap_block_bytes(check->op->txn.base, ref) < sizeof *node + node->len)
            return BAD(check->err, "list node %u: longer than its block", ref);
        /* A list in the garbage loses nodes in front, and nobody walks back in it. */
        if (!garbage && node->prev != before)
            return BAD(check->err, "list node %u: wrong link back", ref);
        before = ref;
        ref = node->next;
        count++;
    }
    if (!garbage && (count == 0 || count != list->count || list->tail != before))
        return BAD(check->err, "a list of %u nodes says it has %u", count, list->count);
    return GW_OK;
}

/* What is behind the key fits into the block and is consistent. */
static enum gw_rc check_value(struct check *check, struct gw_entry *entry, bool garbage)
{
    uint64_t have = (uint64_t)(entry->block.size >> 1) * GW_HEAP_UNIT;
    uint64_t need = gw_entry_head_bytes(entry->key_len);
    const struct gw_window_value *ring;

    if (entry->key_len == 0 || entry->key_len > GW_DICT_KEY_MAX || need > have)
        return BAD(check->err, "an entry with a key of %u bytes", entry->key_len);
    switch (gw_entry_type(entry)) {
    case GW_DICT_STRING:
        return entry->value.word > have - need ? BAD(check->err, "a string beyond its block")
                                               : GW_OK;
    case GW_DICT_NUMBER:
    case GW_DICT_BOOLEAN:
        return GW_OK;
    case GW_DICT_LIST:
        if (have - need < sizeof(struct gw_list_value))
            return BAD(check->err, "a list beyond its block");
        return check_nodes(check, gw_entry_payload(entry), garbage);
    case GW_DICT_BUCKET:
        return have - need < sizeof(struct gw_bucket_value)
                   ? BAD(check->err, "a bucket beyond its block")
                   : GW_OK;
    case GW_DICT_WINDOW:
        ring = gw_entry_payload(entry);
        if (have - need < sizeof *ring || ring->size == 0 ||
            ring->size > (have - need - sizeof *ring) / sizeof(uint32_t) ||
            (uint32_t)entry->value.word >= ring->size || entry->value.word >> 32 > ring->size)
            return BAD(check->err, "a window beyond its block");
        return GW_OK;
    default:
        return BAD(check->err, "an entry of type %u", gw_entry_type(entry));
    }
}

/* In order of use: this is the list that says which blocks are entries. */
static enum gw_rc check_entries(struct check *check)
{
    const struct gw_shard *shard = check->op->shard;
    uint32_t before = 0;
    uint64_t count = 0;

    for (uint32_t ref = shard->lru_head; ref != 0; count++) {
        enum gw_rc rc = claim(check, ref, sizeof(struct gw_entry), "entry");
        struct gw_entry *entry = gw_entry_at(&check->op->txn, ref);

        if (rc != GW_OK)
            return rc;
        if (entry->lru_prev != before)
            return BAD(check->err, "entry %u: wrong link back in the order of use", ref);
        rc = check_value(check, entry, false);
        if (rc != GW_OK)
            return rc;
        check->entries[ref / 8] |= (uint8_t)(1u << (ref % 8));
        before = ref;
        ref = entry->lru_next;
    }
    if (shard->lru_tail != before || shard->entries != count)
        return BAD(check->err, "%llu entries in order of use, the account says %u",
                   (unsigned long long)count, shard->entries);
    return GW_OK;
}

static enum gw_rc check_bucket(struct check *check, uint32_t bucket)
{
    struct gw_op *op = check->op;

    for (uint32_t ref = gw_table_at(&op->txn, op->shard->table)[bucket]; ref != 0;) {
        const struct gw_entry *entry = gw_entry_at(&op->txn, ref);
        uint64_t hash;

        if (!is_entry(check, ref))
            return BAD(check->err, "bucket %u leads to %u, which is no entry", bucket, ref);
        if (++check->chained > op->shard->entries)
            return BAD(check->err, "bucket %u: more entries in chains than there are", bucket);
        hash = gw_hash(entry->key, entry->key_len, op->dict->seed);
        if (((uint32_t)hash & op->shard->mask) != bucket || (uint32_t)(hash >> 32) != entry->tag ||
            &op->dict->shards[hash >> 56 & op->dict->shard_mask] != op->shard)
            return BAD(check->err, "entry %u hangs in a wrong bucket", ref);
        ref = entry->chain;
    }
    return GW_OK;
}

static enum gw_rc check_chains(struct check *check)
{
    const struct gw_shard *shard = check->op->shard;
    uint64_t bytes = GW_HEAP_HEADER + ((uint64_t)shard->mask + 1) * sizeof(uint32_t);
    enum gw_rc rc = claim(check, shard->table, bytes, "table");

    if (rc == GW_OK && (shard->mask & (shard->mask + 1)) != 0)
        return BAD(check->err, "a table of %u buckets", shard->mask + 1);
    if (rc == GW_OK && (shard->todo & GW_TODO_REHASH)) {
        /* The chains are being made anew. */
        bytes = GW_HEAP_HEADER + ((uint64_t)shard->next_mask + 1) * sizeof(uint32_t);
        return claim(check, shard->next_table, bytes, "next table");
    }
    for (uint32_t bucket = 0; rc == GW_OK && bucket <= shard->mask; bucket++)
        rc = check_bucket(check, bucket);
    if (rc == GW_OK && check->chained != shard->entries)
        return BAD(check->err, "%llu entries in chains, %u in all",
                   (unsigned long long)check->chained, shard->entries);
    return rc;
}

static enum gw_rc check_slot(struct check *check, uint32_t slot)
{
    const struct gw_shard *shard = check->op->shard;
    uint32_t before = 0;

    for (uint32_t ref = shard->wheel[slot]; ref != 0;) {
        const struct gw_entry *entry = gw_entry_at(&check->op->txn, ref);

        if (!is_entry(check, ref) || ++check->timed > shard->timed)
            return BAD(check->err, "slot %u of the wheel leads astray", slot);
        if (gw_entry_slot(entry) != slot || entry->exp_prev != before || entry->expires == 0)
            return BAD(check->err, "entry %u: wrong place in the wheel", ref);
        before = ref;
        ref = entry->exp_next;
    }
    return GW_OK;
}

static enum gw_rc check_wheel(struct check *check)
{
    const struct gw_shard *shard = check->op->shard;
    uint64_t timed = 0;

    for (uint32_t slot = 0; slot < GW_WHEEL_NONE; slot++) {
        enum gw_rc rc = check_slot(check, slot);

        if (rc != GW_OK)
            return rc;
    }
    for (uint32_t ref = shard->lru_head; ref != 0;) {
        const struct gw_entry *entry = gw_entry_at(&check->op->txn, ref);

        if ((entry->expires != 0) != (gw_entry_slot(entry) != GW_WHEEL_NONE))
            return BAD(check->err, "entry %u: expires, but is not in the wheel, or the reverse",
                       ref);
        timed += entry->expires != 0;
        ref = entry->lru_next;
    }
    if (check->timed != shard->timed || timed != shard->timed)
        return BAD(check->err, "%llu entries in the wheel, %llu that expire, %u in the account",
                   (unsigned long long)check->timed, (unsigned long long)timed, shard->timed);
    return GW_OK;
}

static enum gw_rc check_garbage(struct check *check)
{
    for (uint32_t ref = check->op->shard->garbage; ref != 0;) {
        enum gw_rc rc = claim(check, ref, sizeof(struct gw_entry), "garbage");
        struct gw_entry *entry = gw_entry_at(&check->op->txn, ref);

        if (rc == GW_OK && gw_entry_type(entry) != GW_DICT_LIST)
            return BAD(check->err, "garbage %u is no list", ref);
        if (rc == GW_OK)
            rc = check_value(check, entry, true);
        if (rc != GW_OK)
            return rc;
        ref = entry->chain;
    }
    return GW_OK;
}

static enum gw_rc check_all(struct check *check, const struct gw_heap_segment *segments)
{
    struct gw_shard *shard = check->op->shard;
    enum gw_rc rc = gw_heap_verify(&shard->heap, check->op->txn.base, segments, shard->segments,
                                   &check->marks, check->err);

    if (rc == GW_OK && shard->undo.count != 0)
        rc = BAD(check->err, "a transaction is open");
    if (rc == GW_OK)
        rc = check_entries(check);
    if (rc == GW_OK)
        rc = check_chains(check);
    if (rc == GW_OK)
        rc = check_wheel(check);
    if (rc == GW_OK)
        rc = check_garbage(check);
    if (rc == GW_OK && check->marks.blocks != 0)
        rc = BAD(check->err, "%llu blocks in use belong to nobody",
                 (unsigned long long)check->marks.blocks);
    return rc;
}

enum gw_rc gw_shard_verify(struct gw_op *op, struct gw_err *err)
{
    struct gw_heap_segment segments[GW_DICT_SEGMENTS_MAX];
    uint64_t units = atomic_load(&gw_zone_header(&op->dict->zone)->size) / GW_HEAP_UNIT;
    struct check check = {.op = op, .err = err};
    enum gw_rc rc;

    if (op->shard->segments == 0 || op->shard->segments > atomic_load(&op->dict->head->segments))
        return BAD(err, "%u segments", op->shard->segments);
    for (uint32_t i = 0; i < op->shard->segments; i++)
        segments[i] = gw_shard_segment(op->dict, op->shard, i);
    check.marks.units = units;
    check.marks.bits = calloc(1, (size_t)units / 8 + 1);
    check.entries = calloc(1, (size_t)units / 8 + 1);
    if (check.marks.bits == NULL || check.entries == NULL)
        abort();
    rc = check_all(&check, segments);
    free(check.marks.bits);
    free(check.entries);
    return rc;
}
