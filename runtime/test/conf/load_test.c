/* Whole confs: what becomes of them, and every fault of routes and upstreams with its place. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include "support.h"

static const struct gw_conf_route *route(const struct gw_conf *conf, uint32_t i)
{
    assert_true(i < conf->routes.len);
    return &GW_ITEMS(conf, conf->routes, struct gw_conf_route)[i];
}

static const struct gw_conf_details *details(const struct gw_conf *conf, uint32_t i)
{
    return gw_conf_details(conf, route(conf, i));
}

static const struct gw_conf_upstream *upstream(const struct gw_conf *conf, uint32_t i)
{
    assert_true(i < conf->upstreams.len);
    return &GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream)[i];
}

static struct gw_ref item(const struct gw_conf *conf, struct gw_ref list, uint32_t i)
{
    assert_true(i < list.len);
    return GW_ITEMS(conf, list, struct gw_ref)[i];
}

static void defaults(void **state)
{
    struct loaded l;
    const struct gw_conf *c;
    const struct gw_conf_limits *m;
    char cwd[512], path[600];

    load(&l, LISTEN);
    c = conf_of(&l);
    m = &c->limits;
    assert_true(c->magic == GW_IMAGE_MAGIC && c->size == l.image.len);
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->user.len, 0);
    assert_int_equal(c->log_level, 1);
    assert_ref(c, c->log_file, "stderr");
    assert_int_equal(c->shutdown_timeout_ms, 30000);
    assert_int_equal(c->watchdog_ms, 2000);
    assert_int_equal(c->memory_max, 2ull << 30);
    assert_int_equal(c->x_forwarded, 1);
    assert_int_equal(c->forwarded, 0);
    assert_int_equal(c->underscores_in_headers, 0);
    assert_int_equal(c->dns_servers.len, 0);
    assert_int_equal(c->dns_timeout_ms, 5000);
    assert_int_equal(c->cpu_budget_ms, 100);
    assert_int_equal(c->heap_max, 256 << 20);
    assert_int_equal(c->global_chain, GW_NONE);
    assert_int_equal(m->header_bytes_max, 32768);
    assert_int_equal(m->header_count_max, 100);
    assert_int_equal(m->uri_bytes_max, 8192);
    assert_int_equal(m->body_bytes_max, 1 << 30);
    assert_int_equal(m->header_timeout_ms, 10000);
    assert_int_equal(m->body_timeout_ms, 30000);
    assert_int_equal(m->send_timeout_ms, 30000);
    assert_int_equal(m->idle_timeout_ms, 75000);
    assert_int_equal(m->request_timeout_ms, 0);
    assert_int_equal(m->data_rate_min, 100);
    assert_int_equal(m->data_rate_grace_ms, 10000);
    assert_int_equal(m->requests_max, 0);
    assert_int_equal(m->age_max_ms, 0);
    assert_int_equal(m->connections_max, 20000);
    assert_int_equal(m->connections_per_client_max, 1000);
    assert_int_equal(m->buffer_bytes_max, 65536);
    assert_int_equal(m->body_buffer_bytes_max, 1 << 20);
    assert_int_equal(m->given, 0);
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    assert_ref(c, c->dir, cwd);
    snprintf(path, sizeof(path), "%s/run/moongate.sock", strcmp(cwd, "/") == 0 ? "" : cwd);
    assert_ref(c, c->control, path);
    assert_memory_equal(gw_ref_str(c, c->via).data, "moongate-", 9);
    assert_int_equal(c->via.len, 17);
    unload(&l);
}

static void every_key_arrives(void **state)
{
    struct loaded l;
    const struct gw_conf *c;

    load(&l, LISTEN
         "workers: 3\nuser: www\ncontrol: /run/x.sock\nlog: { level: error, file: /var/log/x }\n"
         "shutdown_timeout: 1s\nwatchdog: 3s\nmemory_max: 1g\n"
         "forwarded: { trust: 10.0.0.0/8, x_forwarded: false, forwarded: true, via: gw1 }\n"
         "underscores_in_headers: true\n"
         "dns: { servers: [ 127.0.0.1, \"[::1]:5353\", \"::1\" ], timeout: 1s }\n"
         "script: { cpu_budget: 50ms, heap_max: 64m }\n"
         "shared: { a: 1m, b: { size: 2m, evict: never } }\n");
    c = conf_of(&l);
    assert_int_equal(c->workers, 3);
    assert_ref(c, c->user, "www");
    assert_ref(c, c->control, "/run/x.sock");
    assert_int_equal(c->log_level, 3);
    assert_ref(c, c->log_file, "/var/log/x");
    assert_int_equal(c->shutdown_timeout_ms, 1000);
    assert_int_equal(c->watchdog_ms, 3000);
    assert_int_equal(c->memory_max, 1 << 30);
    assert_int_equal(c->trusted.len, 1);
    assert_int_equal(GW_ITEMS(c, c->trusted, struct gw_cidr)[0].bits, 104);
    assert_int_equal(c->x_forwarded, 0);
    assert_int_equal(c->forwarded, 1);
    assert_ref(c, c->via, "gw1");
    assert_int_equal(c->underscores_in_headers, 1);
    assert_ref(c, item(c, c->dns_servers, 0), "127.0.0.1:53");
    assert_ref(c, item(c, c->dns_servers, 1), "[::1]:5353");
    assert_ref(c, item(c, c->dns_servers, 2), "[::1]:53");
    assert_int_equal(c->dns_timeout_ms, 1000);
    assert_int_equal(c->cpu_budget_ms, 50);
    assert_int_equal(c->heap_max, 64 << 20);
    assert_int_equal(c->shared.len, 2);
    assert_int_equal(GW_ITEMS(c, c->shared, struct gw_conf_shared)[0].evict_never, 0);
    assert_ref(c, GW_ITEMS(c, c->shared, struct gw_conf_shared)[1].name, "b");
    assert_int_equal(GW_ITEMS(c, c->shared, struct gw_conf_shared)[1].size, 2 << 20);
    assert_int_equal(GW_ITEMS(c, c->shared, struct gw_conf_shared)[1].evict_never, 1);
    unload(&l);
}

static void upstreams(void **state)
{
    struct loaded l;
    const struct gw_conf *c;
    const struct gw_conf_target *t;

    load(&l, LISTEN
         "upstreams:\n  a:\n    targets: [ 127.0.0.1:9001, { address: \"[::1]:9002\", weight: 5 }, "
         "api.internal ]\n    read_timeout: 1s\n    connect_timeout: 2s\n    send_timeout: 3s\n"
         "    try_timeout: 4s\n    idle_conns_max: 7\n    idle_timeout: 5s\n    requests_max: 9\n"
         "  b: { targets: b }\n"
         "routes:\n  - upstream: b\n  - upstream: http://10.0.0.1:81/\n  - upstream: "
         "http://10.0.0.1:81\n"
         "  - upstream: http://c\n");
    c = conf_of(&l);
    assert_int_equal(c->upstreams.len, 4);
    t = GW_ITEMS(c, upstream(c, 0)->targets, struct gw_conf_target);
    assert_int_equal(upstream(c, 0)->targets.len, 3);
    assert_int_equal(t[0].port, 9001);
    assert_int_equal(t[0].is_literal, 1);
    assert_int_equal(t[0].weight, 1);
    assert_ref(c, t[0].host, "127.0.0.1");
    assert_ref(c, t[1].host, "::1");
    assert_ref(c, t[1].text, "[::1]:9002");
    assert_int_equal(t[1].weight, 5);
    assert_int_equal(t[1].address.ss_family, AF_INET6);
    assert_int_equal(t[2].port, 80);
    assert_int_equal(t[2].is_literal, 0);
    assert_ref(c, t[2].text, "api.internal:80");
    assert_int_equal(upstream(c, 0)->read_timeout_ms, 1000);
    assert_int_equal(upstream(c, 0)->connect_timeout_ms, 2000);
    assert_int_equal(upstream(c, 0)->send_timeout_ms, 3000);
    assert_int_equal(upstream(c, 0)->try_timeout_ms, 4000);
    assert_int_equal(upstream(c, 0)->idle_conns_max, 7);
    assert_int_equal(upstream(c, 0)->idle_timeout_ms, 5000);
    assert_int_equal(upstream(c, 0)->requests_max, 9);
    assert_int_equal(upstream(c, 0)->where.line, 3);
    assert_int_equal(upstream(c, 1)->connect_timeout_ms, 5000);
    assert_int_equal(upstream(c, 1)->send_timeout_ms, 30000);
    assert_int_equal(upstream(c, 1)->read_timeout_ms, 60000);
    assert_int_equal(upstream(c, 1)->try_timeout_ms, 0);
    assert_int_equal(upstream(c, 1)->idle_conns_max, 512);
    assert_int_equal(upstream(c, 1)->idle_timeout_ms, 60000);
    assert_int_equal(route(c, 0)->upstream, 1);
    assert_int_equal(route(c, 1)->upstream, 2);
    assert_int_equal(route(c, 2)->upstream, 2); /* the same URL: the same upstream */
    assert_ref(c, upstream(c, 2)->name, "http://10.0.0.1:81");
    assert_int_equal(route(c, 3)->upstream, 3);
    unload(&l);
}

static void a_whole_route(void **state)
{
    struct loaded l;
    const struct gw_conf *c;
    const struct gw_conf_route *r;
    const struct gw_conf_details *d;
    const struct gw_conf_condition *h;

    load(&l, "listen: [ { name: p, address: 1.2.3.4:80 }, { name: q, address: 1.2.3.4:81 } ]\n"
             "routes:\n"
             "  - name: one\n"
             "    match:\n"
             "      listen: q\n"
             "      hosts: [ A.Example.com, \"*.Example.com\", \"[::1]\" ]\n"
             "      paths: [ /a, \"/b/:id/*\", \"~^/c\" ]\n"
             "      methods: [ GET, PURGE ]\n"
             "      headers: { X-Api: 2, b: \"~^x\", c: \"*\" }\n"
             "      query: { Debug: \"\" }\n"
             "      client: [ 10.0.0.0/8, \"::1\" ]\n"
             "      scheme: https\n"
             "    priority: -5\n"
             "    enabled: false\n"
             "    upstream: http://a\n"
             "    strip: /b\n"
             "    host: x.example:81\n"
             "    timeout: 5s\n"
             "    retries: 2\n"
             "    buffering: true\n"
             "    merge_slashes: true\n");
    c = conf_of(&l);
    r = route(c, 0);
    d = details(c, 0);
    assert_ref(c, r->name, "one");
    assert_int_equal(d->where.line, 3);
    assert_int_equal(d->match.listeners.len, 1);
    assert_int_equal(GW_ITEMS(c, d->match.listeners, uint32_t)[0], 1);
    assert_ref(c, item(c, d->match.hosts, 0), "a.example.com");
    assert_ref(c, item(c, d->match.hosts, 1), "*.example.com");
    assert_ref(c, item(c, d->match.hosts, 2), "[::1]");
    assert_int_equal(d->match.paths.len, 3);
    assert_ref(c, item(c, d->match.paths, 1), "/b/:id/*");
    assert_ref(c, item(c, d->match.methods, 1), "PURGE");
    h = GW_ITEMS(c, d->match.headers, struct gw_conf_condition);
    assert_int_equal(d->match.headers.len, 3);
    assert_ref(c, h[0].name, "x-api");
    assert_ref(c, h[0].value, "2");
    assert_ref(c, GW_ITEMS(c, d->match.query, struct gw_conf_condition)[0].name, "Debug");
    assert_int_equal(d->match.clients.len, 2);
    assert_int_equal(GW_ITEMS(c, d->match.clients, struct gw_cidr)[1].bits, 128);
    assert_ref(c, d->match.scheme, "https");
    assert_int_equal(d->priority, -5);
    assert_int_equal(d->enabled, 0);
    assert_int_equal(r->kind, GW_ROUTE_UPSTREAM);
    assert_ref(c, r->strip, "/b");
    assert_int_equal(r->host_mode, GW_HOST_NAME);
    assert_ref(c, r->host, "x.example:81");
    assert_int_equal(r->timeout_ms, 5000);
    assert_int_equal(r->retries, 2);
    assert_int_equal(r->buffer_request, 1);
    assert_int_equal(r->buffer_response, 1);
    assert_int_equal(d->merge_slashes, 1);
    assert_int_equal(r->chain, GW_NONE);
    unload(&l);
}

static void what_routes_answer(void **state)
{
    struct loaded l;
    const struct gw_conf *c;
    const struct gw_conf_header *h;

    load(&l, LISTEN
         "routes:\n"
         "  - respond: { body: hi }\n"
         "  - respond: { status: 201, headers: { Content-Type: a/b, x: [ 1, 2 ] }, body: hi }\n"
         "  - respond: { status: 204 }\n"
         "  - redirect: https://$host$path$query\n"
         "  - { redirect: { to: /b/$id, status: 308 }, match: { path: [ /x, /a/:id/c ] } }\n"
         "  - files: /tmp\n"
         "  - files: { root: ., index: \"\", cache_control: no-store }\n"
         "  - { upstream: http://a, host: upstream, buffering: { request: true } }\n");
    c = conf_of(&l);
    assert_int_equal(route(c, 0)->kind, GW_ROUTE_RESPOND);
    assert_int_equal(details(c, 0)->status, 200);
    assert_ref(c, details(c, 0)->body, "hi");
    h = GW_ITEMS(c, details(c, 0)->headers, struct gw_conf_header);
    assert_int_equal(details(c, 0)->headers.len, 1);
    assert_ref(c, h[0].value, "text/plain; charset=utf-8");
    assert_int_equal(details(c, 0)->cache_control.len, 0);
    assert_int_equal(route(c, 0)->upstream, GW_NONE);
    h = GW_ITEMS(c, details(c, 1)->headers, struct gw_conf_header);
    assert_int_equal(details(c, 1)->headers.len, 3);
    assert_ref(c, h[0].value, "a/b");
    assert_ref(c, h[2].value, "2");
    assert_int_equal(details(c, 2)->headers.len, 0);
    assert_int_equal(route(c, 3)->kind, GW_ROUTE_REDIRECT);
    assert_int_equal(details(c, 3)->status, 302);
    assert_ref(c, details(c, 3)->location, "https://$host$path$query");
    assert_int_equal(details(c, 4)->status, 308);
    assert_int_equal(route(c, 5)->kind, GW_ROUTE_FILES);
    assert_ref(c, details(c, 5)->root, "/tmp");
    assert_ref(c, details(c, 5)->index, "index.html");
    assert_int_equal(details(c, 6)->index.len, 0);
    assert_ref(c, details(c, 6)->cache_control, "no-store");
    assert_int_equal(route(c, 7)->host_mode, GW_HOST_UPSTREAM);
    assert_int_equal(route(c, 7)->buffer_request, 1);
    assert_int_equal(route(c, 7)->buffer_response, 0);
    assert_int_equal(route(c, 7)->retries, 1);
    assert_int_equal(details(c, 7)->enabled, 1);
    assert_ref(c, route(c, 7)->name, "t.yaml:10");
    unload(&l);
}

/* Behind "routes:\n  - ", and all that is said. */
static void route_faults(void **state)
{
    static const struct {
        const char *yaml;
        const char *report;
    } rows[] = {
        {"{}", "3:5: routes[0]: needs one of upstream:, respond:, redirect:, files:"},
        {"x", "3:5: routes[0]: must be a route: a map with match: and upstream:, not a string"},
        {"{ upstream: http://a, respond: {} }",
         "3:5: routes[0]: has both upstream: and respond:, and can do only one"},
        {"{ upstream: nope }", "3:17: routes[0].upstream: there is no upstream \"nope\""},
        {"{ upstream: a:80 }",
         "3:17: routes[0].upstream: there is no upstream \"a:80\"; a URL begins with "
         "http:// or https://"},
        {"{ upstream: ftp://a }", "3:17: routes[0].upstream: only http:// or https:// can be the "
                                  "scheme of an upstream, not \"ftp://a\""},
        {"{ upstream: http://a/b }",
         "3:17: routes[0].upstream: the URL of an upstream has no path; change "
         "paths with strip: or rewrite: of the route"},
        {"{ upstream: http://a:0 }", "3:17: routes[0].upstream: \"http://a:0\" is no URL such as "
                                     "http://127.0.0.1:9001"},
        {"{ upstream: \"http://\" }", "3:17: routes[0].upstream: \"http://\" is no URL such as "
                                      "http://127.0.0.1:9001"},
        {"{ upstream: http://u@a }", "3:17: routes[0].upstream: \"http://u@a\" is no URL such as "
                                     "http://127.0.0.1:9001"},
        {"{ respond: {}, strip: /a }",
         "3:5: routes[0]: strip: does nothing without upstream: or files:"},
        {"{ respond: {}, retries: 1 }", "3:5: routes[0]: retries: does nothing without upstream:"},
        {"{ upstream: http://a, strip: /a, rewrite: /b }",
         "3:5: routes[0]: give strip: or rewrite:, not both"},
        {"{ upstream: http://a, strip: a }",
         "3:34: routes[0].strip: must begin with \"/\", not \"a\""},
        {"{ upstream: http://a, rewrite: \"/a b\" }",
         "3:36: routes[0].rewrite: a path holds no \" \""},
        {"{ upstream: http://a, host: \"a b\" }", "3:33: routes[0].host: \"a b\" is no host"},
        {"{ upstream: http://a, priority: 1.5 }",
         "3:37: routes[0].priority: must be an integer, not "
         "\"1.5\""},
        {"{ upstream: http://a, retries: 101 }", "3:36: routes[0].retries: must be at most 100"},
        {"{ upstream: http://a, limits: { header_count_max: 1 } }",
         "3:37: routes[0].limits.header_count_max: cannot be set for a route: it counts before one "
         "is "
         "chosen; set it in limits: of the listener, or of the whole gateway"},
        {"{ upstream: http://a, limits: { connections_max: 1 } }",
         "3:37: routes[0].limits.connections_max: cannot be set for a route: it counts before one "
         "is "
         "chosen; set it in limits: of the whole gateway"},
        {"{ upstream: http://a, match: { path: /a, paths: /b } }",
         "3:34: routes[0].match: give path: or paths:, not both"},
        {"{ upstream: http://a, match: { path: a } }",
         "3:42: routes[0].match.path: must begin with \"/\" (or \"~\" for a regex), not \"a\""},
        {"{ upstream: http://a, match: { path: [ /a, /a ] } }",
         "3:48: routes[0].match.path[1]: \"/a\" is given twice"},
        {"{ upstream: http://a, match: { path: \"/a*\" } }",
         "3:42: routes[0].match.path: in a path \"*\" can only be the whole last segment: "
         "\"/a/*\"; use "
         ":name for one segment, or a regex: \"~^/a\""},
        {"{ upstream: http://a, match: { path: \"/*/a\" } }",
         "3:42: routes[0].match.path: in a path \"*\" can only be the whole last segment: "
         "\"/a/*\"; use "
         ":name for one segment, or a regex: \"~^/a\""},
        {"{ upstream: http://a, match: { path: \"/:/a\" } }",
         "3:42: routes[0].match.path: \":\" is no name of a parameter"},
        {"{ upstream: http://a, match: { path: \"/:a/:a\" } }",
         "3:42: routes[0].match.path: the parameter \":a\" stands twice in the path"},
        {"{ upstream: http://a, match: { path: \"/a?b=1\" } }",
         "3:42: routes[0].match.path: a path has no \"?\" and no \"#\"; parameters are matched by "
         "query: { "
         "name: value }"},
        {"{ upstream: http://a, match: { path: /a/../b } }",
         "3:42: routes[0].match.path: \"/a/../b\" can never match: a path is brought to its normal "
         "form; "
         "write \"/b\""},
        {"{ upstream: http://a, match: { path: /%61 } }",
         "3:42: routes[0].match.path: \"/%61\" can never match: a path is brought to its normal "
         "form; "
         "write \"/a\""},
        {"{ upstream: http://a, match: { path: \"/a%0\" } }",
         "3:42: routes[0].match.path: \"/a%0\" is no path"},
        {"{ upstream: http://a, match: { path: \"~\" } }",
         "3:42: routes[0].match.path: a regex is missing behind \"~\""},
        {"{ upstream: http://a, match: { hosts: [ a.b:80 ] } }",
         "3:45: routes[0].match.hosts[0]: \"a.b:80\" is no host name; write it without a port: "
         "\"a.b\""},
        {"{ upstream: http://a, match: { hosts: http://a } }",
         "3:43: routes[0].match.hosts: \"http://a\" is no host name; write the host only, without "
         "scheme "
         "and path"},
        {"{ upstream: http://a, match: { hosts: \"a.*\" } }",
         "3:43: routes[0].match.hosts: \"a.*\" is no host name; a \"*\" can only be the first "
         "label: "
         "\"*.example.com\""},
        {"{ upstream: http://a, match: { hosts: \xc3\xa4.de } }",
         "3:43: routes[0].match.hosts: \"\xc3\xa4.de\" is no host name; write it in its ASCII form "
         "(xn--…)"},
        {"{ upstream: http://a, match: { hosts: a. } }",
         "3:43: routes[0].match.hosts: \"a.\" is no host name; write it without the last dot"},
        {"{ upstream: http://a, match: { hosts: [ A, a ] } }",
         "3:48: routes[0].match.hosts[1]: \"a\" is given twice"},
        {"{ upstream: http://a, match: { methods: get } }",
         "3:45: routes[0].match.methods: methods are upper case; write GET"},
        {"{ upstream: http://a, match: { methods: TRACE } }",
         "3:45: routes[0].match.methods: TRACE never passes the gateway"},
        {"{ upstream: http://a, match: { methods: \"A B\" } }",
         "3:45: routes[0].match.methods: \"A B\" is no method"},
        {"{ upstream: http://a, match: { headers: { \"a b\": 1 } } }",
         "3:54: routes[0].match.headers[\"a b\"]: \"a b\" is no name of a header"},
        {"{ upstream: http://a, match: { headers: [ a ] } }",
         "3:45: routes[0].match.headers: must be a map of header names to a text, \"~regex\", or "
         "\"*\", "
         "not a list"},
        {"{ upstream: http://a, match: { headers: { a: \"x\\ny\" } } }",
         "3:50: routes[0].match.headers.a: holds a control character (0x0a)"},
        {"{ upstream: http://a, match: { listen: nope } }",
         "3:44: routes[0].match.listen: there is no listener \"nope\"; it is the name: of an item "
         "of "
         "listen:, or its address"},
        {"{ upstream: http://a, match: { scheme: ftp } }",
         "3:44: routes[0].match.scheme: must be one of http, https, not \"ftp\""},
        {"{ respond: { status: 199 } }", "3:26: routes[0].respond.status: must be at least 200"},
        {"{ respond: { status: 204, body: a } }",
         "3:16: routes[0].respond: an answer of status 204 has no body"},
        {"{ respond: { headers: { content-length: 5 } } }",
         "3:45: routes[0].respond.headers.content-length: content-length is made by the gateway "
         "itself"},
        {"{ respond: { headers: { a: [ \"x\\ry\" ] } } }",
         "3:34: routes[0].respond.headers.a[0]: holds a control character (0x0d)"},
        {"{ respond: { content_type: a/b, headers: { Content-Type: c } } }",
         "3:16: routes[0].respond: give content_type: or a content-type in headers:, not both"},
        {"{ redirect: { to: /a, status: 304 } }",
         "3:35: routes[0].redirect.status: must be 301, 302, 303, 307 or 308, not 304"},
        {"{ redirect: { status: 301 } }", "3:17: routes[0].redirect: \"to\" is missing; it is a "
                                          "URL or path such as https://$host$path"},
        {"{ redirect: /$pth }",
         "3:17: routes[0].redirect: \"$pth\" is none of $host, $path, $query, "
         "$scheme, and no parameter of the path; did you mean \"$path\"?"},
        {"{ match: { path: /a/:ident }, redirect: /$id }",
         "3:45: routes[0].redirect: \"$id\" is none of $host, $path, $query, $scheme, and no "
         "parameter "
         "of the path"},
        {"{ redirect: /a$ }",
         "3:17: routes[0].redirect: \"$\" is none of $host, $path, $query, $scheme, "
         "and no parameter of the path"},
        {"{ redirect: \"/a b\" }", "3:17: routes[0].redirect: a location holds no spaces"},
        {"{ files: /dev/null }", "3:14: routes[0].files: /dev/null is no folder"},
        {"{ files: /no/such }",
         "3:14: routes[0].files: the folder /no/such: No such file or directory"},
        {"{ files: { root: /tmp, index: a/b } }",
         "3:35: routes[0].files.index: must be the name of a file, without \"/\""},
        {"{ name: a, upstream: http://a }\n  - { name: a, upstream: http://a }",
         "4:13: routes[1].name: there are two routes of the name \"a\""},
        {"{ upstrem: http://a }", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[512], report[512];

        snprintf(yaml, sizeof(yaml), LISTEN "routes:\n  - %s\n", rows[i].yaml);
        if (rows[i].report == NULL) {
            expect_report(yaml,
                          "t.yaml:3:5: routes[0]: needs one of upstream:, respond:, redirect:, "
                          "files:\nt.yaml:3:7: routes[0].upstrem: unknown key; did you mean "
                          "\"upstream\"?\n");
            continue;
        }
        snprintf(report, sizeof(report), "t.yaml:%s\n", rows[i].report);
        expect_report(yaml, report);
    }
}

static void upstream_faults(void **state)
{
    static const struct {
        const char *yaml;
        const char *report;
    } rows[] = {
        {"a: {}", "2:17: upstreams.a: \"targets\" is missing; it is a list of targets"},
        {"a: 127.0.0.1:80", "2:17: upstreams.a: must be a map with targets:, not a string"},
        {"a: { targets: [] }", "2:28: upstreams.a.targets: at least one target is needed"},
        {"a: { targets: \"::1:80\" }",
         "2:28: upstreams.a.targets: must be host:port such as 127.0.0.1:9001, api.internal:80, "
         "not "
         "\"::1:80\"; an IPv6 address stands in brackets: \"[::1]:8080\""},
        {"a: { targets: http://b }",
         "2:28: upstreams.a.targets: must be host:port such as 127.0.0.1:9001, "
         "api.internal:80, not \"http://b\"; write host and port only"},
        {"a: { targets: b:99999 }",
         "2:28: upstreams.a.targets: must be host:port such as 127.0.0.1:9001, "
         "api.internal:80, not \"b:99999\""},
        {"a: { targets: [ b, b:80 ] }",
         "2:33: upstreams.a.targets[1]: \"b:80\" is given twice; give it a weight instead"},
        {"a: { targets: { address: b, weight: 0 } }",
         "2:50: upstreams.a.targets.weight: must be at least 1"},
        {"a: { targets: { weight: 1 } }", "2:28: upstreams.a.targets: \"address\" is missing; it "
                                          "is host:port such as 127.0.0.1:9001, "
                                          "api.internal:80"},
        {"a: { targets: b, balance: ewma }",
         "2:40: upstreams.a.balance: must be one of round_robin, not \"ewma\""},
        {"\"http://x\": { targets: b }",
         "2:26: upstreams[\"http://x\"]: a name of an upstream cannot look like a URL"},
        {"a: { targets: b, health: {} }", NULL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[512], report[512];
        struct loaded l;

        snprintf(yaml, sizeof(yaml), LISTEN "upstreams: { %s }\n", rows[i].yaml);
        if (rows[i].report != NULL) {
            snprintf(report, sizeof(report), "t.yaml:%s\n", rows[i].report);
            expect_report(yaml, report);
            continue;
        }
        load(&l, yaml);
        assert_int_equal(l.report.faults_count, 1);
        assert_non_null(strstr(l.text, "t.yaml:2:31: upstreams.a.health: unknown key"));
        unload(&l);
    }
}

static void bindings(void **state)
{
    struct loaded l;
    const struct gw_binding *b;

    load(&l, LISTEN "plugins: [ cors, { metrics: ~ } ]\n"
                    "routes:\n"
                    "  - upstream: http://a\n"
                    "  - upstream: http://a\n"
                    "    plugins:\n"
                    "      - jwt: { issuer: x }\n"
                    "        id: second\n"
                    "        when: ctx.request.method ~= \"GET\"\n"
                    "        on_error: skip\n"
                    "        deadline: 2s\n"
                    "        before: cors\n"
                    "        after: [ metrics, a ]\n"
                    "        enabled: false\n"
                    "      - jwt\n");
    (void)conf_of(&l);
    b = l.source.bindings;
    assert_int_equal(l.source.bindings_count, 4);
    assert_true(gw_str_eq(b[0].plugin, GW_STR("cors")) && gw_str_eq(b[0].id, GW_STR("cors")));
    assert_int_equal(b[0].route, GW_NONE);
    assert_null(b[0].conf);
    assert_true(b[0].enabled);
    assert_int_equal(b[0].on_error, GW_ON_ERROR_FAIL);
    assert_int_equal(b[0].deadline_ms, 0);
    assert_true(gw_str_eq(b[0].path, GW_STR("plugins[0]")));
    assert_null(b[1].conf);
    assert_int_equal(b[2].route, 1);
    assert_int_equal(b[2].where.line, 7);
    assert_int_equal(b[2].where.column, 9);
    assert_true(gw_str_eq(b[2].id, GW_STR("second")));
    assert_true(gw_str_eq(b[2].path, GW_STR("routes[1].plugins[0]")));
    assert_true(gw_str_eq(b[2].conf_path, GW_STR("routes[1].plugins[0].jwt")));
    assert_true(gw_str_eq(gw_node_get_c(b[2].conf, "issuer")->text, GW_STR("x")));
    assert_null(b[2].conf->next);
    assert_true(gw_str_eq(b[2].when, GW_STR("ctx.request.method ~= \"GET\"")));
    assert_int_equal(b[2].when_where.line, 9);
    assert_int_equal(b[2].when_where.column, 15);
    assert_int_equal(b[2].on_error, GW_ON_ERROR_SKIP);
    assert_int_equal(b[2].deadline_ms, 2000);
    assert_false(b[2].enabled);
    assert_int_equal(b[2].before_count, 1);
    assert_int_equal(b[2].after_count, 2);
    assert_true(gw_str_eq(b[2].after[1], GW_STR("a")));
    assert_true(gw_str_eq(b[3].id, GW_STR("jwt")));
    unload(&l);
}

static void binding_faults(void **state)
{
    static const struct {
        const char *yaml;
        const char *report;
    } rows[] = {
        {"{ a: 1 }", "2:10: plugins: must be a list, not a map; write \"- \" before each plugin"},
        {"[ { a: {}, whne: x } ]", "2:21: plugins[0]: a binding has one plugin, not both \"a\" and "
                                   "\"whne\"; did you mean \"when\" by \"whne\"?"},
        {"[ { cors: {}, gzip: {} } ]",
         "2:24: plugins[0]: a binding has one plugin, not both \"cors\" and "
         "\"gzip\"; begin each plugin with \"- \""},
        {"[ { when: x } ]", "2:12: plugins[0]: names no plugin; write \"- plugin-name: { … }\""},
        {"[ [ a ] ]",
         "2:12: plugins[0]: must be the name of a plugin, or a map with it, not a list"},
        {"[ a/b ]",
         "2:12: plugins[0]: \"a/b\" is no name of a plugin; names have letters, digits, - and _"},
        {"[ ../b: {} ]", NULL},
        {"[ a, a ]", "2:15: plugins[1]: \"a\" is given twice; give one of them an id:"},
        {"[ { a: {}, on_error: retry } ]",
         "2:31: plugins[0].on_error: must be one of fail, skip, not "
         "\"retry\""},
        {"[ { a: {}, before: { b: 1 } } ]",
         "2:29: plugins[0].before: must be names of plugins, not a map"},
        {"[ { a: {}, deadline: 5 } ]",
         "2:31: plugins[0].deadline: must be a duration such as 250ms, 5s, "
         "1h, not \"5\"; give a unit: 5s or 5ms"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[512], report[512];
        struct loaded l;

        snprintf(yaml, sizeof(yaml), LISTEN "plugins: %s\n", rows[i].yaml);
        if (rows[i].report != NULL) {
            snprintf(report, sizeof(report), "t.yaml:%s\n", rows[i].report);
            expect_report(yaml, report);
            continue;
        }
        load(&l, yaml);
        assert_int_equal(l.report.faults_count, 1);
        unload(&l);
    }
}

static uint64_t hash_of(const char *routes, uint32_t i)
{
    char yaml[1024];
    struct loaded l;
    uint64_t hash;

    snprintf(yaml, sizeof(yaml), LISTEN "routes:\n%s", routes);
    load(&l, yaml);
    hash = details(conf_of(&l), i)->hash;
    unload(&l);
    return hash;
}

static void route_hashes(void **state)
{
    uint64_t hash = hash_of("  - { name: a, upstream: http://a, plugins: [ x: { y: 1 } ] }\n", 0);

    /* Neither its place nor the order of its keys matters. */
    assert_int_equal(
        hash, hash_of("  - respond: {}\n\n\n  - upstream: http://a\n    name: a\n    plugins:\n"
                      "      - x:\n          y: 1\n",
                      1));
    assert_int_not_equal(
        hash, hash_of("  - { name: a, upstream: http://a, plugins: [ x: { y: 2 } ] }\n", 0));
    assert_int_not_equal(
        hash, hash_of("  - { name: a, upstream: http://a, plugins: [ x: { z: 1 } ] }\n", 0));
    assert_int_not_equal(
        hash, hash_of("  - { name: a, upstream: http://b, plugins: [ x: { y: 1 } ] }\n", 0));
    assert_int_not_equal(
        hash, hash_of("  - { name: a, upstream: http://a, plugins: [ x: { y: [] } ] }\n", 0));
    assert_int_not_equal(hash_of("  - { upstream: http://a, plugins: [ x: { y: [] } ] }\n", 0),
                         hash_of("  - { upstream: http://a, plugins: [ x: { y: {} } ] }\n", 0));
    assert_int_not_equal(hash_of("  - { upstream: http://a, plugins: [ x, y ] }\n", 0),
                         hash_of("  - { upstream: http://a, plugins: [ y, x ] }\n", 0));
}

static void made_names_differ(void **state)
{
    struct loaded l;

    load(&l, LISTEN "routes: [ { upstream: http://a }, { upstream: http://a } ]\n");
    assert_ref(conf_of(&l), route(conf_of(&l), 0)->name, "t.yaml:2");
    assert_ref(conf_of(&l), route(conf_of(&l), 1)->name, "t.yaml:2:35");
    unload(&l);
}

static void all_faults_at_once_sorted(void **state)
{
    expect_report(
        "routes:\n  - upstream: http://a\n    retries: x\nwatchdog: 1\nlisten: 80\n",
        "t.yaml:3:14: routes[0].retries: must be an integer, not \"x\"\n"
        "t.yaml:4:11: watchdog: must be a duration such as 250ms, 5s, 1h, not \"1\"; give a unit: "
        "1s or 1ms\n"
        "t.yaml:5:9: listen: must be an address such as 0.0.0.0:8080, \"[::1]:8080\", unix:/path, "
        "not \"80\"; write 0.0.0.0:80\n");
}

static void more_faults_than_kept(void **state)
{
    struct gw_buf yaml = GW_BUF_INIT, json = GW_BUF_INIT;
    struct loaded l;

    gw_buf_printf(&yaml, LISTEN "routes:\n");
    for (int i = 0; i < 150; i++)
        gw_buf_printf(&yaml, "  - upstream: nope\n");
    gw_buf_add(&yaml, "", 1);
    load(&l, yaml.data);
    assert_int_equal(l.report.faults_count, 150);
    assert_int_equal(l.report.kept, GW_REPORT_FAULTS_MAX);
    assert_non_null(strstr(l.text, "\n… and 50 more\n"));
    gw_report_json(&l.report, &json);
    assert_non_null(memmem(json.data, gw_buf_len(&json), "\"left_off\":50}", 14));
    unload(&l);
    gw_buf_fini(&yaml);
    gw_buf_fini(&json);
}

static void report_as_json(void **state)
{
    struct gw_buf json = GW_BUF_INIT;
    struct loaded l;

    load(&l, LISTEN "wokers: \"a\"\n");
    gw_report_warn(&l.report, (struct gw_where){0, 1, 1}, GW_STR("listen"), "so %s", "so");
    gw_report_json(&l.report, &json);
    gw_buf_add(&json, "", 1);
    assert_string_equal(
        json.data,
        "{\"ok\":false,\"faults\":[{\"file\":\"t.yaml\",\"line\":2,\"column\":1,\"path\":"
        "\"wokers\",\"message\":\"unknown key\",\"hint\":\"did you mean \\\"workers\\\"?\"}],"
        "\"warnings\":[{\"file\":\"t.yaml\",\"line\":1,\"column\":1,\"path\":\"listen\","
        "\"message\":\"so so\"}],\"left_off\":0}");
    gw_buf_fini(&json);
    unload(&l);
}

static void control_bytes_stay_out_of_messages(void **state)
{
    struct loaded l;

    load(&l, LISTEN "\"a\\e[2Jb\": 1\n");
    assert_non_null(strstr(l.text, "[\"a\\u001b[2Jb\"]: unknown key"));
    assert_null(strchr(l.text, '\x1b'));
    unload(&l);
}

static void plugin_and_module_paths(void **state)
{
    struct loaded l;

    load_file(&l, "/tmp/t.yaml", LISTEN);
    (void)conf_of(&l);
    assert_int_equal(l.source.plugin_paths_count, 3);
    assert_string_equal(l.source.plugin_paths[0].data, "/tmp/plugins");
    assert_string_equal(l.source.plugin_paths[1].data, "/plugins");
    assert_string_equal(l.source.plugin_paths[2].data, "/shipped/plugins");
    assert_int_equal(l.source.module_paths_count, 3);
    assert_string_equal(l.source.module_paths[0].data, "/tmp/lua");
    assert_string_equal(l.source.module_paths[1].data, "/lua");
    assert_string_equal(l.source.module_paths[2].data, "/shipped/lua");
    unload(&l);

    load_file(&l, "/tmp/t.yaml", LISTEN "plugin_paths: [ /usr/lib, ../usr ]\n");
    (void)conf_of(&l);
    assert_int_equal(l.source.plugin_paths_count, 3);
    assert_string_equal(l.source.plugin_paths[0].data, "/usr/lib");
    assert_string_equal(l.source.plugin_paths[1].data, "/tmp/../usr");
    assert_string_equal(l.source.module_paths[0].data, "/usr/lua");
    unload(&l);
}

static void empty_sections_are_fine(void **state)
{
    struct loaded l;

    load(&l,
         LISTEN "routes:\nupstreams:\nplugins:\nshared:\nlimits:\nlog:\ninclude:\nplugin_paths:\n");
    assert_int_equal(conf_of(&l)->routes.len, 0);
    unload(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(every_key_arrives),
        cmocka_unit_test(upstreams),
        cmocka_unit_test(a_whole_route),
        cmocka_unit_test(what_routes_answer),
        cmocka_unit_test(route_faults),
        cmocka_unit_test(upstream_faults),
        cmocka_unit_test(bindings),
        cmocka_unit_test(binding_faults),
        cmocka_unit_test(route_hashes),
        cmocka_unit_test(made_names_differ),
        cmocka_unit_test(all_faults_at_once_sorted),
        cmocka_unit_test(more_faults_than_kept),
        cmocka_unit_test(report_as_json),
        cmocka_unit_test(control_bytes_stay_out_of_messages),
        cmocka_unit_test(plugin_and_module_paths),
        cmocka_unit_test(empty_sections_are_fine),
    };

    return cmocka_run_group_tests_name("conf load", tests, NULL, NULL);
}
