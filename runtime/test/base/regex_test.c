#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/regex.h"
#include "base/time.h"

static struct gw_regex *compiled(const char *pattern, unsigned flags)
{
    struct gw_regex *regex = NULL;

    assert_int_equal(gw_regex_new(gw_str_c(pattern), flags, &regex, NULL), GW_OK);
    return regex;
}

static enum gw_rc once(const char *pattern, unsigned flags, const char *subject)
{
    struct gw_regex *regex = compiled(pattern, flags);
    enum gw_rc rc = gw_regex_match(regex, gw_str_c(subject), 0, NULL, 0);

    gw_regex_free(regex);
    return rc;
}

static void groups_are_slices_of_the_subject(void **unused)
{
    struct gw_regex *regex = compiled("(\\d+)-(x)?(\\w*)", 0);
    struct gw_str subject = GW_STR("id 42-"), groups[6];

    assert_int_equal(gw_regex_groups(regex), 4);
    assert_int_equal(gw_regex_match(regex, subject, 0, groups, 6), GW_OK);
    assert_ptr_equal(groups[0].data, subject.data + 3);
    assert_int_equal(groups[0].len, 3);
    assert_true(gw_str_eq(groups[1], GW_STR("42")));
    assert_null(groups[2].data); /* took no part */
    assert_non_null(groups[3].data);
    assert_int_equal(groups[3].len, 0); /* is empty */
    assert_null(groups[4].data);        /* is not in the pattern */
    assert_null(groups[5].data);
    gw_regex_free(regex);
}

static void a_search_begins_where_it_is_told(void **unused)
{
    struct gw_regex *regex = compiled("a", 0);
    struct gw_str subject = GW_STR("abca"), group;

    assert_int_equal(gw_regex_match(regex, subject, 1, &group, 1), GW_OK);
    assert_ptr_equal(group.data, subject.data + 3);
    assert_int_equal(gw_regex_match(regex, subject, 4, &group, 1), GW_NOT_FOUND);
    assert_int_equal(gw_regex_match(regex, subject, 5, &group, 1), GW_INVALID);
    gw_regex_free(regex);
    regex = compiled("^b", 0);
    assert_int_equal(gw_regex_match(regex, subject, 1, &group, 1), GW_NOT_FOUND);
    gw_regex_free(regex);
}

static void flags_mean_what_they_say(void **unused)
{
    static const struct {
        const char *pattern;
        unsigned flag;
        const char *subject;
    } rows[] = {
        {"^ABC$", GW_REGEX_NOCASE, "abc"}, {"^b$", GW_REGEX_MULTILINE, "a\nb\nc"},
        {"a.b", GW_REGEX_DOTALL, "a\nb"},  {"a b # c", GW_REGEX_EXTENDED, "ab"},
        {"^.$", GW_REGEX_UTF, "\xc3\xa9"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(once(rows[i].pattern, rows[i].flag, rows[i].subject), GW_OK);
        assert_int_equal(once(rows[i].pattern, rows[i].flag | GW_REGEX_NO_JIT, rows[i].subject),
                         GW_OK);
        assert_int_equal(once(rows[i].pattern, 0, rows[i].subject), GW_NOT_FOUND);
    }
    assert_int_equal(once("b", GW_REGEX_ANCHORED, "ab"), GW_NOT_FOUND);
    assert_int_equal(once("b", 0, "ab"), GW_OK);
}

static void a_bad_pattern_is_told_with_its_place(void **unused)
{
    struct gw_regex *regex;
    struct gw_err err;

    assert_int_equal(gw_regex_new(GW_STR("ab(c"), 0, &regex, &err), GW_INVALID);
    assert_string_equal(err.text, "at byte 4: missing closing parenthesis");
    assert_int_equal(gw_regex_new(GW_STR("*"), 0, &regex, &err), GW_INVALID);
    assert_int_equal(gw_regex_new(GW_STR("a\\C"), 0, &regex, &err), GW_INVALID);
    assert_int_equal(gw_regex_new(GW_STR("(*UTF)a"), 0, &regex, &err), GW_INVALID);
    assert_int_equal(gw_regex_new(GW_STR("\xff"), GW_REGEX_UTF, &regex, &err), GW_INVALID);
}

static void a_pattern_that_is_too_long_is_refused(void **unused)
{
    char *text = malloc(GW_REGEX_PATTERN_BYTES_MAX + 1);
    struct gw_regex *regex;
    struct gw_err err;

    assert_non_null(text);
    memset(text, 'a', GW_REGEX_PATTERN_BYTES_MAX + 1);
    assert_int_equal(gw_regex_new(gw_str(text, GW_REGEX_PATTERN_BYTES_MAX + 1), 0, &regex, &err),
                     GW_LIMIT);
    assert_int_equal(gw_regex_new(gw_str(text, GW_REGEX_PATTERN_BYTES_MAX), 0, &regex, &err),
                     GW_OK);
    gw_regex_free(regex);
    memset(text, '(', 1000);
    assert_int_equal(gw_regex_new(gw_str(text, 1000), 0, &regex, &err), GW_INVALID);
    free(text);
}

/* Best of some: the machine may be busy with something else. */
static uint64_t fastest_us(struct gw_regex *regex, struct gw_str subject, enum gw_rc expected)
{
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < 20; i++) {
        uint64_t began = gw_time_mono_us(), took;
        assert_int_equal(gw_regex_match(regex, subject, 0, NULL, 0), expected);
        took = gw_time_mono_us() - began;
        best = took < best ? took : best;
    }
    return best;
}

static void backtracking_without_end_is_stopped(void **unused)
{
    static const char *const patterns[] = {"(a+)+$", "^(a|aa)+$", "(a*)*b$|c$",
                                           "^(([a-z])+.)+[A-Z]", "(?:a?){30}a{30}!"};
    char subject[65];

    memset(subject, 'a', 63);
    subject[63] = '!';
    subject[64] = '\0';
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
        for (unsigned flags = 0; flags <= GW_REGEX_NO_JIT; flags += GW_REGEX_NO_JIT) {
            struct gw_regex *regex = compiled(patterns[i], flags);
            enum gw_rc rc = gw_regex_match(regex, gw_str_c(subject), 0, NULL, 0);
#ifndef GW_ASAN
            uint64_t us = fastest_us(regex, gw_str_c(subject), rc);
            assert_true(us < (flags == 0 ? 1000 : 4000));
#endif
            if (i < 2)
                assert_int_equal(rc, GW_LIMIT);
            else
                assert_true(rc == GW_LIMIT || rc == GW_NOT_FOUND || rc == GW_OK);
            gw_regex_free(regex);
        }
    assert_int_equal(once("(?R)", 0, "a"), GW_LIMIT);
}

static void a_long_subject_costs_no_more_than_its_length(void **unused)
{
    size_t len = 8192;
    char *subject = malloc(len);
    struct gw_regex *regex = compiled("(?:[a-z]+[a-z]+)+[a-z]*[0-9]", 0);
    uint64_t us;

    assert_non_null(subject);
    memset(subject, 'a', len);
    subject[len - 1] = '!';
    us = fastest_us(regex, gw_str(subject, len),
                    gw_regex_match(regex, gw_str(subject, len), 0, NULL, 0));
    assert_true(us < 200000);
    gw_regex_free(regex);
    free(subject);
}

/* More than the 32 KiB of stack that compiled code has. */
static void deep_but_honest_matches_fall_to_the_interpreter(void **unused)
{
    size_t len = 4000;
    char *subject = malloc(len);
    struct gw_regex *regex = compiled("^(?:(a|b)(c)?)*$", 0);
    struct gw_str groups[3];

    assert_non_null(subject);
    memset(subject, 'a', len);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(gw_regex_match(regex, gw_str(subject, len), 0, groups, 3), GW_OK);
        assert_int_equal(groups[0].len, len);
        assert_ptr_equal(groups[1].data, subject + len - 1);
        assert_null(groups[2].data);
    }
    gw_regex_free(regex);
    free(subject);
}

static void invalid_utf_matches_nothing_and_does_no_harm(void **unused)
{
    struct gw_regex *regex = compiled("b.", GW_REGEX_UTF);
    struct gw_str group;

    assert_int_equal(gw_regex_match(regex, GW_STR("\xff\xfe b\xff b\xc3\xa9"), 0, &group, 1),
                     GW_OK);
    assert_int_equal(group.len, 3);
    assert_int_equal(gw_regex_match(regex, GW_STR("b\xc3"), 0, &group, 1), GW_NOT_FOUND);
    gw_regex_free(regex);
    assert_int_equal(once("^.$", 0, "\xff"), GW_OK); /* bytes */
}

static void empty_matches_can_be_stepped_over(void **unused)
{
    struct gw_regex *regex = compiled("x*", GW_REGEX_UTF);
    struct gw_str subject = GW_STR("a\xc3\xa9"
                                   "b"),
                  group;
    size_t at = 0, matches = 0;

    while (gw_regex_match(regex, subject, at, &group, 1) == GW_OK) {
        matches++;
        at = gw_regex_step(regex, subject, (size_t)(group.data - subject.data));
    }
    assert_int_equal(matches, 4); /* three characters and the end */
    gw_regex_free(regex);
    regex = compiled("", 0);
    assert_int_equal(gw_regex_match(regex, GW_STR_NULL, 0, &group, 1), GW_OK);
    assert_int_equal(gw_regex_step(regex, GW_STR_NULL, 0), 1);
    gw_regex_free(regex);
}

static void named_groups_can_be_asked_for(void **unused)
{
    struct gw_regex *regex = compiled("(?<year>\\d{4})-(?<month>\\d\\d)(x)", 0);
    uint32_t group = 0;

    assert_int_equal(gw_regex_names(regex), 2);
    assert_true(gw_str_eq(gw_regex_name(regex, 0, &group), GW_STR("month")));
    assert_int_equal(group, 2);
    assert_true(gw_str_eq(gw_regex_name(regex, 1, &group), GW_STR("year")));
    assert_int_equal(group, 1);
    assert_int_equal(gw_regex_group_of(regex, GW_STR("month")), 2);
    assert_int_equal(gw_regex_group_of(regex, GW_STR("day")), 0);
    gw_regex_free(regex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_are_slices_of_the_subject),
        cmocka_unit_test(a_search_begins_where_it_is_told),
        cmocka_unit_test(flags_mean_what_they_say),
        cmocka_unit_test(a_bad_pattern_is_told_with_its_place),
        cmocka_unit_test(a_pattern_that_is_too_long_is_refused),
        cmocka_unit_test(backtracking_without_end_is_stopped),
        cmocka_unit_test(a_long_subject_costs_no_more_than_its_length),
        cmocka_unit_test(deep_but_honest_matches_fall_to_the_interpreter),
        cmocka_unit_test(invalid_utf_matches_nothing_and_does_no_harm),
        cmocka_unit_test(empty_matches_can_be_stepped_over),
        cmocka_unit_test(named_groups_can_be_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
