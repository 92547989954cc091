/* Several processes do everything at once to the same dictionaries while some of them are
 * killed at moments of chance. Texts say by themselves whether they are whole; counters are
 * compared with what was counted outside. */
#include <math.h>
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
#include "shm/dict.h"

#define WORKERS 4
#define KEYS 300
#define LAST_MS 4000
#define T0 1700000000000ull

struct tally {
    _Atomic uint64_t begun;
    _Atomic uint64_t done;
    _Atomic uint64_t faults; /* a value that no call has stored */
    _Atomic uint64_t calls;
};

static struct gw_dict *evicting, *never;
static struct tally *tallies;

static uint64_t chance_next(uint64_t *chance)
{
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    return *chance;
}

/* A text that begins with the key's number and is of one letter that its length fixes. */
static size_t text_make(char *out, uint32_t number, uint32_t chance)
{
    size_t len = 8 + chance % 700;

    memset(out, 'a' + (int)(len % 26), len);
    memcpy(out, &number, sizeof number);
    memcpy(out + 4, &number, sizeof number);
    return len;
}

static bool text_whole(const char *text, size_t len, uint32_t number)
{
    if (len < 8 || memcmp(text, &number, 4) != 0 || memcmp(text + 4, &number, 4) != 0)
        return false;
    for (size_t i = 8; i < len; i++) {
        if (text[i] != 'a' + (int)(len % 26))
            return false;
    }
    return true;
}

static void call_text(struct tally *tally, uint32_t number, uint32_t chance, uint64_t now)
{
    char key[16], data[1024];
    size_t len = (size_t)snprintf(key, sizeof key, "text%u", number);
    struct gw_dict_value value = {.type = GW_DICT_STRING, .data = data, .size = sizeof data};
    enum gw_rc rc;

    if (chance % 3 == 0) {
        value.len = text_make(data, number, chance >> 3);
        value.ttl_ms = chance % 2 ? 0 : chance % 20 + 1;
        rc = gw_dict_set(evicting, key, len, now, GW_DICT_SET, &value);
        if (rc != GW_OK)
            tally->faults++;
        return;
    }
    rc = gw_dict_get(evicting, key, len, now, &value);
    if (rc != GW_NOT_FOUND && (rc != GW_OK || !text_whole(data, value.len, number)))
        tally->faults++;
}

static void call_list(struct tally *tally, uint32_t number, uint32_t chance, uint64_t now)
{
    char key[16], data[1024];
    size_t len = (size_t)snprintf(key, sizeof key, "list%u", number % 8);
    struct gw_dict_value value = {.type = GW_DICT_STRING, .data = data, .size = sizeof data};
    uint32_t count;
    enum gw_rc rc;

    number %= 8;
    if (chance % 2 == 0) {
        value.len = text_make(data, number, chance >> 3);
        rc = chance % 4 ? gw_dict_lpush(evicting, key, len, now, &value, &count)
                        : gw_dict_rpush(evicting, key, len, now, &value, &count);
        if (rc != GW_OK)
            tally->faults++;
        return;
    }
    rc = chance % 4 == 1 ? gw_dict_lpop(evicting, key, len, now, &value)
                         : gw_dict_rpop(evicting, key, len, now, &value);
    if (rc != GW_NOT_FOUND && (rc != GW_OK || !text_whole(data, value.len, number)))
        tally->faults++;
}

static void call_limits(struct tally *tally, uint32_t number, uint32_t chance, uint64_t now)
{
    char key[16];
    size_t len = (size_t)snprintf(key, sizeof key, "limit%u", number);
    struct gw_dict_take take = {.rate = 100, .burst = 10, .cost = 1};
    struct gw_dict_hit hit = {.limit = 50, .window_ms = 300};
    enum gw_rc rc;

    if (number % 2) {
        rc = gw_dict_take(evicting, key, len, now, &take);
        if (rc != GW_OK || take.remaining < 0 || take.remaining > 10)
            tally->faults++;
    } else {
        rc = gw_dict_hit(evicting, key, len, now, &hit);
        if (rc != GW_OK || hit.count > 50)
            tally->faults++;
    }
    if (chance % 64 == 0)
        (void)!gw_dict_delete(evicting, key, len, now);
}

static void call_counter(struct tally *tally, uint32_t worker)
{
    char key[16];
    size_t len = (size_t)snprintf(key, sizeof key, "count%u", worker);
    struct gw_dict_incr incr = {.by = 1, .init = 0};

    tally->begun++;
    if (gw_dict_incr(never, key, len, T0, &incr) != GW_OK)
        tally->faults++;
    tally->done++;
}

static void call_rare(uint32_t chance, uint64_t now)
{
    struct gw_buf buf = GW_BUF_INIT;
    uint32_t count;

    if (chance % 50 == 0)
        (void)!gw_dict_flush(evicting);
    else if (chance % 5 == 0)
        (void)!gw_dict_keys(evicting, now, 20, &buf, &count);
    else
        (void)!gw_dict_flush_expired(evicting, now, 5, &count);
    gw_buf_fini(&buf);
}

static void work(uint32_t worker, uint64_t seed)
{
    struct tally *tally = &tallies[worker];
    uint64_t chance = seed * 0x9e3779b97f4a7c15ull + 1;

    if (gw_zone_adopt(gw_dict_zone(evicting), NULL) != GW_OK ||
        gw_zone_adopt(gw_dict_zone(never), NULL) != GW_OK)
        _exit(3);
    for (;;) {
        uint32_t draw = (uint32_t)(chance_next(&chance) >> 16);
        uint32_t number = (draw >> 8) % KEYS, more = (uint32_t)(chance >> 40);
        uint64_t now = T0 + gw_time_mono_ms();

        switch (draw % 8) {
        case 0:
        case 1:
        case 2:
            call_text(tally, number, more, now);
            break;
        case 3:
            call_list(tally, number, more, now);
            break;
        case 4:
        case 5:
            call_limits(tally, number, more, now);
            break;
        case 6:
            call_counter(tally, worker);
            break;
        default:
            if (more % 100 == 0)
                call_rare(more / 100, now);
        }
        tally->calls++;
    }
}

static pid_t start(uint32_t worker, uint64_t seed)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        work(worker, seed);
    return pid;
}

static void end(pid_t pid, bool tell)
{
    int status;

    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* not by a crash of its own */
    if (!tell)
        return; /* the others must find out by themselves */
    gw_zone_owner_gone(gw_dict_zone(evicting), pid);
    gw_zone_owner_gone(gw_dict_zone(never), pid);
}

static void nothing_is_lost_when_workers_die(void **state)
{
    struct gw_err err = {""};
    struct gw_dict_stats stats;
    pid_t pids[WORKERS];
    uint64_t deaths[WORKERS] = {0}, began = gw_time_mono_ms(), chance = 42, calls = 0, all = 0;

    assert_int_equal(gw_dict_create(GW_STR("evicting"), 128 << 10, false, &evicting, &err), GW_OK);
    assert_int_equal(gw_dict_create(GW_STR("never"), 64 << 10, true, &never, &err), GW_OK);
    tallies = mmap(NULL, sizeof *tallies * WORKERS, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (uint32_t i = 0; i < WORKERS; i++)
        pids[i] = start(i, i + 1);
    while (gw_time_mono_ms() - began < LAST_MS) {
        uint32_t victim = (uint32_t)(chance_next(&chance) % WORKERS);
        struct timespec pause = {.tv_nsec = (long)(chance >> 20) % 20000000};

        nanosleep(&pause, NULL);
        end(pids[victim], chance % 2);
        deaths[victim]++;
        all++;
        pids[victim] = start(victim, chance);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        end(pids[i], true);
        deaths[i]++;
    }
    if (gw_dict_verify(evicting, &err) != GW_OK || gw_dict_verify(never, &err) != GW_OK)
        fail_msg("%s", err.text);
    for (uint32_t i = 0; i < WORKERS; i++) {
        char key[16];
        struct gw_dict_value value;

        snprintf(key, sizeof key, "count%u", i);
        assert_int_equal(gw_dict_get(never, key, strlen(key), T0, &value), GW_OK);
        /* All that was said to be done is done; each death leaves at most one in doubt. */
        assert_true(value.number >= (double)tallies[i].done);
        assert_true(value.number <= (double)tallies[i].done + (double)deaths[i]);
        assert_int_equal(tallies[i].faults, 0);
        calls += tallies[i].calls;
    }
    gw_dict_stats(evicting, &stats);
    print_message("%llu calls, %llu deaths, %llu locks inherited, %llu evicted, %llu expired\n",
                  (unsigned long long)calls, (unsigned long long)all,
                  (unsigned long long)stats.inherited, (unsigned long long)stats.evicted,
                  (unsigned long long)stats.expired);
    assert_int_equal(stats.reset, 0);
    assert_true(calls > 10000);
    assert_true(stats.inherited > 0 && stats.evicted > 0 && stats.expired > 0);
    gw_dict_close(evicting);
    gw_dict_close(never);
    munmap(tallies, sizeof *tallies * WORKERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_when_workers_die),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
