#include "route/walk.h"

#include "base/hash.h"

void gw_route_walk_init(struct gw_route_walk *walk, const struct gw_conf *conf,
                        const struct gw_route_table *table, gw_route_visit_fn visit)
{
    walk->conf = conf;
    walk->table = table;
    walk->nodes = GW_ITEMS(conf, table->nodes, struct gw_route_node);
    walk->firsts = GW_ITEMS(conf, table->firsts, unsigned char);
    walk->places = GW_ITEMS(conf, table->places, struct gw_route_place);
    walk->ranks = GW_ITEMS(conf, table->ranks, uint32_t);
    walk->visit = visit;
    walk->path = GW_STR_NULL;
    walk->best = GW_NONE;
}

/* The first `len` bytes of a word, whatever the machine's byte order. */
static const union {
    unsigned char bytes[GW_ROUTE_LABEL_INLINE];
    uint64_t word;
} masks[GW_ROUTE_LABEL_INLINE + 1] = {
    {{0}},
    {{0xff}},
    {{0xff, 0xff}},
    {{0xff, 0xff, 0xff}},
    {{0xff, 0xff, 0xff, 0xff}},
    {{0xff, 0xff, 0xff, 0xff, 0xff}},
    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
};

static bool label_fits(const struct gw_route_walk *walk, const struct gw_route_node *node,
                       size_t at)
{
    size_t left = walk->path.len - at, len = node->label_len;

    if (left < len)
        return false;
    if (len > GW_ROUTE_LABEL_INLINE)
        return memcmp(walk->path.data + at, gw_at(walk->conf, node->label.off), len) == 0;
    if (left >= GW_ROUTE_LABEL_INLINE) {
        uint64_t word;
        memcpy(&word, walk->path.data + at, sizeof(word));
        return ((word ^ node->label.word) & masks[len].word) == 0;
    }
    for (size_t i = 0; i < len; i++)
        if (walk->path.data[at + i] != node->label.text[i])
            return false;
    return true;
}

static uint32_t child_for(const struct gw_route_walk *walk, const struct gw_route_node *node,
                          unsigned char first)
{
    const unsigned char *firsts = walk->firsts + node->child;

    if (node->low != 0) {
        uint32_t i = (uint32_t)first - node->low;
        return i < node->children ? node->child + i : GW_NONE;
    }
    if (node->children > 16) {
        const unsigned char *found = memchr(firsts, first, node->children);
        return found != NULL ? (uint32_t)(found - walk->firsts) : GW_NONE;
    }
    for (uint32_t i = 0; i < node->children; i++)
        if (firsts[i] == first)
            return node->child + i;
    return GW_NONE;
}

/* Follows literal bytes from `node` as far as they go. Returns the last node whose label fits, or
 * GW_NONE; *at is behind it. */
static uint32_t descend(const struct gw_route_walk *walk, uint32_t node, size_t *at)
{
    uint32_t last = GW_NONE;

    while (node != GW_NONE) {
        const struct gw_route_node *n = &walk->nodes[node];

        if (!label_fits(walk, n, *at))
            break;
        last = node;
        *at += n->label_len;
        if (*at == walk->path.len)
            break;
        node = child_for(walk, n, (unsigned char)walk->path.data[*at]);
    }
    return last;
}

static void visit(struct gw_route_walk *walk, const struct gw_route_place *place,
                  enum gw_route_list list)
{
    const uint32_t *ranks = walk->ranks + place->ranks;

    for (unsigned i = 0; i < list; i++)
        ranks += place->count[i];
    if (place->count[list] > 0 && ranks[0] < walk->best)
        walk->visit(walk, ranks, place->count[list], list);
}

/* One run: from the root, or from behind a segment, over literal bytes only. Going down
 * decides where the path leads; coming up, from the longest prefix to the shortest,
 * meets what hangs there. Only a parameter begins a new run, so the depth of the recursion
 * is their number: GW_ROUTE_PARAMS_MAX. */
static void run(struct gw_route_walk *walk, uint32_t root, size_t start)
{
    size_t at = start;
    uint32_t node;

    if (walk->nodes[root].best >= walk->best)
        return;
    node = descend(walk, root, &at);
    if (node == GW_NONE)
        return;
    if (at == walk->path.len && walk->nodes[node].place != GW_NONE)
        visit(walk, &walk->places[walk->nodes[node].place], GW_ROUTE_LIST_END);

    for (node = walk->nodes[node].up; node != GW_NONE;) {
        const struct gw_route_place *place = &walk->places[walk->nodes[node].place];

        if (place->segment != GW_NONE) {
            size_t from = start + walk->nodes[node].depth;
            const char *slash = memchr(walk->path.data + from, '/', walk->path.len - from);
            size_t end = slash != NULL ? (size_t)(slash - walk->path.data) : walk->path.len;
            if (end > from)
                run(walk, place->segment, end);
        }
        visit(walk, place, GW_ROUTE_LIST_REGEX);
        visit(walk, place, GW_ROUTE_LIST_PREFIX);
        node = place->up;
    }
}

static uint32_t root_of(const struct gw_route_walk *walk, struct gw_str name)
{
    const struct gw_route_host_slot *slots =
        GW_ITEMS(walk->conf, walk->table->hosts, struct gw_route_host_slot);
    uint64_t hash = gw_hash(name.data, name.len, 0);
    uint32_t mask = walk->table->hosts.len - 1;

    for (uint32_t i = (uint32_t)hash & mask; slots[i].root != GW_NONE; i = (i + 1) & mask)
        if (slots[i].hash == (uint32_t)(hash >> 32) && slots[i].name_len == name.len &&
            memcmp(gw_at(walk->conf, slots[i].name), name.data, name.len) == 0)
            return slots[i].root;
    return GW_NONE;
}

static void run_wildcards(struct gw_route_walk *walk, struct gw_str host)
{
    size_t min = walk->table->wildcard_min, max = walk->table->wildcard_max;

    for (size_t i = host.len > max ? host.len - max : 1; i + min <= host.len; i++) {
        uint32_t root;
        if (host.data[i] != '.')
            continue;
        root = root_of(walk, gw_str(host.data + i, host.len - i));
        if (root != GW_NONE)
            run(walk, root, 0);
    }
}

void gw_route_walk_run(struct gw_route_walk *walk, struct gw_str host, struct gw_str path)
{
    uint32_t root;

    walk->path = path;
    /* Wildcards are in the same table by their suffix: ".example.com" is nobody's host. */
    if (walk->table->exact_hosts > 0 && host.len > 0 && host.data[0] != '.') {
        root = root_of(walk, host);
        if (root != GW_NONE)
            run(walk, root, 0);
    }
    if (walk->table->wildcard_min > 0)
        run_wildcards(walk, host);
    if (walk->table->any != GW_NONE)
        run(walk, walk->table->any, 0);
}
