#include "process/watch.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"

#define QUIET_MS 60
#define DEPTH_MAX 4
#define MASK (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

struct gw_watch {
    struct gw_loop *loop;
    struct gw_io io;
    struct gw_timer quiet;
    gw_watch_fn fn;
    void *arg;
    int fd;
    uint32_t folders;
    char name[NAME_MAX + 1];
};

/* What editors leave beside the file: no reason to load anything. */
static bool is_noise(const char *name)
{
    size_t len = strlen(name);
    const char *dot = strrchr(name, '.');

    return len == 0 || name[0] == '.' || name[len - 1] == '~' || strcmp(name, "4913") == 0 ||
           (dot != NULL && (strncmp(dot, ".sw", 3) == 0 || strcmp(dot, ".tmp") == 0 ||
                            strcmp(dot, ".lock") == 0 || strcmp(dot, ".sock") == 0));
}

static void on_quiet(struct gw_timer *timer)
{
    struct gw_watch *watch = GW_CONTAINER(timer, struct gw_watch, quiet);

    watch->fn(watch->arg, watch->name);
}

static void on_event(struct gw_io *io, unsigned what)
{
    struct gw_watch *watch = GW_CONTAINER(io, struct gw_watch, io);
    _Alignas(struct inotify_event) char events[8192];
    ssize_t got = read(watch->fd, events, sizeof(events));

    for (ssize_t at = 0; at < got;) {
        const struct inotify_event *event = (const struct inotify_event *)(void *)(events + at);
        at += (ssize_t)(sizeof(*event) + event->len);
        if (event->len == 0 || is_noise(event->name))
            continue;
        (void)snprintf(watch->name, sizeof(watch->name), "%s", event->name);
        gw_timer_set(watch->loop, &watch->quiet, gw_loop_now_ms(watch->loop) + QUIET_MS);
    }
}

static void add_below(struct gw_watch *watch, const char *path, int depth)
{
    struct dirent *entry;
    DIR *dir;

    if (watch->folders >= GW_WATCH_FOLDERS_MAX) {
        gw_warn("%s is not watched: %d folders are the most", path, GW_WATCH_FOLDERS_MAX);
        return;
    }
    if (inotify_add_watch(watch->fd, path, MASK) < 0)
        return;
    watch->folders++;
    dir = depth > 0 ? opendir(path) : NULL;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char below[PATH_MAX];
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        if (snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) < (int)sizeof(below))
            add_below(watch, below, depth - 1);
    }
    if (dir != NULL)
        (void)closedir(dir);
}

void gw_watch_add(struct gw_watch *watch, struct gw_str folder, bool deep)
{
    char path[PATH_MAX];

    if (folder.len == 0 || folder.len >= sizeof(path))
        return;
    memcpy(path, folder.data, folder.len);
    path[folder.len] = '\0';
    add_below(watch, path, deep ? DEPTH_MAX : 0);
}

enum gw_rc gw_watch_new(struct gw_loop *loop, gw_watch_fn fn, void *arg, struct gw_watch **out,
                        struct gw_err *err)
{
    struct gw_watch *watch = calloc(1, sizeof(*watch));

    if (watch == NULL)
        abort();
    watch->loop = loop;
    watch->fn = fn;
    watch->arg = arg;
    gw_timer_init(&watch->quiet, on_quiet);
    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch->fd < 0 || gw_io_open_level(&watch->io, loop, watch->fd, on_event) != GW_OK) {
        (void)gw_err_set(err, GW_SYSTEM, "files cannot be watched: %s", strerror(errno));
        if (watch->fd >= 0)
            (void)close(watch->fd);
        free(watch);
        return GW_SYSTEM;
    }
    *out = watch;
    return GW_OK;
}

void gw_watch_free(struct gw_watch *watch)
{
    if (watch == NULL)
        return;
    gw_timer_fini(watch->loop, &watch->quiet);
    gw_io_close(&watch->io);
    (void)close(watch->fd);
    free(watch);
}
