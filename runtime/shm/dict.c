#include "shm/dict_shard.h"

#include <math.h>

#define IN_PLACE_MAX 128 /* bytes that are overwritten under the undo log */

enum gw_rc gw_value_check(const struct gw_dict *dict, const struct gw_dict_value *value)
{
    switch (value->type) {
    case GW_DICT_STRING:
        return value->len > gw_dict_value_max(dict) ? GW_LIMIT : GW_OK;
    case GW_DICT_NUMBER:
    case GW_DICT_BOOLEAN:
        return GW_OK;
    default:
        return GW_INVALID;
    }
}

static double word_number(uint64_t word)
{
    double number;

    memcpy(&number, &word, sizeof number);
    return number;
}

enum gw_rc gw_value_out(uint32_t type, uint64_t word, const void *data, struct gw_dict_value *out)
{
    out->type = type;
    switch (type) {
    case GW_DICT_STRING:
        out->len = (size_t)word;
        if (out->len > out->size)
            return GW_AGAIN;
        if (out->len > 0)
            memcpy(out->data, data, out->len);
        return GW_OK;
    case GW_DICT_NUMBER:
    case GW_DICT_BOOLEAN:
        out->number = word_number(word);
        return GW_OK;
    default:
        return GW_WRONG_TYPE;
    }
}

static uint64_t ttl_left(const struct gw_entry *entry, uint64_t now_ms)
{
    return entry->expires == 0 ? 0 : entry->expires - now_ms;
}

enum gw_rc gw_dict_get(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                       struct gw_dict_value *out)
{
    struct gw_op op;
    enum gw_rc rc = gw_op_begin(&op, dict, key, key_len, now_ms);

    if (rc != GW_OK)
        return rc;

    struct gw_entry *entry = op.entry;

    if (entry == NULL) {
        rc = GW_NOT_FOUND;
    } else {
        rc = gw_value_out(gw_entry_type(entry), entry->value.word, gw_entry_payload(entry), out);
        out->ttl_ms = ttl_left(entry, now_ms);
        gw_op_use(&op, entry);
    }
    gw_op_end(&op);
    return rc;
}

static uint64_t value_word(const struct gw_dict_value *value)
{
    if (value->type == GW_DICT_STRING)
        return value->len;
    if (value->type == GW_DICT_BOOLEAN)
        return gw_double_bits(value->number != 0 ? 1 : 0);
    return gw_double_bits(value->number);
}

/* Does the new value go into the old one's block, without wasting most of it? */
static bool fits_in_place(const struct gw_op *op, const struct gw_entry *entry, size_t len)
{
    uint32_t have = entry->block.size >> 1;
    uint32_t need = gw_heap_units(gw_entry_head_bytes(op->key_len) + len);

    return gw_entry_type(entry) != GW_DICT_LIST && len <= IN_PLACE_MAX && need <= have &&
           have <= 2 * need;
}

/* The new entry stands beside the old one until the commit. */
static enum gw_rc store_anew(struct gw_op *op, const struct gw_dict_value *value, size_t len)
{
    struct gw_entry *entry;

    gw_op_drop_stale(op);
    entry = gw_op_new(op, value->type, len, op->entry);
    if (entry == NULL && op->entry != NULL && !gw_dict_never(op->dict)) {
        gw_op_drop(op, op->entry);
        op->entry = NULL;
        entry = gw_op_new(op, value->type, len, NULL);
    }
    if (entry == NULL)
        return gw_op_full(op);
    GW_SHM_STORE(entry->value.word, value_word(value));
    gw_shm_fill(gw_entry_payload(entry), value->data, len);
    gw_op_link(op, entry, gw_expires_at(op->now_ms, value->ttl_ms));
    if (op->entry != NULL)
        gw_op_remove(op, op->entry);
    gw_txn_commit(&op->txn);
    return GW_OK;
}

static enum gw_rc store(struct gw_op *op, const struct gw_dict_value *value)
{
    struct gw_entry *entry = op->entry;
    size_t len = value->type == GW_DICT_STRING ? value->len : 0;

    if (entry == NULL || !fits_in_place(op, entry, len))
        return store_anew(op, value, len);
    if (gw_entry_type(entry) != value->type)
        gw_txn_put32(&op->txn, &entry->meta, gw_entry_slot(entry) << 8 | value->type);
    gw_txn_put64(&op->txn, &entry->value.word, value_word(value));
    gw_txn_put_bytes(&op->txn, gw_entry_payload(entry), value->data, len);
    gw_op_set_expires(op, entry, gw_expires_at(op->now_ms, value->ttl_ms));
    gw_op_use(op, entry);
    gw_txn_commit(&op->txn);
    return GW_OK;
}

enum gw_rc gw_dict_set(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                       int how, const struct gw_dict_value *value)
{
    struct gw_op op;
    enum gw_rc rc = gw_value_check(dict, value);

    if (rc != GW_OK)
        return rc;
    rc = gw_op_begin(&op, dict, key, key_len, now_ms);
    if (rc != GW_OK)
        return rc;
    if (how == GW_DICT_ADD && op.entry != NULL)
        rc = GW_EXISTS;
    else if (how == GW_DICT_REPLACE && op.entry == NULL)
        rc = GW_NOT_FOUND;
    else if (how != GW_DICT_SET && how != GW_DICT_ADD && how != GW_DICT_REPLACE)
        rc = GW_INVALID;
    else
        rc = store(&op, value);
    if (rc == GW_OK)
        gw_op_expire_some(&op);
    gw_op_end(&op);
    return rc;
}

static enum gw_rc incr_known(struct gw_op *op, struct gw_dict_incr *incr)
{
    struct gw_entry *entry = op->entry;

    if (gw_entry_type(entry) != GW_DICT_NUMBER)
        return GW_WRONG_TYPE;

    double sum = entry->value.number + incr->by;

    if (!isfinite(sum))
        return GW_INVALID;
    gw_txn_put64(&op->txn, &entry->value.word, gw_double_bits(sum));
    gw_op_use(op, entry);
    gw_txn_commit(&op->txn);
    incr->value = sum;
    return GW_OK;
}

enum gw_rc gw_dict_incr(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                        struct gw_dict_incr *incr)
{
    struct gw_op op;
    enum gw_rc rc;

    if (!isfinite(incr->by) || isinf(incr->init) ||
        (!isnan(incr->init) && !isfinite(incr->init + incr->by)))
        return GW_INVALID;
    rc = gw_op_begin(&op, dict, key, key_len, now_ms);
    if (rc != GW_OK)
        return rc;
    if (op.entry != NULL) {
        rc = incr_known(&op, incr);
    } else if (isnan(incr->init)) {
        rc = GW_NOT_FOUND;
    } else {
        struct gw_dict_value first = {
            .type = GW_DICT_NUMBER, .number = incr->init + incr->by, .ttl_ms = incr->init_ttl_ms};

        rc = store(&op, &first);
        if (rc == GW_OK) {
            incr->value = first.number;
            gw_op_expire_some(&op);
        }
    }
    gw_op_end(&op);
    return rc;
}

enum gw_rc gw_dict_delete(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms)
{
    struct gw_op op;
    enum gw_rc rc = gw_op_begin(&op, dict, key, key_len, now_ms);

    if (rc != GW_OK)
        return rc;
    rc = op.entry != NULL ? GW_OK : GW_NOT_FOUND;
    gw_op_drop_stale(&op);
    if (op.entry != NULL)
        gw_op_drop(&op, op.entry);
    gw_op_end(&op);
    return rc;
}

enum gw_rc gw_dict_expire(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                          uint64_t ttl_ms)
{
    struct gw_op op;
    enum gw_rc rc = gw_op_begin(&op, dict, key, key_len, now_ms);

    if (rc != GW_OK)
        return rc;
    if (op.entry == NULL) {
        rc = GW_NOT_FOUND;
    } else {
        gw_op_set_expires(&op, op.entry, gw_expires_at(now_ms, ttl_ms));
        gw_op_use(&op, op.entry);
    }
    gw_op_end(&op);
    return rc;
}

enum gw_rc gw_dict_ttl(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                       uint64_t *ttl_ms)
{
    struct gw_op op;
    enum gw_rc rc = gw_op_begin(&op, dict, key, key_len, now_ms);

    if (rc != GW_OK)
        return rc;
    if (op.entry == NULL)
        rc = GW_NOT_FOUND;
    else
        *ttl_ms = ttl_left(op.entry, now_ms);
    gw_op_end(&op);
    return rc;
}

enum gw_rc gw_dict_touch(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms)
{
    struct gw_op op;
    enum gw_rc rc = gw_op_begin(&op, dict, key, key_len, now_ms);

    if (rc != GW_OK)
        return rc;
    if (op.entry == NULL)
        rc = GW_NOT_FOUND;
    else
        gw_op_use(&op, op.entry);
    gw_op_end(&op);
    return rc;
}

enum gw_rc gw_dict_keys(struct gw_dict *dict, uint64_t now_ms, uint32_t max, struct gw_buf *out,
                        uint32_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < dict->head->shards; i++) {
        struct gw_op op;

        gw_op_begin_shard(&op, dict, i, now_ms);
        for (uint32_t ref = op.shard->lru_head; ref != 0 && (max == 0 || *count < max);) {
            const struct gw_entry *entry = gw_entry_at(&op.txn, ref);

            if (!gw_entry_expired(entry, now_ms)) {
                gw_buf_add(out, &entry->key_len, sizeof entry->key_len);
                gw_buf_add(out, entry->key, entry->key_len);
                (*count)++;
            }
            ref = entry->lru_next;
        }
        gw_op_end(&op);
    }
    return GW_OK;
}

enum gw_rc gw_dict_flush(struct gw_dict *dict)
{
    for (uint32_t i = 0; i < dict->head->shards; i++) {
        struct gw_op op;

        gw_op_begin_shard(&op, dict, i, 0);
        gw_shard_flush(&op);
        gw_op_end(&op);
    }
    return GW_OK;
}

enum gw_rc gw_dict_flush_expired(struct gw_dict *dict, uint64_t now_ms, uint32_t max,
                                 uint32_t *count)
{
    *count = 0;
    for (uint32_t i = 0; i < dict->head->shards; i++) {
        struct gw_op op;

        gw_op_begin_shard(&op, dict, i, now_ms);
        while ((max == 0 || *count < max) && gw_op_expire_one(&op))
            (*count)++;
        gw_op_end(&op);
    }
    return GW_OK;
}

void gw_dict_stats(struct gw_dict *dict, struct gw_dict_stats *out)
{
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < dict->head->shards; i++) {
        struct gw_op op;

        gw_op_begin_shard(&op, dict, i, 0);
        gw_op_collect(&op, UINT32_MAX); /* what was deleted does not count as used */
        out->bytes += op.shard->heap.bytes;
        out->bytes_used += op.shard->heap.used;
        out->entries += op.shard->entries;
        out->evicted += op.shard->evicted;
        out->expired += op.shard->expired;
        out->full += op.shard->full;
        out->inherited += op.shard->inherited;
        out->reset += op.shard->reset;
        gw_op_end(&op);
    }
    out->bytes_free = out->bytes - out->bytes_used;
    out->value_max = gw_dict_value_max(dict);
    out->shards = dict->head->shards;
    out->evict_never = gw_dict_never(dict);
}

size_t gw_dict_value_max(const struct gw_dict *dict)
{
    return (size_t)atomic_load_explicit(&dict->head->value_max, memory_order_relaxed);
}

struct gw_str gw_dict_name(const struct gw_dict *dict)
{
    return gw_str_c(gw_zone_header(&dict->zone)->name);
}

enum gw_rc gw_dict_verify(struct gw_dict *dict, struct gw_err *err)
{
    for (uint32_t i = 0; i < dict->head->shards; i++) {
        struct gw_op op;
        enum gw_rc rc;

        gw_op_begin_shard(&op, dict, i, 0);
        rc = gw_shard_verify(&op, err);
        gw_op_end(&op);
        if (rc != GW_OK) {
            gw_err_prefix(err, "%s: shard %u: ", gw_zone_header(&dict->zone)->name, i);
            return rc;
        }
    }
    return GW_OK;
}

struct gw_zone *gw_dict_zone(struct gw_dict *dict)
{
    return &dict->zone;
}

struct gw_lock *gw_dict_lock_at(struct gw_dict *dict, uint32_t shard)
{
    return shard < dict->head->shards ? &dict->shards[shard].lock : NULL;
}

void gw_dict_set_evict_never(struct gw_dict *dict, bool evict_never)
{
    atomic_store(&dict->head->evict_never, evict_never);
}
