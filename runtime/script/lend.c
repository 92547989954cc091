/* What a worker lends to the library of its VM, and takes back. */
#include "script/lib_rows.h"
#include "script/script_private.h"

bool gw_script_set_dns(struct gw_script *script, struct gw_dns *dns)
{
    return gw_lib_http_set_dns(script->vm, dns);
}

void gw_script_sweep(struct gw_script *script)
{
    gw_lib_shared_sweep(script->vm);
}
