/* The bytes of a plan, and the jobs for the helper threads.
 *
 * How it knows what is in memory: preadv2(RWF_NOWAIT) reads what the page cache has and stops
 * before the rest. mincore() and cachestat() would do without a copy, but tell the truth
 * only about files that the process could write, which those of a web root should not be.
 * All vectors point at one small buffer, so the copy stays in the first cache. Each byte is
 * looked at once: `warm_to` remembers. */
#include "http/files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#define PROBE_BYTES (16 * 1024)
#define PROBE_VECTORS (GW_FILES_WINDOW_BYTES / PROBE_BYTES)
#define WARM_BYTES (64 * 1024)
#define PAGES_MAX (GW_FILES_WINDOW_BYTES / 4096 + 1)

/* ---- what the page cache has ---- */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* For file systems without RWF_NOWAIT (overlays): the resident pages, or all of them where
 * the kernel does not want to tell. `length` is at most one window. */
static uint64_t resident(int fd, uint64_t offset, uint64_t length)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), begin = offset / page * page, count, i;
    unsigned char pages[PAGES_MAX];
    void *map = mmap(NULL, offset + length - begin, PROT_READ, MAP_SHARED, fd, (off_t)begin);

    if (map == MAP_FAILED)
        return 0;
    count = (offset + length - begin + page - 1) / page;
    if (count > PAGES_MAX || mincore(map, offset + length - begin, pages) != 0)
        count = 0;
    (void)munmap(map, offset + length - begin);
    for (i = 0; i < count && (pages[i] & 1); i++)
        continue;
    if (begin + i * page <= offset)
        return 0;
    return min_u64(begin + i * page - offset, length);
}

static uint64_t window_cached(int fd, uint64_t offset, uint64_t length)
{
    char probe[PROBE_BYTES];
    struct iovec vectors[PROBE_VECTORS];
    uint64_t done = 0;

    while (done < length) {
        int count = 0;
        ssize_t got;
        for (uint64_t at = done; at < length; at += PROBE_BYTES, count++)
            vectors[count] = (struct iovec){probe, (size_t)min_u64(PROBE_BYTES, length - at)};
        got = preadv2(fd, vectors, count, (off_t)(offset + done), RWF_NOWAIT);
        if (got == 0)
            return length; /* behind its end there is nothing to wait for */
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return done;
        if (got < 0)
            return done + resident(fd, offset + done, length - done);
        done += (uint64_t)got;
    }
    return done;
}

uint64_t gw_files_cached(int fd, uint64_t offset, uint64_t length)
{
    uint64_t done = 0;

    while (done < length) {
        uint64_t window = min_u64(length - done, GW_FILES_WINDOW_BYTES);
        uint64_t found = window_cached(fd, offset + done, window);
        done += found;
        if (found < window)
            break;
    }
    return done;
}

/* ---- sending ---- */

void gw_files_body_init(struct gw_files_body *body, const struct gw_files_plan *plan)
{
    *body = (struct gw_files_body){
        .fd = plan->fd, .offset = plan->offset, .left = plan->length, .warm_to = plan->offset};
}

/* How much may go now without a disk, at most `max`. */
static uint64_t ready_bytes(struct gw_files_body *body, size_t max)
{
    if (body->warm_to <= body->offset)
        body->warm_to = body->offset + window_cached(body->fd, body->offset,
                                                     min_u64(body->left, GW_FILES_WINDOW_BYTES));
    return min_u64(min_u64(max, body->left), body->warm_to - body->offset);
}

static enum gw_rc socket_rc(int error)
{
    switch (error) {
    case EAGAIN:
        return GW_AGAIN;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return GW_CLOSED;
    default:
        return GW_SYSTEM;
    }
}

enum gw_rc gw_files_body_next(struct gw_files_body *body, int sockfd, size_t max, size_t *sent)
{
    uint64_t ready;
    ssize_t got;
    off_t at = (off_t)body->offset;

    *sent = 0;
    if (body->left == 0)
        return GW_EOF;
    assert(max > 0);
    ready = ready_bytes(body, max);
    if (ready == 0)
        return GW_BUSY;
    do {
        got = sendfile(sockfd, body->fd, &at, (size_t)ready);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return socket_rc(errno);
    if (got == 0)
        return GW_SYSTEM; /* it has shrunk */
    *sent = (size_t)got;
    body->offset += (uint64_t)got;
    body->left -= (uint64_t)got;
    return GW_OK;
}

enum gw_rc gw_files_body_read(struct gw_files_body *body, void *to, size_t size, size_t *got)
{
    uint64_t ready;
    ssize_t count;

    *got = 0;
    if (body->left == 0)
        return GW_EOF;
    assert(size > 0);
    ready = ready_bytes(body, size);
    if (ready == 0)
        return GW_BUSY;
    do {
        count = pread(body->fd, to, (size_t)ready, (off_t)body->offset);
    } while (count < 0 && errno == EINTR);
    if (count <= 0)
        return GW_SYSTEM;
    *got = (size_t)count;
    body->offset += (uint64_t)count;
    body->left -= (uint64_t)count;
    return GW_OK;
}

/* ---- jobs ---- */

struct gw_files_job {
    struct gw_threads_job job;
    struct gw_threads *threads;
    void *arg;
    enum gw_rc rc;

    gw_files_plan_fn plan_fn; /* NULL: cancelled, or a warm job */
    struct gw_files_conf conf;
    struct gw_files_request request;
    struct gw_fields fields;
    struct gw_files_plan plan;

    gw_files_warm_fn warm_fn; /* NULL: cancelled, or a plan job */
    struct gw_files_body *body;
    int fd; /* our own */
    uint64_t offset;
    uint64_t length;

    char text[]; /* the copies; fields first */
};

void gw_files_cancel(struct gw_files_job *job)
{
    job->plan_fn = NULL;
    job->warm_fn = NULL;
    gw_threads_cancel(job->threads, &job->job);
}

/* The fields that a plan looks at. */
static const uint8_t looked_at[] = {
    GW_FIELD_IF_MATCH,      GW_FIELD_IF_UNMODIFIED_SINCE,
    GW_FIELD_IF_NONE_MATCH, GW_FIELD_IF_MODIFIED_SINCE,
    GW_FIELD_IF_RANGE,      GW_FIELD_RANGE,
};

static bool is_looked_at(const struct gw_field *field)
{
    for (size_t i = 0; i < sizeof(looked_at); i++)
        if (!field->dropped && field->id == looked_at[i])
            return true;
    return false;
}

static struct gw_str copy(char **at, struct gw_str text)
{
    struct gw_str out = gw_str(*at, text.len);

    if (text.len > 0)
        memcpy(*at, text.data, text.len);
    *at += text.len;
    return out;
}

/* One block with all that the thread will read: the request may go meanwhile. */
static struct gw_files_job *job_copy(const struct gw_files_conf *conf,
                                     const struct gw_files_request *request)
{
    const struct gw_fields *from = request->fields;
    size_t size = conf->root.len + conf->index.len + request->name.len;
    struct gw_files_job *job;
    uint32_t count = 0;
    char *at;

    for (uint32_t i = 0; i < from->count; i++)
        if (is_looked_at(&from->items[i])) {
            size += sizeof(*from->items) + from->items[i].value.len;
            count++;
        }
    job = calloc(1, sizeof(*job) + size);
    if (job == NULL)
        return NULL;
    job->fields = (struct gw_fields){.items = (struct gw_field *)(void *)job->text, .size = count};
    at = job->text + count * sizeof(*from->items);
    for (uint32_t i = 0; i < from->count; i++)
        if (is_looked_at(&from->items[i])) {
            struct gw_field *field = &job->fields.items[job->fields.count++];
            field->id = from->items[i].id;
            field->name = gw_field_name((enum gw_field_id)field->id);
            field->value = copy(&at, from->items[i].value);
            job->fields.present |= 1ULL << field->id;
        }
    job->conf = *conf;
    job->conf.cache_control = GW_STR_NULL; /* the plan does not look at it */
    job->conf.root = copy(&at, conf->root);
    job->conf.index = copy(&at, conf->index);
    job->request = (struct gw_files_request){.method = request->method,
                                             .name = copy(&at, request->name),
                                             .fields = &job->fields,
                                             .now_s = request->now_s};
    job->plan.fd = -1;
    return job;
}

static void plan_work(struct gw_threads_job *threads_job)
{
    struct gw_files_job *job = GW_CONTAINER(threads_job, struct gw_files_job, job);

    if (!gw_threads_cancelled(threads_job))
        job->rc = gw_files_plan(&job->conf, &job->request, true, &job->plan);
}

static void plan_done(struct gw_threads_job *threads_job, enum gw_rc rc)
{
    struct gw_files_job *job = GW_CONTAINER(threads_job, struct gw_files_job, job);
    struct gw_files_plan plan = job->plan;
    gw_files_plan_fn fn = job->plan_fn;
    void *arg = job->arg;

    if (rc == GW_OK)
        rc = job->rc;
    free(job);
    if (fn == NULL || rc != GW_OK)
        gw_files_plan_close(&plan);
    if (fn != NULL)
        fn(arg, rc, &plan);
}

enum gw_rc gw_files_plan_later(struct gw_threads *threads, const struct gw_files_conf *conf,
                               const struct gw_files_request *request, gw_files_plan_fn fn,
                               void *arg, struct gw_files_job **out)
{
    struct gw_files_job *job = job_copy(conf, request);
    enum gw_rc rc;

    if (job == NULL)
        return GW_NOMEM;
    job->threads = threads;
    job->plan_fn = fn;
    job->arg = arg;
    job->rc = GW_CANCELLED;
    gw_threads_job_init(&job->job, plan_work, plan_done);
    rc = gw_threads_submit(threads, &job->job);
    if (rc != GW_OK) {
        free(job);
        return rc;
    }
    *out = job;
    return GW_OK;
}

static void warm_work(struct gw_threads_job *threads_job)
{
    struct gw_files_job *job = GW_CONTAINER(threads_job, struct gw_files_job, job);
    char scratch[WARM_BYTES];
    uint64_t done = 0;

    while (done < job->length && !gw_threads_cancelled(threads_job)) {
        ssize_t got = pread(job->fd, scratch, (size_t)min_u64(WARM_BYTES, job->length - done),
                            (off_t)(job->offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return;
        if (got == 0)
            break; /* it has shrunk; the next send will find out */
        done += (uint64_t)got;
    }
    job->rc = GW_OK;
}

static void warm_done(struct gw_threads_job *threads_job, enum gw_rc rc)
{
    struct gw_files_job *job = GW_CONTAINER(threads_job, struct gw_files_job, job);
    uint64_t warm_to = job->offset + job->length;
    struct gw_files_body *body = job->body;
    gw_files_warm_fn fn = job->warm_fn;
    void *arg = job->arg;

    if (rc == GW_OK)
        rc = job->rc;
    (void)close(job->fd);
    free(job);
    if (fn == NULL)
        return;
    /* Believed without another look: a cache that forgets at once must not stop us for ever. */
    if (rc == GW_OK && body->warm_to < warm_to)
        body->warm_to = warm_to;
    fn(arg, rc);
}

enum gw_rc gw_files_warm(struct gw_threads *threads, struct gw_files_body *body,
                         gw_files_warm_fn fn, void *arg, struct gw_files_job **out)
{
    struct gw_files_job *job = calloc(1, sizeof(*job));
    enum gw_rc rc = GW_SYSTEM;

    if (job == NULL)
        return GW_NOMEM;
    /* A descriptor of its own: the body's may be closed before the thread is through. */
    job->fd = fcntl(body->fd, F_DUPFD_CLOEXEC, 0);
    if (job->fd < 0)
        goto fail_after_calloc;
    job->threads = threads;
    job->warm_fn = fn;
    job->arg = arg;
    job->body = body;
    job->rc = GW_SYSTEM;
    job->offset = body->offset;
    job->length = min_u64(body->left, GW_FILES_WINDOW_BYTES);
    gw_threads_job_init(&job->job, warm_work, warm_done);
    rc = gw_threads_submit(threads, &job->job);
    if (rc != GW_OK)
        goto fail_after_dup;
    *out = job;
    return GW_OK;

fail_after_dup:
    (void)close(job->fd);
fail_after_calloc:
    free(job);
    return rc;
}
