#include "route/tree.h"

#include <assert.h>

/* A node that has its number but not yet its content: items [from, to) share all bytes of
 * their keys up to `at`. Working them off first in, first out puts children side by side. */
struct todo {
    uint32_t node;
    uint32_t from;
    uint32_t to;
    uint32_t at;
    uint32_t run; /* where in the keys the run began */
    uint32_t up;  /* nearest node above in the run where something hangs */
};

/* What an item of a node does behind the node's label. */
enum { WAY_ENDS, WAY_SEGMENT, WAYS = 256 };

void gw_route_trees_init(struct gw_route_trees *trees)
{
    *trees = (struct gw_route_trees){GW_BUF_INIT, GW_BUF_INIT, GW_BUF_INIT,
                                     GW_BUF_INIT, GW_BUF_INIT, GW_BUF_INIT};
}

void gw_route_trees_fini(struct gw_route_trees *trees)
{
    gw_buf_fini(&trees->nodes);
    gw_buf_fini(&trees->firsts);
    gw_buf_fini(&trees->places);
    gw_buf_fini(&trees->ranks);
    gw_buf_fini(&trees->labels);
    gw_buf_fini(&trees->queue);
}

static struct gw_route_node *node_at(struct gw_route_trees *trees, uint32_t node)
{
    return (struct gw_route_node *)(void *)(trees->nodes.data + trees->nodes.from) + node;
}

static uint32_t add_nodes(struct gw_route_trees *trees, uint32_t count)
{
    uint32_t first = (uint32_t)(gw_buf_len(&trees->nodes) / sizeof(struct gw_route_node));
    size_t bytes = count * sizeof(struct gw_route_node);

    memset(gw_buf_reserve(&trees->nodes, bytes), 0, bytes);
    gw_buf_added(&trees->nodes, bytes);
    memset(gw_buf_reserve(&trees->firsts, count), 0, count);
    gw_buf_added(&trees->firsts, count);
    return first;
}

static unsigned way_of(const struct gw_route_item *item, uint32_t at)
{
    if (item->key.len == at)
        return WAY_ENDS;
    if (item->key.data[at] == GW_ROUTE_SEGMENT)
        return WAY_SEGMENT;
    return (unsigned char)item->key.data[at];
}

/* Bytes behind `at` that all keys share, up to the next parameter. */
static uint32_t shared_bytes(const struct gw_route_item *items, const struct todo *todo)
{
    struct gw_str first = items[todo->from].key;
    const char *segment = memchr(first.data + todo->at, GW_ROUTE_SEGMENT, first.len - todo->at);
    size_t end = segment != NULL ? (size_t)(segment - first.data) : first.len;

    for (uint32_t i = todo->from + 1; i < todo->to && end > todo->at; i++) {
        struct gw_str key = items[i].key;
        size_t k = todo->at;
        while (k < end && k < key.len && key.data[k] == first.data[k])
            k++;
        end = k;
    }
    return (uint32_t)(end - todo->at);
}

/* Items of a node by way: those of way w stand in start[w] .. start[w + 1]. Only the ways
 * from low to high are set. */
struct ways {
    uint32_t start[WAYS + 1];
    unsigned low;
    unsigned high;
};

static uint32_t ways_count(const struct ways *ways, unsigned way)
{
    return way < ways->low || way > ways->high ? 0 : ways->start[way + 1] - ways->start[way];
}

/* Stable, so that each way keeps the order of ranks. */
static void sort_by_way(struct gw_route_item *items, struct gw_route_item *spare,
                        const struct todo *todo, uint32_t at, struct ways *ways)
{
    uint32_t next[WAYS];

    if (todo->to - todo->from == 1) { /* most nodes: nothing to sort, and no table to clear */
        ways->low = ways->high = way_of(&items[todo->from], at);
        ways->start[ways->low] = todo->from;
        ways->start[ways->low + 1] = todo->to;
        return;
    }
    memset(ways->start, 0, sizeof(ways->start));
    ways->low = WAYS;
    ways->high = 0;
    for (uint32_t i = todo->from; i < todo->to; i++) {
        unsigned way = way_of(&items[i], at);
        ways->start[way + 1]++;
        ways->low = way < ways->low ? way : ways->low;
        ways->high = way > ways->high ? way : ways->high;
    }
    ways->start[ways->low] = todo->from;
    for (unsigned way = ways->low; way <= ways->high; way++) {
        ways->start[way + 1] += ways->start[way];
        next[way] = ways->start[way];
    }
    if (ways->low == ways->high)
        return;
    for (uint32_t i = todo->from; i < todo->to; i++)
        spare[next[way_of(&items[i], at)]++] = items[i];
    memcpy(items + todo->from, spare + todo->from, (todo->to - todo->from) * sizeof(*items));
}

static void set_label(struct gw_route_trees *trees, uint32_t node, struct gw_str label)
{
    struct gw_route_node *n = node_at(trees, node);

    assert(label.len <= UINT16_MAX); /* GW_ROUTE_PATH_BYTES_MAX */
    n->label_len = (uint16_t)label.len;
    if (label.len > 0)
        trees->firsts.data[trees->firsts.from + node] = label.data[0];
    if (label.len <= GW_ROUTE_LABEL_INLINE) {
        memcpy(n->label.text, label.data, label.len);
        return;
    }
    n->label.off = (uint32_t)gw_buf_len(&trees->labels); /* moved by gw_route_trees_write() */
    gw_buf_add_str(&trees->labels, label);
}

static void push(struct gw_route_trees *trees, const struct todo *todo)
{
    gw_buf_add(&trees->queue, todo, sizeof(*todo));
}

/* The lists of a place, and the way through a parameter. `up` is the nearest node above. */
static uint32_t add_place(struct gw_route_trees *trees, const struct gw_route_item *items,
                          uint32_t from, uint32_t to, uint32_t up, uint32_t segment)
{
    uint32_t number = (uint32_t)(gw_buf_len(&trees->places) / sizeof(struct gw_route_place));
    struct gw_route_place place = {.up = up, .segment = segment};

    place.ranks = (uint32_t)(gw_buf_len(&trees->ranks) / sizeof(uint32_t));
    for (uint32_t list = 0; list < GW_ROUTE_LISTS; list++)
        for (uint32_t i = from; i < to; i++)
            if (items[i].list == list) {
                gw_buf_add(&trees->ranks, &items[i].rank, sizeof(uint32_t));
                place.count[list]++;
            }
    gw_buf_add(&trees->places, &place, sizeof(place));
    return number;
}

static bool hangs(const struct gw_route_item *items, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        if (items[i].list != GW_ROUTE_LIST_END)
            return true;
    return false;
}

/* The first byte when the ways of `count` children are without a gap, else 0. */
static uint8_t low_of(const struct ways *ways, uint32_t count)
{
    unsigned low = WAY_SEGMENT + 1;

    while (ways_count(ways, low) == 0)
        low++;
    return low + count - 1 == ways->high ? (uint8_t)low : 0;
}

static void add_children(struct gw_route_trees *trees, const struct todo *todo, uint32_t at,
                         const struct ways *ways, uint32_t up)
{
    uint32_t count = 0, child;

    for (unsigned way = WAY_SEGMENT + 1; way <= ways->high; way++)
        count += ways_count(ways, way) > 0;
    if (count == 0)
        return;
    child = add_nodes(trees, count);
    node_at(trees, todo->node)->child = child;
    node_at(trees, todo->node)->children = (uint8_t)count;
    node_at(trees, todo->node)->low = low_of(ways, count);
    for (unsigned way = WAY_SEGMENT + 1; way <= ways->high; way++)
        if (ways_count(ways, way) > 0)
            push(trees, &(struct todo){.node = child++,
                                       .from = ways->start[way],
                                       .to = ways->start[way + 1],
                                       .at = at,
                                       .run = todo->run,
                                       .up = up});
}

static uint32_t add_segment(struct gw_route_trees *trees, uint32_t at, const struct ways *ways)
{
    uint32_t segment = add_nodes(trees, 1);

    push(trees, &(struct todo){.node = segment,
                               .from = ways->start[WAY_SEGMENT],
                               .to = ways->start[WAY_SEGMENT + 1],
                               .at = at + 1,
                               .run = at + 1,
                               .up = GW_NONE});
    return segment;
}

static void build_node(struct gw_route_trees *trees, struct gw_route_item *items,
                       struct gw_route_item *spare, const struct todo *todo)
{
    uint32_t len = shared_bytes(items, todo), at = todo->at + len;
    uint32_t best = items[todo->from].rank; /* they still stand in the order of ranks */
    uint32_t segment = GW_NONE, place = GW_NONE, up = todo->up, ends;
    struct gw_route_node *node;
    struct ways ways;

    set_label(trees, todo->node, gw_str(items[todo->from].key.data + todo->at, len));
    sort_by_way(items, spare, todo, at, &ways);
    ends = ways_count(&ways, WAY_ENDS);
    if (ways_count(&ways, WAY_SEGMENT) > 0)
        segment = add_segment(trees, at, &ways);
    if (segment != GW_NONE || ends > 0) {
        /* Those that end here are the first way, so they stand in front. */
        place = add_place(trees, items, todo->from, todo->from + ends, todo->up, segment);
        if (segment != GW_NONE || hangs(items, todo->from, todo->from + ends))
            up = todo->node;
    }
    add_children(trees, todo, at, &ways, up);
    node = node_at(trees, todo->node);
    node->place = place;
    node->up = up;
    node->depth = at - todo->run;
    node->best = best;
}

uint32_t gw_route_trees_add(struct gw_route_trees *trees, struct gw_route_item *items,
                            struct gw_route_item *spare, uint32_t count)
{
    uint32_t root = add_nodes(trees, 1);
    struct todo todo = {.node = root, .from = 0, .to = count, .at = 0, .run = 0, .up = GW_NONE};

    assert(count > 0);
    push(trees, &todo);
    while (gw_buf_len(&trees->queue) > 0) {
        memcpy(&todo, trees->queue.data + trees->queue.from, sizeof(todo));
        gw_buf_consume(&trees->queue, sizeof(todo));
        build_node(trees, items, spare, &todo);
    }
    return root;
}

static struct gw_ref write_array(struct gw_image *image, const struct gw_buf *buf, size_t item)
{
    struct gw_ref ref = {0, (uint32_t)(gw_buf_len(buf) / item)};

    if (ref.len == 0)
        return ref;
    ref.off = gw_image_alloc(image, gw_buf_len(buf));
    memcpy(gw_image_at(image, ref.off), buf->data + buf->from, gw_buf_len(buf));
    return ref;
}

void gw_route_trees_write(struct gw_route_trees *trees, struct gw_image *image,
                          struct gw_route_table *table)
{
    struct gw_ref labels = write_array(image, &trees->labels, 1);
    uint32_t count = (uint32_t)(gw_buf_len(&trees->nodes) / sizeof(struct gw_route_node));

    if (count == 0)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct gw_route_node *node = node_at(trees, i);
        if (node->label_len > GW_ROUTE_LABEL_INLINE)
            node->label.off += labels.off;
    }
    /* So no node lies across two cache lines. */
    table->nodes.len = count;
    table->nodes.off = gw_image_alloc_lines(image, gw_buf_len(&trees->nodes));
    memcpy(gw_image_at(image, table->nodes.off), node_at(trees, 0), gw_buf_len(&trees->nodes));
    table->firsts = write_array(image, &trees->firsts, 1);
    table->places = write_array(image, &trees->places, sizeof(struct gw_route_place));
    table->ranks = write_array(image, &trees->ranks, sizeof(uint32_t));
}
