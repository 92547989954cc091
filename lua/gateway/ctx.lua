--- `ctx`, one for each request, and the handles that hang from it. A handle is a slot's number
--- and a serial; after the request both are compared in vain and every use raises. None of them is
--- allocated: a request makes no garbage but what its plugins make.
---
--- This is on the path of every request. What compiled code finds in a local that never changes it
--- takes for a constant; what it finds in a table (globals, too) it has to load and check.
local ffi = require "gateway.cdef"

local M = {}

local type, tonumber = type, tonumber
local C, ffi_string, cast = ffi.C, ffi.string, ffi.cast
local c_text, c_number, c_header_get = C.gw_ffi_text, C.gw_ffi_number, C.gw_ffi_header_get
local c_header_set, c_header_set_whole = C.gw_ffi_header_set, C.gw_ffi_header_set_whole
local slots = C.gw_ffi_slots()
local host, json

-- enum gw_text, gw_number and gw_set in ffi.c.
local METHOD, SCHEME, HOST, PATH, RAW_PATH, RAW_QUERY, CLIENT_IP, PEER_IP = 0, 1, 2, 3, 4, 5, 6, 7
local ID, ROUTE, UPSTREAM, ADDRESS, ERROR, REASON, AUTHORITY = 8, 9, 10, 11, 12, 13, 14
local LISTENER, TLS_VERSION, TLS_CIPHER, TLS_NAME, TLS_CLIENT = 15, 16, 17, 18, 19
local PORT, VERSION, STATUS, BYTES_IN, BYTES_OUT, BEGAN_US, UPSTREAM_BEGAN_US = 0, 1, 2, 3, 4, 5, 6
local UPSTREAM_HEAD_US, ENDED_US, TRIES, CLIENT_PORT, FLAGS, LENGTH, TLS_FLAGS = 7, 8, 9, 10, 11, 12, 13
local SET_PATH, SET_QUERY, SET_METHOD, SET_BODY, SET_ID, SET_UPSTREAM = 0, 1, 2, 3, 4, 5
local SET_RESPONSE_BODY = 6

-- Bits of script/lib.h.
local IN_ASK = 1 + 2 + 4 + 8      -- rewrite, access, balancer
local IN_HEADER_FILTER = 16
local IN_ANSWER = IN_ASK + IN_HEADER_FILTER
local IN_MESSAGE = 128
local IN_WHOLE = 4194304          -- body_filter of a whole body
local IN_RESPONSE = 16 + 32 + 64 + IN_MESSAGE + IN_WHOLE -- header_filter, body_filter, log, message
local IN_HELD = IN_HEADER_FILTER + IN_WHOLE -- the head of the answer has not left

local int32_t, uint64_t = ffi.typeof "int32_t", ffi.typeof "uint64_t"
local out, out2 = ffi.new "struct gw_str", ffi.new "struct gw_str"

local band, bor = bit.band, bit.bor

--- The slot of a handle that is alive.
local function alive_at(handle)
  local bits = cast(uint64_t, handle)
  local i = tonumber(cast(int32_t, bits))
  if slots[i].handle ~= bits then
    error("request is over", 3)
  end
  return i
end

local function need(i, mask, what)
  if band(slots[i].in_, mask) == 0 then
    host.wrong_phase(what, slots[i].in_, mask)
  end
end

local function text(i, what)
  if c_text(i, what, out) then
    return ffi_string(out.data, out.len)
  end
end

--- `level` as the caller would give it to error().
local function raise_rc(rc, what, level)
  if rc ~= 0 then
    error(("%s: %s"):format(what, host.rc_text(rc)), (level or 2) + 1)
  end
end

--- What may be sent: strings as they are, numbers as Lua writes them. `level` is that of error()
--- as the caller would give it.
local function value_text(value, what, level)
  if type(value) == "string" then
    return value
  end
  if type(value) == "number" then
    return tostring(value)
  end
  error(("%s: string expected, got %s"):format(what, type(value)), (level or 2) + 1)
end

--------------------------------------------------------------------------------
-- Headers

local numbers = {} -- of their names, in the spelling of the plugin: C.gw_ffi_name

local function number_of(name)
  if type(name) ~= "string" then
    error("headers: a name is a string", 3)
  end
  local number = C.gw_ffi_name(name, #name)
  if number > 0 then
    numbers[name] = number
  end
  return number
end

local function writable(i, which, name)
  local mask = which == 0 and IN_ASK or IN_HELD
  if band(slots[i].in_, mask) == 0 then
    host.wrong_phase(("setting %s header %s"):format(which == 0 and "request" or "response", name),
      slots[i].in_, mask)
  end
end

local function store(i, which, name, value, add)
  -- Where no number is left for this name, what we get is good until the next call only.
  local number, rc = numbers[name] or number_of(name), -1
  if type(value) == "number" and value >= 0 and value < 1e14 and value % 1 == 0 then
    if number >= 0 then
      rc = c_header_set_whole(i, which, number, value, add)
    end
  else
    if type(value) ~= "string" then
      value = value_text(value, "header " .. name, 3)
    end
    if number >= 0 then
      rc = c_header_set(i, which, number, value, #value, add)
    end
  end
  if rc ~= 0 then
    error(("header %q: name or value may not be sent"):format(name), 3)
  end
end

--- `which`: 0 of the request, 1 of the response.
local function open_headers(which, ctype)
  local methods = {}

  function methods.all(headers, name)
    local i, list, n = alive_at(headers), {}, 0
    local number = numbers[name] or number_of(name)
    while number >= 0 and C.gw_ffi_header_nth(i, which, number, n, out) do
      n = n + 1
      list[n] = ffi_string(out.data, out.len)
    end
    return list
  end

  function methods.add(headers, name, value)
    local i = alive_at(headers)
    if type(name) ~= "string" then
      error("headers:add: name expected", 2)
    end
    writable(i, which, name)
    store(i, which, name, value, true)
  end

  --- for name, value in headers:each() do … end, in the order of the message.
  function methods.each(headers)
    alive_at(headers)
    local at = 0
    return function()
      at = C.gw_ffi_header_at(alive_at(headers), which, at, out, out2)
      if at > 0 then
        return ffi_string(out.data, out.len), ffi_string(out2.data, out2.len)
      end
      at = 0x7fffffff -- stays at the end
    end
  end

  ffi.metatype(ctype, {
    __index = function(headers, name)
      local number = numbers[name]
      if not number and methods[name] then
        return methods[name]
      end
      local i = alive_at(headers)
      number = number or number_of(name)
      if number >= 0 and c_header_get(i, which, number, out) then
        return ffi_string(out.data, out.len)
      end
    end,
    __newindex = function(headers, name, value)
      local i = alive_at(headers)
      if type(name) ~= "string" then
        error("headers: a name is a string", 2)
      end
      writable(i, which, name)
      if value ~= nil then
        store(i, which, name, value, false)
        return
      end
      local number = numbers[name] or number_of(name)
      if number >= 0 then
        C.gw_ffi_header_remove(i, which, number)
      end
    end,
    __tostring = function() return "headers" end,
  })
end

open_headers(0, "struct gw_h_request_headers")
open_headers(1, "struct gw_h_response_headers")

--------------------------------------------------------------------------------
-- Query

local query_methods = {}

function query_methods.all(query, name)
  local i, list, n = alive_at(query), {}, 0
  if type(name) ~= "string" then
    error("query:all: name expected", 2)
  end
  while C.gw_ffi_query_get(i, name, #name, n, out) == 0 do
    n = n + 1
    list[n] = ffi_string(out.data, out.len)
  end
  return list
end

function query_methods.each(query)
  alive_at(query)
  local n = -1
  return function()
    n = n + 1
    if C.gw_ffi_query_at(alive_at(query), n, out, out2) == 0 then
      return ffi_string(out.data, out.len), ffi_string(out2.data, out2.len)
    end
  end
end

ffi.metatype("struct gw_h_query", {
  __index = function(query, name)
    local method = query_methods[name]
    if method then
      return method
    end
    local i = alive_at(query)
    if type(name) ~= "string" then
      error("query: a name is a string", 2)
    end
    if C.gw_ffi_query_get(i, name, #name, 0, out) == 0 then
      return ffi_string(out.data, out.len)
    end
  end,
  __newindex = function()
    error("query: assign the whole: ctx.request.query = { name = value }", 2)
  end,
  __tostring = function(query) return text(alive_at(query), RAW_QUERY) or "" end,
})

local function escape(value)
  return (tostring(value):gsub("[^%w%-%._~]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

--- { a = 1, b = { 2, 3 } } -> "a=1&b=2&b=3", in the order of the names.
local function query_text(value)
  if type(value) == "string" then
    return value
  end
  if type(value) ~= "table" then
    error("query: string or table expected, got " .. type(value), 3)
  end
  local names, parts = {}, {}
  for name in pairs(value) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local item = value[name]
    for _, one in ipairs(type(item) == "table" and item or { item }) do
      parts[#parts + 1] = escape(name) .. "=" .. escape(one)
    end
  end
  return table.concat(parts, "&")
end

--------------------------------------------------------------------------------
-- Request

--- What is known of the client's certificate, which was found good.
local function tls_client(i)
  local subject = text(i, TLS_CLIENT)
  return subject and {
    subject = subject,
    issuer = text(i, TLS_CLIENT + 1),
    serial = text(i, TLS_CLIENT + 2),
    fingerprint = text(i, TLS_CLIENT + 3),
    names = text(i, TLS_CLIENT + 4),
    not_before = tonumber(text(i, TLS_CLIENT + 5)),
    not_after = tonumber(text(i, TLS_CLIENT + 6)),
  } or nil
end

--- nil: the connection is plain.
local function tls(i)
  local version = text(i, TLS_VERSION)
  if not version then
    return nil
  end
  local flags, name = c_number(i, TLS_FLAGS), text(i, TLS_NAME)
  return {
    version = version,
    cipher = text(i, TLS_CIPHER),
    name = name ~= "" and name or nil,
    resumed = band(flags, 1) ~= 0,
    verified = band(flags, 2) ~= 0,
    client = tls_client(i),
  }
end

local request_get = {
  method = function(i) return text(i, METHOD) end,
  scheme = function(i) return text(i, SCHEME) end,
  host = function(i) return text(i, HOST) end,
  path = function(i) return text(i, PATH) end,
  raw_path = function(i) return text(i, RAW_PATH) end,
  raw_query = function(i) return text(i, RAW_QUERY) end,
  client_ip = function(i) return text(i, CLIENT_IP) end,
  peer_ip = function(i) return text(i, PEER_IP) end,
  authority = function(i) return text(i, AUTHORITY) end,
  listener = function(i) return text(i, LISTENER) end,
  port = function(i) return c_number(i, PORT) end,
  client_port = function(i) return c_number(i, CLIENT_PORT) end,
  version = function(i) return c_number(i, VERSION) end,
  began = function(i) return c_number(i, BEGAN_US) / 1e6 end,
  ended = function(i) return c_number(i, ENDED_US) / 1e6 end,
  bytes = function(i) return c_number(i, BYTES_IN) end,
  aborted = function(i) return band(c_number(i, FLAGS), 2) ~= 0 end,
  tls = tls,
  headers = function(i) return slots[i].request_headers end,
  query = function(i) return slots[i].query end,
  body = function(i)
    need(i, IN_ASK, "reading request.body")
    local body, err, code = host.read_body()
    if not body then
      -- Going on without the body would let through what a plugin wanted to look at.
      if code == "limit" then
        host.too_large()
      end
      error("request.body: " .. err, 0)
    end
    return body
  end,
}

local request_set = {
  path = function(i, value)
    value = value_text(value, "request.path", 3)
    raise_rc(C.gw_ffi_set_text(i, SET_PATH, value, #value), "request.path", 3)
  end,
  query = function(i, value)
    value = query_text(value)
    raise_rc(C.gw_ffi_set_text(i, SET_QUERY, value, #value), "request.query", 3)
  end,
  method = function(i, value)
    value = value_text(value, "request.method", 3)
    raise_rc(C.gw_ffi_set_text(i, SET_METHOD, value, #value), "request.method", 3)
  end,
  body = function(i, value)
    value = value_text(value == nil and "" or value, "request.body", 3)
    raise_rc(C.gw_ffi_set_text(i, SET_BODY, value, #value), "request.body", 3)
  end,
}

ffi.metatype("struct gw_h_request", {
  __index = function(request, key)
    local i = alive_at(request)
    local get = request_get[key]
    if get then
      return get(i)
    end
    error(("request: no field %s"):format(tostring(key)), 2)
  end,
  __newindex = function(request, key, value)
    local i = alive_at(request)
    local set = request_set[key]
    if not set then
      error(("request.%s cannot be set"):format(tostring(key)), 2)
    end
    need(i, IN_ASK, "setting request." .. key)
    set(i, value)
  end,
  __tostring = function() return "request" end,
})

--------------------------------------------------------------------------------
-- Response, upstream and route

local response_get = {
  status = function(i) return c_number(i, STATUS) end,
  reason = function(i) return text(i, REASON) end,
  headers = function(i) return slots[i].response_headers end,
  bytes = function(i) return c_number(i, BYTES_OUT) end,
  length = function(i)
    local length = c_number(i, LENGTH)
    return length >= 0 and length or nil
  end,
  error = function(i) return text(i, ERROR) end,
  from_gateway = function(i) return band(c_number(i, FLAGS), 1) ~= 0 end,
  body = function(i)
    need(i, IN_HELD, "reading response.body")
    if slots[i].in_ == IN_WHOLE then
      return slots[i].ctx.gw_body_ or slots[i].ctx.gw_chunk_
    end
    if C.gw_ffi_response_body(i, out) then
      return out.len > 0 and ffi_string(out.data, out.len) or ""
    end
    error('response.body: it has not come yet: read it in body_filter, with body = "buffered"', 3)
  end,
}

local response_set = {
  status = function(i, value)
    if type(value) ~= "number" or value < 200 or value > 599 or value % 1 ~= 0 then
      error("response.status: 200 to 599 expected", 3)
    end
    C.gw_ffi_set_status(i, value)
  end,
  body = function(i, value)
    value = value_text(value == nil and "" or value, "response.body", 3)
    if slots[i].in_ == IN_WHOLE then
      slots[i].ctx.gw_body_ = value -- taken by driver.lua
    else
      raise_rc(C.gw_ffi_set_text(i, SET_RESPONSE_BODY, value, #value), "response.body", 3)
    end
  end,
}

ffi.metatype("struct gw_h_response", {
  __index = function(response, key)
    local i = alive_at(response)
    need(i, IN_RESPONSE, "response")
    local get = response_get[key]
    if get then
      return get(i)
    end
    error(("response: no field %s"):format(tostring(key)), 2)
  end,
  __newindex = function(response, key, value)
    local i = alive_at(response)
    local set = response_set[key]
    if not set then
      error(("response.%s cannot be set"):format(tostring(key)), 2)
    end
    need(i, IN_HELD, "setting response." .. key)
    set(i, value)
  end,
  __tostring = function() return "response" end,
})

local upstream_get = {
  name = function(i) return text(i, UPSTREAM) end,
  address = function(i) return text(i, ADDRESS) end,
  tries = function(i) return c_number(i, TRIES) end,
  began = function(i) return c_number(i, UPSTREAM_BEGAN_US) / 1e6 end,
  head = function(i) return c_number(i, UPSTREAM_HEAD_US) / 1e6 end,
}

local function set_target(upstream, index)
  local i = alive_at(upstream)
  need(i, 8, "upstream:set_target")
  if type(index) ~= "number" or index < 1 or index % 1 ~= 0 then
    error("upstream:set_target: a target's place, from 1, expected", 2)
  end
  raise_rc(C.gw_ffi_set_target(i, index - 1), "upstream:set_target")
end

ffi.metatype("struct gw_h_upstream", {
  __index = function(upstream, key)
    local i = alive_at(upstream)
    local get = upstream_get[key]
    if get then
      return get(i)
    end
    if key == "set_target" then
      return set_target
    end
    error(("upstream: no field %s"):format(tostring(key)), 2)
  end,
  __newindex = function(upstream, key, value)
    local i = alive_at(upstream)
    if key ~= "name" then
      error(("upstream.%s cannot be set"):format(tostring(key)), 2)
    end
    need(i, IN_ASK, "setting upstream.name")
    value = value_text(value, "upstream.name")
    raise_rc(C.gw_ffi_set_text(i, SET_UPSTREAM, value, #value), "upstream.name " .. value)
  end,
  __tostring = function() return "upstream" end,
})

ffi.metatype("struct gw_h_route", {
  __index = function(route, key)
    local i = alive_at(route)
    if key == "name" then
      return text(i, ROUTE)
    elseif key ~= "params" then
      error(("route: no field %s"):format(tostring(key)), 2)
    end
    local params, n = {}, 0
    while C.gw_ffi_param(i, n, out, out2) do
      params[ffi_string(out.data, out.len)] = ffi_string(out2.data, out2.len)
      n = n + 1
    end
    return params
  end,
  __newindex = function(_, key)
    error(("route.%s cannot be set"):format(tostring(key)), 2)
  end,
  __tostring = function() return "route" end,
})

--------------------------------------------------------------------------------
-- ctx

local methods = {}

local function check_status(status, what)
  if type(status) ~= "number" or status < 200 or status > 599 or status % 1 ~= 0 then
    error(what .. ": a status of 200 to 599 is expected", 3)
  end
end

--- { name = value or { value, … } }; checked before anything is done.
local function check_headers(headers, what)
  if headers == nil then
    return
  end
  if type(headers) ~= "table" then
    error(what .. ": headers must be a table", 3)
  end
  for name, value in pairs(headers) do
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      if type(name) ~= "string" or (type(one) ~= "string" and type(one) ~= "number") then
        error(("%s: header %s: name and string expected"):format(what, tostring(name)), 3)
      end
      one = tostring(one)
      if not C.gw_ffi_header_valid(name, #name, one, #one) then
        error(("%s: header %q: name or value may not be sent"):format(what, name), 3)
      end
    end
  end
end

local function answer_headers(i, headers)
  for name, value in pairs(headers or {}) do
    if type(value) == "table" then
      for n, one in ipairs(value) do
        one = tostring(one)
        C.gw_ffi_answer_header(i, name, #name, one, #one, n > 1)
      end
    else
      value = tostring(value)
      C.gw_ffi_answer_header(i, name, #name, value, #value, false)
    end
  end
end

--- Answers instead of the upstream: what stands behind in this phase is not run. A table is sent
--- as JSON.
function methods.exit(ctx, status, body, headers)
  local i = alive_at(ctx)
  need(i, IN_ANSWER, "exit")
  check_status(status, "exit")
  check_headers(headers, "exit")
  local is_json = type(body) == "table"
  if is_json then
    if not json then
      error("exit: a table as body needs gw.json", 2)
    end
    body = json.encode(body)
  elseif body == nil then
    body = ""
  else
    body = value_text(body, "exit: body")
  end
  C.gw_ffi_answer(i, status, body, #body)
  if is_json then
    C.gw_ffi_answer_header(i, "content-type", 12, "application/json", 16, false)
  end
  answer_headers(i, headers)
end

local PROBLEM_OWN = { title = true, detail = true, headers = true, status = true }

--- An error for people and programs (RFC 9457). fields: title, detail, headers, and any other
--- member, which is added to the document.
function methods.problem(ctx, status, fields)
  local i = alive_at(ctx)
  need(i, IN_ANSWER, "problem")
  check_status(status, "problem")
  fields = fields or {}
  if type(fields) ~= "table" then
    error("problem: fields must be a table", 2)
  end
  check_headers(fields.headers, "problem")
  local title = value_text(fields.title or "", "problem: title")
  local detail = value_text(fields.detail or "", "problem: detail")
  local more
  for key, value in pairs(fields) do
    if not PROBLEM_OWN[key] then
      if not json then
        error("problem: further members need gw.json", 2)
      end
      more = more or {}
      more[key] = value
    end
  end
  more = more and json.encode(more) or ""
  C.gw_ffi_problem(i, status, title, #title, detail, #detail, more, #more)
  answer_headers(i, fields.headers)
end

--- Matches again, with the path, host and headers as they are now.
function methods.reroute(ctx)
  local i = alive_at(ctx)
  need(i, 1 + 2, "reroute")
  if not C.gw_ffi_reroute(i) then
    error("reroute: at most 3 times in a request", 2)
  end
end

--- In message: a Close to both sides, and no message any more.
function methods.close(ctx, code, reason)
  local i = alive_at(ctx)
  need(i, IN_MESSAGE, "close")
  code = code == nil and 1000 or code
  if type(code) ~= "number" or not host.is_close_code(code) then
    error("close: 1000 to 1014 without 1004 to 1006, or 3000 to 4999 is expected as code", 2)
  end
  reason = value_text(reason == nil and "" or reason, "close: reason")
  if #reason > 123 or not host.is_utf8(reason) then
    error("close: the reason is UTF-8 of at most 123 bytes", 2)
  end
  ctx.gw_close_code_, ctx.gw_close_reason_ = code, reason
  slots[i].verdict = 3
end

local getters = {
  request = function(i) return slots[i].request end,
  response = function(i) return slots[i].response end,
  upstream = function(i) return slots[i].upstream end,
  route = function(i) return slots[i].route end,
  id = function(i) return text(i, ID) end,
}

-- What plugins leave in ctx does not stand in a table for each request but in one for each field,
-- by the number of the slot: nothing is allocated. A field's number is its bit in slot.kept, by
-- which C knows what to forget when the request is over (finish() in phase.c).
local OTHERS = 31 -- number of the last table: it has one of further fields for each request
local values, bits = {}, {} -- by name
local others = {}
local lists, count = nil, 0 -- by number, from 0: for C

local new_table = require "table.new"

--- Plugins use few names, again and again; so has each of them its place after the first request.
local function learn(name)
  -- With room from the start: a list with many holes would become a hash when it grows.
  lists[count] = new_table(256, 0)
  values[name], bits[name] = lists[count], bit.lshift(1, count)
  count = count + 1
end

local function set_other(i, key, value)
  if methods[key] or (getters[key] and key ~= "id") then
    error(("ctx.%s cannot be set"):format(tostring(key)), 3)
  elseif key == "id" then
    value = value_text(value, "ctx.id", 3)
    if not C.gw_ffi_header_valid("x", 1, value, #value) or #value == 0 or #value > 200 then
      error("ctx.id: 1 to 200 bytes that may stand in a header are expected", 3)
    end
    raise_rc(C.gw_ffi_set_text(i, SET_ID, value, #value), "ctx.id", 3)
  elseif type(key) == "string" and count < OTHERS then
    learn(key)
    slots[i].ctx[key] = value
  else
    others[i] = others[i] or {}
    others[i][key] = value
    slots[i].kept = bor(slots[i].kept, bit.lshift(1, OTHERS))
  end
end

ffi.metatype("struct gw_h_ctx", {
  __index = function(ctx, key)
    local i = alive_at(ctx)
    local own = values[key]
    if own then
      return own[i]
    end
    local get = getters[key]
    if get then
      return get(i)
    end
    local method = methods[key]
    if method then
      return method
    end
    local more = others[i]
    return more and more[key]
  end,
  __newindex = function(ctx, key, value)
    local i = alive_at(ctx)
    local own = values[key]
    if not own then
      set_other(i, key, value)
      return
    end
    own[i] = value
    slots[i].kept = bor(slots[i].kept, bits[key])
  end,
  __tostring = function() return "ctx" end,
})

--- Called once by sandbox.c. `base` is the address of the slots, `field_lists` what C forgets from.
function M.open(c_functions, field_lists, base, size, json_lib)
  assert(ffi.sizeof("struct gw_slot") == size, "cdef.lua and handle.h differ")
  assert(slots == cast("struct gw_slot *", base), "the slots of another VM")
  host, lists, json = c_functions, field_lists, json_lib
  for _, name in ipairs { "state", "consumer", "tenant", "session", "gw_when_", "gw_chunk_",
    "gw_body_", "gw_close_code_", "gw_close_reason_", "gw_message_" } do
    learn(name)
  end
  lists[OTHERS] = others
end

return M
