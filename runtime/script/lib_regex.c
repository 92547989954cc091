/* gw.regex: PCRE2 through base/regex.h. Compiled patterns are kept: two tables of at most
 * CACHE_HALF; what is used moves to the young one, and when that is full the old one is
 * dropped whole (its patterns are freed by Lua's collector).
 * Flags, in one string: i m s x as in Perl, u: UTF-8, a: only where the search begins, e: as
 * ECMAScript has it. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/regex.h"
#include "script/lib_rows.h"

#define CACHE_HALF 256
#define GROUPS_MAX 64
#define RESULT_BYTES_MAX (16 * 1024 * 1024) /* of gsub */
#define TYPE "gw.regex"

struct cache {
    int young_ref;
    int old_ref;
    uint32_t count; /* in the young one */
};

static struct cache *cache_of(lua_State *L)
{
    return *gw_vm_data(gw_vm_of(L), GW_LIB_REGEX);
}

static int regex_gc(lua_State *L)
{
    struct gw_regex **box = lua_touserdata(L, 1);

    gw_regex_free(*box);
    *box = NULL;
    return 0;
}

static unsigned read_flags(lua_State *L, int index, struct gw_str *text)
{
    static const struct {
        char letter;
        unsigned flag;
    } rows[] = {{'i', GW_REGEX_NOCASE},   {'m', GW_REGEX_MULTILINE}, {'s', GW_REGEX_DOTALL},
                {'x', GW_REGEX_EXTENDED}, {'u', GW_REGEX_UTF},       {'a', GW_REGEX_ANCHORED},
                {'e', GW_REGEX_ECMA}};
    unsigned flags = 0;

    text->data = luaL_optlstring(L, index, "", &text->len);
    for (size_t i = 0; i < text->len; i++) {
        unsigned found = 0;
        for (size_t j = 0; j < sizeof(rows) / sizeof(rows[0]); j++)
            if (rows[j].letter == text->data[i])
                found = rows[j].flag;
        luaL_argcheck(L, found != 0, index, "flags: letters of \"imsxuae\" expected");
        flags |= found;
    }
    return flags;
}

/* Takes the key at the top, puts the compiled pattern beside it into the young table; leaves
 * the pattern. [-2, +1]: key, pattern -> pattern */
static void remember(lua_State *L, struct cache *cache)
{
    if (cache->count >= CACHE_HALF) {
        luaL_unref(L, LUA_REGISTRYINDEX, cache->old_ref);
        cache->old_ref = cache->young_ref;
        lua_newtable(L);
        cache->young_ref = luaL_ref(L, LUA_REGISTRYINDEX);
        cache->count = 0;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, cache->young_ref);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    lua_remove(L, -2);
    cache->count++;
}

static bool look(lua_State *L, int ref)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_pushvalue(L, -2);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (!lua_isnil(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

/* The compiled pattern of index 2 with the flags of `flags_index`, left on the stack (it keeps
 * the pattern alive) [-0, +1]; NULL: rc and err say why. */
static struct gw_regex *compiled(lua_State *L, int flags_index, enum gw_rc *rc, struct gw_err *err)
{
    struct cache *cache = cache_of(L);
    struct gw_str pattern, flags_text;
    struct gw_regex **box;

    pattern.data = luaL_checklstring(L, 2, &pattern.len);
    unsigned flags = read_flags(L, flags_index, &flags_text);
    /* A pattern without flags is its own key; with flags the key begins with a byte that no
     * pattern can have there and stay a key of the other kind: NUL. */
    if (flags == 0 && (pattern.len == 0 || pattern.data[0] != '\0')) {
        lua_pushvalue(L, 2);
    } else {
        char front[2] = {'\0', (char)('@' + flags)};
        lua_pushlstring(L, front, 2);
        lua_pushvalue(L, 2);
        lua_concat(L, 2);
    }
    if (look(L, cache->young_ref)) {
        lua_remove(L, -2);
        return *(struct gw_regex **)lua_touserdata(L, -1);
    }
    if (!look(L, cache->old_ref)) {
        box = lua_newuserdata(L, sizeof(*box));
        *box = NULL;
        luaL_getmetatable(L, TYPE);
        lua_setmetatable(L, -2);
        *rc = gw_regex_new(pattern, flags, box, err);
        if (*rc != GW_OK) {
            *box = NULL;
            return NULL;
        }
    }
    remember(L, cache);
    return *(struct gw_regex **)lua_touserdata(L, -1);
}

static int fail(lua_State *L, enum gw_rc rc, const struct gw_err *err)
{
    if (rc == GW_LIMIT && err->text[0] == '\0')
        return gw_lib_fail(L, rc, "regex: stopped: the match takes too many steps");
    if (rc == GW_INVALID && err->text[0] == '\0')
        return gw_lib_fail(L, rc, "regex: the place to begin at is inside a character");
    lua_pushfstring(L, "regex: %s", err->text);
    return gw_lib_fail(L, rc, lua_tostring(L, -1));
}

/* Where to begin, from 0; index `index` counts from 1. */
static size_t read_from(lua_State *L, int index, size_t len)
{
    double from = luaL_optnumber(L, index, 1);

    luaL_argcheck(L, from >= 1 && from <= (double)len + 1, index,
                  "a place from 1 to the length of the subject + 1 expected");
    return (size_t)from - 1;
}

static void push_group(lua_State *L, struct gw_str group)
{
    if (group.data != NULL)
        lua_pushlstring(L, group.data, group.len);
    else
        lua_pushboolean(L, 0); /* took no part: false, so that the list has no hole */
}

/* { [0] = whole, [1] = …, name = … }   [-0, +1] */
static void push_captures(lua_State *L, struct gw_regex *regex, const struct gw_str *groups,
                          uint32_t count)
{
    lua_createtable(L, (int)count, (int)gw_regex_names(regex) + 1);
    for (uint32_t i = 0; i < count; i++) {
        push_group(L, groups[i]);
        lua_rawseti(L, -2, (int)i);
    }
    for (uint32_t i = 0; i < gw_regex_names(regex); i++) {
        uint32_t group;
        struct gw_str name = gw_regex_name(regex, i, &group);
        if (group >= count)
            continue;
        lua_pushlstring(L, name.data, name.len);
        push_group(L, groups[group]);
        lua_rawset(L, -3);
    }
}

static uint32_t groups_of(const struct gw_regex *regex)
{
    uint32_t count = gw_regex_groups(regex);

    return count < GROUPS_MAX ? count : GROUPS_MAX;
}

/* regex.match(subject, pattern, flags, from) -> captures | nil | nil, message, code
 * [-0, +1|+3] */
static int regex_match(lua_State *L)
{
    struct gw_str groups[GROUPS_MAX], subject;
    struct gw_err err = {{0}};
    enum gw_rc rc = GW_OK;

    subject.data = luaL_checklstring(L, 1, &subject.len);
    size_t from = read_from(L, 4, subject.len);
    struct gw_regex *regex = compiled(L, 3, &rc, &err);
    if (regex == NULL)
        return fail(L, rc, &err);
    rc = gw_regex_match(regex, subject, from, groups, groups_of(regex));
    if (rc == GW_NOT_FOUND) {
        lua_pushnil(L);
        return 1;
    }
    if (rc != GW_OK)
        return fail(L, rc, &err);
    push_captures(L, regex, groups, groups_of(regex));
    return 1;
}

/* regex.find(subject, pattern, flags, from) -> first, last | nil | nil, message, code
 * [-0, +2|+1|+3]; no table is made */
static int regex_find(lua_State *L)
{
    struct gw_str whole, subject;
    struct gw_err err = {{0}};
    enum gw_rc rc = GW_OK;

    subject.data = luaL_checklstring(L, 1, &subject.len);
    size_t from = read_from(L, 4, subject.len);
    struct gw_regex *regex = compiled(L, 3, &rc, &err);
    if (regex == NULL)
        return fail(L, rc, &err);
    rc = gw_regex_match(regex, subject, from, &whole, 1);
    if (rc == GW_NOT_FOUND) {
        lua_pushnil(L);
        return 1;
    }
    if (rc != GW_OK)
        return fail(L, rc, &err);
    lua_pushnumber(L, (double)(whole.data - subject.data) + 1);
    lua_pushnumber(L, (double)(whole.data - subject.data) + (double)whole.len);
    return 2;
}

/* One gsub. What it makes is in Lua's own buffer: a function of the plugin runs in between
 * and may raise. */
struct gsub {
    lua_State *L;
    struct gw_regex *regex;
    struct gw_str subject;
    struct gw_str groups[GROUPS_MAX];
    luaL_Buffer out;
    size_t len;
};

static void put(struct gsub *g, struct gw_str text)
{
    luaL_addlstring(&g->out, text.data, text.len);
    g->len += text.len;
}

/* $0..$99, ${name}, $$ of a replacement. False: it means no group; *at stands on its $. */
static bool expand(struct gsub *g, struct gw_str text, size_t *at)
{
    size_t i = *at + 1;
    uint32_t group = 0;

    if (i < text.len && text.data[i] == '$') {
        put(g, GW_STR("$"));
        *at = i + 1;
        return true;
    }
    if (i < text.len && text.data[i] == '{') {
        const char *end = memchr(text.data + i, '}', text.len - i);
        if (end == NULL)
            return false;
        struct gw_str name = gw_str(text.data + i + 1, (size_t)(end - text.data) - i - 1);
        group = gw_regex_group_of(g->regex, name);
        if (group == 0)
            return false;
        i = (size_t)(end - text.data) + 1;
    } else {
        size_t first = i;
        for (; i < text.len && i < first + 2 && text.data[i] >= '0' && text.data[i] <= '9'; i++)
            group = group * 10 + (uint32_t)(text.data[i] - '0');
        if (i == first)
            return false;
    }
    if (group >= groups_of(g->regex))
        return false;
    if (g->groups[group].data != NULL)
        put(g, g->groups[group]);
    *at = i;
    return true;
}

static void replace_by_text(struct gsub *g)
{
    struct gw_str text;

    text.data = lua_tolstring(g->L, 3, &text.len);
    for (size_t i = 0; i < text.len;) {
        if (text.data[i] == '$') {
            if (!expand(g, text, &i))
                luaL_argerror(g->L, 3, "$ is followed by no group of the pattern ($$ means $)");
            continue;
        }
        const char *next = memchr(text.data + i, '$', text.len - i);
        size_t run = next != NULL ? (size_t)(next - text.data) - i : text.len - i;
        put(g, gw_str(text.data + i, run));
        i += run;
    }
}

/* The function gets the captures; nil or false keeps the match. */
static void replace_by_call(struct gsub *g)
{
    lua_State *L = g->L;

    lua_pushvalue(L, 3);
    push_captures(L, g->regex, g->groups, groups_of(g->regex));
    lua_call(L, 1, 1);
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        put(g, g->groups[0]);
        return;
    }
    if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "regex.gsub: the function returned a %s", luaL_typename(L, -1));
    size_t len;
    (void)lua_tolstring(L, -1, &len);
    g->len += len;
    luaL_addvalue(&g->out);
}

/* Replaces all; GW_NOT_FOUND is the good end. */
static enum gw_rc replace_all(struct gsub *g, bool call, uint32_t *count)
{
    size_t from = 0, kept = 0;
    enum gw_rc rc = GW_NOT_FOUND;

    while (from <= g->subject.len) {
        rc = gw_regex_match(g->regex, g->subject, from, g->groups, groups_of(g->regex));
        if (rc != GW_OK)
            break;
        size_t at = (size_t)(g->groups[0].data - g->subject.data);
        put(g, gw_str(g->subject.data + kept, at - kept));
        kept = at + g->groups[0].len;
        from = g->groups[0].len > 0 ? kept : gw_regex_step(g->regex, g->subject, at);
        if (call)
            replace_by_call(g);
        else
            replace_by_text(g);
        if (g->len > RESULT_BYTES_MAX)
            return GW_FULL;
        ++*count;
        rc = GW_NOT_FOUND;
    }
    put(g, gw_str(g->subject.data + kept, g->subject.len - kept));
    return rc;
}

/* regex.gsub(subject, pattern, replacement, flags) -> text, count | nil, message, code
 * [-0, +2|+3]; replacement: text with $1 ${name} $$, or a function of the captures, which may
 * not wait */
static int regex_gsub(lua_State *L)
{
    struct gw_err err = {{0}};
    struct gsub g = {.L = L};
    enum gw_rc rc = GW_OK;
    uint32_t count = 0;

    g.subject.data = luaL_checklstring(L, 1, &g.subject.len);
    bool call = lua_isfunction(L, 3);
    if (!call)
        (void)luaL_checkstring(L, 3);
    lua_settop(L, 4);
    g.regex = compiled(L, 4, &rc, &err);
    if (g.regex == NULL)
        return fail(L, rc, &err);
    luaL_buffinit(L, &g.out);
    rc = replace_all(&g, call, &count);
    if (rc == GW_FULL)
        return gw_lib_fail(L, GW_LIMIT, "regex: the text would be longer than 16 MiB");
    if (rc != GW_NOT_FOUND)
        return fail(L, rc, &err);
    luaL_pushresult(&g.out);
    lua_pushnumber(L, count);
    return 2;
}

void gw_lib_regex_open(lua_State *L, struct gw_vm *vm)
{
    static const luaL_Reg functions[] = {
        {"match", regex_match}, {"find", regex_find}, {"gsub", regex_gsub}, {NULL, NULL}};
    struct cache *cache = calloc(1, sizeof(*cache));

    if (cache == NULL)
        abort();
    *gw_vm_data(vm, GW_LIB_REGEX) = cache;
    luaL_newmetatable(L, TYPE);
    lua_pushcfunction(L, regex_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_newtable(L);
    cache->young_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    cache->old_ref = luaL_ref(L, LUA_REGISTRYINDEX);

    lua_newtable(L);
    luaL_register(L, NULL, functions);
}

void gw_lib_regex_close(struct gw_vm *vm)
{
    struct cache *cache = *gw_vm_data(vm, GW_LIB_REGEX);

    if (cache == NULL)
        return;
    free(cache);
    *gw_vm_data(vm, GW_LIB_REGEX) = NULL;
}
