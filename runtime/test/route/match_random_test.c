/* Thousands of random sets of routes and requests, against a matcher that knows no tree: it tries
 * every route and compares by the rules as route/match.h tells them. */
#include "test/route/routes.h"

#include "base/regex.h"
#include "http/uri.h"
#include "route/explain.h"

#define SETS 3000u
#define ROUTES_MAX 24u
#define REQUESTS 60u

static uint64_t state;

static uint32_t chance(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % below);
}

static const char *const paths[] = {
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/ab",
    "/abc/d",
    "/a/*",
    "/*",
    "/a/b/*",
    "/ab/*",
    "/:x",
    "/:x/b",
    "/a/:x",
    "/a/:x/b",
    "/:x/:y",
    "/:x/b/:z",
    "/:x/*",
    "/a/:x/*",
    "/:x/:y/*",
    "~^/a",
    "~^/a/\\d+",
    "~b$",
    "~^/(a|b)/",
    "~^/a|b",
    "~^/ab?c",
    "~^/(\\w+)/(?<y>\\w+)$",
    "~/[bc]",
    "*",
    "/a//b",
    "/a/b/c/d/e",
    "/a/:x/c/:y/e",
    "~^/a[|]b",
    "~^/a(?#|)b",
    "/x%2fy",
    "/:x/c/*",
    "/longer/than/eight/bytes",
    "/longer/than/eight/*",
    "/a:b",
    "~(?i)^/A/",
};
static const char *const hosts[] = {"a.com",     "b.a.com",   "c.b.a.com",  "*.a.com",
                                    "*.b.a.com", "*.com",     "*",          "[::1]",
                                    "d.com",     "localhost", "*.c.b.a.com"};
static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "QUERY", "get"};
static const char *const headers[] = {"x-a", "1",   "x-a",    "2",      "x-a",
                                      "*",   "x-b", "~^v\\d", "accept", "*"};
static const char *const queries[] = {"q", "1", "q", "a b", "q", "*", "r", "~^\\d+$", "r", "*"};
static const char *const clients[] = {"127.0.0.0/8", "127.0.0.1",   "10.0.0.0/8", "::1",
                                      "::/0",        "10.1.0.0/16", "0.0.0.0/0"};

static const char *const asked_paths[] = {
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/7",
    "/ab",
    "/abc/d",
    "/abc",
    "/ac",
    "/a/b/c",
    "/a/b/",
    "/b",
    "/b/b",
    "/b/b/c",
    "/a//b",
    "//a/b",
    "/a/b/c/d/e",
    "/a/x/c/y/e",
    "/x%2Fy",
    "/x/y",
    "*",
    "/a|b",
    "/q/c/r/s",
    "/a:b",
    "/longer/than/eight/bytes",
    "/longer/than/eight/",
    "/longer/than/eight",
    "/longer/than/eigh",
    "/c/",
    "/A/b",
    "/:x",
    "/ab/cd/ef",
    "/b/c/d",
};
static const char *const asked_hosts[] = {"a.com", "b.a.com",   "c.b.a.com",   "x.a.com", "d.com",
                                          "[::1]", "localhost", "y.c.b.a.com", "",        ".a.com"};
static const char *const asked_queries[] = {NULL, "q=1",   "q=a+b", "q=a%20b&r=5", "r=5x&r=5",
                                            "q",  "%71=1", "r=x",   "q=2&q=1",     "&&r=%zz"};
static const char *const asked_clients[] = {"127.0.0.1", "127.9.9.9", "10.0.0.1",
                                            "10.1.2.3",  "::1",       "2001:db8::1"};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PICK(a) ((a)[chance(COUNT(a))])

static void pick_list(const char **list, const char *const *from, uint32_t count, uint32_t max)
{
    uint32_t n = chance(max + 1);

    for (uint32_t i = 0; i < n; i++)
        list[i] = from[chance(count)];
}

static void pick_pairs(const char **list, const char *const *from, uint32_t count, uint32_t max)
{
    uint32_t n = chance(max + 1);

    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = chance(count / 2);
        list[2 * i] = from[2 * k];
        list[2 * i + 1] = from[2 * k + 1];
    }
}

static void make_row(struct row *row, const char *name)
{
    *row = (struct row){.name = name};
    if (chance(12) > 0) {
        row->paths[0] = PICK(paths);
        if (chance(3) == 0)
            row->paths[1] = PICK(paths);
    }
    if (chance(2) == 0)
        pick_list(row->hosts, hosts, COUNT(hosts), 3);
    if (chance(3) == 0)
        pick_list(row->methods, methods, COUNT(methods), 3);
    if (chance(4) == 0)
        pick_pairs(row->headers, headers, COUNT(headers), 2);
    if (chance(4) == 0)
        pick_pairs(row->query, queries, COUNT(queries), 2);
    if (chance(5) == 0)
        pick_list(row->clients, clients, COUNT(clients), 3);
    if (chance(6) == 0)
        row->listeners[0] = 1 + (int)chance(2);
    if (chance(6) == 0)
        row->scheme = chance(2) ? "http" : "https";
    if (chance(4) == 0)
        row->priority = (int)chance(4) - 2;
    row->disabled = chance(15) == 0;
    row->merge = chance(6) == 0;
}

/* The naive side. */

struct asked {
    struct gw_request request;
    struct gw_str merged;
    uint32_t listener;
    uint8_t client[16];
};

/* Lower is better, from the first number to the last. */
struct key {
    int64_t n[40];
};

struct naive {
    int route;
    struct key key;
    struct gw_str path;
    uint32_t allow; /* bits by methods[] */
};

struct split {
    struct gw_str item[64];
    int count;
};

static void split_path(const char *text, size_t len, struct split *out)
{
    size_t from = 1;

    out->count = 0;
    for (size_t i = 1; i <= len; i++)
        if (i == len || text[i] == '/') {
            out->item[out->count++] = gw_str(text + from, i - from);
            from = i + 1;
        }
}

static bool naive_regex(const char *pattern, struct gw_str subject)
{
    struct gw_regex *regex;
    enum gw_rc rc;

    assert_int_equal(gw_regex_new(gw_str_c(pattern), 0, &regex, NULL), GW_OK);
    rc = gw_regex_match(regex, subject, 0, NULL, 0);
    gw_regex_free(regex);
    assert_true(rc == GW_OK || rc == GW_NOT_FOUND);
    return rc == GW_OK;
}

/* Writes what the path adds to the key: kind, segments, then 0 for each literal and 1 for each
 * parameter. */
static bool naive_segments(const char *rule, struct gw_str path, int64_t *key)
{
    struct split r, p;
    bool rest, param = false;
    int count;

    if (path.data[0] != '/')
        return false;
    split_path(rule, strlen(rule), &r);
    split_path(path.data, path.len, &p);
    rest = gw_str_eq(r.item[r.count - 1], GW_STR("*"));
    count = rest ? r.count - 1 : r.count;
    if (rest ? p.count <= count : p.count != count)
        return false;
    for (int i = 0; i < count; i++) {
        bool name = r.item[i].len > 0 && r.item[i].data[0] == ':';
        if (name ? p.item[i].len == 0 : !gw_str_eq(r.item[i], p.item[i]))
            return false;
        key[2 + i] = name;
        param = param || name;
    }
    key[0] = rest ? 3 : param ? 1 : 0;
    key[1] = key[0] == 0 ? 0 : -count; /* of two exact paths none is longer */
    return true;
}

static bool naive_path(const struct row *row, const char *rule, const struct asked *asked,
                       int64_t *key)
{
    struct gw_str path = row->merge ? asked->merged : asked->request.path;
    char fixed[64];
    size_t len = 0;

    if (rule == NULL) {
        key[0] = 4;
        return true;
    }
    if (rule[0] == '~') {
        key[0] = 2;
        return naive_regex(rule + 1, path);
    }
    if (strcmp(rule, "*") == 0)
        return gw_str_eq(path, GW_STR("*"));
    for (size_t i = 0; rule[i] != '\0'; i++)
        if (!row->merge || rule[i] != '/' || i == 0 || rule[i - 1] != '/')
            fixed[len++] = rule[i];
    fixed[len] = '\0';
    if (strcmp(fixed, "/x%2fy") == 0)
        strcpy(fixed, "/x%2Fy");
    return naive_segments(fixed, path, key);
}

static bool naive_host(const char *rule, struct gw_str host, int64_t *key)
{
    size_t len;

    if (rule == NULL || strcmp(rule, "*") == 0) {
        key[0] = 2;
        return true;
    }
    if (rule[0] != '*')
        return gw_str_eq(gw_str_c(rule), host);
    len = strlen(rule) - 1;
    key[0] = 1;
    key[1] = -(int64_t)len;
    return host.len > len && strncmp(host.data + host.len - len, rule + 1, len) == 0;
}

static bool naive_value(const char *rule, struct gw_str value)
{
    if (strcmp(rule, "*") == 0)
        return true;
    return rule[0] == '~' ? naive_regex(rule + 1, value) : gw_str_eq(gw_str_c(rule), value);
}

static bool naive_headers(const struct row *row, const struct gw_fields *fields)
{
    for (int i = 0; row->headers[i] != NULL; i += 2) {
        bool fits = false;
        for (uint32_t k = 0; k < fields->count; k++)
            fits = fits || (gw_str_eq_nocase(fields->items[k].name, gw_str_c(row->headers[i])) &&
                            naive_value(row->headers[i + 1], fields->items[k].value));
        if (!fits)
            return false;
    }
    return true;
}

static bool naive_queries(const struct row *row, const struct gw_request *request)
{
    for (int i = 0; row->query[i] != NULL; i += 2) {
        struct gw_str rest = request->query, name, value;
        bool fits = false;
        while (!fits && gw_uri_query_next(&rest, &name, &value)) {
            struct gw_str n, v;
            if (value.data == NULL)
                value = GW_STR("");
            if (gw_uri_decode(request->fields.arena, name, true, &n) != GW_OK)
                n = name;
            if (gw_uri_decode(request->fields.arena, value, true, &v) != GW_OK)
                v = value;
            fits = gw_str_eq(n, gw_str_c(row->query[i])) && naive_value(row->query[i + 1], v);
        }
        if (!fits)
            return false;
    }
    return true;
}

static bool naive_client(const struct row *row, const uint8_t client[16])
{
    for (int i = 0; row->clients[i] != NULL; i++) {
        uint8_t address[16], bits;
        assert_int_equal(gw_cidr_parse(gw_str_c(row->clients[i]), address, &bits, NULL), GW_OK);
        if (gw_cidr_contains(address, bits, client))
            return true;
    }
    return row->clients[0] == NULL;
}

static bool naive_conditions(const struct row *row, const struct asked *asked)
{
    if (row->listeners[0] != 0 && (uint32_t)row->listeners[0] - 1 != asked->listener)
        return false;
    if (row->scheme != NULL && !gw_str_eq(gw_str_c(row->scheme), asked->request.scheme))
        return false;
    return naive_client(row, asked->client) && naive_headers(row, &asked->request.fields) &&
           naive_queries(row, &asked->request);
}

static bool naive_method(const struct row *row, struct gw_str method)
{
    for (int i = 0; row->methods[i] != NULL; i++)
        if (gw_str_eq(gw_str_c(row->methods[i]), method) ||
            (strcmp(row->methods[i], "GET") == 0 && gw_str_eq(method, GW_STR("HEAD"))))
            return true;
    return row->methods[0] == NULL;
}

static int64_t naive_count(const struct row *row)
{
    int64_t count = (row->listeners[0] != 0) + (row->methods[0] != NULL) +
                    (row->clients[0] != NULL) + (row->scheme != NULL);

    for (int i = 0; row->headers[i] != NULL; i += 2)
        count++;
    for (int i = 0; row->query[i] != NULL; i += 2)
        count++;
    return count;
}

static void naive_allow(const struct row *row, struct naive *best)
{
    for (int i = 0; row->methods[i] != NULL; i++)
        for (uint32_t k = 0; k < COUNT(methods); k++)
            if (strcmp(row->methods[i], methods[k]) == 0)
                best->allow |= 1u << k | (k == 0 ? 2u : 0);
}

static void naive_route(const struct row *row, int number, const struct asked *asked,
                        struct naive *best)
{
    if (row->disabled || !naive_conditions(row, asked))
        return;
    for (int p = 0; p == 0 || row->paths[p] != NULL; p++)
        for (int h = 0; h == 0 || row->hosts[h] != NULL; h++) {
            struct key key = {{-row->priority}};
            if (!naive_host(row->hosts[h], asked->request.host, &key.n[1]) ||
                !naive_path(row, row->paths[p], asked, &key.n[3]))
                continue;
            if (!naive_method(row, asked->request.method)) {
                naive_allow(row, best);
                continue;
            }
            key.n[36] = -naive_count(row);
            key.n[37] = number;
            key.n[38] = p;
            key.n[39] = h;
            for (int i = 0; i < 40; i++) {
                if (best->route >= 0 && key.n[i] == best->key.n[i])
                    continue;
                if (best->route < 0 || key.n[i] < best->key.n[i]) {
                    best->route = number;
                    best->key = key;
                    best->path = row->merge ? asked->merged : asked->request.path;
                }
                break;
            }
        }
}

/* The comparison. */

static void make_request(struct asked *asked, struct gw_arena *arena)
{
    asked->request = routes_request(arena, PICK(methods), PICK(asked_hosts), PICK(asked_paths));
    asked->request.scheme = chance(2) ? GW_STR("http") : GW_STR("https");
    const char *query = PICK(asked_queries);
    if (query != NULL)
        asked->request.query = gw_str_c(query);
    for (uint32_t n = chance(4); n > 0; n--) {
        static const char *const names[] = {"X-A", "x-a", "X-B", "Accept"};
        static const char *const values[] = {"1", "2", "v3", "v", "*/*"};
        (void)gw_fields_add(&asked->request.fields, gw_str_c(PICK(names)), gw_str_c(PICK(values)));
    }
    asked->merged = gw_uri_merge_slashes(arena, asked->request.path);
    asked->listener = chance(2);
    assert_int_equal(gw_ip_parse(gw_str_c(PICK(asked_clients)), asked->client), GW_OK);
}

static void check_allow(uint32_t bits, struct gw_str allow)
{
    /* methods[] in the order of their bytes */
    static const uint32_t sorted[] = {0, 1, 2, 3, 4, 5};
    char text[64] = "";

    for (uint32_t i = 0; i < COUNT(sorted); i++)
        if (bits & 1u << sorted[i]) {
            if (text[0] != '\0')
                strcat(text, ", ");
            strcat(text, methods[sorted[i]]);
        }
    assert_true(gw_str_eq(gw_str_c(text), allow));
}

static void check_explain(struct routes *r, const struct asked *asked, const struct naive *best)
{
    struct gw_route_explanation e;

    gw_route_explain(r->matcher, &asked->request, asked->listener, asked->client, &r->arena, &e);
    for (uint32_t i = 0; i < e.count; i++) {
        assert_true((e.reasons[i].stage == GW_ROUTE_STAGE_WON) == ((int)i == best->route));
        assert_true(e.reasons[i].text.len > 0);
        if (best->route < 0)
            assert_true(e.reasons[i].stage < GW_ROUTE_STAGE_LOST);
    }
}

/* What a failure needs to be understood; on stderr, before the assertion ends the test. */
static void tell(struct routes *r, const struct asked *asked, const struct naive *best,
                 enum gw_rc rc, uint32_t route)
{
    struct gw_route_explanation e;
    struct gw_buf text = GW_BUF_INIT;

    gw_route_explain(r->matcher, &asked->request, asked->listener, asked->client, &r->arena, &e);
    gw_route_explain_text(gw_image_conf(&r->image), &asked->request, &e, &text);
    (void)fprintf(stderr, "expected route %d, allow %x; got %s, route %d\n%.*s", best->route,
                  best->allow, gw_rc_code(rc), (int)route, (int)gw_buf_len(&text), text.data);
    gw_buf_fini(&text);
}

static void check(struct routes *r, const struct row *rows, uint32_t count, const bool *dead)
{
    struct gw_route_result result;
    struct naive best = {.route = -1};
    struct asked asked;
    enum gw_rc rc;

    make_request(&asked, &r->arena);
    for (uint32_t i = 0; i < count; i++)
        naive_route(&rows[i], (int)i, &asked, &best);
    rc = gw_route_match(r->matcher, &asked.request, asked.listener, asked.client, &result);
    if ((best.route >= 0) != (rc == GW_OK) || (rc == GW_OK && (int)result.route != best.route))
        tell(r, &asked, &best, rc, result.route);
    if (best.route >= 0) {
        assert_int_equal(rc, GW_OK);
        assert_int_equal(result.route, best.route);
        assert_true(gw_str_eq(result.path, best.path));
        assert_false(dead[best.route]);
    } else if (best.allow != 0) {
        assert_int_equal(rc, GW_INVALID);
        check_allow(best.allow, result.allow);
    } else {
        assert_int_equal(rc, GW_NOT_FOUND);
    }
    if (chance(8) == 0)
        check_explain(r, &asked, &best);
}

static uint32_t dead_total;

/* Routes that were said never to match: by the line of the warning. */
static void note_dead(struct routes *r, bool *dead)
{
    for (uint32_t i = 0; i < r->report.kept; i++) {
        assert_true(r->report.faults[i].warning);
        dead[r->report.faults[i].where.line - 1] = true;
        dead_total++;
    }
}

static void agrees_with_a_matcher_that_tries_all(void **unused)
{
    static const char *const names[ROUTES_MAX] = {
        "r0",  "r1",  "r2",  "r3",  "r4",  "r5",  "r6",  "r7",  "r8",  "r9",  "r10", "r11",
        "r12", "r13", "r14", "r15", "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23"};
    const char *seed = getenv("GW_SEED");
    struct row rows[ROUTES_MAX];

    state = seed != NULL ? strtoull(seed, NULL, 0) | 1 : 20261121;
    for (uint32_t set = 0; set < SETS; set++) {
        uint32_t count = 1 + chance(ROUTES_MAX);
        bool dead[ROUTES_MAX] = {false};
        struct routes *r;

        for (uint32_t i = 0; i < count; i++)
            make_row(&rows[i], names[i]);
        r = routes_new(rows, count);
        note_dead(r, dead);
        for (uint32_t i = 0; i < REQUESTS; i++)
            check(r, rows, count, dead);
        routes_free(r);
    }
    assert_true(dead_total > SETS / 10); /* the search for dead routes was put to the test */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_a_matcher_that_tries_all)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
