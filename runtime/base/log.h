/* The log: one line a fact, to stderr or a file. The only global of base/.
 *   2026-11-21T00:36:12.123Z info worker[2]: generation 3: 12 routes
 * Never blocks the loop: a write that would block is dropped and counted; the count is
 * said with the next line that gets through. Control bytes are escaped (\n, \x1b). */
#ifndef GW_BASE_LOG_H
#define GW_BASE_LOG_H

#include <stdint.h>

#include "base/err.h"
#include "base/rc.h"

enum gw_log_level { GW_LOG_DEBUG, GW_LOG_INFO, GW_LOG_WARN, GW_LOG_ERROR };

/* `path` NULL or "" or "stderr": standard error. */
GW_MUST_CHECK enum gw_rc gw_log_open(const char *path, enum gw_log_level level, struct gw_err *err);
GW_MUST_CHECK enum gw_rc gw_log_reopen(struct gw_err *err); /* after rotation (SIGUSR1) */
void gw_log_close(void);

/* Who speaks: "master", "worker[2]", … Copied. */
void gw_log_name(const char *name);
void gw_log_set_level(enum gw_log_level level);

/* For a process that has lost its right to open the file: a descriptor from elsewhere, taken. */
void gw_log_set_fd(int fd);
int gw_log_fd(void);

extern enum gw_log_level gw_log_level_now;

void gw_log_write(enum gw_log_level level, const char *fmt, ...) GW_PRINTF(2, 3);

#define gw_log(level, ...)                                                                         \
    do {                                                                                           \
        if ((level) >= gw_log_level_now)                                                           \
            gw_log_write((level), __VA_ARGS__);                                                    \
    } while (0)
#define gw_debug(...) gw_log(GW_LOG_DEBUG, __VA_ARGS__)
#define gw_info(...) gw_log(GW_LOG_INFO, __VA_ARGS__)
#define gw_warn(...) gw_log(GW_LOG_WARN, __VA_ARGS__)
#define gw_error(...) gw_log(GW_LOG_ERROR, __VA_ARGS__)

/* Lines that could not be written since the start. */
uint64_t gw_log_lost(void);

#endif
