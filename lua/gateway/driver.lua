--- One Lua function for each chain and phase that has code: it runs the plugins in order, all of
--- them under the one protected call that is the task's coroutine. The text is made here so that
--- each call has a place of its own, which the compiler can specialise on its plugin.
local ffi = require "gateway.cdef"
local messages = require "gateway.message"

local M = {}

-- A function has at most 60 upvalues; a part of a chain uses 5 a plugin and 10 more.
local PART = 10

local host, slots

--- The answer of a `when:`, asked once for each request and instance.
local function wanted(ctx, number, when)
  local known = ctx.gw_when_ -- answers that are known, by instance number
  if not known then
    known = {}
    ctx.gw_when_ = known
  end
  local answer = known[number]
  if answer == nil then
    answer = when(ctx) and true or false
    known[number] = answer
  end
  return answer
end

local function on_fault(message)
  host.log_fault(message)
  return message
end

--- For `on_error: skip`. True: it went well.
local function guarded(f, ...)
  return xpcall(f, on_fault, ...)
end

--- `return 401` answers elsewhere; here it would let the request through without a word.
local function bad_result(phase, value)
  if type(value) == "number" or phase == "body_filter" then
    error(("%s returned %s: %s"):format(phase, type(value) == "number" and tostring(value)
      or "a " .. type(value), phase == "body_filter" and "a string or nil is expected"
      or "to answer, use ctx:exit() or ctx:problem()"), 0)
  end
end

--- Before a plugin gets a whole body: ctx.response.body (ctx.lua) is this one, and what the plugin
--- assigns is in `gw_body_`. Where its deadline ends it, the next one begins with `gw_chunk_`.
local function hold(ctx, chunk)
  ctx.gw_chunk_, ctx.gw_body_ = chunk, nil
end

local function assigned(ctx)
  return ctx.gw_body_
end

local HEAD = [[
local slots, wanted, guarded, bad_result, hold, assigned, P = ... ]]

-- Bits of script/lib.h.
local IN_BODY_FILTER, IN_BODY_WHOLE = 32, 4194304

local function add(out, text, ...)
  out[#out + 1] = text:format(...)
end

--- One step of body_filter: a piece, or a whole body for the plugins from the first on that wants it so.
local function add_body_step(out, n, step)
  add(out, "if whole then slot.in_ = %d hold(ctx, chunk) end",
    step.buffered and IN_BODY_WHOLE or IN_BODY_FILTER)
  if step.skip then
    add(out, "local ok, r = guarded(f%d, c%d, ctx, chunk, last)", n, n)
    add(out, "if not ok then r = nil elseif r == nil and whole then r = assigned(ctx) end")
  else
    add(out, "local r = f%d(c%d, ctx, chunk, last)", n, n)
    add(out, "if r == nil and whole then r = assigned(ctx) end")
  end
  add(out, "if r ~= nil then chunk = r end")
  add(out, "if type(chunk) ~= 'string' then bad_result('body_filter', chunk) end")
end

local function add_step(out, n, step, phase)
  if step.skip then
    add(out, "local ok, r = guarded(f%d, c%d, ctx)", n, n)
    add(out, "if slot.verdict ~= 0 then return end")
    add(out, "if ok and r then bad_result(%q, r) end", phase)
  else
    add(out, "local r = f%d(c%d, ctx)", n, n)
    add(out, "if slot.verdict ~= 0 then return end")
    add(out, "if r then bad_result(%q, r) end", phase)
  end
end

--- Steps of [from, to]: { fn, conf, state, number, when, skip, buffered, paths }.
local function part_source(steps, from, to, phase, body) -- luacheck: ignore 561 (one case a phase)
  local out = { HEAD }
  for n = from, to do
    add(out, "local f%d, c%d, s%d, w%d = P[%d].fn, P[%d].conf, P[%d].state, P[%d].when",
      n, n, n, n, n, n, n, n)
    if steps[n].paths then
      add(out, "local p%d = P[%d].paths", n, n)
    end
  end
  add(out, "return function(i, from%s)", body and ", to, chunk, last, whole" or "")
  add(out, "local slot = slots[i]")
  add(out, "local ctx = slot.ctx")
  if body then
    add(out, "if chunk == nil then chunk = ctx.gw_chunk_ end")
  end
  for n = from, to do
    local step = steps[n]
    local conditions = { ("from <= %d"):format(n) }
    if body then
      conditions[#conditions + 1] = ("%d <= to and (last or chunk ~= '')"):format(n)
    end
    if step.paths then
      conditions[#conditions + 1] = ("p%d[ctx.request.path]"):format(n)
    end
    add(out, "if %s then", table.concat(conditions, " and "))
    -- Before `when:`, so that an error there is known by its plugin too.
    add(out, "slot.instance, slot.position = %d, %d", step.number, n)
    if step.when then
      add(out, "if wanted(ctx, %d, w%d) then", step.number, n)
    end
    add(out, "ctx.state = s%d", n)
    if body then
      add_body_step(out, n, step)
    else
      add_step(out, n, step, phase)
    end
    if step.when then
      add(out, "end")
    end
    add(out, "end")
  end
  add(out, body and "return chunk" or "")
  add(out, "end")
  -- Each line costs a check for the deadline (deadline.c): all of it is one.
  return table.concat(out, " ")
end

local function build_part(steps, from, to, phase, body)
  local chunk = assert(loadstring(part_source(steps, from, to, phase, body),
    "@gateway/chain:" .. phase))
  return chunk(slots, wanted, guarded, bad_result, hold, assigned, steps)
end

--- Who wants this body: the place of the first that wants it whole, or 0: all of them want it in
--- pieces. Where a `when:` decides, a function (slot index) -> does anybody want it, that place.
local function build_plan(steps)
  local at = 1
  while steps[at] and not steps[at].when and not steps[at].buffered do
    at = at + 1
  end
  if not steps[at] or not steps[at].when then
    return steps[at] and at or 0
  end
  return function(i)
    local ctx, slot, any = slots[i].ctx, slots[i], false
    for n, step in ipairs(steps) do
      slot.instance, slot.position = step.number, n
      if not step.when or wanted(ctx, step.number, step.when) then
        if step.buffered then
          return true, n
        end
        any = true
      end
    end
    return any, 0
  end
end

--- A function (slot index, first position) -> nothing; for body_filter (slot index, first and last
--- position, chunk, last, whole) -> chunk, and the plan of the chain.
function M.build(steps, phase)
  if phase == "message" then
    return messages.build(steps, { host = host, slots = slots,
      wanted = wanted, guarded = guarded })
  end
  local body = phase == "body_filter"
  local parts, plan = {}, body and build_plan(steps) or nil
  for from = 1, #steps, PART do
    parts[#parts + 1] = build_part(steps, from, math.min(from + PART - 1, #steps), phase, body)
  end
  if #parts == 1 then
    return parts[1], plan
  end
  if body then
    return function(i, from, to, chunk, last, whole)
      for n = 1, #parts do
        chunk = parts[n](i, from, to, chunk, last, whole)
      end
      return chunk
    end, plan
  end
  return function(i, from)
    for n = 1, #parts do
      parts[n](i, from)
      if slots[i].verdict ~= 0 then
        return
      end
    end
  end
end

--- Called once by sandbox.c. `base` is the address of the slots.
function M.open(c_functions, base)
  host = c_functions
  slots = ffi.cast("struct gw_slot *", base)
end

return M
