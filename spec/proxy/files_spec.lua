local kit = require("gateway.spec")

local MIB = 1024 * 1024

local CONF = [[
routes:
  - name: shouted
    match: { path: "/shout/*" }
    plugins: [ shout ]
    strip: /shout
    files: www
  - name: small-page
    match: { path: "/small/*" }
    strip: /small
    files: { root: www, index: "", cache_control: "max-age=300" }
  - name: www
    match: { path: "/www/*" }
    strip: /www
    files: www
  - name: all
    match: { path: "/*" }
    files: www
]]

local SHOUT = [[
local plugin = { name = "shout", priority = 1, schema = { type = "object" } }

function plugin.body_filter(_, _, chunk)
  return chunk:upper()
end

return plugin
]]

local FILES = {
  ["www/a.txt"] = "0123456789",
  ["www/empty.txt"] = "",
  ["www/index.html"] = "<p>home</p>",
  ["www/page.html"] = "<p>page</p>",
  ["www/sub/index.html"] = "<p>sub</p>",
  ["www/bare/b.json"] = "{}",
  ["www/.secret"] = "hidden",
  ["www/.git/config"] = "hidden",
  ["www/a b&c.txt"] = "space",
  ["www/r\195\169sum\195\169.txt"] = "accents",
  ["secret.txt"] = "outside",
  ["www-more/x.txt"] = "sibling",
}

local function sh(gateway, script, stdin)
  local code, out, err = kit.run("sh", { "-ec", script }, { cwd = gateway.dir, timeout = 60,
    stdin = stdin })
  assert.equal(0, code, err)
  return out
end

local gateway, client

local function get(path, headers, method)
  return client:request { method = method or "GET", path = path, headers = headers }
end

describe("files:", function()
  setup(function()
    gateway = kit.gateway { conf = CONF, plugins = { shout = SHOUT }, files = FILES }
  end)

  before_each(function() client = kit.client(gateway) end)

  it("gives a file, with its type, length, date and tag", function()
    local answer = get("/a.txt")

    assert.equal(200, answer.status)
    assert.equal("0123456789", answer.body)
    assert.matches("^text/plain", answer.headers["content-type"])
    assert.equal("10", answer.headers["content-length"])
    assert.equal("bytes", answer.headers["accept-ranges"])
    assert.matches('^"[^"]+"$', answer.headers["etag"])
    assert.matches("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$",
      answer.headers["last-modified"])
    assert.is_nil(answer.headers["cache-control"])
  end)

  it("gives an empty file", function()
    local answer = get("/empty.txt")

    assert.equal(200, answer.status)
    assert.equal("0", answer.headers["content-length"])
    assert.equal("", answer.body)
  end)

  it("knows types", function()
    assert.matches("^text/html", get("/page.html").headers["content-type"])
    assert.matches("^application/json", get("/bare/b.json").headers["content-type"])
  end)

  it("finds names with other bytes than letters", function()
    assert.equal("space", get("/a%20b&c.txt").body)
    assert.equal("accents", get("/r%C3%A9sum%C3%A9.txt").body)
  end)

  it("strips the route's prefix", function()
    assert.equal("0123456789", get("/www/a.txt").body)
  end)

  it("sends the Cache-Control of the route", function()
    assert.equal("max-age=300", get("/small/a.txt").headers["cache-control"])
  end)

  describe("HEAD", function()
    it("has the same fields and no body", function()
      local conn = client:connect()

      conn:write("HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
      local head = conn:read_answer("HEAD")
      conn:write("GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
      local whole = conn:read_answer()

      assert.equal("10", head.headers["content-length"])
      for _, name in ipairs { "etag", "last-modified", "content-type", "accept-ranges" } do
        assert.equal(whole.headers[name], head.headers[name])
      end
      assert.equal("0123456789", whole.body)
    end)
  end)

  for _, method in ipairs { "POST", "PUT", "DELETE", "PATCH" } do
    it("answers 405 to " .. method, function()
      local answer = get("/a.txt", nil, method)

      assert.equal(405, answer.status)
      assert.matches("GET", answer.headers["allow"])
      assert.matches("HEAD", answer.headers["allow"])
    end)
  end

  describe("a folder", function()
    it("gives its page", function()
      assert.equal("<p>home</p>", get("/").body)
      assert.equal("<p>sub</p>", get("/sub/").body)
    end)

    it("without its slash is redirected, in the client's own path", function()
      local answer = get("/www/sub?a=b")

      assert.equal(301, answer.status)
      assert.matches("^[^/]*/?/?[^/]*/www/sub/%?a=b$", answer.headers["location"])
      assert.is_nil(answer.headers["location"]:match("^//"))
    end)

    it("without a page is 404", function()
      assert.equal(404, get("/bare/").status)
      assert.equal(404, get("/small/sub/").status)
    end)

    it("does not make a redirect to another host", function()
      for _, path in ipairs { "//sub", "///sub", "/\\sub", "/%5Csub", "//example.com/../sub",
        "/.//sub", "//sub?x" } do
        local answer = get(path)
        assert.is_nil((answer.headers["location"] or ""):match("^[/\\][/\\]"), path)
      end
    end)
  end)

  describe("conditions", function()
    local tag, date

    before_each(function()
      local answer = get("/a.txt")
      tag, date = answer.headers["etag"], answer.headers["last-modified"]
    end)

    it("are answered with 304, without a body", function()
      for _, headers in ipairs {
        { ["If-None-Match"] = tag },
        { ["If-None-Match"] = "W/" .. tag },
        { ["If-None-Match"] = '"x", ' .. tag },
        { ["If-None-Match"] = "*" },
        { ["If-Modified-Since"] = date },
      } do
        local conn = client:connect()
        conn:write(kit.request_bytes { path = "/a.txt", headers = headers })
        local answer = conn:read_answer()
        assert.equal(304, answer.status)
        assert.equal(tag, answer.headers["etag"])
        conn:write("GET /page.html HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.equal("<p>page</p>", conn:read_answer().body)
      end
    end)

    it("that do not hold give the file", function()
      for _, headers in ipairs {
        { ["If-None-Match"] = '"other"' },
        { ["If-None-Match"] = '"other"', ["If-Modified-Since"] = date },
        { ["If-Modified-Since"] = "Sat, 01 Jan 2000 00:00:00 GMT" },
        { ["If-Modified-Since"] = "yesterday" },
        { ["If-Match"] = tag },
      } do
        assert.equal("0123456789", get("/a.txt", headers).body)
      end
    end)

    it("that must hold and do not give 412", function()
      assert.equal(412, get("/a.txt", { ["If-Match"] = '"other"' }).status)
      assert.equal(412, get("/a.txt", { ["If-Match"] = "W/" .. tag }).status)
      assert.equal(412, get("/a.txt", {
        ["If-Unmodified-Since"] = "Sat, 01 Jan 2000 00:00:00 GMT" }).status)
    end)

    it("see a file that has changed", function()
      gateway:write("www/changing.txt", "one")
      local before = get("/changing.txt").headers["etag"]

      gateway:write("www/changing.txt", "two!")
      local answer = get("/changing.txt", { ["If-None-Match"] = before })

      assert.equal("two!", answer.body)
      assert.not_equal(before, answer.headers["etag"])
    end)
  end)

  describe("Range", function()
    for range, wanted in pairs {
      ["bytes=0-0"] = { "0", "bytes 0-0/10" },
      ["bytes=2-5"] = { "2345", "bytes 2-5/10" },
      ["bytes=7-"] = { "789", "bytes 7-9/10" },
      ["bytes=-3"] = { "789", "bytes 7-9/10" },
      ["bytes=-300"] = { "0123456789", "bytes 0-9/10" },
      ["bytes=5-1000"] = { "56789", "bytes 5-9/10" },
    } do
      it(range .. " gives a part", function()
        local answer = get("/a.txt", { Range = range })

        assert.equal(206, answer.status)
        assert.equal(wanted[1], answer.body)
        assert.equal(wanted[2], answer.headers["content-range"])
        assert.equal(tostring(#wanted[1]), answer.headers["content-length"])
      end)
    end

    for _, range in ipairs { "bytes=10-", "bytes=100-200", "bytes=-0" } do
      it(range .. " is beyond the end: 416", function()
        local answer = get("/a.txt", { Range = range })

        assert.equal(416, answer.status)
        assert.equal("bytes */10", answer.headers["content-range"])
      end)
    end

    it("of an empty file is 416, or the empty file", function()
      assert.equal(416, get("/empty.txt", { Range = "bytes=0-0" }).status)
    end)

    for _, range in ipairs { "bytes=5-2", "lines=1-2", "bytes=a-b", "bytes", "bytes=",
      "bytes=99999999999999999999-" } do
      it(range .. " is no range that could be kept", function()
        local answer = get("/a.txt", { Range = range })

        assert.is_true(answer.status == 200 or answer.status == 416)
        if answer.status == 200 then
          assert.equal("0123456789", answer.body)
        end
      end)
    end

    it("holds only for the file that If-Range means", function()
      local tag = get("/a.txt").headers["etag"]

      assert.equal(206, get("/a.txt", { Range = "bytes=1-2", ["If-Range"] = tag }).status)
      assert.equal(200, get("/a.txt", { Range = "bytes=1-2", ["If-Range"] = '"x"' }).status)
      assert.equal(200, get("/a.txt", { Range = "bytes=1-2", ["If-Range"] = "W/" .. tag }).status)
    end)

    it("continues what curl has begun", function()
      sh(gateway, "printf 0123 > part.txt")
      local out = sh(gateway, ("curl -s -C - -o part.txt %s && cat part.txt")
        :format(gateway:url("/a.txt")))

      assert.equal("0123456789", out)
    end)
  end)

  describe("a name that would lead out of the folder", function()
    setup(function()
      sh(gateway, [[
        ln -s ../secret.txt www/out.txt
        ln -s .. www/up
        ln -s /etc www/etc
        ln -s a.txt www/in.txt
        ln -s loop www/loop
        mkfifo www/pipe
        mkdir www/closed && printf x > www/closed/x.txt
      ]])
    end)

    for _, path in ipairs {
      "/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "/%2E%2E/secret.txt",
      "/.%2e/secret.txt", "/sub/../../secret.txt", "/sub/%2e%2e/%2e%2e/secret.txt",
      "/..%5csecret.txt", "/..\\secret.txt", "/sub/..%2f..%2fsecret.txt",
      "/%252e%252e/secret.txt", "/%c0%ae%c0%ae/secret.txt", "/..;/secret.txt",
      "/....//secret.txt", "/www/../../secret.txt", "/www%2f..%2f..%2fsecret.txt",
      "/a.txt/../../secret.txt", "/a.txt%00.html", "/%00", "/../www-more/x.txt",
      "/www/../www-more/x.txt", "//etc/passwd", "/etc/passwd", "/up/secret.txt", "/out.txt",
      "/.secret", "/%2esecret", "/.git/config", "/sub/.././.git/config", "/%2egit/config",
      "/file:///etc/passwd", "/proc/self/environ", "/a.txt/", "/a.txt/x", "/loop", "/pipe",
    } do
      it("is refused: " .. path, function()
        local answer = client:send("GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n")

        assert.is_true(answer.status == 400 or answer.status == 404, path .. " " .. answer.status)
        for _, inside in ipairs { "outside", "hidden", "sibling", "root:" } do
          assert.is_nil(answer.body:find(inside, 1, true))
        end
      end)
    end

    it("does not hinder one that stays inside", function()
      assert.equal("0123456789", get("/in.txt").body)
      assert.equal("0123456789", get("/sub/../a.txt").body)
      assert.equal("0123456789", get("/%61.txt").body)
    end)

    it("is as long as a path may be", function()
      local status = get("/" .. ("x"):rep(5000)).status
      assert.is_true(status == 404 or status == 414)
    end)
  end)

  it("gives problem+json for what is not there", function()
    local answer = get("/nothing")

    assert.equal(404, answer.status)
    assert.equal("application/problem+json", answer.headers["content-type"])
    assert.equal("/nothing", gw.json.decode(answer.body).instance)
  end)

  describe("body_filter", function()
    it("changes a file; its tag turns weak and its length is open", function()
      local answer = get("/shout/page.html")

      assert.equal("<P>PAGE</P>", answer.body)
      assert.matches('^W/"', answer.headers["etag"])
      assert.is_nil(answer.headers["content-length"])
      assert.is_nil(answer.headers["accept-ranges"])
    end)

    it("sees the whole file whatever Range says", function()
      local answer = get("/shout/page.html", { Range = "bytes=0-2" })

      assert.equal(200, answer.status)
      assert.equal("<P>PAGE</P>", answer.body)
    end)

    it("does not run for HEAD, nor for 304", function()
      local tag = get("/shout/page.html").headers["etag"]

      assert.equal(200, get("/shout/page.html", nil, "HEAD").status)
      assert.equal(304, get("/shout/page.html", { ["If-None-Match"] = tag }).status)
    end)

    it("changes an empty file and 4 MiB", function()
      gateway:write("www/many.txt", ("abcdefgh"):rep(MIB / 2))

      assert.equal("", get("/shout/empty.txt").body)
      assert.is_true(get("/shout/many.txt").body == ("ABCDEFGH"):rep(MIB / 2))
    end)
  end)

  it("keeps a pipeline in order", function()
    local conn, names = client:connect(), { "/a.txt", "/page.html", "/empty.txt", "/nothing", "/" }
    local wanted = { "0123456789", "<p>page</p>", "", nil, "<p>home</p>" }
    for _, name in ipairs(names) do
      conn:write("GET " .. name .. " HTTP/1.1\r\nHost: a\r\n\r\n")
    end

    for i = 1, #names do
      local answer = conn:read_answer()
      assert.equal(wanted[i] or answer.body, answer.body)
      assert.equal(wanted[i] and 200 or 404, answer.status)
    end
  end)
end)

describe("a large file", function()
  local sum

  setup(function()
    gateway = kit.gateway { conf = CONF, plugins = { shout = SHOUT }, files = FILES }
    sum = sh(gateway, "head -c 104857600 /dev/urandom > www/large.bin; sha256sum < www/large.bin")
  end)

  before_each(function() client = kit.client(gateway) end)

  local function fetch(options)
    return sh(gateway, ("curl -s %s %s | sha256sum"):format(options, gateway:url("/large.bin")))
  end

  it("of 100 MiB arrives whole", function()
    assert.equal(sum, fetch(""))
  end)

  it("arrives whole at a client that reads slowly", function()
    assert.equal(sum, fetch("--limit-rate 40M"))
  end)

  it("arrives whole when it is not in memory", function()
    sh(gateway, "python3 -c 'import os; f = os.open(\"www/large.bin\", os.O_RDONLY); "
      .. "os.fsync(f); os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)'")

    assert.equal(sum, fetch(""))
  end)

  it("arrives whole in parts", function()
    local out = sh(gateway, ("(curl -s -r 0-9999999 %s; curl -s -r 10000000- %s) | sha256sum")
      :format(gateway:url("/large.bin"), gateway:url("/large.bin")))

    assert.equal(sum, out)
  end)

  it("waits for a client that stops, without memory", function()
    local conn = client:connect()
    conn:buffers(nil, 32768)
    conn:write("GET /large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    conn:read_head()

    local function rss()
      return tonumber(sh(gateway, "grep VmRSS /proc/" .. gateway:worker_pids()[1] .. "/status")
        :match("%d+"))
    end
    local before = rss()
    assert.equal("0123456789", client:get("/a.txt").body)
    local left = 104857600
    for _ = 1, 200 do
      left = left - #conn:read(65536)
    end
    assert.is_true(rss() - before < 8192)
    while left > 0 do
      left = left - #conn:read(math.min(left, MIB))
    end
    assert.equal("", (conn:read_all()))
  end)

  it("that shrinks while it is sent cuts the answer, and nothing else", function()
    sh(gateway, "cp www/large.bin www/shrinks.bin")
    local conn = client:connect()
    conn:buffers(nil, 32768)
    conn:write("GET /shrinks.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read_head()
    conn:read(1000)

    sh(gateway, "truncate -s 1000 www/shrinks.bin")
    local rest = conn:read_all(20)

    assert.is_true(#rest < 104857600 - 1000)
    assert.equal("0123456789", client:get("/a.txt").body)
    gateway:wait_log("shrank")
  end)

  it("that grows while it is sent keeps its length", function()
    sh(gateway, "head -c 8388608 www/large.bin > www/grows.bin")
    local conn = client:connect()
    conn:buffers(nil, 32768)
    conn:write("GET /grows.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    local head = kit.parse_answer(conn:read_head())
    conn:read(1000)

    sh(gateway, "head -c 1000000 www/large.bin >> www/grows.bin")

    assert.equal("8388608", head.headers["content-length"])
    assert.equal(8388608 - 1000, #conn:read_all(20))
  end)

  it("that is deleted while it is sent arrives whole", function()
    sh(gateway, "cp www/large.bin www/gone.bin")
    local conn = client:connect()
    conn:write("GET /gone.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    conn:read_head()

    sh(gateway, "rm www/gone.bin")

    local left = 104857600
    while left > 0 do
      left = left - #conn:read(math.min(left, MIB))
    end
    assert.equal("", (conn:read_all()))
    assert.equal(404, client:get("/gone.bin").status)
  end)

  it("of a client that leaves is let go", function()
    local pid = gateway:worker_pids()[1]
    local conn = client:connect()
    conn:buffers(nil, 32768)
    conn:write("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read_head()
    conn:read(1000)

    conn:reset()

    kit.eventually(function()
      return not sh(gateway, "ls -l /proc/" .. pid .. "/fd"):find("large.bin", 1, true)
    end)
  end)
end)
