#include "process/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#define SEND_TIMEOUT_MS 10000
#define OUT_BYTES_MAX (8u << 20)

struct client {
    struct gw_list link;
    struct gw_control *control;
    struct gw_io io;
    struct gw_timer timer; /* set while something waits to be sent */
    uint64_t id;
    int fd;
    bool ended;     /* it sends no more: closed when the last answer has left */
    uint32_t asked; /* requests without an answer yet */
    struct gw_buf in;
    struct gw_buf out;
};

struct gw_control {
    struct gw_loop *loop;
    struct gw_io io;
    struct gw_list clients;
    uint32_t clients_count;
    uint64_t last_id;
    int fd;
    int lock_fd;
    char *path;
    gw_control_fn fn;
    void *arg;
};

/* ---- the path ---- */

static int by_path(int fd, const char *path, int (*call)(int, const struct sockaddr *, socklen_t))
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *slash = strrchr(path, '/');
    char *dir;
    int dir_fd, rc, saved;

    if (strlen(path) < sizeof(un.sun_path)) {
        memcpy(un.sun_path, path, strlen(path) + 1);
        return call(fd, (const struct sockaddr *)&un, sizeof(un));
    }
    if (slash == NULL) {
        errno = ENAMETOOLONG;
        return -1;
    }
    dir = strndup(path, (size_t)(slash - path) + 1);
    dir_fd = dir != NULL ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    free(dir);
    if (dir_fd < 0)
        return -1;
    if (snprintf(un.sun_path, sizeof(un.sun_path), "/proc/self/fd/%d%s", dir_fd, slash) >=
        (int)sizeof(un.sun_path)) {
        errno = ENAMETOOLONG;
        rc = -1;
    } else {
        rc = call(fd, (const struct sockaddr *)&un, sizeof(un));
    }
    saved = errno;
    (void)close(dir_fd);
    errno = saved;
    return rc;
}

int gw_control_bind(int fd, const char *path)
{
    return by_path(fd, path, bind);
}

int gw_control_connect(int fd, const char *path)
{
    return by_path(fd, path, connect);
}

static enum gw_rc folder_make(const char *path, struct gw_err *err)
{
    char *dir = strdup(path), *slash;
    enum gw_rc rc = GW_OK;

    if (dir == NULL)
        abort();
    slash = strrchr(dir, '/');
    if (slash != NULL && slash != dir) {
        *slash = '\0';
        if (mkdir(dir, 0750) != 0 && errno != EEXIST)
            rc = gw_err_set(err, GW_SYSTEM,
                            "control: the folder %s cannot be made: %s (`control:` in the conf "
                            "names another place)",
                            dir, strerror(errno));
    }
    free(dir);
    return rc;
}

enum gw_rc gw_control_lock(const char *path, int *lock_fd, struct gw_err *err)
{
    char text[32] = "";
    char *name;
    int fd;
    enum gw_rc rc = folder_make(path, err);

    if (rc != GW_OK)
        return rc;
    if (asprintf(&name, "%s.lock", path) < 0)
        abort();
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        rc = gw_err_set(err, GW_SYSTEM, "control: %s: %s", name, strerror(errno));
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
        text[got > 0 ? (size_t)got : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        rc = gw_err_set(err, GW_BUSY,
                        "a gateway runs already with the control socket %s (pid %s): stop it, or "
                        "reload it with `moongate reload`; `control:` in the conf gives a second "
                        "one a socket of its own",
                        path, text[0] != '\0' ? text : "unknown");
        (void)close(fd);
    } else {
        int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
        /* Only for the message above; the lock itself is what counts. */
        if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len)
            gw_warn("control: %s: %s", name, strerror(errno));
        *lock_fd = fd;
    }
    free(name);
    return rc;
}

/* ---- clients ---- */

static void client_close(struct client *client)
{
    struct gw_control *control = client->control;

    gw_io_close(&client->io);
    gw_timer_fini(control->loop, &client->timer);
    (void)close(client->fd);
    gw_buf_fini(&client->in);
    gw_buf_fini(&client->out);
    gw_list_remove(&client->link);
    control->clients_count--;
    free(client);
}

/* May close it. */
static void client_send(struct client *client)
{
    while (gw_buf_len(&client->out) > 0) {
        struct gw_str out = gw_buf_str(&client->out);
        ssize_t sent = send(client->fd, out.data, out.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            if (client->timer.due_ms == GW_NEVER)
                gw_timer_set(client->control->loop, &client->timer,
                             gw_loop_now_ms(client->control->loop) + SEND_TIMEOUT_MS);
            return;
        }
        if (sent < 0) {
            client_close(client);
            return;
        }
        gw_buf_consume(&client->out, (size_t)sent);
    }
    gw_timer_clear(&client->timer);
    if (client->ended && client->asked == 0)
        client_close(client);
}

static struct client *client_find(struct gw_control *control, uint64_t id)
{
    GW_LIST_EACH(pos, &control->clients)
    {
        struct client *client = GW_CONTAINER(pos, struct client, link);
        if (client->id == id)
            return client;
    }
    return NULL;
}

void gw_control_answer(struct gw_control *control, uint64_t id, struct gw_str json)
{
    struct client *client = control != NULL ? client_find(control, id) : NULL;

    if (client == NULL)
        return;
    if (client->asked > 0)
        client->asked--;
    if (gw_buf_len(&client->out) + json.len > OUT_BYTES_MAX) {
        client_close(client);
        return;
    }
    gw_buf_add_str(&client->out, json);
    gw_buf_add(&client->out, "\n", 1);
    client_send(client);
}

void gw_control_refuse(struct gw_control *control, uint64_t id, const char *text)
{
    struct gw_buf buf = GW_BUF_INIT;
    struct gw_json_writer writer;

    gw_json_begin(&writer, &buf);
    gw_json_object(&writer);
    gw_json_key(&writer, "ok");
    gw_json_bool(&writer, false);
    gw_json_key(&writer, "error");
    gw_json_text(&writer, text);
    gw_json_object_end(&writer);
    gw_control_answer(control, id, gw_buf_str(&buf));
    gw_buf_fini(&buf);
}

static void handle_line(struct client *client, struct gw_str line)
{
    struct gw_control *control = client->control;
    uint64_t id = client->id;
    struct gw_json *request = NULL;
    struct gw_str command;
    struct gw_err err;

    client->asked++;
    if (gw_json_parse(line, &request, &err) != GW_OK) {
        gw_err_prefix(&err, "not a JSON object: ");
        gw_control_refuse(control, id, err.text);
        return;
    }
    command = gw_json_get_str(gw_json_get(request, "command"), GW_STR_NULL);
    if (command.len == 0)
        gw_control_refuse(control, id, "\"command\" is missing");
    else
        control->fn(control->arg, id, command, request);
    gw_json_free(request);
}

/* Handles the whole lines; `id` because a client may be closed by its own answer. */
static void handle_lines(struct gw_control *control, uint64_t id)
{
    struct client *client;

    while ((client = client_find(control, id)) != NULL) {
        struct gw_str in = gw_buf_str(&client->in);
        const char *end = in.len > 0 ? memchr(in.data, '\n', in.len) : NULL;
        char line[GW_CONTROL_LINE_MAX + 1];
        size_t len;
        if (end == NULL && in.len > GW_CONTROL_LINE_MAX) {
            client_close(client);
            return;
        }
        if (end == NULL)
            return;
        len = (size_t)(end - in.data);
        if (len > GW_CONTROL_LINE_MAX) {
            client_close(client);
            return;
        }
        memcpy(line, in.data, len);
        gw_buf_consume(&client->in, len + 1);
        handle_line(client, gw_str(line, len));
    }
}

static void client_read(struct client *client)
{
    struct gw_control *control = client->control;
    uint64_t id = client->id;

    for (;;) {
        char *to = gw_buf_reserve(&client->in, 1024);
        ssize_t got = recv(client->fd, to, 1024, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got < 0) {
            client_close(client);
            return;
        }
        if (got == 0)
            break;
        gw_buf_added(&client->in, (size_t)got);
        handle_lines(control, id);
        client = client_find(control, id);
        if (client == NULL)
            return;
    }
    client->ended = true;
    if (client->asked == 0 && gw_buf_len(&client->out) == 0)
        client_close(client);
}

static void on_client(struct gw_io *io, unsigned what)
{
    struct client *client = GW_CONTAINER(io, struct client, io);
    struct gw_control *control = client->control;
    uint64_t id = client->id;

    if (!client->ended && (what & GW_IO_READ) != 0)
        client_read(client);
    client = client_find(control, id);
    if (client != NULL && (what & GW_IO_WRITE) != 0)
        client_send(client);
}

static void on_client_timeout(struct gw_timer *timer)
{
    client_close(GW_CONTAINER(timer, struct client, timer));
}

static bool allowed(int fd)
{
    struct ucred who;
    socklen_t len = sizeof(who);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
           (who.uid == 0 || who.uid == geteuid());
}

static void on_accept(struct gw_io *io, unsigned what)
{
    struct gw_control *control = GW_CONTAINER(io, struct gw_control, io);
    int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *client;

    if (fd < 0)
        return;
    if (control->clients_count >= GW_CONTROL_CLIENTS_MAX || !allowed(fd)) {
        (void)close(fd);
        return;
    }
    client = calloc(1, sizeof(*client));
    if (client == NULL)
        abort();
    client->control = control;
    client->fd = fd;
    client->id = ++control->last_id;
    gw_timer_init(&client->timer, on_client_timeout);
    gw_list_push_back(&control->clients, &client->link);
    control->clients_count++;
    if (gw_io_open(&client->io, control->loop, fd, on_client) != GW_OK)
        client_close(client);
}

/* ---- life ---- */

enum gw_rc gw_control_open(struct gw_loop *loop, const char *path, int lock_fd, gw_control_fn fn,
                           void *arg, struct gw_control **out, struct gw_err *err)
{
    struct gw_control *control = calloc(1, sizeof(*control));
    mode_t mask;
    int rc;

    if (control == NULL || (control->path = strdup(path)) == NULL)
        abort();
    control->loop = loop;
    control->fn = fn;
    control->arg = arg;
    gw_list_init(&control->clients);
    control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control->fd < 0)
        goto fail;
    (void)unlink(path); /* we hold the lock: whoever made it is dead */
    mask = umask(0177);
    rc = gw_control_bind(control->fd, path);
    (void)umask(mask);
    if (rc != 0 || listen(control->fd, 16) != 0 ||
        gw_io_open_level(&control->io, loop, control->fd, on_accept) != GW_OK)
        goto fail;
    control->lock_fd = lock_fd;
    *out = control;
    return GW_OK;

fail:
    (void)gw_err_set(err, GW_SYSTEM, "control: %s: %s", path, strerror(errno));
    if (control->fd >= 0)
        (void)close(control->fd);
    free(control->path);
    free(control);
    return GW_SYSTEM;
}

void gw_control_close(struct gw_control *control)
{
    if (control == NULL)
        return;
    while (!gw_list_empty(&control->clients))
        client_close(GW_CONTAINER(control->clients.next, struct client, link));
    gw_io_close(&control->io);
    (void)unlink(control->path);
    (void)close(control->fd);
    (void)close(control->lock_fd);
    free(control->path);
    free(control);
}
