--- docs/plugins-reference.md is made of the plugins themselves; this holds it to them. To make it
--- anew:  UPDATE=1 build/moongate spec spec/plugins/reference_spec.lua
local kit = require("gateway.spec")

local FILE = "docs/plugins-reference.md"

local PHASES = { "init", "stop", "rewrite", "access", "balancer", "header_filter", "body_filter", "log",
  "message" }

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

--- The comment at the head of a plugin's file; what is indented is an example.
local function head_comment(source)
  local out, in_example = {}, false
  for line in source:gmatch("([^\n]*)\n") do
    local text = line:match("^%-%-%- ?(.*)$")
    if not text then
      break
    end
    local example = text:match("^  (.*)$")
    if example and not in_example then
      out[#out + 1] = "```yaml"
    elseif not example and in_example then
      out[#out + 1] = "```"
    end
    in_example = example ~= nil
    out[#out + 1] = example or text
  end
  if in_example then
    out[#out + 1] = "```"
  end
  return table.concat(out, "\n")
end

local function phases_of(source)
  local out = {}
  for _, phase in ipairs(PHASES) do
    if source:find("\nfunction plugin." .. phase .. "(", 1, true) then
      out[#out + 1] = "`" .. phase .. "`"
    end
  end
  return table.concat(out, " ")
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local function code(value)
  return "`" .. value:gsub("|", "\\|") .. "`"
end

local function list_text(list)
  local out = {}
  for i, value in ipairs(list) do
    out[i] = type(value) == "string" and value or gw.json.encode(value)
  end
  return table.concat(out, ", ")
end

local kind_text

function kind_text(schema)
  if schema.enum then
    return code(table.concat(schema.enum, " "))
  elseif schema.type == "array" then
    return "array of " .. kind_text(schema.items)
  end
  return type(schema.type) == "table" and table.concat(schema.type, " or ") or schema.type
end

local function type_text(schema)
  local kind, bounds = kind_text(schema), {}
  for _, key in ipairs { "minimum", "exclusiveMinimum", "maximum", "minItems", "maxItems", "minLength" } do
    if schema[key] then
      bounds[#bounds + 1] = ("%s %.15g"):format(key, schema[key])
    end
  end
  if schema.pattern then
    bounds[#bounds + 1] = code(schema.pattern)
  end
  return kind .. (#bounds > 0 and ", " .. table.concat(bounds, ", ") or "")
end

local function default_text(schema, required)
  if required then
    return "required"
  elseif schema.default == nil then
    return ""
  elseif type(schema.default) == "table" then
    return code(list_text(schema.default))
  end
  return code(tostring(schema.default))
end

local function add_rows(out, schema, prefix)
  local required = {}
  for _, name in ipairs(schema.required or {}) do
    required[name] = true
  end
  for _, name in ipairs(sorted_keys(schema.properties or {})) do
    local part = schema.properties[name]
    out[#out + 1] = ("| `%s%s` | %s | %s | %s |"):format(prefix, name, type_text(part),
      default_text(part, required[name]), (part.description or ""):gsub("|", "\\|"))
    add_rows(out, part, prefix .. name .. ".")
    if type(part.additionalProperties) == "table" then
      add_rows(out, part.additionalProperties, prefix .. name .. ".*.")
    end
  end
end

local function render(plugins)
  local out = {
    "# The plugins",
    "",
    "Made of the plugins' own files by `spec/plugins/reference_spec.lua`, which fails when this is not",
    "what they say. `moongate plugins` lists them, `moongate schema` has their confs for editors.",
  }
  for _, plugin in ipairs(plugins) do
    local source = read(plugin.path)
    out[#out + 1] = ("\n## %s\n"):format(plugin.name)
    out[#out + 1] = ("Priority %d; phases: %s.\n"):format(plugin.priority, phases_of(source))
    out[#out + 1] = head_comment(source)
    out[#out + 1] = "\n| key | value | default | |\n|---|---|---|---|"
    add_rows(out, plugin.schema, "")
  end
  return table.concat(out, "\n") .. "\n"
end

describe("the reference of the plugins", function()
  it("says what the plugins say", function()
    local gateway = kit.gateway { conf = "routes: [ { name: r, match: { path: / }, respond: { status: 204 } } ]\n" }
    local exit, out, err = gateway:run("plugins", "--json")
    assert.equal(0, exit, err)
    local plugins = {}
    for _, plugin in ipairs(gw.json.decode(out)) do
      assert.is_true(plugin.error == nil or plugin.error == gw.json.null, tostring(plugin.error))
      plugins[#plugins + 1] = plugin
    end
    table.sort(plugins, function(a, b) return a.name < b.name end)
    assert.is_true(#plugins >= 6)
    local text = render(plugins)

    if os.getenv("UPDATE") then
      local file = assert(io.open(FILE, "wb"))
      file:write(text)
      file:close()
    end

    assert.equal(text, read(FILE))
  end)

  it("has each key of each plugin described", function()
    local gateway = kit.gateway { conf = "routes: [ { name: r, match: { path: / }, respond: { status: 204 } } ]\n" }
    local _, out = gateway:run("plugins", "--json")
    for _, plugin in ipairs(gw.json.decode(out)) do
      for name, part in pairs(plugin.schema.properties) do
        assert.is_string(part.description, plugin.name .. "." .. name)
      end
    end
  end)
end)
