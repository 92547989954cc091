/* Which plugins run on which route, in which order. */
#include <assert.h>
#include <string.h>

#include "script/load_private.h"

/* The binding stands at most once in a chain, and a chain is short: plain loops will do. */
struct draft {
    struct gw_load_binding **items;
    uint32_t count;
};

static bool named(struct gw_str word, const struct gw_binding *b)
{
    return gw_str_eq(word, b->id) || gw_str_eq(word, b->plugin);
}

/* Must `a` run before `b` because one of them says so? */
static bool must_precede(const struct gw_binding *a, const struct gw_binding *b)
{
    for (uint32_t i = 0; i < a->before_count; i++)
        if (named(a->before[i], b))
            return true;
    for (uint32_t i = 0; i < b->after_count; i++)
        if (named(b->after[i], a))
            return true;
    return false;
}

/* Of those that wait for nobody, always the one with the highest priority, then the first of
 * the conf. False: some wait for each other. */
static bool sort(struct gw_arena *arena, struct draft *draft)
{
    struct gw_load_binding **out = gw_arena_alloc(arena, (draft->count + 1) * sizeof(*out));
    uint32_t left = draft->count, done = 0;

    while (left > 0) {
        uint32_t best = GW_NONE;
        for (uint32_t i = 0; i < left; i++) {
            bool free = true;
            for (uint32_t k = 0; k < left && free; k++)
                free = k == i || !must_precede(draft->items[k]->binding, draft->items[i]->binding);
            if (free && (best == GW_NONE ||
                         draft->items[i]->plugin->priority > draft->items[best]->plugin->priority))
                best = i;
        }
        if (best == GW_NONE)
            return false;
        out[done++] = draft->items[best];
        memmove(draft->items + best, draft->items + best + 1,
                (left - best - 1) * sizeof(*draft->items));
        left--;
    }
    draft->items = out;
    return true;
}

static uint32_t row_of(struct gw_load *load, struct gw_load_binding *item)
{
    if (item->row == GW_NONE) {
        item->row = load->rows_count;
        load->rows[load->rows_count++] = item;
    }
    return item->row;
}

static uint32_t phases_of(const struct draft *draft)
{
    uint32_t phases = 0, rewrite = 1u << GW_PHASE_REWRITE;

    for (uint32_t i = 0; i < draft->count; i++) {
        uint32_t own = draft->items[i]->plugin->phases;
        /* A global binding's rewrite runs before the match, and only there. */
        if (draft->items[i]->binding->route == GW_NONE && (own & rewrite) != 0)
            own = (own & ~rewrite) | (1u << GW_PHASE_REWRITE_GLOBAL);
        phases |= own;
    }
    return phases;
}

/* The chain of these, a new one if there was none like it. */
static struct gw_load_chain *intern(struct gw_load *load, const struct draft *draft)
{
    struct gw_load_chain *chain;
    uint32_t *rows = gw_arena_alloc(&load->arena, (draft->count + 1) * sizeof(*rows));

    for (uint32_t i = 0; i < draft->count; i++)
        rows[i] = row_of(load, draft->items[i]);
    for (chain = load->chains; chain != NULL; chain = chain->next)
        if (chain->count == draft->count &&
            memcmp(chain->rows, rows, draft->count * sizeof(*rows)) == 0)
            return chain;
    chain = gw_arena_zalloc(&load->arena, sizeof(*chain));
    chain->number = load->chains_count++;
    chain->phases = phases_of(draft);
    chain->count = draft->count;
    chain->rows = rows;
    chain->next = load->chains;
    load->chains = chain;
    return chain;
}

/* Global ones and those of a route: [from, to) of the bindings; of one id the nearest wins, and
 * one that is not enabled takes the wider one away with it. */
static struct draft collect(struct gw_load *load, uint32_t globals, uint32_t from, uint32_t to)
{
    struct draft draft = {.count = 0};

    draft.items = gw_arena_alloc(&load->arena, (globals + to - from + 1) * sizeof(*draft.items));
    for (uint32_t i = 0; i < globals; i++) {
        bool hidden = load->bindings[i].plugin == NULL || !load->bindings[i].binding->enabled;
        for (uint32_t k = from; k < to && !hidden; k++)
            hidden = gw_str_eq(load->bindings[k].binding->id, load->bindings[i].binding->id);
        if (!hidden)
            draft.items[draft.count++] = &load->bindings[i];
    }
    for (uint32_t k = from; k < to; k++)
        if (load->bindings[k].plugin != NULL && load->bindings[k].binding->enabled)
            draft.items[draft.count++] = &load->bindings[k];
    return draft;
}

static void refuse_twins(struct gw_load *load, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        for (uint32_t k = from; k < i; k++) {
            const struct gw_binding *b = load->bindings[i].binding;
            if (!gw_str_eq(b->id, load->bindings[k].binding->id))
                continue;
            gw_report_fault(load->report, b->where, b->path, "'%.*s' stands here twice",
                            GW_STR_ARG(b->id));
            gw_report_hint(load->report, "give one of them an id:");
            break;
        }
}

static struct gw_load_chain *make(struct gw_load *load, uint32_t globals, uint32_t from,
                                  uint32_t to)
{
    struct draft draft = collect(load, globals, from, to);
    const struct gw_binding *at;

    if (draft.count == 0)
        return NULL;
    at = from < to ? load->bindings[from].binding : draft.items[0]->binding;
    if (!sort(&load->arena, &draft)) {
        gw_report_fault(load->report, at->where, at->path,
                        "before: and after: of these plugins go round in a circle");
        return NULL;
    }
    return intern(load, &draft);
}

/* before: or after: a name that is nowhere in the conf is a slip of the pen. */
static void warn_unknown(struct gw_load *load, const struct gw_binding *b,
                         const struct gw_str *names, uint32_t count, const char *key)
{
    for (uint32_t n = 0; n < count; n++) {
        bool known = false;
        for (uint32_t i = 0; i < load->source->bindings_count && !known; i++)
            known = named(names[n], &load->source->bindings[i]);
        if (!known)
            gw_report_warn(load->report, b->where, b->path, "%s: no plugin '%.*s' in this conf",
                           key, GW_STR_ARG(names[n]));
    }
}

void gw_load_chains(struct gw_load *load)
{
    struct gw_conf *conf = gw_image_conf(load->image);
    uint32_t count = load->source->bindings_count, globals = 0, at;
    uint32_t before_match = 1u << GW_PHASE_REWRITE_GLOBAL;
    struct gw_load_chain *global;

    load->rows = gw_arena_alloc(&load->arena, (count + 1) * sizeof(struct gw_load_binding *));
    while (globals < count && load->bindings[globals].binding->route == GW_NONE)
        globals++;
    for (uint32_t i = 0; i < count; i++) {
        const struct gw_binding *b = load->bindings[i].binding;
        warn_unknown(load, b, b->before, b->before_count, "before");
        warn_unknown(load, b, b->after, b->after_count, "after");
    }
    refuse_twins(load, 0, globals);
    global = make(load, globals, globals, globals);
    conf->global_chain = global != NULL ? global->number : GW_NONE;
    conf->global_phases = global != NULL ? global->phases : 0;
    at = globals;
    for (uint32_t r = 0; r < conf->routes.len; r++) {
        struct gw_conf_route *route =
            (struct gw_conf_route *)gw_image_at(load->image, conf->routes.off) + r;
        struct gw_load_chain *chain = global;
        uint32_t from = at;
        while (at < count && load->bindings[at].binding->route == r)
            at++;
        if (at > from) {
            refuse_twins(load, from, at);
            chain = make(load, globals, from, at);
        }
        route->chain = chain != NULL ? chain->number : GW_NONE;
        route->phases = chain != NULL ? chain->phases & ~before_match : 0;
    }
    assert(at == count); /* conf/load.h: the global ones first, then route by route */
}
