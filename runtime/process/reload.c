/* The two-phase change of generation, as the master leads it:
 *   LOADING    the loader reads and compiles; a fault ends it here
 *   PREPARING  sockets are bound, dictionaries made, one worker asked, then the others; one no, one
 * death or 5 s of silence, and everything is undone commit     sockets listen, workers change, what
 * is no longer used is closed A reload that is asked for meanwhile runs afterwards, once. */
#include "process/master_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "process/changes.h"
#include "process/notify.h"

#define ANSWER_TIMEOUT_MS 5000

static void finish(struct gw_master *master, bool ok, const char *error, struct gw_str changes);

/* ---- dictionaries ---- */

static size_t rows_add(struct gw_shared_row *rows, size_t count, const struct gw_conf *conf)
{
    const struct gw_conf_shared *shared = GW_ITEMS(conf, conf->shared, struct gw_conf_shared);

    for (uint32_t i = 0; i < conf->shared.len; i++) {
        struct gw_shared_row row = {gw_ref_str(conf, shared[i].name), shared[i].size,
                                    shared[i].evict_never != 0};
        size_t at = 0;
        while (at < count && !gw_str_eq(rows[at].name, row.name))
            at++;
        rows[at] = row;
        if (at == count)
            count++;
    }
    return count;
}

struct gw_shared_row *gw_reload_shared_rows(const struct gw_conf *a, const struct gw_conf *b,
                                            size_t *count)
{
    size_t most = a->shared.len + (b != NULL ? b->shared.len : 0);
    struct gw_shared_row *rows = calloc(most + 1, sizeof(*rows));

    if (rows == NULL)
        abort();
    *count = rows_add(rows, 0, a);
    if (b != NULL)
        *count = rows_add(rows, *count, b);
    return rows;
}

static bool shared_differ(const struct gw_conf *a, const struct gw_conf *b)
{
    size_t a_count, b_count;
    struct gw_shared_row *a_rows = gw_reload_shared_rows(a, NULL, &a_count);
    struct gw_shared_row *b_rows = gw_reload_shared_rows(b, NULL, &b_count);
    bool differ = a_count != b_count;

    for (size_t i = 0; i < a_count && !differ; i++)
        differ = !gw_str_eq(a_rows[i].name, b_rows[i].name) || a_rows[i].size != b_rows[i].size ||
                 a_rows[i].evict_never != b_rows[i].evict_never;
    free(a_rows);
    free(b_rows);
    return differ;
}

static enum gw_rc shared_update(struct gw_master *master, const struct gw_conf *a,
                                const struct gw_conf *b, struct gw_err *err)
{
    size_t count;
    struct gw_shared_row *rows = gw_reload_shared_rows(a, b, &count);
    enum gw_rc rc = gw_shared_set_update(master->shared, rows, count, err);

    free(rows);
    if (rc != GW_OK)
        gw_err_prefix(err, "shared: ");
    return rc;
}

/* ---- telling the workers ---- */

static void tell(struct gw_child *child, enum gw_message_type type, int image_fd)
{
    struct gw_master *master = child->master;
    struct gw_message *message = &master->message;
    struct gw_shared_fd zones[GW_SHARED_FDS_MAX];
    struct gw_buf names = GW_BUF_INIT;

    message->type = type;
    message->number = master->reload.number;
    message->value = 0;
    message->fd_count = 0;
    if (image_fd >= 0)
        message->fds[message->fd_count++] = image_fd;
    if (master->reload.zones_changed) {
        size_t count = gw_shared_set_fds(master->shared, zones);
        for (size_t i = 0; i < count; i++) {
            message->fds[message->fd_count++] = zones[i].fd;
            gw_buf_printf(&names, "%s\n", zones[i].name);
        }
    }
    gw_message_text(message, gw_buf_str(&names));
    gw_buf_fini(&names);
    gw_child_send(child, message);
}

static void tell_asked(struct gw_master *master, enum gw_message_type type)
{
    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (child->asked)
            tell(child, type, -1);
    }
}

/* ---- the report ---- */

static void workers_json(struct gw_json_writer *json, struct gw_master *master)
{
    gw_json_array(json);
    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (!child->asked)
            continue;
        gw_json_object(json);
        gw_json_key(json, "worker");
        gw_json_uint(json, child->number);
        gw_json_key(json, "pid");
        gw_json_int(json, child->pid);
        gw_json_key(json, "answer");
        gw_json_text(json, !child->answered ? "none" : child->agreed ? "yes" : "no");
        gw_json_key(json, "ms");
        gw_json_uint(json, child->answered ? child->answered_ms : 0);
        if (child->answered && !child->agreed) {
            gw_json_key(json, "error");
            gw_json_text(json, child->answer);
        }
        gw_json_object_end(json);
    }
    gw_json_array_end(json);
}

static void read_json(struct gw_json_writer *json, const struct gw_conf *conf)
{
    struct gw_str why = gw_ref_str(conf, conf->read_why);

    gw_json_key(json, "files");
    gw_json_object(json);
    gw_json_key(json, "read");
    gw_json_uint(json, conf->files_read);
    gw_json_key(json, "of");
    gw_json_uint(json, conf->conf_files);
    gw_json_key(json, "why"); /* all were read although less was asked for */
    if (why.len > 0)
        gw_json_str(json, why);
    else
        gw_json_null(json);
    gw_json_object_end(json);
}

static void report_write(struct gw_master *master, bool ok, const char *error,
                         struct gw_str changes, struct gw_buf *out)
{
    struct gw_reload *reload = &master->reload;
    struct gw_json_writer json;

    gw_json_begin(&json, out);
    gw_json_object(&json);
    gw_json_key(&json, "ok");
    gw_json_bool(&json, ok);
    if (error != NULL) {
        gw_json_key(&json, "error");
        gw_json_text(&json, error);
    }
    gw_json_key(&json, "generation");
    gw_json_uint(&json, master->conf->number);
    gw_json_key(&json, "tried");
    gw_json_uint(&json, reload->number);
    gw_json_key(&json, "ms");
    gw_json_uint(&json, gw_loop_now_ms(master->loop) - reload->began_ms);
    gw_json_key(&json, "load_ms");
    gw_json_uint(&json, reload->load_ms);
    if (ok)
        read_json(&json, master->conf);
    gw_json_key(&json, "misused"); /* a file was named that is none of the conf */
    gw_json_bool(&json, reload->misused);
    gw_json_key(&json, "changes");
    if (changes.len > 0)
        gw_json_raw(&json, changes);
    else
        gw_json_null(&json);
    gw_json_key(&json, "workers");
    workers_json(&json, master);
    gw_json_key(&json, "report");
    if (reload->report_json != NULL && reload->report_json[0] != '\0')
        gw_json_raw(&json, gw_str_c(reload->report_json));
    else
        gw_json_null(&json);
    gw_json_key(&json, "text"); /* the faults and warnings as lines */
    gw_json_text(&json, reload->report_text != NULL ? reload->report_text : "");
    gw_json_object_end(&json);
}

static void log_lines(const char *text)
{
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1)
        gw_warn("%.*s", (int)(end - text), text);
}

static void answer_waiters(struct gw_master *master, struct gw_str report)
{
    struct gw_reload *reload = &master->reload;
    uint64_t waiters[GW_WAITERS_MAX];
    uint32_t count = reload->waiters_count;

    memcpy(waiters, reload->waiters, sizeof(waiters));
    reload->waiters_count = 0;
    for (uint32_t i = 0; i < count; i++)
        gw_control_answer(master->control, waiters[i], report);
}

/* ---- what is looked at ---- */

static void files_clear(struct gw_reload_files *files)
{
    for (uint32_t i = 0; i < files->count; i++)
        free((char *)(uintptr_t)files->items[i].data);
    free(files->items);
    *files = (struct gw_reload_files){NULL, 0, false, false};
}

/* `from` NULL: everything. */
static void files_add(struct gw_reload_files *to, const struct gw_reload_files *from)
{
    to->all |= from == NULL || from->all || to->count + from->count > GW_RELOAD_FILES_MAX;
    if (to->all)
        return;
    to->strict = from->strict && (to->count == 0 || to->strict);
    to->items = realloc(to->items, (to->count + from->count + 1) * sizeof(*to->items));
    if (to->items == NULL)
        abort();
    for (uint32_t i = 0; i < from->count; i++) {
        char *copy = strndup(from->items[i].data, from->items[i].len);
        if (copy == NULL)
            abort();
        to->items[to->count++] = gw_str(copy, from->items[i].len);
    }
}

/* Undoes nothing: the state is already what it shall be. */
static void finish(struct gw_master *master, bool ok, const char *error, struct gw_str changes)
{
    struct gw_reload *reload = &master->reload;
    struct gw_buf report = GW_BUF_INIT;

    report_write(master, ok, error, changes, &report);
    if (reload->report_text != NULL)
        log_lines(reload->report_text);
    if (ok)
        master->reloads_ok++;
    else
        master->reloads_failed++;
    gw_timer_clear(&reload->timer);
    free(reload->report_text);
    free(reload->report_json);
    reload->report_text = reload->report_json = NULL;
    files_clear(&reload->files);
    reload->refused = !ok;
    reload->state = GW_RELOAD_IDLE;
    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        child->asked = child->answered = false;
        free(child->answer);
        child->answer = NULL;
    }
    answer_waiters(master, gw_buf_str(&report));
    gw_buf_fini(&report);
    gw_notify_ready(ok ? "reloaded" : "the reload failed, the conf before it stays");

    if (reload->again && !master->stopping) {
        struct gw_reload_files files = reload->next_files;
        memcpy(reload->waiters, reload->next_waiters, sizeof(reload->waiters));
        reload->waiters_count = reload->next_count;
        reload->again = false;
        reload->next_count = 0;
        reload->next_files = (struct gw_reload_files){NULL, 0, false, false};
        gw_reload_start(master, 0, &files);
        files_clear(&files);
    }
}

/* ---- phase two, or back ---- */

static void undo(struct gw_master *master, const char *why)
{
    struct gw_reload *reload = &master->reload;
    const struct gw_conf *conf = reload->conf;
    struct gw_err err;

    gw_sockets_abort(&master->sockets);
    if (reload->zones_changed && shared_update(master, master->conf, NULL, &err) != GW_OK)
        gw_error("%s", err.text);
    tell_asked(master, GW_MESSAGE_ABORT);
    gw_error("reload: generation %u is refused after %llu ms, generation %u stays: %s",
             reload->number, (unsigned long long)(gw_loop_now_ms(master->loop) - reload->began_ms),
             master->conf->number, why);
    gw_image_unmap(conf);
    (void)close(reload->image_fd);
    reload->conf = NULL;
    reload->image_fd = -1;
    finish(master, false, why, GW_STR_NULL);
}

static void replace_conf(struct gw_master *master)
{
    struct gw_reload *reload = &master->reload;
    const struct gw_conf *old = master->conf;
    struct gw_err err;

    (void)close(master->image_fd);
    master->image_fd = reload->image_fd;
    master->conf = reload->conf;
    reload->image_fd = -1;
    reload->conf = NULL;
    gw_log_set_level((enum gw_log_level)master->conf->log_level);
    if (!gw_str_eq(gw_ref_str(old, old->log_file),
                   gw_ref_str(master->conf, master->conf->log_file)) &&
        gw_master_log_open(master, master->conf, &err) != GW_OK)
        gw_error("%s; the log stays where it was", err.text);
    gw_image_unmap(old);
}

static void commit(struct gw_master *master)
{
    struct gw_reload *reload = &master->reload;
    struct gw_buf changes = GW_BUF_INIT, summary = GW_BUF_INIT;
    struct gw_changes *all;
    struct gw_json_writer json;
    struct gw_err err;

    if (gw_sockets_commit(&master->sockets, reload->conf, &err) != GW_OK) {
        undo(master, err.text);
        return;
    }
    if (reload->zones_changed && shared_update(master, reload->conf, NULL, &err) != GW_OK)
        gw_error("%s", err.text); /* names too many stay: harmless */
    tell_asked(master, GW_MESSAGE_COMMIT);
    all = gw_changes_new(master->conf, reload->conf);
    gw_json_begin(&json, &changes);
    gw_changes_json(&json, all);
    gw_changes_text(&summary, all);
    gw_changes_free(all);
    replace_conf(master);
    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (child->asked)
            child->generation = reload->number;
    }
    gw_serve_assign(master);
    gw_sockets_close_unused(&master->sockets, master->conf);
    if (reload->zones_changed)
        gw_shared_set_sweep(master->shared);
    gw_info("reload: generation %u in %llu ms (load %llu ms, %u of %u files read): %.*s",
            master->conf->number,
            (unsigned long long)(gw_loop_now_ms(master->loop) - reload->began_ms),
            (unsigned long long)reload->load_ms, master->conf->files_read, master->conf->conf_files,
            GW_STR_ARG(gw_buf_str(&summary)));
    if (master->watch != NULL)
        gw_master_watch_files(master);
    finish(master, true, NULL, gw_buf_str(&changes));
    gw_buf_fini(&changes);
    gw_buf_fini(&summary);
    gw_children_fill(master);
}

/* Asks those who were not asked yet, `most` of them; how many there were. */
static uint32_t ask(struct gw_master *master, uint32_t most)
{
    uint32_t count = 0;

    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (count == most)
            break;
        if (child->asked || child->killed || child->state != GW_CHILD_SERVING)
            continue;
        child->asked = true;
        child->answered = child->agreed = false;
        tell(child, GW_MESSAGE_PREPARE, master->reload.image_fd);
        count++;
    }
    return count;
}

/* One worker goes first: an init() that hangs or crashes costs one worker, not all. Those who
 * began to serve meanwhile are asked with the rest. */
static void check_answers(struct gw_master *master)
{
    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (child->asked && !child->answered)
            return;
    }
    if (ask(master, UINT32_MAX) == 0)
        commit(master);
}

void gw_reload_answered(struct gw_child *child, const struct gw_message *message)
{
    struct gw_master *master = child->master;
    struct gw_reload *reload = &master->reload;
    struct gw_err err;

    if (reload->state != GW_RELOAD_PREPARING || message->number != reload->number ||
        !child->asked || child->answered)
        return;
    child->answered = true;
    child->agreed = message->value == GW_OK;
    child->answered_ms = gw_loop_now_ms(master->loop) - reload->asked_ms;
    child->answer = strdup(message->text);
    if (child->agreed) {
        check_answers(master);
        return;
    }
    (void)gw_err_set(&err, GW_INVALID, "worker[%u] says no: %s", child->number, message->text);
    undo(master, err.text);
}

void gw_reload_died(struct gw_child *child, const char *how)
{
    struct gw_master *master = child->master;
    struct gw_err err;

    if (master->reload.state != GW_RELOAD_PREPARING || !child->asked)
        return;
    (void)gw_err_set(&err, GW_CLOSED, "worker[%u] (pid %d) ended while it prepared: %s",
                     child->number, (int)child->pid, how);
    undo(master, err.text);
}

static void on_timeout(struct gw_timer *timer)
{
    struct gw_master *master = GW_CONTAINER(timer, struct gw_master, reload.timer);
    struct gw_buf who = GW_BUF_INIT;
    struct gw_err err;

    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (child->asked && !child->answered)
            gw_buf_printf(&who, "%sworker[%u]", gw_buf_len(&who) > 0 ? ", " : "", child->number);
    }
    (void)gw_err_set(&err, GW_TIMEOUT, "no answer within %d ms from %.*s", ANSWER_TIMEOUT_MS,
                     GW_STR_ARG(gw_buf_str(&who)));
    gw_buf_fini(&who);
    undo(master, err.text);
}

/* ---- phase one ---- */

static void prepare(struct gw_master *master)
{
    struct gw_reload *reload = &master->reload;

    reload->state = GW_RELOAD_PREPARING;
    reload->asked_ms = gw_loop_now_ms(master->loop);
    gw_timer_set(master->loop, &reload->timer, reload->asked_ms + ANSWER_TIMEOUT_MS);
    if (ask(master, 1) == 0)
        commit(master);
}

/* Whoever talks to the gateway would look for it elsewhere, and workers that run keep the rights
 * that they have: half of a change is worse than none. */
static enum gw_rc check_fixed(const struct gw_conf *from, const struct gw_conf *to,
                              struct gw_err *err)
{
    static const struct {
        const char *name;
        size_t field;
    } rows[] = {{"control", offsetof(struct gw_conf, control)},
                {"user", offsetof(struct gw_conf, user)}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gw_str old =
            gw_ref_str(from, *(const struct gw_ref *)((const char *)from + rows[i].field));
        struct gw_str new =
            gw_ref_str(to, *(const struct gw_ref *)((const char *)to + rows[i].field));
        if (!gw_str_eq(old, new))
            return gw_err_set(err, GW_INVALID,
                              "%s: changes only with a new start: it is \"%.*s\", not \"%.*s\"",
                              rows[i].name, GW_STR_ARG(old), GW_STR_ARG(new));
    }
    return GW_OK;
}

static void on_loaded(void *arg, struct gw_loaded *loaded)
{
    struct gw_master *master = arg;
    struct gw_reload *reload = &master->reload;
    struct gw_err err;

    reload->loader = NULL;
    reload->load_ms = loaded->ms;
    reload->report_text = strndup(loaded->text.data, loaded->text.len);
    reload->report_json =
        loaded->json.len > 0 ? strndup(loaded->json.data, loaded->json.len) : NULL;
    if (loaded->rc != GW_OK) {
        const char *why = loaded->rc == GW_NOT_FOUND ? "a file was named that is none of this conf"
                          : loaded->json.len > 0     ? "the conf has faults"
                                                     : reload->report_text;
        reload->misused = loaded->rc == GW_NOT_FOUND;
        gw_error("reload: %s; generation %u stays", why, master->conf->number);
        finish(master, false, why, GW_STR_NULL);
        return;
    }
    reload->image_fd = loaded->image_fd;
    if (gw_image_map(reload->image_fd, &reload->conf, &err) != GW_OK) {
        (void)close(reload->image_fd);
        finish(master, false, err.text, GW_STR_NULL);
        return;
    }
    reload->zones_changed = shared_differ(master->conf, reload->conf);
    if (check_fixed(master->conf, reload->conf, &err) != GW_OK ||
        gw_sockets_prepare(&master->sockets, reload->conf, gw_master_workers(master, reload->conf),
                           &err) != GW_OK ||
        (reload->zones_changed &&
         shared_update(master, master->conf, reload->conf, &err) != GW_OK)) {
        undo(master, err.text); /* nobody was asked yet */
        return;
    }
    prepare(master);
}

static void wait_for(uint64_t *waiters, uint32_t *count, uint64_t client)
{
    if (client != 0 && *count < GW_WAITERS_MAX)
        waiters[(*count)++] = client;
}

void gw_reload_start(struct gw_master *master, uint64_t client, const struct gw_reload_files *files)
{
    struct gw_reload *reload = &master->reload;
    struct gw_loading_options options = {.conf_path = master->conf_path,
                                         .shipped_dir = master->options.shipped_dir,
                                         .drop = true,
                                         .log_requests = master->options.wrap != NULL};
    struct gw_err err;

    if (reload->state != GW_RELOAD_IDLE) {
        reload->again = true;
        files_add(&reload->next_files, files);
        wait_for(reload->next_waiters, &reload->next_count, client);
        return;
    }
    wait_for(reload->waiters, &reload->waiters_count, client);
    reload->began_ms = gw_loop_now_ms(master->loop);
    reload->load_ms = 0;
    reload->misused = false;
    reload->state = GW_RELOAD_LOADING;
    files_add(&reload->files, files);
    options.before = master->conf;
    options.before_fd = master->image_fd;
    if (!reload->files.all) {
        options.files = reload->files.items;
        options.files_count = reload->files.count;
        options.strict = reload->files.strict;
    }
    options.number = reload->number = ++master->last_number;
    gw_notify_reloading();
    if (gw_loader_start(master->loop, &options, on_loaded, master, &reload->loader, &err) !=
        GW_OK) {
        gw_error("reload: %s", err.text);
        finish(master, false, err.text, GW_STR_NULL);
    }
}

void gw_reload_init(struct gw_master *master)
{
    master->reload.state = GW_RELOAD_IDLE;
    master->reload.image_fd = -1;
    gw_timer_init(&master->reload.timer, on_timeout);
}

void gw_reload_cancel(struct gw_master *master)
{
    struct gw_reload *reload = &master->reload;

    reload->again = false;
    if (reload->state == GW_RELOAD_LOADING) {
        gw_loader_cancel(reload->loader);
        reload->loader = NULL;
        finish(master, false, "the gateway stops", GW_STR_NULL);
    } else if (reload->state == GW_RELOAD_PREPARING) {
        undo(master, "the gateway stops");
    }
}
