--- WebSockets between real programs: Debian's python3-websockets (as server and client) and node-ws.
local kit = require("gateway.spec")
local ws = kit.websocket

local PYTHON = "/usr/bin/python3" -- the one that Debian's modules belong to
local NODE_MODULES = "/usr/share/nodejs"

local CONF = [[
%s
routes:
  - name: all
    match: { path: "/*" }
    %s
    upstream: "${UPSTREAM}"
]]

local SERVER = [[
import asyncio, sys, websockets
async def echo(socket):
    async for message in socket:
        if message == "close":
            await socket.close(4100, "as asked")
        await socket.send(message)
async def main():
    async with websockets.serve(echo, "127.0.0.1", 0, max_size=64 << 20, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()
asyncio.run(main())
]]

local NODE_SERVER = [[
const { WebSocketServer } = require("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: true, maxPayload: 64 << 20 },
  () => console.log(server.address().port));
server.on("connection", (socket) => {
  socket.on("message", (data, binary) => socket.send(data, { binary }));
  socket.on("error", () => {});
});
]]

local function has(command, ...)
  return (kit.run(command, { ... })) == 0
end

local has_python = has(PYTHON, "-c", "import websockets")
local has_node = has("sh", "-c", "command -v node && test -d " .. NODE_MODULES .. "/ws")

local function it_with(there, what, name, f)
  if there then
    it(name, f)
  else
    pending(name .. " (needs " .. what .. ")")
  end
end

local function serve(command, ...)
  local server = kit.start(command, { ... }, { env = { NODE_PATH = NODE_MODULES } })
  local port = server.stdout:read_until("\n", 20)
  return "http://127.0.0.1:" .. tonumber(port), server
end

local function python_server() return serve(PYTHON, "-c", SERVER) end
local function node_server() return serve("node", "-e", NODE_SERVER) end

local function python(gateway, script)
  local code, out, err = kit.run(PYTHON, { "-c", script, gateway:url("/"):gsub("^http", "ws"), nil },
    { timeout = 120 })
  assert.equal(0, code, err)
  return out
end

local function node(gateway, script)
  local code, out, err = kit.run("node", { "-e", script, (gateway:url("/"):gsub("^http", "ws")) },
    { timeout = 120, env = { NODE_PATH = NODE_MODULES } })
  assert.equal(0, code, err)
  return out
end

local function open_ones(gateway)
  local n = 0
  for _, worker in ipairs(gateway:status().workers) do
    n = n + worker.websockets
  end
  return n
end

local PYTHON_ECHO = [[
import asyncio, os, random, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], max_size=64 << 20) as s:
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20, 8 << 20):
            data = os.urandom(size)
            await s.send(data)
            assert await s.recv() == data, size
        text = "grüße aus dem gateway ☃ " * 20000
        await s.send(text)
        assert await s.recv() == text
        pieces = [random.randbytes(random.randrange(70000)) for _ in range(50)]
        await s.send(pieces)                  # one message in 50 fragments
        assert await s.recv() == b"".join(pieces)
        await asyncio.wait_for(await s.ping(), 5)
        print(s.extensions)
        await s.close(4001, "done")
        assert (s.close_code, s.close_reason) == (4001, "done"), s.close_code
asyncio.run(main())
]]

local NODE_ECHO = [[
const WebSocket = require("ws"), crypto = require("crypto"), assert = require("assert");
const s = new WebSocket(process.argv[1], { maxPayload: 64 << 20 });
const sent = [0, 1, 126, 65536, 4 << 20].map((n) => crypto.randomBytes(n));
sent.push(Buffer.from("x".repeat(3000000)));
let n = 0;
s.on("open", () => sent.forEach((data) => s.send(data)));
s.on("message", (data) => {
  assert(data.equals(sent[n++]));
  if (n === sent.length) { console.log(s.extensions); s.close(4002, "enough"); }
});
s.on("close", (code, reason) => { assert.equal(code, 4002); assert.equal(String(reason), "enough");
  assert.equal(n, sent.length); });
]]

local LOOK = { same = [[
local plugin = { name = "same", priority = 1, schema = { type = "object" } }
function plugin.message(_, _, msg) return msg.data end
return plugin]] }

describe("WebSockets of real programs", function()
  for _, server in ipairs { "python", "node" } do
    local there = server == "python" and has_python or server == "node" and has_node

    local function gateway_to(more, route)
      local url, process = (server == "python" and python_server or node_server)()
      return kit.gateway { conf = CONF:format(more or "", route or ""), plugins = LOOK,
        env = { UPSTREAM = url } }, process
    end

    it_with(there and has_python, "python3-websockets, node-ws", "python to " .. server
      .. ": big, empty, fragmented, compressed messages come back", function()
      local gateway = gateway_to()

      assert.matches("deflate", (python(gateway, PYTHON_ECHO):lower()))
      kit.eventually(function() return open_ones(gateway) == 0 end)
    end)

    it_with(there and has_node, "node-ws", "node to " .. server .. ": the same", function()
      local gateway = gateway_to()

      assert.matches("deflate", (node(gateway, NODE_ECHO)))
      kit.eventually(function() return open_ones(gateway) == 0 end)
    end)

    it_with(there and has_python, "python3-websockets, node-ws", "python to " .. server
      .. ": the same through message()", function()
      local gateway = gateway_to("limits: { body_buffer_size_max: 16m }", "plugins: [ same ]")

      assert.equal("[]\n", python(gateway, PYTHON_ECHO))
      kit.eventually(function() return open_ones(gateway) == 0 end)
    end)

    it_with(there and has_node, "node-ws", "node to " .. server .. ": the same through message()",
      function()
        local gateway = gateway_to("limits: { body_buffer_size_max: 16m }", "plugins: [ same ]")

        assert.equal("\n", node(gateway, NODE_ECHO))
        kit.eventually(function() return open_ones(gateway) == 0 end)
      end)
  end

  it_with(has_python, "python3-websockets", "1000 at once, through 20 reloads, lose no message",
    function()
      local url = python_server()
      local conf = CONF:format("workers: 1\nlimits: { websocket_idle_timeout: %dm }", "")
      local gateway = kit.gateway { conf = conf:format(1), env = { UPSTREAM = url } }
      local client = kit.start(PYTHON, { "-c", [[
import asyncio, sys, websockets
async def one(n, stop):
    async with websockets.connect(sys.argv[1], compression=None, open_timeout=60) as s:
        opened.append(n)
        count = 0
        while not stop.is_set() or count < 3:
            text = f"{n}-{count}"
            await s.send(text)
            assert await asyncio.wait_for(s.recv(), 30) == text
            count += 1
            await asyncio.sleep(0.2)
        return count
opened = []
async def main():
    stop = asyncio.Event()
    tasks = []
    for n in range(1000):
        tasks.append(asyncio.create_task(one(n, stop)))
        if n % 50 == 49:
            await asyncio.sleep(0.05)
    while len(opened) < 1000:
        await asyncio.sleep(0.05)
    print("open", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    stop.set()
    counts = await asyncio.gather(*tasks)
    print(len(counts), min(counts), flush=True)
asyncio.run(main())
]], (gateway:url("/"):gsub("^http", "ws")) })
      client.stdout:read_until("open\n", 60)
      assert.equal(1000, open_ones(gateway))

      for i = 1, 20 do
        assert.is_true(gateway:reload(conf:format(i + 1)).ok)
      end
      client.stdin:write("\n")
      local counts = client.stdout:read_until("\n", 60)

      assert.matches("^1000 %d", counts)
      assert.equal(0, (client:wait(30)))
      kit.eventually(function() return open_ones(gateway) == 0 end)
    end)

  it_with(has_python, "python3-websockets", "python hears 1011 when its server is killed, and 1001 "
    .. "when the gateway stops", function()
    local url, server = python_server()
    local gateway = kit.gateway { conf = CONF:format("", ""), env = { UPSTREAM = url } }
    gateway:may_die()
    local SCRIPT = [[
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1]) as s:
        await s.send("hello")
        await s.recv()
        print("open", flush=True)
        try:
            await s.recv()
        except websockets.ConnectionClosed:
            print(s.close_code, s.close_reason, flush=True)
asyncio.run(main())
]]
    local url_of = gateway:url("/"):gsub("^http", "ws")
    local first = kit.start(PYTHON, { "-c", SCRIPT, url_of })
    first.stdout:read_until("open\n", 20)
    server:signal_now("KILL")
    kit.eventually(function() return server:ended() end)
    assert.equal("1011 the upstream is gone\n", first.stdout:read_until("\n", 10))

    local again = kit.upstream { port = tonumber(url:match("(%d+)$")) }
    again:on(ws.echo)
    local second = kit.start(PYTHON, { "-c", SCRIPT, url_of })
    second.stdout:read_until("open\n", 20)
    gateway:signal("TERM")
    assert.equal("1001 the gateway stops\n", second.stdout:read_until("\n", 10))
    kit.eventually(function() return gateway.process:ended() end)
    assert.equal(0, gateway.process.code)
  end)

  it_with(has_python, "python3-websockets", "python's server hears 1001 when its client is killed",
    function()
      local server = kit.start(PYTHON, { "-c", [[
import asyncio, websockets
async def one(socket):
    try:
        await socket.recv()
        await socket.recv()
    except websockets.ConnectionClosed as e:
        print("over", e.rcvd.code if e.rcvd else None, flush=True)
async def main():
    async with websockets.serve(one, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()
asyncio.run(main())
]] })
      local port = tonumber((server.stdout:read_until("\n", 20)))
      local gateway = kit.gateway { conf = CONF:format("", ""),
        env = { UPSTREAM = "http://127.0.0.1:" .. port } }
      local conn = ws.connect(kit.client(gateway))
      conn:write(ws.masked(ws.TEXT, "x"))
      gw.sleep(0.05)

      conn:reset()

      assert.equal("over 1001\n", server.stdout:read_until("\n", 10))
    end)

  it_with(has_python, "python3-websockets", "the example is a chat that minds its words", function()
    local function read(name)
      local file = assert(io.open("examples/websocket/" .. name))
      local text = file:read("*a")
      file:close()
      return text
    end
    local server = kit.start(PYTHON, { "examples/websocket/server.py", 0 })
    local port = tonumber((server.stdout:read_until("\n", 20)))
    local gateway = kit.gateway {
      conf = (read("gateway.yaml"):gsub("127.0.0.1:8082", "127.0.0.1:0")
        :gsub("127.0.0.1:9002", "127.0.0.1:" .. port)),
      plugins = { ["chat-guard"] = read("plugins/chat-guard.lua") },
    }
    local client = kit.client(gateway)
    local alice, bob = ws.connect(client, { path = "/chat" }), ws.connect(client, { path = "/chat" })

    alice:write(ws.masked(ws.TEXT, "Darn it, what the HECK"))
    assert.equal("*** it, what the ***", ws.read(alice).payload)
    assert.equal("*** it, what the ***", ws.read(bob).payload)
    for _ = 1, 6 do
      alice:write(ws.masked(ws.TEXT, "spam"))
    end
    local frame
    repeat
      frame = ws.read(alice)
    until frame.opcode == ws.CLOSE
    assert.same({ 1008, "too fast" }, { frame.code, frame.reason })
    bob:write(ws.masked(ws.TEXT, ("x"):rep(201)))
    repeat
      frame = ws.read(bob)
    until frame.opcode == ws.CLOSE
    assert.same({ 1009, "too long" }, { frame.code, frame.reason })
  end)
end)
