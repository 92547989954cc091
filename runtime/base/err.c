#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum gw_rc gw_err_set(struct gw_err *err, enum gw_rc rc, const char *fmt, ...)
{
    va_list args;

    if (err == NULL)
        return rc;
    va_start(args, fmt);
    (void)vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);
    return rc;
}

void gw_err_prefix(struct gw_err *err, const char *fmt, ...)
{
    char front[GW_ERR_BYTES_MAX];
    va_list args;
    size_t front_len, keep;

    if (err == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(front, sizeof(front), fmt, args);
    va_end(args);

    front_len = strlen(front);
    keep = strlen(err->text);
    if (front_len + keep >= sizeof(err->text))
        keep = sizeof(err->text) - 1 - front_len;
    memmove(err->text + front_len, err->text, keep);
    memcpy(err->text, front, front_len);
    err->text[front_len + keep] = '\0';
}
