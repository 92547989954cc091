/* Loading a conf for a command that looks at it. */
#ifndef GW_CLI_LOAD_H
#define GW_CLI_LOAD_H

#include "cli/command.h"
#include "process/loading.h"

/* Loads the conf that the arguments name; its faults go to stderr. False: it has some, and
 * nothing is left to finish; else gw_loading_fini() is due. */
bool gw_cli_load(const struct gw_args *args, struct gw_loading *loading);

/* Prints and frees. */
void gw_cli_print(struct gw_buf *buf);

#endif
