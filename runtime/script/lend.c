/* What a worker lends to the library of its VM, and takes back. */
#include <luajit.h>

#include "script/lib_rows.h"
#include "script/script_private.h"

bool gw_script_set_dns(struct gw_script *script, struct gw_dns *dns)
{
    return gw_lib_http_set_dns(script->vm, dns);
}

void gw_script_set_limits(struct gw_script *script, uint32_t cpu_budget_ms, uint64_t heap_max)
{
    gw_vm_set_limits(script->vm, cpu_budget_ms, heap_max);
}

void gw_script_sweep(struct gw_script *script)
{
    gw_lib_shared_sweep(script->vm);
}

void gw_script_flush_code(struct gw_script *script)
{
    (void)luaJIT_setmode(script->vm->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_FLUSH);
}
