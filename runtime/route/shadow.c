#include "route/shadow.h"

#include "base/arena.h"
#include "base/regex.h"
#include "route/conditions.h"
#include "route/pattern.h"
#include "route/walk.h"

/* Entry B never wins when an entry A of another route is before it in the order and fits
 * whatever B fits. To find such an A, the tree is asked with a path that stands for all the
 * paths of B: what only a ":name" or a "*" may take is a byte that no path has. */
#define ANY_SEGMENT GW_ROUTE_SEGMENT
#define ANY_REST '\002'
#define COMPARISONS_MAX 64

struct cover {
    struct gw_route_walk walk; /* first: the visitor is handed its address */
    const struct gw_route_entry *entries;
    const struct gw_route_pattern *patterns;
    const struct gw_route_entry *inner;
    uint32_t inner_rank;
    uint32_t by; /* route that covers it, or GW_NONE */
    uint32_t comparisons;
};

static bool regex_takes(const struct cover *c, const struct gw_route_entry *outer)
{
    const struct gw_route_pattern *o = &c->patterns[outer->pattern];
    const struct gw_route_pattern *n = &c->patterns[c->inner->pattern];
    struct gw_regex *regex;
    bool takes;

    if (n->kind == GW_ROUTE_PATH_REGEX)
        return o->regex == n->regex;
    if (n->kind != GW_ROUTE_PATH_EXACT ||
        gw_regex_new(gw_ref_str(c->walk.conf, o->text), GW_REGEX_NO_JIT, &regex, NULL) != GW_OK)
        return false;
    takes = gw_regex_match(regex, gw_ref_str(c->walk.conf, n->text), 0, NULL, 0) == GW_OK;
    gw_regex_free(regex);
    return takes;
}

static bool covers(const struct cover *c, const struct gw_route_entry *outer)
{
    const struct gw_conf *conf = c->walk.conf;

    if (outer->route == c->inner->route ||
        ((outer->flags ^ c->inner->flags) & GW_ROUTE_ENTRY_MERGE) != 0)
        return false;
    if ((outer->flags & GW_ROUTE_ENTRY_REGEX) && !regex_takes(c, outer))
        return false;
    return gw_route_conditions_cover(
        conf, outer->conditions != 0 ? gw_at(conf, outer->conditions) : NULL,
        c->inner->conditions != 0 ? gw_at(conf, c->inner->conditions) : NULL);
}

static void look(struct gw_route_walk *walk, const uint32_t *ranks, uint32_t count,
                 enum gw_route_list list)
{
    struct cover *c = (struct cover *)walk;
    enum gw_route_path kind = (enum gw_route_path)c->patterns[c->inner->pattern].kind;

    /* An end takes the made-up rest for one segment; what it stands for may have more. */
    if (list == GW_ROUTE_LIST_END && kind != GW_ROUTE_PATH_EXACT && kind != GW_ROUTE_PATH_PARAM)
        return;
    for (uint32_t i = 0; i < count && ranks[i] < c->inner_rank && c->by == GW_NONE; i++) {
        if (c->comparisons == COMPARISONS_MAX)
            return;
        c->comparisons++;
        if (covers(c, &c->entries[ranks[i]])) {
            c->by = c->entries[ranks[i]].route;
            walk->best = 0; /* nothing else needs to be seen */
        }
    }
}

/* The path that stands for all of a pattern's. */
static struct gw_str stand_in(struct gw_arena *arena, const struct gw_conf *conf,
                              const struct gw_route_pattern *pattern, struct gw_str prefix)
{
    struct gw_str text = gw_ref_str(conf, pattern->text);
    char *path = gw_arena_alloc(arena, text.len + prefix.len + 1);
    size_t len = 0;

    if (pattern->kind == GW_ROUTE_PATH_EXACT || pattern->kind == GW_ROUTE_PATH_ANY)
        return text;
    if (pattern->kind == GW_ROUTE_PATH_REGEX) {
        memcpy(path, prefix.data, prefix.len);
        path[prefix.len] = ANY_REST;
        return gw_str(path, prefix.len + 1);
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '*') {
            path[len++] = ANY_REST;
        } else if (text.data[i] == ':' && text.data[i - 1] == '/') {
            path[len++] = ANY_SEGMENT;
            while (i + 1 < text.len && text.data[i + 1] != '/')
                i++;
        } else {
            path[len++] = text.data[i];
        }
    }
    return gw_str(path, len);
}

static struct gw_str host_of(struct gw_arena *arena, const struct gw_conf *conf,
                             const struct gw_route_entry *entry)
{
    const struct gw_conf_details *details =
        GW_ITEMS(conf, conf->details, struct gw_conf_details) + entry->route;
    struct gw_str host;
    char *copy;

    if (entry->host == GW_NONE)
        return GW_STR("");
    host = gw_ref_str(conf, GW_ITEMS(conf, details->match.hosts, struct gw_ref)[entry->host]);
    if (host.data[0] != '*')
        return host;
    if (host.len == 1)
        return GW_STR("");
    copy = gw_arena_alloc(arena, host.len); /* "*.a.b": no host has the byte in front */
    memcpy(copy, host.data, host.len);
    copy[0] = ANY_REST;
    return gw_str(copy, host.len);
}

static uint32_t covered_by(struct cover *c, uint32_t rank)
{
    const struct gw_conf *conf = c->walk.conf;
    const struct gw_route_pattern *pattern;
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_str prefix = GW_STR("");

    c->inner = &c->entries[rank];
    c->inner_rank = rank;
    c->by = GW_NONE;
    c->comparisons = 0;
    c->walk.best = rank;
    pattern = &c->patterns[c->inner->pattern];
    if (pattern->kind == GW_ROUTE_PATH_REGEX)
        prefix = gw_route_regex_prefix(&arena, gw_ref_str(conf, pattern->text));
    gw_route_walk_run(&c->walk, host_of(&arena, conf, c->inner),
                      stand_in(&arena, conf, pattern, prefix));
    gw_arena_fini(&arena);
    return c->by;
}

static void warn(const struct gw_conf *conf, struct gw_report *report, uint32_t route, uint32_t by)
{
    const struct gw_conf_route *routes = GW_ITEMS(conf, conf->routes, struct gw_conf_route);
    const struct gw_conf_details *details = GW_ITEMS(conf, conf->details, struct gw_conf_details);
    struct gw_str name = gw_ref_str(conf, routes[route].name);
    struct gw_str winner = gw_ref_str(conf, routes[by].name);
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_str path = gw_arena_printf(&arena, "routes.%.*s", GW_STR_ARG(name));

    gw_report_warn(
        report, details[route].where, path,
        "can never match: route \"%.*s\" (line %u) fits whatever it fits and comes first",
        GW_STR_ARG(winner), details[by].where.line);
    gw_arena_fini(&arena);
}

void gw_route_shadow_report(const struct gw_conf *conf, struct gw_report *report)
{
    const struct gw_route_table *table = gw_at(conf, conf->table.off);
    struct gw_arena arena = GW_ARENA_INIT;
    uint32_t *by = gw_arena_alloc(&arena, (conf->routes.len + 1) * sizeof(*by));
    bool *wins = gw_arena_zalloc(&arena, conf->routes.len + 1);
    struct cover c;

    gw_route_walk_init(&c.walk, conf, table, look);
    c.entries = GW_ITEMS(conf, table->entries, struct gw_route_entry);
    c.patterns = GW_ITEMS(conf, table->patterns, struct gw_route_pattern);
    for (uint32_t i = 0; i < conf->routes.len; i++)
        by[i] = GW_NONE;
    for (uint32_t rank = 0; rank < table->entries.len; rank++) {
        uint32_t route = c.entries[rank].route, found;
        if (wins[route])
            continue;
        found = covered_by(&c, rank);
        if (found == GW_NONE)
            wins[route] = true;
        else if (by[route] == GW_NONE)
            by[route] = found;
    }
    for (uint32_t i = 0; i < conf->routes.len; i++)
        if (!wins[i] && by[i] != GW_NONE)
            warn(conf, report, i, by[i]);
    gw_arena_fini(&arena);
}
