--- Counts requests and how long they took, and shows it to Prometheus.
---
--- The page is answered on `path` of every listener that a route with this plugin, or a global
--- binding, serves; `allow` says to whom. All workers count into the same memory.
---
---   plugins: [ metrics ]                 # the page: /metrics

local plugin = {
  name = "metrics",
  priority = 8000,
  schema = {
    type = "object",
    properties = {
      path = {
        type = "string",
        default = "/metrics",
        pattern = "^/",
        description = "Where the page is.",
      },
      allow = {
        type = "array",
        items = { type = "string" },
        default = { "127.0.0.1", "::1" },
        description = 'Addresses that may read the page; "*": everybody. Others get 404.',
      },
      buckets = {
        type = "array",
        items = { type = "number", exclusiveMinimum = 0 },
        minItems = 1,
        maxItems = 30,
        default = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 },
        description = "Upper bounds of the durations, in seconds.",
      },
    },
  },
}

local function must(object, err)
  if not object then
    error(err, 0)
  end
  return object
end

function plugin.init(conf)
  local state = {
    requests = must(gw.metrics.counter("moongate_requests_total",
      "Requests that were answered.", { "route", "status" })),
    durations = must(gw.metrics.histogram("moongate_request_duration_seconds",
      "From the head of a request until its answer has left.", { "route" }, conf.buckets)),
    bytes_in = must(gw.metrics.counter("moongate_request_body_bytes_total",
      "Bytes of request bodies.", { "route" })),
    bytes_out = must(gw.metrics.counter("moongate_response_body_bytes_total",
      "Bytes of answer bodies.", { "route" })),
    allow = {},
  }
  for _, address in ipairs(conf.allow) do
    state.allow[address] = true
  end
  return state
end

--- All other requests are spared the way into `rewrite`.
function plugin.paths(conf)
  return { conf.path }
end

function plugin.rewrite(_, ctx)
  local allow = ctx.state.allow
  if allow["*"] or allow[ctx.request.peer_ip] then
    return ctx:exit(200, gw.metrics.render(), {
      ["content-type"] = "text/plain; version=0.0.4; charset=utf-8",
      ["cache-control"] = "no-store",
    })
  end
end

function plugin.log(_, ctx)
  local request, response, state = ctx.request, ctx.response, ctx.state
  local route = ctx.route.name or "none"
  state.requests:inc(1, route, response.status)
  state.durations:observe(request.ended - request.began, route)
  local bytes = request.bytes
  if bytes > 0 then
    state.bytes_in:inc(bytes, route)
  end
  bytes = response.bytes
  if bytes > 0 then
    state.bytes_out:inc(bytes, route)
  end
end

return plugin
