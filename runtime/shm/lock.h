/* A lock in shared memory whose owner may die.
 * Lives in: a zone. A lock belongs to the process whose token it holds. Who waits spins a
 * little, then sleeps in the kernel, and looks every GW_LOCK_SLEEP_MS whether the owner still
 * lives; the lock of a dead owner passes to the one that finds out, the heir, who must undo what
 * the dead one had begun before it touches anything else. Not recursive. Held for less than a
 * microsecond as a rule, never while waiting. */
#ifndef GW_SHM_LOCK_H
#define GW_SHM_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm/zone.h"

/* All zero: free. */
struct gw_lock {
    _Atomic uint32_t word;     /* token of the owner */
    _Atomic uint32_t turn;     /* counts owners: an unchanged pair is one long hold */
    _Atomic uint32_t sleepers; /* 1: somebody may sleep on `word` */
    uint32_t reserved;
};

#define GW_LOCK_SLEEP_MS 2

enum gw_lock_how {
    GW_LOCKED,
    GW_LOCK_INHERITED, /* the owner died: undo, verify, then go on */
};

GW_MUST_CHECK enum gw_lock_how gw_lock_wait(struct gw_lock *lock, const struct gw_zone *zone);
void gw_lock_wake(struct gw_lock *lock);

GW_MUST_CHECK static inline enum gw_lock_how gw_lock_acquire(struct gw_lock *lock,
                                                             const struct gw_zone *zone)
{
    uint32_t expected = 0;

    if (__builtin_expect(atomic_compare_exchange_strong_explicit(&lock->word, &expected,
                                                                 zone->token, memory_order_acquire,
                                                                 memory_order_relaxed),
                         1)) {
        uint32_t turn = atomic_load_explicit(&lock->turn, memory_order_relaxed);

        atomic_store_explicit(&lock->turn, turn + 1, memory_order_relaxed);
        return GW_LOCKED;
    }
    return gw_lock_wait(lock, zone);
}

/* No locked instruction: a locker that goes to sleep in the very nanoseconds between our store
 * and our look may be overlooked, and then wakes by itself after GW_LOCK_SLEEP_MS. */
static inline void gw_lock_release(struct gw_lock *lock)
{
    atomic_store_explicit(&lock->word, 0, memory_order_release);
    if (__builtin_expect(atomic_load_explicit(&lock->sleepers, memory_order_relaxed) != 0, 0))
        gw_lock_wake(lock);
}

#endif
