/* plugins: — the bindings that script/ makes chains of (struct gw_binding in load.h). */
#include <string.h>

#include "conf/rows.h"

#define BINDINGS_MAX 1000000
#define NAMES_MAX 64 /* in one before: or after: */
#define DAY ((int64_t)86400 * 1000)

#define FIELD(name) .offset = offsetof(struct gw_binding, name)

/* These go into the source, not the image: plain slices of the tree. */
static bool read_slice(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       void *field)
{
    struct gw_str text;

    if (!gw_scalar_text(r, row, node, &text))
        return false;
    if (text.len == 0)
        return gw_fault(r, node, "must not be empty");
    *(struct gw_str *)field = text;
    return true;
}

static bool read_when(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                      void *field)
{
    struct gw_binding *binding = field;

    binding->when_where = node->where;
    return read_slice(r, row, node, &binding->when);
}

struct names {
    const struct gw_str *items;
    uint32_t count;
};

static bool read_names(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       struct names *out)
{
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    uint32_t count = gw_items_count(node), i = 0;
    struct gw_str *items;
    bool ok = true;

    if (gw_node_is_null(node) || node->kind == GW_NODE_MAP)
        return gw_fault_form(r, row, node);
    if (count > NAMES_MAX)
        return gw_fault(r, node, "more than %d names", NAMES_MAX);
    items = gw_arena_alloc(r->arena, count * sizeof(*items));
    GW_ITEMS_EACH(item, node)
    {
        gw_item_enter(r, &step, node, item);
        if (read_slice(r, row, item, &items[i]))
            i++;
        else
            ok = false;
        gw_item_leave(r, &step);
    }
    *out = (struct names){items, i};
    return ok;
}

static bool read_before(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                        void *field)
{
    struct gw_binding *binding = field;
    struct names names = {NULL, 0};
    bool ok = read_names(r, row, node, &names);

    binding->before = names.items;
    binding->before_count = names.count;
    return ok;
}

static bool read_after(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                       void *field)
{
    struct gw_binding *binding = field;
    struct names names = {NULL, 0};
    bool ok = read_names(r, row, node, &names);

    binding->after = names.items;
    binding->after_count = names.count;
    return ok;
}

/* uint8_t as the enum type writes it, bool as the struct has it. */
static bool read_enabled(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    uint8_t value;

    if (!gw_type_bool.read(r, row, node, &value))
        return false;
    *(bool *)field = value != 0;
    return true;
}

static void schema_bool(const struct gw_row *row, struct gw_buf *out)
{
    gw_type_bool.schema(row, out);
}

static void schema_string(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"type\":\"string\"");
}

static void schema_names(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":"
                       "\"string\"}}]");
}

static const char *const on_errors[] = {"fail", "skip", NULL};

static const struct gw_type type_slice = {
    .form = "a text", .read = read_slice, .schema = schema_string};
static const struct gw_type type_when = {
    .form = "a Lua expression", .read = read_when, .schema = schema_string};
static const struct gw_type type_enabled = {
    .form = "true or false", .read = read_enabled, .schema = schema_bool};
static const struct gw_type type_before = {
    .form = "names of plugins", .read = read_before, .schema = schema_names, .list = true};
static const struct gw_type type_after = {
    .form = "names of plugins", .read = read_after, .schema = schema_names, .list = true};

static const struct gw_row rows[] = {
    {.key = "id",
     .type = &type_slice,
     FIELD(id),
     .doc = "Tells two bindings of one plugin apart: of one id the nearest wins. Default: the "
            "plugin's name."},
    {.key = "enabled",
     .type = &type_enabled,
     FIELD(enabled),
     .otherwise = "true",
     .doc = "false: checked, but not run; a route so switches a global binding off."},
    {.key = "when",
     .type = &type_when,
     .offset = 0,
     .doc = "Lua expression over ctx; the plugin runs where it is true. Default: always."},
    {.key = "on_error",
     .type = &gw_type_enum,
     FIELD(on_error),
     .otherwise = "fail",
     .detail = on_errors,
     .doc = "An error in the plugin: fail answers 500, skip goes on without it."},
    {.key = "deadline",
     .type = &gw_type_duration,
     FIELD(deadline_ms),
     .otherwise = "0",
     .min = 0,
     .max = DAY,
     .doc = "A phase of the plugin may wait so long; then it is an error. 0: no limit."},
    {.key = "before",
     .type = &type_before,
     .offset = 0,
     .doc = "Runs before these plugins or ids, whatever the priorities."},
    {.key = "after", .type = &type_after, .offset = 0, .doc = "Runs after these."},
};

const struct gw_section gw_section_binding = GW_SECTION("binding", rows);

static bool is_option(struct gw_str key)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (gw_str_eq(key, gw_str_c(rows[i].key)))
            return true;
    return false;
}

static bool name_ok(struct gw_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return name.len > 0 && name.len <= 64;
}

static bool check_name(struct gw_reader *r, struct gw_where where, struct gw_str name)
{
    if (name_ok(name))
        return true;
    gw_report_fault(r->report, where, gw_path_text(r->path, r->arena),
                    "\"%.*s\" is no name of a plugin", GW_STR_ARG(name));
    gw_report_hint(r->report, "names have letters, digits, - and _");
    return false;
}

/* Two keys that are no option: one of them is misspelt. */
static void fault_two_names(struct gw_reader *r, const struct gw_node *first,
                            const struct gw_node *second)
{
    const struct gw_node *both[] = {first, second};
    struct gw_suggest suggest = {GW_STR_NULL, GW_STR_NULL, 0};
    const struct gw_node *odd = second;

    for (size_t i = 0; i < 2 && suggest.best.data == NULL; i++) {
        gw_suggest_begin(&suggest, both[i]->key);
        for (size_t j = 0; j < sizeof(rows) / sizeof(rows[0]); j++)
            gw_suggest_offer(&suggest, gw_str_c(rows[j].key));
        if (suggest.best.data != NULL)
            odd = both[i];
    }
    gw_report_fault(r->report, gw_node_key_where(odd), gw_path_text(r->path, r->arena),
                    "a binding has one plugin, not both \"%.*s\" and \"%.*s\"",
                    GW_STR_ARG(first->key), GW_STR_ARG(second->key));
    if (suggest.best.data != NULL)
        gw_report_hint(r->report, "did you mean \"%.*s\" by \"%.*s\"?", GW_STR_ARG(suggest.best),
                       GW_STR_ARG(odd->key));
    else
        gw_report_hint(r->report, "begin each plugin with \"- \"");
}

/* The member that names the plugin; a copy of the map without it is left in `options`. */
static struct gw_node *take_plugin(struct gw_reader *r, const struct gw_node *item,
                                   struct gw_node *options)
{
    struct gw_node *plugin = NULL;
    struct gw_node *n, *next;

    *options = *item;
    options->members.first = options->members.last = NULL;
    options->count = 0;
    for (n = item->members.first; n != NULL; n = next) {
        struct gw_node *copy;

        next = n->next;
        if (!is_option(n->key)) {
            if (plugin != NULL) {
                fault_two_names(r, plugin, n);
                return NULL;
            }
            plugin = n;
            continue;
        }
        copy = gw_arena_alloc(r->arena, sizeof(*copy));
        *copy = *n;
        copy->next = NULL;
        if (options->members.last == NULL)
            options->members.first = copy;
        else
            options->members.last->next = copy;
        options->members.last = copy;
        options->count++;
    }
    if (plugin == NULL) {
        (void)gw_fault(r, item, "names no plugin");
        gw_report_hint(r->report, "write \"- plugin-name: { … }\"");
    }
    return plugin;
}

static struct gw_binding *binding_new(struct gw_reader *r)
{
    struct gw_conf_source *source = r->source;

    if (source->bindings_count == r->bindings_size) {
        uint32_t size = r->bindings_size == 0 ? 64 : r->bindings_size * 2;
        struct gw_binding *larger = gw_arena_alloc(r->arena, size * sizeof(*larger));

        if (source->bindings_count > 0)
            memcpy(larger, source->bindings, source->bindings_count * sizeof(*larger));
        source->bindings = larger;
        r->bindings_size = size;
    }
    return &source->bindings[source->bindings_count++];
}

static bool read_binding(struct gw_reader *r, struct gw_node *item, struct gw_binding *binding)
{
    uint32_t before = r->report->faults_count;
    struct gw_node *plugin, *conf, options;

    binding->path = gw_path_text(r->path, r->arena);
    if (item->kind == GW_NODE_SCALAR && !gw_node_is_null(item)) {
        binding->plugin = item->text;
        binding->where = item->where;
        binding->conf_path = binding->path;
        binding->id = binding->plugin;
        return check_name(r, item->where, item->text);
    }
    if (item->kind != GW_NODE_MAP)
        return gw_fault(r, item, "must be the name of a plugin, or a map with it, not %s",
                        gw_node_what(item));
    plugin = take_plugin(r, item, &options);
    if (plugin == NULL)
        return false;
    binding->plugin = plugin->key;
    binding->where = gw_node_key_where(plugin);
    binding->conf_path =
        gw_arena_printf(r->arena, "%.*s.%.*s", GW_STR_ARG(binding->path), GW_STR_ARG(plugin->key));
    if (!gw_node_is_null(plugin)) {
        conf = gw_arena_alloc(r->arena, sizeof(*conf));
        *conf = *plugin; /* alone: without the siblings behind it */
        conf->next = NULL;
        binding->conf = conf;
    }
    (void)check_name(r, binding->where, binding->plugin);
    (void)gw_section_read(r, &gw_section_binding, &options, binding, 0);
    if (binding->id.data == NULL)
        binding->id = binding->plugin;
    return r->report->faults_count == before;
}

static bool read_plugins(struct gw_reader *r, const struct gw_row *row, struct gw_node *node,
                         void *field)
{
    struct gw_item_step step = GW_ITEM_STEP_INIT;
    struct gw_names seen = GW_NAMES_INIT;
    bool ok = true;

    if (node->kind == GW_NODE_MAP) {
        ok = gw_fault(r, node, "must be a list, not a map");
        gw_report_hint(r->report, "write \"- \" before each plugin");
        return ok;
    }
    GW_ITEMS_EACH(item, node)
    {
        struct gw_binding binding = {.enabled = true, .route = r->route};

        gw_item_enter(r, &step, node, item);
        if (r->source->bindings_count == BINDINGS_MAX) {
            ok = gw_fault(r, item, "more than %d uses of plugins", BINDINGS_MAX);
        } else if (!read_binding(r, item, &binding)) {
            ok = false;
        } else if (!gw_names_add(&seen, binding.id, 0, NULL)) {
            gw_report_fault(r->report, binding.where, binding.path, "\"%.*s\" is given twice",
                            GW_STR_ARG(binding.id));
            gw_report_hint(r->report, "give one of them an id:");
            ok = false;
        } else {
            *binding_new(r) = binding;
        }
        gw_item_leave(r, &step);
    }
    gw_names_fini(&seen);
    return ok;
}

static void schema_plugins(const struct gw_row *row, struct gw_buf *out)
{
    gw_buf_printf(out, "\"$ref\":\"#/$defs/plugins\"");
}

const struct gw_type gw_type_plugins = {.form = "a list of plugins",
                                        .read = read_plugins,
                                        .schema = schema_plugins,
                                        .inside = "[].",
                                        .list = true};
