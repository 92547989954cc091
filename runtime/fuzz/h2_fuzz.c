/* HTTP/2: bytes into a connection with a live user, over a socket. The first byte says how the
 * user behaves; the second whether the rest is raw, or rows of (type, flags, stream, length,
 * payload) that become frames. Whatever comes: no field ends a line, each request is told its
 * end once, and nothing is left when the connection has gone.
 * Sources: http/h2_head.c http/h2.c http/h2_stream.c http/h2_memory.c
 * Sources: http/h2_server.c http/h1.c
 * Sources: http/h1_server.c http/h1_server_read.c http/h1_server_write.c http/chunk.c
 * Sources: http/proxy_protocol.c http/head.c http/head_find.c http/opinion.c http/message.c
 * Sources: http/uri.c http/ws.c http/files.c http/files_body.c http/mime.c
 * Sources: http/conditional.c net/conn.c net/loop.c net/threads.c net/tls.c net/tls_server.c
 * Sources: net/tls_client.c net/tls_peer.c net/tls_files.c base/arena.c base/base64.c
 * Sources: base/buf.c base/cidr.c base/crypto.c base/keccak.c base/err.c
 * Sources: base/hash.c base/log.c base/rc.c
 * Sources: base/time.c
 * Libraries: nghttp2 event_core http_parser ssl crypto pthread */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "http/h1.h"
#include "http/h2.h"

enum { ANSWER, ECHO, AT_THE_END, LONG, RESET, SILENT, BEHAVIOURS, TUNNEL };

struct ask {
    struct gw_stream_request incoming;
    struct gw_arena arena;
    struct gw_request request;
    struct gw_response response;
    uint8_t how;
    bool answered, ended, over;
    unsigned left; /* pieces of a long answer */
};

static struct gw_loop *loop;
static struct gw_h1 *h1;
static unsigned asked, open_asks, closed, freed;
static uint8_t behaviour;
static char long_piece[20000];

static void ask_over(struct ask *ask)
{
    MUST(!ask->over);
    ask->over = true;
    open_asks--;
    gw_arena_fini(&ask->arena);
    free(ask);
}

static void respond(struct ask *ask, struct gw_str body, bool end)
{
    struct gw_stream *down = ask->incoming.stream;

    if (ask->answered)
        return;
    ask->answered = true;
    gw_fields_init(&ask->response.fields, &ask->arena);
    gw_fields_add(&ask->response.fields, GW_STR("X-Fuzz"), GW_STR("yes"));
    ask->response.status = 200;
    ask->response.has_body = true;
    ask->response.length = GW_LENGTH_UNKNOWN;
    down->ops->send_response(down, &ask->response);
    down->ops->send_body(down, body);
    if (end)
        down->ops->send_end(down, NULL);
}

static void send_long(struct ask *ask)
{
    struct gw_stream *down = ask->incoming.stream;

    while (ask->left > 0 && !down->ops->blocked(down)) {
        down->ops->send_body(down, gw_str(long_piece, sizeof(long_piece)));
        if (--ask->left == 0)
            down->ops->send_end(down, NULL);
    }
}

static void on_body(struct gw_stream *stream, struct gw_str piece)
{
    struct ask *ask = stream->user;

    MUST(!ask->ended && !ask->over);
    if (ask->how == TUNNEL)
        stream->ops->send_body(stream, piece);
    if (ask->how == ECHO) {
        respond(ask, GW_STR(""), false);
        stream->ops->send_body(stream, piece);
        if (piece.len % 3 == 0)
            stream->ops->pause(stream);
    }
}

static void on_end(struct gw_stream *stream, struct gw_fields *trailers)
{
    struct ask *ask = stream->user;

    MUST(!ask->ended && !ask->over);
    ask->ended = true;
    for (uint32_t i = 0; trailers != NULL && i < trailers->count; i++)
        MUST(gw_field_value_valid(trailers->items[i].value));
    if (ask->how == AT_THE_END)
        respond(ask, GW_STR("at the end"), true);
    if (ask->how == TUNNEL)
        stream->ops->send_end(stream, NULL);
    if (ask->how == ECHO) {
        respond(ask, GW_STR(""), false);
        stream->ops->send_end(stream, trailers);
    }
}

static void on_fault(struct gw_stream *stream, uint16_t status, const char *why)
{
    struct ask *ask = stream->user;

    MUST(status >= 400 && why != NULL && !ask->over);
    if (ask->answered) {
        stream->ops->reset(stream);
        ask_over(ask);
        return;
    }
    respond(ask, gw_str_c(why), true);
}

static void on_blocked(struct gw_stream *stream)
{
    MUST(!((struct ask *)stream->user)->over);
}

static void on_drained(struct gw_stream *stream)
{
    struct ask *ask = stream->user;

    MUST(!ask->over);
    if (ask->how == LONG)
        send_long(ask);
}

static void on_sent(struct gw_stream *stream)
{
    ask_over(stream->user);
}

static void on_reset(struct gw_stream *stream, enum gw_rc rc, const char *why)
{
    MUST(rc != GW_OK && why != NULL);
    ask_over(stream->user);
}

static const struct gw_stream_events events = {
    .on_body = on_body,
    .on_end = on_end,
    .on_fault = on_fault,
    .on_blocked = on_blocked,
    .on_drained = on_drained,
    .on_sent = on_sent,
    .on_reset = on_reset,
};

static struct gw_stream_request *on_request_new(struct gw_client_conn *conn)
{
    struct ask *ask;

    if (behaviour & 0x40 && asked % 3 == 2) {
        asked++;
        return NULL;
    }
    ask = calloc(1, sizeof(*ask));
    gw_arena_init(&ask->arena);
    ask->incoming.arena = &ask->arena;
    ask->incoming.request = &ask->request;
    ask->how = (uint8_t)((behaviour + asked++) % BEHAVIOURS);
    open_asks++;
    return &ask->incoming;
}

static void judge(const struct gw_request *request)
{
    MUST(request->target.len > 0 && (request->major == 1 || request->major == 2));
    MUST(gw_str_eq(request->target, GW_STR("*")) || request->host.len > 0 || request->minor == 0);
    for (size_t i = 0; i < request->target.len; i++)
        MUST(request->target.data[i] > ' ' && request->target.data[i] < 0x7f);
    for (uint32_t i = 0; i < request->fields.count; i++) {
        MUST(gw_field_name_valid(request->fields.items[i].name));
        MUST(gw_field_value_valid(request->fields.items[i].value));
    }
}

static void on_request(struct gw_client_conn *conn, struct gw_stream_request *incoming,
                       uint16_t status, const char *why)
{
    struct ask *ask = (struct ask *)incoming;
    struct gw_stream *stream = incoming->stream;

    stream->events = &events;
    stream->user = ask;
    MUST(status == 0 || (status >= 400 && why != NULL));
    if (status != 0) {
        respond(ask, gw_str_c(why), true);
        return;
    }
    judge(&ask->request);
    if (incoming->head.upgrade && ask->how != ANSWER) {
        ask->how = TUNNEL;
        ask->answered = true;
        gw_fields_init(&ask->response.fields, &ask->arena);
        gw_fields_add(&ask->response.fields, GW_STR("Sec-WebSocket-Accept"), GW_STR("x"));
        ask->response.status = 101;
        stream->ops->send_response(stream, &ask->response);
        stream->ops->raw(stream);
        stream->ops->resume(stream);
        return;
    }
    if (!ask->request.has_body && (ask->how == AT_THE_END || ask->how == ECHO))
        ask->how = ANSWER;
    if (ask->how == LONG) {
        ask->left = 20;
        respond(ask, GW_STR("long"), false);
        send_long(ask);
    } else if (ask->how == ANSWER) {
        respond(ask, GW_STR("answer"), true);
    } else if (ask->how == RESET) {
        stream->ops->reset(stream);
        ask_over(ask);
    } else if (ask->how != SILENT) {
        stream->ops->resume(stream);
    }
}

static bool on_peer(struct gw_client_conn *conn)
{
    return true;
}

static void on_closed(struct gw_client_conn *conn)
{
    gw_list_remove(&conn->link);
    closed++;
}

static void on_freed(struct gw_client_conn *conn)
{
    freed++;
}

static const struct gw_client_user user = {.on_request_new = on_request_new,
                                           .on_request = on_request,
                                           .on_peer = on_peer,
                                           .on_closed = on_closed,
                                           .on_freed = on_freed};

static struct gw_client_limits limits = {
    .head = {.header_bytes_max = 4096, .header_count_max = 20, .uri_bytes_max = 200},
    .header_timeout_ms = 1000,
    .body_timeout_ms = 1000,
    .send_timeout_ms = 1000,
    .idle_timeout_ms = 1000,
    .requests_max = 50,
    .age_max_ms = 5000,
    .buffer_bytes_max = 32768,
    .half_close_timeout_ms = 1000,
    .http2 = true,
};

/* What the gateway says is read, so that it may go on. False: it has closed. */
static void drain(int fd)
{
    static char drop[65536];

    for (int i = 0; i < 4; i++)
        gw_loop_turn(loop, 0);
    while (recv(fd, drop, sizeof(drop), MSG_DONTWAIT) > 0)
        gw_loop_turn(loop, 0);
}

static void say(int fd, const void *data, size_t len)
{
    if (send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EPIPE)
        drain(fd);
    drain(fd);
}

static void say_frames(int fd, const uint8_t *data, size_t size)
{
    uint8_t frame[9 + 255] = {0};

    while (size >= 4) {
        size_t len = data[3] < size - 4 ? data[3] : size - 4;
        frame[2] = (uint8_t)len;
        frame[3] = data[0] % 10;
        frame[4] = data[1];
        frame[8] = data[2];
        memcpy(frame + 9, data + 4, len);
        say(fd, frame, 9 + len);
        data += 4 + len;
        size -= 4 + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sockaddr peer = {.sa_family = AF_UNIX};
    struct gw_client_conn *conn;
    struct gw_list all;
    int fd[2];

    if (size < 2)
        return 0;
    if (loop == NULL)
        MUST(gw_loop_new(&loop) == GW_OK && gw_h1_new(loop, &h1) == GW_OK);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0);
    behaviour = data[0];
    asked = open_asks = closed = freed = 0;
    conn = gw_h1_server_new(h1, fd[0], &user, &limits, &peer, NULL);
    MUST(conn != NULL);
    gw_list_init(&all);
    gw_list_push_back(&all, &conn->link);
    say(fd[1], GW_H2_PREFACE, GW_H2_PREFACE_LEN);
    if (data[1] % 2 == 0)
        say(fd[1], data + 2, size - 2);
    else
        say_frames(fd[1], data + 2, size - 2);
    if (behaviour & 0x80 && !gw_list_empty(&all)) {
        conn = GW_CONTAINER(all.next, struct gw_client_conn, link);
        conn->ops->drain(conn);
    }
    for (int i = 0; i < 6; i++) {
        gw_loop_advance(loop, 700);
        drain(fd[1]);
    }
    (void)close(fd[1]);
    drain(-1);
    for (int i = 0; i < 8 && freed == 0; i++) {
        gw_loop_advance(loop, 3000);
        drain(-1);
    }
    MUST(closed == 1 && freed == 1 && open_asks == 0);
    return 0;
}
