/* Clocks and their texts. Only the loop (and short-lived commands) read a clock; all else
 * is given the time. Units are in the names: _ms, _us, _ns. */
#ifndef GW_BASE_TIME_H
#define GW_BASE_TIME_H

#include <stdint.h>

#include "base/rc.h"
#include "base/str.h"

uint64_t gw_time_mono_ms(void); /* since some moment in the past; never goes back */
uint64_t gw_time_mono_us(void);
uint64_t gw_time_real_ms(void); /* since 1970, UTC */

#define GW_HTTP_DATE_LEN 29

/* RFC 9110 5.6.7 IMF-fixdate: "Sun, 06 Nov 1994 08:49:37 GMT"; writes 29 bytes and a NUL. */
void gw_http_date_format(int64_t unix_s, char out[GW_HTTP_DATE_LEN + 1]);

/* All three forms of RFC 9110 5.6.7. GW_INVALID for anything else. */
GW_MUST_CHECK enum gw_rc gw_http_date_parse(struct gw_str text, int64_t *unix_s);

/* "2026-11-21T00:36:12.123Z"; writes 24 bytes and a NUL. */
void gw_rfc3339_format(uint64_t unix_ms, char out[25]);

#endif
