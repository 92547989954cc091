--- Whole bodies: body = "buffered", and ctx.response.body.
local kit = require "gateway.spec"

--- A plugin whose phase is the Lua of its conf.
local function plugin_of(name, phase, args, more)
  return ([[
local plugin = { name = "%s", priority = %d, %s schema = { type = "object", properties = {
  code = { type = "string" }, name = { type = "string" } } } }
function plugin.init(conf) return { f = assert(load("local %s = ... " .. conf.code)) } end
function plugin.%s(_, %s) return ctx.state.f(%s) end
function plugin.log(_, ctx) if ctx.response.error then gw.log.info("ended: %%s", ctx.response.error) end end
return plugin
]]):format(name, more.priority, more.body or "", args, phase, args, args)
end

local PLUGINS = {
  head = plugin_of("head", "header_filter", "ctx", { priority = 50 }),
  first = plugin_of("first", "body_filter", "ctx, chunk, last", { priority = 40 }),
  whole = plugin_of("whole", "body_filter", "ctx, chunk, last", { priority = 30, body = 'body = "buffered",' }),
  behind = plugin_of("behind", "body_filter", "ctx, chunk, last", { priority = 20 }),
  final = plugin_of("final", "body_filter", "ctx, chunk, last", { priority = 10, body = 'body = "buffered",' }),
}

local upstream

--- A gateway with one route: { plugin = code or { code, binding… }, … } in any order.
local function gateway_with(codes, options)
  options = options or {}
  local items = {}
  for name, code in pairs(codes) do
    local item = type(code) == "table" and code or { code }
    local binding = { [name] = { code = item[1] } }
    for key, value in pairs(item) do
      if key ~= 1 then
        binding[key] = value
      end
    end
    items[#items + 1] = binding
  end
  local route = { name = "one", match = { path = "/*" }, plugins = items }
  route[options.kind or "upstream"] = options.value or upstream:url()
  for key, value in pairs(options.route or {}) do
    route[key] = value
  end
  local conf = "routes: " .. gw.json.encode { route } .. "\n"
  local gateway = kit.gateway { conf = conf, plugins = PLUGINS, files = options.files, workers = 1 }
  gateway.text = conf
  return gateway
end

local function shout(gateway, path, headers, method)
  return gateway:client():request { method = method or "GET", path = path or "/", headers = headers }
end

describe("a buffered body_filter", function()
  before_each(function()
    upstream = kit.upstream()
    upstream:answer { status = 200, headers = { ETag = '"x"' }, body = "hello" }
  end)

  it("gets the whole once, and the length is right", function()
    upstream:answer { status = 200, headers = { ETag = '"x"', ["Content-Digest"] = "sha-256=:x:" },
      body = ("0123456789"):rep(20000), chunked = true }
    local gateway = gateway_with { whole = "return ('%d %s '):format(#chunk, tostring(last)) .. chunk:sub(-3)" }

    local answer = shout(gateway)

    assert.equal("200000 true 789", answer.body)
    assert.equal("15", answer.headers["content-length"])
    assert.equal('W/"x"', answer.headers.etag)
    assert.is_nil(answer.headers["content-digest"])
  end)

  it("may wait: for time, and for another server", function()
    local other = kit.upstream()
    other:answer { status = 200, body = "from elsewhere" }
    local gateway = gateway_with { whole = ([[
      gw.sleep(0.01)
      local answer = assert(gw.http.get("%s"))
      return chunk .. " " .. answer.body]]):format(other:url("/")) }
    local conn = gateway:client():connect()

    for _ = 1, 2 do
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.equal("hello from elsewhere", conn:read_answer().body)
    end
    assert.equal(1, (upstream:connections()))
  end)

  it("gives the upstream's connection back while it waits", function()
    local gateway = gateway_with { whole = "if ctx.request.path == '/slow' then gw.sleep(3600) end" }
    local conn = gateway:client():connect()
    conn:write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    kit.eventually(function() assert.equal(1, upstream:requests()) end)

    assert.equal("hello", shout(gateway).body)
    assert.equal("hello", shout(gateway).body)

    assert.equal(1, (upstream:connections()))
    gateway:advance(3600 * 1000)
    assert.equal("hello", conn:read_answer().body)
  end)

  it("reads and assigns ctx.response.body; a result wins", function()
    local gateway = gateway_with {
      whole = "assert(ctx.response.body == chunk) ctx.response.body = 'assigned' "
        .. "assert(ctx.response.body == 'assigned')",
      final = "ctx.response.body = 'not this' return ctx.response.body and chunk .. ' and returned'" }

    assert.equal("assigned and returned", shout(gateway).body)
  end)

  it("may drop the body, and set status and headers", function()
    local gateway = gateway_with { whole = [[
      ctx.response.headers['x-bytes'] = #chunk
      if ctx.request.path == '/none' then ctx.response.status = 204 return end
      ctx.response.status = 203
      return '']] }

    local answer = shout(gateway)
    assert.equal(203, answer.status)
    assert.equal("", answer.body)
    assert.equal("0", answer.headers["content-length"])
    assert.equal("5", answer.headers["x-bytes"])

    answer = shout(gateway, "/none")
    assert.equal(204, answer.status)
    assert.is_nil(answer.headers["content-length"])
  end)

  it("stands in a chain with those that take pieces", function()
    upstream:on(function(conn)
      while conn:read_head() do
        conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        gw.sleep(0.01)
        conn:write("1\r\nb\r\n0\r\n\r\n")
      end
    end)
    local gateway = gateway_with {
      first = "if chunk ~= '' then return '<' .. chunk .. '>' end",
      whole = "gw.sleep(0.001) return '[' .. chunk .. ']'",
      behind = "assert(last and not pcall(gw.sleep, 0)) return '(' .. chunk .. ')'",
      final = "gw.sleep(0.001) return '{' .. chunk .. '}'",
    }

    local answer = shout(gateway)

    assert.equal("{([<a><b>])}", answer.body)
    assert.equal("12", answer.headers["content-length"])
  end)

  it("is told of one plugin's when: those that nobody wants flow as they are", function()
    local gateway = gateway_with { whole = { "return chunk:upper()", when = "ctx.response.status == 404" } }

    local answer = shout(gateway)
    assert.equal("hello", answer.body)
    assert.equal('"x"', answer.headers.etag)

    upstream:answer { status = 404, headers = {}, body = "nothing" }
    assert.equal("NOTHING", shout(gateway).body)

    -- A coding that no filter reads is nobody's business then.
    upstream:answer { status = 200, headers = { ["Content-Encoding"] = "br" }, body = "xx" }
    answer = shout(gateway)
    assert.equal("xx", answer.body)
    assert.equal("br", answer.headers["content-encoding"])
  end)

  it("decodes what it gets", function()
    local code, packed = kit.run("gzip", { "-c" }, { stdin = ("plain "):rep(1000) })
    assert.equal(0, code)
    upstream:answer { status = 200, headers = { ["Content-Encoding"] = "gzip" }, body = packed }
    local gateway = gateway_with { whole = "return tostring(#chunk)" }

    local answer = shout(gateway)

    assert.equal("6000", answer.body)
    assert.is_nil(answer.headers["content-encoding"])
  end)

  it("is not asked where there is no body", function()
    local gateway = gateway_with { whole = "error('asked')" }

    assert.equal(200, shout(gateway, "/", nil, "HEAD").status)
    for _, status in ipairs { 204, 304 } do
      upstream:answer(("HTTP/1.1 %d X\r\nETag: \"x\"\r\n\r\n"):format(status))
      assert.equal(status, shout(gateway).status)
    end
    assert.is_nil(gateway:log():find("asked", 1, true))
  end)

  it("is asked for an empty body", function()
    upstream:answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    local gateway = gateway_with { whole = "return #chunk .. tostring(last)" }

    assert.equal("0true", shout(gateway).body)
  end)

  it("takes no part for the whole", function()
    upstream:answer("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\n\r\nhe")
    local gateway = gateway_with { whole = "return chunk" }

    local answer = shout(gateway, "/", { Range = "bytes=0-1" })

    assert.is_nil(upstream:request().headers.range)
    assert.equal(502, answer.status)
  end)

  it("changes answers of the gateway, too", function()
    local respond = gateway_with({ whole = "gw.sleep(0.001) return chunk:upper()" },
      { kind = "respond", value = { status = 200, body = "made here" } })
    assert.equal("MADE HERE", shout(respond).body)

    local files = gateway_with({ whole = "gw.sleep(0.001) return chunk:upper()" },
      { kind = "files", value = { root = "www" }, files = { ["www/a.txt"] = ("abc"):rep(50000) } })
    local answer = shout(files, "/a.txt", { Range = "bytes=0-1" })
    assert.equal(200, answer.status)
    assert.is_true(answer.body == ("ABC"):rep(50000))
    assert.equal("150000", answer.headers["content-length"])
    assert.matches("NO SUCH FILE", shout(files, "/none").body)

    upstream:stop()
    assert.matches("BAD GATEWAY", shout(gateway_with { whole = "return chunk:upper()" }).body)
  end)

  describe("when it goes wrong", function()
    local LIMITS = { limits = { body_buffer_size_max = "1k" } }

    it("answers 502 to a body over body_buffer_size_max", function()
      local gateway = gateway_with({ whole = "return chunk" }, { route = LIMITS })
      for _, chunked in ipairs { false, true } do
        upstream:answer { status = 200, headers = {}, body = ("x"):rep(1024), chunked = chunked }
        assert.equal(1024, #shout(gateway).body)
        upstream:answer { status = 200, headers = {}, body = ("x"):rep(1025), chunked = chunked }
        local answer = shout(gateway)
        assert.equal(502, answer.status)
        assert.matches("longer than body_buffer_size_max", answer.body)
      end
    end)

    it("answers 502 to a small body that unpacks to a large one", function()
      local _, packed = kit.run("gzip", { "-c" }, { stdin = ("0"):rep(2000) })
      upstream:answer { status = 200, headers = { ["Content-Encoding"] = "gzip" }, body = packed }

      assert.equal(502, shout(gateway_with({ whole = "return chunk" }, { route = LIMITS })).status)
    end)

    it("answers 500 for a file over it; an answer in memory has no limit", function()
      local files = gateway_with({ whole = "return chunk" }, { kind = "files", value = { root = "www" },
        files = { ["www/a"] = ("x"):rep(1025), ["www/b"] = ("x"):rep(1024) }, route = LIMITS })
      assert.equal(500, shout(files, "/a").status)
      assert.equal(1024, #shout(files, "/b").body)

      local own = gateway_with({ whole = "return chunk:upper()" }, { kind = "respond",
        value = { status = 200, body = ("x"):rep(3000) }, route = LIMITS })
      assert.is_true(shout(own).body == ("X"):rep(3000))
    end)

    it("answers 502 when the upstream dies midway", function()
      upstream:answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf")

      local answer = shout(gateway_with { whole = "error('asked')" })

      assert.equal(502, answer.status)
      assert.equal("application/problem+json", answer.headers["content-type"])
    end)

    it("answers 502 to a broken coding", function()
      upstream:answer { status = 200, headers = { ["Content-Encoding"] = "gzip" }, body = "not gzip" }

      assert.equal(502, shout(gateway_with { whole = "error('asked')" }).status)
    end)

    for _, waits in ipairs { "", "gw.sleep(0.001) " } do
      it("answers 500 for an error" .. (waits ~= "" and " behind a wait" or ""), function()
        local gateway = gateway_with { whole = waits .. "error('boom')" }

        local answer = shout(gateway)

        assert.equal(500, answer.status)
        assert.is_nil(answer.headers.etag)
        gateway:wait_log("boom")
      end)

      it("goes on with on_error: skip" .. (waits ~= "" and " behind a wait" or ""), function()
        local gateway = gateway_with {
          whole = { "ctx.response.body = 'lost' " .. waits .. "error('boom')", on_error = "skip" },
          final = "return chunk .. '!'" }

        local answer = shout(gateway)

        assert.equal("hello!", answer.body)
        gateway:wait_log("boom")
      end)
    end

    it("answers 500 for a result that is no text", function()
      local gateway = gateway_with { whole = "return {}" }

      assert.equal(500, shout(gateway).status)
      gateway:wait_log("a string or nil is expected")
    end)

    it("ends with its deadline", function()
      local fails = gateway_with { whole = { "gw.sleep(60)", deadline = "20ms" } }
      assert.equal(500, shout(fails).status)

      local skips = gateway_with {
        whole = { "gw.sleep(60)", deadline = "20ms", on_error = "skip" }, final = "return chunk .. '!'" }
      assert.equal("hello!", shout(skips).body)
    end)

    it("is stopped at its CPU budget", function()
      local gateway = gateway_with { whole = "gw.sleep(0.001) while true do end" }

      assert.equal(500, shout(gateway).status)
      gateway:wait_log("CPU budget")
      assert.equal(500, shout(gateway).status)
    end)

    it("answers 504 when the time for the exchange is over", function()
      local gateway = gateway_with({ whole = "gw.sleep(60)" },
        { route = { limits = { request_timeout = "50ms" } } })
      local conn = gateway:client():connect()

      for _ = 1, 2 do
        conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.equal(504, conn:read_answer().status)
      end
    end)

    it("ends when the client leaves", function()
      local gateway = gateway_with { whole = "gw.log.info('waits') gw.sleep(60) gw.log.info('went on')" }
      local conn = gateway:client():connect()
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      gateway:wait_log("waits")

      conn:reset()
      gateway:wait_log("ended: ")
      gateway:advance(61000)

      assert.equal(0, gateway:status().workers[1].requests_active)
      assert.is_nil(gateway:log():find("went on", 1, true))
    end)
  end)

  it("ends with the code and state that it began with, over a reload", function()
    local gateway = gateway_with { whole = "local n = 'old' gw.sleep(60) return chunk .. n" }
    local conn = gateway:client():connect()
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    kit.eventually(function() assert.equal(1, upstream:requests()) end)

    assert.is_true(gateway:reload((gateway.text:gsub("'old' gw.sleep%(60%)", "'new'"))).ok)
    assert.equal("hellonew", shout(gateway).body)
    gateway:advance(60000)

    assert.equal("helloold", conn:read_answer().body)
  end)

  it("serves those that stay when others leave", function()
    local gateway = gateway_with { whole = "gw.sleep(60) return chunk .. ctx.request.path" }
    local conns = {}
    for i = 1, 60 do
      conns[i] = gateway:client():connect()
      conns[i]:write("GET /" .. i .. " HTTP/1.1\r\nHost: a\r\n\r\n")
    end
    kit.eventually(function() assert.equal(60, upstream:requests()) end)
    gw.sleep(0.05) -- the last of them has its answer, too

    for i = 1, 60, 2 do
      conns[i][i % 4 == 1 and "reset" or "close"](conns[i])
    end
    -- Who has only ended its side may still listen, for half_close_timeout.
    kit.eventually(function() assert.equal(45, gateway:status().workers[1].requests_active) end)
    gateway:advance(5100)
    kit.eventually(function() assert.equal(30, gateway:status().workers[1].requests_active) end)
    gateway:advance(55000)

    for i = 2, 60, 2 do
      assert.equal("hello/" .. i, conns[i]:read_answer().body)
    end
    assert.equal(0, gateway:status().workers[1].requests_active)
  end)

  it("lets a gateway that stops wait for it, up to shutdown_timeout", function()
    for _, seconds in ipairs { 0.2, 60 } do
      local gateway = gateway_with { whole = ("gw.sleep(%g) return 'done'"):format(seconds) }
      gateway:reload(gateway.text .. "shutdown_timeout: 600ms\n")
      local conn = gateway:client():connect()
      upstream:clear()
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      kit.eventually(function() assert.equal(1, upstream:requests()) end)

      gateway:stop()

      local all = conn:read_all()
      assert.equal(seconds < 1, all:find("done", 1, true) ~= nil)
    end
  end)

  it("keeps a pipeline in order", function()
    local gateway = gateway_with {
      whole = "if ctx.request.path == '/slow' then gw.sleep(0.02) end return ctx.request.path" }
    local conn = gateway:client():connect()

    conn:write(("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /fast HTTP/1.1\r\nHost: a\r\n\r\n"):rep(2))

    for _, path in ipairs { "/slow", "/fast", "/slow", "/fast" } do
      assert.equal(path, conn:read_answer().body)
    end
  end)
end)

describe("ctx.response.body in header_filter", function()
  before_each(function()
    upstream = kit.upstream()
    upstream:answer { status = 200, headers = { ETag = '"x"', ["Content-Encoding"] = "br",
      ["Accept-Ranges"] = "bytes" }, body = "hello" }
  end)

  it("takes the place of the upstream's, whose connection lives", function()
    local gateway = gateway_with { head = "ctx.response.body = 'another one'" }

    for _ = 1, 2 do
      local answer = shout(gateway)
      assert.equal("another one", answer.body)
      assert.equal("11", answer.headers["content-length"])
      assert.equal('W/"x"', answer.headers.etag)
      assert.is_nil(answer.headers["content-encoding"])
      assert.is_nil(answer.headers["accept-ranges"])
    end
    assert.equal(1, (upstream:connections()))
  end)

  for _, how in ipairs { "a length", "chunks" } do
    it("does not read a long one with " .. how .. " to its end", function()
      local closed = false
      upstream:on(function(conn)
        conn:read_head()
        conn:write(how == "chunks" and "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
          or "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        local piece = ("x"):rep(65536)
        for _ = 1, 200 do
          if not conn:write(how == "chunks" and "10000\r\n" .. piece .. "\r\n" or piece) then
            closed = true
            return
          end
        end
      end)
      local gateway = gateway_with { head = "ctx.response.body = 'short'" }

      assert.equal("short", shout(gateway).body)
      kit.eventually(function() assert.is_true(closed) end)
    end)
  end

  it("does not mind an upstream that dies behind its head", function()
    upstream:on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 500 Broken\r\nContent-Length: 1000\r\n\r\nhalf")
    end)
    local gateway = gateway_with { head = "ctx.response.status = 503 ctx.response.body = 'Back soon.'" }

    local answer = shout(gateway)

    assert.equal(503, answer.status)
    assert.equal("Back soon.", answer.body)
  end)

  it("passes through body_filter", function()
    local gateway = gateway_with { head = "ctx.response.body = 'new'", first = "return chunk:upper()",
      whole = "gw.sleep(0.001) return '[' .. chunk .. ']'" }

    assert.equal("[NEW]", shout(gateway).body)
    assert.equal("NEW", shout(gateway_with { head = "ctx.response.body = 'new'", first = "return chunk:upper()" }).body)
  end)

  it("is read and assigned for answers of the gateway", function()
    local code = "local b = ctx.response.body assert(ctx.response.from_gateway) ctx.response.body = b:upper() "
      .. "assert(ctx.response.body == b:upper())"
    local respond = gateway_with({ head = code }, { kind = "respond", value = { status = 200, body = "made" } })
    assert.equal("MADE", shout(respond).body)
    upstream:stop()
    assert.matches("BAD GATEWAY", shout(gateway_with { head = code }).body)
  end)

  it("takes the place of a file", function()
    local files = gateway_with({ head = "ctx.response.body = ctx.request.path" }, { kind = "files",
      value = { root = "www" }, files = { ["www/a"] = ("x"):rep(100000) } })
    local conn = files:client():connect()

    for _ = 1, 2 do
      conn:write("GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n")
      local answer = conn:read_answer()
      assert.equal(200, answer.status)
      assert.equal("/a", answer.body)
      assert.is_nil(answer.headers["content-range"])
    end
    assert.equal("/none", shout(files, "/none").body)
  end)

  it("makes a whole of a part", function()
    upstream:answer("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\n\r\nhe")

    local answer = shout(gateway_with { head = "ctx.response.body = 'whole'" }, "/", { Range = "bytes=0-1" })

    assert.equal(200, answer.status)
    assert.equal("whole", answer.body)
    assert.is_nil(answer.headers["content-range"])
  end)

  it("has the length of what HEAD would give", function()
    local gateway = gateway_with { head = "ctx.response.body = 'four'" }
    local conn = gateway:client():connect()

    for _ = 1, 2 do
      conn:write("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
      local answer = conn:read_answer("HEAD")
      assert.equal("4", answer.headers["content-length"])
    end
  end)

  it("goes with the status", function()
    local gateway = gateway_with { head = [[
      local path = ctx.request.path
      if path == "/to-none" then ctx.response.status = 204 end
      if path == "/none-with" then ctx.response.status = 304 ctx.response.body = "lost" end
      if path == "/from-none" then ctx.response.status = 200 end
      if path == "/from-none-with" then ctx.response.status = 200 ctx.response.body = "new" end]] }
    local conn = gateway:client():connect()
    local function ask(path)
      conn:write("GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n")
      return conn:read_answer()
    end

    assert.same({ 204, "" }, { ask("/to-none").status, ask("/to-none").body })
    assert.same({ 304, "" }, { ask("/none-with").status, ask("/none-with").body })
    upstream:answer("HTTP/1.1 204 None\r\n\r\n")
    assert.equal("0", ask("/from-none").headers["content-length"])
    assert.same({ 200, "new" }, { ask("/from-none-with").status, ask("/from-none-with").body })
  end)

  it("cannot be read before it has come, nor where it flows", function()
    local gateway = gateway_with { head = "return ctx.response.body" }
    assert.equal(500, shout(gateway).status)
    gateway:wait_log("it has not come yet: read it in body_filter")

    upstream:answer { status = 200, headers = {}, body = "x" }
    gateway = gateway_with { first = { "ctx.response.body = 'x'", on_error = "skip" } }
    assert.equal("x", shout(gateway).body)
    gateway:wait_log("setting response.body: not in body_filter (only in: header_filter, buffered body_filter)")
  end)

  it("takes texts and numbers only", function()
    upstream:answer { status = 200, headers = {}, body = "x" }
    local gateway = gateway_with { head = { "ctx.response.body = {}", on_error = "skip" } }

    assert.equal("x", shout(gateway).body)
    gateway:wait_log("response.body: string expected, got table")
  end)
end)

describe("kit.plugin", function()
  local SIGN = [[
local plugin = { name = "sign", priority = 1, body = "buffered", schema = { type = "object", properties = {} } }
function plugin.header_filter(_, ctx)
  if ctx.response.from_gateway then ctx.response.body = ctx.response.body:upper() end
end
function plugin.body_filter(_, ctx, body)
  gw.sleep(0.001)
  if body == "bad" then error("bad body") end
  ctx.response.headers["x-md5"] = gw.crypto.md5(body, "hex")
  ctx.response.body = body .. "."
end
return plugin
]]

  it("runs a buffered body_filter, which waits", function()
    local plugin, ctx = kit.plugin(SIGN), kit.ctx {}

    assert.equal("", plugin:body_filter(ctx, "ab", false))
    assert.equal("abc.", plugin:body_filter(ctx, "c", true))
    assert.equal(gw.crypto.md5("abc", "hex"), ctx.response.headers["x-md5"])
    assert.equal("d.", plugin:body_filter(ctx, "d", true))
  end)

  it("raises its error", function()
    local plugin = kit.plugin(SIGN)

    assert.error_matches(function() plugin:body_filter(kit.ctx {}, "bad", true) end, "bad body")
  end)

  it("shows the body that header_filter assigned", function()
    local ctx = kit.ctx { response = { from_gateway = true, body = "text" } }

    kit.plugin(SIGN):header_filter(ctx)

    assert.equal("TEXT", ctx.response.body)
  end)
end)
