/* Media types by file name. One sorted table; no memory, any thread. */
#ifndef GW_HTTP_MIME_H
#define GW_HTTP_MIME_H

#include "base/str.h"

/* By what follows the last dot, in any case; text types say charset=utf-8.
 * "application/octet-stream" for everything unknown. */
struct gw_str gw_mime_of(struct gw_str name);

#endif
