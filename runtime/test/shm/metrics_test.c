#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shm/metrics.h"

static struct gw_metrics *make(void)
{
    struct gw_metrics *metrics;
    struct gw_err err = {""};

    if (gw_metrics_create(&metrics, &err) != GW_OK)
        fail_msg("%s", err.text);
    return metrics;
}

static void done(struct gw_metrics *metrics)
{
    struct gw_err err = {""};

    if (gw_metrics_verify(metrics, &err) != GW_OK)
        fail_msg("%s", err.text);
    gw_metrics_close(metrics);
}

static enum gw_rc try_define(struct gw_metrics *metrics, const char *name, uint32_t type,
                             const char *label, uint32_t *id)
{
    struct gw_str labels[1] = {gw_str_c(label != NULL ? label : "")};
    static const double buckets[] = {0.005, 0.1, 1, 2.5};
    struct gw_metrics_def def = {
        .name = gw_str_c(name),
        .help = GW_STR("Help."),
        .type = type,
        .labels = labels,
        .label_count = label != NULL,
        .buckets = buckets,
        .bucket_count = type == GW_METRICS_HISTOGRAM ? 4 : 0,
    };

    return gw_metrics_register(metrics, &def, id, NULL);
}

static uint32_t define(struct gw_metrics *metrics, const char *name, uint32_t type,
                       const char *label)
{
    uint32_t id;

    assert_int_equal(try_define(metrics, name, type, label, &id), GW_OK);
    return id;
}

static uint32_t slot_of(struct gw_metrics *metrics, uint32_t id, const char *value)
{
    struct gw_str values[1] = {gw_str_c(value != NULL ? value : "")};
    uint32_t slot;

    assert_int_equal(gw_metrics_series(metrics, id, values, value != NULL, &slot), GW_OK);
    return slot;
}

static char *text_of(struct gw_metrics *metrics)
{
    struct gw_buf buf = GW_BUF_INIT;

    gw_metrics_render(metrics, &buf);
    gw_buf_add(&buf, "", 1);
    return buf.data;
}

static void the_text_is_exact(void **state)
{
    struct gw_metrics *metrics = make();
    uint32_t requests = define(metrics, "requests_total", GW_METRICS_COUNTER, "route");
    uint32_t open = define(metrics, "open_now", GW_METRICS_GAUGE, NULL);
    uint32_t seconds = define(metrics, "latency_seconds", GW_METRICS_HISTOGRAM, "route");
    uint32_t h = slot_of(metrics, seconds, "a");
    char *text;

    gw_metrics_add(metrics, slot_of(metrics, requests, "b"), 2);
    gw_metrics_add(metrics, slot_of(metrics, requests, "a\"\\\n"), 0.5);
    gw_metrics_set(metrics, slot_of(metrics, open, NULL), -3);
    gw_metrics_observe(metrics, h, 0.005); /* a bound belongs to its bucket */
    gw_metrics_observe(metrics, h, 0.006);
    gw_metrics_observe(metrics, h, 2.5);
    gw_metrics_observe(metrics, h, 100);
    text = text_of(metrics);
    assert_string_equal(text, "# HELP latency_seconds Help.\n"
                              "# TYPE latency_seconds histogram\n"
                              "latency_seconds_bucket{route=\"a\",le=\"0.005\"} 1\n"
                              "latency_seconds_bucket{route=\"a\",le=\"0.1\"} 2\n"
                              "latency_seconds_bucket{route=\"a\",le=\"1\"} 2\n"
                              "latency_seconds_bucket{route=\"a\",le=\"2.5\"} 3\n"
                              "latency_seconds_bucket{route=\"a\",le=\"+Inf\"} 4\n"
                              "latency_seconds_sum{route=\"a\"} 102.511\n"
                              "latency_seconds_count{route=\"a\"} 4\n"
                              "# HELP open_now Help.\n"
                              "# TYPE open_now gauge\n"
                              "open_now -3\n"
                              "# HELP requests_total Help.\n"
                              "# TYPE requests_total counter\n"
                              "requests_total{route=\"a\\\"\\\\\\n\"} 0.5\n"
                              "requests_total{route=\"b\"} 2\n");
    free(text);
    done(metrics);
}

static void the_same_gives_the_same_id_and_the_other_is_refused(void **state)
{
    struct gw_metrics *metrics = make();
    uint32_t id = define(metrics, "a_total", GW_METRICS_COUNTER, "x"), other;

    assert_int_equal(define(metrics, "a_total", GW_METRICS_COUNTER, "x"), id);
    assert_int_equal(try_define(metrics, "a_total", GW_METRICS_GAUGE, "x", &other), GW_EXISTS);
    assert_int_equal(try_define(metrics, "a_total", GW_METRICS_COUNTER, "y", &other), GW_EXISTS);
    assert_int_equal(try_define(metrics, "a_total", GW_METRICS_COUNTER, NULL, &other), GW_EXISTS);
    assert_int_not_equal(define(metrics, "a_totals", GW_METRICS_COUNTER, "x"), id);
    define(metrics, "h", GW_METRICS_HISTOGRAM, NULL);
    assert_int_equal(try_define(metrics, "h_count", GW_METRICS_COUNTER, NULL, &other), GW_EXISTS);
    define(metrics, "g_sum", GW_METRICS_COUNTER, NULL);
    assert_int_equal(try_define(metrics, "g", GW_METRICS_HISTOGRAM, NULL, &other), GW_EXISTS);
    assert_int_equal(
        try_define(metrics, "moongate_metric_series_lost_total", GW_METRICS_COUNTER, NULL, &other),
        GW_EXISTS);
    assert_int_equal(slot_of(metrics, id, "1"), slot_of(metrics, id, "1"));
    assert_int_not_equal(slot_of(metrics, id, "1"), slot_of(metrics, id, "2"));
    done(metrics);
}

static void wrong_names_and_buckets_are_refused(void **state)
{
    static const char *const names[] = {"", "1a", "a-b", "a b", "\xc3\xa4"};
    static const char *const labels[] = {"", "1a", "a:b", "le", "__name"};
    static const double falling[] = {1, 1}, endless[] = {1, INFINITY};
    struct gw_metrics *metrics = make();
    struct gw_str twice[] = {GW_STR("a"), GW_STR("a")};
    struct gw_str values[2] = {GW_STR("a"), GW_STR("b")};
    struct gw_metrics_def def = {.name = GW_STR("x"), .type = GW_METRICS_HISTOGRAM};
    struct gw_err err;
    uint32_t id, slot;

    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(try_define(metrics, names[i], GW_METRICS_GAUGE, NULL, &id), GW_INVALID);
        assert_int_equal(try_define(metrics, "x", GW_METRICS_GAUGE, labels[i], &id), GW_INVALID);
    }
    assert_int_equal(try_define(metrics, "x", 0, NULL, &id), GW_INVALID);
    assert_int_equal(try_define(metrics, "x", 9, NULL, &id), GW_INVALID);
    def.buckets = falling;
    def.bucket_count = 2;
    assert_int_equal(gw_metrics_register(metrics, &def, &id, &err), GW_INVALID);
    def.buckets = endless;
    assert_int_equal(gw_metrics_register(metrics, &def, &id, &err), GW_INVALID);
    assert_non_null(strstr(err.text, "buckets"));
    def.type = GW_METRICS_COUNTER;
    assert_int_equal(gw_metrics_register(metrics, &def, &id, &err), GW_INVALID);
    def.bucket_count = 0;
    def.labels = twice;
    def.label_count = 2;
    assert_int_equal(gw_metrics_register(metrics, &def, &id, &err), GW_INVALID);
    id = define(metrics, "x", GW_METRICS_COUNTER, "a");
    assert_int_equal(gw_metrics_series(metrics, id, values, 2, &slot), GW_INVALID);
    assert_int_equal(gw_metrics_series(metrics, id + 1, values, 1, &slot), GW_NOT_FOUND);
    assert_int_equal(gw_metrics_series(metrics, UINT32_MAX, values, 1, &slot), GW_NOT_FOUND);
    assert_int_equal(gw_metrics_series(metrics, id, values, 99, &slot), GW_INVALID);
    done(metrics);
}

static void wrong_calls_change_nothing(void **state)
{
    struct gw_metrics *metrics = make();
    uint32_t c = slot_of(metrics, define(metrics, "c_total", GW_METRICS_COUNTER, NULL), NULL);
    uint32_t g = slot_of(metrics, define(metrics, "g", GW_METRICS_GAUGE, NULL), NULL);
    uint32_t h = slot_of(metrics, define(metrics, "h", GW_METRICS_HISTOGRAM, NULL), NULL);

    gw_metrics_add(metrics, c, 1);
    gw_metrics_add(metrics, c, -1);
    gw_metrics_add(metrics, c, NAN);
    gw_metrics_set(metrics, c, 9);
    gw_metrics_observe(metrics, c, 9);
    gw_metrics_add(metrics, h, 9);
    gw_metrics_set(metrics, h, 9);
    gw_metrics_observe(metrics, h, NAN);
    gw_metrics_add(metrics, 12345, 9);
    gw_metrics_set(metrics, UINT32_MAX, 9);
    gw_metrics_observe(metrics, 12345, 9);
    gw_metrics_add(metrics, g, 5);
    gw_metrics_add(metrics, g, -7);
    assert_true(gw_metrics_value(metrics, c) == 1);
    assert_true(gw_metrics_value(metrics, g) == -2);
    assert_true(gw_metrics_value(metrics, h) == 0);
    assert_true(gw_metrics_value(metrics, 12345) == 0);
    done(metrics);
}

static void series_over_the_limit_are_counted_as_other(void **state)
{
    struct gw_metrics *metrics = make();
    struct gw_str label = GW_STR("k"), value;
    struct gw_metrics_def def = {.name = GW_STR("m_total"),
                                 .type = GW_METRICS_COUNTER,
                                 .labels = &label,
                                 .label_count = 1,
                                 .series_max = 3};
    uint32_t id, slot, other = 0;
    char *text;

    assert_int_equal(gw_metrics_register(metrics, &def, &id, NULL), GW_OK);
    for (int i = 0; i < 10; i++) {
        char name[8];

        snprintf(name, sizeof name, "v%d", i);
        value = gw_str_c(name);
        assert_int_equal(gw_metrics_series(metrics, id, &value, 1, &slot), GW_OK);
        gw_metrics_add(metrics, slot, 1);
        if (i == 3)
            other = slot;
        if (i > 3)
            assert_int_equal(slot, other);
    }
    value = GW_STR("other"); /* whoever asks for it by name gets the same, not a second line */
    assert_int_equal(gw_metrics_series(metrics, id, &value, 1, &slot), GW_OK);
    assert_int_equal(slot, other);
    text = text_of(metrics);
    assert_non_null(strstr(text, "m_total{k=\"other\"} 7\n"));
    assert_non_null(strstr(text, "m_total{k=\"v2\"} 1\n"));
    assert_null(strstr(text, "v3"));
    assert_non_null(strstr(text, "moongate_metric_series_lost_total{metric=\"m_total\"} 7\n"));
    free(text);
    done(metrics);
}

static void label_values_become_sound_utf8(void **state)
{
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } rows[] = {
        {"gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f"},
        {"a\xff", 2, "a\xef\xbf\xbd"},
        {"\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
        {"\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* half of a pair */
        {"x\0y", 3, "x\xef\xbf\xbdy"},
        {"\xe2\x82", 2, "\xef\xbf\xbd\xef\xbf\xbd"}, /* cut */
        {"\xf0\x9f\x8c\x99", 4, "\xf0\x9f\x8c\x99"},
    };
    struct gw_metrics *metrics = make();
    uint32_t id = define(metrics, "m", GW_METRICS_GAUGE, "k"), slot;
    char large[1000], line[64], *text;
    struct gw_str value = {large, sizeof large};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gw_str in = {rows[i].in, rows[i].len};

        assert_int_equal(gw_metrics_series(metrics, id, &in, 1, &slot), GW_OK);
        text = text_of(metrics);
        snprintf(line, sizeof line, "m{k=\"%s\"} 0\n", rows[i].out);
        assert_non_null(strstr(text, line));
        free(text);
    }
    /* Longer than the limit: cut, and not inside a character of two bytes. */
    large[0] = 'x';
    for (size_t i = 1; i + 1 < sizeof large; i += 2)
        memcpy(large + i, "\xc3\xbc", 2);
    value.len = 999;
    assert_int_equal(gw_metrics_series(metrics, id, &value, 1, &slot), GW_OK);
    text = text_of(metrics);
    assert_non_null(strstr(text, "\xc3\xbc\"} 0\n"));
    assert_true(strlen(strstr(text, "m{k=\"x\xc3")) >= GW_METRICS_LABEL_BYTES_MAX - 1);
    free(text);
    done(metrics);
}

static void numbers_read_back_as_they_were(void **state)
{
    static const struct {
        double number;
        const char *text;
    } rows[] = {{0.1, "m 0.1\n"},       {1e15, "m 1000000000000000\n"},
                {1e300, "m 1e+300\n"},  {0.1 + 0.2, "m 0.30000000000000004\n"},
                {INFINITY, "m +Inf\n"}, {-INFINITY, "m -Inf\n"},
                {-0.5, "m -0.5\n"}};
    struct gw_metrics *metrics = make();
    uint32_t slot = slot_of(metrics, define(metrics, "m", GW_METRICS_GAUGE, NULL), NULL);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text;

        gw_metrics_set(metrics, slot, rows[i].number);
        text = text_of(metrics);
        assert_non_null(strstr(text, rows[i].text));
        free(text);
    }
    done(metrics);
}

/* Everything of a page that a process asks another one's view for. */
static void processes_add_up_and_parts_end_with_theirs(void **state)
{
    struct gw_metrics *metrics = make();
    uint32_t c = slot_of(metrics, define(metrics, "c_total", GW_METRICS_COUNTER, NULL), NULL);
    uint32_t s = slot_of(metrics, define(metrics, "s", GW_METRICS_GAUGE_SUM, NULL), NULL);
    uint32_t g = slot_of(metrics, define(metrics, "g", GW_METRICS_GAUGE, NULL), NULL);
    int ready[2], status;
    char byte;
    pid_t pids[3];

    assert_int_equal(pipe(ready), 0);
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            if (gw_zone_adopt(gw_metrics_zone(metrics), NULL) != GW_OK)
                _exit(3);
            gw_metrics_adopted(metrics);
            for (int j = 0; j < 100000; j++)
                gw_metrics_add(metrics, c, 1);
            gw_metrics_set(metrics, s, 10);
            for (int j = 0; j < 1000; j++)
                gw_metrics_add(metrics, g, 1);
            (void)!write(ready[1], "r", 1);
            pause();
            _exit(0);
        }
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(read(ready[0], &byte, 1), 1);
    gw_metrics_add(metrics, c, 1);
    gw_metrics_set(metrics, s, 5);
    assert_true(gw_metrics_value(metrics, c) == 300001);
    assert_true(gw_metrics_value(metrics, s) == 35);
    assert_true(gw_metrics_value(metrics, g) == 3000);
    for (int i = 0; i < 3; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], &status, 0);
    }
    assert_true(gw_metrics_value(metrics, c) == 300001);
    assert_true(gw_metrics_value(metrics, s) == 5);
    assert_true(gw_metrics_value(metrics, g) == 3000);
    close(ready[0]);
    close(ready[1]);
    done(metrics);
}

static void another_process_finds_the_same_ids(void **state)
{
    struct gw_metrics *metrics = make(), *other;
    uint32_t id = define(metrics, "a_total", GW_METRICS_COUNTER, "x");

    gw_metrics_add(metrics, slot_of(metrics, id, "1"), 4);
    assert_int_equal(gw_metrics_open(dup(gw_metrics_zone(metrics)->fd), &other, NULL), GW_OK);
    assert_int_equal(define(other, "a_total", GW_METRICS_COUNTER, "x"), id);
    gw_metrics_add(other, slot_of(other, id, "1"), 3);
    assert_true(gw_metrics_value(metrics, slot_of(metrics, id, "1")) == 7);
    gw_metrics_close(other);
    done(metrics);
}

static void promtool_accepts_the_text(void **state)
{
    struct gw_metrics *metrics = make();
    uint32_t requests = define(metrics, "gw_requests_total", GW_METRICS_COUNTER, "route");
    uint32_t seconds = define(metrics, "gw_latency_seconds", GW_METRICS_HISTOGRAM, "route");
    struct gw_str label = GW_STR("k"), value = GW_STR("v");
    struct gw_metrics_def def = {.name = GW_STR("gw_limited_total"),
                                 .help = GW_STR("Back\\slash\nand line.\xff"),
                                 .type = GW_METRICS_COUNTER,
                                 .labels = &label,
                                 .label_count = 1,
                                 .series_max = 1};
    uint32_t id, slot;
    char *text;
    FILE *tool;

    if (system("command -v promtool >/dev/null 2>&1") != 0) {
        print_message("promtool is not installed\n");
        gw_metrics_close(metrics);
        skip();
    }
    gw_metrics_add(metrics, slot_of(metrics, requests, "gr\xfc\"ss\\\n"), 1e20);
    gw_metrics_observe(metrics, slot_of(metrics, seconds, "a"), 0.3);
    gw_metrics_observe(metrics, slot_of(metrics, seconds, "b"), -1);
    gw_metrics_set(metrics,
                   slot_of(metrics, define(metrics, "gw_open", GW_METRICS_GAUGE, NULL), NULL),
                   -INFINITY);
    assert_int_equal(gw_metrics_register(metrics, &def, &id, NULL), GW_OK);
    for (int i = 0; i < 3; i++) {
        value.data = &"vwx"[i];
        assert_int_equal(gw_metrics_series(metrics, id, &value, 1, &slot), GW_OK);
    }
    text = text_of(metrics);
    tool = popen("promtool check metrics", "w");
    assert_non_null(tool);
    fputs(text, tool);
    if (pclose(tool) != 0)
        fail_msg("promtool refuses:\n%s", text);
    free(text);
    done(metrics);
}

static void full_is_said_and_leaves_all_sound(void **state)
{
    struct gw_metrics *metrics = make();
    uint32_t id = 0, slot, made = 0;
    enum gw_rc rc = GW_OK;

    for (uint32_t i = 0; rc == GW_OK && i < GW_METRICS_MAX + 1; i++, made++) {
        char name[16];

        snprintf(name, sizeof name, "m%u", i);
        rc = try_define(metrics, name, GW_METRICS_HISTOGRAM, "k", &id);
    }
    assert_int_equal(rc, GW_FULL);
    assert_int_equal(made - 1, GW_METRICS_MAX);
    rc = GW_OK;
    for (uint32_t i = 0; rc == GW_OK; i++) {
        char text[16];
        struct gw_str value = {text, 0};

        value.len = (size_t)snprintf(text, sizeof text, "v%u", i);
        rc = gw_metrics_series(metrics, i / 500 % GW_METRICS_MAX, &value, 1, &slot);
        gw_metrics_observe(metrics, slot, 1);
    }
    assert_int_equal(rc, GW_FULL);
    done(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_is_exact),
        cmocka_unit_test(the_same_gives_the_same_id_and_the_other_is_refused),
        cmocka_unit_test(wrong_names_and_buckets_are_refused),
        cmocka_unit_test(wrong_calls_change_nothing),
        cmocka_unit_test(series_over_the_limit_are_counted_as_other),
        cmocka_unit_test(label_values_become_sound_utf8),
        cmocka_unit_test(numbers_read_back_as_they_were),
        cmocka_unit_test(processes_add_up_and_parts_end_with_theirs),
        cmocka_unit_test(another_process_finds_the_same_ids),
        cmocka_unit_test(promtool_accepts_the_text),
        cmocka_unit_test(full_is_said_and_leaves_all_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
