local kit = require("gateway.spec")

local CONF = [[
plugins: [ metrics ]
routes:
  - { name: up, match: { path: "/up" }, upstream: "${UPSTREAM}" }
  - { name: "here", match: { path: "/here" }, respond: { status: 201, body: "12345" } }
]]

--- { ['name{labels}'] = number }
local function samples(text)
  local map = {}
  for line in text:gmatch("[^\n]+") do
    local name, value = line:match("^([^#].*) (%S+)$")
    if name then
      map[name] = tonumber(value)
    end
  end
  return map
end

local function page(client)
  local answer = client:get("/metrics")
  assert.equal(200, answer.status)
  return answer.body
end

describe("metrics", function()
  it("shows its page to those who may see it, and nothing to others", function()
    local plugin = kit.plugin("metrics", { allow = { "10.0.0.1" }, path = "/m" })

    local answer = plugin:rewrite(kit.ctx { path = "/m", client_ip = "10.0.0.1" })
    assert.equal(200, answer.status)
    assert.equal("text/plain; version=0.0.4; charset=utf-8", answer.headers["content-type"])
    assert.is_nil(plugin:rewrite(kit.ctx { path = "/m", client_ip = "10.0.0.2" }))
    assert.is_nil(plugin:rewrite(kit.ctx { path = "/metrics", client_ip = "10.0.0.1" }))
    assert.is_nil(plugin:rewrite(kit.ctx { path = "/m/x", client_ip = "10.0.0.1" }))
  end)

  it('shows it to everybody with allow: ["*"]', function()
    local plugin = kit.plugin("metrics", { allow = { "*" } })

    assert.equal(200, plugin:rewrite(kit.ctx { path = "/metrics", client_ip = "192.0.2.1" }).status)
  end)

  it("refuses confs that cannot be meant", function()
    assert.matches("path", kit.plugin_check("metrics", { path = "metrics" }))
    assert.matches("buckets", kit.plugin_check("metrics", { buckets = { 0 } }))
    assert.matches("buckets", kit.plugin_check("metrics", { buckets = gw.json.array({}) }))
    assert.is_string(kit.plugin_check("metrics", { buckets = { 2, 1 } }))
  end)
end)

describe("metrics in a gateway", function()
  it("counts to the request over two workers", function()
    local upstream = kit.upstream()
    upstream:answer { body = ("u"):rep(100) }
    local gateway = kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() }, workers = 2 }
    local client = kit.client(gateway)

    for i = 1, 60 do
      assert.equal(200, client:request { path = "/up", body = ("b"):rep(i) }.status)
      assert.equal(201, client:get("/here").status)
      assert.equal(404, client:get("/nowhere").status)
    end

    -- Counted after the answer has left, in whichever worker it was.
    local seen
    kit.eventually(function()
      seen = samples(page(client))
      assert.equal(60, seen['moongate_requests_total{route="up",status="200"}'])
      assert.equal(60, seen['moongate_requests_total{route="here",status="201"}'])
      assert.equal(60, seen['moongate_requests_total{route="none",status="404"}'])
    end)
    assert.equal(60 * 61 / 2, seen['moongate_request_body_bytes_total{route="up"}'])
    assert.equal(6000, seen['moongate_response_body_bytes_total{route="up"}'])
    assert.equal(300, seen['moongate_response_body_bytes_total{route="here"}'])
    assert.equal(60, seen['moongate_request_duration_seconds_count{route="up"}'])
    assert.equal(60, seen['moongate_request_duration_seconds_bucket{route="up",le="+Inf"}'])
    local busy = 0
    for _, worker in ipairs(gateway:status().workers) do
      busy = busy + (worker.requests > 0 and 1 or 0)
    end
    assert.equal(2, busy) -- else this has shown nothing
  end)

  it("keeps its counts over a reload and a killed worker", function()
    local gateway = kit.gateway { conf = CONF, env = { UPSTREAM = "http://127.0.0.1:9" } }
    local client = kit.client(gateway)
    local name = 'moongate_requests_total{route="here",status="201"}'
    for _ = 1, 5 do client:get("/here") end
    kit.eventually(function() assert.equal(5, samples(page(client))[name]) end)

    assert.is_true(gateway:reload(CONF .. "  - { name: more, match: { path: /more }, respond: { status: 204 } }\n").ok)
    local pid = gateway:worker_pids()[1]
    gateway:signal("KILL", pid)
    kit.eventually(function() assert.not_equal(pid, gateway:worker_pids()[1]) end)
    kit.eventually(function() assert.equal(201, client:get("/here").status) end)

    kit.eventually(function() assert.equal(6, samples(page(client))[name]) end)
  end)

  it("has a sum that is the time that the requests took, and buckets that rise", function()
    local upstream = kit.upstream()
    upstream:answer(function()
      gw.sleep(0.03)
      return { body = "" }
    end)
    local gateway = kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() } }
    local client = kit.client(gateway)
    local before = kit.now()
    for _ = 1, 5 do client:get("/up") end
    local took = kit.now() - before

    local seen
    kit.eventually(function()
      seen = samples(page(client))
      assert.equal(5, seen['moongate_request_duration_seconds_count{route="up"}'])
    end)
    local sum = seen['moongate_request_duration_seconds_sum{route="up"}']
    assert.is_true(sum >= 0.14 and sum <= took + 0.01, ("sum %g, took %g"):format(sum, took))
    local last = 0
    for _, le in ipairs { "0.001", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5",
      "10", "+Inf" } do
      local count = seen[('moongate_request_duration_seconds_bucket{route="up",le="%s"}'):format(le)]
      assert.is_true(count >= last, le)
      last = count
    end
    assert.equal(0, seen['moongate_request_duration_seconds_bucket{route="up",le="0.025"}'])
    assert.equal(5, last)
  end)

  it("is what promtool calls right, with odd names in it, too", function()
    local gateway = kit.gateway { conf = ([[
plugins: [ metrics ]
routes:
  - { name: '%s', match: { path: /odd }, respond: { status: 200, body: x } }
]]):format('a"b\\c') }
    local client = kit.client(gateway)
    client:get("/odd")
    kit.eventually(function() assert.is_truthy(page(client):find('route="a\\"b\\\\c"', 1, true)) end)

    local code, out, err = kit.run("promtool", { "check", "metrics" }, { stdin = page(client) })

    assert.equal(0, code, out .. err)
  end)

  it("answers other addresses with 404", function()
    local gateway = kit.gateway { conf = (CONF:gsub("%[ metrics %]", '[ { metrics: { allow: [ "192.0.2.1" ] } } ]')),
      env = { UPSTREAM = "http://127.0.0.1:9" } }

    assert.equal(404, kit.client(gateway):get("/metrics").status)
    assert.equal(404, kit.client(gateway):get("/metrics", { ["X-Forwarded-For"] = "192.0.2.1" }).status)
  end)
end)
