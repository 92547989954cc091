--- Sets, adds and removes headers of requests and answers.
---
--- First `remove`, then `set` (replaces), then `add` (beside what is there).
---
---   plugins:
---     - headers:
---         request: { set: { x-env: production }, remove: [ x-debug ] }
---         response: { set: { x-content-type-options: nosniff }, remove: [ server ] }

local name_pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"

local function changes(of)
  local values = { type = "object", additionalProperties = { type = "string" } }
  return {
    type = "object",
    description = "Changes to " .. of .. ".",
    properties = {
      set = { type = "object", additionalProperties = values.additionalProperties,
        description = "Name and value; replaces what is there." },
      add = { type = "object", additionalProperties = values.additionalProperties,
        description = "Name and value; beside what is there." },
      remove = { type = "array", items = { type = "string", pattern = name_pattern },
        description = "Names." },
    },
  }
end

local plugin = {
  name = "headers",
  priority = 800,
  schema = {
    type = "object",
    properties = {
      request = changes("the request, before the upstream gets it"),
      response = changes("the answer, also one of the gateway's own"),
    },
  },
}

-- By these a message is framed: they are the gateway's own.
local FRAMING = { ["content-length"] = true, ["transfer-encoding"] = true, connection = true,
  upgrade = true, te = true, trailer = true, ["keep-alive"] = true }

local function check_name(name, which)
  if FRAMING[name:lower()] then
    error(("%s: header %s: the gateway sets it by itself"):format(which, name), 0)
  end
  return name
end

--- Lists are quicker to walk than tables with names; their order is the same in all workers.
local function list_of(part, which)
  local list = {}
  for name, value in pairs(part[which] or {}) do
    if not name:find("^[%w!#$%%&'*+.^_`|~-]+$") or value:find("[%z\1-\8\10-\31\127]") then
      error(("%s: header %q: name or value may not be sent"):format(which, name), 0)
    end
    list[#list + 1] = { check_name(name, which), value }
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

local function names_of(part)
  for _, name in ipairs(part.remove or {}) do
    check_name(name, "remove")
  end
  return part.remove or {}
end

local function compile(part)
  if not part then
    return nil
  end
  return { remove = names_of(part), set = list_of(part, "set"), add = list_of(part, "add") }
end

function plugin.init(conf)
  return { request = compile(conf.request), response = compile(conf.response) }
end

local function apply(headers, part)
  local remove, set, add = part.remove, part.set, part.add
  for i = 1, #remove do
    headers[remove[i]] = nil
  end
  for i = 1, #set do
    headers[set[i][1]] = set[i][2]
  end
  for i = 1, #add do
    headers:add(add[i][1], add[i][2])
  end
end

function plugin.access(_, ctx)
  local part = ctx.state.request
  if part then
    apply(ctx.request.headers, part)
  end
end

function plugin.header_filter(_, ctx)
  local part = ctx.state.response
  if part then
    apply(ctx.response.headers, part)
  end
end

return plugin
