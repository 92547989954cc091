#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "conf/image.h"
#include "net/conn.h"
#include "process/sockets.h"

static struct gw_sockets sockets;
static struct gw_image images[2]; /* the conf before and after */

static int setup(void **state)
{
    gw_sockets_init(&sockets);
    gw_image_init(&images[0]);
    gw_image_init(&images[1]);
    return 0;
}

static int teardown(void **state)
{
    gw_sockets_fini(&sockets);
    gw_image_fini(&images[0]);
    gw_image_fini(&images[1]);
    return 0;
}

/* Makes a listener; `port` 0: any; a path instead for a unix socket. */
static struct gw_conf_listener *row_of(struct gw_image *image, uint32_t i)
{
    return (struct gw_conf_listener *)gw_image_at(image, gw_image_conf(image)->listeners.off) + i;
}

static void begin(int which, uint32_t count)
{
    uint32_t off;

    gw_image_fini(&images[which]);
    gw_image_init(&images[which]);
    off = gw_image_alloc(&images[which], count * sizeof(struct gw_conf_listener));
    gw_image_conf(&images[which])->listeners = (struct gw_ref){off, count};
}

static void tcp(int which, uint32_t i, const char *name, uint16_t port)
{
    struct gw_ref ref = gw_image_add_str(&images[which], gw_str_c(name));
    struct gw_conf_listener *row = row_of(&images[which], i);
    struct sockaddr_in *in = (struct sockaddr_in *)&row->address;

    row->name = ref;
    row->backlog = 16;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    row->address_len = sizeof(*in);
}

static void path(int which, uint32_t i, const char *name, const char *file)
{
    struct gw_ref ref = gw_image_add_str(&images[which], gw_str_c(name));
    struct gw_conf_listener *row = row_of(&images[which], i);
    struct sockaddr_un *un = (struct sockaddr_un *)&row->address;

    row->name = ref;
    row->backlog = 16;
    un->sun_family = AF_UNIX;
    snprintf(un->sun_path, sizeof(un->sun_path), "%s", file);
    row->address_len = sizeof(*un);
}

static const struct gw_conf *conf(int which)
{
    return gw_image_conf(&images[which]);
}

static struct gw_socket_set *set_of(int which, uint32_t i)
{
    return gw_sockets_find(&sockets, conf(which), row_of(&images[which], i));
}

static uint16_t port_of(const struct gw_socket_set *set)
{
    return gw_address_port((const struct sockaddr *)&set->bound);
}

static bool listens(uint16_t port)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0;

    close(fd);
    return ok;
}

static void up(int which, uint32_t slots)
{
    struct gw_err err = {""};

    assert_int_equal(gw_sockets_prepare(&sockets, conf(which), slots, &err), GW_OK);
    assert_int_equal(gw_sockets_commit(&sockets, conf(which), &err), GW_OK);
}

static void all_slots_share_the_port_that_was_chosen(void **state)
{
    struct sockaddr_in in;
    socklen_t len;
    struct gw_socket_set *set;

    begin(0, 1);
    tcp(0, 0, "public", 0);
    up(0, 4);
    set = set_of(0, 0);
    assert_int_equal(set->count, 4);
    assert_int_not_equal(port_of(set), 0);
    for (int i = 0; i < 4; i++) {
        len = sizeof(in);
        assert_int_equal(getsockname(set->fds[i], (struct sockaddr *)&in, &len), 0);
        assert_int_equal(ntohs(in.sin_port), port_of(set));
    }
    assert_true(listens(port_of(set)));
}

static void two_listeners_on_port_zero_get_two_ports_and_keep_them(void **state)
{
    uint16_t a, b;

    begin(0, 2);
    tcp(0, 0, "a", 0);
    tcp(0, 1, "b", 0);
    up(0, 2);
    a = port_of(set_of(0, 0));
    b = port_of(set_of(0, 1));
    assert_int_not_equal(a, b);
    begin(1, 2);
    tcp(1, 0, "b", 0);
    tcp(1, 1, "a", 0);
    up(1, 2);
    assert_int_equal(port_of(set_of(1, 0)), b);
    assert_int_equal(port_of(set_of(1, 1)), a);
}

static void nothing_listens_before_the_commit(void **state)
{
    struct gw_err err = {""};
    uint16_t port;

    begin(0, 1);
    tcp(0, 0, "public", 0);
    assert_int_equal(gw_sockets_prepare(&sockets, conf(0), 2, &err), GW_OK);
    port = port_of(set_of(0, 0));
    assert_false(listens(port));
    assert_int_equal(set_of(0, 0)->count, 0);
    gw_sockets_abort(&sockets);
    assert_null(set_of(0, 0));
}

static void an_abort_takes_back_only_what_is_new(void **state)
{
    struct gw_err err = {""};
    uint16_t port;

    begin(0, 1);
    tcp(0, 0, "public", 0);
    up(0, 2);
    port = port_of(set_of(0, 0));
    begin(1, 2);
    tcp(1, 0, "public", 0);
    tcp(1, 1, "more", 0);
    assert_int_equal(gw_sockets_prepare(&sockets, conf(1), 5, &err), GW_OK);
    assert_int_equal(set_of(1, 0)->made, 5);
    gw_sockets_abort(&sockets);
    assert_int_equal(set_of(1, 0)->made, 2);
    assert_int_equal(set_of(1, 0)->count, 2);
    assert_null(set_of(1, 1));
    assert_true(listens(port));
}

static void fewer_workers_close_no_socket(void **state)
{
    begin(0, 1);
    tcp(0, 0, "public", 0);
    up(0, 4);
    up(0, 1);
    assert_int_equal(set_of(0, 0)->count, 4);
}

static void a_listener_that_goes_is_closed_and_a_renamed_one_stays(void **state)
{
    uint16_t gone;
    int fd;

    begin(0, 2);
    tcp(0, 0, "gone", 0);
    tcp(0, 1, "x", 0);
    up(0, 1);
    gone = port_of(set_of(0, 0));
    /* On a port that is written out, a new name does not matter. */
    gw_sockets_fini(&sockets);
    begin(0, 2);
    tcp(0, 0, "gone", 0);
    tcp(0, 1, "old", gone);
    up(0, 1);
    gone = port_of(set_of(0, 0));
    fd = set_of(0, 1)->fds[0];
    begin(1, 1);
    tcp(1, 0, "new", port_of(set_of(0, 1)));
    up(1, 1);
    gw_sockets_close_unused(&sockets, conf(1));
    assert_int_equal(set_of(1, 0)->fds[0], fd);
    assert_false(listens(gone));
    assert_true(listens(port_of(set_of(1, 0))));
}

static void an_address_in_use_is_refused_and_named(void **state)
{
    struct gw_sockets other;
    struct gw_err err = {""};
    char text[32];

    begin(0, 1);
    tcp(0, 0, "public", 0);
    up(0, 1);
    begin(1, 1);
    tcp(1, 0, "mine", port_of(set_of(0, 0)));
    gw_sockets_init(&other); /* another gateway, with SO_REUSEPORT like ours */
    assert_int_equal(gw_sockets_prepare(&other, conf(1), 1, &err), GW_BUSY);
    snprintf(text, sizeof(text), "127.0.0.1:%u", port_of(set_of(0, 0)));
    assert_non_null(strstr(err.text, text));
    assert_non_null(strstr(err.text, "in use"));
    assert_true(gw_list_empty(&other.sets));
    gw_sockets_fini(&other);
}

static void a_unix_socket_is_one_for_all_and_leaves_no_file(void **state)
{
    char file[64];

    snprintf(file, sizeof(file), "/tmp/moongate-sockets-%d.sock", (int)getpid());
    begin(0, 1);
    path(0, 0, "local", file);
    up(0, 4);
    assert_int_equal(set_of(0, 0)->count, 1);
    assert_int_equal(access(file, F_OK), 0);
    gw_sockets_fini(&sockets);
    assert_int_equal(access(file, F_OK), -1);
}

static void a_dead_unix_socket_is_replaced_a_living_one_and_a_file_are_not(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct gw_err err = {""};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), file;

    snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/moongate-sockets-%d.sock", (int)getpid());
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(listen(fd, 1), 0);
    begin(0, 1);
    path(0, 0, "local", un.sun_path);
    assert_int_equal(gw_sockets_prepare(&sockets, conf(0), 1, &err), GW_BUSY);
    assert_int_equal(access(un.sun_path, F_OK), 0);
    close(fd);
    up(0, 1);
    gw_sockets_fini(&sockets);
    file = open(un.sun_path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(file, "precious", 8), 8);
    close(file);
    assert_int_equal(gw_sockets_prepare(&sockets, conf(0), 1, &err), GW_SYSTEM);
    assert_int_equal(access(un.sun_path, F_OK), 0);
    unlink(un.sun_path);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(all_slots_share_the_port_that_was_chosen),
        T(two_listeners_on_port_zero_get_two_ports_and_keep_them),
        T(nothing_listens_before_the_commit),
        T(an_abort_takes_back_only_what_is_new),
        T(fewer_workers_close_no_socket),
        T(a_listener_that_goes_is_closed_and_a_renamed_one_stays),
        T(an_address_in_use_is_refused_and_named),
        T(a_unix_socket_is_one_for_all_and_leaves_no_file),
        T(a_dead_unix_socket_is_replaced_a_living_one_and_a_file_are_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
