/* Messages with descriptors between the master and one of its children.
 * Lives in: both ends of a SOCK_SEQPACKET pair, non-blocking. Owner: who made the pair.
 * Limits: GW_CHANNEL_TEXT_MAX bytes and GW_CHANNEL_FDS_MAX descriptors a message.
 * A channel that is full belongs to a child that reads nothing: the sender is told GW_FULL
 * and treats the child as stuck, so nothing is ever queued here. */
#ifndef GW_PROCESS_CHANNEL_H
#define GW_PROCESS_CHANNEL_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define GW_CHANNEL_TEXT_MAX 16384
#define GW_CHANNEL_FDS_MAX 250 /* the kernel passes at most 253 */

enum gw_message_type {
    /* loader -> master: number: enum gw_rc; value: the length of the report's text; descriptors:
     * the report, and the image where the conf is good */
    GW_MESSAGE_LOADED = 1,

    /* master -> worker */
    GW_MESSAGE_PREPARE, /* number of the generation; descriptors: the image, then all zones where
                         * they changed; text: a name for each zone, one a line */
    GW_MESSAGE_COMMIT,  /* number; text and descriptors: zones, where they changed */
    GW_MESSAGE_ABORT,   /* number; the same */
    GW_MESSAGE_LISTEN,  /* text: name of the listener; descriptors: all sockets to accept from */
    GW_MESSAGE_DRAIN,   /* value: milliseconds that connections may still take */
    GW_MESSAGE_LOG,     /* descriptor: the log, opened again */
    GW_MESSAGE_ADVANCE, /* value: milliseconds that the clock jumps forward (specs) */
    GW_MESSAGE_STATUS,  /* number: of the question */
    GW_MESSAGE_TICKETS, /* text: struct gw_tls_tickets, for all handshakes from now on */

    /* worker -> master */
    GW_MESSAGE_READY,    /* number of the generation that it serves */
    GW_MESSAGE_PREPARED, /* number; value: 0 yes, else enum gw_rc; text: why not */
    GW_MESSAGE_ADVANCED,
    GW_MESSAGE_STATE,   /* number: of the question; text: struct gw_worker_state */
    GW_MESSAGE_LEAVING, /* it drains by itself and wants a successor; text: why */
};

struct gw_message {
    uint32_t type;   /* enum gw_message_type */
    uint32_t number; /* what it is about */
    uint64_t value;
    uint32_t text_len;
    uint32_t fd_count;
    int fds[GW_CHANNEL_FDS_MAX];        /* the receiver's own */
    char text[GW_CHANNEL_TEXT_MAX + 1]; /* ends with NUL, not counted */
};

GW_MUST_CHECK enum gw_rc gw_channel_pair(int ends[2], struct gw_err *err);

/* Descriptors are lent. GW_FULL: the other side does not read; GW_CLOSED: it is gone. */
GW_MUST_CHECK enum gw_rc gw_channel_send(int channel, const struct gw_message *message);

/* The usual message: no text, no descriptors. */
GW_MUST_CHECK enum gw_rc gw_channel_tell(int channel, enum gw_message_type type, uint32_t number,
                                         uint64_t value);

/* Sets text and text_len; what is too long is cut. */
void gw_message_text(struct gw_message *message, struct gw_str text);

/* GW_OK, GW_AGAIN: nothing is there, GW_EOF: the other side is gone, GW_PROTOCOL: not a
 * whole message (its descriptors are closed). */
GW_MUST_CHECK enum gw_rc gw_channel_receive(int channel, struct gw_message *out);

/* Those that the receiver did not take (took: set to -1). */
void gw_message_close_fds(struct gw_message *message);

#endif
