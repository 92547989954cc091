--- What an idle connection holds: over TLS, HTTP/2 in the clear, HTTP/2 over TLS. Each has had one
--- answer; afterwards each must answer again. `soak/idle_spec.lua` opens 10,000, `http2/idle_spec.lua` fewer.
local assert = require("luassert")
local kit = require("gateway.spec")

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$")
local certs_of = dofile(here .. "/../tls/certs.lua")

local M = {}

local CONF = [[
limits: { connections_per_client_max: 0, idle_timeout: 600s, connections_max: 20000 }
listen:
  - { name: clear, address: "127.0.0.1:0", http2: true }
  - name: secure
    address: "127.0.0.1:0"
    http2: true
    tls: { certificates: [ { certificate: tls/one.pem, key: tls/one.key } ] }
routes: [ { name: all, match: { path: "/*" }, respond: { body: "hello\n" } } ]
]]

-- argv: port, file of the authority or "", ALPN, count.
local CLIENT = [==[
import socket, ssl, struct, sys
port, ca, version, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
context = ssl.create_default_context(cafile=ca) if ca else None
if context:
    context.set_alpn_protocols([version])
    if len(sys.argv) > 5:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload
def connect():
    s = socket.create_connection(("127.0.0.1", port))
    if context:
        s = context.wrap_socket(s, server_hostname="localhost")
        assert s.selected_alpn_protocol() == version
    if version == "h2":
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(4, 1, 0))
    return s
class Reader:
    def __init__(self, s): self.s, self.data = s, b""
    def take(self, n):
        while len(self.data) < n:
            more = self.s.recv(4096)
            assert more, "closed"
            self.data += more
        out, self.data = self.data[:n], self.data[n:]
        return out
def ask(s, stream):
    if version != "h2":
        s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n")
        data = b""
        while not data.endswith(b"hello\n"):
            more = s.recv(4096)
            assert more, "closed"
            data += more
        return
    block = b"\x82" + (b"\x87" if context else b"\x86") + b"\x84\x41\x09localhost\x7a\x0bcurl/7.88.1\x53\x03*/*"
    s.sendall(frame(1, 5, stream, block))
    r = Reader(s)
    while True:
        head = r.take(9)
        r.take(int.from_bytes(head[:3], "big"))
        assert head[3] not in (3, 7), head
        if head[5:9] == struct.pack("!I", stream) and head[3] in (0, 1) and head[4] & 1:
            return
socks = []
for _ in range(count):
    s = connect()
    ask(s, 1)
    socks.append(s)
print("ready", flush=True)
sys.stdin.readline()
for s in socks: ask(s, 3)
print("all answered", flush=True)
]==]

local function pss(pid)
  local file = assert(io.open(("/proc/%d/smaps_rollup"):format(pid)))
  local text = file:read("*a")
  file:close()
  return tonumber(text:match("\nPss:%s*(%d+)")) * 1024
end

--- Is there room for `count` connections on each side?
function M.room_for(count)
  local file = assert(io.open("/proc/self/limits"))
  local text = file:read("*a")
  file:close()
  return (tonumber(text:match("Max open files%s+(%d+)")) or math.huge) > count + 200
end

--- Opens `count` of a kind ("tls", "tls 1.2", "h2", "h2 tls") -> bytes of the worker for each.
function M.measure(kind, count)
  local certs = certs_of.make { one = { names = { "localhost" } } }
  local gateway = kit.gateway { conf = CONF, files = certs_of.files(certs) }
  local pid = gateway:worker_pids()[1]
  local secure, version = kind:find("tls") ~= nil, kind:find("h2") and "h2" or "http/1.1"

  local function client(n)
    local peer = kit.start("python3", { "-c", CLIENT, tostring(gateway:port(secure and "secure" or "clear")),
      secure and certs.dir .. "/ca.pem" or "", version, tostring(n), kind == "tls 1.2" and "1.2" or nil })
    local said = peer.stdout:read_until("\n", 300)
    assert.equal("ready\n", said)
    return peer
  end

  local function ends(peer)
    peer.stdin:write("\n")
    assert.equal("all answered\n", peer.stdout:read_until("\n", 300))
    assert.equal(0, peer:wait(60))
  end

  ends(client(8)) -- what is made once has been made
  kit.eventually(function() return gateway:status().workers[1].connections < 3 end)
  local before = pss(pid)
  local peer = client(count)
  gw.sleep(0.2)
  local each = (pss(pid) - before) / count
  ends(peer)
  kit.eventually(function() return gateway:status().workers[1].connections < 3 end, 30)
  certs_of.remove(certs)
  return each
end

return M
