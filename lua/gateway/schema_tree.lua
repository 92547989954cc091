--- gw.schema, first half: copies schemas, checks their keywords, finds `$id` and anchors, and
--- resolves every reference that the root can reach. Nothing is ever fetched.
local uri = require "gateway.schema_uri"
local translate = require "gateway.schema_pattern"

local M = {}

local DEPTH_MAX = 256      -- levels of a schema, as a table
local SCHEMAS_MAX = 20000  -- subschemas of all documents together

--- What cannot be a schema; compile() makes it an error at its caller.
local function bad(place, fmt, ...)
  if #place > 300 then
    place = place:sub(1, 300) .. "…"
  end
  error({ schema = place .. ": " .. fmt:format(...) }, 0)
end
M.bad = bad

local function escape(key)
  return (key:gsub("~", "~0"):gsub("/", "~1"))
end
M.escape = escape

--- Keywords that hold schemas, and how.
local HOLDS = {
  items = "one", contains = "one", additionalProperties = "one", propertyNames = "one",
  unevaluatedItems = "one", unevaluatedProperties = "one", ["not"] = "one", ["if"] = "one",
  ["then"] = "one", ["else"] = "one", contentSchema = "one",
  allOf = "list", anyOf = "list", oneOf = "list", prefixItems = "list",
  properties = "map", patternProperties = "map", dependentSchemas = "map", ["$defs"] = "map",
  definitions = "map",
}

local VALIDATION = {}
for name in ([[type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength
  minLength pattern maxItems minItems uniqueItems maxContains minContains maxProperties
  minProperties required dependentRequired]]):gmatch("%S+") do
  VALIDATION[name] = true
end

--------------------------------------------------------------------------------
-- A copy: the caller may change its table later, and one table in two places is two schemas.

local function is_array(json, value)
  return json.is_array(value) or value[1] ~= nil
end

local function copy(json, value, place, depth)
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" or value == json.null then
    if value ~= value then
      bad(place, "not a number")
    end
    return value
  elseif kind ~= "table" then
    bad(place, "a %s is not possible here", kind)
  elseif depth > DEPTH_MAX then
    bad(place, "deeper than %d levels, or a table contains itself", DEPTH_MAX)
  end
  local out = {}
  if is_array(json, value) then
    for i = 1, #value do
      out[i] = copy(json, value[i], place .. "/" .. (i - 1), depth + 1)
    end
    return json.array(out)
  end
  for key, item in pairs(value) do
    if type(key) ~= "string" then
      bad(place, "a key must be a text, not a %s", type(key))
    end
    out[key] = copy(json, item, place .. "/" .. escape(key), depth + 1)
  end
  return out
end

--------------------------------------------------------------------------------
-- What the keywords may hold

local TYPES = { null = true, boolean = true, integer = true, number = true, string = true, array = true,
  object = true }

local function need(ok, place, what)
  if not ok then
    bad(place, "%s expected", what)
  end
end

local function check_number(_, value, place)
  need(type(value) == "number", place, "a number")
end

local function check_count(_, value, place)
  need(type(value) == "number" and value >= 0 and value % 1 == 0, place,
    "an integer that is not negative")
end

local function check_text(_, value, place)
  need(type(value) == "string", place, "a text")
end

local function check_flag(_, value, place)
  need(type(value) == "boolean", place, "true or false")
end

-- {} in Lua may be either: an empty list is let in as well.
local function check_list(t, value, place)
  need(type(value) == "table" and (t.json.is_array(value) or next(value) == nil), place, "a list")
end

local function check_map(t, value, place)
  need(type(value) == "table" and (not t.json.is_array(value) or next(value) == nil), place, "a map")
end

local function check_names(t, value, place)
  check_list(t, value, place)
  for i, name in ipairs(value) do
    check_text(t, name, place .. "/" .. (i - 1))
  end
end

local function check_pattern(t, value, place)
  check_text(t, value, place)
  local _, err, code = t.find("", translate(value))
  if code == "invalid" or code == "limit" then
    bad(place, "%s", err)
  end
end

local CHECKS = {
  ["$id"] = function(_, value, place)
    need(type(value) == "string" and value:find("^[^#]*#?$"), place, "a URI without fragment")
  end,
  ["$anchor"] = function(_, value, place)
    need(type(value) == "string" and value:find("^[%a_][%w._-]*$"), place, "a name")
  end,
  ["$schema"] = check_text, ["$ref"] = check_text, ["$dynamicRef"] = check_text, format = check_text,
  ["$vocabulary"] = check_map,
  type = function(t, value, place)
    local list = type(value) == "string" and { value } or value
    need(type(list) == "table" and list[1] ~= nil, place, "the name of a type, or a list of them")
    for _, name in ipairs(list) do
      check_text(t, name, place)
      if not TYPES[name] then
        bad(place, "%q is no type", name)
      end
    end
  end,
  enum = check_list,
  multipleOf = function(_, value, place)
    need(type(value) == "number" and value > 0, place, "a number above 0")
  end,
  maximum = check_number, exclusiveMaximum = check_number,
  minimum = check_number, exclusiveMinimum = check_number,
  maxLength = check_count, minLength = check_count, maxItems = check_count, minItems = check_count,
  maxContains = check_count, minContains = check_count,
  maxProperties = check_count, minProperties = check_count,
  uniqueItems = check_flag, required = check_names, pattern = check_pattern,
  dependentRequired = function(t, value, place)
    check_map(t, value, place)
    for key, names in pairs(value) do
      check_names(t, names, place .. "/" .. escape(key))
    end
  end,
  patternProperties = function(t, value, place)
    check_map(t, value, place)
    for key in pairs(value) do
      check_pattern(t, key, place .. "/" .. escape(key))
    end
  end,
}
CHECKS["$dynamicAnchor"] = CHECKS["$anchor"]

--------------------------------------------------------------------------------
-- Documents: `t` is { json, find, remotes, meta, resources = { [uri] }, info = { [schema] }, count }

local function place_of(resource, pointer)
  return resource.uri .. "#" .. pointer
end

local function add_resource(t, where, schema, resource)
  if t.resources[where] and t.resources[where] ~= resource then
    bad(where, "two schemas have this $id")
  end
  t.resources[where] = resource
  resource.root = resource.root or schema
end

local function new_resource(t, where)
  t.resource_count = t.resource_count + 1
  return { uri = where, anchors = {}, dynamic = {}, number = t.resource_count }
end

local walk

local function each_held(t, schema, place, fn)
  for keyword, how in pairs(HOLDS) do
    local value = schema[keyword]
    local at = "/" .. escape(keyword)
    if value ~= nil and how == "one" then
      fn(value, at, keyword)
    elseif value ~= nil then
      local check = how == "list" and check_list or check_map
      check(t, value, place .. at)
      for key, item in pairs(value) do
        fn(item, at .. "/" .. (how == "list" and tostring(key - 1) or escape(key)), keyword)
      end
    end
  end
end

local function add_anchors(schema, resource, place)
  for _, keyword in ipairs { "$anchor", "$dynamicAnchor" } do
    local name = schema[keyword]
    if name then
      if resource.anchors[name] and resource.anchors[name] ~= schema then
        bad(place, "the anchor %q is there twice", name)
      end
      resource.anchors[name] = schema
      if keyword == "$dynamicAnchor" then
        resource.dynamic[name] = schema
      end
    end
  end
end

--- Its own resource, where it has an `$id`.
local function enter(t, schema, pointer, resource)
  if not schema["$id"] then
    return pointer, resource
  end
  local own = uri.resolve(resource.uri, schema["$id"])
  if own == resource.uri and resource.root == schema then
    return pointer, resource
  end
  local inner = new_resource(t, own)
  inner.dialect = resource.dialect
  add_resource(t, own, schema, inner)
  return "", inner
end

function walk(t, schema, pointer, resource)
  if type(schema) == "boolean" then
    return
  end
  local place = place_of(resource, pointer)
  if type(schema) ~= "table" or (t.json.is_array(schema)) then
    bad(place, "a schema must be a map, true or false")
  end
  if t.info[schema] then
    return
  end
  t.count = t.count + 1
  if t.count > SCHEMAS_MAX then
    bad(place, "more than %d schemas", SCHEMAS_MAX)
  end
  for keyword, check in pairs(CHECKS) do
    if schema[keyword] ~= nil then
      check(t, schema[keyword], place .. "/" .. escape(keyword))
    end
  end
  pointer, resource = enter(t, schema, pointer, resource)
  if schema["$schema"] then
    resource.dialect = uri.resolve("", schema["$schema"])
  end
  t.info[schema] = { resource = resource, pointer = pointer, place = place_of(resource, pointer) }
  add_anchors(schema, resource, place)
  each_held(t, schema, place, function(item, at)
    walk(t, item, pointer .. at, resource)
  end)
end

local function add_document(t, where, value)
  local schema = copy(t.json, value, where .. "#", 0)
  local resource = new_resource(t, where)
  add_resource(t, where, schema, resource)
  if type(schema) == "table" and type(schema["$id"]) == "string" then
    local own = uri.resolve(where, (schema["$id"]:gsub("#$", "")))
    if own ~= where then
      resource.uri = own
      add_resource(t, own, schema, resource)
    end
  end
  walk(t, schema, "", resource)
  return schema
end

--- A resource by its URI: of what was read, of the given table, of the meta-schemas; nil.
local function find_resource(t, where)
  if not t.resources[where] then
    for name, value in pairs(t.remotes) do
      local own = uri.resolve("", name)
      if not t.resources[own] and not t.reading[own] then
        t.reading[own] = true
        add_document(t, own, value)
      end
    end
  end
  if not t.resources[where] then
    local value = t.meta(where)
    if value then
      add_document(t, where, value)
    end
  end
  return t.resources[where]
end

--------------------------------------------------------------------------------
-- References

local function by_pointer(t, resource, fragment)
  local node, base, pointer = resource.root, resource, ""
  for token in fragment:gmatch("/([^/]*)") do
    token = token:gsub("~1", "/"):gsub("~0", "~")
    pointer = pointer .. "/" .. escape(token)
    if type(node) ~= "table" then
      return nil
    end
    node = t.json.is_array(node) and node[(tonumber(token) or -1) + 1] or node[token]
    local info = type(node) == "table" and t.info[node]
    if info then
      base, pointer = info.resource, info.pointer
    end
  end
  if node ~= nil then
    walk(t, node, pointer, base) -- under a keyword that we do not know
  end
  return node
end

local function resolve(t, info, reference, place)
  local where, fragment = uri.resolve(info.resource.uri, reference)
  local resource = find_resource(t, where)
  if not resource then
    bad(place, "%q is not there (references are never fetched: give it in options.schemas)", where)
  end
  fragment = uri.decode(fragment or "")
  local target
  if fragment == "" or fragment:sub(1, 1) == "/" then
    target = by_pointer(t, resource, fragment)
  else
    target = resource.anchors[fragment]
  end
  if target == nil then
    bad(place, "there is no %q", reference)
  end
  return target, fragment
end

--- Which vocabularies hold for a resource.
local function settle_dialect(t, resource, place)
  if resource.settled then
    return
  end
  resource.settled = true
  local dialect = resource.dialect
  if not dialect or dialect == "https://json-schema.org/draft/2020-12/schema" then
    return
  end
  local meta = find_resource(t, dialect)
  if not meta then
    bad(place, "$schema: the dialect %q is not known: only draft 2020-12 is", dialect)
  end
  local vocabulary = type(meta.root) == "table" and meta.root["$vocabulary"]
  if vocabulary then
    local base = "https://json-schema.org/draft/2020-12/vocab/"
    resource.no_validation = vocabulary[base .. "validation"] == nil
    resource.assert_formats = vocabulary[base .. "format-assertion"] ~= nil
  end
end

local link

local function link_refs(t, schema, info)
  if schema["$ref"] then
    info.ref = resolve(t, info, schema["$ref"], info.place .. "/$ref")
    link(t, info.ref, true)
  end
  local reference = schema["$dynamicRef"]
  if reference then
    local target, fragment = resolve(t, info, reference, info.place .. "/$dynamicRef")
    info.dynamic_ref = target
    if type(target) == "table" and target["$dynamicAnchor"] == fragment then
      info.dynamic_name = fragment
      t.uses_dynamic = true
    end
    link(t, target, true)
  end
end

function link(t, schema, is_target)
  if type(schema) == "boolean" then
    return
  end
  local info = t.info[schema]
  info.is_target = info.is_target or is_target
  if info.linked then
    return
  end
  info.linked = true
  settle_dialect(t, info.resource, info.place)
  if schema.unevaluatedItems ~= nil or schema.unevaluatedProperties ~= nil then
    t.tracks = true
  end
  link_refs(t, schema, info)
  for _, anchor in pairs(info.resource.dynamic) do
    link(t, anchor, true)
  end
  each_held(t, schema, info.place, function(item, _, keyword)
    if keyword ~= "$defs" and keyword ~= "definitions" and keyword ~= "contentSchema" then
      link(t, item)
    end
  end)
end

--- The value of a keyword, where its vocabulary holds.
function M.keyword(t, schema, name)
  if VALIDATION[name] and t.info[schema].resource.no_validation then
    return nil
  end
  return schema[name]
end

--- { root, info, tracks, uses_dynamic, … }: all that the root needs, linked.
function M.read(schema, options)
  local t = {
    json = options.json, find = options.find, remotes = options.schemas or {}, meta = options.meta,
    resources = {}, info = {}, reading = {}, count = 0, resource_count = 0,
  }
  t.root = add_document(t, options.base or "", schema)
  link(t, t.root)
  return t
end

return M
