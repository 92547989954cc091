#include "process/master_private.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "process/notify.h"
#include "process/privilege.h"
#include "process/watch.h"

/* ---- small things ---- */

enum gw_rc gw_master_log_open(struct gw_master *master, const struct gw_conf *conf,
                              struct gw_err *err)
{
    char path[PATH_MAX];
    struct gw_message *message = &master->message;
    enum gw_rc rc;

    (void)snprintf(path, sizeof(path), "%.*s", GW_STR_ARG(gw_ref_str(conf, conf->log_file)));
    rc = gw_log_open(path, (enum gw_log_level)conf->log_level, err);
    if (rc != GW_OK)
        return rc;
    /* Workers may have lost the right to open it: they get the descriptor. */
    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        message->type = GW_MESSAGE_LOG;
        message->number = 0;
        message->value = 0;
        message->text_len = 0;
        message->fd_count = 1;
        message->fds[0] = gw_log_fd();
        gw_child_send(child, message);
    }
    return GW_OK;
}

void gw_master_listening(struct gw_master *master, struct gw_buf *out)
{
    const struct gw_conf *conf = master->conf;
    const struct gw_conf_listener *listeners =
        GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    for (uint32_t i = 0; i < conf->listeners.len; i++) {
        struct gw_socket_set *set = gw_sockets_find(&master->sockets, conf, &listeners[i]);
        char text[160] = "nowhere";
        if (set != NULL)
            gw_socket_text(&set->bound, text, sizeof(text));
        gw_buf_printf(out, "%s%s (%.*s)", i > 0 ? ", " : "", text,
                      GW_STR_ARG(gw_ref_str(conf, listeners[i].name)));
    }
}

/* ---- ending ---- */

void gw_master_children_gone(struct gw_master *master)
{
    gw_loop_stop(master->loop);
}

void gw_master_stop(struct gw_master *master, bool at_once)
{
    uint64_t wait_ms = at_once || master->conf == NULL ? 0 : master->conf->shutdown_timeout_ms;

    if (!master->stopping) {
        if (master->ready)
            gw_info(at_once ? "stopping at once" : "stopping: connections may take %llu ms",
                    (unsigned long long)wait_ms);
        gw_notify_stopping();
        gw_reload_cancel(master);
        master->stopping = true;
        gw_sockets_fini(&master->sockets);
    } else if (!at_once) {
        return;
    }
    gw_children_drain(master, wait_ms);
    if (gw_list_empty(&master->children))
        gw_master_children_gone(master);
}

void gw_master_fail_start(struct gw_master *master, const char *why)
{
    if (master->stopping)
        return;
    gw_error("the gateway cannot start: %s", why);
    master->exit_code = 1;
    gw_master_stop(master, true);
}

static void on_signal(void *arg, int signo)
{
    struct gw_master *master = arg;
    struct gw_err err;

    switch (signo) {
    case SIGCHLD:
        gw_children_reap(master);
        break;
    case SIGHUP:
        if (!master->ready)
            master->hup = true; /* what was read so far may be older than the signal */
        else if (!master->stopping)
            gw_reload_start(master, 0, NULL);
        break;
    case SIGUSR1:
        if (master->conf == NULL)
            break;
        if (gw_master_log_open(master, master->conf, &err) == GW_OK)
            gw_info("the log is opened again");
        else
            gw_error("%s", err.text);
        break;
    default: /* SIGTERM, SIGINT, SIGQUIT; the second one will not wait */
        gw_master_stop(master, master->stopping);
    }
}

/* ---- the control socket ---- */

static void ask_status(struct gw_master *master, uint64_t client, const struct gw_json *request)
{
    gw_status_ask(master, client);
}

/* {"command":"reload","files":["/etc/moongate/routes/a.yaml"]}; without "files": all */
static void ask_reload(struct gw_master *master, uint64_t client, const struct gw_json *request)
{
    const struct gw_json *names = gw_json_get(request, "files");
    struct gw_str items[GW_RELOAD_FILES_MAX];
    struct gw_reload_files files = {.items = items, .strict = true};

    if (!master->ready || master->stopping) {
        gw_control_refuse(master->control, client,
                          master->stopping ? "the gateway stops" : "the gateway is starting");
        return;
    }
    files.all = gw_json_len(names) > GW_RELOAD_FILES_MAX;
    for (size_t i = 0; i < gw_json_len(names) && !files.all; i++) {
        items[i] = gw_json_get_str(gw_json_at(names, i), GW_STR(""));
        if (items[i].len == 0 || items[i].data[0] != '/') {
            gw_control_refuse(master->control, client, "\"files\": absolute paths are expected");
            return;
        }
        files.count++;
    }
    gw_reload_start(master, client, files.count > 0 ? &files : NULL);
}

static void ask_stop(struct gw_master *master, uint64_t client, const struct gw_json *request)
{
    bool at_once = gw_json_get_bool(gw_json_get(request, "now"), false);

    gw_control_answer(master->control, client, GW_STR("{\"ok\":true}"));
    gw_master_stop(master, at_once);
}

static void ask_reopen(struct gw_master *master, uint64_t client, const struct gw_json *request)
{
    struct gw_err err;

    if (gw_master_log_open(master, master->conf, &err) == GW_OK)
        gw_control_answer(master->control, client, GW_STR("{\"ok\":true}"));
    else
        gw_control_refuse(master->control, client, err.text);
}

static void ask_advance(struct gw_master *master, uint64_t client, const struct gw_json *request)
{
    int64_t ms = gw_json_get_int(gw_json_get(request, "ms"), -1);

    if (ms < 0)
        gw_control_refuse(master->control, client, "\"ms\": a number of milliseconds is expected");
    else
        gw_advance_ask(master, client, (uint64_t)ms);
}

static const struct {
    const char *name;
    void (*fn)(struct gw_master *master, uint64_t client, const struct gw_json *request);
} commands[] = {
    {"status", ask_status}, {"reload", ask_reload},   {"stop", ask_stop},
    {"reopen", ask_reopen}, {"advance", ask_advance},
};

static void on_command(void *arg, uint64_t client, struct gw_str command,
                       const struct gw_json *request)
{
    struct gw_master *master = arg;
    struct gw_str conf = gw_json_get_str(gw_json_get(request, "conf"), GW_STR_NULL);
    struct gw_err err;

    if (conf.len > 0 && !gw_str_eq(conf, gw_str_c(master->conf_path))) {
        (void)gw_err_set(&err, GW_NOT_FOUND, "the gateway that runs here serves %s, not %.*s",
                         master->conf_path, GW_STR_ARG(conf));
        gw_control_refuse(master->control, client, err.text);
        return;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (gw_str_eq(command, gw_str_c(commands[i].name))) {
            commands[i].fn(master, client, request);
            return;
        }
    }
    (void)gw_err_set(&err, GW_NOT_FOUND, "there is no command \"%.*s\"", GW_STR_ARG(command));
    gw_control_refuse(master->control, client, err.text);
}

/* ---- starting ---- */

/* What is none of the conf may still be code that it would find now: not strict. What was refused
 * may fit together with what is saved now: then all is looked at. */
static void on_files_changed(void *arg, const struct gw_str *paths, uint32_t count)
{
    struct gw_master *master = arg;
    struct gw_reload_files files = {.items = (struct gw_str *)(uintptr_t)paths, .count = count};

    if (master->stopping)
        return;
    if (!master->ready) {
        master->hup = true;
        return;
    }
    if (count > 0)
        gw_info("%.*s%s changed", GW_STR_ARG(paths[0]), count > 1 ? " and others have" : " has");
    gw_reload_start(master, 0, count > 0 && !master->reload.refused ? &files : NULL);
}

static struct gw_str folder_of(struct gw_str path)
{
    const char *slash = path.len > 0 ? memrchr(path.data, '/', path.len) : NULL;

    return slash != NULL ? gw_str(path.data, (size_t)(slash - path.data)) : GW_STR(".");
}

void gw_master_watch_files(struct gw_master *master)
{
    const struct gw_conf *conf = master->conf;
    const struct gw_conf_file *files = GW_ITEMS(conf, conf->files, struct gw_conf_file);
    const struct gw_conf_key_file *keys = GW_ITEMS(conf, conf->key_files, struct gw_conf_key_file);
    struct gw_str before = GW_STR("");

    for (uint32_t i = 0; i < conf->files.len; i++) {
        struct gw_str folder = folder_of(gw_ref_str(conf, files[i].path));
        if (!gw_str_eq(folder, before)) /* many stand in one */
            gw_watch_add(master->watch, folder, false);
        before = folder;
    }
    for (uint32_t i = 0; i < conf->key_files.len; i++) {
        struct gw_str folder = folder_of(gw_ref_str(conf, keys[i].path));
        if (!gw_str_eq(folder, before))
            gw_watch_add(master->watch, folder, false);
        before = folder;
    }
}

static enum gw_rc watch_start(struct gw_master *master, struct gw_str dirs, struct gw_err *err)
{
    enum gw_rc rc = gw_watch_new(master->loop, on_files_changed, master, &master->watch, err);

    if (rc != GW_OK)
        return rc;
    gw_master_watch_files(master);
    while (dirs.len > 0) {
        const char *end = memchr(dirs.data, '\n', dirs.len);
        size_t len = end != NULL ? (size_t)(end - dirs.data) : dirs.len;
        gw_watch_add(master->watch, gw_str(dirs.data, len), true);
        dirs = gw_str(dirs.data + len + (end != NULL), dirs.len - len - (end != NULL));
    }
    return GW_OK;
}

void gw_master_all_ready(struct gw_master *master)
{
    struct gw_buf where = GW_BUF_INIT;
    uint32_t workers = gw_master_workers(master, master->conf);

    master->ready = true;
    gw_master_listening(master, &where);
    gw_info("listening on %.*s: %u route%s, %u worker%s, %llu ms after the start",
            GW_STR_ARG(gw_buf_str(&where)), master->conf->routes.len,
            master->conf->routes.len == 1 ? "" : "s", workers, workers == 1 ? "" : "s",
            (unsigned long long)(gw_time_mono_ms() - master->started_ms));
    gw_buf_fini(&where);
    gw_notify_ready("serving");
    if (master->hup)
        gw_reload_start(master, 0, NULL);
}

static enum gw_rc shared_make(struct gw_master *master, struct gw_err *err)
{
    size_t count;
    struct gw_shared_row *rows = gw_reload_shared_rows(master->conf, NULL, &count);
    enum gw_rc rc = gw_shared_set_new(rows, count, GW_NUMBERS_MAX, &master->shared, err);

    free(rows);
    return rc;
}

static uint32_t beat_of(const struct gw_conf *conf)
{
    uint32_t ms = conf->watchdog_ms / 20;

    return ms == 0 || ms > 100 ? 100 : ms < 10 ? 10 : ms;
}

static enum gw_rc bring_up(struct gw_master *master, struct gw_loaded *loaded, struct gw_err *err)
{
    char control[PATH_MAX];
    enum gw_rc rc;

    master->image_fd = loaded->image_fd;
    rc = gw_image_map(master->image_fd, &master->conf, err);
    if (rc != GW_OK)
        return rc;
    rc = gw_master_log_open(master, master->conf, err);
    if (rc != GW_OK)
        return rc;
    (void)snprintf(control, sizeof(control), "%.*s",
                   GW_STR_ARG(gw_ref_str(master->conf, master->conf->control)));
    rc = gw_control_lock(control, &master->lock_fd, err);
    if (rc == GW_OK)
        rc = shared_make(master, err);
    if (rc == GW_OK)
        rc = gw_sockets_prepare(&master->sockets, master->conf,
                                gw_master_workers(master, master->conf), err);
    if (rc == GW_OK)
        rc = gw_sockets_commit(&master->sockets, master->conf, err);
    if (rc == GW_OK)
        rc = gw_control_open(master->loop, control, master->lock_fd, on_command, master,
                             &master->control, err);
    if (rc != GW_OK)
        return rc;
    master->lock_fd = -1; /* the control socket has it */
    if (master->options.watch)
        rc = watch_start(master, loaded->dirs, err);
    if (rc != GW_OK)
        return rc;
    master->beat_ms = beat_of(master->conf);
    gw_children_fill(master);
    gw_timer_set(master->loop, &master->tick, gw_loop_now_ms(master->loop) + master->beat_ms);
    return GW_OK;
}

static void on_first_loaded(void *arg, struct gw_loaded *loaded)
{
    struct gw_master *master = arg;
    struct gw_err err;

    master->reload.loader = NULL;
    /* Faults for the person at the terminal, as `moongate check` prints them. */
    if (loaded->text.len > 0)
        (void)fprintf(stderr, "%.*s%s", GW_STR_ARG(loaded->text),
                      loaded->text.data[loaded->text.len - 1] == '\n' ? "" : "\n");
    if (loaded->rc == GW_OK && bring_up(master, loaded, &err) != GW_OK)
        gw_master_fail_start(master, err.text);
    else if (loaded->rc != GW_OK)
        gw_master_fail_start(master, "the conf has faults");
}

static enum gw_rc start(struct gw_master *master, struct gw_err *err)
{
    static const int signals[] = {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, 0};
    struct gw_loading_options options = {.conf_path = master->conf_path,
                                         .shipped_dir = master->options.shipped_dir,
                                         .drop = true,
                                         .log_requests = master->options.wrap != NULL};

    (void)signal(SIGPIPE, SIG_IGN);
    gw_log_name("master");
    if (gw_log_open(NULL, GW_LOG_INFO, err) != GW_OK)
        return GW_SYSTEM;
    gw_privilege_raise_files();
    if (gw_loop_new(&master->loop) != GW_OK)
        return gw_err_set(err, GW_SYSTEM, "loop: %s", strerror(errno));
    gw_sockets_init(&master->sockets);
    gw_children_init(master);
    gw_tickets_init(master);
    gw_reload_init(master);
    gw_rounds_init(master);
    if (gw_loop_signals(master->loop, signals, on_signal, master) != GW_OK)
        return gw_err_set(err, GW_SYSTEM, "signals: %s", strerror(errno));
    options.number = master->last_number = 1;
    return gw_loader_start(master->loop, &options, on_first_loaded, master, &master->reload.loader,
                           err);
}

static void end(struct gw_master *master)
{
    if (master->loop == NULL)
        return;
    if (master->reload.loader != NULL)
        gw_loader_cancel(master->reload.loader);
    gw_children_fini(master);
    gw_tickets_fini(master);
    gw_watch_free(master->watch);
    gw_control_close(master->control);
    gw_sockets_fini(&master->sockets);
    if (master->shared != NULL)
        gw_shared_set_free(master->shared);
    if (master->conf != NULL)
        gw_image_unmap(master->conf);
    if (master->image_fd >= 0)
        (void)close(master->image_fd);
    if (master->lock_fd >= 0)
        (void)close(master->lock_fd);
    gw_timer_fini(master->loop, &master->reload.timer);
    gw_timer_fini(master->loop, &master->status.timer);
    gw_timer_fini(master->loop, &master->advance.timer);
    gw_loop_free(master->loop);
}

int gw_master_run(const struct gw_master_options *options)
{
    struct gw_master *master = calloc(1, sizeof(*master));
    struct gw_err err;
    int code;

    if (master == NULL)
        abort();
    master->options = *options;
    master->lock_fd = master->image_fd = -1;
    master->started_ms = gw_time_mono_ms();
    master->started_real_ms = gw_time_real_ms();
    master->conf_path = realpath(options->conf_path, NULL);
    if (master->conf_path == NULL)
        master->conf_path = strdup(options->conf_path); /* the loader says what is wrong */
    gw_notify_init();
    if (start(master, &err) == GW_OK) {
        gw_loop_run(master->loop);
        if (master->ready)
            gw_info("stopped");
    } else {
        gw_error("%s", err.text);
        master->exit_code = 1;
    }
    end(master);
    code = master->exit_code;
    free(master->conf_path);
    free(master);
    return code;
}
