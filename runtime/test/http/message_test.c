#include "http/message.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void every_known_name_is_found_in_any_case(void **state)
{
    char text[64];

    for (unsigned id = 1; id < GW_FIELD_IDS; id++) {
        struct gw_str name = gw_field_name((enum gw_field_id)id);
        assert_int_equal(gw_field_id_of(name), id);
        for (size_t i = 0; i < name.len; i++)
            text[i] = (char)toupper(name.data[i]);
        assert_int_equal(gw_field_id_of(gw_str(text, name.len)), id);
    }
}

/* Each byte of each name in each other value: only the other case of a letter is the same. */
static void nothing_else_is_taken_for_a_known_name(void **state)
{
    for (unsigned id = 1; id < GW_FIELD_IDS; id++) {
        struct gw_str name = gw_field_name((enum gw_field_id)id);
        char *text = malloc(name.len + 1);

        for (size_t i = 0; i < name.len; i++)
            for (int byte = 0; byte < 256; byte++) {
                memcpy(text, name.data, name.len);
                text[i] = (char)byte;
                if (tolower(byte) != name.data[i])
                    assert_int_not_equal(gw_field_id_of(gw_str(text, name.len)), id);
            }
        memcpy(text, name.data, name.len);
        text[name.len] = 's';
        assert_int_equal(gw_field_id_of(gw_str(text, name.len + 1)), GW_FIELD_UNKNOWN);
        assert_int_not_equal(gw_field_id_of(gw_str(text, name.len - 1)), id);
        free(text);
    }
    assert_int_equal(gw_field_id_of(GW_STR_NULL), GW_FIELD_UNKNOWN);
    assert_int_equal(gw_field_id_of(GW_STR("x")), GW_FIELD_UNKNOWN);
    assert_int_equal(gw_field_id_of(GW_STR("a-name-that-is-longer-than-all-known-ones")),
                     GW_FIELD_UNKNOWN);
}

static void methods_are_told_by_exact_case(void **state)
{
    assert_int_equal(gw_method_of(GW_STR("GET")), GW_METHOD_GET);
    assert_int_equal(gw_method_of(GW_STR("OPTIONS")), GW_METHOD_OPTIONS);
    assert_int_equal(gw_method_of(GW_STR("TRACE")), GW_METHOD_TRACE);
    assert_int_equal(gw_method_of(GW_STR("get")), GW_METHOD_OTHER);
    assert_int_equal(gw_method_of(GW_STR("GETT")), GW_METHOD_OTHER);
    assert_int_equal(gw_method_of(GW_STR("G")), GW_METHOD_OTHER);
    assert_true(gw_method_idempotent(GW_METHOD_PUT));
    assert_false(gw_method_idempotent(GW_METHOD_POST));
    assert_false(gw_method_idempotent(GW_METHOD_OTHER));
}

static void fields_are_found_joined_set_and_removed(void **state)
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_fields fields;
    struct gw_str value;

    gw_fields_init(&fields, &arena);
    assert_null(gw_fields_find(&fields, GW_STR("a")));
    assert_false(gw_fields_get(&fields, GW_STR("host"), &value));
    for (int i = 0; i < 20; i++) { /* more than the first block of items */
        (void)gw_fields_add(&fields, GW_STR("A"), GW_STR("1"));
        (void)gw_fields_add(&fields, GW_STR("b"), GW_STR("2"));
    }
    (void)gw_fields_add(&fields, GW_STR("Via"), GW_STR("x"));
    (void)gw_fields_add(&fields, GW_STR("VIA"), GW_STR(""));

    assert_true(gw_fields_get(&fields, GW_STR("via"), &value));
    assert_true(gw_str_eq(value, GW_STR("x, ")));
    assert_true(gw_fields_get(&fields, GW_STR("a"), &value));
    assert_int_equal(value.len, 20 + 19 * 2);

    gw_fields_set(&fields, GW_STR("a"), GW_STR("3"));
    assert_true(gw_fields_get(&fields, GW_STR("A"), &value));
    assert_true(gw_str_eq(value, GW_STR("3")));
    assert_true(gw_str_eq(fields.items[0].value, GW_STR("3")));
    gw_fields_set(&fields, GW_STR("new"), GW_STR("4"));
    assert_true(gw_str_eq(gw_fields_find(&fields, GW_STR("NEW"))->value, GW_STR("4")));

    assert_int_equal(gw_fields_remove(&fields, GW_STR("B")), 20);
    assert_int_equal(gw_fields_remove(&fields, GW_STR("B")), 0);
    assert_null(gw_fields_find(&fields, GW_STR("b")));
    gw_fields_remove_known(&fields, GW_FIELD_VIA);
    gw_fields_remove_known(&fields, GW_FIELD_HOST);
    assert_null(gw_fields_known(&fields, GW_FIELD_VIA));
    gw_arena_fini(&arena);
}

static void only_what_may_be_sent_is_valid(void **state)
{
    assert_true(gw_field_name_valid(GW_STR("X-a_1!#$%&'*+.^`|~")));
    assert_false(gw_field_name_valid(GW_STR("")));
    assert_false(gw_field_name_valid(GW_STR("a b")));
    assert_false(gw_field_name_valid(GW_STR("a:")));
    assert_false(gw_field_name_valid(GW_STR("a\r\nb")));
    assert_false(gw_field_name_valid(GW_STR("\xc3\xa9")));
    assert_true(gw_field_value_valid(GW_STR("")));
    assert_true(gw_field_value_valid(GW_STR("a\tb \xff~")));
    assert_false(gw_field_value_valid(GW_STR("a\rb")));
    assert_false(gw_field_value_valid(GW_STR("a\nb")));
    assert_false(gw_field_value_valid(GW_STR("a\0b")));
    assert_false(gw_field_value_valid(GW_STR("a\x7f")));
}

static void statuses_have_reasons(void **state)
{
    assert_string_equal(gw_status_reason(200), "OK");
    assert_string_equal(gw_status_reason(431), "Request Header Fields Too Large");
    assert_string_equal(gw_status_reason(299), "");
}

static void judges_each_byte_of_a_value_wherever_it_stands(void **state)
{
    char value[20];

    for (size_t at = 0; at < sizeof(value); at++)
        for (int byte = 0; byte < 256; byte++) {
            bool good = (byte >= 0x20 && byte != 0x7f) || byte == '\t';
            memset(value, 'x', sizeof(value));
            value[at] = (char)byte;
            assert_int_equal(gw_field_value_valid(gw_str(value, sizeof(value))), good);
            value[(at + 3) % sizeof(value)] = '\t';
            value[at] = (char)byte;
            assert_int_equal(gw_field_value_valid(gw_str(value, sizeof(value))), good);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_each_byte_of_a_value_wherever_it_stands),
        cmocka_unit_test(every_known_name_is_found_in_any_case),
        cmocka_unit_test(nothing_else_is_taken_for_a_known_name),
        cmocka_unit_test(methods_are_told_by_exact_case),
        cmocka_unit_test(fields_are_found_joined_set_and_removed),
        cmocka_unit_test(only_what_may_be_sent_is_valid),
        cmocka_unit_test(statuses_have_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
