/* gw.crypto, gw.base64, gw.hex, gw.uuid, gw.env, gw.regex, gw.log */
#include "test/script/lib_test.h"

#include <fcntl.h>

static struct lab lab;

static void digests_are_hex_unless_raw(void **state)
{
    lab_run(&lab,
            "local c = gw.crypto\n"
            "equal('900150983cd24fb0d6963f7d28e17f72', c.md5 'abc')\n"
            "equal('a9993e364706816aba3e25717850c26c9cd0d89d', c.sha1('abc', 'hex'))\n"
            "equal('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad', c.sha256 "
            "'abc')\n"
            "equal(96, #c.sha384 '') equal(128, #c.sha512 '') equal(32, #c.sha256('', 'raw'))\n"
            "equal(c.sha256 'a', gw.hex.encode(c.sha256('a', 'raw')))\n"
            "equal('f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8',\n"
            "  c.hmac('sha256', 'key', 'The quick brown fox jumps over the lazy dog'))\n"
            "equal(20, #c.hmac('SHA1', '', '', 'raw'))\n"
            "raises('string expected', c.sha256) raises('invalid option', c.sha256, 'a', 'x')\n"
            "raises('one of md5', c.hmac, 'md4', 'k', 'd') raises('string expected', c.hmac, "
            "'md5', 'k')\n");
}

static void equal_and_random(void **state)
{
    lab_run(&lab,
            "local c = gw.crypto\n"
            "equal(true, c.equal('abc', 'abc')) equal(false, c.equal('abc', 'abd')) equal(false, "
            "c.equal('a', 'ab'))\n"
            "equal(true, c.equal('', '')) raises('string expected', c.equal, 'a', nil)\n"
            "equal(0, #c.random(0)) equal(65536, #c.random(65536)) equal(16, #c.random(16))\n"
            "assert(c.random(16) ~= c.random(16)) assert(c.random(5000) ~= c.random(5000))\n"
            "raises('whole number', c.random, -1) raises('whole number', c.random, 65537)\n"
            "raises('whole number', c.random, 1.5) raises('number expected', c.random, 'x')\n");
}

static void base64_and_hex(void **state)
{
    lab_run(&lab, "local b, h = gw.base64, gw.hex\n"
                  "equal('Zm9vYg==', b.encode 'foob') equal('foob', b.decode 'Zm9vYg==')\n"
                  "equal('-__-', b.encode_url '\\251\\255\\254') equal('\\251\\255\\254', "
                  "b.decode_url '-__-')\n"
                  "equal('Zg', b.encode_url 'f')\n"
                  "local all = {} for i = 0, 255 do all[i + 1] = string.char(i) end\n"
                  "local long = table.concat(all):rep(40)\n"
                  "equal(long, b.decode(b.encode(long))) equal(long, "
                  "b.decode_url(b.encode_url(long))) equal(long, h.decode(h.encode(long)))\n"
                  "fails('invalid', b.decode 'Zg') fails('invalid', b.decode_url 'Z') "
                  "fails('invalid', b.decode(('Zm9v'):rep(1000) .. '!!!!'))\n"
                  "local _, err = b.decode 'Zm9v*m9v' equal('base64: wrong at character 5', err)\n"
                  "equal('00ff', h.encode '\\0\\255') fails('invalid', h.decode 'abc') "
                  "fails('invalid', h.decode('zz'))\n"
                  "raises('string expected', b.encode) raises('string expected', h.decode, {})\n");
}

static void uuids_and_the_environment(void **state)
{
    assert_int_equal(setenv("GW_TEST_LIB", "value", 1), 0);
    lab_run(&lab,
            "local form = "
            "'^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$'\n"
            "assert(gw.uuid():find(form)) assert(gw.uuid.v4():find(form)) assert(gw.uuid() ~= "
            "gw.uuid())\n"
            "local a, b = gw.uuid.v7(), gw.uuid.v7() assert(a < b) equal('7', a:sub(15, 15))\n"
            "local ms = tonumber(a:sub(1, 8) .. a:sub(10, 13), 16)\n"
            "assert(math.abs(ms - gw.time.real()) < 5000)\n"
            "raises('read-only', function() gw.uuid.v4 = nil end)\n"
            "equal('value', gw.env 'GW_TEST_LIB') equal(nil, gw.env 'GW_TEST_ABSENT')\n"
            "raises('string expected', gw.env)\n");
}

static void regex_finds_and_matches(void **state)
{
    lab_run(&lab,
            "local r = gw.regex\n"
            "local m = r.match('2026-11-21', '(?<y>\\\\d+)-(\\\\d+)-(\\\\d+)(x)?')\n"
            "equal('2026-11-21', m[0]) equal('2026', m[1]) equal('21', m[3]) equal(false, m[4]) "
            "equal('2026', m.y)\n"
            "equal(nil, r.match('abc', 'x')) equal(1, select('#', r.match('abc', 'x')))\n"
            "local a, b = r.find('hello world', 'o w') equal(5, a) equal(7, b)\n"
            "a, b = r.find('abab', 'ab', '', 2) equal(3, a)\n"
            "a, b = r.find('abc', '$') equal(4, a) equal(3, b)\n"
            "equal('AB', r.match('xABx', 'ab', 'i')[0])\n"
            "equal(nil, r.match('a\\nb', 'a.b')) equal('a\\nb', r.match('a\\nb', 'a.b', 's')[0])\n"
            "equal('\\195\\164', r.match('\\195\\164', '^.$', 'u')[0]) equal(nil, "
            "r.match('\\195\\164', '^.$'))\n"
            "equal(nil, r.find('xab', 'ab', 'a'))\n"
            "equal('a\\0b', r.match('a\\0b', 'a\\\\x00b')[0])\n");
}

static void regex_replaces(void **state)
{
    lab_run(
        &lab,
        "local r = gw.regex\n"
        "local s, n = r.gsub('a1b22', '(\\\\d+)', '<$1>') equal('a<1>b<22>', s) equal(2, n)\n"
        "equal('b-a', (r.gsub('a-b', '(?<x>\\\\w)-(\\\\w)', '$2-${x}')))\n"
        "equal('$5 $', (r.gsub('x', 'x', '$$5 $$')))\n"
        "equal('-a-b-', (r.gsub('ab', '', '-'))) equal('ab', (r.gsub('ab', 'z', '-')))\n"
        "equal('A-b', (r.gsub('a-b', '^(.)', function(m) return m[1]:upper() end)))\n"
        "equal('ab', (r.gsub('ab', '.', function() return nil end)))\n"
        "equal('1 b', (r.gsub('a b', 'a', function() return 1 end)))\n"
        "equal('xx', (r.gsub('ab', '.', function() return (r.gsub('q', 'q', function() return 'x' "
        "end)) end)))\n"
        "local long = ('ab'):rep(20000)\n"
        "equal(('AB'):rep(20000), (r.gsub(long, '[ab]', function(m) return m[0]:upper() end)))\n"
        "raises('no group', r.gsub, 'a', 'a', '$1') raises('no group', r.gsub, 'a', 'a', '${x}') "
        "raises('no group', r.gsub, 'a', 'a', '$x')\n"
        "raises('returned a table', r.gsub, 'a', 'a', function() return {} end)\n"
        "raises('stop', r.gsub, 'a', 'a', function() error 'stop' end)\n"
        "fails('limit', r.gsub(('a'):rep(20000), 'a', ('b'):rep(1000)))\n"
        "raises('string expected', r.gsub, 'a', 'a')\n");
}

static void regex_limits_hold(void **state)
{
    lab_run(&lab,
            "local r = gw.regex\n"
            "fails('limit', r.match(('a'):rep(60) .. 'b', '^(a+)+$'))\n"
            "fails('limit', r.find(('a'):rep(60) .. 'b', '^(a+)+$')) fails('limit', "
            "r.gsub(('a'):rep(60) .. 'b', '^(a+)+$', 'x'))\n"
            "fails('invalid', r.match('a', '(')) fails('invalid', r.gsub('a', '[', 'x')) "
            "fails('limit', r.find('a', ('a'):rep(20000)))\n"
            "raises('imsxua', r.match, 'a', 'a', 'q') raises('string expected', r.match, 'a') "
            "raises('a place', r.match, 'a', 'a', '', 3)\n"
            "raises('a place', r.match, 'a', 'a', '', 0)\n"
            "for round = 1, 2 do\n"
            "  for i = 1, 1500 do equal(tostring(i), r.match('x' .. i, 'x(' .. i .. ')')[1]) end\n"
            "  collectgarbage()\n"
            "end\n"
            "equal('a', r.match('a', 'A', 'i')[0]) equal(nil, r.match('a', 'A')) equal('a', "
            "r.match('a', 'A', 'i')[0])\n"
            "equal(nil, r.match('A', '\\0A')) equal('\\0A', r.match('\\0A', '\\0A')[0])\n");
}

static char *log_lines(const char *piece)
{
    static char text[65536];
    char path[] = "/tmp/gw-lib-log-XXXXXX";
    int fd = mkstemp(path);
    ssize_t len;

    assert_true(fd >= 0);
    gw_log_set_fd(dup(fd));
    lab_run(&lab, piece);
    gw_log_set_fd(STDERR_FILENO);
    len = pread(fd, text, sizeof(text) - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    (void)close(fd);
    (void)unlink(path);
    return text;
}

static void log_lines_are_one_fact_each(void **state)
{
    char *text = log_lines(
        "gw.log.info('quota of %s is %d', 'a', 7) gw.log('plain', nil, true, 1.5)\n"
        "gw.log.warn('100% sure') gw.log.error('%d of %s', 'x') gw.log.debug('not seen')\n"
        "gw.log.info('a\\nb\\n\\tc\\0d\\27') gw.log.info() gw.log.info(setmetatable({}, { "
        "__tostring = function() error 'x' end }))\n"
        "gw.log.info(('y'):rep(100000))\n");

    assert_non_null(strstr(text, " info moongate: script: quota of a is 7\n"));
    assert_non_null(strstr(text, " info moongate: script: plain nil true 1.5\n"));
    assert_non_null(strstr(text, " warn moongate: script: 100% sure\n"));
    assert_non_null(strstr(text, " error moongate: script: %d of %s x\n"));
    assert_non_null(strstr(text, " info moongate: script: a\\nb\\n\tc\\0d\\x1b\n"));
    assert_non_null(strstr(text, " info moongate: script: (table)\n"));
    assert_null(strstr(text, "not seen"));
    assert_non_null(strstr(text, "yyyyyyyyyyyyyyyy\n"));
    lab_run(&lab, "raises('read-only', function() gw.log.info = print end)\n"
                  "raises('', rawset, gw.log, 'info', print)\n"
                  "raises('too many', gw.log.info, unpack({}, 1, 65))\n");
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
        cmocka_unit_test(digests_are_hex_unless_raw),
        cmocka_unit_test(equal_and_random),
        cmocka_unit_test(base64_and_hex),
        cmocka_unit_test(uuids_and_the_environment),
        cmocka_unit_test(regex_finds_and_matches),
        cmocka_unit_test(regex_replaces),
        cmocka_unit_test(regex_limits_hold),
        cmocka_unit_test(log_lines_are_one_fact_each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
