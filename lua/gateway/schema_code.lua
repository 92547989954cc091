--- gw.schema, second half: writes Lua for what schema_tree.lua has read. One function for each
--- schema that is referred to, negated or chosen among; the others stand inside their parent.
--- It is written twice: first to answer true or false as fast as it can, and, when an
--- answer was false, once more to say why.
---
--- F[i](v, n, D, E, p): v the value, n the depth, D the dynamic scope, E what was evaluated (nil:
--- nobody asks), p the pointer to v (only where it says why).
local tree = require "gateway.schema_tree"
local translate = require "gateway.schema_pattern"

local M = {}

local keyword, escape = tree.keyword, tree.escape

local INLINE_LEVELS = 6   -- LuaJIT takes 200 nested blocks; a reader takes fewer
local INLINE_LINES = 600  -- then a schema gets a function of its own
local PART_MAX = 200      -- properties in one function: LuaJIT's jumps are short

local function quote(text)
  return '"' .. text:gsub("[^%w _./$-]", function(c)
    return ("\\%03d"):format(c:byte())
  end) .. '"'
end

local function number(value)
  if value == math.huge or value == -math.huge then
    return value > 0 and "1/0" or "-1/0"
  end
  return ("%.17g"):format(value)
end

local Writer = {}
Writer.__index = Writer

function Writer:put(fmt, ...)
  self.lines[#self.lines + 1] = select("#", ...) > 0 and fmt:format(...) or fmt
end

function Writer:constant(value)
  local constants = self.constants
  constants[#constants + 1] = value
  return ("C[%d]"):format(#constants)
end

function Writer:name(prefix)
  self.names = self.names + 1
  return prefix .. self.names
end

--- Ends with false, or notes what is wrong and goes on. `what` is a Lua expression.
function Writer:fail(s, place, what)
  if not self.explains then
    self:put("do return false end")
  else
    self:put("ok = fault(%s, %s, %s)", s.p, quote(s.place .. place), what)
  end
end

function Writer:fail_text(s, place, fmt, ...)
  self:fail(s, place, quote(fmt:format(...)))
end

--- The number of the function of a schema, written later.
function Writer:function_of(schema)
  local index = self.functions[schema]
  if not index then
    index = #self.order + 1
    self.order[index] = schema
    self.functions[schema] = index
  end
  return index
end

--- "F[3](v, n + 1, D, E, p)" for a schema that holds for `v`.
function Writer:call(s, schema, v, E, p)
  if type(schema) == "boolean" then
    return tostring(schema)
  end
  local target, D = self.tree.info[schema].resource, "nil"
  if self.tree.uses_dynamic then
    D = target == s.info.resource and "D" or ("enter(D, %d)"):format(target.number)
  end
  return ("F[%d](%s, n + 1, %s, %s%s)"):format(self:function_of(schema), v, D, E,
    self.explains and ", " .. p or "")
end

--- Marks `key` (a Lua expression) as evaluated.
function Writer:mark(s, key)
  if s.E == s.own then
    self:put("%s[%s] = true", s.E, key)
  elseif s.E ~= "nil" then
    self:put("if %s then %s[%s] = true end", s.E, s.E, key)
  end
end

local write_schema

--- A schema that must hold for `v`: inside this function, or as a call.
function Writer:must(s, place, schema, v, E, p)
  if schema == true then
    return
  elseif schema == false then
    local at = { p = p, place = s.place }
    return self:fail_text(at, place, "nothing is allowed here")
  end
  local info = self.tree.info[schema]
  if info.is_target or info.resource ~= s.info.resource or s.level >= INLINE_LEVELS
    or #self.lines - self.begun > INLINE_LINES then
    self:put("if not %s then", self:call(s, schema, v, E, p))
    self:put(self.explains and "ok = false" or "return false")
    self:put("end")
    return
  end
  self:put("do")
  write_schema(self, schema, { v = v, E = E, p = p, level = s.level + 1, own = E == s.own and s.own })
  self:put("end")
end

--- Code between that runs schemas whose faults count only if it fails as a whole.
function Writer:tried(fn)
  local mark
  if self.explains then
    mark = self:name("m")
    self:put("local %s = noted()", mark)
  end
  fn(mark)
end

--------------------------------------------------------------------------------
-- Keywords, in the order of writing. s: { schema, info, v, k (its kind), E, p, place, level }

local function article(name)
  return ({ array = "an array", object = "an object", integer = "an integer", null = "null",
    boolean = "true or false" })[name] or "a " .. name
end

local function write_type(w, s, types)
  types = type(types) == "string" and { types } or types
  local tests, words = {}, {}
  for i, name in ipairs(types) do
    tests[i] = name == "integer" and ('(%s == "number" and %s %% 1 == 0)'):format(s.k, s.v)
      or ("%s == %s"):format(s.k, quote(name))
    words[i] = article(name)
  end
  w:put("if not (%s) then", table.concat(tests, " or "))
  w:fail(s, "/type", ("%s .. what(%s)"):format(quote("must be " .. table.concat(words, " or ") .. ", not "),
    s.v))
  w:put("end")
end

local function write_enum(w, s, list)
  local set, deep = {}, {}
  for _, value in ipairs(list) do
    if type(value) == "table" then
      deep[#deep + 1] = value
    else
      set[value] = true
    end
  end
  -- A value that is not a number is no key; nothing equals it anyway.
  w:put("if not (%s == %s and %s[%s]%s) then", s.v, s.v, w:constant(set), s.v,
    #deep > 0 and (" or one_of(%s, %s)"):format(s.v, w:constant(deep)) or "")
  w:fail(s, "/enum", ("%s .. list(%s)"):format(quote("must be one of "), w:constant(list)))
  w:put("end")
end

local function write_const(w, s, value)
  local held = w:constant({ value })
  w:put(type(value) == "table" and "if not equal(%s, %s[1]) then" or "if %s ~= %s[1] then", s.v, held)
  w:fail(s, "/const", ("%s .. list(%s)"):format(quote("must be "), held))
  w:put("end")
end

local NUMBERS = {
  { "minimum", "<", "must be at least %s" }, { "maximum", ">", "must be at most %s" },
  { "exclusiveMinimum", "<=", "must be more than %s" },
  { "exclusiveMaximum", ">=", "must be less than %s" },
}

local function write_number(w, s, get)
  for _, row in ipairs(NUMBERS) do
    local bound = get(row[1])
    if bound then
      w:put("if %s %s %s then", s.v, row[2], number(bound))
      w:fail_text(s, "/" .. row[1], row[3], number(bound))
      w:put("end")
    end
  end
  local factor = get("multipleOf")
  if factor then
    w:put("if not multiple(%s, %s) then", s.v, number(factor))
    w:fail_text(s, "/multipleOf", "must be a multiple of %s", number(factor))
    w:put("end")
  end
end

local function write_string(w, s, get)
  local min, max, pattern = get("minLength"), get("maxLength"), get("pattern")
  -- A character has one to four bytes: mostly nothing needs to be counted.
  if min and min > 0 then
    w:put("if #%s < %s and length(%s) < %s then", s.v, number(min * 4), s.v, number(min))
    w:fail_text(s, "/minLength", "must have at least %s characters", number(min))
    w:put("end")
  end
  if max then
    w:put("if #%s > %s and length(%s) > %s then", s.v, number(max), s.v, number(max))
    w:fail_text(s, "/maxLength", "must have at most %s characters", number(max))
    w:put("end")
  end
  if pattern then
    w:put("if not match(%s, %s) then", s.v, quote(translate(pattern)))
    w:fail_text(s, "/pattern", "must fit the pattern %s", pattern)
    w:put("end")
  end
  local format = s.schema.format
  if format and (w.formats or s.info.resource.assert_formats) and w.known_formats[format] then
    w:put("if not formats[%s](%s) then", quote(format), s.v)
    w:fail_text(s, "/format", "must be of the format %s", format)
    w:put("end")
  end
end

local function item_path(w, s, index)
  return w.explains and ('%s .. "/" .. (%s - 1)'):format(s.p, index) or "nil"
end

local function key_path(w, s, key)
  return w.explains and ("%s .. %s"):format(s.p, quote("/" .. escape(key))) or "nil"
end

local function name_path(w, s, name)
  return w.explains and ('%s .. "/" .. escape(%s)'):format(s.p, name) or "nil"
end

--- The path stands in a local: it is used more than once.
local function hold_path(w, path)
  if not w.explains then
    return "nil"
  end
  local name = w:name("p")
  w:put("local %s = %s", name, path)
  return name
end

local function write_prefix(w, s, prefix)
  for i, schema in ipairs(prefix) do
    local item = w:name("v")
    w:put("if #%s >= %d then", s.v, i)
    w:put("local %s = %s[%d]", item, s.v, i)
    w:must(s, "/prefixItems/" .. (i - 1), schema, item, "nil", hold_path(w, item_path(w, s, tostring(i))))
    w:mark(s, tostring(i))
    w:put("end")
  end
end

local function write_items(w, s, schema, first)
  if schema == true and s.E == "nil" then
    return
  end
  local i, item = w:name("i"), w:name("v")
  w:put("for %s = %d, #%s do", i, first, s.v)
  w:put("local %s = %s[%s]", item, s.v, i)
  w:must(s, "/items", schema, item, "nil", hold_path(w, item_path(w, s, i)))
  w:mark(s, i)
  w:put("end")
end

local function write_contains(w, s, get, schema)
  local min, max = get("minContains") or 1, get("maxContains")
  local count, i = w:name("c"), w:name("i")
  w:put("local %s = 0", count)
  w:put("for %s = 1, #%s do", i, s.v)
  w:tried(function(mark)
    w:put("if %s then", w:call(s, schema, ("%s[%s]"):format(s.v, i), "nil",
      w.explains and item_path(w, s, i) or "nil"))
    w:put("%s = %s + 1", count, count)
    w:mark(s, i)
    w:put("end")
    if mark then
      w:put("forget(%s)", mark)
    end
  end)
  w:put("end")
  w:put("if %s < %s then", count, number(min))
  w:fail(s, min == 1 and "/contains" or "/minContains",
    ('"must have at least %s items that fit, not " .. %s'):format(number(min), count))
  w:put("end")
  if max then
    w:put("if %s > %s then", count, number(max))
    w:fail(s, "/maxContains", ('"must have at most %s items that fit, not " .. %s'):format(number(max), count))
    w:put("end")
  end
end

local function write_array(w, s, get)
  local schema, min, max = s.schema, get("minItems"), get("maxItems")
  if min and min > 0 then
    w:put("if #%s < %s then", s.v, number(min))
    w:fail_text(s, "/minItems", "must have at least %s items", number(min))
    w:put("end")
  end
  if max then
    w:put("if #%s > %s then", s.v, number(max))
    w:fail_text(s, "/maxItems", "must have at most %s items", number(max))
    w:put("end")
  end
  if get("uniqueItems") then
    w:put("if not unique(%s) then", s.v)
    w:fail_text(s, "/uniqueItems", "must not have the same item twice")
    w:put("end")
  end
  write_prefix(w, s, schema.prefixItems or {})
  if schema.items ~= nil then
    write_items(w, s, schema.items, #(schema.prefixItems or {}) + 1)
  end
  if schema.contains ~= nil then
    write_contains(w, s, get, schema.contains)
  end
end

local function sorted(map)
  local keys = {}
  for key in pairs(map or {}) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local function write_needed(w, s, place, names, because)
  if #(names or {}) > PART_MAX then
    w:put("for _, name in ipairs(%s) do if %s[name] == nil then", w:constant(names), s.v)
    w:fail(s, place, 'name .. " is missing"')
    w:put("end end")
    return
  end
  for _, name in ipairs(names or {}) do
    w:put("if %s[%s] == nil then", s.v, quote(name))
    w:fail_text(s, place, "%q is missing%s", name, because or "")
    w:put("end")
  end
end

local function write_counts(w, s, min, max)
  if not max and (min or 0) == 0 then
    return
  end
  local count = w:name("c")
  w:put("local %s = 0 for _ in pairs(%s) do %s = %s + 1 end", count, s.v, count, count)
  if min and min > 0 then
    w:put("if %s < %s then", count, number(min))
    w:fail_text(s, "/minProperties", "must have at least %s members", number(min))
    w:put("end")
  end
  if max then
    w:put("if %s > %s then", count, number(max))
    w:fail_text(s, "/maxProperties", "must have at most %s members", number(max))
    w:put("end")
  end
end

local function write_some_properties(w, s, keys, first, last)
  local properties = s.schema.properties
  for i = first, last do
    local key, item = keys[i], w:name("v")
    w:put("do local %s = %s[%s] if %s ~= nil then", item, s.v, quote(key), item)
    w:must(s, "/properties/" .. escape(key), properties[key], item, "nil",
      hold_path(w, key_path(w, s, key)))
    w:mark(s, quote(key))
    w:put("end end")
  end
end

--- Many of them: each part is a function of its own.
local function write_properties(w, s)
  local keys = sorted(s.schema.properties)
  if #keys <= PART_MAX then
    return write_some_properties(w, s, keys, 1, #keys)
  end
  for first = 1, #keys, PART_MAX do
    local last = math.min(first + PART_MAX - 1, #keys)
    w.order[#w.order + 1] = function()
      write_some_properties(w, {
        schema = s.schema, info = s.info, place = s.place, level = s.level, v = "v", p = "p",
        E = s.E == "nil" and "nil" or "E",
      }, keys, first, last)
    end
    w:put("if not F[%d](%s, n, D, %s%s) then", #w.order, s.v, s.E, w.explains and ", " .. s.p or "")
    w:put(w.explains and "ok = false" or "return false")
    w:put("end")
  end
end

local function write_other_members(w, s, item, name, p)
  local additional = s.schema.additionalProperties
  if additional == nil or (additional == true and s.E == "nil") then
    return
  end
  local known = {}
  for key in pairs(s.schema.properties or {}) do
    known[key] = true
  end
  w:put("if not known and not %s[%s] then", w:constant(known), name)
  if additional == false then
    w:fail_text({ p = p, place = s.place }, "/additionalProperties", "there is no such member")
  else
    w:must(s, "/additionalProperties", additional, item, "nil", p)
  end
  w:mark(s, name)
  w:put("end")
end

--- One walk through the members for all keywords that need one.
local function write_members(w, s)
  local schema = s.schema
  local patterns = sorted(schema.patternProperties)
  if #patterns == 0 and schema.additionalProperties == nil and schema.propertyNames == nil then
    return
  end
  local name, item = w:name("s"), w:name("v")
  w:put("for key, %s in pairs(%s) do", item, s.v)
  w:put('local known, %s = false, type(key) == "string" and key or tostring(key)', name)
  local p = hold_path(w, name_path(w, s, name))
  for _, pattern in ipairs(patterns) do
    w:put("if match(%s, %s) then", name, quote(translate(pattern)))
    w:put("known = true")
    w:must(s, "/patternProperties/" .. escape(pattern), schema.patternProperties[pattern], item, "nil", p)
    w:mark(s, name)
    w:put("end")
  end
  write_other_members(w, s, item, name, p)
  if schema.propertyNames ~= nil then
    w:must(s, "/propertyNames", schema.propertyNames, name, "nil", p)
  end
  w:put("end")
end

local function write_object(w, s, get)
  write_needed(w, s, "/required", get("required"))
  write_counts(w, s, get("minProperties"), get("maxProperties"))
  local dependent = get("dependentRequired")
  for _, key in ipairs(sorted(dependent)) do
    w:put("if %s[%s] ~= nil then", s.v, quote(key))
    write_needed(w, s, "/dependentRequired/" .. escape(key), dependent[key],
      (": %q needs it"):format(key))
    w:put("end")
  end
  write_properties(w, s)
  write_members(w, s)
  for _, key in ipairs(sorted(s.schema.dependentSchemas)) do
    w:put("if %s[%s] ~= nil then", s.v, quote(key))
    w:must(s, "/dependentSchemas/" .. escape(key), s.schema.dependentSchemas[key], s.v, s.E, s.p)
    w:put("end")
  end
end

local function write_refs(w, s)
  local info = s.info
  if info.ref ~= nil then
    w:must(s, "/$ref", info.ref, s.v, s.E, s.p)
  end
  if info.dynamic_ref == nil then
    return
  elseif not info.dynamic_name then
    return w:must(s, "/$dynamicRef", info.dynamic_ref, s.v, s.E, s.p)
  end
  local target = w.tree.info[info.dynamic_ref]
  w:put("if not F[D[%s] or %d](%s, n + 1, enter(D, %d), %s, %s) then", quote(info.dynamic_name),
    w:function_of(info.dynamic_ref), s.v, target.resource.number, s.E, w.explains and s.p or "nil")
  w:put(w.explains and "ok = false" or "return false")
  w:put("end")
end

--- A schema whose failing is no fault by itself: `then_put` is written for when it holds.
local function write_try(w, s, schema, then_put, else_put)
  local E = "nil"
  if s.E ~= "nil" then
    E = w:name("e")
    w:put("local %s = %s", E, s.E == s.own and "{}" or s.E .. " and {}")
  end
  w:put("if %s then", w:call(s, schema, s.v, E, s.p))
  if E ~= "nil" then
    w:put(s.E == s.own and "merge(%s, %s)" or "if %s then merge(%s, %s) end", s.E,
      s.E == s.own and E or s.E, E)
  end
  then_put()
  if else_put then
    w:put("else")
    else_put()
  end
  w:put("end")
end

local function write_any(w, s, list)
  if not w.explains and s.E == "nil" then
    local calls = {}
    for i, schema in ipairs(list) do
      calls[i] = w:call(s, schema, s.v, "nil", s.p)
    end
    w:put("if not (%s) then return false end", #calls > 0 and table.concat(calls, " or ") or "false")
    return
  end
  local hit = w:name("h")
  w:put("local %s = false", hit)
  w:tried(function(mark)
    for _, schema in ipairs(list) do
      write_try(w, s, schema, function()
        w:put("%s = true", hit)
      end)
    end
    w:put("if %s then %s else", hit, mark and ("forget(%s)"):format(mark) or "")
    w:fail_text(s, "/anyOf", "must fit at least one of %d schemas", #list)
    w:put("end")
  end)
end

local function write_one(w, s, list)
  local hits = w:name("h")
  w:put("local %s = 0", hits)
  w:tried(function(mark)
    for _, schema in ipairs(list) do
      write_try(w, s, schema, function()
        w:put("%s = %s + 1", hits, hits)
      end)
    end
    w:put("if %s > 0 then %s end", hits, mark and ("forget(%s)"):format(mark) or "")
    w:put("if %s ~= 1 then", hits)
    w:fail(s, "/oneOf", ('%s .. (%s == 0 and "none" or tostring(%s))'):format(
      quote(("must fit exactly one of %d schemas, and fits "):format(#list)), hits, hits))
    w:put("end")
  end)
end

local function write_not(w, s, schema)
  w:tried(function(mark)
    local held = w:name("h")
    w:put("local %s = %s", held, w:call(s, schema, s.v, "nil", s.p))
    if mark then
      w:put("forget(%s)", mark)
    end
    w:put("if %s then", held)
    w:fail_text(s, "/not", "must not fit this schema")
    w:put("end")
  end)
end

local function write_if(w, s)
  local schema = s.schema
  if schema["then"] == nil and schema["else"] == nil and s.E == "nil" then
    return
  end
  w:tried(function(mark)
    local function branch(name)
      return function()
        if mark then
          w:put("forget(%s)", mark)
        end
        if schema[name] ~= nil then
          w:must(s, "/" .. name, schema[name], s.v, s.E, s.p)
        end
      end
    end
    write_try(w, s, schema["if"], branch("then"), branch("else"))
  end)
end

local function write_combined(w, s)
  local schema = s.schema
  for i, part in ipairs(schema.allOf or {}) do
    w:must(s, "/allOf/" .. (i - 1), part, s.v, s.E, s.p)
  end
  if schema.anyOf then
    w:put("do")
    write_any(w, s, schema.anyOf)
    w:put("end")
  end
  if schema.oneOf then
    w:put("do")
    write_one(w, s, schema.oneOf)
    w:put("end")
  end
  if schema["not"] ~= nil then
    w:put("do")
    write_not(w, s, schema["not"])
    w:put("end")
  end
  if schema["if"] ~= nil then
    w:put("do")
    write_if(w, s)
    w:put("end")
  end
end

local function write_unevaluated(w, s)
  local items, members = s.schema.unevaluatedItems, s.schema.unevaluatedProperties
  if items ~= nil then
    local i, item = w:name("i"), w:name("v")
    w:put('if %s == "array" then for %s = 1, #%s do if not %s[%s] then', s.k, i, s.v, s.E, i)
    w:put("local %s = %s[%s]", item, s.v, i)
    w:must(s, "/unevaluatedItems", items, item, "nil", hold_path(w, item_path(w, s, i)))
    w:mark(s, i)
    w:put("end end end")
  end
  if members ~= nil then
    local name, item = w:name("s"), w:name("v")
    w:put('if %s == "object" then for key, %s in pairs(%s) do', s.k, item, s.v)
    w:put('local %s = type(key) == "string" and key or tostring(key)', name)
    w:put("if not %s[%s] then", s.E, name)
    w:must(s, "/unevaluatedProperties", members, item, "nil", hold_path(w, name_path(w, s, name)))
    w:mark(s, name)
    w:put("end end end")
  end
end

local BY_KIND = {
  { "number", write_number, { "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf" } },
  { "string", write_string, { "minLength", "maxLength", "pattern", "format" } },
  { "array", write_array, { "minItems", "maxItems", "uniqueItems", "prefixItems", "items", "contains" } },
  { "object", write_object, { "required", "minProperties", "maxProperties", "dependentRequired",
    "properties", "patternProperties", "additionalProperties", "propertyNames", "dependentSchemas" } },
}

local function has_any(get, names)
  for _, name in ipairs(names) do
    if get(name) ~= nil then
      return true
    end
  end
  return false
end

local function write_by_kind(w, s, get)
  for _, row in ipairs(BY_KIND) do
    if has_any(get, row[3]) then
      w:put("if %s == %s then", s.k, quote(row[1]))
      row[2](w, s, get)
      w:put("end")
    end
  end
end

function write_schema(w, schema, s)
  local function get(name)
    return keyword(w.tree, schema, name)
  end
  s.schema, s.info = schema, w.tree.info[schema]
  s.place = s.info.place
  s.k = w:name("k")
  w:put("local %s = kind(%s)", s.k, s.v)
  local outer = s.E
  local collects = schema.unevaluatedItems ~= nil or schema.unevaluatedProperties ~= nil
  if collects then
    s.E = w:name("e")
    s.own = s.E
    w:put("local %s = {}", s.E)
  end
  write_refs(w, s)
  if get("type") ~= nil then
    write_type(w, s, get("type"))
  end
  if get("enum") ~= nil then
    write_enum(w, s, get("enum"))
  end
  if get("const") ~= nil then
    write_const(w, s, get("const"))
  end
  write_by_kind(w, s, get)
  write_combined(w, s)
  write_unevaluated(w, s)
  if collects and outer ~= "nil" then
    w:put("if %s then merge(%s, %s) end", outer, outer, s.E)
  end
end

local HEAD = [[
local F, C, formats, kind, what, list, equal, one_of, unique, multiple, length, match, merge, enter,
  fault, noted, forget, escape, too_deep, type, pairs, ipairs, tostring = ...
]]

local function add_dynamic(w, t)
  for _, resource in pairs(t.resources) do
    for _, schema in pairs(resource.dynamic) do
      if t.info[schema].linked then
        w:function_of(schema)
      end
    end
  end
end

local function write_function(w, t, i)
  local entry = w.order[i]
  w.begun, w.names = #w.lines, 0
  w:put("F[%d] = function(v, n, D, E%s)", i, w.explains and ", p" or "")
  w:put(w.explains and "local ok = true" or "")
  if type(entry) == "function" then
    entry()
  else
    w:put("if n > %d then return too_deep() end", w.depth)
    write_schema(w, entry, { v = "v", E = t.tracks and "E" or "nil", p = "p", level = 0 })
  end
  w:put(w.explains and "return ok" or "return true")
  w:put("end")
end

--- The text, its constants, the number of each schema's function, and that of the root.
function M.write(t, options)
  local w = setmetatable({
    tree = t, lines = { HEAD }, constants = {}, functions = {}, order = {}, names = 0, begun = 0,
    explains = options.explains, formats = options.formats, known_formats = options.known_formats,
    depth = options.depth,
  }, Writer)
  local root = w:function_of(t.root)
  if t.uses_dynamic then
    add_dynamic(w, t)
  end
  local i = 1
  while w.order[i] do -- writing one may ask for more
    write_function(w, t, i)
    i = i + 1
  end
  return table.concat(w.lines, "\n"), w.constants, w.functions, root
end

return M
