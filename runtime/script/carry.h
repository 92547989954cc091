/* What of plugins is taken over when only some files of routes were read (conf/increment.h).
 * Lives in: the loader. No plugin code runs. */
#ifndef GW_SCRIPT_CARRY_H
#define GW_SCRIPT_CARRY_H

#include "conf/increment.h"

/* Fresh routes, which bind nothing themselves, get the chain of the global plugins; the instances
 * of all others learn where their routes and files stand now. */
void gw_script_carry(struct gw_image *image, const struct gw_increment *increment);

#endif
