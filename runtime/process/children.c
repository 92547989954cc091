/* Workers come and go: start, back-off, drain, death. */
#include "process/master_private.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "process/fds.h"

#define QUICK_DEATH_MS 5000 /* who lives longer has not died of its start */
#define BACK_OFF_FIRST_MS 100
#define BACK_OFF_MAX_MS 5000
#define START_TIMEOUT_MS 15000

uint32_t gw_master_workers(const struct gw_master *master, const struct gw_conf *conf)
{
    uint32_t count = master->options.workers > 0 ? master->options.workers : conf->workers;

    if (count == 0) {
        cpu_set_t set;
        count = sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
    }
    return count < 1 ? 1 : count > GW_WORKERS_MAX ? GW_WORKERS_MAX : count;
}

/* ---- talking ---- */

void gw_child_send(struct gw_child *child, const struct gw_message *message)
{
    enum gw_rc rc = gw_channel_send(child->channel, message);

    if (rc == GW_FULL)
        gw_children_kill(child, "it reads none of the master's messages");
    else if (rc != GW_OK && rc != GW_CLOSED)
        gw_error("worker[%u]: message %u could not be sent: %s", child->number, message->type,
                 gw_rc_text(rc));
}

void gw_child_tell(struct gw_child *child, enum gw_message_type type, uint32_t number,
                   uint64_t value)
{
    struct gw_message *message = &child->master->message;

    message->type = type;
    message->number = number;
    message->value = value;
    message->text_len = 0;
    message->fd_count = 0;
    gw_child_send(child, message);
}

static void on_ready(struct gw_child *child, uint32_t number)
{
    struct gw_master *master = child->master;

    if (child->state != GW_CHILD_STARTING)
        return;
    child->generation = number;
    if (number != master->conf->number) {
        /* It started on what a reload has replaced meanwhile; nobody is connected to it yet. */
        gw_info("worker[%u] started on generation %u, now it is %u: started again", child->number,
                number, master->conf->number);
        child->state = GW_CHILD_DRAINING;
        (void)kill(child->pid, SIGKILL);
        gw_children_fill(master);
        return;
    }
    child->state = GW_CHILD_SERVING;
    child->kill_ms = GW_NEVER;
    if (master->ready)
        gw_info("worker[%u] (pid %d) serves", child->number, (int)child->pid);
    gw_serve_assign(master);
    if (!master->ready && gw_children_serving(master))
        gw_master_all_ready(master);
}

static void on_leaving(struct gw_child *child, const char *why)
{
    struct gw_master *master = child->master;

    if (child->state != GW_CHILD_SERVING)
        return;
    gw_info("worker[%u] asks for a successor: %s", child->number, why);
    child->state = GW_CHILD_DRAINING;
    child->kill_ms = gw_loop_now_ms(master->loop) + master->conf->shutdown_timeout_ms + 2000;
    gw_serve_assign(master);
    gw_child_tell(child, GW_MESSAGE_DRAIN, 0, master->conf->shutdown_timeout_ms);
    gw_reload_died(child, "leaves");
    gw_children_fill(master);
}

static void on_message(struct gw_child *child, struct gw_message *message)
{
    struct gw_master *master = child->master;

    switch (message->type) {
    case GW_MESSAGE_READY:
        on_ready(child, message->number);
        break;
    case GW_MESSAGE_PREPARED:
        if (child->state == GW_CHILD_STARTING) {
            gw_error("worker[%u] cannot start: %s", child->number, message->text);
            if (!master->ready)
                gw_master_fail_start(master, message->text);
        } else {
            gw_reload_answered(child, message);
        }
        break;
    case GW_MESSAGE_ADVANCED:
        if (message->number == master->advance.number)
            child->round_asked = 0;
        gw_round_check(master);
        break;
    case GW_MESSAGE_STATE:
        if (message->number == master->status.number &&
            message->text_len == sizeof(child->state_told)) {
            memcpy(&child->state_told, message->text, sizeof(child->state_told));
            child->state_known = true;
        }
        gw_round_check(master);
        break;
    case GW_MESSAGE_LEAVING:
        on_leaving(child, message->text);
        break;
    default:
        gw_error("worker[%u] sent message %u, which is unknown", child->number, message->type);
    }
}

static void on_channel(struct gw_io *io, unsigned what)
{
    struct gw_child *child = GW_CONTAINER(io, struct gw_child, io);
    struct gw_message *message = &child->master->message;
    enum gw_rc rc = gw_channel_receive(child->channel, message);

    if (rc == GW_OK) {
        /* Workers send no descriptors. */
        gw_message_close_fds(message);
        on_message(child, message);
    } else if (rc != GW_AGAIN) {
        gw_io_close(io); /* its death is told by SIGCHLD */
    }
}

/* ---- birth ---- */

static void run_child(struct gw_child *child, int channel)
{
    struct gw_master *master = child->master;
    struct gw_worker_options options = {.number = child->number,
                                        .channel = channel,
                                        .image_fd = master->image_fd,
                                        .shared = master->shared,
                                        .beat_ms = master->beat_ms,
                                        .tickets = &master->tickets,
                                        .test = master->options.test,
                                        .wrap = master->options.wrap};
    struct gw_shared_fd zones[GW_SHARED_FDS_MAX];
    size_t count = gw_shared_set_fds(master->shared, zones);
    int keep[GW_SHARED_FDS_MAX + 3] = {channel, master->image_fd, gw_log_fd()};

    for (size_t i = 0; i < count; i++)
        keep[3 + i] = zones[i].fd;
    gw_fds_close_except(keep, 3 + count);
    exit(gw_worker_run(&options, gw_ref_str(master->conf, master->conf->user)));
}

static void insert(struct gw_master *master, struct gw_child *child)
{
    struct gw_list *at = &master->children;

    GW_LIST_EACH(pos, &master->children)
    {
        if (GW_CONTAINER(pos, struct gw_child, link)->number > child->number)
            break;
        at = pos;
    }
    gw_list_insert_after(at, &child->link);
}

static enum gw_rc spawn(struct gw_master *master, uint32_t number, struct gw_err *err)
{
    struct gw_child *child = calloc(1, sizeof(*child));
    int ends[2];
    enum gw_rc rc;

    if (child == NULL)
        abort();
    rc = gw_channel_pair(ends, err);
    if (rc != GW_OK)
        goto fail_after_alloc;
    child->master = master;
    child->number = number;
    child->channel = ends[0];
    child->started_ms = gw_loop_now_ms(master->loop);
    child->kill_ms = child->started_ms + START_TIMEOUT_MS;
    gw_board_clear(gw_shared_set_board(master->shared, number));
    child->pid = fork();
    if (child->pid == 0)
        run_child(child, ends[1]);
    (void)close(ends[1]);
    if (child->pid < 0) {
        rc = gw_err_set(err, GW_SYSTEM, "fork: %s", strerror(errno));
        goto fail_after_pair;
    }
    rc = gw_io_open_level(&child->io, master->loop, child->channel, on_channel);
    if (rc != GW_OK) {
        (void)kill(child->pid, SIGKILL);
        (void)waitpid(child->pid, NULL, 0);
        (void)gw_err_set(err, rc, "the worker's channel cannot be watched");
        goto fail_after_pair;
    }
    insert(master, child);
    return GW_OK;

fail_after_pair:
    (void)close(ends[0]);
fail_after_alloc:
    free(child);
    return rc;
}

static struct gw_child *by_number(struct gw_master *master, uint32_t number)
{
    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (child->number == number)
            return child;
    }
    return NULL;
}

static uint32_t active_count(const struct gw_master *master)
{
    uint32_t count = 0;

    GW_LIST_EACH(pos, &master->children)
    count += GW_CONTAINER(pos, struct gw_child, link)->state != GW_CHILD_DRAINING;
    return count;
}

bool gw_children_serving(const struct gw_master *master)
{
    uint32_t count = 0;

    GW_LIST_EACH(pos, &master->children)
    count += GW_CONTAINER(pos, struct gw_child, link)->state == GW_CHILD_SERVING;
    return count >= gw_master_workers(master, master->conf);
}

static void back_off(struct gw_master *master, uint32_t number, uint64_t lived_ms)
{
    struct gw_vacancy *vacancy = &master->vacancies[number];
    uint64_t wait_ms;

    if (lived_ms >= QUICK_DEATH_MS)
        vacancy->quick_deaths = 0;
    vacancy->quick_deaths++;
    if (vacancy->quick_deaths == 1) {
        vacancy->due_ms = 0;
        return;
    }
    wait_ms = vacancy->quick_deaths > 8
                  ? BACK_OFF_MAX_MS
                  : (uint64_t)BACK_OFF_FIRST_MS << (vacancy->quick_deaths - 2);
    wait_ms = wait_ms < BACK_OFF_MAX_MS ? wait_ms : BACK_OFF_MAX_MS;
    vacancy->due_ms = gw_loop_now_ms(master->loop) + wait_ms;
    gw_warn("worker[%u] died %u times in a row soon after its start: the next one in %llu ms",
            number, vacancy->quick_deaths, (unsigned long long)wait_ms);
}

/* Fills the first free numbers; each waits for its own back-off. */
static void start_missing(struct gw_master *master, uint32_t missing)
{
    uint64_t now_ms = gw_loop_now_ms(master->loop), next_ms = GW_NEVER;
    struct gw_err err;

    for (uint32_t number = 1; number <= GW_NUMBERS_MAX && missing > 0; number++) {
        struct gw_vacancy *vacancy = &master->vacancies[number];
        if (by_number(master, number) != NULL)
            continue;
        missing--;
        if (vacancy->due_ms <= now_ms) {
            if (spawn(master, number, &err) == GW_OK)
                continue;
            gw_error("worker[%u] cannot be started: %s", number, err.text);
            back_off(master, number, 0);
            vacancy->due_ms = now_ms + BACK_OFF_FIRST_MS;
        }
        next_ms = vacancy->due_ms < next_ms ? vacancy->due_ms : next_ms;
    }
    if (next_ms != GW_NEVER)
        gw_timer_set(master->loop, &master->respawn, next_ms);
}

static void drain_surplus(struct gw_master *master, uint32_t surplus)
{
    uint64_t wait_ms = master->conf->shutdown_timeout_ms;

    /* From the end of the list: the highest numbers go. */
    for (struct gw_list *pos = master->children.prev; pos != &master->children && surplus > 0;
         pos = pos->prev) {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (child->state == GW_CHILD_DRAINING)
            continue;
        surplus--;
        child->state = GW_CHILD_DRAINING;
        child->kill_ms = gw_loop_now_ms(master->loop) + wait_ms + 2000;
        gw_serve_assign(master);
        gw_child_tell(child, GW_MESSAGE_DRAIN, 0, wait_ms);
    }
}

void gw_children_fill(struct gw_master *master)
{
    uint32_t wanted = gw_master_workers(master, master->conf), active = active_count(master);

    if (master->stopping)
        return;
    if (active < wanted)
        start_missing(master, wanted - active);
    else if (active > wanted)
        drain_surplus(master, active - wanted);
}

static void on_respawn(struct gw_timer *timer)
{
    gw_children_fill(GW_CONTAINER(timer, struct gw_master, respawn));
}

/* ---- death ---- */

static void how_it_ended(int status, char *to, size_t size)
{
    if (WIFSIGNALED(status))
        (void)snprintf(to, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        (void)snprintf(to, size, "exit code %d", WEXITSTATUS(status));
}

static void child_free(struct gw_child *child)
{
    gw_io_close(&child->io);
    (void)close(child->channel);
    gw_serve_forget(child);
    gw_list_remove(&child->link);
    free(child->answer);
    free(child);
}

static void bury(struct gw_child *child, int status)
{
    struct gw_master *master = child->master;
    uint32_t number = child->number;
    uint64_t lived_ms = gw_loop_now_ms(master->loop) - child->started_ms;
    bool expected = child->state == GW_CHILD_DRAINING;
    char how[96];

    how_it_ended(status, how, sizeof(how));
    if (!expected) {
        gw_error("worker[%u] (pid %d) ended: %s%s", number, (int)child->pid, how,
                 child->killed ? ", by the watchdog" : "");
        master->deaths++;
        back_off(master, number, lived_ms);
    } else {
        gw_info("worker[%u] (pid %d) has left: %s", number, (int)child->pid, how);
    }
    gw_shared_set_reaped(master->shared, number, child->pid);
    gw_reload_died(child, how);
    expected = expected || master->ready;
    child_free(child);
    if (!expected)
        gw_master_fail_start(master, "a worker died while it started");
}

void gw_children_reap(struct gw_master *master)
{
    bool any = false;

    GW_LIST_EACH_SAFE(pos, after, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        int status;
        if (waitpid(child->pid, &status, WNOHANG) != child->pid)
            continue;
        bury(child, status);
        any = true;
    }
    if (!any)
        return;
    gw_round_check(master);
    if (master->stopping) {
        if (gw_list_empty(&master->children))
            gw_master_children_gone(master);
        return;
    }
    gw_serve_assign(master);
    gw_children_fill(master);
}

void gw_children_kill(struct gw_child *child, const char *why)
{
    if (child->killed)
        return;
    child->killed = true;
    gw_error("worker[%u] (pid %d) is killed: %s", child->number, (int)child->pid, why);
    /* SIGKILL ends a stopped process, too. */
    (void)kill(child->pid, SIGKILL);
}

void gw_children_drain(struct gw_master *master, uint64_t wait_ms)
{
    uint64_t kill_ms = gw_loop_now_ms(master->loop) + wait_ms + 1000;

    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        child->state = GW_CHILD_DRAINING;
        child->kill_ms = kill_ms;
        gw_child_tell(child, GW_MESSAGE_DRAIN, 0, wait_ms);
    }
}

void gw_children_init(struct gw_master *master)
{
    gw_list_init(&master->children);
    gw_timer_init(&master->respawn, on_respawn);
    gw_timer_init(&master->tick, gw_serve_tick);
}

void gw_children_fini(struct gw_master *master)
{
    GW_LIST_EACH_SAFE(pos, after, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        (void)kill(child->pid, SIGKILL);
        (void)waitpid(child->pid, NULL, 0);
        child_free(child);
    }
    gw_timer_fini(master->loop, &master->respawn);
    gw_timer_fini(master->loop, &master->tick);
}
