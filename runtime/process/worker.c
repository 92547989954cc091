#include "process/worker_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "net/tls.h"
#include "process/privilege.h"

#define HEAP_HIGH_MS 10000 /* over 80 % for so long: a successor is asked for */

enum gw_rc gw_worker_tell(struct gw_worker *worker, enum gw_message_type type, uint32_t number,
                          uint64_t value)
{
    enum gw_rc rc = gw_channel_tell(worker->options.channel, type, number, value);

    if (rc != GW_OK && rc != GW_CLOSED)
        gw_warn("the master could not be told (message %d): %s", (int)type, gw_rc_text(rc));
    return rc;
}

/* ---- ending ---- */

static void on_drained(void *arg)
{
    struct gw_worker *worker = arg;

    gw_loop_stop(worker->loop);
}

static void drain(struct gw_worker *worker, uint64_t wait_ms)
{
    gw_worker_abort(worker);
    worker->draining = true;
    atomic_store(&worker->row->state, GW_BOARD_DRAINING);
    gw_proxy_drain(worker->proxy, wait_ms, on_drained, worker);
}

static uint64_t shutdown_timeout(struct gw_worker *worker)
{
    struct gw_generation *now = gw_proxy_current(worker->proxy);

    return now != NULL ? now->conf->shutdown_timeout_ms : 0;
}

/* The master takes our sockets away when it hears this, so nobody waits in them. */
static void leave(struct gw_worker *worker, const char *why)
{
    struct gw_message *message = &worker->message;

    if (worker->draining)
        return;
    gw_info("leaving: %s", why);
    message->type = GW_MESSAGE_LEAVING;
    message->number = 0;
    message->value = 0;
    message->fd_count = 0;
    gw_message_text(message, gw_str_c(why));
    if (gw_channel_send(worker->options.channel, message) != GW_OK)
        drain(worker, shutdown_timeout(worker));
}

static void on_signal(void *arg, int signo)
{
    leave(arg, "SIGTERM");
}

/* ---- the beat ---- */

static uint64_t rss_bytes(void)
{
    char text[128];
    unsigned long long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file == NULL)
        return 0;
    if (fgets(text, sizeof(text), file) == NULL || sscanf(text, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void watch_heap(struct gw_worker *worker, uint64_t heap)
{
    struct gw_generation *now = gw_proxy_current(worker->proxy);
    uint64_t max = now != NULL ? now->conf->heap_max : 0;

    if (max == 0 || heap < max / 5 * 4) {
        worker->beats_heap_high = 0;
        return;
    }
    if (++worker->beats_heap_high * worker->options.beat_ms < HEAP_HIGH_MS)
        return;
    leave(worker, "the Lua heap stays over 80 % of heap_max");
}

static void on_beat(struct gw_timer *timer)
{
    struct gw_worker *worker = GW_CONTAINER(timer, struct gw_worker, beat);
    struct gw_board_row *row = worker->row;
    uint64_t now_ms = gw_loop_now_ms(worker->loop);
    uint64_t heap = worker->script != NULL ? gw_script_heap_bytes(worker->script) : 0;
    struct gw_proxy_stats stats;

    gw_board_beat(row, now_ms);
    gw_proxy_stats(worker->proxy, &stats);
    atomic_store(&row->connections, stats.connections);
    atomic_store(&row->requests, stats.requests_total);
    atomic_store(&row->accepted, stats.connections_total);
    atomic_store(&row->refused, stats.shed_total);
    atomic_store(&row->heap_bytes, heap);
    if (worker->beats++ % 16 == 0)
        atomic_store(&row->rss_bytes, rss_bytes());
    watch_heap(worker, heap);
    gw_timer_set(worker->loop, timer, now_ms + worker->options.beat_ms);
}

/* ---- messages ---- */

static void on_listen(struct gw_worker *worker, struct gw_message *message)
{
    struct gw_str name = gw_str(message->text, message->text_len);
    struct gw_err err;

    if (worker->draining)
        return;
    /* The message holds the whole set: what was there before goes. The master has these
     * sockets too, so that no one in their queues is lost in between. */
    gw_proxy_unlisten(worker->proxy, name);
    for (uint32_t i = 0; i < message->fd_count; i++) {
        int fd = message->fds[i];
        message->fds[i] = -1;
        if (gw_proxy_listen(worker->proxy, name, fd, &err) != GW_OK)
            gw_error("%s", err.text);
    }
}

/* Text: a name a line; descriptors: as many, from `from` on. */
static void take_zones(struct gw_worker *worker, struct gw_message *message, uint32_t from)
{
    struct gw_shared_fd *fds;
    char *at = message->text, *save = NULL;
    size_t count = 0;
    struct gw_err err;

    if (message->fd_count <= from)
        return;
    fds = calloc(message->fd_count, sizeof(*fds));
    if (fds == NULL)
        abort();
    for (uint32_t i = from; i < message->fd_count; i++, at = NULL) {
        char *name = strtok_r(at, "\n", &save);
        if (name == NULL)
            break;
        (void)snprintf(fds[count].name, sizeof(fds[count].name), "%s", name);
        fds[count++].fd = message->fds[i];
        message->fds[i] = -1;
    }
    if (gw_shared_set_join(worker->options.shared, fds, count, &err) != GW_OK)
        gw_error("shared: %s", err.text);
    free(fds);
}

static void on_state(struct gw_worker *worker, uint32_t question)
{
    struct gw_message *message = &worker->message;
    struct gw_worker_state state;
    uint64_t now_ms = gw_loop_now_ms(worker->loop);

    memset(&state, 0, sizeof(state));
    gw_proxy_stats(worker->proxy, &state.stats);
    state.heap_bytes = worker->script != NULL ? gw_script_heap_bytes(worker->script) : 0;
    state.log_lost = gw_log_lost();
    state.draining = worker->draining;
    GW_LIST_EACH(pos, gw_proxy_generations(worker->proxy))
    {
        struct gw_generation *generation = GW_CONTAINER(pos, struct gw_generation, link);
        uint32_t at = state.generations_count++;
        if (at >= GW_WORKER_GENERATIONS_MAX)
            continue;
        state.generations[at].number = generation->conf->number;
        state.generations[at].refs = generation->refs;
        state.generations[at].age_ms = now_ms - generation->made_ms;
    }
    message->type = GW_MESSAGE_STATE;
    message->number = question;
    message->value = 0;
    message->fd_count = 0;
    gw_message_text(message, gw_str((const char *)&state, sizeof(state)));
    if (gw_channel_send(worker->options.channel, message) != GW_OK)
        gw_warn("status could not be sent");
}

static void on_tickets(struct gw_worker *worker, const struct gw_message *message)
{
    struct gw_tls_tickets tickets;

    if (message->text_len != sizeof(tickets)) {
        gw_error("the master sent keys of %u bytes", message->text_len);
        return;
    }
    memcpy(&tickets, message->text, sizeof(tickets));
    gw_proxy_set_tickets(worker->proxy, &tickets);
}

static void on_prepare(struct gw_worker *worker, struct gw_message *message)
{
    int image_fd;

    if (message->fd_count == 0)
        return;
    image_fd = message->fds[0];
    message->fds[0] = -1;
    take_zones(worker, message, 1);
    gw_message_close_fds(message);
    gw_worker_prepare(worker, message->number, image_fd);
    (void)close(image_fd);
}

static void on_message(struct gw_worker *worker, struct gw_message *message)
{
    switch (message->type) {
    case GW_MESSAGE_PREPARE:
        on_prepare(worker, message);
        break;
    case GW_MESSAGE_COMMIT:
        take_zones(worker, message, 0);
        gw_worker_commit(worker, message->number);
        break;
    case GW_MESSAGE_ABORT:
        gw_worker_abort(worker);
        take_zones(worker, message, 0);
        gw_worker_sweep(worker);
        break;
    case GW_MESSAGE_LISTEN:
        on_listen(worker, message);
        break;
    case GW_MESSAGE_DRAIN:
        drain(worker, message->value);
        break;
    case GW_MESSAGE_LOG:
        if (message->fd_count == 1) {
            gw_log_set_fd(message->fds[0]);
            message->fds[0] = -1;
        }
        if (worker->script != NULL)
            gw_script_reopen(worker->script);
        break;
    case GW_MESSAGE_ADVANCE:
        if (worker->options.test)
            gw_loop_advance(worker->loop, message->value);
        (void)gw_worker_tell(worker, GW_MESSAGE_ADVANCED, message->number, 0);
        break;
    case GW_MESSAGE_TICKETS:
        on_tickets(worker, message);
        break;
    case GW_MESSAGE_STATUS:
        on_state(worker, message->number);
        break;
    default:
        gw_error("the master sent message %u, which is unknown", message->type);
    }
    gw_message_close_fds(message);
}

static void on_channel(struct gw_io *io, unsigned what)
{
    struct gw_worker *worker = GW_CONTAINER(io, struct gw_worker, channel_io);
    enum gw_rc rc = gw_channel_receive(worker->options.channel, &worker->message);

    if (rc == GW_OK) {
        on_message(worker, &worker->message);
    } else if (rc == GW_EOF) {
        gw_io_close(io);
        gw_warn("the master is gone: draining");
        if (!worker->draining)
            drain(worker, shutdown_timeout(worker));
    } else if (rc != GW_AGAIN) {
        gw_error("a message of the master was broken: %s", gw_rc_text(rc));
    }
}

/* ---- life ---- */

static enum gw_rc start(struct gw_worker *worker, struct gw_err *err)
{
    static const int signals[] = {SIGTERM, 0};
    const struct gw_worker_options *options = &worker->options;
    enum gw_rc rc;

    rc = gw_shared_set_adopt(options->shared, err);
    if (rc != GW_OK)
        return rc;
    gw_shared_set_worker(options->shared, options->number);
    worker->row = gw_shared_set_board(options->shared, options->number);
    if (gw_loop_new(&worker->loop) != GW_OK)
        return gw_err_set(err, GW_SYSTEM, "loop: %s", strerror(errno));
    if (options->wrap != NULL)
        options->wrap(&worker->hooks);
    rc = gw_proxy_new(worker->loop, &worker->hooks, gw_worker_generation_free, worker,
                      &worker->proxy);
    if (rc != GW_OK)
        return gw_err_set(err, rc, "proxy: %s", gw_rc_text(rc));
    worker->staples = gw_staples_new(worker->loop);
    gw_proxy_set_staple(worker->proxy, gw_staples_get, worker->staples);
    if (options->tickets != NULL)
        gw_proxy_set_tickets(worker->proxy, options->tickets);
    gw_proxy_share(worker->proxy, gw_shared_set_clients(options->shared));
    rc = gw_worker_first(worker, options->image_fd, err);
    (void)close(options->image_fd);
    if (rc != GW_OK)
        return rc;
    if (gw_loop_signals(worker->loop, signals, on_signal, worker) != GW_OK ||
        gw_io_open_level(&worker->channel_io, worker->loop, options->channel, on_channel) != GW_OK)
        return gw_err_set(err, GW_SYSTEM, "events: %s", strerror(errno));
    gw_timer_init(&worker->beat, on_beat);
    on_beat(&worker->beat);
    return GW_OK;
}

static void finish(struct gw_worker *worker)
{
    if (worker->loop == NULL)
        return;
    gw_worker_abort(worker);
    if (worker->beat.fn != NULL)
        gw_timer_fini(worker->loop, &worker->beat);
    gw_io_close(&worker->channel_io);
    if (worker->proxy != NULL)
        gw_proxy_free(worker->proxy);
    gw_staples_free(worker->staples);
    gw_script_free(worker->script);
    gw_loop_free(worker->loop);
}

/* In a child of the master: nothing of the master may be touched by mistake. Signals from the
 * terminal are the master's business, which tells us what to do. */
static enum gw_rc enter(const struct gw_worker_options *options, struct gw_str user,
                        struct gw_err *err)
{
    static const int ignored[] = {SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    char name[32];
    sigset_t none;
    enum gw_rc rc;

    (void)snprintf(name, sizeof(name), "worker[%u]", options->number);
    gw_log_name(name);
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    gw_privilege_raise_files();
    rc = gw_privilege_drop(user, err);
    return rc;
}

static void say_failed(struct gw_worker *worker, const struct gw_err *err)
{
    struct gw_message *message = &worker->message;

    message->type = GW_MESSAGE_PREPARED;
    message->number = 0;
    message->value = GW_INVALID;
    message->fd_count = 0;
    gw_message_text(message, gw_str_c(err->text));
    if (gw_channel_send(worker->options.channel, message) != GW_OK)
        gw_error("%s", err->text);
}

int gw_worker_run(const struct gw_worker_options *options, struct gw_str user)
{
    struct gw_worker *worker = calloc(1, sizeof(*worker));
    struct gw_err err = {""};
    enum gw_rc rc;

    if (worker == NULL)
        abort();
    worker->options = *options;
    rc = enter(options, user, &err);
    if (rc == GW_OK)
        rc = start(worker, &err);
    if (rc == GW_OK) {
        atomic_store(&worker->row->state, GW_BOARD_RUNNING);
        (void)gw_worker_tell(worker, GW_MESSAGE_READY,
                             gw_proxy_current(worker->proxy)->conf->number, 0);
        gw_loop_run(worker->loop);
    } else {
        say_failed(worker, &err);
    }
    finish(worker);
    (void)close(worker->options.channel);
    free(worker);
    return rc == GW_OK ? 0 : 1;
}
