/* Counters, gauges and histograms of all workers, and their text for Prometheus.
 * Lives in: one zone of the gateway; kept over reloads and crashes of workers.
 * Counting takes no lock and no locked instruction: every process adds to a stripe of its
 * own, the text sums the stripes. Names, labels and series are only ever added, under a
 * lock with an undo log.
 * Limits: below; a metric that has all its series counts what is more in one series whose
 * label values are all "other", and moongate_metric_series_lost_total says how often. */
#ifndef GW_SHM_METRICS_H
#define GW_SHM_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rc.h"
#include "base/str.h"
#include "shm/zone.h"

#define GW_METRICS_MAX 1024           /* metrics */
#define GW_METRICS_SERIES_TOTAL 32768 /* series of all metrics */
#define GW_METRICS_SERIES_MAX 1000    /* series of one metric */
#define GW_METRICS_CELLS 131072       /* a counter takes one, a histogram buckets + 2 */
#define GW_METRICS_LABELS_MAX 16
#define GW_METRICS_BUCKETS_MAX 64
#define GW_METRICS_LABEL_BYTES_MAX 256 /* longer label values are cut */
#define GW_METRICS_HELP_BYTES_MAX 1024
#define GW_METRICS_TEXT_BYTES (8u << 20) /* all names, helps and label values */

enum gw_metrics_type {
    GW_METRICS_COUNTER = 1,
    GW_METRICS_GAUGE,     /* the last value set by anybody */
    GW_METRICS_GAUGE_SUM, /* the sum of the parts of living processes; a part ends with its process
                           */
    GW_METRICS_HISTOGRAM,
};

struct gw_metrics;

struct gw_metrics_def {
    struct gw_str name; /* [a-zA-Z_:][a-zA-Z0-9_:]* */
    struct gw_str help;
    uint32_t type; /* enum gw_metrics_type */
    uint32_t label_count;
    const struct gw_str *labels; /* [a-zA-Z_][a-zA-Z0-9_]*, not "le", not "__…" */
    const double *buckets;       /* histogram: upper bounds, rising, finite; +Inf is added */
    uint32_t bucket_count;
    uint32_t series_max; /* 0: GW_METRICS_SERIES_MAX, which is also the most */
};

/* The same name, type, labels and buckets give the same id, in every process and after
 * every reload. GW_EXISTS: the name stands for something else (also as x_count, x_sum,
 * x_bucket of a histogram); GW_INVALID: err says what; GW_FULL. */
GW_MUST_CHECK enum gw_rc gw_metrics_register(struct gw_metrics *metrics,
                                             const struct gw_metrics_def *def, uint32_t *id,
                                             struct gw_err *err);

/* The slot of one row of label values (as many as the metric has labels), for callers to keep.
 * GW_NOT_FOUND: no such id; GW_INVALID: wrong number of values. Over the limit it is the slot
 * of "other", with GW_OK. GW_FULL: the zone has no room even for that. */
GW_MUST_CHECK enum gw_rc gw_metrics_series(struct gw_metrics *metrics, uint32_t id,
                                           const struct gw_str *values, uint32_t count,
                                           uint32_t *slot);

/* A slot of no series, or of a wrong type, or a counter made smaller, or NaN: ignored. */
void gw_metrics_add(struct gw_metrics *metrics, uint32_t slot, double by);
void gw_metrics_set(struct gw_metrics *metrics, uint32_t slot, double value);
void gw_metrics_observe(struct gw_metrics *metrics, uint32_t slot, double value);

/* The sum over all stripes (histogram: number of observations); for tests and `status`. */
double gw_metrics_value(struct gw_metrics *metrics, uint32_t slot);

/* Appends all metrics in Prometheus text format 0.0.4, sorted by name, then label values. */
void gw_metrics_render(struct gw_metrics *metrics, struct gw_buf *out);

/* For struct gw_shared_set, and for tests. */
GW_MUST_CHECK enum gw_rc gw_metrics_create(struct gw_metrics **out, struct gw_err *err);
GW_MUST_CHECK enum gw_rc gw_metrics_open(int fd, struct gw_metrics **out, struct gw_err *err);
void gw_metrics_close(struct gw_metrics *metrics);
GW_MUST_CHECK enum gw_rc gw_metrics_verify(struct gw_metrics *metrics, struct gw_err *err);
/* After gw_zone_adopt(): this process is a new one, whose parts of sums begin at 0. */
void gw_metrics_adopted(struct gw_metrics *metrics);
struct gw_zone *gw_metrics_zone(struct gw_metrics *metrics);
struct gw_lock *gw_metrics_lock(struct gw_metrics *metrics);

#endif
