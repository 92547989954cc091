/* The whole gateway, in a child of the test: it is started, killed at, reloaded and stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "cli/client.h"
#include "process/master.h"

static char dir[64], conf[128];
static pid_t master;
static struct gw_json *answer;
static uint16_t port;

static void nap(void)
{
    struct timespec ts = {0, 10000000};

    nanosleep(&ts, NULL);
}

/* `more`: further lines of the conf. */
static void write_conf(int workers, const char *body, const char *more)
{
    FILE *file = fopen(conf, "w");

    fprintf(
        file,
        "workers: %d\nshutdown_timeout: 2s\nlisten: [ { name: public, address: 127.0.0.1:0 } ]\n"
        "routes:\n  - { name: hello, match: { path: /hello }, respond: { status: 200, body: "
        "\"%s\" } }\n%s",
        workers, body, more);
    fclose(file);
}

static bool ask(const char *command)
{
    const struct gw_client_question question = {.command = command, .timeout_s = 30};
    struct gw_buf line = GW_BUF_INIT;
    struct gw_err err;
    enum gw_rc rc;

    gw_json_free(answer);
    answer = NULL;
    rc = gw_client_ask(conf, &question, &line, &answer, &err);
    gw_buf_fini(&line);
    return rc == GW_OK && gw_json_get_bool(gw_json_get(answer, "ok"), false);
}

static const struct gw_json *worker(size_t i)
{
    return gw_json_at(gw_json_get(answer, "workers"), i);
}

static int64_t number(const struct gw_json *object, const char *key)
{
    return gw_json_get_int(gw_json_get(object, key), -1);
}

/* `workers` of them serve. */
static bool all_serve(size_t workers)
{
    if (!ask("status") || gw_json_len(gw_json_get(answer, "workers")) != workers)
        return false;
    for (size_t i = 0; i < workers; i++)
        if (!gw_str_eq(gw_json_get_str(gw_json_get(worker(i), "state"), GW_STR("")),
                       GW_STR("serving")))
            return false;
    return true;
}

static void wait_serving(size_t workers)
{
    for (int i = 0; i < 1000; i++, nap())
        if (all_serve(workers))
            return;
    fail_msg("%zu workers do not serve", workers);
}

static void quiet_log(void)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/log", dir);
    fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static void start(size_t workers)
{
    struct gw_master_options options = {.conf_path = conf, .test = true};
    struct gw_str address;

    master = fork();
    if (master == 0) {
        quiet_log();
        _exit(gw_master_run(&options));
    }
    wait_serving(workers);
    address = gw_json_get_str(
        gw_json_get(gw_json_at(gw_json_get(answer, "listeners"), 0), "address"), GW_STR(""));
    assert_true(address.len > 10);
    port = (uint16_t)atoi(address.data + strlen("127.0.0.1:"));
}

static int stop(int signo)
{
    int status = -1;

    if (master <= 0)
        return 0;
    kill(master, signo);
    for (int i = 0; i < 1000; i++, nap()) {
        if (waitpid(master, &status, WNOHANG) == master) {
            master = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        }
    }
    kill(master, SIGKILL);
    waitpid(master, &status, 0);
    master = 0;
    return -1;
}

static int setup(void **state)
{
    strcpy(dir, "/tmp/moongate-master-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(conf, sizeof(conf), "%s/gateway.yaml", dir);
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)stop(SIGKILL);
    gw_json_free(answer);
    answer = NULL;
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static int dial(void)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 8};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* One request on the connection; the body is found behind the head. */
static const char *get(int fd, const char *path)
{
    static char text[4096];
    char request[256];
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    ssize_t got;
    char *body;

    if (fd < 0 || send(fd, request, (size_t)len, MSG_NOSIGNAL) != len)
        return "no connection";
    got = recv(fd, text, sizeof(text) - 1, 0);
    if (got <= 0)
        return "no answer";
    text[got] = '\0';
    body = strstr(text, "\r\n\r\n");
    return body != NULL ? body + 4 : text;
}

/* On a connection of its own; how long it took at most is kept. */
static uint64_t slowest_ms;

static void expect(const char *body)
{
    uint64_t began = gw_time_mono_ms(), took;
    int fd = dial();

    assert_string_equal(get(fd, "/hello"), body);
    close(fd);
    took = gw_time_mono_ms() - began;
    slowest_ms = took > slowest_ms ? took : slowest_ms;
}

static size_t fds_of(pid_t pid)
{
    char path[64];
    size_t count = 0;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    folder = opendir(path);
    while (folder != NULL && readdir(folder) != NULL)
        count++;
    if (folder != NULL)
        closedir(folder);
    return count;
}

static void serves_and_stops(void **state)
{
    write_conf(2, "one", "");
    start(2);
    for (int i = 0; i < 20; i++)
        expect("one");
    assert_int_equal(stop(SIGTERM), 0);
    assert_int_equal(dial(), -1);
}

static void a_bad_conf_at_the_start_is_code_1(void **state)
{
    struct gw_master_options options = {.conf_path = conf};
    int status;

    write_conf(1, "one", "rotues: []\n");
    master = fork();
    if (master == 0) {
        quiet_log();
        _exit(gw_master_run(&options));
    }
    assert_int_equal(waitpid(master, &status, 0), master);
    master = 0;
    assert_int_equal(WEXITSTATUS(status), 1);
}

static void a_second_one_is_refused_and_the_first_unharmed(void **state)
{
    struct gw_master_options options = {.conf_path = conf};
    pid_t second;
    int status;

    write_conf(1, "one", "");
    start(1);
    second = fork();
    if (second == 0) {
        quiet_log();
        _exit(gw_master_run(&options));
    }
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_int_equal(WEXITSTATUS(status), 1);
    expect("one");
    assert_true(all_serve(1));
}

static void a_connection_outlives_reloads_and_sees_the_new_conf(void **state)
{
    size_t before;
    char body[32];
    int fd;

    write_conf(2, "zero", "");
    start(2);
    fd = dial();
    assert_string_equal(get(fd, "/hello"), "zero");
    before = fds_of(master) + fds_of((pid_t)number(worker(0), "pid"));
    for (int i = 1; i <= 50; i++) {
        snprintf(body, sizeof(body), "body %d", i);
        write_conf(2, body, "");
        assert_true(ask("reload"));
        assert_int_equal(number(answer, "generation"), i + 1);
        assert_string_equal(get(fd, "/hello"), body);
        expect(body);
    }
    assert_true(all_serve(2));
    assert_int_equal(number(worker(0), "generation"), 51);
    assert_int_equal(gw_json_len(gw_json_get(worker(0), "generations")), 1);
    /* The last connections are closed some moments later. A worker opens one descriptor of its own
     * (/proc/self/statm) with its first connection, which may have come after `before`. */
    before++;
    for (int i = 0; i < 200 && fds_of(master) + fds_of((pid_t)number(worker(0), "pid")) > before;
         i++)
        nap();
    assert_true(fds_of(master) + fds_of((pid_t)number(worker(0), "pid")) <= before);
    close(fd);
}

static void a_bad_reload_changes_nothing(void **state)
{
    write_conf(1, "old", "");
    start(1);
    write_conf(1, "new", "unknown_key: 1\n");
    assert_false(ask("reload"));
    assert_int_equal(number(answer, "generation"), 1);
    assert_true(gw_json_len(gw_json_get(gw_json_get(answer, "report"), "faults")) == 1);
    expect("old");
    write_conf(1, "new", "");
    assert_true(ask("reload"));
    expect("new");
}

static void an_address_that_is_taken_stops_a_reload(void **state)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    char more[256];
    FILE *file;
    int fd;

    write_conf(1, "old", "");
    start(1); /* first: what the test opens shall not be inherited */
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    snprintf(more, sizeof(more),
             "listen: [ { name: public, address: 127.0.0.1:0 }, { name: more, address: "
             "127.0.0.1:%u } ]\nroutes: [ { name: h, match: { path: /hello }, respond: { status: "
             "200, body: new } } ]\n",
             ntohs(in.sin_port));
    file = fopen(conf, "w");
    fputs(more, file);
    fclose(file);
    assert_false(ask("reload"));
    assert_non_null(
        strstr(gw_json_get_str(gw_json_get(answer, "error"), GW_STR("")).data, "in use"));
    expect("old");
    close(fd);
    assert_true(ask("reload"));
    expect("new");
}

static void a_killed_worker_is_replaced_and_nobody_waits(void **state)
{
    pid_t victim;

    write_conf(2, "one", "");
    start(2);
    victim = (pid_t)number(worker(0), "pid");
    slowest_ms = 0;
    assert_int_equal(kill(victim, SIGKILL), 0);
    /* A connection that the dead one had taken is lost with it; there is none. */
    for (int i = 0; i < 50; i++)
        expect("one");
    assert_true(slowest_ms < 1000);
    wait_serving(2);
    assert_int_not_equal(number(worker(0), "pid"), victim);
    assert_int_equal(number(answer, "worker_deaths"), 1);
}

static void a_stopped_worker_is_replaced_by_the_watchdog(void **state)
{
    uint64_t began;
    pid_t victim;

    write_conf(2, "one", "");
    start(2);
    victim = (pid_t)number(worker(1), "pid");
    began = gw_time_mono_ms();
    assert_int_equal(kill(victim, SIGSTOP), 0);
    slowest_ms = 0;
    while (kill(victim, 0) == 0 && gw_time_mono_ms() - began < 8000)
        expect("one"); /* its siblings take its queue over long before it is killed */
    assert_true(slowest_ms < 1500);
    assert_int_equal(kill(victim, 0), -1);
    wait_serving(2);
}

static void workers_leave_when_the_master_is_killed(void **state)
{
    pid_t pids[2];

    write_conf(2, "one", "");
    start(2);
    pids[0] = (pid_t)number(worker(0), "pid");
    pids[1] = (pid_t)number(worker(1), "pid");
    kill(master, SIGKILL);
    waitpid(master, NULL, 0);
    master = 0;
    /* They are not our children: without a reaper they stay as zombies, which serve nobody. */
    for (int i = 0; i < 500 && dial() >= 0; i++)
        nap();
    assert_int_equal(dial(), -1);
    for (int p = 0; p < 2; p++) {
        size_t fds = 1;
        for (int i = 0; i < 500 && (fds = fds_of(pids[p])) > 2; i++)
            nap();
        assert_true(fds <= 2);
    }
    /* And the next one finds the place free. */
    start(2);
    expect("one");
}

static void the_number_of_workers_follows_the_conf(void **state)
{
    write_conf(1, "one", "");
    start(1);
    write_conf(4, "one", "");
    assert_true(ask("reload"));
    wait_serving(4);
    write_conf(2, "one", "");
    assert_true(ask("reload"));
    wait_serving(2);
    for (int i = 0; i < 50; i++)
        expect("one");
}

static void an_idle_connection_is_closed_at_the_end(void **state)
{
    uint64_t began;
    char byte;
    int fd;

    write_conf(1, "one", "");
    start(1);
    fd = dial();
    assert_string_equal(get(fd, "/hello"), "one");
    began = gw_time_mono_ms();
    kill(master, SIGTERM);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    assert_int_equal(stop(0), 0);
    assert_true(gw_time_mono_ms() - began < 1500);
}

static void a_request_that_is_never_whole_ends_with_the_deadline(void **state)
{
    uint64_t began;
    int fd;

    write_conf(1, "one", "");
    start(1);
    fd = dial();
    assert_int_equal(send(fd, "GET /hello HT", 13, MSG_NOSIGNAL), 13);
    for (int i = 0; i < 10; i++)
        nap();
    began = gw_time_mono_ms();
    assert_int_equal(stop(SIGTERM), 0);
    assert_true(gw_time_mono_ms() - began < 5000); /* shutdown_timeout is 2 s */
    close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(serves_and_stops),
        T(a_bad_conf_at_the_start_is_code_1),
        T(a_second_one_is_refused_and_the_first_unharmed),
        T(a_connection_outlives_reloads_and_sees_the_new_conf),
        T(a_bad_reload_changes_nothing),
        T(an_address_that_is_taken_stops_a_reload),
        T(a_killed_worker_is_replaced_and_nobody_waits),
        T(a_stopped_worker_is_replaced_by_the_watchdog),
        T(workers_leave_when_the_master_is_killed),
        T(the_number_of_workers_follows_the_conf),
        T(an_idle_connection_is_closed_at_the_end),
        T(a_request_that_is_never_whole_ends_with_the_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
