local kit = require("gateway.spec")

--- An upstream is believed no more than a client: what is ambiguous in its answer is 502, what
--- turns bad later cuts the client's answer, and its connection is never used again.
describe("an upstream's answer", function()
  local upstream, gateway, client

  setup(function()
    upstream = kit.upstream()
    gateway = kit.gateway { conf = [[
        limits: { header_size_max: 16k, header_count_max: 50 }
        upstreams:
          behind: { targets: [ "${UPSTREAM}" ], read_timeout: 5s }
        routes:
          - { name: all, match: { path: "/*" }, upstream: behind, retries: 0 }
      ]], env = { UPSTREAM = upstream:address() } }
    client = kit.client(gateway)
  end)

  before_each(function()
    upstream:drop()
    upstream:clear()
    upstream:on(nil)
    upstream:answer { body = "upstream\n" }
  end)

  local OK = "HTTP/1.1 200 OK\r\n"

  --- The connection stays open behind what it has said, for as long as the gateway likes.
  local function says(bytes, closes)
    local said = { closed = nil }
    upstream:on(function(conn)
      conn:read_head()
      for _, piece in ipairs(type(bytes) == "table" and bytes or { bytes }) do
        conn:write(piece)
        gw.sleep(0.005)
      end
      if not closes then
        said.closed = conn:closed(5)
      end
    end)
    return said
  end

  local function not_reused()
    upstream:on(nil)
    local before = upstream:connections()
    assert.equal("upstream\n", client:get("/").body)
    assert.equal(before + 1, (upstream:connections()))
  end

  local BAD = {
    { "Content-Length and Transfer-Encoding",
      OK .. "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { "two lengths", OK .. "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" },
    { "the same length twice", OK .. "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" },
    { "a list of lengths", OK .. "Content-Length: 5, 5\r\n\r\nhello" },
    { "a length with a plus", OK .. "Content-Length: +5\r\n\r\nhello" },
    { "a length below 0", OK .. "Content-Length: -1\r\n\r\nhello" },
    { "a length that is too long", OK .. "Content-Length: 99999999999999999999\r\n\r\nhello" },
    { "an empty length", OK .. "Content-Length: \r\n\r\nhello" },
    { "another transfer coding", OK .. "Transfer-Encoding: gzip\r\n\r\nhello" },
    { "gzip, chunked", OK .. "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" },
    { "chunked twice", OK .. "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" },
    { "chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { "a space before a colon", OK .. "X : 1\r\nContent-Length: 0\r\n\r\n" },
    { "a folded line", OK .. "X: 1\r\n 2\r\nContent-Length: 0\r\n\r\n" },
    { "a bare LF", OK .. "X: 1\nContent-Length: 0\r\n\r\n" },
    { "a head of bare LFs", "HTTP/1.1 200 OK\nContent-Length: 0\n\n" },
    { "a bare CR", OK .. "X: 1\r2\r\nContent-Length: 0\r\n\r\n" },
    { "a NUL", OK .. "X: \0\r\nContent-Length: 0\r\n\r\n" },
    { "a name that is none", OK .. "X Y: 1\r\nContent-Length: 0\r\n\r\n" },
    { "another protocol", "ICY 200 OK\r\n\r\n" },
    { "HTTP/2", "HTTP/2.0 200 OK\r\n\r\n" },
    { "HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n" },
    { "no status", "HTTP/1.1\r\n\r\n" },
    { "a status of two digits", "HTTP/1.1 20 OK\r\n\r\n" },
    { "a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n" },
    { "a status of 0", "HTTP/1.1 000 OK\r\n\r\n" },
    { "a status of 600", "HTTP/1.1 600 OK\r\n\r\n" },
    { "a status with a sign", "HTTP/1.1 +20 OK\r\n\r\n" },
    { "two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n" },
    { "a control in the reason", "HTTP/1.1 200 O\7K\r\n\r\n" },
    { "an empty line first", "\r\n\r\n" .. OK .. "Content-Length: 0\r\n\r\n" },
    { "a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "a greeting of another protocol", "220 smtp ready\r\n\r\n" },
    { "101 that nobody asked for",
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" },
    { "204 with a body", "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello" },
    { "204 with chunks", "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { "103 with a body", "HTTP/1.1 103 Early\r\nContent-Length: 5\r\n\r\nhello" .. OK .. "\r\n" },
    { "1xx without end", ("HTTP/1.1 103 Early\r\n\r\n"):rep(1000) },
    { "100 without end", ("HTTP/1.1 100 Continue\r\n\r\n"):rep(1000) },
    { "a head that is too long", OK .. "X: " .. ("x"):rep(20000) .. "\r\n\r\n" },
    { "a head of too many lines", OK .. ("X: 1\r\n"):rep(60) .. "\r\n" },
    { "a first line without end", "HTTP/1.1 200 " .. ("O"):rep(100000) },
    { "half a head, and the end", OK .. "X: 1\r\n", true },
    { "nothing, and the end", "", true },
  }
  for _, row in ipairs(BAD) do
    it("is 502: " .. row[1], function()
      local said = says(row[2], row[3])

      local answer = client:get("/")

      assert.equal(502, answer.status)
      assert.equal("application/problem+json", answer.headers["content-type"])
      if not row[3] then
        kit.eventually(function() return said.closed end)
      end
      not_reused()
    end)
  end

  it("is 502 just so when it comes byte by byte", function()
    for _, row in ipairs(BAD) do
      if #row[2] < 100 and not row[3] then
        upstream:on(function(conn)
          conn:read_head()
          for i = 1, #row[2] do
            if not conn:write(row[2]:sub(i, i)) then
              break
            end
            gw.sleep(0)
          end
          conn:closed(5)
        end)
        assert.equal(502, client:get("/").status, row[1])
      end
    end
  end)

  it("to HEAD is judged as strictly", function()
    says(OK .. "Content-Length: 5\r\nContent-Length: 6\r\n\r\n")

    assert.equal(502, client:request { method = "HEAD" }.status)
  end)

  --- What of it came to the client before it turned bad.
  local CUT = {
    { "a body shorter than its length", OK .. "Content-Length: 10\r\n\r\nhello", true },
    { "chunks without the last", OK .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true },
    { "half a chunk", OK .. "Transfer-Encoding: chunked\r\n\r\na\r\nhello", true },
    { "a last chunk without its end", OK .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", true },
    { "a chunk's size that is none", OK .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n" },
    { "a chunk's size of 2^64", OK .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10000000000000000\r\n" },
    { "junk behind a chunk", OK .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n" },
    { "bare LFs between chunks", OK .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\n\n" },
    { "a length in the trailers",
      OK .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n" },
    { "a bad trailer", OK .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX : 5\r\n\r\n" },
    { "trailers without end",
      OK .. "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" .. ("X: 1\r\n"):rep(10000) },
  }
  for _, row in ipairs(CUT) do
    for _, how in ipairs { "at once", "in two pieces" } do
      it(("is cut, and never completed: %s, %s"):format(row[1], how), function()
        local head, rest = row[2]:match("^(.-\r\n\r\n.-hello)(.*)$")
        says(how == "at once" and row[2] or { head, rest }, row[3])
        local conn = client:connect()

        conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        local came = conn:read_all()

        -- Nothing of it may have gone yet: then it is an honest 502.
        if not came:find("^HTTP/1.1 502 ") then
          local body = came:match("\r\n\r\n(.*)$") or ""
          assert.is_nil(body:find("0\r\n", 1, true), came)
          assert.is_true(not came:find("Content-Length: 10", 1, true) or #body < 10)
        end
        not_reused()
      end)
    end
  end

  it("that stops in the middle is cut after read_timeout", function()
    says(OK .. "Content-Length: 10\r\n\r\nhello")
    local conn = client:connect()

    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read_head()
    conn:read(5)
    gateway:advance(5100)

    assert.equal("", (conn:read_all()))
  end)

  it("that ends with its connection is whole", function()
    upstream:answer("HTTP/1.1 200 OK\r\n\r\n" .. ("x"):rep(200000))

    assert.equal(200000, #client:get("/").body)
  end)

  it("of HTTP/1.0 that keeps alive is reused, one that does not is not", function()
    upstream:answer("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
    client:get("/")
    client:get("/")
    assert.equal(upstream:request(1).connection, upstream:request(2).connection)

    upstream:answer("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    client:get("/")
    client:get("/")
    assert.not_equal(upstream:request(3).connection, upstream:request(4).connection)
  end)

  it("that is followed by more bytes: they reach nobody", function()
    for _, more in ipairs { "junk", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison" } do
      upstream:drop()
      says(OK .. "Content-Length: 5\r\n\r\nhello" .. more)
      local conn = client:connect()

      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.equal("hello", conn:read_answer().body)
      upstream:on(nil)
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")

      assert.equal("upstream\n", conn:read_answer().body)
    end
  end)

  it("that is followed by more bytes later: they reach nobody", function()
    upstream:on(function(conn)
      conn:read_head()
      conn:write(OK .. "Content-Length: 5\r\n\r\nhello")
      gw.sleep(0.02)
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
      conn:closed(5)
    end)
    local conn = client:connect()
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal("hello", conn:read_answer().body)
    upstream:on(nil)
    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert.equal("upstream\n", conn:read_answer().body)
  end)

  it("to HEAD that has a body all the same: it reaches nobody", function()
    says(OK .. "Content-Length: 5\r\n\r\nhello")
    local conn = client:connect()

    conn:write("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal("5", conn:read_answer("HEAD").headers["content-length"])
    upstream:on(nil)
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert.equal("upstream\n", conn:read_answer().body)
  end)

  it("of 304 that has a body all the same: it reaches nobody", function()
    says("HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\nhello")
    local conn = client:connect()

    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal(304, conn:read_answer().status)
    upstream:on(nil)
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert.equal("upstream\n", conn:read_answer().body)
  end)

  it("before the body of the request is there leaves no half connection in use", function()
    upstream:on(function(conn)
      conn:read_head()
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
      conn:closed(5)
    end)
    local conn = client:connect()

    conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
    assert.equal("early", conn:read_answer().body)
    conn:write("world")
    upstream:on(nil)
    conn:write("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")

    assert.equal("upstream\n", conn:read_answer().body)
    assert.equal("/next", upstream:request().path)
  end)

  it("waits for a slow client's body longer than read_timeout", function()
    local conn = client:connect()

    conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
    gw.sleep(0.02)
    gateway:advance(6000)
    gw.sleep(0.02)
    conn:write("world")

    assert.equal(200, conn:read_answer().status)
    assert.equal("helloworld", upstream:request().body)
  end)
end)
