--- 500 reloads, conf and plugin code changing, while wrk asks as fast as it can: nothing fails, a
--- stream goes on from before the first to behind the last, nothing grows.
local kit = require("gateway.spec")
local native = require("gateway.spec.native")

local RELOADS = 500

local PLUGIN = [[
local plugin = { name = "marker", priority = 1, schema = { type = "object", properties = {
  word = { type = "string", default = "one" },
} } }
function plugin.init(conf, old) return { calls = old and old.calls or 0 } end
function plugin.access(conf, ctx)
  ctx.state.calls = ctx.state.calls + 1
  ctx.request.headers["x-word"] = conf.word
end
return plugin
]]

local function conf(i)
  return ([[
shared: { counts: %dm }
listen:
  - { name: public, address: "127.0.0.1:0" }
  - { name: "extra%d", address: "127.0.0.1:0" }
routes:
  - { name: stream, match: { path: /stream }, upstream: "${UPSTREAM}" }
  - { name: fine, match: { path: /fine }, plugins: [ { marker: { word: "w%d" } } ],
      respond: { status: 200, body: "fine\n" } }
  - { name: "route%d", match: { path: /r%d }, respond: { status: 204 } }
]]):format(1 + i % 3, i % 2, i, i, i)
end

local function descriptors(pid) return #native.entries(("/proc/%d/fd"):format(pid)) end

describe(RELOADS .. " reloads under load", function()
  it("fail no request, cut no stream, and leave nothing behind", function()
    local upstream = kit.upstream()
    local written, over = 0, false
    upstream:on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
      while not over do
        conn:write("5\r\nevent\r\n")
        written = written + 1
        gw.sleep(0.02)
      end
      conn:write("0\r\n\r\n")
    end)
    local gateway = kit.gateway { conf = conf(0), plugins = { marker = PLUGIN }, workers = 2,
      env = { UPSTREAM = upstream:url() } }
    local stream = kit.client(gateway):connect()
    stream:write("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    stream:read_head()
    local streamed = ""
    kit.go(function() streamed = stream:read_until("0\r\n\r\n", 600) end)
    -- wrk counts what fails; every tenth of its connections closes after each answer.
    local wrk = kit.start("wrk", { "-t1", "-c20", "-d600s", gateway:url("/fine") })
    local fresh_failed, fresh = {}, 0
    local stop = false
    kit.go(function()
      while not stop do
        local ok, answer = pcall(function() return kit.client(gateway):get("/fine") end)
        fresh = fresh + 1
        if not ok or answer.status ~= 200 then
          fresh_failed[#fresh_failed + 1] = ok and answer.status or tostring(answer)
        end
        gw.sleep(0.002)
      end
    end)

    local master, pids = gateway.process.pid, gateway:worker_pids()
    local early, slowest, longest_loaded = nil, 0, 0
    for i = 1, RELOADS do
      gateway:write("plugins/marker.lua", PLUGIN .. "-- " .. i .. "\n")
      local addresses = gateway.addresses
      local report = gateway:reload(conf(i))
      gateway.addresses = addresses -- the port of `public` stays
      assert.is_true(report.ok, report.error)
      slowest = math.max(slowest, report.ms)
      longest_loaded = math.max(longest_loaded, report.load_ms)
      if i == 100 then
        local status = gateway:status()
        early = { descriptors(master), descriptors(pids[1]), descriptors(pids[2]),
          rss = status.workers[1].rss_bytes + status.workers[2].rss_bytes, master = status.rss_bytes }
      end
    end
    local status = gateway:status()
    local late = { descriptors(master), descriptors(pids[1]), descriptors(pids[2]),
      rss = status.workers[1].rss_bytes + status.workers[2].rss_bytes, master = status.rss_bytes }
    local seen = written
    kit.eventually(function() return written > seen + 2 end)
    stop, over = true, true
    wrk:signal_now("INT")
    local told = wrk.stdout:read_all(30)
    kit.eventually(function() return #streamed > 0 end, 30)

    io.write(("\n%s requests by wrk, %d on fresh connections; slowest reload %d ms (load %d ms); "
      .. "workers %.1f -> %.1f MiB; master %.1f -> %.1f MiB\n"):format(told:match("(%d+) requests in"),
      fresh, slowest, longest_loaded, early.rss / 2 ^ 20, late.rss / 2 ^ 20, early.master / 2 ^ 20,
      late.master / 2 ^ 20))
    assert.same({}, fresh_failed)
    assert.is_nil(told:match("Non%-2xx[^\n]*"))
    assert.is_nil(told:match("Socket errors[^\n]*"))
    assert.same(pids, gateway:worker_pids())
    local _, events = streamed:gsub("event", "")
    assert.equal(written, events)
    for i = 1, 3 do
      assert.is_true(late[i] <= early[i] + 6, ("descriptors: %d -> %d"):format(early[i], late[i]))
    end
    assert.is_true(late.rss < early.rss + 2 ^ 20, "the workers grow")
    assert.is_true(late.master < early.master + 2 ^ 19, "the master grows")
    kit.eventually(function()
      for _, worker in ipairs(gateway:status().workers) do
        assert.equal(1, #worker.generations)
      end
    end)
  end)
end)
