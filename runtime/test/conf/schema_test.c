/* Plugin schemas: which are taken, and how confs are held to them. */
#include "conf/schema.h"
#include "conf/yaml.h"
#include "support.h"

struct held {
    struct gw_arena arena;
    struct gw_report report;
    struct gw_node *schema;
    struct gw_node *value;
    enum gw_rc compiled;
    enum gw_rc rc;
    char *text;
    struct gw_buf json; /* of the value, with defaults */
};

static struct gw_node *parse(struct held *h, const char *yaml)
{
    struct gw_node *root = NULL;

    if (yaml != NULL)
        assert_int_equal(gw_yaml_parse(&h->arena, 0, gw_str_c(yaml), &h->report, &root), GW_OK);
    return root;
}

static void hold(struct held *h, const char *schema, const char *conf)
{
    struct gw_buf buf = GW_BUF_INIT;
    struct gw_schema_at at;

    memset(h, 0, sizeof(*h));
    gw_report_init(&h->report);
    gw_report_file(&h->report, GW_STR("t"));
    at = (struct gw_schema_at){&h->arena, &h->report, {0, 9, 9}, GW_STR("jwt")};
    h->schema = parse(h, schema);
    h->value = parse(h, conf);
    h->compiled = gw_schema_compile_check(h->schema, &at);
    h->rc = h->compiled == GW_OK ? gw_schema_check(h->schema, &h->value, &at) : GW_INVALID;
    if (h->rc == GW_OK)
        gw_node_json(h->value, &h->json);
    gw_buf_add(&h->json, "", 1);
    gw_report_text(&h->report, &buf);
    gw_buf_add(&buf, "", 1);
    h->text = strdup(buf.data + buf.from);
    gw_buf_fini(&buf);
}

static void let_go(struct held *h)
{
    gw_arena_fini(&h->arena);
    gw_report_fini(&h->report);
    gw_buf_fini(&h->json);
    free(h->text);
}

#define P(inner) "{ type: object, properties: { " inner " } }"

static void good_confs(void **state)
{
    static const struct {
        const char *schema;
        const char *conf;
        const char *json;
    } rows[] = {
        {P("a: { type: string }"), "a: 5", "{\"a\":\"5\"}"},
        {P("a: { type: string }"), "a: true", "{\"a\":\"true\"}"},
        {P("a: { type: string }"), "a: 1.50", "{\"a\":\"1.50\"}"},
        {P("a: { type: integer }"), "a: 0x10", "{\"a\":16}"},
        {P("a: { type: integer }"), "a: 1e3", "{\"a\":1000}"},
        {P("a: { type: number }"), "a: 5", "{\"a\":5}"},
        {P("a: { type: number }"), "a: 0.5", "{\"a\":0.5}"},
        {P("a: { type: boolean }"), "a: False", "{\"a\":false}"},
        {P("a: { type: [ string, \"null\" ] }"), "a: ~", "{\"a\":null}"},
        {P("a: { type: [ integer, string ] }"), "a: 5", "{\"a\":5}"},
        {P("a: { type: [ integer, string ] }"), "a: '5'", "{\"a\":\"5\"}"},
        {P("a: { default: 7 }, b: { default: x }, c: {}"), "b: y", "{\"b\":\"y\",\"a\":7}"},
        {P("a: { type: integer, default: 7 }"), NULL, "{\"a\":7}"},
        {P("a: { type: object, default: {}, properties: { b: { default: 1 } } }"), "~",
         "{\"a\":{\"b\":1}}"},
        {P("a: { type: array, default: [] }"), "{}", "{\"a\":[]}"},
        {P("a: { type: array, items: { type: string } }"), "a: [ 1, x ]", "{\"a\":[\"1\",\"x\"]}"},
        {"{ type: object }", "x: { y: [ 1 ] }", "{\"x\":{\"y\":[1]}}"},
        {"{ type: object, additionalProperties: { type: integer } }", "x: 1", "{\"x\":1}"},
        {"{ type: object, properties: {}, additionalProperties: true }", "x: 1", "{\"x\":1}"},
        {P("a: { type: string, enum: [ x, 5 ] }"), "a: x", "{\"a\":\"x\"}"},
        {P("a: { minimum: 1, maximum: 3, exclusiveMinimum: 0, exclusiveMaximum: 4 }"), "a: 3",
         "{\"a\":3}"},
        {P("a: { type: string, minLength: 1, maxLength: 2 }"), "a: \xc3\xa4\xc3\xa4",
         "{\"a\":\"\xc3\xa4\xc3\xa4\"}"},
        {P("a: { type: string, pattern: \"^[a-z]+$\" }"), "a: abc", "{\"a\":\"abc\"}"},
        {P("a: { type: array, minItems: 1, maxItems: 2 }"), "a: [ 1 ]", "{\"a\":[1]}"},
        {"{ type: object, title: t, description: d, examples: [ 1 ], required: [] }", "", "{}"},
        {NULL, NULL, "{}"},
        {NULL, "{}", "{}"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct held h;

        hold(&h, rows[i].schema, rows[i].conf);
        if (h.rc != GW_OK)
            print_error("%zu: %s", i, h.text);
        assert_int_equal(h.rc, GW_OK);
        assert_string_equal(h.json.data, rows[i].json);
        let_go(&h);
    }
}

static void bad_confs(void **state)
{
    static const struct {
        const char *schema;
        const char *conf;
        const char *report;
    } rows[] = {
        {P("a: { type: integer }"), "a: \"5\"",
         "t:1:4: jwt.a: must be an integer, not a string; write 5 without quotes\n"},
        {P("a: { type: integer }"), "a: 1.5", "t:1:4: jwt.a: must be an integer, not a number\n"},
        {P("a: { type: boolean }"), "a: yes",
         "t:1:4: jwt.a: must be true or false, not a string\n"},
        {P("a: { type: number }"), "a: .inf", "t:1:4: jwt.a: must be a number, not infinite\n"},
        {P("a: { type: string }"), "a:", "t:1:3: jwt.a: must be a string, not empty\n"},
        {P("a: { type: string }"), "a: [ x ]", "t:1:4: jwt.a: must be a string, not a list\n"},
        {P("a: { type: [ string, array ] }"), "a: {}",
         "t:1:4: jwt.a: must be a string or a list, not a map\n"},
        {P("issuer: {}, audience: {}"), "isuer: x",
         "t:1:1: jwt.isuer: unknown key; did you mean \"issuer\"?\n"},
        {P("a: {}"), "zzz: x", "t:1:1: jwt.zzz: unknown key\n"},
        {P("a: { type: object, properties: { bar: {} } }"), "a:\n  baz: 1",
         "t:2:3: jwt.a.baz: unknown key; did you mean \"bar\"?\n"},
        {"{ type: object, required: [ a, b ], properties: { a: {}, b: {} } }", NULL,
         "t:9:9: jwt: \"a\" is missing\nt:9:9: jwt: \"b\" is missing\n"},
        {P("a: { type: array, items: { type: integer } }"), "a: [ 1, x, 3, y ]",
         "t:1:9: jwt.a[1]: must be an integer, not a string\n"
         "t:1:15: jwt.a[3]: must be an integer, not a string\n"},
        {P("a: { enum: [ red, green ] }"), "a: gren",
         "t:1:4: jwt.a: must be one of \"red\", \"green\"; did you mean \"green\"?\n"},
        {P("a: { minimum: 1 }"), "a: 0", "t:1:4: jwt.a: must be at least 1\n"},
        {P("a: { maximum: 1.5 }"), "a: 2", "t:1:4: jwt.a: must be at most 1.5\n"},
        {P("a: { exclusiveMinimum: 1 }"), "a: 1", "t:1:4: jwt.a: must be more than 1\n"},
        {P("a: { exclusiveMaximum: 1 }"), "a: 1", "t:1:4: jwt.a: must be less than 1\n"},
        {P("a: { type: string, minLength: 1 }"), "a: ''", "t:1:4: jwt.a: must not be empty\n"},
        {P("a: { type: string, minLength: 3 }"), "a: ab",
         "t:1:4: jwt.a: must have at least 3 characters\n"},
        {P("a: { type: string, maxLength: 1 }"), "a: ab",
         "t:1:4: jwt.a: must have at most 1 characters\n"},
        {P("a: { type: string, pattern: \"^x\" }"), "a: ab",
         "t:1:4: jwt.a: must fit the pattern ^x\n"},
        {P("a: { type: array, minItems: 2 }"), "a: [ 1 ]",
         "t:1:4: jwt.a: must have at least 2 items\n"},
        {P("a: { type: array, maxItems: 0 }"), "a: [ 1 ]",
         "t:1:4: jwt.a: must have at most 0 items\n"},
        {"{ type: object, additionalProperties: { type: integer } }", "b: x",
         "t:1:4: jwt.b: must be an integer, not a string\n"},
        {P("a: {}"), "[ 1 ]", "t:1:1: jwt: the conf of a plugin must be a map, not a list\n"},
        {NULL, "a: 1", "t:1:1: jwt: this plugin takes no conf\n"},
        {P("a: { type: string, pattern: \"^(a+)+$\" }"),
         "a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
         "t:1:4: jwt.a: must fit the pattern ^(a+)+$ (which is too expensive to match)\n"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct held h;

        hold(&h, rows[i].schema, rows[i].conf);
        assert_int_equal(h.compiled, GW_OK);
        assert_int_equal(h.rc, GW_INVALID);
        assert_string_equal(h.text, rows[i].report);
        let_go(&h);
    }
}

static void schemas_that_are_refused(void **state)
{
    static const struct {
        const char *schema;
        const char *report;
    } rows[] = {
        {"{ type: object, divisibleBy: 2 }",
         "t:1:30: jwt.divisibleBy: no keyword of JSON Schema 2020-12; check it in init() of the "
         "plugin\n"},
        {P("a: { defualt: 1 }"),
         "t:1:45: jwt.properties.a.defualt: no keyword of JSON Schema 2020-12; "
         "did you mean \"default\"?\n"},
        {P("a: { type: strin }"), "t:1:42: jwt.properties.a.type: \"strin\" is no type\n"},
        {P("a: { type: [] }"),
         "t:1:42: jwt.properties.a.type: must be the name of a type, or a list of "
         "them\n"},
        {P("a: { type: [ string, x ] }"),
         "t:1:42: jwt.properties.a.type: must be a list of names of types\n"},
        {P("a: { minimum: x }"), "t:1:45: jwt.properties.a.minimum: must be a number\n"},
        {P("a: { maxItems: -1 }"),
         "t:1:46: jwt.properties.a.maxItems: must be an integer that is not "
         "negative\n"},
        {P("a: { pattern: \"(\" }"), NULL},
        {P("a: 5"), "t:1:34: jwt.properties.a: a schema must be a map, not an integer\n"},
        {P("a: { type: integer, default: x }"),
         "t:1:60: jwt.properties.a.default: must be an integer, not a string\n"},
        {P("a: { enum: [ x ], default: y }"),
         "t:1:58: jwt.properties.a.default: must be one of \"x\"\n"},
        {P("a: { enum: [] }"), "t:1:42: jwt.properties.a.enum: must be a list of values\n"},
        {P("a: { items: [ {} ] }"),
         "t:1:43: jwt.properties.a.items: a schema must be a map, not a list\n"},
        {"{ type: string }",
         "t:1:9: jwt: the conf of a plugin is a map: the type must be \"object\"\n"},
        {"{ required: a }", "t:1:13: jwt.required: must be a list of names\n"},
        {"{ properties: [ a ] }", "t:1:15: jwt.properties: must be a map of names to schemas\n"},
        {"[ 1 ]", "t:1:1: jwt: a schema must be a map, not a list\n"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct held h;

        hold(&h, rows[i].schema, NULL);
        assert_int_equal(h.compiled, GW_INVALID);
        assert_int_equal(h.report.faults_count, 1);
        if (rows[i].report != NULL)
            assert_string_equal(h.text, rows[i].report);
        let_go(&h);
    }
}

/* script/ makes schemas from Lua tables, where {} may be either. */
static void schemas_from_lua(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_node *schema = gw_node_new_map(&arena), *properties = gw_node_new_map(&arena);
    struct gw_node *a = gw_node_new_map(&arena), *value = NULL;
    struct gw_report report;
    struct gw_schema_at at = {&arena, &report, {0, 3, 3}, GW_STR("x")};
    struct gw_buf json = GW_BUF_INIT;

    gw_report_init(&report);
    gw_node_set(&arena, a, GW_STR("type"), gw_node_new_string(&arena, GW_STR("array")));
    gw_node_set(&arena, a, GW_STR("default"), gw_node_new_map(&arena));
    gw_node_set(&arena, properties, GW_STR("a"), a);
    gw_node_set(&arena, schema, GW_STR("type"), gw_node_new_string(&arena, GW_STR("object")));
    gw_node_set(&arena, schema, GW_STR("properties"), properties);
    gw_node_set(&arena, schema, GW_STR("required"), gw_node_new_map(&arena));
    assert_int_equal(gw_schema_compile_check(schema, &at), GW_OK);
    assert_int_equal(gw_schema_check(schema, &value, &at), GW_OK);
    gw_node_json(value, &json);
    gw_buf_add(&json, "", 1);
    assert_string_equal(json.data, "{\"a\":[]}");
    gw_buf_clear(&json);
    gw_schema_json(schema, &json);
    gw_buf_add(&json, "", 1);
    assert_string_equal(
        json.data,
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"default\":[]}},"
        "\"required\":[],\"additionalProperties\":false}");
    gw_buf_fini(&json);
    gw_report_fini(&report);
    gw_arena_fini(&arena);
}

static void deep_schemas(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_node *schema = gw_node_new_map(&arena);
    struct gw_report report;
    struct gw_schema_at at = {&arena, &report, {0, 0, 0}, GW_STR("x")};

    gw_report_init(&report);
    for (int i = 0; i < 1000; i++) {
        struct gw_node *outer = gw_node_new_map(&arena);

        gw_node_set(&arena, outer, GW_STR("items"), schema);
        schema = outer;
    }
    assert_int_equal(gw_schema_compile_check(schema, &at), GW_INVALID);
    gw_report_fini(&report);
    gw_arena_fini(&arena);
}

/* What the environment gives is typed by its place, in quotes or not. */
static void expanded_values(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_report report;
    struct gw_schema_at at = {&arena, &report, {0, 0, 0}, GW_STR("x")};
    struct gw_node *schema, *value = gw_node_new_map(&arena);
    struct gw_node *port = gw_node_new_string(&arena, GW_STR("80"));
    int64_t number;

    gw_report_init(&report);
    assert_int_equal(
        gw_yaml_parse(&arena, 0, GW_STR(P("port: { type: integer }")), &report, &schema), GW_OK);
    port->expanded = true;
    gw_node_set(&arena, value, GW_STR("port"), port);
    assert_int_equal(gw_schema_check(schema, &value, &at), GW_OK);
    assert_true(gw_node_int(gw_node_get_c(value, "port"), &number) && number == 80);
    gw_report_fini(&report);
    gw_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_confs),
        cmocka_unit_test(bad_confs),
        cmocka_unit_test(schemas_that_are_refused),
        cmocka_unit_test(schemas_from_lua),
        cmocka_unit_test(deep_schemas),
        cmocka_unit_test(expanded_values),
    };

    return cmocka_run_group_tests_name("conf schema", tests, NULL, NULL);
}
