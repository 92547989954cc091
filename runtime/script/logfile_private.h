/* What logfile.c (buffers), logfile_disk.c (the helper thread's half) and logfile_line.c (lines)
 * share. */
#ifndef GW_SCRIPT_LOGFILE_PRIVATE_H
#define GW_SCRIPT_LOGFILE_PRIVATE_H

#include "base/buf.h"
#include "base/list.h"
#include "net/threads.h"
#include "script/logfile.h"

enum gw_logfile_kind {
    GW_LOGFILE_FILE,   /* regular: may be rotated, lines are appended under a lock */
    GW_LOGFILE_PIPE,   /* or a FIFO: at most PIPE_BUF bytes at once, when there is room */
    GW_LOGFILE_SOCKET, /* of a service manager */
    GW_LOGFILE_OTHER,  /* a terminal, /dev/null */
};

struct gw_logfiles {
    struct gw_loop *loop;
    struct gw_metrics *metrics; /* may be NULL */
    struct gw_threads *threads;
    struct gw_list files;
    char *dir;
    bool ending;
};

struct gw_logfile {
    struct gw_list link;
    struct gw_logfiles *set;
    char *path;
    uint32_t refs;
    uint32_t buffer_bytes_max;
    struct gw_timer timer;
    struct gw_buf lines; /* what comes in */
    uint32_t out_bytes;  /* of `out`, as it was handed over */
    uint32_t mark;       /* where the line begins that is being made ... */
    bool making;         /* ... from begin to end */
    bool reopen;         /* with the next flush */
    uint64_t lost, lost_unsaid;
    uint64_t lost_said_ms, fault_said_ms;
    int failed_errno; /* of the last flush; 0: it went well */
    bool has_slot;
    uint32_t slot;
    uint64_t second; /* the one that second_text stands for */
    char second_text[20];

    /* The thread's, while the job is taken. */
    struct gw_threads_job job;
    struct gw_buf out;
    int fd;
    enum gw_logfile_kind kind;
    bool reopen_now;
    bool torn; /* the file ends with the beginning of a line of ours */
    int said_errno;
    uint32_t said_lost;
    int reopen_errno;
};

/* logfile_disk.c: the descriptor, or -1 with errno. */
int gw_logfile_open_path(const char *path, enum gw_logfile_kind *kind);
/* Writes what it can of `out`; the rest stays, and said_errno says why. */
void gw_logfile_flush(struct gw_logfile *file);

/* logfile.c: may a line begin; is it kept that begins at `mark` and has its end. */
/* A plugin that was stopped in between leaves the beginning of a line: it goes. */
static inline void gw_logfile_drop_half(struct gw_logfile *file)
{
    if (file->making)
        file->lines.to = file->mark;
    file->making = false;
}
bool gw_logfile_room(struct gw_logfile *file);
bool gw_logfile_take(struct gw_logfile *file, uint32_t mark);

#endif
