/* Stores to shared memory that a killed process does not leave half done.
 * Lives in: whatever has a lock and a struct gw_undo beside it. Under the lock, every word is
 * recorded with its old content before it is changed; the commit is one store, of 0, to the
 * count of records. Whoever inherits the lock of a dead process puts the old words back.
 * A process dies between two instructions and its earlier stores are all seen, so the order of
 * the stores in the machine code is all that matters: the fences are for the compiler.
 * Memory that nothing points at may be written without a record.
 * GW_SHM_CRASHPOINT (tests only): gw_shm_crashpoint() is called before each store. */
#ifndef GW_SHM_TXN_H
#define GW_SHM_TXN_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/rc.h"

#ifdef GW_SHM_CRASHPOINT
void gw_shm_crashpoint(void);
#define GW_SHM_POINT() gw_shm_crashpoint()
#else
#define GW_SHM_POINT() ((void)0)
#endif

#define GW_SHM_FENCE() atomic_signal_fence(memory_order_seq_cst)

/* One store of at most 8 aligned bytes, neither split nor moved by the compiler. */
#define GW_SHM_STORE(lvalue, value)                                                                \
    do {                                                                                           \
        GW_SHM_POINT();                                                                            \
        GW_SHM_FENCE();                                                                            \
        *(volatile __typeof__(lvalue) *)&(lvalue) = (value);                                       \
        GW_SHM_FENCE();                                                                            \
    } while (0)

#define GW_UNDO_MAX 192

struct gw_undo_row {
    uint64_t at; /* offset in the zone, a multiple of 4; bit 0: 8 bytes, else 4 */
    uint64_t old;
};

struct gw_undo {
    uint32_t count; /* 0: nothing is half done */
    uint32_t reserved;
    struct gw_undo_row rows[GW_UNDO_MAX];
};

/* A transaction of this process. */
struct gw_txn {
    char *base; /* of the zone */
    struct gw_undo *undo;
    uint32_t count;
};

typedef uint32_t __attribute__((may_alias)) gw_shm_u32;
typedef uint64_t __attribute__((may_alias)) gw_shm_u64;

static inline void gw_txn_begin(struct gw_txn *txn, char *base, struct gw_undo *undo)
{
    txn->base = base;
    txn->undo = undo;
    txn->count = 0;
}

static inline void gw_txn_record(struct gw_txn *txn, uint64_t at, uint64_t old)
{
    struct gw_undo_row *row = &txn->undo->rows[txn->count];

    assert(txn->count < GW_UNDO_MAX);
    GW_SHM_STORE(row->at, at);
    GW_SHM_STORE(row->old, old);
    txn->count++;
    GW_SHM_STORE(txn->undo->count, txn->count);
}

static inline void gw_txn_put32(struct gw_txn *txn, void *at, uint32_t value)
{
    gw_shm_u32 *word = at;

    gw_txn_record(txn, (uint64_t)((char *)at - txn->base), *word);
    GW_SHM_STORE(*word, value);
}

static inline void gw_txn_put64(struct gw_txn *txn, void *at, uint64_t value)
{
    gw_shm_u64 *word = at;

    gw_txn_record(txn, (uint64_t)((char *)at - txn->base) | 1, *word);
    GW_SHM_STORE(*word, value);
}

/* `at` is aligned to 8; the bytes up to the next multiple of 8 belong to it. */
void gw_txn_put_bytes(struct gw_txn *txn, void *at, const void *data, size_t len);

static inline void gw_txn_commit(struct gw_txn *txn)
{
    if (txn->count > 0)
        GW_SHM_STORE(txn->undo->count, 0);
    txn->count = 0;
}

/* Bytes into memory that nothing points at. */
void gw_shm_fill(void *at, const void *data, size_t len);

/* Puts the old words back. `size`: of the zone. GW_INVALID: a record is not possible, the
 * memory was written by something else. May itself be killed and begun again. */
GW_MUST_CHECK enum gw_rc gw_undo_roll_back(char *base, uint64_t size, struct gw_undo *undo);

/* Gives a begun transaction up. */
void gw_txn_abort(struct gw_txn *txn);

#endif
