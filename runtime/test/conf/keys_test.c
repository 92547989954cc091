/* The tables of keys against what is told of them: conf/gateway.full.yaml, docs/conf.md, and the
 * JSON Schema. */
#include "base/json.h"
#include "conf/conf_schema.h"
#include "support.h"

static const char root[] = MOONGATE_SOURCE_DIR "/";

struct full {
    struct gw_node *tree;
    uint32_t keys;
    uint32_t wrong;
};

struct search {
    const struct gw_row *row;
    bool found;
    bool is_default;
};

static void look(struct search *s, struct gw_node *node, const char *path);

/* `path` is what is still to be gone: "", ".key…", "[].key…", ".NAME.key…". */
static void step_in(struct search *s, struct gw_node *node, const char *path)
{
    if (strncmp(path, "[]", 2) == 0) {
        GW_ITEMS_EACH(item, node)
        step_in(s, item, path + 2);
    } else if (strncmp(path, ".NAME", 5) == 0) {
        for (struct gw_node *n = gw_node_first(node); n != NULL; n = n->next)
            step_in(s, n, path + 5);
    } else if (*path == '.') {
        look(s, node, path + 1);
    } else {
        const char *otherwise = s->row->otherwise;

        s->found = true;
        s->is_default = s->is_default || otherwise == NULL || node->kind != GW_NODE_SCALAR ||
                        gw_str_eq(node->text, gw_str_c(otherwise));
    }
}

static void look(struct search *s, struct gw_node *node, const char *path)
{
    size_t len = strcspn(path, ".[");
    struct gw_node *member = gw_node_get(node, gw_str(path, len));

    if (member != NULL)
        step_in(s, member, path + len);
}

static void check_key(void *arg, struct gw_str path, const struct gw_row *row)
{
    struct full *full = arg;
    struct search search = {.row = row};
    char text[256];

    snprintf(text, sizeof(text), "%.*s", GW_STR_ARG(path));
    /* It is commented out: a user of that name need not exist. */
    if (strcmp(text, "user") == 0)
        return;
    full->keys++;
    look(&search, full->tree, text);
    if (search.found && search.is_default)
        return;
    full->wrong++;
    print_error("gateway.full.yaml: %s %s%s\n", text,
                search.found ? "has not its default " : "is missing",
                search.found ? row->otherwise : "");
}

/* What needs files stands behind "#:"; for the search it counts. */
static char *uncommented(const char *path)
{
    static const char mark[] = "#:";
    char *text = calloc(1, 1 << 20), *at;
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    (void)fclose(f);
    for (at = text; (at = strstr(at, mark)) != NULL;)
        memmove(at, at + 3, strlen(at + 3) + 1);
    return text;
}

static void the_full_conf_has_every_key(void **state)
{
    struct full full = {NULL, 0, 0};
    char path[600], *text;
    struct loaded l;

    snprintf(path, sizeof(path), "%sconf/gateway.full.yaml", root);
    load_file(&l, path, NULL);
    (void)conf_of(&l);
    unload(&l);
    text = uncommented(path);
    load_file(&l, path, text); /* its files are not there: only the tree counts */
    full.tree = l.source.root;
    gw_conf_keys(check_key, &full);
    assert_true(full.keys > 120);
    assert_int_equal(full.wrong, 0);
    unload(&l);
    free(text);
}

static void the_small_conf_is_fine(void **state)
{
    char path[600];
    struct loaded l;

    snprintf(path, sizeof(path), "%sconf/gateway.yaml", root);
    load_file(&l, path, NULL);
    assert_int_equal(conf_of(&l)->routes.len, 3);
    assert_int_equal(l.source.bindings_count, 3);
    unload(&l);
}

static void the_reference_tells_of_every_key(void **state)
{
    struct gw_buf wanted = GW_BUF_INIT;
    char path[600], *text = calloc(1, 1 << 20);
    FILE *f;

    snprintf(path, sizeof(path), "%sdocs/conf.md", root);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    (void)fclose(f);
    gw_conf_reference(&wanted);
    gw_buf_add(&wanted, "", 1);
    if (strstr(text, wanted.data) == NULL)
        print_error("docs/conf.md does not hold this table:\n%s\n", wanted.data);
    assert_non_null(strstr(text, wanted.data));
    gw_buf_fini(&wanted);
    free(text);
}

static void the_schema_is_json(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_node *conf = gw_node_new_map(&arena), *properties, *node;
    struct gw_plugin_schema plugins[2] = {{GW_STR("jwt"), conf}, {GW_STR("cors"), NULL}};
    struct gw_buf out = GW_BUF_INIT;
    struct gw_node *schema;
    struct gw_err err;

    gw_node_set(&arena, conf, GW_STR("type"), gw_node_new_string(&arena, GW_STR("object")));
    gw_node_set(&arena, conf, GW_STR("properties"), gw_node_new_map(&arena));
    gw_conf_schema(plugins, 2, &out);
    assert_int_equal(gw_node_from_json(&arena, gw_buf_str(&out), &schema, &err), GW_OK);
    properties = gw_node_get_c(schema, "properties");
    assert_int_equal(properties->count, gw_section_root.count);
    for (uint32_t i = 0; i < gw_section_root.count; i++) {
        node = gw_node_get_c(properties, gw_section_root.rows[i].key);
        assert_non_null(node);
        assert_non_null(gw_node_get_c(node, "description"));
    }
    /* A route may set fewer limits than the gateway. */
    node = gw_node_get_c(gw_node_get_c(gw_node_get_c(properties, "routes"), "items"), "properties");
    node = gw_node_get_c(gw_node_get_c(node, "limits"), "properties");
    assert_non_null(gw_node_get_c(node, "body_size_max"));
    assert_null(gw_node_get_c(node, "header_count_max"));
    node = gw_node_get_c(gw_node_get_c(schema, "$defs"), "plugin:jwt");
    assert_non_null(node);
    node = gw_node_get_c(gw_node_at(gw_node_get_c(node, "anyOf"), 1), "additionalProperties");
    assert_non_null(node);
    gw_buf_fini(&out);
    gw_arena_fini(&arena);
}

static void every_row_is_told_of(void **state)
{
    const struct gw_section *sections[] = {&gw_section_root,     &gw_section_limits,
                                           &gw_section_listener, &gw_section_upstream,
                                           &gw_section_route,    &gw_section_binding};

    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        for (uint32_t j = 0; j < sections[i]->count; j++) {
            const struct gw_row *row = &sections[i]->rows[j];
            size_t len = strlen(row->doc);

            assert_true(len > 0 && (row->doc[len - 1] == '.' || row->doc[len - 1] == ')'));
            assert_true(row->min <= row->max);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_full_conf_has_every_key),
        cmocka_unit_test(the_small_conf_is_fine),
        cmocka_unit_test(the_reference_tells_of_every_key),
        cmocka_unit_test(the_schema_is_json),
        cmocka_unit_test(every_row_is_told_of),
    };

    return cmocka_run_group_tests_name("conf keys", tests, NULL, NULL);
}
