--- What `moongate spec` runs: busted, in a task of the real runtime. Arguments: the program, the
--- folder of the shipped files, then what the user wrote.
local exe, shipped = ...
local words = { select(3, ...) }

--------------------------------------------------------------------------------
-- require: the runtime leaves only what is built in; specs see everything.

local function search(path, name)
  local found, tried = package.searchpath(name, path)
  return found, tried
end

local function from_lua(name)
  local file, tried = search(package.path, name)
  if not file then
    return tried
  end
  return assert(loadfile(file))
end

local function from_c(name)
  local file, tried = search(package.cpath, name)
  if not file then
    return tried
  end
  return assert(package.loadlib(file, "luaopen_" .. name:gsub("^.*%-", ""):gsub("%.", "_")))
end

package.path = shipped .. "/lua/?.lua;" .. shipped .. "/lua/?/init.lua;lua/?.lua;" .. package.path
package.loaders[#package.loaders + 1] = from_lua
package.loaders[#package.loaders + 1] = from_c

--------------------------------------------------------------------------------
-- What busted must not reload for each file, and what it must not do.

local kit = require "gateway.spec"
local scope = require "gateway.spec.scope"
require "ffi"
kit.program, kit.shipped = exe, shipped

local EXIT = {}
rawset(os, "exit", function(code)
  error(setmetatable({ exit = code == true and 0 or tonumber(code) or 1 }, EXIT), 0)
end)

--- spec/soak takes hours: it runs only when it is named.
local function spec_files(root, files)
  local native = require "gateway.spec.native"
  local names = native.entries(root)
  table.sort(names)
  for _, name in ipairs(names) do
    local path = root .. "/" .. name
    if native.kind(path) == "folder" then
      if name ~= "soak" and name:sub(1, 1) ~= "." then
        spec_files(path, files)
      end
    elseif name:match("_spec%.lua$") then
      files[#files + 1] = path
    end
  end
  return files
end

local load_files = require "busted.modules.test_file_loader"
package.loaded["busted.modules.test_file_loader"] = function(busted, loaders)
  local load = load_files(busted, loaders)
  return function(roots, patterns, options)
    local files = {}
    for _, root in ipairs(roots) do
      root = #root > 1 and root:gsub("/+$", "") or root
      if require("gateway.spec.native").kind(root) == "folder" then
        spec_files(root, files)
      else
        files[#files + 1] = root
      end
    end
    return load(files, patterns, options)
  end
end

local make_block = require "busted.block"
package.loaded["busted.block"] = function(busted)
  return scope.watch(busted, make_block(busted))
end

--------------------------------------------------------------------------------

--- Ours, where other commands have it too; all other options are busted's.
local function take_json()
  for i, word in ipairs(words) do
    if word == "--json" or word == "-j" then
      return table.remove(words, i)
    end
  end
end

local as_json = take_json()

words[0] = "moongate spec"
rawset(_G, "arg", words)

local run = require "busted.runner"
local ok, err = xpcall(function()
  run({ standalone = false, output = as_json and "gateway.spec.output_json" or "gateway.spec.output" })
end, function(err)
  if err == nil or getmetatable(err) == EXIT then
    return err
  end
  return debug.traceback(tostring(err), 2)
end)

scope.close_all()
require("gateway.spec.plugin").close_blank()
if not ok and getmetatable(err) == EXIT then
  return err.exit
end
if not ok and err ~= nil then
  io.stderr:write("moongate spec: ", err, "\n")
  return 1
end
local counts = scope.counts

local function count_line()
  local line = ("%d passed, %d failed"):format(counts.passed, counts.failed)
  if counts.skipped > 0 then
    line = ("%s, %d skipped"):format(line, counts.skipped)
  end
  io.stdout:write(line, "\n")
  io.stdout:flush()
end

if not as_json then -- the document has them
  count_line()
end
return counts.failed == 0 and 0 or 1
