--- All floods at once against one worker, over and over, while another client asks: it is served,
--- soon, and the memory of the worker stays where it is.
local kit = require("gateway.spec")
local http2 = dofile(debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$") .. "/support.lua")

local LINES = [==[
import os, signal
SECONDS = 4.0
def resets(p):
    for _ in range(2000):
        p.rst(p.open("/x"))
def continuations(p):
    p.frame(HEADERS, 0, 1, p.encoder.encode(p.fields()))
    flood(p, Peer.pack(CONTINUATION, 0, 1, p.encoder.encode([("x-a", "b" * 100)]) * 100), 2000)
def settings(p):
    flood(p, Peer.pack(SETTINGS, 0, 0, struct.pack("!HI", 4, 65535)) * 100, 1000)
def pings(p):
    flood(p, Peer.pack(PING, 0, 0, b"12345678") * 100, 1000)
def empty_data(p):
    s = p.open("/x", "POST", end=False)
    flood(p, Peer.pack(DATA, 0, s) * 100, 1000)
def bomb(p):
    block = p.encoder.encode(p.fields() + [("x-bomb", "b" * 3900)])
    p.frame(HEADERS, 0, 1, block + b"\xbe" * 10000)
def windows(p):
    flood(p, Peer.pack(WINDOW, 0, 0, struct.pack("!I", 1)) * 100, 1000)
def stalled(p):
    for _ in range(100):
        p.open("/big")
    p.ended(1.5)
FLOODS = (resets, continuations, settings, pings, empty_data, bomb, windows, stalled)
def attack(what, until):
    count = ended = 0
    while time.time() < until:
        p = Peer(port, settings=((4, 1 if what == stalled else 65535),))
        try:
            what(p)
        except OSError:
            pass
        count += 1
        ended += what == stalled or p.goaway(2) == CALM or p.reset
        p.sock.close()
    assert count > 0 and ended == count, (what, count, ended)
until = time.time() + SECONDS
children = []
for what in FLOODS:
    pid = os.fork()
    if pid == 0:
        try:
            attack(what, until)
        except BaseException as e:
            print(what.__name__, repr(e), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    children.append(pid)
took, p = [], Peer(port)
while time.time() < until:
    if len(took) % 20 == 19:
        p = Peer(port)
    began = time.time()
    assert p.get()["status"] == 200
    took.append(time.time() - began)
    p.frames.clear()
    time.sleep(0.01)
failed = [pid for pid in children if os.waitpid(pid, 0)[1] != 0]
assert not failed, "an attacker was not thrown out"
took.sort()
print("%d %.4f %.4f" % (len(took), took[len(took) // 2], took[-1]))
]==]

local function memory(pid)
  local file = assert(io.open(("/proc/%d/statm"):format(pid)))
  local resident, shared = file:read("*a"):match("%d+ (%d+) (%d+)")
  file:close()
  return (tonumber(resident) - tonumber(shared)) * 4096
end

describe("one worker under all floods of HTTP/2 at once", function()
  it("serves others soon, throws the attackers out, and stays small", function()
    local upstream = kit.upstream()
    local big = ("x"):rep(100000)
    upstream:on(function(conn)
      while true do
        local head = conn:read_head(60)
        if not head then
          return
        elseif head:find("^POST") then -- never whole
          return conn:read_all(60)
        end
        local body = head:find("^GET /big") and big or "x"
        conn:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
      end
    end)
    local gateway = http2.gateway(upstream, "limits: { send_timeout: 1s }")
    local pid = gateway:worker_pids()[1]
    local before, most, over = memory(pid), 0, false
    kit.go(function()
      while not over do
        most = math.max(most, memory(pid) - before)
        gw.sleep(0.05)
      end
    end)

    local out = http2.runner(gateway)(LINES)
    over = true

    local served, median, slowest = out:match("^(%d+) ([%d.]+) ([%d.]+)")
    local slower = kit.sanitized and 5 or 1
    assert.is_true(tonumber(served) >= 40 / slower, out)
    assert.is_true(tonumber(median) < 0.1 * slower, out)
    assert.is_true(tonumber(slowest) < 1 * slower, out)
    assert.is_true(kit.sanitized == true or most < 48 * 2 ^ 20, most .. " bytes more")
    assert.equal(pid, gateway:worker_pids()[1])
    kit.eventually(function() return gateway:status().workers[1].requests_active == 0 end, 10)
  end)
end)
