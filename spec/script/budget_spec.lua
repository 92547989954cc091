local kit = require("gateway.spec")

--- Code that does not end, or takes what it can get; each on one line, which the log must name.
local KINDS = {
  { "an empty loop", "while true do end" },
  { "a loop that is compiled", "local n = 0 for i = 1, 1e15 do n = n + i % 3 end ctx.n = n" },
  { "a goto", "::again:: goto again" },
  { "tail calls", "local function f() return f() end f()" },
  { "recursion under pcall", "local function f(n) return 1 + f(n + 1) end while true do pcall(f, 1) end" },
  { "a loop that pcall would save", "local function f() while true do end end while true do pcall(f) end" },
  { "a loop in an error handler", "xpcall(error, function() while true do end end)" },
  { "a loop in a coroutine", "coroutine.wrap(function() while true do end end)()" },
  { "coroutines without end", "while true do local c = coroutine.wrap(function() coroutine.yield(1) end) c() end" },
  { "a loop in a callback of C", "('x'):rep(100):gsub('.', function() while true do end end)" },
  { "a loop in a comparison", "while true do table.sort({ 3, 1, 2, 5, 4 }, function(a, b) while true do end end) end" },
  { "a loop in a metamethod",
    "local t = setmetatable({}, { __index = function() while true do end end }) return t.x" },
  { "a loop of requests to the library", "while true do local x = ctx.request.headers.accept end" },
  { "a loop that compiles", "while true do load('return 1')() end" },
  { "garbage without end", "local t while true do t = { 1, 2, 3 } end" },
  { "a table that grows", "local t, i = {}, 0 while true do i = i + 1 t[i] = { i } end", memory = true },
  { "a string that doubles", "local s = 'x' while true do s = s .. s end", memory = true },
  { "a string of a gigabyte", "local s = ('x'):rep(1e9) ctx.s = s", memory = true },
  { "hunger under pcall", "while true do pcall(function() local t = {} for i = 1, 1e15 do t[i] = { i } end end) end" },
}

local HEAD = [[
local plugin = { name = "greedy", priority = 1, schema = { type = "object", properties = {
  phase = { type = "string", default = "access" },
} } }
local kinds = {}
]]

local function source()
  local lines = { (HEAD:gsub("\n$", "")) }
  local _, count = HEAD:gsub("\n", "")
  for i, kind in ipairs(KINDS) do
    -- `ctx.n = …` keeps the compiler from dropping the loop.
    lines[#lines + 1] = ("kinds[%d] = function(ctx) %s end"):format(i,
      (kind[2]:gsub("^(return .*)$", "do %1 end")))
    kind.line = count + i
  end
  lines[#lines + 1] = [[
local function bad(conf, ctx, phase)
  local kind = conf.phase == phase and tonumber(ctx.request.headers["x-kind"])
  if kind then kinds[kind](ctx) end
end
function plugin.rewrite(conf, ctx) bad(conf, ctx, "rewrite") end
function plugin.access(conf, ctx) bad(conf, ctx, "access") end
function plugin.header_filter(conf, ctx) bad(conf, ctx, "header_filter") end
function plugin.body_filter(conf, ctx) bad(conf, ctx, "body_filter") end
function plugin.log(conf, ctx) bad(conf, ctx, "log") end
return plugin
]]
  return table.concat(lines, "\n")
end

local SOURCE = source()

local CONF = [[
script: { cpu_budget: 50ms, heap_max: 32m }
routes:
  - name: bad
    match: { path: /bad }
    plugins: [ greedy ]
    upstream: ${UPSTREAM}
  - name: skipping
    match: { path: /skipping }
    plugins: [ { greedy: {}, on_error: skip } ]
    upstream: ${UPSTREAM}
  - name: fine
    match: { path: /fine }
    plugins: [ fine ]
    upstream: ${UPSTREAM}
]]

local FINE = [[
local plugin = { name = "fine", priority = 1 }
function plugin.access(_, ctx)
  local t = {}
  for i = 1, 100 do t[i] = { i } end
  ctx.request.headers["x-fine"] = tostring(#t)
end
return plugin
]]

--- Bystanders: kept connections, enough to be on both workers, that ask all the time.
local function bystanders(client, count)
  local self = { errors = {}, done = 0, worst = 0, running = 0 }
  for _ = 1, count do
    self.running = self.running + 1
    kit.go(function()
      local ok, err = pcall(function()
        local conn = client:connect()
        while not self.over do
          local began = kit.now()
          conn:write("GET /fine HTTP/1.1\r\nHost: a\r\n\r\n")
          local answer = conn:read_answer()
          assert(answer.status == 200 and answer.body == "upstream\n", "status " .. answer.status)
          self.worst = math.max(self.worst, kit.now() - began)
          self.done = self.done + 1
          gw.sleep(0.002)
        end
        conn:close()
      end)
      if not ok then
        self.errors[#self.errors + 1] = tostring(err)
      end
      self.running = self.running - 1
    end)
  end
  function self.stop()
    self.over = true
    kit.eventually(function() return self.running == 0 end)
    return self
  end
  return self
end

local function ask(client, path, kind)
  return client:get(path, { ["x-kind"] = kind })
end

describe("plugin code without end or measure:", function()
  local upstream, gateway, client

  setup(function()
    upstream = kit.upstream()
    gateway = kit.gateway { conf = CONF, plugins = { greedy = SOURCE, fine = FINE }, workers = 2,
      env = { UPSTREAM = upstream:url() } }
    client = kit.client(gateway)
  end)

  for i, kind in ipairs(KINDS) do
    it(kind[1] .. " is ended for its request alone, and its line is named", function()
      local others = bystanders(client, 6)
      kit.eventually(function() return others.done >= 12 end)
      local length = #gateway:log()

      local began = kit.now()
      local answer = ask(client, "/bad", i)
      local took = kit.now() - began
      local seen = others.done
      kit.eventually(function() return others.done >= seen + 12 or #others.errors > 0 end)
      others.stop()

      assert.equal(500, answer.status)
      assert.equal("application/problem+json", answer.headers["content-type"])
      local said = gateway:log():sub(length + 1)
      assert.matches("greedy%.lua:" .. kind.line .. "%f[%D]", said)
      assert.matches("plugin greedy, access, route bad, request " ..
        gw.json.decode(answer.body).id:gsub("%-", "%%-"), said)
      -- Slow ones run out of time before.
      assert.matches(kind.memory and not kit.sanitized and "the Lua heap is full" or "stopped: ", said)
      assert.same({}, others.errors)
      -- The machine may be busy with others: this is the order of magnitude.
      local slow = kit.sanitized and 10 or 1
      assert.is_true(took < 1.5 * slow, ("took %.3f s"):format(took))
      assert.is_true(others.worst < 1 * slow, ("others waited %.3f s"):format(others.worst))
      assert.equal(0, gateway:status().worker_deaths)
    end)
  end

  it("on_error: skip does not save it", function()
    assert.equal(500, ask(client, "/skipping", 1).status)
  end)

  it("leaves the heap as it was", function()
    for _, kind in ipairs { 15, 16, 17, 18, 19 } do
      ask(client, "/bad", kind)
    end

    kit.eventually(function()
      for _, worker in ipairs(gateway:status().workers) do
        assert.is_true(worker.heap_bytes < 32 * 1024 * 1024, worker.heap_bytes)
      end
      assert.equal(200, client:get("/fine").status)
    end)
  end)
end)

describe("the CPU budget", function()
  local upstream

  local function made(phase, more)
    upstream = kit.upstream()
    return kit.gateway { plugins = { greedy = SOURCE }, env = { UPSTREAM = upstream:url() },
      conf = ([[
script: { cpu_budget: 50ms }
routes:
  - name: bad
    match: { path: "/*" }
    plugins: [ { greedy: { phase: %s } } ]
    upstream: ${UPSTREAM}
%s]]):format(phase, more or "") }
  end

  for _, phase in ipairs { "rewrite", "access", "header_filter" } do
    it("holds in " .. phase, function()
      local gateway = made(phase)

      assert.equal(500, ask(gateway:client(), "/", 1).status)
      assert.equal(200, gateway:client():get("/").status)
      assert.matches("greedy%.lua:" .. KINDS[1].line, gateway:log())
    end)
  end

  it("holds in body_filter: the answer is cut", function()
    local gateway = made("body_filter")
    local conn = gateway:client():connect()

    conn:write("GET / HTTP/1.1\r\nHost: a\r\nx-kind: 1\r\n\r\n")
    local all = conn:read_all()

    assert.is_nil(all:find("0\r\n\r\n", 1, true))
    assert.equal(200, gateway:client():get("/").status)
    assert.matches("greedy%.lua:" .. KINDS[1].line, gateway:log())
  end)

  it("holds in log: the client has its answer already", function()
    local gateway = made("log")

    assert.equal(200, ask(gateway:client(), "/", 1).status)
    gateway:wait_log("greedy.lua:" .. KINDS[1].line)
    assert.equal(200, gateway:client():get("/").status)
  end)

  it("holds in a timer", function()
    local gateway = kit.gateway { plugins = { greedy = [[
local plugin = { name = "greedy", priority = 1 }
function plugin.init()
  gw.timer.after(0.01, function()
    while true do end
  end)
end
return plugin
]] }, conf = [[
script: { cpu_budget: 50ms }
routes:
  - { name: a, match: { path: /a }, plugins: [ greedy ], respond: { status: 204 } }
]] }

    gateway:wait_log("greedy.lua:4")
    assert.equal(204, gateway:client():get("/a").status)
    assert.equal(0, gateway:status().worker_deaths)
  end)

  it("holds in when:", function()
    local gateway = kit.gateway { plugins = { fine = FINE }, conf = [[
script: { cpu_budget: 50ms }
routes:
  - name: a
    match: { path: /a }
    plugins: [ { fine: {}, when: "(function() while true do end end)()" } ]
    respond: { status: 204 }
  - { name: b, match: { path: /b }, respond: { status: 204 } }
]] }

    assert.equal(500, gateway:client():get("/a").status)
    assert.equal(204, gateway:client():get("/b").status)
  end)

  it("counts each entry anew: what waits may go on for long", function()
    local gateway = kit.gateway { plugins = { patient = [[
local plugin = { name = "patient", priority = 1 }
function plugin.access(_, ctx)
  for _ = 1, 30 do
    local stop = os.clock() + 0.01
    while os.clock() < stop do end
    gw.sleep(0.001)
  end
  return ctx:exit(200, "done")
end
return plugin
]] }, conf = [[
script: { cpu_budget: 100ms }
routes:
  - { name: a, match: { path: /a }, plugins: [ patient ], respond: { status: 204 } }
]] }

    assert.equal("done", gateway:client():get("/a").body)
  end)
end)

describe("a C function that does not return", function()
  for _, kind in ipairs {
    { "string.find that backtracks", "return (('a'):rep(5e5)):find(('a*'):rep(12) .. 'b')" },
    { "string.gsub that backtracks", "return (('a'):rep(5e5)):gsub(('.-'):rep(12) .. 'b', '')" },
  } do
    it("is the watchdog's: " .. kind[1], function()
      local upstream = kit.upstream()
      local gateway = kit.gateway { workers = 2, env = { UPSTREAM = upstream:url() },
        plugins = { fine = FINE, stuck = ([[
local plugin = { name = "stuck", priority = 1 }
function plugin.access()
  gw.log.error("now it is stuck")
  %s
end
return plugin
]]):format(kind[2]) },
        conf = [[
routes:
  - { name: bad, match: { path: /bad }, plugins: [ stuck ], upstream: "${UPSTREAM}" }
  - { name: fine, match: { path: /fine }, plugins: [ fine ], upstream: "${UPSTREAM}" }
]] }
      local client = kit.client(gateway)
      local pids = gateway:worker_pids()
      local conn = client:connect()
      local began = kit.now()
      conn:write("GET /bad HTTP/1.1\r\nHost: a\r\n\r\n")
      -- What that worker accepts in the turn before it gets stuck would be lost with it.
      kit.eventually(function() assert.truthy(gateway:log():find("now it is stuck", 1, true)) end)

      -- Whoever comes meanwhile is served by the other one.
      local worst, asked = 0, 0
      while not gateway:log():find("by the watchdog", 1, true) and kit.now() < began + 6 do
        local from = kit.now()
        assert.equal(200, client:get("/fine").status)
        worst, asked = math.max(worst, kit.now() - from), asked + 1
        gw.sleep(0.01)
      end
      local gone = kit.now() - began

      assert.is_true(gone < (kit.sanitized and 6 or 3.2), ("replaced after %.2f s"):format(gone))
      assert.is_true(asked > 3, asked .. " asked meanwhile")
      assert.is_true(worst < 2.2, ("somebody waited %.2f s"):format(worst))
      assert.is_nil((conn:read_all():match("200 OK")))
      kit.eventually(function()
        local status = gateway:status()
        assert.equal(2, #status.workers)
        for _, worker in ipairs(status.workers) do
          assert.equal("serving", worker.state)
        end
      end)
      local now = gateway:worker_pids()
      assert.equal(1, (now[1] == pids[1] and 1 or 0) + (now[2] == pids[2] and 1 or 0))
      assert.matches("is killed", gateway:log())
    end)
  end
end)

describe("an error in a plugin", function()
  local function made(options)
    return kit.gateway { plugins = { broken = [[
local plugin = { name = "broken", priority = 1 }
local function deep(ctx)
  local missing
  return missing.field
end
function plugin.access(_, ctx)
  deep(ctx)
  return ctx:exit(200, "never")
end
return plugin
]] }, conf = ([[
routes:
  - name: here
    match: { path: /here }
    plugins: [ { broken: {}%s } ]
    respond: { status: 200, body: "went on\n" }
]]):format(options or "") }
  end

  it("is logged once, with traceback, plugin, route and request", function()
    local gateway = made()

    local answer = gateway:client():get("/here")

    assert.equal(500, answer.status)
    local id = gw.json.decode(answer.body).id
    local lines = {}
    for line in gateway:log():gmatch("[^\n]+") do
      if line:find("broken", 1, true) then
        lines[#lines + 1] = line
      end
    end
    assert.equal(1, #lines)
    assert.matches(" error ", lines[1])
    assert.matches("plugin broken, access, route here, request " .. id:gsub("%-", "%%-"), lines[1])
    assert.matches("plugins/broken%.lua:4: attempt to index", lines[1])
    assert.matches("stack: .*broken%.lua:7", lines[1])
    assert.is_nil(answer.body:find("broken.lua", 1, true)) -- not the client's business
  end)

  it("goes on with on_error: skip, and is logged all the same", function()
    local gateway = made(", on_error: skip")

    local answer = gateway:client():get("/here")

    assert.equal(200, answer.status)
    assert.equal("went on\n", answer.body)
    gateway:wait_log("plugins/broken.lua:4: attempt to index")
  end)
end)
