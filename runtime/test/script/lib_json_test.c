/* gw.json: what comes back as it was, what is refused, and the public vectors. */
#include "test/script/lib_test.h"

#include <dirent.h>

static struct lab lab;

static void values_come_back_as_they_were(void **state)
{
    lab_run(
        &lab,
        "local j = gw.json\n"
        "for _, text in ipairs { '1', '-1', '0', '0.1', 'true', 'false', '\"\"', '[]', '{}',\n"
        "    '[1,2,3]', '[[],{}]', '{\"a\":[]}', '9007199254740991', '-9007199254740991',\n"
        "    '1234567890123456', '0.30000000000000004', '1e+300', '[null]', 'null',\n"
        "    '\"\\\\u0000\\\\u001f\\\\\"\\\\\\\\/\"', '[1.5,[2,[3,{\"x\":[]}]]]' } do\n"
        "  local value, err = j.decode(text)\n"
        "  equal(nil, err)\n"
        "  equal(text, j.encode(value))\n"
        "end\n"
        "equal(j.null, j.decode('null'))\n"
        "equal('\\n\\t\\r\\b\\f/', j.decode('\"\\\\n\\\\t\\\\r\\\\b\\\\f\\\\/\"'))\n"
        "equal('\\195\\164\\226\\130\\172\\240\\159\\152\\128',\n"
        "  j.decode('\"\\\\u00e4\\\\u20AC\\\\uD83D\\\\ude00\"'))\n"
        "equal(2, j.decode('{\"a\":1,\"a\":2}').a)\n"
        "local v = j.decode(' \\t\\r\\n{ \"a\" : [ 1 , 2 ] } ')\n"
        "equal(2, v.a[2])\n"
        "equal(true, j.is_array(v.a)); equal(false, j.is_array(v)); equal(false, j.is_array(1))\n");
}

static void tables_have_one_form(void **state)
{
    lab_run(&lab, "local j = gw.json\n"
                  "equal('{}', j.encode {})\n"
                  "equal('[]', j.encode(j.array {}))\n"
                  "equal('[]', j.encode(j.array()))\n"
                  "equal('[1,2]', j.encode { 1, 2 })\n"
                  "equal('[1,null,3]', j.encode { 1, j.null, 3 })\n"
                  "equal('{\"200\":1}', j.encode { [200] = 1 })\n"
                  "equal('{\"0\":1,\"1\":2}', j.encode { [0] = 1, 2 })\n"
                  "local back = {} for i = 5, 1, -1 do back[i] = i end\n"
                  "equal('[1,2,3,4,5]', j.encode(back))\n"
                  "local mixed = j.decode(j.encode { 1, 2, x = 3 })\n"
                  "equal(1, mixed['1']); equal(2, mixed['2']); equal(3, mixed.x)\n"
                  "equal('null', j.encode(nil))\n"
                  "equal('[1]', j.encode(j.array { 1, x = 2 }))\n"
                  "fails('invalid', j.encode { [1] = 'a', ['1'] = 'b', x = 1 })\n"
                  "fails('invalid', j.encode { [1.5] = 1 })\n"
                  "fails('invalid', j.encode { [true] = 1 })\n");
}

static void what_json_does_not_have_is_refused(void **state)
{
    lab_run(
        &lab,
        "local j = gw.json\n"
        "fails('invalid', j.encode(0/0)); fails('invalid', j.encode(1/0))\n"
        "fails('invalid', j.encode { -1/0 })\n"
        "fails('wrong_type', j.encode(print)); fails('wrong_type', j.encode { a = { print } })\n"
        "fails('wrong_type', j.encode(coroutine.create(print)))\n"
        "fails('invalid', j.encode '\\255'); fails('invalid', j.encode { ['\\192\\175'] = 1 })\n"
        "fails('invalid', j.encode 'plain text and then \\237\\160\\128')\n"
        "local round = {} round[1] = round\n"
        "fails('limit', j.encode(round))\n"
        "for _, text in ipairs { '1e400', '-1e999', 'NaN', 'Infinity', '0x10', '+1', '01', '1.', "
        "'.5',\n"
        "    '[1,]', '{\"a\":1,}', '{a:1}', \"'a'\", '\"a', '\"\\\\x\"', '\"\\\\ud800\"', "
        "'\"\\\\udc00\"',\n"
        "    '\"\\\\ud800\\\\u0041\"', '\"\\\\u12g4\"', '\"a\\nb\"', '\"\\0\"', '', ' ', '[', '{', "
        "'1 2', 'nul', '[1 2]',\n"
        "    '\"\\255\"', '\"\\237\\160\\128\"', '\\239\\187\\191{}', '[1]\\0', '1e', '1e+', '-', "
        "'{\"a\"}', '{\"a\":}' } do\n"
        "  fails('invalid', j.decode(text))\n"
        "end\n");
}

static void errors_name_line_and_column(void **state)
{
    lab_run(&lab, "local j = gw.json\n"
                  "local function at(text, place)\n"
                  "  local _, err = j.decode(text)\n"
                  "  equal('json: ' .. place .. ':', err:sub(1, #place + 7))\n"
                  "end\n"
                  "at('', '1:1'); at('[1,\\n 2,\\n x]', '3:2'); at('{\"a\":1,\\n\"a\" 2}', '2:5')\n"
                  "at('[\"ab\\255\"]', '1:5'); at('[1] x', '1:5'); at('[01]', '1:3')\n"
                  "local _, err = j.decode('{\"a\":1,\\n  \"a\":2}', { duplicates = 'refuse' })\n"
                  "equal('json: 2:3: the key stands here twice', err)\n"
                  "equal(2, j.decode('{\"a\":1,\"a\":2}', { duplicates = 'last' }).a)\n");
}

static void limits_hold(void **state)
{
    lab_run(&lab, "local j = gw.json\n"
                  "local function deep(n) return ('['):rep(n) .. (']'):rep(n) end\n"
                  "equal('table', type(j.decode(deep(128)))); fails('limit', j.decode(deep(129)))\n"
                  "fails('limit', j.decode(('['):rep(1000000)))\n"
                  "fails('limit', j.decode(('{\"a\":'):rep(200000)))\n"
                  "equal('table', type(j.decode(deep(1000), { depth = 1000 })))\n"
                  "fails('limit', j.decode(deep(1001), { depth = 1000 }))\n"
                  "fails('limit', j.decode(deep(3), { depth = 2 }))\n"
                  "fails('limit', j.encode({ { { } } }, { depth = 2 }))\n"
                  "fails('limit', j.decode('[1,2]', { size = 4 })); equal(2, #j.decode('[1,2]', { "
                  "size = 5 }))\n"
                  "fails('limit', j.encode('abcdef', { size = 7 })); equal(8, #j.encode('abcdef', "
                  "{ size = 8 }))\n"
                  "fails('limit', j.encode({ 1, 2, 3, 4, 5 }, { size = 5 }))\n"
                  "fails('limit', j.decode(('1'):rep(1025)))\n"
                  "equal(1e300, j.decode('1' .. ('0'):rep(300)))\n"
                  "raises('depth', j.decode, '1', { depth = 0 }); raises('depth', j.decode, '1', { "
                  "depth = 1001 })\n"
                  "raises('duplicates', j.decode, '1', { duplicates = 'x' })\n"
                  "raises('size', j.decode, '1', { size = 'x' })\n");
}

static void wrong_arguments_raise_in_the_callers_line(void **state)
{
    lab_run(&lab, "local j = gw.json\n"
                  "raises('string expected', j.decode, {}); raises('string expected', j.decode)\n"
                  "raises('table expected', j.decode, '1', 1); raises('value expected', j.encode)\n"
                  "raises('another metatable', j.array, setmetatable({}, {}))\n"
                  "raises('table expected', j.array, 1)\n"
                  "local ok, err = pcall(function()\n j.decode({})\n end)\n"
                  "equal('piece:7:', err:match('^piece:%d+:'))\n"
                  "raises('metatable', setmetatable, j.decode('[]'), {})\n"
                  "raises('read-only', function() j.decode = 1 end)\n");
}

/* Random values there and back; the same seed every time. */
static void random_values_come_back(void **state)
{
    lab_run(&lab,
            "local j = gw.json\n"
            "math.randomseed(42)\n"
            "local function text()\n"
            "  local t = {}\n"
            "  for i = 1, math.random(0, 40) do\n"
            "    local c = math.random(0, 130)\n"
            "    t[i] = c < 128 and string.char(c) or '\\226\\130\\172'\n"
            "  end\n"
            "  return table.concat(t)\n"
            "end\n"
            "local function value(depth)\n"
            "  local kind = math.random(depth > 5 and 5 or 7)\n"
            "  if kind == 1 then return text()\n"
            "  elseif kind == 2 then return math.random(-1e9, 1e9)\n"
            "  elseif kind == 3 then return (math.random() - 0.5) * 10 ^ math.random(-300, 300)\n"
            "  elseif kind == 4 then return math.random() < 0.5\n"
            "  elseif kind == 5 then return j.null\n"
            "  end\n"
            "  local t = {}\n"
            "  for i = 1, math.random(0, 6) do\n"
            "    if kind == 6 then t[i] = value(depth + 1) else t[text() .. 'k'] = value(depth + "
            "1) end\n"
            "  end\n"
            "  return kind == 6 and j.array(t) or t\n"
            "end\n"
            "for i = 1, 3000 do\n"
            "  local v = value(0)\n"
            "  local t, err = j.encode(v)\n"
            "  equal(nil, err)\n"
            "  local back, why = j.decode(t)\n"
            "  equal(nil, why)\n"
            "  if not same(v, back) then error('lost: ' .. t) end\n"
            "end\n");
}

/* Every prefix and every changed byte of a document: an answer or an error, nothing else. */
static void damaged_text_never_hurts(void **state)
{
    lab_run(&lab,
            "local j = gw.json\n"
            "local text = "
            "'{\"a\":[1,-2.5e+3,true,false,null,\"x\\\\u00e4\\\\ud83d\\\\ude00\\195\\164\\\\n\"],"
            "\"b\":{\"c\":{}}}'\n"
            "assert(j.decode(text))\n"
            "for i = 0, #text - 1 do fails('invalid', j.decode(text:sub(1, i))) end\n"
            "for i = 1, #text do\n"
            "  for c = 0, 255 do\n"
            "    local v, err = j.decode(text:sub(1, i - 1) .. string.char(c) .. text:sub(i + 1))\n"
            "    assert(v ~= nil or type(err) == 'string')\n"
            "  end\n"
            "end\n");
}

static void a_full_heap_leaves_the_codec_usable(void **state)
{
    struct lab small;

    lab_open(&small, NULL, 24 << 20);
    lab_start(
        &small,
        "local t = {} for i = 1, 100000 do t[i] = '[' .. i .. ',\"' .. ('x'):rep(50) .. '\"]' end\n"
        "local text = '[' .. table.concat(t, ',') .. ']'\n"
        "local all = {} for i = 1, 100 do all[i] = gw.json.decode(text) end\n");
    assert_true(small.over);
    assert_int_equal(small.rc, GW_TASK_FAILED);
    lab_run(&small,
            "equal('[1,{\"a\":\"b\"}]', gw.json.encode(gw.json.decode '[1,{\"a\":\"b\"}]'))");
    lab_close(&small);
}

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    char *data;

    assert_non_null(file);
    data = malloc(1 << 20);
    assert_non_null(data);
    *len = fread(data, 1, 1 << 20, file);
    (void)fclose(file);
    return data;
}

static int decode_status; /* 1: a value, 0: nil and an error */

static int note(lua_State *L)
{
    decode_status = lua_toboolean(L, 1);
    return 0;
}

static void decode_bytes(const char *data, size_t len)
{
    lua_State *L = gw_vm_main(lab.vm);

    lua_pushlstring(L, data, len);
    lua_setglobal(L, "text");
    lua_pushcfunction(L, note);
    lua_setglobal(L, "note");
    lab_run(&lab, "local v, err, code = gw.json.decode(text)\n"
                  "note(v ~= nil)\n"
                  "if v == nil then assert(err:match('^json: %d+:%d+: ') and code) end\n");
}

static void the_public_vectors_are_judged_right(void **state)
{
    const char *dir = "../shared/vectors/json";
    DIR *folder = opendir(dir);
    struct dirent *entry;
    int taken = 0, refused = 0;

    if (folder == NULL) {
        print_message("SKIPPED: the vectors are not at %s (run from the project's root)\n", dir);
        skip();
    }
    while ((entry = readdir(folder)) != NULL) {
        char path[512];
        size_t len;
        if (strstr(entry->d_name, ".json") == NULL)
            continue;
        (void)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        char *data = read_file(path, &len);
        decode_bytes(data, len);
        free(data);
        if (entry->d_name[0] == 'y' && decode_status != 1)
            fail_msg("%s was refused", entry->d_name);
        if (entry->d_name[0] == 'n' && decode_status != 0)
            fail_msg("%s was taken", entry->d_name);
        taken += entry->d_name[0] == 'y';
        refused += entry->d_name[0] == 'n';
    }
    (void)closedir(folder);
    assert_true(taken > 90);
    assert_true(refused > 180);
}

static int set_up(void **state)
{
    lab_open(&lab, NULL, 0);
    return 0;
}

static int tear_down(void **state)
{
    lab_close(&lab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_as_they_were),
        cmocka_unit_test(tables_have_one_form),
        cmocka_unit_test(what_json_does_not_have_is_refused),
        cmocka_unit_test(errors_name_line_and_column),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(wrong_arguments_raise_in_the_callers_line),
        cmocka_unit_test(random_values_come_back),
        cmocka_unit_test(damaged_text_never_hurts),
        cmocka_unit_test(the_public_vectors_are_judged_right),
        cmocka_unit_test(a_full_heap_leaves_the_codec_usable),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
