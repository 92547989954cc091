/* In three steps: which files are there and which of them must be read (listing), what is in those
 * (reading), and the new rows among the old ones (writing). */
#include "conf/increment.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "conf/include.h"
#include "conf/route_reading.h"

/* Of the image, in percent of what a full load left: more garbage than that, and all is read. */
#define GROWTH_PERCENT 30
#define GROWTH_FREE ((uint64_t)64 << 10)
/* To spare in an array that has to move: a sixteenth, and a few. */
#define ROOM_PART 16
#define ROOM_MIN 8

/* A file that was read, or must be. */
struct fresh {
    struct gw_file file;
    struct gw_node *root; /* NULL: empty */
    struct gw_buf text;
    bool same; /* its bytes are those of before */
};

struct entry {
    uint32_t old; /* index before, or GW_NONE */
    uint32_t fresh;
};

struct work {
    struct gw_increment *increment;
    const struct gw_conf *before;
    const struct gw_conf_file *old; /* its files */
    struct gw_reader r;
    struct gw_files files;
    struct gw_err *err;

    struct gw_names named;     /* path -> index */
    struct gw_names old_names; /* name -> index; made when it is needed */
    struct gw_names inodes;    /* of what is listed */
    struct gw_str dir, dir_absolute;
    uint32_t at; /* the file before that probably comes next */

    struct entry *entries;
    uint32_t count;
    struct fresh *fresh;
    uint32_t fresh_count;

    uint32_t limits;        /* of the route before */
    uint32_t *upstreams_to; /* by index before: index now, or GW_NONE */
};

#define FULL(w, ...) gw_err_set((w)->err, GW_AGAIN, __VA_ARGS__)

/* ---- listing ---- */

static void entry_add(struct work *w, uint32_t old, const struct gw_file *read)
{
    struct entry entry = {old, GW_NONE};

    if (read != NULL) {
        if ((w->fresh_count & (w->fresh_count - 1)) == 0) {
            struct fresh *larger = gw_arena_alloc(
                w->r.arena, (w->fresh_count == 0 ? 1 : w->fresh_count * 2) * sizeof(*larger));
            if (w->fresh_count > 0)
                memcpy(larger, w->fresh, w->fresh_count * sizeof(*larger));
            w->fresh = larger;
        }
        entry.fresh = w->fresh_count++;
        w->fresh[entry.fresh] = (struct fresh){.file = *read, .text = GW_BUF_INIT};
    }
    w->entries[w->count++] = entry;
}

static uint32_t find_old(struct work *w, struct gw_str name)
{
    uint32_t count = w->before->conf_files, found = GW_NONE;

    if (w->at < count && gw_str_eq(gw_ref_str(w->before, w->old[w->at].name), name))
        return w->at++;
    if (w->old_names.size == 0) {
        gw_names_reserve(&w->old_names, count);
        for (uint32_t i = 0; i < count; i++)
            (void)gw_names_add(&w->old_names, gw_ref_str(w->before, w->old[i].name), i, NULL);
    }
    if (gw_names_get(&w->old_names, name, &found))
        w->at = found + 1;
    return found;
}

static bool is_named(const struct work *w, struct gw_str path)
{
    uint32_t index;

    return gw_names_get(&w->named, path, &index);
}

static enum gw_rc list_file(struct work *w, const char *name, bool found, uint32_t depth);

static enum gw_rc list_glob(struct work *w, const char *pattern, uint32_t depth)
{
    enum gw_rc rc = GW_OK;
    glob_t all;
    int failed = glob(pattern, 0, NULL, &all);

    if (failed == GLOB_NOMATCH)
        return GW_OK;
    if (failed != 0)
        return FULL(w, "%s cannot be listed", pattern);
    for (size_t i = 0; rc == GW_OK && i < all.gl_pathc; i++)
        rc = list_file(w, all.gl_pathv[i], true, depth);
    globfree(&all);
    return rc;
}

static enum gw_rc list_includes(struct work *w, uint32_t old, uint32_t depth)
{
    const struct gw_conf *conf = w->before;
    const struct gw_conf_include *rows = GW_ITEMS(conf, conf->includes, struct gw_conf_include);
    enum gw_rc rc = GW_OK;

    for (uint32_t i = 0; rc == GW_OK && i < conf->includes.len; i++) {
        const char *pattern = gw_ref_str(conf, rows[i].pattern).data;
        if (rows[i].file != old)
            continue;
        rc = rows[i].wildcard ? list_glob(w, pattern, depth + 1)
                              : list_file(w, pattern, false, depth + 1);
    }
    return rc;
}

static enum gw_rc list_new(struct work *w, struct gw_file *file)
{
    struct gw_str name = gw_arena_dup(w->r.arena, file->name);
    const char *slash = memrchr(name.data, '/', name.len);
    struct gw_str dir = gw_str(name.data, slash != NULL ? (size_t)(slash - name.data) : 0);

    file->name = name;
    if (w->dir.data != NULL && gw_str_eq(w->dir, dir))
        file->dir = w->dir_absolute;
    gw_file_place(w->r.arena, file);
    w->dir = dir;
    w->dir_absolute = file->dir;
    if (w->increment->named_count > 0 && !is_named(w, file->path))
        return GW_OK; /* nobody has asked for it yet */
    if (w->count >= GW_FILES_MAX)
        return FULL(w, "there are too many files");
    entry_add(w, GW_NONE, file);
    return GW_OK;
}

/* As include.c goes from file to file: the same order, and none twice. */
static enum gw_rc list_file(struct work *w, const char *name, bool found, uint32_t depth)
{
    struct gw_file file = {.name = gw_str_c(name), .found = found};
    uint32_t old = find_old(w, file.name);
    const struct gw_conf_file *row = old != GW_NONE ? &w->old[old] : NULL;
    uint64_t inode[2];
    bool read;

    if (!gw_file_stat(name, &file))
        return FULL(w, "%s cannot be read", name);
    inode[0] = file.dev;
    inode[1] = file.ino;
    if (!gw_names_add(&w->inodes,
                      gw_arena_dup(w->r.arena, gw_str((const char *)inode, sizeof(inode))), 0,
                      NULL))
        return found ? GW_OK : FULL(w, "%s is included twice", name);
    if (row == NULL)
        return list_new(w, &file);
    file.name = gw_ref_str(w->before, row->name);
    file.path = gw_ref_str(w->before, row->path);
    read = w->increment->named_count > 0 ? is_named(w, file.path)
                                         : file.stamp == 0 || file.stamp != row->stamp;
    entry_add(w, old, read ? &file : NULL);
    return (row->flags & GW_FILE_PLAIN) != 0 ? GW_OK : list_includes(w, old, depth);
}

static enum gw_rc list_all(struct work *w)
{
    uint32_t left = 0;
    bool *there;
    enum gw_rc rc;

    w->count = w->fresh_count = w->at = 0;
    rc = list_file(w, gw_ref_str(w->before, w->old[0].name).data, false, 0);
    if (rc != GW_OK || w->increment->named_count == 0)
        return rc;
    there = gw_arena_zalloc(w->r.arena, w->before->conf_files);
    for (uint32_t i = 0; i < w->count; i++)
        if (w->entries[i].old != GW_NONE)
            there[w->entries[i].old] = true;
    for (uint32_t i = 0; i < w->before->conf_files; i++)
        left += !there[i] && !is_named(w, gw_ref_str(w->before, w->old[i].path));
    return left == 0 ? GW_OK : FULL(w, "%u more files have gone", left);
}

static enum gw_rc not_of_conf(struct work *w, const bool *known)
{
    enum gw_rc rc = GW_OK;

    for (uint32_t i = 0; i < w->increment->named_count; i++) {
        struct gw_str path = w->increment->named[i];
        for (uint32_t k = 0; k < w->fresh_count && !known[i]; k++)
            if (gw_str_eq(w->fresh[k].file.path, path))
                path = GW_STR("");
        if (known[i] || path.len == 0)
            continue;
        gw_report_fault(w->r.report, (struct gw_where){0, 0, 0}, path, "is no file of this conf");
        gw_report_hint(w->r.report, "its files are the main one and what include: finds; the "
                                    "code of plugins is loaded by a reload that names no file");
        rc = GW_NOT_FOUND;
    }
    return rc;
}

static enum gw_rc list_named(struct work *w)
{
    const struct gw_increment *increment = w->increment;
    const struct gw_conf_key_file *keys =
        GW_ITEMS(w->before, w->before->key_files, struct gw_conf_key_file);
    bool *known = gw_arena_zalloc(w->r.arena, increment->named_count + 1);
    uint32_t left = 0, index;
    enum gw_rc rc = GW_OK;

    for (uint32_t i = 0; i < increment->named_count; i++)
        left += gw_names_add(&w->named, increment->named[i], i, NULL);
    for (uint32_t i = 0; i < w->before->conf_files; i++) {
        struct gw_file file = {.name = gw_ref_str(w->before, w->old[i].name),
                               .path = gw_ref_str(w->before, w->old[i].path),
                               .found = (w->old[i].flags & GW_FILE_FOUND) != 0};
        bool named = gw_names_get(&w->named, file.path, &index);
        entry_add(w, i, named ? &file : NULL);
        if (named) {
            left -= !known[index];
            known[index] = true;
        }
    }
    for (uint32_t i = w->before->conf_files; i < w->before->files.len; i++)
        if (is_named(w, gw_ref_str(w->before, w->old[i].path)))
            return FULL(w, "%.*s is code", GW_STR_ARG(gw_ref_str(w->before, w->old[i].path)));
    for (uint32_t i = 0; i < w->before->key_files.len; i++)
        if (is_named(w, gw_ref_str(w->before, keys[i].path)))
            return FULL(w, "%.*s is a certificate or a key",
                        GW_STR_ARG(gw_ref_str(w->before, keys[i].path)));
    for (uint32_t i = 0; i < increment->named_count; i++) /* named twice */
        if (gw_names_get(&w->named, increment->named[i], &index))
            known[i] = known[index];
    if (left > 0) {
        rc = list_all(w); /* a new one needs its place among the others */
        if (rc == GW_OK)
            rc = not_of_conf(w, known);
    }
    return rc;
}

/* ---- reading ---- */

/* False: it has gone. */
static bool read_text(struct work *w, struct fresh *fresh, enum gw_rc *rc)
{
    const char *why;
    int fd;

    fresh->file.dir = GW_STR_NULL;
    why = gw_file_open(fresh->file.name.data, &fresh->file, &fd);
    if (fd < 0 && errno == ENOENT && fresh->file.found)
        return false;
    if (why == NULL)
        why = gw_file_slurp(fd, fresh->file.bytes, &fresh->text);
    if (why != NULL)
        *rc = FULL(w, "%.*s: %s", GW_STR_ARG(fresh->file.name), why);
    if (fd >= 0)
        (void)close(fd);
    fresh->file.bytes = (uint32_t)gw_buf_len(&fresh->text);
    return true;
}

/* Drops what has gone, and learns what is not as it was. */
static enum gw_rc read_texts(struct work *w)
{
    uint32_t kept = 0;
    enum gw_rc rc = GW_OK;

    for (uint32_t i = 0; i < w->count && rc == GW_OK; i++) {
        struct entry entry = w->entries[i];
        const struct gw_conf_file *row = entry.old != GW_NONE ? &w->old[entry.old] : NULL;
        struct fresh *fresh = entry.fresh != GW_NONE ? &w->fresh[entry.fresh] : NULL;
        bool there = true;

        if (fresh != NULL) {
            there = read_text(w, fresh, &rc);
            fresh->file.hash = gw_file_hash(gw_buf_str(&fresh->text));
            fresh->same = row != NULL && there && row->hash == fresh->file.hash;
            if (rc == GW_OK && !fresh->same && row != NULL && (row->flags & GW_FILE_PLAIN) == 0)
                rc = FULL(w, "%.*s holds more than routes and upstreams",
                          GW_STR_ARG(fresh->file.name));
            if (rc == GW_OK && !fresh->same && row != NULL && (row->flags & GW_FILE_BINDS) != 0)
                rc = FULL(w, "%.*s bound plugins", GW_STR_ARG(fresh->file.name));
        }
        if (there)
            w->entries[kept++] = entry;
    }
    w->count = kept;
    return rc;
}

static enum gw_rc parse_all(struct work *w)
{
    struct gw_files *files = &w->files;
    struct gw_report *report = w->r.report;

    files->count = files->size = w->count;
    /* Of many only those that are read are touched: not of the arena, which would clear all. */
    files->items = calloc(w->count + 1, sizeof(*files->items));
    if (files->items == NULL)
        return FULL(w, "memory is short");
    files->items[0].dir = gw_ref_str(w->before, w->before->dir);
    for (uint32_t i = 0; i < w->count; i++) {
        struct entry entry = w->entries[i];
        struct fresh *fresh = entry.fresh != GW_NONE ? &w->fresh[entry.fresh] : NULL;
        struct gw_str text;

        (void)gw_report_file_lent(report, fresh != NULL
                                              ? fresh->file.name
                                              : gw_ref_str(w->before, w->old[entry.old].name));
        files->bytes += fresh != NULL ? fresh->file.bytes : w->old[entry.old].bytes;
        if (fresh == NULL || fresh->same)
            continue;
        gw_file_place(w->r.arena, &fresh->file);
        files->items[i] = fresh->file;
        text = gw_buf_len(&fresh->text) == 0 ? GW_STR("") : gw_buf_str(&fresh->text);
        if (gw_file_parse(files, i, text, &fresh->root) != GW_OK || !gw_report_ok(report))
            return FULL(w, "%.*s has faults", GW_STR_ARG(fresh->file.name));
        if (!files->items[i].plain)
            return FULL(w, "%.*s holds more than routes and upstreams",
                        GW_STR_ARG(fresh->file.name));
        fresh->file = files->items[i];
    }
    return files->bytes <= GW_FILES_BYTES_MAX ? GW_OK : FULL(w, "the files are too large");
}

/* ---- writing ---- */

/* What was read anew of the file of entry `i`, or NULL: it is taken over. */
static const struct fresh *changed(const struct work *w, uint32_t i)
{
    uint32_t fresh = w->entries[i].fresh;

    return fresh != GW_NONE && !w->fresh[fresh].same ? &w->fresh[fresh] : NULL;
}

/* The array in the image copy, where there is room, or a new one with some to spare. */
static struct gw_ref array_place(struct gw_image *image, struct gw_ref before, uint32_t *room,
                                 uint32_t count, size_t item)
{
    if (count > *room) {
        *room = count + count / ROOM_PART + ROOM_MIN;
        before.off = gw_image_alloc(image, *room * item);
    }
    return (struct gw_ref){before.off, count};
}

static enum gw_rc keep_upstreams(struct work *w, const struct gw_conf_file *file)
{
    const struct gw_conf_upstream *rows =
        GW_ITEMS(w->before, w->before->upstreams, struct gw_conf_upstream);

    for (uint32_t i = file->upstreams; i < file->upstreams + file->upstreams_count; i++) {
        struct gw_conf_upstream row = rows[i];
        row.where.file = w->increment->files_to[row.where.file];
        w->upstreams_to[i] = w->r.upstreams_count;
        if (!gw_upstream_add(&w->r, gw_ref_str(w->before, row.name), &row))
            return FULL(w, "a name of an upstream is there twice");
    }
    return GW_OK;
}

static enum gw_rc new_upstreams(struct work *w, struct gw_node *root)
{
    struct gw_node *node = gw_node_get_c(root, "upstreams");
    uint32_t there;

    if (node == NULL || gw_node_is_null(node))
        return GW_OK;
    for (const struct gw_node *n = gw_node_first(node); n != NULL; n = n->next)
        if (gw_names_get(&w->r.upstream_names, n->key, &there))
            return FULL(w, "a name of an upstream is there twice");
    if (node->kind != GW_NODE_MAP || !gw_type_upstreams.read(&w->r, NULL, node, NULL) ||
        !gw_report_ok(w->r.report))
        return FULL(w, "an upstream has faults");
    if (w->r.key_files_count > 0)
        return FULL(w, "an upstream has certificates");
    return GW_OK;
}

/* Those with a name, file by file; what routes make of URLs comes with the routes. */
static enum gw_rc write_upstreams(struct work *w, struct gw_conf_file *files)
{
    enum gw_rc rc = GW_OK;

    gw_names_reserve(&w->r.upstream_names, w->before->upstreams.len);
    w->upstreams_to = gw_arena_alloc(w->r.arena, (w->before->upstreams.len + 1) * 4);
    for (uint32_t i = 0; i < w->before->upstreams.len; i++)
        w->upstreams_to[i] = GW_NONE;
    for (uint32_t i = 0; i < w->count && rc == GW_OK; i++) {
        const struct fresh *fresh = changed(w, i);
        uint32_t from = w->r.upstreams_count;

        rc = fresh != NULL ? new_upstreams(w, fresh->root)
                           : keep_upstreams(w, &w->old[w->entries[i].old]);
        files[i].upstreams = from;
        files[i].upstreams_count = w->r.upstreams_count - from;
    }
    w->r.conf.upstreams_named = w->r.upstreams_count;
    if (rc == GW_OK && w->r.upstreams_count > GW_UPSTREAMS_MAX)
        rc = FULL(w, "there are too many upstreams");
    return rc;
}

/* Where upstream `old` of a route stands now that is not among those taken over by their name: it
 * was written anew, or made of a URL, or has gone. */
static enum gw_rc find_upstream(struct work *w, uint32_t old, struct gw_where where)
{
    const struct gw_conf *before = w->before;
    struct gw_conf_upstream row = GW_ITEMS(before, before->upstreams, struct gw_conf_upstream)[old];
    struct gw_str name = gw_ref_str(before, row.name);

    if (gw_names_get(&w->r.upstream_names, name, &w->upstreams_to[old]))
        return GW_OK;
    if (old < before->upstreams_named)
        return FULL(w, "an upstream has gone that a route asks for");
    row.where = where; /* the route that made it may be another one now */
    w->upstreams_to[old] = w->r.upstreams_count;
    (void)gw_upstream_add(&w->r, name, &row);
    return GW_OK;
}

/* Row r.route is what it was before; what it says of other rows changes with these. */
static enum gw_rc keep_route(struct work *w)
{
    struct gw_conf_route *route =
        (struct gw_conf_route *)gw_image_at(w->r.image, w->r.conf.routes.off) + w->r.route;
    struct gw_conf_details *details =
        (struct gw_conf_details *)gw_image_at(w->r.image, w->r.conf.details.off) + w->r.route;
    enum gw_rc rc = GW_OK;

    if (!gw_names_add(&w->r.routes, gw_ref_str(w->before, route->name), w->r.route, NULL))
        return FULL(w, "a name of a route is there twice");
    if (w->increment->moved) /* a page that is not written is not copied */
        details->where.file = w->increment->files_to[details->where.file];
    if (route->limits != w->limits) { /* fresh routes may share them */
        w->limits = route->limits;
        (void)gw_names_add(&w->r.route_limits, gw_str(gw_at(w->before, w->limits), GW_LIMITS_BYTES),
                           w->limits, NULL);
    }
    if (route->upstream == GW_NONE)
        return GW_OK;
    if (w->upstreams_to[route->upstream] == GW_NONE)
        rc = find_upstream(w, route->upstream, details->where);
    if (route->upstream != w->upstreams_to[route->upstream])
        route->upstream = w->upstreams_to[route->upstream];
    return rc;
}

static enum gw_rc keep_routes(struct work *w, const struct gw_conf_file *file)
{
    const struct gw_conf *before = w->before, *now = &w->r.conf;
    const struct gw_conf_route *routes = GW_ITEMS(before, before->routes, struct gw_conf_route);
    const struct gw_conf_details *details =
        GW_ITEMS(before, before->details, struct gw_conf_details);
    enum gw_rc rc = GW_OK;

    for (uint32_t i = file->routes; i < file->routes + file->routes_count && rc == GW_OK; i++) {
        uint32_t at = w->r.route;
        if (at != i || now->routes.off != before->routes.off) {
            ((struct gw_conf_route *)gw_image_at(w->r.image, now->routes.off))[at] = routes[i];
            ((struct gw_conf_details *)gw_image_at(w->r.image, now->details.off))[at] = details[i];
        }
        rc = keep_route(w);
        w->increment->routes_to[i] = w->r.route++;
    }
    return rc;
}

static enum gw_rc new_routes(struct work *w, struct gw_node *root,
                             const struct gw_route_reading *defaults)
{
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    struct gw_path path;
    struct gw_node *node = gw_node_get_c(root, "routes");

    if (node == NULL)
        return GW_OK;
    gw_enter(&w->r, &path, node, 0);
    GW_ITEMS_EACH(item, node)
    {
        gw_item_enter(&w->r, &step, node, item);
        w->increment->fresh[w->r.route] = true;
        gw_route_read(&w->r, item, defaults);
        gw_item_leave(&w->r, &step);
    }
    gw_leave(&w->r);
    if (!gw_report_ok(w->r.report))
        return FULL(w, "a route has faults");
    return w->r.source->bindings_count == 0 ? GW_OK : FULL(w, "a route binds plugins");
}

static uint32_t count_routes(const struct work *w)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < w->count; i++) {
        const struct fresh *fresh = changed(w, i);
        const struct gw_node *node = fresh != NULL ? gw_node_get_c(fresh->root, "routes") : NULL;
        count += fresh == NULL  ? w->old[w->entries[i].old].routes_count
                 : node != NULL ? gw_items_count(node)
                                : 0;
    }
    return count > GW_ROUTES_MAX ? GW_NONE : (uint32_t)count;
}

static void places_make(struct work *w, uint32_t count)
{
    struct gw_conf *conf = &w->r.conf;

    if (count > conf->routes_room) {
        conf->routes_room = count + count / ROOM_PART + ROOM_MIN;
        conf->routes.off =
            gw_image_alloc_lines(w->r.image, conf->routes_room * sizeof(struct gw_conf_route));
        conf->details.off =
            gw_image_alloc(w->r.image, conf->routes_room * sizeof(struct gw_conf_details));
    }
    conf->routes.len = conf->details.len = count;
}

static enum gw_rc write_routes(struct work *w, struct gw_conf_file *files)
{
    uint32_t count = count_routes(w);
    struct gw_route_reading defaults;
    enum gw_rc rc = GW_OK;

    if (count == GW_NONE)
        return FULL(w, "there are too many routes");
    places_make(w, count);
    gw_names_reserve(&w->r.routes, count);
    w->increment->fresh = gw_arena_zalloc(w->r.arena, count + 1);
    gw_route_defaults(&w->r, &defaults);
    w->r.route = 0;
    for (uint32_t i = 0; i < w->count && rc == GW_OK; i++) {
        const struct fresh *fresh = changed(w, i);

        files[i].routes = w->r.route;
        rc = fresh != NULL ? new_routes(w, fresh->root, &defaults)
                           : keep_routes(w, &w->old[w->entries[i].old]);
        files[i].routes_count = w->r.route - files[i].routes;
    }
    w->r.route = GW_NONE;
    return rc;
}

/* The rows of files in an array of ours: they go into the image when all is known. */
static struct gw_conf_file *make_files(struct work *w)
{
    const struct gw_conf *before = w->before;
    uint32_t code = before->files.len - before->conf_files;
    struct gw_conf_file *rows = gw_arena_alloc(w->r.arena, (w->count + code + 1) * sizeof(*rows));
    struct gw_increment *increment = w->increment;

    increment->files_to = gw_arena_alloc(w->r.arena, (before->files.len + 1) * 4);
    for (uint32_t i = 0; i < before->files.len; i++)
        increment->files_to[i] =
            i < before->conf_files ? GW_NONE : w->count + i - before->conf_files;
    for (uint32_t i = 0; i < w->count; i++) {
        struct entry entry = w->entries[i];
        const struct fresh *fresh = changed(w, i);

        if (fresh != NULL) {
            gw_file_row(w->r.image, &fresh->file, &rows[i]);
        } else {
            rows[i] = w->old[entry.old];
            if (entry.fresh != GW_NONE)
                rows[i].stamp = w->fresh[entry.fresh].file.stamp;
        }
        if (entry.old != GW_NONE)
            increment->files_to[entry.old] = i;
        increment->moved |= entry.old != i;
    }
    if (code > 0)
        memcpy(rows + w->count, w->old + before->conf_files, code * sizeof(*rows));
    return rows;
}

/* Only what differs is written: the rest need not be copied. */
static void rows_put(struct gw_image *image, struct gw_ref to, const void *rows, size_t item)
{
    char *at = gw_image_at(image, to.off);
    const char *row = rows;

    for (uint32_t i = 0; i < to.len; i++, at += item, row += item)
        if (memcmp(at, row, item) != 0)
            memcpy(at, row, item);
}

static void finish(struct work *w, const struct gw_conf_file *files)
{
    struct gw_image *image = w->r.image;
    struct gw_conf *conf = &w->r.conf;
    uint32_t code = w->before->files.len - w->before->conf_files;
    struct gw_conf_listener *listeners;
    struct gw_conf_include *includes;

    conf->files = array_place(image, conf->files, &conf->files_room, w->count + code,
                              sizeof(struct gw_conf_file));
    rows_put(image, conf->files, files, sizeof(*files));
    conf->upstreams = array_place(image, conf->upstreams, &conf->upstreams_room,
                                  w->r.upstreams_count, sizeof(struct gw_conf_upstream));
    rows_put(image, conf->upstreams, w->r.upstreams, sizeof(*w->r.upstreams));
    listeners = gw_image_at(image, conf->listeners.off);
    for (uint32_t i = 0; i < conf->listeners.len; i++)
        listeners[i].where.file = w->increment->files_to[listeners[i].where.file];
    includes = gw_image_at(image, conf->includes.off);
    for (uint32_t i = 0; i < conf->includes.len; i++)
        includes[i].file = w->increment->files_to[includes[i].file];
    conf->conf_files = w->count;
    conf->files_read = w->fresh_count;
    conf->read_why = (struct gw_ref){0, 0};
    conf->table = (struct gw_ref){0, 0};
    memcpy(gw_image_conf(image), conf, sizeof(*conf));
    gw_image_conf(image)->size = image->len;
}

static void names_known(struct work *w)
{
    const struct gw_conf *conf = w->before;
    const struct gw_conf_listener *rows = GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    for (uint32_t i = 0; i < conf->listeners.len; i++)
        (void)gw_names_add(&w->r.listeners, gw_ref_str(conf, rows[i].name), i, NULL);
}

static enum gw_rc write_all(struct work *w)
{
    const struct gw_conf *before = w->before;
    struct gw_conf_file *files;
    uint32_t routes = before->routes.len;
    struct gw_err err;
    enum gw_rc rc;

    rc = gw_image_copy(w->r.image, w->increment->before_fd, before, before->body, &err);
    if (rc != GW_OK)
        return FULL(w, "%s", err.text);
    w->r.conf = *gw_image_conf(w->r.image);
    names_known(w);
    files = make_files(w);
    w->increment->routes_to = gw_arena_alloc(w->r.arena, (routes + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < routes; i++)
        w->increment->routes_to[i] = GW_NONE;
    rc = write_upstreams(w, files);
    if (rc == GW_OK)
        rc = write_routes(w, files);
    for (uint32_t i = 0; i < routes; i++)
        w->increment->moved |= w->increment->routes_to[i] != i;
    if (rc == GW_OK)
        finish(w, files);
    return rc;
}

/* ---- all of it ---- */

/* What a look at all files must look at, too: it is read with them, or tested when they are. */
static enum gw_rc look_around(struct work *w)
{
    const struct gw_conf *conf = w->before;
    const struct gw_conf_route *routes = GW_ITEMS(conf, conf->routes, struct gw_conf_route);
    const struct gw_conf_key_file *keys = GW_ITEMS(conf, conf->key_files, struct gw_conf_key_file);
    struct gw_str root;
    struct stat st;

    if (conf->reads_more)
        return FULL(w, "certificates or other files may have changed");
    if (conf->files.len > conf->conf_files)
        return FULL(w, "plugins are bound, and their code may have changed");
    for (uint32_t i = 0; i < conf->key_files.len; i++)
        if (stat(gw_ref_str(conf, keys[i].path).data, &st) != 0 ||
            gw_key_file_stamp(&st) != keys[i].stamp)
            return FULL(w, "%.*s has changed", GW_STR_ARG(gw_ref_str(conf, keys[i].path)));
    for (uint32_t i = 0; i < conf->routes.len; i++) {
        if (routes[i].kind != GW_ROUTE_FILES)
            continue;
        root = gw_ref_str(conf, gw_conf_details(conf, &routes[i])->root);
        if (stat(root.data, &st) != 0 || !S_ISDIR(st.st_mode))
            return FULL(w, "%.*s is no folder any more", GW_STR_ARG(root));
    }
    return GW_OK;
}

static enum gw_rc run(struct work *w)
{
    const struct gw_conf *before = w->before;
    enum gw_rc rc;

    if (before->warned)
        return FULL(w, "there are warnings to tell again");
    if (before->body - before->body_full > GROWTH_FREE + before->body_full * GROWTH_PERCENT / 100)
        return FULL(w, "there is much garbage after other reloads of single files");
    if (w->increment->named_count > 0) {
        rc = list_named(w);
    } else {
        rc = look_around(w);
        if (rc == GW_OK)
            rc = list_all(w);
    }
    if (rc == GW_OK)
        rc = read_texts(w);
    if (rc == GW_OK)
        rc = parse_all(w);
    return rc == GW_OK ? write_all(w) : rc;
}

enum gw_rc gw_conf_increment(struct gw_increment *increment, const struct gw_conf_options *options,
                             struct gw_image *image, struct gw_conf_source *source,
                             struct gw_report *report, struct gw_err *err)
{
    const struct gw_conf *before = increment->before;
    struct work w = {.increment = increment,
                     .before = before,
                     .old = GW_ITEMS(before, before->files, struct gw_conf_file),
                     .err = err};
    enum gw_rc rc;

    w.files = (struct gw_files){.arena = &source->arena, .report = report};
    w.files.env = gw_conf_env(options, &source->arena, report);
    w.r = (struct gw_reader){.arena = &source->arena,
                             .image = image,
                             .report = report,
                             .source = source,
                             .options = options,
                             .files = &w.files,
                             .route = GW_NONE};
    /* Each file is listed once, and those that are new are no more than may be read. */
    w.entries = gw_arena_alloc(&source->arena,
                               (GW_FILES_MAX + before->conf_files + 1) * sizeof(struct entry));
    rc = run(&w);
    free(w.files.items);
    for (uint32_t i = 0; i < w.fresh_count; i++)
        gw_buf_fini(&w.fresh[i].text);
    gw_names_fini(&w.named);
    gw_names_fini(&w.old_names);
    gw_names_fini(&w.inodes);
    gw_names_fini(&w.r.listeners);
    gw_names_fini(&w.r.upstream_names);
    gw_names_fini(&w.r.routes);
    gw_names_fini(&w.r.route_limits);
    return rc;
}
