/* The change of generation in one worker. Prepared in slices, each in a turn of its own, so
 * that requests go on; what was made is undone in the reverse order. */
#include "process/worker_private.h"

#include "base/log.h"
#include "base/time.h"

#define SLICE_US 1500  /* a turn may take 2 ms in all */
#define BEGIN_US 500   /* what may come before the first slice in its turn */
#define FLUSH_EVERY 32 /* generations: they leave about 3 KiB of machine code each */

static enum gw_rc vm_make(struct gw_worker *worker, const struct gw_conf *conf, struct gw_err *err)
{
    struct gw_script_options options = {.loop = worker->loop,
                                        .shared = worker->options.shared,
                                        .cpu_budget_ms = conf->cpu_budget_ms,
                                        .heap_max = conf->heap_max,
                                        .worker = worker->options.number};
    enum gw_rc rc;

    if (worker->script != NULL) {
        if (++worker->changes % FLUSH_EVERY == 0)
            gw_script_flush_code(worker->script);
        return GW_OK;
    }
    rc = gw_script_new(&options, &worker->script, err);
    if (rc != GW_OK)
        return rc;
    worker->hooks = *gw_script_hooks(worker->script);
    if (worker->options.wrap != NULL)
        worker->options.wrap(&worker->hooks);
    return GW_OK;
}

static enum gw_rc begin(struct gw_worker *worker, int image_fd, struct gw_err *err)
{
    struct gw_change *change = &worker->change;
    enum gw_rc rc;

    rc = gw_image_map(image_fd, &change->conf, err);
    if (rc != GW_OK)
        return rc;
    rc = gw_proxy_prepare(worker->proxy, change->conf, &change->generation, err);
    if (rc != GW_OK)
        goto fail_after_map;
    change->active = true;
    change->number = change->conf->number;
    /* A conf without a plugin costs no VM. */
    if (change->conf->script.len == 0)
        return GW_OK;
    rc = vm_make(worker, change->conf, err);
    if (rc == GW_OK)
        rc = gw_script_prepare(worker->script, change->conf, &change->script, err);
    if (rc != GW_OK) {
        change->script = NULL;
        gw_worker_abort(worker);
    }
    return rc;

fail_after_map:
    gw_image_unmap(change->conf);
    change->conf = NULL;
    return rc;
}

static bool lend_dns(void *script, struct gw_dns *dns)
{
    return gw_script_set_dns(script, dns);
}

static void forget_change(struct gw_worker *worker)
{
    struct gw_change *change = &worker->change;

    change->active = false;
    change->conf = NULL;
    change->generation = NULL;
    change->script = NULL;
}

static void put_in_place(struct gw_worker *worker)
{
    struct gw_change change = worker->change;

    /* The generation before may be freed by the commit: then no change runs any more. */
    forget_change(worker);
    gw_log_set_level((enum gw_log_level)change.conf->log_level);
    change.generation->script = change.script;
    if (change.script != NULL)
        gw_script_commit(change.script);
    gw_proxy_commit(worker->proxy, change.generation);
    if (worker->script != NULL) {
        gw_script_set_limits(worker->script, change.conf->cpu_budget_ms, change.conf->heap_max);
        gw_proxy_lend_dns(worker->proxy, lend_dns, worker->script);
    }
    atomic_store(&worker->row->generation, change.number);
}

void gw_worker_abort(struct gw_worker *worker)
{
    struct gw_change *change = &worker->change;

    if (!change->active)
        return;
    gw_timer_fini(worker->loop, &change->slice);
    if (change->script != NULL)
        gw_script_abort(change->script);
    gw_proxy_abort(worker->proxy, change->generation); /* and gw_worker_generation_free() */
    forget_change(worker);
}

/* One slice. What is over within it leaves the rest of the time to what follows. */
static enum gw_rc step(struct gw_change *change, struct gw_err *err)
{
    uint64_t until = gw_time_mono_us() + SLICE_US, now;
    enum gw_rc rc = gw_proxy_prepare_step(change->generation, SLICE_US, err);

    if (rc != GW_OK || change->script == NULL)
        return rc;
    now = gw_time_mono_us();
    return now < until ? gw_script_prepare_step(change->script, (uint32_t)(until - now), err)
                       : GW_AGAIN;
}

enum gw_rc gw_worker_first(struct gw_worker *worker, int image_fd, struct gw_err *err)
{
    enum gw_rc rc = begin(worker, image_fd, err);

    if (rc != GW_OK)
        return rc;
    while ((rc = step(&worker->change, err)) == GW_AGAIN)
        continue;
    if (rc != GW_OK) {
        gw_worker_abort(worker);
        return rc;
    }
    put_in_place(worker);
    return GW_OK;
}

static void say_prepared(struct gw_worker *worker, uint32_t number, enum gw_rc rc,
                         const struct gw_err *err)
{
    struct gw_message *message = &worker->message;

    message->type = GW_MESSAGE_PREPARED;
    message->number = number;
    message->value = rc;
    message->fd_count = 0;
    gw_message_text(message, rc == GW_OK ? GW_STR("") : gw_str_c(err->text));
    /* A master that is gone is noticed by the end of the channel. */
    if (gw_channel_send(worker->options.channel, message) != GW_OK)
        gw_warn("the answer to generation %u could not be sent", number);
}

static void on_slice(struct gw_timer *timer)
{
    struct gw_worker *worker = GW_CONTAINER(timer, struct gw_worker, change.slice);
    struct gw_change *change = &worker->change;
    uint32_t number = change->number;
    struct gw_err err;
    enum gw_rc rc = step(change, &err);

    if (rc == GW_AGAIN) {
        gw_timer_set(worker->loop, timer, gw_loop_now_ms(worker->loop) + 1);
        return;
    }
    if (rc != GW_OK)
        gw_worker_abort(worker);
    say_prepared(worker, number, rc, &err);
}

void gw_worker_prepare(struct gw_worker *worker, uint32_t number, int image_fd)
{
    uint64_t began_us = gw_time_mono_us();
    struct gw_err err;
    enum gw_rc rc;

    gw_worker_abort(worker);
    rc = begin(worker, image_fd, &err);
    if (rc != GW_OK) {
        say_prepared(worker, number, rc, &err);
        return;
    }
    gw_timer_init(&worker->change.slice, on_slice);
    /* The first plugin brings a VM, and that is a slice of its own. */
    if (gw_time_mono_us() - began_us < BEGIN_US)
        on_slice(&worker->change.slice);
    else
        gw_timer_set(worker->loop, &worker->change.slice, gw_loop_now_ms(worker->loop) + 1);
}

void gw_worker_commit(struct gw_worker *worker, uint32_t number)
{
    if (!worker->change.active || worker->change.number != number) {
        gw_error("asked to commit generation %u, which is not prepared", number);
        return;
    }
    gw_timer_fini(worker->loop, &worker->change.slice);
    put_in_place(worker);
}

void gw_worker_sweep(struct gw_worker *worker)
{
    const struct gw_list *alive = gw_proxy_generations(worker->proxy);

    if (worker->change.active || (!gw_list_empty(alive) && alive->next->next != alive))
        return;
    if (worker->script != NULL)
        gw_script_sweep(worker->script);
    gw_shared_set_sweep(worker->options.shared);
}

void gw_worker_generation_free(void *arg, struct gw_generation *generation)
{
    struct gw_worker *worker = arg;
    const struct gw_conf *conf = generation->conf;

    if (generation->script != NULL)
        gw_script_generation_free(generation->script);
    generation->script = NULL;
    gw_image_unmap(conf);
    gw_worker_sweep(worker);
}
