--- What the specs of gRPC share: a server and clients of python3-grpcio.
local kit = require("gateway.spec")

local M = {}

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$")

local function read(name)
  local file = assert(io.open(here .. "/" .. name))
  local text = file:read("*a")
  file:close()
  return text
end

local CLIENT = read("client.py")

--- A server's process, and its port.
function M.serve(port)
  local process = kit.start("/usr/bin/python3", { here .. "/server.py", port and tostring(port) or nil })
  return process, process.stdout:read_until("\n"):match("%d+")
end

local CONF = [[
%s
listen: [ { name: main, address: 127.0.0.1:0, http2: true } ]
upstreams: { grpc: { targets: [ 127.0.0.1:%s ], http2: true%s } }
routes:
%s
  - name: all
    match: { path: "/spec.Echo/*" }
    upstream: grpc
%s
]]

--- `more`: top, upstream, routes, route: lines of the conf; plugins: as kit.gateway() takes them.
function M.conf(port, more)
  more = more or {}
  return CONF:format(more.top or "", port, more.upstream or "", more.routes or "", more.route or "")
end

function M.gateway(port, more)
  return kit.gateway { conf = M.conf(port, more), plugins = more and more.plugins }
end

--- Starts lines of Python behind client.py; a process.
function M.start(gateway, lines, ...)
  return kit.start("/usr/bin/python3", { "-c", CLIENT .. lines, tostring(gateway:port()), ... })
end

--- What they print.
function M.run(gateway, lines, ...)
  local code, out, err = kit.run("/usr/bin/python3",
    { "-c", CLIENT .. lines, tostring(gateway:port()), ... }, { timeout = 60 })
  if code ~= 0 then
    error("\n" .. err, 2)
  end
  return out
end

return M
