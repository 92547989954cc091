/* PROXY protocol headers: the verdict on a beginning never has to be taken back.
 * Sources: http/proxy_protocol.c */
#include "fuzz/fuzz.h"
#include "http/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_proxy_info info, early;
    size_t len = 0, early_len = 0;
    enum gw_rc whole = gw_proxy_protocol_parse(gw_str((const char *)data, size), &info, &len);

    MUST(whole == GW_OK || whole == GW_AGAIN || whole == GW_PROTOCOL || whole == GW_LIMIT);
    MUST(whole != GW_AGAIN || size < GW_PROXY_V2_BYTES_MAX);
    MUST(whole != GW_OK || (len <= size && info.local == (info.source.ss_family == AF_UNSPEC)));
    for (size_t have = 0; have <= size && have <= GW_PROXY_V2_BYTES_MAX; have++) {
        char *copy = fuzz_copy(gw_str((const char *)data, have));
        enum gw_rc rc = gw_proxy_protocol_parse(gw_str(copy, have), &early, &early_len);

        free(copy);
        if (rc == GW_AGAIN)
            continue;
        MUST(rc == whole);
        MUST(rc != GW_OK || (early_len == len && memcmp(&early, &info, sizeof(info)) == 0));
        break;
    }
    return 0;
}
