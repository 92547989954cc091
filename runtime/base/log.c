#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"

#define LINE_BYTES_MAX 8192

enum gw_log_level gw_log_level_now = GW_LOG_INFO;

/* How to write without waiting: found out at the first line. */
enum how { HOW_UNKNOWN, HOW_WRITE, HOW_SEND };

static struct {
    int fd;
    enum how how;
    char path[1024];
    char name[64];
    uint64_t lost;
    uint64_t lost_unsaid;
    bool torn; /* the last line got out in part: the next one begins a new line */
} out = {.fd = STDERR_FILENO, .name = "moongate"};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static enum gw_rc open_file(const char *path, struct gw_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);

    if (fd < 0)
        return gw_err_set(err, GW_SYSTEM, "log: %s: %s", path, strerror(errno));
    gw_log_set_fd(fd);
    return GW_OK;
}

/* Standard error belongs to others, too: O_NONBLOCK on it would be theirs as well. A pipe or a
 * terminal is opened anew, with flags of our own; a socket (journald's) is sent to without
 * waiting, see put(); a file never makes us wait. Where it cannot be opened we write as we are. */
static void open_stderr(void)
{
    struct stat st;
    int fd = -1;

    if (out.fd != STDERR_FILENO && out.path[0] == '\0')
        return; /* it is open already */
    if (fstat(STDERR_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
        fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    gw_log_set_fd(fd >= 0 ? fd : STDERR_FILENO);
}

enum gw_rc gw_log_open(const char *path, enum gw_log_level level, struct gw_err *err)
{
    enum gw_rc rc;

    gw_log_level_now = level;
    if (path == NULL || path[0] == '\0' || strcmp(path, "stderr") == 0) {
        open_stderr();
        out.path[0] = '\0';
        return GW_OK;
    }
    if (strlen(path) >= sizeof(out.path))
        return gw_err_set(err, GW_LIMIT, "log: the path is longer than %zu bytes",
                          sizeof(out.path) - 1);
    rc = open_file(path, err);
    if (rc == GW_OK)
        memcpy(out.path, path, strlen(path) + 1);
    return rc;
}

enum gw_rc gw_log_reopen(struct gw_err *err)
{
    return out.path[0] == '\0' ? GW_OK : open_file(out.path, err);
}

void gw_log_close(void)
{
    gw_log_set_fd(STDERR_FILENO);
    out.path[0] = '\0';
}

void gw_log_name(const char *name)
{
    (void)snprintf(out.name, sizeof(out.name), "%s", name);
}

void gw_log_set_level(enum gw_log_level level)
{
    gw_log_level_now = level;
}

void gw_log_set_fd(int fd)
{
    if (out.fd != STDERR_FILENO && out.fd != fd)
        (void)close(out.fd);
    out.fd = fd;
    out.how = HOW_UNKNOWN;
}

int gw_log_fd(void)
{
    return out.fd;
}

uint64_t gw_log_lost(void)
{
    return out.lost;
}

/* Copies `text` so that one fact stays one line, whatever a peer put into it. Newlines
 * followed by a tab are kept: they are our own tracebacks. */
static size_t escape(char *to, size_t size, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    size_t len = 0;

    for (; *text != '\0' && len + 5 < size; text++) {
        unsigned char byte = (unsigned char)*text;
        if ((byte >= 0x20 && byte != 0x7f) || byte == '\t') {
            to[len++] = *text;
        } else if (byte == '\n' && text[1] == '\t') {
            to[len++] = '\n';
        } else if (byte == '\n') {
            to[len++] = '\\';
            to[len++] = 'n';
        } else {
            to[len++] = '\\';
            to[len++] = 'x';
            to[len++] = hex[byte >> 4];
            to[len++] = hex[byte & 15];
        }
    }
    return len;
}

static ssize_t write_some(const char *line, size_t len)
{
    struct stat st;
    ssize_t done;

    if (out.how == HOW_UNKNOWN)
        out.how = fstat(out.fd, &st) == 0 && S_ISSOCK(st.st_mode) ? HOW_SEND : HOW_WRITE;
    do
        done = out.how == HOW_SEND ? send(out.fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                   : write(out.fd, line, len);
    while (done < 0 && errno == EINTR);
    return done;
}

static void put(const char *line, size_t len)
{
    ssize_t done = 0;

    if (!out.torn || write_some("\n", 1) == 1) {
        out.torn = false;
        done = write_some(line, len);
    }
    if (done == (ssize_t)len)
        return;
    out.torn = out.torn || done > 0;
    out.lost++;
    out.lost_unsaid++;
}

void gw_log_write(enum gw_log_level level, const char *fmt, ...)
{
    char text[LINE_BYTES_MAX - 256], line[LINE_BYTES_MAX], when[25];
    va_list args;
    size_t len;
    int saved = errno;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    gw_rfc3339_format(gw_time_real_ms(), when);

    if (out.lost_unsaid > 0) {
        uint64_t said = out.lost_unsaid;
        len = (size_t)snprintf(line, sizeof(line),
                               "%s warn %s: log: %llu lines could not be written\n", when, out.name,
                               (unsigned long long)said);
        out.lost_unsaid = 0;
        put(line, len);
        if (out.lost_unsaid > 0)
            out.lost_unsaid += said;
    }
    len = (size_t)snprintf(line, sizeof(line), "%s %s %s: ", when, level_names[level], out.name);
    len += escape(line + len, sizeof(line) - len - 1, text);
    line[len++] = '\n';
    put(line, len);
    errno = saved;
}
