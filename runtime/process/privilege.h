/* Becoming less: the user that workers run as.
 * Lives in: a child of the master, before it touches anything that a peer or a plugin can
 * influence. There is no way back, and no program that we start could find one
 * (PR_SET_NO_NEW_PRIVS). */
#ifndef GW_PROCESS_PRIVILEGE_H
#define GW_PROCESS_PRIVILEGE_H

#include "base/err.h"
#include "base/str.h"

/* `user`: a name of passwd; empty: stay who we are (new privileges are given up all the
 * same). GW_NOT_FOUND: no such user; GW_SYSTEM: only root can become somebody else. */
GW_MUST_CHECK enum gw_rc gw_privilege_drop(struct gw_str user, struct gw_err *err);

/* The limit on descriptors goes up as far as the system lets it. */
void gw_privilege_raise_files(void);

#endif
