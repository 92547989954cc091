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

/* HTTP/2. A head may unpack to so many times header_size_max before the connection ends: what
 * is above the limit itself is read (HPACK needs it), dropped, and answered with 431. */
#define GW_H2_HEAD_FACTOR_MAX 4

/* Streams of one connection that are open at once; what a peer may send on one of them and on
 * all of them before somebody takes it. */
#define GW_H2_STREAMS_MAX 128
#define GW_H2_STREAM_WINDOW 65535
#define GW_H2_CONN_WINDOW (1024 * 1024)

/* Frames that cost their sender nothing, in one second of one connection: SETTINGS, PING,
 * PRIORITY and empty DATA beyond one for each DATA of ours; resets of streams; WINDOW_UPDATE beyond
 * four for each DATA of ours. (gRPC measures the path with a PING for data that it gets.) */
#define GW_H2_CONTROL_FRAMES_MAX 1000
#define GW_H2_RESETS_MAX 200
#define GW_H2_WINDOW_UPDATES_MAX 1000
#define GW_H2_CONTINUATIONS_MAX 16 /* of one head */
#define GW_H2_ACKS_MAX 200         /* that wait to be sent */

/* What a peer has to take of a stream within send_timeout: a window of a few bytes is no sign of
 * life. */
#define GW_H2_TAKEN_BYTES_MIN 1024

/* Between the first GOAWAY and the second, unless the client answers earlier. */
#define GW_H2_GOAWAY_GRACE_MS 1000

/* Pieces up to this are kept for the end of the turn, to be written with others. */
#define GW_H2_COPIED_BYTES_MAX (16 * 1024)

/* One flush writes at most so much before the socket is asked. */
#define GW_H2_FLUSH_BYTES (256 * 1024)

#endif
