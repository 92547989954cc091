/* Fixed limits: numbers that no user has a reason to change. Those that one may want to
 * change are conf keys (conf/generation.h). */
#ifndef GW_BASE_LIMITS_H
#define GW_BASE_LIMITS_H

/* Reads of one connection before the others get their turn. */
#define GW_READS_PER_TURN 4

/* After the last answer we read and drop what the client still sends, so that it sees the
 * answer and not a reset (RFC 9112 9.6). */
#define GW_LINGER_MS 2000
#define GW_LINGER_BYTES_MAX (1024 * 1024)

/* Heads of 1xx before the final one. */
#define GW_INFORMATIONAL_MAX 8

/* New connections of one listener and turn, while the loop has much to do. */
#define GW_ACCEPTS_PER_TURN 64

/* `backlog:` at most: so many can wait in the queue of a listener. */
#define GW_BACKLOG_MAX 65535

/* `workers:` at most: of the 64 places in shared memory, successors of those that drain need some.
 */
#define GW_WORKERS_MAX 48

#endif
