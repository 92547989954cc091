/* Several files: merging, globs, cycles, and what is said where two say the same. */
#include <sys/stat.h>
#include <unistd.h>

#include "conf/include.h"
#include "support.h"

static char dir[64];

static int make_dir(void **state)
{
    strcpy(dir, "/tmp/gw_include_XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    char command[128];

    assert_int_equal(chdir("/"), 0);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static void put(const char *name, const char *text)
{
    char path[256], *slash;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    for (slash = strchr(path + strlen(dir) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0755);
        *slash = '/';
    }
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_not_equal(fputs(text, f), EOF);
    assert_int_equal(fclose(f), 0);
}

static void load_main(struct loaded *l)
{
    assert_int_equal(chdir(dir), 0);
    load_file(l, "main.yaml", NULL);
}

static void expect_main(const char *report)
{
    struct loaded l;

    load_main(&l);
    assert_string_equal(l.text, report);
    unload(&l);
}

static void lists_append_and_maps_merge(void **state)
{
    struct loaded l;
    const struct gw_conf *c;
    const struct gw_conf_route *routes;
    const struct gw_conf_file *files;
    char path[128];

    put("main.yaml",
        LISTEN "include: [ \"sub/*.yaml\", one.yaml ]\nlog: { level: warn }\nplugins: cors\n"
               "upstreams: { m: { targets: m } }\nroutes:\n  - { name: m, upstream: m }\n");
    put("sub/b.yaml",
        "routes: [ { name: b, upstream: a }, { name: b2, upstream: m } ]\nplugins: [ gzip ]\n");
    put("sub/a.yaml",
        "upstreams: { a: { targets: a } }\nlog: { file: x.log }\nlisten: 127.0.0.1:8081\n"
        "routes: [ { name: a, upstream: a, plugins: jwt } ]\nshared: { s: 1m }\n");
    put("one.yaml", "# nothing\n");
    load_main(&l);
    c = conf_of(&l);
    routes = GW_ITEMS(c, c->routes, struct gw_conf_route);
    assert_int_equal(c->routes.len, 4);
    assert_ref(c, routes[0].name, "m");
    assert_ref(c, routes[1].name, "a"); /* a glob is in the order of the names */
    assert_ref(c, routes[2].name, "b");
    assert_int_equal(c->listeners.len, 2);
    assert_int_equal(c->upstreams.len, 2);
    assert_int_equal(c->shared.len, 1);
    assert_int_equal(c->log_level, 2);
    /* A path is relative to the file that it stands in. */
    snprintf(path, sizeof(path), "%s/sub/x.log", dir);
    assert_ref(c, c->log_file, path);
    assert_int_equal(l.source.bindings_count, 3);
    assert_true(gw_str_eq(l.source.bindings[1].plugin, GW_STR("gzip")));
    assert_int_equal(l.source.bindings[2].route, 1);
    /* The index counts in the file. */
    assert_true(gw_str_eq(l.source.bindings[2].path, GW_STR("routes[0].plugins")));
    assert_int_equal(c->files.len, 4);
    files = GW_ITEMS(c, c->files, struct gw_conf_file);
    snprintf(path, sizeof(path), "%s/sub/a.yaml", dir);
    assert_ref(c, files[1].path, path);
    assert_int_not_equal(files[1].hash, 0);
    assert_int_not_equal(files[1].hash, files[2].hash);
    assert_int_equal(gw_conf_details(c, &routes[2])->where.file, 2);
    unload(&l);
}

static void faults_name_their_file(void **state)
{
    put("main.yaml", LISTEN "include: sub/*.yaml\nroutes:\n  - upstream: http://a\n");
    put("sub/a.yaml", "routes:\n  - upstream: http://a\n  - upstream: nope\n");
    expect_main("sub/a.yaml:3:15: routes[1].upstream: there is no upstream \"nope\"\n");
}

static void what_two_files_say(void **state)
{
    put("main.yaml", LISTEN "include: a.yaml\nworkers: 2\nlimits: { body_timeout: 1s }\n"
                            "upstreams: { u: { targets: a } }\nlog: { level: info }\n");
    put("a.yaml", "workers: 3\nlimits: { body_timeout: 2s, send_timeout: 2s }\n"
                  "upstreams: { u: { targets: b } }\nlog: debug\nwhat: 1\n");
    expect_main(
        "a.yaml:1:1: workers: is also given in main.yaml:3:1; keep one of them\n"
        "a.yaml:2:11: limits.body_timeout: is also given in main.yaml:4:11; keep one of them\n"
        "a.yaml:3:14: upstreams.u: is also given in main.yaml:5:14; keep one of them\n"
        "a.yaml:4:1: log: is also given in main.yaml:6:1; keep one of them\n"
        "a.yaml:5:1: what: unknown key; known are: workers, user, control, log, shutdown_timeout, "
        "watchdog, memory_max, forwarded, underscores_in_headers, dns, script, limits, listen, "
        "shared, "
        "upstreams, plugins, routes, include, plugin_paths\n");
}

static void missing_files(void **state)
{
    put("main.yaml", LISTEN "include: [ none.yaml, no/such/*.yaml, sub, /dev/null, \"\" ]\n");
    put("sub/x", "");
    expect_main("main.yaml:2:12: include[0]: none.yaml: No such file or directory\n"
                "main.yaml:2:39: include[2]: sub: is a folder\n"
                "main.yaml:2:44: include[3]: /dev/null: is no regular file\n"
                "main.yaml:2:55: include[4]: must be a path, not a string\n");
    put("main.yaml", LISTEN "include: { a: b }\n");
    expect_main("main.yaml:2:10: include: must be a path, not a map\n");
}

static void cycles(void **state)
{
    struct loaded l;

    put("main.yaml", LISTEN "include: a.yaml\n");
    put("a.yaml", "include: sub/b.yaml\n");
    put("sub/b.yaml", "include: ../a.yaml\n");
    expect_main("sub/b.yaml:1:10: include: sub/../a.yaml: includes itself\n");
    put("main.yaml", LISTEN "include: main.yaml\n");
    expect_main("main.yaml:2:10: include: main.yaml: includes itself\n");
    /* A glob may meet the file that it stands in, and files that were read before. */
    put("main.yaml", LISTEN "include: [ a.yaml, \"*.yaml\", a.yaml ]\n");
    put("a.yaml", "routes: [ { name: once, upstream: http://a } ]\n");
    put("one.yaml", "");
    load_main(&l);
    assert_int_equal(conf_of(&l)->routes.len, 1);
    unload(&l);
}

static void depth(void **state)
{
    char name[32], text[64];

    put("main.yaml", LISTEN "include: d/1\n");
    for (int i = 1; i < 20; i++) {
        snprintf(name, sizeof(name), "d/%d", i);
        snprintf(text, sizeof(text), "include: %d\n", i + 1);
        put(name, text);
    }
    expect_main("d/16:1:10: include: d/17: included too deep\n");
}

static void syntax_errors_of_all_files(void **state)
{
    put("main.yaml", LISTEN "include: [ a.yaml, sub/b.yaml, sub/l.yaml ]\nupstreams: { u: {} }\n");
    put("a.yaml", "routes: [ *.x ]\n");
    put("sub/b.yaml", "a:\n\tb: 1\n");
    put("sub/l.yaml", "- a\n");
    /* What is only missing because a file could not be read is not complained about. */
    expect_main(
        "a.yaml:1:11: YAML reads a value that begins with \"*\" as an alias; quote it: \"*.x\"\n"
        "sub/b.yaml:2:1: a tab cannot indent; use spaces\n"
        "sub/l.yaml:1:1: the file must hold a map of keys, not a list\n");
}

static void main_file_missing(void **state)
{
    struct loaded l;

    load_file(&l, "/no/such/gateway.yaml", NULL);
    assert_string_equal(l.text, "/no/such/gateway.yaml: No such file or directory\n");
    assert_int_equal(l.rc, GW_INVALID);
    unload(&l);
    load_file(&l, "/tmp", NULL);
    assert_string_equal(l.text, "/tmp: is a folder\n");
    unload(&l);
}

static void folders_with_odd_names(void **state)
{
    struct loaded l;
    char path[128];

    put("odd [1]*/main.yaml", LISTEN "include: \"r/*.yaml\"\n");
    put("odd [1]*/r/x.yaml", "routes: [ { upstream: http://a } ]\n");
    snprintf(path, sizeof(path), "%s/odd [1]*/main.yaml", dir);
    load_file(&l, path, NULL);
    assert_int_equal(conf_of(&l)->routes.len, 1);
    assert_ref(conf_of(&l),
               GW_ITEMS(conf_of(&l), conf_of(&l)->routes, struct gw_conf_route)[0].name,
               "r/x.yaml:1");
    unload(&l);
}

static void a_pipe_is_not_waited_for(void **state)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/pipe.yaml", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    put("main.yaml", LISTEN "include: pipe.yaml\n");
    expect_main("main.yaml:2:10: include: pipe.yaml: is no regular file\n");
    assert_int_equal(unlink(path), 0);
}

static void variables_in_includes(void **state)
{
    struct loaded l;

    put("main.yaml", LISTEN "include: [ \"p${PORT}.yaml\", \"x${NONE}.yaml\" ]\n");
    put("p8081.yaml", "workers: 7\n");
    load_main(&l);
    assert_non_null(strstr(l.text, "main.yaml:2:29: include[1]: the variable NONE is not set"));
    unload(&l);
    put("main.yaml", LISTEN "include: p${PORT}.yaml\n");
    load_main(&l);
    assert_int_equal(conf_of(&l)->workers, 7);
    unload(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lists_append_and_maps_merge, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(faults_name_their_file, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(what_two_files_say, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(missing_files, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(cycles, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(depth, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(syntax_errors_of_all_files, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(main_file_missing, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(folders_with_odd_names, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_pipe_is_not_waited_for, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(variables_in_includes, make_dir, remove_dir),
    };

    return cmocka_run_group_tests_name("conf include", tests, NULL, NULL);
}
