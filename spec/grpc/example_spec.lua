--- examples/grpc does what its README says.
local kit = require("gateway.spec")

local PYTHON = "/usr/bin/python3"

describe("examples/grpc", function()
  it("greets who has a key, so often", function()
    local server = kit.start(PYTHON, { "examples/grpc/server.py", 0 })
    local port = server.stdout:read_until("\n"):match("%d+")
    local file = assert(io.open("examples/grpc/gateway.yaml"))
    local conf = file:read("*a"):gsub("127%.0%.0%.1:8083", "127.0.0.1:0"):gsub("127%.0%.0%.1:9003",
      "127.0.0.1:" .. port)
    file:close()
    local gateway = kit.gateway { conf = conf }
    local function client(key)
      return kit.run(PYTHON, { "examples/grpc/client.py", key, gateway:port() })
    end

    local code, _, err = client("")
    assert.equal(1, code)
    assert.matches("^UNAUTHENTICATED: A valid API key is needed", err)
    for _ = 1, 2 do
      local greeted, out = client("wonderland")
      assert.equal(0, greeted)
      assert.matches("^hello world, says alice; %d%.%d s left\n1\n2\n3\n$", out)
    end
    local limited, out, why = client("wonderland")
    assert.equal(1, limited)
    assert.matches("^hello world", out)
    assert.matches("^RESOURCE_EXHAUSTED", why)
    server:close()
    local _, _, down = client("wonderland")
    assert.matches("^RESOURCE_EXHAUSTED", down)
  end)
end)
