/* The built-in Lua stands in the program as text and as bytecode, and both are the same. */
#include "script/embed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

#include "base/str.h"

static struct gw_str version_of(lua_State *L)
{
    struct gw_str version;

    lua_getglobal(L, "jit");
    lua_getfield(L, -1, "version");
    version.data = lua_tolstring(L, -1, &version.len);
    return version; /* the table `jit` keeps it */
}

/* [-0, +1] first and last line of the main function, and its name. */
static void describe(lua_State *L, struct gw_str code, const char *mode, const char *name)
{
    lua_Debug about;

    if (luaL_loadbufferx(L, code.data, code.len, name, mode) != 0)
        fail_msg("%s as %s: %s", name, mode, lua_tostring(L, -1));
    lua_getinfo(L, ">SL", &about); /* pushes the lines that have code */
    lua_pushfstring(L, "%s %d", about.source, about.lastlinedefined);
}

static void bytecode_says_what_the_text_says(void **state)
{
    lua_State *L = luaL_newstate();
    struct gw_str version;
    char chunk[64];

    luaL_openlibs(L);
    version = version_of(L);
    for (unsigned i = 0; gw_embed_name(i) != NULL; i++) {
        struct gw_str name = gw_str_c(gw_embed_name(i));
        struct gw_str text = gw_embed_find(name), code = gw_embed_bytecode(name, version);

        assert_non_null(text.data);
        assert_non_null(code.data);
        assert_true(code.len > 4 && memcmp(code.data, "\x1bLJ", 3) == 0);
        lua_settop(L, 0);
        snprintf(chunk, sizeof(chunk), "@gateway/%s.lua", gw_embed_name(i));
        describe(L, text, "t", chunk);
        describe(L, code, "b", "another name");
        assert_string_equal(lua_tostring(L, 2), lua_tostring(L, 4));
        /* The lines are those of the text: messages and tracebacks read the same. */
        for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
            lua_pushvalue(L, -2);
            lua_rawget(L, 3);
            assert_true(lua_toboolean(L, -1));
            lua_pop(L, 1);
        }
    }
    lua_close(L);
}

static void another_luajit_gets_the_text(void **state)
{
    assert_null(gw_embed_bytecode(GW_STR("ctx"), GW_STR("LuaJIT 9.9")).data);
    assert_null(gw_embed_bytecode(GW_STR("ctx"), GW_STR("")).data);
    assert_null(gw_embed_bytecode(GW_STR("none"), GW_STR("")).data);
    assert_null(gw_embed_find(GW_STR("none")).data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytecode_says_what_the_text_says),
        cmocka_unit_test(another_luajit_gets_the_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
