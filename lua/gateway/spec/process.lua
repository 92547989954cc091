--- Programs that a spec runs.
local native = require "gateway.spec.native"
local scope = require "gateway.spec.scope"
local wait = require "gateway.spec.wait"
local wire = require "gateway.spec.wire"

local M = {}

local process = {}
process.__index = process

local function env_list(env)
  local list = {}
  for name, value in pairs(env or {}) do
    list[#list + 1] = name .. "=" .. tostring(value)
  end
  return list
end

--- Starts a program.
---@param options? { env?: table, cwd?: string, stderr?: string }
function M.start(command, args, options)
  options = options or {}
  local argv = { command }
  for _, word in ipairs(args or {}) do
    argv[#argv + 1] = tostring(word)
  end
  local pid, over, stdin, stdout, stderr = native.spawn(argv, env_list(options.env), options.cwd,
    options.stderr)
  if not pid then
    wait.fail(("%s: %s"):format(command, over))
  end
  return scope.own(setmetatable({ command = command, pid = pid, over = over,
    stdin = wire.conn(stdin, command), stdout = wire.conn(stdout, command),
    stderr = stderr and wire.conn(stderr, command) }, process))
end

--- True once it has ended; then .code or .signal is set.
function process:ended()
  if not self.done then
    local code, signal = native.reap(self.pid)
    if code or signal then
      self.done, self.code, self.signal = true, code, signal
    end
  end
  return self.done or false
end

--- Waits for its end: code, or nil and the signal. Raises after `seconds`.
function process:wait(seconds)
  local deadline = wait.now() + (seconds or wait.timeout)
  while not self:ended() do
    local left = deadline - wait.now()
    if left <= 0 then
      wait.fail(("%s (pid %d) has not ended within %g s"):format(self.command, self.pid,
        seconds or wait.timeout))
    end
    self.over:wait("r", left)
  end
  return self.code, self.signal
end

--- By name: "TERM". Nothing happens to one that has ended.
function process:signal_now(name)
  if not self:ended() then
    native.kill(self.pid, native.signals[name] or name)
  end
end

function process:close()
  if not self:ended() then
    native.kill(self.pid, native.signals.KILL)
    self:wait(10)
  end
  self.over:close()
  for _, pipe in ipairs { self.stdin, self.stdout, self.stderr } do
    pipe:close()
  end
end

--- Runs a program to its end.
---@param options? { stdin?: string, env?: table, cwd?: string, timeout?: number }
---@return integer? code  nil: it died of a signal
---@return string stdout
---@return string stderr
function M.run(command, args, options)
  options = options or {}
  local child = M.start(command, args, options)
  local timeout = options.timeout or 30
  local err, err_read = "", false
  wait.go(function()
    err = child.stderr:read_all(timeout)
    err_read = true
  end)
  wait.go(function()
    child.stdin:write(options.stdin or "", timeout)
    child.stdin:close()
  end)
  local out = child.stdout:read_all(timeout)
  child:wait(timeout)
  wait.eventually(function() return err_read end, timeout)
  child:close()
  scope.disown(child)
  return child.code, out, err
end

return M
