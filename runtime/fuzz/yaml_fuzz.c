/* The short cut for plain YAML against libyaml: what the one reads, the other reads the same, with
 * the same places, and finds no fault in.
 * Sources: conf/yaml_plain.c conf/yaml.c conf/yaml_error.c conf/tree.c conf/report.c
 * Sources: conf/names.c base/json.c base/hash.c base/arena.c base/buf.c base/err.c
 * Libraries: yaml jansson m */
#include "conf/yaml.h"

#include <string.h>

#include "fuzz/fuzz.h"

static void same(const struct gw_node *a, const struct gw_node *b)
{
    const struct gw_node *x, *y;

    MUST(a->kind == b->kind);
    MUST(memcmp(&a->where, &b->where, sizeof(a->where)) == 0);
    MUST(a->key_line == b->key_line && a->key_column == b->key_column);
    MUST(gw_str_eq(a->key, b->key));
    if (a->kind == GW_NODE_SCALAR) {
        MUST(a->scalar == b->scalar && a->quoted == b->quoted);
        MUST(gw_str_eq(a->text, b->text));
        return;
    }
    MUST(a->count == b->count);
    for (x = a->members.first, y = b->members.first; x != NULL; x = x->next, y = y->next) {
        MUST(y != NULL);
        same(x, y);
    }
    MUST(y == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = fuzz_copy(gw_str((const char *)data, size));
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_node *plain, *full;
    struct gw_report report;

    gw_report_init(&report);
    (void)gw_report_file(&report, GW_STR("t.yaml"));
    if (gw_yaml_parse_plain(&arena, 0, gw_str(copy, size), &plain)) {
        MUST(gw_yaml_parse_full(&arena, 0, gw_str(copy, size), &report, &full) == GW_OK);
        MUST(report.faults_count == 0);
        MUST((plain == NULL) == (full == NULL));
        if (plain != NULL)
            same(plain, full);
    }
    gw_report_fini(&report);
    gw_arena_fini(&arena);
    free(copy);
    return 0;
}
