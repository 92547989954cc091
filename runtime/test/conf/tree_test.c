/* Nodes that are made by hand, JSON there and back, hashes, names and what was meant. */
#include "conf/names.h"
#include "conf/path.h"
#include "conf/tree.h"
#include "support.h"

static void json_there_and_back(void **state)
{
    static const char *const texts[] = {
        "{\"a\":[1,-2.5,true,false,null,\"x\\\"\\n\\u0001\"],\"b\":{},\"c\":[]}",
        "[9223372036854775807,-9223372036854775808]", "[1e+300,0.1]", "[[[[]]]]", "{\"\":\"\"}"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct gw_arena arena = GW_ARENA_INIT;
        struct gw_buf out = GW_BUF_INIT;
        struct gw_node *node;
        struct gw_err err;

        assert_int_equal(gw_node_from_json(&arena, gw_str_c(texts[i]), &node, &err), GW_OK);
        gw_node_json(node, &out);
        gw_buf_add(&out, "", 1);
        assert_string_equal(out.data, texts[i]);
        gw_buf_fini(&out);
        gw_arena_fini(&arena);
    }
}

static void json_that_is_refused(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_buf deep = GW_BUF_INIT;
    struct gw_node *node;
    struct gw_err err;

    assert_int_equal(gw_node_from_json(&arena, GW_STR("{"), &node, &err), GW_INVALID);
    for (int i = 0; i < 65; i++)
        gw_buf_add(&deep, "[", 1);
    for (int i = 0; i < 65; i++)
        gw_buf_add(&deep, "]", 1);
    assert_int_equal(gw_node_from_json(&arena, gw_buf_str(&deep), &node, &err), GW_LIMIT);
    gw_buf_fini(&deep);
    gw_arena_fini(&arena);
}

static struct gw_node *sample(struct gw_arena *arena, bool turned)
{
    struct gw_node *map = gw_node_new_map(arena), *list = gw_node_new_list(arena);

    gw_node_push(list, gw_node_new_number(arena, 1));
    gw_node_push(list, gw_node_new_number(arena, 0.5));
    if (turned)
        gw_node_set(arena, map, GW_STR("list"), list);
    gw_node_set(arena, map, GW_STR("text"), gw_node_new_string(arena, GW_STR("5")));
    gw_node_set(arena, map, GW_STR("flag"), gw_node_new_bool(arena, true));
    gw_node_set(arena, map, GW_STR("none"), gw_node_new_null(arena));
    if (!turned)
        gw_node_set(arena, map, GW_STR("list"), list);
    return map;
}

static void made_nodes(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT, other = GW_ARENA_INIT;
    struct gw_node *a = sample(&arena, false), *b = sample(&other, true), *copy;
    struct gw_str text;
    double number;
    int64_t integer;
    bool flag;

    assert_true(gw_node_eq(a, b));
    assert_int_equal(gw_node_hash(a, 0), gw_node_hash(b, 0));
    assert_int_not_equal(gw_node_hash(a, 0), gw_node_hash(a, 1));
    copy = gw_node_copy(&arena, b);
    gw_arena_fini(&other);
    assert_true(gw_node_eq(a, copy));
    gw_node_push(gw_node_get_c(copy, "list"), gw_node_new_null(&arena));
    assert_false(gw_node_eq(a, copy));
    assert_int_not_equal(gw_node_hash(a, 0), gw_node_hash(copy, 0));
    assert_true(gw_node_string(gw_node_get_c(a, "text"), &text) && text.len == 1);
    assert_false(gw_node_int(gw_node_get_c(a, "text"), &integer));
    assert_true(gw_node_bool(gw_node_get_c(a, "flag"), &flag) && flag);
    assert_true(gw_node_int(gw_node_at(gw_node_get_c(a, "list"), 0), &integer) && integer == 1);
    assert_true(gw_node_number(gw_node_at(gw_node_get_c(a, "list"), 1), &number) && number == 0.5);
    assert_false(gw_node_int(gw_node_at(gw_node_get_c(a, "list"), 1), &integer));
    assert_true(gw_node_is_null(gw_node_get_c(a, "none")));
    assert_null(gw_node_get_c(a, "nope"));
    assert_null(gw_node_get_c(gw_node_get_c(a, "text"), "x"));
    assert_null(gw_node_first(gw_node_get_c(a, "text")));
    gw_arena_fini(&arena);
}

static void numbers_that_json_has_not(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_node *list = gw_node_new_list(&arena);
    struct gw_buf out = GW_BUF_INIT;

    gw_node_push(list, gw_node_new_number(&arena, __builtin_inf()));
    gw_node_push(list, gw_node_new_number(&arena, __builtin_nan("")));
    gw_node_json(list, &out);
    assert_memory_equal(out.data, "[null,null]", 11);
    gw_buf_fini(&out);
    gw_arena_fini(&arena);
}

static void short_values_have_hashes_of_their_own(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_names seen = GW_NAMES_INIT;

    for (int i = 0; i < 1000; i++) {
        struct gw_str text = gw_arena_printf(&arena, "%d", i);
        uint64_t hash = gw_node_hash(gw_node_new_string(&arena, text), 0);

        assert_true(gw_names_add(&seen, gw_arena_dup(&arena, gw_str((char *)&hash, 8)), 0, NULL));
    }
    gw_names_fini(&seen);
    gw_arena_fini(&arena);
}

static void names(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_names table = GW_NAMES_INIT;
    uint32_t value;

    assert_false(gw_names_get(&table, GW_STR("x"), &value));
    for (uint32_t i = 0; i < 5000; i++)
        assert_true(gw_names_add(&table, gw_arena_printf(&arena, "n%u", i), i, NULL));
    for (uint32_t i = 0; i < 5000; i++) {
        assert_true(gw_names_get(&table, gw_arena_printf(&arena, "n%u", i), &value));
        assert_int_equal(value, i);
    }
    assert_false(gw_names_add(&table, GW_STR("n7"), 9, &value));
    assert_int_equal(value, 7);
    assert_true(gw_names_add(&table, GW_STR_NULL, 1, NULL));
    assert_false(gw_names_add(&table, GW_STR(""), 1, NULL));
    gw_names_fini(&table);
    gw_arena_fini(&arena);
}

static void distances(void **state)
{
    static const struct {
        const char *a, *b;
        uint32_t distance;
    } rows[] = {{"", "", 0},
                {"a", "", 1},
                {"", "abc", 3},
                {"timeout", "timout", 1},
                {"ab", "ba", 1},
                {"a-b", "a_b", 0},
                {"abc", "axc", 1},
                {"kitten", "sitting", 3},
                {"listen", "listne", 1}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(gw_edit_distance(gw_str_c(rows[i].a), gw_str_c(rows[i].b)),
                         rows[i].distance);
}

static void suggestions(void **state)
{
    static const char *const words[] = {"timeout", "retries", "upstream", "strip"};
    static const struct {
        const char *word, *best;
    } rows[] = {{"timout", "timeout"},    {"retry", NULL},    {"retris", "retries"},
                {"upstraem", "upstream"}, {"x", NULL},        {"", NULL},
                {"completely", NULL},     {"strip_", "strip"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gw_suggest suggest;

        gw_suggest_begin(&suggest, gw_str_c(rows[i].word));
        for (size_t j = 0; j < 4; j++)
            gw_suggest_offer(&suggest, gw_str_c(words[j]));
        if (rows[i].best == NULL)
            assert_null(suggest.best.data);
        else
            assert_string_equal(suggest.best.data, rows[i].best);
    }
}

static void paths(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_path a = {NULL, GW_STR("routes"), 0}, b = {&a, GW_STR_NULL, 3};
    struct gw_path c = {&b, GW_STR("x.y"), 0}, d = {&c, GW_STR("z-1"), 0}, e = {&d, GW_STR(""), 0};

    assert_string_equal(gw_path_text(&e, &arena).data, "routes[3][\"x.y\"].z-1[\"\"]");
    assert_string_equal(gw_path_text(NULL, &arena).data, "");
    gw_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_there_and_back),
        cmocka_unit_test(json_that_is_refused),
        cmocka_unit_test(made_nodes),
        cmocka_unit_test(numbers_that_json_has_not),
        cmocka_unit_test(short_values_have_hashes_of_their_own),
        cmocka_unit_test(names),
        cmocka_unit_test(distances),
        cmocka_unit_test(suggestions),
        cmocka_unit_test(paths),
    };

    return cmocka_run_group_tests_name("conf tree", tests, NULL, NULL);
}
