/* How it works: c-ares says by on_socket_state() which sockets it has; their events and one
 * timer drive it. An answer may come after its question was given up: the question then has
 * no ask any more, and is only freed. */
#include "net/dns_ask.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/list.h"

#define HOSTS_TTL_MS 5000 /* /etc/hosts has none; it is read again after this */
#define TRIES 2
#define READS_PER_EVENT 64
#define SERVERS_BYTES_MAX 1024

struct gw_dns_question {
    struct gw_dns_ask *ask; /* NULL: forgotten, the answer is dropped */
    enum gw_dns_part part;
};

/* A socket of c-ares. Kept for reuse, so that one may close inside its own event. */
struct wire {
    struct gw_io io;
    struct gw_dns_asker *asker;
    struct wire *next;
    ares_socket_t fd; /* ARES_SOCKET_BAD: free */
    bool writes;
};

struct gw_dns_asker {
    struct gw_loop *loop;
    ares_channel channel;
    bool has_channel;
    uint32_t timeout_ms;
    struct gw_timer timer; /* what c-ares waits for */
    struct gw_later kick;  /* a socket wants to write */
    struct wire *wires;
    uint64_t questions;
};

static void *must(void *mem)
{
    if (mem == NULL)
        abort();
    return mem;
}

/* ---- sockets and time of c-ares ---- */

static void rearm(struct gw_dns_asker *asker)
{
    struct timeval tv, *left = ares_timeout(asker->channel, NULL, &tv);

    if (left == NULL) {
        gw_timer_clear(&asker->timer);
        return;
    }
    /* Rounded up: a timer that is early finds nothing to do. */
    gw_timer_set(asker->loop, &asker->timer,
                 gw_loop_now_ms(asker->loop) + (uint64_t)left->tv_sec * 1000 +
                     (uint64_t)left->tv_usec / 1000 + 1);
}

static void on_timer(struct gw_timer *timer)
{
    struct gw_dns_asker *asker = GW_CONTAINER(timer, struct gw_dns_asker, timer);

    ares_process_fd(asker->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    rearm(asker);
}

/* Events come once for an edge, but c-ares takes only one piece of a TCP stream for a call:
 * it is asked until the socket has nothing left. */
static void on_wire(struct gw_io *io, unsigned what)
{
    struct wire *wire = GW_CONTAINER(io, struct wire, io);
    struct gw_dns_asker *asker = wire->asker;
    ares_socket_t fd = wire->fd;
    int rounds = 0, waiting;

    if ((what & GW_IO_WRITE) && wire->writes)
        ares_process_fd(asker->channel, ARES_SOCKET_BAD, fd);
    while ((what & GW_IO_READ) && wire->fd == fd && rounds++ < READS_PER_EVENT) {
        ares_process_fd(asker->channel, fd, ARES_SOCKET_BAD);
        if (wire->fd != fd || ioctl(fd, FIONREAD, &waiting) != 0 || waiting == 0)
            break;
    }
    if ((what & GW_IO_HANGUP) && wire->fd == fd)
        ares_process_fd(asker->channel, fd, ARES_SOCKET_BAD);
    rearm(asker);
}

static struct wire *wire_of(struct gw_dns_asker *asker, ares_socket_t fd)
{
    for (struct wire *wire = asker->wires; wire != NULL; wire = wire->next)
        if (wire->fd == fd)
            return wire;
    return NULL;
}

static struct wire *wire_open(struct gw_dns_asker *asker, ares_socket_t fd)
{
    struct wire *wire = wire_of(asker, ARES_SOCKET_BAD);

    if (wire == NULL) {
        wire = must(calloc(1, sizeof(*wire)));
        wire->asker = asker;
        wire->next = asker->wires;
        asker->wires = wire;
    }
    /* Without events the question runs into its timeout, which is what it then deserves. */
    if (gw_io_open(&wire->io, asker->loop, fd, on_wire) != GW_OK) {
        wire->fd = ARES_SOCKET_BAD;
        return NULL;
    }
    wire->fd = fd;
    wire->writes = false;
    return wire;
}

static void on_socket_state(void *arg, ares_socket_t fd, int reads, int writes)
{
    struct gw_dns_asker *asker = arg;
    struct wire *wire = wire_of(asker, fd);

    if (!reads && !writes) {
        if (wire != NULL) {
            gw_io_close(&wire->io);
            wire->fd = ARES_SOCKET_BAD;
        }
        return;
    }
    if (wire == NULL && (wire = wire_open(asker, fd)) == NULL)
        return;
    /* Its edge may have come before there was anything to write. */
    if (writes && !wire->writes)
        gw_later(asker->loop, &asker->kick);
    wire->writes = writes != 0;
}

static void on_kick(struct gw_later *later)
{
    struct gw_dns_asker *asker = GW_CONTAINER(later, struct gw_dns_asker, kick);

    for (struct wire *wire = asker->wires; wire != NULL; wire = wire->next)
        if (wire->fd != ARES_SOCKET_BAD && wire->writes)
            ares_process_fd(asker->channel, ARES_SOCKET_BAD, wire->fd);
    rearm(asker);
}

/* ---- answers of c-ares ---- */

static enum gw_rc rc_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return GW_OK;
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
    case ARES_EBADNAME:
        return GW_NOT_FOUND;
    case ARES_ETIMEOUT:
        return GW_TIMEOUT;
    default:
        return GW_DNS;
    }
}

static int parse_v4(struct gw_dns_half *half, const unsigned char *reply, int len)
{
    struct ares_addrttl found[GW_DNS_ADDRESSES_MAX];
    int count = GW_DNS_ADDRESSES_MAX;
    int status = ares_parse_a_reply(reply, len, NULL, found, &count);

    if (status != ARES_SUCCESS)
        return status;
    half->addresses = must(calloc((size_t)count + 1, sizeof(*half->addresses)));
    for (int i = 0; i < count; i++) {
        half->addresses[i].v4.sin_family = AF_INET;
        half->addresses[i].v4.sin_addr = found[i].ipaddr;
        if (found[i].ttl >= 0 && (uint32_t)found[i].ttl < half->ttl_s)
            half->ttl_s = (uint32_t)found[i].ttl;
    }
    half->count = (uint32_t)count;
    return count > 0 ? ARES_SUCCESS : ARES_ENODATA;
}

static int parse_v6(struct gw_dns_half *half, const unsigned char *reply, int len)
{
    struct ares_addr6ttl found[GW_DNS_ADDRESSES_MAX];
    int count = GW_DNS_ADDRESSES_MAX;
    int status = ares_parse_aaaa_reply(reply, len, NULL, found, &count);

    if (status != ARES_SUCCESS)
        return status;
    half->addresses = must(calloc((size_t)count + 1, sizeof(*half->addresses)));
    for (int i = 0; i < count; i++) {
        half->addresses[i].v6.sin6_family = AF_INET6;
        memcpy(&half->addresses[i].v6.sin6_addr, &found[i].ip6addr, 16);
        if (found[i].ttl >= 0 && (uint32_t)found[i].ttl < half->ttl_s)
            half->ttl_s = (uint32_t)found[i].ttl;
    }
    half->count = (uint32_t)count;
    return count > 0 ? ARES_SUCCESS : ARES_ENODATA;
}

static void on_reply(void *arg, int status, int timeouts, unsigned char *reply, int len)
{
    static int (*const parse[GW_DNS_PARTS])(struct gw_dns_half *, const unsigned char *, int) = {
        [GW_DNS_PART_V4] = parse_v4,
        [GW_DNS_PART_V6] = parse_v6,
    };
    struct gw_dns_question *question = arg;
    struct gw_dns_ask *ask = question->ask;
    struct gw_dns_half *half;

    (void)timeouts;
    if (ask == NULL) {
        free(question);
        return;
    }
    half = &ask->halves[question->part];
    half->question = NULL;
    half->ttl_s = UINT32_MAX;
    if (status == ARES_SUCCESS)
        status = parse[question->part](half, reply, len);
    half->rc = rc_of(status);
    free(question);
    if (ask->halves[GW_DNS_PART_V4].question != NULL ||
        ask->halves[GW_DNS_PART_V6].question != NULL)
        return;
    ask->fn(ask);
}

/* ---- asking ---- */

static bool wants(enum gw_dns_family family, enum gw_dns_part part)
{
    return family != (part == GW_DNS_PART_V4 ? GW_DNS_IPV6 : GW_DNS_IPV4);
}

static void half_add(struct gw_dns_half *half, int family, const void *bytes)
{
    union gw_dns_address *address;

    if (half->count >= GW_DNS_ADDRESSES_MAX)
        return;
    half->addresses = must(realloc(half->addresses, (half->count + 1) * sizeof(*half->addresses)));
    address = &half->addresses[half->count++];
    memset(address, 0, sizeof(*address));
    if (family == AF_INET6) {
        address->v6.sin6_family = AF_INET6;
        memcpy(&address->v6.sin6_addr, bytes, 16);
    } else {
        address->v4.sin_family = AF_INET;
        memcpy(&address->v4.sin_addr, bytes, 4);
    }
    half->rc = GW_OK;
}

static bool ask_literal(struct gw_dns_ask *ask, const char *text, enum gw_dns_family family)
{
    static const int families[GW_DNS_PARTS] = {
        [GW_DNS_PART_V4] = AF_INET, [GW_DNS_PART_V6] = AF_INET6};
    unsigned char bytes[16];
    bool literal = false;

    for (unsigned i = 0; i < GW_DNS_PARTS; i++) {
        if (inet_pton(families[i], text, bytes) != 1)
            continue;
        literal = true;
        ask->halves[i].ttl_s = GW_DNS_TTL_MS_MAX / 1000;
        if (wants(family, (enum gw_dns_part)i))
            half_add(&ask->halves[i], families[i], bytes);
    }
    return literal;
}

/* RFC 6761 6.3: never asked on the wire. */
static bool ask_localhost(struct gw_dns_ask *ask, const char *text, enum gw_dns_family family)
{
    struct gw_str name = gw_str_c(text);
    struct in_addr v4 = {.s_addr = htonl(INADDR_LOOPBACK)};

    if (name.len > 0 && name.data[name.len - 1] == '.')
        name.len--;
    if (name.len > 10 && memcmp(name.data + name.len - 10, ".localhost", 10) == 0)
        name = GW_STR("localhost");
    if (!gw_str_eq(name, GW_STR("localhost")))
        return false;
    ask->halves[GW_DNS_PART_V4].ttl_s = ask->halves[GW_DNS_PART_V6].ttl_s =
        GW_DNS_TTL_MS_MAX / 1000;
    if (wants(family, GW_DNS_PART_V4))
        half_add(&ask->halves[GW_DNS_PART_V4], AF_INET, &v4);
    if (wants(family, GW_DNS_PART_V6))
        half_add(&ask->halves[GW_DNS_PART_V6], AF_INET6, &in6addr_loopback);
    return true;
}

/* A name that the file has in one family only is not asked for in the other. */
static bool ask_hosts(struct gw_dns_asker *asker, struct gw_dns_ask *ask, const char *text,
                      enum gw_dns_family family)
{
    static const int families[GW_DNS_PARTS] = {
        [GW_DNS_PART_V4] = AF_INET, [GW_DNS_PART_V6] = AF_INET6};
    bool found = false;

    for (unsigned i = 0; i < GW_DNS_PARTS; i++) {
        struct hostent *host = NULL;
        if (ares_gethostbyname_file(asker->channel, text, families[i], &host) != ARES_SUCCESS)
            continue;
        found = true;
        ask->halves[i].ttl_s = HOSTS_TTL_MS / 1000;
        for (char **at = host->h_addr_list; wants(family, (enum gw_dns_part)i) && *at; at++)
            half_add(&ask->halves[i], families[i], *at);
        ares_free_hostent(host);
    }
    return found;
}

static void ask_servers(struct gw_dns_asker *asker, struct gw_dns_ask *ask, const char *text,
                        enum gw_dns_family family)
{
    static const int types[GW_DNS_PARTS] = {
        [GW_DNS_PART_V4] = ns_t_a, [GW_DNS_PART_V6] = ns_t_aaaa};
    struct gw_dns_question *questions[GW_DNS_PARTS] = {NULL, NULL};

    /* Both stand before the first is sent: c-ares may answer inside the call. */
    for (unsigned i = 0; i < GW_DNS_PARTS; i++) {
        if (!wants(family, (enum gw_dns_part)i))
            continue;
        questions[i] = must(malloc(sizeof(*questions[i])));
        *questions[i] = (struct gw_dns_question){.ask = ask, .part = (enum gw_dns_part)i};
        ask->halves[i].question = questions[i];
    }
    for (unsigned i = 0; i < GW_DNS_PARTS; i++) {
        if (questions[i] == NULL)
            continue;
        asker->questions++;
        ares_search(asker->channel, text, ns_c_in, types[i], on_reply, questions[i]);
    }
    rearm(asker);
}

void gw_dns_ask_init(struct gw_dns_ask *ask, gw_dns_ask_fn fn)
{
    *ask = (struct gw_dns_ask){.fn = fn};
    gw_dns_ask_clear(ask);
}

void gw_dns_ask_clear(struct gw_dns_ask *ask)
{
    for (unsigned i = 0; i < GW_DNS_PARTS; i++) {
        if (ask->halves[i].question != NULL)
            ask->halves[i].question->ask = NULL;
        free(ask->halves[i].addresses);
        ask->halves[i] = (struct gw_dns_half){.rc = GW_NOT_FOUND};
    }
}

void gw_dns_ask_stop(struct gw_dns_ask *ask)
{
    for (unsigned i = 0; i < GW_DNS_PARTS; i++) {
        if (ask->halves[i].question == NULL)
            continue;
        ask->halves[i].question->ask = NULL;
        ask->halves[i].question = NULL;
        ask->halves[i].rc = GW_TIMEOUT;
    }
}

enum gw_rc gw_dns_ask(struct gw_dns_asker *asker, struct gw_dns_ask *ask, const char *name,
                      enum gw_dns_family family)
{
    gw_dns_ask_clear(ask);
    if (ask_literal(ask, name, family) || ask_localhost(ask, name, family) ||
        ask_hosts(asker, ask, name, family))
        return GW_OK;
    ask_servers(asker, ask, name, family);
    return GW_AGAIN;
}

uint64_t gw_dns_asker_questions(const struct gw_dns_asker *asker)
{
    return asker->questions;
}

/* ---- life ---- */

/* "10.0.0.2", "10.0.0.2:53", "::1", "[::1]:53" */
static bool server_valid(struct gw_str server)
{
    char text[64], *host = text, *port = NULL;
    unsigned char bytes[16];
    unsigned long number;

    if (server.len == 0 || server.len >= sizeof(text))
        return false;
    memcpy(text, server.data, server.len);
    text[server.len] = '\0';
    if (text[0] == '[') {
        char *end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return false;
        port = end[1] == ':' ? end + 2 : NULL;
        *end = '\0';
        host = text + 1;
    } else if (strchr(text, ':') != NULL && strchr(text, ':') == strrchr(text, ':')) {
        port = strchr(text, ':') + 1;
        port[-1] = '\0';
    }
    if (inet_pton(AF_INET, host, bytes) != 1 && inet_pton(AF_INET6, host, bytes) != 1)
        return false;
    if (port == NULL)
        return true;
    if (strlen(port) == 0 || strlen(port) > 5 || strspn(port, "0123456789") != strlen(port))
        return false;
    number = strtoul(port, NULL, 10);
    return number > 0 && number <= 65535;
}

static enum gw_rc servers_set(struct gw_dns_asker *asker, const struct gw_str *servers,
                              size_t count, struct gw_err *err)
{
    char csv[SERVERS_BYTES_MAX];
    size_t len = 0;
    int status;

    for (size_t i = 0; i < count; i++) {
        const char *colon = memchr(servers[i].data, ':', servers[i].len);
        /* c-ares would take the end of "::1" for a port, and wants one behind brackets. */
        bool bare_v6 = colon != NULL && servers[i].data[0] != '[' &&
                       memrchr(servers[i].data, ':', servers[i].len) != colon;
        bool no_port = servers[i].len > 0 && servers[i].data[servers[i].len - 1] == ']';
        const char *end = bare_v6 ? "]:53" : no_port ? ":53" : "";
        if (!server_valid(servers[i]))
            return gw_err_set(err, GW_INVALID,
                              "DNS server \"%.*s\": address or address:port expected",
                              GW_STR_ARG(servers[i]));
        if (len + servers[i].len + 8 > sizeof(csv))
            return gw_err_set(err, GW_LIMIT, "too many DNS servers");
        len += (size_t)snprintf(csv + len, sizeof(csv) - len, "%s%s%.*s%s", i > 0 ? "," : "",
                                bare_v6 ? "[" : "", GW_STR_ARG(servers[i]), end);
    }
    status = ares_set_servers_ports_csv(asker->channel, csv);
    if (status != ARES_SUCCESS)
        return gw_err_set(err, GW_DNS, "DNS servers: %s", ares_strerror(status));
    return GW_OK;
}

static enum gw_rc channel_open(struct gw_dns_asker *asker, bool own_servers, struct gw_err *err)
{
    struct ares_options options = {
        .flags = ARES_FLAG_EDNS,
        .ednspsz = 1232,
        .tries = TRIES,
        /* The second try waits twice as long: together they fill the time of a lookup. */
        .timeout = (int)(asker->timeout_ms / 3 > 0 ? asker->timeout_ms / 3 : 1),
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = asker,
        .ndomains = 0,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TRIES | ARES_OPT_TIMEOUTMS |
               ARES_OPT_SOCK_STATE_CB | (own_servers ? ARES_OPT_DOMAINS : 0);
    int status = ares_library_init(ARES_LIB_INIT_ALL);

    if (status != ARES_SUCCESS)
        return gw_err_set(err, GW_DNS, "c-ares: %s", ares_strerror(status));
    status = ares_init_options(&asker->channel, &options, mask);
    if (status != ARES_SUCCESS) {
        ares_library_cleanup();
        return gw_err_set(err, GW_DNS, "c-ares: %s", ares_strerror(status));
    }
    asker->has_channel = true;
    return GW_OK;
}

enum gw_rc gw_dns_asker_new(struct gw_loop *loop, const struct gw_str *servers, size_t count,
                            uint32_t timeout_ms, struct gw_dns_asker **out, struct gw_err *err)
{
    struct gw_dns_asker *asker = must(calloc(1, sizeof(*asker)));
    enum gw_rc rc;

    asker->loop = loop;
    asker->timeout_ms = timeout_ms;
    gw_timer_init(&asker->timer, on_timer);
    gw_later_init(&asker->kick, on_kick);
    rc = channel_open(asker, count > 0, err);
    if (rc == GW_OK && count > 0)
        rc = servers_set(asker, servers, count, err);
    if (rc != GW_OK) {
        gw_dns_asker_free(asker);
        return rc;
    }
    *out = asker;
    return GW_OK;
}

void gw_dns_asker_free(struct gw_dns_asker *asker)
{
    if (asker == NULL)
        return;
    gw_timer_fini(asker->loop, &asker->timer);
    if (asker->has_channel) {
        ares_destroy(asker->channel); /* closes its sockets, through on_socket_state() */
        ares_library_cleanup();
    }
    gw_later_cancel(&asker->kick);
    while (asker->wires != NULL) {
        struct wire *next = asker->wires->next;
        gw_io_close(&asker->wires->io);
        free(asker->wires);
        asker->wires = next;
    }
    free(asker);
}
