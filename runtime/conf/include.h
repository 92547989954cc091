/* Reads the main conf file and all that it includes into one tree.
 * Lives in: the loader. Owner of trees and names: the arena.
 * Lists of several files are appended, maps merged one level deep; a key that stands in two
 * files and is neither is a fault that names both places. A file is read once.
 * Limits: FILES_MAX, INCLUDE_DEPTH_MAX, ALL_BYTES_MAX (include.c). */
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
    uint32_t parent; /* who includes it; GW_NONE */
};

struct gw_files {
    struct gw_arena *arena;
    struct gw_report *report;
    struct gw_env env;
    struct gw_file *items; /* same indexes as in the report */
    uint32_t count;
    uint32_t size;
    size_t bytes;
};

static inline struct gw_str gw_files_dir(const struct gw_files *files, uint32_t file)
{
    return files->items[file < files->count ? file : 0].dir;
}

/* *root is a map, perhaps an empty one. GW_INVALID: something could not be read, and what
 * is there is not fit to be checked further. `text` data NULL: read from `path`. */
GW_MUST_CHECK enum gw_rc gw_files_read(struct gw_files *files, const char *path, struct gw_str text,
                                       struct gw_node **root);

#endif
