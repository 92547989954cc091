/* How it works: the loop appends to `lines`. A flush swaps `lines` and `out` and hands `out` to a
 * helper thread; as long as that job is taken, `out`, the descriptor and `said_errno` belong to
 * the thread, and everything else to the loop. What the thread could not write stays in `out`
 * and goes again before anything newer, so that the order is kept. */
#include "script/logfile_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "shm/metrics.h"

#define FLUSH_MS 100
#define FLUSH_BYTES (64u << 10)
#define RETRY_MS 1000       /* after the disk has refused */
#define SAY_MS 60000        /* between two complaints about one file */
#define LAST_TRIES 5        /* at the end: this often ... */
#define LAST_WAIT_US 100000 /* ... with this pause */
#define THREADS 4
#define KEEP_BYTES (256u << 10) /* an empty buffer that has grown beyond is given back */

static void start_flush(struct gw_logfile *file);

/* ---- on the loop ---- */

static uint64_t now_ms(const struct gw_logfile *file)
{
    return gw_loop_now_ms(file->set->loop);
}

static bool busy(const struct gw_logfile *file)
{
    return file->job.taken;
}

/* `out` may be read by its length only while no thread has it. */
static size_t waiting(const struct gw_logfile *file)
{
    return gw_buf_len(&file->lines) + file->out_bytes;
}

static void flush_at(struct gw_logfile *file, uint64_t in_ms)
{
    gw_timer_set(file->set->loop, &file->timer, now_ms(file) + in_ms);
}

static void say_lost(struct gw_logfile *file, bool at_once)
{
    uint64_t now = now_ms(file);

    if (file->lost_unsaid == 0)
        return;
    if (!at_once && file->lost_said_ms != 0 && now < file->lost_said_ms + SAY_MS)
        return;
    gw_warn("%s: %llu lines were lost (%llu in all): %s", file->path,
            (unsigned long long)file->lost_unsaid, (unsigned long long)file->lost,
            file->failed_errno != 0 ? strerror(file->failed_errno)
                                    : "they come faster than they are written");
    file->lost_unsaid = 0;
    file->lost_said_ms = now;
}

static void lose(struct gw_logfile *file, uint64_t count)
{
    file->lost += count;
    file->lost_unsaid += count;
    if (file->has_slot)
        gw_metrics_add(file->set->metrics, file->slot, (double)count);
    say_lost(file, false);
}

bool gw_logfile_room(struct gw_logfile *file)
{
    gw_logfile_drop_half(file);
    if (waiting(file) < file->buffer_bytes_max)
        return true;
    lose(file, 1);
    return false;
}

/* A single line may be longer than the buffer: nobody shall hide by sending much. */
bool gw_logfile_take(struct gw_logfile *file, uint32_t mark)
{
    if (waiting(file) > file->buffer_bytes_max &&
        (mark > file->lines.from || file->out_bytes > 0)) {
        file->lines.to = mark;
        lose(file, 1);
        return false;
    }
    if (gw_buf_len(&file->lines) >= FLUSH_BYTES && !busy(file) && file->failed_errno == 0)
        start_flush(file);
    else if (file->timer.due_ms == GW_NEVER && !busy(file))
        flush_at(file, FLUSH_MS);
    return true;
}

static uint64_t count_lines(const struct gw_buf *buf)
{
    uint64_t count = 0;

    for (uint32_t i = buf->from; i < buf->to; i++)
        count += buf->data[i] == '\n';
    return count;
}

static void file_free(struct gw_logfile *file)
{
    gw_list_remove(&file->link);
    gw_timer_fini(file->set->loop, &file->timer);
    if (file->fd >= 0)
        (void)close(file->fd);
    gw_buf_fini(&file->lines);
    gw_buf_fini(&file->out);
    free(file->path);
    free(file);
}

static void say_failed(struct gw_logfile *file)
{
    uint64_t now = now_ms(file);

    if (file->failed_errno == 0 && file->reopen_errno == 0)
        return;
    if (file->fault_said_ms != 0 && now < file->fault_said_ms + SAY_MS)
        return;
    file->fault_said_ms = now;
    if (file->reopen_errno != 0)
        gw_error("%s: cannot be opened again, the old file is written on: %s", file->path,
                 strerror(file->reopen_errno));
    if (file->failed_errno != 0)
        gw_error("%s: cannot be written, lines are kept while there is room: %s", file->path,
                 strerror(file->failed_errno));
}

/* What the thread says of its last job. */
static void settle(struct gw_logfile *file)
{
    file->failed_errno = file->said_errno;
    file->out_bytes = (uint32_t)gw_buf_len(&file->out);
    say_failed(file);
    if (file->said_lost > 0)
        lose(file, file->said_lost);
    file->said_lost = 0;
    if (file->out_bytes == 0 && file->out.size > KEEP_BYTES)
        gw_buf_fini(&file->out);
}

static void on_done(struct gw_threads_job *job, enum gw_rc rc)
{
    struct gw_logfile *file = GW_CONTAINER(job, struct gw_logfile, job);

    (void)rc; /* GW_CANCELLED: the pool ends, and so does all that is here */
    settle(file);
    say_lost(file, false);
    if (file->set->ending)
        return;
    if (file->failed_errno != 0)
        flush_at(file, RETRY_MS);
    else if (file->reopen || gw_buf_len(&file->lines) >= FLUSH_BYTES || file->out_bytes > 0)
        start_flush(file);
    else if (gw_buf_len(&file->lines) > 0)
        flush_at(file, FLUSH_MS);
    else if (file->refs == 0)
        file_free(file);
}

/* Oldest first: what is left in `out` goes before `lines`. */
static void refill(struct gw_logfile *file)
{
    struct gw_buf empty;

    gw_logfile_drop_half(file);
    if (gw_buf_len(&file->out) == 0) {
        empty = file->out;
        gw_buf_clear(&empty);
        file->out = file->lines;
        file->lines = empty;
    }
    file->out_bytes = (uint32_t)gw_buf_len(&file->out);
    file->reopen_now = file->reopen;
    file->reopen = false;
}

static void start_flush(struct gw_logfile *file)
{
    gw_timer_clear(&file->timer);
    refill(file);
    if (gw_threads_submit(file->set->threads, &file->job) != GW_OK) {
        file->reopen = file->reopen || file->reopen_now;
        flush_at(file, RETRY_MS);
    }
}

static void on_timer(struct gw_timer *timer)
{
    struct gw_logfile *file = GW_CONTAINER(timer, struct gw_logfile, timer);

    gw_timer_clear(timer);
    if (!busy(file) && (waiting(file) > 0 || file->reopen))
        start_flush(file);
    else if (!busy(file) && file->refs == 0)
        file_free(file);
}

static void on_work(struct gw_threads_job *job)
{
    gw_logfile_flush(GW_CONTAINER(job, struct gw_logfile, job));
}

/* ---- opening ---- */

static struct gw_logfile *find(struct gw_logfiles *set, const char *path)
{
    GW_LIST_EACH(pos, &set->files)
    {
        struct gw_logfile *file = GW_CONTAINER(pos, struct gw_logfile, link);
        if (strcmp(file->path, path) == 0)
            return file;
    }
    return NULL;
}

static char *full_path(const struct gw_logfiles *set, struct gw_str path)
{
    bool as_is = path.data[0] == '/' || set->dir == NULL || gw_str_eq(path, GW_STR("stderr")) ||
                 gw_str_eq(path, GW_STR("stdout"));
    char *full;

    if (asprintf(&full, "%s%s%.*s", as_is ? "" : set->dir, as_is ? "" : "/", GW_STR_ARG(path)) < 0)
        abort();
    return full;
}

static enum gw_rc count_with(struct gw_logfile *file, const char *counter, struct gw_err *err)
{
    static const struct gw_str label = GW_STR("file");
    struct gw_metrics_def def = {.help = GW_STR("Lines that were dropped, not written."),
                                 .type = GW_METRICS_COUNTER,
                                 .label_count = 1,
                                 .labels = &label};
    struct gw_str value = gw_str_c(file->path);
    uint32_t id;
    enum gw_rc rc;

    if (counter == NULL || file->set->metrics == NULL || file->has_slot)
        return GW_OK;
    def.name = gw_str_c(counter);
    rc = gw_metrics_register(file->set->metrics, &def, &id, err);
    if (rc != GW_OK)
        return rc;
    rc = gw_metrics_series(file->set->metrics, id, &value, 1, &file->slot);
    if (rc != GW_OK)
        return gw_err_set(err, rc, "metric %s: %s", counter, gw_rc_text(rc));
    file->has_slot = true;
    gw_metrics_add(file->set->metrics, file->slot, 0); /* 0 can be seen, too */
    return GW_OK;
}

static enum gw_rc make(struct gw_logfiles *set, char *path, struct gw_logfile **out,
                       struct gw_err *err)
{
    struct gw_logfile *file = calloc(1, sizeof(*file));

    if (file == NULL)
        abort();
    file->set = set;
    file->path = path;
    gw_list_init(&file->link);
    gw_timer_init(&file->timer, on_timer);
    file->timer.due_ms = GW_NEVER;
    gw_threads_job_init(&file->job, on_work, on_done);
    file->fd = gw_logfile_open_path(path, &file->kind);
    if (file->fd < 0) {
        int saved = errno;
        enum gw_rc rc = gw_err_set(err, GW_SYSTEM, "%s: cannot be opened for writing: %s", path,
                                   strerror(saved));
        file_free(file);
        return rc;
    }
    gw_list_push_back(&set->files, &file->link);
    *out = file;
    return GW_OK;
}

enum gw_rc gw_logfile_open(struct gw_logfiles *set, struct gw_str path,
                           const struct gw_logfile_options *options, struct gw_logfile **out,
                           struct gw_err *err)
{
    uint32_t bytes =
        options->buffer_bytes_max != 0 ? options->buffer_bytes_max : GW_LOGFILE_BUFFER_DEFAULT;
    struct gw_logfile *file;
    enum gw_rc rc;
    char *full;

    if (path.len == 0 || memchr(path.data, '\0', path.len) != NULL)
        return gw_err_set(err, GW_INVALID, "a path is expected");
    if (bytes < GW_LOGFILE_BUFFER_LEAST || bytes > GW_LOGFILE_BUFFER_MOST)
        return gw_err_set(err, GW_INVALID, "a buffer of 64k to 256m is expected");
    full = full_path(set, path);
    file = find(set, full);
    if (file != NULL) {
        free(full);
    } else {
        rc = make(set, full, &file, err);
        if (rc != GW_OK)
            return rc;
    }
    if (bytes > file->buffer_bytes_max)
        file->buffer_bytes_max = bytes;
    file->refs++;
    rc = count_with(file, options->counter, err);
    if (rc != GW_OK) {
        gw_logfile_unref(file);
        return rc;
    }
    *out = file;
    return GW_OK;
}

void gw_logfile_unref(struct gw_logfile *file)
{
    if (--file->refs > 0 || busy(file))
        return;
    if (waiting(file) > 0)
        start_flush(file);
    else
        file_free(file);
}

uint64_t gw_logfile_lost(const struct gw_logfile *file)
{
    return file->lost;
}

/* ---- all of them ---- */

enum gw_rc gw_logfiles_new(struct gw_loop *loop, struct gw_metrics *metrics,
                           struct gw_logfiles **out)
{
    struct gw_logfiles *set = calloc(1, sizeof(*set));
    enum gw_rc rc;

    if (set == NULL)
        abort();
    set->loop = loop;
    set->metrics = metrics;
    gw_list_init(&set->files);
    rc = gw_threads_new(loop, THREADS, 4096, &set->threads);
    if (rc != GW_OK) {
        free(set);
        return rc;
    }
    /* A file at the limit of the process is a full disk, not a reason to die. */
    (void)signal(SIGXFSZ, SIG_IGN);
    *out = set;
    return GW_OK;
}

void gw_logfiles_set_dir(struct gw_logfiles *set, struct gw_str dir)
{
    free(set->dir);
    set->dir = dir.len > 0 ? strndup(dir.data, dir.len) : NULL;
}

void gw_logfiles_reopen(struct gw_logfiles *set)
{
    GW_LIST_EACH(pos, &set->files)
    {
        struct gw_logfile *file = GW_CONTAINER(pos, struct gw_logfile, link);
        file->reopen = true;
        if (!busy(file))
            start_flush(file);
    }
}

/* The worker ends: here, and only here, the disk may be waited for. */
static void last_flush(struct gw_logfile *file)
{
    uint64_t left;

    for (int tries = 0; waiting(file) > 0 && tries < LAST_TRIES; tries++) {
        if (tries > 0)
            (void)usleep(LAST_WAIT_US);
        refill(file);
        gw_logfile_flush(file);
        settle(file);
        if (file->failed_errno == 0)
            tries = -1;
    }
    left = count_lines(&file->out) + count_lines(&file->lines);
    if (left > 0)
        lose(file, left);
    say_lost(file, true);
}

void gw_logfiles_free(struct gw_logfiles *set)
{
    if (set == NULL)
        return;
    set->ending = true;
    gw_threads_free(set->threads);
    while (!gw_list_empty(&set->files)) {
        struct gw_logfile *file = GW_CONTAINER(set->files.next, struct gw_logfile, link);
        last_flush(file);
        file_free(file);
    }
    free(set->dir);
    free(set);
}
