/* cmocka.h wants these in front of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/time.h"
#include "script/logfile_private.h"

struct lab {
    struct gw_loop *loop;
    struct gw_logfiles *files;
    char dir[64], path[96];
    char text[1 << 21];
};

static int setup(void **state)
{
    struct lab *lab = calloc(1, sizeof(*lab));

    assert_non_null(lab);
    assert_int_equal(gw_loop_new(&lab->loop), GW_OK);
    assert_int_equal(gw_logfiles_new(lab->loop, NULL, &lab->files), GW_OK);
    strcpy(lab->dir, "/tmp/gw-logfile-XXXXXX");
    assert_non_null(mkdtemp(lab->dir));
    snprintf(lab->path, sizeof(lab->path), "%s/log", lab->dir);
    *state = lab;
    return 0;
}

static int teardown(void **state)
{
    struct lab *lab = *state;
    char command[128];

    gw_logfiles_free(lab->files);
    gw_loop_free(lab->loop);
    snprintf(command, sizeof(command), "rm -rf %s", lab->dir);
    assert_int_equal(system(command), 0);
    free(lab);
    return 0;
}

static struct gw_logfile *open_file(struct lab *lab, const char *path, uint32_t buffer)
{
    struct gw_logfile_options options = {.buffer_bytes_max = buffer};
    struct gw_logfile *file = NULL;
    struct gw_err err = {""};

    if (gw_logfile_open(lab->files, gw_str_c(path), &options, &file, &err) != GW_OK)
        fail_msg("%s", err.text);
    return file;
}

static const char *content(struct lab *lab, const char *path)
{
    FILE *file = fopen(path, "re");
    size_t len = 0;

    if (file != NULL) {
        len = fread(lab->text, 1, sizeof(lab->text) - 1, file);
        (void)fclose(file);
    }
    lab->text[len] = '\0';
    return lab->text;
}

static void turn_until(struct lab *lab, const char *path, const char *wanted)
{
    uint64_t until = gw_time_mono_ms() + 10000;

    while (strcmp(content(lab, path), wanted) != 0 && gw_time_mono_ms() < until)
        gw_loop_turn(lab->loop, 20);
    assert_string_equal(content(lab, path), wanted);
}

static void line(struct gw_logfile *file, const char *text)
{
    assert_true(gw_logfile_write(file, text, strlen(text)));
}

static void writes_after_a_moment_in_order(void **state)
{
    struct lab *lab = *state;
    struct gw_logfile *file = open_file(lab, lab->path, 0);

    line(file, "one");
    line(file, "two\nlines");
    assert_string_equal(content(lab, lab->path), ""); /* nothing on the loop's own time */
    turn_until(lab, lab->path, "one\ntwo lines\n");
    line(file, "three");
    turn_until(lab, lab->path, "one\ntwo lines\nthree\n");
    gw_logfile_unref(file);
}

static void the_last_unref_and_the_end_write_what_is_held(void **state)
{
    struct lab *lab = *state;
    struct gw_logfile *file = open_file(lab, lab->path, 0);

    assert_ptr_equal(open_file(lab, lab->path, 0), file);
    line(file, "a");
    gw_logfile_unref(file);
    line(file, "b");
    gw_logfile_unref(file);
    turn_until(lab, lab->path, "a\nb\n");

    file = open_file(lab, lab->path, 0);
    line(file, "c");
    gw_logfiles_free(lab->files);
    assert_string_equal(content(lab, lab->path), "a\nb\nc\n");
    assert_int_equal(gw_logfiles_new(lab->loop, NULL, &lab->files), GW_OK);
}

static void open_faults_name_path_and_reason(void **state)
{
    struct lab *lab = *state;
    struct gw_logfile_options options = {0}, small = {.buffer_bytes_max = 1};
    struct gw_logfile *file;
    struct gw_err err;

    assert_int_equal(gw_logfile_open(lab->files, GW_STR("/nowhere/x"), &options, &file, &err),
                     GW_SYSTEM);
    assert_non_null(strstr(err.text, "/nowhere/x"));
    assert_non_null(strstr(err.text, "No such file"));
    assert_int_equal(gw_logfile_open(lab->files, GW_STR(""), &options, &file, &err), GW_INVALID);
    assert_int_equal(gw_logfile_open(lab->files, GW_STR("a\0b"), &options, &file, &err),
                     GW_INVALID);
    assert_int_equal(gw_logfile_open(lab->files, GW_STR("x"), &small, &file, &err), GW_INVALID);
}

static void relative_paths_start_at_the_folder(void **state)
{
    struct lab *lab = *state;
    struct gw_logfile *file;

    gw_logfiles_set_dir(lab->files, gw_str_c(lab->dir));
    file = open_file(lab, "log", 0);
    line(file, "x");
    turn_until(lab, lab->path, "x\n");
    gw_logfile_unref(file);
}

static void a_full_buffer_drops_and_counts(void **state)
{
    struct lab *lab = *state;
    struct gw_logfile *file = open_file(lab, "/dev/full", GW_LOGFILE_BUFFER_LEAST);
    char text[1024];
    uint64_t dropped = 0;

    memset(text, 'x', sizeof(text));
    for (int i = 0; i < 200; i++) {
        dropped += !gw_logfile_write(file, text, sizeof(text));
        gw_loop_turn(lab->loop, 0);
    }
    assert_in_range(dropped, 200 - 64 - 1, 200 - 62);
    assert_int_equal(gw_logfile_lost(file), dropped);
}

static void a_line_may_be_longer_than_the_buffer(void **state)
{
    struct lab *lab = *state;
    struct gw_logfile *file = open_file(lab, lab->path, GW_LOGFILE_BUFFER_LEAST);
    size_t len = 3 * GW_LOGFILE_BUFFER_LEAST;
    char *text = malloc(len + 2);

    assert_non_null(text);
    memset(text, 'y', len);
    assert_true(gw_logfile_write(file, text, len));
    text[len] = '\n';
    text[len + 1] = '\0';
    turn_until(lab, lab->path, text);
    free(text);
    gw_logfile_unref(file);
}

/* ---- lines ---- */

static void check_text(struct lab *lab, struct gw_str value, const char *wanted)
{
    struct gw_logfile *file = open_file(lab, "/dev/null", 0);
    uint32_t from = file->lines.to;
    char line_wanted[256];

    assert_true(gw_logfile_begin(file));
    gw_logfile_text(file, GW_STR("\"a\":"), value);
    assert_true(gw_logfile_end(file));
    snprintf(line_wanted, sizeof(line_wanted), "{\"a\":\"%s\"}\n", wanted);
    assert_int_equal(file->lines.to - from, strlen(line_wanted));
    assert_memory_equal(file->lines.data + from, line_wanted, strlen(line_wanted));
    gw_logfile_unref(file);
}

static void texts_are_escaped(void **state)
{
    struct lab *lab = *state;

    check_text(lab, GW_STR(""), "");
    check_text(lab, GW_STR("plain ~text"), "plain ~text");
    check_text(lab, GW_STR("\"\\"), "\\\"\\\\");
    check_text(lab, GW_STR("\0\1\n\x1b\x7f"), "\\u0000\\u0001\\u000a\\u001b\\u007f");
    check_text(lab, GW_STR("\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\x98\x80"),
               "\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\x98\x80");
    check_text(lab, GW_STR("\xc2\x9b\xc2\xa0"), "\\u009b\xc2\xa0");
    /* lone bytes, overlong, surrogate, too large, cut off */
    check_text(lab, GW_STR("\x80\xff"), "\\ufffd\\ufffd");
    check_text(lab, GW_STR("\xc0\xaf"), "\\ufffd\\ufffd");
    check_text(lab, GW_STR("\xe0\x80\x80"), "\\ufffd\\ufffd\\ufffd");
    check_text(lab, GW_STR("\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd");
    check_text(lab, GW_STR("\xf4\x90\x80\x80"), "\\ufffd\\ufffd\\ufffd\\ufffd");
    check_text(lab, GW_STR("\xe6\xbc"), "\\ufffd\\ufffd");
}

static void check_number(struct lab *lab, double value, const char *wanted)
{
    struct gw_logfile *file = open_file(lab, "/dev/null", 0);
    uint32_t from = file->lines.to;
    char line_wanted[64];

    assert_true(gw_logfile_begin(file));
    gw_logfile_number(file, GW_STR("\"n\":"), value);
    assert_true(gw_logfile_end(file));
    snprintf(line_wanted, sizeof(line_wanted), "{\"n\":%s}\n", wanted);
    assert_int_equal(file->lines.to - from, strlen(line_wanted));
    assert_memory_equal(file->lines.data + from, line_wanted, strlen(line_wanted));
    gw_logfile_unref(file);
}

static void numbers_are_json(void **state)
{
    struct lab *lab = *state;

    check_number(lab, 0, "0");
    check_number(lab, -0.0, "0");
    check_number(lab, 200, "200");
    check_number(lab, 0.001, "0.001");
    check_number(lab, 12.5, "12.5");
    check_number(lab, 12.05, "12.05");
    check_number(lab, 12.0004, "12");
    check_number(lab, 0.9999, "1");
    check_number(lab, -3.25, "-3.25");
    check_number(lab, 123456789012.125, "123456789012.125");
    check_number(lab, 1e15, "1e+15");
    check_number(lab, 1.0 / 0.0, "null");
    check_number(lab, 0.0 / 0.0, "null");
}

static void a_line_that_was_not_ended_is_gone(void **state)
{
    struct lab *lab = *state;
    struct gw_logfile *file = open_file(lab, lab->path, 0);

    assert_true(gw_logfile_begin(file));
    gw_logfile_text(file, GW_STR("\"a\":"), GW_STR("half"));
    line(file, "whole");
    assert_true(gw_logfile_begin(file));
    gw_logfile_text(file, GW_STR("\"b\":"), GW_STR("half"));
    assert_true(gw_logfile_begin(file));
    gw_logfile_object(file, GW_STR("\"o\":"));
    gw_logfile_bool(file, GW_STR("\"x\":"), true);
    gw_logfile_bool(file, GW_STR("\"y\":"), false);
    gw_logfile_close(file);
    gw_logfile_number(file, GW_STR("\"z\":"), 1);
    assert_true(gw_logfile_end(file));
    assert_true(gw_logfile_begin(file)); /* stopped here, and nothing comes after it */
    turn_until(lab, lab->path, "whole\n{\"o\":{\"x\":true,\"y\":false},\"z\":1}\n");
    gw_logfile_unref(file);
}

static void long_texts_are_cut_between_characters(void **state)
{
    struct lab *lab = *state;
    struct gw_logfile *file = open_file(lab, "/dev/null", 0);
    char *text = malloc(GW_LOGFILE_VALUE_MAX + 10);
    uint32_t from = file->lines.to;

    assert_non_null(text);
    memset(text, 'a', GW_LOGFILE_VALUE_MAX + 10);
    memcpy(text + GW_LOGFILE_VALUE_MAX - 1, "\xe6\xbc\xa2", 3);
    assert_true(gw_logfile_begin(file));
    gw_logfile_text(file, GW_STR("\"a\":"), gw_str(text, GW_LOGFILE_VALUE_MAX + 10));
    assert_true(gw_logfile_end(file));
    /* {"a":"  4095 letters  ..."} and the end of the line */
    assert_int_equal(file->lines.to - from, 6 + GW_LOGFILE_VALUE_MAX - 1 + 3 + 3);
    assert_memory_equal(file->lines.data + file->lines.to - 9, "aaa...\"}\n", 9);
    free(text);
    gw_logfile_unref(file);
}

/* ---- rotation ---- */

static void another_file_at_the_path_is_taken(void **state)
{
    struct lab *lab = *state;
    struct gw_logfile *file = open_file(lab, lab->path, 0);
    char old[128];

    line(file, "1");
    turn_until(lab, lab->path, "1\n");
    snprintf(old, sizeof(old), "%s.1", lab->path);
    assert_int_equal(rename(lab->path, old), 0);
    line(file, "2");
    turn_until(lab, lab->path, "2\n");
    assert_string_equal(content(lab, old), "1\n");

    assert_int_equal(rename(lab->path, old), 0);
    gw_logfiles_reopen(lab->files);
    turn_until(lab, lab->path, "");
    for (int i = 0; i < 100 && access(lab->path, F_OK) != 0; i++)
        gw_loop_turn(lab->loop, 20);
    assert_int_equal(access(lab->path, F_OK), 0);
    gw_logfile_unref(file);
}

static void where_none_can_be_made_the_old_one_is_kept(void **state)
{
    struct lab *lab = *state;
    char path[128], moved[96], old[160];
    struct gw_logfile *file;

    snprintf(path, sizeof(path), "%s/sub", lab->dir);
    snprintf(moved, sizeof(moved), "%s/moved", lab->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    strcat(path, "/log");
    file = open_file(lab, path, 0);
    line(file, "1");
    turn_until(lab, path, "1\n");
    *strrchr(path, '/') = '\0';
    assert_int_equal(rename(path, moved), 0);
    line(file, "2");
    snprintf(old, sizeof(old), "%s/log", moved);
    turn_until(lab, old, "1\n2\n");
    gw_logfile_unref(file);
}

static void two_writers_never_mix(void **state)
{
    struct lab *lab = *state;
    struct gw_logfiles *other_files;
    struct gw_logfile *file = open_file(lab, lab->path, 0), *other;
    struct gw_logfile_options options = {0};
    struct gw_err err;
    char a[3000], b[3000];
    size_t lines = 0;

    assert_int_equal(gw_logfiles_new(lab->loop, NULL, &other_files), GW_OK);
    assert_int_equal(gw_logfile_open(other_files, gw_str_c(lab->path), &options, &other, &err),
                     GW_OK);
    memset(a, 'a', sizeof(a));
    memset(b, 'b', sizeof(b));
    for (int i = 0; i < 200; i++) {
        while (!gw_logfile_write(file, a, sizeof(a) - (size_t)i))
            gw_loop_turn(lab->loop, 1);
        while (!gw_logfile_write(other, b, sizeof(b) - (size_t)i))
            gw_loop_turn(lab->loop, 1);
        gw_loop_turn(lab->loop, 0);
    }
    gw_logfiles_free(other_files);
    gw_logfiles_free(lab->files);
    assert_int_equal(gw_logfiles_new(lab->loop, NULL, &lab->files), GW_OK);
    (void)content(lab, lab->path);
    for (char *at = lab->text, *end; *at != '\0'; at = end + 1, lines++) {
        end = strchr(at, '\n');
        assert_non_null(end);
        assert_int_equal(strspn(at, *at == 'a' ? "a" : "b"), end - at);
    }
    assert_int_equal(lines, 400);
}

/* Not a promise, a number to look at: what one line costs the loop. */
static void a_line_costs_little(void **state)
{
    struct lab *lab = *state;
    struct gw_logfile *file = open_file(lab, "/dev/null", 8u << 20);
    struct timespec from, to;
    const int count = 20000;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (int i = 0; i < count; i++) {
        assert_true(gw_logfile_begin(file));
        gw_logfile_time(file, GW_STR("\"time\":"));
        gw_logfile_text(file, GW_STR("\"id\":"), GW_STR("29e44234-5b05-4459-8283-c32bd8f4bb81"));
        gw_logfile_text(file, GW_STR("\"client\":"), GW_STR("127.0.0.1"));
        gw_logfile_text(file, GW_STR("\"method\":"), GW_STR("GET"));
        gw_logfile_text(file, GW_STR("\"host\":"), GW_STR("www.example.com"));
        gw_logfile_text(file, GW_STR("\"path\":"), GW_STR("/v1/properties/12345/photos"));
        gw_logfile_number(file, GW_STR("\"status\":"), 200);
        gw_logfile_number(file, GW_STR("\"bytes_out\":"), 12345);
        gw_logfile_number(file, GW_STR("\"duration_ms\":"), 12.345);
        gw_logfile_text(file, GW_STR("\"user_agent\":"),
                        GW_STR("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML)"));
        assert_true(gw_logfile_end(file));
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    print_message("a line: %.0f ns\n",
                  ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
                      count);
    gw_logfile_unref(file);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(writes_after_a_moment_in_order),
        TEST(the_last_unref_and_the_end_write_what_is_held),
        TEST(open_faults_name_path_and_reason),
        TEST(relative_paths_start_at_the_folder),
        TEST(a_full_buffer_drops_and_counts),
        TEST(a_line_may_be_longer_than_the_buffer),
        TEST(texts_are_escaped),
        TEST(numbers_are_json),
        TEST(a_line_that_was_not_ended_is_gone),
        TEST(long_texts_are_cut_between_characters),
        TEST(another_file_at_the_path_is_taken),
        TEST(where_none_can_be_made_the_old_one_is_kept),
        TEST(two_writers_never_mix),
        TEST(a_line_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
