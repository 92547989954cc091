/* One binding of a plugin, alive in this VM: its conf, its state, its names.
 * Lives in: one VM, over as many generations as keep it unchanged. Counted twice: by `refs`
 * (memory: tasks, timers, generations) and by `generations` (life: at 0 stop() is run).
 * Owner: struct gw_script_generation. */
#ifndef GW_SCRIPT_INSTANCE_H
#define GW_SCRIPT_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "script/vm.h"

struct gw_instance {
    struct gw_vm *vm;
    uint32_t refs;
    uint32_t generations;
    uint32_t number; /* index into vm->instances, and gw_slot.instance */
    uint64_t identity;
    char *plugin;
    char *id;
    char *route;    /* "" for global ones */
    int plugin_ref; /* the plugin's table */
    int conf_ref;
    int state_ref;
    struct gw_str *paths; /* rewrite runs for these only; NULL: for all */
    uint32_t paths_count;
    int paths_ref;        /* the same as a set */
    uint32_t deadline_ms; /* of the newest generation that has it */
    uint8_t on_error;     /* enum gw_on_error */
    bool made;            /* init() was run and was fine: stop() is due */
};

/* NULL: too many. refs is 1. */
struct gw_instance *gw_instance_new(struct gw_vm *vm, struct gw_str plugin, struct gw_str id,
                                    struct gw_str route);

/* Room for `count` paths; each is copied. */
void gw_instance_make_paths(struct gw_instance *instance, uint32_t count);
void gw_instance_add_path(struct gw_instance *instance, struct gw_str path);

#endif
