--- Time in specs: nobody sleeps for long, everybody waits for something.
local native = require "gateway.spec.native"

local M = { timeout = 5 } -- seconds, for whatever has no other

local STEP = 0.005

function M.now()
  return gw.time.monotonic()
end

local HERE = debug.getinfo(1, "S").source:gsub("[^/]*$", "")

--- Raises with the place in the spec, not in the kit.
function M.fail(message)
  local level = 2
  while true do
    local info = debug.getinfo(level, "S")
    if not info then
      error(message, 0)
    end
    if info.what ~= "C" and info.source:sub(1, #HERE) ~= HERE then
      error(message, level)
    end
    level = level + 1
  end
end

local function settle(ok, ...)
  return ok, (...), select("#", ...)
end

--- Calls f again and again until it raises nothing and returns something true, or returns nothing
--- at all (a block of asserts); returns that.
---@param f fun(): any
---@param seconds? number  default 5
function M.eventually(f, seconds)
  seconds = seconds or M.timeout
  local deadline = M.now() + seconds
  while true do
    local ok, result, count = settle(pcall(f))
    if ok and (count == 0 or result) then
      return result
    end
    if M.now() >= deadline then
      if ok then
        M.fail(("eventually: still %s after %g s"):format(tostring(result), seconds))
      end
      error(result, 0)
    end
    gw.sleep(STEP)
  end
end

--- Moves the clock of the spec's own process; for a gateway's, see gateway:advance().
---@param seconds number
function M.advance(seconds)
  native.advance(seconds)
  gw.sleep(0)
end

--- Runs f beside the test. An error in it fails the test.
function M.go(f, ...)
  local scope = require "gateway.spec.scope"
  local args, n = { ... }, select("#", ...)
  native.go(function()
    local ok, err = xpcall(function() return f(unpack(args, 1, n)) end, function(err)
      return type(err) == "table" and err or debug.traceback(tostring(err), 2)
    end)
    if not ok then
      scope.fail_later(err)
    end
  end)
end

return M
