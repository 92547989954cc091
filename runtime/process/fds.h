/* Which descriptors a child of the master keeps: it inherits all, listening sockets and the
 * channels of its siblings among them, and one that it forgets to close keeps an address
 * or a dead sibling's channel alive. */
#ifndef GW_PROCESS_FDS_H
#define GW_PROCESS_FDS_H

#include <stddef.h>

/* Closes all descriptors above 2 but those of `keep` (negative ones are skipped; sorted in place).
 */
void gw_fds_close_except(int *keep, size_t count);

#endif
