local kit = require("gateway.spec")

--- What a worker holds, as the kernel counts it.
local function descriptors(pid)
  local pipe = assert(io.popen(("ls /proc/%d/fd | wc -l"):format(pid)))
  local n = tonumber(pipe:read("*a"))
  pipe:close()
  return n
end

local function proc(pid, file)
  local f = assert(io.open(("/proc/%d/%s"):format(pid, file)))
  local text = f:read("*a")
  f:close()
  return text
end

local function resident_kib(pid)
  return tonumber(proc(pid, "status"):match("VmRSS:%s*(%d+)"))
end

--- Seconds of the processor that it has used; the kernel counts in hundredths.
local function cpu(pid)
  local user, system = proc(pid, "stat"):match("%) %S" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return (user + system) / 100
end

local GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

describe("a worker", function()
  local upstream

  setup(function() upstream = kit.upstream() end)

  before_each(function()
    upstream:drop()
    upstream:clear()
    upstream:on(nil)
    upstream:answer { body = "upstream\n" }
  end)

  local function with(limits, more)
    local gateway = kit.gateway { conf = ([[
%s
limits: { %s }
upstreams:
  behind: { targets: [ "${UPSTREAM}" ], idle_conns_max: 0 }
routes:
  - { name: own, match: { path: /own }, respond: { body: own } }
  - { name: all, match: { path: "/*" }, upstream: behind }
]]):format(more or "", limits), env = { UPSTREAM = upstream:address() } }
    return gateway, kit.client(gateway), gateway:worker_pids()[1]
  end

  describe("without descriptors", function()
    --- A gateway that has room for `room` more.
    local function narrow(room)
      local gateway, client, pid = with "connections_max: 1000"
      assert.equal(200, client:get("/").status)
      kit.eventually(function() assert.equal(0, gateway:status().workers[1].connections) end)
      local code, _, err = kit.run("prlimit", { "--pid", pid,
        ("--nofile=%d:%d"):format(descriptors(pid) + room, descriptors(pid) + room) })
      assert.equal(0, code, err)
      return gateway, client, pid
    end

    it("sheds, does not spin, and recovers", function()
      local _, client, pid = narrow(10)
      local conns = {}
      for i = 1, 40 do
        conns[i] = client:connect()
        conns[i]:write("GET /own HTTP/1.1\r\nHost: a\r\n\r\n")
      end
      gw.sleep(0.3)
      local served, shed = 0, 0
      for _, conn in ipairs(conns) do
        if conn:closed(0) then
          local came = conn:read_all()
          assert.is_true(came == "" or came:find("^HTTP/1.1 503 ") ~= nil, came)
          shed = shed + 1
        elseif conn.buffer ~= "" then
          assert.matches("^HTTP/1.1 200 ", conn.buffer)
          served = served + 1
        end
      end
      assert.is_true(served >= 5, served)
      assert.is_true(shed >= 1, shed)

      local before = cpu(pid)
      gw.sleep(1)
      assert.is_true(cpu(pid) - before <= 0.2, cpu(pid) - before)
      for _, conn in ipairs(conns) do
        conn:close()
      end

      kit.eventually(function() assert.equal(200, client:get("/").status) end)
    end)

    it("for an upstream answers 503, and recovers", function()
      local _, client, pid = with "connections_max: 1000"
      local conn = client:connect()
      local function asks(path)
        conn:write(("GET %s HTTP/1.1\r\nHost: a\r\n\r\n"):format(path))
        return conn:read_answer()
      end
      local function most(n)
        local code, _, err = kit.run("prlimit", { "--pid", pid, ("--nofile=%d:"):format(n) })
        assert.equal(0, code, err)
      end
      assert.equal(200, asks("/").status)

      most(3)
      assert.equal(503, asks("/").status)
      assert.equal("own", asks("/own").body)
      assert.equal(1, upstream:requests())
      most(1000)

      assert.equal(200, asks("/").status)
    end)
  end)

  --- Ways to leave; each takes a new connection.
  local STAGES = {
    { "before a word", function() end },
    { "in the middle of the head", function(conn) conn:write("GET / HTTP/1.1\r\nHo") end },
    { "behind the head", function(conn) conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n") end },
    { "in the middle of the body", function(conn)
      conn:write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
    end },
    { "behind the request", function(conn) conn:write(GET) end },
    { "with more behind the request", function(conn) conn:write(GET .. GET .. "GET") end },
    { "behind a bad request", function(conn) conn:write("GET\r\n\r\n") end },
    { "behind the answer", function(conn)
      conn:write("GET /own HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:read_answer()
    end },
    { "in the middle of a long answer", function(conn)
      conn:buffers(nil, 4096)
      conn:write("GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:read(100)
    end },
    { "out of a tunnel", function(conn)
      conn:write("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
      conn:read_head()
      conn:write("hello")
    end },
  }

  local function long_or_chat(conn)
    local head = conn:read_head()
    if not head then
      return
    end
    local path = head:match("^%S+ (%S+)")
    if path == "/chat" then
      conn:write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
    elseif path == "/long" then
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" .. ("x"):rep(1000000))
    end
    conn:closed(5)
  end

  it("loses no descriptor and no memory by 1,000 clients that leave at any stage", function()
    local gateway, client, pid = with "connections_max: 0"
    upstream:on(long_or_chat)
    local function round(i)
      local conn = client:connect()
      STAGES[i % #STAGES + 1][2](conn)
      if i % 3 == 0 then
        conn:close()
      elseif i % 3 == 1 then
        conn:reset()
      else
        conn:half_close()
        conn:close()
      end
      client.conns = {}
    end
    local function settled()
      kit.eventually(function()
        local worker = gateway:status().workers[1]
        assert.equal(0, worker.connections)
      end, 10)
      -- Those that half-closed may wait for their answer for a while.
      gateway:advance(6000)
      kit.eventually(function() assert.equal(0, select(2, upstream:connections())) end, 10)
    end

    for i = 1, 300 do
      round(i)
    end
    settled()
    local fds, kib = descriptors(pid), resident_kib(pid)
    for i = 1, 1000 do
      round(i)
    end
    settled()

    kit.eventually(function() assert.equal(fds, descriptors(pid)) end)
    if not kit.sanitized then
      assert.is_true(resident_kib(pid) - kib < 2048, ("%d -> %d KiB"):format(kib, resident_kib(pid)))
    end
    assert.equal(pid, gateway:worker_pids()[1])
  end)

  it("serves others while 500 heads come slowly, and ends those in their time", function()
    local gateway, client = with "header_timeout: 5s"
    local conns = {}
    for i = 1, 500 do
      conns[i] = client:connect()
      conns[i]:write("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    end
    for _ = 1, 3 do
      for _, conn in ipairs(conns) do
        conn:write("x")
      end
      local began = kit.now()
      for _ = 1, 20 do
        assert.equal(200, client:get("/").status)
      end
      assert.is_true(kit.now() - began < 2, kit.now() - began)
      gateway:advance(1000)
    end

    gateway:advance(2500)
    for _, conn in ipairs(conns) do
      assert.matches("^HTTP/1.1 408 ", conn:read_all())
    end
    kit.eventually(function() assert.equal(0, gateway:status().workers[1].connections) end)
  end)
end)
