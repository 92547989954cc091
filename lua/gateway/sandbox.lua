--- The world that plugins see: an allow-list, with tables that cannot be changed.
--- It stops mistakes, not a hostile author.
local M = {}

local host, wait_mark -- given by sandbox.c through M.open

local raw = {
  create = coroutine.create, resume = coroutine.resume, yield = coroutine.yield,
  running = coroutine.running, status = coroutine.status,
  rawset = rawset, setmetatable = setmetatable, getmetatable = getmetatable, load = load,
  type = type, error = error, pcall = pcall, select = select, tostring = tostring,
  setfenv = setfenv, loadstring = loadstring,
}

local weak_keys = { __mode = "k" }
local protected = setmetatable({}, weak_keys) -- tables that even rawset() leaves alone

--- A table that reads as `real` and takes nothing.
local function read_only(real, name)
  local mt = debug.getmetatable(real)
  local proxy = setmetatable({}, {
    __index = real,
    __call = mt and mt.__call and function(_, ...)
      return real(...)
    end or nil,
    __newindex = function(_, key)
      error(("%s is read-only: %s cannot be set"):format(name, tostring(key)), 2)
    end,
    __metatable = false,
  })
  protected[proxy] = real
  return proxy
end
M.read_only = read_only

--- The same for a table of tables.
local function read_only_deep(real, name)
  local copy = {}
  for key, value in pairs(real) do
    if type(value) == "table" then
      value = read_only_deep(value, name .. "." .. tostring(key))
    end
    copy[key] = value
  end
  return read_only(setmetatable(copy, debug.getmetatable(real)), name)
end
M.read_only_deep = read_only_deep

--------------------------------------------------------------------------------
-- Coroutines: a wait in one that a plugin made goes out to the scheduler, which knows only
-- the outermost, and its results come back in.

local inner = setmetatable({}, weak_keys)   -- coroutines made by plugins
local waiting = setmetatable({}, weak_keys) -- those that wait: nobody else may resume them

local function come_back(co, ok, mark, ...)
  if ok and rawequal(mark, wait_mark) then
    waiting[co] = true
    -- The results pass through a second function because there may be any number of them.
    return M.pass_in(co, raw.yield(wait_mark))
  end
  return ok, mark, ...
end

function M.pass_in(co, ...)
  waiting[co] = nil
  return come_back(co, raw.resume(co, ...))
end

local function resume(co, ...)
  if type(co) ~= "thread" then
    error("bad argument #1 to 'resume' (coroutine expected)", 2)
  end
  if not inner[co] then
    return false, "cannot resume this coroutine"
  end
  if waiting[co] then
    return false, "cannot resume a coroutine that waits"
  end
  return come_back(co, raw.resume(co, ...))
end

local function create(f)
  local co = raw.create(f)
  inner[co] = true
  return co
end

local function unwrap(ok, ...)
  if not ok then
    error((...), 0)
  end
  return ...
end

local coroutine_lib = {
  create = create,
  resume = resume,
  status = coroutine.status,
  wrap = function(f)
    local co = create(f)
    return function(...)
      return unwrap(resume(co, ...))
    end
  end,
  yield = function(...)
    local co = raw.running()
    if not co or not inner[co] then
      error("attempt to yield outside of a coroutine", 2)
    end
    return raw.yield(...)
  end,
  running = function()
    local co = raw.running()
    if co and inner[co] then
      return co
    end
    return nil
  end,
  isyieldable = function()
    local co = raw.running()
    return co ~= nil and inner[co] == true
  end,
}

--------------------------------------------------------------------------------
-- Globals

local function pick(from, names)
  local to = {}
  for name in names:gmatch("%S+") do
    to[name] = from[name]
  end
  return to
end

local string_lib = pick(string,
  "byte char find format gmatch gsub len lower match rep reverse sub upper")
local table_lib = pick(table, "concat insert maxn remove sort unpack pack move")
for _, name in ipairs { "new", "clear", "clone", "nkeys", "isempty", "isarray" } do
  local found, f = pcall(require, "table." .. name)
  if found and type(f) == "function" then
    table_lib[name] = f
  end
end
local bit_lib = pick(bit, "tobit tohex bnot band bor bxor lshift rshift arshift rol ror bswap")
local os_lib = pick(os, "time clock date difftime")
local math_lib = pick(math, [[abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge
  ldexp log log10 max min modf pi pow rad random sin sinh sqrt tan tanh randomseed]])

local LIBS = {
  string = string_lib, table = table_lib, bit = bit_lib, os = os_lib, math = math_lib,
  coroutine = coroutine_lib,
}

local basic = pick(_G, [[assert error ipairs next pairs pcall rawequal rawget select tonumber tostring
  type unpack _VERSION]])

-- No handler of its own may run while an error is on its way: there the budget's hook is off,
-- and a handler without end would never be stopped. Nothing is lost: plugins have no debug.
function basic.xpcall(f, handler, ...)
  local function settle(ok, ...)
    if ok then
      return true, ...
    end
    return false, select(2, pcall(handler, (...)))
  end
  return settle(pcall(f, ...))
end

function basic.rawset(t, key, value)
  if protected[t] then
    error("rawset: the table is read-only", 2)
  end
  return raw.rawset(t, key, value)
end

function basic.setmetatable(t, mt)
  if type(t) ~= "table" then
    error("bad argument #1 to 'setmetatable' (table expected, got " .. type(t) .. ")", 2)
  end
  return raw.setmetatable(t, mt)
end

function basic.getmetatable(value)
  if type(value) ~= "table" then
    return nil -- of strings and handles it is nobody's business
  end
  return raw.getmetatable(value)
end

function basic.print(...)
  local out = {}
  for i = 1, select("#", ...) do
    out[i] = tostring((select(i, ...)))
  end
  host.print(table.concat(out, "\t"))
end

-- Methods of strings: the same list, out of reach.
local string_mt = debug.getmetatable("")
string_mt.__index = string_lib
string_mt.__metatable = false

local globals = {}
for name, value in pairs(basic) do
  globals[name] = value
end

--- `load` takes text, and what it makes lives in the sandbox.
local function make_load(env)
  local function load_text(chunk, name, mode, own_env) -- luacheck: ignore 561
    if mode ~= nil and mode ~= "t" and mode ~= "bt" then
      return nil, "load: only text is taken"
    end
    if type(chunk) ~= "string" and type(chunk) ~= "function" then
      error("bad argument #1 to 'load' (string or function expected)", 3)
    end
    if type(name) ~= "string" then
      name = type(chunk) == "string" and chunk or "=(load)"
    end
    -- A name like "@gateway/x" would hide a plugin's code from its own error messages.
    if name:sub(1, 9) == "@gateway/" then
      name = "=(load)"
    end
    if own_env ~= nil and type(own_env) ~= "table" then
      error("bad argument #4 to 'load' (table expected)", 3)
    end
    return host.load(chunk, name, own_env or env)
  end
  return function(chunk, name, mode, own_env)
    return load_text(chunk, name, mode, own_env)
  end, function(chunk, name)
    if type(chunk) ~= "string" then
      error("bad argument #1 to 'loadstring' (string expected)", 2)
    end
    return load_text(chunk, name)
  end
end

--- A fresh set of globals for one file. Library tables are its own proxies, so that even what
--- gets past them (table.insert) hurts nobody else. `free`: may set globals of its own (modules
--- that were installed and are used to it).
function M.env(require_fn, free)
  local env = {}
  local visible = {}
  for name, value in pairs(globals) do
    visible[name] = value
  end
  for name, lib in pairs(LIBS) do
    visible[name] = read_only(lib, name)
  end
  visible.gw = M.gw
  visible.require = require_fn
  visible.load, visible.loadstring = make_load(env)
  visible._G = env
  if free then
    for name, value in pairs(visible) do
      env[name] = value
    end
    return env
  end
  setmetatable(env, {
    __index = visible,
    __newindex = function(_, key)
      error(("global '%s' is set: use local"):format(tostring(key)), 2)
    end,
    __metatable = false,
  })
  protected[env] = true
  return env
end

--------------------------------------------------------------------------------
-- Units: a plugin's file or a module, loaded once. A loader is
--   { find = function(name) -> { name, chunk, text, free, hash } or nil, message,
--     units = { [name] = unit }, stack = {} }
-- and a unit { name, hash, value, needs = { [name] = true } }.

local load_unit

local function make_require(loader)
  return function(name)
    if type(name) ~= "string" then
      error("bad argument #1 to 'require' (string expected)", 2)
    end
    if name == "string" or name == "table" or name == "math" or name == "os" or name == "bit"
      or name == "coroutine" then
      return loader.libs[name]
    end
    local unit, err = load_unit(loader, "module:" .. name, name)
    if not unit then
      error(err, 2)
    end
    return unit.value
  end
end

function load_unit(loader, key, name)
  local top = loader.stack[#loader.stack]
  if top then
    top.needs[key] = true
  end
  local unit = loader.units[key]
  if unit then
    if unit.loading then
      return nil, ("module '%s' requires itself"):format(name)
    end
    return unit
  end
  local source, why = loader.find(key, name)
  if not source then
    return nil, why
  end
  unit = { name = name, key = key, hash = source.hash, needs = {}, loading = true }
  local env = M.env(make_require(loader), source.free)
  local chunk, err = host.load(source.text, source.chunk, env)
  if not chunk then
    return nil, err
  end
  loader.units[key] = unit
  local depth = #loader.stack
  loader.stack[depth + 1] = unit
  local ok, value = pcall(chunk, name)
  for i = #loader.stack, depth + 1, -1 do
    loader.stack[i] = nil
  end
  unit.loading = nil
  if not ok then
    loader.units[key] = nil
    return nil, tostring(value)
  end
  if value == nil then
    value = true
  end
  unit.value = value
  return unit
end

--- A loader keeps what was loaded for one generation; `find` is C.
function M.loader(find)
  local loader = { find = find, units = {}, stack = {}, libs = {} }
  for name, lib in pairs(LIBS) do
    loader.libs[name] = read_only(lib, name)
  end
  return loader
end

--- Loads a plugin's file: its value, or nil and the message.
function M.load_plugin(loader, name)
  local unit, err = load_unit(loader, "plugin:" .. name, name)
  if not unit then
    return nil, err
  end
  return unit.value, unit
end

--- All units that this one needs, itself included, as a sorted list of keys.
function M.closure(loader, key)
  local seen, list = {}, {}
  local function walk(k)
    if seen[k] then
      return
    end
    seen[k] = true
    list[#list + 1] = k
    local unit = loader.units[k]
    for need in pairs(unit and unit.needs or {}) do
      walk(need)
    end
  end
  walk(key)
  table.sort(list)
  return list
end

--- Takes over what did not change.
function M.adopt(loader, unit)
  loader.units[unit.key] = unit
end

--- The expression of a `when:`; a function of ctx, or nil and the message.
function M.compile_when(text, name)
  local env = M.env(function()
    error("require: not in a `when:`", 2)
  end)
  local chunk, err = host.load("local ctx = ... return (" .. text .. "\n)", "=" .. name, env)
  if not chunk then
    return nil, err
  end
  return chunk
end

--------------------------------------------------------------------------------
-- Confs

local FROZEN = {
  __newindex = function(_, key)
    error(("conf is read-only: %s"):format(tostring(key)), 2)
  end,
  __metatable = false,
}

--- New keys are refused at once from now on.
function M.freeze(conf)
  for _, value in pairs(conf) do
    if type(value) == "table" then
      M.freeze(value)
    end
  end
  return setmetatable(conf, FROZEN)
end

--- The path of the first difference, or nil.
function M.difference(conf, original, path)
  for key, value in pairs(original) do
    local here = path and (path .. "." .. tostring(key)) or tostring(key)
    if type(value) == "table" and type(conf[key]) == "table" then
      local found = M.difference(conf[key], value, here)
      if found then
        return found
      end
    elseif rawget(conf, key) ~= value then
      return here
    end
  end
  for key in pairs(conf) do
    if original[key] == nil then
      return path and (path .. "." .. tostring(key)) or tostring(key)
    end
  end
end

--- Called once by sandbox.c.
function M.open(c_functions, mark, libs)
  host, wait_mark = c_functions, mark
  M.gw = read_only_deep(libs, "gw")
end

return M
