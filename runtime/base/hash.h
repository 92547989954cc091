/* Hashes of short byte strings; not for secrets or for tables that a peer may flood
 * without a seed. */
#ifndef GW_BASE_HASH_H
#define GW_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* 64 bits, eight bytes a step (after Wang Yi's wyhash mixing idea, own code). `seed`
 * separates uses and, where a peer chooses keys, is random. */
uint64_t gw_hash(const void *data, size_t len, uint64_t seed);

#endif
