local kit = require("gateway.spec")

--- A name server that answers from a file of lines "name ttl address …", read at each question.
--- Names that are not in it do not exist. Each question is a line on its standard output.
local SERVER = [==[
import os, socket, struct, sys
zone, port = sys.argv[1], int(sys.argv[2])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", port))
print(udp.getsockname()[1], flush=True)

def entry(wanted):
    for line in open(zone):
        words = line.split()
        if words and words[0] == wanted:
            return words[1:]
    return None

while True:
    data, peer = udp.recvfrom(4096)
    at, labels = 12, []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode())
        at += 1 + data[at]
    at += 5
    name = ".".join(labels).lower()
    kind = struct.unpack("!H", data[at - 4:at - 2])[0]
    print(name, {1: "A", 28: "AAAA"}.get(kind, kind), flush=True)
    found = entry(name)
    if found and found[0] == "silent":
        continue
    code, answers = 0, []
    if found is None:
        code = 3
    elif found[0] == "servfail":
        code = 2
    elif kind == 1:
        answers = [struct.pack("!HHHIH4s", 0xc00c, 1, 1, int(found[0]), 4, socket.inet_aton(a))
                   for a in found[1:] if ":" not in a]
    elif kind == 28:
        answers = [struct.pack("!HHHIH", 0xc00c, 28, 1, int(found[0]), 16) + socket.inet_pton(socket.AF_INET6, a)
                   for a in found[1:] if ":" in a]
    head = data[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, len(answers), 0, 0)
    udp.sendto(head + data[12:at] + b"".join(answers), peer)
]==]

local server = {}
server.__index = server

local function write_zone(path, lines)
  local file = assert(io.open(path .. ".new", "w"))
  file:write(table.concat(lines, "\n"), "\n")
  file:close()
  assert(os.rename(path .. ".new", path))
end

--- Starts one with these lines.
local function name_server(lines, port)
  local path = os.tmpname()
  write_zone(path, lines)
  local self = setmetatable({ path = path, questions = {} }, server)
  self.process = kit.start("python3", { "-c", SERVER, path, port or 0 })
  self.port = tonumber((assert(self.process.stdout:read_until("\n"))))
  kit.go(function()
    while true do
      local line = self.process.stdout:read_until("\n", 600)
      if not line then
        return
      end
      self.questions[#self.questions + 1] = line:sub(1, -2)
    end
  end)
  return self
end

function server:zone(lines) write_zone(self.path, lines) end

function server:stop()
  self.process:signal_now("KILL")
  self.process:wait()
end

function server:asked(question)
  local count = 0
  for _, line in ipairs(self.questions) do
    count = count + (line == question and 1 or 0)
  end
  return count
end

local servers

local function start_server(...)
  local one = name_server(...)
  servers[#servers + 1] = one
  return one
end

local CONF = [[
dns: { servers: [ "127.0.0.1:%d" ], timeout: %s }
upstreams:
  back: { targets: [ "back.test:%d" ], connect_timeout: 3s }
routes:
  - name: all
    match: { path: "/*" }
    upstream: back
    %s
]]

local function conf(dns, port, timeout, route_key)
  return CONF:format(dns.port, timeout or "1s", port, route_key or "retries: 1")
end

--- Two upstreams on the same port of two addresses.
local function twins()
  local a = kit.upstream({ address = "127.0.0.2" }):answer { body = "a" }
  local b = kit.upstream({ address = "127.0.0.3", port = a:port() }):answer { body = "b" }
  return a, b
end

local function bodies(client, count)
  local seen = {}
  for i = 1, count do
    seen[i] = client:get("/").body
  end
  table.sort(seen)
  return table.concat(seen)
end

describe("a target by name", function()
  before_each(function() servers = {} end)

  after_each(function()
    for _, one in ipairs(servers) do
      os.remove(one.path)
    end
  end)

  it("is asked of dns: servers, and is reached", function()
    local dns = start_server { "back.test 60 127.0.0.2" }
    local a = twins()
    local gateway = kit.gateway { conf = conf(dns, a:port()) }

    local answer = kit.client(gateway):get("/")

    assert.equal("a", answer.body)
    assert.is_true(dns:asked("back.test A") >= 1)
  end)

  it("stands for all of its addresses", function()
    local dns = start_server { "back.test 60 127.0.0.2 127.0.0.3" }
    local a = twins()
    local gateway = kit.gateway { conf = conf(dns, a:port()) }

    assert.equal("aaabbb", bodies(kit.client(gateway), 6))
  end)

  it("whose one address is down is reached at the other", function()
    local dns = start_server { "back.test 60 127.0.0.2 127.0.0.3" }
    local a, b = twins()
    a:stop()
    local gateway = kit.gateway { conf = conf(dns, b:port()) }

    assert.equal("bbbb", bodies(kit.client(gateway), 4))
  end)

  it("that a plugin has chosen is reached at all of its addresses, too", function()
    local dns = start_server { "back.test 60 127.0.0.2 127.0.0.3" }
    local a, b = twins()
    local gateway = kit.gateway {
      conf = conf(dns, a:port(), "1s", "plugins: [ chooser ]"),
      plugins = { chooser = [[
local plugin = { name = "chooser", priority = 1, schema = { type = "object" } }
function plugin.balancer(_, ctx)
  ctx.upstream:set_target(1)
end
return plugin
]] },
    }
    local client = kit.client(gateway)
    assert.equal("aabb", bodies(client, 4))

    b:stop()
    assert.equal("aaaa", bodies(client, 4))
  end)

  it("is sent as Host with host: upstream", function()
    local dns = start_server { "back.test 60 127.0.0.2" }
    local a = twins()
    local gateway = kit.gateway { conf = conf(dns, a:port(), "1s", "host: upstream") }

    kit.client(gateway):get("/")

    assert.equal("back.test:" .. a:port(), a:request().headers.host)
  end)

  it("is asked again when its TTL is over, and moves", function()
    local dns = start_server { "back.test 30 127.0.0.2" }
    local a = twins()
    local gateway = kit.gateway { conf = conf(dns, a:port()) }
    local client = kit.client(gateway)
    assert.equal("a", client:get("/").body)
    local asked = dns:asked("back.test A")

    dns:zone { "back.test 30 127.0.0.3" }
    gateway:advance(29000)
    assert.equal("aaa", bodies(client, 3))
    assert.equal(asked, dns:asked("back.test A"))
    gateway:advance(1100)

    kit.eventually(function() return client:get("/").body == "b" end)
    assert.equal("bbb", bodies(client, 3))
    kit.eventually(function() return select(2, a:connections()) == 0 end)
  end)

  it("keeps its last good addresses when the server dies", function()
    local dns = start_server { "back.test 5 127.0.0.2" }
    local a = twins()
    local gateway = kit.gateway { conf = conf(dns, a:port(), "300ms") }
    local client = kit.client(gateway)
    assert.equal("a", client:get("/").body)

    dns:stop()
    gateway:advance(5100)
    gateway:wait_log("the last good addresses stay in use")

    assert.equal("aaa", bodies(client, 3))
    assert.equal(1, (a:connections()))
  end)

  it("waits for a silent server no longer than dns: timeout", function()
    local dns = start_server { "back.test silent" }
    local gateway = kit.gateway { conf = conf(dns, 1, "400ms", "retries: 0"):gsub("3s", "20s") }
    local began = kit.now()

    local answer = kit.client(gateway):get("/")

    local took = kit.now() - began
    assert.equal(502, answer.status)
    assert.matches("name could not be resolved", answer.body)
    assert.is_true(took > 0.3 and took < (kit.sanitized and 4 or 2), took)
  end)

  it("keeps them when the name vanishes, and takes the new ones when it is back", function()
    local dns = start_server { "back.test 5 127.0.0.2" }
    local a = twins()
    local gateway = kit.gateway { conf = conf(dns, a:port()) }
    local client = kit.client(gateway)
    assert.equal("a", client:get("/").body)

    dns:zone {}
    gateway:advance(5100)
    gateway:wait_log("the last good addresses stay in use")
    assert.equal("aa", bodies(client, 2))
    dns:zone { "back.test 5 127.0.0.3" }
    gateway:advance(6000)

    kit.eventually(function() return client:get("/").body == "b" end)
  end)

  it("that does not exist gives 502 with a line that says so, until it appears", function()
    local dns = start_server {}
    local a = twins()
    local gateway = kit.gateway { conf = conf(dns, a:port()) }
    local client = kit.client(gateway)

    local answer = client:get("/")

    assert.equal(502, answer.status)
    local problem = gw.json.decode(answer.body)
    assert.matches("name could not be resolved", problem.detail)
    gateway:wait_log("upstream back: back.test: ")
    kit.eventually(function()
      for line in gateway:log():gmatch("[^\n]+") do
        if line:find(problem.id, 1, true) and line:find("upstream back", 1, true) then
          return true
        end
      end
      return false
    end)

    dns:zone { "back.test 60 127.0.0.2" }
    gateway:advance(6000)
    kit.eventually(function() return client:get("/").body == "a" end)
  end)

  for what, line in pairs { ["fails"] = "back.test servfail", ["is silent"] = "back.test silent" } do
    it("whose server " .. what .. " gives 502", function()
      local dns = start_server { line }
      local gateway = kit.gateway { conf = conf(dns, kit.upstream():port(), "300ms") }

      local answer = kit.client(gateway):get("/")

      assert.equal(502, answer.status)
    end)
  end

  it("lets a request wait for its first answer", function()
    local dns = start_server { "back.test silent" }
    local a = twins()
    local gateway = kit.gateway { conf = conf(dns, a:port(), "1500ms") }
    local conn = kit.client(gateway):connect()
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    kit.eventually(function() return dns:asked("back.test A") >= 1 end)

    dns:zone { "back.test 60 127.0.0.2" }

    -- The question is put again after a third of its time.
    assert.equal("a", conn:read_answer().body)
  end)

  it("does not hold other upstreams while it is resolved", function()
    local dns = start_server { "back.test silent" }
    local quick = kit.upstream()
    local gateway = kit.gateway { conf = conf(dns, 1, "5s") .. ([[
  - name: quick
    match: { path: "/quick" }
    upstream: %s
]]):format(quick:url()) }
    local slow = kit.client(gateway):connect()
    slow:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert.equal(200, kit.client(gateway):get("/quick").status)
    slow:reset()
  end)

  it("is asked of the new servers after a reload", function()
    local first = start_server { "back.test 600 127.0.0.2" }
    local second = start_server { "back.test 600 127.0.0.3" }
    local a = twins()
    local gateway = kit.gateway { conf = conf(first, a:port()) }
    local client = kit.client(gateway)
    assert.equal("aa", bodies(client, 2))

    assert.is_true(gateway:reload(conf(second, a:port())).ok)

    kit.eventually(function() return client:get("/").body == "b" end)
    assert.equal("bb", bodies(client, 2))
    assert.is_true(second:asked("back.test A") >= 1)
  end)

  it("keeps addresses and connections over a reload that leaves them alone", function()
    local dns = start_server { "back.test 600 127.0.0.2" }
    local a = twins()
    local text = conf(dns, a:port())
    local gateway = kit.gateway { conf = text }
    local client = kit.client(gateway)
    client:get("/")
    local asked = #dns.questions

    assert.is_true(gateway:reload(text .. "    timeout: 9s\n").ok)
    client:get("/")

    assert.equal(asked, #dns.questions)
    assert.equal(1, (a:connections()))
  end)

  it("keeps its shares and its turn over refreshes", function()
    local dns = start_server { "back.test 1 127.0.0.2 127.0.0.3" }
    local a = twins()
    local gateway = kit.gateway { conf = conf(dns, a:port()) }
    local client = kit.client(gateway)
    local seen = { a = 0, b = 0 }

    for _ = 1, 12 do
      local body = client:get("/").body
      seen[body] = seen[body] + 1
      gateway:advance(1100)
    end

    assert.same({ a = 6, b = 6 }, seen)
  end)

  local it_six = kit.has_ipv6() and it or pending

  it_six("with an address of IPv6 only is reached", function()
    local dns = start_server { "back.test 30 ::1" }
    local upstream = kit.upstream({ address = "::1" }):answer { body = "six" }
    local gateway = kit.gateway { conf = conf(dns, upstream:port()) }

    assert.equal("six", kit.client(gateway):get("/").body)
    assert.equal("six", kit.client(gateway):get("/").body)
    assert.equal(1, (upstream:connections()))
    assert.is_true(dns:asked("back.test AAAA") >= 1)
  end)

  it_six("with addresses of both families uses both, IPv4 first", function()
    local dns = start_server { "back.test 30 ::1 127.0.0.2" }
    local four = kit.upstream({ address = "127.0.0.2" }):answer { body = "4" }
    local six = kit.upstream({ address = "::1", port = four:port() }):answer { body = "6" }
    local gateway = kit.gateway { conf = conf(dns, four:port()) }
    local client = kit.client(gateway)

    assert.equal("4", client:get("/").body)
    assert.equal("4466", bodies(client, 4))

    six:stop() -- the try goes on at the other one
    assert.equal("4444", bodies(client, 4))
  end)

  it("of this machine needs no server", function()
    local upstream = kit.upstream()
    local gateway = kit.gateway { conf = ([[
dns: { servers: [ "127.0.0.1:1" ], timeout: 1s }
routes: [ { name: all, match: { path: "/*" }, upstream: "http://localhost:%d" } ]
]]):format(upstream:port()) }

    assert.equal(200, kit.client(gateway):get("/").status)
  end)
end)
