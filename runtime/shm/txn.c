#include "shm/txn.h"

static uint64_t word_of(const char *data, size_t len)
{
    uint64_t word = 0;

    memcpy(&word, data, len < 8 ? len : 8);
    return word;
}

void gw_txn_put_bytes(struct gw_txn *txn, void *at, const void *data, size_t len)
{
    for (size_t i = 0; i < len; i += 8)
        gw_txn_put64(txn, (char *)at + i, word_of((const char *)data + i, len - i));
}

void gw_shm_fill(void *at, const void *data, size_t len)
{
#ifdef GW_SHM_CRASHPOINT
    size_t half = len / 2;

    if (len == 0)
        return;
    GW_SHM_POINT();
    memcpy(at, data, half);
    GW_SHM_POINT();
    memcpy((char *)at + half, (const char *)data + half, len - half);
#else
    if (len > 0)
        memcpy(at, data, len);
#endif
    GW_SHM_FENCE();
}

static void put_back(char *base, const struct gw_undo_row *row)
{
    char *at = base + (row->at & ~(uint64_t)1);

    if (row->at & 1)
        GW_SHM_STORE(*(gw_shm_u64 *)at, row->old);
    else
        GW_SHM_STORE(*(gw_shm_u32 *)at, (uint32_t)row->old);
}

static void put_all_back(char *base, struct gw_undo *undo, uint32_t count)
{
    /* Newest first: a word that was changed twice ends with its first content. */
    for (uint32_t i = count; i > 0; i--)
        put_back(base, &undo->rows[i - 1]);
    GW_SHM_STORE(undo->count, 0);
}

enum gw_rc gw_undo_roll_back(char *base, uint64_t size, struct gw_undo *undo)
{
    if (undo->count > GW_UNDO_MAX)
        return GW_INVALID;
    for (uint32_t i = 0; i < undo->count; i++) {
        uint64_t at = undo->rows[i].at & ~(uint64_t)1;

        if (at % 4 != 0 || ((undo->rows[i].at & 1) && at % 8 != 0) || at > size - 8)
            return GW_INVALID;
    }
    put_all_back(base, undo, undo->count);
    return GW_OK;
}

void gw_txn_abort(struct gw_txn *txn)
{
    put_all_back(txn->base, txn->undo, txn->count);
    txn->count = 0;
}
