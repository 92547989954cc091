/* Files that lines are appended to (access logs), written by helper threads: the loop never
 * waits for a disk.
 * Lives in: one worker, one file for each path, however many ask for it. Owner: who opened it;
 * the last unref closes it, after what it still holds is written.
 * Promises: only whole lines are appended, in the order of this worker, and lines of several
 * workers never mix (O_APPEND under flock; a pipe: lines up to PIPE_BUF bytes).
 * Limit: `buffer_bytes_max` of lines that are not written yet; what is more is dropped, counted,
 * and said in the log at most once a minute. What the disk refuses stays in the buffer and is
 * tried again.
 * Rotation: at each flush the path is looked at; another file there (or none) is opened. */
#ifndef GW_SCRIPT_LOGFILE_H
#define GW_SCRIPT_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "net/loop.h"

struct gw_logfile;
struct gw_logfiles; /* those of one worker */
struct gw_metrics;

#define GW_LOGFILE_BUFFER_DEFAULT (1u << 20)
#define GW_LOGFILE_BUFFER_LEAST (64u << 10)
#define GW_LOGFILE_BUFFER_MOST (256u << 20)
#define GW_LOGFILE_VALUE_MAX 4096 /* bytes of one text in a line; what is more is cut */

GW_MUST_CHECK enum gw_rc gw_logfiles_new(struct gw_loop *loop, struct gw_metrics *metrics,
                                         struct gw_logfiles **out);
/* Writes what is there, for some seconds at most, then closes all. */
void gw_logfiles_free(struct gw_logfiles *files);

/* Relative paths start here (absolute; copied). Without it: where the process stands. */
void gw_logfiles_set_dir(struct gw_logfiles *files, struct gw_str dir);
/* After rotation: every path is opened anew, also of those that nobody writes to now. */
void gw_logfiles_reopen(struct gw_logfiles *files);

struct gw_logfile_options {
    uint32_t buffer_bytes_max; /* 0: the default; of several, the largest holds */
    const char *counter;       /* a metric of lost lines, with the label `file`; NULL: none */
};

/* path: "stderr", "stdout" or a file's. Opens it now, so that a fault is known at once. */
GW_MUST_CHECK enum gw_rc gw_logfile_open(struct gw_logfiles *files, struct gw_str path,
                                         const struct gw_logfile_options *options,
                                         struct gw_logfile **out, struct gw_err *err);
void gw_logfile_unref(struct gw_logfile *file);

/* One line, without its end; control bytes in it are the caller's affair, but an end of line
 * within it becomes a space. False: dropped. */
bool gw_logfile_write(struct gw_logfile *file, const char *line, size_t len);

/* A JSON object as a line: begin, members, end, without anything else in between. `name` comes
 * with its quotes and colon: "\"status\":". Texts are escaped, bytes that are no UTF-8 become
 * U+FFFD. */
bool gw_logfile_begin(struct gw_logfile *file); /* false: dropped */
void gw_logfile_text(struct gw_logfile *file, struct gw_str name, struct gw_str value);
void gw_logfile_number(struct gw_logfile *file, struct gw_str name, double value);
void gw_logfile_bool(struct gw_logfile *file, struct gw_str name, bool value);
void gw_logfile_time(struct gw_logfile *file, struct gw_str name);   /* the loop's, RFC 3339 */
void gw_logfile_object(struct gw_logfile *file, struct gw_str name); /* until gw_logfile_close */
void gw_logfile_close(struct gw_logfile *file);
bool gw_logfile_end(struct gw_logfile *file); /* false: dropped */

uint64_t gw_logfile_lost(const struct gw_logfile *file);

#endif
