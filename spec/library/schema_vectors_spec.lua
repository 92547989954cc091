--- gw.schema against the official test suite of JSON Schema, draft 2020-12, where it is there.
local root = debug.getinfo(1, "S").source:match("^@(.*)/spec/library/[^/]*$") or "."
local FOLDER = root .. "/../shared/vectors/json-schema"

local function read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

local function find(folder, depth)
  local pipe = assert(io.popen(("cd '%s' 2>/dev/null && find . %s -name '*.json'"):format(folder, depth)))
  local list = {}
  for line in pipe:lines() do
    list[#list + 1] = line:sub(3)
  end
  pipe:close()
  table.sort(list)
  return list
end

local function decode(path)
  return assert(gw.json.decode(assert(read(path))))
end

local remotes = {}
for _, path in ipairs(find(FOLDER .. "/remotes", "")) do
  remotes["http://localhost:1234/" .. path] = decode(FOLDER .. "/remotes/" .. path)
end

--- Cases judged right, all cases, and the names of the others.
local function run(folder, depth, options)
  local good, all, wrong = 0, 0, {}
  for _, path in ipairs(find(FOLDER .. "/" .. folder, depth)) do
    for _, group in ipairs(decode(FOLDER .. "/" .. folder .. "/" .. path)) do
      local ok, validate = pcall(gw.schema.compile, group.schema, options)
      for _, test in ipairs(group.tests) do
        all = all + 1
        local ran, verdict = pcall(validate, test.data)
        if ok and ran and (verdict == true) == test.valid then
          good = good + 1
        else
          wrong[#wrong + 1] = ("%s: %s: %s%s"):format(path, group.description, test.description,
            not ok and ": " .. tostring(validate) or not ran and ": " .. tostring(verdict) or "")
        end
      end
    end
  end
  return good, all, wrong
end

describe("the JSON Schema test suite", function()
  if not read(FOLDER .. "/tests/draft2020-12/ref.json") then
    pending("is not beside the project: skipped")
    return
  end

  it("is passed in every required case", function()
    local good, all, wrong = run("tests/draft2020-12", "-maxdepth 1", { schemas = remotes })

    print(("JSON Schema 2020-12: %d of %d required cases"):format(good, all))
    assert(#wrong == 0, "\n  " .. table.concat(wrong, "\n  "))
    assert.is_true(all > 1200, "only " .. all .. " cases were found")
  end)

  it("is passed in the cases of formats, but for what docs/schema.md says", function()
    local _, _, wrong = run("tests/draft2020-12/optional/format", "", { formats = true })
    local left = {}
    for _, text in ipairs(wrong) do
      local file = text:match("^[^:]+")
      -- Annotations always; labels of IDNA; what PCRE2 takes beyond ECMAScript, or does not have.
      if not (file:find("^i[dr][ni]") or file == "uri-template.json" or file == "ecmascript-regex.json"
        or text:find("A-label", 1, true)) then
        left[#left + 1] = text
      end
    end

    assert(#left == 0, "\n  " .. table.concat(left, "\n  "))
  end)

  it("is passed in optional cases but those of earlier drafts", function()
    local good, all, wrong = run("tests/draft2020-12/optional", "-maxdepth 1", { schemas = remotes })
    local left = {}
    for _, text in ipairs(wrong) do
      if not (text:find("^cross%-draft") or text:find("^dependencies%-compatibility")) then
        left[#left + 1] = text
      end
    end

    print(("JSON Schema 2020-12: %d of %d optional cases"):format(good, all))
    assert(#left == 0, "\n  " .. table.concat(left, "\n  "))
  end)
end)
