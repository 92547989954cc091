/* Who accepts from which socket, and who is silent.
 * The set of a worker is computed anew whenever anything changed, and told only when it
 * differs from what the worker has. Socket n belongs to worker n+1; while that one is away or
 * suspect, the worker with the fewest sockets takes it on: a held socket that nobody serves
 * would hang a share of all clients. A suspect keeps its own, for it may wake up. */
#include "process/master_private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

#define SUSPECT_TICKS 3
#define LIMIT_TICKS_MIN 10 /* a shorter watchdog would kill whoever was only not scheduled */

/* ---- sockets ---- */

static struct gw_child_listen *listen_of(struct gw_child *child, struct gw_str name)
{
    struct gw_child_listen *grown;

    for (uint32_t i = 0; i < child->listens_count; i++)
        if (gw_str_eq(gw_str_c(child->listens[i].name), name))
            return &child->listens[i];
    grown = realloc(child->listens, (child->listens_count + 1) * sizeof(*grown));
    if (grown == NULL)
        abort();
    child->listens = grown;
    grown += child->listens_count++;
    *grown = (struct gw_child_listen){.name = strndup(name.data, name.len)};
    if (grown->name == NULL)
        abort();
    return grown;
}

void gw_serve_forget(struct gw_child *child)
{
    for (uint32_t i = 0; i < child->listens_count; i++)
        free(child->listens[i].name);
    free(child->listens);
    child->listens = NULL;
    child->listens_count = 0;
}

static void send_listen(struct gw_child *child, struct gw_str name, const struct gw_socket_set *set,
                        uint64_t slots)
{
    struct gw_message *message = &child->master->message;

    message->type = GW_MESSAGE_LISTEN;
    message->number = 0;
    message->value = 0;
    message->fd_count = 0;
    gw_message_text(message, name);
    for (uint32_t slot = 0; slots != 0 && slot < set->count; slot++)
        if ((slots >> slot & 1) != 0)
            message->fds[message->fd_count++] = set->fds[slot];
    gw_child_send(child, message);
}

static bool takes_on(const struct gw_child *child)
{
    return child->state == GW_CHILD_SERVING && !child->suspect && !child->killed;
}

static struct gw_child *least_loaded(struct gw_master *master, const uint64_t *slots)
{
    struct gw_child *best = NULL;

    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (takes_on(child) && (best == NULL || __builtin_popcountll(slots[child->number]) <
                                                    __builtin_popcountll(slots[best->number])))
            best = child;
    }
    return best;
}

/* slots[number]: what each child shall accept from. */
static void share_out(struct gw_master *master, const struct gw_socket_set *set, uint64_t *slots)
{
    uint64_t taken = 0, all = set->count >= 64 ? UINT64_MAX : (1ULL << set->count) - 1;

    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        uint64_t own = set->wanted.ss_family == AF_UNIX ? 1
                       : child->number <= set->count    ? 1ULL << (child->number - 1)
                                                        : 0;
        if (child->state != GW_CHILD_SERVING)
            continue;
        slots[child->number] = own;
        if (takes_on(child))
            taken |= own;
    }
    /* At the very start all siblings are about to come: handing around would only cost. */
    for (uint32_t slot = 0; slot < set->count && master->ready; slot++) {
        struct gw_child *heir;
        if ((taken >> slot & 1) != 0)
            continue;
        heir = least_loaded(master, slots);
        if (heir == NULL)
            return; /* nobody is left: the queue keeps them until a successor is here */
        slots[heir->number] |= 1ULL << slot & all;
    }
}

static bool in_conf(const struct gw_conf *conf, const char *name)
{
    const struct gw_conf_listener *listeners =
        GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    for (uint32_t i = 0; i < conf->listeners.len; i++)
        if (gw_str_eq(gw_ref_str(conf, listeners[i].name), gw_str_c(name)))
            return true;
    return false;
}

/* Listeners that the conf no longer has. */
static void take_away(struct gw_child *child, const struct gw_conf *conf)
{
    for (uint32_t i = 0; i < child->listens_count;) {
        struct gw_child_listen *gone = &child->listens[i];
        if (in_conf(conf, gone->name)) {
            i++;
            continue;
        }
        if (gone->slots != 0)
            send_listen(child, gw_str_c(gone->name), NULL, 0);
        free(gone->name);
        *gone = child->listens[--child->listens_count];
    }
}

void gw_serve_assign(struct gw_master *master)
{
    const struct gw_conf *conf = master->conf;
    const struct gw_conf_listener *listeners =
        GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (child->state == GW_CHILD_SERVING)
            take_away(child, conf);
    }
    for (uint32_t i = 0; i < conf->listeners.len; i++) {
        struct gw_socket_set *set = gw_sockets_find(&master->sockets, conf, &listeners[i]);
        struct gw_str name = gw_ref_str(conf, listeners[i].name);
        uint64_t slots[GW_NUMBERS_MAX + 1] = {0};
        if (set == NULL)
            continue;
        share_out(master, set, slots);
        GW_LIST_EACH(pos, &master->children)
        {
            struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
            struct gw_child_listen *has;
            if (child->state != GW_CHILD_SERVING || child->killed)
                continue;
            has = listen_of(child, name);
            if (has->slots == slots[child->number] && has->set == set->id)
                continue;
            has->slots = slots[child->number];
            has->set = set->id;
            send_listen(child, name, set, has->slots);
        }
    }
}

/* ---- silence ---- */

/* Whoever waits for a lock in shared memory is silent by no fault of its own. */
static bool owner_killed(struct gw_master *master, const struct gw_child *silent, uint64_t long_ms)
{
    pid_t pid;

    if (gw_shared_set_stuck_owner(master->shared, gw_loop_now_ms(master->loop), long_ms, &pid) !=
            GW_OK ||
        pid == silent->pid)
        return false;
    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (child->pid != pid)
            continue;
        gw_children_kill(child, "it holds a lock in shared memory and does not go on");
        return true;
    }
    return false;
}

static void look_at(struct gw_child *child, bool *changed)
{
    struct gw_master *master = child->master;
    const struct gw_board_row *row = gw_shared_set_board(master->shared, child->number);
    uint64_t turns = atomic_load(&row->turns), limit_ms = master->conf->watchdog_ms;
    char why[96];

    if (turns != child->turns) {
        child->turns = turns;
        child->silent_ticks = 0;
        *changed = *changed || child->suspect;
        child->suspect = false;
        return;
    }
    child->silent_ticks++;
    if (child->silent_ticks == SUSPECT_TICKS) {
        gw_warn("worker[%u] (pid %d) is silent%s", child->number, (int)child->pid,
                child->state == GW_CHILD_SERVING ? ": others accept in its place" : "");
        child->suspect = *changed = true;
    }
    if (limit_ms < (uint64_t)master->beat_ms * LIMIT_TICKS_MIN)
        limit_ms = (uint64_t)master->beat_ms * LIMIT_TICKS_MIN;
    /* Two ticks early, so that its successor is there in time. Ticks, not a clock: a machine that
     * slept, or a master that was stopped itself, has not heard anybody. */
    if (master->conf->watchdog_ms == 0 ||
        (child->silent_ticks + 2) * (uint64_t)master->beat_ms < limit_ms)
        return;
    if (owner_killed(master, child, limit_ms / 2)) {
        child->silent_ticks = SUSPECT_TICKS;
        return;
    }
    (void)snprintf(why, sizeof(why), "silent for %llu ms",
                   (unsigned long long)child->silent_ticks * master->beat_ms);
    gw_children_kill(child, why);
    *changed = true;
}

void gw_serve_tick(struct gw_timer *timer)
{
    struct gw_master *master = GW_CONTAINER(timer, struct gw_master, tick);
    uint64_t now_ms = gw_loop_now_ms(master->loop);
    bool changed = false;
    pid_t ignored;

    /* It knows how long a lock is held only when it is asked often. */
    if (gw_shared_set_stuck_owner(master->shared, now_ms, UINT64_MAX, &ignored) == GW_OK)
        gw_debug("a lock is held for very long");
    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        /* One that leaves must not get stuck, either: the stop would wait for all its time. */
        if (child->state != GW_CHILD_STARTING && !child->killed)
            look_at(child, &changed);
        if (child->kill_ms <= now_ms)
            gw_children_kill(child, child->state == GW_CHILD_STARTING
                                        ? "it does not get ready"
                                        : "it has not left in the time allowed");
    }
    if (changed && !master->stopping)
        gw_serve_assign(master);
    gw_timer_set(master->loop, timer, now_ms + master->beat_ms);
}
