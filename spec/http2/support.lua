--- What the specs of HTTP/2 share: a gateway that speaks it, and Python behind peer.py.
local kit = require("gateway.spec")

local M = {}

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$")

local function read(name)
  local file = assert(io.open(here .. "/" .. name))
  local text = file:read("*a")
  file:close()
  return text
end

M.PEER = read("peer.py")

local CONF = [[
listen: [ { name: main, address: 127.0.0.1:0, http2: true } ]
%s
routes:
  - name: hello
    match: { path: /hello }
    respond: { body: "hello\n" }
  - name: all
    match: { path: "/*" }
    upstream: ${UPSTREAM}
]]

--- `more`: lines of the conf, such as limits.
function M.gateway(upstream, more)
  return kit.gateway { conf = CONF:format(more or ""), env = { UPSTREAM = upstream:url() } }
end

--- A function that runs lines of Python behind peer.py against `gateway` (or another); what they
--- print. Further arguments are argv[2] on.
function M.runner(gateway)
  return function(lines, to, ...)
    local code, out, err = kit.run("/usr/bin/python3",
      { "-c", M.PEER .. lines, tostring((to or gateway):port()), ... }, { timeout = 60 })
    if code ~= 0 then
      error("\n" .. err, 2)
    end
    return out
  end
end

--- For upstream:on(): takes what comes, and never answers.
function M.swallow(conn)
  conn:read_head()
  conn:read(1024 * 1024 * 1024)
end

return M
