/* Questions to all workers ("rounds"), and the answer that `moongate status` shows. A worker
 * that does not answer in time is shown with what the board knows of it. */
#include "process/master_private.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"

#define ROUND_TIMEOUT_MS 500
#define ADVANCE_TIMEOUT_MS 5000

static void status_write(struct gw_master *master, struct gw_buf *out);

/* ---- rounds ---- */

static void round_start(struct gw_master *master, struct gw_round *round, uint64_t client,
                        uint64_t value, uint64_t wait_ms)
{
    round->active = true;
    round->number++;
    round->waiters[0] = client;
    round->waiters_count = 1;
    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (round == &master->status)
            child->state_known = false;
        if (child->state == GW_CHILD_STARTING || child->killed)
            continue;
        if (round == &master->advance)
            child->round_asked = round->number;
        gw_child_tell(child, round->type, round->number, value);
    }
    gw_timer_set(master->loop, &round->timer, gw_loop_now_ms(master->loop) + wait_ms);
    gw_round_check(master);
}

static void round_end(struct gw_master *master, struct gw_round *round, struct gw_str json)
{
    round->active = false;
    gw_timer_clear(&round->timer);
    for (uint32_t i = 0; i < round->waiters_count; i++)
        gw_control_answer(master->control, round->waiters[i], json);
    round->waiters_count = 0;
}

static void status_end(struct gw_master *master)
{
    struct gw_buf out = GW_BUF_INIT;

    status_write(master, &out);
    round_end(master, &master->status, gw_buf_str(&out));
    gw_buf_fini(&out);
}

void gw_round_check(struct gw_master *master)
{
    bool status = master->status.active, advance = master->advance.active;

    GW_LIST_EACH(pos, &master->children)
    {
        struct gw_child *child = GW_CONTAINER(pos, struct gw_child, link);
        if (child->state == GW_CHILD_STARTING || child->killed)
            continue;
        status = status && child->state_known;
        advance = advance && child->round_asked == 0;
    }
    if (status)
        status_end(master);
    if (advance)
        round_end(master, &master->advance, GW_STR("{\"ok\":true}"));
}

static void on_status_timeout(struct gw_timer *timer)
{
    status_end(GW_CONTAINER(timer, struct gw_master, status.timer));
}

static void on_advance_timeout(struct gw_timer *timer)
{
    struct gw_master *master = GW_CONTAINER(timer, struct gw_master, advance.timer);

    round_end(master, &master->advance,
              GW_STR("{\"ok\":false,\"error\":\"a worker did not move its clock\"}"));
}

void gw_rounds_init(struct gw_master *master)
{
    master->status.type = GW_MESSAGE_STATUS;
    gw_timer_init(&master->status.timer, on_status_timeout);
    master->advance.type = GW_MESSAGE_ADVANCE;
    gw_timer_init(&master->advance.timer, on_advance_timeout);
}

void gw_status_ask(struct gw_master *master, uint64_t client)
{
    struct gw_round *round = &master->status;

    if (!round->active)
        round_start(master, round, client, 0, ROUND_TIMEOUT_MS);
    else if (round->waiters_count < GW_WAITERS_MAX)
        round->waiters[round->waiters_count++] = client;
    else
        gw_control_refuse(master->control, client, "too many ask at once");
}

void gw_advance_ask(struct gw_master *master, uint64_t client, uint64_t ms)
{
    if (!master->options.test)
        gw_control_refuse(master->control, client,
                          "only a gateway started with --test has a clock "
                          "that can be moved");
    else if (master->advance.active)
        gw_control_refuse(master->control, client, "the clock is being moved already");
    else {
        gw_tickets_advance(master, ms);
        round_start(master, &master->advance, client, ms, ADVANCE_TIMEOUT_MS);
    }
}

/* ---- the answer ---- */

static uint64_t rss_of(pid_t pid)
{
    char path[64];
    unsigned long long size, resident = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static const char *state_name(const struct gw_child *child)
{
    if (child->state == GW_CHILD_STARTING)
        return "starting";
    if (child->state == GW_CHILD_DRAINING)
        return "draining";
    return child->killed ? "killed" : child->suspect ? "silent" : "serving";
}

static void put_uint(struct gw_json_writer *json, const char *key, uint64_t value)
{
    gw_json_key(json, key);
    gw_json_uint(json, value);
}

static void generations_write(struct gw_json_writer *json, const struct gw_worker_state *told)
{
    uint32_t count = told->generations_count < GW_WORKER_GENERATIONS_MAX
                         ? told->generations_count
                         : GW_WORKER_GENERATIONS_MAX;

    gw_json_key(json, "generations");
    gw_json_array(json);
    for (uint32_t i = 0; i < count; i++) {
        gw_json_object(json);
        put_uint(json, "generation", told->generations[i].number);
        put_uint(json, "refs", told->generations[i].refs);
        put_uint(json, "age_ms", told->generations[i].age_ms);
        gw_json_object_end(json);
    }
    gw_json_array_end(json);
}

static void worker_write(struct gw_json_writer *json, struct gw_child *child)
{
    struct gw_master *master = child->master;
    const struct gw_board_row *row = gw_shared_set_board(master->shared, child->number);
    const struct gw_worker_state *told = &child->state_told;

    gw_json_object(json);
    put_uint(json, "worker", child->number);
    put_uint(json, "pid", (uint64_t)child->pid);
    gw_json_key(json, "state");
    gw_json_text(json, state_name(child));
    gw_json_key(json, "answered");
    gw_json_bool(json, child->state_known);
    put_uint(json, "generation", child->generation);
    put_uint(json, "uptime_ms", gw_loop_now_ms(master->loop) - child->started_ms);
    put_uint(json, "rss_bytes", rss_of(child->pid));
    put_uint(json, "heap_bytes",
             child->state_known ? told->heap_bytes : atomic_load(&row->heap_bytes));
    put_uint(json, "connections",
             child->state_known ? told->stats.connections : atomic_load(&row->connections));
    put_uint(json, "requests",
             child->state_known ? told->stats.requests_total : atomic_load(&row->requests));
    if (child->state_known) {
        put_uint(json, "connections_total", told->stats.connections_total);
        put_uint(json, "requests_active", told->stats.requests_active);
        put_uint(json, "websockets", told->stats.websockets);
        put_uint(json, "websockets_total", told->stats.websockets_total);
        put_uint(json, "websocket_messages_total", told->stats.websocket_messages_total);
        put_uint(json, "upstream_connections", told->stats.upstream_connections);
        put_uint(json, "upstream_idle", told->stats.upstream_idle);
        put_uint(json, "shed", told->stats.shed_total);
        put_uint(json, "log_lines_lost", told->log_lost);
        generations_write(json, told);
    }
    gw_json_object_end(json);
}

static void listeners_write(struct gw_json_writer *json, struct gw_master *master)
{
    const struct gw_conf *conf = master->conf;
    const struct gw_conf_listener *listeners =
        GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    gw_json_key(json, "listeners");
    gw_json_array(json);
    for (uint32_t i = 0; i < conf->listeners.len; i++) {
        struct gw_socket_set *set = gw_sockets_find(&master->sockets, conf, &listeners[i]);
        char text[160] = "";
        if (set != NULL)
            gw_socket_text(&set->bound, text, sizeof(text));
        gw_json_object(json);
        gw_json_key(json, "name");
        gw_json_str(json, gw_ref_str(conf, listeners[i].name));
        gw_json_key(json, "address");
        gw_json_text(json, text);
        put_uint(json, "sockets", set != NULL ? set->count : 0);
        gw_json_object_end(json);
    }
    gw_json_array_end(json);
}

static void status_write(struct gw_master *master, struct gw_buf *out)
{
    struct gw_json_writer json;
    char when[25];

    gw_rfc3339_format(master->started_real_ms, when);
    gw_json_begin(&json, out);
    gw_json_object(&json);
    gw_json_key(&json, "ok");
    gw_json_bool(&json, true);
    put_uint(&json, "pid", (uint64_t)getpid());
    gw_json_key(&json, "conf");
    gw_json_text(&json, master->conf_path);
    gw_json_key(&json, "state");
    gw_json_text(&json, master->stopping ? "stopping" : master->ready ? "serving" : "starting");
    gw_json_key(&json, "started");
    gw_json_text(&json, when);
    put_uint(&json, "uptime_ms", gw_loop_now_ms(master->loop) - master->started_ms);
    put_uint(&json, "generation", master->conf->number);
    put_uint(&json, "routes", master->conf->routes.len);
    put_uint(&json, "reloads", master->reloads_ok);
    put_uint(&json, "reloads_refused", master->reloads_failed);
    put_uint(&json, "worker_deaths", master->deaths);
    put_uint(&json, "rss_bytes", rss_of(getpid()));
    listeners_write(&json, master);
    gw_json_key(&json, "workers");
    gw_json_array(&json);
    GW_LIST_EACH(pos, &master->children)
    worker_write(&json, GW_CONTAINER(pos, struct gw_child, link));
    gw_json_array_end(&json);
    gw_json_object_end(&json);
}
