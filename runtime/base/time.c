#include "base/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t read_clock(clockid_t clock, uint64_t per_second)
{
    struct timespec ts;

    (void)clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * per_second + (uint64_t)ts.tv_nsec / (1000000000ULL / per_second);
}

uint64_t gw_time_mono_ms(void)
{
    return read_clock(CLOCK_MONOTONIC, 1000);
}

uint64_t gw_time_mono_us(void)
{
    return read_clock(CLOCK_MONOTONIC, 1000000);
}

uint64_t gw_time_real_ms(void)
{
    return read_clock(CLOCK_REALTIME, 1000);
}

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char long_days[7][10] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                      "Thursday", "Friday", "Saturday"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void put2(char *out, int value)
{
    out[0] = (char)('0' + value / 10 % 10);
    out[1] = (char)('0' + value % 10);
}

void gw_http_date_format(int64_t unix_s, char out[GW_HTTP_DATE_LEN + 1])
{
    time_t at = (time_t)unix_s;
    struct tm tm;

    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", GW_HTTP_DATE_LEN + 1);
    if (gmtime_r(&at, &tm) == NULL || tm.tm_year < -1900 || tm.tm_year > 8099)
        return;
    memcpy(out, days[tm.tm_wday], 3);
    put2(out + 5, tm.tm_mday);
    memcpy(out + 8, months[tm.tm_mon], 3);
    put2(out + 12, (tm.tm_year + 1900) / 100);
    put2(out + 14, (tm.tm_year + 1900) % 100);
    put2(out + 17, tm.tm_hour);
    put2(out + 20, tm.tm_min);
    put2(out + 23, tm.tm_sec);
}

/* Reads the pattern: d digit into *num, a name is compared by the caller. */
static bool digits(const char **at, const char *end, int count, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++) {
        if (*at == end || **at < '0' || **at > '9')
            return false;
        *value = *value * 10 + (*(*at)++ - '0');
    }
    return true;
}

static bool word(const char **at, const char *end, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(end - *at) < len || memcmp(*at, text, len) != 0)
        return false;
    *at += len;
    return true;
}

static bool month(const char **at, const char *end, int *value)
{
    for (*value = 0; *value < 12; ++*value)
        if (word(at, end, months[*value]))
            return true;
    return false;
}

static bool clock_time(const char **at, const char *end, struct tm *tm)
{
    return digits(at, end, 2, &tm->tm_hour) && word(at, end, ":") &&
           digits(at, end, 2, &tm->tm_min) && word(at, end, ":") && digits(at, end, 2, &tm->tm_sec);
}

/* "06 Nov 1994 08:49:37 GMT", behind "Sun, " */
static bool imf_fixdate(const char *at, const char *end, struct tm *tm)
{
    int year;

    if (!(digits(&at, end, 2, &tm->tm_mday) && word(&at, end, " ") &&
          month(&at, end, &tm->tm_mon) && word(&at, end, " ") && digits(&at, end, 4, &year) &&
          word(&at, end, " ") && clock_time(&at, end, tm) && word(&at, end, " GMT")))
        return false;
    tm->tm_year = year - 1900;
    return at == end;
}

/* "06-Nov-94 08:49:37 GMT", behind "Sunday, " */
static bool rfc850(const char *at, const char *end, struct tm *tm)
{
    int year;

    if (!(digits(&at, end, 2, &tm->tm_mday) && word(&at, end, "-") &&
          month(&at, end, &tm->tm_mon) && word(&at, end, "-") && digits(&at, end, 2, &year) &&
          word(&at, end, " ") && clock_time(&at, end, tm) && word(&at, end, " GMT")))
        return false;
    tm->tm_year = year < 70 ? year + 100 : year;
    return at == end;
}

/* "Nov  6 08:49:37 1994", behind "Sun " */
static bool asctime_date(const char *at, const char *end, struct tm *tm)
{
    int year;

    if (!(month(&at, end, &tm->tm_mon) && word(&at, end, " ")))
        return false;
    if (word(&at, end, " ")) {
        if (!digits(&at, end, 1, &tm->tm_mday))
            return false;
    } else if (!digits(&at, end, 2, &tm->tm_mday)) {
        return false;
    }
    if (!(word(&at, end, " ") && clock_time(&at, end, tm) && word(&at, end, " ") &&
          digits(&at, end, 4, &year)))
        return false;
    tm->tm_year = year - 1900;
    return at == end;
}

enum gw_rc gw_http_date_parse(struct gw_str text, int64_t *unix_s)
{
    struct tm tm = {0};
    bool ok = false;

    for (int day = 0; day < 7 && !ok; day++) {
        const char *end = text.data + text.len, *at = text.data;
        if (word(&at, end, long_days[day]) && word(&at, end, ", "))
            ok = rfc850(at, end, &tm);
        at = text.data;
        if (!ok && word(&at, end, days[day])) {
            const char *rest = at;
            if (word(&at, end, ", "))
                ok = imf_fixdate(at, end, &tm);
            else if (word(&rest, end, " "))
                ok = asctime_date(rest, end, &tm);
        }
    }
    if (!ok || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 60)
        return GW_INVALID;
    *unix_s = (int64_t)timegm(&tm);
    return GW_OK;
}

void gw_rfc3339_format(uint64_t unix_ms, char out[25])
{
    time_t at = (time_t)(unix_ms / 1000);
    struct tm tm = {0};

    (void)gmtime_r(&at, &tm);
    memcpy(out, "0000-00-00T00:00:00.000Z", 25);
    put2(out, (tm.tm_year + 1900) / 100);
    put2(out + 2, (tm.tm_year + 1900) % 100);
    put2(out + 5, tm.tm_mon + 1);
    put2(out + 8, tm.tm_mday);
    put2(out + 11, tm.tm_hour);
    put2(out + 14, tm.tm_min);
    put2(out + 17, tm.tm_sec);
    out[20] = (char)('0' + unix_ms % 1000 / 100);
    put2(out + 21, (int)(unix_ms % 100));
}
