--- Keys of the conf's top that no other spec would miss.
local kit = require "gateway.spec"

local TALKER = [[
local plugin = { name = "talker", priority = 1 }
function plugin.access(_, ctx)
  gw.log.debug("a whisper") gw.log.info("a word") gw.log.warn("a warning") gw.log.error("a cry")
end
return plugin
]]

describe("log.level", function()
  local WORDS = { "a whisper", "a word", "a warning", "a cry" }
  for i, level in ipairs { "debug", "info", "warn", "error" } do
    it(level .. " says this and what is graver", function()
      local gateway = kit.gateway { plugins = { talker = TALKER }, conf = ([[
log: { level: %s, file: own.log }
routes: [ { name: a, match: { path: /a }, plugins: [ talker ], respond: { status: 204 } } ]
]]):format(level) }

      gateway:client():get("/a")

      local log = gateway:read("own.log")
      for n, word in ipairs(WORDS) do
        assert.equal(n >= i, log:find(word, 1, true) ~= nil, word)
      end
    end)
  end
end)

describe("shutdown_timeout", function()
  it("is how long a request may go on after SIGTERM", function()
    local upstream = kit.upstream()
    upstream:on(function(conn)
      conn:read_head()
      conn:closed(30)
    end)
    local gateway = kit.gateway { env = { UPSTREAM = upstream:url() }, conf = [[
shutdown_timeout: 1s
routes: [ { name: a, match: { path: /a }, upstream: "${UPSTREAM}" } ]
]] }
    local conn = gateway:client():connect()
    conn:write("GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    kit.eventually(function() return upstream:requests() == 1 end)
    local began = kit.now()

    gateway:stop()

    local took = kit.now() - began
    assert.is_true(took > 0.8 and took < (kit.sanitized and 6 or 3), took)
    assert.is_nil(conn:read_all():match("^HTTP/1.1 200"))
  end)
end)
