/* routes: — what is matched, and what is done then. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/include.h"
#include "conf/rows.h"

#define ROUTES_MAX 100000
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

/* ---- what a route does: respond, redirect, files ---- */

#define ROUTE(name) .offset = offsetof(struct gw_conf_route, name)

static const struct gw_row respond_rows[] = {
    {.key = "status",
     .type = &gw_type_int,
     ROUTE(status),
     .otherwise = "200",
     .min = 200,
     .max = 599,
     .doc = "Status of the answer."},
    {.key = "body", .type = &gw_type_text, ROUTE(body), .doc = "Its body. Default: none."},
    {.key = "headers",
     .type = &gw_type_headers,
     ROUTE(headers),
     .doc = "Its headers; a list of values makes several lines."},
    /* It waits in `cache_control`, which respond has no use for, until it becomes a header. */
    {.key = "content_type",
     .type = &gw_type_string,
     ROUTE(cache_control),
     .otherwise = "text/plain; charset=utf-8",
     .doc = "Content-Type of a body, unless headers: has one."},
};

static const struct gw_section section_respond = GW_SECTION("respond", respond_rows);

static bool has_header(struct gw_reader *r, const struct gw_conf_route *route, struct gw_str name)
{
    for (uint32_t i = 0; i < route->headers.len; i++) {
        const struct gw_conf_header *h = gw_image_at(r->image, route->headers.off);

        if (gw_str_eq_nocase(gw_str(gw_image_at(r->image, h[i].name.off), h[i].name.len), name))
            return true;
    }
    return false;
}

static void add_header(struct gw_reader *r, struct gw_conf_route *route, struct gw_str name,
                       struct gw_ref value)
{
    struct gw_ref name_ref = gw_image_add_str(r->image, name);
    uint32_t count = route->headers.len;
    uint32_t off = gw_image_alloc(r->image, (count + 1) * sizeof(struct gw_conf_header));
    struct gw_conf_header *to = gw_image_at(r->image, off);

    if (count > 0)
        memcpy(to, gw_image_at(r->image, route->headers.off), count * sizeof(*to));
    to[count] = (struct gw_conf_header){name_ref, value};
    route->headers = (struct gw_ref){off, count + 1};
}

static bool read_respond(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    struct gw_conf_route *route = field;
    uint32_t before = r->report->faults_count;
    uint64_t given;

    route->kind = GW_ROUTE_RESPOND;
    gw_section_defaults(r, &section_respond, route);
    given = gw_section_read(r, &section_respond, node, route, 0);
    if (r->report->faults_count != before)
        return false;
    if (gw_section_has(&section_respond, given, "content_type") &&
        has_header(r, route, GW_STR("content-type")))
        return gw_fault(r, node, "give content_type: or a content-type in headers:, not both");
    if (route->body.len > 0 && (route->status == 204 || route->status == 304))
        return gw_fault(r, node, "an answer of status %u has no body", route->status);
    if ((route->body.len > 0 || gw_section_has(&section_respond, given, "content_type")) &&
        !has_header(r, route, GW_STR("content-type")))
        add_header(r, route, GW_STR("content-type"), route->cache_control);
    route->cache_control = (struct gw_ref){0, 0};
    return true;
}

static void schema_respond(const struct gw_row *row, struct gw_buf *out)
{
    gw_section_schema(row->detail, 0, out);
}

static const struct gw_type type_respond = {.form = "a map with status:, body:",
                                            .read = read_respond,
                                            .schema = schema_respond,
                                            .inside = "."};

static const char *const variables[] = {"host", "path", "query", "scheme"};

/* Is it a variable that is filled in: of the request, or a parameter of one of the paths? Groups
 * of a regex are known only when it is compiled: with one, every name is taken. */
static bool is_variable(struct gw_reader *r, const struct gw_conf_route *route, struct gw_str name)
{
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        if (gw_str_eq(name, gw_str_c(variables[i])))
            return true;
    for (uint32_t i = 0; i < route->match.paths.len; i++) {
        struct gw_ref ref = ((struct gw_ref *)gw_image_at(r->image, route->match.paths.off))[i];
        struct gw_str path = gw_str(gw_image_at(r->image, ref.off), ref.len);
        struct gw_str param = gw_arena_printf(r->arena, "/:%.*s", GW_STR_ARG(name));
        const char *at = memmem(path.data, path.len, param.data, param.len);

        if (path.len > 0 && path.data[0] == '~')
            return true;
        if (at != NULL && (at + param.len == path.data + path.len || at[param.len] == '/'))
            return true;
    }
    return false;
}

/* The names behind "$", as they are filled in: [a-z0-9_]+. */
static bool check_variables(struct gw_reader *r, const struct gw_node *node,
                            const struct gw_conf_route *route)
{
    struct gw_str text = node->text;

    for (size_t at = 0; at < text.len; at++) {
        struct gw_suggest suggest;
        size_t end = at + 1;

        if (text.data[at] != '$')
            continue;
        while (end < text.len && (islower((unsigned char)text.data[end]) ||
                                  isdigit((unsigned char)text.data[end]) || text.data[end] == '_'))
            end++;
        gw_suggest_begin(&suggest, gw_str(text.data + at + 1, end - at - 1));
        if (suggest.word.len > 0 && is_variable(r, route, suggest.word))
            continue;
        for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
            gw_suggest_offer(&suggest, gw_str_c(variables[i]));
        (void)gw_fault(r, node,
                       "\"$%.*s\" is none of $host, $path, $query, $scheme, and no "
                       "parameter of the path",
                       GW_STR_ARG(suggest.word));
        if (suggest.best.data != NULL)
            gw_report_hint(r->report, "did you mean \"$%.*s\"?", GW_STR_ARG(suggest.best));
        return false;
    }
    return true;
}

static bool read_location(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                          void *field)
{
    struct gw_conf_route *route = field;

    if (!gw_type_string.read(r, row, node, &route->location))
        return false;
    if (memchr(node->text.data, ' ', node->text.len) != NULL)
        return gw_fault(r, node, "a location holds no spaces");
    return check_variables(r, node, route);
}

static bool read_redirect_status(struct gw_reader *r, const struct gw_row *row,
                                 struct gw_node *node, void *field)
{
    uint32_t status;

    if (!gw_type_int.read(r, row, node, &status))
        return false;
    if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308)
        return gw_fault(r, node, "must be %s, not %u", row->type->form, status);
    *(uint32_t *)field = status;
    return true;
}

static void schema_redirect_status(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"enum\":[301,302,303,307,308]}," GW_SCHEMA_ENV "]");
}

static void schema_string(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"string\"");
}

static const struct gw_type type_redirect_status = {.form = "301, 302, 303, 307 or 308",
                                                    .read = read_redirect_status,
                                                    .schema = schema_redirect_status};
static const struct gw_type type_location = {.form = "a URL or path such as https://$host$path",
                                             .read = read_location,
                                             .schema = schema_string};

static const struct gw_row redirect_rows[] = {
    {.key = "to",
     .type = &type_location,
     .offset = 0,
     .flags = GW_ROW_REQUIRED,
     .doc = "The Location: may use $host, $path, $query (with its \"?\"), $scheme, and $name for a "
            ":name of the path."},
    {.key = "status",
     .type = &type_redirect_status,
     ROUTE(status),
     .otherwise = "302",
     .min = 301,
     .max = 308,
     .doc = "301, 302, 303, 307 or 308."},
};

static const struct gw_section section_redirect = GW_SECTION("redirect", redirect_rows);

static bool read_redirect(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                          void *field)
{
    struct gw_conf_route *route = field;
    uint32_t before = r->report->faults_count;

    route->kind = GW_ROUTE_REDIRECT;
    gw_section_defaults(r, &section_redirect, route);
    if (node->kind == GW_NODE_SCALAR && !gw_node_is_null(node))
        return read_location(r, &redirect_rows[0], node, route);
    (void)gw_section_read(r, &section_redirect, node, route, 0);
    return r->report->faults_count == before;
}

/* A plain string, or the section of the row. */
static void schema_string_or(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"type\":\"string\"},{");
    gw_section_schema(row->detail, 0, out);
    gw_buf_printf(out, "}]");
}

static const struct gw_type type_redirect = {.form = "a URL, or a map with to:",
                                             .read = read_redirect,
                                             .schema = schema_string_or,
                                             .inside = "."};

static bool read_root(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                      void *field)
{
    struct gw_str path;
    struct stat st;

    if (!gw_type_path.read(r, row, node, field))
        return false;
    path = gw_arena_dup(r->arena, gw_path_absolute(r, node, node->text));
    if (stat(path.data, &st) != 0)
        return gw_fault(r, node, "the folder %.*s: %s", GW_STR_ARG(path), strerror(errno));
    return S_ISDIR(st.st_mode) || gw_fault(r, node, "%.*s is no folder", GW_STR_ARG(path));
}

static const struct gw_type type_root = {
    .form = "the path of a folder", .read = read_root, .schema = schema_string};

static bool read_index(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       void *field)
{
    if (!gw_type_text.read(r, row, node, field))
        return false;
    if (memchr(node->text.data, '/', node->text.len) != NULL)
        return gw_fault(r, node, "must be the name of a file, without \"/\"");
    return true;
}

static const struct gw_type type_index = {
    .form = "the name of a file", .read = read_index, .schema = schema_string};

static const struct gw_row files_rows[] = {
    {.key = "root",
     .type = &type_root,
     ROUTE(root),
     .flags = GW_ROW_REQUIRED,
     .doc = "The folder, relative to this file. The path of the request, after strip: and "
            "rewrite:, is looked up in it; it cannot leave it."},
    {.key = "index",
     .type = &type_index,
     ROUTE(index),
     .otherwise = "index.html",
     .doc = "Page of a folder. \"\": none."},
    {.key = "cache_control",
     .type = &gw_type_string,
     ROUTE(cache_control),
     .doc = "Cache-Control of the answers. Default: none is sent."},
};

static const struct gw_section section_files = GW_SECTION("files", files_rows);

static bool read_files(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       void *field)
{
    struct gw_conf_route *route = field;
    uint32_t before = r->report->faults_count;

    route->kind = GW_ROUTE_FILES;
    gw_section_defaults(r, &section_files, route);
    if (node->kind == GW_NODE_SCALAR && !gw_node_is_null(node))
        return read_root(r, &files_rows[0], node, &route->root);
    (void)gw_section_read(r, &section_files, node, route, 0);
    return r->report->faults_count == before;
}

static const struct gw_type type_files = {.form = "the path of a folder, or a map with root:",
                                          .read = read_files,
                                          .schema = schema_string_or,
                                          .inside = "."};

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

static const struct gw_type type_prefix = {
    .form = "a path such as /v1", .read = read_prefix, .schema = schema_string};

static bool read_host(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                      void *field)
{
    struct gw_conf_route *route = field;
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (gw_str_eq(text, GW_STR("client"))) {
        route->host_mode = GW_HOST_CLIENT;
    } else if (gw_str_eq(text, GW_STR("upstream"))) {
        route->host_mode = GW_HOST_UPSTREAM;
    } else {
        /* With a port or without, as it is to stand in the Host field. */
        for (size_t i = 0; i < text.len; i++)
            if (!gw_is_token(gw_str(&text.data[i], 1)) && memchr(":[]", text.data[i], 3) == NULL)
                return gw_fault(r, node, "\"%.*s\" is no host", GW_STR_ARG(text));
        if (text.len == 0)
            return gw_fault(r, node, "must not be empty");
        route->host_mode = GW_HOST_NAME;
        route->host = gw_image_add_str(r->image, text);
    }
    return true;
}

static const struct gw_type type_host = {
    .form = "client, upstream or a host name", .read = read_host, .schema = schema_string};

static const struct gw_row buffering_rows[] = {
    {.key = "request",
     .type = &gw_type_bool,
     ROUTE(buffer_request),
     .otherwise = "false",
     .doc = "The whole body of the request is read before the upstream is asked."},
    {.key = "response",
     .type = &gw_type_bool,
     ROUTE(buffer_response),
     .otherwise = "false",
     .doc =
         "The answer is taken from the upstream as fast as it comes, whatever the client takes."},
};

static const struct gw_section section_buffering = GW_SECTION("buffering", buffering_rows);

static bool read_buffering(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                           void *field)
{
    struct gw_conf_route *route = field;
    uint32_t before = r->report->faults_count;

    if (node->kind == GW_NODE_SCALAR && !gw_node_is_null(node)) {
        if (!gw_type_bool.read(r, row, node, &route->buffer_request))
            return false;
        route->buffer_response = route->buffer_request;
        return true;
    }
    (void)gw_section_read(r, &section_buffering, node, route, 0);
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
     ROUTE(name),
     .doc = "For messages, logs and metrics. Default: made of file and line."},
    {.key = "match",
     .type = &type_match,
     ROUTE(match),
     .detail = &section_match,
     .doc = "All conditions must hold. Default: every request fits."},
    {.key = "priority",
     .type = &gw_type_signed,
     ROUTE(priority),
     .otherwise = "0",
     .min = -1000000,
     .max = 1000000,
     .doc = "Higher goes first, before all other rules."},
    {.key = "enabled",
     .type = &gw_type_bool,
     ROUTE(enabled),
     .otherwise = "true",
     .doc = "false: checked, but never matched."},
    {.key = "plugins",
     .type = &gw_type_plugins,
     .offset = 0,
     .doc = "Plugins of this route, besides the global ones."},
    {.key = "upstream",
     .type = &gw_type_upstream,
     ROUTE(upstream),
     .doc = "Where requests go: a name of upstreams:, or a URL such as http://127.0.0.1:9001."},
    {.key = "respond",
     .type = &type_respond,
     .offset = 0,
     .detail = &section_respond,
     .doc = "The gateway answers by itself."},
    {.key = "redirect",
     .type = &type_redirect,
     .offset = 0,
     .detail = &section_redirect,
     .doc = "The gateway answers with a redirect; a plain text is to:."},
    {.key = "files",
     .type = &type_files,
     .offset = 0,
     .detail = &section_files,
     .doc = "Static files; a plain text is root:."},
    {.key = "strip",
     .type = &type_prefix,
     ROUTE(strip),
     .doc = "Prefix taken off the path, in whole segments."},
    {.key = "rewrite",
     .type = &type_prefix,
     ROUTE(rewrite),
     .doc = "New path: may use :name and * of the match, and $1 of its regex."},
    {.key = "host",
     .type = &type_host,
     .offset = 0,
     .otherwise = "client",
     .doc = "Host that the upstream sees: the client's, the target's, or a name."},
    {.key = "limits",
     .type = &gw_type_limits,
     ROUTE(limits),
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
     ROUTE(timeout_ms),
     .otherwise = "0",
     .min = 0,
     .max = DAY,
     .doc = "All tries together, until the head of the answer. After: 504. 0: no limit."},
    {.key = "retries",
     .type = &gw_type_int,
     ROUTE(retries),
     .otherwise = "1",
     .min = 0,
     .max = 100,
     .doc = "Further tries, of requests that may be repeated. Then: 502 or 504."},
    {.key = "merge_slashes",
     .type = &gw_type_bool,
     ROUTE(merge_slashes),
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

    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
        if (!has(given, uses[i].key) || has(given, "upstream") ||
            (uses[i].files && route->kind == GW_ROUTE_FILES))
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

static void read_route(struct gw_reader *r, struct gw_node *node, struct gw_conf_route *route)
{
    uint64_t given;

    route->where = node->where;
    route->hash = gw_node_hash(node, 0);
    if (node->kind != GW_NODE_MAP) {
        (void)gw_fault(r, node, "must be a route: a map with match: and upstream:, not %s",
                       gw_node_what(node));
        return;
    }
    given = gw_section_read(r, &gw_section_route, node, route, 0);
    name_route(r, node, route);
    check_kind(r, node, given);
    check_use(r, node, given, route);
}

static bool read_routes(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                        void *field)
{
    struct gw_conf_route defaults = {
        .upstream = GW_NONE, .chain = GW_NONE, .limits = r->conf.limits};
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    uint32_t before = r->report->faults_count;
    uint32_t count = gw_items_count(node);
    uint32_t off;

    if (count > ROUTES_MAX)
        return gw_fault(r, node, "more than %d routes", ROUTES_MAX);
    defaults.limits.given = 0;
    gw_section_defaults(r, &gw_section_route, &defaults);
    off = gw_image_alloc(r->image, count * sizeof(struct gw_conf_route));
    r->route = 0;
    GW_ITEMS_EACH(item, node)
    {
        struct gw_conf_route route = defaults;

        gw_item_enter(r, &step, node, item);
        read_route(r, item, &route);
        ((struct gw_conf_route *)gw_image_at(r->image, off))[r->route++] = route;
        gw_item_leave(r, &step);
    }
    r->route = GW_NONE;
    *(struct gw_ref *)field = (struct gw_ref){off, count};
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
