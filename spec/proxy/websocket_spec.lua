local kit = require("gateway.spec")
local ws = kit.websocket

local CONF = [[
%s
routes:
  - name: all
    match: { path: "/*" }
    upstream: "${UPSTREAM}"
]]

describe("a WebSocket", function()
  local upstream, gateway, client

  setup(function()
    upstream = kit.upstream()
    gateway = kit.gateway { conf = CONF:format(""), env = { UPSTREAM = upstream:url() } }
    client = kit.client(gateway)
  end)

  before_each(function()
    upstream:drop()
    upstream:clear()
    upstream:on(ws.echo)
    upstream:answer { body = "upstream\n" }
  end)

  after_each(function() client:close() end)

  local function with(limits, more)
    local own = kit.gateway { conf = CONF:format("limits: { " .. limits .. " }\n" .. (more or "")),
      env = { UPSTREAM = upstream:url() } }
    return own, kit.client(own)
  end

  --- The worker's count of open WebSockets, requests and all that was.
  local function count(of)
    local sum = { open = 0, total = 0, messages = 0, active = 0 }
    for _, worker in ipairs(of:status().workers) do
      sum.open = sum.open + worker.websockets
      sum.total = sum.total + worker.websockets_total
      sum.messages = sum.messages + worker.websocket_messages_total
      sum.active = sum.active + worker.requests_active
    end
    return sum
  end

  local function nothing_left(of)
    kit.eventually(function()
      local sum = count(of)
      return sum.open == 0 and sum.active == 0
    end)
  end

  --- Both sides of one: the client's connection, and the upstream's in a box.
  local function pair(to, options)
    local box = {}
    upstream:on(function(conn)
      ws.accept(conn, options and options.answer)
      box.conn = conn
      kit.eventually(function() return box.done end, 60)
    end)
    local conn, answer = ws.connect(to or client, options)
    assert.equal(101, answer.status)
    kit.eventually(function() return box.conn end)
    finally(function() box.done = true end)
    return conn, box.conn, box
  end

  describe("handshake", function()
    it("goes through, and both answers are checked", function()
      local conn, answer = ws.connect(client, { path = "/chat?x=1",
        headers = { ["Sec-WebSocket-Protocol"] = "a, b", Origin = "http://x" } })

      assert.equal(101, answer.status)
      assert.equal("websocket", answer.headers["upgrade"])
      assert.equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", answer.headers["sec-websocket-accept"])
      local request = upstream:request()
      assert.equal("/chat?x=1", request.target)
      assert.equal("websocket", request.headers["upgrade"])
      assert.equal("a, b", request.headers["sec-websocket-protocol"])
      assert.equal("http://x", request.headers["origin"])
      conn:close()
    end)

    local function refused(options)
      local answer = client:send(ws.request(options))
      assert.equal(0, upstream:requests())
      return answer
    end

    it("of another version gets 426 and the right one", function()
      local answer = refused { headers = { ["Sec-WebSocket-Version"] = "8" } }
      assert.equal(426, answer.status)
      assert.equal("13", answer.headers["sec-websocket-version"])
      assert.equal(426, refused({ headers = { ["Sec-WebSocket-Version"] = false } }).status)
      assert.equal(426, refused({ headers = { ["Sec-WebSocket-Version"] = "13, 8" } }).status)
    end)

    it("without a good key gets 400", function()
      for _, key in ipairs { false, "", "abc", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==, x",
        "dGhlIHNhbXBsZSBub25jZTEyMw==" } do
        assert.equal(400, refused({ headers = { ["Sec-WebSocket-Key"] = key } }).status)
      end
    end)

    it("is a GET", function()
      assert.equal(400, refused({ method = "DELETE" }).status)
    end)

    it("may be declined by the upstream", function()
      upstream:on(nil)

      local answer = client:send(ws.request())

      assert.equal(200, answer.status)
      assert.equal("upstream\n", answer.body)
    end)

    it("answered with another key's Sec-WebSocket-Accept is a 502", function()
      for _, fields in ipairs { "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n", "",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: x-y\r\n",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
          .. "Sec-WebSocket-Extensions: permessage-deflate\r\n" } do
        upstream:on(nil)
        upstream:answer("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
          .. "Upgrade: websocket\r\n" .. fields .. "\r\n")

        assert.equal(502, client:send(ws.request()).status)
      end
      upstream:answer("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n"
        .. "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
      assert.equal(502, client:send(ws.request()).status)
    end)

    it("offers only extensions that can be followed", function()
      local conn = ws.connect(client, { headers = { ["Sec-WebSocket-Extensions"] =
        'x-a; b="1,2", permessage-deflate; client_max_window_bits, x-c' } })
      assert.equal("permessage-deflate; client_max_window_bits",
        upstream:request().headers["sec-websocket-extensions"])
      conn:close()
      ws.connect(client, { headers = { ["Sec-WebSocket-Extensions"] = "x-a" } }):close()
      assert.is_nil(upstream:request().headers["sec-websocket-extensions"])
    end)
  end)

  describe("frame", function()
    it("passes both ways as it is", function()
      local conn, up = pair()
      local sent = ws.masked(ws.TEXT, "he", { fin = false }) .. ws.masked(ws.PING, "p")
        .. ws.masked(ws.CONTINUATION, "llo") .. ws.masked(ws.BINARY, ("\0\xff"):rep(300))
      local back = ws.frame(ws.BINARY, "") .. ws.frame(ws.PONG, "p") .. ws.frame(ws.TEXT, ("x"):rep(70000))

      conn:write(sent)
      assert.equal(sent, up:read(#sent))
      up:write(back)
      assert.is_true(back == conn:read(#back))
    end)

    it("may come byte by byte", function()
      local conn, up = pair()
      local sent = ws.masked(ws.TEXT, ("x"):rep(200)) .. ws.masked(ws.PING, "ping")
        .. ws.masked(ws.BINARY, "")
      kit.go(function()
        for i = 1, #sent do
          conn:write(sent:sub(i, i))
        end
      end)

      assert.equal(sent, up:read(#sent))
    end)

    it("that is compressed passes when both have agreed", function()
      local conn, up = pair(nil, {
        headers = { ["Sec-WebSocket-Extensions"] = "permessage-deflate" },
        answer = { ["Sec-WebSocket-Extensions"] = "permessage-deflate" },
      })
      local sent = ws.masked(ws.TEXT, "\xf2\x48\xcd\xc9\xc9\x07\x00", { rsv = 4 })

      conn:write(sent)

      assert.equal(sent, up:read(#sent))
    end)

    for name, frame in pairs {
      ["that is not masked"] = ws.frame(ws.TEXT, "x"),
      ["with a reserved bit"] = ws.masked(ws.TEXT, "x", { rsv = 2 }),
      ["compressed without agreement"] = ws.masked(ws.TEXT, "x", { rsv = 4 }),
      ["of an unknown opcode"] = ws.masked(3, ""),
      ["of control in fragments"] = ws.masked(ws.PING, "", { fin = false }),
      ["with a length written too long"] = ws.masked(ws.TEXT, "x", { length = 2 }),
      ["that continues nothing"] = ws.masked(ws.CONTINUATION, "x"),
      ["of Close with a code that may not be sent"] = ws.masked(ws.CLOSE, ws.close(1005)),
    } do
      it(name .. " reaches no upstream: 1002", function()
        local conn, up = pair()
        local good = ws.masked(ws.TEXT, "good")

        conn:write(good .. frame)

        assert.equal(good, up:read(#good))
        assert.equal(1001, (ws.read_close(up)))
        up:write(ws.frame(ws.CLOSE, ws.close(1001)))
        assert.equal(1002, (ws.read_close(conn)))
        assert.is_true(conn:closed())
        conn:close()
        nothing_left(gateway)
      end)
    end

    it("of an upstream that breaks a rule: 1002 to it, 1011 to the client", function()
      local conn, up = pair()

      up:write(ws.masked(ws.TEXT, "x"))

      assert.equal(1002, (ws.read_close(up)))
      assert.equal(1011, (ws.read_close(conn)))
      conn:write(ws.masked(ws.CLOSE, ws.close(1011)))
      assert.is_true(conn:closed())
      conn:close()
      nothing_left(gateway)
    end)

    it("of more than websocket_frame_size_max: 1009", function()
      local own, to = with "websocket_frame_size_max: 1k"
      local conn, up = pair(to)
      local good = ws.masked(ws.BINARY, ("x"):rep(1024))

      conn:write(good .. ws.masked(ws.BINARY, "", { claimed = 1025 }))

      assert.equal(good, up:read(#good))
      assert.equal(1009, (ws.read_close(conn)))
      assert.equal(1001, (ws.read_close(up)))
      conn:close()
      up:close()
      nothing_left(own)
    end)

    it("that makes a message of more than websocket_message_size_max: 1009", function()
      local _, to = with "websocket_message_size_max: 1k"
      local conn, up = pair(to)
      local good = ws.frame(ws.BINARY, ("x"):rep(1024)) .. ws.frame(ws.BINARY, "1", { fin = false })

      up:write(good .. ws.frame(ws.CONTINUATION, ("x"):rep(1024)))

      assert.equal(good, conn:read(#good))
      assert.equal(1009, (ws.read_close(up)))
      assert.equal(1011, (ws.read_close(conn)))
    end)
  end)

  describe("ends", function()
    it("as the client wants it", function()
      local conn, up = pair()
      local before = count(gateway)

      conn:write(ws.masked(ws.CLOSE, ws.close(4001, "done")))
      local code, reason = ws.read_close(up)
      up:write(ws.frame(ws.CLOSE, ws.close(4001, "done too")))
      local back_code, back_reason = ws.read_close(conn)

      assert.same({ 4001, "done", 4001, "done too" }, { code, reason, back_code, back_reason })
      assert.is_true(conn:closed())
      assert.is_true(up:closed())
      conn:close()
      assert.equal(1, before.open)
      nothing_left(gateway)
    end)

    it("as the upstream wants it", function()
      local conn, up = pair()

      up:write(ws.frame(ws.CLOSE, ""))
      assert.is_nil((ws.read_close(conn)))
      conn:write(ws.masked(ws.CLOSE, ""))
      assert.is_nil((ws.read_close(up)))

      assert.is_true(conn:closed())
      assert.is_true(up:closed())
    end)

    it("with 1011 when the upstream is lost", function()
      local conn, up, box = pair()

      box.done = true
      up:reset()

      assert.equal(1011, (ws.read_close(conn)))
      conn:write(ws.masked(ws.CLOSE, ws.close(1011)))
      assert.is_true(conn:closed())
      conn:close()
      nothing_left(gateway)
    end)

    it("with 1001 for the upstream when the client is lost", function()
      for _, how in ipairs { "close", "reset", "half_close" } do
        local conn, up = pair()

        conn[how](conn)

        assert.equal(1001, (ws.read_close(up)))
        up:write(ws.frame(ws.CLOSE, ws.close(1001)))
        assert.is_true(up:closed())
        nothing_left(gateway)
      end
    end)

    it("between two frames only", function()
      local conn, up = pair()
      local whole = ws.frame(ws.BINARY, ("x"):rep(1000))

      up:write(whole:sub(1, 500))
      assert.equal(whole:sub(1, 500), conn:read(500))
      conn:write("\x81\x01x") -- not masked
      assert.equal(1001, (ws.read_close(up)))
      up:write(whole:sub(501))

      assert.equal(whole:sub(501), conn:read(#whole - 500))
      assert.equal(1002, (ws.read_close(conn)))
    end)

    it("by reset when no Close comes within websocket_close_timeout", function()
      local own, to = with "websocket_close_timeout: 2s"
      local conn, up = pair(to)

      conn:write(ws.masked(ws.CLOSE, ws.close(1000)))
      assert.equal(1000, (ws.read_close(up)))
      own:advance(1900)
      assert.equal(1, count(own).open)
      own:advance(200)

      assert.is_true(conn:closed())
      conn:close()
      nothing_left(own)
    end)
  end)

  describe("in time", function()
    it("ends with 1001 after websocket_idle_timeout", function()
      local own, to = with "websocket_idle_timeout: 3s"
      local conn, up = pair(to)

      own:advance(2500)
      conn:write(ws.masked(ws.PING, ""))
      ws.read(up)
      own:advance(2500)
      up:write(ws.frame(ws.PONG, ""))
      ws.read(conn)
      own:advance(2500)
      assert.equal(1, count(own).open)
      own:advance(600)

      local code, reason = ws.read_close(conn)
      assert.same({ 1001, "idle for too long" }, { code, reason })
      assert.equal(1001, (ws.read_close(up)))
    end)

    it("has the limits of its route, each route its own", function()
      local route = [[
  - name: %s
    match: { path: "/%s" }
    upstream: "${UPSTREAM}"
    limits: { websocket_idle_timeout: %s, websocket_message_size_max: %d }
]]
      local own = kit.gateway { conf = "routes:\n" .. route:format("a", "a", "3s", 200)
        .. route:format("b", "b", "5s", 300), env = { UPSTREAM = upstream:url() } }
      for path, size in pairs { ["/a"] = 200, ["/b"] = 300 } do
        local conn = ws.connect(kit.client(own), { path = path })
        conn:write(ws.masked(ws.TEXT, ("x"):rep(size)))
        assert.equal(size, #ws.read(conn).payload)
        conn:write(ws.masked(ws.TEXT, ("x"):rep(size + 1)))
        assert.equal(1009, (ws.read_close(conn)))
        conn:close()
      end
      nothing_left(own)
      local short = ws.connect(kit.client(own), { path = "/a" })
      local long = ws.connect(kit.client(own), { path = "/b" })
      own:advance(3100)
      assert.equal(1001, (ws.read_close(short)))
      short:write(ws.masked(ws.CLOSE, ws.close(1001)))
      kit.eventually(function() return count(own).open == 1 end)
      own:advance(2000)
      assert.equal(1001, (ws.read_close(long)))
    end)

    it("ends with 1001 after websocket_age_max, between two messages", function()
      local own, to = with "websocket_age_max: 100s"
      local conn, up = pair(to)

      own:advance(89000)
      assert.equal(1, count(own).open)
      up:write(ws.frame(ws.TEXT, "first, ", { fin = false }))
      ws.read(conn)
      own:advance(22000)
      assert.equal(1001, (ws.read_close(up)))
      up:write(ws.frame(ws.CONTINUATION, "second") .. ws.frame(ws.TEXT, "never"))

      assert.equal("second", ws.read(conn).payload)
      assert.equal(1001, (ws.read_close(conn)))
    end)

    it("ends with 1001 after age_max", function()
      local own, to = with "age_max: 100s"
      local conn = pair(to)

      own:advance(111000)

      assert.equal(1001, (ws.read_close(conn)))
    end)

    it("is asked after websocket_ping_interval, and lost when it does not answer", function()
      local own, to = with "websocket_ping_interval: 5s"
      local conn, up = pair(to)

      own:advance(5100)
      local ping, other = ws.read(conn), ws.read(up)
      assert.same({ ws.PING, false, ws.PING, true },
        { ping.opcode, ping.masked, other.opcode, other.masked })
      conn:write(ws.masked(ws.PONG, ping.payload))
      up:write(ws.frame(ws.PONG, other.payload) .. ws.frame(ws.TEXT, "next"))
      assert.equal("next", ws.read(conn).payload) -- no Pong: nobody here asked
      own:advance(5100)
      ws.read(conn)
      ws.read(up)
      up:write(ws.frame(ws.PONG, other.payload))
      kit.eventually(function() return count(own).open == 1 end)
      own:advance(5100)

      assert.equal(1001, (ws.read_close(up)))
    end)

    it("is not bound by the times of requests", function()
      local own, to = with "request_timeout: 2s, body_timeout: 2s, idle_timeout: 2s, send_timeout: 2s"
      local conn, up = pair(to)

      own:advance(60000)
      conn:write(ws.masked(ws.TEXT, "still"))

      assert.equal("still", ws.read(up).payload)
    end)
  end)

  describe("over the life of a gateway", function()
    it("lives on through reloads", function()
      local conn, up = pair()

      for i = 1, 5 do
        assert.is_true(gateway:reload().ok)
        conn:write(ws.masked(ws.TEXT, "client " .. i))
        assert.equal("client " .. i, ws.read(up).payload)
        up:write(ws.frame(ws.TEXT, "upstream " .. i))
        assert.equal("upstream " .. i, ws.read(conn).payload)
      end
    end)

    it("holds no old conf where nothing of it has changed", function()
      local text = [[
upstreams:
  back: { targets: [ "${UPSTREAM}" ], read_timeout: %s }
routes:
  - { name: "extra%d", match: { path: /extra }, respond: { body: x } }
  - { name: all, match: { path: "/*" }, upstream: back }
]]
      local own = kit.gateway { conf = text:format("60s", 0), env = { UPSTREAM = upstream:address() } }
      local conn, up = pair(kit.client(own))
      local function generations() return #own:status().workers[1].generations end

      for i = 1, 5 do
        assert.is_true(own:reload(text:format("60s", i)).ok)
        kit.eventually(function() return generations() == 1 end)
      end
      assert.is_true(own:reload(text:format("70s", 6)).ok)
      assert.equal(2, generations())
      conn:write(ws.masked(ws.TEXT, "still"))
      assert.equal("still", ws.read(up).payload)
      conn:reset()
      kit.eventually(function() return generations() == 1 end)
    end)

    it("gets Close 1001 at shutdown, behind the message under way", function()
      local own, to = with("websocket_close_timeout: 2s", "shutdown_timeout: 20s\n")
      own:may_die()
      local conn, up = pair(to)
      local quiet = ws.connect(to)
      up:write(ws.frame(ws.TEXT, "to ", { fin = false }))
      ws.read(conn)

      own:signal("TERM")

      assert.equal(1001, (ws.read_close(quiet)))
      quiet:write(ws.masked(ws.CLOSE, ws.close(1001)))
      assert.equal(1001, (ws.read_close(up)))
      up:write(ws.frame(ws.CONTINUATION, "the end"))
      assert.equal("the end", ws.read(conn).payload)
      local code, reason = ws.read_close(conn)
      assert.same({ 1001, "the gateway stops" }, { code, reason })
      conn:write(ws.masked(ws.CLOSE, ws.close(1001)))
      up:write(ws.frame(ws.CLOSE, ws.close(1001)))
      assert.is_true(conn:closed())
      assert.is_true(up:closed())
      conn:close()
      quiet:close()
      kit.eventually(function() return own.process:ended() end)
      assert.equal(0, own.process.code)
    end)
  end)

  describe("whose reader stalls", function()
    it("holds its sender, not the gateway's memory", function()
      local own, to = with "send_timeout: 300s"
      local box = {}
      upstream:on(function(conn)
        ws.accept(conn)
        conn:buffers(65536, 65536)
        local message, sent = ws.frame(ws.BINARY, ("x"):rep(65536)), 0
        while sent < 1000 * #message do
          local n = conn.fd:write(message, sent % #message + 1)
          if not n then
            box.held = sent
            conn.fd:wait("w", 30)
          else
            sent = sent + n
          end
        end
        conn:write(ws.frame(ws.CLOSE, ""))
        conn:closed(30)
      end)
      local conn = ws.connect(to)
      kit.eventually(function() return box.held end)
      local held
      kit.eventually(function()
        local same = held == box.held
        held = box.held
        gw.sleep(0.1)
        return same
      end)

      assert.is_true(held < 16 * 1024 * 1024, "the upstream could send " .. held)
      local bytes = 0
      local frame
      repeat
        frame = ws.read(conn, 30)
        bytes = bytes + #frame.payload
      until frame.opcode == ws.CLOSE
      assert.equal(1000 * 65536, bytes)
      conn:close()
      nothing_left(own)
    end)
  end)

  it("of another protocol is a tunnel of bytes as before", function()
    upstream:on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
      conn:write(conn:read(5))
    end)
    local conn = client:connect()

    conn:write("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
    conn:read_answer()
    conn:write("\xff\xff\xff\xff\xff")

    assert.equal("\xff\xff\xff\xff\xff", conn:read_all())
    conn:close()
    nothing_left(gateway)
  end)
end)
