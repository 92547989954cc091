#include "shm/metrics_zone.h"

#include <math.h>
#include <stdlib.h>

#include "base/hash.h"

#define VALUES_BYTES_MAX (GW_METRICS_LABELS_MAX * (GW_METRICS_LABEL_BYTES_MAX + 1))

struct packed {
    size_t len;
    char data[VALUES_BYTES_MAX];
};

/* ---- counting ---- */

static struct gw_metric_series *series_at(struct gw_metrics *metrics, uint32_t slot)
{
    if (slot >= atomic_load_explicit(&metrics->head->series, memory_order_acquire))
        return NULL;
    return &metrics->head->slot[slot];
}

/* A cell of our own stripe has no other writer. */
static void own_add(_Atomic uint64_t *cell, double by)
{
    double sum = gw_metrics_number(atomic_load_explicit(cell, memory_order_relaxed)) + by;

    GW_SHM_POINT();
    atomic_store_explicit(cell, gw_metrics_bits(sum), memory_order_relaxed);
}

static void common_add(_Atomic uint64_t *cell, double by)
{
    uint64_t old = atomic_load_explicit(cell, memory_order_relaxed);

    while (!atomic_compare_exchange_weak(cell, &old, gw_metrics_bits(gw_metrics_number(old) + by)))
        ;
}

void gw_metrics_add(struct gw_metrics *metrics, uint32_t slot, double by)
{
    const struct gw_metric_series *series = series_at(metrics, slot);

    if (series == NULL || isnan(by))
        return;
    switch (metrics->head->metric[series->metric].type) {
    case GW_METRICS_COUNTER:
        if (by >= 0)
            own_add(&metrics->own[series->cell], by);
        return;
    case GW_METRICS_GAUGE_SUM:
        own_add(&metrics->own[series->cell], by);
        return;
    case GW_METRICS_GAUGE:
        common_add(&metrics->common[series->cell], by);
        return;
    default:
        return;
    }
}

void gw_metrics_set(struct gw_metrics *metrics, uint32_t slot, double value)
{
    const struct gw_metric_series *series = series_at(metrics, slot);

    if (series == NULL || isnan(value))
        return;
    switch (metrics->head->metric[series->metric].type) {
    case GW_METRICS_GAUGE_SUM:
        atomic_store_explicit(&metrics->own[series->cell], gw_metrics_bits(value),
                              memory_order_relaxed);
        return;
    case GW_METRICS_GAUGE:
        atomic_store_explicit(&metrics->common[series->cell], gw_metrics_bits(value),
                              memory_order_relaxed);
        return;
    default:
        return;
    }
}

void gw_metrics_observe(struct gw_metrics *metrics, uint32_t slot, double value)
{
    const struct gw_metric_series *series = series_at(metrics, slot);

    if (series == NULL || isnan(value))
        return;

    const struct gw_metric_row *row = &metrics->head->metric[series->metric];
    uint32_t low = 0, high = row->bucket_count;

    if (row->type != GW_METRICS_HISTOGRAM)
        return;
    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (value <= gw_metrics_bucket(metrics, row, middle))
            high = middle;
        else
            low = middle + 1;
    }
    own_add(&metrics->own[series->cell + low], 1);
    own_add(&metrics->own[series->cell + row->bucket_count + 1], value);
}

void gw_metrics_living(struct gw_metrics *metrics, bool living[GW_ZONE_OWNERS_MAX])
{
    struct gw_zone_header *header = gw_zone_header(&metrics->zone);

    for (uint32_t row = 0; row < GW_ZONE_OWNERS_MAX; row++) {
        uint32_t token = atomic_load(&header->owners[row].token);

        living[row] = token != 0 && !gw_zone_owner_dead(&metrics->zone, token);
    }
}

double gw_metrics_sum(struct gw_metrics *metrics, uint32_t slot, uint32_t cell,
                      const bool living[GW_ZONE_OWNERS_MAX])
{
    struct gw_metrics_head *head = metrics->head;
    const struct gw_metric_series *series = &head->slot[slot];
    uint32_t type = head->metric[series->metric].type;
    uint32_t rows = atomic_load(&gw_zone_header(&metrics->zone)->rows);
    double sum = 0;

    cell += series->cell;
    if (type == GW_METRICS_GAUGE)
        return gw_metrics_number(atomic_load(&head->cell[0][cell]));
    for (uint32_t row = 0; row < rows; row++) {
        if (type != GW_METRICS_GAUGE_SUM || living[row])
            sum += gw_metrics_number(
                atomic_load_explicit(&head->cell[1 + row][cell], memory_order_relaxed));
    }
    return sum;
}

double gw_metrics_value(struct gw_metrics *metrics, uint32_t slot)
{
    const struct gw_metric_series *series = series_at(metrics, slot);
    bool living[GW_ZONE_OWNERS_MAX];
    double sum = 0;

    if (series == NULL)
        return 0;
    gw_metrics_living(metrics, living);

    const struct gw_metric_row *row = &metrics->head->metric[series->metric];

    if (row->type != GW_METRICS_HISTOGRAM)
        return gw_metrics_sum(metrics, slot, 0, living);
    for (uint32_t i = 0; i <= row->bucket_count; i++)
        sum += gw_metrics_sum(metrics, slot, i, living);
    return sum;
}

/* ---- names ---- */

static bool name_valid(struct gw_str name, bool colon)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');

        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return name.len > 0 && name.len <= GW_METRICS_LABEL_BYTES_MAX;
}

static enum gw_rc labels_check(const struct gw_metrics_def *def, struct gw_err *err)
{
    if (def->label_count > GW_METRICS_LABELS_MAX)
        return gw_err_set(err, GW_INVALID, "more than %d labels", GW_METRICS_LABELS_MAX);
    for (uint32_t i = 0; i < def->label_count; i++) {
        struct gw_str label = def->labels[i];

        if (!name_valid(label, false) || gw_str_starts(label, GW_STR("__")) ||
            gw_str_eq(label, GW_STR("le")))
            return gw_err_set(err, GW_INVALID, "%.*s: not the name of a label", GW_STR_ARG(label));
        for (uint32_t j = 0; j < i; j++) {
            if (gw_str_eq(label, def->labels[j]))
                return gw_err_set(err, GW_INVALID, "%.*s: label given twice", GW_STR_ARG(label));
        }
    }
    return GW_OK;
}

static enum gw_rc def_check(const struct gw_metrics_def *def, struct gw_err *err)
{
    if (!name_valid(def->name, true))
        return gw_err_set(err, GW_INVALID, "not the name of a metric");
    if (def->type < GW_METRICS_COUNTER || def->type > GW_METRICS_HISTOGRAM)
        return gw_err_set(err, GW_INVALID, "no such type of metric");
    if (gw_str_eq(def->name, GW_STR(GW_METRICS_LOST_NAME)))
        return gw_err_set(err, GW_EXISTS, "the gateway's own metric");
    if (def->bucket_count > (def->type == GW_METRICS_HISTOGRAM ? GW_METRICS_BUCKETS_MAX : 0))
        return gw_err_set(err, GW_INVALID, "%u buckets; a histogram has up to %d",
                          def->bucket_count, GW_METRICS_BUCKETS_MAX);
    for (uint32_t i = 0; i < def->bucket_count; i++) {
        if (!isfinite(def->buckets[i]) || (i > 0 && def->buckets[i] <= def->buckets[i - 1]))
            return gw_err_set(err, GW_INVALID, "buckets must be finite and rise");
    }
    return labels_check(def, err);
}

/* x_count and the like are taken when x is a histogram. */
static bool suffix_clash(struct gw_str histogram, struct gw_str other)
{
    static const char *const suffixes[] = {"_bucket", "_count", "_sum"};

    if (!gw_str_starts(other, histogram))
        return false;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (gw_str_eq(gw_str(other.data + histogram.len, other.len - histogram.len),
                      gw_str_c(suffixes[i])))
            return true;
    }
    return false;
}

static void pack(struct packed *packed, const struct gw_str *items, uint32_t count)
{
    packed->len = 0;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(packed->data + packed->len, items[i].data, items[i].len);
        packed->len += items[i].len;
        packed->data[packed->len++] = '\0';
    }
}

static bool row_same(const struct gw_metrics *metrics, const struct gw_metric_row *row,
                     const struct gw_metrics_def *def)
{
    struct packed labels;

    pack(&labels, def->labels, def->label_count);
    return row->type == def->type && row->bucket_count == def->bucket_count &&
           gw_str_eq(gw_metrics_text(metrics, row->labels), gw_str(labels.data, labels.len)) &&
           (def->bucket_count == 0 || memcmp(metrics->head->texts + row->buckets.at, def->buckets,
                                             def->bucket_count * sizeof(double)) == 0);
}

/* GW_NOT_FOUND: the name is free. */
static enum gw_rc find_metric(const struct gw_metrics *metrics, const struct gw_metrics_def *def,
                              uint32_t *id, struct gw_err *err)
{
    for (uint32_t i = 0; i < metrics->head->metrics; i++) {
        const struct gw_metric_row *row = &metrics->head->metric[i];
        struct gw_str name = gw_metrics_text(metrics, row->name);

        if (gw_str_eq(name, def->name)) {
            *id = i;
            if (row_same(metrics, row, def))
                return GW_OK;
            return gw_err_set(err, GW_EXISTS,
                              "metric %.*s is there with another type, labels or buckets",
                              GW_STR_ARG(name));
        }
        if ((row->type == GW_METRICS_HISTOGRAM && suffix_clash(name, def->name)) ||
            (def->type == GW_METRICS_HISTOGRAM && suffix_clash(def->name, name)))
            return gw_err_set(err, GW_EXISTS, "metrics %.*s and %.*s would have the same lines",
                              GW_STR_ARG(def->name), GW_STR_ARG(name));
    }
    return GW_NOT_FOUND;
}

/* Appends to the texts; the caller has checked that there is room. */
static struct gw_metric_text text_add(struct gw_metrics *metrics, struct gw_txn *txn,
                                      const void *data, size_t len)
{
    struct gw_metrics_head *head = metrics->head;
    struct gw_metric_text text = {head->text_bytes, (uint32_t)len};

    gw_shm_fill(head->texts + text.at, data, len);
    gw_txn_put32(txn, &head->text_bytes, text.at + (uint32_t)((len + 7) & ~(size_t)7));
    return text;
}

/* How many bytes at `at` form one character, 0 if they do not (RFC 3629). */
static size_t utf8_len(const unsigned char *at, size_t left)
{
    static const struct {
        unsigned char low, high, len, second_low, second_high;
    } rows[] = {
        {0x01, 0x7f, 1, 0, 0},       {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
        {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
        {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (at[0] < rows[i].low || at[0] > rows[i].high)
            continue;
        if (rows[i].len > left)
            return 0;
        if (rows[i].len > 1 && (at[1] < rows[i].second_low || at[1] > rows[i].second_high))
            return 0;
        for (size_t j = 2; j < rows[i].len; j++) {
            if ((at[j] & 0xc0) != 0x80)
                return 0;
        }
        return rows[i].len;
    }
    return 0;
}

/* Copies text that a client may have chosen: one wrong byte and Prometheus would refuse the
 * whole page, so each becomes U+FFFD; what is too long is cut between characters. */
static size_t clean(char *out, size_t size, struct gw_str text)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len;) {
        size_t one = utf8_len((const unsigned char *)text.data + i, text.len - i);
        const char *from = one > 0 ? text.data + i : "\xef\xbf\xbd";
        size_t bytes = one > 0 ? one : 3;

        if (len + bytes > size)
            break;
        memcpy(out + len, from, bytes);
        len += bytes;
        i += one > 0 ? one : 1;
    }
    return len;
}

static enum gw_rc metric_add(struct gw_metrics *metrics, const struct gw_metrics_def *def,
                             uint32_t *id, struct gw_err *err)
{
    struct gw_metrics_head *head = metrics->head;
    char help[GW_METRICS_HELP_BYTES_MAX];
    size_t help_len = clean(help, sizeof help, def->help);
    struct packed labels;
    struct gw_txn txn;

    pack(&labels, def->labels, def->label_count);
    if (head->metrics == GW_METRICS_MAX || head->text_bytes + def->name.len + help_len +
                                                   labels.len +
                                                   GW_METRICS_BUCKETS_MAX * sizeof(double) + 32 >
                                               GW_METRICS_TEXT_BYTES)
        return gw_err_set(err, GW_FULL, "%.*s: no room for more metrics", GW_STR_ARG(def->name));

    struct gw_metric_row *row = &head->metric[head->metrics];

    gw_txn_begin(&txn, metrics->zone.base, &head->undo);
    GW_SHM_POINT();
    memset(row, 0, sizeof *row);
    row->type = def->type;
    row->series_max = def->series_max == 0 || def->series_max > GW_METRICS_SERIES_MAX
                          ? GW_METRICS_SERIES_MAX
                          : def->series_max;
    row->label_count = def->label_count;
    row->bucket_count = def->bucket_count;
    row->name = text_add(metrics, &txn, def->name.data, def->name.len);
    row->help = text_add(metrics, &txn, help, help_len);
    row->labels = text_add(metrics, &txn, labels.data, labels.len);
    row->buckets = text_add(metrics, &txn, def->buckets, def->bucket_count * sizeof(double));
    *id = head->metrics;
    gw_txn_put32(&txn, &head->metrics, head->metrics + 1);
    gw_txn_commit(&txn);
    return GW_OK;
}

enum gw_rc gw_metrics_register(struct gw_metrics *metrics, const struct gw_metrics_def *def,
                               uint32_t *id, struct gw_err *err)
{
    enum gw_rc rc = def_check(def, err);

    if (rc != GW_OK) {
        gw_err_prefix(err, "metric %.*s: ", GW_STR_ARG(def->name));
        return rc;
    }
    gw_metrics_acquire(metrics);
    rc = find_metric(metrics, def, id, err);
    if (rc == GW_NOT_FOUND)
        rc = metric_add(metrics, def, id, err);
    gw_metrics_release(metrics);
    return rc;
}

/* ---- series ---- */

static uint32_t chain_of(uint32_t hash)
{
    return hash % GW_METRICS_CHAINS;
}

static bool find_series(const struct gw_metrics *metrics, uint32_t id, const struct packed *values,
                        uint32_t hash, uint32_t *slot)
{
    const struct gw_metrics_head *head = metrics->head;

    for (uint32_t next = head->chains[chain_of(hash)]; next != 0;) {
        const struct gw_metric_series *series = &head->slot[next - 1];

        *slot = next - 1;
        if (series->hash == hash && series->metric == id &&
            gw_str_eq(gw_metrics_text(metrics, series->values), gw_str(values->data, values->len)))
            return true;
        next = series->chain;
    }
    return false;
}

static bool series_add(struct gw_metrics *metrics, uint32_t id, const struct packed *values,
                       uint32_t hash, uint32_t *slot)
{
    struct gw_metrics_head *head = metrics->head;
    struct gw_metric_row *row = &head->metric[id];
    uint32_t cells = gw_metrics_cells_of(row), number = atomic_load(&head->series);
    struct gw_txn txn;

    if (number == GW_METRICS_SERIES_TOTAL || cells > GW_METRICS_CELLS - head->cells ||
        head->text_bytes + values->len + 8 > GW_METRICS_TEXT_BYTES)
        return false;

    struct gw_metric_series *series = &head->slot[number];

    gw_txn_begin(&txn, metrics->zone.base, &head->undo);
    GW_SHM_STORE(series->metric, id);
    GW_SHM_STORE(series->cell, head->cells);
    GW_SHM_STORE(series->hash, hash);
    GW_SHM_STORE(series->chain, head->chains[chain_of(hash)]);
    series->values = text_add(metrics, &txn, values->data, values->len);
    gw_txn_put32(&txn, &head->cells, head->cells + cells);
    gw_txn_put32(&txn, &head->chains[chain_of(hash)], number + 1);
    gw_txn_put32(&txn, &row->series, row->series + 1);
    gw_txn_put32(&txn, &head->series, number + 1);
    gw_txn_commit(&txn);
    *slot = number;
    return true;
}

static uint32_t values_hash(const struct gw_metrics *metrics, uint32_t id,
                            const struct packed *values)
{
    return (uint32_t)gw_hash(values->data, values->len, gw_zone_header(&metrics->zone)->seed + id);
}

/* The slot for what finds no place of its own: an ordinary series, only beyond the limit. */
static enum gw_rc series_other(struct gw_metrics *metrics, uint32_t id, uint32_t *slot)
{
    struct gw_metric_row *row = &metrics->head->metric[id];
    struct gw_str other[GW_METRICS_LABELS_MAX];
    struct packed values;
    uint32_t hash;

    atomic_fetch_add_explicit(&row->lost, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < row->label_count; i++)
        other[i] = GW_STR("other");
    pack(&values, other, row->label_count);
    hash = values_hash(metrics, id, &values);
    if (find_series(metrics, id, &values, hash, slot) ||
        series_add(metrics, id, &values, hash, slot))
        return GW_OK;
    return GW_FULL;
}

static enum gw_rc series_get(struct gw_metrics *metrics, uint32_t id, const struct packed *values,
                             uint32_t count, uint32_t *slot)
{
    const struct gw_metric_row *row;
    uint32_t hash = values_hash(metrics, id, values);

    if (id >= metrics->head->metrics)
        return GW_NOT_FOUND;
    row = &metrics->head->metric[id];
    if (count != row->label_count)
        return GW_INVALID;
    if (find_series(metrics, id, values, hash, slot) ||
        (row->series < row->series_max && series_add(metrics, id, values, hash, slot)))
        return GW_OK;
    return series_other(metrics, id, slot);
}

enum gw_rc gw_metrics_series(struct gw_metrics *metrics, uint32_t id, const struct gw_str *values,
                             uint32_t count, uint32_t *slot)
{
    struct packed packed;
    enum gw_rc rc;

    if (count > GW_METRICS_LABELS_MAX)
        return GW_INVALID;
    packed.len = 0;
    for (uint32_t i = 0; i < count; i++) {
        packed.len += clean(packed.data + packed.len, GW_METRICS_LABEL_BYTES_MAX, values[i]);
        packed.data[packed.len++] = '\0';
    }
    gw_metrics_acquire(metrics);
    rc = series_get(metrics, id, &packed, count, slot);
    gw_metrics_release(metrics);
    return rc;
}
