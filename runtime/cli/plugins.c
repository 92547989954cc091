/* `moongate plugins` and `moongate schema`: what can be bound, and how. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/command.h"
#include "cli/load.h"
#include "cli/text.h"
#include "conf/conf_schema.h"
#include "conf/schema.h"
#include "script/load.h"

struct found {
    struct gw_arena *arena;
    struct gw_plugin_info *rows;
    uint32_t count;
};

static struct gw_str keep(struct gw_arena *arena, struct gw_str text)
{
    return gw_arena_dup(arena, text);
}

static void on_plugin(void *arg, const struct gw_plugin_info *info)
{
    struct found *found = arg;
    struct gw_plugin_info *rows = realloc(found->rows, (found->count + 1) * sizeof(*rows)), *row;

    if (rows == NULL)
        abort();
    found->rows = rows;
    row = &rows[found->count++];
    *row = *info;
    row->name = keep(found->arena, info->name);
    row->path = keep(found->arena, info->path);
    if (info->schema != NULL)
        row->schema = gw_node_copy(found->arena, info->schema);
    if (info->error != NULL)
        row->error = keep(found->arena, gw_str_c(info->error)).data;
}

/* The first sentence of the file's own documentation: "--- Refuses requests from …". */
static void doc_of(const struct gw_plugin_info *info, char *to, size_t size)
{
    char path[4096];
    FILE *file;

    to[0] = '\0';
    if (snprintf(path, sizeof(path), "%.*s", GW_STR_ARG(info->path)) >= (int)sizeof(path))
        return;
    file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(to, (int)size, file) == NULL || strncmp(to, "--", 2) != 0)
        to[0] = '\0';
    (void)fclose(file);
    to[strcspn(to, "\r\n")] = '\0';
    memmove(to, to + strspn(to, "- "), strlen(to + strspn(to, "- ")) + 1);
}

static void print_table(const struct found *found)
{
    struct gw_table table;
    char doc[256];

    gw_table_begin(&table, 4);
    gw_table_cell(&table, "PLUGIN");
    gw_table_cell(&table, "PRIORITY");
    gw_table_cell(&table, "FILE");
    gw_table_cell(&table, "WHAT IT DOES");
    for (uint32_t i = 0; i < found->count; i++) {
        const struct gw_plugin_info *info = &found->rows[i];
        doc_of(info, doc, sizeof(doc));
        gw_table_cell(&table, "%.*s", GW_STR_ARG(info->name));
        if (info->error != NULL)
            gw_table_cell(&table, "-");
        else
            gw_table_cell(&table, "%g", info->priority);
        gw_table_cell(&table, "%.*s", GW_STR_ARG(info->path));
        gw_table_cell(&table, "%s%s", info->error != NULL ? "cannot be loaded: " : "",
                      info->error != NULL ? info->error : doc);
    }
    gw_table_print(&table);
}

static void print_json(const struct found *found)
{
    struct gw_buf out = GW_BUF_INIT, schema = GW_BUF_INIT;
    struct gw_json_writer json;
    char doc[256];

    gw_json_begin(&json, &out);
    gw_json_array(&json);
    for (uint32_t i = 0; i < found->count; i++) {
        const struct gw_plugin_info *info = &found->rows[i];
        doc_of(info, doc, sizeof(doc));
        gw_json_object(&json);
        gw_json_key(&json, "name");
        gw_json_str(&json, info->name);
        gw_json_key(&json, "path");
        gw_json_str(&json, info->path);
        gw_json_key(&json, "doc");
        gw_json_text(&json, doc);
        gw_json_key(&json, "error");
        gw_json_text(&json, info->error);
        if (info->error == NULL) {
            gw_json_key(&json, "priority");
            gw_json_double(&json, info->priority);
            gw_json_key(&json, "schema");
            gw_buf_clear(&schema);
            if (info->schema != NULL)
                gw_schema_json(info->schema, &schema);
            if (info->schema != NULL)
                gw_json_raw(&json, gw_buf_str(&schema));
            else
                gw_json_null(&json);
        }
        gw_json_object_end(&json);
    }
    gw_json_array_end(&json);
    gw_buf_add(&out, "\n", 1);
    gw_buf_fini(&schema);
    gw_cli_print(&out);
}

/* The folders come from the conf where there is one, and it may have faults: the editor that
 * asks for its schema is about to mend them. */
static enum gw_rc find(const struct gw_args *args, struct gw_loading *loading, struct found *found,
                       struct gw_err *err)
{
    struct gw_conf_options options = {.shipped_dir = gw_cli_shipped_dir()};
    const char *path = gw_cli_conf(args);
    struct gw_str nothing = GW_STR("listen: [ 127.0.0.1:0 ]\n");
    enum gw_rc rc;

    gw_image_init(&loading->image);
    gw_conf_source_init(&loading->source);
    gw_report_init(&loading->report);
    if (access(path, R_OK) == 0)
        rc = gw_conf_load(path, &options, &loading->image, &loading->source, &loading->report);
    else if (gw_args_has(args, "conf"))
        return gw_err_set(err, GW_NOT_FOUND, "%s: cannot be read", path);
    else
        rc = gw_conf_load_text(path, nothing, &options, &loading->image, &loading->source,
                               &loading->report);
    if (rc != GW_OK && loading->source.plugin_paths_count == 0)
        return gw_err_set(err, GW_INVALID, "%s has faults: see moongate check -c %s", path, path);
    return gw_script_plugins(&loading->source, on_plugin, found, err);
}

static void print_schema(const struct found *found)
{
    struct gw_plugin_schema *rows = calloc(found->count + 1, sizeof(*rows));
    struct gw_buf out = GW_BUF_INIT;
    uint32_t count = 0;

    if (rows == NULL)
        abort();
    for (uint32_t i = 0; i < found->count; i++)
        if (found->rows[i].error == NULL)
            rows[count++] = (struct gw_plugin_schema){found->rows[i].name, found->rows[i].schema};
    gw_conf_schema(rows, count, &out);
    gw_buf_add(&out, "\n", 1);
    gw_cli_print(&out);
    free(rows);
}

static int with_plugins(const struct gw_args *args, void (*print)(const struct found *found))
{
    struct gw_arena arena = GW_ARENA_INIT;
    struct found found = {.arena = &arena};
    struct gw_loading loading;
    struct gw_err err;
    int code = GW_EXIT_FINE;

    if (find(args, &loading, &found, &err) != GW_OK)
        code = gw_cli_fail("%s", err.text);
    else
        print(&found);
    gw_loading_fini(&loading);
    gw_arena_fini(&arena);
    free(found.rows);
    return code;
}

int gw_cmd_plugins(const struct gw_args *args)
{
    return with_plugins(args, gw_args_has(args, "json") ? print_json : print_table);
}

int gw_cmd_schema(const struct gw_args *args)
{
    return with_plugins(args, print_schema);
}
