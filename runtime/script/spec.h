/* Trusted Lua with the real globals, as a task that may wait: what `moongate spec` runs.
 * Lives in: the command; there is one at a time. */
#ifndef GW_SCRIPT_SPEC_H
#define GW_SCRIPT_SPEC_H

#include <stddef.h>

#include "script/script.h"

typedef void (*gw_spec_done_fn)(void *arg, int code);

/* Runs the file in `script`'s VM with `args` as its "...", from the loop's first turn on. What
 * it returns, a number, is the code of `done`; an error is logged and gives code 1.
 * GW_NOT_FOUND, GW_INVALID: the file cannot be read or compiled. */
GW_MUST_CHECK enum gw_rc gw_spec_start(struct gw_script *script, const char *path,
                                       const char *const *args, size_t count, gw_spec_done_fn done,
                                       void *arg, struct gw_err *err);

#endif
