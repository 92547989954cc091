#include "conf/load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "conf/include.h"
#include "conf/rows.h"

void gw_conf_source_init(struct gw_conf_source *source)
{
    memset(source, 0, sizeof(*source));
    gw_arena_init(&source->arena);
}

void gw_conf_source_fini(struct gw_conf_source *source)
{
    gw_arena_fini(&source->arena);
    memset(source, 0, sizeof(*source));
}

static const char *real_env(const char *name, void *arg)
{
    return getenv(name);
}

/* Whoever reads `via: auto` on another machine, or for another conf on this one, gets
 * another name; every worker and every reload gets the same. */
static void make_via(struct gw_reader *r)
{
    char host[256] = "";
    uint64_t hash;
    struct gw_conf *conf = &r->conf;

    if (conf->via.len != 4 || memcmp(gw_image_at(r->image, conf->via.off), "auto", 4) != 0)
        return;
    (void)gethostname(host, sizeof(host) - 1); /* without a name the path alone must do */
    hash = gw_hash(host, strlen(host), GW_IMAGE_MAGIC);
    hash = gw_hash(gw_image_at(r->image, conf->control.off), conf->control.len, hash);
    conf->via = gw_image_add_str(
        r->image, gw_arena_printf(r->arena, "moongate-%08x", (unsigned)(hash ^ hash >> 32)));
}

/* What a later load wants to know of the files: see conf/increment.h. */
static void add_runs(struct gw_reader *r, struct gw_conf_file *files)
{
    const struct gw_conf_details *routes = gw_image_at(r->image, r->conf.details.off);
    const struct gw_conf_source *source = r->source;

    for (uint32_t i = 0; i < r->conf.routes.len; i++) {
        struct gw_conf_file *file = &files[routes[i].where.file];
        if (file->routes_count++ == 0)
            file->routes = i;
    }
    for (uint32_t i = 0; i < r->conf.upstreams_named; i++) {
        struct gw_conf_file *file = &files[r->upstreams[i].where.file];
        if (file->upstreams_count++ == 0)
            file->upstreams = i;
    }
    for (uint32_t i = 0; i < source->bindings_count; i++)
        if (source->bindings[i].route != GW_NONE)
            files[routes[source->bindings[i].route].where.file].flags |= GW_FILE_BINDS;
}

void gw_file_row(struct gw_image *image, const struct gw_file *file, struct gw_conf_file *row)
{
    struct gw_ref path = gw_image_add_str(image, file->path);

    *row = (struct gw_conf_file){
        .path = path,
        .name = gw_str_eq(file->path, file->name) ? path : gw_image_add_str(image, file->name),
        .hash = file->hash,
        .stamp = file->stamp,
        .bytes = file->bytes,
        .flags = (file->plain ? GW_FILE_PLAIN : 0u) | (file->found ? GW_FILE_FOUND : 0u),
    };
}

static void add_files(struct gw_reader *r)
{
    const struct gw_files *files = r->files;
    uint32_t count = files->count;
    uint32_t off = gw_image_alloc(r->image, count * sizeof(struct gw_conf_file)), includes;

    for (uint32_t i = 0; i < count; i++) {
        struct gw_conf_file row;
        gw_file_row(r->image, &files->items[i], &row);
        ((struct gw_conf_file *)gw_image_at(r->image, off))[i] = row;
    }
    r->conf.files = (struct gw_ref){off, count};
    r->conf.conf_files = r->conf.files_read = r->conf.files_room = count;
    r->conf.dir = gw_image_add_str(r->image, gw_files_dir(files, 0));
    includes = gw_image_alloc(r->image, files->includes_count * sizeof(struct gw_conf_include));
    for (uint32_t i = 0; i < files->includes_count; i++) {
        const struct gw_include *from = &files->includes[i];
        struct gw_ref pattern = gw_image_add_str(r->image, from->pattern);
        ((struct gw_conf_include *)gw_image_at(r->image, includes))[i] =
            (struct gw_conf_include){pattern, from->file, from->wildcard};
    }
    r->conf.includes = (struct gw_ref){includes, files->includes_count};
    add_runs(r, gw_image_at(r->image, off));
}

/* ---- where plugins and modules are looked for ---- */

struct folders {
    struct gw_str *items;
    uint32_t count;
};

static void folder_add(struct gw_arena *arena, struct folders *to, struct gw_str dir,
                       const char *name)
{
    struct gw_str path =
        gw_arena_printf(arena, "%.*s%s%s", GW_STR_ARG(dir),
                        dir.len > 0 && dir.data[dir.len - 1] == '/' ? "" : "/", name);

    while (path.len > 1 && path.data[path.len - 1] == '/')
        path.len--;
    path = gw_arena_dup(arena, path);
    for (uint32_t i = 0; i < to->count; i++)
        if (gw_str_eq(to->items[i], path))
            return;
    to->items[to->count++] = path;
}

static struct gw_str parent_of(struct gw_str path)
{
    const char *slash;

    while (path.len > 1 && path.data[path.len - 1] == '/')
        path.len--;
    slash = memrchr(path.data, '/', path.len);
    if (slash == NULL || slash == path.data)
        return GW_STR("/");
    return gw_str(path.data, (size_t)(slash - path.data));
}

static void finish_paths(struct gw_reader *r)
{
    struct gw_conf_source *source = r->source;
    const char *shipped = r->options == NULL ? NULL : r->options->shipped_dir;
    struct gw_str dir = gw_files_dir(r->files, 0);
    uint32_t given = source->plugin_paths_count;
    struct folders plugins, modules;

    plugins.items = gw_arena_alloc(r->arena, (given + 3) * sizeof(struct gw_str));
    modules.items = gw_arena_alloc(r->arena, (given + 3) * sizeof(struct gw_str));
    plugins.count = modules.count = 0;
    for (uint32_t i = 0; i < given; i++) {
        folder_add(r->arena, &plugins, source->plugin_paths[i], "");
        folder_add(r->arena, &modules, parent_of(source->plugin_paths[i]), "lua");
    }
    if (given == 0) {
        folder_add(r->arena, &plugins, dir, "plugins");
        folder_add(r->arena, &modules, dir, "lua");
        folder_add(r->arena, &plugins, parent_of(dir), "plugins");
        folder_add(r->arena, &modules, parent_of(dir), "lua");
    }
    if (shipped != NULL) {
        folder_add(r->arena, &plugins, gw_str_c(shipped), "plugins");
        folder_add(r->arena, &modules, gw_str_c(shipped), "lua");
    }
    source->plugin_paths = plugins.items;
    source->plugin_paths_count = plugins.count;
    source->module_paths = modules.items;
    source->module_paths_count = modules.count;
}

/* ---- loading ---- */

static void read_all(struct gw_reader *r, struct gw_node *root)
{
    gw_section_defaults(r, &gw_section_root, &r->conf);
    gw_section_defaults(r, &gw_section_limits, &r->conf.limits);
    (void)gw_section_read(r, &gw_section_root, root, &r->conf, 0);
    gw_upstreams_finish(r);
    gw_key_files_finish(r);
    gw_tls_finish(r);
    make_via(r);
    add_files(r);
    finish_paths(r);
    r->conf.magic = GW_IMAGE_MAGIC;
    r->conf.global_chain = GW_NONE;
    memcpy(gw_image_conf(r->image), &r->conf, sizeof(r->conf));
    gw_image_conf(r->image)->size = r->image->len;
}

/* The default of control: is read like any other value, and may be too long where the folder
 * is; so it cannot be an assertion that defaults are good. */
static bool control_fits(struct gw_reader *r, const struct gw_node *root)
{
    static const size_t room = sizeof("/run/moongate.sock") - 1;
    struct gw_str dir = gw_files_dir(r->files, 0);
    struct gw_where where = {0, 0, 0};

    if (gw_node_get(root, GW_STR("control")) != NULL || dir.len + room <= 107)
        return true;
    gw_report_fault(
        r->report, where, GW_STR("control"),
        "the path of a socket has at most 107 bytes, and %.*s/run/moongate.sock has %zu",
        GW_STR_ARG(dir), dir.len + room);
    gw_report_hint(r->report, "set control: to a shorter path, as in /run/moongate.sock");
    return false;
}

struct gw_env gw_conf_env(const struct gw_conf_options *options, struct gw_arena *arena,
                          struct gw_report *report)
{
    bool own = options != NULL && options->env != NULL;

    return (struct gw_env){arena, report, own ? options->env : real_env,
                           own ? options->env_arg : NULL};
}

enum gw_rc gw_conf_load_text(const char *path, struct gw_str text,
                             const struct gw_conf_options *options, struct gw_image *image,
                             struct gw_conf_source *out, struct gw_report *report)
{
    struct gw_files files = {.arena = &out->arena, .report = report};
    struct gw_reader r = {.arena = &out->arena,
                          .image = image,
                          .report = report,
                          .source = out,
                          .options = options,
                          .files = &files,
                          .route = GW_NONE};

    files.env = gw_conf_env(options, &out->arena, report);
    if (gw_files_read(&files, path, text, &out->root) != GW_OK)
        return GW_INVALID;
    if (control_fits(&r, out->root))
        read_all(&r, out->root);
    gw_names_fini(&r.listeners);
    gw_names_fini(&r.upstream_names);
    gw_names_fini(&r.routes);
    gw_names_fini(&r.route_limits);
    return gw_report_ok(report) ? GW_OK : GW_INVALID;
}

enum gw_rc gw_conf_load(const char *path, const struct gw_conf_options *options,
                        struct gw_image *image, struct gw_conf_source *out,
                        struct gw_report *report)
{
    return gw_conf_load_text(path, GW_STR_NULL, options, image, out, report);
}
