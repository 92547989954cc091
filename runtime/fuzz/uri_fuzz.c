/* Paths, targets, authorities, queries; the first byte of the input says which.
 * Sources: http/uri.c base/arena.c */
#include "fuzz/fuzz.h"
#include "http/uri.h"

static int hex(char digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0' : digit - 'A' + 10;
}

/* A normal path has no dot segment, no plain byte that must be encoded, none encoded that
 * may be plain, and is its own normal form. */
static void check_normal(struct gw_arena *arena, struct gw_str path)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    static const char other[] = "!$&'()*+,;=:@/";
    struct gw_str again;
    size_t segment = 1;

    MUST(path.len > 0 && path.data[0] == '/');
    for (size_t i = 0; i < path.len; i++) {
        char byte = path.data[i];
        if (byte == '%') {
            char decoded;
            MUST(i + 2 < path.len);
            decoded = (char)(hex(path.data[i + 1]) << 4 | hex(path.data[i + 2]));
            MUST(decoded != '\0' && decoded != '\\' && strchr(plain, decoded) == NULL);
            i += 2;
            continue;
        }
        MUST(byte != '\0' && (strchr(plain, byte) != NULL || strchr(other, byte) != NULL));
    }
    for (size_t i = 1; i <= path.len; i++)
        if (i == path.len || path.data[i] == '/') {
            struct gw_str name = gw_str(path.data + segment, i - segment);
            MUST(!gw_str_eq(name, GW_STR(".")) && !gw_str_eq(name, GW_STR("..")));
            MUST(!gw_str_starts(name, GW_STR("..;")) && !gw_str_starts(name, GW_STR("..%2F")));
            segment = i + 1;
        }
    MUST(gw_uri_normalize_path(arena, path, &again) == GW_OK && gw_str_eq(path, again));
}

static void fuzz_path(struct gw_arena *arena, struct gw_str text)
{
    struct gw_str path, merged, again;

    if (gw_uri_normalize_path(arena, text, &path) == GW_OK) {
        check_normal(arena, path);
        merged = gw_uri_merge_slashes(arena, path);
        check_normal(arena, merged); /* merging makes no new dot segments */
    }
    merged = gw_uri_merge_slashes(arena, text);
    MUST(merged.len <= text.len);
    for (size_t i = 1; i < merged.len; i++)
        MUST(merged.data[i] != '/' || merged.data[i - 1] != '/');
    again = gw_uri_merge_slashes(arena, merged);
    MUST(again.data == merged.data);
}

static void fuzz_target(struct gw_str text)
{
    struct gw_target_parts parts;

    if (gw_uri_split_target(text, &parts) != GW_OK)
        return;
    MUST(memchr(text.data, '#', text.len) == NULL);
    fuzz_within(parts.authority, text);
    fuzz_within(parts.query, text);
    MUST(parts.path.len > 0 && memchr(parts.path.data, '?', parts.path.len) == NULL);
    MUST((parts.form == GW_TARGET_ABSOLUTE) == (parts.authority.len > 0));
}

static void fuzz_authority(struct gw_arena *arena, struct gw_str text)
{
    struct gw_str host, again;
    uint16_t port, none;

    if (gw_uri_parse_authority(arena, text, &host, &port) != GW_OK)
        return;
    MUST(host.len > 0 && host.len <= text.len);
    for (size_t i = 0; i < host.len; i++)
        MUST((host.data[i] < 'A' || host.data[i] > 'Z') &&
             strchr("@/\\?# \t", host.data[i]) == NULL);
    MUST(gw_uri_parse_authority(arena, host, &again, &none) == GW_OK);
    MUST(none == 0 && again.data == host.data && again.len == host.len);
}

static void fuzz_query(struct gw_arena *arena, struct gw_str text)
{
    struct gw_str rest = text, name, value, decoded;

    while (gw_uri_query_next(&rest, &name, &value)) {
        MUST(name.len + value.len > 0 || value.data != NULL);
        fuzz_within(name, text);
        fuzz_within(value, text);
        if (gw_uri_decode(arena, name, true, &decoded) == GW_OK)
            MUST(decoded.len <= name.len);
    }
    MUST(rest.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_str text;
    char *copy;

    if (size == 0)
        return 0;
    text = gw_str((const char *)data + 1, size - 1);
    text.data = copy = fuzz_copy(text);
    switch (data[0] % 4) {
    case 0:
        fuzz_path(&arena, text);
        break;
    case 1:
        fuzz_target(text);
        break;
    case 2:
        fuzz_authority(&arena, text);
        break;
    default:
        fuzz_query(&arena, text);
        break;
    }
    gw_arena_fini(&arena);
    free(copy);
    return 0;
}
