local kit = require("gateway.spec")

local jwt, crypto = gw.jwt, gw.crypto

describe("gw.jwt.remote", function()
  local server, key, other

  local function set_of(...)
    local keys = {}
    for i, one in ipairs { ... } do
      keys[i] = one:jwk()
      keys[i].kid = one == key and "one" or "two"
    end
    return gw.json.encode { keys = gw.json.array(keys) }
  end

  local function answer(body, headers, status)
    server:answer { status = status or 200, headers = headers or {}, body = body }
  end

  local function token_of(one, kid)
    return assert(jwt.sign({ sub = "a" }, one, { kid = kid or (one == key and "one" or "two") }))
  end

  local function fails(code, text, value, err, its)
    assert.is_nil(value)
    assert.matches(text, err, 1, true)
    assert.equal(code, its, err)
  end

  before_each(function()
    server = kit.upstream()
    key, other = crypto.generate_key("P-256"), crypto.generate_key("P-256")
  end)

  it("fetches once for all who wait", function()
    server:answer(function()
      gw.sleep(0.05)
      return { status = 200, body = set_of(key) }
    end)
    local keys, token, good = jwt.remote(server:url("/jwks")), token_of(key), 0
    for _ = 1, 50 do
      kit.go(function()
        assert.equal("a", keys:verify(token).sub)
        good = good + 1
      end)
    end

    kit.eventually(function()
      return good == 50
    end)

    assert.equal(1, server:requests())
    assert.equal("/jwks", server:request().path)
  end)

  it("keeps keys as long as Cache-Control says, and uses old ones while it asks again", function()
    answer(set_of(key), { ["Cache-Control"] = "public, max-age=60" })
    local keys = jwt.remote(server:url())
    assert(keys:verify(token_of(key)))
    kit.advance(59)
    assert(keys:verify(token_of(key)))
    assert.equal(1, server:requests())

    kit.advance(2)
    answer(set_of(other), { ["Cache-Control"] = "max-age=60" })
    assert(keys:verify(token_of(key)))

    local token = token_of(key)
    kit.eventually(function()
      return server:requests() == 2
    end)
    kit.eventually(function()
      return keys:verify(token) == nil -- the key has been taken away, remembered tokens too
    end)
    assert(keys:verify(token_of(other)))
    assert.equal(2, server:requests())
  end)

  it("holds the age within its limits", function()
    answer(set_of(key), { ["Cache-Control"] = "no-store" })
    local keys = jwt.remote(server:url(), { age_min = 30, age_max = 600, stale = 0 })
    assert(keys:verify(token_of(key)))
    assert(keys:verify(token_of(key)))
    assert.equal(1, server:requests())
    kit.advance(31)
    answer(set_of(key), { ["Cache-Control"] = "max-age=99999999" })
    assert(keys:verify(token_of(key)))
    assert.equal(2, server:requests())
    kit.advance(601)
    assert(keys:verify(token_of(key)))
    assert.equal(3, server:requests())
    local always = jwt.remote(server:url(), { age_min = 0, age_max = 0, stale = 0 })
    assert(always:verify(token_of(key)))
    assert(always:verify(token_of(key)))
    assert.equal(5, server:requests())
  end)

  it("remembers a failure for a while", function()
    answer("no", {}, 500)
    local keys = jwt.remote(server:url(), { retry = 10 })
    for _ = 1, 5 do
      fails("protocol", "500", keys:verify(token_of(key)))
    end
    assert.equal(1, server:requests())

    kit.advance(11)
    answer(set_of(key))
    assert(keys:verify(token_of(key)))
    assert.equal(2, server:requests())
  end)

  it("goes on with old keys while the other side is down, but not for ever", function()
    answer(set_of(key), { ["Cache-Control"] = "max-age=60" })
    local keys = jwt.remote(server:url(), { stale = 600, retry = 1 })
    assert(keys:verify(token_of(key)))
    answer("down", {}, 503)
    kit.advance(300)
    assert(keys:verify(token_of(key)))
    kit.advance(400)
    fails("protocol", "503", keys:verify(token_of(key)))
  end)

  it("asks again for a kid that is new, and seldom for strangers'", function()
    answer(set_of(key))
    local keys = jwt.remote(server:url(), { miss = 30 })
    assert(keys:verify(token_of(key)))
    kit.advance(2)
    answer(set_of(key, other))
    assert(keys:verify(token_of(other)))
    assert.equal(2, server:requests())

    for i = 1, 20 do
      fails("invalid", "no key with this kid", keys:verify(token_of(other, "stranger" .. i)))
    end
    assert.equal(2, server:requests())
    kit.advance(31)
    for i = 1, 20 do
      fails("invalid", "no key with this kid", keys:verify(token_of(other, "stranger" .. i)))
    end
    assert.equal(3, server:requests())
    -- Another alg is no miss.
    kit.advance(31)
    fails("invalid", "alg", keys:verify(token_of(crypto.generate_key("Ed25519"), "one")))
    assert.equal(3, server:requests())
  end)

  it("refuses what is no set of public keys", function()
    local cases = {
      { "invalid", "json", "{" }, { "invalid", "expected", "[]" }, { "invalid", "no key", '{"keys":[]}' },
      { "invalid", "secret", '{"keys":[{"kty":"oct","k":"' .. gw.base64.encode_url(("s"):rep(32)) .. '"}]}' },
      { "limit", "", (" "):rep(300000) .. set_of(key) },
      { "protocol", "302", "", { Location = "/other" }, 302 },
    }
    for _, case in ipairs(cases) do
      answer(case[3], case[4], case[5])
      fails(case[1], case[2], jwt.remote(server:url()):verify(token_of(key)))
    end
    server:stop()
    fails("refused", "", jwt.remote(server:url()):verify(token_of(key)))
  end)

  it("gives up on a server that says nothing", function()
    server:on(function(conn)
      conn:read_head()
      gw.sleep(5)
    end)
    local keys = jwt.remote(server:url(), { timeout = 0.2 })
    local from = gw.time.real()

    fails("timeout", "", keys:verify(token_of(key)))

    assert.is_true(gw.time.real() - from < 1500)
  end)

  it("serves the others when the client that asked first has left", function()
    local open
    server:answer(function()
      kit.eventually(function()
        return open
      end)
      return { status = 200, body = set_of(key) }
    end)
    local gateway = kit.gateway {
      conf = ([[
routes:
  - name: a
    match: { path: /a }
    plugins: [ guard: { url: "%s" } ]
    respond: { status: 204 }
]]):format(server:url()),
      plugins = { guard = [[
return { name = "guard", priority = 1,
  schema = { type = "object", properties = { url = { type = "string", description = "Where the keys are." } } },
  init = function(conf) return gw.jwt.remote(conf.url) end,
  access = function(_, ctx)
    local claims, err = ctx.state:verify(ctx.request.headers.authorization)
    return ctx:exit(claims and 200 or 401, claims and claims.sub or err)
  end }]] },
      workers = 1,
    }
    local client = gateway:client()
    local first, second = client:connect(), client:connect()
    local request = "GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: " .. token_of(key) .. "\r\n\r\n"
    first:write(request)
    kit.eventually(function()
      return server:requests() == 1
    end)
    second:write(request)
    first:close()
    gw.sleep(0.05)
    open = true

    local answered = second:read_answer()
    assert.equal(200, answered.status, answered.body)
    assert.equal("a", answered.body)
    assert.equal(1, server:requests())
  end)
end)
