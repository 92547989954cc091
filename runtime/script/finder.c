#include "script/finder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

/* Where Debian installs modules in pure Lua. */
static const char *const installed[] = {
    "/usr/local/share/lua/5.1",
    "/usr/share/lua/5.1",
};

bool gw_finder_name_valid(struct gw_str name, bool dots)
{
    bool part = false; /* something stands before the next dot */

    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '_' || c == '-')
            part = true;
        else if (c == '.' && dots && part)
            part = false;
        else
            return false;
    }
    return part && name.len <= 200;
}

/* The whole file. *text.data NULL and *why NULL: there is none. */
static void read_file(struct gw_arena *arena, const char *path, struct gw_str *text,
                      const char **why)
{
    struct stat st;
    char *to;
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *text = GW_STR_NULL;
    if (fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            *why = gw_arena_printf(arena, "%s: %s", path, strerror(errno)).data;
        return;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        *why = gw_arena_printf(arena, "%s: not a file", path).data;
    } else if (st.st_size > (off_t)GW_SCRIPT_FILE_BYTES_MAX) {
        *why =
            gw_arena_printf(arena, "%s: longer than %u bytes", path, GW_SCRIPT_FILE_BYTES_MAX).data;
    } else {
        to = gw_arena_alloc(arena, (size_t)st.st_size + 1);
        while (len < (size_t)st.st_size) {
            ssize_t got = read(fd, to + len, (size_t)st.st_size - len);
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0)
                break;
            len += (size_t)got;
        }
        *text = gw_str(to, len);
    }
    close(fd);
}

static struct gw_found *add(struct gw_finder *finder, const char *key, struct gw_str path,
                            struct gw_str text, const char *folder)
{
    struct gw_found *found = gw_arena_zalloc(finder->arena, sizeof(*found));
    const char *base = strrchr(folder, '/');

    found->key = gw_arena_dup(finder->arena, gw_str_c(key));
    found->path = path;
    found->text = text;
    found->hash = gw_hash(text.data, text.len, 0);
    found->chunk = gw_arena_printf(finder->arena, "@%s%s", base != NULL ? base + 1 : folder,
                                   path.data + strlen(folder));
    found->next = finder->first;
    finder->first = found;
    finder->count++;
    return found;
}

struct gw_found *gw_finder_get(struct gw_finder *finder, struct gw_str key)
{
    for (struct gw_found *found = finder->first; found != NULL; found = found->next)
        if (gw_str_eq(found->key, key))
            return found;
    return NULL;
}

/* folder/relative.lua, then folder/relative/init.lua */
static struct gw_found *look_in(struct gw_finder *finder, const char *folder, const char *relative,
                                const char *key, const char **why)
{
    static const char *const forms[] = {"%s/%s.lua", "%s/%s/init.lua"};
    struct gw_str text;

    for (size_t i = 0; i < 2; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        struct gw_str path = gw_arena_printf(finder->arena, forms[i], folder, relative);
#pragma GCC diagnostic pop
        read_file(finder->arena, path.data, &text, why);
        if (text.data != NULL)
            return add(finder, key, path, text, folder);
        if (*why != NULL)
            return NULL;
    }
    return NULL;
}

struct gw_found *gw_finder_plugin(struct gw_finder *finder, struct gw_str name, const char **why)
{
    struct gw_str key = gw_arena_printf(finder->arena, "plugin:%.*s", GW_STR_ARG(name));
    struct gw_found *found = gw_finder_get(finder, key);

    *why = NULL;
    if (found != NULL)
        return found;
    if (!gw_finder_name_valid(name, false)) {
        *why = "a plugin's name has letters, digits, '-' and '_' only";
        return NULL;
    }
    for (uint32_t i = 0; found == NULL && *why == NULL && i < finder->source->plugin_paths_count;
         i++)
        found = look_in(finder, finder->source->plugin_paths[i].data, key.data + 7, key.data, why);
    if (found != NULL)
        found->is_plugin = true;
    return found;
}

struct gw_found *gw_finder_module(struct gw_finder *finder, struct gw_str name, const char **why)
{
    struct gw_str key = gw_arena_printf(finder->arena, "module:%.*s", GW_STR_ARG(name));
    struct gw_found *found = gw_finder_get(finder, key);
    struct gw_str relative = gw_arena_dup(finder->arena, name);

    *why = NULL;
    if (found != NULL)
        return found;
    if (!gw_finder_name_valid(name, true)) {
        *why = "not the name of a module";
        return NULL;
    }
    for (size_t i = 0; i < relative.len; i++)
        if (relative.data[i] == '.')
            ((char *)relative.data)[i] = '/';
    for (uint32_t i = 0; found == NULL && *why == NULL && i < finder->source->module_paths_count;
         i++)
        found = look_in(finder, finder->source->module_paths[i].data, relative.data, key.data, why);
    for (size_t i = 0; found == NULL && *why == NULL && i < 2; i++) {
        found = look_in(finder, installed[i], relative.data, key.data, why);
        if (found != NULL)
            found->free = true;
    }
    return found;
}

void gw_finder_each(struct gw_finder *finder, void (*fn)(void *arg, struct gw_str name), void *arg)
{
    for (uint32_t i = 0; i < finder->source->plugin_paths_count; i++) {
        DIR *dir = opendir(finder->source->plugin_paths[i].data);
        struct dirent *entry;
        while (dir != NULL && (entry = readdir(dir)) != NULL) {
            struct gw_str name = gw_str_c(entry->d_name);
            if (name.len > 4 && memcmp(name.data + name.len - 4, ".lua", 4) == 0)
                fn(arg, gw_arena_dup(finder->arena, gw_str(name.data, name.len - 4)));
        }
        if (dir != NULL)
            closedir(dir);
    }
}

/* find(key, name) -> { chunk, text, free } | nil, message */
static int find(lua_State *L)
{
    struct gw_finder *finder = lua_touserdata(L, lua_upvalueindex(1));
    const char *why = NULL;
    struct gw_str key, name;
    struct gw_found *found;

    key.data = luaL_checklstring(L, 1, &key.len);
    name.data = luaL_checklstring(L, 2, &name.len);
    found = gw_str_starts(key, GW_STR("plugin:")) ? gw_finder_plugin(finder, name, &why)
                                                  : gw_finder_module(finder, name, &why);
    if (found == NULL) {
        lua_pushnil(L);
        if (why != NULL)
            lua_pushfstring(L, "module '%s': %s", name.data, why);
        else
            lua_pushfstring(L, "module '%s' is neither in the module folders nor installed",
                            name.data);
        return 2;
    }
    lua_createtable(L, 0, 3);
    lua_pushlstring(L, found->chunk.data, found->chunk.len);
    lua_setfield(L, -2, "chunk");
    lua_pushlstring(L, found->text.data, found->text.len);
    lua_setfield(L, -2, "text");
    lua_pushboolean(L, found->free);
    lua_setfield(L, -2, "free");
    return 1;
}

void gw_finder_push(lua_State *L, struct gw_finder *finder)
{
    lua_pushlightuserdata(L, finder);
    lua_pushcclosure(L, find, 1);
}
