/* What the files of script/ share about a VM; bindings use vm.h. */
#ifndef GW_SCRIPT_VM_PRIVATE_H
#define GW_SCRIPT_VM_PRIVATE_H

#include <signal.h>
#include <time.h>

#include "script/handle.h"
#include "script/lib.h"
#include "script/vm.h"

/* Why running code is being ended. */
enum gw_stop { GW_STOP_NONE, GW_STOP_CPU, GW_STOP_HEAP, GW_STOP_TEST };

struct gw_vm {
    lua_State *L;
    struct gw_vm_options options;
    lua_Alloc alloc; /* LuaJIT's own, under our account */
    void *alloc_arg;
    uint64_t heap_bytes;
    uint64_t heap_collect_at; /* collect between two tasks above this */

    struct gw_task *task;       /* the running one */
    struct gw_list tasks;       /* all that have waited and are not over */
    struct gw_task *idle_tasks; /* linked by the tasks themselves */
    uint32_t idle_count;
    uint32_t waiting_count;

    /* Shared with the signal handler of deadline.c. */
    volatile sig_atomic_t inside; /* Lua of a task runs */
    volatile uint32_t entry;      /* counts entries into Lua */
    uint32_t entry_seen;
    uint32_t ticks; /* of the CPU clock in the same entry */
    uint32_t ticks_max;
    volatile sig_atomic_t stop; /* enum gw_stop: armed until we are back in C */
    bool stop_noted;
    char stop_where[1200];  /* place and stack where it was first stopped */
    struct gw_vm *previous; /* the VM that the deadline belonged to before (loader within spec) */
    timer_t timer;
    bool timer_made;
    bool jit_plugins; /* false: the self-test failed, plugin code is interpreted */

    char fault[1024]; /* text of the last error: for those who report instead of log */

    struct gw_slots *slots;
    int fields_ref; /* list: field of ctx -> table: slot index -> value */
    int gw_ref;     /* the real table `gw` */
    int wait_mark_ref;
    int sandbox_ref; /* what lua/gateway/sandbox.lua returns */
    int driver_ref;  /* what lua/gateway/driver.lua returns */

    struct gw_instance **instances; /* by number; [0] is never used */
    uint32_t instances_size;
    uint32_t instances_from; /* no number below it is free */
    void *data[GW_LIB_IDS];
};

/* deadline.c */
GW_MUST_CHECK enum gw_rc gw_deadline_open(struct gw_vm *vm, struct gw_err *err);
void gw_deadline_budget(struct gw_vm *vm); /* options.cpu_budget_ms has changed */
void gw_deadline_close(struct gw_vm *vm);
void gw_deadline_arm(struct gw_vm *vm, enum gw_stop why);
void gw_deadline_disarm(struct gw_vm *vm); /* back in C */

/* task.c */
void gw_tasks_fini(struct gw_vm *vm);

/* sandbox.c: opens gw.*, the handles and the sandbox. */
void gw_sandbox_open(struct gw_vm *vm);

/* ffi.c: the slots that FFI calls mean. */
void gw_ffi_use(struct gw_slot *base);
/* keeps the functions that only Lua calls by name. */
void gw_ffi_keep(void);

struct gw_instance *gw_instance_by_number(struct gw_vm *vm, uint32_t number);

#endif
