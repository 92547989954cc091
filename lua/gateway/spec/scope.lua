--- Who must be ended when: what a test (or its before_each) has opened ends with the test, what a
--- block has opened in setup, or a file at its top, ends with that block.
local M = { counts = { passed = 0, failed = 0, skipped = 0 } }

local busted
local open = {}      -- { thing, element } in the order of opening
local failures = {}  -- what went wrong beside the running test

local IN_TEST = { it = true, before_each = true, after_each = true, finally = true }

--- The element whose end is the end of what is opened now.
local function owner()
  if not busted then
    return nil
  end
  local element = busted.context.get()
  if IN_TEST[element.descriptor] then
    return "test"
  end
  if element.descriptor:match("setup$") or element.descriptor:match("teardown$") then
    return busted.context.parent(element)
  end
  return element
end

--- Calls thing:close() at the end of the present test, block or file. thing:verify(), if there
--- is one, is called at the end of each test: it may raise. thing:story(): text for a failure.
function M.own(thing)
  open[#open + 1] = { thing = thing, owner = owner() }
  return thing
end

function M.disown(thing)
  for i = #open, 1, -1 do
    if open[i].thing == thing then
      table.remove(open, i)
    end
  end
end

--- An error in a task that runs beside the test: the test fails with it.
function M.fail_later(message)
  failures[#failures + 1] = message
end

local function report(problems, message)
  problems[#problems + 1] = tostring(type(message) == "table" and message.message or message)
end

--- Closes, newest first, what belongs to `whom` (nil: all).
local function close_of(whom, problems)
  for i = #open, 1, -1 do
    local entry = open[i]
    if entry and (whom == nil or entry.owner == whom) then
      table.remove(open, i)
      local ok, err = pcall(entry.thing.close, entry.thing)
      if not ok then
        report(problems, err)
      end
    end
  end
end

local function take_failures(problems)
  for _, message in ipairs(failures) do
    report(problems, message)
  end
  failures = {}
end

function M.close_all()
  local problems = {}
  close_of(nil, problems)
  take_failures(problems)
  for _, text in ipairs(problems) do
    M.counts.failed = M.counts.failed + 1
    io.stdout:write("\nat the end: ", text, "\n")
  end
end

local function verify_all(problems)
  for _, entry in ipairs(open) do
    if entry.thing.verify then
      local ok, err = pcall(entry.thing.verify, entry.thing)
      if not ok then
        report(problems, err)
      end
    end
  end
  take_failures(problems)
end

--- What the log of each gateway says, for the report of a failed test.
function M.stories()
  local texts = {}
  for _, entry in ipairs(open) do
    local text = entry.thing.story and entry.thing:story()
    if text and text ~= "" then
      texts[#texts + 1] = text
    end
  end
  return table.concat(texts, "\n")
end

--- A gateway of this test ends within it, so that how it ends belongs to the test.
local function settle(element)
  local run = element.run
  return function(...)
    run(...)
    local problems = {}
    for i = #open, 1, -1 do
      local thing = open[i].thing
      if open[i].owner == "test" and thing.finish then
        local ok, err = pcall(thing.finish, thing)
        if not ok then
          report(problems, err)
        end
      end
    end
    verify_all(problems)
    if #problems > 0 then
      error(table.concat(problems, "\n"), 0)
    end
  end
end

local function subscribe()
  local counts = M.counts
  busted.subscribe({ "test", "start" }, function(element)
    if element.descriptor == "it" and not element.settled then
      element.settled = true
      local run = element.run
      element.run = setmetatable({}, { __call = function() return settle({ run = run })() end })
    end
    return nil, true
  end, { priority = 2 })
  local function note(element)
    local beside = {}
    take_failures(beside)
    beside[#beside + 1] = M.stories()
    element.story = table.concat(beside, "\n")
    if element.descriptor ~= "it" then
      counts.failed = counts.failed + 1
    end
    return nil, true
  end
  busted.subscribe({ "failure" }, note, { priority = 1 })
  busted.subscribe({ "error" }, note, { priority = 1 })
  busted.subscribe({ "test", "end" }, function(_, _, status)
    if status == "success" then
      counts.passed = counts.passed + 1
    elseif status == "pending" then
      counts.skipped = counts.skipped + 1
    else
      counts.failed = counts.failed + 1
    end
    return nil, true
  end, { priority = 2 })
  for _, kind in ipairs { "describe", "file" } do
    busted.subscribe({ kind, "end" }, function(element)
      local problems = {}
      close_of(element, problems)
      take_failures(problems)
      if #problems > 0 then
        error(table.concat(problems, "\n"), 0)
      end
      return nil, true
    end, { priority = 2 })
  end
end

--- Called for each `busted.block` that busted makes.
function M.watch(the_busted, block)
  if busted ~= the_busted then
    busted = the_busted
    subscribe()
  end
  local dexec_all = block.dexecAll
  local depth = 0
  function block.dexecAll(descriptor, ...)
    depth = depth + 1
    local success = dexec_all(descriptor, ...)
    depth = depth - 1
    if descriptor == "after_each" and depth == 0 then
      local problems = {}
      close_of("test", problems)
      for _, text in ipairs(problems) do
        M.fail_later(text) -- said by the next test, or at the end
      end
    end
    return success
  end
  return block
end

return M
