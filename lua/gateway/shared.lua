--- gw.shared.NAME: dictionaries in shared memory, the same for all workers.
--- What cannot be done gives nil and a code, twice: "full", "exists", "not_found", "wrong_type",
--- "limit", "closed" (the dictionary has left the conf).
local ffi = require "gateway.cdef_lib"

local M = {}

-- Compiled code takes for a constant what it finds in a local, and loads what it finds in a table.
local type = type
local C, ffi_new, ffi_string = ffi.C, ffi.new, ffi.string
local c_take = C.gw_ffi_dict_take
local codes, list_keys

local OK, AGAIN, NOT_FOUND = 0, 1, 13 -- enum gw_rc; checked in M.open
local STRING, NUMBER, BOOLEAN = 1, 2, 3 -- enum gw_dict_type
local SET, ADD, REPLACE = 0, 1, 2 -- enum gw_dict_how
local TTL_MAX = 3155760000 -- seconds: a hundred years
local SMALL = 4096
local HUGE = math.huge

-- Nothing waits between filling one of these and reading it: one of each is enough.
local small = ffi_new("char[?]", SMALL)
local out = ffi_new "struct gw_dict_value"
local into = ffi_new "struct gw_dict_value"
local incr = ffi_new "struct gw_dict_incr"
local take = ffi_new "struct gw_dict_take"
local hit = ffi_new "struct gw_dict_hit"
local ttl_out = ffi_new "double[1]"
local count_out = ffi_new "uint32_t[1]"

-- `level` is that of error() as seen from the function that checks: the caller's line.
local function wrong(what, place, expected, value, level)
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(place, what, expected,
    type(value)), level + 1)
end

local function check_key(key, what, level)
  if type(key) ~= "string" then
    wrong(what, 1, "string", key, level)
  end
end

local function fail(rc, self)
  if not self.gw_box_ then
    error("call it as a method: gw.shared.NAME:get(…)", 3)
  end
  return nil, codes[rc], codes[rc]
end

--- Seconds to milliseconds; nil is for ever.
local function ttl_ms(ttl, what, place, level)
  if ttl == nil then
    return 0
  end
  if type(ttl) ~= "number" or not (ttl >= 0 and ttl <= TTL_MAX) then
    wrong(what, place, "seconds from 0", ttl, level)
  end
  return math.ceil(ttl * 1000)
end

local function fill(value, what, level)
  local kind = type(value)
  if kind == "string" then
    into.type, into.len = STRING, #value
    -- C reads only while the call lasts, and `value` lives as long.
    into.data = ffi.cast("char *", value)
  elseif kind == "number" then
    into.type, into.number = NUMBER, value
  elseif kind == "boolean" then
    into.type, into.number = BOOLEAN, value and 1 or 0
  else
    wrong(what, 2, "string, number or boolean", value, level)
  end
end

local function read_out()
  local kind = out.type
  if kind == NUMBER then
    return out.number
  elseif kind == STRING then
    return ffi_string(out.data, out.len)
  end
  return out.number ~= 0
end

--- A value that is longer than the small buffer: it may even grow between two calls.
local function fetch_long(call, self, key, left)
  local rc
  repeat
    local room = tonumber(out.len)
    local long = ffi_new("char[?]", room)
    out.data, out.size = long, room
    if left == nil then
      rc = call(self.gw_box_, key, #key, out)
    else
      rc = call(self.gw_box_, key, #key, left, out)
    end
    if rc == OK then
      local value = read_out()
      out.data = small
      return value
    end
  until rc ~= AGAIN
  if rc == NOT_FOUND then
    return nil
  end
  return fail(rc, self)
end

local dict = {}

--- The value, nil when there is none.
---@param key string
function dict:get(key)
  check_key(key, "get", 3)
  out.data, out.size = small, SMALL
  local rc = C.gw_ffi_dict_get(self.gw_box_, key, #key, out)
  if rc == OK then
    return read_out()
  elseif rc == NOT_FOUND then
    return nil
  elseif rc == AGAIN then
    return fetch_long(C.gw_ffi_dict_get, self, key)
  end
  return fail(rc, self)
end

local function store(self, key, value, ttl, how, what)
  check_key(key, what, 4)
  fill(value, what, 4)
  into.ttl_ms = ttl_ms(ttl, what, 3, 4)
  local rc = C.gw_ffi_dict_set(self.gw_box_, key, #key, how, into)
  if rc == OK then
    return true
  end
  return fail(rc, self)
end

--- nil as value removes the key.
function dict:set(key, value, ttl)
  if value == nil then
    check_key(key, "set", 3)
    local rc = C.gw_ffi_dict_delete(self.gw_box_, key, #key)
    if rc == OK or rc == NOT_FOUND then
      return true
    end
    return fail(rc, self)
  end
  local ok, err, code = store(self, key, value, ttl, SET, "set")
  return ok, err, code
end

--- Only when the key is not there: else nil, "exists".
function dict:add(key, value, ttl)
  local ok, err, code = store(self, key, value, ttl, ADD, "add")
  return ok, err, code
end

--- Only when the key is there: else nil, "not_found".
function dict:replace(key, value, ttl)
  local ok, err, code = store(self, key, value, ttl, REPLACE, "replace")
  return ok, err, code
end

--- Adds to a number; a key that is not there begins at `init`, without it it is "not_found".
function dict:incr(key, by, init, init_ttl)
  check_key(key, "incr", 3)
  if by == nil then
    by = 1
  end
  if type(by) ~= "number" or by - by ~= 0 then
    error("bad argument #2 to 'incr' (finite number expected)", 2)
  end
  if init ~= nil and (type(init) ~= "number" or init - init ~= 0) then
    error("bad argument #3 to 'incr' (finite number expected)", 2)
  end
  incr.by, incr.init = by, init or 0 / 0
  incr.init_ttl_ms = ttl_ms(init_ttl, "incr", 4, 3)
  local rc = C.gw_ffi_dict_incr(self.gw_box_, key, #key, incr)
  if rc == OK then
    return incr.value
  end
  return fail(rc, self)
end

--- True when it was there.
function dict:delete(key)
  check_key(key, "delete", 3)
  local rc = C.gw_ffi_dict_delete(self.gw_box_, key, #key)
  if rc == OK or rc == NOT_FOUND then
    return rc == OK
  end
  return fail(rc, self)
end

--- A new time to live in seconds, from now; nil: for ever.
function dict:expire(key, ttl)
  check_key(key, "expire", 3)
  if ttl ~= nil and (type(ttl) ~= "number" or not (ttl >= 0 and ttl <= TTL_MAX)) then
    error("bad argument #2 to 'expire' (seconds from 0 expected)", 2)
  end
  local rc = C.gw_ffi_dict_expire(self.gw_box_, key, #key, math.ceil((ttl or 0) * 1000))
  if rc == OK then
    return true
  end
  return fail(rc, self)
end

--- Seconds that are left, 0: for ever; nil, "not_found".
function dict:ttl(key)
  check_key(key, "ttl", 3)
  local rc = C.gw_ffi_dict_ttl(self.gw_box_, key, #key, ttl_out)
  if rc == OK then
    return ttl_out[0] / 1000
  end
  return fail(rc, self)
end

--- A list of keys, `max` of them at most (1024; 0: all).
function dict:keys(max)
  if max == nil then
    max = 1024
  elseif type(max) ~= "number" or not (max >= 0 and max <= 2 ^ 31) or max % 1 ~= 0 then
    error("bad argument #1 to 'keys' (whole number from 0 expected)", 2)
  end
  local found, err, code = list_keys(self.gw_box_, max)
  return found, err, code
end

local function push(self, key, value, left, what)
  check_key(key, what, 4)
  fill(value, what, 4)
  into.ttl_ms = 0
  local rc = C.gw_ffi_dict_push(self.gw_box_, key, #key, left, into, count_out)
  if rc == OK then
    return count_out[0]
  end
  return fail(rc, self)
end

local function pop(self, key, left, what)
  check_key(key, what, 4)
  out.data, out.size = small, SMALL
  local rc = C.gw_ffi_dict_pop(self.gw_box_, key, #key, left, out)
  if rc == OK then
    return read_out()
  elseif rc == NOT_FOUND then
    return nil
  elseif rc == AGAIN then
    return fetch_long(C.gw_ffi_dict_pop, self, key, left)
  end
  return fail(rc, self)
end

--- The number of elements afterwards.
function dict:lpush(key, value)
  local n, err, code = push(self, key, value, true, "lpush")
  return n, err, code
end

function dict:rpush(key, value)
  local n, err, code = push(self, key, value, false, "rpush")
  return n, err, code
end

--- nil: the list is empty.
function dict:lpop(key)
  local value, err, code = pop(self, key, true, "lpop")
  return value, err, code
end

function dict:rpop(key)
  local value, err, code = pop(self, key, false, "rpop")
  return value, err, code
end

function dict:llen(key)
  check_key(key, "llen", 3)
  local rc = C.gw_ffi_dict_llen(self.gw_box_, key, #key, count_out)
  if rc == OK then
    return count_out[0]
  end
  return fail(rc, self)
end

--- Token bucket: allowed, tokens left, seconds to wait.
---@param key string
---@param rate number tokens a second
---@param burst number
---@param cost number? 1
function dict:take(key, rate, burst, cost)
  check_key(key, "take", 3)
  if cost == nil then
    cost = 1
  end
  if type(rate) ~= "number" or not (rate >= 0 and rate < HUGE) then
    error("bad argument #2 to 'take' (tokens a second expected)", 2)
  elseif type(burst) ~= "number" or not (burst > 0 and burst < HUGE) then
    error("bad argument #3 to 'take' (number above 0 expected)", 2)
  elseif type(cost) ~= "number" or not (cost >= 0 and cost < HUGE) then
    error("bad argument #4 to 'take' (number from 0 expected)", 2)
  end
  take.rate, take.burst, take.cost = rate, burst, cost
  local rc = c_take(self.gw_box_, key, #key, take)
  if rc == OK then
    return take.allowed ~= 0, take.remaining, take.retry_after_s
  end
  return fail(rc, self)
end

--- Sliding window, exact: allowed, hits in the window, seconds until the oldest leaves it.
---@param key string
---@param limit integer
---@param window number seconds
function dict:hit(key, limit, window)
  check_key(key, "hit", 3)
  if type(limit) ~= "number" or not (limit >= 0 and limit <= 2 ^ 24) or limit % 1 ~= 0 then
    error("bad argument #2 to 'hit' (whole number from 0 to 16777216 expected)", 2)
  elseif type(window) ~= "number" or not (window >= 0.001 and window * 1000 <= 0x7fffffff) then
    error("bad argument #3 to 'hit' (seconds from 0.001 to 24 days expected)", 2)
  end
  hit.limit, hit.window_ms = limit, math.ceil(window * 1000)
  local rc = C.gw_ffi_dict_hit(self.gw_box_, key, #key, hit)
  if rc == OK then
    return hit.allowed ~= 0, hit.count, hit.reset_ms / 1000
  end
  return fail(rc, self)
end

--- Removes everything.
function dict:flush()
  local rc = C.gw_ffi_dict_flush(self.gw_box_)
  if rc == OK then
    return true
  end
  return fail(rc, self)
end

--- Called once by lib_shared.c; returns what gw.shared looks names up with.
function M.open(find, keys, code_list)
  codes = code_list
  assert(codes[OK] == "ok" and codes[AGAIN] == "again" and codes[NOT_FOUND] == "not_found")
  local handle_t = ffi.metatype("gw_h_dict", { __index = dict, __metatable = false })
  local box_t = ffi.typeof "struct gw_script_dict *"
  local boxes = {}
  list_keys = function(box, max)
    return keys(boxes[tonumber(ffi.cast("uintptr_t", box))], max)
  end
  local handles = {}
  return function(_, name)
    local handle = handles[name]
    if handle then
      return handle
    end
    local box = type(name) == "string" and find(name)
    if not box then
      error(("no shared dictionary '%s': add it under shared: in the conf"):format(
        tostring(name)), 2)
    end
    local pointer = ffi.cast(box_t, box)
    boxes[tonumber(ffi.cast("uintptr_t", pointer))] = box
    handle = handle_t(pointer)
    handles[name] = handle
    return handle
  end
end

return M
