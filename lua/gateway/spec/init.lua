--- The spec kit: everything that a spec needs beside busted. See docs/specs.md.
local kit = {}

local wait = require "gateway.spec.wait"
local wire = require "gateway.spec.wire"
local process = require "gateway.spec.process"

kit.gateway = require("gateway.spec.gateway").new
kit.upstream = require("gateway.spec.upstream").new
kit.client = require("gateway.spec.client").new
kit.plugin = require("gateway.spec.plugin").new
kit.plugin_check = require("gateway.spec.plugin").check
kit.ctx = require("gateway.spec.plugin").ctx
kit.request_body = require("gateway.spec.plugin").body
kit.chosen_target = require("gateway.spec.plugin").target
kit.websocket = require "gateway.spec.websocket"
kit.run = process.run
kit.start = process.start
kit.eventually = wait.eventually
kit.advance = wait.advance
kit.go = wait.go
kit.now = wait.now
kit.chunks = wire.chunks
kit.request_bytes = wire.request_bytes
kit.answer_bytes = wire.answer_bytes
kit.parse_request = wire.parse_request
kit.sanitized = require("gateway.spec.native").sanitized
kit.parse_answer = wire.parse_answer

--- Has this machine ::1? Some containers have not.
function kit.has_ipv6()
  local file = io.open("/proc/net/if_inet6")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text:find(("0"):rep(31) .. "1 ", 1, true) ~= nil
end

return kit
