--- What a client of gRPC gets where the gateway answers, and where an upstream breaks.
local kit = require("gateway.spec")

local grpc = dofile(debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$") .. "/support.lua")

local server, port

local EXIT = [[
return {
  name = "exit",
  access = function(_, ctx)
    local status = tonumber(ctx.request.headers["x-status"])
    local how = ctx.request.headers["x-how"]
    if not status then
      return
    end
    if how == "problem" then
      return ctx:problem(status, { title = "No way", detail = "not 100 % ü" })
    elseif how == "more" then
      return ctx:problem(status, { title = "No way", more = "x" })
    elseif how == "own" then
      return ctx:exit(200, "", { ["grpc-status"] = "9", ["grpc-message"] = "mine" })
    elseif how == "json" then
      return ctx:exit(status, { a = "b" })
    elseif how == "fail" then
      error("no")
    elseif how then
      return ctx:exit(status, how)
    end
    return ctx:exit(status)
  end,
}
]]

local ROUTES = [[
  - name: exit
    match: { path: "/x.X/exit" }
    plugins: [ exit ]
    respond: { body: "never" }
  - name: keys
    match: { path: "/x.X/keys" }
    plugins: [ { key-auth: { keys: { a: secret } } } ]
    respond: { body: "" }
  - name: rate
    match: { path: "/x.X/rate" }
    plugins: [ { rate-limit: { rate: 1/h, by: ip, dictionary: limits } } ]
    upstream: grpc
    rewrite: /spec.Echo/Unary
  - name: gone
    match: { path: "/x.X/redirect" }
    redirect: { to: /there }
  - name: dead
    match: { path: "/x.X/dead" }
    upstream: http://127.0.0.1:1
    timeout: 2s
  - name: slow
    match: { path: "/x.X/slow" }
    upstream: grpc
    rewrite: /spec.Echo/Unary
    timeout: 300ms
  - name: small
    match: { path: "/x.X/small" }
    upstream: grpc
    rewrite: /spec.Echo/Both
    limits: { body_size_max: 1k }
  - name: filtered
    match: { path: "/x.X/filtered" }
    plugins: [ exit, pieces ]
    upstream: grpc
    rewrite: /spec.Echo/Unary
  - name: whole
    match: { path: "/x.X/whole" }
    plugins: [ exit, whole ]
    upstream: grpc
    rewrite: /spec.Echo/Unary
  - name: get
    match: { path: "/x.X/get", methods: [ GET ] }
    respond: { body: "" }
]]

local PIECES = [[return { name = "pieces", body_filter = function() end }]]
local WHOLE = [[return { name = "whole", body = "buffered", body_filter = function() end }]]

local MORE = { top = "shared: { limits: 1m }", routes = ROUTES,
  route = "    plugins: [ { access-log: { path: access.log } } ]",
  plugins = { exit = EXIT, pieces = PIECES, whole = WHOLE } }

describe("an error of the gateway, to gRPC,", function()
  local gateway

  setup(function()
    server, port = grpc.serve()
    gateway = grpc.gateway(port, MORE)
  end)

  local function python(lines, ...)
    return grpc.run(gateway, [==[
def call(name, *metadata, message=b"a", **more):
    return lambda: channel.unary_unary("/x.X/" + name)(message, metadata=metadata, **more)
]==] .. lines, ...)
  end

  it("is a status of gRPC, by its status of HTTP", function()
    python [==[
for http, code in ((400, Code.INTERNAL), (401, Code.UNAUTHENTICATED), (403, Code.PERMISSION_DENIED),
                   (404, Code.UNIMPLEMENTED), (405, Code.UNIMPLEMENTED), (413, Code.RESOURCE_EXHAUSTED),
                   (429, Code.RESOURCE_EXHAUSTED), (500, Code.UNKNOWN), (502, Code.UNAVAILABLE),
                   (503, Code.UNAVAILABLE), (504, Code.UNAVAILABLE), (418, Code.UNKNOWN), (302, Code.UNKNOWN)):
    for how in ((), (("x-how", "problem"),), (("x-how", "as it is"),)):
        fails(call("exit", ("x-status", str(http)), *how), code)
fails(call("redirect"), Code.UNKNOWN)
]==]
  end)

  it("has its words in grpc-message, whatever they are", function()
    python [==[
def words(how, status="403"):
    return fails(call("exit", ("x-status", status), ("x-how", how)), Code.PERMISSION_DENIED).details()
assert words("problem") == "not 100 % \u00fc", words("problem")
assert words("more") == "No way"
assert words("no entry") == "no entry"
assert words("json") == "Forbidden"
assert words("x" * 1024) == "x" * 1024
assert words("x" * 1025) == "Forbidden"
assert fails(call("exit", ("x-status", "403"))).details() == "Forbidden"
fails(call("exit", ("x-status", "200"), ("x-how", "own")), Code.FAILED_PRECONDITION, "mine")
fails(call("exit", ("x-status", "200"), ("x-how", "fail")), Code.UNKNOWN, "A plugin failed.")
]==]
  end)

  it("is what shipped plugins say: no key, too many calls", function()
    python [==[
fault = fails(call("keys"), Code.UNAUTHENTICATED, "A valid API key is needed")
assert "www-authenticate" in dict(tuple(fault.trailing_metadata()) + tuple(fault.initial_metadata()))
assert call("rate")() == b"a"
fails(call("rate"), Code.RESOURCE_EXHAUSTED)
]==]
  end)

  it("is what becomes of no route, a dead upstream, a late one, a body too large", function()
    python [==[
fails(call("none"), Code.UNIMPLEMENTED, "No route matches.")
fails(call("get"), Code.UNIMPLEMENTED, "The method is not allowed here.")
fails(call("dead"), Code.UNAVAILABLE, "The upstream could not be reached")
fails(call("slow", message=b"sleep 3"), Code.UNAVAILABLE, "The time allowed")
small = channel.stream_stream("/x.X/small")
fails(lambda: small(feed(b"x" * 2000, hold=threading.Event())), Code.RESOURCE_EXHAUSTED)
stream = small(feed(b"x" * 500, b"y" * 600, wait=0.2, hold=threading.Event()))
assert next(stream) == b"x" * 500
fails(lambda: stream, Code.RESOURCE_EXHAUSTED)
]==]
  end)

  it("is HTTP to others: other types, gRPC-Web, HTTP/1.1", function()
    local function post(type, path)
      return gateway:client():request { method = "POST", path = path or "/x.X/none", body = "x",
        headers = { ["Content-Type"] = type } }
    end
    for _, type in ipairs { "application/grpc", "application/grpc-web+proto", "text/plain" } do
      local answer = post(type)
      assert.equal(404, answer.status)
      assert.equal("application/problem+json", answer.headers["content-type"])
      assert.is_nil(answer.headers["grpc-status"])
    end
    assert.equal(505, post("application/grpc+proto", "/spec.Echo/Unary").status)
    local function bare(type)
      local _, text = kit.run("curl", { "-sSi", "--http2-prior-knowledge", "-H", "Content-Type: " .. type,
        gateway:url("/x.X/none") })
      return text
    end
    assert.matches("^HTTP/2 404", bare("application/grpc-web"))
    local text = bare("APPLICATION/gRPC;a=b")
    assert.matches("^HTTP/2 200", text)
    assert.matches("\ncontent%-type: application/grpc\r\n", text)
    assert.matches("\ngrpc%-status: 12\r\n", text)
    assert.is_nil(text:find("content-length", 1, true))
  end)

  it("leaves statuses alone where plugins filter bodies", function()
    python [==[
for name in "filtered", "whole":
    assert call(name)() == b"a"
    fails(call(name, message=b"fail"), Code.FAILED_PRECONDITION, "not so")
    fails(call(name, ("x-status", "403")), Code.PERMISSION_DENIED)
]==]
  end)

  it("and each other status is in the access log", function()
    python [==[
assert unary(b"a") == b"a"
fails(lambda: unary(b"fail"), Code.FAILED_PRECONDITION)
fails(lambda: server_stream(b"fail 1 0"), Code.DATA_LOSS)
]==]
    kit.eventually(function()
      local seen = {}
      for line in (gateway:read("access.log") or ""):gmatch("[^\n]+") do
        local row = gw.json.decode(line)
        if row.grpc_status then
          assert.equal(200, row.status)
          seen[row.grpc_status] = true
        end
      end
      return seen[0] and seen[9] and seen[15]
    end)
  end)
end)

describe("an upstream of gRPC", function()
  it("that is killed amid calls makes them UNAVAILABLE, and comes back", function()
    local gateway
    server, port = grpc.serve()
    gateway = grpc.gateway(port)
    local client = grpc.start(gateway, [==[
streams = [both(feed(b"a", hold=threading.Event())) for _ in range(10)]
assert [next(s) for s in streams] == [b"a"] * 10
waiting = [unary.future(b"sleep 10") for _ in range(10)]
time.sleep(0.3)
print("here", flush=True)
for stream in streams:
    fails(lambda: next(stream), Code.UNAVAILABLE)
for call in waiting:
    fails(call.result, Code.UNAVAILABLE)
fails(lambda: unary(b"a"), Code.UNAVAILABLE)
print("dead", flush=True)
assert sys.stdin.readline()
assert unary(b"a") == b"a"
print("alive", flush=True)
]==])

    client.stdout:read_until("here\n")
    server:signal_now("KILL")
    client.stdout:read_until("dead\n", 10)
    server = grpc.serve(port)
    client.stdin:write("\n")

    assert.truthy(client.stdout:read_until("alive\n", 10))
    assert.equal(0, client:wait())
  end)

  it("may answer with a head alone, or with HTTP", function()
    local node = kit.start("node", { "-e", [[
const s = require('http2').createServer();
s.on('stream', (t, h) => {
  if (h[':path'].endsWith('/Only'))
    t.respond({ ':status': 200, 'content-type': 'application/grpc+proto', 'grpc-status': '5',
      'grpc-message': 'none%20here', 'x-a': 'b' }, { endStream: true });
  else {
    t.respond({ ':status': 503, 'content-type': 'text/html' });
    t.end('<p>');
  }
});
s.listen(0, '127.0.0.1', () => console.log(s.address().port))]] })
    local gateway = grpc.gateway(node.stdout:read_until("\n"):match("%d+"))

    grpc.run(gateway, [==[
def call(name):
    return channel.unary_unary("/spec.Echo/" + name)
fault = fails(lambda: call("Only")(b""), Code.NOT_FOUND, "none here")
assert ("x-a", "b") in tuple(fault.trailing_metadata()) + tuple(fault.initial_metadata())
fails(lambda: call("Html")(b""), Code.UNAVAILABLE)
]==])
  end)

  it("may reset a call, before its answer and amid it", function()
    local raw = kit.start("/usr/bin/python3", { "-c", [[
import hpack, socket, struct
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sock = listener.accept()[0]
encoder, decoder, data = hpack.Encoder(), hpack.Decoder(), b""
def frame(kind, flags, stream, payload=b""):
    sock.sendall(struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload)
frame(4, 0, 0)
skipped = 24
while True:
    data += sock.recv(65536)
    data, skipped = data[skipped:], max(0, skipped - len(data))
    while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
        size = int.from_bytes(data[:3], "big")
        kind, flags, stream, payload = data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:9 + size]
        data = data[9 + size:]
        if kind == 4 and not flags & 1:
            frame(4, 1, 0)
        elif kind == 1:
            fields = dict(decoder.decode(payload))
            if fields[":path"].endswith("/Amid"):
                frame(1, 4, stream, encoder.encode([(":status", "200"), ("content-type", "application/grpc")]))
                frame(0, 0, stream, b"\0\0\0\0\1A")
            frame(3, 0, stream, struct.pack("!I", int(fields["x-code"])))
]] })
    local gateway = grpc.gateway(raw.stdout:read_until("\n"):match("%d+"))

    grpc.run(gateway, [==[
for number, code in (("8", Code.CANCELLED), ("2", Code.UNAVAILABLE), ("7", Code.UNAVAILABLE)):
    metadata = (("x-code", number),)
    fails(lambda: channel.unary_unary("/spec.Echo/First")(b"", metadata=metadata), code)
    stream = channel.unary_stream("/spec.Echo/Amid")(b"", metadata=metadata)
    assert next(stream) == b"A"
    fails(lambda: next(stream), code)
]==])
  end)

  it("that is silent, as the client is, ends the call after grpc_idle_timeout", function()
    server, port = grpc.serve()
    local gateway = grpc.gateway(port, { route = "    limits: { grpc_idle_timeout: 1m, body_timeout: 1s,"
      .. " data_rate_min: 1m/s, data_rate_grace: 1s }", upstream = ", read_timeout: 10m" })
    local client = grpc.start(gateway, [==[
import queue
asked = queue.Queue()
answers = both(iter(asked.get, None))
for word in sys.stdin:
    asked.put(word.encode())
    try:
        print(next(answers), flush=True)
    except grpc.RpcError as fault:
        print(fault.code(), fault.details(), flush=True)
]==])

    for _ = 1, 3 do
      client.stdin:write("a\n")
      assert.equal("b'a\\n'\n", client.stdout:read_until("\n"))
      gateway:advance(59000)
    end
    client.stdin:write("sleep 20\n")
    kit.eventually(function() return gateway:status().workers[1].requests_active == 1 end)
    gw.sleep(0.2)
    gateway:advance(61000)

    assert.equal("StatusCode.UNAVAILABLE neither side of the call sends anything\n",
      client.stdout:read_until("\n"))
  end)
end)
