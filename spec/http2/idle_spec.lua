local idle = dofile(debug.getinfo(1, "S").source:match("^@(.*)/http2/") .. "/soak/idle.lua")
local kit = require("gateway.spec")

describe("an idle connection", function()
  for _, row in ipairs { { "tls", 15 }, { "tls 1.2", 15 }, { "h2", 16 }, { "h2 tls", 30 } } do
    local kind, most = unpack(row)
    it(("of %s holds at most %d KiB, and still answers"):format(kind, most), function()
      local each = idle.measure(kind, 500) / 1024
      assert.is_true(each <= most or kit.sanitized == true, each .. " KiB each")
    end)
  end
end)
