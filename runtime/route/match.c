#include "route/match.h"

#include <assert.h>
#include <stdlib.h>

#include "http/uri.h"
#include "route/matcher.h"

#define ALLOW_MAX 64 /* distinct methods that are named in one Allow */

struct gw_route_matcher {
    const struct gw_conf *conf;
    const struct gw_route_table *table;
    struct gw_route_regexes regexes;
};

enum slashes { SLASHES_ALL, SLASHES_AS_THEY_ARE, SLASHES_MERGED };

/* One search. */
struct search {
    struct gw_route_walk walk; /* first: the visitor is handed its address */
    struct gw_route_matcher *matcher;
    struct gw_route_query query;
    enum slashes slashes;    /* which entries this walk is for */
    bool method_missed;      /* an entry was left out for its method alone, perhaps */
    bool collecting;         /* second walk, for Allow */
    uint32_t undecided;      /* best rank of what a regex could not decide */
    struct gw_str best_path; /* as the winner saw it */
    struct gw_str groups[GW_ROUTE_PARAMS_MAX + 1]; /* of the winner's regex */
    struct gw_str *methods;                        /* for Allow */
    uint32_t methods_count;
};

enum gw_rc gw_route_matcher_new(const struct gw_conf *conf, struct gw_route_matcher **out,
                                struct gw_err *err)
{
    const struct gw_route_table *table;
    struct gw_route_matcher *matcher;

    if (conf->table.len < sizeof(*table))
        return gw_err_set(err, GW_INVALID, "the generation has no match table");
    table = gw_at(conf, conf->table.off);
    if (table->magic != GW_ROUTE_MAGIC || table->version != GW_ROUTE_VERSION)
        return gw_err_set(err, GW_INVALID, "the match table is of another build");
    matcher = calloc(1, sizeof(*matcher));
    if (matcher == NULL)
        return gw_err_set(err, GW_NOMEM, "out of memory");
    matcher->conf = conf;
    matcher->table = table;
    matcher->regexes.conf = conf;
    matcher->regexes.texts = GW_ITEMS(conf, table->regexes, struct gw_ref);
    matcher->regexes.count = table->regexes.len;
    if (table->regexes.len > 0) {
        matcher->regexes.items = calloc(table->regexes.len, sizeof(struct gw_regex *));
        if (matcher->regexes.items == NULL) {
            free(matcher);
            return gw_err_set(err, GW_NOMEM, "out of memory");
        }
    }
    *out = matcher;
    return GW_OK;
}

void gw_route_matcher_free(struct gw_route_matcher *matcher)
{
    if (matcher == NULL)
        return;
    for (uint32_t i = 0; i < matcher->regexes.count; i++)
        gw_regex_free(matcher->regexes.items[i]);
    free(matcher->regexes.items);
    free(matcher);
}

const struct gw_conf *gw_route_matcher_conf(const struct gw_route_matcher *matcher)
{
    return matcher->conf;
}

const struct gw_route_table *gw_route_matcher_table(const struct gw_route_matcher *matcher)
{
    return matcher->table;
}

struct gw_route_regexes *gw_route_matcher_regexes(struct gw_route_matcher *matcher)
{
    return &matcher->regexes;
}

static enum gw_route_fit regex_fits(struct search *s, const struct gw_route_entry *entry,
                                    struct gw_str *groups)
{
    const struct gw_route_pattern *pattern =
        GW_ITEMS(s->walk.conf, s->walk.table->patterns, struct gw_route_pattern) + entry->pattern;

    switch (gw_route_regex_run(&s->matcher->regexes, pattern->regex, s->walk.path, groups,
                               GW_ROUTE_PARAMS_MAX + 1)) {
    case GW_OK:
        return GW_ROUTE_FITS;
    case GW_NOT_FOUND:
        return GW_ROUTE_NO_PATH;
    default:
        return GW_ROUTE_UNDECIDED;
    }
}

/* Host and path have led here. Regexes last: they are the dear part. */
static enum gw_route_fit entry_fits(struct search *s, const struct gw_route_entry *entry,
                                    struct gw_str *groups)
{
    const struct gw_route_conditions *c = NULL;
    enum gw_route_fit fit;

    if (entry->conditions != 0) {
        c = gw_at(s->walk.conf, entry->conditions);
        if (gw_route_conditions_method(s->walk.conf, c, s->query.request) == s->collecting)
            return GW_ROUTE_NO_METHOD;
        fit = gw_route_conditions_plain(s->walk.conf, c, &s->query, NULL);
        if (fit != GW_ROUTE_FITS)
            return fit;
    } else if (s->collecting) {
        return GW_ROUTE_NO_METHOD; /* it has none that could be missed */
    }
    if (entry->flags & GW_ROUTE_ENTRY_REGEX) {
        fit = regex_fits(s, entry, groups);
        if (fit != GW_ROUTE_FITS)
            return fit;
    }
    return c != NULL ? gw_route_conditions_regex(&s->matcher->regexes, c, &s->query, NULL)
                     : GW_ROUTE_FITS;
}

static void allow_add(struct search *s, struct gw_str method)
{
    uint32_t i;

    for (i = 0; i < s->methods_count; i++)
        if (gw_str_eq(s->methods[i], method))
            return;
    if (s->methods_count < ALLOW_MAX)
        s->methods[s->methods_count++] = method;
}

static void allow_collect(struct search *s, const struct gw_route_entry *entry)
{
    const struct gw_route_conditions *c = gw_at(s->walk.conf, entry->conditions);
    const struct gw_ref *items = GW_ITEMS(s->walk.conf, c->methods, struct gw_ref);

    for (uint32_t i = 0; i < c->methods.len; i++) {
        struct gw_str method = gw_ref_str(s->walk.conf, items[i]);
        allow_add(s, method);
        if (gw_str_eq(method, GW_STR("GET")))
            allow_add(s, GW_STR("HEAD"));
    }
}

static void take_entry(struct search *s, uint32_t rank, const struct gw_route_entry *entry,
                       const struct gw_str *groups)
{
    if (s->collecting) {
        allow_collect(s, entry);
        return;
    }
    s->walk.best = rank;
    s->best_path = s->walk.path;
    if (entry->flags & GW_ROUTE_ENTRY_REGEX)
        memcpy(s->groups, groups, sizeof(s->groups));
}

static void try_list(struct gw_route_walk *walk, const uint32_t *ranks, uint32_t count,
                     enum gw_route_list list)
{
    struct search *s = (struct search *)walk;
    const struct gw_route_entry *entries =
        GW_ITEMS(walk->conf, walk->table->entries, struct gw_route_entry);
    struct gw_str groups[GW_ROUTE_PARAMS_MAX + 1];

    for (uint32_t i = 0; i < count && ranks[i] < walk->best; i++) {
        const struct gw_route_entry *entry = &entries[ranks[i]];

        if (s->slashes != SLASHES_ALL &&
            (s->slashes == SLASHES_MERGED) != ((entry->flags & GW_ROUTE_ENTRY_MERGE) != 0))
            continue;
        switch (entry_fits(s, entry, groups)) {
        case GW_ROUTE_FITS:
            take_entry(s, ranks[i], entry, groups);
            break;
        case GW_ROUTE_NO_METHOD:
            s->method_missed = true;
            break;
        case GW_ROUTE_UNDECIDED:
            if (ranks[i] < s->undecided)
                s->undecided = ranks[i];
            break;
        default:
            break;
        }
    }
}

/* Routes that merge slashes see another path than the rest when there is a "//": two walks,
 * each for its own entries; ranks decide between them. */
static void search_all(struct search *s)
{
    const struct gw_request *request = s->query.request;
    struct gw_str merged = request->path;

    if (s->walk.table->merges > 0)
        merged = gw_uri_merge_slashes(request->fields.arena, request->path);
    if (merged.data == request->path.data) {
        s->slashes = SLASHES_ALL;
        gw_route_walk_run(&s->walk, request->host, request->path);
        return;
    }
    s->slashes = SLASHES_AS_THEY_ARE;
    gw_route_walk_run(&s->walk, request->host, request->path);
    s->slashes = SLASHES_MERGED;
    gw_route_walk_run(&s->walk, request->host, merged);
}

static int compare_methods(const void *a, const void *b)
{
    const struct gw_str *x = a, *y = b;
    int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static struct gw_str allow_text(struct search *s, struct gw_arena *arena)
{
    size_t len = 0, at = 0;
    char *text;

    qsort(s->methods, s->methods_count, sizeof(s->methods[0]), compare_methods);
    for (uint32_t i = 0; i < s->methods_count; i++)
        len += s->methods[i].len + 2;
    text = gw_arena_alloc(arena, len);
    for (uint32_t i = 0; i < s->methods_count; i++) {
        if (i > 0) {
            text[at++] = ',';
            text[at++] = ' ';
        }
        memcpy(text + at, s->methods[i].data, s->methods[i].len);
        at += s->methods[i].len;
    }
    return gw_str(text, at);
}

/* Nothing fits, and at least one entry was passed over for its method before the rest of it was
 * looked at: looks at the rest now. */
static enum gw_rc refuse_method(struct search *s, struct gw_route_result *out)
{
    struct gw_arena *arena = s->query.request->fields.arena;

    s->collecting = true;
    s->methods = gw_arena_alloc(arena, ALLOW_MAX * sizeof(s->methods[0]));
    search_all(s);
    if (s->methods_count == 0)
        return GW_NOT_FOUND;
    out->allow = allow_text(s, arena);
    return GW_INVALID;
}

static void add_param(struct gw_route_result *out, struct gw_str name, struct gw_str value)
{
    assert(out->params < GW_ROUTE_PARAMS_MAX);
    if (value.data == NULL)
        value = GW_STR("");
    out->param[out->params++] = (struct gw_route_param){name, value};
}

static void fill_rest(struct gw_route_result *out, size_t from)
{
    add_param(out, GW_STR("*"), gw_str(out->path.data + from, out->path.len - from));
}

/* Walks pattern and path side by side: the path is known to fit. */
static void fill_segments(struct gw_route_result *out, struct gw_str pattern)
{
    size_t p = 0, at = 0;

    while (p < pattern.len) {
        if (pattern.data[p] == '*') {
            fill_rest(out, at);
            return;
        }
        if (pattern.data[p] == ':' && pattern.data[p - 1] == '/') {
            size_t name = ++p, from = at;
            while (p < pattern.len && pattern.data[p] != '/')
                p++;
            while (at < out->path.len && out->path.data[at] != '/')
                at++;
            add_param(out, gw_str(pattern.data + name, p - name),
                      gw_str(out->path.data + from, at - from));
            continue;
        }
        p++;
        at++;
    }
}

static void fill_groups(const struct search *s, uint32_t regex, struct gw_route_result *out)
{
    static const char *const numbers[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                          "9", "10", "11", "12", "13", "14", "15", "16"};
    const struct gw_regex *r = s->matcher->regexes.items[regex];

    for (uint32_t i = 1; i < gw_regex_groups(r); i++)
        add_param(out, gw_str_c(numbers[i]), s->groups[i]);
    for (uint32_t i = 0; i < gw_regex_names(r); i++) {
        uint32_t group;
        struct gw_str name = gw_regex_name(r, i, &group);
        add_param(out, name, s->groups[group]);
    }
}

enum gw_rc gw_route_match(struct gw_route_matcher *matcher, const struct gw_request *request,
                          uint32_t listener, const uint8_t client[16], struct gw_route_result *out)
{
    struct search s;
    const struct gw_route_entry *entry;
    const struct gw_route_pattern *pattern;

    gw_route_walk_init(&s.walk, matcher->conf, matcher->table, try_list);
    s.matcher = matcher;
    s.query = (struct gw_route_query){request, listener, client};
    s.method_missed = false;
    s.collecting = false;
    s.undecided = GW_NONE;
    s.methods_count = 0;
    out->route = GW_NONE;
    out->path = request->path;
    out->allow = GW_STR_NULL;
    out->params = 0;

    search_all(&s);
    if (s.undecided < s.walk.best)
        return GW_LIMIT;
    if (s.walk.best == GW_NONE)
        return s.method_missed ? refuse_method(&s, out) : GW_NOT_FOUND;
    entry = GW_ITEMS(matcher->conf, matcher->table->entries, struct gw_route_entry) + s.walk.best;
    out->route = entry->route;
    out->path = s.best_path;
    pattern =
        GW_ITEMS(matcher->conf, matcher->table->patterns, struct gw_route_pattern) + entry->pattern;
    if (pattern->params > 0) {
        if (pattern->kind == GW_ROUTE_PATH_REGEX)
            fill_groups(&s, pattern->regex, out);
        else if (pattern->kind == GW_ROUTE_PATH_PREFIX && pattern->params == 1)
            fill_rest(out, pattern->text.len - 1);
        else
            fill_segments(out, gw_ref_str(matcher->conf, pattern->text));
    }
    return GW_OK;
}

struct gw_str gw_route_param(const struct gw_route_result *result, struct gw_str name)
{
    for (uint32_t i = 0; i < result->params; i++)
        if (gw_str_eq(result->param[i].name, name))
            return result->param[i].value;
    return GW_STR_NULL;
}
