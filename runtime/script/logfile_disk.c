/* The half of a log file that runs on a helper thread: it may wait for the disk.
 * Only whole lines are appended. A write that comes through in part (full disk) is taken back;
 * where that cannot be done, the rest goes first at the next try. The lock is for the moment
 * between a partial write and its taking back, and for the look at the end of the file: a worker
 * that was killed within a write leaves half a line, which gets its end before ours begins. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "script/logfile_private.h"

#define WRITE_BYTES (1u << 20)
#define LOCK_TRIES 200
#define LOCK_WAIT_US 1000
#define POLL_MS 100
#define FILE_MODE 0640

static enum gw_logfile_kind kind_of(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return GW_LOGFILE_OTHER;
    if (S_ISREG(st.st_mode))
        return GW_LOGFILE_FILE;
    if (S_ISFIFO(st.st_mode))
        return GW_LOGFILE_PIPE;
    return S_ISSOCK(st.st_mode) ? GW_LOGFILE_SOCKET : GW_LOGFILE_OTHER;
}

/* The descriptor that stands for a standard stream, or -1. */
static int standard(const char *path)
{
    if (strcmp(path, "stderr") == 0)
        return STDERR_FILENO;
    return strcmp(path, "stdout") == 0 ? STDOUT_FILENO : -1;
}

int gw_logfile_open_path(const char *path, enum gw_logfile_kind *kind)
{
    /* O_NONBLOCK: a FIFO that nobody reads is a fault, not a wait. */
    int flags = O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, fd;
    struct stat st;
    bool fifo;

    if (standard(path) >= 0) {
        fd = fcntl(standard(path), F_DUPFD_CLOEXEC, 3);
        /* Its place is shared with others, and it may not be ours to cut. */
        if (fd >= 0 && (*kind = kind_of(fd)) == GW_LOGFILE_FILE)
            *kind = GW_LOGFILE_OTHER;
        return fd;
    }
    fifo = stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
    /* Reading is for the look at the last byte; a FIFO opened so would be its own reader. */
    fd = fifo ? -1 : open(path, flags | O_RDWR, FILE_MODE);
    if (fd < 0 && (fifo || errno == EACCES))
        fd = open(path, flags | O_WRONLY, FILE_MODE);
    if (fd >= 0)
        *kind = kind_of(fd);
    return fd;
}

/* The length of whole lines in the first `most` bytes; where the first line is longer, it. */
static size_t whole_lines(struct gw_str text, size_t most)
{
    const char *end;

    if (text.len <= most)
        return text.len;
    end = most > 0 ? memrchr(text.data, '\n', most) : NULL;
    if (end == NULL)
        end = memchr(text.data + most, '\n', text.len - most);
    return end != NULL ? (size_t)(end - text.data) + 1 : text.len;
}

/* Is it still the file that the path means? */
static bool moved(const struct gw_logfile *file)
{
    struct stat at_path, ours;

    if (file->kind != GW_LOGFILE_FILE)
        return false;
    if (fstat(file->fd, &ours) != 0)
        return true;
    if (stat(file->path, &at_path) != 0)
        return errno == ENOENT || errno == ENOTDIR;
    return at_path.st_ino != ours.st_ino || at_path.st_dev != ours.st_dev;
}

static void follow(struct gw_logfile *file)
{
    enum gw_logfile_kind kind;
    int fd;

    file->reopen_errno = 0;
    if (!file->reopen_now && !moved(file))
        return;
    fd = gw_logfile_open_path(file->path, &kind);
    if (fd < 0) {
        file->reopen_errno = errno;
        return; /* the old one is better than none */
    }
    (void)close(file->fd);
    file->fd = fd;
    file->kind = kind;
    if (!file->torn)
        return;
    /* The beginning of this line stands in the old file. */
    file->torn = false;
    file->said_lost++;
    gw_buf_consume(&file->out, whole_lines(gw_buf_str(&file->out), 0));
}

/* Somebody else's lock does not hold us for ever: then we do without. */
static bool lock(int fd)
{
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        (void)usleep(LOCK_WAIT_US);
    }
    return false;
}

static ssize_t write_once(int fd, const char *data, size_t len)
{
    ssize_t done;

    do
        done = write(fd, data, len);
    while (done < 0 && errno == EINTR);
    return done;
}

static bool ends_within_a_line(int fd, off_t size)
{
    char last;

    return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

/* Under the lock. 0, or why not all of it went. */
static int append(struct gw_logfile *file)
{
    struct stat before, after;

    while (gw_buf_len(&file->out) > 0) {
        size_t len = whole_lines(gw_buf_str(&file->out), WRITE_BYTES);
        ssize_t done;
        if (fstat(file->fd, &before) != 0)
            return errno;
        /* Half a line at the end is a dead worker's, or our own that we go on with. */
        if (!file->torn && ends_within_a_line(file->fd, before.st_size)) {
            if (write_once(file->fd, "\n", 1) != 1)
                return errno != 0 ? errno : ENOSPC;
            before.st_size++;
        }
        done = write_once(file->fd, gw_buf_str(&file->out).data, len);
        if (done < 0)
            return errno;
        if ((size_t)done < len) {
            const char *data = gw_buf_str(&file->out).data,
                       *end = memrchr(data, '\n', (size_t)done);
            size_t whole = end != NULL ? (size_t)(end - data) + 1 : 0;
            bool taken_back = fstat(file->fd, &after) == 0 &&
                              after.st_size == before.st_size + done &&
                              ftruncate(file->fd, before.st_size + (off_t)whole) == 0;
            file->torn = taken_back ? file->torn && whole == 0 : true;
            gw_buf_consume(&file->out, taken_back ? whole : (size_t)done);
            return ENOSPC;
        }
        file->torn = false;
        gw_buf_consume(&file->out, len);
    }
    return 0;
}

static int flush_file(struct gw_logfile *file)
{
    bool locked = lock(file->fd);
    int why = append(file);

    if (locked)
        (void)flock(file->fd, LOCK_UN);
    return why;
}

/* Pipes, sockets, terminals: they may be shared, so they cannot be made non-blocking; what is
 * written is asked for before. */
static int flush_stream(struct gw_logfile *file)
{
    size_t most = file->kind == GW_LOGFILE_PIPE ? PIPE_BUF : WRITE_BYTES / 16;

    while (gw_buf_len(&file->out) > 0) {
        struct pollfd waits = {.fd = file->fd, .events = POLLOUT};
        struct gw_str text = gw_buf_str(&file->out);
        size_t len = whole_lines(text, most);
        ssize_t done;
        if (len > most)
            len = most;
        if (poll(&waits, 1, POLL_MS) == 0)
            return EAGAIN;
        do
            done = file->kind == GW_LOGFILE_SOCKET
                       ? send(file->fd, text.data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                       : write(file->fd, text.data, len);
        while (done < 0 && errno == EINTR);
        if (done < 0)
            return errno;
        gw_buf_consume(&file->out, (size_t)done);
    }
    return 0;
}

void gw_logfile_flush(struct gw_logfile *file)
{
    follow(file);
    file->reopen_now = false;
    file->said_errno = file->kind == GW_LOGFILE_FILE ? flush_file(file) : flush_stream(file);
}
