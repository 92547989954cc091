--- Peers of all kinds at once, on both sides: good and bad frames, cut anywhere, closes, resets,
--- silence; with and without a plugin, through reloads. Nothing may be left behind.
local kit = require("gateway.spec")
local ws = kit.websocket

local SECONDS = tonumber(os.getenv("SOAK_SECONDS") or "20")
local R = math.random

local function junk(n)
  local out = {}
  for i = 1, n do
    out[i] = string.char(R(0, 255))
  end
  return table.concat(out)
end

local FRAMES = {
  function() return junk(R(1, 40)) end,
  function(f) return f(R(0, 15), junk(R(0, 300)), { rsv = R(0, 7) }) end,
  function(f) return f(ws.CLOSE, R(1, 2) == 1 and "" or ws.close(R(999, 5001), "x")) end,
  function(f) return f(ws.BINARY, junk(R(60000, 140000))) end,
  function(f)
    return f(ws.BINARY, junk(R(0, 5000)), { fin = false }) .. f(ws.PING, "x")
      .. f(ws.CONTINUATION, junk(R(0, 3000)))
  end,
  function(f) return f(R(9, 10), junk(R(0, 125))) end,
}

local function frame(masked)
  local f = masked and ws.masked or ws.frame
  local make = FRAMES[R(1, 30)]
  return make and make(f) or f(ws.TEXT, ("t"):rep(R(0, 2000)))
end

local function write_in_pieces(conn, bytes)
  local at = 1
  while at <= #bytes do
    local n = R(1, 3) == 1 and R(1, 20) or #bytes
    if not conn:write(bytes:sub(at, at + n - 1), 2) then
      return false
    end
    at = at + n
  end
  return true
end

local function dance(conn, masked)
  for _ = 1, R(1, 30) do
    if not write_in_pieces(conn, frame(masked)) then
      return
    end
    if R(1, 10) == 1 then
      gw.sleep(R() * 0.01)
    end
    while R(1, 3) > 1 and conn.fd:read() do end -- luacheck: ignore 542
  end
  if R(1, 3) == 1 then
    conn:reset()
  else
    conn:closed(R() * 0.3)
    conn:close()
  end
end

local CONF = [[
workers: 1
limits:
  websocket_close_timeout: 300ms
  websocket_ping_interval: 40ms
  body_buffer_size_max: 64k
  buffer_size_max: 8k
  send_timeout: 2s
routes:
  - { name: "extra%d", match: { path: /extra }, respond: { body: x } }
  - { name: seen, match: { path: /seen }, plugins: [ { chaos: { tag: "%d" } } ], upstream: "${UPSTREAM}" }
  - { name: all, match: { path: "/*" }, upstream: "${UPSTREAM}" }
]]

local CHAOS = [[
local plugin = { name = "chaos", priority = 1, schema = { type = "object",
  properties = { tag = { type = "string" } } } }
local n = 0
function plugin.message(conf, ctx, msg)
  n = n + 1
  if n % 5 == 0 then gw.sleep(0.003) end
  if n % 7 == 0 then return false end
  if n % 11 == 0 then return msg.data .. msg.data end
  if n % 301 == 0 then ctx:close(4000, "chaos") end
  if n % 401 == 0 then error("chaos") end
end
return plugin]]

describe("WebSockets of all kinds", function()
  it("leave nothing behind", function()
    math.randomseed(os.time())
    local upstream = kit.upstream()
    upstream:on(function(conn)
      if pcall(ws.accept, conn) then
        pcall(dance, conn, false)
      end
    end)
    local gateway = kit.gateway { conf = CONF:format(0, 0), env = { UPSTREAM = upstream:url() },
      plugins = { chaos = CHAOS } }
    local client = kit.client(gateway)
    local live, made, reloads = 0, 0, 0

    local function one(path)
      pcall(function()
        local conn = client:connect()
        conn:write(ws.request { path = path })
        if R(1, 4) > 1 then
          conn:read_answer("GET")
        end
        dance(conn, true)
      end)
      live = live - 1
    end

    local stop = kit.now() + SECONDS
    while kit.now() < stop do
      while live < 20 do
        live, made = live + 1, made + 1
        kit.go(one, made % 2 == 0 and "/seen" or "/passed")
      end
      gw.sleep(0.01)
      if R(1, 40) == 1 then
        reloads = reloads + 1
        assert.is_true(gateway:reload(CONF:format(reloads, math.floor(reloads / 3))).ok)
      end
    end

    kit.eventually(function() return live == 0 end, 20)
    client:close()
    kit.eventually(function()
      local worker = gateway:status().workers[1]
      return worker.websockets == 0 and worker.requests_active == 0 and #worker.generations == 1
    end, 10)
    assert.is_true(gateway:status().workers[1].websockets_total > 20 * SECONDS)
  end)
end)
