--- Answers every request with what arrived, as JSON: handy behind a gateway under test.
local plugin = { name = "echo", priority = 0, schema = { type = "object", properties = {} } }

function plugin.access(_, ctx)
  local request = ctx.request
  local headers = {}
  for name, value in request.headers:each() do
    headers[name:lower()] = value
  end
  local body = gw.json.encode({
    method = request.method,
    path = request.path,
    query = request.raw_query,
    headers = headers,
    body = request.body,
  })
  return ctx:exit(200, body .. "\n", { ["content-type"] = "application/json" })
end

return plugin
