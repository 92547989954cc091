--- How results are shown: a sign for each test, then what failed, with the end of the logs of the
--- gateways that were running. The line of counts is written by main.lua.
local SIGNS = { success = "+", failure = "-", error = "*", pending = "." }

return function(options)
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local column = 0

  local function sign(text)
    io.write(text)
    column = column + 1
    if column == 100 then
      io.write("\n")
      column = 0
    end
    io.flush()
  end

  local function place(item)
    local trace = item.element.trace or item.trace
    return trace and trace.short_src and ("%s:%d"):format(trace.short_src, trace.currentline or 0)
      or "?"
  end

  local function describe(kind, item)
    io.write("\n", kind, " ", place(item), "\n  ", item.name, "\n")
    local message = item.message
    if message ~= nil and type(message) ~= "string" then
      message = require("pl.pretty").write(message)
    end
    if message then
      io.write((message:gsub("[^\n]+", "  %0")), "\n")
    end
    if kind ~= "skipped" and options.verbose and item.trace and item.trace.traceback then
      io.write(item.trace.traceback, "\n")
    end
    local story = item.element.story
    if kind ~= "skipped" and story and story ~= "" then
      io.write(story, "\n")
    end
  end

  function handler.testEnd(_, _, status)
    if not options.deferPrint then
      sign(SIGNS[status] or "?")
    end
    return nil, true
  end

  function handler.suiteEnd()
    if column > 0 then
      io.write("\n")
    end
    for _, item in ipairs(handler.pendings) do
      describe("skipped", item)
    end
    for _, item in ipairs(handler.failures) do
      describe("failed", item)
    end
    for _, item in ipairs(handler.errors) do
      describe("error", item)
    end
    io.write(("%.2f s\n"):format(handler.getDuration()))
    io.flush()
    return nil, true
  end

  busted.subscribe({ "test", "end" }, handler.testEnd, { predicate = handler.cancelOnPending })
  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  return handler
end
