#include "cli/load.h"

#include <stdio.h>

bool gw_cli_load(const struct gw_args *args, struct gw_loading *loading)
{
    struct gw_loading_options options = {
        .conf_path = gw_cli_conf(args), .shipped_dir = gw_cli_shipped_dir(), .number = 1};
    enum gw_rc rc = gw_loading_run(loading, &options);
    struct gw_buf text = GW_BUF_INIT;

    gw_report_text(&loading->report, &text);
    (void)fprintf(stderr, "%.*s", GW_STR_ARG(gw_buf_str(&text)));
    gw_buf_fini(&text);
    if (rc == GW_OK)
        return true;
    gw_loading_fini(loading);
    return false;
}

void gw_cli_print(struct gw_buf *buf)
{
    (void)fwrite(buf->data + buf->from, 1, gw_buf_len(buf), stdout);
    gw_buf_fini(buf);
}
