/* Tells when a file of the conf, a plugin or a module was changed: for `moongate dev`.
 * Lives in: the master's loop. Folders are watched, not files, since editors save by renaming.
 * A burst of changes is told once, when it has been quiet for 15 ms. */
#ifndef GW_PROCESS_WATCH_H
#define GW_PROCESS_WATCH_H

#include "base/err.h"
#include "base/str.h"
#include "net/loop.h"

#define GW_WATCH_FOLDERS_MAX 512
#define GW_WATCH_FILES_MAX 64

struct gw_watch;

/* `paths`: the files that were changed, each once. 0: there were more than GW_WATCH_FILES_MAX, or
 * the kernel lost some. */
typedef void (*gw_watch_fn)(void *arg, const struct gw_str *paths, uint32_t count);

GW_MUST_CHECK enum gw_rc gw_watch_new(struct gw_loop *loop, gw_watch_fn fn, void *arg,
                                      struct gw_watch **out, struct gw_err *err);
void gw_watch_free(struct gw_watch *watch); /* NULL is fine */

/* Once for each folder, however often it is asked; with `deep`, what is below it, too. A folder
 * that is not there is no fault. */
void gw_watch_add(struct gw_watch *watch, struct gw_str folder, bool deep);

#endif
