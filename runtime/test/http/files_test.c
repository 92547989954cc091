#include "http/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_S 1900000000
#define MODIFIED_S 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */

static char top[64], root[80];
static struct gw_files_conf conf;

static const char *at_top(const char *name)
{
    static char paths[4][256];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", top, name);
    return path;
}

static void put(const char *name, const char *text)
{
    struct timespec times[2] = {{MODIFIED_S, 5}, {MODIFIED_S, 5}};
    int fd = open(at_top(name), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(futimens(fd, times), 0);
    assert_int_equal(close(fd), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)chmod(path, 0700);
    return remove(path);
}

static int setup(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    strcpy(top, "/tmp/moongate-files-XXXXXX");
    assert_non_null(mkdtemp(top));
    assert_int_equal(chmod(top, 0755), 0);
    (void)snprintf(root, sizeof(root), "%s/www", top);
    assert_int_equal(mkdir(root, 0755), 0);
    assert_int_equal(mkdir(at_top("www/sub"), 0755), 0);
    assert_int_equal(mkdir(at_top("www/bare"), 0755), 0);
    assert_int_equal(mkdir(at_top("www/odd"), 0755), 0);
    assert_int_equal(mkdir(at_top("www/odd/index.html"), 0755), 0);
    assert_int_equal(mkdir(at_top("www/.git"), 0755), 0);
    assert_int_equal(mkdir(at_top("www-secret"), 0755), 0);
    put("secret.txt", "outside");
    put("www-secret/a.txt", "outside");
    put("www/.git/config", "hidden");
    put("www/.htpasswd", "hidden");
    put("www/index.html", "<p>top\n");
    put("www/sub/index.html", "<p>sub\n");
    put("www/sub/a b.txt", "spaced");
    put("www/ten.txt", "0123456789");
    put("www/empty.txt", "");
    put("www/caf\xc3\xa9.txt", "utf8");
    put("www/100%.txt", "percent");
    put("www/locked.txt", "locked");
    assert_int_equal(chmod(at_top("www/locked.txt"), 0), 0);
    assert_int_equal(symlink("ten.txt", at_top("www/inside")), 0);
    assert_int_equal(symlink("../ten.txt", at_top("www/sub/up")), 0);
    assert_int_equal(symlink("../secret.txt", at_top("www/outside")), 0);
    assert_int_equal(symlink(at_top("www/ten.txt"), at_top("www/absolute")), 0);
    assert_int_equal(symlink("..", at_top("www/parent")), 0);
    assert_int_equal(symlink("/etc", at_top("www/etc")), 0);
    assert_int_equal(symlink("/proc/self/root", at_top("www/magic")), 0);
    assert_int_equal(symlink("loop", at_top("www/loop")), 0);
    assert_int_equal(symlink("sub", at_top("www/subway")), 0);
    assert_int_equal(mkfifo(at_top("www/fifo"), 0644), 0);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", at_top("www/socket"));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    (void)close(fd);
    conf = (struct gw_files_conf){.root = gw_str_c(root), .index = GW_STR("index.html")};
    return 0;
}

static int teardown(void **state)
{
    return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

/* ---- asking ---- */

struct ask {
    struct gw_arena arena;
    struct gw_fields in;
    struct gw_fields out;
    struct gw_files_request request;
    struct gw_files_plan plan;
};

static void ask_init(struct ask *ask, enum gw_method method, const char *name)
{
    gw_arena_init(&ask->arena);
    gw_fields_init(&ask->in, &ask->arena);
    gw_fields_init(&ask->out, &ask->arena);
    ask->request = (struct gw_files_request){.method = method,
                                             .name = gw_str_c(name),
                                             .path = gw_str_c(name),
                                             .fields = &ask->in,
                                             .now_s = NOW_S};
}

static void ask_plan(struct ask *ask)
{
    assert_int_equal(gw_files_plan(&conf, &ask->request, true, &ask->plan), GW_OK);
    gw_files_fields(&ask->plan, &conf, &ask->request, &ask->out);
}

static void ask_fini(struct ask *ask)
{
    gw_files_plan_close(&ask->plan);
    gw_arena_fini(&ask->arena);
}

static unsigned status_of(const char *name)
{
    struct ask ask;

    ask_init(&ask, GW_METHOD_GET, name);
    ask_plan(&ask);
    ask_fini(&ask);
    return ask.plan.status;
}

static void expect_field(struct ask *ask, const char *name, const char *want)
{
    struct gw_str got = GW_STR_NULL;
    bool has = gw_fields_get(&ask->out, gw_str_c(name), &got);

    if (want == NULL ? has : !has || !gw_str_eq(got, gw_str_c(want)))
        fail_msg("%s: \"%.*s\", not \"%s\"", name, GW_STR_ARG(got), want != NULL ? want : "(none)");
}

static void expect_bytes(struct ask *ask, const char *want)
{
    char text[64] = "";

    assert_int_equal(ask->plan.length, strlen(want));
    assert_int_equal(pread(ask->plan.fd, text, ask->plan.length, (off_t)ask->plan.offset),
                     strlen(want));
    assert_memory_equal(text, want, strlen(want));
}

/* ---- names ---- */

static void answers_each_name(void **state)
{
    static const struct {
        const char *name;
        unsigned openat2, walk;
    } rows[] = {
        {"/", 200, 200},
        {"/index.html", 200, 200},
        {"/ten.txt", 200, 200},
        {"/empty.txt", 200, 200},
        {"/sub/", 200, 200},
        {"/sub", 301, 301},
        {"/sub/a%20b.txt", 200, 200},
        {"/sub/a b.txt", 200, 200},
        {"/caf%C3%A9.txt", 200, 200},
        {"/caf%c3%a9.txt", 200, 200},
        {"/100%25.txt", 200, 200},
        {"/%74en.txt", 200, 200},
        {"/inside", 200, 404},
        {"/sub/up", 200, 404},
        {"/subway/", 200, 404},
        {"/subway", 301, 404},
        {"/bare/", 404, 404},
        {"/bare", 301, 301},
        {"/odd/", 404, 404},
        {"/missing", 404, 404},
        {"/missing/", 404, 404},
        {"/ten.txt/", 404, 404},
        {"/ten.txt/x", 404, 404},
        /* out of the root */
        {"/../secret.txt", 404, 404},
        {"/sub/../ten.txt", 404, 404},
        {"/..", 404, 404},
        {"/../", 404, 404},
        {"/.", 404, 404},
        {"/./ten.txt", 404, 404},
        {"/%2e%2e/secret.txt", 404, 404},
        {"/%2E%2E%2Fsecret.txt", 404, 404},
        {"/..%2fsecret.txt", 404, 404},
        {"/sub%2findex.html", 404, 404},
        {"/sub%2Findex.html", 404, 404},
        {"/..%5csecret.txt", 404, 404},
        {"/sub\\index.html", 404, 404},
        {"/%252e%252e/secret.txt", 404, 404},
        {"/../www-secret/a.txt", 404, 404},
        {"/-secret/a.txt", 404, 404},
        {"//etc/passwd", 404, 404},
        {"//ten.txt", 404, 404},
        {"/sub//index.html", 404, 404},
        {"/sub//", 404, 404},
        {"//", 404, 404},
        {"etc/passwd", 404, 404},
        {"", 404, 404},
        {"/ten.txt%00.html", 404, 404},
        {"/%00", 404, 404},
        {"/ten.txt%0a", 404, 404},
        {"/ten.txt%7f", 404, 404},
        {"/ten.txt%", 404, 404},
        {"/ten.txt%2", 404, 404},
        {"/ten.txt%zz", 404, 404},
        {"/%c0%ae%c0%ae/secret.txt", 404, 404},
        /* symbolic links that leave */
        {"/outside", 404, 404},
        {"/absolute", 404, 404},
        {"/parent/secret.txt", 404, 404},
        {"/parent/www/ten.txt", 404, 404},
        {"/parent", 404, 404},
        {"/etc/passwd", 404, 404},
        {"/magic/etc/passwd", 404, 404},
        {"/loop", 404, 404},
        {"/loop/x", 404, 404},
        /* hidden, and not files */
        {"/.htpasswd", 404, 404},
        {"/%2ehtpasswd", 404, 404},
        {"/.git/config", 404, 404},
        {"/.git", 404, 404},
        {"/.git/", 404, 404},
        {"/...", 404, 404},
        {"/fifo", 404, 404},
        {"/socket", 404, 404},
        {"/fifo/", 404, 404},
    };
    int before = open_fds();

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned got;
        conf.without_openat2 = false;
        got = status_of(rows[i].name);
        if (got != rows[i].openat2)
            fail_msg("openat2: \"%s\": %u, not %u", rows[i].name, got, rows[i].openat2);
        conf.without_openat2 = true;
        got = status_of(rows[i].name);
        if (got != rows[i].walk)
            fail_msg("walk: \"%s\": %u, not %u", rows[i].name, got, rows[i].walk);
        conf.without_openat2 = false;
    }
    assert_int_equal(open_fds(), before);
}

static void refuses_names_that_are_too_long(void **state)
{
    char name[3 * GW_FILES_NAME_BYTES_MAX];

    for (int walk = 0; walk < 2; walk++) {
        conf.without_openat2 = walk;
        for (size_t len = 250; len < 260; len++) {
            memset(name, 'a', sizeof(name));
            name[0] = '/';
            name[len] = '\0';
            assert_int_equal(status_of(name), 404);
        }
        for (size_t len = GW_FILES_NAME_BYTES_MAX - 16; len < GW_FILES_NAME_BYTES_MAX + 16; len++) {
            for (size_t i = 0; i < len; i++)
                name[i] = i % 2 ? 'a' : '/';
            name[len] = '\0';
            assert_int_equal(status_of(name), 404);
            name[len - 1] = '/';
            name[len - 2] = 'a';
            assert_int_equal(status_of(name), 404);
        }
    }
    conf.without_openat2 = false;
}

static void shows_dot_files_where_told_to(void **state)
{
    conf.dot_files = true;
    assert_int_equal(status_of("/.htpasswd"), 200);
    assert_int_equal(status_of("/.git/config"), 200);
    assert_int_equal(status_of("/../secret.txt"), 404);
    assert_int_equal(status_of("/./ten.txt"), 404);
    conf.dot_files = false;
}

static void has_no_page_without_an_index(void **state)
{
    struct gw_str index = conf.index;

    conf.index = GW_STR_NULL;
    assert_int_equal(status_of("/"), 404);
    assert_int_equal(status_of("/sub/"), 404);
    assert_int_equal(status_of("/sub"), 301);
    /* An index comes from the conf, but leads no further than a name. */
    conf.index = GW_STR("../../secret.txt");
    assert_int_equal(status_of("/sub/"), 404);
    conf.without_openat2 = true;
    conf.index = GW_STR("a b.txt");
    assert_int_equal(status_of("/sub/"), 200);
    conf.without_openat2 = false;
    conf.index = index;
}

static void answers_403_404_and_503_for_what_the_system_says(void **state)
{
    struct rlimit limit, none;
    struct gw_str kept = conf.root;

    if (geteuid() == 0) {
        assert_int_equal(seteuid(65534), 0);
        assert_int_equal(status_of("/locked.txt"), 403);
        conf.without_openat2 = true;
        assert_int_equal(status_of("/locked.txt"), 403);
        conf.without_openat2 = false;
        assert_int_equal(seteuid(0), 0);
    } else {
        assert_int_equal(status_of("/locked.txt"), 403);
    }
    conf.root = GW_STR("/nonexistent/moongate");
    assert_int_equal(status_of("/ten.txt"), 404);
    conf.root = GW_STR("");
    assert_int_equal(status_of("/ten.txt"), 404);
    conf.root = kept;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(status_of("/ten.txt"), 503);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    /* One descriptor for the root, none for the file. */
    none.rlim_cur = (rlim_t)open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)close((int)none.rlim_cur);
    none.rlim_cur++;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(status_of("/ten.txt"), 503);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(status_of("/ten.txt"), 200);
}

/* ---- answers ---- */

static void describes_a_file(void **state)
{
    struct ask ask;

    conf.cache_control = GW_STR("max-age=60");
    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    ask_plan(&ask);
    assert_int_equal(ask.plan.status, 200);
    assert_false(ask.plan.head_only);
    expect_bytes(&ask, "0123456789");
    expect_field(&ask, "Content-Type", "text/plain; charset=utf-8");
    expect_field(&ask, "Content-Length", "10");
    expect_field(&ask, "Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    expect_field(&ask, "Accept-Ranges", "bytes");
    expect_field(&ask, "Cache-Control", "max-age=60");
    expect_field(&ask, "Content-Range", NULL);
    expect_field(&ask, "ETag", ask.plan.etag);
    assert_true(ask.plan.etag[0] == '"' && ask.plan.etag[strlen(ask.plan.etag) - 1] == '"');
    ask_fini(&ask);

    ask_init(&ask, GW_METHOD_GET, "/");
    ask_plan(&ask);
    expect_bytes(&ask, "<p>top\n");
    expect_field(&ask, "Content-Type", "text/html; charset=utf-8");
    ask_fini(&ask);
    conf.cache_control = GW_STR_NULL;
}

static void answers_head_without_a_body(void **state)
{
    struct ask ask;

    ask_init(&ask, GW_METHOD_HEAD, "/ten.txt");
    (void)gw_fields_add(&ask.in, GW_STR("Range"), GW_STR("bytes=0-1"));
    ask_plan(&ask);
    assert_int_equal(ask.plan.status, 200);
    assert_true(ask.plan.head_only);
    assert_int_equal(ask.plan.length, 0);
    assert_int_equal(ask.plan.fd, -1);
    expect_field(&ask, "Content-Length", "10");
    expect_field(&ask, "Cache-Control", NULL);
    ask_fini(&ask);
}

static void sends_an_empty_file_without_a_descriptor(void **state)
{
    struct ask ask;

    ask_init(&ask, GW_METHOD_GET, "/empty.txt");
    ask_plan(&ask);
    assert_int_equal(ask.plan.status, 200);
    assert_int_equal(ask.plan.fd, -1);
    expect_field(&ask, "Content-Length", "0");
    ask_fini(&ask);
}

static void refuses_other_methods(void **state)
{
    static const enum gw_method methods[] = {GW_METHOD_POST,  GW_METHOD_PUT,     GW_METHOD_DELETE,
                                             GW_METHOD_PATCH, GW_METHOD_OPTIONS, GW_METHOD_OTHER,
                                             GW_METHOD_TRACE, GW_METHOD_CONNECT};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        struct ask ask;
        ask_init(&ask, methods[i], "/ten.txt");
        ask_plan(&ask);
        assert_int_equal(ask.plan.status, 405);
        expect_field(&ask, "Allow", "GET, HEAD");
        ask_fini(&ask);
    }
}

static void redirects_a_folder_to_its_slash(void **state)
{
    static const struct {
        const char *path;
        const char *query;
        const char *want;
    } rows[] = {
        {"/sub", NULL, "/sub/"},
        {"/static/sub", NULL, "/static/sub/"},
        {"/sub", "a=1&b=%2F", "/sub/?a=1&b=%2F"},
        {"/sub", "", "/sub/?"},
        {"//evil.example/sub", NULL, "/evil.example/sub/"},
        {"////evil.example", "x", "/evil.example/?x"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ask ask;
        ask_init(&ask, GW_METHOD_GET, "/sub");
        ask.request.path = gw_str_c(rows[i].path);
        if (rows[i].query != NULL)
            ask.request.query = gw_str_c(rows[i].query);
        ask_plan(&ask);
        assert_int_equal(ask.plan.status, 301);
        assert_int_equal(ask.plan.fd, -1);
        expect_field(&ask, "Location", rows[i].want);
        ask_fini(&ask);
    }
}

static void sends_a_range(void **state)
{
    struct ask ask;

    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    (void)gw_fields_add(&ask.in, GW_STR("Range"), GW_STR("bytes=2-4"));
    ask_plan(&ask);
    assert_int_equal(ask.plan.status, 206);
    expect_bytes(&ask, "234");
    expect_field(&ask, "Content-Range", "bytes 2-4/10");
    expect_field(&ask, "Content-Length", "3");
    ask_fini(&ask);

    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    (void)gw_fields_add(&ask.in, GW_STR("Range"), GW_STR("bytes=10-"));
    ask_plan(&ask);
    assert_int_equal(ask.plan.status, 416);
    assert_int_equal(ask.plan.fd, -1);
    expect_field(&ask, "Content-Range", "bytes */10");
    expect_field(&ask, "Content-Length", NULL);
    ask_fini(&ask);

    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    (void)gw_fields_add(&ask.in, GW_STR("Range"), GW_STR("bytes=0-1,5-6"));
    ask_plan(&ask);
    assert_int_equal(ask.plan.status, 200);
    expect_bytes(&ask, "0123456789");
    ask_fini(&ask);
}

static void answers_conditions_with_its_own_tag(void **state)
{
    struct ask ask;
    char etag[64];

    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    ask_plan(&ask);
    strcpy(etag, ask.plan.etag);
    ask_fini(&ask);

    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    (void)gw_fields_add(&ask.in, GW_STR("If-None-Match"), gw_str_c(etag));
    (void)gw_fields_add(&ask.in, GW_STR("Range"), GW_STR("bytes=0-1"));
    ask_plan(&ask);
    assert_int_equal(ask.plan.status, 304);
    assert_int_equal(ask.plan.fd, -1);
    expect_field(&ask, "ETag", etag);
    expect_field(&ask, "Content-Length", NULL);
    expect_field(&ask, "Content-Type", NULL);
    ask_fini(&ask);

    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    (void)gw_fields_add(&ask.in, GW_STR("If-Match"), GW_STR("\"other\""));
    ask_plan(&ask);
    assert_int_equal(ask.plan.status, 412);
    assert_int_equal(ask.plan.fd, -1);
    ask_fini(&ask);

    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    (void)gw_fields_add(&ask.in, GW_STR("If-Range"), gw_str_c(etag));
    (void)gw_fields_add(&ask.in, GW_STR("Range"), GW_STR("bytes=-2"));
    ask_plan(&ask);
    assert_int_equal(ask.plan.status, 206);
    expect_bytes(&ask, "89");
    ask_fini(&ask);
}

static void gives_a_changed_file_another_tag(void **state)
{
    struct ask before, after;

    put("www/change.txt", "one");
    ask_init(&before, GW_METHOD_GET, "/change.txt");
    ask_plan(&before);
    /* Same size, same time, put in its place by a rename: another inode. */
    put("www/change.new", "two");
    assert_int_equal(rename(at_top("www/change.new"), at_top("www/change.txt")), 0);
    ask_init(&after, GW_METHOD_GET, "/change.txt");
    ask_plan(&after);
    assert_string_not_equal(before.plan.etag, after.plan.etag);
    expect_bytes(&before, "one"); /* what was promised is still sent */
    expect_bytes(&after, "two");
    ask_fini(&before);
    ask_fini(&after);
}

static void never_says_modified_later_than_now(void **state)
{
    struct timespec times[2] = {{NOW_S + 1000, 0}, {NOW_S + 1000, 0}};
    struct ask ask;

    put("www/future.txt", "x");
    assert_int_equal(utimensat(AT_FDCWD, at_top("www/future.txt"), times, 0), 0);
    ask_init(&ask, GW_METHOD_GET, "/future.txt");
    ask_plan(&ask);
    assert_int_equal(ask.plan.modified_s, NOW_S);
    ask_fini(&ask);
}

static void does_not_wait_for_a_disk_unless_it_may(void **state)
{
    struct ask ask;
    enum gw_rc rc;

    assert_int_equal(status_of("/ten.txt"), 200); /* its names are in memory now */
    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    rc = gw_files_plan(&conf, &ask.request, false, &ask.plan);
    assert_true(rc == GW_AGAIN || (rc == GW_OK && ask.plan.status == 200));
    print_message("names in memory: %s\n", rc == GW_OK ? "answered at once" : "not known here");
    ask_fini(&ask);

    conf.without_openat2 = true; /* can not know, so it may not try */
    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    assert_int_equal(gw_files_plan(&conf, &ask.request, false, &ask.plan), GW_AGAIN);
    assert_int_equal(ask.plan.fd, -1);
    ask_fini(&ask);
    conf.without_openat2 = false;

    ask_init(&ask, GW_METHOD_GET, "/never-asked-for");
    assert_int_equal(gw_files_plan(&conf, &ask.request, false, &ask.plan), GW_AGAIN);
    ask_fini(&ask);
}

static void keeps_no_descriptor(void **state)
{
    static const char *const names[] = {"/ten.txt", "/sub", "/sub/",   "/fifo",     "/missing",
                                        "/outside", "/",    "/inside", "/bare/x/y", "/empty.txt"};
    int before = open_fds();

    for (int round = 0; round < 1000; round++) {
        struct ask ask;
        conf.without_openat2 = round & 1;
        ask_init(&ask, round % 3 ? GW_METHOD_GET : GW_METHOD_HEAD, names[round % 10]);
        if (round % 7 == 0)
            (void)gw_fields_add(&ask.in, GW_STR("If-None-Match"), GW_STR("*"));
        if (round % 11 == 0)
            (void)gw_fields_add(&ask.in, GW_STR("Range"), GW_STR("bytes=100-"));
        ask_plan(&ask);
        ask_fini(&ask);
    }
    conf.without_openat2 = false;
    assert_int_equal(open_fds(), before);
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

static int is_safe_without_openat2(void)
{
    struct ask ask;

    if (status_of("/ten.txt") != 200 || status_of("/sub/a%20b.txt") != 200)
        return 1;
    if (status_of("/outside") != 404 || status_of("/inside") != 404 ||
        status_of("/parent/secret.txt") != 404 || status_of("/etc/passwd") != 404)
        return 2;
    if (status_of("/missing") != 404 || status_of("/sub") != 301 || status_of("/sub/") != 200)
        return 3;
    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    if (gw_files_plan(&conf, &ask.request, false, &ask.plan) != GW_AGAIN)
        return 4;
    ask_fini(&ask);
    return 0;
}

static void is_as_safe_on_old_kernels_and_in_sandboxes(void **state)
{
    on_kernel_without(SYS_openat2, ENOSYS, is_safe_without_openat2);
    on_kernel_without(SYS_openat2, EPERM, is_safe_without_openat2);
}

static int is_503(void)
{
    return status_of("/ten.txt") == 503 ? 0 : 1;
}

/* The C library makes fstat() of one call or the other. */
static int is_503_without_fstat(void)
{
    deny(SYS_fstat, ENOMEM);
    return is_503();
}

static void answers_503_when_the_kernel_is_out_of_something(void **state)
{
    static const unsigned errors[] = {EMFILE, ENFILE, ENOMEM, EIO, EAGAIN};

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        on_kernel_without(SYS_openat2, errors[i], is_503);
    on_kernel_without(SYS_newfstatat, ENOMEM, is_503_without_fstat);
}

/* ---- races ---- */

static _Atomic bool racing;

static void *swap_links(void *arg)
{
    char link[256], other[256], folder[256], moved[256];

    (void)snprintf(link, sizeof(link), "%s", at_top("www/race"));
    (void)snprintf(other, sizeof(other), "%s", at_top("www/race2"));
    (void)snprintf(folder, sizeof(folder), "%s", at_top("www/deep/er"));
    (void)snprintf(moved, sizeof(moved), "%s", at_top("er-moved"));
    while (racing) {
        /* A folder becomes a link to the outside and a folder again; another moves away. */
        (void)renameat2(AT_FDCWD, link, AT_FDCWD, other, RENAME_EXCHANGE);
        (void)rename(folder, moved);
        (void)rename(moved, folder);
    }
    return NULL;
}

static void never_leaves_the_root_while_names_change(void **state)
{
    pthread_t thread;
    unsigned good = 0;

    assert_int_equal(mkdir(at_top("www/race"), 0755), 0);
    assert_int_equal(mkdir(at_top("www/deep"), 0755), 0);
    assert_int_equal(mkdir(at_top("www/deep/er"), 0755), 0);
    assert_int_equal(symlink("../www-secret", at_top("www/race2")), 0);
    put("www/race/a.txt", "inside!");
    put("www/deep/er/a.txt", "inside!");
    racing = true;
    assert_int_equal(pthread_create(&thread, NULL, swap_links, NULL), 0);
    for (int round = 0; round < 4000; round++) {
        struct ask ask;
        conf.without_openat2 = round & 1;
        ask_init(&ask, GW_METHOD_GET, round & 2 ? "/race/a.txt" : "/deep/er/a.txt");
        ask_plan(&ask);
        assert_true(ask.plan.status == 200 || ask.plan.status == 404 || ask.plan.status == 503);
        if (ask.plan.status == 200) {
            expect_bytes(&ask, "inside!");
            good++;
        }
        ask_fini(&ask);
    }
    racing = false;
    assert_int_equal(pthread_join(thread, NULL), 0);
    conf.without_openat2 = false;
    assert_true(good > 0);
    (void)rename(at_top("er-moved"), at_top("www/deep/er"));
}

static void sees_a_root_that_was_switched(void **state)
{
    struct gw_str kept = conf.root;
    struct ask ask;
    char current[256];

    assert_int_equal(mkdir(at_top("release-2"), 0755), 0);
    put("release-2/ten.txt", "second");
    assert_int_equal(symlink("www", at_top("current")), 0);
    (void)snprintf(current, sizeof(current), "%s", at_top("current"));
    conf.root = gw_str_c(current);
    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    ask_plan(&ask);
    expect_bytes(&ask, "0123456789");
    ask_fini(&ask);
    assert_int_equal(symlink("release-2", at_top("next")), 0);
    assert_int_equal(rename(at_top("next"), at_top("current")), 0);
    ask_init(&ask, GW_METHOD_GET, "/ten.txt");
    ask_plan(&ask);
    expect_bytes(&ask, "second");
    ask_fini(&ask);
    conf.root = kept;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_each_name),
        cmocka_unit_test(refuses_names_that_are_too_long),
        cmocka_unit_test(shows_dot_files_where_told_to),
        cmocka_unit_test(has_no_page_without_an_index),
        cmocka_unit_test(answers_403_404_and_503_for_what_the_system_says),
        cmocka_unit_test(describes_a_file),
        cmocka_unit_test(answers_head_without_a_body),
        cmocka_unit_test(sends_an_empty_file_without_a_descriptor),
        cmocka_unit_test(refuses_other_methods),
        cmocka_unit_test(redirects_a_folder_to_its_slash),
        cmocka_unit_test(sends_a_range),
        cmocka_unit_test(answers_conditions_with_its_own_tag),
        cmocka_unit_test(gives_a_changed_file_another_tag),
        cmocka_unit_test(never_says_modified_later_than_now),
        cmocka_unit_test(does_not_wait_for_a_disk_unless_it_may),
        cmocka_unit_test(is_as_safe_on_old_kernels_and_in_sandboxes),
        cmocka_unit_test(answers_503_when_the_kernel_is_out_of_something),
        cmocka_unit_test(keeps_no_descriptor),
        cmocka_unit_test(never_leaves_the_root_while_names_change),
        cmocka_unit_test(sees_a_root_that_was_switched),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
