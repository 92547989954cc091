#include <stdio.h>

#include "cli/command.h"
#include "process/loading.h"

int gw_cmd_check(const struct gw_args *args)
{
    struct gw_loading_options options = {.conf_path = gw_cli_conf(args),
                                         .shipped_dir = gw_cli_shipped_dir(),
                                         .number = 1,
                                         .trial = true};
    struct gw_loading loading;
    struct gw_buf out = GW_BUF_INIT;
    enum gw_rc rc = gw_loading_run(&loading, &options);
    bool json = gw_args_has(args, "json");

    if (json) {
        gw_report_json(&loading.report, &out);
        gw_buf_add(&out, "\n", 1);
    } else {
        gw_report_text(&loading.report, &out);
    }
    if (gw_buf_len(&out) > 0)
        (void)fwrite(out.data, 1, gw_buf_len(&out), stdout);
    if (!json && rc == GW_OK)
        (void)printf("%s: fine: %u routes, %u warnings\n", options.conf_path,
                     gw_image_conf(&loading.image)->routes.len, loading.report.warnings_count);
    gw_buf_fini(&out);
    gw_loading_fini(&loading);
    return rc == GW_OK ? GW_EXIT_FINE : GW_EXIT_FAILED;
}
