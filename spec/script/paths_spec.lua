local kit = require("gateway.spec")

local PAGE = [[
local plugin = { name = "page", priority = 9, schema = { type = "object", properties = {
  paths = { type = "array", items = { type = "string" } } } } }
function plugin.paths(conf) return conf.paths end
function plugin.rewrite(_, ctx) return ctx:exit(200, "page of " .. ctx.request.path) end
return plugin
]]

-- Runs for all requests: the driver is entered, and asks for the path by itself.
local TAG = [[
return { name = "tag", priority = 1,
  rewrite = function(_, ctx) ctx.request.headers["x-tag"] = "on" end,
  access = function(_, ctx) return ctx:exit(200, "tag " .. tostring(ctx.request.headers["x-tag"])) end }
]]

-- What a bound plugin would answer, where no `rewrite` did.
local FALL = [[
return { name = "fall", priority = 5,
  access = function(_, ctx) return ctx:exit(200, "fall " .. tostring(ctx.request.headers["x-by"])) end }
]]

local MOVE = [[
return { name = "move", priority = 20, rewrite = function(_, ctx)
  if ctx.request.path == "/moved" then ctx.request.path = "/own" end
end }
]]

local function answers(conf, paths)
  local gateway = kit.gateway { conf = 'listen: [ { address: "127.0.0.1:0" } ]\n' .. conf,
    files = { ["plugins/page.lua"] = PAGE, ["plugins/tag.lua"] = TAG, ["plugins/fall.lua"] = FALL,
      ["plugins/move.lua"] = MOVE } }
  local client = kit.client(gateway)
  local list = {}
  for i, path in ipairs(paths) do
    local answer = client:get(path)
    list[i] = answer.status == 200 and answer.body or answer.status
  end
  return list
end

describe("paths of a plugin", function()
  it("are the only ones that its rewrite runs for, before the match", function()
    local conf = [[
plugins: [ fall, { page: { paths: [ /own, /own/two ] } } ]
routes:
  - { match: { path: /own }, respond: { status: 204 } }
  - { match: { path: /a/* }, respond: { status: 204 } }
]]

    assert.same({ "page of /own", "page of /own/two", "fall nil", 404, 404, "page of /own" },
      answers(conf, { "/own", "/own/two?x=1", "/a/b", "/own/", "/ow", "/a/../own" }))
  end)

  it("are asked for on a route, and beside plugins that run for every path", function()
    local conf = [[
routes:
  - name: one
    match: { path: /one/* }
    respond: { status: 204 }
    plugins: [ { page: { paths: [ /one/page ] } }, fall ]
  - name: two
    match: { path: /two/* }
    respond: { status: 204 }
    plugins: [ { page: { paths: [ /two/page ] } }, tag ]
]]

    assert.same({ "page of /one/page", "fall nil", "page of /two/page", "tag on" },
      answers(conf, { "/one/page", "/one/x", "/two/page", "/two/x" }))
  end)

  it("mean the path as the plugins before have left it", function()
    local conf = "plugins: [ move, fall, { page: { paths: [ /own ] } } ]\n"
      .. "routes: [ { match: { path: /* }, respond: { status: 204 } } ]\n"

    assert.same({ "page of /own", "fall nil" }, answers(conf, { "/moved", "/x" }))
  end)

  it("of two plugins are each its own", function()
    local conf = "plugins: [ fall, { page: { paths: [ /a ] } }, { id: second, page: { paths: [ /b ] } } ]\n"
      .. "routes: [ { match: { path: /* }, respond: { status: 204 } } ]\n"

    assert.same({ "page of /a", "page of /b", "fall nil" }, answers(conf, { "/a", "/b", "/c" }))
  end)

  it("may be none at all", function()
    local conf = "plugins: [ fall, { page: { paths: [] } } ]\n"
      .. "routes: [ { match: { path: /* }, respond: { status: 204 } } ]\n"

    assert.same({ "fall nil" }, answers(conf, { "/own" }))
  end)
end)
