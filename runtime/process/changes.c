#include "process/changes.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"

struct item {
    struct gw_str name;
    uint64_t hash;
};

struct side {
    struct item *items; /* sorted by name */
    uint32_t count;
};

typedef struct item (*item_fn)(const struct gw_conf *conf, uint32_t index);

/* ---- what a thing is called, and what makes it another ---- */

static struct item route_item(const struct gw_conf *conf, uint32_t i)
{
    const struct gw_conf_route *route = &GW_ITEMS(conf, conf->routes, struct gw_conf_route)[i];

    return (struct item){gw_ref_str(conf, route->name), gw_conf_details(conf, route)->hash};
}

static struct item upstream_item(const struct gw_conf *conf, uint32_t i)
{
    const struct gw_conf_upstream *upstream =
        &GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream)[i];

    return (struct item){gw_ref_str(conf, upstream->name), upstream->hash};
}

static struct item listener_item(const struct gw_conf *conf, uint32_t i)
{
    const struct gw_conf_listener *listener =
        &GW_ITEMS(conf, conf->listeners, struct gw_conf_listener)[i];
    uint64_t hash = gw_hash(&listener->address, listener->address_len, listener->backlog);

    hash = gw_hash(&listener->limits, GW_LIMITS_BYTES, hash + listener->proxy_protocol);
    return (struct item){gw_ref_str(conf, listener->name), hash};
}

static struct item shared_item(const struct gw_conf *conf, uint32_t i)
{
    const struct gw_conf_shared *shared = &GW_ITEMS(conf, conf->shared, struct gw_conf_shared)[i];

    return (struct item){gw_ref_str(conf, shared->name), shared->size * 2 + shared->evict_never};
}

static struct item file_item(const struct gw_conf *conf, uint32_t i)
{
    const struct gw_conf_file *file = &GW_ITEMS(conf, conf->files, struct gw_conf_file)[i];

    return (struct item){gw_ref_str(conf, file->path), file->hash};
}

static const struct kind {
    const char *name;
    size_t array; /* offset of the struct gw_ref in struct gw_conf */
    item_fn item;
} kinds[] = {
    {"routes", offsetof(struct gw_conf, routes), route_item},
    {"listeners", offsetof(struct gw_conf, listeners), listener_item},
    {"upstreams", offsetof(struct gw_conf, upstreams), upstream_item},
    {"shared", offsetof(struct gw_conf, shared), shared_item},
    {"files", offsetof(struct gw_conf, files), file_item},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct gw_changes {
    struct side from[KINDS];
    struct side to[KINDS];
};

/* ---- merging two sorted sides ---- */

static int compare_names(const struct item *a, const struct item *b)
{
    size_t len = a->name.len < b->name.len ? a->name.len : b->name.len;
    int order = len > 0 ? memcmp(a->name.data, b->name.data, len) : 0;

    return order != 0 ? order : (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

/* Of one name, by hash: then equal ones meet in the merge. */
static int compare(const void *a, const void *b)
{
    const struct item *left = a, *right = b;
    int order = compare_names(left, right);

    return order != 0 ? order : (left->hash > right->hash) - (left->hash < right->hash);
}

static struct gw_ref array_of(const struct gw_conf *conf, const struct kind *kind)
{
    return *(const struct gw_ref *)((const char *)conf + kind->array);
}

static bool same(struct item a, struct item b)
{
    return a.hash == b.hash && compare_names(&a, &b) == 0;
}

/* Items [from, to) of a conf. */
static struct side side_make(const struct gw_conf *conf, const struct kind *kind, uint32_t from,
                             uint32_t to)
{
    struct side side = {NULL, to - from};

    if (side.count == 0)
        return side;
    side.items = calloc(side.count, sizeof(*side.items));
    if (side.items == NULL)
        abort();
    for (uint32_t i = 0; i < side.count; i++)
        side.items[i] = kind->item(conf, from + i);
    qsort(side.items, side.count, sizeof(*side.items), compare);
    return side;
}

/* What may differ: most reloads change a few of many things, and what stands equal at both ends
 * need not be sorted. */
static void sides_make(const struct gw_conf *from, const struct gw_conf *to,
                       const struct kind *kind, struct side *old, struct side *new)
{
    uint32_t olds = array_of(from, kind).len, news = array_of(to, kind).len;
    uint32_t at = 0, most = olds < news ? olds : news, end = 0;

    while (at < most && same(kind->item(from, at), kind->item(to, at)))
        at++;
    while (end < most - at &&
           same(kind->item(from, olds - end - 1), kind->item(to, news - end - 1)))
        end++;
    *old = side_make(from, kind, at, olds - end);
    *new = side_make(to, kind, at, news - end);
}

enum change { ADDED, CHANGED, REMOVED, CHANGES };

static const char *const change_names[CHANGES] = {"added", "changed", "removed"};

/* Writes the names of one change (when there is a writer) and counts them. */
static uint32_t merge(const struct side *from, const struct side *to, enum change what,
                      struct gw_json_writer *writer)
{
    uint32_t left = 0, right = 0, count = 0;

    while (left < from->count || right < to->count) {
        const struct item *old = left < from->count ? &from->items[left] : NULL;
        const struct item *new = right < to->count ? &to->items[right] : NULL;
        int order = old == NULL ? 1 : new == NULL ? -1 : compare_names(old, new);
        enum change is = order > 0 ? ADDED : order < 0 ? REMOVED : CHANGED;
        assert(old != NULL || new != NULL);
        bool counts = is == what && (order != 0 || old->hash != new->hash);
        if (counts) {
            count++;
            if (writer != NULL)
                gw_json_str(writer, order > 0 ? new->name : old->name);
        }
        left += order <= 0;
        right += order >= 0;
    }
    return count;
}

struct gw_changes *gw_changes_new(const struct gw_conf *from, const struct gw_conf *to)
{
    struct gw_changes *changes = calloc(1, sizeof(*changes));

    if (changes == NULL)
        abort();
    for (size_t k = 0; k < KINDS; k++)
        sides_make(from, to, &kinds[k], &changes->from[k], &changes->to[k]);
    return changes;
}

void gw_changes_free(struct gw_changes *changes)
{
    for (size_t k = 0; k < KINDS; k++) {
        free(changes->from[k].items);
        free(changes->to[k].items);
    }
    free(changes);
}

void gw_changes_json(struct gw_json_writer *writer, const struct gw_changes *changes)
{
    gw_json_object(writer);
    for (size_t k = 0; k < KINDS; k++) {
        gw_json_key(writer, kinds[k].name);
        gw_json_object(writer);
        for (enum change what = ADDED; what < CHANGES; what++) {
            gw_json_key(writer, change_names[what]);
            gw_json_array(writer);
            (void)merge(&changes->from[k], &changes->to[k], what, writer);
            gw_json_array_end(writer);
        }
        gw_json_object_end(writer);
    }
    gw_json_object_end(writer);
}

void gw_changes_text(struct gw_buf *out, const struct gw_changes *changes)
{
    static const char signs[CHANGES] = {'+', '~', '-'};
    bool any = false;

    for (size_t k = 0; k < KINDS; k++) {
        bool named = false;
        for (enum change what = ADDED; what < CHANGES; what++) {
            uint32_t count = merge(&changes->from[k], &changes->to[k], what, NULL);
            if (count == 0)
                continue;
            if (!named)
                gw_buf_printf(out, "%s%s", any ? ", " : "", kinds[k].name);
            gw_buf_printf(out, " %c%u", signs[what], count);
            named = any = true;
        }
    }
    if (!any)
        gw_buf_printf(out, "nothing has changed");
}
