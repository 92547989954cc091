local kit = require("gateway.spec")
local ws = kit.websocket

local CONF = [[
%s
routes:
  - name: all
    match: { path: "/*" }
    plugins: %s
    upstream: "${UPSTREAM}"
]]

--- A plugin around this body of message().
local function source(name, body, more)
  return ([[
local plugin = { name = "%s", priority = 10, schema = { type = "object", properties = {
  tag = { type = "string" } } } }
%s
function plugin.message(conf, ctx, msg)
%s
end
return plugin
]]):format(name, more or "", body)
end

describe("message()", function()
  local upstream

  setup(function() upstream = kit.upstream() end)

  before_each(function()
    upstream:drop()
    upstream:clear()
    upstream:on(ws.echo)
  end)

  local function with(plugins, bindings, limits)
    local gateway = kit.gateway { conf = CONF:format(limits or "", bindings),
      plugins = plugins, env = { UPSTREAM = upstream:url() } }
    return gateway, kit.client(gateway)
  end

  local function open(plugins, bindings, limits)
    local gateway, client = with(plugins, bindings, limits)
    local box = {}
    upstream:on(function(conn)
      ws.accept(conn)
      box.conn = conn
      kit.eventually(function() return box.done end, 60)
    end)
    local conn, answer = ws.connect(client)
    assert.equal(101, answer.status)
    kit.eventually(function() return box.conn end)
    finally(function() box.done = true end)
    return conn, box.conn, gateway
  end

  it("sees whole messages of both sides, and changes them", function()
    local conn, up = open({ tag = source("tag",
      [[return msg.from .. "," .. msg.type .. "," .. msg.data]]) }, "[ tag ]")

    conn:write(ws.masked(ws.TEXT, "he", { fin = false }) .. ws.masked(ws.PING, "p")
      .. ws.masked(ws.CONTINUATION, "l", { fin = false }) .. ws.masked(ws.CONTINUATION, "lo")
      .. ws.masked(ws.BINARY, ""))
    local ping, text, binary = ws.read(up), ws.read(up), ws.read(up)
    up:write(ws.frame(ws.BINARY, "\0\xff"))
    local back = ws.read(conn)

    assert.same({ ws.PING, "p", true }, { ping.opcode, ping.payload, ping.masked })
    assert.same({ ws.TEXT, "client,text,hello", true, true },
      { text.opcode, text.payload, text.masked, text.fin })
    assert.are_not.equal("\0\0\0\0", text.mask)
    assert.are_not.equal(text.mask, binary.mask)
    assert.same({ ws.BINARY, "client,binary," }, { binary.opcode, binary.payload })
    assert.same({ ws.BINARY, "upstream,binary,\0\xff", false },
      { back.opcode, back.payload, back.masked })
  end)

  it("leaves with nil, drops with false, empties with \"\", and may change the type", function()
    local conn, up = open({ some = source("some", [[
      if msg.data == "drop" then return false end
      if msg.data == "empty" then return "" end
      if msg.data == "bytes" then return "\255", "binary" end
      if msg.data == "secret" then return msg.data:gsub("secret", "***") end
    ]]) }, "[ some ]")

    for _, text in ipairs { "same", "drop", "empty", "bytes", "secret" } do
      conn:write(ws.masked(ws.TEXT, text))
    end

    local got = {}
    for _ = 1, 4 do
      local frame = ws.read(up)
      got[#got + 1] = frame.opcode .. frame.payload
    end
    assert.same({ "1same", "1", "2\255", "1***" }, got)
  end)

  it("runs the chain: each plugin gets what the one before has made", function()
    local add = [[
      if msg.data == "" then return false end
      return msg.data .. conf.tag
    ]]
    local conn, up = open({ tag = source("tag", add) }, [=[

      - tag: { tag: "1" }
      - tag: { tag: "2" }
        id: second
        when: ctx.request.headers["host"] == "b"
      - tag: { tag: "3" }
        id: third]=])

    conn:write(ws.masked(ws.TEXT, "") .. ws.masked(ws.TEXT, "x"))

    assert.equal("x13", ws.read(up).payload)
  end)

  it("may wait: order stays, and the sender is held", function()
    local conn, up, gateway = open({ slow = source("slow", [[
      if msg.data:sub(1, 4) == "slow" then gw.sleep(tonumber(msg.data:sub(5))) end
    ]]) }, "[ slow ]")
    local big = ("x"):rep(60000)

    conn:write(ws.masked(ws.TEXT, "slow0.05") .. ws.masked(ws.TEXT, "second"))
    up:write(ws.frame(ws.TEXT, "back"))
    assert.equal("slow0.05", ws.read(up).payload)
    assert.equal("second", ws.read(up).payload)
    assert.equal("back", ws.read(conn).payload)
    -- While a message waits, the next ones stay with their sender.
    conn:write(ws.masked(ws.TEXT, "slow600"))
    local held
    kit.go(function()
      for i = 1, 1000 do
        local n = 0
        local frame = ws.masked(ws.BINARY, big)
        while n < #frame do
          local sent = conn.fd:write(frame, n + 1)
          if sent then
            n = n + sent
          else
            held = i
            conn.fd:wait("w", 30)
          end
        end
      end
    end)
    kit.eventually(function() return held end, 10)
    assert.is_true(held < 200, "sent " .. held)
    gateway:advance(600000)
    assert.equal("slow600", ws.read(up).payload)
    for _ = 1, 1000 do
      assert.is_true(ws.read(up, 20).payload == big)
    end
  end)

  it("closes with ctx:close(), for both and for good", function()
    local conn, up = open({ stop = source("stop", [[
      if msg.data == "stop" then ctx:close(4001, "not here") end
    ]]), behind = source("behind", [[ if msg.data == "stop" then error("not asked") end ]]) },
      "[ stop, { behind: {}, after: [ stop ] } ]")

    conn:write(ws.masked(ws.TEXT, "good") .. ws.masked(ws.TEXT, "stop") .. ws.masked(ws.TEXT, "never"))

    assert.equal("good", ws.read(up).payload)
    assert.same({ 4001, "not here" }, { ws.read_close(up) })
    assert.same({ 4001, "not here" }, { ws.read_close(conn) })
    conn:write(ws.masked(ws.CLOSE, ws.close(4001)))
    up:write(ws.frame(ws.TEXT, "late") .. ws.frame(ws.CLOSE, ws.close(4001)))
    assert.equal("", (conn:read_all()))
  end)

  for what, body in pairs {
    ["raises"] = [[error("boom")]],
    ["returns another type than there is"] = [[return "x", "xml"]],
    ["returns a number"] = [[return 5]],
    ["returns a text that is none"] = [[return "\255"]],
    ["changes msg in place"] = [[msg.data = "other"]],
    ["never ends"] = [[while true do end]],
    ["answers as if it were a request"] = [[ctx:exit(403)]],
    ["closes with a code that may not be sent"] = [[ctx:close(1005)]],
    ["reads the request's body"] = [[return ctx.request.body]],
  } do
    it("that " .. what .. " ends the WebSocket with 1011", function()
      local conn, up, gateway = open({ bad = source("bad", body) }, "[ bad ]")

      conn:write(ws.masked(ws.TEXT, "x"))

      assert.equal(1011, (ws.read_close(up)))
      assert.equal(1011, (ws.read_close(conn)))
      gateway:wait_log("plugin bad, message, route all")
    end)
  end

  it("that fails and may be skipped leaves the message as it is", function()
    local conn, up = open({ bad = source("bad", [[error("boom")]]),
      slow = source("slow", [[gw.sleep(600)]]), mark = source("mark", [[return msg.data .. "!"]]) },
      "[ mark, { bad: {}, on_error: skip }, { slow: {}, on_error: skip, deadline: 50ms, after: [ mark ] } ]")

    conn:write(ws.masked(ws.TEXT, "x"))

    assert.equal("x!", ws.read(up).payload)
  end)

  it("that waits longer than its deadline ends the WebSocket with 1011", function()
    local conn = open({ slow = source("slow", [[gw.sleep(600)]]) }, "[ { slow: {}, deadline: 50ms } ]")

    conn:write(ws.masked(ws.TEXT, "x"))

    assert.equal(1011, (ws.read_close(conn)))
  end)

  it("is cancelled when the client leaves", function()
    local conn, up, gateway = open({ slow = source("slow", [[gw.sleep(600)]]) }, "[ slow ]")
    conn:write(ws.masked(ws.TEXT, "x"))
    gw.sleep(0.05)

    conn:reset()

    assert.equal(1001, (ws.read_close(up)))
    kit.eventually(function() return gateway:status().workers[1].requests_active == 0 end)
  end)

  it("sees no text that is not UTF-8: 1007", function()
    local conn, up = open({ same = source("same", "") }, "[ same ]")

    conn:write(ws.masked(ws.TEXT, "a\xc3", { fin = false }) .. ws.masked(ws.CONTINUATION, "\xa4")
      .. ws.masked(ws.TEXT, "b\xc3"))

    assert.equal("a\xc3\xa4", ws.read(up).payload)
    assert.equal(1001, (ws.read_close(up)))
    assert.equal(1007, (ws.read_close(conn)))
  end)

  it("holds messages of at most body_buffer_size_max: 1009", function()
    local conn, up = open({ same = source("same", "") }, "[ same ]",
      "limits: { body_buffer_size_max: 1k }")

    conn:write(ws.masked(ws.BINARY, ("x"):rep(1024))
      .. ws.masked(ws.BINARY, ("x"):rep(1000), { fin = false })
      .. ws.masked(ws.CONTINUATION, ("x"):rep(25)))

    assert.equal(1024, #ws.read(up).payload)
    assert.equal(1009, (ws.read_close(conn)))
    assert.equal(1001, (ws.read_close(up)))
  end)

  it("gets nothing compressed: the offer is not made", function()
    local _, client = with({ same = source("same", "") }, "[ same ]")

    local conn, answer = ws.connect(client, { headers = {
      ["Sec-WebSocket-Extensions"] = "permessage-deflate" } })

    assert.equal(101, answer.status)
    assert.is_nil(answer.headers["sec-websocket-extensions"])
    assert.is_nil(upstream:request().headers["sec-websocket-extensions"])
    conn:write(ws.masked(ws.TEXT, "x", { rsv = 4 }))
    assert.equal(1002, (ws.read_close(conn)))
  end)

  it("lets a Close of the peers through, behind the messages before it", function()
    local conn, up = open({ slow = source("slow", [[gw.sleep(0.05)]]) }, "[ slow ]")

    conn:write(ws.masked(ws.TEXT, "last") .. ws.masked(ws.CLOSE, ws.close(1000, "bye")))

    assert.equal("last", ws.read(up).payload)
    assert.same({ 1000, "bye" }, { ws.read_close(up) })
    up:write(ws.frame(ws.CLOSE, ws.close(1000, "bye")))
    assert.same({ 1000, "bye" }, { ws.read_close(conn) })
    assert.is_true(conn:closed())
  end)

  it("keeps ctx and ctx.state over messages, and log comes behind them", function()
    local conn, up, gateway = open({ count = source("count", [[
      ctx.seen = (ctx.seen or 0) + 1
      ctx.state.all = ctx.state.all + 1
      return ctx.seen .. "/" .. ctx.state.all .. "/" .. ctx.route.name .. "/" .. ctx.response.status
    ]], [[
function plugin.init() return { all = 0 } end
function plugin.log(conf, ctx) gw.log.info("saw %d messages", ctx.seen) end]]) }, "[ count ]",
      "log: { level: info }")

    for i = 1, 3 do
      conn:write(ws.masked(ws.TEXT, "x"))
      assert.equal(("%d/%d/all/101"):format(i, i), ws.read(up).payload)
    end
    conn:write(ws.masked(ws.CLOSE, ""))
    up:write(ws.frame(ws.CLOSE, ""))
    conn:closed()
    conn:close()
    gateway:wait_log("saw 3 messages")
  end)

  it("goes over to a new conf with its instance, which is not made anew", function()
    local text = [[
plugins: [ watch ]
routes:
  - { name: "extra%d", match: { path: /extra }, respond: { body: x } }
  - { name: all, match: { path: "/rooms/:room" }, plugins: [ { count: { tag: "%s" } } ], upstream: "${UPSTREAM}" }
]]
    local gateway = kit.gateway { conf = text:format(0, "a"), env = { UPSTREAM = upstream:url() },
      plugins = {
        watch = source("watch", "", [[function plugin.log(conf, ctx)
  gw.log.warn("%s %s %s %s %s", ctx.route.name, ctx.route.params.room, ctx.upstream.address,
    ctx.request.headers["x-forwarded-host"], ctx.response.headers["upgrade"]) end]]),
        count = source("count", [[
          ctx.state.n = ctx.state.n + 1
          return conf.tag .. ctx.state.n .. ctx.route.params.room .. ctx.request.listener]],
          "function plugin.init() return { n = 0 } end"),
      } }
    local conn = ws.connect(kit.client(gateway), { path = "/rooms/blue" })
    local function say()
      conn:write(ws.masked(ws.TEXT, "x"))
      return ws.read(conn).payload
    end
    local function generations() return #gateway:status().workers[1].generations end
    local name = say():match("^a2blue(.*)$")

    for i = 1, 5 do
      assert.is_true(gateway:reload(text:format(i, "a")).ok)
      assert.equal(1, generations())
      assert.equal("a" .. 2 + 2 * i .. "blue" .. name, say())
    end
    assert.is_true(gateway:reload(text:format(6, "b")).ok)
    assert.equal(2, generations())
    assert.equal("a14blue" .. name, say())
    conn:write(ws.masked(ws.CLOSE, ""))
    conn:closed()
    conn:close()
    gateway:wait_log("all blue " .. upstream:address() .. " a websocket")
    kit.eventually(function() return generations() == 1 end)
  end)

  it("keeps its code for a WebSocket that is open when it changes", function()
    local plugins = { tag = source("tag", [[return "old " .. msg.data]]) }
    local conn, up, gateway = open(plugins, "[ tag ]")

    gateway:write("plugins/tag.lua", source("tag", [[return "new " .. msg.data]]))
    assert.is_true(gateway:reload().ok)
    local later = ws.connect(kit.client(gateway))

    conn:write(ws.masked(ws.TEXT, "x"))
    assert.equal("old x", ws.read(up).payload)
    later:close()
  end)

  it("at shutdown the message that waits is still delivered", function()
    local conn, up, gateway = open({ slow = source("slow", [[gw.sleep(0.2)]]) }, "[ slow ]")
    gateway:may_die()
    conn:write(ws.masked(ws.TEXT, "last"))
    gw.sleep(0.05)

    gateway:signal("TERM")

    assert.equal("last", ws.read(up).payload)
    assert.equal(1001, (ws.read_close(up)))
    assert.equal(1001, (ws.read_close(conn)))
  end)

  describe("in a plugin's spec", function()
    local SOURCE = source("some", [[
      if msg.data == "drop" then return false end
      if msg.data == "close" then return ctx:close(4000, "so") end
      if msg.data == "same" then return end
      gw.sleep(0.01)
      return msg.from .. ":" .. msg.data, msg.type == "text" and "binary" or "text"
    ]])

    it("is called with a message and tells what goes on", function()
      local plugin, ctx = kit.plugin(SOURCE, {}), kit.ctx {}

      assert.same({ "client:x", "binary" }, { plugin:message(ctx, { data = "x" }) })
      assert.same({ "upstream:x", "text" },
        { plugin:message(ctx, { data = "x", type = "binary", from = "upstream" }) })
      assert.same({ "same", "text" }, { plugin:message(ctx, { data = "same" }) })
      assert.is_false((plugin:message(ctx, { data = "drop" })))
      local data, code, reason = plugin:message(ctx, { data = "close" })
      assert.is_nil(data)
      assert.same({ 4000, "so" }, { code, reason })
    end)

    it("raises what it raises", function()
      local plugin = kit.plugin(source("bad", [[error("boom")]]), {})

      assert.has_error(function() plugin:message(kit.ctx {}, { data = "x" }) end)
    end)
  end)
end)
