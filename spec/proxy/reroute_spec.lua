local kit = require("gateway.spec")

local CONF = [[
upstreams:
  up: { targets: [ "${UPSTREAM}" ] }
routes:
  - name: narrow
    match: { path: /narrow }
    limits: { body_size_max: 10, request_timeout: 1s }
    plugins: [ move ]
    upstream: up
  - name: wide
    match: { path: /wide }
    upstream: up
]]

local MOVE = [[
local plugin = { name = "move", priority = 1, schema = { type = "object", properties = {} } }
function plugin.rewrite(_, ctx)
  ctx.request.path = "/wide"
  ctx:reroute()
end
return plugin
]]

describe("ctx:reroute", function()
  local upstream, gateway

  before_each(function()
    upstream = kit.upstream()
    gateway = kit.gateway {
      conf = CONF, plugins = { move = MOVE }, env = { UPSTREAM = upstream:address() },
    }
  end)

  it("leaves the limits of the route before behind", function()
    upstream:answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    local answer = gateway:client():request {
      method = "POST", path = "/narrow", body = ("x"):rep(100), chunked = true,
    }

    assert.equal(200, answer.status)
    assert.equal("/wide", upstream:request(1).path)
    assert.equal(100, #upstream:request(1).body)
  end)

  it("leaves its time behind, too", function()
    local asked
    upstream:on(function(conn)
      conn:read_head()
      asked = true
      conn:closed(5)
    end)
    local conn = kit.client(gateway, { timeout = 0.5 }):connect()

    conn:write("GET /narrow HTTP/1.1\r\nHost: a\r\n\r\n")
    kit.eventually(function() return asked end)
    gateway:advance(5000)

    assert.is_false((pcall(conn.read_head, conn))) -- no 504 comes
    conn:reset()
  end)
end)
