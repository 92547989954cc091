local kit = require("gateway.spec")

local COMMANDS = { "run", "dev", "check", "reload", "status", "explain", "routes", "schema", "plugins",
  "spec", "new" }

local function moongate(...)
  return kit.run(kit.program, { ... })
end

describe("moongate", function()
  it("without a command shows its usage, and has code 2", function()
    local code, out, err = moongate()

    assert.equal(2, code)
    assert.equal("", out)
    for _, name in ipairs(COMMANDS) do
      assert.matches("\n  " .. name .. " ", err)
    end
  end)

  for _, word in ipairs { "--help", "-h", "help" } do
    it(word .. " shows the usage, and has code 0", function()
      local code, out, err = moongate(word)

      assert.equal(0, code)
      assert.matches("^usage: moongate COMMAND", out)
      assert.matches("exit codes: 0 fine, 1 what was asked failed, 2 wrong usage", out)
      assert.equal("", err)
    end)
  end

  it("--version tells its version", function()
    local code, out = moongate("--version")

    assert.equal(0, code)
    assert.matches("^moongate %d+%.%d+", out)
  end)

  it("does not know every command", function()
    local code, out, err = moongate("runn")

    assert.equal(2, code)
    assert.equal("", out)
    assert.matches('unknown command "runn": did you mean "run"%?', err)
    assert.equal(2, (moongate("--frobnicate")))
  end)

  for _, name in ipairs(COMMANDS) do
    it(name .. " has --help", function()
      local code, out, err = moongate(name, "--help")
      local short_code, short = moongate(name, "-h")

      assert.equal(0, code)
      assert.matches("^usage: moongate " .. name .. " ", out)
      assert.matches("%-h, %-%-help", out)
      assert.equal("", err)
      assert.equal(0, short_code)
      assert.equal(out, short)
    end)
  end

  it("reload has code 2 for an option that it does not know", function()
    local code, _, err = moongate("reload", "--frobnicate")

    assert.equal(2, code)
    assert.matches("^moongate reload: unknown option %-%-frobnicate", err)
  end)

  for _, name in ipairs { "run", "dev", "check", "status", "routes", "schema", "plugins" } do
    it(name .. " has code 2 for an option that it does not know, and for a word too many", function()
      local code, out, err = moongate(name, "--frobnicate")
      local more_code, _, more = moongate(name, "something")
      local half_code, _, half = moongate(name, "-c")

      assert.equal(2, code)
      assert.equal("", out)
      assert.matches("^moongate " .. name .. ": unknown option %-%-frobnicate", err)
      assert.matches("try: moongate " .. name .. " %-%-help\n$", err)
      assert.equal(2, more_code)
      assert.matches('"something" is too much', more)
      assert.equal(2, half_code)
      assert.matches("^moongate " .. name .. ": ", half)
    end)
  end

  it("suggests options", function()
    local code, _, err = moongate("check", "--jsn")

    assert.equal(2, code)
    assert.matches("did you mean %-%-json%?", err)
  end)

  for _, name in ipairs { "run", "check", "routes", "explain", "reload", "status", "dev" } do
    it(name .. " has code 1 for a conf that is not there", function()
      local words = { name, "-c", "/nowhere/gateway.yaml" }
      if name == "explain" then
        words[4], words[5] = "GET", "http://a/"
      end
      local code, out, err = moongate(unpack(words))

      assert.equal(1, code)
      assert.matches("/nowhere", out .. err)
    end)
  end

  it("run wants a number of workers", function()
    for _, words in ipairs { "0", "-1", "many", "1x", "99999999999" } do
      local code = moongate("run", "-c", "/nowhere/gateway.yaml", "--workers", words)

      assert.equal(2, code, words)
    end
  end)
end)
