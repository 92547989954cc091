/* A load of what has changed against a load of everything, after edits at random: the same
 * report, the same rows, the same answers of the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "process/loading.h"
#include "route/match.h"

#define FILES 9
#define STEPS 400

static char dir[64];
static uint64_t seed;

static uint32_t chance(uint32_t below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(seed >> 33) % below;
}

static const char *const names[FILES] = {"routes/a.yaml", "routes/b.yaml", "routes/c.yaml",
                                         "routes/d.yaml", "routes/e.yaml", "more/x.yaml",
                                         "more/y.yaml",   "ups/one.yaml",  "ups/two.yaml"};

static void path_of(const char *name, char *to, size_t size)
{
    (void)snprintf(to, size, "%s/%s", dir, name);
}

static void put(const char *name, const char *text, size_t len)
{
    char path[128];
    FILE *file;

    path_of(name, path, sizeof(path));
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static int make_dir(void **state)
{
    static const char *const folders[] = {"routes", "more", "ups", "plugins", "site"};
    static const char main_text[] =
        "listen: [ { name: one, address: \"127.0.0.1:8001\" }, { name: two, address: "
        "\"127.0.0.1:8002\" } ]\n"
        "limits: { body_size_max: 1m }\n"
        "upstreams: { main: { targets: [ 127.0.0.1:9000 ] } }\n"
        "routes: [ { name: own, match: { path: /own }, upstream: main } ]\n"
        "include: [ \"routes/*.yaml\", nested.yaml, \"ups/*.yaml\" ]\n";
    static const char nested[] = "include: [ \"more/*.yaml\" ]\n"
                                 "routes: [ { match: { path: /nested }, respond: {} } ]\n";

    strcpy(dir, "/tmp/gw_increment_XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        char path[128];
        path_of(folders[i], path, sizeof(path));
        assert_int_equal(mkdir(path, 0700), 0);
    }
    put("gateway.yaml", main_text, sizeof(main_text) - 1);
    put("nested.yaml", nested, sizeof(nested) - 1);
    return 0;
}

static int remove_dir(void **state)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

/* ---- files at random ---- */

/* Most are fine; some are not, or are only together with others. */
static void write_route(struct gw_buf *out, uint32_t number)
{
    static const char *const odd[] = {
        "  - { name: odd, upstream: nowhere }\n",
        "  - { match: { path: \"~(\" }, respond: {} }\n",
        "  - { macth: { path: /x }, respond: {} }\n",
        "  - { match: { path: /x }, files: nowhere }\n",
        "  - { match: { path: /x }, respond: {}, plugins: [ none-such ] }\n",
    };
    static const char *const upstreams[] = {"main",
                                            "u1",
                                            "u2",
                                            "http://127.0.0.1:9101",
                                            "http://127.0.0.1:9102",
                                            "http://127.0.0.1:9103"};

    if (chance(60) == 0) {
        gw_buf_printf(out, "%s", odd[chance(sizeof(odd) / sizeof(odd[0]))]);
        return;
    }
    gw_buf_printf(out, "  - match: { path: ");
    switch (chance(5)) {
    case 0:
        gw_buf_printf(out, "\"/p%u/*\"", chance(8));
        break;
    case 1:
        gw_buf_printf(out, "\"/p%u/:id/x\"", chance(8));
        break;
    case 2:
        gw_buf_printf(out, "\"~^/p%u/[a-%c]+$\"", chance(8), 'c' + (char)chance(8));
        break;
    default:
        gw_buf_printf(out, "/p%u/%u", chance(8), chance(40));
    }
    if (chance(3) == 0)
        gw_buf_printf(out, ", hosts: [ h%u.example, \"*.w%u.example\" ]", chance(3), chance(3));
    if (chance(4) == 0)
        gw_buf_printf(out, ", methods: [ GET, M%u ]", chance(3));
    if (chance(5) == 0)
        gw_buf_printf(out, ", headers: { x-%u: \"~^v[0-%u]\" }", chance(3), chance(9));
    if (chance(6) == 0)
        gw_buf_printf(out, ", listen: %s", chance(2) ? "one" : "two");
    gw_buf_printf(out, " }\n");
    if (chance(3) > 0)
        gw_buf_printf(out, "    name: r%u\n", chance(40) == 0 ? chance(1000) : number);
    if (chance(6) == 0)
        gw_buf_printf(out, "    limits: { body_size_max: %uk }\n", 1 + chance(3));
    if (chance(6) == 0)
        gw_buf_printf(out, "    priority: %u\n", chance(3));
    if (chance(12) == 0)
        gw_buf_printf(out, "    enabled: false\n");
    if (chance(10) == 0)
        gw_buf_printf(out, "    files: ../site\n");
    else if (chance(4) == 0)
        gw_buf_printf(out, "    respond: { status: %u, body: \"b%u\" }\n", 200 + chance(3),
                      chance(9));
    else
        gw_buf_printf(out, "    upstream: %s\n", upstreams[chance(6)]);
}

static void write_text(uint32_t file)
{
    struct gw_buf out = GW_BUF_INIT;
    uint32_t routes = chance(6);

    if (strncmp(names[file], "ups/", 4) == 0 || chance(20) == 0) {
        gw_buf_printf(&out, "upstreams:\n");
        if (file == 7 || chance(12) == 0)
            gw_buf_printf(&out, "  u1: { targets: [ \"127.0.0.1:%u\" ] }\n", 9200 + chance(3));
        if (file == 8 || chance(12) == 0)
            gw_buf_printf(&out, "  u2: { targets: [ \"127.0.0.1:%u\" ], read_timeout: %us }\n",
                          9200 + chance(3), 1 + chance(3));
    }
    if (chance(40) == 0)
        gw_buf_printf(&out, "dns: { timeout: 1s }\n"); /* more than routes: all is read */
    if (routes > 0)
        gw_buf_printf(&out, "routes:\n");
    for (uint32_t i = 0; i < routes; i++)
        write_route(&out, file * 100 + i);
    if (chance(60) == 0)
        gw_buf_printf(&out, "  ]\n");
    put(names[file], gw_buf_len(&out) > 0 ? out.data + out.from : "", gw_buf_len(&out));
    gw_buf_fini(&out);
}

/* Writes, or takes away, a file. */
static void edit(uint32_t file)
{
    char path[128];

    path_of(names[file], path, sizeof(path));
    if (chance(5) == 0)
        (void)unlink(path);
    else
        write_text(file);
}

/* ---- telling what an image holds ---- */

static void tell_refs(struct gw_buf *out, const struct gw_conf *conf, struct gw_ref list)
{
    for (uint32_t i = 0; i < list.len; i++)
        gw_buf_printf(out, " %.*s",
                      GW_STR_ARG(gw_ref_str(conf, GW_ITEMS(conf, list, struct gw_ref)[i])));
}

static void tell_pairs(struct gw_buf *out, const struct gw_conf *conf, struct gw_ref list)
{
    for (uint32_t i = 0; i < list.len; i++) {
        const struct gw_conf_condition *pair = &GW_ITEMS(conf, list, struct gw_conf_condition)[i];
        gw_buf_printf(out, " %.*s=%.*s", GW_STR_ARG(gw_ref_str(conf, pair->name)),
                      GW_STR_ARG(gw_ref_str(conf, pair->value)));
    }
}

static struct gw_str file_of(const struct gw_conf *conf, struct gw_where where)
{
    assert_true(where.file < conf->conf_files);
    return gw_ref_str(conf, GW_ITEMS(conf, conf->files, struct gw_conf_file)[where.file].path);
}

static void tell_route(struct gw_buf *out, const struct gw_conf *conf, uint32_t i)
{
    const struct gw_conf_route *route = &GW_ITEMS(conf, conf->routes, struct gw_conf_route)[i];
    const struct gw_conf_details *d = gw_conf_details(conf, route);
    const struct gw_conf_upstream *upstreams =
        GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream);

    gw_buf_printf(out, "route %.*s %.*s:%u:%u %llx", GW_STR_ARG(gw_ref_str(conf, route->name)),
                  GW_STR_ARG(file_of(conf, d->where)), d->where.line, d->where.column,
                  (unsigned long long)d->hash);
    gw_buf_printf(out, " up %.*s",
                  GW_STR_ARG(route->upstream == GW_NONE
                                 ? GW_STR("-")
                                 : gw_ref_str(conf, upstreams[route->upstream].name)));
    gw_buf_printf(out, " kind %u %u %u %u chain %u %x limits %llx", route->kind, route->retries,
                  (unsigned)d->priority, d->enabled, route->chain, route->phases,
                  (unsigned long long)gw_hash(gw_route_limits(conf, route), GW_LIMITS_BYTES, 0));
    gw_buf_printf(out, " %u %.*s %.*s |", d->status, GW_STR_ARG(gw_ref_str(conf, d->body)),
                  GW_STR_ARG(gw_ref_str(conf, d->root)));
    for (uint32_t k = 0; k < d->match.listeners.len; k++)
        gw_buf_printf(out, " on %u", GW_ITEMS(conf, d->match.listeners, uint32_t)[k]);
    tell_refs(out, conf, d->match.hosts);
    tell_refs(out, conf, d->match.paths);
    tell_refs(out, conf, d->match.methods);
    tell_pairs(out, conf, d->match.headers);
    gw_buf_printf(out, "\n");
}

static void tell(struct gw_buf *out, const struct gw_conf *conf)
{
    const struct gw_conf_file *files = GW_ITEMS(conf, conf->files, struct gw_conf_file);
    const struct gw_conf_upstream *upstreams =
        GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream);
    const struct gw_conf_listener *listeners =
        GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    for (uint32_t i = 0; i < conf->files.len; i++)
        gw_buf_printf(out, "file %.*s %llx %x %u bytes, routes %u+%u, upstreams %u+%u\n",
                      GW_STR_ARG(gw_ref_str(conf, files[i].path)),
                      (unsigned long long)files[i].hash, files[i].flags, files[i].bytes,
                      files[i].routes_count > 0 ? files[i].routes : 0, files[i].routes_count,
                      files[i].upstreams_count > 0 ? files[i].upstreams : 0,
                      files[i].upstreams_count);
    for (uint32_t i = 0; i < conf->listeners.len; i++)
        gw_buf_printf(out, "listener %.*s\n", GW_STR_ARG(file_of(conf, listeners[i].where)));
    for (uint32_t i = 0; i < conf->upstreams.len; i++)
        gw_buf_printf(
            out, "upstream %.*s %.*s %llx %u %u\n", GW_STR_ARG(gw_ref_str(conf, upstreams[i].name)),
            GW_STR_ARG(file_of(conf, upstreams[i].where)), (unsigned long long)upstreams[i].hash,
            upstreams[i].read_timeout_ms, upstreams[i].targets.len);
    gw_buf_printf(out, "%u named, %u includes\n", conf->upstreams_named, conf->includes.len);
    for (uint32_t i = 0; i < conf->routes.len; i++)
        tell_route(out, conf, i);
}

static void ask(struct gw_buf *out, const struct gw_conf *conf, struct gw_route_matcher *matcher,
                const uint32_t words[6])
{
    static const uint8_t client[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
    static const char *const ends[] = {"/abc", "/7/x", "", "/one/x"};
    struct gw_arena arena = GW_ARENA_INIT;
    struct gw_request request = {.scheme = GW_STR("http"), .minor = 1};
    struct gw_route_result result;
    enum gw_rc rc;

    request.method = words[0] == 0 ? GW_STR("M1") : GW_STR("GET");
    request.method_id = gw_method_of(request.method);
    request.host =
        gw_arena_printf(&arena, words[1] % 2 ? "h%u.example" : "a.w%u.example", words[1] / 2);
    request.path = words[2] < 4 ? gw_arena_printf(&arena, "/p%u%s", words[3], ends[words[2]])
                                : gw_arena_printf(&arena, "/p%u/%u", words[3], words[4]);
    gw_fields_init(&request.fields, &arena);
    rc = gw_route_match(matcher, &request, words[5], client, &result);
    gw_buf_printf(
        out, "%.*s %.*s -> %d %.*s\n", GW_STR_ARG(request.host), GW_STR_ARG(request.path), rc,
        GW_STR_ARG(
            rc == GW_OK
                ? gw_ref_str(conf,
                             GW_ITEMS(conf, conf->routes, struct gw_conf_route)[result.route].name)
                : GW_STR("-")));
    gw_arena_fini(&arena);
}

static void ask_all(struct gw_buf *out, const struct gw_conf *conf)
{
    struct gw_route_matcher *matcher;
    uint64_t before = seed;

    assert_int_equal(gw_route_matcher_new(conf, &matcher, NULL), GW_OK);
    for (int i = 0; i < 40; i++) {
        const uint32_t words[6] = {chance(4), chance(6),  chance(6),
                                   chance(8), chance(40), chance(2)};
        ask(out, conf, matcher, words);
    }
    seed = before;
    gw_route_matcher_free(matcher);
}

/* ---- one step ---- */

struct outcome {
    enum gw_rc rc;
    const struct gw_conf *conf; /* GW_OK: mapped from fd */
    int fd;
    struct gw_buf text;
};

static void run(struct outcome *out, const struct gw_loading_options *options)
{
    struct gw_loading loading;
    struct gw_err err;

    *out = (struct outcome){.text = GW_BUF_INIT};
    out->rc = gw_loading_run(&loading, options);
    gw_report_text(&loading.report, &out->text);
    if (out->rc == GW_OK) {
        assert_int_equal(gw_image_seal(&loading.image, &out->fd, &err), GW_OK);
        assert_int_equal(gw_image_map(out->fd, &out->conf, &err), GW_OK);
        tell(&out->text, out->conf);
        ask_all(&out->text, out->conf);
    }
    gw_buf_add(&out->text, "", 1);
    gw_loading_fini(&loading);
}

static void outcome_fini(struct outcome *out)
{
    if (out->conf != NULL)
        close(out->fd);
    gw_image_unmap(out->conf);
    gw_buf_fini(&out->text);
}

struct counts {
    uint32_t refused;
    uint32_t full;
    uint32_t partly;
};

/* Loads twice; `serving` becomes what was loaded in part, unless it was refused. */
static void compare(struct outcome *serving, const struct gw_str *named, uint32_t count,
                    struct counts *counts)
{
    char main_path[128];
    struct gw_loading_options options = {.conf_path = main_path, .number = 1};
    struct outcome whole, part;

    path_of("gateway.yaml", main_path, sizeof(main_path));
    run(&whole, &options);
    options.before = serving->conf;
    options.before_fd = serving->fd;
    options.files = named;
    options.files_count = count;
    run(&part, &options);
    if (part.rc != whole.rc || strcmp(part.text.data, whole.text.data) != 0)
        print_error("--- whole\n%s--- in part\n%s", whole.text.data, part.text.data);
    assert_int_equal(part.rc, whole.rc);
    assert_string_equal(part.text.data, whole.text.data);
    if (part.rc == GW_OK) {
        if (part.conf->read_why.len == 0)
            assert_true(part.conf->files_read <= FILES + 2);
        counts->full += part.conf->read_why.len > 0;
        counts->partly += part.conf->read_why.len == 0;
        outcome_fini(serving);
        *serving = part;
    }
    counts->refused += part.rc != GW_OK;
    outcome_fini(&whole);
    if (part.rc != GW_OK)
        outcome_fini(&part);
}

static struct outcome first(void)
{
    char main_path[128];
    struct gw_loading_options options = {.conf_path = main_path, .number = 1};
    struct outcome out;

    path_of("gateway.yaml", main_path, sizeof(main_path));
    for (uint32_t i = 0; i < FILES; i++)
        put(names[i], "", 0);
    run(&out, &options);
    assert_int_equal(out.rc, GW_OK);
    return out;
}

/* What was edited since a conf was taken is named: that is what a user knows. */
static void walk(uint64_t from, bool by_name)
{
    struct outcome serving = first();
    struct counts counts = {0, 0, 0};
    bool dirty[FILES] = {false};

    seed = from;
    for (uint32_t step = 0; step < STEPS; step++) {
        char paths[FILES][128];
        struct gw_str named[FILES];
        uint32_t count = 0, taken = counts.full + counts.partly;

        for (uint32_t edits = 1 + chance(2); edits > 0; edits--) {
            uint32_t file = chance(FILES);
            edit(file);
            dirty[file] = true;
        }
        for (uint32_t i = 0; i < FILES; i++)
            if (dirty[i]) {
                path_of(names[i], paths[count], sizeof(paths[count]));
                named[count] = gw_str_c(paths[count]);
                count++;
            }
        compare(&serving, named, by_name ? count : 0, &counts);
        if (counts.full + counts.partly > taken)
            memset(dirty, 0, sizeof(dirty));
        else if (chance(3) == 0)
            for (uint32_t i = 0; i < FILES; i++) /* back to something that is fine */
                if (dirty[i])
                    put(names[i], "", 0);
    }
    print_message("refused %u, read whole %u, in part %u\n", counts.refused, counts.full,
                  counts.partly);
    assert_true(counts.refused > STEPS / 20 && counts.partly > STEPS / 10);
    outcome_fini(&serving);
}

static void named_files_give_what_a_full_load_gives(void **state)
{
    for (uint64_t i = 1; i <= 3; i++)
        walk(i * 7919, true);
}

static void a_look_at_all_gives_what_a_full_load_gives(void **state)
{
    for (uint64_t i = 1; i <= 3; i++)
        walk(i * 104729, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(named_files_give_what_a_full_load_gives),
        cmocka_unit_test(a_look_at_all_gives_what_a_full_load_gives),
    };

    return cmocka_run_group_tests_name("process increment", tests, make_dir, remove_dir);
}
