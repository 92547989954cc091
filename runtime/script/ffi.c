/* What trusted Lua calls by FFI: plain types in, a code out; never raises, never calls back.
 * The slot was checked by the caller (its serial), so its exchange is there.
 * Declared for Lua in lua/gateway/cdef.lua. */
#include <stdlib.h>
#include <string.h>

#include "http/uri.h"
#include "net/tls.h"
#include "proxy/proxy.h"
#include "script/vm_private.h"

#define GW_FFI __attribute__((visibility("default"), used))

enum gw_text {
    TEXT_METHOD,
    TEXT_SCHEME,
    TEXT_HOST,
    TEXT_PATH,
    TEXT_RAW_PATH,
    TEXT_RAW_QUERY,
    TEXT_CLIENT_IP,
    TEXT_PEER_IP,
    TEXT_ID,
    TEXT_ROUTE,
    TEXT_UPSTREAM,
    TEXT_ADDRESS,
    TEXT_ERROR,
    TEXT_REASON,
    TEXT_AUTHORITY,
    TEXT_LISTENER,
    TEXT_TLS_VERSION,
    TEXT_TLS_CIPHER,
    TEXT_TLS_NAME,
    TEXT_TLS_CLIENT, /* from here: enum gw_tls_field of the client's certificate */
};

enum gw_number {
    NUMBER_PORT,
    NUMBER_VERSION,
    NUMBER_STATUS,
    NUMBER_BYTES_IN,
    NUMBER_BYTES_OUT,
    NUMBER_BEGAN_US,
    NUMBER_UPSTREAM_BEGAN_US,
    NUMBER_UPSTREAM_HEAD_US,
    NUMBER_ENDED_US,
    NUMBER_TRIES,
    NUMBER_CLIENT_PORT,
    NUMBER_FLAGS,
    NUMBER_LENGTH,
    NUMBER_TLS_FLAGS,
};

enum gw_set { SET_PATH, SET_QUERY, SET_METHOD, SET_BODY, SET_ID, SET_UPSTREAM, SET_RESPONSE_BODY };

/* One VM a process (see deadline.c), so its slots may be found from here. */
static struct gw_slot *slots;

void gw_ffi_use(struct gw_slot *base)
{
    slots = base;
}

struct gw_slot *gw_ffi_slots(void);
GW_FFI struct gw_slot *gw_ffi_slots(void)
{
    return slots;
}

static struct gw_exchange *exchange_of(uint32_t slot)
{
    return slots[slot].exchange;
}

static struct gw_fields *fields_of(uint32_t slot, int which)
{
    struct gw_exchange *x = exchange_of(slot);

    return which == 0 ? &x->request.fields : &x->response.fields;
}

static struct gw_str raw_path(const struct gw_exchange *x)
{
    struct gw_target_parts parts;

    if (gw_uri_split_target(x->request.target, &parts) == GW_OK && parts.form != GW_TARGET_ASTERISK)
        return parts.path;
    return x->request.target;
}

/* Of the target that was chosen, else of the route. */
static struct gw_str upstream_name(const struct gw_exchange *x)
{
    const struct gw_conf *conf = x->generation->conf;
    const struct gw_conf_upstream *all = GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream);

    for (uint32_t i = 0; x->upstream_target != NULL && i < conf->upstreams.len; i++) {
        const struct gw_conf_target *first = GW_ITEMS(conf, all[i].targets, struct gw_conf_target);
        if (x->upstream_target >= first && x->upstream_target < first + all[i].targets.len)
            return gw_ref_str(conf, all[i].name);
    }
    if (x->route == NULL || x->route->upstream == GW_NONE)
        return GW_STR_NULL;
    return gw_ref_str(conf, all[x->route->upstream].name);
}

static struct gw_str tls_text(const struct gw_exchange_tls *tls, int what)
{
    if (tls == NULL)
        return GW_STR_NULL;
    switch (what) {
    case TEXT_TLS_VERSION:
        return tls->version;
    case TEXT_TLS_CIPHER:
        return tls->cipher;
    case TEXT_TLS_NAME:
        return tls->name;
    default:
        what -= TEXT_TLS_CLIENT;
        return tls->client != NULL && what < GW_TLS_FIELDS ? tls->client[what] : GW_STR_NULL;
    }
}

bool gw_ffi_text(uint32_t slot, int what, struct gw_str *out);
GW_FFI bool gw_ffi_text(uint32_t slot, int what, struct gw_str *out)
{
    struct gw_exchange *x = exchange_of(slot);
    struct gw_str s = GW_STR_NULL;

    if (what >= TEXT_TLS_VERSION) {
        *out = tls_text(x->tls, what);
        return out->data != NULL;
    }
    switch ((enum gw_text)what) {
    case TEXT_METHOD:
        s = x->request.method;
        break;
    case TEXT_SCHEME:
        s = x->request.scheme;
        break;
    case TEXT_HOST:
        s = x->request.host;
        break;
    case TEXT_PATH:
        s = x->request.path;
        break;
    case TEXT_RAW_PATH:
        s = raw_path(x);
        break;
    case TEXT_RAW_QUERY:
        s = x->request.query;
        break;
    case TEXT_CLIENT_IP:
        s = x->client_ip;
        break;
    case TEXT_PEER_IP:
        s = x->peer_ip;
        break;
    case TEXT_ID:
        s = gw_exchange_id(x);
        break;
    case TEXT_ROUTE:
        if (x->route != NULL)
            s = gw_ref_str(x->generation->conf, x->route->name);
        break;
    case TEXT_UPSTREAM:
        s = upstream_name(x);
        break;
    case TEXT_ADDRESS:
        s = x->upstream_address;
        break;
    case TEXT_ERROR:
        if (x->error != NULL)
            s = gw_str_c(x->error);
        break;
    case TEXT_REASON:
        s = x->response.reason;
        break;
    case TEXT_AUTHORITY:
        s = x->request.authority;
        break;
    case TEXT_LISTENER:
        if (x->listener != NULL)
            s = gw_ref_str(x->generation->conf, x->listener->name);
        break;
    default:
        break;
    }
    *out = s;
    return s.data != NULL;
}

double gw_ffi_number(uint32_t slot, int what);
GW_FFI double gw_ffi_number(uint32_t slot, int what)
{
    struct gw_exchange *x = exchange_of(slot);

    switch ((enum gw_number)what) {
    case NUMBER_PORT:
        return x->request.port;
    case NUMBER_VERSION:
        return x->http_major + x->http_minor / 10.0;
    case NUMBER_STATUS:
        return x->response.status;
    case NUMBER_BYTES_IN:
        return (double)x->bytes_in;
    case NUMBER_BYTES_OUT:
        return (double)x->bytes_out;
    case NUMBER_BEGAN_US:
        return (double)x->began_us;
    case NUMBER_UPSTREAM_BEGAN_US:
        return (double)x->upstream_began_us;
    case NUMBER_UPSTREAM_HEAD_US:
        return (double)x->upstream_head_us;
    case NUMBER_ENDED_US:
        return (double)x->ended_us;
    case NUMBER_TRIES:
        return x->tries;
    case NUMBER_CLIENT_PORT:
        return x->client_port;
    case NUMBER_FLAGS:
        return (x->answered_by_gateway ? 1 : 0) + (x->aborted ? 2 : 0);
    case NUMBER_LENGTH:
        return (double)x->response.length;
    case NUMBER_TLS_FLAGS:
        return x->tls == NULL ? 0 : (x->tls->resumed ? 1 : 0) + (x->tls->verified ? 2 : 0);
    }
    return 0;
}

/* ---- headers ---- */

#define NAMES_MAX 1024
#define NAME_BYTES_MAX 256

/* What plugins call headers. Plugins use few names, again and again: each is checked and looked
 * up once, and then known to Lua by its number. [0] serves names beyond the limit, which may come
 * from clients; its text is lent. Never freed: fields of any exchange may point at the text. */
struct name {
    struct gw_str text; /* as the plugin spells it */
    uint64_t bit;       /* gw_field_name_bit() */
    uint8_t id;         /* enum gw_field_id */
    bool frames;
};

static struct name names[NAMES_MAX];
static int names_count = 1;

/* Names by which a message is framed are the gateway's own. */
static bool frames(enum gw_field_id id)
{
    return id == GW_FIELD_CONTENT_LENGTH || id == GW_FIELD_TRANSFER_ENCODING ||
           id == GW_FIELD_CONNECTION || id == GW_FIELD_UPGRADE || id == GW_FIELD_TE ||
           id == GW_FIELD_TRAILER || id == GW_FIELD_KEEP_ALIVE;
}

int gw_ffi_name(const char *text, size_t len);
GW_FFI int gw_ffi_name(const char *text, size_t len)
{
    struct gw_str name = gw_str(text, len);
    struct name *entry = &names[0];
    char *copy;

    if (!gw_field_name_valid(name))
        return -1;
    if (names_count < NAMES_MAX && len <= NAME_BYTES_MAX) {
        copy = malloc(len);
        if (copy == NULL)
            abort(); /* small: see base/arena.h on running out of memory */
        memcpy(copy, text, len);
        name.data = copy;
        entry = &names[names_count++];
    }
    entry->text = name;
    entry->bit = gw_field_name_bit(name);
    entry->id = (uint8_t)gw_field_id_of(name);
    entry->frames = frames((enum gw_field_id)entry->id);
    return (int)(entry - names);
}

/* Most names differ in length or at the end. */
static inline bool same_name(const struct gw_field *field, const struct name *name)
{
    const char *a = field->name.data, *b = name->text.data;
    size_t len = name->text.len;

    return field->name.len == len && ((a[len - 1] ^ b[len - 1]) & 0x5f) == 0 &&
           field->id == GW_FIELD_UNKNOWN && !field->dropped && strncasecmp(a, b, len) == 0;
}

/* The next field of that name from place `from` on, or NULL. */
static struct gw_field *find(const struct gw_fields *fields, const struct name *name, uint32_t from)
{
    struct gw_field *end = fields->items + fields->count;

    if ((fields->present & (1ULL << name->id)) == 0)
        return NULL;
    if (name->id != GW_FIELD_UNKNOWN) {
        for (struct gw_field *at = fields->items + from; at < end; at++)
            if (at->id == name->id && !at->dropped)
                return at;
        return NULL;
    }
    if ((fields->others & name->bit) == 0)
        return NULL;
    for (struct gw_field *at = fields->items + from; at < end; at++)
        if (same_name(at, name))
            return at;
    return NULL;
}

static struct gw_field *find_after(const struct gw_fields *fields, const struct name *name,
                                   const struct gw_field *field)
{
    return find(fields, name, (uint32_t)(field - fields->items) + 1);
}

bool gw_ffi_header_get(uint32_t slot, int which, int name, struct gw_str *out);
GW_FFI bool gw_ffi_header_get(uint32_t slot, int which, int name, struct gw_str *out)
{
    const struct gw_fields *fields = fields_of(slot, which);
    struct gw_field *field = find(fields, &names[name], 0);

    if (field == NULL)
        return false;
    *out = field->value;
    if (find_after(fields, &names[name], field) != NULL)
        return gw_fields_get(fields, names[name].text, out); /* joins them */
    return true;
}

bool gw_ffi_header_nth(uint32_t slot, int which, int name, uint32_t n, struct gw_str *out);
GW_FFI bool gw_ffi_header_nth(uint32_t slot, int which, int name, uint32_t n, struct gw_str *out)
{
    const struct gw_fields *fields = fields_of(slot, which);
    struct gw_field *field = find(fields, &names[name], 0);

    while (field != NULL && n-- > 0)
        field = find_after(fields, &names[name], field);
    if (field == NULL)
        return false;
    *out = field->value;
    return true;
}

/* The field at `from` or the next that is there; returns the place behind it, 0: no more. */
int gw_ffi_header_at(uint32_t slot, int which, uint32_t from, struct gw_str *name,
                     struct gw_str *value);
GW_FFI int gw_ffi_header_at(uint32_t slot, int which, uint32_t from, struct gw_str *name,
                            struct gw_str *value)
{
    const struct gw_fields *fields = fields_of(slot, which);

    for (uint32_t i = from; i < fields->count; i++) {
        if (fields->items[i].dropped)
            continue;
        *name = fields->items[i].name;
        *value = fields->items[i].value;
        return (int)(i + 1);
    }
    return 0;
}

bool gw_ffi_header_valid(const char *name, size_t len, const char *value, size_t value_len);
GW_FFI bool gw_ffi_header_valid(const char *name, size_t len, const char *value, size_t value_len)
{
    return gw_field_name_valid(gw_str(name, len)) && gw_field_value_valid(gw_str(value, value_len));
}

/* `value` is in the exchange's arena. */
static void put(struct gw_exchange *x, struct gw_fields *fields, const struct name *name,
                struct gw_str value, bool add)
{
    struct gw_field *field = add ? NULL : find(fields, name, 0), *more;

    if (field != NULL) {
        while ((more = find_after(fields, name, field)) != NULL)
            more->dropped = true;
        field->value = value;
        field->wire = false;
        return;
    }
    (void)gw_fields_add_as(fields, (enum gw_field_id)name->id,
                           name == names ? gw_arena_dup(&x->arena, name->text) : name->text, value);
}

int gw_ffi_header_set(uint32_t slot, int which, int name, const char *value, size_t len, bool add);
GW_FFI int gw_ffi_header_set(uint32_t slot, int which, int name, const char *value, size_t len,
                             bool add)
{
    struct gw_exchange *x = exchange_of(slot);

    if (names[name].frames || !gw_field_value_valid(gw_str(value, len)))
        return GW_INVALID;
    put(x, fields_of(slot, which), &names[name], gw_arena_dup(&x->arena, gw_str(value, len)), add);
    return GW_OK;
}

/* A whole number from 0 to 1e14, without a string of Lua for it. */
int gw_ffi_header_set_whole(uint32_t slot, int which, int name, double value, bool add);
GW_FFI int gw_ffi_header_set_whole(uint32_t slot, int which, int name, double value, bool add)
{
    struct gw_exchange *x = exchange_of(slot);
    char digits[24], *at = digits + sizeof(digits);
    uint64_t rest = (uint64_t)value;

    if (names[name].frames)
        return GW_INVALID;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    put(x, fields_of(slot, which), &names[name],
        gw_arena_dup(&x->arena, gw_str(at, (size_t)(digits + sizeof(digits) - at))), add);
    return GW_OK;
}

void gw_ffi_header_remove(uint32_t slot, int which, int name);
GW_FFI void gw_ffi_header_remove(uint32_t slot, int which, int name)
{
    struct gw_fields *fields = fields_of(slot, which);
    struct gw_field *field;

    if (names[name].frames)
        return;
    for (field = find(fields, &names[name], 0); field != NULL;
         field = find_after(fields, &names[name], field))
        field->dropped = true;
}

/* ---- query and parameters ---- */

/* What does not decode is given as it stands: the upstream gets it so, too. */
static struct gw_str decoded(struct gw_exchange *x, struct gw_str text)
{
    struct gw_str out;

    return gw_uri_decode(&x->arena, text, true, &out) == GW_OK ? out : text;
}

int gw_ffi_query_get(uint32_t slot, const char *name, size_t len, uint32_t n, struct gw_str *out);
GW_FFI int gw_ffi_query_get(uint32_t slot, const char *name, size_t len, uint32_t n,
                            struct gw_str *out)
{
    struct gw_exchange *x = exchange_of(slot);
    struct gw_str rest = x->request.query, key, value;

    while (gw_uri_query_next(&rest, &key, &value)) {
        if (!gw_str_eq(decoded(x, key), gw_str(name, len)) || n-- > 0)
            continue;
        *out = value.len > 0 ? decoded(x, value) : GW_STR("");
        return GW_OK;
    }
    return GW_NOT_FOUND;
}

int gw_ffi_query_at(uint32_t slot, uint32_t n, struct gw_str *name, struct gw_str *value);
GW_FFI int gw_ffi_query_at(uint32_t slot, uint32_t n, struct gw_str *name, struct gw_str *value)
{
    struct gw_exchange *x = exchange_of(slot);
    struct gw_str rest = x->request.query, key, val;

    while (gw_uri_query_next(&rest, &key, &val)) {
        if (n-- > 0)
            continue;
        *name = key.len > 0 ? decoded(x, key) : GW_STR("");
        *value = val.len > 0 ? decoded(x, val) : GW_STR("");
        return GW_OK;
    }
    return GW_NOT_FOUND;
}

bool gw_ffi_param(uint32_t slot, uint32_t n, struct gw_str *name, struct gw_str *value);
GW_FFI bool gw_ffi_param(uint32_t slot, uint32_t n, struct gw_str *name, struct gw_str *value)
{
    struct gw_exchange *x = exchange_of(slot);

    if (n >= x->params)
        return false;
    *name = x->param_names[n];
    *value = x->param_values[n];
    return true;
}

/* ---- changes ---- */

static int set_method(struct gw_exchange *x, struct gw_str text)
{
    enum gw_method id = gw_method_of(text);

    if (!gw_field_name_valid(text) || text.len > 32 || id == GW_METHOD_CONNECT ||
        id == GW_METHOD_TRACE)
        return GW_INVALID;
    /* A HEAD gets an answer without a body whatever the upstream was asked. */
    if ((x->request.method_id == GW_METHOD_HEAD) != (id == GW_METHOD_HEAD))
        return GW_UNSUPPORTED;
    x->request.method = gw_arena_dup(&x->arena, text);
    x->request.method_id = id;
    return GW_OK;
}

int gw_ffi_set_text(uint32_t slot, int what, const char *text, size_t len);
GW_FFI int gw_ffi_set_text(uint32_t slot, int what, const char *text, size_t len)
{
    struct gw_exchange *x = exchange_of(slot);
    struct gw_str s = gw_str(text, len);

    switch ((enum gw_set)what) {
    case SET_PATH:
        return (int)gw_exchange_set_path(x, s);
    case SET_QUERY:
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)text[i] <= 0x20 || (unsigned char)text[i] >= 0x7f || text[i] == '#')
                return GW_INVALID;
        gw_exchange_set_query(x, s);
        return GW_OK;
    case SET_METHOD:
        return set_method(x, s);
    case SET_BODY:
        gw_exchange_set_body(x, s);
        return GW_OK;
    case SET_ID:
        x->id = gw_arena_dup(&x->arena, s);
        return GW_OK;
    case SET_UPSTREAM:
        return (int)gw_exchange_set_upstream(x, s);
    case SET_RESPONSE_BODY:
        gw_exchange_set_response_body(x, s);
        return GW_OK;
    }
    return GW_INVALID;
}

int gw_ffi_set_status(uint32_t slot, uint32_t status);
GW_FFI int gw_ffi_set_status(uint32_t slot, uint32_t status)
{
    exchange_of(slot)->response.status = (uint16_t)status;
    exchange_of(slot)->response.reason = GW_STR_NULL;
    return GW_OK;
}

bool gw_ffi_response_body(uint32_t slot, struct gw_str *out);
GW_FFI bool gw_ffi_response_body(uint32_t slot, struct gw_str *out)
{
    return gw_exchange_response_body(exchange_of(slot), out);
}

int gw_ffi_set_target(uint32_t slot, uint32_t index);
GW_FFI int gw_ffi_set_target(uint32_t slot, uint32_t index)
{
    return (int)gw_exchange_set_target(exchange_of(slot), index);
}

/* ---- answers ---- */

void gw_ffi_answer(uint32_t slot, uint32_t status, const char *body, size_t len);
GW_FFI void gw_ffi_answer(uint32_t slot, uint32_t status, const char *body, size_t len)
{
    slots[slot].answer = gw_exchange_answer(exchange_of(slot), (uint16_t)status, gw_str(body, len));
    slots[slot].verdict = GW_VERDICT_ANSWERED;
}

int gw_ffi_answer_header(uint32_t slot, const char *name, size_t len, const char *value,
                         size_t value_len, bool add);
GW_FFI int gw_ffi_answer_header(uint32_t slot, const char *name, size_t len, const char *value,
                                size_t value_len, bool add)
{
    struct gw_exchange *x = exchange_of(slot);
    struct gw_fields *fields = &slots[slot].answer->fields;
    struct gw_str n, v;

    if (frames(gw_field_id_of(gw_str(name, len))))
        return GW_INVALID;
    n = gw_arena_dup(&x->arena, gw_str(name, len));
    v = gw_arena_dup(&x->arena, gw_str(value, value_len));
    if (add)
        gw_fields_add(fields, n, v);
    else
        gw_fields_set(fields, n, v);
    return GW_OK;
}

/* `more`: a JSON object whose members are added to the document ("" for none). */
void gw_ffi_problem(uint32_t slot, uint32_t status, const char *title, size_t title_len,
                    const char *detail, size_t detail_len, const char *more, size_t more_len);
GW_FFI void gw_ffi_problem(uint32_t slot, uint32_t status, const char *title, size_t title_len,
                           const char *detail, size_t detail_len, const char *more, size_t more_len)
{
    struct gw_exchange *x = exchange_of(slot);
    struct gw_answer *answer = gw_exchange_problem(x, (uint16_t)status, gw_str(title, title_len),
                                                   gw_str(detail, detail_len));
    struct gw_str body = answer->body, type;

    /* "{…}" and "{…}" become one object; the answer is made anew for its length. */
    if (more_len > 2 && body.len > 2 && body.data[body.len - 1] == '}') {
        char *joined = gw_arena_alloc(&x->arena, body.len + more_len);
        memcpy(joined, body.data, body.len - 1);
        joined[body.len - 1] = ',';
        memcpy(joined + body.len, more + 1, more_len - 1);
        struct gw_str message = answer->message;
        bool typed = gw_fields_get(&answer->fields, GW_STR("content-type"), &type);
        answer = gw_exchange_answer(x, (uint16_t)status, gw_str(joined, body.len + more_len - 1));
        answer->message = message;
        gw_fields_set(&answer->fields, GW_STR("content-type"),
                      typed ? type : GW_STR("application/problem+json"));
    }
    slots[slot].answer = answer;
    slots[slot].verdict = GW_VERDICT_ANSWERED;
}

bool gw_ffi_reroute(uint32_t slot);
GW_FFI bool gw_ffi_reroute(uint32_t slot)
{
    if (slots[slot].reroutes >= GW_REROUTES_MAX)
        return false;
    slots[slot].reroutes++;
    slots[slot].verdict = GW_VERDICT_REROUTE;
    return true;
}

/* A reference that the linker sees: otherwise it leaves this file out of a program that
 * links a library of the runtime. */
void gw_ffi_keep(void)
{
}
