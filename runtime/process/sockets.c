#include "process/sockets.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/conn.h"

void gw_sockets_init(struct gw_sockets *sockets)
{
    gw_list_init(&sockets->sets);
    sockets->last_id = 0;
}

void gw_socket_text(const struct sockaddr_storage *address, char *to, size_t size)
{
    char ip[64];

    if (address->ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)address;
        (void)snprintf(to, size, "unix:%.*s", (int)sizeof(un->sun_path), un->sun_path);
        return;
    }
    (void)gw_address_format((const struct sockaddr *)address, ip, sizeof(ip));
    (void)snprintf(to, size, address->ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip,
                   (unsigned)gw_address_port((const struct sockaddr *)address));
}

static void port_set(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons(port);
}

static bool port_is_ours_to_choose(const struct sockaddr_storage *address)
{
    return address->ss_family != AF_UNIX && gw_address_port((const struct sockaddr *)address) == 0;
}

struct gw_socket_set *gw_sockets_find(struct gw_sockets *sockets, const struct gw_conf *conf,
                                      const struct gw_conf_listener *listener)
{
    struct gw_str name = gw_ref_str(conf, listener->name);

    GW_LIST_EACH(pos, &sockets->sets)
    {
        struct gw_socket_set *set = GW_CONTAINER(pos, struct gw_socket_set, link);
        if (set->len == listener->address_len &&
            memcmp(&set->wanted, &listener->address, set->len) == 0 &&
            (!port_is_ours_to_choose(&set->wanted) || gw_str_eq(gw_str_c(set->name), name)))
            return set;
    }
    return NULL;
}

/* ---- making ---- */

static enum gw_rc fail(struct gw_err *err, const struct sockaddr_storage *address, const char *what)
{
    char text[160];
    int saved = errno;

    gw_socket_text(address, text, sizeof(text));
    if (saved == EADDRINUSE)
        return gw_err_set(err, GW_BUSY,
                          "%s is in use by another process: stop it (`ss -ltnp` names it), or "
                          "listen on another address",
                          text);
    if (saved == EACCES && address->ss_family != AF_UNIX)
        return gw_err_set(err, GW_SYSTEM,
                          "%s: ports below 1024 need root, CAP_NET_BIND_SERVICE or another port",
                          text);
    if (saved == EADDRNOTAVAIL)
        return gw_err_set(err, GW_SYSTEM, "%s: this machine has no such address", text);
    return gw_err_set(err, GW_SYSTEM, "%s: %s: %s", text, what, strerror(saved));
}

/* A file that nobody listens behind is left over from a gateway that was killed. */
static enum gw_rc unix_clear(const struct sockaddr_storage *address, socklen_t len,
                             struct gw_err *err)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)address;
    struct stat st;
    int fd, rc;

    if (un->sun_path[0] == '\0' || lstat(un->sun_path, &st) != 0)
        return GW_OK;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return fail(err, address, "there is a file that is not a socket");
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(err, address, "socket");
    rc = connect(fd, (const struct sockaddr *)address, len);
    (void)close(fd);
    if (rc != 0 && errno == ECONNREFUSED) {
        (void)unlink(un->sun_path);
        return GW_OK;
    }
    errno = EADDRINUSE;
    return fail(err, address, "bind");
}

/* Without SO_REUSEPORT a listening socket of anybody else, of our own kind too, is met. */
static enum gw_rc probe(const struct sockaddr_storage *address, socklen_t len, struct gw_err *err)
{
    int one = 1, fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    enum gw_rc rc = GW_OK;

    if (fd < 0)
        return fail(err, address, "socket");
    if (address->ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)address, len) != 0)
        rc = fail(err, address, "bind");
    (void)close(fd);
    return rc;
}

static enum gw_rc socket_bind(const struct sockaddr_storage *address, socklen_t len, int *out,
                              struct gw_err *err)
{
    int one = 1;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    enum gw_rc rc;

    if (fd < 0)
        return fail(err, address, "socket");
    if (address->ss_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0)
        goto fail_after_socket;
    if (address->ss_family != AF_UNIX &&
        (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
         setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0))
        goto fail_after_socket;
    /* What is accepted inherits it: an answer in pieces waits for no acknowledgement. */
    if (address->ss_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)address, len) != 0)
        goto fail_after_socket;
    *out = fd;
    return GW_OK;

fail_after_socket:
    rc = fail(err, address, "bind");
    (void)close(fd);
    return rc;
}

/* Does a socket of ours listen on this port? Then the probe would only meet ourselves. */
static bool port_is_ours(struct gw_sockets *sockets, const struct sockaddr_storage *address)
{
    uint16_t port = gw_address_port((const struct sockaddr *)address);

    GW_LIST_EACH(pos, &sockets->sets)
    {
        struct gw_socket_set *set = GW_CONTAINER(pos, struct gw_socket_set, link);
        if (set->bound.ss_family != AF_UNIX &&
            gw_address_port((const struct sockaddr *)&set->bound) == port)
            return true;
    }
    return false;
}

static enum gw_rc first_bind(struct gw_sockets *sockets, struct gw_socket_set *set,
                             struct gw_err *err)
{
    socklen_t len = sizeof(set->bound);
    enum gw_rc rc = GW_OK;

    if (set->wanted.ss_family == AF_UNIX)
        rc = unix_clear(&set->wanted, set->len, err);
    else if (!port_is_ours_to_choose(&set->wanted) && !port_is_ours(sockets, &set->wanted))
        rc = probe(&set->wanted, set->len, err);
    if (rc == GW_OK)
        rc = socket_bind(&set->wanted, set->len, &set->fds[0], err);
    if (rc != GW_OK)
        return rc;
    set->made = 1;
    set->bound = set->wanted;
    if (port_is_ours_to_choose(&set->wanted)) {
        struct sockaddr_storage got;
        if (getsockname(set->fds[0], (struct sockaddr *)&got, &len) != 0)
            return fail(err, &set->wanted, "getsockname");
        port_set(&set->bound, gw_address_port((const struct sockaddr *)&got));
    }
    return GW_OK;
}

static enum gw_rc set_fill(struct gw_sockets *sockets, struct gw_socket_set *set, uint32_t slots,
                           struct gw_err *err)
{
    enum gw_rc rc = GW_OK;

    if (set->made == 0)
        rc = first_bind(sockets, set, err);
    if (set->wanted.ss_family == AF_UNIX)
        return rc;
    while (rc == GW_OK && set->made < slots) {
        rc = socket_bind(&set->bound, set->len, &set->fds[set->made], err);
        if (rc == GW_OK)
            set->made++;
    }
    return rc;
}

static struct gw_socket_set *set_new(struct gw_sockets *sockets, const struct gw_conf *conf,
                                     const struct gw_conf_listener *listener)
{
    struct gw_str name = gw_ref_str(conf, listener->name);
    struct gw_socket_set *set = calloc(1, sizeof(*set));

    if (set == NULL || (set->name = strndup(name.data, name.len)) == NULL)
        abort();
    set->id = ++sockets->last_id;
    set->wanted = listener->address;
    set->len = listener->address_len;
    gw_list_push_back(&sockets->sets, &set->link);
    return set;
}

enum gw_rc gw_sockets_prepare(struct gw_sockets *sockets, const struct gw_conf *conf,
                              uint32_t slots, struct gw_err *err)
{
    const struct gw_conf_listener *listeners =
        GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    assert(slots >= 1 && slots <= GW_SLOTS_MAX);
    for (uint32_t i = 0; i < conf->listeners.len; i++) {
        struct gw_socket_set *set = gw_sockets_find(sockets, conf, &listeners[i]);
        enum gw_rc rc;
        if (set == NULL)
            set = set_new(sockets, conf, &listeners[i]);
        rc = set_fill(sockets, set, slots, err);
        if (rc != GW_OK) {
            gw_err_prefix(err, "listen: %.*s: ", GW_STR_ARG(gw_ref_str(conf, listeners[i].name)));
            gw_sockets_abort(sockets);
            return rc;
        }
    }
    return GW_OK;
}

enum gw_rc gw_sockets_commit(struct gw_sockets *sockets, const struct gw_conf *conf,
                             struct gw_err *err)
{
    const struct gw_conf_listener *listeners =
        GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    for (uint32_t i = 0; i < conf->listeners.len; i++) {
        struct gw_socket_set *set = gw_sockets_find(sockets, conf, &listeners[i]);
        /* listen() on one that listens already changes its backlog. */
        uint32_t from = set->backlog == listeners[i].backlog ? set->count : 0;
        for (uint32_t slot = from; slot < set->made; slot++)
            if (listen(set->fds[slot], (int)listeners[i].backlog) != 0)
                return fail(err, &set->bound, "listen");
        set->backlog = listeners[i].backlog;
    }
    for (uint32_t i = 0; i < conf->listeners.len; i++) {
        struct gw_socket_set *set = gw_sockets_find(sockets, conf, &listeners[i]);
        set->count = set->made;
    }
    return GW_OK;
}

/* ---- ending ---- */

static void set_cut(struct gw_socket_set *set, uint32_t keep)
{
    while (set->made > keep)
        (void)close(set->fds[--set->made]);
    if (set->count > keep)
        set->count = keep;
}

static void set_free(struct gw_socket_set *set)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&set->bound;

    if (set->bound.ss_family == AF_UNIX && set->made > 0 && un->sun_path[0] != '\0')
        (void)unlink(un->sun_path);
    set_cut(set, 0);
    gw_list_remove(&set->link);
    free(set->name);
    free(set);
}

void gw_sockets_abort(struct gw_sockets *sockets)
{
    GW_LIST_EACH_SAFE(pos, after, &sockets->sets)
    {
        struct gw_socket_set *set = GW_CONTAINER(pos, struct gw_socket_set, link);
        if (set->count == 0)
            set_free(set);
        else
            set_cut(set, set->count);
    }
}

void gw_sockets_close_unused(struct gw_sockets *sockets, const struct gw_conf *conf)
{
    const struct gw_conf_listener *listeners =
        GW_ITEMS(conf, conf->listeners, struct gw_conf_listener);

    GW_LIST_EACH(pos, &sockets->sets) GW_CONTAINER(pos, struct gw_socket_set, link)->used = false;
    for (uint32_t i = 0; i < conf->listeners.len; i++) {
        struct gw_socket_set *set = gw_sockets_find(sockets, conf, &listeners[i]);
        if (set != NULL)
            set->used = true;
    }
    GW_LIST_EACH_SAFE(pos, after, &sockets->sets)
    {
        struct gw_socket_set *set = GW_CONTAINER(pos, struct gw_socket_set, link);
        if (!set->used)
            set_free(set);
    }
}

void gw_sockets_fini(struct gw_sockets *sockets)
{
    while (!gw_list_empty(&sockets->sets))
        set_free(GW_CONTAINER(sockets->sets.next, struct gw_socket_set, link));
}
