/* Finds and reads the files of plugins and modules.
 * Lives in: the loader; workers never read a file. Owner: who embeds it. */
#ifndef GW_SCRIPT_FINDER_H
#define GW_SCRIPT_FINDER_H

#include <lua.h>

#include "base/arena.h"
#include "conf/load.h"

#define GW_SCRIPT_FILE_BYTES_MAX (4u << 20)

struct gw_found {
    struct gw_str key;   /* "plugin:jwt" */
    struct gw_str path;  /* absolute */
    struct gw_str chunk; /* "@plugins/jwt.lua" */
    struct gw_str text;
    uint64_t hash; /* of the text alone */
    bool free;
    bool is_plugin;
    struct gw_found *next;
};

struct gw_finder {
    const struct gw_conf_source *source;
    struct gw_arena *arena;
    struct gw_found *first; /* all that were read, newest first */
    uint32_t count;
};

/* The file of a plugin; NULL: not found (*why set) or not readable. */
struct gw_found *gw_finder_plugin(struct gw_finder *finder, struct gw_str name, const char **why);
struct gw_found *gw_finder_module(struct gw_finder *finder, struct gw_str name, const char **why);
struct gw_found *gw_finder_get(struct gw_finder *finder, struct gw_str key);

/* Names of all plugins that could be found: fn(arg, name). */
void gw_finder_each(struct gw_finder *finder, void (*fn)(void *arg, struct gw_str name), void *arg);

/* Pushes a function for sandbox.loader(): find(key, name) -> source | nil, message. */
void gw_finder_push(lua_State *L, struct gw_finder *finder);

/* Plugins and modules: letters, digits, "_", "-"; modules also "." between parts. */
bool gw_finder_name_valid(struct gw_str name, bool dots);

#endif
