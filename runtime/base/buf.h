/* A growable run of bytes with a read end: append behind, consume in front.
 * Lives in: one worker. Owner: who embeds it. Growth aborts when memory is out; who feeds
 * it from a peer holds it to a limit (gw_buf_len) and stops the source (back-pressure). */
#ifndef GW_BASE_BUF_H
#define GW_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct gw_buf {
    char *data;    /* NULL: holds no memory */
    uint32_t from; /* first unread byte */
    uint32_t to;   /* behind the last byte */
    uint32_t size; /* at most 2 GiB: more aborts */
};

#define GW_BUF_INIT ((struct gw_buf){NULL, 0, 0, 0})

void gw_buf_fini(struct gw_buf *buf); /* frees; the buffer is empty and usable again */

static inline size_t gw_buf_len(const struct gw_buf *buf)
{
    return buf->to - buf->from;
}

static inline struct gw_str gw_buf_str(const struct gw_buf *buf)
{
    return gw_str(buf->data + buf->from, buf->to - buf->from);
}

/* Room for `len` bytes behind the last; follow with gw_buf_added(). */
char *gw_buf_reserve(struct gw_buf *buf, size_t len);
static inline void gw_buf_added(struct gw_buf *buf, size_t len)
{
    buf->to += (uint32_t)len;
}

void gw_buf_add(struct gw_buf *buf, const void *data, size_t len);
static inline void gw_buf_add_str(struct gw_buf *buf, struct gw_str s)
{
    gw_buf_add(buf, s.data, s.len);
}
void gw_buf_printf(struct gw_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Drops `len` bytes in front; an emptied buffer starts again at its beginning. */
void gw_buf_consume(struct gw_buf *buf, size_t len);

/* Empties it but keeps the memory. */
static inline void gw_buf_clear(struct gw_buf *buf)
{
    buf->from = buf->to = 0;
}

#endif
