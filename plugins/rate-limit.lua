--- Lets through so many requests in a time, and answers 429 to the rest.
---
--- token-bucket: `rate` fills a bucket of `burst` tokens, each request takes one.
--- sliding-window: at most the count of `rate` in any span of its unit, exact.
--- The counts are in shared memory: all workers see the same, and they survive reloads and a
--- worker that dies. The dictionary must be in the conf:  shared: { limits: 16m }
---
---   plugins:
---     - rate-limit: { rate: 100/m, by: consumer, consumers: { alice: { rate: 1000/m } } }

local UNITS = { s = 1, m = 60, h = 3600, d = 86400 }
local KEPT_MAX = 10000 -- keys whose text is remembered

local rate_schema = {
  type = "string",
  pattern = "^[1-9][0-9]{0,8}/[smhd]$",
  description = "Requests in a second, minute, hour or day: 100/s.",
}
local burst_schema = {
  type = "integer",
  minimum = 1,
  maximum = 1000000000,
  description = "Tokens that a bucket holds; default: the count of `rate`.",
}

local plugin = {
  name = "rate-limit",
  priority = 2000,
  schema = {
    type = "object",
    required = { "rate" },
    properties = {
      rate = rate_schema,
      burst = burst_schema,
      algorithm = {
        type = "string",
        enum = { "token-bucket", "sliding-window" },
        default = "token-bucket",
        description = "How it is counted.",
      },
      by = {
        type = "string",
        enum = { "ip", "consumer", "route", "header", "global" },
        default = "ip",
        description = "Who has a count of their own. Without a consumer or the header: the address.",
      },
      header = {
        type = "string",
        pattern = "^[A-Za-z0-9-]+$",
        description = "For `by: header`: its name.",
      },
      consumers = {
        type = "object",
        description = "Other rates for some consumers.",
        additionalProperties = {
          type = "object",
          required = { "rate" },
          properties = { rate = rate_schema, burst = burst_schema },
        },
      },
      name = {
        type = "string",
        pattern = "^[A-Za-z0-9_.-]+$",
        description = "Uses of the plugin with the same name count together; "
          .. "default: each use by itself.",
      },
      dictionary = {
        type = "string",
        default = "limits",
        description = "The shared dictionary that holds the counts.",
      },
      headers = {
        type = "boolean",
        default = true,
        description = "Tell clients by X-RateLimit-Limit and X-RateLimit-Remaining.",
      },
      on_full = {
        type = "string",
        enum = { "allow", "refuse" },
        default = "allow",
        description = "When the dictionary cannot count: let pass, or answer 503.",
      },
    },
  },
}

local function limit_of(conf)
  local count, unit = conf.rate:match("^(%d+)/(%a)$")
  count = tonumber(count)
  return {
    count = count,
    window = UNITS[unit],
    rate = count / UNITS[unit],
    burst = conf.burst or count,
    text = tostring(count),
  }
end

local function check_burst(conf, burst)
  if burst and conf.algorithm == "sliding-window" then
    error("burst: only for token-bucket: a window holds the count of `rate`", 0)
  end
end

function plugin.init(conf, old)
  if conf.by == "header" and not conf.header then
    error("by: header needs the key `header`", 0)
  end
  check_burst(conf, conf.burst)
  for _, own in pairs(conf.consumers or {}) do
    check_burst(conf, own.burst)
  end
  local state = {
    dictionary = gw.shared[conf.dictionary],
    limit = limit_of(conf),
    consumers = {},
    prefix = (conf.name or gw.instance()) .. ":",
    keys = { ["c/"] = {}, ["ip/"] = {}, ["r/"] = {}, ["h/"] = {}, all = {} },
    kept = 0,
    said = old and old.said or 0,
  }
  for consumer, own in pairs(conf.consumers or {}) do
    state.consumers[consumer] = limit_of(own)
  end
  return state
end

--- The text is the same for each request of one client: it is made once.
local function key_of(state, kind, who)
  local key = state.keys[kind][who]
  if not key then
    if state.kept >= KEPT_MAX then
      for one in pairs(state.keys) do
        state.keys[one] = {}
      end
      state.kept = 0
    end
    key = state.prefix .. kind .. who
    state.keys[kind][who] = key
    state.kept = state.kept + 1
  end
  return key
end

--- What is counted together: kind and name.
local function counted(conf, ctx)
  local by = conf.by
  if by == "consumer" then
    if ctx.consumer then
      return "c/", ctx.consumer
    end
  elseif by == "route" then
    return "r/", ctx.route.name
  elseif by == "header" then
    local value = ctx.request.headers[conf.header]
    -- Clients choose it: what is kept of it is bounded.
    if value and #value <= 256 then
      return "h/", value
    end
  elseif by == "global" then
    return "all", ""
  end
  return "ip/", ctx.request.client_ip
end

local function refuse(conf, ctx, limit, wait)
  local headers = { ["retry-after"] = tostring(math.max(1, math.ceil(wait))) }
  if conf.headers then
    headers["x-ratelimit-limit"] = limit.text
    headers["x-ratelimit-remaining"] = "0"
  end
  return ctx:problem(429, { title = "Too many requests", headers = headers })
end

local function cannot_count(conf, ctx, state, err)
  local now = gw.time.now()
  if now - state.said >= 60 then
    state.said = now
    gw.log.error("the dictionary %s cannot count: %s", conf.dictionary, err)
  end
  if conf.on_full == "refuse" then
    return ctx:problem(503, { title = "Requests cannot be counted now" })
  end
end

local function limit_for(state, ctx)
  local consumer = ctx.consumer
  return consumer and state.consumers[consumer] or state.limit
end

function plugin.access(conf, ctx)
  local state = ctx.state
  local limit = limit_for(state, ctx)
  local key = key_of(state, counted(conf, ctx))
  local allowed, left, wait
  if conf.algorithm == "token-bucket" then
    allowed, left, wait = state.dictionary:take(key, limit.rate, limit.burst)
  else
    allowed, left, wait = state.dictionary:hit(key, limit.count, limit.window)
    left = allowed ~= nil and limit.count - left
  end
  if allowed == nil then
    return cannot_count(conf, ctx, state, wait)
  elseif not allowed then
    return refuse(conf, ctx, limit, wait)
  end
  ctx.rate_limit_left = left - left % 1
end

function plugin.header_filter(conf, ctx)
  local left = ctx.rate_limit_left
  if conf.headers and left then
    local headers = ctx.response.headers
    headers["x-ratelimit-limit"] = limit_for(ctx.state, ctx).text
    headers["x-ratelimit-remaining"] = left
  end
end

return plugin
