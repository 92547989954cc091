local kit = require("gateway.spec")
local native = require("gateway.spec.native")

local STORE = [[
local plugin = { name = "store", priority = 1 }
function plugin.access(_, ctx)
  local value = gw.shared.counts:incr("n", 1, 0)
  return ctx:exit(200, tostring(value))
end
return plugin
]]

local CONF = [[
shared: { counts: 1m }
routes:
  - { name: count, match: { path: /count }, plugins: [ store ], respond: { status: 204 } }
  - { name: slow, match: { path: /slow }, upstream: "${UPSTREAM}" }
  - { name: fine, match: { path: /fine }, respond: { status: 200, body: "fine\n" } }
]]

--- Clients that ask all the time: `kept` on one connection each, which is opened again when it
--- breaks, and `fresh` with a connection for each request. Remembers who failed, and how long
--- anybody waited.
local function load(client, path, kept, fresh)
  local self = { confirmed = 0, sent = 0, running = 0, worst = { kept = 0, fresh = 0 },
    failed = { kept = 0, fresh = 0 }, errors = {} }
  local function ask(conn, kind)
    local began = kit.now()
    self.sent = self.sent + 1
    local ok, answer = pcall(function()
      conn:write(("GET %s HTTP/1.1\r\nHost: a\r\n\r\n"):format(path))
      return conn:read_answer()
    end)
    self.worst[kind] = math.max(self.worst[kind], kit.now() - began)
    if ok and answer.status == 200 then
      self.confirmed = self.confirmed + 1
      return true
    end
    self.failed[kind] = self.failed[kind] + 1
    self.errors[#self.errors + 1] = kind .. ": " .. tostring(ok and answer.status or answer)
    self.last_failure = kit.now()
    self.first_failure = self.first_failure or self.last_failure
    return false
  end
  local function connect(kind)
    local ok, conn = pcall(client.connect, client)
    if ok then
      return conn
    end
    self.failed[kind] = self.failed[kind] + 1
    self.errors[#self.errors + 1] = kind .. ": " .. tostring(conn)
    self.last_failure = kit.now()
    gw.sleep(0.005)
  end
  local function go(kind)
    self.running = self.running + 1
    kit.go(function()
      local conn
      while not self.over do
        conn = conn or connect(kind)
        if conn and (not ask(conn, kind) or kind == "fresh") then
          conn:close()
          conn = nil
        end
        gw.sleep(0.001)
      end
      if conn then
        conn:close()
      end
      self.running = self.running - 1
    end)
  end
  for _ = 1, kept do
    go("kept")
  end
  for _ = 1, fresh do
    go("fresh")
  end
  function self.stop()
    self.over = true
    kit.eventually(function() return self.running == 0 end, 10)
    return self
  end
  function self.more(n)
    local seen = self.confirmed
    kit.eventually(function() return self.confirmed >= seen + n end, 10)
  end
  return self
end

--- With MOONGATE_MEASURE set, the numbers of docs/failures.md.
local function measured(what, load_, more)
  if os.getenv("MOONGATE_MEASURE") then
    io.write(("\n%-22s kept: %d failed, worst %.0f ms; fresh: %d failed, worst %.0f ms; %s\n"):format(what,
      load_.failed.kept, load_.worst.kept * 1000, load_.failed.fresh, load_.worst.fresh * 1000,
      more or ""))
  end
end

local SLOW = kit.sanitized and 5 or 1

local function made(options)
  options = options or {}
  local upstream = options.upstream or kit.upstream()
  local gateway = kit.gateway { conf = (options.conf or "") .. CONF, workers = options.workers or 2,
    plugins = { store = STORE }, env = { UPSTREAM = upstream:url() } }
  gateway:port() -- asked for once, while all is well
  return gateway, kit.client(gateway), upstream
end

local function serving(gateway, count)
  kit.eventually(function()
    local n = 0
    for _, worker in ipairs(gateway:status().workers) do
      n = n + (worker.state == "serving" and 1 or 0)
    end
    assert.equal(count, n)
  end, 10)
end

describe("kill -9 of a worker under load", function()
  it("fails only what was in flight in it, and loses no confirmed count", function()
    local gateway, client = made()
    local load_ = load(client, "/count", 4, 4)
    load_.more(50)

    local victim, began = gateway:worker_pids()[1], kit.now()
    gateway:signal("KILL", victim)
    kit.eventually(function() return gateway:log():find("(pid " .. victim .. ") ended", 1, true) end)
    serving(gateway, 2)
    local back = kit.now() - began
    load_.more(100)
    load_.stop()

    local counted = tonumber(client:get("/count").body) - 1
    local failed = load_.failed.kept + load_.failed.fresh
    assert.is_true(counted >= load_.confirmed and counted <= load_.confirmed + failed,
      ("%d counted, %d confirmed, %d failed"):format(counted, load_.confirmed, failed))
    -- One for each connection that it had, and no second one.
    assert.is_true(failed <= 8, table.concat(load_.errors, "\n"))
    assert.is_true(load_.worst.kept < 0.5 * SLOW and load_.worst.fresh < 0.5 * SLOW)
    assert.is_true(back < 1 * SLOW, ("back after %.3f s"):format(back))
    assert.not_equal(victim, gateway:worker_pids()[1])
    assert.equal(1, gateway:status().worker_deaths)
    measured("worker: kill -9", load_, ("successor after %.0f ms"):format(back * 1000))
  end)

  it("again and again backs off, and the others serve on", function()
    local gateway, client = made()

    for i = 1, 4 do
      kit.eventually(function()
        local first = gateway:status().workers[1]
        return first and first.worker == 1 and first.state == "serving"
      end, 10)
      gateway:signal("KILL", gateway:status().workers[1].pid)
      kit.eventually(function() return gateway:status().worker_deaths == i end)
      for _ = 1, 4 do
        assert.equal(200, client:get("/fine").status)
      end
    end

    assert.matches("died 2 times in a row soon after its start: the next one in 100 ms", gateway:log())
    assert.matches("died 3 times in a row soon after its start: the next one in 200 ms", gateway:log())
    assert.matches("died 4 times in a row soon after its start: the next one in 400 ms", gateway:log())
    serving(gateway, 2)
  end)

  it("of all of them at once is over soon", function()
    local gateway, client = made()
    local load_ = load(client, "/count", 2, 2)
    load_.more(20)

    local began = kit.now()
    for _, pid in ipairs(gateway:worker_pids()) do
      gateway:signal("KILL", pid)
    end
    load_.more(50)
    load_.stop()

    assert.is_true(kit.now() - began < 3 * SLOW)
    assert.is_true(load_.failed.kept + load_.failed.fresh <= 8, table.concat(load_.errors, "\n"))
    measured("all workers: kill -9", load_)
  end)
end)

describe("kill -9 of the master", function()
  it("lets workers finish what they have, and a new one starts at once", function()
    local gateway, client, upstream = made()
    local go_on
    upstream:answer(function()
      kit.eventually(function() return go_on end, 10)
      return { body = "finished" }
    end)
    local conn = client:connect()
    conn:write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    kit.eventually(function() return upstream:requests() == 1 end)
    local workers = gateway:worker_pids()

    gateway:may_die()
    gateway:signal("KILL")
    kit.eventually(function() return gateway.process:ended() end)
    gateway:wait_log("the master is gone: draining")
    go_on = true
    local answer = conn:read_answer()

    assert.equal("finished", answer.body)
    kit.eventually(function()
      for _, pid in ipairs(workers) do
        -- A dead one that nobody has waited for keeps its folder, but has no program.
        assert.is_nil(native.kind(("/proc/%d/exe"):format(pid)))
      end
    end)
    gateway:start()
    gateway:may_die()
    assert.equal(200, kit.client(gateway):get("/fine").status)
    assert.equal(0, gateway:stop())
  end)

  it("ends connections that do nothing", function()
    local gateway, client = made { workers = 1 }
    local conn = client:connect()
    conn:write("GET /fine HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read_answer()

    gateway:may_die()
    local began = kit.now()
    gateway:signal("KILL")

    assert.is_true(conn:closed())
    measured("master: kill -9", { failed = { kept = 0, fresh = 0 }, worst = { kept = 0, fresh = 0 } },
      ("idle connections closed after %.0f ms"):format((kit.now() - began) * 1000))
  end)
end)

describe("SIGSTOP of a worker under load", function()
  it("costs those that it had 2 seconds, others hardly anything", function()
    local gateway, client = made()
    local load_ = load(client, "/count", 4, 4)
    load_.more(50)

    local victim, began = gateway:worker_pids()[1], kit.now()
    gateway:signal("STOP", victim)
    kit.eventually(function()
      return gateway:log():find("(pid " .. victim .. ") ended", 1, true)
    end, 10)
    local killed = kit.now() - began
    serving(gateway, 2)
    load_.more(50)
    load_.stop()

    local counted = tonumber(client:get("/count").body) - 1
    local failed = load_.failed.kept + load_.failed.fresh
    assert.is_true(counted >= load_.confirmed and counted <= load_.confirmed + failed,
      ("%d counted, %d confirmed, %d failed"):format(counted, load_.confirmed, failed))
    assert.is_true(failed <= 8, table.concat(load_.errors, "\n"))
    assert.is_true(killed < 2.3 * SLOW, ("replaced after %.2f s"):format(killed))
    assert.matches("is silent: others accept in its place", gateway:log())
    measured("worker: SIGSTOP", load_, ("ended after %.0f ms"):format(killed * 1000))
  end)

  it("that goes on before the watchdog acts costs nobody anything", function()
    local gateway, client = made()
    local load_ = load(client, "/count", 4, 0)
    load_.more(50)

    local victim = gateway:worker_pids()[1]
    gateway:signal("STOP", victim)
    gateway:wait_log("is silent: others accept in its place")
    gateway:signal("CONT", victim)
    load_.more(50)
    gw.sleep(0.3)
    load_.stop()

    assert.same({}, load_.errors)
    assert.equal(0, gateway:status().worker_deaths)
  end)
end)

describe("SIGSTOP of the master", function()
  it("is not noticed by clients", function()
    local gateway, client = made()
    client:get("/fine")
    local load_ = load(client, "/count", 2, 2)
    load_.more(20)

    gateway:signal("STOP")
    gw.sleep(2.5)
    gateway:signal("CONT")
    gw.sleep(0.3)
    load_.more(20)
    load_.stop()

    assert.same({}, load_.errors)
    assert.equal(0, gateway:status().worker_deaths)
    measured("master: SIGSTOP 2.5 s", load_)
  end)
end)

describe("a worker that dies of its own", function()
  it("in a crash loop at the first start ends the gateway", function()
    local gateway = kit.gateway { fails = true, workers = 1,
      plugins = { broken = [[
local plugin = { name = "broken", priority = 1 }
function plugin.init() error("cannot") end
return plugin
]] }, conf = [[
routes: [ { name: a, match: { path: /a }, plugins: [ broken ], respond: { status: 204 } } ]
]] }

    assert.equal(1, gateway.code)
    assert.matches("plugins/broken%.lua:2: cannot", gateway:log())
    assert.matches("the gateway cannot start", gateway:log())
  end)
end)

describe("a graceful stop", function()
  local function slow(conf)
    local gateway, client, upstream = made { conf = conf }
    local state = {}
    upstream:answer(function()
      kit.eventually(function() return state.go_on end, 20)
      return { body = "finished" }
    end)
    local conn = client:connect()
    conn:write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    kit.eventually(function() return upstream:requests() == 1 end)
    return gateway, conn, state, client
  end

  for _, name in ipairs { "TERM", "INT" } do
    it("by SIG" .. name .. " finishes the request in flight and takes no new one", function()
      local gateway, conn, state, client = slow("")
      local idle = client:connect()
      idle:write("GET /fine HTTP/1.1\r\nHost: a\r\n\r\n")
      idle:read_answer()

      gateway:may_die()
      gateway:signal(name)
      assert.is_true(idle:closed())
      kit.eventually(function() return not pcall(function() client:get("/fine") end) end)
      assert.is_false(gateway.process:ended())
      state.go_on = true
      local answer = conn:read_answer()

      assert.equal("finished", answer.body)
      assert.equal("close", answer.headers.connection)
      assert.equal(0, gateway.process:wait())
    end)
  end

  it("has a deadline", function()
    local gateway, conn, state = slow("shutdown_timeout: 300ms\n")

    gateway:may_die()
    local began = kit.now()
    gateway:signal("TERM")
    local code = gateway.process:wait()
    local took = kit.now() - began
    state.go_on = true

    assert.equal(0, code)
    assert.is_true(took > 0.25 and took < 2 * SLOW, took)
    assert.is_true(conn:closed())
  end)

  it("does not wait after a second signal", function()
    local gateway, _, state = slow("")

    gateway:may_die()
    gateway:signal("TERM")
    gateway:wait_log("stopping")
    assert.is_false(gateway.process:ended())
    local began = kit.now()
    gateway:signal("TERM")
    gateway.process:wait()
    state.go_on = true

    assert.is_true(kit.now() - began < 2 * SLOW)
  end)

  it("does not wait for a worker that is stuck", function()
    local gateway = made()
    gateway:signal("STOP", gateway:worker_pids()[2])

    local began = kit.now()
    gateway:stop()

    assert.is_true(kit.now() - began < 3 * SLOW, kit.now() - began)
    assert.matches("has left: signal 9", gateway:log())
  end)

  it("removes its sockets and its lock", function()
    local gateway = made { conf = 'listen: [ { name: u, address: "unix:run/u.sock" } ]\n' }
    assert.is_truthy(native.kind(gateway.dir .. "/run/u.sock"))

    gateway:stop()

    assert.is_nil(native.kind(gateway.dir .. "/run/u.sock"))
    assert.is_nil(native.kind(gateway.dir .. "/run/moongate.sock"))
  end)
end)

describe("a second gateway", function()
  it("on the same conf is refused", function()
    local gateway = made()

    local code, out, err = gateway:run("run")

    assert.equal(1, code)
    assert.equal("", out)
    assert.matches("runs? already", err)
    assert.equal(200, kit.client(gateway):get("/fine").status)
  end)

  it("on the same address is refused, and says which", function()
    local gateway = made()
    local port = gateway:port()

    local other = kit.gateway { fails = true, conf = ([[
listen: [ { name: public, address: "127.0.0.1:%d" } ]
routes: [ { name: a, match: { path: /a }, respond: { status: 204 } } ]
]]):format(port) }

    assert.equal(1, other.code)
    assert.matches("127%.0%.0%.1:" .. port, other:log())
    for _ = 1, 20 do
      assert.equal(200, kit.client(gateway):get("/fine").status)
    end
  end)

  it("on the same unix socket is refused", function()
    local gateway = made { conf = 'listen: [ { name: u, address: "unix:run/u.sock" } ]\n' }

    local other = kit.gateway { fails = true, conf = ([[
listen: [ { name: u, address: "unix:%s/run/u.sock" } ]
routes: [ { name: a, match: { path: /a }, respond: { status: 204 } } ]
]]):format(gateway.dir) }

    assert.equal(1, other.code)
    assert.equal(200, kit.client(gateway):get("/fine").status)
  end)

  it("starts after one that was killed with all its workers", function()
    local gateway = made { conf = 'listen: [ { name: u, address: "unix:run/u.sock" } ]\n' }
    local workers = gateway:worker_pids()

    gateway:may_die()
    gateway:signal("STOP")
    for _, pid in ipairs(workers) do
      gateway:signal("KILL", pid)
    end
    gateway:signal("KILL")
    kit.eventually(function() return gateway.process:ended() end)
    gateway:start()

    assert.equal(200, kit.client(gateway):get("/fine").status)
  end)
end)

describe("SIGUSR1", function()
  it("opens the log again, in the master and in its workers", function()
    local gateway = kit.gateway { conf = [[
log: { file: gateway.log, level: info }
routes:
  - { name: a, match: { path: /a }, plugins: [ talker ], respond: { status: 204 } }
]], plugins = { talker = [[
local plugin = { name = "talker", priority = 1 }
function plugin.access(_, ctx) gw.log.warn("asked for " .. ctx.request.query.word) end
return plugin
]] } }
    local client = kit.client(gateway)
    client:get("/a?word=before")
    assert.matches("asked for before", gateway:read("gateway.log"))

    assert(os.rename(gateway.dir .. "/gateway.log", gateway.dir .. "/gateway.log.1"))
    gateway:signal("USR1")
    kit.eventually(function() return gateway:read("gateway.log") end)
    kit.eventually(function() return gateway:read("gateway.log"):find("opened again") end)
    gateway:status() -- the workers have read their channel
    client:get("/a?word=after")

    assert.matches("asked for after", gateway:read("gateway.log"))
    assert.is_nil(gateway:read("gateway.log.1"):find("asked for after", 1, true))
  end)
end)

describe("systemd", function()
  it("is told when the gateway is ready, reloads and stops", function()
    local gateway_dir = native.folder()
    local listener = kit.start("python3", { "-c", [[
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    print(s.recv(4096).decode().replace("\n", " "), flush=True)
]], gateway_dir .. "/notify.sock" })
    listener.stdout:read_until("bound\n")
    local gateway = kit.gateway { conf = CONF, plugins = { store = STORE },
      env = { NOTIFY_SOCKET = gateway_dir .. "/notify.sock", UPSTREAM = "http://127.0.0.1:1" } }

    local ready = listener.stdout:read_until("\n")
    gateway:reload()
    local reloading = listener.stdout:read_until("\n")
    local again = listener.stdout:read_until("\n")
    gateway:stop()
    local stopping = listener.stdout:read_until("\n")
    native.remove(gateway_dir)

    assert.matches("READY=1", ready)
    assert.matches("RELOADING=1", reloading)
    assert.matches("MONOTONIC_USEC=%d+", reloading)
    assert.matches("READY=1", again)
    assert.matches("STOPPING=1", stopping)
  end)
end)

describe("moongate status", function()
  it("shows workers, generations, connections, memory, uptime", function()
    local gateway, client = made()
    local conn = client:connect()
    conn:write("GET /fine HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read_answer()

    local code, out, err = gateway:run("status")

    assert.equal(0, code)
    assert.equal("", err)
    assert.matches("^serving, master pid " .. gateway.process.pid .. ", up ", out)
    assert.matches("generation  1 with 3 routes; reloads 0, refused 0; workers that died 0", out)
    assert.matches("listening   127%.0%.0%.1:" .. gateway:port() .. " %(public%)", out)
    assert.matches("WORKER%s+PID%s+STATE%s+GENERATION%s+CONNECTIONS%s+REQUESTS%s+RSS%s+LUA HEAP%s+UPTIME", out)
    for _, pid in ipairs(gateway:worker_pids()) do
      assert.matches("%d%s+" .. pid .. "%s+serving%s+1%s+%d%s+%d", out)
    end
  end)

  it("has the same for programs", function()
    local gateway, client = made()
    local conn = client:connect()
    conn:write("GET /fine HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read_answer()

    local code, out = gateway:run("status", "--json")
    local status = gw.json.decode(out)

    assert.equal(0, code)
    assert.is_true(status.ok)
    assert.equal("serving", status.state)
    assert.equal(gateway.process.pid, status.pid)
    assert.equal(1, status.generation)
    assert.equal(3, status.routes)
    assert.is_true(status.uptime_ms >= 0 and status.rss_bytes > 0)
    local connections, requests = 0, 0
    for i, worker in ipairs(status.workers) do
      assert.equal(i, worker.worker)
      assert.equal("serving", worker.state)
      assert.is_true(worker.rss_bytes > 0 and worker.heap_bytes > 0 and worker.uptime_ms >= 0)
      assert.equal(1, worker.generations[1].generation)
      connections, requests = connections + worker.connections, requests + worker.requests
    end
    assert.equal(1, connections)
    assert.equal(1, requests)
  end)

  it("lists a generation that a stream still holds", function()
    local upstream = kit.upstream()
    local go_on
    upstream:answer(function()
      kit.eventually(function() return go_on end)
      return {}
    end)
    local gateway, client = made { upstream = upstream, workers = 1 }
    local conn = client:connect()
    conn:write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    kit.eventually(function() return upstream:requests() == 1 end)

    gateway:reload((CONF:gsub("fine\\n", "finer")))
    local _, out = gateway:run("status")
    local generations = gateway:status().workers[1].generations
    go_on = true
    conn:read_answer()

    assert.matches("worker 1 still holds generation 1 %(made .- ago%) for 1 request", out)
    assert.same({ 2, 1 }, { generations[1].generation, generations[2].generation })
    kit.eventually(function() return #gateway:status().workers[1].generations == 1 end)
  end)

  it("says when there is none", function()
    local gateway = made()
    gateway:stop()

    local code, out, err = gateway:run("status")

    assert.equal(1, code)
    assert.equal("", out)
    assert.matches("^moongate: ", err)
  end)

  it("answers while a worker is stopped", function()
    local gateway = made()
    gateway:signal("STOP", gateway:worker_pids()[2])

    local began = kit.now()
    local status = gateway:status()

    assert.is_true(kit.now() - began < 2.5 * SLOW)
    assert.is_true(status.workers[1].answered)
    assert.is_false(status.workers[2].answered)
  end)
end)
