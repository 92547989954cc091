/* The table of the top level, and the small sections. */
#include <ctype.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/log.h"
#include "conf/address.h"
#include "conf/rows.h"

#define DAY ((int64_t)86400 * 1000)
#define TIB ((int64_t)1 << 40)
#define SHARED_MAX 1024
#define CONF(name) .offset = offsetof(struct gw_conf, name)

static void schema_string(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"string\"");
}

static bool read_control(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    struct gw_ref ref;

    if (!gw_type_path.read(r, row, node, &ref))
        return false;
    if (ref.len > GW_UNIX_PATH_BYTES_MAX) {
        (void)gw_fault(r, node, "the path of a socket has at most %zu bytes, and this has %u: %s",
                       GW_UNIX_PATH_BYTES_MAX, ref.len,
                       (const char *)gw_image_at(r->image, ref.off));
        gw_report_hint(r->report, "set control: to a shorter path, as in /run/moongate.sock");
        return false;
    }
    *(struct gw_ref *)field = ref;
    return true;
}

static const struct gw_type type_control = {
    .form = "a path", .read = read_control, .schema = schema_string};

static const char *const levels[] = {[GW_LOG_DEBUG] = "debug",
                                     [GW_LOG_INFO] = "info",
                                     [GW_LOG_WARN] = "warn",
                                     [GW_LOG_ERROR] = "error",
                                     NULL};

static bool read_level(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       void *field)
{
    uint8_t level;

    if (!gw_type_enum.read(r, row, node, &level))
        return false;
    *(uint32_t *)field = level;
    return true;
}

static void schema_enum(const struct gw_row *row, struct gw_buf *out)
{
    gw_type_enum.schema(row, out);
}

static const struct gw_type type_level = {
    .form = "debug, info, warn or error", .read = read_level, .schema = schema_enum};

static bool read_log_file(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                          void *field)
{
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (!gw_str_eq(text, GW_STR("stderr")))
        return gw_type_path.read(r, row, node, field);
    *(struct gw_ref *)field = gw_image_add_str(r->image, text);
    return true;
}

static const struct gw_type type_log_file = {
    .form = "stderr or a path", .read = read_log_file, .schema = schema_string};

static const struct gw_row log_rows[] = {
    {.key = "level",
     .type = &type_level,
     CONF(log_level),
     .otherwise = "info",
     .detail = levels,
     .doc = "What is logged: this and what is graver."},
    {.key = "file",
     .type = &type_log_file,
     CONF(log_file),
     .otherwise = "stderr",
     .doc = "stderr, or a path relative to this file; opened anew by SIGUSR1."},
};
static const struct gw_section section_log = GW_SECTION("log", log_rows);

static const struct gw_row forwarded_rows[] = {
    {.key = "trust",
     .type = &gw_type_cidrs,
     CONF(trusted),
     .doc = "Proxies in front of us: their Forwarded and X-Forwarded-* are believed and "
            "extended; those of all others are dropped. Default: nobody."},
    {.key = "x_forwarded",
     .type = &gw_type_bool,
     CONF(x_forwarded),
     .otherwise = "true",
     .doc = "Upstreams get X-Forwarded-For, -Proto, -Host, -Port."},
    {.key = "forwarded",
     .type = &gw_type_bool,
     CONF(forwarded),
     .otherwise = "false",
     .doc = "Upstreams get Forwarded (RFC 7239)."},
    {.key = "via",
     .type = &gw_type_token,
     CONF(via),
     .otherwise = "auto",
     .doc = "Our name in Via; a request that brings it is a loop: 508. auto: a name made of host "
            "and control path, so that two gateways in a row are not taken for a loop."},
};
static const struct gw_section section_forwarded = GW_SECTION("forwarded", forwarded_rows);

static const struct gw_row dns_rows[] = {
    {.key = "servers",
     .type = &gw_type_dns_servers,
     CONF(dns_servers),
     .doc = "Name servers, with a port if it is not 53. Default: those of /etc/resolv.conf."},
    {.key = "timeout",
     .type = &gw_type_duration,
     CONF(dns_timeout_ms),
     .otherwise = "5s",
     .min = 1,
     .max = 3600000,
     .doc = "One lookup. After: the last good addresses, or 502."},
};
static const struct gw_section section_dns = GW_SECTION("dns", dns_rows);

static const struct gw_row script_rows[] = {
    {.key = "cpu_budget",
     .type = &gw_type_duration,
     CONF(cpu_budget_ms),
     .otherwise = "100ms",
     .min = 10,
     .max = 60000,
     .doc = "CPU time of one entry into Lua. Above: it is stopped, and the request gets 500."},
    {.key = "heap_max",
     .type = &gw_type_size,
     CONF(heap_max),
     .otherwise = "256m",
     .min = 8 << 20,
     .max = TIB,
     .doc = "Lua memory of a worker. Above: the request that wants more gets 500; a worker that "
            "stays over 80 % is replaced."},
};
static const struct gw_section section_script = GW_SECTION("script", script_rows);

/* ---- shared: ---- */

static const char *const evicts[] = {"lru", "never", NULL};

static const struct gw_row shared_rows[] = {
    {.key = "size",
     .type = &gw_type_size,
     .offset = offsetof(struct gw_conf_shared, size),
     .flags = GW_ROW_REQUIRED,
     .min = 64 << 10,
     .max = TIB,
     .doc = "Memory of the dictionary, entries and their management together."},
    {.key = "evict",
     .type = &gw_type_enum,
     .offset = offsetof(struct gw_conf_shared, evict_never),
     .otherwise = "lru",
     .detail = evicts,
     .doc = "When it is full: lru drops what was not used for longest; never says \"full\"."},
};
static const struct gw_section section_shared = GW_SECTION("dictionary", shared_rows);

static bool shared_name_ok(struct gw_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.data[i]) && name.data[i] != '_' && name.data[i] != '-')
            return false;
    return name.len > 0 && name.len <= 63;
}

static bool read_shared(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                        void *field)
{
    uint32_t before = r->report->faults_count;
    uint32_t off, i = 0;

    if (gw_node_is_null(node))
        return true;
    if (node->kind != GW_NODE_MAP)
        return gw_fault_form(r, row, node);
    if (node->count > SHARED_MAX)
        return gw_fault(r, node, "more than %d dictionaries", SHARED_MAX);
    off = gw_image_alloc(r->image, node->count * sizeof(struct gw_conf_shared));
    for (struct gw_node *n = node->members.first; n != NULL; n = n->next) {
        struct gw_conf_shared shared = {.name = gw_image_add_str(r->image, n->key)};
        struct gw_path step;

        gw_enter(r, &step, n, 0);
        if (!shared_name_ok(n->key)) {
            (void)gw_fault(r, n, "\"%.*s\" is no name of a dictionary", GW_STR_ARG(n->key));
            gw_report_hint(r->report, "1 to 63 letters, digits, - and _");
        } else if (n->kind == GW_NODE_SCALAR) {
            (void)gw_type_size.read(r, &shared_rows[0], n, &shared.size);
        } else {
            (void)gw_section_read(r, &section_shared, n, &shared, 0);
        }
        ((struct gw_conf_shared *)gw_image_at(r->image, off))[i++] = shared;
        gw_leave(r);
    }
    *(struct gw_ref *)field = (struct gw_ref){off, i};
    return r->report->faults_count == before;
}

static void schema_shared(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"object\",\"additionalProperties\":{\"anyOf\":[{");
    gw_type_size.schema(&shared_rows[0], out);
    gw_buf_printf(out, "},{");
    gw_section_schema(&section_shared, 0, out);
    gw_buf_printf(out, "}]}");
}

const struct gw_type gw_type_shared = {.form = "a map of names to sizes",
                                       .read = read_shared,
                                       .schema = schema_shared,
                                       .inside = ".NAME."};

/* ---- include:, plugin_paths: ---- */

/* include.c has used them before anything is typed. */
static bool read_include(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    return true;
}

static bool read_plugin_paths(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                              void *field)
{
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    uint32_t before = r->report->faults_count;
    struct gw_conf_source *source = r->source;

    if (node->kind == GW_NODE_MAP)
        return gw_fault_form(r, row, node);
    source->plugin_paths = gw_arena_alloc(r->arena, gw_items_count(node) * sizeof(struct gw_str));
    GW_ITEMS_EACH(item, node)
    {
        struct gw_str path;
        struct stat st;

        gw_item_enter(r, &step, node, item);
        if (gw_scalar_text(r, row, item, &path)) {
            path = gw_arena_dup(r->arena, gw_path_absolute(r, item, path));
            if (stat(path.data, &st) != 0 || !S_ISDIR(st.st_mode))
                (void)gw_fault(r, item, "%.*s is no folder", GW_STR_ARG(path));
            source->plugin_paths[source->plugin_paths_count++] = path;
        }
        gw_item_leave(r, &step);
    }
    return r->report->faults_count == before;
}

static void schema_names(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":"
                       "\"string\"}}]");
}

static const struct gw_type type_include = {.form = "paths, which may hold * and ?",
                                            .read = read_include,
                                            .schema = schema_names,
                                            .list = true};
static const struct gw_type type_plugin_paths = {
    .form = "folders", .read = read_plugin_paths, .schema = schema_names, .list = true};

/* ---- the top level ---- */

static const struct gw_row rows[] = {
    {.key = "workers",
     .type = &gw_type_workers,
     CONF(workers),
     .otherwise = "auto",
     .min = 1,
     .max = GW_WORKERS_MAX,
     .doc = "Processes that serve. auto: one for each core, 48 at most."},
    {.key = "user",
     .type = &gw_type_string,
     CONF(user),
     .doc = "Workers run as this user, when started by root. Default: nobody is changed to."},
    {.key = "control",
     .type = &type_control,
     CONF(control),
     .otherwise = "run/moongate.sock",
     .doc = "Socket for reload and status, relative to this file; at most 107 bytes."},
    {.key = "log",
     .type = &gw_type_section,
     .offset = 0,
     .detail = &section_log,
     .doc = "The log of the gateway itself."},
    {.key = "shutdown_timeout",
     .type = &gw_type_duration,
     CONF(shutdown_timeout_ms),
     .otherwise = "30s",
     .min = 0,
     .max = DAY,
     .doc = "Requests in flight may end after SIGTERM. After: they are cut."},
    {.key = "watchdog",
     .type = &gw_type_duration,
     CONF(watchdog_ms),
     .otherwise = "2s",
     .min = 100,
     .max = 3600000,
     .doc = "A worker whose loop stands still so long is killed and replaced."},
    {.key = "memory_max",
     .type = &gw_type_size,
     CONF(memory_max),
     .otherwise = "2g",
     .min = 0,
     .max = TIB,
     .doc = "Memory of one worker. Above: new requests get 503. 0: no limit."},
    {.key = "forwarded",
     .type = &gw_type_section,
     .offset = 0,
     .detail = &section_forwarded,
     .doc = "What upstreams learn of the way of a request."},
    {.key = "underscores_in_headers",
     .type = &gw_type_bool,
     CONF(underscores_in_headers),
     .otherwise = "false",
     .doc = "true: headers with _ in their names are not dropped."},
    {.key = "dns",
     .type = &gw_type_section,
     .offset = 0,
     .detail = &section_dns,
     .doc = "How names of targets are resolved."},
    {.key = "script",
     .type = &gw_type_section,
     .offset = 0,
     .detail = &section_script,
     .doc = "Budgets of plugins."},
    {.key = "limits",
     .type = &gw_type_limits,
     CONF(limits),
     .doc = "Of the whole gateway; listeners and routes may have their own."},
    {.key = "listen",
     .type = &gw_type_listeners,
     CONF(listeners),
     .flags = GW_ROW_REQUIRED,
     .detail = &gw_section_listener,
     .doc = "Where clients come in; at least one."},
    {.key = "shared",
     .type = &gw_type_shared,
     CONF(shared),
     .detail = &section_shared,
     .doc = "Dictionaries in shared memory, by name; a plain size is size:. Kept over reloads."},
    {.key = "upstreams",
     .type = &gw_type_upstreams,
     CONF(upstreams),
     .detail = &gw_section_upstream,
     .doc = "Groups of servers, by name."},
    {.key = "plugins",
     .type = &gw_type_plugins,
     .offset = 0,
     .detail = &gw_section_binding,
     .doc = "Plugins of every route: a name, or a map of name and conf with these keys beside."},
    {.key = "routes",
     .type = &gw_type_routes,
     CONF(routes),
     .detail = &gw_section_route,
     .doc = "Which requests go where. None fits: 404."},
    {.key = "include",
     .type = &type_include,
     .offset = 0,
     .doc = "Further files with the same keys, relative to this file; * and ? as in a shell. "
            "Lists are appended, maps merged."},
    {.key = "plugin_paths",
     .type = &type_plugin_paths,
     .offset = 0,
     .doc = "Folders of plugins, relative to this file; the shipped ones come last. Modules that "
            "they require: lua/ beside each. Default: plugins, ../plugins."},
};

const struct gw_section gw_section_root = GW_SECTION("conf", rows);
