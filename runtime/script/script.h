/* Plugins: the one LuaJIT VM of a worker, its generations, and the hooks for proxy/.
 * Lives in: one worker (or the loader, or `moongate spec`). Owner: process/. */
#ifndef GW_SCRIPT_SCRIPT_H
#define GW_SCRIPT_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/generation.h"
#include "conf/image.h"
#include "net/loop.h"
#include "proxy/hooks.h"

struct gw_script;            /* VM and all that outlives a reload */
struct gw_script_generation; /* environments, modules and instances of one conf */
struct gw_shared_set;        /* shm/shared.h: the dictionaries and metrics of this gateway */
struct gw_proxy;

struct gw_script_options {
    struct gw_loop *loop;
    struct gw_shared_set *shared; /* may be NULL (loader) */
    uint32_t cpu_budget_ms;
    uint64_t heap_max;
    uint32_t worker; /* number, from 1 */
    bool trial;      /* no request will come, and files for logs are not opened: for `check` */
};

GW_MUST_CHECK enum gw_rc gw_script_new(const struct gw_script_options *options,
                                       struct gw_script **out, struct gw_err *err);
void gw_script_free(struct gw_script *script);
const struct gw_hooks *gw_script_hooks(struct gw_script *script);

/* Two-phase change of generation. `step` works for about `slice_us` and returns GW_AGAIN
 * until it is done (GW_OK) or cannot be (err says plugin, file:line and why). Instances whose
 * plugin, modules and conf did not change are taken over: their init does not run again. */
GW_MUST_CHECK enum gw_rc gw_script_prepare(struct gw_script *script, const struct gw_conf *conf,
                                           struct gw_script_generation **out, struct gw_err *err);
GW_MUST_CHECK enum gw_rc gw_script_prepare_step(struct gw_script_generation *generation,
                                                uint32_t slice_us, struct gw_err *err);
void gw_script_commit(struct gw_script_generation *generation);
void gw_script_abort(struct gw_script_generation *generation); /* runs stop() of what was made */
/* Nobody uses it any more: instances that no other generation holds get stop(). */
void gw_script_generation_free(struct gw_script_generation *generation);

/* Names of gw.http are looked up with this. False: a call is under way, the old one is kept. */
struct gw_dns;
bool gw_script_set_dns(struct gw_script *script, struct gw_dns *dns);

/* The same as in the options, changed by a reload. cpu_budget_ms 0: the default. */
void gw_script_set_limits(struct gw_script *script, uint32_t cpu_budget_ms, uint64_t heap_max);

/* Compiled code of generations that are gone is not given back one by one: all goes, and what is
 * still used is compiled again. From the loop only, never from below a call into Lua. */
void gw_script_flush_code(struct gw_script *script);

/* Before gw_shared_set_sweep(): handles let go of dictionaries that have left the conf. */
void gw_script_sweep(struct gw_script *script);

/* Logs were rotated (SIGUSR1): files that plugins write to are opened again. */
void gw_script_reopen(struct gw_script *script);

uint64_t gw_script_heap_bytes(const struct gw_script *script);

#endif
