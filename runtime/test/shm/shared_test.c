/* Zones, locks, the count of clients, the board, and the set of all of them. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/time.h"
#include "shm/lock.h"
#include "shm/shared.h"

#define T0 1700000000000ull

static struct gw_shared_set *make(const struct gw_shared_row *rows, size_t count)
{
    struct gw_shared_set *set;
    struct gw_err err = {""};

    if (gw_shared_set_new(rows, count, 4, &set, &err) != GW_OK)
        fail_msg("%s", err.text);
    return set;
}

static void set_number(struct gw_dict *dict, const char *key, double number)
{
    struct gw_dict_value value = {.type = GW_DICT_NUMBER, .number = number};

    assert_int_equal(gw_dict_set(dict, key, strlen(key), T0, GW_DICT_SET, &value), GW_OK);
}

static double get_number(struct gw_dict *dict, const char *key)
{
    struct gw_dict_value value = {0};

    return gw_dict_get(dict, key, strlen(key), T0, &value) == GW_OK ? value.number : -1;
}

static struct gw_dict *dict_of(struct gw_shared_set *set, const char *name)
{
    return gw_shared_set_dict(set, name, strlen(name));
}

/* Runs `run` in a process of its own that is killed afterwards when `murder`. */
static pid_t in_child(void (*run)(void *arg), void *arg, bool murder)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        run(arg);
        if (murder)
            raise(SIGKILL);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(murder ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return pid;
}

/* ---- zone and lock ---- */

static void a_zone_is_mapped_twice_and_grows_in_both(void **state)
{
    struct gw_zone zone, other;
    struct gw_err err = {""};

    assert_int_equal(gw_zone_create(&zone, GW_ZONE_PLAIN, GW_STR("z"), 100000, &err), GW_OK);
    assert_int_equal(gw_zone_map(&other, dup(zone.fd), &err), GW_OK);
    assert_ptr_not_equal(zone.base, other.base);
    assert_int_not_equal(zone.token, other.token);
    zone.base[99999] = 'x';
    assert_int_equal(other.base[99999], 'x');
    assert_int_equal(gw_zone_grow(&zone, 10 << 20, &err), GW_OK);
    zone.base[(10 << 20) - 1] = 'y';
    assert_int_equal(other.base[(10 << 20) - 1], 'y');
    assert_int_equal(gw_zone_grow(&zone, zone.reserve + 1, &err), GW_LIMIT);
    assert_int_equal(ftruncate(zone.fd, 8192), -1); /* sealed */
    gw_zone_unmap(&other);
    gw_zone_unmap(&zone);
    gw_zone_unmap(&zone);
}

static void what_is_no_zone_is_refused(void **state)
{
    struct gw_zone zone;
    struct gw_err err = {""};
    int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    char name[GW_ZONE_NAME_MAX + 2];

    assert_int_equal(gw_zone_map(&zone, dup(fd), &err), GW_INVALID); /* not sealed */
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    assert_int_equal(gw_zone_map(&zone, dup(fd), &err), GW_INVALID); /* empty */
    assert_int_equal(ftruncate(fd, 65536), 0);
    assert_int_equal(gw_zone_map(&zone, dup(fd), &err), GW_INVALID); /* all zero */
    close(fd);
    assert_int_equal(gw_zone_create(&zone, GW_ZONE_PLAIN, GW_STR("z"), 65536, &err), GW_OK);
    fd = dup(zone.fd);
    gw_zone_header(&zone)->version++;
    assert_int_equal(gw_zone_map(&(struct gw_zone){0}, dup(fd), &err), GW_INVALID);
    assert_non_null(strstr(err.text, "version"));
    gw_zone_header(&zone)->version--;
    gw_zone_header(&zone)->size = 1 << 20; /* beyond the file */
    assert_int_equal(gw_zone_map(&(struct gw_zone){0}, dup(fd), &err), GW_INVALID);
    gw_zone_unmap(&zone);
    close(fd);
    memset(name, 'n', sizeof name);
    assert_int_equal(
        gw_zone_create(&zone, GW_ZONE_PLAIN, gw_str(name, GW_ZONE_NAME_MAX + 1), 65536, &err),
        GW_INVALID);
    assert_int_equal(gw_zone_create(&zone, GW_ZONE_PLAIN, GW_STR("z"), 0, &err), GW_INVALID);
    assert_int_equal(gw_zone_create(&zone, GW_ZONE_PLAIN, GW_STR("z"), UINT64_MAX, &err),
                     GW_INVALID);
}

static void adopt(void *arg)
{
    if (gw_zone_adopt(arg, NULL) != GW_OK)
        _exit(3);
}

static void rows_of_dead_owners_are_used_again(void **state)
{
    struct gw_zone zone;

    assert_int_equal(gw_zone_create(&zone, GW_ZONE_PLAIN, GW_STR("z"), 65536, NULL), GW_OK);
    for (int i = 0; i < 300; i++) /* more than there are rows */
        in_child(adopt, &zone, true);
    assert_true(gw_zone_header(&zone)->rows <= 3);
    gw_zone_unmap(&zone);
}

static void too_many_living_owners_are_refused(void **state)
{
    struct gw_zone zone, more[GW_ZONE_OWNERS_MAX];
    struct gw_err err = {""};
    int count = 0;

    assert_int_equal(gw_zone_create(&zone, GW_ZONE_PLAIN, GW_STR("z"), 65536, NULL), GW_OK);
    while (gw_zone_map(&more[count], dup(zone.fd), &err) == GW_OK)
        count++;
    assert_int_equal(count, GW_ZONE_OWNERS_MAX - 1);
    assert_non_null(strstr(err.text, "processes"));
    while (count > 0)
        gw_zone_unmap(&more[--count]);
    gw_zone_unmap(&zone);
}

static struct gw_zone lock_zone;
static struct gw_lock *lock_shared;

static void lock_and_die(void *arg)
{
    adopt(arg);
    assert_int_equal(gw_lock_acquire(lock_shared, arg), GW_LOCKED);
}

static void lock_zone_init(void)
{
    assert_int_equal(gw_zone_create(&lock_zone, GW_ZONE_PLAIN, GW_STR("z"), 65536, NULL), GW_OK);
    lock_shared = (struct gw_lock *)(lock_zone.base + GW_ZONE_HEADER_BYTES);
}

static void the_lock_of_a_dead_owner_is_inherited(void **state)
{
    lock_zone_init();
    assert_int_equal(gw_lock_acquire(lock_shared, &lock_zone), GW_LOCKED);
    gw_lock_release(lock_shared);
    in_child(lock_and_die, &lock_zone, true);
    assert_int_equal(gw_lock_acquire(lock_shared, &lock_zone), GW_LOCK_INHERITED);
    gw_lock_release(lock_shared);
    assert_int_equal(gw_lock_acquire(lock_shared, &lock_zone), GW_LOCKED);
    gw_lock_release(lock_shared);
    gw_zone_unmap(&lock_zone);
}

static void a_pid_that_lives_again_is_not_the_owner(void **state)
{
    struct gw_zone_owner *owner;
    uint32_t token;

    lock_zone_init();
    in_child(lock_and_die, &lock_zone, true);
    token = atomic_load(&lock_shared->word);
    owner = &gw_zone_header(&lock_zone)->owners[token % GW_ZONE_OWNERS_MAX];
    assert_true(gw_zone_owner_dead(&lock_zone, token));
    /* As if the number had gone to another process: our parent, which began earlier. */
    atomic_store(&owner->pid, (int32_t)getppid());
    assert_true(gw_zone_owner_dead(&lock_zone, token));
    atomic_store(&owner->started, 0); /* not known: then a living process is believed */
    assert_false(gw_zone_owner_dead(&lock_zone, token));
    gw_zone_owner_gone(&lock_zone, getppid()); /* unless the master knows better */
    assert_true(gw_zone_owner_dead(&lock_zone, token));
    gw_zone_unmap(&lock_zone);
}

static void a_zombie_is_dead(void **state)
{
    int hold[2];
    pid_t pid;
    char byte;

    lock_zone_init();
    assert_int_equal(pipe(hold), 0);
    pid = fork();
    if (pid == 0) {
        lock_and_die(&lock_zone);
        (void)!write(hold[1], "l", 1);
        _exit(0);
    }
    assert_int_equal(read(hold[0], &byte, 1), 1);
    /* Not waited for: it cannot go, but it holds nothing any more. */
    assert_int_equal(gw_lock_acquire(lock_shared, &lock_zone), GW_LOCK_INHERITED);
    gw_lock_release(lock_shared);
    waitpid(pid, NULL, 0);
    close(hold[0]);
    close(hold[1]);
    gw_zone_unmap(&lock_zone);
}

static void add_often(void *arg)
{
    volatile uint64_t *counter = (uint64_t *)(lock_zone.base + GW_ZONE_HEADER_BYTES + 128);

    adopt(&lock_zone);
    for (int i = 0; i < 200000; i++) {
        (void)!gw_lock_acquire(lock_shared, &lock_zone);
        *counter = *counter + 1;
        gw_lock_release(lock_shared);
    }
}

static void a_lock_has_one_owner_at_a_time(void **state)
{
    uint64_t *counter, began = gw_time_mono_ms();
    pid_t pids[4];
    int status;

    lock_zone_init();
    counter = (uint64_t *)(lock_zone.base + GW_ZONE_HEADER_BYTES + 128);
    for (int i = 0; i < 4; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            add_often(NULL);
            _exit(0);
        }
    }
    for (int i = 0; i < 4; i++) {
        waitpid(pids[i], &status, 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(*counter, 800000);
    assert_true(gw_time_mono_ms() - began < 20000);
    gw_zone_unmap(&lock_zone);
}

/* ---- the set ---- */

static const struct gw_shared_row two[] = {
    {{"limits", 6}, 1 << 20, false},
    {{"sessions", 8}, 1 << 20, true},
};

static void a_set_has_its_dictionaries_by_name(void **state)
{
    struct gw_shared_set *set = make(two, 2);
    struct gw_dict_stats stats;

    assert_non_null(dict_of(set, "limits"));
    assert_non_null(dict_of(set, "sessions"));
    assert_null(dict_of(set, "limit"));
    assert_null(dict_of(set, ""));
    gw_dict_stats(dict_of(set, "sessions"), &stats);
    assert_true(stats.evict_never);
    assert_ptr_equal(gw_shared_set_dict_at(set, 1), dict_of(set, "sessions"));
    assert_null(gw_shared_set_dict_at(set, 2));
    assert_int_equal(gw_shared_set_workers_max(set), 4);
    assert_non_null(gw_shared_set_board(set, 4));
    assert_null(gw_shared_set_board(set, 5));
    assert_int_equal(gw_shared_set_verify(set, NULL), GW_OK);
    gw_shared_set_free(set);
}

static void bad_rows_are_refused_and_change_nothing(void **state)
{
    struct gw_shared_set *set = make(two, 2), *none;
    struct gw_shared_row rows[3] = {two[0], {{"new", 3}, 1 << 20, false}, two[0]};
    struct gw_err err = {""};

    assert_int_equal(gw_shared_set_update(set, rows, 3, &err), GW_INVALID);
    assert_string_equal(err.text, "shared.limits: given twice");
    rows[2] = (struct gw_shared_row){{"tiny", 4}, 1000, false};
    assert_int_equal(gw_shared_set_update(set, rows, 3, &err), GW_INVALID);
    rows[2] = (struct gw_shared_row){{"sessions", 8}, (uint64_t)1 << 62, false};
    assert_int_equal(gw_shared_set_update(set, rows, 3, &err), GW_LIMIT);
    assert_non_null(strstr(err.text, "shared.sessions: can grow"));
    rows[2] = (struct gw_shared_row){{"huge", 4}, (uint64_t)1 << 62, false};
    assert_int_equal(gw_shared_set_update(set, rows, 3, &err), GW_INVALID);
    assert_null(dict_of(set, "new"));
    assert_non_null(dict_of(set, "sessions"));
    assert_int_equal(gw_shared_set_new(two, 2, 0, &none, &err), GW_INVALID);
    assert_int_equal(gw_shared_set_new(two, 2, GW_SHARED_WORKERS_MAX + 1, &none, &err), GW_INVALID);
    gw_shared_set_free(set);
}

/* What a worker gets over its socket: descriptors of its own. */
static size_t hand_over(struct gw_shared_set *set, struct gw_shared_fd fds[GW_SHARED_FDS_MAX])
{
    size_t count = gw_shared_set_fds(set, fds);

    for (size_t i = 0; i < count; i++)
        fds[i].fd = dup(fds[i].fd);
    return count;
}

static void reload_adds_grows_and_keeps(void **state)
{
    struct gw_shared_set *set = make(two, 2), *worker;
    struct gw_shared_row rows[] = {{{"new", 3}, 1 << 20, false}, {{"sessions", 8}, 4 << 20, false}};
    struct gw_shared_fd fds[GW_SHARED_FDS_MAX];
    struct gw_err err = {""};
    struct gw_dict_stats stats;
    struct gw_dict *sessions, *gone;
    size_t count = hand_over(set, fds);

    assert_int_equal(count, 4);
    assert_string_equal(fds[0].name, "core");
    assert_string_equal(fds[3].name, "=sessions");
    assert_int_equal(gw_shared_set_open(fds, count, &worker, &err), GW_OK);
    set_number(dict_of(set, "sessions"), "k", 5);
    set_number(dict_of(set, "limits"), "k", 6);
    assert_true(get_number(dict_of(worker, "sessions"), "k") == 5);
    sessions = dict_of(worker, "sessions");
    gone = dict_of(worker, "limits");

    assert_int_equal(gw_shared_set_update(set, rows, 2, &err), GW_OK);
    count = hand_over(set, fds);
    assert_int_equal(gw_shared_set_join(worker, fds, count, &err), GW_OK);
    assert_ptr_equal(dict_of(worker, "sessions"), sessions);
    assert_true(get_number(sessions, "k") == 5);
    gw_dict_stats(sessions, &stats);
    assert_true(stats.bytes > 3 << 20);
    assert_false(stats.evict_never);
    set_number(dict_of(worker, "new"), "n", 1);
    assert_true(get_number(dict_of(set, "new"), "n") == 1);
    assert_null(dict_of(worker, "limits"));
    assert_true(get_number(gone, "k") == 6); /* an old generation may still use it */

    /* Back before it was swept: with its content. */
    assert_int_equal(gw_shared_set_update(set, two, 2, &err), GW_OK);
    count = hand_over(set, fds);
    assert_int_equal(gw_shared_set_join(worker, fds, count, &err), GW_OK);
    assert_ptr_equal(dict_of(worker, "limits"), gone);
    gw_shared_set_sweep(worker);
    gw_shared_set_sweep(set);
    assert_true(get_number(dict_of(worker, "limits"), "k") == 6);
    assert_null(gw_shared_set_dict_at(worker, 2));

    /* Swept and back: a new one, and the worker notices. */
    assert_int_equal(gw_shared_set_update(set, rows, 2, &err), GW_OK);
    gw_shared_set_sweep(set);
    assert_int_equal(gw_shared_set_update(set, two, 2, &err), GW_OK);
    count = hand_over(set, fds);
    assert_int_equal(gw_shared_set_join(worker, fds, count, &err), GW_OK);
    assert_true(get_number(dict_of(worker, "limits"), "k") == -1);
    assert_int_equal(gw_shared_set_verify(worker, &err), GW_OK);
    gw_shared_set_free(worker);
    gw_shared_set_free(set);
}

static void a_bad_hand_over_leaves_all_as_it_was(void **state)
{
    struct gw_shared_set *set = make(two, 2), *other = make(two, 1), *worker;
    struct gw_shared_fd fds[GW_SHARED_FDS_MAX];
    struct gw_err err = {""};
    size_t count = hand_over(set, fds);
    struct gw_dict *limits;

    assert_int_equal(gw_shared_set_open(fds + 2, 2, &worker, &err), GW_INVALID);
    close(fds[0].fd);
    close(fds[1].fd);
    count = hand_over(set, fds);
    assert_int_equal(gw_shared_set_open(fds, count, &worker, &err), GW_OK);
    limits = dict_of(worker, "limits");
    count = hand_over(other, fds); /* of another gateway */
    assert_int_equal(gw_shared_set_join(worker, fds, count, &err), GW_INVALID);
    fds[0].fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(gw_shared_set_join(worker, fds, 1, &err), GW_INVALID);
    assert_ptr_equal(dict_of(worker, "limits"), limits);
    assert_non_null(dict_of(worker, "sessions"));
    gw_shared_set_free(worker);
    gw_shared_set_free(other);
    gw_shared_set_free(set);
}

static struct gw_shared_set *child_set;

static void use_as_worker(void *arg)
{
    struct gw_err err;
    uint8_t addr[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1};

    if (gw_shared_set_adopt(child_set, &err) != GW_OK)
        _exit(3);
    gw_shared_set_worker(child_set, 2);
    set_number(dict_of(child_set, "limits"), "child", 1);
    for (int i = 0; i < 3; i++) {
        if (gw_client_table_inc(gw_shared_set_clients(child_set), addr, 0) != GW_OK ||
            gw_client_table_total_inc(gw_shared_set_clients(child_set), 0) != GW_OK)
            _exit(4);
    }
    atomic_store(&gw_shared_set_board(child_set, 2)->pid, (int32_t)getpid());
    atomic_store(&gw_shared_set_board(child_set, 2)->state, GW_BOARD_RUNNING);
    gw_board_beat(gw_shared_set_board(child_set, 2), 77);
}

static void a_dead_workers_connections_are_taken_back(void **state)
{
    uint8_t addr[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1};
    struct gw_client_table *clients;
    pid_t pid;

    child_set = make(two, 2);
    clients = gw_shared_set_clients(child_set);
    gw_shared_set_worker(child_set, 1);
    assert_int_equal(gw_client_table_inc(clients, addr, 4), GW_OK);
    assert_int_equal(gw_client_table_total_inc(clients, 4), GW_OK);
    pid = in_child(use_as_worker, NULL, true);
    assert_int_equal(gw_client_table_count(clients, addr), 4);
    assert_int_equal(gw_client_table_total(clients), 4);
    assert_int_equal(gw_client_table_inc(clients, addr, 4), GW_LIMIT);
    assert_int_equal(gw_client_table_total_inc(clients, 4), GW_LIMIT);
    assert_int_equal(atomic_load(&gw_shared_set_board(child_set, 2)->beat_ms), 77);
    gw_shared_set_reaped(child_set, 2, pid);
    assert_int_equal(gw_client_table_count(clients, addr), 1);
    assert_int_equal(gw_client_table_total(clients), 1);
    assert_int_equal(atomic_load(&gw_shared_set_board(child_set, 2)->state), GW_BOARD_GONE);
    assert_string_equal(gw_board_state_name(GW_BOARD_GONE), "gone");
    assert_string_equal(gw_board_state_name(99), "unknown");
    gw_board_clear(gw_shared_set_board(child_set, 2));
    assert_int_equal(atomic_load(&gw_shared_set_board(child_set, 2)->turns), 0);
    assert_int_equal(gw_client_table_inc(clients, addr, 4), GW_OK);
    gw_client_table_dec(clients, addr);
    gw_client_table_dec(clients, addr);
    gw_client_table_total_dec(clients);
    assert_int_equal(gw_client_table_count(clients, addr), 0);
    assert_int_equal(gw_client_table_total(clients), 0);
    assert_true(get_number(dict_of(child_set, "limits"), "child") == 1);
    gw_shared_set_free(child_set);
}

static void clients_are_told_apart_as_documented(void **state)
{
    static const struct {
        uint8_t a[16], b[16];
        bool same;
    } rows[] = {
        {{0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 9}, {0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 7, 7}, true},
        {{0x20, 1, 0xd, 0xb8, 0, 0, 0, 1}, {0x20, 1, 0xd, 0xb8, 0, 0, 0, 2}, false},
        {{[10] = 0xff, 0xff, 1, 2, 3, 4}, {[10] = 0xff, 0xff, 1, 2, 3, 5}, false},
        {{[10] = 0xff, 0xff, 0, 0, 0, 0}, {[15] = 1}, false}, /* 0.0.0.0 and ::1 */
        {{[15] = 0}, {[15] = 1}, true},
    };
    struct gw_shared_set *set = make(two, 1);
    struct gw_client_table *clients = gw_shared_set_clients(set);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(gw_client_table_inc(clients, rows[i].a, 1), GW_OK);
        assert_int_equal(gw_client_table_inc(clients, rows[i].b, 1),
                         rows[i].same ? GW_LIMIT : GW_OK);
        gw_client_table_dec(clients, rows[i].a);
        if (!rows[i].same)
            gw_client_table_dec(clients, rows[i].b);
    }
    gw_shared_set_free(set);
}

static void a_full_table_says_so_and_recovers(void **state)
{
    struct gw_shared_set *set = make(two, 1);
    struct gw_client_table *clients = gw_shared_set_clients(set);
    uint32_t held = 0, refused = 0;
    uint8_t addr[16] = {[10] = 0xff, [11] = 0xff};
    static bool in[GW_CLIENTS_MAX + 20000];

    for (uint32_t i = 0; i < sizeof in; i++) {
        enum gw_rc rc;

        memcpy(addr + 12, &i, 4);
        rc = gw_client_table_inc(clients, addr, 1);
        assert_true(rc == GW_OK || rc == GW_FULL);
        in[i] = rc == GW_OK;
        held += rc == GW_OK;
        refused += rc == GW_FULL;
    }
    assert_true(held <= GW_CLIENTS_MAX && held > GW_CLIENTS_MAX * 9 / 10 && refused >= 20000);
    for (uint32_t i = 0; i < sizeof in; i++) {
        memcpy(addr + 12, &i, 4);
        if (in[i])
            gw_client_table_dec(clients, addr);
    }
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t other = i + 1000000;

        memcpy(addr + 12, &other, 4);
        assert_int_equal(gw_client_table_inc(clients, addr, 1), GW_OK);
    }
    gw_client_table_reset_worker(clients, 0);
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t other = i + 1000000;

        memcpy(addr + 12, &other, 4);
        assert_int_equal(gw_client_table_count(clients, addr), 0);
    }
    gw_shared_set_free(set);
}

static void hold_a_lock(void *arg)
{
    if (gw_shared_set_adopt(child_set, NULL) != GW_OK)
        _exit(3);
    (void)!gw_lock_acquire(gw_dict_lock_at(dict_of(child_set, "limits"), 0),
                           gw_dict_zone(dict_of(child_set, "limits")));
    (void)!write(*(int *)arg, "h", 1);
    pause();
}

static void the_watchdog_finds_who_holds_a_lock_too_long(void **state)
{
    pid_t pid, found = 0;
    int pipes[2];
    char byte;

    child_set = make(two, 2);
    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    if (pid == 0) {
        hold_a_lock(&pipes[1]);
        _exit(0);
    }
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    assert_int_equal(gw_shared_set_stuck_owner(child_set, 1000, 500, &found), GW_NOT_FOUND);
    assert_int_equal(gw_shared_set_stuck_owner(child_set, 1499, 500, &found), GW_NOT_FOUND);
    assert_int_equal(gw_shared_set_stuck_owner(child_set, 1500, 500, &found), GW_OK);
    assert_int_equal(found, pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    gw_shared_set_reaped(child_set, 1, pid);
    assert_int_equal(gw_shared_set_stuck_owner(child_set, 2500, 500, &found), GW_NOT_FOUND);
    set_number(dict_of(child_set, "limits"), "k", 1); /* inherits */
    assert_int_equal(gw_shared_set_verify(child_set, NULL), GW_OK);
    /* A lock that is taken again and again is not one long hold. */
    for (int i = 0; i < 100; i++)
        set_number(dict_of(child_set, "limits"), "k", i);
    assert_int_equal(gw_shared_set_stuck_owner(child_set, 9000, 500, &found), GW_NOT_FOUND);
    close(pipes[0]);
    close(pipes[1]);
    gw_shared_set_free(child_set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zone_is_mapped_twice_and_grows_in_both),
        cmocka_unit_test(what_is_no_zone_is_refused),
        cmocka_unit_test(rows_of_dead_owners_are_used_again),
        cmocka_unit_test(too_many_living_owners_are_refused),
        cmocka_unit_test(the_lock_of_a_dead_owner_is_inherited),
        cmocka_unit_test(a_pid_that_lives_again_is_not_the_owner),
        cmocka_unit_test(a_zombie_is_dead),
        cmocka_unit_test(a_lock_has_one_owner_at_a_time),
        cmocka_unit_test(a_set_has_its_dictionaries_by_name),
        cmocka_unit_test(bad_rows_are_refused_and_change_nothing),
        cmocka_unit_test(reload_adds_grows_and_keeps),
        cmocka_unit_test(a_bad_hand_over_leaves_all_as_it_was),
        cmocka_unit_test(a_dead_workers_connections_are_taken_back),
        cmocka_unit_test(clients_are_told_apart_as_documented),
        cmocka_unit_test(a_full_table_says_so_and_recovers),
        cmocka_unit_test(the_watchdog_finds_who_holds_a_lock_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
