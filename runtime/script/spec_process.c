/* Child processes of specs. They die with the spec runner, whatever ends it, and inherit
 * nothing of it: no descriptor, no signal that it ignores or blocks. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "script/lib_spec.h"

#define WORDS_MAX 256

extern char **environ;

struct child {
    char *argv[WORDS_MAX + 1];
    char *env[WORDS_MAX + 1]; /* set on top of ours: NAME=VALUE */
    const char *cwd;
    const char *stderr_path; /* NULL: a pipe */
    int in[2], out[2], err[2];
};

/* Strings of the table at `index`; they live as long as the table does. */
static void take_words(lua_State *L, int index, char **to)
{
    size_t count = lua_objlen(L, index);

    luaL_argcheck(L, count <= WORDS_MAX, index, "too many words");
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_argerror(L, index, "a list of strings expected");
        to[i] = (char *)(uintptr_t)lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    to[count] = NULL;
}

static void child_run(const struct child *child, pid_t parent)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;
    int err = child->err[1];

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    for (int signo = 1; signo < NSIG; signo++)
        (void)sigaction(signo, &standard, NULL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (child->stderr_path != NULL)
        err = open(child->stderr_path, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (err < 0 || dup2(child->in[0], 0) < 0 || dup2(child->out[1], 1) < 0 || dup2(err, 2) < 0)
        _exit(126);
    /* All of ours are close-on-exec, but libraries are not asked. */
    (void)syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
    if (child->cwd != NULL && chdir(child->cwd) != 0)
        _exit(126);
    for (char *const *word = child->env; *word != NULL; word++)
        (void)putenv(*word);
    (void)execvp(child->argv[0], child->argv);
    (void)!write(2, "cannot be run\n", 14);
    _exit(127);
}

static void close_pair(int *pair)
{
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            (void)close(pair[i]);
}

static int pidfd_of(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void set_nonblocking(int fd)
{
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static bool fork_child(struct child *child, pid_t *pid, int *pidfd)
{
    pid_t parent = getpid();

    if (pipe2(child->in, O_CLOEXEC) != 0 || pipe2(child->out, O_CLOEXEC) != 0 ||
        (child->stderr_path == NULL && pipe2(child->err, O_CLOEXEC) != 0))
        return false;
    *pid = fork();
    if (*pid < 0)
        return false;
    if (*pid == 0)
        child_run(child, parent);
    *pidfd = pidfd_of(*pid);
    if (*pidfd >= 0)
        return true;
    (void)kill(*pid, SIGKILL);
    while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return false;
}

/* The parent's ends become objects; the others go. */
static int push_ends(lua_State *L, struct child *child, pid_t pid, int pidfd)
{
    (void)close(child->in[0]);
    (void)close(child->out[1]);
    if (child->err[1] >= 0)
        (void)close(child->err[1]);
    lua_pushinteger(L, pid);
    gw_lib_spec_push_fd(L, pidfd);
    set_nonblocking(child->in[1]);
    gw_lib_spec_push_fd(L, child->in[1]);
    set_nonblocking(child->out[0]);
    gw_lib_spec_push_fd(L, child->out[0]);
    if (child->err[0] < 0)
        return 4;
    set_nonblocking(child->err[0]);
    gw_lib_spec_push_fd(L, child->err[0]);
    return 5;
}

/* spawn({program, …}, {"NAME=VALUE", …}, folder | nil, path for stderr | nil)
 *   -> pid, its end (wait("r")), stdin, stdout, stderr (none when it has a path) | nil, why */
static int spec_spawn(lua_State *L)
{
    struct child child = {.in = {-1, -1}, .out = {-1, -1}, .err = {-1, -1}};
    pid_t pid;
    int pidfd;

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    child.cwd = luaL_optstring(L, 3, NULL);
    child.stderr_path = luaL_optstring(L, 4, NULL);
    take_words(L, 1, child.argv);
    take_words(L, 2, child.env);
    luaL_argcheck(L, child.argv[0] != NULL, 1, "a program expected");
    luaL_checkstack(L, 8, "spawn");
    if (!fork_child(&child, &pid, &pidfd)) {
        int error = errno;
        close_pair(child.in);
        close_pair(child.out);
        close_pair(child.err);
        lua_pushnil(L);
        lua_pushstring(L, strerror(error));
        return 2;
    }
    return push_ends(L, &child, pid, pidfd);
}

/* reap(pid) -> exit code | nil, number of the signal; nothing: it still runs */
static int spec_reap(lua_State *L)
{
    pid_t pid = (pid_t)luaL_checkinteger(L, 1), done;
    int status;

    luaL_argcheck(L, pid > 0, 1, "a process expected");
    do
        done = waitpid(pid, &status, WNOHANG);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        return luaL_error(L, "process %d: %s", (int)pid, strerror(errno));
    if (done == 0)
        return 0;
    if (WIFEXITED(status)) {
        lua_pushinteger(L, WEXITSTATUS(status));
        return 1;
    }
    lua_pushnil(L);
    lua_pushinteger(L, WTERMSIG(status));
    return 2;
}

/* kill(pid, signal) -> true | nil, why */
static int spec_kill(lua_State *L)
{
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);
    int signo = (int)luaL_checkinteger(L, 2);

    luaL_argcheck(L, pid > 1, 1, "a process expected");
    if (kill(pid, signo) != 0) {
        lua_pushnil(L);
        lua_pushstring(L, strerror(errno));
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

void gw_lib_spec_process_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"spawn", spec_spawn}, {"reap", spec_reap}, {"kill", spec_kill}, {NULL, NULL}};
    static const struct {
        const char *name;
        int number;
    } signals[] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"KILL", SIGKILL},
                   {"TERM", SIGTERM}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"STOP", SIGSTOP},
                   {"CONT", SIGCONT}, {"ABRT", SIGABRT}, {"SEGV", SIGSEGV}};

    luaL_register(L, NULL, functions);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        lua_pushinteger(L, signals[i].number);
        lua_setfield(L, -2, signals[i].name);
    }
    lua_setfield(L, -2, "signals");
}
