/* An exchange without a proxy: what script/ asks of proxy/exchange.h, and no more. Each test
 * that includes this has its own; the linker then leaves the real one out. */
#ifndef GW_TEST_SCRIPT_FAKE_H
#define GW_TEST_SCRIPT_FAKE_H

/* cmocka.h needs these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/load.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"
#include "script/load.h"
#include "script/script.h"

struct fake {
    struct gw_exchange x; /* first: found again by a cast */
    struct gw_generation generation;
    struct gw_answer answer;
    enum gw_phase_rc resumed; /* rc of the last gw_exchange_resume() */
    unsigned resumes;
    unsigned detached, released;
    gw_exchange_body_fn body_fn;
    void *body_arg;
    bool body_at_once;
    struct gw_str body, response_body;
    uint32_t target;
};

uint64_t gw_exchange_number(const struct gw_exchange *x)
{
    return (uint64_t)(uintptr_t)x;
}

struct gw_exchange *gw_exchange_by_number(uint64_t number)
{
    return (struct gw_exchange *)(uintptr_t)number;
}

struct gw_str gw_exchange_id(struct gw_exchange *x)
{
    if (x->id.len == 0)
        x->id = GW_STR("id-1");
    return x->id;
}

void gw_exchange_resume(struct gw_exchange *x, enum gw_phase_rc rc)
{
    ((struct fake *)x)->resumed = rc;
    ((struct fake *)x)->resumes++;
}

struct gw_answer *gw_exchange_answer(struct gw_exchange *x, uint16_t status, struct gw_str body)
{
    struct gw_answer *answer = &((struct fake *)x)->answer;

    answer->status = status;
    answer->body = gw_arena_dup(&x->arena, body);
    gw_fields_init(&answer->fields, &x->arena);
    return answer;
}

struct gw_answer *gw_exchange_problem(struct gw_exchange *x, uint16_t status, struct gw_str title,
                                      struct gw_str detail)
{
    struct gw_str body =
        gw_arena_printf(&x->arena, "{\"status\":%u,\"title\":\"%.*s\"}", status, GW_STR_ARG(title));
    struct gw_answer *answer = gw_exchange_answer(x, status, body);

    gw_fields_set(&answer->fields, GW_STR("content-type"), GW_STR("application/problem+json"));
    return answer;
}

void gw_exchange_read_body(struct gw_exchange *x, uint64_t bytes_max, gw_exchange_body_fn fn,
                           void *arg)
{
    struct fake *f = (struct fake *)x;

    if (f->body_at_once) {
        fn(x, arg, GW_OK, f->body);
        return;
    }
    f->body_fn = fn;
    f->body_arg = arg;
}

void gw_exchange_read_body_cancel(struct gw_exchange *x)
{
    ((struct fake *)x)->body_fn = NULL;
}

void gw_exchange_set_body(struct gw_exchange *x, struct gw_str body)
{
    ((struct fake *)x)->body = gw_arena_dup(&x->arena, body);
}

void gw_exchange_set_response_body(struct gw_exchange *x, struct gw_str body)
{
    ((struct fake *)x)->response_body = gw_arena_dup(&x->arena, body);
}

bool gw_exchange_response_body(const struct gw_exchange *x, struct gw_str *out)
{
    *out = ((const struct fake *)x)->response_body;
    return out->data != NULL;
}

enum gw_rc gw_exchange_set_path(struct gw_exchange *x, struct gw_str path)
{
    if (path.len == 0 || path.data[0] != '/')
        return GW_INVALID;
    x->request.path = gw_arena_dup(&x->arena, path);
    return GW_OK;
}

void gw_exchange_set_query(struct gw_exchange *x, struct gw_str query)
{
    x->request.query = gw_arena_dup(&x->arena, query);
}

enum gw_rc gw_exchange_set_target(struct gw_exchange *x, uint32_t index)
{
    ((struct fake *)x)->target = index;
    return GW_OK;
}

enum gw_rc gw_exchange_set_upstream(struct gw_exchange *x, struct gw_str name)
{
    return GW_NOT_FOUND;
}

void gw_exchange_detach(struct gw_exchange *x)
{
    ((struct fake *)x)->detached++;
}

void gw_exchange_release(struct gw_exchange *x)
{
    ((struct fake *)x)->released++;
}

/* ---- a conf in memory: plugins are files in a folder of the test ---- */

#define BINDINGS_MAX 16

struct world {
    char dir[64];
    struct gw_loop *loop;
    struct gw_script *script;
    struct gw_image images[8]; /* of the generations that live */
    struct gw_script_generation *generations[8];
    uint32_t count;
    struct gw_binding bindings[BINDINGS_MAX];
    uint32_t bindings_count;
    uint64_t heap_max;
    uint32_t cpu_ms;
    struct gw_arena arena;
    char report[4096]; /* of the last load */
    struct gw_err err; /* of the last prepare */
};

static inline void world_file(struct world *w, const char *name, const char *text)
{
    char path[200];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", w->dir, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static inline void world_plugin(struct world *w, const char *name, const char *text)
{
    char file[100];

    snprintf(file, sizeof(file), "plugins/%s.lua", name);
    world_file(w, file, text);
}

/* Both routes share a file: route GW_NONE, 0 or 1. Bindings must come in that order. */
static inline struct gw_binding *world_bind(struct world *w, const char *plugin, uint32_t route,
                                            const char *conf)
{
    struct gw_binding *b = &w->bindings[w->bindings_count++];
    struct gw_err err;

    *b = (struct gw_binding){.plugin = gw_str_c(plugin),
                             .id = gw_str_c(plugin),
                             .where = {0, 9, 5},
                             .path = GW_STR("plugins[0]"),
                             .conf_path = GW_STR("plugins[0].x"),
                             .route = route,
                             .enabled = true};
    if (conf != NULL)
        assert_int_equal(gw_node_from_json(&w->arena, gw_str_c(conf), &b->conf, &err), GW_OK);
    return b;
}

static inline struct gw_ref text_ref(struct gw_image *image, const char *text)
{
    return gw_image_add_str(image, gw_str_c(text));
}

static inline void world_image(struct world *w, struct gw_image *image)
{
    struct gw_conf_route routes[2] = {{.upstream = GW_NONE}, {.upstream = GW_NONE}};
    struct gw_conf_limits *limits;
    uint32_t off;

    gw_image_init(image);
    routes[0].name = text_ref(image, "first");
    routes[1].name = text_ref(image, "second");
    routes[0].limits = routes[1].limits = gw_image_alloc(image, sizeof(*limits));
    limits = gw_image_at(image, routes[0].limits);
    limits->body_buffer_bytes_max = 1000;
    off = gw_image_alloc(image, sizeof(routes));
    memcpy(gw_image_at(image, off), routes, sizeof(routes));
    gw_image_conf(image)->routes = (struct gw_ref){off, 2};
    gw_image_conf(image)->cpu_budget_ms = w->cpu_ms;
    gw_image_conf(image)->heap_max = w->heap_max;
}

/* The loader's part, in a VM of its own (the worker's must not be there yet or stays aside). */
static inline enum gw_rc world_load(struct world *w, struct gw_image *image)
{
    struct gw_conf_source source;
    struct gw_report report;
    struct gw_buf text = GW_BUF_INIT;
    char plugins[100], modules[100];
    struct gw_str paths[2];
    enum gw_rc rc;

    snprintf(plugins, sizeof(plugins), "%s/plugins", w->dir);
    snprintf(modules, sizeof(modules), "%s/lua", w->dir);
    paths[0] = gw_str_c(plugins);
    paths[1] = gw_str_c(modules);
    gw_conf_source_init(&source);
    /* The loader fills defaults in: each load gets confs of its own. */
    source.bindings = gw_arena_alloc(&w->arena, sizeof(w->bindings));
    memcpy(source.bindings, w->bindings, sizeof(w->bindings));
    for (uint32_t i = 0; i < w->bindings_count; i++)
        if (w->bindings[i].conf != NULL)
            source.bindings[i].conf = gw_node_copy(&w->arena, w->bindings[i].conf);
    source.bindings_count = w->bindings_count;
    source.plugin_paths = &paths[0];
    source.module_paths = &paths[1];
    source.plugin_paths_count = source.module_paths_count = 1;
    gw_report_init(&report);
    gw_report_file(&report, GW_STR("gateway.yaml"));
    world_image(w, image);
    rc = gw_script_load(image, &source, &report);
    gw_report_text(&report, &text);
    snprintf(w->report, sizeof(w->report), "%.*s", (int)gw_buf_len(&text),
             text.data != NULL ? text.data + text.from : "");
    gw_buf_fini(&text);
    gw_report_fini(&report);
    gw_conf_source_fini(&source);
    return rc;
}

static inline void world_open(struct world *w)
{
    char path[100];

    memset(w, 0, sizeof(*w));
    strcpy(w->dir, "/tmp/gw-script-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(path, sizeof(path), "%s/plugins", w->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/lua", w->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    gw_arena_init(&w->arena);
    assert_int_equal(gw_loop_new(&w->loop), GW_OK);
}

static inline void world_start(struct world *w)
{
    struct gw_script_options options = {
        .loop = w->loop, .cpu_budget_ms = w->cpu_ms, .heap_max = w->heap_max, .worker = 1};

    assert_int_equal(gw_script_new(&options, &w->script, &w->err), GW_OK);
}

/* Prepares and commits what the bindings say; false: w->report or w->err says why. */
static inline bool world_reload(struct world *w)
{
    struct gw_image *image = &w->images[w->count];
    struct gw_script_generation *g;
    enum gw_rc rc = world_load(w, image);

    if (rc != GW_OK) {
        gw_image_fini(image);
        return false;
    }
    if (w->script == NULL)
        world_start(w);
    rc = gw_script_prepare(w->script, gw_image_conf(image), &g, &w->err);
    if (rc != GW_OK) {
        gw_image_fini(image);
        return false;
    }
    while ((rc = gw_script_prepare_step(g, 2000, &w->err)) == GW_AGAIN)
        ;
    if (rc != GW_OK) {
        gw_script_abort(g);
        gw_image_fini(image);
        return false;
    }
    gw_script_commit(g);
    w->generations[w->count++] = g;
    return true;
}

static inline void world_drop(struct world *w, uint32_t i)
{
    gw_script_generation_free(w->generations[i]);
    w->generations[i] = NULL;
    gw_image_fini(&w->images[i]);
}

static inline int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static inline void world_close(struct world *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (w->generations[i] != NULL)
            world_drop(w, i);
    gw_script_free(w->script);
    gw_loop_free(w->loop);
    gw_arena_fini(&w->arena);
    nftw(w->dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fake_begin(struct world *w, struct fake *f, uint32_t route)
{
    const struct gw_conf *conf = gw_image_conf(&w->images[w->count - 1]);
    struct gw_request *r = &f->x.request;

    memset(f, 0, sizeof(*f));
    gw_arena_init(&f->x.arena);
    f->generation.conf = conf;
    f->generation.script = w->generations[w->count - 1];
    f->x.generation = &f->generation;
    if (route != GW_NONE)
        f->x.route = &GW_ITEMS(conf, conf->routes, struct gw_conf_route)[route];
    f->x.client_ip = GW_STR("192.0.2.1");
    f->x.http_major = f->x.http_minor = 1;
    r->method = GW_STR("GET");
    r->method_id = GW_METHOD_GET;
    r->scheme = GW_STR("http");
    r->host = GW_STR("example.com");
    r->port = 8080;
    r->target = GW_STR("/a/b?x=1&y=a%20b&x=2");
    r->path = GW_STR("/a/b");
    r->query = GW_STR("x=1&y=a%20b&x=2");
    gw_fields_init(&r->fields, &f->x.arena);
    gw_fields_add(&r->fields, GW_STR("X-Key"), GW_STR("secret"));
    gw_fields_add(&r->fields, GW_STR("Accept"), GW_STR("a"));
    gw_fields_add(&r->fields, GW_STR("accept"), GW_STR("b"));
    gw_fields_init(&f->x.response.fields, &f->x.arena);
    f->x.response.status = 200;
    gw_fields_add(&f->x.response.fields, GW_STR("Server"), GW_STR("up"));
}

static inline enum gw_phase_rc fake_run(struct world *w, struct fake *f, enum gw_phase phase)
{
    const struct gw_hooks *hooks = gw_script_hooks(w->script);

    return hooks->run(hooks->self, &f->x, phase);
}

static inline void fake_end(struct world *w, struct fake *f)
{
    const struct gw_hooks *hooks = gw_script_hooks(w->script);

    if (f->x.script != NULL)
        hooks->finish(hooks->self, &f->x);
    gw_arena_fini(&f->x.arena);
}

static inline const char *fake_header(struct fake *f, const char *name)
{
    static char text[4096];
    struct gw_str value;

    if (!gw_fields_get(&f->x.request.fields, gw_str_c(name), &value))
        return NULL;
    snprintf(text, sizeof(text), "%.*s", GW_STR_ARG(value));
    return text;
}

#endif
