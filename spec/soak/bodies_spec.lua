--- What takes too long for every run: 1 GiB each way, and 10,000 connections that wait.
local kit = require("gateway.spec")

local MIB = 1024 * 1024
local GIB = 1024 * MIB
local PIECE = ("0123456789abcdef"):rep(16384) -- 256 KiB
-- A sanitizer keeps 256 MiB of what was freed.
local MOST_KIB = kit.sanitized and 400 * 1024 or 16 * 1024

local CONF = [[
limits: { body_size_max: 2g, connections_per_client_max: 0, idle_timeout: 600s }
routes:
  - name: hello
    match: { path: /hello }
    respond: { body: "hello\n" }
  - name: all
    match: { path: "/*" }
    upstream: ${UPSTREAM}
]]

local function memory(pid)
  local file = assert(io.open(("/proc/%d/status"):format(pid)))
  local text = file:read("*a")
  file:close()
  return tonumber(text:match("VmRSS:%s*(%d+)"))
end

--- Watches the memory of the only worker until `stop` is called; that returns the most, in KiB more
--- than at the start.
local function watch(gateway)
  local pid = gateway:worker_pids()[1]
  local before, most, over = memory(pid), 0, false
  kit.go(function()
    while not over do
      most = math.max(most, memory(pid) - before)
      gw.sleep(0.05)
    end
  end)
  return function()
    over = true
    return math.max(most, memory(pid) - before)
  end
end

local function pour(conn, chunked)
  local bytes = chunked and ("%x\r\n%s\r\n"):format(#PIECE, PIECE) or PIECE
  for _ = 1, GIB / #PIECE do
    if not conn:write(bytes, 30) then
      return
    end
  end
  if chunked then
    conn:write("0\r\n\r\n")
  end
end

--- Reads that many bytes and forgets them.
local function swallow(conn, left)
  while left > 0 do
    local data = assert(conn:read(nil, 30))
    left = left - #data
  end
  return left
end

describe("1 GiB", function()
  local upstream, gateway, client

  before_each(function()
    upstream = kit.upstream()
    gateway = kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() } }
    client = kit.client(gateway)
  end)

  it("comes down, memory flat", function()
    upstream:on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: " .. GIB .. "\r\n\r\n")
      pour(conn)
    end)
    local conn, stop = client:connect(), watch(gateway)

    conn:write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    conn:read_head()

    assert.equal(0, swallow(conn, GIB))
    assert.equal("", (conn:read_all()))
    assert.is_true(stop() < MOST_KIB)
  end)

  it("goes up with a length, memory flat", function()
    local took
    upstream:on(function(conn)
      conn:read_head()
      took = swallow(conn, GIB)
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    end)
    local conn, stop = client:connect(), watch(gateway)

    conn:write("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: " .. GIB .. "\r\n\r\n")
    pour(conn)

    assert.equal(200, conn:read_answer().status)
    assert.equal(0, took)
    assert.is_true(stop() < MOST_KIB)
  end)

  it("goes up in chunks and comes down at the same time, memory flat", function()
    local came = 0
    upstream:on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: " .. GIB .. "\r\n\r\n")
      kit.go(pour, conn)
      repeat
        local data = conn:read(nil, 30)
        came = came + #(data or "")
      until not data or data:sub(-5) == "0\r\n\r\n"
      conn:closed(30)
    end)
    local conn, stop = client:connect(), watch(gateway)

    conn:write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    kit.go(pour, conn, true)
    conn:read_head()

    assert.equal(0, swallow(conn, GIB))
    kit.eventually(function() return came > GIB end, 60)
    assert.is_true(stop() < MOST_KIB)
  end)
end)

--- How many files this process may open; the gateway inherits it.
local function files_max()
  local file = assert(io.open("/proc/self/limits"))
  local text = file:read("*a")
  file:close()
  return tonumber(text:match("Max open files%s+(%d+)")) or math.huge
end

describe("10,000 idle connections", function()
  local COUNT = 10000
  if files_max() < COUNT + 200 then
    pending("need ulimit -n " .. COUNT + 200)
    return
  end

  it("are held with little memory, and all of them still answer", function()
    local upstream = kit.upstream()
    local gateway = kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() } }
    local client, conns = kit.client(gateway), {}
    local pid = gateway:worker_pids()[1]
    local before = memory(pid)

    for i = 1, COUNT do
      conns[i] = client:connect()
      conns[i]:write("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
      assert(conns[i]:read_answer().body == "hello\n")
    end
    local held = memory(pid) - before

    assert.is_true(held < COUNT * (kit.sanitized and 16 or 2), held .. " KiB")
    assert.equal(200, client:get("/").status)
    for i = 1, #conns do
      conns[i]:write("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
      assert(conns[i]:read_answer().body == "hello\n")
    end
    assert.equal(pid, gateway:worker_pids()[1])
    assert.is_true(gateway:status().workers[1].connections >= COUNT)
    for i = 1, #conns do
      conns[i]:close()
    end
    kit.eventually(function() return gateway:status().workers[1].connections < 10 end, 20)
  end)
end)
