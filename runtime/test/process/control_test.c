#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "process/control.h"

static char dir[128];
static char path[512];
static struct gw_loop *loop;
static struct gw_control *control;
static uint64_t waiting; /* the client that asked for "later" */
static int asked;

static void on_command(void *arg, uint64_t client, struct gw_str command,
                       const struct gw_json *request)
{
    asked++;
    if (gw_str_eq(command, GW_STR("later"))) {
        waiting = client;
    } else if (gw_str_eq(command, GW_STR("big"))) {
        char *text = malloc(1 << 20);
        memset(text, 'x', 1 << 20);
        gw_control_answer(control, client, gw_str(text, 1 << 20));
        free(text);
    } else {
        gw_control_answer(control, client, command);
    }
}

static int open_control(void)
{
    struct gw_err err;
    int lock = -1;

    if (gw_control_lock(path, &lock, &err) != GW_OK ||
        gw_control_open(loop, path, lock, on_command, NULL, &control, &err) != GW_OK) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    return 0;
}

static int setup(void **state)
{
    strcpy(dir, "/tmp/moongate-control-XXXXXX");
    if (mkdtemp(dir) == NULL || gw_loop_new(&loop) != GW_OK)
        return -1;
    snprintf(path, sizeof(path), "%s/run/moongate.sock", dir);
    asked = 0;
    waiting = 0;
    return open_control();
}

static int teardown(void **state)
{
    char command[256];

    gw_control_close(control);
    control = NULL;
    gw_loop_free(loop);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static int dial(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_usec = 20000};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    assert_int_equal(gw_control_connect(fd, path), 0);
    return fd;
}

static void turns(void)
{
    for (int i = 0; i < 5; i++)
        gw_loop_turn(loop, 0);
}

/* What came, or "" for nothing yet, or "EOF". */
static const char *hear(int fd)
{
    static char text[8192];
    ssize_t got = recv(fd, text, sizeof(text) - 1, 0);

    if (got == 0 || (got < 0 && errno == ECONNRESET))
        return "EOF";
    text[got > 0 ? got : 0] = '\0';
    return text;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    turns();
}

static void answers_line_by_line(void **state)
{
    int fd = dial();

    say(fd, "{\"command\":\"a\"}\n{\"command\":\"b\"}\n{\"comm");
    assert_string_equal(hear(fd), "a\nb\n");
    say(fd, "and\":\"c\"}\n");
    assert_string_equal(hear(fd), "c\n");
    close(fd);
    turns();
}

static void says_what_is_wrong_and_goes_on(void **state)
{
    int fd = dial();

    say(fd, "nonsense\n");
    assert_non_null(strstr(hear(fd), "\"ok\":false"));
    say(fd, "{\"other\":1}\n");
    assert_non_null(strstr(hear(fd), "\\\"command\\\" is missing"));
    say(fd, "[]\n");
    assert_non_null(strstr(hear(fd), "\"ok\":false"));
    say(fd, "{\"command\":\"x\"}\n");
    assert_string_equal(hear(fd), "x\n");
    close(fd);
    turns();
}

static void closes_on_a_line_without_end(void **state)
{
    char line[GW_CONTROL_LINE_MAX + 2];
    int fd = dial();

    memset(line, 'y', sizeof(line));
    line[sizeof(line) - 1] = '\0';
    say(fd, line);
    turns();
    assert_string_equal(hear(fd), "EOF");
    assert_int_equal(asked, 0);
    close(fd);
}

static void answers_later_even_after_half_close(void **state)
{
    int fd = dial();

    say(fd, "{\"command\":\"later\"}\n");
    shutdown(fd, SHUT_WR);
    turns();
    assert_string_equal(hear(fd), "");
    gw_control_answer(control, waiting, GW_STR("done"));
    assert_string_equal(hear(fd), "done\n");
    turns();
    assert_string_equal(hear(fd), "EOF");
    close(fd);
}

static void a_client_that_left_is_no_error(void **state)
{
    int fd = dial();

    say(fd, "{\"command\":\"later\"}\n");
    close(fd);
    turns();
    gw_control_answer(control, waiting, GW_STR("done"));
    gw_control_answer(control, 12345, GW_STR("nobody"));
    turns();
}

static void a_client_that_takes_nothing_is_dropped(void **state)
{
    int fd = dial(), other;

    say(fd, "{\"command\":\"big\"}\n");
    gw_loop_advance(loop, 11000);
    turns();
    other = dial();
    say(other, "{\"command\":\"ok\"}\n");
    assert_string_equal(hear(other), "ok\n");
    for (int i = 0; i < 1000 && strcmp(hear(fd), "EOF") != 0; i++)
        assert_true(i < 999);
    close(fd);
    close(other);
    turns();
}

static void only_so_many_at_a_time(void **state)
{
    int fds[GW_CONTROL_CLIENTS_MAX], more;

    for (int i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
        fds[i] = dial();
        turns();
    }
    for (int i = 0; i < GW_CONTROL_CLIENTS_MAX; i++)
        turns();
    more = dial();
    turns();
    assert_string_equal(hear(more), "EOF");
    close(more);
    close(fds[0]);
    turns();
    more = dial();
    say(more, "{\"command\":\"in\"}\n");
    assert_string_equal(hear(more), "in\n");
    for (int i = 1; i < GW_CONTROL_CLIENTS_MAX; i++)
        close(fds[i]);
    close(more);
    turns();
}

static void a_second_gateway_is_refused(void **state)
{
    struct gw_err err;
    char pid[32];
    int lock = -1;

    assert_int_equal(gw_control_lock(path, &lock, &err), GW_BUSY);
    snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
    assert_non_null(strstr(err.text, pid));
    assert_int_equal(lock, -1);
}

static void a_socket_left_over_by_a_dead_one_is_no_hindrance(void **state)
{
    int left, fd;

    gw_control_close(control);
    control = NULL;
    left = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(gw_control_bind(left, path), 0);
    close(left);
    assert_int_equal(open_control(), 0);
    fd = dial();
    say(fd, "{\"command\":\"new\"}\n");
    assert_string_equal(hear(fd), "new\n");
    close(fd);
    turns();
}

static void nobody_else_may_open_it(void **state)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    gw_control_close(control);
    control = NULL;
    assert_int_equal(stat(path, &st), -1);
}

static void a_path_longer_than_a_socket_address_works(void **state)
{
    char part[101];
    int fd;

    gw_control_close(control);
    control = NULL;
    memset(part, 'd', 100);
    part[100] = '\0';
    snprintf(path, sizeof(path), "%s/%s", dir, part);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/%s/run/moongate.sock", dir, part);
    assert_true(strlen(path) > sizeof(((struct sockaddr_un *)0)->sun_path));
    assert_int_equal(open_control(), 0);
    fd = dial();
    say(fd, "{\"command\":\"far\"}\n");
    assert_string_equal(hear(fd), "far\n");
    close(fd);
    turns();
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(answers_line_by_line),
        T(says_what_is_wrong_and_goes_on),
        T(closes_on_a_line_without_end),
        T(answers_later_even_after_half_close),
        T(a_client_that_left_is_no_error),
        T(a_client_that_takes_nothing_is_dropped),
        T(only_so_many_at_a_time),
        T(a_second_gateway_is_refused),
        T(a_socket_left_over_by_a_dead_one_is_no_hindrance),
        T(nobody_else_may_open_it),
        T(a_path_longer_than_a_socket_address_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
