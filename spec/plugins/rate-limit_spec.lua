local kit = require("gateway.spec")

local SHARED = { shared = { limits = "1m" } }

local function limiter(conf, options)
  return kit.plugin("rate-limit", conf, options or SHARED)
end

--- How many of n requests get through.
local function passed(plugin, n, request)
  local count = 0
  for _ = 1, n do
    if plugin:access(kit.ctx(request)) == nil then
      count = count + 1
    end
  end
  return count
end

describe("rate-limit", function()
  for _, algorithm in ipairs { "token-bucket", "sliding-window" } do
    describe(algorithm, function()
      it("lets through as many as the rate says, and not one more", function()
        local plugin = limiter { rate = "10/m", algorithm = algorithm }

        assert.equal(10, passed(plugin, 30))
      end)

      it("refuses with 429 and says when to come again", function()
        local plugin = limiter { rate = "2/m", algorithm = algorithm }
        passed(plugin, 2)

        local answer = plugin:access(kit.ctx {})

        assert.equal(429, answer.status)
        assert.equal("2", answer.headers["x-ratelimit-limit"])
        assert.equal("0", answer.headers["x-ratelimit-remaining"])
        local wait = tonumber(answer.headers["retry-after"])
        assert.is_true(wait >= 29 and wait <= 60, answer.headers["retry-after"])
        kit.advance(wait)
        assert.equal(1, passed(plugin, 1))
      end)

      it("tells how many are left", function()
        local plugin = limiter { rate = "3/m", algorithm = algorithm }
        for left = 2, 0, -1 do
          local ctx = kit.ctx {}
          assert.is_nil(plugin:access(ctx))
          plugin:header_filter(ctx)
          assert.equal("3", ctx.response.headers["x-ratelimit-limit"])
          assert.equal(tostring(left), ctx.response.headers["x-ratelimit-remaining"])
        end
      end)

      it("tells nothing with headers: false", function()
        local plugin = limiter { rate = "3/m", algorithm = algorithm, headers = false }
        local ctx = kit.ctx {}
        plugin:access(ctx)
        plugin:header_filter(ctx)
        assert.is_nil(ctx.response.headers["x-ratelimit-limit"])
        passed(plugin, 2)
        assert.is_nil(plugin:access(kit.ctx {}).headers["x-ratelimit-limit"])
      end)
    end)
  end

  it("fills a bucket again as time goes, up to its burst", function()
    local plugin = limiter { rate = "10/s", burst = 5 }

    assert.equal(5, passed(plugin, 10))
    kit.advance(0.3)
    assert.equal(3, passed(plugin, 10))
    kit.advance(3600)
    assert.equal(5, passed(plugin, 10))
  end)

  it("counts a window to the request, wherever it begins", function()
    local plugin = limiter { rate = "6/m", algorithm = "sliding-window" }

    assert.equal(4, passed(plugin, 4))
    kit.advance(40)
    assert.equal(2, passed(plugin, 10))
    kit.advance(21) -- the first four have left, the two have not
    assert.equal(4, passed(plugin, 10))
    kit.advance(40)
    assert.equal(2, passed(plugin, 10))
  end)

  it("knows seconds, minutes, hours and days", function()
    for unit, seconds in pairs { s = 1, m = 60, h = 3600, d = 86400 } do
      local plugin = limiter { rate = "2/" .. unit, algorithm = "sliding-window" }
      assert.equal(2, passed(plugin, 3))
      kit.advance(seconds * 0.9)
      assert.equal(0, passed(plugin, 1), unit)
      kit.advance(seconds * 0.11)
      assert.equal(2, passed(plugin, 3), unit)
      plugin:close()
    end
  end)

  describe("by", function()
    it("ip counts each address by itself", function()
      local plugin = limiter { rate = "2/m", by = "ip" }
      assert.equal(2, passed(plugin, 5, { client_ip = "192.0.2.1" }))
      assert.equal(2, passed(plugin, 5, { client_ip = "192.0.2.2" }))
      assert.equal(2, passed(plugin, 5, { client_ip = "2001:db8::1" }))
    end)

    it("consumer counts each by itself, and those without by address", function()
      local plugin = limiter { rate = "2/m", by = "consumer" }
      assert.equal(2, passed(plugin, 5, { consumer = "alice", client_ip = "192.0.2.1" }))
      assert.equal(0, passed(plugin, 5, { consumer = "alice", client_ip = "192.0.2.2" }))
      assert.equal(2, passed(plugin, 5, { consumer = "bob", client_ip = "192.0.2.1" }))
      assert.equal(2, passed(plugin, 5, { client_ip = "192.0.2.1" }))
    end)

    it("consumer does not mix up a consumer with an address of the same text", function()
      local plugin = limiter { rate = "2/m", by = "consumer" }
      assert.equal(2, passed(plugin, 5, { consumer = "192.0.2.1" }))
      assert.equal(2, passed(plugin, 5, { client_ip = "192.0.2.1" }))
    end)

    it("route and global count all together", function()
      for _, by in ipairs { "route", "global" } do
        local plugin = limiter { rate = "3/m", by = by }
        assert.equal(2, passed(plugin, 2, { client_ip = "192.0.2.1", consumer = "a" }))
        assert.equal(1, passed(plugin, 5, { client_ip = "192.0.2.2" }), by)
        plugin:close()
      end
    end)

    it("header counts each value by itself, and those without by address", function()
      local plugin = limiter { rate = "2/m", by = "header", header = "X-Tenant" }
      assert.equal(2, passed(plugin, 5, { headers = { ["x-tenant"] = "a" } }))
      assert.equal(2, passed(plugin, 5, { headers = { ["x-tenant"] = "b" } }))
      assert.equal(2, passed(plugin, 5))
      -- Values without end do not get past: they count by address.
      assert.equal(0, passed(plugin, 5, { headers = { ["x-tenant"] = ("x"):rep(257) } }))
    end)
  end)

  it("gives some consumers other rates, however they are counted", function()
    local conf = { rate = "2/m", by = "consumer",
      consumers = { alice = { rate = "5/m" }, carol = { rate = "1/m", burst = 3 } } }
    local plugin = limiter(conf)

    assert.equal(5, passed(plugin, 9, { consumer = "alice" }))
    assert.equal(2, passed(plugin, 9, { consumer = "bob" }))
    assert.equal(3, passed(plugin, 9, { consumer = "carol" }))
  end)

  it("counts uses of one name together, others apart", function()
    local one = limiter { rate = "3/m", name = "both" }
    local two = limiter { rate = "3/m", name = "both" }
    local own = limiter { rate = "3/m" }

    assert.equal(2, passed(one, 2))
    assert.equal(1, passed(two, 5))
    assert.equal(3, passed(own, 5))
  end)

  for on_full, status in pairs { allow = false, refuse = 503 } do
    it(("on_full: %s when the dictionary cannot count"):format(on_full), function()
      -- What is never evicted fills a small dictionary at once.
      local plugin = limiter({ rate = "1/m", by = "header", header = "x", on_full = on_full,
        dictionary = "small" }, { shared = { small = { size = "64k", evict = "never" } } })
      while gw.shared.small:set("fill-" .. gw.uuid(), ("x"):rep(200)) do end
      while gw.shared.small:set("f" .. gw.uuid(), "x") do end

      local answer = plugin:access(kit.ctx { headers = { x = "new-one" } })
      if status then
        assert.equal(503, answer.status)
      else
        assert.is_nil(answer)
      end
    end)
  end

  it("keeps its counts over a change of its conf, under a name", function()
    local plugin = limiter { rate = "5/h", algorithm = "sliding-window", name = "kept" }
    passed(plugin, 4)

    plugin:reload { rate = "6/h", algorithm = "sliding-window", name = "kept" }

    assert.equal(2, passed(plugin, 5))
  end)

  it("refuses confs that cannot be meant", function()
    local function fault(conf) return kit.plugin_check("rate-limit", conf, SHARED) end

    for _, rate in ipairs { "10", "0/s", "10/w", "-1/s", "1.5/s", "/s", "", "1000000000/s" } do
      assert.matches("rate", fault { rate = rate })
    end
    assert.matches("rate", fault {})
    assert.matches("burst", fault { rate = "1/s", burst = 0 })
    assert.matches("header", fault { rate = "1/s", by = "header" })
    assert.matches("by", fault { rate = "1/s", by = "moon" })
    assert.matches("consumers", fault { rate = "1/s", consumers = { a = { burst = 2 } } })
    assert.matches("nowhere", fault { rate = "1/s", dictionary = "nowhere" })
    assert.matches("burst", fault { rate = "1/s", burst = 3, algorithm = "sliding-window" })
  end)
end)

describe("rate-limit in a gateway", function()
  local CONF = [[
shared: { limits: 4m }
routes:
  - name: limited
    match: { path: "/limited" }
    plugins: [ { rate-limit: { rate: %s, algorithm: %s, name: n } } ]
    respond: { status: 200, body: "in" }
]]

  --- n requests at once, each on a connection of its own; counts by status.
  local function burst(client, n)
    local conns, statuses = {}, {}
    for i = 1, n do
      conns[i] = client:connect()
    end
    for i = 1, n do
      conns[i]:write("GET /limited HTTP/1.1\r\nHost: a\r\n\r\n")
    end
    for i = 1, n do
      local status = conns[i]:read_answer().status
      statuses[status] = (statuses[status] or 0) + 1
      conns[i]:close()
    end
    return statuses
  end

  for _, algorithm in ipairs { "token-bucket", "sliding-window" } do
    it(algorithm .. " is exact over two workers and 50 requests at once", function()
      local gateway = kit.gateway { conf = CONF:format("20/h", algorithm), workers = 2 }
      local client = kit.client(gateway)

      assert.same({ [200] = 20, [429] = 30 }, burst(client, 50))

      local busy = 0
      for _, worker in ipairs(gateway:status().workers) do
        busy = busy + (worker.requests > 0 and 1 or 0)
      end
      assert.equal(2, busy) -- else this has shown nothing
      gateway:advance(3601 * 1000)
      assert.same({ [200] = 20, [429] = 5 }, burst(client, 25))
    end)

    it(algorithm .. " survives a reload and a killed worker", function()
      local conf = CONF:format("10/h", algorithm)
      local gateway = kit.gateway { conf = conf, workers = 2 }
      local client = kit.client(gateway)
      assert.same({ [200] = 4 }, burst(client, 4))

      local more = "  - { name: new, match: { path: /new }, respond: { status: 204 } }\n"
      assert.is_true(gateway:reload(conf .. more).ok)
      assert.same({ [200] = 3 }, burst(client, 3))
      local pids = gateway:worker_pids()
      for _, pid in ipairs(pids) do
        gateway:signal("KILL", pid)
      end
      kit.eventually(function()
        local now = gateway:worker_pids()
        assert.equal(2, #now)
        for _, pid in ipairs(now) do
          assert.is_true(pid ~= pids[1] and pid ~= pids[2])
        end
      end)

      assert.same({ [200] = 3, [429] = 5 }, burst(client, 8))
    end)
  end

  it("refuses a conf whose dictionary is not there", function()
    local gateway = kit.gateway { fails = true, conf = [[
routes:
  - { name: r, match: { path: / }, plugins: [ { rate-limit: { rate: 1/s } } ], respond: { status: 204 } }
]] }

    assert.matches("limits", gateway:log(), 1, true)
  end)
end)
