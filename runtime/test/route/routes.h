/* Routes for the tests of route/: from rows in the test to an image and a matcher. */
#ifndef GW_TEST_ROUTE_ROUTES_H
#define GW_TEST_ROUTE_ROUTES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cidr.h"
#include "conf/image.h"
#include "conf/report.h"
#include "route/match.h"
#include "route/table.h"

#define LIST_MAX 12

/* One route; what is left out is not given. Lists end with NULL. Conditions are name, value. */
struct row {
    const char *name;
    const char *paths[LIST_MAX];
    const char *hosts[LIST_MAX];
    const char *methods[LIST_MAX];
    const char *headers[LIST_MAX];
    const char *query[LIST_MAX];
    const char *clients[LIST_MAX];
    int listeners[LIST_MAX]; /* number + 1 */
    const char *scheme;
    int priority;
    bool disabled;
    bool merge;
};

struct routes {
    struct gw_image image;
    struct gw_report report;
    struct gw_route_matcher *matcher;
    struct gw_arena arena;
};

static inline struct gw_ref routes_texts(struct gw_image *image, const char *const *list)
{
    struct gw_ref out = {0, 0};

    while (list[out.len] != NULL)
        out.len++;
    if (out.len == 0)
        return out;
    out.off = gw_image_alloc(image, out.len * sizeof(struct gw_ref));
    for (uint32_t i = 0; i < out.len; i++) {
        struct gw_ref text = gw_image_add_str(image, gw_str_c(list[i]));
        ((struct gw_ref *)gw_image_at(image, out.off))[i] = text;
    }
    return out;
}

/* struct gw_conf_condition is two gw_refs: the same layout as a list of texts. */
static inline struct gw_ref routes_pairs(struct gw_image *image, const char *const *list)
{
    struct gw_ref out = routes_texts(image, list);

    out.len /= 2;
    return out;
}

static inline struct gw_ref routes_clients(struct gw_image *image, const char *const *list)
{
    struct gw_ref out = {0, 0};

    while (list[out.len] != NULL)
        out.len++;
    if (out.len == 0)
        return out;
    out.off = gw_image_alloc(image, out.len * sizeof(struct gw_cidr));
    for (uint32_t i = 0; i < out.len; i++) {
        struct gw_cidr cidr;
        assert_int_equal(gw_cidr_parse(gw_str_c(list[i]), cidr.address, &cidr.bits, NULL), GW_OK);
        ((struct gw_cidr *)gw_image_at(image, out.off))[i] = cidr;
    }
    return out;
}

static inline struct gw_ref routes_listeners(struct gw_image *image, const int *list)
{
    struct gw_ref out = {0, 0};

    while (list[out.len] != 0)
        out.len++;
    if (out.len == 0)
        return out;
    out.off = gw_image_alloc(image, out.len * sizeof(uint32_t));
    for (uint32_t i = 0; i < out.len; i++)
        ((uint32_t *)gw_image_at(image, out.off))[i] = (uint32_t)list[i] - 1;
    return out;
}

static inline void routes_write_row(struct gw_image *image, uint32_t i, const struct row *row)
{
    struct gw_conf_route route = {.upstream = GW_NONE};
    struct gw_conf_details details = {
        .enabled = !row->disabled, .merge_slashes = row->merge, .priority = row->priority};

    details.where.line = i + 1;
    route.name = gw_image_add_str(image, gw_str_c(row->name));
    details.match.paths = routes_texts(image, row->paths);
    details.match.hosts = routes_texts(image, row->hosts);
    details.match.methods = routes_texts(image, row->methods);
    details.match.headers = routes_pairs(image, row->headers);
    details.match.query = routes_pairs(image, row->query);
    details.match.clients = routes_clients(image, row->clients);
    details.match.listeners = routes_listeners(image, row->listeners);
    if (row->scheme != NULL)
        details.match.scheme = gw_image_add_str(image, gw_str_c(row->scheme));
    ((struct gw_conf_route *)gw_image_at(image, gw_image_conf(image)->routes.off))[i] = route;
    ((struct gw_conf_details *)gw_image_at(image, gw_image_conf(image)->details.off))[i] = details;
}

static inline void routes_init(struct routes *r, const struct row *rows, uint32_t count)
{
    uint32_t off;

    r->matcher = NULL;
    r->arena = GW_ARENA_INIT;
    gw_image_init(&r->image);
    gw_report_init(&r->report);
    (void)gw_report_file(&r->report, GW_STR("gateway.yaml"));
    off = gw_image_alloc(&r->image, (count + 1) * sizeof(struct gw_conf_route));
    gw_image_conf(&r->image)->routes = (struct gw_ref){off, count};
    off = gw_image_alloc(&r->image, (count + 1) * sizeof(struct gw_conf_details));
    gw_image_conf(&r->image)->details = (struct gw_ref){off, count};
    for (uint32_t i = 0; i < count; i++)
        routes_write_row(&r->image, i, &rows[i]);
}

static inline void routes_fini(struct routes *r)
{
    gw_route_matcher_free(r->matcher);
    gw_arena_fini(&r->arena);
    gw_report_fini(&r->report);
    gw_image_fini(&r->image);
}

static inline void routes_compile(struct routes *r)
{
    enum gw_rc rc = gw_route_table_build(&r->image, &r->report);

    if (rc != GW_OK) {
        struct gw_buf text = GW_BUF_INIT;
        gw_report_text(&r->report, &text);
        (void)fprintf(stderr, "%.*s", (int)gw_buf_len(&text), text.data);
        gw_buf_fini(&text);
    }
    assert_int_equal(rc, GW_OK);
    assert_int_equal(gw_route_matcher_new(gw_image_conf(&r->image), &r->matcher, NULL), GW_OK);
}

static inline struct routes *routes_new(const struct row *rows, uint32_t count)
{
    struct routes *r = malloc(sizeof(*r));

    assert_non_null(r);
    routes_init(r, rows, count);
    routes_compile(r);
    return r;
}

static inline void routes_free(struct routes *r)
{
    routes_fini(r);
    free(r);
}

#define ROUTES(...)                                                                                \
    routes_new((const struct row[]){__VA_ARGS__},                                                  \
               sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row))

static inline struct gw_request routes_request(struct gw_arena *arena, const char *method,
                                               const char *host, const char *path)
{
    struct gw_request request = {.method = gw_str_c(method),
                                 .method_id = gw_method_of(gw_str_c(method)),
                                 .scheme = GW_STR("http"),
                                 .host = gw_str_c(host),
                                 .path = gw_str_c(path),
                                 .minor = 1};

    gw_fields_init(&request.fields, arena);
    return request;
}

static const uint8_t routes_client[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};

static inline enum gw_rc routes_match(struct routes *r, const struct gw_request *request,
                                      struct gw_route_result *out)
{
    return gw_route_match(r->matcher, request, 0, routes_client, out);
}

/* The name of the route that serves GET http://host/path; "" for 404, "405", "limit". */
static inline const char *routes_get(struct routes *r, const char *host, const char *path)
{
    struct gw_request request = routes_request(&r->arena, "GET", host, path);
    struct gw_route_result result;
    const struct gw_conf *conf = gw_image_conf(&r->image);

    switch (routes_match(r, &request, &result)) {
    case GW_OK:
        /* Texts of an image end with NUL. */
        return gw_ref_str(conf,
                          GW_ITEMS(conf, conf->routes, struct gw_conf_route)[result.route].name)
            .data;
    case GW_NOT_FOUND:
        return "";
    case GW_INVALID:
        return "405";
    case GW_LIMIT:
        return "limit";
    default:
        return "?";
    }
}

#endif
