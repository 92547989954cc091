#include "http/ws.h"

#include <assert.h>
#include <string.h>

#include "base/base64.h"
#include "base/crypto.h"

enum { WS_HEAD, WS_PAYLOAD, WS_CLOSED, WS_BROKEN };

#define FIN 0x80
#define RSV1 0x40
#define RSV23 0x30
#define MASKED 0x80

/* ---- text ---- */

/* Table 3-7 of the Unicode standard: only the second byte has bounds of its own. */
static bool utf8_lead(struct gw_utf8 *utf8, uint8_t byte)
{
    utf8->low = 0x80;
    utf8->high = 0xbf;
    if (byte >= 0xc2 && byte <= 0xdf) {
        utf8->need = 1;
    } else if (byte >= 0xe0 && byte <= 0xef) {
        utf8->need = 2;
        if (byte == 0xe0)
            utf8->low = 0xa0;
        else if (byte == 0xed)
            utf8->high = 0x9f;
    } else if (byte >= 0xf0 && byte <= 0xf4) {
        utf8->need = 3;
        if (byte == 0xf0)
            utf8->low = 0x90;
        else if (byte == 0xf4)
            utf8->high = 0x8f;
    } else {
        return false;
    }
    return true;
}

bool gw_utf8_feed(struct gw_utf8 *utf8, struct gw_str piece)
{
    const uint8_t *at = (const uint8_t *)piece.data, *end = at + piece.len;

    while (at < end) {
        if (utf8->need == 0) {
            uint64_t word;
            while (end - at >= 8) {
                memcpy(&word, at, 8);
                if ((word & 0x8080808080808080u) != 0)
                    break;
                at += 8;
            }
            if (at == end)
                break;
            if (*at >= 0x80 && !utf8_lead(utf8, *at))
                return false;
        } else {
            if (*at < utf8->low || *at > utf8->high)
                return false;
            utf8->low = 0x80;
            utf8->high = 0xbf;
            utf8->need--;
        }
        at++;
    }
    return true;
}

/* ---- reading ---- */

static enum gw_ws_what fault(struct gw_ws_reader *r, struct gw_ws_event *event, uint16_t code,
                             const char *why)
{
    r->state = WS_BROKEN;
    r->code = code;
    r->why = why;
    event->what = GW_WS_FAULT;
    return GW_WS_FAULT;
}

static bool is_control(uint8_t opcode)
{
    return (opcode & 8) != 0;
}

/* Rules that the first two bytes can break; NULL: none. */
static const char *judge_start(const struct gw_ws_reader *r, const uint8_t *b)
{
    uint8_t opcode = b[0] & 15;
    bool data_begins = opcode == GW_WS_TEXT || opcode == GW_WS_BINARY;

    if ((b[0] & RSV23) != 0 || ((b[0] & RSV1) != 0 && !(r->deflate && data_begins)))
        return "a reserved bit is set";
    if (!data_begins && opcode != GW_WS_CONTINUATION && opcode != GW_WS_CLOSE &&
        opcode != GW_WS_PING && opcode != GW_WS_PONG)
        return "an unknown opcode";
    if (((b[1] & MASKED) != 0) != r->from_client)
        return r->from_client ? "a frame that is not masked" : "a masked frame from a server";
    if (is_control(opcode)) {
        if ((b[0] & FIN) == 0)
            return "a fragmented control frame";
        if ((b[1] & 127) > GW_WS_CONTROL_MAX)
            return "a control frame of more than 125 bytes";
    } else if (data_begins != (r->message == 0)) {
        return data_begins ? "a message inside of a message" : "a continuation of nothing";
    }
    return NULL;
}

/* Bytes of the head, or of the whole control frame: the first two tell. */
static size_t wanted(const uint8_t *b)
{
    size_t len = 2 + ((b[1] & MASKED) != 0 ? 4 : 0);

    if (is_control(b[0] & 15))
        return len + (b[1] & 127);
    return len + ((b[1] & 127) == 126 ? 2 : (b[1] & 127) == 127 ? 8 : 0);
}

static uint64_t number(const uint8_t *b, unsigned bytes)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < bytes; i++)
        n = n << 8 | b[i];
    return n;
}

bool gw_ws_code_valid(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static enum gw_ws_what close_frame(struct gw_ws_reader *r, struct gw_ws_event *event)
{
    const uint8_t *b = (const uint8_t *)event->data.data;
    struct gw_utf8 utf8 = {0};

    event->code = GW_WS_NO_CODE;
    r->state = WS_CLOSED;
    if (event->data.len == 0)
        return GW_WS_CONTROL;
    if (event->data.len == 1)
        return fault(r, event, GW_WS_PROTOCOL_ERROR, "a Close with half a code");
    event->code = (uint16_t)number(b, 2);
    if (!gw_ws_code_valid(event->code))
        return fault(r, event, GW_WS_PROTOCOL_ERROR, "a Close with a code that may not be sent");
    event->data = gw_str(event->data.data + 2, event->data.len - 2);
    if (!gw_utf8_feed(&utf8, event->data) || !gw_utf8_complete(&utf8))
        return fault(r, event, GW_WS_NOT_TEXT, "the reason of a Close is not UTF-8");
    return GW_WS_CONTROL;
}

static enum gw_ws_what control_frame(struct gw_ws_reader *r, struct gw_ws_event *event)
{
    const uint8_t *b = (const uint8_t *)event->wire.data;
    size_t len = b[1] & 127, head = event->wire.len - len;

    event->what = GW_WS_CONTROL;
    event->opcode = b[0] & 15;
    event->frame_end = true;
    if (r->from_client)
        gw_ws_mask(r->plain, event->wire.data + head, len, b + 2, 0);
    else
        memcpy(r->plain, b + head, len);
    event->data = gw_str(r->plain, len);
    return event->opcode == GW_WS_CLOSE ? close_frame(r, event) : GW_WS_CONTROL;
}

static void frame_over(struct gw_ws_reader *r, struct gw_ws_event *event)
{
    r->state = WS_HEAD;
    event->frame_end = true;
    if (!r->fin)
        return;
    event->message_end = true;
    r->message = 0;
    r->messages++;
}

static enum gw_ws_what data_frame(struct gw_ws_reader *r, struct gw_ws_event *event)
{
    const uint8_t *b = (const uint8_t *)event->wire.data;
    unsigned more = (b[1] & 127) == 126 ? 2 : (b[1] & 127) == 127 ? 8 : 0;
    uint64_t len = more > 0 ? number(b + 2, more) : b[1] & 127;

    event->what = GW_WS_HEAD;
    event->opcode = b[0] & 15;
    if ((more == 2 && len < 126) || (more == 8 && len <= UINT16_MAX) || len > INT64_MAX)
        return fault(r, event, GW_WS_PROTOCOL_ERROR, "a length that is not written as it must be");
    if (len > r->frame_bytes_max)
        return fault(r, event, GW_WS_TOO_BIG, "a frame larger than websocket_frame_size_max");
    if (event->opcode != GW_WS_CONTINUATION) {
        r->message = event->opcode;
        r->message_bytes = 0;
        r->text = (struct gw_utf8){0};
    }
    r->message_bytes += len; /* two lengths below 2^63 */
    if (r->message_bytes > r->message_bytes_max)
        return fault(r, event, GW_WS_TOO_BIG, "a message larger than websocket_message_size_max");
    r->fin = (b[0] & FIN) != 0;
    event->text = r->message == GW_WS_TEXT;
    if (r->from_client)
        memcpy(r->mask, b + 2 + more, 4);
    r->left = len;
    r->at = 0;
    r->state = WS_PAYLOAD;
    if (len == 0)
        frame_over(r, event);
    return GW_WS_HEAD;
}

/* A head, or a whole control frame, which is told of when its last byte is here. */
static enum gw_ws_what read_start(struct gw_ws_reader *r, struct gw_str *in,
                                  struct gw_ws_event *event)
{
    const char *why = NULL;

    if (r->held == 0 && in->len >= 2) {
        const uint8_t *b = (const uint8_t *)in->data;
        size_t want = wanted(b);
        why = judge_start(r, b);
        if (why == NULL && in->len >= want) {
            event->wire = gw_str(in->data, want);
            *in = gw_str(in->data + want, in->len - want);
            return is_control(b[0] & 15) ? control_frame(r, event) : data_frame(r, event);
        }
    }
    while (why == NULL && (r->held < 2 || r->held < wanted((const uint8_t *)r->hold))) {
        if (in->len == 0)
            return GW_WS_MORE;
        r->hold[r->held++] = in->data[0];
        *in = gw_str(in->data + 1, in->len - 1);
        if (r->held == 2)
            why = judge_start(r, (const uint8_t *)r->hold);
    }
    if (why != NULL)
        return fault(r, event, GW_WS_PROTOCOL_ERROR, why);
    /* Away from `hold`, where the next head may begin before these bytes have left. */
    memcpy(r->whole, r->hold, r->held);
    event->wire = gw_str(r->whole, r->held);
    r->held = 0;
    return is_control(r->whole[0] & 15) ? control_frame(r, event) : data_frame(r, event);
}

static enum gw_ws_what read_payload(struct gw_ws_reader *r, struct gw_str *in,
                                    struct gw_ws_event *event)
{
    size_t len = in->len < r->left ? in->len : (size_t)r->left;

    event->what = GW_WS_PAYLOAD;
    event->text = r->message == GW_WS_TEXT;
    event->wire = gw_str(in->data, len);
    event->mask_at = r->at;
    *in = gw_str(in->data + len, in->len - len);
    r->left -= len;
    r->at = (uint32_t)(r->at + len) & 3;
    if (r->left == 0)
        frame_over(r, event);
    return GW_WS_PAYLOAD;
}

enum gw_ws_what gw_ws_read(struct gw_ws_reader *r, struct gw_str *in, struct gw_ws_event *event)
{
    *event = (struct gw_ws_event){.what = GW_WS_MORE};
    switch (r->state) {
    case WS_HEAD:
        return in->len > 0 ? read_start(r, in, event) : GW_WS_MORE;
    case WS_PAYLOAD:
        return in->len > 0 ? read_payload(r, in, event) : GW_WS_MORE;
    case WS_CLOSED:
        *in = gw_str(in->data + in->len, 0);
        return GW_WS_MORE;
    default:
        event->what = GW_WS_FAULT;
        return GW_WS_FAULT;
    }
}

bool gw_ws_between_frames(const struct gw_ws_reader *r)
{
    return r->state != WS_PAYLOAD; /* what is held was not told of */
}

bool gw_ws_between_messages(const struct gw_ws_reader *r)
{
    return r->state != WS_PAYLOAD && r->message == 0;
}

enum gw_rc gw_ws_take(struct gw_ws_reader *r, const struct gw_ws_event *event,
                      struct gw_buf *message)
{
    size_t len = event->what == GW_WS_PAYLOAD ? event->wire.len : 0;
    char *to = gw_buf_reserve(message, len);

    if (r->from_client)
        gw_ws_mask(to, event->wire.data, len, r->mask, event->mask_at);
    else if (len > 0)
        memcpy(to, event->wire.data, len);
    gw_buf_added(message, len);
    if (!event->text || (gw_utf8_feed(&r->text, gw_str(to, len)) &&
                         (!event->message_end || gw_utf8_complete(&r->text))))
        return GW_OK;
    r->state = WS_BROKEN;
    r->code = GW_WS_NOT_TEXT;
    r->why = "a text that is not UTF-8";
    return GW_INVALID;
}

/* ---- writing ---- */

void gw_ws_mask(char *to, const char *from, size_t len, const uint8_t mask[4], uint32_t at)
{
    uint8_t turned[8];
    uint64_t word, key;
    size_t i = 0;

    for (unsigned n = 0; n < 8; n++)
        turned[n] = mask[(at + n) & 3];
    memcpy(&key, turned, 8);
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= key;
        memcpy(to + i, &word, 8);
    }
    for (; i < len; i++)
        to[i] = (char)((uint8_t)from[i] ^ turned[i & 7]);
}

size_t gw_ws_write_head(char out[GW_WS_HEAD_MAX], enum gw_ws_opcode opcode, uint64_t len,
                        const uint8_t mask[4])
{
    unsigned more = len <= GW_WS_CONTROL_MAX ? 0 : len <= UINT16_MAX ? 2 : 8;
    size_t at = 2;

    out[0] = (char)(FIN | opcode);
    out[1] = (char)(more == 0 ? len : more == 2 ? 126 : 127);
    for (unsigned i = more; i-- > 0;)
        out[at++] = (char)(len >> 8 * i);
    if (mask == NULL)
        return at;
    out[1] = (char)(out[1] | MASKED);
    memcpy(out + at, mask, 4);
    return at + 4;
}

void gw_ws_write(struct gw_buf *out, enum gw_ws_opcode opcode, struct gw_str payload,
                 bool to_server)
{
    uint8_t mask[4];
    char *to = gw_buf_reserve(out, GW_WS_HEAD_MAX + payload.len);
    size_t len;

    if (to_server)
        gw_random(mask, sizeof(mask));
    len = gw_ws_write_head(to, opcode, payload.len, to_server ? mask : NULL);
    if (to_server)
        gw_ws_mask(to + len, payload.data, payload.len, mask, 0);
    else if (payload.len > 0)
        memcpy(to + len, payload.data, payload.len);
    gw_buf_added(out, len + payload.len);
}

void gw_ws_write_close(struct gw_buf *out, uint16_t code, struct gw_str reason, bool to_server)
{
    char payload[GW_WS_CONTROL_MAX];
    size_t len = reason.len < GW_WS_REASON_MAX ? reason.len : GW_WS_REASON_MAX;

    if (code == GW_WS_NO_CODE) {
        gw_ws_write(out, GW_WS_CLOSE, GW_STR(""), to_server);
        return;
    }
    assert(gw_ws_code_valid(code));
    while (len > 0 && len < reason.len && ((uint8_t)reason.data[len] & 0xc0) == 0x80)
        len--;
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    if (len > 0)
        memcpy(payload + 2, reason.data, len);
    gw_ws_write(out, GW_WS_CLOSE, gw_str(payload, len + 2), to_server);
}

/* ---- the handshake ---- */

bool gw_ws_key_valid(struct gw_str key)
{
    char bytes[GW_WS_KEY_LEN];
    size_t len = 0;

    return key.len == GW_WS_KEY_LEN && gw_base64_decode(GW_BASE64_STD, key, bytes, &len) == GW_OK &&
           len == 16;
}

void gw_ws_key_make(char out[GW_WS_KEY_LEN])
{
    char bytes[16];

    gw_random(bytes, sizeof(bytes));
    (void)gw_base64_encode(GW_BASE64_STD, gw_str(bytes, sizeof(bytes)), out);
}

enum gw_rc gw_ws_accept(struct gw_str key, char out[GW_WS_ACCEPT_LEN])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 1.3 */
    char text[GW_WS_KEY_LEN + sizeof(guid)];
    uint8_t digest[20];
    enum gw_rc rc;

    assert(key.len == GW_WS_KEY_LEN);
    memcpy(text, key.data, key.len);
    memcpy(text + key.len, guid, sizeof(guid) - 1);
    rc = gw_digest(GW_SHA1, gw_str(text, key.len + sizeof(guid) - 1), digest);
    if (rc == GW_OK)
        (void)gw_base64_encode(GW_BASE64_STD, gw_str((char *)digest, sizeof(digest)), out);
    return rc;
}

static struct gw_str trim(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    return gw_str(from, (size_t)(to - from));
}

bool gw_ws_extension_next(struct gw_str *list, struct gw_str *item, struct gw_str *name)
{
    const char *at = list->data, *end = at + list->len;

    while (at < end) {
        const char *from = at, *name_end = NULL;
        bool quoted = false;
        for (; at < end && (quoted || *at != ','); at++) {
            if (*at == '"')
                quoted = !quoted;
            else if (*at == '\\' && quoted && at + 1 < end)
                at++;
            else if (*at == ';' && name_end == NULL)
                name_end = at;
        }
        *item = trim(from, at);
        *name = trim(from, name_end != NULL ? name_end : at);
        if (at < end)
            at++;
        *list = gw_str(at, (size_t)(end - at));
        if (item->len > 0)
            return true;
    }
    return false;
}
