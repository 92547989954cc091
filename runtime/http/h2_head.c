/* Fields as they come out of HPACK, judged by RFC 9113 8.2 and 8.3 and written down as the lines
 * of an HTTP/1.1 head, which the reader of those heads then judges like any other. No byte that
 * ends a line gets into one. */
#include "base/limits.h"
#include "http/h2_private.h"
#include "http/ws.h"

void h2_head_begin(struct gw_h2_conn *c)
{
    struct gw_h2_head *head = &c->head;

    gw_buf_clear(&head->lines);
    gw_buf_clear(&head->cookie);
    gw_buf_clear(&head->pseudo);
    gw_buf_clear(&head->host);
    head->method = head->scheme = head->authority = (struct gw_h2_pseudo){0, 0, false};
    head->path = head->protocol = head->status = (struct gw_h2_pseudo){0, 0, false};
    head->has_host = head->too_large = false;
    head->malformed = NULL;
    head->decoded = 0;
    head->count = 0;
}

void h2_head_free(struct gw_h2_conn *c)
{
    gw_buf_fini(&c->head.lines);
    gw_buf_fini(&c->head.cookie);
    gw_buf_fini(&c->head.pseudo);
    gw_buf_fini(&c->head.host);
}

static struct gw_str text_of(const struct gw_buf *buf)
{
    return gw_buf_len(buf) > 0 ? gw_buf_str(buf) : GW_STR("");
}

struct gw_str h2_pseudo(const struct gw_h2_conn *c, const struct gw_h2_pseudo *which)
{
    return which->given ? gw_str(c->head.pseudo.data + which->at, which->len) : GW_STR_NULL;
}

static struct gw_h2_pseudo *pseudo_of(struct gw_h2_head *head, struct gw_str name, bool request)
{
    if (!request)
        return gw_str_eq(name, GW_STR(":status")) ? &head->status : NULL;
    if (gw_str_eq(name, GW_STR(":method")))
        return &head->method;
    if (gw_str_eq(name, GW_STR(":path")))
        return &head->path;
    if (gw_str_eq(name, GW_STR(":authority")))
        return &head->authority;
    if (gw_str_eq(name, GW_STR(":scheme")))
        return &head->scheme;
    return gw_str_eq(name, GW_STR(":protocol")) ? &head->protocol : NULL;
}

static void take_pseudo(struct gw_h2_conn *c, struct gw_str name, struct gw_str value,
                        bool trailers)
{
    struct gw_h2_head *head = &c->head;
    struct gw_h2_pseudo *which = pseudo_of(head, name, c->is_server);

    if (trailers || which == NULL)
        head->malformed = "unknown pseudo-field";
    else if (which->given)
        head->malformed = "pseudo-field twice";
    else if (head->count > 0)
        head->malformed = "pseudo-field behind another field";
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] <= ' ' || value.data[i] >= 0x7f)
            head->malformed = "bad byte in a pseudo-field";
    if (head->malformed != NULL)
        return;
    *which = (struct gw_h2_pseudo){head->pseudo.to, (uint32_t)value.len, true};
    gw_buf_add_str(&head->pseudo, value);
}

/* RFC 9113 8.2.1: lower case, no space around a value. */
static const char *field_fault(struct gw_str name, struct gw_str value)
{
    if (!gw_field_name_valid(name))
        return "bad header name";
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] >= 'A' && name.data[i] <= 'Z')
            return "header name in upper case";
    if (!gw_field_value_valid(value))
        return "control character in a header value";
    if (value.len > 0 && (value.data[0] == ' ' || value.data[0] == '\t' ||
                          value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t'))
        return "space around a header value";
    return NULL;
}

static void add_line(struct gw_h2_head *head, struct gw_str name, struct gw_str value)
{
    char *to = gw_buf_reserve(&head->lines, name.len + value.len + 4);

    memcpy(to, name.data, name.len);
    memcpy(to + name.len, ": ", 2);
    if (value.len > 0)
        memcpy(to + name.len + 2, value.data, value.len);
    memcpy(to + name.len + 2 + value.len, "\r\n", 2);
    gw_buf_added(&head->lines, name.len + value.len + 4);
}

static void take_field(struct gw_h2_conn *c, struct gw_str name, struct gw_str value)
{
    struct gw_h2_head *head = &c->head;

    switch (gw_field_id_of(name)) {
    case GW_FIELD_CONNECTION:
    case GW_FIELD_KEEP_ALIVE:
    case GW_FIELD_PROXY_CONNECTION:
    case GW_FIELD_TRANSFER_ENCODING:
    case GW_FIELD_UPGRADE:
        head->malformed = "field of HTTP/1 connections";
        return;
    case GW_FIELD_TE:
        if (!gw_str_eq_nocase(value, GW_STR("trailers"))) {
            head->malformed = "TE is not trailers";
            return;
        }
        break;
    case GW_FIELD_HOST:
        if (head->has_host)
            head->malformed = "several Host";
        head->has_host = true;
        gw_buf_add_str(&head->host, value);
        if (c->is_server)
            return; /* it becomes a line when it was compared with :authority */
        break;
    default:
        break;
    }
    if (head->protocol.given && gw_str_eq(name, GW_STR("sec-websocket-key")))
        return;
    if (gw_str_eq(name, GW_STR("cookie"))) {
        if (gw_buf_len(&head->cookie) > 0)
            gw_buf_add(&head->cookie, "; ", 2);
        gw_buf_add_str(&head->cookie, value);
        return;
    }
    add_line(head, name, value);
}

bool h2_head_field(struct gw_h2_conn *c, struct gw_str name, struct gw_str value, bool trailers)
{
    struct gw_h2_head *head = &c->head;
    const struct gw_head_limits *limits = c->limits;

    head->decoded += name.len + value.len + 32;
    if (head->decoded >
        (uint64_t)GW_H2_HEAD_FACTOR_MAX * limits->header_bytes_max + limits->uri_bytes_max) {
        h2_stop(c, GW_H2_ENHANCE_YOUR_CALM, "a head without end");
        return false;
    }
    if (head->malformed != NULL || head->too_large)
        return true;
    if (name.len > 0 && name.data[0] == ':') {
        take_pseudo(c, name, value, trailers);
        return true;
    }
    head->count++;
    head->malformed = field_fault(name, value);
    if (head->count > limits->header_count_max ||
        gw_buf_len(&head->lines) + gw_buf_len(&head->cookie) + name.len + value.len + 4 >
            limits->header_bytes_max)
        head->too_large = true;
    else if (head->malformed == NULL)
        take_field(c, name, value);
    return true;
}

/* :authority is what counts; a Host beside it has to say the same (RFC 9113 8.3.1). */
static bool judge_authority(struct gw_h2_conn *c, struct gw_str *authority)
{
    struct gw_h2_head *head = &c->head;
    struct gw_str host = text_of(&head->host);

    *authority = head->authority.given ? h2_pseudo(c, &head->authority) : host;
    if (!head->authority.given && !head->has_host)
        head->malformed = "no :authority";
    else if (head->authority.given && head->has_host && !gw_str_eq_nocase(*authority, host))
        head->malformed = "Host differs from :authority";
    return head->malformed == NULL;
}

static bool judge_request(struct gw_h2_conn *c, struct gw_str path, struct gw_str scheme)
{
    struct gw_h2_head *head = &c->head;

    if (!head->method.given || !head->scheme.given || !head->path.given)
        head->malformed = "a pseudo-field is missing";
    else if (head->protocol.given && !gw_str_eq(h2_pseudo(c, &head->method), GW_STR("CONNECT")))
        head->malformed = ":protocol without CONNECT";
    else if (!gw_str_eq_nocase(scheme, GW_STR("http")) &&
             !gw_str_eq_nocase(scheme, GW_STR("https")))
        head->malformed = "unknown :scheme";
    else if (path.len == 0 || (path.data[0] != '/' && !gw_str_eq(path, GW_STR("*"))))
        head->malformed = "bad :path";
    return head->malformed == NULL;
}

static struct gw_str join(struct gw_arena *arena, const struct gw_str *parts, unsigned count)
{
    size_t len = 0;
    char *text, *to;

    for (unsigned i = 0; i < count; i++)
        len += parts[i].len;
    text = to = gw_arena_alloc(arena, len);
    for (unsigned i = 0; i < count; i++) {
        if (parts[i].len > 0)
            memcpy(to, parts[i].data, parts[i].len);
        to += parts[i].len;
    }
    return gw_str(text, len);
}

/* RFC 8441: CONNECT with :protocol is what HTTP/1.1 does by an upgrade, and becomes one; the key,
 * which only HTTP/1.1 has, is ours. */
static struct gw_str upgrade_request(struct gw_h2_conn *c, struct gw_arena *arena,
                                     struct gw_str path, struct gw_str authority)
{
    struct gw_str cookie = text_of(&c->head.cookie);
    char key[GW_WS_KEY_LEN];

    gw_ws_key_make(key);
    struct gw_str parts[] = {GW_STR("GET "),
                             path,
                             GW_STR(" HTTP/1.1\r\nhost: "),
                             authority,
                             GW_STR("\r\nconnection: upgrade\r\nupgrade: "),
                             h2_pseudo(c, &c->head.protocol),
                             GW_STR("\r\nsec-websocket-key: "),
                             gw_str(key, GW_WS_KEY_LEN),
                             GW_STR("\r\n"),
                             text_of(&c->head.lines),
                             cookie.len > 0 ? GW_STR("cookie: ") : GW_STR(""),
                             cookie,
                             cookie.len > 0 ? GW_STR("\r\n\r\n") : GW_STR("\r\n")};
    return join(arena, parts, sizeof(parts) / sizeof(parts[0]));
}

struct gw_str h2_head_request(struct gw_h2_conn *c, struct gw_arena *arena)
{
    struct gw_h2_head *head = &c->head;
    struct gw_str method = h2_pseudo(c, &head->method), path = h2_pseudo(c, &head->path);
    struct gw_str authority, cookie = text_of(&head->cookie);
    bool tunnel = head->method.given && gw_str_eq(method, GW_STR("CONNECT"));

    if (head->malformed != NULL || !judge_authority(c, &authority))
        return GW_STR_NULL;
    if (tunnel && !head->path.given && !head->scheme.given)
        path = authority; /* refused by name; it is well-formed */
    else if (!judge_request(c, path, h2_pseudo(c, &head->scheme)))
        return GW_STR_NULL;
    if (head->protocol.given)
        return upgrade_request(c, arena, path, authority);
    struct gw_str parts[] = {method,
                             GW_STR(" "),
                             path,
                             GW_STR(" HTTP/1.1\r\nhost: "),
                             authority,
                             GW_STR("\r\n"),
                             text_of(&head->lines),
                             cookie.len > 0 ? GW_STR("cookie: ") : GW_STR(""),
                             cookie,
                             cookie.len > 0 ? GW_STR("\r\n\r\n") : GW_STR("\r\n")};
    return join(arena, parts, sizeof(parts) / sizeof(parts[0]));
}

struct gw_str h2_head_response(struct gw_h2_conn *c, struct gw_arena *arena)
{
    struct gw_h2_head *head = &c->head;
    struct gw_str cookie = text_of(&head->cookie);

    if (head->malformed == NULL && head->status.len != 3)
        head->malformed = "bad :status";
    if (head->malformed != NULL)
        return GW_STR_NULL;
    struct gw_str parts[] = {GW_STR("HTTP/1.1 "),
                             h2_pseudo(c, &head->status),
                             GW_STR(" \r\n"),
                             text_of(&head->lines),
                             cookie.len > 0 ? GW_STR("cookie: ") : GW_STR(""),
                             cookie,
                             cookie.len > 0 ? GW_STR("\r\n\r\n") : GW_STR("\r\n")};
    return join(arena, parts, sizeof(parts) / sizeof(parts[0]));
}

struct gw_str h2_head_trailers(struct gw_h2_conn *c, struct gw_arena *arena)
{
    struct gw_str parts[] = {text_of(&c->head.lines), GW_STR("\r\n")};

    if (c->head.malformed != NULL)
        return GW_STR_NULL;
    if (c->head.has_host) {
        c->head.malformed = "Host among trailers";
        return GW_STR_NULL;
    }
    return join(arena, parts, 2);
}
