--- A client that writes and reads the wire.
local scope = require "gateway.spec.scope"
local wire = require "gateway.spec.wire"

local M = {}

local client = {}
client.__index = client

--- To a gateway (its first listener, or the one named), or to a port of 127.0.0.1.
---@param to table|integer|string   a gateway, a port, or "unix:/path"
---@param options? { listener?: string, timeout?: number, address?: string }
function M.new(to, options)
  options = options or {}
  local self = setmetatable({ address = options.address or "127.0.0.1", conns = {},
    timeout = options.timeout }, client)
  if type(to) == "number" then
    self.port = to
  elseif type(to) == "string" then
    self.address = to
  else
    self.gateway, self.listener = to, options.listener
  end
  return scope.own(self)
end

--- A connection: write, read, read_until, read_all, read_answer, closed, half_close, reset, close.
function client:connect()
  local address, port = self.address, self.port
  if self.gateway then
    address, port = self.gateway:address(self.listener)
  end
  local conn = wire.connect(address, port, "client", self.timeout)
  self.conns[#self.conns + 1] = conn
  return conn
end

--- Sends bytes on a connection of their own and reads one answer.
function client:send(bytes)
  local conn = self:connect()
  conn:write(bytes)
  local answer = conn:read_answer(bytes:match("^%s*(%S+)"))
  if (answer.headers.connection or ""):lower():find("close", 1, true) then
    answer.closed = conn:closed()
  end
  conn:close()
  self.conns[#self.conns] = nil
  return answer
end

--- Sends { method, path, headers, body, host, version, chunked } and reads one answer.
function client:request(request)
  return self:send(wire.request_bytes(request))
end

function client:get(path, headers)
  return self:request { path = path, headers = headers }
end

--- Before the gateways end: none has to wait for a client that has nothing more to say.
function client:finish() self:close() end

function client:close()
  for _, conn in ipairs(self.conns) do
    conn:close()
  end
  self.conns = {}
end

return M
