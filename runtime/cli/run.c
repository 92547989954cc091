#include "base/limits.h"
#include "cli/command.h"
#include "process/master.h"

int gw_cmd_run(const struct gw_args *args)
{
    struct gw_master_options options = {.conf_path = gw_cli_conf(args),
                                        .shipped_dir = gw_cli_shipped_dir(),
                                        .test = gw_args_has(args, "test")};
    struct gw_err err;

    if (gw_args_number(args, "workers", 1, GW_WORKERS_MAX, &options.workers, &err) != GW_OK)
        return gw_cli_misused("run", "%s", err.text);
    return gw_master_run(&options);
}
