#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process/channel.h"

static int ends[2];
static struct gw_message *out, *in;

static int setup(void **state)
{
    out = calloc(1, sizeof(*out));
    in = calloc(1, sizeof(*in));
    return gw_channel_pair(ends, NULL) == GW_OK ? 0 : -1;
}

static int teardown(void **state)
{
    free(out);
    free(in);
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    return 0;
}

static int count_fds(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void carries_text_numbers_and_descriptors(void **state)
{
    int pipes[2];
    char byte = 0;

    assert_int_equal(pipe(pipes), 0);
    out->type = GW_MESSAGE_LISTEN;
    out->number = 7;
    out->value = 1ULL << 40;
    out->fds[0] = pipes[1];
    out->fd_count = 1;
    gw_message_text(out, GW_STR("public"));
    assert_int_equal(gw_channel_send(ends[0], out), GW_OK);
    close(pipes[1]);

    assert_int_equal(gw_channel_receive(ends[1], in), GW_OK);
    assert_int_equal(in->type, GW_MESSAGE_LISTEN);
    assert_int_equal(in->number, 7);
    assert_true(in->value == 1ULL << 40);
    assert_string_equal(in->text, "public");
    assert_int_equal(in->fd_count, 1);
    assert_int_equal(fcntl(in->fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(write(in->fds[0], "x", 1), 1);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    gw_message_close_fds(in);
    close(pipes[0]);
}

static void carries_as_much_as_it_promises(void **state)
{
    int before = count_fds();
    struct gw_str text;

    memset(out->text, 'a', GW_CHANNEL_TEXT_MAX);
    text = gw_str(out->text, GW_CHANNEL_TEXT_MAX);
    out->type = GW_MESSAGE_PREPARE;
    out->text_len = (uint32_t)text.len;
    for (int i = 0; i < GW_CHANNEL_FDS_MAX; i++)
        out->fds[i] = STDERR_FILENO;
    out->fd_count = GW_CHANNEL_FDS_MAX;
    assert_int_equal(gw_channel_send(ends[0], out), GW_OK);
    assert_int_equal(gw_channel_receive(ends[1], in), GW_OK);
    assert_int_equal(in->text_len, GW_CHANNEL_TEXT_MAX);
    assert_int_equal(in->fd_count, GW_CHANNEL_FDS_MAX);
    gw_message_close_fds(in);
    assert_int_equal(count_fds(), before);

    out->fd_count = GW_CHANNEL_FDS_MAX + 1;
    assert_int_equal(gw_channel_send(ends[0], out), GW_LIMIT);
}

static void cuts_a_text_that_is_too_long(void **state)
{
    char *text = calloc(1, GW_CHANNEL_TEXT_MAX + 100);

    memset(text, 'b', GW_CHANNEL_TEXT_MAX + 100);
    gw_message_text(out, gw_str(text, GW_CHANNEL_TEXT_MAX + 100));
    assert_int_equal(out->text_len, GW_CHANNEL_TEXT_MAX);
    assert_int_equal(out->text[GW_CHANNEL_TEXT_MAX], '\0');
    free(text);
}

static void tells_again_eof_and_closed(void **state)
{
    assert_int_equal(gw_channel_receive(ends[1], in), GW_AGAIN);
    assert_int_equal(gw_channel_tell(ends[0], GW_MESSAGE_COMMIT, 1, 2), GW_OK);
    close(ends[0]);
    ends[0] = -1;
    assert_int_equal(gw_channel_receive(ends[1], in), GW_OK); /* what was sent before arrives */
    assert_int_equal(gw_channel_receive(ends[1], in), GW_EOF);
    assert_int_equal(gw_channel_tell(ends[1], GW_MESSAGE_READY, 1, 0), GW_CLOSED);
}

static void a_reader_that_sleeps_fills_it_and_is_found_out(void **state)
{
    enum gw_rc rc = GW_OK;
    int sent = 0;

    memset(out->text, 'c', 4096);
    out->type = GW_MESSAGE_PREPARED;
    out->text_len = 4096;
    while (rc == GW_OK && sent < 100000) {
        rc = gw_channel_send(ends[0], out);
        sent += rc == GW_OK;
    }
    assert_int_equal(rc, GW_FULL);
    assert_true(sent > 4);
    for (int i = 0; i < sent; i++) /* and no message was lost or cut */
        assert_int_equal(gw_channel_receive(ends[1], in), GW_OK);
    assert_int_equal(gw_channel_receive(ends[1], in), GW_AGAIN);
}

static void refuses_what_is_no_message(void **state)
{
    struct {
        uint32_t type, number;
        uint64_t value;
        uint32_t text_len, fd_count;
        char text[8];
    } bad = {GW_MESSAGE_READY, 1, 0, 100, 0, "short"};
    int before = count_fds();

    assert_int_equal(send(ends[0], "abc", 3, 0), 3);
    assert_int_equal(gw_channel_receive(ends[1], in), GW_PROTOCOL);
    assert_int_equal(send(ends[0], &bad, sizeof(bad), 0), (ssize_t)sizeof(bad));
    assert_int_equal(gw_channel_receive(ends[1], in), GW_PROTOCOL);
    bad.text_len = sizeof(bad) - 24;
    bad.fd_count = 3; /* it says three and brings none */
    assert_int_equal(send(ends[0], &bad, sizeof(bad), 0), (ssize_t)sizeof(bad));
    assert_int_equal(gw_channel_receive(ends[1], in), GW_PROTOCOL);
    bad.fd_count = 0;
    assert_int_equal(send(ends[0], &bad, sizeof(bad), 0), (ssize_t)sizeof(bad));
    assert_int_equal(gw_channel_receive(ends[1], in), GW_OK);
    assert_int_equal(count_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(carries_text_numbers_and_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(carries_as_much_as_it_promises, setup, teardown),
        cmocka_unit_test_setup_teardown(cuts_a_text_that_is_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_again_eof_and_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_sleeps_fills_it_and_is_found_out, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_message, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
