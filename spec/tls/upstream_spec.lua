--- TLS to upstreams: who is believed, who we are, and what is told when it fails.
local kit = require("gateway.spec")
local certs_of = dofile(debug.getinfo(1, "S").source:match("^@(.*)/") .. "/certs.lua")

--- Answers with what it has seen: name, version, resumed, certificate of the client.
local SERVER = [[
import ssl, socket, sys, threading
cert, key, ca, mode = sys.argv[1:5]
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain(cert, key)
if mode == "mutual":
    c.verify_mode = ssl.CERT_REQUIRED
    c.load_verify_locations(ca)
if mode == "1.2":
    c.maximum_version = ssl.TLSVersion.TLSv1_2
c.set_alpn_protocols(["http/1.1"])
c.sni_callback = lambda sock, name, ctx: seen.append(name)
seen = []
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def serve(raw):
    try:
        s = c.wrap_socket(raw, server_side=True)
    except Exception as e:
        print("failed", e, file=sys.stderr, flush=True)
        return
    count = 0
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = s.recv(65536)
            if not more: return
            data += more
        head, data = data.split(b"\r\n\r\n", 1)
        count += 1
        peer = s.getpeercert()
        body = ("%s %s %s %s %s %d" % (seen[-1], s.version(), s.session_reused, s.selected_alpn_protocol(),
            dict(x[0] for x in peer["subject"])["commonName"] if peer else None, count)).encode()
        if mode == "cut":
            s.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)
            raw.close()
            socket.socket.close(s)
            return
        if b"/long" in head.split(b"\r\n")[0]:
            body = b"0123456789abcdef" * 100000
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        if b"/close" in head.split(b"\r\n")[0]:
            s.close()
            return
while True:
    raw, _ = listener.accept()
    threading.Thread(target=serve, args=(raw,), daemon=True).start()
]]

describe("an upstream with TLS", function()
  local certs

  setup(function()
    certs = certs_of.make {
      site = { names = { "localhost", "127.0.0.1" } },
      named = { names = { "api.example" } },
      foreign = { names = { "localhost", "127.0.0.1" }, ca = "other" },
      us = { names = { "us.example" } },
    }
  end)
  teardown(function() certs_of.remove(certs) end)

  local function server(name, mode)
    local process = kit.start("python3", { "-c", SERVER, ("%s/%s.pem"):format(certs.dir, name),
      ("%s/%s.key"):format(certs.dir, name), certs.dir .. "/ca.pem", mode or "" })
    return tonumber(process.stdout:read_until("\n")), process
  end

  local function gateway(port, tls, more)
    return kit.gateway { workers = 1, files = certs_of.files(certs), conf = ([[
upstreams:
  up: { targets: [ "%s:%d" ], tls: { %s } }
  plain: { targets: [ "127.0.0.1:%d" ] }
routes:
  - { name: up, match: { path: "/*" }, upstream: up }
%s]]):format("127.0.0.1", port, tls, port, more or "") }
  end

  local function get(gw, path) return gw:client():get(path or "/") end

  it("is spoken to over TLS 1.3, and its connections are used again", function()
    local gw = gateway(server("site"), "ca: tls/ca.pem")
    local client = gw:client()

    assert.equal("None TLSv1.3 False http/1.1 None 1", client:get("/").body)
    assert.equal("None TLSv1.3 False http/1.1 None 2", client:get("/").body)
  end)

  it("carries long answers", function()
    local answer = get(gateway(server("site"), "ca: tls/ca.pem"), "/long")
    assert.equal(1600000, #answer.body)
    assert.is_true(answer.body == ("0123456789abcdef"):rep(100000))
  end)

  for _, mode in ipairs { "", "1.2" } do
    it("resumes its session with a new connection " .. mode, function()
      local gw = gateway(server("site", mode), "ca: tls/ca.pem")
      assert.truthy(get(gw, "/close").body:find(" False ", 1, true))
      assert.truthy(get(gw, "/close").body:find(" True ", 1, true))
      assert.truthy(get(gw, "/close").body:find(" True ", 1, true))
    end)
  end

  it("is not believed when nobody vouches for it: 502, and the log says why", function()
    local gw = gateway(server("foreign"), "ca: tls/ca.pem")
    assert.equal(502, get(gw).status)
    assert.is_true(gw:wait_log("unable to get local issuer certificate"))

    gw = gateway(server("site"), "") -- the system's authorities
    assert.equal(502, get(gw).status)
    assert.is_true(gw:wait_log("the certificate is not good"))
  end)

  it("must have the name that was asked for", function()
    local port = server("named")
    local gw = gateway(port, "ca: tls/ca.pem")
    assert.equal(502, get(gw).status)
    assert.is_true(gw:wait_log("IP address mismatch"))

    gw = gateway(port, "ca: tls/ca.pem, name: api.example")
    assert.equal("api.example TLSv1.3 False http/1.1 None 1", get(gw).body)
  end)

  it("is believed without a look when the conf says so", function()
    assert.equal(200, get(gateway(server("foreign"), "verify: false")).status)
  end)

  it("is shown our certificate", function()
    local port = server("site", "mutual")
    assert.equal("None TLSv1.3 False http/1.1 us 1",
      get(gateway(port, "ca: tls/ca.pem, certificate: tls/us.pem, key: tls/us.key")).body)
    assert.equal(502, get(gateway(port, "ca: tls/ca.pem")).status)
  end)

  it("can be a URL, with the system's authorities", function()
    local port = server("site")
    local gw = kit.gateway { env = { SSL_CERT_FILE = certs.dir .. "/ca.pem" }, conf = ([[
      routes: [ { name: all, match: { path: "/*" }, upstream: "https://localhost:%d" } ]
    ]]):format(port) }
    assert.equal("localhost TLSv1.3 False http/1.1 None 1", get(gw).body)
  end)

  it("speaks HTTP/2 where both want it, and says so where the server does not", function()
    local second = kit.gateway { workers = 1, files = certs_of.files(certs), conf = [[
listen:
  - name: two
    address: "127.0.0.1:0"
    http2: true
    tls: { certificates: { certificate: tls/site.pem, key: tls/site.key } }
routes: [ { name: all, match: { path: "/*" }, respond: { body: "second\n" } } ]
]] }
    local port = select(2, second:address("two"))
    local conf = [[
upstreams: { up: { targets: [ "127.0.0.1:%d" ], http2: true, tls: { ca: tls/ca.pem } } }
routes: [ { name: up, match: { path: "/*" }, upstream: up } ]
]]
    local gw = kit.gateway { files = certs_of.files(certs), conf = conf:format(port) }
    assert.equal("second\n", get(gw).body)

    gw = kit.gateway { files = certs_of.files(certs), conf = conf:format((server("site"))) }
    assert.equal(502, get(gw).status)
    assert.is_true(gw:wait_log("HTTP/2"))
  end)

  it("shares no connection with other settings", function()
    local port = server("site")
    local gw = gateway(port, "ca: tls/ca.pem")
    assert.equal(200, get(gw).status)
    local report = gw:reload(([[
upstreams: { up: { targets: [ "127.0.0.1:%d" ], tls: { ca: tls/other.pem } } }
routes: [ { name: up, match: { path: "/*" }, upstream: up } ]
]]):format(port))
    assert.is_true(report.ok)
    assert.equal(502, get(gw).status)
  end)

  it("is trusted anew when a reload finds another file of authorities", function()
    local gw = gateway(server("site"), "ca: tls/ca.pem")
    assert.equal(200, get(gw).status)
    gw:write("tls/ca.pem", certs.pem.other)
    assert.is_true(gw:reload().ok)
    assert.equal(502, get(gw).status)
  end)

  it("cuts an answer without length that ends without goodbye", function()
    local gw = gateway(server("site", "cut"), "ca: tls/ca.pem")
    local conn = gw:client():connect()
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    local all = conn:read_all()
    assert.falsy(all:find("\r\n0\r\n\r\n", 1, true))
  end)

  it("answers gw.http, which believes only whom the system trusts", function()
    local port = server("site")
    local plugin = ([[
      return { name = "ask", priority = 1, schema = { type = "object" }, access = function(conf, ctx)
        local answer, err, code = gw.http.get("https://localhost:%d/")
        return ctx:exit(200, answer and answer.body or (code .. ": " .. err))
      end }
    ]]):format(port)
    local conf = 'routes: [ { name: all, match: { path: "/*" }, plugins: [ ask ], respond: { status: 200 } } ]\n'
    local good = kit.gateway { workers = 1, plugins = { ask = plugin }, conf = conf,
      env = { SSL_CERT_FILE = certs.dir .. "/ca.pem" } }
    assert.equal("localhost TLSv1.3 False http/1.1 None 1", get(good).body)
    assert.equal("localhost TLSv1.3 False http/1.1 None 2", get(good).body)

    local bad = kit.gateway { plugins = { ask = plugin }, conf = conf }
    local said = get(bad).body
    assert.truthy(said:find("^tls: .*the certificate is not good"), said)
  end)

  it("has connect_timeout for the handshake, too", function()
    local silent = kit.upstream()
    silent:on(function(conn) conn:read(5) conn:closed(20) end)
    local gw = kit.gateway { conf = ([[
      upstreams: { up: { targets: [ "127.0.0.1:%d" ], connect_timeout: 300ms, tls: {} } }
      routes: [ { name: up, match: { path: "/*" }, upstream: up } ]
    ]]):format(silent:port()) }
    assert.equal(504, get(gw).status)
    assert.is_true(gw:wait_log("connecting took too long"))
  end)

  it("is no server that speaks without TLS", function()
    local plain = kit.upstream()
    plain:on(function(conn)
      conn:write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
      conn:closed(5)
    end)
    local gw = kit.gateway { conf = ([[
      routes: [ { name: up, match: { path: "/*" }, upstream: "https://127.0.0.1:%d" } ]
    ]]):format(plain:port()) }
    assert.equal(502, get(gw).status)
    assert.is_true(gw:wait_log("TLS handshake: wrong version number"))
  end)

  it("is refused a key without a certificate", function()
    local gw = kit.gateway { fails = true, files = certs_of.files(certs), conf = [[
upstreams: { up: { targets: [ "127.0.0.1:1" ], tls: { key: tls/us.key } } }
routes: [ { name: up, match: { path: "/*" }, upstream: up } ]
]] }
    assert.truthy(gw:log():find("certificate: and key: are needed both", 1, true))
  end)
end)
