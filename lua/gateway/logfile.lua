--- gw.logfile: lines appended to files without waiting for a disk. Opened in init(); the worker's
--- helper threads write, and what does not fit into the buffer is dropped and counted.
local ffi = require "gateway.cdef_lib"

local M = {}

local C = ffi.C

local writer = {}

local function box_of(self, what)
  local handle = type(self) == "table" and self.handle
  if not handle then
    error(("call it as a method: writer:%s(…)"):format(what), 3)
  end
  return handle.gw_box_
end

--- One line; an end of line within it becomes a space. False: it was dropped.
function writer:write(line)
  local box = box_of(self, "write")
  if type(line) ~= "string" then
    error("bad argument #1 to 'write' (string expected, got " .. type(line) .. ")", 2)
  end
  return C.gw_ffi_logfile_write(box, line, #line)
end

local function member(box, name, value)
  local kind = type(value)
  if kind == "string" then
    C.gw_ffi_logfile_text(box, name, #name, value, #value)
  elseif kind == "number" then
    C.gw_ffi_logfile_number(box, name, #name, value)
  elseif kind == "boolean" then
    C.gw_ffi_logfile_bool(box, name, #name, value)
  end
end

--- A JSON object: the facts of this request that were asked for in open(), then `a`, `b` and `c`
--- under the names of the option `more`; nil leaves one out. False: it was dropped.
function writer:request(ctx, a, b, c)
  local box, more = box_of(self, "request"), self.more
  local began = C.gw_ffi_logfile_request(box, ctx)
  if began ~= 1 then
    if began < 0 then
      error("request is over", 2)
    end
    return false
  end
  if a ~= nil and more[1] then
    member(box, more[1], a)
  end
  if b ~= nil and more[2] then
    member(box, more[2], b)
  end
  if c ~= nil and more[3] then
    member(box, more[3], c)
  end
  return C.gw_ffi_logfile_end(box)
end

--- Lines of this file that this worker has lost so far.
function writer:lost()
  return C.gw_ffi_logfile_lost(box_of(self, "lost"))
end

local writer_mt = { __index = writer, __metatable = "gw.logfile",
  __newindex = function() error("a writer cannot be changed", 2) end }

local KINDS = { buffer = "number", counter = "string", request = "table", headers = "table",
  more = "table" }

local function check_options(options)
  if type(options) ~= "table" then
    error("bad argument #2 to 'open' (table expected, got " .. type(options) .. ")", 3)
  end
  for name, value in pairs(options) do
    if type(value) ~= KINDS[name] then
      error(("logfile.open: %s: %s"):format(tostring(name), KINDS[name] and KINDS[name]
        .. " expected, got " .. type(value) or "there is no such option"), 3)
    end
  end
  local more = {}
  for i, name in ipairs(options.more or {}) do
    if type(name) ~= "string" or not name:find("^[%w_.-]+$") or i > 3 then
      error("logfile.open: more: up to 3 names of letters, digits and _ . - expected", 3)
    end
    more[i] = '"' .. name .. '":'
  end
  return more
end

--- Called once by lib_logfile.c; returns gw.logfile.
function M.open(c_open)
  return {
    --- "stderr", "stdout" or a path, relative to the conf's folder. nil, message, code.
    open = function(path, options)
      if type(path) ~= "string" then
        error("bad argument #1 to 'open' (string expected, got " .. type(path) .. ")", 2)
      end
      options = options or {}
      local more = check_options(options)
      local box, err, code = c_open(path, options.buffer or 0, options.counter,
        options.request or {}, options.headers or {})
      if not box then
        return nil, err, code
      end
      return setmetatable({
        handle = ffi.new("gw_h_logfile", ffi.cast("struct gw_script_logfile *", box)),
        more = more,
      }, writer_mt)
    end,
  }
end

return M
