--- What signatures, tokens and digests cost: build/moongate spec bench/crypto.lua
-- luacheck: globals describe it
local function bench(name, n, f)
  for i = 1, n / 10 do
    f(i)
  end
  local best = math.huge
  for _ = 1, 3 do
    local from = os.clock()
    for i = 1, n do
      f(i)
    end
    best = math.min(best, (os.clock() - from) / n * 1e6)
  end
  io.stdout:write(("%-32s %8.2f us\n"):format(name, best))
end

local DATA, KEY, NONCE = ("x"):rep(300), ("k"):rep(32), ("n"):rep(12)
local CLAIMS = { iss = "https://issuer.example/", sub = "0123456789", aud = "api", iat = 1700000000,
  exp = 4000000000, scope = "read write", roles = { "a", "b" } }
local OPTIONS = { issuer = "https://issuer.example/", audience = "api" }

describe("gw.crypto and gw.jwt", function()
  it("cost", function()
    local c, jwt = gw.crypto, gw.jwt
    bench("sha256", 100000, function() c.sha256(DATA, "raw") end)
    bench("keccak256", 100000, function() c.keccak256(DATA, "raw") end)
    bench("hmac sha256", 100000, function() c.hmac("sha256", DATA, DATA, "raw") end)
    for _, cipher in ipairs { "aes-256-gcm", "chacha20-poly1305" } do
      bench(cipher, 50000, function() c.encrypt(cipher, KEY, NONCE, DATA) end)
    end
    local rsa = io.popen("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2>/dev/null"):read("*a")
    local rows = { { "HS256", c.secret(KEY) }, { "RS256", c.key(rsa) }, { "PS256", c.key(rsa) },
      { "ES256", c.generate_key("P-256") }, { "ES384", c.generate_key("P-384") },
      { "ES512", c.generate_key("P-521") }, { "EdDSA", c.generate_key("Ed25519") } }
    for _, row in ipairs(rows) do
      local alg, key = row[1], row[2]
      local token = jwt.sign(CLAIMS, key, { alg = alg })
      local signed, signature = token:match("^(.*)%.(.-)$")
      signature = gw.base64.decode_url(signature)
      local plain, cached = jwt.keys(key, { alg = alg, cache = 0 }), jwt.keys(key, { alg = alg })
      local n = alg == "HS256" and 50000 or 2000
      bench(alg .. " sign", n / 4, function() jwt.sign(CLAIMS, key, { alg = alg }) end)
      bench(alg .. " key:verify", n, function() assert(key:verify(alg, signed, signature)) end)
      bench(alg .. " verify", n, function() assert(plain:verify(token, OPTIONS)) end)
      bench(alg .. " verify, remembered", 50000, function() assert(cached:verify(token, OPTIONS)) end)
    end
  end)
end)
