/* The short cut for plain YAML: what it reads, it reads as libyaml does; the rest it leaves. */
#include "conf/yaml.h"
#include "support.h"

static void assert_same(const struct gw_node *a, const struct gw_node *b)
{
    const struct gw_node *x, *y;

    assert_int_equal(a->kind, b->kind);
    assert_memory_equal(&a->where, &b->where, sizeof(a->where));
    assert_int_equal(a->key_line, b->key_line);
    assert_int_equal(a->key_column, b->key_column);
    assert_true(gw_str_eq(a->key, b->key));
    if (a->kind == GW_NODE_SCALAR) {
        assert_int_equal(a->scalar, b->scalar);
        assert_int_equal(a->quoted, b->quoted);
        assert_true(gw_str_eq(a->text, b->text));
        return;
    }
    assert_int_equal(a->count, b->count);
    for (x = a->members.first, y = b->members.first; x != NULL; x = x->next, y = y->next)
        assert_same(x, y);
}

static bool reads(const char *text)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_node *plain, *full;
    struct gw_report report;
    bool done = gw_yaml_parse_plain(&arena, 0, gw_str_c(text), &plain);

    gw_report_init(&report);
    gw_report_file(&report, GW_STR("t.yaml"));
    if (done) {
        assert_int_equal(gw_yaml_parse_full(&arena, 0, gw_str_c(text), &report, &full), GW_OK);
        assert_int_equal(report.faults_count, 0);
        assert_int_equal(plain == NULL, full == NULL);
        if (plain != NULL)
            assert_same(plain, full);
    } else {
        assert_null(plain);
    }
    gw_report_fini(&report);
    gw_arena_fini(&arena);
    return done;
}

static void what_it_reads(void **state)
{
    static const char *const texts[] = {
        "a: 1\n",
        "# c\n\n  a: b # c\n#\n  c: \"d\"   \n  'e f' : 'g'",
        "a:\nb:\n- c\n-\n- - d\n  - e\n- f: g\n  h:\n    i: -1\n",
        "a: [ b, [ ], {}, { c: d,\n# e\n  f: [ g ], }, ]\n",
        "a: http://b:80/c#d # e\nf: x y\ng: -.5\n",
        "\"b\": null\nc: ~\nd: \"\"\n",
        "- a:\n  - b\n- c\n",
        "a\n",
        "[ a ]",
        "a:\n  { b: c }\nd:\n  e\n",
        "a:\n  - b:\n\n  -   c: 1\n      d: 2\n",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (!reads(texts[i]))
            fail_msg("left to libyaml: %s", texts[i]);
}

static void what_it_leaves(void **state)
{
    static const char *const texts[] = {
        "",                    /* nothing */
        "# only a comment\n",  /* nothing either */
        "---\na: b\n",         /* marks of documents */
        "a: b\n...\n",         /* … */
        "a: [ b,\n--- ]\n",    /* … */
        "a: b\n  c\n",         /* scalars of several lines */
        "a:\n  b\n  c\n",      /* … */
        "- a\n  b\n",          /* … */
        "a: \"b\n  c\"\n",     /* … */
        "a: [ b\n c ]\n",      /* … */
        "a: |\n  b\n",         /* block scalars */
        "a: >\n  b\n",         /* … */
        "a: \"b\\n\"\n",       /* escapes */
        "a: 'b''c'\n",         /* … */
        "a: &b c\nd: *b\n",    /* anchors, aliases */
        "a: !!str b\n",        /* tags */
        "? a\n: b\n",          /* explicit keys */
        "a:\tb\n",             /* tabs */
        "a: \xc3\xa4\n",       /* other bytes than ASCII */
        "a: b\r\n",            /* … */
        "a: { b, c: d }\n",    /* keys without a value */
        "a: { b: }\n",         /* … */
        "a: [ b: c ]\n",       /* pairs in a list */
        "a: [ b, , c ]\n",     /* faults from here on: */
        "a: { b: c d: e }\n",  /* … */
        "a: { b: [c], d:e }",  /* … */
        "a: [ b?c, d[e ]\n",   /* … */
        "a: { \"b\":c }\n",    /* … */
        "a: [ b",              /* … */
        "a: {",                /* … */
        "a: { b",              /* … */
        "a: { b: ",            /* … */
        "a: b: c\n",           /* … */
        "a: - b\n",            /* … */
        "a: b\n c: d\n",       /* … */
        " a: b\nc: d\n",       /* … */
        "- a\nb: c\n",         /* … */
        "a: b\n- c\n",         /* … */
        "a: b\nc\n",           /* … */
        "  - a\n - b\n",       /* … */
        "a: [ b ] c\n",        /* … */
        "a: \"b\"#c\n",        /* … */
        "a: \"b\n",            /* … */
        "a: b\na: c\n",        /* a key twice */
        "\"\": b\n",           /* a key of nothing */
        "<<: { a: b }\n",      /* a merge key */
        "[ a ]: b\n",          /* a key that is no scalar */
        "- a\n- b: c\n d: e\n" /* between two columns */
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (reads(texts[i]))
            fail_msg("not left to libyaml: %s", texts[i]);
}

static void limits_are_kept(void **state)
{
    static char text[GW_YAML_SCALAR_BYTES_MAX + 16];

    for (size_t i = 0; i < GW_NODE_DEPTH_MAX; i++)
        text[i] = '[';
    for (size_t i = 0; i < GW_NODE_DEPTH_MAX; i++)
        text[GW_NODE_DEPTH_MAX + i] = ']';
    assert_true(reads(text));
    memset(text, '[', GW_NODE_DEPTH_MAX + 1);
    memset(text + GW_NODE_DEPTH_MAX + 1, ']', GW_NODE_DEPTH_MAX + 1);
    assert_false(reads(text));

    memset(text, 'k', sizeof(text));
    memcpy(text + 500, ": v", 4);
    assert_true(reads(text));
    memset(text, 'k', 600);
    memcpy(text + 600, ": v", 4);
    assert_false(reads(text));

    memset(text, 'v', sizeof(text));
    memcpy(text, "a: ", 3);
    text[GW_YAML_SCALAR_BYTES_MAX + 3] = '\0';
    assert_true(reads(text));
    text[GW_YAML_SCALAR_BYTES_MAX + 3] = 'v';
    text[GW_YAML_SCALAR_BYTES_MAX + 4] = '\0';
    assert_false(reads(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_reads),
        cmocka_unit_test(what_it_leaves),
        cmocka_unit_test(limits_are_kept),
    };

    return cmocka_run_group_tests_name("conf yaml plain", tests, NULL, NULL);
}
