--- Gives every request an id that client, gateway and upstream share.
---
--- A good id from the client is taken over (with `accept`), else one is made. It goes to the
--- upstream, comes back in the answer, and stands in every log line of the request.
---
---   plugins: [ correlation-id ]

local plugin = {
  name = "correlation-id",
  priority = 9000,
  schema = {
    type = "object",
    properties = {
      header = {
        type = "string",
        default = "x-correlation-id",
        pattern = "^[A-Za-z0-9-]+$",
        description = "Carries the id, in requests and answers.",
      },
      accept = {
        type = "boolean",
        default = true,
        description = "Take over an id that the client sends: 1 to 128 letters, digits and . _ : / + = -",
      },
      echo = {
        type = "boolean",
        default = true,
        description = "Tell the client in the answer.",
      },
    },
  },
}

local function good(id)
  return id and #id <= 128 and id:find("^[%w%._:/+=-]+$") ~= nil
end

function plugin.rewrite(conf, ctx)
  local headers = ctx.request.headers
  local given = headers[conf.header]
  if conf.accept and good(given) then
    ctx.id = given
  else
    headers[conf.header] = ctx.id
  end
end

function plugin.header_filter(conf, ctx)
  if conf.echo then
    ctx.response.headers[conf.header] = ctx.id
  end
end

return plugin
