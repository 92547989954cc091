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
local function recorded(upstream_of, conn)
  local read_head, read_request = conn.read_head, conn.read_request
  local whole = false -- read_request() itself reads a head

  local function note(request)
    request.connection = conn.number
    upstream_of.seen[#upstream_of.seen + 1] = request
  end

  function conn.read_head(it, timeout)
    local head, err, came = read_head(it, timeout)
    if head and not whole then
      note(wire.parse_request(head))
    end
    return head, err, came
  end

  function conn.read_request(it, timeout)
    whole = true
    local request, err = read_request(it, timeout)
    whole = false
    if request then
      note(request)
    end
    return request, err
  end

  return conn
end

--- The bytes of an answer; nil: none.
local function bytes_of(answer, request, conn)
  if type(answer) == "function" then
    answer = answer(request, conn)
  end
  if type(answer) ~= "table" then
    return answer
  end
  local bytes = wire.answer_bytes(answer)
  return request.method == "HEAD" and bytes:match("^.-\r\n\r\n") or bytes
end

--- Can the other side tell where this answer ends without the end of the connection?
local function keeps_open(bytes, request)
  -- What comes before the final head says nothing about it.
  local head = bytes:gsub("^HTTP/1%.%d 1%d%d.-\r\n\r\n", ""):match("^.-\r\n\r\n") or bytes
  head = head:lower()
  if head:find("\r\nconnection: close", 1, true) then
    return false
  end
  return request.method == "HEAD" or head:match("^http/1%.%d [23]04 ") ~= nil
    or head:find("\r\ncontent-length:", 1, true) ~= nil
    or head:find("\r\ntransfer-encoding:", 1, true) ~= nil
end

--- Answers each request of a connection until one side wants no more.
local function serve(self, conn)
  while true do
    local request = conn:read_request(86400)
    local bytes = request and bytes_of(self.scripted, request, conn)
    if not bytes or not conn:write(bytes) or not keeps_open(bytes, request) then
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
      local conn = wire.conn(fd, "upstream")
      conn.number = self.accepted
      recorded(self, conn)
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
--- "127.0.0.1:port", or "[::1]:port", for a conf.
function upstream:address()
  return (self.host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(self.host, self.port_number)
end
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
