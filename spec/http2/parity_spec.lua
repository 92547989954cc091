--- No plugin knows which version it serves: a table of requests, each sent over HTTP/1.1 and over
--- HTTP/2, through plugins of all kinds, must get the same answers and reach the upstream alike.
local kit = require("gateway.spec")
local http2 = dofile(debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$") .. "/support.lua")

local CONF = [[
limits: { body_size_max: 100k, body_buffer_size_max: 200k }
listen: [ { name: main, address: 127.0.0.1:0, http2: true } ]
plugin_paths: [ plugins ]
routes:
  - { name: shout, match: { path: "/shout/*" }, plugins: [ shout ], upstream: "${UPSTREAM}" }
  - { name: whole, match: { path: "/whole/*" }, plugins: [ whole ], upstream: "${UPSTREAM}" }
  - { name: keys, match: { path: "/keys/*" }, plugins: [ { key-auth: { keys: { alice: alice-key } } }, tell ],
      upstream: "${UPSTREAM}" }
  - { name: early, match: { path: "/early/*" }, plugins: [ early ], upstream: "${UPSTREAM}" }
  - { name: plain, match: { path: "/plain/*" }, upstream: "${UPSTREAM}" }
  - { name: made, match: { path: "/made" }, plugins: [ shout ], respond: { status: 203, body: "made\n" } }
]]

local function plugin(name, code)
  return ("local plugin = { name = %q, priority = 1, schema = { type = 'object' } }\n%s\nreturn plugin")
    :format(name, code)
end

local PLUGINS = {
  shout = plugin("shout", [[
function plugin.body_filter(_, _, chunk, last) return chunk:upper() .. (last and "!" or "") end]]),
  whole = plugin("whole", [[
plugin.body = "buffered"
function plugin.body_filter(_, ctx, body)
  gw.sleep(0.001)
  ctx.response.status = 201
  ctx.response.headers["x-length"] = tostring(#body)
  ctx.response.body = "[" .. ctx.response.body .. "]"
end]]),
  tell = plugin("tell", [[
function plugin.access(_, ctx) ctx.request.headers["x-consumer"] = ctx.consumer and "known" or "none" end
function plugin.header_filter(_, ctx) ctx.response.headers["x-more"] = "more" end]]),
  early = plugin("early", [[
function plugin.access(_, ctx)
  local body = ctx.request.body
  return ctx:exit(418, "tea for " .. tostring(body and #body), { ["x-early"] = "yes" })
end]]),
}

-- Each row: method, path, headers, bytes of the body (nil: none).
local ASK = [==[
import http.client, json, re
rows = [(r, b"b" * r[3] if r[3] is not None else None) for r in (
    ("GET", "/shout/a", {}, None), ("HEAD", "/shout/a", {}, None), ("POST", "/shout/echo", {}, 5000),
    ("GET", "/shout/big", {}, None), ("GET", "/shout/204", {}, None), ("GET", "/shout/304", {}, None),
    ("GET", "/shout/gzip", {}, None), ("GET", "/shout/chunks", {}, None),
    ("GET", "/whole/a", {}, None), ("HEAD", "/whole/a", {}, None), ("POST", "/whole/echo", {}, 60000),
    ("GET", "/whole/chunks", {}, None), ("GET", "/whole/toolong", {}, None),
    ("GET", "/keys/a", {}, None), ("GET", "/keys/a", {"x-api-key": "wrong"}, None),
    ("GET", "/keys/a", {"x-api-key": "alice-key"}, None), ("POST", "/keys/echo", {"x-api-key": "alice-key"}, 10),
    ("POST", "/early/a", {}, 77), ("GET", "/early/a", {}, None), ("POST", "/plain/echo", {}, 150000),
    ("GET", "/plain/a?q=1&q=2", {"cookie": "a=1; b=2", "accept": "text/*"}, None), ("GET", "/nowhere", {}, None),
    ("DELETE", "/plain/204", {}, None), ("GET", "/plain/500", {}, None), ("GET", "/made", {}, None),
    ("OPTIONS", "/plain/a", {"origin": "http://b"}, None), ("GET", "/plain/../plain/%61", {}, None),
    ("GET", "/plain/a", {"x-forwarded-for": "1.2.3.4"}, None))]
VARY = {"date", "connection", "transfer-encoding", "keep-alive", "content-length", "via"}
def shape(status, headers, body):
    return [status, sorted([n.lower(), v] for n, v in headers if n.lower() not in VARY and n[0] != ":"), len(body),
            re.sub(r"\"id\":\"[^\"]*", "", body[:200].decode("latin-1"))]
out = []
for (method, path, headers, _), body in rows:
    c = http.client.HTTPConnection("127.0.0.1", port)
    c.request(method, path, body, {"Host": "a", "User-Agent": "t", "Accept-Encoding": "identity", **headers})
    r = c.getresponse()
    one = shape(r.status, r.getheaders(), r.read())
    c.close()
    p = Peer(port)
    p.window(0, 1 << 20)
    extra = [("user-agent", "t"), ("accept-encoding", "identity")] + list(headers.items())
    if body is not None:
        extra.append(("content-length", str(len(body))))
    s = p.open(path, method, extra=extra, end=body is None)
    room = 65535
    for at in range(0, len(body or b""), 8192):
        piece = body[at:at + 8192]
        while room < len(piece) and not p.closed:
            f = p.read(5)
            if f is None or (f[0] in (HEADERS, RST) and f[2] == s):
                break
            if f[0] == WINDOW and f[2] == s:
                room += struct.unpack("!I", f[3])[0]
        if room < len(piece):
            break
        room -= len(piece)
        p.data(s, piece, at + 8192 >= len(body))
    a = p.answer(s)
    two = shape(a["status"], a["list"], a["body"])
    out.append([method + " " + path, one, two])
print(json.dumps(out))
]==]

-- What both versions say of where they came from differs by rights.
local OWN = { via = true, connection = true }

local GZIP = gw.base64.decode("H4sIAAAAAAACA8tIzcnJBwCGphA2BQAAAA==")

local function answer(request)
  local what = request.path:match("/([^/]*)$")
  if what == "204" or what == "304" then
    return { status = tonumber(what), headers = { ETag = '"e"' } }
  elseif what == "500" then
    return { status = 500, body = "oh" }
  elseif what == "echo" then
    return { body = request.body }
  elseif what == "big" or what == "toolong" then
    return { body = ("abc"):rep(100000) }
  elseif what == "gzip" then
    return { headers = { ["Content-Encoding"] = "gzip" }, body = GZIP }
  elseif what == "chunks" then
    return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
  end
  return { headers = { ["X-Up"] = "up", ["Set-Cookie"] = "a=b" }, body = request.method ~= "HEAD" and "hello" or nil }
end

describe("the same request over HTTP/1.1 and over HTTP/2", function()
  it("gets the same answer and is the same to the upstream", function()
    local upstream = kit.upstream()
    upstream:answer(answer)
    local gateway = kit.gateway { conf = CONF, plugins = PLUGINS, env = { UPSTREAM = upstream:url() } }

    local rows = assert(gw.json.decode(http2.runner(gateway)(ASK)))

    assert.is_true(#rows >= 28)
    for _, row in ipairs(rows) do
      assert.same({ row[1], row[2] }, { row[1], row[3] })
    end
    -- They came in turns: one of HTTP/1.1, one of HTTP/2.
    local came = {}
    for i = 1, upstream:requests() do
      local request, lines = upstream:request(i), {}
      for name, value in pairs(request.headers) do
        if not OWN[name:lower()] then
          lines[#lines + 1] = name:lower() .. ": " .. tostring(value)
        end
      end
      table.sort(lines)
      came[i] = request.method .. " " .. request.target .. "\n" .. table.concat(lines, "\n") .. "\n" .. #request.body
    end
    assert.equal(0, #came % 2)
    assert.is_true(#came > 30)
    for i = 1, #came, 2 do
      assert.equal(came[i], came[i + 1])
    end
  end)
end)
