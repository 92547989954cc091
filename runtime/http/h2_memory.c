/* Blocks of five pages in one range of addresses, so that a pointer tells whether it is a block. */
#include "http/h2_memory.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK_BYTES ((size_t)5 * 4096)
#define BLOCK_FROM ((size_t)16384) /* what is smaller is malloc's */
#define FREE_KEPT 64               /* free blocks that keep their pages */

static struct {
    char *base; /* NULL: not yet, or the system gives no such range */
    uint32_t made;
    uint32_t free_count;
    uint16_t free[GW_H2_BLOCKS_MAX];
} blocks;

static bool is_block(const void *memory)
{
    uintptr_t at = (uintptr_t)memory, base = (uintptr_t)blocks.base;

    return base != 0 && at >= base && at - base < BLOCK_BYTES * GW_H2_BLOCKS_MAX;
}

/* A sanitizer shall see every piece by itself. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(GW_ASAN)
static bool reserve(void)
{
    static bool refused;
    void *base;

    if (blocks.base != NULL || refused)
        return blocks.base != NULL;
    base = mmap(NULL, BLOCK_BYTES * GW_H2_BLOCKS_MAX, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    refused = base == MAP_FAILED;
    if (refused)
        return false;
    /* One huge page would be the memory of a hundred blocks at the first touch of one. */
    (void)madvise(base, BLOCK_BYTES * GW_H2_BLOCKS_MAX, MADV_NOHUGEPAGE);
    blocks.base = base;
    return true;
}
#else
static bool reserve(void)
{
    return false;
}
#endif

static void *block_new(void)
{
    uint32_t at;

    if (!reserve())
        return NULL;
    if (blocks.free_count > 0)
        at = blocks.free[--blocks.free_count];
    else if (blocks.made < GW_H2_BLOCKS_MAX)
        at = blocks.made++;
    else
        return NULL;
    return blocks.base + at * BLOCK_BYTES;
}

static void block_free(char *block)
{
    size_t offset = (size_t)(block - blocks.base);

    assert(offset % BLOCK_BYTES == 0 && blocks.free_count < blocks.made);
    if (blocks.free_count >= FREE_KEPT)
        (void)madvise(block, BLOCK_BYTES, MADV_DONTNEED);
    blocks.free[blocks.free_count++] = (uint16_t)(offset / BLOCK_BYTES);
}

void *h2_memory_new(size_t size, void *unused)
{
    void *block = size >= BLOCK_FROM && size <= BLOCK_BYTES ? block_new() : NULL;

    return block != NULL ? block : malloc(size);
}

void h2_memory_free(void *memory, void *unused)
{
    if (is_block(memory))
        block_free(memory);
    else
        free(memory);
}

void *h2_memory_zeros(size_t count, size_t size, void *unused)
{
    return calloc(count, size);
}

void *h2_memory_resize(void *memory, size_t size, void *unused)
{
    void *grown;

    if (memory == NULL)
        return h2_memory_new(size, NULL);
    if (!is_block(memory))
        return realloc(memory, size);
    if (size <= BLOCK_BYTES)
        return memory;
    grown = malloc(size);
    if (grown == NULL)
        return NULL;
    memcpy(grown, memory, BLOCK_BYTES);
    h2_memory_free(memory, NULL);
    return grown;
}
