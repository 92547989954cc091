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
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "process/notify.h"
#include "process/watch.h"

static char dir[64];
static struct gw_loop *loop;
static struct gw_watch *watch;
static int told;
static char last[256];

static uint32_t names; /* of the burst */

static void on_change(void *arg, const struct gw_str *paths, uint32_t count)
{
    size_t folder = strlen(dir) + 1;

    told++;
    names = count;
    last[0] = '\0';
    for (uint32_t i = 0; i < count; i++) {
        assert_memory_equal(paths[i].data, dir, folder - 1);
        snprintf(last, sizeof(last), "%s", paths[i].data + folder);
    }
}

static int setup(void **state)
{
    strcpy(dir, "/tmp/moongate-watch-XXXXXX");
    told = 0;
    return mkdtemp(dir) != NULL && gw_loop_new(&loop) == GW_OK &&
                   gw_watch_new(loop, on_change, NULL, &watch, NULL) == GW_OK
               ? 0
               : -1;
}

static int teardown(void **state)
{
    char command[128];

    gw_watch_free(watch);
    gw_loop_free(loop);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static void write_file(const char *name)
{
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
}

static void quiet(void)
{
    for (int i = 0; i < 3; i++)
        gw_loop_turn(loop, 0);
    gw_loop_advance(loop, 100);
    for (int i = 0; i < 3; i++)
        gw_loop_turn(loop, 0);
}

static void tells_a_burst_once(void **state)
{
    gw_watch_add(watch, gw_str_c(dir), false);
    write_file("gateway.yaml");
    write_file("gateway.yaml");
    write_file("routes.yaml");
    quiet();
    assert_int_equal(told, 1);
    assert_int_equal(names, 2);
    assert_string_equal(last, "routes.yaml");
    write_file("gateway.yaml");
    quiet();
    assert_int_equal(told, 2);
}

static void sees_a_file_renamed_into_place(void **state)
{
    char from[256], to[256];

    write_file("new");
    gw_watch_add(watch, gw_str_c(dir), false);
    snprintf(from, sizeof(from), "%s/new", dir);
    snprintf(to, sizeof(to), "%s/gateway.yaml", dir);
    assert_int_equal(rename(from, to), 0);
    quiet();
    assert_int_equal(told, 1);
    assert_string_equal(last, "gateway.yaml");
}

static void ignores_what_editors_leave(void **state)
{
    gw_watch_add(watch, gw_str_c(dir), false);
    write_file(".gateway.yaml.swp");
    write_file("gateway.yaml~");
    write_file("4913");
    write_file("x.tmp");
    quiet();
    assert_int_equal(told, 0);
}

static void looks_below_when_it_is_asked_to(void **state)
{
    char below[256];

    snprintf(below, sizeof(below), "%s/below", dir);
    assert_int_equal(mkdir(below, 0700), 0);
    gw_watch_add(watch, gw_str_c(dir), false);
    write_file("below/a.lua");
    quiet();
    assert_int_equal(told, 0);
    gw_watch_add(watch, gw_str_c(dir), true);
    write_file("below/a.lua");
    quiet();
    assert_int_equal(told, 1);
}

static void names_no_file_where_there_are_too_many(void **state)
{
    gw_watch_add(watch, gw_str_c(dir), false);
    for (int i = 0; i <= GW_WATCH_FILES_MAX; i++) {
        char name[32];
        snprintf(name, sizeof(name), "r%d.yaml", i);
        write_file(name);
    }
    quiet();
    assert_int_equal(told, 1);
    assert_int_equal(names, 0);
    write_file("r1.yaml");
    quiet();
    assert_int_equal(names, 1);
}

static void a_folder_that_is_not_there_is_no_fault(void **state)
{
    gw_watch_add(watch, GW_STR("/nonexistent/plugins"), true);
    gw_watch_add(watch, GW_STR(""), true);
    quiet();
    assert_int_equal(told, 0);
}

/* systemd's side of the protocol, played by a socket of ours. */
static void systemd_is_told(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char text[512];
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    ssize_t got;

    snprintf(un.sun_path, sizeof(un.sun_path), "%s/notify", dir);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    setenv("NOTIFY_SOCKET", un.sun_path, 1);
    gw_notify_init();
    assert_null(getenv("NOTIFY_SOCKET"));
    gw_notify_ready("serving");
    got = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    assert_true(got > 0);
    text[got] = '\0';
    assert_non_null(strstr(text, "READY=1\n"));
    assert_non_null(strstr(text, "STATUS=serving"));
    gw_notify_reloading();
    got = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    assert_true(got > 0);
    text[got] = '\0';
    assert_non_null(strstr(text, "RELOADING=1\nMONOTONIC_USEC="));
    gw_notify_init(); /* nobody asks any more */
    gw_notify_stopping();
    assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), -1);
    close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(tells_a_burst_once),
        T(sees_a_file_renamed_into_place),
        T(ignores_what_editors_leave),
        T(looks_below_when_it_is_asked_to),
        T(names_no_file_where_there_are_too_many),
        T(a_folder_that_is_not_there_is_no_fault),
        T(systemd_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
