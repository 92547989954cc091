/* `moongate new plugin NAME`: a plugin that works, its spec, which passes, and the line for
 * the conf. Writes nothing when one of the two files is there. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/command.h"

#define NAME_BYTES_MAX 64

/* "@" stands for the name. */
static const char plugin_text[] =
    "--- Says hello: sets a header in each request and in each answer.\n"
    "local plugin = {\n"
    "  name = \"@\",\n"
    "  priority = 1000, -- higher runs first\n"
    "  schema = {\n"
    "    type = \"object\",\n"
    "    properties = {\n"
    "      header = { type = \"string\", default = \"x-@\", description = \"The header to set.\" "
    "},\n"
    "      value = { type = \"string\", default = \"hello\", description = \"Its value.\" },\n"
    "    },\n"
    "  },\n"
    "}\n"
    "\n"
    "--- Before the upstream is asked; may answer instead: return ctx:exit(403, \"no\\n\").\n"
    "function plugin.access(conf, ctx)\n"
    "  ctx.request.headers[conf.header] = conf.value\n"
    "end\n"
    "\n"
    "--- The head of the answer, from the upstream or from the gateway.\n"
    "function plugin.header_filter(conf, ctx)\n"
    "  ctx.response.headers[conf.header] = conf.value\n"
    "end\n"
    "\n"
    "return plugin\n";

static const char spec_text[] = "local kit = require \"gateway.spec\"\n"
                                "\n"
                                "describe(\"@\", function()\n"
                                "  it(\"sets its header in the request\", function()\n"
                                "    local plugin = kit.plugin(\"@\")\n"
                                "    local ctx = kit.ctx { path = \"/\" }\n"
                                "\n"
                                "    local answer = plugin:access(ctx)\n"
                                "\n"
                                "    assert.is_nil(answer)\n"
                                "    assert.equal(\"hello\", ctx.request.headers[\"x-@\"])\n"
                                "  end)\n"
                                "\n"
                                "  it(\"sets its header in the answer\", function()\n"
                                "    local plugin = kit.plugin(\"@\", { value = \"bye\" })\n"
                                "    local ctx = kit.ctx { response = { status = 200 } }\n"
                                "\n"
                                "    plugin:header_filter(ctx)\n"
                                "\n"
                                "    assert.equal(\"bye\", ctx.response.headers[\"x-@\"])\n"
                                "  end)\n"
                                "end)\n";

/* The name is a file's, a conf key and part of a header: small letters, digits, dashes. */
static bool is_name(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > NAME_BYTES_MAX || name[0] < 'a' || name[0] > 'z' || name[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
              (name[i] == '-' && name[i + 1] != '-')))
            return false;
    return true;
}

static void fill_in(struct gw_buf *out, const char *text, const char *name)
{
    for (const char *at; (at = strchr(text, '@')) != NULL; text = at + 1) {
        gw_buf_add(out, text, (size_t)(at - text));
        gw_buf_add(out, name, strlen(name));
    }
    gw_buf_add(out, text, strlen(text));
}

static enum gw_rc make_folders(const char *path, struct gw_err *err)
{
    char part[PATH_MAX];

    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        (void)snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return gw_err_set(err, GW_SYSTEM, "%s: %s", part, strerror(errno));
    }
    return GW_OK;
}

/* O_EXCL: what is there stays, also when it came this moment. */
static enum gw_rc write_new(const char *path, const char *text, const char *name,
                            struct gw_err *err)
{
    struct gw_buf out = GW_BUF_INIT;
    enum gw_rc rc = make_folders(path, err);
    int fd;
    bool ok;

    if (rc != GW_OK)
        return rc;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return gw_err_set(err, errno == EEXIST ? GW_EXISTS : GW_SYSTEM, "%s: %s", path,
                          strerror(errno));
    fill_in(&out, text, name);
    ok = write(fd, out.data + out.from, gw_buf_len(&out)) == (ssize_t)gw_buf_len(&out);
    ok = close(fd) == 0 && ok;
    gw_buf_fini(&out);
    if (ok)
        return GW_OK;
    (void)gw_err_set(err, GW_SYSTEM, "%s: %s", path, strerror(errno));
    (void)unlink(path);
    return GW_SYSTEM;
}

static int new_plugin(const char *dir, const char *name)
{
    char plugin[PATH_MAX], spec[PATH_MAX];
    struct gw_err err;

    if (snprintf(plugin, sizeof(plugin), "%s/plugins/%s.lua", dir, name) >= (int)sizeof(plugin) ||
        snprintf(spec, sizeof(spec), "%s/spec/plugins/%s_spec.lua", dir, name) >= (int)sizeof(spec))
        return gw_cli_fail("%s: the path is too long", dir);
    if (access(spec, F_OK) == 0)
        return gw_cli_fail("%s is there already: nothing was written", spec);
    if (write_new(plugin, plugin_text, name, &err) != GW_OK)
        return gw_cli_fail("%s: nothing was written", err.text);
    if (write_new(spec, spec_text, name, &err) != GW_OK) {
        (void)unlink(plugin);
        return gw_cli_fail("%s: nothing was written", err.text);
    }
    (void)printf("wrote %s\nwrote %s\n\nbind it in a route, or for all, by this line of the conf:\n"
                 "    plugins: [ { %s: { value: hello } } ]\n\nrun its spec with:\n"
                 "    moongate spec %s\n",
                 plugin, spec, name, spec);
    return GW_EXIT_FINE;
}

int gw_cmd_new(const struct gw_args *args)
{
    const char *name = args->words[1];

    if (strcmp(args->words[0], "plugin") != 0)
        return gw_cli_misused("new", "\"%s\" cannot be made: only \"plugin\" can", args->words[0]);
    if (!is_name(name))
        return gw_cli_misused("new",
                              "\"%s\" is no name for a plugin: small letters, digits and single "
                              "dashes, a letter first, at most %d",
                              name, NAME_BYTES_MAX);
    return new_plugin(gw_args_get(args, "dir", "."), name);
}
