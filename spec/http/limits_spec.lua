local kit = require("gateway.spec")

--- Each key of limits: is reached here, by a test that fails when the key is ignored.
describe("the limit", function()
  local upstream

  setup(function() upstream = kit.upstream() end)

  before_each(function()
    upstream:drop()
    upstream:clear()
    upstream:on(nil)
    upstream:answer { body = "upstream\n" }
  end)

  --- A gateway with these limits; `more` is limits of the route.
  local function with(limits, more, plugins)
    local gateway = kit.gateway { conf = ([[
limits: { %s }
routes:
  - name: all
    match: { path: "/*" }
    upstream: "${UPSTREAM}"
    %s
]]):format(limits, more or ""), plugins = plugins, env = { UPSTREAM = upstream:url() } }
    return gateway, kit.client(gateway)
  end

  --- Sends, lets the gateway's time go on, and reads all until the end of the connection.
  local function after(gateway, conn, bytes, ms)
    conn:write(bytes)
    gw.sleep(0.03) -- it has to arrive before the time goes on
    gateway:advance(ms)
    return (conn:read_all())
  end

  local GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

  it("header_size_max: 431", function()
    local _, client = with "header_size_max: 2k"
    -- "Host: localhost\r\n" and the name of the other line count as well.
    assert.equal(200, client:get("/", { X = ("x"):rep(2000) }).status)
    local answer = client:get("/", { X = ("x"):rep(2048) })

    assert.equal(431, answer.status)
    assert.is_true(answer.closed)
    assert.equal(1, upstream:requests())
  end)

  it("header_size_max: 431 also for a head that never ends", function()
    local _, client = with "header_size_max: 2k"
    local conn = client:connect()

    conn:write("GET / HTTP/1.1\r\nHost: a\r\nX: " .. ("x"):rep(20000))

    assert.matches("^HTTP/1.1 431 ", conn:read_all())
  end)

  it("header_count_max: 431", function()
    local _, client = with "header_count_max: 10"
    local function lines(n) return "GET / HTTP/1.1\r\nHost: a\r\n" .. ("X: 1\r\n"):rep(n) .. "\r\n" end

    assert.equal(200, client:send(lines(9)).status)
    assert.equal(431, client:send(lines(10)).status)
    assert.equal(1, upstream:requests())
  end)

  it("uri_size_max: 414", function()
    local _, client = with "uri_size_max: 100"

    assert.equal(200, client:get("/" .. ("x"):rep(99)).status)
    assert.equal(414, client:get("/" .. ("x"):rep(100)).status)
    assert.equal(414, client:get("/?" .. ("x"):rep(99)).status)
    assert.equal(1, upstream:requests())
  end)

  it("uri_size_max: 414 also for a target that never ends", function()
    local _, client = with "uri_size_max: 100"
    local conn = client:connect()

    conn:write("GET /" .. ("x"):rep(70000))

    assert.matches("^HTTP/1.1 414 ", conn:read_all())
  end)

  describe("body_size_max: 413", function()
    it("by its length", function()
      local _, client = with "body_size_max: 10"

      assert.equal(200, client:request { body = ("x"):rep(10) }.status)
      assert.equal(413, client:request { body = ("x"):rep(11) }.status)
      assert.equal(1, upstream:requests())
    end)

    it("in chunks", function()
      local _, client = with "body_size_max: 10"

      assert.equal(200, client:request { body = { "12345", "67890" }, chunked = true }.status)
      assert.equal(413, client:request { body = { "12345", "678901" }, chunked = true }.status)
      assert.equal(1, upstream:requests())
    end)

    it("in chunks that come late", function()
      local _, client = with "body_size_max: 10"
      local heard
      upstream:on(function(up) heard = up:read_all() end)
      local conn = client:connect()

      conn:write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
      gw.sleep(0.02)
      conn:write("6\r\nworld!\r\n0\r\n\r\n")

      assert.equal(413, conn:read_answer().status)
      kit.eventually(function() return heard end)
      assert.is_nil(heard:find("\r\n0\r\n", 1, true))
    end)

    it("of 0 takes no body", function()
      local _, client = with "body_size_max: 0"

      assert.equal(413, client:request { body = "x" }.status)
      assert.equal(413, client:request { method = "POST", body = { "x" }, chunked = true }.status)
      assert.equal(200, client:request { method = "POST", body = "" }.status)
    end)

    it("of a route over that of its listener", function()
      local _, client = with("body_size_max: 10", "limits: { body_size_max: 20 }")

      assert.equal(200, client:request { body = ("x"):rep(20) }.status)
      assert.equal(413, client:request { body = ("x"):rep(21) }.status)
    end)

    it("of a listener over that of the gateway", function()
      local gateway = kit.gateway { conf = [[
        limits: { body_size_max: 10 }
        listen:
          - { name: small, address: "127.0.0.1:0" }
          - { name: large, address: "127.0.0.1:0", limits: { body_size_max: 20 } }
        routes: [ { name: all, upstream: "${UPSTREAM}" } ]
      ]], env = { UPSTREAM = upstream:url() } }
      local function status(listener)
        return kit.client(gateway, { listener = listener }):request { body = ("x"):rep(15) }.status
      end

      assert.equal(413, status "small")
      assert.equal(200, status "large")
    end)
  end)

  it("header_timeout: 408", function()
    local gateway, client = with "header_timeout: 3s"
    local early = client:connect()
    early:write("GET / HTTP/1.1\r\nHost: a\r\n")
    gw.sleep(0.03)
    gateway:advance(2800)
    early:write("\r\n")
    assert.equal(200, early:read_answer().status)

    local came = after(gateway, client:connect(), "GET / HTTP/1.1\r\nHost: a\r\n", 3100)
    assert.matches("^HTTP/1.1 408 ", came)
    assert.equal(1, upstream:requests())
  end)

  it("header_timeout counts from the first byte, not from the last", function()
    local gateway, client = with "header_timeout: 3s"
    local conn = client:connect()
    for _, piece in ipairs { "GET / ", "HTTP/1.1\r\n", "Host: a\r\n" } do
      conn:write(piece)
      gw.sleep(0.02)
      gateway:advance(1100)
    end

    assert.matches("^HTTP/1.1 408 ", conn:read_all())
  end)

  it("header_timeout ends a connection that never says anything", function()
    local gateway, client = with "header_timeout: 3s"

    assert.equal("", after(gateway, client:connect(), "", 3100))
  end)

  it("body_timeout: 408", function()
    local gateway, client = with "body_timeout: 3s, data_rate_min: 0"
    local HEAD = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    local conn = client:connect()
    conn:write(HEAD)
    for i = 1, 10 do
      gw.sleep(0.02)
      gateway:advance(2500) -- each piece in its time: 25 s in all
      conn:write(tostring(i % 10))
    end
    assert.equal(200, conn:read_answer().status)

    upstream:drop()
    upstream:on(function(up) up:read_all() end)
    assert.matches("^HTTP/1.1 408 ", after(gateway, client:connect(), HEAD .. "hello", 3100))
    assert.equal(1, upstream:requests())
  end)

  for _, framing in ipairs { "Content-Length: 100000", "Transfer-Encoding: chunked" } do
    it("body_timeout holds a body that nobody wants in all: " .. framing, function()
      local gateway = kit.gateway { conf = [[
limits: { body_timeout: 3s, data_rate_min: 0 }
routes: [ { name: own, match: { path: "/own" }, respond: { body: own } } ]
]] }
      local conn = kit.client(gateway):connect()
      conn:write(("POST /own HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n"):format(framing))
      assert.equal("own", conn:read_answer().body)

      -- Each piece comes in good time, and their end never does.
      for _ = 1, 5 do
        assert.is_true(conn:write(framing:find("chunked") and "1\r\nx\r\n" or "x"))
        gw.sleep(0.02)
        assert.is_false(conn:closed(0))
        gateway:advance(590)
      end
      gateway:advance(100)

      assert.is_true(conn:closed(2))
    end)

    it("bodies that nobody wants: 1 MiB, then the connection ends: " .. framing, function()
      local gateway = kit.gateway { conf = [[
routes: [ { name: own, match: { path: "/own" }, respond: { body: own } } ]
]] }
      local conn = kit.client(gateway):connect()
      conn:write(("POST /own HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n"):format((framing:gsub("100000", "10000000"))))
      assert.equal("own", conn:read_answer().body)

      local piece, sent = ("x"):rep(16384), 0
      for _ = 1, 500 do
        if not conn:write(framing:find("chunked") and "4000\r\n" .. piece .. "\r\n" or piece) then
          break
        end
        sent = sent + #piece
        gw.sleep(0)
      end

      assert.is_true(sent >= 1024 * 1024 and sent < 7e6, sent)
    end)
  end

  it("body_timeout of a route", function()
    local gateway, client = with("body_timeout: 30s", "limits: { body_timeout: 2s }")
    upstream:on(function(up) up:read_all() end)

    assert.matches("^HTTP/1.1 408 ", after(gateway, client:connect(),
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello", 2100))
  end)

  --- A client that asks for much and reads nothing.
  local function takes_nothing(client, size)
    upstream:answer { body = ("x"):rep(size or 32 * 1024 * 1024) }
    local conn = client:connect()
    conn:buffers(nil, 4096)
    conn:write(GET)
    kit.eventually(function() return upstream:requests() == 1 end)
    gw.sleep(0.2) -- the kernel's buffers fill
    return conn
  end

  it("send_timeout: a client that takes nothing is closed", function()
    local gateway, client = with "send_timeout: 3s"
    takes_nothing(client)
    gateway:advance(2500)
    gw.sleep(0.05)
    assert.equal(1, gateway:status().workers[1].connections)

    gateway:advance(1000)

    kit.eventually(function() assert.equal(0, gateway:status().workers[1].connections) end)
  end)

  it("send_timeout: more to send is no excuse for a client that takes nothing", function()
    local gateway, client = with("send_timeout: 3s, buffer_size_max: 8m")
    upstream:on(function(up)
      up:read_head()
      up:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
      -- Enough to fill the kernel's buffers, then a little each second.
      up:write(("10000\r\n" .. ("x"):rep(65536) .. "\r\n"):rep(100))
      for _ = 1, 1000 do
        if not up:write("5\r\nhello\r\n") then
          return
        end
        gw.sleep(0.01)
      end
    end)
    local conn = client:connect()
    conn:buffers(nil, 4096)
    conn:write(GET)
    gw.sleep(0.3)

    for _ = 1, 4 do
      gateway:advance(1000)
      gw.sleep(0.05)
    end

    kit.eventually(function() assert.equal(0, gateway:status().workers[1].connections) end)
  end)

  it("idle_timeout: a connection without a request is closed", function()
    local gateway, client = with "idle_timeout: 3s, header_timeout: 60s"
    local conn = client:connect()
    for _ = 1, 3 do
      conn:write(GET)
      assert.equal(200, conn:read_answer().status)
      gw.sleep(0.01)
      gateway:advance(2800)
    end

    conn:write(GET)
    assert.equal(200, conn:read_answer().status)
    assert.equal("", after(gateway, conn, "", 3100))
  end)

  describe("request_timeout", function()
    it("is 504 while the upstream is waited for", function()
      local gateway, client = with "request_timeout: 3s"
      upstream:answer(function()
        gw.sleep(2)
        return { body = "" }
      end)
      local conn = client:connect()

      conn:write(GET)
      kit.eventually(function() return upstream:requests() == 1 end)
      gateway:advance(3100)

      assert.equal(504, conn:read_answer().status)
    end)

    it("is 408 while the request is read", function()
      local gateway, client = with "request_timeout: 3s"
      upstream:on(function(up) up:read_all() end)

      assert.matches("^HTTP/1.1 408 ", after(gateway, client:connect(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello", 3100))
    end)

    it("cuts an answer that is still on its way", function()
      local gateway, client = with("request_timeout: 60s", "limits: { request_timeout: 3s }")
      upstream:on(function(up)
        up:read_head()
        up:write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        up:closed(5)
      end)
      local conn = client:connect()

      conn:write(GET)
      conn:read_head()
      conn:read(5)
      gateway:advance(3100)

      assert.equal("", (conn:read_all()))
    end)
  end)

  describe("data_rate_min", function()
    local HEAD = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"

    --- Sends a piece each second of the gateway's time; the answer, or nil after `seconds`.
    local function drip(gateway, client, piece, seconds)
      upstream:on(function(up) up:read_all(60) end)
      local conn = client:connect()
      conn:write(HEAD)
      for second = 1, seconds do
        gw.sleep(0.01)
        gateway:advance(1000)
        if not conn:write(piece) or conn:closed(0.01) then
          return conn:read_all(), second
        end
      end
      conn:reset()
    end

    it("is 408 below, after data_rate_grace", function()
      local gateway, client = with "data_rate_min: 100/s, data_rate_grace: 5s, body_timeout: 30s"

      local came, second = drip(gateway, client, ("x"):rep(50), 20)

      assert.matches("^HTTP/1.1 408 ", came)
      assert.is_true(second >= 5 and second <= 7, second)
    end)

    it("lets a slow one pass that is fast enough", function()
      local gateway, client = with "data_rate_min: 100/s, data_rate_grace: 5s, body_timeout: 30s"

      assert.is_nil((drip(gateway, client, ("x"):rep(130), 20)))
    end)

    it("of 0 is none", function()
      local gateway, client = with "data_rate_min: 0, data_rate_grace: 5s, body_timeout: 30s"

      assert.is_nil((drip(gateway, client, "x", 20)))
    end)

    it("with a longer data_rate_grace comes later", function()
      local gateway, client = with "data_rate_min: 100/s, data_rate_grace: 15s, body_timeout: 30s"

      local came, second = drip(gateway, client, ("x"):rep(50), 20)

      assert.matches("^HTTP/1.1 408 ", came)
      assert.is_true(second >= 15, second)
    end)

    it("is not asked of a client that an upstream makes wait", function()
      local gateway, client = with "data_rate_min: 1m/s, data_rate_grace: 5s, body_timeout: 3s"
      local go = false
      upstream:on(function(up)
        up:read_head()
        kit.eventually(function() return go end)
        up:read(20000000)
        up:write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
      end)
      local conn = client:connect()
      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n")
      kit.go(function() conn:write(("x"):rep(20000000)) end)
      gw.sleep(0.3)

      for _ = 1, 10 do
        gateway:advance(1000)
        gw.sleep(0.01)
      end
      go = true

      assert.equal(200, conn:read_answer().status)
    end)
  end)

  it("requests_max: the last answer says close", function()
    local _, client = with "requests_max: 3"
    local conn = client:connect()

    conn:write(GET:rep(4))

    assert.is_nil(conn:read_answer().headers["connection"])
    assert.is_nil(conn:read_answer().headers["connection"])
    assert.equal("close", conn:read_answer().headers["connection"])
    assert.equal("", (conn:read_all()))
    assert.equal(3, upstream:requests())
  end)

  it("age_max: an old connection ends with its next answer, give or take a tenth", function()
    local gateway, client = with "age_max: 10s, idle_timeout: 60s"
    local conns = {}
    for i = 1, 10 do
      conns[i] = client:connect()
      conns[i]:write(GET)
      assert.is_nil(conns[i]:read_answer().headers["connection"])
    end
    gateway:advance(8500)
    for _, conn in ipairs(conns) do
      conn:write(GET)
      assert.is_nil(conn:read_answer().headers["connection"])
    end
    gateway:advance(2600)
    for _, conn in ipairs(conns) do
      conn:write(GET)
      assert.equal("close", conn:read_answer().headers["connection"])
      assert.is_true(conn:closed())
    end
  end)

  it("age_max: they do not end all at once", function()
    local gateway, client = with "age_max: 100s, idle_timeout: 300s"
    local conns, ended = {}, {}
    for i = 1, 30 do
      conns[i] = client:connect()
      conns[i]:write(GET)
      conns[i]:read_answer()
    end
    gateway:advance(89000)
    for step = 1, 12 do
      gateway:advance(2000)
      for i, conn in pairs(conns) do
        conn:write(GET)
        if conn:read_answer().headers["connection"] == "close" then
          ended[step], conns[i] = (ended[step] or 0) + 1, nil
        end
      end
    end

    assert.is_nil(next(conns))
    local steps = 0
    for _ in pairs(ended) do
      steps = steps + 1
    end
    assert.is_true(steps >= 3, steps)
  end)

  it("connections_max: 503 and close, and again room when one goes", function()
    local _, client = with "connections_max: 3"
    local conns = {}
    for i = 1, 3 do
      conns[i] = client:connect()
      conns[i]:write(GET)
      assert.equal(200, conns[i]:read_answer().status)
    end

    local refused = client:connect()
    local came = refused:read_all()
    assert.matches("^HTTP/1.1 503 ", came)
    assert.matches("Connection: close", came)
    conns[1]:close()

    kit.eventually(function() assert.equal(200, client:get("/").status) end)
    assert.equal(4, upstream:requests())
  end)

  it("connections_per_client_max: 503 and close, for that client", function()
    local gateway = kit.gateway { conf = [[
      limits: { connections_per_client_max: 2 }
      listen: [ { name: p, address: "127.0.0.1:0", proxy_protocol: true } ]
      routes: [ { name: all, upstream: "${UPSTREAM}" } ]
    ]], env = { UPSTREAM = upstream:url() } }
    local client = kit.client(gateway)
    local function from(address)
      local conn = client:connect()
      conn:write(("PROXY TCP4 %s 127.0.0.1 4000 80\r\n"):format(address) .. GET)
      return conn:read_answer().status, conn
    end

    assert.equal(200, (from "192.0.2.1"))
    local status, second = from "192.0.2.1"
    assert.equal(200, status)
    assert.equal(503, (from "192.0.2.1"))
    assert.equal(200, (from "192.0.2.2"))
    second:close()

    kit.eventually(function() assert.equal(200, (from "192.0.2.1")) end)
  end)

  --- How many bytes of an answer leave the upstream before it is stopped.
  local function flows(limits)
    local gateway, client = with(limits)
    local sent = 0
    upstream:on(function(up)
      up:buffers(4096)
      up:read_head()
      up:write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
      local piece = ("x"):rep(16384)
      while sent < 60000000 do
        local n, err = up.fd:write(piece, 1)
        if n then
          sent = sent + n
        elseif err ~= "again" or not up.fd:wait("w", 0.3) then
          return up:closed(5)
        end
      end
    end)
    local conn = client:connect()
    conn:buffers(nil, 4096)
    conn:write(GET)
    local before = -1
    kit.eventually(function()
      local now = sent
      gw.sleep(0.1)
      local still = now == sent and sent > 0 and before == now
      before = now
      return still
    end, 30) -- much to move for a slow machine
    conn:reset()
    gateway:stop()
    return sent
  end

  it("buffer_size_max stops the upstream of a client that takes nothing", function()
    local small, large = flows "buffer_size_max: 64k", flows "buffer_size_max: 16m"

    -- The kernel's own buffers are the same in both.
    assert.is_true(large - small > 10 * 1024 * 1024, ("%d, %d"):format(small, large))
    assert.is_true(small < 12 * 1024 * 1024, small)
  end)

  it("body_buffer_size_max: 413 when buffering needs the body whole", function()
    local _, client = with("body_buffer_size_max: 1k", "buffering: { request: true }")

    assert.equal(200, client:request { body = ("x"):rep(1024) }.status)
    assert.equal(413, client:request { body = ("x"):rep(1025) }.status)
    assert.equal(413, client:request { body = { ("x"):rep(1000), ("x"):rep(100) }, chunked = true }.status)
    assert.equal(1, upstream:requests())
  end)

  it("body_buffer_size_max: no body that a plugin gets is longer", function()
    local _, client = with("body_buffer_size_max: 1k", "plugins: [ reader ]", { reader = [[
      return { name = "reader", priority = 1, schema = { type = "object" },
        access = function(conf, ctx) return ctx:exit(200, "read " .. #ctx.request.body) end }
    ]] })

    assert.equal("read 1024", client:request { body = ("x"):rep(1024) }.body)
    assert.equal(413, client:request { body = ("x"):rep(1025) }.status)
    assert.equal(413, client:request { body = { ("x"):rep(1000), ("x"):rep(100) }, chunked = true }.status)
  end)

  it("half_close_timeout: a client that has ended its side waits so long", function()
    local gateway, client = with "half_close_timeout: 2s"
    local ended
    upstream:on(function(up)
      up:read_head()
      ended = up:closed(5)
    end)
    local conn = client:connect()

    conn:write(GET)
    conn:half_close()
    kit.eventually(function() return upstream:requests() == 1 end)
    gateway:advance(1800)
    assert.is_false(conn:closed(0.05))
    gateway:advance(300)

    assert.is_true(conn:closed())
    kit.eventually(function() return ended end)
  end)

  it("memory_max: 503 above, and service again below", function()
    if kit.sanitized then
      return -- the sanitizer's own memory is more than any limit of ours
    end
    local MIB = 1024 * 1024
    local gateway = kit.gateway { conf = [[
memory_max: 60m
limits: { buffer_size_max: 30m, body_size_max: 100m, connections_max: 100 }
routes:
  - { name: all, match: { path: "/*" }, upstream: "${UPSTREAM}" }
  - { name: own, match: { path: "/own" }, respond: { body: own } }
]], env = { UPSTREAM = upstream:url() } }
    local client = kit.client(gateway)
    assert.equal(200, client:get("/own").status)
    upstream:answer { body = ("x"):rep(30 * MIB) }
    local conns = {}
    for i = 1, 4 do
      conns[i] = client:connect()
      conns[i]:buffers(nil, 4096)
      conns[i]:write(GET)
    end

    kit.eventually(function() assert.equal(503, client:get("/own").status) end, 10)
    local shed = client:get("/own")
    assert.equal("1", shed.headers["retry-after"])
    for _, conn in ipairs(conns) do
      conn:reset()
    end

    kit.eventually(function() assert.equal(200, client:get("/own").status) end, 10)
  end)
end)
