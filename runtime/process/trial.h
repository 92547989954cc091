/* What a worker would refuse: plugins are prepared as in a worker, init() included, and let go
 * again. For `check`. Nothing that init() began comes to act: the loop is never turned,
 * dictionaries and metrics are of this process, and files for logs are not opened. Lives in: one
 * process that is thrown away after it. */
#ifndef GW_PROCESS_TRIAL_H
#define GW_PROCESS_TRIAL_H

#include "base/err.h"
#include "conf/generation.h"

/* err: what the worker would say. */
GW_MUST_CHECK enum gw_rc gw_trial_run(const struct gw_conf *conf, struct gw_err *err);

#endif
