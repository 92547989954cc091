local kit = require("gateway.spec")
local native = require("gateway.spec.native")

local function conf(body)
  return ([[
listen: [ { name: public, address: "127.0.0.1:0" } ]
routes:
  - { name: a, match: { path: /a }, respond: { status: 200, body: "%s" } }
  - { name: b, match: { path: /b }, plugins: [ greeter ], respond: { status: 204 } }
]]):format(body)
end

local function greeter(word)
  return ([[
local plugin = { name = "greeter", priority = 1 }
function plugin.access(_, ctx) return ctx:exit(200, "%s") end
return plugin
]]):format(word)
end

describe("moongate dev", function()
  local dir, dev, client

  local function write(name, text)
    native.mkdir((dir .. "/" .. name):gsub("/[^/]*$", ""))
    local file = assert(io.open(dir .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end

  local function log()
    local file = assert(io.open(dir .. "/log"))
    local text = file:read("*a")
    file:close()
    return text
  end

  before_each(function()
    dir = native.folder()
    write("gateway.yaml", conf("one"))
    write("plugins/greeter.lua", greeter("hi"))
    dev = kit.start(kit.program, { "dev", "-c", dir .. "/gateway.yaml" }, { cwd = dir, stderr = dir .. "/log" })
    kit.eventually(function() return log():find("listening on", 1, true) end, 15)
    client = kit.client(tonumber(log():match("listening on 127%.0%.0%.1:(%d+)")))
  end)

  after_each(function()
    dev:signal_now("TERM")
    assert.equal(0, dev:wait(10))
    native.remove(dir)
  end)

  it("reloads when the conf is saved", function()
    assert.equal("one", client:get("/a").body)

    write("gateway.yaml", conf("two"))

    kit.eventually(function()
      return client:get("/a").body == "two"
    end)
  end)

  it("reloads when a plugin is saved, as editors save", function()
    assert.equal("hi", client:get("/b").body)

    write("plugins/.greeter.lua.swp", greeter("good day"))
    assert(os.rename(dir .. "/plugins/.greeter.lua.swp", dir .. "/plugins/greeter.lua"))

    kit.eventually(function() return client:get("/b").body == "good day" end)
  end)

  it("tells of faults, and goes on with what was good", function()
    write("gateway.yaml", "rotes: []\n")

    kit.eventually(function() return log():find('did you mean "routes"', 1, true) end)
    assert.equal("one", client:get("/a").body)
    write("gateway.yaml", conf("three"))
    kit.eventually(function() return client:get("/a").body == "three" end)
  end)

  it("reads the file that was saved, and no other", function()
    write("routes/c.yaml", "routes: [ { name: c, match: { path: /c }, respond: { body: one } } ]\n")
    write("gateway.yaml", conf("one") .. "include: [ \"routes/*.yaml\" ]\n")
    kit.eventually(function() return client:get("/c").body == "one" end)

    write("routes/c.yaml", "routes: [ { name: c, match: { path: /c }, respond: { body: two } } ]\n")

    kit.eventually(function() return client:get("/c").body == "two" end)
    assert.matches("1 of 2 files read%): routes ~1", log())
  end)

  it("takes two files that fit only together, one saved after the other", function()
    write("routes/c.yaml", "")
    write("routes/d.yaml", "")
    write("gateway.yaml", conf("one") .. "include: [ \"routes/*.yaml\" ]\n")
    kit.eventually(function() return log():find("files +2", 1, true) end)

    write("routes/c.yaml", "routes: [ { name: c, match: { path: /c }, upstream: api } ]\n")
    kit.eventually(function() return log():find('there is no upstream "api"', 1, true) end)
    write("routes/d.yaml", "upstreams: { api: { targets: [ \"127.0.0.1:1\" ] } }\n")

    kit.eventually(function() return client:get("/c").status == 502 end)
  end)

  it("prints a line for each request", function()
    client:get("/a?x=1")
    client:get("/nowhere")

    assert.matches("^%d%d:%d%d:%d%d  200  GET /a%?x=1  a  %d+%.%d ms  3 B\n$",
      (dev.stdout:read_until("\n")))
    assert.matches("  404  GET /nowhere  no route  ", (dev.stdout:read_until("\n")))
  end)

  it("runs the log phase of plugins all the same, without a route too", function()
    write("plugins/teller.lua", [[
local plugin = { name = "teller", priority = 1 }
function plugin.log(_, ctx) gw.log.warn("told of " .. ctx.request.path) end
return plugin
]])
    write("gateway.yaml", conf("told") .. "plugins: [ teller ]\n")
    kit.eventually(function() return client:get("/a").body == "told" end)

    client:get("/nowhere")

    kit.eventually(function() return log():find("told of /a", 1, true) end)
    kit.eventually(function() return log():find("told of /nowhere", 1, true) end)
  end)
end)
