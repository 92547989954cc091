/* Inside of the dictionary: entries, shards, and one operation on a shard. Only dict*.c
 * include this.
 * A shard is a hash table (chains), a list in order of use, a wheel of moments of expiry,
 * and a heap. Every change to them is part of a transaction (shm/txn.h) that ends before the lock
 * is given back. What is too long for one transaction is a row of them, with a note in `todo` or
 * `garbage` from which an heir goes on. */
#ifndef GW_SHM_DICT_SHARD_H
#define GW_SHM_DICT_SHARD_H

#include "shm/dict.h"
#include "shm/heap.h"
#include "shm/lock.h"
#include "shm/txn.h"

#define GW_DICT_SEGMENTS_MAX 16
#define GW_DICT_SHARDS_MAX 32
#define GW_WHEEL_LEVELS 4
#define GW_WHEEL_SLOTS 64
#define GW_WHEEL_NONE (GW_WHEEL_LEVELS * GW_WHEEL_SLOTS)

/* One block of the heap. A value's bytes stand behind the key, aligned to 8. */
struct gw_entry {
    struct gw_block_head {
        uint32_t size, prev;
    } block;
    uint32_t chain; /* next in the bucket, or in the garbage */
    uint32_t tag;   /* high half of the hash */
    uint32_t lru_prev;
    uint32_t lru_next;
    uint32_t exp_prev;
    uint32_t exp_next;
    uint64_t expires; /* real ms; 0 never */
    uint32_t key_len;
    uint32_t meta; /* slot in the wheel << 8 | type */
    union {
        double number; /* number, boolean, tokens of a bucket */
        uint64_t word; /* string: length; window: first | count << 32 */
    } value;
    char key[];
} __attribute__((may_alias));

struct gw_list_value { /* behind the key of a list */
    uint32_t head;
    uint32_t tail;
    uint32_t count;
    uint32_t reserved;
} __attribute__((may_alias));

struct gw_list_node {
    struct gw_block_head block;
    uint32_t next;
    uint32_t prev;
    uint32_t type;
    uint32_t len;
    char data[]; /* aligned to 8; numbers and booleans: a double */
} __attribute__((may_alias));

struct gw_bucket_value { /* behind the key of a token bucket */
    uint64_t last_ms;
} __attribute__((may_alias));

struct gw_window_value { /* behind the key of a sliding window: a ring, oldest first */
    uint32_t size;
    uint32_t reserved;
    uint32_t moments[]; /* low 32 bits of real ms */
} __attribute__((may_alias));

enum gw_shard_todo { GW_TODO_RESET = 1, GW_TODO_REHASH = 2, GW_TODO_FLUSH = 4 };

struct gw_shard {
    struct gw_lock lock;
    uint32_t table; /* block of uint32_t */
    uint32_t mask;
    uint32_t lru_head;
    uint32_t lru_tail;
    uint32_t entries;
    uint32_t timed;   /* entries in the wheel */
    uint32_t garbage; /* unlinked lists whose nodes wait to be given back */
    uint32_t todo;    /* enum gw_shard_todo */
    uint32_t next_table;
    uint32_t next_mask;
    uint64_t cursor; /* the wheel has turned up to this tick */
    uint32_t segments;
    uint32_t reserved;
    struct gw_undo undo;
    struct gw_heap heap;
    uint32_t wheel[GW_WHEEL_NONE];
    uint64_t evicted;
    uint64_t expired;
    uint64_t full;
    uint64_t inherited;
    uint64_t reset;
} __attribute__((aligned(128)));

struct gw_dict_segment {
    uint64_t at;  /* of the first shard's part */
    uint64_t len; /* of each part */
};

/* Behind the zone's header; then the shards. */
struct gw_dict_head {
    uint32_t shards;
    _Atomic uint32_t evict_never;
    _Atomic uint32_t segments; /* shards follow one after the other */
    uint32_t reserved;
    _Atomic uint64_t value_max;
    struct gw_dict_segment segment[GW_DICT_SEGMENTS_MAX];
} __attribute__((aligned(128)));

struct gw_dict {
    struct gw_zone zone;
    struct gw_dict_head *head;
    struct gw_shard *shards;
    uint64_t seed;
    uint32_t shard_mask;
};

/* A shard, locked by us, and the key that the call is about. */
struct gw_op {
    struct gw_dict *dict;
    struct gw_shard *shard;
    struct gw_txn txn;
    struct gw_entry *entry; /* living; NULL: none */
    struct gw_entry *stale; /* expired, still there */
    const char *key;
    size_t key_len;
    uint64_t now_ms;
    uint32_t tag;
    uint32_t hash;
};

static inline uint32_t gw_entry_type(const struct gw_entry *entry)
{
    return entry->meta & 0xff;
}

static inline uint32_t gw_entry_slot(const struct gw_entry *entry)
{
    return entry->meta >> 8;
}

static inline uint64_t gw_entry_head_bytes(size_t key_len)
{
    return sizeof(struct gw_entry) + ((key_len + 7) & ~(size_t)7);
}

static inline void *gw_entry_payload(struct gw_entry *entry)
{
    return (char *)entry + gw_entry_head_bytes(entry->key_len);
}

static inline bool gw_entry_expired(const struct gw_entry *entry, uint64_t now_ms)
{
    return entry->expires != 0 && entry->expires <= now_ms;
}

static inline struct gw_entry *gw_entry_at(const struct gw_txn *txn, uint32_t ref)
{
    return (struct gw_entry *)(txn->base + (uint64_t)ref * GW_HEAP_UNIT);
}

static inline uint32_t gw_ref_of(const struct gw_txn *txn, const void *block)
{
    return (uint32_t)((uint64_t)((const char *)block - txn->base) / GW_HEAP_UNIT);
}

static inline uint32_t *gw_table_at(const struct gw_txn *txn, uint32_t table)
{
    return (uint32_t *)(txn->base + (uint64_t)table * GW_HEAP_UNIT + GW_HEAP_HEADER);
}

static inline uint64_t gw_expires_at(uint64_t now_ms, uint64_t ttl_ms)
{
    if (ttl_ms == 0)
        return 0;
    return ttl_ms > UINT64_MAX - now_ms ? UINT64_MAX : now_ms + ttl_ms;
}

static inline uint64_t gw_double_bits(double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static inline bool gw_dict_never(const struct gw_dict *dict)
{
    return atomic_load_explicit(&dict->head->evict_never, memory_order_relaxed) != 0;
}

/* Locks the key's shard, takes over what a dead process left, looks the key up. GW_INVALID
 * and GW_LIMIT: a wrong key; then nothing is locked. */
GW_MUST_CHECK enum gw_rc gw_op_begin(struct gw_op *op, struct gw_dict *dict, const char *key,
                                     size_t key_len, uint64_t now_ms);
/* Commits what is open, gives the lock back. */
void gw_op_end(struct gw_op *op);
/* For work on a whole shard: no key. */
void gw_op_begin_shard(struct gw_op *op, struct gw_dict *dict, uint32_t shard, uint64_t now_ms);

/* The entry becomes the most recently used one. */
void gw_op_use(struct gw_op *op, struct gw_entry *entry);
/* A new block with the key in it, linked nowhere, with room for `payload` bytes. Makes room
 * as the dictionary allows, in transactions of its own, but never takes `keep`. NULL: full,
 * nothing is open. */
struct gw_entry *gw_op_new(struct gw_op *op, uint32_t type, uint64_t payload,
                           const struct gw_entry *keep);
void gw_op_link(struct gw_op *op, struct gw_entry *entry, uint64_t expires);
/* Out of all lists; its block is given back, so nothing may be taken after it in the same
 * transaction. A list's nodes go to the garbage. */
void gw_op_remove(struct gw_op *op, struct gw_entry *entry);
/* The same, as a whole transaction. */
void gw_op_drop(struct gw_op *op, struct gw_entry *entry);
/* Takes the place of the expired entry of this key. */
void gw_op_drop_stale(struct gw_op *op);
/* Makes some room: true, try again; false: there is none. Nothing may be open. */
bool gw_op_room(struct gw_op *op, const struct gw_entry *keep);
/* Counts, and returns GW_FULL. */
enum gw_rc gw_op_full(struct gw_op *op);
/* Gives up to `max` blocks of garbage back. */
void gw_op_collect(struct gw_op *op, uint32_t max);

/* Wheel, dict_expiry.c. */
void gw_wheel_insert(struct gw_op *op, struct gw_entry *entry, uint64_t expires);
void gw_wheel_remove(struct gw_op *op, struct gw_entry *entry);
void gw_op_set_expires(struct gw_op *op, struct gw_entry *entry, uint64_t expires);
/* Removes one expired entry; false: there is none. Nothing may be open. */
bool gw_op_expire_one(struct gw_op *op);
/* A few, when time has passed: keeps dead entries from piling up. */
void gw_op_expire_some(struct gw_op *op);

/* Values, dict.c. */
GW_MUST_CHECK enum gw_rc gw_value_check(const struct gw_dict *dict,
                                        const struct gw_dict_value *value);
GW_MUST_CHECK enum gw_rc gw_value_out(uint32_t type, uint64_t word, const void *data,
                                      struct gw_dict_value *out);

/* Shards as a whole, dict_shard.c. */
struct gw_heap_segment gw_shard_segment(const struct gw_dict *dict, const struct gw_shard *shard,
                                        uint32_t index);
void gw_shard_reset(struct gw_op *op); /* empty, as new */
/* Takes the segments in that the head lists and the shard does not have yet. */
void gw_shard_extend(struct gw_op *op);
void gw_shard_flush(struct gw_op *op);
GW_MUST_CHECK enum gw_rc gw_shard_verify(struct gw_op *op, struct gw_err *err); /* dict_verify.c */

#endif
