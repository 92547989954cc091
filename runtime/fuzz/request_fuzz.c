/* Heads of requests, and the paths in them: nothing that gets through is ambiguous.
 * Sources: http/head.c http/opinion.c http/head_find.c http/uri.c http/message.c base/arena.c
 * Libraries: http_parser */
#include "fuzz/fuzz.h"
#include "http/head.h"
#include "http/uri.h"

static const struct gw_head_limits limits = {
    .header_bytes_max = 2048, .header_count_max = 24, .uri_bytes_max = 256};

static enum gw_rc find(struct gw_str data, size_t step, size_t *len, uint16_t *status)
{
    enum gw_rc rc = GW_AGAIN;
    size_t seen = 0, have = 0;

    while (rc == GW_AGAIN && have < data.len) {
        have = data.len - have < step ? data.len : have + step;
        rc = gw_head_find(gw_str(data.data, have), &limits, &seen, len, status);
        MUST(seen <= have);
    }
    return rc;
}

/* The final status must not depend on how the bytes came. */
static unsigned judge(struct gw_str data, size_t step, struct gw_arena *arena,
                      struct gw_request *request, struct gw_head *head, size_t *len)
{
    uint16_t status = 0;
    const char *why = NULL;
    enum gw_rc rc = find(data, step, len, &status);

    if (rc == GW_AGAIN)
        return 1;
    if (rc == GW_OK)
        rc = gw_head_parse_request(gw_str(data.data, *len), &limits, arena, request, head, &status,
                                   &why);
    MUST(rc == GW_OK ? status == 0 : status >= 400 && status <= 505);
    MUST((rc == GW_LIMIT) == (status == 414 || status == 431));
    return status;
}

static void check_fields(const struct gw_fields *fields, struct gw_str text)
{
    unsigned lengths = 0, codings = 0, hosts = 0;

    MUST(fields->count <= limits.header_count_max);
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct gw_field *field = &fields->items[i];
        fuzz_within(field->name, text);
        fuzz_within(field->value, text);
        MUST(gw_field_name_valid(field->name) && gw_field_value_valid(field->value));
        if (field->wire)
            MUST(field->name.data + field->name.len + 2 == field->value.data &&
                 memcmp(field->value.data - 2, ": ", 2) == 0 &&
                 memcmp(field->value.data + field->value.len, "\r\n", 2) == 0);
        lengths += gw_str_eq_nocase(field->name, GW_STR("content-length"));
        codings += gw_str_eq_nocase(field->name, GW_STR("transfer-encoding"));
        hosts += gw_str_eq_nocase(field->name, GW_STR("host"));
    }
    MUST(lengths + codings <= 1 && hosts <= 1);
}

static void check_path(struct gw_arena *arena, struct gw_str target)
{
    struct gw_target_parts parts;
    struct gw_str path, again;

    MUST(gw_uri_split_target(target, &parts) == GW_OK || target.data[0] == '/');
    if (parts.form == GW_TARGET_ASTERISK ||
        gw_uri_normalize_path(arena, parts.path, &path) != GW_OK)
        return;
    MUST(path.len > 0 && path.data[0] == '/');
    MUST(gw_uri_normalize_path(arena, path, &again) == GW_OK && gw_str_eq(path, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_str text = gw_str((const char *)data, size);
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_request request, other;
    struct gw_head head;
    char *copy = fuzz_copy(text);
    size_t len = 0, other_len = 0;
    unsigned status;

    text.data = copy;
    status = judge(text, size, &arena, &request, &head, &len);
    MUST(judge(text, 1, &arena, &other, &head, &other_len) == status);
    MUST(judge(text, 13, &arena, &other, &head, &other_len) == status);
    if (status == 0) {
        MUST(len == other_len);
        check_fields(&request.fields, gw_str(copy, len));
        fuzz_within(request.method, text);
        fuzz_within(request.target, text);
        MUST(request.host.len > 0 || request.minor == 0);
        check_path(&arena, request.target);
        gw_head_drop_hop_by_hop(&request.fields);
        MUST(gw_fields_known(&request.fields, GW_FIELD_CONNECTION) == NULL);
        MUST(gw_fields_known(&request.fields, GW_FIELD_TRANSFER_ENCODING) == NULL);
    }
    gw_arena_fini(&arena);
    free(copy);

    /* The parser by itself: what it is given need not have been found. */
    gw_arena_init(&arena);
    copy = fuzz_copy(gw_str((const char *)data, size));
    if (size > 0) {
        uint16_t refusal;
        const char *why;
        (void)!gw_head_parse_request(gw_str(copy, size), &limits, &arena, &request, &head, &refusal,
                                     &why);
    }
    gw_arena_fini(&arena);
    free(copy);
    return 0;
}
