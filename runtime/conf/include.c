#include "conf/include.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "conf/names.h"
#include "conf/rows.h"
#include "conf/yaml.h"

#define FILE_SEED 0x66696c65ULL
#define INCLUDE_DEPTH_MAX 16
#define YOUNG_NS 2000000000LL /* times of some file systems are no finer */

struct merge {
    struct gw_files *files;
    struct gw_node *root;
    struct gw_names keys[64];        /* by row of the root table: the keys of merged maps */
    struct gw_names inodes;          /* of the files that were read: device and inode to index */
    struct gw_str dir, dir_absolute; /* of the file before: files of one folder come together */
    bool unfit;                      /* a file could not be read to its end */
};

/* What is being included, from where. */
struct request {
    const char *name; /* as in messages; opened by it */
    uint32_t parent;  /* GW_NONE: the main file */
    uint32_t depth;
    struct gw_where where; /* of the item of include: */
    struct gw_str path;    /* of that item, for faults */
    bool found;            /* by a glob: what is read already is skipped in silence */
};

static void read_file(struct merge *m, const struct request *request, struct gw_str given);

/* ---- names ---- */

static struct gw_str dir_of(struct gw_str name)
{
    const char *slash = memrchr(name.data, '/', name.len);

    if (slash == NULL)
        return GW_STR(".");
    return slash == name.data ? GW_STR("/") : gw_str(name.data, (size_t)(slash - name.data));
}

static struct gw_str base_of(struct gw_str name)
{
    const char *slash = memrchr(name.data, '/', name.len);

    return slash == NULL ? name : gw_str(slash + 1, name.len - (size_t)(slash - name.data) - 1);
}

/* The folder is made absolute, the file itself is not: where it is a link into another
 * folder (as Kubernetes makes them), its neighbours are still those beside the link. */
void gw_file_place(struct gw_arena *arena, struct gw_file *file)
{
    struct gw_str base = base_of(file->name);

    if (file->dir.data == NULL) {
        struct gw_str dir = gw_arena_dup(arena, dir_of(file->name));
        char *absolute = realpath(dir.data, NULL);
        file->dir = absolute == NULL ? dir : gw_arena_dup(arena, gw_str_c(absolute));
        free(absolute);
    }
    file->path = gw_arena_printf(arena, "%.*s%s%.*s", GW_STR_ARG(file->dir),
                                 file->dir.len == 1 ? "" : "/", GW_STR_ARG(base));
}

static void place(struct merge *m, struct gw_file *file)
{
    struct gw_str dir = dir_of(file->name);

    if (m->dir.data != NULL && gw_str_eq(dir, m->dir))
        file->dir = m->dir_absolute;
    gw_file_place(m->files->arena, file);
    m->dir = dir;
    m->dir_absolute = file->dir;
}

/* ---- reading ---- */

static void fault(struct merge *m, const struct request *request, const char *name, const char *why)
{
    m->unfit = true;
    if (request->parent == GW_NONE)
        gw_report_fault(m->files->report, (struct gw_where){0, 0, 0}, GW_STR(""), "%s", why);
    else
        gw_report_fault(m->files->report, request->where, request->path, "%s: %s", name, why);
}

const char *gw_file_slurp(int fd, size_t size, struct gw_buf *out)
{
    for (;;) {
        char *to = gw_buf_reserve(out, size > 0 ? size + 1 : 4096);
        ssize_t got = read(fd, to, size > 0 ? size + 1 : 4096);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return strerror(errno);
        if (got == 0)
            return NULL;
        gw_buf_added(out, (size_t)got);
        if (gw_buf_len(out) > GW_YAML_FILE_BYTES_MAX)
            return "the file is too large";
        size = 0; /* a file that grows meanwhile is read on in small steps */
    }
}

/* A file that was changed just now may be changed once more within the same tick of its clock. */
static bool is_young(const struct timespec *time)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (now.tv_sec - time->tv_sec) * 1000000000LL + (now.tv_nsec - time->tv_nsec) < YOUNG_NS;
}

static void stamp(struct gw_file *file, const struct stat *st)
{
    const uint64_t parts[] = {st->st_dev,
                              st->st_ino,
                              (uint64_t)st->st_size,
                              (uint64_t)st->st_mtim.tv_sec,
                              (uint64_t)st->st_mtim.tv_nsec,
                              (uint64_t)st->st_ctim.tv_sec,
                              (uint64_t)st->st_ctim.tv_nsec};

    file->dev = st->st_dev;
    file->ino = st->st_ino;
    file->bytes = st->st_size > UINT32_MAX ? UINT32_MAX : (uint32_t)st->st_size;
    file->stamp = gw_hash(parts, sizeof(parts), FILE_SEED) | 1;
    /* The clock of a file server may be ahead of ours: then it is young, too. */
    if (is_young(&st->st_mtim) || is_young(&st->st_ctim))
        file->stamp = 0;
}

const char *gw_file_open(const char *name, struct gw_file *file, int *fd)
{
    struct stat st;

    /* Not to wait for the writer of a pipe that somebody has put there. */
    *fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (*fd < 0)
        return strerror(errno);
    if (fstat(*fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? "is a folder" : "is no regular file";
    stamp(file, &st);
    return file->bytes > GW_YAML_FILE_BYTES_MAX ? "the file is too large" : NULL;
}

bool gw_file_stat(const char *name, struct gw_file *file)
{
    struct stat st;

    if (stat(name, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    stamp(file, &st);
    return true;
}

static bool is_ancestor(const struct gw_files *files, uint32_t file, uint32_t from)
{
    for (; from != GW_NONE; from = files->items[from].parent)
        if (from == file)
            return true;
    return false;
}

/* Was it read before? Then there is nothing to do, or, when it includes itself by name, a fault. */
static bool known(struct merge *m, const struct request *request, const struct gw_file *file)
{
    const uint64_t inode[2] = {file->dev, file->ino};
    struct gw_str key;
    uint32_t there;

    if (file->ino == 0) /* its text was given */
        return false;
    key = gw_arena_dup(m->files->arena, gw_str((const char *)inode, sizeof(inode)));
    if (gw_names_add(&m->inodes, key, m->files->count, &there))
        return false;
    if (!request->found && is_ancestor(m->files, there, request->parent))
        fault(m, request, request->name, "includes itself");
    return true;
}

static uint32_t register_file(struct gw_files *files, struct gw_file *file)
{
    if (files->count == files->size) {
        uint32_t size = files->size == 0 ? 16 : files->size * 2;
        struct gw_file *larger = gw_arena_alloc(files->arena, size * sizeof(*larger));

        if (files->count > 0)
            memcpy(larger, files->items, files->count * sizeof(*larger));
        files->items = larger;
        files->size = size;
    }
    files->items[files->count] = *file;
    files->count++;
    return gw_report_file(files->report, file->name);
}

/* ---- merging ---- */

static const struct gw_row *root_row(struct gw_str key, uint32_t *index)
{
    for (uint32_t i = 0; i < gw_section_root.count; i++) {
        if (!gw_str_eq(key, gw_str_c(gw_section_root.rows[i].key)))
            continue;
        *index = i;
        return &gw_section_root.rows[i];
    }
    return NULL;
}

static void fault_twice(struct merge *m, const struct gw_node *node, const struct gw_node *first,
                        struct gw_str path)
{
    struct gw_where where = gw_node_key_where(first);

    gw_report_fault(m->files->report, gw_node_key_where(node), path, "is also given in %.*s:%u:%u",
                    GW_STR_ARG(m->files->report->files[where.file]), where.line, where.column);
    gw_report_hint(m->files->report, "keep one of them");
}

static void append(struct gw_node *parent, struct gw_node *child)
{
    child->next = NULL;
    if (parent->members.last == NULL)
        parent->members.first = child;
    else
        parent->members.last->next = child;
    parent->members.last = child;
    parent->count++;
}

/* A single item becomes a list of one, so that others can be appended. */
static struct gw_node *as_list(struct gw_files *files, struct gw_node *node)
{
    struct gw_node *list;

    if (node->kind == GW_NODE_LIST)
        return node;
    list = gw_node_new_list(files->arena);
    list->where = node->where;
    if (!gw_node_is_null(node)) {
        struct gw_node *item = gw_arena_alloc(files->arena, sizeof(*item));
        *item = *node;
        item->key = GW_STR_NULL;
        append(list, item);
    }
    return list;
}

static void merge_maps(struct merge *m, uint32_t row, struct gw_node *into, struct gw_node *from)
{
    struct gw_names *keys = &m->keys[row];
    struct gw_node *n, *next;

    if (keys->count == 0)
        for (n = into->members.first; n != NULL; n = n->next)
            (void)gw_names_add(keys, n->key, 0, NULL);
    for (n = from->members.first; n != NULL; n = next) {
        next = n->next;
        if (!gw_names_add(keys, n->key, 0, NULL)) {
            struct gw_path outer = {NULL, from->key, 0}, inner = {&outer, n->key, 0};

            fault_twice(m, n, gw_node_get(into, n->key), gw_path_text(&inner, m->files->arena));
            continue;
        }
        append(into, n);
    }
}

/* `from` stands in a later file than `into`, which is in the root. */
static void merge_key(struct merge *m, struct gw_node *into, struct gw_node *from)
{
    uint32_t index = 0;
    const struct gw_row *row = root_row(into->key, &index);

    if (row != NULL && row->type->list) {
        struct gw_node *list = as_list(m->files, into), *more = as_list(m->files, from);
        struct gw_node *n, *next;

        if (list != into) {
            /* In its place: the siblings and the key stay. */
            into->kind = GW_NODE_LIST;
            into->members = list->members;
            into->count = list->count;
        }
        for (n = more->members.first; n != NULL; n = next) {
            next = n->next;
            append(into, n);
        }
        return;
    }
    if (row != NULL && into->kind == GW_NODE_MAP && from->kind == GW_NODE_MAP) {
        merge_maps(m, index, into, from);
    } else if (row != NULL && gw_node_is_null(into) && from->kind == GW_NODE_MAP) {
        into->kind = GW_NODE_MAP;
        into->members = from->members;
        into->count = from->count;
    } else if (!(row != NULL && gw_node_is_null(from) && into->kind == GW_NODE_MAP)) {
        fault_twice(m, from, into, from->key);
    }
}

static void merge_root(struct merge *m, struct gw_node *from)
{
    struct gw_node *n, *next;

    if (m->root == NULL) {
        m->root = from;
        return;
    }
    for (n = from->members.first; n != NULL; n = next) {
        struct gw_node *into = gw_node_get(m->root, n->key);

        next = n->next;
        if (into == NULL)
            append(m->root, n);
        else
            merge_key(m, into, n);
    }
}

/* ---- include: ---- */

static bool has_wildcard(struct gw_str pattern)
{
    for (size_t i = 0; i < pattern.len; i++)
        if (strchr("*?[", pattern.data[i]) != NULL && pattern.data[i] != '\0')
            return true;
    return false;
}

/* The folder of the including file is no pattern, whatever characters it has. */
static char *full_pattern(struct gw_files *files, struct gw_str dir, struct gw_str item,
                          bool glob_it)
{
    struct gw_buf buf = GW_BUF_INIT;
    struct gw_str text;

    if (item.len > 0 && item.data[0] != '/' && !gw_str_eq(dir, GW_STR("."))) {
        for (size_t i = 0; i < dir.len; i++) {
            if (glob_it && strchr("*?[\\", dir.data[i]) != NULL)
                gw_buf_add(&buf, "\\", 1);
            gw_buf_add(&buf, &dir.data[i], 1);
        }
        if (dir.len > 1 || dir.data[0] != '/')
            gw_buf_add(&buf, "/", 1);
    }
    gw_buf_add_str(&buf, item);
    text = gw_arena_dup(files->arena, gw_buf_str(&buf));
    gw_buf_fini(&buf);
    return (char *)(uintptr_t)text.data;
}

static void note_include(struct gw_files *files, uint32_t file, const char *pattern, bool wildcard)
{
    if (files->includes_count == files->includes_size) {
        uint32_t size = files->includes_size == 0 ? 16 : files->includes_size * 2;
        struct gw_include *larger = gw_arena_alloc(files->arena, size * sizeof(*larger));

        if (files->includes_count > 0)
            memcpy(larger, files->includes, files->includes_count * sizeof(*larger));
        files->includes = larger;
        files->includes_size = size;
    }
    files->includes[files->includes_count++] =
        (struct gw_include){gw_str_c(pattern), file, wildcard};
}

static void include_glob(struct merge *m, struct request *request, const char *pattern)
{
    glob_t found;
    int rc = glob(pattern, 0, NULL, &found);

    if (rc == GLOB_NOMATCH)
        return; /* a folder of routes before there is a route in it */
    if (rc != 0) {
        fault(m, request, pattern, rc == GLOB_NOSPACE ? "out of memory" : "cannot be listed");
        return;
    }
    request->found = true;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        request->name = found.gl_pathv[i];
        read_file(m, request, GW_STR_NULL);
    }
    globfree(&found);
}

static void include_all(struct merge *m, uint32_t file, const struct gw_node *list, uint32_t depth)
{
    struct gw_str dir = gw_arena_dup(m->files->arena, dir_of(m->files->items[file].name));
    struct gw_node *node = (struct gw_node *)(uintptr_t)list;
    uint32_t index = 0;

    GW_ITEMS_EACH(item, node)
    {
        struct gw_path outer = {NULL, GW_STR("include"), 0};
        struct gw_path inner = {&outer, GW_STR_NULL, index++};
        struct request request = {
            .parent = file,
            .depth = depth + 1,
            .where = item->where,
            .path = gw_path_text(item == node ? &outer : &inner, m->files->arena),
        };

        if (item->kind != GW_NODE_SCALAR || item->text.len == 0 || gw_node_is_null(item)) {
            m->unfit = true;
            gw_report_fault(m->files->report, item->where, request.path, "must be a path, not %s",
                            gw_node_what(item));
        } else {
            bool wildcard = has_wildcard(item->text);
            request.name = full_pattern(m->files, dir, item->text, wildcard);
            note_include(m->files, file, request.name, wildcard);
            if (wildcard)
                include_glob(m, &request, request.name);
            else
                read_file(m, &request, GW_STR_NULL);
        }
    }
}

/* ---- one file ---- */

uint64_t gw_file_hash(struct gw_str text)
{
    return gw_hash(text.data, text.len, FILE_SEED);
}

enum gw_rc gw_file_parse(struct gw_files *files, uint32_t index, struct gw_str text,
                         struct gw_node **root)
{
    struct gw_file *file = &files->items[index];
    bool plain = true;

    file->hash = gw_file_hash(text);
    if (gw_yaml_parse(files->arena, index, text, files->report, root) != GW_OK)
        return GW_INVALID;
    if (*root != NULL && (*root)->kind != GW_NODE_MAP) {
        gw_report_fault(files->report, (*root)->where, GW_STR(""),
                        "the file must hold a map of keys, not %s", gw_node_what(*root));
        return GW_INVALID;
    }
    if (*root != NULL && memchr(text.data, '$', text.len) != NULL)
        gw_env_expand(&files->env, *root);
    for (const struct gw_node *n = gw_node_first(*root); n != NULL; n = n->next)
        plain &= gw_str_eq(n->key, GW_STR("routes")) || gw_str_eq(n->key, GW_STR("upstreams"));
    file->plain = plain;
    return GW_OK;
}

static void take_text(struct merge *m, uint32_t index, uint32_t depth, struct gw_str text)
{
    const struct gw_node *include;
    struct gw_node *root;

    if (gw_file_parse(m->files, index, text, &root) != GW_OK) {
        m->unfit = true;
        return;
    }
    if (root == NULL)
        return;
    include = gw_node_get(root, GW_STR("include"));
    if (include != NULL) {
        /* Merging may append to the list: the items that are of this file are kept aside. */
        struct gw_node own = *include;
        own.next = NULL;
        if (own.kind == GW_NODE_SCALAR && gw_node_is_null(&own))
            include = NULL;
        merge_root(m, root);
        if (include != NULL)
            include_all(m, index, gw_node_copy(m->files->arena, &own), depth);
        return;
    }
    merge_root(m, root);
}

static void read_file(struct merge *m, const struct request *request, struct gw_str given)
{
    struct gw_files *files = m->files;
    struct gw_file file = {.name = gw_arena_dup(files->arena, gw_str_c(request->name)),
                           .parent = request->parent,
                           .found = request->found};
    struct gw_buf buf = GW_BUF_INIT;
    const char *why = NULL;
    uint32_t index;
    int fd = -1;

    if (given.data == NULL)
        why = gw_file_open(request->name, &file, &fd);
    if (why == NULL && known(m, request, &file))
        goto done;
    if (why == NULL && (files->count == GW_FILES_MAX || request->depth > INCLUDE_DEPTH_MAX))
        why = request->depth > INCLUDE_DEPTH_MAX ? "included too deep" : "more than 100001 files";
    if (why != NULL && request->parent != GW_NONE) {
        fault(m, request, request->name, why);
        goto done;
    }
    place(m, &file);
    index = register_file(files, &file);
    if (why == NULL && given.data == NULL) {
        why = gw_file_slurp(fd, file.bytes, &buf);
        given = gw_buf_len(&buf) == 0 ? GW_STR("") : gw_buf_str(&buf);
        files->bytes += given.len;
        files->items[index].bytes = (uint32_t)given.len;
        if (why == NULL && files->bytes > GW_FILES_BYTES_MAX)
            why = "all files together are too large";
    }
    if (why != NULL)
        fault(m, request, request->name, why);
    else
        take_text(m, index, request->depth, given);
done:
    gw_buf_fini(&buf);
    if (fd >= 0)
        (void)close(fd);
}

enum gw_rc gw_files_read(struct gw_files *files, const char *path, struct gw_str text,
                         struct gw_node **root)
{
    struct merge m = {.files = files};
    struct request request = {.name = path, .parent = GW_NONE};

    read_file(&m, &request, text);
    for (size_t i = 0; i < sizeof(m.keys) / sizeof(m.keys[0]); i++)
        gw_names_fini(&m.keys[i]);
    gw_names_fini(&m.inodes);
    if (m.root == NULL) {
        m.root = gw_node_new_map(files->arena);
        m.root->where = (struct gw_where){0, 1, 1};
    }
    *root = m.root;
    return m.unfit ? GW_INVALID : GW_OK;
}
