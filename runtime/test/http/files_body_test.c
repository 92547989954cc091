#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "http/files.h"
#include "net/loop.h"

#define FILE_BYTES (3 * 1024 * 1024 + 123)

static struct gw_loop *loop;
static struct gw_threads *threads;
static char dir[64], path[96];
static int pair[2];

static int open_fds(void)
{
    DIR *fds = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(fds) != NULL)
        count++;
    (void)closedir(fds);
    return count;
}

static char byte_at(uint64_t offset)
{
    return (char)(offset * 2654435761U >> 13);
}

static int make_file(uint64_t size)
{
    char block[4096];
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);

    for (uint64_t at = 0; at < size; at += sizeof(block)) {
        size_t len = size - at < sizeof(block) ? (size_t)(size - at) : sizeof(block);
        for (size_t i = 0; i < len; i++)
            block[i] = byte_at(at + i);
        assert_int_equal(write(fd, block, len), len);
    }
    return fd;
}

static int setup(void **state)
{
    strcpy(dir, "/var/tmp/moongate-body-XXXXXX"); /* a disk: /tmp may be memory */
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/file.bin", dir);
    assert_int_equal(gw_loop_new(&loop), GW_OK);
    assert_int_equal(gw_threads_new(loop, 2, 8, &threads), GW_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    return 0;
}

static int teardown(void **state)
{
    gw_threads_free(threads);
    gw_loop_free(loop);
    if (pair[0] >= 0)
        (void)close(pair[0]);
    if (pair[1] >= 0)
        (void)close(pair[1]);
    (void)unlink(path);
    return rmdir(dir);
}

/* Throws the file out of the page cache; false where the kernel does not do it. */
static bool make_cold(int fd)
{
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    return gw_files_cached(fd, 0, 4096) == 0;
}

static void body_of(struct gw_files_body *body, int fd, uint64_t offset, uint64_t length)
{
    struct gw_files_plan plan = {.status = 200, .fd = fd, .offset = offset, .length = length};

    gw_files_body_init(body, &plan);
}

static uint64_t take_all(uint64_t from)
{
    char block[65536];
    uint64_t total = 0;
    ssize_t got;

    while ((got = read(pair[1], block, sizeof(block))) > 0) {
        for (ssize_t i = 0; i < got; i++)
            assert_int_equal(block[i], byte_at(from + total + (uint64_t)i));
        total += (uint64_t)got;
    }
    return total;
}

struct warmed {
    unsigned calls;
    enum gw_rc rc;
};

static void on_warm(void *arg, enum gw_rc rc)
{
    struct warmed *warmed = arg;

    warmed->calls++;
    warmed->rc = rc;
}

static void warm(struct gw_files_body *body)
{
    struct warmed warmed = {0};
    struct gw_files_job *job;

    assert_int_equal(gw_files_warm(threads, body, on_warm, &warmed, &job), GW_OK);
    for (int i = 0; i < 5000 && warmed.calls == 0; i++)
        gw_loop_turn(loop, 20);
    assert_int_equal(warmed.calls, 1);
    assert_int_equal(warmed.rc, GW_OK);
}

/* Sends all of it; returns how often it had to be warmed. */
static unsigned send_all(struct gw_files_body *body, uint64_t offset, uint64_t length)
{
    uint64_t taken = 0;
    unsigned busy = 0;

    for (;;) {
        size_t sent;
        enum gw_rc rc = gw_files_body_next(body, pair[0], 128 * 1024, &sent);
        if (rc == GW_EOF)
            break;
        if (rc == GW_BUSY) {
            busy++;
            warm(body);
            continue;
        }
        assert_true((rc == GW_OK && sent > 0) || (rc == GW_AGAIN && sent == 0));
        taken += take_all(offset + taken);
    }
    taken += take_all(offset + taken);
    assert_int_equal(taken, length);
    return busy;
}

static void sends_a_warm_file_without_waiting(void **state)
{
    int fd = make_file(FILE_BYTES);
    struct gw_files_body body;

    body_of(&body, fd, 0, FILE_BYTES);
    assert_int_equal(send_all(&body, 0, FILE_BYTES), 0);
    body_of(&body, fd, 4095, 8193);
    assert_int_equal(send_all(&body, 4095, 8193), 0);
    body_of(&body, fd, FILE_BYTES - 1, 1);
    assert_int_equal(send_all(&body, FILE_BYTES - 1, 1), 0);
    body_of(&body, fd, 7, 0);
    assert_int_equal(send_all(&body, 7, 0), 0);
    (void)close(fd);
}

static void has_a_cold_file_warmed(void **state)
{
    int fd = make_file(FILE_BYTES);
    struct gw_files_body body;
    unsigned busy;

    if (!make_cold(fd)) {
        (void)close(fd);
        skip();
    }
    body_of(&body, fd, 0, FILE_BYTES);
    busy = send_all(&body, 0, FILE_BYTES);
    assert_true(busy >= 1 && busy <= FILE_BYTES / GW_FILES_WINDOW_BYTES + 1);
    assert_int_equal(gw_files_cached(fd, 0, FILE_BYTES), FILE_BYTES);
    (void)close(fd);
}

/* What mincore() says, which tells a file's owner the truth. */
static uint64_t resident_from(int fd, uint64_t offset)
{
    static unsigned char pages[FILE_BYTES / 4096 + 1];
    void *map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    uint64_t end = offset;

    assert_true(map != MAP_FAILED);
    assert_int_equal(mincore(map, FILE_BYTES, pages), 0);
    assert_int_equal(munmap(map, FILE_BYTES), 0);
    while (end < FILE_BYTES && (pages[end / 4096] & 1))
        end = (end / 4096 + 1) * 4096;
    return (end < FILE_BYTES ? end : FILE_BYTES) - offset;
}

static void tells_how_much_is_in_memory(void **state)
{
    static const uint64_t offsets[] = {0, 1, 4096, 8192, 12288, 1 << 20, (1 << 20) + 100, 1500000};
    int fd = make_file(FILE_BYTES);
    char byte;

    assert_int_equal(gw_files_cached(fd, 0, FILE_BYTES), FILE_BYTES);
    assert_int_equal(gw_files_cached(fd, 100, 1), 1);
    assert_int_equal(gw_files_cached(fd, 0, 0), 0);
    if (!make_cold(fd) || sysconf(_SC_PAGESIZE) != 4096) {
        (void)close(fd);
        skip();
    }
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0); /* no read-ahead */
    assert_int_equal(pread(fd, &byte, 1, 8192), 1);
    assert_int_equal(pread(fd, &byte, 1, 1 << 20), 1);
    assert_int_equal(gw_files_cached(fd, 2 << 20, FILE_BYTES - (2 << 20)), 0);
    assert_true(gw_files_cached(fd, 1 << 20, 1 << 20) >= 4096);
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
        assert_int_equal(gw_files_cached(fd, offsets[i], FILE_BYTES - offsets[i]),
                         resident_from(fd, offsets[i]));
    (void)close(fd);
}

static void reads_into_memory_too(void **state)
{
    int fd = make_file(FILE_BYTES);
    struct gw_files_body body;
    uint64_t at = 1000;
    unsigned busy = 0;
    bool cold = make_cold(fd);

    body_of(&body, fd, 1000, FILE_BYTES - 2000);
    for (;;) {
        char block[10000];
        size_t got;
        enum gw_rc rc = gw_files_body_read(&body, block, sizeof(block), &got);
        if (rc == GW_EOF)
            break;
        if (rc == GW_BUSY) {
            busy++;
            warm(&body);
            continue;
        }
        assert_int_equal(rc, GW_OK);
        for (size_t i = 0; i < got; i++)
            assert_int_equal(block[i], byte_at(at + i));
        at += got;
    }
    assert_int_equal(at, FILE_BYTES - 1000);
    assert_true(!cold || busy > 0);
    (void)close(fd);
}

static void says_when_the_file_has_shrunk(void **state)
{
    int fd = make_file(100000);
    struct gw_files_body body;
    char block[100];
    size_t sent;

    body_of(&body, fd, 0, 100000);
    assert_int_equal(gw_files_body_next(&body, pair[0], 1000, &sent), GW_OK);
    assert_int_equal(ftruncate(fd, 1500), 0);
    assert_int_equal(gw_files_body_next(&body, pair[0], 1000, &sent), GW_OK);
    assert_int_equal(sent, 500);
    assert_int_equal(gw_files_body_next(&body, pair[0], 1000, &sent), GW_SYSTEM);
    assert_int_equal(sent, 0);
    assert_int_equal(gw_files_body_read(&body, block, sizeof(block), &sent), GW_SYSTEM);

    /* The same when nobody had looked at it before. */
    body_of(&body, fd, 5000, 100);
    assert_int_equal(gw_files_body_next(&body, pair[0], 1000, &sent), GW_SYSTEM);
    (void)close(fd);
}

static void says_when_the_socket_is_full_or_gone(void **state)
{
    int fd = make_file(FILE_BYTES);
    struct gw_files_body body;
    enum gw_rc rc;
    size_t sent;

    (void)signal(SIGPIPE, SIG_IGN);
    body_of(&body, fd, 0, FILE_BYTES);
    do {
        rc = gw_files_body_next(&body, pair[0], 1 << 20, &sent);
    } while (rc == GW_OK);
    assert_int_equal(rc, GW_AGAIN);
    assert_int_equal(body.left + body.offset, FILE_BYTES);
    (void)close(pair[1]);
    pair[1] = -1;
    assert_int_equal(gw_files_body_next(&body, pair[0], 1 << 20, &sent), GW_CLOSED);
    (void)close(fd);
}

static void sends_from_behind_four_gigabytes(void **state)
{
    const uint64_t size = 5ULL * 1024 * 1024 * 1024;
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
    struct gw_files_body body;
    char got[16];
    size_t sent;

    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(pwrite(fd, "0123456789", 10, (off_t)size - 10), 10);
    body_of(&body, fd, size - 10, 10);
    assert_int_equal(gw_files_body_next(&body, pair[0], 1000, &sent), GW_OK);
    assert_int_equal(sent, 10);
    assert_int_equal(read(pair[1], got, sizeof(got)), 10);
    assert_memory_equal(got, "0123456789", 10);
    assert_int_equal(gw_files_body_next(&body, pair[0], 1000, &sent), GW_EOF);

    /* A hole is cold until it was read once. */
    body_of(&body, fd, 4ULL * 1024 * 1024 * 1024 + 1, 100);
    while (gw_files_body_next(&body, pair[0], 1000, &sent) == GW_BUSY)
        warm(&body);
    assert_int_equal(sent, 100);
    (void)close(fd);
}

static void keeps_nothing_of_a_cancelled_job(void **state)
{
    int fd = make_file(FILE_BYTES), before;
    struct gw_arena arena;
    struct gw_fields fields;
    struct gw_files_conf conf = {.root = gw_str_c(dir)};
    struct gw_files_request request = {
        .method = GW_METHOD_GET, .name = GW_STR("/file.bin"), .fields = &fields, .now_s = 1};
    struct warmed warmed = {0};

    gw_arena_init(&arena);
    gw_fields_init(&fields, &arena);
    before = open_fds();
    for (int round = 0; round < 200; round++) {
        struct gw_files_body body;
        struct gw_files_job *job;
        body_of(&body, fd, 0, FILE_BYTES);
        if (gw_files_warm(threads, &body, on_warm, &warmed, &job) == GW_OK)
            gw_files_cancel(job);
        memset(&body, 0x5a, sizeof(body)); /* it is gone */
        if (round % 5 == 0)
            gw_loop_turn(loop, 1);
        if (gw_files_plan_later(threads, &conf, &request, NULL, NULL, &job) == GW_OK)
            gw_files_cancel(job);
        gw_loop_turn(loop, 1);
    }
    gw_threads_free(threads);
    threads = NULL;
    assert_int_equal(warmed.calls, 0);
    (void)close(fd);
    assert_int_equal(open_fds(), before - 2); /* the file and the threads' eventfd */
    gw_arena_fini(&arena);
}

/* From here on this process lives on a kernel that answers call `number` with `error`. */
static void deny(unsigned number, unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(77);
}

/* Runs `fn` in a child on such a kernel: it returns 0, or the number of what was wrong. */
static void on_kernel_without(unsigned number, unsigned error, int (*fn)(void))
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        deny(number, error);
        _exit(fn());
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int looks_at_resident_pages(void)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct gw_files_body body;
    char block[100];
    size_t got;

    if (gw_files_cached(fd, 0, FILE_BYTES) != FILE_BYTES || gw_files_cached(fd, 5000, 1) != 1 ||
        gw_files_cached(fd, 5000, 100000) != 100000)
        return 1;
    body_of(&body, fd, 5001, 100);
    if (gw_files_body_read(&body, block, 100, &got) != GW_OK || got != 100 ||
        block[0] != byte_at(5001) || block[99] != byte_at(5100))
        return 2;
    if (!make_cold(fd))
        return 0;
    body_of(&body, fd, 5001, 100);
    if (gw_files_body_read(&body, block, 100, &got) != GW_BUSY)
        return 3;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    if (pread(fd, block, 1, 1 << 20) != 1 || gw_files_cached(fd, 1 << 20, 1) != 1 ||
        gw_files_cached(fd, 0, FILE_BYTES) == FILE_BYTES)
        return 4;
    return 0;
}

static void does_without_rwf_nowait(void **state)
{
    int fd = make_file(FILE_BYTES);

    on_kernel_without(SYS_preadv2, EOPNOTSUPP, looks_at_resident_pages);
    (void)close(fd);
}

static int is_system(void)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct gw_files_body body;
    size_t sent;

    body_of(&body, fd, 0, 1000);
    return gw_files_body_next(&body, pair[0], 100, &sent) == GW_SYSTEM && sent == 0 ? 0 : 1;
}

static void says_when_the_disk_fails(void **state)
{
    int fd = make_file(1000);

    on_kernel_without(SYS_sendfile, EIO, is_system);
    (void)close(fd);
}

struct planned {
    unsigned calls;
    enum gw_rc rc;
    struct gw_files_plan plan;
};

static void on_plan(void *arg, enum gw_rc rc, struct gw_files_plan *plan)
{
    struct planned *planned = arg;

    planned->calls++;
    planned->rc = rc;
    planned->plan = *plan;
}

static void plans_on_a_helper_thread(void **state)
{
    int fd = make_file(5000);
    char name[] = "/file.bin", range[] = "bytes=1000-1999";
    struct gw_arena arena;
    struct gw_fields fields;
    struct gw_files_conf conf = {.root = gw_str_c(dir), .cache_control = GW_STR("no-cache")};
    struct gw_files_request request = {
        .method = GW_METHOD_GET, .name = gw_str_c(name), .fields = &fields, .now_s = 2000000000};
    struct planned planned = {0};
    struct gw_files_body body;
    struct gw_files_job *job;

    gw_arena_init(&arena);
    gw_fields_init(&fields, &arena);
    (void)gw_fields_add(&fields, GW_STR("Host"), GW_STR("a"));
    (void)gw_fields_add(&fields, GW_STR("Range"), gw_str_c(range));
    gw_fields_add(&fields, GW_STR("If-None-Match"), GW_STR("*"))->dropped = true;
    assert_int_equal(gw_files_plan_later(threads, &conf, &request, on_plan, &planned, &job), GW_OK);
    memset(name, 'x', sizeof(name) - 1); /* all was copied */
    memset(range, 'x', sizeof(range) - 1);
    gw_arena_fini(&arena);
    for (int i = 0; i < 5000 && planned.calls == 0; i++)
        gw_loop_turn(loop, 20);

    assert_int_equal(planned.calls, 1);
    assert_int_equal(planned.rc, GW_OK);
    assert_int_equal(planned.plan.status, 206);
    gw_files_body_init(&body, &planned.plan);
    assert_int_equal(send_all(&body, 1000, 1000), 0);
    gw_files_plan_close(&planned.plan);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sends_a_warm_file_without_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(has_a_cold_file_warmed, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_how_much_is_in_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_into_memory_too, setup, teardown),
        cmocka_unit_test_setup_teardown(says_when_the_file_has_shrunk, setup, teardown),
        cmocka_unit_test_setup_teardown(says_when_the_socket_is_full_or_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(sends_from_behind_four_gigabytes, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_nothing_of_a_cancelled_job, setup, teardown),
        cmocka_unit_test_setup_teardown(does_without_rwf_nowait, setup, teardown),
        cmocka_unit_test_setup_teardown(says_when_the_disk_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(plans_on_a_helper_thread, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
