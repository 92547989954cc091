--- 100 reloads that change the certificate, under load: keep-alive, a handshake for each request,
--- resumed sessions and HTTP/2. Nothing is dropped, nobody sees a certificate that is not there.
--- And testssl.sh on a listener as it comes: nothing above LOW.
local kit = require("gateway.spec")
local certs_of = dofile(debug.getinfo(1, "S").source:match("^@(.*)/soak/") .. "/tls/certs.lua")

local RELOADS = 100
local NAMES, OCSP = { "site.example", "localhost" }, "http://127.0.0.1:1/" -- nobody is asked

local CLIENT = [[
import ssl, socket, sys, time, threading
port, ca = int(sys.argv[1]), sys.argv[2]
c = ssl.create_default_context(cafile=ca)
def connect(session=None):
    return c.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="site.example", session=session)
def ask(s):
    s.sendall(b"GET /hello HTTP/1.1\r\nHost: site.example\r\n\r\n")
    data = b""
    while not data.endswith(b"hello\n"):
        more = s.recv(4096)
        if not more: raise Exception("closed after %r" % data)
        data += more
    if not data.startswith(b"HTTP/1.1 200"): raise Exception(data)
seen, count, failed, resumed = set(), [0], [], [0]
over = threading.Event()
def kept():
    s = connect()
    while not over.is_set():
        ask(s); count[0] += 1; time.sleep(0.001)
def fresh():
    session = None
    while not over.is_set():
        s = connect(session); ask(s); count[0] += 1
        seen.add(s.getpeercert()["serialNumber"])
        resumed[0] += s.session_reused
        session = s.session if count[0] % 3 else None
        s.close()
def run(f):
    try: f()
    except Exception as e: failed.append(repr(e)); over.set()
threads = [threading.Thread(target=run, args=(f,)) for f in (kept, kept, fresh, fresh)]
for t in threads: t.start()
print("ready", flush=True)
sys.stdin.readline()
over.set()
for t in threads: t.join()
print("%d requests, %d certificates, %d resumed, failed: %s" % (count[0], len(seen), resumed[0], failed), flush=True)
]]

describe("TLS for long", function()
  local certs

  setup(function()
    certs = certs_of.make {
      one = { names = NAMES, days = 180, ocsp = OCSP },
      two = { names = NAMES, days = 180, ocsp = OCSP },
      rsa = { names = NAMES, days = 180, ocsp = OCSP, kind = "rsa" },
    }
  end)
  teardown(function() certs_of.remove(certs) end)

  local function gateway(workers)
    return kit.gateway { workers = workers, files = certs_of.files(certs), conf = [[
listen:
  - name: secure
    address: "127.0.0.1:0"
    http2: true
    tls:
      certificates:
        - { certificate: tls/one.pem, key: tls/one.key }
        - { certificate: tls/rsa.pem, key: tls/rsa.key }
      hsts: 365d
routes: [ { name: hello, match: { path: "/*" }, respond: { body: "hello\n" } } ]
]] }
  end

  it("changes certificates 100 times under load, and drops nothing", function()
    local gw = gateway(2)
    local _, port = gw:address()
    local client = kit.start("python3", { "-c", CLIENT, port, certs.dir .. "/ca.pem" })
    local load = kit.start("h2load", { "-D", "600", "-c", "4", "-m", "8", ("https://127.0.0.1:%d/hello"):format(port) })
    assert.equal("ready\n", client.stdout:read_until("\n"))

    for i = 1, RELOADS do
      local name = i % 2 == 1 and "two" or "one"
      gw:write("tls/one.pem", certs.pem[name])
      gw:write("tls/one.key", certs.key[name])
      assert.is_true(gw:reload().ok)
    end
    assert.is_false(load:ended())
    client.stdin:write("stop\n")
    local said = client.stdout:read_until("\n")
    load:signal_now("TERM")

    local requests, seen, resumed = said:match("^(%d+) requests, (%d+) certificates, (%d+) resumed, failed: %[%]")
    assert.truthy(requests, said)
    assert.is_true(tonumber(requests) > 100, said)
    assert.equal("2", seen)
    assert.is_true(tonumber(resumed) > 0, said)
  end)

  it("gives testssl.sh nothing to tell above LOW", function()
    if kit.run("sh", { "-c", "command -v testssl" }) ~= 0 then
      return pending("needs testssl.sh")
    end
    local server = gateway(1)
    local _, port = server:address()
    local out = certs.dir .. "/testssl.json"
    kit.run("testssl", { "--quiet", "--color", "0", "--add-ca", certs.dir .. "/ca.pem", "--jsonfile", out,
      "--ip", "127.0.0.1", "localhost:" .. port }, { timeout = 600 })
    local file = assert(io.open(out))
    local rows = assert(gw.json.decode(file:read("*a")))
    file:close()

    -- What docs/tls.md lists, with the reason.
    local EXCEPTIONS = { security_headers = true }
    local found, counted = {}, 0
    for _, row in ipairs(rows) do
      counted = counted + 1
      if ({ MEDIUM = true, HIGH = true, CRITICAL = true, FATAL = true })[row.severity] and not EXCEPTIONS[row.id] then
        found[#found + 1] = ("%s %s: %s"):format(row.severity, row.id, row.finding)
      end
    end
    assert.is_true(counted > 100)
    assert.same({}, found)
  end)
end)
