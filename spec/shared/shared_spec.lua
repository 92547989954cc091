local kit = require("gateway.spec")

local ASKED = [[
local plugin = { name = "asked", priority = 1 }
function plugin.init() return { id = gw.uuid.v4() } end
function plugin.access(_, ctx)
  local what = gw.json.decode(ctx.request.body)
  local dict = gw.shared[what.dict]
  local results = { pcall(dict[what.method], dict, unpack(what.args)) }
  local n = 0
  for i in pairs(results) do n = math.max(n, i) end
  for i = 1, n do
    if results[i] == nil then results[i] = gw.json.null end
    if results[i] == math.huge then results[i] = "never" end
  end
  return ctx:exit(200, gw.json.encode({ id = ctx.state.id, results = results }))
end
return plugin
]]

local CONF = [[
shared:
  all: 1m
  small: { size: 256k, evict: lru }
  strict: { size: 256k, evict: never }
routes:
  - { name: a, match: { path: /a }, plugins: [ asked ], respond: { status: 204 } }
]]

describe("gw.shared over two workers", function()
  local gateway, one, two

  local function call(conn, dict, method, ...)
    local body = gw.json.encode({ dict = dict, method = method, args = gw.json.array({ ... }) })
    conn:write(kit.request_bytes { method = "POST", path = "/a", body = body })
    local answer = conn:read_answer()
    assert.equal(200, answer.status, answer.body)
    local told = gw.json.decode(answer.body)
    if not told.results[1] then
      error(told.results[2], 0)
    end
    for i, value in ipairs(told.results) do
      if value == gw.json.null then
        told.results[i] = nil
      end
    end
    return told.id, unpack(told.results, 2, 10)
  end

  --- One connection to each worker.
  setup(function()
    gateway = kit.gateway { conf = CONF, plugins = { asked = ASKED }, workers = 2 }
    local client = gateway:client()
    local first
    kit.eventually(function()
      local conn = client:connect()
      local id = call(conn, "all", "get", "nothing")
      one, first = one or conn, first or id
      if id ~= first then
        two = conn
      end
      return two
    end)
  end)

  before_each(function()
    for _, dict in ipairs { "all", "small", "strict" } do
      call(one, dict, "flush")
    end
  end)

  local function at(conn, method, ...)
    return select(2, call(conn, "all", method, ...))
  end

  it("what one sets, the other gets: strings, numbers, booleans", function()
    for _, value in ipairs { "text", "", ("x"):rep(20000), 0, -1.5, 2 ^ 53, true, false } do
      assert.is_true(at(one, "set", "k", value))

      assert.equal(value, at(two, "get", "k"))
    end
    assert.is_nil((at(two, "get", "other")))
  end)

  it("add only when it is not there, replace only when it is", function()
    assert.is_true(at(one, "add", "k", 1))
    assert.same({ nil, "exists", "exists" }, { at(two, "add", "k", 2) })
    assert.is_true(at(two, "replace", "k", 3))
    assert.equal(3, at(one, "get", "k"))
    assert.same({ nil, "not_found", "not_found" }, { at(one, "replace", "other", 1) })
  end)

  it("delete says whether it was there", function()
    at(one, "set", "k", 1)

    assert.is_true(at(two, "delete", "k"))
    assert.is_falsy(at(one, "delete", "k"))
    assert.is_nil((at(one, "get", "k")))
  end)

  it("incr counts for both", function()
    assert.same({ nil, "not_found", "not_found" }, { at(one, "incr", "n", 1) })
    assert.equal(11, at(one, "incr", "n", 1, 10))
    assert.equal(13, at(two, "incr", "n", 2, 10))
    assert.equal(8, at(one, "incr", "n", -5))
    at(one, "set", "text", "x")
    assert.same({ nil, "wrong_type", "wrong_type" }, { at(two, "incr", "text", 1) })
  end)

  it("incr loses nothing while both count at once", function()
    local done = 0
    for _, conn in ipairs { one, two } do
      kit.go(function()
        for _ = 1, 300 do
          at(conn, "incr", "n", 1, 0)
        end
        done = done + 1
      end)
    end
    kit.eventually(function() return done == 2 end, 30)

    assert.equal(600, at(one, "get", "n"))
  end)

  it("keys go when their time is over", function()
    at(one, "set", "k", "v", 30)
    at(one, "set", "stays", "v")

    local left = at(two, "ttl", "k")
    gateway:advance(29000)
    local before = at(two, "get", "k")
    gateway:advance(2000)

    assert.is_true(left > 28 and left <= 30, left)
    assert.equal("v", before)
    assert.is_nil((at(two, "get", "k")))
    assert.is_nil((at(one, "get", "k")))
    assert.same({ nil, "not_found", "not_found" }, { at(two, "ttl", "k") })
    assert.equal("v", at(one, "get", "stays"))
    assert.equal(0, at(one, "ttl", "stays"))
  end)

  it("expire gives another time", function()
    at(one, "set", "k", "v", 10)

    assert.is_true(at(two, "expire", "k", 100))
    gateway:advance(50000)
    assert.equal("v", at(one, "get", "k"))
    assert.same({ nil, "not_found", "not_found" }, { at(two, "expire", "other", 1) })
    at(one, "expire", "k", 1)
    gateway:advance(1500)
    assert.is_nil((at(two, "get", "k")))
  end)

  it("lists are queues between workers", function()
    assert.equal(1, at(one, "rpush", "q", "a"))
    assert.equal(2, at(one, "rpush", "q", "b"))
    assert.equal(3, at(two, "lpush", "q", "first"))

    assert.equal(3, at(two, "llen", "q"))
    assert.equal("first", at(one, "lpop", "q"))
    assert.equal("b", at(two, "rpop", "q"))
    assert.equal("a", at(two, "lpop", "q"))
    assert.is_nil((at(one, "lpop", "q")))
    at(one, "set", "text", "x")
    assert.same({ nil, "wrong_type", "wrong_type" }, { at(one, "rpush", "text", "y") })
  end)

  it("take is one bucket for both, and fills with time", function()
    for i = 1, 5 do
      local allowed, left = at(i % 2 == 0 and one or two, "take", "t", 1, 5)
      assert.is_true(allowed)
      assert.is_true(math.abs(left - (5 - i)) < 0.5, left)
    end
    local allowed, _, wait = at(one, "take", "t", 1, 5)
    assert.is_false(allowed)
    assert.is_true(wait > 0 and wait <= 1, wait)

    gateway:advance(2000)

    assert.is_true((at(two, "take", "t", 1, 5)))
    assert.is_true((at(one, "take", "t", 1, 5)))
    assert.is_false((at(two, "take", "t", 1, 5)))
    -- More than there ever is: no time is long enough.
    assert.same({ false, 5, "never" }, { at(two, "take", "t2", 1, 5, 6) })
    assert.is_true((at(two, "take", "t3", 1, 5, 5)))
  end)

  it("hit is one window for both, and slides", function()
    assert.same({ true, 1, 10 }, { at(one, "hit", "h", 2, 10) })
    gateway:advance(6000)
    assert.is_true((at(two, "hit", "h", 2, 10)))
    local allowed, hits, wait = at(one, "hit", "h", 2, 10)
    assert.is_false(allowed)
    assert.equal(2, hits)
    assert.is_true(wait > 3 and wait <= 4, wait)

    gateway:advance(5000) -- the first one has left the window, the second one not

    assert.is_true((at(two, "hit", "h", 2, 10)))
    assert.is_false((at(one, "hit", "h", 2, 10)))
  end)

  it("keys tells the names", function()
    for _, key in ipairs { "a", "b", "c" } do
      at(one, "set", key, 1)
    end
    at(one, "set", "gone", 1, 1)
    gateway:advance(1500)

    local keys = at(two, "keys")
    table.sort(keys)

    assert.same({ "a", "b", "c" }, keys)
    assert.equal(2, #at(two, "keys", 2))
  end)

  it("a full dictionary forgets what was not used for longest", function()
    local value = ("x"):rep(4000)
    call(one, "small", "set", "used", "still")
    for i = 1, 150 do
      local _, ok = call(i % 2 == 0 and one or two, "small", "set", "k" .. i, value)
      assert.is_true(ok)
      call(two, "small", "get", "used")
    end

    assert.is_nil((select(2, call(two, "small", "get", "k1"))))
    assert.equal(value, (select(2, call(one, "small", "get", "k150"))))
    assert.equal("still", (select(2, call(one, "small", "get", "used"))))
  end)

  it("with evict: never a full one says so, and forgets nothing", function()
    local value, stored, why = ("x"):rep(4000), 0, nil
    for i = 1, 150 do
      local _, ok, err = call(i % 2 == 0 and one or two, "strict", "set", "k" .. i, value)
      if not ok then
        why = err
        break
      end
      stored = i
    end

    assert.equal("full", why)
    assert.is_true(stored > 10 and stored < 70, stored)
    for i = 1, stored do
      assert.equal(value, (select(2, call(two, "strict", "get", "k" .. i))))
    end
    call(one, "strict", "delete", "k1")
    assert.is_true((select(2, call(two, "strict", "set", "more", value))))
  end)

  it("a wrong argument is the caller's mistake", function()
    for _, words in ipairs { { "set", 1, "v" }, { "get" }, { "set", "k", "v", "soon" },
      { "incr", "k", "one" }, { "take", "k", -1, 5 }, { "set", "k", "v", -1 } } do
      assert.is_false(pcall(at, one, unpack(words)), table.concat(words, " "))
    end
  end)

  it("a value that is too large for it is refused", function()
    local _, ok, err = call(one, "small", "set", "k", ("x"):rep(300 * 1024))

    assert.is_nil(ok)
    assert.is_truthy(err == "limit" or err == "full", err)
  end)

  it("outlives its workers", function()
    local other = kit.gateway { conf = CONF, plugins = { asked = ASKED }, workers = 2 }
    local conn = other:client():connect()
    call(conn, "all", "set", "k", "kept")
    call(conn, "all", "rpush", "q", "queued")
    local pids = other:worker_pids()

    for _, pid in ipairs(pids) do
      other:signal("KILL", pid)
    end
    kit.eventually(function()
      local now = other:status()
      assert.equal(2, now.worker_deaths)
      assert.equal(2, #now.workers)
      assert.equal("serving", now.workers[1].state)
      assert.equal("serving", now.workers[2].state)
    end)
    conn = other:client():connect()

    assert.equal("kept", (select(2, call(conn, "all", "get", "k"))))
    assert.equal("queued", (select(2, call(conn, "all", "lpop", "q"))))
  end)
end)
