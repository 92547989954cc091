#include "script/instance.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "script/vm_private.h"

#define INSTANCES_MAX (1u << 20)

static uint32_t free_number(struct gw_vm *vm)
{
    uint32_t size;
    struct gw_instance **grown;

    for (uint32_t i = vm->instances_from > 0 ? vm->instances_from : 1; i < vm->instances_size; i++)
        if (vm->instances[i] == NULL) {
            vm->instances_from = i + 1;
            return i;
        }
    if (vm->instances_size >= INSTANCES_MAX)
        return 0;
    size = vm->instances_size == 0 ? 64 : vm->instances_size * 2;
    grown = realloc(vm->instances, size * sizeof(struct gw_instance *));
    if (grown == NULL)
        return 0;
    memset(grown + vm->instances_size, 0,
           (size - vm->instances_size) * sizeof(struct gw_instance *));
    uint32_t number = vm->instances_size == 0 ? 1 : vm->instances_size;
    vm->instances = grown;
    vm->instances_size = size;
    vm->instances_from = number + 1;
    return number;
}

static char *copy(struct gw_str text)
{
    char *to = malloc(text.len + 1);

    if (to == NULL)
        abort(); /* small and fixed: see base/arena.h on running out of memory */
    if (text.len > 0)
        memcpy(to, text.data, text.len);
    to[text.len] = '\0';
    return to;
}

struct gw_instance *gw_instance_new(struct gw_vm *vm, struct gw_str plugin, struct gw_str id,
                                    struct gw_str route)
{
    uint32_t number = free_number(vm);
    struct gw_instance *instance;

    if (number == 0)
        return NULL;
    instance = calloc(1, sizeof(*instance));
    if (instance == NULL)
        return NULL;
    instance->vm = vm;
    instance->refs = 1;
    instance->number = number;
    instance->plugin = copy(plugin);
    instance->id = copy(id);
    instance->route = copy(route);
    instance->plugin_ref = instance->conf_ref = instance->state_ref = LUA_NOREF;
    instance->paths_ref = LUA_NOREF;
    vm->instances[number] = instance;
    return instance;
}

void gw_instance_make_paths(struct gw_instance *instance, uint32_t count)
{
    instance->paths = calloc(count + 1, sizeof(*instance->paths));
    if (instance->paths == NULL)
        abort();
}

void gw_instance_add_path(struct gw_instance *instance, struct gw_str path)
{
    instance->paths[instance->paths_count++] = gw_str(copy(path), path.len);
}

struct gw_instance *gw_instance_ref(struct gw_instance *instance)
{
    if (instance != NULL)
        instance->refs++;
    return instance;
}

void gw_instance_unref(struct gw_instance *instance)
{
    if (instance == NULL || --instance->refs > 0)
        return;
    luaL_unref(instance->vm->L, LUA_REGISTRYINDEX, instance->plugin_ref);
    luaL_unref(instance->vm->L, LUA_REGISTRYINDEX, instance->conf_ref);
    luaL_unref(instance->vm->L, LUA_REGISTRYINDEX, instance->state_ref);
    instance->vm->instances[instance->number] = NULL;
    if (instance->number < instance->vm->instances_from)
        instance->vm->instances_from = instance->number;
    luaL_unref(instance->vm->L, LUA_REGISTRYINDEX, instance->paths_ref);
    for (uint32_t i = 0; i < instance->paths_count; i++)
        free((char *)instance->paths[i].data);
    free(instance->paths);
    free(instance->plugin);
    free(instance->id);
    free(instance->route);
    free(instance);
}

struct gw_instance *gw_instance_by_number(struct gw_vm *vm, uint32_t number)
{
    return number < vm->instances_size ? vm->instances[number] : NULL;
}

const char *gw_instance_plugin(const struct gw_instance *instance)
{
    return instance->plugin;
}

const char *gw_instance_id(const struct gw_instance *instance)
{
    return instance->id;
}

const char *gw_instance_route(const struct gw_instance *instance)
{
    return instance->route;
}
