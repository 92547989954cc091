--- Server-sent events and long polling: what an upstream says passes at once, silence is allowed as
--- long as the conf says, and neither reloads nor other requests get in the way.
local kit = require("gateway.spec")

local CONF = [[
%s
upstreams:
  back: { targets: [ "%s" ]%s }
routes:
  - name: all
    match: { path: "/*" }
    %s
    upstream: back
]]

local HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"

local function event(n) return ("id: %d\ndata: event %d\n\n"):format(n, n) end

describe("a stream of events", function()
  local upstream, box

  setup(function() upstream = kit.upstream() end)

  before_each(function()
    upstream:drop()
    upstream:clear()
    box = {}
    upstream:on(function(conn)
      local request = conn:read_request()
      box.conn, box.request = conn, request
      conn:write(HEAD .. "Transfer-Encoding: chunked\r\n\r\n")
      kit.eventually(function() return box.over end, 120)
    end)
  end)

  after_each(function() box.over = true end)

  --- A silent stream would hold its gateway at the end of the test.
  local function leave(conn)
    conn:reset()
    box.over = true
  end

  local function with(more, upstream_keys, route, plugins)
    local gateway = kit.gateway { conf = CONF:format(more or "", upstream:address(),
      upstream_keys or "", route or ""), plugins = plugins }
    return gateway, kit.client(gateway)
  end

  local function send(text)
    box.conn:write((kit.chunks(text):gsub("0\r\n\r\n$", "")))
  end

  --- Opens one and reads its head.
  local function open(client, headers)
    local conn = client:connect()
    conn:write("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n"
      .. (headers or "") .. "\r\n")
    local head = conn:read_until("\r\n\r\n")
    assert.matches("^HTTP/1.1 200 OK", head)
    kit.eventually(function() return box.conn end)
    return conn, head
  end

  --- The next event in chunks of the wire.
  local function expect(conn, n)
    assert(conn:read_until("data: event " .. n .. "\n\n", 2))
  end

  it("passes each as it comes, before the next is written", function()
    local _, client = with()
    local conn, head = open(client)

    assert.matches("[Tt]ransfer%-[Ee]ncoding: chunked", head)
    for n = 1, 20 do
      send(event(n))
      expect(conn, n)
    end
    leave(conn)
  end)

  it("passes each as it comes where the upstream ends its answer by closing", function()
    local _, client = with()
    upstream:on(function(conn)
      conn:read_request()
      box.conn = conn
      conn:write(HEAD .. "Connection: close\r\n\r\n")
      kit.eventually(function() return box.over end, 60)
    end)
    local conn = open(client)

    for n = 1, 5 do
      box.conn:write(event(n))
      expect(conn, n)
    end
    leave(conn)
  end)

  it("passes each as it comes through body_filter, and where the answer is read ahead", function()
    local _, client = with("", "", "plugins: [ tag ]\n    buffering: { response: true }", { tag = [[
local plugin = { name = "tag", priority = 1, schema = { type = "object" } }
function plugin.body_filter(_, _, chunk) return (chunk:gsub("data: ", "data: event ")) end
return plugin]] })
    local conn = open(client)

    for n = 1, 5 do
      send("data: " .. n .. "\n\n")
      expect(conn, n)
    end
    leave(conn)
  end)

  it("may be silent as long as the upstream's read_timeout says", function()
    local gateway, client = with("", ", read_timeout: 1h")
    local conn = open(client)

    gateway:advance(3500000)
    send(event(1))
    expect(conn, 1)
    gateway:advance(3500000)
    send(event(2))
    expect(conn, 2)
    gateway:advance(3700000)
    assert.is_true(conn:closed())
  end)

  it("is cut after 60 s of silence without it, with the reason in the log", function()
    local gateway, client = with()
    local conn = open(client)

    gateway:advance(59000)
    send(event(1))
    expect(conn, 1)
    gateway:advance(61000)

    assert.is_true(conn:closed())
    gateway:wait_log("answer stopped")
  end)

  it("is not bound by the times of clients that are to send something", function()
    local gateway, client = with("limits: { header_timeout: 1s, body_timeout: 1s, idle_timeout: 1s, "
      .. "send_timeout: 1s, data_rate_grace: 1s }", ", read_timeout: 1h")
    local conn = open(client)

    gateway:advance(600000)
    send(event(1))

    expect(conn, 1)
    leave(conn)
  end)

  it("lives on through reloads that change its route", function()
    local conf = CONF:format("", upstream:address(), ", read_timeout: %dm", "")
    local gateway = kit.gateway { conf = conf:format(10) }
    local conn = open(kit.client(gateway))

    for n = 1, 10 do
      assert.is_true(gateway:reload(conf:format(10 + n)).ok)
      send(event(n))
      expect(conn, n)
    end
    leave(conn)
  end)

  it("that its client leaves is let go after half_close_timeout, silent as it may be", function()
    local gateway, client = with("limits: { half_close_timeout: 4s }", ", read_timeout: 1h")
    local conn = open(client)
    send(event(1))
    expect(conn, 1)
    assert(conn:read(2))

    conn:half_close() -- no more can be told from a client that has gone
    gw.sleep(0.05)
    gateway:advance(3500)
    send(event(2))
    expect(conn, 2)
    gateway:advance(3500)
    assert.is_false(box.conn:closed(0.1))
    gateway:advance(600)

    assert.is_true(box.conn:closed(2))
    assert.is_true(conn:closed())
  end)

  it("that its client resets is let go without another event", function()
    local _, client = with()
    local conn = open(client)

    conn:reset()

    assert.is_true(box.conn:closed(2))
  end)

  it("ends at shutdown, within shutdown_timeout", function()
    local gateway, client = with("shutdown_timeout: 1s")
    gateway:may_die()
    local conn = open(client)
    local began = kit.now()

    gateway:signal("TERM")
    gw.sleep(0.2)
    send(event(1))
    expect(conn, 1)

    conn:closed(5)
    kit.eventually(function() return gateway.process:ended() end)
    assert.is_true(kit.now() - began < 3)
  end)

  it("comes to curl as it is sent", function()
    local gateway = with()
    local curl = kit.start("curl", { "-sN", gateway:url("/events") })
    kit.eventually(function() return box.conn end)

    for n = 1, 5 do
      local began = kit.now()
      send(event(n))
      assert(curl.stdout:read_until("data: event " .. n .. "\n\n", 2))
      assert.is_true(kit.now() - began < 0.5)
    end
    curl:signal_now("KILL")
    box.over = true
  end)

  it("comes to node's fetch as it is sent", function()
    if (kit.run("sh", { "-c", "command -v node" })) ~= 0 then
      pending("needs node")
      return
    end
    local gateway = with()
    local node = kit.start("node", { "-e", [[
      fetch(process.argv[1]).then(async (answer) => {
        for await (const piece of answer.body) process.stdout.write(piece);
      })]], gateway:url("/events") })
    kit.eventually(function() return box.conn end, 20)

    for n = 1, 3 do
      send(event(n))
      assert(node.stdout:read_until("data: event " .. n .. "\n\n", 5))
    end
    node:signal_now("KILL")
    box.over = true
  end)
end)

describe("a long poll", function()
  it("waits for its answer as long as read_timeout says, then 504", function()
    local upstream = kit.upstream()
    local box = {}
    upstream:on(function(conn)
      while conn:read_head() do
        box.conn = conn
        local answer = kit.eventually(function() return box.answer end, 60)
        box.answer = nil
        if not conn:write(answer) then
          return
        end
      end
    end)
    local gateway = kit.gateway { conf = CONF:format("", upstream:address(), ", read_timeout: 90s",
      "retries: 0") }
    local client = kit.client(gateway)
    local function poll()
      local conn = client:connect()
      box.conn = nil
      conn:write("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n")
      kit.eventually(function() return box.conn end)
      return conn
    end

    local conn = poll()
    gateway:advance(85000)
    box.answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnews"
    assert.equal("news", conn:read_answer("GET").body)

    conn = poll()
    gateway:advance(91000)
    assert.equal(504, conn:read_answer("GET").status)
    box.answer = "" -- the upstream's side ends with it
  end)
end)
