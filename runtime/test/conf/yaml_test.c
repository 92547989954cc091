/* The door to YAML: places, scalars, and what is said about text that is none. */
#include "conf/yaml.h"
#include "support.h"

struct parsed {
    struct gw_arena arena;
    struct gw_report report;
    struct gw_node *root;
    enum gw_rc rc;
    char *text;
};

static void parse_bytes(struct parsed *p, struct gw_str yaml)
{
    struct gw_buf buf = GW_BUF_INIT;

    gw_arena_init(&p->arena);
    gw_report_init(&p->report);
    gw_report_file(&p->report, GW_STR("t.yaml"));
    p->rc = gw_yaml_parse(&p->arena, 0, yaml, &p->report, &p->root);
    gw_report_text(&p->report, &buf);
    gw_buf_add(&buf, "", 1);
    p->text = strdup(buf.data + buf.from);
    gw_buf_fini(&buf);
}

static void parse(struct parsed *p, const char *yaml)
{
    parse_bytes(p, gw_str_c(yaml));
}

static void done(struct parsed *p)
{
    gw_arena_fini(&p->arena);
    gw_report_fini(&p->report);
    free(p->text);
}

static void places(void **state)
{
    struct parsed p;
    struct gw_node *list;

    parse(&p, "a: 1\nb:\n  - x\n  - { \"\xc3\xa4\": y }\n");
    assert_int_equal(p.rc, GW_OK);
    assert_int_equal(p.root->count, 2);
    assert_int_equal(gw_node_get_c(p.root, "a")->where.column, 4);
    assert_int_equal(gw_node_get_c(p.root, "a")->key_column, 1);
    list = gw_node_get_c(p.root, "b");
    assert_int_equal(list->kind, GW_NODE_LIST);
    assert_int_equal(list->where.line, 3);
    assert_int_equal(gw_node_at(list, 0)->where.line, 3);
    assert_int_equal(gw_node_at(list, 0)->where.column, 5);
    /* Columns count characters. */
    assert_int_equal(gw_node_first(gw_node_at(list, 1))->where.column, 12);
    assert_null(gw_node_at(list, 2));
    done(&p);
}

static void core_schema(void **state)
{
    static const struct {
        const char *text;
        enum gw_scalar scalar;
    } rows[] = {
        {"no", GW_SCALAR_STRING},
        {"yes", GW_SCALAR_STRING},
        {"on", GW_SCALAR_STRING},
        {"true", GW_SCALAR_BOOL},
        {"False", GW_SCALAR_BOOL},
        {"tRUE", GW_SCALAR_STRING},
        {"~", GW_SCALAR_NULL},
        {"null", GW_SCALAR_NULL},
        {"nULL", GW_SCALAR_STRING},
        {"", GW_SCALAR_NULL},
        {"0o17", GW_SCALAR_INT},
        {"0x1F", GW_SCALAR_INT},
        {"0x", GW_SCALAR_STRING},
        {"0x0x1", GW_SCALAR_STRING},
        {"0o8", GW_SCALAR_STRING},
        {"012", GW_SCALAR_INT},
        {"-5", GW_SCALAR_INT},
        {"+5", GW_SCALAR_INT},
        {"-", GW_SCALAR_STRING},
        {"1_000", GW_SCALAR_STRING},
        {"1:30", GW_SCALAR_STRING},
        {"1.5", GW_SCALAR_FLOAT},
        {".5", GW_SCALAR_FLOAT},
        {"5.", GW_SCALAR_FLOAT},
        {"1e3", GW_SCALAR_FLOAT},
        {"1e", GW_SCALAR_STRING},
        {".", GW_SCALAR_STRING},
        {"-.inf", GW_SCALAR_FLOAT},
        {".NaN", GW_SCALAR_FLOAT},
        {"-.nan", GW_SCALAR_STRING},
        {"1.2.3", GW_SCALAR_STRING},
        {"0x-1", GW_SCALAR_STRING},
        {"nan", GW_SCALAR_STRING},
        {"9223372036854775808", GW_SCALAR_FLOAT},
        {"9223372036854775807", GW_SCALAR_INT},
    };
    struct parsed p;
    int64_t i;
    bool b;

    for (size_t n = 0; n < sizeof(rows) / sizeof(rows[0]); n++)
        assert_int_equal(gw_scalar_of(gw_str_c(rows[n].text)), rows[n].scalar);
    parse(&p, "[ 0x1F, \"5\", 'true', True, !!str 7 ]");
    assert_true(gw_node_int(gw_node_at(p.root, 0), &i));
    assert_int_equal(i, 31);
    assert_false(gw_node_int(gw_node_at(p.root, 1), &i));
    assert_false(gw_node_bool(gw_node_at(p.root, 2), &b));
    assert_true(gw_node_bool(gw_node_at(p.root, 3), &b) && b);
    assert_int_equal(gw_node_at(p.root, 4)->scalar, GW_SCALAR_STRING);
    done(&p);
}

/* Text that is no conf, and the one line about it. */
static void messages(void **state)
{
    static const struct {
        const char *yaml;
        const char *report;
    } rows[] = {
        {"hosts: [ *.example.com ]\n",
         "1:10: YAML reads a value that begins with \"*\" as an alias; "
         "quote it: \"*.example.com\""},
        {"host: *.example.com\n",
         "1:7: YAML reads a value that begins with \"*\" as an alias; quote "
         "it: \"*.example.com\""},
        {"host: *\n",
         "1:7: YAML reads a value that begins with \"*\" as an alias; quote it: \"*\""},
        {"path: *foo/bar\n", NULL},
        {"path: *foo\n",
         "1:7: YAML reads a \"*\" as an alias, and there is no anchor \"&foo\" before; "
         "if it is text, quote it: \"*foo\""},
        {"a: &.b c\n", "1:4: YAML reads a value that begins with \"&\" as an anchor; quote it: "
                       "\"&.b\""},
        {"a:\n\tb: 1\n", "2:1: a tab cannot indent; use spaces"},
        {"a: @home\n", "1:4: a value cannot begin with this character; quote it: \"@home\""},
        {"a: `date`\n", "1:4: a value cannot begin with this character; quote it: \"`date`\""},
        {"a: %d\n", "1:4: a value cannot begin with this character; quote it: \"%d\""},
        {"%d: 1\n",
         "1:1: a line that begins with \"%\" is a directive of YAML; quote it, or indent it"},
        {"a: {{ x }}\n", "1:5: a key cannot be a map; a text that begins with \"{\" must stand in "
                         "quotes: \"{{ … }}\""},
        {"? [ a ]\n: b\n",
         "1:3: a key cannot be a list; a text that begins with \"[\" must stand in "
         "quotes"},
        {"a: [ ${B} ]\n", "1:6: in a [list] or {map}, \"${\" must stand in quotes; write \"${B}\""},
        {"a: \"b\n", "1:4: the quote that opens here is not closed"},
        {"a: 'b\n---\n", NULL},
        {"a: \"\\d\"\n",
         "1:5: this escape is unknown inside of \"double quotes\"; write \\\\ for a "
         "backslash, or use 'single quotes'"},
        {"a: \"\\xzz\"\n",
         "1:7: an escape such as \\x41 needs hexadecimal digits; write \\\\ for a "
         "backslash"},
        {"a: \"\\0\"\n", "1:4: a text holds a NUL byte (\"\\0\")"},
        {"a: b: c\n", "1:5: a \": \" is not allowed here; check the indentation, or quote the text "
                      "that holds it"},
        {"a: 1\nb\n",
         "2:1: a key is not followed by \":\"; write \"key: value\", or quote the text"},
        {"a: - b\n", "1:4: a \"- \" is not allowed here; begin the list in a line of its own"},
        {"a: [ b\nc: d\n",
         "1:4: the list that opens here is not closed by \"]\", or a \",\" is "
         "missing in it; texts in a [list] that hold any of , [ ] { } must stand in "
         "quotes"},
        {"a: { b: 1\nc: [ d }\n", NULL},
        {"a:\n    b: 1\n  c: 2\n", "3:3: a key was expected here; check the indentation"},
        {"a:\n  - b\n  c: d\n",
         "3:3: a \"- \" was expected here; check the indentation of the list"},
        {"a: !foo b\n",
         "1:4: the tag \"!foo\" is not supported; a text that begins with \"!\" must "
         "stand in quotes"},
        {"a: !!int 5\n", NULL},
        {"a: !x!y b\n", NULL},
        {"a: 1\n---\nb: 2\n",
         "2:1: a second document begins here (\"---\"); put it into a file of its "
         "own and include: that"},
        {"a: &x { b: *x }\n", "1:12: the alias \"*x\" stands inside of what it names"},
        {"a: &x 1\n*x : 2\n",
         "2:1: a key cannot be the alias \"*x\"; if it is text, quote it: \"*x\""},
        {"a: &x { b: 1 }\nc: { <<: *x }\n",
         "2:6: merge keys (\"<<\") are not part of YAML 1.2; use the "
         "alias as a whole value, or repeat the keys"},
        {"a: 1\nb: 2\na: 3\n", "3:1: \"a\" is given twice, first in line 1; keep one of them"},
        {"a: \x01\n",
         "1:4: the control character 0x01 cannot stand here; in \"double quotes\" it can "
         "be written \\x01"},
        {"# ok\na: \xff\n", NULL},
        {"\xc3\xa4: \xc0\xaf\n", NULL},
        {": a\n", NULL},
        {"\"\": a\n", "1:1: a key is empty; write a name before the \":\""},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char report[512];
        struct parsed p;

        parse(&p, rows[i].yaml);
        assert_int_equal(p.report.faults_count, 1);
        if (rows[i].report != NULL) {
            snprintf(report, sizeof(report), "t.yaml:%s\n", rows[i].report);
            assert_string_equal(p.text, report);
        }
        done(&p);
    }
}

static void bytes_that_are_no_text(void **state)
{
    struct parsed p;

    parse(&p, "a: 1\nb: \"\xc3\xa4 \xff\"\n");
    assert_non_null(strstr(p.text, "t.yaml:2:7: the text is not UTF-8"));
    done(&p);
    parse_bytes(&p, gw_str("a: b\0c\n", 7));
    assert_string_equal(p.text, "t.yaml:1:5: the control character 0x00 cannot stand here; in "
                                "\"double quotes\" it can be written \\x00\n");
    done(&p);
    /* UTF-16 is no guess of ours. */
    parse_bytes(&p, gw_str("\xff\xfe\x61\0", 4));
    assert_int_equal(p.rc, GW_INVALID);
    done(&p);
    parse(&p, "\xef\xbb\xbf"
              "a: 1\n");
    assert_int_equal(p.rc, GW_OK);
    assert_int_equal(gw_node_get_c(p.root, "a")->key_column, 1);
    done(&p);
}

static void empty_files(void **state)
{
    static const char *const texts[] = {"", "\n", "# nothing\n", "---\n", "~\n"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct parsed p;

        parse(&p, texts[i]);
        assert_int_equal(p.rc, GW_OK);
        assert_null(p.root);
        done(&p);
    }
}

static void aliases(void **state)
{
    struct parsed p;

    parse(&p, "a: &x { b: [ 1, 2 ] }\nc: *x\n");
    assert_int_equal(p.rc, GW_OK);
    assert_true(gw_node_eq(gw_node_get_c(p.root, "a"), gw_node_get_c(p.root, "c")));
    assert_ptr_not_equal(gw_node_get_c(p.root, "a"), gw_node_get_c(p.root, "c"));
    /* A copy keeps the place of what it copies: there the text stands. */
    assert_int_equal(gw_node_get_c(p.root, "c")->where.line, 1);
    assert_int_equal(gw_node_get_c(p.root, "c")->key_line, 2);
    done(&p);
}

static void billion_laughs(void **state)
{
    struct gw_buf yaml = GW_BUF_INIT;
    struct parsed p;

    gw_buf_printf(&yaml, "a0: &a0 [ lol, lol, lol, lol, lol, lol, lol, lol, lol, lol ]\n");
    for (int i = 1; i < 12; i++) {
        gw_buf_printf(&yaml, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++)
            gw_buf_printf(&yaml, "%s*a%d", j > 0 ? ", " : " ", i - 1);
        gw_buf_printf(&yaml, " ]\n");
    }
    parse_bytes(&p, gw_buf_str(&yaml));
    assert_int_equal(p.rc, GW_INVALID);
    assert_non_null(strstr(p.text, "aliases make more than 100000 values"));
    assert_true(p.arena.bytes < 32u << 20);
    done(&p);
    gw_buf_fini(&yaml);
}

static void nest(struct gw_buf *yaml, const char *open, int levels)
{
    for (int i = 0; i < levels; i++)
        gw_buf_printf(yaml, "%s", open);
}

static void deep_nesting(void **state)
{
    static const char *const opens[] = {"[", "{a: ", "- "};

    for (size_t i = 0; i < 3; i++) {
        struct gw_buf yaml = GW_BUF_INIT;
        struct parsed p;

        nest(&yaml, opens[i], 100000);
        parse_bytes(&p, gw_buf_str(&yaml));
        assert_int_equal(p.rc, GW_INVALID);
        assert_non_null(strstr(p.text, "nested deeper than 64 levels"));
        done(&p);
        gw_buf_fini(&yaml);
    }
}

static void depth_by_aliases(void **state)
{
    struct gw_buf yaml = GW_BUF_INIT;
    struct parsed p;

    gw_buf_printf(&yaml, "a0: &a0 x\n");
    for (int i = 1; i < 70; i++)
        gw_buf_printf(&yaml, "a%d: &a%d [ *a%d ]\n", i, i, i - 1);
    parse_bytes(&p, gw_buf_str(&yaml));
    assert_non_null(strstr(p.text, "t.yaml:65:13: nested deeper than 64 levels"));
    done(&p);
    gw_buf_fini(&yaml);
}

static void huge_scalar(void **state)
{
    for (int over = 0; over < 2; over++) {
        struct gw_buf yaml = GW_BUF_INIT;
        size_t len = GW_YAML_SCALAR_BYTES_MAX + (size_t)over;
        struct parsed p;

        gw_buf_printf(&yaml, "a: ");
        memset(gw_buf_reserve(&yaml, len), 'x', len);
        gw_buf_added(&yaml, len);
        parse_bytes(&p, gw_buf_str(&yaml));
        assert_int_equal(p.rc, over == 0 ? GW_OK : GW_INVALID);
        if (over == 1)
            assert_string_equal(p.text,
                                "t.yaml:1:4: a text of 1048577 bytes is longer than 1048576\n");
        done(&p);
        gw_buf_fini(&yaml);
    }
}

static void huge_file(void **state)
{
    struct parsed p;
    char *text = calloc(1, GW_YAML_FILE_BYTES_MAX + 1);

    memset(text, '\n', GW_YAML_FILE_BYTES_MAX + 1);
    parse_bytes(&p, gw_str(text, GW_YAML_FILE_BYTES_MAX + 1));
    assert_string_equal(p.text, "t.yaml: the file has 33554433 bytes, more than 33554432\n");
    done(&p);
    free(text);
}

static void too_many_values(void **state)
{
    struct gw_buf yaml = GW_BUF_INIT;
    struct parsed p;

    gw_buf_add(&yaml, "[", 1);
    for (uint32_t i = 0; i < GW_YAML_NODES_MAX; i++)
        gw_buf_add(&yaml, "1,\n", 3);
    parse_bytes(&p, gw_buf_str(&yaml));
    assert_non_null(strstr(p.text, "the file holds more than 2000000 values"));
    done(&p);
    gw_buf_fini(&yaml);
}

/* The keys of a large map are looked up in a table: both ways must agree. */
static void duplicates_in_large_maps(void **state)
{
    for (int keys = 1; keys < 40; keys++) {
        struct gw_buf yaml = GW_BUF_INIT;
        struct parsed p;

        for (int i = 0; i < keys; i++)
            gw_buf_printf(&yaml, "key%d: %d\n", i, i);
        gw_buf_printf(&yaml, "key%d: { sub: [ dropped ] }\nend: 1\n", keys / 2);
        parse_bytes(&p, gw_buf_str(&yaml));
        assert_int_equal(p.rc, GW_OK);
        assert_int_equal(p.report.faults_count, 1);
        assert_int_equal(p.report.faults[0].where.line, keys + 1);
        assert_int_equal(p.root->count, keys + 1);
        assert_non_null(gw_node_get_c(p.root, "end"));
        done(&p);
        gw_buf_fini(&yaml);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places),
        cmocka_unit_test(core_schema),
        cmocka_unit_test(messages),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(empty_files),
        cmocka_unit_test(aliases),
        cmocka_unit_test(billion_laughs),
        cmocka_unit_test(deep_nesting),
        cmocka_unit_test(depth_by_aliases),
        cmocka_unit_test(huge_scalar),
        cmocka_unit_test(huge_file),
        cmocka_unit_test(too_many_values),
        cmocka_unit_test(duplicates_in_large_maps),
    };

    return cmocka_run_group_tests_name("conf yaml", tests, NULL, NULL);
}
