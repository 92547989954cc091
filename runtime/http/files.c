/* The plan: name, open, look, conditions, range. Nothing is allocated; see files_body.c for
 * the bytes and the helper threads. */
#include "http/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/time.h"
#include "http/conditional.h"
#include "http/mime.h"

/* openat2() answers EAGAIN when a folder on the way was renamed meanwhile; then once more. */
#define OPEN_TRIES 8

#define OPEN_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define ROOT_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)

/* ---- names ---- */

struct name {
    size_t len;
    bool slash;                             /* it ended with one: a folder is meant */
    char text[GW_FILES_NAME_BYTES_MAX + 1]; /* decoded, relative, without a slash at its end */
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a name; -1: bad encoding. */
static int take_byte(struct gw_str *rest)
{
    int byte = (unsigned char)rest->data[0], high, low;
    size_t taken = 1;

    if (byte == '%') {
        if (rest->len < 3)
            return -1;
        high = hex_digit(rest->data[1]);
        low = hex_digit(rest->data[2]);
        if (high < 0 || low < 0)
            return -1;
        byte = high << 4 | low;
        taken = 3;
    }
    rest->data += taken;
    rest->len -= taken;
    return byte;
}

static bool segment_good(const char *text, size_t len, bool dot_files)
{
    if (len == 0 || (text[0] == '.' && !dot_files))
        return false;
    return !(text[0] == '.' && (len == 1 || (len == 2 && text[1] == '.')));
}

/* Appends the next segment, decoded; *rest stands at its "/" or is empty. */
static bool take_segment(struct gw_str *rest, struct name *name, bool dot_files)
{
    size_t begin = name->len;

    while (rest->len > 0 && rest->data[0] != '/') {
        int byte = take_byte(rest);
        if (byte < 0x20 || byte == 0x7f || byte == '/' || byte == '\\')
            return false;
        if (name->len >= GW_FILES_NAME_BYTES_MAX)
            return false;
        name->text[name->len++] = (char)byte;
    }
    return segment_good(name->text + begin, name->len - begin, dot_files);
}

/* False: no file can have that name. */
static bool name_decode(struct gw_str encoded, bool dot_files, struct name *name)
{
    name->len = 0;
    name->slash = false;
    if (encoded.len == 0 || encoded.data[0] != '/')
        return false;
    while (encoded.len > 0) {
        encoded.data++;
        encoded.len--;
        if (encoded.len == 0) {
            name->slash = true;
            break;
        }
        if (name->len > 0) {
            if (name->len >= GW_FILES_NAME_BYTES_MAX)
                return false;
            name->text[name->len++] = '/';
        }
        if (!take_segment(&encoded, name, dot_files))
            return false;
    }
    name->text[name->len] = '\0';
    return true;
}

static bool name_add_index(struct name *name, struct gw_str index)
{
    size_t slash = name->len > 0 ? 1 : 0;

    if (index.len == 0 || index.len + slash > GW_FILES_NAME_BYTES_MAX - name->len)
        return false;
    if (slash)
        name->text[name->len++] = '/';
    memcpy(name->text + name->len, index.data, index.len);
    name->len += index.len;
    name->text[name->len] = '\0';
    return memchr(index.data, '\0', index.len) == NULL;
}

/* ---- opening ---- */

static long openat2_call(int at, const char *name, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags, .resolve = resolve};

    return syscall(SYS_openat2, at, name, &how, sizeof(how));
}

/* The way of old kernels: one component after the other, none of them a symbolic link. A
 * folder that is held can be moved, but ".." never appears, so there is no way up. */
static int open_walk(int root, const char *name)
{
    int at = root, fd = -1, saved;

    for (;;) {
        char part[NAME_MAX + 1];
        const char *end = strchrnul(name, '/');
        size_t len = (size_t)(end - name);

        if (len == 0 || len > NAME_MAX) {
            errno = ENAMETOOLONG;
            fd = -1;
            break;
        }
        memcpy(part, name, len);
        part[len] = '\0';
        fd = openat(at, part, (*end == '\0' ? OPEN_FLAGS : ROOT_FLAGS) | O_NOFOLLOW);
        if (*end == '\0' || fd < 0)
            break;
        if (at != root)
            (void)close(at);
        at = fd;
        name = end + 1;
    }
    saved = errno;
    if (at != root)
        (void)close(at);
    errno = saved;
    return fd;
}

/* A descriptor, or -1 with errno; EAGAIN: not without a disk, and that was not allowed. */
static int open_beneath(const struct gw_files_conf *conf, int root, const char *name,
                        bool may_block)
{
    uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (may_block ? 0 : RESOLVE_CACHED);
    int tries = may_block ? OPEN_TRIES : 1;
    long fd = -1;

    errno = ENOSYS;
    while (!conf->without_openat2 && tries > 0) {
        fd = openat2_call(root, name, OPEN_FLAGS, resolve);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
        tries -= errno == EAGAIN;
    }
    if (fd >= 0)
        return (int)fd;
    /* EINVAL: the kernel knows openat2 but not RESOLVE_CACHED (before 5.12). */
    if (!may_block && (errno == ENOSYS || errno == EINVAL || errno == EPERM))
        errno = EAGAIN;
    /* EPERM: some sandboxes say so for calls that they do not know. */
    if (may_block && (errno == ENOSYS || errno == EPERM))
        return open_walk(root, name);
    return -1;
}

static int open_root(const struct gw_files_conf *conf, bool may_block)
{
    char path[PATH_MAX];
    long fd;

    if (conf->root.len == 0 || conf->root.len >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(path, conf->root.data, conf->root.len);
    path[conf->root.len] = '\0';
    if (may_block)
        return open(path, ROOT_FLAGS);
    fd = conf->without_openat2 ? -1 : openat2_call(AT_FDCWD, path, ROOT_FLAGS, RESOLVE_CACHED);
    if (fd < 0 && (conf->without_openat2 || errno == ENOSYS || errno == EINVAL || errno == EPERM))
        errno = EAGAIN;
    return (int)fd;
}

static uint16_t status_of(int error)
{
    static const struct {
        int error;
        uint16_t status;
    } rows[] = {
        {ENOENT, 404}, {ENOTDIR, 404}, {ELOOP, 404},  {EXDEV, 404},  {ENAMETOOLONG, 404},
        {ENXIO, 404},  {ENODEV, 404},  {EINVAL, 404}, {EACCES, 403}, {EPERM, 403},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].error == error)
            return rows[i].status;
    return 503; /* EMFILE, ENFILE, ENOMEM, EIO …: not the client's fault, may pass */
}

/* out->fd and *st, or a status. GW_AGAIN: it would block. */
static enum gw_rc open_file(const struct gw_files_conf *conf, const struct name *name,
                            bool may_block, struct gw_files_plan *out, struct stat *st)
{
    int root = open_root(conf, may_block), error;

    if (root >= 0) {
        out->fd = open_beneath(conf, root, name->len > 0 ? name->text : ".", may_block);
        error = errno;
        (void)close(root);
        errno = error;
    }
    if (out->fd >= 0 && fstat(out->fd, st) != 0) {
        error = errno;
        gw_files_plan_close(out);
        errno = error;
    }
    if (out->fd >= 0)
        return GW_OK;
    if (errno == EAGAIN && !may_block)
        return GW_AGAIN;
    out->status = status_of(errno);
    return GW_OK;
}

/* ---- the plan ---- */

/* Strong: nanoseconds, size and inode. A file that is written in place twice within one tick
 * of the kernel's clock (4 ms) and keeps its size has one tag; replace files by rename. */
static void tag_and_date(const struct stat *st, int64_t now_s, struct gw_files_plan *out)
{
    uint64_t ns = (uint64_t)st->st_mtim.tv_sec * 1000000000ULL + (uint64_t)st->st_mtim.tv_nsec;

    out->size = (uint64_t)st->st_size;
    (void)snprintf(out->etag, sizeof(out->etag), "\"%llx-%llx-%llx\"", (unsigned long long)ns,
                   (unsigned long long)out->size, (unsigned long long)st->st_ino);
    /* RFC 9110 8.8.2.1: never later than Date. */
    out->modified_s = st->st_mtim.tv_sec < now_s ? st->st_mtim.tv_sec : now_s;
}

static void plan_content(const struct gw_files_request *request, struct gw_files_plan *out)
{
    struct gw_validators now = {
        .etag = gw_str_c(out->etag), .has_modified = true, .modified_s = out->modified_s};
    uint64_t first = 0, length = out->size;
    unsigned condition = gw_conditional_check(request->method, request->fields, &now);

    if (condition != 0) {
        out->status = (uint16_t)condition;
        return;
    }
    out->status = 200;
    switch (gw_range_of(request->method, request->fields, &now, out->size, &first, &length)) {
    case GW_RANGE_NONE:
        out->status = 416;
        return;
    case GW_RANGE_PART:
        out->status = 206;
        break;
    case GW_RANGE_WHOLE:
        break;
    }
    out->offset = first;
    out->range_length = length;
    out->head_only = request->method == GW_METHOD_HEAD;
    out->length = out->head_only ? 0 : length;
}

enum gw_rc gw_files_plan(const struct gw_files_conf *conf, const struct gw_files_request *request,
                         bool may_block, struct gw_files_plan *out)
{
    struct name name;
    struct stat st;
    enum gw_rc rc;

    *out = (struct gw_files_plan){.status = 404, .fd = -1};
    if (request->method != GW_METHOD_GET && request->method != GW_METHOD_HEAD) {
        out->status = 405;
        return GW_OK;
    }
    if (!name_decode(request->name, conf->dot_files, &name) ||
        (name.slash && !name_add_index(&name, conf->index)))
        return GW_OK;
    rc = open_file(conf, &name, may_block, out, &st);
    if (rc != GW_OK || out->fd < 0)
        return rc;

    if (S_ISREG(st.st_mode)) {
        out->type = gw_mime_of(gw_str(name.text, name.len));
        tag_and_date(&st, request->now_s, out);
        plan_content(request, out);
    } else if (S_ISDIR(st.st_mode) && !name.slash) {
        out->status = 301;
        out->slash = true;
    }
    if (out->length == 0)
        gw_files_plan_close(out);
    return GW_OK;
}

void gw_files_plan_close(struct gw_files_plan *plan)
{
    if (plan->fd >= 0)
        (void)close(plan->fd);
    plan->fd = -1;
}

/* ---- fields ---- */

static void add_validators(const struct gw_files_plan *plan, const struct gw_files_conf *conf,
                           struct gw_fields *fields)
{
    char date[GW_HTTP_DATE_LEN + 1];

    (void)gw_fields_add(fields, GW_STR("ETag"), gw_arena_dup(fields->arena, gw_str_c(plan->etag)));
    gw_http_date_format(plan->modified_s, date);
    (void)gw_fields_add(fields, GW_STR("Last-Modified"),
                        gw_arena_dup(fields->arena, gw_str(date, GW_HTTP_DATE_LEN)));
    if (conf->cache_control.len > 0)
        (void)gw_fields_add(fields, GW_STR("Cache-Control"),
                            gw_arena_dup(fields->arena, conf->cache_control));
}

/* A path that begins with "//" would name another host. */
static void add_location(const struct gw_files_request *request, struct gw_fields *fields)
{
    struct gw_str path = request->path;
    bool query = request->query.data != NULL;

    while (path.len > 0 && path.data[0] == '/') {
        path.data++;
        path.len--;
    }
    (void)gw_fields_add(fields, GW_STR("Location"),
                        gw_arena_printf(fields->arena, "/%.*s/%s%.*s", GW_STR_ARG(path),
                                        query ? "?" : "", query ? (int)request->query.len : 0,
                                        query ? request->query.data : ""));
}

void gw_files_fields(const struct gw_files_plan *plan, const struct gw_files_conf *conf,
                     const struct gw_files_request *request, struct gw_fields *fields)
{
    struct gw_arena *arena = fields->arena;
    unsigned long long first = plan->offset, length = plan->range_length, size = plan->size;

    switch (plan->status) {
    case 200:
    case 206:
        (void)gw_fields_add(fields, GW_STR("Content-Type"), plan->type);
        (void)gw_fields_add(fields, GW_STR("Content-Length"),
                            gw_arena_printf(arena, "%llu", length));
        add_validators(plan, conf, fields);
        (void)gw_fields_add(fields, GW_STR("Accept-Ranges"), GW_STR("bytes"));
        if (plan->status == 206)
            (void)gw_fields_add(
                fields, GW_STR("Content-Range"),
                gw_arena_printf(arena, "bytes %llu-%llu/%llu", first, first + length - 1, size));
        break;
    case 304:
        add_validators(plan, conf, fields);
        break;
    case 416:
        (void)gw_fields_add(fields, GW_STR("Accept-Ranges"), GW_STR("bytes"));
        (void)gw_fields_add(fields, GW_STR("Content-Range"),
                            gw_arena_printf(arena, "bytes */%llu", size));
        break;
    case 301:
        add_location(request, fields);
        break;
    case 405:
        (void)gw_fields_add(fields, GW_STR("Allow"), GW_STR("GET, HEAD"));
        break;
    default:
        break;
    }
}
