--- Keeps a chat civil: what clients say may be no longer than `longest`, no faster than `rate`, and
--- some words are starred out. What the server says passes.
local plugin = {
  name = "chat-guard",
  priority = 1500,
  schema = {
    type = "object",
    properties = {
      longest = { type = "integer", minimum = 1, default = 500,
        description = "Bytes of a message. Above: Close 1009." },
      rate = { type = "number", exclusiveMinimum = 0, default = 5,
        description = "Messages a second, and at once. Above: Close 1008." },
      words = { type = "array", items = { type = "string", pattern = "^\\w+$" }, default = {},
        description = "Starred out, in any case of their letters." },
    },
  },
}

function plugin.init(conf)
  return { pattern = #conf.words > 0 and "(?i)\\b(?:" .. table.concat(conf.words, "|") .. ")\\b" }
end

--- A bucket of each WebSocket's own: ctx is the same from its first message to its last.
local function too_fast(conf, ctx)
  local now = gw.time.monotonic()
  local bucket = ctx.chat_bucket or { tokens = conf.rate, at = now }
  bucket.tokens = math.min(conf.rate, bucket.tokens + (now - bucket.at) * conf.rate) - 1
  bucket.at = now
  ctx.chat_bucket = bucket
  return bucket.tokens < 0
end

function plugin.message(conf, ctx, msg)
  if msg.from == "upstream" then
    return
  end
  if msg.type ~= "text" then
    return ctx:close(1003, "text, please")
  end
  if #msg.data > conf.longest then
    return ctx:close(1009, "too long")
  end
  if too_fast(conf, ctx) then
    return ctx:close(1008, "too fast")
  end
  if ctx.state.pattern then
    return gw.regex.gsub(msg.data, ctx.state.pattern, "***")
  end
end

return plugin
