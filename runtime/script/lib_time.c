/* gw.time: clocks and their texts; gw.sleep.
 * now() and monotonic() are the loop's, read once a turn; real() reads the clock. */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "script/lib_rows.h"

#define SECONDS_MAX 253402300799.0 /* 9999-12-31T23:59:59Z */
#define SLEEP_SECONDS_MAX 86400.0

/* time.now() -> seconds since 1970, with a fraction   [-0, +1] */
static int time_now(lua_State *L)
{
    struct gw_loop *loop = gw_vm_loop(gw_vm_of(L));

    lua_pushnumber(L, (double)(loop != NULL ? gw_loop_wall_ms(loop) : gw_time_real_ms()) / 1000);
    return 1;
}

/* time.monotonic() -> seconds since some moment; never goes back   [-0, +1] */
static int time_monotonic(lua_State *L)
{
    struct gw_loop *loop = gw_vm_loop(gw_vm_of(L));

    lua_pushnumber(L, (double)(loop != NULL ? gw_loop_now_us(loop) : gw_time_mono_us()) / 1e6);
    return 1;
}

/* time.real() -> milliseconds since 1970, read now: for measuring, not for deciding   [-0, +1] */
static int time_real(lua_State *L)
{
    lua_pushnumber(L, (double)gw_time_real_ms());
    return 1;
}

static double check_moment(lua_State *L, int index)
{
    double seconds = luaL_checknumber(L, index);

    luaL_argcheck(L, seconds >= 0 && seconds <= SECONDS_MAX, index,
                  "seconds from 1970 to the year 9999 expected");
    return seconds;
}

/* time.http(seconds) -> "Sun, 06 Nov 1994 08:49:37 GMT"   [-0, +1] */
static int time_http(lua_State *L)
{
    char out[GW_HTTP_DATE_LEN + 1];

    gw_http_date_format((int64_t)check_moment(L, 1), out);
    lua_pushlstring(L, out, GW_HTTP_DATE_LEN);
    return 1;
}

/* time.parse_http(text) -> seconds | nil, message, code   [-0, +1|+3] */
static int time_parse_http(lua_State *L)
{
    struct gw_str text;
    int64_t seconds;

    text.data = luaL_checklstring(L, 1, &text.len);
    if (gw_http_date_parse(text, &seconds) != GW_OK)
        return gw_lib_fail(L, GW_INVALID, "time: not a date of HTTP");
    lua_pushnumber(L, (double)seconds);
    return 1;
}

/* time.rfc3339(seconds) -> "2026-11-21T00:36:12.123Z"   [-0, +1] */
static int time_rfc3339(lua_State *L)
{
    char out[25];

    gw_rfc3339_format((uint64_t)floor(check_moment(L, 1) * 1000 + 0.5), out);
    lua_pushlstring(L, out, 24);
    return 1;
}

/* As the pattern says: 9 is a digit (into *numbers, one number a run), all else itself; letters
 * in any case. */
static bool scan(const char **at, const char *end, const char *pattern, int *numbers)
{
    for (; *pattern != '\0'; pattern++, ++*at) {
        if (*at == end)
            return false;
        if (*pattern != '9') {
            char c = **at >= 'a' && **at <= 'z' ? (char)(**at - 'a' + 'A') : **at;
            if (c != *pattern)
                return false;
            continue;
        }
        if (**at < '0' || **at > '9')
            return false;
        *numbers = *numbers * 10 + (**at - '0');
        if (pattern[1] != '9')
            numbers++;
    }
    return true;
}

static double scan_fraction(const char **at, const char *end, bool *good)
{
    double value = 0, unit = 0.1;
    const char *from;

    if (*at == end || **at != '.')
        return 0;
    from = ++*at;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at, unit /= 10)
        value += unit * (**at - '0');
    *good = *at > from;
    return value;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return month == 2 && leap ? 29 : days[month - 1];
}

/* RFC 3339 5.6: date-time with Z or an offset; a leap second is the second behind it. */
static bool parse_rfc3339(struct gw_str text, double *seconds)
{
    const char *at = text.data, *end = at + text.len;
    int n[6] = {0}, offset[2] = {0};
    bool good = true;

    if (!scan(&at, end, "9999-99-99T99:99:99", n))
        return false;
    double fraction = scan_fraction(&at, end, &good);
    if (!good || at == end)
        return false;
    bool west = *at == '-';
    if (*at == 'Z' || *at == 'z')
        at++;
    else if (*at != '+' && *at != '-')
        return false;
    else if (++at, !scan(&at, end, "99:99", offset))
        return false;
    if (at != end || n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > days_of(n[0], n[1]) || n[3] > 23 ||
        n[4] > 59 || n[5] > 60 || offset[0] > 23 || offset[1] > 59)
        return false;
    struct tm tm = {.tm_year = n[0] - 1900,
                    .tm_mon = n[1] - 1,
                    .tm_mday = n[2],
                    .tm_hour = n[3],
                    .tm_min = n[4],
                    .tm_sec = n[5]};
    int shift = (offset[0] * 60 + offset[1]) * 60;
    *seconds = (double)timegm(&tm) + fraction + (west ? shift : -shift);
    return true;
}

/* time.parse_rfc3339(text) -> seconds | nil, message, code   [-0, +1|+3] */
static int time_parse_rfc3339(lua_State *L)
{
    struct gw_str text;
    double seconds;

    text.data = luaL_checklstring(L, 1, &text.len);
    if (!parse_rfc3339(text, &seconds))
        return gw_lib_fail(L, GW_INVALID, "time: not a date and time of RFC 3339");
    lua_pushnumber(L, seconds);
    return 1;
}

void gw_lib_time_open(lua_State *L, struct gw_vm *vm)
{
    static const luaL_Reg functions[] = {{"now", time_now},
                                         {"monotonic", time_monotonic},
                                         {"real", time_real},
                                         {"http", time_http},
                                         {"parse_http", time_parse_http},
                                         {"rfc3339", time_rfc3339},
                                         {"parse_rfc3339", time_parse_rfc3339},
                                         {NULL, NULL}};

    lua_newtable(L);
    luaL_register(L, NULL, functions);
}

/* ---- sleep ---- */

struct sleep {
    struct gw_wait wait;
    struct gw_timer timer;
    struct gw_loop *loop;
};

static void sleep_free(struct sleep *op)
{
    gw_timer_fini(op->loop, &op->timer);
    free(op);
}

static void sleep_cancel(struct gw_wait *wait)
{
    sleep_free(GW_CONTAINER(wait, struct sleep, wait));
}

static int sleep_over(lua_State *L, void *arg)
{
    sleep_free(arg);
    return 0;
}

static void sleep_due(struct gw_timer *timer)
{
    struct sleep *op = GW_CONTAINER(timer, struct sleep, timer);

    gw_task_wake(&op->wait, sleep_over, op);
}

/* sleep(seconds)   [-0, +0]; 0 gives way to everything else for one turn of the loop */
static int sleep_seconds(lua_State *L)
{
    struct gw_loop *loop = gw_vm_loop(gw_vm_of(L));
    double seconds = luaL_checknumber(L, 1);

    luaL_argcheck(L, seconds >= 0 && seconds <= SLEEP_SECONDS_MAX, 1,
                  "seconds from 0 to 86400 expected");
    gw_lib_check(L, "sleep", GW_IN_WAITING);
    struct sleep *op = calloc(1, sizeof(*op));
    if (op == NULL)
        return luaL_error(L, "sleep: out of memory");
    op->loop = loop;
    gw_timer_init(&op->timer, sleep_due);
    gw_timer_set(loop, &op->timer, gw_loop_now_ms(loop) + (uint64_t)ceil(seconds * 1000));
    return gw_task_wait(L, &op->wait, sleep_cancel);
}

void gw_lib_sleep_open(lua_State *L, struct gw_vm *vm)
{
    lua_pushcfunction(L, sleep_seconds);
}
