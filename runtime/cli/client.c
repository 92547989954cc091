#include "cli/client.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/command.h"
#include "conf/load.h"
#include "process/control.h"

#define ANSWER_BYTES_MAX (16u << 20)

/* Where the conf itself says that the socket is; a faulty conf may still say it. */
static bool path_of_conf(const char *conf_path, char *to, size_t size)
{
    struct gw_conf_options options = {.shipped_dir = gw_cli_shipped_dir()};
    struct gw_conf_source source;
    struct gw_report report;
    struct gw_image image;
    bool found = false;

    gw_image_init(&image);
    gw_conf_source_init(&source);
    gw_report_init(&report);
    if (gw_conf_load(conf_path, &options, &image, &source, &report) == GW_OK) {
        struct gw_conf *conf = gw_image_conf(&image);
        found = snprintf(to, size, "%.*s", GW_STR_ARG(gw_ref_str(conf, conf->control))) < (int)size;
    }
    gw_report_fini(&report);
    gw_conf_source_fini(&source);
    gw_image_fini(&image);
    return found;
}

static int open_socket(unsigned timeout_s, struct gw_err *err)
{
    struct timeval limit = {.tv_sec = timeout_s};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0) {
        (void)gw_err_set(err, GW_SYSTEM, "socket: %s", strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return -1;
    }
    return fd;
}

/* The usual place first, because it needs no conf that is whole: a gateway must be reachable
 * to say why its conf is refused. */
static enum gw_rc find(const char *conf_path, const char *full, int fd, struct gw_err *err)
{
    char path[PATH_MAX], said[PATH_MAX];
    const char *slash = strrchr(full, '/');
    int first;

    if (snprintf(path, sizeof(path), "%.*s/run/moongate.sock", (int)(slash - full), full) >=
        (int)sizeof(path))
        return gw_err_set(err, GW_INVALID, "the path of the conf is too long");
    if (gw_control_connect(fd, path) == 0)
        return GW_OK;
    first = errno;
    if (path_of_conf(conf_path, said, sizeof(said)) && strcmp(said, path) != 0) {
        if (gw_control_connect(fd, said) == 0)
            return GW_OK;
        first = errno;
        (void)snprintf(path, sizeof(path), "%s", said);
    }
    if (first == EACCES || first == EPERM)
        return gw_err_set(err, GW_SYSTEM,
                          "%s: %s: only root and the user that started the gateway may talk to it",
                          path, strerror(first));
    return gw_err_set(err, GW_NOT_FOUND,
                      "no gateway runs on %s (%s: %s); start it with: moongate run -c %s",
                      conf_path, path, strerror(first), conf_path);
}

static void add_files(struct gw_json_writer *json, const struct gw_client_question *question)
{
    if (question->files_count == 0)
        return;
    gw_json_key(json, "files");
    gw_json_array(json);
    for (size_t i = 0; i < question->files_count; i++)
        gw_json_text(json, question->files[i]);
    gw_json_array_end(json);
}

static enum gw_rc exchange(int fd, const char *full, const struct gw_client_question *question,
                           struct gw_buf *out, struct gw_err *err)
{
    struct gw_buf line = GW_BUF_INIT;
    struct gw_json_writer json;
    ssize_t done;
    const char *end = NULL;

    gw_json_begin(&json, &line);
    gw_json_object(&json);
    gw_json_key(&json, "command");
    gw_json_text(&json, question->command);
    gw_json_key(&json, "conf");
    gw_json_text(&json, full);
    add_files(&json, question);
    gw_json_object_end(&json);
    if (gw_buf_len(&line) > GW_CONTROL_LINE_MAX) {
        gw_buf_fini(&line);
        return gw_err_set(err, GW_LIMIT, "the names of the files have more than %d bytes",
                          GW_CONTROL_LINE_MAX);
    }
    gw_buf_add(&line, "\n", 1);
    done = send(fd, line.data + line.from, gw_buf_len(&line), MSG_NOSIGNAL);
    if (done != (ssize_t)gw_buf_len(&line))
        (void)gw_err_set(err, GW_CLOSED, "the gateway does not listen: %s", strerror(errno));
    gw_buf_fini(&line);
    if (done < 0)
        return GW_CLOSED;
    while (end == NULL) {
        char *to = gw_buf_reserve(out, 65536);
        done = recv(fd, to, 65536, 0);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN)
            return gw_err_set(err, GW_TIMEOUT, "the gateway does not answer");
        if (done <= 0)
            return gw_err_set(err, GW_CLOSED, "the gateway closed the connection");
        gw_buf_added(out, (size_t)done);
        end = memchr(to, '\n', (size_t)done);
        if (end == NULL && gw_buf_len(out) > ANSWER_BYTES_MAX)
            return gw_err_set(err, GW_LIMIT, "the gateway's answer is too long");
    }
    out->to = (size_t)(end - out->data);
    return GW_OK;
}

enum gw_rc gw_client_ask(const char *conf_path, const struct gw_client_question *question,
                         struct gw_buf *out, struct gw_json **answer, struct gw_err *err)
{
    char *full = realpath(conf_path, NULL);
    int fd;
    enum gw_rc rc;

    if (full == NULL)
        return gw_err_set(err, GW_NOT_FOUND, "%s: %s", conf_path, strerror(errno));
    fd = open_socket(question->timeout_s, err);
    rc = fd < 0 ? GW_SYSTEM : find(conf_path, full, fd, err);
    if (rc == GW_OK)
        rc = exchange(fd, full, question, out, err);
    if (rc == GW_OK && (rc = gw_json_parse(gw_buf_str(out), answer, err)) != GW_OK)
        gw_err_prefix(err, "the gateway's answer: ");
    if (fd >= 0)
        (void)close(fd);
    free(full);
    return rc;
}
