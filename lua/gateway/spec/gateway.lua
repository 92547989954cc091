--- A real gateway: `moongate run` as a child process, in a folder of its own.
local native = require "gateway.spec.native"
local process = require "gateway.spec.process"
local scope = require "gateway.spec.scope"
local wait = require "gateway.spec.wait"
local wire = require "gateway.spec.wire"

local M = {}

local gateway = {}
gateway.__index = gateway

local DEFAULT_LISTEN = "listen: [ { name: public, address: \"127.0.0.1:0\" } ]\n"
local CONF = "gateway.yaml"
local START_SECONDS, STOP_SECONDS, RELOAD_SECONDS = 20, 15, 40

local function write_file(path, text)
  native.mkdir((path:gsub("/[^/]*$", "")))
  -- A name of its own first: a running gateway never sees half a file.
  local file = assert(io.open(path .. ".new", "wb"))
  file:write(text)
  file:close()
  assert(os.rename(path .. ".new", path))
end

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

--- A text, or the path of a file.
local function text_of(value)
  if not value:find("\n") and native.kind(value) == "file" then
    return read_file(value)
  end
  return value
end

--- Takes off what the first line is indented by: confs stand inside of specs.
local function dedent(text)
  local indent = text:match("^%s*\n( +)%S") or text:match("^( +)%S")
  if not indent then
    return text
  end
  return (("\n" .. text):gsub("\n" .. indent, "\n"):sub(2))
end

local function conf_text(conf)
  local text = dedent(text_of(conf or ""))
  if not ("\n" .. text):find("\nlisten:") and not ("\n" .. text):find("\ninclude:") then
    text = DEFAULT_LISTEN .. text
  end
  return text
end

--- Writes a file below the gateway's folder; returns its path.
function gateway:write(name, text)
  local path = self.dir .. "/" .. name
  write_file(path, text)
  return path
end

function gateway:read(name) return read_file(self.dir .. "/" .. name) end

local function prepare(self, options)
  self:write(CONF, conf_text(options.conf))
  for name, text in pairs(options.plugins or {}) do
    self:write(("plugins/%s.lua"):format(name), text_of(text))
  end
  for name, text in pairs(options.files or {}) do
    self:write(name, text)
  end
end

--- Text of its log (standard error) so far.
function gateway:log()
  return read_file(self.dir .. "/log") or ""
end

--- Waits until the log says it (a plain text).
function gateway:wait_log(text, seconds)
  return wait.eventually(function()
    return self:log():find(text, 1, true) ~= nil
  end, seconds)
end

local function tail(self)
  local lines = {}
  for line in self:log():gmatch("[^\n]+") do
    lines[#lines + 1] = "    " .. line
  end
  return table.concat(lines, "\n", math.max(1, #lines - 60))
end

function gateway:story()
  return ("  the gateway's log (%s):\n%s"):format(self.dir, tail(self))
end

local function died(self, when)
  local child = self.process
  return ("the gateway %s (%s)"):format(when,
    child.code and "exit code " .. child.code or "signal " .. tostring(child.signal))
end

--------------------------------------------------------------------------------
-- The control socket

--- One request to the control socket -> the answer; nil, why.
function gateway:control(command, fields, seconds)
  local fd, err = native.connect("unix:" .. self.dir .. "/run/moongate.sock")
  if not fd then
    return nil, err
  end
  err = fd:failed()
  if err then
    fd:close()
    return nil, err
  end
  local conn = wire.conn(fd, "control socket", seconds or RELOAD_SECONDS)
  local request = { command = command }
  for name, value in pairs(fields or {}) do
    request[name] = value
  end
  conn:write(gw.json.encode(request) .. "\n")
  local line, why = conn:read_until("\n")
  conn:close()
  if not line then
    return nil, why
  end
  return assert(gw.json.decode(line))
end

local function ask(self, command, fields)
  local answer, err = self:control(command, fields)
  if not answer then
    wait.fail(("the gateway does not answer to %q: %s\n%s"):format(command, err, tail(self)))
  end
  return answer
end

--- What `moongate status --json` says, as a table.
function gateway:status() return ask(self, "status") end

--- Reloads, with a new conf when one is given; returns the report (report.ok, report.error, …).
function gateway:reload(conf)
  if conf then
    self:write(CONF, conf_text(conf))
  end
  self.addresses = nil
  return ask(self, "reload", { conf = self.dir .. "/" .. CONF })
end

--- The clocks of all workers go forward.
---@param ms number
function gateway:advance(ms)
  local answer = ask(self, "advance", { ms = ms })
  if not answer.ok then
    wait.fail("advance: " .. tostring(answer.error))
  end
end

function gateway:worker_pids()
  local pids = {}
  for _, worker in ipairs(self:status().workers) do
    pids[#pids + 1] = worker.pid
  end
  return pids
end

--- To the master, or to a process of it.
---@param name string  "HUP", "KILL", …
function gateway:signal(name, pid)
  local ok, err = native.kill(pid or self.process.pid, native.signals[name] or name)
  if not ok then
    wait.fail(("signal %s to %d: %s"):format(name, pid or self.process.pid, err))
  end
end

--------------------------------------------------------------------------------
-- Where it listens

--- "127.0.0.1", 41234 of a listener (the first without a name); "unix:/path", nil.
function gateway:address(listener)
  self.addresses = self.addresses or self:status().listeners
  for _, one in ipairs(self.addresses) do
    if listener == nil or one.name == listener then
      if one.address:sub(1, 5) == "unix:" then
        return one.address
      end
      local host, port = one.address:match("^%[?(.-)%]?:(%d+)$")
      host = host == "0.0.0.0" and "127.0.0.1" or host == "::" and "::1" or host
      return host, tonumber(port)
    end
  end
  wait.fail(("the gateway has no listener %s"):format(listener or "at all"))
end

function gateway:port(listener)
  local _, port = self:address(listener)
  return port
end

function gateway:url(path, listener)
  local host, port = self:address(listener)
  return ("http://%s:%d%s"):format(host:find(":") and "[" .. host .. "]" or host, port, path or "/")
end

--- A client of it.
function gateway:client(options)
  return require("gateway.spec.client").new(self, options)
end

--- Runs a command on its conf, `moongate explain -c … GET http://…`: code, stdout, stderr.
function gateway:run(command, ...)
  return process.run(require("gateway.spec").program, { command, "-c", self.dir .. "/" .. CONF, ... },
    { env = self.env, cwd = self.dir })
end

--- `moongate check`: code, text.
function gateway:check()
  local code, out, err = self:run("check")
  return code, out .. err
end

--------------------------------------------------------------------------------
-- Life

local function start(self)
  local args = { "run", "-c", self.dir .. "/" .. CONF, "--test" }
  if self.workers then
    args[#args + 1] = "--workers"
    args[#args + 1] = self.workers
  end
  self.addresses = nil
  self.process = process.start(require("gateway.spec").program, args,
    { env = self.env, cwd = self.dir, stderr = self.dir .. "/log" })
  scope.disown(self.process) -- it is ours to end
  self.process.stdin:close()
  self.running = true
end

local function wait_ready(self)
  local deadline = wait.now() + START_SECONDS
  while true do
    if self.process:ended() then
      self.running = false
      return false
    end
    local status = self:control("status", nil, 5)
    if status and status.state == "serving" then
      return true
    end
    if wait.now() > deadline then
      wait.fail(("the gateway is not ready within %d s\n%s"):format(START_SECONDS, tail(self)))
    end
    gw.sleep(0.003)
  end
end

--- One, unless the spec or the conf says otherwise: quick to start.
local function workers_of(options)
  if options.workers then
    return options.workers
  end
  return not (options.conf or ""):find("%f[%w]workers:") and 1 or nil
end

--- Starts it and waits until it serves. Ends with the test (or the block whose setup made it).
---@param options { conf?: string, plugins?: table, files?: table, env?: table, workers?: integer, fails?: boolean }
--- conf: YAML text or a path; without `listen:` it gets one on a free port of 127.0.0.1.
--- plugins: { name = source or path }, into plugins/. files: { name = text }, beside the conf.
--- fails: it is expected not to start; the result has .code and log().
function M.new(options)
  options = type(options) == "string" and { conf = options } or options or {}
  local self = setmetatable({ dir = native.folder(), env = options.env or {},
    workers = workers_of(options), expected = options.fails and "dead" or "alive" }, gateway)
  scope.own(self)
  native.mkdir(self.dir .. "/plugins")
  prepare(self, options)
  start(self)
  local ready = wait_ready(self)
  if ready and options.fails then
    wait.fail("the gateway starts, and should not")
  elseif not ready and not options.fails then
    wait.fail(died(self, "did not start") .. "\n" .. tail(self))
  end
  self.code = self.process.code
  return self
end

--- Starts it again in the same folder, after stop() or a crash that was meant.
function gateway:start()
  self.expected = "alive"
  start(self)
  if not wait_ready(self) then
    wait.fail(died(self, "did not start again") .. "\n" .. tail(self))
  end
end

local BAD = { "AddressSanitizer", "LeakSanitizer", "runtime error:", "Assertion `",
  "unprotected error" }

--- Raises when the log tells of a crash, or the master has gone by itself.
function gateway:verify()
  local log = self:log()
  for _, words in ipairs(BAD) do
    if log:find(words, 1, true) and not self.forgiven then
      self.forgiven = true -- said once
      error(("the log of the gateway says %q:\n%s"):format(words, tail(self)), 0)
    end
  end
  if self.running and self.expected == "alive" and self.process:ended() then
    self.running = false
    error(died(self, "ended by itself") .. ":\n" .. tail(self), 0)
  end
end

--- For a spec that kills the master (or worse) on purpose: it may be gone.
function gateway:may_die()
  self.expected = "any"
end

--- Ends it: drains, and raises when it does not end well. Returns the exit code.
function gateway:stop(signal)
  if self.running then
    self:verify()
    self.running = false
    self.process:signal_now(signal or "TERM")
    local ok = pcall(self.process.wait, self.process, STOP_SECONDS)
    if not ok then
      self.process:signal_now("KILL")
      self.process:wait(10)
      error(("the gateway does not stop within %d s:\n%s"):format(STOP_SECONDS, tail(self)), 0)
    end
    if self.expected == "alive" and self.process.code ~= 0 then
      error(died(self, "ended badly") .. ":\n" .. tail(self), 0)
    end
  end
  self:verify()
  return self.process.code
end

function gateway:finish()
  if self.expected == "alive" then
    self:stop()
  end
end

function gateway:close()
  if self.process then
    self.running = false
    self.process:close()
  end
  native.remove(self.dir)
end

return M
