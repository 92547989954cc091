#include "shm/dict_shard.h"

#include "base/hash.h"
#include "base/log.h"

#define BYTES_PER_BUCKET 128
#define COLLECT_AT_ONCE 256

static void recover(struct gw_op *op);

static void op_lock(struct gw_op *op, struct gw_dict *dict, struct gw_shard *shard, uint64_t now_ms)
{
    op->dict = dict;
    op->shard = shard;
    op->now_ms = now_ms;
    op->entry = NULL;
    op->stale = NULL;
    gw_txn_begin(&op->txn, dict->zone.base, &shard->undo);
    if (gw_lock_acquire(&shard->lock, &dict->zone) == GW_LOCK_INHERITED)
        recover(op);
}

void gw_op_begin_shard(struct gw_op *op, struct gw_dict *dict, uint32_t shard, uint64_t now_ms)
{
    op->key = NULL;
    op->key_len = 0;
    op_lock(op, dict, &dict->shards[shard], now_ms);
}

static struct gw_entry *find_entry(const struct gw_op *op)
{
    const struct gw_shard *shard = op->shard;
    uint32_t ref = gw_table_at(&op->txn, shard->table)[op->hash & shard->mask];

    while (ref != 0) {
        struct gw_entry *entry = gw_entry_at(&op->txn, ref);

        if (entry->tag == op->tag && entry->key_len == op->key_len &&
            memcmp(entry->key, op->key, op->key_len) == 0)
            return entry;
        ref = entry->chain;
    }
    return NULL;
}

enum gw_rc gw_op_begin(struct gw_op *op, struct gw_dict *dict, const char *key, size_t key_len,
                       uint64_t now_ms)
{
    if (key_len == 0)
        return GW_INVALID;
    if (key_len > GW_DICT_KEY_MAX)
        return GW_LIMIT;

    uint64_t hash = gw_hash(key, key_len, dict->seed);

    op->key = key;
    op->key_len = key_len;
    op->tag = (uint32_t)(hash >> 32);
    op->hash = (uint32_t)hash;
    op_lock(op, dict, &dict->shards[hash >> 56 & dict->shard_mask], now_ms);
    op->entry = find_entry(op);
    if (op->entry != NULL && gw_entry_expired(op->entry, now_ms)) {
        op->stale = op->entry;
        op->entry = NULL;
    }
    return GW_OK;
}

void gw_op_end(struct gw_op *op)
{
    gw_txn_commit(&op->txn);
    if (op->shard->garbage != 0)
        gw_op_collect(op, COLLECT_AT_ONCE);
    gw_lock_release(&op->shard->lock);
}

static void lru_push(struct gw_op *op, struct gw_entry *entry)
{
    struct gw_shard *shard = op->shard;
    uint32_t ref = gw_ref_of(&op->txn, entry), head = shard->lru_head;
    uint32_t pair[2] = {0, head}; /* lru_prev, lru_next */
    uint64_t word;

    memcpy(&word, pair, sizeof word);
    gw_txn_put64(&op->txn, &entry->lru_prev, word);
    if (head != 0)
        gw_txn_put32(&op->txn, &gw_entry_at(&op->txn, head)->lru_prev, ref);
    else
        gw_txn_put32(&op->txn, &shard->lru_tail, ref);
    gw_txn_put32(&op->txn, &shard->lru_head, ref);
}

static void lru_remove(struct gw_op *op, struct gw_entry *entry)
{
    struct gw_shard *shard = op->shard;
    uint32_t prev = entry->lru_prev, next = entry->lru_next;

    gw_txn_put32(&op->txn, prev != 0 ? &gw_entry_at(&op->txn, prev)->lru_next : &shard->lru_head,
                 next);
    gw_txn_put32(&op->txn, next != 0 ? &gw_entry_at(&op->txn, next)->lru_prev : &shard->lru_tail,
                 prev);
}

void gw_op_use(struct gw_op *op, struct gw_entry *entry)
{
    /* Where nothing is evicted, nobody asks for the order. */
    if (entry->lru_prev == 0 || gw_dict_never(op->dict))
        return;
    lru_remove(op, entry);
    lru_push(op, entry);
}

void gw_op_collect(struct gw_op *op, uint32_t max)
{
    struct gw_shard *shard = op->shard;

    for (; max > 0 && shard->garbage != 0; max--) {
        struct gw_entry *entry = gw_entry_at(&op->txn, shard->garbage);
        struct gw_list_value *list = gw_entry_payload(entry);
        uint32_t node = list->head;

        if (node != 0) {
            gw_txn_put32(&op->txn, &list->head,
                         ((struct gw_list_node *)gw_heap_block(op->txn.base, node))->next);
            gw_heap_give(&op->txn, &shard->heap, node);
        } else {
            uint32_t ref = shard->garbage;

            gw_txn_put32(&op->txn, &shard->garbage, entry->chain);
            gw_heap_give(&op->txn, &shard->heap, ref);
        }
        gw_txn_commit(&op->txn);
    }
}

static void chain_remove(struct gw_op *op, struct gw_entry *entry)
{
    struct gw_shard *shard = op->shard;
    uint32_t ref = gw_ref_of(&op->txn, entry);
    uint64_t hash = gw_hash(entry->key, entry->key_len, op->dict->seed);
    uint32_t *at = &gw_table_at(&op->txn, shard->table)[(uint32_t)hash & shard->mask];

    while (*at != ref)
        at = &gw_entry_at(&op->txn, *at)->chain;
    gw_txn_put32(&op->txn, at, entry->chain);
}

void gw_op_remove(struct gw_op *op, struct gw_entry *entry)
{
    struct gw_shard *shard = op->shard;

    chain_remove(op, entry);
    lru_remove(op, entry);
    gw_wheel_remove(op, entry);
    gw_txn_put32(&op->txn, &shard->entries, shard->entries - 1);
    if (gw_entry_type(entry) == GW_DICT_LIST &&
        ((struct gw_list_value *)gw_entry_payload(entry))->head != 0) {
        /* Of any number: given back a node at a time, from here also by an heir. */
        gw_txn_put32(&op->txn, &entry->chain, shard->garbage);
        gw_txn_put32(&op->txn, &shard->garbage, gw_ref_of(&op->txn, entry));
        return;
    }
    gw_heap_give(&op->txn, &shard->heap, gw_ref_of(&op->txn, entry));
}

void gw_op_drop(struct gw_op *op, struct gw_entry *entry)
{
    gw_op_remove(op, entry);
    gw_txn_commit(&op->txn);
}

void gw_op_drop_stale(struct gw_op *op)
{
    if (op->stale == NULL)
        return;
    gw_op_drop(op, op->stale);
    op->stale = NULL;
    op->shard->expired++;
}

bool gw_op_room(struct gw_op *op, const struct gw_entry *keep)
{
    struct gw_shard *shard = op->shard;
    uint32_t victim = shard->lru_tail;

    if (shard->garbage != 0) {
        gw_op_collect(op, COLLECT_AT_ONCE);
        return true;
    }
    if (gw_op_expire_one(op))
        return true;
    if (gw_dict_never(op->dict) || victim == 0)
        return false;
    if (gw_entry_at(&op->txn, victim) == keep)
        victim = keep->lru_prev;
    if (victim == 0)
        return false;
    gw_op_drop(op, gw_entry_at(&op->txn, victim));
    shard->evicted++;
    return true;
}

enum gw_rc gw_op_full(struct gw_op *op)
{
    op->shard->full++;
    return GW_FULL;
}

struct gw_entry *gw_op_new(struct gw_op *op, uint32_t type, uint64_t payload,
                           const struct gw_entry *keep)
{
    struct gw_shard *shard = op->shard;
    uint32_t units = gw_heap_units(gw_entry_head_bytes(op->key_len) + payload);
    uint32_t ref;

    while ((ref = gw_heap_take(&op->txn, &shard->heap, units)) == 0) {
        if (!gw_op_room(op, keep))
            return NULL;
    }

    struct gw_entry *entry = gw_entry_at(&op->txn, ref);

    GW_SHM_STORE(entry->tag, op->tag);
    GW_SHM_STORE(entry->expires, 0);
    GW_SHM_STORE(entry->key_len, (uint32_t)op->key_len);
    GW_SHM_STORE(entry->meta, GW_WHEEL_NONE << 8 | type);
    GW_SHM_STORE(entry->value.word, 0);
    gw_shm_fill(entry->key, op->key, op->key_len);
    return entry;
}

void gw_op_link(struct gw_op *op, struct gw_entry *entry, uint64_t expires)
{
    struct gw_shard *shard = op->shard;
    uint32_t *bucket = &gw_table_at(&op->txn, shard->table)[op->hash & shard->mask];

    GW_SHM_STORE(entry->chain, *bucket);
    gw_txn_put32(&op->txn, bucket, gw_ref_of(&op->txn, entry));
    lru_push(op, entry);
    gw_txn_put32(&op->txn, &shard->entries, shard->entries + 1);
    gw_op_set_expires(op, entry, expires);
}

struct gw_heap_segment gw_shard_segment(const struct gw_dict *dict, const struct gw_shard *shard,
                                        uint32_t index)
{
    const struct gw_dict_segment *segment = &dict->head->segment[index];
    uint64_t number = (uint64_t)(shard - dict->shards);

    return (struct gw_heap_segment){segment->at + number * segment->len, segment->len};
}

static uint32_t table_mask(const struct gw_heap *heap)
{
    uint64_t buckets = heap->bytes / BYTES_PER_BUCKET;
    uint32_t mask = 15;

    while (mask < UINT32_MAX >> 2 && (uint64_t)mask * 2 + 1 < buckets)
        mask = mask * 2 + 1;
    return mask;
}

static void table_clear(struct gw_op *op, uint32_t table, uint32_t mask)
{
    GW_SHM_POINT();
    memset(gw_table_at(&op->txn, table), 0, ((size_t)mask + 1) * sizeof(uint32_t));
    GW_SHM_FENCE();
}

static uint32_t table_take(struct gw_op *op, uint32_t mask)
{
    return gw_heap_take(&op->txn, &op->shard->heap,
                        gw_heap_units(GW_HEAP_HEADER + ((uint64_t)mask + 1) * sizeof(uint32_t)));
}

/* All other content is thrown away, so only the note needs to survive a death in here. */
void gw_shard_reset(struct gw_op *op)
{
    struct gw_shard *shard = op->shard;
    uint32_t segments = atomic_load(&op->dict->head->segments);

    GW_SHM_STORE(shard->todo, GW_TODO_RESET);
    GW_SHM_STORE(shard->undo.count, 0);
    op->txn.count = 0;
    GW_SHM_POINT();
    memset(&shard->heap, 0, sizeof shard->heap);
    memset(shard->wheel, 0, sizeof shard->wheel);
    shard->lru_head = shard->lru_tail = shard->entries = shard->timed = shard->garbage = 0;
    shard->next_table = shard->next_mask = 0;
    shard->cursor = 0;
    for (uint32_t i = 0; i < segments; i++)
        gw_heap_add_segment(&op->txn, &shard->heap, gw_shard_segment(op->dict, shard, i));
    shard->segments = segments;
    gw_txn_commit(&op->txn);

    uint32_t mask = table_mask(&shard->heap);
    uint32_t table = table_take(op, mask);

    assert(table != 0); /* sizes are checked when the zone is made */
    table_clear(op, table, mask);
    gw_txn_put32(&op->txn, &shard->table, table);
    gw_txn_put32(&op->txn, &shard->mask, mask);
    gw_txn_put32(&op->txn, &shard->todo, 0);
    gw_txn_commit(&op->txn);
}

/* The order of use lists all entries and is not touched, so an heir can begin again. */
static void rehash(struct gw_op *op)
{
    struct gw_shard *shard = op->shard;
    uint32_t *table = gw_table_at(&op->txn, shard->next_table);
    uint32_t old = shard->table;

    table_clear(op, shard->next_table, shard->next_mask);
    for (uint32_t ref = shard->lru_head; ref != 0;) {
        struct gw_entry *entry = gw_entry_at(&op->txn, ref);
        uint64_t hash = gw_hash(entry->key, entry->key_len, op->dict->seed);
        uint32_t *bucket = &table[(uint32_t)hash & shard->next_mask];

        GW_SHM_STORE(entry->chain, *bucket);
        GW_SHM_STORE(*bucket, ref);
        ref = entry->lru_next;
    }
    gw_txn_put32(&op->txn, &shard->table, shard->next_table);
    gw_txn_put32(&op->txn, &shard->mask, shard->next_mask);
    gw_txn_put32(&op->txn, &shard->next_table, 0);
    gw_txn_put32(&op->txn, &shard->todo, shard->todo & ~(uint32_t)GW_TODO_REHASH);
    gw_heap_give(&op->txn, &shard->heap, old);
    gw_txn_commit(&op->txn);
}

void gw_shard_extend(struct gw_op *op)
{
    struct gw_shard *shard = op->shard;
    uint32_t segments = atomic_load(&op->dict->head->segments);

    while (shard->segments < segments) {
        gw_heap_add_segment(&op->txn, &shard->heap,
                            gw_shard_segment(op->dict, shard, shard->segments));
        gw_txn_put32(&op->txn, &shard->segments, shard->segments + 1);
        gw_txn_commit(&op->txn);
    }

    uint32_t mask = table_mask(&shard->heap);
    uint32_t table = mask > shard->mask ? table_take(op, mask) : 0;

    if (table == 0) {
        gw_txn_commit(&op->txn);
        return; /* longer chains are slower, not wrong */
    }
    gw_txn_put32(&op->txn, &shard->next_table, table);
    gw_txn_put32(&op->txn, &shard->next_mask, mask);
    gw_txn_put32(&op->txn, &shard->todo, shard->todo | GW_TODO_REHASH);
    gw_txn_commit(&op->txn);
    rehash(op);
}

void gw_shard_flush(struct gw_op *op)
{
    struct gw_shard *shard = op->shard;

    GW_SHM_STORE(shard->todo, shard->todo | GW_TODO_FLUSH);
    while (shard->lru_head != 0)
        gw_op_drop(op, gw_entry_at(&op->txn, shard->lru_head));
    GW_SHM_STORE(shard->todo, shard->todo & ~(uint32_t)GW_TODO_FLUSH);
}

/* We are the heir: what the dead process had begun is undone, all is checked, and what stands
 * in the notes is finished. A shard that does not pass was written by something else than us:
 * better empty than wrong. */
static void recover(struct gw_op *op)
{
    struct gw_shard *shard = op->shard;
    struct gw_zone_header *header = gw_zone_header(&op->dict->zone);
    struct gw_err err = {""};

    shard->inherited++;
    if (!(shard->todo & GW_TODO_RESET) &&
        gw_undo_roll_back(op->txn.base, atomic_load(&header->size), &shard->undo) == GW_OK &&
        gw_shard_verify(op, &err) == GW_OK) {
        if (shard->todo & GW_TODO_REHASH)
            rehash(op);
        if (shard->todo & GW_TODO_FLUSH)
            gw_shard_flush(op);
        return;
    }
    gw_error("shared dictionary %s: shard %u is emptied: its memory was damaged: %s", header->name,
             (unsigned)(shard - op->dict->shards), err.text);
    shard->reset++;
    gw_shard_reset(op);
}
