/* What a log line says of a request, by name: rows, in the order in which they are written.
 * Read straight from the exchange, so that no text of it has to become a Lua string. */
#ifndef GW_SCRIPT_LOGFILE_FACTS_H
#define GW_SCRIPT_LOGFILE_FACTS_H

#include "proxy/exchange.h"
#include "script/logfile.h"

#define GW_LOGFILE_HEADERS_MAX 32

struct gw_logfile_header {
    char *name;   /* lower case, as asked for */
    char *member; /* "\"name\":" */
    bool hidden;  /* it carries a secret: only that it was there is written */
};

struct gw_logfile_facts {
    uint64_t wanted; /* bit i: row i */
    uint32_t headers_count;
    struct gw_logfile_header headers[GW_LOGFILE_HEADERS_MAX];
};

/* GW_NOT_FOUND: there is no fact of that name. */
GW_MUST_CHECK enum gw_rc gw_logfile_facts_add(struct gw_logfile_facts *facts, struct gw_str name);
/* GW_LIMIT: too many; GW_INVALID: not the name of a header. */
GW_MUST_CHECK enum gw_rc gw_logfile_facts_header(struct gw_logfile_facts *facts, struct gw_str name,
                                                 bool hidden);
void gw_logfile_facts_fini(struct gw_logfile_facts *facts);

/* Between gw_logfile_begin() and gw_logfile_end(); in LOG. */
void gw_logfile_facts_put(const struct gw_logfile_facts *facts, struct gw_logfile *file,
                          struct gw_exchange *x);

#endif
