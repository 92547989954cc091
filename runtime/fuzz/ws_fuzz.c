/* WebSocket frames: told the same whichever way the bytes come; what is passed on is what came;
 * and what was gathered, written again, reads as the same messages. The first byte of the input
 * gives the side and the size of the reads.
 * Sources: http/ws.c base/buf.c base/crypto.c base/keccak.c base/base64.c base/err.c base/rc.c
 * Libraries: crypto */
#include "base/buf.h"
#include "fuzz/fuzz.h"
#include "http/ws.h"

#define LIMIT 3000

struct result {
    uint16_t code;
    uint64_t messages;
    struct gw_buf told; /* opcodes and ends */
    struct gw_buf data;
    struct gw_buf wire;
    struct gw_buf again; /* the messages as frames of their own */
    struct gw_buf message;
};

static struct gw_str text_of(const struct gw_buf *buf)
{
    return gw_buf_len(buf) > 0 ? gw_buf_str(buf) : GW_STR("");
}

static void whole_message(struct result *out, uint8_t opcode)
{
    struct gw_str message = text_of(&out->message);

    MUST(message.len <= LIMIT);
    gw_buf_add_str(&out->data, message);
    gw_ws_write(&out->again, opcode, message, false);
    gw_buf_clear(&out->message);
}

static void one(struct result *out, struct gw_ws_reader *reader, const struct gw_ws_event *event)
{
    char told[3] = {(char)event->what, (char)event->opcode, (char)event->message_end};

    gw_buf_add_str(&out->wire, event->wire);
    if (event->what != GW_WS_PAYLOAD)
        gw_buf_add(&out->told, told, sizeof(told));
    if (event->what == GW_WS_CONTROL)
        MUST(event->data.len <= GW_WS_CONTROL_MAX);
    MUST(event->what != GW_WS_PAYLOAD || event->wire.len > 0);
    if (event->what == GW_WS_PAYLOAD || event->message_end) {
        if (gw_ws_take(reader, event, &out->message) != GW_OK) {
            MUST(reader->code == GW_WS_NOT_TEXT);
            out->code = reader->code;
            return;
        }
    }
    if (event->message_end)
        whole_message(out, GW_WS_BINARY);
}

static void decode(bool from_client, struct gw_str input, size_t step, struct result *out)
{
    struct gw_ws_reader reader = {.frame_bytes_max = LIMIT / 2,
                                  .message_bytes_max = LIMIT,
                                  .from_client = from_client,
                                  .deflate = (input.len & 1) != 0};

    *out = (struct result){0};
    for (size_t at = 0, len; at < input.len && out->code == 0; at += len) {
        struct gw_ws_event event;
        len = input.len - at < step ? input.len - at : step;
        char *read = fuzz_copy(gw_str(input.data + at, len));
        struct gw_str in = gw_str(read, len);
        while (out->code == 0 && gw_ws_read(&reader, &in, &event) != GW_WS_MORE) {
            if (event.what == GW_WS_FAULT)
                out->code = reader.code;
            else
                one(out, &reader, &event);
        }
        MUST(out->code != 0 || in.len == 0);
        free(read);
    }
    MUST(out->code == 0 || reader.why != NULL);
    MUST(gw_buf_len(&out->wire) <= input.len);
    MUST(gw_buf_len(&out->wire) == 0 ||
         memcmp(out->wire.data, input.data, gw_buf_len(&out->wire)) == 0);
    out->messages = reader.messages;
}

static void result_fini(struct result *result)
{
    gw_buf_fini(&result->told);
    gw_buf_fini(&result->data);
    gw_buf_fini(&result->wire);
    gw_buf_fini(&result->again);
    gw_buf_fini(&result->message);
}

static bool same(const struct gw_buf *a, const struct gw_buf *b)
{
    return gw_buf_len(a) == gw_buf_len(b) &&
           (gw_buf_len(a) == 0 || memcmp(a->data, b->data, gw_buf_len(a)) == 0);
}

/* What was gathered goes out as one frame a message: it reads as the same bytes. */
static void read_again(const struct result *result)
{
    struct gw_ws_reader reader = {.frame_bytes_max = LIMIT, .message_bytes_max = LIMIT};
    struct gw_str in = text_of(&result->again);
    struct gw_buf data = GW_BUF_INIT;
    struct gw_ws_event event;

    while (gw_ws_read(&reader, &in, &event) != GW_WS_MORE) {
        MUST(event.what != GW_WS_FAULT);
        if (event.what == GW_WS_PAYLOAD)
            MUST(gw_ws_take(&reader, &event, &data) == GW_OK);
    }
    MUST(gw_ws_between_messages(&reader));
    MUST(same(&data, &result->data));
    gw_buf_fini(&data);
}

static void extensions(struct gw_str list)
{
    struct gw_str item, name, whole = list;
    size_t before = list.len + 1;

    while (gw_ws_extension_next(&list, &item, &name)) {
        fuzz_within(item, whole);
        fuzz_within(name, whole);
        MUST(item.len > 0 && list.len < before);
        before = list.len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole, split;
    struct gw_str input;

    if (size < 2)
        return 0;
    input = gw_str((const char *)data + 1, size - 1);
    decode(data[0] & 1, input, input.len, &whole);
    decode(data[0] & 1, input, 1 + (data[0] >> 1) % 16, &split);
    MUST(whole.code == split.code);
    if (whole.code == 0) { /* a fault in a text is found sooner where it is read in pieces */
        MUST(whole.messages == split.messages);
        MUST(same(&whole.told, &split.told) && same(&whole.data, &split.data));
        MUST(same(&whole.wire, &split.wire));
    }
    read_again(&whole);
    result_fini(&whole);
    result_fini(&split);
    extensions(input);
    return 0;
}
