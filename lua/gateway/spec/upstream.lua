--- An upstream that speaks bytes, inside the spec's own loop.
local native = require "gateway.spec.native"
local scope = require "gateway.spec.scope"
local wait = require "gateway.spec.wait"
local wire = require "gateway.spec.wire"

local M = {}

local upstream = {}
upstream.__index = upstream

local DEFAULT = { status = 200, headers = { ["Content-Type"] = "text/plain" }, body = "upstream\n" }

--- The connection as a handler sees it: requests that it reads are counted.
local function recorded(self, conn)
  local read_head, read_request = conn.read_head, conn.read_request

  function conn:read_head(timeout)
    local head, err, came = read_head(self, timeout)
    if head and not self.whole then
      local request = wire.parse_request(head)
      self.upstream.seen[#self.upstream.seen + 1] = request
    end
    return head, err, came
  end

  function conn:read_request(timeout)
    self.whole = true
    local request, err = read_request(self, timeout)
    self.whole = false
    if request then
      request.connection = self.number
      self.upstream.seen[#self.upstream.seen + 1] = request
    end
    return request, err
  end

  conn.upstream = self
  return conn
end

--- Answers each request of a connection until one side wants no more.
local function serve(self, conn)
  while true do
    local request = conn:read_request(86400)
    if not request then
      return
    end
    local answer = self.scripted
    if type(answer) == "function" then
      answer = answer(request, conn)
    end
    if type(answer) == "table" then
      answer = wire.answer_bytes(answer)
      if request.method == "HEAD" then
        answer = answer:match("^.-\r\n\r\n")
      end
    end
    if answer == nil or not conn:write(answer) then
      return
    end
    local head = answer:match("^.-\r\n\r\n") or answer
    local lower = head:lower()
    if lower:find("\r\nconnection: close", 1, true) or not (lower:find("\r\ncontent-length:", 1, true)
      or lower:find("\r\ntransfer-encoding:", 1, true) or lower:match("^http/1%.%d [123]?04")
      or lower:match("^http/1%.%d 304") or request.method == "HEAD") then
      return
    end
  end
end

local function run(self, conn)
  local ok, err = xpcall(self.handler or serve, function(err)
    return type(err) == "table" and err or debug.traceback(tostring(err), 2)
  end, self.handler and conn or self, self.handler and self or conn)
  conn:close()
  self.conns[conn] = nil
  if not ok and not self.stopped then
    scope.fail_later(type(err) == "table" and err or "in an upstream: " .. tostring(err))
  end
end

local function accept_all(self)
  while not self.stopped do
    local fd, err = self.fd:accept()
    if fd then
      self.accepted = self.accepted + 1
      local conn = recorded(self, wire.conn(fd, "upstream"))
      conn.number = self.accepted
      self.conns[conn] = true
      native.go(run, self, conn)
    elseif err == "again" then
      self.fd:wait("r", 3600)
    else
      return
    end
  end
end

--- Listens on a free port of 127.0.0.1 (or on options.port).
---@param options? { port?: integer, address?: string, backlog?: integer }
function M.new(options)
  options = options or {}
  local fd, err = native.listen(options.address or "127.0.0.1", options.port or 0,
    options.backlog)
  if not fd then
    wait.fail("upstream: " .. err)
  end
  local self = setmetatable({ fd = fd, seen = {}, conns = {}, accepted = 0, scripted = DEFAULT,
    host = options.address or "127.0.0.1" }, upstream)
  self.port_number = fd:port()
  native.go(accept_all, self)
  return scope.own(self)
end

function upstream:port() return self.port_number end
--- "127.0.0.1:port", for a conf.
function upstream:address() return ("%s:%d"):format(self.host, self.port_number) end
function upstream:url(path) return "http://" .. self:address() .. (path or "") end

--- What each request is answered with from now on: bytes; { status, headers, body, chunked }; or
--- a function (request, conn) that returns one of them (nil: the connection is closed).
function upstream:answer(answer)
  self.scripted = answer
  return self
end

--- Each connection from now on is f's: f(conn, upstream). It is closed when f returns. With
--- nothing: answers again.
function upstream:on(f)
  self.handler = f
  return self
end

--- How many requests have come.
function upstream:requests() return #self.seen end
--- The n-th request, or the last: { method, path, query, target, version, headers, list, body, raw }.
function upstream:request(n) return self.seen[n or #self.seen] end
--- How many connections have come; how many are open.
function upstream:connections()
  local open = 0
  for _ in pairs(self.conns) do
    open = open + 1
  end
  return self.accepted, open
end

--- Forgets what has come.
function upstream:clear()
  self.seen = {}
end

--- Closes the listener and every connection (reset: rudely).
function upstream:stop(reset)
  if self.stopped then
    return
  end
  self.stopped = true
  self.fd:close()
  for conn in pairs(self.conns) do
    conn.fd:close(reset)
  end
end

--- Closes the connections, and listens on.
function upstream:drop(reset)
  for conn in pairs(self.conns) do
    conn.fd:close(reset)
  end
end

function upstream:close() self:stop() end

return M
