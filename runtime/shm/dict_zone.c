/* The dictionary as a whole: its making, opening and growing. */
#include "shm/dict_shard.h"

#include <stdlib.h>

#define SHARD_BYTES_WANTED ((uint64_t)2 << 20)

static uint32_t shards_for(uint64_t size)
{
    uint32_t shards = 1;

    while (shards < GW_DICT_SHARDS_MAX && size / (shards * 2) >= SHARD_BYTES_WANTED)
        shards *= 2;
    return shards;
}

/* The largest value that an empty shard takes beside its table: of an even worse case of
 * rounding, so that there is no doubt. */
static uint64_t value_max_for(const struct gw_dict_head *head, uint32_t segments)
{
    uint64_t max = 0, all = 0;

    for (uint32_t i = 0; i < segments; i++)
        all += head->segment[i].len;
    for (uint32_t i = 0; i < segments; i++) {
        uint64_t len = head->segment[i].len;
        /* Every segment might be the one with the table, which takes up to 1/32 of the whole,
         * and the lists of free blocks find a block only if it is up to 1/8 larger. */
        uint64_t table = all / 16 + 256;
        uint64_t head_bytes = sizeof(struct gw_entry) + GW_DICT_KEY_MAX + 2 * GW_HEAP_UNIT;
        uint64_t room = len > table ? (len - table) / 9 * 8 : 0;

        if (room > head_bytes && room - head_bytes > max)
            max = room - head_bytes;
    }
    return max > UINT32_MAX / 2 ? UINT32_MAX / 2 : max;
}

static struct gw_dict *view(const struct gw_zone *zone)
{
    struct gw_dict *dict = calloc(1, sizeof *dict);

    if (dict == NULL)
        abort();
    dict->zone = *zone;
    dict->head = (struct gw_dict_head *)(zone->base + GW_ZONE_HEADER_BYTES);
    dict->shards = (struct gw_shard *)(dict->head + 1);
    dict->seed = gw_zone_header(zone)->seed;
    return dict;
}

static uint64_t data_offset(uint32_t shards)
{
    return GW_ZONE_HEADER_BYTES + sizeof(struct gw_dict_head) +
           (uint64_t)shards * sizeof(struct gw_shard);
}

enum gw_rc gw_dict_create(struct gw_str name, uint64_t size, bool evict_never, struct gw_dict **out,
                          struct gw_err *err)
{
    struct gw_zone zone;
    enum gw_rc rc;

    if (size < GW_DICT_BYTES_MIN)
        return gw_err_set(err, GW_INVALID, "%.*s: a dictionary has at least %u bytes",
                          GW_STR_ARG(name), GW_DICT_BYTES_MIN);
    rc = gw_zone_create(&zone, GW_ZONE_DICT, name, size, err);
    if (rc != GW_OK)
        return rc;

    struct gw_dict *dict = view(&zone);
    struct gw_dict_head *head = dict->head;

    size = atomic_load(&gw_zone_header(&zone)->size);
    head->shards = shards_for(size);
    dict->shard_mask = head->shards - 1;
    head->segment[0].at = data_offset(head->shards);
    head->segment[0].len =
        (size - head->segment[0].at) / head->shards / GW_HEAP_UNIT * GW_HEAP_UNIT;
    head->segments = 1;
    head->value_max = value_max_for(head, 1);
    head->evict_never = evict_never;
    for (uint32_t i = 0; i < head->shards; i++) {
        struct gw_op op;

        gw_op_begin_shard(&op, dict, i, 0);
        gw_shard_reset(&op);
        gw_op_end(&op);
    }
    *out = dict;
    return GW_OK;
}

/* The zone comes from our own master, but a mix-up must show here and not as a crash later. */
static bool head_fits(const struct gw_dict *dict)
{
    const struct gw_dict_head *head = dict->head;
    uint64_t size = atomic_load(&gw_zone_header(&dict->zone)->size);
    uint32_t segments = atomic_load(&head->segments);

    if (head->shards == 0 || head->shards > GW_DICT_SHARDS_MAX ||
        (head->shards & (head->shards - 1)) != 0 || segments == 0 ||
        segments > GW_DICT_SEGMENTS_MAX || data_offset(head->shards) > size)
        return false;
    for (uint32_t i = 0; i < segments; i++) {
        const struct gw_dict_segment *segment = &head->segment[i];

        if (segment->at % GW_HEAP_UNIT != 0 || segment->len % GW_HEAP_UNIT != 0 ||
            segment->at > size || segment->len > (size - segment->at) / head->shards)
            return false;
    }
    return true;
}

enum gw_rc gw_dict_open(int fd, struct gw_dict **out, struct gw_err *err)
{
    struct gw_zone zone;
    enum gw_rc rc = gw_zone_map(&zone, fd, err);

    if (rc != GW_OK)
        return rc;

    struct gw_dict *dict = view(&zone);

    if (gw_zone_header(&zone)->kind != GW_ZONE_DICT || !head_fits(dict)) {
        rc = gw_err_set(err, GW_INVALID, "zone %s: not a dictionary", gw_zone_header(&zone)->name);
        gw_dict_close(dict);
        return rc;
    }
    dict->shard_mask = dict->head->shards - 1;
    *out = dict;
    return GW_OK;
}

void gw_dict_close(struct gw_dict *dict)
{
    if (dict == NULL)
        return;
    gw_zone_unmap(&dict->zone);
    free(dict);
}

enum gw_rc gw_dict_grow(struct gw_dict *dict, uint64_t size, struct gw_err *err)
{
    struct gw_zone_header *header = gw_zone_header(&dict->zone);
    struct gw_dict_head *head = dict->head;
    uint64_t old = atomic_load(&header->size);
    uint32_t segments = atomic_load(&head->segments);
    enum gw_rc rc;

    if (size <= old)
        return GW_OK;
    if (segments == GW_DICT_SEGMENTS_MAX)
        return gw_err_set(err, GW_LIMIT, "%s: grew %d times already; restart to grow it more",
                          header->name, GW_DICT_SEGMENTS_MAX - 1);
    rc = gw_zone_grow(&dict->zone, size, err);
    if (rc != GW_OK)
        return rc;
    size = atomic_load(&header->size);

    struct gw_dict_segment *segment = &head->segment[segments];

    segment->at = old;
    segment->len = (size - old) / head->shards / GW_HEAP_UNIT * GW_HEAP_UNIT;
    atomic_store(&head->segments, segments + 1);
    for (uint32_t i = 0; i < head->shards; i++) {
        struct gw_op op;

        gw_op_begin_shard(&op, dict, i, 0);
        gw_shard_extend(&op);
        gw_op_end(&op);
    }
    atomic_store(&head->value_max, value_max_for(head, segments + 1));
    return GW_OK;
}
