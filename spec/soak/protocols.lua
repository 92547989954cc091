--- Reloads that change certificate, routes and plugins under TLS: HTTP/2 requests, WebSockets over
--- HTTP/1.1 and over HTTP/2. `soak/protocols_spec.lua` does many, `http2/reload_spec.lua` a few.
local kit = require("gateway.spec")
local assert = require("luassert")
local native = require("gateway.spec.native")

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$")
local certs_of = dofile(here .. "/../tls/certs.lua")

local M = {}

local PLUGIN = [[
return { name = "marker", priority = 1, schema = { type = "object", properties = {
  word = { type = "string" } } }, access = function(conf, ctx) ctx.request.headers["x-word"] = conf.word end }
]]

local function conf(i)
  return ([[
limits: { idle_timeout: 600s }
listen:
  - name: secure
    address: "127.0.0.1:0"
    http2: true
    tls: { certificates: [ { certificate: tls/one.pem, key: tls/one.key } ] }
routes:
  - { name: "route%d", match: { path: "/r%d" }, respond: { status: 204 } }
  - { name: hello, match: { path: /hello }, plugins: [ { marker: { word: "w%d" } } ], respond: { body: "hello\n" } }
  - { name: echo, match: { path: /echo }, plugins: [ { marker: { word: "w%d" } } ], upstream: "${UPSTREAM}" }
  - { name: chat, match: { path: /chat }, upstream: "${CHAT}" }
]]):format(i, i, i, i)
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

--- Memory of its own, in bytes, and open descriptors of all processes of the gateway.
local function held(gateway)
  local bytes, fds = 0, {}
  for i, pid in ipairs { gateway.process.pid, unpack(gateway:worker_pids()) } do
    local resident, shared = read(("/proc/%d/statm"):format(pid)):match("%d+ (%d+) (%d+)")
    bytes = bytes + (tonumber(resident) - tonumber(shared)) * 4096
    fds[i] = #native.entries(("/proc/%d/fd"):format(pid))
  end
  return { bytes = bytes, fds = fds }
end

--- Makes `reloads` of them, looks at what is held after `early`, and at the end.
function M.run(reloads, early)
  local certs = certs_of.make { one = { names = { "localhost" } }, two = { names = { "localhost" } } }
  local upstream, chat = kit.upstream(), kit.upstream()
  upstream:answer(function(request) return { body = request.body } end)
  chat:on(function(conn)
    kit.websocket.echo(conn)
    conn:closed(20)
  end)
  local gateway = kit.gateway { conf = conf(0), workers = 2, plugins = { marker = PLUGIN },
    files = certs_of.files(certs), env = { UPSTREAM = upstream:url(), CHAT = chat:url() } }
  local pids, at_rest = gateway:worker_pids(), held(gateway)
  local client = kit.start("node", { "-e", read(here .. "/protocols.js"), tostring(gateway:port()),
    certs.dir .. "/ca.pem" })
  assert.equal("ready\n", client.stdout:read_until("\n", 30))

  local before
  for i = 1, reloads do
    local name = i % 2 == 1 and "two" or "one"
    gateway:write("tls/one.pem", certs.pem[name])
    gateway:write("tls/one.key", certs.key[name])
    gateway:write("plugins/marker.lua", PLUGIN .. "-- " .. i .. "\n")
    local addresses = gateway.addresses
    local report = gateway:reload(conf(i))
    gateway.addresses = addresses -- the port stays
    assert.is_true(report.ok, report.error)
    gw.sleep(0.02)
    before = i == early and held(gateway) or before
  end
  local after = held(gateway)
  assert.is_false(client:ended(), "the clients are gone")
  -- All that is open is open still, and holds no conf of old.
  local open = 0
  kit.eventually(function()
    open = 0
    for _, worker in ipairs(gateway:status().workers) do
      open = open + worker.websockets
      assert.equal(1, #worker.generations)
    end
    return true
  end)
  assert.equal(12, open)

  client.stdin:write("stop\n")
  local said = assert(gw.json.decode(client.stdout:read_until("\n", 60)))
  certs_of.remove(certs)
  assert.same({}, said.failed)
  assert.equal(2, said.counts.certificates)
  for what, count in pairs(said.counts) do
    assert.is_true(what == "certificates" or count > reloads, what .. ": " .. count)
  end
  assert.same(pids, gateway:worker_pids())
  assert.is_true(after.bytes - before.bytes < (kit.sanitized and 256 or 1) * 2 ^ 20,
    ("%d -> %d bytes"):format(before.bytes, after.bytes))
  upstream:stop()
  kit.eventually(function()
    local now = held(gateway)
    for i, fds in ipairs(now.fds) do
      assert.is_true(fds <= at_rest.fds[i] + 1, ("process %d: %d -> %d"):format(i, at_rest.fds[i], fds))
    end
    return true
  end, 10)
  return said.counts, before, after
end

return M
