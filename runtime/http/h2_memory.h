/* Memory of HTTP/2 sessions: malloc(), but for the one large piece of each session.
 * Lives in: one worker, whose thread alone has sessions. Limit: GW_H2_BLOCKS_MAX; beyond it,
 * malloc().
 *
 * A session holds a buffer for one frame of 16 KiB all its life, and writes heads of some
 * hundred bytes into its beginning. From malloc() the buffer is memory that something else has used
 * before (the handshake of TLS, for one), so that each idle connection holds all of it. Here it
 * begins on a page of its own, and the pages behind the first stay untouched. */
#ifndef GW_HTTP_H2_MEMORY_H
#define GW_HTTP_H2_MEMORY_H

#include <stddef.h>

#define GW_H2_BLOCKS_MAX 32768 /* 640 MiB of addresses, not of memory */

/* As nghttp2_mem wants them; the last argument is not used. */
void *h2_memory_new(size_t size, void *unused);
void h2_memory_free(void *memory, void *unused);
void *h2_memory_zeros(size_t count, size_t size, void *unused);
void *h2_memory_resize(void *memory, size_t size, void *unused);

#endif
