--- The vectors of Project Wycheproof for JSON Web Signatures and Keys. They stand beside the sources,
--- not in them: without ../shared/vectors these are pending.
local root = debug.getinfo(1, "S").source:match("^@(.*)/spec/library/jwt_wycheproof_spec%.lua$") or "."
local FOLDER = root .. "/../shared/vectors/wycheproof/"

--- The vectors call the algorithm of P-521 by a name that RFC 7518 does not have.
local function mend(jwk)
  if jwk.crv == "P-521" and jwk.alg == "ES521" then
    jwk.alg = "ES512"
  end
  for _, one in ipairs(jwk.keys or {}) do
    mend(one)
  end
  return jwk
end

--- Where we go another way, and why.
local OTHERWISE = {
  json_web_signature = {
    [346] = "the JWK says PS256, the token PS384", [350] = "the JWK says PS256, the token PS384",
    [367] = "the same token as one that is valid", [370] = "the same token as one that is valid",
    [372] = "'?' is not base64url", [373] = "'?' is not base64url",
  },
}

local function accepts(test, keys)
  if type(test.jws) ~= "string" then
    assert.is_false((pcall(gw.jwt.verify_bytes, test.jws, keys))) -- the JSON serialization
    return false
  end
  local payload = keys and gw.jwt.verify_bytes(test.jws, keys)
  if payload then
    assert.equal(payload, (gw.jwt.verify_bytes(test.jws, keys))) -- remembered
  end
  return payload ~= nil
end

local function each(name)
  local file = io.open(FOLDER .. name .. "_test.json")
  if not file then
    return pending("needs ../shared/vectors")
  end
  local suite = assert(gw.json.decode(file:read("*a")))
  file:close()
  local faults, counts = {}, { valid = 0, invalid = 0, left_out = 0 }
  for _, group in ipairs(suite.testGroups) do
    local keys = gw.jwt.keys(mend(group.public or group.private or {}))
    for _, test in ipairs(group.tests) do
      if group.comment:find("^jwe") then
        counts.left_out = counts.left_out + 1 -- encrypted tokens are not supported
      else
        local otherwise = (OTHERWISE[name] or {})[test.tcId] ~= nil
        local as_told = (test.result == "valid") == accepts(test, keys)
        counts[test.result] = counts[test.result] + 1
        if as_told == otherwise then
          faults[#faults + 1] = ("%s %d: %s (%s)"):format(name, test.tcId, test.comment, test.result)
        end
      end
    end
  end
  io.stdout:write(("  %s: %d valid, %d invalid, %d not supported\n"):format(name,
    counts.valid, counts.invalid, counts.left_out))
  assert.same({}, faults)
  assert.is_true(counts.valid > 0 and counts.invalid > 0)
end

describe("the vectors of Wycheproof for gw.jwt", function()
  it("hold for signatures", function()
    each("json_web_signature")
  end)

  it("hold for keys", function()
    each("json_web_key")
  end)

  it("hold for both together", function()
    each("json_web_crypto")
  end)
end)
