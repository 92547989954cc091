/* UUIDs of RFC 9562 as text: version 4 (random) and 7 (ordered by time).
 * Lives in: any process and thread. Limit: none; about 50 ns each. */
#ifndef GW_BASE_UUID_H
#define GW_BASE_UUID_H

#include <stdint.h>

#define GW_UUID_LEN 36

/* "9f1c3c1e-5d5b-4c6e-8a8f-0d6f0a7c1b2d": 36 characters and a NUL. */
void gw_uuid_v4(char out[GW_UUID_LEN + 1]);

/* Each one sorts behind all that this thread made before, also when `unix_ms` repeats or
 * goes back (then the last time is kept and a 12-bit counter grows, RFC 9562 6.2). */
void gw_uuid_v7(uint64_t unix_ms, char out[GW_UUID_LEN + 1]);

#endif
