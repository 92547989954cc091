/* Types of values that speak of requests: hosts, paths, methods, fields, addresses. */
#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "base/cidr.h"
#include "conf/address.h"
#include "conf/rows.h"
#include "http/message.h"
#include "http/uri.h"

#define HOST_BYTES_MAX 253

/* ---- lists of texts ---- */

/* Checks one item and gives the form that the image holds. */
typedef bool (*item_fn)(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node,
                        struct gw_str *text);

static bool read_items(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       struct gw_ref *out, item_fn check)
{
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    struct gw_names seen = GW_NAMES_INIT;
    uint32_t count = gw_items_count(node), i = 0;
    uint32_t off;
    bool ok = true;

    if (node->kind == GW_NODE_MAP)
        return gw_fault_form(r, row, node);
    if (node->kind == GW_NODE_LIST && count == 0) {
        (void)gw_fault(r, node, "is an empty list");
        gw_report_hint(r->report, "leave the key out to take everything");
        return false;
    }
    off = gw_image_alloc(r->image, count * sizeof(struct gw_ref));
    GW_ITEMS_EACH(item, node)
    {
        struct gw_str text = GW_STR("");

        gw_item_enter(r, &step, node, item);
        if (!gw_scalar_text(r, row, item, &text) || !check(r, row, item, &text)) {
            ok = false;
        } else if (count > 1 && !gw_names_add(&seen, text, 0, NULL)) {
            ok = gw_fault(r, item, "\"%.*s\" is given twice", GW_STR_ARG(text));
        } else {
            struct gw_ref ref = gw_image_add_str(r->image, text);
            ((struct gw_ref *)gw_image_at(r->image, off))[i++] = ref;
        }
        gw_item_leave(r, &step);
    }
    gw_names_fini(&seen);
    *out = (struct gw_ref){off, i};
    return ok;
}

/* ---- hosts ---- */

static bool labels_ok(struct gw_str host)
{
    size_t label = 0;

    for (size_t i = 0; i < host.len; i++) {
        if (host.data[i] == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (!isalnum((unsigned char)host.data[i]) && host.data[i] != '-' &&
                   host.data[i] != '_') {
            return false;
        } else if (++label > 63) {
            return false;
        }
    }
    return label > 0;
}

static bool fault_host(struct gw_reader *r, const struct gw_node *node)
{
    struct gw_str text = node->text.data == NULL ? GW_STR("") : node->text;
    const char *colon = memchr(text.data, ':', text.len);
    bool ascii = true;

    for (size_t i = 0; i < text.len; i++)
        ascii = ascii && (unsigned char)text.data[i] < 0x80;
    (void)gw_fault(r, node, "\"%.*s\" is no host name", GW_STR_ARG(text));
    if (memmem(text.data, text.len, "://", 3) != NULL)
        gw_report_hint(r->report, "write the host only, without scheme and path");
    else if (memchr(text.data, '*', text.len) != NULL)
        gw_report_hint(r->report, "a \"*\" can only be the first label: \"*.example.com\"");
    else if (colon != NULL)
        gw_report_hint(r->report, "write it without a port: \"%.*s\"", (int)(colon - text.data),
                       text.data);
    else if (!ascii)
        gw_report_hint(r->report, "write it in its ASCII form (xn--…)");
    else if (text.len > 1 && text.data[text.len - 1] == '.')
        gw_report_hint(r->report, "write it without the last dot");
    return false;
}

static bool check_host(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node,
                       struct gw_str *text)
{
    struct gw_str name = *text;
    uint8_t address[16];
    char *lower;

    if (gw_str_eq(name, GW_STR("*")))
        return true;
    if (gw_str_starts(name, GW_STR("*.")))
        name = gw_str(name.data + 2, name.len - 2);
    if (name.len > 0 && name.data[0] == '[' ? gw_ip_parse(name, address) != GW_OK
                                            : !labels_ok(name) || name.len > HOST_BYTES_MAX)
        return fault_host(r, node);
    lower = gw_arena_alloc(r->arena, text->len + 1);
    for (size_t i = 0; i < text->len; i++)
        lower[i] = (char)tolower((unsigned char)text->data[i]);
    *text = gw_str(lower, text->len);
    return true;
}

static bool read_hosts(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       void *field)
{
    return read_items(r, row, node, field, check_host);
}

/* ---- paths ---- */

static bool check_segments(struct gw_reader *r, const struct gw_node *node, struct gw_str path)
{
    struct gw_names params = GW_NAMES_INIT;
    size_t at = 1;
    bool ok = true;

    while (ok && at <= path.len) {
        const char *slash = memchr(path.data + at, '/', path.len - at);
        size_t end = slash == NULL ? path.len : (size_t)(slash - path.data);
        struct gw_str segment = gw_str(path.data + at, end - at);

        if (memchr(segment.data, '*', segment.len) != NULL && (segment.len > 1 || slash != NULL)) {
            ok = gw_fault(r, node,
                          "in a path \"*\" can only be the whole last segment: "
                          "\"/a/*\"");
            gw_report_hint(r->report, "use :name for one segment, or a regex: \"~^/a\"");
        } else if (segment.len > 0 && segment.data[0] == ':') {
            struct gw_str name = gw_str(segment.data + 1, segment.len - 1);

            for (size_t i = 0; i < name.len; i++)
                ok = ok && (isalnum((unsigned char)name.data[i]) || name.data[i] == '_');
            if (name.len == 0 || !ok || isdigit((unsigned char)name.data[0]))
                ok = gw_fault(r, node, "\"%.*s\" is no name of a parameter", GW_STR_ARG(segment));
            else if (!gw_names_add(&params, name, 0, NULL))
                ok = gw_fault(r, node, "the parameter \"%.*s\" stands twice in the path",
                              GW_STR_ARG(segment));
        }
        at = end + 1;
    }
    gw_names_fini(&params);
    return ok;
}

static bool check_path(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node,
                       struct gw_str *text)
{
    struct gw_str normal;

    if (text->len > 0 && text->data[0] == '~')
        return text->len > 1 || gw_fault(r, node, "a regex is missing behind \"~\"");
    if (text->len == 0 || text->data[0] != '/') {
        (void)gw_fault(r, node, "must begin with \"/\" (or \"~\" for a regex), not \"%.*s\"",
                       GW_STR_ARG(*text));
        return false;
    }
    if (memchr(text->data, '?', text->len) != NULL || memchr(text->data, '#', text->len) != NULL) {
        (void)gw_fault(r, node, "a path has no \"?\" and no \"#\"");
        gw_report_hint(r->report, "parameters are matched by query: { name: value }");
        return false;
    }
    /* Requests are matched in their normal form: another form here would match nothing. */
    if (gw_uri_normalize_path(r->arena, *text, &normal) != GW_OK)
        return gw_fault(r, node, "\"%.*s\" is no path", GW_STR_ARG(*text));
    if (!gw_str_eq(normal, *text)) {
        (void)gw_fault(r, node, "\"%.*s\" can never match: a path is brought to its normal form",
                       GW_STR_ARG(*text));
        gw_report_hint(r->report, "write \"%.*s\"", GW_STR_ARG(normal));
        return false;
    }
    return check_segments(r, node, *text);
}

static bool read_paths(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       void *field)
{
    return read_items(r, row, node, field, check_path);
}

/* ---- methods ---- */

static bool check_method(struct gw_reader *r, const struct gw_row *row, const struct gw_node *node,
                         struct gw_str *text)
{
    char upper[16];
    enum gw_method method;

    if (!gw_is_token(*text))
        return gw_fault(r, node, "\"%.*s\" is no method", GW_STR_ARG(*text));
    method = gw_method_of(*text);
    if (method == GW_METHOD_CONNECT || method == GW_METHOD_TRACE)
        return gw_fault(r, node, "%.*s never passes the gateway", GW_STR_ARG(*text));
    if (method == GW_METHOD_OTHER && text->len < sizeof(upper)) {
        for (size_t i = 0; i < text->len; i++)
            upper[i] = (char)toupper((unsigned char)text->data[i]);
        if (gw_method_of(gw_str(upper, text->len)) != GW_METHOD_OTHER) {
            (void)gw_fault(r, node, "methods are upper case");
            gw_report_hint(r->report, "write %.*s", (int)text->len, upper);
            return false;
        }
    }
    return true;
}

static bool read_methods(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    return read_items(r, row, node, field, check_method);
}

/* ---- addresses ---- */

static bool read_cidrs(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       void *field)
{
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    uint32_t count = gw_items_count(node), i = 0;
    uint32_t off;
    bool ok = true;

    if (node->kind == GW_NODE_MAP)
        return gw_fault_form(r, row, node);
    off = gw_image_alloc(r->image, count * sizeof(struct gw_cidr));
    GW_ITEMS_EACH(item, node)
    {
        struct gw_cidr *cidr = &((struct gw_cidr *)gw_image_at(r->image, off))[i];
        struct gw_err err = {{0}};
        struct gw_str text;

        gw_item_enter(r, &step, node, item);
        if (!gw_scalar_text(r, row, item, &text))
            ok = false;
        else if (gw_cidr_parse(text, cidr->address, &cidr->bits, &err) != GW_OK)
            ok = gw_fault(r, item, "%s", err.text);
        else
            i++;
        gw_item_leave(r, &step);
    }
    *(struct gw_ref *)field = (struct gw_ref){off, i};
    return ok;
}

/* "127.0.0.1" -> "127.0.0.1:53" */
static bool check_dns_server(struct gw_reader *r, const struct gw_row *row,
                             const struct gw_node *node, struct gw_str *text)
{
    struct gw_str host;
    uint8_t address[16];
    uint32_t port = 53;

    if (gw_ip_parse(*text, address) == GW_OK && text->data[0] != '[') {
        bool v6 = memchr(text->data, ':', text->len) != NULL;
        *text = gw_arena_printf(r->arena, v6 ? "[%.*s]:53" : "%.*s:53", GW_STR_ARG(*text));
        return true;
    }
    if (!gw_address_split(*text, &host, &port) || port == 0 || gw_ip_parse(host, address) != GW_OK)
        return gw_fault(r, node, "must be %s, not \"%.*s\"", row->type->form, GW_STR_ARG(*text));
    *text = gw_arena_printf(r->arena, "%.*s:%u", GW_STR_ARG(host), port);
    return true;
}

static bool read_dns_servers(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                             void *field)
{
    return read_items(r, row, node, field, check_dns_server);
}

/* ---- fields and parameters ---- */

static bool value_ok(struct gw_reader *r, const struct gw_node *node, struct gw_str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return gw_fault(r, node, "holds a control character (0x%02x)", c);
    }
    return true;
}

static struct gw_ref add_lower(struct gw_image *image, struct gw_str name)
{
    struct gw_ref ref = gw_image_add_str(image, name);
    char *text = gw_image_at(image, ref.off);

    for (uint32_t i = 0; i < ref.len; i++)
        text[i] = (char)tolower((unsigned char)text[i]);
    return ref;
}

static bool conditions(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       struct gw_ref *out, bool headers)
{
    uint32_t i = 0;
    uint32_t off;
    bool ok = true;

    if (node->kind != GW_NODE_MAP)
        return gw_fault_form(r, row, node);
    off = gw_image_alloc(r->image, node->count * sizeof(struct gw_conf_condition));
    for (struct gw_node *n = node->members.first; n != NULL; n = n->next) {
        struct gw_conf_condition condition;
        struct gw_path step;
        struct gw_str text;

        gw_enter(r, &step, n, 0);
        if (headers && !gw_is_token(n->key)) {
            ok = gw_fault(r, n, "\"%.*s\" is no name of a header", GW_STR_ARG(n->key));
        } else if (!gw_scalar_text(r, row, n, &text) || !value_ok(r, n, text)) {
            ok = false;
        } else if (gw_str_eq(text, GW_STR("~"))) {
            ok = gw_fault(r, n, "a regex is missing behind \"~\"");
        } else {
            condition.name =
                headers ? add_lower(r->image, n->key) : gw_image_add_str(r->image, n->key);
            condition.value = gw_image_add_str(r->image, text);
            ((struct gw_conf_condition *)gw_image_at(r->image, off))[i++] = condition;
        }
        gw_leave(r);
    }
    *out = (struct gw_ref){off, i};
    return ok;
}

static bool read_conditions(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                            void *field)
{
    return conditions(r, row, node, field, false);
}

static bool read_header_conditions(struct gw_reader *r, const struct gw_row *row,
                                   struct gw_node *node, void *field)
{
    return conditions(r, row, node, field, true);
}

static bool header_name_ok(struct gw_reader *r, const struct gw_node *n)
{
    static const char *const framing[] = {"content-length",
                                          "transfer-encoding",
                                          "connection",
                                          "keep-alive",
                                          "upgrade",
                                          "te",
                                          "trailer",
                                          "date",
                                          NULL};

    if (!gw_is_token(n->key))
        return gw_fault(r, n, "\"%.*s\" is no name of a header", GW_STR_ARG(n->key));
    for (size_t i = 0; framing[i] != NULL; i++)
        if (gw_str_eq_nocase(n->key, gw_str_c(framing[i])))
            return gw_fault(r, n, "%s is made by the gateway itself", framing[i]);
    return true;
}

/* A map of names to a value, or to a list of values for fields that repeat. */
static bool read_headers(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    uint32_t count = 0, i = 0;
    uint32_t off;
    bool ok = true;

    if (node->kind != GW_NODE_MAP)
        return gw_fault_form(r, row, node);
    for (struct gw_node *n = node->members.first; n != NULL; n = n->next)
        count += gw_items_count(n);
    off = gw_image_alloc(r->image, count * sizeof(struct gw_conf_header));
    for (struct gw_node *n = node->members.first; n != NULL; n = n->next) {
        struct gw_item_step item_step = GW_ITEM_STEP_INIT;
        struct gw_path step;

        gw_enter(r, &step, n, 0);
        ok = header_name_ok(r, n) && ok;
        if (gw_node_is_null(n))
            ok = gw_fault_form(r, row, n);
        GW_ITEMS_EACH(item, n)
        {
            struct gw_conf_header header;
            struct gw_str text;

            gw_item_enter(r, &item_step, n, item);
            if (item->kind != GW_NODE_SCALAR) {
                ok = gw_fault(r, item, "must be a text, not %s", gw_node_what(item));
            } else if (!gw_scalar_text(r, row, item, &text) || !value_ok(r, item, text)) {
                ok = false;
            } else {
                header.name = gw_image_add_str(r->image, n->key);
                header.value = gw_image_add_str(r->image, text);
                ((struct gw_conf_header *)gw_image_at(r->image, off))[i++] = header;
            }
            gw_item_leave(r, &item_step);
        }
        gw_leave(r);
    }
    *(struct gw_ref *)field = (struct gw_ref){off, i};
    return ok;
}

/* ---- their JSON Schema ---- */

#define SCALAR "{\"type\":[\"string\",\"number\",\"boolean\"]}"

static void schema_list(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[" SCALAR ",{\"type\":\"array\",\"items\":" SCALAR "}]");
}

static void schema_map(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"object\",\"additionalProperties\":" SCALAR);
}

static void schema_headers(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"object\",\"additionalProperties\":{\"anyOf\":[" SCALAR
                       ",{\"type\":\"array\",\"items\":" SCALAR "}]}");
}

const struct gw_type gw_type_hosts = {.form =
                                          "host names such as www.example.com, \"*.example.com\"",
                                      .read = read_hosts,
                                      .schema = schema_list,
                                      .list = true};
const struct gw_type gw_type_paths = {.form = "paths such as /a, /a/:id/b, \"/a/*\", \"~^/a[0-9]\"",
                                      .read = read_paths,
                                      .schema = schema_list,
                                      .list = true};
const struct gw_type gw_type_methods = {
    .form = "methods such as GET, POST", .read = read_methods, .schema = schema_list, .list = true};
const struct gw_type gw_type_cidrs = {.form = "addresses or networks such as 10.0.0.0/8",
                                      .read = read_cidrs,
                                      .schema = schema_list,
                                      .list = true};
const struct gw_type gw_type_dns_servers = {.form = "addresses such as 127.0.0.1, \"[::1]:5353\"",
                                            .read = read_dns_servers,
                                            .schema = schema_list,
                                            .list = true};
const struct gw_type gw_type_headers = {
    .form = "a map of header names to texts", .read = read_headers, .schema = schema_headers};
const struct gw_type gw_type_conditions = {.form = "a map of names to a text, \"~regex\", or \"*\"",
                                           .read = read_conditions,
                                           .schema = schema_map};
const struct gw_type gw_type_header_conditions = {
    .form = "a map of header names to a text, \"~regex\", or \"*\"",
    .read = read_header_conditions,
    .schema = schema_map};
