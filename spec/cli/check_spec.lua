local kit = require("gateway.spec")
local native = require("gateway.spec.native")

local dir

before_each(function() dir = native.folder() end)
after_each(function() native.remove(dir) end)

local function write(name, text)
  native.mkdir((dir .. "/" .. name):gsub("/[^/]*$", ""))
  local file = assert(io.open(dir .. "/" .. name, "w"))
  file:write(text)
  file:close()
end

--- Runs `moongate check` on this text: code, stdout, stderr.
local function check(text, env, ...)
  write("gateway.yaml", text)
  return kit.run(kit.program, { "check", "-c", "gateway.yaml", ... }, { cwd = dir, env = env })
end

local LISTEN = 'listen: [ { name: public, address: "127.0.0.1:0" } ]\n'

describe("moongate check", function()
  it("has code 0 for a good conf, and says how many routes it has", function()
    local code, out, err = check(LISTEN
      .. "routes: [ { name: a, match: { path: /a }, respond: { status: 204 } } ]\n")

    assert.equal(0, code)
    assert.equal("gateway.yaml: fine: 1 routes, 0 warnings\n", out)
    assert.equal("", err)
  end)

  it("finds all faults at once, with file, line, column and path, in the order of the file", function()
    local code, out = check [[
listen: [ { name: public, address: "127.0.0.1:0" } ]
workers: 0
rotes: 1
routes:
  - name: a
    match: { path: /a, hosts: [ "x.com" ], metods: [ GET ] }
    respond: { status: 200 }
    plugins: [ rate-limt, { key-auth: { kees: 1 } } ]
  - name: b
    match: { path: b }
    upstream: nowhere
]]

    assert.equal(1, code)
    -- luacheck: push no max line length
    assert.equal([[
gateway.yaml:2:10: workers: must be at least 1
gateway.yaml:3:1: rotes: unknown key; did you mean "routes"?
gateway.yaml:6:44: routes[0].match.metods: unknown key; did you mean "methods"?
gateway.yaml:8:16: routes[0].plugins[0]: plugin 'rate-limt': there is no such file in plugin_paths; did you mean 'rate-limit'?
gateway.yaml:8:39: routes[0].plugins[1].key-auth: "keys" is missing
gateway.yaml:8:41: routes[0].plugins[1].key-auth.kees: unknown key; did you mean "keys"?
gateway.yaml:10:20: routes[1].match.path: must begin with "/" (or "~" for a regex), not "b"
gateway.yaml:11:15: routes[1].upstream: there is no upstream "nowhere"
]], out)
    -- luacheck: pop
  end)

  it("refuses a key that is given twice", function()
    local code, out = check(LISTEN .. "workers: 1\nworkers: 2\n")

    assert.equal(1, code)
    assert.equal('gateway.yaml:3:1: "workers" is given twice, first in line 2; keep one of them\n', out)
  end)

  for _, how in ipairs { "      hosts: [ *.example.com ]", "      hosts:\n        - *.example.com" } do
    it("says what to write for a host with an unquoted asterisk", function()
      local code, out = check(LISTEN .. "routes:\n  - name: a\n    match:\n" .. how
        .. "\n    respond: { status: 204 }\n")

      assert.equal(1, code)
      assert.matches('^gateway%.yaml:%d+:%d+: ', out)
      assert.matches('quote it: "*.example.com"', out, 1, true)
    end)
  end

  it("names a tab, an open bracket and other YAML that is none", function()
    for _, case in ipairs {
      { "routes:\n\t- name: a\n", "^gateway%.yaml:2:1: .*tab" },
      { "routes: [ a\n", "^gateway%.yaml:%d+:%d+: " },
      { "routes: 'a\n", "^gateway%.yaml:%d+:%d+: " },
      { "a: b: c\n", "^gateway%.yaml:1:%d+: " },
      { "\255\254\0", "^gateway%.yaml:1?:?" },
    } do
      local code, out = check(case[1])

      assert.equal(1, code)
      assert.matches(case[2], out)
    end
  end)

  it("names a file that is not there", function()
    local code, out = kit.run(kit.program, { "check", "-c", "none.yaml" }, { cwd = dir })

    assert.equal(1, code)
    assert.matches("^none%.yaml: No such file", out)
  end)

  it("names the included file that has the fault", function()
    write("routes/one.yaml", "routes:\n  - { name: a, match: { path: /a }, respnd: { status: 204 } }\n")

    local code, out = check(LISTEN .. "include: [ routes/*.yaml ]\n")

    assert.equal(1, code)
    assert.matches('routes/one%.yaml:2:37: routes%[0%]%.respnd: unknown key; did you mean "respond"?', out)
  end)

  it("wants the environment that the conf names", function()
    local conf = LISTEN .. 'workers: "${MG_SPEC_WORKERS}"\nuser: "${MG_SPEC_USER:-nobody}"\n'

    local unset_code, unset = check(conf)
    local wrong_code, wrong = check(conf, { MG_SPEC_WORKERS = "many" })
    local code = check(conf, { MG_SPEC_WORKERS = "2" })

    assert.equal(1, unset_code)
    assert.matches("^gateway%.yaml:2:%d+: .*MG_SPEC_WORKERS", unset)
    assert.equal(1, wrong_code)
    assert.matches("^gateway%.yaml:2:%d+: workers: ", wrong)
    assert.equal(0, code)
  end)

  it("warns of a route that can never match", function()
    local code, out = check(LISTEN .. [[
routes:
  - { name: all, match: { path: "/a/*" }, priority: 1, respond: { status: 204 } }
  - { name: never, match: { path: /a/b }, respond: { status: 204 } }
]])

    assert.equal(0, code)
    assert.matches("gateway%.yaml:4:%d+: warning: routes%.never: can never match", out)
    assert.matches('"all"', out)
    assert.matches("1 warnings", out)
  end)

  it("says where the code of a plugin is wrong", function()
    write("plugins/broken.lua", "local plugin = {}\n\nreturn plugin plugin\n")

    local code, out = check(LISTEN .. "plugins: [ broken ]\n")

    assert.equal(1, code)
    assert.matches("^gateway%.yaml:%d+:12: plugins%[0%]: plugins/broken%.lua:3: ", out)
  end)

  it("refuses a keyword of a schema that it does not know", function()
    write("plugins/odd.lua", [[
return { name = "odd", priority = 1, schema = { type = "object", properties = {
  a = { type = "string", frobnicate = 3 } } } }
]])

    local code, out = check(LISTEN .. "plugins: [ { odd: { a: b } } ]\n")

    assert.equal(1, code)
    assert.matches("frobnicate", out)
  end)

  it("holds a conf to every keyword of a schema, and says where it is wrong", function()
    write("plugins/wide.lua", [[
return { name = "wide", priority = 1, schema = { type = "object",
  required = { "targets" }, ["$defs"] = { port = { type = "integer", multipleOf = 10 } },
  properties = {
    targets = { type = "array", uniqueItems = true, items = { ["$ref"] = "#/$defs/port" } },
    mode = { type = "string", default = "fast" },
    store = { oneOf = { { const = "memory" },
      { type = "object", required = { "host" }, properties = { host = { type = "string" } } } } },
  },
  patternProperties = { ["^x-"] = { type = "string" } },
  ["if"] = { properties = { mode = { const = "slow" } } },
  ["then"] = { required = { "delay" }, properties = { delay = { minimum = 1 } } },
} }
]])
    local function wide(conf)
      return check(LISTEN .. "plugins:\n  - wide:\n" .. conf)
    end

    assert.equal(0, (wide("      targets: [10, 20]\n      store: { host: a }\n      x-note: hello\n")))
    assert.equal(0, (wide("      targets: []\n      mode: slow\n      delay: 2\n      store: memory\n")))

    local code, out = wide("      targets:\n        - 10\n        - 15\n      store: { hots: a }\n")
    assert.equal(1, code)
    assert.matches("gateway%.yaml:%d+:11: plugins%[0%]%.wide%.targets%[1%]: must be a multiple of 10", out)
    assert.matches("says so at #/%$defs/port/multipleOf", out)
    assert.matches("gateway%.yaml:%d+:14: plugins%[0%]%.wide%.store: must fit exactly one of 2 schemas", out)
    code, out = wide("      targets: [10, 10]\n")
    assert.equal(1, code)
    assert.matches("wide%.targets: must not have the same item twice", out)
    code, out = wide("      targets: [10]\n      mode: slow\n")
    assert.equal(1, code)
    assert.matches('plugins%[0%]%.wide: "delay" is missing', out)
    code, out = wide("      targets: [10]\n      x-note: 5\n      mod: fast\n")
    assert.equal(1, code)
    assert.matches("unknown key", out)
    assert.matches('did you mean "mode"', out)
  end)

  it("says what is wrong with a schema itself", function()
    write("plugins/wide.lua", [[
return { name = "wide", priority = 1, schema = { type = "object", anyOf = { { ["$ref"] = "#/no" } } } }
]])

    local code, out = check(LISTEN .. "plugins: [ wide ]\n")

    assert.equal(1, code)
    assert.matches('plugins/wide%.lua: schema: schema: #/anyOf/0/%$ref: there is no "#/no"', out)
  end)

  it("has the faults for programs", function()
    local code, out = check("workers: 0\nrotes: 1\n", nil, "--json")
    local report = gw.json.decode(out)

    assert.equal(1, code)
    assert.is_false(report.ok)
    local by_path = {}
    for _, fault in ipairs(report.faults) do
      by_path[fault.path] = fault
    end
    assert.equal(1, by_path.workers.line)
    assert.equal(10, by_path.workers.column)
    assert.equal("gateway.yaml", by_path.workers.file)
    assert.equal("unknown key", by_path.rotes.message)
    assert.equal('did you mean "routes"?', by_path.rotes.hint)
  end)

  it("accepts the shipped confs", function()
    for _, name in ipairs { "gateway.yaml", "gateway.full.yaml" } do
      local code, out = kit.run(kit.program, { "check", "-c", kit.shipped .. "/conf/" .. name })

      assert.equal(0, code, out)
    end
  end)

  local function with_plugins(plugins)
    return check(LISTEN .. plugins .. "\nroutes: [ { name: a, match: { path: /a }, respond: { status: 204 } } ]\n")
  end

  it("refuses what a plugin's init refuses, as a start would", function()
    local code, out = with_plugins "plugins: [ { key-auth: { keys: { alice: same, bob: same } } } ]"

    assert.equal(1, code)
    assert.equal("gateway.yaml:2:14: plugins[0].key-auth: plugin key-auth: keys: "
      .. "alice and bob have the same key\n", out)
  end)

  it("lets nothing act that an init has begun", function()
    write("plugins/busy.lua", [[
local plugin = { name = "busy", priority = 1 }
function plugin.init()
  local file = assert(gw.logfile.open("logs/busy.log"))
  gw.timer.after(0, function() error("the timer came") end)
  gw.shared.counts:set("a", 1)
  return { file = file }
end
function plugin.access() end
return plugin
]])

    local code, out, err = with_plugins("shared: { counts: 1m }\n"
      .. "plugins: [ busy, { access-log: { path: logs/access.log } } ]")

    assert.equal("gateway.yaml: fine: 1 routes, 0 warnings\n", out)
    assert.equal("", err)
    assert.equal(0, code)
    assert.is_nil(io.open(dir .. "/logs/busy.log"))
    assert.is_nil(io.open(dir .. "/logs/access.log"))
  end)
end)
