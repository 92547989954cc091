#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_BYTES 256
#define BYTES_MAX (1UL << 31)

void gw_buf_fini(struct gw_buf *buf)
{
    free(buf->data);
    *buf = GW_BUF_INIT;
}

char *gw_buf_reserve(struct gw_buf *buf, size_t len)
{
    size_t used = gw_buf_len(buf), size;

    if (buf->size - buf->to >= len && buf->data != NULL)
        return buf->data + buf->to;
    /* Moving is cheaper than growing once half of the memory lies in front. */
    if (buf->data != NULL && buf->from > 0 && buf->size - used >= len && buf->from >= used) {
        memmove(buf->data, buf->data + buf->from, used);
        buf->from = 0;
        buf->to = (uint32_t)used;
        return buf->data + used;
    }
    if (len > BYTES_MAX || buf->to + len > BYTES_MAX)
        abort();
    size = buf->size > 0 ? buf->size : FIRST_BYTES;
    while (size < buf->to + len)
        size *= 2;
    buf->data = realloc(buf->data, size);
    if (buf->data == NULL) {
        (void)fputs("moongate: out of memory\n", stderr);
        abort();
    }
    buf->size = (uint32_t)size;
    return buf->data + buf->to;
}

void gw_buf_add(struct gw_buf *buf, const void *data, size_t len)
{
    if (len == 0)
        return;
    memcpy(gw_buf_reserve(buf, len), data, len);
    buf->to += (uint32_t)len;
}

void gw_buf_printf(struct gw_buf *buf, const char *fmt, ...)
{
    va_list args, again;
    int len;

    va_start(args, fmt);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(len >= 0);
    (void)vsnprintf(gw_buf_reserve(buf, (size_t)len + 1), (size_t)len + 1, fmt, again);
    va_end(again);
    buf->to += (uint32_t)len;
}

void gw_buf_consume(struct gw_buf *buf, size_t len)
{
    assert(len <= gw_buf_len(buf));
    buf->from += (uint32_t)len;
    if (buf->from == buf->to)
        buf->from = buf->to = 0;
}
