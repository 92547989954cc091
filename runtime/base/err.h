/* A message for a person. The floor that fails sets it, each floor above puts its own
 * words in front: "gateway.yaml:9:5: listen[1]: address: port expected".
 * Every function accepts NULL for `err` and then does nothing. */
#ifndef GW_BASE_ERR_H
#define GW_BASE_ERR_H

#include "base/rc.h"

#define GW_ERR_BYTES_MAX 1024

struct gw_err {
    char text[GW_ERR_BYTES_MAX]; /* ends with NUL; cut, never overrun */
};

/* Sets the text and returns `rc`, so that a failing line reads
 *   return gw_err_set(err, GW_INVALID, "port %d is not in 1..65535", port); */
enum gw_rc gw_err_set(struct gw_err *err, enum gw_rc rc, const char *fmt, ...) GW_PRINTF(3, 4);

/* Puts words in front of the text that is there. */
void gw_err_prefix(struct gw_err *err, const char *fmt, ...) GW_PRINTF(2, 3);

#endif
