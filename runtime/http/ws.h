/* WebSocket frames (RFC 6455), as a peer sends them and as we write them, and the fields of
 * the handshake. What breaks a rule is refused, with the code that the Close has to carry.
 * Lives in: one connection. Owner: who embeds it; nothing here allocates but the message that a
 * caller gathers, which message_bytes_max bounds.
 * A reader looks at heads and at control frames. Payload of messages is counted and left where
 * it is, so that who only passes it on copies nothing; who wants the message takes it by
 * gw_ws_take(), which unmasks it and checks the UTF-8 of text. */
#ifndef GW_HTTP_WS_H
#define GW_HTTP_WS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/str.h"

enum gw_ws_opcode {
    GW_WS_CONTINUATION = 0,
    GW_WS_TEXT = 1,
    GW_WS_BINARY = 2,
    GW_WS_CLOSE = 8,
    GW_WS_PING = 9,
    GW_WS_PONG = 10
};

enum gw_ws_code {
    GW_WS_NORMAL = 1000,
    GW_WS_GOING_AWAY = 1001,
    GW_WS_PROTOCOL_ERROR = 1002,
    GW_WS_NO_CODE = 1005, /* never on the wire: a Close without one */
    GW_WS_NOT_TEXT = 1007,
    GW_WS_TOO_BIG = 1009,
    GW_WS_INTERNAL_ERROR = 1011
};

#define GW_WS_HEAD_MAX 14
#define GW_WS_CONTROL_MAX 125
#define GW_WS_CONTROL_FRAME_MAX (6 + GW_WS_CONTROL_MAX)
#define GW_WS_REASON_MAX (GW_WS_CONTROL_MAX - 2)
#define GW_WS_KEY_LEN 24
#define GW_WS_ACCEPT_LEN 28

/* ---- text ---- */

/* Is a run of bytes UTF-8, however it is cut? All zero: at the beginning. */
struct gw_utf8 {
    uint8_t need;      /* bytes that the character still lacks */
    uint8_t low, high; /* bounds of the next one */
};

GW_MUST_CHECK bool gw_utf8_feed(struct gw_utf8 *utf8, struct gw_str piece);
static inline bool gw_utf8_complete(const struct gw_utf8 *utf8)
{
    return utf8->need == 0;
}

/* ---- reading ---- */

enum gw_ws_what {
    GW_WS_MORE,    /* all was read; what is not told yet is kept here */
    GW_WS_HEAD,    /* a data frame begins */
    GW_WS_PAYLOAD, /* a piece of it */
    GW_WS_CONTROL, /* a whole Ping, Pong or Close */
    GW_WS_FAULT    /* code and why are set; nothing more is read */
};

struct gw_ws_event {
    enum gw_ws_what what;
    uint8_t opcode;     /* GW_WS_HEAD and GW_WS_CONTROL */
    bool frame_end;     /* with its last byte; an empty frame ends with its head */
    bool message_end;   /* and with it the message */
    bool text;          /* the message that it belongs to is one */
    uint16_t code;      /* of a Close, or GW_WS_NO_CODE */
    struct gw_str wire; /* the bytes as they came: of the input, or of the reader until its next
                         * call */
    struct gw_str data; /* GW_WS_CONTROL: unmasked payload; of a Close: the reason */
    uint32_t mask_at;   /* GW_WS_PAYLOAD: place in the frame, modulo 4 */
};

struct gw_ws_reader {
    /* Set these before the first byte; all else zero. */
    uint64_t frame_bytes_max, message_bytes_max;
    bool from_client; /* must mask; else must not */
    bool deflate;     /* permessage-deflate is agreed on: RSV1 may mark messages */

    uint16_t code; /* of the fault */
    const char *why;
    uint64_t messages; /* whole ones so far */
    uint64_t left;     /* of this frame's payload */
    uint64_t message_bytes;
    uint32_t at; /* in this frame's payload, modulo 4 */
    uint8_t state;
    uint8_t message; /* opcode of the message under way; 0: none */
    bool fin;
    uint8_t mask[4];
    struct gw_utf8 text;
    uint8_t held; /* bytes of a head, or of a control frame */
    char hold[GW_WS_CONTROL_FRAME_MAX];
    char whole[GW_WS_CONTROL_FRAME_MAX]; /* what was held, once it is complete */
    char plain[GW_WS_CONTROL_MAX];
};

/* Takes from the front of `in`; call until GW_WS_MORE or GW_WS_FAULT. What follows a Close is
 * swallowed, as RFC 6455 5.5.1 wants it. */
enum gw_ws_what gw_ws_read(struct gw_ws_reader *reader, struct gw_str *in,
                           struct gw_ws_event *event);
/* Nothing of a frame / of a message is under way. */
bool gw_ws_between_frames(const struct gw_ws_reader *reader);
bool gw_ws_between_messages(const struct gw_ws_reader *reader);
/* Appends the payload of GW_WS_PAYLOAD; also to be called for a GW_WS_HEAD that ends a message,
 * which may end inside of a character. GW_INVALID: text that is not UTF-8; code and why are
 * set. */
GW_MUST_CHECK enum gw_rc gw_ws_take(struct gw_ws_reader *reader, const struct gw_ws_event *event,
                                    struct gw_buf *message);

/* ---- writing ---- */

/* XORs; `at`: place of the first byte in the payload. `to` may be `from`. */
void gw_ws_mask(char *to, const char *from, size_t len, const uint8_t mask[4], uint32_t at);
/* Head of an unfragmented frame. `mask` NULL: a server's. Returns its length. */
size_t gw_ws_write_head(char out[GW_WS_HEAD_MAX], enum gw_ws_opcode opcode, uint64_t len,
                        const uint8_t mask[4]);
/* A whole frame behind what is in `out`; masked with fresh random bytes for a server. */
void gw_ws_write(struct gw_buf *out, enum gw_ws_opcode opcode, struct gw_str payload,
                 bool to_server);
/* A Close; the reason is cut to fit, between two characters. */
void gw_ws_write_close(struct gw_buf *out, uint16_t code, struct gw_str reason, bool to_server);
/* May this code stand in a Close? */
bool gw_ws_code_valid(uint16_t code);

/* ---- the handshake ---- */

/* Base64 of 16 bytes. */
bool gw_ws_key_valid(struct gw_str key);
void gw_ws_key_make(char out[GW_WS_KEY_LEN]);
/* What Sec-WebSocket-Accept has to say to this key. */
GW_MUST_CHECK enum gw_rc gw_ws_accept(struct gw_str key, char out[GW_WS_ACCEPT_LEN]);
/* Steps through a Sec-WebSocket-Extensions list: the next item with its parameters, blanks
 * taken off, and its name. False: the end. */
bool gw_ws_extension_next(struct gw_str *list, struct gw_str *item, struct gw_str *name);

#endif
