#include "process/loader.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "process/channel.h"
#include "process/fds.h"

#define REPORT_BYTES_MAX (4u << 20)

struct gw_loader {
    struct gw_loop *loop;
    struct gw_io io;
    struct gw_timer timer;
    int channel;
    pid_t pid;
    uint64_t began_ms;
    gw_loader_fn fn;
    void *arg;
};

/* ---- in the child ---- */

static void add_dirs(struct gw_buf *to, const struct gw_str *dirs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        gw_buf_printf(to, "%.*s\n", GW_STR_ARG(dirs[i]));
}

/* The report travels as a file: it may be longer than a message. */
static int report_file(struct gw_report *report, uint64_t *text_len)
{
    struct gw_buf buf = GW_BUF_INIT;
    int fd = memfd_create("moongate-report", MFD_CLOEXEC);

    gw_report_text(report, &buf);
    *text_len = gw_buf_len(&buf);
    gw_report_json(report, &buf);
    if (fd >= 0 && write(fd, buf.data + buf.from, gw_buf_len(&buf)) != (ssize_t)gw_buf_len(&buf)) {
        (void)close(fd);
        fd = -1;
    }
    gw_buf_fini(&buf);
    return fd;
}

static void child_run(int channel, const struct gw_loading_options *options)
{
    int keep[] = {channel, gw_log_fd(), options->before != NULL ? options->before_fd : -1};
    struct gw_message *message = calloc(1, sizeof(*message));
    struct gw_loading loading;
    struct gw_buf dirs = GW_BUF_INIT;
    struct gw_err err;
    sigset_t none;
    enum gw_rc rc;

    gw_log_name("loader");
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    gw_fds_close_except(keep, sizeof(keep) / sizeof(keep[0]));
    if (message == NULL)
        _exit(1);

    rc = gw_loading_run(&loading, options);
    message->type = GW_MESSAGE_LOADED;
    message->number = rc;
    message->fds[0] = report_file(&loading.report, &message->value);
    if (message->fds[0] < 0) {
        gw_error("the report could not be written: %s", strerror(errno));
        _exit(1);
    }
    message->fd_count = 1;
    if (rc == GW_OK) {
        if (gw_image_seal(&loading.image, &message->fds[1], &err) != GW_OK) {
            gw_error("%s", err.text);
            _exit(1);
        }
        message->fd_count = 2;
    }
    add_dirs(&dirs, loading.source.plugin_paths, loading.source.plugin_paths_count);
    add_dirs(&dirs, loading.source.module_paths, loading.source.module_paths_count);
    gw_message_text(message, gw_buf_str(&dirs));
    /* Nothing is freed: the process ends here, and that is quicker. */
    _exit(gw_channel_send(channel, message) == GW_OK ? 0 : 1);
}

/* ---- in the master ---- */

static void loader_free(struct gw_loader *loader)
{
    gw_io_close(&loader->io);
    gw_timer_fini(loader->loop, &loader->timer);
    (void)close(loader->channel);
    free(loader);
}

/* Ends the child; what it died of, in words for a report. */
static void reap(struct gw_loader *loader, const char *why, struct gw_err *err)
{
    int status = 0;

    if (why != NULL)
        (void)kill(loader->pid, SIGKILL);
    while (waitpid(loader->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (why != NULL)
        (void)gw_err_set(err, GW_TIMEOUT, "%s", why);
    else if (WIFSIGNALED(status))
        (void)gw_err_set(err, GW_SYSTEM, "the loader died of signal %d (%s)", WTERMSIG(status),
                         strsignal(WTERMSIG(status)));
    else
        (void)gw_err_set(err, GW_SYSTEM, "the loader ended with code %d and said nothing",
                         WEXITSTATUS(status));
}

static void end(struct gw_loader *loader, struct gw_loaded *loaded)
{
    gw_loader_fn fn = loader->fn;
    void *arg = loader->arg;

    loaded->ms = gw_loop_now_ms(loader->loop) - loader->began_ms;
    loader_free(loader);
    fn(arg, loaded); /* may start another loader */
}

static void fail(struct gw_loader *loader, const char *why)
{
    struct gw_loaded loaded = {.rc = GW_SYSTEM, .image_fd = -1};
    struct gw_err err;

    reap(loader, why, &err);
    loaded.text = gw_str_c(err.text);
    end(loader, &loaded);
}

static char *read_report(int fd, size_t *len)
{
    struct stat st;
    char *text;

    if (fstat(fd, &st) != 0 || st.st_size < 0 || st.st_size > REPORT_BYTES_MAX)
        return NULL;
    text = malloc((size_t)st.st_size + 1);
    if (text == NULL || pread(fd, text, (size_t)st.st_size, 0) != st.st_size) {
        free(text);
        return NULL;
    }
    *len = (size_t)st.st_size;
    return text;
}

static void on_message(struct gw_loader *loader, struct gw_message *message)
{
    struct gw_loaded loaded = {.image_fd = -1};
    struct gw_err err;
    size_t len = 0;
    char *report;

    if (message->type != GW_MESSAGE_LOADED || message->fd_count < 1 ||
        (report = read_report(message->fds[0], &len)) == NULL || message->value > len) {
        gw_message_close_fds(message);
        fail(loader, "the loader sent nonsense");
        return;
    }
    loaded.rc = message->fd_count >= 2            ? GW_OK
                : message->number == GW_NOT_FOUND ? GW_NOT_FOUND
                                                  : GW_INVALID;
    loaded.text = gw_str(report, message->value);
    loaded.json = gw_str(report + message->value, len - message->value);
    loaded.dirs = gw_str(message->text, message->text_len);
    if (loaded.rc == GW_OK) {
        loaded.image_fd = message->fds[1];
        message->fds[1] = -1;
    }
    gw_message_close_fds(message);
    reap(loader, NULL, &err); /* it ends right behind its message */
    end(loader, &loaded);
    free(report);
}

static void on_io(struct gw_io *io, unsigned what)
{
    struct gw_loader *loader = GW_CONTAINER(io, struct gw_loader, io);
    struct gw_message *message = malloc(sizeof(*message));
    enum gw_rc rc;

    if (message == NULL)
        abort();
    rc = gw_channel_receive(loader->channel, message);
    if (rc == GW_OK)
        on_message(loader, message);
    else if (rc != GW_AGAIN)
        fail(loader, rc == GW_PROTOCOL ? "the loader sent nonsense" : NULL);
    free(message);
}

static void on_timeout(struct gw_timer *timer)
{
    fail(GW_CONTAINER(timer, struct gw_loader, timer), "the load took longer than 20 s");
}

enum gw_rc gw_loader_start(struct gw_loop *loop, const struct gw_loading_options *options,
                           gw_loader_fn fn, void *arg, struct gw_loader **out, struct gw_err *err)
{
    struct gw_loader *loader = calloc(1, sizeof(*loader));
    int ends[2];
    enum gw_rc rc;

    if (loader == NULL)
        abort();
    rc = gw_channel_pair(ends, err);
    if (rc != GW_OK)
        goto fail_after_alloc;
    *loader = (struct gw_loader){.loop = loop, .channel = ends[0], .fn = fn, .arg = arg};
    loader->pid = fork();
    if (loader->pid == 0)
        child_run(ends[1], options);
    (void)close(ends[1]);
    if (loader->pid < 0) {
        rc = gw_err_set(err, GW_SYSTEM, "loader: fork: %s", strerror(errno));
        goto fail_after_pair;
    }
    loader->began_ms = gw_loop_now_ms(loop);
    gw_timer_init(&loader->timer, on_timeout);
    rc = gw_io_open_level(&loader->io, loop, loader->channel, on_io);
    if (rc != GW_OK) {
        reap(loader, "no event", err);
        goto fail_after_pair;
    }
    gw_timer_set(loop, &loader->timer, loader->began_ms + GW_LOADER_TIMEOUT_MS);
    *out = loader;
    return GW_OK;

fail_after_pair:
    (void)close(ends[0]);
fail_after_alloc:
    free(loader);
    return rc;
}

void gw_loader_cancel(struct gw_loader *loader)
{
    struct gw_err err;

    reap(loader, "cancelled", &err);
    loader_free(loader);
}
