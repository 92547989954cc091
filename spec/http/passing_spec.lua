local kit = require("gateway.spec")

local ROUTES = [[
routes:
  - { name: all, match: { path: "/*" }, upstream: "${UPSTREAM}" }
  - { name: any, upstream: "${UPSTREAM}" }
]]

--- Answers with the length of the body.
local READER = [[
return { name = "reader", priority = 1, schema = { type = "object" },
  access = function(conf, ctx) return ctx:exit(200, "read " .. #(ctx.request.body or "")) end }
]]

describe("what is passed on", function()
  local upstream

  setup(function() upstream = kit.upstream() end)

  before_each(function()
    upstream:drop()
    upstream:clear()
    upstream:on(nil)
    upstream:answer { body = "upstream\n" }
  end)

  local function gateway_of(conf, plugins)
    return kit.gateway { conf = conf, plugins = plugins, env = { UPSTREAM = upstream:url() } }
  end

  describe("the path", function()
    local client

    setup(function()
      client = kit.client(gateway_of [[
        routes:
          - { name: admin, match: { path: "/admin/*" }, respond: { status: 403 } }
          - { name: merged, match: { path: "/merged/x" }, merge_slashes: true, upstream: "${UPSTREAM}" }
          - { name: segment, match: { path: "/s/:id/end" }, rewrite: "/got/:id", upstream: "${UPSTREAM}" }
          - { name: all, match: { path: "/*" }, upstream: "${UPSTREAM}" }
      ]])
    end)

    local ROWS = { -- sent, what the upstream sees
      { "/a/./b", "/a/b" },
      { "/a/../b", "/b" },
      { "/a/%2e%2e/b", "/b" },
      { "/a/%2E/b", "/a/b" },
      { "/a/b/..", "/a/" },
      { "/a/b/.", "/a/b/" },
      { "/%61%62", "/ab" },
      { "/a%2fb", "/a%2Fb" },
      { "/a%2Fb", "/a%2Fb" },
      { "/a%20b", "/a%20b" },
      { "/a%c3%a4", "/a%C3%A4" },
      { "/a%25%32%65", "/a%252e" },
      { "/a//b", "/a//b" },
      { "//a", "//a" },
      { "/merged//x", "/merged/x" },
      { "/merged/x", "/merged/x" },
      { "/s/a%2Fb/end", "/got/a%2Fb" },
      { "/s/1/end?a=/../b&c=%00", "/got/1?a=/../b&c=%00" },
      { "/...", "/..." },
      { "/a..b/..c", "/a..b/..c" },
      { "/?", "/?" },
      { "/a?b?c", "/a?b?c" },
      { "/a;b=c", "/a;b=c" },
      { "http://a/x/../y?z", "/y?z" },
      { "http://a", "/" },
      { "HTTP://a:80/x", "/x" },
    }
    for _, row in ipairs(ROWS) do
      it(("%s is %s"):format(row[1], row[2]), function()
        local answer = client:send(("GET %s HTTP/1.1\r\nHost: a\r\n\r\n"):format(row[1]))

        assert.equal(200, answer.status)
        assert.equal(row[2], upstream:request().target)
      end)
    end

    for _, path in ipairs { "/admin/x", "/a/../admin/x", "/a/%2e%2e/admin/x", "/./admin/x",
      "/%61dmin/x", "/a/b/../../admin/x", "/x%2Fy/../admin/x", "http://a/b/../admin/x" } do
      it("cannot go round a rule: " .. path, function()
        local answer = client:send(("GET %s HTTP/1.1\r\nHost: a\r\n\r\n"):format(path))

        assert.equal(403, answer.status)
        assert.equal(0, upstream:requests())
      end)
    end
  end)

  describe("a header", function()
    local client

    setup(function()
      client = kit.client(gateway_of("forwarded: { via: moon }\n" .. ROUTES))
    end)

    it("of this hop is not, nor one that Connection names", function()
      client:send("GET / HTTP/1.1\r\nHost: a\r\nConnection: X-One, close\r\nConnection: x-two\r\n"
        .. "X-One: 1\r\nX-Two: 2\r\nx-one: 3\r\nX-Three: 3\r\nKeep-Alive: 5\r\n"
        .. "Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n"
        .. "TE: gzip\r\nTrailer: X-T\r\nUpgrade: x\r\n\r\n")

      local headers = upstream:request().headers
      for _, name in ipairs { "connection", "x-one", "x-two", "keep-alive", "proxy-connection",
        "proxy-authorization", "te", "upgrade" } do
        assert.is_nil(headers[name], name)
      end
      assert.equal("3", headers["x-three"])
    end)

    it("that tells where a request goes cannot be removed by Connection", function()
      client:send("POST / HTTP/1.1\r\nHost: a\r\nConnection: Host, Content-Length, Via, "
        .. "X-Forwarded-For\r\nContent-Length: 2\r\n\r\nhi")

      local request = upstream:request()
      assert.equal("a", request.headers["host"])
      assert.equal("hi", request.body)
      assert.equal("1.1 moon", request.headers["via"])
      assert.equal("127.0.0.1", request.headers["x-forwarded-for"])
    end)

    it("with an underscore is not", function()
      client:send("GET / HTTP/1.1\r\nHost: a\r\nX_User: root\r\nContent_Length: 7\r\nX-User: me\r\n\r\n")

      local headers = upstream:request().headers
      assert.is_nil(headers["x_user"])
      assert.is_nil(headers["content_length"])
      assert.equal("me", headers["x-user"])
    end)

    it("with an underscore is when underscores_in_headers says so", function()
      local own = kit.client(gateway_of("underscores_in_headers: true\n" .. ROUTES))

      own:get("/", { X_User = "me" })

      assert.equal("me", upstream:request().headers["x_user"])
    end)

    it("Via is extended, with the version that came", function()
      client:send("GET / HTTP/1.0\r\nHost: a\r\nVia: 1.1 other\r\n\r\n")

      assert.equal("1.1 other, 1.0 moon", upstream:request().headers["via"])
    end)

    for _, via in ipairs { "1.1 moon", "1.0 other, 1.1 moon", "HTTP/1.1 moon (a comment), 1.1 b",
      "1.1\tmoon" } do
      it("Via that has our name ends a loop: " .. via, function()
        local answer = client:get("/", { Via = via })

        assert.equal(508, answer.status)
        assert.equal(0, upstream:requests())
      end)
    end

    it("Via of somebody with a longer name is none of a loop", function()
      assert.equal(200, client:get("/", { Via = "1.1 moonlight, 1.1 a-moon" }).status)
    end)

    it("of a loop through two gateways is found", function()
      local back = kit.upstream()
      local first = kit.gateway { conf = "forwarded: { via: one }\n" .. ROUTES,
        env = { UPSTREAM = back:url() } }
      back:answer(function(request)
        return kit.client(first):get("/", { Via = request.headers["via"] }).raw
      end)

      assert.equal(508, kit.client(first):get("/").status)
      assert.equal(1, back:requests())
    end)

    it("Date is made for an answer without, and kept in one with", function()
      assert.matches("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$", client:get("/").headers["date"])
      upstream:answer { headers = { Date = "Tue, 15 Nov 1994 08:12:31 GMT" }, body = "" }
      assert.equal("Tue, 15 Nov 1994 08:12:31 GMT", client:get("/").headers["date"])
    end)

    it("of this hop is not in an answer", function()
      upstream:answer("HTTP/1.1 200 OK\r\nConnection: keep-alive, X-One\r\nX-One: 1\r\n"
        .. "Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Two: 2\r\nUpgrade: h2c\r\n"
        .. "Content-Length: 0\r\n\r\n")

      local answer = client:get("/")

      for _, name in ipairs { "connection", "x-one", "keep-alive", "proxy-authenticate", "upgrade" } do
        assert.is_nil(answer.headers[name], name)
      end
      assert.equal("2", answer.headers["x-two"])
    end)

    it("a plugin vouches for is never the client's", function()
      local own = kit.client(gateway_of(ROUTES, { voucher = [[
        return { name = "voucher", priority = 10, identity_headers = { "X-Voucher-User" },
          schema = { type = "object" }, access = function() end }
      ]] }))
      -- Nobody uses the plugin here: what it vouches for counts where it is bound at all.
      local bound = kit.client(gateway_of(ROUTES:gsub('/%*" }', '/*" }, plugins: [ voucher ]'), { voucher = [[
        return { name = "voucher", priority = 10, identity_headers = { "X-Voucher-User" },
          schema = { type = "object" }, access = function() end }
      ]] }))

      bound:send("GET / HTTP/1.1\r\nHost: a\r\nx-voucher-USER: root\r\nX-Voucher-User: root\r\n\r\n")
      assert.is_nil(upstream:request().headers["x-voucher-user"])
      own:get("/")
    end)
  end)

  describe("who asked", function()
    local CLAIMS = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n"
      .. "X-Forwarded-Host: claimed\r\nX-Forwarded-Port: 444\r\nX-Real-IP: 1.2.3.4\r\n"
      .. "Forwarded: for=1.2.3.4\r\n"

    it("is told by us, whatever an untrusted client claims", function()
      local gateway = gateway_of(ROUTES)

      kit.client(gateway):send("GET / HTTP/1.1\r\nHost: a:8080\r\n" .. CLAIMS .. "\r\n")

      local headers = upstream:request().headers
      assert.equal("127.0.0.1", headers["x-forwarded-for"])
      assert.equal("http", headers["x-forwarded-proto"])
      assert.equal("a:8080", headers["x-forwarded-host"])
      assert.equal("8080", headers["x-forwarded-port"])
      assert.is_nil(headers["x-real-ip"])
      assert.is_nil(headers["forwarded"])
    end)

    it("is told by a trusted proxy, and we add ourselves", function()
      local gateway = gateway_of("forwarded: { trust: [ 127.0.0.1/32 ], forwarded: true }\n" .. ROUTES)

      kit.client(gateway):send("GET / HTTP/1.1\r\nHost: a\r\n" .. CLAIMS .. "\r\n")

      local headers = upstream:request().headers
      assert.equal("1.2.3.4, 127.0.0.1", headers["x-forwarded-for"])
      assert.equal("https", headers["x-forwarded-proto"])
      assert.equal("claimed", headers["x-forwarded-host"])
      assert.equal("444", headers["x-forwarded-port"])
      assert.equal("for=1.2.3.4, for=127.0.0.1;host=a;proto=http", headers["forwarded"])
    end)

    it("is not told when the conf says so", function()
      local gateway = gateway_of("forwarded: { x_forwarded: false }\n" .. ROUTES)

      kit.client(gateway):send("GET / HTTP/1.1\r\nHost: a\r\n" .. CLAIMS .. "\r\n")

      for _, name in ipairs { "x-forwarded-for", "x-forwarded-proto", "forwarded", "x-real-ip" } do
        assert.is_nil(upstream:request().headers[name], name)
      end
    end)

    it("rules see the client behind a trusted proxy, and nobody that it does not name", function()
      local client = kit.client(gateway_of [[
        forwarded: { trust: [ 127.0.0.1/32, 10.0.0.0/8 ] }
        routes:
          - { name: ours, match: { client: [ 1.2.3.4/32 ] }, respond: { body: "ours" } }
          - { name: rest, respond: { body: "rest" } }
      ]])
      local function asks(claims)
        return client:send("GET / HTTP/1.1\r\nHost: a\r\n" .. claims .. "\r\n").body
      end

      assert.equal("ours", asks "X-Forwarded-For: 1.2.3.4\r\n")
      assert.equal("ours", asks "X-Forwarded-For: 9.9.9.9, 1.2.3.4, 10.1.1.1\r\n")
      assert.equal("ours", asks "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 1.2.3.4\r\n")
      assert.equal("rest", asks "X-Forwarded-For: 1.2.3.4, 9.9.9.9\r\n")
      assert.equal("rest", asks "X-Forwarded-For: 1.2.3.4, nonsense\r\n")
      assert.equal("rest", asks "")
    end)

    it("an untrusted client cannot be somebody else for a rule", function()
      local client = kit.client(gateway_of [[
        routes:
          - { name: ours, match: { client: [ 1.2.3.4/32 ] }, respond: { body: "ours" } }
          - { name: rest, respond: { body: "rest" } }
      ]])

      assert.equal("rest", client:get("/", { ["X-Forwarded-For"] = "1.2.3.4" }).body)
    end)
  end)

  describe("the PROXY protocol", function()
    local client
    local REQUEST = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    local SIGNATURE = "\r\n\r\n\0\r\nQUIT\n"

    setup(function()
      client = kit.client(gateway_of(
        'listen: [ { name: p, address: "127.0.0.1:0", proxy_protocol: true } ]\n' .. ROUTES))
    end)

    local GOOD = {
      { "1", "PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\r\n", "192.0.2.7" },
      { "1 with IPv6", "PROXY TCP6 2001:db8::7 ::1 4000 80\r\n", "2001:db8::7" },
      { "1 that knows nothing", "PROXY UNKNOWN\r\n", "127.0.0.1" },
      { "2", SIGNATURE .. "\x21\x11\0\12\192\0\2\9\127\0\0\1\1\1\0\80", "192.0.2.9" },
      { "2 with something behind the addresses",
        SIGNATURE .. "\x21\x11\0\17\192\0\2\9\127\0\0\1\1\1\0\80\4\0\2ab", "192.0.2.9" },
      { "2 of the proxy itself", SIGNATURE .. "\x20\0\0\0", "127.0.0.1" },
    }
    for _, row in ipairs(GOOD) do
      for _, how in ipairs { "at once", "byte by byte" } do
        it(("in version %s tells who it is, %s"):format(row[1], how), function()
          local conn = client:connect()
          local bytes = row[2] .. REQUEST
          for i = 1, how == "at once" and 0 or #row[2] do
            conn:write(bytes:sub(i, i))
            gw.sleep(0)
          end
          conn:write(how == "at once" and bytes or REQUEST)

          assert.equal(200, conn:read_answer().status)
          assert.equal(row[3], upstream:request().headers["x-forwarded-for"])
        end)
      end
    end

    local BAD = {
      REQUEST,
      "PROXY TCP4 192.0.2.7 127.0.0.1 4000\r\n" .. REQUEST,
      "PROXY TCP4 192.0.2.777 127.0.0.1 4000 80\r\n" .. REQUEST,
      "PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\n" .. REQUEST,
      "PROXY TCP4 " .. ("1"):rep(200) .. "\r\n" .. REQUEST,
      SIGNATURE .. "\x31\x11\0\12\192\0\2\9\127\0\0\1\1\1\0\80" .. REQUEST,
      SIGNATURE .. "\x21\x11\0\4\192\0\2\9" .. REQUEST,
      "PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\r\nPROXY TCP4 1.2.3.4 127.0.0.1 4000 80\r\n" .. REQUEST,
    }
    for i, bytes in ipairs(BAD) do
      it("is not passed by what is none, " .. i, function()
        local conn = client:connect()

        conn:write(bytes)
        local came = conn:read_all()

        assert.is_nil(came:find("200 OK", 1, true))
        assert.equal(0, upstream:requests())
      end)
    end
  end)

  describe("a message", function()
    local gateway, client

    setup(function()
      gateway = gateway_of(
        "limits: { half_close_timeout: 3s }\nforwarded: { via: moon }\n" .. ROUTES)
      client = kit.client(gateway)
    end)

    it("of any method goes through, QUERY too", function()
      for _, method in ipairs { "QUERY", "PROPFIND", "M-SEARCH", "PURGE", "get" } do
        assert.equal(200, client:request { method = method, body = "x" }.status)
        assert.equal(method, upstream:request().method)
      end
    end)

    it("OPTIONS * goes to an upstream as it is", function()
      assert.equal(200, client:send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status)
      assert.equal("*", upstream:request().target)
    end)

    it("OPTIONS * that no route takes is answered", function()
      local own = kit.client(gateway_of 'routes: [ { match: { path: /x }, respond: { status: 200 } } ]\n')

      assert.equal(204, own:send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status)
    end)

    it("in the absolute form has its Host from the target", function()
      client:send("GET http://a.example:8080/x HTTP/1.1\r\nHost: a.example:8080\r\n\r\n")

      assert.equal("/x", upstream:request().target)
      assert.equal("a.example:8080", upstream:request().headers["host"])
    end)

    it("that upgrades to HTTP/2 in the clear goes on without", function()
      client:send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        .. "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")

      local headers = upstream:request().headers
      assert.is_nil(headers["upgrade"])
      assert.is_nil(headers["connection"])
      assert.is_nil(headers["http2-settings"])
    end)

    it("that upgrades to one of several, h2c among them, goes on without", function()
      client:send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat, h2c\r\n\r\n")

      assert.is_nil(upstream:request().headers["upgrade"])
    end)

    it("Upgrade with a body is no upgrade", function()
      client:send("POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n"
        .. "Content-Length: 2\r\n\r\nhi")

      assert.is_nil(upstream:request().headers["upgrade"])
      assert.equal("hi", upstream:request().body)
    end)

    it("103 comes through, 100 and 102 of the upstream do no harm", function()
      upstream:answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        .. "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

      local answer = client:get("/")

      assert.equal("ok", answer.body)
      local last = answer.informational[#answer.informational]
      assert.equal(103, last.status)
      assert.equal("</a>", last.headers["link"])
      for _, one in ipairs(answer.informational) do
        assert.not_equal(100, one.status)
      end
    end)

    it("103 is not for a client of HTTP/1.0", function()
      upstream:answer("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        .. "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

      local answer = client:send("GET / HTTP/1.0\r\nHost: a\r\n\r\n")

      assert.equal("ok", answer.body)
      assert.equal(0, #answer.informational)
    end)

    it("that expects 100 and is refused may keep its body", function()
      local conn = kit.client(gateway_of [[
        limits: { body_size_max: 10 }
        routes: [ { name: all, match: { path: "/*" }, upstream: "${UPSTREAM}" } ]
      ]]):connect()

      conn:write("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")
      local answer = conn:read_answer()

      assert.equal(413, answer.status)
      assert.equal(0, #answer.informational)
      assert.equal("close", answer.headers["connection"])
      assert.is_true(conn:closed())
      assert.equal(0, upstream:requests())
    end)

    it("that expects 100 without a body is told nothing", function()
      local answer = client:send("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")

      assert.equal(200, answer.status)
      assert.equal(0, #answer.informational)
    end)

    it("that expects 100 is told before a plugin reads its body", function()
      local conn = kit.client(gateway_of([[
        routes: [ { name: all, plugins: [ reader ], respond: { body: "done" } } ]
      ]], { reader = READER })):connect()

      conn:write("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
      assert.matches("^HTTP/1%.1 100 ", conn:read_head())
      conn:write("body")

      assert.equal("read 4", conn:read_answer().body)
    end)

    it("answered early leaves a connection that goes on behind the body", function()
      local own = kit.client(gateway_of([[
        routes:
          - { name: no, match: { path: /no }, respond: { status: 403, body: "no" } }
          - { name: all, match: { path: "/*" }, upstream: "${UPSTREAM}" }
      ]]))
      for _, body in ipairs { "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n\r\n" } do
        local conn = own:connect()
        conn:write("POST /no HTTP/1.1\r\nHost: a\r\n" .. body .. "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")

        assert.equal(403, conn:read_answer().status)
        assert.equal("upstream\n", conn:read_answer().body)
        assert.equal("/next", upstream:request().path)
      end
    end)

    it("of an early answer is not waited for without end", function()
      local own = kit.client(gateway_of 'routes: [ { name: no, respond: { status: 403, body: "no" } } ]\n')
      local conn = own:connect()

      conn:write("POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n")
      assert.equal(403, conn:read_answer().status)
      local piece, sent = ("x"):rep(65536), 0
      while sent < 64 * 1024 * 1024 and conn:write(piece) do
        sent = sent + #piece
      end

      assert.is_true(sent < 64 * 1024 * 1024)
    end)

    it("HEAD of an endless answer has none of it", function()
      upstream:answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
      local conn = client:connect()

      for _ = 1, 3 do
        conn:write("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.equal(200, conn:read_answer("HEAD").status)
      end
      assert.equal(3, upstream:requests())
    end)

    for _, row in ipairs { { "204", "HTTP/1.1 204 No\r\n\r\n" },
      { "204 with a length of 0", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n" },
      { "304 with a length", "HTTP/1.1 304 Not\r\nContent-Length: 1000\r\nETag: \"a\"\r\n\r\n" },
      { "304 with chunks", "HTTP/1.1 304 Not\r\nTransfer-Encoding: chunked\r\n\r\n" },
    } do
      it("of " .. row[1] .. " has no body, and the connection goes on", function()
        upstream:answer(row[2])
        local conn = client:connect()

        for _ = 1, 3 do
          conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
          local answer = conn:read_answer()
          assert.equal(tonumber(row[1]:match("%d+")), answer.status)
          assert.is_nil(answer.headers["transfer-encoding"])
        end
        assert.equal(3, upstream:requests())
      end)
    end

    it("of a client that half-closes is answered within half_close_timeout", function()
      local go = false
      upstream:answer(function()
        kit.eventually(function() return go end)
        return { body = "late" }
      end)
      local conn = client:connect()

      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:half_close()
      kit.eventually(function() return upstream:requests() == 1 end)
      gateway:advance(2900)
      go = true

      assert.equal("late", conn:read_answer().body)
    end)

    it("of a client that half-closes and more: its upstream is let go", function()
      local ended = false
      upstream:on(function(conn)
        conn:read_head()
        ended = conn:closed(5)
      end)
      local conn = client:connect()

      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:half_close()
      kit.eventually(function() return upstream:requests() == 1 end)
      gateway:advance(3100)

      assert.is_true(conn:closed())
      kit.eventually(function() return ended end)
    end)

    it("half of which is there when the client half-closes is not completed", function()
      local begun, heard
      upstream:on(function(up)
        begun = up:read_until("hello")
        heard = up:read_all()
      end)
      local conn = client:connect()

      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
      kit.eventually(function() return begun end)
      conn:half_close()

      assert.is_true(conn:closed())
      kit.eventually(function() return heard end)
      assert.equal("", heard)
    end)

    it("several of which are followed by the end of one side are all answered", function()
      local conn = client:connect()

      conn:write(("GET / HTTP/1.1\r\nHost: a\r\n\r\n"):rep(20))
      conn:half_close()

      for _ = 1, 20 do
        assert.equal(200, conn:read_answer().status)
      end
      assert.is_true(conn:closed())
    end)

    it("behind which more has come ends when the client goes away", function()
      local ended = false
      upstream:on(function(conn)
        conn:read_head()
        ended = conn:closed(5)
      end)
      local conn = client:connect()

      conn:write("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
      kit.eventually(function() return upstream:requests() == 1 end)
      conn:write("G")
      gw.sleep(0.02)
      conn:reset()

      kit.eventually(function() return ended end, 3)
    end)

    it("with a body that turns bad while a plugin reads it is refused", function()
      local own = gateway_of([[
        routes: [ { name: all, plugins: [ reader ], respond: { body: "done" } } ]
      ]], { reader = READER })
      for _, way in ipairs { "at once", "later" } do
        local conn = kit.client(own):connect()
        conn:write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello")
        if way == "later" then
          gw.sleep(0.02)
        end
        conn:write("XX\r\n\r\n")

        local came = conn:read_all()
        assert.matches("^HTTP/1.1 400 ", came)
        assert.is_nil(came:find("\nHTTP/1.1", 1, true))
      end
      assert.equal(200, kit.client(own):get("/").status)
    end)

    it("with a body that stops while a plugin reads it is refused", function()
      local own = gateway_of([[
        limits: { body_timeout: 5s }
        routes: [ { name: all, plugins: [ reader ], respond: { body: "done" } } ]
      ]], { reader = READER })
      local conn = kit.client(own):connect()

      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
      gw.sleep(0.02)
      own:advance(5100)

      assert.matches("^HTTP/1.1 408 ", conn:read_all())
      assert.equal(200, kit.client(own):get("/").status)
    end)
  end)
end)
