/* A plugin's phases, called one by one on an exchange that no client has sent. The plugin goes
 * the whole way that it goes in a gateway: conf, schema, defaults, sandbox, init, driver; only who
 * calls the hooks is another. */
#include <assert.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/cidr.h"
#include "conf/load.h"
#include "proxy/made.h"
#include "proxy/proxy.h"
#include "script/lib_spec.h"
#include "script/load.h"
#include "script/script_private.h"
#include "script/task.h"
#include "shm/shared.h"

#define PLUGIN_TYPE "moongate spec plugin"
#define EXCHANGE_TYPE "moongate spec exchange"

/* One conf in use: what a worker has of a generation, without sockets. */
struct made {
    struct gw_wait wait;
    struct gw_later later;
    struct gw_loop *loop;
    struct gw_script *script;
    char *path, *shipped;
    struct gw_image image;
    struct gw_script_generation *g;
    struct gw_generation generation;
    char *fault; /* NULL: it is good */
    bool image_made;
    bool pending; /* `later` will come */
    bool closing;
};

struct made_exchange {
    struct gw_wait wait;
    struct gw_later later;
    struct gw_script *script;
    struct gw_exchange *x;
    struct gw_task *task;
    int driver;
    enum gw_phase phase;
    const char *result;
    struct gw_buf out;  /* of body_filter */
    struct gw_buf held; /* the pieces for those that want the body whole */
    enum gw_body_wish wish;
    struct gw_str in;
    bool last, changed;
    bool begun; /* pieces of a body have come */
    bool pending;
    struct gw_ws_message message;
};

static struct gw_script *script_of(lua_State *L)
{
    return *gw_vm_data(gw_vm_of(L), GW_LIB_SPEC);
}

/* ---- confs ---- */

static struct made *check_made(lua_State *L, int index)
{
    struct made **at = luaL_checkudata(L, index, PLUGIN_TYPE);

    if (*at == NULL || (*at)->closing)
        luaL_argerror(L, index, "the plugin was closed");
    return *at;
}

static void made_free(struct made *made)
{
    if (made->pending)
        gw_later_cancel(&made->later);
    if (made->g != NULL)
        gw_script_generation_free(made->g);
    if (made->image_made)
        gw_image_fini(&made->image);
    free(made->generation.upstreams);
    free(made->path);
    free(made->shipped);
    free(made->fault);
    free(made);
}

/* stop() of a plugin is an entry into Lua of its own: at the end of the VM it is too late for
 * it, and what still has instances then is not freed. */
static int made_gc(lua_State *L)
{
    struct made **at = luaL_checkudata(L, 1, PLUGIN_TYPE);

    if (*at != NULL && ((*at)->g == NULL || (*at)->g->image == NULL))
        made_free(*at);
    *at = NULL;
    return 0;
}

static char *copy_of(struct gw_str text)
{
    char *copy = strndup(text.data != NULL ? text.data : "", text.len);

    if (copy == NULL)
        abort();
    return copy;
}

/* The dictionaries of this conf. One without any leaves those that are there alone. */
static enum gw_rc share(struct made *made, struct gw_err *err)
{
    const struct gw_conf *conf = gw_image_conf(&made->image);
    const struct gw_conf_shared *shared = GW_ITEMS(conf, conf->shared, struct gw_conf_shared);
    struct gw_shared_set *set = gw_vm_shared(made->script->vm);
    struct gw_shared_row rows[GW_SHARED_DICTS_MAX];

    for (uint32_t i = 0; i < conf->shared.len && i < GW_SHARED_DICTS_MAX; i++)
        rows[i] = (struct gw_shared_row){.name = gw_ref_str(conf, shared[i].name),
                                         .size = shared[i].size,
                                         .evict_never = shared[i].evict_never != 0};
    return conf->shared.len == 0 ? GW_OK : gw_shared_set_update(set, rows, conf->shared.len, err);
}

static enum gw_rc load_image(struct made *made)
{
    struct gw_conf_options options = {.shipped_dir = made->shipped};
    struct gw_conf_source source;
    struct gw_report report;
    enum gw_rc rc;

    gw_image_init(&made->image);
    made->image_made = true;
    gw_conf_source_init(&source);
    gw_report_init(&report);
    rc = gw_conf_load(made->path, &options, &made->image, &source, &report);
    if (rc == GW_OK && source.bindings_count > 0)
        rc = gw_script_load(&made->image, &source, &report);
    if (rc != GW_OK || !gw_report_ok(&report)) {
        struct gw_buf text = GW_BUF_INIT;
        gw_report_text(&report, &text);
        made->fault = copy_of(gw_buf_str(&text));
        gw_buf_fini(&text);
    }
    gw_report_fini(&report);
    gw_conf_source_fini(&source);
    return made->fault == NULL ? GW_OK : GW_INVALID;
}

static enum gw_rc make_generation(struct made *made, struct gw_err *err)
{
    const struct gw_conf *conf = gw_image_conf(&made->image);
    enum gw_rc rc = share(made, err);

    if (rc == GW_OK)
        rc = gw_script_prepare(made->script, conf, &made->g, err);
    if (rc != GW_OK) {
        made->g = NULL;
        return rc;
    }
    while ((rc = gw_script_prepare_step(made->g, UINT32_MAX, err)) == GW_AGAIN)
        continue;
    if (rc != GW_OK) {
        gw_script_abort(made->g);
        made->g = NULL;
        return rc;
    }
    gw_script_commit(made->g);
    made->generation.upstreams = calloc(conf->upstreams.len + 1, sizeof(struct gw_upstream *));
    made->generation.conf = conf;
    made->generation.script = made->g;
    made->generation.made_ms = gw_loop_now_ms(made->loop);
    return GW_OK;
}

/* true | nil, the report */
static int push_loaded(lua_State *L, void *arg)
{
    const struct made *made = arg;

    if (made->fault == NULL) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, made->fault);
    return 2;
}

/* Outside of Lua: init() of the plugin is an entry of its own. */
static void on_load(struct gw_later *later)
{
    struct made *made = GW_CONTAINER(later, struct made, later);
    struct gw_err err = {""};

    made->pending = false;
    if (made->closing) {
        if (made->g != NULL)
            gw_script_generation_free(made->g);
        made->g = NULL;
        gw_task_wake(&made->wait, NULL, NULL);
        return;
    }
    if (load_image(made) == GW_OK && make_generation(made, &err) != GW_OK)
        made->fault = copy_of(gw_str_c(err.text));
    gw_task_wake(&made->wait, push_loaded, made);
}

static void load_cancel(struct gw_wait *wait)
{
    struct made *made = GW_CONTAINER(wait, struct made, wait);

    if (made->pending)
        gw_later_cancel(&made->later);
    made->pending = false;
}

/* conf(path, shipped folder) -> an empty object; :load() does the work */
static int spec_conf(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1), *shipped = luaL_checkstring(L, 2);
    struct made **at = lua_newuserdata(L, sizeof(struct made *));
    struct made *made;

    *at = NULL;
    luaL_getmetatable(L, PLUGIN_TYPE);
    lua_setmetatable(L, -2);
    made = calloc(1, sizeof(*made));
    if (made == NULL)
        abort();
    made->path = copy_of(gw_str_c(path));
    made->shipped = copy_of(gw_str_c(shipped));
    made->script = script_of(L);
    made->loop = gw_vm_loop(gw_vm_of(L));
    gw_later_init(&made->later, on_load);
    *at = made;
    return 1;
}

/* conf:load() -> true | nil, report; waits. Once. */
static int made_load(lua_State *L)
{
    struct made *made = check_made(L, 1);

    gw_lib_check(L, "load", GW_IN_SPEC);
    if (made->image_made || made->pending)
        return luaL_error(L, "the conf was loaded before");
    made->pending = true;
    gw_later(made->loop, &made->later);
    return gw_task_wait(L, &made->wait, load_cancel);
}

/* conf:close(): runs stop() of its plugins; waits. No exchange may have joined it any more. */
static int made_close(lua_State *L)
{
    struct made **at = luaL_checkudata(L, 1, PLUGIN_TYPE);
    struct made *made = *at;

    if (made == NULL || made->closing)
        return 0;
    gw_lib_check(L, "close", GW_IN_SPEC);
    if (made->pending)
        return luaL_error(L, "the conf is still being loaded");
    made->pending = made->closing = true;
    gw_later(made->loop, &made->later);
    return gw_task_wait(L, &made->wait, load_cancel);
}

/* ---- exchanges ---- */

static struct made_exchange *check_exchange(lua_State *L)
{
    struct made_exchange **at = luaL_checkudata(L, 1, EXCHANGE_TYPE);

    if (*at == NULL)
        luaL_argerror(L, 1, "the ctx was closed");
    return *at;
}

static int exchange_close(lua_State *L)
{
    struct made_exchange **at = luaL_checkudata(L, 1, EXCHANGE_TYPE);
    struct made_exchange *e = *at;

    if (e == NULL)
        return 0;
    if (e->task != NULL || e->pending)
        return luaL_error(L, "a phase of this ctx still waits");
    *at = NULL;
    if (e->x->script != NULL)
        e->script->hooks.finish(e->script->hooks.self, e->x);
    gw_buf_fini(&e->out);
    gw_buf_fini(&e->held);
    gw_made_free(e->x);
    free(e);
    return 0;
}

/* At the end of the VM every task is gone, whatever it waited for. */
static int exchange_gc(lua_State *L)
{
    struct made_exchange **at = luaL_checkudata(L, 1, EXCHANGE_TYPE);

    if (*at != NULL) {
        if ((*at)->pending)
            gw_later_cancel(&(*at)->later);
        (*at)->pending = false;
        (*at)->task = NULL;
    }
    return exchange_close(L);
}

/* t[name] of the table at 2, copied; `otherwise` when it is nil. */
static struct gw_str text_field(lua_State *L, struct gw_arena *arena, const char *name,
                                struct gw_str otherwise)
{
    struct gw_str text = otherwise;

    lua_getfield(L, 2, name);
    if (lua_type(L, -1) == LUA_TSTRING) {
        text.data = lua_tolstring(L, -1, &text.len);
        text = gw_arena_dup(arena, text);
    } else if (!lua_isnil(L, -1)) {
        luaL_error(L, "ctx: %s: a string expected", name);
    }
    lua_pop(L, 1);
    return text;
}

static double number_field(lua_State *L, const char *name, double otherwise)
{
    double number = otherwise;

    lua_getfield(L, 2, name);
    if (lua_type(L, -1) == LUA_TNUMBER)
        number = lua_tonumber(L, -1);
    else if (!lua_isnil(L, -1))
        luaL_error(L, "ctx: %s: a number expected", name);
    lua_pop(L, 1);
    return number;
}

/* t[name] is a flat list: name, value, name, value, … */
static void fields_field(lua_State *L, struct gw_arena *arena, const char *name,
                         struct gw_fields *to)
{
    struct gw_str pair[2];

    lua_getfield(L, 2, name);
    luaL_checktype(L, -1, LUA_TTABLE);
    for (int i = 1; i <= (int)lua_objlen(L, -1); i++) {
        struct gw_str *part = &pair[(i - 1) % 2];
        lua_rawgeti(L, -1, i);
        part->data = luaL_checklstring(L, -1, &part->len);
        *part = gw_arena_dup(arena, *part);
        lua_pop(L, 1);
        if (i % 2 == 0)
            gw_fields_add(to, pair[0], pair[1]);
    }
    lua_pop(L, 1);
}

static void params_field(lua_State *L, struct gw_exchange *x)
{
    lua_getfield(L, 2, "params");
    luaL_checktype(L, -1, LUA_TTABLE);
    for (int i = 1; i + 1 <= (int)lua_objlen(L, -1) && x->params < GW_ROUTE_PARAMS_MAX; i += 2) {
        struct gw_str name, value;
        lua_rawgeti(L, -1, i);
        lua_rawgeti(L, -2, i + 1);
        name.data = luaL_checklstring(L, -2, &name.len);
        value.data = luaL_checklstring(L, -1, &value.len);
        x->param_names[x->params] = gw_arena_dup(&x->arena, name);
        x->param_values[x->params++] = gw_arena_dup(&x->arena, value);
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
}

static void fill_request(lua_State *L, struct gw_exchange *x)
{
    struct gw_request *r = &x->request;
    struct gw_arena *arena = &x->arena;
    struct gw_str path;

    r->method = text_field(L, arena, "method", GW_STR("GET"));
    r->method_id = gw_method_of(r->method);
    r->scheme = text_field(L, arena, "scheme", GW_STR("http"));
    r->host = text_field(L, arena, "host", GW_STR("localhost"));
    r->port = (uint16_t)number_field(L, "port", 80);
    r->authority = r->host;
    path = text_field(L, arena, "path", GW_STR("/"));
    r->query = text_field(L, arena, "query", GW_STR_NULL);
    r->target = r->query.data == NULL
                    ? path
                    : gw_arena_printf(arena, "%.*s?%.*s", GW_STR_ARG(path), GW_STR_ARG(r->query));
    if (gw_exchange_set_path(x, path) != GW_OK)
        luaL_error(L, "ctx: path: \"%s\" is not a path (a query goes into `query`)", path.data);
    r->minor = 1;
    x->http_major = x->http_minor = 1;
    fields_field(L, arena, "headers", &r->fields);
    params_field(L, x);
}

static void fill_rest(lua_State *L, struct gw_exchange *x)
{
    struct gw_arena *arena = &x->arena;
    struct gw_str body = text_field(L, arena, "body", GW_STR_NULL);

    if (body.data != NULL)
        gw_exchange_set_body(x, body);
    x->client_ip = x->peer_ip = text_field(L, arena, "client_ip", GW_STR("127.0.0.1"));
    if (gw_ip_parse(x->client_ip, x->client_address) != GW_OK)
        luaL_error(L, "ctx: client_ip: not an address");
    x->client_port = (uint16_t)number_field(L, "client_port", 50000);
    x->upstream_address = text_field(L, arena, "upstream_address", GW_STR_NULL);
    x->response.status = (uint16_t)number_field(L, "status", 200);
    x->response.has_body = true;
    x->response.length = GW_LENGTH_UNKNOWN;
    x->bytes_out = (uint64_t)number_field(L, "bytes", 0);
    x->tries = (uint32_t)number_field(L, "tries", 0);
    fields_field(L, arena, "response_headers", &x->response.fields);
    body = text_field(L, arena, "response_body", GW_STR_NULL);
    if (body.data != NULL)
        gw_exchange_set_response_body(x, body);
    lua_getfield(L, 2, "from_gateway");
    x->answered_by_gateway = lua_toboolean(L, -1);
    lua_pop(L, 1);
}

static void on_phase(struct gw_later *later);

/* exchange(conf, {…}) -> exchange, the number of its slot. See lua/gateway/spec/plugin.lua. */
static int spec_exchange(lua_State *L)
{
    struct made *made = check_made(L, 1);
    struct gw_script *script = made->script;
    struct made_exchange **at, *e;
    uint32_t slot;

    luaL_checktype(L, 2, LUA_TTABLE);
    at = lua_newuserdata(L, sizeof(struct made_exchange *));
    *at = NULL;
    luaL_getmetatable(L, EXCHANGE_TYPE);
    lua_setmetatable(L, -2);
    e = calloc(1, sizeof(*e));
    if (e == NULL || (e->x = gw_made_new(&made->generation)) == NULL)
        abort();
    e->script = script;
    gw_later_init(&e->later, on_phase);
    *at = e;
    fill_request(L, e->x);
    fill_rest(L, e->x);
    e->x->began_us = gw_loop_now_us(made->loop);
    slot = gw_slots_take(script->vm->slots, e->x);
    if (slot == 0)
        return luaL_error(L, "too many of them");
    e->x->script = &gw_slots_base(script->vm->slots)[slot];
    gw_slots_base(script->vm->slots)[slot].in = GW_IN_REQUEST;
    lua_pushinteger(L, (lua_Integer)slot);
    return 2;
}

/* ---- phases ---- */

static const char *const phase_names[] = {
    "rewrite_global", "rewrite", "access",  "balancer", "header_filter",
    "body_filter",    "log",     "message", NULL};

/* What a chain made of a message: data or false, is text; or nil, nil, code, reason. */
static int push_message(lua_State *L, struct gw_ws_message *message)
{
    struct gw_str data = message->changed ? gw_buf_str(&message->out) : message->data;

    if (message->close_code != 0) {
        lua_pushnil(L);
        lua_pushnil(L);
        lua_pushinteger(L, message->close_code);
        lua_pushlstring(L, message->close_reason.data, message->close_reason.len);
        gw_buf_fini(&message->out);
        return 4;
    }
    if (message->dropped)
        lua_pushboolean(L, 0);
    else
        lua_pushlstring(L, data.data != NULL ? data.data : "", data.len);
    lua_pushboolean(L, message->text);
    gw_buf_fini(&message->out);
    return 2;
}

static int push_result(lua_State *L, void *arg)
{
    struct made_exchange *e = arg;

    lua_pushstring(L, e->result);
    if (strcmp(e->result, "failed") == 0)
        lua_pushstring(L, e->script->vm->fault);
    else if (e->phase == GW_PHASE_BODY_FILTER && e->changed)
        lua_pushlstring(L, gw_buf_len(&e->out) > 0 ? e->out.data + e->out.from : "",
                        gw_buf_len(&e->out));
    else if (e->phase == GW_PHASE_MESSAGE)
        return 1 + push_message(L, &e->message);
    else
        lua_pushnil(L);
    return 2;
}

static void tell(struct made_exchange *e, bool good)
{
    struct gw_slot *slot = e->x->script;

    e->result = !good                                  ? "failed"
                : slot->verdict == GW_VERDICT_ANSWERED ? "answered"
                : slot->verdict == GW_VERDICT_REROUTE  ? "reroute"
                : slot->verdict == GW_VERDICT_CLOSE    ? "close"
                                                       : "next";
    /* Between two phases the spec may look at everything, and change it. */
    slot->in = GW_IN_REQUEST;
    gw_task_wake(&e->wait, push_result, e);
}

/* A task has come to its end; the whole body that body_filter gives is on its stack. */
static void phase_over(struct made_exchange *e, struct gw_task *task, enum gw_task_rc rc)
{
    if (rc == GW_TASK_DONE && e->phase == GW_PHASE_BODY_FILTER) {
        struct gw_str body;
        body.data = lua_tolstring(gw_task_thread(task), 1, &body.len);
        gw_buf_add_str(&e->out, body);
    }
    if (rc == GW_TASK_DONE && e->phase == GW_PHASE_MESSAGE)
        gw_phase_take_message(gw_task_thread(task), e->x->script, &e->message);
    gw_task_end(task);
    tell(e, rc == GW_TASK_DONE);
}

static void phase_done(struct gw_task *task, enum gw_task_rc rc, void *arg)
{
    struct made_exchange *e = arg;

    ((struct gw_slot *)e->x->script)->task = NULL;
    e->task = NULL;
    phase_over(e, task, rc);
}

/* Runs the driver, with a body (NULL: this phase has none) behind slot and position. */
static void enter(struct made_exchange *e, uint32_t in, uint32_t position,
                  const struct gw_str *body)
{
    struct gw_vm *vm = e->script->vm;
    struct gw_slot *slot = e->x->script;
    uint32_t index = (uint32_t)(slot - gw_slots_base(vm->slots));
    struct gw_task *task = gw_task_new(vm, in, NULL, phase_done, e);
    lua_State *co = gw_task_thread(task);
    enum gw_task_rc rc;
    int args = 2;

    slot->in = in;
    gw_task_set_slot(task, index);
    lua_rawgeti(co, LUA_REGISTRYINDEX, e->driver);
    lua_pushinteger(co, (lua_Integer)index);
    lua_pushinteger(co, (lua_Integer)position);
    if (body != NULL)
        args += gw_phase_push_whole(co, body);
    else if (e->phase == GW_PHASE_MESSAGE)
        args += gw_phase_push_message(co, &e->message);
    rc = gw_task_resume(task, args);
    if (rc == GW_TASK_WAITS)
        slot->task = e->task = task;
    else
        phase_over(e, task, rc);
}

static bool filter_piece(struct made_exchange *e)
{
    const struct gw_hooks *hooks = &e->script->hooks;

    if (!e->begun)
        e->wish = hooks->body_begin(hooks->self, e->x);
    e->begun = !e->last;
    e->changed = false;
    gw_buf_clear(&e->out);
    if (e->wish == GW_BODY_FAILED)
        e->begun = false;
    if (e->wish == GW_BODY_FAILED || e->wish == GW_BODY_AS_IT_IS)
        return e->wish == GW_BODY_AS_IT_IS;
    return hooks->body_filter(hooks->self, e->x, e->in, e->last, &e->out, &e->changed) ==
           GW_PHASE_NEXT;
}

/* Pieces give nothing as long as one of the plugins waits for the whole. */
static void run_body_filter(struct made_exchange *e)
{
    struct gw_slot *slot = e->x->script;
    struct gw_str whole;

    if (!filter_piece(e)) {
        tell(e, false);
        return;
    }
    if (e->wish != GW_BODY_WHOLE) {
        tell(e, true);
        return;
    }
    gw_buf_add_str(&e->held, e->changed ? gw_buf_str(&e->out) : e->in);
    gw_buf_clear(&e->out);
    e->changed = true;
    if (!e->last) {
        tell(e, true);
        return;
    }
    whole = gw_arena_dup(&e->x->arena, gw_buf_str(&e->held));
    gw_buf_clear(&e->held);
    if (whole.data == NULL)
        whole = GW_STR("");
    enter(e, GW_IN_BODY_WHOLE, slot->whole_from, &whole);
}

static void on_phase(struct gw_later *later)
{
    struct made_exchange *e = GW_CONTAINER(later, struct made_exchange, later);
    struct gw_vm *vm = e->script->vm;
    struct gw_slot *slot = e->x->script;

    e->pending = false;
    slot->verdict = GW_VERDICT_NONE;
    slot->answer = NULL;
    if (e->phase == GW_PHASE_LOG)
        e->x->ended_us = gw_loop_now_us(gw_vm_loop(vm));
    if (e->phase == GW_PHASE_BODY_FILTER) {
        run_body_filter(e);
        return;
    }
    enter(e, 1u << e->phase, 1, NULL);
}

static void phase_cancel(struct gw_wait *wait)
{
    struct made_exchange *e = GW_CONTAINER(wait, struct made_exchange, wait);

    if (e->pending)
        gw_later_cancel(&e->later);
    e->pending = false;
}

/* exchange:run(conf, phase, chunk, last) -> "next" | "answered" | "reroute", new chunk | nil
 *   (for message: data, is text, from the upstream -> "next", data | false, is text
 *   | "close", nil, nil, code, reason)
 *   | "failed", message | nothing: the plugin has no code for this phase. Waits. */
static int exchange_run(lua_State *L)
{
    struct made_exchange *e = check_exchange(L);
    struct made *made = check_made(L, 2);
    enum gw_phase phase = (enum gw_phase)luaL_checkoption(L, 3, NULL, phase_names);
    const struct gw_conf *conf = made->generation.conf;
    uint32_t chain;

    e->in.data = luaL_optlstring(L, 4, "", &e->in.len);
    e->last = lua_toboolean(L, 5);
    gw_lib_check(L, "phase", GW_IN_SPEC);
    if (e->task != NULL || e->pending)
        return luaL_error(L, "a phase of this ctx still runs");
    gw_made_join(e->x, &made->generation);
    chain = e->x->route != NULL ? e->x->route->chain : conf->global_chain;
    e->driver = chain == GW_NONE || made->g->image == NULL
                    ? LUA_NOREF
                    : made->g->drivers[chain * GW_PHASE_COUNT + phase];
    if (e->driver == LUA_NOREF)
        return 0;
    e->phase = phase;
    e->in = gw_arena_dup(&e->x->arena, e->in);
    e->message = (struct gw_ws_message){
        .data = e->in, .text = e->last, .from_upstream = lua_toboolean(L, 6)};
    e->pending = true;
    gw_later(made->loop, &e->later);
    return gw_task_wait(L, &e->wait, phase_cancel);
}

/* exchange:answer() -> status, body, flat list of headers; nothing: the phase gave none */
static int exchange_answer(lua_State *L)
{
    struct made_exchange *e = check_exchange(L);
    const struct gw_answer *answer = ((struct gw_slot *)e->x->script)->answer;
    int n = 0;

    if (answer == NULL)
        return 0;
    lua_pushinteger(L, answer->status);
    lua_pushlstring(L, answer->body.data != NULL ? answer->body.data : "", answer->body.len);
    lua_newtable(L);
    for (uint32_t i = 0; i < answer->fields.count; i++) {
        const struct gw_field *field = &answer->fields.items[i];
        if (field->dropped)
            continue;
        lua_pushlstring(L, field->name.data, field->name.len);
        lua_rawseti(L, -2, ++n);
        lua_pushlstring(L, field->value.data, field->value.len);
        lua_rawseti(L, -2, ++n);
    }
    return 3;
}

/* exchange:body() -> what the upstream would get */
static int exchange_body(lua_State *L)
{
    struct gw_str body = gw_made_body(check_exchange(L)->x);

    lua_pushlstring(L, body.data != NULL ? body.data : "", body.len);
    return 1;
}

/* exchange:target() -> place of the target that balancer chose, from 1 | nil */
static int exchange_target(lua_State *L)
{
    uint32_t target = gw_made_target(check_exchange(L)->x);

    if (target == GW_NONE)
        return 0;
    lua_pushinteger(L, (lua_Integer)target + 1);
    return 1;
}

/* exchange:joined(conf): reads go to that conf from now on (its route's name) */
static int exchange_join(lua_State *L)
{
    struct made_exchange *e = check_exchange(L);

    gw_made_join(e->x, &check_made(L, 2)->generation);
    return 0;
}

/* ---- opening ---- */

static void new_type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

void gw_lib_spec_plugin_open(lua_State *L)
{
    static const luaL_Reg conf_methods[] = {
        {"load", made_load}, {"close", made_close}, {NULL, NULL}};
    static const luaL_Reg exchange_methods[] = {{"run", exchange_run},
                                                {"answer", exchange_answer},
                                                {"body", exchange_body},
                                                {"target", exchange_target},
                                                {"join", exchange_join},
                                                {"close", exchange_close},
                                                {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"conf", spec_conf}, {"exchange", spec_exchange}, {NULL, NULL}};

    new_type(L, PLUGIN_TYPE, conf_methods, made_gc);
    new_type(L, EXCHANGE_TYPE, exchange_methods, exchange_gc);
    luaL_register(L, NULL, functions);
}
