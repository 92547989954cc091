--- gw.metrics: objects that count. The slot of each row of label values is looked up once and
--- kept; counting then is one call into shared memory.
local ffi = require "gateway.cdef_lib"

local M = {}

-- Compiled code takes for a constant what it finds in a local, and loads what it finds in a table.
local type, select = type, select
local C = ffi.C
local c_add, c_observe = C.gw_metrics_add, C.gw_metrics_observe
local register, find_series, metrics

local COUNTER, GAUGE, GAUGE_SUM, HISTOGRAM = 1, 2, 3, 4 -- enum gw_metrics_type
local BUCKETS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
local ROWS_MAX = 4096 -- rows of label values that one object keeps the slots of

--- Label values as text; a row that is not known yet.
local function look_up(self, what, ...)
  local count = select("#", ...)
  if count ~= self.count then
    error(("%s: %d label values expected, got %d"):format(what, self.count, count), 3)
  end
  local values = { ... }
  for i = 1, count do
    local value = values[i]
    local kind = type(value)
    if kind == "number" or kind == "boolean" then
      values[i] = tostring(value)
    elseif kind ~= "string" then
      error(("%s: label %s: string expected, got %s"):format(what, self.labels[i], kind), 3)
    end
  end
  local slot, err = find_series(self.id, values)
  if not slot then
    error(("%s: %s"):format(what, err), 3)
  end
  -- Values may come from clients: what is kept of them is bounded.
  if self.rows >= ROWS_MAX then
    self.rows, self.slots = 0, {}
  end
  self.rows = self.rows + 1
  if count == 0 then
    self.slot = slot
    return slot
  end
  local node = self.slots
  for i = 1, count - 1 do
    local key = (select(i, ...))
    local next_node = node[key]
    if not next_node then
      next_node = {}
      node[key] = next_node
    end
    node = next_node
  end
  node[(select(count, ...))] = slot
  return slot
end

--- The cases of up to three labels are spelled out: they compile to a few loads.
local function slot_of(self, a, b, c, ...) -- luacheck: ignore 561
  local count, slot = self.count, nil
  if count == 0 and a == nil then
    slot = self.slot
  elseif count == 1 and a ~= nil and b == nil then
    slot = self.slots[a]
  elseif count == 2 and a ~= nil and b ~= nil and c == nil then
    slot = self.slots[a]
    slot = slot and slot[b]
  elseif count == 3 and a ~= nil and b ~= nil and c ~= nil and select("#", ...) == 0 then
    slot = self.slots[a]
    slot = slot and slot[b]
    slot = slot and slot[c]
  elseif count > 3 and select("#", ...) == count - 3 and a ~= nil and b ~= nil and c ~= nil then
    slot = self.slots[a]
    slot = slot and slot[b]
    slot = slot and slot[c]
    for i = 1, count - 3 do
      local key = (select(i, ...))
      if slot == nil or key == nil then
        return nil
      end
      slot = slot[key]
    end
  end
  return slot
end

local function check_number(value, what)
  if type(value) ~= "number" or value ~= value then
    error(("bad argument #1 to '%s' (number expected, got %s)"):format(what,
      value ~= value and "NaN" or type(value)), 3)
  end
end

--- Adds `by` (1 when nil; a counter only grows) to the row of these label values.
local function inc(self, by, ...)
  if by == nil then
    by = 1
  end
  check_number(by, "inc")
  if by < 0 and self.type == COUNTER then
    error("bad argument #1 to 'inc' (a counter only grows)", 2)
  end
  local slot = slot_of(self, ...)
  if not slot then
    slot = look_up(self, "inc", ...)
  end
  c_add(metrics, slot, by)
end

local function set(self, value, ...)
  check_number(value, "set")
  local slot = slot_of(self, ...)
  if not slot then
    slot = look_up(self, "set", ...)
  end
  C.gw_metrics_set(metrics, slot, value)
end

local function observe(self, value, ...)
  check_number(value, "observe")
  local slot = slot_of(self, ...)
  if not slot then
    slot = look_up(self, "observe", ...)
  end
  c_observe(metrics, slot, value)
end

local object_mt = { __metatable = "gw.metrics" }

local function make(methods, kind, name, help, labels, buckets)
  if type(name) ~= "string" then
    error("bad argument #1 (name: string expected, got " .. type(name) .. ")", 3)
  elseif type(help) ~= "string" then
    error("bad argument #2 (help: string expected, got " .. type(help) .. ")", 3)
  elseif labels ~= nil and type(labels) ~= "table" then
    error("bad argument #3 (labels: table expected, got " .. type(labels) .. ")", 3)
  end
  local own = {} -- the plugin's table may change later
  for i, label in ipairs(labels or {}) do
    own[i] = label
  end
  local id, err, code = register(kind, name, help, own, buckets)
  if not id then
    if code == "invalid" then
      error(err, 3)
    end
    return nil, err, code
  end
  -- The methods stand in the object itself: compiled code finds them with one look.
  return setmetatable({ id = id, type = kind, labels = own, count = #own, rows = 0, slots = {},
    inc = methods.inc, set = methods.set, observe = methods.observe }, object_mt)
end

local COUNTER_METHODS = { inc = inc }
local GAUGE_METHODS = { inc = inc, set = set }
local HISTOGRAM_METHODS = { observe = observe }

--- Called once by lib_metrics.c; returns gw.metrics.
function M.open(c_register, c_series, pointer)
  register, find_series = c_register, c_series
  metrics = pointer and ffi.cast("struct gw_metrics *", pointer)
  return {
    --- Only grows.
    counter = function(name, help, labels)
      local object, err, code = make(COUNTER_METHODS, COUNTER, name, help, labels)
      return object, err, code
    end,
    --- The last value that any worker has set; with { sum = true } the sum of the workers' own.
    gauge = function(name, help, labels, options)
      local object, err, code
      if options ~= nil and type(options) ~= "table" then
        error("bad argument #4 (options: table expected, got " .. type(options) .. ")", 2)
      end
      if options and options.sum then
        object, err, code = make(GAUGE_METHODS, GAUGE_SUM, name, help, labels)
      else
        object, err, code = make(GAUGE_METHODS, GAUGE, name, help, labels)
      end
      return object, err, code
    end,
    --- Counts observations by size; `buckets` are upper bounds.
    histogram = function(name, help, labels, buckets)
      if buckets ~= nil and type(buckets) ~= "table" then
        error("bad argument #4 (buckets: table expected, got " .. type(buckets) .. ")", 2)
      end
      local object, err, code = make(HISTOGRAM_METHODS, HISTOGRAM, name, help, labels,
        buckets or BUCKETS)
      return object, err, code
    end,
  }
end

return M
