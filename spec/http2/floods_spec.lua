local kit = require("gateway.spec")
local http2 = dofile(debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$") .. "/support.lua")

local upstream, gateway, python

--- Memory of the worker alone, in bytes.
local function memory()
  local file = assert(io.open(("/proc/%d/statm"):format(gateway:worker_pids()[1])))
  local resident, shared = file:read("*a"):match("%d+ (%d+) (%d+)")
  file:close()
  return (tonumber(resident) - tonumber(shared)) * 4096
end

--- Lines of Python that attack; the worker stays small, has nothing left, and serves others.
local function attack(lines, mib)
  local before = memory()

  python(lines .. "\nothers_served(port)\n")

  kit.eventually(function() return gateway:status().workers[1].requests_active == 0 end)
  assert.is_true(memory() - before < (mib or 16) * 1024 * 1024,
    ("%d bytes more"):format(memory() - before))
end

describe("one worker under HTTP/2", function()
  setup(function()
    upstream = kit.upstream()
    upstream:on(http2.swallow)
    gateway = http2.gateway(upstream, "limits: { send_timeout: 1s, idle_timeout: 20s }")
    python = http2.runner(gateway)
  end)

  it("ends a rapid reset", function()
    attack([==[
p = Peer(port)
try:
    for _ in range(2000):
        p.rst(p.open("/x"))
except OSError:
    pass
calm(p)
]==])
  end)

  it("ends resets that it is made to send itself", function()
    attack([==[
p = Peer(port)
try:
    for _ in range(2000):
        p.window(p.open("/x"), 0)
except OSError:
    pass
assert p.goaway() in (CALM, PROTOCOL), p.frames[-3:]
assert p.ended()
]==])
  end)

  it("ends a flood of CONTINUATION", function()
    attack([==[
p = Peer(port)
p.frame(HEADERS, 0, 1, p.encoder.encode(p.fields()))
flood(p, Peer.pack(CONTINUATION, 0, 1, p.encoder.encode([("x-a", "b" * 100)]) * 100), 2000)
calm(p)
]==])
  end)

  it("ends a flood of empty CONTINUATION", function()
    attack([==[
p = Peer(port)
p.frame(HEADERS, 0, 1, p.encoder.encode(p.fields()))
flood(p, Peer.pack(CONTINUATION, 0, 1) * 100, 1000)
calm(p)
]==])
  end)

  it("ends a flood of SETTINGS", function()
    attack([==[
p = Peer(port)
flood(p, Peer.pack(SETTINGS, 0, 0, struct.pack("!HI", 4, 65535)) * 100, 1000)
calm(p)
]==])
  end)

  it("ends a flood of PING", function()
    attack([==[
p = Peer(port)
flood(p, Peer.pack(PING, 0, 0, b"12345678") * 100, 1000)
calm(p)
]==])
  end)

  it("lets a PING for each DATA be: so gRPC measures", function()
    python [==[
p = Peer(port)
for _ in range(40):
    for s in [p.open() for _ in range(100)]:
        p.answer(s)
    p.frames.clear()
    p.raw(Peer.pack(PING, 0, 0, b"12345678") * 100)
assert p.get("/hello")["body"] == b"hello\n"
]==]
  end)

  it("ends a flood of PRIORITY", function()
    attack([==[
p = Peer(port)
flood(p, Peer.pack(PRIORITY, 0, 3, b"\0\0\0\1\0") * 100, 1000)
calm(p)
]==])
  end)

  it("ends a flood of empty DATA", function()
    attack([==[
p = Peer(port)
s = p.open("/x", "POST", end=False)
flood(p, Peer.pack(DATA, 0, s) * 100, 1000)
calm(p)
]==])
  end)

  it("ends a flood of window updates", function()
    attack([==[
p = Peer(port)
flood(p, Peer.pack(WINDOW, 0, 0, struct.pack("!I", 1)) * 100, 1000)
calm(p)
]==])
  end)

  it("reads over frames that nobody knows", function()
    attack([==[
p = Peer(port)
flood(p, Peer.pack(0x42, 0, 0, b"x") * 100, 100)
assert p.get()["status"] == 200
]==])
  end)

  it("ends a head that unpacks without end", function()
    attack([==[
p = Peer(port)
block = p.encoder.encode(p.fields() + [("x-bomb", "b" * 3900)])
p.frame(HEADERS, 0, 1, block + b"\xbe" * 10000)
calm(p)
]==])
  end)

  it("refuses a HPACK table that is larger than it said", function()
    attack([==[
p = Peer(port)
p.frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe1\xff\x7f" + p.encoder.encode(p.fields()))
assert p.goaway() == COMPRESSION, p.frames
assert p.ended()
]==])
  end)

  it("refuses the stream beyond the most that may be open, and serves the others", function()
    attack([==[
p = Peer(port)
streams = [p.open("/x") for _ in range(140)]
f = p.until(lambda f: f[0] == RST)
assert f[2] == streams[128] and struct.unpack("!I", f[3])[0] == REFUSED, f
]==])
  end)

  it("ends a window update of 0 and one that is too much", function()
    attack([==[
p = Peer(port)
p.window(0, 0)
assert p.goaway() == PROTOCOL, p.frames
assert p.ended()
p = Peer(port)
p.window(0, 0x7fffffff)
assert p.goaway() == FLOW, p.frames
assert p.ended()
p = Peer(port)
s = p.open("/x", "POST", end=False)
p.window(s, 0x7fffffff)
a = p.answer(s)
assert a["reset"] == FLOW, a
]==])
  end)

  it("ends a client that sends more than its window", function()
    attack([==[
p = Peer(port)
s = p.open("/x", "POST", end=False)
try:
    for _ in range(200):
        p.data(s, b"x" * 16384)
except OSError:
    pass
over = p.until(lambda f: f[0] in (GOAWAY, RST))
assert over and struct.unpack("!I", over[3][-4:])[0] == FLOW, over
]==])
  end)

  it("ends frames that are too long, in the wrong place, or not HTTP/2 at all", function()
    attack([==[
def dies(raw, start=True):
    p = Peer(port, start=start)
    p.raw(raw)
    p.goaway(5)
    assert p.ended(5), raw[:20]
dies(Peer.pack(DATA, 0, 1, b"x" * 20000))
dies(Peer.pack(DATA, 0, 1, b"x"))
dies(Peer.pack(HEADERS, 5, 2, b"\x82"))
dies(Peer.pack(SETTINGS, 0, 1))
dies(Peer.pack(SETTINGS, 0, 0, b"abc"))
dies(Peer.pack(PING, 0, 0, b"short"))
dies(Peer.pack(PUSH, 4, 1, b"\0\0\0\2\x82"))
dies(PREFACE + b"GET / HTTP/1.1\r\n\r\n", start=False)
dies(PREFACE + b"\0" * 100, start=False)
]==])
  end)

  it("resets a stream that nobody reads, whose window is shut", function()
    upstream:on()
    upstream:answer { body = ("x"):rep(1000000) }
    attack([==[
p = Peer(port, settings=((4, 0),))
s = p.open("/x")
a = p.answer(s, 5)
assert a["status"] == 200 and a["body"] == b"" and a["reset"] == CANCEL, a
]==])
  end)

  it("resets a stream whose window opens byte by byte", function()
    attack([==[
p = Peer(port, settings=((4, 1),))
s = p.open("/x")
until = time.time() + 8
while time.time() < until:
    f = p.read(0.2)
    if f and f[0] == RST:
        break
    if f and f[0] == DATA:
        time.sleep(0.005)
        p.window(s, 1)
assert p.answer(s)["reset"] == CANCEL
]==])
  end)

  it("ends a client that asks and reads nothing", function()
    attack([==[
p = Peer(port, settings=((4, 0x7fffffff),))
p.window(0, 0x7fff0000 - 65535)
p.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
for _ in range(100):
    p.open("/x")
time.sleep(3)
p.sock.settimeout(1)
try:
    while p.sock.recv(1 << 20):
        pass
except ConnectionResetError:
    pass
]==], 40)
  end)
end)
