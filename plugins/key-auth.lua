--- Lets in who shows a known key, and says who it is.
---
--- A request without a key, or with one that nobody has, gets 401. The consumer's name goes to the
--- upstream in a header that clients cannot set themselves. A key may be written as the SHA-256 of
--- it ("sha256:" and 64 hex digits), so that the conf holds no secret:
---   printf %s "$KEY" | sha256sum
---
---   plugins:
---     - key-auth: { keys: { alice: "${ALICE_KEY}", bob: [ old-key, new-key ] } }

local DIGEST = "^sha256:(%x+)$"

local plugin = {
  name = "key-auth",
  priority = 2500,
  identity_headers = { "x-consumer" },
  schema = {
    type = "object",
    required = { "keys" },
    properties = {
      keys = {
        type = "object",
        description = "Consumers, each with a key or a list of keys.",
        additionalProperties = {
          type = { "string", "array" },
          minLength = 1,
          minItems = 1,
          items = { type = "string", minLength = 1 },
        },
      },
      header = {
        type = "string",
        default = "x-api-key",
        pattern = "^[A-Za-z0-9-]+$",
        description = "The request header that carries the key.",
      },
      query = {
        type = "string",
        pattern = "^[A-Za-z0-9_.-]+$",
        description = "A query parameter that may carry it instead.",
      },
      hide = {
        type = "boolean",
        default = true,
        description = "Take the key off the request before the upstream sees it.",
      },
      realm = {
        type = "string",
        default = "moongate",
        pattern = "^[A-Za-z0-9 ._-]*$",
        description = "For WWW-Authenticate.",
      },
    },
  },
}

--- Keys are found by hashing, never compared byte by byte: how long it takes tells nothing.
local function add(state, consumer, key)
  local digest = key:match(DIGEST)
  if digest and #digest ~= 64 then
    error(("keys: %s: sha256: is followed by 64 hex digits"):format(consumer), 0)
  end
  local text = digest and digest:lower() or key
  if state.has_digests and not digest then
    text = gw.crypto.sha256(key, "hex") -- the same key may be there in both forms
  end
  local other = state.owners[text]
  if other and other ~= consumer then
    error(("keys: %s and %s have the same key"):format(other, consumer), 0)
  end
  state.owners[text] = consumer
  if digest then
    state.digests[text] = consumer
  else
    state.keys[key] = consumer
  end
end

local function list_of(keys)
  return type(keys) == "table" and keys or { keys }
end

function plugin.init(conf)
  local state = { keys = {}, digests = {}, has_digests = false, owners = {} }
  local names = {}
  for consumer, keys in pairs(conf.keys) do
    names[#names + 1] = consumer
    for _, key in ipairs(list_of(keys)) do
      state.has_digests = state.has_digests or key:find(DIGEST) ~= nil
    end
  end
  table.sort(names) -- so that a fault is told in the same words each time
  for _, consumer in ipairs(names) do
    local keys = conf.keys[consumer]
    if not consumer:match("^[%w%._@:-]+$") then
      error(("keys: %q cannot stand in a header: use letters, digits and . _ @ : -"):format(consumer), 0)
    end
    for _, key in ipairs(list_of(keys)) do
      add(state, consumer, key)
    end
  end
  state.owners = nil
  if #names == 0 then
    error("keys: without any, nobody could get in", 0)
  end
  state.challenge = {
    title = "A valid API key is needed",
    headers = { ["www-authenticate"] = ('ApiKey realm="%s"'):format(conf.realm) },
  }
  return state
end

local function consumer_of(state, key)
  local consumer = state.keys[key]
  if not consumer and state.has_digests then
    consumer = state.digests[gw.crypto.sha256(key, "hex")]
  end
  return consumer
end

--- The query without one parameter; the rest stays as the client wrote it.
local function query_without(query, left_out)
  local rest = {}
  for piece in query:gmatch("[^&]+") do
    local name = piece:match("^[^=]*"):gsub("%%(%x%x)", function(hex)
      return string.char(tonumber(hex, 16))
    end)
    if name ~= left_out then
      rest[#rest + 1] = piece
    end
  end
  return table.concat(rest, "&")
end

function plugin.access(conf, ctx)
  local request, state = ctx.request, ctx.state
  local headers = request.headers
  local key = headers[conf.header]
  local in_query = not key and conf.query
  if in_query then
    key = request.query[conf.query]
  end
  local consumer = key and consumer_of(state, key)
  if not consumer then
    return ctx:problem(401, state.challenge)
  end
  if conf.hide then
    headers[conf.header] = nil
    -- A client that sends it in both places has it taken off both.
    if conf.query and (in_query or request.query[conf.query]) then
      request.query = query_without(request.raw_query, conf.query)
    end
  end
  ctx.consumer = consumer
  headers["x-consumer"] = consumer
end

return plugin
