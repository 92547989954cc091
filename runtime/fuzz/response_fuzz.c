/* Heads of answers; the first byte of the input says what was asked.
 * Sources: http/head.c http/opinion.c http/head_find.c http/uri.c http/message.c base/arena.c
 * Libraries: http_parser */
#include "fuzz/fuzz.h"
#include "http/head.h"

static const struct gw_head_limits limits = {
    .header_bytes_max = 2048, .header_count_max = 24, .uri_bytes_max = 256};

static void check(const struct gw_response *response, const struct gw_head *head,
                  enum gw_method method, struct gw_str text)
{
    bool bodiless = method == GW_METHOD_HEAD || response->status < 200 || response->status == 204 ||
                    response->status == 304;

    MUST(response->status >= 100 && response->status <= 599);
    MUST(response->length >= GW_LENGTH_UNKNOWN);
    MUST(!bodiless || (head->framing == GW_FRAMING_NONE && !response->has_body));
    MUST(bodiless || head->framing != GW_FRAMING_NONE);
    MUST(head->framing != GW_FRAMING_CLOSE || !head->keep_alive);
    MUST((head->framing == GW_FRAMING_LENGTH) <= (response->length >= 0));
    fuzz_within(response->reason, text);
    MUST(gw_field_value_valid(response->reason));
    for (uint32_t i = 0; i < response->fields.count; i++) {
        fuzz_within(response->fields.items[i].name, text);
        fuzz_within(response->fields.items[i].value, text);
        MUST(gw_field_name_valid(response->fields.items[i].name));
        MUST(gw_field_value_valid(response->fields.items[i].value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_arena arena = GW_ARENA_INIT;
    enum gw_method method;
    struct gw_response response;
    struct gw_head head;
    struct gw_str text;
    const char *why = NULL;
    char *copy;

    if (size == 0)
        return 0;
    method = data[0] == 'H' ? GW_METHOD_HEAD : GW_METHOD_GET;
    text = gw_str((const char *)data + 1, size - 1);
    text.data = copy = fuzz_copy(text);
    if (gw_head_parse_response(text, &limits, method, &arena, &response, &head, &why) == GW_OK) {
        check(&response, &head, method, text);
        gw_head_drop_hop_by_hop(&response.fields);
        MUST(gw_fields_known(&response.fields, GW_FIELD_CONNECTION) == NULL);
    } else {
        MUST(why != NULL);
    }
    gw_arena_fini(&arena);
    free(copy);
    return 0;
}
