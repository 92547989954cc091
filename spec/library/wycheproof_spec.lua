--- The vectors of Project Wycheproof for what gw.crypto does. They stand beside the sources, not in
--- them: without ../shared/vectors these are pending.
local root = debug.getinfo(1, "S").source:match("^@(.*)/spec/library/wycheproof_spec%.lua$") or "."
local FOLDER = root .. "/../shared/vectors/wycheproof/"

local function vectors(name)
  local file = io.open(FOLDER .. name .. "_test.json")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return assert(gw.json.decode(text))
end

local bytes = gw.hex.decode

--- Runs `check(group, test)` -> accepted for each vector; "acceptable" ones may go either way.
local function each(name, check)
  local suite = vectors(name)
  if not suite then
    return pending("needs ../shared/vectors")
  end
  local faults, counts = {}, { valid = 0, invalid = 0, acceptable = 0, left_out = 0 }
  for _, group in ipairs(suite.testGroups) do
    for _, test in ipairs(group.tests) do
      local accepted = check(group, test)
      if accepted == nil then
        counts.left_out = counts.left_out + 1
      else
        counts[test.result] = counts[test.result] + 1
        if (test.result == "valid" and not accepted) or (test.result == "invalid" and accepted) then
          faults[#faults + 1] = ("%s %d: %s (%s)"):format(name, test.tcId, test.comment, test.result)
        end
      end
    end
  end
  io.stdout:write(("  %s: %d valid, %d invalid, %d acceptable, %d not supported\n"):format(name,
    counts.valid, counts.invalid, counts.acceptable, counts.left_out))
  assert.same({}, faults)
  assert.is_true(counts.valid > 0 and counts.invalid > 0)
end

local function aead(cipher_of)
  return function(group, test)
    local cipher = cipher_of(group)
    if group.ivSize ~= 96 then
      -- Not supported, and said so at the caller's line.
      assert.is_false((pcall(gw.crypto.decrypt, cipher, bytes(test.key), bytes(test.iv), "")))
      return nil
    end
    local key, iv, aad = bytes(test.key), bytes(test.iv), bytes(test.aad)
    local text = gw.crypto.decrypt(cipher, key, iv, bytes(test.ct) .. bytes(test.tag), aad)
    if text then
      assert.equal(test.msg, gw.hex.encode(text))
    end
    if test.result == "valid" then
      assert.equal(test.ct .. test.tag,
        gw.hex.encode(gw.crypto.encrypt(cipher, key, iv, bytes(test.msg), aad)))
    end
    return text ~= nil
  end
end

--- The key in each form that the group has it in; all must tell the same.
local function keys_of(group)
  local keys = { assert(gw.crypto.key(group.publicKeyPem)),
    assert(gw.crypto.key(bytes(group.publicKeyDer))) }
  local jwk = group.publicKeyJwk or group.keyJwk
  if jwk then
    keys[3] = assert(gw.crypto.key(jwk))
  end
  return keys
end

local function signature(algorithm, form)
  local last, keys
  return function(group, test)
    if group ~= last then
      last, keys = group, keys_of(group)
    end
    local accepted
    for _, key in ipairs(keys) do
      local ok, _, code = key:verify(algorithm, bytes(test.msg), bytes(test.sig), form)
      assert.is_true(ok == true or code == "invalid")
      assert.is_true(accepted == nil or accepted == (ok == true))
      accepted = ok == true
    end
    return accepted
  end
end

describe("the vectors of Wycheproof for gw.crypto", function()
  it("hold for AES-GCM", function()
    each("aes_gcm", aead(function(group)
      return ("aes-%d-gcm"):format(group.keySize)
    end))
  end)

  it("hold for ChaCha20-Poly1305", function()
    each("chacha20_poly1305", aead(function()
      return "chacha20-poly1305"
    end))
  end)

  it("hold for HMAC with SHA-256", function()
    each("hmac_sha256", function(group, test)
      local tag = bytes(test.tag)
      local own = gw.crypto.hmac("sha256", bytes(test.key), bytes(test.msg), "raw")
      if group.tagSize == 256 and #bytes(test.key) >= 32 then
        local key = assert(gw.crypto.secret(bytes(test.key)))
        assert.equal(own, key:sign("HS256", bytes(test.msg)))
        assert.equal(gw.crypto.equal(own, tag), key:verify("HS256", bytes(test.msg), tag) == true)
      end
      return gw.crypto.equal(own:sub(1, group.tagSize / 8), tag)
    end)
  end)

  it("hold for ECDSA on P-256, two numbers side by side", function()
    each("ecdsa_secp256r1_sha256_p1363", signature("ES256"))
  end)

  it("hold for ECDSA on secp256k1, DER", function()
    each("ecdsa_secp256k1_sha256", signature("ES256K", "der"))
  end)

  it("hold for Ed25519", function()
    each("ed25519", signature("EdDSA"))
  end)

  it("hold for RSA PKCS#1 v1.5", function()
    each("rsa_signature_2048_sha256", signature("RS256"))
  end)

  it("hold for RSA-PSS", function()
    each("rsa_pss_2048_sha256_mgf1_32", signature("PS256"))
  end)
end)
