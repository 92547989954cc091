/* A program of the build: lua/gateway/NAME.lua becomes NAME.bc, which embed.c puts beside the text.
 * Reading text takes two thirds of the time that a VM needs to begin. Lines and names stay in, so
 * that errors and tracebacks read the same.
 * One thing differs: a constructor of a table keeps no place for fields that are not constant (see
 * make() in ctx.lua).
 *   moongate-bytecode LUA_DIR OUT_DIR NAME...     also writes OUT_DIR/version */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

static int write_piece(lua_State *L, const void *data, size_t len, void *arg)
{
    (void)L;
    return fwrite(data, 1, len, arg) == len ? 0 : 1;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "moongate-bytecode: %s: %s\n", what, why);
    return 1;
}

static int convert(lua_State *L, const char *lua_dir, const char *out_dir, const char *name)
{
    char from[1024], to[1024], chunk[128];
    static char text[256 * 1024];
    size_t len;
    FILE *file;
    int rc;

    snprintf(from, sizeof(from), "%s/gateway/%s.lua", lua_dir, name);
    snprintf(to, sizeof(to), "%s/%s.bc", out_dir, name);
    snprintf(chunk, sizeof(chunk), "@gateway/%s.lua", name);
    file = fopen(from, "rb");
    if (file == NULL)
        return fail(from, "cannot be read");
    len = fread(text, 1, sizeof(text), file);
    fclose(file);
    if (len == sizeof(text))
        return fail(from, "is too long");
    if (luaL_loadbuffer(L, text, len, chunk) != 0)
        return fail(from, lua_tostring(L, -1));
    file = fopen(to, "wb");
    if (file == NULL)
        return fail(to, "cannot be written");
    rc = lua_dump(L, write_piece, file);
    if (fclose(file) != 0 || rc != 0)
        return fail(to, "cannot be written");
    lua_settop(L, 0);
    return 0;
}

/* Bytecode is for the LuaJIT that made it: what runs the program is asked for the same. */
static int write_version(lua_State *L, const char *out_dir)
{
    char to[1024];
    FILE *file;

    lua_getglobal(L, "jit");
    lua_getfield(L, -1, "version");
    snprintf(to, sizeof(to), "%s/version", out_dir);
    file = fopen(to, "wb");
    if (file == NULL || fputs(lua_tostring(L, -1), file) < 0 || fclose(file) != 0)
        return fail(to, "cannot be written");
    lua_settop(L, 0);
    return 0;
}

int main(int argc, char **argv)
{
    lua_State *L;
    int rc;

    if (argc < 3)
        return fail("usage", "LUA_DIR OUT_DIR NAME...");
    L = luaL_newstate();
    if (L == NULL)
        return fail("lua", "cannot make a state");
    luaL_openlibs(L);
    rc = write_version(L, argv[2]);
    for (int i = 3; i < argc && rc == 0; i++)
        rc = convert(L, argv[1], argv[2], argv[i]);
    lua_close(L);
    return rc;
}
