local kit = require("gateway.spec")

local crypto, hex = gw.crypto, gw.hex

local function sh(command)
  local pipe = io.popen("{ " .. command .. "\n} 2>/dev/null")
  local text = pipe:read("*a")
  pipe:close()
  return text
end

--- A line of this file stands in the message: the mistake is the caller's.
local function raises(text, f, ...)
  local args = { ... }
  local ok, err = pcall(function()
    local result = f(unpack(args, 1, 8))
    return result
  end)
  assert.is_false(ok)
  assert.matches(text, err, 1, true)
  assert.matches("crypto_spec.lua:%d+:", err)
end

local function fails(code, value, err, its)
  assert.is_nil(value)
  assert.is_string(err)
  assert.equal(code, its)
end

describe("gw.crypto digests", function()
  it("know SHA-3 and Keccak-256, which pads differently", function()
    assert.equal("a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a", crypto.sha3_256(""))
    assert.equal("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470", crypto.keccak256(""))
    assert.equal("1c8aff950685c2ed4bc3174f3472287b56d9517b9c948127319a09a7a36deac8",
      crypto.keccak256("hello"))
    -- Around the length of a block (136 bytes).
    local seen = {}
    for n = 134, 138 do
      seen[crypto.keccak256(("a"):rep(n))] = true
    end
    local count = 0
    for _ in pairs(seen) do
      count = count + 1
    end
    assert.equal(5, count)
    assert.equal("a6c4d403279fe3e0af03729caada8374b5ca54d8065329a3ebcaeb4b60aa386e",
      crypto.keccak256(("a"):rep(136)))
  end)
end)

describe("gw.crypto.encrypt", function()
  local key, nonce = ("k"):rep(32), ("n"):rep(12)

  it("gives back what was sealed, and nothing that was changed", function()
    for _, cipher in ipairs { "aes-256-gcm", "chacha20-poly1305" } do
      for _, text in ipairs { "", "a", ("long"):rep(10000) } do
        local sealed = crypto.encrypt(cipher, key, nonce, text, "about")
        assert.equal(#text + 16, #sealed)
        assert.equal(text, crypto.decrypt(cipher, key, nonce, sealed, "about"))
        fails("invalid", crypto.decrypt(cipher, key, nonce, sealed, "other"))
        fails("invalid", crypto.decrypt(cipher, key, nonce, sealed))
        fails("invalid", crypto.decrypt(cipher, ("x"):rep(32), nonce, sealed, "about"))
        fails("invalid", crypto.decrypt(cipher, key, nonce, sealed:sub(1, -2), "about"))
        fails("invalid", crypto.decrypt(cipher, key, nonce, "short", "about"))
        local flipped = string.char(bit.bxor(sealed:byte(1), 1)) .. sealed:sub(2)
        fails("invalid", crypto.decrypt(cipher, key, nonce, flipped, "about"))
      end
    end
  end)

  it("blames the caller for wrong lengths", function()
    raises("key of the length", crypto.encrypt, "aes-256-gcm", "short", nonce, "")
    raises("12 bytes", crypto.encrypt, "aes-256-gcm", key, "short", "")
    raises("aes-128-gcm", crypto.encrypt, "des", key, nonce, "")
    raises("string expected", crypto.encrypt, "aes-256-gcm", key, nonce)
  end)
end)

describe("gw.crypto.key", function()
  local rsa = sh "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"

  it("reads what openssl writes, and signs with it", function()
    local forms = {
      { "RS256", rsa },
      { "PS512", sh("openssl rsa -traditional <<'E'\n" .. rsa .. "E") },
      { "ES256", sh "openssl ecparam -genkey -name prime256v1" }, -- has a block of parameters
      { "ES384", sh "openssl ecparam -genkey -noout -name secp384r1" },
      { "ES512", sh "openssl ecparam -genkey -noout -name secp521r1 -outform DER" },
      { "ES256K", sh "openssl ecparam -genkey -noout -name secp256k1" },
      { "EdDSA", sh "openssl genpkey -algorithm ED25519" },
    }
    for _, form in ipairs(forms) do
      local algorithm = form[1]
      local key = assert(crypto.key(form[2]))
      assert.is_true(key.private, algorithm)
      local public = assert(crypto.key(key:pem()))
      assert.is_false(public.private)
      assert.equal(public:pem(), assert(crypto.key(key:jwk())):pem())
      assert.equal(public:pem(), assert(crypto.key(gw.json.encode(key:jwk()))):pem())
      assert.equal(key:pem("private"), assert(crypto.key(key:pem("private"))):pem("private"))
      for _, data in ipairs { "", "data", ("x"):rep(100000) } do
        local signature = assert(key:sign(algorithm, data))
        assert.is_true(public:verify(algorithm, data, signature))
        fails("invalid", public:verify(algorithm, data .. "!", signature))
        fails("invalid", public:verify(algorithm, data, signature .. "\0"))
        fails("invalid", public:verify(algorithm, data, ""))
      end
      fails("invalid", public:sign(algorithm, "data"))
      fails("invalid", public:pem("private"))
      fails("wrong_type", key:sign(algorithm == "EdDSA" and "RS256" or "EdDSA", "data"))
      fails("wrong_type", key:verify("HS256", "data", "x"))
    end
  end)

  it("lets openssl check a signature", function()
    local key = assert(crypto.key(rsa))
    local folder = sh("mktemp -d"):gsub("%s+$", "")
    local function write(name, text)
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    write("key", key:pem())
    write("data", "data")
    write("signature", key:sign("RS256", "data"))
    local said = sh(("cd %s && openssl dgst -sha256 -verify key -signature signature data; rm -r %s"):format(
      folder, folder))
    assert.matches("Verified OK", said, 1, true)
  end)

  it("refuses what is weak, broken, too long or locked", function()
    fails("limit", crypto.key(sh "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024"))
    fails("unsupported", crypto.key(sh("openssl pkcs8 -topk8 -passout pass:x <<'E'\n" .. rsa .. "E")))
    fails("unsupported", crypto.key(sh("openssl rsa -traditional -aes128 -passout pass:x <<'E'\n" .. rsa .. "E")))
    fails("unsupported", crypto.key(sh "openssl genpkey -algorithm X25519"))
    fails("unsupported", crypto.key(sh "openssl ecparam -genkey -noout -name brainpoolP256r1"))
    fails("invalid", crypto.key(rsa:sub(1, -200)))
    fails("invalid", crypto.key(""))
    fails("invalid", crypto.key("secret"))
    fails("invalid", crypto.key("{"))
    fails("unsupported", crypto.key("{}"))
    fails("unsupported", crypto.key({}))
    fails("limit", crypto.key((" "):rep(65537)))
    local jwk = assert(crypto.key(rsa)):jwk()
    fails("limit", crypto.key { kty = "RSA", n = jwk.n, e = "AQ" })
    fails("limit", crypto.key { kty = "RSA", n = jwk.n, e = "Ag" })
    fails("limit", crypto.key { kty = "RSA", n = jwk.n, e = jwk.n })
    fails("limit", crypto.key { kty = "RSA", n = jwk.n:rep(8), e = "AQAB" })
    fails("invalid", crypto.key { kty = "RSA", n = jwk.n })
    fails("invalid", crypto.key { kty = "RSA", n = jwk.n .. "==", e = "AQAB" })
    local ec = crypto.generate_key("P-256"):jwk()
    fails("invalid", crypto.key { kty = "EC", crv = "P-256", x = ec.y, y = ec.x })
    fails("invalid", crypto.key { kty = "EC", crv = "P-384", x = ec.x, y = ec.y })
    fails("invalid", crypto.key { kty = "EC", crv = "P-256", x = ec.x, y = ec.y, d = ec.x })
    fails("invalid", crypto.key { kty = "OKP", crv = "Ed25519", x = ec.x:sub(3) })
    fails("limit", crypto.key { kty = "oct", k = "" })
    fails("limit", crypto.secret(""))
    raises("string expected", crypto.key)
  end)

  it("refuses secrets that are shorter than the digest", function()
    local key = assert(crypto.secret(("s"):rep(32)))
    assert.equal(crypto.hmac("sha256", ("s"):rep(32), "data", "raw"), key:sign("HS256", "data"))
    assert.equal(crypto.hmac("sha256", ("s"):rep(32), "more", "raw"), key:sign("HS256", "more"))
    fails("limit", key:sign("HS512", "data"))
    fails("limit", key:verify("HS512", "data", ("x"):rep(64)))
    fails("wrong_type", key:jwk())
    raises("one of HS256", key.sign, key, "none", "data")
    raises("one of HS256", key.sign, key, "hs256", "data")
  end)
end)

describe("gw.crypto.recover", function()
  --- Whose signature it is, as Ethereum names them.
  local function address_of(public)
    return crypto.keccak256(public:sub(2)):sub(-40)
  end

  it("tells the signer of a published transaction of Ethereum", function()
    local digest = hex.decode "1da44b586eb0729ff70a73c326926f6ed5a25f5b056e7f47fbc6e58d86871655"
    local signature = hex.decode("b91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd"
      .. "6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a029")
    assert.equal("2c7536e3605d9c16a7a3d7b1898e529396a65c23",
      address_of(assert(crypto.recover(digest, signature, 28 - 27))))
    assert.equal(digest, crypto.keccak256("\25Ethereum Signed Message:\n9Some data", "raw"))
    assert.are_not.equal("2c7536e3605d9c16a7a3d7b1898e529396a65c23",
      address_of(assert(crypto.recover(digest, signature, 0))))
  end)

  it("finds the key that has signed", function()
    local url = gw.base64.decode_url
    for i = 1, 20 do
      local key = crypto.generate_key("secp256k1")
      local jwk, data = key:jwk(), "data" .. i
      local signature, digest = key:sign("ES256K", data), crypto.sha256(data, "raw")
      local wanted, found = "\4" .. url(jwk.x) .. url(jwk.y), 0
      for id = 0, 1 do
        found = found + (crypto.recover(digest, signature, id) == wanted and 1 or 0)
      end
      assert.equal(1, found)
    end
  end)

  it("refuses what no key has signed", function()
    local digest = ("d"):rep(32)
    fails("invalid", crypto.recover(digest, ("\0"):rep(64), 0))
    fails("invalid", crypto.recover(digest, ("\255"):rep(64), 0))
    fails("invalid", crypto.recover(digest, ("r"):rep(64), 3)) -- r would be above the field
    raises("32 bytes", crypto.recover, "short", ("r"):rep(64), 0)
    raises("64 bytes", crypto.recover, digest, "short", 0)
    raises("0, 1, 2 or 3", crypto.recover, digest, ("r"):rep(64), 4)
  end)
end)

describe("gw.crypto.certificate", function()
  it("reads names, times and the key", function()
    local pem = sh([[openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null \
      -days 30 -subj "/O=Moon, Inc/CN=gate.example" -set_serial 0x1234ABCD \
      -addext "subjectAltName=DNS:gate.example,DNS:*.gate.example,IP:127.0.0.1,IP:::1,]]
      .. [[email:a@b.example,URI:spiffe://x/y"]])
    local cert = assert(crypto.certificate(pem))
    assert.equal("CN=gate.example,O=Moon\\, Inc", cert.subject)
    assert.equal(cert.subject, cert.issuer)
    assert.equal("1234abcd", cert.serial)
    assert.same({ "gate.example", "*.gate.example" }, cert.dns)
    assert.same({ "127.0.0.1", "::1" }, cert.ip)
    assert.same({ "a@b.example" }, cert.email)
    assert.same({ "spiffe://x/y" }, cert.uri)
    assert.is_true(cert.ca)
    assert.equal(30 * 86400, cert.not_after - cert.not_before)
    assert.is_true(math.abs(cert.not_before - os.time()) < 60)
    assert.equal("P-256", cert.key.curve)
    assert.is_false(cert.key.private)
    assert.equal(crypto.sha256(cert.der), cert.fingerprint)
    assert.equal(cert.fingerprint, assert(crypto.certificate(cert.der)).fingerprint)
    assert.equal(cert.key:pem(), assert(crypto.key(pem)):pem())
    fails("invalid", crypto.certificate(cert.der .. "x"))
    fails("invalid", crypto.certificate(cert.der:sub(1, -2)))
  end)

  it("refuses what is none", function()
    fails("invalid", crypto.certificate(""))
    fails("invalid", crypto.certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
    fails("limit", crypto.certificate((" "):rep(65537)))
  end)
end)

describe("gw.crypto and passwords", function()
  it("match RFC 7914 and RFC 6070", function()
    assert.equal("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830da"
      .. "c727afb94a83ee6d8360cbdfa2cc0640", hex.encode(crypto.scrypt("password", "NaCl",
      { n = 1024, r = 8, p = 16, length = 64 })))
    assert.equal("4b007901b765489abead49d926f721d065a429c1",
      hex.encode(crypto.pbkdf2("sha1", "password", "salt", 4096, 20)))
  end)

  it("make and check hashes of bcrypt, also those of others", function()
    local hash = assert(crypto.bcrypt("correct horse", 4))
    assert.matches("^%$2b%$04%$", hash)
    assert.are_not.equal(hash, crypto.bcrypt("correct horse", 4))
    assert.is_true(crypto.bcrypt_verify("correct horse", hash))
    assert.is_false(crypto.bcrypt_verify("correct hors", hash))
    assert.is_false(crypto.bcrypt_verify("", hash))
    -- A published vector of bcrypt.
    assert.is_true(crypto.bcrypt_verify("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"))
  end)

  it("hold limits: what is truncated elsewhere is refused", function()
    fails("limit", crypto.bcrypt(("x"):rep(73), 4))
    fails("invalid", crypto.bcrypt("a\0b", 4))
    fails("invalid", crypto.bcrypt_verify("a", "$1$salt$hash"))
    fails("invalid", crypto.bcrypt_verify("a", "$2b$31$" .. ("a"):rep(53)))
    fails("limit", crypto.scrypt("a", "b", { n = 1048576, r = 8 }))
    raises("power of two", crypto.scrypt, "a", "b", { n = 1000 })
    raises("whole number", crypto.pbkdf2, "sha256", "a", "b", 0, 32)
    raises("whole number", crypto.bcrypt, "a", 16)
    raises("4096 bytes", crypto.bcrypt_verify, ("a"):rep(4097), "")
  end)

  it("do not hold the loop up, and outlive a client that leaves", function()
    local gateway = kit.gateway {
      conf = [[
routes:
  - { name: slow, match: { path: /slow }, plugins: [ slow ], respond: { status: 204 } }
  - { name: filter, match: { path: /filter }, plugins: [ filter ], respond: { status: 204 } }
  - { name: quick, match: { path: /quick }, respond: { status: 204 } }
]],
      plugins = {
        slow = [[return { name = "slow", priority = 1, access = function(_, ctx)
          return ctx:exit(200, tostring(gw.crypto.bcrypt("x", 13)))
        end }]],
        filter = [[return { name = "filter", priority = 1, header_filter = function()
          gw.crypto.bcrypt("x", 4)
        end }]],
      },
      workers = 1,
    }
    local client = gateway:client()
    local slow, gone = client:connect(), client:connect()
    slow:write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    gone:write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    gone:close()

    local before = gw.time.real()
    assert.equal(204, client:get("/quick").status)
    local took = gw.time.real() - before

    local answer = slow:read_answer()
    assert.equal(200, answer.status)
    assert.matches("^%$2b%$13%$", answer.body)
    assert.is_true(took < 300, took .. " ms")
    assert.equal(500, client:get("/filter").status)
    assert.matches("crypto.bcrypt: not in header_filter", gateway:log(), 1, true)
    assert.equal(204, client:get("/quick").status)
  end)
end)
