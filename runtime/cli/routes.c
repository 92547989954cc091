#include <stdio.h>

#include "base/json.h"
#include "cli/chain.h"
#include "cli/command.h"
#include "cli/load.h"
#include "cli/text.h"

#define CELL_BYTES 256

/* "a, b" of an array of struct gw_ref. */
static void refs_text(const struct gw_conf *conf, struct gw_ref refs, char *to, size_t size)
{
    const struct gw_ref *items = GW_ITEMS(conf, refs, struct gw_ref);
    size_t len = 0;

    (void)snprintf(to, size, "*");
    for (uint32_t i = 0; i < refs.len && len < size; i++)
        len += (size_t)snprintf(to + len, size - len, "%s%.*s", i > 0 ? ", " : "",
                                GW_STR_ARG(gw_ref_str(conf, items[i])));
}

static void chain_text(const struct gw_conf *conf, uint32_t chain, char *to, size_t size)
{
    size_t len = 0;

    (void)snprintf(to, size, "-");
    for (uint32_t i = 0; i < gw_chain_len(conf, chain) && len < size; i++)
        len += (size_t)snprintf(to + len, size - len, "%s%.*s", i > 0 ? ", " : "",
                                GW_STR_ARG(gw_ref_str(conf, gw_chain_at(conf, chain, i)->id)));
}

static void print_table(const struct gw_conf *conf)
{
    static const char *const heads[] = {"ROUTE",   "PRIORITY", "HOSTS", "PATHS",
                                        "METHODS", "PLUGINS",  "TARGET"};
    const struct gw_conf_route *routes = GW_ITEMS(conf, conf->routes, struct gw_conf_route);
    struct gw_table table;
    char text[CELL_BYTES];

    gw_table_begin(&table, sizeof(heads) / sizeof(heads[0]));
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        gw_table_cell(&table, "%s", heads[i]);
    for (uint32_t i = 0; i < conf->routes.len; i++) {
        const struct gw_conf_route *route = &routes[i];
        const struct gw_conf_details *details = gw_conf_details(conf, route);
        gw_table_cell(&table, "%.*s%s", GW_STR_ARG(gw_ref_str(conf, route->name)),
                      details->enabled ? "" : " (off)");
        gw_table_cell(&table, "%d", details->priority);
        refs_text(conf, details->match.hosts, text, sizeof(text));
        gw_table_cell(&table, "%s", text);
        refs_text(conf, details->match.paths, text, sizeof(text));
        gw_table_cell(&table, "%s", text);
        refs_text(conf, details->match.methods, text, sizeof(text));
        gw_table_cell(&table, "%s", text);
        chain_text(conf, route->chain, text, sizeof(text));
        gw_table_cell(&table, "%s", text);
        gw_route_target_text(conf, route, text, sizeof(text));
        gw_table_cell(&table, "%s", text);
    }
    gw_table_print(&table);
}

static void put_refs(struct gw_json_writer *json, const char *key, const struct gw_conf *conf,
                     struct gw_ref refs)
{
    gw_json_key(json, key);
    gw_json_array(json);
    for (uint32_t i = 0; i < refs.len; i++)
        gw_json_str(json, gw_ref_str(conf, GW_ITEMS(conf, refs, struct gw_ref)[i]));
    gw_json_array_end(json);
}

static void print_json(const struct gw_conf *conf)
{
    const struct gw_conf_route *routes = GW_ITEMS(conf, conf->routes, struct gw_conf_route);
    const struct gw_conf_file *files = GW_ITEMS(conf, conf->files, struct gw_conf_file);
    struct gw_buf out = GW_BUF_INIT;
    struct gw_json_writer json;
    char text[CELL_BYTES];

    gw_json_begin(&json, &out);
    gw_json_array(&json);
    for (uint32_t i = 0; i < conf->routes.len; i++) {
        const struct gw_conf_route *route = &routes[i];
        const struct gw_conf_details *details = gw_conf_details(conf, route);
        gw_json_object(&json);
        gw_json_key(&json, "name");
        gw_json_str(&json, gw_ref_str(conf, route->name));
        gw_json_key(&json, "file");
        gw_json_str(&json, gw_ref_str(conf, files[details->where.file].path));
        gw_json_key(&json, "line");
        gw_json_uint(&json, details->where.line);
        gw_json_key(&json, "enabled");
        gw_json_bool(&json, details->enabled != 0);
        gw_json_key(&json, "priority");
        gw_json_int(&json, details->priority);
        put_refs(&json, "hosts", conf, details->match.hosts);
        put_refs(&json, "paths", conf, details->match.paths);
        put_refs(&json, "methods", conf, details->match.methods);
        gw_json_key(&json, "plugins");
        gw_json_array(&json);
        for (uint32_t p = 0; p < gw_chain_len(conf, route->chain); p++)
            gw_json_str(&json, gw_ref_str(conf, gw_chain_at(conf, route->chain, p)->id));
        gw_json_array_end(&json);
        gw_route_target_text(conf, route, text, sizeof(text));
        gw_json_key(&json, "target");
        gw_json_text(&json, text);
        gw_json_object_end(&json);
    }
    gw_json_array_end(&json);
    gw_buf_add(&out, "\n", 1);
    gw_cli_print(&out);
}

int gw_cmd_routes(const struct gw_args *args)
{
    struct gw_loading loading;

    if (!gw_cli_load(args, &loading))
        return GW_EXIT_FAILED;
    if (gw_args_has(args, "json"))
        print_json(gw_image_conf(&loading.image));
    else
        print_table(gw_image_conf(&loading.image));
    gw_loading_fini(&loading);
    return GW_EXIT_FINE;
}
