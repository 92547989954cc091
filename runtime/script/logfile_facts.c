#include "script/logfile_facts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/grpc.h"
#include "http/message.h"
#include "http/uri.h"
#include "proxy/proxy.h"

#define HIDDEN GW_STR("[hidden]")

typedef void (*put_fn)(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x);

static void put_text(struct gw_logfile *file, struct gw_str name, struct gw_str value)
{
    if (value.data != NULL && value.len > 0)
        gw_logfile_text(file, name, value);
}

static void put_field(struct gw_logfile *file, struct gw_str name, const struct gw_fields *fields,
                      struct gw_str field)
{
    struct gw_str value;

    if (gw_fields_get(fields, field, &value))
        gw_logfile_text(file, name, value);
}

static void put_time(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    gw_logfile_time(file, name);
}

static void put_id(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    put_text(file, name, gw_exchange_id(x));
}

static void put_client(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    put_text(file, name, x->client_ip);
}

static void put_method(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    put_text(file, name, x->request.method);
}

static void put_host(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    put_text(file, name, x->request.host);
}

/* As the client wrote it: what plugins and routes made of it is for the upstream. */
static void put_path(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    struct gw_target_parts parts;

    if (gw_uri_split_target(x->request.target, &parts) == GW_OK && parts.form != GW_TARGET_ASTERISK)
        put_text(file, name, parts.path);
    else
        put_text(file, name, x->request.target);
}

static void put_status(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    gw_logfile_number(file, name, x->response.status);
}

static void put_bytes_in(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    gw_logfile_number(file, name, (double)x->bytes_in);
}

static void put_bytes_out(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    gw_logfile_number(file, name, (double)x->bytes_out);
}

static void put_duration(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    gw_logfile_number(file, name, (double)(x->ended_us - x->began_us) / 1000);
}

static void put_upstream(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    put_text(file, name, x->upstream_address);
}

static void put_upstream_ms(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    if (x->upstream_head_us >= x->upstream_began_us && x->upstream_head_us != 0)
        gw_logfile_number(file, name, (double)(x->upstream_head_us - x->upstream_began_us) / 1000);
}

static void put_tries(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    gw_logfile_number(file, name, x->tries);
}

static void put_route(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    if (x->route != NULL)
        put_text(file, name, gw_ref_str(x->generation->conf, x->route->name));
}

static void put_error(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    if (x->error != NULL)
        put_text(file, name, gw_str_c(x->error));
}

static void put_aborted(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    if (x->aborted)
        gw_logfile_bool(file, name, true);
}

static void put_user_agent(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    put_field(file, name, &x->request.fields, GW_STR("user-agent"));
}

static void put_referer(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    put_field(file, name, &x->request.fields, GW_STR("referer"));
}

/* In the trailers, or in a head that has nothing behind it. */
static void put_grpc_status(struct gw_logfile *file, struct gw_str name, struct gw_exchange *x)
{
    struct gw_field *field = NULL;
    unsigned status = 0;

    if (!gw_grpc_message(&x->response.fields))
        return;
    if (x->response_trailers != NULL)
        field = gw_fields_find(x->response_trailers, GW_STR("grpc-status"));
    if (field == NULL)
        field = gw_fields_find(&x->response.fields, GW_STR("grpc-status"));
    if (field == NULL || field->value.len == 0 || field->value.len > 2)
        return;
    for (size_t i = 0; i < field->value.len; i++) {
        if (field->value.data[i] < '0' || field->value.data[i] > '9')
            return;
        status = status * 10 + (unsigned)(field->value.data[i] - '0');
    }
    gw_logfile_number(file, name, status);
}

/* name, the same as the beginning of a member, what puts it there */
#define ROW(name, put)                                                                             \
    {                                                                                              \
        {name, sizeof(name) - 1}, {"\"" name "\":", sizeof(name) + 2}, put                         \
    }
static const struct {
    struct gw_str name, member;
    put_fn put;
} rows[] = {
    ROW("time", put_time),
    ROW("id", put_id),
    ROW("client", put_client),
    ROW("method", put_method),
    ROW("host", put_host),
    ROW("path", put_path),
    ROW("status", put_status),
    ROW("grpc_status", put_grpc_status),
    ROW("bytes_in", put_bytes_in),
    ROW("bytes_out", put_bytes_out),
    ROW("duration_ms", put_duration),
    ROW("upstream", put_upstream),
    ROW("upstream_ms", put_upstream_ms),
    ROW("tries", put_tries),
    ROW("route", put_route),
    ROW("error", put_error),
    ROW("aborted", put_aborted),
    ROW("user_agent", put_user_agent),
    ROW("referer", put_referer),
};
#undef ROW
#define ROWS (sizeof(rows) / sizeof(rows[0]))
_Static_assert(ROWS <= 64, "one bit each");

enum gw_rc gw_logfile_facts_add(struct gw_logfile_facts *facts, struct gw_str name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (gw_str_eq(name, rows[i].name)) {
            facts->wanted |= UINT64_C(1) << i;
            return GW_OK;
        }
    return GW_NOT_FOUND;
}

enum gw_rc gw_logfile_facts_header(struct gw_logfile_facts *facts, struct gw_str name, bool hidden)
{
    struct gw_logfile_header *header = &facts->headers[facts->headers_count];

    if (facts->headers_count >= GW_LOGFILE_HEADERS_MAX)
        return GW_LIMIT;
    /* Such a name may hold no quote and no backslash: it needs no escape. */
    if (!gw_field_name_valid(name))
        return GW_INVALID;
    if (asprintf(&header->name, "%.*s", GW_STR_ARG(name)) < 0)
        abort();
    for (char *at = header->name; *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
    if (asprintf(&header->member, "\"%s\":", header->name) < 0)
        abort();
    header->hidden = hidden;
    facts->headers_count++;
    return GW_OK;
}

void gw_logfile_facts_fini(struct gw_logfile_facts *facts)
{
    for (uint32_t i = 0; i < facts->headers_count; i++) {
        free(facts->headers[i].name);
        free(facts->headers[i].member);
    }
    facts->headers_count = 0;
}

static void put_headers(const struct gw_logfile_facts *facts, struct gw_logfile *file,
                        struct gw_exchange *x)
{
    bool any = false;
    struct gw_str value;

    for (uint32_t i = 0; i < facts->headers_count; i++) {
        const struct gw_logfile_header *header = &facts->headers[i];
        if (!gw_fields_get(&x->request.fields, gw_str_c(header->name), &value))
            continue;
        if (!any)
            gw_logfile_object(file, GW_STR("\"headers\":"));
        any = true;
        gw_logfile_text(file, gw_str_c(header->member), header->hidden ? HIDDEN : value);
    }
    if (any)
        gw_logfile_close(file);
}

void gw_logfile_facts_put(const struct gw_logfile_facts *facts, struct gw_logfile *file,
                          struct gw_exchange *x)
{
    for (uint64_t left = facts->wanted; left != 0; left &= left - 1) {
        int i = __builtin_ctzll(left);
        rows[i].put(file, rows[i].member, x);
    }
    put_headers(facts, file, x);
}
