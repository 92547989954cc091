/* What the client sent, made plain: one host, one path, and no field that it has no right
 * to. After this, rules and upstream see the same request. */
#include <stdio.h>

#include "base/cidr.h"
#include "http/uri.h"
#include "proxy/exchange_private.h"

static bool trusted(const struct gw_conf *conf, const uint8_t address[16])
{
    const struct gw_cidr *rows = GW_ITEMS(conf, conf->trusted, struct gw_cidr);

    for (uint32_t i = 0; i < conf->trusted.len; i++)
        if (gw_cidr_contains(rows[i].address, rows[i].bits, address))
            return true;
    return false;
}

static struct gw_str address_text(struct gw_arena *arena, const uint8_t address[16])
{
    char *text = gw_arena_alloc(arena, GW_IP_TEXT_BYTES);

    return gw_str(text, gw_ip_format(address, text));
}

bool request_peer(struct exchange *ex)
{
    struct gw_client_conn *conn = ex->conn;

    memcpy(ex->pub.client_address, conn->address, 16);
    ex->pub.peer_ip =
        conn->unix_peer ? GW_STR("unix") : address_text(&ex->pub.arena, conn->address);
    ex->pub.client_ip = ex->pub.peer_ip;
    tls_facts(ex);
    ex->pub.request.scheme = ex->pub.tls != NULL ? GW_STR("https") : GW_STR("http");
    ex->pub.client_port = conn->port;
    return trusted(ex->pub.generation->conf, conn->address);
}

/* X-Forwarded-For from the right: the first that is no trusted proxy is the client. */
static void client_behind_proxies(struct exchange *ex)
{
    const struct gw_conf *conf = ex->pub.generation->conf;
    struct gw_str list;
    uint8_t address[16];

    if (!gw_fields_get(&ex->pub.request.fields, gw_field_name(GW_FIELD_X_FORWARDED_FOR), &list))
        return;
    while (list.len > 0) {
        struct gw_str item;
        size_t from = list.len;
        while (from > 0 && list.data[from - 1] != ',')
            from--;
        item = gw_str(list.data + from, list.len - from);
        list.len = from > 0 ? from - 1 : 0;
        while (item.len > 0 && (item.data[0] == ' ' || item.data[0] == '\t'))
            item = gw_str(item.data + 1, item.len - 1);
        while (item.len > 0 && (item.data[item.len - 1] == ' ' || item.data[item.len - 1] == '\t'))
            item.len--;
        if (gw_ip_parse(item, address) != GW_OK)
            return;
        memcpy(ex->pub.client_address, address, 16);
        ex->pub.client_ip = address_text(&ex->pub.arena, address);
        ex->pub.client_port = 0;
        if (!trusted(conf, address))
            return;
    }
}

#define BIT(id) (1ULL << (id))
#define FORWARDED_FIELDS                                                                           \
    (BIT(GW_FIELD_FORWARDED) | BIT(GW_FIELD_X_FORWARDED_FOR) | BIT(GW_FIELD_X_FORWARDED_PROTO) |   \
     BIT(GW_FIELD_X_FORWARDED_HOST) | BIT(GW_FIELD_X_FORWARDED_PORT) | BIT(GW_FIELD_X_REAL_IP))

/* Names with "_" look like other names to programs behind us (CGI); untrusted peers may not
 * say who they are; nobody may claim what a plugin vouches for. */
static void strip_fields(struct exchange *ex, bool from_trusted)
{
    const struct gw_conf *conf = ex->pub.generation->conf;
    struct gw_fields *fields = &ex->pub.request.fields;
    const struct gw_ref *identity = GW_ITEMS(conf, conf->identity_headers, struct gw_ref);
    const struct gw_ref *of_tls = GW_ITEMS(conf, conf->identity_fields, struct gw_ref);

    for (uint32_t i = 0; i < fields->count; i++) {
        struct gw_field *field = &fields->items[i];
        if (field->id != GW_FIELD_UNKNOWN) {
            if (!from_trusted && (FORWARDED_FIELDS >> field->id & 1) != 0)
                field->dropped = true;
        } else if (!conf->underscores_in_headers &&
                   memchr(field->name.data, '_', field->name.len) != NULL) {
            field->dropped = true;
        }
    }
    for (uint32_t i = 0; i < conf->identity_headers.len; i++)
        (void)gw_fields_remove(fields, gw_ref_str(conf, identity[i]));
    for (uint32_t i = 0; i < conf->identity_fields.len; i++)
        (void)gw_fields_remove(fields, gw_ref_str(conf, of_tls[i]));
}

/* Via: 1.1 name, 1.0 other (comment) … is our name among them? */
static bool loops(struct exchange *ex)
{
    const struct gw_conf *conf = ex->pub.generation->conf;
    struct gw_str own = gw_ref_str(conf, conf->via), list;
    size_t at = 0;

    if (own.len == 0 || !gw_fields_get(&ex->pub.request.fields, gw_field_name(GW_FIELD_VIA), &list))
        return false;
    for (; at + own.len <= list.len; at++) {
        bool starts = at > 0 && (list.data[at - 1] == ' ' || list.data[at - 1] == '\t');
        size_t end = at + own.len;
        if (starts && memcmp(list.data + at, own.data, own.len) == 0 &&
            (end == list.len || list.data[end] == ',' || list.data[end] == ' '))
            return true;
    }
    return false;
}

static void note_upgrade(struct exchange *ex)
{
    struct gw_field *field = gw_fields_known(&ex->pub.request.fields, GW_FIELD_UPGRADE);

    if (!ex->incoming.head.upgrade || field == NULL || ex->pub.request.has_body)
        return;
    ex->upgrade = field->value;
    ex->upgrade_wanted = true;
}

/* The head's reader has judged authority and host already. */
static uint16_t target_parts(struct exchange *ex, const char **why)
{
    struct gw_request *request = &ex->pub.request;
    struct gw_target_parts parts;

    *why = "bad request target";
    if (gw_uri_split_target(request->target, &parts) != GW_OK)
        return 400;
    request->query = parts.query;
    if (request->port == 0)
        request->port = ex->pub.tls != NULL ? 443 : 80;
    if (parts.form == GW_TARGET_ASTERISK) {
        request->path = GW_STR("*");
        return 0;
    }
    *why = "bad path";
    return gw_uri_normalize_path(&ex->pub.arena, parts.path, &request->path) == GW_OK ? 0 : 400;
}

uint16_t request_prepare(struct exchange *ex, const char **why)
{
    bool from_trusted = request_peer(ex);
    uint16_t status = target_parts(ex, why);

    if (status != 0)
        return status;
    if (tls_misdirected(ex)) {
        *why = "this name wants another connection: what it asks of clients was not asked";
        return 421;
    }
    note_upgrade(ex);
    gw_head_drop_hop_by_hop(&ex->pub.request.fields);
    gw_fields_remove_known(&ex->pub.request.fields, GW_FIELD_EXPECT);
    strip_fields(ex, from_trusted);
    if (from_trusted)
        client_behind_proxies(ex);
    if (loops(ex)) {
        *why = "the request has passed this gateway before (Via)";
        return 508;
    }
    return grpc_deadline(ex, why);
}

/* ---- what we add ---- */

/* Joins slices: printf would be a fifth of a request's work here. */
static struct gw_str join(struct gw_arena *arena, const struct gw_str *parts, unsigned count)
{
    size_t len = 0;
    char *text, *to;

    for (unsigned i = 0; i < count; i++)
        len += parts[i].len;
    text = to = gw_arena_alloc(arena, len);
    for (unsigned i = 0; i < count; i++) {
        memcpy(to, parts[i].data, parts[i].len);
        to += parts[i].len;
    }
    return gw_str(text, len);
}

static void extend(struct exchange *ex, enum gw_field_id id, struct gw_str value)
{
    struct gw_fields *fields = &ex->pub.request.fields;
    struct gw_field *first = gw_fields_known(fields, id);
    struct gw_str before;

    if (first == NULL) {
        (void)gw_fields_add_known(fields, id, value);
        return;
    }
    if (gw_fields_get(fields, gw_field_name(id), &before) && before.len > 0) {
        struct gw_str parts[] = {before, GW_STR(", "), value};
        value = join(&ex->pub.arena, parts, 3);
    }
    gw_fields_set(fields, gw_field_name(id), value);
}

static void keep_or_set(struct exchange *ex, enum gw_field_id id, struct gw_str value)
{
    if (gw_fields_known(&ex->pub.request.fields, id) == NULL)
        (void)gw_fields_add_known(&ex->pub.request.fields, id, value);
}

static void forwarded_element(struct exchange *ex)
{
    struct gw_str ip = ex->pub.peer_ip, host = ex->pub.request.authority;
    bool v6 = memchr(ip.data, ':', ip.len) != NULL;
    struct gw_str quote = memchr(host.data, ':', host.len) != NULL ? GW_STR("\"") : GW_STR("");
    struct gw_str parts[] = {v6 ? GW_STR("for=\"[") : GW_STR("for="),
                             ip,
                             v6 ? GW_STR("]\";host=") : GW_STR(";host="),
                             quote,
                             host,
                             quote,
                             GW_STR(";proto="),
                             ex->pub.request.scheme};

    extend(ex, GW_FIELD_FORWARDED, join(&ex->pub.arena, parts, 8));
}

static struct gw_str port_text(struct exchange *ex)
{
    unsigned port = ex->pub.request.port;
    char *text, *at;

    if (port == 80)
        return GW_STR("80");
    if (port == 443)
        return GW_STR("443");
    text = gw_arena_alloc(&ex->pub.arena, 8);
    at = text + 8;
    do
        *--at = (char)('0' + port % 10);
    while ((port /= 10) > 0);
    return gw_str(at, (size_t)(text + 8 - at));
}

/* Once for an exchange, however many tries it takes. Peers that we trust have told the
 * client's scheme and host already. */
void request_forwarding(struct exchange *ex)
{
    const struct gw_conf *conf = ex->pub.generation->conf;
    struct gw_str via = gw_ref_str(conf, conf->via);

    if (ex->forwarded)
        return;
    ex->forwarded = true;
    if (via.len > 0) {
        struct gw_str version = ex->pub.request.major == 2   ? GW_STR("2 ")
                                : ex->pub.request.minor == 1 ? GW_STR("1.1 ")
                                                             : GW_STR("1.0 ");
        struct gw_str parts[] = {version, via};
        extend(ex, GW_FIELD_VIA, join(&ex->pub.arena, parts, 2));
    }
    if (conf->x_forwarded) {
        extend(ex, GW_FIELD_X_FORWARDED_FOR, ex->pub.peer_ip);
        keep_or_set(ex, GW_FIELD_X_FORWARDED_PROTO, ex->pub.request.scheme);
        if (ex->pub.request.authority.len > 0)
            keep_or_set(ex, GW_FIELD_X_FORWARDED_HOST, ex->pub.request.authority);
        keep_or_set(ex, GW_FIELD_X_FORWARDED_PORT, port_text(ex));
    }
    tls_forward(ex);
    if (conf->forwarded && ex->pub.request.authority.len > 0)
        forwarded_element(ex);
}

static struct gw_str param(const struct exchange *ex, struct gw_str name)
{
    for (uint32_t i = 0; i < ex->pub.params; i++)
        if (gw_str_eq(ex->pub.param_names[i], name))
            return ex->pub.param_values[i];
    return GW_STR("");
}

static bool name_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_';
}

/* ":id" and "$1" are a parameter, "*" is the rest; all else stands for itself. */
static void expand(const struct exchange *ex, struct gw_str pattern, struct gw_buf *out)
{
    for (size_t i = 0; i < pattern.len;) {
        char byte = pattern.data[i];
        size_t end = i + 1;
        if (byte == '*') {
            gw_buf_add_str(out, param(ex, GW_STR("*")));
            i++;
            continue;
        }
        while ((byte == ':' || byte == '$') && end < pattern.len && name_byte(pattern.data[end]))
            end++;
        if (end > i + 1)
            gw_buf_add_str(out, param(ex, gw_str(pattern.data + i + 1, end - i - 1)));
        else
            gw_buf_add(out, &byte, 1);
        i = end;
    }
}

uint16_t request_upstream_path(struct exchange *ex)
{
    const struct gw_conf *conf = ex->pub.generation->conf;
    const struct gw_conf_route *route = ex->pub.route;
    struct gw_str path = ex->pub.request.path, strip = gw_ref_str(conf, route->strip);

    if (strip.len > 0 && gw_str_starts(path, strip) &&
        (path.len == strip.len || path.data[strip.len] == '/' ||
         strip.data[strip.len - 1] == '/')) {
        path = gw_str(path.data + strip.len, path.len - strip.len);
        if (strip.data[strip.len - 1] == '/')
            path = gw_str(path.data - 1, path.len + 1);
        if (path.len == 0)
            path = GW_STR("/");
    }
    if (route->rewrite.len > 0) {
        struct gw_buf text = GW_BUF_INIT;
        enum gw_rc rc;
        expand(ex, gw_ref_str(conf, route->rewrite), &text);
        path = gw_arena_dup(&ex->pub.arena, gw_buf_str(&text));
        gw_buf_fini(&text);
        rc = gw_uri_normalize_path(&ex->pub.arena, path, &path);
        if (rc != GW_OK || path.len == 0 || path.data[0] != '/')
            return 400;
    }
    ex->upstream_path = path;
    return 0;
}
