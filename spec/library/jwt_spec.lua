local kit = require("gateway.spec")

local jwt, crypto, b64 = gw.jwt, gw.crypto, gw.base64.encode_url

local function fails(code, text, value, err, its)
  assert.is_nil(value)
  assert.matches(text, err, 1, true)
  assert.equal(code, its, err)
end

local function raises(text, f, ...)
  local args = { ... }
  local ok, err = pcall(function()
    local result = f(unpack(args, 1, 8))
    return result
  end)
  assert.is_false(ok)
  assert.matches(text, err, 1, true)
  assert.matches("jwt_spec.lua:%d+:", err)
end

local SECRET = ("s"):rep(32)
local NOW = 1700000000

--- A token of any bytes with a good signature of the secret.
local function token_of(header, payload)
  local signed = b64(header) .. "." .. b64(payload)
  return signed .. "." .. b64(crypto.hmac("sha256", SECRET, signed, "raw"))
end

local HEADER = '{"alg":"HS256","typ":"JWT"}'
local keys = assert(jwt.keys(SECRET, { alg = "HS256" }))

describe("gw.jwt", function()
  it("verifies what it has signed, by every algorithm", function()
    local rsa = io.popen("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null"):read("*a")
    local cases = { EdDSA = crypto.generate_key("Ed25519"), ES256 = crypto.generate_key("P-256"),
      ES384 = crypto.generate_key("P-384"), ES512 = crypto.generate_key("P-521"),
      ES256K = crypto.generate_key("secp256k1") }
    for _, name in ipairs { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512" } do
      cases[name] = assert(crypto.key(rsa))
    end
    for _, name in ipairs { "HS256", "HS384", "HS512" } do
      cases[name] = assert(crypto.secret(("s"):rep(64)))
    end
    for alg, key in pairs(cases) do
      local token = assert(jwt.sign({ sub = "a" }, key, { alg = alg, kid = "k", expires_in = 60 }))
      local public = assert(jwt.keys(key.type == "secret" and key or key:pem(), { alg = alg }))
      for _ = 1, 2 do -- the second time it is remembered
        local claims, header = jwt.verify(token, public)
        assert.equal("a", claims.sub)
        assert.equal(60, claims.exp - claims.iat)
        assert.same({ alg = alg, typ = "JWT", kid = "k" }, header)
        claims.sub = "another" -- is the caller's own table
      end
      local last = token:sub(-10, -10) == "A" and "B" or "A"
      fails("invalid", "did not sign", jwt.verify(token:sub(1, -11) .. last .. token:sub(-9), public))
    end
  end)

  it("agrees with RFC 7515, A.1 to A.3", function()
    local payload = '{"iss":"joe",\r\n "exp":1300819380,\r\n "http://example.com/is_root":true}'
    local secret = { kty = "oct", k = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4h"
      .. "cgUuTwjAzZr1Z9CAow" }
    local token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog"
      .. "Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    local hs = assert(jwt.keys(secret))
    assert.equal(payload, (jwt.verify_bytes(token, hs)))
    assert.is_true(jwt.verify(token, hs, { now = 1300819379, issuer = "joe" })["http://example.com/is_root"])
    fails("invalid", "expired", jwt.verify(token, hs, { now = 1300819380 }))
    fails("invalid", "expired", jwt.verify(token, hs))
    local ec = { kty = "EC", crv = "P-256", x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
      y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" }
    assert.equal(payload, (jwt.verify_bytes("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkz"
      .. "ODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXF"
      .. "CgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", assert(jwt.keys(ec)))))
  end)

  it("agrees with RFC 8037, A.4, to the byte", function()
    local key = assert(crypto.key { kty = "OKP", crv = "Ed25519",
      d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
      x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
    local token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcv"
      .. "Mg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    assert.equal(token:match("[^.]+$"), b64(key:sign("EdDSA", token:match("^(.*)%."))))
    assert.equal("Example of Ed25519 signing", (jwt.verify_bytes(token, assert(jwt.keys(key)))))
  end)

  it("refuses broken tokens", function()
    local good = token_of(HEADER, '{"sub":"a"}')
    assert.equal("a", keys:verify(good).sub)
    local head, body, sign = good:match("^(.-)%.(.-)%.(.+)$")
    for _, token in ipairs { "", ".", "..", "...", head, head .. "." .. body, head .. "." .. body .. ".",
      "." .. body .. "." .. sign, good .. ".", good .. "=", good .. "." .. sign, " " .. good, good .. "\n",
      head .. "=." .. body .. "." .. sign, head .. "." .. body .. "+." .. sign, good .. "\0",
      head .. "." .. body .. "." .. sign .. "A" } do
      fails("invalid", "jwt:", keys:verify(token))
    end
    -- Bits behind the last byte: another text for the same signature.
    local other = good:sub(1, -2) .. string.char(good:byte(-1) + 1)
    fails("invalid", "jwt:", keys:verify(other))
    fails("limit", "longer", keys:verify(("a"):rep(16385)))
    for _, header in ipairs { "", "1", "[]", '["HS256"]', '"HS256"', "{}", '{"alg":1}', '{"alg":null}',
      '{"alg":"HS256"', '{"alg":"HS256","alg":"HS256"}', '{"alg":"HS256","kid":1}', '{"alg":"HS256"} x' } do
      fails("invalid", "jwt: ", keys:verify(token_of(header, "{}")))
    end
    for _, payload in ipairs { "", "1", "[]", '"a"', "null", "{", '{"sub":"a","sub":"b"}', '{"a":{"b":1,"b":2}}',
      ("["):rep(40) .. ("]"):rep(40) } do
      fails("invalid", "claims", keys:verify(token_of(HEADER, payload)))
    end
    for _, header in ipairs { '{"alg":"HS256","crit":["exp"],"exp":1}', '{"alg":"HS256","crit":[]}',
      '{"alg":"HS256","b64":false}' } do
      fails("unsupported", "crit", keys:verify(token_of(header, "{}")))
    end
  end)

  it("never takes the algorithm from the token", function()
    for _, alg in ipairs { "none", "None", "HS384", "RS256", "hs256", "", "EdDSA" } do
      fails("invalid", "alg", keys:verify(token_of('{"alg":"' .. alg .. '"}', "{}")))
    end
    local none = b64 '{"alg":"none"}' .. "." .. b64 "{}"
    fails("invalid", "three parts", keys:verify(none .. "."))
    fails("invalid", "alg", keys:verify(none .. ".AAAA"))

    -- The public key as a secret: the classic.
    local key = crypto.generate_key("P-256")
    local pem = key:pem()
    local signed = b64 '{"alg":"HS256"}' .. "." .. b64 "{}"
    local forged = signed .. "." .. b64(crypto.hmac("sha256", pem, signed, "raw"))
    fails("invalid", "alg", jwt.verify(forged, assert(jwt.keys(pem))))
    fails("wrong_type", "PEM", jwt.keys(pem, { alg = "HS256" }))
    fails("wrong_type", "RS256", jwt.keys(pem, { alg = "RS256" }))
    fails("wrong_type", "neither", jwt.keys(SECRET))
    fails("limit", "shorter", jwt.keys("short", { alg = "HS256" }))
  end)

  it("checks the claims", function()
    local function verify(payload, options)
      options = options or {}
      options.now = options.now or NOW
      return keys:verify(token_of(HEADER, payload), options)
    end
    local E = ('{"exp":%d}'):format(NOW)
    fails("invalid", "expired", verify(E))
    assert(verify(E, { leeway = 1 }))
    assert(verify(E, { now = NOW - 0.001 }))
    local NBF = ('{"nbf":%d}'):format(NOW + 10)
    fails("invalid", "not valid yet", verify(NBF, { leeway = 9 }))
    assert(verify(NBF, { leeway = 10 }))
    local IAT = ('{"iat":%d}'):format(NOW)
    fails("invalid", "future", verify(IAT, { now = NOW - 1 }))
    assert(verify(IAT, { now = NOW + 9, max_age = 10 }))
    fails("invalid", "too long ago", verify(IAT, { now = NOW + 10, max_age = 10 }))
    fails("invalid", "too long ago", verify("{}", { max_age = 10 }))
    for _, wrong in ipairs { '"1"', "true", "null", "{}", "[]", "1e999" } do
      for _, name in ipairs { "exp", "nbf", "iat" } do
        assert.is_nil((verify(('{"%s":%s}'):format(name, wrong))))
      end
    end
    fails("invalid", "issuer", verify('{"iss":"a"}', { issuer = "b" }))
    fails("invalid", "issuer", verify("{}", { issuer = "b" }))
    fails("invalid", "iss:", verify('{"iss":["b"]}', { issuer = "b" }))
    assert(verify('{"iss":"b"}', { issuer = { "a", "b" } }))
    fails("invalid", "subject", verify("{}", { subject = "b" }))
    assert(verify('{"sub":"b"}', { subject = "b" }))
    assert(verify('{"aud":"b"}', { audience = "b" }))
    assert(verify('{"aud":["a","b"]}', { audience = { "b", "c" } }))
    fails("invalid", "audience", verify('{"aud":["a","b"]}', { audience = "c" }))
    fails("invalid", "audience", verify('{"aud":[]}', { audience = "c" }))
    fails("invalid", "audience", verify("{}", { audience = "c" }))
    fails("invalid", "audience", verify('{"aud":{"c":"c"}}', { audience = "c" }))
    fails("invalid", "none was named", verify '{"aud":"a"}')
    assert(verify('{"aud":"a"}', { audience = false }))
    fails("invalid", "exp is missing", verify("{}", { required = { "exp" } }))
    fails("invalid", "typ", verify("{}", { typ = "at+jwt" }))
    assert(keys:verify(token_of('{"alg":"HS256","typ":"application/at+jwt"}', "{}"), { typ = "at+jwt" }))
  end)

  it("chooses among the keys of a set by kid", function()
    local a, b, c = crypto.generate_key("P-256"), crypto.generate_key("P-256"), crypto.generate_key("Ed25519")
    local function jwk(key, kid)
      local it = key:jwk()
      it.kid = kid
      return it
    end
    local set = assert(jwt.keys(gw.json.encode { keys = { jwk(a, "a"), jwk(b, "b"), jwk(c, "c"),
      { kty = "EC", crv = "P-256", kid = "broken", x = "AA", y = "AA" }, { kty = "new" },
      { kty = "oct", k = b64(SECRET), use = "enc" } } }))
    for kid, key in pairs { a = a, b = b, c = c } do
      assert(set:verify(assert(jwt.sign({}, key, { kid = kid }))))
    end
    fails("invalid", "did not sign", set:verify(jwt.sign({}, a, { kid = "b" })))
    fails("invalid", "alg", set:verify(jwt.sign({}, a, { kid = "c" })))
    fails("invalid", "no key with this kid", set:verify(jwt.sign({}, a, { kid = "d" })))
    fails("invalid", "more than one", set:verify(jwt.sign({}, a)))
    assert(set:verify(jwt.sign({}, c))) -- the only one of its algorithm
    fails("invalid", "one set", jwt.keys { keys = { jwk(a, "a"), { kty = "oct", k = b64(SECRET) } } })
    fails("invalid", "more than one key", jwt.keys { keys = { jwk(a, "a"), jwk(b, "a") } })
    fails("invalid", "no key", jwt.keys { keys = {} })
    fails("unsupported", "not for signatures", jwt.keys { kty = "EC", use = "enc" })
    fails("unsupported", "not known", jwt.keys { kty = "EC", alg = "none" })
    local many = {}
    for i = 1, 257 do
      many[i] = jwk(a, "k" .. i)
    end
    fails("limit", "256", jwt.keys { keys = many })
    fails("invalid", "twice", jwt.keys '{"keys":[],"keys":[]}')
  end)

  it("remembers a bounded number of tokens", function()
    local key = crypto.generate_key("Ed25519")
    local set = assert(jwt.keys(key, { cache = 10 }))
    local first = assert(jwt.sign({ n = 0 }, key))
    assert(set:verify(first))
    for i = 1, 50 do
      assert(set:verify(assert(jwt.sign({ n = i }, key))))
      assert(set:verify(first)) -- is asked for again and again, and stays
    end
    local count = 0
    for _, part in ipairs { set.fresh, set.old } do
      for _ in pairs(part) do
        count = count + 1
      end
    end
    assert.is_true(count <= 11, count)
    -- What is remembered is the signature, not the answer.
    local short = assert(jwt.sign({ exp = NOW }, key))
    assert(set:verify(short, { now = NOW - 1 }))
    fails("invalid", "expired", set:verify(short, { now = NOW }))
  end)

  it("blames the caller for wrong arguments", function()
    raises("string expected", jwt.verify, nil, keys)
    raises("keys of gw.jwt.keys", jwt.verify, "a", SECRET)
    raises("no option 'aud'", jwt.verify, "a", keys, { aud = "x" })
    raises("leeway", jwt.verify, "a", keys, { leeway = -1 })
    raises("issuer: string|table expected", jwt.verify, "a", keys, { issuer = 1 })
    raises("audience", jwt.verify, "a", keys, { audience = true })
    raises("alg", jwt.keys, SECRET, { alg = "none" })
    raises("no option", jwt.keys, SECRET, { algorithm = "HS256" })
    raises("table expected", jwt.sign, "a", crypto.secret(SECRET))
    raises("http or https", jwt.remote, "ftp://a/")
    raises("timeout", jwt.remote, "http://a/", { timeout = 0 / 0 })
    raises("crit", jwt.sign, {}, crypto.secret(SECRET), { header = { crit = {} } })
    fails("invalid", "public half", jwt.sign({}, crypto.key(crypto.generate_key("P-256"):jwk())))
    assert.equal("a", jwt.read_unverified(token_of(HEADER, '{"sub":"a"}')).sub)
  end)
end)

--------------------------------------------------------------------------------

local PYTHON = [=[
import json, sys, jwt
work = json.load(open(sys.argv[1] + ".work"))
for one in work:
    assert jwt.decode(one["token"], one["public"], algorithms=[one["alg"]])["sub"] == "a"
    one["back"] = jwt.encode({"sub": "b"}, one["private"], algorithm=one["alg"])
print(json.dumps(work))
]=]

local NODE = [=[
const crypto = require("crypto"), fs = require("fs");
const work = JSON.parse(fs.readFileSync(process.argv[2]));
const url = (bytes) => Buffer.from(bytes).toString("base64url");
for (const one of work) {
  const [head, body, sign] = one.token.split("."), data = Buffer.from(head + "." + body);
  const alg = one.alg, hash = alg === "EdDSA" ? null : "sha" + alg.slice(2, 5);
  const options = alg.startsWith("PS") ? { padding: crypto.constants.RSA_PKCS1_PSS_PADDING,
    saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST } : { dsaEncoding: "ieee-p1363" };
  const good = (signature) =>
    crypto.timingSafeEqual(crypto.createHmac(hash, one.public).update(data).digest(), signature);
  const bytes = Buffer.from(sign, "base64url");
  if (alg.startsWith("HS") ? !good(bytes)
    : !crypto.verify(hash, data, { key: crypto.createPublicKey(one.public), ...options }, bytes)) throw new Error(alg);
  const signed = url(JSON.stringify({ alg })) + "." + url(JSON.stringify({ sub: "b" }));
  one.back = signed + "." + url(alg.startsWith("HS") ? crypto.createHmac(hash, one.private).update(signed).digest()
    : crypto.sign(hash, Buffer.from(signed), { key: crypto.createPrivateKey(one.private), ...options }));
}
console.log(JSON.stringify(work));
]=]

describe("gw.jwt beside other implementations", function()
  local work = {}

  setup(function()
    local rsa = assert(crypto.key(io.popen(
      "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null"):read("*a")))
    local cases = { RS256 = rsa, RS384 = rsa, RS512 = rsa, PS256 = rsa, PS384 = rsa, PS512 = rsa,
      ES256 = crypto.generate_key("P-256"), ES384 = crypto.generate_key("P-384"),
      ES512 = crypto.generate_key("P-521"), EdDSA = crypto.generate_key("Ed25519"),
      HS256 = crypto.secret(("s"):rep(64)), HS512 = crypto.secret(("s"):rep(64)) }
    for alg, key in pairs(cases) do
      local secret = key.type == "secret" and ("s"):rep(64)
      work[#work + 1] = { alg = alg, token = assert(jwt.sign({ sub = "a" }, key, { alg = alg })),
        public = secret or key:pem(), private = secret or key:pem("private") }
    end
  end)

  local function check(text)
    local back = assert(gw.json.decode(text))
    assert.equal(12, #back)
    for _, one in ipairs(back) do
      local claims, err = jwt.verify(one.back, assert(jwt.keys(one.public, { alg = one.alg })))
      assert.equal("b", claims and claims.sub, one.alg .. ": " .. tostring(err))
    end
  end

  local function with_work(program, text)
    local path = os.tmpname()
    local file = assert(io.open(path .. ".work", "w"))
    file:write(gw.json.encode(work))
    file:close()
    local script = assert(io.open(path, "w"))
    script:write(text)
    script:close()
    local args = program == "node" and { path, path .. ".work" } or { path, path }
    local code, out, err = kit.run(program, args, { timeout = 30 })
    os.remove(path)
    os.remove(path .. ".work")
    assert.equal(0, code, err)
    return out
  end

  it("agrees with PyJWT, both ways", function()
    if kit.run("/usr/bin/python3", { "-c", "import jwt, cryptography" }) ~= 0 then
      return pending("needs python3-jwt")
    end
    check(with_work("/usr/bin/python3", PYTHON))
  end)

  it("agrees with node's crypto, both ways", function()
    check(with_work("node", NODE))
  end)
end)
