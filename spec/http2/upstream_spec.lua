local kit = require("gateway.spec")

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$")
local http2 = dofile(here .. "/support.lua")

local server, gateway, port

local function serve(streams_max)
  server = kit.start("/usr/bin/python3", { here .. "/server.py", tostring(streams_max or 100) })
  port = server.stdout:read_until("\n"):match("%d+")
end

local function start(more)
  gateway = kit.gateway { conf = ([[
listen: [ { name: main, address: 127.0.0.1:0, http2: true } ]
upstreams: { u: { targets: [ 127.0.0.1:%s ], http2: true, %s } }
routes: [ { name: all, match: { path: "/*" }, upstream: u, retries: 2 } ]
]]):format(port, more or "") }
  return gateway
end

local function get(path, headers) return gateway:client():get(path, headers) end

describe("an upstream of HTTP/2", function()
  before_each(function() serve() end)

  it("is asked by prior knowledge, on one connection for many requests at once", function()
    start()

    local out = http2.runner(gateway)([==[
import json
p = Peer(port)
streams = [p.open("/n%d?q=1" % i, extra=[("x-a", "b")]) for i in range(100)]
answers = [json.loads(p.answer(s)["body"]) for s in streams]
assert {a["connection"] for a in answers} == {1}, {a["connection"] for a in answers}
assert len({a["stream"] for a in answers}) == 100
fields = answers[0]["fields"]
print(json.dumps(fields[:4]), dict(fields)["x-a"], dict(fields)["via"][:10])
]==])

    assert.truthy(out:find('[[":method", "GET"], [":scheme", "http"], [":authority", "a"], [":path", "/n0?q=1"]]',
      1, true), out)
    assert.truthy(out:find(" b 2 moongate", 1, true), out)
  end)

  it("answers clients of HTTP/1.1", function()
    start()

    assert.truthy(get("/x").body:find('"via", "1.1 moongate', 1, true))
    local empty = get("/empty")
    assert.equal(200, empty.status)
    assert.equal("0", empty.headers["content-length"])
    assert.equal(204, get("/204").status)
    assert.equal("500", gateway:client():request { method = "HEAD", path = "/head" }.headers["content-length"])
    assert.equal(3000000, #get("/big").body)
    local with = get("/trailers")
    assert.equal("abc", with.body)
    assert.equal("7", with.trailers["x-sum"])
  end)

  it("gets bodies with their length or without, and trailers", function()
    start()

    http2.runner(gateway)([==[
import json
p = Peer(port)
s = p.open("/x", "POST", extra=[("te", "trailers")], end=False)
for _ in range(20):
    p.data(s, b"x" * 1000)
p.trailers(s, [("x-check", "1")])
told = json.loads(p.answer(s)["body"])
assert told["length"] == 20000 and told["trailers"] == [["x-check", "1"]], told
assert "content-length" not in dict(told["fields"]) and dict(told["fields"])["te"] == "trailers"
]==])
    local told = gateway:client():request { method = "POST", path = "/x", body = ("y"):rep(300000) }.body
    assert.truthy(told:find('"length": 300000', 1, true), told)
    assert.truthy(told:find('["content-length", "300000"]', 1, true), told)
  end)

  it("passes trailers, trailers alone, and 1xx to clients of HTTP/2", function()
    start()

    http2.runner(gateway)([==[
p = Peer(port)
a = p.get("/trailers")
assert a["body"] == b"abc" and a["trailers"] == {"x-sum": "7"}, a
a = p.get("/trailers-only")
assert a["headers"]["grpc-status"] == "5" and a["body"] == b"", a
last = [f for f in p.frames if f[2] == 3]
assert [f[0] for f in last] == [HEADERS] and last[0][1] & END_STREAM, last
a = p.get("/103")
assert dict(a["informational"][0])["link"] == "</a>" and a["body"] == b"late", a
p.window(0, 1 << 24)
s = p.open("/big")
p.window(s, 1 << 24)
assert len(p.answer(s)["body"]) == 3000000
]==])
  end)

  it("may say that it has not looked at a request: it is sent again, POST too", function()
    start()

    for _, path in ipairs { "/refuse-once/a", "/goaway-once/b" } do
      assert.equal(200, get(path).status, path)
    end
    for _, path in ipairs { "/refuse-once/c", "/goaway-once/d" } do
      assert.equal(200, gateway:client():request { method = "POST", path = path, body = "b" }.status, path)
    end
  end)

  it("hears nothing of a request that was taken back before it left", function()
    start()

    http2.runner(gateway)([==[
import json
p = Peer(port)
assert json.loads(p.get("/x")["body"])["connection"] == 1
s = p.open("/deaf", "POST", end=False) # the upstream reads nothing for a while: its socket fills
room = {0: 1 << 20, s: 65535}
until = time.time() + 2
while time.time() < until:
    n = min(16384, room[0], room[s])
    if n > 0:
        p.data(s, b"x" * n)
        room[0], room[s] = room[0] - n, room[s] - n
        continue
    f = p.read(0.3)
    if f is None:
        break
    if f[0] == WINDOW:
        room[f[2]] += struct.unpack("!I", f[3])[0]
back = p.open("/hang")
time.sleep(0.1)
p.rst(back)
time.sleep(0.1)
p.rst(s)
assert json.loads(p.get("/x")["body"])["connection"] == 1
]==])
    server:close()

    assert.is_nil(server.stdout:read_all():find("idle", 1, true))
  end)

  it("may end the connection: what may be repeated is", function()
    start()

    assert.equal(200, get("/x").status)
    assert.equal(200, get("/close-once").status)
    assert.equal(502, gateway:client():request { method = "POST", path = "/close-once/2", body = "b" }.status)
  end)

  it("may answer so 600 times", function()
    start()

    http2.runner(gateway)([==[
import json
p = Peer(port)
for _ in range(60):
    for s in [p.open("/early", "POST", end=False) for _ in range(10)]:
        assert p.answer(s)["status"] == 413
    p.frames.clear()
assert json.loads(p.get("/x")["body"])["connection"] == 1
]==])
  end)

  it("may answer before it has read the request", function()
    start()
    local conn = gateway:client():connect()

    conn:write("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" .. ("x"):rep(1000))

    assert.equal(413, conn:read_answer().status)
  end)

  for _, how in ipairs { "status", "none", "two", "connection", "chunked", "crlf", "lengths", "101", "upper",
    "large", "push", "frame", "flood" } do
    it("that breaks the rules is 502, and no more: " .. how, function()
      start("read_timeout: 1s")

      local answer = get("/bad?" .. how)

      assert.equal(how == "flood" and answer.status or 502, answer.status)
      assert.is_nil(answer.headers["x-evil"])
      assert.equal(200, get("/x").status)
    end)
  end

  it("whose body is not as long as it said cuts the answer", function()
    start("read_timeout: 1s")

    for _, how in ipairs { "long", "short" } do
      local conn = gateway:client():connect()
      conn:write("GET /bad?" .. how .. " HTTP/1.1\r\nHost: a\r\n\r\n")
      local came = conn:read_all()
      assert.is_nil(came:find("longer", 1, true))
      assert.truthy(came:find("^HTTP/1.1 502") or not came:find("short\r\n", 1, true), came)
    end
  end)

  it("that resets is 502, that says nothing is 504", function()
    start("read_timeout: 300ms")

    assert.equal(504, get("/hang").status)
    assert.equal(502, get("/reset").status)
    assert.equal(200, get("/x").status)
  end)

  it("that takes no body holds up its client, and times out", function()
    start("send_timeout: 500ms")
    local conn = gateway:client():connect()

    conn:write("POST /stall HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" .. ("x"):rep(200000))

    assert.equal(504, conn:read_answer().status)
  end)

  it("gets another connection when one may carry no more", function()
    server:close()
    serve(2)
    start()

    assert.equal(200, get("/x").status)
    local out = http2.runner(gateway)([==[
import json
p = Peer(port)
hang = [p.open("/hang") for _ in range(3)]
time.sleep(0.3)
print(json.loads(p.get("/x")["body"])["connection"])
]==])

    assert.equal("2\n", out)
  end)

  it("loses its idle connection after idle_timeout, and one after requests_max", function()
    start("idle_timeout: 200ms, requests_max: 2")

    local function number() return get("/x").body:match('"connection": (%d+)') end
    assert.equal("1", number())
    assert.equal("1", number())
    assert.equal("2", number())
    kit.eventually(function()
      local upstream = gateway:status().workers[1]
      return upstream.upstream_connections == 0
    end)
    assert.equal("3", number())
  end)

  it("keeps its connection over a reload", function()
    start()

    assert.truthy(get("/x").body:find('"connection": 1', 1, true))
    gateway:reload()
    assert.truthy(get("/x").body:find('"connection": 1', 1, true))
  end)

  it("may be node", function()
    local node = kit.start("node", { "-e", [[
const s = require('http2').createServer();
s.on('stream', (t, h) => { t.respond({ ':status': 200, 'x-m': h[':method'] }); t.pipe(t) });
s.listen(0, '127.0.0.1', () => console.log(s.address().port))]] })
    port = node.stdout:read_until("\n"):match("%d+")
    start()

    local answer = gateway:client():request { method = "POST", path = "/", body = ("z"):rep(500000) }

    assert.equal("POST", answer.headers["x-m"])
    assert.equal(("z"):rep(500000), answer.body)
  end)
end)
