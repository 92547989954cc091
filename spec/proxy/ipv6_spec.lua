--- IPv6 from end to end: listeners, literal targets, and what others are told of addresses.
local kit = require "gateway.spec"

local CONF = [[
listen:
  - { name: six, address: "[::1]:0" }
  - { name: all, address: "[::]:0" }
  - { name: four, address: "127.0.0.1:0" }
forwarded: { forwarded: true }
upstreams:
  six: { targets: [ "${UPSTREAM}" ] }
routes:
  - { name: inside, match: { path: /inside, client: [ "::1/128" ] }, respond: { body: "inside\n" } }
  - { name: host, match: { path: /host, hosts: [ "[::1]" ] }, respond: { body: "by host\n" } }
  - { name: theirs, match: { path: /theirs }, upstream: six, host: upstream }
  - { name: url, match: { path: /url }, upstream: "http://${UPSTREAM}" }
  - { name: any, match: { path: "/any" }, upstream: six }
]]

describe("IPv6", function()
  if not kit.has_ipv6() then
    pending("needs IPv6")
    return
  end
  local upstream, gateway

  before_each(function()
    upstream = kit.upstream { address = "::1" }
    gateway = kit.gateway { conf = CONF, env = { UPSTREAM = upstream:address() } }
  end)

  local function client(listener)
    return kit.client(gateway, { listener = listener })
  end

  it("goes in and out by [::1]", function()
    for _, path in ipairs { "/any", "/url" } do
      assert.equal(200, client("six"):get(path).status)
      assert.equal(200, client("four"):get(path).status)
    end
    assert.equal(1, (upstream:connections()))
  end)

  it("is told to upstreams as RFC 7239 writes it", function()
    client("six"):get("/any")

    local headers = upstream:request().headers
    assert.equal("::1", headers["x-forwarded-for"])
    assert.matches('for="%[::1%]"', headers.forwarded)

    client("four"):get("/any")
    assert.equal("127.0.0.1", upstream:request().headers["x-forwarded-for"])
  end)

  it("stands in brackets in Host", function()
    client("four"):get("/theirs")

    assert.equal(upstream:address(), upstream:request().headers.host)
  end)

  it("is matched by client and by host", function()
    assert.equal("inside\n", client("six"):get("/inside").body)
    assert.equal(404, client("four"):get("/inside").status)
    for host, status in pairs { ["[::1]"] = 200, ["[::1]:8080"] = 200, ["[::2]"] = 404 } do
      assert.equal(status, client("four"):send(
        ("GET /host HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"):format(host)).status, host)
    end
  end)

  it("of a listener on [::] is reached by ::1", function()
    assert.equal(200, client("all"):get("/any").status)
  end)

  it("target that is not there: 502, and its name in the log", function()
    local address = upstream:address()
    upstream:stop()

    assert.equal(502, client("six"):get("/any").status)
    gateway:wait_log(address)
  end)
end)
