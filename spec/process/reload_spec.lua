local kit = require("gateway.spec")
local native = require("gateway.spec.native")

local HELLO = [[
routes:
  - name: hello
    match: { path: /hello }
    respond: { status: 200, body: "hello\n" }
]]

--- Tells in the answer which instance was asked, how often, and who was there before.
local WITNESS = [[
local plugin = { name = "witness", priority = 1, schema = { type = "object", properties = {
  word = { type = "string", default = "one" },
} } }

function plugin.init(conf, old)
  gw.log.info("witness starts as " .. conf.word)
  return { calls = 0, word = conf.word, before = old and old.word or "nobody" }
end

function plugin.stop(conf, state)
  gw.log.info("witness stops as " .. conf.word .. " after " .. state.calls)
end

function plugin.access(conf, ctx)
  local state = ctx.state
  state.calls = state.calls + 1
  return ctx:exit(200, ("%s %d after %s\n"):format(state.word, state.calls, state.before))
end

return plugin
]]

local function witness(word, other)
  return ([[
routes:
  - name: watched
    match: { path: /watched }
    plugins: [ { witness: { word: "%s" } } ]
    respond: { status: 204 }
  - name: other
    match: { path: /other }
    respond: { status: 200, body: "%s" }
]]):format(word, other or "other")
end

local function count(text, words)
  local n, from = 0, 1
  while true do
    local at, last = text:find(words, from, true)
    if not at then
      return n
    end
    n, from = n + 1, last + 1
  end
end

local function descriptors(pid) return #native.entries(("/proc/%d/fd"):format(pid)) end

local function children(pid)
  local file = assert(io.open(("/proc/%d/task/%d/children"):format(pid, pid)))
  local text = file:read("*a")
  file:close()
  return count(text, " ")
end

describe("a reload", function()
  it("changes the conf, names what changed, what each worker said and how long it took", function()
    local gateway = kit.gateway { conf = HELLO, workers = 2 }

    local report = gateway:reload((HELLO:gsub("hello\\n", "changed")) .. [[
  - name: more
    match: { path: /more }
    respond: { status: 204 }
]])

    assert.is_true(report.ok)
    assert.equal(2, report.generation)
    assert.same({ "hello" }, report.changes.routes.changed)
    assert.same({ "more" }, report.changes.routes.added)
    assert.same({}, report.changes.routes.removed)
    assert.equal(2, #report.workers)
    for i, worker in ipairs(report.workers) do
      assert.equal("yes", worker.answer)
      assert.equal(i, worker.worker)
      assert.is_true(worker.ms >= 0 and worker.ms < 5000)
    end
    assert.is_true(report.ms >= report.load_ms)
    local client = kit.client(gateway)
    assert.equal("changed", client:get("/hello").body)
    assert.equal(204, client:get("/more").status)
  end)

  it("takes routes away", function()
    local gateway = kit.gateway { conf = witness("one") , plugins = { witness = WITNESS } }

    local report = gateway:reload(HELLO)

    assert.same({ "other", "watched" }, report.changes.routes.removed)
    assert.equal(404, kit.client(gateway):get("/watched").status)
    gateway:wait_log("witness stops as one")
  end)

  it("that finds the same files says that nothing has changed", function()
    local gateway = kit.gateway { conf = HELLO }

    local report = gateway:reload()
    local code, out = gateway:run("reload")

    assert.is_true(report.ok)
    for _, kind in pairs(report.changes) do
      assert.same({ added = {}, changed = {}, removed = {} }, kind)
    end
    assert.equal(0, code)
    assert.matches("nothing has changed", out)
  end)

  it("lets an unchanged route keep its instance and its state", function()
    local gateway = kit.gateway { conf = witness("one"), plugins = { witness = WITNESS } }
    local client = kit.client(gateway)
    client:get("/watched")

    local report = gateway:reload(witness("one", "different"))

    assert.is_true(report.ok, report.text)
    assert.equal("different", client:get("/other").body)
    assert.equal("one 2 after nobody\n", client:get("/watched").body)
    -- Once in the worker; the loader never runs it.
    assert.equal(1, count(gateway:log(), "witness starts"))
    assert.equal(0, count(gateway:log(), "witness stops"))
  end)

  it("gives a changed instance the state of its predecessor, which is stopped", function()
    local gateway = kit.gateway { conf = witness("one"), plugins = { witness = WITNESS } }
    local client = kit.client(gateway)
    client:get("/watched")

    gateway:reload(witness("two"))

    assert.equal("two 1 after one\n", client:get("/watched").body)
    gateway:wait_log("witness stops as one after 1")
  end)

  it("takes changed code of a plugin", function()
    local gateway = kit.gateway { conf = witness("one"), plugins = { witness = WITNESS } }
    local client = kit.client(gateway)
    client:get("/watched")

    gateway:write("plugins/witness.lua", (WITNESS:gsub("after %%s", "(new code) after %%s")))
    local report = gateway:reload()

    assert.is_true(report.ok, report.text)
    assert.equal("one 1 (new code) after one\n", client:get("/watched").body)
    assert.matches("plugins/witness%.lua", table.concat(report.changes.files.changed, " "))
  end)

  it("takes a changed module that a plugin requires", function()
    local gateway = kit.gateway {
      conf = [[
routes:
  - { name: a, match: { path: /a }, plugins: [ greeter ], respond: { status: 204 } }
]],
      plugins = { greeter = [[
local words = require("words")
local plugin = { name = "greeter", priority = 1 }
function plugin.access(_, ctx) return ctx:exit(200, words.hello) end
return plugin
]] },
      files = { ["lua/words.lua"] = 'return { hello = "hi" }\n' },
    }
    local client = kit.client(gateway)
    assert.equal("hi", client:get("/a").body)

    gateway:write("lua/words.lua", 'return { hello = "good day" }\n')
    local report = gateway:reload()

    assert.is_true(report.ok, report.text)
    assert.equal("good day", client:get("/a").body)
  end)

  it("keeps the old conf when the new one has faults, and says where", function()
    local gateway = kit.gateway { conf = HELLO }

    local report = gateway:reload("rotes: []\nroutes:\n  - match: { path: 7 }\n    responds: 1\n")
    local code, out, err = gateway:run("reload")

    assert.is_false(report.ok)
    assert.equal(1, report.generation)
    assert.matches("gateway%.yaml:%d+:%d+: rotes", report.text)
    assert.matches("did you mean \"routes\"", report.text)
    assert.matches("gateway%.yaml:%d+:%d+: routes%[%d%]%.responds", report.text)
    assert.equal(1, code)
    assert.equal("", out)
    assert.matches("gateway%.yaml:%d+:%d+: rotes", err)
    assert.equal("hello\n", kit.client(gateway):get("/hello").body)
    assert.equal(2, gateway:status().reloads_refused)
    assert.matches("rotes", gateway:log())
  end)

  it("keeps the old conf when the file is gone or is no YAML", function()
    local gateway = kit.gateway { conf = HELLO }

    local broken = gateway:reload("routes: [\n")
    assert(os.remove(gateway.dir .. "/gateway.yaml"))
    local gone = gateway:reload()

    assert.is_false(broken.ok)
    assert.matches("gateway%.yaml:%d+:%d+: ", broken.text)
    assert.is_false(gone.ok)
    assert.matches("gateway%.yaml", gone.text)
    assert.equal(200, kit.client(gateway):get("/hello").status)
  end)

  it("keeps the old code when the new one cannot be compiled", function()
    local gateway = kit.gateway { conf = witness("one"), plugins = { witness = WITNESS } }

    gateway:write("plugins/witness.lua", "local plugin = {\n\nreturn return\n")
    local report = gateway:reload()

    assert.is_false(report.ok)
    assert.matches("plugins/witness%.lua:3", report.text)
    assert.equal("one 1 after nobody\n", kit.client(gateway):get("/watched").body)
  end)

  it("keeps the old one when an init fails", function()
    local gateway = kit.gateway { conf = witness("one"), plugins = { witness = WITNESS },
      workers = 2 }

    gateway:write("plugins/witness.lua", (WITNESS:gsub("return { calls", 'error("no luck")\n  return { calls')))
    local report = gateway:reload()

    assert.is_false(report.ok)
    assert.matches("gateway%.yaml:%d+:%d+: routes%[0%]%.plugins%[0%]%.witness: "
      .. ".*plugins/witness%.lua:7: no luck", report.error)
    assert.equal("no", report.workers[1].answer)
    assert.equal("one 1 after nobody\n", kit.client(gateway):get("/watched").body)
    assert.equal(0, count(gateway:log(), "witness stops"))
  end)

  it("names the place in the conf of the plugin whose init fails", function()
    local function keys(list)
      return "routes:\n  - name: a\n    match: { path: /a }\n    respond: { status: 204 }\n"
        .. "    plugins:\n      - key-auth: { keys: { " .. list .. " } }\n"
    end
    local gateway = kit.gateway { conf = "listen: [ \"127.0.0.1:0\" ]\n" .. HELLO .. "include: [ routes/*.yaml ]\n",
      files = { ["routes/keys.yaml"] = keys "anna: secret" } }

    gateway:write("routes/keys.yaml", keys "anna: secret, bert: secret")
    local report = gateway:reload()

    assert.is_false(report.ok)
    assert.matches("routes/keys%.yaml:6:9: routes%[%d%]%.plugins%[0%]%.key%-auth: .*the same key",
      report.error)
  end)

  it("undoes in one worker what another refuses", function()
    local gateway = kit.gateway { conf = witness("one"), plugins = { witness = WITNESS },
      workers = 2, files = { ["shared"] = "" } }
    local conf = "shared: { turns: 1m }\n"
    gateway:write("plugins/witness.lua", (WITNESS:gsub("return { calls",
      'if gw.shared.turns:incr("n", 1, 0) == 2 then error("only one of us") end\n  return { calls')))

    local report = gateway:reload(conf .. witness("two"))

    assert.is_false(report.ok)
    assert.equal("yes", report.workers[1].answer)
    assert.equal("no", report.workers[2].answer)
    assert.matches("only one of us", report.error)
    gateway:wait_log("witness stops as two after 0")
    for _ = 1, 8 do
      assert.matches("^one %d after nobody\n$", kit.client(gateway):get("/watched").body)
    end
    for _, worker in ipairs(gateway:status().workers) do
      assert.equal(1, worker.generation)
      assert.equal(1, #worker.generations)
    end
  end)

  it("keeps the old one when an init does not end", function()
    local gateway = kit.gateway { conf = witness("one"), plugins = { witness = WITNESS } }
    local client = kit.client(gateway)

    gateway:write("plugins/witness.lua", (WITNESS:gsub("return { calls",
      "while true do end\n  return { calls")))
    local report = gateway:reload()

    assert.is_false(report.ok)
    assert.matches("plugins/witness%.lua:7", report.error)
    assert.matches("CPU budget", report.error)
    assert.equal("one 1 after nobody\n", client:get("/watched").body)
    assert.equal(0, gateway:status().worker_deaths)
  end)

  it("serves who waits in the queue of a listener that goes", function()
    local one = '  - { name: one, address: "127.0.0.1:0" }\n'
    local two = '  - { name: two, address: "unix:run/two.sock" }\n'
    local gateway = kit.gateway { conf = "watchdog: 20s\nlisten:\n" .. one .. two .. HELLO, workers = 1 }
    local client, waiting = kit.client(gateway, { listener = "one" }), {}
    local worker = gateway:worker_pids()[1]

    gateway:write("gateway.yaml", "watchdog: 20s\nlisten:\n" .. two .. HELLO)
    gateway:signal("STOP", worker)
    gateway:signal("HUP")
    for i = 1, 300 do
      waiting[i] = client:connect()
      waiting[i]:write("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    end
    gateway:signal("CONT", worker)

    for i = 1, 300 do
      assert.equal(200, waiting[i]:read_answer().status, "connection " .. i)
    end
    kit.eventually(function() return gateway:status().generation == 2 end)
  end)

  it("opens and closes listeners", function()
    local one = '  - { name: one, address: "127.0.0.1:0" }\n'
    local two = '  - { name: two, address: "unix:run/two.sock" }\n'
    local gateway = kit.gateway { conf = "listen:\n" .. one .. HELLO }
    local port = gateway:port("one")

    local added = gateway:reload("listen:\n" .. one .. two .. HELLO)
    local over_two = kit.client(gateway, { listener = "two" }):get("/hello")
    local kept = gateway:port("one")
    local idle = kit.client(gateway, { listener = "one" }):connect()
    idle:write("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    idle:read_answer()
    local removed = gateway:reload("listen:\n" .. two .. HELLO)

    assert.same({ "two" }, added.changes.listeners.added)
    assert.same({ "one" }, removed.changes.listeners.removed)
    assert.equal(port, kept)
    assert.equal(200, over_two.status)
    assert.equal(200, kit.client(gateway, { listener = "two" }):get("/hello").status)
    local conn, refused = pcall(function() return kit.client(port):get("/hello") end)
    assert.is_false(conn, refused)
    -- Whoever was connected may still speak.
    idle:write("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal(200, idle:read_answer().status)
  end)

  it("refuses an address that somebody else has, and leaves all as it was", function()
    local other = kit.upstream()
    local gateway = kit.gateway { conf = HELLO }

    local report = gateway:reload(('listen: [ { name: public, address: "127.0.0.1:0" }, ' ..
      '{ name: taken, address: "127.0.0.1:%d" } ]\n'):format(other:port()) .. HELLO)

    assert.is_false(report.ok)
    assert.matches("127%.0%.0%.1:" .. other:port(), report.error)
    assert.equal(200, kit.client(gateway):get("/hello").status)
    assert.equal(1, #gateway:status().listeners)
  end)

  for key, value in pairs { control = "run/other.sock", user = "nobody" } do
    it("refuses another " .. key .. ": that needs a new start", function()
      local _, uid = kit.run("id", { "-u" })
      if key == "user" and uid ~= "0\n" then
        return pending("needs root")
      end
      local gateway = kit.gateway { conf = HELLO }

      local report = gateway:reload(key .. ": " .. value .. "\n" .. (HELLO:gsub("hello\\n", "changed")))

      assert.is_false(report.ok)
      assert.matches("^" .. key .. ": .*start", report.error)
      assert.equal("hello\n", kit.client(gateway):get("/hello").body)
      assert.is_true(gateway:reload(HELLO).ok)
    end)
  end

  it("takes another watchdog, log and shutdown_timeout", function()
    local gateway = kit.gateway { conf = "watchdog: 20s\n" .. HELLO, workers = 2 }

    gateway:reload("watchdog: 600ms\nshutdown_timeout: 200ms\nlog: { file: new.log, level: info }\n" .. HELLO)
    local began = kit.now()
    gateway:signal("STOP", gateway:worker_pids()[1])
    kit.eventually(function() return gateway:status().worker_deaths == 1 end)

    assert.is_true(kit.now() - began < (kit.sanitized and 5 or 1.5), kit.now() - began)
    assert.matches("is killed: silent", gateway:read("new.log"))
    kit.eventually(function() assert.equal(200, kit.client(gateway):get("/hello").status) end)
  end)

  it("changes the number of workers", function()
    local gateway = kit.gateway { conf = "workers: 1\n" .. HELLO }

    gateway:reload("workers: 3\n" .. HELLO)
    kit.eventually(function()
      local serving = 0
      for _, worker in ipairs(gateway:status().workers) do
        serving = serving + (worker.state == "serving" and 1 or 0)
      end
      return serving == 3
    end)
    gateway:reload("workers: 1\n" .. HELLO)

    kit.eventually(function() return #gateway:status().workers == 1 end)
    for _ = 1, 20 do
      assert.equal(200, kit.client(gateway):get("/hello").status)
    end
  end)
end)

describe("shared dictionaries over a reload", function()
  local STORE = [[
local plugin = { name = "store", priority = 1 }
function plugin.access(_, ctx)
  local query = ctx.request.query
  local dict = gw.shared[query.dict]
  if not dict then
    return ctx:exit(404, "no dictionary")
  end
  if query.value then
    local ok, err = dict:set(query.key, query.value)
    return ctx:exit(ok and 200 or 507, tostring(err))
  end
  return ctx:exit(200, tostring(dict:get(query.key)))
end
return plugin
]]

  local function conf(shared)
    return ("shared: { %s }\nroutes:\n  - { name: a, match: { path: /a }, plugins: [ store ], "
      .. "respond: { status: 204 } }\n"):format(shared)
  end

  it("are added, grown, taken away, and keep their content", function()
    local gateway = kit.gateway { conf = conf("one: 1m"), plugins = { store = STORE }, workers = 2 }
    local client = kit.client(gateway)
    assert.equal(200, client:get("/a?dict=one&key=k&value=kept").status)

    local added = gateway:reload(conf("one: 1m, two: 1m"))
    assert.equal(200, client:get("/a?dict=two&key=k&value=second").status)
    local grown = gateway:reload(conf("one: 4m, two: 1m"))

    assert.same({ "two" }, added.changes.shared.added)
    assert.same({ "one" }, grown.changes.shared.changed)
    for _ = 1, 6 do
      assert.equal("kept", client:get("/a?dict=one&key=k").body)
      assert.equal("second", client:get("/a?dict=two&key=k").body)
    end
    local removed = gateway:reload(conf("one: 4m"))
    assert.same({ "two" }, removed.changes.shared.removed)
    assert.equal("kept", client:get("/a?dict=one&key=k").body)
    kit.eventually(function() assert.equal("nil", client:get("/a?dict=two&key=k").body) end)
  end)

  it("have the room that they were given", function()
    local gateway = kit.gateway { conf = conf("one: { size: 256k, evict: never }"),
      plugins = { store = STORE }, workers = 2 }
    local client = kit.client(gateway)
    local value = ("x"):rep(4000)
    local function fill(to)
      for i = 1, to do
        if client:get(("/a?dict=one&key=%d&value=%s"):format(i, value)).status ~= 200 then
          return i - 1
        end
      end
      return to
    end
    local first = fill(200)

    assert.is_true(gateway:reload(conf("one: { size: 2m, evict: never }")).ok)
    local second = fill(200)

    assert.is_true(first > 10 and first < 70, first .. " fitted into 256k")
    assert.equal(200, second)
    assert.equal(value, client:get("/a?dict=one&key=1").body)
  end)
end)

describe("moongate reload", function()
  it("prints what changed, and has code 0 or 1", function()
    local gateway = kit.gateway { conf = HELLO, workers = 2 }

    gateway:write("gateway.yaml", 'listen: [ { name: public, address: "127.0.0.1:0" } ]\n'
      .. (HELLO:gsub("hello\\n", "changed")))
    local code, out, err = gateway:run("reload")

    assert.equal(0, code, err)
    assert.matches("generation 2 serves, %d+ ms %(load %d+ ms, 1 of 1 file read%)\n", out)
    assert.matches("routes%s+changed%s+hello\n", out)
    assert.matches("worker 1%s+yes after %d+ ms\n", out)
    assert.matches("worker 2%s+yes after %d+ ms\n", out)
    assert.equal("", err)
  end)

  it("has a report that programs read", function()
    local gateway = kit.gateway { conf = HELLO }

    local code, out = gateway:run("reload", "--json")
    gateway:write("gateway.yaml", "rotes: []\n")
    local bad_code, bad_out = gateway:run("reload", "--json")

    assert.equal(0, code)
    assert.is_true(gw.json.decode(out).ok)
    assert.equal(1, bad_code)
    local bad = gw.json.decode(bad_out)
    assert.is_false(bad.ok)
    assert.equal("rotes", bad.report.faults[1].path)
    assert.is_number(bad.report.faults[1].line)
    assert.is_number(bad.report.faults[1].column)
  end)

  it("says when there is no gateway", function()
    local gateway = kit.gateway { conf = HELLO }
    gateway:stop()

    local code, out, err = gateway:run("reload")

    assert.equal(1, code)
    assert.equal("", out)
    assert.matches("^moongate: ", err)
  end)
end)

describe("SIGHUP", function()
  it("reloads", function()
    local gateway = kit.gateway { conf = HELLO }
    gateway:write("gateway.yaml", 'listen: [ { name: public, address: "127.0.0.1:0" } ]\n'
      .. (HELLO:gsub("hello\\n", "changed")))

    gateway:signal("HUP")

    kit.eventually(function() return kit.client(gateway):get("/hello").body == "changed" end)
    assert.equal(1, gateway:status().reloads)
  end)

  it("that comes while the gateway starts is not forgotten", function()
    local gateway = kit.gateway { conf = HELLO }
    gateway:stop()
    -- A start that takes a while: the first worker is busy with init().
    gateway:write("plugins/slow.lua", [[
return { name = "slow", init = function()
  local sum = 0
  for i = 1, 4e8 do sum = sum + i % 7 end
  return { sum = sum }
end, log = function() end }
]])
    gateway:write("gateway.yaml", 'listen: [ { name: public, address: "127.0.0.1:0" } ]\n'
      .. "script: { cpu_budget: 20s }\nplugins: [ slow ]\n" .. HELLO)

    kit.go(function() gateway:start() end)
    kit.eventually(function() return (gateway:control("status") or {}).state == "starting" end)
    gateway:write("gateway.yaml", 'listen: [ { name: public, address: "127.0.0.1:0" } ]\n'
      .. (HELLO:gsub("hello\\n", "changed")))
    gateway:signal("HUP")

    gateway:wait_log("generation 2 in", 20)
    assert.equal("changed", kit.client(gateway):get("/hello").body)
  end)

  it("of a bad conf leaves a note in the log", function()
    local gateway = kit.gateway { conf = HELLO }
    gateway:write("gateway.yaml", "rotes: []\n")

    gateway:signal("HUP")

    gateway:wait_log("gateway.yaml:1:1: rotes")
    gateway:wait_log("generation 1 stays")
    assert.equal("hello\n", kit.client(gateway):get("/hello").body)
  end)

  it("again and again at once ends with the last conf", function()
    local gateway = kit.gateway { conf = HELLO, workers = 2 }
    local text
    for i = 1, 30 do
      text = 'listen: [ { name: public, address: "127.0.0.1:0" } ]\n'
        .. (HELLO:gsub("hello\\n", "number " .. i))
      gateway:write("gateway.yaml", text)
      gateway:signal("HUP")
    end

    kit.eventually(function() return kit.client(gateway):get("/hello").body == "number 30" end)
    assert.equal(0, gateway:status().reloads_refused)
  end)
end)

describe("reloads at the same time", function()
  it("are all answered, each with a conf not older than the question", function()
    local gateway = kit.gateway { conf = HELLO, workers = 2 }
    local reports = {}

    for i = 1, 8 do
      kit.go(function() reports[i] = gateway:control("reload") end)
    end

    kit.eventually(function() return #reports == 8 end, 20)
    for i = 1, 8 do
      assert.is_true(reports[i].ok, reports[i].error)
    end
    -- Those that came during the first one share one more.
    assert.is_true(gateway:status().reloads <= 4)
  end)
end)

describe("a reload while something else goes wrong", function()
  it("a stopped worker: is refused when the watchdog ends it, and works afterwards", function()
    local gateway = kit.gateway { conf = HELLO, workers = 2 }
    local victim = gateway:worker_pids()[2]
    gateway:signal("STOP", victim)

    local report = gateway:reload((HELLO:gsub("hello\\n", "changed")))
    kit.eventually(function()
      local workers = gateway:status().workers
      return #workers == 2 and workers[2].pid ~= victim and workers[2].state == "serving"
    end)
    local before = kit.client(gateway):get("/hello").body
    local again = gateway:reload()

    assert.is_false(report.ok)
    assert.matches("^worker%[2%] %(pid " .. victim .. "%) ended while it prepared", report.error)
    assert.equal("hello\n", before)
    assert.is_true(again.ok, again.error)
    for _ = 1, 6 do
      assert.equal("changed", kit.client(gateway):get("/hello").body)
    end
  end)

  it("an init that gets stuck in C: costs one worker, and the others serve on", function()
    local gateway = kit.gateway { conf = witness("one"), plugins = { witness = WITNESS },
      workers = 2 }
    local client = kit.client(gateway)
    local stuck = (WITNESS:gsub("return { calls",
      "local _ = (('a'):rep(5e5)):find(('a*'):rep(12) .. 'b')\n  return { calls"))
    gateway:write("plugins/witness.lua", stuck)
    local report
    kit.go(function() report = gateway:control("reload") end)

    local worst = 0
    while not report do
      local began = kit.now()
      assert.equal(200, client:get("/watched").status)
      worst = math.max(worst, kit.now() - began)
      gw.sleep(0.02)
    end

    assert.is_false(report.ok)
    assert.matches("ended while it prepared", report.error)
    assert.is_true(worst < (kit.sanitized and 2.5 or 1), worst .. " s")
    assert.equal(1, gateway:status().worker_deaths)
  end)

  it("workers that die at the same time: all end with the same generation", function()
    local gateway = kit.gateway { conf = HELLO, workers = 3 }
    local word = 0

    for _ = 1, 5 do
      local pids = gateway:worker_pids()
      if pids[1] then
        native.kill(pids[1], native.signals.KILL)
      end
      for _ = 1, 3 do
        word = word + 1
        gateway:reload((HELLO:gsub("hello\\n", "number " .. word)))
      end
    end
    kit.eventually(function() assert.is_true(gateway:reload().ok) end)

    kit.eventually(function()
      local status = gateway:status()
      assert.equal(3, #status.workers)
      for _, worker in ipairs(status.workers) do
        assert.equal("serving", worker.state)
        assert.equal(status.generation, worker.generations[1].generation)
      end
    end, 10)
    for _ = 1, 12 do
      assert.equal("number " .. word, kit.client(gateway):get("/hello").body)
    end
  end)

  it("the gateway stops: whoever waits for the report gets it", function()
    local gateway = kit.gateway { conf = witness("one"), plugins = { witness = WITNESS } }
    -- The loader takes its time with this.
    gateway:write("plugins/witness.lua", "local _ = (('a'):rep(5e5)):find(('a*'):rep(12) .. 'b')\n"
      .. WITNESS)
    local report
    kit.go(function() report = gateway:control("reload") or "gone" end)
    kit.eventually(function() return children(gateway.process.pid) == 2 end)

    local began = kit.now()
    local code = gateway:stop()

    assert.equal(0, code)
    assert.is_true(kit.now() - began < 3)
    kit.eventually(function() return report end)
    assert.is_false(report.ok)
    assert.matches("stops", report.error)
  end)
end)

describe("limits of plugins", function()
  local BURN = [[
local plugin = { name = "burn", priority = 1 }
function plugin.access(_, ctx)
  local seconds = tonumber(ctx.request.query.ms) / 1000
  local stop = os.clock() + seconds
  while os.clock() < stop do end
  local t = {}
  for i = 1, tonumber(ctx.request.query.kib or 0) do
    t[i] = ("x"):rep(1000) .. i
  end
  return ctx:exit(200, "done")
end
return plugin
]]

  local function conf(script)
    return ("script: { %s }\nroutes:\n  - { name: a, match: { path: /a }, plugins: [ burn ], "
      .. "respond: { status: 204 } }\n"):format(script)
  end

  it("the CPU budget follows the conf", function()
    local gateway = kit.gateway { conf = conf("cpu_budget: 5s"), plugins = { burn = BURN } }
    local client = kit.client(gateway)
    local before = client:get("/a?ms=200").status

    gateway:reload(conf("cpu_budget: 50ms"))
    local small = client:get("/a?ms=200").status
    gateway:reload(conf("cpu_budget: 5s"))

    assert.equal(200, before)
    assert.equal(500, small)
    assert.equal(200, client:get("/a?ms=200").status)
  end)

  it("the heap cap follows the conf", function()
    local gateway = kit.gateway { conf = conf("cpu_budget: 5s, heap_max: 128m"),
      plugins = { burn = BURN } }
    local client = kit.client(gateway)
    local before = client:get("/a?ms=0&kib=30000").status

    gateway:reload(conf("cpu_budget: 5s, heap_max: 24m"))
    local small = client:get("/a?ms=0&kib=30000").status
    gateway:reload(conf("cpu_budget: 5s, heap_max: 128m"))

    assert.equal(200, before)
    assert.equal(500, small)
    kit.eventually(function() assert.equal(200, client:get("/a?ms=0&kib=30000").status) end)
  end)
end)

describe("20 reloads under load", function()
  local upstream, gateway

  local function conf(i)
    return ([[
routes:
  - name: stream
    match: { path: /stream }
    upstream: ${UPSTREAM}
  - name: all
    match: { path: "/*" }
    plugins: [ { witness: { word: "w%d" } } ]
    upstream: ${UPSTREAM}
]]):format(i)
  end

  local PASS = (WITNESS:gsub("return ctx:exit.-\n", "ctx.request.headers['x-word'] = state.word\n"))

  it("lose no request and nothing grows", function()
    upstream = kit.upstream()
    local go_on
    upstream:on(function(conn)
      while true do
        local head = conn:read_head()
        if not head then
          return
        end
        if head:find("^GET /stream") then
          conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
          kit.eventually(function() return go_on end, 60)
          conn:write("4\r\nlast\r\n0\r\n\r\n")
        else
          conn:write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        end
      end
    end)
    gateway = kit.gateway { conf = conf(0), plugins = { witness = PASS }, workers = 2,
      env = { UPSTREAM = upstream:url() } }
    gateway:port()
    local client = kit.client(gateway)
    local stream = client:connect()
    stream:write("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    stream:read_head()
    assert.equal("5\r\nfirst\r\n", stream:read(10))

    local stop, running, done, failed = false, 0, 0, {}
    local function ask(fresh)
      running = running + 1
      local ok, err = pcall(function()
        local conn = client:connect()
        while not stop do
          conn:write("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
          local answer = conn:read_answer()
          assert(answer.status == 200 and answer.body == "ok", "status " .. answer.status)
          done = done + 1
          if fresh then
            conn:close()
            conn = client:connect()
          end
        end
        conn:close()
      end)
      if not ok then
        failed[#failed + 1] = tostring(err)
      end
      running = running - 1
    end
    for i = 1, 4 do
      kit.go(ask, i == 4)
    end

    local master, pids = gateway.process.pid, gateway:worker_pids()
    local at_first
    for i = 1, 20 do
      gateway:write("plugins/witness.lua", PASS .. "-- " .. i .. "\n")
      local report = gateway:reload(conf(i))
      assert.is_true(report.ok, report.error)
      local seen = done
      kit.eventually(function() return done > seen + 4 or #failed > 0 end)
      if i == 5 then
        local status = gateway:status()
        at_first = { fds = { descriptors(master), descriptors(pids[1]), descriptors(pids[2]) },
          rss = status.workers[1].rss_bytes + status.workers[2].rss_bytes }
      end
    end
    local status = gateway:status()
    local fds = { descriptors(master), descriptors(pids[1]), descriptors(pids[2]) }
    stop = true
    kit.eventually(function() return running == 0 end)
    go_on = true
    local rest = stream:read_until("0\r\n\r\n")

    assert.same({}, failed)
    assert.is_true(done > 200, done .. " requests")
    assert.equal("4\r\nlast\r\n0\r\n\r\n", rest)
    assert.same(pids, gateway:worker_pids())
    assert.equal(2, children(master))
    assert.is_true(fds[1] <= at_first.fds[1] + 1, "descriptors of the master: " .. fds[1])
    for i = 2, 3 do
      assert.is_true(fds[i] <= at_first.fds[i] + 4, "descriptors of a worker: " .. fds[i])
    end
    local rss = status.workers[1].rss_bytes + status.workers[2].rss_bytes
    if not kit.sanitized then
      assert.is_true(rss < at_first.rss + 4 * 1024 * 1024, ("%d -> %d"):format(at_first.rss, rss))
    end
    kit.eventually(function()
      for _, worker in ipairs(gateway:status().workers) do
        assert.equal(1, #worker.generations)
      end
    end)
  end)
end)
