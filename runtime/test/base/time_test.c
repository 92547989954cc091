#include "base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/rc.h"

static void formats_http_dates(void **state)
{
    char out[GW_HTTP_DATE_LEN + 1];

    gw_http_date_format(784111777, out);
    assert_string_equal(out, "Sun, 06 Nov 1994 08:49:37 GMT");
    gw_http_date_format(0, out);
    assert_string_equal(out, "Thu, 01 Jan 1970 00:00:00 GMT");
    gw_http_date_format(951782400, out);
    assert_string_equal(out, "Tue, 29 Feb 2000 00:00:00 GMT");
    gw_http_date_format(INT64_MAX, out);
    assert_string_equal(out, "Thu, 01 Jan 1970 00:00:00 GMT");
}

static void reads_the_three_forms(void **state)
{
    static const char *const good[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                       "Sunday, 06-Nov-94 08:49:37 GMT",
                                       "Sun Nov  6 08:49:37 1994"};
    int64_t at;

    for (size_t i = 0; i < 3; i++) {
        at = 0;
        assert_int_equal(gw_http_date_parse(gw_str_c(good[i]), &at), GW_OK);
        assert_int_equal(at, 784111777);
    }
}

static void refuses_other_dates(void **state)
{
    static const char *const bad[] = {"",
                                      "Sun",
                                      "Sun, 06 Nov 1994 08:49:37",
                                      "1994-11-06T08:49:37Z",
                                      "Sun, 06 Nov 1994 24:49:37 GMT",
                                      "Sun, 32 Nov 1994 08:49:37 GMT",
                                      "Sun, 06 Nox 1994 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 08:49:37 GMT ",
                                      "Sun, 6 Nov 1994 08:49:37 GMT"};
    int64_t at;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(gw_http_date_parse(gw_str_c(bad[i]), &at), GW_INVALID);
}

static void round_trips(void **state)
{
    char out[GW_HTTP_DATE_LEN + 1];
    int64_t back;

    for (int64_t at = -2000000000; at < 6000000000; at += 86400 * 13 + 3607) {
        gw_http_date_format(at, out);
        assert_int_equal(gw_http_date_parse(gw_str(out, GW_HTTP_DATE_LEN), &back), GW_OK);
        assert_int_equal(back, at);
    }
}

static void formats_rfc3339(void **state)
{
    char out[25];

    gw_rfc3339_format(784111777123, out);
    assert_string_equal(out, "1994-11-06T08:49:37.123Z");
}

static void errors_are_cut_never_overrun(void **state)
{
    struct gw_err err;

    assert_int_equal(gw_err_set(&err, GW_INVALID, "%*s", 5000, "x"), GW_INVALID);
    assert_int_equal(strlen(err.text), GW_ERR_BYTES_MAX - 1);
    gw_err_prefix(&err, "front: ");
    assert_int_equal(strlen(err.text), GW_ERR_BYTES_MAX - 1);
    assert_memory_equal(err.text, "front: ", 7);
    assert_int_equal(gw_err_set(&err, GW_DNS, "b"), GW_DNS);
    gw_err_prefix(&err, "%s: ", "a");
    assert_string_equal(err.text, "a: b");
    assert_int_equal(gw_err_set(NULL, GW_DNS, "b"), GW_DNS);
}

static void each_result_has_a_code_and_a_text(void **state)
{
    for (int rc = 0; rc < GW_RC_COUNT; rc++) {
        assert_true(strlen(gw_rc_code((enum gw_rc)rc)) > 0);
        assert_true(strlen(gw_rc_text((enum gw_rc)rc)) > 0);
    }
    assert_string_equal(gw_rc_code(GW_TIMEOUT), "timeout");
    assert_string_equal(gw_rc_code((enum gw_rc)999), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_http_dates),
        cmocka_unit_test(reads_the_three_forms),
        cmocka_unit_test(refuses_other_dates),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(formats_rfc3339),
        cmocka_unit_test(errors_are_cut_never_overrun),
        cmocka_unit_test(each_result_has_a_code_and_a_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
