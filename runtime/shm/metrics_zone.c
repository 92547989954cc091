/* The zone of metrics: making, opening, checking, and what an heir does. */
#include "shm/metrics_zone.h"

#include <stdlib.h>

#include "base/log.h"

#define BAD(err, ...) gw_err_set((err), GW_INVALID, __VA_ARGS__)

static bool text_fits(const struct gw_metrics_head *head, struct gw_metric_text text)
{
    return text.at <= head->text_bytes && text.len <= head->text_bytes - text.at;
}

static enum gw_rc check_metrics(const struct gw_metrics_head *head, struct gw_err *err)
{
    for (uint32_t i = 0; i < head->metrics; i++) {
        const struct gw_metric_row *row = &head->metric[i];

        if (row->type < GW_METRICS_COUNTER || row->type > GW_METRICS_HISTOGRAM ||
            row->label_count > GW_METRICS_LABELS_MAX || row->bucket_count > GW_METRICS_BUCKETS_MAX)
            return BAD(err, "metric %u is not possible", i);
        if (!text_fits(head, row->name) || !text_fits(head, row->help) ||
            !text_fits(head, row->labels) || !text_fits(head, row->buckets) ||
            row->buckets.len != row->bucket_count * sizeof(double))
            return BAD(err, "metric %u: texts out of bounds", i);
    }
    return GW_OK;
}

/* Series lie one behind the other, so their cells must too. */
static enum gw_rc check_series(const struct gw_metrics_head *head, uint32_t *per_metric,
                               struct gw_err *err)
{
    uint32_t cells = 0;

    for (uint32_t i = 0; i < head->series; i++) {
        const struct gw_metric_series *series = &head->slot[i];

        if (series->metric >= head->metrics || series->cell != cells ||
            !text_fits(head, series->values))
            return BAD(err, "series %u is not possible", i);
        cells += gw_metrics_cells_of(&head->metric[series->metric]);
        per_metric[series->metric]++;
    }
    if (cells != head->cells || cells > GW_METRICS_CELLS)
        return BAD(err, "%u cells in series, the account says %u", cells, head->cells);
    for (uint32_t i = 0; i < head->metrics; i++) {
        if (per_metric[i] != head->metric[i].series)
            return BAD(err, "metric %u has %u series, the account says %u", i, per_metric[i],
                       head->metric[i].series);
    }
    return GW_OK;
}

static enum gw_rc check_chains(const struct gw_metrics_head *head, struct gw_err *err)
{
    uint32_t chained = 0;

    for (uint32_t chain = 0; chain < GW_METRICS_CHAINS; chain++) {
        for (uint32_t next = head->chains[chain]; next != 0; next = head->slot[next - 1].chain) {
            if (next > head->series || ++chained > head->series ||
                head->slot[next - 1].hash % GW_METRICS_CHAINS != chain)
                return BAD(err, "chain %u leads astray", chain);
        }
    }
    if (chained != head->series)
        return BAD(err, "%u series in chains, %u in all", chained, head->series);
    return GW_OK;
}

static enum gw_rc check_all(const struct gw_metrics_head *head, struct gw_err *err)
{
    uint32_t per_metric[GW_METRICS_MAX] = {0};
    enum gw_rc rc;

    if (head->undo.count != 0)
        return BAD(err, "a transaction is open");
    if (head->metrics > GW_METRICS_MAX || head->series > GW_METRICS_SERIES_TOTAL ||
        head->text_bytes > GW_METRICS_TEXT_BYTES)
        return BAD(err, "a count is beyond its limit");
    rc = check_metrics(head, err);
    if (rc == GW_OK)
        rc = check_series(head, per_metric, err);
    if (rc == GW_OK)
        rc = check_chains(head, err);
    return rc;
}

/* Slots that processes have kept point at nothing then, and what is added to them is lost. */
static void empty(struct gw_metrics *metrics)
{
    struct gw_metrics_head *head = metrics->head;

    GW_SHM_STORE(head->damaged, 1);
    atomic_store(&head->series, 0);
    head->metrics = head->cells = head->text_bytes = 0;
    memset(head->chains, 0, sizeof head->chains);
    for (uint32_t row = 0;
         row <= atomic_load(&gw_zone_header(&metrics->zone)->rows) && row <= GW_ZONE_OWNERS_MAX;
         row++)
        memset((void *)head->cell[row], 0, sizeof head->cell[row]);
    GW_SHM_STORE(head->undo.count, 0);
    GW_SHM_STORE(head->damaged, 0);
}

void gw_metrics_acquire(struct gw_metrics *metrics)
{
    struct gw_metrics_head *head = metrics->head;
    struct gw_err err = {""};

    if (gw_lock_acquire(&head->lock, &metrics->zone) == GW_LOCKED)
        return;
    if (!head->damaged &&
        gw_undo_roll_back(metrics->zone.base, atomic_load(&gw_zone_header(&metrics->zone)->size),
                          &head->undo) == GW_OK &&
        check_all(head, &err) == GW_OK)
        return;
    gw_error("metrics: all are emptied: their memory was damaged: %s", err.text);
    empty(metrics);
}

void gw_metrics_release(struct gw_metrics *metrics)
{
    gw_lock_release(&metrics->head->lock);
}

enum gw_rc gw_metrics_verify(struct gw_metrics *metrics, struct gw_err *err)
{
    enum gw_rc rc;

    gw_metrics_acquire(metrics);
    rc = check_all(metrics->head, err);
    gw_metrics_release(metrics);
    if (rc != GW_OK)
        gw_err_prefix(err, "metrics: ");
    return rc;
}

static struct gw_metrics *view(const struct gw_zone *zone)
{
    struct gw_metrics *metrics = calloc(1, sizeof *metrics);

    if (metrics == NULL)
        abort();
    metrics->zone = *zone;
    metrics->head = (struct gw_metrics_head *)(zone->base + GW_ZONE_HEADER_BYTES);
    metrics->common = metrics->head->cell[0];
    gw_metrics_adopted(metrics);
    return metrics;
}

void gw_metrics_adopted(struct gw_metrics *metrics)
{
    struct gw_metrics_head *head = metrics->head;

    metrics->own = head->cell[1 + gw_zone_row(&metrics->zone)];
    for (uint32_t i = 0; i < atomic_load(&head->series); i++) {
        const struct gw_metric_series *series = &head->slot[i];

        if (head->metric[series->metric].type == GW_METRICS_GAUGE_SUM)
            atomic_store(&metrics->own[series->cell], 0);
    }
}

enum gw_rc gw_metrics_create(struct gw_metrics **out, struct gw_err *err)
{
    struct gw_zone zone;
    enum gw_rc rc = gw_zone_create(&zone, GW_ZONE_METRICS, GW_STR("metrics"),
                                   GW_ZONE_HEADER_BYTES + sizeof(struct gw_metrics_head), err);

    if (rc == GW_OK)
        *out = view(&zone);
    return rc;
}

enum gw_rc gw_metrics_open(int fd, struct gw_metrics **out, struct gw_err *err)
{
    struct gw_zone zone;
    enum gw_rc rc = gw_zone_map(&zone, fd, err);

    if (rc != GW_OK)
        return rc;
    if (gw_zone_header(&zone)->kind != GW_ZONE_METRICS ||
        atomic_load(&gw_zone_header(&zone)->size) <
            GW_ZONE_HEADER_BYTES + sizeof(struct gw_metrics_head)) {
        rc = gw_err_set(err, GW_INVALID, "zone %s: not metrics", gw_zone_header(&zone)->name);
        gw_zone_unmap(&zone);
        return rc;
    }
    *out = view(&zone);
    return GW_OK;
}

void gw_metrics_close(struct gw_metrics *metrics)
{
    if (metrics == NULL)
        return;
    gw_zone_unmap(&metrics->zone);
    free(metrics);
}

struct gw_zone *gw_metrics_zone(struct gw_metrics *metrics)
{
    return &metrics->zone;
}

struct gw_lock *gw_metrics_lock(struct gw_metrics *metrics)
{
    return &metrics->head->lock;
}
