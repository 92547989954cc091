local kit = require("gateway.spec")

local UUID = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

describe("correlation-id", function()
  local function rewrite(conf, headers)
    local plugin = kit.plugin("correlation-id", conf)
    local ctx = kit.ctx { headers = headers }
    assert.is_nil(plugin:rewrite(ctx))
    return ctx, plugin
  end

  it("makes an id where there is none", function()
    local ctx = rewrite({}, {})
    local other = rewrite({}, {})

    assert.matches(UUID, ctx.id)
    assert.equal(ctx.id, ctx.request.headers["x-correlation-id"])
    assert.not_equal(ctx.id, other.id)
  end)

  it("takes over a good one", function()
    for _, id in ipairs { "a", "A.b_c:1/2+3=4-5", ("x"):rep(128) } do
      local ctx = rewrite({}, { ["X-Correlation-ID"] = id })
      assert.equal(id, ctx.id)
      assert.equal(id, ctx.request.headers["x-correlation-id"])
    end
  end)

  it("replaces a bad one", function()
    for _, id in ipairs { "", " ", "a b", ("x"):rep(129), "<script>", "a,b", "\"quoted\"", "\\n", "é", "a;b" } do
      local ctx = rewrite({}, { ["x-correlation-id"] = id })
      assert.matches(UUID, ctx.id, nil, nil, id)
      assert.equal(ctx.id, ctx.request.headers["x-correlation-id"])
    end
  end)

  it("replaces two of them by one", function()
    local ctx = rewrite({}, { { "x-correlation-id", "one" }, { "x-correlation-id", "two" } })

    assert.matches(UUID, ctx.id)
    assert.same({ ctx.id }, ctx.request.headers:all("x-correlation-id"))
  end)

  it("takes none over with accept: false", function()
    local ctx = rewrite({ accept = false }, { ["x-correlation-id"] = "mine" })

    assert.matches(UUID, ctx.id)
    assert.equal(ctx.id, ctx.request.headers["x-correlation-id"])
  end)

  it("uses the header that it is told", function()
    local ctx, plugin = rewrite({ header = "X-Request-ID" }, { ["x-request-id"] = "r1" })

    assert.equal("r1", ctx.id)
    plugin:header_filter(ctx)
    assert.equal("r1", ctx.response.headers["x-request-id"])
  end)

  it("keeps silent to the client with echo: false", function()
    local ctx, plugin = rewrite({ echo = false }, {})

    plugin:header_filter(ctx)

    assert.is_nil(ctx.response.headers["x-correlation-id"])
  end)

  it("refuses a header that none could be", function()
    assert.matches("header", kit.plugin_check("correlation-id", { header = "a b" }))
    assert.matches("header", kit.plugin_check("correlation-id", { header = "" }))
  end)
end)

describe("correlation-id in a gateway", function()
  local CONF = [[
plugins: [ correlation-id ]
routes:
  - { name: up, match: { path: "/up" }, upstream: "${UPSTREAM}" }
  - { name: down, match: { path: "/down" }, upstream: "http://127.0.0.1:9", retries: 0 }
  - { name: bad, match: { path: "/bad" }, plugins: [ fails ], respond: { status: 200, body: "" } }
]]
  local FAILS = [[
local plugin = { name = "fails", priority = 10, schema = { type = "object" } }
function plugin.access() error("this plugin fails") end
return plugin
]]
  local upstream, gateway, client

  before_each(function()
    upstream = kit.upstream()
    gateway = kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() }, plugins = { fails = FAILS } }
    client = kit.client(gateway)
  end)

  it("joins client, gateway and upstream", function()
    local answer = client:get("/up", { ["x-correlation-id"] = "from-the-client.1" })

    assert.equal("from-the-client.1", answer.headers["x-correlation-id"])
    assert.equal("from-the-client.1", upstream:request().headers["x-correlation-id"])
  end)

  it("makes one for those who bring none", function()
    local answer = client:get("/up")

    assert.matches(UUID, answer.headers["x-correlation-id"])
    assert.equal(answer.headers["x-correlation-id"], upstream:request().headers["x-correlation-id"])
  end)

  it("sends one header only, whatever the upstream says", function()
    upstream:answer { headers = { ["X-Correlation-Id"] = "of-the-upstream" }, body = "" }

    local answer = client:get("/up", { ["x-correlation-id"] = "mine" })

    assert.equal("mine", answer.headers["x-correlation-id"])
  end)

  it("stands in answers of the gateway's own, in the head and in the body", function()
    for path, status in pairs { ["/nowhere"] = 404, ["/down"] = 502, ["/bad"] = 500 } do
      local answer = client:get(path, { ["x-correlation-id"] = "e-1" })
      assert.equal(status, answer.status)
      assert.equal("e-1", answer.headers["x-correlation-id"], path)
      assert.equal("e-1", gw.json.decode(answer.body).id, path)
    end
  end)

  it("stands in the log of the gateway", function()
    client:get("/bad", { ["x-correlation-id"] = "find-me.7" })

    gateway:wait_log("request find-me.7")
  end)
end)
