/* Telling systemd how we are, when it started us (Type=notify). Without NOTIFY_SOCKET in
 * the environment nothing happens. No library: the protocol is one datagram. */
#ifndef GW_PROCESS_NOTIFY_H
#define GW_PROCESS_NOTIFY_H

/* Reads the environment once and takes the variable out of it, so that nothing that we
 * start believes it is meant. */
void gw_notify_init(void);
void gw_notify_ready(const char *status); /* READY=1 */
void gw_notify_reloading(void);           /* RELOADING=1 with the moment it began */
void gw_notify_stopping(void);            /* STOPPING=1 */

#endif
