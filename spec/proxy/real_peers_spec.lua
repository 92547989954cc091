local kit = require("gateway.spec")

local MIB = 1024 * 1024

local gateway, upstream

local CONF = [[
routes:
  - name: hello
    match: { path: /hello }
    respond: { body: "hello\n" }
  - name: all
    match: { path: "/*" }
    upstream: ${UPSTREAM}
]]

local function has(program)
  return (kit.run("sh", { "-c", "command -v " .. program })) == 0
end

--- A test that needs a program; without it the counts say so.
local function it_with(program, name, f)
  if has(program) then
    it(name, f)
  else
    pending(name .. " (needs " .. program .. ")")
  end
end

local function curl(...)
  local code, out, err = kit.run("curl", { "-sS", "--max-time", "30", ... })
  assert.equal(0, code, err)
  return out
end

local function python(script, ...)
  local code, out, err = kit.run("python3", { "-c", script, ... }, { timeout = 60 })
  assert.equal(0, code, err)
  return out
end

local function echo()
  upstream:answer(function(request)
    return { headers = { ["X-Length"] = request.headers["content-length"] or "none",
      ["X-Coding"] = request.headers["transfer-encoding"] or "none" }, body = request.body }
  end)
end

--- An upstream of its own process: fast enough to be measured through.
local ORIGIN = [[
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = sys.argv[1]
    wbufsize = 65536 # head and body in one write: no wait for an acknowledgement
    def do_GET(self):
        body = b"python\n" * (1 if self.path == "/" else 100000)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
]]

local function origin(version)
  local process = kit.start("python3", { "-c", ORIGIN, version })
  return "http://127.0.0.1:" .. process.stdout:read_until("\n"):match("%d+")
end

describe("curl", function()
  before_each(function()
    upstream = kit.upstream()
    gateway = kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() } }
  end)

  it("speaks 1.1", function()
    assert.equal("upstream\n1.1", curl("-w", "%{http_version}", gateway:url("/")))
  end)

  it("speaks 1.0", function()
    upstream:answer { chunked = true, body = { "abc", "def" } }

    assert.equal("abcdef", curl("-0", gateway:url("/")))
    assert.equal("1.1", upstream:request().version)
  end)

  it("uploads with a length, and Expect: 100-continue", function()
    echo()
    local file = gateway:write("up.bin", ("0123456789abcdef"):rep(MIB / 8))

    local out = curl("-T", file, "-o", gateway.dir .. "/down.bin", "-w", "%{http_code}",
      gateway:url("/up"))

    assert.equal("200", out)
    assert.is_true(gateway:read("down.bin") == gateway:read("up.bin"))
    assert.equal("PUT", upstream:request().method)
    assert.is_nil(upstream:request().headers["expect"])
  end)

  it("uploads in chunks, and Expect: 100-continue", function()
    echo()
    local body = ("0123456789abcdef"):rep(MIB / 8)

    local code, out = kit.run("curl", { "-sS", "-T", "-", "-H", "Expect: 100-continue", "-o",
      gateway.dir .. "/down.bin", "-w", "%{http_code}", gateway:url("/up") }, { stdin = body })

    assert.equal(0, code)
    assert.equal("200", out)
    assert.is_true(gateway:read("down.bin") == body)
    assert.equal("chunked", upstream:request().headers["transfer-encoding"])
  end)

  it("keeps its connection for several addresses", function()
    local out = curl("-w", "%{num_connects} ", gateway:url("/a"), gateway:url("/b"),
      gateway:url("/c"), "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null")

    assert.equal("1 0 0 ", out)
    assert.equal(1, (upstream:connections()))
  end)

  it("sees HEAD, 204 and a redirect as they are", function()
    assert.matches("^HTTP/1.1 200 OK", curl("-I", gateway:url("/")))
    upstream:answer { status = 204 }
    assert.equal("204", curl("-w", "%{http_code}", gateway:url("/")))
    upstream:answer { status = 302, headers = { Location = "/there" } }
    assert.matches("/there$", curl("-w", "%{redirect_url}", gateway:url("/")))
  end)
end)

describe("python", function()
  it("http.client keeps its connection through all kinds of requests", function()
    upstream = kit.upstream()
    gateway = kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() } }
    echo()

    local out = python([[
import http.client, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
c.connect()
port = c.sock.getsockname()[1]
for n in (0, 1, 1000, 1 << 20):
    body = b"x" * n
    c.request("POST", "/", body)
    r = c.getresponse(); assert r.status == 200 and r.read() == body, n
    c.request("PUT", "/", iter([body, body]), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    r = c.getresponse(); assert r.status == 200 and r.read() == body * 2, n
for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
    c.request(method, "/a?b=c")
    r = c.getresponse(); assert r.status == 200, method
    r.read()
assert c.sock.getsockname()[1] == port
print("fine")
]], gateway:port())

    assert.equal("fine\n", out)
  end)

  for _, version in ipairs { "HTTP/1.0", "HTTP/1.1" } do
    it("http.server with " .. version .. " is an upstream", function()
      gateway = kit.gateway { conf = CONF, env = { UPSTREAM = origin(version) } }
      local client = kit.client(gateway)

      for _ = 1, 20 do
        assert.equal("python\n", client:get("/").body)
        assert.equal(700000, #client:get("/big").body)
        local answer = client:request { method = "POST", body = "body" }
        assert.equal(201, answer.status)
        assert.equal("body", answer.body)
      end
    end)
  end
end)

describe("node", function()
  it_with("node", "fetch and http work", function()
    upstream = kit.upstream()
    gateway = kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() } }
    echo()

    local code, out, err = kit.run("node", { "-e", [[
const http = require("http"), url = process.argv[1];
const big = "x".repeat(1 << 20);
function ask(agent, n) {
  return new Promise((resolve, reject) => {
    const request = http.request(url + n, { agent, method: "POST" }, (answer) => {
      let size = 0;
      answer.on("data", (piece) => { size += piece.length; });
      answer.on("end", () => resolve(size));
    });
    request.on("error", reject);
    request.write(big); // no length: chunks
    request.end();
  });
}
(async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
  for (let i = 0; i < 4; i++)
    if (await ask(agent, i) !== big.length) throw new Error("http " + i);
  agent.destroy();
  if (typeof fetch === "function") {
    const all = await Promise.all([...Array(20).keys()].map(async (i) => {
      const answer = await fetch(url + i, { method: "POST", body: big });
      return (await answer.text()) === big;
    }));
    if (!all.every((good) => good)) throw new Error("fetch");
  }
  console.log("fine");
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
]], gateway:url("/") }, { timeout = 60 })

    assert.equal(0, code, err)
    assert.equal("fine\n", out)
  end)
end)

--- What a tool says about n, "Failed requests: n".
local function number(text, name)
  return tonumber(text:match(name .. ":%s*(%d+)"))
end

describe("ab", function()
  for _, path in ipairs { "/hello", "/" } do
    it_with("ab", "-k sends 10,000 requests to " .. path .. ", all of them answered", function()
      local target = path == "/" and origin("HTTP/1.1") or "http://127.0.0.1:1"
      gateway = kit.gateway { conf = CONF, env = { UPSTREAM = target } }
      local count = path == "/" and 3000 or 10000

      local code, out, err = kit.run("ab", { "-k", "-n", count, "-c", 20, gateway:url(path) },
        { timeout = 60 })

      assert.equal(0, code, err)
      assert.equal(count, number(out, "Complete requests"))
      assert.equal(0, number(out, "Failed requests"))
      assert.is_nil(out:match("Non%-2xx responses"))
      assert.equal(count, number(out, "Keep%-Alive requests"))
    end)
  end
end)

describe("wrk", function()
  for _, path in ipairs { "/hello", "/" } do
    it_with("wrk", "runs for 2 s on " .. path .. " without an error", function()
      local target = path == "/" and origin("HTTP/1.1") or "http://127.0.0.1:1"
      gateway = kit.gateway { conf = CONF, env = { UPSTREAM = target } }

      local code, out, err = kit.run("wrk", { "-t1", "-c50", "-d2s", gateway:url(path) },
        { timeout = 30 })

      assert.equal(0, code, err)
      assert.is_nil(out:match("Socket errors[^\n]*"), out)
      assert.is_nil(out:match("Non%-2xx[^\n]*"), out)
      assert.is_true(tonumber(out:match("(%d+) requests in")) > 100)
    end)
  end
end)

describe("10,000 requests on kept connections", function()
  it("are 10,000 requests at the upstream", function()
    upstream = kit.upstream()
    local SIZE, LOOPS, CONNS = 50, 20, 10
    gateway = kit.gateway { conf = CONF, env = { UPSTREAM = upstream:url() } }
    local client, done = kit.client(gateway), 0
    local bytes = ("GET / HTTP/1.1\r\nHost: a\r\n\r\n"):rep(SIZE)

    for _ = 1, CONNS do
      kit.go(function()
        local conn = client:connect()
        for _ = 1, LOOPS do
          conn:write(bytes)
          for _ = 1, SIZE do
            local answer = conn:read_answer()
            assert(answer.status == 200 and answer.body == "upstream\n")
          end
        end
        conn:close()
        done = done + 1
      end)
    end

    kit.eventually(function() return done == CONNS end, 60)
    assert.equal(10000, upstream:requests())
    assert.is_true((upstream:connections()) <= CONNS)
  end)
end)
