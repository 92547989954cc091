#include "process/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"

static struct sockaddr_un manager;
static socklen_t manager_len; /* 0: nobody asked */

void gw_notify_init(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path != NULL ? strlen(path) : 0;

    manager_len = 0;
    if (len > 1 && len < sizeof(manager.sun_path) && (path[0] == '/' || path[0] == '@')) {
        memset(&manager, 0, sizeof(manager));
        manager.sun_family = AF_UNIX;
        memcpy(manager.sun_path, path, len);
        if (path[0] == '@')
            manager.sun_path[0] = '\0'; /* an abstract name */
        manager_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    }
    (void)unsetenv("NOTIFY_SOCKET");
}

static void say(const char *text)
{
    int fd;

    if (manager_len == 0)
        return;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                         (const struct sockaddr *)&manager, manager_len) < 0)
        gw_warn("systemd could not be told: %m");
    if (fd >= 0)
        (void)close(fd);
}

void gw_notify_ready(const char *status)
{
    char text[256];

    (void)snprintf(text, sizeof(text), "READY=1\nMAINPID=%d\nSTATUS=%s", (int)getpid(), status);
    say(text);
}

void gw_notify_reloading(void)
{
    char text[128];

    (void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading",
                   (unsigned long long)gw_time_mono_us());
    say(text);
}

void gw_notify_stopping(void)
{
    say("STOPPING=1\nSTATUS=draining");
}
