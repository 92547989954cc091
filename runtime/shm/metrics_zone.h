/* How metrics lie in their zone. Only metrics*.c include this.
 * Rows of metrics and series, and the texts, are only ever appended: what is below a count
 * never changes, so that readers who have read the count need no lock. */
#ifndef GW_SHM_METRICS_ZONE_H
#define GW_SHM_METRICS_ZONE_H

#include "shm/lock.h"
#include "shm/metrics.h"
#include "shm/txn.h"

#define GW_METRICS_CHAINS 16384
#define GW_METRICS_LOST_NAME "moongate_metric_series_lost_total"

struct gw_metric_text {
    uint32_t at; /* in texts */
    uint32_t len;
};

struct gw_metric_row {
    uint32_t type;
    uint32_t series_max;
    uint32_t label_count;
    uint32_t bucket_count;
    struct gw_metric_text name;
    struct gw_metric_text help;
    struct gw_metric_text labels;  /* names, each with a NUL behind it */
    struct gw_metric_text buckets; /* doubles */
    uint32_t series;               /* that it has */
    uint32_t reserved;
    _Atomic uint64_t lost;
};

struct gw_metric_series {
    uint32_t metric;
    uint32_t cell;  /* the first one, in every stripe */
    uint32_t chain; /* 1 + slot */
    uint32_t hash;
    struct gw_metric_text values; /* each with a NUL behind it */
};

struct gw_metrics_head {
    struct gw_lock lock;
    uint32_t damaged; /* 1: to be emptied */
    uint32_t metrics;
    _Atomic uint32_t series;
    uint32_t cells;
    uint32_t text_bytes;
    uint32_t reserved;
    struct gw_undo undo;
    uint32_t chains[GW_METRICS_CHAINS];
    struct gw_metric_row metric[GW_METRICS_MAX];
    struct gw_metric_series slot[GW_METRICS_SERIES_TOTAL];
    char texts[GW_METRICS_TEXT_BYTES];
    /* Stripe 0 holds the gauges that all set, stripe 1 + n is of the owner in row n. */
    _Atomic uint64_t cell[GW_ZONE_OWNERS_MAX + 1][GW_METRICS_CELLS];
} __attribute__((aligned(128)));

struct gw_metrics {
    struct gw_zone zone;
    struct gw_metrics_head *head;
    _Atomic uint64_t *own;    /* our stripe */
    _Atomic uint64_t *common; /* stripe 0 */
};

static inline struct gw_str gw_metrics_text(const struct gw_metrics *metrics,
                                            struct gw_metric_text text)
{
    return gw_str(metrics->head->texts + text.at, text.len);
}

static inline double gw_metrics_number(uint64_t bits)
{
    double number;

    memcpy(&number, &bits, sizeof number);
    return number;
}

static inline uint64_t gw_metrics_bits(double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static inline double gw_metrics_bucket(const struct gw_metrics *metrics,
                                       const struct gw_metric_row *row, uint32_t index)
{
    double bound;

    memcpy(&bound, metrics->head->texts + row->buckets.at + index * sizeof bound, sizeof bound);
    return bound;
}

static inline uint32_t gw_metrics_cells_of(const struct gw_metric_row *row)
{
    return row->type == GW_METRICS_HISTOGRAM ? row->bucket_count + 2 : 1;
}

/* Under the lock; undoes what a dead process left. */
void gw_metrics_acquire(struct gw_metrics *metrics);
void gw_metrics_release(struct gw_metrics *metrics);

/* Which owners' rows are of living processes. */
void gw_metrics_living(struct gw_metrics *metrics, bool living[GW_ZONE_OWNERS_MAX]);
/* One cell of a slot, summed as its type says. */
double gw_metrics_sum(struct gw_metrics *metrics, uint32_t slot, uint32_t cell,
                      const bool living[GW_ZONE_OWNERS_MAX]);

#endif
