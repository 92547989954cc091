/* Open connections: for each client address and in all, over all workers.
 * Lives in: the core zone of a struct gw_shared_set. IPv6 clients are counted by their /64.
 * Every worker writes only counts of its own, so that those of a worker that died can be
 * taken back (gw_client_table_reset_worker, by the master).
 * Limit: GW_CLIENTS_MAX addresses with open connections, in sets of GW_CLIENTS_WAYS. */
#ifndef GW_SHM_CLIENTS_H
#define GW_SHM_CLIENTS_H

#include <stdint.h>

#include "base/rc.h"

#define GW_CLIENTS_MAX 65536
#define GW_CLIENTS_WAYS 64

struct gw_client_table;

/* Both: `addr` is an IPv6 address; IPv4 as ::ffff:a.b.c.d. `max` 0: count, never refuse.
 * GW_LIMIT: there are `max` already, this one is not counted. GW_FULL: too many addresses
 * share its place in the table; not counted, the caller decides. */
GW_MUST_CHECK enum gw_rc gw_client_table_inc(struct gw_client_table *table, const uint8_t addr[16],
                                             uint32_t max);
/* Only after an inc that said GW_OK, in the same worker. */
void gw_client_table_dec(struct gw_client_table *table, const uint8_t addr[16]);
uint32_t gw_client_table_count(struct gw_client_table *table, const uint8_t addr[16]);

/* Connections in all. Never lets more than `max` in (0: any number). */
GW_MUST_CHECK enum gw_rc gw_client_table_total_inc(struct gw_client_table *table, uint32_t max);
void gw_client_table_total_dec(struct gw_client_table *table);
uint32_t gw_client_table_total(struct gw_client_table *table);

/* What this worker number had counted is forgotten: by the master, when it has reaped it. */
void gw_client_table_reset_worker(struct gw_client_table *table, uint32_t worker);

/* For struct gw_shared_set: the table is `gw_client_table_bytes()` of zeroed memory in `zone`, at
 * a multiple of 128. Every process makes its own handle. `workers`: rows of counts. */
struct gw_zone;
struct gw_lock;
uint64_t gw_client_table_bytes(uint32_t workers);
struct gw_client_table *gw_client_table_new(const struct gw_zone *zone, void *memory,
                                            uint32_t workers);
void gw_client_table_free(struct gw_client_table *table);
/* Which worker's counts this process writes. */
void gw_client_table_set_worker(struct gw_client_table *table, uint32_t worker);
struct gw_lock *gw_client_table_lock_at(struct gw_client_table *table,
                                        uint32_t index); /* NULL: end */

#endif
