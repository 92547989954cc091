#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/args.h"
#include "cli/command.h"

static const struct gw_option options[] = {
    {"conf", 'c', "FILE", "the conf"},  {"header", 'H', "LINE", "a header"},
    {"workers", 'w', "N", "how many"},  {"json", 'j', NULL, "print JSON"},
    {"verbose", 'v', NULL, "say more"}, {NULL, 0, NULL, NULL}};

static struct gw_args args;
static struct gw_err err;

#define PARSE(...)                                                                                 \
    gw_args_parse(&args, options, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *),                \
                  (char *[]){__VA_ARGS__}, &err)

static void reads_every_way_to_give_a_value(void **state)
{
    assert_int_equal(PARSE("-c", "a", "--header", "b", "--header=c", "-Hd"), GW_OK);
    assert_string_equal(gw_args_get(&args, "conf", NULL), "a");
    assert_string_equal(gw_args_nth(&args, "header", 0), "b");
    assert_string_equal(gw_args_nth(&args, "header", 1), "c");
    assert_string_equal(gw_args_nth(&args, "header", 2), "d");
    assert_null(gw_args_nth(&args, "header", 3));
    assert_string_equal(gw_args_get(&args, "header", NULL), "d");
    assert_string_equal(gw_args_get(&args, "workers", "none"), "none");
}

static void takes_flags_together_and_words_between(void **state)
{
    assert_int_equal(PARSE("GET", "-jvc", "x.yaml", "/path", "-"), GW_OK);
    assert_true(gw_args_has(&args, "json"));
    assert_true(gw_args_has(&args, "verbose"));
    assert_string_equal(gw_args_get(&args, "conf", NULL), "x.yaml");
    assert_int_equal(args.words_count, 3);
    assert_string_equal(args.words[0], "GET");
    assert_string_equal(args.words[2], "-");
}

static void ends_options_at_two_dashes(void **state)
{
    assert_int_equal(PARSE("-j", "--", "-c", "--nonsense"), GW_OK);
    assert_int_equal(args.words_count, 2);
    assert_string_equal(args.words[1], "--nonsense");
    assert_false(gw_args_has(&args, "conf"));
}

static void an_empty_value_is_a_value(void **state)
{
    assert_int_equal(PARSE("--conf=", "-H", ""), GW_OK);
    assert_string_equal(gw_args_get(&args, "conf", NULL), "");
    assert_string_equal(gw_args_get(&args, "header", NULL), "");
}

static void says_what_was_meant(void **state)
{
    assert_int_equal(PARSE("--hedaer", "x"), GW_INVALID);
    assert_non_null(strstr(err.text, "did you mean --header?"));
    assert_int_equal(PARSE("--zzzzzzzz"), GW_INVALID);
    assert_null(strstr(err.text, "did you mean"));
    assert_int_equal(PARSE("-x"), GW_INVALID);
    assert_non_null(strstr(err.text, "-x"));
}

static void refuses_missing_and_superfluous_values(void **state)
{
    assert_int_equal(PARSE("--conf"), GW_INVALID);
    assert_non_null(strstr(err.text, "FILE is missing"));
    assert_int_equal(PARSE("-jc"), GW_INVALID);
    assert_int_equal(PARSE("--json=1"), GW_INVALID);
    assert_non_null(strstr(err.text, "takes no value"));
}

static void holds_to_its_limit(void **state)
{
    char *many[GW_ARGS_MAX + 1];

    for (int i = 0; i <= GW_ARGS_MAX; i++)
        many[i] = "word";
    assert_int_equal(gw_args_parse(&args, options, GW_ARGS_MAX, many, &err), GW_OK);
    assert_int_equal(gw_args_parse(&args, options, GW_ARGS_MAX + 1, many, &err), GW_LIMIT);
    for (int i = 0; i <= GW_ARGS_MAX; i++)
        many[i] = "-j";
    assert_int_equal(gw_args_parse(&args, options, GW_ARGS_MAX + 1, many, &err), GW_LIMIT);
}

static void reads_numbers_strictly(void **state)
{
    static char *const bad[] = {"0", "49", "-1", "", " 1", "1x", "99999999999999999999", "0x10"};
    unsigned value = 7;

    assert_int_equal(PARSE("-j"), GW_OK);
    assert_int_equal(gw_args_number(&args, "workers", 1, 48, &value, &err), GW_OK);
    assert_int_equal(value, 7);
    assert_int_equal(PARSE("-w", "48"), GW_OK);
    assert_int_equal(gw_args_number(&args, "workers", 1, 48, &value, &err), GW_OK);
    assert_int_equal(value, 48);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(PARSE("-w", bad[i]), GW_OK);
        assert_int_equal(gw_args_number(&args, "workers", 1, 48, &value, &err), GW_INVALID);
        assert_int_equal(value, 48);
    }
}

static int run(char *first, char *second, char *third)
{
    char *argv[] = {"moongate", first, second, third, NULL};

    return gw_cli(1 + (first != NULL) + (second != NULL) + (third != NULL), argv);
}

static void commands_return_two_for_wrong_usage(void **state)
{
    assert_int_equal(run(NULL, NULL, NULL), GW_EXIT_USAGE);
    assert_int_equal(run("rnu", NULL, NULL), GW_EXIT_USAGE);
    assert_int_equal(run("check", "--cnof", "x"), GW_EXIT_USAGE);
    assert_int_equal(run("check", "too", "much"), GW_EXIT_USAGE);
    assert_int_equal(run("explain", NULL, NULL), GW_EXIT_USAGE);
    assert_int_equal(run("new", "plugin", NULL), GW_EXIT_USAGE);
    assert_int_equal(run("new", "plugin", "../evil"), GW_EXIT_USAGE);
    assert_int_equal(run("new", "plugin", "UPPER"), GW_EXIT_USAGE);
    assert_int_equal(run("new", "plugin", "a--b"), GW_EXIT_USAGE);
    assert_int_equal(run("new", "route", "a"), GW_EXIT_USAGE);
    assert_int_equal(run("run", "-w", "0"), GW_EXIT_USAGE);
}

static void commands_return_one_for_failure_and_zero_for_help(void **state)
{
    assert_int_equal(run("check", "-c", "/nonexistent/gateway.yaml"), GW_EXIT_FAILED);
    assert_int_equal(run("status", "-c", "/nonexistent/gateway.yaml"), GW_EXIT_FAILED);
    assert_int_equal(run("--help", NULL, NULL), GW_EXIT_FINE);
    assert_int_equal(run("--version", NULL, NULL), GW_EXIT_FINE);
    for (const struct gw_command *command = gw_commands; command->name != NULL; command++)
        assert_int_equal(run((char *)command->name, "--help", NULL), GW_EXIT_FINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_way_to_give_a_value),
        cmocka_unit_test(takes_flags_together_and_words_between),
        cmocka_unit_test(ends_options_at_two_dashes),
        cmocka_unit_test(an_empty_value_is_a_value),
        cmocka_unit_test(says_what_was_meant),
        cmocka_unit_test(refuses_missing_and_superfluous_values),
        cmocka_unit_test(holds_to_its_limit),
        cmocka_unit_test(reads_numbers_strictly),
        cmocka_unit_test(commands_return_two_for_wrong_usage),
        cmocka_unit_test(commands_return_one_for_failure_and_zero_for_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
