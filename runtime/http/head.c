#include "http/head.h"

#include <assert.h>
#include <stdlib.h>

#include "http/opinion.h"
#include "http/uri.h"

/* More of them nobody sends; it bounds the work of dropping what Connection names. */
#define CONNECTION_OPTIONS_MAX 32

enum {
    TOKEN = 1,  /* tchar of RFC 9110 5.6.2 */
    TARGET = 2, /* 0x21..0x7e without "#" */
    TEXT = 4,   /* field values and reasons: visible, obs-text, space, tab */
};

static const uint8_t classes[256] = {
    ['\t'] = TEXT,
    [' '] = TEXT,
    ['!'] = TOKEN | TARGET | TEXT,
    ['"'] = TARGET | TEXT,
    ['#'] = TOKEN | TEXT,
    ['$' ... '\''] = TOKEN | TARGET | TEXT, /* $ % & ' */
    ['(' ... ')'] = TARGET | TEXT,
    ['*' ... '+'] = TOKEN | TARGET | TEXT,
    [','] = TARGET | TEXT,
    ['-' ... '.'] = TOKEN | TARGET | TEXT,
    ['/'] = TARGET | TEXT,
    ['0' ... '9'] = TOKEN | TARGET | TEXT,
    [':' ... '@'] = TARGET | TEXT,
    ['A' ... 'Z'] = TOKEN | TARGET | TEXT,
    ['[' ... ']'] = TARGET | TEXT,
    ['^' ... '`'] = TOKEN | TARGET | TEXT, /* ^ _ ` */
    ['a' ... 'z'] = TOKEN | TARGET | TEXT,
    ['{'] = TARGET | TEXT,
    ['|'] = TOKEN | TARGET | TEXT,
    ['}'] = TARGET | TEXT,
    ['~'] = TOKEN | TARGET | TEXT,
    [0x80 ... 0xff] = TEXT,
};

/* What the fields say about the message, noted while they pass. */
struct facts {
    struct gw_str host, length, coding, expect;
    unsigned hosts, lengths, codings, expects;
    unsigned connection_options;
    bool close, keep_alive, upgrade_option;
    bool upgrade_field, h2c, te_trailers;
};

struct walk {
    const char *at;
    const char *end;
    struct facts facts;
    bool asks;       /* for a second opinion: of all but trailers */
    uint16_t status; /* of a refusal */
    const char *why;
};

static bool is(char byte, unsigned bits)
{
    return (classes[(unsigned char)byte] & bits) != 0;
}

static bool refuse(struct walk *walk, uint16_t status, const char *why)
{
    walk->status = status;
    walk->why = why;
    return false;
}

/* 414 and 431 are limits, all else is a broken message. */
static enum gw_rc refusal_rc(const struct walk *walk)
{
    return walk->status == 414 || walk->status == 431 ? GW_LIMIT : GW_PROTOCOL;
}

/* ---- comma lists ---- */

static struct gw_str trim(struct gw_str text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = gw_str(text.data + 1, text.len - 1);
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Takes the next element that is not empty off the front of *rest. */
static bool list_next(struct gw_str *rest, struct gw_str *element)
{
    while (rest->len > 0) {
        const char *comma = memchr(rest->data, ',', rest->len);
        size_t len = comma != NULL ? (size_t)(comma - rest->data) : rest->len;
        size_t taken = comma != NULL ? len + 1 : len;

        *element = trim(gw_str(rest->data, len));
        *rest = gw_str(rest->data + taken, rest->len - taken);
        if (element->len > 0)
            return true;
    }
    return false;
}

/* The element up to "/" or ";" is `name`: "h2c/1", "trailers;q=1". */
static bool list_has(struct gw_str list, struct gw_str name)
{
    struct gw_str element;

    while (list_next(&list, &element)) {
        size_t len = 0;
        while (len < element.len && is(element.data[len], TOKEN))
            len++;
        if (gw_str_eq_nocase(gw_str(element.data, len), name))
            return true;
    }
    return false;
}

/* ---- fields ---- */

static void note_connection(struct facts *facts, struct gw_str list)
{
    struct gw_str option;

    while (list_next(&list, &option)) {
        facts->connection_options++;
        if (gw_str_eq_nocase(option, GW_STR("close")))
            facts->close = true;
        else if (gw_str_eq_nocase(option, GW_STR("keep-alive")))
            facts->keep_alive = true;
        else if (gw_str_eq_nocase(option, GW_STR("upgrade")))
            facts->upgrade_option = true;
    }
}

static void note(struct facts *facts, const struct gw_field *field)
{
    switch (field->id) {
    case GW_FIELD_HOST:
        facts->host = field->value;
        facts->hosts++;
        break;
    case GW_FIELD_CONTENT_LENGTH:
        facts->length = field->value;
        facts->lengths++;
        break;
    case GW_FIELD_TRANSFER_ENCODING:
        facts->coding = field->value;
        facts->codings++;
        break;
    case GW_FIELD_CONNECTION:
        note_connection(facts, field->value);
        break;
    case GW_FIELD_UPGRADE:
        facts->upgrade_field = true;
        facts->h2c = facts->h2c || list_has(field->value, GW_STR("h2c"));
        break;
    case GW_FIELD_TE:
        facts->te_trailers = facts->te_trailers || list_has(field->value, GW_STR("trailers"));
        break;
    case GW_FIELD_EXPECT:
        facts->expect = field->value;
        facts->expects++;
        break;
    default:
        break;
    }
}

/* The first byte at or behind `at` that no field value has; eight at a time. The lowest
 * marked byte of a word is exact, which is the one looked for. */
static const char *text_end(const char *at, const char *end)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;

    while (end - at >= 8) {
        uint64_t word, del, marks;
        memcpy(&word, at, 8);
        del = word ^ 0x7f * ones;
        marks = (((word - 0x20 * ones) & ~word) | ((del - ones) & ~del)) & highs;
        if (marks == 0) {
            at += 8;
            continue;
        }
        at += __builtin_ctzll(marks) / 8;
        if (*at != '\t')
            return at;
        at++;
    }
#endif
    while (at < end && is(*at, TEXT))
        at++;
    return at;
}

/* By length and two letters: the five names, and whatever looks like them. The library is
 * alarmed by any name that begins with Transfer-Encoding, and so are we. */
static bool may_frame(const char *name, size_t len)
{
    switch (len) {
    case 10: /* Connection */
    case 14: /* Content-Length */
        return (name[0] | 0x20) == 'c' && (name[1] | 0x20) == 'o';
    case 7: /* Upgrade */
        return (name[0] | 0x20) == 'u' && (name[1] | 0x20) == 'p';
    case 16: /* Proxy-Connection */
        return (name[0] | 0x20) == 'p' && (name[1] | 0x20) == 'r';
    default:
        return len >= 17 && (name[0] | 0x20) == 't' && (name[1] | 0x20) == 'r';
    }
}

/* One line "name: value\r\n"; walk->at stands at its first byte. */
static bool take_field(struct walk *walk, struct gw_fields *fields)
{
    const char *name = walk->at, *at = name, *end = walk->end, *from, *to;
    struct gw_field *field;
    size_t name_len;

    while (at < end && is(*at, TOKEN))
        at++;
    name_len = (size_t)(at - name);
    if (name_len == 0)
        return refuse(walk, 400,
                      *name == ' ' || *name == '\t' ? "folded header line" : "bad header name");
    if (at == end || *at != ':')
        return refuse(walk, 400,
                      at < end && (*at == ' ' || *at == '\t') ? "white space behind a header name"
                                                              : "bad header name");
    at++;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    from = at;
    to = at = text_end(at, end);
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
        return refuse(walk, 400, "control character in a header value");
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    field = gw_fields_add(fields, gw_str(name, name_len), gw_str(from, (size_t)(to - from)));
    field->wire = from == name + name_len + 2 && from[-1] == ' ' && to == at;
    if (field->id != GW_FIELD_UNKNOWN)
        note(&walk->facts, field);
    walk->at = at + 2;
    if (walk->asks && may_frame(name, name_len))
        gw_opinion_hear(name, (size_t)(walk->at - name));
    return true;
}

/* All lines up to the empty one, which has to be the end of the head. */
static bool take_fields(struct walk *walk, const struct gw_head_limits *limits,
                        struct gw_fields *fields)
{
    if ((size_t)(walk->end - walk->at) > limits->header_bytes_max)
        return refuse(walk, 431, "header too long");
    for (;;) {
        if (walk->at == walk->end)
            return refuse(walk, 400, "head without an end");
        if (*walk->at == '\r')
            break;
        if (fields->count == limits->header_count_max)
            return refuse(walk, 431, "too many header lines");
        if (!take_field(walk, fields))
            return false;
    }
    if (walk->end - walk->at < 2 || walk->at[1] != '\n')
        return refuse(walk, 400, "bare CR");
    walk->at += 2;
    if (walk->at != walk->end)
        return refuse(walk, 400, "bytes behind the end of the head");
    if (walk->facts.connection_options > CONNECTION_OPTIONS_MAX)
        return refuse(walk, 431, "too many connection options");
    return true;
}

/* ---- framing ---- */

/* One spelling for each number: digits without a leading zero, below 2^63. */
static bool parse_length(struct gw_str text, int64_t *length)
{
    uint64_t value = 0;

    if (text.len == 0 || text.len > 19 || (text.data[0] == '0' && text.len > 1))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.data[i] - '0'); /* 19 digits are less than 2^64 */
    }
    *length = (int64_t)value;
    return value <= INT64_MAX;
}

/* What the fields say of the body, the same for both directions. */
static bool judge_framing(struct walk *walk, unsigned minor, enum gw_framing *framing,
                          int64_t *length)
{
    const struct facts *facts = &walk->facts;

    *framing = GW_FRAMING_NONE;
    *length = 0;
    if (facts->codings > 0) {
        if (facts->lengths > 0)
            return refuse(walk, 400, "Content-Length with Transfer-Encoding");
        if (minor == 0)
            return refuse(walk, 400, "Transfer-Encoding in HTTP/1.0");
        if (facts->codings > 1 || !gw_str_eq_nocase(facts->coding, GW_STR("chunked")))
            return refuse(walk, 400, "Transfer-Encoding is not one chunked");
        *framing = GW_FRAMING_CHUNKED;
        *length = GW_LENGTH_UNKNOWN;
        return true;
    }
    if (facts->lengths == 0)
        return true;
    if (facts->lengths > 1)
        return refuse(walk, 400, "several Content-Length");
    if (!parse_length(facts->length, length))
        return refuse(walk, 400, "bad Content-Length");
    *framing = GW_FRAMING_LENGTH;
    return true;
}

static bool keeps_alive(const struct facts *facts, unsigned minor)
{
    return !facts->close && (minor == 1 || facts->keep_alive);
}

/* ---- requests ---- */

/* "HTTP/1.0" or "HTTP/1.1" and CRLF. */
static bool take_version(struct walk *walk, uint8_t *minor)
{
    const char *at = walk->at;

    if (walk->end - at < 8 || memcmp(at, "HTTP/", 5) != 0 || at[5] < '0' || at[5] > '9' ||
        at[6] != '.' || at[7] < '0' || at[7] > '9')
        return refuse(walk, 400, "bad HTTP version");
    if (at[5] != '1' || at[7] > '1')
        return refuse(walk, 505, "HTTP version not supported");
    *minor = (uint8_t)(at[7] - '0');
    walk->at = at + 8;
    return true;
}

static bool take_crlf(struct walk *walk)
{
    if (walk->end - walk->at < 2 || walk->at[0] != '\r' || walk->at[1] != '\n')
        return refuse(walk, 400, "bad end of the first line");
    walk->at += 2;
    return true;
}

static bool take_request_line(struct walk *walk, uint32_t uri_bytes_max, struct gw_request *out)
{
    const char *at = walk->at, *from;

    if (walk->end - at >= 2 && at[0] == '\r' && at[1] == '\n')
        at += 2;
    for (from = at; at < walk->end && is(*at, TOKEN);)
        at++;
    out->method = gw_str(from, (size_t)(at - from));
    if (at == walk->end || *at != ' ' || at == from)
        return refuse(walk, 400, "bad method");
    for (from = ++at; at < walk->end && is(*at, TARGET);)
        at++;
    out->target = gw_str(from, (size_t)(at - from));
    if (at == walk->end || *at != ' ' || at == from)
        return refuse(walk, 400, "bad request target");
    walk->at = at + 1;
    if (!take_version(walk, &out->minor) || !take_crlf(walk))
        return false;
    if (out->target.len > uri_bytes_max)
        return refuse(walk, 414, "request target too long");
    if (out->method.len > GW_METHOD_BYTES_MAX)
        return refuse(walk, 501, "method too long");
    out->method_id = gw_method_of(out->method);
    /* In any case: an upstream may be less exact about methods than we are. */
    if (gw_str_eq_nocase(out->method, GW_STR("CONNECT")) ||
        gw_str_eq_nocase(out->method, GW_STR("TRACE")))
        return refuse(walk, 501, "method is never passed on");
    return true;
}

/* The port that an authority without one means. */
static uint16_t port_or_default(uint16_t port, struct gw_str scheme)
{
    if (port != 0)
        return port;
    return gw_str_eq_nocase(scheme, GW_STR("https")) ? 443 : 80;
}

/* Host, and the authority of an absolute target, which has to be the same: RFC 9112 3.2.2
 * prefers the target's, an upstream might not. */
static bool judge_authority(struct walk *walk, struct gw_arena *arena, struct gw_request *out)
{
    const struct facts *facts = &walk->facts;
    struct gw_target_parts parts;
    struct gw_str host;
    uint16_t port;

    if (facts->hosts > 1)
        return refuse(walk, 400, "several Host");
    if (facts->hosts == 0 && out->minor == 1)
        return refuse(walk, 400, "no Host");
    if (facts->hosts == 1) {
        if (gw_uri_parse_authority(arena, facts->host, &out->host, &out->port) != GW_OK)
            return refuse(walk, 400, "bad Host");
        out->authority = facts->host;
    }
    if (out->target.data[0] == '/')
        return true;
    if (gw_uri_split_target(out->target, &parts) != GW_OK)
        return refuse(walk, 400, "bad request target");
    if (parts.form == GW_TARGET_ASTERISK) {
        if (out->method_id != GW_METHOD_OPTIONS)
            return refuse(walk, 400, "asterisk without OPTIONS");
        return true;
    }
    if (gw_uri_parse_authority(arena, parts.authority, &host, &port) != GW_OK)
        return refuse(walk, 400, "bad authority in the request target");
    if (facts->hosts == 1 &&
        (!gw_str_eq(host, out->host) ||
         port_or_default(port, parts.scheme) != port_or_default(out->port, parts.scheme)))
        return refuse(walk, 400, "Host differs from the request target");
    out->authority = parts.authority;
    out->host = host;
    out->port = port;
    return true;
}

static bool judge_expect(struct walk *walk, struct gw_request *out)
{
    const struct facts *facts = &walk->facts;

    if (facts->expects == 0 || out->minor == 0) /* RFC 9110 10.1.1: 1.0 knows none */
        return true;
    if (facts->expects > 1 || !gw_str_eq_nocase(facts->expect, GW_STR("100-continue")))
        return refuse(walk, 417, "unknown expectation");
    out->expect_continue = out->has_body;
    return true;
}

/* HTTP/2 in the clear by upgrade never passes: the next hop would speak what nobody here
 * reads. RFC 9110 7.8 lets a server ignore Upgrade, and 1.0 has none. */
static bool judge_upgrade(const struct facts *facts, unsigned minor, struct gw_fields *fields)
{
    if (facts->h2c)
        gw_fields_remove_known(fields, GW_FIELD_UPGRADE);
    gw_fields_remove_known(fields, GW_FIELD_HTTP2_SETTINGS);
    return facts->upgrade_option && facts->upgrade_field && !facts->h2c && minor == 1;
}

/* `claim` has what the two directions know; the rest is filled in here. */
static bool agrees(const struct walk *walk, enum gw_framing framing, struct gw_claim claim)
{
    claim.has_coding = walk->facts.codings > 0;
    claim.has_length = walk->facts.lengths > 0;
    claim.has_body = !claim.skip_body && (framing == GW_FRAMING_CHUNKED ||
                                          framing == GW_FRAMING_CLOSE || claim.length > 0);
    return gw_opinion_agrees(&claim);
}

static bool parse_request(struct walk *walk, struct gw_str data,
                          const struct gw_head_limits *limits, struct gw_arena *arena,
                          struct gw_request *out, struct gw_head *head)
{
    if (!take_request_line(walk, limits->uri_bytes_max, out))
        return false;
    gw_opinion_request(out->minor);
    if (!take_fields(walk, limits, &out->fields))
        return false;
    if (!judge_framing(walk, out->minor, &head->framing, &out->length))
        return false;
    out->has_body = head->framing == GW_FRAMING_CHUNKED || out->length > 0;
    if (!judge_authority(walk, arena, out) || !judge_expect(walk, out))
        return false;
    if (!agrees(
            walk, head->framing,
            (struct gw_claim){
                .minor = out->minor, .length = out->length, .head = data, .method = out->method}))
        return refuse(walk, 400, "readers disagree on the head");
    head->keep_alive = keeps_alive(&walk->facts, out->minor);
    head->te_trailers = walk->facts.te_trailers;
    head->upgrade = judge_upgrade(&walk->facts, out->minor, &out->fields);
    return true;
}

enum gw_rc gw_head_parse_request(struct gw_str data, const struct gw_head_limits *limits,
                                 struct gw_arena *arena, struct gw_request *out,
                                 struct gw_head *head, uint16_t *status, const char **why)
{
    struct walk walk = {.at = data.data, .end = data.data + data.len, .asks = true};

    *out = (struct gw_request){.major = 1};
    *head = (struct gw_head){.framing = GW_FRAMING_NONE};
    gw_fields_init(&out->fields, arena);
    if (parse_request(&walk, data, limits, arena, out, head))
        return GW_OK;
    *status = walk.status;
    *why = walk.why;
    return refusal_rc(&walk);
}

/* ---- responses ---- */

static bool take_status_line(struct walk *walk, struct gw_response *out)
{
    const char *at, *from;

    if (!take_version(walk, &out->minor))
        return false;
    at = walk->at;
    if (walk->end - at < 5 || at[0] != ' ' || at[1] < '1' || at[1] > '5' || at[2] < '0' ||
        at[2] > '9' || at[3] < '0' || at[3] > '9' || at[4] != ' ')
        return refuse(walk, 502, "bad status line");
    out->status = (uint16_t)((at[1] - '0') * 100 + (at[2] - '0') * 10 + (at[3] - '0'));
    from = at + 5;
    walk->at = text_end(from, walk->end);
    out->reason = gw_str(from, (size_t)(walk->at - from));
    return take_crlf(walk);
}

/* RFC 9112 6.3: which answers have no body whatever their fields say. Those two that must
 * not speak of one at all may yet say "0", as many do. */
static bool judge_response_body(struct walk *walk, enum gw_method method, struct gw_response *out,
                                struct gw_head *head, bool *skip_body)
{
    bool interim = out->status < 200 || out->status == 204;

    *skip_body = interim || out->status == 304 || method == GW_METHOD_HEAD;
    if (!judge_framing(walk, out->minor, &head->framing, &out->length))
        return false;
    if (interim && (head->framing == GW_FRAMING_CHUNKED || out->length > 0))
        return refuse(walk, 502, "a body where none may be");
    if (walk->facts.codings == 0 && walk->facts.lengths == 0) {
        if (!interim)
            out->length = GW_LENGTH_UNKNOWN;
        if (!*skip_body)
            head->framing = GW_FRAMING_CLOSE;
    }
    out->has_body = !*skip_body && (head->framing == GW_FRAMING_LENGTH ? out->length > 0 : true);
    return true;
}

static bool parse_response(struct walk *walk, struct gw_str data,
                           const struct gw_head_limits *limits, enum gw_method method,
                           struct gw_response *out, struct gw_head *head)
{
    bool skip_body;

    if (!take_status_line(walk, out))
        return false;
    gw_opinion_response(data.data);
    if (!take_fields(walk, limits, &out->fields) ||
        !judge_response_body(walk, method, out, head, &skip_body))
        return false;
    if (!agrees(walk, head->framing,
                (struct gw_claim){.minor = out->minor,
                                  .status = out->status,
                                  .skip_body = skip_body,
                                  .length = out->length,
                                  .head = data}))
        return refuse(walk, 502, "readers disagree on the head");
    if (skip_body)
        head->framing = GW_FRAMING_NONE;
    head->keep_alive = keeps_alive(&walk->facts, out->minor) && head->framing != GW_FRAMING_CLOSE;
    head->te_trailers = walk->facts.te_trailers;
    head->upgrade = judge_upgrade(&walk->facts, out->minor, &out->fields);
    return true;
}

enum gw_rc gw_head_parse_response(struct gw_str data, const struct gw_head_limits *limits,
                                  enum gw_method method, struct gw_arena *arena,
                                  struct gw_response *out, struct gw_head *head, const char **why)
{
    struct walk walk = {.at = data.data, .end = data.data + data.len, .asks = true};

    *out = (struct gw_response){.length = GW_LENGTH_UNKNOWN};
    *head = (struct gw_head){.framing = GW_FRAMING_NONE};
    gw_fields_init(&out->fields, arena);
    if (parse_response(&walk, data, limits, method, out, head))
        return GW_OK;
    *why = walk.why;
    return refusal_rc(&walk);
}

/* ---- trailers, hop-by-hop ---- */

/* Fields that say how a message is framed, where it goes, or that mean this connection
 * only: too late behind a body, and dangerous to who merges trailers into the head. */
#define BIT(id) (1ULL << (id))
#define HOP_BY_HOP_BITS                                                                            \
    (BIT(GW_FIELD_CONNECTION) | BIT(GW_FIELD_KEEP_ALIVE) | BIT(GW_FIELD_PROXY_CONNECTION) |        \
     BIT(GW_FIELD_TE) | BIT(GW_FIELD_TRANSFER_ENCODING) | BIT(GW_FIELD_UPGRADE) |                  \
     BIT(GW_FIELD_HTTP2_SETTINGS) | BIT(GW_FIELD_PROXY_AUTHENTICATE) |                             \
     BIT(GW_FIELD_PROXY_AUTHORIZATION))
#define NOT_IN_TRAILERS_BITS                                                                       \
    (HOP_BY_HOP_BITS | BIT(GW_FIELD_HOST) | BIT(GW_FIELD_CONTENT_LENGTH) | BIT(GW_FIELD_TRAILER) | \
     BIT(GW_FIELD_EXPECT) | BIT(GW_FIELD_CONTENT_TYPE) | BIT(GW_FIELD_CONTENT_ENCODING) |          \
     BIT(GW_FIELD_RANGE) | BIT(GW_FIELD_VIA) | BIT(GW_FIELD_FORWARDED) |                           \
     BIT(GW_FIELD_X_FORWARDED_FOR) | BIT(GW_FIELD_X_FORWARDED_PROTO) |                             \
     BIT(GW_FIELD_X_FORWARDED_HOST) | BIT(GW_FIELD_X_FORWARDED_PORT) | BIT(GW_FIELD_X_REAL_IP) |   \
     BIT(GW_FIELD_LOCATION))

/* Not a client's to remove by naming them in Connection: where the request goes, what frames
 * it, who has passed it on already. */
#define KEPT_BITS                                                                                  \
    (BIT(GW_FIELD_HOST) | BIT(GW_FIELD_CONTENT_LENGTH) | BIT(GW_FIELD_VIA) |                       \
     BIT(GW_FIELD_FORWARDED) | BIT(GW_FIELD_X_FORWARDED_FOR) | BIT(GW_FIELD_X_FORWARDED_PROTO) |   \
     BIT(GW_FIELD_X_FORWARDED_HOST) | BIT(GW_FIELD_X_FORWARDED_PORT) | BIT(GW_FIELD_X_REAL_IP))

enum gw_rc gw_head_parse_trailers(struct gw_str data, const struct gw_head_limits *limits,
                                  struct gw_fields *out, const char **why)
{
    struct walk walk = {.at = data.data, .end = data.data + data.len};
    bool good = take_fields(&walk, limits, out);

    if (good && (out->present & NOT_IN_TRAILERS_BITS) != 0)
        good = refuse(&walk, 400, "field not allowed in trailers");
    if (good)
        return GW_OK;
    *why = walk.why;
    return refusal_rc(&walk);
}

static void drop_named(struct gw_fields *fields, struct gw_str names)
{
    struct gw_str name;

    while (list_next(&names, &name)) {
        /* Hop-by-hop ones go anyway, and later: a second Connection is yet to be read. */
        enum gw_field_id id = gw_field_id_of(name);
        if ((BIT(id) & (KEPT_BITS | HOP_BY_HOP_BITS)) == 0)
            (void)gw_fields_remove(fields, name);
    }
}

void gw_head_drop_hop_by_hop(struct gw_fields *fields)
{
    if ((fields->present & BIT(GW_FIELD_CONNECTION)) != 0)
        for (uint32_t i = 0; i < fields->count; i++)
            if (fields->items[i].id == GW_FIELD_CONNECTION && !fields->items[i].dropped)
                drop_named(fields, fields->items[i].value);
    if ((fields->present & HOP_BY_HOP_BITS) == 0)
        return;
    for (uint32_t i = 0; i < fields->count; i++)
        if ((BIT(fields->items[i].id) & HOP_BY_HOP_BITS) != 0)
            fields->items[i].dropped = true;
}
