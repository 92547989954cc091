/* ${NAME} and ${NAME:-otherwise} in scalars, from the environment; $${ stands for ${.
 * Lives in: the loader. As in a shell, `:-` also covers a variable that is set but empty; unset
 * without it is a fault. What is put in is not looked at again. Limit: a scalar's bytes. */
#ifndef GW_CONF_ENV_H
#define GW_CONF_ENV_H

#include "conf/report.h"
#include "conf/tree.h"

struct gw_env {
    struct gw_arena *arena;
    struct gw_report *report;
    const char *(*get)(const char *name, void *arg);
    void *arg;
};

/* Every scalar of the tree; marks what it changed `expanded` and types it anew. */
void gw_env_expand(const struct gw_env *env, struct gw_node *root);

#endif
