--- TLS to clients, seen by openssl, curl and bytes.
local kit = require("gateway.spec")
local certs_of = dofile(debug.getinfo(1, "S").source:match("^@(.*)/") .. "/certs.lua")

local ROUTES = [[
routes:
  - { name: secure, match: { path: /secure, scheme: https }, respond: { body: "secure\n" } }
  - { name: where, match: { path: "/to/*" }, upstream: "${UPSTREAM}" }
  - { name: long, match: { path: /long }, files: { root: www } }
]]

local LONG = ("0123456789abcdef"):rep(200000)

local CERTIFICATES = [[
      certificates:
        - { certificate: tls/site.pem, key: tls/site.key }
        - { certificate: tls/rsa.pem, key: tls/rsa.key }
        - { certificate: tls/wild.pem, key: tls/wild.key }
        - { certificate: tls/odd.pem, key: tls/odd.key, names: [ named.example ] }
]]

local function gw_json(text) return assert(gw.json.decode(text)) end

describe("a listener with TLS", function()
  local certs, upstream

  setup(function()
    certs = certs_of.make {
      site = { names = { "site.example", "127.0.0.1" } },
      rsa = { names = { "site.example" }, kind = "rsa" },
      wild = { names = { "*.wild.example", "wild.example" } },
      odd = { names = { "elsewhere.example" } },
      alice = { names = { "alice.example" } },
      eve = { names = { "eve.example" }, ca = "other" },
    }
    upstream = kit.upstream()
  end)
  teardown(function() certs_of.remove(certs) end)
  before_each(function()
    upstream:clear()
    upstream:answer { body = "upstream\n" }
  end)

  local function conf(tls, more, top)
    return (top or "") .. "listen:\n  - name: secure\n    address: \"127.0.0.1:0\"\n" .. (more or "") .. "    tls:\n" ..
      (tls or CERTIFICATES) .. ROUTES
  end

  local function gateway(tls, options)
    options = options or {}
    return kit.gateway { conf = conf(tls, options.listener, options.top), workers = options.workers,
      files = certs_of.files(certs, options.files, { ["www/long"] = LONG }), env = { UPSTREAM = upstream:url() } }
  end

  local function curl(gw, path, ...)
    return certs_of.curl(certs, gw, path, { ... })
  end

  local function hello(gw, ...)
    return (certs_of.s_client(gw, { ... }))
  end

  describe("by default", function()
    local gw
    setup(function() gw = gateway() end)

    it("serves over TLS and says so to routes and upstreams", function()
      assert.equal("secure\n", curl(gw, "/secure").body)
      assert.equal("upstream\n", curl(gw, "/to/it").body)

      local request = upstream:request()
      assert.equal("https", request.headers["x-forwarded-proto"])
    end)

    it("speaks TLS 1.2 and 1.3 and nothing older", function()
      assert.equal("secure\n", curl(gw, "/secure", "--tls-max", "1.2").body)
      assert.equal("secure\n", curl(gw, "/secure", "--tlsv1.3").body)
      assert.truthy(hello(gw, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"):find("alert protocol version"))
    end)

    it("chooses the certificate by the name", function()
      assert.truthy(hello(gw, "-servername", "site.example"):find("subject=CN = site", 1, true))
      assert.truthy(hello(gw, "-servername", "a.wild.example"):find("subject=CN = wild", 1, true))
      assert.truthy(hello(gw, "-servername", "A.WILD.example"):find("subject=CN = wild", 1, true))
      assert.truthy(hello(gw, "-servername", "a.b.wild.example"):find("subject=CN = site", 1, true))
      assert.truthy(hello(gw, "-servername", "named.example"):find("subject=CN = odd", 1, true))
      assert.truthy(hello(gw, "-servername", "elsewhere.example"):find("subject=CN = site", 1, true))
      assert.truthy(hello(gw, "-noservername"):find("subject=CN = site", 1, true))
    end)

    it("has RSA for who knows no ECDSA", function()
      local said = hello(gw, "-servername", "site.example", "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
      assert.truthy(said:find("subject=CN = rsa", 1, true))
      said = hello(gw, "-noservername", "-sigalgs", "rsa_pss_rsae_sha256")
      assert.truthy(said:find("subject=CN = rsa", 1, true))
    end)

    it("prefers its own order of ciphers", function()
      local said = hello(gw, "-tls1_2", "-cipher",
        "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")
      assert.truthy(said:find("ECDHE-ECDSA-AES128-GCM-SHA256", 1, true))
    end)

    it("refuses renegotiation", function()
      local _, port = gw:address()
      local _, _, err = kit.run("sh", { "-c", ("(echo R; sleep 0.5) | openssl s_client -tls1_2 -connect 127.0.0.1:%d")
        :format(port) })
      assert.truthy(err:find("no renegotiation", 1, true))
    end)

    it("takes http/1.1 by ALPN and refuses who wants something else", function()
      assert.truthy(hello(gw, "-alpn", "http/1.1"):find("ALPN protocol: http/1.1", 1, true))
      assert.truthy(hello(gw, "-alpn", "smtp"):find("no application protocol", 1, true))
    end)

    it("tells who speaks without TLS", function()
      local answer = gw:client():send("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.equal(400, answer.status)
      assert.truthy(answer.body:find("HTTPS", 1, true))
    end)

    it("closes on nonsense and says why", function()
      local client = gw:client():connect()
      client:write("\22\3\1\0\5hello")
      client:read_all()
      assert.is_true(gw:wait_log("TLS handshake: "))
    end)

    it("lets nobody linger in a handshake", function()
      local client = gw:client():connect()
      client:write("\22\3\1\2\0")
      gw:advance(11000)
      client:read_all()
    end)

    it("sends long files whole", function()
      local answer = curl(gw, "/long")
      assert.equal(#LONG, #answer.body)
      assert.is_true(LONG == answer.body)
    end)

    it("takes long bodies", function()
      local path = certs.dir .. "/body"
      local file = io.open(path, "wb")
      file:write(("x"):rep(700000))
      file:close()
      assert.equal(200, curl(gw, "/to/upload", "--data-binary", "@" .. path).status)
      assert.equal(700000, #upstream:request().body)
    end)
  end)

  it("resumes sessions, also with another worker, until the keys have changed twice", function()
    local gw = gateway(nil, { workers = 2 })
    local session = certs.dir .. "/session"
    local function reused()
      return hello(gw, "-tls1_2", "-servername", "site.example", "-sess_in", session):find("Reused, TLSv1.2", 1, true)
    end

    hello(gw, "-tls1_2", "-servername", "site.example", "-sess_out", session)
    for _ = 1, 6 do
      assert.truthy(reused())
    end
    gw:advance(7.9 * 3600 * 1000)
    gw:advance(0.2 * 3600 * 1000)
    assert.truthy(reused())
    gw:advance(8 * 3600 * 1000)
    gw:advance(8 * 3600 * 1000)
    assert.falsy(reused())
  end)

  it("resumes nothing where tickets are off", function()
    local gw = gateway(CERTIFICATES .. "      tickets: false\n")
    local session = certs.dir .. "/session-off"

    hello(gw, "-tls1_2", "-sess_out", session)
    assert.falsy(hello(gw, "-tls1_2", "-sess_in", session):find("Reused", 1, true))
    assert.falsy(hello(gw, "-tls1_3"):find("New Session Ticket arrived", 1, true))
  end)

  it("tells clients how long a ticket is good", function()
    local gw = gateway(CERTIFICATES .. "      session_timeout: 90s\n")
    assert.truthy(hello(gw, "-tls1_2"):find("TLS session ticket lifetime hint: 90 ", 1, true))
  end)

  it("takes the settings of its conf", function()
    local gw = gateway(CERTIFICATES .. [[
      version: TLSv1.2
      ciphers: ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305
      groups: P-384
      prefer: client
]])
    assert.truthy(hello(gw, "-tls1_3"):find("alert protocol version", 1, true))
    assert.truthy(hello(gw, "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"):find("handshake failure", 1, true))
    local said = hello(gw, "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384")
    assert.truthy(said:find("CHACHA20", 1, true))
    assert.truthy(said:find("Server Temp Key: ECDH, secp384r1", 1, true) or said:find("P-384", 1, true))

    gw = gateway(CERTIFICATES .. "      version: TLSv1.3\n      ciphersuites: TLS_CHACHA20_POLY1305_SHA256\n")
    assert.truthy(hello(gw, "-tls1_2"):find("alert protocol version", 1, true))
    assert.truthy(hello(gw):find("TLS_CHACHA20_POLY1305_SHA256", 1, true))
  end)

  it("adds Strict-Transport-Security by one line", function()
    local gw = gateway(CERTIFICATES .. "      hsts: 365d\n      hsts_subdomains: true\n")
    local answer = curl(gw, "/secure", "-i")
    assert.truthy(answer.body:find("Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n", 1, true))
    assert.truthy(curl(gw, "/nowhere", "-i").body:find("Strict-Transport-Security: ", 1, true))
  end)

  it("redirects to HTTPS by one line", function()
    local gw = kit.gateway { conf = [[
      listen: [ { name: plain, address: "127.0.0.1:0", redirect_https: 443 },
                { name: odd, address: "127.0.0.1:0", redirect_https: 8443 } ]
      routes: [ { name: all, match: { path: "/*" }, respond: { body: never } } ]
    ]] }
    local answer = gw:client({ listener = "plain" }):send("GET /a%20b?c=d HTTP/1.1\r\nHost: site.example:80\r\n\r\n")
    assert.equal(308, answer.status)
    assert.equal("https://site.example/a%20b?c=d", answer.headers.location)
    answer = gw:client({ listener = "odd" }):send("POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 2\r\n\r\nab")
    assert.equal("https://[::1]:8443/", answer.headers.location)
  end)

  it("changes certificates by a reload, and keeps live connections", function()
    local gw = gateway("      certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]\n")
    local _, port = gw:address()
    local before = hello(gw)
    assert.truthy(before:find("subject=CN = site", 1, true))
    local script = [[
import ssl, socket, sys
c = ssl.create_default_context(cafile=sys.argv[1])
s = c.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[2]))), server_hostname="site.example")
for line in sys.stdin:
    s.sendall(b"GET /secure HTTP/1.1\r\nHost: site.example\r\n\r\n")
    data = b""
    while b"secure\n" not in data:
        more = s.recv(4096)
        if not more: print("closed", flush=True); sys.exit(1)
        data += more
    print("ok", flush=True)
]]
    local client = kit.start("python3", { "-c", script, certs.dir .. "/ca.pem", port })
    client.stdin:write("one\n")
    assert.equal("ok\n", client.stdout:read_until("\n"))

    gw:write("tls/site.pem", certs.pem.wild)
    gw:write("tls/site.key", certs.key.wild)
    assert.is_true(gw:reload().ok)

    assert.truthy(hello(gw):find("subject=CN = wild", 1, true))
    client.stdin:write("two\n")
    assert.equal("ok\n", client.stdout:read_until("\n"))
  end)

  it("changes a certificate by a reload that names its file", function()
    local gw = gateway("      certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]\n")
    gw:write("tls/site.key", certs.key.wild)
    gw:write("tls/site.pem", certs.pem.wild)
    local code, out = gw:run("reload", gw.dir .. "/tls/site.pem")
    assert.equal(0, code, out)
    assert.truthy(hello(gw):find("subject=CN = wild", 1, true))
  end)

  it("keeps the old certificate where a reload finds a fault", function()
    local gw = gateway("      certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]\n")
    gw:write("tls/site.key", certs.key.wild)
    local report = gw:reload()
    assert.is_false(report.ok)
    assert.truthy(report.text:find("does not belong to the certificate", 1, true))
    assert.truthy(hello(gw):find("subject=CN = site", 1, true))
  end)

  local _, uid = kit.run("id", { "-u" })
  it("takes a key that only root may read, for workers that are not root", function()
    if uid ~= "0\n" then
      return pending("needs root")
    end
    -- Who has given up its rights cannot be searched for leaks.
    local gw = kit.gateway { conf = "user: nobody\n" .. conf(), workers = 1,
      env = { UPSTREAM = upstream:url(), ASAN_OPTIONS = "detect_stack_use_after_return=0:detect_leaks=0" },
      files = certs_of.files(certs, { ["www/long"] = "x" }) }
    kit.run("sh", { "-c", ("chmod 600 %s/tls/*.key"):format(gw.dir) })
    assert.is_true(gw:reload().ok)
    assert.truthy(hello(gw):find("subject=CN = site", 1, true))
  end)

  it("serves node, which keeps connections and resumes sessions", function()
    if kit.run("sh", { "-c", "command -v node" }) ~= 0 then
      return pending("needs node")
    end
    local gw = gateway()
    local _, port = gw:address()
    local code, out, err = kit.run("node", { "-e", [[
      const https = require("https"), fs = require("fs"), ca = fs.readFileSync(process.argv[1])
      let agent = new https.Agent({ keepAlive: true, ca }), count = 0, resumed = 0
      function go() {
        https.get({ host: "127.0.0.1", port: process.argv[2], path: "/secure", servername: "site.example",
          headers: { connection: count % 5 ? "keep-alive" : "close" }, agent }, answer => {
          const socket = answer.socket
          if (socket.isSessionReused()) resumed++
          answer.resume()
          answer.on("end", () => {
            if (++count < 20) return go()
            console.log(count, socket.getProtocol(), resumed > 0)
            agent.destroy()
          })
        })
      }
      go()
    ]], certs.dir .. "/ca.pem", port }, { timeout = 20 })
    assert.equal(0, code, err)
    assert.equal("20 TLSv1.3 true\n", out)
  end)

  it("speaks TLS behind a PROXY header", function()
    local gw = gateway(nil, { listener = "    proxy_protocol: true\n" })
    local _, port = gw:address()
    local script = [[
import ssl, socket, sys
c = ssl.create_default_context(cafile=sys.argv[1])
raw = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
i, o = ssl.MemoryBIO(), ssl.MemoryBIO()
s = c.wrap_bio(i, o, server_hostname="site.example")
first = b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 443\r\n"
def pump(f):
    global first
    while True:
        try:
            r = f()
            raw.sendall(first + o.read()); first = b""
            return r
        except ssl.SSLWantReadError:
            raw.sendall(first + o.read()); first = b""
            i.write(raw.recv(16384))
pump(s.do_handshake)
pump(lambda: s.write(b"GET /to/x HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n"))
print(pump(lambda: s.read(4096)).decode())
]]
    local code, out, err = kit.run("python3", { "-c", script, certs.dir .. "/ca.pem", port }, { timeout = 15 })
    assert.equal(0, code, err)
    assert.truthy(out:find("200 OK", 1, true))
    assert.equal("192.0.2.7", upstream:request().headers["x-forwarded-for"])
  end)

  describe("that asks for client certificates", function()
    local TWO = [[
      certificates:
        - { certificate: tls/site.pem, key: tls/site.key }
        - certificate: tls/wild.pem
          key: tls/wild.key
          client: { ca: tls/ca.pem, headers: { x-who: subject, x-print: fingerprint } }
      client: { verify: optional, ca: tls/ca.pem, headers: { x-client: names, x-verified: verified } }
]]
    local gw

    setup(function() gw = gateway(TWO) end)

    local function with(name)
      local path = certs.dir .. "/" .. name
      return "--cert", path .. ".pem", "--key", path .. ".key"
    end

    it("tells upstreams who it is, and believes no client", function()
      local who, key, name, file = with("alice")
      assert.equal(200, curl(gw, "/to/x", "-H", "X-Client: mallory", "-H", "X-Who: mallory",
        who, key, name, file).status)
      local headers = upstream:request().headers
      assert.equal("DNS:alice.example", headers["x-client"])
      assert.equal("true", headers["x-verified"])
      assert.is_nil(headers["x-who"])

      assert.equal(200, curl(gw, "/to/x", "-H", "X-Client: mallory").status)
      headers = upstream:request().headers
      assert.is_nil(headers["x-client"])
      assert.equal("false", headers["x-verified"])
    end)

    it("tells plugins", function()
      local told = kit.gateway { files = certs_of.files(certs), plugins = { tell = [[
        return { name = "tell", priority = 1, schema = { type = "object" },
          access = function(conf, ctx) return ctx:exit(200, ctx.request.tls or { plain = true }) end }
      ]] }, conf = [[
listen:
  - { name: plain, address: "127.0.0.1:0" }
  - name: secure
    address: "127.0.0.1:0"
    tls:
      certificates: { certificate: tls/site.pem, key: tls/site.key }
      client: { verify: optional, ca: tls/ca.pem }
routes: [ { name: all, match: { path: "/*" }, plugins: [ tell ], respond: { status: 200 } } ]
]] }
      local a, b, c, d = with("alice")
      local tls = gw_json(certs_of.curl(certs, told, "/", { a, b, c, d }, "secure").body)
      assert.equal("TLSv1.3", tls.version)
      assert.equal("site.example", tls.name)
      assert.is_true(tls.verified)
      assert.is_false(tls.resumed)
      assert.equal("CN=alice", tls.client.subject)
      assert.equal("CN=ca", tls.client.issuer)
      assert.equal("DNS:alice.example", tls.client.names)
      assert.equal(64, #tls.client.fingerprint)
      assert.equal(30 * 86400, tls.client.not_after - tls.client.not_before)
      tls = gw_json(certs_of.curl(certs, told, "/", {}, "secure").body)
      assert.is_false(tls.verified)
      assert.is_nil(tls.client)
      assert.is_true(gw_json(told:client({ listener = "plain" }):get("/").body).plain)
    end)

    it("refuses certificates of strangers, and none where one is required", function()
      assert.not_equal(0, curl(gw, "/to/x", with("eve")).code)
      assert.not_equal(0, curl(gw, "/to/x", "host=a.wild.example").code)
      assert.is_true(gw:wait_log("peer did not return a certificate"))
      local a, b, c, d = with("alice")
      assert.equal(200, curl(gw, "/to/x", "host=a.wild.example", a, b, c, d).status)
      assert.equal("CN=alice", upstream:request().headers["x-who"])
      assert.equal(64, #upstream:request().headers["x-print"])
    end)

    it("answers 421 to a name with another policy than the one of the handshake", function()
      assert.equal(421, curl(gw, "/to/x", "-H", "Host: A.wild.example").status)
      assert.equal(421, curl(gw, "/to/x", "host=a.wild.example", "-H", "Host: site.example", with("alice")).status)
      assert.equal(200, curl(gw, "/to/x", "-H", "Host: unknown.example").status)
    end)

    it("refuses who is revoked", function()
      local crl = certs_of.revoke(certs, "ca", { "alice" })
      local strict = gateway([[
      certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]
      client: { ca: tls/ca.pem, crl: tls/crl.pem }
]], { files = { ["tls/crl.pem"] = crl } })
      assert.not_equal(0, curl(strict, "/to/x", with("alice")).code)
      assert.is_true(strict:wait_log("certificate revoked"))
    end)

    it("knows how deep a chain may be", function()
      local shallow = gateway([[
      certificates: [ { certificate: tls/site.pem, key: tls/site.key } ]
      client: { ca: tls/ca.pem, depth: 0 }
]])
      assert.equal(200, curl(shallow, "/to/x", with("alice")).status)
    end)
  end)

  describe("whose conf has a fault", function()
    local function faults(tls, files)
      local gw = kit.gateway { conf = conf(tls), fails = true,
        files = certs_of.files(certs, files, { ["www/long"] = LONG }), env = { UPSTREAM = upstream:url() } }
      return gw:log()
    end

    local ROWS = {
      { "a file that is not there", "certificate: tls/none.pem, key: tls/site.key",
        "gateway.yaml:5:38: listen[0].tls.certificates[0].certificate: ", "tls/none.pem: No such file or directory" },
      { "a key of another", "certificate: tls/site.pem, key: tls/rsa.key",
        "tls.certificates[0].key: ", "does not belong to the certificate" },
      { "a key in place of a certificate", "certificate: tls/site.key, key: tls/site.key",
        "certificate: ", "has no certificate" },
      { "a certificate in place of a key", "certificate: tls/site.pem, key: tls/site.pem",
        "key: ", "has no private key" },
      { "broken PEM", "certificate: tls/broken.pem, key: tls/site.key", "certificate: ", "cannot be read" },
    }
    for _, row in ipairs(ROWS) do
      it("is told of " .. row[1], function()
        local log = faults("      certificates: [ { " .. row[2] .. " } ]\n",
          { ["tls/broken.pem"] = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" })
        assert.truthy(log:find(row[3], 1, true), log)
        assert.truthy(log:find(row[4], 1, true), log)
      end)
    end

    it("is told of ciphers that nobody knows", function()
      local log = faults(CERTIFICATES .. "      ciphers: NONE-SUCH\n")
      assert.truthy(log:find('ciphers: OpenSSL knows nothing of "NONE-SUCH"', 1, true), log)
    end)

    it("is told of a policy without authorities", function()
      assert.truthy(faults(CERTIFICATES .. "      client: { verify: required }\n"):find("ca: is needed", 1, true))
    end)
  end)

  it("warns of a certificate that expires soon", function()
    local soon = certs_of.make { soon = { names = { "soon.example" }, days = 2 } }
    local gw = kit.gateway { conf = conf("      certificates: [ { certificate: tls/soon.pem, key: tls/soon.key } ]\n"),
      files = certs_of.files(soon, { ["www/long"] = "" }), env = { UPSTREAM = upstream:url() } }
    certs_of.remove(soon)
    assert.is_true(gw:wait_log("expires in "))
  end)

  it("counts connections before the handshake", function()
    local gw = gateway(nil, { top = "limits: { connections_max: 1 }\n" })
    local first = gw:client():connect()
    first:write("\22\3\1")

    kit.eventually(function()
      local second = gw:client():connect()
      second:write("\22\3\1")
      return second:closed(0.5)
    end)
  end)
end)
