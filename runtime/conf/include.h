/* Reads the main conf file and all that it includes into one tree.
 * Lives in: the loader. Owner of trees and names: the arena.
 * Lists of several files are appended, maps merged one level deep; a key that stands in two
 * files and is neither is a fault that names both places. A file is read once.
 * Limits: GW_FILES_MAX, GW_FILES_BYTES_MAX, INCLUDE_DEPTH_MAX (include.c). */
#ifndef GW_CONF_INCLUDE_H
#define GW_CONF_INCLUDE_H

#include <sys/types.h>

#include "conf/env.h"
#include "conf/report.h"
#include "conf/tree.h"

struct gw_file {
    struct gw_str name; /* as in messages */
    struct gw_str path; /* absolute */
    struct gw_str dir;  /* absolute; relative paths in the file begin here */
    uint64_t hash;      /* of its bytes */
    dev_t dev;
    ino_t ino;
    uint64_t stamp; /* see struct gw_conf_file */
    uint32_t bytes;
    uint32_t parent; /* who includes it; GW_NONE */
    bool found;      /* by a pattern */
    bool plain;      /* holds routes: and upstreams: only */
};

struct gw_include {
    struct gw_str pattern;
    uint32_t file;
    bool wildcard;
};

struct gw_files {
    struct gw_arena *arena;
    struct gw_report *report;
    struct gw_env env;
    struct gw_file *items; /* same indexes as in the report */
    uint32_t count;
    uint32_t size;
    size_t bytes;
    struct gw_include *includes;
    uint32_t includes_count;
    uint32_t includes_size;
};

#define GW_FILES_MAX 100001
#define GW_FILES_BYTES_MAX ((size_t)64 << 20)

static inline struct gw_str gw_files_dir(const struct gw_files *files, uint32_t file)
{
    return files->items[file < files->count ? file : 0].dir;
}

/* *root is a map, perhaps an empty one. GW_INVALID: something could not be read, and what
 * is there is not fit to be checked further. `text` data NULL: read from `path`. */
GW_MUST_CHECK enum gw_rc gw_files_read(struct gw_files *files, const char *path, struct gw_str text,
                                       struct gw_node **root);

/* What a file is when it is opened: how long, and a stamp that changes with it. NULL, or why it
 * cannot be read; *fd is the caller's in both cases (or -1). */
const char *gw_file_open(const char *name, struct gw_file *file, int *fd);
/* The stamp alone. False: there is no such file. */
bool gw_file_stat(const char *name, struct gw_file *file);
/* All of an open file behind what `out` holds. NULL, or why not. */
const char *gw_file_slurp(int fd, size_t size, struct gw_buf *out);

/* The text of one file into a tree; *root NULL: it is empty. GW_INVALID: the report says why. */
GW_MUST_CHECK enum gw_rc gw_file_parse(struct gw_files *files, uint32_t index, struct gw_str text,
                                       struct gw_node **root);
uint64_t gw_file_hash(struct gw_str text);
/* Sets file->dir (unless it is known) and ->path by its name. */
void gw_file_place(struct gw_arena *arena, struct gw_file *file);

#endif
