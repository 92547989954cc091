--- The spec kit: everything that a spec needs beside busted. See docs/specs.md.
local kit = {}

local wait = require "gateway.spec.wait"
local wire = require "gateway.spec.wire"
local process = require "gateway.spec.process"

kit.gateway = require("gateway.spec.gateway").new
kit.upstream = require("gateway.spec.upstream").new
kit.client = require("gateway.spec.client").new
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
kit.parse_answer = wire.parse_answer

return kit
