/* HTTP/1 output under construction: one message part of one connection at a time.
 * Text (heads, chunk sizes) is written into one buffer of the worker, body pieces stay where
 * they are; one writev sends both. What the socket does not take is copied to pipe->out. */
#ifndef GW_HTTP_H1_OUT_H
#define GW_HTTP_H1_OUT_H

#include <string.h>

#include "base/time.h"
#include "http/h1.h"

#define GW_H1_PARTS_MAX 24
/* Shorter pieces are copied behind the text: one send() of one piece costs less than a writev
 * of two, and copying them is next to nothing while they are in the cache. */
#define GW_H1_COPY_MAX 4096

struct gw_h1_part {
    const char *data; /* NULL: `offset` in the text */
    size_t offset;
    size_t len;
};

struct gw_h1 {
    struct gw_loop *loop;
    struct gw_pipe *owner; /* of what is under construction; NULL: nothing is */
    struct gw_buf text;
    struct gw_h1_part parts[GW_H1_PARTS_MAX];
    unsigned count;
    struct gw_list dirty; /* struct gw_h2_conn: HTTP/2 connections that have something to flush */
    struct gw_buf frames; /* what one of them writes, for the length of a flush */
    uint64_t date_s;
    char date[GW_HTTP_DATE_LEN + 1];
};

/* How a side of ours hears what became of its output. */
struct gw_pipe_side {
    void (*written)(struct gw_pipe *pipe); /* all is with the kernel */
    void (*blocked)(struct gw_pipe *pipe); /* pipe->out is over its limit */
    void (*broken)(struct gw_pipe *pipe);  /* the socket takes nothing any more */
};

/* A chunked body being read; its trailer lines may come in several reads. */
struct gw_h1_chunked {
    struct gw_chunk_decoder decoder;
    struct gw_buf lines;
};

struct gw_h1_chunked *gw_h1_chunked_new(void);
void gw_h1_chunked_free(struct gw_h1_chunked *chunked); /* NULL is fine */
/* The trailer section that has ended, parsed into `arena`; *out NULL: there are no lines. */
GW_MUST_CHECK enum gw_rc gw_h1_trailers(struct gw_str lines, const struct gw_head_limits *limits,
                                        struct gw_arena *arena, struct gw_fields **out,
                                        const char **why);

void gw_h1_out_begin(struct gw_pipe *pipe);             /* flushes another's first */
char *gw_h1_out_grow(struct gw_pipe *pipe, size_t len); /* slow path of gw_h1_out_room() */
/* Room for `len` bytes of text; follow with gw_h1_out_wrote(). A head is a dozen short pieces,
 * hence inline. */
static inline char *gw_h1_out_room(struct gw_pipe *pipe, size_t len)
{
    struct gw_h1 *h1 = pipe->h1;

    if (h1->owner == pipe && h1->count > 0 && h1->parts[h1->count - 1].data == NULL &&
        h1->text.size - h1->text.to >= len)
        return h1->text.data + h1->text.to;
    return gw_h1_out_grow(pipe, len);
}

static inline void gw_h1_out_wrote(struct gw_pipe *pipe, size_t len)
{
    struct gw_h1 *h1 = pipe->h1;

    h1->parts[h1->count - 1].len += len;
    gw_buf_added(&h1->text, len);
}

static inline void gw_h1_out_text(struct gw_pipe *pipe, const char *data, size_t len)
{
    if (len == 0)
        return;
    memcpy(gw_h1_out_room(pipe, len), data, len);
    gw_h1_out_wrote(pipe, len);
}

void gw_h1_out_field(struct gw_pipe *pipe, struct gw_str name, struct gw_str value);
void gw_h1_out_fields(struct gw_pipe *pipe, const struct gw_fields *fields, uint64_t but);
void gw_h1_out_number(struct gw_pipe *pipe, struct gw_str before, uint64_t number);
void gw_h1_out_data(struct gw_pipe *pipe, struct gw_str data); /* lent until the flush */
void gw_h1_out_body(struct gw_pipe *pipe, struct gw_str piece);
void gw_h1_out_end(struct gw_pipe *pipe, const struct gw_fields *trailers);
/* And whatever HTTP/2 connections of the worker have to send. */
void gw_h1_out_flush(struct gw_h1 *h1);
void gw_h2_flush_all(struct gw_h1 *h1); /* h2.c */
/* The socket has room again: sends from pipe->out. GW_OK: all gone; GW_AGAIN; GW_CLOSED. */
enum gw_rc gw_h1_out_resume(struct gw_pipe *pipe);

#endif
