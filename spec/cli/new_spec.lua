local kit = require("gateway.spec")
local native = require("gateway.spec.native")

describe("moongate new plugin", function()
  local dir

  before_each(function() dir = native.folder() end)
  after_each(function() native.remove(dir) end)

  local function run(...)
    return kit.run(kit.program, { ... }, { cwd = dir })
  end

  it("writes a plugin whose spec passes", function()
    local code, out = run("new", "plugin", "my-thing")
    local spec_code, spec = run("spec")

    assert.equal(0, code)
    assert.matches("plugins/my%-thing%.lua", out)
    assert.matches("spec/plugins/my%-thing_spec%.lua", out)
    assert.equal(0, spec_code, spec)
    assert.matches("\n[1-9]%d* passed, 0 failed\n$", spec)
  end)

  it("prints a line of conf that works", function()
    local _, out = run("new", "plugin", "my-thing")
    local line = out:match("\n%s*(plugins: %[.-%])\n")
    local file = assert(io.open(dir .. "/plugins/my-thing.lua"))
    local source = file:read("*a")
    file:close()

    local gateway = kit.gateway { plugins = { ["my-thing"] = source }, conf = line .. [[

routes: [ { name: a, match: { path: /a }, respond: { status: 204 } } ]
]] }

    assert.equal("hello", kit.client(gateway):get("/a").headers["x-my-thing"])
  end)

  it("writes into another folder", function()
    local code = run("new", "plugin", "my-thing", "--dir", "deep/er")

    assert.equal(0, code)
    assert.equal("file", native.kind(dir .. "/deep/er/plugins/my-thing.lua"))
    assert.equal("file", native.kind(dir .. "/deep/er/spec/plugins/my-thing_spec.lua"))
  end)

  it("overwrites nothing", function()
    native.mkdir(dir .. "/plugins")
    local file = assert(io.open(dir .. "/plugins/mine.lua", "w"))
    file:write("precious")
    file:close()

    local code, _, err = run("new", "plugin", "mine")

    assert.equal(1, code)
    assert.matches("plugins/mine%.lua.*: nothing was written", err)
    assert.is_nil(native.kind(dir .. "/spec/plugins/mine_spec.lua"))
    file = assert(io.open(dir .. "/plugins/mine.lua"))
    assert.equal("precious", file:read("*a"))
    file:close()
  end)

  it("refuses names that are none", function()
    for _, name in ipairs { "Bad", "a b", "../a", "a/b", "", "-a", "a--b", ("a"):rep(65) } do
      assert.equal(2, (run("new", "plugin", name)), name)
    end
    assert.equal(2, (run("new", "plugin")))
    assert.equal(2, (run("new", "thing", "a")))
    assert.is_nil(native.kind(dir .. "/plugins"))
  end)
end)
