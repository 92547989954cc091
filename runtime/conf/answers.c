/* respond:, redirect:, files: — what a route answers by itself. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/route_reading.h"

static const struct gw_row respond_rows[] = {
    {.key = "status",
     .type = &gw_type_int,
     GW_DETAIL_FIELD(status),
     .otherwise = "200",
     .min = 200,
     .max = 599,
     .doc = "Status of the answer."},
    {.key = "body",
     .type = &gw_type_text,
     GW_DETAIL_FIELD(body),
     .doc = "Its body. Default: none."},
    {.key = "headers",
     .type = &gw_type_headers,
     GW_DETAIL_FIELD(headers),
     .doc = "Its headers; a list of values makes several lines."},
    /* It waits in `cache_control`, which respond has no use for, until it becomes a header. */
    {.key = "content_type",
     .type = &gw_type_string,
     GW_DETAIL_FIELD(cache_control),
     .otherwise = "text/plain; charset=utf-8",
     .doc = "Content-Type of a body, unless headers: has one."},
};

const struct gw_section gw_section_respond = GW_SECTION("respond", respond_rows);

static bool has_header(struct gw_reader *r, const struct gw_conf_details *details,
                       struct gw_str name)
{
    for (uint32_t i = 0; i < details->headers.len; i++) {
        const struct gw_conf_header *h = gw_image_at(r->image, details->headers.off);

        if (gw_str_eq_nocase(gw_str(gw_image_at(r->image, h[i].name.off), h[i].name.len), name))
            return true;
    }
    return false;
}

static void add_header(struct gw_reader *r, struct gw_conf_details *details, struct gw_str name,
                       struct gw_ref value)
{
    struct gw_ref name_ref = gw_image_add_str(r->image, name);
    uint32_t count = details->headers.len;
    uint32_t off = gw_image_alloc(r->image, (count + 1) * sizeof(struct gw_conf_header));
    struct gw_conf_header *to = gw_image_at(r->image, off);

    if (count > 0)
        memcpy(to, gw_image_at(r->image, details->headers.off), count * sizeof(*to));
    to[count] = (struct gw_conf_header){name_ref, value};
    details->headers = (struct gw_ref){off, count + 1};
}

static bool read_respond(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    struct gw_route_reading *draft = field;
    uint32_t before = r->report->faults_count;
    uint64_t given;

    draft->route.kind = GW_ROUTE_RESPOND;
    gw_section_defaults(r, &gw_section_respond, draft);
    given = gw_section_read(r, &gw_section_respond, node, draft, 0);
    if (r->report->faults_count != before)
        return false;
    if (gw_section_has(&gw_section_respond, given, "content_type") &&
        has_header(r, &draft->details, GW_STR("content-type")))
        return gw_fault(r, node, "give content_type: or a content-type in headers:, not both");
    if (draft->details.body.len > 0 &&
        (draft->details.status == 204 || draft->details.status == 304))
        return gw_fault(r, node, "an answer of status %u has no body", draft->details.status);
    if ((draft->details.body.len > 0 ||
         gw_section_has(&gw_section_respond, given, "content_type")) &&
        !has_header(r, &draft->details, GW_STR("content-type")))
        add_header(r, &draft->details, GW_STR("content-type"), draft->details.cache_control);
    draft->details.cache_control = (struct gw_ref){0, 0};
    return true;
}

static void schema_respond(const struct gw_row *row, struct gw_buf *out)
{
    gw_section_schema(row->detail, 0, out);
}

const struct gw_type gw_type_respond = {.form = "a map with status:, body:",
                                        .read = read_respond,
                                        .schema = schema_respond,
                                        .inside = "."};

static const char *const variables[] = {"host", "path", "query", "scheme"};

/* Is it a variable that is filled in: of the request, or a parameter of one of the paths? Groups
 * of a regex are known only when it is compiled: with one, every name is taken. */
static bool is_variable(struct gw_reader *r, const struct gw_conf_details *details,
                        struct gw_str name)
{
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        if (gw_str_eq(name, gw_str_c(variables[i])))
            return true;
    for (uint32_t i = 0; i < details->match.paths.len; i++) {
        struct gw_ref ref = ((struct gw_ref *)gw_image_at(r->image, details->match.paths.off))[i];
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
                            const struct gw_conf_details *details)
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
        if (suggest.word.len > 0 && is_variable(r, details, suggest.word))
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
    struct gw_route_reading *draft = field;

    if (!gw_type_string.read(r, row, node, &draft->details.location))
        return false;
    if (memchr(node->text.data, ' ', node->text.len) != NULL)
        return gw_fault(r, node, "a location holds no spaces");
    return check_variables(r, node, &draft->details);
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
     GW_DETAIL_FIELD(status),
     .otherwise = "302",
     .min = 301,
     .max = 308,
     .doc = "301, 302, 303, 307 or 308."},
};

const struct gw_section gw_section_redirect = GW_SECTION("redirect", redirect_rows);

static bool read_redirect(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                          void *field)
{
    struct gw_route_reading *draft = field;
    uint32_t before = r->report->faults_count;

    draft->route.kind = GW_ROUTE_REDIRECT;
    gw_section_defaults(r, &gw_section_redirect, draft);
    if (node->kind == GW_NODE_SCALAR && !gw_node_is_null(node))
        return read_location(r, &redirect_rows[0], node, draft);
    (void)gw_section_read(r, &gw_section_redirect, node, draft, 0);
    return r->report->faults_count == before;
}

/* A plain string, or the section of the row. */
static void schema_string_or(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"type\":\"string\"},{");
    gw_section_schema(row->detail, 0, out);
    gw_buf_printf(out, "}]");
}

const struct gw_type gw_type_redirect = {.form = "a URL, or a map with to:",
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
     GW_DETAIL_FIELD(root),
     .flags = GW_ROW_REQUIRED,
     .doc = "The folder, relative to this file. The path of the request, after strip: and "
            "rewrite:, is looked up in it; it cannot leave it."},
    {.key = "index",
     .type = &type_index,
     GW_DETAIL_FIELD(index),
     .otherwise = "index.html",
     .doc = "Page of a folder. \"\": none."},
    {.key = "cache_control",
     .type = &gw_type_string,
     GW_DETAIL_FIELD(cache_control),
     .doc = "Cache-Control of the answers. Default: none is sent."},
};

const struct gw_section gw_section_files = GW_SECTION("files", files_rows);

static bool read_files(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       void *field)
{
    struct gw_route_reading *draft = field;
    uint32_t before = r->report->faults_count;

    draft->route.kind = GW_ROUTE_FILES;
    gw_section_defaults(r, &gw_section_files, draft);
    if (node->kind == GW_NODE_SCALAR && !gw_node_is_null(node))
        return read_root(r, &files_rows[0], node, &draft->details.root);
    (void)gw_section_read(r, &gw_section_files, node, draft, 0);
    return r->report->faults_count == before;
}

const struct gw_type gw_type_files = {.form = "the path of a folder, or a map with root:",
                                      .read = read_files,
                                      .schema = schema_string_or,
                                      .inside = "."};
