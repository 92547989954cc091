/* The output under construction belongs to one connection at a time. Most answers are head
 * and body of one read: they leave in one writev straight from the worker's buffer. */
#include "http/h1.h"

#include <assert.h>
#include <stdlib.h>

#include "base/time.h"
#include "http/h1_out.h"

enum gw_rc gw_h1_new(struct gw_loop *loop, struct gw_h1 **out)
{
    struct gw_h1 *h1 = calloc(1, sizeof(*h1));

    if (h1 == NULL)
        return GW_NOMEM;
    h1->loop = loop;
    gw_list_init(&h1->dirty);
    *out = h1;
    return GW_OK;
}

void gw_h1_free(struct gw_h1 *h1)
{
    if (h1 == NULL)
        return;
    gw_buf_fini(&h1->text);
    gw_buf_fini(&h1->frames);
    free(h1);
}

struct gw_str gw_h1_date(struct gw_h1 *h1)
{
    uint64_t now_s = gw_loop_wall_ms(h1->loop) / 1000;

    if (now_s != h1->date_s) {
        h1->date_s = now_s;
        gw_http_date_format((int64_t)now_s, h1->date);
    }
    return gw_str(h1->date, GW_HTTP_DATE_LEN);
}

void gw_h1_flush_all(struct gw_h1 *h1)
{
    gw_h1_out_flush(h1);
}

struct gw_h1_chunked *gw_h1_chunked_new(void)
{
    struct gw_h1_chunked *chunked = calloc(1, sizeof(*chunked));

    if (chunked == NULL)
        abort();
    gw_chunk_init(&chunked->decoder);
    return chunked;
}

void gw_h1_chunked_free(struct gw_h1_chunked *chunked)
{
    if (chunked == NULL)
        return;
    gw_buf_fini(&chunked->lines);
    free(chunked);
}

enum gw_rc gw_h1_trailers(struct gw_str lines, const struct gw_head_limits *limits,
                          struct gw_arena *arena, struct gw_fields **out, const char **why)
{
    struct gw_str copy;

    *out = NULL;
    if (lines.len <= 2)
        return GW_OK;
    copy = gw_arena_dup(arena, lines);
    *out = gw_arena_zalloc(arena, sizeof(**out));
    gw_fields_init(*out, arena);
    return gw_head_parse_trailers(copy, limits, *out, why);
}

static void flush_owner(struct gw_h1 *h1);

void gw_h1_out_begin(struct gw_pipe *pipe)
{
    struct gw_h1 *h1 = pipe->h1;

    if (h1->owner == pipe)
        return;
    if (h1->owner != NULL)
        flush_owner(h1);
    h1->owner = pipe;
    h1->count = 0;
    gw_buf_clear(&h1->text);
}

/* The text part that new text may be added to. */
static struct gw_h1_part *text_part(struct gw_h1 *h1)
{
    struct gw_h1_part *part = h1->count > 0 ? &h1->parts[h1->count - 1] : NULL;

    if (part != NULL && part->data == NULL)
        return part;
    part = &h1->parts[h1->count++];
    *part = (struct gw_h1_part){NULL, h1->text.to, 0};
    return part;
}

/* Room for `parts` more; a flush in between is harmless. */
static void make_room(struct gw_pipe *pipe, unsigned parts)
{
    struct gw_h1 *h1 = pipe->h1;

    gw_h1_out_begin(pipe);
    if (h1->count + parts <= GW_H1_PARTS_MAX)
        return;
    flush_owner(h1);
    gw_h1_out_begin(pipe);
}

char *gw_h1_out_grow(struct gw_pipe *pipe, size_t len)
{
    make_room(pipe, 1);
    (void)text_part(pipe->h1);
    return gw_buf_reserve(&pipe->h1->text, len);
}

void gw_h1_out_field(struct gw_pipe *pipe, struct gw_str name, struct gw_str value)
{
    size_t len = name.len + value.len + 4;
    char *to = gw_h1_out_room(pipe, len);

    memcpy(to, name.data, name.len);
    to += name.len;
    *to++ = ':';
    *to++ = ' ';
    if (value.len > 0)
        memcpy(to, value.data, value.len);
    to[value.len] = '\r';
    to[value.len + 1] = '\n';
    gw_h1_out_wrote(pipe, len);
}

/* Fields whose bytes follow each other on the wire are copied as one run. */
void gw_h1_out_fields(struct gw_pipe *pipe, const struct gw_fields *fields, uint64_t but)
{
    const char *from = NULL, *to = NULL;

    for (uint32_t i = 0; i < fields->count; i++) {
        const struct gw_field *field = &fields->items[i];
        if (field->dropped || (but >> field->id & 1) != 0)
            continue;
        if (field->wire) {
            if (field->name.data != to) {
                if (from != NULL)
                    gw_h1_out_text(pipe, from, (size_t)(to - from));
                from = field->name.data;
            }
            to = field->value.data + field->value.len + 2;
            continue;
        }
        if (from != NULL)
            gw_h1_out_text(pipe, from, (size_t)(to - from));
        from = to = NULL;
        gw_h1_out_field(pipe, field->name, field->value);
    }
    if (from != NULL)
        gw_h1_out_text(pipe, from, (size_t)(to - from));
}

void gw_h1_out_number(struct gw_pipe *pipe, struct gw_str before, uint64_t number)
{
    char digits[24], *at = digits + sizeof(digits);

    gw_h1_out_text(pipe, before.data, before.len);
    *--at = '\n';
    *--at = '\r';
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    gw_h1_out_text(pipe, at, (size_t)(digits + sizeof(digits) - at));
}

void gw_h1_out_data(struct gw_pipe *pipe, struct gw_str data)
{
    struct gw_h1 *h1 = pipe->h1;

    if (data.len <= GW_H1_COPY_MAX) {
        gw_h1_out_text(pipe, data.data, data.len);
        return;
    }
    make_room(pipe, 1);
    h1->parts[h1->count++] = (struct gw_h1_part){data.data, 0, data.len};
}

void gw_h1_out_body(struct gw_pipe *pipe, struct gw_str piece)
{
    static const char hex[] = "0123456789abcdef";
    char size[20], *at = size + sizeof(size);
    size_t len = piece.len;

    if (len == 0 || pipe->no_body_out)
        return;
    if (!pipe->chunked_out) {
        gw_h1_out_data(pipe, piece);
        return;
    }
    *--at = '\n';
    *--at = '\r';
    do
        *--at = hex[len & 15];
    while ((len >>= 4) > 0);
    make_room(pipe, 3);
    gw_h1_out_text(pipe, at, (size_t)(size + sizeof(size) - at));
    gw_h1_out_data(pipe, piece);
    gw_h1_out_text(pipe, "\r\n", 2);
}

void gw_h1_out_end(struct gw_pipe *pipe, const struct gw_fields *trailers)
{
    if (!pipe->chunked_out || pipe->no_body_out)
        return;
    gw_h1_out_text(pipe, "0\r\n", 3);
    if (trailers != NULL)
        gw_h1_out_fields(pipe, trailers, 0);
    gw_h1_out_text(pipe, "\r\n", 2);
}

/* What the socket did not take waits in pipe->out, copied. */
static void keep_rest(struct gw_h1 *h1, struct gw_pipe *pipe, size_t sent)
{
    for (unsigned i = 0; i < h1->count; i++) {
        const struct gw_h1_part *part = &h1->parts[i];
        const char *data = part->data != NULL ? part->data : h1->text.data + part->offset;
        size_t skip = sent < part->len ? sent : part->len;
        sent -= skip;
        gw_buf_add(&pipe->out, data + skip, part->len - skip);
    }
}

static void flush_owner(struct gw_h1 *h1)
{
    struct gw_pipe *pipe = h1->owner;
    struct iovec iov[GW_H1_PARTS_MAX];
    size_t sent = 0, total = 0;
    enum gw_rc rc = GW_OK;
    bool waits;

    h1->owner = NULL;
    if (pipe->closed || pipe->write_dead)
        return;
    for (unsigned i = 0; i < h1->count; i++) {
        const struct gw_h1_part *part = &h1->parts[i];
        const char *data = part->data != NULL ? part->data : h1->text.data + part->offset;
        iov[i].iov_base = (void *)(uintptr_t)data;
        iov[i].iov_len = part->len;
        total += part->len;
    }
    waits = gw_buf_len(&pipe->out) > 0;
    if (total > 0 && !waits && pipe->conn.writable)
        rc = gw_conn_writev(&pipe->conn, iov, (int)h1->count, &sent);
    if (rc != GW_OK) {
        pipe->write_dead = true;
        pipe->side->broken(pipe);
        return;
    }
    if (sent < total)
        keep_rest(h1, pipe, sent);
    if (gw_buf_len(&pipe->out) == 0) {
        pipe->side->written(pipe);
        return;
    }
    /* More to send is no sign of life of a peer that takes nothing. */
    if (!waits && !pipe->conn.connecting)
        gw_timer_set(h1->loop, &pipe->timer, gw_loop_now_ms(h1->loop) + pipe->send_timeout_ms);
    if (!pipe->blocked && gw_buf_len(&pipe->out) >= pipe->buffer_bytes_max) {
        pipe->blocked = true;
        pipe->side->blocked(pipe);
    }
}

void gw_h1_out_flush(struct gw_h1 *h1)
{
    if (h1->owner != NULL)
        flush_owner(h1);
    if (!gw_list_empty(&h1->dirty))
        gw_h2_flush_all(h1);
}

enum gw_rc gw_h1_out_resume(struct gw_pipe *pipe)
{
    while (gw_buf_len(&pipe->out) > 0 && pipe->conn.writable) {
        struct gw_str rest = gw_buf_str(&pipe->out);
        struct iovec iov = {(void *)(uintptr_t)rest.data, rest.len};
        size_t sent;
        if (gw_conn_writev(&pipe->conn, &iov, 1, &sent) != GW_OK) {
            pipe->write_dead = true;
            return GW_CLOSED;
        }
        gw_buf_consume(&pipe->out, sent);
        if (sent > 0)
            gw_timer_set(pipe->h1->loop, &pipe->timer,
                         gw_loop_now_ms(pipe->h1->loop) + pipe->send_timeout_ms);
    }
    if (gw_buf_len(&pipe->out) > 0)
        return GW_AGAIN;
    gw_buf_fini(&pipe->out);
    return GW_OK;
}
