/* All that the processes of one gateway share: dictionaries by name, metrics, the count of
 * clients, the board.
 * Lives in: every process, over the same zones. The master makes it and hands the zones'
 * descriptors to its workers (fork and adopt, or SCM_RIGHTS and open). Reload adds and
 * grows dictionaries and never drops the content of one that stays.
 * Pointers to dictionaries stay good until gw_shared_set_sweep() or _free(). */
#ifndef GW_SHM_SHARED_H
#define GW_SHM_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/rc.h"
#include "base/str.h"
#include "shm/board.h"
#include "shm/clients.h"
#include "shm/dict.h"
#include "shm/metrics.h"

#define GW_SHARED_DICTS_MAX 128
#define GW_SHARED_FDS_MAX (GW_SHARED_DICTS_MAX + 2)
#define GW_SHARED_WORKERS_MAX 64

struct gw_shared_set;

struct gw_shared_row {
    struct gw_str name;
    uint64_t size;
    bool evict_never;
};

/* A zone on its way to another process. */
struct gw_shared_fd {
    char name[GW_ZONE_NAME_MAX + 2]; /* "core", "metrics", or a dictionary's with '=' in front */
    int fd;
};

/* Master: makes everything. `workers`: the most that will ever run (GW_SHARED_WORKERS_MAX). */
GW_MUST_CHECK enum gw_rc gw_shared_set_new(const struct gw_shared_row *rows, size_t count,
                                           uint32_t workers, struct gw_shared_set **out,
                                           struct gw_err *err);

/* Master, at reload, before the workers prepare: makes what is new, grows what has grown (a
 * smaller size changes nothing), takes over evict_never. All rows are checked first and new
 * zones made, then the rest is done. Names that are not in `rows` are no longer found by
 * name. */
GW_MUST_CHECK enum gw_rc gw_shared_set_update(struct gw_shared_set *set,
                                              const struct gw_shared_row *rows, size_t count,
                                              struct gw_err *err);

/* The descriptors (lent) of all zones, core and metrics first; returns how many. */
size_t gw_shared_set_fds(struct gw_shared_set *set, struct gw_shared_fd out[GW_SHARED_FDS_MAX]);

/* Worker that got the descriptors (taken): makes its view. Core and metrics must be there. */
GW_MUST_CHECK enum gw_rc gw_shared_set_open(const struct gw_shared_fd *fds, size_t count,
                                            struct gw_shared_set **out, struct gw_err *err);
/* Worker at reload: the whole new list (descriptors taken). What it knows already, it keeps;
 * what is not in the list is no longer found by name. */
GW_MUST_CHECK enum gw_rc gw_shared_set_join(struct gw_shared_set *set,
                                            const struct gw_shared_fd *fds, size_t count,
                                            struct gw_err *err);
/* Worker made by fork(): before anything else of the set is used. */
GW_MUST_CHECK enum gw_rc gw_shared_set_adopt(struct gw_shared_set *set, struct gw_err *err);

/* Which worker this process is, from 1 (0: the master). */
void gw_shared_set_worker(struct gw_shared_set *set, uint32_t worker);
uint32_t gw_shared_set_workers_max(const struct gw_shared_set *set);

/* Unmaps dictionaries that are no longer found by name: when no generation uses them. */
void gw_shared_set_sweep(struct gw_shared_set *set);
void gw_shared_set_free(struct gw_shared_set *set);

/* NULL: there is none of this name. */
struct gw_dict *gw_shared_set_dict(struct gw_shared_set *set, const char *name, size_t name_len);
/* In the order of their making; NULL behind the last. */
struct gw_dict *gw_shared_set_dict_at(struct gw_shared_set *set, size_t index);
struct gw_metrics *gw_shared_set_metrics(struct gw_shared_set *set);
struct gw_client_table *gw_shared_set_clients(struct gw_shared_set *set);
/* NULL: beyond the number of workers. */
struct gw_board_row *gw_shared_set_board(struct gw_shared_set *set, uint32_t worker);

/* Master, when it has reaped a worker: its locks may be inherited, its connections no longer count,
 * its row says GONE. */
void gw_shared_set_reaped(struct gw_shared_set *set, uint32_t worker, pid_t pid);

/* Watchdog: the process that holds one lock since `longer_than_ms` or more, as seen by
 * the calls of this process (so: call it more often than that). GW_NOT_FOUND: nobody. */
GW_MUST_CHECK enum gw_rc gw_shared_set_stuck_owner(struct gw_shared_set *set, uint64_t now_mono_ms,
                                                   uint64_t longer_than_ms, pid_t *pid);

/* Checks every invariant of every zone: after crashes, and for `status --check`. */
GW_MUST_CHECK enum gw_rc gw_shared_set_verify(struct gw_shared_set *set, struct gw_err *err);

#endif
