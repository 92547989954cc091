#include "script/lib_spec.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <lauxlib.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/loop.h"
#include "script/lib.h"
#include "script/task.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define TYPE "moongate spec descriptor"
#define READ_BYTES_MAX GW_LOOP_BUFFER_BYTES
#define WAIT_SECONDS_MAX 3600.0

enum side_id { SIDE_READ, SIDE_WRITE, SIDES };

struct spec_fd;

/* One task may wait to read while another waits to write. */
struct side {
    struct gw_wait wait;
    struct gw_timer timer;
    struct spec_fd *owner;
    bool ready; /* what the waiting call will return */
};

/* Owner: the userdata that points here; an open one is also held by the registry, so that
 * Lua cannot collect what a task waits for. `busy` keeps the memory while we are inside. */
struct spec_fd {
    struct gw_io io;
    struct gw_loop *loop;
    struct gw_later later; /* it was closed while somebody waits */
    struct side sides[SIDES];
    int fd; /* -1: closed */
    int ref;
    uint32_t busy;
    bool collected;
};

/* ---- life ---- */

static void fd_release(struct spec_fd *s)
{
    if (--s->busy > 0 || !s->collected)
        return;
    gw_timer_fini(s->loop, &s->sides[SIDE_READ].timer);
    gw_timer_fini(s->loop, &s->sides[SIDE_WRITE].timer);
    free(s);
}

static int push_ready(lua_State *L, void *arg)
{
    const struct side *side = arg;

    lua_pushboolean(L, side->ready);
    return 1;
}

static void wake(struct side *side, bool ready)
{
    gw_timer_clear(&side->timer);
    side->ready = ready;
    gw_task_wake(&side->wait, push_ready, side);
}

/* A wake may run code that closes and forgets the descriptor. */
static void on_event(struct gw_io *io, unsigned what)
{
    struct spec_fd *s = GW_CONTAINER(io, struct spec_fd, io);

    s->busy++;
    if ((what & (GW_IO_READ | GW_IO_HANGUP)) != 0)
        wake(&s->sides[SIDE_READ], true);
    if ((what & (GW_IO_WRITE | GW_IO_HANGUP)) != 0)
        wake(&s->sides[SIDE_WRITE], true);
    fd_release(s);
}

static void on_timeout(struct gw_timer *timer)
{
    struct side *side = GW_CONTAINER(timer, struct side, timer);
    struct spec_fd *s = side->owner;

    s->busy++;
    wake(side, false);
    fd_release(s);
}

/* Closed by one task while another waits: that one goes on, and finds it closed. */
static void on_later(struct gw_later *later)
{
    struct spec_fd *s = GW_CONTAINER(later, struct spec_fd, later);

    wake(&s->sides[SIDE_READ], true);
    wake(&s->sides[SIDE_WRITE], true);
    fd_release(s);
}

static void fd_close(lua_State *L, struct spec_fd *s)
{
    if (s->fd < 0)
        return;
    gw_io_close(&s->io);
    (void)close(s->fd);
    s->fd = -1;
    luaL_unref(L, LUA_REGISTRYINDEX, s->ref);
    if (s->sides[SIDE_READ].wait.task != NULL || s->sides[SIDE_WRITE].wait.task != NULL) {
        s->busy++;
        gw_later(s->loop, &s->later);
    }
}

static int fd_gc(lua_State *L)
{
    struct spec_fd **at = luaL_checkudata(L, 1, TYPE);
    struct spec_fd *s = *at;

    if (s == NULL)
        return 0;
    *at = NULL;
    fd_close(L, s);
    /* The VM ends: nobody waits any more, and the loop makes no further turn. */
    if (!gw_list_empty(&s->later.link) && s->sides[SIDE_READ].wait.task == NULL &&
        s->sides[SIDE_WRITE].wait.task == NULL) {
        gw_later_cancel(&s->later);
        s->busy--;
    }
    s->collected = true;
    s->busy++;
    fd_release(s);
    return 0;
}

void gw_lib_spec_push_fd(lua_State *L, int fd)
{
    struct gw_loop *loop = gw_vm_loop(gw_vm_of(L));
    struct spec_fd **at = lua_newuserdata(L, sizeof(struct spec_fd *));
    struct spec_fd *s;

    *at = NULL;
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        abort();
    s->loop = loop;
    s->fd = -1;
    gw_later_init(&s->later, on_later);
    for (int i = 0; i < SIDES; i++) {
        s->sides[i].owner = s;
        gw_timer_init(&s->sides[i].timer, on_timeout);
    }
    *at = s;
    if (gw_io_open(&s->io, loop, fd, on_event) != GW_OK) {
        (void)close(fd);
        luaL_error(L, "the event loop refuses a descriptor: %s", strerror(errno));
    }
    s->fd = fd;
    lua_pushvalue(L, -1);
    s->ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static struct spec_fd *check_fd(lua_State *L)
{
    struct spec_fd **at = luaL_checkudata(L, 1, TYPE);

    return *at;
}

/* nil, "again" | "eof" | "reset" | "closed" | a text of the system [-0, +2] */
static int fail(lua_State *L, int error)
{
    const char *text = error == EAGAIN                         ? "again"
                       : error == ECONNRESET || error == EPIPE ? "reset"
                       : error == EBADF                        ? "closed"
                                                               : strerror(error);

    lua_pushnil(L);
    lua_pushstring(L, text);
    return 2;
}

/* ---- using it ---- */

/* fd:read([bytes]) -> text | nil, "again" | "eof" | … */
static int fd_read(lua_State *L)
{
    struct spec_fd *s = check_fd(L);
    double wanted = luaL_optnumber(L, 2, READ_BYTES_MAX);
    char *to = gw_loop_buffer(s->loop);
    ssize_t got;

    luaL_argcheck(L, wanted >= 1, 2, "at least one byte must be asked for");
    if (s->fd < 0)
        return fail(L, EBADF);
    do
        got = read(s->fd, to, wanted < READ_BYTES_MAX ? (size_t)wanted : READ_BYTES_MAX);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return fail(L, errno);
    if (got == 0) {
        lua_pushnil(L);
        lua_pushliteral(L, "eof");
        return 2;
    }
    lua_pushlstring(L, to, (size_t)got);
    return 1;
}

/* fd:write(text, from) -> bytes written, counted from position `from` (1: the first) | nil, why */
static int fd_write(lua_State *L)
{
    struct spec_fd *s = check_fd(L);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    size_t from = (size_t)luaL_optnumber(L, 3, 1);
    ssize_t sent;

    luaL_argcheck(L, from >= 1 && from <= len + 1, 3, "a position in the text expected");
    if (s->fd < 0)
        return fail(L, EBADF);
    if (from == len + 1) {
        lua_pushnumber(L, 0);
        return 1;
    }
    do
        sent = write(s->fd, data + from - 1, len - from + 1);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return fail(L, errno);
    lua_pushnumber(L, (double)sent);
    return 1;
}

static void wait_cancel(struct gw_wait *wait)
{
    gw_timer_clear(&GW_CONTAINER(wait, struct side, wait)->timer);
}

/* fd:wait("r" | "w", seconds) -> true: something happened, or it is closed; false: too late */
static int fd_wait(lua_State *L)
{
    static const char *const names[] = {"r", "w", NULL};
    struct spec_fd *s = check_fd(L);
    struct side *side = &s->sides[luaL_checkoption(L, 2, NULL, names)];
    double seconds = luaL_checknumber(L, 3);

    luaL_argcheck(L, seconds >= 0 && seconds <= WAIT_SECONDS_MAX, 3,
                  "seconds from 0 to 3600 expected");
    gw_lib_check(L, "wait", GW_IN_SPEC);
    if (side->wait.task != NULL)
        return luaL_error(L, "another task waits for this descriptor already");
    if (s->fd < 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    gw_timer_set(s->loop, &side->timer, gw_loop_now_ms(s->loop) + (uint64_t)ceil(seconds * 1000));
    return gw_task_wait(L, &side->wait, wait_cancel);
}

/* fd:accept() -> fd | nil, "again" */
static int fd_accept(lua_State *L)
{
    struct spec_fd *s = check_fd(L);
    int fd;

    if (s->fd < 0)
        return fail(L, EBADF);
    fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return fail(L, errno == ECONNABORTED || errno == EINTR ? EAGAIN : errno);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    gw_lib_spec_push_fd(L, fd);
    return 1;
}

/* fd:failed() -> nil | why a connection could not be made */
static int fd_failed(lua_State *L)
{
    struct spec_fd *s = check_fd(L);
    int error = 0;
    socklen_t len = sizeof(error);

    if (s->fd >= 0 && getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0)
        return 0;
    lua_pushstring(L, strerror(error));
    return 1;
}

/* fd:half_close(): no more from us */
static int fd_half_close(lua_State *L)
{
    struct spec_fd *s = check_fd(L);

    if (s->fd >= 0)
        (void)shutdown(s->fd, SHUT_WR);
    return 0;
}

/* fd:close([reset]); reset: the peer gets RST instead of FIN */
static int fd_close_it(lua_State *L)
{
    struct spec_fd *s = check_fd(L);
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (s->fd >= 0 && lua_toboolean(L, 2))
        (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    fd_close(L, s);
    return 0;
}

static int fd_is_open(lua_State *L)
{
    lua_pushboolean(L, check_fd(L)->fd >= 0);
    return 1;
}

/* fd:buffers(send, receive): small ones make a slow peer of a fast one */
static int fd_buffers(lua_State *L)
{
    struct spec_fd *s = check_fd(L);
    int send_bytes = (int)luaL_optinteger(L, 2, 0), receive_bytes = (int)luaL_optinteger(L, 3, 0);

    if (s->fd >= 0 && send_bytes > 0)
        (void)setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(int));
    if (s->fd >= 0 && receive_bytes > 0)
        (void)setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(int));
    return 0;
}

static uint16_t port_of(int fd, bool peer)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } address = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof(address);

    if ((peer ? getpeername(fd, &address.any, &len) : getsockname(fd, &address.any, &len)) != 0)
        return 0;
    if (address.any.sa_family == AF_INET)
        return ntohs(address.v4.sin_port);
    return address.any.sa_family == AF_INET6 ? ntohs(address.v6.sin6_port) : 0;
}

/* fd:port() -> our port, the peer's */
static int fd_port(lua_State *L)
{
    struct spec_fd *s = check_fd(L);

    if (s->fd < 0)
        return fail(L, EBADF);
    lua_pushinteger(L, port_of(s->fd, false));
    lua_pushinteger(L, port_of(s->fd, true));
    return 2;
}

/* ---- making one ---- */

/* "127.0.0.1", "::1", or "unix:/path"; the caller's mistake raises. */
static socklen_t check_address(lua_State *L, struct sockaddr_storage *to)
{
    const char *host = luaL_checkstring(L, 1);
    uint16_t port = (uint16_t)luaL_optinteger(L, 2, 0);
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)to;
    struct sockaddr_un *local = (struct sockaddr_un *)(void *)to;

    memset(to, 0, sizeof(*to));
    if (strncmp(host, "unix:", 5) == 0) {
        local->sun_family = AF_UNIX;
        if (strlen(host + 5) >= sizeof(local->sun_path))
            luaL_argerror(L, 1, "the path of a unix socket has at most 107 bytes");
        memcpy(local->sun_path, host + 5, strlen(host + 5) + 1);
        return sizeof(*local);
    }
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof(*v4);
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
        luaL_argerror(L, 1, "an address expected, or unix:PATH");
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return sizeof(*v6);
}

/* connect(address, port) -> fd, on its way: wait("w"), then failed() | nil, why */
static int spec_connect(lua_State *L)
{
    struct sockaddr_storage address;
    socklen_t len = check_address(L, &address);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fail(L, errno);
    if (address.ss_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(fd, (struct sockaddr *)&address, len) != 0 && errno != EINPROGRESS) {
        int error = errno;
        (void)close(fd);
        lua_pushnil(L);
        lua_pushstring(L, strerror(error));
        return 2;
    }
    gw_lib_spec_push_fd(L, fd);
    return 1;
}

/* listen(address, port, backlog) -> fd | nil, why */
static int spec_listen(lua_State *L)
{
    struct sockaddr_storage address;
    socklen_t len = check_address(L, &address);
    int backlog = (int)luaL_optinteger(L, 3, 512);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fail(L, errno);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, backlog) != 0) {
        int error = errno;
        (void)close(fd);
        return fail(L, error);
    }
    gw_lib_spec_push_fd(L, fd);
    return 1;
}

/* ---- tasks ---- */

struct start {
    struct gw_later later;
    struct gw_task *task;
    int args;
};

static void task_done(struct gw_task *task, enum gw_task_rc rc, void *arg)
{
    gw_task_end(task);
}

static void task_start(struct gw_later *later)
{
    struct start *start = GW_CONTAINER(later, struct start, later);
    struct gw_task *task = start->task;
    int args = start->args;

    free(start);
    if (gw_task_resume(task, args) != GW_TASK_WAITS)
        gw_task_end(task);
}

/* go(f, …): runs it beside the caller, from the end of this turn on */
static int spec_go(lua_State *L)
{
    struct gw_vm *vm = gw_vm_of(L);
    struct start *start;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    start = calloc(1, sizeof(*start));
    if (start == NULL)
        abort();
    start->args = lua_gettop(L) - 1;
    start->task = gw_task_new(vm, GW_IN_SPEC, NULL, task_done, NULL);
    lua_xmove(L, gw_task_thread(start->task), start->args + 1);
    gw_later_init(&start->later, task_start);
    gw_later(gw_vm_loop(vm), &start->later);
    return 0;
}

/* advance(seconds): the clocks of this loop go forward; what is due then runs. */
static int spec_advance(lua_State *L)
{
    double seconds = luaL_checknumber(L, 1);

    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 1, "seconds from 0 to 1e9 expected");
    gw_loop_advance(gw_vm_loop(gw_vm_of(L)), (uint64_t)ceil(seconds * 1000));
    return 0;
}

/* ---- folders ---- */

/* folder() -> path of a new one, below $TMPDIR or /tmp */
static int spec_folder(lua_State *L)
{
    const char *base = getenv("TMPDIR");
    char path[256];

    if (snprintf(path, sizeof(path), "%s/moongate-spec-XXXXXX",
                 base != NULL && *base != '\0' ? base : "/tmp") >= (int)sizeof(path))
        return luaL_error(L, "TMPDIR is too long");
    if (mkdtemp(path) == NULL)
        return luaL_error(L, "%s: %s", path, strerror(errno));
    lua_pushstring(L, path);
    return 1;
}

/* mkdir(path): with the folders above it */
static int spec_mkdir(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    char part[1024];

    for (const char *at = strchr(path + 1, '/');; at = strchr(at + 1, '/')) {
        size_t len = at != NULL ? (size_t)(at - path) : strlen(path);
        if (len >= sizeof(part))
            return luaL_error(L, "%s: too long", path);
        memcpy(part, path, len);
        part[len] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return luaL_error(L, "%s: %s", part, strerror(errno));
        if (at == NULL)
            return 0;
    }
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)remove(path);
    return 0;
}

/* remove(path): with all that is in it; only what spec_folder() has made */
static int spec_remove(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);

    luaL_argcheck(L, strstr(path, "/moongate-spec-") != NULL, 1, "not a folder of a spec");
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

/* entries(path) -> list of names, sorted by nobody | nil, why */
static int spec_entries(lua_State *L)
{
    DIR *dir = opendir(luaL_checkstring(L, 1));
    struct dirent *entry;
    int n = 0;

    if (dir == NULL)
        return fail(L, errno);
    lua_newtable(L);
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        lua_pushstring(L, entry->d_name);
        lua_rawseti(L, -2, ++n);
    }
    (void)closedir(dir);
    return 1;
}

/* kind(path) -> "file" | "folder" | nil */
static int spec_kind(lua_State *L)
{
    struct stat st;

    if (stat(luaL_checkstring(L, 1), &st) != 0)
        return 0;
    lua_pushstring(L, S_ISDIR(st.st_mode) ? "folder" : "file");
    return 1;
}

/* cwd() -> the folder that relative paths mean */
static int spec_cwd(lua_State *L)
{
    char path[4096];

    if (getcwd(path, sizeof(path)) == NULL)
        return luaL_error(L, "the current folder: %s", strerror(errno));
    lua_pushstring(L, path);
    return 1;
}

/* chmod(path, mode) */
static int spec_chmod(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);

    if (chmod(path, (mode_t)luaL_checkinteger(L, 2)) != 0)
        return luaL_error(L, "%s: %s", path, strerror(errno));
    return 0;
}

/* ---- opening ---- */

static const luaL_Reg methods[] = {
    {"read", fd_read},
    {"write", fd_write},
    {"wait", fd_wait},
    {"accept", fd_accept},
    {"failed", fd_failed},
    {"half_close", fd_half_close},
    {"close", fd_close_it},
    {"is_open", fd_is_open},
    {"buffers", fd_buffers},
    {"port", fd_port},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"connect", spec_connect}, {"listen", spec_listen},   {"go", spec_go},
    {"advance", spec_advance}, {"folder", spec_folder},   {"mkdir", spec_mkdir},
    {"remove", spec_remove},   {"entries", spec_entries}, {"kind", spec_kind},
    {"chmod", spec_chmod},     {"cwd", spec_cwd},         {NULL, NULL},
};

void gw_lib_spec_open(lua_State *L, struct gw_vm *vm)
{
    luaL_newmetatable(L, TYPE);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, fd_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushboolean(L, SANITIZED);
    lua_setfield(L, -2, "sanitized");
    gw_lib_spec_process_open(L);
    gw_lib_spec_plugin_open(L);
}
