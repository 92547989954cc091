/* The table is 64 parts, each under its lock, of sets of 64 places. A client may stand at any
 * place of its set; a place whose counts are all 0 is free. Every change is one store (the
 * key of a free place, or one count), so there is nothing that an heir must undo. */
#include "shm/clients.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "shm/lock.h"
#include "shm/txn.h"
#include "shm/zone.h"

#define PARTS 64
#define SETS (GW_CLIENTS_MAX / GW_CLIENTS_WAYS)
#define LINE 128

struct part {
    struct gw_lock lock;
} __attribute__((aligned(LINE)));

struct total {
    _Atomic uint32_t count;
} __attribute__((aligned(LINE)));

struct gw_client_table {
    const struct gw_zone *zone;
    struct part *parts;
    struct total *totals;     /* one for each worker */
    uint64_t *keys;           /* GW_CLIENTS_MAX */
    _Atomic uint32_t *counts; /* `workers` for each key */
    uint64_t seed;
    uint32_t workers;
    uint32_t worker;
};

uint64_t gw_client_table_bytes(uint32_t workers)
{
    return PARTS * sizeof(struct part) + workers * sizeof(struct total) +
           GW_CLIENTS_MAX * sizeof(uint64_t) +
           (uint64_t)GW_CLIENTS_MAX * workers * sizeof(uint32_t);
}

struct gw_client_table *gw_client_table_new(const struct gw_zone *zone, void *memory,
                                            uint32_t workers)
{
    struct gw_client_table *table = calloc(1, sizeof *table);
    char *at = memory;

    if (table == NULL)
        abort();
    table->zone = zone;
    table->seed = gw_zone_header(zone)->seed;
    table->workers = workers;
    table->parts = (struct part *)at;
    at += PARTS * sizeof(struct part);
    table->totals = (struct total *)at;
    at += workers * sizeof(struct total);
    table->keys = (uint64_t *)at;
    at += GW_CLIENTS_MAX * sizeof(uint64_t);
    table->counts = (_Atomic uint32_t *)at;
    return table;
}

void gw_client_table_free(struct gw_client_table *table)
{
    free(table);
}

void gw_client_table_set_worker(struct gw_client_table *table, uint32_t worker)
{
    assert(worker < table->workers);
    table->worker = worker;
}

struct gw_lock *gw_client_table_lock_at(struct gw_client_table *table, uint32_t index)
{
    return index < PARTS ? &table->parts[index].lock : NULL;
}

/* Eight bytes say it all: an IPv6 client is its /64; IPv4 clients, which are all in one /64,
 * are told apart in the half that no routed /64 uses (0000:0001::/32). Never 0. */
static uint64_t key_of(const uint8_t addr[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint64_t key = 0;
    int from = 0, to = 8;

    if (memcmp(addr, mapped, sizeof mapped) == 0) {
        key = 1;
        from = 12;
        to = 16;
    }
    for (int i = from; i < to; i++)
        key = key << 8 | addr[i];
    return key == 0 ? 2
                    : key; /* ::/64, the machine itself: 0000:0000:0000:0002 is not routed either */
}

static _Atomic uint32_t *counts_of(struct gw_client_table *table, uint32_t place)
{
    return &table->counts[(uint64_t)place * table->workers];
}

static uint64_t sum(struct gw_client_table *table, uint32_t place)
{
    const _Atomic uint32_t *counts = counts_of(table, place);
    uint64_t all = 0;

    for (uint32_t i = 0; i < table->workers; i++)
        all += atomic_load_explicit(&counts[i], memory_order_relaxed);
    return all;
}

/* The set of a key, its part locked. */
static uint32_t lock_set(struct gw_client_table *table, uint64_t key)
{
    uint32_t set = (uint32_t)(gw_hash(&key, sizeof key, table->seed) % SETS);

    /* Inherited or not: a dead owner left nothing half done. */
    (void)!gw_lock_acquire(&table->parts[set % PARTS].lock, table->zone);
    return set;
}

static void unlock_set(struct gw_client_table *table, uint32_t set)
{
    gw_lock_release(&table->parts[set % PARTS].lock);
}

static bool find(struct gw_client_table *table, uint32_t set, uint64_t key, uint32_t *place)
{
    for (uint32_t way = 0; way < GW_CLIENTS_WAYS; way++) {
        *place = set * GW_CLIENTS_WAYS + way;
        if (table->keys[*place] == key)
            return true;
    }
    return false;
}

static bool find_or_claim(struct gw_client_table *table, uint32_t set, uint64_t key,
                          uint32_t *place)
{
    if (find(table, set, key, place))
        return true;
    for (uint32_t way = 0; way < GW_CLIENTS_WAYS; way++) {
        *place = set * GW_CLIENTS_WAYS + way;
        if (sum(table, *place) == 0) {
            GW_SHM_STORE(table->keys[*place], key);
            return true;
        }
    }
    return false;
}

enum gw_rc gw_client_table_inc(struct gw_client_table *table, const uint8_t addr[16], uint32_t max)
{
    uint64_t key = key_of(addr);
    uint32_t set = lock_set(table, key), place;
    enum gw_rc rc = GW_OK;

    if (!find_or_claim(table, set, key, &place)) {
        rc = GW_FULL;
    } else if (max != 0 && sum(table, place) >= max) {
        rc = GW_LIMIT;
    } else {
        _Atomic uint32_t *count = &counts_of(table, place)[table->worker];

        GW_SHM_POINT();
        atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                              memory_order_relaxed);
    }
    unlock_set(table, set);
    return rc;
}

void gw_client_table_dec(struct gw_client_table *table, const uint8_t addr[16])
{
    uint64_t key = key_of(addr);
    uint32_t set = lock_set(table, key), place;
    bool found = find(table, set, key, &place);

    assert(found);
    if (found) {
        _Atomic uint32_t *count = &counts_of(table, place)[table->worker];
        uint32_t now = atomic_load_explicit(count, memory_order_relaxed);

        assert(now > 0);
        GW_SHM_POINT();
        atomic_store_explicit(count, now - 1, memory_order_relaxed);
    }
    unlock_set(table, set);
}

uint32_t gw_client_table_count(struct gw_client_table *table, const uint8_t addr[16])
{
    uint64_t key = key_of(addr);
    uint32_t set = lock_set(table, key), place;
    uint64_t count = find(table, set, key, &place) ? sum(table, place) : 0;

    unlock_set(table, set);
    return (uint32_t)count;
}

uint32_t gw_client_table_total(struct gw_client_table *table)
{
    uint64_t all = 0;

    for (uint32_t i = 0; i < table->workers; i++)
        all += atomic_load(&table->totals[i].count);
    return (uint32_t)all;
}

/* Counted first, looked at then: two that come at once see each other, so `max` is never
 * passed, though at the border both may be refused. */
enum gw_rc gw_client_table_total_inc(struct gw_client_table *table, uint32_t max)
{
    _Atomic uint32_t *own = &table->totals[table->worker].count;

    atomic_fetch_add(own, 1);
    if (max != 0 && gw_client_table_total(table) > max) {
        atomic_fetch_sub(own, 1);
        return GW_LIMIT;
    }
    return GW_OK;
}

void gw_client_table_total_dec(struct gw_client_table *table)
{
    GW_UNUSED uint32_t before = atomic_fetch_sub(&table->totals[table->worker].count, 1);

    assert(before > 0);
}

void gw_client_table_reset_worker(struct gw_client_table *table, uint32_t worker)
{
    assert(worker < table->workers);
    atomic_store(&table->totals[worker].count, 0);
    for (uint32_t part = 0; part < PARTS; part++) {
        (void)!gw_lock_acquire(&table->parts[part].lock, table->zone);
        for (uint32_t set = part; set < SETS; set += PARTS) {
            for (uint32_t way = 0; way < GW_CLIENTS_WAYS; way++) {
                uint32_t place = set * GW_CLIENTS_WAYS + way;

                /* A place without a key was never used; leaving it alone keeps its page untouched.
                 */
                if (table->keys[place] != 0)
                    atomic_store_explicit(&counts_of(table, place)[worker], 0,
                                          memory_order_relaxed);
            }
        }
        gw_lock_release(&table->parts[part].lock);
    }
}
