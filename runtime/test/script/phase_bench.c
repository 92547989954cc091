/* Nanoseconds of a request through a chain like key-auth + rate-limit + headers + metrics, over
 * access, header_filter and log, without the proxy. Not a test: run by hand.
 *   phase_bench [requests]        GW_JITV=1: says which traces are made */
#include "test/script/fake.h"

#include <time.h>

#include "script/script_private.h"
#include <lauxlib.h>

static struct world w;

static const char *const plugins[][2] = {
    {"key-auth",
     "local p = { name = 'key-auth', priority = 4 }\n"
     "function p.init() return { keys = { secret = { name = 'anna', tier = 'pro' } } } end\n"
     "function p.access(conf, ctx)\n"
     "  local key = ctx.request.headers['x-key']\n"
     "  local consumer = key and ctx.state.keys[key]\n"
     "  if not consumer then return ctx:exit(401) end\n"
     "  ctx.consumer = consumer\n"
     "  ctx.request.headers['x-consumer'] = consumer.name\n"
     "end return p"},
    {"rate-limit", "local p = { name = 'rate-limit', priority = 3 }\n"
                   "function p.init() return { left = {} } end\n"
                   "function p.access(conf, ctx)\n"
                   "  local left = ctx.state.left\n"
                   "  local key = ctx.request.client_ip\n"
                   "  local n = (left[key] or 1e9) - 1\n"
                   "  left[key] = n\n"
                   "  if n <= 0 then return ctx:exit(429) end\n"
                   "  ctx.left = n\n"
                   "end return p"},
    {"headers", "local p = { name = 'headers', priority = 2 }\n"
                "function p.access(conf, ctx) ctx.request.headers['x-set'] = 'value' end\n"
                "function p.header_filter(conf, ctx)\n"
                "  ctx.response.headers['server'] = nil\n"
                "  ctx.response.headers['x-answer'] = 'value'\n"
                "end return p"},
    {"metrics", "local p = { name = 'metrics', priority = 1 }\n"
                "function p.init() return { counts = {} } end\n"
                "function p.log(conf, ctx)\n"
                "  local counts, status = ctx.state.counts, ctx.response.status\n"
                "  counts[status] = (counts[status] or 0) + 1\n"
                "end return p"},
};

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void request(bool lua)
{
    struct fake f;

    fake_begin(&w, &f, 0);
    if (lua && (fake_run(&w, &f, GW_PHASE_ACCESS) != GW_PHASE_NEXT ||
                fake_run(&w, &f, GW_PHASE_HEADER_FILTER) != GW_PHASE_NEXT ||
                fake_run(&w, &f, GW_PHASE_LOG) != GW_PHASE_NEXT))
        abort();
    fake_end(&w, &f);
}

static double measure(long requests, bool lua)
{
    double began = now_ns();

    for (long i = 0; i < requests; i++)
        request(lua);
    return (now_ns() - began) / (double)requests;
}

int main(int argc, char **argv)
{
    long requests = argc > 1 ? atol(argv[1]) : 300000;

    world_open(&w);
    for (size_t i = 0; i < 4; i++) {
        world_plugin(&w, plugins[i][0], plugins[i][1]);
        world_bind(&w, plugins[i][0], GW_NONE, NULL);
    }
    if (!world_reload(&w)) {
        fprintf(stderr, "%s%s\n", w.report, w.err.text);
        return 1;
    }
    if (getenv("GW_JITV") != NULL) {
        lua_State *L = w.script->vm->L;
        if (luaL_dostring(L, "package.loaders[#package.loaders + 1] = function(n)\n"
                             "return loadfile('/usr/share/luajit-2.1.0-beta3/' .. "
                             "n:gsub('%.', '/') .. '.lua') end\n"
                             "require('jit.v').start('-')"))
            fprintf(stderr, "%s\n", lua_tostring(L, -1));
    }
    measure(20000, true);
    for (int i = 0; i < 5; i++) {
        double bare = measure(requests, false), with = measure(requests, true);
        printf("%.0f ns a request with plugins (fake exchange alone %.0f): %.0f ns\n", with, bare,
               with - bare);
    }
    world_close(&w);
    return 0;
}
