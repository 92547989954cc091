local kit = require("gateway.spec")

describe("headers", function()
  it("removes, sets and adds on the request", function()
    local plugin = kit.plugin("headers", { request = {
      remove = { "X-Debug", "x-none" }, set = { ["X-Env"] = "prod" }, add = { ["X-Tag"] = "b" } } })
    local ctx = kit.ctx { headers = { ["x-debug"] = { "1", "2" }, ["x-env"] = { "test", "dev" }, ["x-tag"] = "a" } }

    assert.is_nil(plugin:access(ctx))

    assert.is_nil(ctx.request.headers["x-debug"])
    assert.same({ "prod" }, ctx.request.headers:all("x-env"))
    assert.same({ "a", "b" }, ctx.request.headers:all("x-tag"))
  end)

  it("removes, sets and adds on the answer", function()
    local plugin = kit.plugin("headers", { response = {
      remove = { "server" }, set = { ["x-a"] = "1" }, add = { ["Set-Cookie"] = "b=2" } } })
    local ctx = kit.ctx { response = { headers = { Server = "apache", ["X-A"] = "0", ["Set-Cookie"] = "a=1" } } }

    plugin:header_filter(ctx)

    assert.is_nil(ctx.response.headers.server)
    assert.equal("1", ctx.response.headers["x-a"])
    assert.same({ "a=1", "b=2" }, ctx.response.headers:all("set-cookie"))
  end)

  it("does first what takes away, then what sets, then what adds", function()
    local plugin = kit.plugin("headers", { request = {
      remove = { "x-a" }, set = { ["x-a"] = "1" }, add = { ["x-a"] = "2" } } })
    local ctx = kit.ctx { headers = { ["x-a"] = "0" } }

    plugin:access(ctx)

    assert.same({ "1", "2" }, ctx.request.headers:all("x-a"))
  end)

  it("does nothing with an empty conf", function()
    local plugin = kit.plugin("headers", {})
    local ctx = kit.ctx { headers = { a = "1" } }

    assert.is_nil(plugin:access(ctx))
    plugin:header_filter(ctx)

    assert.equal("1", ctx.request.headers.a)
  end)

  it("refuses at load what could not be sent", function()
    local bad = {
      { set = { ["x-a"] = "1\r\nx-b: 2" } }, { set = { ["x-a"] = "1\nx" } }, { add = { ["x-a"] = "\0" } },
      { add = { ["x-a"] = "a\127" } }, { set = { ["x a"] = "1" } }, { set = { ["x-a:"] = "1" } },
      { add = { ["x-a\r\n"] = "1" } }, { set = { [""] = "1" } }, { remove = { "x a" } },
      { remove = { "x\r\ny" } }, { remove = { "" } },
    }
    for _, part in ipairs(bad) do
      assert.is_string(kit.plugin_check("headers", { request = part }), gw.json.encode(part))
      assert.is_string(kit.plugin_check("headers", { response = part }), gw.json.encode(part))
    end
  end)

  it("refuses at load what frames a message", function()
    for _, name in ipairs { "Content-Length", "transfer-encoding", "Connection", "upgrade" } do
      assert.matches(name, kit.plugin_check("headers", { request = { set = { [name] = "1" } } }), 1, true)
      assert.matches(name, kit.plugin_check("headers", { response = { add = { [name] = "1" } } }), 1, true)
      assert.matches(name, kit.plugin_check("headers", { response = { remove = { name } } }), 1, true)
    end
  end)
end)

describe("headers in a gateway", function()
  local CONF = [[
plugins:
  - headers: { response: { set: { x-frame: deny }, remove: [ x-powered-by ] } }
routes:
  - name: up
    match: { path: "/up" }
    upstream: ${UPSTREAM}
    plugins:
      - headers: { request: { set: { x-env: prod }, remove: [ x-debug ] }, response: { set: { x-frame: own } } }
        id: own
  - { name: down, match: { path: "/down" }, upstream: "http://127.0.0.1:9", retries: 0 }
  - { name: here, match: { path: "/here" }, respond: { status: 200, body: "here" } }
]]
  local upstream, client

  before_each(function()
    upstream = kit.upstream()
    client = kit.client(kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() } })
  end)

  it("changes what the upstream and the client get", function()
    upstream:answer { headers = { ["X-Powered-By"] = "php" }, body = "x" }

    local answer = client:get("/up", { ["X-Debug"] = "1", ["X-Env"] = "evil" })

    assert.equal("prod", upstream:request().headers["x-env"])
    assert.is_nil(upstream:request().headers["x-debug"])
    assert.is_nil(answer.headers["x-powered-by"])
  end)

  it("changes answers of the gateway's own", function()
    for path, status in pairs { ["/nowhere"] = 404, ["/down"] = 502, ["/here"] = 200 } do
      local answer = client:get(path)
      assert.equal(status, answer.status)
      assert.equal("deny", answer.headers["x-frame"], path)
    end
  end)

  it("refuses a reload that would break lines", function()
    local gateway = kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() } }

    local report = gateway:reload((CONF:gsub("x%-frame: deny", [["x-frame": "deny\r\nx-evil: 1"]])))

    assert.is_false(report.ok)
    assert.matches("x-frame", gw.json.encode(report), 1, true)
  end)
end)
