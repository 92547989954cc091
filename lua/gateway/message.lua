--- The driver of `message`: runs the plugins of a chain on one message of a WebSocket, each on what
--- the one before it has made of it.
local M = {}

local type, error = type, error

local function bad(value)
  error(("message returned a %s: a string, false or nil is expected"):format(type(value)), 0)
end

--- What a plugin returned.
local function taken(host, kept, r, kind)
  local text = kept.text
  if kind ~= nil and type(kind) ~= "number" then -- a number is the count of a gsub()
    if kind ~= "text" and kind ~= "binary" then
      error('message: "text" or "binary" is expected behind the data', 0)
    end
    text = kind == "text"
  end
  if text and not host.is_utf8(r) then
    error("message returned a text that is not UTF-8", 0)
  end
  kept.data, kept.text = r, text
end

--- `msg` is the plugin's own: what it writes there goes nowhere, and that should be heard.
local function untouched(msg, kept)
  if msg.data ~= kept.data or msg.type ~= (kept.text and "text" or "binary") then
    error("message: msg is not changed in place: return the new data", 0)
  end
end

local function run(host, step, ctx, kept)
  local msg = { from = kept.from, type = kept.text and "text" or "binary", data = kept.data }
  local r, kind = step.fn(step.conf, ctx, msg)
  untouched(msg, kept)
  if type(r) == "string" then
    taken(host, kept, r, kind)
  elseif r == false then
    kept.data = false
  elseif r ~= nil then
    bad(r)
  end
end

--- A function (slot index, first position, data, is text, from the upstream) -> data or false, is
--- text; or nil, nil, code, reason of a Close. data nil: go on behind a plugin that was ended.
function M.build(steps, tools)
  local host, slots = tools.host, tools.slots
  local wanted, guarded = tools.wanted, tools.guarded

  return function(i, from, data, text, from_upstream)
    local slot = slots[i]
    local ctx = slot.ctx
    -- The message as it is: behind a plugin that was ended by its deadline we go on with it.
    local kept = ctx.gw_message_
    if data then
      kept = { data = data, text = text, from = from_upstream and "upstream" or "client" }
      ctx.gw_message_ = kept
    end
    for n = from, #steps do
      local step = steps[n]
      slot.instance, slot.position = step.number, n
      if not step.when or wanted(ctx, step.number, step.when) then
        ctx.state = step.state
        if step.skip then
          guarded(run, host, step, ctx, kept)
        else
          run(host, step, ctx, kept)
        end
        if slot.verdict ~= 0 then
          ctx.gw_message_ = nil
          return nil, nil, ctx.gw_close_code_, ctx.gw_close_reason_
        end
        if not kept.data then
          break
        end
      end
    end
    ctx.gw_message_ = nil
    return kept.data, kept.text
  end
end

return M
