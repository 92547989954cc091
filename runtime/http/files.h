/* Static files: what a `files:` route answers, and the bytes of it.
 *
 * gw_files_plan() decides: it opens the file beneath the root, looks at the conditions and
 * the range, and fills a plan: status, fields, descriptor, offset and length. It allocates
 * nothing and has no globals, so it may run on a helper thread (arenas may not: therefore the
 * plan holds its texts itself, and gw_files_fields() makes fields of them on the loop's thread).
 * With `may_block` false it answers GW_AGAIN instead of waiting for a disk; then use
 * gw_files_plan_later().
 *
 * A name can not leave the root: openat2(RESOLVE_BENEATH), or where the kernel has none, a
 * walk that follows no symbolic link at all. Symbolic links that stay inside are followed by
 * openat2 only. Refused with 404: names with a segment that begins with a dot, empty
 * segments, "%2F", backslashes and control bytes; whatever is not a regular file.
 *
 * gw_files_body sends the bytes with sendfile(2), and never what would have to wait for a
 * disk: it says GW_BUSY, and gw_files_warm() has them read on a helper thread.
 *
 * Lives in: one worker. Owner of the descriptor in a plan: who asked for the plan. */
#ifndef GW_HTTP_FILES_H
#define GW_HTTP_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/rc.h"
#include "base/str.h"
#include "http/message.h"
#include "net/threads.h"

#define GW_FILES_NAME_BYTES_MAX 4095       /* of the decoded name, index included: then 404 */
#define GW_FILES_WINDOW_BYTES (512 * 1024) /* looked at in the page cache, or warmed, at once */

/* Of the route; lent. */
struct gw_files_conf {
    struct gw_str root;          /* absolute; opened for each request, so a switched link is seen */
    struct gw_str index;         /* empty: folders have no page */
    struct gw_str cache_control; /* empty: none */
    bool dot_files;              /* also names with a leading dot */
    bool without_openat2;        /* as on kernels before 5.6 */
};

struct gw_files_request {
    enum gw_method method;
    struct gw_str name;  /* beneath the root: normalised, percent-encoded; begins with "/" */
    struct gw_str path;  /* of the request, for the redirect of a folder */
    struct gw_str query; /* data NULL: none */
    const struct gw_fields *fields;
    int64_t now_s; /* since 1970 */
};

struct gw_files_plan {
    /* 200 206 301 304, with nothing wrong; 403 404 405 412 416 503, for a problem body. */
    uint16_t status;
    int fd;          /* -1: no body to send; else the caller closes it (gw_files_plan_close) */
    uint64_t offset; /* of the first byte */
    uint64_t length; /* bytes to send; 0 for HEAD */
    bool head_only;  /* HEAD of a 200: the fields tell the length, no body follows */
    bool slash;      /* 301: to the same path with "/" */

    uint64_t size;         /* of the file; valid for 200 206 304 412 416 */
    uint64_t range_length; /* Content-Length: of the range, or the size */
    int64_t modified_s;
    struct gw_str type; /* static text */
    char etag[64];      /* with quotes; ends with NUL */
};

/* GW_OK, or GW_AGAIN when it would have to wait for a disk and may not. */
GW_MUST_CHECK enum gw_rc gw_files_plan(const struct gw_files_conf *conf,
                                       const struct gw_files_request *request, bool may_block,
                                       struct gw_files_plan *out);
void gw_files_plan_close(struct gw_files_plan *plan); /* idempotent */

/* Adds what belongs to the status: Content-Type, Content-Length, ETag, Last-Modified,
 * Accept-Ranges, Content-Range, Cache-Control, Location, Allow. Loop's thread; copies into
 * the arena of `fields`. */
void gw_files_fields(const struct gw_files_plan *plan, const struct gw_files_conf *conf,
                     const struct gw_files_request *request, struct gw_fields *fields);

/* ---- planning on a helper thread ---- */

struct gw_files_job;

/* rc GW_OK: the plan is yours, with its descriptor. GW_CANCELLED: the threads are going away. */
typedef void (*gw_files_plan_fn)(void *arg, enum gw_rc rc, struct gw_files_plan *plan);

/* Copies all it needs from conf and request. GW_FULL, GW_SYSTEM: answer 503. */
GW_MUST_CHECK enum gw_rc gw_files_plan_later(struct gw_threads *threads,
                                             const struct gw_files_conf *conf,
                                             const struct gw_files_request *request,
                                             gw_files_plan_fn fn, void *arg,
                                             struct gw_files_job **out);

/* `fn` will not be called; what the thread still opens is closed. Both kinds of jobs. */
void gw_files_cancel(struct gw_files_job *job);

/* ---- the bytes ---- */

struct gw_files_body {
    int fd; /* lent from the plan */
    uint64_t offset;
    uint64_t left;
    uint64_t warm_to; /* up to here the page cache had it when we looked */
};

void gw_files_body_init(struct gw_files_body *body, const struct gw_files_plan *plan);

/* Sends at most `max` bytes to a non-blocking socket.
 *   GW_OK      *sent > 0 bytes went
 *   GW_AGAIN   the socket is full
 *   GW_BUSY    the next bytes are not in memory: gw_files_warm(), then again
 *   GW_EOF     all was sent before
 *   GW_CLOSED  the peer is gone
 *   GW_SYSTEM  the file has shrunk or can not be read: the connection must be reset, for the
 *              promised length can not be kept */
GW_MUST_CHECK enum gw_rc gw_files_body_next(struct gw_files_body *body, int sockfd, size_t max,
                                            size_t *sent);

/* The same into memory, for TLS and HTTP/2. Never GW_AGAIN or GW_CLOSED. */
GW_MUST_CHECK enum gw_rc gw_files_body_read(struct gw_files_body *body, void *to, size_t size,
                                            size_t *got);

/* How many bytes from `offset` on (at most `length`) can be read without a disk. */
uint64_t gw_files_cached(int fd, uint64_t offset, uint64_t length);

/* Reads the next window on a helper thread. `fn` with rc GW_OK: go on; GW_SYSTEM: the disk
 * failed; GW_CANCELLED. */
typedef void (*gw_files_warm_fn)(void *arg, enum gw_rc rc);
GW_MUST_CHECK enum gw_rc gw_files_warm(struct gw_threads *threads, struct gw_files_body *body,
                                       gw_files_warm_fn fn, void *arg, struct gw_files_job **out);

#endif
