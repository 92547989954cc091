/* How a WebSocket ends: each side has to have got a Close and to have sent one, or to be gone, or
 * to have broken the rules (then it is heard no more). When both are through, both streams are
 * ended; a deadline (websocket_close_timeout) stands behind all of that.
 * A Close of ours to one side waits until no frame towards it is half sent; a polite one, until
 * no message is. */
#include "proxy/ws.h"

#include "base/crypto.h"
#include "base/log.h"
#include "http/ws.h"
#include "proxy/exchange_private.h"

#define PING_TEXT "moongate"

struct peer {
    struct gw_ws_reader reader; /* of what it sends */
    struct gw_buf message;      /* being joined, for plugins */
    struct gw_buf pending;      /* it came while nobody could take it */
    struct gw_buf out;          /* frames of ours to it */
    uint64_t heard_ms;
    uint64_t pinged_ms;
    uint16_t close_code; /* that it is to get, when it can be said */
    bool close_polite;
    bool close_sent, close_came;
    bool deaf; /* what it sends is not read any more */
    bool gone; /* it sends nothing any more */
    bool dead; /* nothing can be sent to it */
    bool blocked;
    bool pinged; /* and it has not answered */
};

struct gw_ws_tunnel {
    struct peer peers[2];
    struct gw_ws_message message;
    enum gw_ws_side waiting_from;
    const char *close_reason;
    char reason[GW_WS_REASON_MAX + 1];
    bool messages; /* plugins see them */
    bool waiting;  /* a plugin waits */
    bool closing;
    bool over;
};

static enum gw_ws_side other(enum gw_ws_side side)
{
    return side == GW_WS_CLIENT ? GW_WS_UPSTREAM : GW_WS_CLIENT;
}

static struct gw_stream *stream_of(struct exchange *ex, enum gw_ws_side side)
{
    if (side == GW_WS_CLIENT)
        return ex->incoming.stream;
    return ex->client != NULL ? &ex->client->stream : NULL;
}

static uint64_t now_of(const struct exchange *ex)
{
    return gw_loop_now_ms(ex->proxy->loop);
}

/* ---- the handshake ---- */

static bool has_protocol(struct gw_str list, struct gw_str wanted)
{
    struct gw_str item, name;

    while (gw_ws_extension_next(&list, &item, &name))
        if (gw_str_eq_nocase(item, wanted))
            return true;
    return false;
}

#define DEFLATE GW_STR("permessage-deflate")
#define EXTENSIONS GW_STR("Sec-WebSocket-Extensions")

/* Frames of an extension that we do not know could not be followed; and messages that plugins
 * are to read must not be compressed: such offers are not made to the upstream. */
static void filter_offers(struct exchange *ex)
{
    struct gw_fields *fields = &ex->pub.request.fields;
    bool shown = (exchange_phases(ex) & 1u << GW_PHASE_MESSAGE) != 0;
    struct gw_str list, item, name;
    struct gw_buf kept = GW_BUF_INIT;

    if (!gw_fields_get(fields, EXTENSIONS, &list))
        return;
    while (!shown && gw_ws_extension_next(&list, &item, &name)) {
        if (!gw_str_eq_nocase(name, DEFLATE))
            continue;
        if (gw_buf_len(&kept) > 0)
            gw_buf_add_str(&kept, GW_STR(", "));
        gw_buf_add_str(&kept, item);
    }
    if (gw_buf_len(&kept) > 0)
        gw_fields_set(fields, EXTENSIONS, gw_arena_dup(&ex->pub.arena, gw_buf_str(&kept)));
    else
        (void)gw_fields_remove(fields, EXTENSIONS);
    gw_buf_fini(&kept);
}

uint16_t ws_request(struct exchange *ex, const char **why)
{
    struct gw_fields *fields = &ex->pub.request.fields;
    struct gw_str value;

    if (!has_protocol(ex->upgrade, GW_STR("websocket")))
        return 0;
    ex->upgrade = GW_STR("websocket");
    ex->websocket = true;
    if (ex->pub.request.method_id != GW_METHOD_GET) {
        *why = "A WebSocket begins with a GET.";
        return 400;
    }
    if (!gw_fields_get(fields, GW_STR("Sec-WebSocket-Version"), &value) ||
        !gw_str_eq(value, GW_STR("13"))) {
        *why = "Sec-WebSocket-Version has to be 13.";
        return 426;
    }
    if (!gw_fields_get(fields, GW_STR("Sec-WebSocket-Key"), &value) || !gw_ws_key_valid(value)) {
        *why = "Sec-WebSocket-Key has to be 16 bytes in base64.";
        return 400;
    }
    filter_offers(ex);
    return 0;
}

const char *ws_answer(struct exchange *ex)
{
    const struct gw_fields *fields = &ex->pub.response.fields;
    char accept[GW_WS_ACCEPT_LEN];
    struct gw_str key, value, item, name;

    if (!gw_fields_get(fields, GW_STR("Upgrade"), &value) ||
        !gw_str_eq_nocase(value, GW_STR("websocket")))
        return "upstream switched to another protocol than asked for";
    /* A plugin of a retry may have touched it; it was good when the request came. */
    if (!gw_fields_get(&ex->pub.request.fields, GW_STR("Sec-WebSocket-Key"), &key) ||
        key.len != GW_WS_KEY_LEN || gw_ws_accept(key, accept) != GW_OK)
        return "there is no Sec-WebSocket-Key to judge the answer by";
    if (!gw_fields_get(fields, GW_STR("Sec-WebSocket-Accept"), &value) ||
        !gw_str_eq(value, gw_str(accept, sizeof(accept))))
        return "upstream's Sec-WebSocket-Accept does not fit the key";
    if (!gw_fields_get(fields, EXTENSIONS, &value))
        return NULL;
    while (gw_ws_extension_next(&value, &item, &name)) {
        if (ex->websocket_deflate || !gw_str_eq_nocase(name, DEFLATE) ||
            !gw_fields_get(&ex->pub.request.fields, EXTENSIONS, &key))
            return "upstream accepted a WebSocket extension that was not offered";
        ex->websocket_deflate = true;
    }
    return NULL;
}

/* ---- sending ---- */

/* Hands frames of ours to the stream; they leave now, so that the buffer can be used again. */
static void push(struct exchange *ex, enum gw_ws_side to)
{
    struct peer *peer = &ex->ws->peers[to];
    struct gw_stream *stream = stream_of(ex, to);

    if (gw_buf_len(&peer->out) == 0)
        return;
    if (stream != NULL && !peer->dead) {
        stream->ops->send_body(stream, gw_buf_str(&peer->out));
        stream->ops->flush(stream);
    }
    gw_buf_clear(&peer->out);
}

/* One that is silent holds no memory: what a burst needed goes with its end. */
static void relax(struct gw_ws_tunnel *ws)
{
    for (int side = 0; side < 2; side++) {
        if (gw_buf_len(&ws->peers[side].out) == 0)
            gw_buf_fini(&ws->peers[side].out);
        if (gw_buf_len(&ws->peers[side].message) == 0)
            gw_buf_fini(&ws->peers[side].message);
    }
}

/* The client's bytes out are the answer's body, in the log too. */
static void count_out(struct exchange *ex, enum gw_ws_side to, size_t bytes)
{
    if (to == GW_WS_CLIENT)
        ex->pub.bytes_out += bytes;
}

static void write_frame(struct exchange *ex, enum gw_ws_side to, enum gw_ws_opcode opcode,
                        struct gw_str payload)
{
    struct peer *peer = &ex->ws->peers[to];
    size_t before = gw_buf_len(&peer->out);

    gw_ws_write(&peer->out, opcode, payload, to == GW_WS_UPSTREAM);
    count_out(ex, to, gw_buf_len(&peer->out) - before);
}

static bool settled(const struct peer *peer)
{
    return peer->dead || (peer->close_sent && (peer->close_came || peer->deaf || peer->gone));
}

/* Both have nothing more to say: the last thing that a caller does. */
static void check_over(struct exchange *ex)
{
    struct gw_ws_tunnel *ws = ex->ws;

    if (ws->over || !settled(&ws->peers[0]) || !settled(&ws->peers[1]))
        return;
    ws->over = true;
    for (int side = 0; side < 2; side++) {
        struct gw_stream *stream = stream_of(ex, side);
        /* What still comes is dropped; who is paused would never be seen to end. */
        if (stream != NULL)
            stream->ops->resume(stream);
        if (stream != NULL && (side == GW_WS_CLIENT || !ws->peers[side].dead))
            stream->ops->send_end(stream, NULL);
    }
}

static void begin_closing(struct exchange *ex)
{
    struct gw_ws_tunnel *ws = ex->ws;

    if (ws->closing)
        return;
    ws->closing = true;
    ex->try_due_ms = GW_NEVER;
    ex->total_due_ms = now_of(ex) + ex->limits->websocket_close_ms;
    exchange_timer(ex);
}

/* Says the Close that this side is to get, if it can be said now. */
static void try_close(struct exchange *ex, enum gw_ws_side to)
{
    struct gw_ws_tunnel *ws = ex->ws;
    struct peer *peer = &ws->peers[to];
    const struct gw_ws_reader *reader = &ws->peers[other(to)].reader;
    size_t before;

    if (peer->close_code == 0 || peer->close_sent || peer->dead)
        return;
    /* Messages that plugins see leave whole: only the one that waits is under way. */
    if (ws->messages
            ? peer->close_polite && ws->waiting
            : !(peer->close_polite ? gw_ws_between_messages(reader) : gw_ws_between_frames(reader)))
        return;
    before = gw_buf_len(&peer->out);
    gw_ws_write_close(&peer->out, peer->close_code, gw_str_c(ws->close_reason),
                      to == GW_WS_UPSTREAM);
    count_out(ex, to, gw_buf_len(&peer->out) - before);
    peer->close_sent = true;
    push(ex, to);
}

static void flow(struct exchange *ex);

static void want_close(struct exchange *ex, enum gw_ws_side to, uint16_t code, bool polite)
{
    struct peer *peer = &ex->ws->peers[to];

    if (peer->close_sent || (peer->close_code != 0 && !(peer->close_polite && !polite)))
        return;
    peer->close_code = code;
    peer->close_polite = polite;
}

static void close_both(struct exchange *ex, uint16_t client, uint16_t upstream, bool polite,
                       const char *why)
{
    if (ex->ws->close_reason == NULL)
        ex->ws->close_reason = why;
    want_close(ex, GW_WS_CLIENT, client, polite);
    want_close(ex, GW_WS_UPSTREAM, upstream, polite);
    begin_closing(ex);
    try_close(ex, GW_WS_CLIENT);
    try_close(ex, GW_WS_UPSTREAM);
}

void ws_go_away(struct exchange *ex, const char *why)
{
    if (ex->ws->closing)
        return;
    close_both(ex, GW_WS_GOING_AWAY, GW_WS_GOING_AWAY, true, why);
    check_over(ex);
}

/* `side` has broken a rule: it is told which, and heard no more. */
static void fail(struct exchange *ex, enum gw_ws_side side, uint16_t code, const char *why)
{
    uint16_t its_peer = side == GW_WS_CLIENT ? GW_WS_GOING_AWAY : GW_WS_INTERNAL_ERROR;

    gw_info("%.*s: websocket: the %s sent %s", GW_STR_ARG(gw_exchange_id(&ex->pub)),
            side == GW_WS_CLIENT ? "client" : "upstream", why);
    ex->ws->peers[side].deaf = true;
    gw_buf_fini(&ex->ws->peers[side].message);
    if (ex->pub.error == NULL)
        ex->pub.error = why;
    close_both(ex, side == GW_WS_CLIENT ? code : its_peer, side == GW_WS_CLIENT ? its_peer : code,
               false, why);
    flow(ex);
}

/* ---- messages that plugins see ---- */

static void plugin_failed(struct exchange *ex)
{
    if (ex->pub.error == NULL)
        ex->pub.error = "a plugin failed";
    close_both(ex, GW_WS_INTERNAL_ERROR, GW_WS_INTERNAL_ERROR, false, "internal error");
}

/* What the plugins made of a message. */
static void apply(struct exchange *ex, enum gw_ws_side from, enum gw_phase_rc rc)
{
    struct gw_ws_tunnel *ws = ex->ws;
    struct gw_ws_message *message = &ws->message;
    enum gw_ws_side to = other(from);
    struct peer *peer = &ws->peers[to];

    if (rc == GW_PHASE_ANSWERED) {
        size_t len = message->close_reason.len < GW_WS_REASON_MAX ? message->close_reason.len
                                                                  : GW_WS_REASON_MAX;
        if (len > 0)
            memcpy(ws->reason, message->close_reason.data, len);
        ws->reason[len] = '\0';
        close_both(ex, message->close_code, message->close_code, false, ws->reason);
    } else if (rc != GW_PHASE_NEXT) {
        plugin_failed(ex);
    } else if (!message->dropped && !peer->close_sent && !peer->dead) {
        write_frame(ex, to, message->text ? GW_WS_TEXT : GW_WS_BINARY,
                    message->changed ? gw_buf_str(&message->out) : message->data);
    }
    gw_buf_fini(&message->out);
    gw_buf_clear(&ws->peers[from].message);
}

/* A whole message. False: a plugin waits. */
static bool deliver(struct exchange *ex, enum gw_ws_side from, bool text)
{
    const struct gw_hooks *hooks = ex->proxy->hooks;
    struct gw_ws_tunnel *ws = ex->ws;
    enum gw_phase_rc rc;

    ws->message = (struct gw_ws_message){.from_upstream = from == GW_WS_UPSTREAM,
                                         .text = text,
                                         .data = gw_buf_str(&ws->peers[from].message)};
    ws->waiting = true; /* a Close that the plugin brings about stands behind the message */
    rc = hooks->message(hooks->self, &ex->pub, &ws->message);
    if (rc == GW_PHASE_WAIT) {
        ws->waiting_from = from;
        ex->waiting_phase = GW_PHASE_MESSAGE;
        return false;
    }
    ws->waiting = false;
    apply(ex, from, rc);
    return true;
}

/* ---- following the frames ---- */

/* Wire bytes that follow each other leave as one slice. */
struct run {
    struct gw_str bytes;
    bool kept; /* some are the reader's own: they have to leave before it reads on */
};

static void run_send(struct exchange *ex, enum gw_ws_side to, struct run *run)
{
    struct gw_stream *stream = stream_of(ex, to);

    if (run->bytes.len > 0 && stream != NULL && !ex->ws->peers[to].dead) {
        stream->ops->send_body(stream, run->bytes);
        count_out(ex, to, run->bytes.len);
    }
    run->bytes = GW_STR_NULL;
}

static void run_add(struct exchange *ex, enum gw_ws_side from, struct run *run,
                    const struct gw_ws_event *event)
{
    const struct gw_ws_tunnel *ws = ex->ws;
    const struct peer *peer = &ws->peers[from];
    enum gw_ws_side to = other(from);

    if (ws->peers[to].close_sent)
        return;
    if (event->wire.data == peer->reader.whole)
        run->kept = true;
    if (run->bytes.len > 0 && run->bytes.data + run->bytes.len == event->wire.data) {
        run->bytes.len += event->wire.len;
        return;
    }
    run_send(ex, to, run);
    run->bytes = event->wire;
}

/* True: it goes on to the other side. */
static bool control(struct exchange *ex, enum gw_ws_side from, const struct gw_ws_event *event)
{
    struct gw_ws_tunnel *ws = ex->ws;
    struct peer *peer = &ws->peers[from], *to = &ws->peers[other(from)];

    if (event->opcode == GW_WS_PONG && peer->pinged_ms != 0 &&
        gw_str_eq(event->data, GW_STR(PING_TEXT)))
        return false; /* the answer to our own */
    if (event->opcode == GW_WS_CLOSE)
        peer->close_came = true;
    return !to->close_sent && !to->dead;
}

static void close_passed(struct exchange *ex, enum gw_ws_side from)
{
    ex->ws->peers[other(from)].close_sent = true;
    begin_closing(ex);
}

/* One event of a side whose frames only pass. */
static void pass(struct exchange *ex, enum gw_ws_side from, struct run *run,
                 const struct gw_ws_event *event)
{
    enum gw_ws_side to = other(from);

    if (event->what != GW_WS_CONTROL || control(ex, from, event))
        run_add(ex, from, run, event);
    if (event->what == GW_WS_CONTROL && event->opcode == GW_WS_CLOSE)
        close_passed(ex, from);
    if (event->frame_end && ex->ws->peers[to].close_code != 0) {
        run_send(ex, to, run);
        try_close(ex, to);
    }
}

/* One event of a side whose messages plugins see. False: a plugin waits. */
static bool gather(struct exchange *ex, enum gw_ws_side from, const struct gw_ws_event *event)
{
    struct gw_ws_tunnel *ws = ex->ws;
    struct peer *peer = &ws->peers[from], *to = &ws->peers[other(from)];

    if (event->what == GW_WS_CONTROL) {
        if (control(ex, from, event)) {
            gw_buf_add_str(&to->out, event->wire);
            count_out(ex, other(from), event->wire.len);
        }
        if (event->opcode == GW_WS_CLOSE)
            close_passed(ex, from);
        return true;
    }
    if ((event->what == GW_WS_PAYLOAD || event->message_end) &&
        gw_ws_take(&peer->reader, event, &peer->message) != GW_OK) {
        fail(ex, from, peer->reader.code, peer->reader.why);
        return true;
    }
    if (!event->message_end || to->close_sent)
        return true;
    return deliver(ex, from, event->text);
}

static void stash(struct peer *peer, struct gw_str rest)
{
    if (rest.len > 0)
        gw_buf_add_str(&peer->pending, rest);
}

/* Can bytes of this side be worked on? */
static bool takes(const struct gw_ws_tunnel *ws, enum gw_ws_side from)
{
    return !ws->messages || (!ws->waiting && !ws->peers[other(from)].blocked);
}

static void follow(struct exchange *ex, enum gw_ws_side from, struct gw_str in)
{
    struct gw_ws_tunnel *ws = ex->ws;
    struct peer *peer = &ws->peers[from];
    enum gw_ws_side to = other(from);
    struct run run = {GW_STR_NULL, false};
    struct gw_ws_event event;

    while (!peer->deaf && takes(ws, from) && gw_ws_read(&peer->reader, &in, &event) != GW_WS_MORE) {
        if (event.what == GW_WS_FAULT) {
            run_send(ex, to, &run);
            fail(ex, from, peer->reader.code, peer->reader.why);
        } else if (!ws->messages) {
            pass(ex, from, &run, &event);
        } else if (gather(ex, from, &event) &&
                   gw_buf_len(&ws->peers[to].out) >= ex->limits->buffer_bytes_max) {
            push(ex, to);
        }
    }
    if (!peer->deaf)
        stash(peer, in);
    run_send(ex, to, &run);
    if (run.kept && stream_of(ex, to) != NULL)
        gw_stream_flush(stream_of(ex, to));
    if (ws->messages) {
        push(ex, GW_WS_CLIENT);
        push(ex, GW_WS_UPSTREAM);
        relax(ws);
    }
}

/* Who may send? Called after anything that can change it. */
static void flow(struct exchange *ex)
{
    struct gw_ws_tunnel *ws = ex->ws;

    for (int side = 0; side < 2; side++) {
        struct gw_stream *stream = stream_of(ex, side);
        const struct peer *peer = &ws->peers[side];
        if (stream == NULL)
            continue;
        if (ws->over || peer->deaf ||
            (!ws->waiting && !ws->peers[other(side)].blocked && gw_buf_len(&peer->pending) == 0))
            stream->ops->resume(stream);
        else
            stream->ops->pause(stream);
    }
}

/* Works off what has come while nobody could take it. */
static void go_on(struct exchange *ex)
{
    struct gw_ws_tunnel *ws = ex->ws;
    bool more = true;

    while (more) {
        more = false;
        for (int side = 0; side < 2; side++) {
            struct peer *peer = &ws->peers[side];
            struct gw_buf pending = peer->pending;
            if (gw_buf_len(&pending) == 0 || !takes(ws, side))
                continue;
            peer->pending = GW_BUF_INIT;
            follow(ex, side, gw_buf_str(&pending));
            gw_buf_fini(&pending);
            more = true;
        }
    }
    flow(ex);
    check_over(ex);
}

void ws_data(struct exchange *ex, enum gw_ws_side from, struct gw_str piece)
{
    struct gw_ws_tunnel *ws = ex->ws;
    struct peer *peer = &ws->peers[from];

    peer->heard_ms = now_of(ex);
    peer->pinged = false;
    if (ws->over || peer->deaf)
        return;
    if (!takes(ws, from) || gw_buf_len(&peer->pending) > 0) {
        stash(peer, piece);
        return;
    }
    follow(ex, from, piece);
    if (ws->messages)
        flow(ex);
    check_over(ex);
}

void ws_resumed(struct exchange *ex, enum gw_phase_rc rc)
{
    struct gw_ws_tunnel *ws = ex->ws;

    ws->waiting = false;
    apply(ex, ws->waiting_from, rc);
    try_close(ex, GW_WS_CLIENT);
    try_close(ex, GW_WS_UPSTREAM);
    push(ex, GW_WS_CLIENT);
    push(ex, GW_WS_UPSTREAM);
    relax(ws);
    go_on(ex);
}

void ws_blocked(struct exchange *ex, enum gw_ws_side side)
{
    ex->ws->peers[side].blocked = true;
    flow(ex);
}

void ws_drained(struct exchange *ex, enum gw_ws_side side)
{
    ex->ws->peers[side].blocked = false;
    go_on(ex);
}

void ws_ended(struct exchange *ex, enum gw_ws_side side, bool dead)
{
    struct gw_ws_tunnel *ws = ex->ws;
    struct peer *peer = &ws->peers[side];
    bool lost = !peer->close_came && !ws->over;

    peer->gone = true;
    /* WebSockets have no half-closed state: who ends without a Close does not listen. */
    peer->dead = peer->dead || dead || lost;
    if (lost && side == GW_WS_CLIENT) {
        /* Nobody is left to wait for what the upstream might say to its Close. */
        exchange_abort(ex, "the client is gone");
        return;
    }
    if (lost) {
        if (ex->pub.error == NULL)
            ex->pub.error = "the upstream is gone";
        close_both(ex, GW_WS_INTERNAL_ERROR, GW_WS_GOING_AWAY, false, "the upstream is gone");
    }
    check_over(ex);
}

/* ---- time ---- */

/* When to look again: lazily, so that a message costs no timer. */
static void set_timer(struct exchange *ex)
{
    const struct gw_conf_limits *limits = ex->limits;
    const struct peer *peers = ex->ws->peers;
    uint64_t heard = peers[0].heard_ms > peers[1].heard_ms ? peers[0].heard_ms : peers[1].heard_ms;
    uint64_t due = limits->websocket_idle_ms > 0 ? heard + limits->websocket_idle_ms : GW_NEVER;

    for (int side = 0; side < 2 && limits->websocket_ping_ms > 0; side++) {
        uint64_t from = peers[side].heard_ms > peers[side].pinged_ms ? peers[side].heard_ms
                                                                     : peers[side].pinged_ms;
        if (from + limits->websocket_ping_ms < due)
            due = from + limits->websocket_ping_ms;
    }
    ex->try_due_ms = due;
    exchange_timer(ex);
}

/* False: it answers no more. */
static bool ping(struct exchange *ex, enum gw_ws_side side, uint64_t now)
{
    struct peer *peer = &ex->ws->peers[side];
    uint32_t every = ex->limits->websocket_ping_ms;

    if (every == 0 || now < peer->heard_ms + every || now < peer->pinged_ms + every)
        return true;
    if (peer->pinged)
        return false;
    if (!ex->ws->messages && !gw_ws_between_frames(&ex->ws->peers[other(side)].reader))
        return true; /* a frame is under way: that is sign of life enough */
    peer->pinged = true;
    peer->pinged_ms = now;
    write_frame(ex, side, GW_WS_PING, GW_STR(PING_TEXT));
    push(ex, side);
    return true;
}

static void look(struct exchange *ex)
{
    static const char *const silent[] = {"the client answers no ping",
                                         "the upstream answers no ping"};
    struct gw_ws_tunnel *ws = ex->ws;
    uint64_t now = now_of(ex), heard;

    /* While we do not read, silence is ours: plugins and slow readers have times of their own. */
    for (int side = 0; side < 2; side++)
        if (ws->waiting || ws->peers[other(side)].blocked)
            ws->peers[side].heard_ms = now;
    for (int side = 0; side < 2; side++) {
        if (ping(ex, side, now))
            continue;
        if (ex->pub.error == NULL)
            ex->pub.error = silent[side];
        ws->peers[side].gone = ws->peers[side].dead = true;
        close_both(ex, GW_WS_INTERNAL_ERROR, GW_WS_GOING_AWAY, false, silent[side]);
        check_over(ex);
        return;
    }
    heard = ws->peers[0].heard_ms > ws->peers[1].heard_ms ? ws->peers[0].heard_ms
                                                          : ws->peers[1].heard_ms;
    if (ex->limits->websocket_idle_ms > 0 && now >= heard + ex->limits->websocket_idle_ms)
        ws_go_away(ex, "idle for too long");
    else
        set_timer(ex);
}

void ws_timeout(struct exchange *ex)
{
    struct gw_ws_tunnel *ws = ex->ws;
    uint64_t now = now_of(ex);

    if (ex->total_due_ms > now) {
        if (ex->try_due_ms <= now)
            look(ex);
        else
            exchange_timer(ex);
        return;
    }
    if (!ws->closing) {
        ws_go_away(ex, "its time is over");
        return;
    }
    ex->total_due_ms = GW_NEVER;
    if (ws->over) {
        exchange_end(ex); /* all was said; only the ends of the connections have not come */
        return;
    }
    exchange_abort(ex, ex->pub.error != NULL ? ex->pub.error : "no Close came in time");
}

/* ---- life ---- */

/* Spread by a tenth to both sides, so that a crowd does not come back at once. */
static uint64_t spread(uint64_t ms)
{
    uint32_t chance;

    gw_random(&chance, sizeof(chance));
    return ms - ms / 10 + chance % (ms / 5 + 1);
}

void ws_start(struct exchange *ex)
{
    const struct gw_conf_limits *limits = ex->limits;
    struct gw_ws_tunnel *ws = gw_arena_zalloc(&ex->pub.arena, sizeof(*ws));
    uint64_t now = now_of(ex), bytes_max = limits->websocket_message_bytes_max, due;

    ex->ws = ws;
    ws->messages = ex->proxy->hooks != NULL && (exchange_phases(ex) & 1u << GW_PHASE_MESSAGE) != 0;
    if (ws->messages && bytes_max > limits->body_buffer_bytes_max)
        bytes_max = limits->body_buffer_bytes_max;
    for (int side = 0; side < 2; side++) {
        ws->peers[side].reader =
            (struct gw_ws_reader){.frame_bytes_max = limits->websocket_frame_bytes_max,
                                  .message_bytes_max = bytes_max,
                                  .from_client = side == GW_WS_CLIENT,
                                  .deflate = ex->websocket_deflate};
        ws->peers[side].heard_ms = now;
    }
    ex->proxy->stats.websockets++;
    ex->proxy->stats.websockets_total++;
    if (limits->websocket_age_max_ms > 0)
        ex->total_due_ms = now + spread(limits->websocket_age_max_ms);
    if (limits->age_max_ms > 0 && (due = now + spread(limits->age_max_ms)) < ex->total_due_ms)
        ex->total_due_ms = due;
    set_timer(ex);
    if (ex->proxy->draining)
        ws_go_away(ex, "the gateway stops");
}

void ws_finish(struct exchange *ex)
{
    struct gw_ws_tunnel *ws = ex->ws;

    ws->waiting = false;
    if (!ws->peers[GW_WS_UPSTREAM].close_sent) {
        if (ws->close_reason == NULL)
            ws->close_reason = "the client is gone";
        want_close(ex, GW_WS_UPSTREAM, GW_WS_GOING_AWAY, false);
        try_close(ex, GW_WS_UPSTREAM);
    }
    for (int side = 0; side < 2; side++) {
        ex->proxy->stats.websocket_messages_total += ws->peers[side].reader.messages;
        gw_buf_fini(&ws->peers[side].message);
        gw_buf_fini(&ws->peers[side].pending);
        gw_buf_fini(&ws->peers[side].out);
    }
    gw_buf_fini(&ws->message.out);
    ex->proxy->stats.websockets--;
    ex->ws = NULL;
}
