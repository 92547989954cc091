/* A process is killed at every store of a registration and of a new series; its heir finds
 * the thing there or not, all else as it was, and can go on. */
#define GW_SHM_CRASHPOINT

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* clang-format off */
#include "test/shm/crash_names.h"
#include "shm/txn.c"
#include "shm/lock.c"
#include "shm/zone.c"
#include "shm/metrics.c"
#include "shm/metrics_zone.c"
#include "shm/metrics_text.c"
/* clang-format on */

static uint64_t points, die_at;

void gw_shm_crashpoint(void)
{
    if (die_at != 0 && ++points == die_at)
        raise(SIGKILL);
}

static uint32_t define(struct gw_metrics *metrics, const char *name)
{
    struct gw_str labels[] = {GW_STR("k"), GW_STR("l")};
    static const double buckets[] = {0.1, 1};
    struct gw_metrics_def def = {.name = gw_str_c(name),
                                 .help = GW_STR("Help."),
                                 .type = GW_METRICS_HISTOGRAM,
                                 .labels = labels,
                                 .label_count = 2,
                                 .buckets = buckets,
                                 .bucket_count = 2,
                                 .series_max = 4};
    uint32_t id;

    assert_int_equal(gw_metrics_register(metrics, &def, &id, NULL), GW_OK);
    return id;
}

static void observe(struct gw_metrics *metrics, uint32_t id, const char *value, double number)
{
    struct gw_str values[] = {gw_str_c(value), GW_STR("same")};
    uint32_t slot;

    assert_int_equal(gw_metrics_series(metrics, id, values, 2, &slot), GW_OK);
    gw_metrics_observe(metrics, slot, number);
}

static void do_register(struct gw_metrics *metrics)
{
    define(metrics, "second");
}

static void do_series(struct gw_metrics *metrics)
{
    observe(metrics, 0, "new", 0.5);
}

static void do_series_other(struct gw_metrics *metrics)
{
    observe(metrics, 1, "e", 0.5);
}

static char *text_of(struct gw_metrics *metrics)
{
    struct gw_buf buf = GW_BUF_INIT;

    gw_metrics_render(metrics, &buf);
    gw_buf_add(&buf, "", 1);
    return buf.data;
}

static struct gw_metrics *make(void)
{
    struct gw_metrics *metrics = NULL;

    assert_int_equal(gw_metrics_create(&metrics, NULL), GW_OK);
    observe(metrics, define(metrics, "first"), "a", 0.5);
    define(metrics, "full");
    for (int i = 0; i < 4; i++)
        observe(metrics, 1, (const char *[]){"a", "b", "c", "d"}[i], 2);
    return metrics;
}

static bool kill_child_at(struct gw_metrics *metrics, void (*run)(struct gw_metrics *), uint64_t n)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (gw_zone_adopt(&metrics->zone, NULL) != GW_OK)
            _exit(3);
        gw_metrics_adopted(metrics);
        points = 0;
        die_at = n;
        run(metrics);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return true;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    return false;
}

/* All lines of the old text are there. New ones may be; numbers of old lines do not change. */
static void assert_old_lines(const char *old, const char *now)
{
    while (*old != '\0') {
        size_t len = strcspn(old, "\n") + 1;
        char *line = strndup(old, len);

        if (strstr(now, line) == NULL)
            fail_msg("lost: %s", line);
        free(line);
        old += len;
    }
}

static void every_store_may_be_the_last(void **state)
{
    static void (*const runs[])(struct gw_metrics *) = {do_register, do_series, do_series_other};

    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        bool died = true;
        uint64_t n;

        for (n = 1; died; n++) {
            struct gw_metrics *metrics = make();
            char *old = text_of(metrics), *now;
            struct gw_err err = {""};

            died = kill_child_at(metrics, runs[i], n);
            now = text_of(metrics); /* takes the lock over */
            if (gw_metrics_verify(metrics, &err) != GW_OK)
                fail_msg("store %llu: %s", (unsigned long long)n, err.text);
            assert_old_lines(old, now);
            runs[i](metrics);
            assert_int_equal(gw_metrics_verify(metrics, &err), GW_OK);
            free(old);
            free(now);
            gw_metrics_close(metrics);
        }
        print_message("change %zu: %llu stores\n", i, (unsigned long long)n - 2);
        assert_true(n > 15);
    }
}

static void scribble(struct gw_metrics *metrics)
{
    gw_metrics_acquire(metrics);
    metrics->head->slot[0].cell = 77; /* a stray write */
    raise(SIGKILL);
}

static void damaged_metrics_are_emptied(void **state)
{
    struct gw_metrics *metrics = make();
    char *text;

    gw_log_set_level(GW_LOG_ERROR + 1);
    assert_true(kill_child_at(metrics, scribble, 0));
    text = text_of(metrics);
    assert_string_equal(text, "");
    assert_int_equal(gw_metrics_verify(metrics, NULL), GW_OK);
    observe(metrics, define(metrics, "first"), "a", 0.5);
    free(text);
    text = text_of(metrics);
    assert_non_null(strstr(text, "first_count{k=\"a\",l=\"same\"} 1\n"));
    free(text);
    gw_metrics_close(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_store_may_be_the_last),
        cmocka_unit_test(damaged_metrics_are_emptied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
