local kit = require("gateway.spec")

local MIB = 1024 * 1024
local BIG = 64 * MIB
local PIECE = ("0123456789abcdef"):rep(4096) -- 64 KiB

local CONF = [[
%s
upstreams:
  back: { targets: [ "%s" ], %s }
routes:
  - name: all
    match: { path: "/*" }
    plugins: [ correlation-id ]
    upstream: back
    %s
]]

local function gateway_to(upstream, upstream_keys, route_keys, more)
  return kit.gateway { conf = CONF:format(more or "", upstream:address(),
    upstream_keys or "balance: round_robin", route_keys or "retries: 0") }
end

--- Takes the head of a request and then says nothing.
local function silent(conn)
  conn:read_head()
  conn:closed(60)
end

local function ask(gateway, bytes)
  local conn = kit.client(gateway):connect()
  conn:write(bytes or "GET /slow?a=b HTTP/1.1\r\nHost: a\r\n\r\n")
  return conn
end

--- Holds an answer against RFC 9457, and its id against the correlation id.
local function is_problem(answer, status)
  assert.equal(status, answer.status)
  assert.equal("application/problem+json", answer.headers["content-type"])
  local problem = assert(gw.json.decode(answer.body))
  assert.equal(status, problem.status)
  assert.equal("about:blank", problem.type)
  assert.is_string(problem.title)
  assert.is_string(problem.detail)
  assert.equal("/slow", problem.instance)
  assert.equal(answer.headers["x-request-id"] or answer.headers["x-correlation-id"], problem.id)
  return problem
end

--- The line of the log with this id and these words.
local function logged(gateway, id, words)
  kit.eventually(function()
    for line in gateway:log():gmatch("[^\n]+") do
      if line:find(id, 1, true) and line:find(words, 1, true) then
        return true
      end
    end
    return false
  end)
end

--- The address of a listener whose queue is full: a connection to it never comes about.
local function full_listener()
  local full = kit.start("python3", { "-c", [[
import socket, sys, time
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(0)
held = []
for _ in range(4):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(listener.getsockname())
    held.append(one)
time.sleep(0.1)
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
]] })
  return "127.0.0.1:" .. full.stdout:read_until("\n"):match("%d+")
end

describe("connect_timeout", function()
  it("ends the wait for a connection with 504", function()
    local address = full_listener()
    local gateway = gateway_to({ address = function() return address end },
      "connect_timeout: 3s")
    local conn = ask(gateway)
    kit.eventually(function() return gateway:status().ok end)

    gateway:advance(2500)
    assert.is_false(conn:closed(0.05))
    gateway:advance(700)

    local problem = is_problem(conn:read_answer(), 504)
    logged(gateway, problem.id, address .. ": connecting took too long")
  end)
end)

describe("a target that lets nobody in", function()
  for _, key in ipairs { "connect_timeout", "try_timeout" } do
    it("is left after " .. key .. ", with POST as well", function()
      local good = kit.upstream()
      local gateway = kit.gateway { conf = CONF:format("", full_listener() .. '", "'
        .. good:address(), key .. ": 3s", "retries: 1") }
      local conn = ask(gateway, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
      assert.is_false(conn:closed(0.05))

      gateway:advance(3100)

      assert.equal(200, conn:read_answer().status)
      assert.equal("body", good:request().body)
      assert.equal(1, good:requests())
    end)
  end
end)

describe("read_timeout", function()
  it("ends the wait for an answer with 504", function()
    local upstream = kit.upstream():on(silent)
    local gateway = gateway_to(upstream, "read_timeout: 3s")
    local conn = ask(gateway)
    kit.eventually(function() return upstream:requests() == 1 end)

    gateway:advance(3100)

    local problem = is_problem(conn:read_answer(), 504)
    logged(gateway, problem.id, "no answer in time")
    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
  end)

  it("counts anew with each piece of the body, and cuts what stops", function()
    local go_on = false
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\none")
      kit.eventually(function() return go_on end)
      conn:write("two")
      conn:closed(60)
    end)
    local gateway = gateway_to(upstream, "read_timeout: 3s")
    local conn = ask(gateway)
    conn:read_head()
    assert.equal("one", conn:read(3))

    gateway:advance(2000)
    go_on = true
    assert.equal("two", conn:read(3))
    gateway:advance(2000)
    assert.is_false(conn:closed(0.05))
    gateway:advance(1100)

    assert.is_true(conn:closed(5))
    gateway:wait_log("answer stopped")
  end)

  it("is not put off by a head that comes byte by byte", function()
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      for byte in ("HTTP/1.1 200 OK\r\n" .. ("X"):rep(1000)):gmatch(".") do
        if not conn:write(byte) then
          return
        end
        gw.sleep(0.02)
      end
    end)
    local gateway = gateway_to(upstream, "read_timeout: 3s")
    local conn = ask(gateway)
    kit.eventually(function() return upstream:requests() == 1 end)

    for _ = 1, 4 do
      gateway:advance(1000)
      gw.sleep(0.05)
    end

    local problem = is_problem(conn:read_answer(), 504)
    logged(gateway, problem.id, "no answer in time")
  end)

  it("counts anew with each 1xx", function()
    local next_step = 0
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      for i = 1, 3 do
        kit.eventually(function() return next_step >= i end)
        conn:write("HTTP/1.1 102 Processing\r\n\r\n")
      end
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    end)
    local gateway = gateway_to(upstream, "read_timeout: 3s")
    local conn = ask(gateway)
    kit.eventually(function() return upstream:requests() == 1 end)

    for i = 1, 3 do
      gateway:advance(2500)
      next_step = i
      assert.matches("^HTTP/1.1 102", conn:read_head())
    end

    assert.equal("ok", conn:read_answer().body)
  end)

  it("does not hold a client for the upstream that waits for its body", function()
    local upstream = kit.upstream()
    local gateway = gateway_to(upstream, "read_timeout: 3s",
      "limits: { body_timeout: 60s, data_rate_min: 0 }")
    local conn = ask(gateway, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
    kit.eventually(function() return select(2, upstream:connections()) == 1 end)

    gateway:advance(2500)
    conn:write("567")
    gw.sleep(0.05)
    gateway:advance(2500)
    conn:write("89")

    assert.equal(200, conn:read_answer().status)
  end)
end)

describe("send_timeout", function()
  it("ends the wait for an upstream that takes nothing with 504", function()
    local over = false
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      kit.eventually(function() return over end, 30) -- and reads nothing
    end)
    local gateway = gateway_to(upstream, "send_timeout: 3s, read_timeout: 100s, connect_timeout: 50s",
      "limits: { body_timeout: 200s, data_rate_min: 0 }")
    local conn = ask(gateway, "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: " .. BIG
      .. "\r\n\r\n")
    local blocked = false
    kit.go(function()
      for _ = 1, BIG / #PIECE do
        local ok = pcall(conn.write, conn, PIECE, 0.5)
        if not ok then
          break
        end
      end
      blocked = true
    end)
    kit.eventually(function() return blocked end, 20)

    gateway:advance(3100)

    local problem = is_problem(conn:read_answer(), 504)
    logged(gateway, problem.id, "upstream takes no data")
    over = true
  end)
end)

describe("a connection that is used again", function()
  it("has the times of its upstream of now", function()
    local over = false
    local upstream = kit.upstream():on(function(conn)
      conn:read_request()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
      conn:read_head()
      kit.eventually(function() return over end, 30)
    end)
    local gateway = kit.gateway { conf = ([[
upstreams:
  patient: { targets: [ %q ], send_timeout: 100s }
  hasty: { targets: [ %q ], send_timeout: 3s, read_timeout: 100s }
limits: { body_timeout: 200s, data_rate_min: 0 }
routes:
  - { match: { path: /patient }, upstream: patient }
  - { match: { path: /slow }, upstream: hasty, plugins: [ correlation-id ] }
]]):format(upstream:address(), upstream:address()) }
    assert.equal(200, kit.client(gateway):get("/patient").status)
    local conn = ask(gateway, "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: " .. BIG
      .. "\r\n\r\n")
    repeat
      local ok = pcall(conn.write, conn, PIECE, 0.3)
    until not ok

    gateway:advance(3100)

    local problem = is_problem(conn:read_answer(), 504)
    logged(gateway, problem.id, "upstream takes no data")
    assert.equal(1, (upstream:connections()))
    over = true
  end)
end)

describe("try_timeout", function()
  it("ends one try; the next target answers", function()
    local slow, quick = kit.upstream():on(silent), kit.upstream()
    local gateway = kit.gateway { conf = CONF:format("", slow:address() .. '", "' .. quick:address(),
      "try_timeout: 2s", "retries: 1") }
    local conn = ask(gateway)
    kit.eventually(function() return slow:requests() == 1 end)

    gateway:advance(2100)

    assert.equal("upstream\n", conn:read_answer().body)
    gateway:wait_log("no answer within try_timeout")
  end)

  it("gives 504 when the last one is over", function()
    local upstream = kit.upstream():on(silent)
    local gateway = gateway_to(upstream, "try_timeout: 2s", "retries: 1")
    local conn = ask(gateway)
    for i = 1, 2 do
      kit.eventually(function() return upstream:requests() == i end)
      gateway:advance(2100)
    end

    local problem = is_problem(conn:read_answer(), 504)
    logged(gateway, problem.id, "no answer within try_timeout")
    assert.equal(2, upstream:requests())
  end)

  it("is over with the head of the answer", function()
    local go_on = false
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
      kit.eventually(function() return go_on end)
      conn:write("two")
    end)
    local gateway = gateway_to(upstream, "try_timeout: 2s")
    local conn = ask(gateway)
    conn:read_head()

    gateway:advance(10000)
    go_on = true

    assert.equal("onetwo", conn:read(6))
  end)
end)

describe("timeout of a route", function()
  it("gives 504", function()
    local upstream = kit.upstream():on(silent)
    local gateway = gateway_to(upstream, nil, "timeout: 4s")
    local conn = ask(gateway)
    kit.eventually(function() return upstream:requests() == 1 end)

    gateway:advance(4100)

    local problem = is_problem(conn:read_answer(), 504)
    logged(gateway, problem.id, "the time allowed for the exchange is over")
    logged(gateway, problem.id, upstream:address())
    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
  end)

  it("is over with the head of the answer", function()
    local go_on = false
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
      kit.eventually(function() return go_on end)
      conn:write("two")
    end)
    local gateway = gateway_to(upstream, nil, "timeout: 4s")
    local conn = ask(gateway)
    conn:read_head()

    gateway:advance(10000)
    go_on = true

    assert.equal("onetwo", conn:read(6))
  end)

  it("does not lengthen request_timeout", function()
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
      conn:closed(60)
    end)
    local gateway = gateway_to(upstream, nil, "timeout: 4s\n    limits: { request_timeout: 8s }")
    local conn = ask(gateway)
    conn:read_head()

    gateway:advance(5000)
    assert.is_false(conn:closed(0.05))
    gateway:advance(3100)

    assert.is_true(conn:closed(5))
    gateway:wait_log("the answer is cut")
  end)

  it("of a client that does not send its body is 408", function()
    local upstream = kit.upstream():on(silent)
    local gateway = gateway_to(upstream, nil, "timeout: 4s")
    local conn = ask(gateway, "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    kit.eventually(function() return upstream:requests() == 1 end)
    gw.sleep(0.02)

    gateway:advance(4100)

    is_problem(conn:read_answer(), 408)
  end)
end)

describe("an upstream that refuses", function()
  it("gives 502 with its address in the log", function()
    local upstream = kit.upstream()
    upstream:stop()
    local gateway = gateway_to(upstream)

    local problem = is_problem(ask(gateway):read_answer(), 502)

    logged(gateway, problem.id, upstream:address() .. ": Connection refused")
  end)

  for what, bytes in pairs {
    ["hangs up"] = "",
    ["speaks nonsense"] = "SSH-2.0-OpenSSH\r\n\r\n",
    ["has two lengths"] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
  } do
    it("that " .. what .. " gives 502 and a line that says why", function()
      local upstream = kit.upstream():on(function(conn)
        conn:read_head()
        conn:write(bytes)
      end)
      local gateway = gateway_to(upstream)

      local problem = is_problem(ask(gateway):read_answer(), 502)

      logged(gateway, problem.id, "upstream back " .. upstream:address() .. ": ")
    end)
  end
end)

describe("a client that goes away", function()
  it("cancels a request that waits, after half_close_timeout", function()
    local upstream = kit.upstream():on(silent)
    local gateway = gateway_to(upstream)
    local conn = ask(gateway)
    kit.eventually(function() return upstream:requests() == 1 end)

    -- What it has sent may be all that it had to say: it may still read.
    conn:close()
    gateway:advance(4000)
    assert.equal(1, select(2, upstream:connections()))
    gateway:advance(1100)

    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
  end)

  it("cancels a request that waits at once when it resets", function()
    local upstream = kit.upstream():on(silent)
    local conn = ask(gateway_to(upstream))
    kit.eventually(function() return upstream:requests() == 1 end)

    conn:reset()

    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
  end)

  it("cancels an answer that flows", function()
    local ended
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
      repeat
        local ok, went = pcall(conn.write, conn, PIECE)
      until not ok or not went
      ended = true
    end)
    local conn = ask(gateway_to(upstream))
    conn:read(10 * MIB)

    conn:reset()

    assert.is_true(kit.eventually(function() return ended end))
  end)

  it("in the middle of its body cancels the request", function()
    local ended
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      conn:read(3)
      ended = conn:closed(5)
    end)
    local conn = ask(gateway_to(upstream),
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    kit.eventually(function() return upstream:requests() == 1 end)

    conn:close()

    assert.is_true(kit.eventually(function() return ended end, 8))
  end)
end)

--- Resident memory of the only worker, in KiB.
local function memory(gateway)
  local file = assert(io.open(("/proc/%d/status"):format(gateway:worker_pids()[1])))
  local text = file:read("*a")
  file:close()
  return tonumber(text:match("VmRSS:%s*(%d+)"))
end

--- Writes BIG bytes; says how many went so far.
local function pour(conn, count)
  for _ = 1, BIG / #PIECE do
    if not conn:write(PIECE, 60) then
      return
    end
    count.bytes = count.bytes + #PIECE
  end
end

--- Waits until a number stands still.
local function settled(read)
  local last, same = -1, 0
  kit.eventually(function()
    local now = read()
    same = now == last and same + 1 or 0
    last = now
    return same > 20
  end, 20)
  return last
end

local function drain(conn)
  local left = BIG
  while left > 0 do
    local data = assert(conn:read(math.min(left, MIB), 30))
    assert(data == PIECE:rep(#data / #PIECE))
    left = left - #data
  end
end

--- Where chunks were cut is nobody's business: only what is in them.
local function unchunked(text)
  local pieces, at = {}, 1
  while true do
    local _, last, size = text:find("^(%x+)\r\n", at)
    if tonumber(assert(size, "not chunked at " .. at), 16) == 0 then
      assert.equal("0\r\n\r\n", text:sub(at))
      return table.concat(pieces)
    end
    pieces[#pieces + 1] = text:sub(last + 1, last + tonumber(size, 16))
    at = last + tonumber(size, 16) + 3
  end
end

describe("back-pressure", function()
  local most = kit.sanitized and 32 * 1024 or 8 * 1024 -- KiB more than at the start

  for kind, head in pairs {
    ["with a length"] = "Content-Length: " .. BIG .. "\r\n",
    ["until the end of the connection"] = "Connection: close\r\n",
    ["with a length and the end of the connection"] = "Connection: close\r\nContent-Length: " .. BIG
      .. "\r\n",
  } do
    it("of a slow client pauses the upstream: 64 MiB " .. kind, function()
      local count = { bytes = 0 }
      local upstream = kit.upstream():on(function(conn)
        conn:read_head()
        conn:write("HTTP/1.1 200 OK\r\n" .. head .. "\r\n")
        pour(conn, count)
      end)
      local gateway = gateway_to(upstream)
      local before = memory(gateway)
      local conn = ask(gateway, "GET / HTTP/1.0\r\n\r\n")
      conn:read_head()

      local went = settled(function() return count.bytes end)
      local held = memory(gateway)
      drain(conn)

      assert.is_true(went < BIG / 2, went .. " bytes went to a client that does not read")
      assert.is_true(held - before < most, held - before .. " KiB more")
      assert.is_true(memory(gateway) - before < most)
    end)
  end

  it("of a slow upstream pauses the client: 64 MiB", function()
    local count, go_on = { bytes = 0 }, false
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      kit.eventually(function() return go_on end, 30)
      drain(conn)
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
      conn:closed(5)
    end)
    local gateway = gateway_to(upstream)
    local before = memory(gateway)
    local conn = ask(gateway, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " .. BIG .. "\r\n\r\n")
    kit.go(pour, conn, count)

    local went = settled(function() return count.bytes end)
    local held = memory(gateway)
    go_on = true
    local answer = conn:read_answer(nil, 60)

    assert.equal(200, answer.status)
    assert.equal(BIG, count.bytes)
    assert.is_true(went < BIG / 2, went .. " bytes went to an upstream that does not read")
    assert.is_true(held - before < most, held - before .. " KiB more")
    assert.is_true(memory(gateway) - before < most)
  end)

  for kind, more in pairs {
    ["that ends its connection"] = "Connection: close\r\n",
    ["that stays"] = "",
  } do
    it("of a slow client keeps small chunks whole, of an upstream " .. kind, function()
      local chunks = ("a\r\n0123456789\r\n"):rep(900000) .. "0\r\n\r\n"
      local upstream = kit.upstream():on(function(conn)
        conn:read_head()
        conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" .. more .. "\r\n")
        conn:write(chunks, 30)
        conn:closed(30)
      end)
      local gateway = gateway_to(upstream, nil, "limits: { buffer_size_max: 4k }")
      local conn = kit.client(gateway):connect()
      conn:write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      conn:read_head()

      -- It reads in steps, so that what is left is handed on in pieces up to the very end.
      local came = {}
      repeat
        local data = conn:read(nil, 10)
        came[#came + 1] = data
        gw.sleep(0.001)
      until not data
      local body = unchunked(table.concat(came))

      assert.equal(9000000, #body)
      assert.is_true(body == ("0123456789"):rep(900000))
    end)
  end

  it("lets no time-out of the other side strike", function()
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: " .. BIG .. "\r\n\r\n")
      pour(conn, { bytes = 0 })
    end)
    local gateway = gateway_to(upstream, "read_timeout: 3s, send_timeout: 3s",
      "limits: { send_timeout: 60s, data_rate_min: 0 }")
    local conn = ask(gateway)
    conn:read_head()
    conn:read(MIB)
    gw.sleep(0.1)

    gateway:advance(10000)

    local left = BIG - MIB
    while left > 0 do
      left = left - #assert(conn:read(math.min(left, MIB), 30))
    end
    assert.equal(0, left)
  end)
end)
