local kit = require("gateway.spec")

--- What two readers could understand in two ways is refused: the answer is one, the connection
--- ends, and no upstream hears of it, nor of what stood behind it on the connection.
describe("an ambiguous request", function()
  local upstream, gateway, client

  setup(function()
    upstream = kit.upstream()
    gateway = kit.gateway { conf = [[
        routes:
          - { name: all, match: { path: "/*" }, upstream: "${UPSTREAM}" }
          - { name: any, upstream: "${UPSTREAM}" }
      ]], env = { UPSTREAM = upstream:url() } }
    client = kit.client(gateway)
  end)

  before_each(function() upstream:clear() end)

  local SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
  local LINE, HOST = "POST / HTTP/1.1\r\n", "Host: a\r\n"

  local function get(fields) return "GET / HTTP/1.1\r\n" .. HOST .. fields .. "\r\n" end
  local function post(fields, body)
    return LINE .. HOST .. fields .. "\r\n" .. (body or "")
  end
  local function chunked(body) return post("Transfer-Encoding: chunked\r\n", body) end

  local function count(text, words)
    local n, at = 0, 1
    while true do
      local from, to = text:find(words, at, true)
      if not from then
        return n
      end
      n, at = n + 1, to + 1
    end
  end

  --- Sends it with a request behind it, in one piece or byte by byte.
  local function refused(bytes, status, slowly)
    local conn = client:connect()
    local all = bytes .. SMUGGLED
    if slowly then
      for i = 1, #all do
        if not conn:write(all:sub(i, i)) then
          break -- it has heard enough
        end
        gw.sleep(0)
      end
    else
      conn:write(all)
    end

    local came = conn:read_all()

    local answer = kit.parse_answer(came:match("^.-\r\n\r\n") or came)
    assert.equal(status, answer.status, bytes)
    assert.equal("close", answer.headers["connection"])
    assert.equal(1, count(came, "HTTP/1.1 "))
    assert.equal(0, upstream:requests())
  end

  local ROWS = {
    { "Content-Length and Transfer-Encoding",
      post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") },
    { "Transfer-Encoding and Content-Length",
      post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n") },
    { "Content-Length: 0 and Transfer-Encoding",
      post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") },
    { "two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello") },
    { "the same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello") },
    { "a list of lengths", post("Content-Length: 5, 5\r\n", "hello") },
    { "a length with a plus", post("Content-Length: +5\r\n", "hello") },
    { "a length with a minus", post("Content-Length: -5\r\n", "hello") },
    { "a length in hex", post("Content-Length: 0x5\r\n", "hello") },
    { "a length with a leading zero", post("Content-Length: 05\r\n", "hello") },
    { "a length with a space in it", post("Content-Length: 1 0\r\n", "hello") },
    { "a length with a dot", post("Content-Length: 5.0\r\n", "hello") },
    { "a length with an exponent", post("Content-Length: 1e1\r\n", "hello") },
    { "a length in quotes", post("Content-Length: \"5\"\r\n", "hello") },
    { "an empty length", post("Content-Length:\r\n", "hello") },
    { "a length of 2^63", post("Content-Length: 9223372036854775808\r\n", "hello") },
    { "a length of 2^64 + 5", post("Content-Length: 18446744073709551621\r\n", "hello") },
    { "a length of 30 digits", post("Content-Length: " .. ("1"):rep(30) .. "\r\n", "hello") },
    { "a length of other digits", post("Content-Length: \239\188\149\r\n", "hello") },

    { "chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n") },
    { "chunked in two lines",
      post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") },
    { "gzip before chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n") },
    { "chunked before gzip", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n") },
    { "identity", post("Transfer-Encoding: identity\r\n", "0\r\n\r\n") },
    { "identity after chunked",
      post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n") },
    { "an empty coding", post("Transfer-Encoding:\r\n", "0\r\n\r\n") },
    { "an unknown coding", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n") },
    { "chunked in quotes", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n") },
    { "chunked with a parameter", post("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n") },
    { "chunked with a comma", post("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n") },
    { "chunked behind a comma", post("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n") },
    { "chunked behind a vertical tab", post("Transfer-Encoding: \11chunked\r\n", "0\r\n\r\n") },
    { "chunked before a NUL", post("Transfer-Encoding: chunked\0\r\n", "0\r\n\r\n") },
    { "chunked in HTTP/1.0",
      "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { "chunked in HTTP/1.0 that keeps alive",
      "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. "0\r\n\r\n" },

    { "a space before the colon", get("X-A : 1\r\n") },
    { "a tab before the colon", get("X-A\t: 1\r\n") },
    { "a space before the colon of Transfer-Encoding",
      post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n") },
    { "a space before the colon of Content-Length", post("Content-Length : 5\r\n", "hello") },
    { "a space inside of a name", get("X A: 1\r\n") },
    { "a name of other letters", get("X-\195\164: 1\r\n") },
    { "a name with a slash", get("X/A: 1\r\n") },
    { "a name with a NUL", get("X\0A: 1\r\n") },
    { "no name", get(": 1\r\n") },
    { "no colon", get("X-A\r\n") },
    { "a folded line", get("X-A: 1\r\n 2\r\n") },
    { "a line folded by a tab", get("X-A: 1\r\n\t2\r\n") },
    { "a folded Transfer-Encoding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n") },
    { "a first line that is folded", "GET / HTTP/1.1\r\n X: 1\r\nHost: a\r\n\r\n" },
    { "a bare LF in the head", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n" },
    { "a bare LF behind the first line", "GET / HTTP/1.1\nHost: a\r\n\r\n" },
    { "a head of bare LFs", "GET / HTTP/1.1\nHost: a\n\n" },
    { "a bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n" },
    { "a bare CR in a value", get("X-A: 1\r2\r\n") },
    { "a bare CR in a name", get("X\rA: 1\r\n") },
    { "a bare CR in the target", "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "two CRs", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n" },
    { "a CR before the CRLF of a field", get("X-A: 1\r\r\n") },
    { "a NUL in a value", get("X-A: 1\0002\r\n") },
    { "a bell in a value", get("X-A: \7\r\n") },
    { "a DEL in a value", get("X-A: \127\r\n") },
    { "an escape in the method", "G\27T / HTTP/1.1\r\nHost: a\r\n\r\n" },

    { "two CRLFs before the request", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "an LF before the request", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "a space before the request", " GET / HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "two spaces in the first line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "a tab in the first line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "a space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n" },
    { "no version", "GET /\r\nHost: a\r\n\r\n" },
    { "a version in small letters", "GET / http/1.1\r\nHost: a\r\n\r\n" },
    { "a version of three digits", "GET / HTTP/1.11\r\nHost: a\r\n\r\n" },
    { "a version without a dot", "GET / HTTP/11\r\nHost: a\r\n\r\n" },
    { "a fragment in the target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "a target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "a target with other letters", "GET /\195\164 HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "an absolute target of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "an absolute target with a user", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "an absolute target without a host", "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "an absolute target of another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "an absolute target of another port", "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "an asterisk without OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n" },

    { "no Host", "GET / HTTP/1.1\r\n\r\n" },
    { "two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" },
    { "the same Host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n" },
    { "an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n" },
    { "a Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n" },
    { "a Host with a comma", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n" },
    { "a Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n" },
    { "a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" },
    { "a Host with a bad port", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n" },
    { "a Host with a port too high", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n" },
    { "a Host with a percent sign", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n" },
    { "a Host with half an IPv6 address", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n" },

    { "chunks without a size", chunked("\r\nhello\r\n0\r\n\r\n") },
    { "a chunk's size that is no number", chunked("x\r\nhello\r\n0\r\n\r\n") },
    { "a chunk's size with 0x", chunked("0x5\r\nhello\r\n0\r\n\r\n") },
    { "a chunk's size with a plus", chunked("+5\r\nhello\r\n0\r\n\r\n") },
    { "a chunk's size with a minus", chunked("-5\r\nhello\r\n0\r\n\r\n") },
    { "a chunk's size behind a space", chunked(" 5\r\nhello\r\n0\r\n\r\n") },
    { "a chunk's size before a space", chunked("5 \r\nhello\r\n0\r\n\r\n") },
    { "a chunk's size of 2^64 + 5", chunked("10000000000000005\r\nhello\r\n0\r\n\r\n") },
    { "a chunk's size of 2^63", chunked("8000000000000000\r\nhello\r\n0\r\n\r\n") },
    { "a chunk's size of 17 digits", chunked("00000000000000005\r\nhello\r\n0\r\n\r\n") },
    { "a chunk's size that ends with a bare LF", chunked("5\nhello\r\n0\r\n\r\n") },
    { "a chunk's size that ends with a bare CR", chunked("5\rhello\r\n0\r\n\r\n") },
    { "a chunk's extension with a bare LF", chunked("5;a\nb\r\nhello\r\n0\r\n\r\n") },
    { "a chunk's extension with a bare CR", chunked("5;a\rb\r\nhello\r\n0\r\n\r\n") },
    { "a chunk's extension with a NUL", chunked("5;a\0\r\nhello\r\n0\r\n\r\n") },
    { "an extension without end", chunked("5;" .. ("a"):rep(20000) .. "\r\nhello\r\n0\r\n\r\n") },
    { "junk behind a chunk", chunked("5\r\nhelloX\r\n0\r\n\r\n") },
    { "a bare LF behind a chunk", chunked("5\r\nhello\n0\r\n\r\n") },
    { "a bare CR behind a chunk", chunked("5\r\nhello\r0\r\n\r\n") },
    { "nothing between two chunks", chunked("5\r\nhello5\r\nhello\r\n0\r\n\r\n") },
    { "a bare LF behind the last chunk", chunked("5\r\nhello\r\n0\r\n\n") },
    { "a bare LF behind a trailer", chunked("0\r\nX: 1\n\r\n") },
    { "a folded trailer", chunked("0\r\nX: 1\r\n 2\r\n\r\n") },
    { "a trailer with a space before the colon", chunked("0\r\nX : 1\r\n\r\n") },
    { "a trailer without a colon", chunked("0\r\nGET / HTTP/1.1\r\n\r\n") },
    { "a trailer with a NUL", chunked("0\r\nX: \0\r\n\r\n") },
    { "Content-Length in the trailers", chunked("0\r\nContent-Length: 5\r\n\r\n") },
    { "Transfer-Encoding in the trailers", chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n") },
    { "Host in the trailers", chunked("0\r\nHost: b\r\n\r\n") },
    { "Connection in the trailers", chunked("0\r\nConnection: X-A\r\n\r\n") },
    { "X-Forwarded-For in the trailers", chunked("0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n") },
    { "trailers without end", chunked("0\r\n" .. ("X: 1\r\n"):rep(5000) .. "\r\n") },

    { "dots that climb over the root", "GET /../a HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "encoded dots that climb over the root", "GET /%2e%2E/a HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "dots that climb from below", "GET /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "dots with a parameter", "GET /a/..;/b HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "dots with an encoded slash", "GET /a/..%2f..%2fb HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "a backslash", "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "an encoded backslash", "GET /a%5Cb HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "an encoded NUL", "GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "a percent sign alone", "GET /a% HTTP/1.1\r\nHost: a\r\n\r\n" },
    { "a percent sign before no hex", "GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n" },

    { "CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501 },
    { "CONNECT with a path", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
    { "TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
    { "trace in small letters", "trace / HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
    { "a method of 1,000 letters", ("M"):rep(1000) .. " / HTTP/1.1\r\nHost: a\r\n\r\n", 501 },
    { "HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
    { "HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505 },
    { "HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505 },
    { "the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
    { "an unknown expectation", post("Expect: 200-ok\r\nContent-Length: 5\r\n", "hello"), 417 },
  }

  for _, row in ipairs(ROWS) do
    it("is refused: " .. row[1], function()
      refused(row[2], row[3] or 400)
    end)
  end

  it("is refused as well when it comes byte by byte, and is never completed", function()
    local heard = {}
    -- A body that turns bad late has begun to flow: its upstream may not see an end of it.
    upstream:on(function(conn)
      heard[#heard + 1] = conn:read_all()
    end)

    for _, row in ipairs(ROWS) do
      if #row[2] < 300 then
        refused(row[2], row[3] or 400, true)
      end
    end
    upstream:on(nil)

    kit.eventually(function() return select(2, upstream:connections()) == 0 end)
    for _, bytes in ipairs(heard) do
      assert.is_nil(bytes:find("smuggled", 1, true), bytes)
      assert.is_nil(bytes:find("0\r\n.*\r\n$", (bytes:find("\r\n\r\n", 1, true) or 0) + 4), bytes)
    end
  end)

  it("is refused behind a good one, which is answered", function()
    local conn = client:connect()

    conn:write("GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
      .. "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" .. SMUGGLED)
    local came = conn:read_all()

    assert.equal(2, count(came, "HTTP/1.1 "))
    assert.matches("^HTTP/1.1 200 ", came)
    assert.equal(1, count(came, "HTTP/1.1 400 "))
    assert.equal(1, upstream:requests())
    assert.equal("/good", upstream:request().path)
  end)

  it("does not hide behind an answer that came before its body", function()
    local own = kit.gateway { conf = [[
        routes:
          - { name: no, match: { path: /no }, respond: { status: 403, body: "no" } }
          - { name: all, match: { path: "/*" }, upstream: "${UPSTREAM}" }
      ]], env = { UPSTREAM = upstream:url() } }
    local function sends(body)
      local conn = kit.client(own):connect()
      conn:write("POST /no HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" .. body
        .. SMUGGLED)
      return conn:read_all()
    end

    for _, body in ipairs { "5\r\nhelloX\r\n0\r\n\r\n", "0\r\nContent-Length: 9\r\n\r\n", "zz\r\n",
      "0\r\nGET / HTTP/1.1\r\n\r\n", "5\nhello\r\n0\r\n\r\n" } do
      local came = sends(body)
      assert.equal(1, count(came, "HTTP/1.1 "), body)
      assert.matches("^HTTP/1.1 403 ", came)
      assert.equal(0, upstream:requests())
    end
  end)

  it("is logged and answered as problem+json", function()
    local answer = client:send("GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n")

    assert.equal("application/problem+json", answer.headers["content-type"])
    assert.equal(400, gw.json.decode(answer.body).status)
  end)

  it("leaves the gateway as it was", function()
    assert.equal(200, client:get("/").status)
    assert.equal(1, upstream:requests())
  end)
end)
