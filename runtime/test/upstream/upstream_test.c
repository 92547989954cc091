/* Whose turn it is, and the pools of idle connections, against a server and a name server in the
 * same loop. */
#include "upstream/upstream.h"

#include <arpa/inet.h>
#include <unistd.h>

#include "test/conf/support.h"

#define SERVED_MAX 16

static struct gw_loop *loop;
static struct gw_h1 *h1;
static struct gw_upstream_set *set;
static struct gw_upstream *upstream;
static struct loaded loaded;
static const struct gw_conf_upstream *row;

/* A name server: all names have these addresses of IPv4 ("": it fails) for `ttl` seconds. */
static struct gw_io dns_io;
static int dns_fd;
static char dns_address[32];
static const char *zone;
static uint32_t zone_ttl;

/* A server: accepts, and answers what it reads. */
static struct gw_io listen_io;
static int listen_fd;
static uint16_t port;
static struct served {
    struct gw_io io;
    int fd;
    bool ended; /* by the gateway */
} served[SERVED_MAX];
static int served_count;

/* ---- the name server ---- */

static unsigned char *put_address(unsigned char *to, const char *text)
{
    static const unsigned char head[] = {0xc0, 12, 0, 1, 0, 1, 0, 0};

    memcpy(to, head, sizeof(head));
    to[8] = (unsigned char)(zone_ttl >> 8);
    to[9] = (unsigned char)zone_ttl;
    to[10] = 0;
    to[11] = 4;
    assert_int_equal(inet_pton(AF_INET, text, to + 12), 1);
    return to + 16;
}

static void on_question(struct gw_io *io, unsigned what)
{
    unsigned char text[1024], *end = text + 12;
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    ssize_t len = recvfrom(dns_fd, text, 512, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    char list[256], *save = NULL;
    unsigned count = 0;

    if (len < 17)
        return;
    while (*end != 0)
        end += *end + 1;
    end += 5;
    snprintf(list, sizeof(list), "%s", end[-3] == 1 ? zone : "");
    for (char *one = strtok_r(list, " ", &save); one; one = strtok_r(NULL, " ", &save), count++)
        end = put_address(end, one);
    text[2] = 0x81;
    text[3] = (unsigned char)(0x80 | (*zone == '\0' ? 2 : 0));
    memset(text + 6, 0, 6);
    text[7] = (unsigned char)count;
    len = end - text;
    assert_int_equal(sendto(dns_fd, text, (size_t)len, 0, (struct sockaddr *)&from, sizeof(from)),
                     len);
}

static uint16_t bound(int fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t len = sizeof(address);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

/* ---- the server ---- */

static void on_bytes(struct gw_io *io, unsigned what)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct served *one = GW_CONTAINER(io, struct served, io);
    char text[2048];
    ssize_t len = recv(one->fd, text, sizeof(text), MSG_DONTWAIT);

    if (len > 0)
        assert_int_equal(send(one->fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL),
                         sizeof(answer) - 1);
    else if (len == 0) {
        one->ended = true;
        gw_io_close(io);
    }
}

static void on_accept(struct gw_io *io, unsigned what)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    assert_true(served_count < SERVED_MAX);
    served[served_count] = (struct served){.fd = fd};
    assert_int_equal(gw_io_open_level(&served[served_count++].io, loop, fd, on_bytes), GW_OK);
}

static void turn(void)
{
    for (int i = 0; i < 12; i++)
        gw_loop_turn(loop, 1);
}

static int open_count(void)
{
    int count = 0;

    for (int i = 0; i < served_count; i++)
        count += !served[i].ended;
    return count;
}

/* ---- the client ---- */

struct asked {
    struct gw_upstream_stream *stream;
    struct gw_arena arena;
    struct gw_response response;
    bool ended;
};

static void on_head(struct gw_stream *stream)
{
}

static void on_body(struct gw_stream *stream, struct gw_str piece)
{
}

static void on_end(struct gw_stream *stream, struct gw_fields *trailers)
{
    ((struct asked *)stream->user)->ended = true;
}

static void on_reset(struct gw_stream *stream, enum gw_rc rc, const char *why)
{
    fail_msg("the stream was reset: %s", why);
}

static const struct gw_stream_events events = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .on_reset = on_reset};

/* Asks once, and has the answer; the stream is still ours then. */
static void ask(struct asked *a, struct gw_endpoint *endpoint, uint32_t fresh_ms)
{
    struct gw_upstream_limits limits = {.head = {65536, 100, 8192},
                                        .connect_timeout_ms = 5000,
                                        .send_timeout_ms = 5000,
                                        .read_timeout_ms = 5000,
                                        .buffer_bytes_max = 65536};
    struct gw_fields fields;
    struct gw_out_request request = {
        .method = GW_STR("GET"), .authority = GW_STR("a"), .path = GW_STR("/"), .fields = &fields};
    struct gw_stream *stream;

    *a = (struct asked){.ended = false};
    gw_arena_init(&a->arena);
    gw_fields_init(&fields, &a->arena);
    assert_int_equal(gw_endpoint_take(endpoint, row, &limits, fresh_ms, &a->stream), GW_OK);
    stream = &a->stream->stream;
    stream->events = &events;
    stream->user = a;
    a->stream->arena = &a->arena;
    a->stream->response = &a->response;
    stream->ops->send_request(stream, &request);
    stream->ops->send_end(stream, NULL);
    gw_stream_flush(stream);
    for (int i = 0; i < 500 && !a->ended; i++)
        gw_loop_turn(loop, 2);
    assert_true(a->ended);
}

static void give(struct asked *a)
{
    gw_endpoint_give(a->stream, row);
    gw_arena_fini(&a->arena);
}

static struct gw_endpoint *pick(void)
{
    struct gw_endpoint *endpoint;

    assert_int_equal(gw_upstream_pick(upstream, NULL, &endpoint), GW_OK);
    return endpoint;
}

/* ---- confs ---- */

/* "targets: …", with more keys of the upstream behind. */
static const struct gw_conf_upstream *load_row(struct loaded *l, const char *keys)
{
    char text[1024];
    const struct gw_conf *conf;

    snprintf(text, sizeof(text),
             "listen: [ \"127.0.0.1:1\" ]\ndns: { servers: [ \"%s\" ], timeout: 1s }\n"
             "upstreams: { u: { %s } }\n",
             dns_address, keys);
    load(l, text);
    conf = conf_of(l);
    assert_int_equal(gw_upstream_set_dns(set, conf, NULL), GW_OK);
    return GW_ITEMS(conf, conf->upstreams, struct gw_conf_upstream);
}

static void use(const char *keys)
{
    row = load_row(&loaded, keys);
    assert_int_equal(gw_upstream_new(set, conf_of(&loaded), row, NULL, &upstream, NULL), GW_OK);
}

static void use_server(const char *keys)
{
    char text[256];

    snprintf(text, sizeof(text), "targets: [ \"127.0.0.1:%u\" ]%s", port, keys);
    use(text);
}

static int setup(void **state)
{
    assert_int_equal(gw_loop_new(&loop), GW_OK);
    assert_int_equal(gw_h1_new(loop, &h1), GW_OK);
    assert_int_equal(gw_upstream_set_new(loop, h1, &set), GW_OK);
    dns_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(dns_address, sizeof(dns_address), "127.0.0.1:%u", bound(dns_fd));
    assert_int_equal(gw_io_open_level(&dns_io, loop, dns_fd, on_question), GW_OK);
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    port = bound(listen_fd);
    assert_int_equal(listen(listen_fd, 64), 0);
    assert_int_equal(gw_io_open_level(&listen_io, loop, listen_fd, on_accept), GW_OK);
    served_count = 0;
    upstream = NULL;
    zone = "";
    zone_ttl = 5;
    return 0;
}

static int teardown(void **state)
{
    gw_upstream_unref(upstream);
    gw_upstream_set_free(set); /* asserts that no endpoint is left */
    turn();
    gw_io_close(&dns_io);
    gw_io_close(&listen_io);
    close(dns_fd);
    close(listen_fd);
    for (int i = 0; i < served_count; i++) {
        gw_io_close(&served[i].io);
        close(served[i].fd);
    }
    gw_h1_free(h1);
    gw_loop_free(loop);
    unload(&loaded);
    return 0;
}

/* ---- whose turn it is ---- */

/* The last digit of the port of each, one after the other. */
static void expect_turns(const char *want)
{
    char got[64];
    size_t len = strlen(want);

    for (size_t i = 0; i < len; i++) {
        const char *text = pick()->text;
        got[i] = text[strlen(text) - 1];
    }
    got[len] = '\0';
    assert_string_equal(got, want);
}

static void weights_are_smooth(void **state)
{
    use("targets: [ { address: \"127.0.0.1:1001\", weight: 5 }, \"127.0.0.1:1002\", "
        "\"127.0.0.1:1003\" ]");

    expect_turns("11213111121311");
}

static void one_is_avoided_where_there_is_another(void **state)
{
    struct gw_endpoint *first, *other;

    use("targets: [ { address: \"127.0.0.1:1001\", weight: 100 }, \"127.0.0.1:1002\" ]");
    first = pick();
    assert_string_equal(first->text, "127.0.0.1:1001");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(gw_upstream_pick(upstream, first, &other), GW_OK);
        assert_string_equal(other->text, "127.0.0.1:1002");
    }
    gw_upstream_unref(upstream);
    unload(&loaded);

    /* Two names of one address are no two. */
    zone = "127.0.0.2";
    use("targets: [ \"a.test:1001\", \"b.test:1001\" ]");
    turn();
    first = pick();
    assert_int_equal(gw_upstream_pick(upstream, first, &other), GW_OK);
    assert_ptr_equal(first, other);
}

static void a_plugins_target_is_taken(void **state)
{
    struct gw_endpoint *endpoint;

    zone = "127.0.0.2 127.0.0.3";
    use("targets: [ \"127.0.0.1:1001\", \"back.test:1002\" ]");
    assert_int_equal(gw_upstream_pick_target(upstream, 1, &endpoint), GW_AGAIN);
    assert_int_equal(gw_upstream_pick_target(upstream, 2, &endpoint), GW_NOT_FOUND);
    turn();
    assert_int_equal(gw_upstream_pick_target(upstream, 0, &endpoint), GW_OK);
    assert_string_equal(endpoint->text, "127.0.0.1:1001");
    /* Its addresses in turn. */
    for (int i = 0; i < 4; i++) {
        assert_int_equal(gw_upstream_pick_target(upstream, 1, &endpoint), GW_OK);
        assert_string_equal(endpoint->text, i % 2 == 0 ? "127.0.0.2:1002" : "127.0.0.3:1002");
    }
}

static void an_unchanged_one_is_kept(void **state)
{
    const char *same = "targets: [ \"127.0.0.1:1001\", \"127.0.0.1:1002\" ]";
    struct gw_upstream *other;
    struct gw_endpoint *endpoint;
    struct loaded again;
    const struct gw_conf_upstream *next;

    use(same);
    next = load_row(&again, same);
    assert_int_equal(gw_upstream_new(set, conf_of(&again), next, upstream, &other, NULL), GW_OK);
    assert_ptr_equal(other, upstream);
    gw_upstream_unref(other);
    unload(&again);

    /* Another one shares the endpoint of the same address, and its pool. */
    next = load_row(&again, "targets: [ \"127.0.0.1:1001\" ]");
    assert_int_equal(gw_upstream_new(set, conf_of(&again), next, upstream, &other, NULL), GW_OK);
    assert_ptr_not_equal(other, upstream);
    assert_int_equal(gw_upstream_pick(other, NULL, &endpoint), GW_OK);
    assert_ptr_equal(endpoint, pick());
    gw_upstream_unref(other);
    unload(&again);
}

/* ---- the pool ---- */

static void last_in_is_first_out(void **state)
{
    struct asked a[3], again;
    struct gw_upstream_stream *order[3];
    struct gw_endpoint *endpoint;
    uint64_t open, idle;

    use_server("");
    endpoint = pick();
    for (int i = 0; i < 3; i++)
        ask(&a[i], endpoint, 0);
    assert_int_equal(served_count, 3);
    for (int i = 0; i < 3; i++) {
        order[i] = a[i].stream;
        give(&a[i]);
    }
    gw_upstream_set_stats(set, &open, &idle);
    assert_int_equal(open, 3);
    assert_int_equal(idle, 3);

    ask(&again, endpoint, 0);
    assert_ptr_equal(again.stream, order[2]);
    assert_true(again.stream->reused);
    ask(&a[0], endpoint, 0);
    assert_ptr_equal(a[0].stream, order[1]);
    gw_upstream_set_stats(set, &open, &idle);
    assert_int_equal(open, 3);
    assert_int_equal(idle, 1);
    give(&again);
    give(&a[0]);
    assert_int_equal(served_count, 3);
}

static void no_more_are_kept_than_idle_conns_max(void **state)
{
    struct asked a[3];

    use_server(", idle_conns_max: 2");
    for (int i = 0; i < 3; i++)
        ask(&a[i], pick(), 0);
    for (int i = 0; i < 3; i++)
        give(&a[i]);
    turn();

    assert_int_equal(pick()->idle_count, 2);
    assert_int_equal(open_count(), 2);
    assert_true(served[2].ended);
}

static void an_idle_one_ends_with_its_peer(void **state)
{
    struct asked a, b;

    use_server("");
    ask(&a, pick(), 0);
    ask(&b, pick(), 0);
    give(&a);
    give(&b);
    gw_io_close(&served[1].io);
    shutdown(served[1].fd, SHUT_RDWR);
    turn();

    assert_int_equal(pick()->idle_count, 1);
    assert_int_equal(pick()->open_count, 1);
    ask(&a, pick(), 0);
    assert_int_equal(served_count, 2);
    give(&a);
}

static void an_idle_one_that_speaks_is_closed(void **state)
{
    struct asked a;

    use_server("");
    ask(&a, pick(), 0);
    give(&a);
    assert_int_equal(send(served[0].fd, "HTTP/1.1 200 OK\r\n\r\n", 19, MSG_NOSIGNAL), 19);
    turn();

    assert_int_equal(pick()->open_count, 0);
    assert_true(served[0].ended);
}

static void an_idle_one_ends_after_idle_timeout(void **state)
{
    struct asked a;

    use_server(", idle_timeout: 3s");
    ask(&a, pick(), 0);
    give(&a);
    gw_loop_advance(loop, 2900);
    turn();
    assert_int_equal(pick()->idle_count, 1);
    gw_loop_advance(loop, 200);
    turn();

    assert_int_equal(pick()->idle_count, 0);
    assert_int_equal(open_count(), 0);
}

static void only_a_fresh_one_may_be_wanted(void **state)
{
    struct asked a, b, c;

    use_server("");
    ask(&a, pick(), 0);
    give(&a);
    gw_loop_advance(loop, 500);
    ask(&b, pick(), 1000);
    assert_int_equal(served_count, 1);
    give(&b);
    gw_loop_advance(loop, 1500);
    ask(&c, pick(), 1000);
    assert_int_equal(served_count, 2);
    assert_false(c.stream->reused);
    give(&c);
    ask(&a, pick(), UINT32_MAX);
    assert_int_equal(served_count, 3);
    give(&a);
}

static void one_ends_after_requests_max(void **state)
{
    struct asked a;

    use_server(", requests_max: 2");
    for (int i = 0; i < 4; i++) {
        ask(&a, pick(), 0);
        give(&a);
        turn();
    }

    assert_int_equal(served_count, 2);
    assert_int_equal(open_count(), 0);
}

static void one_in_use_outlives_its_upstream(void **state)
{
    struct asked a;
    uint64_t open, idle;

    use_server("");
    ask(&a, pick(), 0);
    gw_upstream_unref(upstream);
    upstream = NULL;
    give(&a); /* nobody else knows the endpoint: it is not kept */
    turn();

    gw_upstream_set_stats(set, &open, &idle);
    assert_int_equal(open + idle, 0);
    assert_int_equal(open_count(), 0);
}

/* ---- names ---- */

static unsigned woken;

static void on_wake(struct gw_upstream_wait *wait)
{
    woken++;
}

static void a_name_is_waited_for(void **state)
{
    struct gw_upstream_wait wait = {.fn = on_wake};
    struct gw_endpoint *endpoint;

    woken = 0;
    zone = "127.0.0.2";
    use("targets: [ \"back.test:1001\" ]");
    assert_int_equal(gw_upstream_pick(upstream, NULL, &endpoint), GW_AGAIN);
    gw_upstream_wait(upstream, &wait);
    turn();
    assert_int_equal(woken, 1);
    assert_string_equal(pick()->text, "127.0.0.2:1001");
}

static void a_name_without_address_is_no_target(void **state)
{
    struct gw_upstream_wait wait = {.fn = on_wake};
    struct gw_endpoint *endpoint;

    woken = 0;
    use("targets: [ \"back.test:1001\" ]");
    gw_upstream_wait(upstream, &wait);
    turn();
    assert_int_equal(woken, 1);
    assert_int_equal(gw_upstream_pick(upstream, NULL, &endpoint), GW_DNS);
}

static void the_last_good_addresses_stay(void **state)
{
    zone = "127.0.0.2 127.0.0.3";
    use("targets: [ \"back.test:1001\" ]");
    turn();
    assert_string_equal(pick()->text, "127.0.0.2:1001");

    zone = ""; /* the server fails: for a minute, and an hour */
    for (int i = 0; i < 62; i++) {
        gw_loop_advance(loop, i < 60 ? 1000 : 3600000);
        turn();
        assert_string_equal(pick()->text, i % 2 == 0 ? "127.0.0.3:1001" : "127.0.0.2:1001");
    }

    zone = "127.0.0.4";
    gw_loop_advance(loop, 31000);
    turn();
    assert_string_equal(pick()->text, "127.0.0.4:1001");
}

static void a_refresh_keeps_the_turn(void **state)
{
    zone = "127.0.0.2 127.0.0.3 127.0.0.4";
    use("targets: [ \"back.test:1001\" ]");
    turn();
    assert_string_equal(pick()->text, "127.0.0.2:1001");
    assert_string_equal(pick()->text, "127.0.0.3:1001");
    gw_loop_advance(loop, 6000);
    turn();
    assert_string_equal(pick()->text, "127.0.0.4:1001");
    assert_string_equal(pick()->text, "127.0.0.2:1001");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(weights_are_smooth),
        T(one_is_avoided_where_there_is_another),
        T(a_plugins_target_is_taken),
        T(an_unchanged_one_is_kept),
        T(last_in_is_first_out),
        T(no_more_are_kept_than_idle_conns_max),
        T(an_idle_one_ends_with_its_peer),
        T(an_idle_one_that_speaks_is_closed),
        T(an_idle_one_ends_after_idle_timeout),
        T(only_a_fresh_one_may_be_wanted),
        T(one_ends_after_requests_max),
        T(one_in_use_outlives_its_upstream),
        T(a_name_is_waited_for),
        T(a_name_without_address_is_no_target),
        T(the_last_good_addresses_stay),
        T(a_refresh_keeps_the_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
