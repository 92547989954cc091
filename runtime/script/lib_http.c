/* gw.http: requests to other servers, from code that may wait.
 *   local answer, err, code = gw.http.request { url =, method =, headers =, body =, timeout =, … }
 * Arguments of a wrong type raise; what a value or the world does wrong is nil, err, code. */
#include "script/lib_http.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "http/uri.h"
#include "script/lib_rows.h"

#define TIMEOUT_SECONDS 5.0
#define TIMEOUT_SECONDS_MAX 3600.0
#define BODY_BYTES (1024 * 1024)
#define BODY_BYTES_MAX (256.0 * 1024 * 1024)
#define HEADERS_MAX 100
#define URL_BYTES_MAX 8192
#define HEADERS_TYPE "gw.http.headers"

static struct gw_http_client *client_of(lua_State *L)
{
    return *gw_vm_data(gw_vm_of(L), GW_LIB_HTTP);
}

/* ---- the answer ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Pushes the name in lower case; names of a head are bounded. [-0, +1] */
static void push_lower(lua_State *L, struct gw_str name)
{
    luaL_Buffer buffer;

    luaL_buffinit(L, &buffer);
    for (size_t i = 0; i < name.len; i++)
        luaL_addchar(&buffer, lower(name.data[i]));
    luaL_pushresult(&buffer);
}

/* headers:all(name) -> list of all values   [-0, +1] */
static int headers_all(lua_State *L)
{
    struct gw_str name, other;
    int found = 0;

    luaL_checktype(L, 1, LUA_TTABLE);
    name.data = luaL_checklstring(L, 2, &name.len);
    lua_settop(L, 2);
    lua_newtable(L);
    lua_rawgeti(L, 1, 0);
    for (int i = 1; lua_istable(L, 4); i += 2) {
        lua_rawgeti(L, 4, i);
        if (lua_isnil(L, -1))
            break;
        other.data = lua_tolstring(L, -1, &other.len);
        if (gw_str_eq_nocase(name, other)) {
            lua_rawgeti(L, 4, i + 1);
            lua_rawseti(L, 3, ++found);
        }
        lua_pop(L, 1);
    }
    lua_settop(L, 3);
    return 1;
}

/* headers[name], any case   [-0, +1] */
static int headers_index(lua_State *L)
{
    struct gw_str name;

    if (lua_type(L, 2) != LUA_TSTRING) {
        lua_pushnil(L);
        return 1;
    }
    name.data = lua_tolstring(L, 2, &name.len);
    if (gw_str_eq(name, GW_STR("all"))) {
        lua_pushcfunction(L, headers_all);
        return 1;
    }
    push_lower(L, name);
    lua_rawget(L, 1);
    return 1;
}

/* { ["content-type"] = "…", … } by name in lower case, repeated ones joined; [0] lists names and
 * values in their order, for headers:all(). [-0, +1] */
static void push_headers(lua_State *L, const struct gw_fields *fields)
{
    int place = 0;

    lua_newtable(L);
    lua_newtable(L);
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct gw_field *field = &fields->items[i];
        struct gw_str value;
        if (field->dropped)
            continue;
        push_lower(L, field->name);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, ++place);
        lua_pushlstring(L, field->value.data, field->value.len);
        lua_rawseti(L, -3, ++place);
        if (gw_fields_get(fields, field->name, &value))
            lua_pushlstring(L, value.data, value.len);
        else
            lua_pushliteral(L, "");
        lua_rawset(L, -4);
    }
    lua_rawseti(L, -2, 0);
    luaL_getmetatable(L, HEADERS_TYPE);
    lua_setmetatable(L, -2);
}

/* What the waiting function returns; the call is gone afterwards. */
static int push_answer(lua_State *L, void *arg)
{
    struct gw_http_call *call = arg;

    if (call->rc != GW_OK) {
        enum gw_rc rc = call->rc;
        const char *why = call->why; /* a text of the program */
        gw_http_call_free(call);     /* first: a push may raise when we were called by Lua */
        lua_pushfstring(L, "http: %s%s%s", gw_rc_text(rc), why != NULL ? ": " : "",
                        why != NULL ? why : "");
        return gw_lib_fail(L, rc, lua_tostring(L, -1));
    }
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, call->response.status);
    lua_setfield(L, -2, "status");
    push_headers(L, &call->response.fields);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, gw_buf_len(&call->body) > 0 ? gw_buf_str(&call->body).data : "",
                    gw_buf_len(&call->body));
    lua_setfield(L, -2, "body");
    gw_http_call_free(call);
    return 1;
}

static void call_done(struct gw_http_call *call)
{
    gw_task_wake(&call->wait, push_answer, call);
}

static void call_cancel(struct gw_wait *wait)
{
    gw_http_call_free(GW_CONTAINER(wait, struct gw_http_call, wait));
}

/* ---- the request ----
 * Everything is read from Lua's stack first, where a mistake may raise; only then a call is
 * made, and nothing raises until it waits or is freed. */

struct header {
    struct gw_str name;
    struct gw_str value;
};

struct request {
    struct gw_str url;
    struct gw_str method;
    struct gw_str body; /* data NULL: none */
    double timeout_s;
    double body_bytes_max;
    bool keep_alive;
    struct header headers[HEADERS_MAX];
    uint32_t header_count;
};

static const char *const option_names[] = {"url",     "method",   "headers",   "body",
                                           "timeout", "max_body", "keep_alive"};

static void check_options(lua_State *L, int index)
{
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        bool known = false;
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        for (size_t i = 0; i < sizeof(option_names) / sizeof(option_names[0]); i++)
            known = known || strcmp(name, option_names[i]) == 0;
        if (!known)
            luaL_error(L, "http: there is no option '%s'", name);
        lua_pop(L, 1);
    }
}

/* The slice stays good: the table of options keeps the string. */
static void option_string(lua_State *L, int index, const char *name, struct gw_str *out)
{
    lua_getfield(L, index, name);
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "http: option %s: string expected, got %s", name, luaL_typename(L, -1));
        out->data = lua_tolstring(L, -1, &out->len);
    }
    lua_pop(L, 1);
}

static void option_number(lua_State *L, int index, const char *name, double min, double max,
                          double *out)
{
    lua_getfield(L, index, name);
    if (!lua_isnil(L, -1)) {
        *out = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        if (!(*out >= min && *out <= max))
            luaL_error(L, "http: option %s: a number from %f to %f expected", name, min, max);
    }
    lua_pop(L, 1);
}

static void add_header(lua_State *L, struct request *request, int value)
{
    struct header *header = &request->headers[request->header_count];

    if (request->header_count == HEADERS_MAX)
        luaL_error(L, "http: more than %d headers", HEADERS_MAX);
    if (lua_type(L, value) != LUA_TSTRING)
        luaL_error(L, "http: header %s: string, number or list expected, got %s", header->name.data,
                   luaL_typename(L, value));
    header->value.data = lua_tolstring(L, value, &header->value.len);
    request->header_count++;
}

/* Numbers become strings in the table, which is the caller's: so a copy is walked. Leaves
 * the copy on the stack, where it keeps the strings. [-0, +1] */
static void copy_headers(lua_State *L, int index)
{
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "http: a header name is a %s", luaL_typename(L, -2));
        if (lua_type(L, -1) == LUA_TNUMBER)
            (void)lua_tostring(L, -1);
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

static void read_headers(lua_State *L, int options, struct request *request)
{
    lua_getfield(L, options, "headers");
    if (lua_isnil(L, -1))
        return;
    if (!lua_istable(L, -1))
        luaL_error(L, "http: option headers: table expected, got %s", luaL_typename(L, -1));
    copy_headers(L, lua_gettop(L));
    int copy = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, copy) != 0) {
        struct gw_str name;
        name.data = lua_tolstring(L, -2, &name.len);
        int count = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 1;
        for (int i = 1; i <= count; i++) {
            if (request->header_count < HEADERS_MAX)
                request->headers[request->header_count].name = name;
            if (lua_istable(L, -1)) {
                lua_rawgeti(L, -1, i);
                add_header(L, request, -1);
                lua_pop(L, 1);
            } else {
                add_header(L, request, -1);
            }
        }
        lua_pop(L, 1);
    }
}

/* Reads the options at `index` (may be none); leaves on the stack what keeps slices alive. */
static void read_request(lua_State *L, int index, struct request *request)
{
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    check_options(L, index);
    option_string(L, index, "url", &request->url);
    option_string(L, index, "method", &request->method);
    option_string(L, index, "body", &request->body);
    option_number(L, index, "timeout", 0.001, TIMEOUT_SECONDS_MAX, &request->timeout_s);
    option_number(L, index, "max_body", 0, BODY_BYTES_MAX, &request->body_bytes_max);
    lua_getfield(L, index, "keep_alive");
    if (!lua_isnil(L, -1))
        request->keep_alive = lua_toboolean(L, -1);
    lua_pop(L, 1);
    read_headers(L, index, request);
}

static bool is_token(struct gw_str text)
{
    return gw_field_name_valid(text);
}

/* Fields that the client writes itself, and those that mean something to one connection. */
static bool is_ours(struct gw_str name)
{
    switch (gw_field_id_of(name)) {
    case GW_FIELD_CONTENT_LENGTH:
    case GW_FIELD_TRANSFER_ENCODING:
    case GW_FIELD_CONNECTION:
    case GW_FIELD_UPGRADE:
    case GW_FIELD_EXPECT:
    case GW_FIELD_TE:
    case GW_FIELD_TRAILER:
    case GW_FIELD_KEEP_ALIVE:
    case GW_FIELD_PROXY_CONNECTION:
    case GW_FIELD_HTTP2_SETTINGS:
        return true;
    default:
        return false;
    }
}

static enum gw_rc parse_url(struct gw_http_call *call, struct gw_str url,
                            struct gw_target_parts *parts, const char **why)
{
    const char *hash = memchr(url.data, '#', url.len);
    struct gw_str host;

    *why = "http: the URL is not valid";
    if (hash != NULL) /* a fragment is the client's own business */
        url.len = (size_t)(hash - url.data);
    if (url.len > URL_BYTES_MAX || gw_uri_split_target(url, parts) != GW_OK ||
        parts->form != GW_TARGET_ABSOLUTE)
        return GW_INVALID;
    if (gw_str_eq_nocase(parts->scheme, GW_STR("https"))) {
        call->tls = true;
    }
    if ((!call->tls && !gw_str_eq_nocase(parts->scheme, GW_STR("http"))) ||
        gw_uri_parse_authority(&call->arena, parts->authority, &host, &call->port) != GW_OK)
        return GW_INVALID;
    if (host.len > 2 && host.data[0] == '[')
        host = gw_str(host.data + 1, host.len - 2);
    call->host = gw_arena_dup(&call->arena, host);
    if (call->port == 0)
        call->port = call->tls ? 443 : 80;
    return GW_OK;
}

static bool has_header(const struct request *request, const char *name)
{
    for (uint32_t i = 0; i < request->header_count; i++)
        if (gw_str_eq_nocase(request->headers[i].name, gw_str_c(name)))
            return true;
    return false;
}

static void write_request(struct gw_http_call *call, const struct request *request,
                          const struct gw_target_parts *parts)
{
    struct gw_buf *out = &call->out;
    bool has_body = request->body.data != NULL;

    gw_buf_printf(out, "%.*s %.*s%s%.*s HTTP/1.1\r\n", GW_STR_ARG(request->method),
                  GW_STR_ARG(parts->path), parts->query.data != NULL ? "?" : "",
                  (int)parts->query.len, parts->query.data != NULL ? parts->query.data : "");
    if (!has_header(request, "host"))
        gw_buf_printf(out, "Host: %.*s\r\n", GW_STR_ARG(parts->authority));
    if (!has_header(request, "user-agent"))
        gw_buf_printf(out, "User-Agent: moongate\r\n");
    for (uint32_t i = 0; i < request->header_count; i++)
        gw_buf_printf(out, "%.*s: %.*s\r\n", GW_STR_ARG(request->headers[i].name),
                      GW_STR_ARG(request->headers[i].value));
    /* Methods that usually have a body say so even when it is empty (RFC 9110 8.6). */
    if (has_body || call->method == GW_METHOD_POST || call->method == GW_METHOD_PUT ||
        call->method == GW_METHOD_PATCH)
        gw_buf_printf(out, "Content-Length: %zu\r\n", has_body ? request->body.len : (size_t)0);
    if (!call->keep_alive)
        gw_buf_printf(out, "Connection: close\r\n");
    gw_buf_add(out, "\r\n", 2);
    if (has_body)
        gw_buf_add_str(out, request->body);
}

static enum gw_rc check_request(const struct request *request, const char **why)
{
    uint32_t hosts = 0;

    *why = "http: the method is not valid";
    if (!is_token(request->method))
        return GW_INVALID;
    if (gw_method_of(request->method) == GW_METHOD_CONNECT) {
        *why = "http: CONNECT is not supported";
        return GW_UNSUPPORTED;
    }
    for (uint32_t i = 0; i < request->header_count; i++) {
        const struct header *header = &request->headers[i];
        *why = "http: a header has a name or value that may not be sent";
        if (!gw_field_name_valid(header->name) || !gw_field_value_valid(header->value))
            return GW_INVALID;
        *why = "http: a header of the framing or the connection is the client's own";
        if (is_ours(header->name))
            return GW_INVALID;
        *why = "http: two Host headers";
        if (gw_field_id_of(header->name) == GW_FIELD_HOST && ++hosts > 1)
            return GW_INVALID;
    }
    return GW_OK;
}

static int perform(lua_State *L, const struct request *request)
{
    struct gw_target_parts parts;
    struct gw_http_call *call;
    const char *why;
    enum gw_rc rc = check_request(request, &why);

    if (rc != GW_OK)
        return gw_lib_fail(L, rc, why);
    call = gw_http_call_new(client_of(L));
    if (call == NULL)
        return gw_lib_fail(L, GW_LIMIT, "http: too many requests are on their way");
    call->method = gw_method_of(request->method);
    call->timeout_ms = (uint32_t)ceil(request->timeout_s * 1000);
    call->body_bytes_max = (uint64_t)request->body_bytes_max;
    call->keep_alive = request->keep_alive;
    call->done = call_done;
    rc = parse_url(call, request->url, &parts, &why);
    if (rc == GW_OK) {
        write_request(call, request, &parts);
        rc = gw_http_call_start(call);
        why = NULL;
    }
    if (rc != GW_OK) {
        call->rc = rc;
        if (why == NULL)
            return push_answer(L, call);
        gw_http_call_free(call);
        return gw_lib_fail(L, rc, why);
    }
    return gw_task_wait(L, &call->wait, call_cancel);
}

static void request_init(struct request *request, const char *method)
{
    request->url = GW_STR_NULL;
    request->method = gw_str_c(method);
    request->body = GW_STR_NULL;
    request->timeout_s = TIMEOUT_SECONDS;
    request->body_bytes_max = BODY_BYTES;
    request->keep_alive = true;
    request->header_count = 0;
}

/* http.request(url, options) or (options) -> { status, headers, body } | nil, message, code
 * [-0, +1|+3] */
static int http_request(lua_State *L)
{
    struct request request;

    gw_lib_check(L, "http.request", GW_IN_WAITING);
    request_init(&request, "GET");
    if (lua_istable(L, 1)) {
        lua_settop(L, 1);
        read_request(L, 1, &request);
        if (request.url.data == NULL)
            return luaL_argerror(L, 1, "option url expected");
    } else {
        (void)luaL_checkstring(L, 1);
        lua_settop(L, 2);
        read_request(L, 2, &request);
        request.url.data = lua_tolstring(L, 1, &request.url.len);
    }
    return perform(L, &request);
}

/* http.get(url, options)   [-0, +1|+3] */
static int http_get(lua_State *L)
{
    struct request request;

    gw_lib_check(L, "http.get", GW_IN_WAITING);
    (void)luaL_checkstring(L, 1);
    lua_settop(L, 2);
    request_init(&request, "GET");
    read_request(L, 2, &request);
    request.url.data = lua_tolstring(L, 1, &request.url.len);
    request.method = GW_STR("GET");
    return perform(L, &request);
}

/* http.post(url, body, options)   [-0, +1|+3] */
static int http_post(lua_State *L)
{
    struct request request;

    gw_lib_check(L, "http.post", GW_IN_WAITING);
    (void)luaL_checkstring(L, 1);
    (void)luaL_checkstring(L, 2);
    lua_settop(L, 3);
    request_init(&request, "POST");
    read_request(L, 3, &request);
    request.url.data = lua_tolstring(L, 1, &request.url.len);
    request.body.data = lua_tolstring(L, 2, &request.body.len);
    request.method = GW_STR("POST");
    return perform(L, &request);
}

void gw_lib_http_open(lua_State *L, struct gw_vm *vm)
{
    static const luaL_Reg functions[] = {
        {"request", http_request}, {"get", http_get}, {"post", http_post}, {NULL, NULL}};

    if (gw_vm_loop(vm) != NULL)
        *gw_vm_data(vm, GW_LIB_HTTP) = gw_http_client_new(gw_vm_loop(vm));
    luaL_newmetatable(L, HEADERS_TYPE);
    lua_pushcfunction(L, headers_index);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, HEADERS_TYPE);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);

    lua_newtable(L);
    luaL_register(L, NULL, functions);
}

bool gw_lib_http_set_dns(struct gw_vm *vm, struct gw_dns *dns)
{
    struct gw_http_client *client = *gw_vm_data(vm, GW_LIB_HTTP);

    return client != NULL && gw_http_client_set_dns(client, dns);
}

void gw_lib_http_close(struct gw_vm *vm)
{
    struct gw_http_client *client = *gw_vm_data(vm, GW_LIB_HTTP);

    if (client != NULL)
        gw_http_client_free(client);
    *gw_vm_data(vm, GW_LIB_HTTP) = NULL;
}
