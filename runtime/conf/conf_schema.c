#include "conf/conf_schema.h"

#include <string.h>

#include "base/json.h"
#include "conf/schema.h"

/* A default that reads as a number or a boolean is written as one. */
static void add_default(const char *text, struct gw_buf *out)
{
    struct gw_node node = {.kind = GW_NODE_SCALAR, .text = gw_str_c(text)};

    node.scalar = (uint8_t)(text[0] == '\0' ? GW_SCALAR_STRING : gw_scalar_of(node.text));
    gw_node_json(&node, out);
}

void gw_section_schema(const struct gw_section *section, uint32_t scope, struct gw_buf *out)
{
    bool first = true;

    gw_buf_printf(out, "\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    for (uint32_t i = 0; i < section->count; i++) {
        const struct gw_row *row = &section->rows[i];

        if (scope != 0 && (row->flags & scope) == 0)
            continue;
        gw_buf_printf(out, "%s\"%s\":{", first ? "" : ",", row->key);
        first = false;
        row->type->schema(row, out);
        gw_buf_printf(out, ",\"description\":");
        gw_json_quote(out, gw_str_c(row->doc));
        if (row->otherwise != NULL) {
            gw_buf_printf(out, ",\"default\":");
            add_default(row->otherwise, out);
        }
        gw_buf_printf(out, "}");
    }
    gw_buf_printf(out, "}");
    first = true;
    for (uint32_t i = 0; i < section->count; i++) {
        if ((section->rows[i].flags & GW_ROW_REQUIRED) == 0)
            continue;
        /* An included file need not have what the main file must have. */
        if (section == &gw_section_root)
            continue;
        gw_buf_printf(out, "%s\"%s\"", first ? ",\"required\":[" : ",", section->rows[i].key);
        first = false;
    }
    if (!first)
        gw_buf_printf(out, "]");
}

/* "plugin:NAME" for each, and "plugins": the list. */
static void add_plugins(const struct gw_plugin_schema *plugins, uint32_t count, struct gw_buf *out)
{
    for (uint32_t i = 0; i < count; i++) {
        gw_buf_printf(out, "\"plugin:%.*s\":", GW_STR_ARG(plugins[i].name));
        gw_buf_printf(out, "{\"anyOf\":[{\"type\":\"null\"},");
        gw_schema_json(plugins[i].schema, out);
        gw_buf_printf(out, "]},");
    }
    gw_buf_printf(out, "\"plugins\":{\"type\":\"array\",\"items\":{\"anyOf\":["
                       "{\"type\":\"string\"},{\"type\":\"object\",\"properties\":{");
    for (uint32_t i = 0; i < count; i++)
        gw_buf_printf(out, "\"%.*s\":{\"$ref\":\"#/$defs/plugin:%.*s\"},",
                      GW_STR_ARG(plugins[i].name), GW_STR_ARG(plugins[i].name));
    for (uint32_t i = 0; i < gw_section_binding.count; i++) {
        const struct gw_row *row = &gw_section_binding.rows[i];

        gw_buf_printf(out, "%s\"%s\":{", i > 0 ? "," : "", row->key);
        row->type->schema(row, out);
        gw_buf_printf(out, ",\"description\":");
        gw_json_quote(out, gw_str_c(row->doc));
        gw_buf_printf(out, "}");
    }
    gw_buf_printf(out, "}}]}}");
}

void gw_conf_schema(const struct gw_plugin_schema *plugins, uint32_t count, struct gw_buf *out)
{
    gw_buf_printf(out, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\","
                       "\"title\":\"Moongate conf\",");
    gw_section_schema(&gw_section_root, 0, out);
    gw_buf_printf(out, ",\"$defs\":{");
    add_plugins(plugins, count, out);
    gw_buf_printf(out, "}}");
}

/* ---- all keys ---- */

static const struct gw_section *inner_of(const struct gw_row *row)
{
    if (row->type == &gw_type_limits)
        return &gw_section_limits;
    return row->type->inside == NULL ? NULL : row->detail;
}

static void each(const struct gw_section *section, uint32_t scope, struct gw_str prefix,
                 gw_key_fn fn, void *arg)
{
    for (uint32_t i = 0; i < section->count; i++) {
        const struct gw_row *row = &section->rows[i];
        const struct gw_section *inner = inner_of(row);
        struct gw_buf path = GW_BUF_INIT;

        if (scope != 0 && (row->flags & scope) == 0)
            continue;
        gw_buf_add_str(&path, prefix);
        gw_buf_printf(&path, "%s", row->key);
        fn(arg, gw_buf_str(&path), row);
        /* The bindings of routes have the keys of the global ones. */
        if (inner != NULL && !(section == &gw_section_route && inner == &gw_section_binding)) {
            gw_buf_printf(&path, "%s", row->type->inside);
            each(inner,
                 inner == &gw_section_limits ? row->flags & (GW_ROW_LISTENER | GW_ROW_ROUTE) : 0,
                 gw_buf_str(&path), fn, arg);
        }
        gw_buf_fini(&path);
    }
}

void gw_conf_keys(gw_key_fn fn, void *arg)
{
    each(&gw_section_root, 0, GW_STR(""), fn, arg);
}

static void add_cell(struct gw_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            gw_buf_add(out, "\\", 1);
        gw_buf_add(out, text, 1);
    }
}

static void add_line(void *arg, struct gw_str path, const struct gw_row *row)
{
    struct gw_buf *out = arg;
    bool one_of = row->type == &gw_type_enum;

    /* Limits are the same keys everywhere: they are told once. */
    if (memmem(path.data, path.len, "].limits.", 9) != NULL)
        return;
    gw_buf_printf(out, "| `%.*s` | ", GW_STR_ARG(path));
    for (const char *const *names = row->detail; one_of && *names != NULL; names++)
        gw_buf_printf(out, "%s%s", *names,
                      names[1] == NULL   ? ""
                      : names[2] == NULL ? " or "
                                         : ", ");
    if (!one_of)
        add_cell(out, row->type->form);
    gw_buf_printf(out, " | ");
    if (row->otherwise != NULL)
        gw_buf_printf(out, "`%s`", row->otherwise[0] == '\0' ? "\"\"" : row->otherwise);
    else if ((row->flags & GW_ROW_REQUIRED) != 0)
        gw_buf_printf(out, "must be given");
    gw_buf_printf(out, " | ");
    add_cell(out, row->doc);
    gw_buf_printf(out, " |\n");
}

void gw_conf_reference(struct gw_buf *out)
{
    gw_buf_printf(out, "| key | value | default | meaning |\n|---|---|---|---|\n");
    gw_conf_keys(add_line, out);
}
