/* A load that reads only what has changed: the new image begins as a copy of the one before.
 * Lives in: the loader. Opens no socket, runs no Lua. Like conf/load.h, but for the files that
 * hold nothing but routes: and upstreams: (GW_FILE_PLAIN). What it takes over was typed when it
 * was read; what is new is typed by the same code; what reaches across files (names, listeners,
 * upstreams, the match table) is checked again.
 * It either finds just what gw_conf_load() would find in the same files, or gives up: faults,
 * warnings, and changes that reach further are left to a full load, which has the words for them.
 * Garbage: what is replaced stays in the image until a full load; see GROWTH in increment.c. */
#ifndef GW_CONF_INCREMENT_H
#define GW_CONF_INCREMENT_H

#include "conf/load.h"

struct gw_increment {
    const struct gw_conf *before; /* lent, until the image is sealed */
    int before_fd;                /* what it is mapped from */
    /* Absolute paths: these files are read, and no other is looked at. None: all are, and those
     * that have another stamp are read. */
    const struct gw_str *named;
    uint32_t named_count;

    /* Out; they live as long as the source. */
    uint32_t *routes_to; /* by index before: index now, or GW_NONE */
    uint32_t *files_to;  /* the same */
    bool moved;          /* one of them is not what it was */
    bool *fresh;         /* by index now: the route was read anew; its chain is not set */
};

/* GW_OK: the image is whole but for the table, and the chains of fresh routes.
 * GW_AGAIN: gw_conf_load() is needed; err says why, and image, source and report are to be made
 * anew. GW_NOT_FOUND: a named file is none of the conf; the report says so. */
GW_MUST_CHECK enum gw_rc gw_conf_increment(struct gw_increment *increment,
                                           const struct gw_conf_options *options,
                                           struct gw_image *image, struct gw_conf_source *source,
                                           struct gw_report *report, struct gw_err *err);

#endif
