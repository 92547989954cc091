/* The faults of a conf, all at once:  file:line:column: path: message
 * Lives in: the loader. Owner: the caller. Limit: GW_REPORT_FAULTS_MAX kept, the rest counted.
 * A warning does not make a conf unfit. */
#ifndef GW_CONF_REPORT_H
#define GW_CONF_REPORT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "conf/generation.h"

#define GW_REPORT_FAULTS_MAX 100

struct gw_fault {
    struct gw_where where;
    struct gw_str path; /* "routes[3].match.hosts[0]"; empty: the file as a whole */
    struct gw_str text;
    struct gw_str hint; /* empty: none */
    bool warning;
    uint32_t order; /* as found: keeps the sort stable */
};

struct gw_report {
    struct gw_arena arena;
    struct gw_str *files; /* names for messages; same indexes as gw_conf.files */
    uint32_t files_count;
    uint32_t files_size;
    struct gw_fault *faults;
    uint32_t kept;
    uint32_t kept_size;
    uint32_t faults_count; /* of all, kept or not */
    uint32_t warnings_count;
    bool last_kept; /* gw_report_hint() has something to stand behind; else do not look for one */
};

void gw_report_init(struct gw_report *report);
void gw_report_fini(struct gw_report *report);

/* Index for gw_where.file. The name is copied. */
uint32_t gw_report_file(struct gw_report *report, struct gw_str name);
/* The same; the name is lent until gw_report_fini(). */
uint32_t gw_report_file_lent(struct gw_report *report, struct gw_str name);

/* `path` is copied and may be empty. where.line 0: no place ("file: path: message"). */
void gw_report_fault(struct gw_report *report, struct gw_where where, struct gw_str path,
                     const char *fmt, ...) GW_PRINTF(4, 5);
void gw_report_warn(struct gw_report *report, struct gw_where where, struct gw_str path,
                    const char *fmt, ...) GW_PRINTF(4, 5);

/* Adds what to write instead to the fault or warning before. */
void gw_report_hint(struct gw_report *report, const char *fmt, ...) GW_PRINTF(2, 3);

static inline bool gw_report_ok(const struct gw_report *report)
{
    return report->faults_count == 0;
}

/* By file, line, column, then as found. The two writers below do it themselves. */
void gw_report_sort(struct gw_report *report);

/* One line each (and one for what was left off), ending in "\n". */
void gw_report_text(struct gw_report *report, struct gw_buf *out);

/* {"ok":false,"faults":[{"file":…,"line":9,"column":5,"path":…,"message":…,"hint":…}],
 *  "warnings":[…],"left_off":0} */
void gw_report_json(struct gw_report *report, struct gw_buf *out);

#endif
