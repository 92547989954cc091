/* Prometheus text format 0.0.4. */
#include "shm/metrics_zone.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define INTEGER_MAX 9007199254740992.0 /* 2^53 */

struct page {
    struct gw_metrics *metrics;
    struct gw_buf *out;
    bool living[GW_ZONE_OWNERS_MAX];
    const uint32_t *slots; /* sorted by metric's name, then values */
    uint32_t slot_count;
};

static void add_c(struct gw_buf *out, const char *text)
{
    gw_buf_add(out, text, strlen(text));
}

/* The shortest text that reads back as the same number. */
static void add_number(struct gw_buf *out, double number)
{
    char text[40];

    if (isnan(number)) {
        add_c(out, "NaN");
        return;
    }
    if (isinf(number)) {
        add_c(out, number > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (fabs(number) < INTEGER_MAX && number == floor(number)) {
        snprintf(text, sizeof text, "%" PRId64, (int64_t)number);
    } else {
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, number);
            if (strtod(text, NULL) == number)
                break;
        }
    }
    add_c(out, text);
}

static void add_escaped(struct gw_buf *out, struct gw_str text, bool quotes)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (c == '\\')
            add_c(out, "\\\\");
        else if (c == '\n')
            add_c(out, "\\n");
        else if (c == '"' && quotes)
            add_c(out, "\\\"");
        else
            gw_buf_add(out, &c, 1);
    }
}

static void add_head(struct gw_buf *out, struct gw_str name, struct gw_str help, uint32_t type)
{
    static const char *const types[] = {
        [GW_METRICS_COUNTER] = "counter",
        [GW_METRICS_GAUGE] = "gauge",
        [GW_METRICS_GAUGE_SUM] = "gauge",
        [GW_METRICS_HISTOGRAM] = "histogram",
    };

    gw_buf_printf(out, "# HELP %.*s ", GW_STR_ARG(name));
    add_escaped(out, help, false);
    gw_buf_printf(out, "\n# TYPE %.*s %s\n", GW_STR_ARG(name), types[type]);
}

/* One line: name, suffix, labels (with le for buckets), value. */
static void add_line(struct page *page, uint32_t slot, const char *suffix, const double *le,
                     double value)
{
    const struct gw_metric_series *series = &page->metrics->head->slot[slot];
    const struct gw_metric_row *row = &page->metrics->head->metric[series->metric];
    const char *label = gw_metrics_text(page->metrics, row->labels).data;
    const char *text = gw_metrics_text(page->metrics, series->values).data;
    struct gw_buf *out = page->out;

    gw_buf_add_str(out, gw_metrics_text(page->metrics, row->name));
    add_c(out, suffix);
    if (row->label_count > 0 || le != NULL)
        add_c(out, "{");
    for (uint32_t i = 0; i < row->label_count; i++) {
        if (i > 0)
            add_c(out, ",");
        add_c(out, label);
        add_c(out, "=\"");
        add_escaped(out, gw_str_c(text), true);
        add_c(out, "\"");
        label += strlen(label) + 1;
        text += strlen(text) + 1;
    }
    if (le != NULL) {
        add_c(out, row->label_count > 0 ? ",le=\"" : "le=\"");
        add_number(out, *le);
        add_c(out, "\"");
    }
    if (row->label_count > 0 || le != NULL)
        add_c(out, "}");
    add_c(out, " ");
    add_number(out, value);
    add_c(out, "\n");
}

static void add_histogram(struct page *page, uint32_t slot)
{
    struct gw_metrics *metrics = page->metrics;
    const struct gw_metric_row *row = &metrics->head->metric[metrics->head->slot[slot].metric];
    double count = 0;

    for (uint32_t i = 0; i <= row->bucket_count; i++) {
        double le = i < row->bucket_count ? gw_metrics_bucket(metrics, row, i) : INFINITY;

        count += gw_metrics_sum(metrics, slot, i, page->living);
        add_line(page, slot, "_bucket", &le, count);
    }
    add_line(page, slot, "_sum", NULL,
             gw_metrics_sum(metrics, slot, row->bucket_count + 1, page->living));
    add_line(page, slot, "_count", NULL, count);
}

/* The slots of one metric, which lie together in `slots`. Returns behind the last. */
static uint32_t add_metric(struct page *page, uint32_t id, uint32_t from)
{
    struct gw_metrics *metrics = page->metrics;
    const struct gw_metric_row *row = &metrics->head->metric[id];

    add_head(page->out, gw_metrics_text(metrics, row->name), gw_metrics_text(metrics, row->help),
             row->type);
    while (from < page->slot_count && metrics->head->slot[page->slots[from]].metric == id) {
        uint32_t slot = page->slots[from++];

        if (row->type == GW_METRICS_HISTOGRAM)
            add_histogram(page, slot);
        else
            add_line(page, slot, "", NULL, gw_metrics_sum(metrics, slot, 0, page->living));
    }
    return from;
}

static void add_lost(struct page *page, const uint32_t *ids, uint32_t count)
{
    struct gw_metrics *metrics = page->metrics;
    bool said = false;

    for (uint32_t i = 0; i < count; i++) {
        const struct gw_metric_row *row = &metrics->head->metric[ids[i]];
        uint64_t lost = atomic_load(&row->lost);

        if (lost == 0)
            continue;
        if (!said)
            add_head(page->out, GW_STR(GW_METRICS_LOST_NAME),
                     GW_STR("Look-ups of label values that found no series of their own."),
                     GW_METRICS_COUNTER);
        said = true;
        gw_buf_printf(page->out, GW_METRICS_LOST_NAME "{metric=\"%.*s\"} %" PRIu64 "\n",
                      GW_STR_ARG(gw_metrics_text(metrics, row->name)), lost);
    }
}

static int str_compare(struct gw_str a, struct gw_str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.data, b.data, len) : 0;

    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

static int id_compare(const void *a, const void *b, void *arg)
{
    const struct gw_metrics *metrics = arg;
    const struct gw_metric_row *rows = metrics->head->metric;

    return str_compare(gw_metrics_text(metrics, rows[*(const uint32_t *)a].name),
                       gw_metrics_text(metrics, rows[*(const uint32_t *)b].name));
}

static int slot_compare(const void *a, const void *b, void *arg)
{
    const struct gw_metrics *metrics = arg;
    const struct gw_metric_series *left = &metrics->head->slot[*(const uint32_t *)a];
    const struct gw_metric_series *right = &metrics->head->slot[*(const uint32_t *)b];

    if (left->metric != right->metric)
        return id_compare(&left->metric, &right->metric, arg);

    return str_compare(gw_metrics_text(metrics, left->values),
                       gw_metrics_text(metrics, right->values));
}

static uint32_t *numbers(uint32_t count)
{
    uint32_t *list = malloc((count + 1) * sizeof *list);

    if (list == NULL)
        abort();
    for (uint32_t i = 0; i < count; i++)
        list[i] = i;
    return list;
}

void gw_metrics_render(struct gw_metrics *metrics, struct gw_buf *out)
{
    struct page page = {.metrics = metrics, .out = out};
    uint32_t metric_count, at = 0;

    /* Rows below the counts do not change any more: the lock is for the counts alone. */
    gw_metrics_acquire(metrics);
    metric_count = metrics->head->metrics;
    page.slot_count = atomic_load(&metrics->head->series);
    gw_metrics_release(metrics);
    gw_metrics_living(metrics, page.living);

    uint32_t *ids = numbers(metric_count);
    uint32_t *slots = numbers(page.slot_count);

    qsort_r(ids, metric_count, sizeof *ids, id_compare, metrics);
    qsort_r(slots, page.slot_count, sizeof *slots, slot_compare, metrics);
    page.slots = slots;
    for (uint32_t i = 0; i < metric_count; i++)
        at = add_metric(&page, ids[i], at);
    add_lost(&page, ids, metric_count);
    free(ids);
    free(slots);
}
