/* Talking to a running gateway over its control socket.
 * Lives in: one command. Blocking, with a time limit. */
#ifndef GW_CLI_CLIENT_H
#define GW_CLI_CLIENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

struct gw_client_question {
    const char *command;
    unsigned timeout_s;
    char *const *files; /* absolute paths, as "files" */
    size_t files_count; /* 0: no such key */
};

/* Asks the gateway of that conf. `out` gets the line that came back (without its newline),
 * *answer what it says (gw_json_free). GW_NOT_FOUND: none runs. */
GW_MUST_CHECK enum gw_rc gw_client_ask(const char *conf_path,
                                       const struct gw_client_question *question,
                                       struct gw_buf *out, struct gw_json **answer,
                                       struct gw_err *err);

#endif
