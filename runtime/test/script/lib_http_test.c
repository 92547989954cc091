/* gw.http against a raw server that says exactly what a test wrote, byte for byte. */
#include "test/script/lib_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#define CONNECTIONS_MAX 8
#define ANSWERS_MAX 4

/* What the server does on its n-th connection: for each answer it first reads one request. */
struct play {
    const char *answers[ANSWERS_MAX]; /* NULL: no more */
    size_t lens[ANSWERS_MAX];         /* 0: strlen() */
    bool slowly;                      /* a byte at a time */
    bool reset;                       /* at the end RST instead of FIN */
    bool hold;                        /* at the end waits until the client closes */
    bool deaf;                        /* answers without reading */
};

static struct server {
    int fd;
    int port;
    pthread_t thread;
    struct play plays[CONNECTIONS_MAX];
    int count;
    char requests[65536]; /* all that was read, in order */
    size_t requests_len;
    int requests_count;
    int connections;
} server;

static struct lab lab;

/* One request: head, and a body by its Content-Length. False: the client is gone. */
static bool read_request(int fd)
{
    char *from = server.requests + server.requests_len, *end = NULL;
    size_t want = 0;

    for (;;) {
        char *to = server.requests + server.requests_len;
        ssize_t len = recv(fd, to, sizeof(server.requests) - server.requests_len - 1, 0);
        if (len <= 0)
            return false;
        server.requests_len += (size_t)len;
        server.requests[server.requests_len] = '\0';
        if (end == NULL && (end = strstr(from, "\r\n\r\n")) != NULL) {
            const char *length = strstr(from, "Content-Length: ");
            want = (size_t)(end + 4 - from) + (length != NULL ? strtoul(length + 16, NULL, 10) : 0);
        }
        if (end != NULL && (size_t)(server.requests + server.requests_len - from) >= want) {
            server.requests_count++;
            return true;
        }
    }
}

static void say(int fd, const char *text, size_t len, bool slowly)
{
    while (len > 0) {
        size_t some = slowly ? 1 : len;
        ssize_t sent = send(fd, text, some, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        len -= (size_t)sent;
        if (slowly) {
            struct timespec moment = {0, 300000};
            (void)nanosleep(&moment, NULL);
        }
    }
}

static void serve_one(int fd, const struct play *play)
{
    char rest[256];

    for (int i = 0; i < ANSWERS_MAX && play->answers[i] != NULL; i++) {
        if (!play->deaf && !read_request(fd))
            break;
        say(fd, play->answers[i], play->lens[i] > 0 ? play->lens[i] : strlen(play->answers[i]),
            play->slowly);
    }
    if (play->hold)
        while (recv(fd, rest, sizeof(rest), 0) > 0)
            ;
    if (play->reset) {
        struct linger linger = {1, 0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    (void)close(fd);
}

static void *serve(void *arg)
{
    for (int i = 0; i < server.count; i++) {
        int fd = accept(server.fd, NULL, NULL);
        if (fd < 0)
            break;
        server.connections++;
        serve_one(fd, &server.plays[i]);
    }
    return NULL;
}

static void server_start(const struct play *plays, int count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    memset(&server, 0, sizeof(server));
    memcpy(server.plays, plays, sizeof(*plays) * (size_t)count);
    server.count = count;
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(server.fd, 16), 0);
    assert_int_equal(getsockname(server.fd, (struct sockaddr *)&address, &len), 0);
    server.port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
    lua_pushinteger(gw_vm_main(lab.vm), server.port);
    lua_setglobal(gw_vm_main(lab.vm), "port");
}

/* Ends connections of the pool too, so that the server's thread comes to its end. */
static void server_stop(void)
{
    (void)shutdown(server.fd, SHUT_RDWR);
    lab_close(&lab);
    (void)pthread_join(server.thread, NULL);
    (void)close(server.fd);
    lab_open(&lab, NULL, 0);
}

#define URL "'http://127.0.0.1:' .. port .. "

static void one(const struct play play, const char *piece)
{
    server_start(&play, 1);
    lab_run(&lab, piece);
    server_stop();
}

static void an_answer_comes_whole(void **state)
{
    one(
        (struct play){
            .answers = {"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-A: 1\r\nx-a: 2\r\n"
                        "Set-Cookie: a\r\nSet-Cookie: b\r\n\r\nhello"}},
        "local r, err = gw.http.get(" URL
        "'/a/b?x=1#frag', { headers = { ['X-Id'] = 7, ['X-L'] = { 'p', 'q' } } })\n"
        "equal(nil, err); equal(201, r.status); equal('hello', r.body)\n"
        "equal('1, 2', r.headers['X-A']); equal('5', r.headers['content-length'])\n"
        "equal(nil, r.headers.absent); equal(nil, r.headers[1])\n"
        "local c = r.headers:all('SET-COOKIE'); equal(2, #c); equal('a', c[1]); equal('b', "
        "c[2])\n");
    assert_non_null(strstr(server.requests, "GET /a/b?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"));
    assert_non_null(strstr(server.requests, "X-Id: 7\r\n"));
    assert_non_null(strstr(server.requests, "X-L: p\r\nX-L: q\r\n"));
    assert_null(strstr(server.requests, "Content-Length"));
}

static void bodies_go_out_with_their_length(void **state)
{
    one((struct play){.answers = {"HTTP/1.1 204 No Content\r\n\r\n",
                                  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
                      .hold = true},
        "local r = assert(gw.http.post(" URL
        "'/', 'some body', { headers = { Host = 'other' } }))\n"
        "equal(204, r.status); equal('', r.body)\n");
    assert_non_null(strstr(server.requests, "POST / HTTP/1.1\r\n"));
    assert_non_null(strstr(server.requests, "\r\nHost: other\r\n"));
    assert_non_null(strstr(server.requests, "Content-Length: 9\r\n\r\nsome body"));
    assert_null(strstr(server.requests, "127.0.0.1"));
}

static void chunks_and_close_end_bodies_too(void **state)
{
    const struct play plays[] = {
        {.answers =
             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5;x=y\r\ndefgh\r\n"
              "0\r\nX-T: 1\r\n\r\n"},
         .slowly = true},
        {.answers = {"HTTP/1.0 200 OK\r\n\r\nuntil the end"}},
        {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"}},
    };

    server_start(plays, 3);
    lab_run(&lab, "local r, err = gw.http.get(" URL "'/', { keep_alive = false })\n"
                  "equal(nil, err); equal('abcdefgh', r.body)\n"
                  "r = assert(gw.http.get(" URL "'/'))\n"
                  "equal('until the end', r.body)\n"
                  "r = assert(gw.http.request { url = " URL "'/', method = 'HEAD' })\n"
                  "equal('', r.body); equal('1000', r.headers['content-length'])\n");
    server_stop();
    assert_non_null(strstr(server.requests, "Connection: close\r\n"));
}

static void informational_answers_are_passed_over(void **state)
{
    one(
        (struct play){
            .answers = {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}},
        "local r = assert(gw.http.get(" URL "'/'))\n"
        "equal(200, r.status); equal('ok', r.body); equal(nil, r.headers.link)\n");
}

static void idle_connections_are_used_again(void **state)
{
    one(
        (struct play){
            .answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
                        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2",
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n3\r\n0\r\n\r\n"},
            .hold = true},
        "for i = 1, 3 do\n"
        "  local r = assert(gw.http.get(" URL "'/' .. i))\n"
        "  equal(tostring(i), r.body)\n"
        "end\n");
    assert_int_equal(server.connections, 1);
    assert_int_equal(server.requests_count, 3);
}

static void a_dead_idle_connection_is_not_the_callers_trouble(void **state)
{
    const struct play plays[] = {
        {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"}, .reset = true},
        {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"}, .hold = true},
    };

    server_start(plays, 2);
    lab_run(&lab, "equal('1', assert(gw.http.get(" URL "'/')).body)\n"
                  "equal('2', assert(gw.http.get(" URL "'/')).body)\n");
    server_stop();
}

/* The server reads the second request on the old connection and closes without an answer:
 * a GET goes out again on a new connection, once. */
static void a_request_that_may_be_repeated_is_sent_again_once(void **state)
{
    const struct play plays[] = {
        {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", ""}, .lens = {0, 0}},
        {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2", ""}},
        {.answers = {NULL}},
    };

    server_start(plays, 3);
    lab_run(&lab, "equal('1', assert(gw.http.get(" URL "'/first')).body)\n"
                  "equal('2', assert(gw.http.get(" URL "'/again')).body)\n"
                  "fails('closed', gw.http.get(" URL "'/lost'))\n");
    server_stop();
    assert_int_equal(server.connections, 3);
}

static void what_may_not_be_repeated_takes_a_fresh_connection(void **state)
{
    const struct play plays[] = {
        {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"}},
        {.answers = {""}},
    };

    server_start(plays, 2);
    lab_run(&lab, "equal('1', assert(gw.http.get(" URL "'/')).body)\n"
                  "fails('closed', gw.http.post(" URL "'/', 'x'))\n");
    server_stop();
    assert_int_equal(server.connections, 2);
    assert_int_equal(server.requests_count, 2);
}

static void hostile_answers_are_refused(void **state)
{
    static const struct {
        const char *answer;
        const char *code;
    } bad[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "protocol"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "protocol"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "protocol"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", "protocol"},
        {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "protocol"},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
         "protocol"},
        {"HTTP/1.1 999999 OK\r\n\r\n", "protocol"},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "protocol"},
        {"220 ready\r\n\r\n", "protocol"},
        {"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", "protocol"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "closed"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "closed"},
        {"HTTP/1.1 200 OK\r\nContent-", "closed"},
        {"", "closed"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
         "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
         "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
         "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
         "protocol"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char piece[400];
        (void)snprintf(piece, sizeof(piece),
                       "local v, err, code = gw.http.get('http://127.0.0.1:' .. port .. '/')\n"
                       "if code ~= '%s' then error('case %zu: ' .. tostring(v and v.status) .. ' ' "
                       ".. tostring(err)) end\n"
                       "fails('%s', v, err, code)\n",
                       bad[i].code, i, bad[i].code);
        one((struct play){.answers = {bad[i].answer},
                          .lens = {bad[i].answer[0] == '\x16' ? 11 : 0}},
            piece);
    }
}

static void bytes_behind_an_answer_end_the_connection(void **state)
{
    const struct play plays[] = {
        {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 "
                     "OK\r\nContent-Length: 4\r\n\r\nevil"}},
        {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"}},
    };

    server_start(plays, 2);
    lab_run(&lab, "equal('1', assert(gw.http.get(" URL "'/')).body)\n"
                  "equal('2', assert(gw.http.get(" URL "'/')).body)\n");
    server_stop();
    assert_int_equal(server.connections, 2);
}

static char big_head[100000];
static char big_body[20000];

static void limits_hold(void **state)
{
    int len = snprintf(big_head, sizeof(big_head), "HTTP/1.1 200 OK\r\nX: ");
    memset(big_head + len, 'a', sizeof(big_head) - (size_t)len - 1);
    len = snprintf(big_body, sizeof(big_body), "HTTP/1.1 200 OK\r\n\r\n");
    memset(big_body + len, 'b', sizeof(big_body) - (size_t)len - 1);

    one((struct play){.answers = {big_head}}, "fails('limit', gw.http.get(" URL "'/'))\n");
    one((struct play){.answers = {big_body}},
        "fails('limit', gw.http.get(" URL "'/', { max_body = 10000 }))\n");
    one((struct play){.answers = {big_body}},
        "equal(19980, #assert(gw.http.get(" URL "'/', { max_body = 19980 })).body)\n");
    one((struct play){.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"},
                      .hold = true},
        "fails('limit', gw.http.get(" URL "'/'))\n");
    one(
        (struct play){
            .answers = {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\nabcdef"}},
        "fails('limit', gw.http.get(" URL "'/', { max_body = 5 }))\n");
}

static void silence_and_drips_time_out(void **state)
{
    one((struct play){.answers = {NULL}, .hold = true},
        "local before = gw.time.monotonic()\n"
        "local v, err, code = gw.http.get(" URL "'/', { timeout = 0.05 })\n"
        "fails('timeout', v, err, code)\n"
        "assert(err:find('waiting for the answer', 1, true), err)\n"
        "local took = gw.time.monotonic() - before\n"
        "assert(took >= 0.045 and took < 2, took)\n");
    one((struct play){.answers = {big_body}, .slowly = true},
        "local v, err, code = gw.http.get(" URL "'/', { timeout = 0.1 })\n"
        "fails('timeout', v, err, code)\n"
        "assert(err:find('body', 1, true), err)\n");
}

static void a_port_where_nobody_listens_refuses(void **state)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    /* Bound and not listening: nobody else can take the port meanwhile. */
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    lua_pushinteger(gw_vm_main(lab.vm), ntohs(address.sin_port));
    lua_setglobal(gw_vm_main(lab.vm), "port");
    lab_run(&lab, "fails('refused', gw.http.get(" URL "'/'))\n"
                  "fails('refused', gw.http.get('http://[::1]:' .. port .. '/'))\n"
                  "fails('refused', gw.http.get('http://localhost:' .. port .. '/'))\n");
    (void)close(fd);
}

static void bad_arguments_are_told_apart_from_bad_values(void **state)
{
    lab_run(
        &lab,
        "local h = gw.http\n"
        "raises('string expected', h.get); raises('string expected', h.get, {})\n"
        "raises('string expected', h.post, 'http://x/'); raises('table expected', h.get, "
        "'http://x/', 1)\n"
        "raises('option url', h.request, {}); raises(\"no option 'tiemout'\", h.get, 'http://x/', "
        "{ tiemout = 1 })\n"
        "raises('option timeout', h.get, 'http://x/', { timeout = 0 })\n"
        "raises('option timeout', h.get, 'http://x/', { timeout = 'x' })\n"
        "raises('option headers', h.get, 'http://x/', { headers = 'x' })\n"
        "raises('header X', h.get, 'http://x/', { headers = { X = true } })\n"
        "raises('header name', h.get, 'http://x/', { headers = { 'x' } })\n"
        "local many = {} for i = 1, 101 do many['x' .. i] = 'y' end\n"
        "raises('more than 100', h.get, 'http://x/', { headers = many })\n"
        "fails('refused', h.get('https://127.0.0.1:1/'))\n"
        "for _, url in ipairs { '', 'x', '/x', 'ftp://x/', 'http://', 'http:///', 'http://u:p@h/', "
        "'http://h:0x/',\n"
        "    'http://h:99999/', 'http://h/a b', 'http://h/\\r\\nX: y', 'http://h\\0/', 'http://h/' "
        ".. ('a'):rep(9000) } do\n"
        "  fails('invalid', h.get(url))\n"
        "end\n"
        "fails('invalid', h.request { url = 'http://127.0.0.1/', method = 'GE T' })\n"
        "fails('invalid', h.request { url = 'http://127.0.0.1/', method = '' })\n"
        "fails('unsupported', h.request { url = 'http://127.0.0.1/', method = 'CONNECT' })\n"
        "for name, value in pairs { ['X-A'] = 'a\\r\\nX-B: c', ['X A'] = 'b', ['Content-Length'] = "
        "'1',\n"
        "    ['transfer-encoding'] = 'chunked', Connection = 'x', Expect = '100-continue' } do\n"
        "  fails('invalid', h.get('http://127.0.0.1/', { headers = { [name] = value } }))\n"
        "end\n"
        "fails('invalid', h.get('http://127.0.0.1/', { headers = { Host = { 'a', 'b' } } }))\n");
}

/* The client of the gateway goes away in each state of a call. */
static void a_call_dies_with_its_task(void **state)
{
    const struct play plays[] = {
        {.answers = {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"}, .hold = true}};

    server_start(plays, 1);
    lab_start(&lab, "gw.http.get(" URL "'/')");
    assert_false(lab.over);
    gw_task_cancel_all(lab.vm); /* while it connects */
    lab_start(&lab, "gw.http.get('http://a.name.that.takes.its.time.invalid/')");
    if (!lab.over)
        gw_task_cancel_all(lab.vm); /* while the name is looked up */
    gw_loop_turn(lab.loop, 10);
    server_stop();

    server_start(plays, 1);
    lab_start(&lab, "gw.http.get(" URL "'/')");
    for (int i = 0; i < 20 && !lab.over; i++)
        gw_loop_turn(lab.loop, 5);
    assert_false(lab.over);
    gw_task_cancel_all(lab.vm); /* in the middle of the body */
    server_stop();
}

static void calls_are_bounded_in_number(void **state)
{
    const struct play plays[] = {{.answers = {NULL}, .hold = true}};

    server_start(plays, 1);
    lab_run(&lab, "started, limited = 0, 0");
    for (int i = 0; i < 1030; i++)
        lab_start(&lab, "started = started + 1\n"
                        "local v, err, code = gw.http.get(" URL "'/', { timeout = 30 })\n"
                        "if code == 'limit' then limited = limited + 1 end\n");
    lua_getglobal(gw_vm_main(lab.vm), "limited");
    assert_true(lua_tointeger(gw_vm_main(lab.vm), -1) >= 6);
    gw_task_cancel_all(lab.vm);
    lab_run(&lab, "equal(1030, started)");
    server_stop();
}

static int set_up(void **state)
{
    lab_open(&lab, NULL, 0);
    return 0;
}

static int tear_down(void **state)
{
    lab_close(&lab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_whole),
        cmocka_unit_test(bodies_go_out_with_their_length),
        cmocka_unit_test(chunks_and_close_end_bodies_too),
        cmocka_unit_test(informational_answers_are_passed_over),
        cmocka_unit_test(idle_connections_are_used_again),
        cmocka_unit_test(a_dead_idle_connection_is_not_the_callers_trouble),
        cmocka_unit_test(a_request_that_may_be_repeated_is_sent_again_once),
        cmocka_unit_test(what_may_not_be_repeated_takes_a_fresh_connection),
        cmocka_unit_test(hostile_answers_are_refused),
        cmocka_unit_test(bytes_behind_an_answer_end_the_connection),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(silence_and_drips_time_out),
        cmocka_unit_test(a_port_where_nobody_listens_refuses),
        cmocka_unit_test(bad_arguments_are_told_apart_from_bad_values),
        cmocka_unit_test(a_call_dies_with_its_task),
        cmocka_unit_test(calls_are_bounded_in_number),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
