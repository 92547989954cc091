#include "route/table.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/regex.h"
#include "http/message.h"
#include "route/conditions.h"
#include "route/rank.h"
#include "route/shadow.h"
#include "route/tree.h"

/* One number for each different text. */
struct names {
    struct gw_str *texts;
    uint32_t *slots; /* number + 1, 0: free; a power of two, at least half are free */
    uint32_t count;
    uint32_t size; /* of slots */
};

struct build {
    struct gw_image *image;
    struct gw_report *report;
    struct gw_arena arena;
    uint32_t route;             /* the one at work */
    struct gw_buf drafts;       /* struct gw_route_draft */
    struct gw_buf patterns;     /* struct gw_route_pattern */
    struct gw_buf regex_refs;   /* gw_ref */
    struct gw_buf regex_groups; /* uint32_t */
    struct names regexes;
    uint32_t *conditions; /* offset, by route */
    bool failed;
};

static uint32_t names_find(const struct names *names, struct gw_str text, uint32_t *slot)
{
    uint32_t mask = names->size - 1;

    if (names->size == 0)
        return GW_NONE;
    *slot = (uint32_t)gw_hash(text.data, text.len, 0) & mask;
    while (names->slots[*slot] != 0) {
        if (gw_str_eq(names->texts[names->slots[*slot] - 1], text))
            return names->slots[*slot] - 1;
        *slot = (*slot + 1) & mask;
    }
    return GW_NONE;
}

static void names_grow(struct names *names, struct gw_arena *arena)
{
    uint32_t size = names->size == 0 ? 16 : names->size * 2;
    struct gw_str *texts = gw_arena_alloc(arena, size / 2 * sizeof(*texts));

    if (names->count > 0)
        memcpy(texts, names->texts, names->count * sizeof(*texts));
    names->texts = texts;
    names->slots = gw_arena_zalloc(arena, size * sizeof(*names->slots));
    names->size = size;
    for (uint32_t i = 0; i < names->count; i++) {
        uint32_t slot = 0;
        (void)names_find(names, texts[i], &slot);
        names->slots[slot] = i + 1;
    }
}

/* The text is lent until the build ends. */
static uint32_t names_add(struct names *names, struct gw_arena *arena, struct gw_str text)
{
    uint32_t slot = 0, found = names_find(names, text, &slot);

    if (found != GW_NONE)
        return found;
    if (names->count + 1 > names->size / 2) {
        names_grow(names, arena);
        (void)names_find(names, text, &slot);
    }
    names->texts[names->count++] = text;
    names->slots[slot] = names->count;
    return names->count - 1;
}

static const struct gw_conf_details *details_at(struct build *b, uint32_t i)
{
    const struct gw_conf *conf = gw_image_conf(b->image);

    return GW_ITEMS(conf, conf->details, struct gw_conf_details) + i;
}

static void fault(struct build *b, const char *key, struct gw_str value, const char *text)
{
    const struct gw_conf *conf = gw_image_conf(b->image);
    struct gw_str name =
        gw_ref_str(conf, GW_ITEMS(conf, conf->routes, struct gw_conf_route)[b->route].name);
    struct gw_str path = gw_arena_printf(&b->arena, "routes.%.*s.match.%s", GW_STR_ARG(name), key);

    b->failed = true;
    gw_report_fault(b->report, details_at(b, b->route)->where, path, "\"%.*s\": %s",
                    value.len > 200 ? 200 : (int)value.len, value.data, text);
}

/* Groups of a path's regex become parameters: all by number, named ones by name too. */
static uint32_t groups_of(const struct gw_regex *regex)
{
    return gw_regex_groups(regex) - 1 + gw_regex_names(regex);
}

/* Number of a regex; one that is there twice is kept, and compiled, once. gw_route_regex_fn. */
static uint32_t add_regex(void *arg, struct gw_ref text, struct gw_str where)
{
    struct build *b = arg;
    /* Slices into the image would move with it. */
    struct gw_str copy = gw_arena_dup(&b->arena, gw_ref_str(gw_image_conf(b->image), text));
    uint32_t before = b->regexes.count, number = names_add(&b->regexes, &b->arena, copy);
    uint32_t groups = 0;
    struct gw_regex *regex;
    struct gw_err err;

    if (number < before)
        return number;
    if (gw_regex_new(copy, GW_REGEX_NO_JIT, &regex, &err) == GW_OK) {
        groups = groups_of(regex);
        gw_regex_free(regex);
    } else {
        fault(b, where.data, copy, err.text);
    }
    gw_buf_add(&b->regex_refs, &text, sizeof(text));
    gw_buf_add(&b->regex_groups, &groups, sizeof(groups));
    return number;
}

static uint32_t path_groups(struct build *b, uint32_t regex, struct gw_str text)
{
    uint32_t groups;
    struct gw_err err;

    memcpy(&groups, gw_buf_str(&b->regex_groups).data + regex * sizeof(groups), sizeof(groups));
    if (groups <= GW_ROUTE_PARAMS_MAX)
        return groups;
    (void)gw_err_set(
        &err, GW_INVALID,
        "%u groups (a named one counts twice), %d are allowed: write \"(?:\" for those "
        "whose text is not needed",
        groups, GW_ROUTE_PARAMS_MAX);
    fault(b, "path", text, err.text);
    return 0;
}

/* The text is usually as the conf has it: then no copy is needed. */
static struct gw_ref keep_text(struct build *b, struct gw_ref from, struct gw_str text)
{
    struct gw_str given = gw_ref_str(gw_image_conf(b->image), from);

    if (text.len == given.len - 1 && given.len > 0 &&
        memcmp(text.data, given.data + 1, text.len) == 0)
        return (struct gw_ref){from.off + 1, from.len - 1};
    return gw_str_eq(text, given) ? from : gw_image_add_str(b->image, text);
}

/* Parses path `i` of the route at work, or stands for "no path" when it has none. Sets the
 * pattern's number. NULL: it is bad, and was reported. */
static const struct gw_route_parsed *add_pattern(struct build *b, uint32_t i, uint32_t *number)
{
    const struct gw_conf *conf = gw_image_conf(b->image);
    const struct gw_conf_details *details = details_at(b, b->route);
    struct gw_route_parsed *parsed = gw_arena_alloc(&b->arena, sizeof(*parsed));
    struct gw_route_pattern pattern = {.regex = GW_NONE};
    struct gw_ref from = {0, 0};
    struct gw_str text;
    struct gw_err err;

    if (details->match.paths.len == 0) {
        gw_route_pattern_any(parsed);
    } else {
        from = GW_ITEMS(conf, details->match.paths, struct gw_ref)[i];
        /* What is parsed must not move with the image. */
        text = gw_arena_dup(&b->arena, gw_ref_str(conf, from));
        if (gw_route_pattern_parse(&b->arena, text, details->merge_slashes, parsed, &err) !=
            GW_OK) {
            fault(b, "path", text, err.text);
            return NULL;
        }
        pattern.text = keep_text(b, from, parsed->text);
    }
    if (parsed->kind == GW_ROUTE_PATH_REGEX) {
        pattern.regex = add_regex(b, pattern.text, GW_STR("path"));
        parsed->params = path_groups(b, pattern.regex, parsed->text);
    }
    pattern.kind = (uint8_t)parsed->kind;
    pattern.params = (uint8_t)parsed->params;
    *number = (uint32_t)(gw_buf_len(&b->patterns) / sizeof(pattern));
    gw_buf_add(&b->patterns, &pattern, sizeof(pattern));
    return parsed;
}

/* Letters, digits and what else the host of a request may have; brackets around IPv6. */
static bool host_valid(struct gw_str host)
{
    bool dot = true; /* no label is empty */

    if (host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        return memchr(host.data, ':', host.len) != NULL;
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.data[i];
        if (c <= ' ' || c >= 0x7f || strchr("/:*?#@[]\\\"<>^`{|}%", c) != NULL ||
            (c >= 'A' && c <= 'Z') || (dot && c == '.'))
            return false;
        dot = c == '.';
    }
    return !dot;
}

static bool read_host(struct build *b, struct gw_str host, enum gw_route_host *kind,
                      struct gw_str *key)
{
    *kind = GW_ROUTE_HOST_EXACT;
    *key = host;
    if (gw_str_eq(host, GW_STR("*"))) {
        *kind = GW_ROUTE_HOST_ANY;
        *key = GW_STR("");
        return true;
    }
    if (gw_str_starts(host, GW_STR("*."))) {
        *kind = GW_ROUTE_HOST_WILDCARD;
        *key = gw_str(host.data + 1, host.len - 1);
        host = gw_str(host.data + 2, host.len - 2);
    }
    if (host_valid(host) && key->len <= GW_ROUTE_HOST_BYTES_MAX)
        return true;
    fault(b, "hosts", *key,
          "not a host: write a name in lower case (\"example.com\"), \"*.example.com\" or an "
          "address, without a port");
    return false;
}

static void add_draft(struct build *b, const struct gw_route_parsed *parsed, uint32_t pattern,
                      uint32_t host, enum gw_route_host kind, struct gw_str key)
{
    const struct gw_conf_details *details = details_at(b, b->route);
    struct gw_route_draft draft = {
        .order = gw_route_order(details->priority, kind, key.len, parsed),
        .route = b->route,
        .pattern = pattern,
        .host = host,
        .conditions_count = gw_route_conditions_count(&details->match),
        .parsed = parsed,
        .host_key = key,
    };

    gw_buf_add(&b->drafts, &draft, sizeof(draft));
}

static void check_methods(struct build *b)
{
    const struct gw_conf *conf = gw_image_conf(b->image);
    struct gw_ref methods = details_at(b, b->route)->match.methods;

    for (uint32_t i = 0; i < methods.len; i++) {
        struct gw_str method = gw_ref_str(conf, GW_ITEMS(conf, methods, struct gw_ref)[i]);
        if (!gw_field_name_valid(method))
            fault(b, "methods", method, "not a method");
    }
}

static void add_entries(struct build *b)
{
    uint32_t hosts = details_at(b, b->route)->match.hosts.len;
    uint32_t paths = details_at(b, b->route)->match.paths.len;
    uint64_t drafts = gw_buf_len(&b->drafts) / sizeof(struct gw_route_draft);

    if (drafts + (uint64_t)(hosts > 0 ? hosts : 1) * (paths > 0 ? paths : 1) >
        GW_ROUTE_ENTRIES_MAX) {
        fault(b, "hosts", GW_STR("hosts times paths"), "too many in this conf");
        return;
    }
    for (uint32_t p = 0; p < (paths > 0 ? paths : 1); p++) {
        uint32_t number = 0;
        const struct gw_route_parsed *parsed = add_pattern(b, p, &number);

        if (parsed == NULL)
            continue;
        if (hosts == 0)
            add_draft(b, parsed, number, GW_NONE, GW_ROUTE_HOST_ANY, GW_STR(""));
        for (uint32_t h = 0; h < hosts; h++) {
            const struct gw_conf *conf = gw_image_conf(b->image);
            struct gw_ref ref =
                GW_ITEMS(conf, details_at(b, b->route)->match.hosts, struct gw_ref)[h];
            enum gw_route_host kind;
            struct gw_str key;

            if (read_host(b, gw_arena_dup(&b->arena, gw_ref_str(conf, ref)), &kind, &key))
                add_draft(b, parsed, number, h, kind, key);
        }
    }
}

static void collect(struct build *b)
{
    uint32_t count = gw_image_conf(b->image)->routes.len;

    b->conditions = gw_arena_zalloc(&b->arena, (count + 1) * sizeof(uint32_t));
    for (b->route = 0; b->route < count; b->route++) {
        if (!details_at(b, b->route)->enabled)
            continue;
        check_methods(b);
        b->conditions[b->route] = gw_route_conditions_compile(b->image, b->route, add_regex, b);
        add_entries(b);
    }
}

static struct gw_ref write_buf(struct build *b, const struct gw_buf *buf, size_t item)
{
    struct gw_ref ref = {0, (uint32_t)(gw_buf_len(buf) / item)};

    if (ref.len > 0) {
        ref.off = gw_image_alloc(b->image, gw_buf_len(buf));
        memcpy(gw_image_at(b->image, ref.off), buf->data + buf->from, gw_buf_len(buf));
    }
    return ref;
}

static struct gw_ref write_entries(struct build *b, const struct gw_route_draft *drafts,
                                   uint32_t count, uint32_t *merges)
{
    struct gw_ref ref = {gw_image_alloc(b->image, count * sizeof(struct gw_route_entry)), count};
    struct gw_route_entry *entries = gw_image_at(b->image, ref.off);

    for (uint32_t rank = 0; rank < count; rank++) {
        const struct gw_route_draft *d = &drafts[rank];
        entries[rank] = (struct gw_route_entry){.route = d->route,
                                                .pattern = d->pattern,
                                                .host = d->host,
                                                .conditions = b->conditions[d->route]};
        if (d->parsed->kind == GW_ROUTE_PATH_REGEX)
            entries[rank].flags |= GW_ROUTE_ENTRY_REGEX;
        if (details_at(b, d->route)->merge_slashes) {
            entries[rank].flags |= GW_ROUTE_ENTRY_MERGE;
            *merges += 1;
        }
    }
    return ref;
}

static enum gw_route_list list_of(enum gw_route_path kind)
{
    static const enum gw_route_list lists[] = {
        [GW_ROUTE_PATH_EXACT] = GW_ROUTE_LIST_END,   [GW_ROUTE_PATH_PARAM] = GW_ROUTE_LIST_END,
        [GW_ROUTE_PATH_REGEX] = GW_ROUTE_LIST_REGEX, [GW_ROUTE_PATH_PREFIX] = GW_ROUTE_LIST_PREFIX,
        [GW_ROUTE_PATH_ANY] = GW_ROUTE_LIST_PREFIX,
    };
    return lists[kind];
}

/* Sorts the drafts by host, keeping ranks ascending within each: start[host] is where those of
 * a host begin. Host 0 is none. */
static struct gw_route_item *by_host(struct build *b, const struct gw_route_draft *drafts,
                                     uint32_t count, struct names *hosts, uint32_t **start)
{
    uint32_t *host = gw_arena_alloc(&b->arena, (count + 1) * sizeof(*host)), *next;
    struct gw_route_item *items = gw_arena_alloc(&b->arena, (count + 1) * sizeof(*items));

    (void)names_add(hosts, &b->arena, GW_STR(""));
    for (uint32_t i = 0; i < count; i++)
        host[i] = names_add(hosts, &b->arena, drafts[i].host_key);
    *start = gw_arena_zalloc(&b->arena, (hosts->count + 1) * sizeof(**start));
    next = gw_arena_alloc(&b->arena, hosts->count * sizeof(*next));
    for (uint32_t i = 0; i < count; i++)
        (*start)[host[i] + 1]++;
    for (uint32_t h = 0; h < hosts->count; h++) {
        (*start)[h + 1] += (*start)[h];
        next[h] = (*start)[h];
    }
    for (uint32_t i = 0; i < count; i++)
        items[next[host[i]]++] =
            (struct gw_route_item){drafts[i].parsed->key, i, list_of(drafts[i].parsed->kind)};
    return items;
}

static void add_host(struct build *b, struct gw_route_table *table, struct gw_str name,
                     uint32_t root)
{
    struct gw_route_host_slot slot = {.name_len = (uint32_t)name.len, .root = root};
    uint64_t hash = gw_hash(name.data, name.len, 0);
    struct gw_route_host_slot *slots;
    uint32_t i = (uint32_t)hash & (table->hosts.len - 1);

    slot.hash = (uint32_t)(hash >> 32);
    slot.name = gw_image_add_str(b->image, name).off;
    slots = gw_image_at(b->image, table->hosts.off);
    while (slots[i].root != GW_NONE)
        i = (i + 1) & (table->hosts.len - 1);
    slots[i] = slot;
    if (name.data[0] != '.') {
        table->exact_hosts++;
        return;
    }
    if (table->wildcard_min == 0 || name.len < table->wildcard_min)
        table->wildcard_min = (uint32_t)name.len;
    if (name.len > table->wildcard_max)
        table->wildcard_max = (uint32_t)name.len;
}

static void make_slots(struct build *b, struct gw_route_table *table, uint32_t hosts)
{
    struct gw_route_host_slot *slots;

    table->hosts.len = 2;
    while (table->hosts.len < 2 * hosts)
        table->hosts.len *= 2;
    table->hosts.off = gw_image_alloc(b->image, table->hosts.len * sizeof(*slots));
    slots = gw_image_at(b->image, table->hosts.off);
    for (uint32_t i = 0; i < table->hosts.len; i++)
        slots[i].root = GW_NONE;
}

static void write_trees(struct build *b, const struct gw_route_draft *drafts, uint32_t count,
                        struct gw_route_table *table)
{
    struct names hosts = {0};
    uint32_t *start;
    struct gw_route_item *items = by_host(b, drafts, count, &hosts, &start);
    struct gw_route_item *spare = gw_arena_alloc(&b->arena, (count + 1) * sizeof(*spare));
    struct gw_route_trees trees;

    gw_route_trees_init(&trees);
    make_slots(b, table, hosts.count);
    table->any = GW_NONE;
    for (uint32_t h = 0; h < hosts.count; h++) {
        uint32_t root;
        if (start[h + 1] == start[h])
            continue;
        root = gw_route_trees_add(&trees, items + start[h], spare, start[h + 1] - start[h]);
        if (h == 0)
            table->any = root;
        else
            add_host(b, table, hosts.texts[h], root);
    }
    gw_route_trees_write(&trees, b->image, table);
    gw_route_trees_fini(&trees);
}

static void write_table(struct build *b)
{
    struct gw_route_table table = {.magic = GW_ROUTE_MAGIC, .version = GW_ROUTE_VERSION};
    uint32_t count = (uint32_t)(gw_buf_len(&b->drafts) / sizeof(struct gw_route_draft)), off;
    struct gw_route_draft *drafts = (struct gw_route_draft *)(void *)b->drafts.data;

    assert(b->drafts.from == 0);
    if (count > 1)
        qsort(drafts, count, sizeof(*drafts), gw_route_draft_compare);
    table.patterns = write_buf(b, &b->patterns, sizeof(struct gw_route_pattern));
    table.regexes = write_buf(b, &b->regex_refs, sizeof(struct gw_ref));
    table.entries = write_entries(b, drafts, count, &table.merges);
    write_trees(b, drafts, count, &table);
    off = gw_image_alloc(b->image, sizeof(table));
    memcpy(gw_image_at(b->image, off), &table, sizeof(table));
    gw_image_conf(b->image)->table = (struct gw_ref){off, sizeof(table)};
}

enum gw_rc gw_route_table_build(struct gw_image *image, struct gw_report *report)
{
    struct build b = {.image = image,
                      .report = report,
                      .arena = GW_ARENA_INIT,
                      .drafts = GW_BUF_INIT,
                      .patterns = GW_BUF_INIT,
                      .regex_refs = GW_BUF_INIT,
                      .regex_groups = GW_BUF_INIT};

    collect(&b);
    if (!b.failed) {
        write_table(&b);
        gw_route_shadow_report(gw_image_conf(image), report);
    }
    gw_buf_fini(&b.drafts);
    gw_buf_fini(&b.patterns);
    gw_buf_fini(&b.regex_refs);
    gw_buf_fini(&b.regex_groups);
    gw_arena_fini(&b.arena);
    return b.failed ? GW_INVALID : GW_OK;
}
