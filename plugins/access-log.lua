--- Writes a line of JSON for each request, when its answer has left.
---
--- The worker's helper threads write: no request waits for the disk. What comes faster than the
--- disk takes it, and does not fit into `buffer`, is dropped and counted in
--- moongate_access_log_lost_total (the log says so, too, at most once a minute). A worker that
--- ends writes what it holds; one that is killed loses at most its last tenth of a second.
--- Several routes and all workers may write to one file: lines never mix.
---
--- Rotation: rename the file. Each worker goes over to a new one with its next lines, and at once
--- on SIGUSR1; its user must be allowed to make files in that folder.
---
--- Values that clients choose are escaped and cut at 4096 bytes; what carries secrets by its name
--- (authorization, cookies, keys, tokens …) is never written, neither as header nor in a query.
--- A field that has no value for a request is left out.
---
---   plugins:
---     - access-log: { path: /var/log/moongate/access.log, headers: [ accept-language ] }

local ALL = { "time", "id", "client", "method", "host", "path", "query", "status", "grpc_status",
  "bytes_in", "bytes_out", "duration_ms", "upstream", "upstream_ms", "tries", "route", "consumer",
  "error", "aborted", "user_agent", "referer" }
local DEFAULT = {}
for _, name in ipairs(ALL) do
  DEFAULT[#DEFAULT + 1] = name ~= "query" and name or nil
end

local plugin = {
  name = "access-log",
  priority = 7000,
  schema = {
    type = "object",
    properties = {
      path = {
        type = "string",
        default = "stdout",
        minLength = 1,
        description = "A file, from the conf's folder on; or stdout, stderr.",
      },
      fields = {
        type = "array",
        items = { type = "string", enum = ALL },
        minItems = 1,
        default = DEFAULT,
        description = "What is written. `query` only when it is named here.",
      },
      headers = {
        type = "array",
        items = { type = "string", pattern = "^[A-Za-z0-9-]+$" },
        maxItems = 32,
        description = "Request headers to write besides, as an object `headers`.",
      },
      buffer = {
        type = "string",
        pattern = "^[1-9][0-9]{0,5}[km]$",
        default = "1m",
        description = "What a worker holds of the file before lines are lost: 64k to 256m.",
      },
    },
  },
}

local SECRET_WORDS = { "authorization", "cookie", "key", "token", "secret", "passw", "session",
  "signature", "credential", "jwt" }
local SECRET_NAMES = { sig = true, code = true, pwd = true, auth = true, state = true, sid = true }
local HIDDEN = "[hidden]"

local function is_secret(name)
  name = name:lower()
  for _, word in ipairs(SECRET_WORDS) do
    if name:find(word, 1, true) then
      return true
    end
  end
  return SECRET_NAMES[name] or false
end

--- a=1&api_key=x -> a=1&api_key=[hidden]. A name may be percent-encoded to get past us.
local function query_shown(text)
  return (text:gsub("([^&;=]+)=([^&;]*)", function(name, value)
    local plain = name:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
    return name .. "=" .. (is_secret(plain) and HIDDEN or value)
  end))
end

local function bytes_of(text)
  local count, unit = text:match("^(%d+)(%a)$")
  return tonumber(count) * (unit == "k" and 1024 or 1024 * 1024)
end

--- What the runtime knows of a request by itself, and what is asked of Lua.
local function fields_of(conf)
  local facts, own, seen = {}, {}, {}
  for _, name in ipairs(conf.fields) do
    if seen[name] then
      error(("fields: %s stands there twice"):format(name), 0)
    end
    seen[name] = true
    if name == "consumer" or name == "query" then
      own[name] = true
    else
      facts[#facts + 1] = name
    end
  end
  return facts, own
end

local function headers_of(conf)
  local headers = {}
  for _, name in ipairs(conf.headers or {}) do
    headers[name:lower()] = is_secret(name)
  end
  return headers
end

function plugin.init(conf)
  local facts, own = fields_of(conf)
  local bytes = bytes_of(conf.buffer)
  if bytes < 65536 or bytes > 268435456 then
    error("buffer: 64k to 256m is expected", 0)
  end
  local writer, err = gw.logfile.open(conf.path, {
    request = facts,
    headers = headers_of(conf),
    more = { "consumer", "query" },
    buffer = bytes,
    counter = "moongate_access_log_lost_total",
  })
  if not writer then
    error("path: " .. err, 0)
  end
  return { writer = writer, consumer = own.consumer, query = own.query }
end

function plugin.log(_, ctx)
  local state = ctx.state
  local query
  if state.query then
    query = ctx.request.raw_query
    query = query and query ~= "" and query_shown(query) or nil
  end
  state.writer:request(ctx, state.consumer and ctx.consumer or nil, query)
end

return plugin
