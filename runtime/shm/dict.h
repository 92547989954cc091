/* A dictionary in shared memory: what plugins see as gw.shared.NAME.
 * Lives in: a zone of its own, split in shards; each shard has its lock, hash table, heap,
 * order of use and clock of expiry. Owner of the handle: struct gw_shared_set.
 * Limits: keys of GW_DICT_KEY_MAX bytes; a value must fit into one shard
 * (gw_dict_value_max); all bytes come out of the zone, none from elsewhere.
 * Full: expired entries go first, then the least recently used one, unless the dictionary
 * was made with `evict_never`: then what does not fit is GW_FULL and nothing changes.
 * Death: every call is all or nothing, also when its process is killed inside it (flush:
 * shard by shard; set of a value so large that old and new do not fit side by side: the old
 * one is dropped first, unless evict_never).
 * Time: `now_ms` is an argument everywhere, real time (since 1970), the same in all
 * workers; `ttl_ms` 0 means for ever. An entry is gone at now_ms >= its moment of expiry.
 * Arguments are plain, for calls by FFI; none calls back or waits longer than the lock. */
#ifndef GW_SHM_DICT_H
#define GW_SHM_DICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rc.h"
#include "base/str.h"
#include "shm/zone.h"

#define GW_DICT_KEY_MAX 4096
#define GW_DICT_BYTES_MIN (64u << 10)
#define GW_DICT_HIT_LIMIT_MAX (1u << 24)   /* entries of one sliding window */
#define GW_DICT_HIT_WINDOW_MAX 0x7fffffffu /* ms, 24 days: moments are kept in 32 bits */

enum gw_dict_type {
    GW_DICT_NIL,
    GW_DICT_STRING,
    GW_DICT_NUMBER,
    GW_DICT_BOOLEAN, /* in `number`: 0 or 1 */
    GW_DICT_LIST,
    GW_DICT_BUCKET, /* made by take */
    GW_DICT_WINDOW, /* made by hit */
};

struct gw_dict;

/* In: type and number, or data and len (lent). Out: `data` is the caller's memory of
 * `size` bytes. */
struct gw_dict_value {
    uint32_t type; /* enum gw_dict_type */
    uint32_t reserved;
    double number;
    char *data;
    size_t len;
    size_t size;
    uint64_t ttl_ms; /* in: 0 for ever; out: what is left of it, 0 for ever */
};

enum gw_dict_how { GW_DICT_SET, GW_DICT_ADD, GW_DICT_REPLACE };

/* GW_NOT_FOUND; GW_WRONG_TYPE for lists, buckets and windows. GW_AGAIN: the string does not fit
 * in `out->size`; out->len says what it takes (out->type is set). */
GW_MUST_CHECK enum gw_rc gw_dict_get(struct gw_dict *dict, const char *key, size_t key_len,
                                     uint64_t now_ms, struct gw_dict_value *out);

/* `how`: enum gw_dict_how. ADD of what is there: GW_EXISTS; REPLACE of what is not:
 * GW_NOT_FOUND. GW_FULL; GW_LIMIT: key or value too long; GW_INVALID: empty key, type. */
GW_MUST_CHECK enum gw_rc gw_dict_set(struct gw_dict *dict, const char *key, size_t key_len,
                                     uint64_t now_ms, int how, const struct gw_dict_value *value);

/* Adds `by` to a number. A key that is not there: GW_NOT_FOUND, or with an `init` that is
 * not NaN it begins at `init` and lives for `init_ttl_ms`. Both must be finite. */
struct gw_dict_incr {
    double by;
    double init;
    uint64_t init_ttl_ms;
    double value; /* out */
};
GW_MUST_CHECK enum gw_rc gw_dict_incr(struct gw_dict *dict, const char *key, size_t key_len,
                                      uint64_t now_ms, struct gw_dict_incr *incr);

/* Any type. GW_NOT_FOUND. */
GW_MUST_CHECK enum gw_rc gw_dict_delete(struct gw_dict *dict, const char *key, size_t key_len,
                                        uint64_t now_ms);
/* A new time to live, from now. */
GW_MUST_CHECK enum gw_rc gw_dict_expire(struct gw_dict *dict, const char *key, size_t key_len,
                                        uint64_t now_ms, uint64_t ttl_ms);
/* *ttl_ms: what is left, 0 for ever. Does not count as use. */
GW_MUST_CHECK enum gw_rc gw_dict_ttl(struct gw_dict *dict, const char *key, size_t key_len,
                                     uint64_t now_ms, uint64_t *ttl_ms);
/* Counts as use, changes nothing else. */
GW_MUST_CHECK enum gw_rc gw_dict_touch(struct gw_dict *dict, const char *key, size_t key_len,
                                       uint64_t now_ms);

/* Lists of strings, numbers and booleans. A push makes the list (value->ttl_ms is its life);
 * an emptied list is gone. *count: elements afterwards. */
GW_MUST_CHECK enum gw_rc gw_dict_lpush(struct gw_dict *dict, const char *key, size_t key_len,
                                       uint64_t now_ms, const struct gw_dict_value *value,
                                       uint32_t *count);
GW_MUST_CHECK enum gw_rc gw_dict_rpush(struct gw_dict *dict, const char *key, size_t key_len,
                                       uint64_t now_ms, const struct gw_dict_value *value,
                                       uint32_t *count);
/* As gw_dict_get; GW_AGAIN takes nothing out. */
GW_MUST_CHECK enum gw_rc gw_dict_lpop(struct gw_dict *dict, const char *key, size_t key_len,
                                      uint64_t now_ms, struct gw_dict_value *out);
GW_MUST_CHECK enum gw_rc gw_dict_rpop(struct gw_dict *dict, const char *key, size_t key_len,
                                      uint64_t now_ms, struct gw_dict_value *out);
/* A list that is not there has 0. */
GW_MUST_CHECK enum gw_rc gw_dict_llen(struct gw_dict *dict, const char *key, size_t key_len,
                                      uint64_t now_ms, uint32_t *count);

/* A token bucket: `burst` tokens at first, `rate` a second come back. Takes `cost` when
 * there are so many, else takes nothing. A full bucket takes no memory for long. */
struct gw_dict_take {
    double rate; /* in */
    double burst;
    double cost;
    double remaining;     /* out: tokens afterwards */
    double retry_after_s; /* out: 0 when allowed, else when `cost` will be there; INFINITY: never */
    int32_t allowed;      /* out */
    int32_t reserved;
};
GW_MUST_CHECK enum gw_rc gw_dict_take(struct gw_dict *dict, const char *key, size_t key_len,
                                      uint64_t now_ms, struct gw_dict_take *take);

/* A sliding window, exact: at most `limit` hits in any `window_ms`. A hit at moment t counts
 * until t + window_ms, exclusively. What is not allowed is not counted. */
struct gw_dict_hit {
    uint32_t limit; /* in */
    uint32_t window_ms;
    uint32_t count;    /* out: in the window, this one included when allowed */
    uint32_t reset_ms; /* out: until the oldest leaves; 0: the window is empty */
    int32_t allowed;   /* out */
    int32_t reserved;
};
GW_MUST_CHECK enum gw_rc gw_dict_hit(struct gw_dict *dict, const char *key, size_t key_len,
                                     uint64_t now_ms, struct gw_dict_hit *hit);

/* Appends up to `max` (0: all) living keys, each as uint32_t length and bytes, the most
 * recently used of each shard first. Holds one shard's lock at a time. */
GW_MUST_CHECK enum gw_rc gw_dict_keys(struct gw_dict *dict, uint64_t now_ms, uint32_t max,
                                      struct gw_buf *out, uint32_t *count);

GW_MUST_CHECK enum gw_rc gw_dict_flush(struct gw_dict *dict);
/* Removes up to `max` (0: all) expired entries now; *count says how many. */
GW_MUST_CHECK enum gw_rc gw_dict_flush_expired(struct gw_dict *dict, uint64_t now_ms, uint32_t max,
                                               uint32_t *count);

struct gw_dict_stats {
    uint64_t bytes;      /* the zone's memory for blocks */
    uint64_t bytes_used; /* in blocks that are in use, tables included */
    uint64_t bytes_free; /* bytes - bytes_used, exactly */
    uint64_t entries;
    uint64_t evicted;   /* living entries that had to go */
    uint64_t expired;   /* removed after their time */
    uint64_t full;      /* calls that ended with GW_FULL */
    uint64_t inherited; /* locks taken over from dead processes */
    uint64_t reset;     /* shards that failed their check and were emptied */
    uint64_t value_max;
    uint32_t shards;
    uint32_t evict_never;
};
void gw_dict_stats(struct gw_dict *dict, struct gw_dict_stats *out);

size_t gw_dict_value_max(const struct gw_dict *dict);
struct gw_str gw_dict_name(const struct gw_dict *dict);

/* Checks every invariant of every shard, byte accounts included. GW_INVALID: err says which. */
GW_MUST_CHECK enum gw_rc gw_dict_verify(struct gw_dict *dict, struct gw_err *err);

/* For struct gw_shared_set, and for tests. `size`: of the zone, GW_DICT_BYTES_MIN or more. */
GW_MUST_CHECK enum gw_rc gw_dict_create(struct gw_str name, uint64_t size, bool evict_never,
                                        struct gw_dict **out, struct gw_err *err);
GW_MUST_CHECK enum gw_rc gw_dict_open(int fd, struct gw_dict **out,
                                      struct gw_err *err); /* takes fd */
void gw_dict_close(struct gw_dict *dict);
GW_MUST_CHECK enum gw_rc gw_dict_grow(struct gw_dict *dict, uint64_t size, struct gw_err *err);
void gw_dict_set_evict_never(struct gw_dict *dict, bool evict_never);
struct gw_zone *gw_dict_zone(struct gw_dict *dict);
struct gw_lock *gw_dict_lock_at(struct gw_dict *dict, uint32_t shard); /* NULL: no such shard */

#endif
