--- gw.json against JSONTestSuite, where it is there: y_ must be taken, n_ refused, i_ either.
local root = debug.getinfo(1, "S").source:match("^@(.*)/spec/library/[^/]*$") or "."
local FOLDER = root .. "/../shared/vectors/json"

local function names()
  local pipe = assert(io.popen(("cd '%s' 2>/dev/null && find . -name '*.json'"):format(FOLDER)))
  local list = {}
  for line in pipe:lines() do
    list[#list + 1] = line:sub(3)
  end
  pipe:close()
  table.sort(list)
  return list
end

describe("JSONTestSuite", function()
  local files = names()
  if #files == 0 then
    pending("is not beside the project: skipped")
    return
  end

  it("is judged right in every case, and what is taken survives a round trip", function()
    local counts, wrong = { y = 0, n = 0, i = 0 }, {}

    for _, name in ipairs(files) do
      local file = assert(io.open(FOLDER .. "/" .. name, "rb"))
      local text = file:read("*a")
      file:close()
      local value, err = gw.json.decode(text)
      local kind, taken = name:sub(1, 1), err == nil
      counts[kind] = counts[kind] + 1
      if (kind == "y" and not taken) or (kind == "n" and taken) then
        wrong[#wrong + 1] = name .. ": " .. tostring(err)
      elseif taken then
        local first = assert(gw.json.encode(value, { depth = 1000 }))
        assert.same(value, gw.json.decode(first, { depth = 1000 }), name)
      elseif not err:find("^json: %d+:%d+: ") then
        wrong[#wrong + 1] = name .. ": no place in: " .. err
      end
    end

    print(("JSONTestSuite: %d y, %d n, %d i cases"):format(counts.y, counts.n, counts.i))
    assert(#wrong == 0, "\n  " .. table.concat(wrong, "\n  "))
    assert.is_true(counts.y >= 95 and counts.n >= 188)
  end)
end)

describe("gw.json", function()
  it("writes any double so that it comes back, in as few digits as it needs", function()
    math.randomseed(7)
    for _ = 1, 20000 do
      local value = (math.random() - 0.5) * 10 ^ math.random(-30, 30)
      assert.equal(value, gw.json.decode(gw.json.encode(value)))
    end
    assert.equal("0.1", gw.json.encode(0.1))
    assert.equal("0.30000000000000004", gw.json.encode(0.1 + 0.2))
    assert.equal("9007199254740992", gw.json.encode(2 ^ 53))
    assert.equal("-9007199254740992", gw.json.encode(-2 ^ 53))
  end)

  it("writes and reads strings with escapes of every length", function()
    local parts = { "\\", '"', "\n", "\0", "\31", "/", "ä", "€", "😀", "a", ("plain "):rep(30) }
    math.randomseed(11)
    for _ = 1, 3000 do
      local out = {}
      for i = 1, math.random(0, 40) do
        out[i] = parts[math.random(#parts)]
      end
      local text = table.concat(out)
      assert.equal(text, gw.json.decode(gw.json.encode(text)))
      assert.equal(text, next(gw.json.decode(gw.json.encode { [text] = 1 })))
    end
  end)

  it("holds a text of escapes to the size while it is being written", function()
    local text, _, code = gw.json.encode(("\1"):rep(100000), { size = 200000 })

    assert.is_nil(text)
    assert.equal("limit", code)
    assert.equal(600002, #gw.json.encode(("\1"):rep(100000), { size = 600002 }))
  end)
end)
