--- One Lua function for each chain and phase that has code: it runs the plugins in order, all of
--- them under the one protected call that is the task's coroutine. The text is made here so that
--- each call has a place of its own, which the compiler can specialise on its plugin.
local ffi = require "gateway.cdef"

local M = {}

-- A function has at most 60 upvalues; a part of a chain uses 5 a plugin and 8 more.
local PART = 10

local host, ctxs, new_ctx, slots

local WHEN = {} -- key in ctx: answers of `when:` that are known, by instance number

--- The answer of a `when:`, asked once for each request and instance.
local function wanted(ctx, number, when)
  local known = ctx[WHEN]
  if not known then
    known = {}
    rawset(ctx, WHEN, known)
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

local KEEP = {} -- key in ctx: pieces of a buffered body, by instance number

--- For `body = "buffered"`: the whole body, once.
local function collect(ctx, number, chunk, last)
  local kept = ctx[KEEP]
  if not kept then
    kept = {}
    rawset(ctx, KEEP, kept)
  end
  local pieces = kept[number]
  if not pieces then
    pieces = { bytes = 0 }
    kept[number] = pieces
  end
  pieces.bytes = pieces.bytes + #chunk
  if pieces.bytes > host.body_bytes_max() then
    error("the body is longer than body_buffer_bytes_max", 0)
  end
  pieces[#pieces + 1] = chunk
  if last then
    kept[number] = nil
    return table.concat(pieces)
  end
end

local HEAD = [[
local slots, ctxs, new_ctx, wanted, guarded, bad_result, collect, P = ... ]]

local function add(out, text, ...)
  out[#out + 1] = text:format(...)
end

--- Steps of [from, to]: { fn, conf, state, number, when, skip, buffered }.
local function part_source(steps, from, to, phase, body) -- luacheck: ignore 561 (one case a phase)
  local out = { HEAD }
  for n = from, to do
    add(out, "local f%d, c%d, s%d, w%d = P[%d].fn, P[%d].conf, P[%d].state, P[%d].when",
      n, n, n, n, n, n, n, n)
  end
  add(out, "return function(i, from%s)", body and ", chunk, last" or "")
  add(out, "local ctx = ctxs[i] or new_ctx(i)")
  add(out, "local slot = slots[i]")
  for n = from, to do
    local step = steps[n]
    local conditions = { ("from <= %d"):format(n) }
    if body and not step.buffered then
      conditions[#conditions + 1] = '(last or chunk ~= "")'
    end
    add(out, "if %s then", table.concat(conditions, " and "))
    -- Before `when:`, so that an error there is known by its plugin too.
    add(out, "slot.instance, slot.position = %d, %d", step.number, n)
    if step.when then
      add(out, "if wanted(ctx, %d, w%d) then", step.number, n)
    end
    add(out, "ctx.state = s%d", n)
    if body then
      if step.buffered then
        add(out, "local whole = collect(ctx, %d, chunk, last)", step.number)
        add(out, "if not whole then chunk = '' else chunk = whole")
      end
      if step.skip then
        add(out, "local ok, r = guarded(f%d, c%d, ctx, chunk, last)", n, n)
        add(out, "if ok and r ~= nil then chunk = r end")
      else
        add(out, "local r = f%d(c%d, ctx, chunk, last)", n, n)
        add(out, "if r ~= nil then chunk = r end")
      end
      add(out, "if type(chunk) ~= 'string' then bad_result('body_filter', chunk) end")
      if step.buffered then
        add(out, "end")
      end
    else
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
  return chunk(slots, ctxs, new_ctx, wanted, guarded, bad_result, collect, steps)
end

--- A function (slot index, first position) -> nothing; for body_filter (…, chunk, last) -> chunk.
function M.build(steps, phase)
  local body = phase == "body_filter"
  local parts = {}
  for from = 1, #steps, PART do
    parts[#parts + 1] = build_part(steps, from, math.min(from + PART - 1, #steps), phase, body)
  end
  if #parts == 1 then
    return parts[1]
  end
  if body then
    return function(i, from, chunk, last)
      for n = 1, #parts do
        chunk = parts[n](i, from, chunk, last)
      end
      return chunk
    end
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
function M.open(c_functions, ctx_table, make_ctx, base)
  host, ctxs, new_ctx = c_functions, ctx_table, make_ctx
  slots = ffi.cast("struct gw_slot *", base)
end

return M
