local kit = require("gateway.spec")

local CONF = [[
routes:
  - name: closed
    match: { path: "/closed/*" }
    plugins: [ { key-auth: { keys: { alice: alice-key, bob: [ old-key, new-key ] } } } ]
    upstream: ${UPSTREAM}
  - name: open
    match: { path: "/open/*" }
    upstream: ${UPSTREAM}
]]

local function attempt(plugin, headers, query)
  local ctx = kit.ctx { headers = headers, query = query }
  return plugin:access(ctx), ctx
end

describe("key-auth", function()
  local KEYS = { keys = { alice = "alice-key", bob = { "old-key", "new-key" } } }

  it("refuses a request without a key, with a challenge", function()
    local plugin = kit.plugin("key-auth", { keys = { a = "k" }, realm = "our api" })

    local answer = attempt(plugin, {})

    assert.equal(401, answer.status)
    assert.equal('ApiKey realm="our api"', answer.headers["www-authenticate"])
    assert.equal("application/problem+json", answer.headers["content-type"])
  end)

  it("refuses keys that nobody has", function()
    local plugin = kit.plugin("key-auth", KEYS)

    for _, key in ipairs { "wrong", "alice-ke", "alice-key2", "ALICE-KEY", "", "alice-key, old-key",
      "sha256:" .. ("0"):rep(64) } do
      local answer, ctx = attempt(plugin, { ["x-api-key"] = key })
      assert.equal(401, answer and answer.status, key)
      assert.is_nil(ctx.consumer)
    end
  end)

  it("lets in each key of each consumer, and says who it is", function()
    local plugin = kit.plugin("key-auth", KEYS)

    for key, consumer in pairs { ["alice-key"] = "alice", ["old-key"] = "bob", ["new-key"] = "bob" } do
      local answer, ctx = attempt(plugin, { ["X-API-Key"] = key })
      assert.is_nil(answer)
      assert.equal(consumer, ctx.consumer)
      assert.equal(consumer, ctx.request.headers["x-consumer"])
      assert.is_nil(ctx.request.headers["x-api-key"])
    end
  end)

  it("refuses two keys in two fields", function()
    local plugin = kit.plugin("key-auth", KEYS)

    local answer = attempt(plugin, { { "x-api-key", "alice-key" }, { "x-api-key", "old-key" } })

    assert.equal(401, answer.status)
  end)

  it("knows keys by their SHA-256, and does not take the digest for the key", function()
    local digest = gw.crypto.sha256("the secret", "hex")
    local plugin = kit.plugin("key-auth", { keys = { carol = "sha256:" .. digest:upper(), dave = "plain" } })

    local answer, ctx = attempt(plugin, { ["x-api-key"] = "the secret" })
    assert.is_nil(answer)
    assert.equal("carol", ctx.consumer)
    assert.equal(401, (attempt(plugin, { ["x-api-key"] = digest })).status)
    assert.equal(401, (attempt(plugin, { ["x-api-key"] = "sha256:" .. digest })).status)
    assert.is_nil((attempt(plugin, { ["x-api-key"] = "plain" })))
  end)

  it("takes the key from the query where it is told to, and takes it off", function()
    local plugin = kit.plugin("key-auth", { keys = { a = "k 1" }, query = "api_key" })

    local answer, ctx = attempt(plugin, {}, "x=1&api_key=k%201&y=2&x=3")
    assert.is_nil(answer)
    assert.equal("a", ctx.consumer)
    assert.equal("x=1&y=2&x=3", ctx.request.raw_query)

    answer, ctx = attempt(plugin, {}, "api_key=k+1")
    assert.is_nil(answer)
    assert.equal("", ctx.request.raw_query or "")

    assert.equal(401, (attempt(plugin, {}, "api_key=no")).status)
    assert.equal(401, (attempt(plugin, { ["x-api-key"] = "no" }, "api_key=k%201")).status)
  end)

  it("leaves no second key in the query", function()
    local plugin = kit.plugin("key-auth", { keys = { a = "k" }, query = "api_key" })

    local answer, ctx = attempt(plugin, {}, "api_key=k&a=1&api%5Fkey=other&b=%20&c")

    assert.is_nil(answer)
    assert.equal("a=1&b=%20&c", ctx.request.raw_query)
  end)

  it("takes the key off the query too when it came by header", function()
    local plugin = kit.plugin("key-auth", { keys = { a = "k" }, query = "api_key" })

    local answer, ctx = attempt(plugin, { ["x-api-key"] = "k" }, "api_key=k&a=1")

    assert.is_nil(answer)
    assert.equal("a=1", ctx.request.raw_query)
  end)

  it("does not look into the query by itself", function()
    local plugin = kit.plugin("key-auth", KEYS)

    assert.equal(401, (attempt(plugin, {}, "x-api-key=alice-key&api_key=alice-key")).status)
  end)

  it("leaves the key where it is with hide: false", function()
    local plugin = kit.plugin("key-auth", { keys = { a = "k" }, hide = false, header = "x-key", query = "q" })

    local _, ctx = attempt(plugin, { ["x-key"] = "k" })
    assert.equal("k", ctx.request.headers["x-key"])
    _, ctx = attempt(plugin, {}, "q=k")
    assert.equal("q=k", ctx.request.raw_query)
  end)

  it("refuses confs that cannot be meant", function()
    local function fault(conf) return kit.plugin_check("key-auth", conf) end

    assert.matches("a and b have the same key", fault { keys = { a = "same", b = "same" } }, 1, true)
    assert.matches("same key", fault { keys = { a = "sha256:" .. gw.crypto.sha256("k", "hex"), b = "k" } }, 1, true)
    assert.matches("cannot stand in a header", fault { keys = { ["a b"] = "k" } }, 1, true)
    assert.matches("64 hex digits", fault { keys = { a = "sha256:abcd" } }, 1, true)
    assert.matches("keys", fault {})
    assert.matches("keys", fault { keys = gw.json.decode("{}") })
    assert.matches("keys", fault { keys = { a = "" } })
    assert.matches("header", fault { keys = { a = "k" }, header = "a b" })
    assert.matches("hide", fault { keys = { a = "k" }, hide = "yes" })
  end)

  it("tells at load where two consumers have one key", function()
    local gateway = kit.gateway { conf = CONF, env = { UPSTREAM = "http://127.0.0.1:9" } }

    local report = gateway:reload((CONF:gsub("old%-key", "alice-key")))

    assert.is_false(report.ok)
    assert.matches("alice and bob have the same key", gw.json.encode(report), 1, true)
    assert.equal(401, kit.client(gateway):get("/closed/a").status) -- the old conf serves on
  end)
end)

describe("key-auth in a gateway", function()
  local upstream, client

  before_each(function()
    upstream = kit.upstream()
    client = kit.client(kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() } })
  end)

  it("keeps strangers from the upstream", function()
    assert.equal(401, client:get("/closed/a").status)
    assert.equal(401, client:get("/closed/a", { ["x-api-key"] = "no", ["x-consumer"] = "alice" }).status)

    assert.equal(0, upstream:requests())
  end)

  it("tells the upstream who it is, whatever the client says", function()
    local answer = client:get("/closed/a", { ["x-api-key"] = "new-key", ["X-Consumer"] = "alice" })

    assert.equal(200, answer.status)
    assert.equal("bob", upstream:request().headers["x-consumer"])
    assert.is_nil(upstream:request().headers["x-api-key"])
    assert.is_nil(upstream:request().raw:find("new-key", 1, true))
  end)

  it("strips x-consumer from requests to routes without the plugin, too", function()
    local answer = client:get("/open/a", { { "X-Consumer", "alice" }, { "x-consumer", "bob" }, { "x_consumer", "c" } })

    assert.equal(200, answer.status)
    assert.is_nil(upstream:request().headers["x-consumer"])
    assert.is_nil(upstream:request().headers["x_consumer"])
  end)

  it("answers a HEAD without a body", function()
    local answer = client:request { method = "HEAD", path = "/closed/a" }

    assert.equal(401, answer.status)
    assert.equal("", answer.body)
  end)
end)
