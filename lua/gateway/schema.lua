--- gw.schema: JSON Schema 2020-12, compiled to Lua. schema_tree.lua reads, schema_code.lua
--- writes; here is what the written code stands on, and the one function that plugins see.
local tree = require "gateway.schema_tree"
local code = require "gateway.schema_code"
local meta = require "gateway.schema_meta"
local known_formats = require "gateway.schema_format"
local translate = require "gateway.schema_pattern"

local M = {}

local json, find, jit_on -- given by M.open

local DEPTH_DEFAULT, DEPTH_MAX = 128, 1000
local ERRORS_DEFAULT, ERRORS_MAX = 20, 1000
local LARGE = 65536    -- bytes of written code
local LIST_BYTES = 200 -- of an enum in a message

-- One validation runs at a time: nothing in it can wait.
local stopped         -- why it could not come to an end: text
local faults, faults_max

--------------------------------------------------------------------------------
-- What the written code calls

local function kind(value)
  local name = type(value)
  if name ~= "table" then
    return value == json.null and "null" or name
  elseif getmetatable(value) == "json.array" or value[1] ~= nil then
    return "array" -- the mark of gw.json reads so; without it, as gw.json.encode() has it
  end
  return "object"
end

local function what(value)
  local name = kind(value)
  return (name == "array" or name == "object") and "an " .. name or name == "null" and name
    or name == "boolean" and tostring(value) or "a " .. name
end

local function list(values)
  local out = {}
  for i, value in ipairs(values) do
    out[i] = json.encode(value) or "?"
  end
  local text = table.concat(out, ", ")
  return #text <= LIST_BYTES and text or text:sub(1, LIST_BYTES) .. "…"
end

local function too_deep()
  stopped = "the value is nested too deeply, or the schema refers to itself without end"
  return false
end

local equal

local function equal_members(a, b)
  for key, value in pairs(a) do
    if not equal(value, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

--- `b` is of the schema: it is finite.
function equal(a, b)
  if a == b then
    return true
  end
  local name = kind(a)
  if name ~= kind(b) then
    return false
  elseif name == "array" then
    if #a ~= #b then
      return false
    end
    for i = 1, #a do
      if not equal(a[i], b[i]) then
        return false
      end
    end
    return true
  end
  return name == "object" and equal_members(a, b)
end

local function one_of(value, values)
  for i = 1, #values do
    if equal(value, values[i]) then
      return true
    end
  end
  return false
end

--- A text that is the same for equal values only, so that a long array costs n log n.
local function canonical(value, out, depth)
  local name = kind(value)
  if depth > DEPTH_MAX then
    too_deep()
    out[#out + 1] = "?"
  elseif name == "array" then
    out[#out + 1] = "["
    for i = 1, #value do
      canonical(value[i], out, depth + 1)
    end
    out[#out + 1] = "]"
  elseif name == "object" then
    local keys = {}
    for key in pairs(value) do
      keys[#keys + 1] = tostring(key)
    end
    table.sort(keys)
    out[#out + 1] = "{"
    for _, key in ipairs(keys) do
      out[#out + 1] = #key .. ":" .. key
      canonical(value[key], out, depth + 1)
    end
    out[#out + 1] = "}"
  elseif name == "string" then
    out[#out + 1] = "s" .. #value .. ":" .. value
  elseif name == "number" then
    out[#out + 1] = ("%.17g,"):format(value + 0 == 0 and 0 or value)
  else
    out[#out + 1] = tostring(value) .. ","
  end
end

local function unique(array)
  local seen = {}
  for i = 1, #array do
    local value = array[i]
    local name = type(value)
    local key
    if name == "table" then
      local out = {}
      canonical(value, out, 1)
      key = "t" .. table.concat(out)
    elseif name == "string" then
      key = "s" .. value
    else
      key = value
    end
    if key ~= nil and key == key then
      if seen[key] then
        return false
      end
      seen[key] = true
    end
  end
  return true
end

local function multiple(value, factor)
  if value % 1 == 0 and factor % 1 == 0 then
    return math.fmod(value, factor) == 0
  end
  -- Decimals are not what they seem: 0.0075 / 0.0001 is one rounding away from 75.
  local quotient = value / factor
  if math.abs(quotient) == math.huge then
    return math.fmod(value, factor) == 0
  end
  return math.abs(quotient - math.floor(quotient + 0.5)) <= math.abs(quotient) * 4.5e-16
end

local function length(text)
  local _, continued = text:gsub("[\128-\191]", "")
  return #text - continued
end

local function match(text, pattern)
  local first, err, failed = find(text, pattern, "ue")
  if failed then
    stopped = err
  end
  return first ~= nil
end

local function merge(into, from)
  for key in pairs(from) do
    into[key] = true
  end
end

local function fault(instance, keyword, message)
  if #faults < faults_max then
    faults[#faults + 1] = { instance = instance, keyword = keyword, message = message }
  end
  return false
end

local function noted()
  return #faults
end

local function forget(count)
  for i = #faults, count + 1, -1 do
    faults[i] = nil
  end
end

--------------------------------------------------------------------------------
-- The dynamic scope: a table from the names of dynamic anchors to functions, where the outermost
-- resource has won. Scopes with the same names are one table, and [number] leads to the next.

local function scopes(t, functions)
  local of_resource, interned = {}, {}
  for _, resource in pairs(t.resources) do
    local names = {}
    for name, schema in pairs(resource.dynamic) do
      names[name] = functions[schema]
    end
    of_resource[resource.number] = names
  end
  return function(D, number)
    local after = D[number]
    if after then
      return after
    end
    local copy, keys = {}, {}
    for name, index in pairs(of_resource[number]) do
      copy[name] = index
    end
    for name, index in pairs(D) do
      if type(name) == "string" then
        copy[name] = index
      end
    end
    for name, index in pairs(copy) do
      keys[#keys + 1] = #name .. ":" .. name .. index
    end
    table.sort(keys)
    local key = table.concat(keys, ",")
    interned[key] = interned[key] or copy
    D[number] = interned[key]
    return interned[key]
  end
end

local function build(t, options, explains)
  local text, constants, functions, root = code.write(t, {
    explains = explains, formats = options.formats, known_formats = known_formats, depth = options.depth,
  })
  local chunk, err = loadstring(text, "=gateway/schema")
  if not chunk then
    tree.bad("#", "too large (%s)", err)
  end
  setfenv(chunk, {})
  if not jit_on then
    jit.off(chunk, true)
  end
  local F, enter = {}, scopes(t, functions)
  chunk(F, constants, known_formats, kind, what, list, equal, one_of, unique, multiple, length, match,
    merge, enter, fault, noted, forget, tree.escape, too_deep, type, pairs, ipairs, tostring)
  local info = t.info[t.root]
  return F[root], t.uses_dynamic and enter({}, info.resource.number) or nil, #text
end

--------------------------------------------------------------------------------

local OPTIONS = { schemas = "table", base = "string", formats = "boolean", depth = "number", errors = "number" }

local function read_options(given, level)
  local options = { depth = DEPTH_DEFAULT, errors = ERRORS_DEFAULT }
  for name, value in pairs(given or {}) do
    local expected = OPTIONS[name]
    if not expected then
      error(("schema.compile: unknown option %q"):format(tostring(name)), level + 1)
    elseif type(value) ~= expected then
      error(("schema.compile: option %s: %s expected, got %s"):format(name, expected, type(value)), level + 1)
    end
    options[name] = value
  end
  for name, max in pairs { depth = DEPTH_MAX, errors = ERRORS_MAX } do
    if not (options[name] >= 1 and options[name] <= max) then
      error(("schema.compile: option %s: a number from 1 to %d expected"):format(name, max), level + 1)
    end
  end
  return options
end

local function stop_text()
  return { { instance = "", keyword = "", message = stopped } }, "limit"
end

local function make_validator(t, options)
  if type(t.root) == "boolean" then
    return function()
      if t.root then
        return true
      end
      return nil, { { instance = "", keyword = "#", message = "nothing is allowed here" } }, "invalid"
    end
  end
  local fast, scope, size = build(t, options, false)
  local slow, slow_scope
  if size > LARGE then
    slow, slow_scope = build(t, options, true) -- "too large" must be said now
  end
  return function(value)
    stopped = nil
    local good = fast(value, 1, scope)
    if stopped then
      return nil, stop_text()
    elseif good then
      return true
    end
    if not slow then
      slow, slow_scope = build(t, options, true)
    end
    faults, faults_max = {}, options.errors
    good = slow(value, 1, slow_scope, nil, "")
    local found = faults
    faults = nil
    if stopped then
      return nil, stop_text()
    end
    assert(not good, "the two halves of gw.schema do not agree")
    return nil, found, "invalid"
  end
end

--- What gw.schema.compile() is: called by lib_schema.c, so the caller is two levels up.
function M.compile(schema, given)
  local level = 3
  if type(schema) ~= "table" and type(schema) ~= "boolean" then
    error("bad argument #1 to 'compile' (table or boolean expected, got " .. type(schema) .. ")", level)
  elseif given ~= nil and type(given) ~= "table" then
    error("bad argument #2 to 'compile' (table expected, got " .. type(given) .. ")", level)
  end
  local options = read_options(given, level)
  local ok, result = pcall(function()
    local t = tree.read(schema, {
      json = json, meta = meta, schemas = options.schemas, base = options.base,
      find = function(text, pattern)
        return find(text, pattern, "ue")
      end,
    })
    return make_validator(t, options)
  end)
  if ok then
    return result
  end
  if type(result) == "table" and result.schema then
    error("schema: " .. result.schema, level)
  end
  error(result, 0)
end

function known_formats.regex(text)
  local _, _, failed = find("", translate(text), "ue")
  return failed == nil
end

function M.open(json_lib, regex_lib, jit_plugins)
  json, find, jit_on = json_lib, regex_lib.find, jit_plugins
  return M.compile
end

return M
