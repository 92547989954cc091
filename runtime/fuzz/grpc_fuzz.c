/* grpc-timeout: what is taken is passed on as no more than it was; grpc-message: it can be sent,
 * and read back.
 * Sources: http/grpc.c http/message.c base/arena.c base/buf.c */
#include "fuzz/fuzz.h"
#include "http/grpc.h"

static void check_timeout(struct gw_str text)
{
    char out[GW_GRPC_TIMEOUT_BYTES];
    uint64_t us = 0, again = 0;
    size_t len;

    if (gw_grpc_timeout_parse(text, &us) != GW_OK)
        return;
    MUST(text.len >= 2 && text.len <= 9);
    len = gw_grpc_timeout_format(us, out);
    MUST(len >= 2 && len <= 9);
    MUST(gw_grpc_timeout_parse(gw_str(out, len), &again) == GW_OK);
    MUST(again <= us || (us == 0 && again == 1));
    MUST(us - again <= us / 1000 || us == 0); /* eight digits tell it well */
}

static int hex(char digit)
{
    return digit <= '9' ? digit - '0' : digit - 'A' + 10;
}

static void check_message(struct gw_str text)
{
    struct gw_buf out = GW_BUF_INIT;
    struct gw_str sent;
    size_t at = 0;

    gw_buf_reserve(&out, 1);
    gw_grpc_percent(text, &out);
    sent = gw_buf_str(&out);
    for (size_t i = 0; i < sent.len; i++) {
        unsigned char byte = (unsigned char)sent.data[i];
        MUST(byte >= 0x20 && byte <= 0x7e && at < text.len);
        if (byte == '%') {
            MUST(i + 2 < sent.len);
            byte = (unsigned char)(hex(sent.data[i + 1]) << 4 | hex(sent.data[i + 2]));
            i += 2;
        }
        MUST((unsigned char)text.data[at++] == byte);
    }
    MUST(at == text.len);
    gw_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = fuzz_copy(gw_str((const char *)data, size));

    check_timeout(gw_str(copy, size));
    check_message(gw_str(copy, size));
    free(copy);
    return 0;
}
