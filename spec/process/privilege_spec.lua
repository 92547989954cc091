local kit = require("gateway.spec")
local native = require("gateway.spec.native")

local _, uid = kit.run("id", { "-u" })
local _, nobody = kit.run("id", { "-u", "nobody" })
nobody = tonumber(nobody)

local CONF = [[
user: nobody
log: { file: gateway.log, level: info }
shared: { counts: 1m }
routes:
  - { name: a, match: { path: /a }, plugins: [ counter ], respond: { status: 204 } }
]]

local COUNTER = [[
local plugin = { name = "counter", priority = 1 }
function plugin.access(_, ctx)
  gw.log.warn("counted")
  return ctx:exit(200, tostring(gw.shared.counts:incr("n", 1, 0)))
end
return plugin
]]

--- What /proc/PID/status says, as { Uid = "0", … }.
local function proc(pid)
  local told = {}
  for line in io.lines(("/proc/%d/status"):format(pid)) do
    local name, value = line:match("^(%w+):%s*(%S+)")
    told[name or ""] = value
  end
  return told
end

describe("user:", function()
  local may = { "--reuid=nobody", "--clear-groups", "test", "-r", kit.program }
  if uid ~= "0\n" or kit.run("setpriv", may) ~= 0 then
    pending("needs root, and a program that nobody may read")
    return
  end

  local gateway

  before_each(function()
    -- The folder of a spec is its owner's alone: the loader, which has no rights, refuses.
    gateway = kit.gateway { conf = CONF, plugins = { counter = COUNTER }, workers = 2, fails = true }
    assert.matches("plugins/counter.lua: Permission denied", gateway:log())
    kit.run("chmod", { "-R", "a+rX", gateway.dir })
    gateway:start()
  end)

  it("workers have no rights, the master keeps its own", function()
    assert.equal("0", proc(gateway.process.pid).Uid)
    for _, pid in ipairs(gateway:worker_pids()) do
      local told = proc(pid)
      assert.equal(nobody, tonumber(told.Uid))
      assert.equal("0000000000000000", told.CapEff)
      assert.equal("0000000000000000", told.CapPrm)
      assert.equal("1", told.NoNewPrivs)
    end
  end)

  it("reload, successors and the log work all the same", function()
    local client = kit.client(gateway)
    assert.equal("1", client:get("/a").body)

    assert.is_true(gateway:reload().ok)
    gateway:signal("KILL", gateway:worker_pids()[1])
    kit.eventually(function()
      local status = gateway:status()
      assert.equal(1, status.worker_deaths)
      assert.equal("serving", status.workers[2] and status.workers[1].state)
    end)
    assert(os.rename(gateway.dir .. "/gateway.log", gateway.dir .. "/gateway.log.1"))
    gateway:signal("USR1")
    kit.eventually(function() return gateway:read("gateway.log") end)
    gateway:status()

    assert.equal("2", client:get("/a").body)
    assert.equal(nobody, tonumber(proc(gateway:worker_pids()[1]).Uid))
    assert.matches("counted", gateway:read("gateway.log"))
  end)

  it("only the master's user may speak to the control socket", function()
    local code = kit.run("setpriv", { "--reuid=nobody", "--clear-groups", kit.program, "status", "-c",
      gateway.dir .. "/gateway.yaml" })

    assert.equal(1, code)
    assert.is_true(gateway:status().ok)
  end)

  it("nobody of that name: the gateway does not start", function()
    local other = kit.gateway { conf = "user: no-such-user\nroutes: []\n", fails = true }

    assert.equal(1, other.code)
    assert.matches("no%-such%-user", other:log())
  end)

  it("the loader has no rights, either", function()
    local file = assert(io.open(gateway.dir .. "/secret.lua", "w"))
    file:write("return {}\n")
    file:close()
    kit.run("chmod", { "600", gateway.dir .. "/secret.lua" })
    native.mkdir(gateway.dir .. "/lua")
    assert(os.rename(gateway.dir .. "/secret.lua", gateway.dir .. "/lua/secret.lua"))
    gateway:write("plugins/counter.lua", 'local secret = require("secret")\n' .. COUNTER)

    local report = gateway:reload()

    assert.is_false(report.ok)
    assert.matches("secret", report.text)
  end)
end)
