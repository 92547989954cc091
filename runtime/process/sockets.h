/* The listening sockets of the gateway: made and kept by the master, lent to workers.
 * Lives in: the master. A listener on TCP has one SO_REUSEPORT socket for each worker
 * ("slot"), a unix socket is one for all. Sockets belong to addresses, not to listeners: a
 * listener that is renamed, or two that swap addresses, keep theirs over a reload.
 * Invariant: what is not committed does not listen yet, so no client can wait in its queue;
 * the number of slots never shrinks, for closing one would reset those who wait in it. */
#ifndef GW_PROCESS_SOCKETS_H
#define GW_PROCESS_SOCKETS_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/list.h"
#include "conf/generation.h"

#define GW_SLOTS_MAX 64 /* one bit each in the masks of process/child.h */

struct gw_socket_set {
    struct gw_list link;
    uint64_t id;                    /* never given twice */
    struct sockaddr_storage wanted; /* as in the conf; port 0 is a port of our choice */
    struct sockaddr_storage bound;
    socklen_t len;
    char *name; /* tells apart those that want port 0 */
    uint32_t backlog;
    int fds[GW_SLOTS_MAX];
    uint32_t count; /* of fds that listen */
    uint32_t made;  /* count <= made: those behind it wait for the commit */
    bool used;      /* by the conf that is being prepared */
};

struct gw_sockets {
    struct gw_list sets;
    uint64_t last_id;
};

void gw_sockets_init(struct gw_sockets *sockets);
void gw_sockets_fini(struct gw_sockets *sockets); /* closes all, removes unix sockets' files */

/* Binds what `conf` needs beyond what is there. After GW_SYSTEM or GW_BUSY (somebody else
 * listens there) everything is as before. */
GW_MUST_CHECK enum gw_rc gw_sockets_prepare(struct gw_sockets *sockets, const struct gw_conf *conf,
                                            uint32_t slots, struct gw_err *err);
/* Listens on the new ones. GW_SYSTEM: one cannot; call gw_sockets_abort(). */
GW_MUST_CHECK enum gw_rc gw_sockets_commit(struct gw_sockets *sockets, const struct gw_conf *conf,
                                           struct gw_err *err);
void gw_sockets_abort(struct gw_sockets *sockets);
/* Closes what `conf` does not use; after the workers were told. */
void gw_sockets_close_unused(struct gw_sockets *sockets, const struct gw_conf *conf);

/* NULL: there is none for it. */
struct gw_socket_set *gw_sockets_find(struct gw_sockets *sockets, const struct gw_conf *conf,
                                      const struct gw_conf_listener *listener);

/* "127.0.0.1:8080", "[::1]:8080", "unix:/run/x.sock". */
void gw_socket_text(const struct sockaddr_storage *address, char *to, size_t size);

#endif
