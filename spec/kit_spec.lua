local kit = require("gateway.spec")
local native = require("gateway.spec.native")

local ANSWER = [[
routes:
  - name: all
    match: { path: "/*" }
    respond: { status: 200, body: "hello\n" }
]]

local PROXY = [[
routes:
  - name: all
    match: { path: "/*" }
    upstream: ${UPSTREAM}
]]

local COUNTER = [[
local plugin = { name = "counter", priority = 1, schema = { type = "object", properties = {
  deny = { type = "array", items = { type = "string" }, default = { "XX" } },
  header = { type = "string", default = "x-seen" },
} } }

function plugin.init(conf, old)
  local deny = {}
  for _, country in ipairs(conf.deny) do
    deny[country] = true
  end
  return { deny = deny, calls = old and old.calls or 0 }
end

function plugin.access(conf, ctx)
  ctx.state.calls = ctx.state.calls + 1
  gw.sleep(0.001)
  if ctx.state.deny[ctx.request.headers["x-country"] or ""] then
    return ctx:problem(403, { title = "Not available in your country" })
  end
  if ctx.request.path == "/boom" then
    error("boom")
  end
  ctx.request.headers[conf.header] = ctx.request.body
end

function plugin.header_filter(_, ctx)
  ctx.response.headers["x-calls"] = tostring(ctx.state.calls)
end

function plugin.body_filter(_, _, chunk)
  return chunk:upper()
end

return plugin
]]

local function descriptors()
  return #native.entries("/proc/self/fd")
end

--- Runs a spec file of this text with `moongate spec`: code, output.
local function run_spec(text, ...)
  local dir = native.folder()
  local file = assert(io.open(dir .. "/made_spec.lua", "w"))
  file:write(text)
  file:close()
  local code, out, err = kit.run(kit.program, { "spec", dir .. "/made_spec.lua", ... })
  native.remove(dir)
  return code, out .. err, out
end

describe("moongate spec", function()
  it("ends with a plain line of counts and code 0", function()
    local code, _, out = run_spec([[
      it("a", function() end)
      it("b", function() gw.sleep(0.001) end)
      pending("c")
    ]])

    assert.equal(0, code)
    assert.equal("2 passed, 0 failed, 1 skipped", out:match("([^\n]*)\n$"))
  end)

  it("has code 1 when a test fails, and says where", function()
    local code, text, out = run_spec('it("a", function() assert.equal(1, 2) end)')

    assert.equal(1, code)
    assert.equal("0 passed, 1 failed", out:match("([^\n]*)\n$"))
    assert.matches("made_spec%.lua:1", text)
  end)

  it("tells programs by --json", function()
    local code, _, out = run_spec([[
      describe("a", function()
        it("passes", function() end)
        it("fails", function() assert.equal(1, 2) end)
        it("breaks", function() error("boom") end)
        pending("waits")
      end)
    ]], "--json")

    assert.equal(1, code)
    local told = assert(gw.json.decode(out))
    assert.same({ 1, 2, 1, 4 }, { told.passed, told.failed, told.skipped, #told.tests })
    local by_name = {}
    for _, test in ipairs(told.tests) do
      by_name[test.name] = test
    end
    assert.equal("passed", by_name["a passes"].status)
    assert.equal("failed", by_name["a fails"].status)
    assert.equal(3, by_name["a fails"].line)
    assert.matches("Expected objects to be equal", by_name["a fails"].message)
    assert.equal("error", by_name["a breaks"].status)
    assert.matches("boom", by_name["a breaks"].message)
    assert.equal("skipped", by_name["a waits"].status)

    code, _, out = run_spec('it("a", function() end)', "--json")
    assert.equal(0, code)
    assert.equal(1, gw.json.decode(out).passed)
    code, _, out = run_spec("it(", "--json")
    assert.equal(1, code)
    assert.equal(1, gw.json.decode(out).failed)
  end)

  it("has code 1 when a file cannot be compiled", function()
    local code, text = run_spec("it(")

    assert.equal(1, code)
    assert.matches("made_spec%.lua:1", text)
    assert.matches("0 passed, 1 failed\n$", text)
  end)

  it("has code 1 for a file that is not there", function()
    local code, out = kit.run(kit.program, { "spec", "/nowhere/a_spec.lua" })

    assert.equal(1, code)
    assert.matches("Cannot find file or directory: /nowhere/a_spec%.lua", out)
    assert.matches("0 passed, [1-9] failed\n$", out)
  end)

  it("takes --filter", function()
    local code, _, out = run_spec([[
      it("apple", function() end)
      it("pear", function() error("not asked for") end)
    ]], "--filter", "apple")

    assert.equal(0, code)
    assert.matches("1 passed, 0 failed\n$", out)
  end)

  it("takes --tags", function()
    local code, _, out = run_spec([[
      it("apple #quick", function() end)
      it("pear", function() error("not asked for") end)
    ]], "--tags", "quick")

    assert.equal(0, code)
    assert.matches("1 passed, 0 failed\n$", out)
  end)

  it("lets before_each, has_error and pcall wait", function()
    local woken = false
    native.go(function() woken = true end)

    assert.has_error(function()
      gw.sleep(0.001)
      error("late")
    end, "late")
    assert.is_true(woken)
  end)

  it("survives os.exit in a spec", function()
    local code, _, out = run_spec('it("a", function() os.exit(0) end)\nit("b", function() end)')

    assert.equal(1, code)
    assert.matches("1 passed, 1 failed\n$", out)
  end)

  it("fails a test whose gateway dies, and shows its log", function()
    local code, text = run_spec([[
      local kit = require("gateway.spec")
      it("a", function()
        local gateway = kit.gateway { conf = "routes: []\n" }
        gateway:signal("KILL")
        kit.eventually(function() return gateway.process:ended() end)
      end)
      it("b", function() end)
    ]])

    assert.equal(1, code)
    assert.matches("ended by itself %(signal 9%)", text)
    assert.matches("listening on 127%.0%.0%.1:", text)
    assert.matches("1 passed, 1 failed\n$", text)
  end)

  it("fails a test whose gateway logs a report of a sanitizer", function()
    local code, text = run_spec([[
      local kit = require("gateway.spec")
      it("a", function()
        local gateway = kit.gateway { conf = "routes: []\n" }
        local log = io.open(gateway.dir .. "/log", "a")
        log:write("==1==ERROR: LeakSanitizer: detected memory leaks\n")
        log:close()
      end)
    ]])

    assert.equal(1, code)
    assert.matches("the log of the gateway says", text)
  end)

  it("fails a test with an error in a handler beside it", function()
    local code, text = run_spec([[
      local kit = require("gateway.spec")
      it("a", function()
        local upstream = kit.upstream()
        upstream:on(function() error("scripted wrongly") end)
        local conn = kit.client(upstream:port()):connect()
        assert.is_true(conn:closed())
      end)
    ]])

    assert.equal(1, code)
    assert.matches("scripted wrongly", text)
  end)

  it("runs all of spec/ but spec/soak", function()
    local dir = native.folder()
    native.mkdir(dir .. "/spec/deep/er")
    native.mkdir(dir .. "/spec/soak")
    for name, text in pairs {
      ["deep/er/a_spec.lua"] = 'it("a", function() end)',
      ["soak/b_spec.lua"] = 'it("b", function() end) it("c", function() end)',
      ["helper.lua"] = 'error("not a spec")',
    } do
      local file = assert(io.open(dir .. "/spec/" .. name, "w"))
      file:write(text)
      file:close()
    end

    local _, all = kit.run(kit.program, { "spec" }, { cwd = dir })
    local _, soak = kit.run(kit.program, { "spec", "spec/soak" }, { cwd = dir })
    native.remove(dir)

    assert.matches("1 passed, 0 failed\n$", all)
    assert.matches("2 passed, 0 failed\n$", soak)
  end)

  it("starts in less than 100 ms", function()
    local best = 1
    for _ = 1, 5 do
      local began = gw.time.real()
      run_spec('it("a", function() end)')
      best = math.min(best, (gw.time.real() - began) / 1000)
    end

    -- A build with sanitizers is no measure.
    assert.is_true(best < (kit.sanitized and 1 or 0.1), best .. " s")
  end)

  it("leaves no folder and no process behind", function()
    local code, _, out = run_spec([[
      local kit = require("gateway.spec")
      local gateway
      setup(function() gateway = kit.gateway { conf = "routes: []\n" } end)
      it("a", function() print("pid " .. gateway.process.pid .. " " .. gateway.dir) end)
      it("b", function() assert.is_true(gateway:status().ok) end)
    ]])

    assert.equal(0, code)
    local pid, dir = out:match("pid (%d+) (%S+)")
    assert.is_nil(native.kind("/proc/" .. pid))
    assert.is_nil(native.kind(dir))
  end)
end)

describe("kit.gateway", function()
  it("starts one, tells its port, and stops it", function()
    local gateway = kit.gateway { conf = ANSWER }

    local answer = kit.client(gateway):get("/")

    assert.equal("hello\n", answer.body)
    assert.matches("^http://127%.0%.0%.1:%d+/x$", gateway:url("/x"))
    assert.equal(0, gateway:stop())
  end)

  it("knows listeners by name", function()
    local gateway = kit.gateway { conf = [[
listen:
  - { name: one, address: "127.0.0.1:0" }
  - { name: two, address: "unix:run/two.sock" }
]] .. ANSWER }

    assert.equal("hello\n", kit.client(gateway, { listener = "one" }):get("/").body)
    assert.equal("hello\n", kit.client(gateway, { listener = "two" }):get("/").body)
  end)

  it("reloads, and gives the report", function()
    local gateway = kit.gateway { conf = ANSWER }

    local good = gateway:reload((ANSWER:gsub("hello", "changed")))
    local bad = gateway:reload("rotes: []\n")

    assert.is_true(good.ok)
    assert.is_false(bad.ok)
    assert.matches("did you mean", bad.text)
    assert.equal("changed\n", kit.client(gateway):get("/").body)
  end)

  it("takes plugins, files, environment and a number of workers", function()
    local gateway = kit.gateway {
      conf = [[
routes:
  - name: all
    match: { path: "/*" }
    plugins: [ counter ]
    files: ${FOLDER}
]],
      plugins = { counter = COUNTER },
      files = { ["www/a.txt"] = "text" },
      env = { FOLDER = "www" },
      workers = 2,
    }

    local answer = kit.client(gateway):get("/a.txt")

    assert.equal("TEXT", answer.body)
    assert.equal(2, #gateway:worker_pids())
  end)

  it("checks its conf", function()
    local gateway = kit.gateway { conf = ANSWER }

    local good = gateway:check()
    gateway:write("gateway.yaml", "rotes: []\n")
    local code, text = gateway:check()

    assert.equal(0, good)
    assert.equal(1, code)
    assert.matches("gateway%.yaml:1:1: rotes", text)
  end)

  it("moves the clock of its workers", function()
    local gateway = kit.gateway { conf = "limits: { idle_timeout: 1h }\n" .. ANSWER }
    local conn = kit.client(gateway):connect()
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read_answer()
    assert.is_false(conn:closed(0.05))

    gateway:advance(3600 * 1000 + 1000)

    assert.is_true(conn:closed())
  end)

  it("replaces a worker that is killed", function()
    local gateway = kit.gateway { conf = ANSWER }
    local first = gateway:worker_pids()[1]

    gateway:signal("KILL", first)

    kit.eventually(function()
      local pid = gateway:worker_pids()[1]
      return pid and pid ~= first
    end)
    kit.eventually(function() return kit.client(gateway):get("/").status == 200 end)
  end)

  it("tells why one does not start", function()
    local _, err = pcall(kit.gateway, { conf = "rotes: []\n" })

    assert.matches("did not start %(exit code 1%)", err)
    assert.matches("did you mean", err)
  end)

  it("accepts one that shall not start", function()
    local gateway = kit.gateway { conf = "rotes: []\n", fails = true }

    assert.equal(1, gateway.code)
    assert.matches("did you mean", gateway:log())
  end)
end)

describe("kit.upstream", function()
  it("answers, and remembers what came", function()
    local upstream = kit.upstream()
    upstream:answer { status = 201, reason = "Made", headers = { ["X-A"] = "b" }, body = "new" }

    local answer = kit.client(upstream:port()):request { path = "/x?y=1",
      headers = { ["X-One"] = "1" }, body = "abc" }

    assert.equal(201, answer.status)
    assert.equal("Made", answer.reason)
    assert.equal("b", answer.headers["X-A"])
    assert.equal("new", answer.body)
    assert.equal(1, upstream:requests())
    local request = upstream:request()
    assert.equal("POST", request.method)
    assert.equal("/x", request.path)
    assert.equal("y=1", request.query)
    assert.equal("abc", request.body)
    assert.equal("1", request.headers["x-one"])
    assert.matches("^POST /x%?y=1 HTTP/1%.1\r\n", request.raw)
  end)

  it("follows a script", function()
    local upstream = kit.upstream()
    upstream:on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
      assert.equal("more", conn:read_until("more"))
      conn:write("second")
    end)
    local conn = kit.client(upstream:port()):connect()

    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read_head()
    assert.equal("half", conn:read(4))
    conn:write("more")

    assert.equal("second", conn:read_all())
  end)

  it("resets and half-closes", function()
    local upstream = kit.upstream()
    upstream:on(function(conn, self)
      if self:connections() == 1 then
        conn:read(1)
        conn:reset()
      else
        conn:half_close()
        assert.equal("still", conn:read(5))
      end
    end)
    local client = kit.client(upstream:port())

    local one = client:connect()
    one:write("x")
    local _, how = one:read_all()
    local two = client:connect()

    assert.equal("reset", how)
    assert.is_nil((two:read(1)))
    assert.is_true(two:write("still"))
    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
  end)
end)

describe("kit.client", function()
  it("decodes chunks and trailers, and takes 1xx apart", function()
    local upstream = kit.upstream()
    upstream:answer("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
      .. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")

    local answer = kit.client(upstream:port()):get("/")

    assert.equal("abcde", answer.body)
    assert.equal(2, answer.chunks)
    assert.equal("5", answer.trailers["x-sum"])
    assert.equal(103, answer.informational[1].status)
  end)

  it("says what is missing, and where in the spec", function()
    local upstream = kit.upstream()
    upstream:on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
      conn:read(1, 60)
    end)

    local ok, err = pcall(function()
      kit.client(upstream:port(), { timeout = 0.05 }):get("/")
    end)

    assert.is_false(ok)
    assert.matches("kit_spec%.lua:%d+: client: no 9 bytes within 0%.05 s", err)
    assert.matches('"abc"', err)
  end)

  it("says that a connection is refused", function()
    local upstream = kit.upstream()
    local port = upstream:port()
    upstream:stop()

    assert.error_matches(function() kit.client(port):connect() end, "Connection refused")
  end)

  it("reads the answer to HEAD without a body", function()
    local upstream = kit.upstream()
    upstream:answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")

    local answer = kit.client(upstream:port()):request { method = "HEAD" }

    assert.equal("1000", answer.headers["content-length"])
    assert.equal("", answer.body)
  end)
end)

describe("kit.eventually", function()
  it("returns what it waited for", function()
    local n = 0

    assert.equal(3, kit.eventually(function()
      n = n + 1
      return n >= 3 and n
    end))
  end)

  it("shows the last failure when the time is over", function()
    assert.error_matches(function()
      kit.eventually(function() error("not yet", 0) end, 0.02)
    end, "not yet")
    assert.error_matches(function()
      kit.eventually(function() return false end, 0.02)
    end, "eventually: still false after 0.02 s")
  end)
end)

describe("kit.run", function()
  it("gives code, output and errors, and takes input", function()
    local code, out, err = kit.run("sh", { "-c", "cat; echo $WORD >&2; exit 3" },
      { stdin = ("x"):rep(300000), env = { WORD = "said" } })

    assert.equal(3, code)
    assert.equal(300000, #out)
    assert.equal("said\n", err)
  end)

  it("does not hold up the loop", function()
    local upstream = kit.upstream()

    local code, out = kit.run("curl", { "-s", upstream:url("/") })

    assert.equal(0, code)
    assert.equal("upstream\n", out)
  end)

  it("tells of a program that is not there", function()
    local code = kit.run("/nowhere/at-all")

    assert.equal(127, code)
  end)
end)

describe("kit.plugin", function()
  it("calls a phase in the sandbox, and gives the answer", function()
    local plugin = kit.plugin(COUNTER, { deny = { "ZZ" } })

    local answer = plugin:access(kit.ctx { path = "/a", headers = { ["X-Country"] = "ZZ" } })

    assert.equal(403, answer.status)
    assert.equal("Not available in your country", answer.json.title)
    assert.equal("application/problem+json", answer.headers["content-type"])
  end)

  it("leaves the ctx to be looked at", function()
    local plugin = kit.plugin(COUNTER)
    local ctx = kit.ctx { method = "POST", path = "/a", body = "abc", response = { status = 404 } }

    assert.is_nil(plugin:access(ctx))
    plugin:header_filter(ctx)

    assert.equal("abc", ctx.request.headers["x-seen"])
    assert.equal(404, ctx.response.status)
    assert.equal("1", ctx.response.headers["x-calls"])
    assert.equal(1, ctx.state.calls)
    assert.equal("BODY", plugin:body_filter(ctx, "body", true))
  end)

  it("fills in the defaults of the schema", function()
    local plugin = kit.plugin(COUNTER)

    assert.equal(403, plugin:access(kit.ctx { headers = { ["x-country"] = "XX" } }).status)
  end)

  it("holds the conf to the schema", function()
    assert.matches("deny: must be a list", kit.plugin_check(COUNTER, { deny = 1 }))
    assert.is_nil(kit.plugin_check(COUNTER, { header = "x-other", deny = gw.json.array({}) }))
  end)

  it("raises an error of the plugin, with its place", function()
    local plugin = kit.plugin(COUNTER)

    assert.error_matches(function() plugin:access(kit.ctx { path = "/boom" }) end,
      "plugins/counter%.lua:21: boom")
  end)

  it("hands the state over at a reload", function()
    local plugin = kit.plugin(COUNTER)
    plugin:access(kit.ctx {})

    plugin:reload { header = "x-other" }
    local ctx = kit.ctx { body = "b" }
    plugin:access(ctx)

    assert.equal("b", ctx.request.headers["x-other"])
    assert.equal(2, ctx.state.calls)
  end)

  it("keeps instances apart", function()
    local one, two = kit.plugin(COUNTER), kit.plugin(COUNTER)
    one:access(kit.ctx {})

    local ctx = kit.ctx {}
    two:access(ctx)

    assert.equal(1, ctx.state.calls)
  end)

  it("has the sandbox of a gateway", function()
    local plugin = kit.plugin([[
local plugin = { name = "curious", priority = 1, schema = { type = "object", properties = {} } }
function plugin.access(_, ctx)
  return ctx:exit(200, tostring(io) .. tostring(debug) .. tostring(os.execute))
end
return plugin
]])

    assert.equal("nilnilnil", plugin:access(kit.ctx {}).body)
  end)

  it("lets time be moved by hand", function()
    local plugin = kit.plugin([[
local plugin = { name = "slow", priority = 1, schema = { type = "object", properties = {} } }
function plugin.access(_, ctx)
  local before = gw.time.now()
  gw.sleep(3600)
  return ctx:exit(200, tostring(gw.time.now() - before >= 3600))
end
return plugin
]])
    local answer
    kit.go(function() answer = plugin:access(kit.ctx {}) end)
    gw.sleep(0.01)
    assert.is_nil(answer)

    kit.advance(3601)

    assert.equal("true", kit.eventually(function() return answer end).body)
  end)

  it("gives shared dictionaries that are empty at first", function()
    for _ = 1, 2 do
      local plugin = kit.plugin("rate-limit", { rate = "1/m" }, { shared = { limits = "1m" } })
      assert.is_nil(plugin:access(kit.ctx {}))
      assert.equal(429, plugin:access(kit.ctx {}).status)
      plugin:close()
    end
  end)

  it("chooses targets", function()
    local plugin = kit.plugin([[
local plugin = { name = "second", priority = 1, schema = { type = "object", properties = {} } }
function plugin.balancer(_, ctx)
  ctx.upstream:set_target(2)
end
return plugin
]], nil, { upstreams = { two = { targets = { "127.0.0.1:1", "127.0.0.1:2" } } } })
    local ctx = kit.ctx {}

    plugin:balancer(ctx)

    assert.equal(2, kit.chosen_target(ctx))
  end)

  it("says that there is no such phase", function()
    local plugin = kit.plugin(COUNTER)

    assert.error_matches(function() plugin:log(kit.ctx {}) end, "plugin counter has no log")
  end)
end)

describe("docs/specs.md", function()
  local file = assert(io.open(kit.shipped .. "/docs/specs.md"))
  local text = file:read("*a")
  file:close()
  local n = 0

  for example in text:gmatch("\n```lua\n(.-)\n```") do
    n = n + 1
    it(("has an example %d that passes"):format(n), function()
      local code, out = run_spec(example)

      assert.equal(0, code, out)
      assert.matches("[1-9]%d* passed, 0 failed\n$", out)
    end)
  end
end)

describe("the kit", function()
  it("loses no descriptor in 1,000 rounds", function()
    local upstream = kit.upstream()
    local client = kit.client(upstream:port())
    client:get("/")
    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
    local before = descriptors()

    for _ = 1, 1000 do
      assert.equal(200, client:get("/").status)
    end

    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
    assert.equal(before, descriptors())
  end)

  it("loses no descriptor in 50 programs and 10 gateways", function()
    kit.run("true")
    local before = descriptors()

    for _ = 1, 50 do
      kit.run("true")
    end
    for _ = 1, 10 do
      local gateway = kit.gateway { conf = PROXY, env = { UPSTREAM = "http://127.0.0.1:1" } }
      gateway:stop()
      gateway:close()
    end

    assert.equal(before, descriptors())
  end)

  it("loses no memory of a plugin in 200 rounds", function()
    local before = descriptors()

    for _ = 1, 200 do
      local plugin = kit.plugin(COUNTER)
      plugin:access(kit.ctx {})
      plugin:close()
    end

    assert.equal(before, descriptors())
  end)
end)
