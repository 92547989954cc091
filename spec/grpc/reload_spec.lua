--- Reloads under calls of gRPC: nothing is dropped.
local kit = require("gateway.spec")

local grpc = dofile(debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$") .. "/support.lua")

local RELOADS = 50

--- Calls of all kinds until a line comes in; then what came of them.
local LOAD = [==[
stop = threading.Event()
counts, faults = {"unary": 0, "stream": 0, "messages": 0}, []

def some(kind, what):
    def run():
        own = grpc.insecure_channel("127.0.0.1:" + sys.argv[1],
                                    options=OPTIONS + [("grpc.use_local_subchannel_pool", 1)])
        of = methods(own)
        try:
            while not stop.is_set():
                what(of)
                counts[kind] += 1
        except Exception as fault:
            faults.append(repr(fault))
    return threading.Thread(target=run)

def one(of):
    assert of[0](b"u" * 100) == b"u" * 100

def a_stream(of):
    assert len(list(of[1](b"send 20 0.005"))) == 20
    assert of[2](feed(b"a", b"b", wait=0.02)) == b"2 2"

def long():
    # One stream over all the reloads.
    import queue
    asked = queue.Queue()
    try:
        answers = both(iter(asked.get, None))
        while not stop.is_set():
            asked.put(b"m")
            assert next(answers) == b"m"
            counts["messages"] += 1
            time.sleep(0.002)
        asked.put(None)
        assert list(answers) == []
    except Exception as fault:
        faults.append(repr(fault))

threads = [some("unary", one) for _ in range(3)] + [some("stream", a_stream) for _ in range(3)] \
    + [threading.Thread(target=long)]
for thread in threads:
    thread.start()
print("here", flush=True)
sys.stdin.readline()
stop.set()
for thread in threads:
    thread.join()
for fault in faults[:3]:
    print(fault)
print("faults", len(faults), *("%s %d" % c for c in counts.items()), flush=True)
]==]

describe("reloads under gRPC", function()
  local function under(change)
    local _, port = grpc.serve()
    local gateway = grpc.gateway(port, { top = "workers: 2" })
    local client = grpc.start(gateway, LOAD)
    client.stdout:read_until("here\n")
    for i = 1, RELOADS do
      gw.sleep(0.03)
      change(gateway, port, i)
    end
    gw.sleep(0.2)
    client.stdin:write("\n")
    local told = client.stdout:read_until("messages %d+\n", 20)
    local faults, unary, streams, messages = told:match("faults (%d+) unary (%d+) stream (%d+) messages (%d+)")
    assert.equal("0", faults, told)
    assert.is_true(tonumber(unary) > 50 and tonumber(streams) > 10 and tonumber(messages) > 50, told)
    kit.eventually(function()
      for _, worker in ipairs(gateway:status().workers) do
        assert.equal(0, worker.requests_active)
      end
      return true
    end)
  end

  it("of the routes drop nothing", function()
    under(function(gateway, port, i)
      gateway:reload(grpc.conf(port, { top = "workers: 2", routes = ([[
  - name: more%d
    match: { path: "/more/%d" }
    respond: { body: "x" }
]]):format(i, i) }))
    end)
  end)

  it("of the upstream drop nothing", function()
    under(function(gateway, port, i)
      gateway:reload(grpc.conf(port, { top = "workers: 2", upstream = (", read_timeout: %ds"):format(60 + i) }))
    end)
  end)
end)
