#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The usual block: a request with its heads fits into one. Anything larger gets a block
 * of its own size, which goes straight back to malloc. */
#define BLOCK_BYTES 4096
#define POOL_BLOCKS_MAX 1024

struct gw_arena_block {
    struct gw_arena_block *next;
    size_t size; /* with this header */
};

/* Only the loop's thread uses arenas, hence no lock. */
static struct {
    struct gw_arena_block *first;
    size_t count;
} pool;

static void *must(void *mem)
{
    if (mem == NULL) {
        (void)fputs("moongate: out of memory\n", stderr);
        abort();
    }
    return mem;
}

static struct gw_arena_block *block_take(size_t size)
{
    struct gw_arena_block *block;

    if (size == BLOCK_BYTES && pool.first != NULL) {
        block = pool.first;
        pool.first = block->next;
        pool.count--;
        return block;
    }
    block = must(malloc(size));
    block->size = size;
    return block;
}

static void block_give(struct gw_arena_block *block)
{
    if (block->size == BLOCK_BYTES && pool.count < POOL_BLOCKS_MAX) {
        block->next = pool.first;
        pool.first = block;
        pool.count++;
        return;
    }
    free(block);
}

void gw_arena_init(struct gw_arena *arena)
{
    *arena = GW_ARENA_INIT;
}

void gw_arena_fini(struct gw_arena *arena)
{
    struct gw_arena_block *block = arena->blocks;

    while (block != NULL) {
        struct gw_arena_block *next = block->next;
        block_give(block);
        block = next;
    }
    *arena = GW_ARENA_INIT;
}

void *gw_arena_grow(struct gw_arena *arena, size_t size)
{
    size_t need = size + sizeof(struct gw_arena_block);
    struct gw_arena_block *block;

    assert(size % 8 == 0);
    if (need < size)
        must(NULL);
    block = block_take(need <= BLOCK_BYTES ? BLOCK_BYTES : need);
    arena->bytes += block->size;
    block->next = arena->blocks;
    arena->blocks = block;

    if (need > BLOCK_BYTES && arena->at != NULL && block->next != NULL) {
        /* A block made for one large thing: keep filling the one before. */
        arena->blocks = block->next;
        block->next = arena->blocks->next;
        arena->blocks->next = block;
        return block + 1;
    }
    arena->at = (char *)(block + 1) + size;
    arena->end = (char *)block + block->size;
    return block + 1;
}

void *gw_arena_zalloc(struct gw_arena *arena, size_t size)
{
    return memset(gw_arena_alloc(arena, size), 0, size);
}

struct gw_str gw_arena_dup(struct gw_arena *arena, struct gw_str text)
{
    char *copy = gw_arena_alloc(arena, text.len + 1);

    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return gw_str(copy, text.len);
}

struct gw_str gw_arena_printf(struct gw_arena *arena, const char *fmt, ...)
{
    va_list args, again;
    char *text;
    int len;

    va_start(args, fmt);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(len >= 0);
    text = gw_arena_alloc(arena, (size_t)len + 1);
    (void)vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return gw_str(text, (size_t)len);
}

size_t gw_arena_pool_bytes(void)
{
    return pool.count * BLOCK_BYTES;
}

void gw_arena_pool_drain(void)
{
    while (pool.first != NULL) {
        struct gw_arena_block *block = pool.first;
        pool.first = block->next;
        free(block);
    }
    pool.count = 0;
}
