/* listen: — where clients come in. */
#include <netinet/in.h>
#include <string.h>

#include "base/limits.h"
#include "conf/address.h"
#include "conf/rows.h"

#define LISTENERS_MAX 1024

/* "0.0.0.0:8080", "[::1]:8080", "unix:/run/gateway.sock" into the listener's three fields. */
static bool read_address(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    struct gw_conf_listener *listener = field;
    struct gw_str text, host;
    uint32_t port;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (gw_str_starts(text, GW_STR("unix:"))) {
        struct gw_str path = gw_path_absolute(r, node, gw_str(text.data + 5, text.len - 5));

        if (text.len == 5 || !gw_address_of_unix(path, &listener->address, &listener->address_len))
            return gw_fault(r, node, "the path of a unix socket has 1 to %zu bytes: \"%.*s\"",
                            GW_UNIX_PATH_BYTES_MAX, GW_STR_ARG(path));
        text = gw_arena_printf(r->arena, "unix:%.*s", GW_STR_ARG(path));
    } else if (!gw_address_split(text, &host, &port)) {
        (void)gw_fault(r, node, "must be %s, not \"%.*s\"", row->type->form, GW_STR_ARG(text));
        if (gw_port_read(text, &port))
            gw_report_hint(r->report, "write 0.0.0.0:%.*s", GW_STR_ARG(text));
        return false;
    } else if (!gw_address_of(host, (uint16_t)port, &listener->address, &listener->address_len)) {
        (void)gw_fault(r, node, "\"%.*s\" is no address", GW_STR_ARG(host));
        gw_report_hint(r->report, "names are not resolved here: write 127.0.0.1, 0.0.0.0 or [::]");
        return false;
    }
    listener->address_text = gw_image_add_str(r->image, text);
    return true;
}

static void schema_address(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"string\"");
}

static const struct gw_type type_address = {
    .form = "an address such as 0.0.0.0:8080, \"[::1]:8080\", unix:/path",
    .read = read_address,
    .schema = schema_address};

#define FIELD(name) .offset = offsetof(struct gw_conf_listener, name)

static const struct gw_row rows[] = {
    {.key = "name",
     .type = &gw_type_string,
     FIELD(name),
     .doc = "For match: listen and for messages. Default: the address."},
    {.key = "address",
     .type = &type_address,
     .offset = 0,
     .flags = GW_ROW_REQUIRED,
     .doc = "Address and port, or unix: and a path (relative to this file). Port 0: any free one."},
    {.key = "backlog",
     .type = &gw_type_int,
     FIELD(backlog),
     .otherwise = "4096",
     .min = 1,
     .max = GW_BACKLOG_MAX,
     .doc = "Connections that may wait to be accepted."},
    {.key = "proxy_protocol",
     .type = &gw_type_bool,
     FIELD(proxy_protocol),
     .otherwise = "false",
     .doc = "Each connection begins with a PROXY header, version 1 or 2. Without it: closed."},
    {.key = "http2",
     .type = &gw_type_bool,
     FIELD(http2),
     .otherwise = "false",
     .doc =
         "HTTP/2 is spoken, too: over TLS by ALPN, in the clear with clients that begin with it."},
    {.key = "tls",
     .type = &gw_type_listener_tls,
     FIELD(tls),
     .detail = &gw_section_tls,
     .doc = "TLS with these certificates. Without it: plain HTTP."},
    {.key = "redirect_https",
     .type = &gw_type_int,
     FIELD(redirect_https),
     .otherwise = "0",
     .min = 0,
     .max = 65535,
     .doc = "Answers each request with a redirect (308) to https:// and this port. 0: serves it."},
    {.key = "limits",
     .type = &gw_type_limits,
     FIELD(limits),
     .flags = GW_ROW_LISTENER,
     .doc = "Wins over the limits of the gateway."},
};

const struct gw_section gw_section_listener = GW_SECTION("listener", rows);

static uint16_t port_of(const struct gw_conf_listener *l)
{
    if (l->address.ss_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)&l->address)->sin_port;
    if (l->address.ss_family == AF_INET6)
        return ((const struct sockaddr_in6 *)(const void *)&l->address)->sin6_port;
    return 1; /* a unix socket: its path is its own */
}

static void check_unique(struct gw_reader *r, const struct gw_node *node,
                         const struct gw_conf_listener *all, uint32_t count,
                         const struct gw_conf_listener *l)
{
    struct gw_str name = gw_str(gw_image_at(r->image, l->name.off), l->name.len);

    for (uint32_t i = 0; i < count && l->address_len > 0 && port_of(l) != 0; i++) {
        if (all[i].address_len != l->address_len ||
            memcmp(&all[i].address, &l->address, l->address_len) != 0)
            continue;
        (void)gw_fault(r, node, "the address \"%.*s\" is that of the listener in line %u too",
                       (int)l->address_text.len,
                       (const char *)gw_image_at(r->image, l->address_text.off), all[i].where.line);
        return;
    }
    /* The image may move: the name that is kept is a copy. */
    if (!gw_names_add(&r->listeners, gw_arena_dup(r->arena, name), count, NULL))
        (void)gw_fault(r, node, "there are two listeners of the name \"%.*s\"", GW_STR_ARG(name));
}

static void read_one(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                     struct gw_conf_listener *l)
{
    memset(l, 0, sizeof(*l));
    gw_section_defaults(r, &gw_section_listener, l);
    l->limits = r->conf.limits;
    l->limits.given = 0;
    l->where = node->where;
    if (node->kind == GW_NODE_SCALAR)
        (void)read_address(r, &rows[1], node, l);
    else
        (void)gw_section_read(r, &gw_section_listener, node, l, 0);
    if (l->name.off == 0)
        l->name = l->address_text;
}

static bool read_listeners(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                           void *field)
{
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    uint32_t count = gw_items_count(node), i = 0;
    uint32_t before = r->report->faults_count;
    struct gw_conf_listener *all;
    uint32_t off;

    if (count == 0)
        return gw_fault(r, node, "at least one listener is needed");
    if (count > LISTENERS_MAX)
        return gw_fault(r, node, "more than %d listeners", LISTENERS_MAX);
    all = gw_arena_zalloc(r->arena, count * sizeof(*all));
    GW_ITEMS_EACH(item, node)
    {
        gw_item_enter(r, &step, node, item);
        read_one(r, row, item, &all[i]);
        if (all[i].address_len > 0)
            check_unique(r, item, all, i, &all[i]);
        i++;
        gw_item_leave(r, &step);
    }
    off = gw_image_alloc(r->image, count * sizeof(*all));
    memcpy(gw_image_at(r->image, off), all, count * sizeof(*all));
    *(struct gw_ref *)field = (struct gw_ref){off, count};
    return r->report->faults_count == before;
}

static void schema_listeners(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"type\":\"string\"},{");
    gw_section_schema(&gw_section_listener, 0, out);
    gw_buf_printf(out, "},{\"type\":\"array\",\"minItems\":1,\"items\":{\"anyOf\":["
                       "{\"type\":\"string\"},{");
    gw_section_schema(&gw_section_listener, 0, out);
    gw_buf_printf(out, "}]}}]");
}

const struct gw_type gw_type_listeners = {.form = "a list of addresses or listeners",
                                          .read = read_listeners,
                                          .schema = schema_listeners,
                                          .inside = "[].",
                                          .list = true};
