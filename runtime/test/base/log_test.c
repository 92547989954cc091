#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"

static int old_stderr;
static int pipes[2];

/* Standard error becomes the writing end of a pipe that nobody empties. */
static int setup(void **state)
{
    old_stderr = dup(STDERR_FILENO);
    if (pipe(pipes) != 0 || dup2(pipes[1], STDERR_FILENO) < 0)
        return -1;
    close(pipes[1]);
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    gw_log_name("test");
    gw_log_close();
    return gw_log_open(NULL, GW_LOG_INFO, NULL) == GW_OK ? 0 : -1;
}

static int teardown(void **state)
{
    gw_log_close();
    dup2(old_stderr, STDERR_FILENO);
    close(old_stderr);
    close(pipes[0]);
    return 0;
}

static const char *hear(int fd)
{
    static char text[1 << 20];
    size_t len = 0;
    ssize_t got;

    while ((got = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    return text;
}

static void a_fact_is_a_line(void **state)
{
    const char *line;

    gw_info("generation %d: %s", 3, "12 routes");
    line = hear(pipes[0]);
    assert_int_equal(strlen(line), 24 + strlen(" info test: generation 3: 12 routes\n"));
    assert_string_equal(line + 24, " info test: generation 3: 12 routes\n");
}

static void control_bytes_make_no_lines(void **state)
{
    gw_info("a\nb\r\x1b[31m\x7f");
    assert_non_null(strstr(hear(pipes[0]), "a\\nb\\x0d\\x1b[31m\\x7f\n"));
}

static void what_is_below_the_level_is_not_said(void **state)
{
    gw_debug("secret");
    assert_string_equal(hear(pipes[0]), "");
    gw_log_set_level(GW_LOG_DEBUG);
    gw_debug("heard");
    assert_non_null(strstr(hear(pipes[0]), "debug test: heard\n"));
    gw_log_set_level(GW_LOG_INFO);
}

static void a_full_pipe_does_not_stop_us_and_is_told_later(void **state)
{
    uint64_t before = gw_log_lost(), began = gw_time_mono_ms();
    char expected[64];
    const char *text;

    for (int i = 0; i < 5000; i++)
        gw_info("a line that fills the pipe: %d", i);
    assert_true(gw_time_mono_ms() - began < 5000);
    assert_true(gw_log_lost() > before);
    snprintf(expected, sizeof(expected), "log: %llu lines could not be written",
             (unsigned long long)(gw_log_lost() - before));
    (void)hear(pipes[0]);
    gw_info("after");
    text = hear(pipes[0]);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "test: after\n"));
}

static void standard_error_itself_stays_blocking(void **state)
{
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
}

static void a_torn_line_does_not_swallow_the_next(void **state)
{
    char large[7000];
    const char *text, *after;

    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    for (int i = 0; i < 100; i++)
        gw_info("%s", large); /* longer than a pipe writes at once */
    (void)hear(pipes[0]);
    gw_info("after");
    text = hear(pipes[0]);
    after = strstr(text, "test: after\n");
    assert_non_null(after);
    after -= strlen("2026-11-21T00:36:12.123Z info ");
    assert_true(after == text || (after > text && after[-1] == '\n'));
}

static void a_socket_is_not_waited_for(void **state)
{
    uint64_t before = gw_log_lost(), began = gw_time_mono_ms();
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    gw_log_set_fd(ends[0]);
    for (int i = 0; i < 20000; i++)
        gw_info("a line that fills the socket: %d", i);
    assert_true(gw_time_mono_ms() - began < 5000);
    assert_true(gw_log_lost() > before);
    gw_log_close();
    close(ends[1]);
}

static void a_file_is_opened_again(void **state)
{
    char name[] = "/tmp/moongate-log-XXXXXX", moved[64];
    struct gw_err err;
    int fd = mkstemp(name), rotated;

    assert_int_equal(gw_log_open(name, GW_LOG_INFO, &err), GW_OK);
    gw_info("one");
    snprintf(moved, sizeof(moved), "%s.1", name);
    assert_int_equal(rename(name, moved), 0);
    gw_info("two");
    assert_int_equal(gw_log_reopen(&err), GW_OK);
    gw_info("three");
    assert_non_null(strstr(hear(fd), "two\n"));
    rotated = open(name, O_RDONLY);
    assert_non_null(strstr(hear(rotated), "three\n"));
    close(fd);
    close(rotated);
    unlink(name);
    unlink(moved);
    assert_int_equal(gw_log_open("/nonexistent/log", GW_LOG_INFO, &err), GW_SYSTEM);
    assert_non_null(strstr(err.text, "/nonexistent/log"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_fact_is_a_line),
        T(control_bytes_make_no_lines),
        T(what_is_below_the_level_is_not_said),
        T(a_full_pipe_does_not_stop_us_and_is_told_later),
        T(standard_error_itself_stays_blocking),
        T(a_torn_line_does_not_swallow_the_next),
        T(a_socket_is_not_waited_for),
        T(a_file_is_opened_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
