--- A plugin's phases, called one by one with a made ctx. The plugin is loaded as a gateway loads it:
--- its conf is held to its schema, it lives in the sandbox, init has made its state.
local driver = require "gateway.driver"
local native = require "gateway.spec.native"
local scope = require "gateway.spec.scope"
local wait = require "gateway.spec.wait"

local M = {}

local exchanges = setmetatable({}, { __mode = "k" }) -- ctx -> its exchange
local count = 0 -- makes names, so that no two plugins share an instance
local blank -- a conf without plugins: where a ctx lives that has not met one yet

local PHASES = { "rewrite", "access", "balancer", "header_filter", "log" }

--------------------------------------------------------------------------------
-- Confs

local HEAD = "listen: [ { name: spec, address: \"127.0.0.1:0\" } ]\n"

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function load_conf(dir, text)
  local path = dir .. "/gateway.yaml"
  write(path, text)
  local conf = native.conf(path, require("gateway.spec").shipped)
  local ok, report = conf:load()
  if not ok then
    conf:close()
    return nil, (report:gsub("\n$", ""))
  end
  return conf
end

local function get_blank()
  if not blank then
    local dir = native.folder()
    blank = assert(load_conf(dir, HEAD))
    native.remove(dir)
  end
  return blank
end

--------------------------------------------------------------------------------
-- ctx

--- { name = value or { values } } or { { name, value }, … } -> flat list.
local function flat(fields)
  local list = {}
  local function add(name, value)
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      list[#list + 1] = name
      list[#list + 1] = tostring(one)
    end
  end
  if fields and fields[1] then
    for _, pair in ipairs(fields) do
      add(pair[1], pair[2])
    end
    return list
  end
  local names = {}
  for name in pairs(fields or {}) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    add(name, fields[name])
  end
  return list
end

local KNOWN = {}
for word in ([[method scheme host port path query headers params body client_ip client_port
  upstream_address response consumer tenant session bytes tries id]]):gmatch("%S+") do
  KNOWN[word] = true
end

--- A real ctx of a request that nobody sent.
---@param request? table  method, scheme, host, port, path, query (text), headers, body, params,
---  client_ip, client_port, id, consumer, tenant, session; for the phases after the upstream:
---  response = { status, headers, body, from_gateway }, upstream_address, bytes, tries; `body`: that of
---  an answer of the gateway, which header_filter may read
function M.ctx(request)
  request = request or {}
  for key in pairs(request) do
    if not KNOWN[key] then
      wait.fail(("ctx: no field %s"):format(tostring(key)))
    end
  end
  local response = request.response or {}
  local exchange, slot = native.exchange(get_blank(), {
    method = request.method, scheme = request.scheme, host = request.host, port = request.port,
    path = request.path, query = request.query, headers = flat(request.headers),
    params = flat(request.params), body = request.body, client_ip = request.client_ip,
    client_port = request.client_port, upstream_address = request.upstream_address,
    bytes = request.bytes, tries = request.tries, status = response.status,
    response_headers = flat(response.headers), from_gateway = response.from_gateway or false,
    response_body = response.body,
  })
  -- The driver makes a ctx for the first plugin that needs it; this one only takes it along.
  local ctx
  driver.build({ { number = 0, fn = function(_, made) ctx = made end } }, "access")(slot, 1)
  ctx.consumer, ctx.tenant, ctx.session = request.consumer, request.tenant, request.session
  if request.id then
    ctx.id = request.id
  end
  exchanges[ctx] = exchange
  scope.own(exchange)
  return ctx
end

local function exchange_of(ctx)
  local exchange = exchanges[ctx]
  if not exchange then
    wait.fail("this ctx was not made by kit.ctx()")
  end
  return exchange
end

--- The request's body as the upstream would get it.
function M.body(ctx) return exchange_of(ctx):body() end
--- Which target of the upstream balancer has chosen, from 1; nil: none.
function M.target(ctx) return exchange_of(ctx):target() end

--------------------------------------------------------------------------------
-- Plugins

local plugin = {}
plugin.__index = plugin

local function answer_of(exchange)
  local status, body, list = exchange:answer()
  if not status then
    return nil
  end
  local headers = {}
  for i = 1, #list, 2 do
    local name = list[i]:lower()
    headers[name] = headers[name] and headers[name] .. ", " .. list[i + 1] or list[i + 1]
  end
  local answer = { status = status, body = body, headers = headers }
  if (headers["content-type"] or ""):find("json", 1, true) then
    answer.json = gw.json.decode(body)
  end
  return answer
end

local function run(self, phase, ctx, chunk, last, ...)
  local exchange = exchange_of(ctx)
  local result, more, text, code, reason = exchange:run(self.conf, phase, chunk, last, ...)
  if not result then
    wait.fail(("plugin %s has no %s"):format(self.name, phase))
  end
  if result == "failed" then
    wait.fail(more)
  end
  return result, more, exchange, text, code, reason
end

for _, phase in ipairs(PHASES) do
  --- Runs the phase to its end. Returns the answer { status, headers, body, json } that it gave by
  --- ctx:exit or ctx:problem, or nil; "reroute" as second value when it asked for that. An error
  --- in the plugin is raised.
  plugin[phase] = function(self, ctx)
    local result, _, exchange = run(self, phase, ctx)
    if result == "answered" then
      return answer_of(exchange)
    end
    return nil, result == "reroute" and result or nil
  end
end

--- One piece of the answer's body; returns what is sent instead (the piece itself: unchanged). A
--- plugin with body = "buffered" gets the pieces as one with the last, and may wait; before it,
--- nothing is sent. What header_filter has assigned is read by ctx.response.body.
function plugin:body_filter(ctx, chunk, last)
  local _, changed = run(self, "body_filter", ctx, chunk, last)
  return changed or chunk
end

--- One message { data, type = "text" | "binary", from = "client" | "upstream" }. Returns what goes on
--- and its type; false: nothing does; nil, code, reason: the WebSocket is closed.
function plugin:message(ctx, msg)
  local result, data, _, text, code, reason = run(self, "message", ctx, msg.data,
    msg.type ~= "binary", msg.from == "upstream")
  if result == "close" then
    return nil, code, reason
  end
  return data, data and (text and "text" or "binary") or nil
end

local function yaml(value)
  return gw.json.encode(value)
end

local function conf_text(self, conf)
  local options = self.options
  local item = { [self.name] = conf or gw.json.decode("{}") }
  for key, value in pairs(options.binding or {}) do
    item[key] = value
  end
  local route = { name = options.route or self.route, match = { path = "/*" }, plugins = { item } }
  if options.upstreams then
    route.upstream = next(options.upstreams)
  else
    route.respond = { status = 200, body = "" }
  end
  local lines = { HEAD, "plugin_paths: " .. yaml(self.paths), "routes: " .. yaml({ route }) }
  for _, key in ipairs { "shared", "upstreams", "limits" } do
    if options[key] then
      lines[#lines + 1] = key .. ": " .. yaml(options[key])
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

--- A source, a path, or a name that is looked for in plugins/ here and beside the runtime.
local function find(self, what)
  local paths = { "plugins" }
  if what:find("\n") then
    self.name = self.options.name or what:match("name%s*=%s*[\"']([%w_-]+)[\"']")
    if not self.name then
      wait.fail("plugin: the source does not say its name")
    end
    native.mkdir(self.dir .. "/plugins")
    write(self.dir .. "/plugins/" .. self.name .. ".lua", what)
    paths = { self.dir .. "/plugins" }
  elseif what:find("%.lua$") then
    if native.kind(what) ~= "file" then
      wait.fail("plugin: no file " .. what)
    end
    local folder = what:match("^(.*)/[^/]*$") or "."
    self.name = what:match("([^/]*)%.lua$")
    paths = { folder }
  else
    self.name = what
  end
  local cwd = native.cwd()
  for i, path in ipairs(paths) do
    paths[i] = path:sub(1, 1) == "/" and path or cwd .. "/" .. path
  end
  self.paths = paths
end

--- Loads a plugin with a conf; raises what `moongate check` would say about it.
---@param what string  name, path (….lua) or source
---@param conf? table
---@param options? table  shared = { limits = "16m" }, upstreams, limits (as in a conf);
---  binding = { when = …, on_error = …, id = … }; route: the route's name
function M.new(what, conf, options)
  count = count + 1
  local self = setmetatable({ options = options or {}, route = "spec-" .. count,
    dir = native.folder() }, plugin)
  scope.own(self)
  find(self, what)
  local loaded, report = load_conf(self.dir, conf_text(self, conf))
  if not loaded then
    wait.fail(report)
  end
  self.conf = loaded
  return self
end

--- What a conf of this plugin is told by its schema: nil when it is fine, or the report.
function M.check(what, conf, options)
  local ok, plugin_or_report = pcall(M.new, what, conf, options)
  if ok then
    plugin_or_report:close()
    scope.disown(plugin_or_report)
    return nil
  end
  return plugin_or_report
end

--- Before a conf goes: no ctx may belong to it.
local function leave_all()
  for ctx, exchange in pairs(exchanges) do
    if not pcall(exchange.join, exchange, get_blank()) then
      exchanges[ctx] = nil -- closed with its test
    end
  end
end

--- Another conf for the same instance: its init gets the old state, as at a reload.
function plugin:reload(conf)
  local loaded, report = load_conf(self.dir, conf_text(self, conf))
  if not loaded then
    wait.fail(report)
  end
  local old = self.conf
  self.conf = loaded
  leave_all()
  old:close()
end

--- Runs stop. What its dictionaries hold is forgotten: the next test begins with empty ones.
function plugin:close()
  if self.conf then
    leave_all()
    self.conf:close()
    self.conf = nil
    for name in pairs(self.options.shared or {}) do
      gw.shared[name]:flush()
    end
  end
  if self.dir then
    native.remove(self.dir)
    self.dir = nil
  end
end

--- For main.lua, behind the last test.
function M.close_blank()
  if blank then
    blank:close()
    blank = nil
  end
end

return M
