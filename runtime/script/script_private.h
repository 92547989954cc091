/* What generation.c (conf to instances and drivers) and phase.c (requests) share. */
#ifndef GW_SCRIPT_SCRIPT_PRIVATE_H
#define GW_SCRIPT_SCRIPT_PRIVATE_H

#include "script/image.h"
#include "script/instance.h"
#include "script/script.h"
#include "script/vm_private.h"

struct gw_script {
    struct gw_vm *vm;
    struct gw_hooks hooks;
    struct gw_script_generation *current;
};

enum gw_prepare_stage { STAGE_ADOPT, STAGE_LOAD, STAGE_MAKE, STAGE_WHEN, STAGE_CHAIN, STAGE_DONE };

struct gw_script_generation {
    struct gw_script *script;
    const struct gw_conf *conf;
    const struct gw_script_image *image; /* NULL: no plugin at all */
    enum gw_prepare_stage stage;
    uint32_t at; /* next row of the stage */
    int loader_ref;
    struct gw_instance **instances; /* by row of image->bindings */
    struct gw_instance **sorted;    /* the same by identity; NULL before commit */
    int *whens;                     /* by row: LUA_NOREF, or the function */
    int *drivers;                   /* [chain * GW_PHASE_COUNT + phase] */
    int *plans;                     /* by chain: what asks who wants a body; LUA_NOREF: all do */
    uint32_t *whole_from; /* by chain, where all do: the first that wants it whole, or 0 */
    uint8_t *by_path;     /* by chain: bits of the rewrite phases that only some paths enter */
};

/* False: all plugins of this chain that have code in this rewrite phase named the paths that
 * they want (plugin.paths), and this is none of them. */
bool gw_generation_wants_path(const struct gw_script_generation *g, uint32_t chain,
                              enum gw_phase phase, struct gw_str path);

/* The same instances in the same order, under the same conditions? */
bool gw_generation_same_chain(const struct gw_script_generation *a, uint32_t in_a,
                              const struct gw_script_generation *b, uint32_t in_b);

void gw_phase_hooks(struct gw_script *script);

/* What the driver of body_filter gets behind slot and position for a whole body. [-0, +n] */
int gw_phase_push_whole(lua_State *co, const struct gw_str *body);

/* What the driver of message gets behind slot and position [-0, +n], and what it has left on the
 * stack of a task that is done. */
int gw_phase_push_message(lua_State *co, const struct gw_ws_message *message);
void gw_phase_take_message(lua_State *co, const struct gw_slot *slot,
                           struct gw_ws_message *message);

#endif
