/* The control socket: one JSON object a line in, one out.
 *   {"command":"status"}  ->  {"ok":true,…}
 * Lives in: the master's loop. Owner: the master. Only root and the user of the master may
 * talk: the file is 0600, and the peer's credentials are asked for too.
 * Beside it stands NAME.lock, held by flock(): a second gateway on the same conf is refused
 * before it touches anything, and a socket left over by a killed one is known as such.
 * Limits: GW_CONTROL_CLIENTS_MAX at a time, GW_CONTROL_LINE_MAX bytes a request, answers
 * that a client does not take within 10 s are dropped with it. */
#ifndef GW_PROCESS_CONTROL_H
#define GW_PROCESS_CONTROL_H

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "net/loop.h"

#define GW_CONTROL_CLIENTS_MAX 16
#define GW_CONTROL_LINE_MAX 32768

struct gw_control;

/* `client` identifies who asked; it is answered by gw_control_answer(), at once or later. */
typedef void (*gw_control_fn)(void *arg, uint64_t client, struct gw_str command,
                              const struct gw_json *request);

/* Takes the lock and makes the folder. GW_BUSY: another gateway has it (err says its pid). */
GW_MUST_CHECK enum gw_rc gw_control_lock(const char *path, int *lock_fd, struct gw_err *err);

/* Listens; `lock_fd` (taken on success) shows that the path is ours. */
GW_MUST_CHECK enum gw_rc gw_control_open(struct gw_loop *loop, const char *path, int lock_fd,
                                         gw_control_fn fn, void *arg, struct gw_control **out,
                                         struct gw_err *err);
void gw_control_close(struct gw_control *control); /* removes the socket; NULL is fine */

/* `json` without its newline. A client that is gone is no error. */
void gw_control_answer(struct gw_control *control, uint64_t client, struct gw_str json);
/* {"ok":false,"error":text} */
void gw_control_refuse(struct gw_control *control, uint64_t client, const char *text);

/* bind() or connect() on a unix socket whose path may be longer than sun_path: then by way of
 * its folder's descriptor. Returns 0 or -1 with errno. Also for clients. */
int gw_control_bind(int fd, const char *path);
int gw_control_connect(int fd, const char *path);

#endif
