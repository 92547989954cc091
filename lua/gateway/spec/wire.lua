--- Bytes on a connection, and the HTTP/1 messages in them, read plainly and independently of the
--- gateway's own code.
local native = require "gateway.spec.native"
local wait = require "gateway.spec.wait"

local M = {}

--- A short look at bytes, for messages.
function M.show(bytes, most)
  most = most or 300
  local text = bytes:sub(1, most):gsub("[^%g ]", function(c)
    return c == "\n" and "\\n" or c == "\r" and "\\r" or ("\\x%02x"):format(c:byte())
  end)
  return ('%d bytes "%s"%s'):format(#bytes, text, #bytes > most and "…" or "")
end

local conn = {}
conn.__index = conn

--- `what` stands in messages: "client", "upstream".
function M.conn(fd, what, timeout)
  return setmetatable({ fd = fd, what = what, buffer = "", timeout = timeout or wait.timeout },
    conn)
end

--- Connects, or raises.
function M.connect(address, port, what, timeout)
  local fd, err = native.connect(address, port)
  local self = fd and M.conn(fd, what, timeout)
  if fd and not fd:wait("w", self.timeout) then
    err = ("no connection within %g s"):format(self.timeout)
  elseif fd then
    err = fd:failed()
  end
  if err then
    if fd then
      fd:close()
    end
    wait.fail(("%s: connecting to %s:%s: %s"):format(what, address, tostring(port), err))
  end
  return self
end

local function deadline_of(self, timeout)
  return wait.now() + (timeout or self.timeout)
end

--- Reads what is there into the buffer. nil, "eof" | "reset" | …; nil, "timeout".
local function fill(self, deadline)
  while true do
    local data, err = self.fd:read()
    if data then
      self.buffer = self.buffer == "" and data or self.buffer .. data
      return true
    end
    if err ~= "again" then
      self.ended = err
      return nil, err
    end
    local left = deadline - wait.now()
    if left <= 0 or not self.fd:wait("r", math.min(left, 3600)) then
      return nil, "timeout"
    end
  end
end

local function too_late(self, wanted, timeout)
  wait.fail(("%s: no %s within %g s; received so far: %s"):format(self.what, wanted,
    timeout or self.timeout, M.show(self.buffer)))
end

local function take(self, n)
  local data = self.buffer:sub(1, n)
  self.buffer = self.buffer:sub(n + 1)
  return data
end

--- n bytes; or nil, "eof" | "reset" and what came. Without n: whatever comes first.
function conn:read(n, timeout)
  local deadline = deadline_of(self, timeout)
  if not n then
    if self.buffer == "" then
      local ok, err = fill(self, deadline)
      if err == "timeout" then
        too_late(self, "bytes", timeout)
      elseif not ok then
        return nil, err, ""
      end
    end
    return take(self, #self.buffer)
  end
  local pieces, have = { self.buffer }, #self.buffer
  self.buffer = ""
  while have < n do
    local ok, err = fill(self, deadline)
    pieces[#pieces + 1] = self.buffer
    have = have + #self.buffer
    self.buffer = ""
    if not ok then
      local came = table.concat(pieces)
      if err == "timeout" then
        self.buffer = came
        too_late(self, n .. " bytes", timeout)
      end
      return nil, err, came
    end
  end
  self.buffer = table.concat(pieces)
  return take(self, n)
end

--- Everything up to and with a Lua pattern; or nil, why and what came.
function conn:read_until(pattern, timeout)
  local deadline = deadline_of(self, timeout)
  while true do
    local _, last = self.buffer:find(pattern)
    if last then
      return take(self, last)
    end
    local ok, err = fill(self, deadline)
    if err == "timeout" then
      too_late(self, ("%q"):format(pattern), timeout)
    elseif not ok then
      return nil, err, take(self, #self.buffer)
    end
  end
end

--- All that comes until the other side ends; and how it ended ("eof" or "reset").
function conn:read_all(timeout)
  local deadline = deadline_of(self, timeout)
  local pieces = {}
  while true do
    local ok, err = fill(self, deadline)
    pieces[#pieces + 1] = self.buffer
    self.buffer = ""
    if not ok then
      local came = table.concat(pieces)
      if err == "timeout" then
        self.buffer = came
        too_late(self, "end", timeout)
      end
      return came, err
    end
  end
end

--- True when the other side has closed (or closes within the time), false when not. What still
--- comes before stays to be read.
function conn:closed(timeout)
  local deadline = deadline_of(self, timeout or 1)
  while not self.ended do
    local ok, err = fill(self, deadline)
    if not ok then
      return err ~= "timeout"
    end
  end
  return true
end

--- Writes all; raises when nothing goes for too long. nil, "reset": nobody takes it.
function conn:write(bytes, timeout)
  local deadline = deadline_of(self, timeout)
  local from = 1
  while from <= #bytes do
    local n, err = self.fd:write(bytes, from)
    if n then
      from = from + n
      deadline = deadline_of(self, timeout)
    elseif err ~= "again" then
      return nil, err
    elseif not self.fd:wait("w", math.max(0, deadline - wait.now())) then
      wait.fail(("%s: the other side takes no more: %d of %d bytes went"):format(self.what,
        from - 1, #bytes))
    end
  end
  return true
end

function conn:half_close() self.fd:half_close() end
function conn:close() self.fd:close() end
function conn:reset() self.fd:close(true) end
function conn:port() return (self.fd:port()) end
--- Small kernel buffers (bytes to send, bytes to receive) make a slow peer.
function conn:buffers(send, receive) self.fd:buffers(send, receive) end

--------------------------------------------------------------------------------
-- Messages

local headers_mt = { __index = function(headers, name)
  local lower = type(name) == "string" and name:lower()
  return lower and lower ~= name and rawget(headers, lower) or nil
end }

--- Lines of "Name: value" -> { lower-case name = value, values joined with ", " } and the list of
--- { name, value } as they came.
local function parse_fields(text)
  local map, list = setmetatable({}, headers_mt), {}
  for line in text:gmatch("([^\r\n]+)\r\n") do
    local name, value = line:match("^([^:]*):%s*(.-)%s*$")
    if not name then
      wait.fail("a header line without a colon: " .. M.show(line))
    end
    local key = name:lower()
    list[#list + 1] = { name, value }
    map[key] = map[key] and map[key] .. ", " .. value or value
  end
  return map, list
end

--- The head of a request: { method, target, path, query, version, headers, list, raw }.
function M.parse_request(head)
  local method, target, version = head:match("^(%S+) (%S+) HTTP/(%d%.%d)\r\n")
  if not method then
    wait.fail("not the head of a request: " .. M.show(head))
  end
  local headers, list = parse_fields(head:match("\r\n(.*)"))
  local path, query = target:match("^([^?]*)%??(.*)$")
  return { method = method, target = target, path = path, query = query, version = version,
    headers = headers, list = list, raw = head, head = head }
end

--- The head of an answer: { status, reason, version, headers, list, raw }.
function M.parse_answer(head)
  local version, status, reason = head:match("^HTTP/(%d%.%d) (%d%d%d) ?([^\r\n]*)\r\n")
  if not version then
    wait.fail("not the head of an answer: " .. M.show(head))
  end
  local headers, list = parse_fields(head:match("\r\n(.*)"))
  return { status = tonumber(status), reason = reason, version = version, headers = headers,
    list = list, raw = head, head = head }
end

--- The head's bytes, with the empty line; or nil, why and what came.
function conn:read_head(timeout)
  return self:read_until("\r\n\r\n", timeout)
end

local function broken(self, what, err, came)
  wait.fail(("%s: the connection ended (%s) within %s; received: %s"):format(self.what, err, what,
    M.show(came or "")))
end

--- Chunks up to the last: body, trailers, their list, raw.
local function read_chunks(self)
  local body, raw = {}, {}
  while true do
    local line, err, came = self:read_until("\r\n")
    if not line then
      broken(self, "a chunk's size", err, came)
    end
    raw[#raw + 1] = line
    local size = tonumber(line:match("^%x+"), 16)
    if not size then
      wait.fail(("%s: not the size of a chunk: %s"):format(self.what, M.show(line)))
    end
    if size == 0 then
      break
    end
    local data
    data, err, came = self:read(size + 2)
    if not data then
      broken(self, "a chunk", err, came)
    end
    if data:sub(-2) ~= "\r\n" then
      wait.fail(self.what .. ": a chunk is longer than its size")
    end
    raw[#raw + 1] = data
    body[#body + 1] = data:sub(1, -3)
  end
  local trailer = {}
  while trailer[#trailer] ~= "\r\n" do
    local line, err, came = self:read_until("\r\n")
    if not line then
      broken(self, "the trailers", err, came)
    end
    trailer[#trailer + 1] = line
  end
  raw[#raw + 1] = table.concat(trailer)
  trailer[#trailer] = nil
  local trailers, list = parse_fields(table.concat(trailer))
  return table.concat(body), trailers, list, table.concat(raw), #body
end

local function read_body(self, message, until_close)
  if (message.headers["transfer-encoding"] or ""):lower():match("chunked%s*$") then
    local raw
    message.body, message.trailers, message.trailer_list, raw, message.chunks = read_chunks(self)
    message.raw = message.raw .. raw
    return
  end
  local length = message.headers["content-length"]
  local err, came
  if length then
    local n = tonumber(length)
    if not n then
      wait.fail(("%s: Content-Length: %s"):format(self.what, M.show(length)))
    end
    message.body, err, came = self:read(n)
    if not message.body then
      broken(self, ("a body of %d bytes"):format(n), err, came)
    end
  elseif until_close then
    message.body, err = self:read_all()
    if err ~= "eof" then
      broken(self, "a body that ends with the connection", err, message.body)
    end
    message.closed = true
  else
    message.body = ""
  end
  message.raw = message.raw .. message.body
end

--- A whole request; nil, why when the other side ended before one began.
function conn:read_request(timeout)
  local head, err, came = self:read_head(timeout)
  if not head then
    if came ~= "" then
      broken(self, "the head of a request", err, came)
    end
    return nil, err
  end
  local request = M.parse_request(head)
  read_body(self, request, false)
  return request
end

local NO_BODY = { [204] = true, [304] = true }

--- The next final answer; those of 1xx before it are in answer.informational.
---@param method? string  "HEAD": no body follows
function conn:read_answer(method, timeout)
  local informational = {}
  while true do
    local head, err, came = self:read_head(timeout)
    if not head then
      broken(self, "the head of an answer", err, came)
    end
    local answer = M.parse_answer(head)
    answer.informational = informational
    if answer.status >= 200 or answer.status == 101 then
      answer.body, answer.closed = "", false
      if method ~= "HEAD" and answer.status ~= 101 and not NO_BODY[answer.status] then
        read_body(self, answer, true)
      end
      return answer
    end
    informational[#informational + 1] = answer
  end
end

--------------------------------------------------------------------------------
-- Making them

--- { name = value or { values } } or { { name, value }, … } -> lines.
local function field_lines(headers, lines)
  if headers[1] then
    for _, pair in ipairs(headers) do
      lines[#lines + 1] = pair[1] .. ": " .. pair[2]
    end
    return
  end
  local names = {}
  for name in pairs(headers) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = headers[name]
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      lines[#lines + 1] = name .. ": " .. tostring(one)
    end
  end
end

local function has(headers, wanted)
  for key, value in pairs(headers) do
    local name = type(key) == "number" and value[1] or key
    if name:lower() == wanted then
      return true
    end
  end
  return false
end

--- "5\r\nhello\r\n…0\r\n\r\n"
function M.chunks(...)
  local out = {}
  for i = 1, select("#", ...) do
    local piece = select(i, ...)
    out[i] = ("%x\r\n%s\r\n"):format(#piece, piece)
  end
  return table.concat(out) .. "0\r\n\r\n"
end

--- Adds the framing of a body to the head's lines; returns what follows the head.
local function frame(message, lines, always)
  local body = message.body
  if message.chunked then
    lines[#lines + 1] = "Transfer-Encoding: chunked"
    return type(body) == "table" and M.chunks(unpack(body)) or M.chunks(body or "")
  end
  if (body or always) and not has(message.headers or {}, "content-length") then
    lines[#lines + 1] = "Content-Length: " .. #(body or "")
  end
  return body or ""
end

--- { method, path, headers, body, host, version, chunked } -> bytes.
function M.request_bytes(request)
  local headers = request.headers or {}
  local lines = { ("%s %s HTTP/%s"):format(request.method or (request.body and "POST" or "GET"),
    request.path or "/", request.version or "1.1") }
  if not has(headers, "host") and request.host ~= false then
    lines[2] = "Host: " .. (request.host or "localhost")
  end
  field_lines(headers, lines)
  local body = frame(request, lines, false)
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. body
end

--- { status, reason, headers, body, chunked } -> bytes.
function M.answer_bytes(answer)
  local lines = { ("HTTP/1.1 %d %s"):format(answer.status or 200, answer.reason or "OK") }
  field_lines(answer.headers or {}, lines)
  local body = frame(answer, lines, answer.status ~= 204 and answer.status ~= 304)
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. body
end

return M
