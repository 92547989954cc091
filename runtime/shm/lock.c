#include "shm/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPINS 200

static void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
}

static bool take_free(struct gw_lock *lock, uint32_t mine)
{
    uint32_t expected = 0;

    return atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong_explicit(&lock->word, &expected, mine,
                                                   memory_order_acquire, memory_order_relaxed);
}

static void count_turn(struct gw_lock *lock)
{
    uint32_t turn = atomic_load_explicit(&lock->turn, memory_order_relaxed);

    atomic_store_explicit(&lock->turn, turn + 1, memory_order_relaxed);
}

/* Says that somebody waits, then sleeps until the word changes. The wait also ends by itself, so
 * that an owner that died, or died before it could wake us, is noticed: then true. */
static bool sleep_on(struct gw_lock *lock, uint32_t seen)
{
    struct timespec limit = {.tv_sec = 0, .tv_nsec = GW_LOCK_SLEEP_MS * 1000000};

    atomic_store(&lock->sleepers, 1);
    return syscall(SYS_futex, &lock->word, FUTEX_WAIT, seen, &limit, NULL, 0) != 0 &&
           errno == ETIMEDOUT;
}

/* Who has slept is perhaps not the only one: its release wakes the next. */
static void own_after_sleep(struct gw_lock *lock)
{
    atomic_store(&lock->sleepers, 1);
    count_turn(lock);
}

enum gw_lock_how gw_lock_wait(struct gw_lock *lock, const struct gw_zone *zone)
{
    for (int i = 0; i < SPINS; i++) {
        if (take_free(lock, zone->token)) {
            count_turn(lock);
            return GW_LOCKED;
        }
        pause_cpu();
    }
    for (;;) {
        uint32_t seen = 0;

        if (atomic_compare_exchange_strong(&lock->word, &seen, zone->token)) {
            own_after_sleep(lock);
            return GW_LOCKED;
        }
        if (!gw_zone_owner_known_dead(zone, seen) &&
            !(sleep_on(lock, seen) && gw_zone_owner_dead(zone, seen)))
            continue;
        if (atomic_compare_exchange_strong(&lock->word, &seen, zone->token)) {
            own_after_sleep(lock);
            return GW_LOCK_INHERITED;
        }
    }
}

void gw_lock_wake(struct gw_lock *lock)
{
    atomic_store(&lock->sleepers, 0);
    (void)syscall(SYS_futex, &lock->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}
