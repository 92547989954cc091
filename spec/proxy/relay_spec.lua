local kit = require("gateway.spec")

local CONF = [[
%s
routes:
  - name: all
    match: { path: "/*" }
    upstream: ${UPSTREAM}
]]

local MIB = 1024 * 1024

describe("relaying", function()
  local upstream, gateway, client

  --- One gateway for all; each test scripts an upstream of its own behind it.
  setup(function()
    upstream = kit.upstream()
    gateway = kit.gateway { conf = CONF:format("limits: { header_timeout: 5s }"),
      env = { UPSTREAM = upstream:url() } }
    client = kit.client(gateway)
  end)

  before_each(function()
    upstream:drop()
    upstream:clear()
    upstream:on(nil)
    upstream:answer { body = "upstream\n" }
  end)

  --- Bytes that repeat late, so that a lost or doubled piece is seen.
  local function body_of(bytes)
    local parts = {}
    for i = 1, bytes / 16 do
      parts[i] = ("%015d\n"):format(i)
    end
    return table.concat(parts)
  end

  describe("a request", function()
    it("goes through, method, path, query and fields", function()
      local answer = client:request { method = "GET", path = "/a/b?x=1&y=%20",
        headers = { ["X-One"] = "1", ["Accept"] = "text/plain" } }

      assert.equal(200, answer.status)
      assert.equal("upstream\n", answer.body)
      local request = upstream:request()
      assert.equal("GET", request.method)
      assert.equal("/a/b?x=1&y=%20", request.target)
      assert.equal("1", request.headers["x-one"])
      assert.equal("text/plain", request.headers["accept"])
      assert.equal("1.1", request.version)
    end)

    it("takes its body along, with its length", function()
      client:request { method = "POST", body = "hello" }

      local request = upstream:request()
      assert.equal("hello", request.body)
      assert.equal("5", request.headers["content-length"])
      assert.is_nil(request.headers["transfer-encoding"])
    end)

    it("takes a chunked body along", function()
      client:request { method = "PUT", chunked = true, body = { "he", "llo", " there" } }

      local request = upstream:request()
      assert.equal("hello there", request.body)
      assert.is_nil(request.headers["content-length"])
      assert.equal("chunked", request.headers["transfer-encoding"])
    end)

    it("may have any method token", function()
      client:request { method = "BREW", path = "/pot" }

      assert.equal("BREW", upstream:request().method)
    end)

    it("leaves the fields of its own connection behind", function()
      client:send("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\n"
        .. "Keep-Alive: timeout=5\r\nTE: gzip\r\nX-Other: 2\r\n\r\n")

      local request = upstream:request()
      assert.is_nil(request.headers["x-mine"])
      assert.is_nil(request.headers["keep-alive"])
      assert.is_nil(request.headers["te"])
      assert.equal("2", request.headers["x-other"])
    end)

    it("of 1 MiB arrives whole", function()
      local body = body_of(MIB)

      local answer = client:request { method = "POST", body = body }

      assert.equal(200, answer.status)
      assert.is_true(upstream:request().body == body)
    end)

    it("of 1 MiB in chunks arrives whole", function()
      local body = body_of(MIB)
      local pieces = {}
      for i = 1, MIB, 10000 do
        pieces[#pieces + 1] = body:sub(i, i + 9999)
      end

      client:request { method = "POST", body = pieces, chunked = true }

      assert.is_true(upstream:request().body == body)
    end)

    it("flows while it comes", function()
      local seen = {}
      upstream:on(function(conn)
        conn:read_head()
        seen[1] = conn:read(5)
        seen[2] = conn:read(5)
        conn:write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        conn:read(1)
      end)
      local conn = client:connect()

      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
      kit.eventually(function() return seen[1] end)
      assert.is_nil(seen[2])
      conn:write("later")

      assert.equal(200, conn:read_answer().status)
      assert.same({ "first", "later" }, seen)
    end)
  end)

  describe("an answer", function()
    it("goes through, status, reason, fields and body", function()
      upstream:answer("HTTP/1.1 418 Teapot\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 3\r\n\r\ntea")

      local answer = client:get("/")

      assert.equal(418, answer.status)
      assert.equal("1, 2", answer.headers["x-a"])
      assert.equal("3", answer.headers["content-length"])
      assert.equal("tea", answer.body)
    end)

    it("in chunks stays in chunks, with its trailers", function()
      upstream:answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        .. "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n")

      local answer = client:send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n"
        .. "Connection: TE\r\n\r\n")

      assert.equal("chunked", answer.headers["transfer-encoding"])
      assert.equal("abcdefg", answer.body)
      assert.equal("7", answer.trailers["x-sum"])
    end)

    it("that ends with its connection becomes one of our own chunks", function()
      upstream:answer("HTTP/1.1 200 OK\r\n\r\nuntil the end")

      local answer = client:get("/")

      assert.equal("until the end", answer.body)
      assert.equal("chunked", answer.headers["transfer-encoding"])
    end)

    it("to HEAD has no body, and keeps its length", function()
      upstream:answer("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
      local conn = client:connect()

      conn:write("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
      local head = conn:read_answer("HEAD")
      upstream:answer { body = "next" }
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      local second = conn:read_answer()

      assert.equal("1234", head.headers["content-length"])
      assert.equal(200, second.status)
    end)

    for _, status in ipairs { 204, 304 } do
      it(("of %d has no body, and the connection goes on"):format(status), function()
        upstream:answer(("HTTP/1.1 %d X\r\nETag: \"a\"\r\n\r\n"):format(status))
        local conn = client:connect()

        conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        local first = conn:read_answer()
        upstream:answer { body = "next" }
        conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        local second = conn:read_answer()

        assert.equal(status, first.status)
        assert.is_nil(first.headers["transfer-encoding"])
        assert.equal("next", second.body)
      end)
    end

    it("of 1 MiB arrives whole", function()
      local body = body_of(MIB)
      upstream:answer { body = body }

      local answer = client:get("/")

      assert.is_true(answer.body == body)
    end)

    it("of 1 MiB arrives whole at a slow client", function()
      local body = body_of(MIB)
      upstream:answer { body = body }
      local conn = client:connect()
      conn:buffers(nil, 32768)

      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      kit.eventually(function() return upstream:requests() == 1 end)
      local answer = conn:read_answer()

      assert.is_true(answer.body == body)
    end)

    it("flows while it comes", function()
      upstream:on(function(conn)
        conn:read_head()
        conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        conn:read(1)
      end)
      local conn = client:connect()

      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:read_head()

      assert.equal("5\r\nfirst\r\n", conn:read(10))
    end)

    it("that comes before the request's body is over is passed on", function()
      upstream:on(function(conn)
        conn:read_head()
        conn:write("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        conn:read(MIB)
      end)
      local conn = client:connect()

      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" .. ("x"):rep(1000))
      local answer = conn:read_answer()

      assert.equal(413, answer.status)
      assert.equal("much", answer.body)
    end)

    it("that is cut short cuts the client's too", function()
      upstream:on(function(conn)
        conn:read_head()
        conn:write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
      end)
      local conn = client:connect()

      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:read_head()
      local came = conn:read_all()

      assert.equal("short", came)
    end)

    it("in chunks that is cut short has no last chunk", function()
      upstream:on(function(conn)
        conn:read_head()
        conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n")
      end)
      local conn = client:connect()

      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:read_head()
      local came = conn:read_all()

      assert.is_nil(came:find("0\r\n\r\n", 1, true))
    end)

    it("is preceded by its 1xx", function()
      upstream:answer("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        .. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

      local answer = client:get("/")

      assert.equal(103, answer.informational[1].status)
      assert.equal("</a.css>", answer.informational[1].headers["link"])
      assert.equal("ok", answer.body)
    end)
  end)

  describe("a connection", function()
    it("serves one request after the other, on one connection behind", function()
      local conn = client:connect()

      for i = 1, 5 do
        conn:write(("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(i))
        assert.equal("upstream\n", conn:read_answer().body)
      end

      assert.equal(5, upstream:requests())
      assert.equal(upstream:request(1).connection, upstream:request(5).connection)
    end)

    it("answers pipelined requests in their order", function()
      upstream:answer(function(request)
        -- The first one takes longest.
        gw.sleep(request.path == "/1" and 0.05 or 0)
        return { body = request.path }
      end)
      local conn, bytes = client:connect(), {}
      for i = 1, 10 do
        bytes[i] = ("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(i)
      end

      conn:write(table.concat(bytes))

      for i = 1, 10 do
        assert.equal("/" .. i, conn:read_answer().body)
      end
    end)

    it("ends when the client asks for it", function()
      local answer = client:request { headers = { Connection = "close" } }

      assert.equal("close", answer.headers["connection"])
      assert.is_true(answer.closed)
    end)

    it("goes on when the upstream's ends", function()
      local conn = client:connect()
      upstream:answer { headers = { Connection = "close" }, body = "one" }

      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      local first = conn:read_answer()
      upstream:answer { body = "two" }
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      local second = conn:read_answer()

      assert.equal("one", first.body)
      assert.is_nil(first.headers["connection"])
      assert.equal("two", second.body)
    end)

    it("that the client half-closes still gets its answer", function()
      upstream:answer(function()
        gw.sleep(0.02)
        return { body = "late" }
      end)
      local conn = client:connect()

      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:half_close()

      assert.equal("late", conn:read_answer().body)
      assert.is_true(conn:closed())
    end)

    it("that the client leaves takes the upstream's with it", function()
      local ended
      upstream:on(function(conn)
        conn:read_head()
        ended = conn:closed(5)
      end)
      local conn = client:connect()

      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      kit.eventually(function() return upstream:requests() == 1 end)
      conn:reset()

      assert.is_true(kit.eventually(function() return ended end))
    end)
  end)

  describe("a client of HTTP/1.0", function()
    it("gets its answer and the end of the connection", function()
      local answer = client:send("GET / HTTP/1.0\r\nHost: a\r\n\r\n")

      assert.equal("upstream\n", answer.body)
      assert.is_true(answer.closed)
    end)

    it("gets a chunked answer without chunks", function()
      upstream:answer { chunked = true, body = { "abc", "def" } }

      local answer = client:send("GET / HTTP/1.0\r\nHost: a\r\n\r\n")

      assert.is_nil(answer.headers["transfer-encoding"])
      assert.equal("abcdef", answer.body)
    end)

    it("keeps its connection when it asks for it", function()
      local conn = client:connect()

      for _ = 1, 2 do
        conn:write("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        local answer = conn:read_answer()
        assert.equal("upstream\n", answer.body)
        assert.equal("keep-alive", answer.headers["connection"])
      end
    end)
  end)

  describe("Expect: 100-continue", function()
    it("is answered before the body is sent", function()
      local conn = client:connect()

      conn:write("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
      local head = conn:read_head()
      conn:write("body")
      local answer = conn:read_answer()

      assert.matches("^HTTP/1%.1 100 ", head)
      assert.equal(200, answer.status)
      assert.equal("body", upstream:request().body)
    end)

    it("is not waited for when the body comes at once", function()
      local answer = client:send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        .. "Content-Length: 4\r\n\r\nbody")

      assert.equal(200, answer.status)
      assert.equal("body", upstream:request().body)
    end)

    it("of anything else is refused", function()
      local answer = client:send("POST / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n"
        .. "Content-Length: 4\r\n\r\nbody")

      assert.equal(417, answer.status)
      assert.equal(0, upstream:requests())
    end)
  end)

  describe("Upgrade", function()
    local REQUEST = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat/1\r\n\r\n"

    it("makes a tunnel of both connections", function()
      upstream:on(function(conn)
        conn:read_head()
        conn:write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
          .. "Upgrade: chat/1\r\n\r\nwelcome")
        local said = conn:read(5)
        conn:write("you said " .. said)
      end)
      local conn = client:connect()

      conn:write(REQUEST)
      local answer = conn:read_answer()
      local first = conn:read(7)
      conn:write("hello")
      local rest = conn:read_all()

      assert.equal(101, answer.status)
      assert.equal("chat/1", answer.headers["upgrade"])
      assert.equal("welcome", first)
      assert.equal("you said hello", rest)
      assert.equal("chat/1", upstream:request().headers["upgrade"])
    end)

    it("may be declined", function()
      local answer = client:send(REQUEST)

      assert.equal(200, answer.status)
      assert.equal("upstream\n", answer.body)
    end)

    it("carries 1 MiB both ways at once", function()
      local body = body_of(MIB)
      local came
      upstream:on(function(conn)
        conn:read_head()
        conn:write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
          .. "Upgrade: chat/1\r\n\r\n")
        kit.go(function() conn:write(body) end)
        came = conn:read(MIB)
        conn:read(1)
      end)
      local conn = client:connect()

      conn:write(REQUEST)
      conn:read_answer()
      kit.go(function() conn:write(body) end)
      local back = conn:read(MIB)

      assert.is_true(back == body)
      kit.eventually(function() return came end)
      assert.is_true(came == body)
    end)

    it("that nobody asked for is no answer", function()
      upstream:answer("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
        .. "Upgrade: chat/1\r\n\r\n")

      assert.equal(502, client:get("/").status)
    end)
  end)

  describe("an upstream", function()
    it("that is not there gives 502 as problem+json", function()
      local gone = kit.upstream()
      gone:stop()
      local other = kit.gateway { conf = CONF:format(""), env = { UPSTREAM = gone:url() } }

      local answer = kit.client(other):get("/")

      assert.equal(502, answer.status)
      assert.equal("application/problem+json", answer.headers["content-type"])
      assert.equal(502, gw.json.decode(answer.body).status)
    end)

    it("that closes a kept connection is asked again on another", function()
      local conn = client:connect()
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:read_answer()

      upstream:drop()
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")

      assert.equal(200, conn:read_answer().status)
    end)

    it("that says nonsense gives 502", function()
      upstream:answer("HTTP/9 what\r\n\r\n")

      assert.equal(502, client:get("/").status)
    end)
  end)

  it("works with curl", function()
    local body = body_of(MIB)
    upstream:answer(function(request) return { body = request.body } end)

    local code, out = kit.run("curl", { "-s", "--data-binary", "@-", gateway:url("/") },
      { stdin = body })

    assert.equal(0, code)
    assert.is_true(out == body)
  end)
end)
