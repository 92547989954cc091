/* Each type of value: what it takes, what it becomes, and each refusal with its place. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "conf/rows.h"
#include "support.h"

static void durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"0", 0},        {"250ms", 250},    {"5s", 5000}, {"3m", 180000},
                {"1h", 3600000}, {"2d", 172800000}, {"0s", 0},    {"007s", 7000}};
    static const char *const bad[] = {"",
                                      "s",
                                      "5",
                                      "-1s",
                                      "1.5s",
                                      "5 s",
                                      "5S",
                                      "5w",
                                      "1h30m",
                                      "ms",
                                      "0x5s",
                                      "99999999999999999999s",
                                      "18446744073709551615d"};
    uint64_t ms;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(gw_read_duration(gw_str_c(good[i].text), &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(gw_read_duration(gw_str_c(bad[i]), &ms));
}

static void sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},        {"100", 100},    {"16k", 16384},    {"16K", 16384},
                {"8m", 8 << 20}, {"1g", 1 << 30}, {"4G", 4ull << 30}};
    static const char *const bad[] = {"",
                                      "k",
                                      "-1",
                                      "1.5k",
                                      "16kb",
                                      "16 k",
                                      "1t",
                                      "18446744073709551616",
                                      "18446744073709551615k"};
    uint64_t bytes;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(gw_read_size(gw_str_c(good[i].text), &bytes));
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(gw_read_size(gw_str_c(bad[i]), &bytes));
}

static void rates(void **state)
{
    static const struct {
        const char *text;
        uint32_t rate;
    } good[] = {{"100/s", 100}, {"16k/s", 16384}, {"60/m", 1},
                {"61/m", 2},    {"0", 0},         {"1g/d", 12428}};
    static const char *const bad[] = {"100", "/s", "100/", "100/x", "-1/s", "8g/s"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char yaml[256];
        struct loaded l;

        snprintf(yaml, sizeof(yaml), LISTEN "limits: { data_rate_min: %s }\n", good[i].text);
        load(&l, yaml);
        assert_int_equal(conf_of(&l)->limits.data_rate_min, good[i].rate);
        unload(&l);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char yaml[256];
        struct loaded l;

        snprintf(yaml, sizeof(yaml), LISTEN "limits: { data_rate_min: %s }\n", bad[i]);
        load(&l, yaml);
        assert_int_equal(l.rc, GW_INVALID);
        assert_int_equal(l.report.faults_count, 1);
        unload(&l);
    }
}

/* One line of a conf, and all that is said about it. */
static void refusals(void **state)
{
    static const struct {
        const char *yaml;
        const char *report;
    } rows[] = {
        {"workers: 0", "2:10: workers: must be at least 1"},
        {"workers: 49", "2:10: workers: must be at most 48"},
        {"workers: many", "2:10: workers: must be auto or an integer, not \"many\""},
        {"workers: \"2\"",
         "2:10: workers: must be auto or an integer, not a text in quotes; write 2"},
        {"workers: [2]", "2:10: workers: must be auto or an integer, not a list"},
        {"workers:", "2:9: workers: is empty; write auto or an integer, or leave the key out"},
        {"watchdog: 5",
         "2:11: watchdog: must be a duration such as 250ms, 5s, 1h, not \"5\"; give a "
         "unit: 5s or 5ms"},
        {"watchdog: 99ms", "2:11: watchdog: must be at least 100ms"},
        {"watchdog: 2h", "2:11: watchdog: must be at most 1h"},
        {"watchdog: {}", "2:11: watchdog: must be a duration such as 250ms, 5s, 1h, not a map"},
        {"memory_max: 1kb",
         "2:13: memory_max: must be a size such as 512, 16k, 8m, 1g, not \"1kb\"; the "
         "units are k, m and g (of 1024)"},
        {"script: { heap_max: 1m }", "2:21: script.heap_max: must be at least 8m"},
        {"underscores_in_headers: yes", "2:25: underscores_in_headers: must be true or false, not "
                                        "\"yes\"; in YAML 1.2 this is a text: write true"},
        {"underscores_in_headers: Off", "2:25: underscores_in_headers: must be true or false, not "
                                        "\"Off\"; in YAML 1.2 this is a text: write false"},
        {"underscores_in_headers: 'true'",
         "2:25: underscores_in_headers: must be true or false, not "
         "\"true\"; write it without quotes"},
        {"log: { level: wran }", "2:15: log.level: must be one of debug, info, warn, error, not "
                                 "\"wran\"; did you mean \"warn\"?"},
        {"log: info", "2:6: log: must be a map of keys, not a string"},
        {"user: \"\"", "2:7: user: must not be empty"},
        {"user: \"a\\tb\"", "2:7: user: holds a control character (0x09)"},
        {"forwarded: { via: \"a b\" }",
         "2:19: forwarded.via: must be a word of letters, digits and "
         "-_., not \"a b\""},
        {"forwarded: { trust: [ 10.0.0.0/33 ] }", NULL},
        {"dns: { servers: [ localhost ] }",
         "2:19: dns.servers[0]: must be addresses such as 127.0.0.1, "
         "\"[::1]:5353\", not \"localhost\""},
        {"dns: { servers: [] }",
         "2:17: dns.servers: is an empty list; leave the key out to take everything"},
        {"shared: { a: 63k }", "2:14: shared.a: must be at least 64k"},
        {"shared: { \"a b\": 64k }",
         "2:18: shared[\"a b\"]: \"a b\" is no name of a dictionary; 1 to 63 "
         "letters, digits, - and _"},
        {"shared: { a: { evict: never } }",
         "2:14: shared.a: \"size\" is missing; it is a size such as "
         "512, 16k, 8m, 1g"},
        {"shared: { a: { size: 1m, evict: no } }",
         "2:33: shared.a.evict: must be one of lru, never, not "
         "\"no\""},
        {"plugin_paths: [ /no/such/folder ]",
         "2:17: plugin_paths[0]: /no/such/folder is no folder"},
        {"wokers: 2", "2:1: wokers: unknown key; did you mean \"workers\"?"},
        {"listne: 1", "2:1: listne: unknown key; did you mean \"listen\"?"},
        {"qqqqqq: 1", NULL},
        {"tls: {}", NULL},
        {"dns: { zone: 1 }", "2:8: dns.zone: unknown key; known are: servers, timeout"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char yaml[512], report[512];
        struct loaded l;

        snprintf(yaml, sizeof(yaml), LISTEN "%s\n", rows[i].yaml);
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

static void addresses(void **state)
{
    struct loaded l;
    const struct gw_conf *conf;
    const struct gw_conf_listener *listeners;

    load(&l, "listen: [ 0.0.0.0:8080, \"[::1]:0\", unix:run/a.sock, { address: unix:/b.sock, name: "
             "b } ]\n");
    conf = conf_of(&l);
    assert_int_equal(conf->listeners.len, 4);
    listeners = GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);
    assert_int_equal(listeners[0].address.ss_family, AF_INET);
    assert_int_equal(ntohs(((const struct sockaddr_in *)&listeners[0].address)->sin_port), 8080);
    assert_ref(conf, listeners[0].name, "0.0.0.0:8080");
    assert_int_equal(listeners[0].backlog, 4096);
    assert_int_equal(listeners[0].where.column, 11);
    assert_int_equal(listeners[1].address.ss_family, AF_INET6);
    assert_int_equal(listeners[1].address_len, sizeof(struct sockaddr_in6));
    assert_int_equal(((const struct sockaddr_in6 *)&listeners[1].address)->sin6_port, 0);
    assert_int_equal(listeners[2].address.ss_family, AF_UNIX);
    assert_int_equal(((const struct sockaddr_un *)&listeners[2].address)->sun_path[0], '/');
    assert_ref(conf, listeners[3].address_text, "unix:/b.sock");
    assert_ref(conf, listeners[3].name, "b");
    unload(&l);
}

static void bad_addresses(void **state)
{
    static const struct {
        const char *yaml;
        const char *report;
    } rows[] = {
        {"listen: 8080\n", "1:9: listen: must be an address such as 0.0.0.0:8080, \"[::1]:8080\", "
                           "unix:/path, not \"8080\"; write 0.0.0.0:8080"},
        {"listen: localhost:80\n",
         "1:9: listen: \"localhost\" is no address; names are not resolved "
         "here: write 127.0.0.1, 0.0.0.0 or [::]"},
        {"listen: 1.2.3.4:65536\n", "1:9: listen: must be an address such as 0.0.0.0:8080, "
                                    "\"[::1]:8080\", unix:/path, not \"1.2.3.4:65536\""},
        {"listen: \"::1:80\"\n", "1:9: listen: must be an address such as 0.0.0.0:8080, "
                                 "\"[::1]:8080\", unix:/path, not \"::1:80\""},
        {"listen: \"unix:\"\n", NULL},
        {"listen: []\n", "1:9: listen: at least one listener is needed"},
        {"listen:\n", "1:8: listen: at least one listener is needed"},
        {"listen: { name: a }\n",
         "1:9: listen: \"address\" is missing; it is an address such as 0.0.0.0:8080, "
         "\"[::1]:8080\", unix:/path"},
        {"workers: 1\n", "1:1: \"listen\" is missing; it is a list of addresses or listeners"},
        {"", "1:1: \"listen\" is missing; it is a list of addresses or listeners"},
        {"listen:\n  - 1.2.3.4:80\n  - { address: 1.2.3.4:80, name: b }\n",
         "3:5: listen[1]: the address \"1.2.3.4:80\" is that of the listener in line 2 too"},
        {"listen:\n  - { address: 1.2.3.4:80, name: b }\n  - { address: 1.2.3.4:81, name: b }\n",
         "3:5: listen[1]: there are two listeners of the name \"b\""},
        {"listen: { address: 1.2.3.4:80, limits: { connections_max: 1 } }\n",
         "1:42: listen.limits.connections_max: cannot be set for a listener: it counts before one "
         "is "
         "chosen; set it in limits: of the whole gateway"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char report[512];
        struct loaded l;

        if (rows[i].report != NULL) {
            snprintf(report, sizeof(report), "t.yaml:%s\n", rows[i].report);
            expect_report(rows[i].yaml, report);
            continue;
        }
        load(&l, rows[i].yaml);
        assert_int_equal(l.report.faults_count, 1);
        unload(&l);
    }
}

static void long_socket_paths(void **state)
{
    char path[200], yaml[300];
    struct loaded l;

    memset(path, 'a', sizeof(path));
    path[0] = '/';
    path[107] = '\0';
    snprintf(yaml, sizeof(yaml), LISTEN "control: %s\n", path);
    load(&l, yaml);
    assert_ref(conf_of(&l), conf_of(&l)->control, path);
    unload(&l);

    path[107] = 'a';
    path[108] = '\0';
    snprintf(yaml, sizeof(yaml), LISTEN "control: %s\n", path);
    load(&l, yaml);
    assert_non_null(
        strstr(l.text, "t.yaml:2:10: control: the path of a socket has at most 107 bytes"));
    unload(&l);

    snprintf(yaml, sizeof(yaml), "listen: unix:%s\n", path);
    load(&l, yaml);
    assert_non_null(
        strstr(l.text, "t.yaml:1:9: listen: the path of a unix socket has 1 to 107 bytes"));
    unload(&l);
}

static void environment(void **state)
{
    struct loaded l;
    const struct gw_conf *conf;

    load(&l, "listen: \"127.0.0.1:${PORT}\"\n"
             "workers: \"${NONE:-3}\"\n"
             "watchdog: ${TIME}\n"
             "underscores_in_headers: \"${FLAG}\"\n"
             "user: a${EMPTY}b${EMPTY:-c}$${d}$e\n"
             "routes:\n"
             "  - { respond: { body: \"${TRICK}${NONE:-}\" } }\n");
    conf = conf_of(&l);
    assert_int_equal(conf->workers, 3);
    assert_int_equal(conf->watchdog_ms, 3000);
    assert_int_equal(conf->underscores_in_headers, 1);
    assert_ref(conf, conf->user, "abc${d}$e");
    assert_ref(conf, GW_ITEMS(conf, conf->listeners, struct gw_conf_listener)[0].address_text,
               "127.0.0.1:8081");
    /* What came out of a variable is not expanded again. */
    assert_ref(conf, GW_ITEMS(conf, conf->details, struct gw_conf_details)[0].body, "${PORT}");
    unload(&l);

    expect_report("listen: 127.0.0.1:${NONE}\n",
                  "t.yaml:1:9: listen: the variable NONE is not set; set it, or write "
                  "${NONE:-otherwise}\n"
                  "t.yaml:1:9: listen: must be an address such as 0.0.0.0:8080, \"[::1]:8080\", "
                  "unix:/path, not \"127.0.0.1:${NONE}\"\n");
    expect_report(LISTEN "user: \"a${\"\n",
                  "t.yaml:2:7: user: \"${\" is not closed by \"}\" in \"a${\"; write $${ for the "
                  "characters ${\n");
    expect_report(
        LISTEN "user: ${1A}\n",
        "t.yaml:2:7: user: \"${1A}\" is no variable; write ${NAME} or ${NAME:-otherwise}; "
        "$${ stands for the characters ${\n");
    expect_report(LISTEN "user: ${LATIN1}\n",
                  "t.yaml:2:7: user: the value of the variable LATIN1 is not UTF-8\n");
    expect_report(
        LISTEN "workers: ${EMPTY}\n",
        "t.yaml:2:10: workers: is empty; write auto or an integer, or leave the key out\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(sizes),
        cmocka_unit_test(rates),
        cmocka_unit_test(refusals),
        cmocka_unit_test(addresses),
        cmocka_unit_test(bad_addresses),
        cmocka_unit_test(long_socket_paths),
        cmocka_unit_test(environment),
    };

    return cmocka_run_group_tests_name("conf types", tests, NULL, NULL);
}
