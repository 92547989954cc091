/* What the files of the master share. */
#ifndef GW_PROCESS_MASTER_PRIVATE_H
#define GW_PROCESS_MASTER_PRIVATE_H

#include "base/buf.h"
#include "base/list.h"
#include "net/loop.h"
#include "net/tls.h"
#include "process/channel.h"
#include "process/control.h"
#include "process/loader.h"
#include "process/master.h"
#include "process/sockets.h"
#include "shm/shared.h"

#define GW_NUMBERS_MAX GW_SHARED_WORKERS_MAX /* workers alive, those that drain included */

enum gw_child_state { GW_CHILD_STARTING, GW_CHILD_SERVING, GW_CHILD_DRAINING };

/* The sockets of one listener that a worker was given: bit n is slot n. */
struct gw_child_listen {
    char *name;
    uint64_t slots;
    uint64_t set; /* id of the socket set: another one needs new descriptors */
};

struct gw_child {
    struct gw_list link; /* in the order of their numbers */
    struct gw_master *master;
    uint32_t number;
    pid_t pid;
    int channel;
    struct gw_io io;
    enum gw_child_state state;
    uint32_t generation;
    uint64_t started_ms;
    uint64_t kill_ms; /* when to end it by force; GW_NEVER */

    uint64_t turns; /* last seen on the board */
    uint32_t silent_ticks;
    bool suspect; /* silent for a while: a sibling accepts in its place */
    bool killed;  /* by the watchdog */

    struct gw_child_listen *listens;
    uint32_t listens_count;

    /* the reload that runs */
    bool asked;
    bool answered;
    bool agreed;
    uint64_t answered_ms; /* after the question */
    char *answer;

    /* rounds (status, advance) */
    uint32_t round_asked;
    bool state_known;
    struct gw_worker_state state_told;
};

/* A place for a worker, while none is in it. */
struct gw_vacancy {
    uint32_t quick_deaths; /* in a row */
    uint64_t due_ms;       /* not to be filled before */
};

#define GW_WAITERS_MAX GW_CONTROL_CLIENTS_MAX

/* A question to all workers. */
struct gw_round {
    bool active;
    uint32_t number;
    enum gw_message_type type;
    struct gw_timer timer;
    uint64_t waiters[GW_WAITERS_MAX]; /* clients of the control socket */
    uint32_t waiters_count;
};

#define GW_RELOAD_FILES_MAX 256 /* that are named; more, and all are looked at */

/* What a reload looks at. */
struct gw_reload_files {
    struct gw_str *items; /* absolute paths, ours */
    uint32_t count;
    bool all;
    bool strict; /* see struct gw_loading_options */
};

enum gw_reload_state { GW_RELOAD_IDLE, GW_RELOAD_LOADING, GW_RELOAD_PREPARING };

struct gw_reload {
    enum gw_reload_state state;
    uint32_t number;
    uint64_t began_ms;
    uint64_t asked_ms;
    uint64_t load_ms;
    struct gw_loader *loader;
    struct gw_timer timer;
    int image_fd;
    const struct gw_conf *conf;
    bool zones_changed;
    bool refused;      /* the last one: what it looked at is still to be loaded */
    bool misused;      /* a file was named that is none of the conf */
    char *report_text; /* warnings of the loader */
    char *report_json;
    uint64_t waiters[GW_WAITERS_MAX];
    uint32_t waiters_count;
    struct gw_reload_files files;
    bool again; /* asked for while it ran */
    struct gw_reload_files next_files;
    uint64_t next_waiters[GW_WAITERS_MAX];
    uint32_t next_count;
};

struct gw_watch;

struct gw_master {
    struct gw_master_options options;
    char *conf_path; /* absolute */
    struct gw_loop *loop;
    uint64_t started_ms;
    uint64_t started_real_ms;
    bool ready;
    bool stopping;
    bool hup; /* SIGHUP came while it started */
    int exit_code;

    int lock_fd;
    struct gw_control *control;
    struct gw_sockets sockets;
    struct gw_shared_set *shared;

    int image_fd;
    const struct gw_conf *conf; /* mapped from image_fd */
    uint32_t last_number;       /* of a generation that was tried */
    uint64_t reloads_ok;
    uint64_t reloads_failed;

    struct gw_list children;
    struct gw_vacancy vacancies[GW_NUMBERS_MAX + 1]; /* by number */
    uint64_t deaths;
    struct gw_timer respawn;
    uint32_t beat_ms;
    struct gw_timer tick;

    struct gw_reload reload;
    struct gw_round status;
    struct gw_round advance;
    struct gw_watch *watch;
    struct gw_tls_tickets tickets;
    struct gw_timer tickets_timer; /* the next change of keys */
    struct gw_message message;     /* the one that is sent or handled */
};

/* ---- children.c ---- */

/* How many workers `conf` (or the command line) asks for. */
uint32_t gw_master_workers(const struct gw_master *master, const struct gw_conf *conf);
/* Starts what is missing, drains what is too many. */
void gw_children_fill(struct gw_master *master);
void gw_children_reap(struct gw_master *master);
void gw_children_drain(struct gw_master *master, uint64_t wait_ms);
void gw_children_kill(struct gw_child *child, const char *why);
void gw_children_init(struct gw_master *master);
void gw_children_fini(struct gw_master *master);
bool gw_children_serving(const struct gw_master *master); /* all that are wanted */

/* Sends; a child whose channel is full does not read: it is killed. */
void gw_child_send(struct gw_child *child, const struct gw_message *message);
void gw_child_tell(struct gw_child *child, enum gw_message_type type, uint32_t number,
                   uint64_t value);

/* ---- serve.c: who accepts from which socket, and who is silent ---- */

/* Everybody gets the sockets that are theirs now; nothing is sent to whom nothing changed. */
void gw_serve_assign(struct gw_master *master);
void gw_serve_forget(struct gw_child *child);
/* gw_timer_fn of master->tick */
void gw_serve_tick(struct gw_timer *timer);

/* ---- reload.c ---- */

/* `client` 0: nobody waits for the report. `files` is lent; NULL: all that has changed. */
void gw_reload_start(struct gw_master *master, uint64_t client,
                     const struct gw_reload_files *files);
void gw_reload_init(struct gw_master *master);
void gw_reload_cancel(struct gw_master *master);
/* A worker that was asked has answered or died. */
void gw_reload_answered(struct gw_child *child, const struct gw_message *message);
void gw_reload_died(struct gw_child *child, const char *how);
/* Rows for shm/ of the dictionaries of one conf, or of two together. Free with free(). */
struct gw_shared_row *gw_reload_shared_rows(const struct gw_conf *a, const struct gw_conf *b,
                                            size_t *count);

/* ---- tickets.c ---- */

void gw_tickets_init(struct gw_master *master);
void gw_tickets_fini(struct gw_master *master);
/* For specs: as if so much time had gone. */
void gw_tickets_advance(struct gw_master *master, uint64_t ms);

/* ---- status.c ---- */

void gw_rounds_init(struct gw_master *master);
void gw_status_ask(struct gw_master *master, uint64_t client);
void gw_advance_ask(struct gw_master *master, uint64_t client, uint64_t ms);
/* A child answered a round, or is gone. */
void gw_round_check(struct gw_master *master);

/* ---- master.c ---- */

/* The folders of what the conf was read from; there must be a watch. */
void gw_master_watch_files(struct gw_master *master);
void gw_master_all_ready(struct gw_master *master);
void gw_master_fail_start(struct gw_master *master, const char *why);
void gw_master_stop(struct gw_master *master, bool at_once);
void gw_master_children_gone(struct gw_master *master);
/* On failure the log stays where it was. */
GW_MUST_CHECK enum gw_rc gw_master_log_open(struct gw_master *master, const struct gw_conf *conf,
                                            struct gw_err *err);
/* "public on 127.0.0.1:8080, …" */
void gw_master_listening(struct gw_master *master, struct gw_buf *out);

#endif
