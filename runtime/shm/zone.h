/* A zone: memory that the processes of one gateway share and that outlives each of them.
 * Lives in: a memfd, made by the master, mapped by every worker at any address. It holds
 * offsets, never pointers, and it cannot shrink (sealed). Owner: struct gw_shared_set.
 * The mapping reserves address space behind the end of the file, so that the master can
 * grow the zone under running workers without any of them mapping anew.
 * Every process that maps a zone enters itself in the zone's table of owners: its row and
 * serial are the token that it writes into locks. A token never means two processes: a row
 * is given away again only when its process is known to be dead.
 * Invariant: a zone that was mapped has the right magic, version and a size that fits. */
#ifndef GW_SHM_ZONE_H
#define GW_SHM_ZONE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/rc.h"
#include "base/str.h"

#define GW_ZONE_NAME_MAX 63
#define GW_ZONE_OWNERS_MAX 128                 /* processes that map one zone at one time */
#define GW_ZONE_BYTES_MAX ((uint64_t)64 << 30) /* offsets are 32 bits of 16 bytes */

enum gw_zone_kind { GW_ZONE_DICT = 1, GW_ZONE_METRICS, GW_ZONE_CORE, GW_ZONE_PLAIN };

/* A process that maps the zone. `token` 0: the row is free. */
struct gw_zone_owner {
    _Atomic uint32_t token;
    _Atomic int32_t pid;
    _Atomic uint64_t started; /* start time of the process as the kernel tells it; 0 unknown */
    _Atomic uint32_t gone;    /* the token whose process the master has reaped */
    uint32_t reserved;
};

/* At offset 0. What the kind keeps begins at GW_ZONE_HEADER_BYTES. */
struct gw_zone_header {
    uint64_t magic;
    uint32_t version;
    uint32_t kind;           /* enum gw_zone_kind */
    _Atomic uint64_t size;   /* of the file, in bytes; only grows */
    uint64_t reserve;        /* address space that each mapping takes */
    uint64_t id;             /* random: tells two zones of one name apart */
    uint64_t seed;           /* random: for hashes of keys that peers choose */
    _Atomic uint32_t serial; /* of the newest owner */
    _Atomic uint32_t rows;   /* owners' rows that were ever used */
    char name[GW_ZONE_NAME_MAX + 1];
    struct gw_zone_owner owners[GW_ZONE_OWNERS_MAX];
};

#define GW_ZONE_HEADER_BYTES 8192

/* This process's view. Embedded by what the zone holds; moves nowhere while mapped. */
struct gw_zone {
    char *base;
    uint64_t reserve;
    uint32_t token; /* of this process; low 7 bits are its row */
    int fd;
};

static inline struct gw_zone_header *gw_zone_header(const struct gw_zone *zone)
{
    return (struct gw_zone_header *)zone->base;
}

static inline uint32_t gw_zone_row(const struct gw_zone *zone)
{
    return zone->token & (GW_ZONE_OWNERS_MAX - 1);
}

/* Makes a zone of `size` bytes (rounded up to pages, zeroed, taken from the system page by
 * page as it is written) and maps it. GW_INVALID: name or size; GW_SYSTEM: err says what. */
GW_MUST_CHECK enum gw_rc gw_zone_create(struct gw_zone *zone, enum gw_zone_kind kind,
                                        struct gw_str name, uint64_t size, struct gw_err *err);

/* Maps the zone behind `fd` (taken, also on failure). GW_INVALID: not a zone of ours. */
GW_MUST_CHECK enum gw_rc gw_zone_map(struct gw_zone *zone, int fd, struct gw_err *err);

/* What a descriptor is, without mapping it (lent). GW_INVALID: not a zone of ours. */
struct gw_zone_label {
    uint64_t id;
    uint32_t kind;
    char name[GW_ZONE_NAME_MAX + 1];
};
GW_MUST_CHECK enum gw_rc gw_zone_peek(int fd, struct gw_zone_label *out, struct gw_err *err);

/* Unmaps, closes, gives the owner's row back. The content lives on in other processes. */
void gw_zone_unmap(struct gw_zone *zone);

/* A child made by fork() calls this before anything else: it becomes an owner of its own.
 * GW_FULL: too many processes. */
GW_MUST_CHECK enum gw_rc gw_zone_adopt(struct gw_zone *zone, struct gw_err *err);

/* Makes the file `size` bytes long; every mapping sees the new part at once. GW_LIMIT:
 * beyond the address space that was reserved. Smaller than it is: nothing happens. */
GW_MUST_CHECK enum gw_rc gw_zone_grow(struct gw_zone *zone, uint64_t size, struct gw_err *err);

/* Is the process that holds this token dead? Asks the kernel: some microseconds. */
bool gw_zone_owner_dead(const struct gw_zone *zone, uint32_t token);

/* The same without asking: true if it is known already (the master has said so). */
bool gw_zone_owner_known_dead(const struct gw_zone *zone, uint32_t token);

/* The process behind a token; 0: no longer known. */
pid_t gw_zone_owner_pid(const struct gw_zone *zone, uint32_t token);

/* The master has reaped `pid`: its locks can be inherited without further questions. */
void gw_zone_owner_gone(struct gw_zone *zone, pid_t pid);

#endif
