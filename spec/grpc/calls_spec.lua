--- Calls of all four kinds through the gateway, with python3-grpcio on both sides.
local kit = require("gateway.spec")

local grpc = dofile(debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$") .. "/support.lua")

local server, port, gateway

local function python(lines, ...) return grpc.run(gateway, lines, ...) end

local function idle()
  kit.eventually(function()
    local worker = gateway:status().workers[1]
    return worker.requests_active == 0
  end)
end

describe("gRPC", function()
  setup(function()
    server, port = grpc.serve()
    gateway = grpc.gateway(port)
  end)

  it("passes calls of all four kinds", function()
    python [==[
assert unary(b"hello") == b"hello"
assert unary(b"") == b""
assert list(server_stream(b"send 5 0")) == [b"0", b"1", b"2", b"3", b"4"]
assert client_stream(feed(b"a", b"bc", b"")) == b"3 3"
assert client_stream(iter(())) == b"0 0"
assert list(both(feed(b"a", b"b", b"c"))) == [b"a", b"b", b"c"]
]==]
    idle()
  end)

  it("holds no message back: each is there before the next is sent", function()
    python [==[
import queue
asked = queue.Queue()
answers = both(iter(asked.get, None))
for i in range(20):
    asked.put(b"%d" % i)
    assert next(answers) == b"%d" % i
asked.put(None)
assert list(answers) == []
began = time.time()
first = next(iter(server_stream(b"send 2 4")))
assert time.time() - began < 3.5
]==]
  end)

  it("passes metadata both ways, binary too, and the server's status with its words", function()
    python [==[
answer, call = unary.with_call(b"meta", metadata=(("x-in-bin", b"\0\xff,1"), ("x-a", "b c")))
assert answer == b"\0\xff,1", answer
assert ("x-first", "1") in call.initial_metadata() and ("x-first-bin", b"\xfe\0") in call.initial_metadata()
assert ("x-last", "2") in call.trailing_metadata(), call.trailing_metadata()
fault = fails(lambda: unary(b"fail"), Code.FAILED_PRECONDITION)
assert fault.details() == "not so: 100 % \u00fc", fault.details()
assert ("x-why-bin", b"\0\1\xff") in fault.trailing_metadata()
came = []
def some():
    for message in server_stream(b"fail 3 0"):
        came.append(message)
fails(some, Code.DATA_LOSS, "half of it")
assert came == [b"0", b"1", b"2"]
fails(lambda: client_stream(feed(b"a", b"enough", wait=0.05)), Code.OUT_OF_RANGE, "enough")
fails(lambda: channel.unary_unary("/spec.Echo/None")(b""), Code.UNIMPLEMENTED)
told = unary(b"told", metadata=(("x-a", "1"), ("x-a", "2"))).decode()
assert told.startswith("deadline none") and "x-a: 1\nx-a: 2" in told and "x-forwarded-for: 127.0.0.1" in told, told
]==]
  end)

  it("carries messages of 4 MiB both ways, also to a client that does not read", function()
    python [==[
big = bytes(range(256)) * 16384
assert unary(big) == big
assert len(unary(b"big 8000000")) == 8000000
assert client_stream(feed(big, big)) == b"2 8388608"
assert list(both(feed(big, big))) == [big, big]
slow = both(feed(b"many 128"))
time.sleep(1)
assert sum(len(m) for m in slow) == 128 * 65536 + 8
]==]
    idle()
  end)

  it("carries 100 streams at once on one channel", function()
    local before = gateway:status().workers[1].upstream_connections
    python [==[
hold = threading.Event()
calls = [both(feed(b"%d" % i, hold=hold)) for i in range(100)]
assert [next(c) for c in calls] == [b"%d" % i for i in range(100)]
hold.set()
assert all(list(c) == [] for c in calls)
]==]
    assert.is_true(gateway:status().workers[1].upstream_connections <= before + 1)
    idle()
  end)

  describe("deadline", function()
    it("is passed on with what is left of it", function()
      local own = grpc.gateway(port, { route = "    plugins: [ wait ]",
        plugins = { wait = [[return { name = "wait", rewrite = function() gw.sleep(0.3) end }]] } })

      grpc.run(own, [==[
def left(of, timeout):
    return float(of(b"told", timeout=timeout).split()[1])
assert 3 < left(unary, 5) < 4.75, left(unary, 5)
assert 86300 < left(unary, 86400) < 87000, left(unary, 86400) # the client rounds up
]==])
      python [==[
left = float(unary(b"told", timeout=5).split()[1])
assert 3 < left < 5.2, left
]==]
    end)

    it("ends the call where the server does not: before and amid the answer", function()
      python [==[
for what in (lambda: unary(b"sleep 4", timeout=0.3), lambda: server_stream(b"send 5 4", timeout=0.5),
             lambda: client_stream(feed(b"a", hold=threading.Event()), timeout=0.3)):
    began = time.time()
    fails(what, Code.DEADLINE_EXCEEDED)
    assert time.time() - began < 3.5
]==]
      idle()
    end)

    it("is kept by the gateway itself", function()
      -- A client that says a deadline and does not keep it, and upstreams that do not, either.
      local upstream = kit.upstream()
      upstream:on(function(conn)
        local request = conn:read_request()
        if request.target == "/amid" then
          conn:write("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n"
            .. "5\r\n\0\0\0\0\0\r\n")
        end
        conn:read_all()
      end)
      local own = grpc.gateway(port, { routes = ([[
  - name: deaf
    match: { path: [ /before, /amid ] }
    upstream: %s
]]):format(upstream:url()) })
      local out = grpc.run(own, [==[
import socket, struct, hpack
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
e = hpack.Encoder()
def frame(kind, flags, stream, payload):
    s.sendall(struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload)
s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
frame(4, 0, 0, b"")
def ask(stream, path, timeout, message):
    frame(1, 4, stream, e.encode([(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "a"),
          ("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", timeout)]))
    frame(0, 1, stream, b"\0" + struct.pack("!I", len(message)) + message)
wanted = {1: ("/before", "400m", b""), 3: ("/amid", "900000u", b""), 5: ("/before", "0n", b"")}
for stream, what in wanted.items():
    ask(stream, *what)
for stream, bad in enumerate(("1", "S", "123456789m", "1 m", "-1m", "1s", "1m, 1m", "", "0x1m", "1.5S")):
    ask(7 + 2 * stream, "/spec.Echo/Unary", bad, b"a")
    wanted[7 + 2 * stream] = bad
d, data, ended = hpack.Decoder(), b"", {}
while len(ended) < len(wanted):
    data += s.recv(65536)
    while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
        n = int.from_bytes(data[:3], "big")
        kind, flags, stream, payload = data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:9 + n]
        data = data[9 + n:]
        fields = dict(d.decode(payload)) if kind == 1 else {}
        if stream in wanted and (flags & 1 and kind < 2 or kind == 3):
            what = tuple(fields.get(name) for name in ("grpc-status", "grpc-message", ":status"))
            ended.setdefault(stream, (kind,) + what)
for stream in sorted(ended):
    print(stream, *ended[stream])
]==])
      local lines = {}
      for line in out:gmatch("[^\n]+") do
        lines[#lines + 1] = line
      end
      assert.equal(13, #lines)
      assert.equal("1 1 4 The time allowed for the exchange is over. 200", lines[1])
      assert.equal("3 1 4 the time allowed for the exchange is over None", lines[2])
      assert.equal("5 1 4 the deadline of the call has passed 200", lines[3])
      for i = 4, 13 do
        assert.matches("^%d+ 1 13 bad grpc%-timeout 200$", lines[i])
      end
    end)
  end)

  describe("cancel", function()
    it("by the client reaches the server", function()
      server.stdout:read(0)
      python [==[
call = unary.future(b"hang")
time.sleep(0.5)
call.cancel()
stream = both(feed(b"a", hold=threading.Event()))
assert next(stream) == b"a"
stream.cancel()
fails(lambda: next(stream), Code.CANCELLED)
time.sleep(0.2)
]==]
      kit.eventually(function() return server.stdout:read_until("ended inactive\n", 5) end)
      idle()
    end)

    it("by the client's death, too", function()
      local client = grpc.start(gateway, [==[
stream = both(feed(b"a", hold=threading.Event()))
next(stream)
print("here", flush=True)
time.sleep(20)
]==])
      client.stdout:read_until("here")
      client:signal_now("KILL")
      assert.truthy(server.stdout:read_until("over\n", 5))
      idle()
    end)

    it("by the server reaches the client", function()
      python [==[
fails(lambda: both(feed(b"a", b"cancel", wait=0.1)), Code.CANCELLED)
]==]
      idle()
    end)
  end)
end)
