#include "process/privilege.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static enum gw_rc become(const struct passwd *who, struct gw_err *err)
{
    if (geteuid() != 0)
        return gw_err_set(err, GW_SYSTEM,
                          "user: only root can become %s: start as root, or leave `user` out",
                          who->pw_name);
    if (initgroups(who->pw_name, who->pw_gid) != 0 ||
        setresgid(who->pw_gid, who->pw_gid, who->pw_gid) != 0 ||
        setresuid(who->pw_uid, who->pw_uid, who->pw_uid) != 0)
        return gw_err_set(err, GW_SYSTEM, "user: becoming %s: %s", who->pw_name, strerror(errno));
    /* Trust, but look: a setuid() that half works is the classic hole. */
    if (who->pw_uid != 0 && (setuid(0) == 0 || geteuid() == 0 || getegid() != who->pw_gid))
        return gw_err_set(err, GW_SYSTEM, "user: the rights of root could not be given up");
    return GW_OK;
}

enum gw_rc gw_privilege_drop(struct gw_str user, struct gw_err *err)
{
    char name[256];

    if (user.len >= sizeof(name))
        return gw_err_set(err, GW_NOT_FOUND, "user: the name is too long");
    if (user.len > 0) {
        const struct passwd *who;
        enum gw_rc rc;
        memcpy(name, user.data, user.len);
        name[user.len] = '\0';
        who = getpwnam(name);
        if (who == NULL)
            return gw_err_set(err, GW_NOT_FOUND, "user: there is no user %s on this machine", name);
        rc = who->pw_uid == geteuid() && geteuid() != 0 ? GW_OK : become(who, err);
        if (rc != GW_OK)
            return rc;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return gw_err_set(err, GW_SYSTEM, "no_new_privs: %s", strerror(errno));
    return GW_OK;
}

void gw_privilege_raise_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}
