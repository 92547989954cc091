local kit = require("gateway.spec")

local CONF = [[
routes:
  - name: here
    match: { path: "/here/*" }
    plugins: [ { access-log: %s } ]
    respond: { status: 200, body: "12345" }
  - name: up
    match: { path: "/up/*" }
    plugins: [ { access-log: %s } ]
    upstream: ${UPSTREAM}
    retries: 0
]]

local function conf(options)
  return CONF:format(options, options)
end

local function lines_of(text)
  local lines = {}
  for line in (text or ""):gmatch("[^\n]*\n") do
    lines[#lines + 1] = line:sub(1, -2)
  end
  return lines
end

--- Every line as a table; raises when one is no JSON, or is cut off.
local function read_log(gateway, file)
  local text = gateway:read(file or "access.log") or ""
  local list = {}
  for i, line in ipairs(lines_of(text)) do
    list[i] = assert(gw.json.decode(line, { duplicates = "refuse" }), line)
  end
  assert(text == "" or text:sub(-1) == "\n", "half a line at the end")
  return list
end

local function eventually_lines(gateway, count, file)
  local list
  kit.eventually(function()
    list = read_log(gateway, file)
    assert.equal(count, #list)
  end)
  return list
end

local function start(options, more)
  local upstream = kit.upstream()
  more = more or {}
  more.conf, more.env = conf(options), { UPSTREAM = upstream:url() }
  local gateway = kit.gateway(more)
  return gateway, kit.client(gateway), upstream
end

describe("access-log", function()
  it("writes what is known of a request", function()
    local gateway, client, upstream = start("{ path: access.log }")
    upstream:answer(function()
      gw.sleep(0.02)
      return { status = 418, body = "teapot" }
    end)

    client:request { path = "/up/a%22b?secret=1", body = "abc", host = "example.com",
      headers = { ["User-Agent"] = "spec/1", Referer = "http://from.example/" } }

    local line = eventually_lines(gateway, 1)[1]
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", line.time)
    assert.matches("^%x+%-%x+%-4%x+%-%x+%-%x+$", line.id)
    assert.is_true(line.duration_ms >= 19 and line.duration_ms < 5000, tostring(line.duration_ms))
    assert.is_true(line.upstream_ms >= 19 and line.upstream_ms <= line.duration_ms + 2)
    for _, name in ipairs { "time", "id", "duration_ms", "upstream_ms" } do
      line[name] = nil
    end
    assert.same({ client = "127.0.0.1", method = "POST", host = "example.com", path = "/up/a%22b",
      status = 418, bytes_in = 3, bytes_out = 6, upstream = upstream:address(), tries = 1,
      route = "up", user_agent = "spec/1", referer = "http://from.example/" }, line)
  end)

  it("says why the gateway answered by itself", function()
    local gateway, client, upstream = start("{ path: access.log }")
    upstream:stop()

    assert.equal(502, client:get("/up/x").status)

    local line = eventually_lines(gateway, 1)[1]
    assert.equal(502, line.status)
    assert.is_string(line.error)
    assert.is_nil(line.upstream_ms)
  end)

  it("writes the fields that are asked for, and no others", function()
    local gateway, client = start("{ path: access.log, fields: [ status, query, method ] }")

    client:get("/here/a?b=c&d")

    assert.same({ status = 200, query = "b=c&d", method = "GET" }, eventually_lines(gateway, 1)[1])
  end)

  it("names the consumer", function()
    local gateway = kit.gateway { conf = [[
plugins: [ { access-log: { path: access.log, fields: [ consumer, status, route ] } } ]
routes:
  - { name: r, match: { path: "/*" }, plugins: [ { key-auth: { keys: { alice: k } } } ], respond: { status: 204 } }
]] }
    local client = kit.client(gateway)

    client:get("/", { ["x-api-key"] = "k" })
    client:get("/")

    local list = eventually_lines(gateway, 2)
    assert.same({ consumer = "alice", status = 204, route = "r" }, list[1])
    assert.same({ status = 401, route = "r" }, list[2])
  end)

  it("keeps to the order of the requests", function()
    local gateway, client = start("{ path: access.log }")
    local conn = client:connect()

    for i = 1, 300 do
      conn:write(("GET /here/%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(i))
      conn:read_answer()
    end

    for i, line in ipairs(eventually_lines(gateway, 300)) do
      assert.equal("/here/" .. i, line.path)
    end
  end)

  it("notes a client that has gone away", function()
    local gateway, client, upstream = start("{ path: access.log }")
    upstream:on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nxxx")
      conn:closed(5)
    end)
    local conn = client:connect()
    conn:write("GET /up/x HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read_head()
    conn:reset()

    assert.is_true(eventually_lines(gateway, 1)[1].aborted)
  end)

  describe("under hostile input", function()
    it("stays JSON, a line a request", function()
      local gateway, client = start([[{ path: access.log, headers: [ x-a ],
        fields: [ path, query, user_agent, referer, host, method ] }]])
      local evil = {
        'quo"te', "back\\slash", '","status":200,"x":"', "\\u0000", "\t tab", "\xff\xfe", "\xc0\xaf",
        "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xc2\x9b31m", "é ü 漢字 😀", "{}[]", "'; DROP", "%0d%0a%00",
        ("x"):rep(5000), ("\xff"):rep(4000), ("\\"):rep(5000),
      }
      local sent = 0
      for _, text in ipairs(evil) do
        local headers = { ["User-Agent"] = text, ["X-A"] = text }
        if #text < 100 then
          headers.Referer = text
        end
        local answer = client:request { path = "/here/" .. text:gsub("[^%w]", "_"):sub(1, 3000), headers = headers }
        assert.equal(200, answer.status, text)
        sent = sent + 1
      end

      local list = eventually_lines(gateway, sent)
      for i = 1, 15 do
        assert.is_string(list[i].user_agent)
        assert.equal(list[i].user_agent, list[i].headers["x-a"])
      end
      assert.equal(evil[1], list[1].user_agent)
      assert.equal(evil[2], list[2].user_agent)
      assert.equal(evil[3], list[3].user_agent)
      assert.equal("tab", list[5].user_agent)
      assert.equal("\239\191\189\239\191\189", list[6].user_agent)
      assert.equal("é ü 漢字 😀", list[12].user_agent)
      -- Long ones are cut, and it can be seen.
      assert.equal(("x"):rep(4096) .. "...", list[16].user_agent)
      assert.is_nil(gateway:read("access.log"):find("[%z\1-\9\11-\31\127]"))
      assert.is_nil(gateway:read("access.log"):find("\194\155", 1, true)) -- a terminal would obey it
    end)

    it("writes no secrets", function()
      local gateway, client = start([[{ path: access.log, fields: [ query, status ], headers: [ Authorization,
        cookie, X-API-Key, proxy-authorization, x-session-token, x-fine ] }]])

      client:get("/here/?a=1&api_key=hunter2&access%5Ftoken=hunter2&b=2&Password=hunter2&sig=hunter2&x=y", {
        Authorization = "Basic hunter2", Cookie = "sid=hunter2", ["X-Api-Key"] = "hunter2",
        ["Proxy-Authorization"] = "hunter2", ["X-Session-Token"] = "hunter2", ["X-Fine"] = "shown" })

      local line = eventually_lines(gateway, 1)[1]
      assert.is_nil(gateway:read("access.log"):find("hunter2", 1, true))
      assert.equal("shown", line.headers["x-fine"])
      assert.equal("[hidden]", line.headers.authorization)
      assert.matches("^a=1&api_key=%[hidden%]", line.query)
      assert.matches("b=2", line.query, 1, true)
      assert.matches("x=y", line.query, 1, true)
    end)
  end)

  it("writes whole lines from 4 workers into one file", function()
    local gateway, client = start("{ path: access.log, headers: [ x-n ] }", { workers = 4 })
    local conns, per = {}, 60
    for i = 1, 16 do
      conns[i] = client:connect()
    end
    for round = 1, per do
      for i, conn in ipairs(conns) do
        conn:write(("GET /here/%d HTTP/1.1\r\nHost: a\r\nX-N: %s\r\n\r\n"):format(i, ("%d."):format(round):rep(300)))
      end
      for _, conn in ipairs(conns) do
        conn:read_answer()
      end
    end

    local last = {}
    for _, line in ipairs(eventually_lines(gateway, 16 * per)) do
      local round = tonumber(line.headers["x-n"]:match("^(%d+)%."))
      assert.equal(("%d."):format(round):rep(300), line.headers["x-n"])
      assert.equal((last[line.path] or 0) + 1, round) -- each connection is one worker's: in order
      last[line.path] = round
    end
    local busy = 0
    for _, worker in ipairs(gateway:status().workers) do
      busy = busy + (worker.requests > 0 and 1 or 0)
    end
    assert.is_true(busy >= 2)
  end)

  it("writes what it holds when it ends", function()
    local gateway, client = start("{ path: access.log }", { workers = 2 })
    for i = 1, 20 do
      assert.equal(200, client:get("/here/" .. i).status)
    end

    gateway:stop()

    assert.equal(20, #read_log(gateway))
  end)

  it("goes on in a new file after the old one was renamed, without losing a line", function()
    local gateway, client = start("{ path: access.log }", { workers = 2 })
    local conns = {}
    for i = 1, 8 do
      conns[i] = client:connect()
    end
    local function round(from, to)
      for n = from, to do
        for i, conn in ipairs(conns) do
          conn:write(("GET /here/%d-%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(i, n))
        end
        for _, conn in ipairs(conns) do
          conn:read_answer()
        end
      end
    end

    round(1, 20)
    assert(os.rename(gateway.dir .. "/access.log", gateway.dir .. "/access.log.1"))
    round(21, 40)
    assert(os.rename(gateway.dir .. "/access.log.1", gateway.dir .. "/access.log.2"))
    gateway:signal("USR1")
    gateway:wait_log("the log is opened again")
    round(41, 60)

    kit.eventually(function()
      local seen, count = {}, 0
      for _, file in ipairs { "access.log", "access.log.1", "access.log.2" } do
        for _, line in ipairs(read_log(gateway, file)) do
          assert.is_nil(seen[line.path])
          seen[line.path] = true
          count = count + 1
        end
      end
      assert.equal(8 * 60, count)
    end)
    assert.is_true(#read_log(gateway) > 0)
  end)

  it("lets go of a renamed file at SIGUSR1, though nobody asks anything", function()
    local gateway, client = start("{ path: access.log }")
    client:get("/here/1")
    eventually_lines(gateway, 1)
    assert(os.rename(gateway.dir .. "/access.log", gateway.dir .. "/old.log"))

    gateway:signal("USR1")

    kit.eventually(function() assert.equal("", gateway:read("access.log")) end)
    client:get("/here/2")
    eventually_lines(gateway, 1)
    assert.equal(1, #read_log(gateway, "old.log"))
  end)

  it("makes a deleted file again", function()
    local gateway, client = start("{ path: access.log }")
    client:get("/here/1")
    eventually_lines(gateway, 1)
    os.remove(gateway.dir .. "/access.log")

    client:get("/here/2")

    assert.equal("/here/2", eventually_lines(gateway, 1)[1].path)
  end)

  it("ends half a line of a dead writer before its own", function()
    local gateway, client = start("{ path: access.log }")
    local file = assert(io.open(gateway.dir .. "/access.log", "ab"))
    file:write('{"time":"2026-11-2')
    file:close()

    client:get("/here/1")

    kit.eventually(function()
      local lines = lines_of(gateway:read("access.log"))
      assert.equal(2, #lines)
      assert.equal("/here/1", gw.json.decode(lines[2]).path)
    end)
  end)

  it("counts what a full disk loses, answers all the same, and says so once", function()
    local upstream = kit.upstream()
    local gateway = kit.gateway {
      conf = "plugins: [ metrics ]\n" .. conf("{ path: /dev/full, buffer: 64k, headers: [ x-n ] }"),
      env = { UPSTREAM = upstream:url() },
    }
    local client = kit.client(gateway)
    local conn = client:connect()
    for _ = 1, 200 do
      conn:write("GET /here/1 HTTP/1.1\r\nHost: a\r\nX-N: " .. ("n"):rep(1000) .. "\r\n\r\n")
      assert.equal(200, conn:read_answer().status)
    end

    local text = client:get("/metrics").body
    local lost = tonumber(text:match('moongate_access_log_lost_total{file="/dev/full"} (%d+)'))
    assert.is_true(lost > 100 and lost < 180, tostring(lost))
    gateway:wait_log("/dev/full: cannot be written")
    gateway:wait_log("lines were lost")
    local _, said = gateway:log():gsub("lines were lost", "")
    assert.equal(1, said)
    gateway:advance(61000)
    conn:write("GET /here/1 HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read_answer()
    kit.eventually(function()
      _, said = gateway:log():gsub("lines were lost", "")
      assert.equal(2, said)
    end)

    gateway:stop()

    local all = 0
    for _, n in gateway:log():gmatch("(%d+) lines were lost %((%d+) in all%)") do
      all = tonumber(n)
    end
    assert.equal(201, all)
  end)

  it("writes whole lines again when there is room again", function()
    -- A limit on the size of files stands for a disk that is full for a while.
    local gateway, client = start("{ path: access.log, headers: [ x-n ] }")
    local pid = gateway:worker_pids()[1]
    local conn = client:connect()
    local function ask(from, to)
      for i = from, to do
        conn:write(("GET /here/%d HTTP/1.1\r\nHost: a\r\nX-N: %s\r\n\r\n"):format(i, ("n"):rep(500)))
        conn:read_answer()
      end
    end
    local code, _, err = kit.run("prlimit", { "--pid", pid, "--fsize=10000:" })
    if code ~= 0 then
      pending("prlimit: " .. err)
      return
    end
    ask(1, 50)
    gateway:wait_log("cannot be written")
    local before = read_log(gateway) -- whole lines only
    assert.is_true(#before > 5 and #before < 50, tostring(#before))

    kit.run("prlimit", { "--pid", pid, "--fsize=unlimited:" })
    gateway:advance(2000)
    ask(51, 60)

    for i, line in ipairs(eventually_lines(gateway, 60)) do
      assert.equal("/here/" .. i, line.path)
    end
  end)

  it("does not wait for a pipe that nobody empties", function()
    local dir = os.tmpname()
    os.remove(dir)
    assert.equal(0, (kit.run("mkfifo", { dir })))
    local reader = kit.start("sh", { "-c", "exec 3<>" .. dir .. "; echo ready; sleep 60" })
    reader.stdout:read_until("ready")
    local gateway, client = start(("{ path: %s, buffer: 64k, headers: [ x-n ] }"):format(dir))
    local conn, began = client:connect(), kit.now()
    for _ = 1, 300 do
      conn:write("GET /here/1 HTTP/1.1\r\nHost: a\r\nX-N: " .. ("n"):rep(1000) .. "\r\n\r\n")
      assert.equal(200, conn:read_answer().status)
    end
    assert.is_true(kit.now() - began < 4)
    gateway:wait_log("lines were lost")

    gateway:stop()
    os.remove(dir)
  end)

  it("writes to standard output", function()
    local gateway, client = start("{ path: stdout }")

    client:get("/here/1")

    local line = gateway.process.stdout:read_until("\n")
    assert.equal("/here/1", gw.json.decode(line).path)
  end)

  it("refuses at load a path that cannot be written, and names path and reason", function()
    local gateway = start("{ path: access.log }")

    for path, reason in pairs { ["/nowhere/at/all.log"] = "No such file or directory", ["/tmp"] = "Is a directory" } do
      local report = gateway:reload(conf("{ path: " .. path .. " }"))
      assert.is_false(report.ok)
      assert.matches(path, gw.json.encode(report), 1, true)
      assert.matches(reason, gw.json.encode(report), 1, true)
    end
    assert.equal(200, kit.client(gateway):get("/here/1").status)
  end)

  it("goes over to another file at a reload", function()
    local gateway, client = start("{ path: access.log }")
    client:get("/here/1")
    assert.is_true(gateway:reload(conf("{ path: logs.log }")).ok)

    client:get("/here/2")

    assert.equal("/here/2", eventually_lines(gateway, 1, "logs.log")[1].path)
    assert.equal("/here/1", eventually_lines(gateway, 1)[1].path)
  end)

  it("refuses confs that cannot be meant", function()
    local function fault(c) return kit.plugin_check("access-log", c) end

    assert.matches("fields", fault { fields = { "statsu" } })
    assert.matches("fields", fault { fields = gw.json.array({}) })
    assert.matches("twice", fault { fields = { "status", "status" } })
    assert.matches("buffer", fault { buffer = "1g" })
    assert.matches("buffer", fault { buffer = "1k" })
    assert.matches("headers", fault { headers = { "a b" } })
    assert.matches("path", fault { path = "" })
    assert.is_nil(fault { path = "/dev/null" })
  end)
end)
