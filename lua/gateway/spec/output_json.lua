--- Results as one JSON document, for programs: `moongate spec --json`.
return function()
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base"()
  local scope = require "gateway.spec.scope"

  local function text_of(message)
    if message == nil or type(message) == "string" then
      return message
    end
    return require("pl.pretty").write(message)
  end

  local function entry(item, status)
    local trace = item.element.trace or item.trace or {}
    local story = item.element.story
    return {
      name = item.name,
      file = trace.short_src,
      line = trace.currentline,
      status = status,
      seconds = item.element.duration,
      message = text_of(item.message),
      log = story ~= "" and story or nil,
    }
  end

  function handler.suiteEnd()
    local tests = gw.json.array({})
    for _, kind in ipairs { "successes", "failures", "errors", "pendings" } do
      local status = ({ successes = "passed", pendings = "skipped", failures = "failed", errors = "error" })[kind]
      for _, item in ipairs(handler[kind]) do
        tests[#tests + 1] = entry(item, status)
      end
    end
    local counts = scope.counts
    io.write(gw.json.encode({ passed = counts.passed, failed = counts.failed, skipped = counts.skipped,
      seconds = handler.getDuration(), tests = tests }), "\n")
    io.flush()
    return nil, true
  end

  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  return handler
end
