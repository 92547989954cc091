local kit = require("gateway.spec")

local MAIN = [[
listen: [ { name: public, address: "127.0.0.1:0" } ]
include: [ "routes/*.yaml" ]
]]

--- Counts what it is asked, and says so.
local COUNTER = [[
return { name = "counter", priority = 1,
  schema = { type = "object", properties = { word = { type = "string", default = "n" } } },
  init = function() return { calls = 0 } end,
  access = function(conf, ctx)
    ctx.state.calls = ctx.state.calls + 1
    return ctx:exit(200, conf.word .. ctx.state.calls)
  end }
]]

local MARK = [[
return { name = "mark", priority = 5,
  header_filter = function(_, ctx) ctx.response.headers["x-mark"] = "seen" end }
]]

local function route(name, body)
  return ("routes:\n  - { name: %s, match: { path: /%s }, respond: { body: %q } }\n"):format(name, name,
    body or name)
end

local function new(files, options)
  options = options or {}
  options.conf = options.conf or MAIN
  options.files = {}
  for name, text in pairs(files) do
    options.files["routes/" .. name .. ".yaml"] = text
  end
  return kit.gateway(options)
end

--- Reloads those files of routes/ alone.
local function reload(gateway, ...)
  local paths = {}
  for i, name in ipairs { ... } do
    paths[i] = gateway.dir .. "/routes/" .. name .. ".yaml"
  end
  return gateway:control("reload", { files = paths })
end

local function save(gateway, name, text) gateway:write("routes/" .. name .. ".yaml", text) end

local function drop(gateway, name) assert(os.remove(gateway.dir .. "/routes/" .. name .. ".yaml")) end

local function body(gateway, path) return kit.client(gateway):get(path).body end

local function status(gateway, path) return kit.client(gateway):get(path).status end

describe("a reload of named files", function()
  it("looks at no other", function()
    local gateway = new { a = route("a"), b = route("b"), c = route("c") }
    save(gateway, "a", route("a", "new a"))
    save(gateway, "b", route("b", "new b"))

    local report = reload(gateway, "a")

    assert.is_true(report.ok, report.text)
    assert.same({ read = 1, of = 4 }, { read = report.files.read, of = report.files.of })
    assert.same({ "a" }, report.changes.routes.changed)
    assert.equal("new a", body(gateway, "/a"))
    assert.equal("b", body(gateway, "/b"))
    assert.equal("c", body(gateway, "/c"))
    assert.is_true(gateway:reload().ok)
    assert.equal("new b", body(gateway, "/b"))
  end)

  it("adds and takes away", function()
    local gateway = new { b = route("b"), d = route("d") }
    save(gateway, "a", route("a"))
    save(gateway, "c", route("c"))

    local report = reload(gateway, "c")

    assert.is_true(report.ok, report.text)
    assert.same({ "c" }, report.changes.routes.added)
    assert.equal(404, status(gateway, "/a"))
    assert.equal("c", body(gateway, "/c"))
    drop(gateway, "b")
    report = reload(gateway, "a", "b")
    assert.is_true(report.ok, report.text)
    assert.same({ "a" }, report.changes.routes.added)
    assert.same({ "b" }, report.changes.routes.removed)
    assert.is_true(report.files.of == 4 and report.files.why == gw.json.null)
    assert.equal(404, status(gateway, "/b"))
    assert.equal("d", body(gateway, "/d"))
  end)

  it("refuses faults in the words of a full load, and the old conf stays", function()
    local gateway = new { a = route("a"), b = route("b") }
    save(gateway, "a", "routes:\n  - { name: a, mtach: { path: /a }, respond: {} }\n")

    local report = reload(gateway, "a")

    assert.is_false(report.ok)
    local _, faults = gateway:check()
    assert.matches("routes/a.yaml:2:16: routes%[0%].mtach: unknown key; did you mean \"match\"%?", report.text)
    assert.truthy(faults:find(report.text:match("routes/.-\n"), 1, true))
    assert.equal("a", body(gateway, "/a"))
    assert.is_false(report.misused)
  end)

  it("finds names that are taken in a file that it does not read", function()
    local gateway = new { a = route("a"), b = route("b") }
    save(gateway, "a", (route("b"):gsub("path: /b", "path: /a")))

    local report = reload(gateway, "a")

    assert.is_false(report.ok)
    assert.matches("routes/b.yaml:2:13: routes%[0%].name: there are two routes of the name \"b\"", report.text)
    assert.equal("a", body(gateway, "/a"))
  end)

  it("finds that an upstream is missed by a file that it does not read", function()
    local upstream = kit.upstream()
    local ups = ("upstreams: { api: { targets: [ %q ] } }\n"):format(upstream:address())
    local gateway = new { ups = ups,
      a = "routes: [ { name: a, match: { path: /a }, upstream: api } ]\n" }
    save(gateway, "ups", "")

    local report = reload(gateway, "ups")

    assert.is_false(report.ok)
    assert.matches("a.yaml:1:53: routes%[0%].upstream: there is no upstream \"api\"", report.text)
    assert.equal(200, status(gateway, "/a"))
  end)

  it("moves requests to an upstream that has changed", function()
    local one, two = kit.upstream(), kit.upstream()
    local function ups(upstream)
      return ("upstreams: { api: { targets: [ %q ] } }\n"):format(upstream:address())
    end
    local gateway = new { ups = ups(one),
      a = "routes: [ { name: a, match: { path: /a }, upstream: api } ]\n" }
    assert.equal(200, status(gateway, "/a"))
    save(gateway, "ups", ups(two))

    local report = reload(gateway, "ups")

    assert.same({ "api" }, report.changes.upstreams.changed)
    assert.same({ gw.json.null, 1 }, { report.files.why, report.files.read })
    assert.equal(200, status(gateway, "/a"))
    assert.same({ 1, 1 }, { one:requests(), two:requests() })
  end)

  it("warns of a route that can never match, wherever it stands", function()
    local gateway = new { a = route("a"), b = route("b") }
    save(gateway, "a", (route("a"):gsub("path: /a", 'path: "/*"'):gsub("respond", "priority: 9, respond")))

    local report = reload(gateway, "a")

    assert.is_true(report.ok)
    assert.equal(1, report.files.read)
    assert.matches("routes/b.yaml:2:5: warning: routes.b: can never match: route \"a\"", report.text)
  end)

  it("is wrong usage where a file is none of the conf", function()
    local gateway = new { a = route("a") }
    gateway:write("notes.yaml", route("notes"))

    local code, out, err = gateway:run("reload", "routes/a.yaml", "notes.yaml")

    assert.equal(2, code)
    assert.equal("", out)
    assert.matches("/notes.yaml: is no file of this conf; its files are the main one and what include: finds", err)
    assert.equal(1, gateway:status().generation)
    code, out, err = gateway:run("reload", "nowhere/x.yaml")
    assert.equal(2, code)
    assert.equal("", out)
    assert.matches("nowhere/x.yaml: there is no such folder", err)
  end)

  it("is told of on the command line", function()
    local gateway = new { a = route("a"), b = route("b") }
    save(gateway, "a", route("a", "new"))

    local code, out = gateway:run("reload", "routes/a.yaml")

    assert.equal(0, code)
    assert.matches("^generation 2 serves, %d+ ms %(load %d+ ms, 1 of 3 files read%)\n", out)
    assert.matches("routes     changed  a\n", out)
  end)

  it("reads all where the file holds more than routes, and says why", function()
    local gateway = new { a = route("a"), b = route("b") }
    save(gateway, "a", "dns: { timeout: 3s }\n" .. route("a", "new"))

    local code, out = gateway:run("reload", "routes/a.yaml")

    assert.equal(0, code)
    assert.matches("3 of 3 files read", out)
    assert.matches("all files were read: .*a.yaml holds more than routes and upstreams", out)
    assert.equal("new", body(gateway, "/a"))
  end)

  it("looks at all files where more than 256 are named", function()
    local gateway = new { a = route("a"), b = route("b") }
    local names = {}
    for i = 1, 257 do
      names[i] = "a"
    end
    save(gateway, "a", route("a", "new a"))
    save(gateway, "b", route("b", "new b"))

    assert.is_true(reload(gateway, unpack(names, 2)).ok)

    assert.equal("b", body(gateway, "/b"))
    assert.is_true(reload(gateway, unpack(names)).ok)
    assert.equal("new b", body(gateway, "/b"))
  end)

  it("takes absolute names only, and no more than fit on a line", function()
    local gateway = new { a = route("a") }

    local answer = gateway:control("reload", { files = { "routes/a.yaml" } })

    assert.is_false(answer.ok)
    assert.equal('"files": absolute paths are expected', answer.error)
    local names = {}
    for i = 1, 120 do
      names[i] = ("x"):rep(250) .. i
    end
    local code, _, err = gateway:run("reload", unpack(names))
    assert.equal(1, code)
    assert.matches("the names of the files have more than 32768 bytes", err)
    code, _, err = gateway:run("reload", unpack(names, 1, 100))
    assert.equal(2, code)
    assert.matches("is no file of this conf", err)
  end)

  it("takes names through links of folders", function()
    local gateway = new { a = route("a") }
    assert.equal(0, kit.run("/bin/ln", { "-s", gateway.dir .. "/routes", gateway.dir .. "/link" }))
    save(gateway, "a", route("a", "new"))

    local code = gateway:run("reload", "link/a.yaml")

    assert.equal(0, code)
    assert.equal("new", body(gateway, "/a"))
  end)
end)

describe("plugins and a reload of named files", function()
  it("changes the binding of the one file", function()
    local function bound(word)
      return ("routes:\n  - { name: b, match: { path: /b }, plugins: [ { counter: { word: %s } } ], respond: {} }\n")
        :format(word)
    end
    local gateway = new({ a = route("a"), b = bound("x"), c = route("c") },
      { plugins = { counter = COUNTER } })
    assert.equal("x1", body(gateway, "/b"))
    save(gateway, "b", bound("y"))

    local report = reload(gateway, "b")

    assert.is_true(report.ok, report.text)
    assert.same({ "b" }, report.changes.routes.changed)
    assert.equal("y1", body(gateway, "/b"))
    save(gateway, "b", bound("[]"))
    report = reload(gateway, "b")
    assert.is_false(report.ok)
    assert.matches("counter.word: must be", report.text)
    assert.equal("y2", body(gateway, "/b"))
    save(gateway, "b", route("b", "plain"))
    assert.is_true(reload(gateway, "b").ok)
    assert.equal("plain", body(gateway, "/b"))
  end)

  it("keeps the state of instances whose route has another place now", function()
    local gateway = new({ a = route("a"),
      b = "routes:\n  - { name: b, match: { path: /b }, respond: {},\n"
        .. "      plugins: [ { counter: {}, when: \"true\" } ] }\n" },
      { plugins = { counter = COUNTER } })
    assert.equal("n1", body(gateway, "/b"))
    save(gateway, "a", "routes:\n  - { match: { path: /first }, respond: {} }\n" .. route("a"):sub(9))
    save(gateway, "aa", route("aa"))

    local report = reload(gateway, "a", "aa")

    assert.is_true(report.ok, report.text)
    assert.equal(2, report.files.read)
    assert.equal("n2", body(gateway, "/b"))
    assert.equal("aa", body(gateway, "/aa"))
    assert.equal(200, status(gateway, "/first"))
  end)

  it("gives a new route the global ones", function()
    local gateway = new({ a = route("a") },
      { conf = MAIN .. "plugins: [ mark ]\n", plugins = { mark = MARK } })
    save(gateway, "b", route("b"))

    local report = reload(gateway, "b")

    assert.is_true(report.ok, report.text)
    assert.equal(1, report.files.read)
    assert.equal("seen", kit.client(gateway):get("/b").headers["x-mark"])
  end)

  it("loads all when code is named", function()
    local gateway = new({ a = route("a") },
      { conf = MAIN .. "plugins: [ mark ]\n", plugins = { mark = MARK } })
    gateway:write("plugins/mark.lua", (MARK:gsub("seen", "again")))

    local report = gateway:control("reload", { files = { gateway.dir .. "/plugins/mark.lua" } })

    assert.is_true(report.ok, report.text)
    assert.matches("mark.lua is code", report.files.why)
    assert.equal("again", kit.client(gateway):get("/a").headers["x-mark"])
  end)
end)

describe("a reload that names no file", function()
  it("reads only what has changed", function()
    local gateway = new { a = route("a"), b = route("b") }
    -- Times are believed when they are two seconds old: a file may change twice in one tick.
    kit.eventually(function() return gateway:reload().files.read == 0 end, 10)
    save(gateway, "b", route("b", "new"))
    save(gateway, "c", route("c"))
    drop(gateway, "a")

    local report = gateway:reload()

    assert.is_true(report.ok, report.text)
    assert.same({ read = 2, of = 3 }, { read = report.files.read, of = report.files.of })
    assert.same({ added = { "c" }, changed = { "b" }, removed = { "a" } }, report.changes.routes)
    assert.equal("new", body(gateway, "/b"))
    assert.equal("c", body(gateway, "/c"))
  end)

  it("reads a file of the same size and times again, where it is another", function()
    local gateway = new { a = route("a", "one") }
    kit.eventually(function() return gateway:reload().files.read == 0 end, 10)
    local before = gateway.dir .. "/routes/a.yaml"
    save(gateway, "a.yaml.other", route("a", "two"))
    kit.run("/bin/touch", { "-r", before, before .. ".other.yaml" })
    assert(os.rename(before .. ".other.yaml", before))

    local report = gateway:reload()

    assert.is_true(report.ok, report.text)
    assert.equal(1, report.files.read)
    assert.equal("two", body(gateway, "/a"))
  end)

  it("finds that the folder of a route has gone", function()
    local gateway = kit.gateway { conf = MAIN, files = { ["site/index.html"] = "hello",
      ["routes/a.yaml"] = "routes: [ { name: a, match: { path: /a }, files: ../site } ]\n" } }
    kit.eventually(function() return gateway:reload().files.read == 0 end, 10)
    assert.equal(0, kit.run("/bin/rm", { "-r", gateway.dir .. "/site" }))

    local report = gateway:reload()

    assert.is_false(report.ok)
    assert.matches("routes/a.yaml:1:50: .*the folder .*/site: No such file or directory", report.text)
  end)
end)

describe("reloads of single files, again and again", function()
  it("read all when too much of the image is garbage", function()
    local gateway = new { a = route("a"), b = route("b") }
    local full = 0

    for i = 1, 120 do
      save(gateway, "a", route("a", ("%d "):format(i) .. ("x"):rep(2000)))
      local report = reload(gateway, "a")
      assert.is_true(report.ok, report.text)
      if report.files.why ~= gw.json.null then
        assert.matches("garbage", report.files.why)
        full = full + 1
      end
    end

    assert.is_true(full >= 2 and full <= 6, "read all " .. full .. " times")
    assert.matches("^120 x", body(gateway, "/a"))
  end)

  it("that come together are all done", function()
    local gateway = new { a = route("a"), b = route("b"), c = route("c") }
    local reports = {}
    for _, name in ipairs { "a", "b", "c" } do
      save(gateway, name, route(name, "new " .. name))
    end

    for i, name in ipairs { "a", "b", "c" } do
      kit.go(function() reports[i] = reload(gateway, name) end)
    end

    kit.eventually(function() return #reports == 3 end)
    for i, name in ipairs { "a", "b", "c" } do
      assert.is_true(reports[i].ok)
      assert.equal("new " .. name, body(gateway, "/" .. name))
    end
  end)
end)
