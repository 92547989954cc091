local kit = require("gateway.spec")
local http2 = dofile(debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$") .. "/support.lua")

local upstream, gateway, python

describe("a request of HTTP/2", function()
  setup(function()
    upstream = kit.upstream()
    gateway = http2.gateway(upstream)
    python = http2.runner(gateway)
  end)

  before_each(function()
    upstream:on()
    upstream:clear()
  end)

  --- Refused: a 4xx, or the stream is reset; nothing comes to the upstream, the connection lives.
  local function refused(fields, more)
    python([==[
p = Peer(port)
fields = ]==] .. fields .. "\n" .. (more or "s = p.open(fields=fields)\n") .. [==[
a = p.answer(s)
assert (a["status"] or 0) // 100 == 4 or a["reset"] == PROTOCOL, a
assert p.get()["status"] == 200
]==])
    assert.equal(0, upstream:requests())
  end

  local CASES = {
    ["without :method"] = [==[[(":scheme", "http"), (":path", "/x"), (":authority", "a")]]==],
    ["without :path"] = [==[[(":method", "GET"), (":scheme", "http"), (":authority", "a")]]==],
    ["without :scheme"] = [==[[(":method", "GET"), (":path", "/x"), (":authority", "a")]]==],
    ["without a host"] = [==[[(":method", "GET"), (":scheme", "http"), (":path", "/x")]]==],
    ["with two :path"] = [==[p.fields("/x") + [(":path", "/y")]]==],
    ["with two :authority"] = [==[p.fields("/x") + [(":authority", "b")]]==],
    ["with an unknown pseudo-field"] = [==[[(":version", "2")] + p.fields("/x")]==],
    ["with :status"] = [==[[(":status", "200")] + p.fields("/x")]==],
    ["with a pseudo-field behind a field"] = [==[p.fields("/x")[:3] + [("x-a", "b"), (":authority", "a")]]==],
    ["with an upper case name"] = [==[p.fields("/x", extra=[("X-A", "b")])]==],
    ["with connection"] = [==[p.fields("/x", extra=[("connection", "close")])]==],
    ["with keep-alive"] = [==[p.fields("/x", extra=[("keep-alive", "timeout=5")])]==],
    ["with proxy-connection"] = [==[p.fields("/x", extra=[("proxy-connection", "close")])]==],
    ["with transfer-encoding"] = [==[p.fields("/x", extra=[("transfer-encoding", "chunked")])]==],
    ["with upgrade"] = [==[p.fields("/x", extra=[("upgrade", "h2c")])]==],
    ["with te: gzip"] = [==[p.fields("/x", extra=[("te", "gzip")])]==],
    ["with a host that is not :authority"] = [==[p.fields("/x", extra=[("host", "b")])]==],
    ["with two host"] = [==[p.fields("/x", authority=None, extra=[("host", "a"), ("host", "a")])]==],
    ["with CR LF in a value"] = [==[p.fields("/x", extra=[("x-a", "b\r\nx-evil: 1")])]==],
    ["with LF in a value"] = [==[p.fields("/x", extra=[("x-a", "b\nx-evil: 1")])]==],
    ["with NUL in a value"] = [==[p.fields("/x", extra=[("x-a", "b\0c")])]==],
    ["with a space in front of a value"] = [==[p.fields("/x", extra=[("x-a", " b")])]==],
    ["with a colon in a name"] = [==[p.fields("/x", extra=[("x-a: evil", "b")])]==],
    ["with a space in a name"] = [==[p.fields("/x", extra=[("x a", "b")])]==],
    ["with an empty name"] = [==[p.fields("/x", extra=[("", "b")])]==],
    ["with CR LF in :path"] = [==[p.fields("/x HTTP/1.1\r\nx-evil: 1")]==],
    ["with a space in :path"] = [==[p.fields("/x y")]==],
    ["with CR LF in :authority"] = [==[p.fields("/x", authority="a\r\nx-evil: 1")]==],
    ["with CR LF in :method"] = [==[p.fields("/x", "GET / HTTP/1.1\r\nx: ")]==],
    ["with user information in :authority"] = [==[p.fields("/x", authority="u:p@a")]==],
    ["with an absolute :path"] = [==[p.fields("http://b/x")]==],
    ["with an empty :path"] = [==[p.fields("")]==],
    ["with * and GET"] = [==[p.fields("*")]==],
    ["with :path above the root"] = [==[p.fields("/../x")]==],
    ["with an unknown :scheme"] = [==[p.fields("/x", scheme="ftp")]==],
    ["with two content-length"] = [==[p.fields("/x", "POST", [("content-length", "1"), ("content-length", "2")])]==],
    ["with content-length: +1"] = [==[p.fields("/x", "POST", [("content-length", "+1")])]==],
    ["with content-length and no body"] = [==[p.fields("/x", "POST", [("content-length", "5")])]==],
    ["of expect: other"] = [==[p.fields("/x", "POST", [("expect", "other")])]==],
  }

  local names = {}
  for name in pairs(CASES) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    it("is refused " .. name, function() refused(CASES[name]) end)
  end

  it("is refused with more body than content-length says", function()
    upstream:on(http2.swallow)
    python([==[
p = Peer(port)
s = p.open("/x", "POST", extra=[("content-length", "3")], end=False)
p.data(s, b"much more", True)
a = p.answer(s)
assert a["reset"] == PROTOCOL or a["status"] == 502 or a["status"] == 400, a
]==])
    kit.eventually(function() return gateway:status().workers[1].requests_active == 0 end)
  end)

  it("is refused with less body than content-length says", function()
    upstream:on(http2.swallow)
    python([==[
p = Peer(port)
s = p.open("/x", "POST", extra=[("content-length", "30")], end=False)
p.data(s, b"less", True)
a = p.answer(s)
assert a["reset"] == PROTOCOL, a
]==])
  end)

  it("is refused with fields among the trailers that frame or route", function()
    upstream:on(http2.swallow)
    for _, name in ipairs { "content-length", "host", "transfer-encoding", "x-forwarded-for", ":path" } do
      python([==[
p = Peer(port)
s = p.open("/x", "POST", end=False)
p.data(s, b"body")
p.trailers(s, [(sys.argv[2], "1")])
a = p.answer(s)
assert a["reset"] == PROTOCOL, a
]==], nil, name)
    end
  end)

  it("is refused when it is CONNECT or TRACE", function()
    python([==[
p = Peer(port)
a = p.answer(p.open(fields=[(":method", "CONNECT"), (":authority", "a:1")]))
assert a["status"] == 501, a
a = p.answer(p.open("/x", "TRACE"))
assert a["status"] == 501, a
a = p.answer(p.open("/x", "CONNECT"))
assert a["reset"] == PROTOCOL or a["status"] in (400, 501), a
]==])
    assert.equal(0, upstream:requests())
  end)

  it("may name its host in host alone, and in both alike", function()
    python([==[
p = Peer(port)
assert p.get("/x", authority=None, extra=[("host", "b")])["status"] == 200
assert p.get("/x", authority="b", extra=[("host", "B")])["status"] == 200
]==])
    assert.equal("b", upstream:request(1).headers.host)
    assert.equal("b", upstream:request(2).headers.host)
  end)

  it("keeps no field that only HTTP/1 would hide", function()
    python([==[
a = Peer(port).get("/x", extra=[("x_under", "1"), ("x-forwarded-for", "9.9.9.9"), ("http2-settings", "AAAA"),
                                ("proxy-authorization", "a")])
assert a["status"] == 200, a
]==])

    local headers = upstream:request().headers
    assert.is_nil(headers["x_under"])
    assert.is_nil(headers["http2-settings"])
    assert.is_nil(headers["proxy-authorization"])
    assert.equal("127.0.0.1", headers["x-forwarded-for"])
  end)
end)

describe("limits of a listener with HTTP/2", function()
  setup(function() upstream = kit.upstream() end)

  before_each(function()
    upstream:on()
    upstream:clear()
  end)

  it("are answered as in HTTP/1: 431, 414, 413", function()
    upstream:on(http2.swallow)
    local own = http2.gateway(upstream,
      "limits: { header_size_max: 4k, header_count_max: 20, uri_size_max: 1k, body_size_max: 1k }")

    http2.runner(own)([==[
p = Peer(port)
for extra, status in (([("x-a", "b" * 5000)], 431), ([("x-%d" % i, "b") for i in range(30)], 431)):
    a = p.get("/x", extra=extra)
    assert a["status"] == status, a
assert p.get("/" + "x" * 2000)["status"] == 414
a = p.answer(p.open("/x", "POST", extra=[("content-length", "2000")], end=False))
assert a["status"] == 413, a
s = p.open("/x", "POST", end=False)
p.data(s, b"x" * 2000)
assert p.answer(s)["status"] == 413
assert p.get()["status"] == 200
]==])
  end)

  it("answer 408 when a body does not come, and the connection goes on", function()
    upstream:on(http2.swallow)
    local own = http2.gateway(upstream, "limits: { body_timeout: 300ms }")

    http2.runner(own)([==[
p = Peer(port)
s = p.open("/x", "POST", end=False)
p.data(s, b"half")
a = p.answer(s)
assert a["status"] == 408, a
assert p.get()["status"] == 200
]==])
  end)

  it("answer 408 when a body comes slower than data_rate_min", function()
    upstream:on(http2.swallow)
    local own = http2.gateway(upstream, "limits: { data_rate_min: 1000/s, data_rate_grace: 200ms }")

    http2.runner(own)([==[
p = Peer(port)
s = p.open("/x", "POST", end=False)
for _ in range(50):
    p.data(s, b"x")
    if p.read(0.05) and any(f[0] == HEADERS for f in p.frames):
        break
assert p.answer(s)["status"] == 408
]==])
  end)

  it("end a connection whose head does not come, or stays half", function()
    local own = http2.gateway(upstream, "limits: { header_timeout: 300ms, idle_timeout: 20s }")

    http2.runner(own)([==[
p = Peer(port)
assert p.ended(5), "idle before the first request"
p = Peer(port)
assert p.get()["status"] == 200
p.frame(HEADERS, END_STREAM, 3, p.encoder.encode(p.fields())[:5])
assert p.goaway(5) == CALM, p.frames
assert p.ended(5)
]==])
  end)

  it("end an idle connection, with GOAWAY", function()
    local own = http2.gateway(upstream, "limits: { idle_timeout: 300ms }")

    http2.runner(own)([==[
p = Peer(port)
assert p.get()["status"] == 200
assert p.goaway(5) == NO_ERROR
assert p.ended(5)
]==])
  end)

  it("let a connection go after requests_max, in two steps and without a lost request", function()
    local own = http2.gateway(upstream, "limits: { requests_max: 3 }")

    http2.runner(own)([==[
p = Peer(port)
streams = [p.open("/x") for _ in range(3)]
for s in streams:
    assert p.answer(s)["status"] == 200
lasts = []
while True:
    f = p.read(5)
    if f is None:
        break
for f in p.frames:
    if f[0] == GOAWAY:
        lasts.append(struct.unpack("!I", f[3][:4])[0])
assert lasts == [0x7fffffff, 5], lasts
assert p.closed
]==])
  end)

  it("let a connection go at age_max", function()
    local own = http2.gateway(upstream, "limits: { age_max: 500ms }")

    http2.runner(own)([==[
p = Peer(port)
while p.goaway(0.05) is None:
    assert p.get()["status"] == 200
assert p.goaway() == NO_ERROR
assert p.ended(5)
]==])
  end)

  it("drain at the end: what is under way is answered, GOAWAY twice", function()
    upstream:answer(function() gw.sleep(0.7) return { body = "late" } end)
    local own = http2.gateway(upstream)
    local peer = kit.start("/usr/bin/python3", { "-c", http2.PEER .. [==[
p = Peer(port)
s = p.open("/late")
p.read(1)
print("asked", flush=True)
a = p.answer(s)
assert a["status"] == 200 and a["body"] == b"late", a
assert p.ended(5)
codes = [struct.unpack("!II", f[3][:8]) for f in p.frames if f[0] == GOAWAY]
assert codes == [(0x7fffffff, 0), (1, 0)], codes
print("fine", flush=True)
]==], tostring(own:port()) })

    peer.stdout:read_until("asked\n")
    kit.eventually(function() return upstream:requests() == 1 end)
    own:stop()

    assert.equal(0, peer:wait(10), peer.stderr:read_all())
  end)
end)
