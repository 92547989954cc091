#include "shm/shared.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/lock.h"

#define LOCKS_PER_DICT 32
#define LOCKS_OF_CLIENTS 64

/* At the front of the core zone, behind its header. */
struct core_head {
    uint32_t workers; /* rows, the master's included */
    uint32_t reserved[31];
};

/* What the watchdog saw when it last looked at a lock. */
struct sample {
    uint32_t word;
    uint32_t turn;
    uint64_t since_ms;
};

struct shared_dict {
    struct gw_dict *dict;
    bool listed; /* found by name */
    struct sample samples[LOCKS_PER_DICT];
};

struct gw_shared_set {
    struct gw_zone core;
    struct core_head *head;
    struct gw_board_row *board;
    struct gw_client_table *clients;
    struct gw_metrics *metrics;
    struct shared_dict dicts[GW_SHARED_DICTS_MAX];
    size_t dict_count;
    struct sample metrics_sample;
    struct sample client_samples[LOCKS_OF_CLIENTS];
};

/* ---- the core zone ---- */

static uint64_t board_offset(void)
{
    return GW_ZONE_HEADER_BYTES + sizeof(struct core_head);
}

static uint64_t clients_offset(uint32_t rows)
{
    return board_offset() + rows * sizeof(struct gw_board_row);
}

static uint64_t core_bytes(uint32_t rows)
{
    return clients_offset(rows) + gw_client_table_bytes(rows);
}

static void core_view(struct gw_shared_set *set)
{
    set->head = (struct core_head *)(set->core.base + GW_ZONE_HEADER_BYTES);
    set->board = (struct gw_board_row *)(set->core.base + board_offset());
    set->clients = gw_client_table_new(
        &set->core, set->core.base + clients_offset(set->head->workers), set->head->workers);
}

static enum gw_rc core_create(struct gw_shared_set *set, uint32_t workers, struct gw_err *err)
{
    uint32_t rows = workers + 1;
    enum gw_rc rc;

    if (workers == 0 || workers > GW_SHARED_WORKERS_MAX)
        return gw_err_set(err, GW_INVALID, "1 to %d workers, not %u", GW_SHARED_WORKERS_MAX,
                          workers);
    rc = gw_zone_create(&set->core, GW_ZONE_CORE, GW_STR("core"), core_bytes(rows), err);
    if (rc != GW_OK)
        return rc;
    ((struct core_head *)(set->core.base + GW_ZONE_HEADER_BYTES))->workers = rows;
    core_view(set);
    return GW_OK;
}

static enum gw_rc core_open(struct gw_shared_set *set, int fd, struct gw_err *err)
{
    enum gw_rc rc = gw_zone_map(&set->core, fd, err);

    if (rc != GW_OK)
        return rc;

    const struct core_head *head =
        (const struct core_head *)(set->core.base + GW_ZONE_HEADER_BYTES);

    if (head->workers == 0 || head->workers > GW_SHARED_WORKERS_MAX + 1 ||
        atomic_load(&gw_zone_header(&set->core)->size) < core_bytes(head->workers)) {
        rc = gw_err_set(err, GW_INVALID, "the core zone has %u workers", head->workers);
        gw_zone_unmap(&set->core);
        return rc;
    }
    core_view(set);
    return GW_OK;
}

/* ---- dictionaries ---- */

static void dict_append(struct gw_shared_set *set, struct gw_dict *dict)
{
    struct shared_dict *row = &set->dicts[set->dict_count++];

    memset(row, 0, sizeof *row);
    row->dict = dict;
    row->listed = true;
}

static struct shared_dict *find_name(struct gw_shared_set *set, struct gw_str name, bool unlisted)
{
    for (size_t i = 0; i < set->dict_count; i++) {
        struct shared_dict *row = &set->dicts[i];

        if ((row->listed || unlisted) && gw_str_eq(gw_dict_name(row->dict), name))
            return row;
    }
    return NULL;
}

static struct shared_dict *find_id(struct gw_shared_set *set, uint64_t id)
{
    for (size_t i = 0; i < set->dict_count; i++) {
        if (gw_zone_header(gw_dict_zone(set->dicts[i].dict))->id == id)
            return &set->dicts[i];
    }
    return NULL;
}

static enum gw_rc row_check(struct gw_shared_set *set, const struct gw_shared_row *row,
                            struct gw_err *err)
{
    struct shared_dict *known = find_name(set, row->name, true);

    if (row->name.len == 0 || row->name.len > GW_ZONE_NAME_MAX)
        return gw_err_set(err, GW_INVALID, "a name has 1 to %d bytes", GW_ZONE_NAME_MAX);
    if (row->size < GW_DICT_BYTES_MIN)
        return gw_err_set(err, GW_INVALID, "at least %u bytes", GW_DICT_BYTES_MIN);
    if (known != NULL && row->size > gw_zone_header(gw_dict_zone(known->dict))->reserve)
        return gw_err_set(err, GW_LIMIT, "can grow to %llu bytes while running; restart for more",
                          (unsigned long long)gw_zone_header(gw_dict_zone(known->dict))->reserve);
    return GW_OK;
}

static enum gw_rc rows_check(struct gw_shared_set *set, const struct gw_shared_row *rows,
                             size_t count, struct gw_err *err)
{
    size_t fresh = 0;

    for (size_t i = 0; i < count; i++) {
        enum gw_rc rc = row_check(set, &rows[i], err);

        for (size_t j = 0; rc == GW_OK && j < i; j++) {
            if (gw_str_eq(rows[i].name, rows[j].name))
                rc = gw_err_set(err, GW_INVALID, "given twice");
        }
        if (rc != GW_OK) {
            gw_err_prefix(err, "shared.%.*s: ", GW_STR_ARG(rows[i].name));
            return rc;
        }
        fresh += find_name(set, rows[i].name, true) == NULL;
    }
    if (fresh > GW_SHARED_DICTS_MAX - set->dict_count)
        return gw_err_set(err, GW_FULL, "shared: more than %d dictionaries", GW_SHARED_DICTS_MAX);
    return GW_OK;
}

/* Takes the dictionaries behind the first `count` away again. */
static void dicts_cut(struct gw_shared_set *set, size_t count)
{
    while (set->dict_count > count)
        gw_dict_close(set->dicts[--set->dict_count].dict);
}

static enum gw_rc dicts_make(struct gw_shared_set *set, const struct gw_shared_row *rows,
                             size_t count, struct gw_err *err)
{
    size_t before = set->dict_count;

    for (size_t i = 0; i < count; i++) {
        struct gw_dict *dict;
        enum gw_rc rc;

        if (find_name(set, rows[i].name, true) != NULL)
            continue;
        rc = gw_dict_create(rows[i].name, rows[i].size, rows[i].evict_never, &dict, err);
        if (rc != GW_OK) {
            dicts_cut(set, before);
            gw_err_prefix(err, "shared: ");
            return rc;
        }
        dict_append(set, dict);
    }
    return GW_OK;
}

enum gw_rc gw_shared_set_update(struct gw_shared_set *set, const struct gw_shared_row *rows,
                                size_t count, struct gw_err *err)
{
    size_t before = set->dict_count;
    enum gw_rc rc = rows_check(set, rows, count, err);

    if (rc == GW_OK)
        rc = dicts_make(set, rows, count, err);
    if (rc != GW_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        rc = gw_dict_grow(find_name(set, rows[i].name, true)->dict, rows[i].size, err);
        if (rc != GW_OK) {
            dicts_cut(set, before);
            gw_err_prefix(err, "shared: ");
            return rc; /* what has grown already may stay grown */
        }
    }
    for (size_t i = 0; i < set->dict_count; i++)
        set->dicts[i].listed = false;
    for (size_t i = 0; i < count; i++) {
        struct shared_dict *row = find_name(set, rows[i].name, true);

        row->listed = true;
        gw_dict_set_evict_never(row->dict, rows[i].evict_never);
    }
    return GW_OK;
}

enum gw_rc gw_shared_set_new(const struct gw_shared_row *rows, size_t count, uint32_t workers,
                             struct gw_shared_set **out, struct gw_err *err)
{
    struct gw_shared_set *set = calloc(1, sizeof *set);
    enum gw_rc rc;

    if (set == NULL)
        abort();
    rc = core_create(set, workers, err);
    if (rc == GW_OK)
        rc = gw_metrics_create(&set->metrics, err);
    if (rc == GW_OK)
        rc = gw_shared_set_update(set, rows, count, err);
    if (rc != GW_OK) {
        gw_shared_set_free(set);
        return rc;
    }
    *out = set;
    return GW_OK;
}

/* ---- from process to process ---- */

static void fd_row(struct gw_shared_fd *out, const char *mark, const struct gw_zone *zone)
{
    const char *name = gw_zone_header(zone)->name;

    memset(out, 0, sizeof *out);
    out->fd = zone->fd;
    memcpy(out->name, mark, strlen(mark));
    memcpy(out->name + strlen(mark), name, strlen(name));
}

size_t gw_shared_set_fds(struct gw_shared_set *set, struct gw_shared_fd out[GW_SHARED_FDS_MAX])
{
    size_t count = 0;

    fd_row(&out[count++], "", &set->core);
    fd_row(&out[count++], "", gw_metrics_zone(set->metrics));
    for (size_t i = 0; i < set->dict_count; i++) {
        if (set->dicts[i].listed)
            fd_row(&out[count++], "=", gw_dict_zone(set->dicts[i].dict));
    }
    return count;
}

/* The core or the metrics: one of each, for ever. */
static enum gw_rc join_single(struct gw_shared_set *set, const struct gw_zone_label *label, int fd,
                              struct gw_err *err)
{
    const struct gw_zone *known = set->core.base != NULL ? &set->core : NULL;

    if (label->kind == GW_ZONE_METRICS)
        known = set->metrics != NULL ? gw_metrics_zone(set->metrics) : NULL;
    if (known != NULL) {
        close(fd);
        if (gw_zone_header(known)->id == label->id)
            return GW_OK;
        return gw_err_set(err, GW_INVALID, "zone %s is not the one that is in use", label->name);
    }
    return label->kind == GW_ZONE_METRICS ? gw_metrics_open(fd, &set->metrics, err)
                                          : core_open(set, fd, err);
}

static enum gw_rc join_dict(struct gw_shared_set *set, const struct gw_zone_label *label, int fd,
                            struct gw_err *err)
{
    struct shared_dict *known = find_id(set, label->id);
    struct gw_dict *dict;
    enum gw_rc rc;

    if (known != NULL) {
        close(fd);
        known->listed = true;
        return GW_OK;
    }
    if (set->dict_count == GW_SHARED_DICTS_MAX) {
        close(fd);
        return gw_err_set(err, GW_FULL, "more than %d dictionaries", GW_SHARED_DICTS_MAX);
    }
    rc = gw_dict_open(fd, &dict, err);
    if (rc == GW_OK)
        dict_append(set, dict);
    return rc;
}

static enum gw_rc join_one(struct gw_shared_set *set, int fd, struct gw_err *err)
{
    struct gw_zone_label label;
    enum gw_rc rc = gw_zone_peek(fd, &label, err);

    if (rc == GW_OK && (label.kind == GW_ZONE_CORE || label.kind == GW_ZONE_METRICS))
        return join_single(set, &label, fd, err);
    if (rc == GW_OK && label.kind == GW_ZONE_DICT)
        return join_dict(set, &label, fd, err);
    close(fd);
    return rc != GW_OK ? rc : gw_err_set(err, GW_INVALID, "a zone of kind %u", label.kind);
}

enum gw_rc gw_shared_set_join(struct gw_shared_set *set, const struct gw_shared_fd *fds,
                              size_t count, struct gw_err *err)
{
    bool listed[GW_SHARED_DICTS_MAX];
    size_t before = set->dict_count;
    enum gw_rc rc = GW_OK;

    for (size_t i = 0; i < before; i++) {
        listed[i] = set->dicts[i].listed;
        set->dicts[i].listed = false;
    }
    for (size_t i = 0; i < count; i++) {
        if (rc == GW_OK) {
            rc = join_one(set, fds[i].fd, err);
            if (rc != GW_OK)
                gw_err_prefix(err, "shared memory %s: ", fds[i].name);
        } else {
            close(fds[i].fd); /* taken, also when it is of no use any more */
        }
    }
    if (rc == GW_OK)
        return GW_OK;
    dicts_cut(set, before);
    for (size_t i = 0; i < before; i++)
        set->dicts[i].listed = listed[i];
    return rc;
}

enum gw_rc gw_shared_set_open(const struct gw_shared_fd *fds, size_t count,
                              struct gw_shared_set **out, struct gw_err *err)
{
    struct gw_shared_set *set = calloc(1, sizeof *set);
    enum gw_rc rc;

    if (set == NULL)
        abort();
    rc = gw_shared_set_join(set, fds, count, err);
    if (rc == GW_OK && (set->core.base == NULL || set->metrics == NULL))
        rc = gw_err_set(err, GW_INVALID, "shared memory: core or metrics are missing");
    if (rc != GW_OK) {
        gw_shared_set_free(set);
        return rc;
    }
    *out = set;
    return GW_OK;
}

enum gw_rc gw_shared_set_adopt(struct gw_shared_set *set, struct gw_err *err)
{
    enum gw_rc rc = gw_zone_adopt(&set->core, err);

    if (rc == GW_OK)
        rc = gw_zone_adopt(gw_metrics_zone(set->metrics), err);
    if (rc == GW_OK)
        gw_metrics_adopted(set->metrics);
    for (size_t i = 0; rc == GW_OK && i < set->dict_count; i++)
        rc = gw_zone_adopt(gw_dict_zone(set->dicts[i].dict), err);
    return rc;
}

void gw_shared_set_worker(struct gw_shared_set *set, uint32_t worker)
{
    gw_client_table_set_worker(set->clients, worker);
}

uint32_t gw_shared_set_workers_max(const struct gw_shared_set *set)
{
    return set->head->workers - 1;
}

void gw_shared_set_sweep(struct gw_shared_set *set)
{
    size_t kept = 0;

    for (size_t i = 0; i < set->dict_count; i++) {
        if (set->dicts[i].listed)
            set->dicts[kept++] = set->dicts[i];
        else
            gw_dict_close(set->dicts[i].dict);
    }
    set->dict_count = kept;
}

void gw_shared_set_free(struct gw_shared_set *set)
{
    if (set == NULL)
        return;
    dicts_cut(set, 0);
    gw_metrics_close(set->metrics);
    gw_client_table_free(set->clients);
    gw_zone_unmap(&set->core);
    free(set);
}

/* ---- what is in it ---- */

struct gw_dict *gw_shared_set_dict(struct gw_shared_set *set, const char *name, size_t name_len)
{
    struct shared_dict *row = find_name(set, gw_str(name, name_len), false);

    return row != NULL ? row->dict : NULL;
}

struct gw_dict *gw_shared_set_dict_at(struct gw_shared_set *set, size_t index)
{
    for (size_t i = 0; i < set->dict_count; i++) {
        if (set->dicts[i].listed && index-- == 0)
            return set->dicts[i].dict;
    }
    return NULL;
}

struct gw_metrics *gw_shared_set_metrics(struct gw_shared_set *set)
{
    return set->metrics;
}

struct gw_client_table *gw_shared_set_clients(struct gw_shared_set *set)
{
    return set->clients;
}

struct gw_board_row *gw_shared_set_board(struct gw_shared_set *set, uint32_t worker)
{
    return worker < set->head->workers ? &set->board[worker] : NULL;
}

/* ---- after a death, and before one ---- */

void gw_shared_set_reaped(struct gw_shared_set *set, uint32_t worker, pid_t pid)
{
    struct gw_board_row *row = gw_shared_set_board(set, worker);

    gw_zone_owner_gone(&set->core, pid);
    gw_zone_owner_gone(gw_metrics_zone(set->metrics), pid);
    for (size_t i = 0; i < set->dict_count; i++)
        gw_zone_owner_gone(gw_dict_zone(set->dicts[i].dict), pid);
    if (row == NULL)
        return;
    gw_client_table_reset_worker(set->clients, worker);
    if (atomic_load(&row->pid) == (int32_t)pid)
        atomic_store(&row->state, GW_BOARD_GONE);
}

struct watch {
    uint64_t now_ms;
    uint64_t longer_than_ms;
};

/* The pid of who holds this lock for too long; 0: nobody. */
static pid_t sample_lock(const struct watch *watch, struct sample *sample, struct gw_lock *lock,
                         const struct gw_zone *zone)
{
    uint32_t word = atomic_load(&lock->word), turn = atomic_load(&lock->turn);

    if (word == 0 || word != sample->word || turn != sample->turn) {
        *sample = (struct sample){word, turn, watch->now_ms};
        return 0;
    }
    if (watch->now_ms - sample->since_ms < watch->longer_than_ms || word == zone->token ||
        gw_zone_owner_dead(zone, word)) /* a dead one's lock passes to whoever wants it */
        return 0;
    return gw_zone_owner_pid(zone, word);
}

static pid_t sample_dict(const struct watch *watch, struct shared_dict *row)
{
    pid_t found = 0;

    for (uint32_t i = 0; i < LOCKS_PER_DICT; i++) {
        struct gw_lock *lock = gw_dict_lock_at(row->dict, i);
        pid_t pid;

        if (lock == NULL)
            break;
        pid = sample_lock(watch, &row->samples[i], lock, gw_dict_zone(row->dict));
        found = pid != 0 ? pid : found;
    }
    return found;
}

enum gw_rc gw_shared_set_stuck_owner(struct gw_shared_set *set, uint64_t now_mono_ms,
                                     uint64_t longer_than_ms, pid_t *pid)
{
    struct watch watch = {now_mono_ms, longer_than_ms};
    pid_t found = sample_lock(&watch, &set->metrics_sample, gw_metrics_lock(set->metrics),
                              gw_metrics_zone(set->metrics));

    /* Every lock is looked at each time: a sample that is skipped would be too old. */
    for (uint32_t i = 0; i < LOCKS_OF_CLIENTS; i++) {
        struct gw_lock *lock = gw_client_table_lock_at(set->clients, i);
        pid_t one = sample_lock(&watch, &set->client_samples[i], lock, &set->core);

        found = one != 0 ? one : found;
    }
    for (size_t i = 0; i < set->dict_count; i++) {
        pid_t one = sample_dict(&watch, &set->dicts[i]);

        found = one != 0 ? one : found;
    }
    if (found == 0)
        return GW_NOT_FOUND;
    *pid = found;
    return GW_OK;
}

enum gw_rc gw_shared_set_verify(struct gw_shared_set *set, struct gw_err *err)
{
    enum gw_rc rc = gw_metrics_verify(set->metrics, err);

    for (size_t i = 0; rc == GW_OK && i < set->dict_count; i++)
        rc = gw_dict_verify(set->dicts[i].dict, err);
    return rc;
}
