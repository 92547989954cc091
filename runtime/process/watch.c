#include "process/watch.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"

#define QUIET_MS 15
#define DEPTH_MAX 4
#define MASK (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

struct gw_watch {
    struct gw_loop *loop;
    struct gw_io io;
    struct gw_timer quiet;
    gw_watch_fn fn;
    void *arg;
    int fd;
    struct folder {
        int wd; /* watch descriptor of the kernel */
        char *path;
    } * folders;
    uint32_t folders_count;
    struct gw_str files[GW_WATCH_FILES_MAX]; /* since it was quiet */
    uint32_t files_count;
    bool lost;
    bool told;
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

static void files_clear(struct gw_watch *watch)
{
    for (uint32_t i = 0; i < watch->files_count; i++)
        free((char *)(uintptr_t)watch->files[i].data);
    watch->files_count = 0;
    watch->lost = watch->told = false;
}

static void on_quiet(struct gw_timer *timer)
{
    struct gw_watch *watch = GW_CONTAINER(timer, struct gw_watch, quiet);

    watch->told = true; /* what comes now is of the next burst */
    watch->fn(watch->arg, watch->files, watch->lost ? 0 : watch->files_count);
}

static const char *folder_of(const struct gw_watch *watch, int wd)
{
    for (uint32_t i = 0; i < watch->folders_count; i++)
        if (watch->folders[i].wd == wd)
            return watch->folders[i].path;
    return NULL;
}

static void note(struct gw_watch *watch, int wd, const char *name)
{
    const char *folder = folder_of(watch, wd);
    char path[PATH_MAX];
    struct gw_str text;

    if (folder == NULL || watch->files_count == GW_WATCH_FILES_MAX ||
        snprintf(path, sizeof(path), "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name) >=
            (int)sizeof(path)) {
        watch->lost = true;
        return;
    }
    text = gw_str_c(path);
    for (uint32_t i = 0; i < watch->files_count; i++)
        if (gw_str_eq(watch->files[i], text))
            return;
    text.data = strdup(path);
    if (text.data == NULL)
        abort();
    watch->files[watch->files_count++] = text;
}

static void on_event(struct gw_io *io, unsigned what)
{
    struct gw_watch *watch = GW_CONTAINER(io, struct gw_watch, io);
    _Alignas(struct inotify_event) char events[8192];
    ssize_t got = read(watch->fd, events, sizeof(events));

    for (ssize_t at = 0; at < got;) {
        const struct inotify_event *event = (const struct inotify_event *)(void *)(events + at);
        at += (ssize_t)(sizeof(*event) + event->len);
        bool overflow = (event->mask & IN_Q_OVERFLOW) != 0;
        if (!overflow && (event->len == 0 || is_noise(event->name)))
            continue;
        if (watch->told)
            files_clear(watch);
        if (overflow)
            watch->lost = true;
        else
            note(watch, event->wd, event->name);
        gw_timer_set(watch->loop, &watch->quiet, gw_loop_now_ms(watch->loop) + QUIET_MS);
    }
}

static void folder_add(struct gw_watch *watch, int wd, const char *path)
{
    struct folder *larger =
        realloc(watch->folders, (watch->folders_count + 1) * sizeof(*watch->folders));

    if (larger == NULL)
        abort();
    watch->folders = larger;
    larger[watch->folders_count] = (struct folder){wd, strdup(path)};
    if (larger[watch->folders_count].path == NULL)
        abort();
    watch->folders_count++;
}

static void add_below(struct gw_watch *watch, const char *path, int depth)
{
    struct dirent *entry;
    DIR *dir;
    int wd;

    if (watch->folders_count >= GW_WATCH_FOLDERS_MAX) {
        gw_warn("%s is not watched: %d folders are the most", path, GW_WATCH_FOLDERS_MAX);
        return;
    }
    wd = inotify_add_watch(watch->fd, path, MASK);
    if (wd < 0)
        return;
    if (folder_of(watch, wd) == NULL)
        folder_add(watch, wd, path);
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
    files_clear(watch);
    for (uint32_t i = 0; i < watch->folders_count; i++)
        free(watch->folders[i].path);
    free(watch->folders);
    free(watch);
}
