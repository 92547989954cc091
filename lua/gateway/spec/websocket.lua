--- WebSocket frames on a connection of the kit, written and read plainly and independently of the
--- gateway's own code: also such as no library would send.
local wait = require "gateway.spec.wait"

local M = { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 }

local KEY = "dGhlIHNhbXBsZSBub25jZQ=="
local GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
local MASK = "\x01\x80\xff\x37"

local function xor(payload, mask)
  local out, m = {}, { mask:byte(1, 4) }
  for from = 1, #payload, 4096 do
    local bytes = { payload:byte(from, math.min(from + 4095, #payload)) }
    for i = 1, #bytes do
      bytes[i] = bit.bxor(bytes[i], m[(from + i - 2) % 4 + 1])
    end
    out[#out + 1] = string.char(unpack(bytes))
  end
  return table.concat(out)
end

local function be(n, bytes)
  local out = {}
  for i = bytes, 1, -1 do
    out[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(out)
end

local function length_of(n, bytes)
  if bytes == 0 then
    return n, ""
  end
  return bytes == 2 and 126 or 127, be(n, bytes)
end

--- The bytes of a frame. options: fin (default true), masked, rsv (1 to 7), length (bytes that the
--- length is written in: 0, 2 or 8), claimed (a length that is not true).
function M.frame(opcode, payload, options)
  options = options or {}
  local n = options.claimed or #payload
  local mark, more = length_of(n, options.length or (n < 126 and 0 or n < 65536 and 2 or 8))
  local first = (options.fin == false and 0 or 128) + (options.rsv or 0) * 16 + opcode
  if options.masked then
    mark, more, payload = mark + 128, more .. MASK, xor(payload, MASK)
  end
  return string.char(first, mark) .. more .. payload
end

--- As a client writes it, masked.
function M.masked(opcode, payload, options)
  local all = { masked = true }
  for key, value in pairs(options or {}) do
    all[key] = value
  end
  return M.frame(opcode, payload, all)
end

--- The payload of a Close.
function M.close(code, reason)
  return code and be(code, 2) .. (reason or "") or ""
end

--- The next frame: { fin, rsv, opcode, masked, payload, code, reason }; nil and why when the other
--- side ends.
function M.read(conn, timeout)
  local head, err = conn:read(2, timeout)
  if not head then
    return nil, err
  end
  local first, second = head:byte(1, 2)
  local n = second % 128
  if n >= 126 then
    local size = 0
    for _, byte in ipairs { conn:read(n == 126 and 2 or 8, timeout):byte(1, -1) } do
      size = size * 256 + byte
    end
    n = size
  end
  local frame = { fin = first >= 128, rsv = math.floor(first / 16) % 8, opcode = first % 16,
    masked = second >= 128 }
  local mask = frame.masked and conn:read(4, timeout)
  frame.payload = n > 0 and conn:read(n, timeout) or ""
  if mask then
    frame.mask, frame.payload = mask, xor(frame.payload, mask)
  end
  if frame.opcode == M.CLOSE and #frame.payload >= 2 then
    frame.code = frame.payload:byte(1) * 256 + frame.payload:byte(2)
    frame.reason = frame.payload:sub(3)
  end
  return frame
end

--- Reads a Close and returns its code and reason.
function M.read_close(conn, timeout)
  local frame, err = M.read(conn, timeout)
  if not frame or frame.opcode ~= M.CLOSE then
    wait.fail(("websocket: no Close, but %s"):format(frame and ("opcode %d: %q"):format(frame.opcode,
      frame.payload:sub(1, 100)) or tostring(err)))
  end
  return frame.code, frame.reason
end

--- The bytes of a client's handshake. options: path, headers { name = value, or false: without }.
function M.request(options)
  options = options or {}
  local lines = { ["Host"] = "a", ["Connection"] = "Upgrade", ["Upgrade"] = "websocket",
    ["Sec-WebSocket-Key"] = KEY, ["Sec-WebSocket-Version"] = "13" }
  for name, value in pairs(options.headers or {}) do
    lines[name] = value
  end
  local out = { (options.method or "GET") .. " " .. (options.path or "/") .. " HTTP/1.1\r\n" }
  for name, value in pairs(lines) do
    if value then
      out[#out + 1] = name .. ": " .. value .. "\r\n"
    end
  end
  return table.concat(out) .. "\r\n"
end

--- Opens a WebSocket: a connection that frames can be written to, and the answer.
function M.connect(client, options)
  local conn = client:connect()
  conn:write(M.request(options))
  local answer = conn:read_answer("GET")
  return conn, answer
end

--- What Sec-WebSocket-Accept has to be.
function M.accept_of(key)
  return gw.base64.encode(gw.crypto.sha1(key .. GUID, "raw"))
end

--- For an upstream's on(): takes the handshake. `headers`: more lines of the answer.
function M.accept(conn, headers)
  local request = conn:read_request()
  local lines = { "HTTP/1.1 101 Switching Protocols\r\n", "Connection: Upgrade\r\n",
    "Upgrade: websocket\r\n", "Sec-WebSocket-Accept: ",
    M.accept_of(request.headers["sec-websocket-key"] or ""), "\r\n" }
  for name, value in pairs(headers or {}) do
    lines[#lines + 1] = name .. ": " .. value .. "\r\n"
  end
  conn:write(table.concat(lines) .. "\r\n")
  return request
end

--- An upstream that sends back what it gets, until a Close.
function M.echo(conn)
  M.accept(conn)
  while true do
    local frame = M.read(conn, 86400)
    if not frame then
      return
    end
    local opcode = frame.opcode == M.PING and M.PONG or frame.opcode
    if opcode ~= M.PONG or frame.opcode == M.PING then
      conn:write(M.frame(opcode, frame.payload, { fin = frame.fin, rsv = frame.rsv }))
    end
    if frame.opcode == M.CLOSE then
      return
    end
  end
end

return M
