/* `moongate explain`: the compiled matcher is asked, as a worker would; the chain and the
 * upstream come from the same image that workers map. */
#include <arpa/inet.h>
#include <stdio.h>

#include "base/cidr.h"
#include "base/json.h"
#include "cli/chain.h"
#include "cli/command.h"
#include "cli/load.h"
#include "http/uri.h"
#include "net/conn.h"
#include "route/explain.h"

struct question {
    struct gw_arena arena;
    struct gw_request request;
    uint32_t listener;
    uint8_t client[16];
};

/* ---- from words to a request ---- */

static enum gw_rc parse_url(struct question *question, const char *url, struct gw_err *err)
{
    struct gw_request *request = &question->request;
    struct gw_target_parts parts;
    uint16_t port;
    enum gw_rc rc = gw_uri_split_target(gw_str_c(url), &parts);

    if (rc != GW_OK || parts.form == GW_TARGET_ASTERISK)
        return gw_err_set(err, GW_INVALID,
                          "\"%s\" is not a URL: http://host/path, or /path with -H 'Host: …'", url);
    request->target = gw_str_c(url);
    request->scheme = parts.scheme.len == 5 ? GW_STR("https") : GW_STR("http");
    request->query = parts.query;
    rc = gw_uri_normalize_path(&question->arena, parts.path, &request->path);
    if (rc != GW_OK)
        return gw_err_set(err, GW_INVALID,
                          "the path of \"%s\" is refused with 400 before any route is asked", url);
    if (parts.form != GW_TARGET_ABSOLUTE)
        return GW_OK;
    request->authority = parts.authority;
    if (gw_uri_parse_authority(&question->arena, parts.authority, &request->host, &port) != GW_OK)
        return gw_err_set(err, GW_INVALID, "\"%.*s\" is not a host", GW_STR_ARG(parts.authority));
    request->port = port;
    return GW_OK;
}

static enum gw_rc add_header(struct question *question, const char *line, struct gw_err *err)
{
    struct gw_request *request = &question->request;
    const char *colon = strchr(line, ':'), *value;
    struct gw_str name;
    uint16_t port;

    if (colon == NULL || colon == line)
        return gw_err_set(err, GW_INVALID, "-H \"%s\": \"Name: value\" is expected", line);
    name = gw_str(line, (size_t)(colon - line));
    value = colon + 1 + strspn(colon + 1, " \t");
    if (gw_str_eq_nocase(name, GW_STR("host"))) {
        request->authority = gw_str_c(value);
        if (gw_uri_parse_authority(&question->arena, request->authority, &request->host, &port) !=
            GW_OK)
            return gw_err_set(err, GW_INVALID, "-H \"%s\": not a host", line);
        request->port = port;
        return GW_OK;
    }
    if (gw_fields_add(&request->fields, name, gw_str_c(value)) == NULL)
        return gw_err_set(err, GW_LIMIT, "too many headers");
    return GW_OK;
}

static enum gw_rc choose_listener(struct question *question, const struct gw_conf *conf,
                                  const char *name, struct gw_err *err)
{
    const struct gw_conf_listener *listeners =
        GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    question->listener = 0;
    for (uint32_t i = 0; i < conf->listeners.len; i++) {
        uint16_t port = gw_address_port((const struct sockaddr *)&listeners[i].address);
        if (name != NULL ? gw_str_eq(gw_ref_str(conf, listeners[i].name), gw_str_c(name))
                         : question->request.port != 0 && port == question->request.port) {
            question->listener = i;
            return GW_OK;
        }
    }
    if (name != NULL)
        return gw_err_set(err, GW_NOT_FOUND, "there is no listener %s", name);
    return GW_OK;
}

static enum gw_rc ask(struct question *question, const struct gw_args *args,
                      const struct gw_conf *conf, struct gw_err *err)
{
    bool has_method = args->words_count == 2;
    const char *method = has_method ? args->words[0] : "GET", *line;
    const char *client = gw_args_get(args, "client", "127.0.0.1");
    enum gw_rc rc;

    gw_fields_init(&question->request.fields, &question->arena);
    question->request.method = gw_str_c(method);
    question->request.method_id = gw_method_of(gw_str_c(method));
    question->request.major = question->request.minor = 1;
    rc = parse_url(question, args->words[has_method], err);
    for (size_t i = 0; rc == GW_OK && (line = gw_args_nth(args, "header", i)) != NULL; i++)
        rc = add_header(question, line, err);
    if (rc == GW_OK && gw_ip_parse(gw_str_c(client), question->client) != GW_OK)
        rc = gw_err_set(err, GW_INVALID, "--client: \"%s\" is not an address", client);
    if (rc == GW_OK)
        rc = choose_listener(question, conf, gw_args_get(args, "listener", NULL), err);
    return rc;
}

/* ---- the answer ---- */

static void chain_lines(const struct gw_conf *conf, const char *title, uint32_t chain)
{
    const struct gw_script_image *image = gw_script_image(conf);

    for (uint32_t i = 0; i < gw_chain_len(conf, chain); i++) {
        const struct gw_script_binding *binding = gw_chain_at(conf, chain, i);
        const struct gw_script_source *source =
            &GW_ITEMS(conf, image->sources, struct gw_script_source)[binding->source];
        struct gw_str id = gw_ref_str(conf, binding->id), name = gw_ref_str(conf, binding->plugin);
        struct gw_str when = gw_ref_str(conf, binding->when);
        (void)printf("  %s%u. %.*s", i == 0 ? title : "         ", i + 1, GW_STR_ARG(name));
        if (!gw_str_eq(id, name))
            (void)printf(" (id %.*s)", GW_STR_ARG(id));
        if (binding->route == GW_NONE)
            (void)printf(", on every route");
        if (when.len > 0)
            (void)printf(", when %.*s", GW_STR_ARG(when));
        (void)printf("  [%.*s]\n", GW_STR_ARG(gw_ref_str(conf, source->chunk)));
    }
}

static void upstream_lines(const struct gw_conf *conf, const struct gw_conf_route *route)
{
    const struct gw_conf_upstream *upstream;
    const struct gw_conf_target *targets;
    char text[512];

    gw_route_target_text(conf, route, text, sizeof(text));
    (void)printf("  target   %s\n", text);
    if (route->kind != GW_ROUTE_UPSTREAM || route->upstream == GW_NONE)
        return;
    upstream = &GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream)[route->upstream];
    targets = GW_ITEMS(conf, upstream->targets, struct gw_conf_target);
    for (uint32_t i = 0; i < upstream->targets.len; i++)
        (void)printf("           %.*s weight %u\n", GW_STR_ARG(gw_ref_str(conf, targets[i].text)),
                     targets[i].weight);
}

static void print_text(const struct gw_conf *conf, const struct question *question,
                       const struct gw_route_explanation *explanation)
{
    struct gw_buf out = GW_BUF_INIT;

    if (explanation->verdict == GW_OK) {
        const struct gw_conf_route *route =
            &GW_ITEMS(conf, conf->routes, struct gw_conf_route)[explanation->result.route];
        (void)printf("route %.*s\n", GW_STR_ARG(gw_ref_str(conf, route->name)));
        chain_lines(conf, "plugins  ", route->chain);
        upstream_lines(conf, route);
        (void)printf("\n");
    }
    gw_route_explain_text(conf, &question->request, explanation, &out);
    gw_cli_print(&out);
}

static const char *const stage_names[] = {
    [GW_ROUTE_STAGE_DISABLED] = "disabled", [GW_ROUTE_STAGE_HOST] = "host",
    [GW_ROUTE_STAGE_PATH] = "path",         [GW_ROUTE_STAGE_CONDITION] = "condition",
    [GW_ROUTE_STAGE_METHOD] = "method",     [GW_ROUTE_STAGE_LOST] = "lost",
    [GW_ROUTE_STAGE_WON] = "won",
};

static void winner_json(struct gw_json_writer *json, const struct gw_conf *conf,
                        const struct gw_route_result *result)
{
    const struct gw_conf_route *route =
        &GW_ITEMS(conf, conf->routes, struct gw_conf_route)[result->route];
    char text[512];

    gw_json_key(json, "route");
    gw_json_str(json, gw_ref_str(conf, route->name));
    gw_json_key(json, "params");
    gw_json_object(json);
    for (uint32_t i = 0; i < result->params; i++) {
        gw_json_key_str(json, result->param[i].name);
        gw_json_str(json, result->param[i].value);
    }
    gw_json_object_end(json);
    gw_json_key(json, "plugins");
    gw_json_array(json);
    for (uint32_t i = 0; i < gw_chain_len(conf, route->chain); i++)
        gw_json_str(json, gw_ref_str(conf, gw_chain_at(conf, route->chain, i)->id));
    gw_json_array_end(json);
    gw_route_target_text(conf, route, text, sizeof(text));
    gw_json_key(json, "target");
    gw_json_text(json, text);
}

static void print_json(const struct gw_conf *conf, const struct gw_route_explanation *explanation)
{
    const struct gw_conf_route *routes = GW_ITEMS(conf, conf->routes, struct gw_conf_route);
    struct gw_buf out = GW_BUF_INIT;
    struct gw_json_writer json;

    gw_json_begin(&json, &out);
    gw_json_object(&json);
    gw_json_key(&json, "verdict");
    gw_json_text(&json, explanation->verdict == GW_OK          ? "match"
                        : explanation->verdict == GW_NOT_FOUND ? "404"
                        : explanation->verdict == GW_INVALID   ? "405"
                                                               : "400");
    if (explanation->verdict == GW_OK)
        winner_json(&json, conf, &explanation->result);
    if (explanation->verdict == GW_INVALID) {
        gw_json_key(&json, "allow");
        gw_json_str(&json, explanation->result.allow);
    }
    gw_json_key(&json, "routes");
    gw_json_array(&json);
    for (uint32_t i = 0; i < explanation->count; i++) {
        gw_json_object(&json);
        gw_json_key(&json, "route");
        gw_json_str(&json, gw_ref_str(conf, routes[i].name));
        gw_json_key(&json, "stage");
        gw_json_text(&json, stage_names[explanation->reasons[i].stage]);
        gw_json_key(&json, "reason");
        gw_json_str(&json, explanation->reasons[i].text);
        gw_json_object_end(&json);
    }
    gw_json_array_end(&json);
    gw_json_object_end(&json);
    gw_buf_add(&out, "\n", 1);
    gw_cli_print(&out);
}

static int explain(const struct gw_args *args, const struct gw_conf *conf)
{
    struct question question = {.arena = GW_ARENA_INIT};
    struct gw_route_explanation explanation;
    struct gw_route_matcher *matcher;
    struct gw_err err;
    int code = GW_EXIT_FAILED;

    if (ask(&question, args, conf, &err) != GW_OK) {
        code = gw_cli_misused("explain", "%s", err.text);
    } else if (gw_route_matcher_new(conf, &matcher, &err) != GW_OK) {
        code = gw_cli_fail("%s", err.text);
    } else {
        gw_route_explain(matcher, &question.request, question.listener, question.client,
                         &question.arena, &explanation);
        if (gw_args_has(args, "json"))
            print_json(conf, &explanation);
        else
            print_text(conf, &question, &explanation);
        code = explanation.verdict == GW_OK ? GW_EXIT_FINE : GW_EXIT_FAILED;
        gw_route_matcher_free(matcher);
    }
    gw_arena_fini(&question.arena);
    return code;
}

int gw_cmd_explain(const struct gw_args *args)
{
    struct gw_loading loading;
    int code;

    if (!gw_cli_load(args, &loading))
        return GW_EXIT_FAILED;
    code = explain(args, gw_image_conf(&loading.image));
    gw_loading_fini(&loading);
    return code;
}
