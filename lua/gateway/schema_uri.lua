--- References of URIs (RFC 3986, section 5), as far as `$id` and `$ref` need them.
local M = {}

local function split(uri)
  local scheme, rest = uri:match("^(%a[%w+.-]*):(.*)$")
  rest = rest or uri
  local before, fragment = rest:match("^([^#]*)#(.*)$")
  rest = before or rest
  local path, query = rest:match("^([^?]*)%?(.*)$")
  path = path or rest
  local authority, behind = path:match("^//([^/]*)(.*)$")
  return {
    scheme = scheme, authority = authority, path = behind or path, query = query, fragment = fragment,
  }
end

local function join(parts)
  return (parts.scheme and parts.scheme .. ":" or "")
    .. (parts.authority and "//" .. parts.authority or "") .. parts.path
    .. (parts.query and "?" .. parts.query or "")
end

local function without_dots(path)
  local out = {}
  local is_folder = path:find("/%.%.?$") ~= nil or path:sub(-1) == "/"
  for part in path:gmatch("[^/]+") do
    if part == ".." then
      out[#out] = nil
    elseif part ~= "." then
      out[#out + 1] = part
    end
  end
  local text = table.concat(out, "/")
  return "/" .. text .. (is_folder and text ~= "" and "/" or "")
end

local function merge_path(base, reference)
  if reference.path == "" then
    return base.path, reference.query or base.query
  elseif reference.path:sub(1, 1) == "/" then
    return without_dots(reference.path), reference.query
  end
  local folder = base.path:match("^(.*/)") or (base.authority and "/" or "")
  local path = folder .. reference.path
  -- A relative base (a schema without a place of its own) stays relative.
  if path:sub(1, 1) ~= "/" then
    return without_dots("/" .. path):sub(2), reference.query
  end
  return without_dots(path), reference.query
end

--- The URI without fragment, and the fragment (nil: there is none).
function M.resolve(base, reference)
  local r = split(reference)
  if r.scheme then
    return join(r), r.fragment
  end
  local b = split(base)
  r.scheme = b.scheme
  if not r.authority then
    r.authority = b.authority
    r.path, r.query = merge_path(b, r)
  end
  return join(r), r.fragment
end

--- "%41" is "A".
function M.decode(text)
  return (text:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

return M
