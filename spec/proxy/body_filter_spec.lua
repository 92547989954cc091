local kit = require "gateway.spec"

local CONF = [[
upstreams:
  up: { targets: [ "${UPSTREAM}" ] }
routes:
  - name: shout
    match: { path: /* }
    plugins: [ shout ]
    upstream: up
]]

local SHOUT = [[
local plugin = { name = "shout", priority = 1, schema = { type = "object", properties = {} } }
function plugin.body_filter(_, _, chunk)
  return chunk:upper()
end
return plugin
]]

--- gzip and deflate by a program that others wrote.
local function packed(how, text)
  local script = {
    gzip = "import sys,gzip;sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read()))",
    deflate = "import sys,zlib;sys.stdout.buffer.write(zlib.compress(sys.stdin.buffer.read()))",
  }
  local code, out = kit.run("python3", { "-c", script[how] }, { stdin = text })
  assert.equal(0, code)
  return out
end

describe("body_filter", function()
  local upstream, gateway

  before_each(function()
    upstream = kit.upstream()
    gateway = kit.gateway { conf = CONF, plugins = { shout = SHOUT }, env = { UPSTREAM = upstream:address() } }
  end)

  it("gets plain pieces and makes the length unknown", function()
    upstream:answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\n\r\nhello")

    local answer = gateway:client():get("/")

    assert.equal("HELLO", answer.body)
    assert.is_nil(answer.headers["content-length"])
    assert.is_nil(answer.headers["accept-ranges"])
    assert.equal('W/"x"', answer.headers.etag)
  end)

  it("may add to an empty body", function()
    local PIECE = SHOUT:gsub("return chunk:upper%(%)", "return chunk .. 'end'")
    gateway = kit.gateway { conf = CONF, plugins = { shout = PIECE }, env = { UPSTREAM = upstream:address() } }
    upstream:answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    assert.equal("end", gateway:client():get("/").body)
  end)

  it("makes nobody wait for an acknowledgement", function()
    upstream:on(function(conn)
      while conn:read_head() do
        conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        gw.sleep(0.001)
        conn:write("2\r\ncd\r\n0\r\n\r\n")
      end
    end)
    local conn, began = gateway:client():connect(), kit.now()

    for _ = 1, 50 do
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.equal("ABCD", conn:read_answer().body)
    end

    -- With the small pieces held back until the one before is acknowledged it is 40 ms each.
    local took = kit.now() - began
    assert.is_true(took < (kit.sanitized and 1.5 or 0.8), took)
  end)

  it("asks for no coding and no range", function()
    upstream:answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    gateway:client():get("/", { ["Accept-Encoding"] = "gzip, br", Range = "bytes=0-1" })

    local request = upstream:request(1)
    assert.is_nil(request.headers["accept-encoding"])
    assert.is_nil(request.headers.range)
  end)

  for _, how in ipairs { "gzip", "deflate" } do
    it("takes off " .. how, function()
      local text = ("some text, again and again; "):rep(20000)
      local body = packed(how, text)
      upstream:answer(("HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"):format(how, #body)
        .. body)

      local answer = gateway:client():get("/")

      assert.is_nil(answer.headers["content-encoding"])
      assert.equal(#text, #answer.body)
      assert.is_true(answer.body == text:upper())
    end)
  end

  it("answers 502 to a coding that it cannot read", function()
    upstream:answer("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx")

    assert.equal(502, gateway:client():get("/").status)
  end)

  it("cuts an answer whose coding is broken", function()
    upstream:answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!")

    local ok = pcall(function() return gateway:client():get("/") end)

    assert.is_false(ok)
    gateway:wait_log("not what its Content-Encoding says")
  end)
end)
