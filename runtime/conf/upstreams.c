/* upstreams: — and the URLs in routes that make upstreams of their own. */
#include <ctype.h>
#include <string.h>

#include "base/hash.h"
#include "conf/address.h"
#include "conf/rows.h"

#define TARGETS_MAX 1000
#define DEFAULT_PORT 80
#define DEFAULT_PORT_TLS 443
#define DAY ((int64_t)86400 * 1000)

/* ---- targets ---- */

static bool name_ok(struct gw_str host)
{
    for (size_t i = 0; i < host.len; i++)
        if (!isalnum((unsigned char)host.data[i]) && strchr("-_.", host.data[i]) == NULL)
            return false;
    return host.len > 0 && host.len <= 253 && host.data[0] != '.' && host.data[0] != '-';
}

/* Fills host, port, text and, for a literal, the address. False: no such form. */
static bool target_of(struct gw_reader *r, struct gw_str text, struct gw_conf_target *target)
{
    struct gw_str host = text;
    uint32_t port = r->target_port;

    if (!gw_address_split(text, &host, &port)) {
        host = text;
        port = r->target_port;
        /* With a colon it was meant to have a port, unless it is "[::1]". */
        if (text.len == 0 ||
            (memchr(text.data, ':', text.len) != NULL && text.data[text.len - 1] != ']'))
            return false;
    }
    if (port == 0)
        return false;
    target->is_literal =
        gw_address_of(host, (uint16_t)port, &target->address, &target->address_len);
    if (!target->is_literal && !name_ok(host))
        return false;
    target->port = (uint16_t)port;
    target->host = gw_image_add_str(r->image, host.data[0] == '[' && target->is_literal
                                                  ? gw_str(host.data + 1, host.len - 2)
                                                  : host);
    target->text =
        gw_image_add_str(r->image, gw_arena_printf(r->arena, "%.*s:%u", GW_STR_ARG(host), port));
    return true;
}

static bool read_target_address(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                                void *field)
{
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (target_of(r, text, field))
        return true;
    (void)gw_fault(r, node, "must be %s, not \"%.*s\"", row->type->form, GW_STR_ARG(text));
    if (memmem(text.data, text.len, "://", 3) != NULL)
        gw_report_hint(r->report, "write host and port only");
    else if (memchr(text.data, ':', text.len) != memrchr(text.data, ':', text.len))
        gw_report_hint(r->report, "an IPv6 address stands in brackets: \"[::1]:8080\"");
    return false;
}

static void schema_string(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"string\"");
}

static const struct gw_type type_target_address = {
    .form = "host:port such as 127.0.0.1:9001, api.internal:80",
    .read = read_target_address,
    .schema = schema_string};

static const struct gw_row target_rows[] = {
    {.key = "address",
     .type = &type_target_address,
     .offset = 0,
     .flags = GW_ROW_REQUIRED,
     .doc = "Host and port; without a port: 80, with tls: 443. A name is resolved again as its TTL "
            "says."},
    {.key = "weight",
     .type = &gw_type_int,
     .offset = offsetof(struct gw_conf_target, weight),
     .otherwise = "1",
     .min = 1,
     .max = 65535,
     .doc = "Its share of the requests."},
};

static const struct gw_section section_target = GW_SECTION("target", target_rows);

static bool read_targets(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    struct gw_names seen = GW_NAMES_INIT;
    uint32_t count = gw_items_count(node), i = 0;
    uint32_t before = r->report->faults_count;
    uint32_t off;

    if (count == 0)
        return gw_fault(r, node, "at least one target is needed");
    if (count > TARGETS_MAX)
        return gw_fault(r, node, "more than %d targets", TARGETS_MAX);
    off = gw_image_alloc(r->image, count * sizeof(struct gw_conf_target));
    GW_ITEMS_EACH(item, node)
    {
        struct gw_conf_target target = {.weight = 1};
        struct gw_str text;

        gw_item_enter(r, &step, node, item);
        if (item->kind == GW_NODE_SCALAR)
            (void)read_target_address(r, &target_rows[0], item, &target);
        else
            (void)gw_section_read(r, &section_target, item, &target, 0);
        text = gw_str(gw_image_at(r->image, target.text.off), target.text.len);
        if (target.text.len > 0 && !gw_names_add(&seen, gw_arena_dup(r->arena, text), 0, NULL)) {
            (void)gw_fault(r, item, "\"%.*s\" is given twice", GW_STR_ARG(text));
            gw_report_hint(r->report, "give it a weight instead");
        }
        ((struct gw_conf_target *)gw_image_at(r->image, off))[i++] = target;
        gw_item_leave(r, &step);
    }
    gw_names_fini(&seen);
    *(struct gw_ref *)field = (struct gw_ref){off, count};
    return r->report->faults_count == before;
}

static void schema_targets(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"minItems\":1,"
                       "\"items\":{\"anyOf\":[{\"type\":\"string\"},{");
    gw_section_schema(&section_target, 0, out);
    gw_buf_printf(out, "}]}}]");
}

static const struct gw_type type_targets = {.form = "a list of targets",
                                            .read = read_targets,
                                            .schema = schema_targets,
                                            .inside = "[].",
                                            .list = true};

/* ---- upstreams ---- */

static const char *const balances[] = {"round_robin", NULL};

#define FIELD(name) .offset = offsetof(struct gw_conf_upstream, name)

static const struct gw_row rows[] = {
    {.key = "targets",
     .type = &type_targets,
     FIELD(targets),
     .flags = GW_ROW_REQUIRED,
     .detail = &section_target,
     .doc = "The servers: host:port, or a map with its weight."},
    {.key = "balance",
     .type = &gw_type_enum,
     FIELD(balance),
     .otherwise = "round_robin",
     .detail = balances,
     .doc = "Who is next: round_robin, by weight."},
    {.key = "connect_timeout",
     .type = &gw_type_duration,
     FIELD(connect_timeout_ms),
     .otherwise = "5s",
     .min = 1,
     .max = DAY,
     .doc = "To make a connection. After: the next try, then 504."},
    {.key = "send_timeout",
     .type = &gw_type_duration,
     FIELD(send_timeout_ms),
     .otherwise = "30s",
     .min = 1,
     .max = DAY,
     .doc = "The server takes nothing of the request. After: 504."},
    {.key = "read_timeout",
     .type = &gw_type_duration,
     FIELD(read_timeout_ms),
     .otherwise = "60s",
     .min = 1,
     .max = DAY,
     .doc = "Until the head of the answer, and between two pieces of its body. After: 504, or the "
            "answer is cut."},
    {.key = "try_timeout",
     .type = &gw_type_duration,
     FIELD(try_timeout_ms),
     .otherwise = "0",
     .min = 0,
     .max = DAY,
     .doc = "One try, until the head of its answer. After: the next try, then 504. 0: no limit."},
    {.key = "http2",
     .type = &gw_type_bool,
     FIELD(http2),
     .otherwise = "false",
     .doc = "It speaks HTTP/2: with tls by ALPN, in the clear without being asked. Upgrades still "
            "go by "
            "HTTP/1.1."},
    {.key = "idle_conns_max",
     .type = &gw_type_int,
     FIELD(idle_conns_max),
     .otherwise = "512",
     .min = 0,
     .max = 1000000,
     .doc = "Idle connections kept for each target and worker. Above: closed. 0: none is kept."},
    {.key = "idle_timeout",
     .type = &gw_type_duration,
     FIELD(idle_timeout_ms),
     .otherwise = "60s",
     .min = 1,
     .max = DAY,
     .doc = "An idle connection is closed after."},
    {.key = "requests_max",
     .type = &gw_type_int,
     FIELD(requests_max),
     .otherwise = "0",
     .min = 0,
     .max = UINT32_MAX,
     .doc = "Requests of one connection; it is closed then. 0: no limit."},
    {.key = "tls",
     .type = &gw_type_upstream_tls,
     FIELD(tls),
     .detail = &gw_section_upstream_tls,
     .doc = "TLS to the targets; empty is enough (tls: {}). Without it: plain HTTP."},
};

const struct gw_section gw_section_upstream = GW_SECTION("upstream", rows);

bool gw_upstream_add(struct gw_reader *r, struct gw_str name,
                     const struct gw_conf_upstream *upstream)
{
    if (!gw_names_add(&r->upstream_names, name, r->upstreams_count, NULL))
        return false;
    if (r->upstreams_count == r->upstreams_size) {
        uint32_t size = r->upstreams_size == 0 ? 64 : r->upstreams_size * 2;
        struct gw_conf_upstream *larger = gw_arena_alloc(r->arena, size * sizeof(*larger));

        if (r->upstreams_count > 0)
            memcpy(larger, r->upstreams, r->upstreams_count * sizeof(*larger));
        r->upstreams = larger;
        r->upstreams_size = size;
    }
    r->upstreams[r->upstreams_count++] = *upstream;
    return true;
}

static bool read_upstreams(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                           void *field)
{
    struct gw_conf_upstream defaults = {0};

    if (gw_node_is_null(node))
        return true;
    if (node->kind != GW_NODE_MAP)
        return gw_fault_form(r, row, node);
    if (node->count > GW_UPSTREAMS_MAX)
        return gw_fault(r, node, "more than %d upstreams", GW_UPSTREAMS_MAX);
    gw_section_defaults(r, &gw_section_upstream, &defaults);
    for (struct gw_node *n = node->members.first; n != NULL; n = n->next) {
        struct gw_conf_upstream upstream = defaults;
        struct gw_path step;

        gw_enter(r, &step, n, 0);
        upstream.where = gw_node_key_where(n);
        upstream.name = gw_image_add_str(r->image, n->key);
        upstream.hash = gw_node_hash(n, 0);
        r->target_port = gw_node_get_c(n, "tls") != NULL ? DEFAULT_PORT_TLS : DEFAULT_PORT;
        if (memmem(n->key.data, n->key.len, "://", 3) != NULL)
            (void)gw_fault(r, n, "a name of an upstream cannot look like a URL");
        else if (n->kind != GW_NODE_MAP)
            (void)gw_fault(r, n, "must be a map with targets:, not %s", gw_node_what(n));
        else
            (void)gw_section_read(r, &gw_section_upstream, n, &upstream, 0);
        (void)gw_upstream_add(r, n->key, &upstream);
        gw_leave(r);
    }
    r->conf.upstreams_named = r->upstreams_count;
    return true;
}

static void schema_upstreams(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"object\",\"additionalProperties\":{");
    gw_section_schema(&gw_section_upstream, 0, out);
    gw_buf_printf(out, "}");
}

const struct gw_type gw_type_upstreams = {.form = "a map of names to upstreams",
                                          .read = read_upstreams,
                                          .schema = schema_upstreams,
                                          .inside = ".NAME."};

/* ---- in a route: a name or a URL ---- */

static bool from_url(struct gw_reader *r, const struct gw_node *node, struct gw_str url,
                     uint32_t *index)
{
    struct gw_conf_upstream upstream = {0};
    struct gw_conf_target target = {.weight = 1};
    struct gw_str rest;
    bool tls = gw_str_starts(url, GW_STR("https://"));
    size_t scheme = tls ? 8 : 7;
    uint32_t off;

    if (!tls && !gw_str_starts(url, GW_STR("http://")))
        return gw_fault(r, node,
                        "only http:// or https:// can be the scheme of an upstream, not \"%.*s\"",
                        GW_STR_ARG(url));
    rest = gw_str(url.data + scheme, url.len - scheme);
    if (rest.len > 0 && rest.data[rest.len - 1] == '/')
        rest.len--;
    if (memchr(rest.data, '/', rest.len) != NULL || memchr(rest.data, '?', rest.len) != NULL) {
        (void)gw_fault(r, node, "the URL of an upstream has no path");
        gw_report_hint(r->report, "change paths with strip: or rewrite: of the route");
        return false;
    }
    url.len = scheme + rest.len;
    if (gw_names_get(&r->upstream_names, url, index))
        return true;
    r->target_port = tls ? DEFAULT_PORT_TLS : DEFAULT_PORT;
    if (!target_of(r, rest, &target))
        return gw_fault(r, node, "\"%.*s\" is no URL such as http://127.0.0.1:9001",
                        GW_STR_ARG(url));
    gw_section_defaults(r, &gw_section_upstream, &upstream);
    off = gw_image_alloc(r->image, sizeof(target));
    memcpy(gw_image_at(r->image, off), &target, sizeof(target));
    upstream.targets = (struct gw_ref){off, 1};
    upstream.name = gw_image_add_str(r->image, url);
    upstream.where = node->where;
    upstream.hash = gw_hash(url.data, url.len, GW_IMAGE_MAGIC);
    if (tls)
        upstream.tls =
            gw_upstream_tls_add(r, (struct gw_conf_upstream_tls){.verify = 1}); /* as by default */
    *index = r->upstreams_count;
    return gw_upstream_add(r, url, &upstream);
}

static bool read_upstream(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                          void *field)
{
    struct gw_suggest suggest;
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (gw_names_get(&r->upstream_names, text, field))
        return true;
    if (memmem(text.data, text.len, "://", 3) != NULL)
        return from_url(r, node, text, field);
    (void)gw_fault(r, node, "there is no upstream \"%.*s\"", GW_STR_ARG(text));
    gw_suggest_begin(&suggest, text);
    for (uint32_t i = 0; i < r->upstreams_count && r->report->last_kept; i++)
        gw_suggest_offer(&suggest, gw_str(gw_image_at(r->image, r->upstreams[i].name.off),
                                          r->upstreams[i].name.len));
    if (suggest.best.data != NULL)
        gw_report_hint(r->report, "did you mean \"%.*s\"?", GW_STR_ARG(suggest.best));
    else if (memchr(text.data, ':', text.len) != NULL)
        gw_report_hint(r->report, "a URL begins with http:// or https://");
    return false;
}

const struct gw_type gw_type_upstream = {
    .form = "the name of an upstream, or a URL", .read = read_upstream, .schema = schema_string};

void gw_upstreams_finish(struct gw_reader *r)
{
    uint32_t off = gw_image_alloc(r->image, r->upstreams_count * sizeof(*r->upstreams));

    if (r->upstreams_count > 0)
        memcpy(gw_image_at(r->image, off), r->upstreams,
               r->upstreams_count * sizeof(*r->upstreams));
    r->conf.upstreams = (struct gw_ref){off, r->upstreams_count};
    r->conf.upstreams_room = r->upstreams_count;
}
