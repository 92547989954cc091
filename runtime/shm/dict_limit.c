/* Rate limits: the token bucket and the sliding window, each one step under the lock. */
#include "shm/dict_shard.h"

#include <assert.h>
#include <math.h>

#define WINDOW_SIZE_FIRST 8
/* Refilling in steps adds up fractions (ten times 0.1 is a little less than 1): what is short
 * by less than this is not short. */
#define TOKEN_SLACK 1e-9
#define LIFE_MS_MAX 1e15
/* Dropping a full bucket and making it anew costs ten times as much as changing it: one that is
 * in use stays. */
#define LIFE_MS_MIN 10000

/* When the bucket is full again it says the same as no bucket, so it goes some time after. */
static uint64_t bucket_expires(const struct gw_dict_take *take, double tokens, uint64_t now_ms)
{
    double ms = ceil((take->burst - tokens) / take->rate * 1000);

    if (!(ms < LIFE_MS_MAX)) /* also rate 0: never full */
        return 0;
    if (ms < LIFE_MS_MIN)
        ms = LIFE_MS_MIN;
    /* A moment that stays the same for a second is written once. */
    return (now_ms + (uint64_t)ms + 1000) / 1000 * 1000;
}

static double bucket_tokens(const struct gw_entry *entry, const struct gw_bucket_value *bucket,
                            const struct gw_dict_take *take, uint64_t now_ms)
{
    /* Clocks of workers differ by a turn of their loops: time that goes back stands still. */
    uint64_t passed_ms = now_ms > bucket->last_ms ? now_ms - bucket->last_ms : 0;
    double tokens = entry->value.number + (double)passed_ms * take->rate / 1000;

    return tokens < take->burst ? tokens : take->burst;
}

static enum gw_rc bucket_new(struct gw_op *op, const struct gw_dict_take *take, double tokens)
{
    struct gw_bucket_value first = {.last_ms = op->now_ms};
    struct gw_entry *entry;

    gw_op_drop_stale(op);
    entry = gw_op_new(op, GW_DICT_BUCKET, sizeof first, NULL);
    if (entry == NULL)
        return gw_op_full(op);
    GW_SHM_STORE(entry->value.word, gw_double_bits(tokens));
    gw_shm_fill(gw_entry_payload(entry), &first, sizeof first);
    gw_op_link(op, entry, bucket_expires(take, tokens, op->now_ms));
    gw_txn_commit(&op->txn);
    gw_op_expire_some(op);
    return GW_OK;
}

static enum gw_rc take_tokens(struct gw_op *op, struct gw_dict_take *take)
{
    struct gw_entry *entry = op->entry;
    struct gw_bucket_value *bucket = NULL;
    double tokens = take->burst;

    if (entry != NULL) {
        if (gw_entry_type(entry) != GW_DICT_BUCKET)
            return GW_WRONG_TYPE;
        bucket = gw_entry_payload(entry);
        tokens = bucket_tokens(entry, bucket, take, op->now_ms);
        gw_op_use(op, entry);
    }
    take->allowed = tokens + TOKEN_SLACK >= take->cost;
    take->remaining = tokens;
    take->retry_after_s = 0;
    if (!take->allowed) {
        take->retry_after_s =
            take->cost > take->burst ? INFINITY : (take->cost - tokens) / take->rate;
        return GW_OK;
    }
    if (take->cost == 0)
        return GW_OK;
    take->remaining = tokens > take->cost ? tokens - take->cost : 0;
    if (entry == NULL)
        return bucket_new(op, take, take->remaining);
    gw_txn_put64(&op->txn, &entry->value.word, gw_double_bits(take->remaining));
    if (op->now_ms > bucket->last_ms)
        gw_txn_put64(&op->txn, &bucket->last_ms, op->now_ms);
    gw_op_set_expires(op, entry, bucket_expires(take, take->remaining, bucket->last_ms));
    return GW_OK;
}

enum gw_rc gw_dict_take(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                        struct gw_dict_take *take)
{
    struct gw_op op;
    enum gw_rc rc;

    take->allowed = 0;
    if (!isfinite(take->rate) || !isfinite(take->burst) || !isfinite(take->cost) ||
        take->rate < 0 || take->burst <= 0 || take->cost < 0)
        return GW_INVALID;
    rc = gw_op_begin(&op, dict, key, key_len, now_ms);
    if (rc != GW_OK)
        return rc;
    rc = take_tokens(&op, take);
    if (rc != GW_OK)
        take->allowed = 0;
    gw_op_end(&op);
    return rc;
}

/* A sliding window as it stands at a moment. */
struct window {
    struct gw_window_value *ring; /* NULL: none yet */
    uint32_t first;
    uint32_t count;
    uint32_t now; /* low 32 bits; not before the newest */
};

static uint32_t moment(const struct window *window, uint32_t index)
{
    assert(window->ring != NULL); /* asked only for one that has moments */
    return window->ring->moments[(window->first + index) % window->ring->size];
}

/* How many of the oldest have left: the moments rise, so halving finds the border. */
static uint32_t window_left(const struct window *window, uint32_t window_ms)
{
    uint32_t low = 0, high = window->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if ((int32_t)(window->now - moment(window, middle)) >= (int32_t)window_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void window_load(struct window *window, struct gw_entry *entry, uint64_t now_ms,
                        uint32_t window_ms)
{
    *window = (struct window){.now = (uint32_t)now_ms};
    if (entry == NULL)
        return;
    window->ring = gw_entry_payload(entry);
    window->first = (uint32_t)entry->value.word;
    window->count = (uint32_t)(entry->value.word >> 32);
    if (window->count > 0) {
        /* Another worker's clock may be a turn of its loop ahead: the moments must not fall. */
        uint32_t newest = moment(window, window->count - 1);

        if ((int32_t)(window->now - newest) < 0)
            window->now = newest;
    }

    uint32_t left = window_left(window, window_ms);

    window->first = (window->first + left) % window->ring->size;
    window->count -= left;
}

static uint64_t window_word(uint32_t first, uint32_t count)
{
    return (uint64_t)count << 32 | first;
}

/* A new ring of twice the size, the old one's moments and this one in it. */
static enum gw_rc window_grow(struct gw_op *op, const struct window *window, uint32_t limit,
                              uint64_t expires)
{
    uint64_t size = window->ring != NULL ? (uint64_t)window->ring->size * 2 : WINDOW_SIZE_FIRST;
    struct gw_entry *entry;

    if (size > limit)
        size = limit;
    gw_op_drop_stale(op);
    entry = gw_op_new(op, GW_DICT_WINDOW, sizeof(struct gw_window_value) + size * sizeof(uint32_t),
                      op->entry);
    if (entry == NULL)
        return gw_op_full(op);

    struct gw_window_value *ring = gw_entry_payload(entry);

    GW_SHM_STORE(ring->size, (uint32_t)size);
    for (uint32_t i = 0; i < window->count; i++)
        ring->moments[i] = moment(window, i);
    GW_SHM_STORE(ring->moments[window->count], window->now);
    GW_SHM_STORE(entry->value.word, window_word(0, window->count + 1));
    gw_op_link(op, entry, expires);
    if (op->entry != NULL)
        gw_op_remove(op, op->entry);
    gw_txn_commit(&op->txn);
    return GW_OK;
}

static enum gw_rc window_add(struct gw_op *op, const struct window *window,
                             const struct gw_dict_hit *hit)
{
    uint32_t ahead = window->now - (uint32_t)op->now_ms;
    uint64_t expires = gw_expires_at(op->now_ms, (uint64_t)ahead + hit->window_ms);
    struct gw_entry *entry = op->entry;

    if (window->ring == NULL || window->count == window->ring->size) {
        enum gw_rc rc = window_grow(op, window, hit->limit, expires);

        if (rc == GW_OK)
            gw_op_expire_some(op);
        return rc;
    }
    gw_txn_put32(&op->txn,
                 &window->ring->moments[(window->first + window->count) % window->ring->size],
                 window->now);
    gw_txn_put64(&op->txn, &entry->value.word, window_word(window->first, window->count + 1));
    gw_op_set_expires(op, entry, expires);
    gw_txn_commit(&op->txn);
    return GW_OK;
}

static enum gw_rc hit_window(struct gw_op *op, struct gw_dict_hit *hit)
{
    struct window window;
    uint32_t oldest;

    if (op->entry != NULL) {
        if (gw_entry_type(op->entry) != GW_DICT_WINDOW)
            return GW_WRONG_TYPE;
        gw_op_use(op, op->entry);
    }
    window_load(&window, op->entry, op->now_ms, hit->window_ms);
    hit->allowed = window.count < hit->limit;
    hit->count = window.count + (hit->allowed ? 1 : 0);
    oldest = window.count > 0 ? moment(&window, 0) : window.now;
    /* From the caller's own clock, also when that is a little behind. */
    hit->reset_ms = hit->count > 0 ? hit->window_ms + (oldest - (uint32_t)op->now_ms) : 0;
    return hit->allowed ? window_add(op, &window, hit) : GW_OK;
}

enum gw_rc gw_dict_hit(struct gw_dict *dict, const char *key, size_t key_len, uint64_t now_ms,
                       struct gw_dict_hit *hit)
{
    struct gw_op op;
    enum gw_rc rc;

    hit->allowed = 0;
    if (hit->window_ms == 0 || hit->window_ms > GW_DICT_HIT_WINDOW_MAX ||
        hit->limit > GW_DICT_HIT_LIMIT_MAX)
        return GW_INVALID;
    rc = gw_op_begin(&op, dict, key, key_len, now_ms);
    if (rc != GW_OK)
        return rc;
    rc = hit_window(&op, hit);
    if (rc != GW_OK)
        hit->allowed = 0;
    gw_op_end(&op);
    return rc;
}
