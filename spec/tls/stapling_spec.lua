--- OCSP stapling: fetched beside the handshakes, judged before it is shown, and never in the way.
local kit = require("gateway.spec")
local certs_of = dofile(debug.getinfo(1, "S").source:match("^@(.*)/") .. "/certs.lua")

describe("stapling", function()
  local responder, certs

  setup(function()
    responder = kit.upstream()
    certs = certs_of.make {
      site = { names = { "site.example" }, ocsp = responder:url("/ocsp?a=b") },
      other = { names = { "other.example" } },
    }
    certs.pem.chain = certs.pem.site .. certs.pem.ca
  end)
  teardown(function() certs_of.remove(certs) end)
  before_each(function() responder:clear() end)

  local function gateway(tls, file)
    return kit.gateway { workers = 1, files = certs_of.files(certs), conf = ([[
listen:
  - name: secure
    address: "127.0.0.1:0"
    tls: { certificates: { certificate: tls/%s.pem, key: tls/site.key }, %s }
routes: [ { name: hello, match: { path: /hello }, respond: { body: hello } } ]
]]):format(file or "chain", tls) }
  end

  local function says(response, status)
    responder:answer { status = status or 200, body = response }
  end

  local function hello(gw) return (certs_of.s_client(gw, { "-status", "-servername", "site.example" })) end
  local function stapled(gw) return hello(gw):find("OCSP Response Status: successful", 1, true) ~= nil end

  it("shows what the responder says, once it has come", function()
    says(certs_of.ocsp(certs, "ca", "site", "V"))
    local gw = gateway("stapling: true")

    assert.is_false(stapled(gw))
    kit.eventually(function() return stapled(gw) end)
    local request = responder:request()
    assert.equal("POST", request.method)
    assert.equal("/ocsp?a=b", request.target)
    assert.equal("application/ocsp-request", request.headers["content-type"])
    assert.truthy(hello(gw):find("Cert Status: good", 1, true))
    assert.equal(1, responder:requests())
  end)

  it("keeps it over a reload", function()
    says(certs_of.ocsp(certs, "ca", "site", "V"))
    local gw = gateway("stapling: true")
    kit.eventually(function() return stapled(gw) end)

    assert.is_true(gw:reload().ok)

    assert.is_true(stapled(gw))
    assert.equal(1, responder:requests())
  end)

  local function never(log, response, status)
    says(response, status)
    local gw = gateway("stapling: true")
    hello(gw)
    assert.is_true(gw:wait_log(log))
    assert.is_false(stapled(gw))
    assert.equal(1, responder:requests()) -- not again within a minute
    gw:advance(61000)
    hello(gw)
    kit.eventually(function() return responder:requests() == 2 end)
  end

  it("shows nobody that a certificate is revoked: the log is told",
    function() never("the certificate is revoked", certs_of.ocsp(certs, "ca", "site", "R")) end)
  it("does not show nonsense", function() never("it is no OCSP response", "hello") end)
  it("does not show what is of another certificate",
    function() never("OCSP: the response is not used", certs_of.ocsp(certs, "ca", "other", "V")) end)
  it("does not show what another has signed",
    function() never("its signature is not good", certs_of.ocsp(certs, "other", "site", "V")) end)
  it("takes no page of an error", function() never("the answer is not 200", "sorry", 500) end)

  it("asks nobody unless it shall", function()
    local gw = gateway("stapling: false")
    assert.is_false(stapled(gw))
    assert.equal(0, responder:requests())
  end)

  it("warns of a file that does not hold the issuer", function()
    local gw = gateway("stapling: true", "site")
    assert.is_true(gw:wait_log("nothing will be stapled"))
  end)
end)
