/* Lines of a log file, made in place: what is put together here goes straight into the buffer. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "script/logfile_private.h"

#define ESCAPE_MOST 6 /* bytes that one byte may become: \u001f */

bool gw_logfile_write(struct gw_logfile *file, const char *line, size_t len)
{
    char *to, *end;
    uint32_t mark;

    if (!gw_logfile_room(file))
        return false;
    mark = file->lines.to;
    to = gw_buf_reserve(&file->lines, len + 1);
    memcpy(to, line, len);
    for (char *at = to; (end = memchr(at, '\n', (size_t)(to + len - at))) != NULL; at = end)
        *end = ' ';
    to[len] = '\n';
    gw_buf_added(&file->lines, len + 1);
    return gw_logfile_take(file, mark);
}

bool gw_logfile_begin(struct gw_logfile *file)
{
    if (!gw_logfile_room(file))
        return false;
    file->mark = file->lines.to;
    file->making = true;
    gw_buf_add(&file->lines, "{", 1);
    return true;
}

bool gw_logfile_end(struct gw_logfile *file)
{
    gw_buf_add(&file->lines, "}\n", 2);
    file->making = false;
    return gw_logfile_take(file, file->mark);
}

/* Room for the name, a comma before it, and `len` bytes; returns where these go. */
static char *member(struct gw_logfile *file, struct gw_str name, size_t len)
{
    char *to = gw_buf_reserve(&file->lines, name.len + 1 + len);
    size_t comma = to[-1] != '{';

    to[0] = ',';
    memcpy(to + comma, name.data, name.len);
    gw_buf_added(&file->lines, comma + name.len);
    return to + comma + name.len;
}

/* ---- texts ---- */

/* Bytes of the UTF-8 character at `at`; 0: it is none. The second byte's range keeps out
 * overlong forms, surrogates, and what lies above U+10FFFF. */
static size_t utf8_len(const unsigned char *at, size_t left)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t len;

    if (at[0] >= 0xc2 && at[0] <= 0xdf)
        len = 2;
    else if (at[0] >= 0xe0 && at[0] <= 0xef)
        len = 3;
    else if (at[0] >= 0xf0 && at[0] <= 0xf4)
        len = 4;
    else
        return 0;
    if (at[0] == 0xe0)
        low = 0xa0;
    else if (at[0] == 0xed)
        high = 0x9f;
    else if (at[0] == 0xf0)
        low = 0x90;
    else if (at[0] == 0xf4)
        high = 0x8f;
    if (len > left || at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (at[i] < 0x80 || at[i] > 0xbf)
            return 0;
    return len;
}

/* A terminal that shows the log obeys C1 controls (U+0080 to U+009F) as it does escape. */
static size_t escape(char *to, unsigned code)
{
    static const char hex[] = "0123456789abcdef";

    memcpy(to, "\\u00", 4);
    to[4] = hex[code >> 4 & 15];
    to[5] = hex[code & 15];
    return 6;
}

/* One character that is not plain ASCII; `*used` bytes of `at`. */
static size_t special(char *to, const unsigned char *at, size_t left, size_t *used)
{
    size_t len;

    *used = 1;
    if (at[0] == '"' || at[0] == '\\') {
        to[0] = '\\';
        to[1] = (char)at[0];
        return 2;
    }
    if (at[0] < 0x80)
        return escape(to, at[0]);
    len = utf8_len(at, left);
    if (len == 0) {
        memcpy(to, "\\ufffd", 6);
        return 6;
    }
    *used = len;
    if (at[0] == 0xc2 && at[1] < 0xa0)
        return escape(to, at[1]);
    memcpy(to, at, len);
    return len;
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

void gw_logfile_text(struct gw_logfile *file, struct gw_str name, struct gw_str value)
{
    const unsigned char *at = (const unsigned char *)value.data, *end;
    bool cut = value.len > GW_LOGFILE_VALUE_MAX;
    size_t len = cut ? GW_LOGFILE_VALUE_MAX : value.len, used;
    char *begin = member(file, name, len * ESCAPE_MOST + 5), *to = begin;

    /* Not in the middle of a character. */
    while (cut && len > 0 && (at[len] & 0xc0) == 0x80 && len > GW_LOGFILE_VALUE_MAX - 4)
        len--;
    *to++ = '"';
    for (end = at + len; at < end;) {
        if (plain(*at)) {
            *to++ = (char)*at++;
            continue;
        }
        to += special(to, at, (size_t)(end - at), &used);
        at += used;
    }
    if (cut) {
        memcpy(to, "...", 3);
        to += 3;
    }
    *to++ = '"';
    gw_buf_added(&file->lines, (size_t)(to - begin));
}

/* ---- the rest ---- */

static size_t digits(char *to, uint64_t value)
{
    char text[20];
    size_t len = 0;

    do
        text[len++] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    for (size_t i = 0; i < len; i++)
        to[i] = text[len - 1 - i];
    return len;
}

void gw_logfile_number(struct gw_logfile *file, struct gw_str name, double value)
{
    char *begin = member(file, name, 32), *to = begin;
    double size = fabs(value), thousandths;

    if (!isfinite(value)) {
        memcpy(to, "null", 4);
        to += 4;
    } else if (size < 1e12) {
        /* Three decimals are what durations in milliseconds need. */
        thousandths = nearbyint(size * 1000);
        if (value < 0 && thousandths > 0)
            *to++ = '-';
        to += digits(to, (uint64_t)thousandths / 1000);
        unsigned rest = (unsigned)((uint64_t)thousandths % 1000);
        if (rest != 0) {
            *to++ = '.';
            *to++ = (char)('0' + rest / 100);
            if (rest % 100 != 0)
                *to++ = (char)('0' + rest / 10 % 10);
            if (rest % 10 != 0)
                *to++ = (char)('0' + rest % 10);
        }
    } else {
        to += snprintf(to, 32, "%.15g", value);
    }
    gw_buf_added(&file->lines, (size_t)(to - begin));
}

void gw_logfile_bool(struct gw_logfile *file, struct gw_str name, bool value)
{
    char *to = member(file, name, 5);

    memcpy(to, value ? "true" : "false", value ? 4 : 5);
    gw_buf_added(&file->lines, value ? 4 : 5);
}

void gw_logfile_time(struct gw_logfile *file, struct gw_str name)
{
    uint64_t ms = gw_loop_wall_ms(file->set->loop);
    char *to = member(file, name, 26), text[25];
    unsigned rest = (unsigned)(ms % 1000);

    /* Calendars are slow; one second serves many lines. */
    if (ms / 1000 != file->second || file->second_text[0] == '\0') {
        file->second = ms / 1000;
        gw_rfc3339_format(ms, text);
        memcpy(file->second_text, text, 19);
    }
    to[0] = '"';
    memcpy(to + 1, file->second_text, 19);
    to[20] = '.';
    to[21] = (char)('0' + rest / 100);
    to[22] = (char)('0' + rest / 10 % 10);
    to[23] = (char)('0' + rest % 10);
    to[24] = 'Z';
    to[25] = '"';
    gw_buf_added(&file->lines, 26);
}

void gw_logfile_object(struct gw_logfile *file, struct gw_str name)
{
    *member(file, name, 1) = '{';
    gw_buf_added(&file->lines, 1);
}

void gw_logfile_close(struct gw_logfile *file)
{
    gw_buf_add(&file->lines, "}", 1);
}
