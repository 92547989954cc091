#include "script/load.h"

#include <assert.h>
#include <ctype.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "conf/names.h"
#include "conf/schema.h"
#include "http/message.h"
#include "script/load_private.h"
#include "script/value.h"
#include "script/vm_private.h"

/* ---- calling the sandbox ---- */

/* Runs sandbox.NAME with the values on `task`'s stack; the results stay there. */
static bool run_sandbox(struct gw_load *load, struct gw_task *task, const char *name, int args)
{
    lua_State *co = gw_task_thread(task);

    lua_rawgeti(co, LUA_REGISTRYINDEX, load->vm->sandbox_ref);
    lua_getfield(co, -1, name);
    lua_insert(co, 1);
    lua_pop(co, 1);
    return gw_task_resume(task, args) == GW_TASK_DONE;
}

static void open_loader(struct gw_load *load)
{
    struct gw_task *task = gw_task_new(load->vm, GW_IN_LOAD, NULL, NULL, NULL);
    lua_State *co = gw_task_thread(task);
    bool fine;

    gw_finder_push(co, &load->finder);
    fine = run_sandbox(load, task, "loader", 1);
    assert(fine);
    (void)fine;
    lua_settop(co, 1);
    lua_xmove(co, load->vm->L, 1);
    load->loader_ref = luaL_ref(load->vm->L, LUA_REGISTRYINDEX);
    gw_task_end(task);
}

/* ---- a plugin's table ---- */

struct reading {
    struct gw_load *load;
    struct gw_load_plugin *plugin;
    lua_State *L; /* the table is at 1 */
    struct gw_where where;
};

static void fault(struct reading *r, const char *field, const char *text)
{
    gw_report_fault(r->load->report, r->where, gw_str_c(field), "%s", text);
}

static void read_name(struct reading *r)
{
    struct gw_str name = r->plugin->name;

    if (lua_type(r->L, -1) != LUA_TSTRING || !gw_str_eq(gw_str_c(lua_tostring(r->L, -1)), name))
        gw_report_fault(r->load->report, r->where, GW_STR("name"),
                        "the plugin's name must be that of its file: \"%.*s\"", GW_STR_ARG(name));
}

static void read_priority(struct reading *r)
{
    if (lua_type(r->L, -1) != LUA_TNUMBER || !isfinite(lua_tonumber(r->L, -1)))
        fault(r, "priority", "a number is expected");
    else
        r->plugin->priority = lua_tonumber(r->L, -1);
}

static void read_schema(struct reading *r)
{
    struct gw_schema_at at = {&r->load->arena, r->load->report, r->where, GW_STR("schema")};
    struct gw_node *schema;
    struct gw_err err;

    if (lua_type(r->L, -1) != LUA_TTABLE) {
        fault(r, "schema", "a table is expected");
        return;
    }
    if (gw_value_tree(r->L, -1, &r->load->arena, &schema, &err) != GW_OK) {
        gw_report_fault(r->load->report, r->where, GW_STR("schema"), "%s", err.text);
        return;
    }
    if (gw_schema_compile_check(schema, &at) != GW_OK)
        return;
    if (gw_schema_is_wide(schema) && !gw_load_validator(r->load, r->plugin, r->L, r->where))
        return;
    r->plugin->schema = schema;
}

static void read_identity(struct reading *r)
{
    size_t count;

    if (lua_type(r->L, -1) != LUA_TTABLE) {
        fault(r, "identity_headers", "a list of header names is expected");
        return;
    }
    count = lua_objlen(r->L, -1);
    r->plugin->identity_headers =
        gw_arena_alloc(&r->load->arena, (count + 1) * sizeof(struct gw_str));
    for (size_t i = 1; i <= count; i++) {
        struct gw_str name = GW_STR_NULL;
        lua_rawgeti(r->L, -1, (int)i);
        if (lua_type(r->L, -1) == LUA_TSTRING)
            name.data = lua_tolstring(r->L, -1, &name.len);
        if (!gw_field_name_valid(name)) {
            fault(r, "identity_headers", "a list of header names is expected");
        } else {
            name = gw_arena_dup(&r->load->arena, name);
            for (size_t k = 0; k < name.len; k++)
                ((char *)name.data)[k] = (char)tolower((unsigned char)name.data[k]);
            r->plugin->identity_headers[r->plugin->identity_count++] = name;
        }
        lua_pop(r->L, 1);
    }
}

static void read_body(struct reading *r)
{
    if (lua_type(r->L, -1) != LUA_TSTRING || strcmp(lua_tostring(r->L, -1), "buffered") != 0)
        fault(r, "body", "only \"buffered\" is possible");
    r->plugin->buffered = true;
}

static void read_text(struct reading *r)
{
    if (lua_type(r->L, -1) != LUA_TSTRING && lua_type(r->L, -1) != LUA_TNUMBER)
        fault(r, "", "version, title and description are texts");
}

static void read_later(struct reading *r)
{
    fault(r, "", "certificate is a phase that this gateway does not have yet");
}

static const struct field {
    const char *name;
    uint32_t phase; /* a function; bit (1 << phase), or GW_NONE */
    void (*read)(struct reading *r);
} fields[] = {
    {"name", GW_NONE, read_name},
    {"priority", GW_NONE, read_priority},
    {"schema", GW_NONE, read_schema},
    {"identity_headers", GW_NONE, read_identity},
    {"body", GW_NONE, read_body},
    {"version", GW_NONE, read_text},
    {"title", GW_NONE, read_text},
    {"description", GW_NONE, read_text},
    {"certificate", GW_NONE, read_later},
    {"paths", 0, NULL},
    {"init", 0, NULL},
    {"stop", 0, NULL},
    {"rewrite", 1u << GW_PHASE_REWRITE, NULL},
    {"access", 1u << GW_PHASE_ACCESS, NULL},
    {"balancer", 1u << GW_PHASE_BALANCER, NULL},
    {"header_filter", 1u << GW_PHASE_HEADER_FILTER, NULL},
    {"body_filter", 1u << GW_PHASE_BODY_FILTER, NULL},
    {"log", 1u << GW_PHASE_LOG, NULL},
    {"message", 1u << GW_PHASE_MESSAGE, NULL},
};

#define FIELDS (sizeof(fields) / sizeof(fields[0]))

static void read_field(struct reading *r, const char *key)
{
    struct gw_suggest suggest;

    for (size_t i = 0; i < FIELDS; i++) {
        if (strcmp(fields[i].name, key) != 0)
            continue;
        if (fields[i].read != NULL)
            fields[i].read(r);
        else if (!lua_isfunction(r->L, -1))
            fault(r, key, "a function is expected");
        else
            r->plugin->phases |= fields[i].phase;
        return;
    }
    gw_suggest_begin(&suggest, gw_str_c(key));
    for (size_t i = 0; i < FIELDS; i++)
        gw_suggest_offer(&suggest, gw_str_c(fields[i].name));
    gw_report_fault(r->load->report, r->where, gw_str_c(key), "unknown field of a plugin");
    if (suggest.best.data != NULL)
        gw_report_hint(r->load->report, "did you mean '%.*s'?", GW_STR_ARG(suggest.best));
}

static void read_table(struct reading *r)
{
    lua_getfield(r->L, 1, "name");
    if (lua_isnil(r->L, -1))
        read_name(r);
    lua_pop(r->L, 1);
    for (lua_pushnil(r->L); lua_next(r->L, 1) != 0; lua_pop(r->L, 1)) {
        if (lua_type(r->L, -2) == LUA_TSTRING)
            read_field(r, lua_tostring(r->L, -2));
        else
            fault(r, "", "a plugin's fields have names");
    }
    if (r->plugin->buffered && (r->plugin->phases & (1u << GW_PHASE_BODY_FILTER)) == 0)
        fault(r, "body", "\"buffered\" is for a plugin with body_filter");
    lua_getfield(r->L, 1, "paths");
    if (!lua_isnil(r->L, -1) && (r->plugin->phases & (1u << GW_PHASE_REWRITE)) == 0)
        fault(r, "paths", "is for a plugin with rewrite");
    lua_pop(r->L, 1);
}

/* ---- loading ---- */

/* The value of the plugin is at 1 of the returned task's stack; NULL: the report says why, and
 * where the conf binds it. */
static struct gw_task *load_file(struct gw_load *load, const struct gw_binding *b,
                                 const struct gw_found *found)
{
    struct gw_task *task = gw_task_new(load->vm, GW_IN_LOAD, NULL, NULL, NULL);
    lua_State *co = gw_task_thread(task);

    lua_rawgeti(co, LUA_REGISTRYINDEX, load->loader_ref);
    lua_pushlstring(co, b->plugin.data, b->plugin.len);
    if (!run_sandbox(load, task, "load_plugin", 2)) {
        gw_report_fault(load->report, b->where, b->conf_path, "%s %s", load->vm->fault,
                        load->vm->stop_where);
    } else if (lua_isnil(co, 1)) {
        gw_report_fault(load->report, b->where, b->conf_path, "%s", luaL_optstring(co, 2, "?"));
    } else if (!lua_istable(co, 1)) {
        gw_report_fault(load->report, b->where, b->conf_path,
                        "%.*s: the file must return the plugin's table (it returned a %s)",
                        GW_STR_ARG(found->path), luaL_typename(co, 1));
    } else {
        return task;
    }
    gw_task_end(task);
    return NULL;
}

/* Its own text and all that it requires. */
static uint64_t deep_hash(struct gw_load *load, struct gw_str key)
{
    struct gw_task *task = gw_task_new(load->vm, GW_IN_LOAD, NULL, NULL, NULL);
    lua_State *co = gw_task_thread(task);
    uint64_t hash = 0;

    lua_rawgeti(co, LUA_REGISTRYINDEX, load->loader_ref);
    lua_pushlstring(co, key.data, key.len);
    if (run_sandbox(load, task, "closure", 2)) {
        size_t count = lua_objlen(co, 1);
        for (size_t i = 1; i <= count; i++) {
            lua_rawgeti(co, 1, (int)i);
            struct gw_str part = gw_str_c(lua_tostring(co, -1));
            struct gw_found *found = gw_finder_get(&load->finder, part);
            hash = gw_hash(part.data, part.len, hash);
            /* Asked for within pcall() and not found: it has no text, but its name counts. */
            if (found != NULL)
                hash = gw_hash(&found->hash, sizeof(found->hash), hash);
            lua_pop(co, 1);
        }
    }
    gw_task_end(task);
    return hash;
}

static void offer_name(void *arg, struct gw_str name)
{
    gw_suggest_offer(arg, name);
}

static struct gw_found *find_plugin(struct gw_load *load, const struct gw_binding *b)
{
    struct gw_suggest suggest;
    const char *why;
    struct gw_found *found = gw_finder_plugin(&load->finder, b->plugin, &why);

    if (found != NULL)
        return found;
    gw_report_fault(load->report, b->where, b->path, "plugin '%.*s': %s", GW_STR_ARG(b->plugin),
                    why != NULL ? why : "there is no such file in plugin_paths");
    gw_suggest_begin(&suggest, b->plugin);
    gw_finder_each(&load->finder, offer_name, &suggest);
    if (suggest.best.data != NULL)
        gw_report_hint(load->report, "did you mean '%.*s'?", GW_STR_ARG(suggest.best));
    return NULL;
}

static struct gw_load_plugin *get_plugin(struct gw_load *load, const struct gw_binding *b)
{
    struct gw_load_plugin *plugin;
    struct gw_task *task;
    uint32_t faults;

    for (plugin = load->plugins; plugin != NULL; plugin = plugin->next)
        if (gw_str_eq(plugin->name, b->plugin))
            return plugin;
    plugin = gw_arena_zalloc(&load->arena, sizeof(*plugin));
    plugin->name = b->plugin;
    plugin->next = load->plugins;
    load->plugins = plugin;
    struct gw_found *found = find_plugin(load, b);
    if (found == NULL)
        return plugin;
    task = load_file(load, b, found);
    if (task == NULL)
        return plugin;
    struct gw_where where = {.file = gw_report_file(load->report, found->path)};
    struct reading reading = {load, plugin, gw_task_thread(task), where};
    faults = load->report->faults_count;
    lua_settop(reading.L, 1);
    read_table(&reading);
    gw_task_end(task);
    plugin->hash = deep_hash(load, found->key);
    if (load->report->faults_count == faults)
        plugin->found = found;
    return plugin;
}

/* `when:` must at least be an expression. */
static void check_when(struct gw_load *load, const struct gw_binding *b)
{
    struct gw_task *task = gw_task_new(load->vm, GW_IN_LOAD, NULL, NULL, NULL);
    lua_State *co = gw_task_thread(task);

    lua_pushlstring(co, b->when.data, b->when.len);
    lua_pushliteral(co, "when");
    if (!run_sandbox(load, task, "compile_when", 2))
        gw_report_fault(load->report, b->when_where, b->path, "when: %s", load->vm->fault);
    else if (lua_isnil(co, 1))
        gw_report_fault(load->report, b->when_where, b->path, "when: %s",
                        luaL_optstring(co, 2, "?"));
    gw_task_end(task);
}

static void check_binding(struct gw_load *load, uint32_t index)
{
    struct gw_binding *b = &load->source->bindings[index];
    struct gw_load_binding *item = &load->bindings[index];
    struct gw_load_plugin *plugin;
    struct gw_schema_at at = {&load->source->arena, load->report, b->where, b->conf_path};

    item->binding = b;
    item->row = GW_NONE;
    if (!b->enabled)
        return;
    plugin = get_plugin(load, b);
    if (b->when.len > 0)
        check_when(load, b);
    if (plugin->found == NULL)
        return;
    if (b->conf != NULL && b->conf->where.line != 0)
        at.where = b->conf->where;
    if (gw_schema_check(plugin->schema, &b->conf, &at) != GW_OK)
        return;
    if (plugin->validator_ref == 0 || gw_load_validate(load, plugin, b->conf, &at))
        item->plugin = plugin;
}

/* ---- writing ---- */

static uint32_t source_index(struct gw_load *load, const struct gw_found *wanted)
{
    uint32_t index = load->finder.count;

    /* Newest first in the list, oldest first in the image. */
    for (const struct gw_found *found = load->finder.first; found != NULL; found = found->next) {
        index--;
        if (found == wanted)
            return index;
    }
    return GW_NONE;
}

static struct gw_ref write_sources(struct gw_load *load)
{
    uint32_t count = load->finder.count, index = count;
    struct gw_script_source *rows = gw_arena_zalloc(&load->arena, (count + 1) * sizeof(*rows));
    struct gw_ref ref = {0, count};

    for (const struct gw_found *found = load->finder.first; found != NULL; found = found->next) {
        struct gw_script_source *row = &rows[--index];
        row->key = gw_image_add_str(load->image, found->key);
        row->chunk = gw_image_add_str(load->image, found->chunk);
        row->text = gw_image_add_str(load->image, found->text);
        row->hash = deep_hash(load, found->key);
        row->free = found->free;
        row->is_plugin = found->is_plugin;
    }
    ref.off = gw_image_alloc(load->image, (count + 1) * sizeof(*rows));
    memcpy(gw_image_at(load->image, ref.off), rows, count * sizeof(*rows));
    return ref;
}

static uint64_t identity_of(struct gw_load *load, const struct gw_load_binding *item)
{
    const struct gw_binding *b = item->binding;
    struct gw_conf *conf = gw_image_conf(load->image);
    uint64_t hash = item->plugin->hash, tree = gw_node_hash(b->conf, 0);

    hash = gw_hash(&tree, sizeof(tree), hash);
    hash = gw_hash(b->plugin.data, b->plugin.len, hash);
    hash = gw_hash(b->id.data, b->id.len, hash);
    if (b->route != GW_NONE) {
        struct gw_str name =
            gw_ref_str(conf, GW_ITEMS(conf, conf->routes, struct gw_conf_route)[b->route].name);
        hash = gw_hash(name.data, name.len, hash + 1);
    }
    return hash;
}

static void write_binding(struct gw_load *load, const struct gw_load_binding *item,
                          struct gw_script_binding *row)
{
    const struct gw_binding *b = item->binding;
    struct gw_buf bytes = GW_BUF_INIT;

    row->source = source_index(load, item->plugin->found);
    row->route = b->route;
    row->plugin = gw_image_add_str(load->image, b->plugin);
    row->id = gw_image_add_str(load->image, b->id);
    gw_value_write(b->conf, &bytes);
    row->conf = gw_image_add_str(load->image, gw_buf_str(&bytes));
    gw_buf_fini(&bytes);
    if (b->when.len > 0)
        row->when = gw_image_add_str(load->image, b->when);
    row->when_where = b->when_where;
    row->where = b->where;
    row->path = gw_image_add_str(load->image, b->conf_path);
    row->identity = identity_of(load, item);
    row->deadline_ms = b->deadline_ms;
    row->phases = item->plugin->phases;
    row->on_error = b->on_error;
    row->buffered = item->plugin->buffered;
}

static struct gw_ref write_bindings(struct gw_load *load)
{
    uint32_t count = load->rows_count;
    struct gw_script_binding *rows = gw_arena_zalloc(&load->arena, (count + 1) * sizeof(*rows));
    struct gw_ref ref = {0, count};

    for (uint32_t i = 0; i < count; i++)
        write_binding(load, load->rows[i], &rows[i]);
    ref.off = gw_image_alloc(load->image, (count + 1) * sizeof(*rows));
    memcpy(gw_image_at(load->image, ref.off), rows, count * sizeof(*rows));
    return ref;
}

static struct gw_ref write_chains(struct gw_load *load)
{
    struct gw_ref ref = {0, load->chains_count};

    ref.off = gw_image_alloc(load->image, (ref.len + 1) * sizeof(struct gw_script_chain));
    for (const struct gw_load_chain *chain = load->chains; chain != NULL; chain = chain->next) {
        uint32_t rows = gw_image_alloc(load->image, (chain->count + 1) * sizeof(uint32_t));
        memcpy(gw_image_at(load->image, rows), chain->rows, chain->count * sizeof(uint32_t));
        struct gw_script_chain *row =
            (struct gw_script_chain *)gw_image_at(load->image, ref.off) + chain->number;
        row->bindings = (struct gw_ref){rows, chain->count};
        row->phases = chain->phases;
    }
    return ref;
}

static void write_identity_headers(struct gw_load *load)
{
    uint32_t count = 0, max = 0, off;
    struct gw_str *names;

    for (const struct gw_load_plugin *p = load->plugins; p != NULL; p = p->next)
        max += p->identity_count;
    if (max == 0)
        return;
    names = gw_arena_alloc(&load->arena, max * sizeof(*names));
    for (const struct gw_load_plugin *p = load->plugins; p != NULL; p = p->next)
        for (uint32_t i = 0; i < p->identity_count; i++) {
            bool there = false;
            for (uint32_t k = 0; k < count && !there; k++)
                there = gw_str_eq(names[k], p->identity_headers[i]);
            if (!there)
                names[count++] = p->identity_headers[i];
        }
    off = gw_image_alloc(load->image, count * sizeof(struct gw_ref));
    for (uint32_t i = 0; i < count; i++) {
        struct gw_ref ref = gw_image_add_str(load->image, names[i]);
        ((struct gw_ref *)gw_image_at(load->image, off))[i] = ref;
    }
    gw_image_conf(load->image)->identity_headers = (struct gw_ref){off, count};
}

/* `moongate dev` watches what was read. */
static void write_files(struct gw_load *load)
{
    struct gw_ref old = gw_image_conf(load->image)->files;
    uint32_t count = old.len + load->finder.count, at = old.len;
    uint32_t off = gw_image_alloc(load->image, (count + 1) * sizeof(struct gw_conf_file));

    memcpy(gw_image_at(load->image, off), gw_image_at(load->image, old.off),
           old.len * sizeof(struct gw_conf_file));
    for (const struct gw_found *found = load->finder.first; found != NULL; found = found->next) {
        struct gw_ref path = gw_image_add_str(load->image, found->path);
        struct gw_conf_file file = {
            .path = path, .name = path, .hash = found->hash, .flags = GW_FILE_CODE};
        ((struct gw_conf_file *)gw_image_at(load->image, off))[at++] = file;
    }
    gw_image_conf(load->image)->files = (struct gw_ref){off, count};
    gw_image_conf(load->image)->files_room = count;
}

static void write_image(struct gw_load *load)
{
    struct gw_script_image script;
    uint32_t off;

    write_files(load);
    write_identity_headers(load);
    if (load->chains_count == 0)
        return;
    script.sources = write_sources(load);
    script.bindings = write_bindings(load);
    script.chains = write_chains(load);
    off = gw_image_alloc(load->image, sizeof(script));
    memcpy(gw_image_at(load->image, off), &script, sizeof(script));
    gw_image_conf(load->image)->script = (struct gw_ref){off, sizeof(script)};
}

static enum gw_rc begin(struct gw_load *load, uint32_t cpu_ms, uint64_t heap_max,
                        struct gw_err *err)
{
    struct gw_vm_options options = {.cpu_budget_ms = cpu_ms, .heap_max = heap_max};
    enum gw_rc rc;

    gw_arena_init(&load->arena);
    load->finder = (struct gw_finder){.source = load->source, .arena = &load->arena};
    rc = gw_vm_new(&options, &load->vm, err);
    if (rc != GW_OK)
        return rc;
    open_loader(load);
    return GW_OK;
}

static void end(struct gw_load *load)
{
    gw_vm_free(load->vm);
    gw_arena_fini(&load->arena);
}

static void check_bindings(struct gw_load *load)
{
    uint32_t count = load->source->bindings_count;

    load->bindings = gw_arena_zalloc(&load->arena, (count + 1) * sizeof(*load->bindings));
    for (uint32_t i = 0; i < count; i++)
        check_binding(load, i);
}

enum gw_rc gw_script_load(struct gw_image *image, struct gw_conf_source *source,
                          struct gw_report *report)
{
    struct gw_load load = {.image = image, .source = source, .report = report};
    struct gw_conf *conf = gw_image_conf(image);
    uint32_t faults = report->faults_count;
    struct gw_err err;

    conf->global_chain = GW_NONE;
    conf->global_phases = 0;
    if (source->bindings_count == 0)
        return GW_OK; /* no plugins: no VM */
    if (begin(&load, conf->cpu_budget_ms, conf->heap_max, &err) != GW_OK) {
        gw_report_fault(report, (struct gw_where){0, 0, 0}, GW_STR("plugins"), "%s", err.text);
        end(&load);
        return GW_INVALID;
    }
    check_bindings(&load);
    gw_load_chains(&load);
    if (report->faults_count == faults)
        write_image(&load);
    end(&load);
    return report->faults_count == faults ? GW_OK : GW_INVALID;
}

void gw_script_check(struct gw_image *image, struct gw_conf_source *source,
                     struct gw_report *report)
{
    struct gw_load load = {.image = image, .source = source, .report = report};
    const struct gw_conf *conf = gw_image_conf(image);
    struct gw_err err;

    if (begin(&load, conf->cpu_budget_ms, conf->heap_max, &err) == GW_OK)
        check_bindings(&load);
    end(&load);
}

/* ---- moongate plugins ---- */

struct names {
    struct gw_arena *arena;
    struct gw_str *items;
    uint32_t count, size;
};

static void note_name(void *arg, struct gw_str name)
{
    struct names *names = arg;

    for (uint32_t i = 0; i < names->count; i++)
        if (gw_str_eq(names->items[i], name))
            return;
    if (names->count == names->size) {
        uint32_t size = names->size == 0 ? 64 : names->size * 2;
        struct gw_str *items = gw_arena_alloc(names->arena, size * sizeof(*items));
        if (names->count > 0)
            memcpy(items, names->items, names->count * sizeof(*items));
        names->items = items;
        names->size = size;
    }
    names->items[names->count++] = name;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct gw_str *)a)->data, ((const struct gw_str *)b)->data);
}

static void tell_plugin(struct gw_load *load, struct gw_str name, gw_plugin_fn fn, void *arg)
{
    struct gw_binding b = {.plugin = name, .id = name};
    struct gw_load_plugin *plugin = get_plugin(load, &b);
    struct gw_found *found = gw_finder_get(
        &load->finder, gw_arena_printf(&load->arena, "plugin:%.*s", GW_STR_ARG(name)));
    struct gw_plugin_info info = {.name = name, .priority = plugin->priority};

    if (found != NULL)
        info.path = found->path;
    if (plugin->found != NULL)
        info.schema = plugin->schema;
    else
        info.error = load->report->kept > 0 ? load->report->faults[load->report->kept - 1].text.data
                                            : "cannot be loaded";
    fn(arg, &info);
}

enum gw_rc gw_script_plugins(const struct gw_conf_source *source, gw_plugin_fn fn, void *arg,
                             struct gw_err *err)
{
    struct gw_report report;
    struct gw_load load = {.source = (struct gw_conf_source *)source, .report = &report};
    struct names names = {&load.arena, NULL, 0, 0};
    enum gw_rc rc;

    gw_report_init(&report);
    rc = begin(&load, 0, 0, err);
    if (rc == GW_OK) {
        gw_finder_each(&load.finder, note_name, &names);
        if (names.count > 0)
            qsort(names.items, names.count, sizeof(*names.items), by_name);
        for (uint32_t i = 0; i < names.count; i++)
            tell_plugin(&load, names.items[i], fn, arg);
    }
    end(&load);
    gw_report_fini(&report);
    return rc;
}
