#include "route/explain.h"

#include "base/cidr.h"
#include "http/uri.h"
#include "route/matcher.h"

/* What is known of a request while its routes are looked at. */
struct look {
    struct gw_route_matcher *matcher;
    const struct gw_conf *conf;
    const struct gw_route_table *table;
    struct gw_route_query query;
    struct gw_str merged; /* the path with "//" as "/" */
    struct gw_arena *arena;
    uint32_t *fitting; /* by route: its best entry that fits, or GW_NONE */
};

static const struct gw_conf_details *details_at(const struct gw_conf *conf, uint32_t i)
{
    return GW_ITEMS(conf, conf->details, struct gw_conf_details) + i;
}

static struct gw_str route_name(const struct gw_conf *conf, uint32_t i)
{
    return gw_ref_str(conf, GW_ITEMS(conf, conf->routes, struct gw_conf_route)[i].name);
}

static struct gw_str host_text(const struct look *l, const struct gw_route_entry *entry)
{
    const struct gw_conf_details *details = details_at(l->conf, entry->route);

    if (entry->host == GW_NONE)
        return GW_STR("*");
    return gw_ref_str(l->conf, GW_ITEMS(l->conf, details->match.hosts, struct gw_ref)[entry->host]);
}

static bool host_fits(struct gw_str rule, struct gw_str host)
{
    struct gw_str suffix;

    if (gw_str_eq(rule, GW_STR("*")))
        return true;
    if (rule.data[0] != '*')
        return gw_str_eq(rule, host);
    suffix = gw_str(rule.data + 1, rule.len - 1);
    return host.len > suffix.len &&
           memcmp(host.data + host.len - suffix.len, suffix.data, suffix.len) == 0;
}

static size_t segment_end(struct gw_str text, size_t at)
{
    const char *slash = memchr(text.data + at, '/', text.len - at);

    return slash != NULL ? (size_t)(slash - text.data) : text.len;
}

static bool segments_fit(struct gw_str rule, struct gw_str path)
{
    size_t r = 0, p = 0;

    while (r < rule.len) {
        if (rule.data[r] == '*' && rule.len > 1)
            return true;
        if (r > 0 && rule.data[r] == ':' && rule.data[r - 1] == '/') {
            size_t end = segment_end(path, p);
            if (end == p)
                return false;
            p = end;
            r = segment_end(rule, r);
            continue;
        }
        if (p == path.len || path.data[p++] != rule.data[r++])
            return false;
    }
    return p == path.len;
}

static enum gw_route_fit path_fits(const struct look *l, const struct gw_route_entry *entry)
{
    const struct gw_route_pattern *pattern =
        GW_ITEMS(l->conf, l->table->patterns, struct gw_route_pattern) + entry->pattern;
    struct gw_str path = entry->flags & GW_ROUTE_ENTRY_MERGE ? l->merged : l->query.request->path;
    bool fits = true;

    if (pattern->kind == GW_ROUTE_PATH_REGEX) {
        enum gw_rc rc =
            gw_route_regex_run(gw_route_matcher_regexes(l->matcher), pattern->regex, path, NULL, 0);
        if (rc == GW_LIMIT)
            return GW_ROUTE_UNDECIDED;
        fits = rc == GW_OK;
    } else if (pattern->kind != GW_ROUTE_PATH_ANY) {
        fits = segments_fit(gw_ref_str(l->conf, pattern->text), path);
    }
    return fits ? GW_ROUTE_FITS : GW_ROUTE_NO_PATH;
}

/* "GET, HEAD" */
static struct gw_str join(struct gw_arena *arena, const struct gw_conf *conf, struct gw_ref list)
{
    const struct gw_ref *items = GW_ITEMS(conf, list, struct gw_ref);
    struct gw_str text = GW_STR("");

    for (uint32_t i = 0; i < list.len && text.len < 300; i++)
        text = gw_arena_printf(arena, "%.*s%s%.*s", GW_STR_ARG(text), i > 0 ? ", " : "",
                               GW_STR_ARG(gw_ref_str(conf, items[i])));
    return text;
}

static struct gw_str join_listeners(const struct look *l, struct gw_ref list)
{
    const struct gw_conf_listener *all =
        GW_ITEMS(l->conf, l->conf->listeners, struct gw_conf_listener);
    const uint32_t *items = GW_ITEMS(l->conf, list, uint32_t);
    struct gw_str text = GW_STR("");

    for (uint32_t i = 0; i < list.len && text.len < 300; i++)
        if (items[i] < l->conf->listeners.len)
            text = gw_arena_printf(l->arena, "%.*s%s%.*s", GW_STR_ARG(text), i > 0 ? ", " : "",
                                   GW_STR_ARG(gw_ref_str(l->conf, all[items[i]].name)));
    return text;
}

static struct gw_str say_listener(const struct look *l, const struct gw_conf_match *match)
{
    const struct gw_conf_listener *all =
        GW_ITEMS(l->conf, l->conf->listeners, struct gw_conf_listener);
    struct gw_str name = GW_STR("of the request");

    if (l->query.listener < l->conf->listeners.len)
        name = gw_ref_str(l->conf, all[l->query.listener].name);
    return gw_arena_printf(l->arena, "listener %.*s is not in %.*s", GW_STR_ARG(name),
                           GW_STR_ARG(join_listeners(l, match->listeners)));
}

static struct gw_str say_test(const struct look *l, const char *what, struct gw_ref tests,
                              uint32_t which)
{
    const struct gw_conf_condition *c = GW_ITEMS(l->conf, tests, struct gw_conf_condition) + which;
    struct gw_str name = gw_ref_str(l->conf, c->name), value = gw_ref_str(l->conf, c->value);

    if (gw_str_eq(value, GW_STR("*")))
        return gw_arena_printf(l->arena, "%s %.*s is missing", what, GW_STR_ARG(name));
    if (value.len > 1 && value.data[0] == '~')
        return gw_arena_printf(l->arena, "%s %.*s does not fit %.*s", what, GW_STR_ARG(name),
                               GW_STR_ARG(value));
    return gw_arena_printf(l->arena, "%s %.*s is not \"%.*s\"", what, GW_STR_ARG(name),
                           GW_STR_ARG(value));
}

static struct gw_str say_method(const struct look *l, const struct gw_conf_match *match)
{
    struct gw_str list = join(l->arena, l->conf, match->methods);
    const struct gw_ref *items = GW_ITEMS(l->conf, match->methods, struct gw_ref);
    bool get = false, head = false;

    for (uint32_t i = 0; i < match->methods.len; i++) {
        get = get || gw_str_eq(gw_ref_str(l->conf, items[i]), GW_STR("GET"));
        head = head || gw_str_eq(gw_ref_str(l->conf, items[i]), GW_STR("HEAD"));
    }
    return gw_arena_printf(l->arena, "method %.*s is not in %.*s%s",
                           GW_STR_ARG(l->query.request->method), GW_STR_ARG(list),
                           get && !head ? " (nor HEAD, which GET implies)" : "");
}

static struct gw_str say_host(const struct look *l, const struct gw_conf_match *match)
{
    return gw_arena_printf(l->arena, "host %.*s does not fit %.*s",
                           GW_STR_ARG(l->query.request->host),
                           GW_STR_ARG(join(l->arena, l->conf, match->hosts)));
}

/* The one case that surprises gets its own words. */
static struct gw_str say_path(const struct look *l, const struct gw_conf_match *match)
{
    const struct gw_ref *items = GW_ITEMS(l->conf, match->paths, struct gw_ref);
    struct gw_str path = l->query.request->path;

    for (uint32_t i = 0; i < match->paths.len; i++) {
        struct gw_str rule = gw_ref_str(l->conf, items[i]);
        if (rule.len == path.len + 2 && gw_str_starts(rule, path) &&
            memcmp(rule.data + path.len, "/*", 2) == 0)
            return gw_arena_printf(l->arena,
                                   "path %.*s does not fit %.*s, which needs the slash: add "
                                   "\"%.*s\" to the paths if it is meant too",
                                   GW_STR_ARG(path), GW_STR_ARG(rule), GW_STR_ARG(path));
    }
    return gw_arena_printf(l->arena, "path %.*s does not fit %.*s", GW_STR_ARG(path),
                           GW_STR_ARG(join(l->arena, l->conf, match->paths)));
}

static struct gw_str say_client(const struct look *l)
{
    char text[GW_IP_TEXT_BYTES];

    (void)gw_ip_format(l->query.client, text);
    return gw_arena_printf(l->arena, "client %s is in none of its networks", text);
}

static struct gw_str say(const struct look *l, uint32_t route, enum gw_route_fit fit,
                         uint32_t which)
{
    const struct gw_conf_match *match = &details_at(l->conf, route)->match;

    switch (fit) {
    case GW_ROUTE_NO_HOST:
        return say_host(l, match);
    case GW_ROUTE_NO_PATH:
        return say_path(l, match);
    case GW_ROUTE_NO_LISTENER:
        return say_listener(l, match);
    case GW_ROUTE_NO_SCHEME:
        return gw_arena_printf(l->arena, "scheme %.*s is not %.*s",
                               GW_STR_ARG(l->query.request->scheme),
                               GW_STR_ARG(gw_ref_str(l->conf, match->scheme)));
    case GW_ROUTE_NO_CLIENT:
        return say_client(l);
    case GW_ROUTE_NO_HEADER:
        return say_test(l, "header", match->headers, which);
    case GW_ROUTE_NO_QUERY:
        return say_test(l, "query parameter", match->query, which);
    case GW_ROUTE_NO_METHOD:
        return say_method(l, match);
    default:
        return GW_STR("a regex was stopped at its limit: nobody knows whether it fits");
    }
}

static enum gw_route_stage stage_of(enum gw_route_fit fit)
{
    switch (fit) {
    case GW_ROUTE_NO_HOST:
        return GW_ROUTE_STAGE_HOST;
    case GW_ROUTE_NO_PATH:
        return GW_ROUTE_STAGE_PATH;
    case GW_ROUTE_NO_METHOD:
        return GW_ROUTE_STAGE_METHOD;
    case GW_ROUTE_FITS:
        return GW_ROUTE_STAGE_LOST;
    default:
        return GW_ROUTE_STAGE_CONDITION;
    }
}

static enum gw_route_fit entry_fits(struct look *l, const struct gw_route_entry *entry,
                                    uint32_t *which)
{
    const struct gw_route_conditions *c;
    enum gw_route_fit fit;

    if (!host_fits(host_text(l, entry), l->query.request->host))
        return GW_ROUTE_NO_HOST;
    fit = path_fits(l, entry);
    if (fit != GW_ROUTE_FITS || entry->conditions == 0)
        return fit;
    c = gw_at(l->conf, entry->conditions);
    fit = gw_route_conditions_plain(l->conf, c, &l->query, which);
    if (fit == GW_ROUTE_FITS)
        fit = gw_route_conditions_regex(gw_route_matcher_regexes(l->matcher), c, &l->query, which);
    if (fit == GW_ROUTE_FITS && !gw_route_conditions_method(l->conf, c, l->query.request))
        fit = GW_ROUTE_NO_METHOD;
    return fit;
}

static struct gw_str path_text(const struct look *l, const struct gw_route_entry *entry)
{
    const struct gw_route_pattern *pattern =
        GW_ITEMS(l->conf, l->table->patterns, struct gw_route_pattern) + entry->pattern;
    struct gw_str text = gw_ref_str(l->conf, pattern->text);

    if (pattern->kind == GW_ROUTE_PATH_ANY)
        return GW_STR("(any)");
    if (pattern->kind == GW_ROUTE_PATH_REGEX)
        return gw_arena_printf(l->arena, "~%.*s", GW_STR_ARG(text));
    return text;
}

/* Whether two paths differ in the order: kind, number of segments, place of parameters. */
static bool paths_differ(const struct look *l, const struct gw_route_entry *a,
                         const struct gw_route_entry *b)
{
    const struct gw_route_pattern *p =
        GW_ITEMS(l->conf, l->table->patterns, struct gw_route_pattern);
    struct gw_str x = gw_ref_str(l->conf, p[a->pattern].text);
    struct gw_str y = gw_ref_str(l->conf, p[b->pattern].text);
    size_t i = 0, k = 0;

    if (p[a->pattern].kind != p[b->pattern].kind)
        return true;
    if (p[a->pattern].kind != GW_ROUTE_PATH_PARAM && p[a->pattern].kind != GW_ROUTE_PATH_PREFIX)
        return false;
    while (i < x.len && k < y.len) {
        bool param = x.data[i] == ':' && x.data[i - 1] == '/';
        if (param != (y.data[k] == ':' && y.data[k - 1] == '/') ||
            (x.data[i] == '*') != (y.data[k] == '*'))
            return true;
        i = segment_end(x, i) + 1;
        k = segment_end(y, k) + 1;
    }
    return i < x.len || k < y.len;
}

/* Both fit; the winner is before the loser in the order: by what? */
static struct gw_str say_lost(const struct look *l, const struct gw_route_entry *loser,
                              const struct gw_route_entry *winner)
{
    const struct gw_conf_details *a = details_at(l->conf, loser->route);
    const struct gw_conf_details *b = details_at(l->conf, winner->route);
    struct gw_str name = route_name(l->conf, winner->route);
    uint32_t conditions = gw_route_conditions_count(&a->match);

    if (a->priority != b->priority)
        return gw_arena_printf(l->arena, "fits, but its priority %d is lower than %d of \"%.*s\"",
                               a->priority, b->priority, GW_STR_ARG(name));
    if (!gw_str_eq(host_text(l, loser), host_text(l, winner)))
        return gw_arena_printf(
            l->arena, "fits, but host %.*s of \"%.*s\" is more exact than its %.*s",
            GW_STR_ARG(host_text(l, winner)), GW_STR_ARG(name), GW_STR_ARG(host_text(l, loser)));
    if (paths_differ(l, loser, winner))
        return gw_arena_printf(l->arena, "fits, but path %.*s of \"%.*s\" comes before its %.*s",
                               GW_STR_ARG(path_text(l, winner)), GW_STR_ARG(name),
                               GW_STR_ARG(path_text(l, loser)));
    if (conditions != gw_route_conditions_count(&b->match))
        return gw_arena_printf(l->arena, "fits, but \"%.*s\" has %u conditions and it has %u",
                               GW_STR_ARG(name), gw_route_conditions_count(&b->match), conditions);
    return gw_arena_printf(l->arena, "fits, but \"%.*s\" stands before it in the files",
                           GW_STR_ARG(name));
}

/* Of several alternatives of a route the one that came furthest speaks for it. */
static void look_at_entries(struct look *l, struct gw_route_reason *reasons)
{
    const struct gw_route_entry *entries =
        GW_ITEMS(l->conf, l->table->entries, struct gw_route_entry);

    for (uint32_t rank = 0; rank < l->table->entries.len; rank++) {
        uint32_t route = entries[rank].route, which = 0;
        struct gw_route_reason *reason = &reasons[route];
        enum gw_route_fit fit;

        if (l->fitting[route] != GW_NONE)
            continue;
        fit = entry_fits(l, &entries[rank], &which);
        if (fit == GW_ROUTE_FITS)
            l->fitting[route] = rank;
        if (stage_of(fit) <= reason->stage)
            continue;
        reason->stage = stage_of(fit);
        if (fit != GW_ROUTE_FITS)
            reason->text = say(l, route, fit, which);
    }
}

static void compare_to_winner(struct look *l, uint32_t winner, struct gw_route_reason *reasons)
{
    const struct gw_route_entry *entries =
        GW_ITEMS(l->conf, l->table->entries, struct gw_route_entry);

    for (uint32_t i = 0; i < l->conf->routes.len; i++) {
        if (reasons[i].stage != GW_ROUTE_STAGE_LOST)
            continue;
        if (winner == GW_NONE || l->fitting[winner] == GW_NONE)
            reasons[i].text = GW_STR("fits, but a regex that comes first was stopped at its limit");
        else if (i != winner)
            reasons[i].text = say_lost(l, &entries[l->fitting[i]], &entries[l->fitting[winner]]);
    }
    if (winner != GW_NONE)
        reasons[winner] = (struct gw_route_reason){GW_ROUTE_STAGE_WON, GW_STR("matches")};
}

void gw_route_explain(struct gw_route_matcher *matcher, const struct gw_request *request,
                      uint32_t listener, const uint8_t client[16], struct gw_arena *arena,
                      struct gw_route_explanation *out)
{
    const struct gw_conf *conf = gw_route_matcher_conf(matcher);
    uint32_t count = conf->routes.len;
    struct gw_route_reason *reasons = gw_arena_zalloc(arena, (count + 1) * sizeof(*reasons));
    struct look l = {.matcher = matcher,
                     .conf = conf,
                     .table = gw_route_matcher_table(matcher),
                     .query = {request, listener, client},
                     .merged = gw_uri_merge_slashes(arena, request->path),
                     .arena = arena,
                     .fitting = gw_arena_alloc(arena, (count + 1) * sizeof(uint32_t))};

    for (uint32_t i = 0; i < count; i++) {
        l.fitting[i] = GW_NONE;
        reasons[i].text = GW_STR("is disabled");
    }
    out->verdict = gw_route_match(matcher, request, listener, client, &out->result);
    look_at_entries(&l, reasons);
    compare_to_winner(&l, out->result.route, reasons);
    out->reasons = reasons;
    out->count = count;
}

static void text_of_verdict(const struct gw_conf *conf, const struct gw_request *request,
                            const struct gw_route_explanation *e, struct gw_buf *out)
{
    gw_buf_printf(out, "%.*s %.*s://%.*s%.*s\n", GW_STR_ARG(request->method),
                  GW_STR_ARG(request->scheme), GW_STR_ARG(request->host),
                  GW_STR_ARG(request->path));
    switch (e->verdict) {
    case GW_OK:
        gw_buf_printf(out, "  route \"%.*s\" matches\n",
                      GW_STR_ARG(route_name(conf, e->result.route)));
        for (uint32_t i = 0; i < e->result.params; i++)
            gw_buf_printf(out, "    %.*s = \"%.*s\"\n", GW_STR_ARG(e->result.param[i].name),
                          GW_STR_ARG(e->result.param[i].value));
        break;
    case GW_INVALID:
        gw_buf_printf(out, "  405: some routes fit, but for the method; Allow: %.*s\n",
                      GW_STR_ARG(e->result.allow));
        break;
    case GW_LIMIT:
        gw_buf_printf(out, "  400: a regex was stopped at its limit\n");
        break;
    default:
        gw_buf_printf(out, "  404: no route matches\n");
    }
}

void gw_route_explain_text(const struct gw_conf *conf, const struct gw_request *request,
                           const struct gw_route_explanation *e, struct gw_buf *out)
{
    uint32_t far = 0;

    text_of_verdict(conf, request, e, out);
    for (uint32_t i = 0; i < e->count; i++) {
        const struct gw_route_reason *reason = &e->reasons[i];

        if (reason->stage == GW_ROUTE_STAGE_WON)
            continue;
        if (reason->stage <= GW_ROUTE_STAGE_PATH && ++far > GW_ROUTE_EXPLAIN_PATHS_MAX)
            continue;
        gw_buf_printf(out, "  not \"%.*s\": %.*s\n", GW_STR_ARG(route_name(conf, i)),
                      GW_STR_ARG(reason->text));
    }
    if (far > GW_ROUTE_EXPLAIN_PATHS_MAX)
        gw_buf_printf(out, "  and %u more whose host or path does not fit\n",
                      far - GW_ROUTE_EXPLAIN_PATHS_MAX);
}
