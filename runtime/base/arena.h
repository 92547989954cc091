/* Memory with one lifetime: many allocations, one free.
 * Lives in: one worker. Owner: who embeds it. A generation, a connection and a request
 * each have one; what must outlive its arena is copied on purpose.
 * Memory is taken in blocks; blocks of the usual size are recycled through a per-process
 * pool (single-threaded: helper threads use malloc). Out of memory aborts the process:
 * sizes that a peer chooses are held to a limit before they come here. */
#ifndef GW_BASE_ARENA_H
#define GW_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct gw_arena_block;

struct gw_arena {
    struct gw_arena_block *blocks; /* newest first; NULL: nothing allocated yet */
    char *at;
    char *end;
    size_t bytes; /* taken from the system, for memory accounts */
};

#define GW_ARENA_INIT ((struct gw_arena){NULL, NULL, NULL, 0})

void gw_arena_init(struct gw_arena *arena);
void gw_arena_fini(struct gw_arena *arena);

/* Slow path of gw_arena_alloc(). */
void *gw_arena_grow(struct gw_arena *arena, size_t size);

/* Aligned to 8; the content is undefined. Never NULL. */
static inline void *gw_arena_alloc(struct gw_arena *arena, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    if ((size_t)(arena->end - arena->at) < size)
        return gw_arena_grow(arena, size);
    void *mem = arena->at;
    arena->at += size;
    return mem;
}

void *gw_arena_zalloc(struct gw_arena *arena, size_t size);

/* A copy; terminated by NUL for the convenience of C interfaces (not counted in len). */
struct gw_str gw_arena_dup(struct gw_arena *arena, struct gw_str text);
struct gw_str gw_arena_printf(struct gw_arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Blocks that wait for reuse, in bytes; and the way to give them back under memory pressure. */
size_t gw_arena_pool_bytes(void);
void gw_arena_pool_drain(void);

#endif
