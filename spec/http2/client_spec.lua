local kit = require("gateway.spec")

local http2 = dofile(debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$") .. "/support.lua")

local upstream, gateway, python

local function curl(...)
  local code, out, err = kit.run("curl",
    { "-sS", "--max-time", "30", "--http2-prior-knowledge", ... })
  assert.equal(0, code, err)
  return out
end

describe("HTTP/2 of a client", function()
  setup(function()
    upstream = kit.upstream()
    gateway = http2.gateway(upstream)
    python = http2.runner(gateway)
  end)

  before_each(function()
    upstream:on()
    upstream:drop()
    upstream:clear()
    upstream:answer(function(request)
      return { headers = { ["X-Length"] = request.headers["content-length"] or "none",
        ["X-Coding"] = request.headers["transfer-encoding"] or "none" }, body = request.body }
    end)
  end)

  it("is spoken in the clear with who begins with it, beside HTTP/1.1", function()
    assert.equal("hello\n", curl(gateway:url("/hello")))
    assert.equal("hello\n", gateway:client():get("/hello").body)
  end)

  it("is not spoken where http2: does not say so", function()
    local other = kit.gateway { conf = [[
listen: [ { name: main, address: 127.0.0.1:0 } ]
routes: [ { name: hello, match: { path: /hello }, respond: { body: "hello" } } ]
]] }

    python([==[
p = Peer(port)
p.read()
assert p.goaway(5) is None and p.buffer.startswith(b"HTTP/1.1 "), (p.frames, p.buffer)
]==], other)
  end)

  it("takes a preface byte by byte", function()
    python([==[
p = Peer(port, start=False)
for byte in PREFACE + Peer.pack(SETTINGS, 0, 0):
    p.raw(bytes([byte]))
    time.sleep(0.002)
assert p.get()["body"] == b"hello\n"
]==])
  end)

  it("asks an upstream of HTTP/1.1 and says by which version it came", function()
    python([==[
a = Peer(port).get("/x?y=1", extra=[("cookie", "a=1"), ("cookie", "b=2"), ("x-a", "b"), ("te", "trailers")])
assert a["status"] == 200, a
]==])

    local request = upstream:request()
    assert.equal("/x?y=1", request.target)
    assert.equal("1.1", request.version)
    assert.equal("a", request.headers["host"])
    assert.equal("a=1; b=2", request.headers["cookie"])
    assert.equal("trailers", request.headers["te"])
    assert.truthy(request.headers["via"]:find("^2 moongate"))
  end)

  it("carries bodies both ways, with and without a length", function()
    python([==[
p = Peer(port)
body = bytes(range(256)) * 1000
for extra in ([("content-length", str(len(body)))], []):
    s = p.open("/echo", "POST", extra=extra, end=False)
    sent = 0
    room = {0: 65535, s: 65535}
    while sent < len(body):
        n = min(16384, len(body) - sent, room[0], room[s])
        if n == 0:
            f = p.read()
            assert f, "no more window"
            if f[0] == WINDOW and f[2] in room:
                room[f[2]] += struct.unpack("!I", f[3])[0]
            continue
        p.data(s, body[sent:sent + n], sent + n == len(body))
        sent, room[0], room[s] = sent + n, room[0] - n, room[s] - n
    p.window(0, 1 << 20)
    a = p.answer(s)
    assert a["status"] == 200 and a["body"] == body, (a["status"], len(a["body"]))
    assert a["headers"]["x-coding"] == ("none" if extra else "chunked"), a["headers"]
    p = Peer(port)
]==])
  end)

  it("asks and answers a hundred streams at once", function()
    python([==[
p = Peer(port)
streams = [p.open("/n%d" % i, "POST", end=False) for i in range(100)]
for s in reversed(streams):
    p.data(s, b"body of %d" % s, True)
for s in streams:
    a = p.answer(s)
    assert a["status"] == 200 and a["body"] == b"body of %d" % s, (s, a)
]==])
  end)

  it("passes trailers both ways", function()
    local seen
    upstream:on(function(conn)
      local request = conn:read_request()
      seen = request.trailers
      conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")
      conn:close()
    end)

    python([==[
p = Peer(port)
s = p.open("/t", "POST", end=False)
p.data(s, b"body")
p.trailers(s, [("x-check", "1")])
a = p.answer(s)
assert a["body"] == b"abc" and a["trailers"] == {"x-sum": "7"}, a
]==])

    assert.equal("1", seen and seen["x-check"])
  end)

  it("answers HEAD, 204 and 304 without a body", function()
    upstream:answer(function(request)
      if request.path == "/204" then return { status = 204 } end
      if request.path == "/304" then return { status = 304, headers = { ETag = '"a"' } } end
      return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    end)

    python([==[
p = Peer(port)
for path, method, status in (("/head", "HEAD", 200), ("/204", "GET", 204), ("/304", "GET", 304),
                             ("/hello", "HEAD", 200)):
    a = p.answer(p.open(path, method))
    assert a["status"] == status and a["body"] == b"" and a["reset"] is None, (path, a)
]==])
  end)

  it("passes 103 and says 100 only when the body is wanted", function()
    upstream:on(function(conn)
      local request = conn:read_request()
      conn:write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: " .. #request.body .. "\r\n\r\n" .. request.body)
    end)

    python([==[
p = Peer(port)
s = p.open("/e", "POST", extra=[("expect", "100-continue"), ("content-length", "2")], end=False)
assert p.until(lambda f: f[0] == HEADERS and (":status", "100") in f[3])
p.data(s, b"hi", True)
a = p.answer(s)
assert [dict(h)[":status"] for h in a["informational"]] == ["100", "103"], a
assert dict(a["informational"][1])["link"] == "</a>" and a["body"] == b"hi", a
]==])
  end)

  it("says that the rest of a body is not wanted once it has answered", function()
    python([==[
p = Peer(port)
s = p.open("/hello", "POST", end=False)
p.data(s, b"x" * 1000)
p.until(lambda f: f[0] == RST)
a = p.answer(s)
assert a["status"] == 200 and a["body"] == b"hello\n" and a["reset"] in (None, NO_ERROR), a
assert p.until(lambda f: f[0] == RST and f[2] == s)[3] == b"\0\0\0\0"
assert p.get()["status"] == 200
]==])
  end)

  it("names no header of a connection and none in upper case", function()
    upstream:on(function(conn)
      conn:read_request()
      conn:write("HTTP/1.1 200 OK\r\nX-UPPER: a\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n"
        .. "Keep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    end)

    python([==[
a = Peer(port).get("/x")
names = [n for n, v in a["list"]]
assert "x-upper" in names and "date" in names, names
assert not set(names) & {"connection", "keep-alive", "transfer-encoding", "x-hop"}, names
assert all(n == n.lower() for n in names), names
]==])
  end)

  it("lets a client take an answer window by window", function()
    upstream:answer { body = ("x"):rep(3000000) }

    python([==[
p = Peer(port, settings=((4, 20000),))
s = p.open("/big")
got = 0
while True:
    f = p.read()
    assert f, "stalled at %d" % got
    if f[0] == DATA:
        got += len(f[3])
        if f[1] & END_STREAM:
            break
        if f[3]:
            p.window(0, len(f[3]))
            p.window(s, len(f[3]))
assert got == 3000000, got
]==])
  end)

  it("reads of a body only what its upstream takes", function()
    local release, taken = false, nil
    upstream:on(function(conn)
      conn:read_head()
      kit.eventually(function() return release end, 20)
      taken = true
      conn:close()
    end)

    local out = python([==[
p = Peer(port)
s = p.open("/slow", "POST", end=False)
room, sent = {0: 65535, s: 65535}, 0
while sent < 64 << 20:
    n = min(16384, room[0], room[s])
    if n > 0:
        p.data(s, b"x" * n)
        sent, room[0], room[s] = sent + n, room[0] - n, room[s] - n
        continue
    f = p.read(1)
    if f is None:
        break
    if f[0] == WINDOW:
        room[f[2]] += struct.unpack("!I", f[3])[0]
print(sent)
]==])
    release = true

    assert.is_true(tonumber(out) < 32 * 1024 * 1024, out .. " bytes were taken for nobody")
    assert.is_nil(taken)
  end)

  it("tells its plugins the version and the same of everything else", function()
    local own = kit.gateway {
      plugins = { tell = [[
--- Tells what it sees.
return { name = "tell", schema = { type = "object" }, access = function(conf, ctx)
  local r = ctx.request
  return ctx:exit(200, ("%s %s %s %s %s"):format(r.version, r.method, r.host, r.path, r.headers["x-a"]))
end }
]] },
      conf = [[
listen: [ { name: main, address: 127.0.0.1:0, http2: true } ]
plugin_paths: [ plugins ]
routes:
  - name: tell
    match: { path: "/*" }
    plugins: [ tell ]
    respond: { body: "" }
]] }

    assert.equal("2 GET a /b/c X", python([==[
print(Peer(port).get("/a/../b/c", extra=[("x-a", "X")])["body"].decode(), end="")
]==], own))
    assert.equal("1.1 GET a /b/c X", own:client():request {
      path = "/a/../b/c", headers = { Host = "a", ["X-A"] = "X" } }.body)
  end)

  it("carries WebSockets by extended CONNECT", function()
    upstream:on(kit.websocket.echo)

    python([==[
p = Peer(port)
settings = p.until(lambda f: f[0] == SETTINGS and not f[1] & ACK)[3]
assert (8, 1) in [struct.unpack("!HI", settings[i:i + 6]) for i in range(0, len(settings), 6)]
def connect(protocol, stream=None):
    return p.open(end=False, fields=[(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"),
        (":path", "/chat?a=b"), (":authority", "a"), ("sec-websocket-version", "13"), ("origin", "http://a")])
def frame(opcode, payload):
    mask = b"\1\2\3\4"
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
s = connect("websocket")
p.data(s, frame(1, b"early"))
head = p.until(lambda f: f[0] == HEADERS and f[2] == s)
fields = dict(head[3])
assert fields[":status"] == "200" and not head[1] & END_STREAM, head
assert not {"sec-websocket-accept", "upgrade", "connection", "content-length"} & set(fields), fields
def heard(data):
    return p.until(lambda f: data in b"".join(x[3] for x in p.frames if x[0] == DATA and x[2] == s))
assert heard(b"\x81\5early")
for i in range(20):
    p.data(s, frame(2, b"message %d" % i))
assert heard(b"message 19")
assert p.get()["status"] == 200
p.data(s, frame(8, struct.pack("!H", 1000)))
assert heard(b"\x88\2\x03\xe8")
p.data(s, b"", True)
a = p.answer(s)
assert a["reset"] in (None, NO_ERROR), a
assert p.answer(connect("other"))["status"] == 501
s = connect("websocket")
assert p.until(lambda f: f[0] == HEADERS and f[2] == s)
p.rst(s)
assert p.get()["status"] == 200
]==])

    assert.equal("/chat?a=b", upstream:request().target)
    assert.equal("GET", upstream:request().method)
    kit.eventually(function() return gateway:status().workers[1].requests_active == 0 end)
  end)

  it("sends files", function()
    local own = kit.gateway { files = { ["www/f.txt"] = ("0123456789"):rep(50000) }, conf = [[
listen: [ { name: main, address: 127.0.0.1:0, http2: true } ]
routes: [ { name: f, match: { path: "/*" }, files: www } ]
]] }

    assert.equal(("0123456789"):rep(50000), curl(own:url("/f.txt")))
    assert.equal("345", curl("-r", "3-5", own:url("/f.txt")))
  end)
end)
