--- gw.jwt: JSON Web Tokens (RFC 7519) over signatures (RFC 7515). The algorithm belongs to the key:
--- a token's header only says which of the keys it means, and is refused where it says another.
--- A set of keys remembers the tokens whose signature was good; claims are looked at every time.
local M = {}

local decode, encode, is_array, unpack_url, pack_url, sha256 -- of gw, given by M.open
local crypto, http, time, timer, new_gate

local TOKEN_BYTES_MAX = 16384
local DEPTH_MAX = 32          -- of the JSON in a token
local KEYS_MAX = 256          -- of a set
local SET_BYTES_MAX = 262144  -- of a set as text
local CACHE_TOKENS = 2000     -- that a set remembers
local LEEWAY_MAX = 3600       -- seconds
local HUGE = math.huge

--- What each kind of key signs with when nothing else is said.
local DEFAULTS = { rsa = "RS256", ed25519 = "EdDSA", secret = "HS256",
  ["P-256"] = "ES256", ["P-384"] = "ES384", ["P-521"] = "ES512", secp256k1 = "ES256K" }

local ALGORITHMS = {}
for name in ("HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 ES256K EdDSA")
  :gmatch("%S+") do
  ALGORITHMS[name] = true
end

local STRICT = { duplicates = "refuse", depth = DEPTH_MAX }

local function refuse(text, code)
  return nil, "jwt: " .. text, code or "invalid"
end

-- `level` is that of error() as seen from the function that checks: the caller's line.
local function check(value, kind, what, place, level)
  if type(value) ~= kind then
    error(("bad argument #%d to '%s' (%s expected, got %s)"):format(place, what, kind, type(value)),
      level + 1)
  end
end

--- The fields that options may have, so that a typing error is no silent hole.
local function check_options(options, known, what, place)
  if options == nil then
    return {}
  end
  check(options, "table", what, place, 3)
  for name in pairs(options) do
    if not known[name] then
      error(("%s: there is no option '%s'"):format(what, tostring(name)), 3)
    end
  end
  return options
end

local function check_alg(alg, what)
  if alg ~= nil and not ALGORITHMS[alg] then
    error(("%s: alg: %s is none of gw.crypto's algorithms"):format(what, tostring(alg)), 3)
  end
end

local function is_object(value)
  return type(value) == "table" and not is_array(value)
end

--------------------------------------------------------------------------------
-- Sets of keys

local keyset = {}
keyset.__index = keyset
keyset.__metatable = false

--- What is remembered lives in two tables: when one is full it becomes the old one, and what is not
--- asked for until the next is full is forgotten.
local function forget(self)
  self.fresh, self.old, self.count = {}, {}, 0
end

local function remember(self, hash, found)
  if self.count >= self.cache_max / 2 then
    self.old, self.fresh, self.count = self.fresh, {}, 0
  end
  self.fresh[hash] = found
  self.count = self.count + 1
end

local function new_set(list, options)
  local self = setmetatable({ list = list, cache_max = options.cache or CACHE_TOKENS }, keyset)
  forget(self)
  return self
end

local function entry_of(key, alg, kid)
  alg = alg or DEFAULTS[key.curve or key.type]
  local ok, err, code = key:fits(alg)
  if not ok then
    return nil, ("jwt: %s: %s"):format(alg, err), code
  end
  return { key = key, alg = alg, kid = kid, secret = key.type == "secret" }
end

local function may_verify(operations)
  if operations == nil then
    return true
  end
  for _, name in ipairs(type(operations) == "table" and operations or {}) do
    if name == "verify" or name == "sign" then
      return true
    end
  end
  return false
end

local function is_for_signatures(jwk)
  return (jwk.use == nil or jwk.use == "sig") and may_verify(jwk.key_ops)
end

local function entry_of_jwk(jwk, alg)
  if not is_object(jwk) then
    return refuse "a JWK must be an object"
  end
  if not is_for_signatures(jwk) then
    return refuse("the JWK is not for signatures", "unsupported")
  end
  if jwk.alg ~= nil and not ALGORITHMS[jwk.alg] then
    return refuse("the JWK has an algorithm that is not known here", "unsupported")
  end
  if jwk.kid ~= nil and type(jwk.kid) ~= "string" then
    return refuse "the kid of a JWK must be a string"
  end
  local key, err, code = crypto.key(jwk)
  if not key then
    return nil, err, code
  end
  return entry_of(key, jwk.alg or alg, jwk.kid)
end

--- Names that more than one key for signatures has: nobody can say which of them is meant.
local function names_used_twice(keys)
  local seen, twice = {}, {}
  for _, jwk in ipairs(keys) do
    if is_object(jwk) and type(jwk.kid) == "string" and is_for_signatures(jwk) then
      local name = tostring(jwk.kty) .. " " .. jwk.kid
      twice[jwk.kid] = twice[jwk.kid] or seen[name]
      seen[name] = true
    end
  end
  return twice
end

--- RFC 7517, 5: keys of a set that cannot be used here are passed over. The list, and why the last
--- one was passed over.
local function usable_entries(keys, alg)
  local list, why, why_code = {}, nil, nil
  local twice = names_used_twice(keys)
  for _, jwk in ipairs(keys) do
    local entry, err, code = entry_of_jwk(jwk, alg)
    if not entry then
      why, why_code = err, code
    elseif twice[entry.kid or 0] then
      why, why_code = "more than one key has the kid " .. entry.kid, "invalid"
    else
      list[#list + 1] = entry
    end
  end
  return list, why, why_code
end

local function entries_of_set(set, alg)
  if type(set.keys) ~= "table" then
    return refuse "keys: an array expected"
  end
  if #set.keys > KEYS_MAX then
    return refuse(("a set of more than %d keys"):format(KEYS_MAX), "limit")
  end
  local list, why, code = usable_entries(set.keys, alg)
  if #list == 0 then
    return refuse("the set has no key that can be used" .. (why and ": " .. why or ""), code)
  end
  -- Whoever knows the secret could sign for all the others' owners.
  for _, entry in ipairs(list) do
    if entry.secret ~= list[1].secret then
      return refuse "secrets and public keys in one set"
    end
  end
  return list
end

local function one(entry, err, code)
  if not entry then
    return nil, err, code
  end
  return { entry }
end

local function entries_of_json(value, alg)
  if not is_object(value) then
    return refuse "a JWK or a set of them expected"
  end
  if value.keys ~= nil then
    return entries_of_set(value, alg)
  end
  return one(entry_of_jwk(value, alg))
end

local function entries_of_text(text, alg)
  if #text > SET_BYTES_MAX then
    return refuse("keys longer than 262144 bytes", "limit")
  end
  local is_secret = alg ~= nil and alg:sub(1, 2) == "HS"
  local is_pem = text:find("-----BEGIN", 1, true) ~= nil
  if text:find("^%s*{") then
    local value, err, code = decode(text, STRICT)
    if value == nil then
      return nil, err, code
    end
    return entries_of_json(value, alg)
  end
  if is_secret and is_pem then
    return refuse("a PEM is no secret: who has the public key could sign", "wrong_type")
  end
  if not is_secret and not is_pem then
    return refuse("neither PEM nor JSON; a secret wants alg = \"HS256\", \"HS384\" or \"HS512\"",
      "wrong_type")
  end
  local key, err, code = (is_pem and crypto.key or crypto.secret)(text)
  if not key then
    return nil, err, code
  end
  return one(entry_of(key, alg))
end

local KEYS_OPTIONS = { alg = true, cache = true }

local function check_cache(cache, what)
  if cache ~= nil and (type(cache) ~= "number" or cache < 0 or cache > 1000000) then
    error(what .. ": cache: a number from 0 to 1000000 expected", 3)
  end
end

--- PEM, JWK, JWKS, a secret, or a key of gw.crypto.
function M.keys(source, options)
  options = check_options(options, KEYS_OPTIONS, "jwt.keys", 2)
  check_alg(options.alg, "jwt.keys")
  check_cache(options.cache, "jwt.keys")
  local list, err, code
  if type(source) == "userdata" then
    list, err, code = one(entry_of(source, options.alg))
  elseif type(source) == "table" then
    list, err, code = entries_of_json(source, options.alg)
  else
    check(source, "string", "jwt.keys", 1, 2)
    list, err, code = entries_of_text(source, options.alg)
  end
  if not list then
    return nil, err, code
  end
  return new_set(list, options)
end

--------------------------------------------------------------------------------
-- Sets of keys by URL

local REMOTE_OPTIONS = { alg = true, cache = true, timeout = true, retry = true, miss = true,
  stale = true, age_min = true, age_max = true }

local AGE_DEFAULT = 600

--- Seconds that an answer may be used, by its Cache-Control.
local function age_of(response, options)
  local control = response.headers["cache-control"]
  control = type(control) == "table" and table.concat(control, ",") or control or ""
  control = control:lower()
  local age = tonumber(control:match("max%-age=\"?(%d+)")) or AGE_DEFAULT
  if control:find("no%-store") or control:find("no%-cache") then
    age = 0
  end
  return math.min(math.max(age, options.age_min), options.age_max)
end

local function take(self, response)
  local options = self.options
  if response.status ~= 200 then
    return refuse(("%s answered with %d"):format(self.url, response.status), "protocol")
  end
  if response.body ~= self.text then
    local value, err, code = decode(response.body, STRICT)
    if value == nil then
      return nil, err, code
    end
    local list
    list, err, code = entries_of_json(value, options.alg)
    if not list then
      return nil, err, code
    end
    for _, entry in ipairs(list) do
      if entry.secret then
        return refuse "a secret among published keys"
      end
    end
    self.list, self.text = list, response.body
    forget(self)
  end
  self.fresh_until = time.monotonic() + age_of(response, options)
  return true
end

--- Runs in a task of its own: the request that asked first may end before the answer is here.
local function fetch(self)
  local options = self.options
  -- Whatever goes wrong: who waits must not wait for ever.
  local raised, ok, err, code = pcall(function()
    local response, why, its = http.get(self.url, { timeout = options.timeout,
      max_body = SET_BYTES_MAX, headers = { accept = "application/json" } })
    if not response then
      return nil, why, its
    end
    return take(self, response)
  end)
  if not raised then
    ok, err, code = nil, ok, "system"
  end
  self.fetched = time.monotonic()
  if ok then
    self.failed, self.failed_until = nil, 0
  else
    self.failed, self.failed_code = err, code
    self.failed_until = time.monotonic() + options.retry
  end
  self.fetching = nil
  self.gate:open()
end

--- One fetch at a time. A fetch whose task died with its instance counts until its time is over.
local function start(self, now)
  if self.fetching and now < self.fetching then
    return true
  end
  local ok, err, code = timer.after(0, fetch, self)
  if not ok then
    return nil, err, code
  end
  self.fetching = now + self.options.timeout + 1
  return true
end

local function start_and_wait(self, now)
  local ok, err, code = start(self, now)
  if not ok then
    return nil, err, code
  end
  if not self.gate:wait(self.options.timeout + 1) then
    return refuse(self.url .. " did not answer", "timeout")
  end
  return true
end

--- The keys are there afterwards, or nil and why not.
local function freshen(self)
  local now = time.monotonic()
  if now < self.fresh_until then
    return true
  end
  local failing = now < self.failed_until
  if self.list and now < self.fresh_until + self.options.stale then
    if not failing then
      start(self, now)
    end
    return true -- old keys serve while new ones are on their way
  end
  if not failing then
    local ok, err, code = start_and_wait(self, now)
    if not ok then
      return nil, err, code
    end
  end
  if self.list and not self.failed then
    return true
  end
  return nil, "jwt: keys: " .. tostring(self.failed), self.failed_code
end

--- A kid that is not there may be a new one; but strangers may also send any, so rarely.
local function missed(self)
  if not self.url then
    return false
  end
  local now = time.monotonic()
  if not (self.fetching and now < self.fetching) then
    if now < self.miss_until or now < self.failed_until or now < self.fetched + 1 then
      return false
    end
    self.miss_until = now + self.options.miss
  end
  return start_and_wait(self, now) ~= nil
end

local function seconds(options, name, default, max)
  local value = options[name]
  if value == nil then
    return default
  end
  if type(value) ~= "number" or not (value >= 0 and value <= max) then
    error(("jwt.remote: %s: seconds from 0 to %d expected"):format(name, max), 3)
  end
  return value
end

--- Keys that are fetched when they are wanted, and again as Cache-Control says.
function M.remote(url, options)
  check(url, "string", "jwt.remote", 1, 2)
  if not url:find("^https?://[^%s]+$") then
    error("jwt.remote: an URL with http or https expected", 2)
  end
  options = check_options(options, REMOTE_OPTIONS, "jwt.remote", 2)
  check_alg(options.alg, "jwt.remote")
  check_cache(options.cache, "jwt.remote")
  local self = new_set(nil, options)
  self.url, self.gate = url, new_gate()
  self.fresh_until, self.failed_until, self.miss_until, self.fetched = 0, 0, 0, 0
  self.options = { alg = options.alg,
    timeout = seconds(options, "timeout", 5, 60),
    retry = seconds(options, "retry", 10, 3600),
    miss = seconds(options, "miss", 30, 86400),
    stale = seconds(options, "stale", 3600, 604800),
    age_min = seconds(options, "age_min", 30, 86400),
    age_max = seconds(options, "age_max", 86400, 604800) }
  return self
end

--------------------------------------------------------------------------------
-- Tokens

--- The parts as text: header (a table), what was signed, signature, payload.
local function split(token)
  if #token > TOKEN_BYTES_MAX then
    return refuse(("longer than %d bytes"):format(TOKEN_BYTES_MAX), "limit")
  end
  local signed, head, body, sign = token:match("^(([%w_-]+)%.([%w_-]*))%.([%w_-]+)$")
  if not signed then
    return refuse "not three parts of base64url"
  end
  local head_text, payload, signature = unpack_url(head), unpack_url(body), unpack_url(sign)
  if not (head_text and payload and signature) then
    return refuse "wrong base64url"
  end
  local header, err = decode(head_text, STRICT)
  if not is_object(header) then
    return refuse("wrong header" .. (err and ": " .. err or ""))
  end
  return { header = header, head_text = head_text, payload = payload, signed = signed,
    signature = signature }
end

local function check_header(header)
  if type(header.alg) ~= "string" then
    return refuse "wrong header: alg"
  end
  if header.crit ~= nil or header.b64 ~= nil then
    return refuse("the header wants what is not known here (crit)", "unsupported")
  end
  if header.kid ~= nil and type(header.kid) ~= "string" then
    return refuse "wrong header: kid"
  end
  return true
end

--- The one key that the header means. Third: no such kid.
local function choose(self, header)
  local kid, alg = header.kid, header.alg
  local found, other_alg
  for round = 1, 2 do
    for _, entry in ipairs(self.list) do
      local named = entry.kid == kid
      if round == 2 then
        named = kid == nil or entry.kid == nil
      end
      if named and entry.alg ~= alg then
        other_alg = true
      elseif named then
        if found and found ~= entry then
          return nil, "more than one key fits the token", false
        end
        found = entry
      end
    end
    if found then
      return found
    end
  end
  if other_alg then
    return nil, "the token's alg is not that of the key", false
  end
  return nil, "no key with this kid", true
end

local function verify_signature(self, token)
  local parts, err, code = split(token)
  if not parts then
    return nil, err, code
  end
  local ok
  ok, err, code = check_header(parts.header)
  if not ok then
    return nil, err, code
  end
  local entry, why, unknown = choose(self, parts.header)
  if not entry and unknown and missed(self) then
    entry, why = choose(self, parts.header)
  end
  if not entry then
    return refuse(why)
  end
  ok, err, code = entry.key:verify(entry.alg, parts.signed, parts.signature)
  if not ok then
    return nil, "jwt: " .. err, code
  end
  return parts, entry
end

--- { payload, head_text } of a token with a good signature.
local function open_token(self, token)
  if self.url then
    local ok, err, code = freshen(self)
    if not ok then
      return nil, err, code
    end
  end
  if self.cache_max == 0 then
    return verify_signature(self, token)
  end
  if #token > TOKEN_BYTES_MAX then
    return refuse(("longer than %d bytes"):format(TOKEN_BYTES_MAX), "limit")
  end
  local hash = sha256(token, "raw")
  local found = self.fresh[hash]
  if found then
    return found
  end
  found = self.old[hash]
  if not found then
    local parts, err, code = verify_signature(self, token)
    if not parts then
      return nil, err, code
    end
    found = { payload = parts.payload, head_text = parts.head_text }
  end
  remember(self, hash, found)
  return found
end

--------------------------------------------------------------------------------
-- Claims

local function is_one_of(value, wanted)
  if type(wanted) ~= "table" then
    return value == wanted
  end
  for _, one_of in ipairs(wanted) do
    if value == one_of then
      return true
    end
  end
  return false
end

local function is_moment(value)
  return type(value) == "number" and value > -HUGE and value < HUGE
end

local function is_not_yet(moment, now, leeway)
  return moment ~= nil and now < moment - leeway
end

local function is_over(moment, now, leeway)
  return moment ~= nil and now >= moment + leeway
end

local function check_times(claims, options, now)
  local leeway, max_age = options.leeway or 0, options.max_age
  if is_over(claims.exp, now, leeway) then
    return refuse "expired"
  end
  if is_not_yet(claims.nbf, now, leeway) then
    return refuse "not valid yet"
  end
  if is_not_yet(claims.iat, now, leeway) then
    return refuse "issued in the future"
  end
  if max_age and (not claims.iat or is_over(claims.iat + max_age, now, leeway)) then
    return refuse "issued too long ago"
  end
  return true
end

local function check_kinds(claims)
  for _, name in ipairs { "exp", "nbf", "iat" } do
    if claims[name] ~= nil and not is_moment(claims[name]) then
      return refuse(name .. ": a number expected")
    end
  end
  for _, name in ipairs { "iss", "sub", "jti" } do
    if claims[name] ~= nil and type(claims[name]) ~= "string" then
      return refuse(name .. ": a string expected")
    end
  end
  return true
end

local function check_audience(aud, wanted)
  if wanted == false then
    return true
  end
  if wanted == nil then
    if aud == nil then
      return true
    end
    return refuse "meant for an audience, and none was named (audience)"
  end
  if type(aud) == "string" then
    aud = { aud }
  end
  for _, name in ipairs(type(aud) == "table" and aud or {}) do
    if type(name) == "string" and is_one_of(name, wanted) then
      return true
    end
  end
  return refuse "another audience"
end

local function check_claims(claims, options)
  for _, name in ipairs(options.required or {}) do
    if claims[name] == nil then
      return refuse(("the claim %s is missing"):format(name))
    end
  end
  local ok, err, code = check_kinds(claims)
  if not ok then
    return nil, err, code
  end
  if options.issuer ~= nil and not is_one_of(claims.iss, options.issuer) then
    return refuse "another issuer"
  end
  if options.subject ~= nil and not is_one_of(claims.sub, options.subject) then
    return refuse "another subject"
  end
  ok, err, code = check_times(claims, options, options.now or time.now())
  if not ok then
    return nil, err, code
  end
  return check_audience(claims.aud, options.audience)
end

--- The kinds of the options of verify.
local VERIFY_OPTIONS = { issuer = "string|table", audience = "string|table|boolean",
  subject = "string|table", required = "table", typ = "string", leeway = "number",
  max_age = "number", now = "number" }

local checked = setmetatable({}, { __mode = "k" }) -- tables of options that were looked at

local function check_verify(options, level)
  if checked[options] then
    return
  end
  check(options, "table", "verify", 3, level + 1)
  for name, value in pairs(options) do
    local kinds = VERIFY_OPTIONS[name]
    if not kinds then
      error(("jwt.verify: there is no option '%s'"):format(tostring(name)), level + 1)
    end
    if not ("|" .. kinds .. "|"):find("|" .. type(value) .. "|", 1, true) or value == true then
      error(("jwt.verify: %s: %s expected"):format(name, kinds), level + 1)
    end
  end
  if options.leeway and not (options.leeway >= 0 and options.leeway <= LEEWAY_MAX) then
    error(("jwt.verify: leeway: 0 to %d seconds expected"):format(LEEWAY_MAX), level + 1)
  end
  checked[options] = true
end

local NONE = {}

local function verify(self, token, options)
  local found, err, code = open_token(self, token)
  if not found then
    return nil, err, code
  end
  local claims
  claims, err = decode(found.payload, STRICT)
  if not is_object(claims) then
    return refuse("the claims are no object" .. (err and ": " .. err or ""))
  end
  local header = decode(found.head_text, STRICT)
  if options.typ and (type(header.typ) ~= "string"
    or header.typ:lower():gsub("^application/", "") ~= options.typ:lower()) then
    return refuse "another typ"
  end
  local ok
  ok, err, code = check_claims(claims, options)
  if not ok then
    return nil, err, code
  end
  return claims, header
end

local function check_set(self, what)
  if type(self) ~= "table" or not rawget(self, "fresh") then
    error(("bad argument to '%s' (keys of gw.jwt.keys or gw.jwt.remote expected, got %s)"):format(
      what, type(self)), 3)
  end
end

--- keys:verify(token, options) -> claims, header
function keyset:verify(token, options)
  check_set(self, "verify")
  check(token, "string", "verify", 1, 2)
  if options ~= nil then
    check_verify(options, 2)
  end
  return verify(self, token, options or NONE)
end

--- jwt.verify(token, keys, options) -> claims, header
function M.verify(token, keys, options)
  check(token, "string", "jwt.verify", 1, 2)
  check_set(keys, "jwt.verify")
  if options ~= nil then
    check_verify(options, 2)
  end
  return verify(keys, token, options or NONE)
end

--- The bytes that were signed, whatever they are, and the header. Nothing is said about claims.
function M.verify_bytes(token, keys)
  check(token, "string", "jwt.verify_bytes", 1, 2)
  check_set(keys, "jwt.verify_bytes")
  local found, err, code = open_token(keys, token)
  if not found then
    return nil, err, code
  end
  return found.payload, (decode(found.head_text, STRICT))
end

--- What anybody may have written: to find out whose keys to ask, never to trust.
function M.read_unverified(token)
  check(token, "string", "jwt.read_unverified", 1, 2)
  local parts, err, code = split(token)
  if not parts then
    return nil, err, code
  end
  local claims
  claims, err = decode(parts.payload, STRICT)
  if not is_object(claims) then
    return refuse("the claims are no object" .. (err and ": " .. err or ""))
  end
  return claims, parts.header
end

local SIGN_OPTIONS = { alg = true, kid = true, typ = true, header = true, expires_in = true }

--- The claims of a new token; the caller's table is left alone.
local function with_times(claims, expires_in)
  local copy = {}
  for name, value in pairs(claims) do
    copy[name] = value
  end
  local now = math.floor(time.now())
  copy.iat = copy.iat or now
  copy.exp = copy.exp or now + expires_in
  return copy
end

local function header_of(options, entry)
  local header = {}
  for name, value in pairs(options.header or {}) do
    header[name] = value
  end
  header.alg, header.typ = entry.alg, options.typ or header.typ or "JWT"
  header.kid = options.kid or header.kid or entry.kid
  if header.crit ~= nil or header.b64 ~= nil then
    error("jwt.sign: header: crit and b64 are not known here", 3)
  end
  return header
end

--- jwt.sign(claims, key of gw.crypto | set with one private key, options) -> token
function M.sign(claims, key, options)
  check(claims, "table", "jwt.sign", 1, 2)
  options = check_options(options, SIGN_OPTIONS, "jwt.sign", 3)
  check_alg(options.alg, "jwt.sign")
  local entry, err, code
  if type(key) == "userdata" then
    entry, err, code = entry_of(key, options.alg)
  else
    check_set(key, "jwt.sign")
    entry = key.list and key.list[1]
    if not entry or key.list[2] then
      return refuse("a set with one key expected", "wrong_type")
    end
    if options.alg and options.alg ~= entry.alg then
      return refuse("alg is not that of the key", "wrong_type")
    end
  end
  if not entry then
    return nil, err, code
  end
  if options.expires_in ~= nil then
    check(options.expires_in, "number", "jwt.sign", 3, 2)
    claims = with_times(claims, options.expires_in)
  end
  local head, body, signature
  head, err, code = encode(header_of(options, entry))
  if not head then
    return nil, err, code
  end
  body, err, code = encode(claims)
  if not body then
    return nil, err, code
  end
  local signed = pack_url(head) .. "." .. pack_url(body)
  signature, err, code = entry.key:sign(entry.alg, signed)
  if not signature then
    return nil, "jwt: " .. err, code
  end
  return signed .. "." .. pack_url(signature)
end

--- Called once by lib_jwt.c.
function M.open(gw, gate)
  decode, encode, is_array = gw.json.decode, gw.json.encode, gw.json.is_array
  unpack_url, pack_url = gw.base64.decode_url, gw.base64.encode_url
  sha256 = gw.crypto.sha256
  crypto, http, time, timer, new_gate = gw.crypto, gw.http, gw.time, gw.timer, gate
  return { keys = M.keys, remote = M.remote, sign = M.sign, verify = M.verify,
    verify_bytes = M.verify_bytes, read_unverified = M.read_unverified }
end

return M
