--- The house checks itself: floors, doors, lengths, contracts, and that what is there is also
--- described. Reads the sources as text; needs nothing but `find`.
local root = debug.getinfo(1, "S").source:match("^@(.*)/spec/tidy_spec%.lua$") or "."

local FLOORS = { "base", "shm", "net", "http", "conf", "route", "upstream", "proxy", "script",
  "process", "cli" }

--- The one file, or folder, that may include a library's headers; libcrypto has two uses.
local DOORS = {
  { "^event2/", "runtime/net/loop.c" },
  { "^ares", "runtime/net/dns_ask.c" },
  { "^openssl/", "runtime/base/crypto", "runtime/net/tls" },
  { "^crypt%.h", "runtime/base/crypto_password.c" },
  { "^secp256k1", "runtime/base/crypto_recover.c" },
  { "^pcre2", "runtime/base/regex.c" },
  { "^zlib", "runtime/proxy/decode.c" },
  { "^nghttp2/", "runtime/http/h2.c" },
  { "^http_parser", "runtime/http/opinion.c" },
  { "^yaml", "runtime/conf/yaml.c" },
  { "^jansson", "runtime/base/json.c" },
  { "^lua", "runtime/script/" },
  { "^lauxlib", "runtime/script/" },
  { "^lualib", "runtime/script/" },
}

local FILE_LINES_MAX, FUNCTION_LINES_MAX = 800, 70

--- Files that are longer, how long they may be, and why. It may only become shorter.
local LONGER = {
  ["runtime/test/net/dns_test.c"] = 950,   -- a name server of its own stands in it
  ["runtime/test/http/files_test.c"] = 830, -- one case for each rule of conditional requests
}

-- Written in two halves, or this file would find itself.
local FORBIDDEN = { "/wo" .. "rk/", "/tmp" .. "/h/", "clau" .. "de", "anthro" .. "pic", "chat" .. "gpt",
  "open" .. "ai", "co" .. "pilot", "language " .. "model", "ai " .. "assistant" }

local function read(path)
  local file = assert(io.open(root .. "/" .. path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function exists(path)
  local file = io.open(root .. "/" .. path, "rb")
  if file then
    file:close()
  end
  return file ~= nil
end

--- Paths below the root that `find` prints, sorted.
local function find(what)
  local pipe = assert(io.popen(("cd '%s' && find %s"):format(root, what)))
  local list = {}
  for line in pipe:lines() do
    list[#list + 1] = line:gsub("^%./", "")
  end
  pipe:close()
  table.sort(list)
  assert(#list > 0, "find finds nothing: " .. what)
  return list
end

local function lines_of(text)
  local list = {}
  for line in (text:gsub("\n$", "") .. "\n"):gmatch("(.-)\r?\n") do
    list[#list + 1] = line
  end
  return list
end

--- All complaints at once, one a line.
local function none(faults)
  assert(#faults == 0, "\n  " .. table.concat(faults, "\n  "))
end

local sources = find("runtime -name '*.[ch]'")

local floor_number = {}
for number, name in ipairs(FLOORS) do
  floor_number[name] = number
end

--- for each line `#include <x>` or "x": fn(path, line number, x, is_library)
local function each_include(fn)
  for _, path in ipairs(sources) do
    for number, line in ipairs(lines_of(read(path))) do
      local open, name = line:match('^%s*#%s*include%s*([<"])([^>"]+)')
      if name then
        fn(path, number, name, open == "<")
      end
    end
  end
end

--- Bodies of functions as the formatter leaves them: braces in the first column. Tables of
--- constants inside do not count: they are data.
local function each_function(path, fn)
  local start, in_table, length
  for number, line in ipairs(lines_of(read(path))) do
    if line == "{" then
      start, in_table, length = number, false, 0
    elseif start and line:find("^}") then
      fn(start, length)
      start = nil
    elseif start then
      if line:find("^%s+static const .*{$") then
        in_table = true
      end
      length = length + (in_table and 0 or 1)
      if in_table and line:find("^%s+};$") then
        in_table = false
      end
    end
  end
end

describe("runtime/", function()
  it("includes only the own floor and those below it", function()
    local faults = {}

    each_include(function(path, number, name, is_library)
      local own = floor_number[path:match("^runtime/([^/]+)/") or ""]
      local other = floor_number[name:match("^([^/]+)/") or ""]
      if own and not is_library and (not other or other > own) then
        faults[#faults + 1] = ("%s:%d: includes %s"):format(path, number, name)
      end
    end)

    none(faults)
  end)

  it("has no floor that this spec does not know", function()
    local known = { test = true, fuzz = true }
    local faults = {}

    for _, path in ipairs(find("runtime -mindepth 1 -maxdepth 1 -type d")) do
      local name = path:match("[^/]+$")
      if not floor_number[name] and not known[name] then
        faults[#faults + 1] = path
      end
    end

    none(faults)
  end)

  it("opens each library by one door", function()
    local faults, used = {}, {}

    each_include(function(path, number, name, is_library)
      for _, door in ipairs(is_library and DOORS or {}) do
        local is_test = path:find("^runtime/test/") or path:find("^runtime/fuzz/")
        if name:find(door[1]) and not is_test then
          used[door[1]] = true
          local other = door[3]
          if path:sub(1, #door[2]) ~= door[2] and not (other and path:sub(1, #other) == other) then
            faults[#faults + 1] = ("%s:%d: <%s> belongs to %s"):format(path, number, name, door[2])
          end
        end
      end
    end)
    for _, door in ipairs(DOORS) do
      if not used[door[1]] then
        faults[#faults + 1] = door[2] .. " does not include " .. door[1] .. ": this spec is out of date"
      end
    end

    none(faults)
  end)

  it("opens each header with its contract", function()
    local faults = {}

    for _, path in ipairs(find("runtime -name '*.h'")) do
      if not read(path):find("^/%* %S") then
        faults[#faults + 1] = path
      end
    end

    none(faults)
  end)

  it("guards each header by its path", function()
    local faults = {}

    for _, path in ipairs(find("runtime -name '*.h' ! -path 'runtime/test/*' ! -path 'runtime/fuzz/*'")) do
      local guard = "GW_" .. path:match("^runtime/(.*)%.h$"):upper():gsub("/", "_") .. "_H"
      if not read(path):find("\n#ifndef " .. guard .. "\n#define " .. guard .. "\n") then
        faults[#faults + 1] = ("%s: %s"):format(path, guard)
      end
    end

    none(faults)
  end)

  it(("keeps files to %d lines"):format(FILE_LINES_MAX), function()
    local faults = {}

    for _, path in ipairs(sources) do
      local count, max = #lines_of(read(path)), LONGER[path] or FILE_LINES_MAX
      if count > max then
        faults[#faults + 1] = ("%s: %d lines (%d)"):format(path, count, max)
      elseif LONGER[path] and count <= FILE_LINES_MAX then
        faults[#faults + 1] = path .. " is short enough now: take it off the list"
      end
    end

    none(faults)
  end)

  it(("keeps functions to %d lines"):format(FUNCTION_LINES_MAX), function()
    local faults, seen = {}, 0

    for _, path in ipairs(sources) do
      each_function(path, function(start, length)
        seen = seen + 1
        if length > FUNCTION_LINES_MAX then
          faults[#faults + 1] = ("%s:%d: %d lines"):format(path, start, length)
        end
      end)
    end

    assert.is_true(seen > 1000, "only " .. seen .. " functions were found")
    none(faults)
  end)

  it("leaves _GNU_SOURCE to the build", function()
    local faults = {}

    for _, path in ipairs(sources) do
      if read(path):find("#define _GNU_SOURCE", 1, true) then
        faults[#faults + 1] = path
      end
    end

    none(faults)
  end)
end)

describe("every file", function()
  local files = find(". -type f ! -path './.git' ! -path './.git/*' ! -path './build*' ! -path './.cache/*'"
    .. " ! -path '*/run/*' ! -path './runtime/fuzz/corpus/*'")

  it("names no machine and no tool that it was written with", function()
    local faults = {}

    for _, path in ipairs(files) do
      local text = read(path):lower()
      for _, word in ipairs(FORBIDDEN) do
        if text:find(word, 1, true) then
          faults[#faults + 1] = ("%s: %s"):format(path, word)
        end
      end
    end

    none(faults)
  end)

  it("ends with a newline and has no space at the end of a line", function()
    local faults = {}

    for _, path in ipairs(files) do
      local text = read(path)
      if #text > 0 and not text:find("\0", 1, true) then
        if text:sub(-1) ~= "\n" then
          faults[#faults + 1] = path .. ": no newline at the end"
        end
        if path:find("%.md$") == nil and text:find("[ \t]\n") then
          faults[#faults + 1] = path .. ": space at the end of a line"
        end
      end
    end

    none(faults)
  end)
end)

describe("plugins/", function()
  local plugins = find("plugins -name '*.lua'")

  it("has a doc comment, a schema and its own name in each file", function()
    local faults = {}

    for _, path in ipairs(plugins) do
      local text, name = read(path), path:match("([^/]+)%.lua$")
      if not text:find("^%-%-%- %u[^\n]+%.\n") then
        faults[#faults + 1] = path .. ": does not begin with a sentence of what it is for"
      end
      if not text:find(('name = "%s"'):format(name:gsub("%p", "%%%0"))) then
        faults[#faults + 1] = path .. ": its name is not " .. name
      end
      if not text:find("schema = {", 1, true) then
        faults[#faults + 1] = path .. ": no schema"
      end
    end

    none(faults)
  end)

  it("has a spec for each", function()
    local faults = {}

    for _, path in ipairs(plugins) do
      local spec = ("spec/plugins/%s_spec.lua"):format(path:match("([^/]+)%.lua$"))
      if not exists(spec) then
        faults[#faults + 1] = spec .. " is missing"
      end
    end

    none(faults)
  end)
end)

--- Keys of the tables that the conf is read by.
local function conf_keys()
  local seen, keys = {}, {}
  for _, path in ipairs(find("runtime/conf -name '*.c'")) do
    for key in read(path):gmatch('%.key = "([a-z_]+)"') do
      if not seen[key] then
        seen[key] = true
        keys[#keys + 1] = key
      end
    end
  end
  assert.is_true(#keys > 80, "only " .. #keys .. " keys were found")
  return keys
end

describe("documents", function()
  it("tell of every conf key", function()
    local text, faults = read("docs/conf.md"), {}

    for _, key in ipairs(conf_keys()) do
      if not text:find("[`.]" .. key .. "[`:]") then
        faults[#faults + 1] = "docs/conf.md: " .. key
      end
    end

    none(faults)
  end)

  it("show every conf key in conf/gateway.full.yaml", function()
    local text, faults = "\n" .. read("conf/gateway.full.yaml"), {}

    for _, key in ipairs(conf_keys()) do
      if not text:find("[%s{#]" .. key .. ":") then
        faults[#faults + 1] = "conf/gateway.full.yaml: " .. key
      end
    end

    none(faults)
  end)

  it("tell of every library function and every phase of a plugin", function()
    local text, faults = read("docs/plugins.md"), {}

    for name in read("runtime/script/lib_rows.h"):gmatch('X%("([a-z0-9_]+)"') do
      if not text:find("gw." .. name, 1, true) then
        faults[#faults + 1] = "docs/plugins.md: gw." .. name
      end
    end
    for phase in read("runtime/script/generation.c"):gmatch('%[GW_PHASE_[A-Z_]+%] = "([a-z_]+)"') do
      if not text:find("`" .. phase, 1, true) then
        faults[#faults + 1] = "docs/plugins.md: phase " .. phase
      end
    end

    none(faults)
  end)

  it("explain every example", function()
    local faults = {}

    for _, folder in ipairs(find("examples -mindepth 1 -maxdepth 1 -type d")) do
      if not exists(folder .. "/README.md") then
        faults[#faults + 1] = folder .. "/README.md is missing"
      end
    end

    none(faults)
  end)

  it("link only to what is there", function()
    local faults = {}

    for _, path in ipairs(find(". -name '*.md' ! -path './build*' ! -path './.git/*'")) do
      local folder = path:match("^(.*)/[^/]*$") or "."
      for target in read(path):gmatch("%]%(([^)#]+)[^)]*%)") do
        if not target:find("^%a+:") and not exists(folder .. "/" .. target:gsub("/$", "/."))
          and not exists(folder .. "/" .. target .. "/README.md") then
          faults[#faults + 1] = ("%s: %s"):format(path, target)
        end
      end
    end

    none(faults)
  end)

  it("name only files that are there", function()
    local faults = {}

    for _, path in ipairs { "README.md", "ARCHITECTURE.md", "docs/plugins.md" } do
      for name in read(path):gmatch("`([%w_./-]+%.[ch])`") do
        if not exists("runtime/" .. name) and not exists(name) then
          faults[#faults + 1] = ("%s: %s"):format(path, name)
        end
      end
    end

    none(faults)
  end)

  it("number the decisions without a gap", function()
    for number, path in ipairs(find("docs/adr -name '*.md'")) do
      assert.equal(("%04d"):format(number), path:match("([^/]+)%.md$"):sub(1, 4))
      for _, part in ipairs { "Context", "Choice", "What else was weighed" } do
        assert.is_truthy(read(path):find("\n## " .. part .. "\n", 1, true), path .. ": " .. part)
      end
    end
  end)
end)
