--- Formats of JSON Schema that gw.schema can assert: { [name] = function(text) -> boolean }.
--- Those that are not here (idn-email, idn-hostname, iri, iri-reference, uri-template) are annotations always.
local M = {}

local DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

function M.date(text)
  local year, month, day = text:match("^(%d%d%d%d)-(%d%d)-(%d%d)$")
  if not year then
    return false
  end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  local days = DAYS[month]
  if month == 2 and (year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)) then
    days = 29
  end
  return days ~= nil and day >= 1 and day <= days
end

--- Minutes east of UTC, or nil.
local function offset(zone)
  if zone == "Z" or zone == "z" then
    return 0
  end
  local sign, hours, minutes = zone:match("^([+-])(%d%d):(%d%d)$")
  if not sign or tonumber(hours) > 23 or tonumber(minutes) > 59 then
    return nil
  end
  return (sign == "-" and -1 or 1) * (hours * 60 + minutes)
end

function M.time(text)
  local hour, minute, second, rest = text:match("^(%d%d):(%d%d):(%d%d)(.*)$")
  if not hour then
    return false
  end
  local zone = offset((rest:gsub("^%.%d+", "")))
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  if not zone or hour > 23 or minute > 59 or second > 60 then
    return false
  end
  -- A leap second is the last of a day of UTC.
  return second < 60 or (hour * 60 + minute - zone) % 1440 == 1439
end

M["date-time"] = function(text)
  local date, time = text:match("^(.-)[Tt](.*)$")
  return date ~= nil and M.date(date) and M.time(time)
end

local function parts_in_order(text, letters)
  local at = 1
  while text ~= "" do
    local letter, rest = text:match("^%d+(%a)(.*)$")
    at = letter and letters:find(letter, at, true)
    if not at then
      return false
    end
    -- What stands between two units must stand there: P1Y2D is none.
    at, text = at + 1, rest
    local following = text:match("^%d+(%a)")
    if following and letters:sub(at, at) ~= following then
      return false
    end
  end
  return true
end

function M.duration(text)
  if text:find("^P%d+W$") then
    return true
  end
  local date, time = text:match("^P([^T]*)T(.+)$")
  date = date or text:match("^P([^T]+)$")
  return date ~= nil and parts_in_order(date, "YMD") and (not time or parts_in_order(time, "HMS"))
end

function M.ipv4(text)
  local count = 0
  for part in (text .. "."):gmatch("([^.]*)%.") do
    count = count + 1
    if not (part == "0" or part:find("^[1-9]%d?%d?$")) or tonumber(part) > 255 then
      return false
    end
  end
  return count == 4
end

--- Groups of one side of "::"; nil: there is one that is none.
local function groups(text, may_end_v4)
  if text == "" then
    return 0
  end
  local count, rest = 0, text
  while rest do
    local group, behind = rest:match("^([^:]*):(.*)$")
    group = group or rest
    if group:find("^%x%x?%x?%x?$") then
      count = count + 1
    elseif not behind and may_end_v4 and M.ipv4(group) then
      count = count + 2
    else
      return nil
    end
    rest = behind
  end
  return count
end

function M.ipv6(text)
  local first, last = text:match("^(.-)::(.*)$")
  if not first then
    return groups(text, true) == 8
  end
  local a, b = groups(first, false), groups(last, true)
  return a ~= nil and b ~= nil and a + b <= 7
end

function M.hostname(text)
  if #text > 253 or text == "" then
    return false
  end
  for label in (text .. "."):gmatch("([^.]*)%.") do
    if #label > 63 or not (label:find("^%w$") or label:find("^%w[%w-]*%w$")) then
      return false
    end
    -- "--" at the third place is reserved for encodings; only punycode is one.
    if label:find("^..%-%-") and not label:lower():find("^xn%-%-.") then
      return false
    end
  end
  return true
end

function M.email(text)
  local name, host = text:match("^(.*)@([^@]*)$")
  if not name or #name > 64 then
    return false
  end
  if not name:find('^"[^"\\%c]*"$') then
    if name == "" or not name:find("^[%w!#$%%&'*+/=?^_`{|}~.-]+$") or name:find("^%.") or name:find("%.$")
      or name:find("..", 1, true) then
      return false
    end
  end
  local literal = host:match("^%[(.*)%]$")
  if literal then
    local v6 = literal:match("^IPv6:(.*)$")
    return v6 and M.ipv6(v6) or M.ipv4(literal)
  end
  return M.hostname(host)
end

function M.uuid(text)
  return #text == 36 and text:find("^%x+-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x+$") ~= nil and text:sub(9, 9) == "-"
end

local URI_CHARS = "^[%w%%._~:/?#%[%]@!$&'()*+,;=-]*$"

local function authority_good(authority)
  local host = authority:gsub("^[^@%[%]]*@", "")
  local literal, port = host:match("^%[(.*)%](.*)$")
  if literal then
    return (M.ipv6(literal) or literal:find("^[vV]%x+%.[%w._~!$&'()*+,;=:-]+$") ~= nil)
      and port:find("^:?%d*$") ~= nil
  end
  return host:find("^[^:@%[%]]*:?%d*$") ~= nil
end

local function escapes_good(text)
  return not (text:find("%%%X") or text:find("%%%x%X") or text:find("%%%x?$"))
end

M["uri-reference"] = function(text)
  if not text:find(URI_CHARS) or not escapes_good(text) then
    return false
  end
  local before, fragment = text:match("^([^#]*)#(.*)$")
  if fragment and fragment:find("[#%[%]]") then
    return false
  end
  local rest = before or text
  local scheme = rest:match("^([^:/?]*):")
  if scheme then
    if not scheme:find("^%a[%w+.-]*$") then
      return false
    end
    rest = rest:sub(#scheme + 2)
  end
  local authority, path = rest:match("^//([^/?]*)(.*)$")
  if authority and not authority_good(authority) then
    return false
  end
  return not (path or rest):find("[%[%]]")
end

function M.uri(text)
  return text:find("^%a[%w+.-]*:") ~= nil and M["uri-reference"](text)
end

M["json-pointer"] = function(text)
  return (text == "" or text:sub(1, 1) == "/") and not text:gsub("~[01]", ""):find("~", 1, true)
end

M["relative-json-pointer"] = function(text)
  local number, rest = text:match("^(%d+)(.*)$")
  return number ~= nil and (number == "0" or number:sub(1, 1) ~= "0")
    and (rest == "#" or M["json-pointer"](rest))
end

return M
