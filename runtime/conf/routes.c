/* routes: — what is matched, and what is done then. */
#include <string.h>

#include "conf/include.h"
#include "conf/route_reading.h"

#define DAY ((int64_t)86400 * 1000)

/* ---- match: ---- */

static bool read_listener_names(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                                void *field)
{
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    uint32_t count = gw_items_count(node), i = 0;
    uint32_t off = gw_image_alloc(r->image, count * sizeof(uint32_t));
    bool ok = true;

    if (count == 0)
        return gw_fault_form(r, row, node);
    GW_ITEMS_EACH(item, node)
    {
        struct gw_str text;
        uint32_t index;

        gw_item_enter(r, &step, node, item);
        if (!gw_scalar_text(r, row, item, &text)) {
            ok = false;
        } else if (!gw_names_get(&r->listeners, text, &index)) {
            ok = gw_fault(r, item, "there is no listener \"%.*s\"", GW_STR_ARG(text));
            gw_report_hint(r->report, "it is the name: of an item of listen:, or its address");
        } else {
            ((uint32_t *)gw_image_at(r->image, off))[i++] = index;
        }
        gw_item_leave(r, &step);
    }
    *(struct gw_ref *)field = (struct gw_ref){off, i};
    return ok;
}

static void schema_names(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":"
                       "\"string\"}}]");
}

static const struct gw_type type_listener_names = {.form = "names of listeners",
                                                   .read = read_listener_names,
                                                   .schema = schema_names,
                                                   .list = true};

static const char *const schemes[] = {"http", "https", NULL};

static bool read_scheme(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                        void *field)
{
    uint8_t index;

    if (!gw_type_enum.read(r, row, node, &index))
        return false;
    *(struct gw_ref *)field = gw_image_add_str(r->image, gw_str_c(schemes[index]));
    return true;
}

static void schema_scheme(const struct gw_row *row, struct gw_buf *out)
{
    gw_type_enum.schema(row, out);
}

static const struct gw_type type_scheme = {
    .form = "http or https", .read = read_scheme, .schema = schema_scheme};

#define MATCH(name) .offset = offsetof(struct gw_conf_match, name)

static const struct gw_row match_rows[] = {
    {.key = "listen",
     .type = &type_listener_names,
     MATCH(listeners),
     .doc = "Names of listeners. Default: any."},
    {.key = "hosts",
     .type = &gw_type_hosts,
     MATCH(hosts),
     .doc = "Exact hosts, or \"*.example.com\" for all below it. Default: any."},
    {.key = "path",
     .type = &gw_type_paths,
     MATCH(paths),
     .doc =
         "/a exactly, /a/:id/b with one segment for :id, \"/a/*\" all below, \"~regex\" (PCRE2). "
         "Default: any."},
    {.key = "paths", .type = &gw_type_paths, MATCH(paths), .doc = "The same, for several."},
    {.key = "methods",
     .type = &gw_type_methods,
     MATCH(methods),
     .doc = "GET includes HEAD. Path fits and method does not: 405. Default: any."},
    {.key = "headers",
     .type = &gw_type_header_conditions,
     MATCH(headers),
     .doc = "Each must be there with this value, fit the \"~regex\", or be there at all (\"*\")."},
    {.key = "query",
     .type = &gw_type_conditions,
     MATCH(query),
     .doc = "The same for parameters of the query."},
    {.key = "client",
     .type = &gw_type_cidrs,
     MATCH(clients),
     .doc = "Addresses or networks of the client. Default: any."},
    {.key = "scheme",
     .type = &type_scheme,
     MATCH(scheme),
     .detail = schemes,
     .doc = "http or https. Default: both."},
};

static const struct gw_section section_match = GW_SECTION("match", match_rows);

static bool read_match(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       void *field)
{
    uint32_t before = r->report->faults_count;
    uint64_t given = gw_section_read(r, &section_match, node, field, 0);

    if (gw_section_has(&section_match, given, "path") &&
        gw_section_has(&section_match, given, "paths"))
        (void)gw_fault(r, node, "give path: or paths:, not both");
    return r->report->faults_count == before;
}

static void schema_match(const struct gw_row *row, struct gw_buf *out)
{
    gw_section_schema(&section_match, 0, out);
}

static const struct gw_type type_match = {
    .form = "a map of conditions", .read = read_match, .schema = schema_match, .inside = "."};

/* ---- how a request is changed on its way ---- */

static bool read_prefix(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                        void *field)
{
    if (!gw_type_string.read(r, row, node, field))
        return false;
    if (node->text.data[0] != '/')
        return gw_fault(r, node, "must begin with \"/\", not \"%.*s\"", GW_STR_ARG(node->text));
    for (size_t i = 0; i < node->text.len; i++)
        if (node->text.data[i] == ' ' || node->text.data[i] == '#')
            return gw_fault(r, node, "a path holds no \"%c\"", node->text.data[i]);
    return true;
}

static void schema_string(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"string\"");
}

static const struct gw_type type_prefix = {
    .form = "a path such as /v1", .read = read_prefix, .schema = schema_string};

static bool read_host(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                      void *field)
{
    struct gw_route_reading *draft = field;
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (gw_str_eq(text, GW_STR("client"))) {
        draft->route.host_mode = GW_HOST_CLIENT;
    } else if (gw_str_eq(text, GW_STR("upstream"))) {
        draft->route.host_mode = GW_HOST_UPSTREAM;
    } else {
        /* With a port or without, as it is to stand in the Host field. */
        for (size_t i = 0; i < text.len; i++)
            if (!gw_is_token(gw_str(&text.data[i], 1)) && memchr(":[]", text.data[i], 3) == NULL)
                return gw_fault(r, node, "\"%.*s\" is no host", GW_STR_ARG(text));
        if (text.len == 0)
            return gw_fault(r, node, "must not be empty");
        draft->route.host_mode = GW_HOST_NAME;
        draft->route.host = gw_image_add_str(r->image, text);
    }
    return true;
}

static const struct gw_type type_host = {
    .form = "client, upstream or a host name", .read = read_host, .schema = schema_string};

static const struct gw_row buffering_rows[] = {
    {.key = "request",
     .type = &gw_type_bool,
     GW_ROUTE_FIELD(buffer_request),
     .otherwise = "false",
     .doc = "The whole body of the request is read before the upstream is asked."},
    {.key = "response",
     .type = &gw_type_bool,
     GW_ROUTE_FIELD(buffer_response),
     .otherwise = "false",
     .doc =
         "The answer is taken from the upstream as fast as it comes, whatever the client takes."},
};

static const struct gw_section section_buffering = GW_SECTION("buffering", buffering_rows);

static bool read_buffering(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                           void *field)
{
    struct gw_route_reading *draft = field;
    uint32_t before = r->report->faults_count;

    if (node->kind == GW_NODE_SCALAR && !gw_node_is_null(node)) {
        if (!gw_type_bool.read(r, row, node, &draft->route.buffer_request))
            return false;
        draft->route.buffer_response = draft->route.buffer_request;
        return true;
    }
    (void)gw_section_read(r, &section_buffering, node, draft, 0);
    return r->report->faults_count == before;
}

static void schema_buffering(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"type\":\"boolean\"},{");
    gw_section_schema(row->detail, 0, out);
    gw_buf_printf(out, "}]");
}

static const struct gw_type type_buffering = {.form =
                                                  "true or false, or a map of request, response",
                                              .read = read_buffering,
                                              .schema = schema_buffering,
                                              .inside = "."};

/* ---- the route ---- */

static const struct gw_row rows[] = {
    {.key = "name",
     .type = &gw_type_string,
     GW_ROUTE_FIELD(name),
     .doc = "For messages, logs and metrics. Default: made of file and line."},
    {.key = "match",
     .type = &type_match,
     GW_DETAIL_FIELD(match),
     .detail = &section_match,
     .doc = "All conditions must hold. Default: every request fits."},
    {.key = "priority",
     .type = &gw_type_signed,
     GW_DETAIL_FIELD(priority),
     .otherwise = "0",
     .min = -1000000,
     .max = 1000000,
     .doc = "Higher goes first, before all other rules."},
    {.key = "enabled",
     .type = &gw_type_bool,
     GW_DETAIL_FIELD(enabled),
     .otherwise = "true",
     .doc = "false: checked, but never matched."},
    {.key = "plugins",
     .type = &gw_type_plugins,
     .offset = 0,
     .doc = "Plugins of this route, besides the global ones."},
    {.key = "upstream",
     .type = &gw_type_upstream,
     GW_ROUTE_FIELD(upstream),
     .doc = "Where requests go: a name of upstreams:, or a URL such as http://127.0.0.1:9001."},
    {.key = "respond",
     .type = &gw_type_respond,
     .offset = 0,
     .detail = &gw_section_respond,
     .doc = "The gateway answers by itself."},
    {.key = "redirect",
     .type = &gw_type_redirect,
     .offset = 0,
     .detail = &gw_section_redirect,
     .doc = "The gateway answers with a redirect; a plain text is to:."},
    {.key = "files",
     .type = &gw_type_files,
     .offset = 0,
     .detail = &gw_section_files,
     .doc = "Static files; a plain text is root:."},
    {.key = "strip",
     .type = &type_prefix,
     GW_ROUTE_FIELD(strip),
     .doc = "Prefix taken off the path, in whole segments."},
    {.key = "rewrite",
     .type = &type_prefix,
     GW_ROUTE_FIELD(rewrite),
     .doc = "New path: may use :name and * of the match, and $1 of its regex."},
    {.key = "host",
     .type = &type_host,
     .offset = 0,
     .otherwise = "client",
     .doc = "Host that the upstream sees: the client's, the target's, or a name."},
    {.key = "limits",
     .type = &gw_type_limits,
     .offset = offsetof(struct gw_route_reading, limits),
     .flags = GW_ROW_ROUTE,
     .doc = "Wins over the limits of listener and gateway."},
    {.key = "buffering",
     .type = &type_buffering,
     .offset = 0,
     .otherwise = "false",
     .detail = &section_buffering,
     .doc = "Hold bodies whole, up to limits: body_buffer_size_max, instead of streaming them."},
    {.key = "timeout",
     .type = &gw_type_duration,
     GW_ROUTE_FIELD(timeout_ms),
     .otherwise = "0",
     .min = 0,
     .max = DAY,
     .doc = "All tries together, until the head of the answer. After: 504. 0: no limit."},
    {.key = "retries",
     .type = &gw_type_int,
     GW_ROUTE_FIELD(retries),
     .otherwise = "1",
     .min = 0,
     .max = 100,
     .doc = "Further tries, of requests that may be repeated. Then: 502 or 504."},
    {.key = "merge_slashes",
     .type = &gw_type_bool,
     GW_DETAIL_FIELD(merge_slashes),
     .otherwise = "false",
     .doc = "// in a path counts as /."},
};

const struct gw_section gw_section_route = GW_SECTION("route", rows);

static bool has(uint64_t given, const char *key)
{
    return gw_section_has(&gw_section_route, given, key);
}

static void check_kind(struct gw_reader *r, const struct gw_node *node, uint64_t given)
{
    static const char *const kinds[] = {"upstream", "respond", "redirect", "files"};
    const char *first = NULL;
    uint32_t count = 0;

    for (size_t i = 0; i < 4; i++) {
        if (!has(given, kinds[i]))
            continue;
        if (++count == 1)
            first = kinds[i];
        else
            (void)gw_fault(r, node, "has both %s: and %s:, and can do only one", first, kinds[i]);
    }
    if (count == 0)
        (void)gw_fault(r, node, "needs one of upstream:, respond:, redirect:, files:");
}

/* A key that would do nothing is a slip, and said to be one. */
static void check_use(struct gw_reader *r, const struct gw_node *node, uint64_t given,
                      const struct gw_conf_route *route)
{
    static const struct {
        const char *key;
        bool files;
    } uses[] = {{"strip", true},      {"rewrite", true},  {"host", false},
                {"buffering", false}, {"timeout", false}, {"retries", false}};

    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]) && !has(given, "upstream"); i++) {
        if (!has(given, uses[i].key) || (uses[i].files && route->kind == GW_ROUTE_FILES))
            continue;
        (void)gw_fault(r, node, "%s: does nothing without %s", uses[i].key,
                       uses[i].files ? "upstream: or files:" : "upstream:");
    }
    if (has(given, "strip") && has(given, "rewrite"))
        (void)gw_fault(r, node, "give strip: or rewrite:, not both");
}

/* "routes/a.yaml:12", and the column too where a line holds several. */
static struct gw_str made_name(struct gw_reader *r, const struct gw_node *node, bool column)
{
    struct gw_str path = r->files->items[node->where.file].path;
    struct gw_str dir = gw_files_dir(r->files, 0);

    if (gw_str_starts(path, dir) && path.len > dir.len)
        path = gw_str(path.data + dir.len, path.len - dir.len);
    while (path.len > 1 && path.data[0] == '/')
        path = gw_str(path.data + 1, path.len - 1);
    return column ? gw_arena_printf(r->arena, "%.*s:%u:%u", GW_STR_ARG(path), node->where.line,
                                    node->where.column)
                  : gw_arena_printf(r->arena, "%.*s:%u", GW_STR_ARG(path), node->where.line);
}

static void name_route(struct gw_reader *r, const struct gw_node *node, struct gw_conf_route *route)
{
    const struct gw_node *given = gw_node_get(node, GW_STR("name"));
    struct gw_path step;
    struct gw_str name;
    uint32_t there;

    if (given != NULL && route->name.off != 0) {
        gw_enter(r, &step, given, 0);
        if (!gw_names_add(&r->routes, given->text, r->route, &there))
            (void)gw_fault(r, given, "there are two routes of the name \"%.*s\"",
                           GW_STR_ARG(given->text));
        gw_leave(r);
        return;
    }
    name = made_name(r, node, false);
    if (!gw_names_add(&r->routes, name, r->route, &there)) {
        name = made_name(r, node, true);
        (void)gw_names_add(&r->routes, name, r->route, &there);
    }
    route->name = gw_image_add_str(r->image, name);
}

static void read_route(struct gw_reader *r, struct gw_node *node, struct gw_route_reading *draft)
{
    uint64_t given;

    draft->details.where = node->where;
    draft->details.hash = gw_node_hash(node, 0);
    if (node->kind != GW_NODE_MAP) {
        (void)gw_fault(r, node, "must be a route: a map with match: and upstream:, not %s",
                       gw_node_what(node));
        return;
    }
    given = gw_section_read(r, &gw_section_route, node, draft, 0);
    name_route(r, node, &draft->route);
    check_kind(r, node, given);
    check_use(r, node, given, &draft->route);
}

/* Most routes have the limits of the gateway, and the rest few different ones: each is kept once.
 */
static uint32_t keep_limits(struct gw_reader *r, const struct gw_conf_limits *limits)
{
    struct gw_str bytes = gw_str((const char *)limits, GW_LIMITS_BYTES);
    uint32_t off;

    if (gw_names_get(&r->route_limits, bytes, &off))
        return off;
    off = gw_image_alloc(r->image, sizeof(*limits));
    memcpy(gw_image_at(r->image, off), limits, GW_LIMITS_BYTES);
    (void)gw_names_add(&r->route_limits, gw_arena_dup(r->arena, bytes), off, NULL);
    return off;
}

static void keep_route(struct gw_reader *r, struct gw_route_reading *draft)
{
    struct gw_conf_route *routes;
    struct gw_conf_details *details;

    draft->route.limits = keep_limits(r, &draft->limits);
    routes = gw_image_at(r->image, r->conf.routes.off);
    details = gw_image_at(r->image, r->conf.details.off);
    routes[r->route] = draft->route;
    details[r->route] = draft->details;
}

void gw_route_defaults(struct gw_reader *r, struct gw_route_reading *defaults)
{
    memset(defaults, 0, sizeof(*defaults)); /* the padding too: it goes into the image */
    defaults->route.upstream = defaults->route.chain = GW_NONE;
    defaults->limits = r->conf.limits;
    defaults->limits.given = 0;
    gw_section_defaults(r, &gw_section_route, defaults);
}

void gw_route_read(struct gw_reader *r, struct gw_node *node,
                   const struct gw_route_reading *defaults)
{
    struct gw_route_reading draft = *defaults;

    read_route(r, node, &draft);
    keep_route(r, &draft);
    r->route++;
}

static bool read_routes(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                        void *field)
{
    struct gw_route_reading defaults;
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    uint32_t before = r->report->faults_count;
    uint32_t count = gw_items_count(node);

    if (count > GW_ROUTES_MAX)
        return gw_fault(r, node, "more than %d routes", GW_ROUTES_MAX);
    gw_route_defaults(r, &defaults);
    r->conf.routes = (struct gw_ref){
        gw_image_alloc_lines(r->image, count * sizeof(struct gw_conf_route)), count};
    r->conf.details =
        (struct gw_ref){gw_image_alloc(r->image, count * sizeof(struct gw_conf_details)), count};
    r->conf.routes_room = count;
    r->route = 0;
    GW_ITEMS_EACH(item, node)
    {
        gw_item_enter(r, &step, node, item);
        gw_route_read(r, item, &defaults);
        gw_item_leave(r, &step);
    }
    r->route = GW_NONE;
    return r->report->faults_count == before;
}

static void schema_routes(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"array\",\"items\":{");
    gw_section_schema(&gw_section_route, 0, out);
    gw_buf_printf(out, "}");
}

const struct gw_type gw_type_routes = {.form = "a list of routes",
                                       .read = read_routes,
                                       .schema = schema_routes,
                                       .inside = "[].",
                                       .list = true};
