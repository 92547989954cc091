local kit = require("gateway.spec")

local MIB = 1024 * 1024

--- A gateway before these upstreams. Keys: of the upstream, and of the route.
local function gateway_to(targets, upstream_keys, route_keys, more)
  local list = {}
  for i, target in ipairs(targets) do
    list[i] = type(target) == "string" and target or ("%q"):format(target:address())
  end
  return kit.gateway { conf = ([[
%s
upstreams:
  back:
    targets: [ %s ]
%s
routes:
  - name: all
    match: { path: "/*" }
    upstream: back
%s
]]):format(more or "", table.concat(list, ", "),
    ("    %s\n"):rep(#(upstream_keys or {})):format(unpack(upstream_keys or {})),
    ("    %s\n"):rep(#(route_keys or {})):format(unpack(route_keys or {}))) }
end

--- An upstream that nobody listens at any more.
local function gone()
  local upstream = kit.upstream()
  upstream:stop()
  return upstream
end

--- Takes one request and hangs up without a byte.
local function hang_up(conn)
  conn:read_head()
end

local function get(conn, path, method)
  conn:write(("%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"):format(method or "GET",
    path or "/"))
  return conn:read_answer(method)
end

--- Answers requests that have come on several connections at once: opens `count` connections.
local function open_connections(client, upstream, count)
  local release, done = false, 0
  upstream:answer(function(request)
    kit.eventually(function() return release end)
    return { body = request.path }
  end)
  for i = 1, count do
    kit.go(function()
      client:get("/warm" .. i)
      done = done + 1
    end)
  end
  kit.eventually(function() return upstream:requests() == count end)
  release = true
  kit.eventually(function() return done == count end)
  upstream:answer { body = "ok" }
end

describe("a pooled connection", function()
  local upstream

  before_each(function() upstream = kit.upstream() end)

  it("is used again, the last one first", function()
    local gateway = gateway_to({ upstream }, { "idle_timeout: 10s" })
    local client = kit.client(gateway)
    open_connections(client, upstream, 3)

    client:get("/")
    local used = upstream:request().connection
    for _ = 1, 10 do
      client:get("/")
      assert.equal(used, upstream:request().connection)
    end
    gateway:advance(6000)
    client:get("/")
    gateway:advance(6000)

    -- What was not needed has aged out.
    kit.eventually(function() return select(2, upstream:connections()) == 1 end)
    client:get("/")
    assert.equal(used, upstream:request().connection)
    assert.equal(3, (upstream:connections()))
  end)

  it("has had its request whole: an early answer ends it", function()
    upstream:on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
      conn:closed(5)
    end)
    local client = kit.client(gateway_to { upstream })
    local conn = client:connect()

    conn:write("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n0123456789")
    local first = conn:read_answer()
    conn:write("0123456789GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    local second = conn:read_answer()

    assert.equal(403, first.status)
    assert.equal("no", second.body)
    assert.equal("/2", upstream:request().path)
    assert.equal(2, (upstream:connections()))
  end)

  for what, bytes in pairs {
    ["more than its length"] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
    ["more than its chunks"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
    ["that it closes"] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ["version 1.0"] = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
  } do
    it("is none where the upstream said " .. what, function()
      upstream:on(function(conn)
        while conn:read_request(60) do
          conn:write(bytes)
        end
      end)
      local client = kit.client(gateway_to { upstream })

      for i = 1, 3 do
        assert.equal("ok", client:get("/").body)
        assert.equal(i, (upstream:connections()))
      end
    end)
  end

  it("takes itself out when the upstream closes it", function()
    local gateway = gateway_to { upstream }
    local client = kit.client(gateway)
    open_connections(client, upstream, 3)

    upstream:drop()
    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
    local answer = client:request { method = "POST", body = "once" }

    -- POST is never sent twice: it can only have gone to a new connection.
    assert.equal(200, answer.status)
    assert.equal(4, upstream:requests())
    assert.equal(4, (upstream:connections()))
  end)

  it("on which the upstream speaks unasked is closed", function()
    upstream:on(function(conn)
      while conn:read_request(60) do
        conn:write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if conn.number == 1 then
          conn:write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        end
      end
    end)
    local client = kit.client(gateway_to { upstream })

    for _ = 1, 3 do
      assert.equal("ok", client:get("/").body)
    end

    assert.equal(2, (upstream:connections()))
  end)

  it("is not kept beyond idle_conns_max", function()
    local client = kit.client(gateway_to({ upstream }, { "idle_conns_max: 2" }))

    open_connections(client, upstream, 5)

    kit.eventually(function() return select(2, upstream:connections()) == 2 end)
  end)

  it("is not kept at all with idle_conns_max: 0", function()
    local client = kit.client(gateway_to({ upstream }, { "idle_conns_max: 0" }))

    client:get("/")
    client:get("/")

    assert.equal(2, (upstream:connections()))
    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
  end)

  it("follows idle_conns_max of the new conf after a reload", function()
    local text = [[
      upstreams: { back: { targets: [ "%s" ], idle_conns_max: %d } }
      routes: [ { name: all, match: { path: "/*" }, upstream: back } ]
    ]]
    local gateway = kit.gateway { conf = text:format(upstream:address(), 5) }
    local client = kit.client(gateway)
    client:get("/")

    assert.is_true(gateway:reload(text:format(upstream:address(), 0)).ok)
    kit.client(gateway):get("/")

    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
  end)

  it("is closed after idle_timeout", function()
    local gateway = gateway_to({ upstream }, { "idle_timeout: 10s" })
    kit.client(gateway):get("/")

    gateway:advance(9000)
    assert.equal("upstream\n", kit.client(gateway):get("/").body)
    assert.equal(1, (upstream:connections()))
    gateway:advance(10100)

    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
  end)

  it("is closed after requests_max", function()
    local client = kit.client(gateway_to({ upstream }, { "requests_max: 2" }))

    local used = {}
    for i = 1, 5 do
      client:get("/")
      used[i] = upstream:request().connection
    end

    assert.same({ 1, 1, 2, 2, 3 }, used)
  end)

  it("outlives a reload that leaves its upstream alone", function()
    local gateway = gateway_to { upstream }
    local client = kit.client(gateway)
    client:get("/")

    assert.is_true(gateway:reload().ok)
    client:get("/")
    assert.is_true(gateway:reload(gateway:read("gateway.yaml") .. "    timeout: 5s\n").ok)
    client:get("/")

    assert.equal(3, upstream:requests())
    assert.equal(1, (upstream:connections()))
  end)

  it("is closed when its upstream leaves the conf", function()
    local gateway = gateway_to { upstream }
    kit.client(gateway):get("/")

    assert.is_true(gateway:reload("routes: []\n").ok)

    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
  end)
end)

--- An upstream whose first connection answers one request, and hangs up at the second.
local function dies_when_reused(upstream, how)
  local count = 0
  upstream:on(function(conn)
    count = count + 1
    local first = count == 1
    local n = 0
    while true do
      if first and n == 1 then
        how(conn)
        return
      end
      local request = conn:read_request(60)
      if not request then
        return
      end
      n = n + 1
      conn:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#request.body,
        request.body))
    end
  end)
end

describe("a reused connection that dies before any byte of the answer", function()
  local upstream

  before_each(function() upstream = kit.upstream() end)

  for _, method in ipairs { "GET", "HEAD", "OPTIONS", "PUT", "DELETE" } do
    it("is no harm to " .. method, function()
      dies_when_reused(upstream, hang_up)
      local conn = kit.client(gateway_to { upstream }):connect()
      get(conn)

      local answer = get(conn, "/again", method)

      assert.equal(200, answer.status)
      assert.equal(3, upstream:requests())
      assert.equal("/again", upstream:request(2).path)
      assert.equal("/again", upstream:request(3).path)
      assert.equal(2, upstream:request(3).connection)
    end)
  end

  it("is no harm with retries: 0 either", function()
    dies_when_reused(upstream, hang_up)
    local conn = kit.client(gateway_to({ upstream }, {}, { "retries: 0" })):connect()
    get(conn)

    assert.equal(200, get(conn).status)
    assert.equal(3, upstream:requests())
  end)

  it("is no harm when it is reset", function()
    dies_when_reused(upstream, function(conn)
      conn:read_head()
      conn:reset()
    end)
    local conn = kit.client(gateway_to { upstream }):connect()
    get(conn)

    assert.equal(200, get(conn).status)
    assert.equal(3, upstream:requests())
  end)

  it("does not count as a try", function()
    -- The first death was nobody's fault; the one try of `retries: 1` is still there.
    local count = 0
    upstream:on(function(conn)
      count = count + 1
      local number = count
      conn:read_request()
      if number ~= 2 then
        conn:write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      end
      if number == 1 then
        conn:read_request(60)
      end
    end)
    local conn = kit.client(gateway_to({ upstream }, {}, { "retries: 1" })):connect()
    get(conn)

    assert.equal(200, get(conn).status)
    assert.equal(4, upstream:requests())
  end)

  it("gives 502 to POST, which is sent once", function()
    dies_when_reused(upstream, hang_up)
    local conn = kit.client(gateway_to({ upstream }, {}, { "retries: 5" })):connect()
    get(conn)

    conn:write("POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
    local answer = conn:read_answer()

    assert.equal(502, answer.status)
    assert.equal(2, upstream:requests())
    assert.equal("/once", upstream:request(2).path)
  end)

  it("is no harm to PUT with a body that is still coming", function()
    dies_when_reused(upstream, function(conn)
      conn:read_head()
      conn:read(10000)
      conn:reset()
    end)
    local body = ("0123456789"):rep(3000)
    local conn = kit.client(gateway_to { upstream }):connect()
    get(conn)

    conn:write(("PUT /big HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(#body))
    conn:write(body:sub(1, 10000))
    kit.eventually(function() return upstream:connections() == 2 end)
    conn:write(body:sub(10001, 20000))
    gw.sleep(0.01)
    conn:write(body:sub(20001))
    local answer = conn:read_answer()

    assert.equal(200, answer.status)
    assert.is_true(answer.body == body)
  end)

  it("is no harm to PUT whose body comes after the connection broke", function()
    local broke
    dies_when_reused(upstream, function(conn)
      conn:read_head()
      broke = true
      conn:reset()
    end)
    local conn = kit.client(gateway_to { upstream }):connect()
    get(conn)

    conn:write("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n")
    kit.eventually(function() return broke end)
    conn:write("abc")
    gw.sleep(0.01)
    conn:write("def")
    local answer = conn:read_answer()

    assert.equal(200, answer.status)
    assert.equal("abcdef", answer.body)
  end)
end)

describe("POST", function()
  it("goes out on a connection that was just used", function()
    local upstream = kit.upstream()
    local conn = kit.client(gateway_to { upstream }):connect()
    get(conn)

    get(conn, "/", "POST")

    assert.equal(1, (upstream:connections()))
  end)

  it("goes out on a new connection when the pooled ones are older", function()
    local upstream = kit.upstream()
    local gateway = gateway_to { upstream }
    local conn = kit.client(gateway):connect()
    get(conn)

    gateway:advance(1500)
    get(conn, "/", "POST")
    gateway:advance(1500)
    get(conn, "/", "GET")

    assert.equal(2, (upstream:connections()))
    assert.equal(2, upstream:request(2).connection)
  end)

  it("is what PUT is like when its body is too large to be sent again", function()
    local upstream = kit.upstream()
    local gateway = gateway_to({ upstream }, {}, { "limits: { body_buffer_size_max: 10k }" })
    local client = kit.client(gateway)
    local function put(size)
      assert.equal(200, client:request { method = "PUT", body = ("x"):rep(size) }.status)
      return upstream:request().connection
    end

    assert.equal(1, put(1))
    gateway:advance(1500)
    assert.equal(1, put(10 * 1024))
    gateway:advance(1500)
    assert.equal(2, put(10 * 1024 + 1))
  end)

  it("is tried again where no connection could be made", function()
    local upstream = kit.upstream()
    local client = kit.client(gateway_to { gone(), upstream })

    for i = 1, 4 do
      assert.equal(200, client:request { method = "POST", body = "n" .. i }.status)
    end

    assert.equal(4, upstream:requests())
    assert.equal("n4", upstream:request().body)
  end)

  it("is not tried again once it was taken", function()
    local upstream = kit.upstream():on(hang_up)
    local client = kit.client(gateway_to({ upstream }, {}, { "retries: 3" }))

    assert.equal(502, client:request { method = "POST", body = "once" }.status)

    assert.equal(1, upstream:requests())
  end)
end)

describe("retries", function()
  it("go to another target, and leave the failed one alone", function()
    local bad, good = kit.upstream():on(hang_up), kit.upstream()
    local client = kit.client(gateway_to { bad, good })

    for _ = 1, 6 do
      assert.equal(200, client:get("/").status)
    end

    assert.equal(6, good:requests())
    assert.is_true(bad:requests() <= 4)
    assert.is_true(bad:requests() >= 2)
  end)

  it("are as many as the route says", function()
    for _, retries in ipairs { 0, 1, 3 } do
      local upstream = kit.upstream():on(hang_up)
      local client = kit.client(gateway_to({ upstream }, {}, { "retries: " .. retries }))

      assert.equal(502, client:get("/").status)

      assert.equal(retries + 1, upstream:requests())
    end
  end)

  it("end with the route's timeout", function()
    local upstream = kit.upstream()
    local gateway = gateway_to({ upstream }, { "try_timeout: 10s" },
      { "timeout: 25s", "retries: 100" })
    upstream:on(function(conn)
      conn:read_head()
      conn:closed(60)
    end)
    local conn = kit.client(gateway):connect()
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    for i = 1, 2 do
      kit.eventually(function() return upstream:requests() == i end)
      gateway:advance(10100)
    end
    kit.eventually(function() return upstream:requests() == 3 end)
    gateway:advance(5000)

    assert.equal(504, conn:read_answer().status)
    assert.equal(3, upstream:requests())
  end)

  it("do not follow the first byte of an answer", function()
    local upstream = kit.upstream():on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Le")
    end)
    local broken = kit.upstream():on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    end)

    local first = kit.client(gateway_to({ broken }, {}, { "retries: 3" })):connect()
    first:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    first:read_head()
    assert.equal("half", (first:read_all()))
    assert.equal(1, broken:requests())

    -- Of this one the client has seen nothing, but the upstream had begun to answer.
    assert.equal(502, kit.client(gateway_to({ upstream }, {}, { "retries: 3" })):get("/").status)
    assert.equal(1, upstream:requests())
  end)

  it("say the same again, with our own fields once", function()
    local bad, good = kit.upstream():on(hang_up), kit.upstream()
    local client = kit.client(gateway_to({ bad, good }))

    client:get("/a?b=c", { ["X-Mine"] = "1" })
    client:get("/a?b=c", { ["X-Mine"] = "1" })

    local first, second = bad:request(1), good:request(1)
    assert.equal(first.target, second.target)
    for i = 1, 2 do
      local request = good:request(i)
      assert.is_nil((request.headers["via"] or ""):find(",", 1, true))
      assert.is_nil((request.headers["x-forwarded-for"] or ""):find(",", 1, true))
      assert.equal("1", request.headers["x-mine"])
    end
  end)

  it("send the body again that is in the bounded buffer", function()
    local body = ("x"):rep(30000)
    local bad = kit.upstream():on(function(conn) conn:read_request() end)
    local good = kit.upstream()
    local client = kit.client(gateway_to { bad, good })

    for _ = 1, 2 do
      assert.equal(200, client:request { method = "PUT", body = body }.status)
      assert.equal(200, client:request { method = "PUT", body = { body, body }, chunked = true }
        .status)
    end

    assert.is_true(bad:requests() >= 1)
    assert.is_true(good:request(1).body == body)
    assert.is_true(good:request(2).body == body .. body)
  end)

  it("do not send a body again that is larger than body_buffer_size_max", function()
    local bad = kit.upstream():on(function(conn) conn:read_request() end)
    local limits = "limits: { body_buffer_size_max: 100k }"
    local client = kit.client(gateway_to({ bad }, {}, { "retries: 3", limits }))

    assert.equal(502, client:request { method = "PUT", body = ("x"):rep(200 * 1024) }.status)
    assert.equal(1, bad:requests())
    assert.equal(502, client:request { method = "PUT", body = ("x"):rep(90 * 1024) }.status)
    assert.equal(5, bad:requests())
  end)

  it("with buffering of the request have the whole body", function()
    local body = ("x"):rep(MIB - 100)
    local bad = kit.upstream():on(function(conn) conn:read_request() end)
    local good = kit.upstream()
    local client = kit.client(gateway_to({ bad, good }, {}, { "buffering: { request: true }" }))

    for _ = 1, 2 do
      assert.equal(200, client:request { method = "PUT", body = body }.status)
    end

    assert.equal(1, bad:requests())
    assert.is_true(good:request(1).body == body)
    assert.is_true(good:request(2).body == body)
  end)

  it("send the trailers again", function()
    local bad = kit.upstream():on(function(conn) conn:read_request() end)
    local good = kit.upstream()
    local client = kit.client(gateway_to { bad, good })

    for _ = 1, 2 do
      client:send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n"
        .. "\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n")
    end

    assert.equal("6", good:request(1).trailers["x-sum"])
    assert.equal("6", good:request(2).trailers["x-sum"])
  end)

  it("log why, with the target", function()
    local bad = gone()
    local gateway = gateway_to({ bad }, {}, { "retries: 0" })

    kit.client(gateway):get("/")

    gateway:wait_log("upstream back " .. bad:address() .. ": ")
  end)
end)

describe("round_robin", function()
  local function order(weights, count)
    local names, targets, seen = { "a", "b", "c" }, {}, {}
    for i, weight in ipairs(weights) do
      local upstream = kit.upstream():answer { body = names[i] }
      targets[i] = ("{ address: %q, weight: %d }"):format(upstream:address(), weight)
    end
    local conn = kit.client(gateway_to(targets)):connect()
    for i = 1, count do
      seen[i] = get(conn).body
    end
    return table.concat(seen)
  end

  it("is smooth", function()
    assert.equal("aabacaaaabacaa", order({ 5, 1, 1 }, 14))
  end)

  it("takes equal ones in turn", function()
    assert.equal("abcabc", order({ 1, 1, 1 }, 6))
  end)

  it("keeps the shares when a target is down", function()
    local down, a, b = gone(), kit.upstream(), kit.upstream()
    local client = kit.client(gateway_to { down, a, b })

    for _ = 1, 12 do
      assert.equal(200, client:get("/").status)
    end

    assert.equal(12, a:requests() + b:requests())
    assert.is_true(math.abs(a:requests() - b:requests()) <= 2)
  end)
end)
