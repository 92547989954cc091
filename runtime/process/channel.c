#include "process/channel.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* What goes over the wire in front of the text. */
struct head {
    uint32_t type;
    uint32_t number;
    uint64_t value;
    uint32_t text_len;
    uint32_t fd_count;
};

enum gw_rc gw_channel_pair(int ends[2], struct gw_err *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        return gw_err_set(err, GW_SYSTEM, "socketpair: %s", strerror(errno));
    return GW_OK;
}

void gw_message_text(struct gw_message *message, struct gw_str text)
{
    size_t len = text.len < GW_CHANNEL_TEXT_MAX ? text.len : GW_CHANNEL_TEXT_MAX;

    if (len > 0)
        memcpy(message->text, text.data, len);
    message->text[len] = '\0';
    message->text_len = (uint32_t)len;
}

enum gw_rc gw_channel_send(int channel, const struct gw_message *message)
{
    struct head head = {message->type, message->number, message->value, message->text_len,
                        message->fd_count};
    struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)message->text, message->text_len}};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * GW_CHANNEL_FDS_MAX)];
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = message->text_len > 0 ? 2 : 1};
    ssize_t sent;

    if (message->fd_count > GW_CHANNEL_FDS_MAX || message->text_len > GW_CHANNEL_TEXT_MAX)
        return GW_LIMIT;
    if (message->fd_count > 0) {
        size_t bytes = sizeof(int) * message->fd_count;
        memset(control, 0, sizeof(control));
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(cmsg), message->fds, bytes);
    }
    do
        sent = sendmsg(channel, &msg, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return GW_OK;
    /* ETOOMANYREFS: more descriptors wait in unread messages than the user may have open. */
    if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
        return GW_FULL;
    return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? GW_CLOSED : GW_SYSTEM;
}

enum gw_rc gw_channel_tell(int channel, enum gw_message_type type, uint32_t number, uint64_t value)
{
    struct gw_message message;

    memset(&message, 0, offsetof(struct gw_message, fds));
    message.type = type;
    message.number = number;
    message.value = value;
    return gw_channel_send(channel, &message);
}

static void take_fds(struct msghdr *msg, struct gw_message *out)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        size_t count;
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (count > GW_CHANNEL_FDS_MAX)
            count = GW_CHANNEL_FDS_MAX; /* cannot be: there is room for no more */
        memcpy(out->fds, CMSG_DATA(cmsg), count * sizeof(int));
        out->fd_count = (uint32_t)count;
    }
}

enum gw_rc gw_channel_receive(int channel, struct gw_message *out)
{
    struct head head;
    struct iovec iov[2] = {{&head, sizeof(head)}, {out->text, GW_CHANNEL_TEXT_MAX}};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * GW_CHANNEL_FDS_MAX)];
    struct msghdr msg = {
        .msg_iov = iov, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t got;

    out->fd_count = 0;
    do
        got = recvmsg(channel, &msg, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN ? GW_AGAIN : GW_EOF;
    if (got == 0)
        return GW_EOF;
    take_fds(&msg, out);
    if ((size_t)got < sizeof(head) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
        head.text_len != (size_t)got - sizeof(head) || head.fd_count != out->fd_count) {
        gw_message_close_fds(out);
        return GW_PROTOCOL;
    }
    out->type = head.type;
    out->number = head.number;
    out->value = head.value;
    out->text_len = head.text_len;
    out->text[head.text_len] = '\0';
    return GW_OK;
}

void gw_message_close_fds(struct gw_message *message)
{
    for (uint32_t i = 0; i < message->fd_count; i++)
        if (message->fds[i] >= 0)
            (void)close(message->fds[i]);
    message->fd_count = 0;
}
